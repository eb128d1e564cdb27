package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// Outcome is how a deletion ended.
type Outcome string

// The outcomes.
const (
	// Clean: nothing is left but what AWS removes by itself or shares with others.
	Clean Outcome = "clean"
	// Retained: what is left was to be kept, or may not go before a date.
	Retained Outcome = "retained"
	// Blocked: something is left that should be gone.
	Blocked Outcome = "blocked"
)

// Kept is something that a deletion leaves in the account.
type Kept struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	ARN    string `json:"arn,omitempty"`
	Region string `json:"region,omitempty"`
	// Why it stays, and how it goes.
	Why string `json:"why"`
	// Until is when AWS removes it by itself; zero is never.
	Until time.Time `json:"until,omitzero"`
	// After is when it can be removed at the earliest; zero is at once.
	After time.Time `json:"removableAfter,omitzero"`
	// Passing tells that it is not what the deletion was to keep: AWS removes it
	// by itself, or shares it with other deployments.
	Passing bool `json:"passing,omitempty"`
	// Monthly is what it costs; nil is unknown. A stack costs what it holds.
	Monthly *inventory.Price `json:"monthly,omitempty"`
	// Holds is what a stack holds that costs something.
	Holds []Held `json:"holds,omitempty"`
	// NeededBy is what can't be read without it: it may go only after that.
	NeededBy []string `json:"neededBy,omitempty"`
	// Remove and Restore are commands, to be run one after the other.
	Remove  []string `json:"remove,omitempty"`
	Restore []string `json:"restore,omitempty"`
}

// Deleted is what a deletion came to. Together with the names of deployment and
// region it is the manifest of what it left.
type Deleted struct {
	Outcome  Outcome       `json:"outcome"`
	Kept     []Kept        `json:"kept"`
	Costs    Costs         `json:"costs"`
	Blockers []Blocker     `json:"blockers,omitempty"`
	Took     time.Duration `json:"-"`
}

// Blocker is something that should be gone and is not, or a stack that was to stay
// and is not whole.
type Blocker struct {
	Type string `json:"type,omitempty"`
	// ID is empty if it isn't one thing, such as a list that can't be read.
	ID    string                 `json:"id,omitempty"`
	Stack architecture.StackName `json:"stack,omitempty"`
	// Reason is why it is there, in AWS's words where there are some.
	Reason string `json:"reason"`
	// Holder is what holds it; empty if nothing is known to.
	Holder string `json:"holder,omitempty"`
	// Next is the command to go on with, or what to do.
	Next string `json:"next"`
}

func (b Blocker) String() string {
	s := strings.TrimSpace(b.Type + " " + b.ID)
	if s != "" {
		s += ": "
	}
	s += b.Reason
	if b.Holder != "" {
		s += "; held by " + b.Holder
	}
	return s
}

// BlockedError says that a deletion ended with something left that should be
// gone. It may be repeated.
type BlockedError struct {
	Deployment string
	Blockers   []Blocker
	// Err is what failed; nil if nothing did and something is left all the same.
	Err error
}

func (e *BlockedError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	var all []string
	for _, b := range e.Blockers {
		all = append(all, b.String())
	}
	return fmt.Sprintf("delete %s: %s", e.Deployment, strings.Join(all, "; "))
}

func (e *BlockedError) Unwrap() error { return e.Err }

// keep notes that something stays. A second note on the same thing replaces the
// first.
func (d *deleting) keep(k Kept) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k.Region = d.AWS.Region
	d.kept = append(slices.DeleteFunc(d.kept, func(was Kept) bool { return was.Type == k.Type && was.ID == k.ID }), k)
}

// keepStack notes a stack that stays, and says if it is not whole or lacks what
// held its data: that is not kept, whatever was asked for.
func (d *deleting) keepStack(ctx context.Context, st *stack.State) error {
	k := Kept{
		Type: "AWS::CloudFormation::Stack", ID: st.Name, ARN: st.ID,
		Why:     "kept with what it holds, because the data is to be kept; the next create goes on from it",
		Remove:  []string{destroyAll},
		Restore: []string{"poolhouse create FILE"},
	}
	if c := stack.ConditionOf(st.Status); c != stack.Whole && c != stack.Moving {
		k.Why = fmt.Sprintf("stays, and is %s: %s; poolhouse recover FILE shows what it needs", st.Status, c.Means())
		k.Restore = []string{"poolhouse recover FILE"}
	}
	lost, err := d.lostOf(ctx, st)
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		var what []string
		for _, res := range lost {
			what = append(what, fmt.Sprintf("%s (%s) %s", res.LogicalID, res.Type, res.PhysicalID))
		}
		k.Why = "stays without " + strings.Join(what, ", ") + ": gone or going, so that what it held is not kept; delete --data snapshot names the last snapshot or the backups of a database, and poolhouse drift says who did it"
		k.Restore = nil
	}
	d.keep(k)
	return nil
}

// settleKept waits for the stacks that stay and are in motion, and says what they
// come to.
func (d *deleting) settleKept(ctx context.Context) error {
	return inOrder(ctx, d.staying, unordered, func(ctx context.Context, name architecture.StackName) error {
		was := d.owned[name]
		if stack.ConditionOf(was.Status) != stack.Moving {
			return nil
		}
		d.step(name, "waiting for stack %s, which is to stay: %s", was.Name, was.Status)
		st, err := d.driver.Rest(ctx, was.ID)
		if err != nil {
			return err
		}
		if !st.Exists() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.kept = slices.DeleteFunc(d.kept, func(k Kept) bool { return k.ARN == was.ID })
			return nil
		}
		return d.keepStack(ctx, st)
	})
}

// isKept tells that it was noted to stay.
func (d *deleting) isKept(typ, id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.kept, func(k Kept) bool { return k.Type == typ && k.ID == id })
}
