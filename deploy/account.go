package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/templates"
)

// pickZones chooses the zones that a deployment will have for ever: n of the
// region's, by id, the wanted ones first.
func pickZones(ctx context.Context, c *awsapi.Clients, n int, wanted []string) ([]string, error) {
	out, err := c.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{
		{Name: aws.String("zone-type"), Values: []string{"availability-zone"}},
		{Name: aws.String("state"), Values: []string{"available"}},
	}})
	if err != nil {
		return nil, fmt.Errorf("list the availability zones of %s: %w", c.Region, err)
	}
	var ids []string
	for _, z := range out.AvailabilityZones {
		if id := aws.ToString(z.ZoneId); architecture.ControlPlaneZone(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	offered := strings.Join(ids, ", ")
	for i, w := range wanted {
		at := slices.Index(ids, w)
		if at < 0 {
			return nil, fmt.Errorf("zone %s of a capacity reservation is not among those of %s that EKS supports: %s", w, c.Region, offered)
		}
		ids = slices.Insert(slices.Delete(ids, at, at+1), i, w)
	}
	if len(ids) < n {
		return nil, fmt.Errorf("region %s offers %d zones that EKS supports (%s), and %d are needed", c.Region, len(ids), offered, n)
	}
	return ids[:n], nil
}

// readSizes reads how many nodes the node groups have now: people and
// autoscalers change that, and an update must not undo it.
func (a *applying) readSizes(ctx context.Context) error {
	a.sizes = map[string]int{}
	groups := map[string]architecture.NodeGroup{}
	for _, g := range slices.Concat(a.Architecture.NodeGroups, a.Architecture.GPUGroups) {
		groups[g.Key()] = g
	}
	for _, name := range []architecture.StackName{architecture.Nodes, architecture.GPU} {
		st := a.states[name]
		if !st.Exists() {
			continue
		}
		held, err := a.driver.Resources(ctx, st.Name)
		if err != nil {
			return err
		}
		for _, res := range held {
			// The physical id of a node group is CLUSTER/NODEGROUP.
			cluster, group, ok := strings.Cut(res.PhysicalID, "/")
			g, known := groups[res.LogicalID]
			if res.Type != "AWS::EKS::Nodegroup" || !ok || !known {
				continue
			}
			out, err := a.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &group})
			if awsapi.IsNotFound(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("look at node group %s: %w", res.PhysicalID, err)
			}
			if sc := out.Nodegroup.ScalingConfig; sc != nil && sc.DesiredSize != nil {
				a.sizes[templates.DesiredSizeParameter(g)] = min(max(int(*sc.DesiredSize), g.Min), g.Max)
			}
		}
	}
	return nil
}

// ensureServiceLinkedRole makes the role that Auto Scaling acts as, before a
// key policy names it. It belongs to the account and is never deleted here.
func (r *run) ensureServiceLinkedRole(ctx context.Context) error {
	_, err := r.AWS.IAM.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")})
	if awsapi.IsExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the service-linked role of Auto Scaling: %w", err)
	}
	r.step("", "made the service-linked role of Auto Scaling, which the key of the volumes names")
	return nil
}

// emptyDefaultGroup removes all rules of the VPC's default security group,
// which CloudFormation can't (EC2.2 of AWS's security standard).
func (r *run) emptyDefaultGroup(ctx context.Context, vpc string) error {
	out, err := r.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{vpc}},
		{Name: aws.String("group-name"), Values: []string{"default"}},
	}})
	if err != nil {
		return fmt.Errorf("look up the default security group of %s: %w", vpc, err)
	}
	for _, g := range out.SecurityGroups {
		var errs []error
		if len(g.IpPermissions) > 0 {
			_, err := r.AWS.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissions})
			errs = append(errs, err)
		}
		if len(g.IpPermissionsEgress) > 0 {
			_, err := r.AWS.EC2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissionsEgress})
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("empty the default security group %s: %w", aws.ToString(g.GroupId), err)
		}
		if len(errs) > 0 {
			r.step("network", "emptied the default security group %s", aws.ToString(g.GroupId))
		}
	}
	return nil
}
