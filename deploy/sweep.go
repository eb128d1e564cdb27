package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// sweep deletes what controllers made for the cluster's objects and left: load
// balancers, classic ones too, their target groups and security groups, by the
// tags that name the cluster. It tells how many it deleted. What is still in use stays for the next
// sweep.
//
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/#resource-tags
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
func (d *deleting) sweep(ctx context.Context) (removed int, err error) {
	v, err := inventory.OfCluster(ctx, d.AWS, d.Architecture)
	if err != nil {
		return 0, err
	}
	// Load balancers hold the others.
	order := []string{inventory.ClassicLoadBalancer, "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::EC2::SecurityGroup"}
	for _, typ := range order {
		for _, i := range v.Items {
			if i.Type != typ {
				continue
			}
			gone, err := d.sweepOne(ctx, i)
			if err != nil {
				return removed, fmt.Errorf("delete %s %s, which a controller made: %w", i.Type, i.ID, err)
			}
			if gone {
				removed++
			}
		}
	}
	return removed, nil
}

// sweepOne deletes one of them, or an interface that nothing has any more, and says so.
func (d *deleting) sweepOne(ctx context.Context, i inventory.Item) (gone bool, err error) {
	gone = true
	switch i.Type {
	case inventory.ClassicLoadBalancer:
		_, err = d.AWS.ClassicELB.DeleteLoadBalancer(ctx, &classic.DeleteLoadBalancerInput{LoadBalancerName: &i.ID})
	case "AWS::ElasticLoadBalancingV2::LoadBalancer":
		_, err = d.AWS.ELB.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: &i.ID})
		if awsapi.Code(err) == "OperationNotPermitted" { // it is protected
			if err := d.mayLift(ctx, Protection{"", "resource", i.Type, i.ID}); err != nil {
				return false, err
			}
			d.step("", "lifting the deletion protection of %s %s, which a controller made", i.Type, i.ID)
			if err = d.setResource(ctx, stack.Resource{Type: i.Type, PhysicalID: i.ID}, false); err == nil {
				_, err = d.AWS.ELB.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: &i.ID})
			}
		}
	case "AWS::ElasticLoadBalancingV2::TargetGroup":
		_, err = d.AWS.ELB.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: &i.ID})
		if awsapi.Code(err) == "ResourceInUse" {
			return false, nil
		}
	case "AWS::EC2::NetworkInterface":
		_, err = d.AWS.EC2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &i.ID})
	default:
		gone, err = d.deleteGroup(ctx, i.ID)
	}
	if err != nil {
		return false, absent(err)
	}
	if gone {
		d.step("", "deleted %s %s, which no stack has: %s", i.Type, i.ID, i.Why)
	}
	return gone, nil
}

// deleteGroup deletes a security group, and before it the rules of the
// deployment's other groups that name it, which would hold it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html
func (d *deleting) deleteGroup(ctx context.Context, id string) (gone bool, err error) {
	_, err = d.AWS.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &id})
	if awsapi.Code(err) == "DependencyViolation" {
		broken, failed := d.breakReferences(ctx, id)
		if failed != nil || broken == 0 {
			return false, failed
		}
		_, err = d.AWS.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: &id})
	}
	if awsapi.Code(err) == "DependencyViolation" {
		return false, nil
	}
	return err == nil, absent(err)
}

// ours tells that a security group is the deployment's: it carries its tag or
// one with its cluster's name, or lies in its VPC.
func (d *deleting) ours(g types.SecurityGroup) bool {
	if d.marked(g.Tags) {
		return true
	}
	if st := d.owned[architecture.Network]; st != nil && !d.Architecture.Config.Network.Exists() {
		return st.Outputs["VpcId"] != "" && st.Outputs["VpcId"] == aws.ToString(g.VpcId)
	}
	return false
}

// marked tells that tags are the deployment's, or say that what carries them was made
// for its cluster.
func (r *run) marked(list []types.Tag) bool {
	tags := map[string]string{}
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if tags[Tag] == r.Architecture.Name() {
		return true
	}
	for k, v := range inventory.ClusterTags(r.Architecture.ClusterName()) {
		if tags[k] == v {
			return true
		}
	}
	return false
}

