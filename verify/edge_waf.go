package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// edgeWebACL is the web ACL of a load balancer, or nil.
func (l *look) edgeWebACL(balancer string) (*types.WebACL, error) {
	return l.edgeWebACLFacts.get(balancer, func() (*types.WebACL, error) {
		got, err := l.aws.WAF.GetWebACLForResource(l.ctx, &wafv2.GetWebACLForResourceInput{ResourceArn: &balancer})
		if err != nil {
			return nil, fmt.Errorf("read the web ACL of %s: %w", balancer, err)
		}
		return got.WebACL, nil
	})
}

// edgeWAFLogs is where a web ACL logs to, or nil.
func (l *look) edgeWAFLogs(acl string) (*types.LoggingConfiguration, error) {
	return l.edgeWAFLogFacts.get(acl, func() (*types.LoggingConfiguration, error) {
		got, err := l.aws.WAF.GetLoggingConfiguration(l.ctx, &wafv2.GetLoggingConfigurationInput{ResourceArn: &acl})
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read where %s logs to: %w", acl, err)
		}
		return got.LoggingConfiguration, nil
	})
}

// withWAF looks at the web ACLs of both load balancers, once each; nothing
// applies if the configuration has no firewall.
func withWAF(l *look, r *result, do func(acl *types.WebACL) error) error {
	if !l.arch.Config.WAF.Enabled {
		r.na("waf.enabled is false")
		return nil
	}
	seen := map[string]bool{}
	return l.eachBalancer(func(b edgeBalancer) error {
		acl, err := l.edgeWebACL(b.arn())
		if err != nil || acl == nil || seen[aws.ToString(acl.ARN)] {
			return err
		}
		seen[aws.ToString(acl.ARN)] = true
		return do(acl)
	})
}

const apiWebACL = "wafv2:GetWebACLForResource"

func wafChecks() []Check {
	return []Check{
		{
			ID: "waf-associated", Proves: "Both load balancers stand behind a web application firewall.",
			Level: Required, Rows: []string{"S3", "B27"}, run: wafAssociated,
		},
		{
			ID: "waf-rules", Proves: "The firewall blocks by AWS's rules on addresses of ill repute, known bad input and common attacks.",
			Level: Required, Rows: []string{"S3", "B27"}, run: wafRules,
		},
		{
			ID: "waf-bodies", Proves: "Bodies that look like an attack are blocked, except on the API host, where code is sent.",
			Level: Required, Rows: []string{"S3", "B27"}, run: wafBodies,
		},
		{
			ID: "waf-exceptions", Proves: "Of AWS's rules, only those count and don't block that would stop the application.",
			Level: Advised, Rows: []string{"S3", "B27"}, run: wafExceptions,
		},
		{
			ID: "waf-rate", Proves: "An address that sends more requests than the configured limit is blocked.",
			Level: Required, Rows: []string{"S3", "B27"}, run: wafRate,
		},
		{
			ID: "waf-logs", Proves: "The firewall logs what it sees to the deployment's log group.",
			Level: Required, Rows: []string{"B45"}, run: wafLogs,
		},
		{
			ID: "waf-log-redaction", Proves: "The firewall's logs hold no tokens and no session cookies.",
			Level: Required, Rows: []string{"B45"}, run: wafRedaction,
		},
	}
}

func wafAssociated(l *look, r *result) error {
	if !l.arch.Config.WAF.Enabled {
		r.na("waf.enabled is false")
		return nil
	}
	return l.eachBalancer(func(b edgeBalancer) error {
		acl, err := l.edgeWebACL(b.arn())
		if err != nil {
			return err
		}
		saw := "no web ACL"
		if acl != nil {
			saw = aws.ToString(acl.ARN)
		}
		r.saw(acl != nil, b.arn(), saw, apiWebACL, "a web ACL", fixUpdate)
		return nil
	})
}

// managedGroup is a rule that is a group of AWS's own, by the group's name.
func managedGroup(r types.Rule) (*types.ManagedRuleGroupStatement, bool) {
	if r.Statement == nil || r.Statement.ManagedRuleGroupStatement == nil {
		return nil, false
	}
	g := r.Statement.ManagedRuleGroupStatement
	return g, aws.ToString(g.VendorName) == "AWS"
}

