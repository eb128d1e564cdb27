// Package storage has the checks of S3 buckets.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: objects are neither listed nor read.
package storage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// storageFacts are what the buckets are.
type storageFacts struct {
	bucketsFact   account.Keyed[*s3.HeadBucketOutput]
	policiesFact  account.Keyed[policy.Document]
	lifecycleFact account.Keyed[[]types.LifecycleRule]
	defaultsFact  account.Keyed[types.ServerSideEncryptionRule]
}

// bucket is a bucket of this account, or nil. S3 refuses to show one of another
// account, whatever that allows.
func bucket(l *account.Look, name string) (*s3.HeadBucketOutput, error) {
	return account.Facts[storageFacts](l).bucketsFact.Get(name, func() (*s3.HeadBucketOutput, error) {
		out, err := account.OrNone(l.AWS.S3.HeadBucket(l.Ctx, &s3.HeadBucketInput{Bucket: &name, ExpectedBucketOwner: &l.ID.Account}))
		if err != nil {
			return nil, fmt.Errorf("look up bucket %s, which takes s3:ListBucket and may be another account's: %w", name, err)
		}
		return out, nil
	})
}

// unset turns S3's answer that a bucket has no such configuration into the zero
// value.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func unset[T any](v T, err error) (T, error) {
	code := awsapi.Code(err)
	if strings.HasPrefix(code, "NoSuch") && code != "NoSuchBucket" || strings.HasSuffix(code, "NotFoundError") {
		var none T
		return none, nil
	}
	return v, err
}

// bucketPolicy is a bucket's policy; one without statements where it has none.
func bucketPolicy(l *account.Look, name string) (policy.Document, error) {
	return account.Facts[storageFacts](l).policiesFact.Get(name, func() (policy.Document, error) {
		out, err := unset(l.AWS.S3.GetBucketPolicy(l.Ctx, &s3.GetBucketPolicyInput{Bucket: &name}))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the policy of bucket %s: %w", name, err)
		case out == nil || aws.ToString(out.Policy) == "":
			return policy.Document{}, nil
		}
		return policy.Read(*out.Policy)
	})
}

// bucketRules are a bucket's lifecycle rules that are switched on.
func bucketRules(l *account.Look, name string) ([]types.LifecycleRule, error) {
	return account.Facts[storageFacts](l).lifecycleFact.Get(name, func() ([]types.LifecycleRule, error) {
		out, err := unset(l.AWS.S3.GetBucketLifecycleConfiguration(l.Ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &name}))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the lifecycle rules of bucket %s: %w", name, err)
		case out == nil:
			return nil, nil
		}
		return slices.DeleteFunc(out.Rules, func(r types.LifecycleRule) bool { return r.Status != types.ExpirationStatusEnabled }), nil
	})
}

// eachBucket looks at the buckets that are there and that are wanted.
func eachBucket(wanted func(architecture.Bucket) bool, f func(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		for _, b := range l.Arch.Buckets {
			if !wanted(b) {
				continue
			}
			name := l.BucketName(b)
			there, err := bucket(l, name)
			if err != nil {
				return err
			}
			if there != nil {
				if err := f(l, r, b, name); err != nil {
					return err
				}
			}
		}
		if r.Empty() && !r.Excused() {
			r.NA("there is no such bucket, as bucket-there says")
		}
		return nil
	}
}

func anyBucket(architecture.Bucket) bool    { return true }
func dataBucket(b architecture.Bucket) bool { return b.Purpose != architecture.BucketLogs }
func logBucket(b architecture.Bucket) bool  { return b.Purpose == architecture.BucketLogs }
func auditBucket(b architecture.Bucket) bool {
	return b.Purpose == architecture.BucketAudit
}

