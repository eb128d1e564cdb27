package autoscaling_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type in = ec2test.In

const image = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"

// lab is an account that knows Auto Scaling, with a network.
func lab(t *testing.T) (*ec2test.Lab, ec2test.Network) {
	t.Helper()
	l := ec2test.New(t, ec2test.Options{Types: autoscaling.Types()})
	return l, l.Network()
}

func template(l *ec2test.Lab, more in) *account.Resource {
	l.T.Helper()
	d := in{"InstanceType": "t3.small", "ImageId": image}
	for k, v := range more {
		d[k] = v
	}
	return l.Make(instance.TypeLaunchTemplate, in{"LaunchTemplateData": d})
}

func group(lt *account.Resource, more in) in {
	p := in{"MinSize": "1", "MaxSize": "4", "LaunchTemplate": in{"LaunchTemplateId": lt.ID, "Version": lt.Attrs["LatestVersionNumber"]}}
	for k, v := range more {
		p[k] = v
	}
	return p
}

// zones are the zones of a group's instances, by instance.
func zones(l *ec2test.Lab, g *account.Resource) (out map[string]int) {
	out = map[string]int{}
	l.Do(func(tx *account.Tx) {
		for _, i := range autoscaling.Instances(tx, g) {
			out[props.Str(i.Attrs, "AvailabilityZone")]++
		}
	})
	return out
}

