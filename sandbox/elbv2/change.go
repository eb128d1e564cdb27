package elbv2

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// changes are the operations that change listeners, rules, groups and tags.
// They take the properties that CloudFormation has, by the same names.
func changes() []wire.Operation {
	return []wire.Operation{
		{Name: "CreateListener", Do: apiCreateListener},
		{Name: "ModifyListener", Do: modifyListener},
		{Name: "DeleteListener", Do: remove(TypeListener, "ListenerArn", "ListenerNotFound", "listeners")},
		{Name: "CreateRule", Do: apiCreateRule},
		{Name: "ModifyRule", Do: modifyRule},
		{Name: "DeleteRule", Do: remove(TypeListenerRule, "RuleArn", "RuleNotFound", "rules")},
		{Name: "SetSecurityGroups", Do: setSecurityGroups},
		{Name: "SetSubnets", Do: setSubnets},
		{Name: "ModifyTargetGroup", Do: modifyTargetGroup},
		{Name: "AddTags", Do: addTags},
		{Name: "RemoveTags", Do: removeTags},
	}
}

// given copies those of the members that a request has into properties.
func given(r *wire.Request, into map[string]any, members ...string) {
	for _, k := range members {
		if r.Has(k) {
			into[k] = account.Copy(r.In[k])
		}
	}
}

// actionsIn are a request's actions as properties. An action of the kind of an
// old one may go on with its client secret.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AuthenticateOidcActionConfig.html
func actionsIn(r *wire.Request, member string, old []map[string]any) []any {
	out := []any{}
	for _, a := range r.Maps(member) {
		a, _ = account.Copy(a).(map[string]any)
		c := props.Map(a, "AuthenticateOidcConfig")
		if props.Bool(c, false, "UseExistingClientSecret") {
			for _, o := range old {
				if s := props.Str(o, "AuthenticateOidcConfig", "ClientSecret"); s != "" {
					c["ClientSecret"] = s
				}
			}
		}
		if extra := props.Maps(c, "AuthenticationRequestExtraParams"); extra != nil {
			byKey := map[string]any{}
			for _, e := range extra {
				byKey[props.Str(e, "key")] = props.Str(e, "value")
			}
			c["AuthenticationRequestExtraParams"] = byKey
		}
		out = append(out, a)
	}
	return out
}

func apiCreateListener(tx *account.Tx, r *wire.Request) (any, error) {
	p := object{"DefaultActions": actionsIn(r, "DefaultActions", nil)}
	given(r, p, "LoadBalancerArn", "Port", "Protocol", "SslPolicy", "Certificates", "MutualAuthentication", "Tags")
	l, _, err := tx.Create(TypeListener, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	return object{"Listeners": []any{listenerOut(l)}}, nil
}

func modifyListener(tx *account.Tx, r *wire.Request) (any, error) {
	l := tx.Get(TypeListener, r.String("ListenerArn"))
	if l == nil {
		return nil, account.Errorf("ListenerNotFound", "One or more listeners not found")
	}
	next, _ := account.Copy(l.Props).(map[string]any)
	given(r, next, "Port", "Protocol", "SslPolicy", "Certificates", "MutualAuthentication")
	if r.Has("DefaultActions") {
		next["DefaultActions"] = actionsIn(r, "DefaultActions", props.Maps(l.Props, "DefaultActions"))
	}
	if props.Str(next, "Protocol") == "HTTP" && r.String("Protocol") == "HTTP" {
		// What only HTTPS has goes with it.
		delete(next, "SslPolicy")
		delete(next, "Certificates")
	}
	if _, err := tx.Update(l, next, true); err != nil {
		return nil, err
	}
	return object{"Listeners": []any{listenerOut(l)}}, nil
}

// remove is an operation that deletes at once what the member names.
func remove(typ, member, code, what string) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		x := tx.Get(typ, r.String(member))
		if x == nil {
			return nil, account.Errorf(code, "One or more %s not found", what)
		}
		if _, err := tx.Delete(x, false); err != nil {
			return nil, err
		}
		return object{}, tx.Settle(x, "delete")
	}
}

