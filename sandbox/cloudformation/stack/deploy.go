package stack

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/drift"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/dynamic"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// tagging is the change of nothing but a resource's tags, which the service
// doesn't see as an operation, and tagChange is how long it takes.
const (
	tagging   = "tagging"
	tagChange = 2 * time.Second
)

// deploy enters the phase that creates and updates.
func (e *Engine) deploy() {
	op := e.Stack.op
	if op.kind == "DELETE_STACK" {
		e.remove()
		return
	}
	if op.refusal != "" {
		e.turn(op.refusal+" ", nil)
		return
	}
	tasks := make(map[string]*task, len(op.target.Needs))
	for id := range op.target.Needs {
		tasks[id] = &task{key: id, id: id}
	}
	order(tasks, func(t *task) []string { return op.target.Needs[t.id] })
	e.enter(deploying, tasks)
	if e.Stack.undo == nil && e.Stack.stable != nil {
		e.Stack.undo = map[string]*Resource{}
	}
	// What the template no longer has is removed at the end, but a policy
	// speaks up at once.
	for _, id := range slices.Sorted(maps.Keys(e.Stack.Resources)) {
		r := e.Stack.Resources[id]
		if _, stays := op.target.Needs[id]; stays {
			continue
		}
		if reason := e.denied("Update:Delete", r); reason != "" {
			t := &task{key: id, id: id}
			e.touch(t.id)
			e.mark(r, "UPDATE_FAILED", reason)
			e.stop(t, "update")
			e.turn("", t)
			return
		}
	}
	e.run()
}

// denied is why the policy in force refuses an update, or "".
func (e *Engine) denied(action string, r *Resource) string {
	p := e.Stack.Policy
	if e.Stack.duringUpdate != nil {
		p = e.Stack.duringUpdate
	}
	return p.Denied(action, r.ID, r.Def.Type.Name)
}

// touch keeps the record as it was when the stack was last stable.
func (e *Engine) touch(id string) {
	if e.Stack.undo == nil {
		return
	}
	if _, ok := e.Stack.undo[id]; ok {
		return
	}
	r := e.Stack.Resources[id]
	if r != nil {
		x := *r
		if op := e.Stack.op; op.target != nil && op.target.Revert && r.Physical != "" && facts.ThreeWay(r.Def.Type.Name) {
			// The way back leads to what was there, not to what was deployed.
			x.live, _ = account.Copy(r.Live(e.tx)).(map[string]any)
		}
		r = &x
	}
	e.Stack.undo[id] = r
}

func (e *Engine) startDeploy(t *task) {
	d := e.Stack.op.target
	def := d.Template.Resources[t.id]
	r := e.Stack.Resources[t.id]
	e.touch(t.id)
	if r == nil || r.Physical == "" || d.Revert && facts.ThreeWay(r.Def.Type.Name) && r.Live(e.tx) == nil {
		r = &Resource{ID: t.id, Def: def}
		e.Stack.Resources[t.id] = r
	}
	if r.Status == "CREATE_FAILED" && r.Physical != "" {
		// Made by an earlier attempt that failed: it goes first.
		e.clear(t, r)
		return
	}
	if r.Physical == "" {
		e.create(t, r, def)
		return
	}
	e.change(t, r, def)
}

// clear deletes a resource whose creation failed in an earlier attempt.
func (e *Engine) clear(t *task, r *Resource) {
	t.verb = "create"
	if r.busy != "" && r.settles.After(e.tx.Now()) {
		e.wait(t, clearing, r.settles.Sub(e.tx.Now()))
		return
	}
	r.busy = ""
	real := e.tx.Get(r.Def.Type.Name, r.Physical)
	if real == nil {
		r.Physical = ""
		e.wait(t, clearing, 0)
		return
	}
	err := e.permit(r, real, "delete", real.Props)
	var took time.Duration
	if err == nil {
		took, err = e.tx.Delete(real, false)
	}
	if err != nil {
		e.failTask(t, r, "create", handlerError(e.tx, r.Def.Type.Name, err))
		return
	}
	r.busy, r.settles = "delete", e.tx.Now().Add(took)
	e.wait(t, clearing, took)
}

