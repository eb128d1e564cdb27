package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/poolhouse/poolhouse/planes/postgres"
)

// refusal is the code of PostgreSQL's refusal, "" for none.
func refusal(t *testing.T, c *pgx.Conn, sql string) string {
	t.Helper()
	_, err := c.Exec(t.Context(), sql)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code + " " + e.Message
	}
	if err != nil {
		t.Errorf("%s: %v", sql, err)
	}
	return ""
}

// A full database answers, lets rows be read and deleted, and refuses others as
// PostgreSQL does without space; it stays full when it starts again, and once it
// has space it is as before. A crash cuts connections without a word, and loses
// nothing that was committed.
func TestFailures(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	w := serve(t, folder(t))
	d := postgres.Database{ID: "db-A", Running: true, Address: free(t, "127.0.0.1"), User: "owner", Password: "secret", Name: "app", ForceTLS: true, Certificate: cert, Key: key}
	w.state.Databases = []postgres.Database{d}
	bring := func() {
		t.Helper()
		w.state.Databases[0] = d
		w.bring("")
	}
	bring()
	if n := rows(t, d, pool, "CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)"); n != 1000 {
		t.Fatalf("%d rows", n)
	}
	open := func() *pgx.Conn {
		t.Helper()
		c, err := dial(t.Context(), d, d.Password, pool)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(t.Context()) })
		return c
	}
	full := func(c *pgx.Conn) {
		t.Helper()
		for _, sql := range []string{"INSERT INTO t VALUES (0)", "UPDATE t SET x = 2", "CREATE TABLE u (x int)", "CREATE INDEX i ON t (x)"} {
			if got := refusal(t, c, sql); !strings.HasPrefix(got, "53100 could not ") || !strings.HasSuffix(got, ": No space left on device") {
				t.Errorf("%s on a full disk: %q", sql, got)
			}
		}
	}
	c := open()
	d.Full = true
	bring()
	full(c)
	if got := refusal(t, c, "SELECT * FROM t; DELETE FROM t WHERE x = 1"); got != "" {
		t.Errorf("reading and deleting on a full disk: %s", got)
	}

	d.Starts, d.Abruptly = 1, true
	bring()
	var said *pgconn.PgError
	if err := c.Ping(t.Context()); err == nil || errors.As(err, &said) && said.Code == "57P01" {
		t.Errorf("a connection over a crash: %v", err)
	}
	full(open())

	d.Full = false
	bring()
	c = open()
	if got := refusal(t, c, "INSERT INTO t VALUES (0); CREATE TABLE u (x int); DROP TABLE u"); got != "" {
		t.Errorf("with space again: %s", got)
	}
	if n := rows(t, d, pool, ""); n != 1000 {
		t.Errorf("%d rows in the end", n)
	}
	if got := refusal(t, c, "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM pg_trigger) AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname LIKE 'poolhouse%'); END $$"); got != "" {
		t.Errorf("something is left: %s", got)
	}

	// A planned start says so.
	d.Starts, d.Abruptly = 2, false
	bring()
	if err := c.Ping(t.Context()); !errors.As(err, &said) || said.Code != "57P01" {
		t.Errorf("a connection over a reboot: %v", err)
	}
}
