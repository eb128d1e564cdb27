package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/config"
)

// Listeners are the listeners of a load balancer, with their rules.
func (l *Look) Listeners(arn string) ([]Listener, error) {
	return l.edgeListenersFacts.Get(arn, func() ([]Listener, error) {
		var out []Listener
		pages := elb.NewDescribeListenersPaginator(l.AWS.ELB, &elb.DescribeListenersInput{LoadBalancerArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the listeners of %s: %w", arn, err)
			}
			for _, x := range page.Listeners {
				rules, err := l.listenerRules(aws.ToString(x.ListenerArn))
				if err != nil {
					return nil, err
				}
				out = append(out, Listener{x, rules})
			}
		}
		return out, nil
	})
}

func (l *Look) listenerRules(arn string) ([]elbtypes.Rule, error) {
	var out []elbtypes.Rule
	pages := elb.NewDescribeRulesPaginator(l.AWS.ELB, &elb.DescribeRulesInput{ListenerArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return nil, fmt.Errorf("list the rules of %s: %w", arn, err)
		}
		out = append(out, page.Rules...)
	}
	return out, nil
}

// TargetGroups are the target groups of a load balancer.
func (l *Look) TargetGroups(arn string) ([]elbtypes.TargetGroup, error) {
	return l.edgeGroupsFacts.Get(arn, func() ([]elbtypes.TargetGroup, error) {
		var out []elbtypes.TargetGroup
		pages := elb.NewDescribeTargetGroupsPaginator(l.AWS.ELB, &elb.DescribeTargetGroupsInput{LoadBalancerArn: &arn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the target groups of %s: %w", arn, err)
			}
			out = append(out, page.TargetGroups...)
		}
		return out, nil
	})
}

// EachListener looks at the listeners of both load balancers: those that speak
// TLS, or the others.
func (l *Look) EachListener(tls bool, do func(b Balancer, x Listener) error) error {
	return l.EachBalancer(func(b Balancer) error {
		list, err := l.Listeners(b.ARN())
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

// PartHosts are the hosts that belong to a load balancer, by the part of the
// application that serves them.
func (l *Look) PartHosts(part string) map[string]string {
	access := l.Arch.Config.Access
	if part == AdminPart {
		return map[string]string{strings.ToLower(access.Admin.Host): AdminPart}
	}
	return map[string]string{strings.ToLower(access.Web.Host): WebPart, strings.ToLower(access.API.Host): "api"}
}

// SSOClient is the configured client of single sign-on of a part: web or admin.
func (l *Look) SSOClient(part string) config.Client {
	if part == AdminPart {
		return l.Arch.Config.Access.SSO.Admin
	}
	return l.Arch.Config.Access.SSO.Web
}

// Hosts are the hosts that a rule is for; nil if it is for any.
func Hosts(r elbtypes.Rule) []string {
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

// Forwards are the target groups that actions forward to.
func Forwards(actions []elbtypes.Action) []string {
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