// properties evaluates and checks a resource's properties.
func (e *Engine) properties(d *Deployment, def *template.Resource) (map[string]any, error) {
	props, err := e.scope(d).Properties(def)
	if err != nil {
		return nil, errors.New(Message(err))
	}
	out, faults := def.Type.Normalise(props)
	if len(faults) > 0 {
		var b strings.Builder
		fmt.Fprintf(&b, "Properties validation failed for resource %s with message:", def.LogicalID)
		for _, f := range faults {
			b.WriteString("\n" + f.String())
		}
		return nil, errors.New(b.String())
	}
	return out, nil
}

func (e *Engine) create(t *task, r *Resource, def *template.Resource) {
	t.verb = "create"
	d := e.Stack.op.target
	r.Def, r.needs, r.touched = def, d.Needs[t.id], true
	props, err := e.properties(d, def)
	r.Props = props
	e.mark(r, "CREATE_IN_PROGRESS", "")
	if err != nil {
		e.failTask(t, r, "create", err.Error())
		return
	}
	took, reason := e.make(r, props)
	if reason != "" {
		e.failTask(t, r, "create", reason)
		return
	}
	e.mark(r, "CREATE_IN_PROGRESS", "Resource creation Initiated")
	e.wait(t, acting, took)
}

// make creates the resource itself and takes note of its id.
func (e *Engine) make(r *Resource, props map[string]any) (time.Duration, string) {
	typ := r.Def.Type.Name
	resolved, err := dynamic.Resolve(e.tx, props)
	if err != nil {
		return 0, Message(err)
	}
	if err := e.permit(r, nil, "create", resolved); err != nil {
		return 0, handlerError(e.tx, typ, err)
	}
	real, took, err := e.tx.CreateInStack(typ, resolved, e.Stack.ID, r.ID)
	if err != nil {
		return 0, handlerError(e.tx, typ, err)
	}
	r.Physical, r.tags = real.ID, nil
	policy, err := e.scope(e.Stack.Current).CreationPolicy(r.Def)
	if err != nil {
		return 0, Message(err)
	}
	if policy != nil {
		real.Data["CreationPolicy"] = account.Copy(policy)
	}
	e.tag(r, real)
	r.busy, r.settles = "create", e.tx.Now().Add(took)
	return took, ""
}

// permit asks whether the operation's principal has the permissions that the
// resource's handler needs.
func (e *Engine) permit(r *Resource, real *account.Resource, handler string, props map[string]any) error {
	c := account.Change{Type: r.Def.Type.Name, Handler: handler, Resource: real, Props: props, Stack: e.Stack.Name, LogicalID: r.ID}
	if d := e.Stack.Current; d != nil {
		c.Tags, c.Role = d.Tags, d.Role != ""
	}
	return e.tx.Permit(c)
}

// tag puts the stack's tags on a resource, except where it has its own.
func (e *Engine) tag(r *Resource, real *account.Resource) {
	tg := r.Def.Type.Tagging()
	want := map[string]string{}
	if tg.Stack {
		maps.Copy(want, e.Stack.Current.Tags)
	}
	if tg.System {
		want["aws:cloudformation:stack-name"] = e.Stack.Name
		want["aws:cloudformation:stack-id"] = e.Stack.ID
		want["aws:cloudformation:logical-id"] = r.ID
	}
	if real.Tags == nil {
		real.Tags = map[string]string{}
	}
	r.tags, r.StackTags = map[string]string{}, e.Stack.Current.Tags
	for k, v := range want {
		if _, own := real.Tags[k]; !own {
			real.Tags[k] = v
			r.tags[k] = v
		}
	}
}

