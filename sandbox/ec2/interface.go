package ec2

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// Types of interfaces that have no security groups, besides those of NAT
// gateways.
const (
	interfaceTransit  = "transit_gateway"
	InterfaceFirewall = "gateway_load_balancer_endpoint"
)

// Interface is a network interface that a service puts into a subnet.
type Interface struct {
	Subnet string
	// Groups are ids of security groups of the subnet's VPC; none means the
	// VPC's default group.
	Groups      []string
	Description string
	// Owner is who takes it away again, see [RemoveInterfaces]: the id or ARN
	// of what the interface serves.
	Owner string
	// Requester is the service, "amazon-elb"; empty when the account itself
	// asked, as for instances.
	Requester string
	// Type is EC2's InterfaceType; empty means "interface".
	Type string
	// Instance is the instance it is attached to, if any.
	Instance string
	// Secondary is how many further addresses it takes, for pods say.
	Secondary int
	// PrivateIP is the primary address; empty means the lowest free one.
	PrivateIP string
	// Public gives it a public address for as long as it lives.
	Public bool
	Tags   map[string]string
}

// AddInterface puts an interface that is in use into a subnet. Errors:
// InvalidSubnetID.NotFound, InvalidGroup.NotFound, InvalidParameter for a group
// of another VPC, InsufficientFreeAddressesInSubnet.
func AddInterface(tx *account.Tx, i Interface) (*account.Resource, error) {
	p := map[string]any{"SubnetId": i.Subnet, "Description": i.Description}
	if len(i.Groups) > 0 {
		p["GroupSet"] = props.List(i.Groups)
	}
	if i.Type != "" {
		p["InterfaceType"] = i.Type
	}
	if i.PrivateIP != "" {
		p["PrivateIpAddress"] = i.PrivateIP
	}
	if i.Secondary > 0 {
		p["SecondaryPrivateIpAddressCount"] = i.Secondary
	}
	r := &account.Resource{
		Type: TypeNetworkInterface, Props: p, Owner: i.Owner,
		Attrs: map[string]any{}, Data: map[string]any{}, Tags: map[string]string{},
	}
	if err := createInterface(tx, r); err != nil {
		return nil, err
	}
	for k, v := range i.Tags {
		r.Tags[k] = v
	}
	r.Data["requester"] = i.Requester
	attach(tx, r, i.Instance, len(attachedTo(tx, i.Instance)))
	if i.Public {
		r.Data["publicIP"] = publicIP(tx)
	}
	tx.Put(r)
	if tx.World().GuardDuty && Occupies(r) {
		tx.After(tx.Latency("guardduty:endpoint/create", VPCOf(r)), account.Event{Kind: Occupied, ID: VPCOf(r)})
	}
	return r, nil
}

// Occupied is the kind of event that tells, after a while, that something runs
// in a VPC; its ID is the VPC's.
const Occupied = "guardduty:occupied"

// Occupies tells whether an interface belongs to what GuardDuty monitors: an
// instance, or a cluster of EKS.
func Occupies(r *account.Resource) bool {
	return props.Str(r.Data, "attachment", "instance") != "" || strings.HasPrefix(props.Str(r.Props, "Description"), "Amazon EKS ")
}

// RemoveInterfaces takes away the interfaces of the owner. It is idempotent.
// Those that linger stay in use for a time, or are detached and left to whoever
// deletes them.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func RemoveInterfaces(tx *account.Tx, owner string) {
	for _, r := range InterfacesOf(tx, owner) {
		d := tx.Lingers(r)
		if d == 0 {
			RemoveInterface(tx, r.ID)
			continue
		}
		disassociateInterface(tx, r.ID)
		r.Owner = ""
		delete(r.Data, "publicIP")
		if d < 0 {
			detach(r)
			continue
		}
		tx.After(d, account.Event{Type: TypeNetworkInterface, ID: r.ID, Data: map[string]any{"op": "delete"}})
	}
}

// RemoveInterface takes away one interface, in use or not. It is idempotent.
func RemoveInterface(tx *account.Tx, id string) {
	disassociateInterface(tx, id)
	tx.Drop(TypeNetworkInterface, id)
}

// Abandon leaves an interface behind, detached ("available"), as the VPC CNI
// does when its node goes too fast. It holds its subnet and groups until
// somebody deletes it.
func Abandon(r *account.Resource) {
	detach(r)
	r.Data["requester"] = ""
	delete(r.Data, "publicIP")
}

// Interfaces of some services outlive what they served for a while.
const released = "ec2:interfaces-released"

// ReleaseInterfaces takes away the interfaces of the owner after some time, as
// Elastic Load Balancing does: till then they are in use, though their owner is
// gone.
func ReleaseInterfaces(tx *account.Tx, owner string, after time.Duration) {
	tx.After(after, account.Event{Kind: released, ID: owner})
}

