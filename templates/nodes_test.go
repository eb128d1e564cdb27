package templates

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestNodeGroups(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Nodes)
	var want []string
	for _, role := range []string{"Core", "Interface", "WebAssistant"} {
		for zone := 1; zone <= 3; zone++ {
			want = append(want, fmt.Sprintf("%sZone%d", role, zone))
		}
	}
	if diff := cmp.Diff(want, d.ofType("AWS::EKS::Nodegroup")); diff != "" {
		t.Fatalf("node groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(object{
		"ClusterName":      object{"Ref": "ClusterName"},
		"NodeRole":         object{"Fn::GetAtt": []any{"WebAssistantNodeRole", "Arn"}},
		"Subnets":          []any{object{"Ref": "NetworkPrivateSubnet2Id"}},
		"AmiType":          "AL2023_x86_64_STANDARD",
		"CapacityType":     "ON_DEMAND",
		"Version":          "1.35",
		"ScalingConfig":    object{"MinSize": 1.0, "DesiredSize": object{"Ref": "WebAssistantZone2DesiredSize"}, "MaxSize": 3.0},
		"UpdateConfig":     object{"MaxUnavailable": 1.0},
		"NodeRepairConfig": object{"Enabled": true},
		"Labels":           object{"node-role.poolhouse/web-assistant": "true"},
		"Taints":           []any{object{"Key": "node-role.poolhouse/dedicated", "Value": "web-assistant", "Effect": "NO_SCHEDULE"}},
		"Tags":             object{"Name": "poolside-web-assistant"},
		"LaunchTemplate": object{
			"Id":      object{"Ref": "WebAssistantLaunchTemplate"},
			"Version": object{"Fn::GetAtt": []any{"WebAssistantLaunchTemplate", "LatestVersionNumber"}},
		},
	}, d.properties(t, "WebAssistantZone2", "AWS::EKS::Nodegroup")); diff != "" {
		t.Errorf("WebAssistantZone2 (-want +got):\n%s", diff)
	}
	if got := d.Parameters["WebAssistantZone2DesiredSize"]; got["Type"] != "Number" || got["Default"] != "1" {
		t.Errorf("desired size: %v", got)
	}
	if taints := d.properties(t, "CoreZone1", "AWS::EKS::Nodegroup")["Taints"]; taints != nil {
		t.Errorf("core nodes have taints: %s", text(taints))
	}
}

func TestNodeTemplate(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Nodes)
	props := d.properties(t, "InterfaceLaunchTemplate", "AWS::EC2::LaunchTemplate")
	data, _ := props["LaunchTemplateData"].(object)
	for key, want := range map[string]any{
		"InstanceType":    "m7i.xlarge",
		"KeyName":         nil, // no SSH
		"ImageId":         nil,
		"UserData":        nil,
		"Monitoring":      object{"Enabled": true},
		"MetadataOptions": object{"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1.0},
		"BlockDeviceMappings": []any{object{"DeviceName": "/dev/xvda", "Ebs": object{
			"VolumeType": "gp3", "VolumeSize": 100.0, "Encrypted": true, "DeleteOnTermination": true,
			"KmsKeyId": object{"Ref": "KeysVolumesKeyArn"},
		}}},
		// Custom groups replace the cluster's own: it must be among them.
		"SecurityGroupIds": []any{
			object{"Ref": "ClusterClusterSecurityGroupId"},
			object{"Ref": "NetworkNodesSecurityGroupId"},
			object{"Ref": "NetworkNodesInterfaceSecurityGroupId"},
		},
	} {
		if diff := cmp.Diff(want, data[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if got := text(at(props, "TagSpecifications", 0)); !strings.Contains(got, `"ResourceType":"launch-template"`) || !strings.Contains(got, "poolhouse:deployment") {
		t.Errorf("the template itself carries %s", got)
	}
}

func TestNodeRole(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Nodes)
	if diff := cmp.Diff([]string{"CoreNodeRole", "InterfaceNodeRole", "WebAssistantNodeRole"}, d.ofType("AWS::IAM::Role")); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	for _, id := range d.ofType("AWS::IAM::Role") {
		p := d.Resources[id].Properties
		if diff := cmp.Diff([]string{
			"arn:${AWS::Partition}:iam::aws:policy/AmazonEKSWorkerNodePolicy",
			"arn:${AWS::Partition}:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
			"arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore",
		}, texts(p["ManagedPolicyArns"])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if p["Policies"] != nil {
			t.Errorf("%s has policies of its own", id)
		}
	}
}

// Evaluation: two zones, web assistant and API clients on the same nodes.
func TestMergedNodes(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) {
		e := config.Default(config.Evaluation)
		c.Profile, c.Compute, c.Network.Zones = config.Evaluation, e.Compute, 2
	}), architecture.Nodes)
	if diff := cmp.Diff([]string{"CoreZone1", "CoreZone2", "WebAssistantZone1", "WebAssistantZone2"}, d.ofType("AWS::EKS::Nodegroup")); diff != "" {
		t.Errorf("node groups (-want +got):\n%s", diff)
	}
	p := d.properties(t, "WebAssistantZone1", "AWS::EKS::Nodegroup")
	want := object{"node-role.poolhouse/web-assistant": "true", "node-role.poolhouse/interface": "true"}
	if diff := cmp.Diff(want, p["Labels"]); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	groups := texts(at(d.properties(t, "WebAssistantLaunchTemplate", "AWS::EC2::LaunchTemplate"), "LaunchTemplateData", "SecurityGroupIds"))
	if diff := cmp.Diff([]string{
		"${ClusterClusterSecurityGroupId}", "${NetworkNodesSecurityGroupId}",
		"${NetworkNodesWebAssistantSecurityGroupId}", "${NetworkNodesInterfaceSecurityGroupId}",
	}, groups); diff != "" {
		t.Errorf("security groups (-want +got):\n%s", diff)
	}
}

