package access

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func world(t *testing.T, f func(tx *account.Tx)) {
	t.Helper()
	a := account.New(&account.Model{}, account.Options{Now: func() time.Time { return time.Unix(0, 0) }})
	_ = a.Do(func(tx *account.Tx) error {
		f(tx)
		return nil
	})
}

func put(tx *account.Tx, typ, id string, attrs map[string]any, tags map[string]string, props map[string]any) {
	tx.Put(&account.Resource{Type: typ, ID: id, Attrs: attrs, Tags: tags, Props: props})
}

type in = map[string]any

func lines(demands []Demand) []string {
	var out []string
	for _, d := range demands {
		out = append(out, d.Action+" "+strings.Join(d.Resources, " "))
	}
	return out
}

func TestOf(t *testing.T) {
	t.Parallel()
	const key = "arn:aws:kms:us-east-1:123456789012:key/k"
	for _, c := range []struct {
		name, operation string
		in              in
		header          string
		want            []string
	}{
		{"anybody may ask who they are", "sts:GetCallerIdentity", nil, "", nil},
		{"no resource type", "ec2:DescribeVpcs", nil, "", []string{"ec2:DescribeVpcs *"}},
		{"another prefix", "monitoring:DescribeAlarms", nil, "", []string{"cloudwatch:DescribeAlarms arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"}},
		{"another name", "s3:ListObjectsV2", in{"Bucket": "b"}, "", []string{"s3:ListBucket arn:aws:s3:::b"}},
		{"an object", "s3:HeadObject", in{"Bucket": "plain", "Key": "a/b"}, "", []string{"s3:GetObject arn:aws:s3:::plain/a/b"}},
		{"an object under a key", "s3:GetObject", in{"Bucket": "b", "Key": "a"}, "", []string{"s3:GetObject arn:aws:s3:::b/a", "kms:Decrypt " + key}},
		{"a version", "s3:DeleteObject", in{"Bucket": "b", "Key": "a", "versionId": "1"}, "", []string{"s3:DeleteObjectVersion arn:aws:s3:::b/a"}},
		{"retention", "s3:DeleteObject", in{"Bucket": "b", "Key": "a"}, "x-amz-bypass-governance-retention", []string{"s3:DeleteObject arn:aws:s3:::b/a", "s3:BypassGovernanceRetention arn:aws:s3:::b/a"}},
		{"new with tags", "ec2:CreateVpc", in{"TagSpecification": []any{in{"Tag": []any{in{"Key": "a", "Value": "b"}}}}}, "", []string{"ec2:CreateVpc arn:aws:ec2:us-east-1:123456789012:vpc/*", "ec2:CreateTags arn:aws:ec2:us-east-1:123456789012:vpc/*"}},
		{"several", "ec2:CreateTags", in{"ResourceId": []any{"vpc-1", "subnet-2"}}, "", []string{"ec2:CreateTags arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", "ec2:CreateTags arn:aws:ec2:us-east-1:123456789012:subnet/subnet-2"}},
		{"a role with a path", "iam:GetRole", in{"RoleName": "r"}, "", []string{"iam:GetRole arn:aws:iam::123456789012:role/path/r"}},
		{"a passed role", "cloudformation:CreateStack", in{"StackName": "s", "RoleARN": "arn:aws:iam::123456789012:role/path/r"}, "", []string{"cloudformation:CreateStack arn:aws:cloudformation:us-east-1:123456789012:stack/s/*", "iam:PassRole arn:aws:iam::123456789012:role/path/r"}},
		{"a key by its alias", "kms:DescribeKey", in{"KeyId": "alias/a"}, "", []string{"kms:DescribeKey " + key}},
		{"an alias and its keys", "kms:UpdateAlias", in{"AliasName": "alias/a", "TargetKeyId": "other"}, "", []string{"kms:UpdateAlias arn:aws:kms:us-east-1:123456789012:alias/a", "kms:UpdateAlias " + key, "kms:UpdateAlias arn:aws:kms:us-east-1:123456789012:key/other"}},
		{"a secret by its name", "secretsmanager:DescribeSecret", in{"SecretId": "db"}, "", []string{"secretsmanager:DescribeSecret arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"}},
		{"a secret to come", "secretsmanager:CreateSecret", in{"Name": "new"}, "", []string{"secretsmanager:CreateSecret arn:aws:secretsmanager:us-east-1:123456789012:secret:new-??????"}},
		{"a parameter", "ssm:GetParameter", in{"Name": "/a/b:3"}, "", []string{"ssm:GetParameter arn:aws:ssm:us-east-1:123456789012:parameter/a/b"}},
		{"a log group", "logs:PutRetentionPolicy", in{"logGroupName": "/g"}, "", []string{"logs:PutRetentionPolicy arn:aws:logs:us-east-1:123456789012:log-group:/g:log-stream:"}},
		{"its tags", "logs:TagResource", in{"resourceArn": "arn:aws:logs:us-east-1:123456789012:log-group:/g:*"}, "", []string{"logs:TagResource arn:aws:logs:us-east-1:123456789012:log-group:/g"}},
		{"a session", "ssm:StartSession", in{"Target": "i-1", "DocumentName": "AWS-StartPortForwardingSession"}, "", []string{"ssm:StartSession arn:aws:ec2:us-east-1:123456789012:instance/i-1", "ssm:StartSession arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSession"}},
		{"a final snapshot", "rds:DeleteDBInstance", in{"DBInstanceIdentifier": "d", "FinalDBSnapshotIdentifier": "f"}, "", []string{"rds:DeleteDBInstance arn:aws:rds:us-east-1:123456789012:db:d", "rds:CreateDBSnapshot arn:aws:rds:us-east-1:123456789012:db:d", "rds:CreateDBSnapshot arn:aws:rds:us-east-1:123456789012:snapshot:f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			world(t, func(tx *account.Tx) {
				put(tx, "AWS::IAM::Role", "r", in{"Arn": "arn:aws:iam::123456789012:role/path/r"}, nil, nil)
				put(tx, "AWS::KMS::Key", "k", in{"Arn": key}, nil, nil)
				put(tx, "AWS::KMS::Alias", "alias/a", nil, nil, in{"TargetKeyId": "k"})
				put(tx, "AWS::SecretsManager::Secret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf", nil, nil, nil)
				put(tx, "AWS::S3::Bucket", "b", nil, nil, in{"BucketEncryption": in{"ServerSideEncryptionConfiguration": []any{in{"ServerSideEncryptionByDefault": in{"KMSMasterKeyID": "alias/a"}}}}})
				service, operation, _ := strings.Cut(c.operation, ":")
				r := &wire.Request{Service: service, Operation: operation, In: c.in, Header: map[string][]string{}}
				if c.header != "" {
					r.Header[c.header] = []string{"true"}
				}
				if diff := cmp.Diff(c.want, lines(Of(tx, r))); diff != "" {
					t.Errorf("demands, -want +got:\n%s", diff)
				}
			})
		})
	}
}

