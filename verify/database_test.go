package verify_test

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// modify changes the database as a colleague would.
func modify(change func(*rds.ModifyDBInstanceInput)) func(*wrecker) error {
	return func(w *wrecker) error {
		in := &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName()), ApplyImmediately: aws.Bool(true)}
		change(in)
		_, err := w.aws.RDS.ModifyDBInstance(w.ctx, in)
		return err
	}
}

// setting changes a parameter in the group that the database uses.
func setting(name, value string) func(*wrecker) error {
	return func(w *wrecker) error {
		out, err := w.aws.RDS.DescribeDBInstances(w.ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName())})
		if err != nil {
			return err
		}
		_, err = w.aws.RDS.ModifyDBParameterGroup(w.ctx, &rds.ModifyDBParameterGroupInput{
			DBParameterGroupName: out.DBInstances[0].DBParameterGroups[0].DBParameterGroupName,
			Parameters:           []types.Parameter{{ParameterName: &name, ParameterValue: &value, ApplyMethod: types.ApplyMethodPendingReboot}},
		})
		return err
	}
}

// database changes the database in the store.
func database(f func(*account.Resource)) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change("AWS::RDS::DBInstance", logical("Database"), func(_ *account.Tx, r *account.Resource) { f(r) })
	}
}

// snapshot changes a snapshot in the store.
func snapshot(f func(*account.Resource)) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change("rds:snapshot", func(*account.Resource) bool { return true }, func(_ *account.Tx, r *account.Resource) { f(r) })
	}
}

// share takes a snapshot and lets somebody restore it.
func share(with string) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.RDS.CreateDBSnapshot(w.ctx, &rds.CreateDBSnapshotInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName()), DBSnapshotIdentifier: aws.String("copy")})
		if err != nil {
			return err
		}
		// Which takes minutes.
		if err := w.change("rds:snapshot", isCopy, func(_ *account.Tx, r *account.Resource) { r.Status = "available" }); err != nil {
			return err
		}
		_, err = w.aws.RDS.ModifyDBSnapshotAttribute(w.ctx, &rds.ModifyDBSnapshotAttributeInput{
			DBSnapshotIdentifier: aws.String("copy"), AttributeName: aws.String("restore"), ValuesToAdd: []string{with},
		})
		return err
	}
}

func isCopy(r *account.Resource) bool { return r.ID == "copy" }

// subnetGroup adds a subnet to the database's group.
func subnetGroup(w *wrecker, add string) error {
	out, err := w.aws.RDS.DescribeDBInstances(w.ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName())})
	if err != nil {
		return err
	}
	group := out.DBInstances[0].DBSubnetGroup
	ids := []string{add}
	for _, s := range group.Subnets {
		ids = append(ids, *s.SubnetIdentifier)
	}
	_, err = w.aws.RDS.ModifyDBSubnetGroup(w.ctx, &rds.ModifyDBSubnetGroupInput{DBSubnetGroupName: group.DBSubnetGroupName, SubnetIds: ids})
	return err
}

// subnet is the id of a subnet.
func (w *wrecker) subnet(id string) (string, error) {
	var found string
	err := w.box.Account().Do(func(tx *account.Tx) error {
		if r := tx.Find("AWS::EC2::Subnet", logical(id)); r != nil {
			found = r.ID
			return nil
		}
		return errors.New("no subnet " + id)
	})
	return found, err
}

