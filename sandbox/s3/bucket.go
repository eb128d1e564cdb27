package s3

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

func bucketType() *account.Type {
	return &account.Type{
		Name: TypeBucket, Latency: "s3:bucket",
		Create: createBucket,
		Update: updateBucket,
		Delete: func(tx *account.Tx, b *account.Resource) error {
			if len(objects(tx, b.ID)) == 0 {
				return nil
			}
			if versioning(b.Props) != "" {
				return errorf("BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
			}
			return errorf("BucketNotEmpty", "The bucket you tried to delete is not empty")
		},
		Gone: func(tx *account.Tx, b *account.Resource) {
			tx.Drop(TypeBucketPolicy, b.ID)
			for _, u := range uploads(tx, b.ID) {
				tx.Drop(TypeUpload, u.ID)
			}
			tx.Note(deleted, map[string]any{"name": b.ID})
		},
		Read: func(_ *account.Tx, b *account.Resource) map[string]any {
			live := maps.Clone(b.Props)
			if unblocked(b) {
				delete(live, "PublicAccessBlockConfiguration")
			}
			return live
		},
	}
}

func createBucket(tx *account.Tx, b *account.Resource) error {
	name := props.Str(b.Props, "BucketName")
	if name == "" {
		name = strings.ToLower(tx.Name(b, 63))
	}
	if !validName(name) {
		return errorf("InvalidBucketName", "The specified bucket is not valid.")
	}
	if tx.Get(TypeBucket, name) != nil {
		return errorf("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	if slices.Contains(foreign(), name) || slices.Contains(tx.World().ForeignBuckets, name) {
		return errorf("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.")
	}
	if justDeleted(tx, name) {
		return errorf("OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	}
	if err := quota.Buckets.Check(tx, tx.Count(TypeBucket)); err != nil {
		return err
	}
	if err := checkBucket(tx, name, b.Props); err != nil {
		return err
	}
	b.ID = name
	suffix := "amazonaws.com"
	if tx.Partition() == "aws-cn" {
		suffix += ".cn"
	}
	b.Attrs["Arn"] = arn(tx, name)
	b.Attrs["DomainName"] = name + ".s3." + suffix
	b.Attrs["RegionalDomainName"] = name + ".s3." + tx.Region() + "." + suffix
	b.Attrs["DualStackDomainName"] = name + ".s3.dualstack." + tx.Region() + "." + suffix
	b.Attrs["WebsiteURL"] = "http://" + name + ".s3-website-" + tx.Region() + "." + suffix
	b.Tags = props.Tags(b.Props, "Tags")
	return nil
}

// deleted is the journal's kind of note on buckets that are gone.
const deleted = "s3:deleted"

// justDeleted tells whether the name of a deleted bucket isn't free yet: S3
// gives a name back when all regions know, within minutes or hours.
// https://repost.aws/knowledge-center/s3-conflicting-conditional-operation
func justDeleted(tx *account.Tx, name string) bool {
	for _, e := range slices.Backward(tx.Noted(deleted)) {
		if props.Str(e.Data, "name") == name {
			return tx.Now().Sub(e.At) < tx.Latency("s3:bucket/name", name)
		}
	}
	return false
}

// foreign are some of the names that other accounts hold: names are shared by
// all of AWS.
func foreign() []string {
	return []string{"bucket", "test", "my-bucket", "models", "logs", "data", "backup", "poolside", "example", "examplebucket"}
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func validName(name string) bool {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return false
		}
	}
	return true
}

// locked tells whether object lock is on.
func locked(p map[string]any) bool {
	return props.Bool(p, false, "ObjectLockEnabled") || props.Str(p, "ObjectLockConfiguration", "ObjectLockEnabled") == "Enabled"
}

// versioning is "Enabled", "Suspended" or "" for a bucket that never had it.
// Object lock brings it along.
func versioning(p map[string]any) string {
	if s := props.Str(p, "VersioningConfiguration", "Status"); s != "" {
		return s
	}
	if locked(p) {
		return "Enabled"
	}
	return ""
}

// ownership is whose objects are, or "" where the controls were deleted: then
// they are their writers'.
func ownership(p map[string]any) string {
	for _, r := range props.Maps(p, "OwnershipControls", "Rules") {
		if o := props.Str(r, "ObjectOwnership"); o != "" {
			return o
		}
	}
	if m := props.Map(p, "OwnershipControls"); m != nil && len(m) == 0 {
		return ""
	}
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
	return "BucketOwnerEnforced"
}

func updateBucket(tx *account.Tx, b *account.Resource, next map[string]any) error {
	if locked(b.Props) && !locked(next) {
		return errorf("InvalidRequest", "Object Lock can't be disabled once it is enabled on a bucket.")
	}
	if versioning(b.Props) != "" && versioning(next) == "" {
		// Leaving versioning out again suspends it.
		next["VersioningConfiguration"] = map[string]any{"Status": "Suspended"}
	}
	if err := checkBucket(tx, b.ID, next); err != nil {
		return err
	}
	for k := range props.Tags(b.Props, "Tags") {
		delete(b.Tags, k)
	}
	for k, v := range props.Tags(next, "Tags") {
		b.Tags[k] = v
	}
	return nil
}

// checkBucket checks all of a bucket's configuration.
func checkBucket(tx *account.Tx, name string, p map[string]any) error {
	if err := account.Unmodelled(TypeBucket, p,
		"AbacStatus", "AccelerateConfiguration", "AnalyticsConfigurations", "BucketNamePrefix", "BucketNamespace", "CorsConfiguration", "IntelligentTieringConfigurations",
		"InventoryConfigurations", "MetadataConfiguration", "MetadataTableConfiguration", "MetricsConfigurations", "NotificationConfiguration", "ReplicationConfiguration", "WebsiteConfiguration"); err != nil {
		return err
	}
	if s := versioning(p); s != "" && s != "Enabled" && s != "Suspended" {
		return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if acl := props.Str(p, "AccessControl"); acl != "" && acl != "Private" && ownership(p) == "BucketOwnerEnforced" {
		return errorf("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	if tags := props.Tags(p, "Tags"); len(tags) > 50 {
		return errorf("BadRequest", "Bucket tag count cannot be greater than 50")
	}
	for _, check := range []func() error{
		func() error { return checkEncryption(p) },
		func() error { return checkLock(p) },
		func() error { return checkLogging(tx, name, p) },
		func() error { return checkLifecycle(p) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkEncryption: S3 looks at a key only when it is used.
func checkEncryption(p map[string]any) error {
	if !props.Has(p, "BucketEncryption") {
		return nil
	}
	rules := props.Maps(p, "BucketEncryption", "ServerSideEncryptionConfiguration")
	if len(rules) != 1 {
		return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	algorithm, key := encryption(p)
	switch {
	case !slices.Contains([]string{"AES256", "aws:kms", "aws:kms:dsse"}, algorithm):
		return errorf("InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. The valid value is AES256, aws:kms or aws:kms:dsse.")
	case algorithm == "AES256" && key != "":
		return errorf("InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
	}
	return nil
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-configure.html
func checkLock(p map[string]any) error {
	if locked(p) && versioning(p) == "Suspended" {
		return errorf("InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	r := props.Map(p, "ObjectLockConfiguration", "Rule", "DefaultRetention")
	if r == nil {
		return nil
	}
	if !locked(p) {
		return errorf("InvalidRequest", "Object Lock configuration cannot be enabled on existing buckets without ObjectLockEnabled")
	}
	mode := props.Str(r, "Mode")
	if mode != "GOVERNANCE" && mode != "COMPLIANCE" {
		return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	days, years := props.Int(r, 0, "Days"), props.Int(r, 0, "Years")
	if (days == 0) == (years == 0) {
		return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	if days < 0 || years < 0 || days > 36500 || years > 100 {
		return errorf("InvalidArgument", "Default retention period must be a positive integer value.")
	}
	return nil
}

// checkLogging: the target is a bucket of this account that logs can be
// delivered to.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
func checkLogging(tx *account.Tx, name string, p map[string]any) error {
	if !props.Has(p, "LoggingConfiguration") {
		return nil
	}
	target := props.Str(p, "LoggingConfiguration", "DestinationBucketName")
	to := p
	if target != "" && target != name {
		b := tx.Get(TypeBucket, target)
		if b == nil {
			return errorf("InvalidTargetBucketForLogging", "The target bucket for logging does not exist")
		}
		to = b.Props
	}
	if algorithm, _ := encryption(to); algorithm != "AES256" {
		return errorf("InvalidTargetBucketForLogging", "The target bucket for logging can't have default encryption with AWS KMS keys")
	}
	if props.Has(to, "ObjectLockConfiguration", "Rule") {
		return errorf("InvalidTargetBucketForLogging", "The target bucket for logging can't have an Object Lock default retention period")
	}
	return nil
}

// checkLifecycle checks lifecycle rules.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
func checkLifecycle(p map[string]any) error {
	if !props.Has(p, "LifecycleConfiguration") {
		return nil
	}
	rules := props.Maps(p, "LifecycleConfiguration", "Rules")
	if len(rules) == 0 || len(rules) > 1000 {
		return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	ids := map[string]bool{}
	for _, r := range rules {
		id := props.Str(r, "Id")
		if id != "" && ids[id] {
			return errorf("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
		}
		ids[id] = true
		if s := props.Str(r, "Status"); s != "Enabled" && s != "Disabled" {
			return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		if err := checkRule(r); err != nil {
			return err
		}
	}
	return nil
}

func transitions(r map[string]any, one, many string) []map[string]any {
	out := props.Maps(r, many)
	if t := props.Map(r, one); t != nil {
		out = append(out, t)
	}
	return out
}

func checkRule(r map[string]any) error {
	moves := transitions(r, "Transition", "Transitions")
	old := transitions(r, "NoncurrentVersionTransition", "NoncurrentVersionTransitions")
	oldDays := props.Int(r, props.Int(r, 0, "NoncurrentVersionExpiration", "NoncurrentDays"), "NoncurrentVersionExpirationInDays")
	acts := len(moves) + len(old)
	for _, k := range []string{"ExpirationInDays", "ExpirationDate", "ExpiredObjectDeleteMarker", "NoncurrentVersionExpiration", "NoncurrentVersionExpirationInDays", "AbortIncompleteMultipartUpload"} {
		if props.Has(r, k) {
			acts++
		}
	}
	if acts == 0 {
		return errorf("InvalidRequest", "At least one action needs to be specified in a rule")
	}
	for _, k := range []string{"ExpirationInDays", "NoncurrentVersionExpirationInDays"} {
		if props.Has(r, k) && props.Int(r, 0, k) <= 0 {
			return errorf("InvalidArgument", "'Days' for Expiration action must be a positive integer")
		}
	}
	if props.Has(r, "NoncurrentVersionExpiration") && oldDays <= 0 {
		return errorf("InvalidArgument", "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
	}
	if props.Has(r, "AbortIncompleteMultipartUpload") && props.Int(r, 0, "AbortIncompleteMultipartUpload", "DaysAfterInitiation") <= 0 {
		return errorf("InvalidArgument", "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
	}
	infrequent := []string{"STANDARD_IA", "ONEZONE_IA"}
	for _, t := range moves {
		days, class := props.Int(t, 0, "TransitionInDays"), props.Str(t, "StorageClass")
		if slices.Contains(infrequent, class) && !props.Has(t, "TransitionDate") && days < 30 {
			return errorf("InvalidArgument", "'Days' in Transition action must be greater than or equal to 30 for storageClass '%s'", class)
		}
		if end := props.Int(r, 0, "ExpirationInDays"); end != 0 && end <= days {
			return errorf("InvalidArgument", "'Days' in the Expiration action for prefix '%s' must be greater than 'Days' in the Transition action", props.Str(r, "Prefix"))
		}
	}
	for _, t := range old {
		days, class := props.Int(t, 0, "TransitionInDays"), props.Str(t, "StorageClass")
		if slices.Contains(infrequent, class) && days < 30 {
			return errorf("InvalidArgument", "'NoncurrentDays' in NoncurrentVersionTransition action must be greater than or equal to 30 for storageClass '%s'", class)
		}
		if oldDays != 0 && oldDays <= days {
			return errorf("InvalidArgument", "'NoncurrentDays' in the NoncurrentVersionExpiration action for prefix '%s' must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action", props.Str(r, "Prefix"))
		}
	}
	return nil
}
