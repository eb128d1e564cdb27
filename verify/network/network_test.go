package network

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestRouteToS3(t *testing.T) {
	t.Parallel()
	route := func(list, gateway string, state types.RouteState) types.RouteTable {
		return types.RouteTable{Routes: []types.Route{
			{DestinationCidrBlock: aws.String("10.0.0.0/16"), GatewayId: aws.String("local"), State: types.RouteStateActive},
			{DestinationPrefixListId: aws.String(list), GatewayId: aws.String(gateway), State: state},
		}}
	}
	for name, tt := range map[string]struct {
		table types.RouteTable
		want  string
	}{
		"endpoint":     {route("pl-s3", "vpce-1", types.RouteStateActive), "vpce-1"},
		"gone":         {route("pl-s3", "vpce-1", types.RouteStateBlackhole), ""},
		"another list": {route("pl-dynamodb", "vpce-1", types.RouteStateActive), ""},
		"no endpoint":  {route("pl-s3", "igw-1", types.RouteStateActive), ""},
		"empty":        {types.RouteTable{}, ""},
	} {
		if got := routeToS3(tt.table, "pl-s3"); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestLeadsOn(t *testing.T) {
	t.Parallel()
	s := aws.String
	table := func(id, subnet, gateway string, state types.RouteState) types.RouteTable {
		return types.RouteTable{
			RouteTableId: s(id), Associations: []types.RouteTableAssociation{{SubnetId: s(subnet)}},
			Routes: []types.Route{
				{DestinationCidrBlock: s("10.0.0.0/16"), GatewayId: s("local"), State: types.RouteStateActive},
				{DestinationCidrBlock: s("0.0.0.0/0"), GatewayId: s(gateway), State: state},
			},
		}
	}
	public := table("rtb-public", "subnet-public", "vpce-1", types.RouteStateActive)
	firewall := table("rtb-firewall", "subnet-firewall", "igw-1", types.RouteStateActive)
	other := table("rtb-other", "subnet-other", "igw-1", types.RouteStateActive)
	attached := []types.InternetGateway{{InternetGatewayId: s("igw-1")}}
	in := func(subnet string) []types.VpcEndpoint {
		return []types.VpcEndpoint{{VpcEndpointId: s("vpce-1"), VpcEndpointType: types.VpcEndpointTypeGatewayLoadBalancer, SubnetIds: []string{subnet}}}
	}
	for name, tt := range map[string]struct {
		tables    []types.RouteTable
		gateways  []types.InternetGateway
		endpoints []types.VpcEndpoint
		target    string
		want      string
	}{
		"seen":                               {[]types.RouteTable{public, other, firewall}, attached, in("subnet-firewall"), "vpce-1", "rtb-firewall"},
		"not seen":                           {[]types.RouteTable{public, firewall}, attached, nil, "vpce-1", "rtb-firewall"},
		"in the public subnet":               {[]types.RouteTable{public, firewall}, attached, in("subnet-public"), "vpce-1", ""},
		"no table leads on":                  {[]types.RouteTable{public}, attached, nil, "vpce-1", ""},
		"the firewall's leads on to another": {[]types.RouteTable{public, table("rtb-firewall", "subnet-firewall", "tgw-1", types.RouteStateActive), other}, attached, in("subnet-firewall"), "vpce-1", ""},
		"gateway of another VPC":             {[]types.RouteTable{public, firewall}, nil, nil, "vpce-1", ""},
		"gone":                               {[]types.RouteTable{public, table("rtb-firewall", "subnet-firewall", "igw-1", types.RouteStateBlackhole)}, attached, nil, "vpce-1", ""},
		"no endpoint":                        {[]types.RouteTable{public, firewall}, attached, nil, "nat-1", ""},
	} {
		if got := leadsOn(tt.tables, tt.gateways, tt.endpoints, "rtb-public", tt.target); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
