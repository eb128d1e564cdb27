package elbv2

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of Elastic Load Balancing as far as it is modelled.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html
func Service() wire.Service {
	return wire.Service{
		Name: "elasticloadbalancing", Version: "2015-12-01", Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", Protocol: wire.Query,
		Operations: append(changes(), []wire.Operation{
			{Name: "DescribeLoadBalancers", Do: describeLoadBalancers},
			{Name: "DescribeLoadBalancerAttributes", Do: describeLoadBalancerAttributes},
			{Name: "ModifyLoadBalancerAttributes", Do: modifyLoadBalancerAttributes},
			{Name: "DeleteLoadBalancer", Do: deleteLoadBalancer},
			{Name: "DescribeListeners", Do: describeListeners},
			{Name: "DescribeListenerAttributes", Do: describeListenerAttributes},
			{Name: "DescribeListenerCertificates", Do: describeListenerCertificates},
			{Name: "DescribeRules", Do: describeRules},
			{Name: "DescribeTargetGroups", Do: describeTargetGroups},
			{Name: "DescribeTargetGroupAttributes", Do: describeTargetGroupAttributes},
			{Name: "DescribeTargetHealth", Do: describeTargetHealth},
			{Name: "RegisterTargets", Do: registerTargets},
			{Name: "DeregisterTargets", Do: deregisterTargets},
			{Name: "DeleteTargetGroup", Do: deleteTargetGroup},
			{Name: "DescribeTags", Do: describeTags},
			{Name: "DescribeSSLPolicies", Do: describePolicies},
		}...),
	}
}

type object = map[string]any

// chosen lists resources: those of the ARNs or names that are asked for, each
// of which must exist, or all.
func chosen(tx *account.Tx, typ string, arns, names []string, attr, code, what string) ([]*account.Resource, error) {
	if len(arns)+len(names) == 0 {
		return slices.DeleteFunc(tx.List(typ), going), nil
	}
	var out []*account.Resource
	for _, a := range arns {
		r := tx.Get(typ, a)
		if r == nil || going(r) {
			return nil, account.Errorf(code, "One or more %s not found", what)
		}
		out = append(out, r)
	}
	for _, n := range names {
		r := tx.Find(typ, func(r *account.Resource) bool { return props.Str(r.Attrs, attr) == n && !going(r) })
		if r == nil {
			return nil, account.Errorf(code, "%s '[%s]' not found", what, n)
		}
		out = append(out, r)
	}
	return out, nil
}

// going tells that a resource is being deleted, which no state says: it is not
// listed any more.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerState.html
func going(r *account.Resource) bool { return r.Status == "deleting" }

// page answers with a page of a listing.
func page(r *wire.Request, key string, items []any) (any, error) {
	items, next, err := wire.Page(items, r.String("Marker"), r.Int("PageSize", 0), "ValidationError")
	if err != nil {
		return nil, err
	}
	out := object{key: items}
	if next != "" {
		out["NextMarker"] = next
	}
	return out, nil
}

func describeLoadBalancers(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := chosen(tx, TypeLoadBalancer, r.Strings("LoadBalancerArns"), r.Strings("Names"), "LoadBalancerName", "LoadBalancerNotFound", "Load balancers")
	if err != nil {
		return nil, err
	}
	var out []any
	for _, lb := range list {
		scheme := "internet-facing"
		if internal(lb.Props) {
			scheme = "internal"
		}
		state := lb.Status
		if state == "DELETE_FAILED" { // it serves as before
			state = "active"
		}
		out = append(out, object{
			"LoadBalancerArn": lb.ID, "DNSName": lb.Attrs["DNSName"], "CanonicalHostedZoneId": lb.Attrs["CanonicalHostedZoneID"], "CreatedTime": lb.Created,
			"LoadBalancerName": lb.Attrs["LoadBalancerName"], "Scheme": scheme, "VpcId": lb.Data["vpc"], "State": object{"Code": state}, "Type": "application",
			"AvailabilityZones": zonesOut(tx, lb), "SecurityGroups": lb.Attrs["SecurityGroups"], "IpAddressType": "ipv4",
		})
	}
	return page(r, "LoadBalancers", out)
}

