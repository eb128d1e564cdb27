package ec2

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// groupText is what a group's name and description may be.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html
var groupText = regexp.MustCompile(`^[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}$`)

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
			for _, own := range Rules(tx, r.ID) {
				tx.Drop(own.Type, own.ID)
			}
		},
		Read: readGroup,
	}
}

// readGroup are a group's properties with the rules that it has now, but for
// those that are resources of the same stack. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
func readGroup(tx *account.Tx, r *account.Resource) map[string]any {
	live := maps.Clone(r.Props)
	for typ, property := range map[string]string{TypeSecurityGroupIngress: "SecurityGroupIngress", TypeSecurityGroupEgress: "SecurityGroupEgress"} {
		written := props.Maps(r.Props, property)
		position := func(one *account.Resource) int {
			i := slices.IndexFunc(written, func(p map[string]any) bool { return rule.Key(p) == rule.Key(one.Props) })
			if i < 0 {
				return len(written)
			}
			return i
		}
		var own []*account.Resource
		for _, one := range where(tx, typ, "GroupId", r.ID) {
			if one.LogicalID == "" || one.Owner != r.Owner {
				own = append(own, one)
			}
		}
		slices.SortStableFunc(own, func(a, b *account.Resource) int { return cmp.Compare(position(a), position(b)) })
		list := []any{}
		for _, one := range own {
			p, _ := account.Copy(one.Props).(map[string]any)
			delete(p, "GroupId")
			list = append(list, p)
		}
		if live[property] = list; len(list) == 0 {
			delete(live, property)
		}
	}
	return live
}

