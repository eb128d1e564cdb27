package deploy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// keptAs returns what a deletion kept under a type, the one with the text in its
// id or reason.
func keptAs(t *testing.T, d *deploy.Deleted, typ, text string) deploy.Kept {
	t.Helper()
	i := slices.IndexFunc(d.Kept, func(k deploy.Kept) bool {
		return k.Type == typ && (strings.Contains(k.ID, text) || strings.Contains(k.Why, text))
	})
	if i < 0 {
		t.Fatalf("no %s with %q is kept: %+v", typ, text, d.Kept)
	}
	return d.Kept[i]
}

// TestL06WhatStaysKeepsItsKey: recovery points stay unless the data is to be
// destroyed; a snapshot that somebody took stays in any case, and so do objects
// under a retention, with the date of its end; the keys that these need are not
// scheduled for deletion until they are gone. An operation under way is awaited.
func TestL06WhatStaysKeepsItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := *example(t, "evaluation").Config
		c.Backups.Enabled = true
		a, err := architecture.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		out := w.create(a).Outputs
		api := w.target(a).AWS
		id := a.DatabaseName()
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(api.RDS.CreateDBSnapshot(t.Context(), &rds.CreateDBSnapshotInput{DBInstanceIdentifier: &id, DBSnapshotIdentifier: new("by-hand")}))
		must(api.Backup.StartBackupJob(t.Context(), &backup.StartBackupJobInput{
			BackupVaultName: new(out[architecture.Backup]["VaultName"]), IamRoleArn: new(out[architecture.Backup]["BackupRoleArn"]), ResourceArn: new(out[architecture.Storage]["ModelsBucketArn"]),
			Lifecycle: &backuptypes.Lifecycle{DeleteAfterDays: aws.Int64(30)},
		}))
		time.Sleep(2 * time.Hour)
		bucket := out[architecture.Storage]["AuditBucketName"]
		until := time.Now().Add(20 * 24 * time.Hour).Truncate(time.Second)
		must(api.S3.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: new("record"), Body: strings.NewReader("x"), ObjectLockMode: s3types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &until,
		}))
		must(api.RDS.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &id, AllocatedStorage: aws.Int32(200), MaxAllocatedStorage: aws.Int32(1000), ApplyImmediately: aws.Bool(true)}))

		d := w.delete(a, deploy.KeepData)
		if d.Outcome != deploy.Retained {
			t.Errorf("outcome of keeping: %s", d.Outcome)
		}
		vault := keptAs(t, d, "AWS::Backup::BackupVault", a.Name())
		if vault.After.IsZero() || len(vault.Remove) != 2 || len(vault.Restore) == 0 {
			t.Errorf("the vault is kept as %+v", vault)
		}
		if !strings.Contains(w.steps(), "waiting for an operation under way: database "+id+" is ") {
			t.Errorf("the change of the database was not awaited:\n%s", w.steps())
		}
		if n := len(w.find("backup:recovery-point")); n == 0 {
			t.Error("the recovery points are gone")
		}

		d = w.destroy(a)
		if d.Outcome != deploy.Retained {
			t.Errorf("outcome of destroying: %s", d.Outcome)
		}
		if k := keptAs(t, d, "AWS::S3::Bucket", bucket); !k.After.Equal(until) || !slices.Equal(k.Remove, []string{"poolhouse delete FILE --data destroy"}) {
			t.Errorf("the bucket is kept as %+v, want it until %v", k, until)
		}
		if k := keptAs(t, d, "AWS::RDS::DBSnapshot", "by-hand"); len(k.Restore) == 0 || len(k.Remove) == 0 || !strings.Contains(k.ARN, ":snapshot:by-hand") {
			t.Errorf("the snapshot is kept as %+v", k)
		}
		for _, purpose := range []string{"DatabaseKey", "StorageKey"} {
			k := keptAs(t, d, "AWS::KMS::Key", purpose)
			if !k.Until.IsZero() || k.Passing || k.Monthly == nil || k.Monthly.Amount != 1 {
				t.Errorf("%s is kept as %+v", purpose, k)
			}
		}
		if k := keptAs(t, d, "AWS::KMS::Key", "log groups"); k.Until.IsZero() || !k.Passing {
			t.Errorf("the key of logs is kept as %+v", k)
		}

		time.Sleep(21 * 24 * time.Hour)
		must(api.RDS.DeleteDBSnapshot(t.Context(), &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: new("by-hand")}))
		time.Sleep(10 * time.Minute)
		d = w.destroy(a)
		if d.Outcome != deploy.Clean {
			t.Errorf("outcome in the end: %s, %+v", d.Outcome, d.Kept)
		}
		w.clean(d)
	})
}

