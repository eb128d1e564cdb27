package rds_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// world is an account with a network of three zones, a subnet group "group" and
// a role for monitoring.
type world struct {
	*account.Account
	now     time.Time
	subnets []any
	group   string
	role    string
	foreign string // a security group of another VPC
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}, Events: rds.Events()}
	for _, list := range [][]*account.Type{rds.Types(), ec2.Types(), iam.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	// What RDS writes into services of others is stored as it is.
	for _, name := range []string{"AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"} {
		model.Types[name] = &account.Type{Name: name, Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = props.Str(r.Props, "Name") + props.Str(r.Props, "LogGroupName")
			return nil
		}}
	}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }})
	w.do(t, func(tx *account.Tx) error {
		vpc, _, err := tx.Create(ec2.TypeVPC, map[string]any{"CidrBlock": "10.0.0.0/16"}, "", true)
		if err != nil {
			return err
		}
		for i, z := range tx.Zones() {
			s, _, err := tx.Create(ec2.TypeSubnet, map[string]any{"VpcId": vpc.ID, "CidrBlock": "10.0." + string(rune('0'+i)) + ".0/24", "AvailabilityZone": z.Name}, "", true)
			if err != nil {
				return err
			}
			w.subnets = append(w.subnets, s.ID)
		}
		g, _, err := tx.Create(rds.TypeSubnetGroup, map[string]any{"DBSubnetGroupDescription": "d", "SubnetIds": w.subnets}, "", true)
		if err != nil {
			return err
		}
		w.group = g.ID
		other, _, err := tx.Create(ec2.TypeVPC, map[string]any{"CidrBlock": "10.1.0.0/16"}, "", true)
		if err != nil {
			return err
		}
		w.foreign = props.Str(other.Attrs, "DefaultSecurityGroup")
		r, _, err := tx.Create(iam.TypeRole, map[string]any{"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
			"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"Service": "monitoring.rds.amazonaws.com"},
		}}}}, "", true)
		if err == nil {
			w.role = props.Str(r.Attrs, "Arn")
		}
		return err
	})
	return w
}

func (w *world) do(t *testing.T, f func(*account.Tx) error) {
	t.Helper()
	if err := w.Do(f); err != nil {
		t.Fatal(err)
	}
}

func (w *world) instance(change map[string]any) map[string]any {
	p := map[string]any{
		"DBInstanceIdentifier": "Db", "Engine": "postgres", "EngineVersion": "17", "DBInstanceClass": "db.m7g.large", "AllocatedStorage": "100", "StorageType": "gp3",
		"DBSubnetGroupName": w.group, "MasterUsername": "master", "ManageMasterUserPassword": true, "StorageEncrypted": true,
	}
	for k, v := range change {
		if v == nil {
			delete(p, k)
			continue
		}
		p[k] = v
	}
	return p
}

