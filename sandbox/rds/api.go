package rds

import (
	"maps"
	"slices"
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
		Operations: unfiltered([]wire.Operation{
			{Name: "DescribeDBInstances", Do: describeInstances},
			{Name: "DescribeEvents", Do: describeEvents},
			{Name: "CreateDBInstance", Do: apiCreateInstance},
			{Name: "RestoreDBInstanceFromDBSnapshot", Do: apiCreateInstance},
			{Name: "ModifyDBInstance", Do: modifyInstance},
			{Name: "RebootDBInstance", Do: rebootInstance},
			{Name: "StopDBInstance", Do: stopInstance},
			{Name: "StartDBInstance", Do: startInstance},
			{Name: "DeleteDBInstance", Do: apiDeleteInstance},
			{Name: "DescribeDBSnapshots", Do: describeSnapshots},
			{Name: "CreateDBSnapshot", Do: createSnapshot},
			{Name: "DeleteDBSnapshot", Do: deleteSnapshot},
			{Name: "DescribeDBInstanceAutomatedBackups", Do: describeBackups},
			{Name: "DeleteDBInstanceAutomatedBackup", Do: deleteBackup},
			{Name: "DescribeDBSnapshotAttributes", Do: describeSnapshotAttributes},
			{Name: "ModifyDBSnapshotAttribute", Do: modifySnapshotAttribute},
			{Name: "CreateDBSubnetGroup", Do: apiCreateSubnetGroup},
			{Name: "DeleteDBSubnetGroup", Do: apiDeleteSubnetGroup},
			{Name: "CreateDBParameterGroup", Do: apiCreateParameterGroup},
			{Name: "DeleteDBParameterGroup", Do: apiDeleteParameterGroup},
			{Name: "DescribeDBSubnetGroups", Do: describeSubnetGroups},
			{Name: "ModifyDBSubnetGroup", Do: modifySubnetGroup},
			{Name: "ModifyDBParameterGroup", Do: modifyParameterGroup},
			{Name: "DescribeDBParameterGroups", Do: describeParameterGroups},
			{Name: "DescribeDBParameters", Do: describeParameters},
			{Name: "DescribeDBEngineVersions", Do: describeEngineVersions},
			{Name: "DescribeOrderableDBInstanceOptions", Do: describeOrderable},
			{Name: "ListTagsForResource", Do: listTags},
			{Name: "AddTagsToResource", Do: addTags},
			{Name: "RemoveTagsFromResource", Do: removeTags},
		}),
	}
}

// unfiltered refuses filters, which no operation here looks at.
func unfiltered(operations []wire.Operation) []wire.Operation {
	for i, op := range operations {
		operations[i].Do = func(tx *account.Tx, r *wire.Request) (any, error) {
			if len(wire.List(r.In["Filters"])) > 0 {
				return nil, account.NotModelled("filters of %s are not modelled by the sandbox", r.Operation)
			}
			return op.Do(tx, r)
		}
	}
	return operations
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

// pendingXML is what waits for the maintenance window.
type pendingXML struct {
	DBInstanceClass                  string `xml:",omitempty"`
	AllocatedStorage                 int    `xml:",omitempty"`
	MultiAZ                          *bool  `xml:",omitempty"`
	EngineVersion                    string `xml:",omitempty"`
	Iops                             int    `xml:",omitempty"`
	StorageThroughput                int    `xml:",omitempty"`
	StorageType                      string `xml:",omitempty"`
	CACertificateIdentifier          string `xml:",omitempty"`
	IAMDatabaseAuthenticationEnabled *bool  `xml:",omitempty"`
}

func pendingOut(r *account.Resource) pendingXML {
	var out pendingXML
	for k := range props.Map(r.Data, "held") {
		text, n := props.Str(r.Props, k), props.Int(r.Props, 0, k)
		switch k {
		case "DBInstanceClass":
			out.DBInstanceClass = text
		case "AllocatedStorage":
			out.AllocatedStorage = n
		case "MultiAZ":
			on := props.Bool(r.Props, false, k)
			out.MultiAZ = &on
		case "EngineVersion":
			out.EngineVersion = props.Str(r.Data, "coming", "version")
		case "Iops":
			out.Iops = n
		case "StorageThroughput":
			out.StorageThroughput = n
		case "StorageType":
			out.StorageType = text
		case "CACertificateIdentifier":
			out.CACertificateIdentifier = authority(r.Props)
		case "EnableIAMDatabaseAuthentication":
			on := props.Bool(r.Props, false, k)
			out.IAMDatabaseAuthenticationEnabled = &on
		}
	}
	return out
}

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
	PendingModifiedValues                                           pendingXML
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
	p := effective(r)
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
		PreferredBackupWindow: or(props.Str(p, "PreferredBackupWindow"), defaultBackupWindow), PreferredMaintenanceWindow: strings.ToLower(or(props.Str(p, "PreferredMaintenanceWindow"), defaultMaintenanceWindow)),
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
		PendingModifiedValues: pendingOut(r),
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
			out.LatestRestorableTime = iso(archivedUntil(tx, r))
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

// changeable are the parameters of ModifyDBInstance that are modelled, with
// CloudFormation's names where they differ.
var changeable = map[string]string{
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
		name, ok := changeable[k]
		switch {
		case k == "DBInstanceIdentifier" || k == "ApplyImmediately" || k == "RotateMasterUserPassword":
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
	immediately, turn := r.Bool("ApplyImmediately", false), r.Bool("RotateMasterUserPassword", false)
	switch {
	case turn && !props.Bool(next, false, "ManageMasterUserPassword"):
		return nil, combination("You can't specify RotateMasterUserPassword unless ManageMasterUserPassword is true.")
	case turn && !immediately:
		return nil, combination("You must specify ApplyImmediately when you rotate the master user password.")
	case !immediately:
		i.Data["later"] = true
	}
	_, err = tx.Update(i, next, true)
	delete(i.Data, "later")
	if err == nil && turn {
		err = renew(tx, i)
	}
	if err != nil {
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
	// An instance that failed is deleted only without a last snapshot.
	// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBInstance.html
	if final != "" {
		if i.Status == "failed" {
			return nil, account.Errorf("InvalidDBInstanceState", "Cannot create a snapshot because the database instance %s is not currently in the available state.", i.ID)
		}
		if _, err := takeSnapshot(tx, i, final, "manual"); err != nil {
			return nil, err
		}
		i.Data["finalSnapshot"] = final
	}
	i.Props["DeleteAutomatedBackups"] = r.Bool("DeleteAutomatedBackups", true)
	if _, err := tx.Delete(i, true); err != nil {
		return nil, err
	}
	return oneInstance{instanceOut(tx, i)}, nil
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
	x := tagged(tx, r.String("ResourceName"))
	if x == nil {
		return nil, noResource(r.String("ResourceName"))
	}
	return struct {
		TagList []tagXML `xml:"TagList>Tag"`
	}{tagsXML(x.Tags)}, nil
}
