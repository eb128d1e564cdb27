package instance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// reserve reserves, in a request of its own.
func reserve(l *ec2test.Lab, v instance.Reservation) (r *account.Resource, err error) {
	l.Do(func(tx *account.Tx) { r, err = instance.Reserve(tx, v) })
	return r, err
}

func capacity(list ...account.Capacity) ec2test.Options {
	return ec2test.Options{World: account.World{Capacity: list}}
}

// An instance type that a zone doesn't offer can't be launched there; the answer
// names the zones that have it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html
func TestTypeNotOfferedInZone(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, capacity(account.Capacity{InstanceType: "m7i.large", Zone: "use1-az1", Instances: -1}))
	n := l.Network()
	_, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("Unsupported: Your requested instance type (m7i.large) is not supported in your requested Availability Zone (us-east-1a). Please retry your request by not specifying an Availability Zone or choosing us-east-1b, us-east-1c.", err)
	_, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.B.ID})
	l.Want("", err)
	_, err = reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1})
	l.Want("Unsupported", err)
}

// A zone without room for one more instance of a type refuses it until another
// one goes.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func TestInsufficientInstanceCapacity(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, capacity(account.Capacity{InstanceType: "m7i.large", Zone: "us-east-1a", Instances: 1}))
	n := l.Network()
	first, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	_, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("InsufficientInstanceCapacity: We currently do not have sufficient m7i.large capacity in the Availability Zone you requested (us-east-1a).", err)
	if err == nil || !strings.HasSuffix(err.Error(), "choosing us-east-1b, us-east-1c.") {
		t.Errorf("got %v, want the zones with room", err)
	}
	l.Do(func(tx *account.Tx) { instance.Remove(tx, first.ID) })
	_, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
}

// A capacity reservation takes its instances from the zone at once, and keeps
// them for those who use it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html
func TestReservationTakesCapacity(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, capacity(account.Capacity{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Instances: 2}))
	n := l.Network()
	_, err := reserve(l, instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 3})
	l.Want("InsufficientInstanceCapacity", err)
	r, err := reserve(l, instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 2, Match: "targeted"})
	l.Want("", err)
	big := in{"InstanceType": "p5.48xlarge"}
	_, err = launch(l, instance.Launch{Data: data(big), Subnet: n.A.ID})
	l.Want("InsufficientInstanceCapacity", err)
	big["CapacityReservationSpecification"] = in{"CapacityReservationTarget": in{"CapacityReservationId": r.ID}}
	for range 2 {
		_, err = launch(l, instance.Launch{Data: data(big), Subnet: n.A.ID})
		l.Want("", err)
	}
	_, err = launch(l, instance.Launch{Data: data(big), Subnet: n.A.ID})
	l.Want("ReservationCapacityExceeded: The requested reservation does not have sufficient compatible and available capacity for this request.", err)
}

// An instance that targets no reservation runs in an open one of its type and
// zone, and never in a targeted one.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/capacity-reservations-using.html
func TestOpenAndTargetedReservations(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	for _, match := range []string{"targeted", "open"} {
		_, err := reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1, Match: match})
		l.Want("", err)
	}
	var got []string
	for range 2 {
		i, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
		l.Want("", err)
		match := "none"
		l.Do(func(tx *account.Tx) {
			if r := tx.Get(instance.TypeCapacityReservation, props.Str(i.Data, "reservation")); r != nil {
				match = props.Str(r.Props, "InstanceMatchCriteria")
			}
		})
		got = append(got, match)
	}
	if d := cmp.Diff([]string{"open", "none"}, got); d != "" {
		t.Error(d)
	}
	_, err := launch(l, instance.Launch{Data: data(in{"CapacityReservationSpecification": in{"CapacityReservationPreference": "capacity-reservations-only"}}), Subnet: n.A.ID})
	l.Want("ReservationCapacityExceeded", err)
}

// A reservation serves only instances of its type in its zone.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/capacity-reservations-using.html
func TestReservationOfAnotherTypeOrZone(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	r, err := reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1, Match: "targeted"})
	l.Want("", err)
	target := in{"CapacityReservationSpecification": in{"CapacityReservationTarget": in{"CapacityReservationId": r.ID}}}
	_, err = launch(l, instance.Launch{Data: data(target), Subnet: n.B.ID})
	l.Want("ReservationCapacityExceeded", err)
	target["InstanceType"] = "m7i.xlarge"
	_, err = launch(l, instance.Launch{Data: data(target), Subnet: n.A.ID})
	l.Want("ReservationCapacityExceeded", err)
}

// Instances of a capacity block run from its start, only with its market type,
// and are terminated 30 minutes before its end.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-blocks.html
func TestCapacityBlockEnds(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	var start time.Time
	l.Do(func(tx *account.Tx) { start = tx.Now().Add(time.Hour) })
	r, err := reserve(l, instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 1, Block: true, Start: start, End: start.Add(24 * time.Hour)})
	l.Want("", err)
	target := in{"InstanceType": "p5.48xlarge", "CapacityReservationSpecification": in{"CapacityReservationTarget": in{"CapacityReservationId": r.ID}}}
	_, err = launch(l, instance.Launch{Data: data(target), Subnet: n.A.ID})
	l.Want("InvalidParameterValue: The market type", err)
	target["InstanceMarketOptions"] = in{"MarketType": "capacity-block"}
	run := func() error {
		_, err := launch(l, instance.Launch{Data: data(target), Subnet: n.A.ID})
		return err
	}
	l.Want("ReservationCapacityExceeded", run())
	got := []string{r.Status}
	l.Wait(time.Hour)
	got = append(got, r.Status)
	l.Want("", run())
	there := func() (n int) {
		l.Do(func(tx *account.Tx) { n = len(tx.List(instance.TypeInstance)) })
		return n
	}
	l.Wait(23*time.Hour + 29*time.Minute)
	if there() != 1 {
		t.Error("the instance went before its time")
	}
	l.Wait(2 * time.Minute)
	if there() != 0 {
		t.Error("the instance outlived its block")
	}
	l.Want("ReservationCapacityExceeded", run())
	l.Wait(30 * time.Minute)
	if d := cmp.Diff([]string{"scheduled", "active", "expired"}, append(got, r.Status)); d != "" {
		t.Error(d)
	}
}