// zonesOut are a load balancer's zones, each with its subnet there.
func zonesOut(tx *account.Tx, lb *account.Resource) []any {
	var zones []any
	for _, id := range subnetsOf(lb.Props) {
		if s, err := ec2.FindSubnet(tx, id); err == nil {
			zones = append(zones, object{"ZoneName": ec2.ZoneOf(s).Name, "SubnetId": id, "LoadBalancerAddresses": []any{}})
		}
	}
	return zones
}

// pairs is a list of Key and Value, by key.
func pairs(values map[string]string) []any {
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		out = append(out, object{"Key": k, "Value": values[k]})
	}
	return out
}

func describeLoadBalancerAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	lb, err := FindLoadBalancer(tx, r.String("LoadBalancerArn"))
	if err != nil {
		return nil, err
	}
	return object{"Attributes": pairs(loadBalancerAttributes(lb.Props))}, nil
}

func modifyLoadBalancerAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	lb, err := FindLoadBalancer(tx, r.String("LoadBalancerArn"))
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, a := range append(props.Maps(lb.Props, "LoadBalancerAttributes"), r.Maps("Attributes")...) {
		values[props.Str(a, "Key")] = props.Str(a, "Value")
	}
	next, _ := account.Copy(lb.Props).(map[string]any)
	next["LoadBalancerAttributes"] = pairs(values)
	if _, err := tx.Update(lb, next, true); err != nil {
		return nil, err
	}
	return object{"Attributes": pairs(loadBalancerAttributes(lb.Props))}, nil
}

func deleteLoadBalancer(tx *account.Tx, r *wire.Request) (any, error) {
	lb := tx.Get(TypeLoadBalancer, r.String("LoadBalancerArn"))
	// Deleting what isn't there succeeds.
	if lb == nil || going(lb) {
		return object{}, nil
	}
	_, err := tx.Delete(lb, true)
	return object{}, err
}

func describeListeners(tx *account.Tx, r *wire.Request) (any, error) {
	var list []*account.Resource
	if arn := r.String("LoadBalancerArn"); arn != "" {
		if _, err := FindLoadBalancer(tx, arn); err != nil {
			return nil, err
		}
		list = listeners(tx, arn)
	} else {
		var err error
		if list, err = chosen(tx, TypeListener, r.Strings("ListenerArns"), nil, "", "ListenerNotFound", "listeners"); err != nil {
			return nil, err
		}
	}
	var out []any
	for _, l := range list {
		out = append(out, listenerOut(l))
	}
	return page(r, "Listeners", out)
}

func listenerOut(l *account.Resource) object {
	x := object{
		"ListenerArn": l.ID, "LoadBalancerArn": props.Str(l.Props, "LoadBalancerArn"), "Port": props.Int(l.Props, 0, "Port"), "Protocol": props.Str(l.Props, "Protocol"),
		"DefaultActions": actionsOut(props.Maps(l.Props, "DefaultActions")),
	}
	if props.Str(l.Props, "Protocol") == "HTTPS" {
		x["Certificates"], x["SslPolicy"] = l.Props["Certificates"], props.Str(l.Props, "SslPolicy")
		if x["SslPolicy"] == "" {
			x["SslPolicy"] = defaultPolicy
		}
		x["MutualAuthentication"] = object{"Mode": "off"}
	}
	return x
}

