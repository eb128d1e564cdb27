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
		for _, st := range stack.All(tx) {
			if st.Status != "DELETE_COMPLETE" {
				found = append(found, st)
			}
		}
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

func listStacks(tx *account.Tx, r *wire.Request) (any, error) {
	filter := r.Strings("StackStatusFilter")
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
func describeEvents(tx *account.Tx, r *wire.Request) (any, error) {
	var e *stack.Engine
	var evs []*stack.Event
	if name := r.String("ChangeSetName"); name != "" {
		c, err := findChangeSet(tx, name, r.String("StackName"))
		if err != nil {
			return nil, err
		}
		evs, e = c.validations, stack.Find(tx, c.stack)
	} else {
		var err error
		if e, err = named(tx, r, missingInBrackets); err != nil {
			return nil, err
		}
		evs = append(slices.Clone(e.Stack.Events), e.Stack.Validations...)
		slices.SortStableFunc(evs, func(a, b *stack.Event) int { return a.At.Compare(b.At) })
		slices.Reverse(evs)
	}
	operation := r.String("OperationId")
	failed := r.Map("Filters")["FailedEvents"] == "true"
	evs = slices.DeleteFunc(slices.Clone(evs), func(ev *stack.Event) bool {
		return operation != "" && ev.Operation != operation || failed && ev.Validation == "" && !strings.HasSuffix(ev.Status, "_FAILED")
	})
	page, next, err := wire.Page(evs, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "OperationEvents": list(page, func(ev *stack.Event) map[string]any {
		m := showEvent(e.Stack, ev)
		delete(m, "StackName")
		m["EventType"] = "STACK_EVENT"
		if ev.Validation != "" {
			maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, "ResourceStatus") })
			m["EventType"] = "VALIDATION_ERROR"
			m["ValidationName"], m["ValidationStatus"], m["ValidationFailureMode"] = ev.Validation, "FAILED", "FAIL"
			m["ValidationStatusReason"], m["ValidationPath"] = ev.Reason, ev.Path
		}
		return m
	})}, nil
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
	for _, st := range stack.All(tx) {
		if st.Status == "DELETE_COMPLETE" {
			continue
		}
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
