package fault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// world is a broken account on a bubble's clock.
type world struct {
	t      testing.TB
	box    *sandbox.Sandbox
	faults *fault.Injector
	cfg    aws.Config
	cfn    *cfn.Client
	ec2    *ec2.Client
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// broken is an account in which the faults are at work.
func broken(t testing.TB, faults string) *world { return brokenWith(t, faults, 1, nil) }

func brokenWith(t testing.TB, faults string, seed uint64, before func(*sandbox.Sandbox)) *world {
	t.Helper()
	box := testkit.Sandbox(t, sandbox.Options{})
	if before != nil {
		before(box)
	}
	k, err := sandbox.Known(box.Region())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := fault.Parse("faults.yaml", []byte("faults:\n"+faults), k)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, box: box, faults: fault.New(plan, fault.Options{Seed: seed, Sleep: sleep}), cfg: testkit.Config(box)}
	w.cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	w.cfn, w.ec2 = cfn.NewFromConfig(w.cfg), ec2.NewFromConfig(w.cfg)
	box.Break(w.faults)
	return w
}

// times are how often each fault has happened.
func (w *world) times() map[string]int {
	out := map[string]int{}
	for _, t := range w.faults.Tallies() {
		out[t.ID] = t.Times
	}
	return out
}

func (w *world) fired(want map[string]int) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.times()); diff != "" {
		w.t.Errorf("how often faults happened, -want +got:\n%s\n%+v", diff, w.faults.Tallies())
	}
}

func (w *world) describeVPCs() error {
	_, err := w.ec2.DescribeVpcs(w.t.Context(), &ec2.DescribeVpcsInput{})
	return err
}

func (w *world) create(name, body string) {
	w.t.Helper()
	if _, err := w.cfn.CreateStack(w.t.Context(), &cfn.CreateStackInput{StackName: &name, TemplateBody: &body, Capabilities: []cfntypes.Capability{"CAPABILITY_NAMED_IAM"}}); err != nil {
		w.t.Fatal(err)
	}
}

