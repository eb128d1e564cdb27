package models_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/models"
)

// two are archives of two sources of one checkpoint, with some of its files or all.
func two(t *testing.T, some ...string) (a, b string, ofA, ofB files) {
	t.Helper()
	ofA, ofB = files{"config.json": {700, 1}, "w": {11 * mebi, 2}}, files{"config.json": {701, 3}, "w": {11*mebi + 1, 4}}
	for name := range ofA {
		if len(some) > 0 && !slices.Contains(some, name) {
			delete(ofA, name)
			delete(ofB, name)
		}
	}
	return archived(t, "a.tar", ofA), archived(t, "b.tar", ofB), ofA, ofB
}

// during has act done once, before a call of a kind on a key is let through.
func (w *world) during(operation, key string, act func()) {
	var once sync.Once
	w.way.intercept(func(c call) (*http.Response, error) {
		if c.operation == operation && strings.HasSuffix(c.key, key) {
			once.Do(func() {
				w.way.intercept(nil, nil)
				act()
			})
		}
		return nil, nil
	}, nil)
}

// heals expects that a push, and only that, makes a checkpoint whole.
func (w *world) heals(t *testing.T, path string, want files) {
	t.Helper()
	w.way.intercept(nil, nil)
	p, err := w.Push(t.Context(), models.PushOptions{Source: path, Name: "m"})
	if err != nil || p.Unchanged {
		t.Fatalf("the next push: %+v, %v", p, err)
	}
	w.holds(t, "m", want)
	if v, err := w.Verify(t.Context(), "m"); err != nil || !v.Whole {
		t.Errorf("then: %+v, %v", v, err)
	}
}

// A push whose files another one writes over after it has marked them: the marker
// goes when the other ends, and the next push mends what is there.
func TestMarkedWhileAnotherPushes(t *testing.T) {
	t.Parallel()
	for operation, file := range map[string]string{"PutObject": "config.json", "CompleteMultipartUpload": "w"} {
		for _, next := range []string{"a", "b"} {
			t.Run(operation+"/"+next, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, false)
				a, b, ofA, ofB := two(t, file)
				var first error
				w.during(operation, "", func() {
					_, first = w.Push(context.Background(), models.PushOptions{Source: a, Name: "m"})
				})
				_, second := w.Push(t.Context(), models.PushOptions{Source: b, Name: "m"})
				stopped, ok := errors.AsType[*models.StoppedError](second)
				if first != nil || !ok || !stopped.Changed {
					t.Fatalf("first: %v, second: %v", first, second)
				}
				if w.complete(t, "m") {
					t.Error("a marker is over files of two sources")
				}
				if next == "a" {
					w.heals(t, a, ofA)
				} else {
					w.heals(t, b, ofB)
				}
			})
		}
	}
}

// A push is killed just after it has written over what another one has marked: the
// next push of either source mends it.
func TestKilledOverAMarker(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"a", "b", "a by its digest"} {
		t.Run(next, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			a, b, ofA, ofB := two(t, "config.json")
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			var dead atomic.Bool
			w.during("PutObject", "/config.json", func() {
				if _, err := w.Push(context.Background(), models.PushOptions{Source: a, Name: "m"}); err != nil {
					t.Error(err)
				}
				w.way.intercept(func(call) (*http.Response, error) {
					if dead.Load() {
						return nil, syscall.ECONNRESET
					}
					return nil, nil
				}, nil)
			})
			w.way.after = func(c call) error {
				if dead.Load() || c.operation == "PutObject" && strings.HasSuffix(c.key, "/config.json") {
					dead.Store(true)
					kill()
					return syscall.ECONNRESET
				}
				return nil
			}
			if _, err := w.Push(ctx, models.PushOptions{Source: b, Name: "m"}); err == nil {
				t.Fatal("it is not killed")
			}
			w.way.intercept(nil, nil)
			if !w.complete(t, "m") {
				t.Fatal("no marker is left, and this test about one is void")
			}
			if v, err := w.Verify(t.Context(), "m"); err != nil || v.Whole {
				t.Errorf("verify: %+v, %v", v, err)
			}
			switch next {
			case "b":
				w.heals(t, b, ofB)
			case "a":
				w.heals(t, a, ofA)
			default:
				p, err := w.Push(t.Context(), models.PushOptions{Source: a, Name: "m", Digest: digestOf(t, a)})
				if err != nil || p.Unchanged || p.Replaced {
					t.Errorf("%+v, %v", p, err)
				}
				w.holds(t, "m", ofA)
			}
		})
	}
}

