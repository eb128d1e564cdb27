package cloudtrail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

const (
	alice   = "arn:aws:sts::123456789012:assumed-role/Operators/alice"
	mallory = "arn:aws:iam::123456789012:user/mallory"
)

// world is an account in eu-central-1 with two principals.
type world struct {
	t       *testing.T
	box     *sandbox.Sandbox
	alice   aws.Config
	mallory aws.Config
	trail   *cloudtrail.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, box: testkit.Sandbox(t, sandbox.Options{Region: "eu-central-1", Principals: []sandbox.Principal{
		{AccessKeyID: "AKIAALICE00000000000", SecretAccessKey: "a", ARN: alice},
		{AccessKeyID: "AKIAMALLORY000000000", SecretAccessKey: "m", ARN: mallory},
	}})}
	w.alice, w.mallory = testkit.Config(w.box), testkit.ConfigAs(w.box, w.box.Principals()[1])
	w.trail = cloudtrail.NewFromConfig(w.alice)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// look returns events as "who name resources", newest first.
func (w *world) look(in *cloudtrail.LookupEventsInput, options ...func(*cloudtrail.Options)) []string {
	w.t.Helper()
	var lines []string
	pages := cloudtrail.NewLookupEventsPaginator(w.trail, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context(), options...)
		w.must(err)
		for _, e := range page.Events {
			line := *e.Username + " " + *e.EventName
			for _, r := range e.Resources {
				line += " " + *r.ResourceName
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func by(key types.LookupAttributeKey, value string) *cloudtrail.LookupEventsInput {
	return &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := t.Context()
		bucket := "bucket-of-alice"
		_, err := s3.NewFromConfig(w.alice, pathStyle).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}})
		w.must(err)
		time.Sleep(time.Minute)
		_, err = s3.NewFromConfig(w.mallory, pathStyle).DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &bucket})
		w.must(err)
		_, err = s3.NewFromConfig(w.mallory, pathStyle).PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: new("data"), Body: strings.NewReader("x")})
		w.must(err)
		_, err = s3.NewFromConfig(w.mallory, pathStyle).GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
		w.must(err)
		_, err = ssm.NewFromConfig(w.alice).PutParameter(ctx, &ssm.PutParameterInput{Name: new("/p"), Value: new("secret"), Type: ssmtypes.ParameterTypeSecureString})
		w.must(err)
		if _, err = kms.NewFromConfig(w.mallory).DisableKey(ctx, &kms.DisableKeyInput{KeyId: new("none")}); err == nil {
			t.Error("a key that isn't there was disabled")
		}
		_, err = iam.NewFromConfig(w.mallory).AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: new("Operators"), PolicyArn: new("arn:aws:iam::aws:policy/ReadOnlyAccess")})
		w.must(err)

		if early := w.look(&cloudtrail.LookupEventsInput{}); len(early) != 0 {
			t.Errorf("after a moment, want nothing yet: %q", early)
		}
		time.Sleep(5 * time.Minute)
		all := []string{"mallory DisableKey none", "alice PutParameter", "mallory DeleteBucketPublicAccessBlock " + bucket, "alice CreateBucket " + bucket}
		for name, tc := range map[string]struct {
			in   *cloudtrail.LookupEventsInput
			want []string
		}{
			"all":           {&cloudtrail.LookupEventsInput{}, all},
			"by pages":      {&cloudtrail.LookupEventsInput{MaxResults: aws.Int32(3)}, all},
			"resource":      {by(types.LookupAttributeKeyResourceName, bucket), all[2:]},
			"resource type": {by(types.LookupAttributeKeyResourceType, "AWS::S3::Bucket"), all[2:]},
			"name":          {by(types.LookupAttributeKeyEventName, "PutParameter"), all[1:2]},
			"source":        {by(types.LookupAttributeKeyEventSource, "kms.amazonaws.com"), all[:1]},
			"user":          {by(types.LookupAttributeKeyUsername, "mallory"), []string{all[0], all[2]}},
			"key":           {by(types.LookupAttributeKeyAccessKeyId, "AKIAALICE00000000000"), []string{all[1], all[3]}},
			"since":         {&cloudtrail.LookupEventsInput{StartTime: aws.Time(time.Now().Add(-5*time.Minute - time.Second))}, all[:3]},
			"until":         {&cloudtrail.LookupEventsInput{EndTime: aws.Time(time.Now().Add(-5*time.Minute - time.Second))}, all[3:]},
			"only reads":    {by(types.LookupAttributeKeyReadOnly, "true"), nil},
		} {
			if diff := cmp.Diff(tc.want, w.look(tc.in)); diff != "" {
				t.Errorf("%s, -want +got:\n%s", name, diff)
			}
		}
		home := func(o *cloudtrail.Options) { o.Region = "us-east-1" }
		if diff := cmp.Diff([]string{"mallory AttachRolePolicy Operators arn:aws:iam::aws:policy/ReadOnlyAccess"}, w.look(&cloudtrail.LookupEventsInput{}, home)); diff != "" {
			t.Errorf("global services' events, -want +got:\n%s", diff)
		}
		// A fork has the events, and what comes later is each one's own.
		fork := w.box.Clone(nil)
		_, err = kms.NewFromConfig(w.alice).CreateKey(ctx, &kms.CreateKeyInput{})
		w.must(err)
		time.Sleep(5 * time.Minute)
		w.trail = cloudtrail.NewFromConfig(testkit.Config(fork))
		if diff := cmp.Diff(all, w.look(&cloudtrail.LookupEventsInput{})); diff != "" {
			t.Errorf("a fork's, -want +got:\n%s", diff)
		}
		time.Sleep(91 * 24 * time.Hour)
		if late := w.look(&cloudtrail.LookupEventsInput{}); len(late) != 0 {
			t.Errorf("after 90 days: %q", late)
		}
	})
}

