package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/elbv2"
	"github.com/poolhouse/poolhouse/cfn/route53"
	"github.com/poolhouse/poolhouse/config"
)

// HealthCheckParameter, in the stack edge, is the path at which load balancers
// ask pods for their health. The default is ours: the vendor publishes none.
const HealthCheckParameter = "HealthCheckPath"

// The rule for TLS at listeners: 1.2 and 1.3, with post-quantum key exchange
// for clients that know it.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
const tlsPolicy = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"

// edge is the ways in: a load balancer for web users and API clients, another
// for administrators, and what stands before and behind them. TLS goes on to
// the pods. What no rule names is answered with 404.
//
// Load balancers and target groups aren't named, since a change of the scheme
// replaces them: both, as a target group serves one load balancer only, and the
// new one stands before the old one goes.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
func edge(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Edge)
	access := a.Config.Access
	e := edgeStack{a: a, t: t, protection: protection(t)}
	e.health = t.Parameter(HealthCheckParameter, cfn.Parameter{
		Default:        cfn.V("/healthz"),
		AllowedPattern: "/[!-~]*",
		Description:    "Path that pods answer with 200 when they are healthy",
	}).Ref()

	web := e.balancer("Web", "web", access.Web.Scheme, groupWeb)
	admin := e.balancer("Admin", "admin", access.Admin.Scheme, groupAdmin)

	// API clients bring tokens of their own, which the application checks:
	// they couldn't follow the provider's redirects.
	e.rule(web, "Api", "api", access.API.Host, 10, nil)
	e.rule(web, "Web", "web", access.Web.Host, 20, e.signOn(access.SSO.Web, "web"))
	e.rule(admin, "Admin", "admin", access.Admin.Host, 10, e.signOn(access.SSO.Admin, "admin"))

	if access.SSO.Enabled {
		for id, c := range map[string]config.Client{"Web": access.SSO.Web, "Admin": access.SSO.Admin} {
			t.Output(id+"ClientSecretArn", cfn.V(c.SecretARN), cfn.Description("Secret of yours with the client's secret"))
		}
	}

	e.record("Web", access.Web.Host, web)
	e.record("Api", access.API.Host, web)
	e.record("Admin", access.Admin.Host, admin)
	if a.Config.WAF.Enabled {
		e.firewall(web, admin)
	}
	return t
}

type edgeStack struct {
	a          *architecture.Architecture
	t          *cfn.Template
	protection cfn.Value[bool]
	health     cfn.Value[string]
}

// balancer is a load balancer with its listeners.
type balancer struct {
	handle, https cfn.Handle
	scheme        string
}

func (e edgeStack) balancer(id, part, scheme string, g group) balancer {
	t := e.t
	attribute := func(key string, value cfn.Value[string]) elbv2.LoadBalancerAttribute {
		return elbv2.LoadBalancerAttribute{Key: cfn.V(key), Value: value}
	}
	lb := t.Add(cfn.LogicalID(id+"LoadBalancer"), elbv2.LoadBalancer{
		Type:           cfn.V("application"),
		Scheme:         cfn.V(scheme),
		IpAddressType:  cfn.V("ipv4"),
		Subnets:        subnetIDs(t, architecture.LoadBalancerTier(scheme)),
		SecurityGroups: cfn.ListOf(securityGroupID(t, g)),
		LoadBalancerAttributes: []elbv2.LoadBalancerAttribute{
			attribute("access_logs.s3.enabled", cfn.V("true")),
			attribute("access_logs.s3.bucket", bucketName(t, architecture.BucketLogs)),
			attribute("access_logs.s3.prefix", cfn.V(loadBalancerLogPrefix+"/"+part)),
			attribute("deletion_protection.enabled", cfn.String(e.protection)),
			attribute("idle_timeout.timeout_seconds", cfn.V("600")), // answers stream
			attribute("routing.http.desync_mitigation_mode", cfn.V("defensive")),
			attribute("routing.http.drop_invalid_header_fields.enabled", cfn.V("true")),
		},
		Tags: named(e.a, part),
	})
	t.Add(cfn.LogicalID(id+"HttpListener"), elbv2.Listener{
		LoadBalancerArn: lb.Ref(),
		Port:            cfn.V(80),
		Protocol:        cfn.V("HTTP"),
		DefaultActions: []elbv2.ListenerAction{{
			Type: cfn.V("redirect"),
			RedirectConfig: &elbv2.RedirectConfig{
				Protocol:   cfn.V("HTTPS"),
				Port:       cfn.V("443"),
				StatusCode: cfn.V("HTTP_301"),
			},
		}},
	})
	https := t.Add(cfn.LogicalID(id+"HttpsListener"), elbv2.Listener{
		LoadBalancerArn: lb.Ref(),
		Port:            cfn.V(443),
		Protocol:        cfn.V("HTTPS"),
		SslPolicy:       cfn.V(tlsPolicy),
		Certificates:    []elbv2.Certificate{{CertificateArn: certificateARN(e.a, t)}},
		DefaultActions: []elbv2.ListenerAction{{
			Type: cfn.V("fixed-response"),
			FixedResponseConfig: &elbv2.FixedResponseConfig{
				StatusCode:  cfn.V("404"),
				ContentType: cfn.V("text/plain"),
				MessageBody: cfn.V("not found"),
			},
		}},
	})
	t.Output(id+"LoadBalancerArn", lb.Ref())
	t.Output(id+"LoadBalancerDnsName", lb.Att("DNSName"))
	return balancer{lb, https, scheme}
}

