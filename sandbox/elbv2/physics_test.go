package elbv2_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// An application load balancer has subnets in two zones at least, one in each.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
func TestLoadBalancerSubnets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.public[:1]})
	check(t, err, "ValidationError: At least two subnets in two different Availability Zones must be specified")
	_, err = w.create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": append(slices.Clone(w.public), w.private[0]), "Scheme": "internal"})
	check(t, err, "InvalidConfigurationRequest: A load balancer cannot be attached to multiple subnets in the same Availability Zone")
	w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.public})
}

// Each subnet of a load balancer is a /27 at least, with eight free addresses.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
func TestLoadBalancerNeedsRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subnet := func(cidr string) string {
		return w.must(t, ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": cidr, "AvailabilityZone": "us-east-1c"})
	}
	small, full := subnet("10.0.201.0/28"), subnet("10.0.202.0/27")
	fill := func(n int) {
		w.do(t, func(tx *account.Tx) error {
			_, err := ec2.AddInterface(tx, ec2.Interface{Subnet: full, Secondary: n - 1})
			return err
		})
	}
	create := func(id string) error {
		_, err := w.fork().create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": append([]any{id}, w.private...), "Scheme": "internal"})
		return err
	}
	check(t, create(small), "InvalidSubnet: The CIDR block 10.0.201.0/28 of subnet "+small+" is too small.")
	fill(19) // of 27
	check(t, create(full), "")
	fill(1)
	check(t, create(full), "InvalidSubnet: Not enough IP space available in "+full+". ELB requires at least 8 free IP addresses in each subnet.")
}

// An internet-facing load balancer needs subnets with a route to an internet
// gateway.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html
func TestInternetFacingNeedsAGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.private})
	check(t, err, "InvalidSubnet: Subnet "+w.private[0].(string)+" of an internet-facing load balancer has no route to an internet gateway")
	_, err = w.create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": []any{w.elsewhere}})
	check(t, err, "InvalidSubnet: VPC "+w.other+" has no internet gateway")
}

// A load balancer's subnets, security groups and target groups are of one VPC.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
func TestLoadBalancerStaysInItsVPC(t *testing.T) {
	t.Parallel()
	w, lb, _ := built(t)
	_, err := w.create(elbv2.TypeLoadBalancer, obj{"Name": "b", "Subnets": append(slices.Clone(w.public), w.elsewhere)})
	check(t, err, "InvalidConfigurationRequest: All subnets of a load balancer must belong to the same VPC")
	_, err = w.create(elbv2.TypeLoadBalancer, obj{"Name": "b", "Subnets": w.public, "SecurityGroups": []any{w.foreign}})
	check(t, err, "InvalidConfigurationRequest: Security group '"+w.foreign+"' does not belong to VPC '"+w.vpc+"'")
	group := w.must(t, elbv2.TypeTargetGroup, obj{"Name": "elsewhere", "Protocol": "HTTPS", "Port": 443, "VpcId": w.other})
	_, err = w.create(elbv2.TypeListener, obj{"LoadBalancerArn": lb, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{forward(group)}})
	check(t, err, "InvalidConfigurationRequest: The target group '"+group+"' is not in the VPC '"+w.vpc+"' of the load balancer")
}

// Names of load balancers and of target groups are unique in an account and
// region.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	w, _, _ := built(t)
	_, err := w.create(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.private, "Scheme": "internal"})
	check(t, err, "DuplicateLoadBalancerName: A load balancer with the same name 'lb' exists, but with different settings")
	_, err = w.create(elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTP", "Port": 80, "VpcId": w.vpc})
	check(t, err, "DuplicateTargetGroupName: A target group with the same name 'g' exists, but with different settings")
}

