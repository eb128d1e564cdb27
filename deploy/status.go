package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/egress"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/stack"
)

// Phase is what a deployment is as a whole.
type Phase string

// The phases.
const (
	Missing    Phase = "absent"
	InMotion   Phase = "in progress"
	Incomplete Phase = "incomplete"
	Failed     Phase = "failed"
	Complete   Phase = "complete"
	// GPUPending: usable, but the GPU nodes are still missing.
	GPUPending Phase = "usable, GPU pending"
)

// Status is a deployment as the account has it.
type Status struct {
	Deployment string        `json:"deployment"`
	Region     string        `json:"region"`
	Phase      Phase         `json:"phase"`
	Stacks     []StackStatus `json:"stacks"`
	// NotOurs are stacks that have the deployment's tag and are none of its own:
	// no command touches them.
	NotOurs []string `json:"notOurs,omitempty"`
	// Going is what is being deleted at the moment, whoever began it; GoingUnknown
	// is why that can't be told.
	Going        []string `json:"going,omitempty"`
	GoingUnknown string   `json:"goingUnknown,omitempty"`
	// Lease is held by who works on it, or has ended, and what its run sent to delete
	// may still arrive; nil if neither. LeaseFree is from when on every run may have
	// it, unless it is renewed.
	Lease     *lease.Held `json:"lease,omitempty"`
	LeaseFree time.Time   `json:"leaseFree,omitzero"`
	// LeaseUnknown is why that can't be told.
	LeaseUnknown string `json:"leaseUnknown,omitempty"`
	// Upgrade of Kubernetes that is not over; nil if there is none. UpgradeUnknown is
	// why that can't be told.
	Upgrade        *Upgrading `json:"upgrade,omitempty"`
	UpgradeUnknown string     `json:"upgradeUnknown,omitempty"`
	// Kubernetes is how its API is reached; nil without a cluster.
	Kubernetes *KubernetesStatus `json:"kubernetes,omitempty"`
	// KubernetesUnknown is why that can't be told.
	KubernetesUnknown string `json:"kubernetesUnknown,omitempty"`
	// Exits are the ways out of the private subnets by NAT of the deployment's
	// own, each with what it was proved by; ExitsUnknown is why that
	// can't be told.
	Exits        []egress.Exit `json:"exits,omitempty"`
	ExitsUnknown string        `json:"exitsUnknown,omitempty"`
	// Validation are the DNS records that a certificate has waited for longer than
	// it should; ValidationUnknown is why that can't be told.
	Validation        []Record `json:"validation,omitempty"`
	ValidationUnknown string   `json:"validationUnknown,omitempty"`
	// Unprotected is the protection that the file asks for and a complete
	// deployment lacks: create switches it on. Besides is what is switched on that
	// the file doesn't ask for; a deletion asks before it lifts that.
	Unprotected []Protection `json:"unprotected,omitempty"`
	Besides     []Protection `json:"protectedBesides,omitempty"`
	// Resources counts what the stacks hold, and Outside is what belongs to the
	// deployment and no stack holds; Unknown is what could not be looked at. Look
	// leaves them empty, see [Status.Add].
	Resources int                 `json:"resources,omitempty"`
	Outside   []inventory.Item    `json:"outside,omitempty"`
	Unknown   []inventory.Unknown `json:"unknown,omitempty"`
	// Deleted are stacks of the file's that were whole and are deleted, while others
	// stand that a deletion takes away after them: one was begun, or somebody took them
	// away. What an update took away, as the file went without it for a while, is not
	// among them.
	// DeletedUnknown is why that can't be told.
	Deleted        []architecture.StackName `json:"deleted,omitempty"`
	DeletedUnknown string                   `json:"deletedUnknown,omitempty"`
	// Next is the command that leads on; empty if none has to, or if the reader has to
	// choose: with Deleted.
	Next string `json:"next,omitempty"`
}

// StackStatus is one stack of it.
type StackStatus struct {
	Stack     architecture.StackName `json:"stack"`
	Name      string                 `json:"name"`
	Status    string                 `json:"status"`
	Reason    string                 `json:"reason,omitempty"`
	Updated   time.Time              `json:"updated,omitzero"`
	Protected bool                   `json:"protected"`
	// Surplus: the account has it, the configuration does not.
	Surplus bool `json:"surplus,omitempty"`
	// Root is why the stack failed, if it did.
	Root *diagnosis.Root `json:"rootCause,omitempty"`
}

