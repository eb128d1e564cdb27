package account

import (
	"strings"
	"time"
)

// Operation is something that took AWS time.
type Operation struct {
	Type, ID string
	// Stack is the name of the stack that the resource belongs to, and LogicalID
	// its name there; empty outside of stacks.
	Stack, LogicalID string
	// Verb is create, update or delete.
	Verb string
	// Part is prepare or conclude for a stack's own: the time that CloudFormation
	// takes before and after the resources.
	Part       string
	Start, End time.Time
}

// Operated tells of an operation that has ended now and took d.
func (tx *Tx) Operated(o Operation, d time.Duration) {
	if f := tx.a.opts.OnOperation; f != nil {
		o.Start, o.End = tx.Now().Add(-d), tx.Now()
		f(o)
	}
}

// began takes note of the start of an operation on a resource.
func (tx *Tx) began(r *Resource) {
	if tx.a.opts.OnOperation == nil {
		return
	}
	if tx.a.begun == nil {
		tx.a.begun = map[*Resource]time.Time{}
	}
	tx.a.begun[r] = tx.Now()
}

// ended tells of the end of an operation on a resource.
func (tx *Tx) ended(r *Resource, verb string) {
	start, ok := tx.a.begun[r]
	if !ok {
		return
	}
	delete(tx.a.begun, r)
	o := Operation{Type: r.Type, ID: r.ID, LogicalID: r.LogicalID, Verb: verb}
	if _, rest, ok := strings.Cut(r.Owner, ":stack/"); ok {
		o.Stack, _, _ = strings.Cut(rest, "/")
	}
	tx.Operated(o, tx.Now().Sub(start))
}