// Checks are the checks of buckets, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "bucket-there", Level: check.Required, Rows: []string{"C13", "B45"},
			Proves: "There is a bucket of this account for each purpose, in the deployment's region.",
			Run: func(l *account.Look, r *check.Recorder) error {
				for _, b := range l.Arch.Buckets {
					name := l.BucketName(b)
					there, err := bucket(l, name)
					if err != nil {
						return err
					}
					if there == nil {
						r.Missing(name, "s3:HeadBucket", "make it again by hand, then poolhouse update; what was in it is lost unless AWS Backup has it")
						continue
					}
					region := aws.ToString(there.BucketRegion)
					r.Saw(region == "" || region == l.AWS.Region, name, "there, in "+region, "s3:HeadBucket", "in "+l.AWS.Region, "name another bucket in the configuration")
				}
				return nil
			},
		},
		{
			ID: "bucket-public-access", Level: check.Required, Rows: []string{"S3", "S6"},
			Proves: "S3 blocks public access to every bucket, by policies and by access lists, old and new.",
			Run:    eachBucket(anyBucket, bucketBlock),
		},
		{
			ID: "bucket-policy-not-public", Level: check.Required, Rows: []string{"S6"},
			Proves: "S3 finds no bucket's policy public.",
			Run: eachBucket(anyBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				out, err := unset(l.AWS.S3.GetBucketPolicyStatus(l.Ctx, &s3.GetBucketPolicyStatusInput{Bucket: &name}))
				if err != nil {
					return fmt.Errorf("look whether bucket %s is public: %w", name, err)
				}
				public := out != nil && out.PolicyStatus != nil && aws.ToBool(out.PolicyStatus.IsPublic)
				saw := "a policy that is not public"
				if public {
					saw = "a public policy"
				}
				r.Saw(!public, name, saw, "s3:GetBucketPolicyStatus", "a policy that is not public", "take the statement for everybody out of the policy: aws s3api put-bucket-policy --bucket "+name)
				return nil
			}),
		},
		{
			ID: "bucket-principals", Level: check.Required, Rows: []string{"S6"},
			Proves: "No bucket's policy lets another account in, or a service that does not deliver logs for this one.",
			Run:    eachBucket(anyBucket, bucketPrincipals),
		},
		{
			ID: "bucket-encrypted", Level: check.Required, Rows: []string{"S4", "B6"},
			Proves: "What comes into the data buckets is encrypted with the storage key.",
			Run: eachBucket(dataBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				rule, err := bucketEncryption(l, name)
				if err != nil {
					return err
				}
				fix := fmt.Sprintf("aws s3api put-bucket-encryption --bucket %s, with aws:kms and the ARN of %s; then copy what was written meanwhile over itself", name, l.Arch.KeyAlias(architecture.KeyStorage))
				if by := rule.ApplyServerSideEncryptionByDefault; by == nil || !strings.HasPrefix(string(by.SSEAlgorithm), "aws:kms") {
					r.Saw(false, name, "S3's own encryption", "s3:GetBucketEncryption", "aws:kms with "+l.Arch.KeyAlias(architecture.KeyStorage), fix)
					return nil
				}
				return check.SawKey(l, r, name, aws.ToString(rule.ApplyServerSideEncryptionByDefault.KMSMasterKeyID), "s3:GetBucketEncryption", architecture.KeyStorage, fix)
			}),
		},
		{
			ID: "bucket-key", Level: check.Advised, Rows: []string{"S4"},
			Proves: "A bucket key spares a call, and its price, for each object.",
			Run: eachBucket(dataBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				rule, err := bucketEncryption(l, name)
				if err != nil {
					return err
				}
				if by := rule.ApplyServerSideEncryptionByDefault; by == nil || by.SSEAlgorithm != types.ServerSideEncryptionAwsKms {
					return nil // others take no bucket key
				}
				on := aws.ToBool(rule.BucketKeyEnabled)
				r.Saw(on, name, "bucket key "+check.YesNo(on), "s3:GetBucketEncryption", "on", "aws s3api put-bucket-encryption --bucket "+name+", with BucketKeyEnabled")
				return nil
			}),
		},
		{
			ID: "bucket-own-key-only", Level: check.Required, Rows: []string{"S4", "B6"},
			Proves: "Data buckets refuse objects that are to be encrypted with anything but the storage key.",
			Run:    eachBucket(dataBucket, bucketOwnKey),
		},
		{
			ID: "log-bucket-encrypted", Level: check.Required, Rows: []string{"B15"},
			Proves: "The log bucket has the encryption that logs can be delivered with.",
			Run: eachBucket(logBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				rule, err := bucketEncryption(l, name)
				if err != nil {
					return err
				}
				algorithm := types.ServerSideEncryptionAes256
				if by := rule.ApplyServerSideEncryptionByDefault; by != nil {
					algorithm = by.SSEAlgorithm
				}
				r.Saw(algorithm == types.ServerSideEncryptionAes256, name, string(algorithm), "s3:GetBucketEncryption", "AES256, since load balancers and S3 deliver to no other",
					"aws s3api delete-bucket-encryption --bucket "+name)
				return nil
			}),
		},
		{
			ID: "bucket-versioned", Level: check.Required, Rows: []string{"C13", "B46"},
			Proves: "Every bucket keeps what is overwritten or removed.",
			Run: eachBucket(anyBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				out, err := l.AWS.S3.GetBucketVersioning(l.Ctx, &s3.GetBucketVersioningInput{Bucket: &name})
				if err != nil {
					return fmt.Errorf("look whether bucket %s has versions: %w", name, err)
				}
				saw := string(out.Status)
				if saw == "" {
					saw = "never on"
				}
				r.Saw(out.Status == types.BucketVersioningStatusEnabled, name, saw, "s3:GetBucketVersioning", "Enabled", "aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket "+name)
				return nil
			}),
		},
		{
			ID: "bucket-owner-enforced", Level: check.Required, Rows: []string{"S6"},
			Proves: "All objects are the account's, and access lists are off.",
			Run: eachBucket(anyBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				out, err := unset(l.AWS.S3.GetBucketOwnershipControls(l.Ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &name}))
				if err != nil {
					return fmt.Errorf("look whose the objects of bucket %s are: %w", name, err)
				}
				saw := "none: objects are their writers'"
				if out != nil && out.OwnershipControls != nil && len(out.OwnershipControls.Rules) > 0 {
					saw = string(out.OwnershipControls.Rules[0].ObjectOwnership)
				}
				r.Saw(saw == string(types.ObjectOwnershipBucketOwnerEnforced), name, saw, "s3:GetBucketOwnershipControls", "BucketOwnerEnforced",
					"aws s3api put-bucket-ownership-controls --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]' --bucket "+name)
				return nil
			}),
		},
		{
			ID: "bucket-tls-only", Level: check.Required, Rows: []string{"S5", "B19"},
			Proves: "Every bucket refuses what is no TLS.",
			Run: eachBucket(anyBucket, bucketRefuses("requests without TLS", func(s policy.Statement) bool {
				return len(s.Conditions) == 1 && slices.Equal(s.Wants("aws:SecureTransport", "Bool", "BoolIfExists"), []string{"false"})
			}, `deny s3:* to everybody with the condition Bool aws:SecureTransport "false"`)),
		},
		{
			ID: "bucket-tls-version", Level: check.Required, Rows: []string{"S5", "B19"},
			Proves: "Every bucket refuses TLS older than 1.2.",
			Run: eachBucket(anyBucket, bucketRefuses("TLS older than 1.2", func(s policy.Statement) bool {
				return len(s.Conditions) == 1 && slices.ContainsFunc(s.Wants("s3:TlsVersion", "NumericLessThan", "NumericLessThanIfExists"), func(v string) bool {
					n, err := strconv.ParseFloat(v, 64)
					return err == nil && n >= 1.2
				})
			}, `deny s3:* to everybody with the condition NumericLessThan s3:TlsVersion "1.2"`)),
		},
		{
			ID: "bucket-logged", Level: check.Required, Rows: []string{"B45"},
			Proves: "Access to the data buckets is logged in the log bucket.",
			Run: eachBucket(dataBucket, func(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
				out, err := l.AWS.S3.GetBucketLogging(l.Ctx, &s3.GetBucketLoggingInput{Bucket: &name})
				if err != nil {
					return fmt.Errorf("look where bucket %s logs: %w", name, err)
				}
				target := l.BucketName(l.Arch.Bucket(architecture.BucketLogs))
				saw := "not logged"
				if to := out.LoggingEnabled; to != nil {
					saw = "logged in " + aws.ToString(to.TargetBucket)
				}
				prefix := "s3/" + string(b.Purpose) + "/"
				r.Saw(saw == "logged in "+target, name, saw, "s3:GetBucketLogging", "logged in "+target,
					fmt.Sprintf("aws s3api put-bucket-logging --bucket %s, to %s below %s", name, target, prefix))
				return nil
			}),
		},
		{
			ID: "log-bucket-delivery", Level: check.Required, Rows: []string{"B45"},
			Proves: "S3 and load balancers of this account may write their logs, and only where theirs belong.",
			Run:    eachBucket(logBucket, logDelivery),
		},
		{
			ID: "bucket-expiry", Level: check.Required, Rows: []string{"C13", "B45"},
			Proves: "What is to expire does so when configured.",
			Run:    eachBucket(anyBucket, bucketExpiry),
		},
		{
			ID: "bucket-keeps", Level: check.Required, Rows: []string{"C13", "C12"},
			Proves: "No rule removes anything sooner than configured.",
			Run:    eachBucket(anyBucket, bucketKeeps),
		},
		{
			ID: "bucket-uploads-end", Level: check.Advised, Rows: []string{"C13"},
			Proves: "Uploads that were given up end, and with them their price.",
			Run: eachBucket(anyBucket, func(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
				rules, err := bucketRules(l, name)
				if err != nil {
					return err
				}
				saw, ok := "never", false
				for _, rule := range rules {
					if a := rule.AbortIncompleteMultipartUpload; a != nil && whole(rule) {
						days := aws.ToInt32(a.DaysAfterInitiation)
						saw = fmt.Sprintf("after %d days", days)
						ok = ok || days <= 7
					}
				}
				r.Saw(ok, name, saw, seeLifecycle, "after 7 days", "aws s3api put-bucket-lifecycle-configuration --bucket "+name+", with AbortIncompleteMultipartUpload after 7 days")
				return nil
			}),
		},
		{
			ID: "audit-object-lock", Level: check.Required, Rows: []string{"B46"},
			Proves: "Audit records are locked as configured from the moment they are written.",
			Run:    eachBucket(auditBucket, auditLock),
		},
	}
}

