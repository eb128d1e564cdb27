package verify_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
)

const (
	typeNodegroup = "AWS::EKS::Nodegroup"
	nodeInterface = "AWS::EC2::NetworkInterface"
	nodeSubnet    = "AWS::EC2::Subnet"
)

// group changes node groups in the store, by their logical ids.
func group(f func(tx *account.Tx, r *account.Resource), ids ...string) func(*wrecker) error {
	return func(w *wrecker) error {
		for _, id := range ids {
			if err := w.change(typeNodegroup, logical(id), f); err != nil {
				return err
			}
		}
		return nil
	}
}

// template changes the first version of a launch template in the store.
func template(id string, f func(data map[string]any)) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change(instance.TypeLaunchTemplate, logical(id), func(_ *account.Tx, r *account.Resource) {
			f(props.Map(instance.Versions(r)[0], "data"))
		})
	}
}

// node is an instance of a node group.
func node(tx *account.Tx, group string) *account.Resource {
	g := tx.Find(typeNodegroup, logical(group))
	return tx.Find(instance.TypeInstance, func(r *account.Resource) bool {
		return g != nil && r.Tags["eks:nodegroup-name"] == g.Attrs["NodegroupName"]
	})
}

// onNode changes the store around an instance of a node group.
func onNode(group string, f func(tx *account.Tx, i *account.Resource) error) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.box.Account().Do(func(tx *account.Tx) error {
			i := node(tx, group)
			if i == nil {
				return account.Errorf("NotThere", "no instance of %s", group)
			}
			return f(tx, i)
		})
	}
}

