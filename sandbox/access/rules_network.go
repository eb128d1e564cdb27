package access

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// ec2ids are the account's types and the facts' by the prefixes of ids.
var ec2ids = map[string]struct{ typ, iam string }{
	"acl":        {"AWS::EC2::NetworkAcl", "ec2:network-acl"},
	"ami":        {"", "ec2:image"},
	"cr":         {"ec2:capacity-reservation", "ec2:capacity-reservation"},
	"eipalloc":   {"AWS::EC2::EIP", "ec2:elastic-ip"},
	"eni":        {"AWS::EC2::NetworkInterface", "ec2:network-interface"},
	"fl":         {"AWS::EC2::FlowLog", "ec2:vpc-flow-log"},
	"i":          {"ec2:instance", "ec2:instance"},
	"igw":        {"AWS::EC2::InternetGateway", "ec2:internet-gateway"},
	"lt":         {"AWS::EC2::LaunchTemplate", "ec2:launch-template"},
	"nat":        {"AWS::EC2::NatGateway", "ec2:natgateway"},
	"pl":         {"AWS::EC2::PrefixList", "ec2:prefix-list"},
	"rtb":        {"AWS::EC2::RouteTable", "ec2:route-table"},
	"sg":         {"AWS::EC2::SecurityGroup", "ec2:security-group"},
	"sgr":        {"", "ec2:security-group-rule"},
	"subnet":     {"AWS::EC2::Subnet", "ec2:subnet"},
	"tgw":        {"AWS::EC2::TransitGateway", "ec2:transit-gateway"},
	"tgw-attach": {"AWS::EC2::TransitGatewayAttachment", "ec2:transit-gateway-attachment"},
	"vgw":        {"AWS::EC2::VPNGateway", "ec2:vpn-gateway"},
	"vol":        {"ec2:volume", "ec2:volume"},
	"snap":       {"ec2:snapshot", "ec2:snapshot"},
	"vpc":        {"AWS::EC2::VPC", "ec2:vpc"},
	"vpce":       {"AWS::EC2::VPCEndpoint", "ec2:vpc-endpoint"},
}

// byID is the resource of an id of EC2, and its type among the facts; "" if
// the text is none.
func byID(tx *account.Tx, id string) (target, string) {
	i := strings.LastIndexByte(id, '-')
	if i < 1 {
		return target{}, ""
	}
	t, ok := ec2ids[id[:i]]
	if !ok {
		return target{}, ""
	}
	if t.typ == "" {
		return target{arn: arnOf(tx, t.iam, id)}, t.iam
	}
	return find(tx, t.typ, id), t.iam
}

