package deploy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	sandboxrds "github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/stack"
)

// database makes the stack of a deployment's database and no other, with a
// network of its own.
func (w *world) database(a *architecture.Architecture) {
	w.t.Helper()
	const body = `{"Resources":{
		"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":"10.9.0.0/16"}},
		"One":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.0.0/20","AvailabilityZone":"us-east-1a"}},
		"Two":{"Type":"AWS::EC2::Subnet","Properties":{"VpcId":{"Ref":"Vpc"},"CidrBlock":"10.9.16.0/20","AvailabilityZone":"us-east-1b"}},
		"SubnetGroup":{"Type":"AWS::RDS::DBSubnetGroup","Properties":{"DBSubnetGroupDescription":"both","SubnetIds":[{"Ref":"One"},{"Ref":"Two"}]}},
		"Database":{"Type":"AWS::RDS::DBInstance","DeletionPolicy":"Retain","UpdateReplacePolicy":"Retain","Properties":{"DBInstanceIdentifier":"poolside","Engine":"postgres",
			"DBInstanceClass":"db.m7g.large","AllocatedStorage":"50","MasterUsername":"keeper","ManageMasterUserPassword":true,"StorageEncrypted":true,"BackupRetentionPeriod":7,"DBSubnetGroupName":{"Ref":"SubnetGroup"}}}}}`
	api := w.target(a).AWS
	d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
	spec := stack.Spec{Name: a.StackName(architecture.Database), Template: []byte(body), Tags: map[string]string{deploy.Tag: a.Name()}}
	if _, err := d.Apply(w.t.Context(), spec, nil); err != nil {
		w.t.Fatal(err)
	}
}

// TestL06SnapshotNamesDoNotCollide has snapshots of others take the names that a
// last snapshot would get, a moment before it: it gets the next one that is free,
// and theirs stay.
func TestL06SnapshotNamesDoNotCollide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		time.Sleep(time.Hour)
		api := w.target(a).AWS
		var taken []string
		target := w.target(a)
		target.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.Body == nil {
				return next.RoundTrip(r)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			name := ""
			if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") == "DescribeDBSnapshots" {
				name = form.Get("DBSnapshotIdentifier")
			}
			if strings.HasPrefix(name, "poolside-final-") && len(taken) < 2 {
				if _, err := api.RDS.CreateDBSnapshot(r.Context(), &rds.CreateDBSnapshotInput{DBInstanceIdentifier: aws.String(a.DatabaseName()), DBSnapshotIdentifier: &name}); err != nil {
					return nil, err
				}
				taken = append(taken, name)
				time.Sleep(10 * time.Minute) // until it is made
			}
			return next.RoundTrip(r)
		})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: target, Data: deploy.SnapshotData})
		if err != nil {
			t.Fatal(err)
		}
		if len(taken) != 2 || taken[1] != taken[0]+"-2" {
			t.Fatalf("names that were tried: %q", taken)
		}
		want := append(slices.Clone(taken), taken[0]+"-3")
		var there []string
		for _, s := range w.find("rds:snapshot") {
			if s.Status == "available" && !strings.HasPrefix(s.ID, "rds:") {
				there = append(there, s.ID)
			}
		}
		slices.Sort(there)
		if !slices.Equal(want, there) {
			t.Errorf("snapshots %q, want %q", there, want)
		}
		if k := keptAs(t, d, "AWS::RDS::DBSnapshot", want[2]); k.Why != "the database as it was; set database.snapshot to it to start from it again" {
			t.Errorf("the last snapshot is kept as %+v", k)
		}
		if len(w.find("AWS::RDS::DBInstance")) != 0 {
			t.Error("the database is still there")
		}
	})
}

// TestL06ADatabaseThatGivesNoSnapshot: RDS deletes an instance that failed only
// without a last snapshot. The deletion says so at once, with AWS's words and what
// there is to choose from, and the instance still stands.
func TestL06ADatabaseThatGivesNoSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		time.Sleep(48 * time.Hour)
		resource := ""
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			i := tx.List("AWS::RDS::DBInstance")[0]
			i.Status, resource = "failed", i.Attrs["DbiResourceId"].(string)
			i.Attrs["DBInstanceStatus"] = i.Status
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
		if err == nil || d == nil || d.Outcome != deploy.Blocked || time.Since(began) > 5*time.Minute {
			t.Fatalf("after %s: %+v, %v", time.Since(began), d, err)
		}
		for _, want := range []string{
			"is failed", "not currently in the available state", "delete --data keep", "delete --data destroy",
			"aws rds restore-db-instance-to-point-in-time --source-dbi-resource-id " + resource + " --target-db-instance-identifier poolside-restored",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v doesn't say %q", err, want)
			}
		}
		if n := len(w.find("AWS::RDS::DBInstance")); n != 1 {
			t.Errorf("%d instances", n)
		}
		if d := w.destroy(a); d.Outcome != deploy.Clean || len(w.find("AWS::RDS::DBInstance")) != 0 {
			t.Errorf("destroy: %+v", d)
		}
	})
}

