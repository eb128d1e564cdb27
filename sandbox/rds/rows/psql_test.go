package rows_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

func seed(s *sandbox.Sandbox, id string) error {
	return s.Account().Do(func(tx *account.Tx) error {
		rds.SeedSnapshot(tx, id, "17", "owner", 20, "")
		return nil
	})
}

// client is psql, and an instance that it can reach.
type client struct {
	*world
	authority *front.Authority
	ca        string // the file of the authority's certificate
}

func newClient(t *testing.T) *client {
	t.Helper()
	if os.Getenv("POOLHOUSE_POSTGRES") == "" {
		t.Skip("POOLHOUSE_POSTGRES names no folder of PostgreSQL's programs, psql among them: apt-get install postgresql, then POOLHOUSE_POSTGRES=/usr/lib/postgresql/15/bin")
	}
	program, err := plane.Program(t.Context(), "postgres", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{ca: filepath.Join(t.TempDir(), "ca.pem")}
	if c.authority, err = front.NewAuthority(time.Now); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.ca, c.authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	lag := func(ctx context.Context, instance string, bytes int, begin bool) error {
		return c.box.Faults().LagOfDatabase(ctx, instance, bytes, begin)
	}
	c.world = newWorld(t, program, rows.Options{Lag: lag, Certificate: func(name string) (cert, key []byte, err error) {
		issued, err := c.authority.Certificate(name)
		if err != nil {
			return nil, nil, err
		}
		for _, der := range issued.Certificate {
			cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		der, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
		return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
	}})
	c.pass(time.Hour)
	return c
}

func (c *client) instance() (endpoint, secret string) {
	out, err := c.c.DescribeDBInstances(c.t.Context(), &sdk.DescribeDBInstancesInput{})
	c.must(err)
	i := out.DBInstances[0]
	if i.MasterUserSecret != nil {
		secret = *i.MasterUserSecret.SecretArn
	}
	return *i.Endpoint.Address, secret
}

func (c *client) password(secret string) string {
	out, err := secretsmanager.NewFromConfig(testkit.Config(c.box)).GetSecretValue(c.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &secret})
	c.must(err)
	_, p, _ := strings.Cut(*out.SecretString, `"password":"`)
	p, _, _ = strings.Cut(p, `"`)
	return p
}

// command is psql with a statement.
func (c *client) command(mode, password, sql string) *exec.Cmd {
	name, _ := c.instance()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(os.Getenv("POOLHOUSE_POSTGRES"), "psql"), "-XAtqc", sql, fmt.Sprintf("host=%s dbname=app user=owner sslmode=%s sslrootcert=%s connect_timeout=5", name, mode, c.ca))
	cmd.Env = []string{"PGHOSTADDR=" + c.rows.Address(name).String(), "PGPASSWORD=" + password, "HOME=" + filepath.Dir(c.ca)}
	return cmd
}

func (c *client) try(mode, password, sql string) (string, error) {
	out, err := c.command(mode, password, sql).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// eventually wants an answer within a minute: the server follows some tenths of a
// second behind.
func (c *client) eventually(what, password, sql, want string) {
	c.t.Helper()
	var got string
	var err error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		if got, err = c.try("verify-full", password, sql); err == nil && got == want {
			return
		}
	}
	c.t.Fatalf("%s: got %q, %v, want %q", what, got, err, want)
}

// psql, as it is, reaches an instance by its endpoint's name with verify-full and
// the password in the managed secret, and is refused without TLS; rows outlive a
// failover, the rotation of the password, a stop, and the instance itself in its
// last snapshot.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html
func TestPsql(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	w, ctx := c.world, t.Context()
	instance, password, try, eventually := c.instance, c.password, c.try, c.eventually
	_, secret := instance()
	first := password(secret)
	eventually("available", first, "CREATE TABLE IF NOT EXISTS t (x int); TRUNCATE t; INSERT INTO t SELECT generate_series(1, 500); SELECT count(*) FROM t", "500")
	if out, err := try("disable", first, "SELECT 1"); err == nil || !strings.Contains(out, "no encryption") {
		t.Errorf("without TLS: %q, %v", out, err)
	}
	if out, err := try("verify-full", "wrong", "SELECT 1"); err == nil || !strings.Contains(out, "password authentication failed") {
		t.Errorf("a wrong password: %q, %v", out, err)
	}

	name, _ := instance()
	before := w.rows.Address(name)
	_, err := w.c.RebootDBInstance(ctx, &sdk.RebootDBInstanceInput{DBInstanceIdentifier: aws.String("db"), ForceFailover: aws.Bool(true)})
	w.must(err)
	w.pass(5 * time.Minute)
	for until := time.Now().Add(time.Minute); w.rows.Address(name) == before; {
		if time.Now().After(until) {
			t.Fatal("the address stays")
		}
	}
	eventually("failed over", first, "SELECT count(*) FROM t", "500")

	_, err = secretsmanager.NewFromConfig(testkit.Config(w.box)).RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &secret})
	w.must(err)
	w.pass(time.Minute)
	second := password(secret)
	if second == first {
		t.Fatal("the password stays")
	}
	eventually("rotated", second, "SELECT count(*) FROM t", "500")
	if out, err := try("verify-full", first, "SELECT 1"); err == nil {
		t.Errorf("the former password is taken: %q", out)
	}

	_, err = w.c.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("db"), FinalDBSnapshotIdentifier: aws.String("last")})
	w.must(err)
	w.pass(time.Hour)
	_, err = w.c.RestoreDBInstanceFromDBSnapshot(ctx, &sdk.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: aws.String("db"), DBSnapshotIdentifier: aws.String("last"), DBSubnetGroupName: aws.String("g"), DBInstanceClass: aws.String("db.m7g.large"), DBParameterGroupName: aws.String("p")})
	w.must(err)
	w.pass(time.Hour)
	eventually("restored", second, "SELECT count(*) FROM t", "500")
}