// untag takes the stack's tags away again, for the type to see its own only.
func untag(r *Resource, real *account.Resource) {
	for k, v := range r.tags {
		if real.Tags[k] == v {
			delete(real.Tags, k)
		}
	}
}

// TagsDiffer tells whether the stack's tags differ from those deployed.
func TagsDiffer(r *Resource, d *Deployment) bool {
	return r.Def.Type.Tagging().Stack && !maps.Equal(r.StackTags, d.Tags)
}

// Changed are the properties that differ, in order.
func Changed(before, after map[string]any) []string {
	var out []string
	for k, v := range after {
		if old, ok := before[k]; !ok || !expression.Equal(old, v) {
			out = append(out, k)
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// change brings an existing resource to the new deployment.
func (e *Engine) change(t *task, r *Resource, def *template.Resource) {
	t.verb = "update"
	d := e.Stack.op.target
	props, err := e.properties(d, def)
	if err != nil {
		r.touched = true
		e.mark(r, "UPDATE_IN_PROGRESS", "")
		e.failTask(t, r, "update", err.Error())
		return
	}
	diff := Changed(r.Props, props)
	retag := TagsDiffer(r, d)
	next, back := props, 0
	if d.Revert && facts.ThreeWay(r.Def.Type.Name) {
		next, back = e.reverting(r, props)
		if back == 0 && !slices.ContainsFunc(diff, func(p string) bool { _, stays := props[p]; return !stays }) {
			// What the template changes is there already.
			diff = nil
		}
	}
	if len(diff) == 0 && back == 0 && !retag && r.Status != "UPDATE_FAILED" {
		r.Def, r.needs, r.Props, r.StackTags, r.Drift = def, d.Needs[t.id], props, d.Tags, nil
		e.complete(t)
		return
	}
	replace := false
	for _, p := range diff {
		replace = replace || def.Type.Replace(p) == "yes"
	}
	action := "Update:Modify"
	if replace {
		action = "Update:Replace"
	}
	r.touched = true
	old := r.Props
	t.before = old
	if reason := e.denied(action, r); reason != "" {
		e.failTask(t, r, "update", reason)
		return
	}
	r.Def, r.needs, r.Props, r.Drift = def, d.Needs[t.id], props, nil
	if replace {
		e.replace(t, r, old)
		return
	}
	e.mark(r, "UPDATE_IN_PROGRESS", "")
	took, err := e.update(r, next, len(diff)+back > 0 || r.Status == "UPDATE_FAILED")
	switch {
	case errors.Is(err, account.ErrReplace):
		if reason := e.denied("Update:Replace", r); reason != "" {
			e.failTask(t, r, "update", reason)
			return
		}
		e.replace(t, r, old)
	case err != nil:
		e.failTask(t, r, "update", handlerError(e.tx, def.Type.Name, err))
	default:
		e.wait(t, acting, took)
	}
}

// reverting are the properties to ask of a resource so that its drift goes, and
// how many differences that is. What is not to be put right stays as it is.
func (e *Engine) reverting(r *Resource, desired map[string]any) (map[string]any, int) {
	live := r.Live(e.tx)
	put, _ := Reverted(r, desired, live)
	next := maps.Clone(desired)
	for _, d := range drift.Compare(r.Def.Type, desired, live) {
		name := d.Property()
		if !slices.ContainsFunc(put, func(p drift.Difference) bool { return p.Property() == name }) && name != r.Def.Type.Tagging().Property {
			next[name] = account.Copy(live[name])
		}
	}
	return next, len(put)
}

// update changes the resource itself; if props stay, only its tags.
func (e *Engine) update(r *Resource, props map[string]any, differ bool) (time.Duration, error) {
	real := e.tx.Get(r.Def.Type.Name, r.Physical)
	if real == nil {
		return 0, notFound(r)
	}
	if err := e.permit(r, real, "update", props); err != nil {
		return 0, err
	}
	untag(r, real)
	op, took := tagging, tagChange
	if differ {
		op = "update"
		resolved, err := dynamic.Resolve(e.tx, props)
		if err == nil {
			err = e.allow(r, real)
		}
		if err == nil {
			before := real.Props
			if d := e.Stack.Current; d.Revert {
				real.Props = e.tx.Read(real)
			}
			if took, err = e.tx.Update(real, resolved, false); err != nil {
				real.Props = before
			}
		}
		if err != nil {
			e.tag(r, real)
			return 0, err
		}
	}
	e.tag(r, real)
	r.busy, r.settles = op, e.tx.Now().Add(took)
	return took, nil
}

// allow leaves the update policy with the resource, whose type acts upon it.
func (e *Engine) allow(r *Resource, real *account.Resource) error {
	policy, err := e.scope(e.Stack.Current).UpdatePolicy(r.Def)
	if err != nil {
		return err
	}
	delete(real.Data, "UpdatePolicy")
	if policy != nil {
		real.Data["UpdatePolicy"] = account.Copy(policy)
	}
	return nil
}

func notFound(r *Resource) error {
	return account.Errorf("NotFound", "Resource of type '%s' with identifier '%s' was not found.", r.Def.Type.Name, r.Physical)
}

// replace makes a new resource; the old one goes in the clean-up.
func (e *Engine) replace(t *task, r *Resource, old map[string]any) {
	if e.Stack.DisableRollback {
		// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html
		e.failTask(t, r, "update", "Replacement type updates not supported on stack with disable-rollback.")
		return
	}
	e.mark(r, "UPDATE_IN_PROGRESS", "Requested update requires the creation of a new physical resource; hence creating one.")
	if name := CustomName(r.Def.Type, r.Props); name != "" && name == CustomName(r.Def.Type, old) {
		e.failTask(t, r, "update", fmt.Sprintf("CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename %s and update the stack again.", name))
		return
	}
	before := *r
	before.Props, before.policy = old, r.Def.UpdateReplacePolicy
	took, reason := e.make(r, r.Props)
	if reason != "" {
		e.failTask(t, r, "update", reason)
		return
	}
	// The stable one is known from undo; any other is garbage at once.
	if u := e.Stack.undo[t.id]; u == nil || u.Physical != before.Physical {
		e.Stack.garbage = append(e.Stack.garbage, &before)
	}
	e.mark(r, "UPDATE_IN_PROGRESS", "Resource creation Initiated")
	e.wait(t, acting, took)
}

// CustomName is the name that the template gives a resource, where the name is
// all that identifies it.
func CustomName(t *facts.Type, props map[string]any) string {
	var parts []string
	for _, p := range t.ID {
		s, ok := props[p].(string)
		if t.Properties[p] == nil || !ok || s == "" {
			return ""
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "|")
}

func (e *Engine) finishDeploy(t *task) {
	r := e.Stack.Resources[t.id]
	if t.stage == clearing {
		if r.busy == "delete" {
			if real := e.tx.Get(r.Def.Type.Name, r.Physical); real != nil {
				if err := e.tx.Settle(real, "delete"); err != nil {
					e.failTask(t, r, "create", handlerError(e.tx, r.Def.Type.Name, err))
					return
				}
			}
			r.busy, r.Physical = "", ""
		}
		if r.Physical != "" {
			e.clear(t, r)
			return
		}
		e.create(t, r, e.Stack.op.target.Template.Resources[t.id])
		return
	}
	over, err := e.settled(t, r)
	switch {
	case err != nil:
		e.failTask(t, r, t.verb, handlerError(e.tx, r.Def.Type.Name, err))
	case over:
		e.mark(r, strings.ToUpper(t.verb)+"_COMPLETE", "")
		e.complete(t)
	}
}

// settled ends what was under way in the service. It is false if the resource
// needs more time, in which case the task waits.
func (e *Engine) settled(t *task, r *Resource) (bool, error) {
	op := r.busy
	r.busy = ""
	real := e.tx.Get(r.Def.Type.Name, r.Physical)
	if real == nil {
		return false, notFound(r)
	}
	if op == tagging {
		return true, nil
	}
	err := e.tx.Settle(real, op)
	if later, ok := errors.AsType[account.Later](err); ok {
		r.busy, r.settles = op, e.tx.Now().Add(time.Duration(later))
		e.await(t, acting, time.Duration(later), account.IsOutside(err))
		return false, nil
	}
	return err == nil, err
}

// failTask ends a task badly and, unless rollback is disabled, turns the
// operation round.
func (e *Engine) failTask(t *task, r *Resource, verb, reason string) {
	e.mark(r, strings.ToUpper(verb)+"_FAILED", reason)
	if t.stage == waiting && t.before != nil {
		// The service never took the change.
		r.Props = t.before
	}
	e.stop(t, verb)
	if !e.Stack.DisableRollback {
		e.turn("", t)
	}
}

// abandon ends an operation that goes on for too long or isn't wanted.
func (e *Engine) abandon(reason string) {
	e.turn(reason, nil)
}

// turn cancels what is under way and goes back. The reason is that of the
// failures unless it is given.
func (e *Engine) turn(reason string, cause *task) {
	st, op := e.Stack, e.Stack.op
	for _, k := range slices.Sorted(maps.Keys(op.tasks)) {
		t := op.tasks[k]
		if t == cause || t.stage == waiting || t.stage == done || t.stage == failed {
			continue
		}
		r := st.Resources[t.id]
		if t.verb == "create" {
			e.mark(r, "CREATE_FAILED", "Resource creation cancelled")
		} else {
			e.mark(r, "UPDATE_FAILED", "Resource update cancelled")
		}
		e.stop(t, t.verb)
	}
	if reason == "" {
		reason = reasons(op.fails)
	}
	op.fails = nil
	if st.DisableRollback {
		e.become(failedStatus(op), reason)
		st.op = nil
		return
	}
	if st.stable == nil {
		e.turnCreation(reason)
		return
	}
	e.goBack()
	e.become("UPDATE_ROLLBACK_IN_PROGRESS", reason)
	e.restore()
}

func (e *Engine) turnCreation(reason string) {
	st := e.Stack
	if st.OnFailure == "DELETE" {
		e.become("DELETE_IN_PROGRESS", reason+"Delete requested by user.")
		e.remove()
		return
	}
	e.goBack()
	e.become("ROLLBACK_IN_PROGRESS", reason+"Rollback requested by user.")
	e.unmake()
}

// failedStatus is where an operation without rollback ends when it fails.
func failedStatus(op *running) string {
	if op.kind == "CREATE_STACK" {
		return "CREATE_FAILED"
	}
	return "UPDATE_FAILED"
}

// outputs evaluates the outputs and checks exports.
func (e *Engine) outputs(d *Deployment) ([]template.Output, error) {
	out, err := e.scope(d).Outputs()
	if err != nil {
		return nil, err
	}
	now := map[string]string{}
	for _, o := range out {
		if o.Export == "" {
			continue
		}
		if st, _ := exporter(e.tx, o.Export); st != nil && st.ID != e.Stack.ID {
			return nil, account.Errorf("ValidationError", "Export with name %s is already exported by stack %s", o.Export, st.Name)
		}
		now[o.Export] = o.Value
	}
	for _, o := range e.Stack.Outputs {
		if o.Export == "" {
			continue
		}
		v, stays := now[o.Export]
		if stays && v == o.Value {
			continue
		}
		if users := Importers(e.tx, o.Export); len(users) > 0 {
			verb := "updated"
			if !stays {
				verb = "deleted"
			}
			return nil, account.Errorf("ValidationError", "Export %s cannot be %s as it is in use by %s", o.Export, verb, strings.Join(users, ", "))
		}
	}
	return out, nil
}
