package rehearse

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// key names a resource across two moments of an account.
type key struct{ typ, id string }

func (k key) String() string { return k.typ + " " + k.id }

func index(all []*account.Resource) map[key]*account.Resource {
	m := make(map[key]*account.Resource, len(all))
	for _, r := range all {
		m[key{r.Type, r.ID}] = r
	}
	return m
}

// stateful are the types of which none may go or be replaced by an update.
var stateful = []string{
	"AWS::Backup::BackupVault", "AWS::EC2::Subnet", "AWS::EC2::VPC", "AWS::ECR::Repository", "AWS::EKS::Cluster",
	"AWS::KMS::Key", "AWS::RDS::DBInstance", "AWS::Route53::HostedZone", "AWS::S3::Bucket",
}

// sameState proves that everything stateful of before is still there, and
// returns how much that is.
func sameState(before, after []*account.Resource) (int, error) {
	now := index(after)
	n := 0
	var lost []string
	for _, r := range before {
		if !slices.Contains(stateful, r.Type) {
			continue
		}
		n++
		k := key{r.Type, r.ID}
		// A replaced resource that keeps its name is younger.
		if is := now[k]; is == nil || !is.Created.Equal(r.Created) {
			lost = append(lost, k.String())
		}
	}
	if lost != nil {
		return n, &MismatchError{"the update replaced or removed what holds data", lost}
	}
	return n, nil
}

// remainder compares an account with its start. What is there in addition must
// be what a deletion said it keeps, or service-linked roles, which it returns.
func remainder(start, now []*account.Resource, kept []deploy.Kept) (roles []string, err error) {
	before, after := index(start), index(now)
	said := map[key]bool{}
	for _, k := range kept {
		said[key{k.Type, k.ID}] = true
	}
	var wrong []string
	for _, k := range slices.SortedFunc(maps.Keys(after), compareKeys) {
		r := after[k]
		was := before[k]
		switch {
		case was != nil:
			if what := differs(was, r); what != "" {
				wrong = append(wrong, fmt.Sprintf("%s is not as it was: %s", k, what))
			}
		case memory(r):
		case linkedRole(r):
			roles = append(roles, r.ID)
		case !said[k] && !ofBucket(r, kept):
			wrong = append(wrong, k.String()+" is left and was not reported")
		}
		delete(said, k)
	}
	for _, k := range slices.SortedFunc(maps.Keys(before), compareKeys) {
		if after[k] == nil {
			wrong = append(wrong, k.String()+" was there before and is gone")
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(said), compareKeys) {
		wrong = append(wrong, k.String()+" is reported as kept and is gone")
	}
	if wrong != nil {
		return roles, &MismatchError{"the account is not as it was found", wrong}
	}
	return roles, nil
}

func compareKeys(a, b key) int { return strings.Compare(a.String(), b.String()) }

// ofBucket tells that something is of a bucket that is kept: an object, or the policy.
func ofBucket(r *account.Resource, kept []deploy.Kept) bool {
	return slices.ContainsFunc(kept, func(k deploy.Kept) bool {
		return k.Type == "AWS::S3::Bucket" && (r.Type == "s3:object" && strings.HasPrefix(r.ID, k.ID+"/") || r.Type == "AWS::S3::BucketPolicy" && r.ID == k.ID)
	})
}

// memory tells that a record is only AWS's memory of what was deleted:
// CloudFormation describes a deleted stack for 90 days.
func memory(r *account.Resource) bool {
	return r.Type == "cloudformation:stack" && r.Status == "DELETE_COMPLETE"
}

// linkedRole tells that a role belongs to an AWS service: the account gets it
// when the service is first used, and keeps it.
func linkedRole(r *account.Resource) bool {
	path, _ := r.Props["Path"].(string)
	return r.Type == "AWS::IAM::Role" && strings.HasPrefix(path, "/aws-service-role/")
}

// differs names the first part in which two moments of a resource differ, or
// "". Moments in time are left out.
func differs(a, b *account.Resource) string {
	for _, p := range []struct {
		name string
		a, b any
	}{
		{"status", a.Status, b.Status},
		{"tags", a.Tags, b.Tags},
		{"properties", timeless(a.Props), timeless(b.Props)},
		{"attributes", timeless(a.Attrs), timeless(b.Attrs)},
		{"data", timeless(a.Data), timeless(b.Data)},
	} {
		if !reflect.DeepEqual(p.a, p.b) {
			return p.name
		}
	}
	return ""
}

// timeless copies a JSON-like value without the moments in it.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			if x = timeless(x); x != nil {
				m[k] = x
			}
		}
		return m
	case []any:
		l := make([]any, 0, len(v))
		for _, x := range v {
			l = append(l, timeless(x))
		}
		return l
	case time.Time:
		return nil
	}
	return v
}
