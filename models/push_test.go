package models_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/transfer"
)

// A folder is pushed like an archive; what changes in it is sent, and what is no
// longer in it goes.
func TestPushFolder(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		dir := filepath.Join(t.TempDir(), "m-1.0")
		write := func(name string, c content) {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(c.reader())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f := sample()
		for name, c := range f {
			write(name, c)
		}
		m := transfer.NewMeter(clock.Real{}, nil)
		w.during("UploadPart", "", func() {
			if s := m.State(); !s.Known || s.Total != f.size() {
				t.Errorf("in the middle the meter has %+v", s)
			}
		})
		first, err := w.Push(t.Context(), models.PushOptions{Source: dir, Meter: m})
		if err != nil || first.Files != 6 || first.Sent != f.size() {
			t.Fatalf("%+v, %v", first, err)
		}
		w.holds(t, "m-1.0", f)
		again, err := w.Push(t.Context(), models.PushOptions{Source: dir})
		if err != nil || !again.Unchanged || again.Digest != first.Digest {
			t.Errorf("again: %+v, %v", again, err)
		}
		w.way.take()
		// A small and a large file of the same size, a new one, one less.
		f["config.json"], f["model-1.safetensors"], f["new"] = content{700, 11}, content{11 * mebi, 12}, content{5, 13}
		for _, name := range []string{"config.json", "model-1.safetensors", "new"} {
			write(name, f[name])
		}
		delete(f, "whole")
		if err := os.Remove(filepath.Join(dir, "whole")); err != nil {
			t.Fatal(err)
		}
		got, err := w.Push(t.Context(), models.PushOptions{Source: dir})
		if err != nil || !got.Replaced || got.Digest == first.Digest || got.Sent != 700+11*mebi+5 || !slices.Equal(got.Removed, []string{"whole"}) {
			t.Fatalf("changed: %+v, %v", got, err)
		}
		calls := w.way.take()
		if n := arrived(calls); n != got.Sent {
			t.Errorf("%d bytes arrived, want %d", n, got.Sent)
		}
		// The marker is the first thing that goes and the last that comes.
		var writes []call
		for _, c := range calls {
			if c.writes() {
				writes = append(writes, c)
			}
		}
		marker := models.Prefix + "m-1.0/" + models.Marker
		if a, z := writes[0], writes[len(writes)-1]; a.operation != "DeleteObject" || a.key != marker || z.operation != "PutObject" || z.key != marker {
			t.Errorf("first %+v, last %+v", a, z)
		}
		w.holds(t, "m-1.0", f)
	})
}

// What the vendor's uploader has marked is known, whatever it calls its metadata,
// and without a record.
func TestVendorsMarker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	path := archived(t, "m.tar", files{"a": {10, 1}})
	digest := digestOf(t, path)
	put := func(value string) {
		t.Helper()
		if _, err := w.S3.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/" + models.Marker), Metadata: map[string]string{"some-key": value}}); err != nil {
			t.Fatal(err)
		}
		w.way.take()
	}
	for _, value := range []string{digest, strings.TrimPrefix(digest, "sha256:"), strings.ToUpper(strings.TrimPrefix(digest, "sha256:"))} {
		put(value)
		if got, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil || !got.Unchanged {
			t.Errorf("%s: %+v, %v", value, got, err)
		}
	}
	// With the digest beside the archive, it is not even read.
	if err := os.WriteFile(path+".sha256", []byte(strings.TrimPrefix(digest, "sha256:")+"  m.tar\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("not read"), 0o644); err != nil {
		t.Fatal(err)
	}
	older := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, older, older); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil || !got.Unchanged {
		t.Errorf("by its digest: %+v, %v", got, err)
	}
	put(strings.Repeat("0", 64))
	_, err := w.Push(t.Context(), models.PushOptions{Source: path})
	if faults, ok := errors.AsType[fault.Faults](err); !ok || !w.complete(t, "m") {
		t.Errorf("what is no archive: %v, %v; the marker of what is there must stay", faults, err)
	}
}

