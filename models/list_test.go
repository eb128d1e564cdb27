package models_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/models"
)

// begin leaves an unfinished upload of a checkpoint.
func (w *world) begin(t *testing.T, key string) {
	t.Helper()
	if _, err := w.S3.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + key)}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) put(t *testing.T, key, text string, meta map[string]string) {
	t.Helper()
	algorithm := types.ChecksumAlgorithmCrc64nvme
	if text == "of another kind" {
		algorithm = types.ChecksumAlgorithmCrc32
	}
	if _, err := w.S3.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(text), Metadata: meta, ChecksumAlgorithm: algorithm}); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	if got, err := w.List(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("of an empty bucket: %v, %v", got, err)
	}
	path := archived(t, "ours.tar", sample())
	if _, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil {
		t.Fatal(err)
	}
	w.put(t, models.Prefix+"theirs-1.0/a", "abc", nil)
	w.put(t, models.Prefix+"theirs-1.0/"+models.Marker, "", map[string]string{"tarball": strings.Repeat("ab", 32)})
	w.put(t, models.Prefix+"broken/x/y", "abcd", nil)
	w.put(t, models.Prefix+"stray", "abcd", nil)
	w.begin(t, "begun/a")
	want := []models.Checkpoint{
		{Name: "begun", Uploads: 1},
		{Name: "broken", Files: 1, Bytes: 4},
		{Name: "ours", Complete: true, Digest: digestOf(t, path), Recorded: true, Files: 6, Bytes: sample().size()},
		{Name: "theirs-1.0", Complete: true, Digest: "sha256:" + strings.Repeat("ab", 32), Files: 1, Bytes: 3},
	}
	for i := range want {
		want[i].URI = "s3://" + bucket + "/models/checkpoints/" + want[i].Name + "/"
	}
	got, err := w.List(t.Context())
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(models.Checkpoint{}, "Marked")); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	if got[2].Marked.IsZero() || !got[1].Marked.IsZero() {
		t.Errorf("marked %v, %v", got[2].Marked, got[1].Marked)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {11 * mebi, 1}, "b": {5, 2}, "c": {6, 3}, "d": {7, 4}, "k": {15, 5}}
	path := archived(t, "m.tar", f)
	if _, err := w.Verify(t.Context(), "m"); !models.Gone(err) {
		t.Errorf("of nothing: %v", err)
	}
	push := func() {
		t.Helper()
		if _, err := w.Push(t.Context(), models.PushOptions{Source: path, DeleteOthers: true}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(key string) {
		t.Helper()
		if _, err := w.S3.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(want ...string) *models.Verification {
		t.Helper()
		v, err := w.Verify(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, d := range v.Differences {
			got = append(got, d.String())
			if d.Fix == "" {
				t.Errorf("%s has no fix", d)
			}
		}
		if v.Whole != (len(want) == 0) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("whole %t, %q, want %q", v.Whole, got, want)
		}
		return v
	}
	push()
	if v := verify(); !v.Recorded || v.Files != 5 || v.Bytes != f.size() || v.Digest != digestOf(t, path) {
		t.Errorf("%+v", v)
	}
	w.put(t, models.Prefix+"m/b", "other", nil)
	w.put(t, models.Prefix+"m/c", "longer than it was", nil)
	w.put(t, models.Prefix+"m/e", "new", nil)
	w.put(t, models.Prefix+"m/k", "of another kind", nil)
	remove(models.Prefix + "m/d")
	verify("b has the checksum "+checksum([]byte("other"))+", and had "+sumOf(t, f["b"]), "c has 18 bytes, and had 6", "d is gone", "k was written by another program: S3 has no checksum of its whole", "e was put there by somebody else")
	w.put(t, "poolhouse/checkpoints/m.json", "{}", nil)
	verify("the checkpoint has no record of its files: poolhouse/checkpoints/m.json is not the record that the marker names")
	remove(models.Prefix + "m/" + models.Marker)
	verify("the checkpoint is not complete: it has no marker")
	push()
	verify()
	w.put(t, models.Prefix+"m/"+models.Marker, "", map[string]string{"x": digestOf(t, path)})
	if v := verify(); len(v.Unchecked) != 1 || v.Recorded {
		t.Errorf("of the vendor's: %+v", v)
	}
}

// TestRemove removes a checkpoint with everything that is stored of it, and of no
// other; killed at any call, it leaves no marker over what is left, and the next
// one ends it.
func TestRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := files{"a": {6 * mebi, 1}, "b": {5, 2}}
	prepare := func() {
		t.Helper()
		for _, seed := range []byte{3, 2} { // two markers, two versions of b
			f["b"] = content{5, seed}
			if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", f)}); err != nil {
				t.Fatal(err)
			}
		}
		w.begin(t, "m/x")
		w.way.take()
	}
	if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m-2.tar", files{"b": {5, 2}})}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Remove(t.Context(), "m"); !models.Gone(err) {
		t.Errorf("of nothing: %v", err)
	}
	prepare()
	removable, err := w.Removable(t.Context(), "m")
	if err != nil || !removable.Complete || removable.Uploads != 1 || removable.Bytes < 6*mebi+10 || removable.Versions != 1+2+2+2 {
		t.Errorf("%+v, %v", removable, err)
	}
	w.way.take()
	removed, err := w.Remove(t.Context(), "m")
	if d := cmp.Diff(removable, removed); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	n := 0
	for _, c := range w.way.take() {
		if c.writes() {
			n++
		}
	}
	for i := range n {
		for _, late := range []bool{false, true} {
			prepare()
			ctx, kill := context.WithCancel(t.Context())
			seen, dead := 0, false
			die := func(c call) error {
				switch {
				case dead:
				case c.writes() && seen == i:
					dead = true
					kill()
				case c.writes():
					seen++
					fallthrough
				default:
					return nil
				}
				return syscall.ECONNRESET
			}
			if late {
				w.way.intercept(nil, die)
			} else {
				w.way.intercept(func(c call) (*http.Response, error) { return nil, die(c) }, nil)
			}
			_, err := w.Remove(ctx, "m")
			w.way.intercept(nil, nil)
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if (i > 0 || late) && w.complete(t, "m") {
				t.Errorf("killed at call %d, late %t: the marker is there", i, late)
			}
			if _, err := w.Remove(t.Context(), "m"); err != nil && !(models.Gone(err) && i == n-1 && late) {
				t.Error(err)
			}
			left, err := w.S3.ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: aws.String(bucket)})
			if err != nil || len(left.Versions) != 3 || len(left.DeleteMarkers) != 0 {
				t.Errorf("%d versions and %d markers are left, %v; want the three of m-2", len(left.Versions), len(left.DeleteMarkers), err)
			}
		}
	}
	w.holds(t, "m-2", files{"b": {5, 2}})
}

// sumOf is a file's checksum as S3 has it.
func sumOf(t *testing.T, c content) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(c.reader()); err != nil {
		t.Fatal(err)
	}
	return checksum(b.Bytes())
}
