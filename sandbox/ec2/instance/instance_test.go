package instance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

type in = ec2test.In

const (
	arm = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
	x86 = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
)

func data(more in) in {
	p := in{"InstanceType": "m7i.large", "ImageId": x86, "MetadataOptions": in{"HttpTokens": "required", "HttpPutResponseHopLimit": 1}}
	for k, v := range more {
		p[k] = v
	}
	return p
}

func volume(more in) in {
	p := in{"VolumeType": "gp3", "VolumeSize": 50, "Encrypted": true}
	for k, v := range more {
		p[k] = v
	}
	return in{"BlockDeviceMappings": []any{in{"DeviceName": "/dev/xvda", "Ebs": p}}}
}

func TestLaunchTemplates(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	lt := func(more in) in { return in{"LaunchTemplateData": data(more)} }
	l.Make(instance.TypeLaunchTemplate, in{"LaunchTemplateName": "taken", "LaunchTemplateData": data(nil)})
	l.Check([]ec2test.Case{
		{"good", instance.TypeLaunchTemplate, lt(in{"SecurityGroupIds": []any{n.Group.ID}, "UserData": "IyEvYmluL3No"}), ""},
		{"name taken", instance.TypeLaunchTemplate, in{"LaunchTemplateName": "taken", "LaunchTemplateData": data(nil)}, "InvalidLaunchTemplateName.AlreadyExistsException: Launch template name already in use."},
		{"name", instance.TypeLaunchTemplate, in{"LaunchTemplateName": "a b", "LaunchTemplateData": data(nil)}, "InvalidLaunchTemplateName.MalformedException"},
		{"type", instance.TypeLaunchTemplate, lt(in{"InstanceType": "m7i.huge"}), "InvalidParameterValue: Invalid value 'm7i.huge' for InstanceType."},
		{"image", instance.TypeLaunchTemplate, lt(in{"ImageId": "ami-0123456789abcdef0"}), "InvalidAMIID.NotFound: The image id '[ami-0123456789abcdef0]' does not exist"},
		{"image form", instance.TypeLaunchTemplate, lt(in{"ImageId": "al2023"}), "InvalidAMIID.Malformed"},
		{"image parameter", instance.TypeLaunchTemplate, lt(in{"ImageId": "resolve:ssm:/nothing"}), "InvalidParameterValue: Systems Manager parameter /nothing"},
		{"architecture", instance.TypeLaunchTemplate, lt(in{"ImageId": arm}), "InvalidParameterValue: The architecture 'x86_64' of the specified instance type does not match the architecture 'arm64' of the specified AMI."},
		{"tokens", instance.TypeLaunchTemplate, lt(in{"MetadataOptions": in{"HttpTokens": "always"}}), "InvalidParameterValue: Value (always) for parameter HttpTokens"},
		{"hops", instance.TypeLaunchTemplate, lt(in{"MetadataOptions": in{"HttpPutResponseHopLimit": 65}}), "InvalidParameterValue"},
		{"volume type", instance.TypeLaunchTemplate, lt(volume(in{"VolumeType": "gp9"})), "InvalidParameterValue: Unknown volume type 'gp9'"},
		{"volume size", instance.TypeLaunchTemplate, lt(volume(in{"VolumeSize": 0})), "InvalidParameterValue: Volume of 0GiB"},
		{"iops", instance.TypeLaunchTemplate, lt(volume(in{"Iops": 100})), "InvalidParameterValue: Volume iops of 100"},
		{"iops for gp2", instance.TypeLaunchTemplate, lt(volume(in{"VolumeType": "gp2", "Iops": 3000})), "InvalidParameterCombination"},
		{"throughput", instance.TypeLaunchTemplate, lt(volume(in{"Throughput": 5000})), "InvalidParameterValue: Throughput"},
		{"key", instance.TypeLaunchTemplate, lt(volume(in{"KmsKeyId": "alias/none"})), "InvalidParameterValue: The KMS key 'alias/none' does not exist"},
		{"key of AWS", instance.TypeLaunchTemplate, lt(volume(in{"KmsKeyId": "alias/aws/ebs"})), ""},
		{"key without encryption", instance.TypeLaunchTemplate, lt(volume(in{"KmsKeyId": "alias/aws/ebs", "Encrypted": false})), "InvalidParameterDependency"},
		{"group", instance.TypeLaunchTemplate, lt(in{"SecurityGroupIds": []any{"sg-0"}}), "InvalidGroup.NotFound"},
		{"groups twice", instance.TypeLaunchTemplate, lt(in{"SecurityGroupIds": []any{n.Group.ID}, "NetworkInterfaces": []any{in{"DeviceIndex": 0}}}), "InvalidParameterCombination: Network interfaces and an instance-level security groups"},
		{"interface", instance.TypeLaunchTemplate, lt(in{"NetworkInterfaces": []any{in{"NetworkInterfaceId": "eni-0"}}}), "InvalidNetworkInterfaceID.NotFound"},
		{"device index", instance.TypeLaunchTemplate, lt(in{"NetworkInterfaces": []any{in{"DeviceIndex": 0}, in{"DeviceIndex": "0"}}}), "InvalidParameterValue: Each network interface requires a unique device index."},
		{"reservation", instance.TypeLaunchTemplate, lt(in{"CapacityReservationSpecification": in{"CapacityReservationTarget": in{"CapacityReservationId": "cr-0"}}}), "InvalidCapacityReservationId.NotFound"},
		{"block without reservation", instance.TypeLaunchTemplate, lt(in{"InstanceMarketOptions": in{"MarketType": "capacity-block"}}), "InvalidParameterValue"},
		{"user data", instance.TypeLaunchTemplate, lt(in{"UserData": "#!/bin/sh"}), "InvalidUserData.Malformed"},
		{"tags", instance.TypeLaunchTemplate, lt(in{"TagSpecifications": []any{in{"ResourceType": "vpc"}}}), "InvalidParameterValue"},
		{"requirements", instance.TypeLaunchTemplate, lt(in{"InstanceRequirements": in{}}), "NotModelled"},
	})
}

