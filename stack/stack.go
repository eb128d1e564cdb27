// Package stack is one CloudFormation stack's life: looked at, created and
// changed through change sets, followed by its events, deleted.
//
// All operations block until the stack is at rest or the context ends; an
// ended context never stops what CloudFormation is doing. Every operation may
// be repeated: it starts from what the stack is now. The [Driver] is safe for
// concurrent use on different stacks. No decision rests on comparing the clock
// with CloudFormation's, since the two differ.
package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// Time between two looks at a stack in motion: a twentieth of what it has
// taken so far, so that a wait is never much longer than it must be.
const (
	pollEvery  = 5 * time.Second
	pollAtMost = 20 * time.Second
)

// CloudFormation's answers lag behind its acts. An operation that shows no sign
// of itself for patience is taken to be over.
const patience = 2 * time.Minute

// blindness is how long looks at a stack may fail before it is lost sight of.
const blindness = 30 * time.Minute

// Driver drives the stacks of one account and region.
type Driver struct {
	CFN   *cloudformation.Client
	Clock clock.Clock
	// Emit receives the events of stacks in motion, in order for each stack,
	// from several goroutines. May be nil.
	Emit func(Event)
}

// Spec is what a stack shall be.
type Spec struct {
	Name       string
	Template   []byte
	Parameters map[string]string
	Tags       map[string]string
	// RoleARN is the role that CloudFormation acts as; "" is the caller's.
	RoleARN string
	// RevertDrift brings resources of an existing stack that were changed or
	// deleted outside of CloudFormation back to the template. See
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
	RevertDrift bool
}

// State is what a stack is.
type State struct {
	// ID is the stack's ARN; it differs between two stacks of one name.
	ID, Name   string
	Status     types.StackStatus
	Reason     string
	Outputs    map[string]string
	Parameters map[string]string
	Tags       map[string]string
	Created    time.Time
	// Updated is when the last change began, or Created.
	Updated   time.Time
	Protected bool // against deletion
}

// Exists tells whether the stack holds anything.
func (s *State) Exists() bool { return s != nil && ConditionOf(s.Status) != Absent }

// Event is a stack event of CloudFormation.
type Event struct {
	Time       time.Time            `json:"time"`
	Stack      string               `json:"stackName"`
	LogicalID  string               `json:"logicalId"`
	PhysicalID string               `json:"physicalId,omitempty"`
	Type       string               `json:"type"`
	Status     types.ResourceStatus `json:"status"`
	Reason     string               `json:"reason,omitempty"`
}

// IsStack tells that the event is the stack's own, not a resource's.
func (e Event) IsStack() bool { return e.Type == "AWS::CloudFormation::Stack" }

// Failed tells that the event says something went wrong.
func (e Event) Failed() bool { return strings.HasSuffix(string(e.Status), "_FAILED") }

// Error is a stack operation that failed.
type Error struct {
	Stack string
	// Status that the stack is at rest in; "" if CloudFormation refused the
	// operation before it began.
	Status types.StackStatus
	// Cause is the first real failure: not one that CloudFormation reports of
	// resources it cancelled because of it. Zero if no event says.
	Cause Event
	// Reason is the stack's own.
	Reason string
	// Skip are the resources, by logical id, that a failed rollback could not
	// restore; going on without them is for people to decide.
	Skip []string
}

// What is the failure without its cause.
func (e *Error) What() string {
	if e.Status == "" {
		return fmt.Sprintf("CloudFormation refuses the change of stack %s", e.Stack)
	}
	return fmt.Sprintf("stack %s is %s", e.Stack, e.Status)
}

func (e *Error) Error() string {
	if e.Cause.LogicalID == "" {
		return e.What() + ": " + e.Reason
	}
	return fmt.Sprintf("%s: %s (%s): %s", e.What(), e.Cause.LogicalID, e.Cause.Type, e.Cause.Reason)
}

// Describe looks at a stack by name or ARN; nil if there is none.
func (d *Driver) Describe(ctx context.Context, name string) (*State, error) {
	out, err := d.CFN.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if awsapi.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe stack %s: %w", name, err)
	}
	if len(out.Stacks) != 1 {
		return nil, fmt.Errorf("describe stack %s: %d stacks in the answer", name, len(out.Stacks))
	}
	return state(out.Stacks[0]), nil
}

