package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/preflight"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// ErrAbsent says that there is no such deployment in the account.
var ErrAbsent = errors.New("there is no such deployment in this account and region")

// Result is what a run of Create or Update came to.
type Result struct {
	// Complete tells that everything was there before and Create changed
	// nothing; Update is the way to change it.
	Complete bool
	// Changes counts the resources that were changed.
	Changes int
	Outputs map[architecture.StackName]map[string]string
	Took    time.Duration
	// Kubernetes is the route to the Kubernetes API, closed by now; nil if it
	// was not looked for.
	Kubernetes *cluster.Route
}

// CreateOptions qualify Create and Update.
type CreateOptions struct {
	Target
	// AllowReplace lets an update replace or remove resources that hold data.
	AllowReplace bool
	// Drift is the drift that a plan has found just before, see [Plan.Drift]:
	// which stacks to put right. Update looks by itself if it is nil.
	Drift map[architecture.StackName]*stack.Drift
}

// Create makes the deployment, or goes on making it. A deployment that is
// complete is left as it is, whatever the configuration says by now. Create
// blocks until the work is done; it may be repeated after any error. With a
// [PendingError] there is a result too: the AWS side is complete.
func Create(ctx context.Context, o CreateOptions) (*Result, error) {
	res, err := converge(ctx, o, false)
	return res, interrupted(ctx, err)
}

// Update changes the deployment to what the configuration says: what is
// missing is made, what the configuration no longer has is deleted, and what
// somebody changed outside of CloudFormation is put back, unless drift is to be
// kept. It returns [ErrAbsent] if there is nothing to update.
func Update(ctx context.Context, o CreateOptions) (*Result, error) {
	res, err := converge(ctx, o, true)
	return res, interrupted(ctx, err)
}

// interrupted gives an error the cause that the context ended for, if it did.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// applying is a converge in progress.
type applying struct {
	*run
	opts   CreateOptions
	stacks map[architecture.StackName]templates.Stack
	states map[architecture.StackName]*stack.State
	zones  []preflight.Zone
	caller string
	// advice is what a look at the network has found besides.
	advice config.Faults
	sizes  map[string]int // nodes that node groups have now, by parameter
	costs  map[architecture.StackName]time.Duration
	// drift of the stacks that were looked at; driftUnknown is why some were
	// not.
	drift        map[architecture.StackName]*stack.Drift
	driftUnknown string

	mu      sync.Mutex
	outputs map[architecture.StackName]map[string]string
	changes int
}

