package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/oracle"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

const various = `
Resources:
  Vpc: {Type: "AWS::EC2::VPC", Properties: {CidrBlock: 10.9.0.0/16}}
  A: {Type: "AWS::EC2::Subnet", Properties: {VpcId: !Ref Vpc, CidrBlock: 10.9.0.0/24, AvailabilityZone: us-east-1a}}
  B: {Type: "AWS::EC2::Subnet", Properties: {VpcId: !Ref Vpc, CidrBlock: 10.9.1.0/24, AvailabilityZone: us-east-1b}}
  Log: {Type: "AWS::Logs::LogGroup", Properties: {LogGroupName: /various, RetentionInDays: 7}}
  Routes: {Type: "AWS::EC2::RouteTable", Properties: {VpcId: !Ref Vpc}}
  Endpoint: {Type: "AWS::EC2::VPCEndpoint", Properties: {VpcId: !Ref Vpc, ServiceName: !Sub "com.amazonaws.${AWS::Region}.s3", RouteTableIds: [!Ref Routes]}}
  Balancer: {Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", Properties: {Name: various, Scheme: internal, Subnets: [!Ref A, !Ref B]}}
  Targets: {Type: "AWS::ElasticLoadBalancingV2::TargetGroup", Properties: {VpcId: !Ref Vpc, Port: 80, Protocol: HTTP, TargetType: ip}}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties: {LoadBalancerArn: !Ref Balancer, Port: 80, Protocol: HTTP, DefaultActions: [{Type: forward, TargetGroupArn: !Ref Targets}]}
  Zone: {Type: "AWS::Route53::HostedZone", Properties: {Name: various.example.com}}
  Record: {Type: "AWS::Route53::RecordSet", Properties: {HostedZoneId: !Ref Zone, Name: a.various.example.com, Type: A, TTL: "60", ResourceRecords: [192.0.2.1]}}
  Alias:
    Type: AWS::Route53::RecordSet
    Properties:
      {HostedZoneId: !Ref Zone, Name: b.various.example.com, Type: A, AliasTarget: {HostedZoneId: !GetAtt Balancer.CanonicalHostedZoneID, DNSName: !GetAtt Balancer.DNSName}}
  Repository: {Type: "AWS::ECR::Repository", Properties: {RepositoryName: various/app}}
  Group: {Type: "AWS::RDS::DBSubnetGroup", Properties: {DBSubnetGroupName: various, DBSubnetGroupDescription: d, SubnetIds: [!Ref A, !Ref B]}}
  Parameters: {Type: "AWS::RDS::DBParameterGroup", Properties: {DBParameterGroupName: various, Description: d, Family: postgres17}}
  Database:
    Type: AWS::RDS::DBInstance
    DeletionPolicy: Delete
    Properties:
      {DBInstanceIdentifier: various, Engine: postgres, EngineVersion: "17", DBInstanceClass: db.t4g.medium, AllocatedStorage: "20", MasterUsername: boss, ManageMasterUserPassword: true, DBSubnetGroupName: !Ref Group, DBParameterGroupName: !Ref Parameters}
  Secret: {Type: "AWS::SecretsManager::Secret", Properties: {Name: various, SecretString: text}}
  Vault: {Type: "AWS::Backup::BackupVault", Properties: {BackupVaultName: various}}
  Set: {Type: "AWS::WAFv2::IPSet", Properties: {Name: various, Scope: REGIONAL, IPAddressVersion: IPV4, Addresses: [192.0.2.0/24]}}
  Acl:
    Type: AWS::WAFv2::WebACL
    Properties: {Name: various, Scope: REGIONAL, DefaultAction: {Allow: {}}, VisibilityConfig: {SampledRequestsEnabled: true, CloudWatchMetricsEnabled: true, MetricName: m}}
  Template: {Type: "AWS::EC2::LaunchTemplate", Properties: {LaunchTemplateName: various, LaunchTemplateData: {InstanceType: t3.micro}}}
`

