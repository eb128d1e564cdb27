package rds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func instanceType() *account.Type {
	return &account.Type{
		Name: TypeInstance, Latency: "rds:instance",
		Row: func(r *account.Resource, op string) string {
			switch {
			case op == "create" && props.Bool(r.Props, false, "MultiAZ"):
				return "rds:instance-multiaz/create"
			case op == "create":
				return "rds:instance-single/create"
			case op == "delete" && props.Has(r.Data, "finalSnapshot"):
				return "rds:instance/delete-snap"
			case op == "delete":
				return "rds:instance/delete-nosnap"
			}
			return "rds:instance/" + props.Str(r.Data, "change")
		},
		Create: createInstance,
		Update: updateInstance,
		Settle: settleInstance,
		Delete: deleteInstance,
		Gone:   instanceGone,
		// What waits for the maintenance window isn't there yet.
		Read: func(_ *account.Tx, r *account.Resource) map[string]any { return effective(r) },
	}
}

// restoreExcludes can't be given together with a snapshot, which brings them.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
var restoreExcludes = []string{"CharacterSetName", "DBClusterIdentifier", "DBName", "KmsKeyId", "MasterUsername", "MasterUserPassword", "PromotionTier", "SourceRegion", "Timezone"}

func createInstance(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	id := strings.ToLower(props.Str(p, "DBInstanceIdentifier"))
	if id == "" {
		id = strings.ToLower(tx.Name(r, 63))
	}
	if !identifier(id) {
		return value("The parameter DBInstanceIdentifier is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.")
	}
	if tx.Get(TypeInstance, id) != nil {
		return account.Errorf("DBInstanceAlreadyExists", "DB instance already exists")
	}
	facts, err := origin(tx, p)
	if err != nil {
		return err
	}
	version := props.Str(facts, "version")
	if err := checkInstance(tx, id, p, version); err != nil {
		return err
	}
	iam.EnsureServiceLinkedRole(tx, service)
	group := tx.Get(TypeSubnetGroup, strings.ToLower(props.Str(p, "DBSubnetGroupName")))
	hex := strings.ToUpper(tx.HexID(26))
	arn := tx.ARN("rds", "db:"+id)
	r.ID, r.Status, r.Tags = id, "creating", props.Tags(p, "Tags")
	r.Attrs = map[string]any{
		"DBInstanceArn": arn, "DbiResourceId": "db-" + hex,
		"Endpoint.Address": id + "." + Domain(tx),
		"Endpoint.Port":    fmt.Sprint(props.Int(p, 5432, "Port")), "Endpoint.HostedZoneId": hostedZones[tx.Region()],
		"CertificateDetails.CAIdentifier": authority(p), "CertificateDetails.ValidTill": tx.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339),
	}
	r.Data = map[string]any{"vpc": props.Str(group.Data, "vpc"), "parameters": "in-sync"}
	for k, v := range facts {
		r.Data[k] = v
	}
	zone := props.Str(p, "AvailabilityZone")
	if zone == "" {
		zone = standing(tx, groupZones(tx, group))
	}
	if tx.Lost(zone) {
		return account.Errorf("InsufficientDBInstanceCapacity", "The requested DB instance class %s isn't available in the specified Availability Zone %s.", props.Str(p, "DBInstanceClass"), zone)
	}
	r.Data["zone"] = zone
	if err := place(tx, r, group, p); err != nil {
		ec2.RemoveInterfaces(tx, arn)
		return err
	}
	if props.Bool(p, false, "ManageMasterUserPassword") {
		if err := makeSecret(tx, r, p); err != nil {
			ec2.RemoveInterfaces(tx, arn)
			return err
		}
	}
	return nil
}

// standing is the first of the zones that isn't lost, or the first.
func standing(tx *account.Tx, zones []string) string {
	for _, z := range zones {
		if !tx.Lost(z) {
			return z
		}
	}
	return zones[0]
}

func authority(p map[string]any) string {
	if ca := props.Str(p, "CACertificateIdentifier"); ca != "" {
		return ca
	}
	return "rds-ca-rsa2048-g1"
}

