package cloudformation

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func createStack(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("StackName")
	if err := checkName(name, "stackName"); err != nil {
		return nil, err
	}
	if e := find(tx, name); e != nil {
		if _, repeated, err := e.token(r, "CREATE_STACK"); err != nil || repeated {
			return map[string]any{"StackId": e.st.id}, err
		}
		return nil, account.Errorf("AlreadyExistsException", "Stack [%s] already exists", name)
	}
	onFailure := r.String("OnFailure")
	if onFailure != "" && r.Has("DisableRollback") {
		return nil, invalid("Either DisableRollback or OnFailure can be specified, not both.")
	}
	if err := checkOnFailure(onFailure, "onFailure"); err != nil {
		return nil, err
	}
	var p *policy
	if body := r.String("StackPolicyBody"); body != "" {
		var err error
		if p, err = parsePolicy(body); err != nil {
			return nil, err
		}
	}
	e := blank(tx, name)
	st := e.st
	d, err := newDeployment(tx, r, nil, st.id, name)
	if err != nil {
		return nil, err
	}
	token, _, err := e.token(r, "CREATE_STACK")
	if err != nil {
		return nil, err
	}
	plan, err := e.plan(d)
	if err != nil {
		return nil, err
	}
	tx.Put(e.r)
	r.Resource = st.id
	st.policy, st.protected = p, r.Bool("EnableTerminationProtection", false)
	st.retainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	st.timeout = r.Int("TimeoutInMinutes", 0)
	st.disableRollback = disableRollback(r) || onFailure == "DO_NOTHING"
	if onFailure != "" {
		st.onFailure = onFailure
	}
	e.use(token, "CREATE_STACK")
	op := e.createWith(d, token)
	if !r.Bool("DisableValidation", false) {
		e.checked(op, plan)
	}
	return map[string]any{"StackId": st.id, "OperationId": op.id}, nil
}

// disableRollback is asked for in one of two places.
func disableRollback(r *wire.Request) bool {
	if v, ok := r.Map("DeploymentConfig")["DisableRollback"]; ok && v == "true" {
		return true
	}
	return r.Bool("DisableRollback", false)
}

func checkOnFailure(v, member string) error {
	if v != "" && !slices.Contains([]string{"DO_NOTHING", "ROLLBACK", "DELETE"}, v) {
		return constraint(v, member, "Member must satisfy enum value set: [DO_NOTHING, ROLLBACK, DELETE]")
	}
	return nil
}

// createWith starts the creation of the stack.
func (e *engine) createWith(d *deployment, token string) *operation {
	e.adopt(d)
	op := e.begin("CREATE_STACK", token, d)
	e.become("CREATE_IN_PROGRESS", "User Initiated")
	if e.st.timeout > 0 {
		e.after(time.Duration(e.st.timeout)*time.Minute, "timeout", op.id)
	}
	e.after(e.overhead(), "begin", "")
	return op
}

// updateWith starts an update of the stack.
func (e *engine) updateWith(d *deployment, token string) *operation {
	e.adopt(d)
	e.st.updated = e.tx.Now()
	op := e.begin("UPDATE_STACK", token, d)
	e.become("UPDATE_IN_PROGRESS", "User Initiated")
	e.outdate()
	e.after(e.overhead(), "begin", "")
	return op
}

// checked makes the operation fail on what the checks before deployment found.
func (e *engine) checked(op *operation, p *plan) {
	if op.refusal = p.refusal(); op.refusal == "" {
		return
	}
	e.st.validations = validationEvents(e.tx, op.id, e.st.id, p)
}

func updatable(e *engine, disableRollback bool) error {
	switch s := e.st.status; s {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE":
		return nil
	case "CREATE_FAILED", "UPDATE_FAILED":
		if disableRollback {
			return nil
		}
		return invalid("Stack %s is currently in a non-terminal [%s] state. To update the stack from this state, please use the disable-rollback parameter with update-stack API. To rollback to the last known good state, use the rollback-stack API", e.st.id, s)
	}
	return invalid("Stack:%s is in %s state and can not be updated.", e.st.id, e.st.status)
}

func updateStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := e.token(r, "UPDATE_STACK")
	if err != nil || repeated {
		return map[string]any{"StackId": e.st.id}, err
	}
	if err := updatable(e, disableRollback(r)); err != nil {
		return nil, err
	}
	var standing, during *policy
	if body := r.String("StackPolicyBody"); body != "" {
		if standing, err = parsePolicy(body); err != nil {
			return nil, err
		}
	}
	if body := r.String("StackPolicyDuringUpdateBody"); body != "" {
		if during, err = parsePolicy(body); err != nil {
			return nil, err
		}
	}
	d, err := newDeployment(tx, r, e.st.current, e.st.id, e.st.name)
	if err != nil {
		return nil, err
	}
	plan, err := e.plan(d)
	if err != nil {
		return nil, err
	}
	if plan.empty() && e.st.status != "CREATE_FAILED" && e.st.status != "UPDATE_FAILED" {
		return nil, invalid("No updates are to be performed.")
	}
	if standing != nil {
		e.st.policy = standing
	}
	e.st.duringUpdate = during
	e.st.disableRollback = disableRollback(r)
	e.st.retainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	e.use(token, "UPDATE_STACK")
	op := e.updateWith(d, token)
	if !r.Bool("DisableValidation", false) {
		e.checked(op, plan)
	}
	return map[string]any{"StackId": e.st.id, "OperationId": op.id}, nil
}

func deleteStack(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("StackName")
	if name == "" {
		return nil, checkName("", "stackName")
	}
	e := find(tx, name)
	if e == nil || e.st.status == "DELETE_COMPLETE" {
		// Deleting what isn't there is no error.
		return nil, nil
	}
	st := e.st
	r.Resource = st.id
	token, repeated, err := e.token(r, "DELETE_STACK")
	if err != nil || repeated {
		return nil, err
	}
	mode, retain := r.String("DeletionMode"), r.Strings("RetainResources")
	switch {
	case st.protected:
		return nil, invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", st.id)
	case st.status == "DELETE_IN_PROGRESS":
		return nil, nil
	case strings.HasPrefix(st.status, "UPDATE_") && strings.HasSuffix(st.status, "_IN_PROGRESS"):
		return nil, invalid("Stack [%s] cannot be deleted while in status %s", st.id, st.status)
	case len(retain) > 0 && st.status != "DELETE_FAILED":
		return nil, invalid("Invalid operation on stack [%s]. When you delete a stack, specify which resources to retain only when the stack is in the DELETE_FAILED state.", st.id)
	case mode == "FORCE_DELETE_STACK" && st.status != "DELETE_FAILED":
		return nil, invalid("Invalid operation on stack [%s]. You can only force delete a stack that is in the DELETE_FAILED state.", st.id)
	case mode != "" && mode != "STANDARD" && mode != "FORCE_DELETE_STACK":
		return nil, constraint(mode, "deletionMode", "Member must satisfy enum value set: [STANDARD, FORCE_DELETE_STACK]")
	}
	for _, id := range retain {
		if res := st.resources[id]; res == nil || res.status == "DELETE_COMPLETE" {
			return nil, invalid("The specified resources to retain must be in a valid state. Do not include resources that are in the following state: DELETE_COMPLETE or that do not exist [%s]", id)
		}
	}
	for _, o := range st.outputs {
		if o.Export == "" {
			continue
		}
		if users := importers(tx, o.Export); len(users) > 0 {
			return nil, invalid("Export %s cannot be deleted as it is in use by %s", o.Export, strings.Join(users, " and "))
		}
	}
	st.deletionMode = mode
	e.use(token, "DELETE_STACK")
	op := e.begin("DELETE_STACK", token, nil)
	op.retain, op.force = retain, mode == "FORCE_DELETE_STACK"
	st.deleted = tx.Now()
	st.retainExceptOnCreate = false
	e.become("DELETE_IN_PROGRESS", "User Initiated")
	if st.current == nil {
		// Only change sets were ever made for it.
		e.deleted()
		return nil, nil
	}
	e.after(e.overhead(), "begin", "")
	return nil, nil
}

func cancelUpdateStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := e.token(r, "CANCEL_UPDATE")
	if err != nil || repeated {
		return nil, err
	}
	if e.st.status != "UPDATE_IN_PROGRESS" {
		return nil, invalid("CancelUpdateStack cannot be called from current stack status")
	}
	e.use(token, "CANCEL_UPDATE")
	e.st.disableRollback = false
	e.turn("User Initiated", nil)
	return nil, nil
}

func continueUpdateRollback(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := e.token(r, "CONTINUE_ROLLBACK")
	if err != nil || repeated {
		return nil, err
	}
	st := e.st
	if st.status != "UPDATE_ROLLBACK_FAILED" {
		return nil, invalid("Stack:%s is in %s state and can not continue update rollback.", st.id, st.status)
	}
	skip := r.Strings("ResourcesToSkip")
	for _, id := range skip {
		res := st.resources[id]
		if res == nil || st.undo[id] == nil {
			return nil, invalid("ContinueUpdateRollback failed: the resource [%s] to skip does not exist in stack [%s] or is not part of the rollback", id, st.name)
		}
		if res.status != "UPDATE_FAILED" {
			return nil, invalid("ContinueUpdateRollback failed: resources to skip must be in the UPDATE_FAILED state: [%s]", id)
		}
	}
	e.use(token, "CONTINUE_ROLLBACK")
	e.begin("CONTINUE_ROLLBACK", token, st.stable)
	e.become("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
	for _, id := range skip {
		e.skip(id)
	}
	e.restore()
	return nil, nil
}

func rollbackStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := e.token(r, "ROLLBACK")
	if err != nil || repeated {
		return map[string]any{"StackId": e.st.id}, err
	}
	st := e.st
	if st.status != "CREATE_FAILED" && st.status != "UPDATE_FAILED" {
		return nil, invalid("Stack:%s is in %s state and can not be rolled back. Stacks can be rolled back from CREATE_FAILED and UPDATE_FAILED.", st.id, st.status)
	}
	st.retainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	e.use(token, "ROLLBACK")
	op := e.begin("ROLLBACK", token, st.stable)
	if st.stable == nil {
		e.become("ROLLBACK_IN_PROGRESS", "User Initiated")
		e.unmake()
	} else {
		e.become("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
		e.restore()
	}
	return map[string]any{"StackId": st.id, "OperationId": op.id}, nil
}

func setStackPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	if e.st.status == "DELETE_COMPLETE" {
		return nil, invalid(missingWithID, r.String("StackName"))
	}
	body := r.String("StackPolicyBody")
	if body == "" {
		return nil, invalid("You must specify either StackPolicyBody or StackPolicyURL.")
	}
	p, err := parsePolicy(body)
	if err != nil {
		return nil, err
	}
	e.st.policy = p
	return nil, nil
}

func getStackPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if e.st.policy != nil {
		out["StackPolicyBody"] = e.st.policy.body
	}
	return out, nil
}

func updateTerminationProtection(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	if !r.Has("EnableTerminationProtection") {
		return nil, invalid("1 validation error detected: Value null at 'enableTerminationProtection' failed to satisfy constraint: Member must not be null")
	}
	if strings.HasPrefix(e.st.status, "DELETE_") && e.st.status != "DELETE_FAILED" {
		return nil, invalid("Stack [%s] is in %s state and its TerminationProtection can not be updated", e.st.id, e.st.status)
	}
	e.st.protected = r.Bool("EnableTerminationProtection", false)
	return map[string]any{"StackId": e.st.id}, nil
}
