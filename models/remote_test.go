package models_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/transfer"
)

// staging is a bucket that checkpoints come from.
const staging = "staging-123456789012"

// staged puts files into the staging bucket.
func (w *world) staged(t *testing.T, prefix string, f files) {
	t.Helper()
	testkit.MustCreate(t, w.box, s3.TypeBucket, map[string]any{"BucketName": staging})
	for name, c := range f {
		body, err := io.ReadAll(c.reader())
		if err != nil {
			t.Fatal(err)
		}
		w.stage(t, prefix+name, body, nil)
	}
	w.way.take()
}

func (w *world) stage(t *testing.T, key string, body []byte, meta map[string]string) {
	t.Helper()
	if _, err := w.S3.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(staging), Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, Metadata: meta}); err != nil {
		t.Fatal(err)
	}
}

// pulled are the bytes of the staging bucket that were fetched.
func pulled(calls []call) int {
	n := 0
	for _, c := range calls {
		if c.operation == http.MethodGet {
			n++
		}
	}
	return n
}

// A checkpoint in another bucket is copied by S3: not a byte of it is fetched or sent.
// A marker beside it hands its digest on; a repeat copies nothing.
func TestCopy(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.staged(t, "models/a +%ä/laguna-xs-2.2/", sample())
		source := "s3://" + staging + "/models/a +%ä/laguna-xs-2.2/"
		w.stage(t, "models/a +%ä/laguna-xs-2.2/", nil, nil) // a folder as consoles make them
		w.way.take()
		m := transfer.NewMeter(clock.Real{}, nil)
		got, err := w.Push(t.Context(), models.PushOptions{Source: source, Meter: m})
		if err != nil {
			t.Fatal(err)
		}
		want := &models.Pushed{Name: "laguna-xs-2.2", URI: "s3://" + bucket + "/models/checkpoints/laguna-xs-2.2/", Digest: got.Digest, Files: 6, Bytes: sample().size(), Copied: sample().size(), Removed: []string{}, Others: []string{}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		calls := w.way.take()
		if n := count(calls); n["UploadPartCopy"] != 3+2 || n["CopyObject"] != 4 || arrived(calls) > 0 || pulled(calls) > 0 || m.State().Moved != sample().size() {
			t.Errorf("%v, %d bytes came, and the meter has %+v", n, arrived(calls), m.State())
		}
		if meta := w.holds(t, "laguna-xs-2.2", sample()); meta["sha256"] != strings.TrimPrefix(got.Digest, "sha256:") {
			t.Errorf("the marker says %v", meta)
		}
		if v, err := w.Verify(t.Context(), "laguna-xs-2.2"); err != nil || !v.Whole || !v.Recorded {
			t.Errorf("%+v, %v", v, err)
		}
		// The vendor's marker comes to stand beside it.
		digest := strings.Repeat("ab", 32)
		w.stage(t, "models/a +%ä/laguna-xs-2.2/"+models.Marker, nil, map[string]string{"any": digest})
		w.way.take()
		if got, err = w.Push(t.Context(), models.PushOptions{Source: source}); err != nil || got.Digest != "sha256:"+digest || got.Copied+got.Sent > 0 {
			t.Errorf("with a marker: %+v, %v", got, err)
		}
		w.way.take()
		if got, err = w.Push(t.Context(), models.PushOptions{Source: source}); err != nil || !got.Unchanged {
			t.Errorf("again: %+v, %v", got, err)
		}
		for _, c := range w.way.take() {
			if c.writes() {
				t.Errorf("again: %+v", c)
			}
		}
		// Our own marker says over which files it is.
		if got, err = w.Push(t.Context(), models.PushOptions{Source: got.URI, Name: "copy"}); err != nil || got.Digest != "sha256:"+digest || got.Copied != sample().size() {
			t.Errorf("within the bucket: %+v, %v", got, err)
		}
		w.holds(t, "copy", sample())
		w.put(t, models.Prefix+"copy/config.json", "changed", nil)
		if _, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + bucket + "/models/checkpoints/copy", Name: "third"}); err == nil || !strings.Contains(err.Error(), "changed after it was marked") {
			t.Errorf("a source that was changed: %v", err)
		}
	})
}

