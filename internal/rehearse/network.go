package rehearse

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
)

// network makes the network that the configuration names: a VPC with subnets
// that are large enough, private ones that leave it through a transit gateway,
// public ones with an internet gateway, S3's gateway endpoint and some interface
// endpoints. Of a network of the deployment's own it makes the transit gateway.
func (g *giver) network() error {
	n := g.c.Network
	if id := n.TransitGateway.ID; id != "" {
		return g.make("network.transitGateway.id", ec2.TypeTransitGateway, id, map[string]any{"Description": "hub", "OwnerId": g.tx.AccountID()})
	}
	if !n.Exists() || g.tx.Get(ec2.TypeVPC, n.Existing.VPCID) != nil {
		return nil
	}
	f := &foundation{giver: g, ids: map[architecture.Tier][]any{}}
	return f.build()
}

// foundation is a network that the customer made before.
type foundation struct {
	*giver
	vpc  string
	free []netip.Prefix // what is left of the VPC's ranges
	ids  map[architecture.Tier][]any
}

// put makes a resource of the customer's.
func (f *foundation) put(typ string, p map[string]any) (*account.Resource, error) {
	r, _, err := f.tx.Create(typ, p, "customer", false)
	if err == nil {
		err = f.tx.Settle(r, "create")
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", typ, err)
	}
	return r, nil
}

