// Package egress asks whether private subnets reach the internet, and by which
// public addresses.
//
// What can be asked is a program inside: the agent of Systems Manager, which nodes
// have, pings its service every five minutes. Where the service has no endpoint in
// the VPC the ping leaves by the subnet's way out, so one that was heard since a
// time proves that the way worked then. Elsewhere the account's description of the
// way has to do. Each answer says which of the two it rests on.
// https://github.com/aws/amazon-ssm-agent#configuration
//
// Limits: IPv4, default routes to NAT gateways and to interfaces of instances;
// what is behind them, and network ACLs, is not looked at. All of it only reads.
package egress

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// Proof is what an answer rests on.
type Proof string

// The proofs.
const (
	// Probed: something in the subnet was heard by this way.
	Probed Proof = "probed"
	// Analysed: the way leads out as the account describes it, and nobody in the
	// subnet could be asked.
	Analysed Proof = "analysed"
	// Silent: somebody in the subnet should have been heard, and was not.
	Silent Proof = "no answer"
	// Closed: the way leads nowhere as the account describes it.
	Closed Proof = "closed"
)

// Describe is what is asked of EC2.
type Describe interface {
	ec2.DescribeRouteTablesAPIClient
	ec2.DescribeNatGatewaysAPIClient
	ec2.DescribeNetworkInterfacesAPIClient
	ec2.DescribeInstancesAPIClient
	ec2.DescribeVpcEndpointsAPIClient
}

// Asserted: AWS's clients are what is asked.
var (
	_ Describe                                 = (*ec2.Client)(nil)
	_ ssm.DescribeInstanceInformationAPIClient = (*ssm.Client)(nil)
)

// Subnet is a private subnet that is asked about.
type Subnet struct{ ID, Zone string }

// Options say what is asked.
type Options struct {
	EC2     Describe
	SSM     ssm.DescribeInstanceInformationAPIClient
	VPC     string
	Subnets []Subnet
	// Since is when somebody was heard last before the way became what it is: only
	// what was heard after it proves something. The zero time counts all.
	Since time.Time
}

// Exit is a private subnet's way out.
type Exit struct {
	Subnet string `json:"subnet"`
	Zone   string `json:"zone"`
	// Target is the NAT gateway or interface that the default route leads to,
	// and Address its public address; empty if there is none.
	Target   string `json:"target,omitempty"`
	Address  string `json:"address,omitempty"`
	Proof    Proof  `json:"proof"`
	Evidence string `json:"evidence"`
	// Heard is when somebody in the subnet was heard last, by AWS's clock.
	Heard time.Time `json:"heard,omitzero"`
}

// Open tells that nothing speaks against the way.
func (e Exit) Open() bool { return e.Proof == Probed || e.Proof == Analysed }

// String is the answer in words.
func (e Exit) String() string {
	by := ""
	if e.Address != "" {
		by = " by " + e.Address
	}
	return fmt.Sprintf("%s (%s)%s: %s: %s", e.Zone, e.Subnet, by, e.Proof, e.Evidence)
}

// Ask asks about each subnet, in the order given. It may be repeated; an agent's
// next ping is five minutes away at most.
func Ask(ctx context.Context, o Options) ([]Exit, error) {
	q := &question{Options: o, public: map[string]string{}, fault: map[string]string{}}
	for _, read := range []func(context.Context) error{q.readRoutes, q.readGateways, q.readInterfaces, q.readAgents} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	var exits []Exit
	for _, s := range o.Subnets {
		exits = append(exits, q.answer(s))
	}
	return exits, nil
}

// question is an Ask in progress.
type question struct {
	Options
	// targets of default routes, by subnet.
	targets map[string]string
	// public addresses of targets, and why a target leads nowhere.
	public, fault map[string]string
	// agents are who can be asked, by subnet.
	agents map[string][]ssmtypes.InstanceInformation
	// inside tells that agents don't leave the VPC.
	inside bool
}

func (q *question) answer(s Subnet) Exit {
	e := Exit{Subnet: s.ID, Zone: s.Zone, Target: q.targets[s.ID]}
	e.Address = q.public[e.Target]
	switch {
	case e.Target == "":
		e.Proof, e.Evidence = Closed, "it has no default route to a NAT gateway or instance"
		return e
	case q.fault[e.Target] != "":
		e.Proof, e.Evidence = Closed, e.Target+" "+q.fault[e.Target]
		return e
	case q.inside:
		e.Proof, e.Evidence = Analysed, e.Target+" leads out; not asked, since agents reach Systems Manager by an endpoint in the VPC"
		return e
	case len(q.agents[s.ID]) == 0:
		e.Proof, e.Evidence = Analysed, e.Target+" leads out; not asked, since nothing in the subnet has an agent of Systems Manager"
		return e
	}
	last := slices.MaxFunc(q.agents[s.ID], func(a, b ssmtypes.InstanceInformation) int {
		return aws.ToTime(a.LastPingDateTime).Compare(aws.ToTime(b.LastPingDateTime))
	})
	id, at := aws.ToString(last.InstanceId), aws.ToTime(last.LastPingDateTime).UTC()
	e.Heard = at
	if last.PingStatus == ssmtypes.PingStatusOnline && at.After(q.Since) {
		e.Proof, e.Evidence = Probed, fmt.Sprintf("%s was heard by Systems Manager at %s, by %s", id, at.Format(time.TimeOnly), e.Target)
		return e
	}
	e.Proof, e.Evidence = Silent, fmt.Sprintf("%s was last heard by Systems Manager at %s (%s)", id, at.Format(time.TimeOnly), last.PingStatus)
	return e
}