// Where S3 does not copy by itself, files are fetched and sent.
func TestCopyRefused(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"AccessDenied": http.StatusForbidden, "NotImplemented": http.StatusNotImplemented} {
		w := newWorld(t, false)
		f := files{"a": {11 * mebi, 1}, "b": {10, 2}}
		w.staged(t, "m/", f)
		var broken atomic.Int64
		w.way.intercept(func(c call) (*http.Response, error) {
			if strings.Contains(c.operation, "Copy") {
				return answer(status, code), nil
			}
			return nil, nil
		}, func(c call) error {
			if c.operation == http.MethodGet && broken.Add(1) == 1 {
				return syscall.ECONNRESET
			}
			return nil
		})
		got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
		if err != nil || got.Sent != f.size() || got.Copied > 0 {
			t.Fatalf("%s: %+v, %v", code, got, err)
		}
		w.holds(t, "m", f)
	}
}

// A copy that is killed at any of its writing calls is gone on with: what S3 has
// copied is not copied again, also where it goes over another checkpoint's file.
func TestCopyKilled(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "b": {10, 2}}
	// An upload begun and ended, three parts, a small file, record and marker.
	const n = 2 + 3 + 1 + 2
	for i := range 2 * n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.staged(t, "m/", f)
			if i >= n {
				w.put(t, models.Prefix+"m/a", string(bytesIn(t, content{f["a"].size, 3})), nil)
			}
			w.way.take()
			ctx, kill := context.WithCancel(t.Context())
			var seen atomic.Int64
			w.way.intercept(nil, func(c call) error {
				if c.writes() && seen.Add(1) > int64(i%n) {
					kill()
					return syscall.ECONNRESET
				}
				return nil
			})
			if got, err := w.Push(ctx, models.PushOptions{Source: "s3://" + staging + "/m/"}); !errors.Is(err, context.Canceled) {
				t.Fatalf("%+v, %v", got, err)
			}
			w.way.intercept(nil, nil)
			before := count(carriedOut(w.way.take()))
			got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
			if err != nil {
				t.Fatal(err)
			}
			after := count(carriedOut(w.way.take()))
			if before["UploadPartCopy"]+after["UploadPartCopy"] != 3 || before["CopyObject"]+after["CopyObject"] != 1 {
				t.Errorf("%v, and then %v for %+v", before, after, got)
			}
			w.holds(t, "m", f)
		})
	}
}

// Copies that S3 does not carry out for a while are got over. Where it never does, the push
// ends with the file's name, nothing half-done is to be seen, and the next one has copied
// what is missing.
func TestCopyTrouble(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "b": {10, 2}}
	for name, trouble := range map[string]func() (*http.Response, error){
		"throttled": func() (*http.Response, error) { return answer(http.StatusServiceUnavailable, "SlowDown"), nil },
		"own error": func() (*http.Response, error) {
			return answer(http.StatusInternalServerError, "InternalError"), nil
		},
		"cut": func() (*http.Response, error) { return nil, syscall.ECONNRESET },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.staged(t, "m/", f)
			o := models.PushOptions{Source: "s3://" + staging + "/m/"}
			var left atomic.Int64
			left.Store(5)
			w.way.intercept(func(c call) (*http.Response, error) {
				if strings.Contains(c.operation, "Copy") && left.Add(-1) >= 0 {
					return trouble()
				}
				return nil, nil
			}, nil)
			if got, err := w.Push(t.Context(), o); err != nil || got.Copied != f.size() || left.Load() >= 0 {
				t.Errorf("for a while: %+v, %v", got, err)
			}
			w.holds(t, "m", f)
			for operation, want := range map[string]string{"UploadPartCopy": "file a: copy it from s3://", "CopyObject": "file b: copy it from s3://"} {
				o.Name = operation
				w.way.intercept(func(c call) (*http.Response, error) {
					if c.operation == operation {
						return trouble()
					}
					return nil, nil
				}, nil)
				_, err := w.Push(t.Context(), o)
				if !awsapi.Passes(err) || !strings.Contains(err.Error(), "push "+operation+": "+want) {
					t.Errorf("%s: %v", operation, err)
				}
				before := count(carriedOut(w.way.take()))
				w.visible(t, operation, f)
				got, err := w.Push(t.Context(), o)
				after := count(carriedOut(w.way.take()))
				if err != nil || before["UploadPartCopy"]+after["UploadPartCopy"] != 3 || before["CopyObject"]+after["CopyObject"] != 1 {
					t.Errorf("%s: %v, and then %v for %+v, %v", operation, before, after, got, err)
				}
				w.holds(t, operation, f)
			}
		})
	}
}

