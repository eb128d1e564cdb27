package cloudformation

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/plan"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func createChangeSet(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("ChangeSetName")
	if err := checkName(name, "changeSetName"); err != nil {
		return nil, err
	}
	stackName := r.String("StackName")
	if stackName == "" {
		return nil, checkName("", "stackName")
	}
	onFailure := r.String("OnStackFailure")
	if err := checkOnFailure(onFailure, "onStackFailure"); err != nil {
		return nil, err
	}
	if d := r.String("Description"); len(d) > maxComment {
		return nil, constraint(d[:60]+"...", "description", fmt.Sprintf("Member must have length less than or equal to %d", maxComment))
	}
	kind := r.String("ChangeSetType")
	if kind == "" {
		kind = "UPDATE"
	}
	e := stack.Find(tx, stackName)
	if e != nil && e.Stack.Status == "DELETE_COMPLETE" {
		e = nil
	}
	isNew := false
	switch kind {
	case "CREATE":
		switch {
		case e == nil:
			if err := checkName(stackName, "stackName"); err != nil {
				return nil, err
			}
			if stack.Full(tx, maxStacks) {
				return nil, account.Errorf("LimitExceededException", "Limit for stack has been exceeded")
			}
			e, isNew = stack.New(tx, stackName), true
		case e.Stack.Status != "REVIEW_IN_PROGRESS":
			return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", e.Stack.Name, name)
		}
	case "UPDATE":
		if e == nil {
			return nil, invalid(missingInBrackets, stackName)
		}
		if e.Stack.Status == "REVIEW_IN_PROGRESS" {
			return nil, invalid("Stack:%s is in %s state and can not be updated.", e.Stack.ID, e.Stack.Status)
		}
		// A change set can be made for a failed stack; executing it needs
		// rollback disabled.
		if err := updatable(e, true); err != nil {
			return nil, err
		}
		if onFailure == "DELETE" {
			return nil, invalid("OnStackFailure cannot be DELETE for an UPDATE change set.")
		}
	case "IMPORT":
		return nil, account.NotModelled("change sets of type IMPORT are not modelled by the sandbox")
	default:
		return nil, constraint(kind, "stack.ChangeSetType", "Member must satisfy enum value set: [CREATE, UPDATE, IMPORT]")
	}
	token := r.String("ClientToken")
	if !isNew {
		for _, c := range changeSets(tx, e) {
			if c.name != name {
				continue
			}
			if token != "" && c.token == token {
				return map[string]any{"Id": c.id, "StackId": c.stack}, nil
			}
			return nil, account.Errorf("AlreadyExistsException", "ChangeSet [%s] already exists", name)
		}
	}
	revert := r.String("DeploymentMode")
	switch {
	case revert != "" && revert != revertDrift:
		return nil, constraint(revert, "deploymentMode", "Member must satisfy enum value set: [REVERT_DRIFT]")
	case revert != "" && kind != "UPDATE":
		return nil, account.NotModelled("drift-aware change sets of type %s are not modelled by the sandbox", kind)
	}
	d, err := newDeployment(tx, r, e.Stack.Current, e.Stack.ID, e.Stack.Name)
	if err != nil {
		return nil, err
	}
	d.Revert = revert != ""
	if isNew {
		e.Review()
	}
	c := &changeSet{
		id: tx.ARN("cloudformation", "changeSet/"+name+"/"+tx.UUID()), name: name, stack: e.Stack.ID, stackName: e.Stack.Name, kind: kind,
		description: r.String("Description"), onStackFailure: onFailure, created: tx.Now(), token: token, target: d,
		validate: !r.Bool("DisableValidation", false), revision: len(e.Stack.Operations),
	}
	c.put(tx)
	r.Resource = c.id
	return map[string]any{"Id": c.id, "StackId": e.Stack.ID}, nil
}

