package recording

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/access"
)

const me = "arn:aws:iam::123456789012:role/Operator"

func demand(action, resource string, context map[string][]string) access.Demand {
	return access.Demand{Action: action, Resources: []string{resource}, Context: context}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	var r Recording
	session := "arn:aws:sts::123456789012:assumed-role/Operator/alice"
	tags := func(team string) map[string][]string {
		return map[string][]string{"aws:ResourceTag/team": {team}, "aws:TagKeys": {"a", "b"}}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { r.Add(session, Recorded, "ec2:DeleteVpc", demand("ec2:DeleteVpc", "*", tags("a")), false) })
	}
	wg.Wait()
	r.Add(session, Recorded, "ec2:DeleteVpc", demand("ec2:DeleteVpc", "*", tags("b")), true)
	got := r.Permissions()
	want := []Permission{{Principal: me, Source: Recorded, Action: "ec2:DeleteVpc", Resource: "*", Cause: "ec2:DeleteVpc", Context: tags("a"), Always: map[string]string{}, Count: 4, Denied: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions, -want +got:\n%s", diff)
	}
}

func TestGeneral(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"*", "*"},
		{"arn:aws:ec2:us-east-1:123456789012:vpc/vpc-0123456789abcdef0", "arn:aws:ec2:us-east-1:123456789012:vpc/*"},
		{"arn:aws:kms:us-east-1:123456789012:key/3e35f01a-a7fe-434f-abfb-9be17b83ce21", "arn:aws:kms:us-east-1:123456789012:key/*"},
		{"arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/name/0123456789abcdef", "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/name/*"},
		{"arn:aws:iam::123456789012:role/poolside-cluster-us-east-1", "arn:aws:iam::123456789012:role/poolside-cluster-us-east-1"},
		{"arn:aws:iam::123456789012:role/stack-Role-0A1B2C3D4E5F", "arn:aws:iam::123456789012:role/stack-Role-*"},
		{"arn:aws:wafv2:us-east-1:123456789012:regional/webacl/stack-Web-012345678901/*", "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/stack-Web-*/*"},
		{"arn:aws:rds:us-east-1:123456789012:pg:stack-group-1d5b323f6a0b", "arn:aws:rds:us-east-1:123456789012:pg:stack-group-*"},
		{"arn:aws:s3:::poolside-audit-123456789012-us-east-1", "arn:aws:s3:::poolside-audit-123456789012-us-east-1"},
		{"arn:aws:s3:::bucket/a/b", "arn:aws:s3:::bucket/*"},
		{"arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf", "arn:aws:secretsmanager:us-east-1:123456789012:secret:name-??????"},
		{"arn:aws:logs:us-east-1:123456789012:log-group:/g:log-stream:", "arn:aws:logs:us-east-1:123456789012:log-group:/g:*"},
		{"arn:aws:route53:::hostedzone/Z0123456789ABCDEF012", "arn:aws:route53:::hostedzone/*"},
		{"arn:aws:cloudformation:us-east-1:123456789012:stack/s/3e35f01a-a7fe-434f-abfb-9be17b83ce21", "arn:aws:cloudformation:us-east-1:123456789012:stack/s/*"},
	} {
		if got := General(c[0], "123456789012"); got != c[1] {
			t.Errorf("%s is %s, want %s", c[0], got, c[1])
		}
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	var r Recording
	tagged := map[string][]string{"aws:ResourceTag/deployment": {"d"}}
	add := func(s Source, cause, action, resource string, context map[string][]string) {
		r.Add(me, s, cause, demand(action, resource, context), false)
	}
	vpc := func(n int) string {
		return fmt.Sprintf("arn:aws:ec2:us-east-1:123456789012:vpc/vpc-0123456789abcdef%d", n)
	}
	add(Published, "AWS::EC2::VPC delete", "ec2:DeleteVpc", vpc(1), tagged)
	add(Published, "AWS::EC2::VPC delete", "ec2:DeleteVpc", vpc(2), tagged)
	add(Published, "AWS::EC2::VPC create", "ec2:ModifyVpcAttribute", vpc(1), tagged)
	add(Published, "AWS::EC2::VPC update", "ec2:ModifyVpcAttribute", vpc(2), nil)
	add(Published, "AWS::EC2::VPC read", "ec2:DescribeVpcs", "*", nil)
	add(Recorded, "ec2:DescribeVpcs", "ec2:DescribeVpcs", "*", nil)
	for _, role := range []string{"d-a", "d-b", "d-c", "other"} {
		add(Published, "AWS::IAM::Role create", "iam:CreateRole", "arn:aws:iam::123456789012:role/"+role, nil)
	}
	add(Recorded, "eks:CreateCluster", "iam:PassRole", "arn:aws:iam::123456789012:role/d-a", map[string][]string{"iam:PassedToService": {"eks.amazonaws.com"}})
	add(Published, "AWS::EKS::Nodegroup create", "iam:PassRole", "arn:aws:iam::123456789012:role/d-a", map[string][]string{"iam:PassedToService": {"ec2.amazonaws.com"}})
	r.Add("arn:aws:iam::123456789012:role/Other", Recorded, "x", demand("ec2:DescribeTags", "*", nil), false)
	var got []string
	for _, g := range Grants(r.Permissions(), me, Options{Name: "d", Tags: map[string]string{"deployment": "d"}}) {
		got = append(got, fmt.Sprint(g.Source, " ", g.Action, " ", strings.TrimPrefix(g.Resource, "arn:aws:"), " ", g.Conditions, " ", g.Causes))
	}
	want := []string{
		"recorded ec2:DescribeVpcs * map[] [AWS::EC2::VPC read ec2:DescribeVpcs]",
		"recorded iam:PassRole iam::123456789012:role/d-a map[iam:PassedToService:[ec2.amazonaws.com eks.amazonaws.com]] [AWS::EKS::Nodegroup create eks:CreateCluster]",
		"published ec2:DeleteVpc ec2:us-east-1:123456789012:vpc/* map[aws:ResourceTag/deployment:[d]] [AWS::EC2::VPC delete]",
		"published ec2:ModifyVpcAttribute ec2:us-east-1:123456789012:vpc/* map[] [AWS::EC2::VPC create AWS::EC2::VPC update]",
		"published iam:CreateRole iam::123456789012:role/d-* map[] [AWS::IAM::Role create]",
		"published iam:CreateRole iam::123456789012:role/other map[] [AWS::IAM::Role create]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grants, -want +got:\n%s", diff)
	}
}