// rest waits for a stack to come to rest, and returns its status.
func (w *world) rest(name string) string {
	w.t.Helper()
	for range 2000 {
		time.Sleep(5 * time.Second)
		out, err := w.cfn.DescribeStacks(w.t.Context(), &cfn.DescribeStacksInput{StackName: &name})
		if testkit.Code(err) == "ValidationError" {
			return "gone"
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if s := string(out.Stacks[0].StackStatus); !strings.HasSuffix(s, "_IN_PROGRESS") {
			return s
		}
	}
	return "still in motion"
}

// failures are the failed events of a stack's resources, the first first.
func (w *world) failures(name string) (out []string) {
	w.t.Helper()
	got, err := w.cfn.DescribeStackEvents(w.t.Context(), &cfn.DescribeStackEventsInput{StackName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range slices.Backward(got.StackEvents) {
		if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") && aws.ToString(e.ResourceType) != "AWS::CloudFormation::Stack" {
			out = append(out, fmt.Sprintf("%s %s: %s", aws.ToString(e.LogicalResourceId), e.ResourceStatus, aws.ToString(e.ResourceStatusReason)))
		}
	}
	return out
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// A service that gets too many calls refuses them in its own words: EC2 by
// RequestLimitExceeded, S3 by SlowDown, others by Throttling or
// ThrottlingException.
//
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func TestThrottling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: all, throttle: {}}")
		ctx := t.Context()
		for want, call := range map[string]func() error{
			"RequestLimitExceeded": w.describeVPCs,
			"SlowDown": func() error {
				_, err := s3.NewFromConfig(w.cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, &s3.ListBucketsInput{})
				return err
			},
			"TooManyRequestsException": func() error {
				_, err := eks.NewFromConfig(w.cfg).ListClusters(ctx, &eks.ListClustersInput{})
				return err
			},
			"ThrottlingException": func() error {
				_, err := ssm.NewFromConfig(w.cfg).DescribeParameters(ctx, &ssm.DescribeParametersInput{})
				return err
			},
			"Throttling": func() error {
				_, err := iam.NewFromConfig(w.cfg).ListRoles(ctx, &iam.ListRolesInput{})
				return err
			},
		} {
			if err := call(); testkit.Code(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		w.fired(map[string]int{"all": 5})
	})
}

// A window, a number of times and the n-th call bound a fault; a share of calls
// is drawn by the seed, the same each time.
func TestMoments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: window, when: {after: 1m}, for: 1m, throttle: {service: ec2}}
- {id: twice, times: 2, when: {after: 10m}, error: {service: ec2, status: 503}}
- {id: third, when: {after: 0s, call: {service: sts, operation: GetCallerIdentity, number: 3}}, times: 1, error: {service: sts}}
`)
		var got []string
		for range 12 {
			got = append(got, testkit.Code(w.describeVPCs()))
			time.Sleep(time.Minute)
		}
		if diff := cmp.Diff([]string{"", "RequestLimitExceeded", "", "", "", "", "", "", "", "", "Unavailable", "Unavailable"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		got = nil
		for range 4 {
			_, err := sts.NewFromConfig(w.cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			got = append(got, testkit.Code(err))
		}
		if diff := cmp.Diff([]string{"", "", "InternalFailure", ""}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		w.fired(map[string]int{"window": 1, "twice": 2, "third": 1})
	})
}

func TestShareFollowsTheSeed(t *testing.T) {
	t.Parallel()
	row := func(seed uint64) (out string) {
		w := brokenWith(t, "- {id: some, share: 0.3, throttle: {service: ec2}}", seed, nil)
		for range 100 {
			if w.describeVPCs() != nil {
				out += "x"
				continue
			}
			out += "."
		}
		return out
	}
	a := row(1)
	if n := strings.Count(a, "x"); n < 15 || n > 45 {
		t.Errorf("a share of 0.3 hits %d of 100 calls: %s", n, a)
	}
	if b := row(1); a != b {
		t.Errorf("the same seed draws\n%s and\n%s", a, b)
	}
	if b := row(2); a == b {
		t.Errorf("another seed draws the same: %s", a)
	}
}

// Credentials that have expired are refused with ExpiredToken, and by EC2 with
// RequestExpired, until the caller signs in again.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func TestExpiredCredentials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: session, when: {after: 1h}, expire: {}}")
		if w.faults.SignIn() {
			t.Error("somebody signs in again whose credentials are good")
		}
		got := []string{testkit.Code(w.describeVPCs())}
		time.Sleep(time.Hour)
		got = append(got, testkit.Code(w.describeVPCs()))
		_, err := iam.NewFromConfig(w.cfg).ListRoles(t.Context(), &iam.ListRolesInput{})
		got = append(got, testkit.Code(err))
		_, err = kms.NewFromConfig(w.cfg).ListKeys(t.Context(), &kms.ListKeysInput{})
		got = append(got, testkit.Code(err))
		if !w.faults.SignIn() {
			t.Error("nothing has expired")
		}
		got = append(got, testkit.Code(w.describeVPCs()))
		if diff := cmp.Diff([]string{"", "RequestExpired", "ExpiredToken", "ExpiredTokenException", ""}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A call whose connection is cut may have been carried out, or not; a slow one
// is answered when its time has come.
func TestCutAndSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: lost, cut: {service: ec2, operation: CreateVpc, carriedOut: true}}
- {id: cut, times: 1, when: {call: {operation: CreateVpc, number: 2}}, cut: {service: ec2, operation: CreateVpc}}
- {id: slow, times: 1, slow: {service: ec2, operation: DescribeVpcs, by: 20s}}
- {id: late, times: 1, slow: {service: ssm, operation: PutParameter, by: 30s, carriedOut: true}}
`)
		vpc := func() error {
			_, err := w.ec2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
			return err
		}
		count := func() int {
			out, err := w.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Vpcs)
		}
		start := time.Now()
		n := count()
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("the slow answer took %v", took)
		}
		for want := range 2 {
			if err := vpc(); err == nil || testkit.Code(err) != "" {
				t.Errorf("call %d: got %v, want no answer", want, err)
			}
			if got := count() - n; got != 1 {
				t.Errorf("after call %d there are %d more, want 1: the first was carried out, the second not", want, got)
			}
		}
		start = time.Now()
		_, err := ssm.NewFromConfig(w.cfg).PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("a"), Value: aws.String("b"), Type: "String"})
		if took := time.Since(start); err != nil || took != 30*time.Second {
			t.Fatalf("%v after %v, want an answer after 30s", err, took)
		}
		for _, r := range w.box.Account().Resources() {
			if r.Type == "AWS::SSM::Parameter" && !r.Created.Equal(start) {
				t.Errorf("it was made at %v, want %v", r.Created, start)
			}
		}
		w.fired(map[string]int{"lost": 1, "cut": 1, "slow": 1, "late": 1})
	})
}

