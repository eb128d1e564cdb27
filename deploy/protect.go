package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/guard"
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
			"Condition": map[string]any{"StringEquals": map[string]any{"ResourceType": guard.Stateful()}},
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
// complete they are off, since a failed creation could not roll back. Each run
// looks again: what somebody switched off is put back. Protection that the file
// no longer asks for goes here, as a step of its own.
func (a *applying) protect(ctx context.Context, which []architecture.StackName) error {
	if !a.Architecture.Config.Database.DeletionProtection {
		return a.unprotect(ctx, which)
	}
	a.tellHalf(which)
	return inOrder(ctx, which, unordered, func(ctx context.Context, name architecture.StackName) error {
		s, st := a.stacks[name], a.state(name)
		if st == nil {
			return nil
		}
		switch {
		case !protectable(s):
		case st.Parameters[templates.ProtectionParameter] != "true":
			if err := a.setProtection(ctx, name, st, "true"); err != nil {
				return err
			}
		default:
			if err := a.recheck(ctx, name, st); err != nil {
				return err
			}
		}
		if HoldsState(s) {
			if err := a.driver.Policy(ctx, st.ID, StackPolicy()); err != nil {
				return err
			}
		}
		if st.Protected {
			return nil
		}
		return a.driver.Protect(ctx, st.ID, true)
	})
}

// tellHalf says that some stacks lack protection that others have.
func (a *applying) tellHalf(which []architecture.StackName) {
	var on, off []Protection
	for _, n := range which {
		if st := a.state(n); st.Exists() {
			on, off = append(on, ofStack(n, st)...), append(off, bare(n, st)...)
		}
	}
	if len(on) > 0 && len(off) > 0 {
		a.step("", "some stacks lack protection that others have, because they are new or a run was cut off: %s; it is switched on now", stacksOf(off))
	}
}

// unprotect lifts the protection that an earlier configuration asked for. The
// parameter that switched it on is handed on until then, and goes last, so that
// a run that was cut off is continued.
func (a *applying) unprotect(ctx context.Context, which []architecture.StackName) error {
	on := func(name architecture.StackName) bool {
		st := a.state(name)
		return st != nil && protectable(a.stacks[name]) && st.Parameters[templates.ProtectionParameter] == "true"
	}
	if !slices.ContainsFunc(which, on) {
		return nil
	}
	err := inOrder(ctx, which, unordered, func(ctx context.Context, name architecture.StackName) error {
		st := a.state(name)
		if st == nil {
			return nil
		}
		if HoldsState(a.stacks[name]) {
			if err := a.driver.Policy(ctx, st.ID, openPolicy); err != nil {
				return err
			}
		}
		if !st.Protected {
			return nil
		}
		a.step(name, "lifting the protection that the file no longer asks for")
		return a.driver.Protect(ctx, st.ID, false)
	})
	if err != nil {
		return err
	}
	return inOrder(ctx, which, unordered, func(ctx context.Context, name architecture.StackName) error {
		if !on(name) {
			return nil
		}
		return a.setProtection(ctx, name, a.state(name), "false")
	})
}

// setProtection switches the deletion protection of a stack's resources, and
// nothing else, whatever the configuration says by now.
func (r *run) setProtection(ctx context.Context, name architecture.StackName, st *stack.State, value string) error {
	return r.timed(name, ProtectStack, 0, func() (int, error) {
		out, err := r.applyProtection(ctx, st, value)
		if err != nil {
			return 0, err
		}
		return len(out.Changes), nil
	})
}

func (r *run) applyProtection(ctx context.Context, st *stack.State, value string) (*stack.Outcome, error) {
	params := maps.Clone(st.Parameters)
	params[templates.ProtectionParameter] = value
	return r.driver.Apply(ctx, stack.Spec{Name: st.Name, Parameters: params, Tags: st.Tags, RoleARN: r.Architecture.Config.ServiceRole}, nil)
}

// guarded are the types whose deletion protection the parameter switches.
var guarded = []string{"AWS::EKS::Cluster", "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::RDS::DBInstance"}

// errGuarded says that an update would replace or remove what is protected.
var errGuarded = errors.New("a protected resource would be replaced")

// bringUnguarded brings a stack to its spec. What an update replaces is deleted
// in the end, which its protection would prevent: it goes first, for the whole
// stack, and comes back as the last step of the run.
func (a *applying) bringUnguarded(ctx context.Context, name architecture.StackName, spec stack.Spec) (*stack.Outcome, error) {
	st := a.state(name)
	if !st.Exists() || st.Parameters[templates.ProtectionParameter] != "true" {
		return a.bring(ctx, spec, st, a.approve(spec.Name))
	}
	out, err := a.bring(ctx, spec, st, func(changes []stack.Change) error {
		if err := a.approve(spec.Name)(changes); err != nil {
			return err
		}
		if slices.ContainsFunc(changes, func(c stack.Change) bool {
			return (c.Action == stack.Replace || c.Action == stack.Remove) && slices.Contains(guarded, c.Type)
		}) {
			return errGuarded
		}
		return nil
	})
	if !errors.Is(err, errGuarded) {
		return out, err
	}
	a.step(name, "lifting deletion protection: the update replaces what is protected")
	lifted, err := a.applyProtection(ctx, st, "false")
	if err != nil {
		return nil, err
	}
	spec.Parameters[templates.ProtectionParameter] = "false"
	return a.bring(ctx, spec, lifted.State, a.approve(spec.Name))
}

// protectable tells that the stack has resources to protect.
func protectable(s templates.Stack) bool {
	return slices.ContainsFunc(s.Parameters, func(p templates.Parameter) bool { return p.Name == templates.ProtectionParameter })
}

// HoldsState tells that the stack has resources whose loss loses data.
func HoldsState(s templates.Stack) bool {
	return slices.ContainsFunc(s.Template.Resources(), func(r cfn.ResourceType) bool { return slices.Contains(guard.Stateful(), string(r.Type)) })
}
