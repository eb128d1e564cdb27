package api

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// filterListings are network ACLs, security groups and their rules.
func filterListings() []listing {
	return []listing{
		{
			name: "DescribeNetworkAcls", set: "networkAclSet", ids: map[string]string{"NetworkAclId": "networkAclId"},
			missing: [2]string{"InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist"},
			items:   each(ec2.TypeNetworkACL, aclItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "network-acl-id": "networkAclId", "default": "default", "owner-id": "ownerId",
				"association.subnet-id": "associationSet.subnetId", "association.network-acl-id": "associationSet.networkAclId",
				"association.association-id": "associationSet.networkAclAssociationId", "entry.cidr": "entrySet.cidrBlock",
				"entry.egress": "entrySet.egress", "entry.rule-action": "entrySet.ruleAction", "entry.rule-number": "entrySet.ruleNumber",
			},
		},
		{
			name: "DescribeSecurityGroups", set: "securityGroupInfo", ids: map[string]string{"GroupId": "groupId", "GroupName": "groupName"},
			missing: [2]string{"InvalidGroup.NotFound", "The security group '%s' does not exist"},
			items:   each(ec2.TypeSecurityGroup, groupItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "group-id": "groupId", "group-name": "groupName", "description": "groupDescription", "owner-id": "ownerId",
				"ip-permission.group-id": "ipPermissions.groups.groupId", "egress.ip-permission.group-id": "ipPermissionsEgress.groups.groupId",
				"ip-permission.cidr": "ipPermissions.ipRanges.cidrIp", "egress.ip-permission.cidr": "ipPermissionsEgress.ipRanges.cidrIp",
				"ip-permission.protocol": "ipPermissions.ipProtocol", "ip-permission.from-port": "ipPermissions.fromPort", "ip-permission.to-port": "ipPermissions.toPort",
			},
		},
		{
			name: "DescribeSecurityGroupRules", set: "securityGroupRuleSet", ids: map[string]string{"SecurityGroupRuleId": "securityGroupRuleId"},
			missing: [2]string{"InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist"},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				var out []object
				for _, typ := range []string{ec2.TypeSecurityGroupIngress, ec2.TypeSecurityGroupEgress} {
					for _, r := range tx.List(typ) {
						out = append(out, ruleItem(tx, r))
					}
				}
				return out, nil
			},
			filters: map[string]string{"tag": "", "group-id": "groupId", "security-group-rule-id": "securityGroupRuleId"},
		},
	}
}

func aclItem(tx *account.Tx, r *account.Resource) object {
	associations := []any{}
	for _, s := range ec2.InVPC(tx, ec2.TypeSubnet, ec2.VPCOf(r)) {
		if ec2.ACLOf(s) == r.ID {
			associations = append(associations, object{"networkAclAssociationId": s.Attrs["NetworkAclAssociationId"], "networkAclId": r.ID, "subnetId": s.ID})
		}
	}
	var entries []object
	for _, e := range ec2.Entries(tx, r.ID) {
		item := object{
			"ruleNumber": props.Int(e.Props, 0, "RuleNumber"), "egress": props.Bool(e.Props, false, "Egress"), "protocol": props.Str(e.Props, "Protocol"),
			"ruleAction": props.Str(e.Props, "RuleAction"), "cidrBlock": ec2.EntryCIDR(e),
		}
		if ports := props.Map(e.Props, "PortRange"); ports != nil {
			item["portRange"] = object{"from": props.Int(ports, 0, "From"), "to": props.Int(ports, 0, "To")}
		}
		if icmp := props.Map(e.Props, "Icmp"); icmp != nil {
			item["icmpTypeCode"] = object{"type": props.Int(icmp, -1, "Type"), "code": props.Int(icmp, -1, "Code")}
		}
		entries = append(entries, item)
	}
	// What no entry decides is denied.
	for _, egress := range []bool{true, false} {
		entries = append(entries, object{"ruleNumber": 32767, "egress": egress, "protocol": "-1", "ruleAction": "deny", "cidrBlock": "0.0.0.0/0"})
	}
	slices.SortStableFunc(entries, func(a, b object) int { return props.Int(a, 0, "ruleNumber") - props.Int(b, 0, "ruleNumber") })
	return object{
		"networkAclId": r.ID, "vpcId": ec2.VPCOf(r), "default": isDefault(r), "ownerId": tx.AccountID(),
		"associationSet": associations, "entrySet": anys(entries), "tagSet": tagSet(r.Tags),
	}
}

