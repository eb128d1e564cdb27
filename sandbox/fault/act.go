package fault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
)

// Types of what can be busy with somebody else's operation, and the status that
// it then has.
var busy = map[string]string{"AWS::EKS::Cluster": "UPDATING", "AWS::RDS::DBInstance": "backing-up"}

// Watch looks at what has happened in a stack, for the moments that wait for it.
func (i *Injector) Watch(tx *account.Tx, stackID string) {
	r := tx.Get(stack.Type, stackID)
	if r == nil {
		return
	}
	st := r.State.(*stack.Stack)
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := range i.plan.Faults {
		m, s := i.plan.Faults[n].When.Resource, &i.states[n]
		if m == nil || !s.begun.IsZero() {
			continue
		}
		for _, e := range st.Events[min(s.stacks[stackID], len(st.Events)):] {
			if matches(m.Stack, st.Name) && matches(m.Type, e.Type) && matches(m.Status, e.Status) && (matches(m.Resource, e.LogicalID) && e.Type != stackType || m.Type == stackType && e.Type == stackType) {
				i.begin(tx, n)
			}
		}
		s.stacks[stackID] = len(st.Events)
	}
}

// Handle is the handler of [EventKind].
func Handle(tx *account.Tx, ev account.Event) {
	i := Of(tx)
	if i == nil {
		return
	}
	if typ, ok := ev.Data["release"].(string); ok {
		if r := tx.Get(typ, ev.ID); r != nil && r.Status == busy[typ] {
			r.Status, _ = ev.Data["status"].(string)
		}
		return
	}
	n := slices.IndexFunc(i.plan.Faults, func(f Fault) bool { return f.ID == ev.Data["fault"] })
	if n < 0 {
		return
	}
	if ev.Data["end"] == true {
		autoscaling.Refill(tx)
		return
	}
	i.mu.Lock()
	w, ready := i.world, i.world != nil && i.active(n, tx.Now())
	i.mu.Unlock()
	if !ready {
		return
	}
	what, err := i.act(tx, w, &i.plan.Faults[n])
	if err != nil {
		what = fmt.Sprintf("%s, which fails: %v", what, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fired(n, tx.Now(), what)
}

// act does what somebody else, or fate, does.
func (i *Injector) act(tx *account.Tx, w World, f *Fault) (string, error) {
	caller := tx.GlobalARN("iam", "root")
	switch {
	case f.Zone != nil:
		return "zone " + f.Zone.Name + " is lost", w.LoseZone(tx, f.Zone.Name)
	case f.Call != nil:
		if f.Call.As != "" {
			caller = f.Call.As
		}
		what := fmt.Sprintf("%s calls %s:%s", caller, f.Call.Service, f.Call.Operation)
		in, err := resolve(tx, f.Call.Input)
		if err != nil {
			return what, err
		}
		m, _ := in.(map[string]any)
		return what, w.Call(tx, f.Call.Service, f.Call.Operation, caller, m)
	case f.Crash != nil, f.Failover != nil, f.Full != nil:
		return i.breakServer(tx, f)
	case f.InFlight.Stack != "":
		return "somebody updates stack " + f.InFlight.Stack, touch(tx, w, caller, f.InFlight.Stack)
	case f.InFlight.Cluster != "":
		return occupy(tx, "AWS::EKS::Cluster", f.InFlight.Cluster, "ACTIVE", f.For)
	}
	return occupy(tx, "AWS::RDS::DBInstance", f.InFlight.Database, "available", f.For)
}

// touch updates a stack with one tag more.
func touch(tx *account.Tx, w World, caller, name string) error {
	e := stack.Find(tx, name)
	if e == nil || e.Stack.Current == nil {
		return fmt.Errorf("there is no stack %s", name)
	}
	d := e.Stack.Current
	in := map[string]any{"StackName": name, "UsePreviousTemplate": "true"}
	var parameters, tags, capabilities []any
	for _, v := range d.Values {
		parameters = append(parameters, map[string]any{"ParameterKey": v.Key, "UsePreviousValue": "true"})
	}
	for k, v := range d.Tags {
		tags = append(tags, map[string]any{"Key": k, "Value": v})
	}
	for _, c := range d.Capabilities {
		capabilities = append(capabilities, c)
	}
	in["Parameters"], in["Capabilities"] = parameters, capabilities
	in["Tags"] = append(tags, map[string]any{"Key": "touched-by", "Value": "colleague"})
	return w.Call(tx, "cloudformation", "UpdateStack", caller, in)
}

// occupy makes something busy for a while.
func occupy(tx *account.Tx, typ, id, idle string, d time.Duration) (string, error) {
	what := fmt.Sprintf("%s is %s for %s", id, busy[typ], d)
	v, err := resolve(tx, id)
	if err != nil {
		return what, err
	}
	id, _ = v.(string)
	r := tx.Get(typ, id)
	switch {
	case r == nil:
		return what, fmt.Errorf("there is no %s %s", typ, id)
	case r.Status != idle:
		return what, fmt.Errorf("it is %s", r.Status)
	}
	r.Status = busy[typ]
	tx.After(d, account.Event{Kind: EventKind, ID: id, Data: map[string]any{"release": typ, "status": idle}})
	return fmt.Sprintf("%s is %s for %s", id, busy[typ], d), nil
}

// resolve puts ids and attributes into texts.
func resolve(tx *account.Tx, v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			y, err := resolve(tx, x)
			if err != nil {
				return nil, err
			}
			out[k] = y
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for n, x := range v {
			y, err := resolve(tx, x)
			if err != nil {
				return nil, err
			}
			out[n] = y
		}
		return out, nil
	case string:
		var errs []error
		s := reference.ReplaceAllStringFunc(v, func(match string) string {
			m := reference.FindStringSubmatch(match)
			e := stack.Find(tx, m[1])
			if e == nil || e.Stack.Resources[m[2]] == nil || e.Stack.Resources[m[2]].Physical == "" {
				errs = append(errs, fmt.Errorf("%s isn't there", match))
				return ""
			}
			r := e.Stack.Resources[m[2]]
			if m[3] == "" {
				return r.Physical
			}
			x, err := stack.Attribute(tx, r, m[3])
			if err != nil {
				errs = append(errs, err)
			}
			return fmt.Sprint(x)
		})
		return s, errors.Join(errs...)
	}
	return v, nil
}
