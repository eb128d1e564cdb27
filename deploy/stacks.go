package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
)

// ownedStacks are the deployment's stacks in the account, by their place in
// the catalogue.
func ownedStacks(ctx context.Context, d *stack.Driver, deployment string) (map[architecture.StackName]*stack.State, error) {
	owned, _, err := knownStacks(ctx, d, deployment)
	return owned, err
}

// knownStacks are the deployment's stacks: those that have a name of its
// catalogue and its tag. Foreign are those that have one of the two: a name of the
// catalogue without the tag, or the tag and another name after the deployment's.
// They are somebody else's, and never touched. A stack that only has a change set
// holds nothing, and takes the tags of the next.
func knownStacks(ctx context.Context, d *stack.Driver, deployment string) (owned map[architecture.StackName]*stack.State, foreign []*stack.State, err error) {
	all, err := d.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	owned = map[architecture.StackName]*stack.State{}
	names := map[architecture.StackName]bool{}
	for _, s := range architecture.Catalogue() {
		names[s.Name] = true
	}
	for _, st := range all {
		rest, ok := strings.CutPrefix(st.Name, deployment+"-")
		name := architecture.StackName(rest)
		switch {
		case !ok:
		case names[name] && st.Tags[Tag] == deployment:
			owned[name] = st
		case (names[name] || st.Tags[Tag] == deployment) && st.Exists():
			foreign = append(foreign, st)
		}
	}
	return owned, foreign, nil
}

// strays are the names of those among foreign stacks that have the deployment's
// tag: they stand beside its own, and in nobody's way.
func strays(foreign []*stack.State, deployment string) []string {
	var names []string
	for _, st := range foreign {
		if st.Tags[Tag] == deployment {
			names = append(names, st.Name)
		}
	}
	return names
}

// foreignRefusals refuse a deployment whose names others have taken.
func (a *applying) foreignRefusals() []guard.Refusal {
	var all []guard.Refusal
	for _, st := range a.foreign {
		if st.Tags[Tag] == a.Architecture.Config.Name {
			continue
		}
		whose := "has no tag " + Tag
		if d := st.Tags[Tag]; d != "" {
			whose = fmt.Sprintf("belongs to deployment %s by its tag %s", d, Tag)
		}
		all = append(all, guard.Refusal{
			Fault: a.Architecture.Config.Fault("name", fmt.Sprintf("leads to a stack %s, which is there and is not of this deployment: %s %s", st.Name, st.ID, whose),
				"choose another name for the deployment, or have the owner of the stack remove it; it is neither changed nor deleted here"),
			Stack: st.Name,
		})
	}
	return all
}
