package rows_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

// TestMain makes this program the data plane of its own tests.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == childName {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// childName is what this program is called as the data plane.
const childName = "rows-child"

// ownChild is this program by that name.
func ownChild(t *testing.T) string {
	t.Helper()
	own, err := os.Executable()
	name := filepath.Join(t.TempDir(), childName)
	if err == nil {
		err = os.Symlink(own, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// child keeps the last state that it was asked for in a file, and has rows of no
// snapshot whose database it hasn't seen.
func child() int {
	in := bufio.NewReader(os.Stdin)
	var s struct {
		Config struct{ Token string }
		Dir    string
	}
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &s) != nil {
		return 2
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 2
	}
	seen := map[string]bool{}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+s.Config.Token {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(r.Body)
		var want state
		if err != nil || json.Unmarshal(body, &want) != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		out := map[string]any{}
		var absent []string
		for _, x := range want.Snapshots {
			if !seen[x.Of] {
				absent = append(absent, x.ID)
			}
		}
		for _, d := range want.Databases {
			seen[d.ID] = true
		}
		if absent != nil {
			out["absent"] = absent
		}
		part := filepath.Join(s.Dir, "part")
		if err := errors.Join(os.WriteFile(part, body, 0o600), os.Rename(part, filepath.Join(s.Dir, "asked"))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})}
	fmt.Printf(`{"addresses": {"control": %q}}`+"\n", l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	_ = server.Serve(l)
	return 0
}

type state struct {
	Databases []struct {
		ID, From, Address, User, Password, Name, Certificate, Key string
		Running, ForceTLS                                         bool
	}
	Snapshots []struct{ ID, Of string }
}

type world struct {
	t    *testing.T
	box  *sandbox.Sandbox
	c    *sdk.Client
	dir  string
	rows *rows.Databases

	mu  sync.Mutex
	now time.Time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// newWorld is an account with an instance that is being made.
func newWorld(t *testing.T, program string, o rows.Options) *world {
	t.Helper()
	w := &world{t: t, dir: o.Dir, now: time.Now()}
	w.box = testkit.Sandbox(t, sandbox.Options{Now: func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}})
	w.c = sdk.NewFromConfig(testkit.Config(w.box))
	vpc := testkit.MustCreate(t, w.box, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"})
	var subnets []any
	for i, z := range []string{"us-east-1a", "us-east-1b"} {
		subnets = append(subnets, testkit.MustCreate(t, w.box, "AWS::EC2::Subnet", map[string]any{"VpcId": vpc.ID, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z}).ID)
	}
	testkit.MustCreate(t, w.box, "AWS::RDS::DBSubnetGroup", map[string]any{"DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d", "SubnetIds": subnets})
	testkit.MustCreate(t, w.box, "AWS::RDS::DBParameterGroup", map[string]any{"DBParameterGroupName": "p", "Family": "postgres17", "Description": "d", "Parameters": map[string]any{"rds.force_ssl": "1"}})
	_, err := w.c.CreateDBInstance(t.Context(), &sdk.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("db"), Engine: aws.String("postgres"), EngineVersion: aws.String("17"), DBInstanceClass: aws.String("db.m7g.large"), AllocatedStorage: aws.Int32(20), MultiAZ: aws.Bool(true),
		DBSubnetGroupName: aws.String("g"), DBParameterGroupName: aws.String("p"), MasterUsername: aws.String("owner"), ManageMasterUserPassword: aws.Bool(true), DBName: aws.String("app"), BackupRetentionPeriod: aws.Int32(0),
	})
	w.must(err)
	o.Program = func(context.Context) (string, error) { return program, nil }
	if o.Report == nil {
		o.Report = func(err error) { t.Error(err) }
	}
	if w.rows, err = rows.Run(t.Context(), w.box.Account(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.rows.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a state that the plane was asked for.
func (w *world) until(what string, is func(state) bool) (s state) {
	w.t.Helper()
	var body []byte
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		var err error
		if body, err = os.ReadFile(filepath.Join(w.dir, "asked")); err != nil {
			continue
		}
		s = state{}
		if json.Unmarshal(body, &s) == nil && is(s) {
			return s
		}
	}
	w.t.Fatalf("%s: the plane was asked for %s", what, body)
	return s
}

func pems(name string) (cert, key []byte, err error) {
	return []byte("cert " + name), []byte("key"), nil
}

// What stands behind instances follows them: it is made while they are being
// made, serves while they are available, moves with a failover, has the password
// in their secret and TLS as their parameters say, and goes with them; snapshots
// outlive it.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
func TestServersFollowInstances(t *testing.T) {
	t.Parallel()
	program := ownChild(t)
	w := newWorld(t, program, rows.Options{Dir: t.TempDir(), Certificate: pems})
	ctx := t.Context()
	made := w.until("while it is made", func(s state) bool { return len(s.Databases) == 1 && !s.Databases[0].Running }).Databases[0]
	w.pass(time.Hour)
	up := w.until("available", func(s state) bool { return s.Databases[0].Running }).Databases[0]
	if up.ID != made.ID || up.User != "owner" || up.Name != "app" || !up.ForceTLS || up.Password == "" {
		t.Errorf("got %+v", up)
	}
	out, err := w.c.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{})
	w.must(err)
	i := out.DBInstances[0]
	if up.Certificate != "cert "+*i.Endpoint.Address || up.Address != w.rows.Address(*i.Endpoint.Address).String()+":5432" {
		t.Errorf("endpoint %s: got %+v, address %s", *i.Endpoint.Address, up, w.rows.Address(*i.Endpoint.Address))
	}

	_, err = w.c.RebootDBInstance(ctx, &sdk.RebootDBInstanceInput{DBInstanceIdentifier: aws.String("db"), ForceFailover: aws.Bool(true)})
	w.must(err)
	w.until("while it fails over", func(s state) bool { return !s.Databases[0].Running })
	w.pass(5 * time.Minute)
	w.until("failed over", func(s state) bool { return s.Databases[0].Running && s.Databases[0].Address != up.Address })

	_, err = secretsmanager.NewFromConfig(testkit.Config(w.box)).RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: i.MasterUserSecret.SecretArn})
	w.must(err)
	w.pass(time.Minute)
	w.until("rotated", func(s state) bool { return s.Databases[0].Password != up.Password })

	_, err = w.c.ModifyDBParameterGroup(ctx, &sdk.ModifyDBParameterGroupInput{DBParameterGroupName: aws.String("p"), Parameters: []types.Parameter{{ParameterName: aws.String("rds.force_ssl"), ParameterValue: aws.String("0"), ApplyMethod: types.ApplyMethodImmediate}}})
	w.must(err)
	w.until("TLS is no longer forced", func(s state) bool { return !s.Databases[0].ForceTLS })

	_, err = w.c.StopDBInstance(ctx, &sdk.StopDBInstanceInput{DBInstanceIdentifier: aws.String("db")})
	w.must(err)
	w.until("stopped", func(s state) bool { return !s.Databases[0].Running })
	w.pass(10 * time.Minute)
	_, err = w.c.StartDBInstance(ctx, &sdk.StartDBInstanceInput{DBInstanceIdentifier: aws.String("db")})
	w.must(err)
	w.pass(10 * time.Minute)
	w.until("started", func(s state) bool { return s.Databases[0].Running })

	_, err = w.c.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("db"), FinalDBSnapshotIdentifier: aws.String("last")})
	w.must(err)
	w.pass(time.Hour)
	gone := w.until("deleted", func(s state) bool { return len(s.Databases) == 0 && len(s.Snapshots) == 1 })
	if gone.Snapshots[0].Of != up.ID {
		t.Errorf("the snapshot is of %s, the instance was %s", gone.Snapshots[0].Of, up.ID)
	}
	back, err := w.c.RestoreDBInstanceFromDBSnapshot(ctx, &sdk.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: aws.String("db"), DBSnapshotIdentifier: aws.String("last"), DBSubnetGroupName: aws.String("g")})
	w.must(err)
	if got := *back.DBInstance.DBInstanceClass; got != "db.m7g.large" {
		t.Errorf("restored, its class is %s, not that of the snapshot's instance", got)
	}
	w.pass(time.Hour)
	w.until("restored", func(s state) bool {
		return len(s.Databases) == 1 && s.Databases[0].Running && s.Databases[0].From == gone.Snapshots[0].ID && s.Databases[0].ID != up.ID
	})
}

