package templates

import (
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/autoscaling"
	"github.com/poolhouse/poolhouse/cfn/cloudwatch"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/iam"
	"github.com/poolhouse/poolhouse/config"
)

// addNAT gives the private subnets their way out. Whatever the mode, a private
// route table's default route has one logical id: a change of mode updates the
// route in place, where a second route to the same destination would be refused
// (RouteAlreadyExists). Gateways and instances have addresses of their own,
// since an address in use by a gateway can't move first.
func (v *vpc) addNAT() {
	defer v.announce()
	mode := v.a.Config.Network.NAT.Mode
	count := natCount(mode, len(v.private))
	var each func(zone int) way
	switch mode {
	case config.NATGatewayPerZone, config.NATSingleGateway:
		each = v.addGateway
	case config.NATInstancePerZone, config.NATSingleInstance:
		v.t.Parameter(scriptParameter, cfn.Parameter{Default: cfn.V(natScript(v.a))})
		shared := natShared{
			profile: v.addInstanceProfile(), tags: deploymentTags(v.t, v.a), before: v.internet,
			image: v.t.Parameter("NatImage", cfn.Parameter{Default: cfn.V(natImage)}).Ref(),
		}
		each = func(zone int) way {
			w := v.addInstance(zone, shared)
			shared.before = w.ready
			return w
		}
	default:
		return
	}
	var ways []way
	var addresses, groups []cfn.Value[string]
	for zone := range count {
		w := each(zone)
		ways = append(ways, w)
		if !w.group.IsZero() {
			groups = append(groups, w.group)
		}
		v.addresses = append(v.addresses, w.address)
		addresses = append(addresses, w.address.Att("PublicIp"))
	}
	for zone, table := range v.private {
		w := ways[min(zone, count-1)]
		route := w.target
		route.RouteTableId = table.Ref()
		route.DestinationCidrBlock = cfn.V(anywhere)
		v.t.Add(cfn.LogicalID("PrivateDefaultRoute"+number(zone)), route, cfn.DependsOn(w.ready))
	}
	v.t.OutputList(AddressesOutput, cfn.ListOf(addresses...))
	if len(groups) > 0 {
		v.t.OutputList(natGroupsOutput, cfn.ListOf(groups...))
	}
}

// natGroupsOutput, in the stack network, are the names of the groups of
// self-managed NAT, by zone.
const natGroupsOutput = "NatGroups"

// watchNAT raises an alarm of each group of self-managed NAT at a topic: when the
// instance fails a status check of EC2, and when there is none to check, for five
// minutes. It is in another stack than the groups, whose template is full, and
// knows no more than EC2 does: whether an instance forwards is asked from the
// subnets behind it, see package egress.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_metrics_with_cloudwatch.html
func watchNAT(t *cfn.Template, a *architecture.Architecture, topic cfn.Handle) {
	mode := a.Config.Network.NAT.Mode
	if a.Config.Network.Exists() || mode != config.NATInstancePerZone && mode != config.NATSingleInstance {
		return
	}
	groups := t.InputList(string(architecture.Network), natGroupsOutput)
	for zone := range natCount(mode, a.Config.Network.Zones) {
		n := number(zone)
		t.Add(cfn.LogicalID("NatAlarm"+n), cloudwatch.Alarm{
			AlarmDescription:   cfn.V("Self-managed NAT " + n + " of " + a.Name() + ": it fails EC2's status checks, or is not there, for 5 minutes"),
			Namespace:          cfn.V("AWS/EC2"),
			MetricName:         cfn.V("StatusCheckFailed"),
			Dimensions:         []cloudwatch.Dimension{{Name: cfn.V("AutoScalingGroupName"), Value: cfn.Select(zone, groups)}},
			Statistic:          cfn.V("Maximum"),
			Period:             cfn.V(60),
			EvaluationPeriods:  cfn.V(5),
			Threshold:          cfn.V(0.0),
			ComparisonOperator: cfn.V("GreaterThanThreshold"),
			TreatMissingData:   cfn.V("breaching"),
			AlarmActions:       cfn.ListOf(topic.Ref()),
			OKActions:          cfn.ListOf(topic.Ref()),
		})
	}
}

// natCount is how many ways out a mode has in so many zones.
func natCount(mode config.NATMode, zones int) int {
	if mode == config.NATSingleGateway || mode == config.NATSingleInstance {
		return 1
	}
	return zones
}

// addressID is the logical id of a mode's address in a zone: the same in both
// modes of a kind, so that what stays keeps its address.
func addressID(mode config.NATMode, zone int) cfn.LogicalID {
	kind := "NatGatewayAddress"
	if mode == config.NATInstancePerZone || mode == config.NATSingleInstance {
		kind = "NatInstanceAddress"
	}
	return cfn.LogicalID(kind + number(zone))
}

