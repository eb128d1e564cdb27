package postgres_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/poolhouse/poolhouse/planes/postgres"
)

const endpoint = "db.c23456789012.us-east-1.rds.amazonaws.com"

// certificate is one for the endpoint, that is its own authority.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: endpoint}, DNSNames: []string{endpoint}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	c := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(c)
	return string(c), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb})), pool
}

// free is an address of the loopback network with a free port.
func free(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// folder is one that the user postgres can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

type world struct {
	t     *testing.T
	url   string
	state postgres.State
}

func serve(t *testing.T, dir string) *world {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- postgres.Serve(ctx, postgres.Config{Token: "secret"}, dir, "", func(a string) error {
			ready <- a
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-ready:
		return &world{t: t, url: "http://" + a}
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return nil
	}
}

// bring asks for the state and wants what can't be, by ids in one text.
func (w *world) bring(want string) {
	w.t.Helper()
	if got := w.ask(); want == "" && got != "" || !strings.Contains(got, want) {
		w.t.Errorf("can't be: %s, want %q", got, want)
	}
}

func (w *world) ask() string {
	w.t.Helper()
	b, err := json.Marshal(w.state)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.url, bytes.NewReader(b))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var out postgres.Outcome
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Fatalf("%s: %v", res.Status, err)
	}
	return strings.TrimPrefix(fmt.Sprint(out.Databases, out.Snapshots), "map[] map[]")
}

// dial connects as pgx does, by verify-full, or without TLS if there is no pool.
func dial(ctx context.Context, d postgres.Database, password string, pool *x509.CertPool) (*pgx.Conn, error) {
	host, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		return nil, err
	}
	c, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=app sslmode=disable", host, port, d.User))
	if err != nil {
		return nil, err
	}
	c.Password = password
	if pool != nil {
		c.TLSConfig = &tls.Config{RootCAs: pool, ServerName: endpoint}
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	return pgx.ConnectConfig(ctx, c)
}

