package stack

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Deletions that a service refuses because something still depends on the
// resource are tried again for some minutes, as CloudFormation's handlers do.
const (
	retryAfter = 15 * time.Second
	retries    = 20
)

// remove enters the phase that deletes the stack's resources.
func (e *Engine) remove() {
	e.enter(removing, e.removals(false))
	e.run()
}

// unmake enters the phase that rolls a creation back.
func (e *Engine) unmake() {
	e.enter(unmaking, e.removals(true))
	e.run()
}

// removals are tasks for all of the stack's resources, and for what earlier
// operations have left.
func (e *Engine) removals(fresh bool) map[string]*task {
	items := slices.Clone(e.Stack.garbage)
	for _, id := range slices.Sorted(maps.Keys(e.Stack.undo)) {
		u, now := e.Stack.undo[id], e.Stack.Resources[id]
		if u != nil && (now == nil || now.Physical != u.Physical) {
			u.policy = u.Def.UpdateReplacePolicy
			items = append(items, u)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.Stack.Resources)) {
		r := e.Stack.Resources[id]
		if r.Status == "DELETE_COMPLETE" || r.Status == "DELETE_SKIPPED" {
			continue
		}
		r.policy, r.fresh = r.Def.DeletionPolicy, fresh
		items = append(items, r)
	}
	return tasksFor(items)
}

// clean enters the phase that removes what a successful update has left.
func (e *Engine) clean() {
	st := e.Stack
	for _, id := range slices.Sorted(maps.Keys(st.undo)) {
		u, now := st.undo[id], st.Resources[id]
		if u != nil && now != nil && u.Physical != now.Physical && !(st.stable.Revert && u.Live(e.tx) == nil) {
			e.discard(u, now.Def.UpdateReplacePolicy, false)
		}
	}
	st.undo = nil
	for _, id := range slices.Sorted(maps.Keys(st.Resources)) {
		r := st.Resources[id]
		if _, stays := st.stable.Needs[id]; !stays {
			e.discard(r, r.Def.DeletionPolicy, false)
			delete(st.Resources, id)
		}
	}
	e.enter(cleaning, tasksFor(st.garbage))
	e.run()
}

// tasksFor are tasks that remove the items, dependants first.
func tasksFor(items []*Resource) map[string]*task {
	tasks := make(map[string]*task, len(items))
	byID := map[string][]string{}
	for i, r := range items {
		key := r.ID
		if tasks[key] != nil {
			key += "#" + strconv.Itoa(i)
		}
		tasks[key] = &task{key: key, id: r.ID, verb: "delete", item: r}
		byID[r.ID] = append(byID[r.ID], key)
	}
	for k, t := range tasks {
		for _, need := range t.item.needs {
			for _, other := range byID[need] {
				// What is needed waits for what needs it.
				t.next = append(t.next, other)
				tasks[other].open++
			}
		}
		tasks[k] = t
	}
	return tasks
}

// record is the record of a task's resource: that of the stack, if it is one.
func (t *task) record(st *Stack) *Resource {
	if r := st.Resources[t.id]; r != nil && r.Physical == t.item.Physical {
		return r
	}
	return t.item
}

func (e *Engine) startRemove(t *task) {
	r, op := t.record(e.Stack), e.Stack.op
	if r.Physical == "" {
		e.mark(r, "DELETE_COMPLETE", "")
		e.complete(t)
		return
	}
	keep := t.item.policy == "Retain" || t.item.policy == "RetainExceptOnCreate"
	if t.item.fresh && (t.item.policy == "RetainExceptOnCreate" || e.Stack.RetainExceptOnCreate) {
		keep = false
	}
	if keep || slices.Contains(op.retain, t.id) {
		e.mark(r, "DELETE_SKIPPED", "")
		e.complete(t)
		return
	}
	e.mark(r, "DELETE_IN_PROGRESS", "")
	if r.busy != "" && r.settles.After(e.tx.Now()) {
		e.wait(t, settling, r.settles.Sub(e.tx.Now()))
		return
	}
	e.destroy(t, r)
}

// destroy asks the service to delete the resource.
func (e *Engine) destroy(t *task, r *Resource) {
	typ := r.Def.Type.Name
	real := e.tx.Get(typ, r.Physical)
	if real == nil {
		e.gone(t, r)
		return
	}
	if r.busy == "delete" {
		e.settleDelete(t, r, real)
		return
	}
	if r.busy != "" && r.busy != tagging {
		// The outcome of what was under way doesn't matter any more.
		_ = e.tx.Settle(real, r.busy)
	}
	r.busy = ""
	if real.Data == nil {
		real.Data = map[string]any{}
	}
	delete(real.Data, "DeletionPolicy")
	if t.item.policy == "Snapshot" && !(t.item.fresh && r.Status != "CREATE_COMPLETE") {
		real.Data["DeletionPolicy"] = "Snapshot"
	}
	var took time.Duration
	err := e.permit(r, real, "delete", real.Props)
	if err == nil {
		took, err = e.tx.Delete(real, false)
	}
	if err == nil {
		r.busy, r.settles = "delete", e.tx.Now().Add(took)
		e.wait(t, acting, took)
		return
	}
	if ae, ok := errors.AsType[*account.Error](err); ok && ae.Code == "DependencyViolation" && t.tries < retries {
		t.tries++
		e.wait(t, retrying, retryAfter)
		return
	}
	e.undeleted(t, r, handlerError(e.tx, typ, err))
}

// undeleted deals with a resource that can't be deleted.
func (e *Engine) undeleted(t *task, r *Resource, reason string) {
	if e.Stack.op.force {
		e.mark(r, "DELETE_SKIPPED", reason)
		e.complete(t)
		return
	}
	e.mark(r, "DELETE_FAILED", reason)
	e.stop(t, "delete")
}

func (e *Engine) gone(t *task, r *Resource) {
	e.mark(r, "DELETE_COMPLETE", "")
	e.complete(t)
}

func (e *Engine) finishRemove(t *task) {
	r := t.record(e.Stack)
	real := e.tx.Get(r.Def.Type.Name, r.Physical)
	if t.stage != acting || real == nil {
		e.destroy(t, r)
		return
	}
	e.settleDelete(t, r, real)
}

// settleDelete ends a deletion that the service has accepted.
func (e *Engine) settleDelete(t *task, r *Resource, real *account.Resource) {
	r.busy = ""
	if err := e.tx.Settle(real, "delete"); err != nil {
		e.undeleted(t, r, handlerError(e.tx, r.Def.Type.Name, err))
		return
	}
	e.gone(t, r)
}
