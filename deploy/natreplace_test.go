package deploy_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
	"github.com/poolhouse/poolhouse/verify/check"
)

// wayOut is what others know a NAT instance by, and what it is.
type wayOut struct{ Interface, Address, Instance string }

// waysOut are the NAT instances, by the route table that leaves by them.
func (w *world) waysOut() map[string]wayOut {
	w.t.Helper()
	out := map[string]wayOut{}
	err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, r := range tx.List("AWS::EC2::Route") {
			eni := tx.Get("AWS::EC2::NetworkInterface", props.Str(r.Props, "NetworkInterfaceId"))
			if eni == nil {
				continue
			}
			x := wayOut{Interface: eni.ID, Instance: props.Str(eni.Data, "attachment", "instance")}
			for _, ip := range tx.List("AWS::EC2::EIP") {
				if props.Str(ip.Data, "association", "eni") == eni.ID {
					x.Address = ip.ID
				}
			}
			out[props.Str(r.Props, "RouteTableId")] = x
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// leaves is what verify says of the private subnets' ways out, by check.
func (w *world) leaves(a *architecture.Architecture) map[string]check.Status {
	w.t.Helper()
	rep, err := verify.Run(w.t.Context(), verify.Options{Architecture: a, AWS: w.target(a).AWS, Only: []string{"private-egress", "nat-instance-safe", "nat-proved", "no-black-holes"}})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]check.Status{}
	for _, r := range rep.Results {
		out[r.ID] = r.Status
	}
	return out
}

// TestL28InstancesAreReplacedInPlace: a NAT instance that is terminated by others
// is replaced by its group, and one whose type changes by an update, each time by
// the newest image. Interface and public address stay, so routes and the
// allow-lists of others do; verify finds the subnets cut off meanwhile, and lets
// traffic through before and after.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/health-checks-overview.html
func TestL28InstancesAreReplacedInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleInstance)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		before, open := w.waysOut(), w.leaves(a)
		for id, status := range open {
			if status != check.Pass {
				t.Errorf("%s is %s at first", id, status)
			}
		}
		replaced := func(by string, a *architecture.Architecture) {
			t.Helper()
			after := w.waysOut()
			for table, was := range before {
				is := after[table]
				if is.Instance == was.Instance || is.Instance == "" {
					t.Errorf("%s: %s leaves by instance %q, want another than %s", by, table, is.Instance, was.Instance)
				}
				if is.Instance = was.Instance; is != was {
					t.Errorf("%s: %s leaves by %+v, want %+v", by, table, is, was)
				}
			}
			if diff := cmp.Diff(open, w.leaves(a)); diff != "" {
				t.Errorf("%s: verify, -before +after:\n%s", by, diff)
			}
			before = after
		}

		some := slices.Collect(maps.Values(before))[0]
		if _, err := w.target(a).AWS.AutoScaling.TerminateInstanceInAutoScalingGroup(t.Context(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{
			InstanceId: &some.Instance, ShouldDecrementDesiredCapacity: aws.Bool(false),
		}); err != nil {
			t.Fatal(err)
		}
		cut := false
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(20 * time.Second) {
			if gone := slices.Collect(maps.Values(w.waysOut()))[0].Instance == ""; gone {
				got := w.leaves(a)
				cut = got["private-egress"] == check.Fail && got["nat-instance-safe"] == check.Fail
				if !cut {
					t.Errorf("while there is no instance, verify says %v", got)
				}
				break
			}
		}
		if !cut {
			t.Error("the subnets were never cut off")
		}
		time.Sleep(time.Hour)
		replaced("terminated", a)
		w.emptyPlan(a)

		larger := became(t, a, func(c *config.Config) { c.Network.NAT.InstanceType = "t4g.medium" })
		w.update(larger)
		time.Sleep(time.Hour)
		replaced("another type", larger)
		w.emptyPlan(larger)
		w.clean(w.destroy(larger))
	})
}
