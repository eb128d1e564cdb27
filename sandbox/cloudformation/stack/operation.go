package stack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// An operation goes through phases; each is a set of tasks, one per resource,
// that wait for each other and otherwise run side by side. Events of the
// account end tasks. Which tasks there are is all that distinguishes creating,
// updating, rolling back and deleting.

// phase is what an operation is doing.
type phase string

const (
	deploying  phase = "deploying"   // create and update resources
	cleaning   phase = "cleaning"    // remove what an update has left
	restoring  phase = "restoring"   // go back to the stable deployment
	sweeping   phase = "sweeping"    // remove what a rolled-back update has made
	unmaking   phase = "unmaking"    // roll back a creation
	removing   phase = "removing"    // delete the stack
	concluding phase = "concluding"  // nothing left but the stack itself
	notStarted phase = "not started" // the service prepares
)

// running is an operation in flight.
type running struct {
	id, kind, token string
	// caller is whose permissions the operation uses: the role given to
	// CloudFormation, or who asked for it.
	caller string
	// session is what the caller's credentials carried.
	session  *account.Session
	target   *Deployment
	phase    phase
	serial   int // of the phase; events of earlier phases are stale
	tasks    map[string]*task
	ready    []string
	inFlight int
	// refusal makes the operation fail before it touches anything.
	refusal string
	// retain are the resources that a deletion leaves alone, and force leaves
	// what can't be deleted.
	retain []string
	force  bool
	fails  []failure
}

type failure struct{ id, verb string }

// stage is how far a task is.
type stage int

const (
	waiting  stage = iota // for other tasks
	settling              // an earlier operation on the resource has to end
	clearing              // a failed resource goes before it is made again
	acting                // the operation itself
	retrying              // the service refused for now
	done
	failed
)

// task is one resource's part of a phase.
type task struct {
	key   string
	id    string
	stage stage
	open  int      // tasks it waits for
	next  []string // tasks that wait for it
	verb  string   // create, update, restore, delete
	item  *Resource
	tries int
	// before are the properties that a refused update leaves.
	before map[string]any
}

func (o *running) clone() *running {
	c := *o
	c.tasks = make(map[string]*task, len(o.tasks))
	items := map[*Resource]*Resource{}
	for k, t := range o.tasks {
		x := *t
		if t.item != nil {
			if items[t.item] == nil {
				r := *t.item
				items[t.item] = &r
			}
			x.item = items[t.item]
		}
		c.tasks[k] = &x
	}
	c.ready = slices.Clone(o.ready)
	c.fails = slices.Clone(o.fails)
	return &c
}

// EventKind is the account event that drives stacks.
const EventKind = "cloudformation:stack"

func (e *Engine) after(d time.Duration, do, key string) {
	e.tx.After(d, e.event(do, key))
}

func (e *Engine) event(do, key string) account.Event {
	return account.Event{Kind: EventKind, Type: Type, ID: e.Stack.ID, Data: map[string]any{"do": do, "key": key, "serial": e.Stack.op.serial}}
}

// Handle is the handler of [EventKind].
func Handle(tx *account.Tx, ev account.Event) {
	r := tx.Get(ev.Type, ev.ID)
	if r == nil {
		return
	}
	e := open(tx, r)
	op := e.Stack.op
	do, _ := ev.Data["do"].(string)
	if op == nil {
		return
	}
	defer func(caller string, session *account.Session, patient bool) {
		tx.Caller, tx.Session, tx.Patient = caller, session, patient
	}(tx.Caller, tx.Session, tx.Patient)
	tx.Caller, tx.Session, tx.Patient = op.caller, op.session, true
	if do == "timeout" {
		// It is of the operation, not of a phase.
		if op.id == ev.Data["key"] && (op.phase == deploying || op.phase == notStarted) {
			e.abandon("Stack creation time exceeded the specified timeout. ")
		}
		return
	}
	if ev.Data["serial"] != op.serial {
		return
	}
	switch do {
	case "begin":
		e.took("prepare")
		e.deploy()
	case "conclude":
		e.took("conclude")
		e.conclude()
	case "task":
		key, _ := ev.Data["key"].(string)
		serial := op.serial
		e.finish(op.tasks[key])
		if e.Stack.op == op && op.serial == serial {
			// Otherwise it has turned round, and runs or is over already.
			e.run()
		}
	}
}

