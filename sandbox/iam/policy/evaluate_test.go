package policy_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

// conditioned tells whether a policy that allows under a condition does so.
func conditioned(t testing.TB, condition string, keys policy.Keys) bool {
	t.Helper()
	d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":`+condition+`}}`, policy.Identity)
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	return d.Allows(policy.Request{Type: "AWS", Principal: "arn:aws:iam::123456789012:user/alice", Action: "s3:GetObject", Resource: "arn:aws:s3:::b/x", Context: keys})
}

// Conditions compare a key with values by the operator: texts with or without
// wildcards, numbers, dates, booleans, bytes, addresses and ARNs part by part.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func TestConditionOperators(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		condition, value string
		want             bool
	}{
		{`{"StringEquals":{"aws:X":"a"}}`, "a", true},
		{`{"StringEquals":{"aws:X":["b","a"]}}`, "a", true},
		{`{"StringEquals":{"aws:X":"a"}}`, "A", false},
		{`{"StringEquals":{"aws:X":"a*"}}`, "ab", false},
		{`{"StringNotEquals":{"aws:X":["b","a"]}}`, "a", false},
		{`{"StringNotEquals":{"aws:X":["b","c"]}}`, "a", true},
		{`{"StringEqualsIgnoreCase":{"aws:X":"a"}}`, "A", true},
		{`{"StringNotEqualsIgnoreCase":{"aws:X":"a"}}`, "A", false},
		{`{"StringLike":{"aws:X":"a*c?"}}`, "abbcd", true},
		{`{"StringLike":{"aws:X":"a*"}}`, "Ab", false},
		{`{"StringNotLike":{"aws:X":"a*"}}`, "ab", false},
		{`{"NumericEquals":{"aws:X":"10"}}`, "10.0", true},
		{`{"NumericNotEquals":{"aws:X":10}}`, "11", true},
		{`{"NumericLessThan":{"aws:X":"10"}}`, "9", true},
		{`{"NumericLessThan":{"aws:X":"10"}}`, "10", false},
		{`{"NumericLessThanEquals":{"aws:X":"10"}}`, "10", true},
		{`{"NumericGreaterThan":{"aws:X":"10"}}`, "9", false},
		{`{"NumericGreaterThanEquals":{"aws:X":"10"}}`, "10", true},
		{`{"NumericGreaterThan":{"aws:X":"10"}}`, "many", false},
		{`{"DateEquals":{"aws:X":"2026-01-02T03:04:05Z"}}`, "2026-01-02T04:04:05+01:00", true},
		{`{"DateNotEquals":{"aws:X":"2026-01-02T03:04:05Z"}}`, "2026-01-02T03:04:05Z", false},
		{`{"DateLessThan":{"aws:X":"2026-01-02T03:04:05Z"}}`, "2026-01-01T00:00:00Z", true},
		{`{"DateLessThanEquals":{"aws:X":"2026-01-02"}}`, "2026-01-02T00:00:00Z", true},
		{`{"DateGreaterThan":{"aws:X":"1767225600"}}`, "2026-01-01T00:00:01Z", true},
		{`{"DateGreaterThanEquals":{"aws:X":"2026-01-02T03:04Z"}}`, "2026-01-02T03:03:59Z", false},
		{`{"Bool":{"aws:X":"true"}}`, "TRUE", true},
		{`{"Bool":{"aws:X":false}}`, "true", false},
		{`{"BinaryEquals":{"aws:X":"QmluYXJ5"}}`, "QmluYXJ5", true},
		{`{"BinaryEquals":{"aws:X":"QmluYXJ5"}}`, "binary", false},
		{`{"IpAddress":{"aws:X":"203.0.113.0/24"}}`, "203.0.113.9", true},
		{`{"IpAddress":{"aws:X":"203.0.113.9"}}`, "203.0.113.9", true},
		{`{"IpAddress":{"aws:X":"2001:db8::/32"}}`, "2001:db8:1::1", true},
		{`{"IpAddress":{"aws:X":"203.0.113.0/24"}}`, "198.51.100.1", false},
		{`{"NotIpAddress":{"aws:X":["203.0.113.0/24","198.51.100.0/24"]}}`, "198.51.100.1", false},
		{`{"ArnEquals":{"aws:X":"arn:aws:iam::*:role/a*"}}`, "arn:aws:iam::123456789012:role/abc", true},
		{`{"ArnLike":{"aws:X":"arn:aws:s3:::b/*"}}`, "arn:aws:s3:::b/x:y", true},
		{`{"ArnLike":{"aws:X":"arn:aws:*"}}`, "arn:aws:s3:::b", false},
		{`{"ArnLike":{"aws:X":"arn:aws:s?:::b"}}`, "arn:aws:s3:::b", true},
		{`{"ArnNotLike":{"aws:X":"arn:aws:s3:::b*"}}`, "arn:aws:s3:::bc", false},
		{`{"ArnNotEquals":{"aws:X":"arn:aws:s3:::b"}}`, "arn:aws:s3:::c", true},
		{`{"Null":{"aws:X":"true"}}`, "a", false},
		{`{"Null":{"aws:X":"false"}}`, "a", true},
		{`{"StringEquals":{"aws:X":"a","aws:Y":"b"}}`, "a", false},
		{`{"StringEquals":{"AWS:x":"a"}}`, "a", true},
	} {
		if got := conditioned(t, c.condition, policy.Keys{"aws:x": {c.value}}); got != c.want {
			t.Errorf("%s of %q: got %v", c.condition, c.value, got)
		}
	}
}

