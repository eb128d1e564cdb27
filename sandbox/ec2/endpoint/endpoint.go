// Package endpoint is the physics of VPC endpoints: gateway endpoints, which
// are routes, and interface endpoints, which are interfaces with names.
//
// Invariants: an interface endpoint has one interface for each of its subnets
// and at most one subnet in a zone; in a VPC each private DNS name belongs to
// one endpoint.
//
// Limits: AWS's own services only, offered in all zones, and endpoints of
// firewalls as something given ([Firewall]); gateway load balancers, resource
// and service network endpoints are not modelled, and endpoint policies are kept
// but not enforced.
package endpoint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{{
		Name: ec2.TypeVPCEndpoint, Latency: "ec2:vpce",
		Row: func(r *account.Resource, op string) string {
			return "ec2:vpce-" + strings.ToLower(kind(r.Props)) + "/" + op
		},
		Create: create,
		Update: update,
		Settle: func(_ *account.Tx, r *account.Resource, _ string) error {
			r.Status = "available"
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			r.Status = "deleting"
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { ec2.RemoveInterfaces(tx, r.ID) },
	}}
}

func kind(p map[string]any) string { return cmp.Or(props.Str(p, "VpcEndpointType"), "Gateway") }

func invalid(format string, args ...any) error {
	return account.Errorf("InvalidParameter", format, args...)
}

func create(tx *account.Tx, r *account.Resource) error {
	service, err := check(tx, r, r.Props)
	if err != nil {
		return err
	}
	// https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html
	limit, have := quota.GatewayEndpoints, 0
	for _, e := range tx.List(ec2.TypeVPCEndpoint) {
		if kind(e.Props) == kind(r.Props) && (kind(r.Props) == "Gateway" || ec2.VPCOf(e) == ec2.VPCOf(r)) {
			have++
		}
	}
	if kind(r.Props) == "Interface" {
		limit = quota.InterfaceEndpoints
	}
	if err := limit.Check(tx, have); err != nil {
		return err
	}
	r.ID = "vpce-" + tx.HexID(17)
	r.Status = "pending"
	r.Attrs["Id"] = r.ID
	r.Attrs["CreationTimestamp"] = tx.Now().UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
	r.Tags = props.Tags(r.Props, "Tags")
	return place(tx, r, r.Props, service)
}

func update(tx *account.Tx, r *account.Resource, next map[string]any) error {
	service, err := check(tx, r, next)
	if err != nil {
		return err
	}
	r.Retag(next, "Tags")
	return place(tx, r, next, service)
}

// check checks the properties of a new endpoint, or of r as it is to become.
func check(tx *account.Tx, r *account.Resource, p map[string]any) (Service, error) {
	if err := account.Unmodelled(r.Type, p, "ResourceConfigurationArn", "ServiceNetworkArn", "ServiceRegion"); err != nil {
		return Service{}, err
	}
	vpc, err := ec2.Lookup(tx, ec2.TypeVPC, props.Str(p, "VpcId"))
	if err != nil {
		return Service{}, err
	}
	service, err := FindService(tx, props.Str(p, "ServiceName"))
	if err != nil {
		return service, err
	}
	if !slices.Contains(service.Types, kind(p)) {
		return service, invalid("Endpoint type (%s) does not match available service types ([%s]).", kind(p), strings.Join(service.Types, ", "))
	}
	if err := checkPolicy(props.Get(p, "PolicyDocument")); err != nil {
		return service, err
	}
	if kind(p) == "Gateway" {
		return service, checkGateway(tx, r, p, service)
	}
	return service, checkInterface(tx, r, p, vpc, service)
}

func checkPolicy(policy any) error {
	if s, ok := policy.(string); ok {
		var m map[string]any
		if json.Unmarshal([]byte(s), &m) != nil {
			return account.Errorf("InvalidPolicyDocument", "The policy document is not valid JSON.")
		}
		policy = m
	}
	if policy != nil && !props.Has(policy, "Statement") {
		return account.Errorf("InvalidPolicyDocument", "The policy document has no Statement.")
	}
	return nil
}

