package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// deleteNetwork deletes the stack of the network. Others put things into it
// that no stack knows and that hold it, even while it is being deleted, and
// services take their time to let go of it: both are waited for and cleared
// away, as long as something moves.
func (d *deleting) deleteNetwork(ctx context.Context, name architecture.StackName, held []stack.Resource, remove func() error) error {
	for futile := 0; ; {
		n, err := d.clear(ctx, name, held)
		if err != nil {
			return err
		}
		if n > 0 {
			futile = 0
		}
		stubborn, err := d.awaitInterfaces(ctx, name, held)
		if err != nil {
			return err
		}
		if _, err := d.clear(ctx, name, held); err != nil {
			return err
		}
		failed := remove()
		var st *stack.Error
		if failed == nil || ctx.Err() != nil || !errors.As(failed, &st) {
			return failed
		}
		// What it holds now tells whether, say, a gateway's interface is of one
		// that is there.
		if held, err = d.driver.Resources(ctx, d.owned[name].ID); err != nil {
			return errors.Join(failed, err)
		}
		held = slices.DeleteFunc(held, func(r stack.Resource) bool { return r.Status == cfntypes.ResourceStatusDeleteComplete })
		if n, err = d.clear(ctx, name, held); err != nil {
			return errors.Join(failed, err)
		}
		busy, err := d.letting(ctx, held)
		if err != nil {
			return errors.Join(failed, err)
		}
		if n == 0 && (len(busy) == 0 || slices.Equal(busy, stubborn)) {
			futile++
		}
		if futile == 2 {
			return failed
		}
	}
}

// awaitInterfaces waits until services have let go of their interfaces in the
// network whose owners are gone, and returns those that it gave up waiting for.
func (d *deleting) awaitInterfaces(ctx context.Context, name architecture.StackName, held []stack.Resource) (stubborn []string, err error) {
	said := map[string]bool{}
	var last []string
	since := d.AWS.Clock.Now()
	w := poll.Wait{For: "network interfaces that services let go of", Next: again}
	err = d.until(ctx, name, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		busy, err := d.letting(ctx, held)
		if err != nil || len(busy) == 0 {
			return true, "", err
		}
		if !slices.Equal(busy, last) {
			last, since = busy, d.AWS.Clock.Now()
			d.progress()
		}
		if d.AWS.Clock.Now().Sub(since) > interfaceWait {
			stubborn = busy
			return true, "", nil
		}
		for _, b := range busy {
			if !said[b] {
				said[b] = true
				d.step(name, "waiting for network interface %s", b)
			}
		}
		return false, strings.Join(busy, ", "), nil
	})
	return stubborn, err
}

// balanced tells that an interface is of a load balancer that is there.
func (d *deleting) balanced(ctx context.Context, by string) (bool, error) {
	rest, ok := strings.CutPrefix(by, "ELB ")
	parts := strings.Split(rest, "/")
	switch {
	case ok && len(parts) == 1: // a classic one, which is called by its name alone
		_, err := d.AWS.ClassicELB.DescribeLoadBalancers(ctx, &classic.DescribeLoadBalancersInput{LoadBalancerNames: parts})
		switch {
		case awsapi.IsDenied(err):
			d.hidden("", "load balancer "+rest, err)
			return false, nil
		case err != nil && absent(err) != nil:
			return false, fmt.Errorf("look for load balancer %s: %w", rest, err)
		}
		return err == nil, nil
	case !ok || len(parts) != 3:
		return false, nil
	}
	out, err := d.AWS.ELB.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{parts[1]}})
	if err := absent(err); err != nil {
		if awsapi.IsDenied(err) {
			d.hidden("", "load balancer "+parts[1], err)
			return false, nil
		}
		return false, fmt.Errorf("look for load balancer %s: %w", parts[1], err)
	}
	return out != nil && slices.ContainsFunc(out.LoadBalancers, func(b elbtypes.LoadBalancer) bool {
		return strings.HasSuffix(aws.ToString(b.LoadBalancerArn), rest)
	}), nil
}