// readRoutes reads where the subnets' default routes lead.
func (q *question) readRoutes(ctx context.Context) error {
	q.targets = map[string]string{}
	pages := ec2.NewDescribeRouteTablesPaginator(q.EC2, &ec2.DescribeRouteTablesInput{Filters: q.here()})
	main := ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the route tables of %s: %w", q.VPC, err)
		}
		for _, t := range page.RouteTables {
			target := defaultTarget(t)
			for _, a := range t.Associations {
				if id := aws.ToString(a.SubnetId); id != "" {
					q.targets[id] = target
				} else if aws.ToBool(a.Main) {
					main = target
				}
			}
		}
	}
	for _, s := range q.Subnets {
		if _, ok := q.targets[s.ID]; !ok {
			q.targets[s.ID] = main
		}
	}
	return nil
}

func defaultTarget(t ec2types.RouteTable) string {
	for _, r := range t.Routes {
		if aws.ToString(r.DestinationCidrBlock) != "0.0.0.0/0" {
			continue
		}
		for _, id := range []*string{r.NatGatewayId, r.NetworkInterfaceId} {
			if id != nil {
				return *id
			}
		}
	}
	return ""
}

// wanted are the targets of a kind, sorted.
func (q *question) wanted(prefix string) []string {
	ids := map[string]bool{}
	for _, s := range q.Subnets {
		if id := q.targets[s.ID]; strings.HasPrefix(id, prefix) {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func (q *question) readGateways(ctx context.Context) error {
	ids := q.wanted("nat-")
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		q.fault[id] = "is gone"
	}
	pages := ec2.NewDescribeNatGatewaysPaginator(q.EC2, &ec2.DescribeNatGatewaysInput{Filter: q.here()})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the NAT gateways of %s: %w", q.VPC, err)
		}
		for _, g := range page.NatGateways {
			id := aws.ToString(g.NatGatewayId)
			if _, asked := q.fault[id]; !asked {
				continue
			}
			for _, a := range g.NatGatewayAddresses {
				if ip := aws.ToString(a.PublicIp); ip != "" {
					q.public[id] = ip
				}
			}
			q.fault[id] = ""
			switch {
			case g.State != ec2types.NatGatewayStateAvailable:
				q.fault[id] = "is " + string(g.State)
			case q.public[id] == "":
				q.fault[id] = "has no public address"
			}
		}
	}
	return nil
}

func (q *question) readInterfaces(ctx context.Context) error {
	ids := q.wanted("eni-")
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		q.fault[id] = "is gone"
	}
	pages := ec2.NewDescribeNetworkInterfacesPaginator(q.EC2, &ec2.DescribeNetworkInterfacesInput{
		Filters: append(q.here(), ec2types.Filter{Name: aws.String("network-interface-id"), Values: ids}),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the interfaces of self-managed NAT: %w", err)
		}
		for _, e := range page.NetworkInterfaces {
			id := aws.ToString(e.NetworkInterfaceId)
			if e.Association != nil {
				q.public[id] = aws.ToString(e.Association.PublicIp)
			}
			q.fault[id] = ""
			switch {
			case e.Attachment == nil || aws.ToString(e.Attachment.InstanceId) == "":
				q.fault[id] = "has no instance: its Auto Scaling group launches one"
			case aws.ToBool(e.SourceDestCheck):
				q.fault[id] = "forwards nothing: its source/destination check is on"
			case q.public[id] == "":
				q.fault[id] = "has no public address"
			}
		}
	}
	return nil
}

// readAgents finds who can be asked: agents on running instances of the subnets,
// unless they have a shorter way to their service.
func (q *question) readAgents(ctx context.Context) error {
	endpoints := ec2.NewDescribeVpcEndpointsPaginator(q.EC2, &ec2.DescribeVpcEndpointsInput{Filters: q.here()})
	for endpoints.HasMorePages() {
		page, err := endpoints.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the endpoints of %s: %w", q.VPC, err)
		}
		for _, e := range page.VpcEndpoints {
			q.inside = q.inside || strings.HasSuffix(aws.ToString(e.ServiceName), ".ssm")
		}
	}
	if q.inside {
		return nil
	}
	var subnets []string
	for _, s := range q.Subnets {
		subnets = append(subnets, s.ID)
	}
	at := map[string]string{}
	instances := ec2.NewDescribeInstancesPaginator(q.EC2, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("subnet-id"), Values: subnets},
		{Name: aws.String("instance-state-name"), Values: []string{string(ec2types.InstanceStateNameRunning)}},
	}})
	for instances.HasMorePages() {
		page, err := instances.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read the instances of %s: %w", q.VPC, err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				at[aws.ToString(i.InstanceId)] = aws.ToString(i.SubnetId)
			}
		}
	}
	q.agents = map[string][]ssmtypes.InstanceInformation{}
	// A filter takes 100 values.
	const most = 100
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(at)), most) {
		pages := ssm.NewDescribeInstanceInformationPaginator(q.SSM, &ssm.DescribeInstanceInformationInput{
			Filters: []ssmtypes.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("ask Systems Manager for agents in %s: %w", q.VPC, err)
			}
			for _, i := range page.InstanceInformationList {
				subnet := at[aws.ToString(i.InstanceId)]
				q.agents[subnet] = append(q.agents[subnet], i)
			}
		}
	}
	return nil
}

func (q *question) here() []ec2types.Filter {
	return []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{q.VPC}}}
}
