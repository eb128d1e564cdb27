// Package preflight looks at what a deployment is going to stand on and does not
// make, before anything is touched: a network that is there, and what the routes
// of a network of our own lead to.
//
// It only reads, and reports all faults at once, as [config.Faults] with the
// place in the file. [Network] is the look; nothing else of the product changes
// with it.
//
// Limits: what lies behind a transit gateway, a firewall or a peering connection
// is not seen, nor are endpoints in other VPCs that names lead to, nor the rules
// of other people's security groups.
package preflight

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Options qualify [Network].
type Options struct {
	// Begun tells that the deployment has begun to stand in the network: free
	// addresses are not counted, since some of those that are taken are its own.
	Begun bool
	// VPC is the id of the deployment's own VPC, if there is one already.
	VPC string
}

// Zone is an availability zone by its id, and by its name in this account.
type Zone struct{ ID, Name string }

// Report is what a look has found.
type Report struct {
	// Zones are those of a network that is there, in the order of the
	// control-plane subnets; the private subnets are in the first ones.
	Zones []Zone
	// Advice is what will do and could be better, in the form of faults.
	Advice config.Faults
}

// Network looks at the network that the configuration names. The error is
// [config.Faults] if the network won't do, and another one if it can't be looked
// at. Configurations that name nothing of a network cost no call.
func Network(ctx context.Context, c *awsapi.Clients, a *architecture.Architecture, o Options) (*Report, error) {
	n := a.Config.Network
	r := &reader{ctx: ctx, ec2: c.EC2}
	switch {
	case n.Exists():
		id, err := c.Identity(ctx)
		if err != nil {
			return nil, err
		}
		seen, err := r.network(a)
		if err != nil {
			return nil, fmt.Errorf("look at the network %s: %w", n.Existing.VPCID, err)
		}
		seen.account = id.Account
		return check(a, seen, o)
	case n.TransitGateway.ID != "" || len(n.Routes) > 0:
		id, err := c.Identity(ctx)
		if err != nil {
			return nil, err
		}
		faults, err := r.routes(a, o, id.Account)
		if err != nil {
			return nil, fmt.Errorf("look at what routes lead to: %w", err)
		}
		return &Report{}, faults.Err()
	}
	return &Report{}, nil
}

// seen is a network as the account shows it.
type seen struct {
	account            string
	vpc                *types.Vpc // nil if there is none
	support, hostnames bool       // of DNS
	subnets            map[string]types.Subnet
	tables             []types.RouteTable
	acls               []types.NetworkAcl
	endpoints          []types.VpcEndpoint
}

// reader reads an account.
type reader struct {
	ctx context.Context
	ec2 *ec2.Client
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// network reads the VPC and what is in it.
func (r *reader) network(a *architecture.Architecture) (*seen, error) {
	id := a.Config.Network.Existing.VPCID
	s := &seen{subnets: map[string]types.Subnet{}}
	vpcs, err := r.ec2.DescribeVpcs(r.ctx, &ec2.DescribeVpcsInput{Filters: filter("vpc-id", id)})
	if err != nil {
		return nil, err
	}
	if len(vpcs.Vpcs) > 0 {
		s.vpc = &vpcs.Vpcs[0]
		support, err := r.ec2.DescribeVpcAttribute(r.ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: types.VpcAttributeNameEnableDnsSupport})
		if err != nil {
			return nil, err
		}
		hostnames, err := r.ec2.DescribeVpcAttribute(r.ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: types.VpcAttributeNameEnableDnsHostnames})
		if err != nil {
			return nil, err
		}
		s.support = support.EnableDnsSupport != nil && aws.ToBool(support.EnableDnsSupport.Value)
		s.hostnames = hostnames.EnableDnsHostnames != nil && aws.ToBool(hostnames.EnableDnsHostnames.Value)
	}
	var ids []string
	for _, sn := range a.Subnets {
		ids = append(ids, sn.ID)
	}
	subnets, err := r.ec2.DescribeSubnets(r.ctx, &ec2.DescribeSubnetsInput{Filters: filter("subnet-id", ids...)})
	if err != nil {
		return nil, err
	}
	for _, sn := range subnets.Subnets {
		s.subnets[aws.ToString(sn.SubnetId)] = sn
	}
	tables := ec2.NewDescribeRouteTablesPaginator(r.ec2, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", id)})
	for tables.HasMorePages() {
		page, err := tables.NextPage(r.ctx)
		if err != nil {
			return nil, err
		}
		s.tables = append(s.tables, page.RouteTables...)
	}
	acls := ec2.NewDescribeNetworkAclsPaginator(r.ec2, &ec2.DescribeNetworkAclsInput{Filters: filter("vpc-id", id)})
	for acls.HasMorePages() {
		page, err := acls.NextPage(r.ctx)
		if err != nil {
			return nil, err
		}
		s.acls = append(s.acls, page.NetworkAcls...)
	}
	endpoints := ec2.NewDescribeVpcEndpointsPaginator(r.ec2, &ec2.DescribeVpcEndpointsInput{Filters: filter("vpc-id", id)})
	for endpoints.HasMorePages() {
		page, err := endpoints.NextPage(r.ctx)
		if err != nil {
			return nil, err
		}
		s.endpoints = append(s.endpoints, page.VpcEndpoints...)
	}
	return s, nil
}

// ranges are the IPv4 ranges of the VPC, the primary one first.
func (s *seen) ranges() []netip.Prefix {
	var out []netip.Prefix
	add := func(cidr *string) {
		if r, err := netip.ParsePrefix(aws.ToString(cidr)); err == nil && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if s.vpc == nil {
		return nil
	}
	add(s.vpc.CidrBlock)
	for _, a := range s.vpc.CidrBlockAssociationSet {
		if a.CidrBlockState != nil && a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			add(a.CidrBlock)
		}
	}
	return out
}

// tableOf is the route table that a subnet's traffic goes by.
func (s *seen) tableOf(subnet string) *types.RouteTable {
	var main *types.RouteTable
	for i, t := range s.tables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return &s.tables[i]
			}
			if aws.ToBool(a.Main) {
				main = &s.tables[i]
			}
		}
	}
	return main
}

// aclOf is the network ACL of a subnet.
func (s *seen) aclOf(subnet string) *types.NetworkAcl {
	for i, acl := range s.acls {
		for _, a := range acl.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return &s.acls[i]
			}
		}
	}
	return nil
}

// service is an endpoint's service without its region: ecr.api.
func service(e types.VpcEndpoint, region string) string {
	_, name, _ := strings.Cut(aws.ToString(e.ServiceName), "."+region+".")
	return name
}

// standing tells that an endpoint is there or coming.
func standing(e types.VpcEndpoint) bool {
	switch strings.ToLower(string(e.State)) {
	case "available", "pending", "pendingacceptance":
		return true
	}
	return false
}

// ours tells that tags are those of the deployment's own things.
func ours(a *architecture.Architecture, tags []types.Tag) bool {
	for _, t := range tags {
		if aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == a.Name() {
			return true
		}
	}
	return false
}
