package verify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
)

const typeSecret = "AWS::SecretsManager::Secret"

// put writes a parameter below the deployment's path.
func put(name, value string, typ ssmtypes.ParameterType) func(*wrecker) error {
	return func(w *wrecker) error {
		in := &ssm.PutParameterInput{Name: aws.String(w.arch.ParameterPath() + "/" + name), Value: &value, Type: typ, Overwrite: aws.Bool(true)}
		if typ == ssmtypes.ParameterTypeSecureString {
			in.Overwrite = nil
			for k, v := range w.arch.Tags {
				in.Tags = append(in.Tags, ssmtypes.Tag{Key: &k, Value: &v})
			}
		}
		_, err := w.aws.SSM.PutParameter(w.ctx, in)
		return err
	}
}

// shared lets a principal read the application's secret.
func shared(principal string) func(*wrecker) error {
	return on(typeSecret, "ApplicationSecret", func(ctx context.Context, w *wrecker, id string) error {
		policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"secretsmanager:GetSecretValue","Resource":"*"}}`
		_, err := w.aws.SecretsManager.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{SecretId: &id, ResourcePolicy: &policy})
		return err
	})
}

func ownershipWrecks() []wreck {
	return []wreck{
		{check: "parameters-there", by: func(w *wrecker) error {
			_, err := w.aws.SSM.DeleteParameter(w.ctx, &ssm.DeleteParameterInput{Name: aws.String(w.arch.ParameterPath() + "/cluster/endpoint")})
			return err
		}},
		{check: "parameters-true", name: "bucket", by: put("buckets/models", "somebody-elses", ssmtypes.ParameterTypeString)},
		{check: "parameters-true", name: "key", by: put("keys/storage", "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000", ssmtypes.ParameterTypeString)},
		{check: "parameters-true", name: "load balancer", by: put("load-balancers/admin", "example.net", ssmtypes.ParameterTypeString)},
		{check: "parameters-no-secrets", name: "encrypted", by: put("database/password", "xyz", ssmtypes.ParameterTypeSecureString)},
		{check: "parameters-no-secrets", name: "plain", by: put("database/name", "postgres://poolside:hunter2@db/poolside", ssmtypes.ParameterTypeString)},
		{
			check: "secrets-there", name: "to be deleted", by: on(typeSecret, "ApplicationSecret", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.SecretsManager.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &id, RecoveryWindowInDays: aws.Int64(30)})
				return err
			}),
		},
		{check: "secrets-there", name: "gone", by: func(w *wrecker) error { return w.drop(typeSecret, logical("ApplicationSecret")) }},
		{
			check: "secrets-encrypted", by: on(typeSecret, "ApplicationSecret", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.SecretsManager.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: &id, KmsKeyId: aws.String("alias/aws/secretsmanager")})
				return err
			}),
		},
		{check: "secrets-not-shared", name: "everybody", by: shared(`"*"`)},
		{check: "secrets-not-shared", name: "another account", by: shared(`{"AWS":["arn:aws:iam::123456789012:role/core","arn:aws:iam::210987654321:root"]}`)},
		{check: "sso-secrets", by: func(w *wrecker) error {
			_, err := w.aws.SecretsManager.DeleteSecret(w.ctx, &secretsmanager.DeleteSecretInput{
				SecretId: aws.String(w.arch.Config.Access.SSO.Admin.SecretARN), ForceDeleteWithoutRecovery: aws.Bool(true),
			})
			return err
		}},
		{check: "public-addresses", name: "node", by: func(w *wrecker) error {
			return w.box.Account().Do(func(tx *account.Tx) error {
				node := tx.Find(instance.TypeInstance, func(r *account.Resource) bool { return r.Tags["eks:cluster-name"] != "" })
				face := tx.Find("AWS::EC2::NetworkInterface", func(r *account.Resource) bool { return props.Str(r.Data, "attachment", "instance") == node.ID })
				face.Data["publicIP"] = "203.0.113.99"
				return nil
			})
		}},
		{check: "public-addresses", name: "load balancer", also: []string{}, by: func(w *wrecker) error {
			id, err := w.id(typeBalancer, "AdminLoadBalancer")
			if err != nil {
				return err
			}
			return w.change("AWS::EC2::NetworkInterface", func(r *account.Resource) bool { return r.Owner == id }, func(_ *account.Tx, r *account.Resource) {
				r.Data["publicIP"] = "203.0.113.98"
			})
		}},
		{check: "addresses-in-use", by: func(w *wrecker) error {
			return w.change("AWS::EC2::EIP", func(r *account.Resource) bool { return r.Owner != "" }, func(tx *account.Tx, r *account.Resource) {
				tx.Put(&account.Resource{
					Type: r.Type, ID: "203.0.113.97", Tags: r.Tags, Props: map[string]any{"Domain": "vpc"}, Data: map[string]any{},
					Attrs: map[string]any{"PublicIp": "203.0.113.97", "AllocationId": "eipalloc-0123456789abcdef0"},
				})
			})
		}},
		{check: "tags-deployment", name: "repository", also: []string{}, by: func(w *wrecker) error {
			arn := "arn:aws:ecr:us-east-1:123456789012:repository/" + w.arch.RepositoryName(w.arch.Config.Registry.Repositories[0])
			_, err := w.aws.ECR.UntagResource(w.ctx, &ecr.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{architecture.DeploymentTag}})
			return err
		}},
		{
			check: "tags-deployment", name: "target group", by: on(typeTargets, "WebTargetGroup", func(ctx context.Context, w *wrecker, id string) error {
				_, err := w.aws.ELB.RemoveTags(ctx, &elb.RemoveTagsInput{ResourceArns: []string{id}, TagKeys: []string{architecture.DeploymentTag}})
				return err
			}),
		},
		{check: "tags-own", by: func(w *wrecker) error {
			bucket := "poolside-models-123456789012-us-east-1"
			_, err := w.aws.S3.PutBucketTagging(w.ctx, &s3.PutBucketTaggingInput{Bucket: &bucket, Tagging: &s3types.Tagging{TagSet: []s3types.Tag{
				{Key: aws.String(architecture.DeploymentTag), Value: aws.String(w.arch.Name())},
				{Key: aws.String("cost-centre"), Value: aws.String("4712")},
			}}})
			return err
		}},
	}
}

// TestSecretsAreSeen holds what counts as a secret in a parameter, and that
// reports never show it.
func TestSecretsAreSeen(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"-----BEGIN RSA PRIVATE KEY-----\nMII":               true,
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY":           true,
		"AKIAIOSFODNN7EXAMPLE":                               true,
		"postgres://user:hunter2@host/db":                    true,
		`{"username":"a","password":"correct horse"}`:        true,
		"Server=db;Password=hunter22;":                       true,
		"ghp_0123456789abcdefghijklmnopqrstuvwxyzAB":         true,
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc":       true,
		"arn:aws:secretsmanager:us-east-1:1:secret:token-a1": false,
		"da39a3ee5e6b4b0d3255bfef95601890afd80709":           false,
		"https://oidc.eks.us-east-1.amazonaws.com/id/A":      false,
		"https://login.example.com:8443/oauth2/token":        false,
		"poolside-platform-administrators@example.com":       false,
		"Users' passwords are kept by the provider.":         false,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			w := standing(t, "evaluation")
			if err := put("database/name", value, ssmtypes.ParameterTypeString)(&wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}); err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, verify.Options{Only: []string{"parameters-*"}})
			got := false
			for _, r := range rep.Failed("") {
				got = got || r.ID == "parameters-no-secrets"
				if s := fmt.Sprint(r.Evidence); want && len(value) > 12 && strings.Contains(s, value) {
					t.Errorf("the report shows the secret: %s", s)
				}
			}
			if got != want {
				t.Errorf("seen as a secret: %v, want %v", got, want)
			}
		})
	}
}

// TestSharedOnPurpose lets policies pass that keep strangers out.
func TestSharedOnPurpose(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"this account":        `[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"*","Resource":"*"}]`,
		"a role of it":        `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/core"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}`,
		"everybody is denied": `{"Effect":"Deny","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*"}`,
		"by a condition":      `{"Effect":"Allow","Principal":"*","Action":"secretsmanager:GetSecretValue","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standing(t, "evaluation")
			x := &wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}
			id, err := x.id(typeSecret, "ApplicationSecret")
			if err != nil {
				t.Fatal(err)
			}
			policy := `{"Version":"2012-10-17","Statement":` + statement + `}`
			if _, err := x.aws.SecretsManager.PutResourcePolicy(t.Context(), &secretsmanager.PutResourcePolicyInput{SecretId: &id, ResourcePolicy: &policy}); err != nil {
				t.Fatal(err)
			}
			rep := w.verify(t, verify.Options{Only: []string{"secrets-not-shared"}})
			if rep.Results[0].Status != verify.Pass {
				t.Errorf("%s: %+v", rep.Results[0].Status, rep.Results[0].Evidence)
			}
		})
	}
}

// TestEarlierSecret leaves alone the secret of an earlier deployment of the
// same name, which waits for its deletion.
func TestEarlierSecret(t *testing.T) {
	t.Parallel()
	w := standing(t, "evaluation")
	err := w.box.Account().Do(func(tx *account.Tx) error {
		old := *tx.Find(typeSecret, logical("ApplicationSecret"))
		old.ID += "old"
		old.Data = map[string]any{"Name": "old", "DeletedDate": w.now}
		old.Props = map[string]any{}
		tx.Put(&old)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rep := w.verify(t, verify.Options{Only: []string{"secrets-*"}})
	if failed := rep.Failed(""); len(failed) > 0 || len(rep.Unseen("")) > 0 {
		t.Errorf("failed %v", ids(failed))
		say(t, rep)
	}
}