// announce allocates the addresses of the mode that is to come, as far as they
// are not there, under the logical ids that they keep.
func (v *vpc) announce() {
	mode := v.a.Config.Network.NAT.Announce
	if mode == "" {
		return
	}
	has := map[cfn.LogicalID]cfn.Handle{}
	for zone, h := range v.addresses {
		has[addressID(v.a.Config.Network.NAT.Mode, zone)] = h
	}
	var addresses []cfn.Value[string]
	for zone := range natCount(mode, len(v.private)) {
		h, ok := has[addressID(mode, zone)]
		if !ok {
			h = v.addAddress(mode, zone)
		}
		addresses = append(addresses, h.Att("PublicIp"))
	}
	v.t.OutputList(AnnouncedOutput, cfn.ListOf(addresses...))
}

// way is a way out: the target of routes, its public address, and what must be
// there before routes turn to it, so that a change of mode cuts nobody off for
// longer than it must. Of an instance, group is the name of its group.
type way struct {
	target  ec2.Route
	address cfn.Handle
	ready   cfn.Handle
	group   cfn.Value[string]
}

// addAddress adds the public address of a mode in a zone. It needs the internet gateway.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-eip.html
func (v *vpc) addAddress(mode config.NATMode, zone int) cfn.Handle {
	return v.t.Add(addressID(mode, zone), ec2.EIP{Domain: cfn.V("vpc"), Tags: named(v.a, "nat-"+number(zone))}, cfn.DependsOn(v.attachment))
}

func (v *vpc) addGateway(zone int) way {
	name := "nat-" + number(zone)
	address := v.addAddress(v.a.Config.Network.NAT.Mode, zone)
	gateway := v.t.Add(cfn.LogicalID("NatGateway"+number(zone)), ec2.NatGateway{
		SubnetId:     v.subnets[architecture.Public][zone].Ref(),
		AllocationId: address.Att("AllocationId"),
		Tags:         named(v.a, name),
	}, cfn.DependsOn(v.internet))
	return way{target: ec2.Route{NatGatewayId: gateway.Ref()}, address: address, ready: gateway}
}

// natShared is what the instances of all zones share.
type natShared struct {
	profile cfn.Handle
	tags    []cfn.Tag
	image   cfn.Value[string]
	// before is what an instance has to wait for: the public subnets' way to the
	// internet, then the group of the zone before, so that never more than one
	// zone is without a way out while instances are replaced.
	before cfn.Handle
}

// addInstanceProfile adds the instances' role: they can be reached through
// Session Manager and do nothing else.
func (v *vpc) addInstanceProfile() cfn.Handle {
	r := role(v.a, "nat", "Instances of self-managed NAT of "+v.a.Name(), trust("ec2.amazonaws.com", nil))
	r.ManagedPolicyArns = cfn.ListOf(cfn.Sub("arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"))
	h := v.t.Add("NatRole", r)
	return v.t.Add("NatInstanceProfile", iam.InstanceProfile{
		InstanceProfileName: cfn.V(v.a.RoleName("nat")),
		Roles:               cfn.ListOf(h.Ref()),
	})
}

