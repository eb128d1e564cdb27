package check_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// TestDo tells what comes of what a check saw, said and ran into.
func TestDo(t *testing.T) {
	t.Parallel()
	bad := errors.New("throttled")
	for name, tt := range map[string]struct {
		run    func(r *check.Recorder) error
		want   check.Status
		reason string
	}{
		"good": {func(r *check.Recorder) error { r.Saw(true, "a", "b", "c", "d", "e"); return nil }, check.Pass, ""},
		"one is wrong": {func(r *check.Recorder) error {
			r.Saw(true, "a", "b", "c", "", "")
			r.Missing("d", "e", "f")
			return nil
		}, check.Fail, ""},
		"wrong, then an error":  {func(r *check.Recorder) error { r.Missing("d", "e", "f"); return bad }, check.Fail, ""},
		"good, then an error":   {func(r *check.Recorder) error { r.Saw(true, "a", "b", "c", "", ""); return bad }, check.CouldNotLook, "throttled"},
		"nothing":               {func(*check.Recorder) error { return nil }, check.CouldNotLook, "nothing was there to look at"},
		"not applicable":        {func(r *check.Recorder) error { r.NA("no %s", "NAT"); return nil }, check.NotApplicable, "no NAT"},
		"not applicable, error": {func(r *check.Recorder) error { r.NA("no NAT"); return bad }, check.CouldNotLook, "throttled"},
		"good all the same":     {func(r *check.Recorder) error { r.NA("no NAT"); r.Saw(true, "a", "b", "c", "", ""); return nil }, check.Pass, ""},
	} {
		got := check.Check{ID: name, Run: func(_ *account.Look, r *check.Recorder) error { return tt.run(r) }}.Do(nil)
		if got.ID != name || got.Status != tt.want || got.Reason != tt.reason {
			t.Errorf("%s: %s %q, not %s %q", name, got.Status, got.Reason, tt.want, tt.reason)
		}
		text, err := json.Marshal(got)
		if err != nil || !strings.Contains(string(text), `"evidence":[`) {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}
