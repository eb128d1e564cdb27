package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/inventory"
)

// deleteDatabase deletes an instance and returns when it is gone, with a last
// snapshot if the data is to be kept in one. With must it is an error if the
// instance is gone, or going, and no last snapshot of it is there.
func (d *deleting) deleteDatabase(ctx context.Context, name architecture.StackName, id string, must bool) error {
	in := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)}
	asked, ours, words := false, false, ""
	gone := func() error {
		if ours || !must {
			return nil
		}
		last, err := d.lastSnapshot(ctx, name, id)
		if err != nil || last != nil {
			return err
		}
		return d.noSnapshot(ctx, name, id)
	}
	w := poll.Wait{For: "the deletion of database " + id, Next: again}
	return d.until(ctx, name, w, func(ctx context.Context, _ time.Duration) (bool, string, error) {
		words = ""
		if !asked {
			if d.opts.Data == SnapshotData && in.FinalDBSnapshotIdentifier == nil {
				snapshot, err := d.snapshotName(ctx, id)
				if err != nil {
					return false, "", err
				}
				in.SkipFinalSnapshot, in.FinalDBSnapshotIdentifier = aws.Bool(false), &snapshot
			}
			out, err := d.AWS.RDS.DeleteDBInstance(ctx, in)
			switch {
			case awsapi.IsNotFound(err):
				return true, "", gone()
			case err == nil && in.FinalDBSnapshotIdentifier != nil:
				asked, ours = true, true
				d.keepSnapshot(*in.FinalDBSnapshotIdentifier, aws.ToString(out.DBInstance.DBInstanceArn), "the database as it was")
				d.step(name, "deleting database %s; its data goes into snapshot %s", id, *in.FinalDBSnapshotIdentifier)
			case err == nil:
				asked = true
				d.step(name, "deleting database %s with its backups", id)
			case strings.Contains(awsapi.Message(err), "already being deleted"):
				asked = true
			case awsapi.Code(err) == "InvalidDBInstanceState":
				// An operation is under way that began a moment ago, unless the
				// instance's own status says that there never is a snapshot.
				words = awsapi.Message(err)
			case awsapi.Code(err) == "DBSnapshotAlreadyExists":
				// The name was free a moment ago. If another run of this deletion has
				// it, or a call of this one whose answer was lost, the database is
				// going, which the next call finds; if somebody else has it, the next
				// name is tried.
				d.step(name, "snapshot %s has come to be meanwhile: looking whose it is", *in.FinalDBSnapshotIdentifier)
				in.FinalDBSnapshotIdentifier = nil
			default:
				return false, "", err
			}
		}
		out, err := d.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		switch {
		case awsapi.IsNotFound(err):
			return true, "", gone()
		case err != nil || len(out.DBInstances) != 1:
			return false, "", err
		}
		i := out.DBInstances[0]
		state := aws.ToString(i.DBInstanceStatus)
		if words != "" && in.FinalDBSnapshotIdentifier != nil && slices.Contains(snapshotless, state) {
			return false, "", noLastSnapshot(i, words)
		}
		if asked && slices.Contains(restful, state) {
			d.step(name, "database %s is %s again, not deleted: asking once more", id, state)
			asked = false
		}
		snapshot := in.FinalDBSnapshotIdentifier
		if asked && !ours && must {
			if snapshot, err = d.lastSnapshot(ctx, name, id); err != nil {
				return false, "", err
			}
		}
		if words != "" {
			state += ": " + words
		}
		return false, state + d.snapshotProgress(ctx, snapshot), nil
	})
}

// snapshotless are the states in which RDS deletes an instance only without a last
// snapshot. They don't pass by themselves.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBInstance.html
var snapshotless = []string{"failed", "incompatible-network", "incompatible-restore"}

