package rds

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of Amazon RDS as far as it is modelled.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_Operations.html
func Service() wire.Service {
	return wire.Service{
		Name: "rds", Version: "2014-10-31", Namespace: "http://rds.amazonaws.com/doc/2014-10-31/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "DescribeDBInstances", Do: describeInstances},
			{Name: "ModifyDBInstance", Do: modifyInstance},
			{Name: "DeleteDBInstance", Do: apiDeleteInstance},
			{Name: "DescribeDBSnapshots", Do: describeSnapshots},
			{Name: "CreateDBSnapshot", Do: createSnapshot},
			{Name: "DeleteDBSnapshot", Do: deleteSnapshot},
			{Name: "DescribeDBInstanceAutomatedBackups", Do: describeBackups},
			{Name: "DeleteDBInstanceAutomatedBackup", Do: deleteBackup},
			{Name: "DescribeDBSnapshotAttributes", Do: describeSnapshotAttributes},
			{Name: "ModifyDBSnapshotAttribute", Do: modifySnapshotAttribute},
			{Name: "DescribeDBSubnetGroups", Do: describeSubnetGroups},
			{Name: "ModifyDBSubnetGroup", Do: modifySubnetGroup},
			{Name: "ModifyDBParameterGroup", Do: modifyParameterGroup},
			{Name: "DescribeDBParameterGroups", Do: describeParameterGroups},
			{Name: "DescribeDBParameters", Do: describeParameters},
			{Name: "DescribeDBEngineVersions", Do: describeEngineVersions},
			{Name: "DescribeOrderableDBInstanceOptions", Do: describeOrderable},
			{Name: "ListTagsForResource", Do: listTags},
		},
	}
}

type tagXML struct{ Key, Value string }

func tagsXML(tags map[string]string) []tagXML {
	var out []tagXML
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, tagXML{k, tags[k]})
	}
	return out
}

type endpointXML struct {
	Address      string
	Port         int
	HostedZoneId string `xml:",omitempty"`
}

type membershipXML struct {
	VpcSecurityGroupId, Status string
}

type parameterGroupStatusXML struct {
	DBParameterGroupName, ParameterApplyStatus string
}

type optionGroupXML struct {
	OptionGroupName, Status string
}

type secretXML struct {
	SecretArn, SecretStatus string
	KmsKeyId                string `xml:",omitempty"`
}

type certificateXML struct{ CAIdentifier, ValidTill string }

type instanceXML struct {
	DBInstanceIdentifier, DBInstanceClass, Engine, DBInstanceStatus string
	MasterUsername                                                  string
	DBName                                                          string       `xml:",omitempty"`
	Endpoint                                                        *endpointXML `xml:",omitempty"`
	AllocatedStorage                                                int
	MaxAllocatedStorage                                             int    `xml:",omitempty"`
	InstanceCreateTime                                              string `xml:",omitempty"`
	PreferredBackupWindow, PreferredMaintenanceWindow               string
	BackupRetentionPeriod                                           int
	LatestRestorableTime                                            string                    `xml:",omitempty"`
	VpcSecurityGroups                                               []membershipXML           `xml:"VpcSecurityGroups>VpcSecurityGroupMembership"`
	DBParameterGroups                                               []parameterGroupStatusXML `xml:"DBParameterGroups>DBParameterGroup"`
	OptionGroupMemberships                                          []optionGroupXML          `xml:"OptionGroupMemberships>OptionGroupMembership"`
	AvailabilityZone                                                string
	SecondaryAvailabilityZone                                       string         `xml:",omitempty"`
	DBSubnetGroup                                                   subnetGroupXML `xml:"DBSubnetGroup"`
	PendingModifiedValues                                           struct{}
	MultiAZ                                                         bool
	EngineVersion, LicenseModel                                     string
	AutoMinorVersionUpgrade, PubliclyAccessible                     bool
	StorageType                                                     string
	Iops                                                            int `xml:",omitempty"`
	StorageThroughput                                               int `xml:",omitempty"`
	DbInstancePort                                                  int
	StorageEncrypted                                                bool
	KmsKeyId                                                        string `xml:",omitempty"`
	DbiResourceId, CACertificateIdentifier                          string
	CertificateDetails                                              certificateXML
	CopyTagsToSnapshot                                              bool
	MonitoringInterval                                              int
	MonitoringRoleArn                                               string `xml:",omitempty"`
	DBInstanceArn                                                   string
	IAMDatabaseAuthenticationEnabled                                bool
	PerformanceInsightsEnabled                                      bool
	PerformanceInsightsKMSKeyId                                     string   `xml:",omitempty"`
	PerformanceInsightsRetentionPeriod                              int      `xml:",omitempty"`
	DatabaseInsightsMode                                            string   `xml:",omitempty"`
	EnabledCloudwatchLogsExports                                    []string `xml:"EnabledCloudwatchLogsExports>member"`
	DeletionProtection                                              bool
	MasterUserSecret                                                *secretXML `xml:",omitempty"`
	TagList                                                         []tagXML   `xml:"TagList>Tag"`
	NetworkType                                                     string
}

