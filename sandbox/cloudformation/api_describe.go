package cloudformation

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func describeStacks(tx *account.Tx, r *wire.Request) (any, error) {
	var found []*stack.Stack
	if r.String("StackName") != "" {
		e, err := named(tx, r, missingWithID)
		if err != nil {
			return nil, err
		}
		found = []*stack.Stack{e.Stack}
	} else {
		found = stack.Live(tx)
	}
	page, next, err := wire.Page(found, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"Stacks": list(page, showStack), "NextToken": optional(next)}, nil
}

func showStack(st *stack.Stack) map[string]any {
	m := map[string]any{
		"StackId": st.ID, "StackName": st.Name, "StackStatus": st.Status, "StackStatusReason": optional(st.Reason),
		"CreationTime": wire.ISO(st.Created), "DisableRollback": st.DisableRollback, "EnableTerminationProtection": st.Protected,
		"DriftInformation": stackDrift(st), "RollbackConfiguration": map[string]any{}, "ChangeSetId": optional(st.ChangeSet),
		"DeletionMode": optional(st.DeletionMode), "RetainExceptOnCreate": st.RetainExceptOnCreate,
		"Outputs": list(st.Outputs, func(o template.Output) map[string]any {
			return map[string]any{"OutputKey": o.Key, "OutputValue": o.Value, "Description": optional(o.Description), "ExportName": optional(o.Export)}
		}),
	}
	if !st.Updated.IsZero() {
		m["LastUpdatedTime"] = wire.ISO(st.Updated)
	}
	if !st.Deleted.IsZero() {
		m["DeletionTime"] = wire.ISO(st.Deleted)
	}
	if st.Timeout > 0 {
		m["TimeoutInMinutes"] = st.Timeout
	}
	if n := len(st.Operations); n > 0 {
		o := st.Operations[n-1]
		m["LastOperations"] = []any{map[string]any{"OperationId": o.ID, "OperationType": o.Kind}}
	}
	if d := st.Current; d != nil {
		m["Description"] = optional(d.Template.Description)
		m["Parameters"] = parameters(d)
		m["Tags"] = tagList(d.Tags)
		m["Capabilities"] = texts2any(d.Capabilities)
		m["NotificationARNs"] = texts2any(d.Notifications)
		m["RoleARN"] = optional(d.Role)
	}
	return m
}

func parameters(d *stack.Deployment) any {
	return list(d.Values, func(v template.Value) map[string]any {
		m := map[string]any{"ParameterKey": v.Key, "ParameterValue": v.Given, "ResolvedValue": optional(v.Resolved)}
		if v.NoEcho {
			m["ParameterValue"] = "****"
			if v.Resolved != "" {
				m["ResolvedValue"] = "****"
			}
		}
		return m
	})
}

// statuses are all that a stack can have.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
func statuses() []string {
	return []string{
		"CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_COMPLETE", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED", "ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS",
		"DELETE_FAILED", "DELETE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED",
		"UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE",
		"REVIEW_IN_PROGRESS", "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_IN_PROGRESS", "IMPORT_ROLLBACK_FAILED", "IMPORT_ROLLBACK_COMPLETE",
	}
}

func listStacks(tx *account.Tx, r *wire.Request) (any, error) {
	filter := r.Strings("StackStatusFilter")
	for _, s := range filter {
		if !slices.Contains(statuses(), s) {
			return nil, constraint("["+s+"]", "stackStatusFilter", "Member must satisfy constraint: [Member must satisfy enum value set: ["+strings.Join(statuses(), ", ")+"]]")
		}
	}
	var found []*stack.Stack
	for _, st := range stack.All(tx) {
		if len(filter) == 0 || slices.Contains(filter, st.Status) {
			found = append(found, st)
		}
	}
	page, next, err := wire.Page(found, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "StackSummaries": list(page, func(st *stack.Stack) map[string]any {
		m := showStack(st)
		s := map[string]any{"TemplateDescription": m["Description"]}
		for _, k := range []string{"StackId", "StackName", "StackStatus", "StackStatusReason", "CreationTime", "LastUpdatedTime", "DeletionTime", "DriftInformation", "LastOperations"} {
			s[k] = m[k]
		}
		return s
	})}, nil
}

func describeStackEvents(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	// Pages are counted from the oldest event, so that new ones, which come
	// first, don't move the rest.
	all := e.Stack.Events
	if t := r.String("NextToken"); t != "" {
		seen, _, err := wire.Page(all, t, 0, "ValidationError")
		if err != nil {
			return nil, err
		}
		all = all[:len(all)-len(seen)]
	}
	page := all[max(0, len(all)-pageSize):]
	next := ""
	if rest := len(all) - len(page); rest > 0 {
		if _, next, err = wire.Page(e.Stack.Events, "", rest, "ValidationError"); err != nil {
			return nil, err
		}
	}
	newest := slices.Clone(page)
	slices.Reverse(newest)
	return map[string]any{"NextToken": optional(next), "StackEvents": list(newest, func(ev *stack.Event) map[string]any { return showEvent(e.Stack, ev) })}, nil
}

