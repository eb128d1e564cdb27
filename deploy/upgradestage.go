package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/templates"
	"github.com/poolhouse/poolhouse/upgrade"
)

const (
	// bakeLooks is the pause between looks at a control plane that is watched.
	bakeLooks = 30 * time.Second
	// bakeGrace is how long, beyond the time itself, a control plane may take to be
	// well for all of that time.
	bakeGrace = 30 * time.Minute
)

// change carries out one change of one resource: its stack's template as it is
// deployed, with that property alone.
func (u *upgrading) change(ctx context.Context, c upgrade.Change) error {
	s := u.stacks[c.Stack]
	return u.timed(c.Stack, UpdateStack, c.Expected, u.witnessed(ctx, c.Stack, func() (int, error) {
		u.step(c.Stack, "changing the %s, alone", c)
		spec, _, err := u.spec(s)
		if err != nil {
			return 0, err
		}
		st, err := u.driver.Ready(ctx, s.StackName, spec.RoleARN, spec.Clear)
		if err != nil {
			return 0, err
		}
		current, err := u.driver.Template(ctx, s.StackName)
		if err != nil {
			return 0, err
		}
		if spec.Template, err = changed(current, c); err != nil {
			return 0, err
		}
		if err := u.settle(ctx, s.StackName); err != nil {
			return 0, err
		}
		spec.Parameters, spec.Tags = maps.Clone(st.Parameters), st.Tags
		if c.Stage == upgrade.Nodes {
			if err := u.resized(ctx, c, spec.Parameters); err != nil {
				return 0, err
			}
		}
		out, err := u.driver.Apply(ctx, spec, u.approve(s.StackName))
		if err != nil {
			return 0, err
		}
		u.setState(c.Stack, out.State)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.outputs[c.Stack] = out.State.Outputs
		return len(out.Changes), nil
	}))
}

// resized has a node group's parameter say how many nodes it has now: an update must
// not undo what a scaler did. Those of other groups stay as they are deployed, or their
// groups would be updated too.
func (u *upgrading) resized(ctx context.Context, c upgrade.Change, parameters map[string]string) error {
	id, err := u.groupID(ctx, c.Place)
	if err != nil {
		return err
	}
	g, ok := u.nodeGroups()[c.LogicalID]
	if !ok {
		return fmt.Errorf("the file has no node group %s; repeat the command", c.LogicalID)
	}
	size, ok, err := u.sizeOf(ctx, g, id)
	if name := templates.DesiredSizeParameter(g); ok && parameters[name] != "" {
		parameters[name] = strconv.Itoa(size)
	}
	return err
}

// changed is a template with one property of one resource changed.
func changed(template []byte, c upgrade.Change) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(template, &doc); err != nil {
		return nil, fmt.Errorf("read the template of stack %s: %w", c.Stack, err)
	}
	resources, _ := doc["Resources"].(map[string]any)
	resource, _ := resources[c.LogicalID].(map[string]any)
	properties, _ := resource["Properties"].(map[string]any)
	if properties == nil {
		return nil, fmt.Errorf("stack %s has no resource %s by now; repeat the command", c.Stack, c.LogicalID)
	}
	properties[c.Property] = c.To
	return json.Marshal(doc)
}

// bake watches the new control plane until all has been well for as long as it
// shall, reckoned from when it was first seen so, by whichever run. The record says
// when that was, so that trouble that one run sees counts for the next.
func (u *upgrading) bake(ctx context.Context, takes time.Duration) error {
	begin := func(at time.Time) error {
		u.record.Well = at
		return u.record.save(ctx, u.Target)
	}
	u.step(architecture.Cluster, "watching the control plane for %s: that cluster, nodes and add-ons stay well", takes)
	told, answered := "", false
	w := poll.Wait{
		For: fmt.Sprintf("%s without trouble after the change of the control plane", takes), Pace: poll.Every(bakeLooks), AtMost: takes + bakeGrace,
		Next: "nodes and add-ons are as they were; mend that, and repeat the command, which goes on from here",
	}
	err := u.until(ctx, architecture.Cluster, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		ill, err := u.ill(ctx)
		if err != nil {
			return false, "", err
		}
		unready, err := u.unready(ctx)
		answered = answered || err == nil
		unseen, trouble, err := unanswered(err, answered)
		if err != nil {
			return false, "", err
		}
		if unseen != told && unseen != "" {
			u.step(architecture.Cluster, "the Kubernetes API is not watched from here: %s", unseen)
		}
		told = unseen
		for _, n := range unready {
			ill = append(ill, "node "+n+" is not ready")
		}
		if trouble != "" {
			ill = append(ill, "the Kubernetes API is not well: "+trouble)
		}
		now := u.AWS.Clock.Now()
		switch well := !u.record.Well.IsZero(); {
		case len(ill) > 0 && well:
			err = begin(time.Time{})
		case len(ill) == 0 && !well:
			err = begin(now)
		}
		if err != nil || len(ill) > 0 {
			return false, strings.Join(ill, "; "), err
		}
		return now.Sub(u.record.Well) >= takes, fmt.Sprintf("all is well since %s", u.record.Well.UTC().Format(time.RFC3339)), nil
	})
	if err != nil {
		return err
	}
	u.record.Baked = true
	return u.record.save(ctx, u.Target)
}

// undrained are the budgets that keep nodes from being drained, for the error of a
// failed stage of nodes; "" if there are none, or nobody can tell.
func (u *upgrading) undrained(ctx context.Context, at upgrade.Stage) string {
	if at != upgrade.Nodes || ctx.Err() != nil {
		return ""
	}
	blocking, err := u.budgets(ctx)
	switch {
	case err != nil:
		return "; budgets could not be looked at: " + err.Error()
	case len(blocking) == 0:
		return ""
	}
	return "; nodes wait for budgets with no allowed disruption: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(blocking))), ", ")
}