func iso(t time.Time) string { return wire.ISO(t) }

func instanceOut(tx *account.Tx, r *account.Resource) instanceXML {
	p := r.Props
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	out := instanceXML{
		DBInstanceIdentifier: r.ID, DBInstanceClass: props.Str(p, "DBInstanceClass"), Engine: "postgres", DBInstanceStatus: r.Status,
		MasterUsername: props.Str(r.Data, "user"), DBName: props.Str(r.Data, "database"),
		AllocatedStorage: props.Int(r.Data, 0, "size"), MaxAllocatedStorage: props.Int(p, 0, "MaxAllocatedStorage"),
		PreferredBackupWindow: or(props.Str(p, "PreferredBackupWindow"), "03:26-03:56"), PreferredMaintenanceWindow: strings.ToLower(or(props.Str(p, "PreferredMaintenanceWindow"), "sun:08:13-sun:08:43")),
		BackupRetentionPeriod:  props.Int(p, 1, "BackupRetentionPeriod"),
		DBParameterGroups:      []parameterGroupStatusXML{{or(props.Str(p, "DBParameterGroupName"), "default."+family(props.Str(r.Data, "version"))), props.Str(r.Data, "parameters")}},
		OptionGroupMemberships: []optionGroupXML{{"default:" + strings.Replace(family(props.Str(r.Data, "version")), "postgres", "postgres-", 1), "in-sync"}},
		AvailabilityZone:       props.Str(r.Data, "zone"), SecondaryAvailabilityZone: props.Str(r.Data, "standby"),
		MultiAZ: props.Bool(p, false, "MultiAZ"), EngineVersion: props.Str(r.Data, "version"), LicenseModel: "postgresql-license",
		AutoMinorVersionUpgrade: props.Bool(p, true, "AutoMinorVersionUpgrade"), PubliclyAccessible: props.Bool(p, false, "PubliclyAccessible"),
		StorageType: or(strings.ToLower(props.Str(p, "StorageType")), "gp2"), Iops: props.Int(p, 0, "Iops"), StorageThroughput: props.Int(p, 0, "StorageThroughput"),
		StorageEncrypted: r.Data["encrypted"] == true, KmsKeyId: props.Str(r.Data, "key"), DbiResourceId: props.Str(r.Attrs, "DbiResourceId"),
		CACertificateIdentifier: authority(p), CertificateDetails: certificateXML{authority(p), props.Str(r.Attrs, "CertificateDetails.ValidTill")}, CopyTagsToSnapshot: props.Bool(p, false, "CopyTagsToSnapshot"),
		MonitoringInterval: props.Int(p, 0, "MonitoringInterval"), MonitoringRoleArn: props.Str(p, "MonitoringRoleArn"), DBInstanceArn: props.Str(r.Attrs, "DBInstanceArn"),
		IAMDatabaseAuthenticationEnabled: props.Bool(p, false, "EnableIAMDatabaseAuthentication"), PerformanceInsightsEnabled: props.Bool(p, false, "EnablePerformanceInsights"),
		PerformanceInsightsKMSKeyId: props.Str(p, "PerformanceInsightsKMSKeyId"), PerformanceInsightsRetentionPeriod: props.Int(p, 0, "PerformanceInsightsRetentionPeriod"),
		DatabaseInsightsMode: or(props.Str(p, "DatabaseInsightsMode"), "standard"), EnabledCloudwatchLogsExports: props.Strs(p, "EnableCloudwatchLogsExports"),
		DeletionProtection: props.Bool(p, false, "DeletionProtection"), TagList: tagsXML(r.Tags), NetworkType: "IPV4",
	}
	if out.PerformanceInsightsEnabled && out.PerformanceInsightsRetentionPeriod == 0 {
		out.PerformanceInsightsRetentionPeriod = 7
	}
	if g := tx.Get(TypeSubnetGroup, strings.ToLower(props.Str(p, "DBSubnetGroupName"))); g != nil {
		out.DBSubnetGroup = subnetGroupOut(tx, g)
	}
	groups := props.Strs(p, "VPCSecurityGroups")
	if faces := ec2.InterfacesOf(tx, out.DBInstanceArn); len(groups) == 0 && len(faces) > 0 {
		groups = ec2.InterfaceGroups(faces[0])
	}
	for _, g := range groups {
		out.VpcSecurityGroups = append(out.VpcSecurityGroups, membershipXML{g, "active"})
	}
	// Until it is up, an instance has no endpoint.
	if r.Status != "creating" {
		out.Endpoint = &endpointXML{props.Str(r.Attrs, "Endpoint.Address"), props.Int(r.Attrs, 0, "Endpoint.Port"), props.Str(r.Attrs, "Endpoint.HostedZoneId")}
		out.InstanceCreateTime = iso(r.Created)
		if out.BackupRetentionPeriod > 0 {
			last := tx.Now().Add(-5 * time.Minute)
			if stopped, ok := r.Data["archivedUntil"].(time.Time); ok {
				last = stopped
			}
			out.LatestRestorableTime = iso(last)
		}
	}
	if arn := props.Str(r.Attrs, "MasterUserSecret.SecretArn"); arn != "" {
		out.MasterUserSecret = &secretXML{arn, "active", props.Str(r.Data, "secretKey")}
	}
	return out
}

