package api

import (
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// changes are the operations that change the account, and those that read and are
// no Describe of a list.
func changes() []wire.Operation {
	return []wire.Operation{
		{Name: "CreateVpc", Do: create("vpc", ec2.TypeVPC, "vpc", vpcItem, "CidrBlock", "InstanceTenancy", "Ipv4IpamPoolId", "Ipv4NetmaskLength")},
		{Name: "DeleteVpc", Do: remove(ec2.TypeVPC, "VpcId")},
		{Name: "DescribeVpcAttribute", Do: vpcAttribute},
		{Name: "GetManagedPrefixListEntries", Do: prefixListEntries},
		{Name: "CreateSubnet", Do: create("subnet", ec2.TypeSubnet, "subnet", subnetItem, "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "Ipv6CidrBlock", "Ipv6Native", "OutpostArn", "Ipv4IpamPoolId")},
		{Name: "DeleteSubnet", Do: remove(ec2.TypeSubnet, "SubnetId")},
		{Name: "CreateSecurityGroup", Do: createGroup},
		{Name: "DeleteSecurityGroup", Do: remove(ec2.TypeSecurityGroup, "GroupId")},
		{Name: "AuthorizeSecurityGroupIngress", Do: authorize(ec2.TypeSecurityGroupIngress)},
		{Name: "AuthorizeSecurityGroupEgress", Do: authorize(ec2.TypeSecurityGroupEgress)},
		{Name: "RevokeSecurityGroupIngress", Do: revoke(ec2.TypeSecurityGroupIngress)},
		{Name: "RevokeSecurityGroupEgress", Do: revoke(ec2.TypeSecurityGroupEgress)},
		{Name: "CreateNetworkInterface", Do: createInterface},
		{Name: "DeleteNetworkInterface", Do: remove(ec2.TypeNetworkInterface, "NetworkInterfaceId")},
		{Name: "DetachNetworkInterface", Do: detachInterface},
		{Name: "DeleteInternetGateway", Do: remove(ec2.TypeInternetGateway, "InternetGatewayId")},
		{Name: "DetachInternetGateway", Do: detachGateway},
		{Name: "DeleteRouteTable", Do: remove(ec2.TypeRouteTable, "RouteTableId")},
		{Name: "DeleteNetworkAcl", Do: remove(ec2.TypeNetworkACL, "NetworkAclId")},
		{Name: "DeleteNatGateway", Do: deleteNatGateway},
		{Name: "DisassociateAddress", Do: disassociateAddress},
		{Name: "CreateVolume", Do: createVolume},
		{Name: "AttachVolume", Do: attachVolume},
		{Name: "DetachVolume", Do: detachVolume},
		{Name: "DeleteVolume", Do: deleteVolume},
		{Name: "CreateSnapshot", Do: createSnapshot},
		{Name: "DeleteSnapshot", Do: deleteSnapshot},
		{Name: "ModifyInstanceMetadataOptions", Do: modifyMetadataOptions},
		{Name: "DeleteVpcEndpoints", Do: deleteEndpoints},
		{Name: "ReleaseAddress", Do: releaseAddress},
		{Name: "CreateCapacityReservation", Do: createReservation},
		{Name: "CancelCapacityReservation", Do: cancelReservation},
		{Name: "CreateTags", Do: createTags},
		{Name: "DeleteTags", Do: deleteTags},
	}
}

type do = func(*account.Tx, *wire.Request) (any, error)

// answer is the whole answer of operations that have nothing to say.
var answer = object{"return": true}

// tagsFor are the tags of the request for a kind of resource.
func tagsFor(r *wire.Request, parameter, kind string) (map[string]string, error) {
	tags := map[string]string{}
	for _, s := range r.Maps(parameter) {
		if props.Str(s, "ResourceType") != kind {
			return nil, account.Errorf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", props.Str(s, "ResourceType"))
		}
		for k, v := range wire.TagMap(s["Tag"]) {
			tags[k] = v
		}
	}
	return tags, checkTags(tags, nil)
}

// build creates a resource that is ready at once, as EC2's own API has them.
func build(tx *account.Tx, typ string, p map[string]any, owner string) (*account.Resource, error) {
	r, _, err := tx.Create(typ, p, owner, false)
	if err != nil {
		return nil, err
	}
	return r, tx.Settle(r, "create")
}

// create is an operation whose parameters are the type's properties.
func create(member, typ, kind string, item func(*account.Tx, *account.Resource) object, parameters ...string) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		tags, err := tagsFor(r, "TagSpecification", kind)
		if err != nil {
			return nil, err
		}
		p := map[string]any{"Tags": props.Pairs(tags)}
		for _, k := range parameters {
			if r.Has(k) {
				p[k] = r.In[k]
			}
		}
		made, err := build(tx, typ, p, r.Caller)
		if err != nil {
			return nil, err
		}
		return object{member: item(tx, made)}, nil
	}
}

// remove is an operation that deletes at once what the parameter names.
func remove(typ, parameter string) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if !r.Has(parameter) {
			return nil, account.Errorf("MissingParameter", "The request must contain the parameter %s", parameter)
		}
		res, err := ec2.Lookup(tx, typ, r.String(parameter))
		if err != nil {
			return nil, err
		}
		return answer, removeNow(tx, res)
	}
}

