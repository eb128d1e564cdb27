package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// edgePolicy is a listener's policy for TLS.
func edgePolicy(l *account.Look, name string) (*elbtypes.SslPolicy, error) {
	return account.Facts[edgeFacts](l).edgePolicyFacts.Get(name, func() (*elbtypes.SslPolicy, error) {
		got, err := l.AWS.ELB.DescribeSSLPolicies(l.Ctx, &elb.DescribeSSLPoliciesInput{
			Names: []string{name}, LoadBalancerType: elbtypes.LoadBalancerTypeEnumApplication,
		})
		if err != nil {
			return nil, fmt.Errorf("read the policy %s: %w", name, err)
		}
		if len(got.SslPolicies) == 0 {
			return nil, fmt.Errorf("read the policy %s: there is none of this name", name)
		}
		return &got.SslPolicies[0], nil
	})
}

// signOn is the action of a rule that asks for single sign-on, or nil.
func signOn(actions []elbtypes.Action) *elbtypes.AuthenticateOidcActionConfig {
	for _, a := range actions {
		if a.Type == elbtypes.ActionTypeEnumAuthenticateOidc {
			return a.AuthenticateOidcConfig
		}
	}
	return nil
}

// actionTypes name what a rule does, in order.
func actionTypes(actions []elbtypes.Action) string {
	var out []string
	for _, a := range actions {
		out = append(out, string(a.Type))
	}
	return strings.Join(out, ", then ")
}

const (
	apiListeners = "elasticloadbalancing:DescribeListeners"
	apiRules     = "elasticloadbalancing:DescribeRules"
	apiGroups    = "elasticloadbalancing:DescribeTargetGroups"
)

func listenerChecks() []check.Check {
	sso := func(part, client string) check.Check {
		return check.Check{
			ID: "sso-" + part, Proves: "Every request of " + client + " passes single sign-on at the listener, with the client that is configured.",
			Level: check.Required, Rows: []string{"C6", "S2", "B24"},
			Run: func(l *account.Look, r *check.Recorder) error { return ssoPart(l, r, part) },
		}
	}
	return []check.Check{
		{
			ID: "lb-listeners", Proves: "Each load balancer listens with TLS on 443 and without it on 80, and on no other port.",
			Level: check.Required, Rows: []string{"C5", "S5"}, Run: lbListeners,
		},
		{
			ID: "lb-tls-policy", Proves: "Listeners speak TLS 1.2 and 1.3 only.",
			Level: check.Required, Rows: []string{"S5", "B16"}, Run: lbTLS,
		},
		{
			ID: "lb-redirect", Proves: "What comes without TLS is redirected to TLS, whatever it asks for.",
			Level: check.Required, Rows: []string{"S5", "B17"}, Run: lbRedirect,
		},
		{
			ID: "lb-default-closed", Proves: "A request to no known host reaches no pod.",
			Level: check.Required, Rows: []string{"S3", "B24"}, Run: lbDefault,
		},
		{
			ID: "lb-targets-tls", Proves: "TLS goes on from the load balancer to the pods, for requests and health checks.",
			Level: check.Required, Rows: []string{"S5", "B18"}, Run: lbTargetsTLS,
		},
		{
			ID: "lb-targets-pods", Proves: "Targets are pods of this network, at the port that security groups let through.",
			Level: check.Required, Rows: []string{"C5", "S3"}, Run: lbTargetsPods,
		},
		{
			ID: "host-rules", Proves: "The hosts of web users, API clients and administrators are routed by name, and no others.",
			Level: check.Required, Rows: []string{"C5", "B22"}, Run: hostRules,
		},
		{
			ID: "admin-path-apart", Proves: "No request to the web load balancer reaches the pods that serve administrators, and none to the other one those that serve users.",
			Level: check.Required, Rows: []string{"C5", "B22"}, Run: adminApart,
		},
		sso("web", "web users"),
		sso("admin", "administrators"),
		{
			ID: "sso-provider", Proves: "Listeners send users to the configured identity provider, and to no other.",
			Level: check.Required, Rows: []string{"C6", "S2", "B24"}, Run: ssoProvider,
		},
		{
			ID: "sso-clients-apart", Proves: "Web users and administrators sign on through different clients, so that the provider can let only the admin group use one of them.",
			Level: check.Required, Rows: []string{"C6", "S2", "B22"}, Run: ssoApart,
		},
		{
			ID: "sso-session", Proves: "A sign-on lasts for a working day at most.",
			Level: check.Advised, Rows: []string{"C6", "S2"}, Run: ssoSession,
		},
	}
}

