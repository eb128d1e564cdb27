package templates

import (
	"encoding/json"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ecr"
	"github.com/poolhouse/poolhouse/cfn/s3"
	"github.com/poolhouse/poolhouse/config"
)

// Prefixes in the log bucket. The policy lets only the service concerned write
// below each.
const (
	accessLogPrefix       = "s3/"
	loadBalancerLogPrefix = "alb"
)

// storage is the buckets by purpose and the ECR repositories. All of them
// outlive the stack, with their policies.
func storage(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Storage)
	logs := t.Resource(bucketID(architecture.BucketLogs))
	for _, b := range a.Buckets {
		id := bucketID(b.Purpose)
		opts := kept()
		if b.Purpose != architecture.BucketLogs {
			// No log is refused before its bucket accepts logs.
			opts = append(opts, cfn.DependsOn(t.Resource(logs.ID()+"Policy")))
		}
		bucket := t.Add(id, bucketOf(a, t, b, logs), opts...)
		t.Add(id+"Policy", s3.BucketPolicy{
			Bucket:         bucket.Ref(),
			PolicyDocument: cfn.Policy{Statement: bucketPolicy(a, t, b)},
		}, kept()...)
		t.Output(string(id)+"Name", bucket.Ref())
		t.Output(string(id)+"Arn", bucket.Att("Arn"))
	}
	repositories(a, t)
	return t
}

// kept are the options of what holds data.
func kept() []cfn.Option {
	return []cfn.Option{cfn.DeletionPolicy(cfn.RetainExceptOnCreate), cfn.UpdateReplacePolicy(cfn.Retain)}
}

func bucketID(p architecture.BucketPurpose) cfn.LogicalID {
	return cfn.LogicalID(camel(string(p)) + "Bucket")
}

func bucketOf(a *architecture.Architecture, t *cfn.Template, b architecture.Bucket, logs cfn.Handle) s3.Bucket {
	yes := cfn.V(true)
	out := s3.Bucket{
		BucketName:              cfn.Sub(b.Name),
		OwnershipControls:       &s3.OwnershipControls{Rules: []s3.OwnershipControlsRule{{ObjectOwnership: cfn.V("BucketOwnerEnforced")}}},
		VersioningConfiguration: &s3.VersioningConfiguration{Status: cfn.V("Enabled")},
		PublicAccessBlockConfiguration: &s3.PublicAccessBlockConfiguration{
			BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes,
		},
		LifecycleConfiguration: &s3.LifecycleConfiguration{Rules: lifecycle(b.Config)},
		Tags:                   named(a, string(b.Purpose)),
	}
	rule := s3.ServerSideEncryptionRule{
		BucketKeyEnabled: yes,
		ServerSideEncryptionByDefault: &s3.ServerSideEncryptionByDefault{
			SSEAlgorithm:   cfn.V("aws:kms"),
			KMSMasterKeyID: keyARN(t, architecture.KeyStorage),
		},
	}
	if b.Purpose == architecture.BucketLogs {
		// Access logs and load balancers write with S3's own keys only, object
		// lock would refuse deliveries, and a bucket that logs to itself never
		// comes to rest.
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
		// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
		rule = s3.ServerSideEncryptionRule{ServerSideEncryptionByDefault: &s3.ServerSideEncryptionByDefault{SSEAlgorithm: cfn.V("AES256")}}
	} else {
		out.LoggingConfiguration = &s3.LoggingConfiguration{
			DestinationBucketName: logs.Ref(),
			LogFilePrefix:         cfn.V(accessLogPrefix + string(b.Purpose) + "/"),
		}
	}
	out.BucketEncryption = &s3.BucketEncryption{ServerSideEncryptionConfiguration: []s3.ServerSideEncryptionRule{rule}}
	if b.Purpose == architecture.BucketAudit {
		// On in every profile, whether or not there is a rule yet.
		out.ObjectLockEnabled = yes
		lock := &s3.ObjectLockConfiguration{ObjectLockEnabled: cfn.V("Enabled")}
		mode := map[string]string{config.LockGovernance: "GOVERNANCE", config.LockCompliance: "COMPLIANCE"}[b.Config.ObjectLock.Mode]
		if mode != "" {
			lock.Rule = &s3.ObjectLockRule{DefaultRetention: &s3.DefaultRetention{Mode: cfn.V(mode), Days: cfn.V(b.Config.ObjectLock.Days)}}
		}
		out.ObjectLockConfiguration = lock
	}
	return out
}

// lifecycle ends uploads that were given up, and moves and ends objects as
// configured.
func lifecycle(b config.Bucket) []s3.Rule {
	rule := func(id string) s3.Rule { return s3.Rule{Id: cfn.V(id), Status: cfn.V("Enabled")} }
	uploads := rule("unfinished-uploads")
	uploads.AbortIncompleteMultipartUpload = &s3.AbortIncompleteMultipartUpload{DaysAfterInitiation: cfn.V(7)}
	out := []s3.Rule{uploads}
	if n := b.InfrequentAccessDays; n > 0 && (b.ExpireDays == 0 || n < b.ExpireDays) {
		r := rule("infrequent-access")
		r.Transitions = []s3.Transition{{StorageClass: cfn.V("STANDARD_IA"), TransitionInDays: cfn.V(n)}}
		out = append(out, r)
	}
	if b.ExpireDays > 0 {
		r := rule("expire")
		r.ExpirationInDays = cfn.V(b.ExpireDays)
		out = append(out, r)
	}
	if b.NoncurrentDays > 0 {
		r := rule("superseded")
		r.NoncurrentVersionExpiration = &s3.NoncurrentVersionExpiration{NoncurrentDays: cfn.V(b.NoncurrentDays)}
		out = append(out, r)
	}
	return out
}

