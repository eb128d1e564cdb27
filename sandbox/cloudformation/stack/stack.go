// Package stack is the life of CloudFormation stacks: creating, updating,
// rolling back and deleting resources in order of their dependencies, side by
// side where they have none.
//
// A [Stack] is data in the account, the operation in flight included. It goes
// on by the account's events, see [Handle]; nothing here waits. Deployments,
// events and property maps never change once they are made, so clones share
// them. The fields of [Stack] and [Resource] are for others to read; they
// change through the methods of [Engine], except for the settings, which
// requests set before they start an operation.
package stack

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/policy"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// The account's types of stacks and change sets. Change sets are owned by
// their stack and go with it.
const (
	Type          = "cloudformation:stack"
	ChangeSetType = "cloudformation:changeset"
)

// deletedStays is how long a deleted stack can be described by its id.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
const deletedStays = 90 * 24 * time.Hour

// Resource is a stack's resource: its record, not the resource itself.
type Resource struct {
	// ID is the logical id.
	ID  string
	Def *template.Resource
	// Physical is empty until the resource exists.
	Physical       string
	Status, Reason string
	Changed        time.Time
	// Props are the properties as deployed, dynamic references unresolved.
	Props map[string]any
	// StackTags are the stack's tags when the resource was deployed.
	StackTags map[string]string

	// tags are those that CloudFormation has put on the resource.
	tags  map[string]string
	needs []string
	// busy is the operation under way in the service ("create", "update",
	// "delete") and settles its end.
	busy    string
	settles time.Time
	// policy decides how it is removed, and fresh tells that the operation
	// that made it is being rolled back; they matter in a removal only.
	policy string
	fresh  bool
	// touched tells that the resource changed since the stack was stable.
	touched bool
	// live are the properties that the resource had when a deployment that
	// reverts drift touched it, for the way back; in records of undo only.
	live map[string]any

	// Drift is what the last detection found; nil if there was none since the
	// resource was deployed.
	Drift *Drift
}

// Stack is the state of a stack; its account resource carries status and tags.
type Stack struct {
	ID, Name       string
	Status, Reason string
	// Deleted is when the deletion began.
	Created, Updated, Deleted time.Time
	// Current is the deployment that describes the stack; nil if there are
	// only change sets.
	Current *Deployment
	// Resources are by logical id.
	Resources map[string]*Resource
	Outputs   []template.Output
	// Events are in order of time.
	Events []*Event
	// Validations are what the last checks before deployment found.
	Validations []*Event
	// Secrets are values of NoEcho parameters, not to be shown.
	Secrets []string
	// Operations are all there were, the latest last.
	Operations []Operation
	// Detections are the drift detections there were, the latest last.
	Detections []Detection

	// The settings.
	Policy               *policy.Policy
	Protected            bool
	DisableRollback      bool
	RetainExceptOnCreate bool
	OnFailure            string // ROLLBACK or DELETE
	Timeout              int    // of the creation, in minutes; 0 is none
	DeletionMode         string
	ChangeSet            string            // the id of the one executed last
	Tokens               map[string]string // request tokens and what for

	// stable is the deployment that a rollback goes back to, and undo are the
	// records as of then of what was touched since; nil for what was not
	// there. garbage is to be removed when things are settled.
	stable       *Deployment
	undo         map[string]*Resource
	garbage      []*Resource
	imports      []string
	duringUpdate *policy.Policy
	op           *running
	serial       int
}

// Operation is an operation on the stack, by the request with the token; its
// outcome is empty while it is in flight, then "done" or "failed". The way back
// of a failed one is an operation of its own.
type Operation struct{ ID, Kind, Outcome, Token string }

// Operation finds an operation by its id; nil if there was none.
func (s *Stack) Operation(id string) *Operation {
	for i := len(s.Operations) - 1; i >= 0; i-- {
		if s.Operations[i].ID == id {
			return &s.Operations[i]
		}
	}
	return nil
}

// Outcome is how an operation has ended.
func (s *Stack) Outcome(operation string) string {
	if o := s.Operation(operation); o != nil {
		return o.Outcome
	}
	return ""
}

// Requested is the id of the operation that a request with the token began.
func (s *Stack) Requested(token string) string {
	for _, o := range s.Operations {
		if o.Token == token {
			return o.ID
		}
	}
	return ""
}