const seeLifecycle = "s3:GetBucketLifecycleConfiguration"

// bucketEncryption is the default of a bucket. S3 has one for every bucket since
// 2023, but may not show it for those that are older.
func bucketEncryption(l *account.Look, name string) (types.ServerSideEncryptionRule, error) {
	return account.Facts[storageFacts](l).defaultsFact.Get(name, func() (types.ServerSideEncryptionRule, error) {
		out, err := unset(l.AWS.S3.GetBucketEncryption(l.Ctx, &s3.GetBucketEncryptionInput{Bucket: &name}))
		if err != nil {
			return types.ServerSideEncryptionRule{}, fmt.Errorf("look how bucket %s is encrypted: %w", name, err)
		}
		if out == nil || out.ServerSideEncryptionConfiguration == nil || len(out.ServerSideEncryptionConfiguration.Rules) == 0 {
			return types.ServerSideEncryptionRule{}, nil
		}
		return out.ServerSideEncryptionConfiguration.Rules[0], nil
	})
}

func bucketBlock(l *account.Look, r *check.Recorder, _ architecture.Bucket, name string) error {
	out, err := unset(l.AWS.S3.GetPublicAccessBlock(l.Ctx, &s3.GetPublicAccessBlockInput{Bucket: &name}))
	if err != nil {
		return fmt.Errorf("look whether bucket %s blocks public access: %w", name, err)
	}
	var c types.PublicAccessBlockConfiguration
	if out != nil && out.PublicAccessBlockConfiguration != nil {
		c = *out.PublicAccessBlockConfiguration
	}
	var off []string
	for _, s := range []struct {
		name string
		on   *bool
	}{
		{"BlockPublicAcls", c.BlockPublicAcls}, {"IgnorePublicAcls", c.IgnorePublicAcls}, {"BlockPublicPolicy", c.BlockPublicPolicy}, {"RestrictPublicBuckets", c.RestrictPublicBuckets},
	} {
		if !aws.ToBool(s.on) {
			off = append(off, s.name)
		}
	}
	saw := "all four on"
	if len(off) > 0 {
		saw = check.Listed(off) + " off"
	}
	r.Saw(len(off) == 0, name, saw, "s3:GetPublicAccessBlock", "all four on",
		"aws s3api put-public-access-block --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true --bucket "+name)
	return nil
}

