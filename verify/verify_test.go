package verify_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/verify"
)

// TestMain trades memory for time: hundreds of verifications leave much garbage
// and little else.
func TestMain(m *testing.M) {
	debug.SetGCPercent(500)
	m.Run()
}

// examples are the configurations that tests look at.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "examples", "*.yaml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	return names
}

// variations are configurations that no example has, each an example with some
// of its text replaced.
var variations = map[string]struct {
	example  string
	old, new string
}{
	// A transit gateway, a further route and pods in a range of their own.
	"connected": {"production", "  cidr: 10.80.0.0/16\n", `  cidr: 10.80.0.0/16
  podCidr: 100.64.0.0/16
  transitGateway: {id: tgw-0123456789abcdef0, cidrs: [10.0.0.0/8]}
  routes: [{cidr: 172.31.0.0/16, target: tgw-0123456789abcdef0}]
`},
	// No way out but a transit gateway.
	"central-egress": {"production", "  cidr: 10.80.0.0/16\n", `  cidr: 10.80.0.0/16
  nat: {mode: none}
  transitGateway: {id: tgw-0123456789abcdef0, cidrs: [0.0.0.0/0]}
deviations:
  central-egress: Everything leaves by the company's inspection.
`},
	// A given network with public subnets, and flow logs of the deployment's own.
	"existing-public": {"existing-network", "  existing:\n", `  flowLogs: {enabled: true}
  existing:
    publicSubnetIds: [subnet-0123456789abcdef7, subnet-0123456789abcdef8, subnet-0123456789abcdef9]
`},
}

