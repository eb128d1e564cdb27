package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Origin is where a database that is yet to be made has its data from.
type Origin struct {
	// Snapshot it is restored from; "" if it begins empty.
	Snapshot string `json:"snapshot,omitempty"`
	// Taken is when the snapshot was made.
	Taken time.Time `json:"taken,omitzero"`
	// Finals are the snapshots that deletions of this deployment left, newest
	// first.
	Finals []string `json:"finals,omitempty"`
}

// Adopted is a stack that stands while others are yet to be made: what a
// deletion kept, or an unfinished creation made. It is gone on from.
type Adopted struct {
	Stack architecture.StackName `json:"stack"`
	Name  string                 `json:"name"`
	// Created is when it was made.
	Created time.Time `json:"created"`
	// HoldsData tells that it has what holds data.
	HoldsData bool `json:"holdsData"`
}

// finalSnapshot begins the names of snapshots that deletions leave.
func finalSnapshot(database string) string { return database + "-final-" }

// adopted are the stacks that a creation goes on from, in order; none if there
// is nothing left to make.
func (a *applying) adopted() []Adopted {
	var found []Adopted
	missing := false
	for _, s := range a.Architecture.Stacks {
		st := a.states[s.Name]
		if !st.Exists() || !stack.Lasts(st.Status) {
			missing = true
			continue
		}
		found = append(found, Adopted{s.Name, st.Name, st.Created, HoldsState(a.stacks[s.Name]) && len(a.lost[s.Name]) == 0})
	}
	if !missing {
		return nil
	}
	return found
}

// originRefusals refuse a database that would silently not have the data that
// it is expected to have: one that begins empty although a snapshot of it was
// kept, one from a snapshot that can't be restored, one that stands and was not
// made from the file's snapshot, and one that is gone and would come back older
// than its last snapshot. The origin is nil if the database stands.
func (a *applying) originRefusals(ctx context.Context) (*Origin, []guard.Refusal, error) {
	c := a.Architecture.Config
	const path = "database.snapshot"
	refuse := func(path, reason, fix string, flag guard.Flag) []guard.Refusal {
		return []guard.Refusal{{Fault: c.Fault(path, reason, fix), Stack: a.Architecture.StackName(architecture.Database), Flag: flag}}
	}
	if st := a.state(architecture.Database); st.Exists() && stack.Lasts(st.Status) {
		made, asked := st.Parameters[templates.SnapshotParameter], c.Database.Snapshot
		if len(a.lost[architecture.Database]) > 0 {
			return a.lostOrigin(ctx, st, made)
		}
		switch {
		case asked == "" || sameSnapshot(made, asked):
			return nil, nil, nil
		case made == "":
			return nil, refuse(path, fmt.Sprintf("is %s, and the database stands and was made empty: a snapshot can't be brought into it", asked),
				"remove it; to go back to the snapshot, delete with --data snapshot and create again", ""), nil
		}
		return nil, refuse(path, fmt.Sprintf("is %s, and the database stands and was made from %s, which can't change", asked, made),
			fmt.Sprintf("write %s; to go back to another snapshot, delete with --data snapshot and create again", made), ""), nil
	}
	finals, err := a.finalSnapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	o := &Origin{Snapshot: c.Database.Snapshot}
	for _, s := range finals {
		o.Finals = append(o.Finals, aws.ToString(s.DBSnapshotIdentifier))
	}
	if o.Snapshot == "" {
		if len(finals) == 0 {
			return o, nil, nil
		}
		newest := finals[0]
		list := strings.Join(o.Finals, ", ")
		return o, refuse(path, fmt.Sprintf("is not set, and the database would begin empty although a deletion kept its data (%s)", list),
			fmt.Sprintf("write %s, of %s, to restore it", aws.ToString(newest.DBSnapshotIdentifier), day(newest)), guard.Empty), nil
	}
	found, err := a.AWS.RDS.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &o.Snapshot})
	if err != nil && !awsapi.IsNotFound(err) {
		return nil, nil, fmt.Errorf("look at snapshot %s: %w", o.Snapshot, err)
	}
	if err != nil || len(found.DBSnapshots) == 0 {
		fix := "remove it to begin empty"
		if len(o.Finals) > 0 {
			fix = "write one of those that deletions of this deployment left: " + strings.Join(o.Finals, ", ")
		}
		return o, refuse(path, fmt.Sprintf("is %s, and there is no such snapshot in %s", o.Snapshot, a.AWS.Region), fix, ""), nil
	}
	s := found.DBSnapshots[0]
	o.Taken = aws.ToTime(s.SnapshotCreateTime)
	var all []guard.Refusal
	if len(finals) > 0 && aws.ToTime(finals[0].SnapshotCreateTime).After(o.Taken) {
		all = refuse(path, fmt.Sprintf("is %s, of %s, and a deletion left %s, which is newer, of %s", o.Snapshot, day(s), o.Finals[0], day(finals[0])),
			fmt.Sprintf("write %s to restore what was there last", o.Finals[0]), guard.Replace)
	}
	for _, f := range unrestorable(c, s) {
		all = append(all, guard.Refusal{Fault: f, Stack: a.Architecture.StackName(architecture.Database)})
	}
	if key := aws.ToString(s.KmsKeyId); key != "" {
		f, err := a.unusableKey(ctx, o.Snapshot, key)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range f {
			all = append(all, guard.Refusal{Fault: f, Stack: a.Architecture.StackName(architecture.Database)})
		}
	}
	return o, all, nil
}

