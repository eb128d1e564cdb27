package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// rehearsedData is what a rehearsal says of data.
func rehearsedData(t *testing.T, args ...string) rehearse.Data {
	t.Helper()
	var out, errs bytes.Buffer
	if code := cli.Run(t.Context(), append([]string{"rehearse", "--output", "json", "../../examples/evaluation.yaml"}, args...), cli.Streams{Out: &out, Err: &errs}); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &errs)
	}
	var report struct{ Data rehearse.Data }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	return report.Data
}

// Where servers of objects and of rows are at hand, a rehearsal sends some through
// them; where they aren't, it says so, and what brings them.
func TestRehearsalOfData(t *testing.T) {
	t.Run("without servers", func(t *testing.T) {
		d := rehearsedData(t, "--without", "s3,postgres")
		if len(d.Rehearsed) > 0 || strings.Join(d.NotRehearsed, "; ") != "sign-on: poolhouse sandbox --for FILE has users sign in; objects (--without s3); rows (--without postgres)" {
			t.Errorf("%+v", d)
		}
	})
	t.Run("with servers", func(t *testing.T) {
		if os.Getenv("POOLHOUSE_PLANE_S3") == "" || os.Getenv("POOLHOUSE_POSTGRES") == "" {
			t.Skip("POOLHOUSE_PLANE_S3 and POOLHOUSE_POSTGRES are not set: see the tests of objects and of databases")
		}
		program, err := plane.Program(t.Context(), "postgres", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("POOLHOUSE_PLANE_POSTGRES", program)
		d := rehearsedData(t)
		if len(d.Rehearsed) != 2 || !strings.HasPrefix(d.Rehearsed[0], "an object written and read in 5 buckets, in ") || !strings.HasPrefix(d.Rehearsed[1], "a row written and read, after a failover and from a snapshot, in ") || len(d.NotRehearsed) != 1 {
			t.Errorf("%+v", d)
		}
	})
}

// A word that leaves nothing out is refused.
func TestRehearsalWithoutNothing(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := cli.Run(t.Context(), []string{"rehearse", "--without", "oidc", "../../examples/evaluation.yaml"}, cli.Streams{Out: &out, Err: &errs}); code != cli.Usage || !strings.Contains(errs.String(), "--without oidc is none of: s3, postgres") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
