package cloudformation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// The account's types for what the service itself keeps.
const (
	stackType     = "cloudformation:stack"
	changeSetType = "cloudformation:changeset"
)

// deletedStays is how long a deleted stack can be described by its id.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
const deletedStays = 90 * 24 * time.Hour

// deployment is what a request asked for. It never changes.
type deployment struct {
	template      *template.Template
	values        []template.Value
	tags          map[string]string
	capabilities  []string
	role          string
	notifications []string
	needs         map[string][]string // live resources with their dependencies
	scope         *template.Scope     // parameters and conditions; knows no resources
}

// resource is a stack's resource: its record, not the resource itself.
type resource struct {
	id  string
	def *template.Resource
	// physical is empty until the resource exists.
	physical       string
	status, reason string
	changed        time.Time
	// props are the properties as deployed, dynamic references unresolved. The
	// map never changes.
	props map[string]any
	// tags are those that CloudFormation has put on the resource, stackTags
	// all of the stack's at that time. Neither map ever changes.
	tags, stackTags map[string]string
	needs           []string
	// busy is the operation under way in the service ("create", "update") and
	// settles its end.
	busy    string
	settles time.Time
	// policy decides how it is removed, and fresh tells that the operation
	// that made it is being rolled back; they matter in a removal only.
	policy string
	fresh  bool
	// touched tells that the operation under way changed the resource.
	touched bool
}

// stack is the state of a stack; its account resource carries status and tags.
type stack struct {
	id, name                  string
	status, reason            string
	created, updated, deleted time.Time
	// current is the deployment that the stack is described by, stable the one
	// that a rollback goes back to.
	current, stable *deployment
	resources       map[string]*resource
	// undo are the records as of stable of what was touched since; nil for
	// what was not there. garbage is to be removed when things are settled.
	undo    map[string]*resource
	garbage []*resource
	outputs []template.Output
	imports []string
	events  []*event
	// validations are the findings of the checks before deployment.
	validations []*event
	// secrets are values of NoEcho parameters, not to be shown.
	secrets []string

	policy, duringUpdate *policy
	protected            bool
	disableRollback      bool
	retainExceptOnCreate bool
	onFailure            string
	timeout              int
	deletionMode         string
	changeSet            string
	tokens               map[string]string
	operations           []operationEntry
	op                   *operation
	serial               int
}

type operationEntry struct{ id, kind string }

// CloneState implements [account.State].
func (s *stack) CloneState() account.State {
	c := *s
	c.resources = cloneRecords(s.resources)
	c.undo = cloneRecords(s.undo)
	c.garbage = make([]*resource, len(s.garbage))
	for i, r := range s.garbage {
		x := *r
		c.garbage[i] = &x
	}
	// Events never change, and a clone that appends gets an array of its own.
	c.events = slices.Clip(s.events)
	c.outputs = slices.Clip(s.outputs)
	c.operations = slices.Clip(s.operations)
	c.tokens = maps.Clone(s.tokens)
	if s.op != nil {
		c.op = s.op.clone()
	}
	return &c
}

func cloneRecords(m map[string]*resource) map[string]*resource {
	if m == nil {
		return nil
	}
	c := make(map[string]*resource, len(m))
	for id, r := range m {
		if r != nil {
			x := *r
			r = &x
		}
		c[id] = r
	}
	return c
}

// engine works on one stack inside one transaction.
type engine struct {
	tx *account.Tx
	st *stack
	r  *account.Resource
}

func open(tx *account.Tx, r *account.Resource) *engine {
	return &engine{tx: tx, st: r.State.(*stack), r: r}
}

// find returns the stack of a name or id. Deleted stacks are found by id only.
func find(tx *account.Tx, nameOrID string) *engine {
	if strings.HasPrefix(nameOrID, "arn:") {
		r := tx.Get(stackType, nameOrID)
		if r == nil || expired(tx, r.State.(*stack)) {
			return nil
		}
		return open(tx, r)
	}
	for _, r := range tx.List(stackType) {
		if st := r.State.(*stack); st.name == nameOrID && st.status != "DELETE_COMPLETE" {
			return open(tx, r)
		}
	}
	return nil
}

func expired(tx *account.Tx, st *stack) bool {
	return st.status == "DELETE_COMPLETE" && tx.Now().Sub(st.deleted) > deletedStays
}

