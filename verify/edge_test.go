package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
)

const (
	typeBalancer = "AWS::ElasticLoadBalancingV2::LoadBalancer"
	typeListener = "AWS::ElasticLoadBalancingV2::Listener"
	typeRule     = "AWS::ElasticLoadBalancingV2::ListenerRule"
	typeTargets  = "AWS::ElasticLoadBalancingV2::TargetGroup"
	typeCert     = "AWS::CertificateManager::Certificate"
	typeZone     = "AWS::Route53::HostedZone"
)

// id is the id of a resource of the deployment's templates.
func (w *wrecker) id(typ, logicalID string) (string, error) {
	var id string
	err := w.change(typ, logical(logicalID), func(_ *account.Tx, r *account.Resource) { id = r.ID })
	if err != nil {
		return "", fmt.Errorf("%s: %w", logicalID, err)
	}
	return id, nil
}

// on calls an API about a resource of the deployment's templates.
func on(typ, logicalID string, call func(ctx context.Context, w *wrecker, id string) error) func(*wrecker) error {
	return func(w *wrecker) error {
		id, err := w.id(typ, logicalID)
		if err != nil {
			return err
		}
		return call(w.ctx, w, id)
	}
}

// attribute sets an attribute of the web load balancer.
func attribute(key, value string) func(*wrecker) error {
	return on(typeBalancer, "WebLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
		_, err := w.aws.ELB.ModifyLoadBalancerAttributes(ctx, &elb.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: &id, Attributes: []elbtypes.LoadBalancerAttribute{{Key: &key, Value: &value}},
		})
		return err
	})
}

// rule changes the actions of a rule.
func rule(logicalID string, change func(in *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig)) func(*wrecker) error {
	return on(typeRule, logicalID, func(ctx context.Context, w *wrecker, id string) error {
		got, err := w.aws.ELB.DescribeRules(ctx, &elb.DescribeRulesInput{RuleArns: []string{id}})
		if err != nil {
			return err
		}
		in := &elb.ModifyRuleInput{RuleArn: &id, Actions: got.Rules[0].Actions}
		var oidc *elbtypes.AuthenticateOidcActionConfig
		for _, a := range in.Actions {
			if a.AuthenticateOidcConfig != nil {
				oidc = a.AuthenticateOidcConfig
				oidc.UseExistingClientSecret = aws.Bool(true)
			}
		}
		change(in, oidc)
		_, err = w.aws.ELB.ModifyRule(ctx, in)
		return err
	})
}

// without leaves out the actions that ask for sign-on.
func without(actions []elbtypes.Action) []elbtypes.Action {
	return slices.DeleteFunc(actions, func(a elbtypes.Action) bool { return a.AuthenticateOidcConfig != nil })
}

// route adds a rule to a listener that forwards a host to a target group.
func route(listener, targets, host string) func(*wrecker) error {
	return on(typeListener, listener, func(ctx context.Context, w *wrecker, id string) error {
		group, err := w.id(typeTargets, targets)
		if err != nil {
			return err
		}
		in := &elb.CreateRuleInput{
			ListenerArn: &id, Priority: aws.Int32(99),
			Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
		}
		in.Conditions = []elbtypes.RuleCondition{{Field: aws.String("host-header"), Values: []string{host}}}
		if host == "" {
			in.Conditions = []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), Values: []string{"/debug/*"}}}
		}
		_, err = w.aws.ELB.CreateRule(ctx, in)
		return err
	})
}

// open lets a range reach a port of a security group.
func open(group, cidr string, port int32) func(*wrecker) error {
	return on(typeGroup, group, func(ctx context.Context, w *wrecker, id string) error {
		_, err := w.aws.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &id, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: &cidr}},
		}}})
		return err
	})
}

