package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"go4.org/netipx"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// checker holds a network that is there against the configuration.
type checker struct {
	a      *architecture.Architecture
	s      *seen
	o      Options
	shared bool // another account owns the VPC
	faults config.Faults
	advice config.Faults
	// bad are subnets with a fault that others would follow from.
	bad map[string]bool
}

// check is pure.
func check(a *architecture.Architecture, s *seen, o Options) (*Report, error) {
	k := &checker{a: a, s: s, o: o, bad: map[string]bool{}}
	k.vpc()
	k.subnets()
	k.zones()
	k.endpoints()
	k.filters()
	k.routes()
	k.proxied()
	if err := k.faults.Err(); err != nil {
		return nil, err
	}
	r := &Report{Advice: k.advice}
	// Sorting is all that Err adds.
	_ = r.Advice.Err()
	for _, sn := range a.ControlPlaneSubnets() {
		z := s.subnets[sn.ID]
		r.Zones = append(r.Zones, Zone{aws.ToString(z.AvailabilityZoneId), aws.ToString(z.AvailabilityZone)})
	}
	return r, nil
}

const existing = "network.existing."

func (k *checker) fault(path, fix, format string, args ...any) {
	k.faults = append(k.faults, k.a.Config.Fault(path, fmt.Sprintf(format, args...), fix))
}

func (k *checker) advise(path, fix, format string, args ...any) {
	k.advice = append(k.advice, k.a.Config.Fault(path, fmt.Sprintf(format, args...), fix))
}

// key is the list that a tier's subnets stand in.
func key(t architecture.Tier) string {
	switch t {
	case architecture.Public:
		return existing + "publicSubnetIds"
	case architecture.ControlPlane:
		return existing + "controlPlaneSubnetIds"
	}
	return existing + "privateSubnetIds"
}

func path(s architecture.Subnet) string { return fmt.Sprintf("%s[%d]", key(s.Tier), s.Zone) }

// vpc checks the VPC itself.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func (k *checker) vpc() {
	c := k.a.Config
	id, at := c.Network.Existing.VPCID, existing+"vpcId"
	v := k.s.vpc
	if v == nil {
		k.fault(at, "write the id of a VPC of this account and region, or have it shared", "%s does not exist in %s", id, c.Region)
		return
	}
	if cidr := aws.ToString(v.CidrBlock); cidr != c.Network.CIDR {
		k.fault("network.cidr", "write "+cidr, "is %s, and the primary range of %s is %s", c.Network.CIDR, id, cidr)
	}
	switch on := "aws ec2 modify-vpc-attribute --vpc-id " + id; {
	case !k.s.support:
		k.fault(at, "switch on both: "+on+" --enable-dns-support, then --enable-dns-hostnames", "%s has no DNS support, so that neither AWS nor the Kubernetes API is found by name", id)
	case !k.s.hostnames:
		k.fault(at, "switch them on: "+on+" --enable-dns-hostnames", "%s has no DNS host names, without which the Kubernetes API and endpoints have no private names", id)
	}
	k.shared = aws.ToString(v.OwnerId) != k.s.account
	// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-share-limitations.html
	if k.shared && len(k.a.Endpoints) > 0 {
		k.fault("network.endpoints", "remove them, and have its owner see to endpoints", "%s belongs to account %s, which alone can make endpoints in it", id, aws.ToString(v.OwnerId))
	}
	if k.shared && c.Network.FlowLogs.Enabled {
		k.fault("network.flowLogs.enabled", "set it to false", "%s belongs to account %s, which alone can make its flow logs", id, aws.ToString(v.OwnerId))
	}
}