// The condition keys on tags hold the tags that a request sets and those that
// the resource has.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_iam-tags.html
func TestTagsAreConditionKeys(t *testing.T) {
	t.Parallel()
	world(t, func(tx *account.Tx) {
		put(tx, "AWS::EC2::VPC", "vpc-1", nil, map[string]string{"team": "a"}, nil)
		got := Of(tx, &wire.Request{Service: "ec2", Operation: "CreateTags", In: in{"ResourceId": "vpc-1", "Tag": []any{in{"Key": "cost", "Value": "1"}}}})
		want := map[string][]string{"aws:RequestTag/cost": {"1"}, "aws:TagKeys": {"cost"}, "aws:ResourceTag/team": {"a"}, "ec2:ResourceTag/team": {"a"}}
		if diff := cmp.Diff(want, got[0].Context); diff != "" {
			t.Errorf("context, -want +got:\n%s", diff)
		}
		// Describing VPCs is not on a resource, and has no tags.
		if got := Of(tx, &wire.Request{Service: "ec2", Operation: "DescribeVpcs", In: in{}}); len(got[0].Context) != 0 {
			t.Errorf("DescribeVpcs has the context %v, want none", got[0].Context)
		}
	})
}

// The permissions that CloudFormation needs are those that AWS publishes for
// the handler, on the resource and on what its properties name.
//
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html#schema-properties-handlers
func TestHandlerDemandsWhatIsPublished(t *testing.T) {
	t.Parallel()
	world(t, func(tx *account.Tx) {
		vpc := &account.Resource{Type: "AWS::EC2::VPC", ID: "vpc-1", Tags: map[string]string{"team": "a"}}
		tx.Put(vpc)
		for _, c := range []struct {
			name      string
			change    account.Change
			want, not []string
		}{
			{"before it is there", account.Change{Type: "AWS::EC2::VPC", Handler: "create"}, []string{"ec2:CreateVpc arn:aws:ec2:us-east-1:123456789012:vpc/*", "ec2:DescribeVpcs *"}, []string{"ec2:DeleteVpc", "ec2:CreateVpcEncryptionControl"}},
			{"itself", account.Change{Type: "AWS::EC2::VPC", Handler: "delete", Resource: vpc}, []string{"ec2:DeleteVpc arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1"}, []string{"ec2:CreateVpc"}},
			{
				"what it names",
				account.Change{Type: "AWS::EC2::Subnet", Handler: "create", Props: in{"VpcId": "vpc-1"}},
				[]string{"ec2:CreateSubnet arn:aws:ec2:us-east-1:123456789012:subnet/*", "ec2:CreateSubnet arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1"},
				nil,
			},
			{
				"roles that it passes, but not those that its policies name",
				account.Change{Type: "AWS::EKS::Cluster", Handler: "create", Props: in{"Name": "c", "RoleArn": "arn:aws:iam::123456789012:role/r", "SomePolicy": in{"AWS": "arn:aws:iam::123456789012:role/other"}}},
				[]string{"iam:PassRole arn:aws:iam::123456789012:role/r", "iam:CreateServiceLinkedRole arn:aws:iam::123456789012:role/aws-service-role/eks.amazonaws.com/*"},
				[]string{"iam:PassRole arn:aws:iam::123456789012:role/other", "iam:CreateInstanceProfile"},
			},
			{
				"a name of CloudFormation's",
				account.Change{Type: "AWS::IAM::Role", Handler: "create", Stack: "s", LogicalID: "Role", Props: in{"Path": "/p/"}},
				[]string{"iam:CreateRole arn:aws:iam::123456789012:role/p/s-Role-*"},
				nil,
			},
			{"what nothing is published of", account.Change{Type: "AWS::Route53::RecordSet", Handler: "create", Props: in{"HostedZoneId": "Z1"}}, []string{"route53:ChangeResourceRecordSets arn:aws:route53:::hostedzone/Z1"}, nil},
		} {
			got := lines(Handler(tx, c.change))
			for _, w := range c.want {
				if !slices.Contains(got, w) {
					t.Errorf("%s: %s is not among %q", c.name, w, got)
				}
			}
			for _, n := range c.not {
				if slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, n) }) {
					t.Errorf("%s: %s is among %q", c.name, n, got)
				}
			}
		}
	})
}

