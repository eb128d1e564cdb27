// Package postgres runs PostgreSQL servers for the databases of a sandbox: one
// for each, of programs that are found on the machine. What there should be is
// told as a whole, and brought about: databases are made, or restored from
// snapshots, started, moved to other addresses, stopped, removed.
//
// Invariants: servers listen on loopback addresses, and on a socket that only this
// process's user gets in by; clients prove a password (SCRAM), by TLS if that is forced;
// no server outlives this process. A snapshot is as the database was at one
// moment, taken while it serves.
//
// PostgreSQL doesn't run as root: then it runs as the user postgres, or nobody.
//
// Limits: PostgreSQL 15 or newer, on Linux for an address of 127.0.0.0/8 each.
// Of a database's parameters only rds.force_ssl has an effect; the version is the
// one that was found, whatever the account says.
package postgres

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Config is what a parent says.
type Config struct {
	// Programs is the folder of initdb and postgres; "" looks for it.
	Programs string `json:"programs,omitempty"`
	// Token is what requests must bear.
	Token string `json:"token"`
}

// State is all that there should be.
type State struct {
	Databases []Database `json:"databases"`
	Snapshots []Snapshot `json:"snapshots"`
}

// Database is one database server.
type Database struct {
	// ID names it for ever.
	ID string `json:"id"`
	// From is the id of the snapshot that a new one is restored from, or "".
	From string `json:"from,omitempty"`
	// Address is where it listens while it runs, host and port.
	Address string `json:"address"`
	Running bool   `json:"running"`
	// User is the master user, with its password; an empty password leaves the
	// one that it has.
	User     string `json:"user"`
	Password string `json:"password,omitempty"`
	// Name is a database to make, or "".
	Name string `json:"name,omitempty"`
	// ForceTLS refuses clients without TLS.
	ForceTLS bool `json:"forceTLS"`
	// Starts counts how often it was started again: a server of another number is
	// stopped first, Abruptly as one that crashes, and then recovers.
	Starts   int  `json:"starts,omitempty"`
	Abruptly bool `json:"abruptly,omitempty"`
	// Full has no room for rows.
	Full bool `json:"full,omitempty"`
	// Certificate and Key, as PEM, are what it shows.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// Snapshot is the content of a database at a moment.
type Snapshot struct {
	ID string `json:"id"`
	// Of is the database that it is taken of, unless it is there.
	Of string `json:"of"`
}

// Outcome says what can't be brought about, by ids.
type Outcome struct {
	Databases map[string]string `json:"databases,omitempty"`
	Snapshots map[string]string `json:"snapshots,omitempty"`
	// Absent are the snapshots that can't be taken for good: their database
	// isn't there.
	Absent []string `json:"absent,omitempty"`
}

// errAbsent is why a snapshot of what isn't there isn't taken.
var errAbsent = errors.New("its database is not there")

// Serve answers requests to bring states about, PUT / with a [State], until the
// context ends; then it stops all servers. Ready is told where it answers.
func Serve(ctx context.Context, c Config, dir, address string, ready func(address string) error) (err error) {
	if c.Token == "" {
		return errors.New("serve databases: the parent gave no token")
	}
	p, err := find(c.Programs)
	if err != nil {
		return err
	}
	k := &keeper{dir: dir, programs: p, ending: ctx.Done(), servers: map[string]*server{}}
	if err := k.prepare(); err != nil {
		return err
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve databases: %w", err)
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.Token)) != 1 {
			http.Error(w, "the token is wrong", http.StatusForbidden)
			return
		}
		var want State
		if err := json.NewDecoder(r.Body).Decode(&want); err != nil || r.Method != http.MethodPut {
			http.Error(w, fmt.Sprintf("no state: %v", err), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(k.bring(want)) // who is gone asks again
	})}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := ready(l.Addr().String()); err != nil {
		return errors.Join(err, l.Close())
	}
	if err = s.Serve(l); errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, k.close())
}