// Events are what this package lets happen by itself.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){
		released: func(tx *account.Tx, e account.Event) { RemoveInterfaces(tx, e.ID) },
	}
}

// InterfacesOf lists the interfaces of the owner.
func InterfacesOf(tx *account.Tx, owner string) []*account.Resource {
	var out []*account.Resource
	for _, r := range tx.List(TypeNetworkInterface) {
		if r.Owner == owner {
			out = append(out, r)
		}
	}
	return out
}

// AttachInterface attaches an interface that is available to an instance.
// Errors: InvalidNetworkInterfaceID.NotFound, InvalidNetworkInterface.InUse.
func AttachInterface(tx *account.Tx, id, instance string, device int) (*account.Resource, error) {
	r, err := Lookup(tx, TypeNetworkInterface, id)
	if err != nil {
		return nil, err
	}
	if r.Status != "available" {
		return nil, account.Errorf("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", id)
	}
	attach(tx, r, instance, device)
	return r, nil
}

// DetachInterfaces makes available the interfaces that are attached to the
// instance.
func DetachInterfaces(tx *account.Tx, instance string) {
	for _, r := range attachedTo(tx, instance) {
		detach(r)
	}
}

// attachedTo are the interfaces of an instance; none for no instance.
func attachedTo(tx *account.Tx, instance string) []*account.Resource {
	var out []*account.Resource
	for _, r := range tx.List(TypeNetworkInterface) {
		if instance != "" && props.Str(r.Data, "attachment", "instance") == instance {
			out = append(out, r)
		}
	}
	return out
}

func attach(tx *account.Tx, r *account.Resource, instance string, device int) {
	r.Status = "in-use"
	prefix := "eni-attach-"
	if instance == "" {
		// Attachments that services manage have ids of their own.
		prefix = "ela-attach-"
	}
	r.Data["attachment"] = map[string]any{"id": prefix + tx.HexID(17), "instance": instance, "device": device, "time": tx.Now()}
}

func detach(r *account.Resource) {
	r.Status = "available"
	delete(r.Data, "attachment")
}