// noLastSnapshot says that an instance can't be deleted with a last snapshot, in
// AWS's words, and what there is to choose from.
func noLastSnapshot(i types.DBInstance, words string) error {
	id := aws.ToString(i.DBInstanceIdentifier)
	backups := "it has no automated backups"
	if aws.ToInt32(i.BackupRetentionPeriod) > 0 {
		backups = "its backups make another one as it was: " + restoreBackup(aws.ToString(i.DbiResourceId), id+"-restored")
	}
	return fmt.Errorf("database %s is %s, and RDS deletes such a one only without a last snapshot: %s; it still stands; %s; mend it and repeat the delete, delete --data keep leaves it, delete --data destroy goes on without, and deletes its backups too",
		id, aws.ToString(i.DBInstanceStatus), words, backups)
}

// lastSnapshot is the snapshot that a deletion of the stack's instance left or is
// about to make, by another run; nil is none. It is noted as kept. Those of
// instances that the name had before don't count: before the stack, or before the one
// whose backups RDS retained.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBSnapshot.html
func (d *deleting) lastSnapshot(ctx context.Context, name architecture.StackName, id string) (*string, error) {
	d.mu.Lock()
	st := d.owned[name]
	d.mu.Unlock()
	var last *types.DBSnapshot
	pages := rds.NewDescribeDBSnapshotsPaginator(d.AWS.RDS, &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: &id, SnapshotType: aws.String("manual")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for the last snapshot of database %s: %w", id, err)
		}
		for _, s := range page.DBSnapshots {
			final := strings.HasPrefix(aws.ToString(s.DBSnapshotIdentifier), finalSnapshot(id)) && aws.ToString(s.Status) != "failed" && !aws.ToTime(s.InstanceCreateTime).Before(st.Created)
			if final && (last == nil || aws.ToTime(s.InstanceCreateTime).After(aws.ToTime(last.InstanceCreateTime))) {
				last = &s
			}
		}
	}
	if last == nil {
		return nil, nil
	}
	b, err := d.retainedBackup(ctx, id, st.Created)
	if err != nil {
		return nil, fmt.Errorf("look whether database %s was made again after its snapshot %s: %w", id, *last.DBSnapshotIdentifier, err)
	}
	if b != nil && aws.ToTime(b.InstanceCreateTime).After(aws.ToTime(last.InstanceCreateTime)) {
		return nil, nil
	}
	d.keepSnapshot(*last.DBSnapshotIdentifier, aws.ToString(last.DBSnapshotArn), "the database as it was")
	return last.DBSnapshotIdentifier, nil
}