func findInstance(tx *account.Tx, id string) (*account.Resource, error) {
	id = strings.ToLower(id)
	if i := strings.LastIndex(id, ":db:"); i >= 0 {
		id = id[i+4:]
	}
	if r := tx.Get(TypeInstance, id); r != nil {
		return r, nil
	}
	return nil, missing("DBInstanceNotFound", "DBInstance %s not found.", id)
}

// page cuts a page as Marker and MaxRecords ask for it.
func page[T any](r *wire.Request, items []T) ([]T, string, error) {
	return wire.Page(items, r.String("Marker"), r.Int("MaxRecords", 100), "InvalidParameterValue")
}

func describeInstances(tx *account.Tx, r *wire.Request) (any, error) {
	var list []instanceXML
	if id := r.String("DBInstanceIdentifier"); id != "" {
		i, err := findInstance(tx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, instanceOut(tx, i))
	} else {
		for _, i := range tx.List(TypeInstance) {
			list = append(list, instanceOut(tx, i))
		}
	}
	list, next, err := page(r, list)
	return struct {
		Marker      string        `xml:",omitempty"`
		DBInstances []instanceXML `xml:"DBInstances>DBInstance"`
	}{next, list}, err
}

type oneInstance struct{ DBInstance instanceXML }

// modifiable are the parameters of ModifyDBInstance that are modelled, with
// CloudFormation's names where they differ.
var modifiable = map[string]string{
	"AllocatedStorage": "", "DBInstanceClass": "", "VpcSecurityGroupIds": "VPCSecurityGroups", "DBParameterGroupName": "", "BackupRetentionPeriod": "",
	"PreferredBackupWindow": "", "PreferredMaintenanceWindow": "", "MultiAZ": "", "EngineVersion": "", "AllowMajorVersionUpgrade": "",
	"AutoMinorVersionUpgrade": "", "Iops": "", "StorageThroughput": "", "StorageType": "", "CopyTagsToSnapshot": "", "MonitoringInterval": "",
	"MonitoringRoleArn": "", "PubliclyAccessible": "", "EnableIAMDatabaseAuthentication": "", "EnablePerformanceInsights": "",
	"PerformanceInsightsRetentionPeriod": "", "PerformanceInsightsKMSKeyId": "", "DatabaseInsightsMode": "", "DeletionProtection": "",
	"MaxAllocatedStorage": "", "ManageMasterUserPassword": "", "MasterUserPassword": "", "CACertificateIdentifier": "",
	"CloudwatchLogsExportConfiguration": "EnableCloudwatchLogsExports",
}

