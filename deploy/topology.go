package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// TopologyError says why nodes would not join, before any is made.
type TopologyError struct {
	Deployment string
	// Reasons are all that was found.
	Reasons []string
}

func (e *TopologyError) Error() string {
	return fmt.Sprintf("nodes of %s would not join the cluster: %s; poolhouse drift shows what was changed outside of CloudFormation, poolhouse update puts it back",
		e.Deployment, strings.Join(e.Reasons, "; "))
}

// checkTopology looks, before nodes are made, whether they can join: subnets with
// room, a way out of them or endpoints, the groups that nodes are given, a cluster
// endpoint that they reach. What stacks have made may have been changed since.
// Whoever may not look goes without, and is told so.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func (a *applying) checkTopology(ctx context.Context) error {
	e := &TopologyError{Deployment: a.Architecture.Config.Name}
	for _, look := range []func(context.Context) ([]string, error){a.subnetsHaveRoom, a.subnetsLeadOut, a.endpointsStand, a.groupsStand, a.endpointIsOpen} {
		found, err := look(ctx)
		if err != nil {
			if ctx.Err() != nil || awsapi.IsCredentials(err) {
				return err
			}
			a.step(architecture.Nodes, "whether nodes can join was not seen whole: %s", awsapi.Message(err))
			continue
		}
		e.Reasons = append(e.Reasons, found...)
	}
	if len(e.Reasons) > 0 {
		return e
	}
	return nil
}

// networkOutputs are the ids that the network's stack gives under names of a
// form.
func (a *applying) networkOutputs(prefix, suffix string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for k, v := range a.outputs[architecture.Network] {
		if strings.HasPrefix(k, prefix) && strings.HasSuffix(k, suffix) && v != "" {
			ids = append(ids, v)
		}
	}
	slices.Sort(ids)
	return ids
}

// leastRoom is how many addresses a private subnet must have for nodes and their
// pods to begin with.
const leastRoom = 16

func (a *applying) subnetsHaveRoom(ctx context.Context) ([]string, error) {
	ids := a.networkOutputs("PrivateSubnet", "Id")
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := a.AWS.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{filter("subnet-id", ids...)}})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, id := range ids {
		i := slices.IndexFunc(out.Subnets, func(s ec2types.Subnet) bool { return aws.ToString(s.SubnetId) == id })
		if i < 0 {
			found = append(found, "private subnet "+id+" is gone")
		} else if n := aws.ToInt32(out.Subnets[i].AvailableIpAddressCount); n < leastRoom {
			found = append(found, fmt.Sprintf("private subnet %s has %d free addresses, and %d are needed at least", id, n, leastRoom))
		}
	}
	return found, nil
}

func (a *applying) subnetsLeadOut(ctx context.Context) ([]string, error) {
	n := a.Architecture.Config.Network
	if n.Exists() || n.Isolated() {
		// Its routes were looked at before anything was made, or endpoints are the way.
		return nil, nil
	}
	ids := a.networkOutputs("PrivateSubnet", "Id")
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := a.AWS.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("association.subnet-id", ids...)}})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, id := range ids {
		i := slices.IndexFunc(out.RouteTables, func(t ec2types.RouteTable) bool {
			return slices.ContainsFunc(t.Associations, func(x ec2types.RouteTableAssociation) bool { return aws.ToString(x.SubnetId) == id })
		})
		if i < 0 {
			found = append(found, "private subnet "+id+" has no route table of its own")
			continue
		}
		t := out.RouteTables[i]
		if !slices.ContainsFunc(t.Routes, func(r ec2types.Route) bool {
			return aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" && r.State == ec2types.RouteStateActive
		}) {
			found = append(found, fmt.Sprintf("private subnet %s has no way out: route table %s has no default route that works", id, aws.ToString(t.RouteTableId)))
		}
	}
	return found, nil
}

// endpointsStand looks whether the endpoints are there that are the only way out.
func (a *applying) endpointsStand(ctx context.Context) ([]string, error) {
	n := a.Architecture.Config.Network
	vpc := a.output(architecture.Network, "VpcId")
	if !n.Isolated() || vpc == "" {
		return nil, nil
	}
	there := map[string]bool{}
	in := &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{filter("vpc-id", vpc), filter("vpc-endpoint-type", "Interface"), filter("vpc-endpoint-state", "available")}}
	for page, err := range awsapi.Pages(ctx, ec2.NewDescribeVpcEndpointsPaginator(a.AWS.EC2, in)) {
		if err != nil {
			return nil, err
		}
		for _, e := range page.VpcEndpoints {
			there[aws.ToString(e.ServiceName)] = true
		}
	}
	var found []string
	for _, service := range a.Architecture.Endpoints {
		if !there["com.amazonaws."+a.AWS.Region+"."+service] {
			found = append(found, fmt.Sprintf("VPC %s has no endpoint of %s that is available, and nothing else leads there", vpc, service))
		}
	}
	return found, nil
}

// groupsStand looks whether the groups are there that nodes are given. That nodes and
// control plane talk is for the cluster's own group, which EKS makes and keeps.
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
func (a *applying) groupsStand(ctx context.Context) ([]string, error) {
	ids := a.networkOutputs("Nodes", "SecurityGroupId")
	if len(ids) == 0 {
		return nil, nil
	}
	out, err := a.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter("group-id", ids...)}})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, id := range ids {
		if !slices.ContainsFunc(out.SecurityGroups, func(g ec2types.SecurityGroup) bool { return aws.ToString(g.GroupId) == id }) {
			found = append(found, "security group "+id+" of the nodes is gone")
		}
	}
	return found, nil
}

func (a *applying) endpointIsOpen(ctx context.Context) ([]string, error) {
	name := a.Architecture.ClusterName()
	out, err := a.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		return nil, err
	}
	if v := out.Cluster.ResourcesVpcConfig; v != nil && !v.EndpointPrivateAccess {
		return []string{"the private endpoint of cluster " + name + " is closed, which nodes reach it by"}, nil
	}
	return nil, nil
}
