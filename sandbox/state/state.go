// Package state keeps an account in a folder, so that it outlasts its process,
// however that ends: each request that changes something is answered only when
// the change is on the disk.
//
// The folder holds a lock and one file, account-N: an image of the whole
// account, and after it one record for each request with what it changed. A new
// image is written into a file of the next number, and takes the old one's
// place by an atomic rename, when the store is opened and when the records have
// outgrown the image. A record that the process died in is dropped, and with it
// the request that was never answered; anything else that isn't as it was
// written is refused.
//
// Invariants: files are readable by their owner alone, since secrets are among
// what is kept. Only one process has a folder. Requests side by side share the
// wait for the disk.
//
// Limits: requests that only read don't wait for the disk: a loss of power, as
// opposed to the end of the process, can take back the time that passed since
// the last change, and what happened by itself in it; it happens again.
package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/graph"
)

// What payloads are, by their first byte.
const (
	isImage    = 'I' // the account without resources, definitions first
	isResource = 'R' // one resource of the image
	isEnd      = 'E' // the end of the image
	isChange   = 'C' // what a request changed
	isTime     = 'T' // the present
)

// How much the records may outgrow the image, and how often reads write down
// the time.
const (
	outgrow   = 8
	smallest  = 16 << 20
	timeEvery = 100 * time.Millisecond
)

// Store is the state of one account in a folder. It is safe for concurrent use.
type Store struct {
	dir   string
	kinds *graph.Kinds
	lock  *os.File
	found *account.Image
	// dropped tells that the last record was torn.
	dropped bool

	// What follows is used while the account is held.
	account *account.Account
	enc     *graph.Encoder
	seen    map[account.Key]uint64 // what each resource looked like
	seed    maphash.Seed
	scratch []byte
	put     []byte
	passed  time.Time // when the time was written down last, by the wall

	mu      sync.Mutex
	file    *os.File
	number  int
	image   int64 // its size
	size    int64
	written uint64 // records written to the file
	syncing sync.Mutex
	synced  uint64
}

// Open locks a folder, which is made if it isn't there, and reads what is in
// it. Errors say what to do.
func Open(dir string, kinds *graph.Kinds) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep state in %s: %w", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep state in %s: %w", dir, err)
	}
	s := &Store{dir: dir, kinds: kinds, lock: lock, seed: maphash.MakeSeed()}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (s *Store) open() error {
	ours, err := hold(s.lock)
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	if !ours {
		pid, _ := os.ReadFile(s.lock.Name())
		return fmt.Errorf("state %s is in use by the process %s; end that sandbox, or use another folder", s.dir, bytes.TrimSpace(pid))
	}
	if err := s.lock.Truncate(0); err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	if _, err := s.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	numbers, err := s.numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	// A file gets its name when it is complete, so the newest has all that
	// those before it have.
	s.number = numbers[len(numbers)-1]
	if err := s.read(s.path(s.number)); err != nil {
		return fmt.Errorf("read state %s: %w; put back a copy of the folder, use the version of the program that wrote it, or begin anew with another folder", s.path(s.number), err)
	}
	return nil
}

func (s *Store) path(n int) string { return filepath.Join(s.dir, fmt.Sprintf("account-%06d", n)) }

// Planes is the folder in a state's folder that data planes have for theirs.
const Planes = "planes"

