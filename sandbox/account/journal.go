package account

import (
	"slices"
	"time"
)

// journalLimit is how many entries the journal keeps; the oldest go first.
const journalLimit = 10_000

// Entry is one thing that happened in the account and that somebody may ask
// for later, such as a call. It never changes, and is no part of the account's
// resources.
type Entry struct {
	At   time.Time
	Kind string
	Data map[string]any
}

// Note adds an entry to the account's journal. The data must not be changed
// afterwards, nor shared with resources.
func (tx *Tx) Note(kind string, data map[string]any) {
	e := Entry{At: tx.Now(), Kind: kind, Data: data}
	tx.a.journal = Noting(tx.a.journal, e)
	if k := tx.a.keep; k != nil {
		k.noted = append(k.noted, e)
	}
}

// Noting appends an entry to a journal, which loses its oldest ones when it
// gets too long.
func Noting(j []Entry, e Entry) []Entry {
	if j = append(j, e); len(j) > journalLimit {
		// A quarter at once, so that copying is rare.
		j = slices.Clone(j[len(j)-journalLimit*3/4:])
	}
	return j
}

// Noted are the entries of a kind, the oldest first.
func (tx *Tx) Noted(kind string) []Entry {
	var out []Entry
	for _, e := range tx.a.journal {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}