// code is the service's code and message of an error, or "".
func code(err error) string {
	var e *account.Error
	if errors.As(err, &e) {
		return e.Code + ": " + e.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// An instance is refused whose storage, performance, windows, monitoring, logs,
// password, key or network do not fit together.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html
func TestInstanceIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		rds.SeedSnapshot(tx, "finished", "17.5", "master", 50, "")
		rds.SeedSnapshot(tx, "unfinished", "17.5", "master", 50, "").Status = "creating"
		_, _, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{"DBInstanceIdentifier": "taken"}), "", true)
		return err
	})
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"identifier":           {map[string]any{"DBInstanceIdentifier": "1db"}, "InvalidParameterValue: The parameter DBInstanceIdentifier"},
		"version":              {map[string]any{"EngineVersion": "17.99"}, "InvalidParameterCombination: Cannot find version 17.99 for postgres"},
		"class":                {map[string]any{"DBInstanceClass": "db.m9z.large"}, "InvalidParameterValue: Invalid DB Instance class: db.m9z.large"},
		"small disk":           {map[string]any{"AllocatedStorage": 10}, "InvalidParameterValue: Invalid storage size for engine name postgres and storage type gp3: 10"},
		"iops on small gp3":    {map[string]any{"Iops": 12000}, "InvalidParameterCombination: You can't specify IOPS or storage throughput"},
		"throughput on gp2":    {map[string]any{"StorageType": "gp2", "StorageThroughput": 500}, "InvalidParameterCombination: You can't specify storage throughput for storage type gp2."},
		"throughput too high":  {map[string]any{"AllocatedStorage": 400, "Iops": 12000, "StorageThroughput": 3500}, "InvalidParameterCombination: The storage throughput"},
		"zone of multi az":     {map[string]any{"MultiAZ": true, "AvailabilityZone": "us-east-1a"}, "InvalidParameterCombination: Requesting a specific availability zone is not valid for Multi-AZ instances."},
		"zone not covered":     {map[string]any{"AvailabilityZone": "us-east-1z"}, "InvalidVPCNetworkStateFault: "},
		"group":                {map[string]any{"DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault: "},
		"security group":       {map[string]any{"VPCSecurityGroups": []any{"sg-0"}}, "InvalidParameterValue: Invalid security group"},
		"key":                  {map[string]any{"KmsKeyId": "0000"}, "KMSKeyNotAccessibleFault: "},
		"two passwords":        {map[string]any{"MasterUserPassword": "password1"}, "InvalidParameterCombination: You can't specify MasterUserPassword"},
		"no password":          {map[string]any{"ManageMasterUserPassword": nil}, "InvalidParameterCombination: The parameter MasterUserPassword must be provided"},
		"reserved user":        {map[string]any{"MasterUsername": "rdsadmin"}, "InvalidParameterValue: MasterUsername rdsadmin cannot be used"},
		"retention":            {map[string]any{"BackupRetentionPeriod": 36}, "InvalidParameterValue: Invalid backup retention period: 36"},
		"windows":              {map[string]any{"PreferredBackupWindow": "23:30-00:30", "PreferredMaintenanceWindow": "mon:00:00-mon:01:00"}, "InvalidParameterValue: The backup window and maintenance window must not overlap."},
		"short window":         {map[string]any{"PreferredBackupWindow": "23:30-23:40"}, "InvalidParameterValue: The backup window must be at least 30 minutes."},
		"monitoring, no role":  {map[string]any{"MonitoringInterval": 60}, "InvalidParameterCombination: A MonitoringRoleARN value is required"},
		"monitoring, bad role": {map[string]any{"MonitoringInterval": 60, "MonitoringRoleArn": "arn:aws:iam::123456789012:role/x"}, "InvalidParameterValue: IAM role ARN value is invalid"},
		"insights retention":   {map[string]any{"EnablePerformanceInsights": true, "PerformanceInsightsRetentionPeriod": 8}, "InvalidParameterValue: Invalid Performance Insights retention period"},
		"logs":                 {map[string]any{"EnableCloudwatchLogsExports": []any{"audit"}}, "InvalidParameterCombination: You cannot use the log types 'audit' with engine version postgres 17.9"},
		"parameter group":      {map[string]any{"DBParameterGroupName": "none"}, "DBParameterGroupNotFound: "},
		"snapshot":             {map[string]any{"DBSnapshotIdentifier": "none"}, "DBSnapshotNotFound: "},
		"taken":                {map[string]any{"DBInstanceIdentifier": "TAKEN"}, "DBInstanceAlreadyExists: DB instance already exists"},
		"no class":             {map[string]any{"DBInstanceClass": nil}, "MissingParameter: "},
		"no engine":            {map[string]any{"Engine": nil}, "MissingParameter: "},
		"IPv6":                 {map[string]any{"NetworkType": "DUAL"}, "NotModelled: NetworkType DUAL is not modelled"},
		"replica":              {map[string]any{"SourceDBInstanceIdentifier": "x"}, "NotModelled: SourceDBInstanceIdentifier is not modelled"},
		"no disk":              {map[string]any{"AllocatedStorage": nil}, "InvalidParameterValue: Invalid storage size for engine name postgres and storage type gp3"},
		"disk type":            {map[string]any{"StorageType": "standard"}, "InvalidParameterValue: Invalid storage type: standard"},
		"low ceiling":          {map[string]any{"MaxAllocatedStorage": 100}, "InvalidParameterCombination: Max storage size must be greater than storage size"},
		"iops of gp2":          {map[string]any{"StorageType": "gp2", "Iops": 3000}, "InvalidParameterCombination: You can't specify IOPS for storage type gp2."},
		"io1 without iops":     {map[string]any{"StorageType": "io1"}, "InvalidParameterCombination: The parameter Iops must be provided"},
		"too many iops":        {map[string]any{"StorageType": "io1", "Iops": 50001}, "InvalidParameterValue: Invalid iops value"},
		"low throughput":       {map[string]any{"AllocatedStorage": 400, "Iops": 12000, "StorageThroughput": 499}, "InvalidParameterValue: Invalid storage throughput value"},
		"window format":        {map[string]any{"PreferredBackupWindow": "3:00-4:00"}, "InvalidParameterValue: Invalid backup window format"},
		"weekday":              {map[string]any{"PreferredMaintenanceWindow": "so:03:00-so:04:00"}, "InvalidParameterValue: Invalid maintenance window format"},
		"long window":          {map[string]any{"PreferredMaintenanceWindow": "mon:03:00-tue:04:00"}, "InvalidParameterValue: Maintenance window must be less than 24 hours."},
		"interval":             {map[string]any{"MonitoringInterval": 7}, "InvalidParameterValue: Invalid value of MonitoringInterval: 7"},
		"role, no monitoring":  {map[string]any{"MonitoringRoleArn": w.role}, "InvalidParameterCombination: You can't specify a MonitoringRoleARN"},
		"insights off":         {map[string]any{"PerformanceInsightsRetentionPeriod": 7}, "InvalidParameterCombination: To enable Performance Insights"},
		"advanced insights":    {map[string]any{"DatabaseInsightsMode": "advanced"}, "InvalidParameterCombination: You can't enable the Advanced mode"},
		"key, not encrypted":   {map[string]any{"KmsKeyId": "alias/aws/rds", "StorageEncrypted": false}, "InvalidParameterCombination: KmsKeyId can't be specified for an unencrypted DB instance"},
		"key of the secret":    {map[string]any{"MasterUserSecret": map[string]any{"KmsKeyId": "none"}}, "KMSKeyNotAccessibleFault: "},
		"no user":              {map[string]any{"MasterUsername": nil}, "InvalidParameterValue: The parameter MasterUsername must be provided"},
		"user":                 {map[string]any{"MasterUsername": "1user"}, "InvalidParameterValue: The parameter MasterUsername must begin with a letter"},
		"short password":       {map[string]any{"ManageMasterUserPassword": nil, "MasterUserPassword": "short"}, "InvalidParameterValue: The parameter MasterUserPassword is not a valid password because"},
		"password":             {map[string]any{"ManageMasterUserPassword": nil, "MasterUserPassword": "pass@word"}, "InvalidParameterValue: The parameter MasterUserPassword is not a valid password. Only"},
		"database":             {map[string]any{"DBName": "my-db"}, "InvalidParameterValue: DBName must begin with a letter"},
		"reserved database":    {map[string]any{"DBName": "DB"}, "InvalidParameterValue: DBName DB cannot be used."},
		"no group":             {map[string]any{"DBSubnetGroupName": nil}, "NotModelled: A DB instance without a DB subnet group is not modelled"},
		"other VPC":            {map[string]any{"VPCSecurityGroups": []any{w.foreign}}, "InvalidParameterCombination: The DB instance and EC2 security group are in different VPCs."},
		"unfinished snapshot":  {map[string]any{"DBSnapshotIdentifier": "unfinished"}, "InvalidDBSnapshotState: "},
		"older than snapshot":  {map[string]any{"DBSnapshotIdentifier": "finished", "EngineVersion": "17.2", "MasterUsername": nil}, "InvalidParameterCombination: Cannot find upgrade path from 17.5 to 17.2."},
		"less than snapshot":   {map[string]any{"DBSnapshotIdentifier": "finished", "MasterUsername": nil, "AllocatedStorage": 49}, "InvalidParameterValue: Invalid storage size 49"},
		"other engine":         {map[string]any{"Engine": "mysql"}, "NotModelled: DB engine mysql is not modelled"},
		"as good as it gets": {map[string]any{
			"MultiAZ": true, "MonitoringInterval": "60", "MonitoringRoleArn": w.role, "EnablePerformanceInsights": "true", "PerformanceInsightsRetentionPeriod": 7,
			"EnableCloudwatchLogsExports": []any{"postgresql"}, "PreferredBackupWindow": "03:00-04:00", "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
			"AllocatedStorage": 400, "Iops": 12000, "StorageThroughput": 500, "MaxAllocatedStorage": 1000,
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fork := w.Clone(func() time.Time { return w.now })
			err := fork.Do(func(tx *account.Tx) error {
				_, _, err := tx.Create(rds.TypeInstance, w.instance(c.change), "", true)
				return err
			})
			if got := code(err); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A parameter of a parameter group must be one that can be changed, with a value
// that it takes.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Parameters.html
func TestGroupsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		_, _, err := tx.Create(rds.TypeParameterGroup, map[string]any{"DBParameterGroupName": "taken", "Family": "postgres17"}, "", true)
		return err
	})
	for name, c := range map[string]struct {
		typ   string
		props map[string]any
		want  string
	}{
		"one zone":    {rds.TypeSubnetGroup, map[string]any{"SubnetIds": w.subnets[:1]}, "DBSubnetGroupDoesNotCoverEnoughAZs: The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: us-east-1a."},
		"reserved":    {rds.TypeSubnetGroup, map[string]any{"DBSubnetGroupName": "Default", "SubnetIds": w.subnets}, "InvalidParameterValue: "},
		"taken":       {rds.TypeSubnetGroup, map[string]any{"DBSubnetGroupName": strings.ToUpper(w.group), "SubnetIds": w.subnets}, "DBSubnetGroupAlreadyExists: "},
		"no subnet":   {rds.TypeSubnetGroup, map[string]any{"SubnetIds": []any{"subnet-0"}}, "InvalidSubnet: "},
		"group taken": {rds.TypeParameterGroup, map[string]any{"DBParameterGroupName": "TAKEN", "Family": "postgres17"}, "DBParameterGroupAlreadyExists: Parameter group taken already exists"},
		"group name":  {rds.TypeParameterGroup, map[string]any{"DBParameterGroupName": "a_b", "Family": "postgres17"}, "InvalidParameterValue: The parameter DBParameterGroupName"},
		"family":      {rds.TypeParameterGroup, map[string]any{"Family": "postgres9"}, "InvalidParameterValue: ParameterGroupFamily postgres9"},
		"parameter":   {rds.TypeParameterGroup, map[string]any{"Family": "postgres17", "Parameters": map[string]any{"rds.forcessl": "1"}}, "InvalidParameterValue: Could not find parameter with name: rds.forcessl"},
		"value":       {rds.TypeParameterGroup, map[string]any{"Family": "postgres17", "Parameters": map[string]any{"rds.force_ssl": "2"}}, "InvalidParameterValue: Invalid parameter value: 2 for: rds.force_ssl allowed values are: 0,1"},
		"range":       {rds.TypeParameterGroup, map[string]any{"Family": "postgres17", "Parameters": map[string]any{"log_min_duration_statement": "-2"}}, "InvalidParameterValue: Invalid parameter value: -2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := w.Clone(func() time.Time { return w.now }).Do(func(tx *account.Tx) error {
				_, _, err := tx.Create(c.typ, c.props, "", true)
				return err
			})
			if got := code(err); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestLife takes an instance through its life, with what blocks whose deletion.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var arn, resource string
	w.do(t, func(tx *account.Tx) error {
		_, _, err := tx.Create(rds.TypeParameterGroup, map[string]any{"DBParameterGroupName": "Params", "Family": "postgres17", "Parameters": map[string]any{"rds.force_ssl": "1"}}, "", true)
		if err != nil {
			return err
		}
		r, d, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{
			"DeletionProtection": true, "DBParameterGroupName": "params", "EnableCloudwatchLogsExports": []any{"postgresql"}, "AvailabilityZone": "us-east-1b", "CopyTagsToSnapshot": true,
			"Tags": []any{map[string]any{"Key": "a", "Value": "b"}}, "BackupRetentionPeriod": 7,
		}), "arn:aws:cloudformation:us-east-1:123456789012:stack/data/1", true)
		if err != nil {
			return err
		}
		if d != 420*time.Second || r.ID != "db" {
			t.Errorf("creation of %s takes %v", r.ID, d)
		}
		arn, resource = props.Str(r.Attrs, "DBInstanceArn"), props.Str(r.Attrs, "DbiResourceId")
		return nil
	})
	w.now = w.now.Add(421 * time.Second)
	w.do(t, func(tx *account.Tx) error {
		r := tx.Get(rds.TypeInstance, "db")
		faces := ec2.InterfacesOf(tx, arn)
		if r.Status != "available" || len(faces) != 1 || props.Str(faces[0].Props, "SubnetId") != w.subnets[1] {
			t.Errorf("instance is %s with %d interfaces", r.Status, len(faces))
		}
		secret := props.Str(r.Attrs, "MasterUserSecret.SecretArn")
		if !strings.HasPrefix(secret, "rds!db-") || tx.Get("AWS::SecretsManager::Secret", secret) == nil {
			t.Errorf("secret %q isn't there", secret)
		}
		if tx.Get("AWS::Logs::LogGroup", "/aws/rds/instance/db/postgresql") == nil || tx.Get(rds.TypeAutomatedBackup, resource) == nil {
			t.Error("log group or automated backup isn't there")
		}
		for typ, want := range map[string]string{rds.TypeInstance: "InvalidParameterCombination: Cannot delete protected DB Instance, please disable deletion protection and try again."} {
			_, err := tx.Delete(tx.Get(typ, "db"), true)
			if d := cmp.Diff(want, code(err)); d != "" {
				t.Error(d)
			}
		}
		_, err := tx.Delete(tx.Get(rds.TypeSubnetGroup, w.group), true)
		if !strings.HasPrefix(code(err), "InvalidDBSubnetGroupStateFault: ") {
			t.Error(err)
		}
		_, err = tx.Delete(tx.Get(rds.TypeParameterGroup, "params"), true)
		if !strings.HasPrefix(code(err), "InvalidDBParameterGroupState: ") {
			t.Error(err)
		}
		return nil
	})
	change := func(p map[string]any) error {
		return w.Do(func(tx *account.Tx) error {
			r := tx.Get(rds.TypeInstance, "db")
			next, _ := account.Copy(r.Props).(map[string]any)
			for k, v := range p {
				if v == nil {
					delete(next, k)
					continue
				}
				next[k] = v
			}
			_, err := tx.Update(r, next, true)
			return err
		})
	}
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"AllocatedStorage": 50}, "InvalidParameterCombination: Requested storage size (50)"},
		{map[string]any{"EngineVersion": "16.9"}, "InvalidParameterCombination: Cannot find upgrade path from 17.9 to 16.9."},
		{map[string]any{"EngineVersion": "18.1"}, "InvalidParameterCombination: The AllowMajorVersionUpgrade flag"},
		{map[string]any{"EngineVersion": "18.1", "AllowMajorVersionUpgrade": true}, "InvalidParameterCombination: The parameter group params with DBParameterGroupFamily postgres17"},
		{map[string]any{"EngineVersion": "17.99"}, "InvalidParameterCombination: Cannot find version 17.99 for postgres"},
		{map[string]any{"ManageMasterUserPassword": false}, "InvalidParameterCombination: The parameter MasterUserPassword must be provided when"},
		{map[string]any{"DBSnapshotIdentifier": "other"}, account.ErrReplace.Error()},
		{map[string]any{"AvailabilityZone": "us-east-1c"}, account.ErrReplace.Error()},
		{map[string]any{"MultiAZ": true, "AvailabilityZone": nil}, ""},
		{map[string]any{"MultiAZ": false}, "InvalidDBInstanceState: "},
		{map[string]any{"DeletionProtection": false}, ""},
	} {
		if got := code(change(c.change)); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("update %v: got %q, want %q", c.change, got, c.want)
		}
	}
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		r := tx.Get(rds.TypeInstance, "db")
		if n := len(ec2.InterfacesOf(tx, arn)); n != 2 || r.Status != "available" {
			t.Errorf("standby: %d interfaces, %s", n, r.Status)
		}
		r.Data["DeletionPolicy"] = "Snapshot"
		r.LogicalID = "Database"
		d, err := tx.Delete(r, true)
		if d != 600*time.Second {
			t.Errorf("deletion with snapshot takes %v", d)
		}
		return err
	})
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		snapshots := tx.List(rds.TypeSnapshot)
		if tx.Get(rds.TypeInstance, "db") != nil || len(snapshots) != 1 || len(tx.List(rds.TypeAutomatedBackup)) != 0 || len(ec2.InterfacesOf(tx, arn)) != 0 || len(tx.List("AWS::SecretsManager::Secret")) != 0 {
			t.Fatalf("left: %d snapshots", len(snapshots))
		}
		s := snapshots[0]
		if s.Status != "available" || !strings.HasPrefix(s.ID, "data-snapshot-database-") || s.Tags["a"] != "b" {
			t.Errorf("final snapshot %s is %s, tags %v", s.ID, s.Status, s.Tags)
		}
		_, _, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{"DBSnapshotIdentifier": s.ID}), "", true)
		if !strings.HasPrefix(code(err), "InvalidParameterCombination: MasterUsername can't be specified") {
			t.Error(err)
		}
		r, _, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{"DBSnapshotIdentifier": s.ID, "MasterUsername": nil}), "", true)
		if err != nil {
			return err
		}
		if r.Data["user"] != "master" || r.Data["version"] != "17.9" {
			t.Errorf("restored %v", r.Data)
		}
		return nil
	})
}

