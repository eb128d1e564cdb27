package models_test

import (
	"bytes"
	"context"
	"errors"
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

	"github.com/poolhouse/poolhouse/models"
)

// unsummed puts an object into the staging bucket of which S3 has no CRC-64/NVME.
func (w *world) unsummed(t *testing.T, key string, body []byte) {
	t.Helper()
	if _, err := w.S3.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(staging), Key: &key, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}); err != nil {
		t.Fatal(err)
	}
}

func bytesIn(t *testing.T, c content) []byte {
	t.Helper()
	body, err := io.ReadAll(c.reader())
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// stopAfter stops a push once a call on a key was carried out, which waits until others
// were, each an operation and the end of a key. It returns the calls.
func (w *world) stopAfter(t *testing.T, operation, key string, o models.PushOptions, others ...string) []call {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var dead atomic.Bool
	var left atomic.Int64
	left.Store(int64(len(others)))
	first := make(chan struct{})
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation == operation && strings.HasSuffix(c.key, key) {
			<-first
		}
		return nil, nil
	}, func(c call) error {
		if slices.ContainsFunc(others, func(o string) bool {
			return strings.HasPrefix(o, c.operation) && strings.HasSuffix(c.key, strings.TrimPrefix(o, c.operation))
		}) {
			if left.Add(-1) == 0 {
				close(first)
			}
		}
		if dead.Load() || c.operation == operation && strings.HasSuffix(c.key, key) {
			dead.Store(true)
			kill()
			return syscall.ECONNRESET
		}
		return nil
	})
	if got, err := w.Push(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", got, err)
	}
	w.way.intercept(nil, nil)
	return w.way.take()
}

// copiesOf counts the copies by file.
func copiesOf(calls []call) map[string]int {
	n := map[string]int{}
	for _, c := range calls {
		if strings.Contains(c.operation, "Copy") {
			n[c.key[strings.LastIndex(c.key, "/")+1:]]++
		}
	}
	return n
}

// A copy of sources without a checksum of their whole is gone on with file by file:
// what it has copied is known by what it was copied from, and by nothing else.
func TestCopyKilledWithoutChecksums(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		f := files{"a": {11 * mebi, 1}, "b": {10, 2}, "c": {11 * mebi, 3}}
		w.staged(t, "", nil)
		for name, c := range f {
			for _, prefix := range []string{"m/", "other/"} {
				w.unsummed(t, prefix+name, bytesIn(t, c))
			}
		}
		o := models.PushOptions{Source: "s3://" + staging + "/m/"}
		w.stopAfter(t, "UploadPartCopy", "/c", o, "CompleteMultipartUpload/a", "CopyObject/b")
		got, err := w.Push(t.Context(), o)
		if n := copiesOf(w.way.take()); err != nil || n["a"] != 0 || n["b"] != 0 || n["c"] != 3 || got.Copied != f["c"].size {
			t.Errorf("the next copies %v: %+v, %v", n, got, err)
		}
		w.holds(t, "m", f)
		if v, err := w.Verify(t.Context(), "m"); err != nil || !v.Whole {
			t.Errorf("%+v, %v", v, err)
		}

		// Another version of an object is another source, and so is another place.
		f["a"] = content{11 * mebi, 4}
		w.unsummed(t, "m/a", bytesIn(t, f["a"]))
		got, err = w.Push(t.Context(), o)
		if n := copiesOf(w.way.take()); err != nil || n["a"] != 3 || n["b"]+n["c"] != 0 || !got.Replaced {
			t.Errorf("of a newer source: %v, %+v, %v", n, got, err)
		}
		w.holds(t, "m", f)
		f["a"] = content{11 * mebi, 1}
		got, err = w.Push(t.Context(), models.PushOptions{Source: "s3://" + staging + "/other/", Name: "m"})
		if n := copiesOf(w.way.take()); err != nil || n["a"] != 3 || n["b"] != 1 || n["c"] != 3 {
			t.Errorf("of another place: %v, %+v, %v", n, got, err)
		}
		w.holds(t, "m", f)
	})
}

// An archive in S3 without a checksum of its whole is read again after a kill, and
// what had arrived of it is not sent again.
func TestArchiveInS3KilledWithoutChecksums(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {11 * mebi, 1}, "b": {10, 2}, "c": {6 * mebi, 3}}
	w.staged(t, "", nil)
	text, err := os.ReadFile(archived(t, "m.tar", f))
	if err != nil {
		t.Fatal(err)
	}
	w.unsummed(t, "m.tar", text)
	o := models.PushOptions{Source: "s3://" + staging + "/m.tar"}
	before := arrived(w.stopAfter(t, "UploadPart", "/c", o, "CompleteMultipartUpload/a"))
	got, err := w.Push(t.Context(), o)
	if after := arrived(w.way.take()); err != nil || before == 0 || before+after != f.size() {
		t.Errorf("of %d bytes %d arrived before, and %d after: %+v, %v", f.size(), before, after, got, err)
	}
	w.holds(t, "m", f)
}