// origin is what an instance is made of: its engine version, user, database,
// key and size, whether named or brought by a snapshot.
func origin(tx *account.Tx, p map[string]any) (map[string]any, error) {
	id := strings.ToLower(props.Str(p, "DBSnapshotIdentifier"))
	if id == "" {
		version := resolve(props.Str(p, "EngineVersion"))
		if version == "" {
			return nil, combination("Cannot find version %s for postgres", props.Str(p, "EngineVersion"))
		}
		if props.Str(p, "Engine") == "" {
			return nil, account.Errorf("MissingParameter", "The request must contain the parameter Engine")
		}
		if err := checkMaster(p); err != nil {
			return nil, err
		}
		key := props.Str(p, "KmsKeyId")
		if key != "" && !props.Bool(p, true, "StorageEncrypted") {
			return nil, combination("KmsKeyId can't be specified for an unencrypted DB instance: StorageEncrypted must be true.")
		}
		encrypted := key != "" || props.Bool(p, false, "StorageEncrypted")
		if err := checkKey(tx, key); err != nil {
			return nil, err
		}
		if encrypted && key == "" {
			key = "alias/aws/rds"
		}
		if encrypted {
			key = keyARN(tx, key)
		}
		return map[string]any{"version": version, "user": props.Str(p, "MasterUsername"), "database": props.Str(p, "DBName"), "key": key, "encrypted": encrypted, "size": props.Int(p, 0, "AllocatedStorage")}, nil
	}
	s := findSnapshot(tx, id)
	if s == nil {
		return nil, missing("DBSnapshotNotFound", "DBSnapshot not found: %s", id)
	}
	if s.Status != "available" {
		return nil, account.Errorf("InvalidDBSnapshotState", "Cannot restore from DB snapshot %s: it is in state %s", id, s.Status)
	}
	for _, k := range restoreExcludes {
		if props.Str(p, k) != "" {
			return nil, combination("%s can't be specified when a DB instance is restored from a DB snapshot.", k)
		}
	}
	version := props.Str(s.Data, "version")
	if asked := props.Str(p, "EngineVersion"); asked != "" {
		to := resolve(asked)
		// Without a minor version the snapshot's own is kept.
		if !strings.Contains(asked, ".") && strings.HasPrefix(version, asked+".") {
			to = version
		}
		if to == "" || number(to) < number(version) {
			return nil, combination("Cannot find upgrade path from %s to %s.", version, asked)
		}
		version = to
	}
	size := props.Int(s.Data, 0, "size")
	if asked := props.Int(p, size, "AllocatedStorage"); asked < size {
		return nil, value("Invalid storage size %d: it must be at least the %d GiB of the DB snapshot", asked, size)
	} else if asked > size {
		size = asked
	}
	key := props.Str(s.Data, "key")
	if err := checkKey(tx, key); err != nil {
		return nil, err
	}
	return map[string]any{"version": version, "user": s.Data["user"], "database": s.Data["database"], "key": key, "encrypted": s.Data["encrypted"] == true, "size": size}, nil
}

// place puts the instance's interfaces into its zone, and into another one for
// the standby.
func place(tx *account.Tx, r *account.Resource, group *account.Resource, p map[string]any) error {
	arn, first := props.Str(r.Attrs, "DBInstanceArn"), props.Str(r.Data, "zone")
	zones := []string{first}
	delete(r.Data, "standby")
	if props.Bool(p, false, "MultiAZ") {
		others := slices.DeleteFunc(groupZones(tx, group), func(z string) bool { return z == first })
		if len(others) == 0 {
			return account.Errorf("InvalidVPCNetworkStateFault", "The DB subnet group %s doesn't cover two Availability Zones", group.ID)
		}
		zones = append(zones, others[0])
		r.Data["standby"] = others[0]
	}
	ec2.RemoveInterfaces(tx, arn)
	for _, z := range zones {
		_, err := ec2.AddInterface(tx, ec2.Interface{
			Subnet: groupSubnet(tx, group, z), Groups: props.Strs(p, "VPCSecurityGroups"), Description: "RDSNetworkInterface",
			Owner: arn, Requester: "amazon-rds", Public: props.Bool(p, false, "PubliclyAccessible"),
		})
		if err != nil {
			return account.Errorf("InvalidVPCNetworkStateFault", "The DB instance can't be placed in %s: %s", z, err)
		}
	}
	return nil
}

// Domain is the domain of the account's endpoints. Its first label is AWS's
// choice and says nothing; here it is made of the account's id.
func Domain(tx *account.Tx) string {
	return fmt.Sprintf("c%s.%s.rds.amazonaws.com", tx.AccountID()[1:], tx.Region())
}

