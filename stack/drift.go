package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
)

// Drift is how a stack's resources differ from what the stack set on them.
type Drift struct {
	Checked time.Time `json:"checked"`
	// Resources that drifted, by logical id.
	Resources []Drifted `json:"resources"`
	// Incomplete is why some resources could not be looked at; "" if all that
	// CloudFormation can check were.
	Incomplete string `json:"incomplete,omitempty"`
}

// Empty tells that nothing has drifted.
func (d *Drift) Empty() bool { return d == nil || len(d.Resources) == 0 }

// Drifted is one resource that differs.
type Drifted struct {
	LogicalID  string `json:"logicalId"`
	PhysicalID string `json:"physicalId"`
	Type       string `json:"type"`
	// Deleted: the resource is gone; it has no differences then.
	Deleted     bool         `json:"deleted,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
	// Actual are the properties that the template sets as they are now.
	Actual map[string]any `json:"-"`
}

// Difference is one property that differs, with JSON values as CloudFormation
// has them, or [Hidden] for what may be a secret.
type Difference struct {
	// Path is a JSON pointer into the resource's properties.
	Path string `json:"path"`
	// Kind is ADD for an element that a list has more, REMOVE for a property or
	// an element that is gone, NOT_EQUAL for another value.
	Kind     string `json:"kind"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
}

// detectable are the statuses in which CloudFormation looks for drift. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
var detectable = []types.StackStatus{
	types.StackStatusCreateComplete, types.StackStatusUpdateComplete, types.StackStatusUpdateRollbackComplete, types.StackStatusUpdateRollbackFailed,
	types.StackStatusImportComplete, types.StackStatusImportRollbackComplete,
}

// CanDrift tells that a stack is at rest in a status in which it can be looked
// at for drift.
func (s *State) CanDrift() bool { return s != nil && slices.Contains(detectable, s.Status) }

// DetectDrift looks for drift of a stack, by name or ARN, and returns when
// CloudFormation is done, which takes seconds to minutes. Only what the template
// sets is compared, and only of types that CloudFormation can read. A detection
// that somebody else began is waited for, and then repeated.
func (d *Driver) DetectDrift(ctx context.Context, name string) (*Drift, error) {
	id, err := d.startDetection(ctx, name)
	if err != nil {
		return nil, err
	}
	found := &Drift{}
	wait := detection(name)
	wait.Pace, wait.Tell = easing, d.tells(name)
	err = d.poller().Until(ctx, wait, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		out, err := d.CFN.DescribeStackDriftDetectionStatus(ctx, &cloudformation.DescribeStackDriftDetectionStatusInput{StackDriftDetectionId: &id})
		if err != nil {
			return false, "", fmt.Errorf("detect drift of stack %s: %w", name, err)
		}
		found.Checked = aws.ToTime(out.Timestamp)
		if out.DetectionStatus == types.StackDriftDetectionStatusDetectionFailed {
			// What could be looked at is there all the same.
			found.Incomplete = aws.ToString(out.DetectionStatusReason)
		}
		return out.DetectionStatus != types.StackDriftDetectionStatusDetectionInProgress, string(out.DetectionStatus), nil
	})
	if err != nil {
		return nil, err
	}
	pages := cloudformation.NewDescribeStackResourceDriftsPaginator(d.CFN, &cloudformation.DescribeStackResourceDriftsInput{
		StackName: &name, StackResourceDriftStatusFilters: []types.StackResourceDriftStatus{types.StackResourceDriftStatusModified, types.StackResourceDriftStatusDeleted},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read drift of stack %s: %w", name, err)
		}
		for _, r := range page.StackResourceDrifts {
			found.Resources = append(found.Resources, drifted(r))
		}
	}
	slices.SortFunc(found.Resources, func(a, b Drifted) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return found, nil
}

// detecting is how long a detection may take.
const detecting = 30 * time.Minute

// detection is the wait for a detection of drift.
func detection(name string) poll.Wait {
	return poll.Wait{For: "the detection of drift of stack " + name, Pace: poll.Every(pollEvery), AtMost: detecting, Next: "repeat the command"}
}

// startDetection begins a detection and returns its id, once no other one is
// under way.
func (d *Driver) startDetection(ctx context.Context, name string) (id string, err error) {
	wait, told := detection(name), d.Tell == nil
	wait.Tell = d.tells(name)
	err = d.poller().Until(ctx, wait, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		out, err := d.CFN.DetectStackDrift(ctx, &cloudformation.DetectStackDriftInput{StackName: &name})
		switch {
		case err == nil:
			id = aws.ToString(out.StackDriftDetectionId)
			return true, "", nil
		case strings.Contains(awsapi.Message(err), "already in progress"):
			if !told {
				told = true
				d.Tell(name, "somebody else looks for drift of the stack: waiting until that is over")
			}
			return false, awsapi.Message(err), nil
		}
		return false, "", fmt.Errorf("detect drift of stack %s: %w", name, err)
	})
	return id, err
}

func drifted(r types.StackResourceDrift) Drifted {
	x := Drifted{
		LogicalID: aws.ToString(r.LogicalResourceId), PhysicalID: aws.ToString(r.PhysicalResourceId), Type: aws.ToString(r.ResourceType),
		Deleted: r.StackResourceDriftStatus == types.StackResourceDriftStatusDeleted,
	}
	// What can't be read leaves the map empty; the differences say the same.
	_ = json.Unmarshal([]byte(aws.ToString(r.ActualProperties)), &x.Actual)
	for _, p := range r.PropertyDifferences {
		x.Differences = append(x.Differences, Difference{
			Path: aws.ToString(p.PropertyPath), Kind: string(p.DifferenceType),
			Expected: masked(x.Type, aws.ToString(p.PropertyPath), aws.ToString(p.ExpectedValue), false),
			Actual:   masked(x.Type, aws.ToString(p.PropertyPath), aws.ToString(p.ActualValue), true),
		})
	}
	return x
}
