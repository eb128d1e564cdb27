package elbv2

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/rule"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/route53"
)

// View is what carries traffic, as the account says it at one moment: values
// that hang on nothing of the account.
type View struct {
	AccountID, Region string
	Balancers         []Balancer
	Groups            map[string]Group // by ARN
}

// Balancer is an active load balancer.
type Balancer struct {
	ARN string
	// ID is the resource id in logs: app/NAME/0123456789abcdef.
	ID string
	// Names are the names that lead to it: its own, aliases and CNAME records of
	// hosted zones, and those host headers of its rules that no zone of the
	// account holds, since their DNS is somebody else's.
	Names []string
	// Address is that of one of its nodes, public if it faces the internet.
	Address     string
	IdleTimeout time.Duration
	HTTP2       bool
	// DropInvalid removes headers whose names are none; PreserveHost and
	// ClientPort are the attributes of their names; Forwarded is append, preserve
	// or remove, for X-Forwarded-For.
	DropInvalid, PreserveHost, ClientPort bool
	Forwarded                             string
	// LogBucket is empty if nothing is logged.
	LogBucket, LogPrefix string
	Listeners            []Listener
}

// Listener is a port of a load balancer.
type Listener struct {
	ARN   string
	Port  int
	HTTPS bool
	// Versions are the versions of TLS that its policy lets in.
	Versions []string
	// Certificates are offered by server name; the first is the default.
	Certificates []Certificate
	// Rules are in order; the last one is the default, with priority 0, and has
	// no conditions.
	Rules []Rule
	// Headers are set in answers, by the listener's attributes; Server tells that
	// answers of the load balancer itself carry its name.
	Headers map[string]string
	Server  bool
	// Sources are whom the security groups let in.
	Sources []netip.Prefix
}

// Certificate is one of a listener.
type Certificate struct {
	ARN   string
	Names []string
}

// Rule is what is done with requests that meet all conditions.
type Rule struct {
	Priority   int
	Conditions []Condition
	Actions    []Action // in order
}

// Condition is met by one of its values.
type Condition struct {
	// Field is host-header, path-pattern, http-header, http-request-method,
	// query-string or source-ip.
	Field string
	// Header is the name of the header that http-header looks at.
	Header string
	// Values may have * and ?; those of query-string are "key=value" or "value".
	Values []string
}

// Action is one of a rule; the member of its type is set.
type Action struct {
	Type          string
	Forward       []Weight
	Redirect      *Redirect
	FixedResponse *FixedResponse
	OIDC          *OIDC
	// Unmodelled names what of it the sandbox has no behaviour for, or is empty.
	Unmodelled string
}

// Weight is a target group with its share.
type Weight struct {
	Group  string
	Weight int
}

// Redirect is a redirect action, placeholders and all.
type Redirect struct {
	Protocol, Port, Host, Path, Query string
	Status                            int
}

// FixedResponse is a fixed-response action.
type FixedResponse struct {
	Status            int
	ContentType, Body string
}

// OIDC is an authenticate-oidc action.
type OIDC struct {
	Issuer, AuthorizationEndpoint, TokenEndpoint, UserInfoEndpoint string
	ClientID, ClientSecret, Scope, Cookie, OnUnauthenticated       string
	Timeout                                                        time.Duration
	Extra                                                          map[string]string
}

// Group is a target group.
type Group struct {
	ARN               string
	HTTPS             bool
	LeastOutstanding  bool
	Health            HealthCheck
	Deregistration    time.Duration
	Targets           []Target
	Used              bool
	Unmodelled        string
	RequestProtocol   string // HTTP1, HTTP2, GRPC
	HealthCheckedPort string
}

// GroupName is the name in a target group's ARN.
func GroupName(arn string) string {
	_, name, _ := strings.Cut(arn, ":targetgroup/")
	name, _, _ = strings.Cut(name, "/")
	return name
}

// HealthCheck is a target group's.
type HealthCheck struct {
	HTTPS              bool
	Path               string
	Interval, Timeout  time.Duration
	Healthy, Unhealthy int
	Codes              string // "200", "200-299,301"
}

