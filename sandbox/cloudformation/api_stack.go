package cloudformation

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/plan"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func createStack(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("StackName")
	if err := checkName(name, "stackName"); err != nil {
		return nil, err
	}
	if e := stack.Find(tx, name); e != nil {
		if token, repeated, err := repeats(e.Stack, r); err != nil || repeated {
			return map[string]any{"StackId": e.Stack.ID, "OperationId": optional(e.Stack.Requested(token))}, err
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
	p, err := readPolicy(r, "StackPolicyBody")
	if err != nil {
		return nil, err
	}
	if minutes := r.String("TimeoutInMinutes"); minutes != "" && r.Int("TimeoutInMinutes", 0) < 1 {
		return nil, constraint(minutes, "timeoutInMinutes", "Member must have value greater than or equal to 1")
	}
	if stack.Full(tx, maxStacks) {
		return nil, account.Errorf("LimitExceededException", "Limit for stack has been exceeded")
	}
	e := stack.New(tx, name)
	st := e.Stack
	d, err := newDeployment(tx, r, nil, st.ID, name)
	if err != nil {
		return nil, err
	}
	token, _, err := repeats(e.Stack, r)
	if err != nil {
		return nil, err
	}
	planned, err := plan.New(tx, e.Stack, d)
	if err != nil {
		return nil, err
	}
	r.Resource = st.ID
	st.Policy, st.Protected = p, r.Bool("EnableTerminationProtection", false)
	st.RetainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	st.Timeout = r.Int("TimeoutInMinutes", 0)
	st.DisableRollback = disableRollback(r) || onFailure == "DO_NOTHING"
	if onFailure != "" {
		st.OnFailure = onFailure
	}
	use(e.Stack, token, r)
	op := e.Create(d, token)
	check(tx, r, e, planned)
	return map[string]any{"StackId": st.ID, "OperationId": op}, nil
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

// check makes the operation fail on what the checks before deployment found,
// unless they are disabled.
func check(tx *account.Tx, r *wire.Request, e *stack.Engine, p *plan.Plan) {
	if refusal := p.Refusal(); refusal != "" && !r.Bool("DisableValidation", false) {
		e.Refuse(refusal, p.Events(tx, false))
	}
}

func updatable(e *stack.Engine, disableRollback bool) error {
	switch s := e.Stack.Status; s {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE":
		return nil
	case "CREATE_FAILED", "UPDATE_FAILED":
		if disableRollback {
			return nil
		}
		return invalid("Stack %s is currently in a non-terminal [%s] state. To update the stack from this state, please use the disable-rollback parameter with update-stack API. To rollback to the last known good state, use the rollback-stack API", e.Stack.ID, s)
	}
	return invalid("Stack:%s is in %s state and can not be updated.", e.Stack.ID, e.Stack.Status)
}

func updateStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return map[string]any{"StackId": e.Stack.ID, "OperationId": optional(e.Stack.Requested(token))}, err
	}
	if err := updatable(e, disableRollback(r)); err != nil {
		return nil, err
	}
	standing, err := readPolicy(r, "StackPolicyBody")
	if err != nil {
		return nil, err
	}
	during, err := readPolicy(r, "StackPolicyDuringUpdateBody")
	if err != nil {
		return nil, err
	}
	d, err := newDeployment(tx, r, e.Stack.Current, e.Stack.ID, e.Stack.Name)
	if err != nil {
		return nil, err
	}
	planned, err := plan.New(tx, e.Stack, d)
	if err != nil {
		return nil, err
	}
	if planned.Empty() && e.Stack.Status != "CREATE_FAILED" && e.Stack.Status != "UPDATE_FAILED" {
		return nil, invalid("No updates are to be performed.")
	}
	if standing != nil {
		e.Stack.Policy = standing
	}
	e.Stack.DisableRollback = disableRollback(r)
	e.Stack.RetainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	use(e.Stack, token, r)
	op := e.Update(d, token, during)
	check(tx, r, e, planned)
	return map[string]any{"StackId": e.Stack.ID, "OperationId": op}, nil
}

