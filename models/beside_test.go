package models_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/models"
)

// A file of digests beside an archive counts for its line about the archive, and
// spares the reading only if it is not older.
func TestDigestBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	path := archived(t, "m.tar", files{"a": {5, 1}})
	digest := strings.TrimPrefix(digestOf(t, path), "sha256:")
	zeros := strings.Repeat("0", 64)
	if _, err := w.Push(t.Context(), models.PushOptions{Source: path}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		zeros + "  other.tar\n" + digest + "  m.tar\n": "",
		digest + " */data/m.tar\n":                     "",
		digest:                                         "",
		zeros + "  other.tar\n":                        "m.tar.sha256 holds no digest of m.tar",
		digest + "\n" + zeros + "\n":                   "m.tar.sha256 holds no digest of m.tar",
		"":                                             "m.tar.sha256 holds no digest of m.tar",
		strings.Repeat(zeros+"  other.tar\n", 64<<10/70): "write what sha256sum prints",
	} {
		if err := os.WriteFile(path+".sha256", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		said := ""
		p, err := w.Push(t.Context(), models.PushOptions{Source: path, Say: func(s string) { said += s }})
		switch {
		case want == "" && (err != nil || !p.Unchanged || !strings.Contains(said, "m.tar.sha256, which is not older, says")):
			t.Errorf("%q: %+v, %q, %v", text, p, said, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.80q: %+v, %v", text, p, err)
		}
	}
	// An archive that is newer is read, and is not what the file says.
	if err := os.WriteFile(path+".sha256", []byte(digest+"  m.tar\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytesOf(t, archived(t, "m.tar", files{"a": {6, 2}})), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, newer, newer); err != nil {
		t.Fatal(err)
	}
	p, err := w.Push(t.Context(), models.PushOptions{Source: path})
	if !faulty(err) || !strings.Contains(err.Error(), "as "+path+".sha256 says") || !w.complete(t, "m") {
		t.Errorf("a newer archive: %+v, %v", p, err)
	}
}

// An interrupt tells what was done by then: nothing, while the source is compared or
// before anything is removed.
func TestInterruptedBeforeAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	if _, err := w.Push(t.Context(), models.PushOptions{Source: archived(t, "m.tar", files{"a": {5, 1}})}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	_, err := w.Push(ctx, models.PushOptions{Source: archived(t, "m.tar", files{"a": {6, 1}}), Say: func(string) { stop() }})
	stopped, ok := errors.AsType[*models.StoppedError](err)
	if !ok || !errors.Is(err, context.Canceled) || stopped.Changed || stopped.Sent != 0 || !w.complete(t, "m") {
		t.Errorf("push: %+v, %v", stopped, err)
	}
	if _, err = w.Remove(ctx, "m"); !errors.Is(err, context.Canceled) {
		t.Errorf("remove: %v", err)
	}
	if _, partly := errors.AsType[*models.PartlyRemovedError](err); partly || !w.complete(t, "m") {
		t.Errorf("remove: %v", err)
	}
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	w.during("DeleteObjects", "", stop)
	_, err = w.Remove(ctx, "m")
	if _, partly := errors.AsType[*models.PartlyRemovedError](err); !partly || w.complete(t, "m") {
		t.Errorf("remove, stopped half-way: %v", err)
	}
}
