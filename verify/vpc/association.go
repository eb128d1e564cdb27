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