// firewall changes the rules of the web ACL.
func firewall(change func(in *wafv2.UpdateWebACLInput)) func(*wrecker) error {
	return func(w *wrecker) error {
		list, err := w.aws.WAF.ListWebACLs(w.ctx, &wafv2.ListWebACLsInput{Scope: waftypes.ScopeRegional})
		if err != nil {
			return err
		}
		if len(list.WebACLs) == 0 {
			return errors.New("there is no web ACL")
		}
		acl := list.WebACLs[0]
		got, err := w.aws.WAF.GetWebACL(w.ctx, &wafv2.GetWebACLInput{Name: acl.Name, Id: acl.Id, Scope: waftypes.ScopeRegional})
		if err != nil {
			return err
		}
		in := &wafv2.UpdateWebACLInput{
			Name: acl.Name, Id: acl.Id, Scope: waftypes.ScopeRegional, LockToken: got.LockToken,
			DefaultAction: got.WebACL.DefaultAction, VisibilityConfig: got.WebACL.VisibilityConfig, Rules: got.WebACL.Rules,
		}
		change(in)
		_, err = w.aws.WAF.UpdateWebACL(w.ctx, in)
		return err
	}
}

// withoutRule leaves out a rule by its name.
func withoutRule(name string) func(*wafv2.UpdateWebACLInput) {
	return func(in *wafv2.UpdateWebACLInput) {
		in.Rules = slices.DeleteFunc(in.Rules, func(r waftypes.Rule) bool { return aws.ToString(r.Name) == name })
	}
}

// wafLogging changes where the firewall logs to.
func wafLogging(change func(ctx context.Context, w *wrecker, c *waftypes.LoggingConfiguration) error) func(*wrecker) error {
	return on("AWS::WAFv2::LoggingConfiguration", "WebAclLogging", func(ctx context.Context, w *wrecker, id string) error {
		got, err := w.aws.WAF.GetLoggingConfiguration(ctx, &wafv2.GetLoggingConfigurationInput{ResourceArn: &id})
		if err != nil {
			return err
		}
		return change(ctx, w, got.LoggingConfiguration)
	})
}

// certificate changes what ACM knows of the certificate.
func certificate(change func(w *world, r *account.Resource)) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change(typeCert, logical("Certificate"), func(_ *account.Tx, r *account.Resource) { change(w.world, r) })
	}
}

// records changes the records of a host.
func records(host string, change func(*r53types.ResourceRecordSet)) func(*wrecker) error {
	return on(typeZone, "HostedZone", func(ctx context.Context, w *wrecker, id string) error {
		got, err := w.aws.Route53.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: &id, StartRecordName: &host})
		if err != nil {
			return err
		}
		old := got.ResourceRecordSets[0]
		if strings.TrimSuffix(aws.ToString(old.Name), ".") != host {
			return fmt.Errorf("%s has no record", host)
		}
		changes := []r53types.Change{{Action: r53types.ChangeActionDelete, ResourceRecordSet: &old}}
		if change != nil {
			next := old
			to := *old.AliasTarget
			next.AliasTarget = &to
			change(&next)
			changes = append(changes, r53types.Change{Action: r53types.ChangeActionCreate, ResourceRecordSet: &next})
		}
		_, err = w.aws.Route53.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &id, ChangeBatch: &r53types.ChangeBatch{Changes: changes}})
		return err
	})
}

func edgeWrecks() []wreck {
	return slices.Concat(balancerWrecks(), listenerWrecks(), ssoWrecks(), certificateWrecks(), wafWrecks(), dnsWrecks())
}

