package verify_test

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

const (
	typeVPC       = "AWS::EC2::VPC"
	typeSubnet    = "AWS::EC2::Subnet"
	typeRoute     = "AWS::EC2::Route"
	typeTable     = "AWS::EC2::RouteTable"
	typeGroup     = "AWS::EC2::SecurityGroup"
	typeACL       = "AWS::EC2::NetworkAcl"
	typeEntry     = "AWS::EC2::NetworkAclEntry"
	typeInterface = "AWS::EC2::NetworkInterface"
	typeEndpoint  = "AWS::EC2::VPCEndpoint"
	typeNAT       = "AWS::EC2::NatGateway"
	typeIGW       = "AWS::EC2::InternetGateway"
	typeEIP       = "AWS::EC2::EIP"
	typeFlowLog   = "AWS::EC2::FlowLog"
)

// ref is the id of a resource by its type and its name in the template.
func (w *wrecker) ref(typ, logicalID string) string {
	var id string
	// That it is not there shows in what is done with it.
	_ = w.change(typ, logical(logicalID), func(_ *account.Tx, r *account.Resource) { id = r.ID })
	return id
}

// group is the id of a security group, by its name in the template without the
// ending.
func (w *wrecker) group(name string) string { return w.ref(typeGroup, name+"SecurityGroup") }

// make makes a resource in the store.
func (w *wrecker) make(typ string, props map[string]any) error {
	return w.box.Account().Do(func(tx *account.Tx) error {
		r, _, err := tx.Create(typ, props, "colleague", false)
		if err != nil {
			return err
		}
		return tx.Settle(r, "create")
	})
}

// set changes properties of a resource in the store.
func set(typ, logicalID string, props map[string]any) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change(typ, logical(logicalID), func(_ *account.Tx, r *account.Resource) {
			for k, v := range props {
				r.Props[k] = v
			}
		})
	}
}

// permission is a rule for a port, with a peer that is a range or a group.
func permission(port int32, peer string) []types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port}
	if len(peer) > 3 && peer[:3] == "sg-" {
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: &peer}}
	} else {
		p.IpRanges = []types.IpRange{{CidrIp: &peer}}
	}
	return []types.IpPermission{p}
}

func (w *wrecker) letIn(group string, port int32, peer string) error {
	_, err := w.aws.EC2.AuthorizeSecurityGroupIngress(w.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission(port, peer)})
	return err
}

func (w *wrecker) shutOut(group string, port int32, peer string) error {
	_, err := w.aws.EC2.RevokeSecurityGroupIngress(w.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission(port, peer)})
	return err
}

// expose leads a private subnet's default route to the internet gateway.
func (w *wrecker) expose(zone string) error {
	gateway := w.ref(typeIGW, "InternetGateway")
	return w.change(typeRoute, logical("PrivateDefaultRoute"+zone), func(_ *account.Tx, r *account.Resource) {
		delete(r.Props, "NatGatewayId")
		r.Props["GatewayId"] = gateway
	})
}

// publish gives interfaces public addresses, as an operator with an Elastic IP
// could.
func (w *wrecker) publish(choose func(*account.Resource) bool) error {
	n := 0
	return w.box.Account().Do(func(tx *account.Tx) error {
		for _, r := range tx.List(typeInterface) {
			if choose(r) {
				n++
				r.Data["publicIP"] = fmt.Sprintf("203.0.113.%d", n)
			}
		}
		if n == 0 {
			return account.Errorf("NotThere", "no interface is chosen")
		}
		return nil
	})
}

// steps are done one after the other.
func steps(list ...func(*wrecker) error) func(*wrecker) error {
	return func(w *wrecker) error {
		for _, s := range list {
			if err := s(w); err != nil {
				return err
			}
		}
		return nil
	}
}

func described(text string) func(*account.Resource) bool {
	return func(r *account.Resource) bool { return r.Props["Description"] == text }
}

