package cli_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// A server of S3's objects that is killed by plan is away for as long as the plan
// says: clients are told to slow down, and find their objects afterwards.
func TestObjectsAfterTheirServerFails(t *testing.T) {
	t.Parallel()
	if os.Getenv("POOLHOUSE_PLANE_S3") == "" {
		t.Skip("POOLHOUSE_PLANE_S3 names no program: go -C planes/s3 build -o DIR ./poolhouse-plane-s3, then POOLHOUSE_PLANE_S3=DIR/poolhouse-plane-s3")
	}
	e, _ := serveSandbox(t, "--fault", "{id: gone, when: {call: {service: s3, operation: GetBucketLocation}}, for: 1s, crash: {server: s3}}")
	c := s3.New(s3.Options{
		Region: e.Region, BaseEndpoint: aws.String(e.URL), UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
	})
	bucket, body := aws.String("data-123456789012"), bytes.Repeat([]byte("body"), 1<<20)
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	if err == nil {
		_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: bucket, Body: bytes.NewReader(body)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: bucket}); testkit.Code(err) != "SlowDown" {
		t.Errorf("when its server is killed, S3 says %v, want SlowDown", err)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(pause) {
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: bucket})
		if err == nil {
			got, err := io.ReadAll(out.Body)
			if err := errors.Join(err, out.Body.Close()); err != nil || !bytes.Equal(got, body) {
				t.Errorf("afterwards it has %d bytes, %v", len(got), err)
			}
			break
		}
		if code := testkit.Code(err); code != "SlowDown" && code != "ServiceUnavailable" || time.Now().After(until) {
			t.Fatalf("meanwhile S3 says %v", err)
		}
	}
	if err := syscall.Kill(e.Planes[0].Process, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the server's first process lives: %v", err)
	}
}