// retainedBackup are the automated backups of the newest instance of a name that is gone
// and was not made before a time; nil is none.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.Retaining.html
func (r *run) retainedBackup(ctx context.Context, id string, since time.Time) (last *types.DBInstanceAutomatedBackup, err error) {
	pages := rds.NewDescribeDBInstanceAutomatedBackupsPaginator(r.AWS.RDS, &rds.DescribeDBInstanceAutomatedBackupsInput{DBInstanceIdentifier: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range page.DBInstanceAutomatedBackups {
			made := aws.ToTime(b.InstanceCreateTime)
			if aws.ToString(b.Status) != "active" && !made.Before(since) && (last == nil || made.After(aws.ToTime(last.InstanceCreateTime))) {
				last = &b
			}
		}
	}
	return last, nil
}

// noSnapshot says that a database is gone without a last snapshot, and what of it
// can be restored from the automated backups that RDS retained, until when and
// how.
func (d *deleting) noSnapshot(ctx context.Context, name architecture.StackName, id string) error {
	d.mu.Lock()
	d.lastless = true
	st := d.owned[name]
	d.mu.Unlock()
	b, err := d.retainedBackup(ctx, id, st.Created)
	if err != nil {
		return fmt.Errorf("database %s is gone and left no last snapshot; look for backups of it: %w", id, err)
	}
	if b == nil {
		return fmt.Errorf("database %s is gone and left no last snapshot and no backups: what it held is lost; delete --data destroy goes on without it", id)
	}
	until, err := inventory.BackupEnds(ctx, d.AWS.RDS, *b)
	if err != nil {
		return fmt.Errorf("database %s is gone and left no last snapshot; look until when its backups stay: %w", id, err)
	}
	ends := ""
	if !until.IsZero() {
		ends = " until " + until.UTC().Format("2006-01-02 15:04Z")
	}
	return fmt.Errorf("database %s is gone and left no last snapshot, but RDS keeps its backups%s%s: run %s, wait until the database is available, and repeat the delete, which takes the snapshot; delete --data destroy goes on without, and deletes the backups too",
		id, ends, inventory.Restorable(*b), restoreBackup(aws.ToString(b.DbiResourceId), id))
}

// restoreBackup is the command that makes a database from the automated backups of
// one that is gone.
// https://docs.aws.amazon.com/cli/latest/reference/rds/restore-db-instance-to-point-in-time.html
func restoreBackup(resource, target string) string {
	return fmt.Sprintf("aws rds restore-db-instance-to-point-in-time --source-dbi-resource-id %s --target-db-instance-identifier %s --use-latest-restorable-time", resource, target)
}

// restoreBackups are the commands that lead from the automated backups of a
// database that is gone to one of the deployment's. While its stack stands it comes
// back under its own name, and the deletion takes a snapshot of it; without the
// stack a snapshot is made by hand.
func (d *deleting) restoreBackups(resource string) []string {
	name := d.Architecture.DatabaseName()
	if st := d.owned[architecture.Database]; st.Exists() {
		return []string{
			restoreBackup(resource, name), "aws rds wait db-instance-available --db-instance-identifier " + name,
			"poolhouse delete FILE --data snapshot", createFrom("the snapshot that the deletion names"),
		}
	}
	name += "-restored"
	return []string{
		restoreBackup(resource, name), "aws rds wait db-instance-available --db-instance-identifier " + name,
		"aws rds create-db-snapshot --db-instance-identifier " + name + " --db-snapshot-identifier " + name,
		"aws rds wait db-snapshot-available --db-snapshot-identifier " + name,
		"aws rds delete-db-instance --skip-final-snapshot --db-instance-identifier " + name,
		createFrom(name),
	}
}

// keepSnapshot notes a snapshot of the database. Its ARN is like that of an
// instance or snapshot given.
func (d *deleting) keepSnapshot(id, like, what string) {
	arn := ""
	if parts := strings.Split(like, ":"); len(parts) == 7 {
		arn = strings.Join(append(parts[:5:5], "snapshot", id), ":")
	}
	d.keep(Kept{
		Type: "AWS::RDS::DBSnapshot", ID: id, ARN: arn,
		Why:     what + "; set database.snapshot to it to start from it again",
		Remove:  []string{"aws rds delete-db-snapshot --db-snapshot-identifier " + id},
		Restore: []string{createFrom(id)},
	})
}

// snapshotProgress is how far a snapshot is, in RDS's words; "" is unknown. It
// says that something goes on, and no more.
func (d *deleting) snapshotProgress(ctx context.Context, id *string) string {
	if id == nil {
		return ""
	}
	out, err := d.AWS.RDS.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: id})
	if err != nil || len(out.DBSnapshots) != 1 {
		return ""
	}
	return fmt.Sprintf(" %d%%", aws.ToInt32(out.DBSnapshots[0].PercentProgress))
}

// snapshotName is a name for a last snapshot that no snapshot has.
func (d *deleting) snapshotName(ctx context.Context, id string) (string, error) {
	first := fmt.Sprintf("%s%s", finalSnapshot(id), d.AWS.Clock.Now().UTC().Format("20060102-150405"))
	name := first
	for n := 2; ; n++ {
		_, err := d.AWS.RDS.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &name})
		if awsapi.IsNotFound(err) {
			return name, nil
		}
		if err != nil {
			return "", fmt.Errorf("see whether snapshot %s is there already: %w", name, err)
		}
		name = fmt.Sprintf("%s-%d", first, n)
	}
}

// deleteAutomatedBackup deletes the backups that an instance left when it was
// deleted, by its resource id.
func (d *deleting) deleteAutomatedBackup(ctx context.Context, resource string) error {
	_, err := d.AWS.RDS.DeleteDBInstanceAutomatedBackup(ctx, &rds.DeleteDBInstanceAutomatedBackupInput{DbiResourceId: &resource})
	if err == nil {
		d.step(architecture.Database, "deleted the backups of a database that is gone: %s", resource)
	}
	return absent(err)
}