// makeSecret makes the secret with the master password.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
func makeSecret(tx *account.Tx, r *account.Resource, p map[string]any) error {
	key := props.Str(p, "MasterUserSecret", "KmsKeyId")
	if err := checkKey(tx, key); err != nil {
		return err
	}
	content, err := password(tx, r)
	if err != nil {
		return err
	}
	hex := tx.HexID(32)
	secret := map[string]any{
		"Name":         "rds!db-" + strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-"),
		"Description":  "Secret associated with primary RDS DB instance: " + props.Str(r.Attrs, "DBInstanceArn"),
		"SecretString": content,
		"Tags":         props.Pairs(map[string]string{"aws:rds:primaryDBInstanceArn": props.Str(r.Attrs, "DBInstanceArn"), "aws:secretsmanager:owningService": "rds"}),
	}
	if key != "" {
		secret["KmsKeyId"] = key
	}
	s, _, err := tx.Create(typeSecret, secret, service, true)
	if err != nil {
		return err
	}
	s.Data["rotationDays"] = rotationDays
	tx.After(rotationDays*24*time.Hour, account.Event{Calendar: true, Kind: rotation, ID: s.ID, Data: map[string]any{"instance": r.ID}})
	r.Attrs["MasterUserSecret.SecretArn"] = s.ID
	r.Data["secretKey"] = key
	return nil
}

// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
const (
	rotation     = "rds:rotate"
	rotationDays = 7
)

// password is the content of a secret with a new password.
func password(tx *account.Tx, r *account.Resource) (string, error) {
	content, err := json.Marshal(map[string]string{"username": props.Str(r.Data, "user"), "password": tx.HexID(28)})
	if err != nil {
		return "", fmt.Errorf("make password of %s: %w", r.ID, err)
	}
	return string(content), nil
}

// rotate sets a new master password, every week as long as the secret is there.
func rotate(tx *account.Tx, e account.Event) {
	s, r := tx.Get(typeSecret, e.ID), tx.Get(TypeInstance, props.Str(e.Data, "instance"))
	if s == nil || r == nil {
		return
	}
	if err := renew(tx, r); err != nil {
		s.Data["failure"] = err.Error()
	}
	e.Data = map[string]any{"instance": r.ID}
	tx.After(rotationDays*24*time.Hour, e)
}

// rotateNow rotates a master password because somebody asked Secrets Manager to.
func rotateNow(tx *account.Tx, e account.Event) {
	r := tx.Find(TypeInstance, func(r *account.Resource) bool { return props.Str(r.Attrs, "MasterUserSecret.SecretArn") == e.ID })
	if r == nil {
		return
	}
	if err := renew(tx, r); err != nil {
		r.Data["failure"] = err.Error()
	}
}

// renew gives an instance's secret a new password.
func renew(tx *account.Tx, r *account.Resource) error {
	s := tx.Get(typeSecret, props.Str(r.Attrs, "MasterUserSecret.SecretArn"))
	if s == nil {
		return missing("InvalidDBInstanceState", "The secret of DB instance %s can't be found.", r.ID)
	}
	content, err := password(tx, r)
	if err != nil {
		return err
	}
	next, _ := account.Copy(s.Props).(map[string]any)
	next["SecretString"] = content
	if _, err = tx.Update(s, next, true); err != nil {
		return err
	}
	s.Data["rotatedAt"] = tx.Now()
	return nil
}

const typeSecret = "AWS::SecretsManager::Secret"

func dropSecret(tx *account.Tx, r *account.Resource) {
	tx.Drop(typeSecret, props.Str(r.Attrs, "MasterUserSecret.SecretArn"))
	delete(r.Attrs, "MasterUserSecret.SecretArn")
	delete(r.Data, "secretKey")
}

// replaced are the changes that CloudFormation can't make in place.
func replaced(r *account.Resource, next map[string]any) bool {
	if !strings.EqualFold(props.Str(r.Props, "DBSnapshotIdentifier"), props.Str(next, "DBSnapshotIdentifier")) {
		return true
	}
	if z := props.Str(next, "AvailabilityZone"); z != "" && z != props.Str(r.Data, "zone") {
		return true
	}
	key := func(p map[string]any) string { return props.Str(p, "PerformanceInsightsKMSKeyId") }
	return key(r.Props) != "" && key(next) != "" && key(r.Props) != key(next) ||
		!strings.EqualFold(props.Str(r.Props, "Engine"), props.Str(next, "Engine"))
}