// A key that a request doesn't have fits no condition but the negative ones,
// those that end in IfExists, and Null.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func TestMissingConditionKey(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		`{"StringEquals":{"aws:X":"a"}}`:                     false,
		`{"StringNotEquals":{"aws:X":"a"}}`:                  true,
		`{"StringEqualsIfExists":{"aws:X":"a"}}`:             true,
		`{"NumericLessThanIfExists":{"aws:X":"1"}}`:          true,
		`{"NotIpAddress":{"aws:X":"203.0.113.0/24"}}`:        true,
		`{"ArnNotLike":{"aws:X":"arn:aws:s3:::b"}}`:          true,
		`{"Bool":{"aws:X":"false"}}`:                         false,
		`{"BoolIfExists":{"aws:X":"false"}}`:                 true,
		`{"Null":{"aws:X":"true"}}`:                          true,
		`{"Null":{"aws:X":false}}`:                           false,
		`{"ForAllValues:StringEquals":{"aws:X":"a"}}`:        true,
		`{"ForAnyValue:StringEquals":{"aws:X":"a"}}`:         false,
		`{"ForAnyValue:StringNotEquals":{"aws:X":"a"}}`:      false,
		`{"ForAnyValue:StringEqualsIfExists":{"aws:X":"a"}}`: true,
	} {
		if got := conditioned(t, condition, policy.Keys{}); got != want {
			t.Errorf("%s: got %v", condition, got)
		}
	}
}

// Of a key with several values, ForAllValues wants every one to fit, and
// ForAnyValue at least one.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
func TestSeveralValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		condition string
		values    []string
		want      bool
	}{
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"a", "b"}, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"a", "c"}, false},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"c", "b"}, true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}`, []string{"c"}, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, []string{"a", "c"}, true},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, []string{"a", "b"}, false},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a"]}}`, []string{"b", "c"}, true},
		{`{"ForAllValues:StringNotLike":{"aws:TagKeys":["a*"]}}`, []string{"b", "ac"}, false},
	} {
		if got := conditioned(t, c.condition, policy.Keys{"aws:tagkeys": c.values}); got != c.want {
			t.Errorf("%s of %q: got %v", c.condition, c.values, got)
		}
	}
}

