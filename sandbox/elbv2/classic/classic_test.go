package classic_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

const name = "a0123456789abcdef0123456789abcde"

// world is an account with a VPC and a security group in it.
type world struct {
	t          *testing.T
	box        *sandbox.Sandbox
	elb        *elb.Client
	vpc, group string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, box: testkit.Sandbox(t, sandbox.Options{})}
	w.elb = elb.NewFromConfig(testkit.Config(w.box))
	w.vpc = w.make("AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"})
	w.group = w.make("AWS::EC2::SecurityGroup", map[string]any{"VpcId": w.vpc, "GroupName": "k8s-elb-" + name, "GroupDescription": "of a Service"})
	return w
}

func (w *world) make(typ string, p map[string]any) string {
	w.t.Helper()
	return testkit.MustCreate(w.t, w.box, typ, p).ID
}

func (w *world) subnet(cidr, zone string) string {
	w.t.Helper()
	return w.make("AWS::EC2::Subnet", map[string]any{"VpcId": w.vpc, "CidrBlock": cidr, "AvailabilityZone": "us-east-1" + zone})
}

// create makes a load balancer as Kubernetes does.
func (w *world) create(change func(*elb.CreateLoadBalancerInput), subnets ...string) error {
	in := &elb.CreateLoadBalancerInput{
		LoadBalancerName: new(name), Scheme: new("internal"), Subnets: subnets, SecurityGroups: []string{w.group},
		Listeners: []types.Listener{{Protocol: new("TCP"), LoadBalancerPort: 80, InstanceProtocol: new("TCP"), InstancePort: new(int32(31080))}},
		Tags:      []types.Tag{{Key: new("kubernetes.io/cluster/poolside"), Value: new("owned")}},
	}
	if change != nil {
		change(in)
	}
	_, err := w.elb.CreateLoadBalancer(w.t.Context(), in)
	return err
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused checks that an error has a text.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A classic load balancer is described by its name, with its listeners, subnets,
// zones and groups, and is none of version 2.
//
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancers.html
func TestDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.subnet("10.0.0.0/24", "a")
	w.must(w.create(nil, a))
	got, err := w.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerNames: []string{name}})
	w.must(err)
	want := []types.LoadBalancerDescription{{
		LoadBalancerName: new(name), Scheme: new("internal"), VPCId: &w.vpc, Subnets: []string{a}, AvailabilityZones: []string{"us-east-1a"}, SecurityGroups: []string{w.group},
		ListenerDescriptions: []types.ListenerDescription{{Listener: &types.Listener{Protocol: new("TCP"), LoadBalancerPort: 80, InstanceProtocol: new("TCP"), InstancePort: new(int32(31080))}}},
	}}
	if diff := cmp.Diff(want, got.LoadBalancerDescriptions, cmpopts.IgnoreUnexported(types.LoadBalancerDescription{}, types.ListenerDescription{}, types.Listener{}),
		cmpopts.IgnoreFields(types.LoadBalancerDescription{}, "DNSName", "CanonicalHostedZoneName", "CanonicalHostedZoneNameID", "CreatedTime", "Instances", "BackendServerDescriptions")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = w.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerNames: []string{"other"}})
	refused(t, err, "LoadBalancerNotFound: There is no ACTIVE Load Balancer named 'other'")
	v2, err := elbv2.NewFromConfig(testkit.Config(w.box)).DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{})
	w.must(err)
	if len(v2.LoadBalancers) != 0 {
		t.Errorf("version 2 lists %v", v2.LoadBalancers)
	}
}

// The tags of a classic load balancer are read, added and removed by its name.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/add-remove-tags.html
func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.create(nil, w.subnet("10.0.0.0/24", "a")))
	_, err := w.elb.AddTags(t.Context(), &elb.AddTagsInput{LoadBalancerNames: []string{name}, Tags: []types.Tag{{Key: new("team"), Value: new("a")}}})
	w.must(err)
	_, err = w.elb.RemoveTags(t.Context(), &elb.RemoveTagsInput{LoadBalancerNames: []string{name}, Tags: []types.TagKeyOnly{{Key: new("kubernetes.io/cluster/poolside")}}})
	w.must(err)
	got, err := w.elb.DescribeTags(t.Context(), &elb.DescribeTagsInput{LoadBalancerNames: []string{name}})
	w.must(err)
	if tags := got.TagDescriptions[0].Tags; len(tags) != 1 || *tags[0].Key != "team" || *tags[0].Value != "a" {
		t.Errorf("the tags are %v", tags)
	}
	_, err = w.elb.DescribeTags(t.Context(), &elb.DescribeTagsInput{LoadBalancerNames: []string{name, "other"}})
	refused(t, err, "LoadBalancerNotFound")
}