func checkGateway(tx *account.Tx, r *account.Resource, p map[string]any, service Service) error {
	for _, k := range []string{"SubnetIds", "SecurityGroupIds"} {
		if len(props.Strs(p, k)) > 0 {
			return invalid("%s cannot be specified for gateway type VPC endpoints.", k)
		}
	}
	if props.Bool(p, false, "PrivateDnsEnabled") {
		return invalid("Private DNS can only be enabled on interface type VPC endpoints.")
	}
	tables := props.Strs(p, "RouteTableIds")
	if len(tables) == 0 {
		// EC2 would take it, but nothing could ever reach the service by it.
		return account.Errorf("MissingParameter", "The request must contain the parameter RouteTableId")
	}
	for _, id := range tables {
		table, err := ec2.Lookup(tx, ec2.TypeRouteTable, id)
		if err != nil {
			return err
		}
		if ec2.VPCOf(table) != props.Str(p, "VpcId") {
			return invalid("Route table %s does not belong to VPC %s.", id, props.Str(p, "VpcId"))
		}
		for _, other := range GatewaysOf(tx, id) {
			if other.ID != r.ID && props.Str(other.Props, "ServiceName") == service.Name {
				return account.Errorf("RouteAlreadyExists", "route table %s already has a route with destination-prefix-list-id %s", id, PrefixList(tx, service.Name))
			}
		}
	}
	return nil
}

// GatewaysOf are the gateway endpoints that a route table leads to.
func GatewaysOf(tx *account.Tx, table string) []*account.Resource {
	var out []*account.Resource
	for _, e := range tx.List(ec2.TypeVPCEndpoint) {
		if slices.Contains(props.Strs(e.Props, "RouteTableIds"), table) {
			out = append(out, e)
		}
	}
	return out
}

// PrefixList is the id of the prefix list of a service's addresses, "" if it
// has none.
func PrefixList(tx *account.Tx, service string) string {
	for id, name := range ec2.PrefixLists(tx.Region()) {
		if name == service {
			return id
		}
	}
	return ""
}

func checkInterface(tx *account.Tx, r *account.Resource, p map[string]any, vpc *account.Resource, service Service) error {
	if len(props.Strs(p, "RouteTableIds")) > 0 {
		return invalid("Route tables cannot be specified for interface type VPC endpoints.")
	}
	if len(props.Strs(p, "SubnetIds")) == 0 {
		// As for gateways: EC2 would take it, to no use.
		return account.Errorf("MissingParameter", "The request must contain the parameter SubnetId")
	}
	zones := map[string]bool{}
	for _, id := range props.Strs(p, "SubnetIds") {
		subnet, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return err
		}
		if ec2.VPCOf(subnet) != vpc.ID {
			return invalid("Subnet %s does not belong to VPC %s.", id, vpc.ID)
		}
		zone := ec2.ZoneOf(subnet).Name
		if zones[zone] {
			return account.Errorf("DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of %s", id)
		}
		zones[zone] = true
	}
	if err := ec2.CheckSecurityGroups(tx, vpc.ID, props.Strs(p, "SecurityGroupIds")); err != nil {
		return err
	}
	if !props.Bool(p, false, "PrivateDnsEnabled") {
		return nil
	}
	if support, hostnames := ec2.VPCDNS(vpc); !support || !hostnames {
		return invalid("Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", vpc.ID)
	}
	for _, other := range ec2.InVPC(tx, ec2.TypeVPCEndpoint, vpc.ID) {
		if other.ID != r.ID && props.Str(other.Props, "ServiceName") == service.Name && props.Bool(other.Props, false, "PrivateDnsEnabled") {
			return invalid("private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s", service.PrivateDNS[0], vpc.ID)
		}
	}
	return nil
}

