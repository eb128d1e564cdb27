package objects

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// places are where objects can be uploaded to: the server as it is, and a sandbox
// in front of it.
type places struct{ server, sandbox *sdk.Client }

func open(b testing.TB) places {
	b.Helper()
	store, err := Open(context.Background(), plane.Options{Program: server.Program(b, "s3")})
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
	to := func(url string, c wire.Credential) *sdk.Client {
		return sdk.New(sdk.Options{Region: region, BaseEndpoint: &url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")})
	}
	return places{to(store.url, store.credential), to(front.URL, wire.Credential{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey})}
}

// BenchmarkUpload uploads 128 MiB in parts, to the server as it is and through the
// sandbox.
func BenchmarkUpload(b *testing.B) {
	p := open(b)
	for name, client := range map[string]*sdk.Client{"server": p.server, "sandbox": p.sandbox} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(16 * partSize)
			for b.Loop() {
				upload(b, client, 16)
			}
		})
	}
}

// BenchmarkGigabyte uploads a gigabyte to the server as it is and through the
// sandbox, by turns. It reports the rates, and what of the server's the sandbox's
// is, which is to be 0.8 or more; it fails if memory grows with what is sent.
func BenchmarkGigabyte(b *testing.B) {
	p := open(b)
	best := map[string]float64{}
	for b.Loop() {
		for name, client := range map[string]*sdk.Client{"server": p.server, "sandbox": p.sandbox} {
			began := time.Now()
			upload(b, client, 128)
			best[name] = max(best[name], 1024/time.Since(began).Seconds())
		}
	}
	m := testkit.Peak()
	b.ReportMetric(best["server"], "server-MiB/s")
	b.ReportMetric(best["sandbox"], "sandbox-MiB/s")
	b.ReportMetric(best["sandbox"]/best["server"], "ratio")
	b.ReportMetric(float64(m>>20), "MiB")
	if m > 256<<20 {
		b.Errorf("%d MiB of memory for a gigabyte in parts of 8 MiB", m>>20)
	}
}

const partSize = 8 << 20

// upload sends an object in parts, four at a time.
func upload(b testing.TB, client *sdk.Client, parts int) {
	b.Helper()
	part := bytes.Repeat([]byte("0123456789abcdef"), partSize/16)
	ctx, to, key := context.Background(), aws.String(bucket), aws.String("upload")
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
