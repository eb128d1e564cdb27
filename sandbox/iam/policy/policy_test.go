package policy_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	const root = "arn:aws:iam::123456789012:root"
	for _, c := range []struct {
		name, statements string
		request          policy.Request
		want             bool
	}{
		{
			"service", `{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:*","Resource":"*"}`,
			policy.Request{Type: "Service", Principal: "logs.us-east-1.amazonaws.com", Action: "kms:Decrypt"},
			true,
		},
		{
			"other service", `{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:*","Resource":"*"}`,
			policy.Request{Type: "Service", Principal: "sns.amazonaws.com", Action: "kms:Decrypt"},
			false,
		},
		{
			"account root stands for its roles", `{"Effect":"Allow","Principal":{"AWS":"` + root + `"},"Action":["kms:PutKeyPolicy"],"Resource":"*"}`,
			policy.Request{Type: "AWS", Principal: "arn:aws:iam::123456789012:role/x", Action: "KMS:putkeypolicy"},
			true,
		},
		{
			"action pattern", `{"Effect":"Allow","Principal":"*","Action":"kms:Re*","Resource":"*"}`,
			policy.Request{Type: "AWS", Principal: root, Action: "kms:Decrypt"},
			false,
		},
		{
			"deny wins", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","NotAction":"s3:GetObject","Resource":"*"}`,
			policy.Request{Type: "AWS", Principal: root, Action: "s3:PutObject"},
			false,
		},
		{
			"not denied", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","NotAction":"s3:GetObject","Resource":"*"}`,
			policy.Request{Type: "AWS", Principal: root, Action: "s3:GetObject"},
			true,
		},
		{
			"resource", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b/*"}`,
			policy.Request{Type: "AWS", Principal: root, Action: "s3:GetObject", Resource: "arn:aws:s3:::c/x"},
			false,
		},
		{
			"condition holds", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"ArnLike":{"kms:EncryptionContext:aws:logs:arn":"arn:aws:logs:us-east-1:123456789012:log-group:/aws/eks/*"}}}`,
			policy.Request{Type: "AWS", Principal: root, Action: "kms:Decrypt", Context: policy.Single{"KMS:EncryptionContext:aws:logs:arn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/eks/x/cluster"}},
			true,
		},
		{
			"condition fails", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"999999999999"}}}`,
			policy.Request{Type: "AWS", Principal: root, Action: "kms:Decrypt", Context: policy.Single{"aws:SourceAccount": "123456789012"}},
			false,
		},
		{
			"numbers", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"s3:TlsVersion":"1.2"}}}`,
			policy.Request{Type: "AWS", Principal: root, Action: "s3:GetObject", Context: policy.Single{"s3:TlsVersion": "1.10"}},
			true,
		},
		{
			"condition key missing", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`,
			policy.Request{Type: "AWS", Principal: root, Action: "kms:Decrypt"},
			false,
		},
		{
			"condition key missing, negative", `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:a":"b"},"Null":{"aws:a":"true"}}}`,
			policy.Request{Type: "AWS", Principal: root, Action: "kms:Decrypt"},
			true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[`+c.statements+`]}`, policy.Resource)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Allows(c.request); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"a*", "b", false}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"*b*", "abc", true}, {"*ab", "aab", true}, {"a*b*c", "aXbXbc", true}, {"a", "ab", false},
	} {
		if got := policy.Like(c.pattern, c.s); got != c.want {
			t.Errorf("Like(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*"]},"Action":"s3:*","Resource":["*"],"Condition":{"Bool":{"aws:x":[true,1]}}}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		for _, kind := range []policy.Kind{policy.Identity, policy.Trust, policy.Resource} {
			d, err := policy.Parse(doc, kind)
			if (d == nil) == (err == nil) {
				t.Fatalf("got %v and %v", d, err)
			}
			if d != nil {
				d.Allows(policy.Request{Type: "AWS", Principal: "x", Action: "s3:GetObject", Resource: "y"})
			}
		}
		if policy.Like(doc, doc) != true && !strings.ContainsAny(doc, "*?") {
			t.Errorf("%q isn't like itself", doc)
		}
	})
}
