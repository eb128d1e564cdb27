package classic

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of classic load balancers as far as it is modelled.
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_Operations.html
func Service() wire.Service {
	return wire.Service{
		Name: "elasticloadbalancing", API: "elb", Version: "2012-06-01", Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "CreateLoadBalancer", Do: createLoadBalancer},
			{Name: "DeleteLoadBalancer", Do: deleteLoadBalancer},
			{Name: "DescribeLoadBalancers", Do: describeLoadBalancers},
			{Name: "AddTags", Do: addTags},
			{Name: "RemoveTags", Do: removeTags},
			{Name: "DescribeTags", Do: describeTags},
		},
	}
}

type object = map[string]any

func createLoadBalancer(tx *account.Tx, r *wire.Request) (any, error) {
	p := object{}
	for _, k := range []string{"LoadBalancerName", "Listeners", "Subnets", "SecurityGroups", "Scheme", "Tags"} {
		if r.Has(k) {
			p[k] = account.Copy(r.In[k])
		}
	}
	if r.Has("AvailabilityZones") {
		return nil, account.NotModelled("Classic load balancers in zones without subnets are not modelled by the sandbox")
	}
	lb, _, err := tx.Create(TypeLoadBalancer, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	return object{"DNSName": lb.Attrs["DNSName"]}, nil
}

// deleteLoadBalancer succeeds if there is none.
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DeleteLoadBalancer.html
func deleteLoadBalancer(tx *account.Tx, r *wire.Request) (any, error) {
	lb := tx.Get(TypeLoadBalancer, r.String("LoadBalancerName"))
	if lb == nil {
		return object{}, nil
	}
	_, err := tx.Delete(lb, true)
	return object{}, err
}

// named are the load balancers of those names, each of which must exist.
func named(tx *account.Tx, names []string) ([]*account.Resource, error) {
	var out []*account.Resource
	for _, n := range names {
		lb := tx.Get(TypeLoadBalancer, n)
		if lb == nil {
			return nil, account.Errorf("LoadBalancerNotFound", "There is no ACTIVE Load Balancer named '%s'", n)
		}
		out = append(out, lb)
	}
	return out, nil
}

func describeLoadBalancers(tx *account.Tx, r *wire.Request) (any, error) {
	list := tx.List(TypeLoadBalancer)
	if names := r.Strings("LoadBalancerNames"); len(names) > 0 {
		var err error
		if list, err = named(tx, names); err != nil {
			return nil, err
		}
	}
	var all []any
	for _, lb := range list {
		all = append(all, describe(tx, lb))
	}
	// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancers.html
	items, next, err := wire.Page(all, r.String("Marker"), min(r.Int("PageSize", 400), 400), "ValidationError")
	if err != nil {
		return nil, err
	}
	out := object{"LoadBalancerDescriptions": items}
	if next != "" {
		out["NextMarker"] = next
	}
	return out, nil
}

func describe(tx *account.Tx, lb *account.Resource) object {
	scheme := "internet-facing"
	if internal(lb.Props) {
		scheme = "internal"
	}
	subnets := props.Strs(lb.Props, "Subnets")
	var zones, served []any
	for _, id := range subnets {
		if s, err := ec2.FindSubnet(tx, id); err == nil {
			zones = append(zones, ec2.ZoneOf(s).Name)
		}
	}
	for _, l := range props.Maps(lb.Props, "Listeners") {
		protocol := props.Str(l, "Protocol")
		if to := props.Str(l, "InstanceProtocol"); to != "" {
			protocol = to
		}
		served = append(served, object{"Listener": object{
			"Protocol": props.Str(l, "Protocol"), "LoadBalancerPort": props.Int(l, 0, "LoadBalancerPort"), "InstanceProtocol": protocol, "InstancePort": props.Int(l, 0, "InstancePort"),
		}})
	}
	return object{
		"LoadBalancerName": lb.ID, "DNSName": lb.Attrs["DNSName"], "CanonicalHostedZoneName": lb.Attrs["DNSName"], "CanonicalHostedZoneNameID": lb.Attrs["CanonicalHostedZoneNameID"],
		"ListenerDescriptions": served, "AvailabilityZones": zones, "Subnets": props.List(subnets), "VPCId": lb.Data["vpc"],
		"SecurityGroups": lb.Data["groups"], "CreatedTime": lb.Created, "Scheme": scheme, "Instances": []any{}, "BackendServerDescriptions": []any{},
	}
}

func describeTags(tx *account.Tx, r *wire.Request) (any, error) {
	names := r.Strings("LoadBalancerNames")
	// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeTags.html
	if len(names) > 20 {
		return nil, account.Errorf("ValidationError", "Tags of at most 20 load balancers can be described at once")
	}
	list, err := named(tx, names)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, lb := range list {
		described := object{"LoadBalancerName": lb.ID}
		var tags []any
		for _, k := range slices.Sorted(maps.Keys(lb.Tags)) {
			tags = append(tags, object{"Key": k, "Value": lb.Tags[k]})
		}
		if tags != nil {
			described["Tags"] = tags
		}
		out = append(out, described)
	}
	return object{"TagDescriptions": out}, nil
}

func addTags(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := named(tx, r.Strings("LoadBalancerNames"))
	if err != nil {
		return nil, err
	}
	for _, lb := range list {
		if lb.Tags == nil {
			lb.Tags = map[string]string{}
		}
		maps.Copy(lb.Tags, r.Tags("Tags"))
	}
	return object{}, nil
}

func removeTags(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := named(tx, r.Strings("LoadBalancerNames"))
	if err != nil {
		return nil, err
	}
	for _, lb := range list {
		for _, tag := range r.Maps("Tags") {
			delete(lb.Tags, props.Str(tag, "Key"))
		}
	}
	return object{}, nil
}