// subnets checks each subnet by itself.
func (k *checker) subnets() {
	vpc := k.a.Config.Network.Existing.VPCID
	for _, s := range k.a.Subnets {
		got, ok := k.s.subnets[s.ID]
		at := path(s)
		switch owner := aws.ToString(got.VpcId); {
		case !ok:
			k.bad[s.ID] = true
			k.fault(at, "write the id of a subnet of "+vpc, "%s does not exist in %s", s.ID, k.a.Config.Region)
			continue
		case k.s.vpc != nil && owner != vpc:
			k.bad[s.ID] = true
			k.fault(at, "write the id of a subnet of "+vpc, "%s belongs to %s, not to %s", s.ID, owner, vpc)
			continue
		}
		if zone := aws.ToString(got.AvailabilityZoneId); s.Tier == architecture.ControlPlane && !architecture.ControlPlaneZone(zone) {
			k.bad[s.ID] = true
			k.fault(at, "name a subnet in another zone, and private ones there", "%s is in %s, where EKS places no control plane", s.ID, zone)
			continue
		}
		if free, need := int(aws.ToInt32(got.AvailableIpAddressCount)), k.a.Addresses(s.Tier, s.Zone); !k.o.Begun && free < need {
			what := map[architecture.Tier]string{
				architecture.Public: "its load balancers may need", architecture.ControlPlane: "EKS wants", architecture.Private: "its nodes, pods and the rest may need",
			}[s.Tier]
			k.fault(at, "name a larger or emptier subnet, or lower max in compute", "%s has %d free addresses, and %s %d", s.ID, free, what, need)
		}
		k.tags(s, got)
	}
}

// tags advises on what the controllers in the cluster go by.
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
func (k *checker) tags(s architecture.Subnet, got types.Subnet) {
	want := map[architecture.Tier]string{architecture.Public: "kubernetes.io/role/elb", architecture.Private: "kubernetes.io/role/internal-elb"}[s.Tier]
	if want != "" && !slices.ContainsFunc(got.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == want }) {
		k.advise(path(s), "tag it "+want+"=1, or name subnets in the annotations of such objects",
			"%s has no tag %s: load balancers that Kubernetes objects ask for don't find it", s.ID, want)
	}
	if s.Tier != architecture.Public && aws.ToBool(got.MapPublicIpOnLaunch) {
		k.advise(path(s), "switch it off: aws ec2 modify-subnet-attribute --subnet-id "+s.ID+" --no-map-public-ip-on-launch",
			"%s gives public addresses to what is launched in it, nodes included", s.ID)
	}
}

// zones checks that each tier has distinct zones, and all the same ones in the
// same order.
func (k *checker) zones() {
	type tier struct {
		subnets []architecture.Subnet
		zones   []string
	}
	tiers := map[architecture.Tier]*tier{}
	order := []architecture.Tier{architecture.Private, architecture.Public, architecture.ControlPlane}
	for _, t := range order {
		list := &tier{subnets: k.a.Tier(t)}
		whole := true
		for _, s := range list.subnets {
			zone := aws.ToString(k.s.subnets[s.ID].AvailabilityZoneId)
			if k.bad[s.ID] {
				whole = false
			} else if first := slices.Index(list.zones, zone); first >= 0 {
				whole = false
				k.fault(path(s), "name a subnet in another zone", "%s is in %s, as %s[%d] is", s.ID, zone, key(t), first)
			}
			list.zones = append(list.zones, zone)
		}
		if whole {
			tiers[t] = list
		}
	}
	private := tiers[architecture.Private]
	if private == nil {
		return
	}
	for _, t := range order[1:] {
		list := tiers[t]
		if list == nil || len(list.subnets) == 0 {
			continue
		}
		var missing, ids []string
		for _, zone := range private.zones {
			i := slices.Index(list.zones, zone)
			if i < 0 {
				missing = append(missing, zone)
				continue
			}
			ids = append(ids, list.subnets[i].ID)
		}
		for i, zone := range list.zones {
			if !slices.Contains(private.zones, zone) {
				ids = append(ids, list.subnets[i].ID)
			}
		}
		switch {
		case missing != nil:
			k.fault(key(t), "list one in each zone of the private subnets", "has no subnet in %s, where there are private ones", strings.Join(missing, " and "))
		case !slices.Equal(list.zones[:len(private.zones)], private.zones):
			k.fault(key(t), "list them as "+strings.Join(ids, ", "), "is in the order %s, and the private subnets in %s", strings.Join(list.zones, ", "), strings.Join(private.zones, ", "))
		}
	}
	for i := range k.a.Config.Compute {
		g := &k.a.Config.Compute[i]
		if zone := g.Reservation.ZoneID; g.Reservation.ID != "" && !slices.Contains(private.zones, zone) {
			k.fault("compute["+string(g.Role)+"].reservation.zoneId", "name a private subnet in that zone, or another reservation", "%s has no private subnet: they are in %s", zone, strings.Join(private.zones, ", "))
		}
	}
}

