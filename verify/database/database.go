// Package database has the checks of PostgreSQL on RDS: the instance, its settings, secret and
// snapshots.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: nothing connects to the database.
package database

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// databaseFacts are what the database is.
type databaseFacts struct {
	settingsFact  account.Fact[map[string]string]
	snapshotsFact account.Fact[[]types.DBSnapshot]
	sharesFact    account.Keyed[[]string]
	masterFact    account.Fact[*secretsmanager.DescribeSecretOutput]
}

// databaseSettings are the parameters of the groups that the database uses, by
// name; those without a value are left out.
func databaseSettings(l *account.Look, db *types.DBInstance) (map[string]string, error) {
	return account.Facts[databaseFacts](l).settingsFact.Get(func() (map[string]string, error) {
		found := map[string]string{}
		for _, g := range db.DBParameterGroups {
			pages := rds.NewDescribeDBParametersPaginator(l.AWS.RDS, &rds.DescribeDBParametersInput{DBParameterGroupName: g.DBParameterGroupName})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.Ctx)
				if err != nil {
					return nil, fmt.Errorf("read parameter group %s: %w", aws.ToString(g.DBParameterGroupName), err)
				}
				for _, p := range page.Parameters {
					if p.ParameterValue != nil {
						found[aws.ToString(p.ParameterName)] = *p.ParameterValue
					}
				}
			}
		}
		return found, nil
	})
}

// snapshots are the automated and manual snapshots of the database.
func snapshots(l *account.Look) ([]types.DBSnapshot, error) {
	return account.Facts[databaseFacts](l).snapshotsFact.Get(func() ([]types.DBSnapshot, error) {
		var found []types.DBSnapshot
		pages := rds.NewDescribeDBSnapshotsPaginator(l.AWS.RDS, &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: aws.String(l.Arch.DatabaseName())})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the snapshots of the database: %w", err)
			}
			found = append(found, page.DBSnapshots...)
		}
		return found, nil
	})
}

// snapshotShares are the accounts that may restore a manual snapshot, or "all".
func snapshotShares(l *account.Look, id string) ([]string, error) {
	return account.Facts[databaseFacts](l).sharesFact.Get(id, func() ([]string, error) {
		out, err := l.AWS.RDS.DescribeDBSnapshotAttributes(l.Ctx, &rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: &id})
		if err != nil {
			return nil, fmt.Errorf("look who may restore snapshot %s: %w", id, err)
		}
		for _, a := range out.DBSnapshotAttributesResult.DBSnapshotAttributes {
			if aws.ToString(a.AttributeName) == "restore" {
				return a.AttributeValues, nil
			}
		}
		return nil, nil
	})
}

// masterSecret is what Secrets Manager says of the server's master secret,
// without its value; nil where there is none.
func masterSecret(l *account.Look, db *types.DBInstance) (*secretsmanager.DescribeSecretOutput, error) {
	return account.Facts[databaseFacts](l).masterFact.Get(func() (*secretsmanager.DescribeSecretOutput, error) {
		if db.MasterUserSecret == nil {
			return nil, nil
		}
		out, err := account.OrNone(l.AWS.SecretsManager.DescribeSecret(l.Ctx, &secretsmanager.DescribeSecretInput{SecretId: db.MasterUserSecret.SecretArn}))
		if err != nil {
			return nil, fmt.Errorf("look up the master secret: %w", err)
		}
		return out, nil
	})
}

// coreZones are the names of the zones that core nodes can be in.
func coreZones(l *account.Look) ([]string, error) {
	groups, err := l.NodeGroups()
	if err != nil {
		return nil, err
	}
	subnets, err := l.SubnetsByID()
	if err != nil {
		return nil, err
	}
	zones := map[string]bool{}
	for _, g := range groups {
		if !slices.Contains(g.Roles, config.Core) {
			continue
		}
		for _, id := range g.Subnets {
			if s, ok := subnets[id]; ok {
				zones[aws.ToString(s.AvailabilityZone)] = true
			}
		}
	}
	return account.SortedKeys(zones), nil
}

const (
	seeDatabase   = "rds:DescribeDBInstances"
	seeParameters = "rds:DescribeDBParameters"
	seeSnapshots  = "rds:DescribeDBSnapshots"
)

