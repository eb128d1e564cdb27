package cloudformation

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
func (e *engine) remove() {
	e.enter(removing, e.removals(false))
	e.run()
}

// unmake enters the phase that rolls a creation back.
func (e *engine) unmake() {
	e.enter(unmaking, e.removals(true))
	e.run()
}

// removals are tasks for all of the stack's resources, and for what earlier
// operations have left.
func (e *engine) removals(fresh bool) map[string]*task {
	items := slices.Clone(e.st.garbage)
	for _, id := range slices.Sorted(maps.Keys(e.st.undo)) {
		u, now := e.st.undo[id], e.st.resources[id]
		if u != nil && (now == nil || now.physical != u.physical) {
			u.policy = u.def.UpdateReplacePolicy
			items = append(items, u)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.st.resources)) {
		r := e.st.resources[id]
		if r.status == "DELETE_COMPLETE" || r.status == "DELETE_SKIPPED" {
			continue
		}
		r.policy, r.fresh = r.def.DeletionPolicy, fresh
		items = append(items, r)
	}
	return tasksFor(items)
}

// clean enters the phase that removes what a successful update has left.
func (e *engine) clean() {
	st := e.st
	for _, id := range slices.Sorted(maps.Keys(st.undo)) {
		u, now := st.undo[id], st.resources[id]
		if u != nil && now != nil && u.physical != now.physical {
			e.discard(u, now.def.UpdateReplacePolicy, false)
		}
	}
	st.undo = nil
	for _, id := range slices.Sorted(maps.Keys(st.resources)) {
		r := st.resources[id]
		if _, stays := st.stable.needs[id]; !stays {
			e.discard(r, r.def.DeletionPolicy, false)
			delete(st.resources, id)
		}
	}
	e.enter(cleaning, tasksFor(st.garbage))
	e.run()
}

// tasksFor are tasks that remove the items, dependants first.
func tasksFor(items []*resource) map[string]*task {
	tasks := make(map[string]*task, len(items))
	byID := map[string][]string{}
	for i, r := range items {
		key := r.id
		if tasks[key] != nil {
			key += "#" + strconv.Itoa(i)
		}
		tasks[key] = &task{key: key, id: r.id, verb: "delete", item: r}
		byID[r.id] = append(byID[r.id], key)
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
func (t *task) record(st *stack) *resource {
	if r := st.resources[t.id]; r != nil && r.physical == t.item.physical {
		return r
	}
	return t.item
}

func (e *engine) startRemove(t *task) {
	r, op := t.record(e.st), e.st.op
	if r.physical == "" {
		e.mark(r, "DELETE_COMPLETE", "")
		e.complete(t)
		return
	}
	keep := t.item.policy == "Retain" || t.item.policy == "RetainExceptOnCreate"
	if t.item.fresh && (t.item.policy == "RetainExceptOnCreate" || e.st.retainExceptOnCreate) {
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
func (e *engine) destroy(t *task, r *resource) {
	typ := r.def.Type.Name
	real := e.tx.Get(typ, r.physical)
	if real == nil {
		e.gone(t, r)
		return
	}
	if r.busy == "delete" {
		e.settleDelete(t, r, real)
		return
	}
	if r.busy != "" {
		// The outcome of what was under way doesn't matter any more.
		_ = e.tx.Settle(real, r.busy)
		r.busy = ""
	}
	if real.Data == nil {
		real.Data = map[string]any{}
	}
	delete(real.Data, "DeletionPolicy")
	if t.item.policy == "Snapshot" && !(t.item.fresh && r.status != "CREATE_COMPLETE") {
		real.Data["DeletionPolicy"] = "Snapshot"
	}
	took, err := e.tx.Delete(real, false)
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
func (e *engine) undeleted(t *task, r *resource, reason string) {
	if e.st.op.force {
		e.mark(r, "DELETE_SKIPPED", reason)
		e.complete(t)
		return
	}
	e.mark(r, "DELETE_FAILED", reason)
	e.stop(t, "delete")
}

func (e *engine) gone(t *task, r *resource) {
	e.mark(r, "DELETE_COMPLETE", "")
	e.complete(t)
}

func (e *engine) finishRemove(t *task) {
	r := t.record(e.st)
	real := e.tx.Get(r.def.Type.Name, r.physical)
	if t.stage != acting || real == nil {
		e.destroy(t, r)
		return
	}
	e.settleDelete(t, r, real)
}

// settleDelete ends a deletion that the service has accepted.
func (e *engine) settleDelete(t *task, r *resource, real *account.Resource) {
	r.busy = ""
	if err := e.tx.Settle(real, "delete"); err != nil {
		e.undeleted(t, r, handlerError(e.tx, r.def.Type.Name, err))
		return
	}
	e.gone(t, r)
}
