package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/rehearse"
)

// awsTemplate is in YAML with short forms, as people write templates by hand.
const awsTemplate = `AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Greeting: {Type: String, Default: hello}
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: 10.9.0.0/16
      Tags: [{Key: Name, Value: !Ref "AWS::StackName"}]
  Subnet:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Network
      CidrBlock: !Select [1, !Cidr [!GetAtt Network.CidrBlock, 4, 8]]
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Sub "greetings-${AWS::AccountId}"}
  Parameter:
    Type: AWS::SSM::Parameter
    Properties: {Name: /greeting, Type: String, Value: !Sub "${Greeting} from ${Subnet}"}
Outputs:
  Subnet: {Value: !Ref Subnet}
`

// awsCLI is the ordinary AWS CLI, and a sandbox for it in a process of its own.
type awsCLI struct {
	t        *testing.T
	binary   string
	endpoint string
	env      []string
	served   servedSandbox
}

// newAWSCLI starts a sandbox for the CLI.
func newAWSCLI(t *testing.T, args ...string) *awsCLI {
	t.Helper()
	c := &awsCLI{t: t, binary: os.Getenv("POOLHOUSE_AWSCLI")}
	if c.binary == "" {
		t.Skip("POOLHOUSE_AWSCLI names no AWS CLI: apt-get install awscli, then POOLHOUSE_AWSCLI=/usr/bin/aws")
	}
	e, env := serveSandbox(t, args...)
	c.served = e
	c.endpoint, c.env = e.URL, append(env, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1")
	return c
}

// servedSandbox is what a sandbox says of itself.
type servedSandbox struct {
	rehearse.Endpoint
	Planes []struct {
		Name    string
		Process int
	}
	Registry  struct{ Host, Address string }
	Proxy, CA string
}

// serveSandbox starts a sandbox in a process of its own, and returns what
// another program needs in its environment to use it. It is so fast that
// programs which look every 5 or 30 seconds never find an operation unfinished.
func serveSandbox(t *testing.T, args ...string) (e servedSandbox, env []string) {
	t.Helper()
	server := exec.Command("poolhouse", append([]string{"sandbox", "--listen", "127.0.0.1:0", "--speed", "100000", "--output", "json"}, args...)...)
	var stderr bytes.Buffer
	server.Stderr = &stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("interrupt the sandbox: %v", err)
		}
		if err := server.Wait(); err != nil {
			t.Errorf("the sandbox ended: %v\n%s", err, &stderr)
		}
	})
	if err := json.NewDecoder(out).Decode(&e); err != nil {
		t.Fatalf("read the sandbox's endpoint: %v\n%s", err, &stderr)
	}
	env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true"}
	for _, v := range e.Environment {
		env = append(env, v.Name+"="+v.Value)
	}
	return e, env
}

// run runs a command and returns its exit code and what it printed. Versions
// before 2.13 know no AWS_ENDPOINT_URL, so the endpoint is an argument too.
func (c *awsCLI) run(args ...string) (code int, out, stderr string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.binary, append([]string{"--endpoint-url", c.endpoint}, args...)...)
	cmd.Env = c.env
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(o.String()), strings.TrimSpace(e.String())
}

// ok runs a command that must succeed, and returns its output.
func (c *awsCLI) ok(args ...string) string {
	c.t.Helper()
	code, out, stderr := c.run(args...)
	if code != 0 {
		c.t.Fatalf("aws %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, stderr)
	}
	return out
}

// refused runs a command that must fail with a text in its error.
func (c *awsCLI) refused(want string, args ...string) {
	c.t.Helper()
	if code, _, stderr := c.run(args...); code == 0 || !strings.Contains(stderr, want) {
		c.t.Errorf("aws %s: exit code %d, and the error lacks %q:\n%s", strings.Join(args, " "), code, want, stderr)
	}
}

// want runs a command and compares its output.
func (c *awsCLI) want(want string, args ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.ok(args...)); diff != "" {
		c.t.Errorf("aws %s, -want +got:\n%s", strings.Join(args, " "), diff)
	}
}

