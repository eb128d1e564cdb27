package stack

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/policy"
)

// Review puts a new stack into the account for which there are only change
// sets.
func (e *Engine) Review() {
	e.tx.Put(e.r)
	e.become("REVIEW_IN_PROGRESS", "User Initiated")
}

// Create starts the creation of the stack, which is put into the account if it
// isn't there, and returns the operation's id.
func (e *Engine) Create(d *Deployment, token string) string {
	if e.tx.Get(Type, e.Stack.ID) == nil {
		e.tx.Put(e.r)
	}
	e.adopt(d)
	op := e.begin("CREATE_STACK", token, d)
	e.become("CREATE_IN_PROGRESS", "User Initiated")
	if e.Stack.Timeout > 0 {
		limit := e.event("timeout", op.id)
		limit.Calendar = true
		e.tx.After(time.Duration(e.Stack.Timeout)*time.Minute, limit)
	}
	e.after(e.overhead(), "begin", "")
	return op.id
}

// Update starts an update of the stack and returns the operation's id. During
// is the policy that replaces the stack's own this once, or nil.
func (e *Engine) Update(d *Deployment, token string, during *policy.Policy) string {
	e.adopt(d)
	e.Stack.Updated, e.Stack.duringUpdate = e.tx.Now(), during
	op := e.begin("UPDATE_STACK", token, d)
	e.become("UPDATE_IN_PROGRESS", "User Initiated")
	e.after(e.overhead(), "begin", "")
	return op.id
}

// Refuse makes the operation just begun fail before it touches anything,
// because of what the checks before deployment found.
func (e *Engine) Refuse(reason string, findings []*Event) {
	e.Stack.op.refusal = reason
	for _, f := range findings {
		f.Operation = e.Stack.op.id
	}
	e.Stack.Validations = findings
}

// Delete starts the deletion of the stack. The resources to retain are left
// alone, and with force those that can't be deleted.
func (e *Engine) Delete(token string, retain []string, force bool) {
	st := e.Stack
	op := e.begin("DELETE_STACK", token, nil)
	op.retain, op.force = retain, force
	st.Deleted, st.RetainExceptOnCreate = e.tx.Now(), false
	e.become("DELETE_IN_PROGRESS", "User Initiated")
	if st.Current == nil {
		// Only change sets were ever made for it.
		e.deleted()
		return
	}
	e.after(e.overhead(), "begin", "")
}

// Cancel turns an update round.
func (e *Engine) Cancel() {
	e.Stack.DisableRollback = false
	e.turn("User Initiated", nil)
}

// Undoable tells whether a failed rollback has yet to restore a resource.
func (e *Engine) Undoable(logicalID string) bool { return e.Stack.undo[logicalID] != nil }

// ContinueRollback goes on with a rollback that has failed, without the
// resources to skip, and returns the operation's id.
func (e *Engine) ContinueRollback(token string, skip []string) string {
	op := e.begin(continueKind, token, e.Stack.stable)
	e.become("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
	for _, id := range skip {
		e.skip(id)
	}
	e.restore()
	return op.id
}

// Rollback takes a stack that has failed without a rollback back to where it
// was stable last, which may be nowhere.
func (e *Engine) Rollback(token string) string {
	op := e.begin(rollbackKind, token, e.Stack.stable)
	if e.Stack.stable == nil {
		e.become("ROLLBACK_IN_PROGRESS", "User Initiated")
		e.unmake()
	} else {
		e.become("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
		e.restore()
	}
	return op.id
}