// numbers are those of the files in the folder. A folder that holds what isn't
// ours is refused, so that nobody's home is taken for one.
func (s *Store) numbers() ([]int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("keep state in %s: %w", s.dir, err)
	}
	var out []int
	for _, e := range entries {
		name := e.Name()
		digits, ours := strings.CutPrefix(name, "account-")
		n, err := strconv.Atoi(strings.TrimSuffix(digits, ".new"))
		switch {
		case name == "lock", name == "ca.pem", name == "ca-key.pem", name == Planes:
		case !ours || err != nil:
			return nil, fmt.Errorf("keep state in %s: it holds %s, which is no part of a state; use a folder of its own", s.dir, name)
		case strings.HasSuffix(name, ".new"):
			// An image that was never finished.
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return nil, fmt.Errorf("keep state in %s: %w", s.dir, err)
			}
		default:
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Found is the account that was in the folder, or nil. It belongs to the
// account that is restored of it.
func (s *Store) Found() *account.Image { return s.found }

// Dropped tells that the last request before the process ended was not complete
// and has been dropped.
func (s *Store) Dropped() bool { return s.dropped }

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// Start keeps an account from now on. The account is the one that was found,
// restored, or a new one if nothing was.
func (s *Store) Start(a *account.Account) error {
	s.account = a
	if err := a.Keep(s, s.renew); err != nil {
		return fmt.Errorf("keep state in %s: %w", s.dir, err)
	}
	s.found = nil
	return nil
}

// Close writes what is left to write and unlocks the folder. The account must
// not be used any more.
func (s *Store) Close() error {
	var errs []error
	if s.account != nil {
		errs = append(errs, s.account.Do(func(*account.Tx) error { return nil }))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		errs = append(errs, s.file.Close())
		s.file = nil
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// skeleton is an image but for its resources, which are records of their own.
type skeleton struct {
	ID, Region string
	Zones      []account.Zone
	Seed       uint64
	Fresh      bool
	Now        time.Time
	Serial     int
	Events     []account.Event
	Journal    []account.Entry
}

// change is what a record of a request begins with.
type change struct {
	Now    time.Time
	Serial int
	// Put is how many resources follow it.
	Put   int
	Gone  []account.Key
	Added []account.Event
	Over  []int
	Noted []account.Entry
}

// renew writes an image into a new file, which takes the place of the present
// one.
func (s *Store) renew(m *account.Image) error {
	s.enc, s.seen = graph.NewEncoder(s.kinds), map[account.Key]uint64{}
	b := []byte(heading + version + "\n")
	var err error
	record := func(what byte, pointer any) []byte {
		if err != nil {
			return nil
		}
		var value []byte
		if value, err = s.enc.Append(nil, pointer); err == nil {
			b = appendRecord(b, s.payload(what, value))
		}
		return value
	}
	record(isImage, &skeleton{m.ID, m.Region, m.Zones, m.Seed, m.Fresh, m.Now, m.Serial, m.Events, m.Journal})
	for _, r := range m.Resources {
		s.seen[account.Key{Type: r.Type, ID: r.ID}] = maphash.Bytes(s.seed, record(isResource, r))
	}
	if err != nil {
		return err
	}
	b = appendRecord(b, []byte{isEnd})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(b)
}

// payload is the kind of a record, what must be defined before it, and it.
func (s *Store) payload(what byte, values ...[]byte) []byte {
	defs := s.enc.Definitions()
	p := append(make([]byte, 0, len(defs)+16), what)
	p = appendLength(p, len(defs))
	p = append(p, defs...)
	for _, v := range values {
		p = append(p, v...)
	}
	return p
}

func (s *Store) replace(b []byte) (err error) {
	next := s.path(s.number + 1)
	f, err := os.OpenFile(next+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = os.Rename(next+".new", next); err != nil {
		return err
	}
	if err = syncDir(s.dir); err != nil {
		return err
	}
	s.syncing.Lock()
	old := s.file
	s.file, s.size, s.image = f, int64(len(b)), int64(len(b))
	s.synced = s.written
	s.syncing.Unlock()
	s.number++
	numbers, err := s.numbers()
	for _, n := range numbers {
		if n < s.number {
			err = errors.Join(err, os.Remove(s.path(n)))
		}
	}
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	return err
}

// syncDir makes names in a folder outlast a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Keep implements [account.Keeper].
func (s *Store) Keep(c account.Changes) (func() error, error) {
	rec := change{Now: c.Now, Serial: c.Serial, Added: c.Added, Over: c.Over, Noted: c.Noted}
	put := s.put[:0]
	for _, k := range slices.SortedFunc(maps.Keys(c.Touched), func(a, b account.Key) int {
		return strings.Compare(a.Type+"\x00"+a.ID, b.Type+"\x00"+b.ID)
	}) {
		r := c.Touched[k]
		if r == nil {
			if _, was := s.seen[k]; was {
				rec.Gone = append(rec.Gone, k)
				delete(s.seen, k)
			}
			continue
		}
		was := len(put)
		var err error
		if put, err = s.enc.Append(put, r); err != nil {
			return nil, err
		}
		if sum := maphash.Bytes(s.seed, put[was:]); s.seen[k] == sum {
			put = put[:was]
		} else {
			s.seen[k] = sum
			rec.Put++
		}
	}
	value, err := s.enc.Append(s.scratch[:0], &rec)
	if err != nil {
		return nil, err
	}
	s.scratch, s.put = value, put
	if err := s.write(s.payload(isChange, value, put)); err != nil {
		return nil, err
	}
	if s.outgrown() {
		return nil, s.account.Present(s.renew)
	}
	s.mu.Lock()
	n := s.written
	s.mu.Unlock()
	return func() error { return s.sync(n) }, nil
}

func (s *Store) outgrown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > max(smallest, outgrow*s.image)
}

// Pass implements [account.Keeper].
func (s *Store) Pass(now time.Time) error {
	if wall := time.Now(); wall.Sub(s.passed) < timeEvery {
		return nil
	} else {
		s.passed = wall
	}
	value, err := s.enc.Append(s.scratch[:0], &now)
	if err != nil {
		return err
	}
	s.scratch = value
	return s.write(s.payload(isTime, value))
}

func (s *Store) write(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return fmt.Errorf("state %s is closed", s.dir)
	}
	n, err := s.file.Write(appendRecord(nil, payload))
	s.size += int64(n)
	s.written++
	return err
}

// sync returns when the first n records are on the disk. Those who wait at the
// same time share the wait.
func (s *Store) sync(n uint64) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.synced >= n {
		return nil
	}
	s.mu.Lock()
	f, upTo := s.file, s.written
	s.mu.Unlock()
	if f == nil {
		return fmt.Errorf("state %s is closed", s.dir)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.synced = upTo
	return nil
}