// roundTrip answers a request, or has the next one answer it.
type roundTrip struct {
	next http.RoundTripper
	do   func(http.RoundTripper, *http.Request) (*http.Response, error)
}

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r.do(r.next, req) }

// through are clients whose requests go through a function.
func (w *world) through(a *architecture.Architecture, do func(http.RoundTripper, *http.Request) (*http.Response, error)) *awsapi.Clients {
	w.t.Helper()
	p := w.box.Principals()[0]
	client := testkit.Client(w.box)
	client.Transport = roundTrip{client.Transport, do}
	c, err := awsapi.New(w.t.Context(), awsapi.Options{
		Region: a.Config.Region, Endpoint: testkit.Endpoint, HTTPClient: client,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestL07DenialIsNotALock: objects that a policy keeps from being deleted are
// not taken for locked ones; the delete is blocked and says so. In the same way
// L10: records that somebody put into the deployment's zone are named, not
// deleted.
func TestL07DenialIsNotALock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		out := w.create(a).Outputs
		api := w.target(a).AWS
		bucket := out[architecture.Storage]["ModelsBucketName"]
		if _, err := api.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: new("x"), Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		zone := out[architecture.DNS]["HostedZoneId"]
		record := func(action r53types.ChangeAction) {
			t.Helper()
			_, err := api.Route53.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{{
				Action: action, ResourceRecordSet: &r53types.ResourceRecordSet{
					Name: new("theirs.poolside.example.com"), Type: r53types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []r53types.ResourceRecord{{Value: new("192.0.2.1")}},
				},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		record(r53types.ChangeActionCreate)

		denying := w.target(a)
		denying.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if _, ok := r.URL.Query()["delete"]; !ok || r.Method != http.MethodPost || !strings.Contains(r.URL.Path, bucket) {
				return next.RoundTrip(r)
			}
			listed, err := api.S3.ListObjectVersions(r.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
			if err != nil {
				return nil, err
			}
			body := fmt.Sprintf("<DeleteResult><Error><Key>x</Key><VersionId>%s</VersionId><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>", *listed.Versions[0].VersionId)
			return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: denying, Data: deploy.DestroyData})
		var blocked *deploy.BlockedError
		if !errors.As(err, &blocked) || d.Outcome != deploy.Blocked {
			t.Fatalf("got %+v, %v", d, err)
		}
		if !strings.Contains(err.Error(), "no object lock keeps it") || slices.ContainsFunc(d.Kept, func(k deploy.Kept) bool { return k.ID == bucket }) {
			t.Errorf("the denial is told as %v, kept %+v", err, d.Kept)
		}
		i := slices.IndexFunc(blocked.Blockers, func(b deploy.Blocker) bool { return b.Type == "AWS::Route53::HostedZone" })
		if i < 0 || !strings.Contains(blocked.Blockers[i].Holder, "theirs.poolside.example.com. A") || !strings.Contains(blocked.Blockers[i].Next, "route53") {
			t.Errorf("the zone is not blocked by the record: %+v", blocked.Blockers)
		}
		if k := slices.IndexFunc(d.Kept, func(k deploy.Kept) bool { return k.Type == "AWS::KMS::Key" && strings.Contains(k.Why, "StorageKey") }); k >= 0 {
			t.Errorf("the key of the bucket is to go: %+v", d.Kept[k])
		}

		record(r53types.ChangeActionDelete)
		w.clean(w.destroy(a))
	})
}

// TestL07LateLogsExpire: a log bucket that logs come to again and again stays,
// and lets them expire; the rest of the data goes.
func TestL07LateLogsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		bucket := w.create(a).Outputs[architecture.Storage]["LogsBucketName"]
		api := w.target(a).AWS
		late := w.target(a)
		late.AWS = w.through(a, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodDelete && strings.Trim(r.URL.Path, "/") == bucket && !slices.Contains([]string{"policy", "lifecycle"}, r.URL.RawQuery) {
				if _, err := api.S3.PutObject(r.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: new("s3/late"), Body: strings.NewReader("x")}); err != nil {
					return nil, err
				}
			}
			return next.RoundTrip(r)
		})
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: late, Data: deploy.DestroyData})
		if err != nil || d.Outcome != deploy.Retained {
			t.Fatalf("got %+v, %v", d, err)
		}
		keptAs(t, d, "AWS::S3::Bucket", bucket)
		rules, err := api.S3.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: &bucket})
		if err != nil || len(rules.Rules) != 1 || rules.Rules[0].Expiration == nil || aws.ToInt32(rules.Rules[0].Expiration.Days) != 1 {
			t.Errorf("the rules of the bucket: %+v, %v", rules, err)
		}
		w.clean(w.destroy(a))
	})
}