func balancerWrecks() []wreck {
	return []wreck{
		{check: "lb-there", name: "impaired", by: func(w *wrecker) error {
			return w.change(typeBalancer, logical("AdminLoadBalancer"), func(_ *account.Tx, r *account.Resource) { r.Status = "active_impaired" })
		}},
		{
			// Its interfaces, with public addresses, stay for some minutes.
			check: "lb-there", name: "deleted", example: "evaluation", also: []string{"public-addresses", "sso-web"},
			by: on(typeBalancer, "WebLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: &id})
				if err != nil {
					return err
				}
				var gone error
				err = w.change(typeBalancer, logical("WebLoadBalancer"), func(tx *account.Tx, r *account.Resource) { gone = tx.Settle(r, "delete") })
				return errors.Join(err, gone)
			}),
		},
		{
			check: "lb-separate", also: []string{"lb-allow-list"},
			by: on(typeBalancer, "AdminLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
				var groups []string
				for _, g := range []string{"AlbWebSecurityGroup", "AlbAdminSecurityGroup"} {
					sg, err := w.id(typeGroup, g)
					if err != nil {
						return err
					}
					groups = append(groups, sg)
				}
				_, err := w.aws.ELB.SetSecurityGroups(ctx, &elb.SetSecurityGroupsInput{LoadBalancerArn: &id, SecurityGroups: groups})
				return err
			}),
		},
		{check: "lb-scheme", also: []string{"lb-subnets"}, by: func(w *wrecker) error {
			return w.change(typeBalancer, logical("AdminLoadBalancer"), func(_ *account.Tx, r *account.Resource) { r.Props["Scheme"] = "internet-facing" })
		}},
		{
			check: "lb-subnets",
			by: on(typeBalancer, "AdminLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
				got, err := w.aws.ELB.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{id}})
				if err != nil {
					return err
				}
				var two []string
				for _, z := range got.LoadBalancers[0].AvailabilityZones[:2] {
					two = append(two, aws.ToString(z.SubnetId))
				}
				_, err = w.aws.ELB.SetSubnets(ctx, &elb.SetSubnetsInput{LoadBalancerArn: &id, Subnets: two})
				return err
			}),
		},
		{check: "lb-allow-list", name: "wider", by: open("AlbAdminSecurityGroup", "192.0.2.0/24", 443)},
		{
			check: "lb-allow-list", name: "narrower",
			by: on(typeGroup, "AlbWebSecurityGroup", func(ctx context.Context, w *wrecker, id string) error {
				var all []ec2types.IpPermission
				for _, port := range []int32{80, 443} {
					all = append(all, ec2types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: aws.String("198.51.100.0/24")}}})
				}
				_, err := w.aws.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &id, IpPermissions: all})
				return err
			}),
		},
		{check: "lb-no-classic", by: func(w *wrecker) error {
			subnet, err := w.id("AWS::EC2::Subnet", "PrivateSubnet1")
			if err != nil {
				return err
			}
			_, err = w.aws.ClassicELB.CreateLoadBalancer(w.ctx, &classic.CreateLoadBalancerInput{
				LoadBalancerName: aws.String("a0123456789abcdef0123456789abcde"), Scheme: aws.String("internal"), Subnets: []string{subnet},
				Listeners: []classictypes.Listener{{Protocol: aws.String("TCP"), LoadBalancerPort: 80, InstancePort: aws.Int32(31080)}},
				Tags:      []classictypes.Tag{{Key: aws.String("kubernetes.io/service-name"), Value: aws.String("default/web")}},
			})
			return err
		}},
		{check: "lb-ports", by: open("AlbWebSecurityGroup", "203.0.113.0/24", 8080)},
		{check: "lb-invalid-headers", by: attribute("routing.http.drop_invalid_header_fields.enabled", "false")},
		{check: "lb-desync", by: attribute("routing.http.desync_mitigation_mode", "monitor")},
		{check: "lb-idle-timeout", by: attribute("idle_timeout.timeout_seconds", "60")},
		{check: "lb-waf-fail-closed", by: attribute("waf.fail_open.enabled", "true")},
		{check: "lb-logs", name: "off", by: attribute("access_logs.s3.enabled", "false")},
		{check: "lb-logs", name: "mixed", by: attribute("access_logs.s3.prefix", "alb/admin")},
		{check: "lb-deletion-protection", by: attribute("deletion_protection.enabled", "false")},
	}
}

