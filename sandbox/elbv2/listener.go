package elbv2

import (
	"net/url"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func listenerType() *account.Type {
	return &account.Type{
		Name: TypeListener, Latency: "elbv2:listener",
		Create: createListener,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkListener(tx, r.ID, next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Settle: func(tx *account.Tx, _ *account.Resource, _ string) error {
			connect(tx)
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			dropRules(tx, r.ID)
			connect(tx)
		},
	}
}

// listeners lists the listeners of a load balancer.
func listeners(tx *account.Tx, arn string) []*account.Resource {
	var out []*account.Resource
	for _, l := range tx.List(TypeListener) {
		if props.Str(l.Props, "LoadBalancerArn") == arn {
			out = append(out, l)
		}
	}
	return out
}

// policies are the security policies for TLS.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
var policies = []string{
	"ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS-1-1-2017-01", "ELBSecurityPolicy-TLS-1-2-2017-01", "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
	"ELBSecurityPolicy-FS-2018-06", "ELBSecurityPolicy-FS-1-1-2019-08", "ELBSecurityPolicy-FS-1-2-2019-08", "ELBSecurityPolicy-FS-1-2-Res-2019-08", "ELBSecurityPolicy-FS-1-2-Res-2020-10",
	"ELBSecurityPolicy-TLS13-1-0-2021-06", "ELBSecurityPolicy-TLS13-1-1-2021-06", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
	"ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", "ELBSecurityPolicy-TLS13-1-3-2021-06",
	"ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04",
	"ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04",
	"ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09",
	"ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-2-FIPS-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09",
}

// defaultPolicy is that of CloudFormation and the API.
const defaultPolicy = "ELBSecurityPolicy-2016-08"

// listenerAttributes are those of listeners, all of which take text or a
// boolean.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ListenerAttribute.html
var listenerAttributes = func() map[string]attribute {
	m := map[string]attribute{"routing.http.response.server.enabled": {words: boolean, value: "true"}}
	for _, h := range []string{
		"strict_transport_security", "access_control_allow_origin", "access_control_allow_methods", "access_control_allow_headers", "access_control_allow_credentials",
		"access_control_expose_headers", "access_control_max_age", "content_security_policy", "x_content_type_options", "x_frame_options",
	} {
		m["routing.http.response."+h+".header_value"] = attribute{}
	}
	for _, h := range []string{"clientcert", "clientcert_serial_number", "clientcert_issuer", "clientcert_subject", "clientcert_validity", "clientcert_leaf"} {
		m["routing.http.request.x_amzn_mtls_"+h+".header_name"] = attribute{}
	}
	for _, h := range []string{"version", "cipher_suite"} {
		m["routing.http.request.x_amzn_tls_"+h+".header_name"] = attribute{}
	}
	return m
}()

func createListener(tx *account.Tx, r *account.Resource) error {
	lb, err := FindLoadBalancer(tx, props.Str(r.Props, "LoadBalancerArn"))
	if err != nil {
		return err
	}
	if err := checkListener(tx, "", r.Props); err != nil {
		return err
	}
	if err := quota.Listeners.Check(tx, len(listeners(tx, lb.ID))); err != nil {
		return err
	}
	r.ID = tx.ARN("elasticloadbalancing", "listener/"+props.Str(lb.Attrs, "LoadBalancerFullName")+"/"+hexID(tx))
	r.Attrs = map[string]any{"ListenerArn": r.ID}
	r.Tags = props.Tags(r.Props, "Tags")
	return nil
}

// checkListener checks a listener's properties; own is its ARN if it exists.
func checkListener(tx *account.Tx, own string, p map[string]any) error {
	lb, err := FindLoadBalancer(tx, props.Str(p, "LoadBalancerArn"))
	if err != nil {
		return err
	}
	port, protocol := props.Int(p, 0, "Port"), props.Str(p, "Protocol")
	if port < 1 || port > 65535 {
		return invalid("A port must be specified, between 1 and 65535")
	}
	if protocol != "HTTP" && protocol != "HTTPS" {
		return invalid("Listener protocol '%s' must be one of 'HTTPS, HTTP'", protocol)
	}
	for _, l := range listeners(tx, lb.ID) {
		if l.ID != own && props.Int(l.Props, 0, "Port") == port {
			return account.Errorf("DuplicateListener", "A listener already exists on this port for this load balancer '%s'", lb.ID)
		}
	}
	certificates := props.Maps(p, "Certificates")
	if protocol == "HTTP" {
		if len(certificates) > 0 || props.Str(p, "SslPolicy") != "" {
			return invalid("A certificate or SSL policy cannot be specified for HTTP listeners")
		}
	} else if err := checkTLS(tx, certificates, props.Str(p, "SslPolicy")); err != nil {
		return err
	}
	if m := props.Str(p, "MutualAuthentication", "Mode"); m != "" && m != "off" {
		return account.NotModelled("Mutual authentication mode '%s' is not modelled by the sandbox", m)
	}
	if err := checkAttributes("Listener", listenerAttributes, props.Maps(p, "ListenerAttributes")); err != nil {
		return err
	}
	return checkActions(tx, lb, protocol, props.Maps(p, "DefaultActions"))
}

// checkTLS wants one certificate that is issued, and a policy that exists.
func checkTLS(tx *account.Tx, certificates []map[string]any, name string) error {
	switch {
	case len(certificates) == 0:
		return account.Errorf("ValidationError", "A certificate must be specified for HTTPS listeners")
	case len(certificates) > 1:
		return invalid("Up to '1' certificate ARNs can be specified, but '%d' were specified", len(certificates))
	case name != "" && !slices.Contains(policies, name):
		return account.Errorf("SSLPolicyNotFound", "SSL policy '%s' not found", name)
	}
	arn := props.Str(certificates[0], "CertificateArn")
	if parts := strings.SplitN(arn, ":", 6); len(parts) != 6 || parts[2] != "acm" && parts[2] != "iam" || parts[2] == "acm" && parts[3] != tx.Region() {
		return invalid("Certificate ARN '%s' is not valid", arn)
	}
	c := tx.Get("AWS::CertificateManager::Certificate", arn)
	if c == nil {
		return account.Errorf("CertificateNotFound", "Certificate '%s' not found", arn)
	}
	if c.Status != "ISSUED" {
		return account.Errorf("UnsupportedCertificate", "The certificate '%s' must have a fully-qualified domain name, a supported signature, and a supported key size.", arn)
	}
	return nil
}

var routing = []string{"forward", "redirect", "fixed-response"}

// checkActions wants at most one authentication and then one action that
// routes, in order.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Action.html
func checkActions(tx *account.Tx, lb *account.Resource, protocol string, actions []map[string]any) error {
	if len(actions) == 0 {
		return invalid("At least one action must be specified")
	}
	orders := map[int]bool{}
	ordered := slices.Clone(actions)
	for _, a := range actions {
		order := props.Int(a, 0, "Order")
		if len(actions) > 1 && (order < 1 || order > 50000) {
			return invalid("You must specify an action order from 1 to 50000 when there are multiple actions")
		}
		if order != 0 && orders[order] {
			return invalid("Action orders must be unique: '%d'", order)
		}
		orders[order] = true
	}
	slices.SortStableFunc(ordered, func(a, b map[string]any) int { return props.Int(a, 0, "Order") - props.Int(b, 0, "Order") })
	for i, a := range ordered {
		kind := props.Str(a, "Type")
		routes, last := slices.Contains(routing, kind), i == len(ordered)-1
		switch {
		case kind == "authenticate-oidc" && protocol != "HTTPS":
			return action("Actions of type 'authenticate-oidc' are supported only on HTTPS listeners")
		case !routes && kind != "authenticate-oidc":
			return account.NotModelled("Action type '%s' is not modelled by the sandbox", kind)
		case routes && !last || !routes && last:
			return action("The last action must be one of '%s', and there must be exactly one of them", strings.Join(routing, ", "))
		case !routes && i > 0:
			return action("There can be only one authentication action")
		}
		if err := checkAction(tx, lb, kind, a); err != nil {
			return err
		}
	}
	return nil
}

func checkAction(tx *account.Tx, lb *account.Resource, kind string, a map[string]any) error {
	switch kind {
	case "forward":
		return checkForward(tx, lb, a)
	case "redirect":
		return checkRedirect(props.Map(a, "RedirectConfig"))
	case "fixed-response":
		c := props.Map(a, "FixedResponseConfig")
		if s := props.Str(c, "StatusCode"); len(s) != 3 || !strings.Contains("245", s[:1]) {
			return invalid("Fixed response status code '%s' must match '2XX, 4XX, 5XX'", s)
		}
		if t := props.Str(c, "ContentType"); t != "" && !slices.Contains([]string{"text/plain", "text/css", "text/html", "application/javascript", "application/json"}, t) {
			return invalid("Fixed response content type '%s' is not valid", t)
		}
		if len(props.Str(c, "MessageBody")) > 1024 {
			return invalid("Fixed response message body cannot be longer than 1024 characters")
		}
		return nil
	}
	return checkOIDC(props.Map(a, "AuthenticateOidcConfig"))
}

func checkForward(tx *account.Tx, lb *account.Resource, a map[string]any) error {
	arns := forwarded([]map[string]any{a})
	if len(arns) == 0 {
		return invalid("A target group ARN must be specified")
	}
	if len(arns) > 5 {
		return invalid("A forward action can have up to 5 target groups")
	}
	for _, arn := range arns {
		g := tx.Get(TypeTargetGroup, arn)
		if g == nil {
			return account.Errorf("TargetGroupNotFound", "One or more target groups not found: '%s'", arn)
		}
		if props.Str(g.Props, "VpcId") != props.Str(lb.Data, "vpc") {
			return configuration("The target group '%s' is not in the VPC '%s' of the load balancer", arn, props.Str(lb.Data, "vpc"))
		}
		if slices.ContainsFunc(usersOf(tx, arn), func(u string) bool { return u != lb.ID }) {
			return account.Errorf("TargetGroupAssociationLimit", "The following target groups cannot be associated with more than one load balancer: %s", arn)
		}
	}
	return nil
}

func checkRedirect(c map[string]any) error {
	if s := props.Str(c, "StatusCode"); s != "HTTP_301" && s != "HTTP_302" {
		return invalid("Redirect status code '%s' must be one of 'HTTP_301, HTTP_302'", s)
	}
	same := func(key, own string) bool { v := props.Str(c, key); return v == "" || v == own }
	if same("Protocol", "#{protocol}") && same("Host", "#{host}") && same("Port", "#{port}") && same("Path", "/#{path}") {
		return action("The RedirectConfig is not valid because it creates a loop")
	}
	return nil
}

// checkOIDC checks single sign-on at the listener.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func checkOIDC(c map[string]any) error {
	for _, k := range []string{"Issuer", "AuthorizationEndpoint", "TokenEndpoint", "UserInfoEndpoint"} {
		u, err := url.Parse(props.Str(c, k))
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return action("The %s '%s' must be a full URL that includes the HTTPS protocol, the domain, and the path", k, props.Str(c, k))
		}
	}
	if props.Str(c, "ClientId") == "" {
		return action("A client ID must be specified for actions of type 'authenticate-oidc'")
	}
	if props.Str(c, "ClientSecret") == "" && !props.Bool(c, false, "UseExistingClientSecret") {
		return action("A client secret must be specified for actions of type 'authenticate-oidc'")
	}
	if v := props.Str(c, "OnUnauthenticatedRequest"); v != "" && !slices.Contains([]string{"deny", "allow", "authenticate"}, v) {
		return action("OnUnauthenticatedRequest '%s' must be one of 'deny, allow, authenticate'", v)
	}
	if t := props.Int(c, 604800, "SessionTimeout"); t < 1 || t > 604800 {
		return action("The session timeout must be between 1 and 604800 seconds")
	}
	return nil
}