func createGroup(tx *account.Tx, r *account.Resource) error {
	vpc := props.Str(r.Props, "VpcId")
	if vpc == "" {
		v := DefaultVPC(tx)
		if v == nil {
			return account.Errorf("VPCIdNotSpecified", "No default VPC for this user")
		}
		vpc = v.ID
	} else if _, err := Lookup(tx, TypeVPC, vpc); err != nil {
		return err
	}
	groupName := cmp.Or(props.Str(r.Props, "GroupName"), tx.Name(r, 255))
	switch {
	case strings.HasPrefix(groupName, "sg-"):
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", groupName)
	case groupName == "default":
		return account.Errorf("InvalidGroup.Reserved", "The security group 'default' is reserved")
	case !groupText.MatchString(groupName):
		return account.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", groupName)
	case !groupText.MatchString(props.Str(r.Props, "GroupDescription")):
		return account.Errorf("InvalidParameterValue", "Invalid security group description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
	}
	full := func(vpc, name string) string { return vpc + " " + name }
	if len(tx.Where(TypeSecurityGroup, "name", func(g *account.Resource) string { return full(VPCOf(g), GroupName(g)) }, full(vpc, groupName))) > 0 {
		return account.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", groupName, vpc)
	}
	if err := quota.SecurityGroups.Check(tx, tx.Count(TypeSecurityGroup)); err != nil {
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
	r.Retag(next, "Tags")
	return nil
}

// setInlineRules makes the rules written in the group's own properties those
// of p. Without egress rules there the group lets everything out.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html
func setInlineRules(tx *account.Tx, group *account.Resource, p map[string]any) error {
	var old, added []*account.Resource
	drop := func(rules []*account.Resource) {
		for _, r := range rules {
			tx.Drop(r.Type, r.ID)
		}
	}
	for _, r := range Rules(tx, group.ID) {
		// What the properties name counts as theirs, whoever added it.
		property := strings.TrimPrefix(r.Type, "AWS::EC2::")
		named := slices.ContainsFunc(props.Maps(group.Props, property), func(p map[string]any) bool { return rule.Key(p) == rule.Key(r.Props) })
		if r.Data["inline"] == true || named && r.LogicalID == "" {
			old = append(old, r)
		}
	}
	drop(old)
	for _, r := range inlineRules(group, p) {
		// A rule that stays keeps its id.
		for _, o := range old {
			if o.Type == r.Type && rule.Key(o.Props) == rule.Key(r.Props) {
				r.ID, r.Created = o.ID, o.Created
			}
		}
		if err := addRule(tx, group, r); err != nil {
			drop(added)
			for _, o := range old {
				tx.Put(o)
			}
			return err
		}
		tx.Put(r)
		added = append(added, r)
	}
	return nil
}

// inlineRules are the rules in a group's properties as resources.
func inlineRules(group *account.Resource, p map[string]any) []*account.Resource {
	egress := props.Maps(p, "SecurityGroupEgress")
	if len(egress) == 0 {
		egress = []map[string]any{{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}}
	}
	var out []*account.Resource
	add := func(typ string, list []map[string]any) {
		for _, in := range list {
			own := maps.Clone(in)
			own["GroupId"] = group.ID
			out = append(out, &account.Resource{
				Type: typ, Props: own, Owner: group.Owner,
				Attrs: map[string]any{}, Data: map[string]any{"inline": true}, Tags: map[string]string{},
			})
		}
	}
	add(TypeSecurityGroupIngress, props.Maps(p, "SecurityGroupIngress"))
	add(TypeSecurityGroupEgress, egress)
	return out
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
	for _, r := range []*account.Resource{
		{Type: TypeSecurityGroupIngress, Props: map[string]any{"GroupId": id, "IpProtocol": "-1", "SourceSecurityGroupId": id}},
		{Type: TypeSecurityGroupEgress, Props: map[string]any{"GroupId": id, "IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}},
	} {
		r.ID = "sgr-" + tx.HexID(17)
		r.Attrs = map[string]any{"Id": r.ID}
		put(tx, r)
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
func GroupName(group *account.Resource) string { return props.Str(group.Data, "name") }

// groupInUse tells whether an interface, an endpoint or a rule of another group
// names the group.
func groupInUse(tx *account.Tx, id string) bool {
	if tx.Find(TypeNetworkInterface, func(eni *account.Resource) bool { return slices.Contains(InterfaceGroups(eni), id) }) != nil {
		return true
	}
	for _, typ := range []string{TypeSecurityGroupIngress, TypeSecurityGroupEgress} {
		for _, r := range tx.Where(typ, "peer", func(r *account.Resource) string { return rule.PeerGroup(r.Props) }, id) {
			if props.Str(r.Props, "GroupId") != id {
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
			if err := account.Unmodelled(r.Type, r.Props, "GroupName"); err != nil {
				return err
			}
			if props.Str(r.Props, "GroupId") == "" {
				return account.Errorf("MissingParameter", "The request must contain the parameter groupName or groupId")
			}
			group, err := FindSecurityGroup(tx, props.Str(r.Props, "GroupId"))
			if err != nil {
				return err
			}
			return addRule(tx, group, r)
		},
		Update: func(_ *account.Tx, _ *account.Resource, next map[string]any) error {
			return rule.CheckText(next)
		},
	}
}

// Rules are the rules of a group, incoming ones first.
func Rules(tx *account.Tx, group string) []*account.Resource {
	return append(where(tx, TypeSecurityGroupIngress, "GroupId", group), where(tx, TypeSecurityGroupEgress, "GroupId", group)...)
}

// addRule checks a rule against its group and names it.
func addRule(tx *account.Tx, group, r *account.Resource) error {
	if err := rule.Check(r.Props); err != nil {
		return err
	}
	if err := checkPeer(tx, group, r.Props); err != nil {
		return err
	}
	same := where(tx, r.Type, "GroupId", group.ID)
	for _, other := range same {
		if rule.Key(other.Props) == rule.Key(r.Props) {
			return account.Errorf("InvalidPermission.Duplicate", "the specified rule \"%s, ALLOW\" already exists", rule.Words(r.Props))
		}
	}
	if err := quota.Rules.Check(tx, len(same)); err != nil {
		return err
	}
	if r.ID == "" {
		r.ID = "sgr-" + tx.HexID(17)
	}
	r.Attrs["Id"] = r.ID
	r.Status = "available"
	return nil
}

// checkPeer looks for the group or prefix list that a rule names.
func checkPeer(tx *account.Tx, group *account.Resource, p map[string]any) error {
	if list := rule.PrefixList(p); list != "" {
		if _, ok := PrefixLists(tx.Region())[list]; !ok {
			return account.Errorf("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", list)
		}
	}
	peer := rule.PeerGroup(p)
	if peer == "" || peer == group.ID {
		return nil
	}
	g, err := FindSecurityGroup(tx, peer)
	if err != nil {
		return err
	}
	if VPCOf(g) != VPCOf(group) {
		return account.Errorf("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
	}
	return nil
}
