package models_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit/server"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox"
)

// A server whose disk is full refuses what does not fit: the push ends with the name
// of the file, nothing half-done is to be seen, and once there is room the next one
// sends what had not arrived.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	f := files{"a": {20 * mebi, 1}, "b": {17 * mebi, 2}, "c": {10, 3}, "d": {5 * mebi, 4}}
	path := archived(t, "m.tar", f)
	for name, c := range map[string]struct {
		files files
		room  int64
		want  string
	}{
		"part":  {files{"a": f["a"]}, 12 * mebi, "file a: part "},
		"whole": {files{"c": f["c"], "d": f["d"]}, 3 * mebi, "file d: "},
		// The server makes the object beside its parts.
		"object": {files{"a": f["a"]}, 24 * mebi, "file a: put its 3 parts together: "},
		"any":    {f, 38 * mebi, "file "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, path := c.files, archived(t, "m.tar", c.files)
			d := server.NewDisk(t, server.Program(t, "s3"), 128*mebi)
			b := startBare(t, d.Options)
			empty := d.Fill(t, b.server.Process(), c.room)
			_, err := b.Push(t.Context(), models.PushOptions{Source: path})
			stopped, ok := errors.AsType[*models.StoppedError](err)
			if !ok || awsapi.Code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "push m: "+c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			b.partly(t, "m", f)
			empty()
			got, err := b.Push(t.Context(), models.PushOptions{Source: path})
			// What was on its way when the push stopped may have arrived.
			if err != nil || stopped.Sent+got.Sent > f.size() {
				t.Errorf("of %d bytes %d arrived before: %+v, %v", f.size(), stopped.Sent, got, err)
			}
			b.holds(t, "m", f)
			if v, err := b.Verify(t.Context(), "m"); err != nil || !v.Whole {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	t.Run("sandbox", func(t *testing.T) {
		t.Parallel()
		d := server.NewDisk(t, server.Program(t, "s3"), 128*mebi)
		store := open(t, d.Options)
		w := newWorldOf(t, sandbox.Options{Objects: store})
		empty := d.Fill(t, store.Server().Process(), 12*mebi)
		_, err := w.Push(t.Context(), models.PushOptions{Source: path})
		before := arrived(w.way.take())
		if awsapi.Code(err) != "ServiceUnavailable" || !strings.Contains(err.Error(), "push m: file ") || !strings.Contains(err.Error(), "No space left on device") {
			t.Fatalf("%v", err)
		}
		if w.complete(t, "m") {
			t.Error("it is complete")
		}
		empty()
		w.way.take()
		got, err := w.Push(t.Context(), models.PushOptions{Source: path})
		if after := arrived(w.way.take()); err != nil || got.Sent != after || before+after != f.size() {
			t.Errorf("of %d bytes %d arrived before, and %d after: %+v, %v", f.size(), before, after, got, err)
		}
		w.holds(t, "m", f)
	})
}

// partly expects that of a checkpoint there are whole files only, and no marker.
func (b *bare) partly(t *testing.T, name string, f files) {
	t.Helper()
	list, err := b.S3.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: &b.Bucket, Prefix: aws.String(models.Prefix + name + "/")})
	if err != nil {
		t.Fatal(err)
	}
	there := files{}
	for _, o := range list.Contents {
		file := strings.TrimPrefix(aws.ToString(o.Key), models.Prefix+name+"/")
		c, ok := f[file]
		if !ok {
			t.Errorf("%s is there", file)
			continue
		}
		there[file] = c
	}
	b.holds(t, name, there)
}
