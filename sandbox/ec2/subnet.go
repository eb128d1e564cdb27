package ec2

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func subnetType() *account.Type {
	return &account.Type{
		Name: TypeSubnet, Latency: "ec2:subnet",
		Create: createSubnet,
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			if err := account.Unmodelled(r.Type, next, "Ipv6CidrBlock", "AssignIpv6AddressOnCreation", "EnableDns64"); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Settle: settled("available"),
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(where(tx, TypeNetworkInterface, "SubnetId", r.ID)) > 0 {
				return dependencies("subnet", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, typ := range []string{TypeSubnetRouteTableAssociation, TypeSubnetNetworkACLAssociation} {
				for _, a := range where(tx, typ, "SubnetId", r.ID) {
					tx.Drop(typ, a.ID)
				}
			}
		},
	}
}

func createSubnet(tx *account.Tx, r *account.Resource) error {
	if err := account.Unmodelled(r.Type, r.Props, "Ipv4IpamPoolId", "Ipv4NetmaskLength", "Ipv6CidrBlock", "Ipv6IpamPoolId", "Ipv6NetmaskLength", "Ipv6Native", "OutpostArn"); err != nil {
		return err
	}
	vpc, err := Lookup(tx, TypeVPC, props.Str(r.Props, "VpcId"))
	if err != nil {
		return err
	}
	cidr, err := parseCIDR(props.Str(r.Props, "CidrBlock"), "cidrBlock")
	if err != nil {
		return err
	}
	inside := slices.ContainsFunc(Ranges(tx, vpc), func(r netip.Prefix) bool { return r.Bits() <= cidr.Bits() && r.Contains(cidr.Addr()) })
	if cidr.Bits() < 16 || cidr.Bits() > 28 || !inside {
		return account.Errorf("InvalidSubnet.Range", "The CIDR '%s' is invalid.", cidr)
	}
	siblings := InVPC(tx, TypeSubnet, vpc.ID)
	for _, s := range siblings {
		if subnetCIDR(s).Overlaps(cidr) {
			return account.Errorf("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", cidr)
		}
	}
	if err := quota.Subnets.Check(tx, len(siblings)); err != nil {
		return err
	}
	zone, err := chooseZone(tx, props.Str(r.Props, "AvailabilityZone"), props.Str(r.Props, "AvailabilityZoneId"))
	if err != nil {
		return err
	}
	name(tx, r, "subnet", "SubnetId")
	r.Status = "pending"
	r.Attrs["VpcId"] = vpc.ID
	r.Attrs["CidrBlock"] = cidr.String()
	r.Attrs["AvailabilityZone"] = zone.Name
	r.Attrs["AvailabilityZoneId"] = zone.ID
	r.Attrs["Ipv6CidrBlocks"] = []any{}
	associateACL(tx, r, props.Str(vpc.Attrs, "DefaultNetworkAcl"))
	return nil
}

// chooseZone finds the zone by name or id, or takes the first one.
func chooseZone(tx *account.Tx, name, id string) (account.Zone, error) {
	if name != "" && id != "" {
		return account.Zone{}, account.Errorf("InvalidParameterCombination", "The parameters availabilityZone and availabilityZoneId cannot be used together")
	}
	var names, ids []string
	for _, z := range tx.Zones() {
		if name == z.Name || id == z.ID || name == "" && id == "" {
			return z, nil
		}
		names, ids = append(names, z.Name), append(ids, z.ID)
	}
	parameter, value, valid := "availabilityZone", name, names
	if id != "" {
		parameter, value, valid = "availabilityZoneId", id, ids
	}
	return account.Zone{}, account.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Subnets can currently only be created in the following availability zones: %s.", value, parameter, strings.Join(valid, ", "))
}

// FindSubnet returns the subnet, or InvalidSubnetID.NotFound. Its attributes
// VpcId, CidrBlock, AvailabilityZone and AvailabilityZoneId are always set.
func FindSubnet(tx *account.Tx, id string) (*account.Resource, error) {
	return Lookup(tx, TypeSubnet, id)
}

// ZoneOf is the zone that the subnet lies in.
func ZoneOf(subnet *account.Resource) account.Zone {
	return account.Zone{Name: props.Str(subnet.Attrs, "AvailabilityZone"), ID: props.Str(subnet.Attrs, "AvailabilityZoneId")}
}

func subnetCIDR(subnet *account.Resource) netip.Prefix {
	return netip.MustParsePrefix(props.Str(subnet.Attrs, "CidrBlock"))
}

// reserved addresses in every subnet: the first four and the last one.
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
const reserved = 5

// AvailableAddresses is the subnet's AvailableIpAddressCount: what neither EC2
// keeps for itself nor an interface holds.
func AvailableAddresses(tx *account.Tx, subnet *account.Resource) int {
	free := 1<<(32-subnetCIDR(subnet).Bits()) - reserved
	for _, eni := range where(tx, TypeNetworkInterface, "SubnetId", subnet.ID) {
		free -= len(addresses(eni))
	}
	return free
}