// carriedOut are the calls that a server did not refuse or break off.
func carriedOut(calls []call) []call {
	return slices.DeleteFunc(calls, func(c call) bool { return c.status >= http.StatusMultipleChoices })
}

// Parts of an upload that are of another source are not made part of a checkpoint.
func TestCopyOverForeignParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {11 * mebi, 1}}
	w.staged(t, "m/", f)
	key := aws.String(models.Prefix + "m/a")
	u, err := w.S3.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.S3.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: aws.String(bucket), Key: key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(make([]byte, 5*mebi)), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"}); err != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	w.holds(t, "m", f)
}

// An upload with a part of another size is not gone on with, and goes in the end.
func TestCopyOverPartsOfAnotherSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {11 * mebi, 1}}
	w.staged(t, "m/", f)
	key := aws.String(models.Prefix + "m/a")
	u, err := w.S3.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.S3.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: aws.String(bucket), Key: key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(make([]byte, mebi)), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"}); err != nil || got.Copied != f.size() || got.Aborted != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	w.holds(t, "m", f)
}

// An upload that somebody ends, and a source that goes away, are told as what they are.
func TestCopyOfWhatIsGone(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"NoSuchUpload": "file a: part 1: somebody has ended the upload of this file", "NoSuchKey": "s3://" + staging + "/m/a: changed while it was read"} {
		w := newWorld(t, false)
		w.staged(t, "m/", files{"a": {11 * mebi, 1}})
		w.way.intercept(func(c call) (*http.Response, error) {
			if c.operation == "UploadPartCopy" {
				return answer(http.StatusNotFound, code), nil
			}
			return nil, nil
		}, nil)
		_, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
		if err == nil || !strings.Contains(strings.NewReplacer("part 2", "part 1", "part 3", "part 1").Replace(err.Error()), want) || faulty(err) != (code == "NoSuchKey") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// What is fetched and sent where S3 does not copy is compared with the source's checksum.
func TestStreamedOtherwise(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{"small": 10, "large": 11 * mebi} {
		w := newWorld(t, false)
		w.staged(t, "m/", files{name: {size, 1}})
		w.way.intercept(func(c call) (*http.Response, error) {
			if strings.Contains(c.operation, "Copy") {
				return answer(http.StatusForbidden, "AccessDenied"), nil
			}
			return nil, nil
		}, nil)
		w.way.next = &falsifying{w.way.next}
		for range 2 { // and once more with the parts that are there
			_, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
			if err == nil || !strings.Contains(err.Error(), "file "+name+": what was read has the checksum ") || w.complete(t, "m") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// falsifying changes the first byte of each object that is fetched, and keeps its
// checksum to itself.
type falsifying struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (f *falsifying) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.next.RoundTrip(r)
	if err == nil && operation(r) == http.MethodGet && resp.StatusCode == http.StatusOK && strings.Contains(r.URL.Path, "/m/") {
		resp.Header.Del("X-Amz-Checksum-Crc64nvme")
		first := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, first); err != nil {
			return nil, err
		}
		first[0]++
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(first), resp.Body), resp.Body}
	}
	return resp, err
}