// CloneState implements [account.State].
func (s *Stack) CloneState() account.State {
	c := *s
	c.Resources = cloneRecords(s.Resources)
	c.undo = cloneRecords(s.undo)
	c.garbage = make([]*Resource, len(s.garbage))
	for i, r := range s.garbage {
		x := *r
		c.garbage[i] = &x
	}
	// Events never change, and a clone that appends gets an array of its own.
	c.Events = slices.Clip(s.Events)
	c.Outputs = slices.Clip(s.Outputs)
	c.Operations = slices.Clone(s.Operations)
	c.Detections = slices.Clone(s.Detections)
	c.Tokens = maps.Clone(s.Tokens)
	if s.op != nil {
		c.op = s.op.clone()
	}
	return &c
}

func cloneRecords(m map[string]*Resource) map[string]*Resource {
	if m == nil {
		return nil
	}
	c := make(map[string]*Resource, len(m))
	for id, r := range m {
		if r != nil {
			x := *r
			r = &x
		}
		c[id] = r
	}
	return c
}

// Engine works on one stack inside one transaction, and is valid only there.
type Engine struct {
	Stack *Stack
	// Role acts for the operation that is started next, in place of the one
	// that the stack was deployed with.
	Role string

	tx *account.Tx
	r  *account.Resource
}

func open(tx *account.Tx, r *account.Resource) *Engine {
	return &Engine{tx: tx, Stack: r.State.(*Stack), r: r}
}

// Find returns the stack of a name or id. Deleted stacks are found by id only.
func Find(tx *account.Tx, nameOrID string) *Engine {
	if strings.HasPrefix(nameOrID, "arn:") {
		r := tx.Get(Type, nameOrID)
		if r == nil || expired(tx, r.State.(*Stack)) {
			return nil
		}
		return open(tx, r)
	}
	for _, r := range tx.Where(Type, "name", liveName, nameOrID) {
		return open(tx, r)
	}
	return nil
}

// liveName is the key that finds a stack by its name, which it keeps until it
// is deleted.
func liveName(r *account.Resource) string {
	if isLive(r) == "" {
		return ""
	}
	return r.State.(*Stack).Name
}

// isLive is the key that finds the stacks that aren't deleted.
func isLive(r *account.Resource) string {
	if r.Status == "DELETE_COMPLETE" {
		return ""
	}
	return "live"
}

// live are the account's resources of the stacks that aren't deleted, by id.
func live(tx *account.Tx) []*account.Resource { return tx.Where(Type, "live", isLive, "live") }

// ChangeSets are the account's resources of a stack's change sets, by id.
func ChangeSets(tx *account.Tx, stackID string) []*account.Resource {
	return tx.Where(ChangeSetType, "stack", func(r *account.Resource) string { return r.Owner }, stackID)
}

// Owner returns the stack that a resource with the physical id belongs to, or
// nil.
func Owner(tx *account.Tx, physicalID string) *Engine {
	for _, r := range live(tx) {
		for _, res := range r.State.(*Stack).Resources {
			if res.Physical == physicalID {
				return open(tx, r)
			}
		}
	}
	return nil
}

// OfOperation is the stack that an operation was on, or nil.
func OfOperation(tx *account.Tx, operation string) *Stack {
	r := tx.Find(Type, func(r *account.Resource) bool { return r.State.(*Stack).Operation(operation) != nil })
	if r == nil {
		return nil
	}
	return r.State.(*Stack)
}

func expired(tx *account.Tx, st *Stack) bool {
	return st.Status == "DELETE_COMPLETE" && tx.Now().Sub(st.Deleted) > deletedStays
}

// All are all stacks that can still be described, the newest first.
func All(tx *account.Tx) []*Stack {
	var out []*Stack
	for _, r := range tx.List(Type) {
		if st := r.State.(*Stack); !expired(tx, st) {
			out = append(out, st)
		}
	}
	slices.SortStableFunc(out, func(a, b *Stack) int { return b.Created.Compare(a.Created) })
	return out
}

// Live are the stacks that are not deleted, the newest first.
func Live(tx *account.Tx) []*Stack {
	var out []*Stack
	for _, r := range live(tx) {
		out = append(out, r.State.(*Stack))
	}
	slices.SortStableFunc(out, func(a, b *Stack) int { return b.Created.Compare(a.Created) })
	return out
}

