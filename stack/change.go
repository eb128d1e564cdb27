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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Change sets have fixed names, so that one that a dead run left behind is
// replaced by the next.
const (
	planSet  = "poolhouse-plan"
	applySet = "poolhouse-apply"
)

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
)

// Change is what an update will do to one resource.
type Change struct {
	LogicalID  string     `json:"logicalId"`
	PhysicalID string     `json:"physicalId,omitempty"`
	Type       string     `json:"type"`
	Action     Action     `json:"action"`
	Properties []Property `json:"properties,omitempty"`
}

// Property is a property that changes, with JSON values as CloudFormation has
// them before and after; "" where it doesn't say.
type Property struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Recreates tells that this property alone replaces the resource: Never,
	// Conditionally or Always.
	Recreates string `json:"recreates,omitempty"`
}

// Outcome is what Apply did.
type Outcome struct {
	State   *State
	Changes []Change // empty if the stack was up to date
	Made    bool     // the stack did not exist before
}

// Preview returns what applying the spec to an existing stack would change. It
// makes a change set, reads it and deletes it.
func (d *Driver) Preview(ctx context.Context, spec Spec) ([]Change, error) {
	id, changes, err := d.changeSet(ctx, spec, planSet, types.ChangeSetTypeUpdate)
	if id != "" {
		err = errors.Join(err, d.deleteChangeSet(ctx, spec.Name, planSet))
	}
	return changes, err
}

// Apply makes the stack what the spec says, whatever it is now, and returns
// when it is at rest. Approve, if not nil, sees the changes of an existing
// stack before they are executed and may refuse by an error.
func (d *Driver) Apply(ctx context.Context, spec Spec, approve func([]Change) error) (*Outcome, error) {
	for {
		st, err := d.Rest(ctx, spec.Name)
		if err != nil {
			return nil, err
		}
		kind := types.ChangeSetTypeUpdate
		if !st.Exists() {
			kind = types.ChangeSetTypeCreate
		} else {
			switch ConditionOf(st.Status) {
			case Stillborn, Undeleted:
				if err := d.Delete(ctx, spec.Name, DeleteOptions{RoleARN: spec.RoleARN}); err != nil {
					return nil, fmt.Errorf("clear away stack %s (%s): %w", spec.Name, st.Status, err)
				}
				continue
			case Stuck:
				return nil, &Error{Stack: spec.Name, Status: st.Status, Reason: st.Reason}
			}
		}
		return d.apply(ctx, spec, kind, approve)
	}
}

func (d *Driver) apply(ctx context.Context, spec Spec, kind types.ChangeSetType, approve func([]Change) error) (*Outcome, error) {
	set, changes, err := d.changeSet(ctx, spec, applySet, kind)
	if err != nil {
		return nil, err
	}
	if set == "" { // nothing to change
		st, err := d.Describe(ctx, spec.Name)
		return &Outcome{State: st}, err
	}
	if approve != nil && kind == types.ChangeSetTypeUpdate {
		if err := approve(changes); err != nil {
			return nil, errors.Join(err, d.deleteChangeSet(ctx, spec.Name, applySet))
		}
	}
	st, err := d.Describe(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	token, since := newToken(), d.Clock.Now()
	if _, err := d.CFN.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: &set, ClientRequestToken: &token}); err != nil {
		return nil, fmt.Errorf("execute change set of stack %s: %w", spec.Name, err)
	}
	st, err = d.follow(ctx, st.ID, token, since)
	if err != nil {
		return nil, err
	}
	if st.Status != types.StackStatusCreateComplete && st.Status != types.StackStatusUpdateComplete {
		return nil, d.failure(ctx, st, token, since)
	}
	return &Outcome{State: st, Changes: changes, Made: kind == types.ChangeSetTypeCreate}, nil
}