func lbListeners(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		list, err := l.Listeners(b.ARN())
		if err != nil {
			return err
		}
		want := map[int]elbtypes.ProtocolEnum{443: elbtypes.ProtocolEnumHttps, 80: elbtypes.ProtocolEnumHttp}
		seen := map[int]bool{}
		for _, x := range list {
			seen[x.PortNumber()] = true
			r.Saw(want[x.PortNumber()] == x.Protocol, x.ARN(), fmt.Sprintf("%s on %d", x.Protocol, x.PortNumber()), apiListeners,
				"HTTPS on 443 and HTTP on 80", "delete a listener that doesn't belong there (aws elbv2 delete-listener), and "+check.FixUpdate)
		}
		for _, port := range []int{443, 80} {
			if !seen[port] {
				r.Saw(false, b.ARN(), fmt.Sprintf("no listener on %d", port), apiListeners, fmt.Sprintf("%s on %d", want[port], port), check.FixUpdate)
			}
		}
		return nil
	})
}

func lbTLS(l *account.Look, r *check.Recorder) error {
	return l.EachListener(true, func(_ account.Balancer, x account.Listener) error {
		name := aws.ToString(x.SslPolicy)
		p, err := edgePolicy(l, name)
		if err != nil {
			return err
		}
		ok := len(p.SslProtocols) > 0
		for _, v := range p.SslProtocols {
			ok = ok && (v == "TLSv1.2" || v == "TLSv1.3")
		}
		r.Saw(ok, x.ARN(), name+": "+strings.Join(p.SslProtocols, ", "), "elasticloadbalancing:DescribeSSLPolicies", "TLSv1.2 and TLSv1.3 only",
			check.FixUpdate)
		return nil
	})
}

// redirects tells whether actions do nothing but send a request to TLS on 443.
func redirects(actions []elbtypes.Action) bool {
	if len(actions) != 1 || actions[0].RedirectConfig == nil {
		return false
	}
	c := actions[0].RedirectConfig
	return aws.ToString(c.Protocol) == "HTTPS" && aws.ToString(c.Port) == "443"
}

func lbRedirect(l *account.Look, r *check.Recorder) error {
	return l.EachListener(false, func(_ account.Balancer, x account.Listener) error {
		for _, rule := range x.Rules {
			saw := actionTypes(rule.Actions)
			if redirects(rule.Actions) {
				saw = "redirect to HTTPS on 443"
			}
			r.Saw(redirects(rule.Actions), aws.ToString(rule.RuleArn), saw, apiRules, "redirect to HTTPS on 443",
				"Delete the rule, or set the listener's default action back: aws elbv2 modify-listener with a redirect to HTTPS on 443.")
		}
		return nil
	})
}

func lbDefault(l *account.Look, r *check.Recorder) error {
	return l.EachListener(true, func(_ account.Balancer, x account.Listener) error {
		to := account.Forwards(x.DefaultActions)
		r.Saw(len(to) == 0, x.ARN(), "by default "+actionTypes(x.DefaultActions), apiListeners, "by default a fixed response",
			check.FixUpdate)
		return nil
	})
}

// eachTargetGroup looks at the target groups of both load balancers.
func eachTargetGroup(l *account.Look, do func(b account.Balancer, g elbtypes.TargetGroup)) error {
	return l.EachBalancer(func(b account.Balancer) error {
		groups, err := l.TargetGroups(b.ARN())
		for _, g := range groups {
			do(b, g)
		}
		return err
	})
}

