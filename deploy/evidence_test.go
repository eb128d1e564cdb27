package deploy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL13NodesAreNotMadeWhereTheyCannotJoin: somebody took the way out of the
// private subnets after their stack was complete. It is found before nodes are
// made, with the subnet and the route table; put back, the same command goes on.
func TestL13NodesAreNotMadeWhereTheyCannotJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := broken(t, a, a, 1)
		var routes []*account.Resource
		w.seen = func(e deploy.Event) {
			if f, ok := e.(deploy.StackFinished); !ok || f.Stack != architecture.Network || routes != nil {
				return
			}
			err := w.box.Account().Do(func(tx *account.Tx) error {
				for _, r := range tx.List("AWS::EC2::Route") {
					if r.Props["NatGatewayId"] != nil {
						routes = append(routes, r)
						tx.Drop(r.Type, r.ID)
					}
				}
				return nil
			})
			if err != nil || len(routes) == 0 {
				t.Errorf("%d routes were taken, %v", len(routes), err)
			}
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var found *deploy.TopologyError
		if !errors.As(err, &found) || !strings.Contains(err.Error(), routes[0].Props["RouteTableId"].(string)) || !strings.Contains(err.Error(), "no way out") {
			t.Fatalf("create: %v, want that private subnets lead nowhere", err)
		}
		for _, r := range w.box.Account().Resources() {
			if r.Type == "AWS::EKS::Nodegroup" {
				t.Errorf("node group %s was made", r.ID)
			}
		}
		err = w.box.Account().Do(func(tx *account.Tx) error {
			for _, r := range routes {
				tx.Put(r)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.create(a)
	})
}

// TestL13NodesNeedTheirEndpoints: where nothing leads out, a missing endpoint is found
// before nodes are made that wait for it; and whoever may not look is told so.
func TestL13NodesNeedTheirEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "minimal-egress")
		blind, looks := "", func(*http.Request, string, string) error { return nil }
		w := newWorld(t, a, sandbox.Options{Fresh: true, Intercept: func(r *http.Request, service, operation string) error { return looks(r, service, operation) }})
		var taken *account.Resource
		w.seen = func(e deploy.Event) {
			if f, ok := e.(deploy.StackFinished); !ok || f.Stack != architecture.Endpoints || taken != nil {
				return
			}
			taken = w.one("AWS::EC2::VPCEndpoint", func(r *account.Resource) bool {
				return strings.HasSuffix(fmt.Sprint(r.Props["ServiceName"]), ".ecr.api")
			})
			if err := w.box.Account().Do(func(tx *account.Tx) error { tx.Drop(taken.Type, taken.ID); return nil }); err != nil {
				t.Error(err)
			}
		}
		_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var found *deploy.TopologyError
		if !errors.As(err, &found) || len(found.Reasons) != 1 || !strings.Contains(found.Reasons[0], "no endpoint of ecr.api") {
			t.Fatalf("create: %v, want that an endpoint is missing", err)
		}
		if err := w.box.Account().Do(func(tx *account.Tx) error { tx.Put(taken); return nil }); err != nil {
			t.Fatal(err)
		}
		w.seen = func(e deploy.Event) {
			if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "whether nodes can join") {
				blind = s.Text
			}
		}
		looks = deny("DescribeVpcEndpoints")
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)}); err != nil || !strings.Contains(blind, "not authorized") {
			t.Errorf("without the right to look: %v, said %q", err, blind)
		}
	})
}

// TestL13TheFirstEvidenceComesInMinutes: what keeps nodes is told long before
// CloudFormation gives up on them: what Auto Scaling says of a zone that is full,
// and instances that run and don't join.
func TestL13TheFirstEvidenceComesInMinutes(t *testing.T) {
	for name, tc := range map[string]struct {
		faults string
		breaks func(*world, *architecture.Architecture)
		says   string
	}{
		"no capacity": {"{id: full, for: 3h, capacity: {zone: '*'}}", nil, "sufficient"},
		"not joining": {"{id: none, times: 1, throttle: {operation: DescribeStacks}}", func(w *world, a *architecture.Architecture) {
			c := w.target(a).AWS.IAM
			for _, r := range w.box.Account().Resources() {
				if r.Type == "AWS::IAM::Role" && strings.Contains(fmt.Sprint(r.Props["ManagedPolicyArns"]), "AmazonEKSWorkerNodePolicy") {
					if _, err := c.DetachRolePolicy(w.t.Context(), &iam.DetachRolePolicyInput{RoleName: &r.ID, PolicyArn: new("arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")}); err != nil {
						w.t.Error(err)
					}
				}
			}
		}, "failed to join"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := broken(t, a, a, 1, rehearse.Faults{Name: "day.yaml", Source: []byte("faults: [" + tc.faults + "]")})
				w.listen = true
				var began, told, over time.Time
				said := ""
				w.seen = func(e deploy.Event) {
					switch e := e.(type) {
					case deploy.StackStarted:
						if e.Stack == architecture.Nodes {
							began = e.Time
						}
					case deploy.ResourceEvent:
						if e.Stack == architecture.Nodes && e.Type == "AWS::EKS::Nodegroup" && tc.breaks != nil {
							tc.breaks(w.world, a)
							tc.breaks = nil
						}
					case deploy.Step:
						if e.Stack == architecture.Nodes && told.IsZero() {
							told, said = e.Time, e.Text
						}
					case deploy.StackFinished:
						if e.Stack == architecture.Nodes {
							over = e.Time
						}
					}
				}
				_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
				var failed *stack.Error
				if !errors.As(err, &failed) || failed.Root().Known == "" {
					t.Fatalf("create: %v, want that the nodes fail", err)
				}
				if told.IsZero() || told.Sub(began) > 10*time.Minute || over.Sub(told) < 5*time.Minute || !strings.Contains(said, tc.says) || !strings.Contains(said, "next: ") {
					t.Errorf("told after %v, over after %v: %s", told.Sub(began), over.Sub(began), said)
				}
				t.Logf("told after %v of %v: %s", told.Sub(began), over.Sub(began), said)
			})
		})
	}
}
