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