// Firewall puts the endpoint of a firewall into a subnet, such as a firewall of
// AWS Network Firewall has there: something that routes lead to.
// https://docs.aws.amazon.com/network-firewall/latest/developerguide/firewall-components.html
func Firewall(tx *account.Tx, subnet string) (*account.Resource, error) {
	s, err := ec2.FindSubnet(tx, subnet)
	if err != nil {
		return nil, err
	}
	id := "vpce-" + tx.HexID(17)
	eni, err := ec2.AddInterface(tx, ec2.Interface{
		Subnet: subnet, Owner: id, Type: ec2.InterfaceFirewall, Requester: "amazon-elb",
		Description: "VPC Endpoint Interface " + id,
	})
	if err != nil {
		return nil, err
	}
	r := &account.Resource{
		Type: ec2.TypeVPCEndpoint, ID: id, Status: "available", Owner: "network-firewall.amazonaws.com",
		Props: map[string]any{
			"VpcId": ec2.VPCOf(s), "VpcEndpointType": "GatewayLoadBalancer", "SubnetIds": []any{subnet},
			"ServiceName": "com.amazonaws.vpce." + tx.Region() + ".vpce-svc-" + tx.HexID(17),
		},
		Attrs: map[string]any{"Id": id, "NetworkInterfaceIds": []any{eni.ID}, "DnsEntries": []any{}},
		Data:  map[string]any{},
		Tags:  map[string]string{"AWSNetworkFirewallManaged": "true"},
	}
	tx.Put(r)
	return r, nil
}

// Groups are the security groups of an interface endpoint: those it names, or
// the VPC's default group.
func Groups(tx *account.Tx, r *account.Resource, p map[string]any) []string {
	if groups := props.Strs(p, "SecurityGroupIds"); len(groups) > 0 {
		return groups
	}
	if vpc := tx.Get(ec2.TypeVPC, ec2.VPCOf(r)); vpc != nil {
		return []string{props.Str(vpc.Attrs, "DefaultSecurityGroup")}
	}
	return nil
}

// place gives an interface endpoint one interface for each subnet of p and its
// names. Interfaces in subnets that stay are kept.
func place(tx *account.Tx, r *account.Resource, p map[string]any, service Service) error {
	r.Attrs["NetworkInterfaceIds"], r.Attrs["DnsEntries"] = []any{}, []any{}
	if kind(p) == "Gateway" {
		return nil
	}
	subnets, groups := props.Strs(p, "SubnetIds"), Groups(tx, r, p)
	there := map[string]*account.Resource{}
	for _, eni := range ec2.InterfacesOf(tx, r.ID) {
		if s := props.Str(eni.Props, "SubnetId"); slices.Contains(subnets, s) {
			there[s] = eni
		} else {
			ec2.RemoveInterface(tx, eni.ID)
		}
	}
	var enis, zones []string
	for _, id := range subnets {
		eni := there[id]
		if eni == nil {
			var err error
			if eni, err = ec2.AddInterface(tx, ec2.Interface{
				Subnet: id, Groups: groups, Owner: r.ID, Type: "vpc_endpoint", Requester: "amazon-vpc-endpoints",
				Description: "VPC Endpoint Interface " + r.ID,
			}); err != nil {
				if r.Status == "pending" {
					ec2.RemoveInterfaces(tx, r.ID)
				}
				return err
			}
		}
		eni.Data["groups"] = props.List(groups)
		enis = append(enis, eni.ID)
		zones = append(zones, ec2.ZoneOf(tx.Get(ec2.TypeSubnet, id)).Name)
	}
	r.Attrs["NetworkInterfaceIds"] = props.List(enis)
	r.Attrs["DnsEntries"] = props.List(names(tx, r, p, service, zones))
	return nil
}

// names are the endpoint's DNS names as Fn::GetAtt has them, hosted zone first:
// the regional one, one for each zone, and the private ones.
func names(tx *account.Tx, r *account.Resource, p map[string]any, service Service, zones []string) []string {
	suffix, _ := r.Data["dns"].(string)
	if suffix == "" {
		suffix = tx.HexID(8)
		r.Data["dns"] = suffix
	}
	labels := strings.Split(strings.TrimPrefix(service.Name, "com.amazonaws."+tx.Region()+"."), ".")
	slices.Reverse(labels)
	domain := strings.Join(labels, ".") + "." + tx.Region() + ".vpce.amazonaws.com"
	const hostedZone = "Z7HUB22UULQXV"
	out := []string{fmt.Sprintf("%s:%s-%s.%s", hostedZone, r.ID, suffix, domain)}
	for _, z := range zones {
		out = append(out, fmt.Sprintf("%s:%s-%s-%s.%s", hostedZone, r.ID, suffix, z, domain))
	}
	if props.Bool(p, false, "PrivateDnsEnabled") {
		for _, n := range service.PrivateDNS {
			out = append(out, "ZONEIDPENDING:"+n)
		}
	}
	return out
}