// A launch template's versions stay as they are: a change makes the next one.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/manage-launch-template-versions.html
func TestVersions(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	first := in{"LaunchTemplateData": data(nil)}
	lt := l.Make(instance.TypeLaunchTemplate, first)
	l.Want("", l.Update(lt, in{"LaunchTemplateData": data(in{"InstanceType": "m7i.xlarge"})}))
	l.Want("", l.Update(lt, in{"LaunchTemplateData": data(in{"InstanceType": "m7i.xlarge"}), "TagSpecifications": []any{}}))
	l.Want("InvalidParameterValue", l.Update(lt, in{"LaunchTemplateData": data(in{"InstanceType": "m7i.huge"})}))
	if lt.Attrs["LatestVersionNumber"] != "2" || lt.Attrs["DefaultVersionNumber"] != "1" {
		t.Errorf("got versions %v, want latest 2 and default 1, as texts", lt.Attrs)
	}
	spec := func(kind string) in {
		return in{"LaunchTemplateData": data(in{"InstanceType": "m7i.xlarge"}), "TagSpecifications": []any{in{"ResourceType": kind, "Tags": []any{in{"Key": "team", "Value": kind}}}}}
	}
	l.Want("", l.Update(lt, spec("launch-template")))
	l.Want("InvalidParameterValue", l.Update(lt, spec("instance")))
	if lt.Tags["team"] != "launch-template" || lt.Attrs["LatestVersionNumber"] != "2" {
		t.Errorf("got tags %v and version %v, want a tag and no new version", lt.Tags, lt.Attrs["LatestVersionNumber"])
	}
	for version, want := range map[string]string{"$Latest": "m7i.xlarge", "$Default": "m7i.large", "": "m7i.large", "2": "m7i.xlarge"} {
		d, _, err := instance.TemplateData(lt, version)
		l.Want("", err)
		if got := props.Str(d, "InstanceType"); got != want {
			t.Errorf("version %q has type %s, want %s", version, got, want)
		}
	}
	_, _, err := instance.TemplateData(lt, "3")
	l.Want("InvalidLaunchTemplateId.VersionNotFound: Could not find the specified version 3 for the launch template with ID "+lt.ID+".", err)
}

// launch launches, in a request of its own.
func launch(l *ec2test.Lab, v instance.Launch) (r *account.Resource, err error) {
	l.Do(func(tx *account.Tx) { r, err = instance.Run(tx, v) })
	return r, err
}