// bucketPolicy refuses what is not TLS 1.2 and what is not encrypted with the
// bucket's key; a request that names no encryption gets the bucket's. The log
// bucket lets the two services write their logs, for this account only.
func bucketPolicy(a *architecture.Architecture, t *cfn.Template, b architecture.Bucket) []cfn.Statement {
	bucket := t.Resource(bucketID(b.Purpose))
	objects := cfn.Join("", bucket.Att("Arn"), cfn.V("/*"))
	both := cfn.ListOf(bucket.Att("Arn"), objects)
	everybody := cfn.Principal{Any: true}
	out := []cfn.Statement{
		{
			Sid: "TlsOnly", Effect: cfn.Deny, Principal: everybody, Action: cfn.L("s3:*"), Resource: both,
			Condition: cfn.Conditions{"Bool": {"aws:SecureTransport": "false"}},
		},
		{
			Sid: "Tls12", Effect: cfn.Deny, Principal: everybody, Action: cfn.L("s3:*"), Resource: both,
			Condition: cfn.Conditions{"NumericLessThan": {"s3:TlsVersion": "1.2"}},
		},
	}
	if b.Purpose != architecture.BucketLogs {
		// A negated operator also matches a missing key: hence Null.
		// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
		deny := func(sid, header string, want any) cfn.Statement {
			return cfn.Statement{
				Sid: sid, Effect: cfn.Deny, Principal: everybody, Action: cfn.L("s3:PutObject"), Resource: cfn.ListOf(objects),
				Condition: cfn.Conditions{"Null": {header: "false"}, "StringNotEquals": {header: want}},
			}
		}
		return append(out,
			deny("KmsOnly", "s3:x-amz-server-side-encryption", "aws:kms"),
			deny("OwnKeyOnly", "s3:x-amz-server-side-encryption-aws-kms-key-id", keyARN(t, architecture.KeyStorage)))
	}
	var sources []cfn.Value[string]
	for _, other := range a.Buckets {
		if other.Purpose != architecture.BucketLogs {
			sources = append(sources, cfn.Sub("arn:${AWS::Partition}:s3:::"+other.Name))
		}
	}
	below := func(path string) cfn.List[string] {
		return cfn.ListOf(cfn.Sub("${Bucket}/"+path, cfn.Vars{"Bucket": bucket.Att("Arn")}))
	}
	return append(out,
		cfn.Statement{
			Sid:       "AccessLogs",
			Principal: cfn.Principal{Service: cfn.L("logging.s3.amazonaws.com")},
			Action:    cfn.L("s3:PutObject"),
			Resource:  below(accessLogPrefix + "*"),
			Condition: cfn.Conditions{
				"ArnEquals":    {"aws:SourceArn": cfn.ListOf(sources...)},
				"StringEquals": {"aws:SourceAccount": cfn.AccountID()},
			},
		},
		cfn.Statement{
			Sid:       "LoadBalancerLogs",
			Principal: cfn.Principal{Service: cfn.L("logdelivery.elasticloadbalancing.amazonaws.com")},
			Action:    cfn.L("s3:PutObject"),
			Resource:  below(loadBalancerLogPrefix + "/*/AWSLogs/${AWS::AccountId}/*"),
			Condition: cfn.Conditions{"ArnLike": {"aws:SourceArn": arn("elasticloadbalancing", "loadbalancer/*")}},
		})
}

// repositories are the ECR repositories, and what their addresses begin with.
// Their ARNs follow from their names, and would not fit into one output.
func repositories(a *architecture.Architecture, t *cfn.Template) {
	for _, name := range a.Config.Registry.Repositories {
		t.Add(cfn.LogicalID(camel(name)+"Repository"), ecr.Repository{
			RepositoryName:             cfn.V(a.RepositoryName(name)),
			ImageTagMutability:         cfn.V("IMMUTABLE"),
			ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: cfn.V(true)},
			EncryptionConfiguration:    &ecr.EncryptionConfiguration{EncryptionType: cfn.V("KMS"), KmsKey: keyARN(t, architecture.KeyRegistry)},
			LifecyclePolicy:            &ecr.LifecyclePolicy{LifecyclePolicyText: cfn.V(untagged(a.Config.Registry.UntaggedDays))},
		}, kept()...)
	}
	t.Output("RegistryUri", cfn.Sub("${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/"+a.Name()))
}

// untagged is the lifecycle policy that ends images without a tag.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
func untagged(days int) string {
	type selection struct {
		TagStatus   string `json:"tagStatus"`
		CountType   string `json:"countType"`
		CountUnit   string `json:"countUnit"`
		CountNumber int    `json:"countNumber"`
	}
	type rule struct {
		RulePriority int               `json:"rulePriority"`
		Description  string            `json:"description"`
		Selection    selection         `json:"selection"`
		Action       map[string]string `json:"action"`
	}
	// These types always encode.
	text, _ := json.Marshal(map[string][]rule{"rules": {{
		RulePriority: 1,
		Description:  "images without a tag",
		Selection:    selection{"untagged", "sinceImagePushed", "days", days},
		Action:       map[string]string{"type": "expire"},
	}}})
	return string(text)
}
