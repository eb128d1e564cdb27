package ec2

import (
	"net/netip"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// restricted are networks that no VPC may lie in.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
var restricted = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"),
}

func vpcType() *account.Type {
	return &account.Type{
		Name: TypeVPC, Latency: "ec2:vpc",
		Create: createVPC,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkDNS(next); err != nil {
				return err
			}
			// A VPC can stop being dedicated, but not become it.
			if was := props.Str(r.Props, "InstanceTenancy"); was != "dedicated" && props.Str(next, "InstanceTenancy") == "dedicated" {
				return account.ErrReplace
			}
			r.Retag(next, "Tags")
			return nil
		},
		Settle: settled("available"),
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if vpcInUse(tx, r.ID) {
				return dependencies("vpc", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, typ := range []string{TypeSecurityGroup, TypeRouteTable, TypeNetworkACL} {
				for _, side := range InVPC(tx, typ, r.ID) {
					tx.Drop(typ, side.ID)
					tx.Type(typ).Gone(tx, side)
				}
			}
			for _, block := range InVPC(tx, TypeVPCCidrBlock, r.ID) {
				tx.Drop(TypeVPCCidrBlock, block.ID)
			}
		},
	}
}

func createVPC(tx *account.Tx, r *account.Resource) error {
	if err := account.Unmodelled(r.Type, r.Props, "Ipv4IpamPoolId", "Ipv4NetmaskLength", "VpcEncryptionControl"); err != nil {
		return err
	}
	cidr, err := parseCIDR(props.Str(r.Props, "CidrBlock"), "cidrBlock")
	if err != nil {
		return err
	}
	if cidr.Bits() < 16 || cidr.Bits() > 28 {
		return account.Errorf("InvalidVpc.Range", "The CIDR '%s' is invalid.", cidr)
	}
	for _, p := range restricted {
		if p.Overlaps(cidr) {
			return account.Errorf("InvalidVpc.Range", "The CIDR '%s' is invalid.", cidr)
		}
	}
	if t := props.Str(r.Props, "InstanceTenancy"); t != "" && t != "default" && t != "dedicated" {
		return account.Errorf("UnsupportedTenancy", "The tenancy value %s is not supported.", t)
	}
	if err := checkDNS(r.Props); err != nil {
		return err
	}
	if err := quota.VPCs.Check(tx, tx.Count(TypeVPC)); err != nil {
		return err
	}
	name(tx, r, "vpc", "VpcId")
	r.Status = "pending"
	group := newDefaultGroup(tx, r.ID)
	acl := newDefaultACL(tx, r.ID)
	newMainRouteTable(tx, r.ID)
	r.Attrs["CidrBlock"] = cidr.String()
	r.Attrs["CidrBlockAssociations"] = []any{"vpc-cidr-assoc-" + tx.HexID(17)}
	r.Attrs["Ipv6CidrBlocks"] = []any{}
	r.Attrs["DefaultSecurityGroup"] = group.ID
	r.Attrs["DefaultNetworkAcl"] = acl.ID
	return nil
}

// checkDNS holds the rule that host names need DNS resolution.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-vpc.html
func checkDNS(p map[string]any) error {
	if props.Bool(p, false, "EnableDnsHostnames") && !props.Bool(p, true, "EnableDnsSupport") {
		return account.Errorf("InvalidParameterCombination", "You can only enable DNS hostnames if you've enabled DNS support.")
	}
	return nil
}

// VPCDNS tells whether the VPC resolves names and gives its hosts names.
func VPCDNS(vpc *account.Resource) (support, hostnames bool) {
	return props.Bool(vpc.Props, true, "EnableDnsSupport"), props.Bool(vpc.Props, false, "EnableDnsHostnames")
}

// vpcInUse tells whether something that EC2 does not remove with the VPC lives
// in it.
func vpcInUse(tx *account.Tx, vpc string) bool {
	for _, typ := range []string{TypeSubnet, TypeNetworkInterface, TypeVPCGatewayAttachment, TypeVPCEndpoint, TypeNatGateway, TypeTransitGatewayAttachment} {
		if len(InVPC(tx, typ, vpc)) > 0 {
			return true
		}
	}
	for _, typ := range []string{TypeSecurityGroup, TypeRouteTable, TypeNetworkACL} {
		for _, r := range InVPC(tx, typ, vpc) {
			if r.Data["default"] != true {
				return true
			}
		}
	}
	return false
}

// VPCOwner is the account that a VPC belongs to: this one, or the one that
// r.Data["owner"] names, which then shares its subnets with this one.
func VPCOwner(tx *account.Tx, r *account.Resource) string {
	if owner := props.Str(r.Data, "owner"); owner != "" {
		return owner
	}
	return tx.AccountID()
}

// DefaultVPC is the account's default VPC, or nil.
func DefaultVPC(tx *account.Tx) *account.Resource {
	return tx.Find(TypeVPC, func(r *account.Resource) bool { return r.Data["default"] == true })
}

// parseCIDR reads an IPv4 network and brings it into canonical form, as EC2
// does with 10.0.0.7/24.
func parseCIDR(s, parameter string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, account.Errorf("MissingParameter", "The request must contain the parameter %s", parameter)
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, account.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", s, parameter)
	}
	return p.Masked(), nil
}
