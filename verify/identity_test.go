package verify_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/verify"
)

// grant gives a role of the deployment an inline policy of one statement.
func grant(part, action, resource string) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.IAM.PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{
			RoleName: aws.String(w.arch.RoleName(part)), PolicyName: aws.String("more"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}}`),
		})
		return err
	}
}

// exampleBucket is the ARN of a bucket of the examples in us-east-1.
func exampleBucket(p architecture.BucketPurpose) string {
	return "arn:aws:s3:::poolside-" + string(p) + "-123456789012-us-east-1"
}

// pods is a trust policy for service accounts of the cluster: its subjects by
// an operator, the audience exactly.
func (w *wrecker) pods(operator string, subjects ...string) (*string, error) {
	arn, err := w.issuer()
	if err != nil {
		return nil, err
	}
	_, issuer, _ := strings.Cut(*arn, "oidc-provider/")
	conditions := map[string]map[string]any{"StringEquals": {issuer + ":aud": "sts.amazonaws.com"}}
	if conditions[operator] == nil {
		conditions[operator] = map[string]any{}
	}
	conditions[operator][issuer+":sub"] = subjects
	out, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"Federated": *arn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": conditions,
	}}})
	return aws.String(string(out)), err
}

// trusting lets a role of the deployment be assumed by service accounts.
func trusting(part, operator string, subjects ...string) func(*wrecker) error {
	return func(w *wrecker) error {
		document, err := w.pods(operator, subjects...)
		if err != nil {
			return err
		}
		_, err = w.aws.IAM.UpdateAssumeRolePolicy(w.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String(w.arch.RoleName(part)), PolicyDocument: document})
		return err
	}
}

// another makes a role of somebody's own for service accounts.
func another(operator string, subjects ...string) func(*wrecker) error {
	return func(w *wrecker) error {
		document, err := w.pods(operator, subjects...)
		if err != nil {
			return err
		}
		_, err = w.aws.IAM.CreateRole(w.ctx, &iam.CreateRoleInput{RoleName: aws.String("mine"), AssumeRolePolicyDocument: document})
		return err
	}
}

// attach attaches one of AWS's policies to a role of the deployment.
func attach(part, policy string) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.IAM.AttachRolePolicy(w.ctx, &iam.AttachRolePolicyInput{RoleName: aws.String(w.arch.RoleName(part)), PolicyArn: aws.String("arn:aws:iam::aws:policy/" + policy)})
		return err
	}
}

func assumedBy(part, principal, condition string) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.IAM.UpdateAssumeRolePolicy(w.ctx, &iam.UpdateAssumeRolePolicyInput{
			RoleName:       aws.String(w.arch.RoleName(part)),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":` + principal + condition + `}]}`),
		})
		return err
	}
}

