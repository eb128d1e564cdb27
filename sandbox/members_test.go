package sandbox

import (
	"cmp"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// effectless are members that change nothing in any account of the sandbox, or
// are taken care of for all operations of a service at once. The list only
// shrinks.
func effectless(service, operation, member string) bool {
	switch service {
	case "ec2":
		// What all listings have, and what only concerns other accounts, regions
		// and owners, or instances on which nothing runs.
		return slices.Contains([]string{
			"AllAvailabilityZones", "AllRegions", "ClientToken", "DryRun", "Filter", "Filters", "Force", "IncludeDeprecated", "IncludeDisabled", "IncludeManagedResources", "IncludeUnsupportedInRegion",
			"MaxResults", "NextToken", "OwnerIds",
		}, member) || operation == "DetachVolume" && member == "Device" || member == "EbsOptimized"
	case "eks":
		// There are no pods, no connected clusters, and a name that is taken is
		// refused with any token.
		return slices.Contains([]string{"clientRequestToken", "force", "include", "preserve"}, member) || operation == "UpdateNodegroupConfig" // refuses what it doesn't know
	case "s3":
		// Checksums are the wire's. Nobody pays, lifecycle rules don't run, keys
		// of customers are refused by their algorithm, and the rest is told by
		// the body.
		return strings.HasPrefix(member, "Checksum") || strings.Contains(member, "SSECustomerKey") || slices.Contains([]string{
			"Body", "BucketLoggingStatus", "ConfirmRemoveSelfBucketAccess", "ContentLength", "ContentMD5", "CreateBucketConfiguration", "LegalHold", "MpuObjectSize", "Policy",
			"RequestPayer", "Token", "TransitionDefaultMinimumObjectSize",
		}, member)
	case "rds":
		// There are no other accounts and no classic network; filters are refused.
		return slices.Contains([]string{"Filters", "IncludeAll", "IncludePublic", "IncludeShared", "ListSupportedCharacterSets", "ListSupportedTimezones", "Vpc"}, member) ||
			operation == "ModifyDBInstance" // refuses what it doesn't know
	}
	return slices.Contains(without(), service+"."+operation+" "+member) || service == "wafv2" && member == "Scope" // looked at for all operations
}

// without are single members without an effect. Lists that are never long come
// in one page.
func without() []string {
	return []string{
		"acm.ImportCertificate CertificateChain", // nothing serves it
		"autoscaling.DescribeAutoScalingGroups IncludeInstances",
		"backup.CreateBackupPlan CreatorRequestId", "backup.CreateBackupSelection CreatorRequestId", "backup.CreateBackupVault CreatorRequestId", "backup.StartBackupJob IdempotencyToken",
		"backup.ListBackupPlans MaxResults", "backup.ListBackupPlans NextToken", "backup.ListBackupSelections MaxResults", "backup.ListBackupSelections NextToken",
		"backup.ListBackupVaults MaxResults", "backup.ListBackupVaults NextToken", "backup.ListRecoveryPointsByBackupVault MaxResults", "backup.ListRecoveryPointsByBackupVault NextToken",
		"backup.ListTags MaxResults", "backup.ListTags NextToken",
		"backup.StartBackupJob CompleteWindowMinutes", "backup.StartBackupJob StartWindowMinutes", // jobs begin at once
		"cloudformation.CreateChangeSet ImportExistingResources", // a name that is taken is refused
		"cloudformation.CreateChangeSet IncludeNestedStacks", "cloudformation.DescribeAccountLimits NextToken",
		"cloudformation.GetTemplate TemplateStage", "cloudformation.GetTemplateSummary CallAs", // without transforms both stages are one
		"ecr.BatchGetImage acceptedMediaTypes", "ecr.GetAuthorizationToken registryIds", "ecr.SetRepositoryPolicy force",
		"elasticloadbalancing.DescribeSSLPolicies LoadBalancerType",
		"iam.ListEntitiesForPolicy Marker", "iam.ListEntitiesForPolicy MaxItems", "iam.ListRoleTags Marker", "iam.ListRoleTags MaxItems",
		"kms.CreateGrant GrantTokens", "kms.DescribeKey GrantTokens", "kms.ListKeyPolicies Limit", "kms.ListKeyPolicies Marker", "kms.PutKeyPolicy PolicyName",
		"route53.ListResourceRecordSets StartRecordIdentifier", // no record has an identifier
		"secretsmanager.CreateSecret ForceOverwriteReplicaSecret",
		"secretsmanager.RotateSecret ClientRequestToken", // RDS rotates, and names the version itself
		"ssm.DescribeInstanceInformation MaxResults", "ssm.DescribeInstanceInformation NextToken", "ssm.DescribeSessions MaxResults", "ssm.DescribeSessions NextToken",
		"wafv2.ListIPSets Limit", "wafv2.ListIPSets NextMarker", "wafv2.ListTagsForResource Limit", "wafv2.ListTagsForResource NextMarker",
		"wafv2.ListWebACLs Limit", "wafv2.ListWebACLs NextMarker", "wafv2.UpdateWebACL Name",
	}
}

// TestOracleMembers goes through every member of every operation's request, as
// AWS's service models have them: what carries the operation out names it, or
// refuses it as not modelled, or it is known to have no effect.
func TestOracleMembers(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("POOLHOUSE_API_MODELS")
	if dir == "" {
		t.Skip("no service models to compare with: set POOLHOUSE_API_MODELS to a folder of AWS's service models, gzipped")
	}
	said, used := source(t, Operations()), map[string]bool{}
	files := map[string]string{"elasticloadbalancing": "elbv2", "servicequotas": "service-quotas"}
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			file := cmp.Or(s.API, s.Name)
			if files[file] != "" {
				file = files[file]
			}
			model, ok := readModel(t, filepath.Join(dir, file+".json.gz"))
			if !ok {
				continue // TestOracle knows which there are none of
			}
			box := New(Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
			for _, o := range s.Operations {
				texts, found := map[string]bool{}, false
				for _, pkg := range packages(s.Name) {
					if said[pkg+" operation "+o.Name] != nil {
						maps.Copy(texts, said.reach(pkg+" operation "+o.Name, packages(s.Name)))
						found = true
					}
				}
				if s.Name == "s3" {
					// Bodies are received beside what carries the operation out.
					for key, m := range said {
						if strings.HasPrefix(key, "s3 ") {
							maps.Copy(texts, m.texts)
						}
					}
				}
				if !found {
					t.Errorf("no source of %s:%s is found", s.Name, o.Name)
				}
				var left []string
				members := model.Shapes[model.Operations[o.Name].Input.Shape].Members
				for _, name := range slices.Sorted(maps.Keys(members)) {
					names := []string{name, strings.ToUpper(name[:1]) + name[1:]}
					if at := members[name].LocationName; at != "" {
						names = append(names, at, strings.ToLower(at), strings.ToUpper(at[:1])+at[1:])
					}
					read := slices.ContainsFunc(names, func(n string) bool { return texts[n] || strings.Contains(o.Path, "{"+n) })
					used[s.Name+"."+o.Name+" "+name] = !read
					if !read && !effectless(s.Name, o.Name, name) && !refuses(box, s.Name, o, names) {
						left = append(left, name)
					}
				}
				if len(left) > 0 {
					t.Errorf("members of %s:%s that nothing reads or refuses: %q", s.Name, o.Name, left)
				}
			}
		}
	}
	for _, member := range without() {
		if !used[member] {
			t.Errorf("%s has an effect, or isn't there: take it from the list", member)
		}
	}
}

