package cloudformation

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/plan"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
)

// How long the service takes over a change set.
const (
	changeSetPending = time.Second
	changeSetCompute = 3 * time.Second
)

// changeSet is the state of a change set.
type changeSet struct {
	id, name, stack, stackName, kind string
	description, onStackFailure      string
	created                          time.Time
	status, reason                   string
	token                            string
	// revision is how many operations the stack had seen, making the operation
	// that makes the change set, and operation the one that executes it.
	revision    int
	making      string
	operation   string
	target      *stack.Deployment
	validate    bool
	changes     []plan.Change
	drift       string // the stack's, of a change set that reverts drift
	made        time.Time
	secrets     []string
	validations []*stack.Event
}

// CloneState implements [account.State]. What a change set points to never
// changes.
func (c *changeSet) CloneState() account.State {
	x := *c
	return &x
}

// changeSets are a stack's change sets, the newest first.
func changeSets(tx *account.Tx, e *stack.Engine) []*changeSet {
	var out []*changeSet
	for _, r := range stack.ChangeSets(tx, e.Stack.ID) {
		out = append(out, r.State.(*changeSet))
	}
	slices.SortStableFunc(out, func(a, b *changeSet) int { return b.created.Compare(a.created) })
	return out
}

// findChangeSet finds a change set by id, or by name within a stack.
func findChangeSet(tx *account.Tx, nameOrID, stackName string) (*changeSet, error) {
	missing := account.Errorf("ChangeSetNotFound", "ChangeSet [%s] does not exist", nameOrID)
	missing.Status = 404
	if strings.HasPrefix(nameOrID, "arn:") {
		r := tx.Get(stack.ChangeSetType, nameOrID)
		if r == nil {
			return nil, missing
		}
		return r.State.(*changeSet), nil
	}
	if stackName == "" {
		return nil, invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	e := stack.Find(tx, stackName)
	if e == nil {
		return nil, invalid(missingInBrackets, stackName)
	}
	for _, c := range changeSets(tx, e) {
		if c.name == nameOrID {
			return c, nil
		}
	}
	return nil, missing
}

// execution is the change set's execution status.
func (c *changeSet) execution(tx *account.Tx) string {
	e := stack.Find(tx, c.stack)
	switch {
	case e == nil || c.status == "FAILED":
		return "UNAVAILABLE"
	case c.operation != "":
		switch e.Stack.Outcome(c.operation) {
		case "":
			return "EXECUTE_IN_PROGRESS"
		case "done":
			return "EXECUTE_COMPLETE"
		}
		return "EXECUTE_FAILED"
	case c.revision != len(e.Stack.Operations):
		// It was made for the stack as it was before.
		return "OBSOLETE"
	case c.status != "CREATE_COMPLETE":
		return "UNAVAILABLE"
	}
	return "AVAILABLE"
}

// put starts the making of a change set.
func (c *changeSet) put(tx *account.Tx) {
	c.status, c.making = "CREATE_PENDING", tx.UUID()
	tx.Put(&account.Resource{Type: stack.ChangeSetType, ID: c.id, Owner: c.stack, Status: c.status, State: c})
	tx.After(changeSetPending, account.Event{Kind: changeSetEventKind, Type: stack.ChangeSetType, ID: c.id})
}

// changeSetEventKind is the account event that makes change sets.
const changeSetEventKind = "cloudformation:changeset"

// handleChangeSet moves a change set on.
func handleChangeSet(tx *account.Tx, ev account.Event) {
	r := tx.Get(ev.Type, ev.ID)
	if r == nil {
		return
	}
	c := r.State.(*changeSet)
	switch c.status {
	case "CREATE_PENDING":
		c.status = "CREATE_IN_PROGRESS"
		d := changeSetCompute
		if e := stack.Find(tx, c.stack); c.target.Revert && e != nil {
			d = stack.DetectionTime(len(e.Stack.Resources))
		}
		tx.After(d, ev)
	case "CREATE_IN_PROGRESS":
		c.compute(tx)
		tx.Operated(account.Operation{Type: stack.ChangeSetType, ID: c.id, Stack: c.stackName, Verb: "create"}, tx.Now().Sub(c.created))
	}
	r.Status = c.status
}

// compute finds out the changes.
func (c *changeSet) compute(tx *account.Tx) {
	fail := func(reason string) { c.status, c.reason = "FAILED", reason }
	c.made = tx.Now()
	e := stack.Find(tx, c.stack)
	if e == nil {
		fail("Stack [" + c.stackName + "] does not exist")
		return
	}
	c.secrets = stack.Secrets(e.Stack.Secrets, c.target)
	p, err := plan.New(tx, e.Stack, c.target)
	if err != nil {
		fail(stack.Message(err))
		return
	}
	c.changes, c.drift = p.Changes, p.Drift
	if c.kind == "UPDATE" && p.Empty() {
		fail("The submitted information didn't contain changes. Submit different information to create a change set.")
		return
	}
	if c.validate {
		c.validations = p.Events(tx, true)
		for _, ev := range c.validations {
			ev.Operation = c.making
		}
		if refusal := p.Refusal(); refusal != "" {
			fail(refusal)
			return
		}
	}
	c.status = "CREATE_COMPLETE"
}