// Who may not list a bucket may still push an archive in it.
func TestArchiveInABucketThatIsNotListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {10, 1}}
	text, err := os.ReadFile(archived(t, "m.tar", f))
	if err != nil {
		t.Fatal(err)
	}
	w.staged(t, "m/", f)
	w.stage(t, "m.tar", text, nil)
	refuse := func(region string) {
		w.way.intercept(func(c call) (*http.Response, error) {
			if c.operation != "HeadObject" || strings.Trim(c.key, "/") != staging {
				return nil, nil
			}
			resp := answer(http.StatusForbidden, "")
			if region != "" {
				resp.Header.Set("X-Amz-Bucket-Region", region)
			}
			resp.Body, resp.ContentLength = http.NoBody, 0
			return resp, nil
		}, nil)
	}
	for source, region := range map[string]string{"m/": w.box.Region(), "m.tar": ""} {
		refuse(region)
		if _, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/" + source}); err == nil || !strings.Contains(err.Error(), "look at the source's bucket "+staging) {
			t.Errorf("%s: %v", source, err)
		}
	}
	refuse(w.box.Region())
	if _, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m.tar"}); err != nil {
		t.Fatal(err)
	}
	w.holds(t, "m", f)
}

// An archive in S3 is fetched, and its files are sent; what breaks is gone on with
// where it broke.
func TestArchiveInS3(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	path := archived(t, "laguna.tar", sample())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.staged(t, "", nil)
	w.stage(t, "models/laguna.tar", text, nil)
	w.way.take()
	w.way.next = &breaking{next: w.way.next, after: 4 * mebi}
	got, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/models/laguna.tar"})
	if err != nil || got.Name != "laguna" || got.Digest != digestOf(t, path) || got.Sent != sample().size() {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := pulled(w.way.take()); n < 7 {
		t.Errorf("it was asked for %d times", n)
	}
	w.way.next = w.way.next.(*breaking).next
	if meta := w.holds(t, "laguna", sample()); meta["sha256"] == "" {
		t.Error("there is no marker")
	}
}

// breaking cuts each answer to a GET of an object after some bytes.
type breaking struct {
	next  http.RoundTripper
	after int64
}

// RoundTrip implements [http.RoundTripper].
func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && r.URL.RawQuery == "x-id=GetObject" {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{&cut{resp.Body, b.after}, resp.Body}
	}
	return resp, err
}

// cut is a body of which so many bytes come at most.
type cut struct {
	io.Reader
	left int64
}

// Read implements [io.Reader].
func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, syscall.ECONNRESET
	}
	n, err := c.Reader.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// What can't be a source is refused, with its name.
func TestSourcesInS3Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.staged(t, "m/", files{"a": {10, 1}})
	w.stage(t, "hostile/../a", nil, nil)
	w.stage(t, "hostile//b", []byte("b"), nil)
	for source, want := range map[string]string{
		"s3://" + staging + "/none/":                "holds no files",
		"s3://" + staging + "/none/a.tar":           "s3://" + staging + "/none/a.tar",
		"s3://" + staging + "/hostile/":             "leads out of the archive",
		"s3://no-such-bucket-1234/m/":               "there is no bucket no-such-bucket-1234: correct the source's address",
		"s3://" + bucket + "/models/checkpoints/m/": "is the checkpoint itself",
	} {
		_, err := w.Push(t.Context(), models.PushOptions{Source: source, Name: "m"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
	for _, source := range []string{"s3://", "s3://bucket", "s3://bucket/", "s3:///key/"} {
		if err := models.CheckSource(models.PushOptions{Source: source}); err == nil || !strings.Contains(err.Error(), "write s3://BUCKET/PREFIX/") {
			t.Errorf("%s: %v", source, err)
		}
	}
	// An object that is changed on the way is nobody's.
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation == "CopyObject" {
			return answer(http.StatusPreconditionFailed, "PreconditionFailed"), nil
		}
		return nil, nil
	}, nil)
	_, err := w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/m/"})
	var faults fault.Faults
	if !errors.As(err, &faults) || !strings.Contains(err.Error(), "s3://"+staging+"/m/a: changed while it was read") || w.complete(t, "m") {
		t.Errorf("an object that was changed: %v", err)
	}
}
