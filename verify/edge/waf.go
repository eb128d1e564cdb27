package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// edgeWAFLogs is where a web ACL logs to, or nil.
func edgeWAFLogs(l *account.Look, acl string) (*types.LoggingConfiguration, error) {
	return account.Facts[edgeFacts](l).edgeWAFLogFacts.Get(acl, func() (*types.LoggingConfiguration, error) {
		got, err := l.AWS.WAF.GetLoggingConfiguration(l.Ctx, &wafv2.GetLoggingConfigurationInput{ResourceArn: &acl})
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
func withWAF(l *account.Look, r *check.Recorder, do func(acl *types.WebACL) error) error {
	if !l.Arch.Config.WAF.Enabled {
		r.NA("waf.enabled is false")
		return nil
	}
	seen := map[string]bool{}
	return l.EachBalancer(func(b account.Balancer) error {
		acl, err := l.WebACL(b.ARN())
		if err != nil || acl == nil || seen[aws.ToString(acl.ARN)] {
			return err
		}
		seen[aws.ToString(acl.ARN)] = true
		return do(acl)
	})
}

const apiWebACL = "wafv2:GetWebACLForResource"

func wafChecks() []check.Check {
	return []check.Check{
		{
			ID: "waf-associated", Proves: "Both load balancers stand behind a web application firewall.",
			Level: check.Required, Rows: []string{"S3", "B27"}, Run: wafAssociated,
		},
		{
			ID: "waf-rules", Proves: "The firewall blocks by AWS's rules on addresses of ill repute, known bad input and common attacks.",
			Level: check.Required, Rows: []string{"S3", "B27"}, Run: wafRules,
		},
		{
			ID: "waf-bodies", Proves: "Bodies that look like an attack are blocked, except on the API host, where code is sent.",
			Level: check.Required, Rows: []string{"S3", "B27"}, Run: wafBodies,
		},
		{
			ID: "waf-exceptions", Proves: "Of AWS's rules, only those count and don't block that would stop the application.",
			Level: check.Advised, Rows: []string{"S3", "B27"}, Run: wafExceptions,
		},
		{
			ID: "waf-rate", Proves: "An address that sends more requests than the configured limit is blocked.",
			Level: check.Required, Rows: []string{"S3", "B27"}, Run: wafRate,
		},
		{
			ID: "waf-logs", Proves: "The firewall logs what it sees to the deployment's log group.",
			Level: check.Required, Rows: []string{"B45"}, Run: wafLogs,
		},
		{
			ID: "waf-log-redaction", Proves: "The firewall's logs hold no tokens and no session cookies.",
			Level: check.Required, Rows: []string{"B45"}, Run: wafRedaction,
		},
	}
}

func wafAssociated(l *account.Look, r *check.Recorder) error {
	if !l.Arch.Config.WAF.Enabled {
		r.NA("waf.enabled is false")
		return nil
	}
	return l.EachBalancer(func(b account.Balancer) error {
		acl, err := l.WebACL(b.ARN())
		if err != nil {
			return err
		}
		saw := "no web ACL"
		if acl != nil {
			saw = aws.ToString(acl.ARN)
		}
		r.Saw(acl != nil, b.ARN(), saw, apiWebACL, "a web ACL", check.FixUpdate)
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

func wafRules(l *account.Look, r *check.Recorder) error {
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
			r.Saw(how == "blocks", aws.ToString(acl.ARN), want+" "+how, apiWebACL, want+" blocks",
				check.FixUpdate)
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

func wafBodies(l *account.Look, r *check.Recorder) error {
	return withWAF(l, r, func(acl *types.WebACL) error {
		bodies, _ := counted(acl)
		blocked := blockedBodies(acl, l.Arch.Config.Access.API.Host)
		if len(bodies) == 0 {
			r.Saw(true, aws.ToString(acl.ARN), "AWS's rules on bodies block by themselves", apiWebACL, "", "")
		}
		for _, b := range bodies {
			ok := slices.Contains(blocked, b)
			saw := "what has the label " + b + " is blocked except on the API host"
			if !ok {
				saw = "what has the label " + b + " is counted and not blocked"
			}
			r.Saw(ok, aws.ToString(acl.ARN), saw, apiWebACL, "blocked, except on "+l.Arch.Config.Access.API.Host,
				check.FixUpdate)
		}
		return nil
	})
}

func wafExceptions(l *account.Look, r *check.Recorder) error {
	// The provider's answers and the load balancer's cookies are longer than
	// these allow.
	known := []string{"SizeRestrictions_Cookie_HEADER", "SizeRestrictions_QUERYSTRING"}
	return withWAF(l, r, func(acl *types.WebACL) error {
		_, others := counted(acl)
		for _, o := range others {
			r.Saw(slices.Contains(known, o), aws.ToString(acl.ARN), o+" does not block", apiWebACL, "only "+strings.Join(known, " and ")+" don't",
				check.FixUpdate)
		}
		if len(others) == 0 {
			r.Saw(true, aws.ToString(acl.ARN), "no exceptions", apiWebACL, "", "")
		}
		return nil
	})
}

func wafRate(l *account.Look, r *check.Recorder) error {
	limit := l.Arch.Config.WAF.RateLimit
	if l.Arch.Config.WAF.Enabled && limit == 0 {
		r.NA("waf.rateLimit is 0")
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
				saw = fmt.Sprintf("%d requests in %d seconds, blocks: %s", aws.ToInt64(s.Limit), s.EvaluationWindowSec, check.YesNo(blocks))
			}
			ok = ok || blocks && aws.ToInt64(s.Limit) <= int64(limit) && s.AggregateKeyType == types.RateBasedStatementAggregateKeyTypeIp && s.ScopeDownStatement == nil
		}
		r.Saw(ok, aws.ToString(acl.ARN), saw, apiWebACL, fmt.Sprintf("%d requests of an address in 300 seconds, blocks: on", limit),
			check.FixUpdate)
		return nil
	})
}

func wafLogs(l *account.Look, r *check.Recorder) error {
	want := l.Arch.WAFLogGroup()
	return withWAF(l, r, func(acl *types.WebACL) error {
		c, err := edgeWAFLogs(l, aws.ToString(acl.ARN))
		if err != nil {
			return err
		}
		saw, ok := "no logs", false
		if c != nil {
			saw = "logs to " + strings.Join(c.LogDestinationConfigs, ", ")
			ok = slices.ContainsFunc(c.LogDestinationConfigs, func(d string) bool {
				return strings.TrimSuffix(d, ":*") == "arn:"+l.ID.Partition+":logs:"+l.AWS.Region+":"+l.ID.Account+":log-group:"+want
			})
			if c.LoggingFilter != nil {
				ok, saw = false, saw+", filtered"
			}
		}
		r.Saw(ok, aws.ToString(acl.ARN), saw, "wafv2:GetLoggingConfiguration", "all logs to "+want,
			"Switch logging on: aws wafv2 put-logging-configuration with the log group "+want+".")
		return nil
	})
}

func wafRedaction(l *account.Look, r *check.Recorder) error {
	return withWAF(l, r, func(acl *types.WebACL) error {
		c, err := edgeWAFLogs(l, aws.ToString(acl.ARN))
		if err != nil {
			return err
		}
		if c == nil {
			r.Saw(true, aws.ToString(acl.ARN), "no logs", "wafv2:GetLoggingConfiguration", "", "")
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
			r.Saw(slices.Contains(redacted, want), aws.ToString(acl.ARN), saw, "wafv2:GetLoggingConfiguration", "the header "+want+" is redacted",
				check.FixUpdate)
		}
		return nil
	})
}