const network = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.1.0.0/16}}
  Subnet: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/24}}
  Group: {Type: AWS::EC2::SecurityGroup, Properties: {VpcId: !Ref Vpc, GroupDescription: "%s"}}
`

// A resource that fails takes its stack back, and the reason is the service's
// own error with the handler's code for it.
//
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
func TestFailedResource(t *testing.T) {
	for _, tt := range []struct{ name, fault, status, failure string }{
		{"create", "{id: f, fail: {stack: net, resource: Sub*, error: ServiceUnavailable}}", "ROLLBACK_COMPLETE", `Subnet CREATE_FAILED: Resource handler returned message: "The request has failed due to a temporary failure of the server. (Service: Ec2, Status Code: 503`},
		{"late", "{id: f, fail: {type: 'AWS::EC2::Sub*', error: NotStabilized}}", "ROLLBACK_COMPLETE", `Subnet CREATE_FAILED: Resource handler returned message: "Exceeded attempts to wait (Service: Ec2, Status Code: 400`},
		{"own words", "{id: f, fail: {resource: Group, code: UnauthorizedOperation, message: You shall not, status: 403}}", "ROLLBACK_COMPLETE", `Group CREATE_FAILED: Resource handler returned message: "You shall not (Service: Ec2, Status Code: 403`},
		{"another stack", "{id: f, fail: {stack: other, error: Throttling}}", "CREATE_COMPLETE", ""},
		{"another moment", "{id: f, when: {after: 10h}, fail: {error: Throttling}}", "CREATE_COMPLETE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := broken(t, "- "+tt.fault)
				w.create("net", fmt.Sprintf(network, "one"))
				if got := w.rest("net"); got != tt.status {
					t.Errorf("the stack is %s, want %s", got, tt.status)
				}
				got := w.failures("net")
				if tt.failure == "" && got != nil || tt.failure != "" && (len(got) == 0 || !strings.HasPrefix(got[0], tt.failure)) {
					t.Errorf("got %q, want %q", got, tt.failure)
				}
				if (w.times()["f"] == 1) != (tt.failure != "") {
					t.Errorf("it happened %d times", w.times()["f"])
				}
			})
		})
	}
}

// A rollback that fails leaves the stack in ROLLBACK_FAILED or
// UPDATE_ROLLBACK_FAILED; a deletion that fails in DELETE_FAILED. Both can be
// repeated.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html
func TestFailedRollbackAndDelete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: update, fail: {stack: net, resource: Group, on: [update], error: InternalFailure}}
- {id: back, fail: {stack: net, resource: Vpc, on: [rollback], error: InternalFailure}}
- {id: delete, fail: {stack: net, resource: Vpc, on: [delete], error: DependencyViolation, late: true}}
`)
		name := aws.String("net")
		body := fmt.Sprintf(network, "one")
		w.create("net", body)
		if got := w.rest("net"); got != "CREATE_COMPLETE" {
			t.Fatal(got)
		}
		next := strings.ReplaceAll(strings.Replace(body, "10.1.0.0/16}", "10.1.0.0/16, EnableDnsHostnames: true}", 1), `"one"}`, `"one", Tags: [{Key: a, Value: b}]}`)
		if _, err := w.cfn.UpdateStack(t.Context(), &cfn.UpdateStackInput{StackName: name, TemplateBody: &next}); err != nil {
			t.Fatal(err)
		}
		if got := w.rest("net"); got != "UPDATE_ROLLBACK_FAILED" {
			t.Fatalf("the stack is %s: %q", got, w.failures("net"))
		}
		if _, err := w.cfn.ContinueUpdateRollback(t.Context(), &cfn.ContinueUpdateRollbackInput{StackName: name}); err != nil {
			t.Fatal(err)
		}
		if got := w.rest("net"); got != "UPDATE_ROLLBACK_COMPLETE" {
			t.Fatal(got)
		}
		for _, want := range []string{"DELETE_FAILED", "gone"} {
			if _, err := w.cfn.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: name}); err != nil {
				t.Fatal(err)
			}
			if got := w.rest("net"); got != want {
				t.Fatalf("the stack is %s, want %s", got, want)
			}
		}
		w.fired(map[string]int{"update": 1, "back": 1, "delete": 1})
	})
}

const group = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.1.0.0/16}}
  Subnet: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/24, AvailabilityZone: us-east-1a}}
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties: {LaunchTemplateData: {InstanceType: m5.large, ImageId: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"}}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties:
      MinSize: "2"
      MaxSize: "2"
      VPCZoneIdentifier: [!Ref Subnet]
      LaunchTemplate: {LaunchTemplateId: !Ref Template, Version: !GetAtt Template.LatestVersionNumber}
`

