package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/autoscaling"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/iam"
)

// sessionHost is the instance that Session Manager sessions forward through to
// the Kubernetes API: a group of exactly one, in any zone. Nothing reaches it;
// it reaches the control plane and Systems Manager's endpoints, or in a network
// that is there whatever leads to Systems Manager, and has no Kubernetes rights.
// The rules for it are here, not in the stack network, so
// that it can go without that.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-sessions-start.html
func sessionHost(a *architecture.Architecture) *cfn.Template {
	const part = "session-host"
	t := newTemplate(a, architecture.SessionHost)
	tags := deploymentTags(t, a)
	r := role(a, part, "Instance that sessions to the Kubernetes API of "+a.Name()+" go through", trust("ec2.amazonaws.com", nil))
	r.ManagedPolicyArns = managedPolicies("AmazonSSMManagedInstanceCore")
	profile := t.Add("InstanceProfile", iam.InstanceProfile{
		InstanceProfileName: cfn.V(a.RoleName(part)),
		Roles:               cfn.ListOf(t.Add("Role", r).Ref()),
	})
	https := func(g group, why string) ec2.Egress {
		return ec2.Egress{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(443), ToPort: cfn.V(443),
			DestinationSecurityGroupId: securityGroupID(t, g), Description: cfn.V(why),
		}
	}
	out := []ec2.Egress{https(groupControlPlane, "Kubernetes API"), https(groupEndpoints, "Systems Manager")}
	if a.SessionHostGoesOut() {
		out = append(out, ec2.Egress{
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(443), ToPort: cfn.V(443),
			CidrIp: cfn.V(anywhere), Description: cfn.V("Systems Manager, by what the network has"),
		})
	}
	own := t.Add("SecurityGroup", ec2.SecurityGroup{
		GroupDescription:    cfn.V("Session host"),
		VpcId:               vpcID(t),
		SecurityGroupEgress: out,
		Tags:                named(a, part),
	})
	for _, to := range []group{groupControlPlane, groupEndpoints} {
		t.Add(cfn.LogicalID("To"+string(to)+"In"), ec2.SecurityGroupIngress{
			GroupId: securityGroupID(t, to), SourceSecurityGroupId: own.Ref(),
			IpProtocol: cfn.V("tcp"), FromPort: cfn.V(443), ToPort: cfn.V(443), Description: cfn.V("session host"),
		})
	}
	template := t.Add("LaunchTemplate", ec2.LaunchTemplate{
		LaunchTemplateData: &ec2.LaunchTemplateData{
			// The image has the agent. Resolved at each launch.
			ImageId:            cfn.V("resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"),
			InstanceType:       cfn.V("t4g.nano"),
			IamInstanceProfile: &ec2.IamInstanceProfile{Arn: profile.Att("Arn")},
			SecurityGroupIds:   cfn.ListOf(own.Ref()),
			Monitoring:         &ec2.Monitoring{Enabled: cfn.V(true)},
			MetadataOptions: &ec2.MetadataOptions{
				HttpTokens:              cfn.V("required"),
				HttpPutResponseHopLimit: cfn.V(1),
			},
			BlockDeviceMappings: []ec2.BlockDeviceMapping{{
				DeviceName: cfn.V("/dev/xvda"),
				Ebs: &ec2.Ebs{
					VolumeType: cfn.V("gp3"),
					VolumeSize: cfn.V(8),
					Encrypted:  cfn.V(true),
					KmsKeyId:   keyARN(t, architecture.KeyVolumes),
				},
			}},
			TagSpecifications: launchTags(a, tags, part, "volume", "network-interface"),
		},
		TagSpecifications: launchTemplateTags(a, tags, part),
	})
	g := autoscaling.AutoScalingGroup{
		MinSize:           cfn.V("1"),
		MaxSize:           cfn.V("1"),
		VPCZoneIdentifier: subnetIDs(t, architecture.Private),
		LaunchTemplate: &autoscaling.LaunchTemplateSpecification{
			LaunchTemplateId: template.Ref(),
			Version:          template.Att("LatestVersionNumber"),
		},
		HealthCheckGracePeriod: cfn.V(120),
	}
	for _, tag := range ownTags(a, tags, part) {
		g.Tags = append(g.Tags, autoscaling.TagProperty{Key: tag.Key, Value: tag.Value, PropagateAtLaunch: cfn.V(true)})
	}
	t.Add("Group", g, cfn.UpdatePolicy(map[string]any{"AutoScalingRollingUpdate": map[string]any{"MinInstancesInService": 0}}))
	t.Output("GroupName", t.Resource("Group").Ref())
	return t
}
