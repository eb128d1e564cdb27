package nodes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

func nodesIMDS(_ *account.Look, r *check.Recorder, _ account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	saw, ok := "tokens optional", false
	if m := t.MetadataOptions; m != nil {
		saw = fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit))
		ok = m.HttpTokens == ec2types.LaunchTemplateHttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	}
	r.Saw(ok, id, saw, "ec2:DescribeLaunchTemplateVersions", "tokens required, hop limit 1", newNodes)
	return nil
}

func nodesIMDSRunning(l *account.Look, r *check.Recorder) error {
	return ofNodes(l, r, "tokens required, hop limit 1", func(i ec2types.Instance) (string, bool) {
		m := i.MetadataOptions
		if m == nil {
			return "tokens optional", false
		}
		return fmt.Sprintf("tokens %s, hop limit %d", m.HttpTokens, aws.ToInt32(m.HttpPutResponseHopLimit)),
			m.HttpTokens == ec2types.HttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
	})
}

func nodesVolumes(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	want := keys[architecture.KeyVolumes]
	const api = "ec2:DescribeLaunchTemplateVersions"
	key := "the key " + l.Arch.KeyAlias(architecture.KeyVolumes)
	n := 0
	for _, m := range t.BlockDeviceMappings {
		if m.Ebs == nil {
			continue
		}
		n++
		saw := aws.ToString(m.DeviceName) + " not encrypted"
		if aws.ToBool(m.Ebs.Encrypted) {
			saw = aws.ToString(m.DeviceName) + " with " + aws.ToString(m.Ebs.KmsKeyId)
		}
		ok := aws.ToBool(m.Ebs.Encrypted) && want != "" && account.KeyIDOf(aws.ToString(m.Ebs.KmsKeyId)) == want
		r.Saw(ok, id, saw, api, key, newNodes)
	}
	if n == 0 {
		r.Saw(false, id, "no volume: node group "+g.Name()+" takes the image's", api, key, newNodes)
	}
	return nil
}

func nodesVolumesRunning(l *account.Look, r *check.Recorder) error {
	volumes, err := nodeVolumes(l)
	if err != nil {
		return err
	}
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVolumes"
	own, claims := 0, 0
	for _, v := range volumes {
		id, key := aws.ToString(v.VolumeId), aws.ToString(v.KmsKeyId)
		saw := "not encrypted"
		if aws.ToBool(v.Encrypted) {
			saw = "encrypted with " + key
		}
		// The storage class of a claim chooses its key.
		if account.EC2Tags(v.Tags)["CSIVolumeName"] != "" {
			claims++
			if !aws.ToBool(v.Encrypted) {
				r.Saw(false, id, saw+", of a persistent volume claim", api, "encrypted", "set encrypted and kmsKeyId in the storage class, and copy the volume")
			}
			continue
		}
		if aws.ToBool(v.Encrypted) && account.KeyIDOf(key) == keys[architecture.KeyVolumes] {
			own++
			continue
		}
		fix := "drain its node and terminate it: its node group makes a new one"
		r.Saw(false, id, saw, api, "encrypted with "+l.Arch.KeyAlias(architecture.KeyVolumes), fix)
	}
	if own > 0 {
		r.Saw(true, l.Arch.KeyAlias(architecture.KeyVolumes), fmt.Sprintf("%d volumes of nodes encrypted with it, %d of claims", own, claims), api, "", "")
	}
	return nil
}

// admits22 are the ranges that a group lets in on port 22.
func admits22(g ec2types.SecurityGroup) []string {
	var out []string
	for _, p := range g.IpPermissions {
		protocol := aws.ToString(p.IpProtocol)
		if protocol == "-1" || protocol == "tcp" && aws.ToInt32(p.FromPort) <= 22 && aws.ToInt32(p.ToPort) >= 22 {
			out = append(out, account.PermittedRanges(p)...)
		}
	}
	return out
}

func nodesNoSSH(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = eachTemplate(func(_ *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		if g.RemoteAccess != nil {
			r.Saw(false, g.ARN(), "remote access by key "+aws.ToString(g.RemoteAccess.Ec2SshKey), "eks:DescribeNodegroup", "no remote access", newNodes)
		}
		if !seen[id] {
			seen[id] = true
			key := aws.ToString(t.KeyName)
			saw := "no key pair"
			if key != "" {
				saw = "key pair " + key
			}
			r.Saw(key == "", id, saw, "ec2:DescribeLaunchTemplateVersions", "no key pair", newNodes)
		}
		for _, sg := range t.SecurityGroupIds {
			if in := admits22(groups[sg]); len(in) > 0 && !seen[sg] {
				seen[sg] = true
				r.Saw(false, sg, "port 22 open to "+strings.Join(in, ", "), "ec2:DescribeSecurityGroups", "no range on port 22", "remove the rule: aws ec2 revoke-security-group-ingress --group-id "+sg)
			}
		}
		return nil
	})(l, r)
	if err != nil {
		return err
	}
	return ofNodes(l, r, "no key pair", func(i ec2types.Instance) (string, bool) {
		if k := aws.ToString(i.KeyName); k != "" {
			return "key pair " + k, false
		}
		return "no key pair", true
	})
}

// wantedGroups are the security groups that nodes of a group should have, and
// those of them that are not there.
func wantedGroups(l *account.Look, c *types.Cluster, groups map[string]ec2types.SecurityGroup, g account.NodeGroup) (ids, lacking []string) {
	ids = []string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}
	parts := []string{"nodes"}
	for _, role := range g.Plan.Roles() {
		parts = append(parts, "nodes-"+string(role))
	}
	for _, part := range parts {
		if id := l.GroupNamed(groups, part); id != "" {
			ids = append(ids, id)
		} else {
			lacking = append(lacking, l.Arch.ResourceName(part))
		}
	}
	slices.Sort(ids)
	return ids, lacking
}

func nodesSecurityGroups(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	return onceTemplate(func(l *account.Look, r *check.Recorder, g account.NodeGroup, id string, t *ec2types.ResponseLaunchTemplateData) error {
		want, lacking := wantedGroups(l, c, groups, g)
		for _, name := range lacking {
			r.Missing("security group "+name, "ec2:DescribeSecurityGroups", check.FixUpdate)
		}
		has := slices.Sorted(slices.Values(t.SecurityGroupIds))
		r.Saw(slices.Equal(has, want), id, check.OrNothing(has), "ec2:DescribeLaunchTemplateVersions", strings.Join(want, ", "), newNodes)
		return nil
	})(l, r)
}

func nodesSecurityGroupsRunning(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	groups, err := l.GroupsByID()
	if err != nil {
		return err
	}
	nodeGroups, err := l.NodeGroups()
	if err != nil {
		return err
	}
	byName := map[string]account.NodeGroup{}
	for _, g := range nodeGroups {
		byName[g.Name()] = g
	}
	return ofNodes(l, r, "the groups of its launch template", func(i ec2types.Instance) (string, bool) {
		g := byName[groupOf(i)]
		if g.Plan == nil {
			return "node of no role", true // see nodes-no-others
		}
		want, _ := wantedGroups(l, c, groups, g)
		var has []string
		for _, sg := range i.SecurityGroups {
			has = append(has, aws.ToString(sg.GroupId))
		}
		slices.Sort(has)
		return "groups " + check.OrNothing(has), slices.Equal(has, want)
	})
}