func apiCreateRule(tx *account.Tx, r *wire.Request) (any, error) {
	if r.Has("Transforms") {
		return nil, account.NotModelled("Transforms of a rule are not modelled by the sandbox")
	}
	p := object{"Actions": actionsIn(r, "Actions", nil)}
	given(r, p, "ListenerArn", "Priority", "Conditions", "Tags")
	x, _, err := tx.Create(TypeListenerRule, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	return object{"Rules": []any{ruleOut(x)}}, nil
}

func modifyRule(tx *account.Tx, r *wire.Request) (any, error) {
	if r.Has("Transforms") {
		return nil, account.NotModelled("Transforms of a rule are not modelled by the sandbox")
	}
	arn := r.String("RuleArn")
	x := tx.Get(TypeListenerRule, arn)
	switch {
	case x == nil && strings.HasSuffix(arn, "/default"):
		return nil, account.Errorf("OperationNotPermitted", "Default rule '%s' cannot be modified", arn)
	case x == nil:
		return nil, account.Errorf("RuleNotFound", "One or more rules not found")
	}
	next, _ := account.Copy(x.Props).(map[string]any)
	given(r, next, "Conditions")
	if r.Has("Actions") {
		next["Actions"] = actionsIn(r, "Actions", props.Maps(x.Props, "Actions"))
	}
	if _, err := tx.Update(x, next, true); err != nil {
		return nil, err
	}
	return object{"Rules": []any{ruleOut(x)}}, nil
}

func setSecurityGroups(tx *account.Tx, r *wire.Request) (any, error) {
	lb, err := FindLoadBalancer(tx, r.String("LoadBalancerArn"))
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(lb.Props).(map[string]any)
	next["SecurityGroups"] = props.List(r.Strings("SecurityGroups"))
	if len(r.Strings("SecurityGroups")) == 0 {
		return nil, invalid("At least one security group must be specified")
	}
	if _, err := tx.Update(lb, next, true); err != nil {
		return nil, err
	}
	return object{"SecurityGroupIds": lb.Attrs["SecurityGroups"]}, nil
}

func setSubnets(tx *account.Tx, r *wire.Request) (any, error) {
	lb, err := FindLoadBalancer(tx, r.String("LoadBalancerArn"))
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(lb.Props).(map[string]any)
	delete(next, "SubnetMappings")
	delete(next, "Subnets")
	switch {
	case r.Has("Subnets"):
		next["Subnets"] = props.List(r.Strings("Subnets"))
	case r.Has("SubnetMappings"):
		given(r, next, "SubnetMappings")
	default:
		return nil, invalid("You must specify either subnets or subnet mappings")
	}
	if _, err := tx.Update(lb, next, true); err != nil {
		return nil, err
	}
	return object{"AvailabilityZones": zonesOut(tx, lb), "IpAddressType": "ipv4"}, nil
}

func modifyTargetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g, err := targetGroup(tx, r)
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(g.Props).(map[string]any)
	given(r, next, "HealthCheckEnabled", "HealthCheckIntervalSeconds", "HealthCheckPath", "HealthCheckPort", "HealthCheckProtocol",
		"HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher")
	if _, err := tx.Update(g, next, true); err != nil {
		return nil, err
	}
	return object{"TargetGroups": []any{targetGroupOut(tx, g)}}, nil
}

// mostArns is how many resources one call on tags can name.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
const mostArns = 20

// tagged are the resources that a request on tags names.
func tagged(tx *account.Tx, r *wire.Request) ([]*account.Resource, error) {
	arns := r.Strings("ResourceArns")
	if len(arns) > mostArns {
		return nil, invalid("You can specify up to %d resources in a single call", mostArns)
	}
	var out []*account.Resource
	for _, arn := range arns {
		i := slices.IndexFunc(taggable, func(k kind) bool { return strings.Contains(arn, k.in) })
		if i < 0 {
			return nil, invalid("'%s' is not a valid load balancer ARN", arn)
		}
		x := tx.Get(taggable[i].typ, arn)
		if x == nil {
			return nil, account.Errorf(taggable[i].code, "The resource '%s' is not found", arn)
		}
		out = append(out, x)
	}
	return out, nil
}

// kind is a type that can be tagged, by what its ARNs have in them.
type kind struct{ in, typ, code string }

var taggable = []kind{
	{":loadbalancer/", TypeLoadBalancer, "LoadBalancerNotFound"},
	{":targetgroup/", TypeTargetGroup, "TargetGroupNotFound"},
	{":listener/", TypeListener, "ListenerNotFound"},
	{":listener-rule/", TypeListenerRule, "RuleNotFound"},
}

func describeTags(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, x := range list {
		described := object{"ResourceArn": x.ID}
		if len(x.Tags) > 0 {
			described["Tags"] = pairs(x.Tags)
		}
		out = append(out, described)
	}
	return object{"TagDescriptions": out}, nil
}

func addTags(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if x.Tags == nil {
			x.Tags = map[string]string{}
		}
		maps.Copy(x.Tags, r.Tags("Tags"))
	}
	return object{}, nil
}

func removeTags(tx *account.Tx, r *wire.Request) (any, error) {
	list, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		for _, k := range r.Strings("TagKeys") {
			delete(x.Tags, k)
		}
	}
	return object{}, nil
}

// protocols are the versions of TLS that a policy lets in, which its name says:
// the lowest one, and whether 1.3 is among them.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
func protocols(policy string) []any {
	versions := []string{"TLSv1", "TLSv1.1", "TLSv1.2"}
	name := strings.TrimPrefix(policy, "ELBSecurityPolicy-")
	rest, modern := strings.CutPrefix(name, "TLS13-")
	if modern {
		versions = append(versions, "TLSv1.3")
	} else {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "TLS-"), "FS-")
	}
	for prefix, lowest := range map[string]int{"1-1-": 1, "1-2-": 2, "1-3-": 3} {
		if strings.HasPrefix(rest, prefix) {
			versions = versions[lowest:]
		}
	}
	return props.List(versions)
}