// The services that deliver logs to the log bucket.
const (
	s3Logs  = "logging.s3.amazonaws.com"
	elbLogs = "logdelivery.elasticloadbalancing.amazonaws.com"
)

func bucketPrincipals(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	p, err := bucketPolicy(l, name)
	if err != nil {
		return err
	}
	// What is public has a check of its own.
	p = slices.DeleteFunc(slices.Clone(p), policy.Statement.Public)
	var known []string
	if logBucket(b) {
		known = []string{s3Logs, elbLogs}
	}
	strangers := p.Strangers(l.ID.Account, known...)
	for _, who := range strangers {
		r.Saw(false, name, "lets in "+who, "s3:GetBucketPolicy", "this account, and for it "+check.Listed(known), "take it out of the policy: aws s3api put-bucket-policy --bucket "+name)
	}
	if len(strangers) == 0 {
		r.Saw(true, name, "lets in nobody but this account, and for it "+check.Listed(known), "s3:GetBucketPolicy", "", "")
	}
	return nil
}

// bucketRefuses looks for statements that deny reading, writing and listing under
// a condition.
func bucketRefuses(what string, condition func(policy.Statement) bool, add string) func(*account.Look, *check.Recorder, architecture.Bucket, string) error {
	return func(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
		p, err := bucketPolicy(l, name)
		if err != nil {
			return err
		}
		bucket := l.BucketARN(b)
		var open []string
		for _, a := range []struct{ action, resource string }{
			{"s3:GetObject", bucket + "/any/key"}, {"s3:PutObject", bucket + "/any/key"}, {"s3:ListBucket", bucket},
		} {
			if !slices.ContainsFunc(p, func(s policy.Statement) bool { return s.RefusesAll(a.action, a.resource) && condition(s) }) {
				open = append(open, a.action)
			}
		}
		saw := what + " refused"
		if len(open) > 0 {
			saw = what + " not refused for " + check.Listed(open)
		}
		r.Saw(len(open) == 0, name, saw, "s3:GetBucketPolicy", what+" refused", "aws s3api put-bucket-policy --bucket "+name+", with a statement more: "+add)
		return nil
	}
}