// A capacity reservation with an end expires then; its instances run on.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html
func TestReservationExpires(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	var end time.Time
	l.Do(func(tx *account.Tx) { end = tx.Now().Add(time.Hour) })
	r, err := reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1, End: end})
	l.Want("", err)
	i, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	got := []string{r.Status, props.Str(i.Data, "reservation")}
	l.Wait(time.Hour)
	later, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	if d := cmp.Diff([]string{"active", r.ID, "expired", "", "running", ""}, append(got, r.Status, props.Str(i.Data, "reservation"), i.Status, props.Str(later.Data, "reservation"))); d != "" {
		t.Error(d)
	}
}

// Running instances count by their vCPUs against a quota of their families, and
// so do reservations that nobody uses; capacity blocks don't.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html
func TestVCPUQuota(t *testing.T) {
	t.Parallel()
	const standard, p = "L-1216C47A", "L-417A185B"
	l := ec2test.New(t, ec2test.Options{World: account.World{Quotas: map[string]int{standard: 5, p: 0}}})
	n := l.Network()
	for range 2 {
		_, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
		l.Want("", err)
	}
	const words = "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
	_, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want(words, err)
	_, err = reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1})
	l.Want(words, err)
	_, err = launch(l, instance.Launch{Data: data(in{"InstanceType": "p5.48xlarge"}), Subnet: n.A.ID})
	l.Want("VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows", err)
	block, err := reserve(l, instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 1, Block: true})
	l.Want("", err)
	_, err = launch(l, instance.Launch{Subnet: n.A.ID, Data: data(in{
		"InstanceType": "p5.48xlarge", "InstanceMarketOptions": in{"MarketType": "capacity-block"},
		"CapacityReservationSpecification": in{"CapacityReservationTarget": in{"CapacityReservationId": block.ID}},
	})})
	l.Want("", err)
}

// A reservation that nobody uses takes vCPUs of the quota as if it were used.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-capacity-reservations.html
func TestUnusedReservationTakesVCPUs(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{World: account.World{Quotas: map[string]int{"L-1216C47A": 4}}})
	n := l.Network()
	_, err := reserve(l, instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1b", Count: 1, Match: "targeted"})
	l.Want("", err)
	_, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	_, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("VcpuLimitExceeded", err)
}

// A volume that a claim made by itself stays when its instance goes; one that the
// launch made goes along.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/preserving-volumes-on-termination.html
// https://docs.aws.amazon.com/eks/latest/userguide/ebs-csi.html
func TestVolumesOfClaimsStay(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	i, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	l.Do(func(tx *account.Tx) {
		instance.AddVolume(tx, instance.Volume{
			Zone: "us-east-1a", Kind: "gp3", GB: 20, Instance: i.ID, Device: "/dev/xvdaa", Owner: "csi",
			Tags: map[string]string{"kubernetes.io/created-for/pvc/name": "data"},
		})
		if got := len(instance.VolumesOf(tx, i.ID)); got != 2 {
			t.Errorf("the instance has %d volumes, want 2", got)
		}
		instance.Remove(tx, i.ID)
		left := tx.List(instance.TypeVolume)
		if len(left) != 1 || left[0].Status != "available" || left[0].Tags["kubernetes.io/created-for/pvc/name"] != "data" {
			t.Errorf("left are %+v, want the claim's volume, available", left)
		}
	})
}

// Interfaces that the VPC CNI plugin attached to a node can stay behind when the
// node goes; they hold subnet and groups till somebody deletes them.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managing-vpc-cni.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
// https://github.com/aws/amazon-vpc-cni-k8s/issues/1223
func TestInterfacesOfNodesLeak(t *testing.T) {
	t.Parallel()
	for _, leak := range []bool{false, true} {
		l := ec2test.New(t, ec2test.Options{World: account.World{LeakedInterfaces: leak}})
		n := l.Network()
		i, err := launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID, Groups: []string{n.Group.ID}})
		l.Want("", err)
		var second *account.Resource
		l.Do(func(tx *account.Tx) {
			second, err = ec2.AddInterface(tx, ec2.Interface{Subnet: n.A.ID, Groups: []string{n.Group.ID}, Owner: i.ID, Instance: i.ID, Description: "aws-K8S-" + i.ID, Secondary: 5})
			l.Want("", err)
			instance.Remove(tx, i.ID)
		})
		if !leak {
			l.Gone(n.Group, n.A)
			continue
		}
		l.Held("DependencyViolation: resource", n.Group)
		l.Held("DependencyViolation: The subnet", n.A)
		if second.Status != "available" {
			t.Errorf("the interface is %s, want available", second.Status)
		}
		l.Gone(second, n.Group, n.A)
	}
}