func removeNow(tx *account.Tx, r *account.Resource) error {
	if _, err := tx.Delete(r, false); err != nil {
		return err
	}
	return tx.Settle(r, "delete")
}

func vpcAttribute(tx *account.Tx, r *wire.Request) (any, error) {
	vpc, err := ec2.Lookup(tx, ec2.TypeVPC, r.String("VpcId"))
	if err != nil {
		return nil, err
	}
	support, hostnames := ec2.VPCDNS(vpc)
	value, ok := map[string]bool{"enableDnsSupport": support, "enableDnsHostnames": hostnames, "enableNetworkAddressUsageMetrics": false}[r.String("Attribute")]
	if !ok {
		return nil, account.Errorf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", r.String("Attribute"))
	}
	return object{"vpcId": vpc.ID, r.String("Attribute"): object{"value": value}}, nil
}

// prefixListEntries answers in one page: AWS's lists are short.
func prefixListEntries(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("PrefixListId")
	name, ok := ec2.PrefixLists(tx.Region())[id]
	if !ok {
		return nil, account.Errorf("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", id)
	}
	if err := account.Unmodelled("GetManagedPrefixListEntries", r.In, "TargetVersion"); err != nil {
		return nil, err
	}
	entries := []any{}
	for _, c := range ec2.PrefixListEntries(name) {
		entries = append(entries, object{"cidr": c})
	}
	return object{"entrySet": entries}, nil
}

func createGroup(tx *account.Tx, r *wire.Request) (any, error) {
	tags, err := tagsFor(r, "TagSpecification", "security-group")
	if err != nil {
		return nil, err
	}
	for _, k := range []string{"GroupName", "GroupDescription"} {
		if r.String(k) == "" {
			return nil, account.Errorf("MissingParameter", "The request must contain the parameter %s", k)
		}
	}
	p := map[string]any{"GroupName": r.String("GroupName"), "GroupDescription": r.String("GroupDescription"), "Tags": props.Pairs(tags)}
	if vpc := r.String("VpcId"); vpc != "" {
		p["VpcId"] = vpc
	}
	g, err := build(tx, ec2.TypeSecurityGroup, p, r.Caller)
	if err != nil {
		return nil, err
	}
	return object{"groupId": g.ID, "securityGroupArn": arn(tx, "security-group", g.ID), "tagSet": tagSet(g.Tags)}, nil
}

