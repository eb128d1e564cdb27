package account

import (
	"cmp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// Instance is a running instance: a node of the cluster, or self-managed NAT.
type Instance struct {
	ID, Subnet, Group string
	Faces, Volumes    []string
	NAT               bool
}

// Instances are the running instances of the deployment. EKS tags those of
// node groups with their cluster and group.
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
func (l *Look) Instances() ([]Instance, error) {
	all, err := l.VPCInstances()
	if err != nil {
		return nil, err
	}
	var out []Instance
	for _, i := range all {
		if i.State == nil || i.State.Name != ec2types.InstanceStateNameRunning {
			continue
		}
		if x, ok := l.instance(i); ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (l *Look) instance(i ec2types.Instance) (Instance, bool) {
	tags := map[string]string{}
	for _, t := range i.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	x := Instance{ID: aws.ToString(i.InstanceId), Subnet: aws.ToString(i.SubnetId)}
	for _, f := range i.NetworkInterfaces {
		x.Faces = append(x.Faces, aws.ToString(f.NetworkInterfaceId))
	}
	for _, b := range i.BlockDeviceMappings {
		if b.Ebs != nil {
			x.Volumes = append(x.Volumes, aws.ToString(b.Ebs.VolumeId))
		}
	}
	switch {
	case tags["eks:cluster-name"] == l.Arch.ClusterName():
		x.Group = tags["eks:nodegroup-name"]
	case tags[architecture.DeploymentTag] == l.Arch.Name() && strings.HasPrefix(tags["Name"], l.Arch.ResourceName("nat-")):
		x.NAT = true
	default:
		return x, false
	}
	return x, true
}