// databaseFlag is a check of one attribute: ok, what was seen and wanted, and the
// flags of "aws rds modify-db-instance" that put it right.
func databaseFlag(f func(l *account.Look, db *types.DBInstance) (ok bool, saw, want, flags string)) func(*account.Look, *check.Recorder) error {
	return check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
		ok, saw, want, flags := f(l, db)
		r.Saw(ok, aws.ToString(db.DBInstanceArn), saw, seeDatabase, want, modifyDatabase(l, flags))
		return nil
	})
}

// modifyDatabase is a command that changes the instance at once.
func modifyDatabase(l *account.Look, flags string) string {
	return fmt.Sprintf("aws rds modify-db-instance --region %s --db-instance-identifier %s --apply-immediately %s", l.AWS.Region, l.Arch.DatabaseName(), flags)
}

// Checks are the checks of PostgreSQL, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "database-there", Level: check.Required, Rows: []string{"C12"},
			Proves: "There is a PostgreSQL instance of the deployment, and it serves.",
			Run:    databaseThere,
		},
		{
			ID: "database-version", Level: check.Required, Rows: []string{"C12"},
			Proves: "PostgreSQL has the configured version, or a newer one.",
			Run: databaseFlag(func(l *account.Look, db *types.DBInstance) (bool, string, string, string) {
				want := l.Arch.Config.Database.Version
				return atLeast(aws.ToString(db.EngineVersion), want), "PostgreSQL " + aws.ToString(db.EngineVersion), "PostgreSQL " + want + " or newer", "--allow-major-version-upgrade --engine-version " + want
			}),
		},
		{
			ID: "database-class", Level: check.Advised, Rows: []string{"S10"},
			Proves: "The instance has the configured size.",
			Run: databaseFlag(func(l *account.Look, db *types.DBInstance) (bool, string, string, string) {
				want := l.Arch.Config.Database.InstanceClass
				return aws.ToString(db.DBInstanceClass) == want, aws.ToString(db.DBInstanceClass), want, "--db-instance-class " + want
			}),
		},
		{
			ID: "database-storage-grows", Level: check.Advised, Rows: []string{"S10"},
			Proves: "Storage grows by itself as far as configured before it is full.",
			Run:    databaseGrows,
		},
		{
			ID: "database-private", Level: check.Required, Rows: []string{"S1", "B29"},
			Proves: "The instance has no public address.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				open := aws.ToBool(db.PubliclyAccessible)
				return !open, "public access " + check.YesNo(open), "public access off", "--no-publicly-accessible"
			}),
		},
		{
			ID: "database-subnets", Level: check.Required, Rows: []string{"S1", "B29"},
			Proves: "The database can only be placed in private subnets, of two zones at least.",
			Run:    check.OnDatabase(databaseSubnets),
		},
		{
			ID: "database-encrypted", Level: check.Required, Rows: []string{"S4", "B7"},
			Proves: "The database's storage is encrypted with the database key.",
			Run:    check.OnDatabase(databaseEncrypted),
		},
		{
			ID: "database-insights", Level: check.Advised, Rows: []string{"S10"},
			Proves: "Performance Insights keeps what the load of the database was.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				on := aws.ToBool(db.PerformanceInsightsEnabled)
				return on, "Performance Insights " + check.YesNo(on), "on", "--enable-performance-insights"
			}),
		},
		{
			ID: "database-insights-encrypted", Level: check.Required, Rows: []string{"S4", "B7"},
			Proves: "What Performance Insights keeps is encrypted with the database key.",
			Run: check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
				if !aws.ToBool(db.PerformanceInsightsEnabled) {
					r.NA("Performance Insights is off, as database-insights says")
					return nil
				}
				return check.SawKey(l, r, aws.ToString(db.DBInstanceArn), aws.ToString(db.PerformanceInsightsKMSKeyId), seeDatabase, architecture.KeyDatabase,
					"switch Performance Insights off, which drops what it keeps, and on again with the key")
			}),
		},
		{
			ID: "database-tls-forced", Level: check.Required, Rows: []string{"S5", "B20"},
			Proves: "PostgreSQL refuses connections that are not TLS.",
			Run: databaseSetting("rds.force_ssl", "1", func(v string) bool {
				return v == "1" || v == "on"
			}),
		},
		{
			ID: "database-tls-version", Level: check.Required, Rows: []string{"S5"},
			Proves: "PostgreSQL refuses TLS older than 1.2.",
			Run: databaseSetting("ssl_min_protocol_version", "TLSv1.2", func(v string) bool {
				return v == "TLSv1.2" || v == "TLSv1.3"
			}),
		},
		{
			ID: "database-passwords", Level: check.Required, Rows: []string{"S6"},
			Proves: "PostgreSQL takes passwords by SCRAM only.",
			Run: databaseSetting("rds.accepted_password_auth_method", "scram", func(v string) bool {
				return v == "scram"
			}),
		},
		{
			ID: "database-connections-logged", Level: check.Advised, Rows: []string{"B44"},
			Proves: "PostgreSQL logs who connects.",
			Run: databaseSetting("log_connections", "1", func(v string) bool {
				// A list of aspects since PostgreSQL 18.
				return v != "" && v != "0" && v != "off" && v != "false"
			}),
		},
		{
			ID: "database-settings-in-force", Level: check.Required, Rows: []string{"S5", "S10"},
			Proves: "No setting of the database waits for a restart.",
			Run:    check.OnDatabase(databaseInSync),
		},
		{
			ID: "database-multi-az", Level: check.Required, Rows: []string{"S8"},
			Proves: "A standby of the database runs in another zone, if configured.",
			Run:    databaseStandby,
		},
		{
			ID: "database-zone-near-nodes", Level: check.Required, Rows: []string{"S10"},
			Proves: "The database is in a zone that core nodes are in.",
			Run:    check.OnDatabase(databaseNear),
		},
		{
			ID: "database-backups", Level: check.Required, Rows: []string{"C12"},
			Proves: "RDS keeps daily backups for as many days as configured.",
			Run: databaseFlag(func(l *account.Look, db *types.DBInstance) (bool, string, string, string) {
				want, have := l.Arch.Config.Database.BackupDays, int(aws.ToInt32(db.BackupRetentionPeriod))
				return have >= want, fmt.Sprintf("kept for %d days", have), fmt.Sprintf("kept for %d days", want), fmt.Sprintf("--backup-retention-period %d", want)
			}),
		},
		{
			ID: "database-backup-window", Level: check.Advised, Rows: []string{"C12"},
			Proves: "Backups and maintenance take place when they are configured to.",
			Run: databaseFlag(func(l *account.Look, db *types.DBInstance) (bool, string, string, string) {
				c := l.Arch.Config.Database
				backup, maintenance := aws.ToString(db.PreferredBackupWindow), aws.ToString(db.PreferredMaintenanceWindow)
				return backup == c.BackupWindow && strings.EqualFold(maintenance, c.MaintenanceWindow),
					"backups " + backup + ", maintenance " + maintenance, "backups " + c.BackupWindow + ", maintenance " + c.MaintenanceWindow,
					"--preferred-backup-window " + c.BackupWindow + " --preferred-maintenance-window " + c.MaintenanceWindow
			}),
		},
		{
			ID: "database-restorable", Level: check.Required, Rows: []string{"C12"},
			Proves: "The database can be restored to a point in the last hour.",
			Run:    check.OnDatabase(databaseRestorable),
		},
		{
			ID: "database-deletion-protection", Level: check.Required, Rows: []string{"B48"},
			Proves: "RDS refuses to delete the database, if configured.",
			Run: check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
				if !l.Arch.Config.Database.DeletionProtection {
					r.NA("database.deletionProtection is off")
					return nil
				}
				on := aws.ToBool(db.DeletionProtection)
				r.Saw(on, aws.ToString(db.DBInstanceArn), "deletion protection "+check.YesNo(on), seeDatabase, "on", modifyDatabase(l, "--deletion-protection"))
				return nil
			}),
		},
		{
			ID: "database-master-secret", Level: check.Required, Rows: []string{"B43"},
			Proves: "RDS keeps the server's master password in Secrets Manager.",
			Run:    databaseFlag(databaseMaster),
		},
		{
			ID: "database-master-secret-encrypted", Level: check.Required, Rows: []string{"S4", "B10"},
			Proves: "The master secret is encrypted with the secrets key.",
			Run: check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
				if db.MasterUserSecret == nil {
					r.NA("there is no master secret, as database-master-secret says")
					return nil
				}
				return check.SawKey(l, r, aws.ToString(db.MasterUserSecret.SecretArn), aws.ToString(db.MasterUserSecret.KmsKeyId), seeDatabase, architecture.KeySecrets,
					modifyDatabase(l, "--manage-master-user-password --master-user-secret-kms-key-id "+l.Arch.KeyAlias(architecture.KeySecrets)))
			}),
		},
		{
			ID: "database-master-rotation", Level: check.Required, Rows: []string{"B43"},
			Proves: "The master password is rotated, and no rotation is overdue.",
			Run:    check.OnDatabase(databaseRotation),
		},
		{
			ID: "database-certificate", Level: check.Required, Rows: []string{"S5"},
			Proves: "The server's certificate is valid for two weeks more, from an authority that clients still trust.",
			Run:    check.OnDatabase(databaseCertificate),
		},
		{
			ID: "database-logs", Level: check.Required, Rows: []string{"B44"},
			Proves: "PostgreSQL's logs go to CloudWatch Logs.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				want := []string{"postgresql", "upgrade"}
				ok := !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(db.EnabledCloudwatchLogsExports, s) })
				return ok, "logs " + check.Listed(db.EnabledCloudwatchLogsExports), "logs " + check.Listed(want), `--cloudwatch-logs-export-configuration '{"EnableLogTypes":["postgresql","upgrade"]}'`
			}),
		},
		{
			ID: "database-monitoring", Level: check.Advised, Rows: []string{"S10"},
			Proves: "Enhanced monitoring samples the server as often as configured.",
			Run: check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
				want, have := l.Arch.Config.Database.MonitoringSeconds, int(aws.ToInt32(db.MonitoringInterval))
				if want == 0 {
					r.NA("database.monitoringSeconds is 0")
					return nil
				}
				r.Saw(have > 0 && have <= want, aws.ToString(db.DBInstanceArn), fmt.Sprintf("every %d seconds (0 is never)", have), seeDatabase, fmt.Sprintf("every %d seconds", want),
					modifyDatabase(l, fmt.Sprintf("--monitoring-interval %d --monitoring-role-arn ROLE, the role %s", want, l.Arch.RoleName("database-monitoring"))))
				return nil
			}),
		},
		{
			ID: "database-minor-upgrades", Level: check.Advised, Rows: []string{"C12"},
			Proves: "RDS installs minor versions, which fix security, in maintenance windows.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				on := aws.ToBool(db.AutoMinorVersionUpgrade)
				return on, "minor upgrades " + check.YesNo(on), "on", "--auto-minor-version-upgrade"
			}),
		},
		{
			ID: "database-tags-on-snapshots", Level: check.Advised, Rows: []string{"C12"},
			Proves: "Snapshots carry the database's tags, so that it is known whose they are.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				on := aws.ToBool(db.CopyTagsToSnapshot)
				return on, "copying tags " + check.YesNo(on), "on", "--copy-tags-to-snapshot"
			}),
		},
		{
			ID: "database-iam", Level: check.Advised, Rows: []string{"S6"},
			Proves: "People can sign in to PostgreSQL with IAM instead of a password.",
			Run: databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
				on := aws.ToBool(db.IAMDatabaseAuthenticationEnabled)
				return on, "sign-in with IAM " + check.YesNo(on), "on", "--enable-iam-database-authentication"
			}),
		},
		{
			ID: "database-snapshots-encrypted", Level: check.Required, Rows: []string{"S4", "B7"},
			Proves: "Every snapshot of the database is encrypted with the database's key.",
			Run:    check.OnDatabase(snapshotsEncrypted),
		},
		{
			ID: "database-snapshots-private", Level: check.Required, Rows: []string{"S6"},
			Proves: "No other account may restore a snapshot of the database.",
			Run:    check.OnDatabase(snapshotsPrivate),
		},
	}
}