func describeChangeSet(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := findChangeSet(tx, r.String("ChangeSetName"), r.String("StackName"))
	if err != nil {
		return nil, err
	}
	changes, next, err := wire.Page(c.changes, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	values := r.Bool("IncludePropertyValues", false)
	out := map[string]any{
		"ChangeSetId": c.id, "ChangeSetName": c.name, "StackId": c.stack, "StackName": c.stackName,
		"Description": optional(c.description), "CreationTime": wire.ISO(c.created),
		"Status": c.status, "StatusReason": optional(c.reason), "ExecutionStatus": c.execution(tx),
		"Parameters": parameters(c.target), "Tags": tagList(c.target.Tags),
		"NotificationARNs": texts2any(c.target.Notifications), "Capabilities": texts2any(c.target.Capabilities),
		"RollbackConfiguration": map[string]any{}, "OnStackFailure": optional(c.onStackFailure),
		"IncludeNestedStacks": false,
		"Changes": list(changes, func(x plan.Change) map[string]any {
			return map[string]any{"Type": "Resource", "ResourceChange": c.show(x, values)}
		}),
		"NextToken": optional(next),
	}
	if c.target.Revert {
		out["DeploymentMode"] = revertDrift
		out["StackDriftStatus"] = optional(c.drift)
	}
	return out, nil
}

// revertDrift is the deployment mode of drift-aware change sets. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
const revertDrift = "REVERT_DRIFT"

func (c *changeSet) show(x plan.Change, values bool) map[string]any {
	m := map[string]any{
		"Action": x.Action, "LogicalResourceId": x.LogicalID, "PhysicalResourceId": optional(x.PhysicalID), "ResourceType": x.Type,
		"Replacement": optional(x.Replacement), "PolicyAction": optional(x.PolicyAction), "Scope": texts2any(x.Scope),
		"Details":             list(x.Details, func(d plan.Detail) map[string]any { return c.showDetail(d, values) }),
		"ResourceDriftStatus": optional(x.Drift),
		"ResourceDriftIgnoredAttributes": list(x.Ignored, func(name string) map[string]any {
			return map[string]any{"Path": "/Properties/" + name, "Reason": "MANAGED_BY_AWS"}
		}),
	}
	if values {
		if x.Before != nil {
			m["BeforeContext"] = expression.JSON(mask(c.secrets, x.Before))
		}
		if x.After != nil {
			m["AfterContext"] = expression.JSON(mask(c.secrets, x.After))
		}
	}
	return m
}

func (c *changeSet) showDetail(d plan.Detail, values bool) map[string]any {
	target := map[string]any{"Attribute": d.Attribute, "Name": optional(d.Name), "RequiresRecreation": d.Recreation}
	if values {
		target["Path"] = d.Path
		target["AttributeChangeType"] = d.ChangeType
		if d.Before != nil {
			target["BeforeValue"] = shownValue(mask(c.secrets, d.Before))
		}
		if d.After != nil {
			target["AfterValue"] = shownValue(mask(c.secrets, d.After))
		}
	}
	if c.target.Revert {
		target["AfterValueFrom"], target["BeforeValueFrom"] = "TEMPLATE", "PREVIOUS_DEPLOYMENT_STATE"
		if d.Live {
			target["BeforeValueFrom"] = "ACTUAL_STATE"
		}
		if d.Drifted {
			drifted := map[string]any{"DriftDetectionTimestamp": wire.ISO(c.made)}
			if d.Previous != nil {
				drifted["PreviousValue"] = shownValue(mask(c.secrets, d.Previous))
			}
			if d.Before != nil {
				drifted["ActualValue"] = shownValue(mask(c.secrets, d.Before))
			}
			target["Drift"] = drifted
		}
	}
	return map[string]any{"Target": target, "Evaluation": d.Evaluation, "ChangeSource": d.Source, "CausingEntity": optional(d.Cause)}
}

// shownValue is a property's value: text as it is, anything else as JSON.
func shownValue(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	j := expression.JSON(v)
	if len(j) > 1 && j[0] == '"' {
		return j[1 : len(j)-1]
	}
	return j
}

func executeChangeSet(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := findChangeSet(tx, r.String("ChangeSetName"), r.String("StackName"))
	if err != nil {
		return nil, err
	}
	e := stack.Find(tx, c.stack)
	if e == nil {
		return nil, invalid(missingInBrackets, c.stackName)
	}
	r.Resource = e.Stack.ID
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return nil, err
	}
	if c.status != "CREATE_COMPLETE" {
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current status of [%s]", c.id, c.status)
	}
	if execution := c.execution(tx); execution != "AVAILABLE" {
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current execution status of [%s]", c.id, execution)
	}
	noRollback := r.Bool("DisableRollback", false)
	if r.Has("DisableRollback") && c.onStackFailure != "" {
		return nil, invalid("DisableRollback and OnStackFailure cannot be specified together.")
	}
	noRollback = noRollback || c.onStackFailure == "DO_NOTHING"
	if c.kind == "UPDATE" {
		if err := updatable(e, noRollback); err != nil {
			return nil, err
		}
	} else if e.Stack.Status != "REVIEW_IN_PROGRESS" {
		return nil, invalid("Stack:%s is in %s state and can not be updated.", e.Stack.ID, e.Stack.Status)
	}
	st := e.Stack
	use(e.Stack, token, r)
	st.DisableRollback, st.RetainExceptOnCreate = noRollback, r.Bool("RetainExceptOnCreate", false)
	st.ChangeSet = c.id
	if c.kind == "CREATE" {
		st.OnFailure = "ROLLBACK"
		if c.onStackFailure != "" {
			st.OnFailure = c.onStackFailure
		}
		// The stack is there since the change set was made for it.
		st.Updated = tx.Now()
		c.operation = e.Create(c.target, token)
		return nil, nil
	}
	c.operation = e.Update(c.target, token, nil)
	return nil, nil
}

func deleteChangeSet(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := findChangeSet(tx, r.String("ChangeSetName"), r.String("StackName"))
	if err != nil {
		if ae, ok := err.(*account.Error); ok && ae.Code == "ChangeSetNotFound" {
			// Deleting what isn't there is no error.
			return nil, nil
		}
		return nil, err
	}
	status, execution := c.status, c.execution(tx)
	if execution == "EXECUTE_IN_PROGRESS" {
		status = execution
	}
	if strings.HasSuffix(status, "_PENDING") || strings.HasSuffix(status, "_IN_PROGRESS") {
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be deleted in its current status of [%s]", c.id, status)
	}
	tx.Drop(stack.ChangeSetType, c.id)
	return nil, nil
}

func listChangeSets(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(changeSets(tx, e), r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"Summaries": list(page, func(c *changeSet) map[string]any {
			return map[string]any{
				"ChangeSetId": c.id, "ChangeSetName": c.name, "StackId": c.stack, "StackName": c.stackName,
				"CreationTime": wire.ISO(c.created), "Description": optional(c.description),
				"Status": c.status, "StatusReason": optional(c.reason), "ExecutionStatus": c.execution(tx), "IncludeNestedStacks": false,
			}
		}),
		"NextToken": optional(next),
	}, nil
}
