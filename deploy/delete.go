package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
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
	// Deadline is how long the deletion may take at most, and Stall how long
	// nothing may move; zero is [DefaultDeadline] and [DefaultStall].
	Deadline, Stall time.Duration
	// Lift, if not nil, is told what is protected against deletion before the
	// protection goes, and may refuse by an error. Nothing was touched by then. It
	// is told again what only comes to be protected later: while stacks in motion are
	// waited for, while the cluster is emptied, and while other protection is lifted;
	// what it refuses then the run explains in words of its own. It is called by one
	// goroutine at a time.
	Lift func(context.Context, []Protection) error
	// Releases is the program that uninstalls Helm's releases; "" is none at hand,
	// and then what they own in AWS goes without it.
	Releases string
}

// deleting is a Delete in progress.
type deleting struct {
	*run
	*watchdog
	opts  DeleteOptions
	owned map[architecture.StackName]*stack.State
	going []architecture.StackName
	// staying are the stacks that are kept, and failed is why the deletion of one
	// that goes ended.
	staying []architecture.StackName
	failed  map[architecture.StackName]error
	asking  sync.Mutex       // guards asked
	asked   []Protection     // to lift
	touched bool             // something is being removed, or was
	last    []inventory.Item // of the last inventory
	// lastless: the database is gone and left no last snapshot, whatever older ones there are.
	lastless bool
	kept     []Kept
	needs    needs              // nil until it was looked at
	had      map[[2]string]bool // types and ids that stacks held in this run
	gone     []past             // nil until it was looked at
}

// Delete removes the deployment's stacks, those that depend on others first,
// and with [DestroyData] everything they hold. What others made for it or put
// into its network goes too. Operations under way are awaited, then protection
// is lifted. It blocks until all is gone, until the deadline or until nothing
// moves any more, and may be repeated after any error.
//
// In the end it takes an inventory: what is left and was not to be kept makes
// the outcome [Blocked] and the error a [*BlockedError], and there is a result
// all the same. Deleting what does not exist returns [ErrAbsent], and a result
// that names what may be of it and stays because others share it; what was destroyed
// before, and left keys that go by themselves, is destroyed again and ends as then.
//
// What controllers in the cluster made goes first, by the Kubernetes objects that own
// it, as long as the target's machine reaches the API and controllers run; otherwise,
// and what that leaves, by its tags. Volumes of claims outlive them unless the data is
// destroyed.
//
// Which stacks go, and what goes with them, is what the account has, by their
// tag: of the target's configuration the name and the region decide that. The
// rest of the file decides where it looks for what no stack has: the names of
// buckets, and the zone in dns.zoneId from which a certificate's validation
// record is removed. It also says with which service role stacks are deleted.
func Delete(ctx context.Context, o DeleteOptions) (*Deleted, error) {
	o.Holder.Deletes = true
	res, err := hold(ctx, o.Target, func(ctx context.Context, t Target) (*Deleted, error) {
		o.Target = t
		return remove(ctx, o)
	})
	return res, interrupted(ctx, err)
}

func remove(ctx context.Context, o DeleteOptions) (*Deleted, error) {
	if _, ok := kept[o.Data]; !ok {
		return nil, fmt.Errorf("data must be kept, snapshotted or destroyed, not %q", o.Data)
	}
	d, err := newDeleting(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(d.owned) == 0 {
		left, err := inventory.Read(ctx, d.AWS, d.Architecture)
		if err != nil {
			return nil, err
		}
		going, namesakes, none, err := d.nothing(ctx, left)
		if err != nil {
			return nil, err
		}
		// What was destroyed is destroyed once more, and ends as it did then.
		if none && (going == 0 || o.Data != DestroyData) {
			return d.absent(ctx, going, namesakes)
		}
	}
	if err := d.replaced(ctx, d.seen()); err != nil {
		return nil, err
	}
	if err := d.askToLift(ctx); err != nil {
		return nil, err
	}
	failed := d.atRest(ctx)
	if failed == nil {
		// What was in motion may have come to be protected, or be somebody else's by now.
		if err := d.askToLift(ctx); err != nil {
			return nil, err
		}
		if err := d.replaced(ctx, d.seen()); err != nil {
			return nil, err
		}
		if failed = d.vacate(ctx); failed == nil {
			failed = d.removeAll(ctx)
		}
	}
	return d.conclude(ctx, failed)
}

// seen are the deployment's stacks, as they were last seen: those that stay too, whose
// database would not be kept if it is another one.
func (d *deleting) seen() map[architecture.StackName]*stack.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.owned)
}