// EKS takes instance types in one place only.
func TestInstanceTypes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		types    []string
		template any
		group    any
		ami      string
	}{
		"one":      {[]string{"m7i.xlarge"}, "m7i.xlarge", nil, "AL2023_x86_64_STANDARD"},
		"several":  {[]string{"m7i.xlarge", "m6i.xlarge"}, nil, []any{"m7i.xlarge", "m6i.xlarge"}, "AL2023_x86_64_STANDARD"},
		"graviton": {[]string{"m8g.xlarge"}, "m8g.xlarge", nil, "AL2023_ARM_64_STANDARD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, func(c *config.Config) { c.Compute[0].InstanceTypes = test.types }), architecture.Nodes)
			g := d.properties(t, "CoreZone1", "AWS::EKS::Nodegroup")
			if diff := cmp.Diff(test.template, at(d.properties(t, "CoreLaunchTemplate", "AWS::EC2::LaunchTemplate"), "LaunchTemplateData", "InstanceType")); diff != "" {
				t.Errorf("launch template (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.group, g["InstanceTypes"]); diff != "" {
				t.Errorf("node group (-want +got):\n%s", diff)
			}
			if g["AmiType"] != test.ami {
				t.Errorf("image is %v, want %s", g["AmiType"], test.ami)
			}
		})
	}
}

func TestGraviton(t *testing.T) {
	t.Parallel()
	for instanceType, want := range map[string]bool{
		"m7g.xlarge": true, "c7gn.medium": true, "t4g.small": true, "im4gn.large": true, "is4gen.large": true, "a1.large": true, "x2gd.large": true,
		"m7i.xlarge": false, "g6.xlarge": false, "g6e.xlarge": false, "gr6.4xlarge": false, "p5en.48xlarge": false, "p6-b200.48xlarge": false, "m6id.large": false,
	} {
		if got := graviton(instanceType); got != want {
			t.Errorf("graviton(%s) = %t", instanceType, got)
		}
	}
}

func TestUserLabelsAndTaints(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) {
		c.Compute[0].Labels = map[string]string{"example.com/team": "platform"}
		c.Compute[0].Taints = []config.Taint{
			{Key: "example.com/soft", Effect: "PreferNoSchedule"}, {Key: "example.com/hard", Value: "yes", Effect: "NoExecute"},
		}
	}), architecture.Nodes)
	p := d.properties(t, "CoreZone3", "AWS::EKS::Nodegroup")
	if diff := cmp.Diff(object{"example.com/team": "platform", "node-role.poolhouse/core": "true"}, p["Labels"]); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{
		object{"Key": "example.com/soft", "Effect": "PREFER_NO_SCHEDULE"},
		object{"Key": "example.com/hard", "Value": "yes", "Effect": "NO_EXECUTE"},
	}, p["Taints"]); diff != "" {
		t.Errorf("taints (-want +got):\n%s", diff)
	}
}

// A template is sent inline. Tags of the greatest number and length are in it
// once for each kind of resource that a launch template makes.
func TestTemplatesFitWithManyTags(t *testing.T) {
	t.Parallel()
	a := planned(t, withGPU(config.NodeGroup{Max: 3}), func(c *config.Config) {
		c.Tags = map[string]string{}
		for i := range 40 {
			c.Tags[fmt.Sprintf("%s-%02d", strings.Repeat("k", 125), i)] = strings.Repeat("v", 256)
		}
		c.PermissionBoundary = "arn:aws:iam::123456789012:policy/" + strings.Repeat("b", 128)
	})
	for _, s := range a.Stacks {
		if out, err := build(a, s); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		} else {
			t.Logf("%s: %d bytes", s.Name, len(out.Body))
		}
	}
}