// refuses tells whether an operation refuses a member, by any of its names, as
// not modelled, before it looks at anything else.
func refuses(box *Sandbox, service string, o wire.Operation, names []string) bool {
	r := &wire.Request{Service: service, Operation: o.Name, ID: "1", In: map[string]any{}, Header: map[string][]string{}}
	for _, n := range names {
		r.In[n] = "x"
	}
	err := box.Clone(nil).Account().Do(func(tx *account.Tx) error {
		r.Time = tx.Now()
		_, err := o.Do(tx, r)
		return err
	})
	return account.IsNotModelled(err) && slices.ContainsFunc(names, func(n string) bool { return strings.Contains(err.Error(), n) })
}

// Whoever asks an operation for what isn't modelled hears so, by a member or by
// a header, before anything is done.
func TestUnmodelledMembersAreRefused(t *testing.T) {
	t.Parallel()
	box := New(Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	n := 0
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			for _, o := range s.Operations {
				for _, name := range unmodelledMembers(cmp.Or(s.API, s.Name), o.Name) {
					n++
					if !refuses(box, s.Name, o, []string{name}) {
						t.Errorf("%s of %s:%s is not refused", name, s.Name, o.Name)
					}
					if !strings.HasPrefix(name, "x-amz-") {
						continue
					}
					r := &wire.Request{In: map[string]any{}, Header: http.Header{}}
					http.Header(r.Header).Set(name, "x")
					act := func(tx *account.Tx) error { _, err := o.Do(tx, r); return err }
					if o.Admit != nil {
						act = func(tx *account.Tx) error { return o.Admit(tx, r) }
					}
					if err := box.Account().Do(act); !account.IsNotModelled(err) || !strings.Contains(err.Error(), name) {
						t.Errorf("header %s of %s: %v", name, o.Name, err)
					}
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d members only", n)
	}
}