// Target is a registered one.
type Target struct {
	ID   string
	Port int
	// Address is where it is in the VPC.
	Address string
}

// Key is the target's identity in its group.
func (t Target) Key() string { return t.ID + ":" + strconv.Itoa(t.Port) }

// Look returns the view of an account.
func Look(tx *account.Tx) View {
	v := View{AccountID: tx.AccountID(), Region: tx.Region(), Groups: map[string]Group{}}
	for _, lb := range tx.List(TypeLoadBalancer) {
		if lb.Status == "active" || lb.Status == "DELETE_FAILED" {
			v.Balancers = append(v.Balancers, balancerView(tx, lb))
		}
	}
	for _, g := range tx.List(TypeTargetGroup) {
		v.Groups[g.ID] = groupView(tx, g)
	}
	return v
}

func balancerView(tx *account.Tx, lb *account.Resource) Balancer {
	a := loadBalancerAttributes(lb.Props)
	idle, _ := strconv.Atoi(a["idle_timeout.timeout_seconds"])
	b := Balancer{
		ARN: lb.ID, ID: props.Str(lb.Attrs, "LoadBalancerFullName"), IdleTimeout: time.Duration(idle) * time.Second,
		HTTP2: a["routing.http2.enabled"] == "true", DropInvalid: a["routing.http.drop_invalid_header_fields.enabled"] == "true",
		PreserveHost: a["routing.http.preserve_host_header.enabled"] == "true", ClientPort: a["routing.http.xff_client_port.enabled"] == "true",
		Forwarded: a["routing.http.xff_header_processing.mode"],
	}
	if a["access_logs.s3.enabled"] == "true" {
		b.LogBucket, b.LogPrefix = a["access_logs.s3.bucket"], a["access_logs.s3.prefix"]
	}
	for _, face := range ec2.InterfacesOf(tx, lb.ID) {
		b.Address = cmp.Or(ec2.PublicIP(tx, face), props.Str(face.Attrs, "PrimaryPrivateIpAddress"))
		break
	}
	for _, l := range listeners(tx, lb.ID) {
		b.Listeners = append(b.Listeners, listenerView(tx, lb, l))
	}
	b.Names = namesOf(tx, lb, b.Listeners)
	return b
}

