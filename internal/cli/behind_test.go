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
		d := rehearsedData(t, "--without", "s3,postgres,oidc")
		if len(d.Rehearsed) > 0 || strings.Join(d.NotRehearsed, "; ") != "objects (--without s3); rows (--without postgres); sign-on (--without oidc)" {
			t.Errorf("%+v", d)
		}
	})
	t.Run("with servers", func(t *testing.T) {
		if os.Getenv("POOLHOUSE_PLANE_S3") == "" || os.Getenv("POOLHOUSE_POSTGRES") == "" {
			t.Skip("POOLHOUSE_PLANE_S3 and POOLHOUSE_POSTGRES are not set: see the tests of objects and of databases")
		}
		for _, name := range []string{"postgres", "oidc"} {
			program, err := plane.Program(t.Context(), name, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("POOLHOUSE_PLANE_"+strings.ToUpper(name), program)
		}
		d := rehearsedData(t)
		if len(d.Rehearsed) != 3 || !strings.HasPrefix(d.Rehearsed[0], "an object written and read in 5 buckets, in ") || !strings.HasPrefix(d.Rehearsed[1], "a row written and read, after a failover and from a snapshot, in ") || !strings.HasPrefix(d.Rehearsed[2], signedOn) || len(d.NotRehearsed) != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// signedOn is what a rehearsal of the example says of users.
const signedOn = "users signed in at poolside.example.com and admin.poolside.example.com, by "

// Users sign in also where nothing else is at hand.
func TestRehearsalOfSignOn(t *testing.T) {
	if os.Getenv("POOLHOUSE_POSTGRES") == "" {
		t.Skip("POOLHOUSE_POSTGRES is not set, so servers are not built: see the tests of databases")
	}
	program, err := plane.Program(t.Context(), "oidc", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("POOLHOUSE_PLANE_OIDC", program)
	d := rehearsedData(t, "--without", "s3,postgres")
	if len(d.Rehearsed) != 1 || !strings.HasPrefix(d.Rehearsed[0], signedOn) || strings.Join(d.NotRehearsed, "; ") != "objects (--without s3); rows (--without postgres)" {
		t.Errorf("%+v", d)
	}
}

// A word that leaves nothing out is refused.
func TestRehearsalWithoutNothing(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := cli.Run(t.Context(), []string{"rehearse", "--without", "ecr", "../../examples/evaluation.yaml"}, cli.Streams{Out: &out, Err: &errs}); code != cli.Usage || !strings.Contains(errs.String(), "--without ecr is none of: s3, postgres, oidc") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