// breakReferences takes away the rules of the deployment's groups that name a
// group. Other people's groups are left alone.
func (d *deleting) breakReferences(ctx context.Context, id string) (broken int, err error) {
	for _, f := range []string{"ip-permission.group-id", "egress.ip-permission.group-id"} {
		pages := ec2.NewDescribeSecurityGroupsPaginator(d.AWS.EC2, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter(f, id)}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return broken, fmt.Errorf("look for rules that name security group %s: %w", id, err)
			}
			for _, g := range page.SecurityGroups {
				if aws.ToString(g.GroupId) == id || !d.ours(g) {
					continue
				}
				if f == "ip-permission.group-id" {
					_, err = d.AWS.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: naming(g.IpPermissions, id)})
				} else {
					_, err = d.AWS.EC2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: naming(g.IpPermissionsEgress, id)})
				}
				if err := absent(err); err != nil {
					return broken, fmt.Errorf("take the rules that name %s from security group %s: %w", id, aws.ToString(g.GroupId), err)
				}
				broken++
				d.step(architecture.Network, "took the rules that name security group %s from %s", id, aws.ToString(g.GroupId))
			}
		}
	}
	return broken, nil
}

// naming are the parts of rules that name a group, and no others.
func naming(rules []types.IpPermission, id string) []types.IpPermission {
	var out []types.IpPermission
	for _, r := range rules {
		var pairs []types.UserIdGroupPair
		for _, p := range r.UserIdGroupPairs {
			if aws.ToString(p.GroupId) == id {
				pairs = append(pairs, types.UserIdGroupPair{GroupId: p.GroupId, UserId: p.UserId})
			}
		}
		if pairs != nil {
			out = append(out, types.IpPermission{IpProtocol: r.IpProtocol, FromPort: r.FromPort, ToPort: r.ToPort, UserIdGroupPairs: pairs})
		}
	}
	return out
}

// sweepData deletes what holds data and no stack has: volumes of pods and snapshots of
// them, backups of databases that are gone, vaults that outlived their stack. Whatever
// of it stays keeps its key.
func (d *deleting) sweepData(ctx context.Context) error {
	v, err := inventory.Read(ctx, d.AWS, d.Architecture)
	if err != nil {
		return err
	}
	var errs []error
	gone := map[[2]string]bool{}
	for _, i := range v.Outside() {
		if !i.Own() {
			continue
		}
		deleted, err := d.deleteData(ctx, i)
		if err != nil {
			errs = append(errs, fmt.Errorf("delete %s %s: %w", i.Type, i.ID, err))
		}
		gone[[2]string{i.Type, i.ID}] = deleted
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if slices.Contains(slices.Collect(maps.Values(gone)), true) {
		// With a vault its recovery points went.
		if v, err = inventory.Read(ctx, d.AWS, d.Architecture); err != nil {
			return err
		}
	}
	v.Items = slices.DeleteFunc(v.Items, func(i inventory.Item) bool { return gone[[2]string{i.Type, i.ID}] })
	d.needs, err = needed(v)
	return err
}

// deleteData deletes an item that holds data, and tells whether it is gone.
func (d *deleting) deleteData(ctx context.Context, i inventory.Item) (gone bool, err error) {
	switch i.Type {
	case "AWS::EC2::Volume":
		_, err := d.AWS.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &i.ID})
		if awsapi.Code(err) == "VolumeInUse" {
			return false, nil
		}
		if err == nil {
			d.step("", "deleted volume %s, which no stack has: %s", i.ID, i.Why)
		}
		return true, absent(err)
	case "AWS::EC2::Snapshot":
		// An image that was made of it, which is somebody's, holds it.
		_, err := d.AWS.EC2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: &i.ID})
		if awsapi.Code(err) == "InvalidSnapshot.InUse" {
			return false, nil
		}
		if err == nil {
			d.step("", "deleted snapshot %s, which no stack has: %s", i.ID, i.Why)
		}
		return true, absent(err)
	case "AWS::RDS::DBInstanceAutomatedBackup":
		return true, d.deleteAutomatedBackup(ctx, i.ID)
	case "AWS::Backup::BackupVault":
		if err := d.deleteVault(ctx, architecture.Backup, i.ID); err != nil {
			return false, err
		}
		return !d.isKept(i.Type, i.ID), nil
	}
	return false, nil
}

// interfaceWait is how long interfaces of services are waited for whose owner
// is gone, without a change. Lambda's take longest, up to 20 minutes.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
const interfaceWait = 45 * time.Minute
