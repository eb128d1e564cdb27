package deploy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// stack makes a stack with the deployment's tag by hand.
func (w *world) stack(a *architecture.Architecture, name architecture.StackName, body string) {
	w.t.Helper()
	w.stackOf(a, a.StackName(name), body)
}

// stackOf makes a stack of any name with a deployment's tag.
func (w *world) stackOf(a *architecture.Architecture, name, body string) {
	w.t.Helper()
	c := w.target(a).AWS.CloudFormation
	_, err := c.CreateStack(w.t.Context(), &cloudformation.CreateStackInput{
		StackName: &name, TemplateBody: &body, Tags: []cfntypes.Tag{{Key: new(deploy.Tag), Value: new(a.Name())}},
	})
	if err == nil {
		err = cloudformation.NewStackCreateCompleteWaiter(c).Wait(w.t.Context(), &cloudformation.DescribeStacksInput{StackName: &name}, 1<<40)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// parameters is the template of a stack that holds next to nothing.
const parameters = `{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x","Name":"/poolhouse/poolside/p"}}}}`

// TestL08LogsWrittenAgain: a delete was killed after a service had written a log
// group again, without a tag, and its stack was gone. The next delete takes it
// away: it was made while the stack was there, or shortly after, when nobody else
// could have its name. One that was made later, or that a cluster of somebody
// else's has now, stays and is named.
func TestL08LogsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after  time.Duration // the group is made, after the stack is gone
		theirs bool          // a cluster of the name is made
		tag    bool          // the stack was the deployment's
		data   deploy.Data
		stays  bool
	}{
		"by the service":          {5 * time.Minute, false, true, deploy.DestroyData, false},
		"with a snapshot":         {5 * time.Minute, false, true, deploy.SnapshotData, false},
		"of another, later":       {2 * time.Hour, false, true, deploy.DestroyData, true},
		"another cluster has it":  {5 * time.Minute, true, true, deploy.DestroyData, true},
		"the stack was another's": {5 * time.Minute, false, false, deploy.DestroyData, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "evaluation")
				w := newWorld(t, a, sandbox.Options{Fresh: true})
				owner := a
				if !c.tag {
					owner = became(t, a, func(c *config.Config) { c.Name = "another" })
				}
				w.stackOf(owner, a.StackName(architecture.Cluster), `{"Resources":{"G":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"`+a.ClusterLogGroup()+`"}}}}`)
				api := w.target(a).AWS.CloudFormation
				if _, err := api.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: new(a.StackName(architecture.Cluster))}); err != nil {
					t.Fatal(err)
				}
				for len(w.find("AWS::Logs::LogGroup")) > 0 {
					time.Sleep(time.Second)
				}
				time.Sleep(c.after)
				testkit.MustCreate(t, w.box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": a.ClusterLogGroup()})
				if c.theirs {
					if err := w.box.Account().Do(func(tx *account.Tx) error {
						tx.Put(&account.Resource{Type: "AWS::EKS::Cluster", ID: a.ClusterName(), Status: "ACTIVE", Props: map[string]any{"Name": a.ClusterName()}, Attrs: map[string]any{}, Data: map[string]any{}})
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: c.data})
				if c.stays != errors.Is(err, deploy.ErrAbsent) || err != nil && !c.stays {
					t.Fatalf("got %+v, %v", d, err)
				}
				if there := len(w.find("AWS::Logs::LogGroup")) > 0; there != c.stays {
					t.Errorf("the log group is there: %t", there)
				}
				if c.stays {
					keptAs(t, d, "AWS::Logs::LogGroup", a.ClusterLogGroup())
				} else if d.Outcome != deploy.Clean || len(d.Kept) > 0 {
					t.Errorf("got %+v", d)
				}
			})
		})
	}
}

// TestL04NamesakesSurvive: what bears a name of the deployment's and is somebody
// else's survives a delete, whether the deployment was never there or is, and
// the delete names it with the command that would take it away. What carries the
// deployment's tag goes.
func TestL04NamesakesSurvive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Storage.Models.Name = "companys-models" })
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		api := w.target(a).AWS
		put := func(typ string, p map[string]any) string { return testkit.MustCreate(t, w.box, typ, p).ID }
		everybody := map[string]any{"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*",
		}}}
		theirs := map[string]string{}
		for typ, p := range map[string]map[string]any{
			"AWS::S3::Bucket":      {"BucketName": "companys-models"},
			"AWS::ECR::Repository": {"RepositoryName": a.RepositoryName("theirs")},
			"AWS::Logs::LogGroup":  {"LogGroupName": a.DatabaseLogGroup("error")},
			"AWS::KMS::Alias":      {"AliasName": a.KeyAlias("theirs"), "TargetKeyId": put("AWS::KMS::Key", map[string]any{"KeyPolicy": everybody})},
		} {
			theirs[typ] = put(typ, p)
		}
		if _, err := api.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("companys-models"), Key: new("x"), Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		_, err := api.ECR.PutImage(t.Context(), &ecr.PutImageInput{
			RepositoryName: new(a.RepositoryName("theirs")), ImageTag: new("1"), ImageManifestMediaType: new("application/vnd.oci.image.index.v1+json"),
			ImageManifest: new(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.t0 = testkit.Dump(w.box.Account())

		for _, data := range []deploy.Data{deploy.KeepData, deploy.SnapshotData, deploy.DestroyData} {
			_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: data})
			if !errors.Is(err, deploy.ErrAbsent) || !strings.Contains(err.Error(), "aws s3 rb --force s3://companys-models") {
				t.Errorf("never created, --data %s: %v", data, err)
			}
		}
		if diff := w.left(func(string) bool { return false }); diff != "" {
			t.Errorf("never created, the account changed:\n%s", diff)
		}

		w.stack(a, architecture.Parameters, parameters)
		put("AWS::Logs::LogGroup", map[string]any{"LogGroupName": a.DatabaseLogGroup("ours"), "Tags": awsTags(deploy.Tag, a.Name())})
		put("AWS::ECR::Repository", map[string]any{"RepositoryName": a.RepositoryName("ours"), "Tags": awsTags(deploy.Tag, a.Name())})
		d := w.destroy(a)
		if d.Outcome != deploy.Clean || len(d.Kept) != len(theirs) {
			t.Errorf("created beside them: %s, %+v", d.Outcome, d.Kept)
		}
		for typ, id := range theirs {
			if k := keptAs(t, d, typ, id); !k.Passing || len(k.Remove) != 1 || !strings.Contains(k.Remove[0], id) {
				t.Errorf("%s is named as %+v", typ, k)
			}
		}
		if diff := w.left(func(string) bool { return false }); diff != "" {
			t.Errorf("created beside them, the account changed:\n%s", diff)
		}
	})
}
