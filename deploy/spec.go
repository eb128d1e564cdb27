package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// spec is what a stack shall be, with the values of the stacks before it. The
// second result names the inputs that nobody can tell yet.
func (a *applying) spec(s templates.Stack) (stack.Spec, []architecture.StackName, error) {
	spec := stack.Spec{Clear: a.clear(s.Name), Name: s.StackName, Template: s.Body, Parameters: map[string]string{}, Tags: a.Architecture.Tags, RoleARN: a.Architecture.Config.ServiceRole}
	var unknown []architecture.StackName
	a.mu.Lock()
	for _, in := range s.Inputs {
		from := architecture.StackName(in.Stack)
		v, ok := a.outputs[from][in.Output]
		if !ok && !slices.Contains(unknown, from) {
			unknown = append(unknown, from)
		}
		spec.Parameters[in.Parameter] = v
	}
	a.mu.Unlock()
	// What is made again from the start has no values to hand on.
	live := map[string]string{}
	st := a.state(s.Name)
	lasts := st.Exists() && stack.Lasts(st.Status)
	if lasts {
		live = st.Parameters
	}
	for _, p := range s.Parameters {
		v, ok := p.Default, p.HasDefault
		zone, isZone := strings.CutPrefix(p.Name, templates.ZoneIDParameter)
		named, isName := strings.CutPrefix(p.Name, templates.ZoneNameParameter)
		size, isSize := a.sizes[p.Name]
		switch {
		case isSize:
			v, ok = strconv.Itoa(size), true
		case isZone || isName:
			if isName {
				zone = named
			}
			i, err := strconv.Atoi(zone)
			if err != nil || i < 1 || i > len(a.zones) {
				return spec, nil, fmt.Errorf("stack %s asks for zone %s of %d", s.StackName, zone, len(a.zones))
			}
			if v, ok = a.zones[i-1].ID, true; isName {
				v = a.zones[i-1].Name
			}
		case p.Name == templates.PinnedParameter && lasts:
			v, ok = live[p.Name]
			if !ok { // it had a standby
				v, ok = "false", true
			}
		case p.Name == templates.CallerParameter:
			// Whoever created the cluster stays its administrator.
			v, ok = a.caller, true
			fallthrough
		case p.Name == templates.ProtectionParameter || p.Name == templates.SnapshotParameter:
			// A database made from a snapshot is replaced when it loses the
			// snapshot's name.
			if l, is := live[p.Name]; is {
				v, ok = l, true
			}
		}
		if ok {
			spec.Parameters[p.Name] = v
		}
	}
	return spec, unknown, nil
}