// optimizing is how long no further change of the storage is possible.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
const optimizing = 6 * time.Hour

// optimizingStatus is the status of an instance that works while its storage
// is optimized. How long that is isn't documented; it is short for little data.
const (
	optimizingStatus = "storage-optimization"
	optimization     = 15 * time.Minute
)

func updateInstance(tx *account.Tx, r *account.Resource, next map[string]any) error {
	if replaced(r, next) {
		return account.ErrReplace
	}
	changed := slices.DeleteFunc(props.Changed(r.Props, next), func(k string) bool {
		return slices.Contains([]string{"Tags", "DeletionProtection", "ApplyImmediately", "AllowMajorVersionUpgrade", "DeleteAutomatedBackups", "CopyTagsToSnapshot"}, k)
	})
	later := !props.Bool(next, true, "ApplyImmediately") || r.Data["later"] == true
	if len(changed) == 0 && (later || !props.Has(r.Data, "held")) {
		r.Data["change"] = "modify-at-once"
		r.Retag(next, "Tags")
		return nil
	}
	if !modifiable(r) {
		return account.Errorf("InvalidDBInstanceState", "Database instance is not in available state.")
	}
	from := props.Str(r.Data, "version")
	to := from
	if asked := props.Str(next, "EngineVersion"); asked != "" && asked != props.Str(r.Props, "EngineVersion") && !strings.HasPrefix(from+".", asked+".") {
		to = resolve(asked)
		major := func(v string) int { return number(v) / 1000 }
		switch {
		case to == "":
			return combination("Cannot find version %s for postgres", asked)
		case number(to) < number(from):
			return combination("Cannot find upgrade path from %s to %s.", from, to)
		case major(to) != major(from) && !props.Bool(next, false, "AllowMajorVersionUpgrade"):
			return combination("The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version.")
		}
	}
	size := props.Int(r.Data, 0, "size")
	if asked := props.Int(next, size, "AllocatedStorage"); asked < size {
		return combination("Requested storage size (%d) cannot be less than the current storage size (%d)", asked, size)
	} else if asked > size {
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
		if 10*asked < 11*size {
			return combination("Invalid storage size for modification: it must grow by at least 10 percent")
		}
		size = asked
	}
	if err := checkInstance(tx, r.ID, next, to); err != nil {
		return err
	}
	storage := slices.ContainsFunc(storageProperties, func(k string) bool { return slices.Contains(changed, k) })
	if at, ok := r.Data["storageChanged"].(time.Time); ok && storage && tx.Now().Before(at.Add(optimizing)) {
		return combination("You can't currently modify the storage of this DB instance because the previous storage change is being optimized.")
	}
	managed, was := props.Bool(next, false, "ManageMasterUserPassword"), props.Bool(r.Props, false, "ManageMasterUserPassword")
	if was && !managed && props.Str(next, "MasterUserPassword") == "" {
		return combination("The parameter MasterUserPassword must be provided when ManageMasterUserPassword is set to false.")
	}
	if managed && !was {
		if err := makeSecret(tx, r, next); err != nil {
			return err
		}
	}
	if was && !managed {
		dropSecret(tx, r)
	}
	if key := props.Str(next, "MasterUserSecret", "KmsKeyId"); managed && was && key != props.Str(r.Data, "secretKey") {
		if err := checkKey(tx, key); err != nil {
			return err
		}
		if secret := tx.Get(typeSecret, props.Str(r.Attrs, "MasterUserSecret.SecretArn")); secret != nil {
			secret.Props["KmsKeyId"] = key
		}
		r.Data["secretKey"] = key
	}
	// Another group waits for a restart, which an upgrade brings along.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithParamGroups.html
	if slices.Contains(changed, "DBParameterGroupName") && to == from {
		r.Data["parameters"] = "pending-reboot"
	}
	r.Retag(next, "Tags")
	if later {
		if len(hold(tx, r, next, changed, to, size)) == 0 {
			r.Data["change"] = "modify-at-once"
			return nil
		}
		to, size, storage = from, props.Int(r.Data, 0, "size"), false
	} else {
		// What waited is applied with the rest.
		for k := range props.Map(r.Data, "held") {
			storage = storage || slices.Contains(storageProperties, k)
		}
		if coming := props.Map(r.Data, "coming"); coming != nil {
			to, size = newer(to, props.Str(coming, "version")), max(size, props.Int(coming, 0, "size"))
		}
		release(r)
	}
	if storage {
		r.Data["storageChanged"], r.Data["optimize"] = tx.Now(), true
	}
	r.Data["version"], r.Data["size"], r.Data["change"] = to, size, "modify"
	r.Status = "modifying"
	return nil
}

