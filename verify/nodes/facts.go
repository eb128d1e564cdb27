package nodes

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/verify/account"
)

// nodeFacts are what the nodes are.
type nodeFacts struct {
	nodeTemplateFacts account.Keyed[*ec2types.ResponseLaunchTemplateData]
	nodeVolumesFact   account.Fact[[]ec2types.Volume]
}

// nodeTemplate is the launch template data that a node group uses, or nil.
func nodeTemplate(l *account.Look, g account.NodeGroup) (*ec2types.ResponseLaunchTemplateData, error) {
	if g.LaunchTemplate == nil {
		return nil, nil
	}
	id, version := aws.ToString(g.LaunchTemplate.Id), aws.ToString(g.LaunchTemplate.Version)
	return account.Facts[nodeFacts](l).nodeTemplateFacts.Get(id+":"+version, func() (*ec2types.ResponseLaunchTemplateData, error) {
		out, err := account.OrNone(l.AWS.EC2.DescribeLaunchTemplateVersions(l.Ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}}))
		if err != nil {
			return nil, fmt.Errorf("look up version %s of launch template %s: %w", version, id, err)
		}
		if out == nil || len(out.LaunchTemplateVersions) == 0 {
			return nil, nil
		}
		return out.LaunchTemplateVersions[0].LaunchTemplateData, nil
	})
}

// nodeInstances are the instances that are nodes of the cluster, whoever
// launched them: each carries the cluster's tag.
// https://docs.aws.amazon.com/eks/latest/userguide/worker.html
func nodeInstances(l *account.Look) ([]ec2types.Instance, error) {
	all, err := l.VPCInstances()
	if err != nil {
		return nil, err
	}
	var found []ec2types.Instance
	for _, i := range all {
		if account.Tag(i.Tags, "kubernetes.io/cluster/"+l.Arch.ClusterName()) == "owned" {
			found = append(found, i)
		}
	}
	return found, nil
}

// groupOf is the node group of an instance, as EKS tags it; "" if none.
func groupOf(i ec2types.Instance) string { return account.EC2Tags(i.Tags)["eks:nodegroup-name"] }

// nodeVolumes are the volumes attached to nodes.
func nodeVolumes(l *account.Look) ([]ec2types.Volume, error) {
	return account.Facts[nodeFacts](l).nodeVolumesFact.Get(func() ([]ec2types.Volume, error) {
		instances, err := nodeInstances(l)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, i := range instances {
			ids = append(ids, aws.ToString(i.InstanceId))
		}
		var found []ec2types.Volume
		// A filter takes 200 values.
		for some := range slices.Chunk(ids, 200) {
			pages := ec2.NewDescribeVolumesPaginator(l.AWS.EC2, &ec2.DescribeVolumesInput{Filters: []ec2types.Filter{
				{Name: aws.String("attachment.instance-id"), Values: some},
			}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.Ctx)
				if err != nil {
					return nil, fmt.Errorf("list the nodes' volumes: %w", err)
				}
				found = append(found, page.Volumes...)
			}
		}
		return found, nil
	})
}