// judgeOrigin refuses a database that would not have the data that it is expected
// to have, once it is known that its stack, which was in motion, is made again
// from the start.
func (a *applying) judgeOrigin(ctx context.Context) error {
	_, refused, err := a.originRefusals(ctx)
	if err != nil {
		return err
	}
	return a.refusal(refused, false)
}

// lostOrigin is the origin of a database that is gone while its stack stands, and
// the refusals for it: the stack makes it again from what it was made from, which
// its last snapshot is newer than.
func (a *applying) lostOrigin(ctx context.Context, st *stack.State, made string) (*Origin, []guard.Refusal, error) {
	finals, err := a.finalSnapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, o := a.Architecture.Config, &Origin{Snapshot: made}
	var last *types.DBSnapshot
	for _, s := range finals {
		o.Finals = append(o.Finals, aws.ToString(s.DBSnapshotIdentifier))
		if sameSnapshot(o.Finals[len(o.Finals)-1], made) {
			o.Taken = aws.ToTime(s.SnapshotCreateTime)
		}
		// Others are of instances that had the name before.
		if last == nil && !aws.ToTime(s.InstanceCreateTime).Before(st.Created) {
			last = &s
		}
	}
	older := ""
	if last != nil {
		b, err := a.retainedBackup(ctx, a.Architecture.DatabaseName(), st.Created)
		if err != nil {
			return nil, nil, fmt.Errorf("look whether the database was made again after its snapshot %s: %w", aws.ToString(last.DBSnapshotIdentifier), err)
		}
		if b != nil && aws.ToTime(b.InstanceCreateTime).After(aws.ToTime(last.InstanceCreateTime)) {
			older = ", though of an instance before the last one, of which RDS keeps backups"
		}
	}
	asked := c.Database.Snapshot
	if asked != "" && sameSnapshot(asked, made) || asked == "" && last == nil {
		return o, nil, nil // what it was made from is what is asked for
	}
	again := "empty"
	if made != "" {
		again = "from " + made
	}
	r := guard.Refusal{Stack: st.Name}
	switch {
	case last == nil:
		r.Fault = c.Fault("database.snapshot", fmt.Sprintf("is %s, and the database %s is gone, whose stack stands and makes it again %s", asked, a.Architecture.DatabaseName(), again),
			fmt.Sprintf("go on with the deletion: poolhouse delete FILE --data snapshot; then poolhouse create FILE, which restores %s", asked))
	default:
		id := aws.ToString(last.DBSnapshotIdentifier)
		is := "is not set"
		if asked != "" {
			is = "is " + asked
		}
		r.Fault = c.Fault("database.snapshot", fmt.Sprintf("%s, and the database %s is gone: its last snapshot is %s, of %s%s, and the stack, which stands, would make it again %s",
			is, a.Architecture.DatabaseName(), id, day(*last), older, again),
			fmt.Sprintf("go on with the deletion: poolhouse delete FILE --data snapshot; then write %s, and poolhouse create FILE", id))
		if older != "" {
			r.Fix = "go on with the deletion, which says how these backups are restored: poolhouse delete FILE --data snapshot"
		}
		if asked == "" && made == "" {
			r.Flag = guard.Empty
		} else if asked == "" {
			r.Fix += fmt.Sprintf("; to go back to %s, write that, and repeat with --%s", made, guard.Replace)
		}
	}
	return o, []guard.Refusal{r}, nil
}

// day is when a snapshot was taken, for people.
func day(s types.DBSnapshot) string {
	return aws.ToTime(s.SnapshotCreateTime).UTC().Format("2006-01-02 15:04Z")
}

// unusableKey is the fault of a snapshot whose key can't decrypt it. Of a key
// that may not be looked at nothing is known. See
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func (a *applying) unusableKey(ctx context.Context, snapshot, key string) (config.Faults, error) {
	out, err := a.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	state, fix := "gone", "name another snapshot"
	switch {
	case awsapi.IsDenied(err):
		return nil, nil
	case awsapi.IsNotFound(err):
	case err != nil:
		return nil, fmt.Errorf("look at the key of snapshot %s: %w", snapshot, err)
	case out.KeyMetadata.KeyState == kmstypes.KeyStateEnabled:
		return nil, nil
	default:
		state = string(out.KeyMetadata.KeyState)
		fix = "enable it: aws kms enable-key --key-id " + key
		if out.KeyMetadata.KeyState == kmstypes.KeyStatePendingDeletion {
			fix = "keep it: aws kms cancel-key-deletion --key-id " + key + ", then aws kms enable-key"
		}
	}
	const path = "database.snapshot"
	return config.Faults{a.Architecture.Config.Fault(path, fmt.Sprintf("is %s, whose key %s is %s", snapshot, key, state), fix)}, nil
}