func bucketOwnKey(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	id := keys[architecture.KeyStorage]
	if id == "" {
		r.NA("there is no key for storage, as key-there says")
		return nil
	}
	p, err := bucketPolicy(l, name)
	if err != nil {
		return err
	}
	// refused tells whether uploads are denied whose header differs from what is
	// good. The header may be missing: then the bucket's default counts.
	refused := func(header string, good func(string) bool) bool {
		return slices.ContainsFunc(p, func(s policy.Statement) bool {
			others := slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool { return c.Key != header })
			values := s.Wants(header, "StringNotEquals", "ArnNotEquals")
			return !others && len(values) > 0 && s.RefusesAll("s3:PutObject", l.BucketARN(b)+"/any/key") && !slices.ContainsFunc(values, func(v string) bool { return !good(v) })
		})
	}
	algorithm := refused("s3:x-amz-server-side-encryption", func(v string) bool { return strings.HasPrefix(v, "aws:kms") })
	key := refused("s3:x-amz-server-side-encryption-aws-kms-key-id", func(v string) bool { return account.ResourceOf(v) == "key/"+id })
	saw := "other encryption and other keys refused"
	switch {
	case !algorithm && !key:
		saw = "neither other encryption nor other keys refused"
	case !algorithm:
		saw = "other encryption not refused"
	case !key:
		saw = "other keys not refused"
	}
	r.Saw(algorithm && key, name, saw, "s3:GetBucketPolicy", "other encryption and other keys refused",
		"aws s3api put-bucket-policy --bucket "+name+", with statements that deny s3:PutObject where s3:x-amz-server-side-encryption is there and not aws:kms, or names another key than "+l.Arch.KeyAlias(architecture.KeyStorage))
	return nil
}