// Where EC2 has no capacity of an instance type, an Auto Scaling group tries
// again and again, gets its instances when there is capacity, and does not
// stabilize when there is none for too long. A vCPU quota refuses at once.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
func TestCapacity(t *testing.T) {
	for _, tt := range []struct{ name, fault, status, failure string }{
		{"for a while", "{id: f, for: 10m, capacity: {instanceType: m5.*, zone: use1-az1}}", "CREATE_COMPLETE", ""},
		{"for too long", "{id: f, capacity: {zone: us-east-1a}}", "ROLLBACK_COMPLETE", "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (us-east-1a)."},
		{"elsewhere", "{id: f, capacity: {zone: us-east-1b}}", "CREATE_COMPLETE", ""},
		{"of something else", "{id: f, capacity: {instanceType: p5.*}}", "CREATE_COMPLETE", ""},
		{"vCPUs", "{id: f, quota: {name: vcpus-standard, value: 3}}", "ROLLBACK_COMPLETE", "your current vCPU limit of 3 allows for the instance bucket"},
		{"vCPUs of others", "{id: f, quota: {name: vcpus-p, value: 0}}", "CREATE_COMPLETE", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := broken(t, "- "+tt.fault)
				start := time.Now()
				w.create("g", group)
				if got := w.rest("g"); got != tt.status {
					t.Errorf("the stack is %s, want %s: %q", got, tt.status, w.failures("g"))
				}
				if tt.name == "for a while" && (time.Since(start) < 10*time.Minute || w.times()["f"] < 5) {
					t.Errorf("it took %v, with %d refusals", time.Since(start), w.times()["f"])
				}
				if got := strings.Join(w.failures("g"), "\n"); !strings.Contains(got, tt.failure) || tt.failure == "" && got != "" {
					t.Errorf("got %s, want %s", got, tt.failure)
				}
			})
		})
	}
}

// A quota that is used up refuses with the service's own error.
//
// https://docs.aws.amazon.com/general/latest/gr/vpc-service.html
func TestLoweredQuota(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: f, quota: {name: vpcs, value: 2}}\n- {id: k, quota: {name: kms-keys, value: 0}}")
		var got []string
		for range 2 {
			_, err := w.ec2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
			got = append(got, testkit.Code(err))
		}
		_, err := kms.NewFromConfig(w.cfg).CreateKey(t.Context(), &kms.CreateKeyInput{})
		got = append(got, testkit.Code(err))
		// The account has its default VPC.
		if diff := cmp.Diff([]string{"", "VpcLimitExceeded", "LimitExceededException"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

const balanced = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.1.0.0/16}}
  One: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.1.0.0/24, AvailabilityZone: us-east-1a}}
  Two: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.1.1.0/24, AvailabilityZone: us-east-1b}}
  Group: {Type: AWS::EC2::SecurityGroup, Properties: {VpcId: !Ref Vpc, GroupDescription: one}}
  Balancer: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {Scheme: internal, Subnets: [!Ref One, !Ref Two], SecurityGroups: [!Ref Group]}}