func pathStyle(o *s3.Options) { o.UsePathStyle = true }

// TestEvent reads what an event says of caller, request and refusal.
func TestEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := t.Context()
		began := time.Now().UTC().Format(time.RFC3339)
		_, err := ssm.NewFromConfig(w.alice).PutParameter(ctx, &ssm.PutParameterInput{Name: new("/p"), Value: new("secret"), Type: ssmtypes.ParameterTypeString})
		w.must(err)
		if _, err = kms.NewFromConfig(w.mallory).DisableKey(ctx, &kms.DisableKeyInput{KeyId: new("none")}); err == nil {
			t.Error("a key that isn't there was disabled")
		}
		time.Sleep(6 * time.Minute)
		out, err := w.trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{})
		w.must(err)
		var got []string
		for _, e := range out.Events {
			var x struct {
				EventTime, EventName, EventSource, SourceIPAddress, AwsRegion, ErrorCode string
				UserIdentity                                                             struct {
					Type, ARN, UserName string
					SessionContext      struct {
						SessionIssuer struct{ ARN, UserName string }
					}
				}
				RequestParameters map[string]any
			}
			w.must(json.Unmarshal([]byte(*e.CloudTrailEvent), &x))
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s|%s %s %s|%s|%v", x.EventTime, x.EventName, x.EventSource, x.SourceIPAddress, x.AwsRegion, x.ErrorCode,
				x.UserIdentity.Type, x.UserIdentity.ARN, x.UserIdentity.UserName, x.UserIdentity.SessionContext.SessionIssuer.ARN, x.RequestParameters))
		}
		want := []string{
			began + " DisableKey kms.amazonaws.com 127.0.0.1 eu-central-1 NotFoundException|IAMUser " + mallory + " mallory||map[keyId:none]",
			began + " PutParameter ssm.amazonaws.com 127.0.0.1 eu-central-1 |AssumedRole " + alice + " |arn:aws:iam::123456789012:role/Operators|map[name:/p type:String value:HIDDEN_DUE_TO_SECURITY_REASONS]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for want, in := range map[string]*cloudtrail.LookupEventsInput{
		"InvalidMaxResultsException":       {MaxResults: aws.Int32(51)},
		"InvalidNextTokenException":        {NextToken: new("none")},
		"InvalidTimeRangeException":        {StartTime: aws.Time(time.Unix(2, 0)), EndTime: aws.Time(time.Unix(1, 0))},
		"InvalidLookupAttributesException": by("Colour", "red"),
		"NotModelled":                      {EventCategory: types.EventCategoryInsight},
	} {
		if _, err := w.trail.LookupEvents(context.Background(), in); testkit.Code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestPackagedTarget: some clients write the target with its package.
func TestPackagedTarget(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents": "",
		"Other_20131101.LookupEvents":                                         "UnknownOperationException",
	} {
		_, err := newWorld(t).trail.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{}, func(o *cloudtrail.Options) {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Target", target))
		})
		if testkit.Code(err) != want {
			t.Errorf("%s: got %v, want %q", target, err, want)
		}
	}
}
