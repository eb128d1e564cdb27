package templates

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestFirewall(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) { c.WAF.RateLimit = 500 }), architecture.Edge)
	for _, lb := range []string{"WebLoadBalancer", "AdminLoadBalancer"} {
		p := d.properties(t, lb+"Firewall", "AWS::WAFv2::WebACLAssociation")
		if text(p["ResourceArn"]) != "${"+lb+"}" || text(p["WebACLArn"]) != "${WebAcl.Arn}" {
			t.Errorf("%s: %s", lb, text(p))
		}
	}
	acl := d.properties(t, "WebAcl", "AWS::WAFv2::WebACL")
	if acl["Scope"] != "REGIONAL" || text(acl["DefaultAction"]) != `{"Allow":{}}` {
		t.Errorf("web ACL: %s", text(acl))
	}
	rules := map[string]any{}
	all, _ := acl["Rules"].([]any)
	for i, r := range all {
		rules[text(at(r, "Name"))] = r
		if at(r, "Priority") != float64(i) {
			t.Errorf("rule %d has priority %v", i, at(r, "Priority"))
		}
	}
	if diff := cmp.Diff([]string{"bodies", "core-rule-set", "ip-reputation", "known-bad-inputs", "rate"}, slices.Sorted(maps.Keys(rules))); diff != "" {
		t.Fatalf("rules (-want +got):\n%s", diff)
	}
	if got := at(rules["rate"], "Statement", "RateBasedStatement", "Limit"); got != 500.0 {
		t.Errorf("rate limit is %v", got)
	}

	// What inspects bodies counts, as do two rules on sizes that sign-on would
	// break; everything else blocks.
	counted, sizes := map[string]bool{}, []string{}
	for _, group := range []string{"core-rule-set", "known-bad-inputs"} {
		if got := text(at(rules[group], "OverrideAction")); got != `{"None":{}}` {
			t.Errorf("%s: override is %s", group, got)
		}
		overrides, _ := at(rules[group], "Statement", "ManagedRuleGroupStatement", "RuleActionOverrides").([]any)
		for _, o := range overrides {
			name := text(at(o, "Name"))
			if text(at(o, "ActionToUse")) != `{"Count":{}}` {
				t.Errorf("%s: %s", group, text(o))
			}
			if !strings.HasSuffix(name, "_BODY") {
				sizes = append(sizes, name)
				continue
			}
			counted["awswaf:managed:aws:"+group+":"+strings.TrimSuffix(name, "_BODY")+"_Body"] = true
		}
	}
	if diff := cmp.Diff([]string{"SizeRestrictions_Cookie_HEADER", "SizeRestrictions_QUERYSTRING"}, sizes); diff != "" {
		t.Errorf("sizes that only count (-want +got):\n%s", diff)
	}
	if len(counted) != 8 || !counted["awswaf:managed:aws:core-rule-set:SizeRestrictions_Body"] {
		t.Errorf("counted rules: %v", counted)
	}

	// What was counted is blocked, except on the API host.
	bodies := rules["bodies"]
	if text(at(bodies, "Action")) != `{"Block":{}}` || at(bodies, "Priority") != float64(len(all)-1) {
		t.Errorf("bodies: %s", text(bodies))
	}
	both := at(bodies, "Statement", "AndStatement", "Statements")
	host := at(both, 0, "NotStatement", "Statement", "ByteMatchStatement")
	if at(host, "SearchString") != "api.poolside.example.com" || at(host, "PositionalConstraint") != "EXACTLY" || at(host, "FieldToMatch", "SingleHeader", "Name") != "host" {
		t.Errorf("exception is %s", text(host))
	}
	blocked := map[string]bool{}
	labels, _ := at(both, 1, "OrStatement", "Statements").([]any)
	for _, l := range labels {
		blocked[text(at(l, "LabelMatchStatement", "Key"))] = true
	}
	if diff := cmp.Diff(counted, blocked); diff != "" {
		t.Errorf("labels (-counted +blocked):\n%s", diff)
	}
}

func TestFirewallLog(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Edge)
	group := d.properties(t, "WafLogGroup", "AWS::Logs::LogGroup")
	if group["LogGroupName"] != "aws-waf-logs-poolside" || text(group["KmsKeyId"]) != "${KeysLogsKeyArn}" {
		t.Errorf("log group: %s", text(group))
	}
	p := d.properties(t, "WebAclLogging", "AWS::WAFv2::LoggingConfiguration")
	if got := text(p["LogDestinationConfigs"]); got != "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${WafLogGroup}" {
		t.Errorf("destination is %s", got)
	}
	if got := text(p["RedactedFields"]); !strings.Contains(got, "authorization") || !strings.Contains(got, "cookie") {
		t.Errorf("redacted: %s", got)
	}
}

func TestNoFirewall(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"off":           func(c *config.Config) { c.WAF.Enabled = false },
		"without limit": func(c *config.Config) { c.WAF.RateLimit = 0 },
	} {
		d := built(t, planned(t, change), architecture.Edge)
		acls := d.ofType("AWS::WAFv2::WebACL")
		if name == "off" {
			if len(acls)+len(d.ofType("AWS::WAFv2::WebACLAssociation"))+len(d.ofType("AWS::Logs::LogGroup")) > 0 {
				t.Errorf("there is a firewall: %v", d.Resources)
			}
			continue
		}
		if got := text(d.properties(t, "WebAcl", "AWS::WAFv2::WebACL")["Rules"]); strings.Contains(got, "RateBasedStatement") {
			t.Error("there is a rate limit")
		}
	}
}
