package guard

import (
	"fmt"
	"strings"
)

// lowering is a property whose change in one direction protects less.
type lowering struct {
	typ, property string
	// path in the file; * is the bucket's key.
	path string
	// lower tells that the second value protects less than the first.
	lower func(was, is any) bool
	// what the lower value means, for a sentence that begins with the path.
	what string
}

// lowerings are the properties that protect data.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.BackupRetention.html
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-configuration-examples.html
func lowerings() []lowering {
	const db, bucket = "AWS::RDS::DBInstance", "AWS::S3::Bucket"
	return []lowering{
		{db, "DeletionProtection", "database.deletionProtection", off, "takes the protection from deletion away"},
		{db, "MultiAZ", "database.multiAz", off, "gives up the standby in another zone"},
		{db, "BackupRetentionPeriod", "database.backupDays", fewer, "keeps automated backups for fewer days; older ones go at once"},
		{db, "StorageEncrypted", "database", off, "stores the database in the clear"},
		{db, "EnablePerformanceInsights", "database", off, "stops watching the database's load"},
		{bucket, "LifecycleConfiguration.Rules", "storage.*.expireDays", expiresSooner, "lets objects expire sooner; those that are older go at once"},
		{bucket, "LifecycleConfiguration.Rules", "storage.*.noncurrentDays", supersededSooner, "lets superseded versions expire sooner; those that are older go at once"},
		{bucket, "ObjectLockConfiguration.Rule.DefaultRetention.Days", "storage.*.objectLock.days", fewer, "locks new objects for fewer days"},
		{bucket, "ObjectLockConfiguration.Rule.DefaultRetention.Mode", "storage.*.objectLock.mode", weakerLock, "locks new objects less strictly"},
		{bucket, "VersioningConfiguration.Status", "storage.*", isNot("Enabled"), "stops keeping superseded versions"},
		{bucket, "BucketEncryption", "storage.*", gone, "gives up the encryption with a key of the deployment's own"},
		{"AWS::KMS::Key", "EnableKeyRotation", "profile", off, "stops the rotation of a key"},
		{"AWS::EKS::Cluster", "EncryptionConfig", "cluster", gone, "stores Kubernetes secrets in the clear"},
		{"AWS::Backup::BackupPlan", "BackupPlan.BackupPlanRule", "backups.retentionDays", pointsFewer, "keeps recovery points for fewer days"},
		{"AWS::SSM::Parameter", "Value", "profile", demoted, "goes from production to evaluation, whose defaults protect less"},
	}
}

// lowered refuses less protection than there is. Whole parts that protect, and
// would go, count too.
func lowered(c Case, all []difference) []Refusal {
	var out []Refusal
	refuse := func(d difference, path, what string) {
		out = append(out, Refusal{
			Fault: c.Config.Fault(path, what, "undo the change"),
			Stack: d.stack, Resource: d.id, Flag: Lower,
		})
	}
	for _, d := range all {
		if d.was == nil {
			continue
		}
		if d.is == nil {
			switch d.typ {
			case "AWS::Backup::BackupPlan":
				refuse(d, "backups.enabled", "ends the backups of database and buckets; what is in the vault stays")
			case "AWS::WAFv2::WebACL":
				refuse(d, "waf.enabled", "takes the web application firewall away")
			}
			continue
		}
		for _, l := range lowerings() {
			if l.typ != d.typ {
				continue
			}
			was, is := d.was.at(l.property), d.is.at(l.property)
			if text(was) == text(is) || !l.lower(was, is) {
				continue
			}
			path := strings.Replace(l.path, "*", bucketKey(d.id), 1)
			what := l.what
			if a, b := text(was), text(is); len(a)+len(b) < 40 && !strings.ContainsAny(a+b, "{[") {
				what += fmt.Sprintf(" (%s instead of %s)", b, a)
			}
			refuse(d, path, what)
		}
	}
	return out
}

// off tells that something that was on, perhaps by a parameter, is off.
func off(was, is any) bool { return was != nil && was != false && (is == nil || is == false) }

func gone(was, is any) bool { return was != nil && is == nil }

func isNot(value string) func(was, is any) bool {
	return func(was, is any) bool { return was == value && is != value }
}

func fewer(was, is any) bool { return number(is) < number(was) }

func demoted(was, is any) bool { return was == "production" && is == "evaluation" }

func weakerLock(was, is any) bool {
	rank := map[any]int{"GOVERNANCE": 1, "COMPLIANCE": 2}
	return rank[is] < rank[was]
}

// sooner compares days of which 0 is never.
func sooner(was, is float64) bool { return is > 0 && (was == 0 || is < was) }

func expiresSooner(was, is any) bool {
	days := func(v any) float64 {
		return first(v, func(r *resource) float64 { return number(r.at("ExpirationInDays")) })
	}
	return sooner(days(was), days(is))
}

func supersededSooner(was, is any) bool {
	days := func(v any) float64 {
		return first(v, func(r *resource) float64 { return number(r.at("NoncurrentVersionExpiration.NoncurrentDays")) })
	}
	return sooner(days(was), days(is))
}

func pointsFewer(was, is any) bool {
	days := func(v any) float64 {
		return first(v, func(r *resource) float64 { return number(r.at("Lifecycle.DeleteAfterDays")) })
	}
	return sooner(days(was), days(is))
}

// first is the first number that is not 0 among the rules of a list.
func first(list any, of func(*resource) float64) float64 {
	rules, _ := list.([]any)
	for _, r := range rules {
		if m, ok := r.(map[string]any); ok {
			if n := of(&resource{Properties: m}); n != 0 {
				return n
			}
		}
	}
	return 0
}
