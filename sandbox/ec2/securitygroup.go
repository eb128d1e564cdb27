package ec2

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/property"
)

var (
	groupQuota = quota{2500, "SecurityGroupLimitExceeded", "The maximum number of security groups has been reached."}
	ruleQuota  = quota{60, "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached."}
)

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html
var (
	groupText = regexp.MustCompile(`^[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}$`)
	ruleText  = regexp.MustCompile(`^[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}$`)
)

func securityGroupType() *account.Type {
	return &account.Type{
		Name: TypeSecurityGroup, Latency: "ec2:sg",
		Create: createGroup,
		Update: updateGroup,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if r.Data["default"] == true {
				return account.Errorf("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", r.ID)
			}
			if groupInUse(tx, r.ID) {
				return account.Errorf("DependencyViolation", "resource %s has a dependent object", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, rule := range Rules(tx, r.ID) {
				tx.Drop(rule.Type, rule.ID)
			}
		},
	}
}

func createGroup(tx *account.Tx, r *account.Resource) error {
	vpc := property.String(r.Props, "VpcId")
	if vpc == "" {
		v := DefaultVPC(tx)
		if v == nil {
			return account.Errorf("VPCIdNotSpecified", "No default VPC for this user")
		}
		vpc = v.ID
	} else if _, err := Lookup(tx, TypeVPC, vpc); err != nil {
		return err
	}
	groupName := property.String(r.Props, "GroupName")
	if groupName == "" {
		// CloudFormation names the group when the template doesn't.
		groupName = "group-" + tx.HexID(12)
	}
	switch {
	case strings.HasPrefix(groupName, "sg-"):
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", groupName)
	case groupName == "default":
		return account.Errorf("InvalidGroup.Reserved", "The security group 'default' is reserved")
	case !groupText.MatchString(groupName):
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", groupName)
	case !groupText.MatchString(property.String(r.Props, "GroupDescription")):
		return account.Errorf("InvalidParameterValue", "Invalid security group description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
	}
	for _, g := range InVPC(tx, TypeSecurityGroup, vpc) {
		if GroupName(g) == groupName {
			return account.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", groupName, vpc)
		}
	}
	if err := groupQuota.exceeded(len(tx.List(TypeSecurityGroup))); err != nil {
		return err
	}
	name(tx, r, "sg", "GroupId")
	r.Attrs["Id"] = r.ID
	r.Attrs["VpcId"] = vpc
	r.Data["name"] = groupName
	r.Status = "available"
	return setInlineRules(tx, r, r.Props)
}

func updateGroup(tx *account.Tx, r *account.Resource, next map[string]any) error {
	if err := setInlineRules(tx, r, next); err != nil {
		return err
	}
	retag(r, next)
	return nil
}

// setInlineRules makes the rules written in the group's own properties those
// of props. Without egress rules there the group lets everything out.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ec2-securitygroup.html
func setInlineRules(tx *account.Tx, group *account.Resource, props map[string]any) error {
	var old, added []*account.Resource
	for _, rule := range Rules(tx, group.ID) {
		if rule.Data["inline"] == true {
			old = append(old, rule)
			tx.Drop(rule.Type, rule.ID)
		}
	}
	var err error
	for _, typ := range []string{TypeSecurityGroupIngress, TypeSecurityGroupEgress} {
		list := property.Maps(props, typ[len("AWS::EC2::"):])
		if len(list) == 0 && typ == TypeSecurityGroupEgress {
			list = []map[string]any{{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}}
		}
		for _, p := range list {
			if err != nil {
				break
			}
			p, _ := account.Copy(p).(map[string]any)
			p["GroupId"] = group.ID
			rule := &account.Resource{
				Type: typ, Props: p, Attrs: map[string]any{}, Tags: map[string]string{}, Owner: group.Owner,
				Data: map[string]any{"inline": true},
			}
			// A rule that stays keeps its id.
			i := slices.IndexFunc(old, func(o *account.Resource) bool { return o.Type == typ && ruleKey(o.Props) == ruleKey(p) })
			if i >= 0 {
				rule.ID, rule.Created = old[i].ID, old[i].Created
			}
			if err = addRule(tx, group, rule); err == nil {
				tx.Put(rule)
				added = append(added, rule)
			}
		}
	}
	if err != nil {
		for _, rule := range added {
			tx.Drop(rule.Type, rule.ID)
		}
		for _, rule := range old {
			tx.Put(rule)
		}
	}
	return err
}

// newDefaultGroup makes the group that comes with a VPC.
func newDefaultGroup(tx *account.Tx, vpc string) *account.Resource {
	id := "sg-" + tx.HexID(17)
	g := put(tx, &account.Resource{
		Type: TypeSecurityGroup, ID: id, Status: "available",
		Props: map[string]any{"VpcId": vpc, "GroupName": "default", "GroupDescription": "default VPC security group"},
		Attrs: map[string]any{"GroupId": id, "Id": id, "VpcId": vpc},
		Data:  map[string]any{"default": true, "name": "default"},
	})
	for _, rule := range []*account.Resource{
		{Type: TypeSecurityGroupIngress, Props: map[string]any{"GroupId": id, "IpProtocol": "-1", "SourceSecurityGroupId": id}},
		{Type: TypeSecurityGroupEgress, Props: map[string]any{"GroupId": id, "IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}},
	} {
		rule.ID = "sgr-" + tx.HexID(17)
		rule.Attrs = map[string]any{"Id": rule.ID}
		put(tx, rule)
	}
	return g
}

// FindSecurityGroup returns the group, or InvalidGroup.NotFound.
func FindSecurityGroup(tx *account.Tx, id string) (*account.Resource, error) {
	return Lookup(tx, TypeSecurityGroup, id)
}

// CheckSecurityGroups tells whether all groups exist in the VPC. Errors:
// InvalidGroup.NotFound, InvalidParameter for a group of another VPC.
func CheckSecurityGroups(tx *account.Tx, vpc string, groups []string) error {
	for _, id := range groups {
		g, err := FindSecurityGroup(tx, id)
		if err != nil {
			return err
		}
		if VPCOf(g) != vpc {
			return account.Errorf("InvalidParameter", "Security group %s and VPC %s belong to different networks.", id, vpc)
		}
	}
	return nil
}

// GroupName is the group's name, whether given or generated.
func GroupName(group *account.Resource) string { return property.String(group.Data, "name") }

// groupInUse tells whether an interface, an endpoint or a rule of another group
// names the group.
func groupInUse(tx *account.Tx, id string) bool {
	for _, eni := range tx.List(TypeNetworkInterface) {
		if slices.Contains(InterfaceGroups(eni), id) {
			return true
		}
	}
	for _, typ := range []string{TypeSecurityGroupIngress, TypeSecurityGroupEgress} {
		for _, rule := range tx.List(typ) {
			if property.String(rule.Props, "GroupId") != id && peerGroup(rule.Props) == id {
				return true
			}
		}
	}
	return false
}

func ruleType(typ string) *account.Type {
	return &account.Type{
		Name: typ, Latency: "ec2:sg-rule",
		Create: func(tx *account.Tx, r *account.Resource) error {
			group, err := ruleGroup(tx, r.Props)
			if err != nil {
				return err
			}
			return addRule(tx, group, r)
		},
		Update: func(_ *account.Tx, _ *account.Resource, next map[string]any) error {
			return checkRuleText(next)
		},
	}
}

// ruleGroup finds the group that a rule is for, by id or, in the default VPC,
// by name.
func ruleGroup(tx *account.Tx, props map[string]any) (*account.Resource, error) {
	if id := property.String(props, "GroupId"); id != "" {
		return FindSecurityGroup(tx, id)
	}
	groupName := property.String(props, "GroupName")
	if groupName == "" {
		return nil, account.Errorf("MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	if vpc := DefaultVPC(tx); vpc != nil {
		for _, g := range InVPC(tx, TypeSecurityGroup, vpc.ID) {
			if GroupName(g) == groupName {
				props["GroupId"] = g.ID
				return g, nil
			}
		}
	}
	return nil, account.Errorf(notFound[TypeSecurityGroup][0], notFound[TypeSecurityGroup][1], groupName)
}

// Rules are the rules of a group, incoming ones first.
func Rules(tx *account.Tx, group string) []*account.Resource {
	return append(where(tx, TypeSecurityGroupIngress, "GroupId", group), where(tx, TypeSecurityGroupEgress, "GroupId", group)...)
}

// addRule checks a rule against its group and names it.
func addRule(tx *account.Tx, group, rule *account.Resource) error {
	p := rule.Props
	if err := checkPorts(p); err != nil {
		return err
	}
	if err := checkPeer(tx, group, p); err != nil {
		return err
	}
	if err := checkRuleText(p); err != nil {
		return err
	}
	same := where(tx, rule.Type, "GroupId", group.ID)
	for _, r := range same {
		if ruleKey(r.Props) == ruleKey(p) {
			return account.Errorf("InvalidPermission.Duplicate", "the specified rule \"%s, ALLOW\" already exists", ruleWords(p))
		}
	}
	if err := ruleQuota.exceeded(len(same)); err != nil {
		return err
	}
	if rule.ID == "" {
		rule.ID = "sgr-" + tx.HexID(17)
	}
	rule.Attrs["Id"] = rule.ID
	rule.Status = "available"
	return nil
}

func checkRuleText(p map[string]any) error {
	if !ruleText.MatchString(property.String(p, "Description")) {
		return account.Errorf("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
	}
	return nil
}

// checkPorts checks protocol and ports of a rule.
func checkPorts(p map[string]any) error {
	protocol := Protocol(property.String(p, "IpProtocol"))
	if protocol == "" {
		return account.Errorf("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", property.String(p, "IpProtocol"))
	}
	if protocol != "tcp" && protocol != "udp" {
		return nil
	}
	from, okFrom := property.Int(p, "FromPort")
	to, okTo := property.Int(p, "ToPort")
	if !okFrom || !okTo {
		return account.Errorf("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	}
	for _, port := range []int{from, to} {
		if port < 0 || port > 65535 {
			return account.Errorf("InvalidParameterValue", "TCP/UDP port (%d) out of range", port)
		}
	}
	if from > to {
		return account.Errorf("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", from, to)
	}
	return nil
}

// Protocol is EC2's name for a protocol given by name or number: "tcp" for 6,
// "-1" for all, "" for one that doesn't exist.
func Protocol(s string) string {
	switch s = strings.ToLower(s); s {
	case "tcp", "udp", "icmp", "icmpv6", "-1":
		return s
	case "all":
		return "-1"
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "58":
		return "icmpv6"
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 255 {
		return s
	}
	return ""
}

// checkPeer checks the other side of a rule: exactly one of a network, a prefix
// list or a group of the same VPC.
func checkPeer(tx *account.Tx, group *account.Resource, p map[string]any) error {
	if n := property.String(p, "SourceSecurityGroupName"); n != "" && peerGroup(p) == "" {
		return account.Errorf("InvalidParameterValue", "Group names are only supported for EC2-Classic and default VPC.")
	}
	cidr, prefixList, peer := property.String(p, "CidrIp"), prefixList(p), peerGroup(p)
	n := 0
	for _, v := range []string{cidr, property.String(p, "CidrIpv6"), prefixList, peer} {
		if v != "" {
			n++
		}
	}
	if n == 0 {
		return account.Errorf("MissingParameter", "Source group ID missing.")
	}
	if n > 1 {
		return account.Errorf("InvalidParameterCombination", "Only one of CidrIp, CidrIpv6, prefix list or security group can be specified")
	}
	switch {
	case peer != "":
		g := tx.Get(TypeSecurityGroup, peer)
		if peer == group.ID {
			g = group
		}
		if g == nil {
			return account.Errorf(notFound[TypeSecurityGroup][0], notFound[TypeSecurityGroup][1], peer)
		}
		if VPCOf(g) != VPCOf(group) {
			return account.Errorf("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
		}
	case prefixList != "":
		if _, ok := PrefixLists(tx.Region())[prefixList]; !ok {
			return account.Errorf("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", prefixList)
		}
	case cidr != "":
		if c, err := netip.ParsePrefix(cidr); err != nil || !c.Addr().Is4() {
			return account.Errorf("InvalidParameterValue", "CIDR block %s is malformed", cidr)
		}
	default:
		if c, err := netip.ParsePrefix(property.String(p, "CidrIpv6")); err != nil || !c.Addr().Is6() {
			return account.Errorf("InvalidParameterValue", "CIDR block %s is malformed", property.String(p, "CidrIpv6"))
		}
	}
	return nil
}

func peerGroup(p map[string]any) string {
	return cmp.Or(property.String(p, "SourceSecurityGroupId"), property.String(p, "DestinationSecurityGroupId"))
}

func prefixList(p map[string]any) string {
	return cmp.Or(property.String(p, "SourcePrefixListId"), property.String(p, "DestinationPrefixListId"))
}

// ruleKey is equal for rules that EC2 takes for the same.
func ruleKey(p map[string]any) string {
	cidr := property.String(p, "CidrIp") + property.String(p, "CidrIpv6")
	if c, err := netip.ParsePrefix(cidr); err == nil {
		cidr = c.Masked().String()
	}
	protocol := Protocol(property.String(p, "IpProtocol"))
	from, to := property.String(p, "FromPort"), property.String(p, "ToPort")
	if protocol == "-1" {
		from, to = "", ""
	}
	return strings.Join([]string{protocol, from, to, cidr, prefixList(p), peerGroup(p)}, "|")
}

// ruleWords describes a rule as EC2's messages do.
func ruleWords(p map[string]any) string {
	peer := cmp.Or(property.String(p, "CidrIp"), property.String(p, "CidrIpv6"), prefixList(p), peerGroup(p))
	protocol := Protocol(property.String(p, "IpProtocol"))
	if protocol == "-1" {
		return fmt.Sprintf("peer: %s, ALL", peer)
	}
	return fmt.Sprintf("peer: %s, %s, from port: %s, to port: %s", peer, strings.ToUpper(protocol), property.String(p, "FromPort"), property.String(p, "ToPort"))
}
