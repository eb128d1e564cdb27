package templates

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/logs"
	"github.com/poolhouse/poolhouse/cfn/wafv2"
)

// firewall is the web ACL of both load balancers.
//
// AWS's rules for bodies block what is over 8 KB or looks like an attack, which
// is what code looks like. They count only, and leave a label; a rule of ours
// blocks what is labelled, except on the API host.
//
// Two rules on sizes count and nothing more: a provider's answer to the load
// balancer may be longer than the 2,048 bytes that one allows a query, and the
// load balancer's own session cookies, of up to 16 KB, than the other allows.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
// https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
func (e edgeStack) firewall(balancers ...balancer) {
	t, c := e.t, e.a.Config
	acl := wafv2.WebACL{
		Scope:            cfn.V("REGIONAL"),
		Description:      cfn.V("Load balancers of " + e.a.Name()),
		DefaultAction:    &wafv2.DefaultAction{Allow: &wafv2.AllowAction{}},
		VisibilityConfig: visibility("web-acl"),
		Tags:             named(e.a, "waf"),
	}
	add := func(r wafv2.Rule, name string) {
		r.Name = cfn.V(name)
		r.Priority = cfn.V(len(acl.Rules))
		r.VisibilityConfig = visibility(name)
		acl.Rules = append(acl.Rules, r)
	}
	block := &wafv2.RuleAction{Block: &wafv2.BlockAction{}}

	add(managedRules("AWSManagedRulesAmazonIpReputationList"), "ip-reputation")
	if c.WAF.RateLimit > 0 {
		add(wafv2.Rule{Action: block, Statement: &wafv2.Statement{RateBasedStatement: &wafv2.RateBasedStatement{
			AggregateKeyType:    cfn.V("IP"),
			EvaluationWindowSec: cfn.V(300),
			Limit:               cfn.V(c.WAF.RateLimit),
		}}}, "rate")
	}
	bodies := bodyRules()
	var labelled []wafv2.Statement
	for _, g := range bodies {
		add(managedRules(g.group, slices.Concat(g.rules, g.counted)...), strings.ToLower(g.label))
		for _, r := range g.rules {
			labelled = append(labelled, wafv2.Statement{LabelMatchStatement: &wafv2.LabelMatchStatement{
				Scope: cfn.V("LABEL"),
				Key:   cfn.V("awswaf:managed:aws:" + g.label + ":" + strings.TrimSuffix(r, "_BODY") + "_Body"),
			}})
		}
	}
	api := wafv2.Statement{ByteMatchStatement: &wafv2.ByteMatchStatement{
		FieldToMatch:         &wafv2.WebACLFieldToMatch{SingleHeader: &wafv2.SingleHeader{Name: cfn.V("host")}},
		PositionalConstraint: cfn.V("EXACTLY"),
		SearchString:         cfn.V(c.Access.API.Host),
		TextTransformations:  []wafv2.TextTransformation{{Priority: cfn.V(0), Type: cfn.V("LOWERCASE")}},
	}}
	add(wafv2.Rule{Action: block, Statement: &wafv2.Statement{AndStatement: &wafv2.AndStatement{Statements: []wafv2.Statement{
		{NotStatement: &wafv2.NotStatement{Statement: &api}},
		{OrStatement: &wafv2.OrStatement{Statements: labelled}},
	}}}}, "bodies")

	h := t.Add("WebAcl", acl)
	for _, b := range balancers {
		t.Add(b.handle.ID()+"Firewall", wafv2.WebACLAssociation{ResourceArn: b.handle.Ref(), WebACLArn: h.Att("Arn")})
	}
	t.Add("WafLogGroup", logs.LogGroup{
		LogGroupName:    cfn.V(e.a.WAFLogGroup()),
		KmsKeyId:        keyARN(t, architecture.KeyLogs),
		RetentionInDays: cfn.V(c.Cluster.LogRetentionDays),
	})
	var redacted []wafv2.LoggingConfigurationFieldToMatch
	for _, header := range []string{"authorization", "cookie"} {
		redacted = append(redacted, wafv2.LoggingConfigurationFieldToMatch{SingleHeader: &wafv2.SingleHeader{Name: cfn.V(header)}})
	}
	t.Add("WebAclLogging", wafv2.LoggingConfiguration{
		ResourceArn: h.Att("Arn"),
		// The group's attribute ends in :*, which WAF does not take.
		LogDestinationConfigs: cfn.ListOf(arn("logs", "log-group:${WafLogGroup}")),
		RedactedFields:        redacted,
	})
	t.Output("WebAclArn", h.Att("Arn"))
}

// bodyGroup is a group of AWS's rules, its label's name, those of its rules that
// inspect bodies, and those that only count.
type bodyGroup struct {
	group, label   string
	rules, counted []string
}

func bodyRules() []bodyGroup {
	return []bodyGroup{
		{"AWSManagedRulesKnownBadInputsRuleSet", "known-bad-inputs", []string{
			"JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY",
		}, nil},
		{"AWSManagedRulesCommonRuleSet", "core-rule-set", []string{
			"CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "SizeRestrictions_BODY",
		}, []string{"SizeRestrictions_Cookie_HEADER", "SizeRestrictions_QUERYSTRING"}},
	}
}

// managedRules is a group of AWS's rules, of which some count only.
func managedRules(group string, count ...string) wafv2.Rule {
	s := &wafv2.ManagedRuleGroupStatement{VendorName: cfn.V("AWS"), Name: cfn.V(group)}
	for _, r := range count {
		s.RuleActionOverrides = append(s.RuleActionOverrides, wafv2.RuleActionOverride{
			Name:        cfn.V(r),
			ActionToUse: &wafv2.RuleAction{Count: &wafv2.CountAction{}},
		})
	}
	return wafv2.Rule{
		Statement:      &wafv2.Statement{ManagedRuleGroupStatement: s},
		OverrideAction: &wafv2.OverrideAction{None: map[string]any{}},
	}
}

func visibility(name string) *wafv2.VisibilityConfig {
	return &wafv2.VisibilityConfig{
		CloudWatchMetricsEnabled: cfn.V(true),
		SampledRequestsEnabled:   cfn.V(true),
		MetricName:               cfn.V(name),
	}
}
