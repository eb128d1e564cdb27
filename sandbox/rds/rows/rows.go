// Package rows has the database instances of an account hold rows: a PostgreSQL
// server stands behind each that is available, which package plane runs.
//
// Invariants: the account is the authority. What its instances and snapshots are
// is looked at again and again, and brought about behind: a server starts, stops
// and moves to another address with its instance, has the master password that
// the account has, and TLS as its parameters say; a snapshot has the rows of the
// moment at which it was seen first; what the account has no more is removed.
//
// An instance's server listens at the instance's own port on an address of
// 127.0.0.0/8 of its own, another one in each Availability Zone: a failover moves
// it. Where instances may be slow, clients come to a relay there, and the server
// is at another address.
//
// Limits: those of the module planes/postgres. The account is followed some
// tenths of a second behind.
package rows

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// How often the account is looked at, and the servers even if nothing changed.
const (
	lookEvery = 200 * time.Millisecond
	askEvery  = 2 * time.Second
)

// Options describe the servers.
type Options struct {
	// Program finds that of the data plane "postgres", see [plane.Program]. It is
	// asked once there is an instance.
	Program func(context.Context) (string, error)
	// Dir keeps the rows; "" means a folder that goes with the servers.
	Dir string
	// Certificate issues one for an endpoint's name, as PEM, with its key.
	Certificate func(name string) (certificate, key []byte, err error)
	// Lag passes the time by which bytes that an instance's server sends are late,
	// which begin an answer or don't; [fault.Injector.LagOfDatabase] does. Nil has
	// clients come to the servers themselves.
	Lag func(ctx context.Context, instance string, bytes int, begin bool) error
	// Log takes the servers' logs. May be nil.
	Log io.Writer
	// Report is told, once each, of what can't be brought about. It must be safe
	// for concurrent use.
	Report func(error)
}

// Databases are the servers of an account. They are safe for concurrent use.
type Databases struct {
	account *account.Account
	opts    Options
	plane   *plane.Server // nil before there is an instance; written with mu held
	token   string
	ended   error // of the plane
	cancel  context.CancelFunc
	done    chan struct{}
	relays  map[string]*relay // by instances' endpoints; follow's own

	mu        sync.Mutex
	addresses map[string]netip.Addr // by endpoint
	told      map[string]bool
	blank     map[string]bool // snapshots without rows
}

// Run starts to follow an account, until Close. The servers' own server is started
// once there is an instance. If it can't be, such as without PostgreSQL, that is
// reported, and databases hold no rows.
func Run(ctx context.Context, a *account.Account, o Options) (*Databases, error) {
	token := make([]byte, 16)
	if _, err := rand.Read(token); err != nil {
		return nil, fmt.Errorf("start databases: %w", err)
	}
	d := &Databases{account: a, opts: o, token: hex.EncodeToString(token), done: make(chan struct{}), relays: map[string]*relay{}, addresses: map[string]netip.Addr{}, told: map[string]bool{}, blank: map[string]bool{}}
	ctx, d.cancel = context.WithCancel(ctx)
	go d.follow(ctx)
	return d, nil
}

// begin starts the servers' server.
func (d *Databases) begin(ctx context.Context) (*plane.Server, error) {
	program, err := d.opts.Program(ctx)
	if err != nil {
		return nil, err
	}
	return plane.Run(ctx, plane.Options{
		Name: "postgres", Program: program, Config: map[string]string{"token": d.token}, Dir: d.opts.Dir, Log: d.opts.Log, Died: d.opts.Report,
	})
}

// Server is the servers' server, or nil before there is an instance.
func (d *Databases) Server() *plane.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plane
}