func networkWrecks() []wreck {
	// Exposing the private subnets shows in what depends on their routes.
	exposed := []string{"private-egress", "nat-per-zone", "private-no-way-in"}
	exposeAll := func(w *wrecker) error {
		for _, zone := range []string{"1", "2", "3"} {
			if err := w.expose(zone); err != nil {
				return err
			}
		}
		return nil
	}
	return []wreck{
		{check: "vpc-there", by: func(w *wrecker) error {
			_, err := w.aws.EC2.CreateVpc(w.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.99.0.0/16"), TagSpecifications: []types.TagSpecification{
				{ResourceType: types.ResourceTypeVpc, Tags: []types.Tag{{Key: aws.String("poolhouse:deployment"), Value: aws.String(w.arch.Name())}}},
			}})
			return err
		}},
		{check: "vpc-dns", by: set(typeVPC, "Vpc", map[string]any{"EnableDnsHostnames": false})},
		{check: "subnets-tiers", by: func(w *wrecker) error {
			return w.change(typeSubnet, logical("PublicSubnet2"), func(_ *account.Tx, r *account.Resource) { r.Status = "pending" })
		}},
		{check: "subnets-tiers", name: "gone", also: []string{"subnets-zones", "cluster-subnets"}, by: func(w *wrecker) error {
			subnet := w.ref(typeSubnet, "ControlPlaneSubnet3")
			return w.box.Account().Do(func(tx *account.Tx) error {
				for _, r := range tx.List(typeInterface) {
					if r.Props["SubnetId"] == subnet {
						tx.Drop(typeInterface, r.ID)
					}
				}
				tx.Drop(typeSubnet, subnet)
				return nil
			})
		}},
		{check: "subnets-zones", by: func(w *wrecker) error {
			var zone any
			if err := w.change(typeSubnet, logical("ControlPlaneSubnet1"), func(_ *account.Tx, r *account.Resource) { zone = r.Attrs["AvailabilityZoneId"] }); err != nil {
				return err
			}
			return w.change(typeSubnet, logical("ControlPlaneSubnet3"), func(_ *account.Tx, r *account.Resource) { r.Attrs["AvailabilityZoneId"] = zone })
		}},
		{check: "subnets-no-public-ip", by: set(typeSubnet, "PrivateSubnet1", map[string]any{"MapPublicIpOnLaunch": true})},
		{check: "subnet-free-addresses", by: func(w *wrecker) error {
			subnet := w.ref(typeSubnet, "ControlPlaneSubnet1")
			_, err := w.aws.EC2.CreateNetworkInterface(w.ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet, SecondaryPrivateIpAddressCount: aws.Int32(45)})
			return err
		}},
		{check: "acl-per-tier", by: func(w *wrecker) error {
			acl := w.ref(typeACL, "PrivateAcl")
			return w.change(typeSubnet, logical("PublicSubnet1"), func(_ *account.Tx, r *account.Resource) { r.Data["acl"] = acl })
		}},
		{check: "acl-no-open-ports", by: set(typeEntry, "PrivateAclIn110", map[string]any{"CidrBlock": "0.0.0.0/0"})},
		{check: "acl-no-open-ports", name: "default", also: []string{"acl-per-tier"}, by: func(w *wrecker) error {
			var acl any
			if err := w.change(typeVPC, logical("Vpc"), func(_ *account.Tx, r *account.Resource) { acl = r.Attrs["DefaultNetworkAcl"] }); err != nil {
				return err
			}
			return w.change(typeSubnet, logical("ControlPlaneSubnet1"), func(_ *account.Tx, r *account.Resource) { r.Data["acl"] = acl })
		}},
		{check: "no-black-holes", by: func(w *wrecker) error {
			table := w.ref(typeTable, "ControlPlaneRouteTable")
			return w.box.Account().Do(func(tx *account.Tx) error {
				tx.Put(&account.Resource{
					Type: typeRoute, ID: table + "|192.168.0.0/16", Status: "active", Attrs: map[string]any{"CidrBlock": "192.168.0.0/16"},
					Props: map[string]any{"RouteTableId": table, "DestinationCidrBlock": "192.168.0.0/16", "NetworkInterfaceId": "eni-0123456789abcdef0"},
				})
				return nil
			})
		}},
		{check: "igw-only-ours", by: func(w *wrecker) error {
			return w.change(typeIGW, logical("InternetGateway"), func(_ *account.Tx, r *account.Resource) { r.Tags["poolhouse:deployment"] = "another" })
		}},
		{check: "public-routes-to-internet", also: []string{"private-egress"}, by: func(w *wrecker) error {
			return w.change(typeRoute, logical("PublicDefaultRoute"), func(_ *account.Tx, r *account.Resource) { r.Attrs["CidrBlock"] = "198.51.100.0/24" })
		}},
		{check: "private-egress", by: set(typeEntry, "PublicAclOut100", map[string]any{"PortRange": map[string]any{"From": 8443, "To": 8443}})},
		{check: "private-egress", name: "none", example: "minimal-egress", by: func(w *wrecker) error {
			subnet, table := w.ref(typeSubnet, "PublicSubnet1"), w.ref(typeTable, "PrivateRouteTable1")
			if err := w.make(typeEIP, map[string]any{"Domain": "vpc"}); err != nil {
				return err
			}
			var allocation any
			if err := w.change(typeEIP, func(r *account.Resource) bool { return r.Owner == "colleague" }, func(_ *account.Tx, r *account.Resource) { allocation = r.Attrs["AllocationId"] }); err != nil {
				return err
			}
			if err := w.make(typeNAT, map[string]any{"SubnetId": subnet, "AllocationId": allocation}); err != nil {
				return err
			}
			var gateway string
			if err := w.change(typeNAT, func(*account.Resource) bool { return true }, func(_ *account.Tx, r *account.Resource) { gateway = r.ID }); err != nil {
				return err
			}
			return w.make(typeRoute, map[string]any{"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": gateway})
		}},
		{check: "nat-per-zone", by: func(w *wrecker) error {
			return set(typeRoute, "PrivateDefaultRoute2", map[string]any{"NatGatewayId": w.ref(typeNAT, "NatGateway1")})(w)
		}},
		{check: "nat-gateway-healthy", also: []string{"private-egress"}, by: func(w *wrecker) error {
			return w.change(typeNAT, logical("NatGateway1"), func(_ *account.Tx, r *account.Resource) { r.Status = "failed" })
		}},
		{check: "nat-instance-safe", name: "check", example: "self-managed-nat", also: []string{"private-egress"}, by: set(typeInterface, "NatInterface1", map[string]any{"SourceDestCheck": true})},
		{check: "nat-instance-safe", name: "open", example: "self-managed-nat", by: func(w *wrecker) error { return w.letIn(w.group("Nat"), 443, "0.0.0.0/0") }},
		// Nobody is heard any more, whatever the routes say.
		{check: "nat-proved", example: "evaluation", also: []string{"node-roles-minimal", "nodes-session-manager"}, by: func(w *wrecker) error {
			for _, r := range []string{"core", "web-assistant"} {
				if _, err := w.aws.IAM.DetachRolePolicy(w.ctx, &iam.DetachRolePolicyInput{
					RoleName: aws.String(w.arch.RoleName(r + "-nodes")), PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"),
				}); err != nil {
					return err
				}
			}
			return nil
		}},
		{check: "private-no-way-in", also: []string{"private-egress", "nat-per-zone"}, by: func(w *wrecker) error { return w.expose("1") }},
		{check: "control-plane-no-way-in", by: func(w *wrecker) error {
			return w.make(typeRoute, map[string]any{"RouteTableId": w.ref(typeTable, "ControlPlaneRouteTable"), "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": w.ref(typeIGW, "InternetGateway")})
		}},
		// The private ACL lets nothing out to the ports of ordinary clients, but it
		// does to 443: who comes from there gets answers.
		{check: "nodes-not-reachable-from-internet", also: append([]string{"groups-name-groups", "public-addresses"}, exposed...), by: steps(
			exposeAll,
			func(w *wrecker) error {
				core := w.group("NodesCore")
				return w.publish(func(r *account.Resource) bool {
					groups, _ := r.Data["groups"].([]any)
					for _, g := range groups {
						if g == core {
							return true
						}
					}
					return false
				})
			},
			func(w *wrecker) error { return w.letIn(w.group("NodesCore"), 10250, "0.0.0.0/0") },
		)},
		{check: "database-not-reachable-from-internet", also: append([]string{"groups-name-groups", "public-addresses", "database-reached-only-by-core-nodes", "web-nodes-cannot-reach-database"}, exposed...), by: steps(
			exposeAll,
			func(w *wrecker) error { return w.publish(described("RDSNetworkInterface")) },
			func(w *wrecker) error { return w.letIn(w.group("Database"), 5432, "0.0.0.0/0") },
		)},
		{check: "database-reached-only-by-core-nodes", by: func(w *wrecker) error {
			subnet := w.ref(typeSubnet, "PrivateSubnet2")
			_, err := w.aws.EC2.CreateNetworkInterface(w.ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet, Groups: []string{w.group("NodesCore")}})
			return err
		}},
		{check: "web-nodes-cannot-reach-database", also: []string{"database-reached-only-by-core-nodes"}, by: func(w *wrecker) error {
			return w.letIn(w.group("Database"), 5432, w.group("NodesWebAssistant"))
		}},
		{check: "nodes-reach-database", by: func(w *wrecker) error {
			return w.shutOut(w.group("Database"), 5432, w.group("NodesCore"))
		}},
		// Answers from the database's zone no longer enter the nodes' subnets.
		{check: "nodes-reach-database", name: "answers", by: func(w *wrecker) error {
			for _, n := range []string{"0", "1", "2"} {
				if err := set(typeEntry, "PrivateAclIn10"+n, map[string]any{"Protocol": 6, "PortRange": map[string]any{"From": 5432, "To": 5432}, "RuleAction": "allow"})(w); err != nil {
					return err
				}
			}
			return set(typeEntry, "PrivateAclIn130", map[string]any{"PortRange": map[string]any{"From": 1024, "To": 60000}})(w)
		}, also: []string{"load-balancer-reaches-pods", "private-egress"}},
		{check: "load-balancer-reaches-pods", by: func(w *wrecker) error {
			return w.shutOut(w.group("NodesWebAssistant"), 8443, w.group("AlbWeb"))
		}},
		{check: "default-group-empty", by: func(w *wrecker) error {
			var id string
			if err := w.change(typeVPC, logical("Vpc"), func(_ *account.Tx, r *account.Resource) { id, _ = r.Attrs["DefaultSecurityGroup"].(string) }); err != nil {
				return err
			}
			return w.letIn(id, 443, "10.80.0.0/16")
		}},
		{check: "groups-name-groups", by: func(w *wrecker) error { return w.letIn(w.group("NodesCore"), 8443, "10.80.0.0/16") }},
		{check: "groups-closed-egress", by: func(w *wrecker) error {
			id := w.group("Database")
			_, err := w.aws.EC2.AuthorizeSecurityGroupEgress(w.ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &id, IpPermissions: permission(443, "0.0.0.0/0")})
			return err
		}},
		{check: "no-open-ssh-rdp", by: func(w *wrecker) error {
			vpc := w.ref(typeVPC, "Vpc")
			out, err := w.aws.EC2.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String("jump"), Description: aws.String("Jump host"), VpcId: &vpc})
			if err != nil {
				return err
			}
			return w.letIn(aws.ToString(out.GroupId), 22, "0.0.0.0/0")
		}},
		{check: "endpoint-s3-gateway", by: func(w *wrecker) error {
			_, err := w.aws.EC2.DeleteVpcEndpoints(w.ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{w.ref(typeEndpoint, "S3Endpoint")}})
			return err
		}},
		{check: "endpoints-present", example: "minimal-egress", by: func(w *wrecker) error {
			_, err := w.aws.EC2.DeleteVpcEndpoints(w.ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{w.ref(typeEndpoint, "StsEndpoint")}})
			return err
		}},
		{check: "endpoint-policies", by: set(typeEndpoint, "S3Endpoint", map[string]any{"PolicyDocument": nil})},
		{check: "flow-logs", by: set(typeFlowLog, "FlowLog", map[string]any{"TrafficType": "REJECT"})},
	}
}
