package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/kms"
	"github.com/poolhouse/poolhouse/config"
)

// keys is the KMS keys, one per purpose so that each policy names only the
// services that the purpose needs, and an alias for each. Rotation is on.
//
// Every policy holds the account root statement, without which a key can be
// locked out of its own account, and which lets IAM policies grant its use:
// roles need no statement here. RDS, ECR, EKS, Secrets Manager and S3 act with
// the caller's or the role's permissions.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
//
// Keys outlive their stack when a volume, snapshot, bucket, image or log group
// may still need them; only the one for Kubernetes secrets has nothing left to
// decrypt once the cluster is gone.
func keys(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Keys)
	window := 30
	if a.Config.Profile == config.Evaluation {
		window = 7
	}
	for _, purpose := range a.Keys {
		id := camel(string(purpose))
		opts := []cfn.Option{cfn.DeletionPolicy(cfn.RetainExceptOnCreate), cfn.UpdateReplacePolicy(cfn.Retain)}
		if purpose == architecture.KeyKubernetes {
			opts = []cfn.Option{cfn.DeletionPolicy(cfn.Delete), cfn.UpdateReplacePolicy(cfn.Retain)}
		}
		key := t.Add(cfn.LogicalID(id+"Key"), kms.Key{
			Description:         cfn.V(a.Name() + ": " + keyUse(purpose)),
			EnableKeyRotation:   cfn.V(true),
			PendingWindowInDays: cfn.V(window),
			KeyPolicy:           cfn.Policy{Statement: keyPolicy(a, purpose)},
			Tags:                named(a, string(purpose)),
		}, opts...)
		t.Add(cfn.LogicalID(id+"Alias"), kms.Alias{
			AliasName:   cfn.V(a.KeyAlias(purpose)),
			TargetKeyId: key.Ref(),
		})
		t.Output(id+"KeyArn", key.Att("Arn"))
	}
	return t
}

// keyUse says what a key encrypts, for people.
func keyUse(p architecture.KeyPurpose) string {
	switch p {
	case architecture.KeyStorage:
		return "objects in buckets"
	case architecture.KeyDatabase:
		return "PostgreSQL storage, snapshots and Performance Insights"
	case architecture.KeyVolumes:
		return "EBS volumes of nodes and of pods"
	case architecture.KeyRegistry:
		return "container images"
	case architecture.KeySecrets:
		return "secrets in Secrets Manager"
	case architecture.KeyLogs:
		return "log groups and alarm notifications"
	case architecture.KeyKubernetes:
		return "Kubernetes secrets"
	case architecture.KeyApplication:
		return "fields that the application encrypts itself"
	case architecture.KeyBackup:
		return "recovery points"
	}
	return string(p)
}

// keyPolicy is the statements of a key's policy. The resource "*" of a key
// policy is the key itself.
func keyPolicy(a *architecture.Architecture, p architecture.KeyPurpose) []cfn.Statement {
	self := cfn.L("*")
	out := []cfn.Statement{{
		Sid:       "Account",
		Principal: cfn.Principal{AWS: cfn.ListOf(cfn.Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root"))},
		Action:    cfn.L("kms:*"),
		Resource:  self,
	}}
	if p == architecture.KeyVolumes || p == architecture.KeyDatabase {
		// Grants are for AWS services to act for us, never for people. EBS and
		// RDS say so in their requests; EKS is documented not to, and of the
		// other services it isn't known, so their keys leave it to IAM.
		// https://docs.aws.amazon.com/eks/latest/userguide/enable-kms.html
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.Keys.html
		out = append(out, cfn.Statement{
			Sid:       "GrantsForServicesOnly",
			Effect:    cfn.Deny,
			Principal: cfn.Principal{Any: true},
			Action:    cfn.L("kms:CreateGrant"),
			Resource:  self,
			Condition: cfn.Conditions{"BoolIfExists": {"aws:PrincipalIsAWSService": "false", "kms:GrantIsForAWSResource": "false"}},
		})
	}
	switch p {
	case architecture.KeyVolumes:
		// Groups of self-managed NAT and of nodes start instances with
		// encrypted volumes. The role exists before the key: it is ensured by
		// API first.
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
		scaling := cfn.Principal{AWS: cfn.ListOf(cfn.Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"))}
		out = append(out,
			cfn.Statement{
				Sid:       "AutoScalingUse",
				Principal: scaling,
				Action:    cfn.L("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
				Resource:  self,
			},
			cfn.Statement{
				Sid:       "AutoScalingGrant",
				Principal: scaling,
				Action:    cfn.L("kms:CreateGrant"),
				Resource:  self,
				Condition: cfn.Conditions{"Bool": {"kms:GrantIsForAWSResource": "true"}},
			})
	case architecture.KeyLogs:
		// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
		var groups []cfn.Value[string]
		for _, pattern := range a.LogGroups() {
			groups = append(groups, arn("logs", "log-group:"+pattern))
		}
		out = append(out,
			cfn.Statement{
				Sid:       "Logs",
				Principal: cfn.Principal{Service: cfn.ListOf(cfn.Sub("logs.${AWS::Region}.amazonaws.com"))},
				Action:    cfn.L("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
				Resource:  self,
				Condition: cfn.Conditions{"ArnLike": {"kms:EncryptionContext:aws:logs:arn": cfn.ListOf(groups...)}},
			},
			// Alarms and database events publish to an encrypted topic.
			// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
			cfn.Statement{
				Sid:       "Alarms",
				Principal: cfn.Principal{Service: cfn.L("cloudwatch.amazonaws.com")},
				Action:    cfn.L("kms:Decrypt", "kms:GenerateDataKey*"),
				Resource:  self,
				Condition: sameAccount(),
			})
	}
	return out
}
