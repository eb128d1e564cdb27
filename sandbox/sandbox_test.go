package sandbox_test

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// TestImports holds the sandbox to its independence: it imports no package of
// the product.
func TestImports(t *testing.T) {
	t.Parallel()
	const module = "github.com/poolhouse/poolhouse/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages++
		for _, imported := range fields[1:] {
			if strings.HasPrefix(imported, module) && !strings.HasPrefix(imported, module+"sandbox") {
				t.Errorf("%s imports %s", fields[0], imported)
			}
		}
	}
	if packages < 5 {
		t.Errorf("looked at %d packages only", packages)
	}
}

func TestCaller(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testkit.Sandbox(t, sandbox.Options{Region: "eu-west-1", AccountID: "111122223333"})
	who, err := sts.NewFromConfig(testkit.Config(s)).GetCallerIdentity(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Account != "111122223333" || *who.Arn != "arn:aws:sts::111122223333:assumed-role/Administrator/sandbox" {
		t.Errorf("got %s %s", *who.Account, *who.Arn)
	}
	role, err := iam.NewFromConfig(testkit.Config(s)).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("Administrator")})
	if err != nil {
		t.Fatal(err)
	}
	if want := *role.Role.RoleId + ":sandbox"; *who.UserId != want {
		t.Errorf("user id %s, want %s", *who.UserId, want)
	}
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{Principals: []sandbox.Principal{{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "x", SessionToken: "token", ARN: "arn:aws:iam::123456789012:user/alice"}}})
	who, err := sts.NewFromConfig(testkit.Config(s)).GetCallerIdentity(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != "arn:aws:iam::123456789012:user/alice" || !strings.HasPrefix(*who.UserId, "AIDA") {
		t.Errorf("got %s %s", *who.Arn, *who.UserId)
	}
	for _, r := range s.Account().Resources() {
		if r.ID == sandbox.AdministratorRole {
			t.Error("a role was made that no principal needs")
		}
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := testkit.Sandbox(t, sandbox.Options{})
		start := testkit.Dump(s.Account())
		create := func(s *sandbox.Sandbox, name string) {
			t.Helper()
			if _, err := iam.NewFromConfig(testkit.Config(s)).CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trustEC2)}); err != nil {
				t.Fatal(err)
			}
		}
		create(s, "before")
		fork := s.Clone(nil)
		if diff := testkit.DiffDumps(testkit.Dump(s.Account()), testkit.Dump(fork.Account())); diff != "" {
			t.Errorf("a fork differs at once:\n%s", diff)
		}
		create(fork, "in-fork")
		create(s, "in-original")
		want := "- AWS::IAM::Role in-original\n+ AWS::IAM::Role in-fork\n"
		got := testkit.DiffDumps(testkit.Dump(s.Account()), testkit.Dump(fork.Account()))
		if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
			t.Errorf("forks, -want +got:\n%s", diff)
		}
		if err := s.Account().Do(func(tx *account.Tx) error {
			for _, id := range []string{"before", "in-original"} {
				if _, err := tx.Delete(tx.Get("AWS::IAM::Role", id), true); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		later := s.Clone(nil)
		time.Sleep(time.Minute)
		for name, a := range map[string]*sandbox.Sandbox{"original": s, "fork with deletions in flight": later} {
			if diff := testkit.DiffDumps(start, testkit.Dump(a.Account())); diff != "" {
				t.Errorf("%s differs from the start:\n%s", name, diff)
			}
		}
	})
}

// away are bodies that are somewhere else, each its own name.
type away struct{ s3.InAccount }

func (away) Get(_ context.Context, b s3.Body, _, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(b.Name)), nil
}

// A copy's account goes by what the copy was given: its load balancers and its bodies;
// the original by its own.
func TestCloneWith(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	fork := s.CloneWith(func(o *sandbox.Options) {
		o.Objects = away{}
		o.TargetHealth = func(group string) map[string]account.Health {
			return map[string]account.Health{group: {State: "healthy"}}
		}
	})
	for name, want := range map[string]struct {
		box  *sandbox.Sandbox
		seen string
	}{"original": {s, " "}, "copy": {fork, "healthy body"}} {
		if err := want.box.Account().Do(func(tx *account.Tx) error {
			text, err := tx.Body("body", 4)
			if got := tx.TargetHealth("g")["g"].State + " " + text; got != want.seen || (err != nil) != (name == "original") {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func sorted(s string) map[string]bool {
	m := map[string]bool{}
	for l := range strings.Lines(s) {
		m[l] = true
	}
	return m
}
