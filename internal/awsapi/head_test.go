package awsapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// TestL23AHeadTellsExpiry: S3 answers a HEAD with expired credentials by a bare
// 400. It is told as what it is, and awaited as any other; another bare 400 is
// not.
func TestL23AHeadTellsExpiry(t *testing.T) {
	t.Parallel()
	bucket := "poolhouse-test"
	box := testkit.Sandbox(t, sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if operation == "HeadObject" {
			return &account.Error{Code: "InvalidRequest", Message: "wrong", Status: http.StatusBadRequest}
		}
		return nil
	}})
	plan, err := fault.Parse("f", []byte("faults: [{id: it, expire: {}}]"), fault.Known{})
	if err != nil {
		t.Fatal(err)
	}
	waits := 0
	o := awsapi.Options{
		Region: box.Region(), Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(box),
		Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
	}
	strict, err := awsapi.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Expired = func(context.Context, error) error {
		waits++
		box.Faults().SignIn()
		return nil
	}
	patient, err := awsapi.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	box.Break(fault.New(plan, fault.Options{}))
	if _, err := strict.S3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &bucket}); !awsapi.IsExpired(err) || awsapi.IsDenied(err) {
		t.Errorf("with expired credentials: %v", err)
	}
	if _, err := patient.S3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &bucket}); err != nil || waits != 1 {
		t.Errorf("after %d times that somebody signed in: %v", waits, err)
	}
	if _, err := strict.S3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: new("x")}); err == nil || awsapi.IsCredentials(err) {
		t.Errorf("of a wrong request: %v", err)
	}
}
