package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/graph"
)

func appendLength(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

// reader puts an account together from records.
type reader struct {
	dec       *graph.Decoder
	image     *account.Image
	resources map[account.Key]*account.Resource
	events    map[int]account.Event
	complete  bool
}

// read reads a file into s.found.
func (s *Store) read(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	s.found, s.dropped, err = Read(b, s.kinds)
	return err
}

// Read reads the content of a state file: the account, and whether a record at
// its end was torn and has been dropped.
func Read(b []byte, kinds *graph.Kinds) (m *account.Image, dropped bool, err error) {
	b, err = body(b)
	if err != nil {
		return nil, false, err
	}
	r := &reader{dec: graph.NewDecoder(kinds), resources: map[account.Key]*account.Resource{}, events: map[int]account.Event{}}
	for n := 1; ; n++ {
		payload, rest, err := nextRecord(b)
		if errors.Is(err, errTorn) && r.complete {
			return r.result(), true, nil
		}
		if err == nil && payload == nil {
			break
		}
		if err == nil {
			err = r.record(payload)
		}
		if err != nil {
			return nil, false, fmt.Errorf("record %d: %w", n, err)
		}
		b = rest
	}
	if !r.complete {
		return nil, false, fmt.Errorf("the image in it has no end: %w", errDamaged)
	}
	return r.result(), false, nil
}

func (r *reader) record(p []byte) error {
	what := p[0]
	if what == isEnd {
		if r.image == nil || r.complete || len(p) != 1 {
			return errDamaged
		}
		r.complete = true
		return nil
	}
	n, size := binary.Uvarint(p[1:])
	if size <= 0 || n > uint64(len(p)-1-size) {
		return errDamaged
	}
	p = p[1+size:]
	if err := r.dec.Define(p[:n]); err != nil {
		return err
	}
	p = p[n:]
	switch {
	case what == isImage && r.image == nil:
		var x skeleton
		if err := r.value(p, &x); err != nil {
			return err
		}
		r.image = &account.Image{ID: x.ID, Region: x.Region, Zones: x.Zones, Seed: x.Seed, Fresh: x.Fresh, Now: x.Now, Reached: x.Now, Serial: x.Serial, Journal: x.Journal}
		r.schedule(x.Events)
	case what == isResource && r.image != nil && !r.complete:
		var x account.Resource
		if err := r.value(p, &x); err != nil {
			return err
		}
		r.put(&x)
	case what == isChange && r.complete:
		var x change
		p, err := r.dec.Read(p, &x)
		if err != nil {
			return err
		}
		r.apply(x)
		for range x.Put {
			var x account.Resource
			if p, err = r.dec.Read(p, &x); err != nil {
				return err
			}
			r.put(&x)
		}
		if len(p) > 0 {
			return errDamaged
		}
	case what == isTime && r.complete:
		var now time.Time
		if err := r.value(p, &now); err != nil {
			return err
		}
		if now.After(r.image.Reached) {
			r.image.Reached = now
		}
	default:
		return fmt.Errorf("a record %q that is unknown or out of place: %w", what, graph.ErrOther)
	}
	return nil
}

func (r *reader) value(p []byte, pointer any) error {
	rest, err := r.dec.Read(p, pointer)
	if err == nil && len(rest) > 0 {
		err = errDamaged
	}
	return err
}

func (r *reader) put(x *account.Resource) {
	r.resources[account.Key{Type: x.Type, ID: x.ID}] = x
}

func (r *reader) schedule(events []account.Event) {
	for _, e := range events {
		r.events[e.Seq] = e
	}
}

func (r *reader) apply(c change) {
	r.image.Now, r.image.Reached, r.image.Serial = c.Now, c.Now, c.Serial
	for _, k := range c.Gone {
		delete(r.resources, k)
	}
	r.schedule(c.Added)
	for _, n := range c.Over {
		delete(r.events, n)
	}
	for _, e := range c.Noted {
		r.image.Journal = account.Noting(r.image.Journal, e)
	}
}

func (r *reader) result() *account.Image {
	for _, k := range slices.SortedFunc(maps.Keys(r.resources), func(a, b account.Key) int {
		return strings.Compare(a.Type+"\x00"+a.ID, b.Type+"\x00"+b.ID)
	}) {
		r.image.Resources = append(r.image.Resources, r.resources[k])
	}
	r.image.Events = slices.SortedFunc(maps.Values(r.events), func(x, y account.Event) int {
		if c := x.At.Compare(y.At); c != 0 {
			return c
		}
		return x.Seq - y.Seq
	})
	return r.image
}
