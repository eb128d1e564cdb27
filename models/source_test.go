package models_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// TestSourcesOfABareServer has the objects of another bucket, and an archive in it,
// come from a server that nothing stands before; a repeat does nothing.
func TestSourcesOfABareServer(t *testing.T) {
	t.Parallel()
	b := openBare(t)
	b.InParts(5 * mebi)
	if _, err := b.S3.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String(staging)}); err != nil {
		t.Fatal(err)
	}
	f := files{"config.json": {700, 1}, "model a+b.safetensors": {11 * mebi, 2}, "t/vocab.txt": {5 * mebi, 3}}
	stage := func(key string, body []byte, algorithm types.ChecksumAlgorithm) {
		t.Helper()
		if _, err := b.S3.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(staging), Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range f {
		stage("summed/"+name, bytesIn(t, c), types.ChecksumAlgorithmCrc64nvme)
		stage("unsummed/"+name, bytesIn(t, c), types.ChecksumAlgorithmSha256)
	}
	text, err := os.ReadFile(archived(t, "m.tar", f))
	if err != nil {
		t.Fatal(err)
	}
	stage("archive.tar", text, types.ChecksumAlgorithmSha256)
	for _, source := range []string{"summed/", "unsummed/", "archive.tar"} {
		o := models.PushOptions{Source: "s3://" + staging + "/" + source}
		got, err := b.Push(t.Context(), o)
		// This server answers to a copied part of such objects with the checksum of the
		// whole: they are read and sent then.
		if copies := map[string]int64{"unsummed/": f.size(), "summed/": 700}[source]; err != nil || got.Copied < copies || got.Sent < f.size()-got.Copied {
			t.Errorf("%s: %+v, %v", source, got, err)
			continue
		}
		b.holds(t, got.Name, f)
		if v, err := b.Verify(t.Context(), got.Name); err != nil || !v.Whole || !v.Recorded {
			t.Errorf("%s: %+v, %v", source, v, err)
		}
		if got, err := b.Push(t.Context(), o); err != nil || !got.Unchanged {
			t.Errorf("%s again: %+v, %v", source, got, err)
		}
	}
}

// elsewhere is S3 where a bucket is in another region: reading calls about it reach it
// there only, and are led there by the answer of other regions. Copies are calls to the
// region that they go to.
type elsewhere struct {
	here, there http.RoundTripper
	region      string
	// led counts the calls that came to the wrong region.
	led, reads atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/"+staging) {
		return e.here.RoundTrip(r)
	}
	if strings.Contains(r.Header.Get("Authorization"), "/"+e.region+"/s3/") {
		e.reads.Add(1)
		return e.there.RoundTrip(r)
	}
	e.led.Add(1)
	resp := answer(http.StatusMovedPermanently, "PermanentRedirect")
	resp.Header.Set("X-Amz-Bucket-Region", e.region)
	if r.Method == http.MethodHead {
		resp.Body, resp.ContentLength = http.NoBody, 0
	}
	resp.Request = r
	return resp, nil
}

// A source in another region is asked for there, and copied by the region that it goes
// to. Where a VPC endpoint stands between, which carries no calls between regions, it is
// fetched from there and sent.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func TestSourceInAnotherRegion(t *testing.T) {
	t.Parallel()
	const region = "eu-west-1"
	f := files{"a": {11 * mebi, 1}, "b": {10, 2}}
	for _, endpoint := range []bool{false, true} {
		w := newWorld(t, false)
		// What S3 itself reads for a copy.
		w.staged(t, "m/", f)
		text, err := os.ReadFile(archived(t, "m.tar", f))
		if err != nil {
			t.Fatal(err)
		}
		other := testkit.Sandbox(t, sandbox.Options{Region: region})
		testkit.MustCreate(t, other, s3.TypeBucket, map[string]any{"BucketName": staging})
		client := sdk.NewFromConfig(testkit.Config(other), func(o *sdk.Options) { o.UsePathStyle = true })
		for key, body := range map[string][]byte{"m/a": bytesIn(t, f["a"]), "m/b": bytesIn(t, f["b"]), "m.tar": text} {
			if _, err := client.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(staging), Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
				t.Fatal(err)
			}
		}
		between := &elsewhere{here: w.way.next, there: testkit.Transport{Handler: other}, region: region}
		w.way.next = between
		w.way.intercept(func(c call) (*http.Response, error) {
			if !endpoint || !strings.Contains(c.operation, "Copy") {
				return nil, nil
			}
			resp := answer(http.StatusForbidden, "AccessDenied")
			const body = "<Error><Code>AccessDenied</Code><Message>VPC endpoints do not support cross-region requests</Message></Error>"
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			return resp, nil
		}, nil)
		got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
		if err != nil || endpoint && (got.Sent != f.size() || got.Copied > 0) || !endpoint && (got.Copied != f.size() || got.Sent > 0) {
			t.Errorf("endpoint %t: %+v, %v", endpoint, got, err)
		}
		if between.led.Load() != 1 || between.reads.Load() < 3 {
			t.Errorf("endpoint %t: %d calls came to the wrong region, %d to the right one", endpoint, between.led.Load(), between.reads.Load())
		}
		w.holds(t, "m", f)
		got, err = w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m.tar", Name: "from-archive"})
		if err != nil || got.Sent != f.size() || between.led.Load() != 2 {
			t.Errorf("an archive, endpoint %t: %+v, %v; %d calls came to the wrong region", endpoint, got, err, between.led.Load())
		}
		w.holds(t, "from-archive", f)
	}
}