func wafRules(l *look, r *result) error {
	return withWAF(l, r, func(acl *types.WebACL) error {
		blocks := map[string]string{}
		for _, rule := range acl.Rules {
			g, ok := managedGroup(rule)
			if !ok {
				continue
			}
			how := "blocks"
			switch {
			case rule.OverrideAction != nil && rule.OverrideAction.Count != nil:
				how = "counts only"
			case g.ScopeDownStatement != nil:
				how = "looks at some requests only"
			}
			blocks[aws.ToString(g.Name)] = how
		}
		for _, want := range []string{"AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesCommonRuleSet"} {
			how := blocks[want]
			if how == "" {
				how = "is not there"
			}
			r.saw(how == "blocks", aws.ToString(acl.ARN), want+" "+how, apiWebACL, want+" blocks",
				fixUpdate)
		}
		return nil
	})
}

// labels are the labels that a statement asks for, wherever they stand in it.
func labels(s *types.Statement) []string {
	if s == nil {
		return nil
	}
	var out []string
	if s.LabelMatchStatement != nil {
		out = append(out, aws.ToString(s.LabelMatchStatement.Key))
	}
	var inner []types.Statement
	if s.OrStatement != nil {
		inner = append(inner, s.OrStatement.Statements...)
	}
	if s.AndStatement != nil {
		inner = append(inner, s.AndStatement.Statements...)
	}
	for i := range inner {
		out = append(out, labels(&inner[i])...)
	}
	return out
}

// counted are the rules of AWS's groups that only count: the group's label, and
// the label that a rule leaves.
// https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
func counted(acl *types.WebACL) (bodies, others []string) {
	groups := map[string]string{"AWSManagedRulesCommonRuleSet": "core-rule-set", "AWSManagedRulesKnownBadInputsRuleSet": "known-bad-inputs"}
	for _, rule := range acl.Rules {
		g, ok := managedGroup(rule)
		if !ok {
			continue
		}
		for _, o := range g.RuleActionOverrides {
			if o.ActionToUse == nil || o.ActionToUse.Count == nil && o.ActionToUse.Allow == nil {
				continue
			}
			name := aws.ToString(o.Name)
			if body, ok := strings.CutSuffix(name, "_BODY"); ok && o.ActionToUse.Count != nil && groups[aws.ToString(g.Name)] != "" {
				bodies = append(bodies, "awswaf:managed:aws:"+groups[aws.ToString(g.Name)]+":"+body+"_Body")
				continue
			}
			others = append(others, name)
		}
		for _, o := range g.ExcludedRules {
			others = append(others, aws.ToString(o.Name))
		}
	}
	return bodies, others
}

// blockedBodies are the labels that a rule blocks by, everywhere but on the API
// host. A rule that looks at anything else as well counts for nothing.
func blockedBodies(acl *types.WebACL, api string) []string {
	var out []string
	for _, rule := range acl.Rules {
		if rule.Action == nil || rule.Action.Block == nil || rule.Statement == nil {
			continue
		}
		s := rule.Statement
		if s.AndStatement == nil {
			out = append(out, labels(s)...)
			continue
		}
		others := false
		for i := range s.AndStatement.Statements {
			part := &s.AndStatement.Statements[i]
			if len(labels(part)) == 0 && !exceptHost(part, api) {
				others = true
			}
		}
		if !others {
			out = append(out, labels(s)...)
		}
	}
	return out
}

// exceptHost tells whether a statement holds for every host but one.
func exceptHost(s *types.Statement, host string) bool {
	if s.NotStatement == nil || s.NotStatement.Statement == nil {
		return false
	}
	m := s.NotStatement.Statement.ByteMatchStatement
	return m != nil && m.FieldToMatch != nil && m.FieldToMatch.SingleHeader != nil &&
		strings.EqualFold(aws.ToString(m.FieldToMatch.SingleHeader.Name), "host") &&
		m.PositionalConstraint == types.PositionalConstraintExactly && strings.EqualFold(string(m.SearchString), host)
}

func wafBodies(l *look, r *result) error {
	return withWAF(l, r, func(acl *types.WebACL) error {
		bodies, _ := counted(acl)
		blocked := blockedBodies(acl, l.arch.Config.Access.API.Host)
		if len(bodies) == 0 {
			r.saw(true, aws.ToString(acl.ARN), "AWS's rules on bodies block by themselves", apiWebACL, "", "")
		}
		for _, b := range bodies {
			ok := slices.Contains(blocked, b)
			saw := "what has the label " + b + " is blocked except on the API host"
			if !ok {
				saw = "what has the label " + b + " is counted and not blocked"
			}
			r.saw(ok, aws.ToString(acl.ARN), saw, apiWebACL, "blocked, except on "+l.arch.Config.Access.API.Host,
				fixUpdate)
		}
		return nil
	})
}