func lbTargetsTLS(l *account.Look, r *check.Recorder) error {
	return eachTargetGroup(l, func(_ account.Balancer, g elbtypes.TargetGroup) {
		ok := g.Protocol == elbtypes.ProtocolEnumHttps && g.HealthCheckProtocol == elbtypes.ProtocolEnumHttps
		r.Saw(ok, aws.ToString(g.TargetGroupArn), fmt.Sprintf("%s, health checks by %s", g.Protocol, g.HealthCheckProtocol), apiGroups,
			"HTTPS, health checks by HTTPS", check.FixUpdate)
	})
}

func lbTargetsPods(l *account.Look, r *check.Recorder) error {
	return eachTargetGroup(l, func(b account.Balancer, g elbtypes.TargetGroup) {
		port := aws.ToInt32(g.Port)
		ok := g.TargetType == elbtypes.TargetTypeEnumIp && port == architecture.PodPort && aws.ToString(g.VpcId) == aws.ToString(b.VpcId)
		r.Saw(ok, aws.ToString(g.TargetGroupArn), fmt.Sprintf("targets of type %s at port %d in %s", g.TargetType, port, aws.ToString(g.VpcId)), apiGroups,
			fmt.Sprintf("targets of type ip at port %d in %s", architecture.PodPort, aws.ToString(b.VpcId)), check.FixUpdate)
	})
}

func hostRules(l *account.Look, r *check.Recorder) error {
	return l.EachBalancer(func(b account.Balancer) error {
		list, err := l.Listeners(b.ARN())
		if err != nil {
			return err
		}
		want := l.PartHosts(b.Part)
		served := map[string]bool{}
		for _, x := range list {
			if x.Protocol != elbtypes.ProtocolEnumHttps {
				continue
			}
			for _, rule := range x.Rules {
				if len(account.Forwards(rule.Actions)) == 0 || aws.ToBool(rule.IsDefault) {
					continue
				}
				names := account.Hosts(rule)
				ok := len(names) > 0
				for _, n := range names {
					ok = ok && want[n] != ""
					served[n] = true
				}
				saw := "forwards any host"
				if len(names) > 0 {
					saw = "forwards " + strings.Join(names, ", ")
				}
				r.Saw(ok, aws.ToString(rule.RuleArn), saw, apiRules, "forwards only "+strings.Join(account.SortedKeys(want), ", "),
					"delete a rule that doesn't belong there (aws elbv2 delete-rule), and "+check.FixUpdate)
			}
		}
		for _, h := range account.SortedKeys(want) {
			if !served[h] {
				r.Saw(false, b.ARN(), "no rule forwards "+h, apiRules, "a rule that forwards "+h, check.FixUpdate)
			}
		}
		return nil
	})
}