func call(t *testing.T, w *world, op string, in map[string]any) (any, error) {
	t.Helper()
	for _, o := range rds.Service().Operations {
		if o.Name == op {
			var out any
			err := w.Do(func(tx *account.Tx) error {
				var err error
				out, err = o.Do(tx, &wire.Request{In: in, Caller: "arn:aws:iam::123456789012:role/admin"})
				return err
			})
			return out, err
		}
	}
	t.Fatalf("no operation %s", op)
	return nil, nil
}

func TestAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		_, _, err := tx.Create(rds.TypeInstance, w.instance(map[string]any{"DeleteAutomatedBackups": false, "BackupRetentionPeriod": 3}), "", true)
		return err
	})
	if _, err := call(t, w, "CreateDBSnapshot", map[string]any{"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "s"}); !strings.HasPrefix(code(err), "InvalidDBInstanceState: ") {
		t.Error(err)
	}
	w.now = w.now.Add(time.Hour)
	for _, c := range []struct {
		op   string
		in   map[string]any
		want string
	}{
		{"DescribeDBInstances", map[string]any{"DBInstanceIdentifier": "none"}, "DBInstanceNotFound: DBInstance none not found."},
		{"ModifyDBInstance", map[string]any{"DBInstanceIdentifier": "db", "DeletionProtection": "true", "ApplyImmediately": "true"}, ""},
		{"DeleteDBInstance", map[string]any{"DBInstanceIdentifier": "db", "SkipFinalSnapshot": "true"}, "InvalidParameterCombination: Cannot delete protected DB Instance"},
		{"ModifyDBInstance", map[string]any{"DBInstanceIdentifier": "db", "DeletionProtection": "false"}, ""},
		{"CreateDBSnapshot", map[string]any{"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "S"}, ""},
		{"CreateDBSnapshot", map[string]any{"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "s"}, "DBSnapshotAlreadyExists: "},
		{"DeleteDBSnapshot", map[string]any{"DBSnapshotIdentifier": "s"}, "InvalidDBSnapshotState: "},
		{"DeleteDBInstance", map[string]any{"DBInstanceIdentifier": "db"}, "InvalidParameterCombination: FinalDBSnapshotIdentifier is required"},
		{"DescribeDBInstances", map[string]any{}, ""},
		{"DeleteDBSnapshot", map[string]any{"DBSnapshotIdentifier": "rds:db-2026-11-02-08-07"}, "InvalidDBSnapshotState: Deletion of automated snapshots is not permitted"},
		{"DescribeDBSnapshots", map[string]any{"DBSnapshotIdentifier": "s"}, ""},
		{"DescribeDBParameters", map[string]any{"DBParameterGroupName": "default.postgres17"}, ""},
		{"DescribeDBSubnetGroups", map[string]any{}, ""},
		{"DeleteDBInstance", map[string]any{"DBInstanceIdentifier": "db", "SkipFinalSnapshot": "true", "DeleteAutomatedBackups": "false"}, ""},
	} {
		if _, err := call(t, w, c.op, c.in); !strings.HasPrefix(code(err), c.want) || c.want == "" && err != nil {
			t.Errorf("%s: got %q, want %q", c.op, code(err), c.want)
		}
	}
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		if b := tx.List(rds.TypeAutomatedBackup); len(b) != 1 || b[0].Status != "retained" {
			t.Errorf("automated backups: %v", b)
		}
		return nil
	})
	w.now = w.now.Add(3 * 24 * time.Hour)
	w.do(t, func(tx *account.Tx) error {
		if b := tx.List(rds.TypeAutomatedBackup); len(b) != 0 {
			t.Errorf("the automated backup has outlived its retention: %v", b)
		}
		return nil
	})
}

// TestGroupsChangeByAPI changes the groups of an instance behind its stack's
// back.
func TestGroupsChangeByAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group string
	w.do(t, func(tx *account.Tx) error {
		g, _, err := tx.Create(rds.TypeParameterGroup, map[string]any{"Description": "d", "Family": "postgres17", "Parameters": map[string]any{"rds.force_ssl": "1"}}, "", true)
		if err != nil {
			return err
		}
		group = g.ID
		_, _, err = tx.Create(rds.TypeInstance, w.instance(map[string]any{"DBParameterGroupName": g.ID, "MaxAllocatedStorage": 200, "EnableCloudwatchLogsExports": []any{"postgresql"}}), "", true)
		return err
	})
	w.now = w.now.Add(time.Hour)
	set := func(name, value, method string) map[string]any {
		return map[string]any{"DBParameterGroupName": group, "Parameters": []any{map[string]any{"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}}}
	}
	change := func(k string, v any) map[string]any { return map[string]any{"DBInstanceIdentifier": "db", k: v} }
	for _, c := range []struct {
		name, op string
		in       map[string]any
		want     string
	}{
		{"dynamic", "ModifyDBParameterGroup", set("rds.force_ssl", "0", "immediate"), ""},
		{"value", "ModifyDBParameterGroup", set("rds.force_ssl", "2", "immediate"), "InvalidParameterValue: "},
		{"static at once", "ModifyDBParameterGroup", set("max_connections", "100", "immediate"), "InvalidParameterCombination: cannot use immediate apply method"},
		{"default group", "ModifyDBParameterGroup", map[string]any{"DBParameterGroupName": "default.postgres17", "Parameters": []any{map[string]any{}}}, "InvalidDBParameterGroupState: "},
		{"no group", "ModifyDBParameterGroup", map[string]any{"DBParameterGroupName": "none"}, "DBParameterGroupNotFound: "},
		{"nothing", "ModifyDBParameterGroup", map[string]any{"DBParameterGroupName": group}, "InvalidParameterValue: "},
		{"one zone", "ModifyDBSubnetGroup", map[string]any{"DBSubnetGroupName": w.group, "SubnetIds": w.subnets[:1]}, "DBSubnetGroupDoesNotCoverEnoughAZs: "},
		{"subnet in use", "ModifyDBSubnetGroup", map[string]any{"DBSubnetGroupName": w.group, "SubnetIds": w.subnets[1:]}, "InvalidParameterValue: Some of the subnets"},
		{"fewer subnets", "ModifyDBSubnetGroup", map[string]any{"DBSubnetGroupName": w.group, "SubnetIds": w.subnets[:2]}, ""},
		{"no subnet group", "ModifyDBSubnetGroup", map[string]any{"DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault: "},
	} {
		if _, err := call(t, w, c.op, c.in); !strings.HasPrefix(code(err), c.want) || c.want == "" && err != nil {
			t.Errorf("%s: got %q, want %q", c.name, code(err), c.want)
		}
	}
	props := func() (p, data map[string]any) {
		w.do(t, func(tx *account.Tx) error {
			r := tx.Get(rds.TypeInstance, "db")
			p, data = r.Props, r.Data
			return nil
		})
		return p, data
	}
	if _, data := props(); data["parameters"] != "in-sync" {
		t.Errorf("dynamic parameters are %v", data["parameters"])
	}
	for _, in := range []map[string]any{
		change("MaxAllocatedStorage", "100"),
		change("CloudwatchLogsExportConfiguration", map[string]any{"EnableLogTypes": []any{"upgrade"}, "DisableLogTypes": []any{"postgresql"}}),
		change("DBParameterGroupName", "default.postgres17"),
	} {
		if _, err := call(t, w, "ModifyDBInstance", in); err != nil {
			t.Error(err)
		}
		w.now = w.now.Add(time.Hour)
	}
	p, data := props()
	if diff := cmp.Diff([]any{"upgrade"}, p["EnableCloudwatchLogsExports"]); diff != "" || p["MaxAllocatedStorage"] != nil || data["parameters"] != "pending-reboot" {
		t.Errorf("exports %v, storage up to %v, parameters %v", p["EnableCloudwatchLogsExports"], p["MaxAllocatedStorage"], data["parameters"])
	}
}

// A manual snapshot can be shared with other accounts; with everybody only if it
// isn't encrypted.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ShareSnapshot.html
func TestSnapshotsAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		rds.SeedSnapshot(tx, "plain", "17.5", "master", 50, "")
		rds.SeedSnapshot(tx, "ours", "17.5", "master", 50, tx.ARN("kms", "key/k"))
		return nil
	})
	share := func(id string, add, remove []any) map[string]any {
		return map[string]any{"DBSnapshotIdentifier": id, "AttributeName": "restore", "ValuesToAdd": add, "ValuesToRemove": remove}
	}
	for _, c := range []struct {
		id          string
		add, remove []any
		want        string
		shares      []any
	}{
		{"ours", []any{"999999999999"}, nil, "", []any{"999999999999"}},
		{"ours", []any{"all"}, nil, "InvalidParameterValue: Encrypted snapshots can't be shared publicly", []any{"999999999999"}},
		{"ours", nil, []any{"999999999999"}, "", []any{}},
		{"plain", []any{"all", "all"}, nil, "", []any{"all"}},
		{"none", []any{"all"}, nil, "DBSnapshotNotFound: ", nil},
	} {
		if _, err := call(t, w, "ModifyDBSnapshotAttribute", share(c.id, c.add, c.remove)); !strings.HasPrefix(code(err), c.want) || c.want == "" && err != nil {
			t.Errorf("%s %v: got %q, want %q", c.id, c.add, code(err), c.want)
		}
		w.do(t, func(tx *account.Tx) error {
			if s := tx.Get(rds.TypeSnapshot, c.id); s != nil {
				if diff := cmp.Diff(c.shares, s.Data["restore"]); diff != "" {
					t.Errorf("%s %v: -want +got:\n%s", c.id, c.add, diff)
				}
			}
			return nil
		})
	}
	for id, want := range map[string]string{"plain": "", "none": "DBSnapshotNotFound: "} {
		if _, err := call(t, w, "DescribeDBSnapshotAttributes", map[string]any{"DBSnapshotIdentifier": id}); !strings.HasPrefix(code(err), want) || want == "" && err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