func example(t *testing.T, name string) *architecture.Architecture {
	t.Helper()
	v, varied := variations[name]
	if !varied {
		v.example = name
	}
	text, err := os.ReadFile(filepath.Join("..", "examples", v.example+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if varied && strings.Count(string(text), v.old) != 1 {
		t.Fatalf("example %s has not %q once", v.example, v.old)
	}
	c, err := config.Parse(name+".yaml", []byte(strings.Replace(string(text), v.old, v.new, 1)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// stopped is a clock that stands still: the moment at which a deployment is
// looked at.
type stopped struct {
	clock.Real
	at time.Time
}

func (s stopped) Now() time.Time { return s.at }

// world is a deployment that stands in a sandbox.
type world struct {
	arch *architecture.Architecture
	box  *sandbox.Sandbox
	now  time.Time
}

// made are the worlds that tests fork, by example: creating one takes a second
// or two.
var made struct {
	sync.Mutex
	worlds map[string]func() *world
}

// standing is a fork of a complete deployment of an example. The fork's clock is
// its now, which a test may move.
func standing(t *testing.T, name string) *world {
	t.Helper()
	made.Lock()
	make := made.worlds[name]
	if make == nil {
		make = sync.OnceValue(func() *world { return created(t, name) })
		if made.worlds == nil {
			made.worlds = map[string]func() *world{}
		}
		made.worlds[name] = make
	}
	made.Unlock()
	w := make()
	if w == nil {
		t.Fatalf("example %s could not be created", name)
	}
	fork := &world{arch: w.arch, now: w.now}
	fork.box = testkit.Clone(t, w.box, func() time.Time { return fork.now })
	return fork
}

func created(t *testing.T, name string) *world {
	a := example(t, name)
	var w *world
	synctest.Test(t, func(t *testing.T) {
		so := rehearse.SandboxOptions(a)
		so.Now = time.Now
		box := testkit.Sandbox(t, so)
		if _, err := rehearse.Given(box, a); err != nil {
			t.Fatal(err)
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: deploy.Target{Architecture: a, AWS: clients(t, box, 0, clock.Real{})}})
		if err != nil {
			t.Fatal(err)
		}
		w = &world{a, box, time.Now()}
	})
	return w
}

// clients reach a sandbox as one of its principals: 0 is the operator, 1 a
// colleague.
func clients(t *testing.T, box *sandbox.Sandbox, principal int, c clock.Clock) *awsapi.Clients {
	t.Helper()
	p := box.Principals()[principal]
	got, err := awsapi.New(t.Context(), awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: testkit.Transport{Handler: box}}, Clock: c,
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// verify looks at the world.
func (w *world) verify(t *testing.T, o verify.Options) *verify.Report {
	t.Helper()
	o.Architecture, o.AWS = w.arch, clients(t, w.box, 0, stopped{at: w.now})
	rep, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// ids are the ids of results.
func ids(results []verify.Result) []string {
	list := []string{}
	for _, r := range results {
		list = append(list, r.ID)
	}
	slices.Sort(list)
	return list
}

// say prints what went wrong with checks.
func say(t *testing.T, rep *verify.Report) {
	t.Helper()
	for _, r := range rep.Results {
		switch r.Status {
		case verify.Fail:
			for _, e := range r.Evidence {
				if !e.OK {
					t.Logf("%s: %s is %s, not %s (%s)", r.ID, e.Resource, e.Saw, e.Want, e.API)
				}
			}
		case verify.CouldNotLook:
			t.Logf("%s: could not look: %s", r.ID, r.Reason)
		}
	}
}

// TestExamples finds nothing wrong with what was just created, be it an example
// or a variation.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, name := range append(examples(t), slices.Sorted(maps.Keys(variations))...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep := standing(t, name).verify(t, verify.Options{})
			if failed, unseen := rep.Failed(""), rep.Unseen(""); len(failed)+len(unseen) > 0 {
				t.Errorf("failed %v, could not look %v", ids(failed), ids(unseen))
				say(t, rep)
			}
			for _, r := range rep.Results {
				if r.Status == verify.NotApplicable && r.Reason == "" {
					t.Errorf("%s does not say why it is not applicable", r.ID)
				}
			}
		})
	}
}

// A wreck is one thing broken behind the deployment's back.
type wreck struct {
	// check is the one that must fail; also are those that fail with it
	// because they rest on the same thing.
	check   string
	also    []string
	example string // production if empty
	name    string // tells wrecks of one check apart
	// by breaks it through the API as another principal, or in the store.
	by func(w *wrecker) error
}

// wrecker is what breaks things: a colleague's clients and the store.
type wrecker struct {
	*world
	ctx context.Context
	aws *awsapi.Clients
}

// change changes the first resource of a type that a test chooses, in the
// store; what it is given may be changed in place.
func (w *wrecker) change(typ string, choose func(*account.Resource) bool, f func(tx *account.Tx, r *account.Resource)) error {
	return w.box.Account().Do(func(tx *account.Tx) error {
		r := tx.Find(typ, choose)
		if r == nil {
			return account.Errorf("NotThere", "no %s is chosen", typ)
		}
		f(tx, r)
		return nil
	})
}

// drop removes it.
func (w *wrecker) drop(typ string, choose func(*account.Resource) bool) error {
	return w.change(typ, choose, func(tx *account.Tx, r *account.Resource) { tx.Drop(typ, r.ID) })
}

// logical chooses a resource by its name in the template of its stack.
func logical(id string) func(*account.Resource) bool {
	return func(r *account.Resource) bool { return r.LogicalID == id }
}

// wrecks are all tables of wrecks; each area has one.
func wrecks() []wreck {
	return slices.Concat(
		networkWrecks(), clusterWrecks(), nodeWrecks(), identityWrecks(),
		databaseWrecks(), storageWrecks(), keyWrecks(), edgeWrecks(), ownershipWrecks(),
		connectedWrecks(), givenWrecks(), privateWrecks(),
	)
}

// TestWrecks breaks things one at a time: the check that proves it fails, and
// no other that should not. What runs side by side is the same in all of them, so
// that the race detector, which makes them ten times slower, gets a part.
func TestWrecks(t *testing.T) {
	t.Parallel()
	for i, tt := range wrecks() {
		if detectingRaces && i%16 != 0 {
			continue
		}
		name := tt.check
		if tt.name != "" {
			name += "/" + tt.name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.example == "" {
				tt.example = "production"
			}
			w := standing(t, tt.example)
			if err := tt.by(&wrecker{w, t.Context(), clients(t, w.box, 1, clock.Real{})}); err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, verify.Options{})
			want := append([]string{tt.check}, tt.also...)
			slices.Sort(want)
			if diff := cmp.Diff(want, ids(rep.Failed(""))); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s", diff)
				say(t, rep)
			}
			if unseen := rep.Unseen(""); len(unseen) > 0 {
				t.Errorf("could not look: %v", ids(unseen))
				say(t, rep)
			}
			for _, r := range rep.Failed("") {
				for _, e := range r.Evidence {
					if !e.OK && (e.Resource == "" || e.Saw == "" || e.API == "" || e.Want == "" || e.Fix == "") {
						t.Errorf("%s: evidence is not complete: %+v", r.ID, e)
					}
				}
			}
		})
	}
}

// TestEveryCheckIsBroken has a wreck for each check.
func TestEveryCheckIsBroken(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	for _, tt := range wrecks() {
		broken[tt.check] = true
	}
	all := verify.Checks()
	for _, c := range all {
		if !broken[c.ID] {
			t.Errorf("nothing breaks %s, so nothing shows that it can fail", c.ID)
		}
	}
	t.Logf("%d checks, %d wrecks", len(all), len(wrecks()))
}