func wafExceptions(l *look, r *result) error {
	// The provider's answers and the load balancer's cookies are longer than
	// these allow.
	known := []string{"SizeRestrictions_Cookie_HEADER", "SizeRestrictions_QUERYSTRING"}
	return withWAF(l, r, func(acl *types.WebACL) error {
		_, others := counted(acl)
		for _, o := range others {
			r.saw(slices.Contains(known, o), aws.ToString(acl.ARN), o+" does not block", apiWebACL, "only "+strings.Join(known, " and ")+" don't",
				fixUpdate)
		}
		if len(others) == 0 {
			r.saw(true, aws.ToString(acl.ARN), "no exceptions", apiWebACL, "", "")
		}
		return nil
	})
}

func wafRate(l *look, r *result) error {
	limit := l.arch.Config.WAF.RateLimit
	if l.arch.Config.WAF.Enabled && limit == 0 {
		r.na("waf.rateLimit is 0")
		return nil
	}
	return withWAF(l, r, func(acl *types.WebACL) error {
		saw, ok := "no limit", false
		for _, rule := range acl.Rules {
			if rule.Statement == nil || rule.Statement.RateBasedStatement == nil {
				continue
			}
			s := rule.Statement.RateBasedStatement
			blocks := rule.Action != nil && rule.Action.Block != nil
			if !ok {
				saw = fmt.Sprintf("%d requests in %d seconds, blocks: %s", aws.ToInt64(s.Limit), s.EvaluationWindowSec, yesNo(blocks))
			}
			ok = ok || blocks && aws.ToInt64(s.Limit) <= int64(limit) && s.AggregateKeyType == types.RateBasedStatementAggregateKeyTypeIp && s.ScopeDownStatement == nil
		}
		r.saw(ok, aws.ToString(acl.ARN), saw, apiWebACL, fmt.Sprintf("%d requests of an address in 300 seconds, blocks: on", limit),
			fixUpdate)
		return nil
	})
}

func wafLogs(l *look, r *result) error {
	want := l.arch.WAFLogGroup()
	return withWAF(l, r, func(acl *types.WebACL) error {
		c, err := l.edgeWAFLogs(aws.ToString(acl.ARN))
		if err != nil {
			return err
		}
		saw, ok := "no logs", false
		if c != nil {
			saw = "logs to " + strings.Join(c.LogDestinationConfigs, ", ")
			ok = slices.ContainsFunc(c.LogDestinationConfigs, func(d string) bool {
				return strings.TrimSuffix(d, ":*") == "arn:"+l.id.Partition+":logs:"+l.aws.Region+":"+l.id.Account+":log-group:"+want
			})
			if c.LoggingFilter != nil {
				ok, saw = false, saw+", filtered"
			}
		}
		r.saw(ok, aws.ToString(acl.ARN), saw, "wafv2:GetLoggingConfiguration", "all logs to "+want,
			"Switch logging on: aws wafv2 put-logging-configuration with the log group "+want+".")
		return nil
	})
}

func wafRedaction(l *look, r *result) error {
	return withWAF(l, r, func(acl *types.WebACL) error {
		c, err := l.edgeWAFLogs(aws.ToString(acl.ARN))
		if err != nil {
			return err
		}
		if c == nil {
			r.saw(true, aws.ToString(acl.ARN), "no logs", "wafv2:GetLoggingConfiguration", "", "")
			return nil
		}
		var redacted []string
		for _, f := range c.RedactedFields {
			if f.SingleHeader != nil {
				redacted = append(redacted, strings.ToLower(aws.ToString(f.SingleHeader.Name)))
			}
		}
		for _, want := range []string{"authorization", "cookie"} {
			saw := "the header " + want + " is redacted"
			if !slices.Contains(redacted, want) {
				saw = "the header " + want + " is logged"
			}
			r.saw(slices.Contains(redacted, want), aws.ToString(acl.ARN), saw, "wafv2:GetLoggingConfiguration", "the header "+want+" is redacted",
				fixUpdate)
		}
		return nil
	})
}
