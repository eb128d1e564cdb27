package policy

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReadPolicy(t *testing.T) {
	t.Parallel()
	trust := Document{{
		SID: "Pod", Allow: true,
		Principals: []Principal{{"Federated", "arn:aws:iam::123456789012:oidc-provider/x"}},
		Actions:    []string{"sts:assumerolewithwebidentity"},
		Conditions: []Condition{{"StringEquals", "x:aud", []string{"sts.amazonaws.com"}}, {"StringEquals", "x:sub", []string{"a", "b"}}},
	}}
	const text = `{"Statement":{"Sid":"Pod","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/x"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"x:sub":["a","b"],"x:AUD":"sts.amazonaws.com"}}}}`
	for _, tt := range []struct {
		name, text string
		want       Document
	}{
		{"one of each", text, trust},
		{"percent-encoded", url.PathEscape(text), trust},
		{"plus is plus", url.PathEscape(`{"Statement":{"Effect":"Deny","NotAction":"a:B","Resource":"a+b c"}}`), Document{{NotActions: []string{"a:b"}, Resources: []string{"a+b c"}}}},
		{"everybody", `{"Statement":[{"Effect":"Deny","Principal":"*","Action":["s3:*"]}]}`, Document{{Principals: []Principal{{"AWS", "*"}}, Actions: []string{"s3:*"}}}},
		{"everybody as a kind", `{"Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":["s3:*"]}]}`, Document{{Principals: []Principal{{"AWS", "*"}}, Actions: []string{"s3:*"}}}},
		{"all but", `{"Statement":[{"Effect":"Allow","NotPrincipal":{"AWS":["1","2"]},"Action":"a:b","NotResource":"c"}]}`, Document{{Allow: true, NotPrincipals: []Principal{{"AWS", "1"}, {"AWS", "2"}}, Actions: []string{"a:b"}, NotResources: []string{"c"}}}},
		{"truth and number", `{"Statement":[{"Effect":"Deny","Action":"a:b","Condition":{"Bool":{"K":false},"NumericLessThan":{"n":1.2}}}]}`, Document{{Actions: []string{"a:b"}, Conditions: []Condition{{"Bool", "k", []string{"false"}}, {"NumericLessThan", "n", []string{"1.2"}}}}}},
		{"no statement", `{"Version":"2012-10-17"}`, Document{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Read(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Statement{}, Principal{}, Condition{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, bad := range []string{"", "%", "%zz", "[]", `{"Statement":{"Effect":"Maybe"}}`, `{"Statement":{"Effect":"Allow","Principal":"me"}}`, `{"Statement":{"Effect":"Allow","Condition":{"Bool":{"a":{}}}}}`} {
		if got, err := Read(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

// TestPolicyForms reads the same from a policy however it is written.
func TestPolicyForms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := func(label string) []string {
			return rapid.SliceOfN(rapid.StringMatching(`[a-z0-9:*?/+% -]{1,8}`), 1, 3).Draw(t, label)
		}
		type list = any
		alone := func(l []string) list {
			if len(l) == 1 {
				return l[0]
			}
			return l
		}
		actions, resources, ids, values := words("actions"), words("resources"), words("principals"), words("values")
		write := func(form func([]string) list) string {
			s := map[string]any{
				"Effect": "Allow", "Principal": map[string]any{"AWS": form(ids)}, "Action": form(actions), "Resource": form(resources),
				"Condition": map[string]any{"StringLike": map[string]any{"k": form(values)}},
			}
			text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{s}})
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		long := write(func(l []string) list { return l })
		want, err := Read(long)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) != 1 || !slices.Equal(want[0].Actions, actions) || !slices.Equal(want[0].Resources, resources) {
			t.Fatalf("read %+v from %s", want, long)
		}
		short := write(alone)
		for _, text := range []string{short, url.PathEscape(long), url.PathEscape(short)} {
			got, err := Read(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Statement{}, Principal{}, Condition{})); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", text, diff)
			}
		}
	})
}

func FuzzReadPolicy(f *testing.F) {
	for _, s := range []string{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, "%7B%7D", `{"Statement":[null,{"Effect":"Deny","Condition":{"Bool":{"a":null}}}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Read(text)
		if err != nil {
			return
		}
		for _, s := range p {
			s.Public()
			s.Covers(text)
			s.On(text)
			if s.Public() && !s.Allow {
				t.Errorf("%q denies, and is public", text)
			}
		}
		p.Allowed()
	})
}

func TestStatement(t *testing.T) {
	t.Parallel()
	read := func(s string) Statement {
		p, err := Read(`{"Statement":` + s + `}`)
		if err != nil || len(p) != 1 {
			t.Fatalf("%s: %v", s, err)
		}
		return p[0]
	}
	for _, tt := range []struct {
		text                  string
		covers, on, everybody bool
		public                bool
	}{
		{`{"Effect":"Allow","Principal":"*","Action":"s3:Get*","Resource":"arn:aws:s3:::b/*"}`, true, true, true, true},
		{`{"Effect":"Deny","Principal":"*","Action":"S3:GETOBJECT","Resource":"*"}`, true, true, true, false},
		{`{"Effect":"Allow","NotPrincipal":{"AWS":"123456789012"},"NotAction":"s3:Get*","NotResource":"arn:aws:s3:::b"}`, false, true, true, true},
		{`{"Effect":"Allow","Principal":{"Service":"a.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::b"}`, false, false, false, false},
		{`{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"*","Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"}}}`, true, true, true, false},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringNotEquals":{"aws:SourceAccount":"123456789012"}}}`, true, true, true, true},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"123456789012"}}}`, true, true, true, true},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/0"]}}}`, true, true, true, true},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringLike":{"aws:SourceVpce":"*"}}}`, true, true, true, true},
		{`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`, true, true, true, false},
	} {
		s := read(tt.text)
		if got := s.Covers("s3:GetObject"); got != tt.covers {
			t.Errorf("%s covers s3:GetObject: %v", tt.text, got)
		}
		if got := s.On("arn:aws:s3:::b/key"); got != tt.on {
			t.Errorf("%s is about b/key: %v", tt.text, got)
		}
		if got := s.Everybody(); got != tt.everybody {
			t.Errorf("%s speaks of everybody: %v", tt.text, got)
		}
		if got := s.Public(); got != tt.public {
			t.Errorf("%s is public: %v", tt.text, got)
		}
	}
	s := read(`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"},"BoolIfExists":{"x":"true"}}}`)
	if got := s.Wants("aws:SecureTransport", "Bool"); !slices.Equal(got, []string{"false"}) {
		t.Errorf("the condition wants %v", got)
	}
	if got := s.Wants("x", "Bool"); got != nil {
		t.Errorf("a condition that need not exist wants %v", got)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		p       Principal
		account string
		root    bool
	}{
		{Principal{"AWS", "*"}, "", false},
		{Principal{"AWS", "123456789012"}, "123456789012", true},
		{Principal{"AWS", "arn:aws-us-gov:iam::123456789012:root"}, "123456789012", true},
		{Principal{"AWS", "arn:aws:iam::123456789012:role/path/root"}, "123456789012", false},
		{Principal{"AWS", "AROAEXAMPLEEXAMPLE123"}, "", false},
		{Principal{"AWS", "arn:aws:iam"}, "", false},
		{Principal{"Service", "logs.amazonaws.com"}, "", false},
		{Principal{"Federated", "arn:aws:iam::123456789012:oidc-provider/x"}, "", false},
	} {
		if tt.p.Account() != tt.account || tt.p.Root() != tt.root {
			t.Errorf("%v is of account %q, root %v", tt.p, tt.p.Account(), tt.p.Root())
		}
	}
	p, err := Read(`{"Statement":[
		{"Effect":"Deny","Principal":"*","Action":"*"},
		{"Effect":"Allow","Principal":{"AWS":["1","2"],"Service":"s"},"Action":"*"},
		{"Effect":"Allow","Principal":{"AWS":"2"},"Action":"*"},
		{"Effect":"Allow","NotPrincipal":{"AWS":"2"},"Action":"*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Principal{{"AWS", "1"}, {"AWS", "2"}, {"Service", "s"}, {"AWS", "*"}}
	if got := p.Allowed(); !slices.Equal(got, want) {
		t.Errorf("allowed are %v, not %v", got, want)
	}
}

func TestWild(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"**", "ab", true},
		{"?", "", false},
		{"?", "a", true},
		{"a*b", "ab", true},
		{"a*b", "axxb", true},
		{"a*b", "axxbc", false},
		{"a*b*c", "abbc", true},
		{"a*?c", "ac", false},
		{"a", "A", false},
		{strings.Repeat("a*", 30) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := Wild(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%.20q is like %.20q: %v", tt.text, tt.pattern, got)
		}
	}
}

// TestStrangers tells who is let in besides an account and its services.
func TestStrangers(t *testing.T) {
	t.Parallel()
	allow := func(principal, condition string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"a:b","Condition":{` + condition + `}}`
	}
	const ours = `"StringEquals":{"aws:SourceAccount":"123456789012"}`
	for _, tt := range []struct {
		text string
		want []string
	}{
		{allow(`{"AWS":["123456789012","arn:aws:iam::123456789012:role/a"]}`, ""), nil},
		{allow(`{"AWS":["999999999999","arn:aws:iam::999999999999:root"]}`, ours), []string{"999999999999", "arn:aws:iam::999999999999:root"}},
		{allow(`{"AWS":"AROAEXAMPLEEXAMPLE123"}`, ""), []string{"AROAEXAMPLEEXAMPLE123"}},
		{allow(`"*"`, ""), []string{"everybody"}},
		{allow(`"*"`, ours), nil},
		{allow(`"*"`, `"StringEquals":{"AWS:SourceOwner":"123456789012"}`), nil},
		{allow(`"*"`, `"StringEquals":{"aws:SourceAccount":["123456789012","999999999999"]}`), []string{"everybody"}},
		{allow(`"*"`, `"StringNotEquals":{"aws:SourceAccount":"123456789012"}`), []string{"everybody"}},
		{allow(`"*"`, `"StringEqualsIfExists":{"aws:SourceAccount":"123456789012"}`), []string{"everybody"}},
		{allow(`{"Service":"known.amazonaws.com"}`, ours), nil},
		{allow(`{"Service":"known.amazonaws.com"}`, `"ArnLike":{"aws:SourceArn":"arn:aws:x:us-east-1:123456789012:*"}`), nil},
		{allow(`{"Service":"known.amazonaws.com"}`, ""), []string{"known.amazonaws.com for any account"}},
		{allow(`{"Service":"other.amazonaws.com"}`, ours), []string{"other.amazonaws.com"}},
		{`{"Effect":"Allow","NotPrincipal":{"AWS":"999999999999"},"Action":"a:b"}`, []string{"everybody"}},
		{`{"Effect":"Deny","Principal":"*","Action":"a:b"}`, nil},
	} {
		p, err := Read(`{"Statement":[` + tt.text + `]}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Strangers("123456789012", "known.amazonaws.com"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, not %v", tt.text, got, tt.want)
		}
	}
}

func TestRefusesAll(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}`: true,
		`{"Effect":"Deny","Principal":{"AWS":"*"},"NotAction":"s3:PutObject","Resource":"*"}`:                true,
		`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b"}`:                      false,
		`{"Effect":"Deny","Principal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"*"}`:                false,
		`{"Effect":"Deny","NotPrincipal":{"AWS":"123456789012"},"Action":"s3:*","Resource":"*"}`:             false,
		`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`:                                  false,
	} {
		p, err := Read(`{"Statement":` + text + `}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := p[0].RefusesAll("s3:GetObject", "arn:aws:s3:::b/key"); got != want {
			t.Errorf("%s refuses all: %v", text, got)
		}
	}
}