// serving are the states in which an instance answers, or does again within
// minutes.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
var serving = []string{
	"available", "backing-up", "configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports",
	"maintenance", "modifying", "rebooting", "renaming", "resetting-master-credentials", "storage-config-upgrade",
	"storage-initialization", "storage-optimization", "upgrading",
}

func databaseThere(l *account.Look, r *check.Recorder) error {
	db, err := l.Database()
	if err != nil {
		return err
	}
	if db == nil {
		r.Missing(l.Arch.DatabaseName(), seeDatabase, "restore it under the same name from a snapshot (aws rds describe-db-snapshots) or from a retained backup (aws rds describe-db-instance-automated-backups)")
		return nil
	}
	engine, status := aws.ToString(db.Engine), aws.ToString(db.DBInstanceStatus)
	r.Saw(engine == "postgres" && slices.Contains(serving, status), aws.ToString(db.DBInstanceArn), engine+", "+status, seeDatabase,
		"postgres, available", "look at aws rds describe-events --source-type db-instance --source-identifier "+l.Arch.DatabaseName()+", and start it if it was stopped")
	return nil
}

// atLeast compares versions by their numbers: "17.6" is at least "17".
func atLeast(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for i := range w {
		if i >= len(h) {
			return false
		}
		a, err := strconv.Atoi(h[i])
		b, err2 := strconv.Atoi(w[i])
		if err != nil || err2 != nil || a != b {
			return err == nil && err2 == nil && a > b
		}
	}
	return true
}