// Variables in resources and texts of conditions take the values of condition
// keys, or their defaults; without a value nothing fits. What they bring is no
// wildcard.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func TestPolicyVariables(t *testing.T) {
	t.Parallel()
	keys := policy.Keys{"aws:username": {"alice"}, "aws:principaltag/team": {"*"}, "aws:tagkeys": {"a", "b"}}
	for _, c := range []struct {
		version, statement, resource string
		want                         bool
	}{
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:username}/*"`, "arn:aws:s3:::b/alice/x", true},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${AWS:UserName}/*"`, "arn:aws:s3:::b/bob/x", false},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:PrincipalTag/team}"`, "arn:aws:s3:::b/x", false},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:PrincipalTag/team}"`, "arn:aws:s3:::b/*", true},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:none}"`, "arn:aws:s3:::b/", false},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:none, 'public'}/*"`, "arn:aws:s3:::b/public/x", true},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${aws:TagKeys}"`, "arn:aws:s3:::b/a", false},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${*}"`, "arn:aws:s3:::b/x", false},
		{"2012-10-17", `"Resource":"arn:aws:s3:::b/${*}${?}${$}"`, "arn:aws:s3:::b/*?$", true},
		{"2012-10-17", `"NotResource":"arn:aws:s3:::b/${aws:username}/*"`, "arn:aws:s3:::b/alice/x", false},
		{"2012-10-17", `"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:username}"}}`, "arn:aws:s3:::b/x", false},
		{"2012-10-17", `"Resource":"*","Condition":{"StringLike":{"aws:username":"${aws:username}"}}`, "arn:aws:s3:::b/x", true},
		{"2012-10-17", `"Resource":"*","Condition":{"StringNotEquals":{"aws:username":"${aws:none}"}}`, "arn:aws:s3:::b/x", true},
		{"2008-10-17", `"Resource":"arn:aws:s3:::b/${aws:username}"`, "arn:aws:s3:::b/alice", false},
		{"2008-10-17", `"Resource":"arn:aws:s3:::b/${aws:username}"`, "arn:aws:s3:::b/${aws:username}", true},
	} {
		d, err := policy.Parse(`{"Version":"`+c.version+`","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*",`+c.statement+`}}`, policy.Resource)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Allows(policy.Request{Type: "AWS", Principal: "arn:aws:iam::123456789012:user/alice", Action: "s3:GetObject", Resource: c.resource, Context: keys}); got != c.want {
			t.Errorf("%s on %s: got %v", c.statement, c.resource, got)
		}
	}
}

// Actions and names of condition keys are compared without regard to case,
// resources and principals with it.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
func TestCase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		statement string
		want      bool
	}{
		{`"Action":"S3:getOBJECT","Resource":"arn:aws:s3:::b/x"`, true},
		{`"Action":"s3:GET*","Resource":"arn:aws:s3:::b/x"`, true},
		{`"Action":"s3:?etObject","Resource":"arn:aws:s3:::b/x"`, true},
		{`"Action":"s3:Get","Resource":"*"`, false},
		{`"NotAction":"S3:get*","Resource":"*"`, false},
		{`"NotAction":"ec2:*","Resource":"*"`, true},
		{`"Action":"*","Resource":"arn:aws:s3:::B/x"`, false},
		{`"Action":"*","NotResource":"arn:aws:s3:::b/*"`, false},
		{`"Action":"*","NotResource":"arn:aws:s3:::c/*"`, true},
	} {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+c.statement+`}}`, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Allows(policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/x"}); got != c.want {
			t.Errorf("%s: got %v", c.statement, got)
		}
	}
}

// An action that works on no resource is asked on *, which only statements for
// all resources fit.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func TestActionWithoutResource(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]bool{"*": true, "arn:aws:s3:::*": false, "arn:*": false} {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"`+resource+`"}}`, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Allows(policy.Request{Action: "s3:ListAllMyBuckets", Resource: "*"}); got != want {
			t.Errorf("%s: got %v", resource, got)
		}
	}
}

// A principal is named by itself, by the role that it is a session of, by its
// account or with everybody; NotPrincipal of a statement that denies spares only
// those whose session, role and account it lists.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
func TestPrincipals(t *testing.T) {
	t.Parallel()
	const (
		root    = "arn:aws:iam::123456789012:root"
		role    = "arn:aws:iam::123456789012:role/r"
		session = "arn:aws:sts::123456789012:assumed-role/r/s"
	)
	for _, c := range []struct {
		principal string
		want      policy.Naming
		denied    bool // what a denial with NotPrincipal in its place says
	}{
		{`{"AWS":"` + session + `"}`, policy.BySelf, true},
		{`{"AWS":"` + role + `"}`, policy.ByRole, true},
		{`{"AWS":"` + root + `"}`, policy.ByAccount, true},
		{`{"AWS":"123456789012"}`, policy.ByAccount, true},
		{`{"AWS":["` + root + `","` + role + `"]}`, policy.ByRole, true},
		{`{"AWS":["` + root + `","` + role + `","` + session + `"]}`, policy.BySelf, false},
		{`{"AWS":"arn:aws:iam::123456789012:role/other"}`, policy.Unnamed, true},
		{`{"AWS":"999999999999"}`, policy.Unnamed, true},
		{`{"Service":"ec2.amazonaws.com"}`, policy.Unnamed, true},
	} {
		r := policy.Request{Type: "AWS", Principal: session, Role: role, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/x"}
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":`+c.principal+`,"Action":"*","Resource":"*"}}`, policy.Resource)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Evaluate(&r); got.Naming != c.want {
			t.Errorf("%s: got %v, want %v", c.principal, got.Naming, c.want)
		}
		d, err = policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotPrincipal":`+c.principal+`,"Action":"*","Resource":"*"}}`, policy.Resource)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Evaluate(&r).Denies != nil; got != c.denied {
			t.Errorf("not %s: got %v, want %v", c.principal, got, c.denied)
		}
	}
}

// naive decides as the evaluator does, from the JSON and by regular expressions:
// it shares no code with it.
func naive(doc map[string]any, action, resource string, keys map[string][]string) string {
	list := func(v any) []string {
		var out []string
		switch v := v.(type) {
		case string:
			out = []string{v}
		case []any:
			for _, x := range v {
				out = append(out, x.(string))
			}
		}
		return out
	}
	like := func(pattern, s string, flags string) bool {
		var b strings.Builder
		for _, c := range pattern {
			switch c {
			case '*':
				b.WriteString("(?s:.*)")
			case '?':
				b.WriteString("(?s:.)")
			default:
				b.WriteString(regexp.QuoteMeta(string(c)))
			}
		}
		return regexp.MustCompile("^" + flags + b.String() + "$").MatchString(s)
	}
	compare := func(op, value, want string) bool {
		switch {
		case op == "StringEquals":
			return value == want
		case op == "StringEqualsIgnoreCase", op == "Bool":
			return strings.EqualFold(value, want)
		case op == "StringLike":
			return like(want, value, "")
		case op == "IpAddress":
			ip := net.ParseIP(value)
			_, n, err := net.ParseCIDR(want)
			return ip != nil && (err == nil && n.Contains(ip) || err != nil && ip.Equal(net.ParseIP(want)))
		case op == "ArnLike":
			v, w := strings.SplitN(value, ":", 6), strings.SplitN(want, ":", 6)
			if len(v) != 6 || len(w) != 6 {
				return false
			}
			for i := range v {
				if !like(w[i], v[i], "") {
					return false
				}
			}
			return true
		case strings.HasPrefix(op, "Numeric"), strings.HasPrefix(op, "Date"):
			var c int
			if strings.HasPrefix(op, "Numeric") {
				a, ok := new(big.Rat).SetString(value)
				b, ok2 := new(big.Rat).SetString(want)
				if !ok || !ok2 {
					return false
				}
				c = a.Cmp(b)
			} else {
				a, err := time.Parse(time.RFC3339, value)
				b, err2 := time.Parse(time.RFC3339, want)
				if err != nil || err2 != nil {
					return false
				}
				c = a.Compare(b)
			}
			switch strings.TrimPrefix(strings.TrimPrefix(op, "Numeric"), "Date") {
			case "Equals":
				return c == 0
			case "LessThan":
				return c < 0
			case "GreaterThanEquals":
				return c >= 0
			}
		}
		return false
	}
	holds := func(op, key string, wanted []string) bool {
		values := keys[key]
		set, rest, ok := strings.Cut(op, ":")
		if ok {
			op = rest
		} else {
			set = ""
		}
		if op == "Null" {
			return slices.Contains(wanted, fmt.Sprint(len(values) == 0))
		}
		op, ifExists := strings.CutSuffix(op, "IfExists")
		positive := strings.Replace(op, "Not", "", 1)
		one := func(v string) bool {
			any := false
			for _, w := range wanted {
				any = any || compare(positive, v, w)
			}
			return any == (positive == op)
		}
		if len(values) == 0 {
			return set == "ForAllValues" || ifExists || set == "" && positive != op
		}
		some, all := false, true
		for _, v := range values {
			some, all = some || one(v), all && one(v)
		}
		if set == "ForAllValues" || set == "" && positive != op {
			return all
		}
		return some
	}
	outcome := "none"
	for _, x := range doc["Statement"].([]any) {
		s := x.(map[string]any)
		in := func(key string, match func(string) bool) bool {
			return slices.ContainsFunc(list(s[key]), match)
		}
		act := func(p string) bool { return like(p, action, "(?i)") }
		res := func(p string) bool { return like(p, resource, "") }
		if s["Action"] != nil && !in("Action", act) || s["NotAction"] != nil && in("NotAction", act) ||
			s["Resource"] != nil && !in("Resource", res) || s["NotResource"] != nil && in("NotResource", res) {
			continue
		}
		ok := true
		if c, there := s["Condition"].(map[string]any); there {
			for op, by := range c {
				for key, wanted := range by.(map[string]any) {
					ok = ok && holds(op, key, list(wanted))
				}
			}
		}
		switch {
		case !ok:
		case s["Effect"] == "Deny":
			return "deny"
		default:
			outcome = "allow"
		}
	}
	return outcome
}

// TestNaiveEvaluatorAgrees compares random policies and requests.
func TestNaiveEvaluatorAgrees(t *testing.T) {
	t.Parallel()
	pick := func(values ...string) *rapid.Generator[string] { return rapid.SampledFrom(values) }
	values := map[string]*rapid.Generator[string]{
		"String":  pick("a", "A", "ab", "abc", "b", ""),
		"Numeric": pick("1", "2", "10", "1.5", "x"),
		"Date":    pick("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2025-01-01T01:00:00+01:00", "soon"),
		"Bool":    pick("true", "false", "True"),
		"Ip":      pick("10.0.0.1", "10.1.0.1", "192.168.0.1", "2001:db8::1", "nowhere"),
		"Arn":     pick("arn:aws:s3:::a", "arn:aws:s3:::ab", "arn:aws:iam::1:role/a", "a"),
	}
	wanted := map[string]*rapid.Generator[string]{
		"String":  pick("a", "A", "a*", "?b", "*", "abc", "b?", "a*c"),
		"Numeric": pick("1", "2", "3", "1.50", "y"),
		"Date":    pick("2026-01-01T00:00:00Z", "2025-12-31T23:00:00Z"),
		"Bool":    pick("true", "false"),
		"Ip":      pick("10.0.0.0/16", "10.0.0.1", "0.0.0.0/0", "2001:db8::/32"),
		"Arn":     pick("arn:aws:s3:::a*", "arn:aws:*:*:*:*", "arn:aws:s3:::a", "arn:*"),
	}
	operators := map[string][]string{
		"String":  {"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"},
		"Numeric": {"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"},
		"Date":    {"DateEquals", "DateNotEquals", "DateLessThan", "DateGreaterThanEquals"},
		"Bool":    {"Bool"},
		"Ip":      {"IpAddress", "NotIpAddress"},
		"Arn":     {"ArnLike", "ArnNotLike"},
	}
	kinds := []string{"Arn", "Bool", "Date", "Ip", "Numeric", "String"}
	oneOrMore := func(t *rapid.T, g *rapid.Generator[string], label string) any {
		list := rapid.SliceOfN(g, 1, 3).Draw(t, label)
		if len(list) == 1 && rapid.Bool().Draw(t, label+" alone") {
			return list[0]
		}
		var out []any
		for _, x := range list {
			out = append(out, x)
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		actions := pick("*", "s3:*", "S3:Get*", "s3:GetObject", "s3:?etObject", "ec2:*", "s3:PutObject")
		resources := pick("*", "arn:aws:s3:::a/*", "arn:aws:s3:::a/b", "arn:aws:s3:::?/b", "arn:aws:s3:::A/b", "arn:aws:ec2:*")
		var statements []any
		for i := range rapid.IntRange(1, 4).Draw(t, "statements") {
			label := fmt.Sprint("statement ", i)
			s := map[string]any{"Effect": pick("Allow", "Allow", "Deny").Draw(t, label+" effect")}
			s[pick("Action", "Action", "NotAction").Draw(t, label+" act")] = oneOrMore(t, actions, label+" action")
			s[pick("Resource", "Resource", "NotResource").Draw(t, label+" res")] = oneOrMore(t, resources, label+" resource")
			conditions := map[string]any{}
			for range rapid.IntRange(0, 2).Draw(t, label+" conditions") {
				kind := rapid.SampledFrom(kinds).Draw(t, label+" kind")
				op := rapid.SampledFrom(operators[kind]).Draw(t, label+" operator")
				op = pick("", "", "ForAllValues:", "ForAnyValue:").Draw(t, label+" set") + op + pick("", "", "IfExists").Draw(t, label+" exists")
				value := oneOrMore(t, wanted[kind], label+" wanted")
				if rapid.IntRange(0, 9).Draw(t, label+" null") == 0 {
					op, value = "Null", pick("true", "false").Draw(t, label+" absent")
				}
				conditions[op] = map[string]any{"x:" + strings.ToLower(kind): value}
			}
			if len(conditions) > 0 {
				s["Condition"] = conditions
			}
			statements = append(statements, s)
		}
		doc := map[string]any{"Version": "2012-10-17", "Statement": statements}
		keys := map[string][]string{}
		for _, kind := range kinds {
			if list := rapid.SliceOfN(values[kind], 0, 2).Draw(t, "values of "+kind); len(list) > 0 {
				keys["x:"+strings.ToLower(kind)] = list
			}
		}
		action := pick("s3:GetObject", "s3:PutObject", "ec2:RunInstances").Draw(t, "action")
		resource := pick("arn:aws:s3:::a/b", "arn:aws:s3:::a/c", "*").Draw(t, "resource")
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := policy.Parse(string(text), policy.Identity)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := "none"
		if d := parsed.Evaluate(&policy.Request{Action: action, Resource: resource, Context: policy.Keys(keys)}); d.Denies != nil {
			got = "deny"
		} else if d.Allows != nil {
			got = "allow"
		}
		if want := naive(doc, action, resource, keys); got != want {
			t.Errorf("%s\n%s on %s with %v: got %s, want %s", text, action, resource, keys, got, want)
		}
	})
}

// A document is read once, whether it comes as text or as a value.
func TestParseKeepsDocuments(t *testing.T) {
	t.Parallel()
	const text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:KeptOnce","Resource":"*"}}`
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	for _, doc := range []any{text, value} {
		a, err := policy.Parse(doc, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		b, err := policy.Parse(doc, policy.Identity)
		if err != nil || a != b {
			t.Errorf("%T is read twice", doc)
		}
		if c, err := policy.Parse(doc, policy.Resource); err == nil {
			t.Errorf("%T of another kind: got %v", doc, c)
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	text := "{\"Version\": \"2012-10-17\",\n \"Statement\": [\n  {\"Sid\": \"a\"},\n  {\n   \"Sid\": \"b\"}]}"
	got := policy.Spans(text)
	want := [][2]policy.Position{{{Line: 3, Column: 3}, {Line: 3, Column: 15}}, {{Line: 4, Column: 3}, {Line: 5, Column: 15}}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := policy.Spans(`{"Statement":{"Sid":"a"}}`); !slices.Equal(got, [][2]policy.Position{{{Line: 1, Column: 14}, {Line: 1, Column: 25}}}) {
		t.Errorf("got %v", got)
	}
	if got := policy.Spans(`{"Statement":[`); got != nil {
		t.Errorf("got %v", got)
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::${aws:x, 'y'}/*"],"Condition":{"ForAnyValue:ArnLikeIfExists":{"aws:x":["arn:*:${aws:x}"]},"DateLessThan":{"aws:x":1e30}}}]}`, "s3:GetObject", "arn:aws:s3:::b/x", "a")
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"NotAction":"s3:\u0000*","NotResource":"${"}]}`, "*", "*", "1")
	f.Fuzz(func(t *testing.T, doc, action, resource, value string) {
		for _, kind := range []policy.Kind{policy.Identity, policy.Trust, policy.Resource} {
			d, err := policy.Parse(doc, kind)
			if err != nil {
				continue
			}
			r := policy.Request{Type: "AWS", Principal: "arn:aws:iam::123456789012:user/x", Action: action, Resource: resource, Context: policy.Keys{"aws:x": {value, action}}}
			got := d.Evaluate(&r)
			if matching := d.Matching(&r); (len(matching) > 0) != (got.Denies != nil || got.Allows != nil) {
				t.Errorf("%d statements match, but the decision is %+v", len(matching), got)
			}
			d.Missing(&r)
			policy.Spans(doc)
		}
	})
}