// A call that CloudFormation makes on somebody's behalf says so; one that it
// makes as its service role does not.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-calledvia
func TestCalledVia(t *testing.T) {
	t.Parallel()
	world(t, func(tx *account.Tx) {
		for _, role := range []bool{false, true} {
			for _, d := range Handler(tx, account.Change{Type: "AWS::EC2::VPC", Handler: "create", Role: role}) {
				via := d.Context["aws:CalledVia"]
				if (len(via) == 0) != role || !role && (via[0] != "cloudformation.amazonaws.com" || d.Context["aws:ViaAWSService"][0] != "true") {
					t.Errorf("with a service role %v, %s comes with %v", role, d.Action, d.Context)
				}
			}
		}
	})
}

// Every type that has a handler asks for something whenever it is run, and
// every action is one that AWS has.
func TestHandlersAreKnown(t *testing.T) {
	t.Parallel()
	f, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Handlers) < 50 || len(f.Actions) < 500 {
		t.Fatalf("%d types and %d actions, want more", len(f.Handlers), len(f.Actions))
	}
	for typ, handlers := range f.Handlers {
		for handler := range handlers {
			if handler != "list" && len(f.permissions(typ, handler)) == 0 {
				t.Errorf("%s %s needs nothing", typ, handler)
			}
		}
	}
	for name, a := range f.Actions {
		if len(f.Types(name)) != len(a.On)+len(a.Maybe) || f.Name(strings.ToUpper(name)) != name {
			t.Errorf("%s is not found by its name", name)
		}
		for _, typ := range f.Types(name) {
			if f.Resources[typ] == nil {
				t.Errorf("%s is on %s, which is not known", name, typ)
			}
		}
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	f, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typ, arn string
		want     bool
	}{
		{"ec2:vpc", "arn:aws:ec2:us-east-1:1:vpc/vpc-1", true},
		{"ec2:vpc", "arn:aws:ec2:us-east-1:1:subnet/subnet-1", false},
		{"ec2:vpc", "vpc-1", false},
		{"s3:bucket", "arn:aws:s3:::b", true},
		{"backup:recoveryPoint", "arn:aws:rds:us-east-1:1:snapshot:x", true},
		{"apigateway:Stage", "arn:aws:apigateway:us-east-1::/restapis/a/stages/b", true},
		{"apigateway:Stage", "arn:aws:apigateway:us-east-1::/other/a/stages/b", false},
	} {
		if got := f.Resources[c.typ].Is(c.arn); got != c.want {
			t.Errorf("%s is a %s: %v, want %v", c.arn, c.typ, got, c.want)
		}
	}
}