// keeper has the databases below a folder.
type keeper struct {
	dir      string
	programs programs
	ending   <-chan struct{} // closed once nothing new is begun

	mu      sync.Mutex
	servers map[string]*server
	closed  bool
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (k *keeper) database(id string) string { return filepath.Join(k.dir, "databases", id) }
func (k *keeper) snapshot(id string) string { return filepath.Join(k.dir, "snapshots", id) }

func (k *keeper) prepare() error {
	if err := k.programs.reach(k.dir); err != nil {
		return err
	}
	for _, dir := range []string{k.dir, filepath.Join(k.dir, "databases"), filepath.Join(k.dir, "snapshots")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := k.programs.own(dir); err != nil {
			return err
		}
	}
	return nil
}

// bring brings a state about, as far as it can: snapshots first, of databases
// that may go. A snapshot of a database that isn't there yet, but shall be, has it
// made before.
func (k *keeper) bring(want State) Outcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := Outcome{Databases: map[string]string{}, Snapshots: map[string]string{}}
	if k.closed {
		return out
	}
	snapshots, databases := map[string]Snapshot{}, map[string]Database{}
	for _, s := range want.Snapshots {
		snapshots[s.ID] = s
	}
	for _, d := range want.Databases {
		databases[d.ID] = d
	}
	// One may be of what is restored from another; each is tried once.
	tried := map[any]bool{}
	var take func(s Snapshot)
	have := func(d Database) {
		if tried[d] {
			return
		}
		tried[d] = true
		if s, ok := snapshots[d.From]; ok {
			take(s)
		}
		if err := k.converge(d); err != nil {
			out.Databases[d.ID] = err.Error()
		}
	}
	take = func(s Snapshot) {
		if tried[s] {
			return
		}
		tried[s] = true
		err := k.take(s)
		if d, ok := databases[s.Of]; ok && errors.Is(err, errAbsent) {
			have(d)
			if err = k.take(s); errors.Is(err, errAbsent) {
				// The next time it may be made.
				err = fmt.Errorf("take snapshot %s of %s: %s", s.ID, s.Of, out.Databases[d.ID])
			}
		}
		if err != nil {
			out.Snapshots[s.ID] = err.Error()
		}
		if errors.Is(err, errAbsent) {
			out.Absent = append(out.Absent, s.ID)
		}
	}
	for _, s := range want.Snapshots {
		take(s)
	}
	for _, id := range names(filepath.Join(k.dir, "databases")) {
		if _, ok := databases[id]; ok {
			continue
		}
		if err := k.remove(id); err != nil {
			out.Databases[id] = err.Error()
		}
	}
	for _, d := range want.Databases {
		have(d)
	}
	for _, id := range names(filepath.Join(k.dir, "snapshots")) {
		if _, ok := snapshots[id]; ok {
			continue
		}
		if err := os.RemoveAll(k.snapshot(id)); err != nil {
			out.Snapshots[id] = err.Error()
		}
	}
	return out
}

func names(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (k *keeper) remove(id string) error {
	if s := k.servers[id]; s != nil {
		s.stop()
		delete(k.servers, id)
	}
	return os.RemoveAll(k.database(id))
}

// take makes a snapshot that isn't there.
func (k *keeper) take(s Snapshot) error {
	if !idForm.MatchString(s.ID) || !idForm.MatchString(s.Of) {
		return fmt.Errorf("snapshot %q of %q: no ids", s.ID, s.Of)
	}
	to, from := k.snapshot(s.ID), k.database(s.Of)
	if exists(to) {
		return nil
	}
	if k.ends() {
		return errEnding
	}
	if !exists(filepath.Join(from, "data", "PG_VERSION")) {
		return fmt.Errorf("take snapshot %s of %s: %w", s.ID, s.Of, errAbsent)
	}
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	var err error
	if running := k.servers[s.Of]; running != nil && running.alive() {
		err = running.backUp(filepath.Join(part, "data"))
	} else {
		err = copyTree(filepath.Join(from, "data"), filepath.Join(part, "data"), nil)
	}
	if err == nil {
		err = os.Rename(part, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("take snapshot %s of %s: %w", s.ID, s.Of, err), os.RemoveAll(part))
	}
	return nil
}

// errEnding is why nothing is begun any more.
var errEnding = errors.New("the server of databases is about to end")

// ends tells that it is about to.
func (k *keeper) ends() bool {
	select {
	case <-k.ending:
		return true
	default:
		return false
	}
}

// converge makes one database what it should be.
func (k *keeper) converge(d Database) error {
	if k.ends() {
		return errEnding
	}
	if !idForm.MatchString(d.ID) {
		return fmt.Errorf("database %q: no id", d.ID)
	}
	dir := k.database(d.ID)
	if !exists(filepath.Join(dir, "data", "PG_VERSION")) {
		if err := k.make(dir, d); err != nil {
			return errors.Join(fmt.Errorf("make database %s: %w", d.ID, err), os.RemoveAll(dir))
		}
	}
	s := k.servers[d.ID]
	if s != nil && (!s.alive() || !d.Running || s.now.Address != d.Address || s.now.Starts != d.Starts) {
		if d.Abruptly && s.now.Starts != d.Starts {
			s.crash()
		}
		s.stop()
		delete(k.servers, d.ID)
		s = nil
	}
	if !d.Running {
		return nil
	}
	if s == nil {
		if k.ends() { // making it took long
			return errEnding
		}
		s = &server{programs: k.programs, dir: dir, ending: k.ending}
		if err := s.start(d); err != nil {
			return fmt.Errorf("start database %s: %w", d.ID, err)
		}
		k.servers[d.ID] = s
	}
	if err := s.become(d); err != nil {
		return fmt.Errorf("set up database %s: %w", d.ID, err)
	}
	return nil
}

// make makes the folder of a new database, of a snapshot if it has one.
func (k *keeper) make(dir string, d Database) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if d.From == "" {
		return errors.Join(k.programs.own(dir), k.programs.initialise(filepath.Join(dir, "data")))
	}
	if !idForm.MatchString(d.From) || !exists(k.snapshot(d.From)) {
		return fmt.Errorf("there is no snapshot %s", d.From)
	}
	if err := copyTree(filepath.Join(k.snapshot(d.From), "data"), filepath.Join(dir, "data"), nil); err != nil {
		return err
	}
	return k.programs.ownTree(dir)
}

// close stops all servers.
func (k *keeper) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	var all sync.WaitGroup
	for _, s := range k.servers {
		all.Go(s.stop)
	}
	all.Wait()
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
