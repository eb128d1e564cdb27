package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
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
	groups := a.nodeGroups()
	for _, name := range []architecture.StackName{architecture.Nodes, architecture.GPU} {
		st := a.states[name]
		if !st.Exists() {
			continue
		}
		held, err := a.driver.Resources(ctx, st.ID)
		if err != nil {
			return err
		}
		for _, res := range held {
			g, known := groups[res.LogicalID]
			if res.Type != "AWS::EKS::Nodegroup" || !known {
				continue
			}
			size, ok, err := a.sizeOf(ctx, g, res.PhysicalID)
			if err != nil {
				return err
			}
			if ok {
				a.sizes[templates.DesiredSizeParameter(g)] = size
			}
		}
	}
	return nil
}

// nodeGroups are the file's, by logical id.
func (a *applying) nodeGroups() map[string]architecture.NodeGroup {
	groups := map[string]architecture.NodeGroup{}
	for _, g := range slices.Concat(a.Architecture.NodeGroups, a.Architecture.GPUGroups) {
		groups[g.Key()] = g
	}
	return groups
}

// sizeOf is how many nodes a node group has now, as far as the file allows; not ok if
// there is no such group.
func (a *applying) sizeOf(ctx context.Context, g architecture.NodeGroup, physicalID string) (size int, ok bool, err error) {
	// The physical id of a node group is CLUSTER/NODEGROUP.
	cluster, group, ok := strings.Cut(physicalID, "/")
	if !ok {
		return 0, false, nil
	}
	out, err := a.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &group})
	if awsapi.IsNotFound(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at node group %s: %w", physicalID, err)
	}
	sc := out.Nodegroup.ScalingConfig
	if sc == nil || sc.DesiredSize == nil {
		return 0, false, nil
	}
	return min(max(int(*sc.DesiredSize), g.Min), g.Max), true, nil
}

// visible is how long a new principal may stay unknown to KMS, which refuses a
// key policy that names one it doesn't see.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
const visible = time.Minute

// ensureServiceLinkedRole makes the role that Auto Scaling acts as, before a
// key policy names it, and returns when it can be named. It belongs to the
// account and is never deleted here.
func (r *run) ensureServiceLinkedRole(ctx context.Context) (time.Time, error) {
	_, err := r.AWS.IAM.CreateServiceLinkedRole(ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")})
	now := r.AWS.Clock.Now()
	if awsapi.IsExists(err) {
		return now.Add(r.unseen(ctx)), nil
	}
	if err != nil {
		return now, fmt.Errorf("create the service-linked role of Auto Scaling: %w", err)
	}
	r.step("", "made the service-linked role of Auto Scaling; the keys follow in %s, when KMS knows it", visible)
	return now.Add(visible), nil
}

// unseen is how long the role that Auto Scaling acts as may stay unknown to KMS
// yet, because a run that was stopped made it a moment ago. It goes by the
// server's clock where there is one. Who may not look does not wait.
func (r *run) unseen(ctx context.Context) time.Duration {
	out, err := r.AWS.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("AWSServiceRoleForAutoScaling")})
	if err != nil {
		return 0
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		now = r.AWS.Clock.Now()
	}
	return min(max(visible-now.Sub(aws.ToTime(out.Role.CreateDate)), 0), visible)
}

// emptyings is how often the default security group is read and emptied: once,
// and again when a rule went meanwhile.
const emptyings = 3

// emptyDefaultGroup removes all rules of the VPC's default security group,
// which CloudFormation can't (EC2.2 of AWS's security standard).
func (r *run) emptyDefaultGroup(ctx context.Context, vpc string) error {
	var err error
	for range emptyings {
		// EC2 refuses a rule that is gone, and the others with it: the answer to
		// a call that took them was lost, or somebody else was faster.
		if err = r.revokeAll(ctx, vpc); awsapi.Code(err) != "InvalidPermission.NotFound" {
			break
		}
	}
	return err
}

func (r *run) revokeAll(ctx context.Context, vpc string) error {
	out, err := r.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{vpc}},
		{Name: aws.String("group-name"), Values: []string{"default"}},
	}})
	if err != nil {
		return fmt.Errorf("look up the default security group of %s: %w", vpc, err)
	}
	for _, g := range out.SecurityGroups {
		if len(g.IpPermissions) > 0 {
			if _, err := r.AWS.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissions}); err != nil {
				return fmt.Errorf("empty the default security group %s: %w", aws.ToString(g.GroupId), err)
			}
		}
		if len(g.IpPermissionsEgress) > 0 {
			if _, err := r.AWS.EC2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissionsEgress}); err != nil {
				return fmt.Errorf("empty the default security group %s: %w", aws.ToString(g.GroupId), err)
			}
		}
		if len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
			r.step("network", "emptied the default security group %s", aws.ToString(g.GroupId))
		}
	}
	return nil
}