// absent is the end of a deletion that found nothing to delete, though perhaps what
// it wrote to what the account shares. What bears a name of it is named. Of what was
// destroyed there is no data that could be kept.
func (d *deleting) absent(ctx context.Context, going int, namesakes []inventory.Item) (*Deleted, error) {
	if err := endUpgrade(ctx, d.Target); err != nil {
		return nil, err
	}
	if err := d.noteShared(ctx); err != nil {
		return nil, err
	}
	err := fmt.Errorf("delete %s: %w", d.Architecture.Config.Name, ErrAbsent)
	if going > 0 {
		err = fmt.Errorf("%w any more: it was deleted with its data, and AWS keeps %d of its keys until they expire", err, going)
	}
	for _, k := range d.kept {
		err = fmt.Errorf("%w; %s may hold what it wrote: %s", err, k.ID, k.Why)
	}
	for _, i := range namesakes {
		d.keepForeign(i)
		if i.Holder != "" {
			err = fmt.Errorf("%w; %s %s stays: %s", err, i.Type, i.ID, i.Why)
			continue
		}
		err = fmt.Errorf("%w; %s %s has a name like its own and not its tag, and stays; %s takes it away", err, i.Type, i.ID, removal(i))
	}
	return d.result(Clean, nil), err
}

func newDeleting(ctx context.Context, o DeleteOptions) (*deleting, error) {
	names := map[string]architecture.StackName{}
	for _, s := range architecture.Catalogue() {
		names[o.Architecture.StackName(s.Name)] = s.Name
	}
	d := &deleting{opts: o, had: map[[2]string]bool{}, failed: map[architecture.StackName]error{}, watchdog: newWatchdog(o.AWS.Clock, o.Deadline, o.Stall)}
	clients := *o.AWS
	clients.Clock = d.watchdog
	o.AWS = &clients
	d.run = newRun(o.Target, names)
	d.Emit = func(e Event) {
		if s, ok := e.(Step); !ok || !s.idle {
			d.progress()
		}
		if o.Emit != nil {
			o.Emit(e)
		}
	}
	owned, foreign, err := knownStacks(ctx, d.driver, o.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	for _, st := range foreign {
		d.step("", "stack %s is not of this deployment, though it has a name of its, and stays: %s", st.Name, st.ID)
	}
	d.owned = owned
	if err := d.reviewed(ctx); err != nil {
		return nil, err
	}
	for _, n := range slices.Sorted(maps.Keys(d.owned)) {
		if st := d.owned[n]; slices.Contains(kept[o.Data], n) && st.Exists() {
			if err := d.keepStack(ctx, st); err != nil {
				return nil, err
			}
			d.staying = append(d.staying, n)
			continue
		}
		d.going = append(d.going, n)
	}
	return d, nil
}

// reviewed finds the stacks that a create was about to make when it was
// stopped: they hold a change set and nothing else, and show no tags.
func (d *deleting) reviewed(ctx context.Context) error {
	all, err := d.driver.List(ctx)
	if err != nil {
		return err
	}
	for _, st := range all {
		name, ok := d.names[st.Name]
		if !ok || d.owned[name] != nil {
			continue
		}
		if ok, err = d.driver.Reviewed(ctx, st, Tag, d.Architecture.Name()); err != nil {
			return err
		}
		if ok {
			d.owned[name] = st
		}
	}
	return nil
}

// removeAll removes what is to go.
func (d *deleting) removeAll(ctx context.Context) error {
	if err := endUpgrade(ctx, d.Target); err != nil {
		return err
	}
	if err := d.lift(ctx); err != nil {
		return err
	}
	d.touched = true
	err := inOrder(ctx, d.going, reversed(architecture.Catalogue()), func(ctx context.Context, name architecture.StackName) error {
		err := d.delete(ctx, name)
		if err != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.failed[name] = err
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := d.deleteFormerCertificates(ctx); err != nil {
		return err
	}
	if err := d.noteValidation(ctx); err != nil {
		return err
	}
	return d.noteShared(ctx)
}

func (d *deleting) setOwned(name architecture.StackName, st *stack.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owned[name] = st
}

// delete removes one stack, and what it would leave behind before it.
func (d *deleting) delete(ctx context.Context, name architecture.StackName) error {
	d.mu.Lock()
	st := d.owned[name]
	d.mu.Unlock()
	if !st.Exists() {
		// It has a change set that nobody executed, and nothing else.
		return d.driver.Delete(ctx, st.ID, stack.DeleteOptions{})
	}
	body, err := d.driver.Template(ctx, st.ID)
	if err != nil {
		return err
	}
	retained, err := retains(body)
	if err != nil {
		return fmt.Errorf("delete stack %s: %w", st.Name, err)
	}
	return d.timed(name, DeleteStack, deleteTime(body), func() (int, error) {
		held, err := d.ofIts(ctx, st)
		if err != nil {
			return 0, err
		}
		d.held(held)
		// Logs come to their bucket as long as the others are there.
		slices.SortStableFunc(held, func(a, b stack.Resource) int { return boolCompare(isLogs(a), isLogs(b)) })
		if name == architecture.Keys && d.opts.Data == DestroyData {
			if err := d.sweepData(ctx); err != nil {
				return 0, err
			}
		}
		for _, res := range held {
			if res.PhysicalID == "" || !retained[res.LogicalID] && !slices.Contains(leaving, res.Type) {
				continue
			}
			if err := d.release(ctx, name, res); err != nil {
				return 0, fmt.Errorf("delete %s %s of stack %s: %w", res.Type, res.PhysicalID, st.Name, err)
			}
		}
		remove := func() error {
			return d.driver.Delete(ctx, st.ID, stack.DeleteOptions{RoleARN: d.Architecture.Config.ServiceRole})
		}
		if name == architecture.Network {
			err = d.deleteNetwork(ctx, name, held, remove)
		} else {
			err = remove()
		}
		if err != nil {
			return 0, err
		}
		if name == architecture.Cluster {
			// Nothing makes load balancers for it any more.
			if _, err := d.sweep(ctx); err != nil {
				return 0, err
			}
		}
		for _, res := range held {
			if res.Type == "AWS::KMS::Key" && !retained[res.LogicalID] {
				if err := d.noteKey(ctx, res.PhysicalID, res.LogicalID); err != nil {
					return 0, err
				}
			}
		}
		return len(held), nil
	})
}

// boolCompare puts false before true.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// leaving are types whose deletion leaves something behind that must go first.
var leaving = []string{"AWS::CertificateManager::Certificate", "AWS::Route53::HostedZone"}

// retains tells which resources of a template CloudFormation leaves behind
// when the stack is deleted.
func retains(body []byte) (map[string]bool, error) {
	var doc struct {
		Resources map[string]struct{ DeletionPolicy string }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("what a deletion of the stack leaves behind can't be told from its template, which is not as poolhouse writes it (%w): poolhouse update FILE writes it again; otherwise delete by hand what it retains, and the stack", err)
	}
	m := map[string]bool{}
	for id, r := range doc.Resources {
		m[id] = strings.HasPrefix(r.DeletionPolicy, "Retain")
	}
	return m, nil
}