// sameSnapshot compares two names of snapshots, of which each may be an ARN.
func sameSnapshot(x, y string) bool {
	name := func(s string) string {
		if _, after, ok := strings.Cut(s, ":snapshot:"); ok {
			return after
		}
		return s
	}
	return strings.EqualFold(name(x), name(y))
}

// finalSnapshots are the snapshots that deletions of this deployment left,
// newest first. They outlive the database, whose name they keep.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBSnapshots.html
func (a *applying) finalSnapshots(ctx context.Context) ([]types.DBSnapshot, error) {
	name := a.Architecture.DatabaseName()
	var found []types.DBSnapshot
	pages := rds.NewDescribeDBSnapshotsPaginator(a.AWS.RDS, &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: &name, SnapshotType: aws.String("manual")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for snapshots of database %s: %w", name, err)
		}
		for _, s := range page.DBSnapshots {
			if strings.HasPrefix(aws.ToString(s.DBSnapshotIdentifier), finalSnapshot(name)) {
				found = append(found, s)
			}
		}
	}
	slices.SortFunc(found, func(x, y types.DBSnapshot) int {
		return -cmp.Or(aws.ToTime(x.SnapshotCreateTime).Compare(aws.ToTime(y.SnapshotCreateTime)), strings.Compare(aws.ToString(x.DBSnapshotIdentifier), aws.ToString(y.DBSnapshotIdentifier)))
	})
	return found, nil
}

// IsLast tells of a snapshot by its name that a delete of this deployment took it.
func IsLast(t Target, id string) bool {
	return strings.HasPrefix(id, finalSnapshot(t.Architecture.DatabaseName()))
}

// LastSnapshot is the newest snapshot of the database of the deployment's stack
// that can be restored, whoever took it, and when that was; "" if there is none.
// Those of instances that had the name before the stack was made don't count.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBSnapshots.html
func LastSnapshot(ctx context.Context, t Target) (id string, taken time.Time, err error) {
	name := t.Architecture.DatabaseName()
	st, err := newRun(t, nil).driver.Describe(ctx, t.Architecture.StackName(architecture.Database))
	if err != nil || !st.Exists() {
		return "", time.Time{}, err
	}
	pages := rds.NewDescribeDBSnapshotsPaginator(t.AWS.RDS, &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("look for snapshots of database %s: %w", name, err)
		}
		for _, s := range page.DBSnapshots {
			if aws.ToTime(s.InstanceCreateTime).Before(st.Created) {
				continue
			}
			if at := aws.ToTime(s.SnapshotCreateTime); aws.ToString(s.Status) == "available" && (id == "" || at.After(taken)) {
				id, taken = aws.ToString(s.DBSnapshotIdentifier), at
			}
		}
	}
	return id, taken, nil
}

// unrestorable are the faults of a file whose database can't be made from the
// snapshot that it names. See
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_RestoreFromSnapshot.html
func unrestorable(c *config.Config, s types.DBSnapshot) config.Faults {
	const path = "database.snapshot"
	var faults config.Faults
	id := aws.ToString(s.DBSnapshotIdentifier)
	if st := aws.ToString(s.Status); st != "available" {
		fix := "name another snapshot"
		if st == "creating" || st == "copying" {
			fix = "repeat the command when it is available"
		}
		faults = append(faults, c.Fault(path, fmt.Sprintf("is %s, which is %s", id, st), fix))
	}
	if e := aws.ToString(s.Engine); e != "postgres" {
		faults = append(faults, c.Fault(path, fmt.Sprintf("is %s, which is of %s, not PostgreSQL", id, e), "name another snapshot"))
	}
	if !aws.ToBool(s.Encrypted) {
		faults = append(faults, c.Fault(path, fmt.Sprintf("is %s, which is not encrypted", id), "copy it with a KMS key, and name the copy"))
	}
	if n := int(aws.ToInt32(s.AllocatedStorage)); n > c.Database.StorageGiB {
		faults = append(faults, c.Fault("database.storageGiB", fmt.Sprintf("is %d, and snapshot %s has %d GiB", c.Database.StorageGiB, id, n), fmt.Sprintf("write %d or more", n)))
	}
	major := func(version string) int {
		first, _, _ := strings.Cut(version, ".")
		n, err := strconv.Atoi(first)
		if err != nil {
			return 0
		}
		return n
	}
	if v := aws.ToString(s.EngineVersion); major(v) > major(c.Database.Version) {
		faults = append(faults, c.Fault("database.version", fmt.Sprintf("is %s, and snapshot %s is of %s: RDS can't go back", c.Database.Version, id, v), fmt.Sprintf("write \"%d\"", major(v))))
	}
	return faults
}
