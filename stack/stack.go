// Package stack is one CloudFormation stack's life: looked at, created and
// changed through change sets, followed by its events, deleted.
//
// All operations block until the stack is at rest or the context ends; an
// ended context never stops what CloudFormation is doing. Every operation may
// be repeated: it starts from what the stack is now. The [Driver] is safe for
// concurrent use on different stacks.
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
	PollEvery  = 5 * time.Second
	pollAtMost = 20 * time.Second
)

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
	// Updated is the end of the last change, or Created.
	Updated   time.Time
	Protected bool // against deletion
	// Drift as last detected, or "".
	Drift string
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
	Stack  string
	Status types.StackStatus
	// Cause is the first real failure: not one that CloudFormation reports of
	// resources it cancelled because of it. Zero if no event says.
	Cause Event
	// Reason is the stack's own.
	Reason string
}

func (e *Error) Error() string {
	if e.Cause.LogicalID == "" {
		return fmt.Sprintf("stack %s is %s: %s", e.Stack, e.Status, e.Reason)
	}
	return fmt.Sprintf("stack %s is %s: %s (%s): %s", e.Stack, e.Status, e.Cause.LogicalID, e.Cause.Type, e.Cause.Reason)
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

// List looks at all stacks that carry the tag, by name.
func (d *Driver) List(ctx context.Context, tag string) ([]*State, error) {
	var all []*State
	pages := cloudformation.NewDescribeStacksPaginator(d.CFN, &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list stacks: %w", err)
		}
		for _, s := range page.Stacks {
			if st := state(s); st.Tags[tag] != "" {
				all = append(all, st)
			}
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
	if s.DriftInformation != nil {
		st.Drift = string(s.DriftInformation.StackDriftStatus)
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
	return d.follow(ctx, st.ID, "", d.Clock.Now())
}

// follow polls a stack, emits its new events and returns it once it is at
// rest. With a token, only the events of that operation count. A look that
// fails decides nothing: it is repeated until the context ends, unless the
// caller's credentials are gone.
func (d *Driver) follow(ctx context.Context, id, token string, since time.Time) (*State, error) {
	seen := map[string]bool{}
	start := d.Clock.Now()
	for {
		st, err := d.Describe(ctx, id)
		if err == nil {
			err = d.emitNew(ctx, id, token, since, seen)
		}
		switch {
		case err == nil && (st == nil || ConditionOf(st.Status) != Moving):
			return st, nil
		case err != nil && (ctx.Err() != nil || awsapi.IsCredentials(err) || awsapi.IsDenied(err)):
			return nil, err
		}
		pause := d.Clock.Now().Sub(start) / 20
		if err := d.Clock.Sleep(ctx, min(max(pause, PollEvery), pollAtMost)); err != nil {
			return nil, err
		}
	}
}

func (d *Driver) emitNew(ctx context.Context, id, token string, since time.Time, seen map[string]bool) error {
	if d.Emit == nil {
		return nil
	}
	fresh, err := d.events(ctx, id, token, since, seen)
	if err != nil {
		return err
	}
	for _, e := range fresh {
		d.Emit(e)
	}
	return nil
}

// events returns the stack's events from since on that seen doesn't hold yet,
// oldest first, and adds them to seen.
func (d *Driver) events(ctx context.Context, id, token string, since time.Time, seen map[string]bool) ([]Event, error) {
	var fresh []Event
	// CloudFormation answers newest first.
	pages := cloudformation.NewDescribeStackEventsPaginator(d.CFN, &cloudformation.DescribeStackEventsInput{StackName: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read events of stack %s: %w", id, err)
		}
		known := false
		for _, e := range page.StackEvents {
			// Clocks differ between here and AWS, by a minute at most.
			if token == "" && aws.ToTime(e.Timestamp).Before(since) {
				known = true
				break
			}
			if seen[aws.ToString(e.EventId)] || token != "" && aws.ToString(e.ClientRequestToken) != token {
				known = true
				break
			}
			seen[aws.ToString(e.EventId)] = true
			fresh = append(fresh, Event{
				Time: aws.ToTime(e.Timestamp), Stack: aws.ToString(e.StackName), LogicalID: aws.ToString(e.LogicalResourceId),
				PhysicalID: aws.ToString(e.PhysicalResourceId), Type: aws.ToString(e.ResourceType), Status: e.ResourceStatus, Reason: aws.ToString(e.ResourceStatusReason),
			})
		}
		if known {
			break
		}
	}
	slices.Reverse(fresh)
	return fresh, nil
}

// failure turns a stack at rest in an unwanted status into an error with the
// first real failure of the operation.
func (d *Driver) failure(ctx context.Context, st *State, token string, since time.Time) error {
	failed := &Error{Stack: st.Name, Status: st.Status, Reason: st.Reason}
	events, err := d.events(ctx, st.ID, token, since, map[string]bool{})
	if err != nil {
		return errors.Join(failed, err)
	}
	for _, e := range events {
		if e.Failed() && !e.IsStack() && !cancelled(e.Reason) {
			failed.Cause = e
			break
		}
	}
	return failed
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