// TestAWSCLI takes a stack through its life with the ordinary AWS CLI.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	c := newAWSCLI(t, "--without", "s3,ecr")
	template := filepath.Join(t.TempDir(), "template.yaml")
	if err := os.WriteFile(template, []byte(awsTemplate), 0o644); err != nil {
		t.Fatal(err)
	}
	const stack = "greetings"
	names := []string{"--stack-name", stack}
	with := func(args ...string) []string { return append(args, names...) }
	text := func(query string, args ...string) []string { return append(args, "--query", query, "--output", "text") }

	c.want("123456789012\tarn:aws:sts::123456789012:assumed-role/Administrator/sandbox", text("[Account,Arn]", "sts", "get-caller-identity")...)
	c.refused("(NotModelled)", "dynamodb", "list-tables")

	c.ok(with("cloudformation", "create-stack", "--template-body", "file://"+template, "--parameters", "ParameterKey=Greeting,ParameterValue=servus")...)
	c.ok(with("cloudformation", "wait", "stack-create-complete")...)
	described := c.ok(text("Stacks[0].[StackStatus,Parameters[0].ParameterValue,Outputs[0].OutputValue]", with("cloudformation", "describe-stacks")...)...)
	fields := strings.Split(described, "\t")
	if len(fields) != 3 || fields[0] != "CREATE_COMPLETE" || fields[1] != "servus" || !strings.HasPrefix(fields[2], "subnet-") {
		t.Errorf("describe-stacks: %q", described)
	}
	events := c.ok(text("reverse(StackEvents)[].[LogicalResourceId,ResourceStatus]", with("cloudformation", "describe-stack-events")...)...)
	lines := strings.Split(events, "\n")
	if lines[0] != stack+"\tCREATE_IN_PROGRESS" || lines[len(lines)-1] != stack+"\tCREATE_COMPLETE" || strings.Count(events, "\tCREATE_COMPLETE") != 5 {
		t.Errorf("describe-stack-events:\n%s", events)
	}

	c.want("10.9.0.0/16\t"+stack, text("Vpcs[?!IsDefault].[CidrBlock,Tags[?Key=='Name'].Value|[0]]", "ec2", "describe-vpcs")...)
	c.want("servus from "+fields[2], text("Parameter.Value", "ssm", "get-parameter", "--name", "/greeting")...)
	if out := c.ok("s3", "ls"); !strings.HasSuffix(out, " greetings-123456789012") {
		t.Errorf("s3 ls: %q", out)
	}

	c.ok("elb", "create-load-balancer", "--load-balancer-name", "a0123", "--scheme", "internal", "--subnets", fields[2],
		"--listeners", "Protocol=TCP,LoadBalancerPort=80,InstancePort=31080", "--tags", "Key=kubernetes.io/service-name,Value=default/web")
	c.want("a0123\tdefault/web", text("TagDescriptions[].[LoadBalancerName,Tags[0].Value]", "elb", "describe-tags", "--load-balancer-names", "a0123")...)
	c.want("a0123\tinternal\t"+fields[2], text("LoadBalancerDescriptions[].[LoadBalancerName,Scheme,Subnets[0]]", "elb", "describe-load-balancers")...)
	c.ok("elb", "delete-load-balancer", "--load-balancer-name", "a0123")
	c.refused("There is no ACTIVE Load Balancer named 'a0123'", "elb", "describe-load-balancers", "--load-balancer-names", "a0123")

	deploy := with("cloudformation", "deploy", "--template-file", template)
	if out := c.ok(append(deploy, "--parameter-overrides", "Greeting=moin")...); !strings.HasSuffix(out, "Successfully created/updated stack - "+stack) {
		t.Errorf("deploy: %q", out)
	}
	c.want("moin from "+fields[2], text("Parameter.Value", "ssm", "get-parameter", "--name", "/greeting")...)
	// The CLI names its change sets by the second.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	if out := c.ok(deploy...); !strings.HasSuffix(out, "No changes to deploy. Stack "+stack+" is up to date") {
		t.Errorf("deploy again: %q", out)
	}

	c.ok(with("cloudformation", "delete-stack")...)
	c.ok(with("cloudformation", "wait", "stack-delete-complete")...)
	c.refused("Stack with id "+stack+" does not exist", with("cloudformation", "describe-stacks")...)
	c.want("", text("Vpcs[?!IsDefault]", "ec2", "describe-vpcs")...)
}

// awsPlatform has something of each service that operators look into.
const awsPlatform = `
Parameters:
  Tier: {Type: String, Default: gold}
Resources:
  Network: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.9.0.0/16}}
  One:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Network, CidrBlock: 10.9.0.0/20, AvailabilityZone: !Select [0, !GetAZs ""]}
  Two:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Network, CidrBlock: 10.9.16.0/20, AvailabilityZone: !Select [1, !GetAZs ""]}
  Key:
    Type: AWS::KMS::Key
    Properties:
      PendingWindowInDays: 7
      KeyPolicy:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:aws:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}]
  Alias: {Type: AWS::KMS::Alias, Properties: {AliasName: alias/platform, TargetKeyId: !Ref Key}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: platform-cluster
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: eks.amazonaws.com}, Action: "sts:AssumeRole"}]}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"]
  Cluster:
    Type: AWS::EKS::Cluster
    Properties: {Name: platform, RoleArn: !GetAtt Role.Arn, ResourcesVpcConfig: {SubnetIds: [!Ref One, !Ref Two]}}
  Subnets:
    Type: AWS::RDS::DBSubnetGroup
    Properties: {DBSubnetGroupName: platform, DBSubnetGroupDescription: both, SubnetIds: [!Ref One, !Ref Two]}
  Database:
    Type: AWS::RDS::DBInstance
    DeletionPolicy: Delete
    Properties: {DBInstanceIdentifier: platform, Engine: postgres, DBInstanceClass: db.m7g.large, AllocatedStorage: "50", StorageEncrypted: true, KmsKeyId: !GetAtt Key.Arn, MasterUsername: keeper, ManageMasterUserPassword: true, DBSubnetGroupName: !Ref Subnets}
  Parameter: {Type: AWS::SSM::Parameter, Properties: {Name: /platform/tier, Type: String, Value: !Ref Tier}}
`