// requestRules are the rules that a request describes, as properties of the
// types AWS::EC2::SecurityGroupIngress and -Egress.
func requestRules(r *wire.Request, typ, group string) []map[string]any {
	side := "Source"
	if typ == ec2.TypeSecurityGroupEgress {
		side = "Destination"
	}
	permissions := r.Maps("IpPermissions")
	if r.Has("IpProtocol") {
		permissions = append(permissions, map[string]any{
			"IpProtocol": r.In["IpProtocol"], "FromPort": r.In["FromPort"], "ToPort": r.In["ToPort"], "IpRanges": []any{map[string]any{"CidrIp": r.In["CidrIp"]}},
		})
	}
	var out []map[string]any
	for _, p := range permissions {
		for _, peers := range []struct{ list, member, property string }{
			{"IpRanges", "CidrIp", "CidrIp"},
			{"Ipv6Ranges", "CidrIpv6", "CidrIpv6"},
			{"PrefixListIds", "PrefixListId", side + "PrefixListId"},
			{"Groups", "GroupId", side + "SecurityGroupId"},
		} {
			for _, peer := range props.Maps(p, peers.list) {
				one := map[string]any{"GroupId": group, "IpProtocol": p["IpProtocol"], peers.property: peer[peers.member]}
				for _, k := range []string{"FromPort", "ToPort"} {
					if p[k] != nil {
						one[k] = p[k]
					}
				}
				if peer["Description"] != nil {
					one["Description"] = peer["Description"]
				}
				out = append(out, one)
			}
		}
	}
	return out
}

// requestGroup is the group that a request on rules is about.
func requestGroup(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	if id := r.String("GroupId"); id != "" {
		return ec2.FindSecurityGroup(tx, id)
	}
	if vpc := ec2.DefaultVPC(tx); vpc != nil {
		for _, g := range ec2.InVPC(tx, ec2.TypeSecurityGroup, vpc.ID) {
			if ec2.GroupName(g) == r.String("GroupName") {
				return g, nil
			}
		}
	}
	return nil, account.Errorf("MissingParameter", "The request must contain the parameter groupName or groupId")
}

func authorize(typ string) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		group, err := requestGroup(tx, r)
		if err != nil {
			return nil, err
		}
		rules := requestRules(r, typ, group.ID)
		if len(rules) == 0 {
			return nil, account.Errorf("MissingParameter", "The request must contain the parameter ipPermissions")
		}
		var made []*account.Resource
		var items []any
		for _, p := range rules {
			one, err := build(tx, typ, p, r.Caller)
			if err != nil {
				// All rules of a request are added, or none.
				for _, m := range made {
					tx.Drop(typ, m.ID)
				}
				return nil, err
			}
			made, items = append(made, one), append(items, ruleItem(tx, one))
		}
		return object{"return": true, "securityGroupRuleSet": items}, nil
	}
}

func revoke(typ string) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		group, err := requestGroup(tx, r)
		if err != nil {
			return nil, err
		}
		var doomed []*account.Resource
		for _, id := range r.Strings("SecurityGroupRuleId") {
			one := tx.Get(typ, id)
			if one == nil || props.Str(one.Props, "GroupId") != group.ID {
				return nil, account.Errorf("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
			}
			doomed = append(doomed, one)
		}
		for _, p := range requestRules(r, typ, group.ID) {
			found := false
			for _, one := range ec2.Rules(tx, group.ID) {
				if one.Type == typ && rule.Key(one.Props) == rule.Key(p) {
					doomed, found = append(doomed, one), true
				}
			}
			if !found {
				return nil, account.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
		}
		var items []any
		for _, one := range doomed {
			tx.Drop(typ, one.ID)
			item := ruleItem(tx, one)
			items = append(items, optional(object{
				"securityGroupRuleId": one.ID, "groupId": group.ID, "isEgress": item["isEgress"], "ipProtocol": item["ipProtocol"], "fromPort": item["fromPort"], "toPort": item["toPort"],
			}, "cidrIpv4", props.Str(item, "cidrIpv4"), "cidrIpv6", props.Str(item, "cidrIpv6"), "prefixListId", props.Str(item, "prefixListId"), "referencedGroupId", rule.PeerGroup(one.Props)))
		}
		return object{"return": true, "revokedSecurityGroupRuleSet": items}, nil
	}
}

func createInterface(tx *account.Tx, r *wire.Request) (any, error) {
	tags, err := tagsFor(r, "TagSpecification", "network-interface")
	if err != nil {
		return nil, err
	}
	p := map[string]any{"SubnetId": r.String("SubnetId"), "Description": r.String("Description"), "GroupSet": props.List(r.Strings("SecurityGroupId")), "Tags": props.Pairs(tags)}
	for _, k := range []string{"PrivateIpAddress", "SecondaryPrivateIpAddressCount", "PrivateIpAddresses", "InterfaceType", "Ipv6AddressCount"} {
		if r.Has(k) {
			p[k] = r.In[k]
		}
	}
	eni, err := build(tx, ec2.TypeNetworkInterface, p, r.Caller)
	if err != nil {
		return nil, err
	}
	return object{"networkInterface": interfaceItem(tx, eni)}, nil
}

