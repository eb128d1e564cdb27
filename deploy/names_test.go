package deploy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestTakenNamesAreToldBeforeTheStart: what has a name that a stack will need is
// named, all of it, with the command that removes it, and nothing is made.
func TestTakenNamesAreToldBeforeTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		c := w.target(a).AWS
		id, err := c.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		bucket := strings.NewReplacer("${AWS::AccountId}", id.Account, "${AWS::Region}", a.Config.Region).Replace(a.Bucket(architecture.BucketModels).Name)
		key, err1 := c.KMS.CreateKey(t.Context(), &kms.CreateKeyInput{})
		_, err2 := c.Logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new(a.ClusterLogGroup())})
		_, err3 := c.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if _, err := c.KMS.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: new(a.KeyAlias(architecture.KeyStorage)), TargetKeyId: key.KeyMetadata.KeyId}); err != nil {
			t.Fatal(err)
		}
		before := testkit.Dump(w.box.Account())
		_, err = deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		if got := paths(t, err); len(got) != 3 {
			t.Errorf("refused for %v", got)
		}
		for _, want := range []string{bucket, a.ClusterLogGroup(), a.KeyAlias(architecture.KeyStorage)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s is not named: %v", want, err)
			}
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("the account changed:\n%s", diff)
		}
	})
}

// TestL08BucketNamesJustFreed: S3 gives the names of deleted buckets back after
// a while, and a create waits for that.
func TestL08BucketNamesJustFreed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.breakNext(a, `faults: [{id: name, fail: {stack: poolside-storage, resource: ModelsBucket, error: OperationAborted}, for: 20m}]`)
		start := time.Now()
		w.create(a)
		waited := 0
		for _, e := range w.events {
			if s, ok := e.(deploy.Step); ok && strings.Contains(s.Text, "S3 has not yet given back the name of ModelsBucket") {
				waited++
			}
		}
		if waited < 2 || time.Since(start) > 2*time.Hour {
			t.Errorf("it waited %d times, in %s", waited, time.Since(start))
		}
		w.emptyPlan(a)
	})
}