func showEvent(st *stack.Stack, ev *stack.Event) map[string]any {
	m := map[string]any{
		"EventId": ev.ID, "StackId": st.ID, "StackName": st.Name, "Timestamp": wire.ISO(ev.At),
		"LogicalResourceId": ev.LogicalID, "PhysicalResourceId": ev.PhysicalID, "ResourceType": ev.Type,
		"ResourceStatus": ev.Status, "ResourceStatusReason": optional(ev.Reason),
		"ClientRequestToken": optional(ev.Token), "OperationId": optional(ev.Operation),
	}
	if ev.Props != nil {
		m["ResourceProperties"] = expression.JSON(mask(st.Secrets, ev.Props))
	}
	return m
}

// describeEvents answers with the events of operations, and with what the
// checks before deployment found, which no other operation shows.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeEvents.html
func describeEvents(tx *account.Tx, r *wire.Request) (any, error) {
	operation := r.String("OperationId")
	var shown []map[string]any
	var st *stack.Stack
	switch {
	case r.String("ChangeSetName") != "":
		c, err := findChangeSet(tx, r.String("ChangeSetName"), r.String("StackName"))
		if err != nil {
			return nil, err
		}
		if e := stack.Find(tx, c.stack); e != nil {
			shown = c.events(e.Stack)
		}
	case r.String("StackName") != "":
		e, err := named(tx, r, missingInBrackets)
		if err != nil {
			return nil, err
		}
		st = e.Stack
	case operation != "":
		if st = stack.OfOperation(tx, operation); st == nil {
			return nil, invalid("Operation with id %s does not exist", operation)
		}
	default:
		return nil, invalid("One of ChangeSetName, OperationId or StackName must be specified.")
	}
	if st != nil {
		evs := append(slices.Clone(st.Events), st.Validations...)
		slices.SortStableFunc(evs, func(a, b *stack.Event) int { return a.At.Compare(b.At) })
		slices.Reverse(evs)
		for _, ev := range evs {
			shown = append(shown, operationEvent(st, ev))
		}
	}
	failed := r.Map("Filters")["FailedEvents"] == "true"
	shown = slices.DeleteFunc(shown, func(m map[string]any) bool {
		status, _ := m["ResourceStatus"].(string)
		return operation != "" && m["OperationId"] != operation || failed && m["EventType"] != "VALIDATION_ERROR" && m["OperationStatus"] != "FAILED" && !strings.HasSuffix(status, "_FAILED")
	})
	page, next, err := wire.Page(shown, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "OperationEvents": list(page, func(m map[string]any) map[string]any { return m })}, nil
}

// operationEvent is an event as an event of an operation. Those of the stack
// itself tell how the operation stands.
func operationEvent(st *stack.Stack, ev *stack.Event) map[string]any {
	m := showEvent(st, ev)
	delete(m, "StackName")
	if o := st.Operation(ev.Operation); o != nil {
		m["OperationType"] = o.Kind
	}
	switch {
	case ev.Validation != "":
		maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, "ResourceStatus") })
		m["EventType"] = "VALIDATION_ERROR"
		m["ValidationName"], m["ValidationStatus"], m["ValidationFailureMode"] = ev.Validation, "FAILED", ev.Mode
		m["ValidationStatusReason"], m["ValidationPath"] = ev.Reason, ev.Path
	case ev.Type == "AWS::CloudFormation::Stack":
		m["EventType"] = "STACK_EVENT"
		switch {
		case strings.HasSuffix(ev.Status, "_IN_PROGRESS"):
			m["OperationStatus"] = "IN_PROGRESS"
		case strings.HasSuffix(ev.Status, "_COMPLETE"):
			m["OperationStatus"] = "SUCCEEDED"
		default:
			m["OperationStatus"] = "FAILED"
		}
	case strings.HasSuffix(ev.Status, "_FAILED"):
		m["EventType"] = "PROVISIONING_ERROR"
	default:
		m["EventType"] = "PROGRESS_EVENT"
	}
	return m
}

// events are those of the making of a change set, the newest first.
func (c *changeSet) events(st *stack.Stack) []map[string]any {
	var out []map[string]any
	for _, ev := range c.validations {
		m := operationEvent(st, ev)
		m["OperationType"] = "CREATE_CHANGESET"
		out = append(out, m)
	}
	m := map[string]any{
		"EventId": c.making, "StackId": c.stack, "OperationId": c.making, "OperationType": "CREATE_CHANGESET", "EventType": "STACK_EVENT",
		"Timestamp": wire.ISO(c.created), "StartTime": wire.ISO(c.created), "OperationStatus": "IN_PROGRESS",
	}
	switch c.status {
	case "CREATE_COMPLETE":
		m["OperationStatus"] = "SUCCEEDED"
	case "FAILED":
		m["OperationStatus"] = "FAILED"
		if slices.ContainsFunc(c.validations, func(ev *stack.Event) bool { return ev.Mode == "FAIL" }) {
			m["DetailedStatus"] = "VALIDATION_FAILED"
		}
	}
	if !c.made.IsZero() {
		m["Timestamp"], m["EndTime"] = wire.ISO(c.made), wire.ISO(c.made)
	}
	return append(out, m)
}