func newer(a, b string) string {
	if number(b) > number(a) {
		return b
	}
	return a
}

func settleInstance(tx *account.Tx, r *account.Resource, op string) error {
	group := tx.Get(TypeSubnetGroup, strings.ToLower(props.Str(r.Props, "DBSubnetGroupName")))
	if group == nil {
		return missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", props.Str(r.Props, "DBSubnetGroupName"))
	}
	if op == "update" && r.Status == "modifying" {
		if err := place(tx, r, group, effective(r)); err != nil {
			return err
		}
		if r.Data["optimize"] == true {
			// CloudFormation and waiters go on when the instance is available.
			delete(r.Data, "optimize")
			r.Status = optimizingStatus
			return account.Later(optimization)
		}
	}
	if op == "update" && !slices.Contains([]string{"modifying", optimizingStatus, "available", Full}, r.Status) {
		return nil // stopped, rebooting or without its key meanwhile
	}
	r.Status = serving(r)
	r.Attrs["DBInstanceStatus"], r.Attrs["InstanceCreateTime"], r.Attrs["SecondaryAvailabilityZone"] = r.Status, r.Created.UTC().Format(time.RFC3339), props.Str(r.Data, "standby")
	if err := keepBackups(tx, r, op == "create"); err != nil {
		return err
	}
	for _, l := range props.Strs(r.Props, "EnableCloudwatchLogsExports") {
		if err := logGroup(tx, "/aws/rds/instance/"+r.ID+"/"+l); err != nil {
			return err
		}
	}
	if props.Int(r.Props, 0, "MonitoringInterval") > 0 {
		return logGroup(tx, monitoringGroup)
	}
	return nil
}

// logGroup makes a log group that a service writes to, if it isn't there.
func logGroup(tx *account.Tx, name string) error {
	if tx.Get("AWS::Logs::LogGroup", name) != nil {
		return nil
	}
	_, _, err := tx.Create("AWS::Logs::LogGroup", map[string]any{"LogGroupName": name}, service, true)
	return err
}

func deleteInstance(tx *account.Tx, r *account.Resource) error {
	if r.Status == "deleting" {
		return account.Errorf("InvalidDBInstanceState", "Instance %s is already being deleted.", r.ID)
	}
	if props.Bool(r.Props, false, "DeletionProtection") {
		return combination("Cannot delete protected DB Instance, please disable deletion protection and try again.")
	}
	if props.Str(r.Data, "DeletionPolicy") == "Snapshot" && !props.Has(r.Data, "finalSnapshot") {
		name := strings.ToLower(tx.Name(&account.Resource{Type: "snapshot", Owner: r.Owner, LogicalID: "snapshot-" + r.LogicalID}, 255))
		if _, err := takeSnapshot(tx, r, name, "manual"); err != nil {
			return err
		}
		r.Data["finalSnapshot"] = name
	}
	r.Status = "deleting"
	return nil
}

// instanceGone removes what belonged to the instance. Log groups and manual
// snapshots stay; automated backups stay if asked to.
func instanceGone(tx *account.Tx, r *account.Resource) {
	ec2.RemoveInterfaces(tx, props.Str(r.Attrs, "DBInstanceArn"))
	dropSecret(tx, r)
	if s := tx.Get(TypeSnapshot, props.Str(r.Data, "finalSnapshot")); s != nil {
		s.Status = "available"
	}
	backup := tx.Get(TypeAutomatedBackup, props.Str(r.Attrs, "DbiResourceId"))
	if backup == nil {
		return
	}
	if props.Bool(r.Props, true, "DeleteAutomatedBackups") {
		dropBackup(tx, backup.ID)
		return
	}
	// They live as long as the last of their snapshots would have.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.Retaining.html
	backup.Status = "retained"
	days := props.Int(r.Props, 1, "BackupRetentionPeriod")
	backup.Data["days"], backup.Data["archivedUntil"] = days, archivedUntil(tx, r)
	_, last := backupSpan(tx, backup.ID)
	tx.After(last.AddDate(0, 0, days).Sub(tx.Now()), account.Event{Calendar: true, Kind: "rds:backup-expiry", ID: backup.ID})
}
