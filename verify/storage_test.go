package verify_test

import (
	"encoding/json"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

type obj = map[string]any

// edited is a policy with a statement removed, by its id, and others added.
func edited(text, without string, more ...obj) (string, error) {
	var doc struct {
		Version   string
		Statement []obj
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return "", err
	}
	kept := more
	for _, s := range doc.Statement {
		if s["Sid"] != without {
			kept = append(kept, s)
		}
	}
	doc.Statement = kept
	b, err := json.Marshal(doc)
	return string(b), err
}

// bucketPolicy edits the policy of a bucket.
func bucketPolicy(p architecture.BucketPurpose, without string, more func(bucket string) []obj) func(*wrecker) error {
	return func(w *wrecker) error {
		name := w.bucket(p)
		out, err := w.aws.S3.GetBucketPolicy(w.ctx, &s3.GetBucketPolicyInput{Bucket: name})
		if err != nil {
			return err
		}
		var add []obj
		if more != nil {
			add = more("arn:aws:s3:::" + *name)
		}
		text, err := edited(*out.Policy, without, add...)
		if err != nil {
			return err
		}
		_, err = w.aws.S3.PutBucketPolicy(w.ctx, &s3.PutBucketPolicyInput{Bucket: name, Policy: &text})
		return err
	}
}

// lifecycle adds a lifecycle rule to a bucket, or takes one away.
func lifecycle(p architecture.BucketPurpose, without string, more ...types.LifecycleRule) func(*wrecker) error {
	return func(w *wrecker) error {
		name := w.bucket(p)
		out, err := w.aws.S3.GetBucketLifecycleConfiguration(w.ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: name})
		if err != nil {
			return err
		}
		rules := more
		for _, r := range out.Rules {
			if *r.ID != without {
				rules = append(rules, r)
			}
		}
		_, err = w.aws.S3.PutBucketLifecycleConfiguration(w.ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}})
		return err
	}
}

func lifecycleRule(id string, change func(*types.LifecycleRule)) types.LifecycleRule {
	r := types.LifecycleRule{ID: &id, Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}}
	change(&r)
	return r
}

func encrypt(p architecture.BucketPurpose, by types.ServerSideEncryptionByDefault, bucketKey bool) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.S3.PutBucketEncryption(w.ctx, &s3.PutBucketEncryptionInput{
			Bucket:                            w.bucket(p),
			ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &by, BucketKeyEnabled: &bucketKey}}},
		})
		return err
	}
}

func public(bucket string) []obj {
	return []obj{{"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": bucket + "/*"}}
}

func lock(rule *types.ObjectLockRule) func(*wrecker) error {
	return func(w *wrecker) error {
		_, err := w.aws.S3.PutObjectLockConfiguration(w.ctx, &s3.PutObjectLockConfigurationInput{
			Bucket: w.bucket(architecture.BucketAudit), ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: rule},
		})
		return err
	}
}

// repository is the name of one of the repositories.
func (w *wrecker) repository() *string {
	return aws.String(w.arch.RepositoryName("core-api"))
}

func (w *wrecker) repositoryPolicy(text string) error {
	_, err := w.aws.ECR.SetRepositoryPolicy(w.ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: w.repository(), PolicyText: &text})
	return err
}

func (w *wrecker) expiry(text string) error {
	_, err := w.aws.ECR.PutLifecyclePolicy(w.ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: w.repository(), LifecyclePolicyText: &text})
	return err
}

