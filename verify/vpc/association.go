package vpc

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TableOf is the route table that applies to a subnet.
func TableOf(tables []types.RouteTable, subnet string) types.RouteTable {
	var main types.RouteTable
	for _, t := range tables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return t
			}
			if aws.ToBool(a.Main) {
				main = t
			}
		}
	}
	return main
}

// DefaultRoutes are the routes for IPv4 that are a table's default route
// together: the one of 0.0.0.0/0, and those of its halves, which come before it.
// It is nil if they leave out an address. Whether they work is not looked at.
func DefaultRoutes(t types.RouteTable) []types.Route {
	by := map[string][]types.Route{}
	for _, r := range t.Routes {
		to := aws.ToString(r.DestinationCidrBlock)
		by[to] = append(by[to], r)
	}
	whole, lower, upper := by["0.0.0.0/0"], by["0.0.0.0/1"], by["128.0.0.0/1"]
	switch {
	case len(lower) > 0 && len(upper) > 0:
		return append(lower, upper...)
	case len(whole) > 0:
		return append(append(whole, lower...), upper...)
	}
	return nil
}

// ACLOf is the network ACL that applies to a subnet, or an empty one.
func ACLOf(acls []types.NetworkAcl, subnet string) types.NetworkAcl {
	for _, a := range acls {
		for _, s := range a.Associations {
			if aws.ToString(s.SubnetId) == subnet {
				return a
			}
		}
	}
	return types.NetworkAcl{}
}