func adminApart(l *account.Look, r *check.Recorder) error {
	served := map[string][]string{}
	err := l.EachBalancer(func(b account.Balancer) error {
		list, err := l.Listeners(b.ARN())
		if err != nil {
			return err
		}
		for _, x := range list {
			for _, rule := range x.Rules {
				for _, g := range account.Forwards(rule.Actions) {
					// A host of the other part means that its pods answer,
					// whatever the target group is called.
					for _, h := range account.Hosts(rule) {
						if l.PartHosts(account.WebPart)[h] != "" {
							served[g] = append(served[g], account.WebPart)
						}
						if l.PartHosts(account.AdminPart)[h] != "" {
							served[g] = append(served[g], account.AdminPart)
						}
					}
					served[g] = append(served[g], b.Part)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range account.SortedKeys(served) {
		slices.Sort(served[g])
		parts := slices.Compact(served[g])
		r.Saw(len(parts) == 1, g, "reached as "+strings.Join(parts, " and "), apiRules, "reached by one way only",
			"Delete the rule that forwards from the other load balancer or for the other host: aws elbv2 delete-rule.")
	}
	return nil
}

// withSSO looks at rules that forward the host of web users or administrators.
// API clients bring tokens, which the application checks.
func withSSO(l *account.Look, r *check.Recorder, do func(part string, rule elbtypes.Rule)) error {
	access := l.Arch.Config.Access
	if !access.SSO.Enabled {
		r.NA("access.sso.enabled is false: %s", l.Arch.Config.Deviations[architecture.NoSSO])
		return nil
	}
	api := strings.ToLower(access.API.Host)
	return l.EachListener(true, func(b account.Balancer, x account.Listener) error {
		for _, rule := range x.Rules {
			if len(account.Forwards(rule.Actions)) == 0 {
				continue
			}
			if names := account.Hosts(rule); b.Part == account.WebPart && len(names) == 1 && names[0] == api && api != strings.ToLower(access.Web.Host) {
				continue
			}
			do(b.Part, rule)
		}
		return nil
	})
}

func ssoPart(l *account.Look, r *check.Recorder, want string) error {
	seen := false
	err := withSSO(l, r, func(part string, rule elbtypes.Rule) {
		if part != want {
			return
		}
		seen = true
		client := l.SSOClient(part).ClientID
		saw, ok := actionTypes(rule.Actions), false
		if c := signOn(rule.Actions); c != nil {
			// The API's default is to authenticate.
			otherwise := c.OnUnauthenticatedRequest
			if otherwise == "" {
				otherwise = elbtypes.AuthenticateOidcActionConditionalBehaviorEnumAuthenticate
			}
			ok = aws.ToString(c.ClientId) == client && otherwise != elbtypes.AuthenticateOidcActionConditionalBehaviorEnumAllow
			saw = fmt.Sprintf("%s, client %s, without a sign-on: %s", saw, aws.ToString(c.ClientId), otherwise)
		}
		r.Saw(ok, aws.ToString(rule.RuleArn), saw, apiRules, "authenticate-oidc, then forward, client "+client+", without a sign-on: authenticate",
			check.FixUpdate)
	})
	if err == nil && !seen && l.Arch.Config.Access.SSO.Enabled {
		r.Saw(false, "load balancer "+l.Arch.LoadBalancerName(want), "no rule that forwards", apiRules, "authenticate-oidc, then forward", check.FixUpdate)
	}
	return err
}

func ssoProvider(l *account.Look, r *check.Recorder) error {
	sso := l.Arch.Config.Access.SSO
	return withSSO(l, r, func(_ string, rule elbtypes.Rule) {
		c := signOn(rule.Actions)
		if c == nil {
			return
		}
		for _, e := range []struct{ what, got, want string }{
			{"issuer", aws.ToString(c.Issuer), sso.Issuer},
			{"authorization endpoint", aws.ToString(c.AuthorizationEndpoint), sso.AuthorizationEndpoint},
			{"token endpoint", aws.ToString(c.TokenEndpoint), sso.TokenEndpoint},
			{"user info endpoint", aws.ToString(c.UserInfoEndpoint), sso.UserInfoEndpoint},
		} {
			r.Saw(e.got == e.want, aws.ToString(rule.RuleArn), e.what+" "+e.got, apiRules, e.what+" "+e.want,
				"find out who changed it, for users may have given their tokens away, and "+check.FixUpdate)
		}
	})
}

func ssoApart(l *account.Look, r *check.Recorder) error {
	clients := map[string][]string{}
	err := withSSO(l, r, func(part string, rule elbtypes.Rule) {
		if c := signOn(rule.Actions); c != nil {
			clients[aws.ToString(c.ClientId)] = append(clients[aws.ToString(c.ClientId)], part)
		}
	})
	if err != nil {
		return err
	}
	for _, c := range account.SortedKeys(clients) {
		slices.Sort(clients[c])
		parts := slices.Compact(clients[c])
		r.Saw(len(parts) == 1, "client "+c, "of "+strings.Join(parts, " and "), apiRules, "of web or of admin",
			check.FixUpdate)
	}
	return nil
}

// The longest session at a listener, in seconds: a working day.
const longestSession = 12 * 60 * 60

func ssoSession(l *account.Look, r *check.Recorder) error {
	return withSSO(l, r, func(_ string, rule elbtypes.Rule) {
		c := signOn(rule.Actions)
		if c == nil {
			return
		}
		// The API's default is seven days.
		seconds := int64(7 * 24 * 60 * 60)
		if c.SessionTimeout != nil {
			seconds = *c.SessionTimeout
		}
		r.Saw(seconds <= longestSession, aws.ToString(rule.RuleArn), fmt.Sprintf("a sign-on lasts %d seconds", seconds), apiRules,
			fmt.Sprintf("%d seconds or less", longestSession), check.FixUpdate)
	})
}
