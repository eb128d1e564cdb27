package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// sections cuts a dump into resources.
func sections(dump []byte) map[string]string {
	out := map[string]string{}
	var name string
	var text strings.Builder
	for line := range strings.Lines(string(dump)) {
		if !strings.HasPrefix(line, " ") {
			out[name] = text.String()
			name = line
			text.Reset()
		}
		text.WriteString(line)
	}
	out[name] = text.String()
	delete(out, "")
	return out
}

// untouched tells what became of the resources that were there.
func untouched(before map[string]string, now []byte) string {
	after := sections(now)
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] != after[name] {
			fmt.Fprintf(&out, "was:\n%sis:\n%s", before[name], after[name])
		}
	}
	return out.String()
}

// TestGivenNetworksStayAsTheyWere creates, updates and deletes deployments in
// random networks of other people's. At every step of it each resource that was
// there is byte for byte what it was.
func TestGivenNetworksStayAsTheyWere(t *testing.T) {
	cases := 8
	if detectingRaces {
		cases = 2
	}
	if os.Getenv("POOLHOUSE_FULL") != "" {
		cases = 300
	}
	for seed := range cases {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := foreigns().Example(seed)
				t.Logf("%+v", f)
				w := &world{t: t, box: testkit.Sandbox(t, sandbox.Options{Region: "us-east-1", Fresh: seed%2 == 0})}
				var g ground
				err := w.box.Account().Do(func(tx *account.Tx) error {
					b := &builder{tx: tx}
					g = b.build(f)
					return b.err
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute) // an instance of theirs runs by then
				foundation := sections(testkit.Dump(w.box.Account()))
				c, err := config.Parse("deployment.yaml", g.file(t, f))
				if err != nil {
					t.Fatal(err)
				}
				a, err := architecture.New(c)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := rehearse.Given(w.box, a); err != nil {
					t.Fatal(err)
				}
				w.t0 = testkit.Dump(w.box.Account())
				moments := 0
				w.seen = func(e deploy.Event) {
					if _, ok := e.(deploy.ResourceEvent); ok {
						return
					}
					moments++
					if diff := untouched(foundation, testkit.Dump(w.box.Account())); diff != "" {
						t.Errorf("at %T %+v the network is not what it was:\n%s", e, e, diff)
					}
				}
				w.create(a)
				w.emptyPlan(a)
				next := changed(t, a)
				w.update(next)
				w.emptyPlan(next)
				w.clean(w.destroy(next))
				if moments < 40 {
					t.Errorf("the network was looked at %d times only", moments)
				}
			})
		})
	}
}