// logDelivery holds the log bucket's policy to what S3 and load balancers need.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
func logDelivery(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	p, err := bucketPolicy(l, name)
	if err != nil {
		return err
	}
	bucket := l.BucketARN(b)
	for _, d := range []struct{ service, key, elsewhere string }{
		{s3Logs, "s3/models/2026-01-01", "alb/web/AWSLogs/" + l.ID.Account + "/x"},
		{elbLogs, "alb/web/AWSLogs/" + l.ID.Account + "/x", "s3/models/2026-01-01"},
	} {
		may := func(key string) bool {
			return slices.ContainsFunc(p, func(s policy.Statement) bool {
				return s.Allow && s.Covers("s3:PutObject") && s.On(bucket+"/"+key) && slices.Contains(s.Principals, policy.Principal{Kind: "Service", ID: d.service})
			})
		}
		saw, ok := d.service+" writes where its logs belong", true
		switch {
		case !may(d.key):
			saw, ok = d.service+" may not write", false
		case may(d.elsewhere):
			saw, ok = d.service+" may write where other logs belong", false
		}
		r.Saw(ok, name, saw, "s3:GetBucketPolicy", d.service+" may write below "+strings.SplitAfter(d.key, "/")[0], "aws s3api put-bucket-policy --bucket "+name+", which lets "+d.service+" put objects there for this account")
	}
	return nil
}

// whole tells whether a lifecycle rule is for the whole bucket.
func whole(r types.LifecycleRule) bool {
	f := r.Filter
	//lint:ignore SA1019 rules from before 2016 have their prefix here
	old := aws.ToString(r.Prefix)
	return old == "" && (f == nil || aws.ToString(f.Prefix) == "" && f.Tag == nil && f.And == nil && f.ObjectSizeGreaterThan == nil && f.ObjectSizeLessThan == nil)
}

func days(n int) string {
	if n == 0 {
		return "never"
	}
	return fmt.Sprintf("after %d days", n)
}

