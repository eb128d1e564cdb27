package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
)

// TestLeftOut: what a creation made is told when its charts failed, or were left out, and
// in the latter case how they are installed.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	there, route := &deploy.Result{}, &deploy.Result{Kubernetes: &cluster.Route{}}
	for name, tc := range map[string]struct {
		res             *deploy.Result
		err             error
		begun           bool
		usable, leftOut bool
	}{
		"a stack failed":    {there, errors.New("a stack failed"), false, false, false},
		"nothing came":      {nil, errors.New("refused"), false, false, false},
		"no route":          {there, &deploy.PendingError{Err: errors.New("no route")}, false, true, true},
		"a transfer failed": {route, &deploy.TransferError{Err: errors.New("denied")}, false, true, true},
		"a chart failed":    {route, &cluster.ReleasesError{}, true, true, false},
	} {
		if got := usable(tc.res, tc.err); got != tc.usable {
			t.Errorf("%s: usable is %v", name, got)
		}
		h := &charts{file: "d.yaml", begun: tc.begun}
		if got := strings.Contains(h.leftOut(tc.res, tc.err, "a b.tar.gz"), "poolhouse cluster apply -f d.yaml 'a b.tar.gz'"); got != tc.leftOut {
			t.Errorf("%s: told to install charts: %v", name, got)
		}
	}
}

// TestValuesAreReadOnce: values are refused before a run begins, all of them at once.
func TestValuesAreReadOnce(t *testing.T) {
	t.Parallel()
	c := []string{"a", "b"}
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	_, err := valuesTexts([]string{"a=" + file("list", "- x"), "b=" + file("torn", "x: [")}, c, "us-east-1")
	if err == nil || !strings.Contains(err.Error(), "values of a") || !strings.Contains(err.Error(), "values of b") {
		t.Errorf("got %v", err)
	}
	if ExitCode(err) != Usage {
		t.Errorf("exit code %d", ExitCode(err))
	}
	whole := file("whole", "x: ${storage.Later}")
	texts, err := valuesTexts([]string{"a=" + whole}, c, "us-east-1")
	if err := errors.Join(err, os.Remove(whole)); err != nil {
		t.Fatal(err)
	}
	values, err := valuesOf(texts, nil)
	if err == nil || !strings.Contains(err.Error(), "${storage.Later} is no output") {
		t.Errorf("values %v, %v", values, err)
	}
}

// TestValuesLieOver: what is given for a chart lies over the settings of a rehearsal as a
// second file of values does for Helm: maps key by key, all else as a whole.
func TestValuesLieOver(t *testing.T) {
	t.Parallel()
	texts := valuesLayers{"poolhouse-platform": {[]byte("coreApi: {replicas: 3}\nprobes: {startup: /mine}\ndatabaseSetup: {args: [one], deadline: 9}\n")}}
	settle(texts, []string{"postgres"})
	texts.under("poolhouse-platform", "databaseSetup: {args: [one, two], env: {A: a}}\n")
	got, err := valuesOf(texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"poolhouse-platform": {
			"drain": uint64(3), "coreApi": map[string]any{"replicas": uint64(3)}, "probes": map[string]any{"startup": "/mine"},
			"databaseSetup": map[string]any{"enabled": false, "args": []any{"one"}, "deadline": uint64(9), "env": map[string]any{"A": "a"}},
		},
		"poolhouse-inference": {"drain": uint64(3)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// A null takes a setting away, down to the chart's own.
	texts = valuesLayers{"poolhouse-inference": {[]byte("drain: null\n")}}
	settle(texts, []string{"postgres"})
	if got, err := valuesOf(texts, nil); err != nil || !cmp.Equal(got["poolhouse-inference"], map[string]any{"drain": nil}) {
		t.Errorf("%v, %v", got, err)
	}
}
