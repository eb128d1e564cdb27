package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// schedules tells that a command schedules a key for deletion.
func schedules(commands []string) bool {
	return slices.ContainsFunc(commands, func(c string) bool { return strings.Contains(c, "schedule-key-deletion") })
}

const rootsKey = `{"Type":"AWS::KMS::Key","DeletionPolicy":"Retain","Properties":{"KeyPolicy":{"Statement":[
	{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}}}`

// TestL06AKeyGoesAfterWhatNeedsIt: a key that no stack has, and a bucket under it.
// While the data is kept, the manifest names what needs the key and no command
// that would schedule it; also if somebody has scheduled it. A deletion that takes
// the bucket away takes the key with it, in the same run.
func TestL06AKeyGoesAfterWhatNeedsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Keys, `{"Resources":{"StorageKey":`+rootsKey+`}}`)
		api := w.target(a).AWS
		key := w.find("AWS::KMS::Key")[0].ID
		name := strings.NewReplacer("${AWS::AccountId}", "123456789012", "${AWS::Region}", a.Config.Region).Replace(a.Buckets[0].Name)
		testkit.MustCreate(t, w.box, "AWS::S3::Bucket", map[string]any{"BucketName": name, "Tags": awsTags(deploy.Tag, a.Name()), "BucketEncryption": map[string]any{
			"ServerSideEncryptionConfiguration": []any{map[string]any{"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}},
		}})
		other := testkit.MustCreate(t, w.box, "AWS::KMS::Key", map[string]any{"Tags": awsTags(deploy.Tag, a.Name()), "KeyPolicy": map[string]any{"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*",
		}}}}).ID
		second := strings.NewReplacer("${AWS::AccountId}", "123456789012", "${AWS::Region}", a.Config.Region).Replace(a.Buckets[1].Name)
		testkit.MustCreate(t, w.box, "AWS::S3::Bucket", map[string]any{"BucketName": second, "Tags": awsTags(deploy.Tag, a.Name()), "BucketEncryption": map[string]any{
			"ServerSideEncryptionConfiguration": []any{map[string]any{"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": other}}},
		}})

		for _, data := range []deploy.Data{deploy.KeepData, deploy.SnapshotData} {
			k := keptAs(t, w.delete(a, data), "AWS::KMS::Key", other)
			if schedules(k.Remove) || !slices.Equal(k.NeededBy, []string{"AWS::S3::Bucket " + second}) || !strings.Contains(k.Why, "may go only after") || k.Passing {
				t.Errorf("%s keeps the key as %+v", data, k)
			}
		}
		if _, err := api.KMS.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &other}); err != nil {
			t.Fatal(err)
		}
		k := keptAs(t, w.delete(a, deploy.KeepData), "AWS::KMS::Key", other)
		if k.Passing || !strings.Contains(k.Why, "nobody reads AWS::S3::Bucket "+second) || len(k.Restore) == 0 || k.Until.IsZero() {
			t.Errorf("a key that is to go is kept as %+v", k)
		}
		if _, err := api.KMS.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: &other}); err != nil {
			t.Fatal(err)
		}

		d := w.destroy(a)
		for _, id := range []string{key, other} {
			if k := keptAs(t, d, "AWS::KMS::Key", id); k.Until.IsZero() || !k.Passing || len(k.NeededBy) > 0 {
				t.Errorf("the key whose bucket went is kept as %+v", k)
			}
		}
		if d.Outcome != deploy.Clean {
			t.Errorf("outcome %s, kept %+v", d.Outcome, d.Kept)
		}
		w.clean(d)
	})
}