// TestOracleRequests sends requests of every operation that the sandbox models,
// made up from AWS's service models and from what is in an account, to a copy of
// the account each: every answer has to fit the model, and none may be given to
// a request that lacks what is required.
func TestOracleRequests(t *testing.T) {
	t.Parallel()
	models := oracle.Load()
	if models == nil {
		t.Skip("no service models to compare with: set " + oracle.Variable + " to a folder of AWS's service models, gzipped")
	}
	synctest.Test(t, func(t *testing.T) {
		box := testkit.Sandbox(t, sandbox.Options{})
		stacks := cfn.NewFromConfig(testkit.Config(box))
		deployed(t, stacks, "drifting", drifting)
		deployed(t, stacks, "various", various)
		deployed(t, stacks, "eksctl-harbour-cluster", read(t, "eksctl-cluster.json"))
		known := known(box)
		sent, answered := 0, 0
		for _, service := range []string{
			"acm", "autoscaling", "backup", "cloudformation", "ec2", "ecr", "eks", "elasticloadbalancing", "iam", "kms", "logs", "rds", "route53", "s3",
			"secretsmanager", "ssm", "sts", "wafv2",
		} {
			operations, err := models.Operations(service)
			if err != nil {
				t.Fatal(err)
			}
			g := &oracle.Generator{Models: models, Rand: rand.New(rand.NewPCG(7, 11)), Known: known, Now: time.Now()}
			for _, operation := range operations {
				if operation == "ListDirectoryBuckets" {
					continue // told apart from ListBuckets by its host only
				}
				without := make([]string, 9)
				required, err := models.Required(service, operation)
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					without = append(without, required...)
				}
				fork := box.Clone(nil)
				for i, left := range without {
					r, err := g.Request(service, operation, left)
					if err != nil {
						t.Fatal(err)
					}
					status, code := send(t, fork, service, r)
					if code == wire.NotModelled && i == 0 {
						break
					}
					sent++
					if status < 300 {
						answered++
					}
					if status == http.StatusInternalServerError || status == http.StatusForbidden && strings.Contains(code, "Signature") {
						t.Errorf("%s.%s: %d %s for %s %v %s", service, operation, status, code, r.URI, r.Header, r.Body)
					}
				}
			}
		}
		t.Logf("%d requests, %d answered", sent, answered)
		if sent < 3000 || answered < 500 {
			t.Errorf("sent %d requests only, of which %d were answered", sent, answered)
		}
	})
}

func read(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile("testdata/foreign/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// deployed makes a stack and waits for it.
func deployed(t *testing.T, c *cfn.Client, name, body string) {
	t.Helper()
	ctx := context.Background()
	if _, err := c.CreateStack(ctx, &cfn.CreateStackInput{StackName: &name, TemplateBody: &body, Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam}}); err != nil {
		t.Fatal(err)
	}
	if err := cfn.NewStackCreateCompleteWaiter(c).Wait(ctx, &cfn.DescribeStacksInput{StackName: &name}, 2*time.Hour); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// known are the account's ids and names by the members that take them.
func known(box *sandbox.Sandbox) map[string][]string {
	out := map[string][]string{}
	add := func(name, v string) {
		if v != "" && len(v) < 200 {
			out[strings.ToLower(name)] = append(out[strings.ToLower(name)], v)
		}
	}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case string:
			add(name, v)
			if strings.HasPrefix(v, "arn:") {
				add("arn", v)
			}
		case []any:
			for _, x := range v {
				walk(name, x)
			}
		case map[string]any:
			for k, x := range v {
				walk(k, x)
			}
		}
	}
	for _, r := range box.Account().Resources() {
		kind := r.Type[strings.LastIndex(r.Type, ":")+1:]
		for _, name := range []string{kind, kind + "Id", kind + "Name", "Id", kind + "Ids"} {
			add(name, r.ID)
		}
		switch kind {
		case "Cluster", "Nodegroup", "Addon", "BackupVault", "HostedZone":
			add("Name", r.ID)
			add("Id", r.ID)
		case "DBInstance", "DBSubnetGroup", "DBParameterGroup", "DBSnapshot":
			add(kind+"Identifier", r.ID)
		case "SecurityGroup":
			add("GroupId", r.ID)
		case "Stack":
			add("StackName", r.ID)
		case "Secret":
			add("SecretId", r.ID)
		case "Key":
			add("KeyId", r.ID)
		}
		walk(kind+"Arn", r.Attrs["Arn"])
		walk("", r.Props)
		walk("", r.Attrs)
	}
	for _, s := range []string{"drifting", "various", "eksctl-harbour-cluster"} {
		add("StackName", s)
	}
	for k := range out {
		slices.Sort(out[k])
		out[k] = slices.Compact(out[k])
	}
	return out
}