// TestKilled kills a push at each of its writing calls, before and after the call
// is carried out. The checkpoint is not complete then, and the next push sends
// what had not arrived, and nothing else.
func TestKilled(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "b": {12 * mebi, 2}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	w := newWorld(t, false)
	if _, err := w.Push(t.Context(), models.PushOptions{Source: path, Name: "whole"}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range w.way.take() {
		if c.writes() {
			n++
		}
	}
	// Two uploads begun and ended, six parts, a small file, record and marker.
	if n != 2+2+6+1+2 {
		t.Fatalf("%d calls that write", n)
	}
	for i := range n {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/late=%t", i, late), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, false)
				ctx, kill := context.WithCancel(t.Context())
				seen, dead := 0, false
				one := make(chan struct{}, 1)
				die := func(c call) error {
					one <- struct{}{}
					defer func() { <-one }()
					if dead {
						return syscall.ECONNRESET
					}
					if c.writes() {
						if seen == i {
							dead = true
							kill()
							return syscall.ECONNRESET
						}
						seen++
					}
					return nil
				}
				if late {
					w.way.intercept(nil, die)
				} else {
					w.way.intercept(func(c call) (*http.Response, error) { return nil, die(c) }, nil)
				}
				got, err := w.Push(ctx, models.PushOptions{Source: path})
				if !errors.Is(err, context.Canceled) || got != nil {
					t.Fatalf("%+v, %v", got, err)
				}
				w.way.intercept(nil, nil)
				before := arrived(w.way.take())
				last := late && i == n-1
				if w.complete(t, "m") != last {
					t.Error("the checkpoint is complete when its push was killed")
				}
				w.way.take()
				if got, err = w.Push(t.Context(), models.PushOptions{Source: path}); err != nil || got.Unchanged != last {
					t.Fatalf("the next: %+v, %v", got, err)
				}
				if after := arrived(w.way.take()); before+after != f.size() {
					t.Errorf("of %d bytes %d arrived before, and %d after", f.size(), before, after)
				}
				w.holds(t, "m", f)
			})
		}
	}
}

// TestTrouble has calls fail in ways that pass by: the push gets over them.
func TestTrouble(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	throttled := func(c call) (*http.Response, error) { return answer(http.StatusServiceUnavailable, "SlowDown"), nil }
	for name, trouble := range map[string]func(c call) (*http.Response, error){
		"throttled": throttled,
		"cut":       func(call) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"own error": func(call) (*http.Response, error) {
			return answer(http.StatusInternalServerError, "InternalError"), nil
		},
		"bad digest": func(c call) (*http.Response, error) {
			if c.operation == "UploadPart" || c.operation == "PutObject" && strings.HasPrefix(c.key, models.Prefix) && !strings.HasSuffix(c.key, models.Marker) {
				return answer(http.StatusBadRequest, "BadDigest"), nil
			}
			return nil, nil
		},
	} {
		for _, late := range []bool{false, true} {
			if late && name != "cut" {
				continue
			}
			t.Run(fmt.Sprintf("%s/late=%t", name, late), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, false)
				failed := map[string]int{}
				one := make(chan struct{}, 1)
				// Each call on each object fails once.
				once := func(c call) (*http.Response, error) {
					one <- struct{}{}
					defer func() { <-one }()
					id := c.operation + c.key
					if failed[id]++; failed[id] > 1 {
						return nil, nil
					}
					return trouble(c)
				}
				if late {
					w.way.intercept(nil, func(c call) error { _, err := once(c); return err })
				} else {
					w.way.intercept(once, nil)
				}
				got, err := w.Push(t.Context(), models.PushOptions{Source: path})
				if err != nil || got.Sent != f.size() {
					t.Fatalf("%+v, %v", got, err)
				}
				if len(failed) < 8 {
					t.Errorf("only %v failed", failed)
				}
				w.holds(t, "m", f)
			})
		}
	}
}