// begin starts an operation. The first half of the service's own time comes
// before the resources, the other half after.
func (e *Engine) begin(kind, token string, target *Deployment) *running {
	id := e.tx.UUID()
	e.Stack.serial++
	op := &running{id: id, kind: kind, token: token, caller: e.tx.Caller, session: e.tx.Session, target: target, phase: notStarted, serial: e.Stack.serial}
	if e.Stack.Current != nil && e.Stack.Current.Role != "" {
		op.caller, op.session = e.Stack.Current.Role, nil
	}
	if e.Role != "" {
		op.caller = e.Role
	}
	e.Stack.op = op
	e.Stack.Operations = append(e.Stack.Operations, Operation{ID: id, Kind: kind, Token: token})
	return op
}

// The kinds of operations that go back.
const (
	rollbackKind = "ROLLBACK"
	continueKind = "CONTINUE_ROLLBACK"
)

// goBack makes the way back of a failed operation an operation of its own.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeEvents.html
func (e *Engine) goBack() {
	op := e.Stack.op
	if n := len(e.Stack.Operations); n > 0 {
		e.Stack.Operations[n-1].Outcome = "failed"
	}
	op.id = e.tx.UUID()
	e.Stack.Operations = append(e.Stack.Operations, Operation{ID: op.id, Kind: rollbackKind})
}

func (e *Engine) overhead() time.Duration {
	return e.tx.Latency("cfn:stack/overhead", e.Stack.Name+"#"+strconv.Itoa(e.Stack.serial)) / 2
}

// took tells of the service's own time, which is over.
func (e *Engine) took(part string) {
	verb, _, _ := strings.Cut(strings.ToLower(e.Stack.op.kind), "_")
	e.tx.Operated(account.Operation{Type: Type, ID: e.Stack.ID, Stack: e.Stack.Name, Verb: verb, Part: part}, e.overhead())
}

// enter replaces the tasks by those of another phase.
func (e *Engine) enter(p phase, tasks map[string]*task) {
	e.Stack.serial++
	op := e.Stack.op
	e.tx.Caller, e.tx.Session, e.tx.Patient = op.caller, op.session, true
	op.phase, op.serial, op.tasks, op.ready, op.inFlight = p, e.Stack.serial, tasks, nil, 0
	for k, t := range tasks {
		if t.open == 0 {
			op.ready = append(op.ready, k)
		}
	}
}

// order makes tasks wait: before gives the tasks that must be done first.
func order(tasks map[string]*task, before func(*task) []string) {
	for k, t := range tasks {
		for _, b := range before(t) {
			if o := tasks[b]; o != nil && b != k {
				o.next = append(o.next, k)
				t.open++
			}
		}
	}
}

// run starts what can start and, if nothing is left to do, ends the phase.
func (e *Engine) run() {
	op := e.Stack.op
	serial := op.serial
	for len(op.ready) > 0 {
		batch := op.ready
		op.ready = nil
		slices.Sort(batch)
		for _, k := range batch {
			e.start(op.tasks[k])
			if e.Stack.op != op || op.serial != serial {
				// The start failed and the operation has turned round; it
				// runs already.
				return
			}
		}
	}
	if op.inFlight > 0 {
		return
	}
	if k := op.knot(); k != "" {
		op.tasks[k].open = 0
		op.ready = append(op.ready, k)
		e.run()
		return
	}
	e.ended()
}

// knot is a removal to start although it waits for another: what is left of
// several deployments may depend on each other in a circle.
func (o *running) knot() string {
	if o.phase == deploying || o.phase == restoring || len(o.fails) > 0 {
		return ""
	}
	k := ""
	for key, t := range o.tasks {
		if t.stage == waiting && (k == "" || key < k) {
			k = key
		}
	}
	return k
}

func (e *Engine) start(t *task) {
	switch e.Stack.op.phase {
	case deploying:
		e.startDeploy(t)
	case restoring:
		e.startRestore(t)
	default:
		e.startRemove(t)
	}
}

// wait lets the task go on after d.
func (e *Engine) wait(t *task, s stage, d time.Duration) { e.await(t, s, d, false) }

// await is wait, idle if the task waits for something outside of the account.
func (e *Engine) await(t *task, s stage, d time.Duration, idle bool) {
	if t.stage == waiting {
		e.Stack.op.inFlight++
	}
	t.stage = s
	ev := e.event("task", t.key)
	ev.Idle = idle
	e.tx.After(d, ev)
}