func identityWrecks() []wreck {
	const coreAPI, csi, controller, secrets = architecture.RoleCoreAPI, architecture.RoleEBSCSI, architecture.RoleLoadBalancerController, architecture.RoleExternalSecrets
	const someSecret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	return []wreck{
		{check: "roles-there", by: func(w *wrecker) error {
			name := aws.String(w.arch.RoleName(secrets))
			if _, err := w.aws.IAM.DeleteRolePolicy(w.ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("secrets")}); err != nil {
				return err
			}
			_, err := w.aws.IAM.DeleteRole(w.ctx, &iam.DeleteRoleInput{RoleName: name})
			return err
		}},
		{check: "roles-trust", by: assumedBy("backup", `{"Service":"backup.amazonaws.com","AWS":"`+platform+`"}`, "")},
		{check: "roles-trust", name: "other service", by: assumedBy("backup", `{"Service":"ec2.amazonaws.com"}`, "")},
		{check: "roles-trust", name: "not bound", by: assumedBy("database-monitoring", `{"Service":"monitoring.rds.amazonaws.com"}`, "")},
		{check: "roles-attached", by: attach("flow-logs", "AmazonSSMManagedInstanceCore")},
		{check: "roles-attached", name: "on a service account", by: attach(coreAPI, "AmazonEKSWorkerNodePolicy")},
		{check: "node-roles-minimal", by: attach("core-nodes", "AmazonEKS_CNI_Policy")},
		{check: "node-roles-minimal", name: "inline", by: grant("core-nodes", "s3:GetObject", exampleBucket(architecture.BucketModels)+"/*")},
		{check: "role-boundary", by: func(w *wrecker) error {
			_, err := w.aws.IAM.DeleteRolePermissionsBoundary(w.ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String(w.arch.RoleName(csi))})
			return err
		}},
		{check: "role-boundary", name: "another role", by: func(w *wrecker) error {
			_, err := w.aws.IAM.CreateRole(w.ctx, &iam.CreateRoleInput{
				RoleName: aws.String(w.arch.RoleName("extra")), Tags: iamTags(w.arch.Tags),
				AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}}`),
			})
			return err
		}},
		{check: "roles-no-admin", also: []string{"roles-attached"}, by: attach(coreAPI, "AdministratorAccess")}, // it is a policy too many
		{check: "roles-no-wildcards", by: grant(secrets, "logs:PutLogEvents", "*")},
		{check: "roles-no-wildcards", name: "whole service", by: grant(secrets, "logs:*", "arn:aws:logs:us-east-1:123456789012:log-group:x")},
		{check: "roles-no-wildcards", name: "describe all", by: grant(csi, "ec2:Describe*", "*")},
		{check: "roles-no-wildcards", name: "managed", also: []string{"roles-attached"}, by: func(w *wrecker) error { // it is a policy too many
			made, err := w.aws.IAM.CreatePolicy(w.ctx, &iam.CreatePolicyInput{
				PolicyName: aws.String("more"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"logs:PutLogEvents","NotResource":"arn:aws:logs:us-east-1:123456789012:log-group:x"}]}`),
			})
			if err != nil {
				return err
			}
			_, err = w.aws.IAM.AttachRolePolicy(w.ctx, &iam.AttachRolePolicyInput{RoleName: aws.String(w.arch.RoleName("flow-logs")), PolicyArn: made.Policy.Arn})
			return err
		}},
		{check: "roles-no-escalation", by: grant(controller, "iam:PassRole", platform)},
		{check: "roles-no-escalation", name: "pattern", by: grant(controller, "iam:Put*Policy", platform)},
		{check: "irsa-trust-pinned", by: trusting(coreAPI, "StringLike", "system:serviceaccount:poolside:*")},
		{check: "irsa-trust-pinned", name: "another", by: trusting(coreAPI, "StringEquals", "system:serviceaccount:default:default")},
		{check: "irsa-trust-pinned", name: "nobody", by: assumedBy(coreAPI, `{"Service":"ec2.amazonaws.com"}`, "")},
		{check: "irsa-no-strangers", by: another("StringLike", "system:serviceaccount:*:*")},
		{check: "roles-per-service-account", by: another("StringEquals", "system:serviceaccount:poolside:core-api-sa")},
		{check: "roles-per-service-account", name: "two accounts", also: []string{"irsa-no-strangers"}, by: another("StringEquals", "system:serviceaccount:a:a", "system:serviceaccount:b:b")}, // nor is it pinned to one
		{check: "core-api-scoped", by: grant(coreAPI, "s3:GetObject", "arn:aws:s3:::others/*")},
		{check: "core-api-scoped", name: "key", by: grant(coreAPI, "kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/*")},
		{check: "inference-scoped", example: "gpu-inference", by: grant(architecture.RoleInference, "s3:GetObject", exampleBucket(architecture.BucketCodeDocs)+"/*")},
		{check: "inference-scoped", name: "writes", example: "gpu-inference", by: grant(architecture.RoleInference, "s3:PutObject", exampleBucket(architecture.BucketModels)+"/*")},
		{check: "audit-records-kept", by: grant(coreAPI, "s3:DeleteObject*", exampleBucket(architecture.BucketAudit)+"/*")},
		{check: "audit-records-kept", name: "expiry", by: grant(coreAPI, "s3:PutLifecycleConfiguration", exampleBucket(architecture.BucketAudit))},
		{check: "secrets-one-reader", by: grant(controller, "secretsmanager:GetSecretValue", someSecret+"x-AbCdEf")},
		{check: "secrets-one-reader", name: "all for setup", by: grant(architecture.RoleDatabaseSetup, "secretsmanager:GetSecretValue", someSecret+"*")},
		{check: "secrets-one-reader", name: "all", by: grant(secrets, "secretsmanager:GetSecretValue", someSecret+"*")},
		{check: "controllers-scoped", by: grant(csi, "ec2:TerminateInstances", "arn:aws:ec2:us-east-1:123456789012:instance/*")},
		{check: "controllers-scoped", name: "groups of others", by: grant(architecture.RoleClusterAutoscaler, "autoscaling:SetDesiredCapacity", "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/*")},
		{check: "roles-service-linked", by: func(w *wrecker) error {
			return w.drop("AWS::IAM::Role", func(r *account.Resource) bool { return r.ID == "AWSServiceRoleForAutoScaling" })
		}},
	}
}

// TestOthersRoles: roles of a deployment whose name begins like this one's, and
// roles of somebody's own for pods, are not this deployment's affair.
func TestOthersRoles(t *testing.T) {
	t.Parallel()
	w := standing(t, "production")
	wr := &wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}
	if err := another("StringEquals", "system:serviceaccount:team:app")(wr); err != nil {
		t.Fatal(err)
	}
	name := w.arch.RoleName("test-core-api")
	_, err := wr.aws.IAM.CreateRole(wr.ctx, &iam.CreateRoleInput{
		RoleName: &name, Tags: iamTags(map[string]string{architecture.DeploymentTag: w.arch.Name() + "-test"}),
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = wr.aws.IAM.AttachRolePolicy(wr.ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	if err != nil {
		t.Fatal(err)
	}
	rep := w.verify(t, verify.Options{Only: []string{"role*", "irsa-*"}})
	if diff := cmp.Diff([]string{}, ids(rep.Failed(""))); diff != "" {
		t.Error(diff)
		say(t, rep)
	}
}

func iamTags(tags map[string]string) []iamtypes.Tag {
	var out []iamtypes.Tag
	for k, v := range tags {
		out = append(out, iamtypes.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return out
}
