package deploy_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL28AddressesAreAnnouncedFirst goes from a gateway to an instance. With
// network.nat.announce the addresses are allocated, and nothing else changes;
// the plans say what others must let in.
func TestL28AddressesAreAnnouncedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		if e := w.egressPlan(a); e != nil {
			t.Errorf("nothing changes, and the plan says %v", e)
		}
		before := w.exits()
		old := w.addresses()

		// The plan of the change tells that the new address is not known yet.
		switched := leavingBy(t, a, config.NATSingleInstance)
		if diff := cmp.Diff(&deploy.Egress{Before: old, After: []string{}, Pending: 1}, w.egressPlan(switched)); diff != "" {
			t.Errorf("plan of the change, -want +got:\n%s", diff)
		}

		announcing := became(t, a, func(c *config.Config) { c.Network.NAT.Announce = config.NATSingleInstance })
		resources := w.find("AWS::EC2::NatGateway")
		res := w.update(announcing)
		if res.Changes != 1 {
			t.Errorf("the announcement changed %d resources, want the address only", res.Changes)
		}
		if diff := cmp.Diff(before, w.exits()); diff != "" {
			t.Errorf("the announcement turned routes, -want +got:\n%s", diff)
		}
		if n := len(w.find("AWS::EC2::NatGateway")); n != len(resources) {
			t.Errorf("%d gateways, want %d", n, len(resources))
		}
		w.emptyPlan(announcing)
		fresh := lackingIn(w.addresses(), old)
		if got := res.Outputs[architecture.Network]["NatAddressesAnnounced"]; len(fresh) != 1 || got != fresh[0] {
			t.Fatalf("announced %q, and %v were allocated", got, fresh)
		}
		want := &deploy.Egress{Before: old, After: fresh, Announced: true}
		if diff := cmp.Diff(want, w.egressPlan(announcing)); diff != "" {
			t.Errorf("plan while announced, -want +got:\n%s", diff)
		}
		want.Announced = false
		if diff := cmp.Diff(want, w.egressPlan(switched)); diff != "" {
			t.Errorf("plan of the change, -want +got:\n%s", diff)
		}
		if b, err := json.Marshal(want); err != nil || !strings.Contains(string(b), `"after":["`+fresh[0]+`"]`) {
			t.Errorf("as JSON: %s, %v", b, err)
		}

		w.update(switched)
		for table, exit := range w.exits() {
			if exit != "instance "+fresh[0] {
				t.Errorf("%s leaves by %q, want the announced %s", table, exit, fresh[0])
			}
		}
		if got := w.addresses(); !slices.Equal(got, fresh) {
			t.Errorf("addresses %v, want the old ones released: %v", got, fresh)
		}
		w.emptyPlan(switched)
		w.clean(w.destroy(switched))
	})
}

// TestL28ReadyMeansHeard makes self-managed NAT: the run tells by what each way
// out was proved. When an instance runs and forwards nothing, a run does not call
// it ready, nor does a look; and a change of mode keeps the old way out standing,
// with its address, until the new one is proved.
func TestL28ReadyMeansHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, leavingBy(t, example(t, "evaluation"), config.NATSingleInstance), func(c *config.Config) { c.Database.DeletionProtection = true })
		w := newWorld(t, a, sandbox.Options{})
		var told []string
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "way out of ") {
				told = append(told, s.Text)
			}
		}
		w.create(a)
		w.seen = nil
		if n := len(a.PrivateSubnets()); len(told) != n || !strings.Contains(strings.Join(told, " "), "probed: i-") {
			t.Errorf("told %q, want a probe in each of %d subnets", told, n)
		}
		shut := func(check bool) {
			for _, r := range w.find("AWS::EC2::NetworkInterface") {
				if r.LogicalID != "NatInterface1" {
					continue
				}
				if err := w.box.Account().Do(func(tx *account.Tx) error {
					tx.Get(r.Type, r.ID).Props["SourceDestCheck"] = check
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		shut(true)
		d := &stack.Driver{CFN: w.target(a).AWS.CloudFormation}
		database := a.StackName(architecture.Database)
		if err := d.Protect(t.Context(), database, false); err != nil {
			t.Fatal(err)
		}
		var exit *deploy.ExitError
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)}); !errors.As(err, &exit) || !strings.Contains(err.Error(), "source/destination check is on") {
			t.Errorf("with an instance that does not forward: %v", err)
		}
		if st, err := d.Describe(t.Context(), database); err != nil || !st.Protected {
			t.Errorf("what is not proved keeps the database unprotected: %+v, %v", st, err)
		}
		s, err := deploy.Look(t.Context(), w.target(a))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range s.Exits {
			if x.Open() {
				t.Errorf("status: %s", x)
			}
		}
		shut(false)
		w.create(a)

		// The new way out is there and lets nothing through: nodes fall silent.
		old := w.addresses()
		gateways := leavingBy(t, a, config.NATSingleGateway)
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "asking in the private subnets") {
				for _, g := range w.find("AWS::EC2::NatGateway") {
					if err := w.box.Account().Do(func(tx *account.Tx) error {
						tx.Get(g.Type, g.ID).Status = "failed"
						return nil
					}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		_, err = deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(gateways)})
		w.seen = nil
		if !errors.As(err, &exit) || !strings.Contains(err.Error(), "the old way out stands") {
			t.Fatalf("the change ends with %v", err)
		}
		if left := lackingIn(old, w.addresses()); len(left) > 0 {
			t.Errorf("%v were released before the new way out was proved", left)
		}
		// Back is one update, and nothing has to be made again.
		w.update(a)
		if got := w.addresses(); !slices.Equal(got, old) {
			t.Errorf("back with the addresses %v, want %v", got, old)
		}
		for table, x := range w.exits() {
			if x != "instance "+old[0] {
				t.Errorf("%s leaves by %q", table, x)
			}
		}
		// Who may not ask, or is not answered for a while, is not stopped by that.
		for name, d := range map[string]*deaf{
			"denied": {http: testkit.Client(w.box), status: http.StatusBadRequest, code: "AccessDeniedException", times: 1},
			"failed": {http: testkit.Client(w.box), status: http.StatusInternalServerError, code: "InternalServerError", times: 20},
		} {
			var said string
			w.seen = func(e deploy.Event) {
				if s, ok := e.(deploy.Step); ok && strings.Contains(s.Text, "way") {
					said += s.Text + "\n"
				}
			}
			target := w.target(a)
			target.AWS = w.clients(d)
			if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: target}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			w.seen = nil
			if want := map[string]string{"denied": "are not asked about", "failed": "probed: i-"}[name]; !strings.Contains(said, want) || d.seen < d.times {
				t.Errorf("%s, %d times: said %q, want %q", name, d.seen, said, want)
			}
		}
	})
}

// deaf fails the first questions for agents.
type deaf struct {
	http        *http.Client
	status      int
	code        string
	times, seen int
}

func (d *deaf) Do(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".DescribeInstanceInformation") || d.seen >= d.times {
		return d.http.Do(req)
	}
	d.seen++
	return &http.Response{
		StatusCode: d.status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(`{"__type":"` + d.code + `","message":"not now"}`)),
	}, nil
}