// Look reports what a deployment is. It only reads; if the target has a machine,
// it also looks for the route to the Kubernetes API, and may start a session for
// that, which it ends.
func Look(ctx context.Context, t Target) (*Status, error) {
	r := newRun(t, nil)
	owned, foreign, err := knownStacks(ctx, r.driver, t.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	s := &Status{Deployment: t.Architecture.Config.Name, Region: t.AWS.Region, NotOurs: strays(foreign, t.Architecture.Config.Name)}
	s.Lease, err = lease.Look(ctx, t.AWS.SSM, t.Architecture.LeasePath())
	if s.LeaseUnknown, err = beside(ctx, err); err != nil {
		return nil, err
	}
	if s.Lease != nil {
		s.LeaseFree = s.Lease.Free(lease.Holder{})
	}
	wanted := map[architecture.StackName]bool{}
	for _, st := range t.Architecture.Stacks {
		wanted[st.Name] = true
	}
	for _, entry := range architecture.Catalogue() {
		st := owned[entry.Name]
		if st == nil && !wanted[entry.Name] {
			continue
		}
		line := StackStatus{Stack: entry.Name, Name: t.Architecture.StackName(entry.Name), Status: "absent", Surplus: !wanted[entry.Name]}
		if st != nil {
			line.Status, line.Reason, line.Updated, line.Protected = string(st.Status), st.Reason, st.Updated, st.Protected
		}
		if st.Failed() {
			root, err := r.driver.Why(ctx, st)
			if err != nil {
				return nil, err
			}
			line.Root = &root
		}
		s.Stacks = append(s.Stacks, line)
	}
	s.Phase = phase(owned, wanted)
	s.Going, err = r.going(ctx, owned)
	if s.GoingUnknown, err = beside(ctx, err); err != nil {
		return nil, err
	}
	if len(s.Going) > 0 {
		s.Phase = InMotion
	}
	if upgradable(owned[architecture.Cluster]) {
		s.Upgrade, err = lookAtUpgrade(ctx, t)
		if s.UpgradeUnknown, err = beside(ctx, err); err != nil {
			return nil, err
		}
	}
	s.Kubernetes, err = lookAtKubernetes(ctx, t, owned)
	if s.KubernetesUnknown, err = beside(ctx, err); err != nil {
		return nil, err
	}
	s.Exits, err = lookAtExits(ctx, t, owned[architecture.Network])
	if s.ExitsUnknown, err = beside(ctx, err); err != nil {
		return nil, err
	}
	if st := owned[architecture.Certificate]; st.Exists() && stack.ConditionOf(st.Status) == stack.Moving {
		s.Validation, err = r.unvalidated(ctx)
		if s.ValidationUnknown, err = beside(ctx, err); err != nil {
			return nil, err
		}
	}
	s.protection(t.Architecture.Config.Database.DeletionProtection, owned)
	if err := r.onward(ctx, s, owned, wanted); err != nil {
		return nil, err
	}
	// All else that would make or change something is refused meanwhile.
	if s.Upgrade != nil && (s.Phase == Complete || s.Next == "create" || len(s.Deleted) > 0) {
		s.Next = "upgrade kubernetes -f"
	}
	return s, nil
}

// protection compares that of the stacks with what the file asks for. It comes
// last, so a deployment that is not complete yet lacks none.
func (s *Status) protection(wanted bool, owned map[architecture.StackName]*stack.State) {
	for _, line := range s.Stacks {
		st := owned[line.Stack]
		switch {
		case !st.Exists():
		case !wanted:
			s.Besides = append(s.Besides, ofStack(line.Stack, st)...)
		case stack.ConditionOf(st.Status) != stack.Whole:
		case s.Phase == Complete || s.Phase == GPUPending:
			s.Unprotected = append(s.Unprotected, bare(line.Stack, st)...)
		}
	}
}

// beside is what becomes of a failed look at something beside the stacks: it is
// unknown, and why is said. Only a run that can't go on at all ends by it.
func beside(ctx context.Context, err error) (unknown string, _ error) {
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil, awsapi.IsCredentials(err):
		return "", err
	case awsapi.IsDenied(err):
		return awsapi.Message(err), nil
	}
	return err.Error(), nil
}