// A group is refused whose name is taken, or whose launch template, subnets or
// zones do not fit.
//
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt, untyped := template(l, nil), template(l, in{"InstanceType": nil})
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID})
	pinned := template(l, in{"NetworkInterfaces": []any{in{"DeviceIndex": 0, "NetworkInterfaceId": eni.ID}}})
	subnets := []any{n.A.ID, n.B.ID}
	l.Make(autoscaling.TypeGroup, group(lt, in{"AutoScalingGroupName": "taken", "VPCZoneIdentifier": subnets}))
	l.Check([]ec2test.Case{
		{"name", autoscaling.TypeGroup, group(lt, in{"AutoScalingGroupName": "taken", "VPCZoneIdentifier": subnets}), "AlreadyExists: AutoScalingGroup by this name already exists"},
		{"bounds", autoscaling.TypeGroup, group(lt, in{"MinSize": "5", "VPCZoneIdentifier": subnets}), "ValidationError: Min bound, 5, must be less than or equal to max bound, 4"},
		{"desired", autoscaling.TypeGroup, group(lt, in{"DesiredCapacity": "9", "VPCZoneIdentifier": subnets}), "ValidationError: Desired capacity:9 must be between the specified min size:1 and max size:4"},
		{"no template", autoscaling.TypeGroup, in{"MinSize": "1", "MaxSize": "1", "VPCZoneIdentifier": subnets}, "ValidationError: Valid requests must contain either LaunchTemplate"},
		{"unknown template", autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": subnets, "LaunchTemplate": in{"LaunchTemplateId": "lt-0", "Version": "1"}}), "ValidationError: You must use a valid fully-formed launch template. The specified launch template, with template ID lt-0, does not exist."},
		{"unknown version", autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": subnets, "LaunchTemplate": in{"LaunchTemplateId": lt.ID, "Version": "7"}}), "ValidationError: You must use a valid fully-formed launch template."},
		{"no type", autoscaling.TypeGroup, group(untyped, in{"VPCZoneIdentifier": subnets}), "ValidationError: You must use a valid fully-formed launch template. The request must contain the parameter InstanceType"},
		{"subnet", autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": []any{"subnet-0"}}), "ValidationError: The subnet ID 'subnet-0' does not exist"},
		{"nowhere", autoscaling.TypeGroup, group(lt, nil), "ValidationError: At least one Availability Zone or VPC Subnet is required."},
		{"zones", autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": subnets, "AvailabilityZones": []any{"us-east-1c"}}), "ValidationError: The availability zones of the specified subnets and the Auto Scaling group do not match"},
		{"no default VPC", autoscaling.TypeGroup, group(lt, in{"AvailabilityZones": []any{"us-east-1a"}}), "ValidationError: No default VPC for this user"},
		{"target group", autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": subnets, "TargetGroupARNs": []any{"arn:none"}}), "ValidationError: Provided Target Groups may not be valid."},
		{"interface and subnet", autoscaling.TypeGroup, group(pinned, in{"VPCZoneIdentifier": []any{n.A.ID}}), "ValidationError: You must use a valid fully-formed launch template. Network interfaces and an instance-level subnet ID may not be specified on the same request"},
		{"interface in another zone", autoscaling.TypeGroup, group(pinned, in{"AvailabilityZones": []any{"us-east-1b"}}), "ValidationError: You must use a valid fully-formed launch template. The network interface"},
		{"interface", autoscaling.TypeGroup, group(pinned, in{"AvailabilityZones": []any{"us-east-1a"}}), ""},
		{"two for one interface", autoscaling.TypeGroup, group(pinned, in{"AvailabilityZones": []any{"us-east-1a"}, "MinSize": "2"}), "NotStabilized: Group did not stabilize. {current/minimum/target} instances = {1/2/2}. Failed Scaling Activity: Launching a new EC2 instance failed. Interface: [" + eni.ID + "] in use."},
	})
}

// A group's instances are spread over its zones, follow its size, and leave with
// it.
//
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html
func TestScaling(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	l.Do(func(tx *account.Tx) { iam.EnsureServiceLinkedRole(tx, "autoscaling.amazonaws.com") }) // stays
	before := len(l.Account.Resources())
	sized := func(minimum, desired string) in {
		p := group(lt, in{"MinSize": minimum, "VPCZoneIdentifier": []any{n.A.ID, n.B.ID}, "Tags": []any{in{"Key": "Name", "Value": "node", "PropagateAtLaunch": true}, in{"Key": "own", "Value": "x", "PropagateAtLaunch": false}}})
		if desired != "" {
			p["DesiredCapacity"] = desired
		}
		return p
	}
	g := l.Make(autoscaling.TypeGroup, sized("1", "3"))
	if diff := cmp.Diff(map[string]int{"us-east-1a": 2, "us-east-1b": 1}, zones(l, g)); diff != "" {
		t.Errorf("zones: %s", diff)
	}
	l.Do(func(tx *account.Tx) {
		i := autoscaling.Instances(tx, g)[0]
		if diff := cmp.Diff(map[string]string{"Name": "node", "aws:autoscaling:groupName": g.ID}, i.Tags); diff != "" {
			t.Errorf("tags of an instance: %s", diff)
		}
	})
	l.Held("DependencyViolation", n.A)
	l.Want("", l.Update(g, sized("2", "4")))
	l.Want("", l.Update(g, sized("2", ""))) // keeps what it has
	if got := autoscaling.Desired(g); got != 4 {
		t.Errorf("desired capacity is %d, want 4", got)
	}
	l.Want("", l.Update(g, sized("0", "1")))
	l.Wait(time.Hour)
	if got := zones(l, g); got["us-east-1a"]+got["us-east-1b"] != 1 {
		t.Errorf("got instances in %v, want one", got)
	}
	l.Want("", l.Update(g, sized("2", "2")))
	l.Gone(g)
	if after := len(l.Account.Resources()); after != before {
		t.Errorf("got %d resources after deletion, want %d", after, before)
	}
}

// TestVolumeKey: the service-linked role, made when it is first needed, has to
// be allowed by the policy of the key of encrypted volumes.
func TestVolumeKey(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	var role any
	l.Do(func(tx *account.Tx) { role = iam.EnsureServiceLinkedRole(tx, "autoscaling.amazonaws.com").Attrs["Arn"] })
	statement := func(principal any, action ...any) any {
		return in{"Effect": "Allow", "Principal": in{"AWS": principal}, "Action": action, "Resource": "*"}
	}
	root := statement("arn:aws:iam::123456789012:root", "kms:*")
	use := statement(role, "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
	grant := statement(role, "kms:CreateGrant")
	for _, c := range []struct {
		name       string
		statements []any
		want       string
	}{
		{"account only", []any{root}, "NotStabilized: Group did not stabilize. {current/minimum/target} instances = {0/1/1}. Failed Scaling Activity: Launching a new EC2 instance failed. Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Client.InternalError: Client error on launch"},
		{"without grants", []any{root, use}, "NotStabilized"},
		{"complete", []any{root, use, grant}, ""},
	} {
		key := l.Make(kms.TypeKey, in{"KeyPolicy": in{"Version": "2012-10-17", "Statement": c.statements}})
		lt := template(l, in{"BlockDeviceMappings": []any{in{"DeviceName": "/dev/xvda", "Ebs": in{"Encrypted": true, "KmsKeyId": key.Attrs["Arn"]}}}})
		_, err := l.Create(autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}}))
		t.Run(c.name, func(t *testing.T) { (&ec2test.Lab{T: t}).Want(c.want, err) })
	}
}

// With a rolling update policy a new version of the launch template replaces the
// instances of a stack's group; without one they stay as they are.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.A.ID})
	face := in{"NetworkInterfaces": []any{in{"DeviceIndex": 0, "NetworkInterfaceId": eni.ID}}}
	lt := template(l, face)
	p := func() in { return group(lt, in{"AvailabilityZones": []any{"us-east-1a"}, "MaxSize": "1"}) }
	g := l.Make(autoscaling.TypeGroup, p())
	version := func() (v int) {
		l.Do(func(tx *account.Tx) {
			for _, i := range autoscaling.Instances(tx, g) {
				v = props.Int(i.Data, 0, "version")
			}
		})
		return v
	}
	next := in{"LaunchTemplateData": in{"InstanceType": "t3.medium", "ImageId": image, "NetworkInterfaces": face["NetworkInterfaces"]}}
	l.Want("", l.Update(lt, next))
	l.Want("", l.Update(g, p()))
	if got := version(); got != 1 {
		t.Errorf("without a policy the instance has version %d, want 1", got)
	}
	g.Data["UpdatePolicy"] = in{"AutoScalingRollingUpdate": in{"MinInstancesInService": 0}}
	l.Want("", l.Update(g, p()))
	if got := version(); got != 2 {
		t.Errorf("with a policy the instance has version %d, want 2", got)
	}
}

// call calls an operation of the API.
func call(l *ec2test.Lab, name string, request in) (out in, err error) {
	l.T.Helper()
	for _, op := range autoscaling.Service().Operations {
		if op.Name != name {
			continue
		}
		l.Do(func(tx *account.Tx) {
			var v any
			v, err = op.Do(tx, &wire.Request{In: request, Caller: "test"})
			out, _ = v.(in)
		})
		return out, err
	}
	l.T.Fatalf("no operation %s", name)
	return nil, nil
}

func TestAPI(t *testing.T) {
	t.Parallel()
	l, n := lab(t)
	lt := template(l, nil)
	g := l.Make(autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}, "Tags": []any{in{"Key": "team", "Value": "a", "PropagateAtLaunch": true}}}))
	l.Make(autoscaling.TypeGroup, group(lt, in{"VPCZoneIdentifier": []any{n.A.ID}, "MinSize": "0"}))
	_, err := call(l, "SetDesiredCapacity", in{"AutoScalingGroupName": "none", "DesiredCapacity": "2"})
	l.Want("ValidationError: AutoScalingGroup name not found - AutoScalingGroup 'none' not found", err)
	_, err = call(l, "SetDesiredCapacity", in{"AutoScalingGroupName": g.ID, "DesiredCapacity": "5"})
	l.Want("ValidationError: New SetDesiredCapacity value 5 is above max value 4 for the AutoScalingGroup.", err)
	_, err = call(l, "SetDesiredCapacity", in{"AutoScalingGroupName": g.ID, "DesiredCapacity": "3"})
	l.Want("", err)
	_, err = call(l, "UpdateAutoScalingGroup", in{"AutoScalingGroupName": g.ID, "MaxSize": "2", "MinSize": "2"})
	l.Want("", err)
	_, err = call(l, "UpdateAutoScalingGroup", in{"AutoScalingGroupName": g.ID, "MaxSize": "1"})
	l.Want("ValidationError: Min bound, 2", err)
	l.Wait(time.Hour)
	for _, c := range []struct {
		request in
		want    int
	}{
		{nil, 2},
		{in{"AutoScalingGroupNames": []any{g.ID}}, 1},
		{in{"AutoScalingGroupNames": []any{"none"}}, 0},
		{in{"Filters": []any{in{"Name": "tag:team", "Values": []any{"a", "b"}}}}, 1},
		{in{"Filters": []any{in{"Name": "tag-key", "Values": []any{"other"}}}}, 0},
		{in{"MaxRecords": "1"}, 1},
	} {
		out, err := call(l, "DescribeAutoScalingGroups", c.request)
		l.Want("", err)
		if got := len(props.List(out, "AutoScalingGroups")); got != c.want {
			t.Errorf("%v: got %d groups, want %d", c.request, got, c.want)
		}
	}
	_, err = call(l, "DescribeAutoScalingGroups", in{"Filters": []any{in{"Name": "name", "Values": []any{"x"}}}})
	l.Want("ValidationError", err)
	out, err := call(l, "DescribeAutoScalingGroups", in{"AutoScalingGroupNames": []any{g.ID}})
	l.Want("", err)
	item := props.Maps(out, "AutoScalingGroups")[0]
	if props.Int(item, 0, "DesiredCapacity") != 2 || len(props.Maps(item, "Instances")) != 2 || props.Str(props.Maps(item, "Instances")[0], "LifecycleState") != "InService" {
		t.Errorf("got group %v", item)
	}
	out, err = call(l, "DescribeScalingActivities", in{"AutoScalingGroupName": g.ID})
	l.Want("", err)
	if got := len(props.List(out, "Activities")); got != 4 {
		t.Errorf("got %d activities, want 3 launches and 1 termination", got)
	}
}