// TestL08SnapshotsOfPodsVolumes: snapshots that the EBS CSI driver made follow the
// data: keep and snapshot list them, destroy deletes them, with their volume or
// after it. Somebody else's of the same volume stays.
func TestL08SnapshotsOfPodsVolumes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Parameters, parameters)
		api := w.target(a).AWS.EC2
		tagged := func(kind ec2types.ResourceType, pairs ...string) []ec2types.TagSpecification {
			spec := ec2types.TagSpecification{ResourceType: kind}
			for i := 0; i < len(pairs); i += 2 {
				spec.Tags = append(spec.Tags, ec2types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
			}
			return []ec2types.TagSpecification{spec}
		}
		v, err := api.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: new("us-east-1a"), Size: aws.Int32(8), TagSpecifications: tagged(ec2types.ResourceTypeVolume, deploy.Tag, a.Name(), "CSIVolumeName", "pvc-1")})
		if err != nil {
			t.Fatal(err)
		}
		snap := func(pairs ...string) string {
			s, err := api.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: v.VolumeId, TagSpecifications: tagged(ec2types.ResourceTypeSnapshot, pairs...)})
			if err != nil {
				t.Fatal(err)
			}
			return *s.SnapshotId
		}
		ours := []string{
			snap(deploy.Tag, a.Name(), "CSIVolumeSnapshotName", "snapshot-1"),
			snap("kubernetes.io/cluster/"+a.ClusterName(), "owned", "CSIVolumeSnapshotName", "snapshot-2"),
		}
		theirs := snap("owner", "somebody")
		there := func() (ids []string) {
			for _, s := range w.find("ec2:snapshot") {
				ids = append(ids, s.ID)
			}
			slices.Sort(ids)
			return ids
		}
		all := slices.Sorted(slices.Values(append(slices.Clone(ours), theirs)))
		for _, data := range []deploy.Data{deploy.KeepData, deploy.SnapshotData} {
			d := w.delete(a, data)
			for n, id := range ours {
				k := keptAs(t, d, "AWS::EC2::Snapshot", id)
				if k.Passing || !strings.Contains(k.Why, fmt.Sprintf("the snapshot snapshot-%d of a pod's volume %s, of 8 GiB", n+1, *v.VolumeId)) || !slices.Equal(k.Remove, []string{"aws ec2 delete-snapshot --snapshot-id " + id}) {
					t.Errorf("%s keeps the snapshot as %+v", data, k)
				}
			}
			if d.Outcome != deploy.Retained || !slices.Equal(there(), all) {
				t.Errorf("%s: %s, snapshots %q, want %q", data, d.Outcome, there(), all)
			}
		}
		d := w.destroy(a)
		if d.Outcome != deploy.Clean || !slices.Equal(there(), []string{theirs}) || len(w.find("ec2:volume")) > 0 {
			t.Errorf("destroy: %s, snapshots %q, kept %+v", d.Outcome, there(), d.Kept)
		}
	})
}
