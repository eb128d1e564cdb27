package api

import (
	"fmt"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
)

// Seed puts the default VPC into an account, unless it is fresh: a subnet for
// each zone, all of them public.
// https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html
func Seed(tx *account.Tx) {
	if tx.Fresh() {
		return
	}
	// Creating cannot be refused in an empty account; if it were, the account
	// simply has no default VPC, which the package's test would show.
	create := func(typ string, p map[string]any) *account.Resource {
		r, _, err := tx.Create(typ, p, "ec2.amazonaws.com", false)
		if err == nil {
			err = tx.Settle(r, "create")
		}
		if err != nil {
			return nil
		}
		return r
	}
	vpc := create(ec2.TypeVPC, map[string]any{"CidrBlock": "172.31.0.0/16", "EnableDnsHostnames": true, "EnableDnsSupport": true})
	gateway := create(ec2.TypeInternetGateway, map[string]any{})
	if vpc == nil || gateway == nil {
		return
	}
	vpc.Data["default"] = true
	create(ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": vpc.ID, "InternetGatewayId": gateway.ID})
	for i, z := range tx.Zones() {
		s := create(ec2.TypeSubnet, map[string]any{
			"VpcId": vpc.ID, "AvailabilityZone": z.Name, "CidrBlock": fmt.Sprintf("172.31.%d.0/20", i*16), "MapPublicIpOnLaunch": true,
		})
		if s != nil {
			s.Data["default"] = true
		}
	}
	for _, table := range ec2.InVPC(tx, ec2.TypeRouteTable, vpc.ID) {
		create(ec2.TypeRoute, map[string]any{"RouteTableId": table.ID, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway.ID})
	}
}