// List looks at all stacks, by name.
func (d *Driver) List(ctx context.Context) ([]*State, error) {
	var all []*State
	pages := cloudformation.NewDescribeStacksPaginator(d.CFN, &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list stacks: %w", err)
		}
		for _, s := range page.Stacks {
			all = append(all, state(s))
		}
	}
	slices.SortFunc(all, func(a, b *State) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func state(s types.Stack) *State {
	st := &State{
		ID: aws.ToString(s.StackId), Name: aws.ToString(s.StackName), Status: s.StackStatus, Reason: aws.ToString(s.StackStatusReason),
		Outputs: map[string]string{}, Parameters: map[string]string{}, Tags: map[string]string{},
		Created: aws.ToTime(s.CreationTime), Updated: aws.ToTime(s.CreationTime), Protected: aws.ToBool(s.EnableTerminationProtection),
	}
	if s.LastUpdatedTime != nil {
		st.Updated = *s.LastUpdatedTime
	}
	for _, o := range s.Outputs {
		st.Outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	for _, p := range s.Parameters {
		st.Parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	for _, t := range s.Tags {
		st.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return st
}

// Rest waits until no operation is under way on the stack and returns it; nil
// if there is none. Events are emitted from now on, none from before.
func (d *Driver) Rest(ctx context.Context, name string) (*State, error) {
	st, err := d.Describe(ctx, name)
	if err != nil || st == nil || ConditionOf(st.Status) != Moving {
		return st, err
	}
	w := newWatch(st.ID, "")
	if _, err := d.events(ctx, w); err != nil {
		return nil, err
	}
	return d.follow(ctx, w)
}

// watch is a look at a stack over time.
type watch struct {
	id string
	// token marks the operation whose events count; "" is any.
	token string
	seen  map[string]bool // events by id
	last  string          // what the stack's own last event says
}

func newWatch(id, token string) *watch {
	return &watch{id: id, token: token, seen: map[string]bool{}}
}

// follow polls a stack, emits its new events and returns it once the operation
// is over; nil if the stack is gone. A look that fails decides nothing: it is
// repeated, unless the caller may not look any more.
func (d *Driver) follow(ctx context.Context, w *watch) (*State, error) {
	start := d.Clock.Now()
	sighted := start
	for {
		st, err := d.Describe(ctx, w.id)
		if err == nil {
			err = d.emitNew(ctx, w)
		}
		now := d.Clock.Now()
		switch {
		case err == nil && w.over(st, now.Sub(start)):
			return st, nil
		case err == nil:
			sighted = now
		case ctx.Err() != nil || awsapi.IsDenied(err) || awsapi.IsCredentials(err) && !awsapi.IsUnreachable(err):
			return nil, err
		case now.Sub(sighted) > blindness:
			return nil, fmt.Errorf("lose sight of stack %s: %w", w.id, err)
		}
		if err := d.Clock.Sleep(ctx, min(max(now.Sub(start)/20, pollEvery), pollAtMost)); err != nil {
			return nil, err
		}
	}
}

// over tells that the stack is at rest because the operation has ended, and not
// because it has yet to begin: status and events must agree.
func (w *watch) over(st *State, waited time.Duration) bool {
	switch {
	case st == nil:
		return waited > patience
	case ConditionOf(st.Status) == Moving:
		return false
	case st.Status == types.StackStatusDeleteComplete:
		return true
	}
	return w.last == string(st.Status) || waited > patience
}

func (d *Driver) emitNew(ctx context.Context, w *watch) error {
	fresh, err := d.events(ctx, w)
	if err != nil {
		return err
	}
	for _, e := range fresh {
		if d.Emit != nil {
			d.Emit(e)
		}
	}
	return nil
}

// events returns the stack's events that the watch has not seen, oldest first.
// Without a token it reads back to what it knows, at first one page.
func (d *Driver) events(ctx context.Context, w *watch) ([]Event, error) {
	var fresh []Event
	first := len(w.seen) == 0
	// CloudFormation answers newest first, give or take what arrives late: a
	// page is always read to its end.
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &w.id})
	for known := false; !known && pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read events of stack %s: %w", w.id, err)
		}
		known = w.token == "" && first
		for _, e := range page.StackEvents {
			if w.seen[aws.ToString(e.EventId)] || w.token != "" && aws.ToString(e.ClientRequestToken) != w.token {
				known = true
				continue
			}
			w.seen[aws.ToString(e.EventId)] = true
			fresh = append(fresh, Event{
				Time: aws.ToTime(e.Timestamp), Stack: aws.ToString(e.StackName), LogicalID: aws.ToString(e.LogicalResourceId),
				PhysicalID: aws.ToString(e.PhysicalResourceId), Type: aws.ToString(e.ResourceType), Status: e.ResourceStatus, Reason: aws.ToString(e.ResourceStatusReason),
			})
		}
	}
	slices.Reverse(fresh)
	for _, e := range fresh {
		if e.IsStack() {
			w.last = string(e.Status)
		}
	}
	return fresh, nil
}

