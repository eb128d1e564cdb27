package objects

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// BenchmarkUpload uploads an object in parts, to the server as it is and through
// the sandbox.
func BenchmarkUpload(b *testing.B) {
	program := os.Getenv("POOLHOUSE_PLANE_S3")
	if program == "" {
		b.Skip("POOLHOUSE_PLANE_S3 names no program: go -C planes/s3 build -o DIR ./poolhouse-plane-s3, then POOLHOUSE_PLANE_S3=DIR/poolhouse-plane-s3")
	}
	store, err := Open(context.Background(), plane.Options{Program: program})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	box := testkit.Sandbox(b, sandbox.Options{Objects: store})
	testkit.MustCreate(b, box, s3.TypeBucket, map[string]any{"BucketName": bucket})
	front := httptest.NewServer(box)
	b.Cleanup(front.Close)
	own := wire.Credential{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey}
	b.Run("server", func(b *testing.B) { upload(b, store.url, store.credential) })
	b.Run("sandbox", func(b *testing.B) { upload(b, front.URL, own) })
}

// upload sends 128 MiB in parts of 8 MiB, four at a time.
func upload(b *testing.B, url string, c wire.Credential) {
	client := sdk.New(sdk.Options{Region: region, BaseEndpoint: &url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")})
	const parts, size = 16, 8 << 20
	part := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	b.SetBytes(parts * size)
	ctx, to, key := context.Background(), aws.String(bucket), aws.String("upload")
	for b.Loop() {
		u, err := client.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: to, Key: key})
		if err != nil {
			b.Fatal(err)
		}
		done := make([]types.CompletedPart, parts)
		errs := make(chan error, parts)
		room := make(chan struct{}, 4)
		for i := range parts {
			room <- struct{}{}
			go func() {
				defer func() { <-room }()
				n := int32(i + 1)
				p, err := client.UploadPart(ctx, &sdk.UploadPartInput{Bucket: to, Key: key, UploadId: u.UploadId, PartNumber: &n, Body: bytes.NewReader(part)})
				if err == nil {
					done[i] = types.CompletedPart{PartNumber: &n, ETag: p.ETag}
				}
				errs <- err
			}()
		}
		for range parts {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		if _, err := client.CompleteMultipartUpload(ctx, &sdk.CompleteMultipartUploadInput{Bucket: to, Key: key, UploadId: u.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}); err != nil {
			b.Fatal(err)
		}
	}
}
