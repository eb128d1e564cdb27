package account

import (
	"container/heap"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Image is all that an account is, but for its behaviour: what is kept of it
// when its process ends. It shares memory with the account that it is of.
type Image struct {
	ID, Region string
	Zones      []Zone
	Seed       uint64
	Fresh      bool
	// Now is when something happened last, and Reached, not before it, the
	// present that the account had got to.
	Now, Reached time.Time
	Serial       int
	Resources    []*Resource // by type and id
	Events       []Event
	Journal      []Entry
}

// Key names a resource.
type Key struct{ Type, ID string }

// Changes are what has happened to an account since its keeper was told last.
type Changes struct {
	Now    time.Time
	Serial int
	// Touched are the resources that may have changed, or nil for those that
	// are there no more.
	Touched map[Key]*Resource
	// Added and Over are the events that were scheduled and those, by Seq, that
	// have happened.
	Added []Event
	Over  []int
	// Noted are the entries that the journal got.
	Noted []Entry
}

// Keeper keeps an account outside of the process.
type Keeper interface {
	// Keep is called with the account held, after each [Account.Do] that may
	// have changed more than the time; it must not keep hold of what it gets.
	// The function it returns, if any, is called when the account is free
	// again, unless the request only read, and returns when the changes can't
	// be lost any more. An error of either is the answer to the request, and
	// the account refuses all others.
	Keep(Changes) (func() error, error)
	// Pass is called instead where only time has passed, with the account
	// held.
	Pass(now time.Time) error
}

// Restore returns the account of an image. Behaviour and clock are those of the
// options; what the image says, they need not.
func Restore(model *Model, opts Options, m *Image) *Account {
	opts.ID, opts.Region, opts.Zones, opts.Seed, opts.Fresh = m.ID, m.Region, m.Zones, m.Seed, m.Fresh
	a := &Account{opts: opts, now: m.Now, seq: m.Serial, resources: map[string]map[string]*Resource{}, events: m.Events, journal: m.Journal, model: model}
	for _, r := range m.Resources {
		(&Tx{a: a}).put(r)
	}
	heap.Init((*eventHeap)(&a.events))
	return a
}

// Keep begins to tell a keeper of all changes, and gives it the account as it
// is now, alone, before anything else happens. An account has one keeper;
// clones have none.
func (a *Account) Keep(k Keeper, begin func(*Image) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keep != nil {
		return fmt.Errorf("keep account %s: it is kept already", a.opts.ID)
	}
	if err := begin(a.image()); err != nil {
		return err
	}
	a.keep = &keeping{keeper: k, touched: map[Key]bool{}, serial: a.seq}
	return nil
}

// Image gives the account as it is to f, alone.
func (a *Account) Image(f func(*Image) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return f(a.image())
}

func (a *Account) image() *Image {
	m := &Image{
		ID: a.opts.ID, Region: a.opts.Region, Zones: a.opts.Zones, Seed: a.opts.Seed, Fresh: a.opts.Fresh,
		Now: a.now, Reached: a.now, Serial: a.seq, Journal: a.journal,
	}
	for _, t := range slices.Sorted(maps.Keys(a.resources)) {
		m.Resources = append(m.Resources, a.ordered(t)...)
	}
	m.Events = slices.SortedFunc(slices.Values(a.events), func(x, y Event) int {
		if c := x.At.Compare(y.At); c != 0 {
			return c
		}
		return x.Seq - y.Seq
	})
	return m
}

// keeping is what a kept account remembers for its keeper.
type keeping struct {
	keeper  Keeper
	touched map[Key]bool
	added   []Event
	over    []int
	noted   []Entry
	serial  int  // the last that the keeper knows
	looks   bool // what is got now isn't changed
	broken  error
}

// look notes a resource that somebody got hold of, who may change it.
func (k *keeping) look(typ, id string) {
	if k != nil && !k.looks {
		k.touched[Key{typ, id}] = true
	}
}

// lookAll is look for a list of resources of a type. Whatever hands out
// resources calls it, or look.
func (k *keeping) lookAll(typ string, list []*Resource) {
	if k == nil || k.looks {
		return
	}
	for _, r := range list {
		k.touched[Key{typ, r.ID}] = true
	}
}

// touch notes a resource that came or went.
func (k *keeping) touch(typ, id string) {
	if k != nil {
		k.touched[Key{typ, id}] = true
	}
}

// changes are what there is to tell, which is then forgotten.
func (a *Account) changes() Changes {
	k := a.keep
	c := Changes{Now: a.now, Serial: a.seq, Touched: make(map[Key]*Resource, len(k.touched)), Added: k.added, Over: k.over, Noted: k.noted}
	for key := range k.touched {
		c.Touched[key] = a.resources[key.Type][key.ID]
	}
	clear(k.touched)
	k.added, k.over, k.noted = nil, nil, nil
	return c
}

// kept tells the keeper what a transaction has done.
func (a *Account) kept(tx *Tx) (func() error, error) {
	k := a.keep
	if k == nil {
		return nil, nil
	}
	k.looks = false
	if tx.reads && len(k.touched) == 0 && len(k.added) == 0 && len(k.over) == 0 && len(k.noted) == 0 && k.serial == a.seq {
		if err := k.keeper.Pass(a.now); err != nil {
			k.broken = err
			return nil, k.refusal()
		}
		return nil, nil
	}
	k.serial = a.seq
	wait, err := k.keeper.Keep(a.changes())
	if err != nil {
		k.broken = err
		return nil, k.refusal()
	}
	if tx.reads {
		wait = nil
	}
	return wait, nil
}

// refusal answers requests that come after the keeper has failed.
func (k *keeping) refusal() error {
	if k == nil || k.broken == nil {
		return nil
	}
	return &Error{Code: "InternalFailure", Status: http.StatusInternalServerError, Message: fmt.Sprintf("sandbox: the account can't be kept: %v; put this right and start the sandbox again: it goes on from the last request that was answered", k.broken)}
}

// Reads says that what the transaction gets hold of from now on it doesn't
// change: a kept account need not look for changes, nor wait for the disk.
func (tx *Tx) Reads() {
	tx.reads = true
	if k := tx.a.keep; k != nil {
		k.looks = true
	}
}

// Present gives the account as it is to f. It is for keepers, while they are
// called, when the account is theirs already.
func (a *Account) Present(f func(*Image) error) error { return f(a.image()) }