func listenerWrecks() []wreck {
	return []wreck{
		{
			check: "lb-listeners", name: "another",
			by: on(typeBalancer, "WebLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.CreateListener(ctx, &elb.CreateListenerInput{
					LoadBalancerArn: &id, Port: aws.Int32(8080), Protocol: elbtypes.ProtocolEnumHttp, Tags: deploymentTags(w),
					DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumRedirect, RedirectConfig: &elbtypes.RedirectActionConfig{
						Protocol: aws.String("HTTPS"), Port: aws.String("443"), StatusCode: elbtypes.RedirectActionStatusCodeEnumHttp301,
					}}},
				})
				return err
			}),
		},
		{
			check: "lb-listeners", name: "missing",
			by: on(typeListener, "WebHttpListener", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.DeleteListener(ctx, &elb.DeleteListenerInput{ListenerArn: &id})
				return err
			}),
		},
		{
			check: "lb-tls-policy",
			by: on(typeListener, "WebHttpsListener", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &id, SslPolicy: aws.String("ELBSecurityPolicy-TLS13-1-1-2021-06")})
				return err
			}),
		},
		{
			check: "lb-redirect", name: "answers",
			by: on(typeListener, "WebHttpListener", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &id, DefaultActions: []elbtypes.Action{{
					Type: elbtypes.ActionTypeEnumFixedResponse, FixedResponseConfig: &elbtypes.FixedResponseActionConfig{StatusCode: aws.String("200")},
				}}})
				return err
			}),
		},
		{check: "lb-redirect", name: "forwards", by: route("AdminHttpListener", "AdminInternalTargetGroup", "admin.poolside.example.com")},
		{
			check: "lb-default-closed", also: []string{"sso-web"},
			by: on(typeListener, "WebHttpsListener", func(ctx context.Context, w *wrecker, id string) error {
				group, err := w.id(typeTargets, "WebTargetGroup")
				if err != nil {
					return err
				}
				_, err = w.aws.ELB.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &id, DefaultActions: []elbtypes.Action{{
					Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group,
				}}})
				return err
			}),
		},
		{
			check: "lb-targets-tls",
			by: on(typeTargets, "ApiTargetGroup", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.ModifyTargetGroup(ctx, &elb.ModifyTargetGroupInput{TargetGroupArn: &id, HealthCheckProtocol: elbtypes.ProtocolEnumHttp})
				return err
			}),
		},
		{check: "lb-targets-pods", by: func(w *wrecker) error {
			return w.change(typeTargets, logical("WebTargetGroup"), func(_ *account.Tx, r *account.Resource) { r.Props["Port"] = 9443 })
		}},
		{check: "host-rules", name: "another host", also: []string{"sso-web"}, by: route("WebHttpsListener", "ApiTargetGroup", "debug.poolside.example.com")},
		{check: "host-rules", name: "any host", also: []string{"sso-web"}, by: route("WebHttpsListener", "ApiTargetGroup", "")},
		{
			check: "host-rules", name: "missing",
			by: on(typeRule, "ApiRule", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.DeleteRule(ctx, &elb.DeleteRuleInput{RuleArn: &id})
				return err
			}),
		},
		{check: "admin-path-apart", also: []string{"host-rules", "sso-web"}, by: route("WebHttpsListener", "WebTargetGroup", "admin.poolside.example.com")},
	}
}

// deploymentTags are the deployment's tags for what a test adds to it.
func deploymentTags(w *wrecker) []elbtypes.Tag {
	var out []elbtypes.Tag
	for k, v := range w.arch.Tags {
		out = append(out, elbtypes.Tag{Key: &k, Value: &v})
	}
	return out
}

func ssoWrecks() []wreck {
	return []wreck{
		{check: "sso-web", name: "none", by: rule("WebRule", func(in *elb.ModifyRuleInput, _ *elbtypes.AuthenticateOidcActionConfig) {
			in.Actions = without(in.Actions)
		})},
		{check: "sso-web", name: "optional", by: rule("WebRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.OnUnauthenticatedRequest = elbtypes.AuthenticateOidcActionConditionalBehaviorEnumAllow
		})},
		{check: "sso-admin", name: "none", by: rule("AdminRule", func(in *elb.ModifyRuleInput, _ *elbtypes.AuthenticateOidcActionConfig) {
			in.Actions = without(in.Actions)
		})},
		{check: "sso-admin", name: "another client", by: rule("AdminRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.ClientId = aws.String("33333333-3333-3333-3333-333333333333")
		})},
		{check: "sso-provider", by: rule("WebRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.TokenEndpoint = aws.String("https://login.example.net/token")
		})},
		{check: "sso-clients-apart", also: []string{"sso-admin"}, by: rule("AdminRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.ClientId = aws.String("11111111-1111-1111-1111-111111111111")
		})},
		{check: "sso-session", by: rule("WebRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.SessionTimeout = aws.Int64(7 * 24 * 60 * 60)
		})},
	}
}