// actionsOut shows actions as the API does: without the client's secret.
func actionsOut(actions []map[string]any) []any {
	var out []any
	for _, a := range actions {
		x, _ := account.Copy(a).(map[string]any)
		if c := props.Map(x, "AuthenticateOidcConfig"); c != nil {
			delete(c, "ClientSecret")
			delete(c, "UseExistingClientSecret")
			for k, v := range map[string]any{"SessionCookieName": "AWSELBAuthSessionCookie", "Scope": "openid", "SessionTimeout": 604800, "OnUnauthenticatedRequest": "authenticate"} {
				if !props.Has(c, k) {
					c[k] = v
				}
			}
			if extra := props.Map(c, "AuthenticationRequestExtraParams"); extra != nil {
				entries := []any{}
				for _, k := range slices.Sorted(maps.Keys(extra)) {
					entries = append(entries, object{"key": k, "value": extra[k]})
				}
				c["AuthenticationRequestExtraParams"] = entryList(entries)
			}
		}
		if arn := props.Str(x, "TargetGroupArn"); arn != "" && !props.Has(x, "ForwardConfig") {
			x["ForwardConfig"] = object{"TargetGroups": []any{object{"TargetGroupArn": arn, "Weight": 1}}, "TargetGroupStickinessConfig": object{"Enabled": false}}
		}
		if c := props.Map(x, "RedirectConfig"); c != nil {
			for k, v := range map[string]any{"Protocol": "#{protocol}", "Port": "#{port}", "Host": "#{host}", "Path": "/#{path}", "Query": "#{query}"} {
				if !props.Has(c, k) {
					c[k] = v
				}
			}
		}
		out = append(out, x)
	}
	return out
}

// entryList is a map of the query protocol: elements "entry".
func entryList(entries []any) any {
	type entry struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	var list struct {
		Entries []entry `xml:"entry"`
	}
	for _, e := range entries {
		list.Entries = append(list.Entries, entry{props.Str(e, "key"), props.Str(e, "value")})
	}
	return list
}

func describeListenerAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	l := tx.Get(TypeListener, r.String("ListenerArn"))
	if l == nil {
		return nil, account.Errorf("ListenerNotFound", "One or more listeners not found")
	}
	return object{"Attributes": pairs(attributes(listenerAttributes, props.Maps(l.Props, "ListenerAttributes")))}, nil
}

func describeListenerCertificates(tx *account.Tx, r *wire.Request) (any, error) {
	l := tx.Get(TypeListener, r.String("ListenerArn"))
	if l == nil {
		return nil, account.Errorf("ListenerNotFound", "One or more listeners not found")
	}
	var out []any
	for _, c := range props.Maps(l.Props, "Certificates") {
		out = append(out, object{"CertificateArn": props.Str(c, "CertificateArn"), "IsDefault": true})
	}
	return page(r, "Certificates", out)
}

func describeRules(tx *account.Tx, r *wire.Request) (any, error) {
	var list []*account.Resource
	var out []any
	if arn := r.String("ListenerArn"); arn != "" {
		l := tx.Get(TypeListener, arn)
		if l == nil {
			return nil, account.Errorf("ListenerNotFound", "One or more listeners not found")
		}
		list = rules(tx, arn)
	} else {
		var err error
		if list, err = chosen(tx, TypeListenerRule, r.Strings("RuleArns"), nil, "", "RuleNotFound", "rules"); err != nil {
			return nil, err
		}
	}
	for _, x := range list {
		out = append(out, ruleOut(x))
	}
	// Every listener has a last rule: its default actions.
	if l := tx.Get(TypeListener, r.String("ListenerArn")); l != nil {
		out = append(out, object{"RuleArn": l.ID + "/default", "Priority": "default", "IsDefault": true, "Actions": actionsOut(props.Maps(l.Props, "DefaultActions")), "Conditions": []any{}})
	}
	return page(r, "Rules", out)
}

func ruleOut(x *account.Resource) object {
	conditions := []any{}
	for _, c := range props.Maps(x.Props, "Conditions") {
		c, _ = account.Copy(c).(map[string]any)
		// Values of hosts and paths are answered in both of their places,
		// wherever they were given.
		if k, ok := map[string]string{"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig"}[props.Str(c, "Field")]; ok {
			values := append(props.Strs(c, "Values"), props.Strs(c, k, "Values")...)
			c["Values"], c[k] = props.List(values), object{"Values": props.List(values)}
		}
		conditions = append(conditions, c)
	}
	return object{
		"RuleArn": x.ID, "Priority": strconv.Itoa(props.Int(x.Props, 0, "Priority")), "IsDefault": false,
		"Actions": actionsOut(props.Maps(x.Props, "Actions")), "Conditions": conditions,
	}
}