// complete ends a task well.
func (e *Engine) complete(t *task) {
	op := e.Stack.op
	if t.stage != waiting {
		op.inFlight--
	}
	t.stage = done
	for _, k := range t.next {
		n := op.tasks[k]
		if n.open--; n.open == 0 {
			op.ready = append(op.ready, k)
		}
	}
}

// stop ends a task badly: what waits for it never starts.
func (e *Engine) stop(t *task, verb string) {
	if t.stage != waiting {
		e.Stack.op.inFlight--
	}
	t.stage = failed
	e.Stack.op.fails = append(e.Stack.op.fails, failure{t.id, verb})
}

// finish goes on with a task whose time is over.
func (e *Engine) finish(t *task) {
	if t == nil || t.stage == done || t.stage == failed {
		return
	}
	switch e.Stack.op.phase {
	case deploying:
		e.finishDeploy(t)
	case restoring:
		e.finishRestore(t)
	default:
		e.finishRemove(t)
	}
}

// ended decides what comes after a phase.
func (e *Engine) ended() {
	st, op := e.Stack, e.Stack.op
	switch op.phase {
	case deploying:
		if len(op.fails) > 0 {
			// Only with rollback disabled: otherwise the first failure has
			// turned the operation round.
			e.become(failedStatus(op), reasons(op.fails))
			st.op = nil
			return
		}
		e.enter(concluding, nil)
		e.after(e.overhead(), "conclude", "")
	case removing:
		if len(op.fails) > 0 {
			e.become("DELETE_FAILED", reasons(op.fails))
			st.op = nil
			return
		}
		e.enter(concluding, nil)
		e.after(e.overhead(), "conclude", "")
	case cleaning:
		reason := ""
		if len(op.fails) > 0 {
			reason = "Update successful. One or more resources could not be deleted."
		}
		e.settle("UPDATE_COMPLETE", reason)
	case sweeping:
		reason := ""
		if len(op.fails) > 0 {
			reason = "Rollback successful. One or more resources could not be deleted."
		}
		e.settle("UPDATE_ROLLBACK_COMPLETE", reason)
	case restoring:
		e.restored()
	case unmaking:
		if len(op.fails) > 0 {
			e.become("ROLLBACK_FAILED", reasons(op.fails))
			st.op = nil
			return
		}
		e.settle("ROLLBACK_COMPLETE", "")
	}
}

// settle ends the operation in a state from which the stack can go on.
func (e *Engine) settle(status, reason string) {
	e.Stack.garbage, e.Stack.undo, e.Stack.duringUpdate = nil, nil, nil
	for _, r := range e.Stack.Resources {
		r.touched = false
	}
	e.become(status, reason)
	e.Stack.op = nil
}

// conclude ends creating, updating and deleting.
func (e *Engine) conclude() {
	op := e.Stack.op
	if op.kind == "DELETE_STACK" || e.Stack.Status == "DELETE_IN_PROGRESS" {
		e.deleted()
		return
	}
	outputs, err := e.outputs(op.target)
	if err != nil {
		e.turn(Message(err)+". ", nil)
		return
	}
	e.Stack.Outputs = outputs
	e.Stack.imports = e.scope(op.target).Imports()
	e.Stack.stable = op.target
	if op.kind == "CREATE_STACK" && e.Stack.Status == "CREATE_IN_PROGRESS" {
		e.settle("CREATE_COMPLETE", "")
		return
	}
	e.become("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
	e.clean()
}

// reasons words failures as the stack's reason.
func reasons(fails []failure) string {
	var b strings.Builder
	for _, verb := range []string{"create", "update", "delete"} {
		var ids []string
		for _, f := range fails {
			if f.verb == verb && !slices.Contains(ids, f.id) {
				ids = append(ids, f.id)
			}
		}
		if len(ids) > 0 {
			slices.Sort(ids)
			fmt.Fprintf(&b, "The following resource(s) failed to %s: [%s]. ", verb, strings.Join(ids, ", "))
		}
	}
	return b.String()
}

// Message is a service error's message without its code.
func Message(err error) string {
	if ae, ok := err.(*account.Error); ok {
		return ae.Message
	}
	return err.Error()
}

// deleted ends a deletion: the stack stays, to be described by its id.
func (e *Engine) deleted() {
	st := e.Stack
	e.become("DELETE_COMPLETE", "")
	st.op, st.undo, st.garbage, st.imports = nil, nil, nil, nil
	st.Deleted = e.tx.Now()
	for _, r := range ChangeSets(e.tx, st.ID) {
		e.tx.Drop(ChangeSetType, r.ID)
	}
}