func deleteVolume(tx *account.Tx, r *wire.Request) (any, error) {
	v := tx.Get(instance.TypeVolume, r.String("VolumeId"))
	if v == nil {
		return nil, account.Errorf("InvalidVolume.NotFound", "The volume '%s' does not exist.", r.String("VolumeId"))
	}
	if i := props.Str(v.Data, "instance"); i != "" {
		return nil, account.Errorf("VolumeInUse", "Volume %s is currently attached to %s", v.ID, i)
	}
	tx.Drop(instance.TypeVolume, v.ID)
	return answer, nil
}

// deleteEndpoints begins to delete; what can't be is told apart.
func deleteEndpoints(tx *account.Tx, r *wire.Request) (any, error) {
	unsuccessful := []any{}
	for _, id := range r.Strings("VpcEndpointId") {
		e, err := ec2.Lookup(tx, ec2.TypeVPCEndpoint, id)
		if err == nil {
			_, err = tx.Delete(e, true)
		}
		if refusal, ok := err.(*account.Error); ok {
			unsuccessful = append(unsuccessful, object{"resourceId": id, "error": object{"code": refusal.Code, "message": refusal.Message}})
		} else if err != nil {
			return nil, err
		}
	}
	return object{"unsuccessful": unsuccessful}, nil
}

func releaseAddress(tx *account.Tx, r *wire.Request) (any, error) {
	id, ip := r.String("AllocationId"), r.String("PublicIp")
	eip := ec2.FindAllocation(tx, id)
	if id == "" {
		eip = tx.Get(ec2.TypeEIP, ip)
	}
	switch {
	case eip == nil && id == "":
		return nil, account.Errorf("InvalidAddress.NotFound", "Address '%s' not found.", ip)
	case eip == nil:
		return nil, account.Errorf("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", id)
	}
	return answer, removeNow(tx, eip)
}

func createReservation(tx *account.Tx, r *wire.Request) (any, error) {
	tags, err := tagsFor(r, "TagSpecifications", "capacity-reservation")
	if err != nil {
		return nil, err
	}
	var end time.Time
	if text := r.String("EndDate"); text != "" {
		if end, err = time.Parse(time.RFC3339, text); err != nil || !end.After(tx.Now()) {
			return nil, account.Errorf("InvalidParameterValue", "Value (%s) for parameter endDate is invalid.", text)
		}
	}
	if limited := r.String("EndDateType") == "limited"; limited == end.IsZero() {
		return nil, account.Errorf("InvalidParameterCombination", "The parameter endDate goes with the end date type limited.")
	}
	made, err := instance.Reserve(tx, instance.Reservation{
		End:          end,
		InstanceType: r.String("InstanceType"), Zone: or(r.String("AvailabilityZone"), r.String("AvailabilityZoneId")), Count: r.Int("InstanceCount", 0),
		Match: r.String("InstanceMatchCriteria"), Owner: r.Caller, Tags: tags,
	})
	if err != nil {
		return nil, err
	}
	return object{"capacityReservation": reservationItem(tx, made)}, nil
}

func cancelReservation(tx *account.Tx, r *wire.Request) (any, error) {
	v, err := instance.FindReservation(tx, r.String("CapacityReservationId"))
	if err != nil {
		return nil, err
	}
	tx.Drop(v.Type, v.ID)
	instance.Unreserve(tx, v)
	return answer, nil
}

