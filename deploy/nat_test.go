package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/stack"
)

// leavingBy is an architecture with another NAT mode.
func leavingBy(t *testing.T, a *architecture.Architecture, mode config.NATMode) *architecture.Architecture {
	t.Helper()
	return became(t, a, func(c *config.Config) {
		c.Network.NAT = config.NAT{Mode: mode, InstanceType: "t4g.small"}
		c.Deviations = map[string]string{architecture.SingleNAT: "one is enough", architecture.SingleAZDatabase: "nobody works at night"}
	})
}

// exits are where the private subnets' default routes lead, by route table: the
// kind of target and its public address; "" where nothing answers.
func (w *world) exits() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, r := range tx.List("AWS::EC2::Route") {
			if props.Str(r.Attrs, "CidrBlock") != "0.0.0.0/0" || props.Str(r.Props, "GatewayId") != "" {
				continue
			}
			table := props.Str(r.Props, "RouteTableId")
			eni := props.Str(r.Props, "NetworkInterfaceId")
			kind := "instance"
			if g := tx.Get("AWS::EC2::NatGateway", props.Str(r.Props, "NatGatewayId")); g != nil {
				kind, eni = "gateway", props.Str(g.Attrs, "EniId")
			}
			out[table] = ""
			for _, ip := range tx.List("AWS::EC2::EIP") {
				if eni != "" && props.Str(ip.Data, "association", "eni") == eni {
					out[table] = kind + " " + ip.ID
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// egressPlan is the part of a plan that tells of the addresses.
func (w *world) egressPlan(a *architecture.Architecture) *deploy.Egress {
	w.t.Helper()
	p, err := deploy.MakePlan(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p.Egress
}

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

// addresses are the Elastic IP addresses of the account, sorted.
func (w *world) addresses() []string {
	var out []string
	for _, r := range w.find("AWS::EC2::EIP") {
		out = append(out, r.ID)
	}
	slices.Sort(out)
	return out
}

func lackingIn(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

// TestL28ModesChangeInPlace changes the mode without an announcement of its own:
// the update allocates and tells the addresses before anything else changes,
// routes never lack a target that stands, and the old addresses go last.
func TestL28ModesChangeInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		for _, mode := range []config.NATMode{config.NATInstancePerZone, config.NATGatewayPerZone, config.NATSingleInstance, config.NATSingleGateway} {
			next := leavingBy(t, a, mode)
			old := w.addresses()
			before := w.exits()
			var order []string
			w.seen = func(e deploy.Event) {
				switch e := e.(type) {
				case deploy.Step:
					for _, word := range []string{"allocating", "leave by other addresses", "turning the routes"} {
						if strings.Contains(e.Text, word) {
							order = append(order, word)
						}
					}
				case deploy.StackStarted:
					if !slices.Contains(order, "stacks") {
						order = append(order, "stacks")
					}
				case deploy.ResourceEvent:
					if e.Type == "AWS::EC2::EIP" && e.Status == "DELETE_COMPLETE" {
						order = append(order, "released")
					}
				}
			}
			for table, exit := range before {
				if exit == "" {
					t.Fatalf("%s leads nowhere", table)
				}
			}
			target := w.target(next)
			target.Terse = false
			if _, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: target}); err != nil {
				t.Fatalf("to %s: %v", mode, err)
			}
			w.seen = nil
			if n := slices.Index(order, "released"); n >= 0 {
				order = append(order[:n], "released")
			}
			if want := []string{"allocating", "leave by other addresses", "stacks", "turning the routes", "released"}; !slices.Equal(order, want) {
				t.Errorf("to %s: %v, want %v", mode, order, want)
			}
			for table, exit := range w.exits() {
				kind, ip, _ := strings.Cut(exit, " ")
				if !strings.HasSuffix(string(mode), kind) && !strings.HasPrefix(string(mode), kind) || slices.Contains(old, ip) || ip == "" {
					t.Errorf("with %s, %s leaves by %q", mode, table, exit)
				}
			}
			w.emptyPlan(next)
		}
	})
}

// TestL28KilledChangeOfMode kills the change of NAT mode before its first writing
// call, and once each of them was carried out, whose answer is lost. At every time each private route leads
// to a way out that stands, and the next run arrives.
func TestL28KilledChangeOfMode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		there := a
		points := 0
		for call, done := 0, false; !done; call++ {
			mode := config.NATSingleInstance
			if there.Config.Network.NAT.Mode == mode {
				mode = config.NATSingleGateway
			}
			next := leavingBy(t, a, mode)
			target := w.target(next)
			ctx, kill := context.WithCancelCause(t.Context())
			target.AWS = w.clients(&killer{http: testkit.Client(w.box), at: max(call, 1), after: call > 0, kill: func() { kill(errKilled) }})
			_, err := deploy.Update(ctx, deploy.CreateOptions{Target: target})
			kill(nil)
			if err == nil {
				done = true
			} else {
				points++
			}
			for table, exit := range w.exits() {
				if exit == "" {
					t.Fatalf("killed at call %d, %s leads nowhere", call, table)
				}
			}
			w.update(next)
			there = next
			if got := len(w.addresses()); got != 1 {
				t.Fatalf("killed at call %d, %d addresses are left, want 1", call, got)
			}
		}
		t.Logf("%d points", points)
		if points < 10 {
			t.Errorf("%d points at which the run was killed, want 10 at least", points)
		}
		w.emptyPlan(there)
		w.clean(w.destroy(there))
	})
}

// killer kills a run at one of its writing calls, before it leaves or once it
// was carried out; no later call leaves.
type killer struct {
	http  *http.Client
	at    int
	after bool
	kill  func()

	mu   sync.Mutex
	seen int
}

// reading begins the names of calls of the Query protocol that change nothing.
var reading = regexp.MustCompile(`(^|&)Action=(Describe|Get|List|Detect)`)

func (k *killer) Do(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Header.Get("X-Amz-Target") != "" {
		return k.http.Do(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if !bytes.Contains(body, []byte("Action=")) || reading.Match(body) {
		return k.http.Do(req)
	}
	k.mu.Lock()
	k.seen++
	now := k.seen == k.at
	k.mu.Unlock()
	if !now {
		return k.http.Do(req)
	}
	if k.after {
		resp, err := k.http.Do(req)
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
	}
	k.kill()
	return nil, errKilled
}

// clients are those of the world's principal by another HTTP client.
func (w *world) clients(c aws.HTTPClient) *awsapi.Clients {
	w.t.Helper()
	p := w.box.Principals()[0]
	clients, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: w.box.Region(), Endpoint: testkit.Endpoint, HTTPClient: c,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return clients
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
