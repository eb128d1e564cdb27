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
}

// newAWSCLI starts a sandbox. It is so fast that the CLI, which looks every
// 5 or 30 seconds, never finds an operation unfinished.
func newAWSCLI(t *testing.T) *awsCLI {
	t.Helper()
	c := &awsCLI{t: t, binary: os.Getenv("POOLHOUSE_AWSCLI")}
	if c.binary == "" {
		t.Skip("POOLHOUSE_AWSCLI names no AWS CLI: apt-get install awscli, then POOLHOUSE_AWSCLI=/usr/bin/aws")
	}
	server := exec.Command("poolhouse", "sandbox", "--listen", "127.0.0.1:0", "--speed", "100000", "--output", "json")
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
	var e rehearse.Endpoint
	if err := json.NewDecoder(out).Decode(&e); err != nil {
		t.Fatalf("read the sandbox's endpoint: %v\n%s", err, &stderr)
	}
	c.endpoint = e.URL
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1"}
	for _, v := range e.Environment {
		c.env = append(c.env, v.Name+"="+v.Value)
	}
	return c
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
	c := newAWSCLI(t)
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