// TestAWSCLIServices looks into what a stack has made, changes it by a change
// set, and finds what was changed by hand, all with the ordinary AWS CLI.
func TestAWSCLIServices(t *testing.T) {
	t.Parallel()
	c := newAWSCLI(t, "--without", "s3,ecr")
	template := filepath.Join(t.TempDir(), "template.yaml")
	if err := os.WriteFile(template, []byte(awsPlatform), 0o644); err != nil {
		t.Fatal(err)
	}
	stack := func(args ...string) []string {
		return append(append([]string{"cloudformation"}, args...), "--stack-name", "platform")
	}
	text := func(query string, args ...string) []string { return append(args, "--query", query, "--output", "text") }
	c.ok(stack("create-stack", "--template-body", "file://"+template, "--capabilities", "CAPABILITY_NAMED_IAM")...)
	c.ok(stack("wait", "stack-create-complete")...)

	c.want("platform", text("clusters", "eks", "list-clusters")...)
	c.ok("eks", "wait", "cluster-active", "--name", "platform")
	c.want("ACTIVE", text("cluster.status", "eks", "describe-cluster", "--name", "platform")...)
	if token := c.ok("eks", "get-token", "--cluster-name", "platform"); !strings.Contains(token, "k8s-aws-v1.") {
		t.Errorf("get-token: %s", token)
	}
	c.ok("rds", "wait", "db-instance-available", "--db-instance-identifier", "platform")
	secret := c.ok(text("DBInstances[0].MasterUserSecret.SecretArn", "rds", "describe-db-instances", "--db-instance-identifier", "platform")...)
	if out := c.ok(text("SecretString", "secretsmanager", "get-secret-value", "--secret-id", secret)...); !strings.Contains(out, `"username":"keeper"`) {
		t.Errorf("master secret: %s", out)
	}
	id := c.ok(text("Stacks[0].StackId", stack("describe-stacks")...)...)
	if !strings.Contains(id, ":stack/platform/") {
		t.Errorf("stack id %q", id)
	}
	c.want("Enabled\tCUSTOMER", text("KeyMetadata.[KeyState,KeyManager]", "kms", "describe-key", "--key-id", "alias/platform")...)
	c.want("default", text("PolicyNames", "kms", "list-key-policies", "--key-id", c.ok(text("KeyMetadata.KeyId", "kms", "describe-key", "--key-id", "alias/platform")...))...)
	c.want("AmazonEKSClusterPolicy", text("AttachedPolicies[].PolicyName", "iam", "list-attached-role-policies", "--role-name", "platform-cluster")...)
	c.want("/platform/tier\tgold", text("Parameters[].[Name,Value]", "ssm", "get-parameters-by-path", "--path", "/platform")...)
	c.want("10.9.0.0/20\t10.9.16.0/20", text("sort(Subnets[?!DefaultForAz].CidrBlock)", "ec2", "describe-subnets")...)
	if out := c.ok(text("NetworkInterfaces[].Description", "ec2", "describe-network-interfaces")...); !strings.Contains(out, "Amazon EKS platform") || !strings.Contains(out, "RDSNetworkInterface") {
		t.Errorf("describe-network-interfaces: %s", out)
	}

	c.ok(stack("create-change-set", "--change-set-name", "silver", "--use-previous-template", "--parameters", "ParameterKey=Tier,ParameterValue=silver", "--capabilities", "CAPABILITY_NAMED_IAM")...)
	c.ok(stack("wait", "change-set-create-complete", "--change-set-name", "silver")...)
	c.want("Modify\tParameter\tFalse", text("Changes[].ResourceChange.[Action,LogicalResourceId,Replacement]", stack("describe-change-set", "--change-set-name", "silver")...)...)
	c.ok(stack("execute-change-set", "--change-set-name", "silver")...)
	c.ok(stack("wait", "stack-update-complete")...)

	c.ok("ssm", "put-parameter", "--name", "/platform/tier", "--value", "tin", "--overwrite")
	detection := c.ok(text("StackDriftDetectionId", stack("detect-stack-drift")...)...)
	c.want("DETECTION_COMPLETE\tDRIFTED\t1", text("[DetectionStatus,StackDriftStatus,DriftedStackResourceCount]", "cloudformation", "describe-stack-drift-detection-status", "--stack-drift-detection-id", detection)...)
	c.want("Parameter\tMODIFIED\tsilver\ttin", text("StackResourceDrifts[?StackResourceDriftStatus!='IN_SYNC'].[LogicalResourceId,StackResourceDriftStatus,PropertyDifferences[0].ExpectedValue,PropertyDifferences[0].ActualValue]", stack("describe-stack-resource-drifts")...)...)

	c.ok(stack("delete-stack")...)
	c.ok(stack("wait", "stack-delete-complete")...)
	c.refused("ResourceNotFoundException", "eks", "describe-cluster", "--name", "platform")
	c.refused("NotFoundException", "kms", "describe-key", "--key-id", "alias/platform")
}