func modifyInstance(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	next, _ := account.Copy(i.Props).(map[string]any)
	for k, v := range r.In {
		name, ok := modifiable[k]
		switch {
		case k == "DBInstanceIdentifier" || k == "ApplyImmediately":
			continue
		case !ok:
			return nil, account.NotModelled("%s of ModifyDBInstance is not modelled by the sandbox", k)
		case name == "":
			name = k
		}
		switch k {
		case "VpcSecurityGroupIds":
			v = props.List(r.Strings(k))
		case "CloudwatchLogsExportConfiguration":
			v = exported(props.Strs(i.Props, name), props.Strs(v, "EnableLogTypes"), props.Strs(v, "DisableLogTypes"))
		}
		next[name] = v
	}
	// Switched off, Performance Insights forgets its key.
	if r.Has("EnablePerformanceInsights") && !r.Bool("EnablePerformanceInsights", false) {
		for _, k := range []string{"PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"} {
			if !r.Has(k) {
				delete(next, k)
			}
		}
	}
	// Storage that may grow to what it has does not grow.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
	if size := props.Int(i.Data, 0, "size"); r.Has("MaxAllocatedStorage") && r.Int("MaxAllocatedStorage", 0) == size {
		delete(next, "MaxAllocatedStorage")
	}
	if _, err := tx.Update(i, next, true); err != nil {
		return nil, err
	}
	return oneInstance{instanceOut(tx, i)}, nil
}

// exported are the logs that go to CloudWatch Logs after a change.
func exported(now, on, off []string) []any {
	out := []any{}
	for _, l := range append(slices.Clone(now), on...) {
		if !slices.Contains(off, l) && !slices.Contains(out, any(l)) {
			out = append(out, l)
		}
	}
	return out
}

