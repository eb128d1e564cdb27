// Package classic simulates Elastic Load Balancing as it was before version 2:
// the Classic Load Balancers that Kubernetes makes for a Service of type
// LoadBalancer where no load balancer controller is installed.
//
// Invariants: a load balancer is known by its name alone, which is unique in
// account and region; it lies in subnets of one VPC, one in each zone, with an
// interface in each; deleting one that isn't there succeeds; its interfaces stay
// for some minutes after it.
//
// Limits: instances, health checks, policies and attributes aren't modelled, no
// traffic flows, and a load balancer needs subnets: there is no EC2-Classic and
// no default VPC.
package classic

import (
	"net/netip"
	"regexp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// TypeLoadBalancer is the resource type of this package.
const TypeLoadBalancer = "AWS::ElasticLoadBalancing::LoadBalancer"

// Types returns the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{{
		Name:   TypeLoadBalancer,
		Create: create,
		Gone: func(tx *account.Tx, r *account.Resource) {
			ec2.ReleaseInterfaces(tx, owner(r.ID), tx.Latency("elbv2:lb/interfaces", r.ID))
		},
	}}
}

// owner is whom interfaces are kept by: names of load balancers are no ids.
func owner(name string) string { return "classic/" + name }

// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancer.html
var name = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`)

// Subnets have a /27 at least and eight free addresses.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-manage-subnets.html
const (
	leastAddresses = 8
	longestMask    = 27
)

func internal(p map[string]any) bool { return props.Str(p, "Scheme") == "internal" }

func create(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	id := props.Str(p, "LoadBalancerName")
	if id == "" {
		id = tx.Name(r, 32)
	}
	if !name.MatchString(id) {
		return account.Errorf("ValidationError", "LoadBalancer name must contain only alphanumeric characters or hyphens, begin and end with none, and be no longer than 32: '%s'", id)
	}
	if tx.Get(TypeLoadBalancer, id) != nil {
		return account.Errorf("DuplicateLoadBalancerName", "The specified load balancer name already exists for this account: '%s'", id)
	}
	if err := quota.ClassicLoadBalancers.Check(tx, tx.Count(TypeLoadBalancer)); err != nil {
		return err
	}
	if s := props.Str(p, "Scheme"); s != "" && s != "internal" && s != "internet-facing" {
		return account.Errorf("InvalidScheme", "Invalid scheme: '%s'", s)
	}
	if err := listeners(p); err != nil {
		return err
	}
	vpc, err := check(tx, p)
	if err != nil {
		return err
	}
	for _, subnet := range props.Strs(p, "Subnets") {
		_, err := ec2.AddInterface(tx, ec2.Interface{
			Subnet: subnet, Groups: props.Strs(p, "SecurityGroups"), Description: "ELB " + id, Owner: owner(id), Requester: "amazon-elb", Public: !internal(p),
		})
		if err != nil {
			ec2.RemoveInterfaces(tx, owner(id))
			return account.Errorf("InvalidSubnet", "The load balancer can't be placed in %s: %s", subnet, err)
		}
	}
	iam.EnsureServiceLinkedRole(tx, "elasticloadbalancing.amazonaws.com")
	// One without groups has the VPC's own.
	groups := ec2.InterfaceGroups(ec2.InterfacesOf(tx, owner(id))[0])
	r.ID, r.Status, r.Tags = id, "active", props.Tags(p, "Tags")
	r.Data = map[string]any{"vpc": vpc, "groups": props.List(groups)}
	r.Attrs = map[string]any{
		"DNSName": elbv2.DNSName(tx, id, tx.HexID(16), internal(p)), "CanonicalHostedZoneNameID": elbv2.HostedZone(tx.Region()),
	}
	return nil
}

// listeners checks the listeners: one at least, each port once.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-listener-config.html
func listeners(p map[string]any) error {
	list := props.Maps(p, "Listeners")
	if len(list) == 0 {
		return account.Errorf("ValidationError", "At least one listener must be specified")
	}
	seen := map[int]bool{}
	for _, l := range list {
		port, to := props.Int(l, 0, "LoadBalancerPort"), props.Int(l, 0, "InstancePort")
		if port < 1 || port > 65535 || to < 1 || to > 65535 {
			return account.Errorf("ValidationError", "Ports of a listener must lie between 1 and 65535: %d, %d", port, to)
		}
		switch props.Str(l, "Protocol") {
		case "HTTP", "TCP":
		case "HTTPS", "SSL":
			return account.NotModelled("Listeners with certificates of classic load balancers are not modelled by the sandbox")
		default:
			return account.Errorf("UnsupportedProtocol", "The protocol '%s' is not supported", props.Str(l, "Protocol"))
		}
		if seen[port] {
			return account.Errorf("InvalidConfigurationRequest", "The port %d has several listeners", port)
		}
		seen[port] = true
	}
	return nil
}

// check checks where a load balancer lies, and returns its VPC.
func check(tx *account.Tx, p map[string]any) (vpc string, err error) {
	if len(props.Strs(p, "Subnets")) == 0 {
		return "", account.NotModelled("Classic load balancers without subnets are not modelled by the sandbox")
	}
	zones := map[string]bool{}
	for _, id := range props.Strs(p, "Subnets") {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return "", account.Errorf("SubnetNotFound", "The subnet ID '%s' does not exist", id)
		}
		if vpc != "" && ec2.VPCOf(s) != vpc {
			return "", conflict("All subnets of a load balancer must belong to the same VPC")
		}
		vpc = ec2.VPCOf(s)
		zone := ec2.ZoneOf(s).Name
		if zones[zone] {
			return "", conflict("A load balancer cannot be attached to several subnets in the Availability Zone %s", zone)
		}
		zones[zone] = true
		if !internal(p) && ec2.AttachedGateway(tx, vpc) == "" {
			return "", account.Errorf("InvalidSubnet", "VPC %s has no internet gateway", vpc)
		}
		if c, err := netip.ParsePrefix(props.Str(s.Attrs, "CidrBlock")); err == nil && c.Bits() > longestMask || ec2.AvailableAddresses(tx, s) < leastAddresses {
			return "", account.Errorf("InvalidSubnet", "Not enough IP space available in %s. ELB requires at least %d free IP addresses in each subnet, and a /%d.", id, leastAddresses, longestMask)
		}
	}
	for _, g := range props.Strs(p, "SecurityGroups") {
		sg, err := ec2.FindSecurityGroup(tx, g)
		if err != nil || ec2.VPCOf(sg) != vpc {
			return "", account.Errorf("InvalidSecurityGroup", "One or more of the specified security groups do not exist in VPC %s: %s", vpc, g)
		}
	}
	return vpc, nil
}

func conflict(format string, args ...any) error {
	e := account.Errorf("InvalidConfigurationRequest", format, args...)
	e.Status = 409
	return e
}
