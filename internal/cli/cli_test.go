package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// speedVariable is how scripts hand the speed of the product's clock on.
const speedVariable = "TEST_SPEED"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"poolhouse": func() {
		ctx, cancel := context.WithCancelCause(context.Background())
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		go func() {
			<-signals
			cancel(cli.ErrInterrupted)
		}()
		s := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		if speed, err := strconv.ParseFloat(os.Getenv(speedVariable), 64); err == nil {
			s.Clock = clock.NewScaled(speed)
		}
		os.Exit(cli.Run(ctx, os.Args[1:], s))
	}})
}

// TestScripts plays the user stories in testdata.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"account":   serveAccount,
			"vandalise": vandalise,
			"open":      openBucket,
			"json":      checkJSON,
			"status":    checkStatus,
			"width":     checkWidth,
			"bytes":     writeBytes,
			"vary":      varyExample,
			"web":       serveWeb,
			"sample":    writeSample,
			"tar":       writeTar,
		},
	})
}

// serveAccount [region] starts a sandbox with what the example evaluation.yaml
// presupposes, and sets the environment that leads to it.
func serveAccount(ts *testscript.TestScript, neg bool, args []string) {
	region := "us-east-1"
	if len(args) > 0 {
		region = args[0]
	}
	const speed = 3000
	began := time.Now()
	arch, err := loadExample(ts.Getenv("EXAMPLES") + "/evaluation.yaml")
	ts.Check(err)
	o := sandbox.Options{
		Region: region, Fresh: true,
		Principals: []sandbox.Principal{
			{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:sts::123456789012:assumed-role/" + sandbox.AdministratorRole + "/" + sandbox.AdministratorSession},
			{AccessKeyID: malloryKey, SecretAccessKey: "mallory", ARN: "arn:aws:iam::123456789012:user/mallory"},
		},
		Now: func() time.Time { return began.Add(time.Since(began) * speed) },
	}
	doors, err := rehearse.OpenDoors(context.Background(), &o, arch)
	ts.Check(err)
	ts.Defer(func() { ts.Check(doors.Close()) })
	box := testkit.Sandbox(script{ts}, o)
	doors.Attach(box)
	if region == "us-east-1" {
		_, err = rehearse.Given(box, arch)
		ts.Check(err)
	}
	server := httptest.NewServer(box)
	ts.Defer(server.Close)
	for _, v := range rehearse.NewEndpoint(box, server.URL).Environment {
		ts.Setenv(v.Name, v.Value)
	}
	ts.Setenv(speedVariable, strconv.Itoa(speed))
}

// malloryKey is the access key of somebody else in the account.
const malloryKey = "AKIAMALLORY000000000"

// vandalise changes the deployment of the example evaluation.yaml as somebody
// else, and waits until CloudTrail knows.
func vandalise(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(ts.Getenv("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider(malloryKey, "mallory", ""),
	}
	stacks := cloudformation.NewFromConfig(cfg)
	id := func(stack, logical string) *string {
		out, err := stacks.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: &stack, LogicalResourceId: &logical})
		ts.Check(err)
		return out.StackResourceDetail.PhysicalResourceId
	}
	_, err := kms.NewFromConfig(cfg).DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: id("poolside-keys", "ApplicationKey")})
	ts.Check(err)
	_, err = cloudwatchlogs.NewFromConfig(cfg).DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: id("poolside-network", "FlowLogGroup")})
	ts.Check(err)
	trail := cloudtrail.NewFromConfig(cfg)
	for seen := 0; seen < 2; {
		out, err := trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{LookupAttributes: []trailtypes.LookupAttribute{{AttributeKey: trailtypes.LookupAttributeKeyUsername, AttributeValue: aws.String("mallory")}}})
		ts.Check(err)
		seen = len(out.Events)
	}
}

// serveWeb starts something that isn't AWS, and leads clients there.
func serveWeb(ts *testscript.TestScript, neg bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "<html><body>Sign in to the wireless network.</body></html>")
	}))
	ts.Defer(server.Close)
	ts.Setenv("AWS_ENDPOINT_URL", server.URL)
}

// checkJSON stdout|stderr|FILE checks that each line, or all of it, is JSON.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	n := 0
	for ; ; n++ {
		var v any
		err := dec.Decode(&v)
		if err == io.EOF {
			break
		}
		ts.Check(err)
	}
	if n == 0 {
		ts.Fatalf("%s holds no JSON", args[0])
	}
}

// checkStatus CODE ARGS... runs poolhouse and wants an exit code.
func checkStatus(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("poolhouse", args[1:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("poolhouse %s: exit code %s, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// checkWidth N stdout|stderr|FILE wants no line longer than N columns.
func checkWidth(ts *testscript.TestScript, neg bool, args []string) {
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > most {
			ts.Fatalf("a line has %d columns: %s", n, line)
		}
	}
}

// writeBytes FILE KIND writes what a script can't hold: binary, or 100 MB.
func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	var data []byte
	switch args[1] {
	case "binary":
		data = []byte("\x7fELF\x02\x01\x01\x00\x00\x00")
	case "huge":
		data = bytes.Repeat([]byte("name: poolside\n"), 100<<20/15)
	default:
		ts.Fatalf("unknown kind %s", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// openBucket PURPOSE lets the account's bucket for a purpose become public, as
// somebody might by hand.
func openBucket(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	clients, err := awsapi.New(ctx, awsapi.Options{
		Region: "us-east-1", Endpoint: ts.Getenv("AWS_ENDPOINT_URL"),
		Credentials: credentials.NewStaticCredentialsProvider(ts.Getenv("AWS_ACCESS_KEY_ID"), ts.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	ts.Check(err)
	bucket := "poolside-" + args[0] + "-123456789012-us-east-1"
	_, err = clients.S3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: &bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(false)},
	})
	ts.Check(err)
}

// varyExample FILE [OLD NEW]... writes the example production.yaml with texts
// replaced; \n stands for a line break.
func varyExample(ts *testscript.TestScript, neg bool, args []string) {
	src := ts.ReadFile(ts.Getenv("EXAMPLES") + "/production.yaml")
	for i := 1; i+1 < len(args); i += 2 {
		before, after := strings.ReplaceAll(args[i], `\n`, "\n"), strings.ReplaceAll(args[i+1], `\n`, "\n")
		if !strings.Contains(src, before) {
			ts.Fatalf("the example does not contain %q", before)
		}
		src = strings.Replace(src, before, after, 1)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(src), 0o644))
}

// loadExample reads a configuration and works out what it means.
func loadExample(path string) (*architecture.Architecture, error) {
	c, err := config.LoadFile(path)
	if err != nil {
		return nil, err
	}
	return architecture.New(c)
}

// script lets a script stand for a test where a sandbox wants one.
type script struct{ *testscript.TestScript }

func (s script) Helper()                           {}
func (s script) Errorf(format string, args ...any) { s.Fatalf(format, args...) }
func (s script) Cleanup(f func())                  { s.Defer(f) }
