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

	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/stack/template"
)

// Driver drives the stacks of one account and region.
type Driver struct {
	CFN   *cloudformation.Client
	Clock clock.Clock
	// Emit receives the events of stacks in motion, in order for each stack,
	// from several goroutines. May be nil, which spares most reads of events.
	Emit func(Event)
	// Tell receives, in words, what is waited for on a stack, from several
	// goroutines. May be nil.
	Tell func(stack, text string)
	// Seed draws by how much the pauses between looks differ.
	Seed uint64
}

// Spec is what a stack shall be.
type Spec struct {
	Name string
	// Template is nil for the one that the stack has, as that was sent.
	Template   []byte
	Parameters map[string]string
	Tags       map[string]string
	// RoleARN is the role that CloudFormation acts as; "" is the caller's.
	RoleARN string
	// RevertDrift brings resources of an existing stack that were changed or
	// deleted outside of CloudFormation back to the template. See
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
	RevertDrift bool
	// Clear comes before what is left of a stack whose creation or deletion failed
	// is deleted. May be nil.
	Clear Clear
}

// Clear is asked before what is left of a stack is deleted, and told what the stack
// still holds. It may refuse by an error, and take away what the deletion would
// leave behind. It may be asked again.
type Clear func(context.Context, *State, []Resource) error

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
	Updated time.Time
	// Deleted is when its deletion ended; zero if it is there.
	Deleted   time.Time
	Protected bool // against deletion
}

// statusOr is the stack's status, or another if there is no stack.
func (s *State) statusOr(none types.StackStatus) types.StackStatus {
	if s == nil {
		return none
	}
	return s.Status
}

// Exists tells whether the stack holds anything.
func (s *State) Exists() bool { return s != nil && ConditionOf(s.Status) != Absent }

// Failed tells that the stack is at rest because its last operation failed.
func (s *State) Failed() bool {
	if s == nil {
		return false
	}
	switch ConditionOf(s.Status) {
	case Stillborn, Halted, Stuck, Undeleted:
		return true
	}
	return s.Status == types.StackStatusUpdateRollbackComplete
}

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

// stackType is the type of a stack among the resources that events are about.
const stackType = "AWS::CloudFormation::Stack"

// IsStack tells that the event is the stack's own, not a resource's.
func (e Event) IsStack() bool { return e.Type == stackType }

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
	// Principals are the IAM resources, by physical id, that the operation made or
	// changed before it failed.
	Principals []string
}

// What is the failure without its cause.
func (e *Error) What() string {
	if e.Status == "" {
		return fmt.Sprintf("CloudFormation refuses the change of stack %s", e.Stack)
	}
	return fmt.Sprintf("stack %s is %s", e.Stack, e.Status)
}

// Root is why the operation failed: the first real failure, its likely cause and
// the next step.
func (e *Error) Root() diagnosis.Root {
	return rootOf(e.Stack, e.Cause, e.Reason)
}

// rootOf diagnoses a failure event; if it is zero, the stack's own reason.
func rootOf(stack string, cause Event, reason string) diagnosis.Root {
	f := diagnosis.Failure{Stack: stack, Resource: cause.LogicalID, PhysicalID: cause.PhysicalID, Type: cause.Type, Reason: cause.Reason}
	if cause.LogicalID == "" {
		f.Reason = reason
	}
	return diagnosis.Diagnose(f)
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

// Deleted looks at the stacks that were deleted in the last 90 days, of those that are
// asked for by name and time of deletion.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
func (d *Driver) Deleted(ctx context.Context, asked func(name string, deleted time.Time) bool) ([]*State, error) {
	var all []*State
	pages := cloudformation.NewListStacksPaginator(d.CFN, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{types.StackStatusDeleteComplete}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list deleted stacks: %w", err)
		}
		for _, s := range page.StackSummaries {
			if !asked(aws.ToString(s.StackName), aws.ToTime(s.DeletionTime)) {
				continue
			}
			st, err := d.Describe(ctx, aws.ToString(s.StackId))
			if err != nil {
				return nil, err
			}
			if st != nil {
				all = append(all, st)
			}
		}
	}
	return all, nil
}