// Address is where the instance with that endpoint is, or 127.0.0.1 for a name
// that isn't one's. Nil has none.
func (d *Databases) Address(name string) netip.Addr {
	if d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if a, ok := d.addresses[strings.ToLower(name)]; ok {
			return a
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Close stops all servers.
func (d *Databases) Close() error {
	d.cancel()
	<-d.done
	return d.ended
}

func (d *Databases) follow(ctx context.Context) {
	defer close(d.done)
	defer func() {
		d.close(nil)
		if d.plane != nil {
			d.ended = d.plane.Close()
		}
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var last []byte
	var asked time.Time
	for {
		state, relays, any, err := d.state()
		if any && d.plane == nil {
			s, err := d.begin(ctx)
			if err != nil {
				if ctx.Err() == nil {
					d.opts.Report(fmt.Errorf("databases hold no rows, which goes for as long as this sandbox runs: %w", err))
				}
				return
			}
			d.mu.Lock()
			d.plane = s
			d.mu.Unlock()
		}
		if err == nil && d.plane != nil && (!bytes.Equal(state, last) || time.Since(asked) >= askEvery) {
			d.close(relays)
			if err = d.bring(ctx, state); err == nil {
				last, asked = state, time.Now()
				d.open(relays)
			}
		}
		if ctx.Err() != nil {
			return
		}
		d.tell("", err)
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// tell reports what goes wrong with something, until it changes.
func (d *Databases) tell(what string, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	if what != "" {
		text = what + ": " + text
	}
	d.mu.Lock()
	again := d.told[text]
	d.told[text] = true
	d.mu.Unlock()
	if !again {
		d.opts.Report(errors.New(text))
	}
}

// The plane's words, see planes/postgres.
type (
	database struct {
		ID          string `json:"id"`
		From        string `json:"from,omitempty"`
		Address     string `json:"address"`
		Running     bool   `json:"running"`
		User        string `json:"user"`
		Password    string `json:"password,omitempty"`
		Name        string `json:"name,omitempty"`
		ForceTLS    bool   `json:"forceTLS"`
		Starts      int    `json:"starts,omitempty"`
		Abruptly    bool   `json:"abruptly,omitempty"`
		Full        bool   `json:"full,omitempty"`
		Certificate string `json:"certificate"`
		Key         string `json:"key"`
	}
	snapshot struct {
		ID string `json:"id"`
		Of string `json:"of"`
	}
	wanted struct {
		Databases []database `json:"databases"`
		Snapshots []snapshot `json:"snapshots"`
	}
	outcome struct {
		Databases map[string]string `json:"databases"`
		Snapshots map[string]string `json:"snapshots"`
		Absent    []string          `json:"absent"`
	}
)

// state is what the account wants, as the plane reads it, with the relays before
// that by endpoints, and whether that is anything.
func (d *Databases) state() (text []byte, relays map[string]*relay, any bool, err error) {
	var servers []rds.Server
	var copies []rds.Copy
	err = d.account.Do(func(tx *account.Tx) (err error) {
		tx.Reads()
		servers, copies, err = rds.Served(tx)
		return err
	})
	if err != nil {
		return nil, nil, false, err
	}
	var want wanted
	relays = map[string]*relay{}
	there, addresses := map[string]bool{}, map[string]netip.Addr{}
	for _, c := range copies {
		there[c.Key] = true
		if !d.isBlank(c.Key) {
			want.Snapshots = append(want.Snapshots, snapshot{ID: c.Key, Of: c.Of})
		}
	}
	for _, s := range servers {
		cert, key, err := d.opts.Certificate(s.Endpoint)
		if err != nil {
			return nil, nil, false, err
		}
		at := netip.AddrPortFrom(d.place(s.Resource, s.Zone), uint16(s.Port))
		addresses[strings.ToLower(s.Endpoint)] = at.Addr()
		if d.opts.Lag != nil {
			behind := netip.AddrPortFrom(beside(at.Addr()), at.Port())
			if s.Running {
				relays[s.Endpoint] = &relay{instance: s.ID, at: at, to: behind}
			}
			at = behind
		}
		db := database{
			ID: s.Resource, Address: at.String(), Running: s.Running, User: s.User, Password: s.Password, Name: s.Database,
			ForceTLS: s.ForceTLS, Certificate: string(cert), Key: string(key), Starts: s.Starts, Abruptly: s.Abruptly, Full: s.Full,
		}
		if there[s.From] && !d.isBlank(s.From) {
			db.From = s.From
		}
		want.Databases = append(want.Databases, db)
	}
	d.mu.Lock()
	d.addresses = addresses
	d.mu.Unlock()
	text, err = json.Marshal(want)
	return text, relays, len(want.Databases) > 0, err
}

func (d *Databases) isBlank(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blank[key]
}

// place is the loopback address of an instance in a zone, for as long as this
// runs: another sandbox, whose instances may have the same ids, has others.
func (d *Databases) place(resource, zone string) netip.Addr {
	h := fnv.New32a()
	h.Write([]byte(d.token + " " + resource + " " + zone))
	n := h.Sum32()
	// Low addresses are for others, and the last of a network for none.
	return netip.AddrFrom4([4]byte{127, byte(64 + n>>16%64), byte(n >> 8), byte(1 + n%254)})
}

// beside is the address of what stands behind a relay at another.
func beside(a netip.Addr) netip.Addr {
	b := a.As4()
	b[1] += 64
	return netip.AddrFrom4(b)
}

// bring tells the plane what the account wants.
func (d *Databases) bring(ctx context.Context, state []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+d.plane.Address("control")+"/", bytes.NewReader(state))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	res, err := direct.Do(req)
	if err != nil {
		return fmt.Errorf("ask the databases' server: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	var out outcome
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return fmt.Errorf("ask the databases' server: %s: %w", res.Status, err)
	}
	for _, id := range slices.Sorted(maps.Keys(out.Databases)) {
		d.tell("database "+id, errors.New(out.Databases[id]))
	}
	for _, key := range slices.Sorted(maps.Keys(out.Snapshots)) {
		d.tell("snapshot "+key, errors.New(out.Snapshots[key]))
	}
	// A snapshot of an instance whose rows nobody has has none.
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range out.Absent {
		d.blank[key] = true
	}
	return nil
}

// direct reaches this machine, whatever the environment says of proxies.
var direct = &http.Client{Transport: &http.Transport{Proxy: nil}}