// endpoints finds endpoints that would have the names of those that are there.
// https://docs.aws.amazon.com/vpc/latest/privatelink/manage-dns-names.html
func (k *checker) endpoints() {
	for i, name := range k.a.Config.Network.Endpoints {
		for _, e := range k.s.endpoints {
			if service(e, k.a.Config.Region) == name && standing(e) && aws.ToBool(e.PrivateDnsEnabled) && !ours(k.a, e.Tags) {
				k.fault(fmt.Sprintf("network.endpoints[%d]", i), "remove it: the deployment uses the one that is there",
					"%s is an endpoint for %s already, and has its private names", aws.ToString(e.VpcEndpointId), name)
				break
			}
		}
	}
}

// proxied finds subnets whose addresses the proxy would be asked for: only the
// VPC's primary range is known without the account.
func (k *checker) proxied() {
	c := k.a.Config
	if c.Proxy.URL == "" || k.s.vpc == nil || aws.ToString(k.s.vpc.CidrBlock) != c.Network.CIDR {
		return
	}
	var b netipx.IPSetBuilder
	for _, s := range k.a.NoProxy() {
		if r, err := netip.ParsePrefix(s); err == nil {
			b.AddPrefix(r)
		}
	}
	around, err := b.IPSet()
	if err != nil {
		return
	}
	for _, s := range k.a.Subnets {
		own, err := netip.ParsePrefix(aws.ToString(k.s.subnets[s.ID].CidrBlock))
		if k.bad[s.ID] || err != nil || around.ContainsPrefix(own) {
			continue
		}
		write := own
		for _, r := range k.s.ranges() {
			if r.Bits() <= own.Bits() && r.Contains(own.Addr()) {
				write = r
			}
		}
		k.fault(path(s), fmt.Sprintf("write the range into proxy.noProxy: %s", write),
			"%s has %s, outside of network.cidr and proxy.noProxy: nodes and pods would ask the proxy for each other", s.ID, own)
	}
}

// routes checks where the subnets' traffic can go.
func (k *checker) routes() {
	var stranded []string // subnets without a default route
	for _, s := range k.a.Subnets {
		if k.bad[s.ID] || k.s.vpc == nil {
			continue
		}
		t := k.s.tableOf(s.ID)
		if t == nil {
			continue
		}
		table := aws.ToString(t.RouteTableId)
		out := leaves(t)
		switch s.Tier {
		case architecture.Public:
			switch {
			case !strings.HasPrefix(out.target, "igw-") && !(strings.HasPrefix(out.target, "vpce-") && k.s.inspects(table)):
				k.fault(path(s), "name a public subnet, or give its route table a default route to an internet gateway", "%s has no default route to an internet gateway in %s", s.ID, table)
			case out.gone:
				k.fault(path(s), "attach the gateway, or correct the route", "the default route of %s in %s leads to %s, which is gone", s.ID, table, out.target)
			}
			continue
		case architecture.ControlPlane:
			if gateway := internet(t); gateway != "" {
				k.fault(path(s), "name a subnet that the internet can't reach", "%s is public: %s leads to %s", s.ID, table, gateway)
			}
			continue
		}
		if gateway := internet(t); gateway != "" {
			k.fault(path(s), "name a subnet that the internet can't reach", "%s is public: %s leads to %s", s.ID, table, gateway)
			continue
		}
		switch {
		case out.gone:
			k.fault(path(s), "correct the route, or remove it", "the default route of %s in %s leads to %s, which is gone", s.ID, table, out.target)
			continue
		case out.target == "":
			stranded = append(stranded, s.ID)
		}
		proxied := k.a.Config.Proxy.URL != ""
		around := "" // S3 is in noProxy
		if proxied {
			around = ", around the proxy"
		}
		switch {
		case k.gateway(t):
		case out.target == "" && (proxied || !k.shared):
			k.fault(path(s), "add "+table+" to a gateway endpoint for S3, or give it a default route", "%s has no way to S3%s: %s has neither a gateway endpoint for it nor a default route", s.ID, around, table)
		case out.target != "" && !k.shared:
			k.advise(path(s), "add "+table+" to a gateway endpoint for S3", "%s reaches S3 through %s%s: images and models take that way", s.ID, out.target, around)
		}
	}
	k.isolated(stranded)
}

