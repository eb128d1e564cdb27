package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Data is what becomes of the data when a deployment is deleted.
type Data string

// The choices.
const (
	// KeepData leaves keys, storage, database and network standing; the next
	// Create goes on from there.
	KeepData Data = "keep"
	// SnapshotData leaves keys and storage, and a snapshot of the database.
	SnapshotData Data = "snapshot"
	// DestroyData leaves nothing but what AWS itself keeps for a while.
	DestroyData Data = "destroy"
)

// kept are the stacks that each choice leaves standing.
var kept = map[Data][]architecture.StackName{
	KeepData:     {architecture.Keys, architecture.Storage, architecture.Database, architecture.Network},
	SnapshotData: {architecture.Keys, architecture.Storage},
	DestroyData:  nil,
}

// DeleteOptions qualify Delete.
type DeleteOptions struct {
	Target
	Data Data
}

// Kept is something that a deletion leaves in the account.
type Kept struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// Why it stays, and how it goes.
	Why string `json:"why"`
	// Until is when AWS removes it by itself; zero is never.
	Until time.Time `json:"until,omitzero"`
}

// Deleted is what a deletion came to.
type Deleted struct {
	Kept []Kept
	Took time.Duration
}

// deleting is a Delete in progress.
type deleting struct {
	*run
	opts  DeleteOptions
	owned map[architecture.StackName]*stack.State
	kept  []Kept
}

// Delete removes the deployment's stacks, those that depend on others first,
// and with [DestroyData] everything they hold. Protection is lifted first. It
// blocks until all is gone and may be repeated after any error. Deleting what
// does not exist returns [ErrAbsent].
//
// Only the name of the target's configuration counts, not what else the file
// says by now: what is deleted is what the account has.
func Delete(ctx context.Context, o DeleteOptions) (*Deleted, error) {
	res, err := remove(ctx, o)
	return res, interrupted(ctx, err)
}

func remove(ctx context.Context, o DeleteOptions) (*Deleted, error) {
	if _, ok := kept[o.Data]; !ok {
		return nil, fmt.Errorf("data must be kept, snapshotted or destroyed, not %q", o.Data)
	}
	names := map[string]architecture.StackName{}
	for _, s := range architecture.Catalogue() {
		names[o.Architecture.StackName(s.Name)] = s.Name
	}
	r := newRun(o.Target, names)
	start := r.AWS.Clock.Now()
	owned, err := ownedStacks(ctx, r.driver, o.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	if len(owned) == 0 {
		return nil, fmt.Errorf("delete %s: %w", o.Architecture.Config.Name, ErrAbsent)
	}
	d := &deleting{run: r, opts: o, owned: owned}
	var going []architecture.StackName
	for _, n := range slices.Sorted(maps.Keys(owned)) {
		if slices.Contains(kept[o.Data], n) {
			d.keep("AWS::CloudFormation::Stack", owned[n].Name, "kept with what it holds, because the data is to be kept; the next create goes on from it", time.Time{})
			continue
		}
		going = append(going, n)
	}
	if err := d.lift(ctx, going); err != nil {
		return nil, err
	}
	if o.Data == DestroyData {
		if err := d.deleteFormerVaults(ctx); err != nil {
			return nil, err
		}
	}
	err = inOrder(ctx, going, reversed(architecture.Catalogue()), d.delete)
	if err == nil {
		err = d.deleteFormerCertificates(ctx)
	}
	if err == nil && o.Data == DestroyData {
		err = d.leftovers(ctx)
	}
	return &Deleted{Kept: d.kept, Took: r.AWS.Clock.Now().Sub(start)}, err
}

func (d *deleting) keep(typ, id, why string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = append(d.kept, Kept{typ, id, why, until})
}

// lift switches all protection off, of the stacks that go.
func (d *deleting) lift(ctx context.Context, going []architecture.StackName) error {
	none := func(architecture.StackName) []architecture.StackName { return nil }
	return inOrder(ctx, going, none, func(ctx context.Context, name architecture.StackName) error {
		st, err := d.driver.Rest(ctx, d.Architecture.StackName(name))
		if err != nil || st == nil {
			return err
		}
		d.setOwned(name, st)
		if st.Protected {
			if err := d.driver.Protect(ctx, st.Name, false); err != nil {
				return err
			}
		}
		if st.Parameters[templates.ProtectionParameter] == "true" && stack.ConditionOf(st.Status) == stack.Whole {
			return d.setProtection(ctx, name, st, "false")
		}
		return nil
	})
}

func (d *deleting) setOwned(name architecture.StackName, st *stack.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owned[name] = st
}

// delete removes one stack, and what it would leave behind before it.
func (d *deleting) delete(ctx context.Context, name architecture.StackName) error {
	st := d.owned[name]
	body, err := d.driver.Template(ctx, st.ID)
	if err != nil {
		return err
	}
	return d.timed(name, DeleteStack, deleteTime(body), func() (int, error) {
		held, err := d.driver.Resources(ctx, st.ID)
		if err != nil {
			return 0, err
		}
		retained := retains(body)
		for _, res := range held {
			if res.PhysicalID == "" || !retained[res.LogicalID] && !slices.Contains(leaving, res.Type) {
				continue
			}
			if err := d.release(ctx, name, res); err != nil {
				return 0, fmt.Errorf("delete %s %s of stack %s: %w", res.Type, res.PhysicalID, st.Name, err)
			}
		}
		if err := d.driver.Delete(ctx, st.Name, stack.DeleteOptions{RoleARN: d.Architecture.Config.ServiceRole}); err != nil {
			return 0, err
		}
		for _, res := range held {
			if res.Type == "AWS::KMS::Key" && !retained[res.LogicalID] {
				if err := d.noteKey(ctx, res); err != nil {
					return 0, err
				}
			}
		}
		return len(held), nil
	})
}

// leaving are types whose deletion leaves something behind that must go first.
var leaving = []string{"AWS::CertificateManager::Certificate", "AWS::Route53::HostedZone"}

// retains tells which resources of a template CloudFormation leaves behind
// when the stack is deleted.
func retains(body []byte) map[string]bool {
	var doc struct {
		Resources map[string]struct{ DeletionPolicy string }
	}
	if json.Unmarshal(body, &doc) != nil {
		return nil
	}
	m := map[string]bool{}
	for id, r := range doc.Resources {
		m[id] = strings.HasPrefix(r.DeletionPolicy, "Retain")
	}
	return m
}