// send signs a request, and returns the status and the code of a refusal.
func send(t *testing.T, box *sandbox.Sandbox, service string, g *oracle.Generated) (status int, code string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), g.Method, testkit.Endpoint+g.URI, bytes.NewReader(g.Body))
	if err != nil {
		t.Fatalf("%s %s: %v", service, g.URI, err)
	}
	r.Header = g.Header.Clone()
	sum := sha256.Sum256(g.Body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	p := box.Principals()[0]
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err := signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey}, r, hash, service, "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	answer, err := testkit.Transport{Handler: box}.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", service, g.URI, err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{wire.NotModelled, "InternalFailure", "SignatureDoesNotMatch", "InvalidSignatureException"} {
		if answer.StatusCode >= 400 && bytes.Contains(body, []byte(code)) {
			return answer.StatusCode, code
		}
	}
	return answer.StatusCode, fmt.Sprintf("%.300s", body)
}

// A request that lacks a member which its operation requires is refused before
// anything is looked up.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func TestRequiredMembers(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{})
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	target := func(name string) http.Header {
		return http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {name}}
	}
	for _, tc := range []struct {
		service string
		header  http.Header
		body    string
		want    string
	}{
		{"iam", form, "Action=TagRole&Version=2010-05-08&RoleName=none", "<Code>ValidationError</Code><Message>1 validation error detected: Value null at &#39;tags&#39; failed to satisfy constraint: Member must not be null</Message>"},
		{"ec2", form, "Action=DeleteVpcEndpoints&Version=2016-11-15", "<Code>MissingParameter</Code><Message>The request must contain the parameter VpcEndpointId</Message>"},
		{"elasticloadbalancing", form, "Action=DeleteTargetGroup&Version=2015-12-01", "<Code>ValidationError</Code><Message>1 validation error detected: Value null at &#39;targetGroupArn&#39;"},
		{"kms", target("TrentService.TagResource"), `{"KeyId": "none"}`, `"__type":"ValidationException","message":"1 validation error detected: Value null at 'tags' failed`},
		{"logs", target("Logs_20140328.PutRetentionPolicy"), `{"logGroupName": "none"}`, `"__type":"InvalidParameterException","message":"1 validation error detected: Value null at 'retentionInDays' failed`},
		{"ecr", target("AmazonEC2ContainerRegistry_V20150921.PutLifecyclePolicy"), `{"repositoryName": "none"}`, `"__type":"InvalidParameterException","message":"Invalid parameter at 'lifecyclePolicyText'`},
	} {
		t.Run(tc.service, func(t *testing.T) {
			t.Parallel()
			status, got := send(t, box, tc.service, &oracle.Generated{Method: http.MethodPost, URI: "/", Header: tc.header, Body: []byte(tc.body)})
			if status != http.StatusBadRequest || !strings.Contains(got, tc.want) {
				t.Errorf("got %d %s, want %s", status, got, tc.want)
			}
		})
	}
}