func interfaceType() *account.Type {
	return &account.Type{
		Name: TypeNetworkInterface, Latency: "ec2:eni",
		Create: createInterface,
		Update: updateInterface,
		Settle: func(_ *account.Tx, r *account.Resource, op string) error {
			if r.Status == "pending" {
				r.Status = "available"
			}
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			if r.Status == "in-use" {
				return account.Errorf("InvalidParameterValue", "Network interface '%s' is currently in use.", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { disassociateInterface(tx, r.ID) },
	}
}

func createInterface(tx *account.Tx, r *account.Resource) error {
	if err := account.Unmodelled(r.Type, r.Props, "Ipv4PrefixCount", "Ipv4Prefixes", "Ipv6AddressCount", "Ipv6Addresses", "Ipv6PrefixCount", "Ipv6Prefixes", "EnablePrimaryIpv6"); err != nil {
		return err
	}
	subnet, err := FindSubnet(tx, props.Str(r.Props, "SubnetId"))
	if err != nil {
		return err
	}
	vpc := VPCOf(subnet)
	groups, err := interfaceGroups(tx, r.Props, vpc)
	if err != nil {
		return err
	}
	if err := quota.Interfaces.Check(tx, tx.Count(TypeNetworkInterface)); err != nil {
		return err
	}
	list, err := takeAddresses(tx, subnet, r.Props, nil)
	if err != nil {
		return err
	}
	name(tx, r, "eni", "Id")
	r.Status = "pending"
	r.Attrs["VpcId"] = vpc
	r.Data["groups"] = props.List(groups)
	r.Data["mac"] = mac(tx)
	setAddresses(r, list)
	return nil
}

func updateInterface(tx *account.Tx, r *account.Resource, next map[string]any) error {
	groups, err := interfaceGroups(tx, next, VPCOf(r))
	if err != nil {
		return err
	}
	if wanted, _, err := wantedAddresses(next); err != nil {
		return err
	} else if len(wanted) > 0 && wanted[0] != addresses(r)[0] {
		return account.ErrReplace
	}
	subnet, err := FindSubnet(tx, props.Str(r.Props, "SubnetId"))
	if err != nil {
		return err
	}
	list, err := takeAddresses(tx, subnet, next, r)
	if err != nil {
		return err
	}
	r.Data["groups"] = props.List(groups)
	setAddresses(r, list)
	r.Retag(next, "Tags")
	return nil
}

// interfaceGroups checks the groups of an interface's properties.
func interfaceGroups(tx *account.Tx, p map[string]any, vpc string) ([]string, error) {
	groups := props.Strs(p, "GroupSet")
	switch props.Str(p, "InterfaceType") {
	case "nat_gateway", interfaceTransit, InterfaceFirewall:
		return nil, nil
	}
	if len(groups) == 0 {
		v, err := Lookup(tx, TypeVPC, vpc)
		if err != nil {
			return nil, err
		}
		return []string{props.Str(v.Attrs, "DefaultSecurityGroup")}, nil
	}
	if err := quota.GroupsPerInterface.CheckMore(tx, 0, len(groups)); err != nil {
		return nil, err
	}
	return groups, CheckSecurityGroups(tx, vpc, groups)
}

// takeAddresses chooses the addresses of an interface: those it asks for, those
// that it (old, may be nil) has already, then the lowest free ones.
func takeAddresses(tx *account.Tx, subnet *account.Resource, p map[string]any, old *account.Resource) ([]string, error) {
	cidr := subnetCIDR(subnet)
	used := map[netip.Addr]bool{}
	for _, eni := range where(tx, TypeNetworkInterface, "SubnetId", subnet.ID) {
		if old != nil && eni.ID == old.ID {
			continue
		}
		for _, a := range addresses(eni) {
			used[netip.MustParseAddr(a)] = true
		}
	}
	wanted, count, err := wantedAddresses(p)
	if err != nil {
		return nil, err
	}
	first, last := usable(cidr)
	var list []string
	take := func(a netip.Addr) {
		used[a] = true
		list = append(list, a.String())
	}
	for _, w := range wanted {
		a, err := netip.ParseAddr(w)
		if err != nil || !cidr.Contains(a) {
			return nil, account.Errorf("InvalidParameterValue", "Address %s does not fall within the subnet's address range", w)
		}
		if a.Less(first) || last.Less(a) {
			return nil, account.Errorf("InvalidParameterValue", "Address %s is in subnet's reserved address range", w)
		}
		if used[a] {
			return nil, account.Errorf("InvalidIPAddress.InUse", "The specified address is already in use.")
		}
		take(a)
	}
	if old != nil && len(wanted) == 0 {
		for _, s := range addresses(old) {
			if len(list) < count {
				take(netip.MustParseAddr(s))
			}
		}
	}
	for a := first; len(list) < count; a = a.Next() {
		if last.Less(a) {
			return nil, account.Errorf("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
		}
		if !used[a] {
			take(a)
		}
	}
	return list, nil
}

// wantedAddresses are the addresses that the properties name, the primary one
// first, and how many there are to be in all.
func wantedAddresses(p map[string]any) (wanted []string, count int, err error) {
	primary := props.Str(p, "PrivateIpAddress")
	for _, a := range props.Maps(p, "PrivateIpAddresses") {
		ip := props.Str(a, "PrivateIpAddress")
		if props.Bool(a, false, "Primary") {
			if primary != "" && primary != ip {
				return nil, 0, account.Errorf("InvalidParameterCombination", "Only one primary private IP address can be specified.")
			}
			primary = ip
			continue
		}
		wanted = append(wanted, ip)
	}
	if primary == "" && len(wanted) > 0 {
		return nil, 0, account.Errorf("InvalidParameterCombination", "A primary private IP address must be specified.")
	}
	if primary != "" {
		wanted = append([]string{primary}, wanted...)
	}
	return wanted, max(len(wanted), 1) + props.Int(p, 0, "SecondaryPrivateIpAddressCount"), nil
}

// usable are the first and the last address that EC2 gives away in a network.
func usable(cidr netip.Prefix) (first, last netip.Addr) {
	b := cidr.Masked().Addr().As4()
	base := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	size := uint32(1) << (32 - cidr.Bits())
	at := func(n uint32) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return at(base + 4), at(base + size - 2)
}

func setAddresses(r *account.Resource, list []string) {
	r.Attrs["PrimaryPrivateIpAddress"] = list[0]
	r.Attrs["SecondaryPrivateIpAddresses"] = props.List(list[1:])
}

// addresses are the private addresses of an interface, the primary one first.
func addresses(eni *account.Resource) []string {
	return append([]string{props.Str(eni.Attrs, "PrimaryPrivateIpAddress")}, props.Strs(eni.Attrs, "SecondaryPrivateIpAddresses")...)
}

// InterfaceGroups are the ids of the security groups of an interface.
func InterfaceGroups(eni *account.Resource) []string { return props.Strs(eni.Data, "groups") }

// PrivateDNSName is the name that the VPC's resolver has for an address.
func PrivateDNSName(tx *account.Tx, ip string) string {
	domain := tx.Region() + ".compute.internal"
	if tx.Region() == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(ip, ".", "-") + "." + domain
}

// mac makes a locally administered hardware address.
func mac(tx *account.Tx) string {
	h := tx.HexID(10)
	return fmt.Sprintf("02:%s:%s:%s:%s:%s", h[:2], h[2:4], h[4:6], h[6:8], h[8:])
}