func certificateWrecks() []wreck {
	days := func(n int) func(w *world, r *account.Resource) {
		return func(w *world, r *account.Resource) {
			r.Data["until"] = w.now.Add(time.Duration(n)*24*time.Hour + time.Hour)
		}
	}
	return []wreck{
		{check: "certificate-issued", by: certificate(func(_ *world, r *account.Resource) { r.Status = "REVOKED" })},
		{
			check: "certificate-issued", name: "another", example: "enterprise-dns",
			by: on(typeListener, "WebHttpsListener", func(_ context.Context, w *wrecker, id string) error {
				return w.box.Account().Do(func(tx *account.Tx) error {
					other := *tx.List(typeCert)[0]
					other.ID += "0"
					tx.Put(&other)
					r := tx.Get(typeListener, id)
					r.Props["Certificates"] = []any{map[string]any{"CertificateArn": other.ID}}
					return nil
				})
			}),
		},
		{check: "certificate-hosts", by: certificate(func(_ *world, r *account.Resource) {
			r.Props["SubjectAlternativeNames"] = []any{"admin.poolside.example.com"}
		})},
		{check: "certificate-days", name: "soon", also: []string{"certificate-renewal"}, by: certificate(days(13))},
		{check: "certificate-renewal", by: certificate(days(29))},
	}
}

func wafWrecks() []wreck {
	return []wreck{
		{
			check: "waf-associated",
			by: on(typeBalancer, "AdminLoadBalancer", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.WAF.DisassociateWebACL(ctx, &wafv2.DisassociateWebACLInput{ResourceArn: &id})
				return err
			}),
		},
		{check: "waf-rules", name: "missing", by: firewall(withoutRule("ip-reputation"))},
		{check: "waf-rules", name: "counting", by: firewall(func(in *wafv2.UpdateWebACLInput) {
			for i := range in.Rules {
				if aws.ToString(in.Rules[i].Name) == "core-rule-set" {
					in.Rules[i].OverrideAction = &waftypes.OverrideAction{Count: &waftypes.CountAction{}}
				}
			}
		})},
		{check: "waf-bodies", name: "missing", by: firewall(withoutRule("bodies"))},
		{check: "waf-bodies", name: "another host", by: firewall(func(in *wafv2.UpdateWebACLInput) {
			for _, r := range in.Rules {
				if aws.ToString(r.Name) == "bodies" {
					r.Statement.AndStatement.Statements[0].NotStatement.Statement.ByteMatchStatement.SearchString = []byte("poolside.example.com")
				}
			}
		})},
		{check: "waf-exceptions", by: firewall(func(in *wafv2.UpdateWebACLInput) {
			for _, r := range in.Rules {
				if aws.ToString(r.Name) == "core-rule-set" {
					g := r.Statement.ManagedRuleGroupStatement
					g.RuleActionOverrides = append(g.RuleActionOverrides, waftypes.RuleActionOverride{
						Name: aws.String("NoUserAgent_HEADER"), ActionToUse: &waftypes.RuleAction{Allow: &waftypes.AllowAction{}},
					})
				}
			}
		})},
		{check: "waf-rate", name: "missing", by: firewall(withoutRule("rate"))},
		{check: "waf-rate", name: "higher", by: firewall(func(in *wafv2.UpdateWebACLInput) {
			for _, r := range in.Rules {
				if aws.ToString(r.Name) == "rate" {
					r.Statement.RateBasedStatement.Limit = aws.Int64(1_000_000)
				}
			}
		})},
		{check: "waf-logs", by: wafLogging(func(ctx context.Context, w *wrecker, c *waftypes.LoggingConfiguration) error {
			_, err := w.aws.WAF.DeleteLoggingConfiguration(ctx, &wafv2.DeleteLoggingConfigurationInput{ResourceArn: c.ResourceArn})
			return err
		})},
		{check: "waf-log-redaction", by: wafLogging(func(ctx context.Context, w *wrecker, c *waftypes.LoggingConfiguration) error {
			c.RedactedFields = c.RedactedFields[:1]
			_, err := w.aws.WAF.PutLoggingConfiguration(ctx, &wafv2.PutLoggingConfigurationInput{LoggingConfiguration: c})
			return err
		})},
	}
}

