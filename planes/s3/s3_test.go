package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

var keys = Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret"}

// serve runs a server, of which a process can have one at a time, and returns
// where it is and how to end it.
func serve(t *testing.T, dir, address string) (string, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() {
		served <- Serve(ctx, Options{Dir: dir, Address: address, Credentials: keys, Ready: func(a string) { ready <- a }})
	}()
	ended := false
	end := func() {
		if cancel(); !ended {
			ended = true
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	select {
	case a := <-ready:
		return a, end
	case err := <-served:
		ended = true
		t.Fatal(err)
		return "", nil
	}
}

func client(address string, c Credentials) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: Region, BaseEndpoint: aws.String("http://" + address), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// TestDataOutlastsTheServer writes, ends the server and reads from the next one,
// which is at the same address.
func TestDataOutlastsTheServer(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	address, end := serve(t, dir, "")
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Errorf("it answers at %s, %v", address, err)
	}
	bucket, key := aws.String(Bucket), aws.String("name")
	c := client(address, keys)
	part := bytes.Repeat([]byte("x"), 5<<20)
	u, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n := int32(1); n < 3; n++ {
		p, err := c.UploadPart(ctx, &sdk.UploadPartInput{Bucket: bucket, Key: key, UploadId: u.UploadId, PartNumber: &n, Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32})
	}
	if _, err := c.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: aws.String("gone"), Body: strings.NewReader("y")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: bucket, Key: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := c.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: bucket}); err == nil {
		t.Error("it answers after its end")
	}
	again, _ := serve(t, dir, address)
	if again != address {
		t.Errorf("it answers at %s, and did at %s", again, address)
	}
	got, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=5242870-5242890")})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(got.Body); err != nil || string(text) != strings.Repeat("x", 21) || *got.ContentRange != "bytes 5242870-5242890/10485760" {
		t.Errorf("it has %q, %s, %v", text, *got.ContentRange, err)
	}
	if _, err := c.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: aws.String("gone")}); code(err) != "NoSuchKey" {
		t.Errorf("what was deleted: %v", err)
	}
}

func TestOnlyItsCredentialsOpenIt(t *testing.T) {
	address, _ := serve(t, t.TempDir(), "")
	_, err := client(address, Credentials{keys.AccessKeyID, "other"}).ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(Bucket)})
	if code(err) != "SignatureDoesNotMatch" {
		t.Errorf("with another secret: %v", err)
	}
	anonymous := sdk.New(sdk.Options{Region: Region, BaseEndpoint: aws.String("http://" + address), UsePathStyle: true, RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{}})
	if _, err := anonymous.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(Bucket)}); code(err) != "AccessDenied" {
		t.Errorf("without any: %v", err)
	}
}

func TestServerThatCannotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, o := range map[string]Options{
		"folder":  {Dir: file},
		"address": {Dir: t.TempDir(), Address: "192.0.2.1:0"},
		"taken":   {Dir: t.TempDir(), Address: taken.Addr().String()},
	} {
		o.Credentials, o.Ready = keys, func(string) { t.Errorf("%s: it is ready", name) }
		if err := Serve(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
