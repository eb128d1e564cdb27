package wafv2_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wafv2"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

const balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/lb/1"

type world struct{ *account.Account }

func newWorld(t *testing.T) world {
	t.Helper()
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, x := range wafv2.Types() {
		model.Types[x.Name] = x
	}
	w := world{account.New(model, account.Options{Now: func() time.Time { return now }})}
	err := w.Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: balancer})
		tx.Put(&account.Resource{Type: "AWS::Logs::LogGroup", ID: "aws-waf-logs-a"})
		tx.Put(&account.Resource{Type: "AWS::Logs::LogGroup", ID: "other"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) create(typ string, p obj) (*account.Resource, error) {
	var r *account.Resource
	err := w.Do(func(tx *account.Tx) error {
		var err error
		r, _, err = tx.Create(typ, p, "", true)
		return err
	})
	return r, err
}

func (w world) remove(r *account.Resource) error {
	return w.Do(func(tx *account.Tx) error {
		real := tx.Get(r.Type, r.ID)
		if _, err := tx.Delete(real, false); err != nil {
			return err
		}
		return tx.Settle(real, "delete")
	})
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	var e *account.Error
	got := ""
	if errors.As(err, &e) {
		got = e.Code + ": " + e.Message
	} else if err != nil {
		got = err.Error()
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func acl(rules ...any) obj {
	return obj{"Name": "acl", "Scope": "REGIONAL", "DefaultAction": obj{"Allow": obj{}}, "VisibilityConfig": obj{"MetricName": "m"}, "Rules": append([]any{}, rules...)}
}

func with(p obj, key string, value any) obj {
	p[key] = value
	return p
}

func managed(name string, priority int) obj {
	return obj{"Name": name, "Priority": priority, "OverrideAction": obj{"None": obj{}}, "Statement": obj{"ManagedRuleGroupStatement": obj{"VendorName": "AWS", "Name": name}}}
}

func rule(name string, priority int, statement obj) obj {
	return obj{"Name": name, "Priority": priority, "Action": obj{"Block": obj{}}, "Statement": statement}
}

func TestAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	geo := obj{"GeoMatchStatement": obj{"CountryCodes": []any{"DE"}}}
	set := func(version string, addresses ...any) obj {
		return obj{"Name": "s", "Scope": "REGIONAL", "IPAddressVersion": version, "Addresses": addresses}
	}
	big := []any{}
	for i, name := range []string{"AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"} {
		for range 6 {
			r := managed(name, len(big)+i*10)
			r["Name"] = name + string(rune('a'+len(big)))
			big = append(big, r)
		}
	}
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"group":             {wafv2.TypeWebACL, acl(managed("AWSManagedRulesCommonRuleSet", 0)), ""},
		"unknown group":     {wafv2.TypeWebACL, acl(managed("AWSManagedRules", 0)), "WAFNonexistentItemException: "},
		"priority twice":    {wafv2.TypeWebACL, acl(rule("a", 0, geo), rule("b", 0, geo)), "WAFDuplicateItemException: "},
		"name twice":        {wafv2.TypeWebACL, acl(rule("a", 0, geo), rule("a", 1, geo)), "WAFDuplicateItemException: "},
		"capacity":          {wafv2.TypeWebACL, acl(big...), "WAFLimitsExceededException: "},
		"no action":         {wafv2.TypeWebACL, acl(obj{"Name": "a", "Priority": 0, "Statement": geo}), "WAFInvalidParameterException: Error reason: You have used none or multiple values"},
		"group with action": {wafv2.TypeWebACL, acl(rule("a", 0, obj{"ManagedRuleGroupStatement": obj{"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}})), "WAFInvalidParameterException: "},
		"two statements":    {wafv2.TypeWebACL, acl(rule("a", 0, obj{"GeoMatchStatement": obj{}, "LabelMatchStatement": obj{}})), "WAFInvalidParameterException: Error reason: A statement must hold exactly one"},
		"low rate":          {wafv2.TypeWebACL, acl(rule("a", 0, obj{"RateBasedStatement": obj{"Limit": 9}})), "WAFInvalidParameterException: Error reason: RateLimit is out of range."},
		"for CloudFront":    {wafv2.TypeWebACL, with(acl(), "Scope", "CLOUDFRONT"), "NotModelled: the scope CLOUDFRONT is not modelled"},
		"name":              {wafv2.TypeWebACL, with(acl(), "Name", "a b"), "WAFInvalidParameterException: Error reason: The parameter contains formatting that is not valid., field: NAME"},
		"no metric":         {wafv2.TypeWebACL, with(acl(), "VisibilityConfig", obj{}), "WAFInvalidParameterException: Error reason: You have used none or multiple values for a field that requires exactly one value., field: VISIBILITY_CONFIG"},
		"no default":        {wafv2.TypeWebACL, with(acl(), "DefaultAction", obj{}), "WAFInvalidParameterException: Error reason: You have used none or multiple values for a field that requires exactly one value., field: DEFAULT_ACTION"},
		"and of one":        {wafv2.TypeWebACL, acl(rule("a", 0, obj{"AndStatement": obj{"Statements": []any{geo}}})), "WAFInvalidParameterException: Error reason: AndStatement needs at least two statements."},
		"regex":             {wafv2.TypeWebACL, acl(rule("a", 0, obj{"RegexMatchStatement": obj{}})), "NotModelled: RegexMatchStatement is not modelled"},
		"no set":            {wafv2.TypeWebACL, acl(rule("a", 0, obj{"NotStatement": obj{"Statement": obj{"IPSetReferenceStatement": obj{"Arn": "none"}}}})), "WAFNonexistentItemException: "},
		"range":             {wafv2.TypeIPSet, set("IPV4", "192.0.2.0/24"), ""},
		"no range":          {wafv2.TypeIPSet, set("IPV4", "192.0.2.1"), "WAFInvalidParameterException: Error reason: The parameter contains formatting that is not valid., field: IP_ADDRESS, parameter: 192.0.2.1"},
		"everything":        {wafv2.TypeIPSet, set("IPV4", "0.0.0.0/0"), "WAFInvalidParameterException: "},
		"other version":     {wafv2.TypeIPSet, set("IPV6", "192.0.2.0/24"), "WAFInvalidParameterException: "},
		"no ACL":            {wafv2.TypeAssociation, obj{"ResourceArn": balancer, "WebACLArn": "none"}, "WAFNonexistentItemException: "},
		"no ACL to log":     {wafv2.TypeLogging, obj{"ResourceArn": "none"}, "WAFNonexistentItemException: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := world{w.Clone(time.Now)}.create(c.typ, c.p)
			check(t, err, c.want)
		})
	}
}

// A web ACL or IP set in use can't be deleted.
//
// https://docs.aws.amazon.com/waf/latest/APIReference/API_DeleteWebACL.html
// https://docs.aws.amazon.com/waf/latest/APIReference/API_DeleteIPSet.html
func TestWhatBlocksDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must := func(typ string, p obj) *account.Resource {
		t.Helper()
		r, err := w.create(typ, p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	set := must(wafv2.TypeIPSet, obj{"Name": "s", "Scope": "REGIONAL", "IPAddressVersion": "IPV4", "Addresses": []any{"192.0.2.0/24"}})
	web := must(wafv2.TypeWebACL, acl(rule("a", 0, obj{"AndStatement": obj{"Statements": []any{
		obj{"IPSetReferenceStatement": obj{"Arn": set.Attrs["Arn"]}}, obj{"ByteMatchStatement": obj{"SearchString": "api"}},
	}}})))
	if web.Attrs["Capacity"] != 2 || !strings.HasPrefix(web.ID, "acl|") {
		t.Errorf("%s has capacity %v", web.ID, web.Attrs["Capacity"])
	}
	arn := props.Str(web.Attrs, "Arn")
	_, err := w.create(wafv2.TypeLogging, obj{"ResourceArn": arn, "LogDestinationConfigs": []any{"arn:aws:logs:us-east-1:123456789012:log-group:other"}})
	check(t, err, "WAFInvalidParameterException: Error reason: The ARN isn't valid.")
	_, err = w.create(wafv2.TypeLogging, obj{"ResourceArn": arn})
	check(t, err, "WAFInvalidParameterException: Error reason: Exactly one log destination is needed.")
	must(wafv2.TypeLogging, obj{"ResourceArn": arn, "LogDestinationConfigs": []any{"arn:aws:logs:us-east-1:123456789012:log-group:aws-waf-logs-a:*"}})
	_, err = w.create(wafv2.TypeAssociation, obj{"ResourceArn": balancer + "x", "WebACLArn": arn})
	check(t, err, "WAFUnavailableEntityException: ")
	association := must(wafv2.TypeAssociation, obj{"ResourceArn": balancer, "WebACLArn": arn})
	for _, o := range wafv2.Service().Operations {
		if !strings.HasPrefix(o.Name, "Get") && !strings.HasPrefix(o.Name, "List") {
			continue
		}
		err := w.Do(func(tx *account.Tx) error {
			out, err := o.Do(tx, &wire.Request{In: obj{"Id": web.Attrs["Id"], "ResourceArn": balancer, "ResourceARN": arn, "WebACLArn": arn}})
			if o.Name == "GetWebACLForResource" {
				// The API has search strings in base64.
				if b, merr := json.Marshal(out); merr != nil || !strings.Contains(string(b), `"SearchString":"YXBp"`) {
					t.Errorf("%s: %s, %v", o.Name, b, merr)
				}
			}
			return err
		})
		want := ""
		if o.Name == "GetIPSet" || o.Name == "GetLoggingConfiguration" {
			want = "WAFNonexistentItemException: "
		}
		check(t, err, want)
	}
	const inUse = "WAFAssociatedItemException: "
	check(t, w.remove(set), inUse)
	check(t, w.remove(web), inUse)
	check(t, w.remove(association), "")
	check(t, w.remove(web), "")
	check(t, w.remove(set), "")
	err = w.Do(func(tx *account.Tx) error {
		if n := len(tx.List(wafv2.TypeLogging)); n != 0 {
			t.Errorf("%d logging configurations are left", n)
		}
		return nil
	})
	check(t, err, "")
}

// TestChanges goes through what the API can change.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web, err := w.create(wafv2.TypeWebACL, acl(rule("a", 0, obj{"ByteMatchStatement": obj{"SearchString": "api"}})))
	check(t, err, "")
	id, arn := web.Attrs["Id"], props.Str(web.Attrs, "Arn")
	call := func(op string, in obj) obj {
		t.Helper()
		var out any
		for _, o := range wafv2.Service().Operations {
			if o.Name == op {
				check(t, w.Do(func(tx *account.Tx) (err error) {
					out, err = o.Do(tx, &wire.Request{In: in})
					return err
				}), props.Str(in, "want"))
			}
		}
		m, _ := out.(map[string]any)
		return m
	}
	update := obj{"Id": id, "LockToken": id, "DefaultAction": obj{"Allow": obj{}}, "VisibilityConfig": obj{"MetricName": "m"}, "Rules": []any{
		rule("b", 0, obj{"ByteMatchStatement": obj{"SearchString": "YWRtaW4="}}),
	}}
	call("UpdateWebACL", with(obj{"Id": id, "LockToken": "old"}, "want", "WAFOptimisticLockException: "))
	call("UpdateWebACL", obj{"Id": "none", "want": "WAFNonexistentItemException: "})
	call("UpdateWebACL", with(obj{"Id": id, "LockToken": id}, "want", "WAFInvalidParameterException: "))
	call("UpdateWebACL", update)
	call("AssociateWebACL", obj{"ResourceArn": balancer, "WebACLArn": "none", "want": "WAFNonexistentItemException: "})
	for range 2 { // an association replaces the one before
		call("AssociateWebACL", obj{"ResourceArn": balancer, "WebACLArn": arn})
	}
	for kind, n := range map[string]int{"": 1, "APPLICATION_LOAD_BALANCER": 1, "API_GATEWAY": 0} {
		if got := props.List(call("ListResourcesForWebACL", obj{"WebACLArn": arn, "ResourceType": kind}), "ResourceArns"); len(got) != n {
			t.Errorf("resources of kind %q: %v", kind, got)
		}
	}
	call("ListWebACLs", obj{"Scope": "CLOUDFRONT", "want": "NotModelled: "})
	got := call("GetWebACLForResource", obj{"ResourceArn": balancer})
	if b, err := json.Marshal(got); err != nil || !strings.Contains(string(b), `"SearchString":"YWRtaW4="`) || !strings.Contains(string(b), `"Name":"b"`) {
		t.Errorf("after the update: %s, %v", b, err)
	}
	call("DisassociateWebACL", obj{"ResourceArn": balancer})
	call("DisassociateWebACL", obj{"ResourceArn": "none", "want": "WAFNonexistentItemException: "})
	if got := call("GetWebACLForResource", obj{"ResourceArn": balancer}); len(got) != 0 {
		t.Errorf("after it was taken away: %v", got)
	}

	logs := func(fields ...any) obj {
		return obj{"LoggingConfiguration": obj{"ResourceArn": arn, "RedactedFields": fields, "LogDestinationConfigs": []any{"arn:aws:logs:us-east-1:123456789012:log-group:aws-waf-logs-a"}}}
	}
	call("PutLoggingConfiguration", logs())
	call("PutLoggingConfiguration", logs(obj{"SingleHeader": obj{"Name": "cookie"}}))
	if n := len(props.List(call("GetLoggingConfiguration", obj{"ResourceArn": arn}), "LoggingConfiguration", "RedactedFields")); n != 1 {
		t.Errorf("%d fields are redacted", n)
	}
	call("PutLoggingConfiguration", obj{"LoggingConfiguration": obj{"ResourceArn": arn}, "want": "WAFInvalidParameterException: "})
	call("DeleteLoggingConfiguration", obj{"ResourceArn": arn})
	call("DeleteLoggingConfiguration", obj{"ResourceArn": arn, "want": "WAFNonexistentItemException: "})

	call("TagResource", obj{"ResourceARN": arn, "Tags": []any{obj{"Key": "a", "Value": "1"}, obj{"Key": "b", "Value": "2"}}})
	call("UntagResource", obj{"ResourceARN": arn, "TagKeys": []any{"a"}})
	call("UntagResource", obj{"ResourceARN": "none", "want": "WAFNonexistentItemException: "})
	tags := props.Tags(call("ListTagsForResource", obj{"ResourceARN": arn}), "TagInfoForResource", "TagList")
	if len(tags) != 1 || tags["b"] != "2" {
		t.Errorf("tags are %v", tags)
	}
}