func apiDeleteInstance(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	final, skip := strings.ToLower(r.String("FinalDBSnapshotIdentifier")), r.Bool("SkipFinalSnapshot", false)
	if skip == (final != "") {
		if skip {
			return nil, combination("FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot")
		}
		return nil, combination("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
	}
	if props.Bool(i.Props, false, "DeletionProtection") || i.Status == "deleting" {
		return nil, deleteInstance(tx, i)
	}
	if final != "" {
		if _, err := takeSnapshot(tx, i, final, "manual"); err != nil {
			return nil, err
		}
		i.Data["finalSnapshot"] = final
	}
	if r.Has("DeleteAutomatedBackups") {
		i.Props["DeleteAutomatedBackups"] = r.Bool("DeleteAutomatedBackups", true)
	}
	if _, err := tx.Delete(i, true); err != nil {
		return nil, err
	}
	return oneInstance{instanceOut(tx, i)}, nil
}

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
		if (id == "" || s.ID == id || props.Str(s.Attrs, "DBSnapshotArn") == id) && (instance == "" || props.Str(s.Data, "instance") == instance) && (kind == "" || s.Data["kind"] == kind) {
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
	Engine                                                     string
}

func backupOut(tx *account.Tx, b *account.Resource) backupXML {
	instance := props.Str(b.Data, "instance")
	return backupXML{tx.ARN("rds", "db:"+instance), b.ID, tx.Region(), instance, b.Status, props.Str(b.Attrs, "DBInstanceAutomatedBackupsArn"), "postgres"}
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
	tx.Drop(TypeAutomatedBackup, b.ID)
	for _, s := range tx.List(TypeSnapshot) {
		if s.Data["kind"] == "automated" && s.Data["resource"] == b.ID {
			tx.Drop(TypeSnapshot, s.ID)
		}
	}
	return struct{ DBInstanceAutomatedBackup backupXML }{backupOut(tx, b)}, nil
}

type zoneXML struct{ Name string }

type subnetXML struct {
	SubnetIdentifier       string
	SubnetAvailabilityZone zoneXML
	SubnetStatus           string
}

type subnetGroupXML struct {
	DBSubnetGroupName, DBSubnetGroupDescription, VpcId, SubnetGroupStatus string
	Subnets                                                               []subnetXML `xml:"Subnets>Subnet"`
	DBSubnetGroupArn                                                      string
}

func subnetGroupOut(tx *account.Tx, g *account.Resource) subnetGroupXML {
	out := subnetGroupXML{
		DBSubnetGroupName: g.ID, DBSubnetGroupDescription: props.Str(g.Props, "DBSubnetGroupDescription"), VpcId: props.Str(g.Data, "vpc"),
		SubnetGroupStatus: g.Status, DBSubnetGroupArn: props.Str(g.Attrs, "DBSubnetGroupArn"),
	}
	for _, id := range props.Strs(g.Props, "SubnetIds") {
		if s, err := ec2.FindSubnet(tx, id); err == nil {
			out.Subnets = append(out.Subnets, subnetXML{id, zoneXML{ec2.ZoneOf(s).Name}, "Active"})
		}
	}
	return out
}

func describeSubnetGroups(tx *account.Tx, r *wire.Request) (any, error) {
	var list []subnetGroupXML
	name := strings.ToLower(r.String("DBSubnetGroupName"))
	for _, g := range tx.List(TypeSubnetGroup) {
		if name == "" || g.ID == name {
			list = append(list, subnetGroupOut(tx, g))
		}
	}
	if name != "" && len(list) == 0 {
		return nil, missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", name)
	}
	list, next, err := page(r, list)
	return struct {
		Marker         string           `xml:",omitempty"`
		DBSubnetGroups []subnetGroupXML `xml:"DBSubnetGroups>DBSubnetGroup"`
	}{next, list}, err
}

func modifySubnetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBSubnetGroupName"))
	g := tx.Get(TypeSubnetGroup, name)
	if g == nil {
		return nil, missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", name)
	}
	next, _ := account.Copy(g.Props).(map[string]any)
	next["SubnetIds"] = props.List(r.Strings("SubnetIds"))
	if r.Has("DBSubnetGroupDescription") {
		next["DBSubnetGroupDescription"] = r.String("DBSubnetGroupDescription")
	}
	if _, err := tx.Update(g, next, false); err != nil {
		return nil, err
	}
	return struct{ DBSubnetGroup subnetGroupXML }{subnetGroupOut(tx, g)}, nil
}

