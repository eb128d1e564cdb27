package awsapi_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// TestGateStopsWhatWrites shuts the gate: what reads passes, what writes never
// leaves, and the clients that were there before stay free.
func TestGateStopsWhatWrites(t *testing.T) {
	t.Parallel()
	shut := errors.New("shut")
	var calls []string
	box := testkit.Sandbox(t, sandbox.Options{OnCall: func(c sandbox.Call) { calls = append(calls, c.Operation) }})
	free := clients(t, box, box.Principals()[0], nil)
	open := true
	gated := free.Gated(func(context.Context) error {
		if open {
			return nil
		}
		return shut
	})
	write := func(c *awsapi.Clients) []error {
		_, group := c.EC2.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: new("g"), Description: new("g")})
		_, bucket := c.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("bucket-of-a-test")})
		return []error{group, bucket}
	}
	read := func(c *awsapi.Clients) {
		t.Helper()
		if _, err := c.EC2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); err != nil {
			t.Error(err)
		}
		if _, err := c.Identity(t.Context()); err != nil {
			t.Error(err)
		}
	}
	read(gated)
	for _, err := range write(gated) {
		if errors.Is(err, shut) {
			t.Errorf("through the open gate: %v", err)
		}
	}
	open, calls = false, nil
	read(gated)
	for _, err := range write(gated) {
		if !errors.Is(err, shut) {
			t.Errorf("through the shut gate: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"DescribeVpcs", "GetCallerIdentity", "GetRole"}, calls); diff != "" {
		t.Errorf("calls through the shut gate (-want +got):\n%s", diff)
	}
	for _, err := range write(free) {
		if errors.Is(err, shut) {
			t.Errorf("of a client that is not gated: %v", err)
		}
	}
}

// TestGateIsAskedBeforeEachAttempt shuts the gate while a call waits to be
// repeated: it is not.
func TestGateIsAskedBeforeEachAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shut := errors.New("shut")
		calls := 0
		box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
			calls++
			return &account.Error{Code: "Throttling", Message: "Rate exceeded", Status: 400}
		}})
		asked := 0
		c := clients(t, box, box.Principals()[0], nil).Gated(func(context.Context) error {
			if asked++; asked > 3 {
				return shut
			}
			return nil
		})
		_, err := c.IAM.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: new("autoscaling.amazonaws.com")})
		if !errors.Is(err, shut) || calls != 3 || asked != 4 {
			t.Errorf("%d calls, asked %d times, %v; want 3 calls before the gate shut", calls, asked, err)
		}
		if _, err := c.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); errors.Is(err, shut) || asked != 4 {
			t.Errorf("a read: asked %d times, %v", asked, err)
		}
	})
}

// slow are credentials that take their time, and tell when they are there.
type slow struct {
	aws.CredentialsProvider
	there func()
}

func (s slow) Retrieve(ctx context.Context) (aws.Credentials, error) {
	defer s.there()
	return s.CredentialsProvider.Retrieve(ctx)
}

// TestGateIsAskedOnceSigned shuts the gate while a call gets its credentials: it is
// not sent, since what is signed later is accepted for longer. What reaches the gate
// has a signature.
func TestGateIsAskedOnceSigned(t *testing.T) {
	t.Parallel()
	shut, open, calls := errors.New("shut"), true, 0
	box := testkit.Sandbox(t, sandbox.Options{OnCall: func(sandbox.Call) { calls++ }})
	p := box.Principals()[0]
	c, err := awsapi.New(t.Context(), awsapi.Options{
		Region: "us-east-1", Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box),
		Credentials: slow{credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken), func() { open = false }},
	})
	if err != nil {
		t.Fatal(err)
	}
	signature := ""
	sees := middleware.FinalizeMiddlewareFunc("Sees", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		signature = in.Request.(*smithyhttp.Request).Header.Get("Authorization")
		return next.HandleFinalize(ctx, in)
	})
	_, err = c.Gated(func(context.Context) error {
		if open {
			return nil
		}
		return shut
	}).S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("bucket-of-a-test")}, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Finalize.Insert(sees, "Gate", middleware.Before)
		})
	})
	if !errors.Is(err, shut) || calls != 0 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if !strings.HasPrefix(signature, "AWS4-HMAC-SHA256 ") {
		t.Errorf("as the gate is asked, the signature is %q", signature)
	}
}