func nodeWrecks() []wreck {
	return []wreck{
		{check: "nodes-roles", also: []string{"nodes-no-others"}, by: group(func(_ *account.Tx, r *account.Resource) { delete(r.Props, "Labels") }, "InterfaceZone1", "InterfaceZone2", "InterfaceZone3")},
		{check: "nodes-roles", name: "failed", also: []string{"nodes-health"}, by: group(func(_ *account.Tx, r *account.Resource) { r.Status = "CREATE_FAILED" }, "InterfaceZone1", "InterfaceZone2", "InterfaceZone3")},
		{check: "nodes-apart", by: group(func(_ *account.Tx, r *account.Resource) { delete(r.Props, "Taints") }, "InterfaceZone2")},
		{
			check: "nodes-apart", name: "mixed", also: []string{"nodes-sizes", "nodes-zones"}, // the group no longer counts for its role
			by: group(func(_ *account.Tx, r *account.Resource) {
				labels := props.Map(r.Props, "Labels")
				labels["node-role.poolhouse/core"] = "true"
			}, "InterfaceZone2"),
		},
		{check: "nodes-no-others", by: onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
			tx.Put(&account.Resource{
				Type: i.Type, ID: "i-0123456789abcdef0", Status: "running", Props: i.Props, Attrs: i.Attrs, Data: i.Data, Owner: "Karpenter",
				Tags: map[string]string{"kubernetes.io/cluster/poolside": "owned"},
			})
			return nil
		})},
		{check: "nodes-private", by: group(func(tx *account.Tx, r *account.Resource) {
			r.Props["Subnets"] = []any{tx.Find(nodeSubnet, logical("PublicSubnet1")).ID}
		}, "CoreZone1")},
		{check: "nodes-private", name: "other tier", by: group(func(tx *account.Tx, r *account.Resource) {
			r.Props["Subnets"] = []any{tx.Find(nodeSubnet, logical("ControlPlaneSubnet1")).ID}
		}, "CoreZone1")},
		{check: "public-addresses", name: "elastic", by: onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
			eip, _, err := tx.Create("AWS::EC2::EIP", map[string]any{"Domain": "vpc"}, "test", false)
			if err != nil {
				return err
			}
			eni := tx.Find(nodeInterface, func(r *account.Resource) bool { return props.Str(r.Data, "attachment", "instance") == i.ID })
			_, _, err = tx.Create("AWS::EC2::EIPAssociation", map[string]any{"AllocationId": eip.Attrs["AllocationId"], "NetworkInterfaceId": eni.ID}, "test", false)
			return err
		})},
		{check: "nodes-zones", by: group(func(tx *account.Tx, r *account.Resource) {
			r.Props["Subnets"] = []any{tx.Find(nodeSubnet, logical("PrivateSubnet1")).ID}
		}, "CoreZone3")},
		{check: "nodes-running", also: []string{"nodes-zones"}, by: onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error { // it was the only one in its zone
			instance.Remove(tx, i.ID)
			return nil
		})},
		{check: "nodes-sizes", by: func(w *wrecker) error {
			cluster := aws.String(w.arch.ClusterName())
			list, err := w.aws.EKS.ListNodegroups(w.ctx, &eks.ListNodegroupsInput{ClusterName: cluster})
			if err != nil {
				return err
			}
			_, err = w.aws.EKS.UpdateNodegroupConfig(w.ctx, &eks.UpdateNodegroupConfigInput{
				ClusterName: cluster, NodegroupName: &list.Nodegroups[0], ScalingConfig: &types.NodegroupScalingConfig{MaxSize: aws.Int32(50)},
			})
			return err
		}},
		{check: "nodes-health", by: group(func(tx *account.Tx, r *account.Resource) {
			tx.Drop("AWS::IAM::InstanceProfile", "eks-"+props.Str(r.Data, "uuid"))
		}, "CoreZone1")},
		{check: "nodes-version", by: group(func(_ *account.Tx, r *account.Resource) { r.Data["version"] = "1.34" }, "CoreZone1")},
		{check: "nodes-image", by: group(func(_ *account.Tx, r *account.Resource) { r.Data["amiType"] = "CUSTOM" }, "CoreZone1")},
		{check: "nodes-instance-types", by: template("CoreLaunchTemplate", func(data map[string]any) { data["InstanceType"] = "t3.large" })},
		{check: "nodes-capacity", by: group(func(_ *account.Tx, r *account.Resource) { r.Props["CapacityType"] = "SPOT" }, "CoreZone1")},
		{check: "nodes-capacity", name: "reservation", example: "gpu-inference", by: template("GpuLaunchTemplate", func(data map[string]any) { delete(data, "CapacityReservationSpecification") })},
		{check: "nodes-repair", by: group(func(_ *account.Tx, r *account.Resource) { delete(r.Props, "NodeRepairConfig") }, "CoreZone1")},
		{check: "nodes-imds", by: template("CoreLaunchTemplate", func(data map[string]any) { props.Map(data, "MetadataOptions")["HttpPutResponseHopLimit"] = 2 })},
		{check: "nodes-imds", name: "tokens", by: template("CoreLaunchTemplate", func(data map[string]any) { delete(data, "MetadataOptions") })},
		{check: "nodes-imds-running", by: func(w *wrecker) error {
			id := ""
			if err := onNode("InterfaceZone1", func(_ *account.Tx, i *account.Resource) error { id = i.ID; return nil })(w); err != nil {
				return err
			}
			_, err := w.aws.EC2.ModifyInstanceMetadataOptions(w.ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: &id, HttpTokens: ec2types.HttpTokensStateOptional})
			return err
		}},
		{check: "nodes-volumes-encrypted", by: template("CoreLaunchTemplate", func(data map[string]any) {
			props.Map(props.Maps(data, "BlockDeviceMappings")[0], "Ebs")["Encrypted"] = false
		})},
		{check: "nodes-volumes-encrypted", name: "none", by: template("CoreLaunchTemplate", func(data map[string]any) { delete(data, "BlockDeviceMappings") })},
		{check: "nodes-volumes-running", by: onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
			v := instance.VolumesOf(tx, i.ID)[0]
			v.Props["Encrypted"] = false
			delete(v.Props, "KmsKeyId")
			return nil
		})},
		{check: "nodes-volumes-running", name: "claim", by: func(w *wrecker) error {
			tags := maps.Clone(w.arch.Tags)
			tags["CSIVolumeName"] = "pvc-1"
			return onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
				instance.AddVolume(tx, instance.Volume{Zone: "us-east-1a", Kind: "gp3", GB: 10, Instance: i.ID, Device: "/dev/xvdb", Tags: tags})
				return nil
			})(w)
		}},
		{check: "nodes-no-ssh", by: template("CoreLaunchTemplate", func(data map[string]any) { data["KeyName"] = "ops" })},
		{check: "nodes-no-ssh", name: "instance", by: onNode("CoreZone1", func(_ *account.Tx, i *account.Resource) error {
			props.Map(i.Props, "Template")["KeyName"] = "ops"
			return nil
		})},
		{check: "nodes-no-ssh", name: "remote access", by: group(func(_ *account.Tx, r *account.Resource) {
			r.Props["RemoteAccess"] = map[string]any{"Ec2SshKey": "ops"}
		}, "CoreZone1")},
		{check: "nodes-no-ssh", name: "rule", by: func(w *wrecker) error {
			c, err := w.cluster()
			if err != nil {
				return err
			}
			_, err = w.aws.EC2.AuthorizeSecurityGroupIngress(w.ctx, allow(*c.ResourcesVpcConfig.ClusterSecurityGroupId, 22, "203.0.113.7/32"))
			return err
		}},
		{check: "nodes-session-manager", also: []string{"node-roles-minimal"}, by: func(w *wrecker) error { // it is one of the policies that they must have
			_, err := w.aws.IAM.DetachRolePolicy(w.ctx, &iam.DetachRolePolicyInput{RoleName: aws.String(w.arch.RoleName("core-nodes")), PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")})
			return err
		}},
		{check: "nodes-security-groups", by: template("CoreLaunchTemplate", func(data map[string]any) {
			data["SecurityGroupIds"] = append(props.List(data, "SecurityGroupIds"), "sg-0123456789abcdef0")
		})},
		{check: "nodes-security-groups-running", by: onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
			for _, eni := range tx.List(nodeInterface) {
				if props.Str(eni.Data, "attachment", "instance") == i.ID {
					eni.Data["groups"] = props.List(eni.Data, "groups")[:1]
				}
			}
			return nil
		})},
		{check: "nodes-role-per-kind", by: group(func(tx *account.Tx, r *account.Resource) {
			r.Props["NodeRole"] = tx.Find(typeNodegroup, logical("InterfaceZone1")).Props["NodeRole"]
		}, "CoreZone1")},
		{check: "nodes-access-entry", also: []string{"nodes-health", "nodes-roles"}, by: func(w *wrecker) error {
			return w.expel("arn:aws:iam::123456789012:role/" + w.arch.RoleName("core-nodes"))
		}},
		{check: "nodes-gpu", example: "gpu-inference", also: []string{"nodes-apart"}, by: group(func(_ *account.Tx, r *account.Resource) { delete(r.Props, "Taints") }, "GpuReserved")},
		{check: "nodes-gpu", name: "image", example: "gpu-inference", by: group(func(_ *account.Tx, r *account.Resource) { r.Data["amiType"] = "AL2023_x86_64_STANDARD" }, "GpuReserved")},
		{check: "nodes-gpu", name: "pending", example: "gpu-inference", by: func(w *wrecker) error {
			return w.box.Account().Do(func(tx *account.Tx) error {
				for i := node(tx, "GpuReserved"); i != nil; i = node(tx, "GpuReserved") {
					instance.Remove(tx, i.ID)
				}
				g := tx.Find(typeNodegroup, logical("GpuReserved"))
				tx.Drop(g.Type, g.ID)
				return nil
			})
		}},
	}
}

