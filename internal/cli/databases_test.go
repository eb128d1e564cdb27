package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// A sandbox in a process of its own has rows behind a database: psql reaches it
// by the endpoint's name, at the address that the sandbox's DNS answers, with the
// certificate of its authority and the password in the managed secret. Killed, it
// leaves no server and no folder behind.
func TestSandboxDatabaseHoldsRows(t *testing.T) {
	programs := os.Getenv("POOLHOUSE_POSTGRES")
	if programs == "" {
		t.Skip("POOLHOUSE_POSTGRES names no folder of PostgreSQL's programs, psql among them: apt-get install postgresql, then POOLHOUSE_POSTGRES=/usr/lib/postgresql/15/bin")
	}
	ctx := t.Context()
	// A folder that the user postgres can get into, and nobody else writes to.
	temporary, err := os.MkdirTemp("", "rows")
	if err == nil {
		err = os.Chmod(temporary, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	t.Setenv("TMPDIR", temporary)
	k := startKept(t, "--speed", "3000")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, &k.stderr)
		}
	}
	nets, err := k.aws.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	must(err)
	var subnets []string
	for _, s := range nets.Subnets {
		subnets = append(subnets, *s.SubnetId)
	}
	db := k.aws.RDS
	_, err = db.CreateDBSubnetGroup(ctx, &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: aws.String("g"), DBSubnetGroupDescription: aws.String("d"), SubnetIds: subnets})
	must(err)
	_, err = db.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("db"), Engine: aws.String("postgres"), DBInstanceClass: aws.String("db.m7g.large"), AllocatedStorage: aws.Int32(20),
		DBSubnetGroupName: aws.String("g"), MasterUsername: aws.String("owner"), ManageMasterUserPassword: aws.Bool(true), DBName: aws.String("app"),
	})
	must(err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	res, err := http.Get(k.said.CA)
	must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(err)
	must(os.WriteFile(ca, text, 0o600))
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, k.said.DNS)
	}}
	var got bytes.Buffer
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
		out, err := db.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{})
		must(err)
		i := out.DBInstances[0]
		if *i.DBInstanceStatus != "available" {
			<-time.After(100 * time.Millisecond) // the sandbox is a process of its own
			continue
		}
		address, err := names.LookupHost(ctx, *i.Endpoint.Address+".")
		must(err)
		secret, err := k.aws.SecretsManager.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: i.MasterUserSecret.SecretArn})
		must(err)
		var content struct{ Password string }
		must(json.Unmarshal([]byte(*secret.SecretString), &content))
		got.Reset()
		psql := exec.CommandContext(ctx, filepath.Join(programs, "psql"), "-XAtqc", "CREATE TABLE t (x int); INSERT INTO t VALUES (1), (2); SELECT sum(x) FROM t", "host="+*i.Endpoint.Address+" dbname=app user=owner sslmode=verify-full connect_timeout=5 sslrootcert="+ca)
		psql.Env = []string{"PGHOSTADDR=" + address[0], "PGPASSWORD=" + content.Password, "HOME=" + filepath.Dir(ca)}
		psql.Stdout, psql.Stderr = &got, &got
		if psql.Run() == nil && strings.TrimSpace(got.String()) == "3" {
			k.kill()
			gone(t, net.JoinHostPort(address[0], "5432"), temporary)
			return
		}
	}
	t.Errorf("psql says %s\n%s", &got, &k.stderr)
}

// gone waits until nobody answers at an address and a folder has no
// temporary folder of a data plane.
func gone(t *testing.T, address, dir string) {
	t.Helper()
	var left []string
	var err error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			_ = c.Close()
			continue
		}
		if left, err = filepath.Glob(filepath.Join(dir, "poolhouse-plane-*")); err == nil && len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind by a sandbox that was killed: %s, %v", left, err)
}