func converge(ctx context.Context, o CreateOptions, update bool) (*Result, error) {
	all, names, err := built(o.Target)
	if err != nil {
		return nil, err
	}
	r := newRun(o.Target, names)
	start := r.AWS.Clock.Now()
	a := &applying{
		run: r, opts: o, stacks: map[architecture.StackName]templates.Stack{}, outputs: map[architecture.StackName]map[string]string{},
		costs: map[architecture.StackName]time.Duration{},
	}
	for _, s := range all {
		a.stacks[s.Name] = s
		a.costs[s.Name] = createTime(s.Body)
	}
	owned, err := ownedStacks(ctx, r.driver, o.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	a.states = owned
	exists := slices.ContainsFunc(slices.Collect(maps.Values(owned)), (*stack.State).Exists)
	if update && !exists {
		return nil, fmt.Errorf("update %s: %w", o.Architecture.Config.Name, ErrAbsent)
	}
	if !update && a.complete() {
		for n, st := range owned {
			a.outputs[n] = st.Outputs
		}
		return a.finish(ctx, start, true, nil)
	}
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	if a.drift = o.Drift; update && a.drift == nil && !o.KeepDrift {
		a.step("", "looking for drift: what was changed outside of CloudFormation")
		if err := a.lookForDrift(ctx); err != nil {
			return nil, err
		}
		if a.driftUnknown != "" {
			a.step("", "drift is left alone where it is not known: %s", a.driftUnknown)
		}
	}
	if err := a.refuseDowngrade(); err != nil {
		return nil, err
	}
	for _, f := range a.advice {
		a.step(architecture.Network, "%s: %s; advice: %s", f.Path, f.Reason, f.Fix)
	}
	if err := a.ensureServiceLinkedRole(ctx); err != nil {
		return nil, err
	}
	var order []architecture.StackName
	for _, s := range o.Architecture.Stacks {
		order = append(order, s.Name)
	}
	before := ""
	if st := owned[architecture.Certificate]; st.Exists() {
		before = st.Outputs["CertificateArn"]
	}
	err = inOrder(ctx, order, after(o.Architecture.Stacks), a.apply)
	if err == nil {
		err = a.removeSurplus(ctx)
	}
	if now := a.outputs[architecture.Certificate]["CertificateArn"]; err == nil && before != "" && now != "" && now != before {
		err = a.retireCertificate(ctx, before)
	}
	return a.finish(ctx, start, false, err)
}

// finish is what comes after all stacks, if they came without an error:
// protection, then the Kubernetes phase, which the AWS side never needs.
func (a *applying) finish(ctx context.Context, start time.Time, complete bool, err error) (*Result, error) {
	res := &Result{Complete: complete, Outputs: a.outputs}
	if err == nil {
		err = a.protect(ctx)
	}
	if err == nil {
		res.Kubernetes, err = a.kubernetes(ctx)
	}
	res.Changes, res.Took = a.changes, a.AWS.Clock.Now().Sub(start)
	return res, err
}

// ownedStacks are the deployment's stacks in the account, by their place in
// the catalogue.
func ownedStacks(ctx context.Context, d *stack.Driver, deployment string) (map[architecture.StackName]*stack.State, error) {
	all, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	owned := map[architecture.StackName]*stack.State{}
	for _, st := range all {
		name, ok := strings.CutPrefix(st.Name, deployment+"-")
		if ok && st.Tags[Tag] == deployment {
			owned[architecture.StackName(name)] = st
		}
	}
	return owned, nil
}

// state is a stack as it was last seen. Stacks are worked on side by side.
func (a *applying) state(name architecture.StackName) *stack.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.states[name]
}

// complete tells that every stack of the architecture is whole.
func (a *applying) complete() bool {
	for n := range a.stacks {
		if st := a.states[n]; st == nil || stack.ConditionOf(st.Status) != stack.Whole {
			return false
		}
	}
	return true
}

// look finds out what only the account can tell. It only reads.
func (a *applying) look(ctx context.Context) error {
	if err := a.lookAtNetwork(ctx); err != nil {
		return err
	}
	id, err := a.AWS.Identity(ctx)
	if err != nil {
		return err
	}
	a.caller = id.Principal
	return a.readSizes(ctx)
}

