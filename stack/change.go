package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

// Change sets have fixed names, so that one that a dead run left behind is
// replaced by the next.
const (
	planSet  = "poolhouse-plan"
	applySet = "poolhouse-apply"
)

// discardTime is the longest that an interrupted call tidies up.
const discardTime = 20 * time.Second

// Action is what a change does to a resource.
type Action string

// The actions.
const (
	Add     Action = "create"
	Modify  Action = "update"
	Replace Action = "replace"
	// MayReplace depends on values that are known only during the update.
	MayReplace Action = "may-replace"
	Remove     Action = "delete"
	// Sync touches nothing: the template now asks for what is there already.
	Sync Action = "sync"
)

// Change is what an update will do to one resource.
type Change struct {
	LogicalID  string     `json:"logicalId"`
	PhysicalID string     `json:"physicalId,omitempty"`
	Type       string     `json:"type"`
	Action     Action     `json:"action"`
	Properties []Property `json:"properties,omitempty"`
	// Drift tells that the resource was changed or deleted outside of
	// CloudFormation, and that the update puts that right.
	Drift bool `json:"drift,omitempty"`
}

// Property is a property that changes, with JSON values as CloudFormation has
// them before and after, or [Hidden]; "" where it doesn't say.
type Property struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Recreates tells that this property alone replaces the resource: Never,
	// Conditionally or Always.
	Recreates string `json:"recreates,omitempty"`
	// Drift tells that Before is not what the stack had set.
	Drift bool `json:"drift,omitempty"`
	// From is the resource of the stack, or RESOURCE.ATTRIBUTE, that the value
	// comes from and that is why it may change; "" if that is not all.
	From string `json:"-"`
}

// Outcome is what Apply did.
type Outcome struct {
	State   *State
	Changes []Change // empty if the stack was up to date
	Made    bool     // the stack did not exist before
}

// Preview returns what applying the spec to an existing stack would change. It
// makes a change set, reads it and deletes it, also when the context ends
// meanwhile.
func (d *Driver) Preview(ctx context.Context, spec Spec) ([]Change, error) {
	set, err := d.changeSet(ctx, spec, planSet, spec.Name, types.ChangeSetTypeUpdate)
	if set.id != "" {
		err = errors.Join(err, d.discard(ctx, set.id))
	}
	return set.changes, err
}

// Ready makes the stack ready for a change set, as [Rules] say: it waits until no
// operation is under way, goes on with a rollback that failed, and deletes what
// is left of a creation that failed or a deletion that did, unless clear, which
// may be nil, refuses that. It returns the stack, or nil if it is to be created.
func (d *Driver) Ready(ctx context.Context, name, roleARN string, clear Clear) (*State, error) {
	for {
		st, err := d.Rest(ctx, name)
		if err != nil || !st.Exists() {
			return nil, err
		}
		switch ConditionOf(st.Status) {
		case Stillborn, Undeleted:
			if err := d.clear(ctx, st, clear); err != nil {
				return nil, err
			}
			if err := d.Delete(ctx, st.ID, DeleteOptions{RoleARN: roleARN}); err != nil {
				return nil, fmt.Errorf("clear away stack %s (%s): %w", name, st.Status, err)
			}
		case Stuck:
			if err := d.continueRollback(ctx, st, roleARN, nil); err != nil {
				return nil, err
			}
		case Halted:
			if err := d.rollback(ctx, st, roleARN); err != nil {
				return nil, err
			}
		default:
			return st, nil
		}
	}
}

// clear asks whether what is left of a stack may be deleted.
func (d *Driver) clear(ctx context.Context, st *State, clear Clear) error {
	if clear == nil {
		return nil
	}
	held, err := d.Resources(ctx, st.ID)
	if err != nil {
		return err
	}
	return clear(ctx, st, held)
}

// Apply makes the stack what the spec says, whatever it is now, and returns
// when it is at rest. Approve, if not nil, sees the changes of an existing
// stack before they are executed and may refuse by an error.
func (d *Driver) Apply(ctx context.Context, spec Spec, approve func([]Change) error) (*Outcome, error) {
	st, err := d.Ready(ctx, spec.Name, spec.RoleARN, spec.Clear)
	if err != nil {
		return nil, err
	}
	kind, on := types.ChangeSetTypeCreate, spec.Name
	if st != nil {
		// By its ARN: another stack of the name is another stack.
		kind, on = types.ChangeSetTypeUpdate, st.ID
	}
	set, err := d.changeSet(ctx, spec, applySet, on, kind)
	if err != nil {
		return nil, err
	}
	if set.id == "" { // nothing to change
		return &Outcome{State: st}, nil
	}
	if approve != nil && st != nil {
		if err := approve(set.changes); err != nil {
			return nil, errors.Join(err, d.discard(ctx, set.id))
		}
	}
	if err := d.unchanged(ctx, st); err != nil {
		return nil, errors.Join(err, d.discard(ctx, set.id))
	}
	token := newToken()
	if err := d.execute(ctx, spec.Name, set, token); err != nil {
		return nil, err
	}
	after, err := d.follow(ctx, newWatch(set.stack, token))
	if err != nil {
		return nil, err
	}
	if after == nil {
		after = &State{ID: set.stack, Name: spec.Name, Status: types.StackStatusDeleteComplete}
	}
	if after.Status != types.StackStatusCreateComplete && after.Status != types.StackStatusUpdateComplete {
		return nil, d.failure(ctx, after, token)
	}
	return &Outcome{State: after, Changes: set.changes, Made: st == nil}, nil
}