func networks() map[string]rule {
	ids := func(parameter string) func(*call) []target {
		return func(c *call) []target {
			var out []target
			for _, id := range c.r.Strings(parameter) {
				if t, iam := byID(c.tx, id); iam != "" {
					out = append(out, t)
				}
			}
			if len(out) == 0 {
				// What is no id of anything is refused after this.
				out = append(out, target{arn: c.tx.ARN("ec2", "*/*")})
			}
			return out
		}
	}
	// A call that makes something tags it by ec2:CreateTags, too.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
	making := func(on func(*call) []target, made string) rule {
		return rule{on: on, also: func(c *call) []Demand {
			if len(c.tags) == 0 {
				return nil
			}
			return c.demand("ec2:CreateTags", []target{{arn: arnOf(c.tx, made, "*")}}, "ec2:CreateAction", c.r.Operation)
		}}
	}
	group := func(c *call) []target {
		if c.r.String("GroupId") == "" && c.r.String("GroupName") != "" {
			if g := c.tx.Find("AWS::EC2::SecurityGroup", func(g *account.Resource) bool { return props.Str(g.Props["GroupName"]) == c.r.String("GroupName") }); g != nil {
				return []target{{ARN(c.tx, g), g}}
			}
		}
		return one("AWS::EC2::SecurityGroup", "GroupId")(c)
	}
	rules := func(c *call) []Demand {
		if len(c.tags) == 0 {
			return nil
		}
		return c.demand("ec2:CreateTags", []target{{arn: arnOf(c.tx, "ec2:security-group-rule", "*")}}, "ec2:CreateAction", c.r.Operation)
	}
	vpc, subnet, gateway := one("AWS::EC2::VPC", "VpcId"), one("AWS::EC2::Subnet", "SubnetId"), one("AWS::EC2::InternetGateway", "InternetGatewayId")
	volume, machine := one("ec2:volume", "VolumeId"), one("ec2:instance", "InstanceId")
	return map[string]rule{
		"ec2:AuthorizeSecurityGroupEgress":  {on: group, also: rules},
		"ec2:AuthorizeSecurityGroupIngress": {on: group, also: rules},
		"ec2:RevokeSecurityGroupEgress":     {on: group},
		"ec2:RevokeSecurityGroupIngress":    {on: group},
		"ec2:DeleteSecurityGroup":           {on: group},
		"ec2:CreateSecurityGroup":           making(both(newly("ec2:security-group"), vpc), "ec2:security-group"),
		"ec2:CreateVpc":                     making(newly("ec2:vpc"), "ec2:vpc"),
		"ec2:CreateSubnet":                  making(both(newly("ec2:subnet"), vpc), "ec2:subnet"),
		"ec2:CreateNetworkInterface": making(both(newly("ec2:network-interface"), subnet, func(c *call) []target {
			if len(c.r.Strings("SecurityGroupId")) == 0 {
				return nil
			}
			return ids("SecurityGroupId")(c)
		}), "ec2:network-interface"),
		"ec2:CreateCapacityReservation":     making(newly("ec2:capacity-reservation"), "ec2:capacity-reservation"),
		"ec2:CancelCapacityReservation":     {on: one("ec2:capacity-reservation", "CapacityReservationId")},
		"ec2:CreateTags":                    {on: ids("ResourceId")},
		"ec2:DeleteTags":                    {on: ids("ResourceId")},
		"ec2:DeleteNetworkInterface":        {on: one("AWS::EC2::NetworkInterface", "NetworkInterfaceId")},
		"ec2:DeleteSubnet":                  {on: subnet},
		"ec2:DeleteVolume":                  {on: one("ec2:volume", "VolumeId")},
		"ec2:CreateSnapshot":                making(both(volume, newly("ec2:snapshot")), "ec2:snapshot"),
		"ec2:DeleteSnapshot":                {on: one("ec2:snapshot", "SnapshotId")},
		"ec2:AttachVolume":                  {on: both(volume, machine)},
		"ec2:CreateVolume":                  making(newly("ec2:volume"), "ec2:volume"),
		"ec2:DeleteInternetGateway":         {on: gateway},
		"ec2:DeleteNatGateway":              {on: one("AWS::EC2::NatGateway", "NatGatewayId")},
		"ec2:DeleteNetworkAcl":              {on: one("AWS::EC2::NetworkAcl", "NetworkAclId")},
		"ec2:DeleteRouteTable":              {on: one("AWS::EC2::RouteTable", "RouteTableId")},
		"ec2:DetachInternetGateway":         {on: both(gateway, vpc)},
		"ec2:DetachNetworkInterface":        {on: newly("ec2:instance", "ec2:network-interface")},
		"ec2:DetachVolume":                  {on: both(volume, machine)},
		"ec2:DisassociateAddress":           {on: newly("ec2:elastic-ip", "ec2:network-interface")},
		"ec2:DeleteVpc":                     {on: vpc},
		"ec2:DeleteVpcEndpoints":            {on: each("AWS::EC2::VPCEndpoint", "VpcEndpointId")},
		"ec2:DescribeVpcAttribute":          {on: vpc},
		"ec2:GetManagedPrefixListEntries":   {on: one("AWS::EC2::PrefixList", "PrefixListId")},
		"ec2:ModifyInstanceMetadataOptions": {on: one("ec2:instance", "InstanceId")},
		"ec2:ReleaseAddress":                {on: one("AWS::EC2::EIP", "AllocationId")},
	}
}