func dnsWrecks() []wreck {
	return []wreck{
		{check: "dns-zone", name: "not ours", by: func(w *wrecker) error {
			return w.change(typeZone, logical("HostedZone"), func(_ *account.Tx, r *account.Resource) { delete(r.Tags, "poolhouse:deployment") })
		}},
		{check: "dns-zone", name: "gone", example: "self-managed-nat", by: func(w *wrecker) error {
			return w.drop(typeZone, func(r *account.Resource) bool { return props.Str(r.Props, "Name") != "" })
		}},
		{check: "dns-records", name: "missing", by: records("api.poolside.example.com", nil)},
		{check: "dns-records", name: "elsewhere", by: records("admin.poolside.example.com", func(rr *r53types.ResourceRecordSet) {
			rr.AliasTarget = nil
			rr.TTL = aws.Int64(60)
			rr.ResourceRecords = []r53types.ResourceRecord{{Value: aws.String("192.0.2.1")}}
		})},
	}
}

// refuser refuses some of the requests to a service that speaks in forms.
type refuser struct {
	http.Handler
	code   string
	refuse func(url.Values) bool
}

func (f refuser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, perr := url.ParseQuery(string(body))
	if err == nil && perr == nil && f.refuse(form) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>refused by the test</Message></Error></ErrorResponse>", f.code)
		return
	}
	f.Handler.ServeHTTP(w, r)
}

// refused are the operator's clients, some of whose requests are refused.
func refused(t *testing.T, w *world, code string, refuse func(url.Values) bool) *awsapi.Clients {
	t.Helper()
	p := w.box.Principals()[0]
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: w.box.Region(), Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: testkit.Transport{Handler: refuser{w.box, code, refuse}}},
		Clock: stopped{at: w.now}, Credentials: credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOthersBalancers finds the deployment's load balancers among many of
