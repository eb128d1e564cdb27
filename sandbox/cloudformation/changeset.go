package cloudformation

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
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
	status, reason, execution        string
	token                            string
	target                           *deployment
	validate                         bool
	changes                          []change
	secrets                          []string
	validations                      []*event
}

// CloneState implements [account.State]. What a change set points to never
// changes.
func (c *changeSet) CloneState() account.State {
	x := *c
	return &x
}

// changeSets are a stack's change sets, the newest first.
func (e *engine) changeSets() []*changeSet {
	var out []*changeSet
	for _, r := range e.tx.List(changeSetType) {
		if c := r.State.(*changeSet); c.stack == e.st.id {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *changeSet) int { return b.created.Compare(a.created) })
	return out
}

// findChangeSet finds a change set by id, or by name within a stack.
func findChangeSet(tx *account.Tx, nameOrID, stackName string) (*changeSet, error) {
	missing := account.Errorf("ChangeSetNotFound", "ChangeSet [%s] does not exist", nameOrID)
	missing.Status = 404
	if strings.HasPrefix(nameOrID, "arn:") {
		r := tx.Get(changeSetType, nameOrID)
		if r == nil {
			return nil, missing
		}
		return r.State.(*changeSet), nil
	}
	if stackName == "" {
		return nil, invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	e := find(tx, stackName)
	if e == nil {
		return nil, invalid(missingInBrackets, stackName)
	}
	for _, c := range e.changeSets() {
		if c.name == nameOrID {
			return c, nil
		}
	}
	return nil, missing
}

// outdate makes change sets obsolete that were made for the stack as it was.
func (e *engine) outdate() {
	for _, c := range e.changeSets() {
		if c.execution == "AVAILABLE" || c.execution == "UNAVAILABLE" && c.status != "FAILED" {
			c.execution = "OBSOLETE"
		}
	}
}

// put starts the making of a change set.
func (c *changeSet) put(tx *account.Tx) {
	c.status, c.execution = "CREATE_PENDING", "UNAVAILABLE"
	tx.Put(&account.Resource{Type: changeSetType, ID: c.id, Owner: tx.Caller, Status: c.status, State: c})
	tx.After(changeSetPending, account.Event{Kind: changeSetEventKind, Type: changeSetType, ID: c.id})
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
		tx.After(changeSetCompute, ev)
	case "CREATE_IN_PROGRESS":
		c.compute(tx)
	}
	r.Status = c.status
}

// compute finds out the changes.
func (c *changeSet) compute(tx *account.Tx) {
	fail := func(reason string) { c.status, c.reason, c.execution = "FAILED", reason, "UNAVAILABLE" }
	e := find(tx, c.stack)
	if e == nil {
		fail("Stack [" + c.stackName + "] does not exist")
		return
	}
	c.secrets = secrets(e.st.secrets, c.target)
	p, err := e.plan(c.target)
	if err != nil {
		fail(message(err))
		return
	}
	c.changes = p.changes
	if c.kind == "UPDATE" && p.empty() {
		fail("The submitted information didn't contain changes. Submit different information to create a change set.")
		return
	}
	if refusal := p.refusal(); refusal != "" && c.validate {
		c.validations = validationEvents(tx, uuid(tx), c.stack, p)
		fail(refusal)
		return
	}
	c.status = "CREATE_COMPLETE"
	if c.execution == "UNAVAILABLE" {
		c.execution = "AVAILABLE"
	}
}

// executed notes how the operation that a change set started has ended.
func (e *engine) executed(ok bool) {
	r := e.tx.Get(changeSetType, e.st.changeSet)
	if r == nil {
		return
	}
	if c := r.State.(*changeSet); c.execution == "EXECUTE_IN_PROGRESS" {
		c.execution = "EXECUTE_FAILED"
		if ok {
			c.execution = "EXECUTE_COMPLETE"
		}
	}
}

// validationEvents are the findings of the checks before deployment.
func validationEvents(tx *account.Tx, operation, stackID string, p *plan) []*event {
	var out []*event
	for _, f := range p.faults {
		out = append(out, &event{
			id: uuid(tx), at: tx.Now(), logical: f.id, typ: f.typ, reason: f.message,
			operation: operation, validation: f.kind, path: f.path, validationOf: stackID,
		})
	}
	return out
}