// spec is what a stack shall be, with the values of the stacks before it. The
// second result names the inputs that nobody can tell yet.
func (a *applying) spec(s templates.Stack) (stack.Spec, []architecture.StackName, error) {
	spec := stack.Spec{Name: s.StackName, Template: s.Body, Parameters: map[string]string{}, Tags: a.Architecture.Tags, RoleARN: a.Architecture.Config.ServiceRole}
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
	live := map[string]string{}
	if st := a.state(s.Name); st.Exists() {
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
		case p.Name == templates.PinnedParameter && a.state(s.Name).Exists():
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

// apply makes one stack what it shall be.
func (a *applying) apply(ctx context.Context, name architecture.StackName) error {
	s := a.stacks[name]
	spec, unknown, err := a.spec(s)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return fmt.Errorf("stack %s needs outputs that stack %s does not have", s.StackName, unknown[0])
	}
	spec.RevertDrift = a.reverts(name)
	action := CreateStack
	if st := a.state(name); st.Exists() && stack.ConditionOf(st.Status) == stack.Moving {
		action = AwaitStack
	} else if st.Exists() {
		action = UpdateStack
	}
	return a.timed(name, action, a.costs[name], func() (int, error) {
		if a.opts.AllowReplace && a.state(name).Exists() && HoldsState(s) {
			// The policy comes back with the protection, as the last step.
			if err := a.driver.Policy(ctx, s.StackName, openPolicy); err != nil {
				return 0, err
			}
		}
		out, err := a.bringUnguarded(ctx, name, spec)
		if err != nil {
			return 0, err
		}
		if name == architecture.Network && !a.Architecture.Config.Network.Exists() {
			if err := a.emptyDefaultGroup(ctx, out.State.Outputs["VpcId"]); err != nil {
				return len(out.Changes), err
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.outputs[name] = out.State.Outputs
		a.states[name] = out.State
		a.changes += len(out.Changes)
		return len(out.Changes), nil
	})
}

// bring applies a spec unless the stack is the same already, in several
// updates where EKS takes one kind of change at a time.
func (a *applying) bring(ctx context.Context, spec stack.Spec, st *stack.State, approve func([]stack.Change) error) (*stack.Outcome, error) {
	if st.Exists() && stack.ConditionOf(st.Status) == stack.Whole {
		current, err := a.driver.Template(ctx, spec.Name)
		if err != nil {
			return nil, err
		}
		if !spec.RevertDrift && bytes.Equal(current, spec.Template) && maps.Equal(st.Parameters, spec.Parameters) && maps.Equal(st.Tags, spec.Tags) {
			return &stack.Outcome{State: st}, nil
		}
		var total []stack.Change
		if spec.RevertDrift {
			current = live(current, a.drift[a.names[spec.Name]])
		}
		for _, part := range oneKindAtATime(current, spec, st.Parameters) {
			a.step(a.names[spec.Name], "updating the cluster's %s on its own: EKS takes one kind of change at a time", part.kind)
			out, err := a.driver.Apply(ctx, part.spec, approve)
			if err != nil {
				return nil, err
			}
			total = append(total, effective(out.Changes)...)
		}
		out, err := a.driver.Apply(ctx, spec, approve)
		if err == nil {
			out.Changes = append(total, effective(out.Changes)...)
		}
		return out, err
	}
	return a.driver.Apply(ctx, spec, approve)
}

// stateful are the types whose replacement or removal loses data or cuts off
// what depends on them.
var stateful = []string{
	"AWS::Backup::BackupVault", "AWS::EC2::VPC", "AWS::ECR::Repository", "AWS::EKS::Cluster", "AWS::KMS::Key",
	"AWS::RDS::DBInstance", "AWS::Route53::HostedZone", "AWS::S3::Bucket",
}

// RefusedError says that an update would replace or remove what holds data, or
// make it again, empty, where somebody deleted it.
type RefusedError struct{ Changes []stack.Change }

func (e *RefusedError) Error() string {
	var what []string
	for _, c := range e.Changes {
		act := string(c.Action)
		if c.Action == stack.Add {
			act = "re-create"
		}
		what = append(what, fmt.Sprintf("%s %s (%s)", act, c.LogicalID, c.Type))
	}
	return "the update would lose data: " + strings.Join(what, ", ")
}

// Loses tells that a change loses data, and is refused unless that is allowed.
func Loses(c stack.Change) bool {
	return (c.Action == stack.Replace || c.Action == stack.Remove || c.Action == stack.Add && c.Drift) && slices.Contains(stateful, c.Type)
}

func (a *applying) approve(changes []stack.Change) error {
	if a.opts.AllowReplace {
		return nil
	}
	var lost []stack.Change
	for _, c := range changes {
		if Loses(c) {
			lost = append(lost, c)
		}
	}
	if len(lost) > 0 {
		return &RefusedError{lost}
	}
	return nil
}

// removeSurplus deletes the stacks that the configuration no longer has, such
// as gpu, those that depend on others first.
func (a *applying) removeSurplus(ctx context.Context) error {
	var surplus []architecture.StackName
	for name, st := range a.states {
		if _, wanted := a.stacks[name]; !wanted && st.Exists() {
			surplus = append(surplus, name)
		}
	}
	slices.Sort(surplus)
	return inOrder(ctx, surplus, reversed(architecture.Catalogue()), func(ctx context.Context, name architecture.StackName) error {
		return a.timed(name, DeleteStack, 0, func() (int, error) {
			st := a.states[name]
			if st.Protected {
				if err := a.driver.Protect(ctx, st.Name, false); err != nil {
					return 0, err
				}
			}
			return 1, a.driver.Delete(ctx, st.Name, stack.DeleteOptions{RoleARN: a.Architecture.Config.ServiceRole})
		})
	})
}
