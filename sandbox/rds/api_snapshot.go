package rds

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type snapshotXML struct {
	DBSnapshotIdentifier, DBInstanceIdentifier, SnapshotCreateTime, Engine string
	AllocatedStorage                                                       int
	Status                                                                 string
	Port                                                                   int
	AvailabilityZone, VpcId, InstanceCreateTime, MasterUsername            string
	EngineVersion, LicenseModel, SnapshotType                              string
	PercentProgress                                                        int
	StorageType                                                            string `xml:",omitempty"`
	Encrypted                                                              bool
	KmsKeyId                                                               string `xml:",omitempty"`
	DBSnapshotArn, DbiResourceId                                           string
	TagList                                                                []tagXML `xml:"TagList>Tag"`
}

func snapshotOut(s *account.Resource) snapshotXML {
	out := snapshotXML{
		DBSnapshotIdentifier: s.ID, DBInstanceIdentifier: props.Str(s.Data, "instance"), SnapshotCreateTime: iso(s.Created), Engine: "postgres",
		AllocatedStorage: props.Int(s.Data, 0, "size"), Status: s.Status, Port: props.Int(s.Data, 5432, "port"), AvailabilityZone: props.Str(s.Data, "zone"),
		VpcId: props.Str(s.Data, "vpc"), MasterUsername: props.Str(s.Data, "user"), EngineVersion: props.Str(s.Data, "version"), LicenseModel: "postgresql-license",
		SnapshotType: props.Str(s.Data, "kind"), StorageType: props.Str(s.Data, "storageType"), Encrypted: s.Data["encrypted"] == true, KmsKeyId: props.Str(s.Data, "key"),
		DBSnapshotArn: props.Str(s.Attrs, "DBSnapshotArn"), DbiResourceId: props.Str(s.Data, "resource"), TagList: tagsXML(s.Tags),
	}
	if t, ok := s.Data["instanceCreated"].(time.Time); ok {
		out.InstanceCreateTime = iso(t)
	}
	if s.Status == "available" {
		out.PercentProgress = 100
	}
	return out
}

func describeSnapshots(tx *account.Tx, r *wire.Request) (any, error) {
	var list []snapshotXML
	id, instance, kind := strings.ToLower(r.String("DBSnapshotIdentifier")), strings.ToLower(r.String("DBInstanceIdentifier")), r.String("SnapshotType")
	for _, s := range tx.List(TypeSnapshot) {
		if (id == "" || s.ID == id || props.Str(s.Attrs, "DBSnapshotArn") == id) && (instance == "" || props.Str(s.Data, "instance") == instance) && (kind == "" || s.Data["kind"] == kind) &&
			(r.String("DbiResourceId") == "" || s.Data["resource"] == r.String("DbiResourceId")) {
			list = append(list, snapshotOut(s))
		}
	}
	if id != "" && len(list) == 0 {
		return nil, missing("DBSnapshotNotFound", "DBSnapshot %s not found.", id)
	}
	list, next, err := page(r, list)
	return struct {
		Marker      string        `xml:",omitempty"`
		DBSnapshots []snapshotXML `xml:"DBSnapshots>DBSnapshot"`
	}{next, list}, err
}

type oneSnapshot struct{ DBSnapshot snapshotXML }

func createSnapshot(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if i.Status != "available" {
		return nil, account.Errorf("InvalidDBInstanceState", "Cannot create a snapshot because the database instance %s is not currently in the available state.", i.ID)
	}
	s, err := takeSnapshot(tx, i, strings.ToLower(r.String("DBSnapshotIdentifier")), "manual")
	if err != nil {
		return nil, err
	}
	s.Owner = r.Caller
	for k, v := range r.Tags("Tags") {
		s.Tags[k] = v
	}
	tx.After(tx.Latency("rds:snapshot/create", s.ID), account.Event{Type: TypeSnapshot, ID: s.ID, Data: map[string]any{"op": "create"}})
	return oneSnapshot{snapshotOut(s)}, nil
}

func deleteSnapshot(tx *account.Tx, r *wire.Request) (any, error) {
	s := findSnapshot(tx, strings.ToLower(r.String("DBSnapshotIdentifier")))
	if s == nil {
		return nil, missing("DBSnapshotNotFound", "DBSnapshot not found: %s", r.String("DBSnapshotIdentifier"))
	}
	if _, err := tx.Delete(s, false); err != nil {
		return nil, err
	}
	s.Status = "deleted"
	return oneSnapshot{snapshotOut(s)}, tx.Settle(s, "delete")
}

type attributeXML struct {
	AttributeName   string
	AttributeValues []string `xml:"AttributeValues>AttributeValue"`
}

type attributesXML struct {
	DBSnapshotAttributesResult struct {
		DBSnapshotIdentifier string
		DBSnapshotAttributes []attributeXML `xml:"DBSnapshotAttributes>DBSnapshotAttribute"`
	}
}

// attributesOut says who may restore a snapshot.
func attributesOut(s *account.Resource) attributesXML {
	var out attributesXML
	out.DBSnapshotAttributesResult.DBSnapshotIdentifier = s.ID
	out.DBSnapshotAttributesResult.DBSnapshotAttributes = []attributeXML{{"restore", props.Strs(s.Data, "restore")}}
	return out
}

func describeSnapshotAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	s := findSnapshot(tx, strings.ToLower(r.String("DBSnapshotIdentifier")))
	if s == nil {
		return nil, missing("DBSnapshotNotFound", "DBSnapshot not found: %s", r.String("DBSnapshotIdentifier"))
	}
	return attributesOut(s), nil
}

// modifySnapshotAttribute lets other accounts restore a manual snapshot, or
// everybody if it is not encrypted.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ShareSnapshot.html
func modifySnapshotAttribute(tx *account.Tx, r *wire.Request) (any, error) {
	s := findSnapshot(tx, strings.ToLower(r.String("DBSnapshotIdentifier")))
	if s == nil {
		return nil, missing("DBSnapshotNotFound", "DBSnapshot not found: %s", r.String("DBSnapshotIdentifier"))
	}
	if n := r.String("AttributeName"); n != "restore" {
		return nil, value("Invalid value for AttributeName: %s", n)
	}
	if s.Data["kind"] == "automated" || s.Status != "available" {
		return nil, account.Errorf("InvalidDBSnapshotState", "Cannot modify attributes of the snapshot %s", s.ID)
	}
	add := r.Strings("ValuesToAdd")
	key := props.Str(s.Data, "key")
	switch {
	case s.Data["encrypted"] == true && slices.Contains(add, "all"):
		return nil, value("Encrypted snapshots can't be shared publicly: %s", s.ID)
	case s.Data["encrypted"] == true && strings.Contains(key, "alias/aws/"):
		return nil, account.Errorf("InvalidDBSnapshotState", "Sharing snapshots encrypted with the default service key for RDS is currently not supported")
	}
	s.Data["restore"] = exported(props.Strs(s.Data, "restore"), add, r.Strings("ValuesToRemove"))
	return attributesOut(s), nil
}

type backupXML struct {
	DBInstanceArn, DbiResourceId, Region, DBInstanceIdentifier string
	Status, DBInstanceAutomatedBackupsArn                      string
	Engine, InstanceCreateTime                                 string
	BackupRetentionPeriod                                      int
	RestoreWindow                                              *windowXML
	KmsKeyId                                                   string   `xml:",omitempty"`
	TagList                                                    []tagXML `xml:"TagList>Tag"`
}

// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreWindow.html
type windowXML struct{ EarliestTime, LatestTime string }

func backupOut(tx *account.Tx, b *account.Resource) backupXML {
	instance := props.Str(b.Data, "instance")
	out := backupXML{
		DBInstanceArn: tx.ARN("rds", "db:"+instance), DbiResourceId: b.ID, Region: tx.Region(), DBInstanceIdentifier: instance, Status: b.Status,
		DBInstanceAutomatedBackupsArn: props.Str(b.Attrs, "DBInstanceAutomatedBackupsArn"), Engine: "postgres",
		BackupRetentionPeriod: props.Int(b.Data, 1, "days"), KmsKeyId: props.Str(b.Data, "key"), TagList: tagsXML(b.Tags),
	}
	if made, ok := b.Data["instanceCreated"].(time.Time); ok {
		out.InstanceCreateTime = iso(made)
	}
	first, _ := backupSpan(tx, b.ID)
	until, retained := b.Data["archivedUntil"].(time.Time)
	if r := tx.Get(TypeInstance, instance); !retained && r != nil {
		out.BackupRetentionPeriod, until = props.Int(r.Props, 1, "BackupRetentionPeriod"), archivedUntil(tx, r)
	}
	if first.Before(until) {
		out.RestoreWindow = &windowXML{iso(first), iso(until)}
	}
	return out
}

func describeBackups(tx *account.Tx, r *wire.Request) (any, error) {
	var list []backupXML
	for _, b := range tx.List(TypeAutomatedBackup) {
		if x := backupOut(tx, b); (r.String("DbiResourceId") == "" || r.String("DbiResourceId") == x.DbiResourceId) &&
			(r.String("DBInstanceIdentifier") == "" || strings.EqualFold(r.String("DBInstanceIdentifier"), x.DBInstanceIdentifier)) &&
			(r.String("DBInstanceAutomatedBackupsArn") == "" || r.String("DBInstanceAutomatedBackupsArn") == x.DBInstanceAutomatedBackupsArn) {
			list = append(list, x)
		}
	}
	list, next, err := page(r, list)
	return struct {
		Marker                     string      `xml:",omitempty"`
		DBInstanceAutomatedBackups []backupXML `xml:"DBInstanceAutomatedBackups>DBInstanceAutomatedBackup"`
	}{next, list}, err
}

func deleteBackup(tx *account.Tx, r *wire.Request) (any, error) {
	b := tx.Find(TypeAutomatedBackup, func(b *account.Resource) bool {
		return b.ID == r.String("DbiResourceId") || props.Str(b.Attrs, "DBInstanceAutomatedBackupsArn") == r.String("DBInstanceAutomatedBackupsArn")
	})
	if b == nil {
		return nil, missing("DBInstanceAutomatedBackupNotFound", "The automated backup was not found.")
	}
	if b.Status == "active" {
		return nil, account.Errorf("InvalidDBInstanceAutomatedBackupState", "The automated backup is in an invalid state: the DB instance %s still exists.", props.Str(b.Data, "instance"))
	}
	dropBackup(tx, b.ID)
	return struct{ DBInstanceAutomatedBackup backupXML }{backupOut(tx, b)}, nil
}
