package deploy_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox"
)

// from is the deployment that a command to restore says to create: with the
// snapshot that it names, or as it is.
func from(t *testing.T, a *architecture.Architecture, command string) *architecture.Architecture {
	t.Helper()
	snapshot, ok := strings.CutPrefix(command, "poolhouse create FILE, with database.snapshot: ")
	if !ok {
		if command != "poolhouse create FILE" {
			t.Fatalf("%q is no creation", command)
		}
		return a
	}
	return became(t, a, func(c *config.Config) { c.Database.Snapshot = snapshot })
}

// TestL33WhatStaysIsExpandedAndSummed: the manifest says what kept stacks hold
// that costs something and what all of it costs together, and the commands to
// restore that it names lead back to the deployment with its data.
func TestL33WhatStaysIsExpandedAndSummed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		database := w.find("AWS::RDS::DBInstance")[0].Attrs["DbiResourceId"]
		for _, c := range []struct {
			data  deploy.Data
			holds []string // types of what stacks hold, and what else is kept
			free  string   // a type that costs nothing
		}{
			{deploy.KeepData, []string{"AWS::EC2::EIP", "AWS::EC2::NatGateway", "AWS::KMS::Key", "AWS::RDS::DBInstance", "AWS::S3::Bucket"}, "AWS::EC2::Subnet"},
			{deploy.SnapshotData, []string{"AWS::KMS::Key", "AWS::RDS::DBSnapshot", "AWS::S3::Bucket"}, "AWS::KMS::Alias"},
		} {
			d := w.delete(a, c.data)
			want, unknown := 0.0, 0
			types := map[string]bool{}
			restore := ""
			for _, k := range d.Kept {
				if !k.Passing && !slices.Equal(k.Restore, d.Kept[len(d.Kept)-1].Restore) {
					t.Errorf("%s: %s is restored by %q, and %s by %q", c.data, k.ID, k.Restore, d.Kept[len(d.Kept)-1].ID, d.Kept[len(d.Kept)-1].Restore)
				}
			}
			for _, k := range d.Kept {
				switch {
				case k.Passing:
				case k.Type != "AWS::CloudFormation::Stack":
					types[k.Type] = true
					unknown++
					restore = k.Restore[0]
				case len(k.Holds) == 0 || k.Monthly != nil:
					t.Errorf("%s: the stack is kept as %+v", c.data, k)
				case restore == "":
					restore = k.Restore[0]
				}
				for _, h := range k.Holds {
					types[h.Type] = true
					if (h.Monthly == nil) == (h.By == "") {
						t.Errorf("%s: %s holds %+v", c.data, k.ID, h)
					}
					if h.Monthly == nil {
						unknown++
						continue
					}
					want += map[string]float64{"AWS::KMS::Key": 1, "AWS::EC2::EIP": 3.65}[h.Type]
				}
			}
			for _, typ := range c.holds {
				if !types[typ] {
					t.Errorf("%s: no %s is held", c.data, typ)
				}
			}
			if types[c.free] {
				t.Errorf("%s: %s, which costs nothing, is listed", c.data, c.free)
			}
			if math.Abs(d.Costs.USD-want) > 0.001 || want < 5 || len(d.Costs.Unknown) != unknown {
				t.Errorf("%s: costs %+v, want USD %.2f and %d unknown", c.data, d.Costs, want, unknown)
			}
			w.create(from(t, a, restore))
			db := w.find("AWS::RDS::DBInstance")[0]
			if c.data == deploy.KeepData && db.Attrs["DbiResourceId"] != database {
				t.Errorf("%s: %q makes another database", c.data, restore)
			}
			if id, _ := db.Props["DBSnapshotIdentifier"].(string); c.data == deploy.SnapshotData && (id == "" || !strings.HasSuffix(restore, id)) {
				t.Errorf("%s: %q makes a database of %q", c.data, restore, id)
			}
		}
		// The snapshot stays, and with it its key, which no other deletion takes.
		w.destroy(a)
		s, err1 := deploy.Look(t.Context(), w.target(a))
		v, err2 := inventory.Read(t.Context(), w.target(a).AWS, a)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if s.Add(v); len(s.Outside) < 2 || s.Next != "create" {
			t.Errorf("in the end status has %+v outside of stacks, and goes on with %q", s.Outside, s.Next)
		}
	})
}

// TestL06BackupsLeadBack: somebody deleted the database and left its backups. The
// commands that the manifest names for them lead to a deployment with the
// database; the restoring itself, to a point in time, is done from a snapshot.
func TestL06BackupsLeadBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		api, id := w.target(a).AWS.RDS, a.DatabaseName()
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		was, err := api.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
		must(nil, err)
		must(api.CreateDBSnapshot(t.Context(), &rds.CreateDBSnapshotInput{DBInstanceIdentifier: &id, DBSnapshotIdentifier: new("stand-in")}))
		time.Sleep(48 * time.Hour)
		must(api.DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: new(true), DeleteAutomatedBackups: new(false)}))
		d := w.delete(a, deploy.KeepData)
		k := keptAs(t, d, "AWS::RDS::DBInstanceAutomatedBackup", "")
		want := []string{
			"aws rds restore-db-instance-to-point-in-time --source-dbi-resource-id " + k.ID + " --target-db-instance-identifier " + id + " --use-latest-restorable-time",
			"aws rds wait db-instance-available --db-instance-identifier " + id,
			"poolhouse delete FILE --data snapshot",
			"poolhouse create FILE, with database.snapshot: the snapshot that the deletion names",
		}
		if !slices.Equal(k.Restore, want) {
			t.Fatalf("to restore: %q", k.Restore)
		}
		must(api.RestoreDBInstanceFromDBSnapshot(t.Context(), &rds.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: &id, DBSnapshotIdentifier: new("stand-in"), DBInstanceClass: was.DBInstances[0].DBInstanceClass, DBSubnetGroupName: was.DBInstances[0].DBSubnetGroup.DBSubnetGroupName}))
		time.Sleep(2 * time.Hour)
		d = w.delete(a, deploy.SnapshotData)
		named := keptAs(t, d, "AWS::RDS::DBSnapshot", "the database as it was")
		w.create(from(t, a, named.Restore[0]))
		if got, _ := w.find("AWS::RDS::DBInstance")[0].Props["DBSnapshotIdentifier"].(string); got != named.ID {
			t.Errorf("the database is made of %q, want %s", got, named.ID)
		}
	})
}