// isolated checks what private subnets without a default route need.
func (k *checker) isolated(stranded []string) {
	if len(stranded) == 0 {
		return
	}
	c := k.a.Config
	var missing, session []string // session are those that the session host needs too
	for _, name := range architecture.RequiredServices() {
		there := slices.Contains(k.a.Endpoints, name) || slices.ContainsFunc(k.s.endpoints, func(e types.VpcEndpoint) bool {
			return service(e, c.Region) == name && standing(e) && aws.ToBool(e.PrivateDnsEnabled) && !ours(k.a, e.Tags)
		})
		switch {
		case there:
		case c.Cluster.API.SessionHost && slices.Contains(architecture.SessionServices(), name):
			session = append(session, name)
		default:
			missing = append(missing, name)
		}
	}
	where := strings.Join(stranded, " and ")
	switch {
	case session == nil:
	case k.shared:
		k.advise("cluster.api.sessionHost", "ask its owner for endpoints with private names", "no default route in %s: the session host needs endpoints for %s", where, strings.Join(session, ", "))
	default:
		k.fault("cluster.api.sessionHost", "give the subnets a default route, or list the services in network.endpoints",
			"the session host has no way to Systems Manager: no default route in %s, and no endpoint with private names for %s", where, strings.Join(session, ", "))
	}
	switch {
	case missing == nil:
	case k.shared:
		// A shared VPC's endpoints can't be seen.
		k.advise(existing+"privateSubnetIds", "ask its owner for endpoints with private names", "no default route in %s: they need endpoints for %s", where, strings.Join(missing, ", "))
	default:
		k.fault(existing+"privateSubnetIds", "give them a default route, or list the services in network.endpoints", "no default route in %s, and no endpoint with private names for %s", where, strings.Join(missing, ", "))
	}
	sso := c.Access.SSO
	if internal := c.Access.Web.Scheme == config.SchemeInternal || c.Access.Admin.Scheme == config.SchemeInternal; internal && sso.Enabled && !sso.ReachableInternally {
		k.fault("access.sso.reachableInternally", "set it to true if another route leads there, or give the subnets a default route",
			"an internal load balancer has no default route to the identity provider in %s", where)
	}
}

// way is where a route leads.
type way struct {
	target string
	gone   bool
}

// leaves is the default route of a table, or the first of two that together are
// one.
func leaves(t *types.RouteTable) way {
	halves := map[string]way{}
	for _, r := range t.Routes {
		w := way{target(r), r.State == types.RouteStateBlackhole}
		switch cidr := aws.ToString(r.DestinationCidrBlock); cidr {
		case "0.0.0.0/0":
			return w
		case "0.0.0.0/1", "128.0.0.0/1":
			halves[cidr] = w
		}
	}
	if len(halves) < 2 {
		return way{}
	}
	for _, w := range halves {
		if w.gone {
			return w
		}
	}
	return halves["0.0.0.0/1"]
}

// inspects tells that another table than this one leads to an internet gateway,
// as that of a firewall's subnets does.
// https://docs.aws.amazon.com/network-firewall/latest/developerguide/arch-igw-ngw.html
func (s *seen) inspects(table string) bool {
	return slices.ContainsFunc(s.tables, func(t types.RouteTable) bool {
		out := leaves(&t)
		return aws.ToString(t.RouteTableId) != table && strings.HasPrefix(out.target, "igw-") && !out.gone
	})
}

