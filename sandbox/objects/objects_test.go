package objects

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// served is a client of an S3 server: of the sandbox's own.
func served(t *testing.T) client {
	t.Helper()
	box := testkit.Sandbox(t, sandbox.Options{})
	testkit.MustCreate(t, box, s3.TypeBucket, map[string]any{"BucketName": bucket})
	s := httptest.NewServer(box)
	t.Cleanup(s.Close)
	c := newClient(s.URL, wire.Credential{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey})
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func read(t *testing.T, c client, b s3.Body, from, length int64) string {
	t.Helper()
	in, err := c.Get(t.Context(), b, from, length)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func put(t *testing.T, c client, text string) s3.Body {
	t.Helper()
	b, err := c.Put(t.Context(), strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBodies(t *testing.T) {
	t.Parallel()
	c := served(t)
	one, empty := put(t, c, "0123456789"), put(t, c, "")
	for _, w := range []struct {
		b            s3.Body
		from, length int64
		want         string
	}{
		{one, 0, 10, "0123456789"},
		{one, 3, 4, "3456"},
		{one, 0, 1, "0"},
		{empty, 0, 0, ""},
		{s3.Body{Text: "in the account", Size: 14}, 3, 3, "the"},
	} {
		if got := read(t, c, w.b, w.from, w.length); got != w.want {
			t.Errorf("%d from %d: %q, want %q", w.length, w.from, got, w.want)
		}
	}
	other := put(t, c, "other")
	if err := c.Remove(t.Context(), []s3.Body{one, empty, one}); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), one, 0, 10); err == nil || !strings.Contains(err.Error(), "it answers 404: ") {
		t.Errorf("what was removed: %v", err)
	}
	if got := read(t, c, other, 0, 5); got != "other" {
		t.Errorf("what was not removed: %q", got)
	}
}

func TestBodyThatFails(t *testing.T) {
	t.Parallel()
	c := served(t)
	fault := errors.New("wrong hash")
	_, err := c.Put(t.Context(), io.MultiReader(strings.NewReader("1234"), failing{fault}), 10)
	if !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Put(t.Context(), failing{fault}, 0); !errors.Is(err, fault) {
		t.Errorf("without length: %v", err)
	}
	if n, err := c.Sweep(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("left behind: %d, %v", n, err)
	}
	c.credential.SecretAccessKey = "other"
	if _, err := c.Put(t.Context(), strings.NewReader("x"), 1); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with another key: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestSweep(t *testing.T) {
	t.Parallel()
	c := served(t)
	known := map[string]bool{}
	for i := range 5 {
		if b := put(t, c, "text"); i%2 == 0 {
			known[b.Name] = true
		}
	}
	if n, err := c.Sweep(context.Background(), known); n != 2 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	left := map[string]bool{}
	for name := range known {
		left[name] = read(t, c, s3.Body{Name: name, Size: 4}, 0, 4) == "text"
	}
	if d := cmp.Diff(known, left); d != "" {
		t.Error(d)
	}
	if n, err := c.Sweep(context.Background(), known); n != 0 || err != nil {
		t.Errorf("swept %d again, %v", n, err)
	}
}
