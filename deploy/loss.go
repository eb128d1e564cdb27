package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// lookForLoss looks whether stacks that an earlier run made still have what a
// deletion removes before the stack: a deletion that was begun, or somebody by
// hand, leaves stacks that are whole by their status without their buckets or
// database. A stack that lacks something is updated, if that is allowed, in the
// mode that reverts drift, which makes what is gone again and puts back whatever
// else of this stack was changed. Drift of the others is left to updates.
//
// Given is what a plan has found just before, and spares the look for drift; nil
// is none.
func (a *applying) lookForLoss(ctx context.Context, given map[architecture.StackName]*stack.Drift) error {
	if given != nil {
		a.drift = maps.Clone(given)
		a.addLost()
	} else if err := a.lookForDrift(ctx, removedFirst); err != nil {
		return err
	}
	for n, d := range a.drift {
		gone := slices.DeleteFunc(slices.Clone(d.Resources), func(r stack.Drifted) bool { return !r.Deleted })
		if len(gone) == 0 {
			delete(a.drift, n)
			continue
		}
		a.drift[n] = &stack.Drift{Checked: d.Checked, Resources: gone, Incomplete: d.Incomplete}
	}
	return nil
}

// tellLoss says what is gone, and what is not known of it.
func (a *applying) tellLoss() {
	if a.driftUnknown != "" {
		a.step("", "whether all is still there is not known: %s", a.driftUnknown)
	}
	for _, n := range slices.Sorted(maps.Keys(a.drift)) {
		a.step(n, "%d resources were deleted outside of CloudFormation", len(a.drift[n].Resources))
	}
}

// removedFirst tells that a deletion removes some of a stack's resources before
// the stack.
func removedFirst(s templates.Stack) bool {
	retained, err := retains(s.Body)
	if err != nil || slices.Contains(slices.Collect(maps.Values(retained)), true) { // who can't tell looks
		return true
	}
	return s.Name == architecture.DNS || s.Name == architecture.Certificate
}

// lookAtData asks the services themselves whether the keys, buckets and the
// database of stacks at rest are there, and notes what is gone or only waits for
// its end: CloudFormation counts a database that is being deleted as there. It
// returns when that one is gone. What the caller may not look at counts as there,
// and so does everything with keep.
func (a *applying) lookAtData(ctx context.Context, keep bool) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	a.lost = map[architecture.StackName][]stack.Resource{}
	for n, s := range a.stacks {
		st := a.states[n]
		if !st.CanDrift() || !slices.ContainsFunc(s.Template.Resources(), func(r cfn.ResourceType) bool { return looks[string(r.Type)] != nil }) {
			continue
		}
		wg.Go(func() {
			gone, err := a.lostOf(ctx, st)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			if len(gone) > 0 && !keep {
				a.lost[n] = gone
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lostOf is what a stack held that holds data and is gone, side by side looked
// at; see [applying.lookAtData].
func (r *run) lostOf(ctx context.Context, st *stack.State) ([]stack.Resource, error) {
	held, err := r.driver.Resources(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	var lost []stack.Resource
	for _, res := range held {
		look := looks[res.Type]
		if look == nil || res.PhysicalID == "" {
			continue
		}
		wg.Go(func() {
			gone, err := look(r, ctx, res.PhysicalID)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && gone, awsapi.IsNotFound(err):
				lost = append(lost, res)
			case err != nil:
				if err = r.blind(err, res.PhysicalID); err != nil {
					errs = append(errs, err)
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(lost, func(x, y stack.Resource) int { return strings.Compare(x.LogicalID, y.LogicalID) })
	return lost, errors.Join(errs...)
}

// looks tell of types that hold data whether one is gone.
var looks = map[string]func(r *run, ctx context.Context, id string) (bool, error){
	"AWS::KMS::Key":        (*run).keyGoes,
	"AWS::RDS::DBInstance": (*run).databaseGoes,
	"AWS::S3::Bucket":      (*run).bucketGone,
}

// bucketGone tells that there is no such bucket. One that the caller may not look
// at is somebody else's, or there.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
func (r *run) bucketGone(ctx context.Context, name string) (bool, error) {
	_, err := r.AWS.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	if awsapi.Code(err) == "Forbidden" {
		// The answer has no body that would say AccessDenied.
		r.hidden(architecture.Storage, "bucket "+name, err)
		return false, nil
	}
	return false, err
}

// keyGoes tells that a key waits for its deletion, and decrypts nothing meanwhile.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func (r *run) keyGoes(ctx context.Context, id string) (bool, error) {
	out, err := r.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return false, err
	}
	return out.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion, nil
}

// databaseGoes tells that there is no such instance, or none any more: one that is
// being deleted is waited for, since its name and its last snapshot are free only
// then.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
func (r *run) databaseGoes(ctx context.Context, id string) (gone bool, err error) {
	told := false
	w := poll.Wait{For: "the deletion of database " + id, Next: "repeat the command when it is gone"}
	err = r.until(ctx, architecture.Database, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		out, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		if err != nil {
			return true, "", err
		}
		if len(out.DBInstances) == 0 {
			gone = true
			return true, "", nil
		}
		status := aws.ToString(out.DBInstances[0].DBInstanceStatus)
		if status == "deleting" && !told {
			told = true
			r.step(architecture.Database, "database %s is being deleted, by a deletion that was begun or by somebody: waiting until it is gone", id)
		}
		return status != "deleting", status, nil
	})
	return gone, err
}

// addLost adds to the drift what is gone from stacks that hold data.
func (a *applying) addLost() {
	for n, held := range a.lost {
		d := stack.Drift{Checked: a.AWS.Clock.Now()}
		if was := a.drift[n]; was != nil {
			d = *was
		}
		d.Resources = slices.DeleteFunc(slices.Clone(d.Resources), func(r stack.Drifted) bool {
			return slices.ContainsFunc(held, func(res stack.Resource) bool { return res.LogicalID == r.LogicalID })
		})
		for _, res := range held {
			d.Resources = append(d.Resources, stack.Drifted{LogicalID: res.LogicalID, PhysicalID: res.PhysicalID, Type: res.Type, Deleted: true})
		}
		slices.SortFunc(d.Resources, func(x, y stack.Drifted) int { return strings.Compare(x.LogicalID, y.LogicalID) })
		a.drift[n] = &d
	}
}

// lostRefusals refuse to make again, empty, what held data and was deleted.
func (a *applying) lostRefusals() []guard.Refusal {
	var all []guard.Refusal
	for n, d := range a.drift {
		if d.Empty() {
			continue
		}
		var changes []stack.Change
		for _, r := range d.Resources {
			if r.Deleted {
				changes = append(changes, stack.Change{LogicalID: r.LogicalID, PhysicalID: r.PhysicalID, Type: r.Type, Action: stack.Add, Drift: true})
			}
		}
		lost := guard.Lost(a.Architecture.StackName(n), changes)
		for i := range lost {
			if a.creating {
				// A creation does not leave anything out; a deletion that was begun is
				// the usual reason.
				lost[i].Fix = "see poolhouse drift; to go on with a deletion that was begun: poolhouse delete FILE"
			}
		}
		all = append(all, lost...)
	}
	slices.SortFunc(all, func(x, y guard.Refusal) int { return strings.Compare(x.Stack+x.Resource, y.Stack+y.Resource) })
	return all
}