// all puts several, which nobody asks the ids of.
func (f *foundation) all(typ string, list ...map[string]any) error {
	var errs []error
	for _, p := range list {
		_, err := f.put(typ, p)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func named(name string, more ...any) []any {
	return append([]any{map[string]any{"Key": "Name", "Value": name}}, more...)
}

func (f *foundation) build() error {
	n := f.c.Network
	f.vpc = n.Existing.VPCID
	if err := f.make("network.existing.vpcId", ec2.TypeVPC, f.vpc, map[string]any{
		"CidrBlock": n.CIDR, "EnableDnsSupport": true, "EnableDnsHostnames": true, "Tags": named("shared"),
	}); err != nil {
		return err
	}
	cidr, err := netip.ParsePrefix(n.CIDR)
	if err != nil {
		return fmt.Errorf("make the network: %w", err)
	}
	f.free = []netip.Prefix{cidr}
	if err := f.subnets(); err != nil {
		return err
	}
	if err := f.ways(); err != nil {
		return err
	}
	return f.endpoints()
}

// subnets makes those that the configuration names, the private ones first,
// since they are the largest.
func (f *foundation) subnets() error {
	zones := f.zones()
	subnets := slices.Clone(f.a.Subnets)
	slices.SortStableFunc(subnets, func(a, b architecture.Subnet) int {
		return f.a.Addresses(b.Tier, b.Zone) - f.a.Addresses(a.Tier, a.Zone)
	})
	for _, s := range subnets {
		if s.Zone >= len(zones) {
			return fmt.Errorf("make subnet %s: %s has %d zones for it", s.ID, f.c.Region, len(zones))
		}
		cidr, err := f.take(f.a.Addresses(s.Tier, s.Zone))
		if err != nil {
			return fmt.Errorf("make subnet %s: %w", s.ID, err)
		}
		var tags []any
		if role := map[architecture.Tier]string{architecture.Public: "elb", architecture.Private: "internal-elb"}[s.Tier]; role != "" {
			tags = append(tags, map[string]any{"Key": "kubernetes.io/role/" + role, "Value": "1"})
		}
		key := map[architecture.Tier]string{
			architecture.Public: "publicSubnetIds", architecture.ControlPlane: "controlPlaneSubnetIds", architecture.Private: "privateSubnetIds",
		}[s.Tier]
		if err := f.make(fmt.Sprintf("network.existing.%s[%d]", key, s.Zone), ec2.TypeSubnet, s.ID, map[string]any{
			"VpcId": f.vpc, "CidrBlock": cidr.String(), "AvailabilityZoneId": zones[s.Zone], "Tags": named(fmt.Sprintf("shared-%s-%d", s.Tier, s.Zone+1), tags...),
		}); err != nil {
			return err
		}
		f.ids[s.Tier] = append(f.ids[s.Tier], s.ID)
	}
	return nil
}

// zones are the ids of those that EKS supports, reserved ones first.
func (f *foundation) zones() []string {
	out := f.a.ReservedZoneIDs()
	for _, z := range f.tx.Zones() {
		if architecture.ControlPlaneZone(z.ID) && !slices.Contains(out, z.ID) {
			out = append(out, z.ID)
		}
	}
	return out
}

// take cuts a range with so many addresses out of what is free. When the VPC is
// full, it gets a secondary range, as customers do.
func (f *foundation) take(addresses int) (netip.Prefix, error) {
	const reserved, smallest, largest = 5, 28, 16
	bits := smallest
	for 1<<(32-bits)-reserved < addresses && bits > largest {
		bits--
	}
	for {
		for i, p := range f.free {
			if p.Bits() > bits {
				continue
			}
			f.free = slices.Delete(f.free, i, i+1)
			for p.Bits() < bits {
				low, high := halves(p)
				f.free = slices.Insert(f.free, i, high)
				p = low
			}
			return p, nil
		}
		second := netip.MustParsePrefix("100.64.0.0/16")
		if len(f.tx.List(ec2.TypeVPCCidrBlock)) > 0 || bits < second.Bits() {
			return netip.Prefix{}, fmt.Errorf("the VPC has no room for a /%d", bits)
		}
		if _, err := f.put(ec2.TypeVPCCidrBlock, map[string]any{"VpcId": f.vpc, "CidrBlock": second.String()}); err != nil {
			return netip.Prefix{}, err
		}
		f.free = append(f.free, second)
	}
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Addr().As4()
	at := p.Bits()
	b[at/8] |= 1 << (7 - at%8)
	return netip.PrefixFrom(p.Addr(), at+1), netip.PrefixFrom(netip.AddrFrom4(b), at+1)
}

// ways makes the route tables: a transit gateway leads out of the private
// subnets, an internet gateway out of the public ones.
func (f *foundation) ways() error {
	hub, err := f.put(ec2.TypeTransitGateway, map[string]any{"Description": "hub", "Tags": named("hub")})
	if err != nil {
		return err
	}
	if _, err := f.put(ec2.TypeTransitGatewayAttachment, map[string]any{
		"TransitGatewayId": hub.ID, "VpcId": f.vpc, "SubnetIds": f.ids[architecture.Private], "Tags": named("shared"),
	}); err != nil {
		return err
	}
	table := func(tier architecture.Tier, subnets []any, route map[string]any) (string, error) {
		t, err := f.put(ec2.TypeRouteTable, map[string]any{"VpcId": f.vpc, "Tags": named("shared-" + string(tier))})
		if err != nil {
			return "", err
		}
		for _, s := range subnets {
			if err := f.all(ec2.TypeSubnetRouteTableAssociation, map[string]any{"SubnetId": s, "RouteTableId": t.ID}); err != nil {
				return "", err
			}
		}
		if route != nil {
			route["RouteTableId"], route["DestinationCidrBlock"] = t.ID, "0.0.0.0/0"
			err = f.all(ec2.TypeRoute, route)
		}
		return t.ID, err
	}
	private, err := table(architecture.Private, f.ids[architecture.Private], map[string]any{"TransitGatewayId": hub.ID})
	if err != nil {
		return err
	}
	if _, err := table(architecture.ControlPlane, f.ids[architecture.ControlPlane], nil); err != nil {
		return err
	}
	if len(f.ids[architecture.Public]) > 0 {
		gateway, err := f.put(ec2.TypeInternetGateway, map[string]any{"Tags": named("shared")})
		if err != nil {
			return err
		}
		if err := f.all(ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": f.vpc, "InternetGatewayId": gateway.ID}); err != nil {
			return err
		}
		if _, err := table(architecture.Public, f.ids[architecture.Public], map[string]any{"GatewayId": gateway.ID}); err != nil {
			return err
		}
	}
	return f.all(ec2.TypeVPCEndpoint, map[string]any{
		"VpcId": f.vpc, "ServiceName": f.service("s3"), "VpcEndpointType": "Gateway", "RouteTableIds": []any{private}, "Tags": named("shared-s3"),
	})
}

func (f *foundation) service(name string) string {
	return "com.amazonaws." + f.tx.Region() + "." + name
}

// endpoints makes interface endpoints for images, but for those that the
// deployment makes.
func (f *foundation) endpoints() error {
	group, err := f.put(ec2.TypeSecurityGroup, map[string]any{
		"VpcId": f.vpc, "GroupName": "shared-endpoints", "GroupDescription": "Endpoints of the network",
		"SecurityGroupIngress": []any{map[string]any{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": f.c.Network.CIDR}},
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"ecr.api", "ecr.dkr"} {
		if slices.Contains(f.a.Endpoints, name) {
			continue
		}
		if err := f.all(ec2.TypeVPCEndpoint, map[string]any{
			"VpcId": f.vpc, "ServiceName": f.service(name), "VpcEndpointType": "Interface", "PrivateDnsEnabled": true,
			"SubnetIds": f.ids[architecture.Private], "SecurityGroupIds": []any{group.ID}, "Tags": named("shared-" + name),
		}); err != nil {
			return err
		}
	}
	return nil
}

// follow gives what EC2 made along with a VPC the VPC's other id.
func follow(tx *account.Tx, old, id string) {
	for _, typ := range []string{ec2.TypeSecurityGroup, ec2.TypeRouteTable, ec2.TypeNetworkACL} {
		for _, r := range ec2.InVPC(tx, typ, old) {
			r.Props, _ = replace(r.Props, old, id).(map[string]any)
			r.Attrs, _ = replace(r.Attrs, old, id).(map[string]any)
		}
	}
}
