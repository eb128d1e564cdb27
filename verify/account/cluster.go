package account

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// clusterFacts are what the cluster is.
type clusterFacts struct {
	clusterFact       Fact[*types.Cluster]
	clusterAddonsFact Fact[map[string]*types.Addon]
}

// Cluster is the EKS cluster, or nil.
func (l *Look) Cluster() (*types.Cluster, error) {
	return l.clusterFact.Get(func() (*types.Cluster, error) {
		name := l.Arch.ClusterName()
		out, err := l.AWS.EKS.DescribeCluster(l.Ctx, &eks.DescribeClusterInput{Name: &name})
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look up cluster %s: %w", name, err)
		}
		return out.Cluster, nil
	})
}

// ClusterAddons are the EKS add-ons by name.
func (l *Look) ClusterAddons() (map[string]*types.Addon, error) {
	return l.clusterAddonsFact.Get(func() (map[string]*types.Addon, error) {
		name := l.Arch.ClusterName()
		found := map[string]*types.Addon{}
		pages := eks.NewListAddonsPaginator(l.AWS.EKS, &eks.ListAddonsInput{ClusterName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the add-ons of %s: %w", name, err)
			}
			for _, addon := range page.Addons {
				out, err := OrNone(l.AWS.EKS.DescribeAddon(l.Ctx, &eks.DescribeAddonInput{ClusterName: &name, AddonName: &addon}))
				if err != nil {
					return nil, fmt.Errorf("look up add-on %s: %w", addon, err)
				}
				if out != nil {
					found[addon] = out.Addon
				}
			}
		}
		return found, nil
	})
}

// SubnetsByID are the subnets of the VPC by id.
func (l *Look) SubnetsByID() (map[string]ec2types.Subnet, error) {
	all, err := l.Subnets()
	if err != nil {
		return nil, err
	}
	found := map[string]ec2types.Subnet{}
	for _, s := range all {
		found[aws.ToString(s.SubnetId)] = s
	}
	return found, nil
}

// GroupsByID are the security groups of the VPC by id.
func (l *Look) GroupsByID() (map[string]ec2types.SecurityGroup, error) {
	all, err := l.SecurityGroups()
	if err != nil {
		return nil, err
	}
	found := map[string]ec2types.SecurityGroup{}
	for _, g := range all {
		found[aws.ToString(g.GroupId)] = g
	}
	return found, nil
}

// GroupNamed is the id of the deployment's security group whose name is that of
// a part, or "". Names and tags come from the deployment.
func (l *Look) GroupNamed(groups map[string]ec2types.SecurityGroup, part string) string {
	for _, id := range SortedKeys(groups) {
		tags := EC2Tags(groups[id].Tags)
		if tags[architecture.DeploymentTag] == l.Arch.Name() && tags["Name"] == l.Arch.ResourceName(part) {
			return id
		}
	}
	return ""
}

// EC2Tags are tags as a map.
func EC2Tags(tags []ec2types.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

// RoleARN is the ARN of a role of the deployment.
func (l *Look) RoleARN(part string) string {
	return l.IAMARN("role/" + l.Arch.RoleName(part))
}

// KubernetesMinor is the 35 of 1.35, or -1.
func KubernetesMinor(version string) int {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major != 1 {
		return -1
	}
	return minor
}

// PermittedRanges are the ranges that a rule names, of both families.
func PermittedRanges(p ec2types.IpPermission) []string {
	var out []string
	for _, x := range p.IpRanges {
		out = append(out, aws.ToString(x.CidrIp))
	}
	for _, x := range p.Ipv6Ranges {
		out = append(out, aws.ToString(x.CidrIpv6))
	}
	return out
}