func bucketExpiry(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	c := b.Config
	if c.ExpireDays == 0 && c.NoncurrentDays == 0 {
		return nil
	}
	rules, err := bucketRules(l, name)
	if err != nil {
		return err
	}
	current, superseded := 0, 0
	least := func(now int, n *int32) int {
		if d := int(aws.ToInt32(n)); d > 0 && (now == 0 || d < now) {
			return d
		}
		return now
	}
	for _, rule := range rules {
		if !whole(rule) {
			continue
		}
		if e := rule.Expiration; e != nil {
			current = least(current, e.Days)
		}
		if e := rule.NoncurrentVersionExpiration; e != nil && e.NewerNoncurrentVersions == nil {
			superseded = least(superseded, e.NoncurrentDays)
		}
	}
	good := func(have, want int) bool { return want == 0 || have > 0 && have <= want }
	say := func(current, superseded int) string {
		return "objects expire " + days(current) + ", superseded versions " + days(superseded)
	}
	r.Saw(good(current, c.ExpireDays) && good(superseded, c.NoncurrentDays), name, say(current, superseded), seeLifecycle, say(c.ExpireDays, c.NoncurrentDays),
		"aws s3api put-bucket-lifecycle-configuration --bucket "+name+", with rules for the whole bucket")
	return nil
}

func bucketKeeps(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	c := b.Config
	rules, err := bucketRules(l, name)
	if err != nil {
		return err
	}
	soon := func(have *int32, want int) bool { return have != nil && *have > 0 && (want == 0 || int(*have) < want) }
	bad := 0
	for _, rule := range rules {
		id := "rule " + strconv.Quote(aws.ToString(rule.ID)) + " of " + name
		saw := ""
		if e := rule.Expiration; e != nil {
			switch {
			case soon(e.Days, c.ExpireDays):
				saw = "objects expire " + days(int(*e.Days)) + ", where configured " + days(c.ExpireDays)
			case e.Date != nil:
				saw = "objects expire on " + e.Date.UTC().Format("2006-01-02")
			}
		}
		if e := rule.NoncurrentVersionExpiration; e != nil && soon(e.NoncurrentDays, c.NoncurrentDays) {
			saw = "superseded versions expire " + days(int(*e.NoncurrentDays)) + ", where configured " + days(c.NoncurrentDays)
		}
		if saw != "" {
			bad++
			r.Saw(false, id, saw, seeLifecycle, "nothing removed sooner than configured", "take the rule out: aws s3api put-bucket-lifecycle-configuration --bucket "+name+"; or configure what is meant")
		}
	}
	if bad == 0 {
		r.Saw(true, name, fmt.Sprintf("%d rules, which remove nothing too soon", len(rules)), seeLifecycle, "", "")
	}
	return nil
}

// auditLock: governance that is configured and compliance that is there is more,
// not less.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
func auditLock(l *account.Look, r *check.Recorder, b architecture.Bucket, name string) error {
	const api = "s3:GetObjectLockConfiguration"
	out, err := unset(l.AWS.S3.GetObjectLockConfiguration(l.Ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name}))
	if err != nil {
		return fmt.Errorf("look whether bucket %s locks objects: %w", name, err)
	}
	want := b.Config.ObjectLock
	wanted := "objects can be locked"
	if want.Mode != config.LockOff {
		wanted = fmt.Sprintf("%s for %d days", want.Mode, want.Days)
	}
	fix := "aws s3api put-object-lock-configuration --bucket " + name
	if out == nil || out.ObjectLockConfiguration == nil || out.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		r.Saw(false, name, "objects can't be locked", api, wanted, fix)
		return nil
	}
	rule := out.ObjectLockConfiguration.Rule
	if rule == nil || rule.DefaultRetention == nil {
		r.Saw(want.Mode == config.LockOff, name, "objects can be locked, and are not by themselves", api, wanted, fix+", with a default retention: "+wanted)
		return nil
	}
	keep := rule.DefaultRetention
	n := int(aws.ToInt32(keep.Days)) + 365*int(aws.ToInt32(keep.Years))
	mode := strings.ToLower(string(keep.Mode))
	ok := want.Mode == config.LockOff || n >= want.Days && (mode == want.Mode || mode == config.LockCompliance)
	r.Saw(ok, name, fmt.Sprintf("%s for %d days", mode, n), api, wanted, fix+", with the default retention "+wanted)
	return nil
}