// TestL06SnapshotNameTakenMeanwhile: RDS says that the name of the last snapshot is
// taken although it was free. If the call was carried out and its answer lost, the
// snapshot is the last one; if somebody else was faster, theirs stays and the last
// one has another name. Either way one delete is enough.
func TestL06SnapshotNameTakenMeanwhile(t *testing.T) {
	t.Parallel()
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ours %t", ours), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{})
				w.database(a)
				time.Sleep(time.Hour)
				api := w.target(a).AWS
				first := ""
				target := w.target(a)
				target.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
					f := form(t, r)
					if f.Get("Action") != "DeleteDBInstance" || first != "" {
						return next.RoundTrip(r)
					}
					first = f.Get("FinalDBSnapshotIdentifier")
					if !ours {
						if _, err := api.RDS.CreateDBSnapshot(r.Context(), &rds.CreateDBSnapshotInput{DBInstanceIdentifier: aws.String(a.DatabaseName()), DBSnapshotIdentifier: &first}); err != nil {
							return nil, err
						}
						time.Sleep(10 * time.Minute) // until it is made
						return next.RoundTrip(r)
					}
					if _, err := next.RoundTrip(r); err != nil {
						return nil, err
					}
					return answer(r, http.StatusBadRequest, "text/xml", `<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type><Code>DBSnapshotAlreadyExists</Code><Message>it exists</Message></Error></ErrorResponse>`), nil
				})
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: target, Data: deploy.SnapshotData})
				if err != nil {
					t.Fatal(err)
				}
				var last []string
				for _, k := range d.Kept {
					if k.Type == "AWS::RDS::DBSnapshot" && k.Why == "the database as it was; set database.snapshot to it to start from it again" {
						last = append(last, k.ID)
					}
				}
				if len(last) != 1 || (last[0] == first) != ours || w.one("rds:snapshot", func(s *account.Resource) bool { return s.ID == last[0] }).Status != "available" {
					t.Errorf("the first name is %s, the last snapshots are %q", first, last)
				}
				if w.one("rds:snapshot", func(s *account.Resource) bool { return s.ID == first }).Status != "available" {
					t.Errorf("snapshot %s is not there", first)
				}
			})
		})
	}
}

