package rds_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	secrets "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

type obj = map[string]any

// check wants an error that begins with want, a code and perhaps words.
func check(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(err); !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// create makes the world's instance with changes.
func (w *world) create(change obj) error {
	return w.Do(func(tx *account.Tx) error {
		_, _, err := tx.Create(rds.TypeInstance, w.instance(change), "", true)
		return err
	})
}

// up is a world with the instance "db" in service.
func up(t *testing.T, change obj) *world {
	t.Helper()
	w := newWorld(t)
	check(t, w.create(change), "")
	w.now = w.now.Add(time.Hour)
	return w
}

// update changes the instance as a stack would.
func (w *world) update(change obj) error {
	return w.Do(func(tx *account.Tx) error {
		r := tx.Get(rds.TypeInstance, "db")
		next, _ := account.Copy(r.Props).(map[string]any)
		for k, v := range change {
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

// state is the status of the instance, "" if it isn't there, and what is read
// of it.
func (w *world) state(t *testing.T) (status string, p, data obj) {
	t.Helper()
	w.do(t, func(tx *account.Tx) error {
		if r := tx.Get(rds.TypeInstance, "db"); r != nil {
			status, p, data = r.Status, tx.Read(r), r.Data
		}
		return nil
	})
	return status, p, data
}

// count counts the resources of a type.
func (w *world) count(t *testing.T, typ string) (n int) {
	t.Helper()
	w.do(t, func(tx *account.Tx) error {
		n = len(tx.List(typ))
		return nil
	})
	return n
}

// A subnet group needs subnets in two Availability Zones.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
func TestSubnetGroupNeedsTwoZones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := call(t, w, "CreateDBSubnetGroup", obj{"DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d", "SubnetIds": w.subnets[:1]})
	check(t, err, "DBSubnetGroupDoesNotCoverEnoughAZs: The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: us-east-1a. Add subnets to cover at least 2 AZs.")
	_, err = call(t, w, "CreateDBSubnetGroup", obj{"DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d", "SubnetIds": w.subnets[:2]})
	check(t, err, "")
}

// A subnet that an instance has an interface in can't leave the subnet group.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBSubnetGroup.html
func TestSubnetInUse(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	_, err := call(t, w, "ModifyDBSubnetGroup", obj{"DBSubnetGroupName": w.group, "SubnetIds": w.subnets[1:]})
	check(t, err, "InvalidParameterValue: Some of the subnets to be deleted are currently in use: "+props.Str(w.subnets[0]))
}

// A subnet group or parameter group of an instance can't be deleted.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBSubnetGroup.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBParameterGroup.html
func TestGroupsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := call(t, w, "CreateDBParameterGroup", obj{"DBParameterGroupName": "p", "DBParameterGroupFamily": "postgres17", "Description": "d"})
	check(t, err, "")
	check(t, w.create(obj{"DBParameterGroupName": "p"}), "")
	_, err = call(t, w, "DeleteDBSubnetGroup", obj{"DBSubnetGroupName": w.group})
	check(t, err, "InvalidDBSubnetGroupStateFault: Cannot delete the subnet group")
	_, err = call(t, w, "DeleteDBParameterGroup", obj{"DBParameterGroupName": "p"})
	check(t, err, "InvalidDBParameterGroupState: One or more database instances are still members of this parameter group p")
}

// A Multi-AZ instance has a standby in another Availability Zone of its subnet
// group; which zone the primary is in can't be chosen then.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZSingleStandby.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
func TestMultiAZ(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	check(t, w.create(obj{"MultiAZ": true, "AvailabilityZone": "us-east-1b"}), "InvalidParameterCombination: Requesting a specific availability zone is not valid for Multi-AZ instances.")
	check(t, w.create(obj{"MultiAZ": true}), "")
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		r := tx.Get(rds.TypeInstance, "db")
		if n := len(ec2.InterfacesOf(tx, props.Str(r.Attrs, "DBInstanceArn"))); n != 2 || r.Data["standby"] == r.Data["zone"] || r.Data["standby"] == nil {
			t.Errorf("%d interfaces, in %v with standby in %v", n, r.Data["zone"], r.Data["standby"])
		}
		return nil
	})
}

// An instance with deletion protection can't be deleted. A stack whose creation
// fails after it can't roll back, nor can the stack be deleted, until the
// protection is off.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_DeleteInstance.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html
func TestProtectionAgainstRollback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c, db := cfn.NewFromConfig(testkit.Config(s)), sdk.NewFromConfig(testkit.Config(s))
		const template = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}
  A: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.0.0/24, AvailabilityZone: us-east-1a}}
  B: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.1.0/24, AvailabilityZone: us-east-1b}}
  Group: {Type: AWS::RDS::DBSubnetGroup, Properties: {DBSubnetGroupDescription: d, SubnetIds: [!Ref A, !Ref B]}}
  Database:
    Type: AWS::RDS::DBInstance
    Properties: {DBInstanceIdentifier: db, Engine: postgres, DBInstanceClass: db.m7g.large, AllocatedStorage: "20", DBSubnetGroupName: !Ref Group, MasterUsername: m, ManageMasterUserPassword: true, DeletionProtection: true}
  Bad:
    Type: AWS::KMS::Alias
    DependsOn: Database
    Properties: {AliasName: alias/x, TargetKeyId: none}