// Without a program, such as where there is no PostgreSQL, that is said once, and
// the account goes on.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said []string
	told := make(chan struct{}, 9)
	dir := t.TempDir()
	w := newWorld(t, filepath.Join(dir, "none"), rows.Options{Dir: dir, Certificate: pems, Report: func(err error) {
		mu.Lock()
		said = append(said, err.Error())
		mu.Unlock()
		told <- struct{}{}
	}})
	<-told
	w.pass(time.Hour)
	out, err := w.c.DescribeDBInstances(t.Context(), &sdk.DescribeDBInstancesInput{})
	w.must(err)
	if got := *out.DBInstances[0].DBInstanceStatus; got != "available" {
		t.Errorf("the instance is %s", got)
	}
	w.must(w.rows.Close())
	if len(said) != 1 || !strings.Contains(said[0], "databases hold no rows") {
		t.Errorf("said %q", said)
	}
}

// An instance that is restored from a snapshot without rows, which was there
// before anybody kept some, begins empty.
func TestSnapshotWithoutRows(t *testing.T) {
	t.Parallel()
	program := ownChild(t)
	w := newWorld(t, program, rows.Options{Dir: t.TempDir(), Certificate: pems})
	w.until("an instance", func(s state) bool { return len(s.Databases) == 1 })
	w.must(seed(w.box, "old"))
	_, err := w.c.RestoreDBInstanceFromDBSnapshot(t.Context(), &sdk.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: aws.String("restored"), DBSnapshotIdentifier: aws.String("old"), DBSubnetGroupName: aws.String("g"), DBInstanceClass: aws.String("db.m7g.large")})
	w.must(err)
	w.pass(time.Hour)
	w.until("restored, without the snapshot that the server lacks", func(s state) bool {
		of := map[string]bool{}
		for _, d := range s.Databases {
			if of[d.ID] = true; d.From != "" {
				return false
			}
		}
		for _, x := range s.Snapshots { // a backup may be due in that hour
			if !of[x.Of] {
				return false
			}
		}
		return len(of) == 2
	})
}
