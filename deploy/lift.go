package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Protection is what keeps something from being deleted.
type Protection struct {
	Stack architecture.StackName `json:"stack"`
	// Of is what is protected: "stack" against its deletion, "resources" of it that
	// AWS does not delete otherwise, or one "resource" of it, whose protection
	// somebody switched on apart from the stack. Without a stack it is one that a
	// controller in the cluster made.
	Of string `json:"of"`
	// Type and ID are those of that resource.
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
}

// ofStack is the protection that a stack's own state tells of.
func ofStack(name architecture.StackName, st *stack.State) (all []Protection) {
	if st.Protected {
		all = append(all, Protection{Stack: name, Of: "stack"})
	}
	if st.Parameters[templates.ProtectionParameter] == "true" {
		all = append(all, Protection{Stack: name, Of: "resources"})
	}
	return all
}

// bare is the protection that a stack does not have and may have.
func bare(name architecture.StackName, st *stack.State) (all []Protection) {
	if !st.Protected {
		all = append(all, Protection{Stack: name, Of: "stack"})
	}
	if on, ok := st.Parameters[templates.ProtectionParameter]; ok && on != "true" {
		all = append(all, Protection{Stack: name, Of: "resources"})
	}
	return all
}

// stacksOf are the names of the stacks in a list of protections, each once.
func stacksOf(all []Protection) string {
	var names []string
	for _, p := range all {
		if !slices.Contains(names, string(p.Stack)) {
			names = append(names, string(p.Stack))
		}
	}
	return strings.Join(names, ", ")
}

// guardedIn are the stacks that have resources of guarded types, whether or not
// their template has the parameter.
var guardedIn = []architecture.StackName{architecture.Database, architecture.Cluster, architecture.Edge}

// guardedOf are the resources of a stack that AWS refuses to delete now. What may
// not be looked at counts as unprotected: its deletion tells.
func (r *run) guardedOf(ctx context.Context, name architecture.StackName, st *stack.State) ([]stack.Resource, error) {
	if !slices.Contains(guardedIn, name) {
		return nil, nil
	}
	held, err := r.ofIts(ctx, st)
	if err != nil {
		return nil, err
	}
	var on []stack.Resource
	for _, res := range held {
		if res.PhysicalID == "" || res.Status == types.ResourceStatusDeleteComplete || !slices.Contains(guarded, res.Type) {
			continue
		}
		protected, err := r.isProtected(ctx, res)
		if absent(err) != nil {
			if err = r.blind(err, res.PhysicalID); err != nil {
				return nil, err
			}
		}
		if protected {
			on = append(on, res)
		}
	}
	return on, nil
}

// protections are those of the stacks that go, also what somebody switched on by
// hand: CloudFormation would find that out half-way. Load balancers that controllers
// made are among them.
func (d *deleting) protections(ctx context.Context) ([]Protection, error) {
	var all []Protection
	for _, n := range d.going {
		st := d.owned[n]
		if !st.Exists() {
			continue
		}
		all = append(all, ofStack(n, st)...)
		if st.Parameters[templates.ProtectionParameter] == "true" {
			continue
		}
		apart, err := d.guardedOf(ctx, n, st)
		if err != nil {
			return nil, err
		}
		for _, res := range apart {
			all = append(all, Protection{n, "resource", res.Type, res.PhysicalID})
		}
	}
	made, err := inventory.OfControllers(ctx, d.AWS, d.Architecture)
	if err != nil {
		return nil, err
	}
	for _, i := range made.Items {
		if i.Type != "AWS::ElasticLoadBalancingV2::LoadBalancer" {
			continue
		}
		on, err := d.isProtected(ctx, stack.Resource{Type: i.Type, PhysicalID: i.ID})
		if absent(err) != nil {
			if err = d.blind(err, i.ID); err != nil {
				return nil, err
			}
		}
		if on {
			all = append(all, Protection{"", "resource", i.Type, i.ID})
		}
	}
	return all, nil
}

// askToLift asks whether the protection may go that it has not yet asked for.
func (d *deleting) askToLift(ctx context.Context) error {
	all, err := d.protections(ctx)
	if err != nil {
		return err
	}
	return d.mayLift(ctx, all...)
}

