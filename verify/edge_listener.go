package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// edgeListeners are the listeners of a load balancer, with their rules.
func (l *look) edgeListeners(arn string) ([]edgeListener, error) {
	return l.edgeListenersFacts.get(arn, func() ([]edgeListener, error) {
		var out []edgeListener
		pages := elb.NewDescribeListenersPaginator(l.aws.ELB, &elb.DescribeListenersInput{LoadBalancerArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the listeners of %s: %w", arn, err)
			}
			for _, x := range page.Listeners {
				rules, err := l.listenerRules(aws.ToString(x.ListenerArn))
				if err != nil {
					return nil, err
				}
				out = append(out, edgeListener{x, rules})
			}
		}
		return out, nil
	})
}

func (l *look) listenerRules(arn string) ([]elbtypes.Rule, error) {
	var out []elbtypes.Rule
	pages := elb.NewDescribeRulesPaginator(l.aws.ELB, &elb.DescribeRulesInput{ListenerArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.ctx)
		if err != nil {
			return nil, fmt.Errorf("list the rules of %s: %w", arn, err)
		}
		out = append(out, page.Rules...)
	}
	return out, nil
}

// edgeTargetGroups are the target groups of a load balancer.
func (l *look) edgeTargetGroups(arn string) ([]elbtypes.TargetGroup, error) {
	return l.edgeGroupsFacts.get(arn, func() ([]elbtypes.TargetGroup, error) {
		var out []elbtypes.TargetGroup
		pages := elb.NewDescribeTargetGroupsPaginator(l.aws.ELB, &elb.DescribeTargetGroupsInput{LoadBalancerArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the target groups of %s: %w", arn, err)
			}
			out = append(out, page.TargetGroups...)
		}
		return out, nil
	})
}

