package rds

import (
	"cmp"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func snapshotType() *account.Type {
	return &account.Type{
		Name: TypeSnapshot, Latency: "rds:snapshot",
		Settle: func(_ *account.Tx, r *account.Resource, _ string) error {
			r.Status = "available"
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			if r.Status != "available" {
				return account.Errorf("InvalidDBSnapshotState", "Cannot delete the snapshot because it is in the %s state.", r.Status)
			}
			if r.Data["kind"] == "automated" {
				return account.Errorf("InvalidDBSnapshotState", "Deletion of automated snapshots is not permitted: %s", r.ID)
			}
			return nil
		},
	}
}

// findSnapshot finds a snapshot by identifier or ARN.
func findSnapshot(tx *account.Tx, id string) *account.Resource {
	if s := tx.Get(TypeSnapshot, id); s != nil {
		return s
	}
	return tx.Find(TypeSnapshot, func(s *account.Resource) bool { return strings.EqualFold(props.Str(s.Attrs, "DBSnapshotArn"), id) })
}

// SeedSnapshot puts a manual snapshot into the account, of an instance that is
// no more: its version, master user, size and key.
func SeedSnapshot(tx *account.Tx, id, version, user string, sizeGiB int, keyARN string) *account.Resource {
	s := &account.Resource{
		Type: TypeSnapshot, ID: id, Status: "available", Owner: service, Tags: map[string]string{},
		Props: map[string]any{"DBInstanceIdentifier": id + "-source"},
		Attrs: map[string]any{"DBSnapshotArn": tx.ARN("rds", "snapshot:"+id)},
		Data: map[string]any{
			"instance": id + "-source", "kind": "manual", "version": resolve(version), "user": user, "database": "", "key": keyARN, "encrypted": keyARN != "",
			"size": sizeGiB, "zone": tx.Zones()[0].Name, "vpc": "", "port": "5432", "resource": "db-" + strings.ToUpper(tx.HexID(26)),
			"storageType": "gp3", "instanceCreated": tx.Now(),
		},
	}
	tx.Put(s)
	return s
}

// takeSnapshot begins a snapshot of an instance. Its settling is for the
// caller to bring about.
func takeSnapshot(tx *account.Tx, r *account.Resource, id, kind string) (*account.Resource, error) {
	if kind == "manual" && !identifier(id) && len(id) < 64 {
		return nil, value("Invalid snapshot identifier:  %s", id)
	}
	if tx.Get(TypeSnapshot, id) != nil {
		return nil, account.Errorf("DBSnapshotAlreadyExists", "Cannot create the snapshot because a snapshot with the identifier %s already exists.", id)
	}
	if err := checkKey(tx, props.Str(r.Data, "key")); err != nil {
		return nil, err
	}
	s := &account.Resource{
		Type: TypeSnapshot, ID: id, Status: "creating", Owner: r.Owner,
		Props: map[string]any{"DBInstanceIdentifier": r.ID},
		Attrs: map[string]any{"DBSnapshotArn": tx.ARN("rds", "snapshot:"+id)},
		Data: map[string]any{
			"instance": r.ID, "kind": kind, "version": r.Data["version"], "user": r.Data["user"], "database": r.Data["database"], "key": r.Data["key"],
			"encrypted": r.Data["encrypted"], "size": r.Data["size"], "zone": r.Data["zone"], "vpc": r.Data["vpc"], "port": r.Attrs["Endpoint.Port"],
			"resource": r.Attrs["DbiResourceId"], "storageType": props.Str(r.Props, "StorageType"), "class": props.Str(r.Props, "DBInstanceClass"), "instanceCreated": r.Created,
		},
		Tags: map[string]string{},
	}
	if props.Bool(r.Props, false, "CopyTagsToSnapshot") {
		for k, v := range r.Tags {
			// System tags stay with what they were made for.
			if !strings.HasPrefix(k, "aws:") {
				s.Tags[k] = v
			}
		}
	}
	tx.Put(s)
	return s, nil
}

// keepBackups makes the automated backup of an instance what its retention
// says, with the first snapshot.
func keepBackups(tx *account.Tx, r *account.Resource, first bool) error {
	id := props.Str(r.Attrs, "DbiResourceId")
	backup := tx.Get(TypeAutomatedBackup, id)
	if props.Int(r.Props, 1, "BackupRetentionPeriod") == 0 {
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html
		dropBackup(tx, id)
		return nil
	}
	if at, ok := r.Data["backupAt"].(time.Time); !ok || !at.Equal(begins(tx.Now(), cmp.Or(props.Str(r.Props, "PreferredBackupWindow"), defaultBackupWindow), false)) {
		backUpNext(tx, r)
	}
	if backup == nil {
		tx.Put(&account.Resource{
			Type: TypeAutomatedBackup, ID: id, Status: "active", Owner: service,
			Props: map[string]any{"DBInstanceIdentifier": r.ID},
			Attrs: map[string]any{"DBInstanceAutomatedBackupsArn": tx.ARN("rds", "auto-backup:ab-"+tx.HexID(39))},
			Data:  map[string]any{"instance": r.ID, "instanceCreated": r.Created, "key": r.Data["key"]}, Tags: map[string]string{},
		})
		first = true
	}
	if !first {
		return nil
	}
	return automatedSnapshot(tx, r)
}

// archivedUntil is the latest time that an instance can be restored to.
func archivedUntil(tx *account.Tx, r *account.Resource) time.Time {
	if stopped, ok := r.Data["archivedUntil"].(time.Time); ok {
		return stopped
	}
	return tx.Now().Add(-5 * time.Minute)
}

// backupSpan is when the first and the last of an automated backup's snapshots
// were taken.
func backupSpan(tx *account.Tx, id string) (first, last time.Time) {
	for _, s := range tx.List(TypeSnapshot) {
		if s.Data["kind"] != "automated" || s.Data["resource"] != id {
			continue
		}
		if first.IsZero() || s.Created.Before(first) {
			first = s.Created
		}
		if s.Created.After(last) {
			last = s.Created
		}
	}
	return first, last
}

// dropBackup removes the automated backup of an instance, by its resource id,
// with its snapshots.
func dropBackup(tx *account.Tx, id string) {
	tx.Drop(TypeAutomatedBackup, id)
	for _, s := range tx.List(TypeSnapshot) {
		if s.Data["kind"] == "automated" && s.Data["resource"] == id {
			tx.Drop(TypeSnapshot, s.ID)
		}
	}
}

// automatedSnapshot takes one of the snapshots that RDS takes by itself.
func automatedSnapshot(tx *account.Tx, r *account.Resource) error {
	s, err := takeSnapshot(tx, r, "rds:"+r.ID+tx.Now().UTC().Format("-2006-01-02-15-04"), "automated")
	if err != nil {
		return err
	}
	s.Status, s.Owner = "available", service
	return nil
}