`
		if _, err := c.CreateStack(ctx, &cfn.CreateStackInput{StackName: aws.String("s"), TemplateBody: aws.String(template)}); err != nil {
			t.Fatal(err)
		}
		status := func() string {
			time.Sleep(2 * time.Hour)
			out, err := c.DescribeStacks(ctx, &cfn.DescribeStacksInput{StackName: aws.String("s")})
			if err != nil {
				return testkit.Code(err)
			}
			return string(out.Stacks[0].StackStatus)
		}
		if got := status(); got != "ROLLBACK_FAILED" {
			t.Errorf("rolled back: %s", got)
		}
		events, err := c.DescribeStackEvents(ctx, &cfn.DescribeStackEventsInput{StackName: aws.String("s")})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range events.StackEvents {
			found = found || aws.ToString(e.LogicalResourceId) == "Database" && e.ResourceStatus == "DELETE_FAILED" && strings.Contains(aws.ToString(e.ResourceStatusReason), "Cannot delete protected DB Instance, please disable deletion protection and try again.")
		}
		if !found {
			t.Error("no event tells why")
		}
		remove := func() {
			if _, err := c.DeleteStack(ctx, &cfn.DeleteStackInput{StackName: aws.String("s")}); err != nil {
				t.Fatal(err)
			}
		}
		remove()
		if got := status(); got != "DELETE_FAILED" {
			t.Errorf("deleted: %s", got)
		}
		if _, err := db.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("db"), DeletionProtection: aws.Bool(false)}); err != nil {
			t.Fatal(err)
		}
		remove()
		if got := status(); got != "ValidationError" {
			t.Errorf("deleted without protection: %s", got)
		}
	})
}

// A template that names a snapshot must go on naming it: an instance whose
// DBSnapshotIdentifier changes or goes is replaced by another one.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
func TestSnapshotIdentifierSticks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		rds.SeedSnapshot(tx, "first", "17.5", "master", 50, "")
		rds.SeedSnapshot(tx, "second", "17.5", "master", 50, "")
		return nil
	})
	check(t, w.create(obj{"DBSnapshotIdentifier": "first", "MasterUsername": nil}), "")
	w.now = w.now.Add(time.Hour)
	check(t, w.update(obj{"DBSnapshotIdentifier": nil}), account.ErrReplace.Error())
	check(t, w.update(obj{"DBSnapshotIdentifier": "second"}), account.ErrReplace.Error())
	check(t, w.update(obj{"BackupRetentionPeriod": 3}), "")
}

// A restored instance takes user, database and key from its snapshot: they
// can't be given with it. It is no smaller and no older than the snapshot.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceFromDBSnapshot.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
func TestRestoredInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		rds.SeedSnapshot(tx, "s", "17.5", "master", 50, "")
		return nil
	})
	for _, c := range []struct {
		change obj
		want   string
	}{
		{obj{}, "InvalidParameterCombination: MasterUsername can't be specified"},
		{obj{"MasterUsername": nil, "DBName": "x"}, "InvalidParameterCombination: DBName can't be specified"},
		{obj{"MasterUsername": nil, "KmsKeyId": "alias/aws/rds"}, "InvalidParameterCombination: KmsKeyId can't be specified"},
		{obj{"MasterUsername": nil, "AllocatedStorage": "40"}, "InvalidParameterValue: Invalid storage size 40"},
		{obj{"MasterUsername": nil, "EngineVersion": "17.4"}, "InvalidParameterCombination: Cannot find upgrade path from 17.5 to 17.4."},
		{obj{"MasterUsername": nil, "DBSnapshotIdentifier": "none"}, "DBSnapshotNotFound: "},
		{obj{"MasterUsername": nil}, ""},
	} {
		p := obj{"DBSnapshotIdentifier": "s"}
		for k, v := range c.change {
			p[k] = v
		}
		check(t, w.create(p), c.want)
	}
	if _, _, data := w.state(t); data["user"] != "master" || data["version"] != "17.5" {
		t.Errorf("restored %v", data)
	}
}

// A deletion by API needs a final snapshot or the word that none is wanted, and
// a final snapshot outlives the instance.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DeleteDBInstance.html
func TestFinalSnapshot(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	for _, c := range []struct {
		in   obj
		want string
	}{
		{obj{}, "InvalidParameterCombination: FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."},
		{obj{"SkipFinalSnapshot": "true", "FinalDBSnapshotIdentifier": "last"}, "InvalidParameterCombination: FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot"},
		{obj{"FinalDBSnapshotIdentifier": "last"}, ""},
	} {
		c.in["DBInstanceIdentifier"] = "db"
		_, err := call(t, w, "DeleteDBInstance", c.in)
		check(t, err, c.want)
	}
	w.now = w.now.Add(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		if s := tx.List(rds.TypeSnapshot); tx.Get(rds.TypeInstance, "db") != nil || len(s) != 1 || s[0].ID != "last" || s[0].Status != "available" {
			t.Errorf("left %v", s)
		}
		return nil
	})
}

// The names of instances, snapshots and groups are unique, without regard to
// case.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	check(t, w.create(obj{"DBInstanceIdentifier": "DB"}), "DBInstanceAlreadyExists: DB instance already exists")
	_, err := call(t, w, "CreateDBSnapshot", obj{"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "s"})
	check(t, err, "")
	_, err = call(t, w, "CreateDBSnapshot", obj{"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "S"})
	check(t, err, "DBSnapshotAlreadyExists: ")
	_, err = call(t, w, "CreateDBSubnetGroup", obj{"DBSubnetGroupName": strings.ToUpper(w.group), "DBSubnetGroupDescription": "d", "SubnetIds": w.subnets})
	check(t, err, "DBSubnetGroupAlreadyExists: ")
}

// Storage only grows, by a tenth at least.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
func TestStorageOnlyGrows(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	check(t, w.update(obj{"AllocatedStorage": "90"}), "InvalidParameterCombination: Requested storage size (90) cannot be less than the current storage size (100)")
	check(t, w.update(obj{"AllocatedStorage": "105"}), "InvalidParameterCombination: Invalid storage size for modification")
	check(t, w.update(obj{"AllocatedStorage": "110"}), "")
}

// After a change of its storage an instance is optimized, works meanwhile, and
// takes no other change of its storage for six hours. CloudFormation waits
// until it is available.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
func TestStorageIsOptimized(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	check(t, w.update(obj{"AllocatedStorage": "200"}), "")
	w.now = w.now.Add(4 * time.Minute)
	if status, _, _ := w.state(t); status != "storage-optimization" {
		t.Errorf("status %s", status)
	}
	check(t, w.update(obj{"AllocatedStorage": "300"}), "InvalidParameterCombination: You can't currently modify the storage of this DB instance")
	check(t, w.update(obj{"BackupRetentionPeriod": 5}), "")
	w.now = w.now.Add(5 * time.Hour)
	if status, _, _ := w.state(t); status != "available" {
		t.Errorf("status %s", status)
	}
	check(t, w.update(obj{"StorageType": "gp2"}), "InvalidParameterCombination: You can't currently modify the storage of this DB instance")
	w.now = w.now.Add(time.Hour)
	check(t, w.update(obj{"AllocatedStorage": "300"}), "")
}

// An engine version must be one that RDS has, and is never changed to an earlier
// one.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBEngineVersions.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.PostgreSQL.html
func TestEngineVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	check(t, w.create(obj{"EngineVersion": "17.99"}), "InvalidParameterCombination: Cannot find version 17.99 for postgres")
	check(t, w.create(obj{"EngineVersion": "17.4"}), "")
	w.now = w.now.Add(time.Hour)
	check(t, w.update(obj{"EngineVersion": "16.9"}), "InvalidParameterCombination: Cannot find upgrade path from 17.4 to 16.9.")
	check(t, w.update(obj{"EngineVersion": "17.5"}), "")
}

// A new major version needs the flag that allows it, and a parameter group of
// its family.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.PostgreSQL.MajorVersion.Process.html
func TestMajorUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for family := range map[string]bool{"postgres17": true, "postgres18": true} {
		_, err := call(t, w, "CreateDBParameterGroup", obj{"DBParameterGroupName": family, "DBParameterGroupFamily": family, "Description": "d"})
		check(t, err, "")
	}
	check(t, w.create(obj{"EngineVersion": "17.4", "DBParameterGroupName": "postgres17"}), "")
	w.now = w.now.Add(time.Hour)
	check(t, w.update(obj{"EngineVersion": "18.1"}), "InvalidParameterCombination: The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version.")
	check(t, w.update(obj{"EngineVersion": "18.1", "AllowMajorVersionUpgrade": true}), "InvalidParameterCombination: The parameter group postgres17 with DBParameterGroupFamily postgres17 can't be used for this instance.")
	check(t, w.update(obj{"EngineVersion": "18.1", "AllowMajorVersionUpgrade": true, "DBParameterGroupName": "postgres18"}), "")
}

// A class must be one that RDS has for the engine, and a zone must have room
// for it.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
func TestClassIsOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	check(t, w.create(obj{"DBInstanceClass": "db.m9z.large"}), "InvalidParameterValue: Invalid DB Instance class: db.m9z.large")
	w.do(t, func(tx *account.Tx) error {
		tx.LoseZone("us-east-1a")
		return nil
	})
	check(t, w.create(obj{"AvailabilityZone": "us-east-1a"}), "InsufficientDBInstanceCapacity: ")
	check(t, w.create(nil), "")
	if _, _, data := w.state(t); data["zone"] != "us-east-1b" {
		t.Errorf("placed in %v", data["zone"])
	}
}

// A parameter group must be of the family of the instance's engine version.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithParamGroups.html
func TestParameterGroupFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := call(t, w, "CreateDBParameterGroup", obj{"DBParameterGroupName": "old", "DBParameterGroupFamily": "postgres16", "Description": "d"})
	check(t, err, "")
	check(t, w.create(obj{"DBParameterGroupName": "old"}), "InvalidParameterCombination: The parameter group old with DBParameterGroupFamily postgres16 can't be used for this instance.")
}

// Dynamic parameters take effect at once; static ones, and another parameter
// group, when the instance reboots.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithParamGroups.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RebootDBInstance.html
func TestStaticParametersWaitForAReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := call(t, w, "CreateDBParameterGroup", obj{"DBParameterGroupName": "p", "DBParameterGroupFamily": "postgres17", "Description": "d"})
	check(t, err, "")
	check(t, w.create(obj{"DBParameterGroupName": "p"}), "")
	w.now = w.now.Add(time.Hour)
	set := func(name, value, method string) error {
		_, err := call(t, w, "ModifyDBParameterGroup", obj{"DBParameterGroupName": "p", "Parameters": []any{obj{"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}}})
		return err
	}
	in := func(want string) {
		t.Helper()
		if _, _, data := w.state(t); data["parameters"] != want {
			t.Errorf("parameters are %v, want %s", data["parameters"], want)
		}
	}
	check(t, set("log_statement", "ddl", "immediate"), "")
	in("in-sync")
	check(t, set("max_connections", "100", "immediate"), "InvalidParameterCombination: cannot use immediate apply method for static parameter")
	check(t, set("max_connections", "100", "pending-reboot"), "")
	in("pending-reboot")
	_, err = call(t, w, "RebootDBInstance", obj{"DBInstanceIdentifier": "db"})
	check(t, err, "")
	if status, _, _ := w.state(t); status != "rebooting" {
		t.Errorf("status %s", status)
	}
	w.now = w.now.Add(10 * time.Minute)
	in("in-sync")
	check(t, w.update(obj{"DBParameterGroupName": "default.postgres17"}), "")
	w.now = w.now.Add(10 * time.Minute)
	in("pending-reboot")
}

// A change that isn't to be applied immediately waits for the maintenance
// window; until then the instance is as it was, and the change is pending.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.ApplyImmediately.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.Maintenance.html
func TestChangesWaitForTheWindow(t *testing.T) {
	t.Parallel()
	w := up(t, obj{"PreferredMaintenanceWindow": "tue:05:00-tue:06:00"}) // it is Monday, nine o'clock
	for _, k := range []string{"by API", "by CloudFormation"} {
		f := *w
		f.Account = w.Clone(func() time.Time { return f.now })
		if k == "by API" {
			_, err := call(t, &f, "ModifyDBInstance", obj{"DBInstanceIdentifier": "db", "DBInstanceClass": "db.m7g.xlarge", "MultiAZ": "true"})
			check(t, err, "")
		} else {
			check(t, f.update(obj{"DBInstanceClass": "db.m7g.xlarge", "MultiAZ": true, "ApplyImmediately": false}), "")
		}
		for _, at := range []struct {
			after         time.Duration
			status, class string
		}{
			{time.Minute, "available", "db.m7g.large"},
			{19*time.Hour + 58*time.Minute, "available", "db.m7g.large"},
			{2 * time.Minute, "modifying", "db.m7g.xlarge"},
			{time.Hour, "available", "db.m7g.xlarge"},
		} {
			f.now = f.now.Add(at.after)
			if status, p, _ := f.state(t); status != at.status || props.Str(p, "DBInstanceClass") != at.class {
				t.Errorf("%s, at %v: %s, %v; want %s, %s", k, f.now, status, p["DBInstanceClass"], at.status, at.class)
			}
		}
		if _, _, data := f.state(t); data["standby"] == nil {
			t.Errorf("%s: no standby after the window", k)
		}
	}
}

// Pending changes are shown, and applied by the next change that is to be
// applied immediately.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_PendingModifiedValues.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.ApplyImmediately.html
func TestPendingChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c := sdk.NewFromConfig(testkit.Config(s))
		id := databaseIn(t, s)
		if _, err := c.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: id, EngineVersion: aws.String("17.5"), AllocatedStorage: aws.Int32(50)}); err != nil {
			t.Fatal(err)
		}
		see := func() string {
			out, err := c.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: id})
			if err != nil {
				t.Fatal(err)
			}
			i := out.DBInstances[0]
			return strings.Join([]string{*i.DBInstanceStatus, *i.EngineVersion, aws.ToString(i.PendingModifiedValues.EngineVersion)}, " ")
		}
		if got, want := see(), "available 17.4 17.5"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if _, err := c.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: id, ApplyImmediately: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got, want := see(), "available 17.5 "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// databaseIn makes a small instance in a sandbox and waits for it.
func databaseIn(t *testing.T, s *sandbox.Sandbox) *string {
	t.Helper()
	vpc := testkit.MustCreate(t, s, ec2.TypeVPC, obj{"CidrBlock": "10.0.0.0/16"})
	var subnets []any
	for i, z := range []string{"us-east-1a", "us-east-1b"} {
		subnets = append(subnets, testkit.MustCreate(t, s, ec2.TypeSubnet, obj{"VpcId": vpc.ID, "CidrBlock": "10.0." + string(rune('0'+i)) + ".0/24", "AvailabilityZone": z}).ID)
	}
	g := testkit.MustCreate(t, s, rds.TypeSubnetGroup, obj{"DBSubnetGroupDescription": "d", "SubnetIds": subnets})
	c := sdk.NewFromConfig(testkit.Config(s))
	id := aws.String("db")
	if _, err := c.CreateDBInstance(t.Context(), &sdk.CreateDBInstanceInput{
		DBInstanceIdentifier: id, Engine: aws.String("postgres"), EngineVersion: aws.String("17.4"), DBInstanceClass: aws.String("db.m7g.large"), AllocatedStorage: aws.Int32(20),
		DBSubnetGroupName: &g.ID, MasterUsername: aws.String("master"), ManageMasterUserPassword: aws.Bool(true), StorageEncrypted: aws.Bool(true),
	}); err != nil {
		t.Fatal(err)
	}
	if err := sdk.NewDBInstanceAvailableWaiter(c).Wait(t.Context(), &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: id}, time.Hour); err != nil {
		t.Fatal(err)
	}
	return id
}

// Every day RDS takes a snapshot in the backup window and lets go of those that
// are older than the retention period.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html
func TestDailyBackups(t *testing.T) {
	t.Parallel()
	w := up(t, obj{"BackupRetentionPeriod": 3, "PreferredBackupWindow": "04:00-05:00"})
	var got []int
	for range 6 {
		got = append(got, w.count(t, rds.TypeSnapshot))
		w.now = w.now.Add(24 * time.Hour)
	}
	if d := cmp.Diff([]int{1, 2, 3, 4, 3, 3}, got); d != "" {
		t.Errorf("snapshots by day: %s", d)
	}
	check(t, w.update(obj{"BackupRetentionPeriod": 0}), "")
	w.now = w.now.Add(24 * time.Hour)
	if n, m := w.count(t, rds.TypeSnapshot), w.count(t, rds.TypeAutomatedBackup); n != 0 || m != 0 {
		t.Errorf("without backups there are %d snapshots and %d automated backups", n, m)
	}
}

// Automated backups go with their instance unless they are to be retained; then
// they stay for the retention period.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html
func TestRetainedBackups(t *testing.T) {
	t.Parallel()
	for _, retain := range []bool{false, true} {
		w := up(t, obj{"BackupRetentionPeriod": 3})
		in := obj{"DBInstanceIdentifier": "db", "SkipFinalSnapshot": "true"}
		if retain {
			in["DeleteAutomatedBackups"] = "false"
		}
		_, err := call(t, w, "DeleteDBInstance", in)
		check(t, err, "")
		for _, at := range []struct {
			after time.Duration
			want  bool
		}{{time.Hour, retain}, {2 * 24 * time.Hour, retain}, {24 * time.Hour, false}} {
			w.now = w.now.Add(at.after)
			if n, m := w.count(t, rds.TypeAutomatedBackup), w.count(t, rds.TypeSnapshot); (n == 1) != at.want || (m == 1) != at.want {
				t.Errorf("retain %v: after %v more there are %d backups and %d snapshots", retain, at.after, n, m)
			}
		}
	}
}

// A stopped instance is started again by RDS after seven days, and takes no
// changes meanwhile.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_StopInstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_StopDBInstance.html
func TestStoppedInstanceStarts(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	stop := func() {
		_, err := call(t, w, "StopDBInstance", obj{"DBInstanceIdentifier": "db"})
		check(t, err, "")
		w.now = w.now.Add(10 * time.Minute)
	}
	is := func(want string) {
		t.Helper()
		if got, _, _ := w.state(t); got != want {
			t.Errorf("at %v: %s, want %s", w.now, got, want)
		}
	}
	_, err := call(t, w, "StartDBInstance", obj{"DBInstanceIdentifier": "db"})
	check(t, err, "InvalidDBInstanceState: Instance db cannot be started as it is not in one of the following statuses: 'stopped, ")
	stop()
	is("stopped")
	check(t, w.update(obj{"BackupRetentionPeriod": 3}), "InvalidDBInstanceState: ")
	_, err = call(t, w, "StopDBInstance", obj{"DBInstanceIdentifier": "db"})
	check(t, err, "InvalidDBInstanceState: Instance db is not in available state.")
	_, err = call(t, w, "StartDBInstance", obj{"DBInstanceIdentifier": "db"})
	check(t, err, "")
	w.now = w.now.Add(10 * time.Minute)
	is("available")
	stop()
	w.now = w.now.Add(6*24*time.Hour + 23*time.Hour)
	is("stopped")
	w.now = w.now.Add(2 * time.Hour)
	is("available")
}

// A reboot with failover makes the standby the primary; without a standby there
// is nothing to fail over to.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RebootDBInstance.html
func TestRebootWithFailover(t *testing.T) {
	t.Parallel()
	force := obj{"DBInstanceIdentifier": "db", "ForceFailover": "true"}
	_, err := call(t, up(t, nil), "RebootDBInstance", force)
	check(t, err, "InvalidParameterCombination: Cannot specify ForceFailover when the instance is not configured for MultiAZ.")
	w := up(t, obj{"MultiAZ": true})
	_, _, data := w.state(t)
	zone, standby := data["zone"], data["standby"]
	_, err = call(t, w, "RebootDBInstance", force)
	check(t, err, "")
	w.now = w.now.Add(10 * time.Minute)
	if status, _, data := w.state(t); status != "available" || data["zone"] != standby || data["standby"] != zone {
		t.Errorf("%s in %v, standby in %v", status, data["zone"], data["standby"])
	}
}

// The secret with a managed master password belongs to RDS: it is named
// rds!db-…, users can't change or delete it, and it goes with the instance.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/service-linked-secrets.html
func TestManagedSecretIsOfRDS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c, m := sdk.NewFromConfig(testkit.Config(s)), secrets.NewFromConfig(testkit.Config(s))
		id := databaseIn(t, s)
		out, err := c.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: id})
		if err != nil {
			t.Fatal(err)
		}
		arn := out.DBInstances[0].MasterUserSecret.SecretArn
		if !strings.Contains(*arn, ":secret:rds!db-") {
			t.Errorf("secret %s", *arn)
		}
		_, err = m.DeleteSecret(ctx, &secrets.DeleteSecretInput{SecretId: arn, ForceDeleteWithoutRecovery: aws.Bool(true)})
		if testkit.Code(err) != "InvalidRequestException" {
			t.Errorf("deleted: %v", err)
		}
		_, err = m.PutSecretValue(ctx, &secrets.PutSecretValueInput{SecretId: arn, SecretString: aws.String("x")})
		if testkit.Code(err) != "InvalidRequestException" {
			t.Errorf("changed: %v", err)
		}
		seen, err := m.DescribeSecret(ctx, &secrets.DescribeSecretInput{SecretId: arn})
		if err != nil || aws.ToString(seen.OwningService) != "rds" || !aws.ToBool(seen.RotationEnabled) || *seen.RotationRules.AutomaticallyAfterDays != 7 {
			t.Errorf("got %+v %v", seen, err)
		}
		if _, err := c.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: id, SkipFinalSnapshot: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := m.DescribeSecret(ctx, &secrets.DescribeSecretInput{SecretId: arn}); testkit.Code(err) != "ResourceNotFoundException" {
			t.Errorf("after the instance: %v", err)
		}
	})
}

// RDS rotates a managed master password every seven days, or when it is asked
// to; the former password is the version AWSPREVIOUS.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_managed.html
func TestManagedSecretRotates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := testkit.Sandbox(t, sandbox.Options{})
		c, m := sdk.NewFromConfig(testkit.Config(s)), secrets.NewFromConfig(testkit.Config(s))
		id := databaseIn(t, s)
		out, err := c.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: id})
		if err != nil {
			t.Fatal(err)
		}
		arn := out.DBInstances[0].MasterUserSecret.SecretArn
		get := func(stage string) string {
			v, err := m.GetSecretValue(ctx, &secrets.GetSecretValueInput{SecretId: arn, VersionStage: &stage})
			if err != nil {
				return testkit.Code(err)
			}
			return *v.SecretString
		}
		first := get("AWSCURRENT")
		if got := get("AWSPREVIOUS"); got != "ResourceNotFoundException" {
			t.Errorf("before the first rotation: %s", got)
		}
		if _, err := m.RotateSecret(ctx, &secrets.RotateSecretInput{SecretId: arn, RotateImmediately: aws.Bool(false)}); testkit.Code(err) != "NotModelled" {
			t.Errorf("in the next window: %v", err)
		}
		former := first
		for name, rotate := range map[string]func() error{
			"in time": func() error { time.Sleep(7 * 24 * time.Hour); return nil },
			"by Secrets Manager": func() error {
				_, err := m.RotateSecret(ctx, &secrets.RotateSecretInput{SecretId: arn})
				return err
			},
			"by RDS": func() error {
				_, err := c.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: id, RotateMasterUserPassword: aws.Bool(true), ApplyImmediately: aws.Bool(true)})
				return err
			},
		} {
			if err := rotate(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			now := get("AWSCURRENT")
			if now == former || get("AWSPREVIOUS") != former {
				t.Errorf("%s: %s came after %s, previous is %s", name, now, former, get("AWSPREVIOUS"))
			}
			former = now
		}
	})
}

// An instance whose key is disabled or about to be deleted becomes inaccessible
// two hours later. For seven days it can be started again once the key is back,
// never after that.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.Keys.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
func TestLostKey(t *testing.T) {
	t.Parallel()
	const key = "11111111-1111-4111-a111-111111111111"
	w := newWorld(t)
	w.do(t, func(tx *account.Tx) error {
		tx.Put(&account.Resource{Type: "AWS::KMS::Key", ID: key, Status: "Enabled", Attrs: obj{"Arn": tx.ARN("kms", "key/"+key)}, Props: obj{}, Data: obj{}})
		return nil
	})
	check(t, w.create(obj{"KmsKeyId": key}), "")
	w.now = w.now.Add(time.Hour)
	turn := func(w *world, to string) {
		w.do(t, func(tx *account.Tx) error {
			k := tx.Get("AWS::KMS::Key", key)
			k.Status = to
			if to != "Enabled" {
				tx.After(2*time.Hour, account.Event{Kind: "kms:unusable", ID: props.Str(k.Attrs, "Arn")})
			}
			return nil
		})
	}
	is := func(w *world, want string) {
		t.Helper()
		if got, _, _ := w.state(t); got != want {
			t.Errorf("at %v: %s, want %s", w.now, got, want)
		}
	}
	turn(w, "Disabled")
	w.now = w.now.Add(time.Hour)
	is(w, "available")
	w.now = w.now.Add(2 * time.Hour)
	is(w, "inaccessible-encryption-credentials-recoverable")
	start := obj{"DBInstanceIdentifier": "db"}
	_, err := call(t, w, "StartDBInstance", start)
	check(t, err, "KMSKeyNotAccessibleFault: ")
	f := *w
	f.Account = w.Clone(func() time.Time { return f.now })
	turn(&f, "Enabled")
	is(&f, "inaccessible-encryption-credentials-recoverable")
	_, err = call(t, &f, "StartDBInstance", start)
	check(t, err, "")
	f.now = f.now.Add(time.Hour)
	is(&f, "available")
	w.now = w.now.Add(7 * 24 * time.Hour)
	is(w, "inaccessible-encryption-credentials")
	turn(w, "Enabled")
	_, err = call(t, w, "StartDBInstance", start)
	check(t, err, "InvalidDBInstanceState: ")
}

// RDS lists what an engine version can be upgraded to, and marks which of these
// upgrades are major ones.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBEngineVersions.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_UpgradeDBInstance.PostgreSQL.html
func TestUpgradeTargets(t *testing.T) {
	t.Parallel()
	c := sdk.NewFromConfig(testkit.Config(testkit.Sandbox(t, sandbox.Options{})))
	out, err := c.DescribeDBEngineVersions(t.Context(), &sdk.DescribeDBEngineVersionsInput{Engine: aws.String("postgres"), EngineVersion: aws.String("16.9")})
	if err != nil || len(out.DBEngineVersions) != 1 {
		t.Fatalf("got %+v %v", out, err)
	}
	targets := map[string]bool{}
	for _, u := range out.DBEngineVersions[0].ValidUpgradeTarget {
		targets[*u.EngineVersion] = aws.ToBool(u.IsMajorVersionUpgrade)
	}
	for version, want := range map[string]string{"16.8": "no", "16.9": "no", "16.10": "minor", "15.17": "no", "17.9": "major", "18.4": "major"} {
		major, ok := targets[version]
		got := map[bool]string{true: "major", false: "minor"}[major]
		if !ok {
			got = "no"
		}
		if got != want {
			t.Errorf("from 16.9 to %s: %s, want %s", version, got, want)
		}
	}
}
