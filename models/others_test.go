package models_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/models"
)

// Files that no push has recorded are somebody's: they are removed only if that is
// asked for, and a dry run names them beside those that would be removed.
func TestOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	first, second := archived(t, "m.tar", files{"a": {10, 1}, "old": {20, 2}}), archived(t, "m.tar", files{"a": {10, 1}})
	if _, err := w.Push(t.Context(), models.PushOptions{Source: first}); err != nil {
		t.Fatal(err)
	}
	w.put(t, models.Prefix+"m/theirs", "somebody's", nil)
	w.way.take()
	got, err := w.Push(t.Context(), models.PushOptions{Source: second, DryRun: true})
	if err != nil || !slices.Equal(got.Removed, []string{"old"}) || !slices.Equal(got.Others, []string{"theirs"}) {
		t.Errorf("without any doing: %+v, %v", got, err)
	}
	_, err = w.Push(t.Context(), models.PushOptions{Source: second})
	var others *models.OthersError
	if !errors.As(err, &others) || !slices.Equal(others.Files, []string{"theirs"}) || !strings.Contains(err.Error(), "no push has recorded: theirs") {
		t.Errorf("the error is %v", err)
	}
	for _, c := range w.way.take() {
		if c.writes() {
			t.Errorf("before it was refused: %+v", c)
		}
	}
	if !w.complete(t, "m") {
		t.Error("the marker is gone")
	}
	if got, err = w.Push(t.Context(), models.PushOptions{Source: second, DeleteOthers: true}); err != nil || !slices.Equal(got.Removed, []string{"old", "theirs"}) || len(got.Others) > 0 {
		t.Errorf("asked: %+v, %v", got, err)
	}
	w.holds(t, "m", files{"a": {10, 1}})

	// Where nothing was marked, those beside an archive are found in the end: all is sent,
	// and not marked.
	w.put(t, models.Prefix+"n/theirs", "somebody's", nil)
	if _, err = w.Push(t.Context(), models.PushOptions{Source: second, Name: "n"}); !errors.As(err, &others) || w.complete(t, "n") {
		t.Errorf("in a folder without a marker: %v", err)
	}
	w.way.take()
	if got, err = w.Push(t.Context(), models.PushOptions{Source: second, Name: "n", DeleteOthers: true}); err != nil || got.Sent > 0 {
		t.Errorf("and asked: %+v, %v", got, err)
	}
}

// What a push has sent that was interrupted is of a push too: another source, with other
// names, is pushed over it without more ado, as what is somebody's is not.
func TestOthersOfAnInterruptedPush(t *testing.T) {
	t.Parallel()
	first, second := files{"a": {10, 1}, "b": {11 * mebi, 2}}, files{"c": {20, 3}, "d": {11 * mebi, 4}}
	for name, source := range map[string]func(t *testing.T, w *world) string{
		"an archive": func(t *testing.T, _ *world) string { return archived(t, "m.tar", second) },
		"copies": func(t *testing.T, w *world) string {
			w.staged(t, "m/", second)
			return "s3://" + staging + "/m/"
		},
	} {
		for _, before := range []bool{true, false} {
			w := newWorld(t, false)
			o := models.PushOptions{Source: archived(t, "m.tar", first), Name: "m"}
			if before {
				if _, err := w.Push(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			ctx, interrupt := context.WithCancel(t.Context())
			// Both files are whole before it is interrupted, in whichever order they come.
			var whole atomic.Int32
			w.way.intercept(nil, func(c call) error {
				ends := slices.Contains([]string{"CompleteMultipartUpload", "CopyObject", "PutObject"}, c.operation)
				if ends && (c.key == models.Prefix+"m/c" || c.key == models.Prefix+"m/d") && whole.Add(1) == 2 {
					interrupt()
				}
				return nil
			})
			if _, err := w.Push(ctx, models.PushOptions{Source: source(t, w), Name: "m"}); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", name, err)
			}
			w.way.intercept(nil, nil)
			for _, key := range []string{"c", "d"} {
				if _, err := w.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/" + key)}); err != nil {
					t.Fatalf("%s: %s is not there, and the test is void: %v", name, key, err)
				}
			}
			// Somebody's copy of what the push has sent is somebody's.
			if _, err := w.S3.CopyObject(t.Context(), &sdk.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/theirs"), CopySource: aws.String(bucket + "/" + models.Prefix + "m/c")}); err != nil {
				t.Fatal(err)
			}
			_, err := w.Push(t.Context(), o)
			if others, is := errors.AsType[*models.OthersError](err); !is || !slices.Equal(others.Files, []string{"theirs"}) {
				t.Errorf("%s, before it %v: %v", name, before, err)
			}
			if _, err := w.S3.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/theirs")}); err != nil {
				t.Fatal(err)
			}
			got, err := w.Push(t.Context(), o)
			if err != nil || !slices.Contains(got.Removed, "c") || !slices.Contains(got.Removed, "d") {
				t.Fatalf("%s, before it %v: %+v, %v", name, before, got, err)
			}
			w.holds(t, "m", first)
		}
	}
}