// others, one of which goes while it looks.
func TestOthersBalancers(t *testing.T) {
	t.Parallel()
	w := standing(t, "evaluation")
	err := w.box.Account().Do(func(tx *account.Tx) error {
		own := tx.List(typeBalancer)[0]
		for i := range 45 {
			other := *own
			other.ID = fmt.Sprintf("arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/other-%02d/0123456789abcdef", i)
			other.Tags = map[string]string{"Name": "poolside-web", "poolhouse:deployment": "another"}
			tx.Put(&other)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for name, c := range map[string]*awsapi.Clients{
		"all there": clients(t, w.box, 0, stopped{at: w.now}),
		"one goes": refused(t, w, "LoadBalancerNotFound", func(form url.Values) bool {
			if form.Get("Action") != "DescribeTags" {
				return false
			}
			calls++
			for k, v := range form {
				if strings.HasPrefix(k, "ResourceArns.") && strings.Contains(v[0], "other-07") {
					return true
				}
			}
			return false
		}),
	} {
		rep, err := verify.Run(t.Context(), verify.Options{Architecture: w.arch, AWS: c, Only: []string{"lb-there"}})
		if err != nil {
			t.Fatal(err)
		}
		if r := rep.Results[0]; r.Status != verify.Pass || len(r.Evidence) != 2 {
			t.Errorf("%s: %s %s %+v", name, r.Status, r.Reason, r.Evidence)
		}
	}
	if calls < 20 {
		t.Errorf("%d calls: nothing was refused", calls)
	}
}

// TestCouldNotLook is neither a pass nor a failure.
func TestCouldNotLook(t *testing.T) {
	t.Parallel()
	w := standing(t, "production")
	c := refused(t, w, "AccessDenied", func(form url.Values) bool { return form.Get("Action") == "DescribeRules" })
	rep, err := verify.Run(t.Context(), verify.Options{Architecture: w.arch, AWS: c, Only: []string{"sso-web", "lb-desync"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]verify.Status{}
	for _, r := range rep.Results {
		got[r.ID] = r.Status
		if r.Status == verify.CouldNotLook && !strings.Contains(r.Reason, "AccessDenied") {
			t.Errorf("%s could not look: %s", r.ID, r.Reason)
		}
	}
	if diff := cmp.Diff(map[string]verify.Status{"sso-web": verify.CouldNotLook, "lb-desync": verify.Pass}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoFalseAlarms lets pass what is right in another way than templates have
// it.
func TestNoFalseAlarms(t *testing.T) {
	t.Parallel()
	names := func(domain string, others ...any) func(*wrecker) error {
		return certificate(func(_ *world, r *account.Resource) {
			r.Props["DomainName"], r.Props["SubjectAlternativeNames"] = domain, others
		})
	}
	for name, tt := range map[string]struct {
		check string
		by    func(*wrecker) error
		want  verify.Status
	}{
		"wildcards": {"certificate-hosts", names("Poolside.Example.com", "*.poolside.example.com"), verify.Pass},
		// A wildcard stands for one label, the first.
		"a wildcard too high": {"certificate-hosts", names("*.example.com"), verify.Fail},
		"a wildcard too low":  {"certificate-hosts", names("*.poolside.example.com"), verify.Fail},
		"an alias made in the console": {"dns-records", records("api.poolside.example.com", func(rr *r53types.ResourceRecordSet) {
			rr.AliasTarget.DNSName = aws.String("dualstack." + aws.ToString(rr.AliasTarget.DNSName))
		}), verify.Pass},
		"headers checked more strictly": {"lb-desync", attribute("routing.http.desync_mitigation_mode", "strictest"), verify.Pass},
		"answers that take longer":      {"lb-idle-timeout", attribute("idle_timeout.timeout_seconds", "4000"), verify.Pass},
		"a lower limit": {"waf-rate", firewall(func(in *wafv2.UpdateWebACLInput) {
			for _, r := range in.Rules {
				if aws.ToString(r.Name) == "rate" {
					r.Statement.RateBasedStatement.Limit = aws.Int64(500)
				}
			}
		}), verify.Pass},
		"bodies blocked on every host": {"waf-bodies", firewall(func(in *wafv2.UpdateWebACLInput) {
			for i, r := range in.Rules {
				if aws.ToString(r.Name) == "bodies" {
					in.Rules[i].Statement = &waftypes.Statement{OrStatement: r.Statement.AndStatement.Statements[1].OrStatement}
				}
			}
		}), verify.Pass},
		"sign-on that denies": {"sso-web", rule("WebRule", func(_ *elb.ModifyRuleInput, oidc *elbtypes.AuthenticateOidcActionConfig) {
			oidc.OnUnauthenticatedRequest = elbtypes.AuthenticateOidcActionConditionalBehaviorEnumDeny
		}), verify.Pass},
		"TLS 1.3 only": {"lb-tls-policy", on(typeListener, "WebHttpsListener", func(ctx context.Context, w *wrecker, id string) error {
			_, err := w.aws.ELB.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &id, SslPolicy: aws.String("ELBSecurityPolicy-TLS13-1-3-2021-06")})
			return err
		}), verify.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standing(t, "production")
			if err := tt.by(&wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}); err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, verify.Options{Only: []string{tt.check}})
			if got := rep.Results[0].Status; got != tt.want {
				t.Errorf("%s: %s, want %s", tt.check, got, tt.want)
				say(t, rep)
			}
		})
	}
}