func state(s types.Stack) *State {
	st := &State{
		ID: aws.ToString(s.StackId), Name: aws.ToString(s.StackName), Status: s.StackStatus, Reason: aws.ToString(s.StackStatusReason),
		Outputs: map[string]string{}, Parameters: map[string]string{}, Tags: map[string]string{},
		Created: aws.ToTime(s.CreationTime), Updated: aws.ToTime(s.CreationTime), Protected: aws.ToBool(s.EnableTerminationProtection),
		Deleted: aws.ToTime(s.DeletionTime),
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

// deletedMeanwhile is the reason of a failure that CloudFormation has no words for.
const deletedMeanwhile = "somebody else deleted it while this run worked on it"

// failure turns a stack at rest in an unwanted status into an error with the
// first real failure of the operation.
func (d *Driver) failure(ctx context.Context, st *State, token string) error {
	failed := &Error{Stack: st.Name, Status: st.Status, Reason: st.Reason}
	if st.Status == types.StackStatusDeleteComplete {
		failed.Reason = deletedMeanwhile
		return failed
	}
	events, err := d.events(ctx, newWatch(st.ID, token))
	if err != nil {
		return errors.Join(failed, err)
	}
	failed.Cause = firstFailure(events)
	for _, e := range events {
		if strings.HasPrefix(e.Type, "AWS::IAM::") && (e.Status == types.ResourceStatusCreateComplete || e.Status == types.ResourceStatusUpdateComplete) {
			failed.Principals = append(failed.Principals, e.PhysicalID)
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

// firstFailure is the first event, of those given oldest first, of a resource
// that failed by itself.
func firstFailure(events []Event) Event {
	for _, e := range events {
		if e.Failed() && !e.IsStack() && !cancelled(e.Reason) {
			return e
		}
	}
	return Event{}
}

// cancelled tells that CloudFormation stopped the resource because another one
// failed.
func cancelled(reason string) bool {
	return strings.HasPrefix(reason, "Resource creation cancelled") || strings.HasPrefix(reason, "Resource update cancelled") || strings.HasPrefix(reason, "Resource deletion cancelled")
}

// Protect switches the termination protection of a stack by its ARN: another stack
// of the name is another stack.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateTerminationProtection.html
func (d *Driver) Protect(ctx context.Context, id string, on bool) error {
	_, err := d.CFN.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: &id, EnableTerminationProtection: &on})
	if err != nil {
		return fmt.Errorf("set termination protection of stack %s: %w", id, err)
	}
	return nil
}

// Policy replaces the policy of a stack, by its ARN. A change set can't carry one.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SetStackPolicy.html
func (d *Driver) Policy(ctx context.Context, id, body string) error {
	_, err := d.CFN.SetStackPolicy(ctx, &cloudformation.SetStackPolicyInput{StackName: &id, StackPolicyBody: &body})
	if err != nil {
		return fmt.Errorf("set policy of stack %s: %w", id, err)
	}
	return nil
}

// TemplateError is that the template of a stack can't be read.
type TemplateError struct {
	Stack string
	Err   error
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("the template that stack %s has can't be read: %v: deploy it again in JSON, as poolhouse export writes it, and repeat the command; "+
		"if nothing else of it changes, CloudFormation takes it together with a new tag of the stack", e.Stack, e.Err)
}

func (e *TemplateError) Unwrap() error { return e.Err }

// Template returns the stack's template in JSON: as it was sent, to the byte, or with
// the same meaning if somebody sent it in YAML. One that can't be read is a
// [*TemplateError].
func (d *Driver) Template(ctx context.Context, name string) ([]byte, error) {
	out, err := d.CFN.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &name, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return nil, fmt.Errorf("get template of stack %s: %w", name, err)
	}
	body, err := template.JSON([]byte(aws.ToString(out.TemplateBody)))
	if err != nil {
		if _, resource, ok := strings.Cut(name, ":stack/"); ok { // of its ARN
			name, _, _ = strings.Cut(resource, "/")
		}
		return nil, &TemplateError{Stack: name, Err: err}
	}
	return body, nil
}

// Resource is a resource of a stack.
type Resource struct {
	LogicalID, PhysicalID, Type string
	Status                      types.ResourceStatus
	// Reason is why it has its status, if CloudFormation says so.
	Reason  string
	Updated time.Time
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
				Type: aws.ToString(r.ResourceType), Status: r.ResourceStatus, Reason: aws.ToString(r.ResourceStatusReason), Updated: aws.ToTime(r.LastUpdatedTimestamp),
			})
		}
	}
	slices.SortFunc(all, func(a, b Resource) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return all, nil
}