`

// An interface that a service has detached and not deleted holds its subnet and
// security group until it goes, or somebody deletes it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestLingeringInterfaces(t *testing.T) {
	for _, tt := range []struct{ name, stay, want string }{
		{"short enough", "3m", "gone"},
		{"too long", "1h", "DELETE_FAILED"},
		{"leaked", "forever", "DELETE_FAILED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := broken(t, "- {id: f, interfaces: {of: load-balancers, stay: "+tt.stay+"}}")
				name := aws.String("lb")
				w.create("lb", balanced)
				if got := w.rest("lb"); got != "CREATE_COMPLETE" {
					t.Fatal(got, w.failures("lb"))
				}
				if _, err := w.cfn.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: name}); err != nil {
					t.Fatal(err)
				}
				if got := w.rest("lb"); got != tt.want {
					t.Fatalf("the stack is %s, want %s", got, tt.want)
				}
				w.fired(map[string]int{"f": 2})
				if tt.want == "gone" {
					return
				}
				time.Sleep(time.Hour)
				left, err := w.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{})
				if err != nil {
					t.Fatal(err)
				}
				if want := map[string]int{"1h": 0, "forever": 2}[tt.stay]; len(left.NetworkInterfaces) != want {
					t.Fatalf("an hour later %d interfaces are left, want %d", len(left.NetworkInterfaces), want)
				}
				for _, i := range left.NetworkInterfaces {
					if i.Status != "available" {
						t.Errorf("%s is %s", aws.ToString(i.NetworkInterfaceId), i.Status)
					}
					if _, err := w.ec2.DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: i.NetworkInterfaceId}); err != nil {
						t.Error(err)
					}
				}
				if _, err := w.cfn.DeleteStack(t.Context(), &cfn.DeleteStackInput{StackName: name}); err != nil {
					t.Fatal(err)
				}
				if got := w.rest("lb"); got != "gone" {
					t.Errorf("the stack is %s, want it gone", got)
				}
			})
		})
	}
}

const roleKey = `
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: mine
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]}
  Key:
    Type: AWS::KMS::Key
    Properties:
      KeyPolicy:
        Version: 2012-10-17
        Statement:
          - {Effect: Allow, Principal: {AWS: !Sub "arn:aws:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}
          - {Effect: Allow, Principal: {AWS: !Sub "arn:aws:iam::${AWS::AccountId}:role/given"}, Action: kms:Decrypt, Resource: "*"}
`

// A new role is unknown to other services for a while: a key policy that names
// it is refused as malformed. CloudFormation waits for the roles it makes.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
func TestPropagation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: f, propagation: {takes: 1m}}")
		_, err := iam.NewFromConfig(w.cfg).CreateRole(t.Context(), &iam.CreateRoleInput{
			RoleName:                 aws.String("given"),
			AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.create("early", roleKey)
		if got := w.rest("early"); got != "ROLLBACK_COMPLETE" {
			t.Errorf("the stack is %s", got)
		}
		if got := w.failures("early"); len(got) == 0 || !strings.Contains(got[0], "Policy contains a statement with one or more invalid principals") {
			t.Errorf("got %q", got)
		}
		time.Sleep(time.Minute)
		w.create("later", roleKey)
		if got := w.rest("later"); got != "CREATE_COMPLETE" {
			t.Errorf("the stack is %s: %q", got, w.failures("later"))
		}
		out, err := w.cfn.DescribeStackEvents(t.Context(), &cfn.DescribeStackEventsInput{StackName: aws.String("later")})
		if err != nil {
			t.Fatal(err)
		}
		var began, done time.Time
		for _, e := range out.StackEvents {
			switch {
			case aws.ToString(e.LogicalResourceId) == "Role" && e.ResourceStatus == "CREATE_COMPLETE":
				done = aws.ToTime(e.Timestamp)
			case aws.ToString(e.LogicalResourceId) == "Role" && e.ResourceStatus == "CREATE_IN_PROGRESS":
				began = aws.ToTime(e.Timestamp)
			}
		}
		if took := done.Sub(began); took < 30*time.Second || took > time.Minute {
			t.Errorf("the stack's own role took %v, want half a minute to a minute", took)
		}
	})
}

// While somebody else's operation on a stack is under way, it refuses another
// one.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateStack.html
func TestOperationInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- {id: stack, when: {resource: {stack: net, type: "AWS::CloudFormation::Stack", status: CREATE_COMPLETE}, after: 1m}, inFlight: {stack: net}}
- {id: nothing, when: {after: 5m}, inFlight: {cluster: none}}
`)
		w.create("net", fmt.Sprintf(network, "one"))
		if got := w.rest("net"); got != "CREATE_COMPLETE" {
			t.Fatal(got)
		}
		body := fmt.Sprintf(network, "two")
		update := func() error {
			_, err := w.cfn.UpdateStack(t.Context(), &cfn.UpdateStackInput{StackName: aws.String("net"), TemplateBody: &body})
			return err
		}
		time.Sleep(time.Minute)
		testkit.Refused(t, errors.New(testkit.Code(update())), "ValidationError")
		if got := w.rest("net"); got != "UPDATE_COMPLETE" {
			t.Errorf("somebody else's update ends %s", got)
		}
		if err := update(); err != nil {
			t.Errorf("after it: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if err := w.describeVPCs(); err != nil {
			t.Fatal(err)
		}
		w.fired(map[string]int{"stack": 1, "nothing": 1})
		if got := w.faults.Tallies()[1].What; !strings.Contains(got, "which fails: there is no AWS::EKS::Cluster none") {
			t.Errorf("got %q", got)
		}
	})
}