func databaseGrows(l *account.Look, r *check.Recorder) error {
	c := l.Arch.Config.Database
	if c.MaxStorageGiB <= c.StorageGiB {
		r.NA("database.maxStorageGiB is what it has")
		return nil
	}
	return databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
		limit, have := int(aws.ToInt32(db.MaxAllocatedStorage)), int(aws.ToInt32(db.AllocatedStorage))
		saw := fmt.Sprintf("%d GiB, which do not grow", have)
		if limit > 0 {
			saw = fmt.Sprintf("%d GiB, which grow to %d", have, limit)
		}
		// Storage that has reached its limit needs no other.
		return limit >= c.MaxStorageGiB || have >= c.MaxStorageGiB, saw, fmt.Sprintf("growing to %d GiB", c.MaxStorageGiB), fmt.Sprintf("--max-allocated-storage %d", c.MaxStorageGiB)
	})(l, r)
}

// databaseSubnets holds the subnet group to the private subnets.
func databaseSubnets(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	if db.DBSubnetGroup == nil {
		r.Missing(aws.ToString(db.DBInstanceArn), seeDatabase, "an instance outside of a VPC can't be moved into one: restore a snapshot")
		return nil
	}
	group := aws.ToString(db.DBSubnetGroup.DBSubnetGroupName)
	var ids []string
	zones := map[string]bool{}
	for _, s := range db.DBSubnetGroup.Subnets {
		ids = append(ids, aws.ToString(s.SubnetIdentifier))
		if s.SubnetAvailabilityZone != nil {
			zones[aws.ToString(s.SubnetAvailabilityZone.Name)] = true
		}
	}
	fix := "aws rds modify-db-subnet-group --db-subnet-group-name " + group + " --subnet-ids with the private subnets only"
	r.Saw(len(zones) >= 2, group, "zones "+check.Listed(account.SortedKeys(zones)), seeDatabase, "two zones or more", fix)
	p, err := l.Places()
	if err != nil {
		return err
	}
	for _, id := range ids {
		saw, ok := p.Describe(id, architecture.Private)
		r.Saw(ok, id, saw, seeDatabase+", ec2:DescribeSubnets", "a private subnet", fix)
	}
	return nil
}