// rows counts a table's, making it if asked to.
func rows(t *testing.T, d postgres.Database, pool *x509.CertPool, first string) (n int) {
	t.Helper()
	c, err := dial(t.Context(), d, d.Password, pool)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if first != "" {
		if _, err := c.Exec(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Rows outlive what they outlive on RDS: a stop, another address, the server's
// own end, a snapshot taken while they are written and its restore; and clients
// get in by password, and TLS where that is forced.
func TestDatabase(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	dir := folder(t)
	w := serve(t, dir)
	d := postgres.Database{
		ID: "db-A", Running: true, Address: free(t, "127.0.0.1"), User: "owner", Password: "it's \\ \"secret\"", Name: "app", ForceTLS: true, Certificate: cert, Key: key,
	}
	w.state.Databases = []postgres.Database{d}
	w.bring("")
	if n := rows(t, d, pool, "CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)"); n != 1000 {
		t.Fatalf("%d rows", n)
	}
	for what, x := range map[string]struct {
		d        postgres.Database
		password string
		pool     *x509.CertPool
		want     string
	}{
		"no TLS":              {d, d.Password, nil, "no encryption"},
		"a wrong password":    {d, "x", pool, "password authentication failed"},
		"its own superuser":   {postgres.Database{Address: d.Address, User: "rdsadmin"}, "", pool, "pg_hba.conf rejects"},
		"a foreign authority": {d, d.Password, x509.NewCertPool(), "unknown authority"},
	} {
		if c, err := dial(t.Context(), x.d, x.password, x.pool); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: got %v, want %q", what, err, x.want)
			if err == nil {
				_ = c.Close(t.Context())
			}
		}
	}

	// A snapshot while a client goes on writing.
	c, err := dial(t.Context(), d, d.Password, pool)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	w.state.Snapshots = []postgres.Snapshot{{ID: "s", Of: d.ID}}
	w.bring("")
	if _, err := c.Exec(t.Context(), "INSERT INTO t VALUES (0)"); err != nil {
		t.Errorf("after the snapshot: %v", err)
	}

	// Another password, and no TLS any more, with connections as they were.
	d.Password, d.ForceTLS = "rotated", false
	w.state.Databases[0] = d
	w.bring("")
	if n := rows(t, d, nil, ""); n != 1001 {
		t.Errorf("%d rows without TLS", n)
	}
	if _, err := dial(t.Context(), d, "it's \\ \"secret\"", pool); err == nil {
		t.Error("the former password is taken")
	}

	// Another address: connections drop.
	before := d.Address
	d.Address = free(t, "127.0.0.2")
	w.state.Databases[0] = d
	w.bring("")
	if err := c.Ping(t.Context()); err == nil {
		t.Error("a connection outlived the move")
	}
	if n := rows(t, d, pool, ""); n != 1001 {
		t.Errorf("%d rows after the move", n)
	}
	if _, err := net.Dial("tcp", before); err == nil {
		t.Error("the former address answers")
	}

	// Stopped, started.
	d.Running = false
	w.state.Databases[0] = d
	w.bring("")
	if _, err := net.Dial("tcp", d.Address); err == nil {
		t.Error("a stopped database answers")
	}
	w.state.Snapshots = append(w.state.Snapshots, postgres.Snapshot{ID: "stopped", Of: d.ID})
	d.Running = true
	w.state.Databases[0] = d
	w.bring("")
	if n := rows(t, d, pool, ""); n != 1001 {
		t.Errorf("%d rows after a stop", n)
	}

	// The database goes, its snapshots stay, and are restored side by side.
	restored := []postgres.Database{}
	for i, from := range []string{"s", "stopped"} {
		r := d
		r.ID, r.From, r.Address, r.Password = "db-"+from, from, free(t, "127.0.0.1"), fmt.Sprint("new", i)
		restored = append(restored, r)
	}
	w.state.Databases = restored
	w.bring("")
	for i, want := range []int{1000, 1001} {
		if n := rows(t, restored[i], pool, ""); n != want {
			t.Errorf("restored from %s: %d rows, want %d", restored[i].From, n, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "databases", d.ID)); !os.IsNotExist(err) {
		t.Errorf("the folder of a deleted database: %v", err)
	}

	// Killed, it is there again at the next look, with its rows.
	pid, err := os.ReadFile(filepath.Join(dir, "databases", "db-s", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := strings.Cut(string(pid), "\n")
	if out, err := exec.Command("kill", "-KILL", number).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		c, err := dial(t.Context(), restored[0], restored[0].Password, pool)
		if err == nil {
			_ = c.Close(t.Context())
			if again, err := os.ReadFile(filepath.Join(dir, "databases", "db-s", "data", "postmaster.pid")); err == nil && !strings.HasPrefix(string(again), number+"\n") {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not there again: %v", err)
		}
		w.ask()
	}
	if n := rows(t, restored[0], pool, ""); n != 1000 {
		t.Errorf("%d rows after the server was killed", n)
	}

	// Nothing is wanted: nothing is left.
	w.state = postgres.State{}
	w.bring("")
	for _, sub := range []string{"databases", "snapshots"} {
		if left, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v %v", sub, left, err)
		}
	}
}

// What is asked for at once is made in its order: a database, its snapshot, what is
// restored from that, and so on, in whatever order they are named.
func TestSnapshotOfTheNew(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	w := serve(t, folder(t))
	for i, id := range []string{"a", "b", "c"} {
		d := postgres.Database{ID: id, Running: true, Address: free(t, fmt.Sprintf("127.0.0.%d", 3+i)), User: "owner", Password: "p", Name: "app", Certificate: cert, Key: key}
		if i > 0 {
			d.From = "of-" + w.state.Databases[0].ID
		}
		w.state.Databases = append([]postgres.Database{d}, w.state.Databases...)
		w.state.Snapshots = append([]postgres.Snapshot{{ID: "of-" + id, Of: id}}, w.state.Snapshots...)
	}
	w.bring("")
	for _, d := range w.state.Databases {
		if n := rows(t, d, pool, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)"); n != 1 {
			t.Errorf("database %s has %d rows", d.ID, n)
		}
	}
	w.state.Databases = nil
	w.bring("")
}

// A folder that the servers' user can't get into is told apart from all that
// could follow from it, with what to do.
func TestUnreachableFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // the servers' user is this one then, who made the folder
	}
	private := folder(t)
	err := postgres.Serve(t.Context(), postgres.Config{Token: "x"}, filepath.Join(private, "rows"), "", func(string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+private) {
		t.Errorf("got %v", err)
	}
}

// What can't be brought about is said, and does no harm to the rest.
func TestWhatCannotBe(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	w := serve(t, folder(t))
	good := postgres.Database{ID: "db", Running: true, Address: free(t, "127.0.0.1"), User: "u", Password: "p", Certificate: cert, Key: key}
	for what, change := range map[string]func(*postgres.Database){
		"no id":                func(d *postgres.Database) { d.ID = "../x" },
		"no loopback address":  func(d *postgres.Database) { d.ID, d.Address = "open", "0.0.0.0:5432" },
		"there is no snapshot": func(d *postgres.Database) { d.ID, d.From = "restored", "none" },
		"doesn't answer":       func(d *postgres.Database) { d.ID, d.Key = "keyless", "" },
	} {
		bad := good
		change(&bad)
		w.state.Databases = []postgres.Database{bad}
		w.bring(what)
	}
	w.state = postgres.State{Snapshots: []postgres.Snapshot{{ID: "s", Of: "none"}}}
	w.bring("its database is not there")
	w.state = postgres.State{Databases: []postgres.Database{good}}
	w.bring("")
	res, err := http.Get(w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("without the token: %s", res.Status)
	}
}