// Add adds what an inventory has found.
func (s *Status) Add(v *inventory.Inventory) {
	s.Outside, s.Unknown, s.Resources = v.Outside(), v.Unknown, 0
	for _, i := range v.Items {
		if i.Stack != "" && i.Type != "AWS::CloudFormation::Stack" {
			s.Resources++
		}
	}
	if s.Phase == Missing && slices.ContainsFunc(s.Outside, func(i inventory.Item) bool { return goes(v, i) }) {
		s.Next = "delete"
	}
}

// goes tells that a deletion may take away what no stack has: not what goes by
// itself, is somebody else's, or is a snapshot, which only its owner deletes, nor
// the key that such a thing needs.
func goes(v *inventory.Inventory, i inventory.Item) bool {
	switch {
	case !i.Until.IsZero(), i.Type == "AWS::RDS::DBSnapshot", !i.Own() && slices.Contains(nameable, i.Type):
		return false
	case !isKey(i):
		return true
	}
	needs, err := needed(v)
	return err != nil || len(needs[i.ID]) == 0
}

func phase(owned map[architecture.StackName]*stack.State, wanted map[architecture.StackName]bool) Phase {
	var there, whole, failed, gpu int
	for n, st := range owned {
		if !wanted[n] && broken(st) {
			failed++
		}
	}
	for n := range wanted {
		st := owned[n]
		switch {
		case !st.Exists():
			if n == architecture.GPU {
				gpu++
			}
			continue
		case stack.ConditionOf(st.Status) == stack.Moving:
			return InMotion
		case stack.ConditionOf(st.Status) == stack.Whole:
			whole++
		case n == architecture.GPU:
			gpu++
		default:
			failed++
		}
		there++
	}
	switch {
	case there == 0:
		return Missing
	case failed > 0:
		return Failed
	case whole == len(wanted):
		return Complete
	case gpu > 0 && whole == len(wanted)-gpu:
		return GPUPending
	}
	return Incomplete
}

// Moving are the stacks of a deployment that CloudFormation is at work on, in the
// order of the catalogue, and what else is being deleted, in words: a cluster or a
// database that goes before its stack. With an error they are what could be seen.
func Moving(ctx context.Context, t Target) (moving []architecture.StackName, going []string, err error) {
	r := newRun(t, nil)
	owned, err := ownedStacks(ctx, r.driver, t.Architecture.Config.Name)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range architecture.Catalogue() {
		if st := owned[s.Name]; st.Exists() && stack.ConditionOf(st.Status) == stack.Moving {
			moving = append(moving, s.Name)
		}
	}
	going, err = r.going(ctx, owned)
	return moving, slices.DeleteFunc(going, func(g string) bool {
		return strings.HasPrefix(g, "stack ") ||
			strings.HasPrefix(g, "cluster ") && slices.Contains(moving, architecture.Cluster) ||
			strings.HasPrefix(g, "database ") && slices.Contains(moving, architecture.Database)
	}), err
}

// Outputs returns the outputs of a deployment's stacks, or [ErrAbsent].
func Outputs(ctx context.Context, t Target) (map[architecture.StackName]map[string]string, error) {
	owned, err := ownedStacks(ctx, newRun(t, nil).driver, t.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	out := map[architecture.StackName]map[string]string{}
	for n, st := range owned {
		if st.Exists() {
			out[n] = st.Outputs
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("outputs of %s: %w", t.Architecture.Config.Name, ErrAbsent)
	}
	return out, nil
}

// Listed is one deployment of an account and region.
type Listed struct {
	Deployment string    `json:"deployment"`
	Stacks     int       `json:"stacks"`
	InMotion   int       `json:"inProgress"`
	Failed     int       `json:"failed"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
}

// List finds all deployments of the account and region, by name.
func List(ctx context.Context, c *awsapi.Clients) ([]Listed, error) {
	d := &stack.Driver{CFN: c.CloudFormation, Clock: c.Clock}
	all, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*Listed{}
	for _, st := range all {
		if !st.Exists() || st.Tags[Tag] == "" {
			continue
		}
		l := byName[st.Tags[Tag]]
		if l == nil {
			l = &Listed{Deployment: st.Tags[Tag], Created: st.Created}
			byName[l.Deployment] = l
		}
		l.Stacks++
		switch stack.ConditionOf(st.Status) {
		case stack.Moving:
			l.InMotion++
		case stack.Whole:
		default:
			l.Failed++
		}
		if st.Created.Before(l.Created) {
			l.Created = st.Created
		}
		if st.Updated.After(l.Updated) {
			l.Updated = st.Updated
		}
	}
	var list []Listed
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, *byName[n])
	}
	return list, nil
}