// stacks are all stacks that can still be described, the newest first.
func stacks(tx *account.Tx) []*stack {
	var out []*stack
	for _, r := range tx.List(stackType) {
		if st := r.State.(*stack); !expired(tx, st) {
			out = append(out, st)
		}
	}
	slices.SortStableFunc(out, func(a, b *stack) int { return b.created.Compare(a.created) })
	return out
}

// blank is a stack without resources that isn't in the account yet.
func blank(tx *account.Tx, name string) *engine {
	id := tx.ARN("cloudformation", "stack/"+name+"/"+uuid(tx))
	st := &stack{id: id, name: name, created: tx.Now(), resources: map[string]*resource{}, tokens: map[string]string{}, onFailure: "ROLLBACK"}
	return open(tx, &account.Resource{Type: stackType, ID: id, Owner: tx.Caller, Created: tx.Now(), State: st})
}

func uuid(tx *account.Tx) string {
	h := tx.HexID(32)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// become moves the stack to a status and records it.
func (e *engine) become(status, reason string) {
	e.st.status, e.st.reason = status, reason
	e.r.Status = status
	e.record(event{logical: e.st.name, physical: e.st.id, typ: "AWS::CloudFormation::Stack", status: status, reason: reason})
	switch {
	case status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE":
		e.executed(true)
	case !strings.HasSuffix(status, "_IN_PROGRESS"):
		e.executed(false)
	}
}

// mark moves a resource's record to a status and records it.
func (e *engine) mark(r *resource, status, reason string) {
	r.status, r.reason, r.changed = status, reason, e.tx.Now()
	e.record(event{logical: r.id, physical: r.physical, typ: r.def.Type.Name, status: status, reason: reason, props: r.props})
}

// adopt makes a deployment the current one.
func (e *engine) adopt(d *deployment) {
	e.st.current = d
	e.st.secrets = secrets(e.st.secrets, d)
	e.r.Tags = maps.Clone(d.tags)
}

// scope is the deployment's scope with the stack's resources as they are.
func (e *engine) scope(d *deployment) *template.Scope {
	s := *d.scope
	s.Resource = func(id string) any {
		if r := e.st.resources[id]; r != nil && r.physical != "" {
			return r.physical
		}
		return facts.Unknown{}
	}
	s.Attribute = func(id, name string) (any, error) {
		r := e.st.resources[id]
		if r == nil || r.physical == "" {
			return facts.Unknown{}, nil
		}
		return attribute(e.tx, r, name)
	}
	s.Import = func(name string) (string, bool) { return export(e.tx, name) }
	return &s
}

// attribute is what Fn::GetAtt gives of a resource that exists.
func attribute(tx *account.Tx, r *resource, name string) (any, error) {
	real := tx.Get(r.def.Type.Name, r.physical)
	if real == nil {
		return nil, account.Errorf("NotFound", "Resource of type '%s' with identifier '%s' was not found.", r.def.Type.Name, r.physical)
	}
	if v, ok := real.Attrs[name]; ok && v != nil {
		return v, nil
	}
	if v, ok := real.Props[name]; ok {
		return v, nil
	}
	return nil, account.Errorf("ValidationError", "Attribute '%s' of %s is not modelled or has no value", name, r.def.Type.Name)
}

// export finds an exported value.
func export(tx *account.Tx, name string) (string, bool) {
	_, o := exporter(tx, name)
	if o == nil {
		return "", false
	}
	return o.Value, true
}

func exporter(tx *account.Tx, name string) (*stack, *template.Output) {
	for _, r := range tx.List(stackType) {
		st := r.State.(*stack)
		if st.status == "DELETE_COMPLETE" {
			continue
		}
		for i, o := range st.outputs {
			if o.Export == name {
				return st, &st.outputs[i]
			}
		}
	}
	return nil, nil
}

// importers are the names of the stacks that import an export.
func importers(tx *account.Tx, name string) []string {
	var out []string
	for _, r := range tx.List(stackType) {
		if st := r.State.(*stack); st.status != "DELETE_COMPLETE" && slices.Contains(st.imports, name) {
			out = append(out, st.name)
		}
	}
	slices.Sort(out)
	return out
}