// addInstance adds a group of exactly one instance. Interface and address are
// fixed, so routes and the egress address survive the instance: the interface
// is the launch template's device 0, with the source/destination check off.
// https://docs.aws.amazon.com/vpc/latest/userguide/work-with-nat-instances.html
func (v *vpc) addInstance(zone int, shared natShared) way {
	n := number(zone)
	name := "nat-" + n
	subnet := v.subnets[architecture.Public][zone]
	device := v.t.Add(cfn.LogicalID("NatInterface"+n), ec2.NetworkInterface{
		SubnetId:        subnet.Ref(),
		GroupSet:        cfn.ListOf(v.group(groupNAT)),
		SourceDestCheck: cfn.V(false),
		Tags:            named(v.a, name),
	})
	address := v.addAddress(v.a.Config.Network.NAT.Mode, zone)
	association := v.t.Add(cfn.LogicalID("NatAddressAssociation"+n), ec2.EIPAssociation{
		AllocationId:       address.Att("AllocationId"),
		NetworkInterfaceId: device.Ref(),
	})
	template := v.t.Add(cfn.LogicalID("NatLaunchTemplate"+n), ec2.LaunchTemplate{
		LaunchTemplateData: &ec2.LaunchTemplateData{
			ImageId:            shared.image,
			InstanceType:       cfn.V(v.a.Config.Network.NAT.InstanceType),
			IamInstanceProfile: &ec2.IamInstanceProfile{Name: shared.profile.Ref()},
			NetworkInterfaces:  []ec2.LaunchTemplateNetworkInterface{{DeviceIndex: cfn.V(0), NetworkInterfaceId: device.Att("Id")}},
			Monitoring:         &ec2.Monitoring{Enabled: cfn.V(true)},
			MetadataOptions: &ec2.MetadataOptions{
				HttpTokens:              cfn.V("required"),
				HttpPutResponseHopLimit: cfn.V(1),
			},
			BlockDeviceMappings: []ec2.BlockDeviceMapping{{
				// Size and type are the image's: 8 GiB of gp3.
				DeviceName: cfn.V("/dev/xvda"),
				Ebs:        &ec2.Ebs{Encrypted: cfn.V(true), KmsKeyId: keyARN(v.t, architecture.KeyVolumes)},
			}},
			UserData:          natUserData("NatGroup" + n),
			TagSpecifications: launchTags(v.a, shared.tags, name, "volume"),
		},
		TagSpecifications: launchTemplateTags(v.a, shared.tags, name),
	})
	group := autoscaling.AutoScalingGroup{
		MinSize: cfn.V("1"),
		MaxSize: cfn.V("1"),
		// With an interface of our own the group is given the zone, not the
		// subnet.
		// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
		AvailabilityZones: cfn.ListOf(subnet.Att("AvailabilityZone")),
		LaunchTemplate: &autoscaling.LaunchTemplateSpecification{
			LaunchTemplateId: template.Ref(),
			Version:          template.Att("LatestVersionNumber"),
		},
		HealthCheckGracePeriod: cfn.V(120),
		// The interface is free only when the old instance is gone.
		InstanceMaintenancePolicy: &autoscaling.InstanceMaintenancePolicy{MinHealthyPercentage: cfn.V(0), MaxHealthyPercentage: cfn.V(100)},
	}
	// Instances get theirs from the group, which CloudFormation hands the stack
	// tags to, even if there are too many to stand here.
	// https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1525
	for _, tag := range ownTags(v.a, shared.tags, name) {
		group.Tags = append(group.Tags, autoscaling.TagProperty{Key: tag.Key, Value: tag.Value, PropagateAtLaunch: cfn.V(true)})
	}
	// An instance that runs forwards nothing yet. The group is ready, and routes
	// turn to it, when the instance has told CloudFormation that it does, which it
	// can only from its own public address.
	instances := v.t.Add(cfn.LogicalID("NatGroup"+n), group,
		cfn.DependsOn(association, shared.before),
		cfn.CreationPolicy(map[string]any{"ResourceSignal": map[string]any{"Count": 1}}),
		cfn.UpdatePolicy(map[string]any{"AutoScalingRollingUpdate": map[string]any{"WaitOnResourceSignals": true}}))
	return way{ec2.Route{NetworkInterfaceId: device.Ref()}, address, instances, instances.Ref()}
}

// natImage is resolved at each launch, so a replacement has the latest image.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html
const natImage = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"

// scriptParameter holds the script of all zones: user data differs by the group.
const scriptParameter = "NatScript"

// natUserData runs the script, whose last words are a call of cfn-signal. Only a
// stack's own operation waits for the signal; for an instance that Auto Scaling
// launches by itself it comes to nothing.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/cfn-signal.html
func natUserData(group string) cfn.Value[string] {
	return cfn.Base64(cfn.Sub("${" + scriptParameter + "}" + group + " --stack ${AWS::StackName}"))
}

// natScript makes an Amazon Linux instance forward what comes from the VPC and
// goes to port 443; pods leave by their node's address, which lies there too. It
// clamps segments to the internet's packets of 1500 bytes: the interfaces on both
// sides take 9001, and ICMP that would tell senders of smaller ones does not pass
// NAT. It ends well only if the kernel takes all of it.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
// https://docs.aws.amazon.com/vpc/latest/userguide/work-with-nat-instances.html
func natScript(a *architecture.Architecture) string {
	return strings.NewReplacer("VPC", a.VPC().String(), "REGION", a.Config.Region).Replace(`#!/bin/bash
(set -e
until dnf install -qy nftables aws-cfn-bootstrap; do sleep 5; done
echo net.ipv4.ip_forward=1 >/etc/sysctl.d/nat.conf
sysctl -qp /etc/sysctl.d/nat.conf
cat >/etc/sysconfig/nftables.conf <<E
flush ruleset
table ip nat {
chain out {
type nat hook postrouting priority srcnat
ip saddr VPC ip daddr != VPC masquerade fully-random
}
chain through {
type filter hook forward priority filter; policy drop
tcp flags syn tcp option maxseg size set 1460
ct state established,related accept
ip saddr VPC tcp dport 443 accept
}
}
E
systemctl enable --now nftables)
/opt/aws/bin/cfn-signal -e $? --region REGION --resource `)
}
