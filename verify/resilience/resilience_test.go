package resilience

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

func TestDefaultRoute(t *testing.T) {
	t.Parallel()
	s := aws.String
	all, lower, upper := s("0.0.0.0/0"), s("0.0.0.0/1"), s("128.0.0.0/1")
	const gone = ec2types.RouteStateBlackhole
	local := ec2types.Route{DestinationCidrBlock: s("10.0.0.0/16"), GatewayId: s("local")}
	for name, tt := range map[string]struct {
		routes []ec2types.Route
		want   []string
	}{
		"none":                {nil, nil},
		"NAT gateway":         {[]ec2types.Route{{DestinationCidrBlock: all, NatGatewayId: s("nat-1")}}, []string{"nat-1"}},
		"transit gateway":     {[]ec2types.Route{{DestinationCidrBlock: all, TransitGatewayId: s("tgw-1")}}, []string{"tgw-1"}},
		"core network":        {[]ec2types.Route{{DestinationCidrBlock: all, CoreNetworkArn: s("arn:aws:networkmanager::123456789012:core-network/core-network-1")}}, []string{"arn:aws:networkmanager::123456789012:core-network/core-network-1"}},
		"local gateway":       {[]ec2types.Route{{DestinationCidrBlock: all, LocalGatewayId: s("lgw-1")}}, []string{"lgw-1"}},
		"firewall":            {[]ec2types.Route{{DestinationCidrBlock: all, GatewayId: s("vpce-1")}}, []string{"vpce-1"}},
		"gone":                {[]ec2types.Route{{DestinationCidrBlock: all, CoreNetworkArn: s("arn:gone"), State: gone}}, nil},
		"halves":              {[]ec2types.Route{{DestinationCidrBlock: upper, TransitGatewayId: s("tgw-2")}, {DestinationCidrBlock: lower, TransitGatewayId: s("tgw-1")}}, []string{"tgw-1", "tgw-2"}},
		"one half":            {[]ec2types.Route{{DestinationCidrBlock: lower, TransitGatewayId: s("tgw-1")}}, nil},
		"one half is gone":    {[]ec2types.Route{{DestinationCidrBlock: lower, TransitGatewayId: s("tgw-1")}, {DestinationCidrBlock: upper, TransitGatewayId: s("tgw-1"), State: gone}}, nil},
		"half and whole":      {[]ec2types.Route{{DestinationCidrBlock: lower, NatGatewayId: s("nat-1")}, {DestinationCidrBlock: all, NatGatewayId: s("nat-2")}}, []string{"nat-2", "nat-1"}},
		"halves before whole": {[]ec2types.Route{{DestinationCidrBlock: all, State: gone, NatGatewayId: s("nat-0")}, {DestinationCidrBlock: lower, NatGatewayId: s("nat-1")}, {DestinationCidrBlock: upper, NatGatewayId: s("nat-2")}}, []string{"nat-1", "nat-2"}},
	} {
		if diff := cmp.Diff(tt.want, defaultRoute(ec2types.RouteTable{Routes: append([]ec2types.Route{local}, tt.routes...)})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