// TestHostileSources has archives that are cut, hold what they must not, or are
// not what they should be: no marker comes, nor a file that isn't whole, and a
// checkpoint that is there stays. An archive that is cut in a file is refused with the
// file's name.
func TestHostileSources(t *testing.T) {
	t.Parallel()
	f := files{"a": {6 * mebi, 1}, "b": {100, 2}}
	good := archived(t, "m.tar", f)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	// After the last file, whose bytes fill no block.
	flipped := bytes.Clone(text)
	flipped[len(flipped)-1025]++
	zipped := bytesOf(t, archived(t, "m.tar.gz", f))
	w := newWorld(t, false)
	other := archived(t, "other.tar", files{"x": {5, 1}})
	for name, c := range map[string]struct {
		text []byte
		o    models.PushOptions
		want string
		left files // that are whole where there was no checkpoint
	}{
		"cut":            {text[:len(text)/2], models.PushOptions{}, "m.tar > a: ends early", nil},
		"cut within b":   {text[:len(text)-1024-512+50], models.PushOptions{}, "m.tar > b: ends early", files{"a": f["a"]}},
		"gzip cut":       {zipped[:len(zipped)/2], models.PushOptions{}, "m.tar > a: ends early", nil},
		"cut at its end": {text[:len(text)-1024], models.PushOptions{}, "m.tar: ends early", f},
		"no archive":     {[]byte(strings.Repeat("a", 2000)), models.PushOptions{}, "is no tar archive", nil},
		"wrong digest":   {flipped, models.PushOptions{Digest: digestOf(t, good)}, "and should have sha256:", f},
		"marker":         {bytesOf(t, archived(t, "x.tar", files{models.Marker: {0, 1}, "a": {1, 1}})), models.PushOptions{}, "has the name of the marker", files{"a": {1, 1}}},
		"escape":         {bytesOf(t, archived(t, "x.tar", files{"../a": {1, 1}})), models.PushOptions{}, "leads out of the archive", nil},
		"empty":          {bytesOf(t, archived(t, "x.tar", files{})), models.PushOptions{}, "is no tar archive", nil},
		"folders only":   {folders(t), models.PushOptions{}, "holds no files", nil},
	} {
		for _, there := range []bool{false, true} {
			checkpoint := fmt.Sprintf("%s.%t", strings.ReplaceAll(name, " ", "-"), there)
			if there {
				if _, err := w.Push(t.Context(), models.PushOptions{Source: other, Name: checkpoint}); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "m.tar")
			if err := os.WriteFile(path, c.text, 0o644); err != nil {
				t.Fatal(err)
			}
			c.o.Source, c.o.Name = path, checkpoint
			got, err := w.Push(t.Context(), c.o)
			faults, ok := errors.AsType[fault.Faults](err)
			if got != nil || !ok || !strings.Contains(faults.Error(), c.want) {
				t.Errorf("%s: %+v, %v, want %s", checkpoint, got, err, c.want)
			}
			if w.complete(t, checkpoint) != there {
				t.Errorf("%s: complete is %t", checkpoint, !there)
			}
			if there {
				w.holds(t, checkpoint, files{"x": {5, 1}})
			} else {
				w.holds(t, checkpoint, c.left)
			}
		}
	}
}

