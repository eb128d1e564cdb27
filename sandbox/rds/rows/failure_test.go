package rows_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/front"
)

// fails has a fault begin, and returns for how long it has had answers be late.
func (c *client) fails(text string) (slept *atomic.Int64) {
	c.t.Helper()
	known, err := sandbox.Known(c.box.Region())
	c.must(err)
	plan, err := fault.Parse("faults.yaml", []byte("faults: [{id: a, "+text+"}]"), known)
	c.must(err)
	slept = new(atomic.Int64)
	c.box.Break(fault.New(plan, fault.Options{Sleep: func(_ context.Context, d time.Duration) error {
		slept.Add(int64(d))
		return nil
	}}))
	return slept
}

// until tries until psql says something, for a minute.
func (c *client) until(what, password, sql, want string) {
	c.t.Helper()
	var got string
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		if got, _ = c.try("verify-full", password, sql); strings.Contains(got, want) {
			return
		}
	}
	c.t.Fatalf("%s: psql says %q, want %q", what, got, want)
}

// session is a psql that goes on until its connection is cut.
type session struct{ said *bufio.Reader }

// open returns once psql is connected.
func (c *client) open(password string) *session {
	c.t.Helper()
	cmd := c.command("verify-full", password, "SELECT 'connected'")
	// Two statements: the first is answered before the second ends.
	cmd.Args = append([]string{cmd.Args[0], "-XAtq", "-c", "SELECT 'connected'", "-c", "SELECT pg_sleep(600)"}, cmd.Args[len(cmd.Args)-1])
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	c.must(cmd.Start())
	go func() {
		_ = cmd.Wait() // its output says how it ended
		_ = w.Close()
	}()
	s := &session{bufio.NewReader(r)}
	if line, err := s.said.ReadString('\n'); err != nil || line != "connected\n" {
		c.t.Fatalf("psql says %q, %v", line, err)
	}
	return s
}

// rest is what psql says until it ends.
func (s *session) rest(t *testing.T) string {
	t.Helper()
	text, err := io.ReadAll(s.said)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// psql sees what it would see on AWS when things fail: its connection is lost
// in a crash and in a failover, rows that were committed are there
// afterwards, a full disk refuses more of them with PostgreSQL's own words, a slow
// server answers late, and a certificate that is not right is refused.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Failover.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Troubleshooting.html#CHAP_Troubleshooting.Storage
func TestPsqlThroughFailures(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	_, secret := c.instance()
	password := c.password(secret)
	c.eventually("available", password, "CREATE TABLE IF NOT EXISTS t (x int); TRUNCATE t; INSERT INTO t SELECT generate_series(1, 500); SELECT count(*) FROM t", "500")

	for _, text := range []string{"crash: {server: database}", "failover: {database: db}"} {
		s := c.open(password)
		name, _ := c.instance()
		before := c.rows.Address(name)
		c.fails(text)
		if said := s.rest(t); !strings.HasSuffix(said, "connection to server was lost\n") || strings.Contains(said, "administrator command") {
			t.Errorf("%s: psql, which was connected, says %q", text, said)
		}
		if _, err := c.try("verify-full", password, "SELECT 1"); err == nil {
			t.Errorf("%s: it answers meanwhile", text)
		}
		c.pass(5 * time.Minute)
		c.eventually(text, password, "SELECT count(*) FROM t", "500")
		if moved := c.rows.Address(name) != before; moved != strings.HasPrefix(text, "failover") {
			t.Errorf("%s: it is at another address: %v", text, moved)
		}
	}

	c.fails("for: 10m, full: {}")
	c.until("full", password, "BEGIN; INSERT INTO t VALUES (0); ROLLBACK", "No space left on device\nHINT:  Check free disk space.")
	if got, err := c.try("verify-full", password, "SELECT count(*) FROM t"); err != nil || got != "500" {
		t.Errorf("full, it has %s rows, %v", got, err)
	}
	c.pass(11 * time.Minute)
	c.eventually("with space again", password, "INSERT INTO t VALUES (0); SELECT count(DISTINCT x) FROM t", "501")

	slept := c.fails("lag: {server: database, database: d*, delay: 1h}")
	c.eventually("slow", password, "SELECT 1", "1")
	// TLS is asked for, shaken, a password proved by two messages, a row asked for.
	if slept := time.Duration(slept.Load()); slept < 5*time.Hour {
		t.Errorf("a slow database, each of whose answers is an hour late, took %s", slept)
	}
	slept = c.fails("lag: {server: database, database: other, delay: 1h}")
	c.eventually("not slow", password, "SELECT 1", "1")
	if slept := time.Duration(slept.Load()); slept != 0 {
		t.Errorf("a database that isn't slow took %s", slept)
	}

	for wrong, want := range map[front.Wrong]string{
		front.Expired: "certificate verify failed", front.Name: `server certificate for "another.invalid" does not match host name`, front.Unknown: "certificate verify failed",
	} {
		c.authority.Spoil(func([]string) front.Wrong { return wrong })
		c.until(string(wrong), password, "SELECT 1", want)
		c.authority.Spoil(func([]string) front.Wrong { return front.Right })
		c.eventually("right again", password, "SELECT 1", "1")
	}
}