func groupItem(tx *account.Tx, r *account.Resource) object {
	var in, out []*account.Resource
	for _, own := range ec2.Rules(tx, r.ID) {
		if own.Type == ec2.TypeSecurityGroupIngress {
			in = append(in, own)
		} else {
			out = append(out, own)
		}
	}
	return object{
		"groupId": r.ID, "groupName": ec2.GroupName(r), "groupDescription": props.Str(r.Props, "GroupDescription"), "vpcId": ec2.VPCOf(r),
		"ownerId": tx.AccountID(), "securityGroupArn": arn(tx, "security-group", r.ID), "tagSet": tagSet(r.Tags),
		"ipPermissions": permissions(tx, in), "ipPermissionsEgress": permissions(tx, out),
	}
}

// permissions puts rules with the same protocol and ports together.
func permissions(tx *account.Tx, rules []*account.Resource) []any {
	var out []object
	for _, r := range rules {
		p := r.Props
		next := ports(object{"ipProtocol": rule.Protocol(props.Str(p, "IpProtocol")), "ipRanges": []any{}, "ipv6Ranges": []any{}, "prefixListIds": []any{}, "groups": []any{}}, p)
		i := slices.IndexFunc(out, func(o object) bool {
			return props.Same(o["ipProtocol"], next["ipProtocol"]) && props.Same(o["fromPort"], next["fromPort"]) && props.Same(o["toPort"], next["toPort"])
		})
		if i < 0 {
			i, out = len(out), append(out, next)
		}
		list, entry := "ipRanges", object{"cidrIp": rule.CIDR(p)}
		switch {
		case rule.PeerGroup(p) != "":
			list, entry = "groups", object{"groupId": rule.PeerGroup(p), "userId": tx.AccountID()}
		case rule.PrefixList(p) != "":
			list, entry = "prefixListIds", object{"prefixListId": rule.PrefixList(p)}
		case props.Str(p, "CidrIpv6") != "":
			list, entry = "ipv6Ranges", object{"cidrIpv6": rule.CIDR(p)}
		}
		optional(entry, "description", props.Str(p, "Description"))
		out[i][list] = append(props.List(out[i], list), entry)
	}
	return anys(out)
}

// ports puts the ports of a rule, which one for all protocols has not.
func ports(o object, p map[string]any) object {
	if rule.Protocol(props.Str(p, "IpProtocol")) == "-1" {
		return o
	}
	o["fromPort"], o["toPort"] = whole(p, "FromPort"), whole(p, "ToPort")
	return o
}

func ruleItem(tx *account.Tx, r *account.Resource) object {
	p := r.Props
	out := object{
		"securityGroupRuleId": r.ID, "groupId": props.Str(p, "GroupId"), "groupOwnerId": tx.AccountID(), "isEgress": r.Type == ec2.TypeSecurityGroupEgress,
		"ipProtocol": rule.Protocol(props.Str(p, "IpProtocol")), "fromPort": -1, "toPort": -1, "tagSet": tagSet(r.Tags),
		"securityGroupRuleArn": arn(tx, "security-group-rule", r.ID),
	}
	ports(out, p)
	optional(out, "description", props.Str(p, "Description"), "prefixListId", rule.PrefixList(p))
	switch {
	case props.Str(p, "CidrIp") != "":
		out["cidrIpv4"] = rule.CIDR(p)
	case props.Str(p, "CidrIpv6") != "":
		out["cidrIpv6"] = rule.CIDR(p)
	}
	if peer := rule.PeerGroup(p); peer != "" {
		out["referencedGroupInfo"] = object{"groupId": peer, "userId": tx.AccountID()}
	}
	return out
}

// groupSet are groups by id and name.
func groupSet(tx *account.Tx, ids []string) []any {
	out := []any{}
	for _, id := range ids {
		if g := tx.Get(ec2.TypeSecurityGroup, id); g != nil {
			out = append(out, object{"groupId": id, "groupName": ec2.GroupName(g)})
		}
	}
	return out
}