// changeSet is a change set that can be executed.
type changeSet struct {
	id, stack string // ARNs
	changes   []Change
}

// changeSet makes a change set and reads it. The id is empty when there is
// nothing to change; such a change set is deleted again.
// The stack that it is for is named or, if it is there, given by its ARN.
func (d *Driver) changeSet(ctx context.Context, spec Spec, name, on string, kind types.ChangeSetType) (changeSet, error) {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &on, ChangeSetName: &name, ChangeSetType: kind, ClientToken: aws.String(newToken()),
		TemplateBody: aws.String(string(spec.Template)),
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
	}
	if spec.RoleARN != "" {
		in.RoleARN = &spec.RoleARN
	}
	if spec.RevertDrift && kind == types.ChangeSetTypeUpdate {
		in.DeploymentMode = types.DeploymentModeRevertDrift
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Parameters)) {
		in.Parameters = append(in.Parameters, types.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(spec.Parameters[k])})
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(spec.Tags[k])})
	}
	// By its token, CloudFormation takes the call again when its answer was lost.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html
	out, err := d.CFN.CreateChangeSet(ctx, in)
	if awsapi.Code(err) == "AlreadyExistsException" { // a dead run's
		if err := d.deleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &on, ChangeSetName: &name}); err != nil {
			return changeSet{}, err
		}
		in.ClientToken = aws.String(newToken())
		out, err = d.CFN.CreateChangeSet(ctx, in)
	}
	if err != nil {
		return changeSet{}, fmt.Errorf("create change set of stack %s: %w", spec.Name, err)
	}
	set := changeSet{id: aws.ToString(out.Id), stack: aws.ToString(out.StackId)}
	var got *cloudformation.DescribeChangeSetOutput
	wait := poll.Wait{For: "change set " + set.id, Pace: poll.Every(pollEvery / 2), Next: "repeat the command"}
	err = d.poller().Until(ctx, wait, func(ctx context.Context, _ time.Duration) (over bool, seen string, err error) {
		got, err = d.CFN.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &set.id, IncludePropertyValues: aws.Bool(true)})
		if err != nil {
			return false, "", fmt.Errorf("read change set of stack %s: %w", spec.Name, err)
		}
		return got.Status == types.ChangeSetStatusCreateComplete || got.Status == types.ChangeSetStatusFailed, string(got.Status), nil
	})
	switch {
	case err != nil:
		return set, err
	case got.Status == types.ChangeSetStatusCreateComplete:
		set.changes, err = d.changes(ctx, set.id, got)
		return set, err
	}
	reason := aws.ToString(got.StatusReason)
	var refused error
	if !strings.Contains(reason, "didn't contain changes") && !strings.Contains(reason, "No updates are to be performed") {
		refused = d.refusal(ctx, spec.Name, set.id, reason)
	}
	return changeSet{}, errors.Join(refused, d.discard(ctx, set.id))
}

// refusal is the error of a change set that failed. What CloudFormation's
// checks before deployment found is not in its reason. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func (d *Driver) refusal(ctx context.Context, stack, set, reason string) error {
	failed := &Error{Stack: stack, Reason: reason}
	out, err := d.CFN.DescribeEvents(ctx, &cloudformation.DescribeEventsInput{ChangeSetName: &set, Filters: &types.EventFilter{FailedEvents: aws.Bool(true)}})
	if err != nil {
		return errors.Join(failed, fmt.Errorf("read findings about stack %s: %w", stack, err))
	}
	for _, e := range out.OperationEvents {
		if e.EventType == types.EventTypeValidationError && e.ValidationFailureMode != types.HookFailureModeWarn {
			failed.Cause = Event{
				Time: aws.ToTime(e.Timestamp), Stack: stack, LogicalID: aws.ToString(e.LogicalResourceId), PhysicalID: aws.ToString(e.PhysicalResourceId),
				Type: aws.ToString(e.ResourceType), Reason: aws.ToString(e.ValidationStatusReason),
			}
			break
		}
	}
	return failed
}

// discard deletes a change set that won't be executed, also after the context
// has ended: it then takes a few seconds at most.
func (d *Driver) discard(ctx context.Context, set string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	return d.deleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: &set})
}