// A classic load balancer's name is unique, it has a listener at least, and one
// subnet in each zone of a single VPC, whose security groups it takes.
//
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancer.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-manage-subnets.html
func TestCreationIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, again, small := w.subnet("10.0.0.0/24", "a"), w.subnet("10.0.1.0/24", "a"), w.subnet("10.0.2.0/28", "b")
	foreign := w.make("AWS::EC2::SecurityGroup", map[string]any{"VpcId": w.make("AWS::EC2::VPC", map[string]any{"CidrBlock": "10.9.0.0/16"}), "GroupDescription": "of another VPC"})
	listeners := func(l ...types.Listener) func(*elb.CreateLoadBalancerInput) {
		return func(in *elb.CreateLoadBalancerInput) { in.Listeners = l }
	}
	refused(t, w.create(nil, a, again), "InvalidConfigurationRequest: A load balancer cannot be attached to several subnets in the Availability Zone us-east-1a")
	refused(t, w.create(nil, small), "InvalidSubnet: Not enough IP space available in "+small)
	refused(t, w.create(nil, "subnet-0123"), "SubnetNotFound")
	refused(t, w.create(func(in *elb.CreateLoadBalancerInput) { in.SecurityGroups = []string{foreign} }, a), "InvalidSecurityGroup")
	refused(t, w.create(func(in *elb.CreateLoadBalancerInput) { in.LoadBalancerName = new("with_underscore") }, a), "ValidationError")
	refused(t, w.create(func(in *elb.CreateLoadBalancerInput) { in.Scheme = new("public") }, a), "InvalidScheme")
	refused(t, w.create(func(in *elb.CreateLoadBalancerInput) { in.Scheme = nil }, a), "InvalidSubnet: VPC "+w.vpc+" has no internet gateway")
	refused(t, w.create(listeners(types.Listener{Protocol: new("UDP"), LoadBalancerPort: 80, InstancePort: new(int32(80))}), a), "UnsupportedProtocol")
	refused(t, w.create(listeners(types.Listener{Protocol: new("TCP"), LoadBalancerPort: 0, InstancePort: new(int32(80))}), a), "ValidationError")
	w.must(w.create(nil, a))
	refused(t, w.create(nil, a), "DuplicateLoadBalancerName")
}

// A classic load balancer is gone at once, and deleting one that isn't there
// succeeds; its interfaces, requester-managed and named after it, hold their
// subnets and security groups for some minutes more.
//
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DeleteLoadBalancer.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestInterfacesOutliveIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(w.create(nil, w.subnet("10.0.0.0/24", "a"), w.subnet("10.0.1.0/24", "b")))
		instances := ec2.NewFromConfig(testkit.Config(w.box))
		interfaces := func() int {
			t.Helper()
			got, err := instances.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{})
			w.must(err)
			for _, face := range got.NetworkInterfaces {
				if *face.Description != "ELB "+name || *face.RequesterId != "amazon-elb" || !*face.RequesterManaged {
					t.Errorf("interface %s of %s is %q", *face.NetworkInterfaceId, *face.RequesterId, *face.Description)
				}
			}
			return len(got.NetworkInterfaces)
		}
		for range 2 {
			_, err := w.elb.DeleteLoadBalancer(t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerName: new(name)})
			w.must(err)
		}
		_, err := w.elb.DescribeTags(t.Context(), &elb.DescribeTagsInput{LoadBalancerNames: []string{name}})
		refused(t, err, "LoadBalancerNotFound")
		if n := interfaces(); n != 2 {
			t.Errorf("%d interfaces right after, want 2", n)
		}
		_, err = instances.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &w.group})
		refused(t, err, "DependencyViolation")
		time.Sleep(time.Hour)
		w.must(w.box.Account().Do(func(*account.Tx) error { return nil }))
		if n := interfaces(); n != 0 {
			t.Errorf("%d interfaces an hour later", n)
		}
		_, err = instances.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &w.group})
		w.must(err)
	})
}