// TestClaims: volumes of persistent volume claims may have another key, and
// nodes that go are no nodes any more.
func TestClaims(t *testing.T) {
	t.Parallel()
	w := standing(t, "production")
	wr := &wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}
	for _, f := range []func(*wrecker) error{
		onNode("CoreZone1", func(tx *account.Tx, i *account.Resource) error {
			instance.AddVolume(tx, instance.Volume{
				Zone: "us-east-1a", Kind: "gp3", GB: 10, Instance: i.ID, Device: "/dev/xvdb", Encrypted: true, Key: "arn:aws:kms:us-east-1:123456789012:key/theirs",
				Tags: map[string]string{"CSIVolumeName": "pvc-1"},
			})
			gone := *i
			gone.ID, gone.Status = "i-0123456789abcdef0", "shutting-down"
			gone.Props = map[string]any{"InstanceType": "t3.large"}
			tx.Put(&gone)
			return nil
		}),
	} {
		if err := f(wr); err != nil {
			t.Fatal(err)
		}
	}
	rep := w.verify(t, verify.Options{Only: []string{"nodes-*"}})
	if failed := ids(rep.Failed("")); len(failed) > 0 {
		t.Errorf("failed %v", failed)
		say(t, rep)
	}
	i := slices.IndexFunc(rep.Results, func(r verify.Result) bool { return r.ID == "nodes-volumes-running" })
	if want := "9 volumes of nodes encrypted with it, 1 of claims"; rep.Results[i].Evidence[0].Saw != want {
		t.Errorf("saw %q, want %q", rep.Results[i].Evidence[0].Saw, want)
	}
}