// modifyParameterGroup sets up to 20 parameters.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBParameterGroup.html
func modifyParameterGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBParameterGroupName"))
	g := tx.Get(TypeParameterGroup, name)
	switch {
	case strings.HasPrefix(name, "default."):
		return nil, account.Errorf("InvalidDBParameterGroupState", "Default parameter groups can't be modified: %s", name)
	case g == nil:
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	list := r.Maps("Parameters")
	if len(list) < 1 || len(list) > 20 {
		return nil, value("The parameter Parameters must have between 1 and 20 entries.")
	}
	set := map[string]any{}
	maps.Copy(set, props.Map(g.Props, "Parameters"))
	for _, p := range list {
		name := props.Str(p, "ParameterName")
		if method := props.Str(p, "ApplyMethod"); method == "immediate" && parameters[name].static {
			return nil, combination("cannot use immediate apply method for static parameter")
		}
		set[name] = props.Str(p, "ParameterValue")
	}
	next, _ := account.Copy(g.Props).(map[string]any)
	next["Parameters"] = set
	if _, err := tx.Update(g, next, false); err != nil {
		return nil, err
	}
	return struct{ DBParameterGroupName string }{g.ID}, nil
}

type parameterGroupXML struct {
	DBParameterGroupName, DBParameterGroupFamily, Description, DBParameterGroupArn string
}