// Whatever is granted: every line is in a policy of the right Sid, nothing else
// is, and no policy is too long.
func TestPoliciesSayTheGrants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		grants := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Grant {
			g := Grant{
				Source:   rapid.SampledFrom([]Source{Recorded, Published, Assumed}).Draw(t, "source"),
				Action:   fmt.Sprintf("ec2:Action%d", rapid.IntRange(0, 40).Draw(t, "action")),
				Resource: "arn:aws:ec2:::" + strings.Repeat("x", rapid.IntRange(1, 60).Draw(t, "length")) + fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "resource")),
			}
			if rapid.Bool().Draw(t, "conditional") {
				g.Conditions = map[string][]string{"aws:ResourceTag/a": {"b"}}
			}
			return g
		}), 1, 400).Draw(t, "grants")
		allowed := map[string]bool{}
		for _, d := range Policies(grants) {
			if size := d.Size(); size > MaxPolicy {
				t.Fatalf("a policy has %d characters", size)
			}
			body, err := d.JSON()
			if err != nil {
				t.Fatal(err)
			}
			var back Document
			if err := json.Unmarshal(body, &back); err != nil {
				t.Fatal(err)
			}
			var sids []string
			for _, s := range back.Statement {
				if slices.Contains(sids, s.Sid) {
					t.Fatalf("two statements are %s", s.Sid)
				}
				sids = append(sids, s.Sid)
				for _, a := range s.Action {
					for _, r := range s.Resource {
						allowed[strings.TrimRight(s.Sid, "0123456789")+a+r+fmt.Sprint(s.Condition != nil)] = true
					}
				}
			}
		}
		wanted := map[string]bool{}
		for _, g := range grants {
			wanted[title(g.Source)+g.Action+g.Resource+fmt.Sprint(g.Conditions != nil)] = true
		}
		if diff := cmp.Diff(wanted, allowed); diff != "" {
			t.Fatalf("what is allowed, -want +got:\n%s", diff)
		}
	})
}

func TestCovered(t *testing.T) {
	t.Parallel()
	got := covered([]string{"arn:a/x", "arn:a/*", "arn:b", "arn:b", "arn:a/y/*"})
	if diff := cmp.Diff([]string{"arn:a/*", "arn:b"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
