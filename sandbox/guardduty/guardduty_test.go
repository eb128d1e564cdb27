package guardduty_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/guardduty"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func lab(t *testing.T, on bool) *ec2test.Lab {
	return ec2test.New(t, ec2test.Options{Events: guardduty.Events(), World: account.World{GuardDuty: on}})
}

// occupy lets an instance run in a subnet.
func occupy(l *ec2test.Lab, subnet, id string) {
	l.Do(func(tx *account.Tx) {
		_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: subnet, Owner: id, Instance: id})
		l.Want("", err)
	})
}

// With GuardDuty's Runtime Monitoring on, an endpoint for guardduty-data and a
// security group of GuardDuty's appear some minutes after instances run in a VPC.
// They block the VPC's deletion until somebody deletes them.
//
// https://docs.aws.amazon.com/guardduty/latest/ug/how-does-runtime-monitoring-work.html
// https://docs.aws.amazon.com/guardduty/latest/ug/using-iac-with-gdu-automated-agents-runtime-monitoring.html
// https://docs.aws.amazon.com/guardduty/latest/ug/runtime-monitoring-agent-resource-clean-up.html
func TestGuardDutyInTheVPC(t *testing.T) {
	t.Parallel()
	l := lab(t, true)
	n := l.Network()
	occupy(l, n.A.ID, "i-1")
	var endpoints, groups []*account.Resource
	look := func() {
		l.Do(func(tx *account.Tx) {
			endpoints, groups = tx.List(ec2.TypeVPCEndpoint), nil
			for _, g := range ec2.InVPC(tx, ec2.TypeSecurityGroup, n.VPC.ID) {
				if g.Owner == "guardduty.amazonaws.com" {
					groups = append(groups, g)
				}
			}
		})
	}
	if look(); len(endpoints)+len(groups) != 0 {
		t.Error("GuardDuty is there at once")
	}
	l.Wait(10 * time.Minute)
	if look(); len(endpoints) != 1 || len(groups) != 1 {
		t.Fatalf("%d endpoints and %d groups, want one each", len(endpoints), len(groups))
	}
	got := []any{ec2.GroupName(groups[0]), groups[0].Tags["GuardDutyManaged"], endpoints[0].Props["ServiceName"], endpoints[0].Tags["GuardDutyManaged"], endpoints[0].Status, props.Strs(endpoints[0].Props, "SubnetIds")}
	want := []any{"GuardDutyManagedSecurityGroup-" + n.VPC.ID, "true", "com.amazonaws.us-east-1.guardduty-data", "true", "available", []string{n.A.ID}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	l.Do(func(tx *account.Tx) { ec2.RemoveInterfaces(tx, "i-1") })
	l.Held("DependencyViolation: The subnet '"+n.A.ID+"'", n.A)
	l.Held("DependencyViolation: resource "+groups[0].ID+" has a dependent object", groups[0])
	l.Gone(endpoints[0], n.A, n.B, n.Group, n.Table, n.Attachment)
	l.Held("DependencyViolation: The vpc '"+n.VPC.ID+"'", n.VPC)
	l.Gone(groups[0], n.VPC)
	l.Wait(time.Hour)
	if look(); len(endpoints)+len(groups) != 0 {
		t.Error("GuardDuty came back to a VPC that is gone")
	}
}

// An endpoint for guardduty-data that is there already stays the only one, and
// without Runtime Monitoring none appears.
//
// https://docs.aws.amazon.com/guardduty/latest/ug/eksrunmon-prereq-deploy-security-agent.html
func TestGuardDutyMakesNoSecondEndpoint(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		l := lab(t, on)
		n := l.Network()
		want := 0
		if on {
			l.Make(ec2.TypeVPCEndpoint, map[string]any{"VpcId": n.VPC.ID, "ServiceName": "com.amazonaws.us-east-1.guardduty-data", "VpcEndpointType": "Interface", "SubnetIds": []any{n.B.ID}})
			want = 1
		}
		occupy(l, n.A.ID, "i-1")
		l.Wait(time.Hour)
		l.Do(func(tx *account.Tx) {
			if got := tx.Count(ec2.TypeVPCEndpoint); got != want {
				t.Errorf("on %t: %d endpoints, want %d", on, got, want)
			}
		})
	}
}

// After the endpoint's deletion GuardDuty makes it again as soon as another
// instance starts.
//
// https://docs.aws.amazon.com/guardduty/latest/ug/how-does-runtime-monitoring-work.html
func TestGuardDutyComesBack(t *testing.T) {
	t.Parallel()
	l := lab(t, true)
	n := l.Network()
	count := func() (c int) {
		l.Do(func(tx *account.Tx) { c = tx.Count(ec2.TypeVPCEndpoint) })
		return c
	}
	occupy(l, n.A.ID, "i-1")
	l.Wait(10 * time.Minute)
	l.Do(func(tx *account.Tx) {
		for _, e := range tx.List(ec2.TypeVPCEndpoint) {
			_, err := tx.Delete(e, true)
			l.Want("", err)
		}
	})
	l.Wait(time.Hour)
	if got := count(); got != 0 {
		t.Errorf("%d endpoints, want none", got)
	}
	occupy(l, n.B.ID, "i-2")
	l.Wait(time.Hour)
	if got := count(); got != 1 {
		t.Errorf("%d endpoints, want one", got)
	}
}