func describeParameterGroups(tx *account.Tx, r *wire.Request) (any, error) {
	var list []parameterGroupXML
	name := strings.ToLower(r.String("DBParameterGroupName"))
	for _, m := range slices.Sorted(maps.Keys(minors)) {
		if f := "postgres" + strconv.Itoa(m); name == "" || name == "default."+f {
			list = append(list, parameterGroupXML{"default." + f, f, "Default parameter group for " + f, tx.ARN("rds", "pg:default."+f)})
		}
	}
	for _, g := range tx.List(TypeParameterGroup) {
		if name == "" || g.ID == name {
			list = append(list, parameterGroupXML{g.ID, props.Str(g.Props, "Family"), props.Str(g.Props, "Description"), props.Str(g.Attrs, "DBParameterGroupArn")})
		}
	}
	if len(list) == 0 {
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	list, next, err := page(r, list)
	return struct {
		Marker            string              `xml:",omitempty"`
		DBParameterGroups []parameterGroupXML `xml:"DBParameterGroups>DBParameterGroup"`
	}{next, list}, err
}

type parameterXML struct {
	ParameterName     string
	ParameterValue    string `xml:",omitempty"`
	Source, ApplyType string
	AllowedValues     string `xml:",omitempty"`
	IsModifiable      bool
	ApplyMethod       string
}

func describeParameters(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBParameterGroupName"))
	set := map[string]any{}
	if g := tx.Get(TypeParameterGroup, name); g != nil {
		set = props.Map(g.Props, "Parameters")
	} else if !knownFamily(strings.TrimPrefix(name, "default.")) {
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	var list []parameterXML
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		p := parameters[k]
		x := parameterXML{ParameterName: k, ParameterValue: p.value, Source: "engine-default", ApplyType: "dynamic", AllowedValues: p.allowed, IsModifiable: true, ApplyMethod: "immediate"}
		if p.static {
			x.ApplyType, x.ApplyMethod = "static", "pending-reboot"
		}
		if v, ok := set[k]; ok {
			x.ParameterValue, x.Source = props.Str(v), "user"
		}
		if s := r.String("Source"); s == "" || s == x.Source {
			list = append(list, x)
		}
	}
	list, next, err := page(r, list)
	return struct {
		Marker     string         `xml:",omitempty"`
		Parameters []parameterXML `xml:"Parameters>Parameter"`
	}{next, list}, err
}

type upgradeXML struct {
	Engine, EngineVersion              string
	AutoUpgrade, IsMajorVersionUpgrade bool
}

type engineXML struct {
	Engine, EngineVersion, DBParameterGroupFamily, DBEngineDescription, DBEngineVersionDescription string
	ValidUpgradeTarget                                                                             []upgradeXML `xml:"ValidUpgradeTarget>UpgradeTarget"`
	ExportableLogTypes                                                                             []string     `xml:"ExportableLogTypes>member"`
	SupportsLogExportsToCloudwatchLogs                                                             bool
	Status                                                                                         string
	SupportsReadReplica                                                                            bool
}

func describeEngineVersions(_ *account.Tx, r *wire.Request) (any, error) {
	var list []engineXML
	engine, asked := r.String("Engine"), r.String("EngineVersion")
	for _, v := range engineVersions() {
		if engine != "" && engine != "postgres" || asked != "" && v != asked && !strings.HasPrefix(v, asked+".") ||
			r.String("DBParameterGroupFamily") != "" && r.String("DBParameterGroupFamily") != family(v) || r.Bool("DefaultOnly", false) && v != resolve(asked) {
			continue
		}
		x := engineXML{Engine: "postgres", EngineVersion: v, DBParameterGroupFamily: family(v), DBEngineDescription: "PostgreSQL", DBEngineVersionDescription: "PostgreSQL " + v, ExportableLogTypes: logTypes, SupportsLogExportsToCloudwatchLogs: true, Status: "available", SupportsReadReplica: true}
		for _, to := range engineVersions() {
			if number(to) > number(v) {
				x.ValidUpgradeTarget = append(x.ValidUpgradeTarget, upgradeXML{"postgres", to, false, family(to) != family(v)})
			}
		}
		list = append(list, x)
	}
	list, next, err := page(r, list)
	return struct {
		Marker           string      `xml:",omitempty"`
		DBEngineVersions []engineXML `xml:"DBEngineVersions>DBEngineVersion"`
	}{next, list}, err
}

type orderableXML struct {
	Engine, EngineVersion, DBInstanceClass, LicenseModel string
	AvailabilityZones                                    []zoneXML `xml:"AvailabilityZones>AvailabilityZone"`
	MultiAZCapable, Vpc, SupportsStorageEncryption       bool
	StorageType                                          string
	SupportsPerformanceInsights                          bool
	MinStorageSize, MaxStorageSize                       int
}

func describeOrderable(tx *account.Tx, r *wire.Request) (any, error) {
	if e := r.String("Engine"); e != "postgres" {
		return nil, account.NotModelled("DB engine %s is not modelled by the sandbox", e)
	}
	var zones []zoneXML
	for _, z := range tx.Zones() {
		zones = append(zones, zoneXML{z.Name})
	}
	var list []orderableXML
	for _, v := range engineVersions() {
		if asked := r.String("EngineVersion"); asked != "" && v != asked && !strings.HasPrefix(v, asked+".") {
			continue
		}
		for _, f := range slices.Sorted(maps.Keys(classes)) {
			for _, size := range strings.Fields(classes[f]) {
				class := "db." + f + "." + size
				if asked := r.String("DBInstanceClass"); asked != "" && asked != class {
					continue
				}
				for _, s := range slices.Sorted(maps.Keys(storages)) {
					list = append(list, orderableXML{"postgres", v, class, "postgresql-license", zones, true, true, true, s, true, storages[s].size[0], storages[s].size[1]})
				}
			}
		}
	}
	list, next, err := page(r, list)
	return struct {
		Marker                     string         `xml:",omitempty"`
		OrderableDBInstanceOptions []orderableXML `xml:"OrderableDBInstanceOptions>OrderableDBInstanceOption"`
	}{next, list}, err
}

func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	arn := r.String("ResourceName")
	for _, t := range []struct{ typ, attr string }{{TypeInstance, "DBInstanceArn"}, {TypeSubnetGroup, "DBSubnetGroupArn"}, {TypeParameterGroup, "DBParameterGroupArn"}, {TypeSnapshot, "DBSnapshotArn"}} {
		if x := tx.Find(t.typ, func(x *account.Resource) bool { return props.Str(x.Attrs, t.attr) == arn }); x != nil {
			return struct {
				TagList []tagXML `xml:"TagList>Tag"`
			}{tagsXML(x.Tags)}, nil
		}
	}
	return nil, value("The specified resource name does not match an RDS resource in this region: %s", arn)
}