// deleteChangeSet deletes a change set, if need be once CloudFormation has
// finished making it.
func (d *Driver) deleteChangeSet(ctx context.Context, in *cloudformation.DeleteChangeSetInput) error {
	wait := poll.Wait{For: "change set " + *in.ChangeSetName + " to be finished, so that it can be deleted", Pace: poll.Every(pollEvery), Next: "repeat the command"}
	return d.poller().Until(ctx, wait, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		_, err := d.CFN.DeleteChangeSet(ctx, in)
		switch {
		case err == nil || awsapi.IsNotFound(err):
			return true, "", nil
		case awsapi.Code(err) == "InvalidChangeSetStatus" && strings.Contains(awsapi.Message(err), "CREATE_"):
			return false, awsapi.Message(err), nil
		}
		return false, "", fmt.Errorf("delete change set %s: %w", *in.ChangeSetName, err)
	})
}

// changes reads all pages of a change set, of which the first is given.
func (d *Driver) changes(ctx context.Context, id string, page *cloudformation.DescribeChangeSetOutput) ([]Change, error) {
	var all []Change
	for {
		for _, c := range page.Changes {
			if c.ResourceChange != nil {
				all = append(all, change(c.ResourceChange))
			}
		}
		if page.NextToken == nil {
			break
		}
		var err error
		page, err = d.CFN.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &id, IncludePropertyValues: aws.Bool(true), NextToken: page.NextToken})
		if err != nil {
			return nil, fmt.Errorf("read change set %s: %w", id, err)
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return all, nil
}

func change(c *types.ResourceChange) Change {
	ch := Change{LogicalID: aws.ToString(c.LogicalResourceId), PhysicalID: aws.ToString(c.PhysicalResourceId), Type: aws.ToString(c.ResourceType)}
	switch c.Action {
	case types.ChangeActionAdd:
		ch.Action = Add
	case types.ChangeActionRemove:
		ch.Action = Remove
	case types.ChangeActionSyncWithActual:
		ch.Action = Sync
	default:
		switch c.Replacement {
		case types.ReplacementTrue:
			ch.Action = Replace
		case types.ReplacementConditional:
			ch.Action = MayReplace
		default:
			ch.Action = Modify
		}
	}
	ch.Drift = c.ResourceDriftStatus == types.StackResourceDriftStatusDeleted
	seen, there := map[string]int{}, live(c)
	for _, det := range c.Details {
		t := det.Target
		if t == nil {
			continue
		}
		path := string(t.Attribute)
		if t.Name != nil {
			path = *t.Name
		}
		if t.Path != nil && *t.Path != "" {
			path = strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(*t.Path, "/Properties"), "/"), "/", ".")
		}
		p := Property{
			Path: path, Before: masked(ch.Type, path, aws.ToString(t.BeforeValue), there), After: masked(ch.Type, path, aws.ToString(t.AfterValue), false),
			Recreates: string(t.RequiresRecreation), Drift: t.Drift != nil,
		}
		if det.ChangeSource == types.ChangeSourceResourceAttribute || det.ChangeSource == types.ChangeSourceResourceReference {
			p.From = aws.ToString(det.CausingEntity)
		}
		ch.Drift = ch.Drift || p.Drift && ch.Action != Sync
		// One property is listed once for each source of its change, and an
		// element of a list once as what goes and once as what comes.
		if i, ok := seen[path]; ok {
			if ch.Properties[i].From != p.From {
				ch.Properties[i].From, p.From = "", ""
			}
			switch had := &ch.Properties[i]; {
			case had.Before == "" && p.After == "":
				had.Before = p.Before
			case had.After == "" && p.Before == "":
				had.After = p.After
			case had.After == "":
				*had = p
			}
			continue
		}
		seen[path] = len(ch.Properties)
		ch.Properties = append(ch.Properties, p)
	}
	return ch
}

// DeleteOptions qualify Delete.
type DeleteOptions struct {
	RoleARN string
	// Retain are resources, by logical id, that are left behind, and Force leaves
	// behind whatever can't be deleted. CloudFormation takes both only once a
	// deletion has failed. See
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html
	Retain []string
	Force  bool
}

// Delete deletes the stack and returns when it is gone. Deleting what does not
// exist does nothing.
func (d *Driver) Delete(ctx context.Context, name string, o DeleteOptions) error {
	st, err := d.Rest(ctx, name)
	if err != nil || st == nil || st.Status == types.StackStatusDeleteComplete {
		return err
	}
	token := newToken()
	in := &cloudformation.DeleteStackInput{StackName: &st.ID, ClientRequestToken: &token, RetainResources: o.Retain}
	if o.Force {
		in.DeletionMode = types.DeletionModeForceDeleteStack
	}
	if o.RoleARN != "" {
		in.RoleARN = &o.RoleARN
	}
	if _, err := d.CFN.DeleteStack(ctx, in); err != nil {
		return fmt.Errorf("delete stack %s: %w", name, err)
	}
	// The ARN still answers when the name no longer does.
	st, err = d.follow(ctx, newWatch(st.ID, token))
	if err != nil {
		return err
	}
	if st != nil && st.Status != types.StackStatusDeleteComplete {
		return d.failure(ctx, st, token)
	}
	return nil
}

func newToken() string {
	var b [12]byte
	// Read never fails; see crypto/rand.
	_, _ = rand.Read(b[:])
	return "poolhouse-" + hex.EncodeToString(b[:])
}