// Of a source whose names are known without its bytes, nothing is sent before somebody's
// files are found.
func TestOthersBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.staged(t, "m/", files{"a": {10, 1}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.put(t, models.Prefix+"m/theirs", "somebody's", nil)
	w.way.take()
	for _, source := range []string{dir, "s3://" + staging + "/m/"} {
		_, err := w.Push(t.Context(), models.PushOptions{Source: source, Name: "m"})
		var others *models.OthersError
		if !errors.As(err, &others) || others.Name != "m" || !slices.Equal(others.Files, []string{"theirs"}) {
			t.Errorf("%s: %v", source, err)
		}
		if s, is := errors.AsType[*models.StoppedError](err); !is || s.Changed {
			t.Errorf("%s: %+v", source, s)
		}
		for _, c := range w.way.take() {
			if c.writes() {
				t.Errorf("%s: %+v", source, c)
			}
		}
		if got, err := w.Push(t.Context(), models.PushOptions{Source: source, Name: "free"}); err != nil || got.Files != 1 {
			t.Errorf("%s: %+v, %v", source, got, err)
		}
		w.way.take()
	}
}

// Unfinished uploads of files that no push knows are somebody's too.
func TestUploadsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", files{"a": {10, 1}, "old": {20, 2}})}); err != nil {
		t.Fatal(err)
	}
	second := archived(t, "m.tar", files{"a": {10, 3}})
	for _, key := range []string{"m/a", "m/old", "m/theirs"} {
		w.begin(t, key)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: second}); err != nil || got.Aborted != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if v, err := w.Verify(t.Context(), "m"); err != nil || !v.Whole || v.Uploads != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", files{"a": {10, 4}}), DeleteOthers: true}); err != nil || got.Aborted != 1 {
		t.Errorf("asked: %+v, %v", got, err)
	}
}

// Folders as consoles make them are no files of a checkpoint.
func TestFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	path := archived(t, "m.tar", files{"a/b": {10, 1}})
	for _, key := range []string{models.Prefix, models.Prefix + "m/", models.Prefix + "m/a/", models.Prefix + "none/"} {
		w.put(t, key, "", nil)
	}
	if _, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: path, Digest: digestOf(t, path)}); err != nil || !got.Unchanged {
		t.Errorf("again: %+v, %v", got, err)
	}
	if v, err := w.Verify(t.Context(), "m"); err != nil || !v.Whole || v.Files != 1 || v.Marked.IsZero() || v.Uploads != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if list, err := w.List(t.Context()); err != nil || len(list) != 1 || list[0].Files != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	w.begin(t, "m/c")
	if v, err := w.Verify(t.Context(), "m"); err != nil || v.Uploads != 1 {
		t.Errorf("with an unfinished upload: %+v, %v", v, err)
	}
}

// An upload that somebody began with another encryption does not make the file: it is
// sent again. One whose object would be stored otherwise is left alone.
func TestUploadsOfAnotherKind(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}}
	body, err := io.ReadAll(f["a"].reader())
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]*sdk.CreateMultipartUploadInput{
		"encryption": {ServerSideEncryption: types.ServerSideEncryptionAes256},
		"class":      {StorageClass: types.StorageClassStandardIa},
	} {
		w := newWorld(t, false)
		in.Bucket, in.Key = aws.String(bucket), aws.String(models.Prefix+"m/a")
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
		u, err := w.S3.CreateMultipartUpload(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.S3.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body[:5*mebi]), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", f)}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		head, err := w.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: in.Bucket, Key: in.Key})
		if err != nil || head.StorageClass != "" && head.StorageClass != types.StorageClassStandard {
			t.Errorf("%s: %+v, %v", name, head, err)
		}
		w.holds(t, "m", f) // which looks at the encryption
	}
}

// Who has their upload ended under their hands is told so.
func TestEndedUpload(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"UploadPart", "CompleteMultipartUpload"} {
		w := newWorld(t, false)
		w.way.intercept(func(c call) (*http.Response, error) {
			if c.operation == operation {
				return answer(http.StatusNotFound, "NoSuchUpload"), nil
			}
			return nil, nil
		}, nil)
		_, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", files{"a": {11 * mebi, 1}})})
		if err == nil || !strings.Contains(err.Error(), "file a: ") || !strings.Contains(err.Error(), "somebody has ended the upload of this file") || strings.Contains(err.Error(), "NoSuchUpload") {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

// Each version that may not be deleted is told with the right that it takes.
func TestRemoveDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", files{"a": {10, 1}})}); err != nil {
		t.Fatal(err)
	}
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation != "DeleteObjects" {
			return nil, nil
		}
		resp := answer(http.StatusOK, "")
		const text = "<DeleteResult><Error><Key>models/checkpoints/m/a</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>"
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		return resp, nil
	}, nil)
	_, err := w.Remove(t.Context(), "m")
	if d := cmp.Diff(true, err != nil && strings.Contains(err.Error(), "models/checkpoints/m/a: AccessDenied: Access Denied; it takes the permission s3:DeleteObjectVersion")); d != "" {
		t.Error(err)
	}
}