func databaseEncrypted(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	arn := aws.ToString(db.DBInstanceArn)
	const fix = "storage can't be encrypted in place: copy a snapshot with the key, restore it, and let the application use that"
	if !aws.ToBool(db.StorageEncrypted) {
		r.Saw(false, arn, "not encrypted", seeDatabase, "encrypted with "+l.Arch.KeyAlias(architecture.KeyDatabase), fix)
		return nil
	}
	if snapshot := l.Arch.Config.Database.Snapshot; snapshot != "" {
		// A snapshot brings its key, which no configuration can name.
		key, err := l.Key(aws.ToString(db.KmsKeyId))
		if err != nil {
			return err
		}
		ours := key != nil && key.KeyManager == "CUSTOMER"
		r.Saw(ours, arn, "encrypted with "+aws.ToString(db.KmsKeyId)+", the key of snapshot "+snapshot, seeDatabase, "a key of the customer's", fix)
		return nil
	}
	return check.SawKey(l, r, arn, aws.ToString(db.KmsKeyId), seeDatabase, architecture.KeyDatabase, fix)
}

// databaseSetting is a check of a parameter in the group in use. Whether the
// group is in force is a check of its own, database-settings-in-force.
func databaseSetting(name, want string, good func(string) bool) func(*account.Look, *check.Recorder) error {
	return check.OnDatabase(func(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
		settings, err := databaseSettings(l, db)
		if err != nil {
			return err
		}
		var groups []string
		for _, g := range db.DBParameterGroups {
			groups = append(groups, aws.ToString(g.DBParameterGroupName))
		}
		value, ok := settings[name]
		if !ok {
			value = "not set"
		}
		r.Saw(good(settings[name]), "parameter group "+check.Listed(groups), name+" = "+value, seeParameters, name+" = "+want,
			fmt.Sprintf("aws rds modify-db-parameter-group --db-parameter-group-name %s --parameters ParameterName=%s,ParameterValue=%s,ApplyMethod=immediate; the deployment's own group, if this is another one, is the one with its tags", check.Listed(groups), name, want))
		return nil
	})
}

