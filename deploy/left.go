package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// disposeLeft disposes of a bucket, repository, database or vault of the
// deployment's that no stack has, by what becomes of the data: it is destroyed
// with all that it holds; a database is deleted with a last snapshot; and of the
// rest what holds nothing goes, if a stack made and left it, as the rollback of
// that was to take it away. What stays is noted.
func (d *deleting) disposeLeft(ctx context.Context, i inventory.Item) (gone bool, err error) {
	if i.LeftBy != "" {
		d.step("", "%s %s is left over: %s", i.Type, i.ID, i.Why)
	}
	destroy := d.opts.Data == DestroyData
	switch {
	case i.Type == "AWS::RDS::DBInstance" && d.opts.Data != KeepData:
		protected, err := d.isProtected(ctx, stack.Resource{Type: i.Type, PhysicalID: i.ID})
		if absent(err) != nil {
			return false, fmt.Errorf("look whether it is protected from deletion: %w", err)
		}
		if protected {
			return false, &firstError{
				"it is protected from deletion, and " + i.Why,
				"aws rds modify-db-instance --no-deletion-protection --apply-immediately --db-instance-identifier " + i.ID,
			}
		}
		return true, d.deleteDatabase(ctx, architecture.Database, i.ID, false)
	case destroy && i.Type == "AWS::S3::Bucket":
		err := d.deleteBucket(ctx, architecture.Storage, false, i.ID)
		return err == nil && !d.isKept(i.Type, i.ID), err
	case destroy && i.Type == "AWS::ECR::Repository":
		return true, d.deleteRepository(ctx, architecture.Storage, i.ID)
	case destroy:
		return d.deleteData(ctx, i)
	}
	if i.LeftBy == "" || i.Type == "AWS::RDS::DBInstance" {
		d.keepItem(i)
		return false, nil
	}
	did, err := d.unmake(ctx, nil, stack.Resource{Type: i.Type, PhysicalID: i.ID})
	var holds *holdsError
	switch {
	case errors.As(err, &holds):
		i.Why += "; " + holds.what
		d.keepItem(i)
		return false, nil
	case err != nil:
		return false, err
	case did != "":
		d.step("", "%s, which stack %s had left and which held nothing", did, i.LeftBy)
	}
	return true, nil
}

// firstError says why something does not go, and the command that has to come
// first.
type firstError struct{ reason, command string }

func (e *firstError) Error() string { return e.reason + "; first: " + e.command }

// keepItem notes an item with data that stays, because the data is to be kept or
// because somebody asked for it before.
func (d *deleting) keepItem(i inventory.Item) {
	k := Kept{Type: i.Type, ID: i.ID, ARN: i.ARN, Until: i.Until, Monthly: i.Monthly, Remove: []string{removal(i)}}
	switch {
	case i.Type == "AWS::RDS::DBSnapshot":
		d.keepSnapshot(i.ID, i.ARN, "a snapshot of the database, which only its owner deletes")
		return
	case d.opts.Data != DestroyData && (i.Data || i.Type == "AWS::Logs::LogGroup"):
		k.Why = "the data is to be kept, and no stack has it"
		if i.Why != "" {
			k.Why += ": " + i.Why
		}
		if takenAway(i) {
			k.Remove = []string{destroyAll}
		}
		if i.Type == "AWS::RDS::DBInstance" && i.Own() {
			k.Restore = []string{"poolhouse delete FILE --data snapshot", createFrom("the snapshot that the deletion names")}
		}
		if i.Type == "AWS::RDS::DBInstanceAutomatedBackup" {
			k.Restore = d.restoreBackups(i.ID)
		}
	default:
		return
	}
	d.keep(k)
}

// takenAway tells that a deletion which destroys the data takes an item away by
// itself, with whatever it holds.
func takenAway(i inventory.Item) bool {
	switch i.Type {
	case "AWS::S3::Bucket", "AWS::ECR::Repository", "AWS::RDS::DBInstance", "AWS::Backup::BackupVault":
		return i.Own()
	}
	return false
}

// ownAdvice is what to do about something of the deployment's own that has a name
// which one of its stacks needs.
func ownAdvice(i inventory.Item) string {
	return fmt.Sprintf("it is of this deployment (%s): poolhouse delete FILE --data %s takes it away if it holds nothing, and --data %s with what it holds", i.Why, KeepData, DestroyData)
}
