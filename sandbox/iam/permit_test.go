package iam_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

const (
	accountID  = "123456789012"
	operator   = "arn:aws:sts::123456789012:assumed-role/Operator/me"
	operatorIs = "arn:aws:iam::123456789012:role/Operator"
	alice      = "arn:aws:iam::123456789012:user/team/alice"
)

// statements is a policy.
func statements(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
}

// allow is a statement that allows an action on everything.
func allow(actions ...string) string {
	return `{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"}`
}

// box is a sandbox with the administrator, and an operator and a user with the
// policies given.
func box(t *testing.T, role, user string) *sandbox.Sandbox {
	t.Helper()
	return testkit.Sandbox(t, sandbox.Options{Principals: []sandbox.Principal{
		{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"},
		{AccessKeyID: "AKIAOPERATOREXAMPLE2", SecretAccessKey: "o", ARN: operator, Policy: role},
		{AccessKeyID: "AKIAALICEEXAMPLE2222", SecretAccessKey: "a", ARN: alice, Policy: user},
		{AccessKeyID: "AKIAROOTEXAMPLE22222", SecretAccessKey: "r", ARN: "arn:aws:iam::123456789012:root"},
	}})
}

// permit asks for one permission and answers the refusal's message, or "".
func permit(t *testing.T, s *sandbox.Sandbox, caller, action, resource string, context map[string][]string) string {
	t.Helper()
	message := ""
	err := s.Account().Do(func(tx *account.Tx) error {
		tx.Caller = caller
		if refusal := iam.Permit(tx, caller, access.Demand{Action: action, Resources: []string{resource}, Context: context}); refusal != nil {
			message = refusal.Message
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func denied(who, action, resource, why string) string {
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", who, action, resource, why)
}

// Nothing is allowed without a statement that allows it, and one that denies
// wins over all that allow.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
func TestDenyWins(t *testing.T) {
	t.Parallel()
	s := box(t, statements(allow("sqs:*", "ssm:*"), `{"Effect":"Deny","Action":"ssm:Put*","Resource":"arn:aws:ssm:*:*:parameter/locked/*"}`), "")
	const parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/"
	for _, c := range []struct{ action, resource, want string }{
		{"ssm:PutParameter", parameter + "open/x", ""},
		{"ssm:GetParameter", parameter + "locked/x", ""},
		{"ssm:PutParameter", parameter + "locked/x", denied(operator, "ssm:PutParameter", parameter+"locked/x", "with an explicit deny in an identity-based policy")},
		{"ec2:CreateVpc", "arn:aws:ec2:us-east-1:123456789012:vpc/*", "You are not authorized to perform this operation. " + denied(operator, "ec2:CreateVpc", "arn:aws:ec2:us-east-1:123456789012:vpc/*", "because no identity-based policy allows the ec2:CreateVpc action")},
	} {
		got := permit(t, s, operator, c.action, c.resource, nil)
		got, _, _ = strings.Cut(got, ". Encoded authorization failure message: ")
		if got != c.want {
			t.Errorf("%s on %s:\n got %q\nwant %q", c.action, c.resource, got, c.want)
		}
	}
}

// A permissions boundary allows nothing, and limits what identity policies
// allow; a resource's policy that names a user is not limited by it, one that
// names a role is.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
func TestPermissionsBoundary(t *testing.T) {
	t.Parallel()
	s := box(t, statements(allow("s3:*", "ssm:*")), statements(allow("ssm:*")))
	boundary := testkit.MustCreate(t, s, iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": "b", "PolicyDocument": statements(allow("ssm:Get*", "ec2:*"), `{"Effect":"Deny","Action":"ssm:GetParameterHistory","Resource":"*"}`)})
	if err := s.Account().Do(func(tx *account.Tx) error {
		for typ, id := range map[string]string{iam.TypeRole: "Operator", iam.TypeUser: "alice"} {
			tx.Get(typ, id).Props["PermissionsBoundary"] = boundary.ID
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	bucket := testkit.MustCreate(t, s, "AWS::S3::Bucket", map[string]any{"BucketName": "shared-1"})
	testkit.MustCreate(t, s, "AWS::S3::BucketPolicy", map[string]any{"Bucket": bucket.ID, "PolicyDocument": statements(
		`{"Effect":"Allow","Principal":{"AWS":["`+alice+`","`+operatorIs+`"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared-1/*"}`,
		`{"Effect":"Allow","Principal":{"AWS":"`+operator+`"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::shared-1/*"}`,
	)})
	const p, object = "arn:aws:ssm:us-east-1:123456789012:parameter/x", "arn:aws:s3:::shared-1/x"
	for _, c := range []struct{ caller, action, resource, want string }{
		{operator, "ssm:GetParameter", p, ""},
		{operator, "ssm:PutParameter", p, denied(operator, "ssm:PutParameter", p, "because no permissions boundary allows the ssm:PutParameter action")},
		{operator, "ssm:GetParameterHistory", p, denied(operator, "ssm:GetParameterHistory", p, "with an explicit deny in a permissions boundary")},
		{operator, "eks:ListClusters", "*", denied(operator, "eks:ListClusters", "*", "because no identity-based policy allows the eks:ListClusters action")},
		{alice, "s3:GetObject", object, ""},
		{operator, "s3:GetObject", object, denied(operator, "s3:GetObject", `"`+object+`"`, "because no permissions boundary allows the s3:GetObject action")},
		{operator, "s3:PutObject", object, ""},
	} {
		if got := permit(t, s, c.caller, c.action, c.resource, nil); got != c.want {
			t.Errorf("%s: %s on %s:\n got %q\nwant %q", c.caller, c.action, c.resource, got, c.want)
		}
	}
}

// Within an account a bucket's policy allows by itself what it allows to a
// principal that it names; naming the account leaves the decision to identity
// policies, and a denial is for everybody.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
func TestBucketPolicy(t *testing.T) {
	t.Parallel()
	s := box(t, statements(allow("ssm:*")), statements(allow("s3:DeleteObject")))
	testkit.MustCreate(t, s, "AWS::S3::Bucket", map[string]any{"BucketName": "shared-1"})
	testkit.MustCreate(t, s, "AWS::S3::BucketPolicy", map[string]any{"Bucket": "shared-1", "PolicyDocument": statements(
		`{"Effect":"Allow","Principal":{"AWS":"`+operatorIs+`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared-1/*"}`,
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::shared-1/*"}`,
		`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::shared-1/kept/*","Condition":{"StringNotEquals":{"aws:PrincipalArn":"`+alice+`"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::shared-1/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`,
	)})
	const admin, root = "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox", "arn:aws:iam::123456789012:root"
	for _, c := range []struct{ caller, action, key, want string }{
		{operator, "s3:GetObject", "x", ""},
		{operator, "s3:PutObject", "x", "because no identity-based policy allows the s3:PutObject action"},
		{alice, "s3:GetObject", "x", "because no identity-based policy allows the s3:GetObject action"},
		{alice, "s3:DeleteObject", "x", ""},
		{alice, "s3:DeleteObject", "kept/x", ""},
		{admin, "s3:PutObject", "x", ""},
		{admin, "s3:PutObject", "kept/x", "with an explicit deny in a resource-based policy"},
		{root, "s3:DeleteObject", "x", ""},
		{root, "s3:DeleteObject", "kept/x", "with an explicit deny in a resource-based policy"},
	} {
		want := c.want
		if want != "" {
			want = denied(c.caller, c.action, `"arn:aws:s3:::shared-1/`+c.key+`"`, want)
		}
		if got := permit(t, s, c.caller, c.action, "arn:aws:s3:::shared-1/"+c.key, nil); got != want {
			t.Errorf("%s: %s on %s:\n got %q\nwant %q", c.caller, c.action, c.key, got, want)
		}
	}
}

// A KMS key can be used and administered only by whom its policy names, or whose
// identity policies allow it if the key's policy leaves that to the account. Not
// even the account's root user can without it.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
func TestKeyPolicyDecides(t *testing.T) {
	t.Parallel()
	const admin, root = "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox", "arn:aws:iam::123456789012:root"
	s := box(t, statements(allow("ssm:*")), statements(allow("kms:Decrypt")))
	own := testkit.MustCreate(t, s, "AWS::KMS::Key", map[string]any{"KeyPolicy": statements(
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/Administrator"},"Action":["kms:Describe*","kms:Put*"],"Resource":"*"}`,
		`{"Effect":"Allow","Principal":{"AWS":"`+operatorIs+`"},"Action":["kms:Decrypt","kms:CreateGrant"],"Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}}`,
	), "BypassPolicyLockoutSafetyCheck": true}).Attrs["Arn"].(string)
	shared := testkit.MustCreate(t, s, "AWS::KMS::Key", map[string]any{}).Attrs["Arn"].(string)
	for _, c := range []struct {
		caller, action, key string
		context             map[string][]string
		want                string
	}{
		{admin, "kms:PutKeyPolicy", own, nil, ""},
		{admin, "kms:Decrypt", own, nil, "because no resource-based policy allows the kms:Decrypt action"},
		{root, "kms:Decrypt", own, nil, "because no resource-based policy allows the kms:Decrypt action"},
		{alice, "kms:Decrypt", own, nil, "because no resource-based policy allows the kms:Decrypt action"},
		{operator, "kms:Decrypt", own, nil, "because no resource-based policy allows the kms:Decrypt action"},
		{operator, "kms:Decrypt", own, map[string][]string{"kms:ViaService": {"s3.us-east-1.amazonaws.com"}}, ""},
		{operator, "kms:CreateGrant", own, map[string][]string{"kms:ViaService": {"rds.us-east-1.amazonaws.com"}}, "because no resource-based policy allows the kms:CreateGrant action"},
		{admin, "kms:Decrypt", shared, nil, ""},
		{root, "kms:Decrypt", shared, nil, ""},
		{alice, "kms:Decrypt", shared, nil, ""},
		{alice, "kms:Encrypt", shared, nil, "because no identity-based policy allows the kms:Encrypt action"},
	} {
		want := c.want
		if want != "" {
			want = denied(c.caller, c.action, c.key, want)
		}
		if got := permit(t, s, c.caller, c.action, c.key, c.context); got != want {
			t.Errorf("%s: %s:\n got %q\nwant %q", c.caller, c.action, got, want)
		}
	}
}

// Requests carry the global condition keys: who the principal is, its tags,
// where the request comes from, when and how.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
func TestGlobalConditionKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, c := range map[string]struct {
		key, value string
		user       bool
	}{
		"role":             {key: "aws:PrincipalArn", value: operatorIs},
		"user":             {key: "aws:PrincipalArn", value: alice, user: true},
		"account":          {key: "aws:PrincipalAccount", value: accountID},
		"kind of role":     {key: "aws:PrincipalType", value: "AssumedRole"},
		"kind of user":     {key: "aws:PrincipalType", value: "User", user: true},
		"name":             {key: "aws:username", value: "alice", user: true},
		"region":           {key: "aws:RequestedRegion", value: "us-east-1"},
		"transport":        {key: "aws:SecureTransport", value: "true"},
		"directly":         {key: "aws:ViaAWSService", value: "false"},
		"no service":       {key: "aws:PrincipalIsAWSService", value: "false"},
		"tag of principal": {key: "aws:PrincipalTag/Team", value: "blue", user: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for value, want := range map[string]string{c.value: "", "other": "AccessDeniedException"} {
				doc := statements(`{"Effect":"Allow","Action":"secretsmanager:ListSecrets","Resource":"*","Condition":{"StringEquals":{"` + c.key + `":"` + value + `"}}}`)
				s := box(t, doc, doc)
				if err := s.Account().Do(func(tx *account.Tx) error {
					tx.Get(iam.TypeUser, "alice").Tags["team"] = "blue"
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				i := 1
				if c.user {
					i = 2
				}
				_, err := secretsmanager.NewFromConfig(testkit.ConfigAs(s, s.Principals()[i])).ListSecrets(ctx, nil)
				if got := testkit.Code(err); got != want {
					t.Errorf("%s %s: got %v", c.key, value, err)
				}
			}
		})
	}
	for condition, want := range map[string]string{
		`{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","127.0.0.0/8"]}}`:     "",
		`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`:                   "AccessDeniedException",
		`{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`:    "",
		`{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`:       "AccessDeniedException",
		`{"NumericGreaterThan":{"aws:EpochTime":"1577836800"}}`:             "",
		`{"StringLike":{"aws:UserAgent":"*aws-sdk-go-v2*"}}`:                "",
		`{"StringLike":{"aws:userid":"AROA*:me"}}`:                          "",
		`{"Null":{"aws:SourceVpce":"true","aws:TokenIssueTime":"true"}}`:    "",
		`{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`:                      "AccessDeniedException",
		`{"ForAnyValue:StringEquals":{"aws:CalledVia":"x.amazonaws.com"}}`:  "AccessDeniedException",
		`{"StringNotEqualsIfExists":{"aws:CalledViaLast":"x.example.com"}}`: "",
	} {
		s := box(t, statements(`{"Effect":"Allow","Action":"secretsmanager:ListSecrets","Resource":"*","Condition":`+condition+`}`), "")
		_, err := secretsmanager.NewFromConfig(testkit.ConfigAs(s, s.Principals()[1])).ListSecrets(ctx, nil)
		if got := testkit.Code(err); got != want {
			t.Errorf("%s: got %v", condition, err)
		}
	}
}

// What a service asks on behalf of a caller says so: aws:CalledVia names the
// services, and aws:SourceIp is not there.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
func TestCalledVia(t *testing.T) {
	t.Parallel()
	via := map[string][]string{"aws:CalledVia": {"cloudformation.amazonaws.com"}}
	for condition, want := range map[string][2]bool{
		`{"Bool":{"aws:ViaAWSService":"true"}}`:                                                        {true, false},
		`{"ForAnyValue:StringEquals":{"aws:CalledVia":"cloudformation.amazonaws.com"}}`:                {true, false},
		`{"StringEquals":{"aws:CalledViaFirst":"cloudformation.amazonaws.com"}}`:                       {true, false},
		`{"StringEqualsIfExists":{"aws:CalledViaLast":"dynamodb.amazonaws.com"}}`:                      {false, true},
		`{"Null":{"aws:SourceIp":"false"}}`:                                                            {false, true},
		`{"Null":{"aws:SourceIp":"true"},"StringEquals":{"aws:PrincipalAccount":"` + accountID + `"}}`: {true, false},
	} {
		s := box(t, statements(`{"Effect":"Allow","Action":"ssm:GetParameter","Resource":"*","Condition":`+condition+`}`), "")
		if err := s.Account().Do(func(tx *account.Tx) error {
			tx.Caller, tx.Origin = operator, &account.Origin{SourceIP: "192.0.2.1"}
			for i, keys := range []map[string][]string{via, nil} {
				if got := iam.Permit(tx, operator, access.Demand{Action: "ssm:GetParameter", Context: keys}) == nil; got != want[i] {
					t.Errorf("%s with %v: got %v", condition, keys, got)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A refusal has the code and words of the service that was asked.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func TestRefusalsOfServices(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := box(t, statements(allow("sqs:*")), "")
	c := testkit.ConfigAs(s, s.Principals()[1])
	for _, tc := range []struct {
		action, code string
		call         func() error
	}{
		{"ec2:DescribeVpcs", "UnauthorizedOperation", func() error { _, err := ec2.NewFromConfig(c).DescribeVpcs(ctx, nil); return err }},
		{"s3:ListAllMyBuckets", "AccessDenied", func() error { _, err := s3.NewFromConfig(c).ListBuckets(ctx, nil); return err }},
		{"iam:ListUsers", "AccessDenied", func() error { _, err := sdk.NewFromConfig(c).ListUsers(ctx, nil); return err }},
		{"cloudformation:ListStacks", "AccessDenied", func() error { _, err := cloudformation.NewFromConfig(c).ListStacks(ctx, nil); return err }},
		{"kms:ListKeys", "AccessDeniedException", func() error { _, err := kms.NewFromConfig(c).ListKeys(ctx, nil); return err }},
		{"eks:ListClusters", "AccessDeniedException", func() error { _, err := eks.NewFromConfig(c).ListClusters(ctx, nil); return err }},
		{"secretsmanager:ListSecrets", "AccessDeniedException", func() error { _, err := secretsmanager.NewFromConfig(c).ListSecrets(ctx, nil); return err }},
	} {
		var refusal smithy.APIError
		if err := tc.call(); !errors.As(err, &refusal) || refusal.ErrorCode() != tc.code {
			t.Errorf("%s: got %v", tc.action, err)
			continue
		}
		// Which action ListBuckets asks for is the affair of package access.
		if m := refusal.ErrorMessage(); !strings.Contains(m, "User: "+operator+" is not authorized to perform: ") || !strings.Contains(m, "because no identity-based policy allows the ") {
			t.Errorf("%s: got %q", tc.action, m)
		}
	}
}

// A dry run of EC2 ends with DryRunOperation for who may do it, before anything
// is done.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
func TestDryRun(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := box(t, statements(allow("ec2:DescribeVpcs")), "")
	for i, want := range []string{"DryRunOperation", "UnauthorizedOperation"} {
		_, err := ec2.NewFromConfig(testkit.ConfigAs(s, s.Principals()[i])).CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16"), DryRun: aws.Bool(true)})
		if got := testkit.Code(err); got != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	vpcs, err := ec2.NewFromConfig(testkit.ConfigAs(s, s.Principals()[1])).DescribeVpcs(ctx, nil)
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Errorf("got %d VPCs, %v; want the default one", len(vpcs.Vpcs), err)
	}
}

// What a policy of AWS's whose text isn't known here would decide is answered as
// not modelled, not as denied.
func TestUnknownPolicyText(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{Principals: []sandbox.Principal{{AccessKeyID: "a", ARN: operator, Policies: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}}}})
	if got := permit(t, s, operator, "s3:GetObject", "arn:aws:s3:::b/x", nil); got != "" {
		t.Errorf("got %q", got)
	}
	const want = "the text of the policy ReadOnlyAccess, which decides whether " + operator + " may do ec2:DescribeVpcs, is not modelled by the sandbox"
	if got := permit(t, s, operator, "ec2:DescribeVpcs", "*", nil); got != want {
		t.Errorf("got %q", got)
	}
}

// Principals whose user or role is gone may do nothing, and AWS itself may do
// everything.
func TestPrincipalsThatAreGone(t *testing.T) {
	t.Parallel()
	s := box(t, statements(allow("*")), "")
	for caller, want := range map[string]bool{
		operator: true, "arn:aws:sts::123456789012:assumed-role/Gone/me": false, "arn:aws:iam::123456789012:user/gone": false,
		"arn:aws:iam::123456789012:user/alice": false, operatorIs: true, "arn:aws:iam::123456789012:role/path/Operator": false,
		"arn:aws:iam::999999999999:user/stranger": false, "eks.amazonaws.com": true, "": true, "arn:aws:iam::123456789012:root": true,
	} {
		if got := permit(t, s, caller, "ssm:GetParameter", "*", nil) == ""; got != want {
			t.Errorf("%q: got %v", caller, got)
		}
	}
}

// A change that IAM's API makes is seen everywhere only after a while: until
// then a new role can't be named or assumed, and a policy doesn't allow what it
// will.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
func TestChangesSpread(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }})
	c := sdk.NewFromConfig(testkit.Config(s))
	role := func(name, trust string) error {
		_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
		return err
	}
	trust := statements(`{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}`)
	naming := statements(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/fresh"},"Action":"sts:AssumeRole"}`)
	if err := role("fresh", trust); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("fresh"), PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(allow("ssm:*")))}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("fresh")}); err != nil {
		t.Errorf("IAM itself doesn't know it: %v", err)
	}
	trusted := func() (ok bool) {
		_ = s.Account().Do(func(tx *account.Tx) error {
			ok = iam.Trusts(tx, iam.RoleByARN(tx, "arn:aws:iam::123456789012:role/fresh"), "eks.amazonaws.com", "")
			return nil
		})
		return ok
	}
	may := func(action string) bool {
		return permit(t, s, "arn:aws:iam::123456789012:role/fresh", action, "*", nil) == ""
	}
	if trusted() || may("ssm:GetParameter") {
		t.Error("a new role is seen at once")
	}
	if err := role("names-it", naming); testkit.Code(err) != "MalformedPolicyDocument" || !strings.Contains(err.Error(), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/fresh"`) {
		t.Errorf("got %v", err)
	}
	// CloudFormation's handlers wait until it is seen.
	if err := s.Account().Do(func(tx *account.Tx) error {
		_, _, err := tx.CreateInStack(iam.TypeRole, map[string]any{"RoleName": "in-stack", "AssumeRolePolicyDocument": naming}, "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1", "Role")
		return err
	}); err != nil {
		t.Error(err)
	}
	now = now.Add(5 * time.Second)
	if !trusted() || !may("ssm:GetParameter") {
		t.Error("it isn't seen after five seconds")
	}
	if err := role("names-it", naming); err != nil {
		t.Error(err)
	}
	if _, err := c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("fresh"), PolicyName: aws.String("p"), PolicyDocument: aws.String(statements(allow("ec2:*")))}); err != nil {
		t.Fatal(err)
	}
	if !may("ssm:GetParameter") || may("ec2:DescribeVpcs") {
		t.Error("a changed policy is seen at once")
	}
	now = now.Add(5 * time.Second)
	if may("ssm:GetParameter") || !may("ec2:DescribeVpcs") {
		t.Error("a changed policy isn't seen after five seconds")
	}
}

// With a seed, a change takes up to a minute to spread, and the same time again
// for the same seed.
func TestSpreadingDependsOnTheSeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	took := func(seed uint64) time.Duration {
		now := time.Now()
		start := now
		s := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return now }, Seed: seed})
		if _, err := sdk.NewFromConfig(testkit.Config(s)).CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(statements(`{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}`))}); err != nil {
			t.Fatal(err)
		}
		for ; now.Sub(start) <= time.Minute; now = now.Add(time.Second) {
			seen := false
			_ = s.Account().Do(func(tx *account.Tx) error {
				seen = iam.Trusts(tx, tx.Get(iam.TypeRole, "r"), "eks.amazonaws.com", "")
				return nil
			})
			if seen {
				return now.Sub(start)
			}
		}
		t.Errorf("seed %d: not seen after a minute", seed)
		return 0
	}
	different := map[time.Duration]bool{}
	for seed := range uint64(10) {
		d := took(seed)
		if again := took(seed); again != d {
			t.Errorf("seed %d: %s, then %s", seed, d, again)
		}
		different[d] = true
	}
	if len(different) < 3 {
		t.Errorf("ten seeds, and only these times: %v", different)
	}
}

// Secrets, topics, repositories and backup vaults have policies of their own,
// which allow by themselves to whom they name, and deny to everybody.
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_resource-policies.html
// https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html
// https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html
func TestResourcePolicies(t *testing.T) {
	t.Parallel()
	const admin = "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"
	for name, c := range map[string]struct {
		typ            string
		props          map[string]any
		allowed, other string
		put            func(tx *account.Tx, r *account.Resource, doc string) (arn string, err error)
	}{
		"secret": {"AWS::SecretsManager::Secret", map[string]any{"Name": "s", "SecretString": "x"}, "secretsmanager:GetSecretValue", "secretsmanager:DeleteSecret", func(_ *account.Tx, r *account.Resource, doc string) (string, error) {
			r.Data["policy"] = doc
			return r.ID, nil
		}},
		"topic": {"AWS::SNS::Topic", map[string]any{"TopicName": "t"}, "sns:Publish", "sns:DeleteTopic", func(tx *account.Tx, r *account.Resource, doc string) (string, error) {
			_, _, err := tx.Create("AWS::SNS::TopicPolicy", map[string]any{"Topics": []any{r.ID}, "PolicyDocument": doc}, "", false)
			return r.ID, err
		}},
		"repository": {"AWS::ECR::Repository", map[string]any{"RepositoryName": "repo"}, "ecr:BatchGetImage", "ecr:DeleteRepository", func(tx *account.Tx, r *account.Resource, doc string) (string, error) {
			_, err := tx.Update(r, map[string]any{"RepositoryName": "repo", "RepositoryPolicyText": strings.ReplaceAll(doc, `,"Resource":"*"`, "")}, false)
			return r.Attrs["Arn"].(string), err
		}},
		"vault": {"AWS::Backup::BackupVault", map[string]any{"BackupVaultName": "vault"}, "backup:StartBackupJob", "backup:DeleteBackupVault", func(_ *account.Tx, r *account.Resource, doc string) (string, error) {
			r.Data["policy"] = doc
			return r.Attrs["BackupVaultArn"].(string), nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := box(t, statements(allow("sqs:*")), "")
			r := testkit.MustCreate(t, s, c.typ, c.props)
			arn := ""
			err := s.Account().Do(func(tx *account.Tx) (err error) {
				arn, err = c.put(tx, tx.Get(c.typ, r.ID), statements(
					`{"Effect":"Allow","Principal":{"AWS":"`+operatorIs+`"},"Action":"`+c.allowed+`","Resource":"*"}`,
					`{"Effect":"Deny","Principal":"*","Action":"`+c.other+`","Resource":"*"}`,
				))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, tc := range []struct {
				caller, action, want string
			}{
				{operator, c.allowed, ""},
				{operator, "tag:X", "because no identity-based policy allows the tag:X action"},
				{alice, c.other, "with an explicit deny in a resource-based policy"},
				{admin, c.other, "with an explicit deny in a resource-based policy"},
				{admin, c.allowed, ""},
			} {
				if got := permit(t, s, tc.caller, tc.action, arn, nil); tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
					t.Errorf("%s: %s: got %q, want %q", tc.caller, tc.action, got, tc.want)
				}
			}
		})
	}
}

// An inline policy that a template writes apart from its role counts as the
// role's own.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-policy.html
func TestPolicyWrittenApart(t *testing.T) {
	t.Parallel()
	s := box(t, statements(allow("sqs:*")), "")
	if got := permit(t, s, operator, "ssm:GetParameter", "*", nil); got == "" {
		t.Error("it may without the policy")
	}
	testkit.MustCreate(t, s, iam.TypeInlinePolicy, map[string]any{"PolicyName": "p", "Roles": []any{"Operator"}, "PolicyDocument": statements(allow("ssm:*"))})
	if got := permit(t, s, operator, "ssm:GetParameter", "*", nil); got != "" {
		t.Errorf("got %q", got)
	}
}