// Full tells that there are so many stacks, those deleted not counted.
func Full(tx *account.Tx, most int) bool { return tx.Count(Type) >= most && len(live(tx)) >= most }

// New is a stack without resources that isn't in the account yet.
func New(tx *account.Tx, name string) *Engine {
	id := tx.ARN("cloudformation", "stack/"+name+"/"+tx.UUID())
	st := &Stack{ID: id, Name: name, Created: tx.Now(), Resources: map[string]*Resource{}, Tokens: map[string]string{}, OnFailure: "ROLLBACK"}
	return open(tx, &account.Resource{Type: Type, ID: id, Owner: tx.Caller, Created: tx.Now(), State: st})
}

// become moves the stack to a status and records it.
func (e *Engine) become(status, reason string) {
	e.Stack.Status, e.Stack.Reason = status, reason
	e.r.Status = status
	e.tx.Reindex(e.r)
	e.record(Event{LogicalID: e.Stack.Name, PhysicalID: e.Stack.ID, Type: "AWS::CloudFormation::Stack", Status: status, Reason: reason})
	if n := len(e.Stack.Operations); n > 0 && !strings.HasSuffix(status, "_IN_PROGRESS") {
		o := &e.Stack.Operations[n-1]
		o.Outcome = "failed"
		switch status {
		case "CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE":
			o.Outcome = "done"
		case "ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE":
			if o.Kind == rollbackKind || o.Kind == continueKind {
				o.Outcome = "done"
			}
		}
	}
}

// mark moves a resource's record to a status and records it.
func (e *Engine) mark(r *Resource, status, reason string) {
	r.Status, r.Reason, r.Changed = status, reason, e.tx.Now()
	e.record(Event{LogicalID: r.ID, PhysicalID: r.Physical, Type: r.Def.Type.Name, Status: status, Reason: reason, Props: r.Props})
}

// adopt makes a deployment the current one.
func (e *Engine) adopt(d *Deployment) {
	e.Stack.Current = d
	e.Stack.Secrets = Secrets(e.Stack.Secrets, d)
	e.r.Tags = maps.Clone(d.Tags)
}

// scope is the deployment's scope with the stack's resources as they are.
func (e *Engine) scope(d *Deployment) *template.Scope {
	s := *d.Scope
	s.Resource = func(id string) any {
		if r := e.Stack.Resources[id]; r != nil && r.Physical != "" {
			return r.Physical
		}
		return facts.Unknown{}
	}
	s.Attribute = func(id, name string) (any, error) {
		r := e.Stack.Resources[id]
		if r == nil || r.Physical == "" {
			return facts.Unknown{}, nil
		}
		return Attribute(e.tx, r, name)
	}
	s.Import = func(name string) (string, bool) { return Export(e.tx, name) }
	return &s
}

// Attribute is what Fn::GetAtt gives of a resource that exists.
func Attribute(tx *account.Tx, r *Resource, name string) (any, error) {
	real := tx.Get(r.Def.Type.Name, r.Physical)
	if real == nil {
		return nil, account.Errorf("NotFound", "Resource of type '%s' with identifier '%s' was not found.", r.Def.Type.Name, r.Physical)
	}
	if v, ok := real.Attrs[name]; ok && v != nil {
		return v, nil
	}
	if v, ok := real.Props[name]; ok {
		return v, nil
	}
	return nil, account.Errorf("ValidationError", "Attribute '%s' of %s is not modelled or has no value", name, r.Def.Type.Name)
}

// Export finds an exported value.
func Export(tx *account.Tx, name string) (string, bool) {
	_, o := exporter(tx, name)
	if o == nil {
		return "", false
	}
	return o.Value, true
}

func exporter(tx *account.Tx, name string) (*Stack, *template.Output) {
	for _, r := range live(tx) {
		st := r.State.(*Stack)
		for i, o := range st.Outputs {
			if o.Export == name {
				return st, &st.Outputs[i]
			}
		}
	}
	return nil, nil
}

// Importers are the names of the stacks that import an export.
func Importers(tx *account.Tx, name string) []string {
	var out []string
	for _, r := range live(tx) {
		if st := r.State.(*Stack); slices.Contains(st.imports, name) {
			out = append(out, st.Name)
		}
	}
	slices.Sort(out)
	return out
}