// failure turns a stack at rest in an unwanted status into an error with the
// first real failure of the operation.
func (d *Driver) failure(ctx context.Context, st *State, token string) error {
	failed := &Error{Stack: st.Name, Status: st.Status, Reason: st.Reason}
	events, err := d.events(ctx, newWatch(st.ID, token))
	if err != nil {
		return errors.Join(failed, err)
	}
	for _, e := range events {
		if e.Failed() && !e.IsStack() && !cancelled(e.Reason) {
			failed.Cause = e
			break
		}
	}
	if ConditionOf(st.Status) != Stuck {
		return failed
	}
	held, err := d.Resources(ctx, st.ID)
	for _, r := range held {
		if r.Status == types.ResourceStatusUpdateFailed {
			failed.Skip = append(failed.Skip, r.LogicalID)
		}
	}
	return errors.Join(failed, err)
}

// cancelled tells that CloudFormation stopped the resource because another one
// failed.
func cancelled(reason string) bool {
	return strings.HasPrefix(reason, "Resource creation cancelled") || strings.HasPrefix(reason, "Resource update cancelled") || strings.HasPrefix(reason, "Resource deletion cancelled")
}

// Protect switches the stack's termination protection.
func (d *Driver) Protect(ctx context.Context, name string, on bool) error {
	_, err := d.CFN.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: &name, EnableTerminationProtection: &on})
	if err != nil {
		return fmt.Errorf("set termination protection of stack %s: %w", name, err)
	}
	return nil
}

// Policy replaces the stack's policy. A change set can't carry one.
func (d *Driver) Policy(ctx context.Context, name, body string) error {
	_, err := d.CFN.SetStackPolicy(ctx, &cloudformation.SetStackPolicyInput{StackName: &name, StackPolicyBody: &body})
	if err != nil {
		return fmt.Errorf("set policy of stack %s: %w", name, err)
	}
	return nil
}

// Template returns the stack's template as it was sent.
func (d *Driver) Template(ctx context.Context, name string) ([]byte, error) {
	out, err := d.CFN.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &name, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return nil, fmt.Errorf("get template of stack %s: %w", name, err)
	}
	return []byte(aws.ToString(out.TemplateBody)), nil
}

// Resource is a resource of a stack.
type Resource struct {
	LogicalID, PhysicalID, Type string
	Status                      types.ResourceStatus
	Updated                     time.Time
}

// Resources lists what the stack holds, by logical id.
func (d *Driver) Resources(ctx context.Context, name string) ([]Resource, error) {
	var all []Resource
	pages := cloudformation.NewListStackResourcesPaginator(d.CFN, &cloudformation.ListStackResourcesInput{StackName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list resources of stack %s: %w", name, err)
		}
		for _, r := range page.StackResourceSummaries {
			all = append(all, Resource{
				LogicalID: aws.ToString(r.LogicalResourceId), PhysicalID: aws.ToString(r.PhysicalResourceId),
				Type: aws.ToString(r.ResourceType), Status: r.ResourceStatus, Updated: aws.ToTime(r.LastUpdatedTimestamp),
			})
		}
	}
	slices.SortFunc(all, func(a, b Resource) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return all, nil
}