// letting are the interfaces in use, in the stack's VPC or security groups, that
// a service manages, with what they are of. Those of what the stack itself has
// go with it.
func (d *deleting) letting(ctx context.Context, held []stack.Resource) ([]string, error) {
	ids := map[string][]string{}
	for _, res := range held {
		if res.PhysicalID != "" {
			ids[res.Type] = append(ids[res.Type], res.PhysicalID)
		}
	}
	inUse := filter("status", string(types.NetworkInterfaceStatusInUse))
	var where [][]types.Filter
	if vpcs := ids["AWS::EC2::VPC"]; vpcs != nil {
		where = append(where, []types.Filter{filter("vpc-id", vpcs...), inUse})
	} else if groups := ids["AWS::EC2::SecurityGroup"]; groups != nil {
		where = append(where, []types.Filter{filter("group-id", groups...), inUse})
	}
	var busy []string
	for _, filters := range where {
		pages := ec2.NewDescribeNetworkInterfacesPaginator(d.AWS.EC2, &ec2.DescribeNetworkInterfacesInput{Filters: filters})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if awsapi.IsDenied(err) {
				d.hidden(architecture.Network, "who has network interfaces in use", err)
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("look for interfaces in use: %w", err)
			}
			for _, eni := range page.NetworkInterfaces {
				by, managed := inventory.Attached(eni)
				switch {
				case !managed,
					// EC2 writes it so, and its model natGateway.
					(eni.InterfaceType == "nat_gateway" || eni.InterfaceType == types.NetworkInterfaceTypeNatGateway) && ids["AWS::EC2::NatGateway"] != nil,
					eni.InterfaceType == "transit_gateway" && ids["AWS::EC2::TransitGatewayAttachment"] != nil,
					strings.HasPrefix(by, "Network Interface for Transit Gateway Attachment") && ids["AWS::EC2::TransitGatewayAttachment"] != nil:
				default:
					stays, err := d.balanced(ctx, by)
					if err != nil {
						return nil, err
					}
					if !stays {
						busy = append(busy, aws.ToString(eni.NetworkInterfaceId)+" of "+by)
					}
				}
			}
		}
	}
	slices.Sort(busy)
	return busy, nil
}

// clear removes what AWS's services left in the network: interfaces that nothing
// has any more, the cluster's security group that they held, and in the
// deployment's own VPC what GuardDuty made. It tells how many things it removed.
// Who may not look is told, and CloudFormation says what holds the network.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managing-vpc-cni.html
// https://docs.aws.amazon.com/guardduty/latest/ug/runtime-monitoring-agent-resource-clean-up.html
func (d *deleting) clear(ctx context.Context, name architecture.StackName, held []stack.Resource) (int, error) {
	cluster := d.Architecture.ClusterName()
	removed, err := d.clearInterfaces(ctx, name, held, cluster)
	if err != nil {
		return removed, err
	}
	n, err := d.sweep(ctx)
	if removed += n; err != nil {
		return removed, err
	}
	for _, res := range held {
		if res.Type != "AWS::EC2::VPC" || res.PhysicalID == "" {
			continue
		}
		n, err := d.clearEndpoints(ctx, name, res.PhysicalID)
		if removed += n; err != nil {
			return removed, err
		}
		n, err = d.clearGroups(ctx, name, filter("vpc-id", res.PhysicalID), filter("tag:GuardDutyManaged", "true"))
		if removed += n; err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// clearInterfaces deletes interfaces that were left behind, detached: the
// plugin's that no node has any more, a service's in the stack's security groups
// and all in the stack's VPC. Other people's interfaces in a network that was
// there stay, whatever groups they have.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func (d *deleting) clearInterfaces(ctx context.Context, name architecture.StackName, held []stack.Resource, cluster string) (removed int, err error) {
	detached := filter("status", "available")
	var where [][]types.Filter
	switch foreign, err := inventory.Foreign(ctx, d.AWS, d.Architecture); {
	case awsapi.IsDenied(err):
		d.hidden(name, "whose cluster "+cluster+" is", err)
	case err != nil:
		return 0, err
	case !foreign:
		where = append(where, []types.Filter{filter("tag:cluster.k8s.amazonaws.com/name", cluster), detached})
	}
	ids := map[string][]string{}
	for _, res := range held {
		if res.PhysicalID != "" {
			ids[res.Type] = append(ids[res.Type], res.PhysicalID)
		}
	}
	if groups := ids["AWS::EC2::SecurityGroup"]; groups != nil {
		services := filter("description", "Amazon EKS *", "ELB *", "RDSNetworkInterface", "VPC Endpoint Interface *")
		where = append(where, []types.Filter{filter("group-id", groups...), services, detached})
	}
	if vpcs := ids["AWS::EC2::VPC"]; vpcs != nil {
		where = append(where, []types.Filter{filter("vpc-id", vpcs...), detached})
	}
	for _, filters := range where {
		pages := ec2.NewDescribeNetworkInterfacesPaginator(d.AWS.EC2, &ec2.DescribeNetworkInterfacesInput{Filters: filters})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if awsapi.IsDenied(err) {
				d.hidden(name, "whether network interfaces were left behind", err)
				return removed, nil
			}
			if err != nil {
				return removed, fmt.Errorf("look for interfaces that were left behind: %w", err)
			}
			for _, eni := range page.NetworkInterfaces {
				id := aws.ToString(eni.NetworkInterfaceId)
				_, err := d.AWS.EC2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &id})
				if err := absent(err); err != nil {
					return removed, fmt.Errorf("delete interface %s, which was left behind: %w", id, err)
				}
				removed++
				d.step(name, "deleted network interface %s, which was left behind: %s", id, aws.ToString(eni.Description))
			}
		}
	}
	return removed, nil
}