func deleteStack(tx *account.Tx, r *wire.Request) (any, error) {
	name := r.String("StackName")
	if name == "" {
		return nil, checkName("", "stackName")
	}
	e := stack.Find(tx, name)
	if e == nil || e.Stack.Status == "DELETE_COMPLETE" {
		// Deleting what isn't there is no error.
		return nil, nil
	}
	st := e.Stack
	r.Resource = st.ID
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return nil, err
	}
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	mode, retain := r.String("DeletionMode"), r.Strings("RetainResources")
	switch {
	case st.Protected:
		return nil, invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", st.ID)
	case st.Status == "DELETE_IN_PROGRESS":
		return nil, nil
	case strings.HasPrefix(st.Status, "UPDATE_") && strings.HasSuffix(st.Status, "_IN_PROGRESS"):
		return nil, invalid("Stack [%s] cannot be deleted while in status %s", st.ID, st.Status)
	case len(retain) > 0 && st.Status != "DELETE_FAILED":
		return nil, invalid("Invalid operation on stack [%s]. When you delete a stack, specify which resources to retain only when the stack is in the DELETE_FAILED state.", st.ID)
	case mode == "FORCE_DELETE_STACK" && st.Status != "DELETE_FAILED":
		return nil, invalid("Invalid operation on stack [%s]. You can only force delete a stack that is in the DELETE_FAILED state.", st.ID)
	case mode != "" && mode != "STANDARD" && mode != "FORCE_DELETE_STACK":
		return nil, constraint(mode, "deletionMode", "Member must satisfy enum value set: [STANDARD, FORCE_DELETE_STACK]")
	}
	for _, id := range retain {
		if res := st.Resources[id]; res == nil || res.Status == "DELETE_COMPLETE" {
			return nil, invalid("The specified resources to retain must be in a valid state. Do not include resources that are in the following state: DELETE_COMPLETE or that do not exist [%s]", id)
		}
	}
	for _, o := range st.Outputs {
		if o.Export == "" {
			continue
		}
		if users := stack.Importers(tx, o.Export); len(users) > 0 {
			return nil, invalid("Export %s cannot be deleted as it is in use by %s", o.Export, strings.Join(users, " and "))
		}
	}
	if err := acting(tx, r, e); err != nil {
		return nil, err
	}
	st.DeletionMode = mode
	use(e.Stack, token, r)
	e.Delete(token, retain, mode == "FORCE_DELETE_STACK")
	return nil, nil
}

func cancelUpdateStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return nil, err
	}
	if e.Stack.Status != "UPDATE_IN_PROGRESS" {
		return nil, invalid("CancelUpdateStack cannot be called from current stack status")
	}
	use(e.Stack, token, r)
	e.Cancel()
	return nil, nil
}

func continueUpdateRollback(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return nil, err
	}
	st := e.Stack
	if st.Status != "UPDATE_ROLLBACK_FAILED" {
		return nil, invalid("Stack:%s is in %s state and can not continue update rollback.", st.ID, st.Status)
	}
	skip := r.Strings("ResourcesToSkip")
	for _, id := range skip {
		res := st.Resources[id]
		if res == nil || !e.Undoable(id) {
			return nil, invalid("ContinueUpdateRollback failed: the resource [%s] to skip does not exist in stack [%s] or is not part of the rollback", id, st.Name)
		}
		if res.Status != "UPDATE_FAILED" {
			return nil, invalid("ContinueUpdateRollback failed: resources to skip must be in the UPDATE_FAILED state: [%s]", id)
		}
	}
	if err := acting(tx, r, e); err != nil {
		return nil, err
	}
	use(e.Stack, token, r)
	e.ContinueRollback(token, skip)
	return nil, nil
}

func rollbackStack(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingInBrackets)
	if err != nil {
		return nil, err
	}
	token, repeated, err := repeats(e.Stack, r)
	if err != nil || repeated {
		return map[string]any{"StackId": e.Stack.ID, "OperationId": optional(e.Stack.Requested(token))}, err
	}
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	st := e.Stack
	if st.Status != "CREATE_FAILED" && st.Status != "UPDATE_FAILED" {
		return nil, invalid("Stack:%s is in %s state and can not be rolled back. Stacks can be rolled back from CREATE_FAILED and UPDATE_FAILED.", st.ID, st.Status)
	}
	if err := acting(tx, r, e); err != nil {
		return nil, err
	}
	st.RetainExceptOnCreate = r.Bool("RetainExceptOnCreate", false)
	use(e.Stack, token, r)
	return map[string]any{"StackId": st.ID, "OperationId": e.Rollback(token)}, nil
}

func setStackPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	if e.Stack.Status == "DELETE_COMPLETE" {
		return nil, invalid(missingWithID, r.String("StackName"))
	}
	p, err := readPolicy(r, "StackPolicyBody")
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, invalid("You must specify either StackPolicyBody or StackPolicyURL.")
	}
	e.Stack.Policy = p
	return nil, nil
}

func getStackPolicy(tx *account.Tx, r *wire.Request) (any, error) {
	e, err := named(tx, r, missingWithID)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if e.Stack.Policy != nil {
		out["StackPolicyBody"] = e.Stack.Policy.Body
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
	if strings.HasPrefix(e.Stack.Status, "DELETE_") && e.Stack.Status != "DELETE_FAILED" {
		return nil, invalid("Stack [%s] is in %s state and its TerminationProtection can not be updated", e.Stack.ID, e.Stack.Status)
	}
	e.Stack.Protected = r.Bool("EnableTerminationProtection", false)
	return map[string]any{"StackId": e.Stack.ID}, nil
}
