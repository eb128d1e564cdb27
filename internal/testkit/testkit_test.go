package testkit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// recorder is a testing.TB that keeps what it is told.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Errorf(format string, _ ...any) { r.errors = append(r.errors, format) }
func (r *recorder) Fatalf(format string, _ ...any) { r.errors = append(r.errors, "fatal: "+format) }

func TestGolden(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.golden")
	if err := os.WriteFile(path, []byte("a\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, got string
		errors    int
	}{
		{"equal", "a\nb\n", 0},
		{"other", "a\nc\n", 1},
	} {
		r := &recorder{TB: t}
		testkit.Golden(r, path, []byte(c.got))
		if len(r.errors) != c.errors {
			t.Errorf("%s: got %q", c.name, r.errors)
		}
	}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	client := http.Client{Transport: testkit.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Host", r.Host)
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(append(body, '!'))
	})}}
	resp, err := client.Post("http://somewhere.invalid/x", "text/plain", strings.NewReader("hi"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hi!" || resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Host") != "somewhere.invalid" {
		t.Errorf("got %d %q %v %v", resp.StatusCode, body, resp.Header, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://somewhere.invalid/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled request: %v", err)
	}
}

// TestRetries shows that SDK clients back off on virtual time and leave nothing
// running.
func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
			if calls++; calls < 3 {
				return account.Errorf("ThrottlingException", "Rate exceeded")
			}
			return nil
		}})
		start := time.Now()
		if _, err := ssm.NewFromConfig(testkit.Config(s)).DescribeParameters(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if calls != 3 || time.Since(start) == 0 {
			t.Errorf("%d calls in %v", calls, time.Since(start))
		}
	})
}

func TestDumps(t *testing.T) {
	t.Parallel()
	dump := func(change func(*account.Tx)) []byte {
		a := account.New(&account.Model{}, account.Options{Now: time.Now})
		if err := a.Do(func(tx *account.Tx) error {
			for _, id := range []string{"same", "changed", "gone"} {
				tx.Put(&account.Resource{Type: "T", ID: id, Status: "ok", Props: map[string]any{"A": map[string]any{"B": []any{1, "x"}}}, Data: map[string]any{"at": tx.Now()}})
			}
			change(tx)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return testkit.Dump(a)
	}
	before := dump(func(*account.Tx) {})
	after := dump(func(tx *account.Tx) {
		tx.Drop("T", "gone")
		tx.Put(&account.Resource{Type: "T", ID: "new"})
		tx.Get("T", "changed").Props["A"] = map[string]any{"B": []any{1, "y"}}
	})
	want := "  T changed\n-  props.A.B[1] = x\n+  props.A.B[1] = y\n- T gone\n+ T new\n"
	if diff := cmp.Diff(want, testkit.DiffDumps(before, after)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := testkit.DiffDumps(before, dump(func(*account.Tx) {})); diff != "" {
		t.Errorf("equal accounts differ:\n%s", diff)
	}
}