// clearEndpoints deletes GuardDuty's endpoints and waits until they are gone.
func (d *deleting) clearEndpoints(ctx context.Context, name architecture.StackName, vpc string) (removed int, err error) {
	named := map[string]bool{}
	w := poll.Wait{For: "the deletion of GuardDuty's endpoints in " + vpc, Next: again}
	err = d.until(ctx, name, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		out, err := d.AWS.EC2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{
			Filters: []types.Filter{filter("vpc-id", vpc), filter("tag:GuardDutyManaged", "true")},
		})
		if awsapi.IsDenied(err) && removed == 0 {
			d.hidden(name, "whether GuardDuty has endpoints in "+vpc, err)
			return true, "", nil
		}
		if err != nil {
			return false, "", fmt.Errorf("look for GuardDuty's endpoints in %s: %w", vpc, err)
		}
		var ids, there []string
		for _, e := range out.VpcEndpoints {
			id := aws.ToString(e.VpcEndpointId)
			if e.State == types.StateDeleted {
				continue
			}
			there = append(there, id+" is "+string(e.State))
			if e.State != types.StateDeleting {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			if err := d.deleteEndpoints(ctx, ids); err != nil {
				return false, "", err
			}
			for _, id := range ids {
				if !named[id] {
					named[id] = true
					removed++
					d.step(name, "deleting endpoint %s, which GuardDuty put into the VPC", id)
				}
			}
		}
		return len(there) == 0, strings.Join(there, ", "), nil
	})
	return removed, err
}

func (d *deleting) deleteEndpoints(ctx context.Context, ids []string) error {
	gone, err := d.AWS.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: ids})
	if err != nil {
		return fmt.Errorf("delete GuardDuty's endpoints %v: %w", ids, err)
	}
	for _, u := range gone.Unsuccessful {
		if u.Error != nil {
			return fmt.Errorf("delete GuardDuty's endpoint %s: %s: %s", aws.ToString(u.ResourceId), aws.ToString(u.Error.Code), aws.ToString(u.Error.Message))
		}
	}
	return nil
}

// clearGroups deletes the security groups that a service has tagged. One that is
// still in use stays for the next look.
func (d *deleting) clearGroups(ctx context.Context, name architecture.StackName, which ...types.Filter) (removed int, err error) {
	out, err := d.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: which})
	if awsapi.IsDenied(err) {
		d.hidden(name, "security groups that services made", err)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for security groups that services made: %w", err)
	}
	for _, g := range out.SecurityGroups {
		gone, err := d.deleteGroup(ctx, aws.ToString(g.GroupId))
		if err != nil {
			return removed, fmt.Errorf("delete security group %s (%s): %w", aws.ToString(g.GroupId), aws.ToString(g.GroupName), err)
		}
		if !gone {
			continue
		}
		removed++
		d.step(name, "deleted security group %s, which no stack has: %s", aws.ToString(g.GroupId), aws.ToString(g.GroupName))
	}
	return removed, nil
}
