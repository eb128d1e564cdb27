package cloudformation

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
)

// restore enters the phase that goes back to the stable deployment.
func (e *engine) restore() {
	st := e.st
	e.adopt(st.stable)
	tasks := map[string]*task{}
	for _, id := range slices.Sorted(maps.Keys(st.undo)) {
		u, now := st.undo[id], st.resources[id]
		switch {
		case u == nil:
			// Not there before: it goes in the clean-up.
			if now != nil && now.physical != "" {
				e.discard(now, now.def.DeletionPolicy, true)
			}
			delete(st.resources, id)
			delete(st.undo, id)
		case now == nil || !now.touched:
			st.resources[id] = u
			delete(st.undo, id)
		default:
			tasks[id] = &task{key: id, id: id, verb: "update"}
		}
	}
	order(tasks, func(t *task) []string { return st.undo[t.id].needs })
	e.enter(restoring, tasks)
	e.run()
}

// discard remembers a resource to be removed in the clean-up.
func (e *engine) discard(r *resource, policy string, fresh bool) {
	x := *r
	x.policy, x.fresh = policy, fresh
	e.st.garbage = append(e.st.garbage, &x)
}

func (e *engine) startRestore(t *task) {
	u, now := e.st.undo[t.id], e.st.resources[t.id]
	if now.physical != u.physical {
		// Replaced: the old one still exists.
		if now.physical != "" {
			e.discard(now, "Delete", true)
		}
		now = e.back(t.id)
		e.mark(now, "UPDATE_IN_PROGRESS", "")
		e.restoredOne(t)
		return
	}
	if now.busy != "" && now.settles.After(e.tx.Now()) {
		e.wait(t, settling, now.settles.Sub(e.tx.Now()))
		return
	}
	e.revert(t)
}

// back puts the record of the stable deployment into force.
func (e *engine) back(id string) *resource {
	x := *e.st.undo[id]
	e.st.resources[id] = &x
	return &x
}

// revert gives a resource its old properties back.
func (e *engine) revert(t *task) {
	now := e.st.resources[t.id]
	real := e.tx.Get(now.def.Type.Name, now.physical)
	if now.busy != "" && real != nil {
		// The outcome of the cancelled change doesn't matter any more.
		_ = e.tx.Settle(real, now.busy)
	}
	r := e.back(t.id)
	r.tags, r.touched = now.tags, true
	e.mark(r, "UPDATE_IN_PROGRESS", "")
	differ := false
	if real != nil {
		resolved, err := resolve(e.tx, r.props)
		differ = err != nil || !template.Equal(real.Props, resolved)
	}
	took, err := e.update(r, r.props, differ)
	if err != nil {
		e.mark(r, "UPDATE_FAILED", handlerError(e.tx, r.def.Type.Name, err))
		e.stop(t, "update")
		return
	}
	e.wait(t, acting, took)
}

func (e *engine) finishRestore(t *task) {
	if t.stage == settling {
		e.revert(t)
		return
	}
	r := e.st.resources[t.id]
	op := r.busy
	r.busy = ""
	err := notFound(r)
	if real := e.tx.Get(r.def.Type.Name, r.physical); real != nil {
		err = e.tx.Settle(real, op)
	}
	if err != nil {
		e.mark(r, "UPDATE_FAILED", handlerError(e.tx, r.def.Type.Name, err))
		e.stop(t, "update")
		return
	}
	e.restoredOne(t)
}

func (e *engine) restoredOne(t *task) {
	r := e.st.resources[t.id]
	r.touched = false
	e.mark(r, "UPDATE_COMPLETE", "")
	delete(e.st.undo, t.id)
	e.complete(t)
}

// restored ends the phase.
func (e *engine) restored() {
	if op := e.st.op; len(op.fails) > 0 {
		e.st.op = nil
		e.become("UPDATE_ROLLBACK_FAILED", reasons(op.fails))
		return
	}
	e.become("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
	e.enter(sweeping, tasksFor(e.st.garbage))
	e.run()
}

// skip takes a resource out of a failed rollback: it stays as it is, and the
// stack takes it for restored.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-continueupdaterollback.html
func (e *engine) skip(id string) {
	r := e.st.resources[id]
	r.touched, r.busy = false, ""
	e.mark(r, "UPDATE_COMPLETE", "")
	delete(e.st.undo, id)
}