// edgePolicy is a listener's policy for TLS.
func (l *look) edgePolicy(name string) (*elbtypes.SslPolicy, error) {
	return l.edgePolicyFacts.get(name, func() (*elbtypes.SslPolicy, error) {
		got, err := l.aws.ELB.DescribeSSLPolicies(l.ctx, &elb.DescribeSSLPoliciesInput{
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

// eachListener looks at the listeners of both load balancers: those that speak
// TLS, or the others.
func (l *look) eachListener(tls bool, do func(b edgeBalancer, x edgeListener) error) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		list, err := l.edgeListeners(b.arn())
		if err != nil {
			return err
		}
		for _, x := range list {
			if (x.Protocol == elbtypes.ProtocolEnumHttps) != tls {
				continue
			}
			if err := do(b, x); err != nil {
				return err
			}
		}
		return nil
	})
}

// hosts are the hosts that a rule is for; nil if it is for any.
func hosts(r elbtypes.Rule) []string {
	var out []string
	for _, c := range r.Conditions {
		if aws.ToString(c.Field) != "host-header" {
			continue
		}
		// The API answers values in both places, older rules in one.
		out = append(out, c.Values...)
		if c.HostHeaderConfig != nil {
			out = append(out, c.HostHeaderConfig.Values...)
		}
	}
	for i := range out {
		out[i] = strings.ToLower(out[i])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// forwards are the target groups that actions forward to.
func forwards(actions []elbtypes.Action) []string {
	var out []string
	for _, a := range actions {
		if a.TargetGroupArn != nil {
			out = append(out, *a.TargetGroupArn)
		}
		if a.ForwardConfig != nil {
			for _, g := range a.ForwardConfig.TargetGroups {
				out = append(out, aws.ToString(g.TargetGroupArn))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
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

func listenerChecks() []Check {
	sso := func(part, client string) Check {
		return Check{
			ID: "sso-" + part, Proves: "Every request of " + client + " passes single sign-on at the listener, with the client that is configured.",
			Level: Required, Rows: []string{"C6", "S2", "B24"},
			run: func(l *look, r *result) error { return ssoPart(l, r, part) },
		}
	}
	return []Check{
		{
			ID: "lb-listeners", Proves: "Each load balancer listens with TLS on 443 and without it on 80, and on no other port.",
			Level: Required, Rows: []string{"C5", "S5"}, run: lbListeners,
		},
		{
			ID: "lb-tls-policy", Proves: "Listeners speak TLS 1.2 and 1.3 only.",
			Level: Required, Rows: []string{"S5", "B16"}, run: lbTLS,
		},
		{
			ID: "lb-redirect", Proves: "What comes without TLS is redirected to TLS, whatever it asks for.",
			Level: Required, Rows: []string{"S5", "B17"}, run: lbRedirect,
		},
		{
			ID: "lb-default-closed", Proves: "A request to no known host reaches no pod.",
			Level: Required, Rows: []string{"S3", "B24"}, run: lbDefault,
		},
		{
			ID: "lb-targets-tls", Proves: "TLS goes on from the load balancer to the pods, for requests and health checks.",
			Level: Required, Rows: []string{"S5", "B18"}, run: lbTargetsTLS,
		},
		{
			ID: "lb-targets-pods", Proves: "Targets are pods of this network, at the port that security groups let through.",
			Level: Required, Rows: []string{"C5", "S3"}, run: lbTargetsPods,
		},
		{
			ID: "host-rules", Proves: "The hosts of web users, API clients and administrators are routed by name, and no others.",
			Level: Required, Rows: []string{"C5", "B22"}, run: hostRules,
		},
		{
			ID: "admin-path-apart", Proves: "No request to the web load balancer reaches the pods that serve administrators, and none to the other one those that serve users.",
			Level: Required, Rows: []string{"C5", "B22"}, run: adminApart,
		},
		sso("web", "web users"),
		sso("admin", "administrators"),
		{
			ID: "sso-provider", Proves: "Listeners send users to the configured identity provider, and to no other.",
			Level: Required, Rows: []string{"C6", "S2", "B24"}, run: ssoProvider,
		},
		{
			ID: "sso-clients-apart", Proves: "Web users and administrators sign on through different clients, so that the provider can let only the admin group use one of them.",
			Level: Required, Rows: []string{"C6", "S2", "B22"}, run: ssoApart,
		},
		{
			ID: "sso-session", Proves: "A sign-on lasts for a working day at most.",
			Level: Advised, Rows: []string{"C6", "S2"}, run: ssoSession,
		},
	}
}

func lbListeners(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		list, err := l.edgeListeners(b.arn())
		if err != nil {
			return err
		}
		want := map[int]elbtypes.ProtocolEnum{443: elbtypes.ProtocolEnumHttps, 80: elbtypes.ProtocolEnumHttp}
		seen := map[int]bool{}
		for _, x := range list {
			seen[x.port()] = true
			r.saw(want[x.port()] == x.Protocol, x.arn(), fmt.Sprintf("%s on %d", x.Protocol, x.port()), apiListeners,
				"HTTPS on 443 and HTTP on 80", "delete a listener that doesn't belong there (aws elbv2 delete-listener), and "+fixUpdate)
		}
		for _, port := range []int{443, 80} {
			if !seen[port] {
				r.saw(false, b.arn(), fmt.Sprintf("no listener on %d", port), apiListeners, fmt.Sprintf("%s on %d", want[port], port), fixUpdate)
			}
		}
		return nil
	})
}

func lbTLS(l *look, r *result) error {
	return l.eachListener(true, func(_ edgeBalancer, x edgeListener) error {
		name := aws.ToString(x.SslPolicy)
		p, err := l.edgePolicy(name)
		if err != nil {
			return err
		}
		ok := len(p.SslProtocols) > 0
		for _, v := range p.SslProtocols {
			ok = ok && (v == "TLSv1.2" || v == "TLSv1.3")
		}
		r.saw(ok, x.arn(), name+": "+strings.Join(p.SslProtocols, ", "), "elasticloadbalancing:DescribeSSLPolicies", "TLSv1.2 and TLSv1.3 only",
			fixUpdate)
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

func lbRedirect(l *look, r *result) error {
	return l.eachListener(false, func(_ edgeBalancer, x edgeListener) error {
		for _, rule := range x.Rules {
			saw := actionTypes(rule.Actions)
			if redirects(rule.Actions) {
				saw = "redirect to HTTPS on 443"
			}
			r.saw(redirects(rule.Actions), aws.ToString(rule.RuleArn), saw, apiRules, "redirect to HTTPS on 443",
				"Delete the rule, or set the listener's default action back: aws elbv2 modify-listener with a redirect to HTTPS on 443.")
		}
		return nil
	})
}

func lbDefault(l *look, r *result) error {
	return l.eachListener(true, func(_ edgeBalancer, x edgeListener) error {
		to := forwards(x.DefaultActions)
		r.saw(len(to) == 0, x.arn(), "by default "+actionTypes(x.DefaultActions), apiListeners, "by default a fixed response",
			fixUpdate)
		return nil
	})
}

// eachTargetGroup looks at the target groups of both load balancers.
func (l *look) eachTargetGroup(do func(b edgeBalancer, g elbtypes.TargetGroup)) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		groups, err := l.edgeTargetGroups(b.arn())
		for _, g := range groups {
			do(b, g)
		}
		return err
	})
}

func lbTargetsTLS(l *look, r *result) error {
	return l.eachTargetGroup(func(_ edgeBalancer, g elbtypes.TargetGroup) {
		ok := g.Protocol == elbtypes.ProtocolEnumHttps && g.HealthCheckProtocol == elbtypes.ProtocolEnumHttps
		r.saw(ok, aws.ToString(g.TargetGroupArn), fmt.Sprintf("%s, health checks by %s", g.Protocol, g.HealthCheckProtocol), apiGroups,
			"HTTPS, health checks by HTTPS", fixUpdate)
	})
}

func lbTargetsPods(l *look, r *result) error {
	return l.eachTargetGroup(func(b edgeBalancer, g elbtypes.TargetGroup) {
		port := aws.ToInt32(g.Port)
		ok := g.TargetType == elbtypes.TargetTypeEnumIp && port == architecture.PodPort && aws.ToString(g.VpcId) == aws.ToString(b.VpcId)
		r.saw(ok, aws.ToString(g.TargetGroupArn), fmt.Sprintf("targets of type %s at port %d in %s", g.TargetType, port, aws.ToString(g.VpcId)), apiGroups,
			fmt.Sprintf("targets of type ip at port %d in %s", architecture.PodPort, aws.ToString(b.VpcId)), fixUpdate)
	})
}

// partHosts are the hosts that belong to a load balancer, by the part of the
// application that serves them.
func (l *look) partHosts(part string) map[string]string {
	access := l.arch.Config.Access
	if part == adminPart {
		return map[string]string{strings.ToLower(access.Admin.Host): adminPart}
	}
	return map[string]string{strings.ToLower(access.Web.Host): webPart, strings.ToLower(access.API.Host): "api"}
}

func hostRules(l *look, r *result) error {
	return l.eachBalancer(func(b edgeBalancer) error {
		list, err := l.edgeListeners(b.arn())
		if err != nil {
			return err
		}
		want := l.partHosts(b.Part)
		served := map[string]bool{}
		for _, x := range list {
			if x.Protocol != elbtypes.ProtocolEnumHttps {
				continue
			}
			for _, rule := range x.Rules {
				if len(forwards(rule.Actions)) == 0 || aws.ToBool(rule.IsDefault) {
					continue
				}
				names := hosts(rule)
				ok := len(names) > 0
				for _, n := range names {
					ok = ok && want[n] != ""
					served[n] = true
				}
				saw := "forwards any host"
				if len(names) > 0 {
					saw = "forwards " + strings.Join(names, ", ")
				}
				r.saw(ok, aws.ToString(rule.RuleArn), saw, apiRules, "forwards only "+strings.Join(sortedKeys(want), ", "),
					"delete a rule that doesn't belong there (aws elbv2 delete-rule), and "+fixUpdate)
			}
		}
		for _, h := range sortedKeys(want) {
			if !served[h] {
				r.saw(false, b.arn(), "no rule forwards "+h, apiRules, "a rule that forwards "+h, fixUpdate)
			}
		}
		return nil
	})
}

func adminApart(l *look, r *result) error {
	served := map[string][]string{}
	err := l.eachBalancer(func(b edgeBalancer) error {
		list, err := l.edgeListeners(b.arn())
		if err != nil {
			return err
		}
		for _, x := range list {
			for _, rule := range x.Rules {
				for _, g := range forwards(rule.Actions) {
					// A host of the other part means that its pods answer,
					// whatever the target group is called.
					for _, h := range hosts(rule) {
						if l.partHosts(webPart)[h] != "" {
							served[g] = append(served[g], webPart)
						}
						if l.partHosts(adminPart)[h] != "" {
							served[g] = append(served[g], adminPart)
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
	for _, g := range sortedKeys(served) {
		slices.Sort(served[g])
		parts := slices.Compact(served[g])
		r.saw(len(parts) == 1, g, "reached as "+strings.Join(parts, " and "), apiRules, "reached by one way only",
			"Delete the rule that forwards from the other load balancer or for the other host: aws elbv2 delete-rule.")
	}
	return nil
}

// withSSO looks at rules that forward the host of web users or administrators.
// API clients bring tokens, which the application checks.
func withSSO(l *look, r *result, do func(part string, rule elbtypes.Rule)) error {
	access := l.arch.Config.Access
	if !access.SSO.Enabled {
		r.na("access.sso.enabled is false: %s", l.arch.Config.Deviations[architecture.NoSSO])
		return nil
	}
	api := strings.ToLower(access.API.Host)
	return l.eachListener(true, func(b edgeBalancer, x edgeListener) error {
		for _, rule := range x.Rules {
			if len(forwards(rule.Actions)) == 0 {
				continue
			}
			if names := hosts(rule); b.Part == webPart && len(names) == 1 && names[0] == api && api != strings.ToLower(access.Web.Host) {
				continue
			}
			do(b.Part, rule)
		}
		return nil
	})
}

func (l *look) ssoClient(part string) config.Client {
	if part == adminPart {
		return l.arch.Config.Access.SSO.Admin
	}
	return l.arch.Config.Access.SSO.Web
}

func ssoPart(l *look, r *result, want string) error {
	seen := false
	err := withSSO(l, r, func(part string, rule elbtypes.Rule) {
		if part != want {
			return
		}
		seen = true
		client := l.ssoClient(part).ClientID
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
		r.saw(ok, aws.ToString(rule.RuleArn), saw, apiRules, "authenticate-oidc, then forward, client "+client+", without a sign-on: authenticate",
			fixUpdate)
	})
	if err == nil && !seen && l.arch.Config.Access.SSO.Enabled {
		r.saw(false, "load balancer "+l.arch.LoadBalancerName(want), "no rule that forwards", apiRules, "authenticate-oidc, then forward", fixUpdate)
	}
	return err
}

func ssoProvider(l *look, r *result) error {
	sso := l.arch.Config.Access.SSO
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
			r.saw(e.got == e.want, aws.ToString(rule.RuleArn), e.what+" "+e.got, apiRules, e.what+" "+e.want,
				"find out who changed it, for users may have given their tokens away, and "+fixUpdate)
		}
	})
}

func ssoApart(l *look, r *result) error {
	clients := map[string][]string{}
	err := withSSO(l, r, func(part string, rule elbtypes.Rule) {
		if c := signOn(rule.Actions); c != nil {
			clients[aws.ToString(c.ClientId)] = append(clients[aws.ToString(c.ClientId)], part)
		}
	})
	if err != nil {
		return err
	}
	for _, c := range sortedKeys(clients) {
		slices.Sort(clients[c])
		parts := slices.Compact(clients[c])
		r.saw(len(parts) == 1, "client "+c, "of "+strings.Join(parts, " and "), apiRules, "of web or of admin",
			fixUpdate)
	}
	return nil
}

// The longest session at a listener, in seconds: a working day.
const longestSession = 12 * 60 * 60

func ssoSession(l *look, r *result) error {
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
		r.saw(seconds <= longestSession, aws.ToString(rule.RuleArn), fmt.Sprintf("a sign-on lasts %d seconds", seconds), apiRules,
			fmt.Sprintf("%d seconds or less", longestSession), fixUpdate)
	})
}
