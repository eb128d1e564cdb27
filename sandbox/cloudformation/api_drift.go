package cloudformation

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/drift"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// detectable are the statuses in which a stack can be checked for drift. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
var detectable = []string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"}

// checkable finds the stack of a request that looks for drift.
func checkable(tx *account.Tx, r *wire.Request) (*stack.Engine, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(detectable, e.Stack.Status) {
		return nil, invalid("Drift detection cannot be performed on stack [%s] while it is in %s state.", e.Stack.ID, e.Stack.Status)
	}
	return e, nil
}

// present checks that the stack has the resource.
func present(e *stack.Engine, id string) error {
	if res := e.Stack.Resources[id]; res == nil || res.Status == "" {
		return invalid("Resource %s does not exist for stack %s", id, e.Stack.Name)
	}
	return nil
}

func detectStackDrift(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := checkable(tx, r)
	if err != nil {
		return nil, err
	}
	only := r.Strings("LogicalResourceIds")
	for _, id := range only {
		if err := present(e, id); err != nil {
			return nil, err
		}
	}
	if e.Stack.Detecting() {
		return nil, invalid("Drift detection is already in progress for stack [%s]", e.Stack.ID)
	}
	return map[string]any{"StackDriftDetectionId": e.Detect(only)}, nil
}

func describeStackDriftDetectionStatus(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("StackDriftDetectionId")
	st, d := stack.FindDetection(tx, id)
	if d == nil {
		return nil, invalid("Drift detection operation [%s] does not exist", id)
	}
	out := map[string]any{"StackId": st.ID, "StackDriftDetectionId": id, "DetectionStatus": "DETECTION_IN_PROGRESS", "Timestamp": wire.ISO(d.At)}
	if d.Done {
		out["DetectionStatus"], out["DriftedStackResourceCount"] = "DETECTION_COMPLETE", d.Drifted
		out["StackDriftStatus"] = stack.InSync
		if d.Drifted > 0 {
			out["StackDriftStatus"] = stack.Drifted
		}
		if d.Failed != "" {
			out["DetectionStatus"], out["DetectionStatusReason"] = "DETECTION_FAILED", d.Failed
		}
	}
	return out, nil
}

func describeStackResourceDrifts(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	wanted := r.Strings("StackResourceDriftStatusFilters")
	for _, w := range wanted {
		if !slices.Contains([]string{stack.InSync, stack.Modified, stack.Gone, stack.NotChecked, "UNKNOWN", "UNSUPPORTED"}, w) {
			return nil, constraint("["+w+"]", "stackResourceDriftStatusFilters", "Member must satisfy constraint: [Member must satisfy enum value set: [IN_SYNC, MODIFIED, DELETED, NOT_CHECKED, UNKNOWN, UNSUPPORTED]]")
		}
	}
	limit := r.Int("MaxResults", pageSize)
	if limit < 1 || limit > pageSize {
		return nil, constraint(r.String("MaxResults"), "maxResults", "Member must have value between 1 and 100")
	}
	// Resources that were not checked are not part of the answer.
	found := slices.DeleteFunc(sorted(e.Stack), func(res *stack.Resource) bool {
		return res.Drift == nil || len(wanted) > 0 && !slices.Contains(wanted, res.Drift.Status)
	})
	page, next, err := wire.Page(found, r.String("NextToken"), limit, "ValidationError")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"StackResourceDrifts": []any{}, "NextToken": optional(next)}
	if len(page) > 0 {
		out["StackResourceDrifts"] = list(page, func(res *stack.Resource) map[string]any { return showDrift(e.Stack, res) })
	}
	return out, nil
}

func detectStackResourceDrift(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := checkable(tx, r)
	if err != nil {
		return nil, err
	}
	id := r.String("LogicalResourceId")
	if err := present(e, id); err != nil {
		return nil, err
	}
	res := e.Stack.Resources[id]
	if facts.ReadableType(res.Def.Type.Name) == nil {
		return nil, invalid("Drift detection is not supported for resource type [%s]", res.Def.Type.Name)
	}
	found, err := e.Check(id)
	if err != nil {
		return nil, invalid("Failed to detect drift on resource [%s]. %s", id, stack.Message(err))
	}
	if found == nil {
		return nil, invalid("Resource %s of stack %s is in %s state and can not be checked for drift.", id, e.Stack.Name, res.Status)
	}
	return map[string]any{"StackResourceDrift": showDrift(e.Stack, res)}, nil
}

// showDrift is what a detection found, of a resource that was checked.
func showDrift(st *stack.Stack, res *stack.Resource) map[string]any {
	d := res.Drift
	m := map[string]any{
		"StackId": st.ID, "LogicalResourceId": res.ID, "PhysicalResourceId": optional(res.Physical), "ResourceType": res.Def.Type.Name,
		"StackResourceDriftStatus": d.Status, "Timestamp": wire.ISO(d.At),
	}
	if d.Status == stack.Gone {
		return m
	}
	m["ExpectedProperties"] = expression.JSON(mask(st.Secrets, d.Expected))
	m["ActualProperties"] = expression.JSON(mask(st.Secrets, d.Actual))
	m["PropertyDifferences"] = list(d.Differences, func(x drift.Difference) map[string]any {
		return map[string]any{
			"PropertyPath": x.Path, "DifferenceType": x.Kind,
			"ExpectedValue": differing(st, x.Expected), "ActualValue": differing(st, x.Actual),
		}
	})
	return m
}

// differing is a value of a difference; one that isn't there is null.
func differing(st *stack.Stack, v any) string {
	if v == nil {
		return "null"
	}
	return shownValue(mask(st.Secrets, v))
}

// stackDrift is a stack's drift as other answers show it.
func stackDrift(st *stack.Stack) map[string]any {
	m := map[string]any{"StackDriftStatus": st.DriftStatus()}
	if d := st.Checked(); d != nil {
		m["LastCheckTimestamp"] = wire.ISO(d.At)
	}
	return m
}

// resourceDrift is a resource's drift as other answers show it.
func resourceDrift(res *stack.Resource) map[string]any {
	if res.Drift == nil {
		return map[string]any{"StackResourceDriftStatus": stack.NotChecked}
	}
	return map[string]any{"StackResourceDriftStatus": res.Drift.Status, "LastCheckTimestamp": wire.ISO(res.Drift.At)}
}