// internet is the internet gateway that a table leads to, "" if none.
func internet(t *types.RouteTable) string {
	for _, r := range t.Routes {
		if id := target(r); strings.HasPrefix(id, "igw-") && r.DestinationCidrBlock != nil {
			return id
		}
	}
	return ""
}

// target is the id of what a route leads to.
func target(r types.Route) string {
	for _, id := range []*string{
		r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.NetworkInterfaceId, r.InstanceId,
		r.LocalGatewayId, r.CarrierGatewayId, r.CoreNetworkArn, r.EgressOnlyInternetGatewayId,
	} {
		if aws.ToString(id) != "" {
			return *id
		}
	}
	return ""
}

// gateway tells that a table has S3's gateway endpoint. The endpoints of a shared
// VPC can't be seen, but their routes can: there, DynamoDB's passes for S3's.
// https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
func (k *checker) gateway(t *types.RouteTable) bool {
	if k.shared {
		return slices.ContainsFunc(t.Routes, func(r types.Route) bool {
			return r.DestinationPrefixListId != nil && strings.HasPrefix(target(r), "vpce-") && r.State != types.RouteStateBlackhole
		})
	}
	table := aws.ToString(t.RouteTableId)
	return slices.ContainsFunc(k.s.endpoints, func(e types.VpcEndpoint) bool {
		return e.VpcEndpointType == types.VpcEndpointTypeGateway && standing(e) && service(e, k.a.Config.Region) == "s3" && slices.Contains(e.RouteTableIds, table)
	})
}

// filters finds network ACLs that stop what every deployment needs: HTTPS from
// the private subnets into the network and its answers, and the Kubernetes API.
// Any range of the VPC will do, since it can't be known who talks to whom.
// An entry that denies only a part is not held against it.
func (k *checker) filters() {
	ranges := k.s.ranges()
	if len(ranges) == 0 {
		return
	}
	const https, answer = 443, 50000
	for _, s := range k.a.Subnets {
		acl := k.s.aclOf(s.ID)
		if k.bad[s.ID] || acl == nil {
			continue
		}
		for _, p := range []struct {
			egress bool
			port   int32
			what   string
			tiers  []architecture.Tier
		}{
			{true, https, "HTTPS out", []architecture.Tier{architecture.Private, architecture.Public}},
			{false, https, "HTTPS in", []architecture.Tier{architecture.Private, architecture.ControlPlane, architecture.Public}},
			{true, answer, "answers out", []architecture.Tier{architecture.Private, architecture.ControlPlane, architecture.Public}},
			{false, answer, "answers in", []architecture.Tier{architecture.Private, architecture.Public}},
		} {
			open := slices.ContainsFunc(ranges, func(inside netip.Prefix) bool { return passes(acl, p.egress, p.port, inside) })
			if slices.Contains(p.tiers, s.Tier) && !open {
				k.fault(path(s), "allow TCP 443 and 1024 to 65535 both ways in it, as far as the network goes",
					"network ACL %s of %s lets no %s (TCP %d)", aws.ToString(acl.NetworkAclId), s.ID, p.what, p.port)
				break
			}
		}
	}
}

// passes tells whether an ACL lets TCP to a port pass for a part of a range at
// least.
func passes(acl *types.NetworkAcl, egress bool, port int32, inside netip.Prefix) bool {
	entries := slices.Clone(acl.Entries)
	slices.SortFunc(entries, func(a, b types.NetworkAclEntry) int {
		return int(aws.ToInt32(a.RuleNumber)) - int(aws.ToInt32(b.RuleNumber))
	})
	for _, e := range entries {
		if aws.ToBool(e.Egress) != egress {
			continue
		}
		switch aws.ToString(e.Protocol) {
		case "-1":
		case "6":
			if r := e.PortRange; r != nil && (port < aws.ToInt32(r.From) || port > aws.ToInt32(r.To)) {
				continue
			}
		default:
			continue
		}
		cidr, err := netip.ParsePrefix(aws.ToString(e.CidrBlock))
		if err != nil || !cidr.Overlaps(inside) {
			continue
		}
		if e.RuleAction == types.RuleActionAllow {
			return true
		}
		if cidr.Bits() <= inside.Bits() {
			return false
		}
	}
	return false
}