// An instance's volumes and interfaces go with it, and hold subnet and security
// group till then.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
func TestInstances(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	before := len(l.Account.Resources())
	tags := in{"TagSpecifications": []any{in{"ResourceType": "volume", "Tags": []any{in{"Key": "of", "Value": "volume"}}}}}
	r, err := launch(l, instance.Launch{Data: data(tags), Subnet: n.A.ID, Groups: []string{n.Group.ID}, Owner: "group", Secondary: 3, Tags: map[string]string{"of": "instance"}})
	l.Want("", err)
	if r.Status != "pending" || r.Tags["of"] != "instance" || r.Attrs["AvailabilityZone"] != "us-east-1a" {
		t.Errorf("got instance %+v", r)
	}
	l.Wait(time.Minute)
	if r.Status != "running" {
		t.Errorf("after a minute the instance is %s, want running", r.Status)
	}
	l.Do(func(tx *account.Tx) {
		if v := instance.VolumesOf(tx, r.ID); len(v) != 1 || v[0].Props["Size"] != 8 || v[0].Tags["of"] != "volume" {
			t.Errorf("got volumes %+v, want the image's one", v)
		}
		if got := ec2.AvailableAddresses(tx, n.A); got != 251-4 {
			t.Errorf("got %d free addresses, want %d", got, 251-4)
		}
	})
	l.Held("DependencyViolation", n.A)
	l.Held("DependencyViolation", n.Group)
	l.Do(func(tx *account.Tx) { instance.Terminate(tx, r.ID) })
	if r.Status != "shutting-down" {
		t.Errorf("got status %s, want shutting-down", r.Status)
	}
	l.Wait(time.Hour)
	if after := len(l.Account.Resources()); after != before {
		t.Errorf("got %d resources after termination, want %d", after, before)
	}
}

// TestLaunchRefusals: what EC2 only sees when it launches, leaving nothing.
func TestLaunchRefusals(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	role := "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
	root := in{"Effect": "Allow", "Principal": in{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"}
	closed := l.Make(kms.TypeKey, in{"KeyPolicy": in{"Version": "2012-10-17", "Statement": []any{root}}})
	for name, c := range map[string]struct {
		v    instance.Launch
		want string
	}{
		"subnet":  {instance.Launch{Data: data(nil), Subnet: "subnet-0"}, "InvalidSubnetID.NotFound"},
		"key":     {instance.Launch{Data: data(volume(in{"KmsKeyId": closed.ID})), Subnet: n.A.ID, Role: role}, "Client.InternalError: Client error on launch"},
		"profile": {instance.Launch{Data: data(in{"IamInstanceProfile": in{"Name": "none"}}), Subnet: n.A.ID}, "InvalidParameterValue: Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"},
		"full":    {instance.Launch{Data: data(nil), Subnet: n.B.ID, Secondary: 11}, "InsufficientFreeAddressesInSubnet"},
		"no type": {instance.Launch{Data: in{"ImageId": x86}, Subnet: n.A.ID}, "InvalidParameterValue"},
	} {
		before := len(l.Account.Resources())
		_, err := launch(l, c.v)
		l.Want(c.want, err)
		if after := len(l.Account.Resources()); after != before {
			t.Errorf("%s: %d resources left behind", name, after-before)
		}
	}
}

// An interface that exists carries its address from one instance to the next,
// and only one instance has it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
func TestFixedInterface(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	eni := l.Make(ec2.TypeNetworkInterface, in{"SubnetId": n.B.ID, "SourceDestCheck": false})
	d := data(in{"NetworkInterfaces": []any{in{"DeviceIndex": 0, "NetworkInterfaceId": eni.ID}}})
	_, err := launch(l, instance.Launch{Data: d, Subnet: n.B.ID})
	l.Want("InvalidParameterCombination: Network interfaces and an instance-level subnet ID", err)
	first, err := launch(l, instance.Launch{Data: d})
	l.Want("", err)
	if got := props.Str(first.Attrs, "AvailabilityZone"); got != "us-east-1b" {
		t.Errorf("instance is in %s, want the interface's zone", got)
	}
	l.Held("InvalidParameterValue: Network interface '"+eni.ID+"' is currently in use.", eni)
	_, err = launch(l, instance.Launch{Data: d})
	l.Want("InvalidNetworkInterface.InUse", err)
	l.Do(func(tx *account.Tx) { instance.Remove(tx, first.ID) })
	second, err := launch(l, instance.Launch{Data: d})
	l.Want("", err)
	if second.Attrs["PrivateIp"] != first.Attrs["PrivateIp"] {
		t.Errorf("address moved from %v to %v", first.Attrs["PrivateIp"], second.Attrs["PrivateIp"])
	}
}

func TestReservations(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	reserve := func(v instance.Reservation) (r *account.Resource) {
		l.Do(func(tx *account.Tx) {
			var err error
			r, err = instance.Reserve(tx, v)
			l.Want("", err)
		})
		return r
	}
	l.Do(func(tx *account.Tx) {
		for _, v := range []instance.Reservation{
			{InstanceType: "p5.huge", Zone: "us-east-1a", Count: 1}, {InstanceType: "p5.48xlarge", Zone: "us-east-1z", Count: 1}, {InstanceType: "p5.48xlarge", Zone: "us-east-1a"},
		} {
			_, err := instance.Reserve(tx, v)
			l.Want("InvalidParameterValue", err)
		}
	})
	target := func(id string, more in) in {
		d := data(in{"InstanceType": "p5.48xlarge", "CapacityReservationSpecification": in{"CapacityReservationTarget": in{"CapacityReservationId": id}}})
		for k, v := range more {
			d[k] = v
		}
		return d
	}
	r := reserve(instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 1, Match: "targeted"})
	_, err := launch(l, instance.Launch{Data: target(r.ID, nil), Subnet: n.B.ID})
	l.Want("ReservationCapacityExceeded", err) // another zone
	_, err = launch(l, instance.Launch{Data: target(r.ID, in{"InstanceType": "g5.xlarge"}), Subnet: n.A.ID})
	l.Want("ReservationCapacityExceeded", err) // another type
	i, err := launch(l, instance.Launch{Data: target(r.ID, nil), Subnet: n.A.ID})
	l.Want("", err)
	_, err = launch(l, instance.Launch{Data: target(r.ID, nil), Subnet: n.A.ID})
	l.Want("ReservationCapacityExceeded: The requested reservation does not have sufficient compatible and available capacity for this request.", err)
	l.Do(func(tx *account.Tx) {
		if got := instance.Available(tx, r); got != 0 {
			t.Errorf("got %d available, want 0", got)
		}
		instance.Remove(tx, i.ID)
		if got := instance.Available(tx, r); got != 1 {
			t.Errorf("got %d available, want 1", got)
		}
	})
	block := reserve(instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 1, Block: true})
	_, err = launch(l, instance.Launch{Data: target(block.ID, nil), Subnet: n.A.ID})
	l.Want("InvalidParameterValue: The market type", err)
	_, err = launch(l, instance.Launch{Data: target(block.ID, in{"InstanceMarketOptions": in{"MarketType": "capacity-block"}}), Subnet: n.A.ID})
	l.Want("", err)
	open := reserve(instance.Reservation{InstanceType: "m7i.large", Zone: "us-east-1a", Count: 1})
	i, err = launch(l, instance.Launch{Data: data(nil), Subnet: n.A.ID})
	l.Want("", err)
	if got := props.Str(i.Data, "reservation"); got != open.ID {
		t.Errorf("instance runs in reservation %q, want the open one %s", got, open.ID)
	}
}