func storageWrecks() []wreck {
	const models, logs, audit, telemetry = architecture.BucketModels, architecture.BucketLogs, architecture.BucketAudit, architecture.BucketTelemetry
	kms := types.ServerSideEncryptionAwsKms
	return []wreck{
		{check: "bucket-there", by: func(w *wrecker) error {
			_, err := w.aws.S3.DeleteBucket(w.ctx, &s3.DeleteBucketInput{Bucket: w.bucket(models)})
			return err
		}},
		{check: "bucket-public-access", name: "none", by: func(w *wrecker) error {
			_, err := w.aws.S3.DeletePublicAccessBlock(w.ctx, &s3.DeletePublicAccessBlockInput{Bucket: w.bucket(models)})
			return err
		}},
		{check: "bucket-public-access", name: "three of four", by: func(w *wrecker) error {
			_, err := w.aws.S3.PutPublicAccessBlock(w.ctx, &s3.PutPublicAccessBlockInput{Bucket: w.bucket(logs), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			}})
			return err
		}},
		{check: "bucket-policy-not-public", by: func(w *wrecker) error {
			// The block is lifted, and put back too late.
			before, err := w.aws.S3.GetPublicAccessBlock(w.ctx, &s3.GetPublicAccessBlockInput{Bucket: w.bucket(models)})
			if err != nil {
				return err
			}
			_, err = w.aws.S3.DeletePublicAccessBlock(w.ctx, &s3.DeletePublicAccessBlockInput{Bucket: w.bucket(models)})
			err = errors.Join(err, bucketPolicy(models, "", public)(w))
			_, again := w.aws.S3.PutPublicAccessBlock(w.ctx, &s3.PutPublicAccessBlockInput{Bucket: w.bucket(models), PublicAccessBlockConfiguration: before.PublicAccessBlockConfiguration})
			return errors.Join(err, again)
		}},
		{check: "bucket-principals", name: "account", by: bucketPolicy(models, "", func(bucket string) []obj {
			return []obj{{"Effect": "Allow", "Principal": obj{"AWS": "999999999999"}, "Action": "s3:GetObject", "Resource": bucket + "/*"}}
		})},
		{check: "bucket-principals", name: "service", by: bucketPolicy(models, "", func(bucket string) []obj {
			return []obj{{"Effect": "Allow", "Principal": obj{"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject", "Resource": bucket + "/*"}}
		})},
		{check: "bucket-principals", name: "logs of any account", by: bucketPolicy(logs, "AccessLogs", func(bucket string) []obj {
			return []obj{{"Effect": "Allow", "Principal": obj{"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject", "Resource": bucket + "/s3/*"}}
		})},
		{check: "bucket-principals", name: "organisation", by: bucketPolicy(models, "", func(bucket string) []obj {
			return []obj{{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": bucket + "/*", "Condition": obj{"StringEquals": obj{"aws:PrincipalOrgID": "o-1234567890"}}}}
		})},
		{check: "bucket-encrypted", name: "by S3", by: encrypt(models, types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}, false)},
		{check: "bucket-encrypted", name: "another key", by: encrypt(models, types.ServerSideEncryptionByDefault{SSEAlgorithm: kms, KMSMasterKeyID: aws.String("alias/poolside/logs")}, true)},
		{check: "bucket-encrypted", name: "AWS's key", by: encrypt(models, types.ServerSideEncryptionByDefault{SSEAlgorithm: kms}, true)},
		{check: "bucket-key", by: encrypt(models, types.ServerSideEncryptionByDefault{SSEAlgorithm: kms, KMSMasterKeyID: aws.String("alias/poolside/storage")}, false)},
		{check: "bucket-own-key-only", name: "algorithm", by: bucketPolicy(models, "KmsOnly", nil)},
		{check: "bucket-own-key-only", name: "key", by: bucketPolicy(models, "OwnKeyOnly", nil)},
		{check: "log-bucket-encrypted", by: encrypt(logs, types.ServerSideEncryptionByDefault{SSEAlgorithm: kms, KMSMasterKeyID: aws.String("alias/poolside/storage")}, true)},
		{check: "bucket-versioned", by: func(w *wrecker) error {
			_, err := w.aws.S3.PutBucketVersioning(w.ctx, &s3.PutBucketVersioningInput{Bucket: w.bucket(models), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
			return err
		}},
		{check: "bucket-owner-enforced", name: "none", by: func(w *wrecker) error {
			_, err := w.aws.S3.DeleteBucketOwnershipControls(w.ctx, &s3.DeleteBucketOwnershipControlsInput{Bucket: w.bucket(models)})
			return err
		}},
		{check: "bucket-owner-enforced", name: "preferred", by: func(w *wrecker) error {
			_, err := w.aws.S3.PutBucketOwnershipControls(w.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: w.bucket(models), OwnershipControls: &types.OwnershipControls{
				Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}},
			}})
			return err
		}},
		{check: "bucket-tls-only", by: bucketPolicy(models, "TlsOnly", nil)},
		{check: "bucket-tls-only", name: "all policy gone", also: []string{"bucket-tls-version", "bucket-own-key-only"}, by: func(w *wrecker) error {
			_, err := w.aws.S3.DeleteBucketPolicy(w.ctx, &s3.DeleteBucketPolicyInput{Bucket: w.bucket(models)})
			return err
		}},
		{check: "bucket-tls-only", name: "objects only", by: bucketPolicy(models, "TlsOnly", func(bucket string) []obj {
			return []obj{{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": bucket + "/*", "Condition": obj{"Bool": obj{"aws:SecureTransport": "false"}}}}
		})},
		{check: "bucket-tls-version", by: bucketPolicy(logs, "Tls12", nil)},
		{check: "bucket-logged", name: "not", by: func(w *wrecker) error {
			_, err := w.aws.S3.PutBucketLogging(w.ctx, &s3.PutBucketLoggingInput{Bucket: w.bucket(audit), BucketLoggingStatus: &types.BucketLoggingStatus{}})
			return err
		}},
		{check: "log-bucket-delivery", name: "load balancers", by: bucketPolicy(logs, "LoadBalancerLogs", nil)},
		{check: "log-bucket-delivery", name: "S3", by: bucketPolicy(logs, "AccessLogs", nil)},
		{check: "log-bucket-delivery", name: "everywhere", by: bucketPolicy(logs, "AccessLogs", func(bucket string) []obj {
			return []obj{{"Effect": "Allow", "Principal": obj{"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject", "Resource": bucket + "/*", "Condition": obj{"StringEquals": obj{"aws:SourceAccount": "123456789012"}}}}
		})},
		{check: "bucket-expiry", name: "objects", by: lifecycle(telemetry, "expire")},
		{check: "bucket-expiry", name: "superseded", by: lifecycle(models, "superseded")},
		{check: "bucket-expiry", name: "no rules", also: []string{"bucket-uploads-end"}, by: func(w *wrecker) error {
			_, err := w.aws.S3.DeleteBucketLifecycle(w.ctx, &s3.DeleteBucketLifecycleInput{Bucket: w.bucket(models)})
			return err
		}},
		{check: "bucket-keeps", name: "objects", by: lifecycle(models, "", lifecycleRule("tidy", func(r *types.LifecycleRule) { r.Expiration = &types.LifecycleExpiration{Days: aws.Int32(7)} }))},
		{check: "bucket-keeps", name: "superseded", by: lifecycle(audit, "", lifecycleRule("tidy", func(r *types.LifecycleRule) {
			r.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1)}
		}))},
		{check: "bucket-uploads-end", by: lifecycle(models, "unfinished-uploads")},
		{check: "audit-object-lock", name: "no rule", by: lock(nil)},
		{check: "audit-object-lock", name: "shorter", by: lock(&types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}})},
		{check: "audit-object-lock", name: "impossible", example: "evaluation", by: func(w *wrecker) error {
			return w.change("AWS::S3::Bucket", logical("AuditBucket"), func(_ *account.Tx, r *account.Resource) {
				delete(r.Props, "ObjectLockEnabled")
				delete(r.Props, "ObjectLockConfiguration")
			})
		}},

		{check: "repository-there", by: func(w *wrecker) error {
			_, err := w.aws.ECR.DeleteRepository(w.ctx, &ecr.DeleteRepositoryInput{RepositoryName: w.repository()})
			return err
		}},
		{check: "repository-immutable", name: "mutable", by: func(w *wrecker) error {
			_, err := w.aws.ECR.PutImageTagMutability(w.ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: w.repository(), ImageTagMutability: ecrtypes.ImageTagMutabilityMutable})
			return err
		}},
		{check: "repository-immutable", name: "with exceptions", by: func(w *wrecker) error {
			_, err := w.aws.ECR.PutImageTagMutability(w.ctx, &ecr.PutImageTagMutabilityInput{
				RepositoryName: w.repository(), ImageTagMutability: ecrtypes.ImageTagMutabilityImmutableWithExclusion,
				ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{{FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWildcard, Filter: aws.String("latest*")}},
			})
			return err
		}},
		{check: "repository-scanned", by: func(w *wrecker) error {
			_, err := w.aws.ECR.PutImageScanningConfiguration(w.ctx, &ecr.PutImageScanningConfigurationInput{RepositoryName: w.repository(), ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{}})
			return err
		}},
		{check: "repository-encrypted", by: func(w *wrecker) error {
			_, err := w.aws.ECR.DeleteRepository(w.ctx, &ecr.DeleteRepositoryInput{RepositoryName: w.repository()})
			tags := []ecrtypes.Tag{}
			for k, v := range w.arch.Tags {
				tags = append(tags, ecrtypes.Tag{Key: &k, Value: &v})
			}
			_, again := w.aws.ECR.CreateRepository(w.ctx, &ecr.CreateRepositoryInput{
				RepositoryName: w.repository(), ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable, ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: true}, Tags: tags,
			})
			return errors.Join(err, again, w.expiry(untagged(14)))
		}},
		{check: "repository-private", name: "account", by: func(w *wrecker) error {
			return w.repositoryPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"ecr:BatchGetImage"}]}`)
		}},
		{check: "repository-private", name: "everybody", by: func(w *wrecker) error {
			return w.repositoryPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`)
		}},
		{check: "repository-expiry", by: func(w *wrecker) error { return w.expiry(untagged(400)) }},
		{check: "repository-keeps-images", also: []string{"repository-expiry"}, by: func(w *wrecker) error {
			return w.expiry(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`)
		}},
	}
}

// untagged is a lifecycle policy for images without a tag.
func untagged(days int) string {
	b, err := json.Marshal(obj{"rules": []obj{{
		"rulePriority": 1, "selection": obj{"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}, "action": obj{"type": "expire"},
	}}})
	if err != nil {
		return ""
	}
	return string(b)
}