// signOn is single sign-on at a listener. The client's secret is read by
// CloudFormation when it makes the rule, and is in no template.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func (e edgeStack) signOn(c config.Client, part string) *elbv2.ListenerRuleAuthenticateOidcConfig {
	sso := e.a.Config.Access.SSO
	if !sso.Enabled {
		return nil
	}
	return &elbv2.ListenerRuleAuthenticateOidcConfig{
		Issuer:                   cfn.V(sso.Issuer),
		AuthorizationEndpoint:    cfn.V(sso.AuthorizationEndpoint),
		TokenEndpoint:            cfn.V(sso.TokenEndpoint),
		UserInfoEndpoint:         cfn.V(sso.UserInfoEndpoint),
		ClientId:                 cfn.V(c.ClientID),
		ClientSecret:             cfn.V("{{resolve:secretsmanager:" + c.SecretARN + ":SecretString:client_secret}}"),
		Scope:                    cfn.V("openid email profile"),
		OnUnauthenticatedRequest: cfn.V("authenticate"),
		SessionCookieName:        cfn.V("poolhouse-" + part),
		SessionTimeout:           cfn.V(12 * 60 * 60), // a working day
	}
}

// rule sends a host's requests to a target group of its own, after sign-on if
// there is one. Targets are pods, which the load balancer controller registers
// by bindings.
func (e edgeStack) rule(b balancer, id, part, host string, priority int, signOn *elbv2.ListenerRuleAuthenticateOidcConfig) {
	attribute := func(key, value string) elbv2.TargetGroupAttribute {
		return elbv2.TargetGroupAttribute{Key: cfn.V(key), Value: cfn.V(value)}
	}
	group := id
	if b.scheme == config.SchemeInternal {
		group += "Internal"
	}
	targets := e.t.Add(cfn.LogicalID(group+"TargetGroup"), elbv2.TargetGroup{
		TargetType:                 cfn.V("ip"),
		Protocol:                   cfn.V("HTTPS"),
		ProtocolVersion:            cfn.V("HTTP1"),
		Port:                       cfn.V(architecture.PodPort),
		VpcId:                      vpcID(e.t),
		HealthCheckEnabled:         cfn.V(true),
		HealthCheckProtocol:        cfn.V("HTTPS"),
		HealthCheckPath:            e.health,
		HealthCheckIntervalSeconds: cfn.V(15),
		HealthCheckTimeoutSeconds:  cfn.V(5),
		HealthyThresholdCount:      cfn.V(2),
		UnhealthyThresholdCount:    cfn.V(3),
		Matcher:                    &elbv2.Matcher{HttpCode: cfn.V("200")},
		TargetGroupAttributes: []elbv2.TargetGroupAttribute{
			attribute("deregistration_delay.timeout_seconds", "120"),
			attribute("load_balancing.algorithm.type", "least_outstanding_requests"),
		},
		Tags: named(e.a, part),
	})
	var actions []elbv2.ListenerRuleAction
	if signOn != nil {
		actions = append(actions, elbv2.ListenerRuleAction{Type: cfn.V("authenticate-oidc"), Order: cfn.V(1), AuthenticateOidcConfig: signOn})
		e.t.Output(id+"RedirectUri", cfn.V("https://"+host+"/oauth2/idpresponse"), cfn.Description("To be allowed for the client at the identity provider"))
	}
	actions = append(actions, elbv2.ListenerRuleAction{Type: cfn.V("forward"), Order: cfn.V(len(actions) + 1), TargetGroupArn: targets.Ref()})
	e.t.Add(cfn.LogicalID(id+"Rule"), elbv2.ListenerRule{
		ListenerArn: b.https.Ref(),
		Priority:    cfn.V(priority),
		Conditions: []elbv2.RuleCondition{{
			Field:            cfn.V("host-header"),
			HostHeaderConfig: &elbv2.HostHeaderConfig{Values: cfn.L(host)},
		}},
		Actions: actions,
	})
	e.t.Output(id+"TargetGroupArn", targets.Ref())
	e.t.Output(id+"Url", cfn.V("https://"+host))
}

// record is a host's alias record, or when DNS is the enterprise's, the record
// to make there.
func (e edgeStack) record(id, host string, b balancer) {
	zone := hostedZoneID(e.a, e.t)
	if zone.IsZero() {
		e.t.Output(id+"Record", cfn.Join(" ", cfn.V(host), cfn.V("CNAME"), b.handle.Att("DNSName")),
			cfn.Description("To be made in your DNS"))
		return
	}
	e.t.Add(cfn.LogicalID(id+"Record"), route53.RecordSet{
		HostedZoneId: zone,
		Name:         cfn.V(host),
		Type:         cfn.V("A"),
		AliasTarget: &route53.AliasTarget{
			DNSName:              b.handle.Att("DNSName"),
			HostedZoneId:         b.handle.Att("CanonicalHostedZoneID"),
			EvaluateTargetHealth: cfn.V(false),
		},
	})
}