func databaseInSync(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	for _, g := range db.DBParameterGroups {
		status := aws.ToString(g.ParameterApplyStatus)
		r.Saw(status == "in-sync" || status == "applying", "parameter group "+aws.ToString(g.DBParameterGroupName), status, seeDatabase, "in-sync",
			"restart the database at a quiet time: aws rds reboot-db-instance --db-instance-identifier "+l.Arch.DatabaseName()+"; with a standby, --force-failover keeps it short")
	}
	return nil
}

func databaseStandby(l *account.Look, r *check.Recorder) error {
	if !l.Arch.Config.Database.MultiAZ {
		r.NA("database.multiAz is off")
		return nil
	}
	return databaseFlag(func(_ *account.Look, db *types.DBInstance) (bool, string, string, string) {
		zone, standby := aws.ToString(db.AvailabilityZone), aws.ToString(db.SecondaryAvailabilityZone)
		on := aws.ToBool(db.MultiAZ)
		saw := "one instance, in " + zone
		if on {
			saw = "in " + zone + " with a standby in " + standby
		}
		return on && standby != zone, saw, "with a standby in another zone", "--multi-az"
	})(l, r)
}

func databaseNear(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	zones, err := coreZones(l)
	if err != nil {
		return err
	}
	if len(zones) == 0 {
		r.NA("there are no core nodes")
		return nil
	}
	for _, zone := range []*string{db.AvailabilityZone, db.SecondaryAvailabilityZone} {
		if zone == nil {
			continue
		}
		r.Saw(slices.Contains(zones, *zone), aws.ToString(db.DBInstanceArn), "in "+*zone+"; core nodes in "+check.Listed(zones), seeDatabase, "a zone of core nodes",
			"give core nodes that zone, or move the database: switch the standby on, which another zone gets, and fail over to it")
	}
	return nil
}

// What RDS can restore to lags minutes behind: it saves the log every five.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIT.html
const restoreLag = time.Hour

func databaseRestorable(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	now, arn := l.AWS.Clock.Now(), aws.ToString(db.DBInstanceArn)
	const fix = "look at aws rds describe-events for failed backups or full storage; automated backups must be on"
	switch latest := db.LatestRestorableTime; {
	case latest != nil:
		age := now.Sub(*latest)
		r.Saw(age <= restoreLag, arn, fmt.Sprintf("restorable up to %s, %s ago", latest.UTC().Format(time.RFC3339), age.Round(time.Minute)), seeDatabase, "less than an hour ago", fix)
	case aws.ToInt32(db.BackupRetentionPeriod) == 0:
		r.NA("there are no automated backups, as database-backups says")
	case db.InstanceCreateTime == nil || now.Sub(*db.InstanceCreateTime) <= restoreLag:
		r.NA("the database is so new that its first backup is not complete")
	default:
		r.Saw(false, arn, "no point to restore to", seeDatabase, "one less than an hour ago", fix)
	}
	return nil
}

func databaseMaster(_ *account.Look, db *types.DBInstance) (ok bool, saw, want, flags string) {
	want, flags = "kept by RDS in Secrets Manager, active", "--manage-master-user-password"
	if db.MasterUserSecret == nil {
		return false, "a password that RDS does not keep", want, flags
	}
	// A secret is on its way from one state to the other for minutes.
	status := aws.ToString(db.MasterUserSecret.SecretStatus)
	return slices.Contains([]string{"active", "creating", "rotating"}, status), "a secret, " + status, want, flags + " --rotate-master-user-password"
}