// mayLift asks whether protection may go, unless it has asked for it before.
func (d *deleting) mayLift(ctx context.Context, all ...Protection) error {
	d.asking.Lock()
	defer d.asking.Unlock()
	all = slices.DeleteFunc(all, func(p Protection) bool { return slices.Contains(d.asked, p) })
	if len(all) == 0 || d.opts.Lift == nil {
		return nil
	}
	if err := d.opts.Lift(ctx, all); err != nil {
		if d.touched && ctx.Err() == nil {
			// What the error says by itself isn't so: something was touched.
			var names []string
			for _, p := range all {
				names = append(names, cmp.Or(p.ID, "stack "+d.Architecture.StackName(p.Stack)))
			}
			return fmt.Errorf("protection that was switched on while the deletion went on may not be lifted, and stays (%s); what went before is gone, and what is left stands: repeat the delete to go on", strings.Join(names, ", "))
		}
		return err
	}
	d.asked = append(d.asked, all...)
	return nil
}

// atRest waits until nothing is in motion: no stack, and no operation on what the
// stacks hold.
func (d *deleting) atRest(ctx context.Context) error {
	err := inOrder(ctx, d.going, unordered, func(ctx context.Context, name architecture.StackName) error {
		was := d.owner(name)
		if stack.ConditionOf(was.Status) != stack.Moving {
			return nil
		}
		d.step(name, "waiting for stack %s: %s", was.Name, was.Status)
		// By its ARN: another stack of the name is another stack.
		st, err := d.driver.Rest(ctx, was.ID)
		if err == nil && st.Exists() {
			d.setOwned(name, st)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.settleKept(ctx); err != nil {
		return err
	}
	return d.operations(ctx)
}

// lift switches all protection off, of the stacks that go. What was switched on
// since it was asked for is asked for before any of it is lifted.
func (d *deleting) lift(ctx context.Context) error {
	d.tellHalf()
	err := inOrder(ctx, d.going, unordered, func(ctx context.Context, name architecture.StackName) error {
		st, err := d.driver.Rest(ctx, d.owner(name).ID)
		if err == nil && st.Exists() {
			d.setOwned(name, st)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.askToLift(ctx); err != nil {
		return err
	}
	return inOrder(ctx, d.going, unordered, func(ctx context.Context, name architecture.StackName) error {
		st := d.owner(name)
		if !st.Exists() {
			return nil
		}
		if st.Protected {
			if err := d.driver.Protect(ctx, st.ID, false); err != nil {
				return err
			}
		}
		if st.Parameters[templates.ProtectionParameter] == "true" && stack.ConditionOf(st.Status) == stack.Whole {
			if err := d.setProtection(ctx, name, st, "false"); err != nil {
				return err
			}
		}
		// What somebody switched on, and what a stack holds that takes no change.
		apart, err := d.guardedOf(ctx, name, st)
		if err != nil {
			return err
		}
		for _, res := range apart {
			// That of what the stack protects was asked for as a whole.
			if st.Parameters[templates.ProtectionParameter] != "true" {
				if err := d.mayLift(ctx, Protection{name, "resource", res.Type, res.PhysicalID}); err != nil {
					return fmt.Errorf("the protection of %s %s, switched on this moment, stays, and that of others is lifted; poolhouse create puts it back: %v", res.Type, res.PhysicalID, err)
				}
			}
			d.step(name, "lifting the deletion protection of %s %s, which its stack did not switch on", res.Type, res.PhysicalID)
			if err := d.setResource(ctx, res, false); err != nil {
				return fmt.Errorf("lift the deletion protection of %s: %w", res.PhysicalID, err)
			}
		}
		return nil
	})
}

// tellHalf says that some of the stacks that go have no protection any more, or
// not yet, though others have: a run was cut off that switched it.
func (d *deleting) tellHalf() {
	if !d.Architecture.Config.Database.DeletionProtection {
		return
	}
	var on, off []Protection
	for _, n := range d.going {
		if st := d.owned[n]; st.Exists() {
			on, off = append(on, ofStack(n, st)...), append(off, bare(n, st)...)
		}
	}
	if len(on) > 0 && len(off) > 0 {
		d.step("", "some protection is lifted already, or was never switched on, because a run was cut off: that of %s; the rest is lifted now", stacksOf(off))
	}
}

// owner is a stack of the deployment as it was seen last.
func (d *deleting) owner(name architecture.StackName) *stack.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.owned[name]
}