func showResource(r *stack.Resource) map[string]any {
	return map[string]any{
		"LogicalResourceId": r.ID, "PhysicalResourceId": optional(r.Physical), "ResourceType": r.Def.Type.Name,
		"ResourceStatus": r.Status, "ResourceStatusReason": optional(r.Reason),
		"DriftInformation": resourceDrift(r),
	}
}

func sorted(st *stack.Stack) []*stack.Resource {
	var out []*stack.Resource
	for _, id := range slices.Sorted(maps.Keys(st.Resources)) {
		if r := st.Resources[id]; r.Status != "" {
			out = append(out, r)
		}
	}
	return out
}

func describeStackResource(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, "Stack '%s' does not exist")
	if err != nil {
		return nil, err
	}
	id := r.String("LogicalResourceId")
	res := e.Stack.Resources[id]
	if res == nil || res.Status == "" {
		return nil, invalid("Resource %s does not exist for stack %s", id, e.Stack.Name)
	}
	m := showResource(res)
	m["StackId"], m["StackName"], m["LastUpdatedTimestamp"] = e.Stack.ID, e.Stack.Name, wire.ISO(res.Changed)
	metadata := res.Def.Metadata
	if metadata == nil {
		metadata = map[string]any{}
	}
	m["Metadata"] = expression.JSON(metadata)
	return map[string]any{"StackResourceDetail": m}, nil
}

func describeStackResources(tx *account.Tx, r *wire.Request) (any, error) {
	physical, logical := r.String("PhysicalResourceId"), r.String("LogicalResourceId")
	var e *stack.Engine
	switch {
	case r.String("StackName") != "" && physical != "":
		return nil, invalid("StackName and PhysicalResourceId cannot be specified together.")
	case physical != "":
		if e = stack.Owner(tx, physical); e == nil {
			return nil, invalid("Stack for %s does not exist", physical)
		}
	default:
		var err error
		if e, err = named(tx, r, missingWithID); err != nil {
			return nil, err
		}
	}
	found := slices.DeleteFunc(sorted(e.Stack), func(res *stack.Resource) bool { return logical != "" && res.ID != logical })
	// Of more than a hundred only the first are shown.
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html
	found = found[:min(len(found), pageSize)]
	if logical != "" && len(found) == 0 {
		return nil, invalid("Resource %s does not exist for stack %s", logical, e.Stack.Name)
	}
	return map[string]any{"StackResources": list(found, func(res *stack.Resource) map[string]any {
		m := showResource(res)
		m["StackId"], m["StackName"], m["Timestamp"] = e.Stack.ID, e.Stack.Name, wire.ISO(res.Changed)
		return m
	})}, nil
}

func listStackResources(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(sorted(e.Stack), r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "StackResourceSummaries": list(page, func(res *stack.Resource) map[string]any {
		m := showResource(res)
		m["LastUpdatedTimestamp"] = wire.ISO(res.Changed)
		return m
	})}, nil
}

func listExports(tx *account.Tx, r *wire.Request) (any, error) {
	type exported struct{ id, name, value string }
	var all []exported
	for _, st := range stack.Live(tx) {
		for _, o := range st.Outputs {
			if o.Export != "" {
				all = append(all, exported{st.ID, o.Export, o.Value})
			}
		}
	}
	slices.SortFunc(all, func(a, b exported) int { return strings.Compare(a.name, b.name) })
	page, next, err := wire.Page(all, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "Exports": list(page, func(x exported) map[string]any {
		return map[string]any{"ExportingStackId": x.id, "Name": x.name, "Value": x.value}
	})}, nil
}

func listImports(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("ExportName")
	users := stack.Importers(tx, name)
	if len(users) == 0 {
		return nil, invalid("Export '%s' is not imported by any stack.", name)
	}
	page, next, err := wire.Page(users, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"Imports": texts2any(page), "NextToken": optional(next)}, nil
}

// describeAccountLimits answers with the quotas that CloudFormation tells.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_AccountLimit.html
func describeAccountLimits(*account.Tx, *wire.Request) (any, error) {
	var limits []any
	for _, l := range []struct {
		name  string
		value int
	}{{"StackLimit", maxStacks}, {"StackOutputsLimit", 200}, {"ConcurrentResourcesLimit", 2500}} {
		limits = append(limits, map[string]any{"Name": l.name, "Value": l.value})
	}
	return map[string]any{"AccountLimits": limits}, nil
}