// A call that a fault makes in somebody else's name is carried out as that
// principal, with the ids of stacks' resources filled in, and CloudTrail
// records it.
//
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
func TestOutOfBand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, `
- id: deletes
  when: {resource: {stack: net, resource: Subnet, status: CREATE_COMPLETE}}
  call: {service: ec2, operation: DeleteSecurityGroup, input: {GroupId: "${net/Group.GroupId}"}, as: "arn:aws:sts::123456789012:assumed-role/Administrator/mallory"}
- id: zone
  when: {after: 30m}
  zone: {name: us-east-1a}
- id: in-vain
  when: {after: 30m}
  call: {service: ec2, operation: DeleteVpc, input: {VpcId: "${net/Nothing}"}}
`)
		w.create("net", fmt.Sprintf(network, "one"))
		w.rest("net")
		time.Sleep(time.Hour)
		groups := 0
		var noted []account.Entry
		lost := false
		if err := w.describeVPCs(); err != nil {
			t.Fatal(err)
		}
		_ = w.box.Account().Do(func(tx *account.Tx) error {
			for _, r := range tx.List("AWS::EC2::SecurityGroup") {
				if r.LogicalID == "Group" {
					groups++
				}
			}
			noted = tx.Noted("cloudtrail")
			lost = tx.Lost("us-east-1a")
			return nil
		})
		if groups != 0 || !lost {
			t.Errorf("the group is there %d times, the zone is lost: %v", groups, lost)
		}
		if len(noted) != 2 || !strings.Contains(fmt.Sprint(noted[1].Data), "Administrator/mallory") && !strings.Contains(fmt.Sprint(noted[0].Data), "Administrator/mallory") {
			t.Errorf("CloudTrail knows %v", noted)
		}
		w.fired(map[string]int{"deletes": 1, "zone": 1, "in-vain": 1})
		if got := w.faults.Tallies()[2].What; !strings.Contains(got, "which fails: ${net/Nothing} isn't there") {
			t.Errorf("got %q", got)
		}
	})
}

// A clone goes on with the faults as they are, by itself.
func TestClone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := broken(t, "- {id: f, times: 2, throttle: {service: ec2}}")
		_ = w.describeVPCs()
		clone := w.box.Clone(nil)
		cfg := testkit.Config(clone)
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		var got []string
		for range 2 {
			_, err := ec2.NewFromConfig(cfg).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
			got = append(got, testkit.Code(err))
		}
		got = append(got, testkit.Code(w.describeVPCs()), testkit.Code(w.describeVPCs()))
		if diff := cmp.Diff([]string{"RequestLimitExceeded", "", "RequestLimitExceeded", ""}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