func ruleType() *account.Type {
	return &account.Type{
		Name: TypeListenerRule, Latency: "elbv2:rule",
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := checkRule(tx, "", r.Props); err != nil {
				return err
			}
			arn := props.Str(r.Props, "ListenerArn")
			r.ID = strings.Replace(arn, ":listener/", ":listener-rule/", 1) + "/" + hexID(tx)
			r.Attrs = map[string]any{"RuleArn": r.ID, "IsDefault": false}
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkRule(tx, r.ID, next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Settle: func(tx *account.Tx, _ *account.Resource, _ string) error {
			connect(tx)
			return nil
		},
		Gone: func(tx *account.Tx, _ *account.Resource) { connect(tx) },
	}
}

// rules lists the rules of a listener by priority.
func rules(tx *account.Tx, listener string) []*account.Resource {
	var out []*account.Resource
	for _, r := range tx.List(TypeListenerRule) {
		if props.Str(r.Props, "ListenerArn") == listener {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *account.Resource) int {
		return props.Int(a.Props, 0, "Priority") - props.Int(b.Props, 0, "Priority")
	})
	return out
}

func dropRules(tx *account.Tx, listener string) {
	for _, r := range rules(tx, listener) {
		tx.Drop(TypeListenerRule, r.ID)
	}
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
const mostValues = 5 // of a rule's conditions

// conditions are the fields of conditions with the member that holds their
// values and the longest value.
var conditions = map[string]struct {
	config  string
	longest int
}{
	"host-header": {"HostHeaderConfig", 128}, "path-pattern": {"PathPatternConfig", 128}, "http-header": {"HttpHeaderConfig", 128},
	"http-request-method": {"HttpRequestMethodConfig", 40}, "query-string": {"QueryStringConfig", 128}, "source-ip": {"SourceIpConfig", 64},
}

func checkRule(tx *account.Tx, own string, p map[string]any) error {
	l := tx.Get(TypeListener, props.Str(p, "ListenerArn"))
	if l == nil {
		return account.Errorf("ListenerNotFound", "One or more listeners not found: '%s'", props.Str(p, "ListenerArn"))
	}
	lb, err := FindLoadBalancer(tx, props.Str(l.Props, "LoadBalancerArn"))
	if err != nil {
		return err
	}
	priority := props.Int(p, 0, "Priority")
	if priority < 1 || priority > 50000 {
		return invalid("The rule priority '%s' must be between 1 and 50000 inclusive", props.Str(p, "Priority"))
	}
	for _, o := range rules(tx, l.ID) {
		if o.ID != own && props.Int(o.Props, 0, "Priority") == priority {
			return account.Errorf("PriorityInUse", "Priority '%d' is currently in use", priority)
		}
	}
	count := 0
	for _, x := range listeners(tx, lb.ID) {
		count += len(rules(tx, x.ID))
	}
	if own == "" {
		if err := quota.ListenerRules.Check(tx, count); err != nil {
			return err
		}
	}
	if err := checkConditions(props.Maps(p, "Conditions")); err != nil {
		return err
	}
	return checkActions(tx, lb, props.Str(l.Props, "Protocol"), props.Maps(p, "Actions"))
}

func checkConditions(list []map[string]any) error {
	if len(list) == 0 {
		return invalid("At least one condition must be specified")
	}
	values := 0
	for _, c := range list {
		field := props.Str(c, "Field")
		k, ok := conditions[field]
		if !ok {
			return invalid("Condition field '%s' must be one of '[path-pattern, host-header, http-header, http-request-method, query-string, source-ip]'", field)
		}
		given := props.List(c, "Values")
		given = append(given[:len(given):len(given)], props.List(c, k.config, "Values")...)
		if len(given) == 0 {
			return invalid("A condition value must be specified")
		}
		for _, v := range given {
			if s := props.Str(v); len(s) > k.longest {
				return invalid("Condition value '%s' for '%s' cannot contain more than %d characters", s, field, k.longest)
			}
		}
		values += len(given)
	}
	if values > mostValues {
		return account.Errorf("ValidationError", "Up to '%d' condition values can be specified for a rule, but '%d' were specified", mostValues, values)
	}
	return nil
}
