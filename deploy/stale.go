package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
)

// StaleError says that what was shown, and agreed to, is no longer what would be
// done. The stacks that it names are as they were; make a new plan, and ask again.
type StaleError struct {
	// Changed is what is another than was shown, in words.
	Changed []string
}

func (e *StaleError) Error() string {
	return "what was shown is no longer what would be done: " + strings.Join(e.Changed, "; ")
}

// stale compares the stacks with those that a plan was made from: nil if they are
// the same. One that was in motion then may have come to rest.
func (p *Plan) stale(states map[architecture.StackName]*stack.State) error {
	var changed []string
	for _, entry := range architecture.Catalogue() {
		was, is := p.seen[entry.Name], states[entry.Name]
		switch {
		case !was.Exists() && !is.Exists():
		case !was.Exists():
			changed = append(changed, fmt.Sprintf("stack %s is there by now (%s)", is.Name, is.Status))
		case stack.ConditionOf(was.Status) == stack.Moving && (!is.Exists() || is.ID == was.ID):
		case !is.Exists():
			changed = append(changed, fmt.Sprintf("stack %s is gone", was.Name))
		case is.ID != was.ID:
			changed = append(changed, fmt.Sprintf("stack %s was made anew (%s)", is.Name, is.Status))
		case is.Status != was.Status || !is.Updated.Equal(was.Updated):
			changed = append(changed, fmt.Sprintf("stack %s was changed, %s, and is %s", is.Name, is.Updated.UTC().Format("2006-01-02 15:04:05Z"), is.Status))
		}
	}
	if len(changed) > 0 {
		return &StaleError{changed}
	}
	return nil
}

// shows tells, by a [*StaleError], which changes of a stack that are about to be
// made the plan did not show. What others of the deployment's stacks put out
// decides too what changes: of a stack that gets other values than the plan could
// know, anything may.
func (p *Plan) shows(spec stack.Spec, changes []stack.Change) error {
	at := slices.IndexFunc(p.Stacks, func(s StackPlan) bool { return s.Name == spec.Name })
	if at < 0 || p.Stacks[at].parameters == nil {
		return nil
	}
	s := p.Stacks[at]
	for k, v := range s.parameters {
		if spec.Parameters[k] != v {
			return nil
		}
	}
	var unseen []string
	for _, c := range effective(slices.Clone(changes)) {
		if !slices.ContainsFunc(s.Changes, func(o stack.Change) bool { return o.LogicalID == c.LogicalID && covered(c, o) }) {
			unseen = append(unseen, fmt.Sprintf("stack %s: %s %s (%s)%s", spec.Name, c.Action, c.LogicalID, c.Type, drifts(c)))
		}
	}
	if len(unseen) > 0 {
		return &StaleError{unseen}
	}
	return nil
}

// covered tells that a change was shown as another is: not as a lesser one, and
// putting back nothing else.
func covered(c, shown stack.Change) bool {
	if c.Action != shown.Action && (c.Action != stack.Modify || shown.Action == stack.Remove) {
		return false
	}
	for _, p := range c.Properties {
		if p.Drift && !slices.ContainsFunc(shown.Properties, func(o stack.Property) bool {
			return o.Drift && o.Path == p.Path && o.Before == p.Before && o.After == p.After
		}) {
			return false
		}
	}
	return true
}

// drifts are the properties that a change puts back, in words.
func drifts(c stack.Change) string {
	var all []string
	for _, p := range c.Properties {
		if p.Drift {
			all = append(all, fmt.Sprintf("%s, which is %s by now", p.Path, p.Before))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, ", ")
}

// stale compares a recovery with the one that was shown.
func (r *Recovery) stale(shown *Recovery) error {
	if shown == nil {
		return nil
	}
	var changed []string
	for _, s := range r.Stacks {
		at := slices.IndexFunc(shown.Stacks, func(o StackRecovery) bool { return o.Stack == s.Stack })
		switch {
		case at < 0 && len(s.ChangeSets) > 0:
			changed = append(changed, fmt.Sprintf("stack %s has change sets that a run which is over has left: %s", s.Name, inWords(s.ChangeSets)))
		case at < 0:
			changed = append(changed, fmt.Sprintf("stack %s is %s by now", s.Name, s.Status))
		case shown.Stacks[at].Status != s.Status:
			changed = append(changed, fmt.Sprintf("stack %s was %s and is %s by now", s.Name, shown.Stacks[at].Status, s.Status))
		case !slices.Equal(namedBy(shown.Stacks[at]), namedBy(s)):
			changed = append(changed, fmt.Sprintf("what is done about stack %s was about %s and is about %s by now", s.Name, inWords(namedBy(shown.Stacks[at])), inWords(namedBy(s))))
		}
	}
	if len(changed) > 0 {
		return &StaleError{changed}
	}
	return nil
}

// namedBy are the things that a stack's recovery names.
func namedBy(s StackRecovery) (names []string) {
	for _, h := range slices.Concat(s.Held, s.Takes) {
		names = append(names, h.LogicalID+" "+h.PhysicalID)
	}
	return append(names, s.ChangeSets...)
}

// inWords is a list in words.
func inWords(names []string) string {
	if len(names) == 0 {
		return "nothing by name"
	}
	return strings.Join(names, ", ")
}
