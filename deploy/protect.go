package deploy

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// StackPolicy is the stack policy of stacks that hold something stateful. It can't
// be part of a change set, so it is set again by every run.
func StackPolicy() string {
	doc := map[string]any{"Statement": []any{
		map[string]any{"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"},
		map[string]any{
			"Effect": "Deny", "Principal": "*", "Action": []string{"Update:Replace", "Update:Delete"}, "Resource": "*",
			"Condition": map[string]any{"StringEquals": map[string]any{"ResourceType": stateful}},
		},
	}}
	b, err := json.Marshal(doc)
	if err != nil {
		// Strings always marshal.
		return ""
	}
	return string(b)
}

// openPolicy lets an update do everything. A policy can't be taken off a stack.
const openPolicy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"Update:*","Resource":"*"}]}`

// protect is the last step of a run: deletion protection of resources,
// termination protection and policies of stacks. Until a deployment is
// complete they are off, since a failed creation could not roll back.
func (a *applying) protect(ctx context.Context) error {
	if !a.Architecture.Config.Database.DeletionProtection {
		return nil
	}
	var order []architecture.StackName
	for _, s := range a.Architecture.Stacks {
		order = append(order, s.Name)
	}
	none := func(architecture.StackName) []architecture.StackName { return nil }
	return inOrder(ctx, order, none, func(ctx context.Context, name architecture.StackName) error {
		s, st := a.stacks[name], a.states[name]
		if st == nil {
			return nil
		}
		if protectable(s) && st.Parameters[templates.ProtectionParameter] != "true" {
			if err := a.setProtection(ctx, name, st, "true"); err != nil {
				return err
			}
		}
		if HoldsState(s) {
			if err := a.driver.Policy(ctx, st.Name, StackPolicy()); err != nil {
				return err
			}
		}
		if st.Protected {
			return nil
		}
		return a.driver.Protect(ctx, st.Name, true)
	})
}

// setProtection switches the deletion protection of a stack's resources, and
// nothing else, whatever the configuration says by now.
func (r *run) setProtection(ctx context.Context, name architecture.StackName, st *stack.State, value string) error {
	return r.timed(name, ProtectStack, 0, func() (int, error) {
		body, err := r.driver.Template(ctx, st.Name)
		if err != nil {
			return 0, err
		}
		params := maps.Clone(st.Parameters)
		params[templates.ProtectionParameter] = value
		out, err := r.driver.Apply(ctx, stack.Spec{Name: st.Name, Template: body, Parameters: params, Tags: st.Tags, RoleARN: r.Architecture.Config.ServiceRole}, nil)
		if err != nil {
			return 0, err
		}
		return len(out.Changes), nil
	})
}

// protectable tells that the stack has resources to protect.
func protectable(s templates.Stack) bool {
	return slices.ContainsFunc(s.Parameters, func(p templates.Parameter) bool { return p.Name == templates.ProtectionParameter })
}

// HoldsState tells that the stack has resources whose loss loses data.
func HoldsState(s templates.Stack) bool {
	return slices.ContainsFunc(s.Template.Resources(), func(r cfn.ResourceType) bool { return slices.Contains(stateful, string(r.Type)) })
}
