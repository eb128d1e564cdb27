package stack

import (
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation/dynamic"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
)

// restore enters the phase that goes back to the stable deployment.
func (e *Engine) restore() {
	st := e.Stack
	e.adopt(st.stable)
	tasks := map[string]*task{}
	for _, id := range slices.Sorted(maps.Keys(st.undo)) {
		u, now := st.undo[id], st.Resources[id]
		switch {
		case u == nil:
			// Not there before: it goes in the clean-up.
			if now != nil && now.Physical != "" {
				e.discard(now, now.Def.DeletionPolicy, true)
			}
			delete(st.Resources, id)
			delete(st.undo, id)
		case now == nil || !now.touched:
			st.Resources[id] = u
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
func (e *Engine) discard(r *Resource, policy string, fresh bool) {
	x := *r
	x.policy, x.fresh = policy, fresh
	e.Stack.garbage = append(e.Stack.garbage, &x)
}

func (e *Engine) startRestore(t *task) {
	u, now := e.Stack.undo[t.id], e.Stack.Resources[t.id]
	if now.Physical != u.Physical {
		// Replaced: the old one still exists.
		if now.Physical != "" {
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
func (e *Engine) back(id string) *Resource {
	x := *e.Stack.undo[id]
	e.Stack.Resources[id] = &x
	return &x
}

// revert gives a resource its old properties back.
func (e *Engine) revert(t *task) {
	now := e.Stack.Resources[t.id]
	real := e.tx.Get(now.Def.Type.Name, now.Physical)
	if now.busy != "" && now.busy != tagging && real != nil {
		// The outcome of the cancelled change doesn't matter any more.
		_ = e.tx.Settle(real, now.busy)
	}
	r := e.back(t.id)
	r.tags, r.touched = now.tags, true
	e.mark(r, "UPDATE_IN_PROGRESS", "")
	want := r.Props
	if r.live != nil {
		want, r.live = r.live, nil
	}
	differ := false
	if real != nil {
		resolved, err := dynamic.Resolve(e.tx, want)
		differ = err != nil || !expression.Equal(real.Props, resolved)
	}
	took, err := e.update(r, want, differ)
	if err != nil {
		e.mark(r, "UPDATE_FAILED", handlerError(e.tx, r.Def.Type.Name, err))
		e.stop(t, "update")
		return
	}
	e.wait(t, acting, took)
}

func (e *Engine) finishRestore(t *task) {
	if t.stage == settling {
		e.revert(t)
		return
	}
	r := e.Stack.Resources[t.id]
	over, err := e.settled(t, r)
	switch {
	case err != nil:
		e.mark(r, "UPDATE_FAILED", handlerError(e.tx, r.Def.Type.Name, err))
		e.stop(t, "update")
	case over:
		e.restoredOne(t)
	}
}

func (e *Engine) restoredOne(t *task) {
	r := e.Stack.Resources[t.id]
	r.touched = false
	e.mark(r, "UPDATE_COMPLETE", "")
	delete(e.Stack.undo, t.id)
	e.complete(t)
}

// restored ends the phase.
func (e *Engine) restored() {
	if op := e.Stack.op; len(op.fails) > 0 {
		e.become("UPDATE_ROLLBACK_FAILED", reasons(op.fails))
		e.Stack.op = nil
		return
	}
	e.become("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
	e.enter(sweeping, tasksFor(e.Stack.garbage))
	e.run()
}

// skip takes a resource out of a failed rollback: it stays as it is, and the
// stack takes it for restored.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-continueupdaterollback.html
func (e *Engine) skip(id string) {
	r := e.Stack.Resources[id]
	r.touched, r.busy = false, ""
	e.mark(r, "UPDATE_COMPLETE", "")
	delete(e.Stack.undo, id)
}