// folders is an archive without files.
func folders(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bytesOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What somebody else writes into the folder while a checkpoint is pushed keeps it
// from being marked as complete.
func TestMeddled(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}, "c": {10, 3}}
	path := archived(t, "m.tar", f)
	for _, key := range []string{"c", "stray"} {
		w := newWorld(t, false)
		// Both files are whole before somebody else writes, in whichever order they come.
		var whole atomic.Int32
		w.way.intercept(nil, func(c call) error {
			sent := c.operation == "CompleteMultipartUpload" || c.operation == "PutObject" && strings.HasSuffix(c.key, "/c")
			if !sent || whole.Add(1) < 2 {
				return nil
			}
			w.way.intercept(nil, nil)
			_, err := w.S3.PutObject(context.Background(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/" + key), Body: strings.NewReader("theirs, ten"[:10])})
			return err
		})
		_, err := w.Push(t.Context(), models.PushOptions{Source: path})
		if err == nil || !strings.Contains(err.Error(), "file "+key+" was written or removed by somebody else") || w.complete(t, "m") {
			t.Errorf("%v", err)
		}
		if _, err := w.Push(t.Context(), models.PushOptions{Source: path, DeleteOthers: true}); err != nil {
			t.Error(err)
		}
		w.holds(t, "m", f)
	}
}

// An upload of other bytes, or of another kind, is not gone on with.
func TestForeignUploads(t *testing.T) {
	t.Parallel()
	f := files{"a": {11 * mebi, 1}}
	path := archived(t, "m.tar", f)
	w := newWorld(t, false)
	for i, algorithm := range []string{"", "CRC64NVME", "SHA256"} {
		in := &sdk.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/a")}
		in.ChecksumAlgorithm = algorithmOf(algorithm)
		u, err := w.S3.CreateMultipartUpload(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.S3.UploadPart(t.Context(), &sdk.UploadPartInput{
			Bucket: in.Bucket, Key: in.Key, UploadId: u.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(make([]byte, 5*mebi)), ChecksumAlgorithm: algorithmOf(algorithm),
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.way.take()
	got, err := w.Push(t.Context(), models.PushOptions{Source: path})
	if err != nil || got.Sent != f.size() || got.Aborted < 2 {
		t.Errorf("%+v, %v", got, err)
	}
	w.holds(t, "m", f)
}

// While a compressed archive is pushed nobody knows its files' size, and nothing passes for
// it; that of a plain one is nearly the archive's.
func TestTotal(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"m.tar", "m.tar.gz", "m.tar.zst"} {
		w := newWorld(t, false)
		path := archived(t, name, sample())
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		want := transfer.Bytes{}
		if name == "m.tar" {
			want = transfer.Bytes{Total: info.Size(), Known: true}
		}
		m := transfer.NewMeter(clock.Real{}, nil)
		var states []transfer.State
		one := make(chan struct{}, 1)
		w.way.intercept(func(c call) (*http.Response, error) {
			if c.operation == "UploadPart" {
				one <- struct{}{}
				states = append(states, m.State())
				<-one
			}
			return nil, nil
		}, nil)
		if _, err := w.Push(t.Context(), models.PushOptions{Source: path, Meter: m}); err != nil {
			t.Fatal(err)
		}
		if len(states) != 5 {
			t.Errorf("%s: %d parts", name, len(states))
		}
		for _, s := range states {
			if s.Known != want.Known || s.Known && s.Total != want.Total || !s.Known && s.Remaining >= 0 {
				t.Errorf("%s: in the middle the meter has %+v", name, s)
			}
		}
		if s := m.State(); !s.Known || s.Total != sample().size() || s.Moved != s.Total || s.Remaining != 0 {
			t.Errorf("%s: at the end the meter has %+v", name, s)
		}
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	path := archived(t, "m.tar", sample())
	want := &models.Pushed{Name: "m", URI: "s3://" + bucket + "/models/checkpoints/m/", Digest: digestOf(t, path), Files: 6, Bytes: sample().size(), Removed: []string{}, Others: []string{}, DryRun: true}
	said, read := "", transfer.Progress{}
	m := transfer.NewMeter(clock.Real{}, func(p transfer.Progress) { read = p })
	got, err := w.Push(t.Context(), models.PushOptions{Source: path, DryRun: true, Meter: m, Say: func(s string) { said += s }})
	if err != nil {
		t.Fatal(err)
	}
	// It is the reading that is measured, not a push.
	if s := m.State(); s.Moved != 0 || read.Item != "reading m" || read.Moved != sample().size() || said != "reads "+path+" to see what is in it" {
		t.Errorf("%q, %+v, %+v", said, read, s)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, c := range w.way.take() {
		if c.writes() {
			t.Errorf("it writes: %+v", c)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	for _, name := range []string{"a/b", "..", "-a", strings.Repeat("a", 129)} {
		if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", sample()), Name: name}); err == nil || !strings.Contains(err.Error(), "is no name of a checkpoint") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
