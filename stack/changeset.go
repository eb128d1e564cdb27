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
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

// applySet is the name of the change sets that are executed. Only the run that
// holds the lease makes them, one at a time on a stack: one that is there was left
// by a run that is over or has lost its lease, and is replaced.
const applySet = "poolhouse-apply"

// planSets begins the names of the change sets that are only read. Anybody may
// make some at any time, so each has a name of its own.
const planSets = "poolhouse-plan-"

// stale is how old a change set that is only read must be to have been left by a
// run that is over: making, reading and deleting one takes minutes at most.
const stale = time.Hour

// discardTime is the longest that an interrupted call tidies up.
const discardTime = 20 * time.Second

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
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
	}
	if spec.Template == nil {
		in.UsePreviousTemplate = aws.Bool(true)
	} else {
		in.TemplateBody = aws.String(string(spec.Template))
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
	if name == applySet && awsapi.Code(err) == "AlreadyExistsException" { // a dead run's
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
	wait := poll.Wait{For: "change set " + set.id, Pace: poll.Every(pollEvery / 2), Next: "repeat the command", Tell: d.tells(spec.Name)}
	slowly := d.once(spec.Name, "waiting for CloudFormation to make a change set")
	err = d.poller().Until(ctx, wait, func(ctx context.Context, waited time.Duration) (over bool, seen string, err error) {
		slowly(waited)
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
	slowly := d.once(aws.ToString(in.StackName), "waiting until CloudFormation has made change set "+*in.ChangeSetName+", so that it can be deleted")
	return d.poller().Until(ctx, wait, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		slowly(waited)
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

// StaleChangeSets are the change sets of this program, by name, that were made for a
// stack and never executed, and that a run left which is over: those that are
// executed belong to who holds the lease, which is the caller or nobody, and those
// that are only read count by their age, by CloudFormation's clock.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ChangeSetSummary.html
func (d *Driver) StaleChangeSets(ctx context.Context, st *State) ([]string, error) {
	var names []string
	pages := cloudformation.NewListChangeSetsPaginator(d.CFN, &cloudformation.ListChangeSetsInput{StackName: &st.ID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list change sets of stack %s: %w", st.Name, err)
		}
		now, dated := awsmiddleware.GetServerTime(page.ResultMetadata)
		for _, s := range page.Summaries {
			name := aws.ToString(s.ChangeSetName)
			open := s.ExecutionStatus == types.ExecutionStatusAvailable || s.ExecutionStatus == types.ExecutionStatusUnavailable
			old := dated && now.Sub(aws.ToTime(s.CreationTime)) >= stale
			if open && (name == applySet || strings.HasPrefix(name, planSets) && old) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
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

func newToken() string { return "poolhouse-" + random() }

// random is what nobody else draws.
func random() string {
	var b [12]byte
	// Read never fails; see crypto/rand.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
