package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// dataKeyARN is the ARN of a KMS key of the deployment, "" if it is not there.
func dataKeyARN(l *account.Look, keys map[architecture.KeyPurpose]string, p architecture.KeyPurpose) string {
	if keys[p] == "" {
		return ""
	}
	return l.OwnARN("kms", "key/"+keys[p])
}

// within tells whether a resource is one of those, or below one of them.
func within(resource string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return root != "" && (resource == root || strings.HasPrefix(resource, root+"/"))
	})
}

// scoped judges that the policies of a service account's role name nothing but
// resources below roots.
func scoped(l *account.Look, r *check.Recorder, part string, roots []string) error {
	role, err := l.IAMRole(l.Arch.RoleName(part))
	if err != nil || role == nil {
		return err // see roles-there
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		resources := s.Resources
		if s.NotResources != nil || len(resources) == 0 {
			resources = []string{"*"}
		}
		for _, x := range resources {
			if x == "*" && s.NotActions == nil && !slices.ContainsFunc(s.Actions, func(a string) bool { return !unbound(a) }) {
				continue
			}
			if !within(x, roots) {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, strings.Join(append(s.Actions, s.NotActions...), ", "), x))
			}
		}
	})
	judged(r, role, faults, "nothing but the deployment's own", "resources of the deployment", "remove the policy and run poolhouse update")
	return nil
}

func coreAPIScoped(l *account.Look, r *check.Recorder) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	return scoped(l, r, architecture.RoleCoreAPI, []string{
		l.BucketARN(l.Arch.Bucket(architecture.BucketModels)), l.BucketARN(l.Arch.Bucket(architecture.BucketCodeDocs)), l.BucketARN(l.Arch.Bucket(architecture.BucketAudit)), l.BucketARN(l.Arch.Bucket(architecture.BucketTelemetry)),
		dataKeyARN(l, keys, architecture.KeyStorage), dataKeyARN(l, keys, architecture.KeyApplication),
		l.OwnARN("ssm", "parameter"+l.Arch.ParameterPath()),
	})
}

func inferenceScoped(l *account.Look, r *check.Recorder) error {
	if _, ok := l.Arch.Account(architecture.RoleInference); !ok {
		r.NA("the configuration has no GPU nodes, so no model servers")
		return nil
	}
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	if err := scoped(l, r, architecture.RoleInference, []string{l.BucketARN(l.Arch.Bucket(architecture.BucketModels)), dataKeyARN(l, keys, architecture.KeyStorage)}); err != nil {
		return err
	}
	role, err := l.IAMRole(l.Arch.RoleName(architecture.RoleInference))
	if err != nil || role == nil {
		return err
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		for _, a := range []string{"s3:PutObject", "s3:DeleteObject", "kms:Encrypt", "kms:GenerateDataKey"} {
			if s.Covers(a) {
				faults = append(faults, name+" allows "+a)
			}
		}
	})
	judged(r, role, faults, "nothing that writes", "reading only", "remove the policy and run poolhouse update")
	return nil
}

func auditRecordsKept(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	bucket := l.BucketARN(l.Arch.Bucket(architecture.BucketAudit))
	object := bucket + "/any"
	for _, role := range roles {
		var faults []string
		role.EachAllow(func(name string, s policy.Statement) {
			for _, a := range []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold"} {
				if s.Covers(a) && s.On(object) {
					faults = append(faults, name+" allows "+a)
				}
			}
			for _, a := range []string{"s3:DeleteBucket", "s3:PutLifecycleConfiguration", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"} {
				if s.Covers(a) && s.On(bucket) {
					faults = append(faults, name+" allows "+a)
				}
			}
		})
		judged(r, role, faults, "no deletion in "+account.ResourceOf(bucket), "no deletion in "+account.ResourceOf(bucket), "remove the policy and run poolhouse update")
	}
	return nil
}

func secretsOneReader(l *account.Look, r *check.Recorder) error {
	roles, err := deploymentRoles(l)
	if err != nil {
		return err
	}
	readers := []string{l.Arch.RoleName(architecture.RoleExternalSecrets), l.Arch.RoleName(architecture.RoleDatabaseSetup)}
	for _, role := range roles {
		var faults []string
		n, reader := 0, slices.Contains(readers, role.Name)
		role.EachAllow(func(name string, s policy.Statement) {
			if !s.Covers("secretsmanager:GetSecretValue") {
				return
			}
			for _, x := range s.Resources {
				if !strings.Contains(x, ":secretsmanager:") && !strings.Contains(x, "*") {
					continue // of another action
				}
				n++
				if !reader || strings.ContainsAny(x, "*?") {
					faults = append(faults, name+" allows to read "+x)
				}
			}
			if s.NotResources != nil {
				faults = append(faults, name+" allows to read all secrets but some")
			}
		})
		if reader {
			judged(r, role, faults, fmt.Sprintf("reads %d secrets by ARN", n), "secrets by ARN", "remove the policy and run poolhouse update")
			continue
		}
		judged(r, role, faults, "reads no secrets", "no secrets", "remove the policy and run poolhouse update; pods get secrets from external-secrets")
	}
	return nil
}

// reads tells whether an action changes nothing.
func reads(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	return slices.ContainsFunc([]string{"describe", "get", "list"}, func(p string) bool { return strings.HasPrefix(verb, p) })
}

func controllersScoped(_ *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	switch e.part {
	case architecture.RoleLoadBalancerController, architecture.RoleClusterAutoscaler, architecture.RoleEBSCSI, architecture.RoleVPCCNI:
	default:
		return nil
	}
	var faults []string
	role.EachAllow(func(name string, s policy.Statement) {
		if bindsTo(s) || !slices.ContainsFunc(s.Resources, func(x string) bool { return strings.Contains(x, "*") }) {
			return
		}
		for _, a := range s.Actions {
			// The one change of rules that AWS binds to no tag.
			if !reads(a) && a != "elasticloadbalancing:setrulepriorities" {
				faults = append(faults, fmt.Sprintf("%s allows %s on %s", name, a, strings.Join(s.Resources, ", ")))
			}
		}
	})
	judged(r, role, faults, "changes bound by tags", "a condition on a tag of the deployment or cluster", "remove the policy and run poolhouse update")
	return nil
}
