package models_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/transfer"
)

// killedCopy stops a push once S3 has copied one part of a file, and returns the part's
// number.
func (w *world) killedCopy(t *testing.T, key string, o models.PushOptions) int32 {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var n atomic.Int64
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation == "UploadPartCopy" && n.Add(1) > 1 {
			<-ctx.Done() // the first is carried out
			return nil, ctx.Err()
		}
		return nil, nil
	}, func(c call) error {
		if c.operation == "UploadPartCopy" {
			kill()
		}
		return nil
	})
	if got, err := w.Push(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", got, err)
	}
	w.way.intercept(nil, nil)
	list, err := w.S3.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil || len(list.Uploads) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	parts, err := w.S3.ListParts(t.Context(), &sdk.ListPartsInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + key), UploadId: list.Uploads[0].UploadId})
	if err != nil || len(parts.Parts) != 1 {
		t.Fatalf("%+v, %v", parts, err)
	}
	w.way.take()
	return *parts.Parts[0].PartNumber
}

// uploads are how many are unfinished.
func (w *world) uploads(t *testing.T) int {
	t.Helper()
	list, err := w.S3.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Uploads)
}

// An upload that says which source it is a copy of takes no bytes of another one: its
// object would be taken for a copy of the first. Neither what is sent nor what S3 copies
// goes on with it, though its name and size are the same.
func TestUploadsOfACopy(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.staged(t, "", nil)
		f, other := files{"a": {11 * mebi, 1}}, files{"a": {11 * mebi, 2}}
		body := bytesIn(t, f["a"])
		w.unsummed(t, "m/a", body)
		first := models.PushOptions{Source: "s3://" + staging + "/m/"}
		for _, copied := range []bool{false, true} {
			at := w.killedCopy(t, "m/a", first)
			o := models.PushOptions{Source: archived(t, "m.tar", other)}
			if copied {
				// It has the same bytes in the part that is there.
				changed := bytes.Clone(body)
				if at == 1 {
					changed[len(changed)-1]++
				} else {
					changed[0]++
				}
				w.stage(t, "other/a", changed, nil)
				o = models.PushOptions{Source: "s3://" + staging + "/other/", Name: "m"}
			}
			if _, err := w.Push(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			head, err := w.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/a")})
			if err != nil || head.Metadata["poolhouse-origin"] != "" || len(head.Metadata) != 1 {
				t.Errorf("copied %v: %+v, %v", copied, head.Metadata, err)
			}
			w.way.take()
			got, err := w.Push(t.Context(), first)
			if n := copiesOf(w.way.take()); err != nil || n["a"] != 3 || got.Copied != f.size() {
				t.Errorf("copied %v: then %v, %+v, %v", copied, n, got, err)
			}
			w.holds(t, "m", f)
			if n := w.uploads(t); n > 0 {
				t.Errorf("copied %v: %d uploads are left", copied, n)
			}
			if _, err := w.Remove(t.Context(), "m"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What S3 copied wrongly is taken back: its bytes count no more, and its upload is ended
// before the file goes another way.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"copy", "encryption"} {
		w := newWorld(t, false)
		f := files{"a": {11 * mebi, 1}, "b": {10, 2}}
		w.staged(t, "m/", f)
		o := models.PushOptions{Source: "s3://" + staging + "/m/", Meter: transfer.NewMeter(clock.Real{}, nil)}
		in := &sdk.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/a"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject}
		part := make([]byte, 5*mebi)
		want := "AbortMultipartUpload CreateMultipartUpload"
		if name == "encryption" {
			o.Source, in.ServerSideEncryption = archived(t, "m.tar", f), types.ServerSideEncryptionAes256
			part = bytesIn(t, f["a"])[:5*mebi]
			want = "CompleteMultipartUpload CreateMultipartUpload"
		}
		u, err := w.S3.CreateMultipartUpload(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.S3.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
			t.Fatal(err)
		}
		w.way.take()
		got, err := w.Push(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s := o.Meter.State(); s.Moved != f.size() || s.Skipped != 0 || got.Copied > f.size() {
			t.Errorf("%s: the meter has %+v, and %d bytes were copied", name, s, got.Copied)
		}
		var order []string
		for _, c := range w.way.take() {
			if strings.HasSuffix(c.operation, "MultipartUpload") {
				order = append(order, c.operation)
			}
		}
		if !strings.HasPrefix(strings.Join(order, " "), want) {
			t.Errorf("%s: %v, want %s first", name, order, want)
		}
		w.holds(t, "m", f)
	}
}

// What S3 copied of a file before it refused the rest counts no more either.
func TestTakenBackWhereRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {11 * mebi, 1}}
	w.staged(t, "m/", f)
	var n atomic.Int64
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation == "UploadPartCopy" && n.Add(1) > 2 {
			return answer(http.StatusForbidden, "AccessDenied"), nil
		}
		return nil, nil
	}, nil)
	o := models.PushOptions{Source: "s3://" + staging + "/m/", Meter: transfer.NewMeter(clock.Real{}, nil)}
	got, err := w.Push(t.Context(), o)
	if s := o.Meter.State(); err != nil || got.Copied != 0 || got.Sent != f.size() || s.Moved != f.size() {
		t.Errorf("%+v, %v; the meter has %+v", got, err, s)
	}
	if n := w.uploads(t); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
	w.holds(t, "m", f)
}