func describeTargetGroups(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := chosen(tx, TypeTargetGroup, r.Strings("TargetGroupArns"), r.Strings("Names"), "TargetGroupName", "TargetGroupNotFound", "target groups")
	if err != nil {
		return nil, err
	}
	var out []any
	for _, g := range list {
		if lb := r.String("LoadBalancerArn"); lb != "" && !slices.Contains(usersOf(tx, g.ID), lb) {
			continue
		}
		out = append(out, targetGroupOut(tx, g))
	}
	return page(r, "TargetGroups", out)
}

func targetGroupOut(tx *account.Tx, g *account.Resource) object {
	p := g.Props
	or := func(key, otherwise string) string {
		if v := props.Str(p, key); v != "" {
			return v
		}
		return otherwise
	}
	code := props.Str(p, "Matcher", "HttpCode")
	if code == "" {
		code = "200"
	}
	return object{
		"TargetGroupArn": g.ID, "TargetGroupName": g.Attrs["TargetGroupName"], "Protocol": props.Str(p, "Protocol"), "Port": props.Int(p, 0, "Port"), "VpcId": props.Str(p, "VpcId"),
		"HealthCheckProtocol": or("HealthCheckProtocol", "HTTP"), "HealthCheckPort": or("HealthCheckPort", "traffic-port"), "HealthCheckEnabled": true,
		"HealthCheckIntervalSeconds": props.Int(p, 30, "HealthCheckIntervalSeconds"), "HealthCheckTimeoutSeconds": props.Int(p, 5, "HealthCheckTimeoutSeconds"),
		"HealthyThresholdCount": props.Int(p, 5, "HealthyThresholdCount"), "UnhealthyThresholdCount": props.Int(p, 2, "UnhealthyThresholdCount"),
		"HealthCheckPath": or("HealthCheckPath", "/"), "Matcher": object{"HttpCode": code}, "LoadBalancerArns": usersOf(tx, g.ID), "TargetType": or("TargetType", "instance"),
		"ProtocolVersion": or("ProtocolVersion", "HTTP1"), "IpAddressType": "ipv4",
	}
}

func targetGroup(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	if g := tx.Get(TypeTargetGroup, r.String("TargetGroupArn")); g != nil {
		return g, nil
	}
	return nil, account.Errorf("TargetGroupNotFound", "One or more target groups not found")
}

func describeTargetGroupAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := targetGroup(tx, r)
	if err != nil {
		return nil, err
	}
	return object{"Attributes": pairs(attributes(knownOfGroups, props.Maps(g.Props, "TargetGroupAttributes")))}, nil
}

func describeTargetHealth(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := targetGroup(tx, r)
	if err != nil {
		return nil, err
	}
	used := len(usersOf(tx, g.ID)) > 0
	var out []any
	found := tx.TargetHealth(g.ID)
	b, _ := tx.Breaker().(interface{ Unhealthy(group string) bool })
	fails := b != nil && b.Unhealthy(GroupName(g.ID))
	for _, t := range props.Maps(g.Data, "targets") {
		port := props.Int(t, props.Int(g.Props, 0, "Port"), "Port")
		health := object{"State": "healthy"}
		switch {
		case !used:
			health = object{"State": "unused", "Reason": "Target.NotInUse", "Description": "Target group is not configured to receive traffic from the load balancer"}
		case fails:
			health = object{"State": "unhealthy", "Reason": "Target.FailedHealthChecks", "Description": "Health checks failed"}
		case !there(tx, g, props.Str(t, "Id")):
			health = object{"State": "unhealthy", "Reason": "Target.Timeout", "Description": "Request timed out"}
		}
		key := props.Str(t, "Id") + ":" + strconv.Itoa(port)
		if h, ok := found[key]; ok {
			health = healthOut(h)
			delete(found, key)
		}
		out = append(out, object{"Target": object{"Id": props.Str(t, "Id"), "Port": port}, "HealthCheckPort": strconv.Itoa(port), "TargetHealth": health})
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		if found[key].State != "draining" {
			continue
		}
		i := strings.LastIndexByte(key, ':')
		port, _ := strconv.Atoi(key[i+1:])
		out = append(out, object{"Target": object{"Id": key[:i], "Port": port}, "HealthCheckPort": key[i+1:], "TargetHealth": healthOut(found[key])})
	}
	return object{"TargetHealthDescriptions": out}, nil
}