// namesOf are the names that lead to a load balancer.
func namesOf(tx *account.Tx, lb *account.Resource, list []Listener) []string {
	own := plainName(props.Str(lb.Attrs, "DNSName"))
	names := []string{own}
	for _, r := range tx.List(route53.TypeRecordSet) {
		targets := []string{props.Str(r.Props, "AliasTarget", "DNSName")}
		if props.Str(r.Props, "Type") == "CNAME" {
			targets = props.Strs(r.Props, "ResourceRecords")
		}
		if slices.ContainsFunc(targets, func(t string) bool { return strings.TrimPrefix(plainName(t), "dualstack.") == own }) {
			names = append(names, plainName(props.Str(r.Props, "Name")))
		}
	}
	held := func(name string) bool {
		return tx.Find(route53.TypeHostedZone, func(z *account.Resource) bool {
			d := strings.TrimSuffix(route53.Domain(z), ".")
			return name == d || strings.HasSuffix(name, "."+d)
		}) != nil
	}
	for _, l := range list {
		for _, r := range l.Rules {
			for _, c := range r.Conditions {
				for _, name := range c.Values {
					if name = plainName(name); c.Field == "host-header" && !strings.ContainsAny(name, "*?") && !held(name) {
						names = append(names, name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// plainName is a DNS name in lower case without its final dot.
func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

func listenerView(tx *account.Tx, lb, l *account.Resource) Listener {
	p := l.Props
	v := Listener{ARN: l.ID, Port: props.Int(p, 0, "Port"), HTTPS: props.Str(p, "Protocol") == "HTTPS", Headers: map[string]string{}}
	if v.HTTPS {
		for _, version := range protocols(cmp.Or(props.Str(p, "SslPolicy"), defaultPolicy)) {
			v.Versions = append(v.Versions, props.Str(version))
		}
		for _, c := range props.Maps(p, "Certificates") {
			arn := props.Str(c, "CertificateArn")
			if r := tx.Get("AWS::CertificateManager::Certificate", arn); r != nil {
				v.Certificates = append(v.Certificates, Certificate{arn, append([]string{props.Str(r.Props, "DomainName")}, props.Strs(r.Props, "SubjectAlternativeNames")...)})
			}
		}
	}
	for k, value := range attributes(listenerAttributes, props.Maps(p, "ListenerAttributes")) {
		if k == "routing.http.response.server.enabled" {
			v.Server = value == "true"
		} else if name, ok := strings.CutPrefix(k, "routing.http.response."); ok && value != "" {
			name, _, _ = strings.Cut(name, ".")
			v.Headers[strings.ReplaceAll(name, "_", "-")] = value
		}
	}
	for _, r := range rules(tx, l.ID) {
		v.Rules = append(v.Rules, Rule{Priority: props.Int(r.Props, 0, "Priority"), Conditions: conditionsView(props.Maps(r.Props, "Conditions")), Actions: actionsView(props.Maps(r.Props, "Actions"))})
	}
	v.Rules = append(v.Rules, Rule{Actions: actionsView(props.Maps(p, "DefaultActions"))})
	for _, g := range props.Strs(lb.Attrs, "SecurityGroups") {
		v.Sources = append(v.Sources, sources(tx, g, v.Port)...)
	}
	return v
}

// sources are the ranges that a security group lets in at a port.
func sources(tx *account.Tx, group string, port int) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range ec2.Rules(tx, group) {
		if r.Type != ec2.TypeSecurityGroupIngress {
			continue
		}
		switch rule.Protocol(props.Str(r.Props, "IpProtocol")) {
		case "-1":
		case "tcp":
			if port < props.Int(r.Props, 0, "FromPort") || port > props.Int(r.Props, 65535, "ToPort") {
				continue
			}
		default:
			continue
		}
		if p, err := netip.ParsePrefix(rule.CIDR(r.Props)); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func conditionsView(list []map[string]any) []Condition {
	var out []Condition
	for _, c := range list {
		field := props.Str(c, "Field")
		config := props.Map(c, conditions[field].config)
		v := Condition{Field: field, Header: props.Str(config, "HttpHeaderName"), Values: props.Strs(c, "Values")}
		if field == "query-string" {
			for _, kv := range props.Maps(config, "Values") {
				s := props.Str(kv, "Value")
				if k := props.Str(kv, "Key"); k != "" {
					s = k + "=" + s
				}
				v.Values = append(v.Values, s)
			}
		} else {
			v.Values = append(v.Values, props.Strs(config, "Values")...)
		}
		out = append(out, v)
	}
	return out
}

func actionsView(list []map[string]any) []Action {
	ordered := slices.Clone(list)
	slices.SortStableFunc(ordered, func(a, b map[string]any) int { return props.Int(a, 0, "Order") - props.Int(b, 0, "Order") })
	var out []Action
	for _, a := range ordered {
		out = append(out, actionView(a))
	}
	return out
}

func actionView(a map[string]any) Action {
	v := Action{Type: props.Str(a, "Type")}
	switch v.Type {
	case "forward":
		for _, g := range props.Maps(a, "ForwardConfig", "TargetGroups") {
			v.Forward = append(v.Forward, Weight{props.Str(g, "TargetGroupArn"), props.Int(g, 1, "Weight")})
		}
		if len(v.Forward) == 0 {
			v.Forward = []Weight{{props.Str(a, "TargetGroupArn"), 1}}
		}
		if props.Bool(a, false, "ForwardConfig", "TargetGroupStickinessConfig", "Enabled") {
			v.Unmodelled = "stickiness of target groups"
		}
	case "redirect":
		c := props.Map(a, "RedirectConfig")
		v.Redirect = &Redirect{
			Protocol: cmp.Or(props.Str(c, "Protocol"), "#{protocol}"), Port: cmp.Or(props.Str(c, "Port"), "#{port}"), Host: cmp.Or(props.Str(c, "Host"), "#{host}"),
			Path: cmp.Or(props.Str(c, "Path"), "/#{path}"), Query: cmp.Or(props.Str(c, "Query"), "#{query}"), Status: 302,
		}
		if props.Str(c, "StatusCode") == "HTTP_301" {
			v.Redirect.Status = 301
		}
	case "fixed-response":
		c := props.Map(a, "FixedResponseConfig")
		v.FixedResponse = &FixedResponse{Status: props.Int(c, 200, "StatusCode"), ContentType: props.Str(c, "ContentType"), Body: props.Str(c, "MessageBody")}
	case "authenticate-oidc":
		c := props.Map(a, "AuthenticateOidcConfig")
		v.OIDC = &OIDC{
			Issuer: props.Str(c, "Issuer"), AuthorizationEndpoint: props.Str(c, "AuthorizationEndpoint"), TokenEndpoint: props.Str(c, "TokenEndpoint"), UserInfoEndpoint: props.Str(c, "UserInfoEndpoint"),
			ClientID: props.Str(c, "ClientId"), ClientSecret: props.Str(c, "ClientSecret"), Scope: cmp.Or(props.Str(c, "Scope"), "openid"), Cookie: cmp.Or(props.Str(c, "SessionCookieName"), "AWSELBAuthSessionCookie"),
			OnUnauthenticated: cmp.Or(props.Str(c, "OnUnauthenticatedRequest"), "authenticate"), Timeout: time.Duration(props.Int(c, 604800, "SessionTimeout")) * time.Second, Extra: map[string]string{},
		}
		for k, value := range props.Map(c, "AuthenticationRequestExtraParams") {
			v.OIDC.Extra[k] = props.Str(value)
		}
	default:
		v.Unmodelled = "action " + v.Type
	}
	return v
}

func groupView(tx *account.Tx, g *account.Resource) Group {
	p, a := g.Props, attributes(knownOfGroups, props.Maps(g.Props, "TargetGroupAttributes"))
	delay, _ := strconv.Atoi(a["deregistration_delay.timeout_seconds"])
	seconds := func(otherwise int, key string) time.Duration {
		return time.Duration(props.Int(p, otherwise, key)) * time.Second
	}
	v := Group{
		ARN: g.ID, HTTPS: props.Str(p, "Protocol") == "HTTPS", LeastOutstanding: a["load_balancing.algorithm.type"] == "least_outstanding_requests",
		Deregistration: time.Duration(delay) * time.Second, Used: len(usersOf(tx, g.ID)) > 0, RequestProtocol: cmp.Or(props.Str(p, "ProtocolVersion"), "HTTP1"),
		HealthCheckedPort: cmp.Or(props.Str(p, "HealthCheckPort"), "traffic-port"),
		Health: HealthCheck{
			HTTPS: props.Str(p, "HealthCheckProtocol") == "HTTPS", Path: cmp.Or(props.Str(p, "HealthCheckPath"), "/"),
			Interval: seconds(30, "HealthCheckIntervalSeconds"), Timeout: seconds(5, "HealthCheckTimeoutSeconds"),
			Healthy: props.Int(p, 5, "HealthyThresholdCount"), Unhealthy: props.Int(p, 2, "UnhealthyThresholdCount"), Codes: cmp.Or(props.Str(p, "Matcher", "HttpCode"), "200"),
		},
	}
	switch {
	case v.RequestProtocol != "HTTP1":
		v.Unmodelled = "protocol version " + v.RequestProtocol
	case a["stickiness.enabled"] == "true":
		v.Unmodelled = "stickiness of targets"
	case a["load_balancing.algorithm.type"] == "weighted_random":
		v.Unmodelled = "algorithm weighted_random"
	}
	for _, t := range props.Maps(g.Data, "targets") {
		x := Target{ID: props.Str(t, "Id"), Port: props.Int(t, props.Int(p, 0, "Port"), "Port")}
		x.Address = x.ID
		if i := tx.Get(ec2.TypeInstance, x.ID); i != nil {
			x.Address = props.Str(i.Attrs, "PrivateIp")
		}
		v.Targets = append(v.Targets, x)
	}
	return v
}