func databaseWrecks() []wreck {
	return []wreck{
		{check: "database-there", name: "stopped", by: database(func(r *account.Resource) { r.Status = "stopped" })},
		{check: "database-there", name: "being deleted", example: "evaluation", by: func(w *wrecker) error {
			_, err := w.aws.RDS.DeleteDBInstance(w.ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String(w.arch.DatabaseName()), SkipFinalSnapshot: aws.Bool(true)})
			return err
		}},
		{check: "database-version", by: database(func(r *account.Resource) { r.Data["version"] = "16.9" })},
		{check: "database-class", by: modify(func(in *rds.ModifyDBInstanceInput) { in.DBInstanceClass = aws.String("db.t4g.medium") })},
		{check: "database-storage-grows", by: modify(func(in *rds.ModifyDBInstanceInput) { in.MaxAllocatedStorage = aws.Int32(200) })},
		{check: "database-private", by: modify(func(in *rds.ModifyDBInstanceInput) { in.PubliclyAccessible = aws.Bool(true) })},
		{check: "database-subnets", name: "public", by: func(w *wrecker) error {
			id, err := w.subnet("PublicSubnet1")
			return errors.Join(err, subnetGroup(w, id))
		}},
		{check: "database-subnets", name: "control plane", by: func(w *wrecker) error {
			id, err := w.subnet("ControlPlaneSubnet1")
			return errors.Join(err, subnetGroup(w, id))
		}},
		{check: "database-encrypted", name: "not at all", by: database(func(r *account.Resource) { r.Data["encrypted"] = false })},
		{check: "database-encrypted", name: "with another key", also: []string{"database-snapshots-encrypted"}, by: func(w *wrecker) error {
			return w.change("AWS::RDS::DBInstance", logical("Database"), func(tx *account.Tx, r *account.Resource) {
				r.Data["key"] = tx.Find("AWS::KMS::Key", logical("LogsKey")).Attrs["Arn"]
			})
		}},
		{check: "database-insights", by: modify(func(in *rds.ModifyDBInstanceInput) { in.EnablePerformanceInsights = aws.Bool(false) })},
		{check: "database-insights-encrypted", by: database(func(r *account.Resource) { delete(r.Props, "PerformanceInsightsKMSKeyId") })},
		{check: "database-tls-forced", by: setting("rds.force_ssl", "0")},
		{check: "database-tls-version", by: setting("ssl_min_protocol_version", "TLSv1")},
		{check: "database-passwords", by: setting("rds.accepted_password_auth_method", "md5+scram")},
		{check: "database-connections-logged", by: setting("log_connections", "0")},
		{check: "database-settings-in-force", name: "setting", by: setting("max_connections", "100")},
		{
			check: "database-settings-in-force", name: "another group", also: []string{"database-connections-logged", "database-passwords"},
			by: modify(func(in *rds.ModifyDBInstanceInput) { in.DBParameterGroupName = aws.String("default.postgres17") }),
		},
		{check: "database-multi-az", by: modify(func(in *rds.ModifyDBInstanceInput) { in.MultiAZ = aws.Bool(false) })},
		{check: "database-zone-near-nodes", example: "evaluation", by: database(func(r *account.Resource) { r.Data["zone"] = "us-east-1f" })},
		{check: "database-backups", name: "fewer", by: modify(func(in *rds.ModifyDBInstanceInput) { in.BackupRetentionPeriod = aws.Int32(1) })},
		{check: "database-backups", name: "none", by: modify(func(in *rds.ModifyDBInstanceInput) { in.BackupRetentionPeriod = aws.Int32(0) })},
		{check: "database-backup-window", by: modify(func(in *rds.ModifyDBInstanceInput) { in.PreferredBackupWindow = aws.String("12:00-13:00") })},
		{check: "database-restorable", by: func(w *wrecker) error {
			return w.change("AWS::RDS::DBInstance", logical("Database"), func(tx *account.Tx, r *account.Resource) { r.Data["archivedUntil"] = tx.Now().Add(-2 * time.Hour) })
		}},
		{check: "database-deletion-protection", by: modify(func(in *rds.ModifyDBInstanceInput) { in.DeletionProtection = aws.Bool(false) })},
		{check: "database-master-secret", by: modify(func(in *rds.ModifyDBInstanceInput) {
			in.ManageMasterUserPassword, in.MasterUserPassword = aws.Bool(false), aws.String("known-to-a-colleague")
		})},
		{check: "database-master-secret-encrypted", by: database(func(r *account.Resource) { r.Data["secretKey"] = "" })},
		{check: "database-master-rotation", name: "off", by: func(w *wrecker) error {
			return w.change("AWS::SecretsManager::Secret", master, func(_ *account.Tx, r *account.Resource) { delete(r.Data, "rotationDays") })
		}},
		{check: "database-master-rotation", name: "overdue", by: func(w *wrecker) error {
			return w.change("AWS::SecretsManager::Secret", master, func(_ *account.Tx, r *account.Resource) { r.Created = r.Created.AddDate(0, 0, -30) })
		}},
		{check: "database-certificate", name: "authority", by: database(func(r *account.Resource) { r.Props["CACertificateIdentifier"] = "rds-ca-2019" })},
		{check: "database-certificate", name: "ends", by: func(w *wrecker) error {
			return w.change("AWS::RDS::DBInstance", logical("Database"), func(tx *account.Tx, r *account.Resource) {
				r.Attrs["CertificateDetails.ValidTill"] = tx.Now().AddDate(0, 0, 3).UTC().Format(time.RFC3339)
			})
		}},
		{check: "database-logs", by: modify(func(in *rds.ModifyDBInstanceInput) {
			in.CloudwatchLogsExportConfiguration = &types.CloudwatchLogsExportConfiguration{DisableLogTypes: []string{"postgresql"}}
		})},
		{check: "database-monitoring", by: modify(func(in *rds.ModifyDBInstanceInput) {
			in.MonitoringInterval, in.MonitoringRoleArn = aws.Int32(0), aws.String("")
		})},
		{check: "database-minor-upgrades", by: modify(func(in *rds.ModifyDBInstanceInput) { in.AutoMinorVersionUpgrade = aws.Bool(false) })},
		{check: "database-tags-on-snapshots", by: modify(func(in *rds.ModifyDBInstanceInput) { in.CopyTagsToSnapshot = aws.Bool(false) })},
		{check: "database-iam", by: modify(func(in *rds.ModifyDBInstanceInput) { in.EnableIAMDatabaseAuthentication = aws.Bool(false) })},
		{check: "database-snapshots-encrypted", name: "not at all", by: snapshot(func(r *account.Resource) { r.Data["encrypted"] = false })},
		{check: "database-snapshots-encrypted", name: "with another key", by: snapshot(func(r *account.Resource) { r.Data["key"] = "arn:aws:kms:us-east-1:999999999999:key/other" })},
		{check: "database-snapshots-private", name: "shared", by: share("999999999999")},
		{check: "database-snapshots-private", name: "public", also: []string{"database-snapshots-encrypted"}, by: func(w *wrecker) error {
			// RDS makes only those public that are not encrypted.
			if err := share(w.account())(w); err != nil {
				return err
			}
			if err := w.change("rds:snapshot", isCopy, func(_ *account.Tx, r *account.Resource) { r.Data["encrypted"] = false }); err != nil {
				return err
			}
			_, err := w.aws.RDS.ModifyDBSnapshotAttribute(w.ctx, &rds.ModifyDBSnapshotAttributeInput{
				DBSnapshotIdentifier: aws.String("copy"), AttributeName: aws.String("restore"), ValuesToAdd: []string{"all"},
			})
			return err
		}},
	}
}

// master chooses the secret that RDS keeps.
func master(r *account.Resource) bool { return r.Owner == "rds.amazonaws.com" }

// account is the number of the account.
func (w *wrecker) account() string {
	var id string
	_ = w.box.Account().Do(func(tx *account.Tx) error {
		id = tx.AccountID()
		return nil
	})
	return id
}

// bucket is the name of a bucket.
func (w *wrecker) bucket(p architecture.BucketPurpose) *string {
	var name string
	_ = w.box.Account().Do(func(tx *account.Tx) error {
		if r := tx.Find("AWS::S3::Bucket", logical(bucketIDs[p])); r != nil {
			name = r.ID
		}
		return nil
	})
	return &name
}

// bucketIDs are the buckets' names in the template.
var bucketIDs = map[architecture.BucketPurpose]string{
	architecture.BucketModels: "ModelsBucket", architecture.BucketCodeDocs: "CodeDocsBucket", architecture.BucketAudit: "AuditBucket",
	architecture.BucketTelemetry: "TelemetryBucket", architecture.BucketLogs: "LogsBucket",
}