func healthOut(h account.Health) object {
	out := object{"State": h.State}
	if h.Reason != "" {
		out["Reason"], out["Description"] = h.Reason, h.Description
	}
	return out
}

// there tells whether a target exists: an instance, or an address of an
// interface in the VPC.
func there(tx *account.Tx, g *account.Resource, id string) bool {
	if props.Str(g.Props, "TargetType") != "ip" {
		return tx.Get(ec2.TypeInstance, id) != nil
	}
	for _, face := range ec2.InVPC(tx, ec2.TypeNetworkInterface, props.Str(g.Props, "VpcId")) {
		if props.Str(face.Attrs, "PrimaryPrivateIpAddress") == id || slices.Contains(props.Strs(face.Attrs, "SecondaryPrivateIpAddresses"), id) {
			return true
		}
	}
	return false
}

func registerTargets(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := targetGroup(tx, r)
	if err != nil {
		return nil, err
	}
	targets := props.Maps(g.Data, "targets")
	for _, t := range r.Maps("Targets") {
		id := props.Str(t, "Id")
		if props.Str(g.Props, "TargetType") != "ip" && tx.Get(ec2.TypeInstance, id) == nil {
			return nil, account.Errorf("InvalidTarget", "The following targets are not valid instances: '%s'", id)
		}
		if !slices.ContainsFunc(targets, func(o map[string]any) bool { return targetKey(o) == targetKey(t) }) {
			targets = append(targets, t)
		}
	}
	if err := quota.Targets.CheckMore(tx, 0, len(targets)); err != nil {
		return nil, err
	}
	setTargets(g, targets)
	return object{}, nil
}

func deregisterTargets(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := targetGroup(tx, r)
	if err != nil {
		return nil, err
	}
	targets := props.Maps(g.Data, "targets")
	for _, t := range r.Maps("Targets") {
		// Without a port all registrations of the target go.
		targets = slices.DeleteFunc(targets, func(o map[string]any) bool {
			return props.Str(o, "Id") == props.Str(t, "Id") && (!props.Has(t, "Port") || targetKey(o) == targetKey(t))
		})
	}
	setTargets(g, targets)
	return object{}, nil
}

func setTargets(g *account.Resource, targets []map[string]any) {
	list := []any{}
	for _, t := range targets {
		list = append(list, t)
	}
	g.Data["targets"] = list
}

func deleteTargetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g := tx.Get(TypeTargetGroup, r.String("TargetGroupArn"))
	// Deleting what isn't there succeeds.
	if g == nil {
		return object{}, nil
	}
	if _, err := tx.Delete(g, false); err != nil {
		return nil, err
	}
	return object{}, tx.Settle(g, "delete")
}

func describePolicies(_ *account.Tx, r *wire.Request) (any, error) {
	names := r.Strings("Names")
	for _, n := range names {
		if !slices.Contains(policies, n) {
			return nil, account.Errorf("SSLPolicyNotFound", "SSL policy '%s' not found", n)
		}
	}
	var out []any
	for _, p := range policies {
		if len(names) == 0 || slices.Contains(names, p) {
			out = append(out, object{"Name": p, "SslProtocols": protocols(p), "SupportedLoadBalancerTypes": []any{"application", "network"}})
		}
	}
	return page(r, "SslPolicies", out)
}