// changeSet makes a change set and reads it. The id is empty when there is
// nothing to change; such a change set is deleted again.
func (d *Driver) changeSet(ctx context.Context, spec Spec, name string, kind types.ChangeSetType) (id string, changes []Change, err error) {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &spec.Name, ChangeSetName: &name, ChangeSetType: kind,
		TemplateBody: aws.String(string(spec.Template)),
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
	}
	if spec.RoleARN != "" {
		in.RoleARN = &spec.RoleARN
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Parameters)) {
		in.Parameters = append(in.Parameters, types.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(spec.Parameters[k])})
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(spec.Tags[k])})
	}
	out, err := d.CFN.CreateChangeSet(ctx, in)
	if awsapi.Code(err) == "AlreadyExistsException" {
		if err := d.deleteChangeSet(ctx, spec.Name, name); err != nil {
			return "", nil, err
		}
		out, err = d.CFN.CreateChangeSet(ctx, in)
	}
	if err != nil {
		return "", nil, fmt.Errorf("create change set of stack %s: %w", spec.Name, err)
	}
	id = aws.ToString(out.Id)
	for {
		got, err := d.CFN.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: &id, IncludePropertyValues: aws.Bool(true)})
		if err != nil {
			return id, nil, fmt.Errorf("read change set of stack %s: %w", spec.Name, err)
		}
		switch got.Status {
		case types.ChangeSetStatusCreateComplete:
			changes, err := d.changes(ctx, id, got)
			return id, changes, err
		case types.ChangeSetStatusFailed:
			reason := aws.ToString(got.StatusReason)
			err := d.deleteChangeSet(ctx, spec.Name, name)
			if !strings.Contains(reason, "didn't contain changes") && !strings.Contains(reason, "No updates are to be performed") {
				err = errors.Join(fmt.Errorf("create change set of stack %s: %s", spec.Name, reason), err)
			}
			return "", nil, err
		}
		if err := d.Clock.Sleep(ctx, PollEvery/2); err != nil {
			return id, nil, err
		}
	}
}

// deleteChangeSet deletes a change set, if need be once CloudFormation has
// finished making it.
func (d *Driver) deleteChangeSet(ctx context.Context, stack, name string) error {
	for {
		_, err := d.CFN.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &stack, ChangeSetName: &name})
		if err == nil || awsapi.IsNotFound(err) {
			return nil
		}
		if awsapi.Code(err) != "InvalidChangeSetStatus" || !strings.Contains(awsapi.Message(err), "CREATE_") {
			return fmt.Errorf("delete change set of stack %s: %w", stack, err)
		}
		if err := d.Clock.Sleep(ctx, PollEvery); err != nil {
			return err
		}
	}
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
	seen := map[string]int{}
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
		p := Property{Path: path, Before: aws.ToString(t.BeforeValue), After: aws.ToString(t.AfterValue), Recreates: string(t.RequiresRecreation)}
		// One property is listed once for each source of its change.
		if i, ok := seen[path]; ok {
			if ch.Properties[i].After == "" {
				ch.Properties[i] = p
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
}

// Delete deletes the stack and returns when it is gone. Deleting what does not
// exist does nothing.
func (d *Driver) Delete(ctx context.Context, name string, o DeleteOptions) error {
	st, err := d.Rest(ctx, name)
	if err != nil || st == nil || st.Status == types.StackStatusDeleteComplete {
		return err
	}
	token, since := newToken(), d.Clock.Now()
	in := &cloudformation.DeleteStackInput{StackName: &st.ID, ClientRequestToken: &token}
	if o.RoleARN != "" {
		in.RoleARN = &o.RoleARN
	}
	if _, err := d.CFN.DeleteStack(ctx, in); err != nil {
		return fmt.Errorf("delete stack %s: %w", name, err)
	}
	// The ARN still answers when the name no longer does.
	st, err = d.follow(ctx, st.ID, token, since)
	if err != nil {
		return err
	}
	if st != nil && st.Status != types.StackStatusDeleteComplete {
		return d.failure(ctx, st, token, since)
	}
	return nil
}

func newToken() string {
	var b [12]byte
	// Read never fails; see crypto/rand.
	_, _ = rand.Read(b[:])
	return "poolhouse-" + hex.EncodeToString(b[:])
}