// writing are the operations of the product that change something; all others
// that it uses must be known to read. A new one is to be put here.
var writing = map[string][]string{
	"ACM":            {"DeleteCertificate"},
	"Backup":         {"DeleteBackupVault", "DeleteRecoveryPoint"},
	"ClassicELB":     {"DeleteLoadBalancer"},
	"CloudFormation": {"ContinueUpdateRollback", "CreateChangeSet", "DeleteChangeSet", "DeleteStack", "ExecuteChangeSet", "RollbackStack", "SetStackPolicy", "UpdateTerminationProtection"},
	"EC2":            {"DeleteNetworkInterface", "DeleteSecurityGroup", "DeleteSnapshot", "DeleteVolume", "DeleteVpcEndpoints", "RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress"},
	"ECR":            {"DeleteRepository"},
	"EKS":            {"UpdateClusterConfig"},
	"ELB":            {"DeleteLoadBalancer", "DeleteTargetGroup", "ModifyLoadBalancerAttributes"},
	"IAM":            {"CreateServiceLinkedRole"},
	"KMS":            {"DeleteAlias", "ScheduleKeyDeletion"},
	"Logs":           {"DeleteLogGroup"},
	"RDS":            {"DeleteDBInstance", "DeleteDBInstanceAutomatedBackup", "ModifyDBInstance"},
	"Route53":        {"ChangeResourceRecordSets"},
	"S3":             {"AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "DeleteBucket", "DeleteObject", "DeleteObjects", "PutBucketLifecycleConfiguration", "PutObject", "UploadPart", "UploadPartCopy"},
	"SSM":            {"DeleteParameter", "DeleteParameters", "PutParameter"},
}

// TestOperationsAreClassified looks up in the source which operations the
// product uses.
func TestOperationsAreClassified(t *testing.T) {
	t.Parallel()
	ids := map[string]string{} // of services, by what the clients call them
	methods := map[string]map[string]bool{}
	of := reflect.TypeFor[awsapi.Clients]()
	for i := range of.NumField() {
		f := of.Field(i)
		if !f.IsExported() || f.Type.Kind() != reflect.Pointer {
			continue
		}
		id := f.Type.Elem().PkgPath()
		ids[id[strings.LastIndex(id, "/")+1:]] = f.Name
		methods[f.Name] = map[string]bool{}
		for m := range f.Type.NumMethod() {
			methods[f.Name][f.Type.Method(m).Name] = true
		}
	}
	used := operations(t, ids, methods)
	got, reading := map[string][]string{}, 0
	for service, ops := range used {
		for _, op := range slices.Sorted(maps.Keys(ops)) {
			if awsapi.Reads(service, op) {
				reading++
				continue
			}
			got[service] = append(got[service], op)
		}
	}
	if diff := cmp.Diff(writing, got); diff != "" {
		t.Errorf("what the product writes with (-want +got):\n%s", diff)
	}
	if reading < 60 {
		t.Errorf("%d operations read, which can't be all", reading)
	}
}

// operations are those that the product's source uses, by service: inputs of
// calls name them, and so do pages.
func operations(t *testing.T, ids map[string]string, methods map[string]map[string]bool) map[string]map[string]bool {
	t.Helper()
	used := map[string]map[string]bool{}
	top := filepath.Join("..", "..")
	err := filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, file)
		if e.IsDir() {
			if slices.Contains([]string{"sandbox", "tools", "internal/testkit", "internal/calibrate", "internal/rehearse", "internal/samplebundle", "internal/awsapi"}, filepath.ToSlash(rel)) || strings.HasPrefix(e.Name(), ".") && rel != "." || e.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return err
		}
		packages := map[string]string{} // client by the name in this file
		for _, i := range parsed.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			id, ok := strings.CutPrefix(path, "github.com/aws/aws-sdk-go-v2/service/")
			if client := ids[id]; ok && client != "" {
				name := id
				if i.Name != nil {
					name = i.Name.Name
				}
				packages[name] = client
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if !ok || packages[x.Name] == "" {
				return true
			}
			client := packages[x.Name]
			op, ok := strings.CutSuffix(s.Sel.Name, "Input")
			if !ok {
				op = strings.TrimSuffix(strings.TrimPrefix(s.Sel.Name, "New"), "Paginator")
			}
			if methods[client][op] && op != "Options" {
				if used[client] == nil {
					used[client] = map[string]bool{}
				}
				used[client][op] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}
