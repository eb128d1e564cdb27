package cloudformation

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
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
	kind := r.String("ChangeSetType")
	if kind == "" {
		kind = "UPDATE"
	}
	e := find(tx, stackName)
	if e != nil && e.st.status == "DELETE_COMPLETE" {
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
			e, isNew = blank(tx, stackName), true
		case e.st.status != "REVIEW_IN_PROGRESS":
			return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", e.st.name, name)
		}
	case "UPDATE":
		if e == nil {
			return nil, invalid(missingInBrackets, stackName)
		}
		if e.st.status == "REVIEW_IN_PROGRESS" {
			return nil, invalid("Stack:%s is in %s state and can not be updated.", e.st.id, e.st.status)
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
		return nil, account.Errorf("NotModelled", "change sets of type IMPORT are not modelled")
	default:
		return nil, constraint(kind, "changeSetType", "Member must satisfy enum value set: [CREATE, UPDATE, IMPORT]")
	}
	token := r.String("ClientToken")
	if !isNew {
		for _, c := range e.changeSets() {
			if c.name != name {
				continue
			}
			if token != "" && c.token == token {
				return map[string]any{"Id": c.id, "StackId": c.stack}, nil
			}
			return nil, account.Errorf("AlreadyExistsException", "ChangeSet [%s] already exists", name)
		}
	}
	d, err := newDeployment(tx, r, e.st.current, e.st.id, e.st.name)
	if err != nil {
		return nil, err
	}
	if isNew {
		tx.Put(e.r)
		e.become("REVIEW_IN_PROGRESS", "User Initiated")
	}
	c := &changeSet{
		id: tx.ARN("cloudformation", "changeSet/"+name+"/"+uuid(tx)), name: name, stack: e.st.id, stackName: e.st.name, kind: kind,
		description: r.String("Description"), onStackFailure: onFailure, created: tx.Now(), token: token, target: d,
		validate: !r.Bool("DisableValidation", false),
	}
	c.put(tx)
	r.Resource = c.id
	return map[string]any{"Id": c.id, "StackId": e.st.id}, nil
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
	return map[string]any{
		"ChangeSetId": c.id, "ChangeSetName": c.name, "StackId": c.stack, "StackName": c.stackName,
		"Description": optional(c.description), "CreationTime": stamp(c.created),
		"Status": c.status, "StatusReason": optional(c.reason), "ExecutionStatus": c.execution,
		"Parameters": parameters(c.target), "Tags": tagList(c.target.tags),
		"NotificationARNs": texts2any(c.target.notifications), "Capabilities": texts2any(c.target.capabilities),
		"RollbackConfiguration": map[string]any{}, "OnStackFailure": optional(c.onStackFailure),
		"IncludeNestedStacks": false,
		"Changes": list(changes, func(x change) map[string]any {
			return map[string]any{"Type": "Resource", "ResourceChange": c.show(x, values)}
		}),
		"NextToken": optional(next),
	}, nil
}

func (c *changeSet) show(x change, values bool) map[string]any {
	m := map[string]any{
		"Action": x.action, "LogicalResourceId": x.id, "PhysicalResourceId": optional(x.physical), "ResourceType": x.typ,
		"Replacement": optional(x.replacement), "PolicyAction": optional(x.policyAction), "Scope": texts2any(x.scope),
		"Details": list(x.details, func(d detail) map[string]any { return c.showDetail(d, values) }),
	}
	if values {
		if x.before != nil {
			m["BeforeContext"] = template.JSON(mask(c.secrets, x.before))
		}
		if x.after != nil {
			m["AfterContext"] = template.JSON(mask(c.secrets, x.after))
		}
	}
	return m
}

func (c *changeSet) showDetail(d detail, values bool) map[string]any {
	target := map[string]any{"Attribute": d.attribute, "Name": optional(d.name), "RequiresRecreation": d.recreation}
	if values {
		target["Path"] = d.path
		target["AttributeChangeType"] = d.changeType
		if d.before != nil {
			target["BeforeValue"] = shownValue(mask(c.secrets, d.before))
		}
		if d.after != nil {
			target["AfterValue"] = shownValue(mask(c.secrets, d.after))
		}
	}
	return map[string]any{"Target": target, "Evaluation": d.evaluation, "ChangeSource": d.source, "CausingEntity": optional(d.cause)}
}

// shownValue is a property's value: text as it is, anything else as JSON.
func shownValue(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	j := template.JSON(v)
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
	e := find(tx, c.stack)
	if e == nil {
		return nil, invalid(missingInBrackets, c.stackName)
	}
	r.Resource = e.st.id
	token, repeated, err := e.token(r, "EXECUTE "+c.id)
	if err != nil || repeated {
		return nil, err
	}
	if c.status != "CREATE_COMPLETE" {
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current status of [%s]", c.id, c.status)
	}
	if c.execution != "AVAILABLE" {
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current execution status of [%s]", c.id, c.execution)
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
	} else if e.st.status != "REVIEW_IN_PROGRESS" {
		return nil, invalid("Stack:%s is in %s state and can not be updated.", e.st.id, e.st.status)
	}
	st := e.st
	e.use(token, "EXECUTE "+c.id)
	st.disableRollback, st.retainExceptOnCreate = noRollback, r.Bool("RetainExceptOnCreate", false)
	st.duringUpdate = nil
	c.execution = "EXECUTE_IN_PROGRESS"
	st.changeSet = c.id
	if c.kind == "CREATE" {
		st.onFailure = "ROLLBACK"
		if c.onStackFailure != "" {
			st.onFailure = c.onStackFailure
		}
		e.outdate()
		// The stack is there since the change set was made for it.
		st.updated = tx.Now()
		e.createWith(c.target, token)
		return nil, nil
	}
	e.updateWith(c.target, token)
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
	if c.status == "CREATE_PENDING" || c.status == "CREATE_IN_PROGRESS" || c.execution == "EXECUTE_IN_PROGRESS" {
		status := c.status
		if c.execution == "EXECUTE_IN_PROGRESS" {
			status = c.execution
		}
		return nil, account.Errorf("InvalidChangeSetStatus", "ChangeSet [%s] cannot be deleted in its current status of [%s]", c.id, status)
	}
	tx.Drop(changeSetType, c.id)
	return nil, nil
}

func listChangeSets(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Page(e.changeSets(), r.String("NextToken"), pageSize, "ValidationError")
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"Summaries": list(page, func(c *changeSet) map[string]any {
			return map[string]any{
				"ChangeSetId": c.id, "ChangeSetName": c.name, "StackId": c.stack, "StackName": c.stackName,
				"CreationTime": stamp(c.created), "Description": optional(c.description),
				"Status": c.status, "StatusReason": optional(c.reason), "ExecutionStatus": c.execution, "IncludeNestedStacks": false,
			}
		}),
		"NextToken": optional(next),
	}, nil
}