// A push that has written nothing yet when another one marks leaves that alone.
func TestMarkedBeforeAnotherWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a, b, ofA, _ := two(t)
	w.during("ListMultipartUploads", "", func() {
		if _, err := w.Push(context.Background(), models.PushOptions{Source: a, Name: "m"}); err != nil {
			t.Error(err)
		}
	})
	_, err := w.Push(t.Context(), models.PushOptions{Source: b, Name: "m"})
	stopped, ok := errors.AsType[*models.StoppedError](err)
	if !ok || stopped.Changed || !strings.Contains(err.Error(), "another push of this checkpoint has marked it") {
		t.Fatalf("%v", err)
	}
	if v, err := w.Verify(t.Context(), "m"); err != nil || !v.Whole {
		t.Errorf("%+v, %v", v, err)
	}
	for name, c := range ofA {
		h, err := w.S3.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/" + name)})
		if err != nil || aws.ToInt64(h.ContentLength) != c.size {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// What is written between a push's last look and its marker, or marked by somebody
// else there, keeps the checkpoint from being complete.
func TestWrittenBeforeTheMarker(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"w": "file w was written or removed by somebody else", "stray": "file stray was written", models.Marker: "another push of this checkpoint has marked it"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			a, _, ofA, _ := two(t)
			w.during("PutObject", "/"+models.Marker, func() {
				body := strings.Repeat("x", 5)
				if key == models.Marker {
					body = ""
				}
				if _, err := w.S3.PutObject(context.Background(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/" + key), Body: strings.NewReader(body)}); err != nil {
					t.Error(err)
				}
			})
			_, err := w.Push(t.Context(), models.PushOptions{Source: a, Name: "m"})
			if err == nil || !strings.Contains(err.Error(), want) || w.complete(t, "m") {
				t.Errorf("%v", err)
			}
			if key == "stray" {
				if _, err := w.S3.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/stray")}); err != nil {
					t.Fatal(err)
				}
			}
			w.heals(t, a, ofA)
		})
	}
}

// A push that was stopped by its context withdraws a marker too.
func TestStoppedOverAMarker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a, b, ofA, _ := two(t, "w")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.during("CompleteMultipartUpload", "/w", func() {
		if _, err := w.Push(context.Background(), models.PushOptions{Source: a, Name: "m"}); err != nil {
			t.Error(err)
		}
		stop()
	})
	if _, err := w.Push(ctx, models.PushOptions{Source: b, Name: "m"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if w.complete(t, "m") {
		t.Error("the marker stays")
	}
	w.heals(t, a, ofA)
}

// A marker says over which files it is: what somebody changes by hand is mended by
// the same push, as verify advises.
func TestChangedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a, _, ofA, _ := two(t)
	push := func() *models.Pushed {
		t.Helper()
		p, err := w.Push(t.Context(), models.PushOptions{Source: a, Name: "m", Digest: digestOf(t, a)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	push()
	if _, err := w.S3.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(models.Prefix + "m/config.json")}); err != nil {
		t.Fatal(err)
	}
	if p := push(); p.Unchanged || p.Replaced || p.Sent != 700 {
		t.Errorf("%+v", p)
	}
	w.holds(t, "m", ofA)
	if p := push(); !p.Unchanged {
		t.Errorf("%+v", p)
	}
}

// A connection that breaks is not the source's fault; a file that gets shorter is.
func TestWhoseEndItIs(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"UploadPart", "CreateMultipartUpload", "HeadObject"} {
		for _, end := range ends() {
			w := newWorld(t, false)
			a, _, _, _ := two(t)
			w.way.intercept(func(c call) (*http.Response, error) {
				if c.operation == operation {
					return nil, end
				}
				return nil, nil
			}, nil)
			_, err := w.Push(t.Context(), models.PushOptions{Source: a, Name: "m"})
			if !errors.Is(err, end) || faulty(err) {
				t.Errorf("%s ends with %v: %v", operation, end, err)
			}
		}
	}
}

// A file that gets shorter while it is read is the source's fault.
func TestShortened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	dir := t.TempDir()
	path := filepath.Join(dir, "w")
	if err := os.WriteFile(path, make([]byte, 11*mebi), 0o600); err != nil {
		t.Fatal(err)
	}
	w.during("CreateMultipartUpload", "/w", func() {
		if err := os.Truncate(path, 6*mebi); err != nil {
			t.Error(err)
		}
	})
	_, err := w.Push(t.Context(), models.PushOptions{Source: dir, Name: "m"})
	if !faulty(err) || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("%v", err)
	}
}

func ends() []error { return []error{io.EOF, io.ErrUnexpectedEOF} }

func faulty(err error) bool {
	_, ok := errors.AsType[fault.Faults](err)
	return ok
}

// A checkpoint goes without those whose names begin alike.
func TestRemoveOfNamesThatBeginAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a, _, ofA, _ := two(t)
	for _, name := range []string{"m", "m.json-2", "m-2"} {
		if _, err := w.Push(t.Context(), models.PushOptions{Source: a, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Remove(t.Context(), "m")
	if err != nil || r.Versions != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	for range 2 {
		if r, err := w.Remove(t.Context(), "m"); !models.Gone(err) {
			t.Errorf("what is gone, or never was, is removed: %+v, %v", r, err)
		}
	}
	for _, name := range []string{"m.json-2", "m-2"} {
		w.holds(t, name, ofA)
		if v, err := w.Verify(t.Context(), name); err != nil || !v.Whole {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}
