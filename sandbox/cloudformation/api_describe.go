package cloudformation

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

var notChecked = map[string]any{"StackDriftStatus": "NOT_CHECKED"}

func describeStacks(tx *account.Tx, r *wire.Request) (any, error) {
	var found []*stack
	if r.String("StackName") != "" {
		e, err := named(tx, r, missingWithID)
		if err != nil {
			return nil, err
		}
		found = []*stack{e.st}
	} else {
		for _, st := range stacks(tx) {
			if st.status != "DELETE_COMPLETE" {
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

func showStack(st *stack) map[string]any {
	m := map[string]any{
		"StackId": st.id, "StackName": st.name, "StackStatus": st.status, "StackStatusReason": optional(st.reason),
		"CreationTime": stamp(st.created), "DisableRollback": st.disableRollback, "EnableTerminationProtection": st.protected,
		"DriftInformation": notChecked, "RollbackConfiguration": map[string]any{}, "ChangeSetId": optional(st.changeSet),
		"DeletionMode": optional(st.deletionMode), "RetainExceptOnCreate": st.retainExceptOnCreate,
		"Outputs": list(st.outputs, func(o template.Output) map[string]any {
			return map[string]any{"OutputKey": o.Key, "OutputValue": o.Value, "Description": optional(o.Description), "ExportName": optional(o.Export)}
		}),
	}
	if !st.updated.IsZero() {
		m["LastUpdatedTime"] = stamp(st.updated)
	}
	if !st.deleted.IsZero() {
		m["DeletionTime"] = stamp(st.deleted)
	}
	if st.timeout > 0 {
		m["TimeoutInMinutes"] = st.timeout
	}
	if n := len(st.operations); n > 0 {
		o := st.operations[n-1]
		m["LastOperations"] = []any{map[string]any{"OperationId": o.id, "OperationType": o.kind}}
	}
	if d := st.current; d != nil {
		m["Description"] = optional(d.template.Description)
		m["Parameters"] = parameters(d)
		m["Tags"] = tagList(d.tags)
		m["Capabilities"] = texts2any(d.capabilities)
		m["NotificationARNs"] = texts2any(d.notifications)
		m["RoleARN"] = optional(d.role)
	}
	return m
}

func parameters(d *deployment) any {
	return list(d.values, func(v template.Value) map[string]any {
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
	var found []*stack
	for _, st := range stacks(tx) {
		if len(filter) == 0 || slices.Contains(filter, st.status) {
			found = append(found, st)
		}
	}
	page, next, err := wire.Page(found, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "StackSummaries": list(page, func(st *stack) map[string]any {
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
	all := e.st.events
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
		if _, next, err = wire.Page(e.st.events, "", rest, "ValidationError"); err != nil {
			return nil, err
		}
	}
	newest := slices.Clone(page)
	slices.Reverse(newest)
	return map[string]any{"NextToken": optional(next), "StackEvents": list(newest, func(ev *event) map[string]any { return e.showEvent(ev) })}, nil
}

func (e *engine) showEvent(ev *event) map[string]any {
	m := map[string]any{
		"EventId": ev.id, "StackId": e.st.id, "StackName": e.st.name, "Timestamp": stamp(ev.at),
		"LogicalResourceId": ev.logical, "PhysicalResourceId": ev.physical, "ResourceType": ev.typ,
		"ResourceStatus": ev.status, "ResourceStatusReason": optional(ev.reason),
		"ClientRequestToken": optional(ev.token), "OperationId": optional(ev.operation),
	}
	if ev.props != nil {
		m["ResourceProperties"] = template.JSON(mask(e.st.secrets, ev.props))
	}
	return m
}

// describeEvents answers with the events of operations, and with what the
// checks before deployment found, which no other operation shows.
func describeEvents(tx *account.Tx, r *wire.Request) (any, error) {
	var e *engine
	var evs []*event
	if name := r.String("ChangeSetName"); name != "" {
		c, err := findChangeSet(tx, name, r.String("StackName"))
		if err != nil {
			return nil, err
		}
		evs, e = c.validations, find(tx, c.stack)
	} else {
		var err error
		if e, err = named(tx, r, missingInBrackets); err != nil {
			return nil, err
		}
		evs = append(slices.Clone(e.st.events), e.st.validations...)
		slices.SortStableFunc(evs, func(a, b *event) int { return a.at.Compare(b.at) })
		slices.Reverse(evs)
	}
	operation := r.String("OperationId")
	failed := r.Map("Filters")["FailedEvents"] == "true"
	evs = slices.DeleteFunc(slices.Clone(evs), func(ev *event) bool {
		return operation != "" && ev.operation != operation || failed && ev.validation == "" && !strings.HasSuffix(ev.status, "_FAILED")
	})
	page, next, err := wire.Page(evs, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "OperationEvents": list(page, func(ev *event) map[string]any {
		m := e.showEvent(ev)
		delete(m, "StackName")
		m["EventType"] = "STACK_EVENT"
		if ev.validation != "" {
			maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, "ResourceStatus") })
			m["EventType"] = "VALIDATION_ERROR"
			m["ValidationName"], m["ValidationStatus"], m["ValidationFailureMode"] = ev.validation, "FAILED", "FAIL"
			m["ValidationStatusReason"], m["ValidationPath"] = ev.reason, ev.path
		}
		return m
	})}, nil
}

func (e *engine) showResource(r *resource) map[string]any {
	return map[string]any{
		"LogicalResourceId": r.id, "PhysicalResourceId": optional(r.physical), "ResourceType": r.def.Type.Name,
		"ResourceStatus": r.status, "ResourceStatusReason": optional(r.reason),
		"DriftInformation": map[string]any{"StackResourceDriftStatus": "NOT_CHECKED"},
	}
}

func (e *engine) sorted() []*resource {
	var out []*resource
	for _, id := range slices.Sorted(maps.Keys(e.st.resources)) {
		if r := e.st.resources[id]; r.status != "" {
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
	res := e.st.resources[id]
	if res == nil || res.status == "" {
		return nil, invalid("Resource %s does not exist for stack %s", id, e.st.name)
	}
	m := e.showResource(res)
	m["StackId"], m["StackName"], m["LastUpdatedTimestamp"] = e.st.id, e.st.name, stamp(res.changed)
	metadata := res.def.Metadata
	if metadata == nil {
		metadata = map[string]any{}
	}
	m["Metadata"] = template.JSON(metadata)
	return map[string]any{"StackResourceDetail": m}, nil
}

func describeStackResources(tx *account.Tx, r *wire.Request) (any, error) {
	physical, logical := r.String("PhysicalResourceId"), r.String("LogicalResourceId")
	var e *engine
	switch {
	case r.String("StackName") != "" && physical != "":
		return nil, invalid("StackName and PhysicalResourceId cannot be specified together.")
	case physical != "":
		owner := tx.Find(stackType, func(x *account.Resource) bool {
			st := x.State.(*stack)
			if st.status == "DELETE_COMPLETE" {
				return false
			}
			for _, res := range st.resources {
				if res.physical == physical {
					return true
				}
			}
			return false
		})
		if owner == nil {
			return nil, invalid("Stack for %s does not exist", physical)
		}
		e = open(tx, owner)
	default:
		var err error
		if e, err = named(tx, r, missingWithID); err != nil {
			return nil, err
		}
	}
	found := slices.DeleteFunc(e.sorted(), func(res *resource) bool { return logical != "" && res.id != logical })
	if logical != "" && len(found) == 0 {
		return nil, invalid("Resource %s does not exist for stack %s", logical, e.st.name)
	}
	return map[string]any{"StackResources": list(found, func(res *resource) map[string]any {
		m := e.showResource(res)
		m["StackId"], m["StackName"], m["Timestamp"] = e.st.id, e.st.name, stamp(res.changed)
		return m
	})}, nil
}

func listStackResources(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(e.sorted(), r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"NextToken": optional(next), "StackResourceSummaries": list(page, func(res *resource) map[string]any {
		m := e.showResource(res)
		m["LastUpdatedTimestamp"] = stamp(res.changed)
		return m
	})}, nil
}

func listExports(tx *account.Tx, r *wire.Request) (any, error) {
	type exported struct{ id, name, value string }
	var all []exported
	for _, st := range stacks(tx) {
		if st.status == "DELETE_COMPLETE" {
			continue
		}
		for _, o := range st.outputs {
			if o.Export != "" {
				all = append(all, exported{st.id, o.Export, o.Value})
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
	users := importers(tx, name)
	if len(users) == 0 {
		return nil, invalid("Export '%s' is not imported by any stack.", name)
	}
	page, next, err := wire.Page(users, r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{"Imports": texts2any(page), "NextToken": optional(next)}, nil
}