// A load balancer has an interface in each subnet, requester-managed and named
// after it, with a public address if it faces the internet. They stay for some
// minutes after the load balancer's deletion and block that of subnets and
// groups.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-delete.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestInterfacesOfLoadBalancers(t *testing.T) {
	t.Parallel()
	w, lb, _ := built(t)
	var faces []*account.Resource
	look := func() int {
		w.do(t, func(tx *account.Tx) error {
			faces = ec2.InterfacesOf(tx, lb)
			return nil
		})
		return len(faces)
	}
	if n := look(); n != 2 {
		t.Fatalf("%d interfaces, want one in each subnet", n)
	}
	w.do(t, func(tx *account.Tx) error {
		name := props.Str(tx.Get(elbv2.TypeLoadBalancer, lb).Attrs, "LoadBalancerFullName")
		for _, f := range faces {
			got := []string{props.Str(f.Props, "Description"), props.Str(f.Data, "requester"), f.Status}
			if d := cmp.Diff([]string{"ELB " + name, "amazon-elb", "in-use"}, got); d != "" || ec2.PublicIP(tx, f) == "" {
				t.Errorf("public address %q, %s", ec2.PublicIP(tx, f), d)
			}
		}
		_, err := tx.Delete(tx.Get(elbv2.TypeLoadBalancer, lb), true)
		return err
	})
	w.now = w.now.Add(61 * time.Second) // its deletion takes 60 seconds
	w.do(t, func(tx *account.Tx) error {
		if tx.Get(elbv2.TypeLoadBalancer, lb) != nil {
			t.Error("the load balancer is still there")
		}
		_, err := tx.Delete(tx.Get(ec2.TypeSubnet, w.public[0].(string)), false)
		check(t, err, "DependencyViolation: The subnet '"+w.public[0].(string)+"' has dependencies and cannot be deleted.")
		return nil
	})
	if n := look(); n != 2 {
		t.Errorf("%d interfaces right after the deletion, want 2", n)
	}
	w.now = w.now.Add(4 * time.Minute)
	if n := look(); n != 0 {
		t.Errorf("%d interfaces are left, want none", n)
	}
}

// A target group takes as many targets as the account's quota allows.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
func TestTargetQuota(t *testing.T) {
	t.Parallel()
	w, _, group := built(t)
	w.Account = w.CloneIn(func() time.Time { return w.now }, account.World{Quotas: map[string]int{"L-A0D0B863": 1}})
	register := func(ids ...string) error {
		targets := []any{}
		for _, id := range ids {
			targets = append(targets, obj{"Id": id})
		}
		_, err := call(t, w, "RegisterTargets", obj{"TargetGroupArn": group, "Targets": targets})
		return err
	}
	check(t, register("10.0.0.10", "10.0.0.11"), "TooManyTargets: The maximum number of targets has been reached")
	check(t, register("10.0.0.10"), "")
}

// A target group can't be deleted while a listener or rule forwards to it.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteTargetGroup.html
func TestTargetGroupInUse(t *testing.T) {
	t.Parallel()
	w, lb, group := built(t)
	listener := w.must(t, elbv2.TypeListener, obj{"LoadBalancerArn": lb, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{forward(group)}})
	remove := func(typ, id string) error {
		return w.Do(func(tx *account.Tx) error {
			r := tx.Get(typ, id)
			if _, err := tx.Delete(r, false); err != nil {
				return err
			}
			return tx.Settle(r, "delete")
		})
	}
	check(t, remove(elbv2.TypeTargetGroup, group), "ResourceInUse: Target group '"+group+"' is currently in use by a listener or a rule")
	check(t, remove(elbv2.TypeListener, listener), "")
	check(t, remove(elbv2.TypeTargetGroup, group), "")
}

// Access logs go only to a bucket with SSE-S3 whose policy lets log delivery
// write below the account's path; this is tried when they are turned on.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyLoadBalancerAttributes.html
func TestAccessLogsNeedABucket(t *testing.T) {
	t.Parallel()
	w, lb, _ := built(t)
	for _, c := range []struct{ bucket, prefix, want string }{
		{"none", "alb", "InvalidConfigurationRequest: S3Bucket: none does not exist"},
		{"kms", "alb", "InvalidConfigurationRequest: Access Denied for bucket: kms. Please check S3bucket permission"},
		{"closed", "alb", "InvalidConfigurationRequest: Access Denied for bucket: closed. Please check S3bucket permission"},
		{"logs", "elsewhere", "InvalidConfigurationRequest: Access Denied for bucket: logs. Please check S3bucket permission"},
		{"logs", "alb/AWSLogs", "InvalidConfigurationRequest: The S3 prefix 'alb/AWSLogs' is not valid"},
		{"account", "alb", ""},
		{"logs", "alb", ""},
	} {
		f := w.fork()
		_, err := call(t, f, "ModifyLoadBalancerAttributes", obj{"LoadBalancerArn": lb, "Attributes": props.List(logs(c.bucket, c.prefix), "LoadBalancerAttributes")})
		check(t, err, c.want)
	}
}

// An HTTPS listener takes only a certificate that is issued.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html
func TestListenerNeedsAnIssuedCertificate(t *testing.T) {
	t.Parallel()
	w, lb, group := built(t)
	listener := func(arn string) error {
		_, err := w.create(elbv2.TypeListener, obj{"LoadBalancerArn": lb, "Port": 443, "Protocol": "HTTPS", "Certificates": []any{obj{"CertificateArn": arn}}, "DefaultActions": []any{forward(group)}})
		return err
	}
	check(t, listener(w.pending), "UnsupportedCertificate: The certificate '"+w.pending+"' must have a fully-qualified domain name")
	check(t, listener(w.issued), "")
}