// taggable are the types that CreateTags knows, by the prefixes of their ids.
var taggable = []struct{ prefix, typ, name string }{
	{"vpc-", ec2.TypeVPC, "vpc"},
	{"subnet-", ec2.TypeSubnet, "subnet"},
	{"eni-", ec2.TypeNetworkInterface, "network-interface"},
	{"igw-", ec2.TypeInternetGateway, "internet-gateway"},
	{"rtb-", ec2.TypeRouteTable, "route-table"},
	{"eipalloc-", ec2.TypeEIP, "elastic-ip"},
	{"nat-", ec2.TypeNatGateway, "natgateway"},
	{"acl-", ec2.TypeNetworkACL, "network-acl"},
	{"sg-", ec2.TypeSecurityGroup, "security-group"},
	{"sgr-", ec2.TypeSecurityGroupIngress, "security-group-rule"},
	{"sgr-", ec2.TypeSecurityGroupEgress, "security-group-rule"},
	{"vpce-", ec2.TypeVPCEndpoint, "vpc-endpoint"},
	{"fl-", ec2.TypeFlowLog, "vpc-flow-log"},
	{"tgw-attach-", ec2.TypeTransitGatewayAttachment, "transit-gateway-attachment"},
	{"tgw-", ec2.TypeTransitGateway, "transit-gateway"},
	{"pcx-", ec2.TypeVPCPeeringConnection, "vpc-peering-connection"},
	{"vgw-", ec2.TypeVPNGateway, "vpn-gateway"},
	{"lt-", instance.TypeLaunchTemplate, "launch-template"},
	{"i-", instance.TypeInstance, "instance"},
	{"vol-", instance.TypeVolume, "volume"},
	{"snap-", typeSnapshot, "snapshot"},
	{"cr-", instance.TypeCapacityReservation, "capacity-reservation"},
}

// taggedID is the id that tags are set by: an address's allocation id.
func taggedID(r *account.Resource) string {
	if r.Type == ec2.TypeEIP {
		return props.Str(r.Attrs, "AllocationId")
	}
	return r.ID
}

// tagged finds the resources of a request on tags, all of which must exist.
func tagged(tx *account.Tx, r *wire.Request) ([]*account.Resource, error) {
	var out []*account.Resource
	for _, id := range r.Strings("ResourceId") {
		var found *account.Resource
		for _, t := range taggable {
			if !strings.HasPrefix(id, t.prefix) || found != nil {
				continue
			}
			if found = tx.Get(t.typ, id); t.typ == ec2.TypeEIP {
				found = ec2.FindAllocation(tx, id)
			}
		}
		if found == nil {
			return nil, account.Errorf("InvalidID", "The ID '%s' is not valid", id)
		}
		out = append(out, found)
	}
	if len(out) == 0 {
		return nil, account.Errorf("MissingParameter", "The request must contain the parameter resourceIdSet")
	}
	return out, nil
}

// checkTags holds new tags to EC2's rules, on a resource that has some.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
func checkTags(tags, have map[string]string) error {
	n := len(have)
	for k, v := range tags {
		if _, ok := have[k]; !ok {
			n++
		}
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return account.Errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case k == "" || len([]rune(k)) > 127:
			return account.Errorf("InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters")
		case len([]rune(v)) > 256:
			return account.Errorf("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")
		}
	}
	if n > 50 {
		return account.Errorf("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	return nil
}

func createTags(tx *account.Tx, r *wire.Request) (any, error) {
	found, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	tags := r.Tags("Tag")
	if len(tags) == 0 {
		return nil, account.Errorf("MissingParameter", "The request must contain the parameter tagSet")
	}
	for _, f := range found {
		if err := checkTags(tags, f.Tags); err != nil {
			return nil, err
		}
	}
	for _, f := range found {
		for k, v := range tags {
			f.Tags[k] = v
		}
	}
	return answer, nil
}

// deleteTags deletes the tags with the keys, where a value is given only if
// they have it; without keys it deletes all that users set.
func deleteTags(tx *account.Tx, r *wire.Request) (any, error) {
	found, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		wanted := r.Maps("Tag")
		for _, t := range wanted {
			k := props.Str(t, "Key")
			if v, ok := t["Value"]; !ok || props.Str(v) == f.Tags[k] {
				delete(f.Tags, k)
			}
		}
		for k := range f.Tags {
			if len(wanted) == 0 && !strings.HasPrefix(k, "aws:") {
				delete(f.Tags, k)
			}
		}
	}
	return answer, nil
}
