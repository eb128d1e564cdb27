package ec2

import (
	"fmt"
	"net/netip"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func aclType() *account.Type {
	return &account.Type{
		Name: TypeNetworkACL, Latency: "ec2:acl",
		Create: func(tx *account.Tx, r *account.Resource) error {
			vpc, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId"))
			if err != nil {
				return err
			}
			if err := quota.NetworkACLs.Check(tx, len(InVPC(tx, TypeNetworkACL, vpc.ID))); err != nil {
				return err
			}
			name(tx, r, "acl", "Id")
			r.Status = "available"
			return nil
		},
		Update: updateTags,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if r.Data["default"] == true {
				return account.Errorf("InvalidParameterValue", "cannot delete default network ACL %s", r.ID)
			}
			for _, s := range InVPC(tx, TypeSubnet, VPCOf(r)) {
				if ACLOf(s) == r.ID {
					return account.Errorf("DependencyViolation", "The network ACL '%s' has dependencies and cannot be deleted.", r.ID)
				}
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, e := range Entries(tx, r.ID) {
				tx.Drop(TypeNetworkACLEntry, e.ID)
			}
		},
	}
}

// newDefaultACL makes the network ACL that comes with a VPC: all is allowed.
func newDefaultACL(tx *account.Tx, vpc string) *account.Resource {
	id := "acl-" + tx.HexID(17)
	acl := put(tx, &account.Resource{
		Type: TypeNetworkACL, ID: id, Status: "available",
		Props: map[string]any{"VpcId": vpc}, Attrs: map[string]any{"Id": id}, Data: map[string]any{"default": true},
	})
	for _, egress := range []bool{false, true} {
		e := put(tx, &account.Resource{Type: TypeNetworkACLEntry, ID: entryID(id, 100, egress), Props: map[string]any{
			"NetworkAclId": id, "RuleNumber": 100, "Egress": egress, "Protocol": -1, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0",
		}})
		e.Attrs["Id"] = e.ID
	}
	return acl
}

// Entries are the entries of a network ACL but for the final denial.
func Entries(tx *account.Tx, acl string) []*account.Resource {
	return where(tx, TypeNetworkACLEntry, "NetworkAclId", acl)
}

// ACLOf is the id of the network ACL of a subnet.
func ACLOf(subnet *account.Resource) string { return props.Str(subnet.Data, "acl") }

func entryID(acl string, number int, egress bool) string {
	return fmt.Sprintf("%s|%d|%t", acl, number, egress)
}

func aclEntryType() *account.Type {
	return &account.Type{
		Name: TypeNetworkACLEntry, Latency: "ec2:acl-entry",
		Create: func(tx *account.Tx, r *account.Resource) error {
			acl, err := Lookup(tx, TypeNetworkACL, props.Str(r.Props, "NetworkAclId"))
			if err != nil {
				return err
			}
			if err := checkEntry(r, r.Props); err != nil {
				return err
			}
			number := props.Int(r.Props, 0, "RuleNumber")
			egress := props.Bool(r.Props, false, "Egress")
			r.ID = entryID(acl.ID, number, egress)
			if tx.Get(TypeNetworkACLEntry, r.ID) != nil {
				return account.Errorf("NetworkAclEntryAlreadyExists", "The network acl entry identified by %d already exists.", number)
			}
			same := 0
			for _, e := range Entries(tx, acl.ID) {
				if props.Bool(e.Props, false, "Egress") == egress {
					same++
				}
			}
			// The final denial counts as well.
			if err := quota.Entries.Check(tx, same+1); err != nil {
				return err
			}
			r.Attrs["Id"] = r.ID
			r.Attrs["VpcId"] = VPCOf(acl)
			r.Status = "available"
			return nil
		},
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error { return checkEntry(r, next) },
	}
}

// checkEntry checks what an entry says for itself.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html
func checkEntry(r *account.Resource, p map[string]any) error {
	if err := account.Unmodelled(r.Type, p, "Ipv6CidrBlock"); err != nil {
		return err
	}
	if n := props.Int(p, 0, "RuleNumber"); n < 1 || n > 32766 {
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter ruleNumber is invalid. The rule number must be between 1 and 32766.", props.Str(p, "RuleNumber"))
	}
	if a := props.Str(p, "RuleAction"); a != "allow" && a != "deny" {
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter ruleAction is invalid. Unknown rule action.", a)
	}
	if _, err := parseCIDR(props.Str(p, "CidrBlock"), "cidrBlock"); err != nil {
		return err
	}
	protocol := rule.Protocol(props.Str(p, "Protocol"))
	switch protocol {
	case "":
		return account.Errorf("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", props.Str(p, "Protocol"))
	case "tcp", "udp":
		ports := props.Map(p, "PortRange")
		if ports == nil {
			return account.Errorf("MissingParameter", "The request must contain the parameter portRange")
		}
		return rule.CheckPorts(map[string]any{"IpProtocol": protocol, "FromPort": ports["From"], "ToPort": ports["To"]})
	case "icmp":
		if props.Map(p, "Icmp") == nil {
			return account.Errorf("MissingParameter", "The request must contain the parameter icmpTypeCode")
		}
	}
	return nil
}

// EntryCIDR is the entry's network in canonical form.
func EntryCIDR(entry *account.Resource) string {
	if p, err := netip.ParsePrefix(props.Str(entry.Props, "CidrBlock")); err == nil {
		return p.Masked().String()
	}
	return ""
}

// associateACL gives a subnet its network ACL and returns the association's
// id. A subnet has exactly one at any time.
func associateACL(tx *account.Tx, subnet *account.Resource, acl string) string {
	id := "aclassoc-" + tx.HexID(17)
	subnet.Data["acl"] = acl
	subnet.Attrs["NetworkAclAssociationId"] = id
	return id
}

func aclAssociationType() *account.Type {
	return &account.Type{
		Name: TypeSubnetNetworkACLAssociation, Latency: "ec2:acl-association",
		Create: func(tx *account.Tx, r *account.Resource) error {
			acl, err := Lookup(tx, TypeNetworkACL, props.Str(r.Props, "NetworkAclId"))
			if err != nil {
				return err
			}
			subnet, err := FindSubnet(tx, props.Str(r.Props, "SubnetId"))
			if err != nil {
				return err
			}
			if VPCOf(acl) != VPCOf(subnet) {
				return account.Errorf("InvalidParameterValue", "Network ACL %s and subnet %s belong to different networks.", acl.ID, subnet.ID)
			}
			r.ID = associateACL(tx, subnet, acl.ID)
			r.Attrs["AssociationId"] = r.ID
			r.Attrs["VpcId"] = VPCOf(acl)
			r.Status = "associated"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			subnet := tx.Get(TypeSubnet, props.Str(r.Props, "SubnetId"))
			// A later association has taken this one's place.
			if subnet == nil || props.Str(subnet.Attrs, "NetworkAclAssociationId") != r.ID {
				return
			}
			if vpc := tx.Get(TypeVPC, VPCOf(subnet)); vpc != nil {
				associateACL(tx, subnet, props.Str(vpc.Attrs, "DefaultNetworkAcl"))
			}
		},
	}
}