// TestL06RetainedBackups: somebody deleted the database and had RDS retain its
// automated backups. They are listed, with the way back, under keep, and go with
// destroy; snapshot says that there is no
// last snapshot, and what can be restored, until when and how.
func TestL06RetainedBackups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		time.Sleep(48 * time.Hour) // a backup window passes
		// The instance has no key of the deployment's, by which they would be known.
		if err := w.box.Account().Do(func(tx *account.Tx) error {
			for _, b := range tx.List(sandboxrds.TypeAutomatedBackup) {
				b.Tags = map[string]string{deploy.Tag: a.Name()}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := w.target(a).AWS.RDS.DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{
			DBInstanceIdentifier: aws.String(a.DatabaseName()), SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(false),
		})
		if err != nil {
			t.Fatal(err)
		}
		gone := time.Now()
		for len(w.find("AWS::RDS::DBInstance")) > 0 {
			time.Sleep(time.Second)
			gone = time.Now()
		}
		time.Sleep(time.Hour)
		there := func() (ids []string) {
			out, err := w.target(a).AWS.RDS.DescribeDBInstanceAutomatedBackups(t.Context(), &rds.DescribeDBInstanceAutomatedBackupsInput{})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range out.DBInstanceAutomatedBackups {
				ids = append(ids, *b.DbiResourceId)
			}
			return ids
		}
		backups := there()
		if len(backups) != 1 {
			t.Fatalf("retained backups: %q", backups)
		}
		d := w.delete(a, deploy.KeepData)
		for _, k := range d.Kept {
			if k.Type == "AWS::CloudFormation::Stack" && (!strings.Contains(k.Why, "stays without Database (AWS::RDS::DBInstance) poolside") || k.Restore != nil) {
				t.Errorf("L04: a stack without its database is kept as %+v", k)
			}
		}
		k := keptAs(t, d, "AWS::RDS::DBInstanceAutomatedBackup", backups[0])
		const minute = "2006-01-02 15:04Z"
		var last time.Time
		for _, s := range w.find("rds:snapshot") {
			if s.Created.After(last) {
				last = s.Created
			}
		}
		until := last.AddDate(0, 0, 7).UTC()
		if !k.Until.Equal(until.Truncate(time.Second)) || !strings.Contains(k.Why, "can be restored as it was at any time from ") {
			t.Errorf("the backups stay until %v, want %v: %s", k.Until, until, k.Why)
		}
		if d.Outcome != deploy.Retained || len(k.Remove) != 1 || len(k.Restore) != 4 || !strings.Contains(k.Restore[0], "restore-db-instance-to-point-in-time --source-dbi-resource-id "+backups[0]) {
			t.Errorf("kept: %s, and the backups are kept as %+v", d.Outcome, k)
		}
		_, err = deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
		for _, want := range []string{
			"left no last snapshot", "RDS keeps its backups until " + until.Format(minute), " to " + gone.UTC().Add(-5*time.Minute).Format(minute),
			"aws rds restore-db-instance-to-point-in-time --source-dbi-resource-id " + backups[0] + " --target-db-instance-identifier poolside --use-latest-restorable-time",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("snapshot, want %q: %v", want, err)
			}
		}
		if !slices.Equal(there(), backups) {
			t.Errorf("retained backups: %q", there())
		}
		d = w.destroy(a)
		if d.Outcome != deploy.Clean || len(there()) != 0 {
			t.Errorf("destroyed: %s, retained backups %q, kept %+v", d.Outcome, there(), d.Kept)
		}
	})
}

// TestL06AnOlderSnapshotIsNotTheLast: a deletion was cut off once its snapshot was taken,
// and the database was made again in the same stack. Somebody deletes that later without
// a snapshot: the one of before is not taken for its last, and the deletion names the
// backups.
func TestL06AnOlderSnapshotIsNotTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.database(a)
		w.stack(a, architecture.Storage, `{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x"}}}}`)
		time.Sleep(48 * time.Hour)
		api, id := w.target(a).AWS.RDS, a.DatabaseName()
		remove := func(in *rds.DeleteDBInstanceInput) {
			t.Helper()
			in.DBInstanceIdentifier = &id
			if _, err := api.DeleteDBInstance(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			for len(w.find("AWS::RDS::DBInstance")) > 0 {
				time.Sleep(time.Second)
			}
		}
		const first = "poolside-final-20000103-000000"
		remove(&rds.DeleteDBInstanceInput{FinalDBSnapshotIdentifier: new(first), DeleteAutomatedBackups: new(true)})
		if _, err := api.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: &id, Engine: new("postgres"), DBInstanceClass: new("db.m7g.large"), AllocatedStorage: aws.Int32(50), MasterUsername: new("keeper"),
			ManageMasterUserPassword: new(true), StorageEncrypted: new(true), BackupRetentionPeriod: aws.Int32(7), DBSubnetGroupName: &w.find("AWS::RDS::DBSubnetGroup")[0].ID,
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		resource := w.find("AWS::RDS::DBInstance")[0].Attrs["DbiResourceId"].(string)
		remove(&rds.DeleteDBInstanceInput{SkipFinalSnapshot: new(true), DeleteAutomatedBackups: new(false)})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
		if err == nil || d == nil || d.Outcome != deploy.Blocked {
			t.Fatalf("got %+v, %v", d, err)
		}
		for _, want := range []string{"left no last snapshot", "restore-db-instance-to-point-in-time --source-dbi-resource-id " + resource} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v doesn't say %q", err, want)
			}
		}
		if last := w.lastSnapshot(); last != first {
			t.Errorf("the snapshot of before is %s, want %s", last, first)
		}
		for _, k := range d.Kept {
			if k.Type == "AWS::CloudFormation::Stack" && strings.Contains(strings.Join(k.Restore, " "), first) {
				t.Errorf("%s is restored from the older one: %q", k.ID, k.Restore)
			}
		}
		_, err = deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		var no *deploy.RefusedError
		if !errors.As(err, &no) || !strings.Contains(err.Error(), "of an instance before the last one, of which RDS keeps backups") {
			t.Errorf("create is not refused for it: %v", err)
		}
	})
}