// TestTypes reads the whole table.
func TestTypes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range instance.AllTypes(nil) {
		if seen[v.Name] || v.VCPUs < 1 || v.MemoryMiB < 512 || v.Interfaces < 1 || v.Addresses < 2 || v.Arch != "x86_64" && v.Arch != "arm64" || (v.GPUs > 0) != (v.GPU != "" && v.GPUMemoryMiB > 0) {
			t.Errorf("bad row %+v", v)
		}
		seen[v.Name] = true
	}
	// From AWS's published list of pods for each type.
	for name, pods := range map[string]int{"t3.medium": 17, "m5.large": 29, "m7i.4xlarge": 234, "g5.xlarge": 58, "p4d.24xlarge": 737} {
		if v, ok := instance.FindType(nil, name); !ok || v.MaxPods() != pods {
			t.Errorf("%s takes %d pods, want %d", name, v.MaxPods(), pods)
		}
	}
	l := ec2test.New(t, ec2test.Options{})
	l.Do(func(tx *account.Tx) {
		ids := map[string]bool{}
		for _, i := range instance.Images(tx) {
			if ids[i.ID] || !strings.HasPrefix(i.Parameter, "/aws/service/") {
				t.Errorf("bad image %+v", i)
			}
			ids[i.ID] = true
			if got, err := instance.FindImage(tx, "resolve:ssm:"+i.Parameter); err != nil || got.ID != i.ID {
				t.Errorf("parameter %s leads to %v, %v", i.Parameter, got, err)
			}
		}
	})
}