func databaseRotation(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	if db.MasterUserSecret == nil {
		r.NA("there is no master secret, as database-master-secret says")
		return nil
	}
	secret, err := masterSecret(l, db)
	if err != nil {
		return err
	}
	const api = "secretsmanager:DescribeSecret"
	arn := aws.ToString(db.MasterUserSecret.SecretArn)
	fix := modifyDatabase(l, "--rotate-master-user-password")
	if secret == nil {
		r.Missing(arn, api, fix)
		return nil
	}
	if !aws.ToBool(secret.RotationEnabled) {
		r.Saw(false, arn, "rotation off", api, "rotation on", "aws secretsmanager rotate-secret --secret-id "+arn+" --rotation-rules AutomaticallyAfterDays=7")
		return nil
	}
	saw := "rotation on"
	late := false
	if next := secret.NextRotationDate; next != nil {
		saw += ", next " + next.UTC().Format(time.DateOnly)
		// Rotation starts within its window of a day.
		late = l.AWS.Clock.Now().Sub(*next) > 48*time.Hour
	}
	r.Saw(!late, arn, saw, api, "a next rotation that is not overdue", fix)
	return nil
}

// certificateLeft is how long before its end RDS has long replaced a server's
// certificate by itself.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL-certificate-rotation.html
const certificateLeft = 14 * 24 * time.Hour

func databaseCertificate(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	authority := aws.ToString(db.CACertificateIdentifier)
	saw, ok := authority, authority != "rds-ca-2019" && authority != "rds-ca-2015"
	if d := db.CertificateDetails; d != nil && d.ValidTill != nil {
		saw += ", valid until " + d.ValidTill.UTC().Format(time.DateOnly)
		ok = ok && d.ValidTill.Sub(l.AWS.Clock.Now()) > certificateLeft
	}
	r.Saw(ok, aws.ToString(db.DBInstanceArn), saw, seeDatabase, architecture.DatabaseAuthority+" or newer, valid for two weeks",
		modifyDatabase(l, "--ca-certificate-identifier "+architecture.DatabaseAuthority+", once the clients trust it"))
	return nil
}

func snapshotsEncrypted(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	all, err := snapshots(l)
	if err != nil {
		return err
	}
	key := aws.ToString(db.KmsKeyId)
	good, others := 0, 0
	for _, s := range all {
		// An earlier database of the name had a key of its own.
		if s.DbiResourceId != nil && aws.ToString(s.DbiResourceId) != aws.ToString(db.DbiResourceId) {
			others++
			continue
		}
		if aws.ToBool(s.Encrypted) && (aws.ToString(s.KmsKeyId) == key || !aws.ToBool(db.StorageEncrypted)) {
			good++
			continue
		}
		saw := "not encrypted"
		if aws.ToBool(s.Encrypted) {
			saw = "encrypted with " + aws.ToString(s.KmsKeyId)
		}
		id := aws.ToString(s.DBSnapshotIdentifier)
		r.Saw(false, aws.ToString(s.DBSnapshotArn), saw, seeSnapshots, "encrypted with "+key,
			"copy it with the key (aws rds copy-db-snapshot --kms-key-id "+key+") and delete it: aws rds delete-db-snapshot --db-snapshot-identifier "+id)
	}
	if good > 0 || len(all) == others {
		r.Saw(true, aws.ToString(db.DBInstanceArn), fmt.Sprintf("%d snapshots encrypted with the database's key", good), seeSnapshots, "", "")
	}
	return nil
}

func snapshotsPrivate(l *account.Look, r *check.Recorder, db *types.DBInstance) error {
	all, err := snapshots(l)
	if err != nil {
		return err
	}
	manual := 0
	for _, s := range all {
		// Others can't be shared.
		if aws.ToString(s.SnapshotType) != "manual" {
			continue
		}
		manual++
		id := aws.ToString(s.DBSnapshotIdentifier)
		shares, err := snapshotShares(l, id)
		if err != nil {
			return err
		}
		shares = slices.DeleteFunc(slices.Clone(shares), func(a string) bool { return a == l.ID.Account })
		for _, a := range shares {
			r.Saw(false, aws.ToString(s.DBSnapshotArn), "restorable by "+a, "rds:DescribeDBSnapshotAttributes", "by this account only",
				fmt.Sprintf("aws rds modify-db-snapshot-attribute --db-snapshot-identifier %s --attribute-name restore --values-to-remove %s; if it is shared on purpose, skip this check with the reason", id, a))
		}
	}
	r.Saw(true, aws.ToString(db.DBInstanceArn), fmt.Sprintf("%d manual snapshots, who may restore them was asked", manual), "rds:DescribeDBSnapshotAttributes", "", "")
	return nil
}
