package eks

import (
	"path"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// User is who a principal of IAM is in a cluster.
type User struct {
	Name, UID string
	Groups    []string
	// Entry is the ARN of the access entry's principal, by which [Allowed] finds
	// what it grants.
	Entry, Session string
}

// Authenticate tells who a principal, with its ARN and id as STS says them, is in
// a cluster: false if the cluster knows it not. Of clusters that take aws-auth,
// the creator alone is known by it.
//
// https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
func Authenticate(tx *account.Tx, cluster, arn, id string) (User, bool) {
	c := tx.Get(TypeCluster, cluster)
	if c == nil {
		return User{}, false
	}
	role := roleOf(arn)
	uid := "aws-iam-authenticator:" + tx.AccountID() + ":" + strings.SplitN(id, ":", 2)[0]
	session := ""
	if role != arn {
		session = arn[strings.LastIndex(arn, "/")+1:]
	}
	if modeOf(c.Props) == "CONFIG_MAP" {
		if props.Str(c.Data, "creator") != role {
			return User{}, false
		}
		return User{Name: "kubernetes-admin", UID: uid, Groups: []string{"system:masters"}, Entry: role, Session: session}, true
	}
	e := entryOf(tx, c.ID, role)
	if e == nil {
		return User{}, false
	}
	u := User{UID: uid, Groups: props.Strs(e.Props, "KubernetesGroups"), Entry: props.Str(e.Props, "PrincipalArn"), Session: session}
	switch kind := entryType(e.Props); {
	case kind == "EC2_LINUX":
		name := instanceName(tx, session)
		if name == "" {
			return User{}, false
		}
		u.Name, u.Groups = "system:node:"+name, []string{"system:nodes", "system:bootstrappers"}
	case kind != "STANDARD":
		return User{}, false
	default:
		u.Name = strings.NewReplacer("{{SessionName}}", strings.ReplaceAll(session, "@", "-"), "{{SessionNameRaw}}", session, "{{AccountID}}", tx.AccountID()).Replace(username(e))
	}
	return u, true
}

// username is what an entry says of its principal's name in the cluster; what stands
// in braces is of who asks.
//
// https://docs.aws.amazon.com/eks/latest/userguide/set-custom-username.html
func username(e *account.Resource) string {
	principal, user := props.Str(e.Props, "PrincipalArn"), props.Str(e.Props, "Username")
	switch {
	case user != "":
		return user
	case entryType(e.Props) != "STANDARD":
		return "system:node:{{EC2PrivateDNSName}}"
	case strings.Contains(principal, ":role/"):
		parts := strings.Split(principal, ":")
		return "arn:" + parts[1] + ":sts::" + parts[4] + ":assumed-role/" + principal[strings.LastIndex(principal, "/")+1:] + "/{{SessionName}}"
	}
	return principal
}

// entryOf is the access entry of a role, which may have a path there, or a user.
func entryOf(tx *account.Tx, cluster, arn string) *account.Resource {
	if e := tx.Get(TypeAccessEntry, entryID(arn, cluster)); e != nil {
		return e
	}
	if r := iam.RoleByARN(tx, arn); r != nil {
		return tx.Get(TypeAccessEntry, entryID(props.Str(r.Attrs, "Arn"), cluster))
	}
	return nil
}

// Ask is what a user asks of a cluster's API: something with a resource, "pods"
// or "pods/log", or with a path.
type Ask struct {
	Verb, Group, Resource, Namespace, Path string
}

// Allowed tells whether an access policy of an entry allows what is asked, or
// why that isn't known.
//
// https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html
func Allowed(tx *account.Tx, cluster, entry string, ask Ask) (allowed bool, reason string) {
	c, e := tx.Get(TypeCluster, cluster), tx.Get(TypeAccessEntry, entryID(entry, cluster))
	if c == nil || e == nil || modeOf(c.Props) == "CONFIG_MAP" {
		return false, ""
	}
	for _, a := range props.Maps(e.Props, "AccessPolicies") {
		arn := props.Str(a, "PolicyArn")
		name := arn[strings.LastIndex(arn, "/")+1:]
		if props.Str(a, "AccessScope", "Type") == "namespace" && !slices.ContainsFunc(props.Strs(a, "AccessScope", "Namespaces"), func(pattern string) bool {
			ok, err := path.Match(pattern, ask.Namespace)
			return err == nil && ok && ask.Namespace != ""
		}) {
			continue
		}
		rules, known := granted(name)
		if !known {
			reason = "the access policy " + name + " is not modelled by the sandbox: it allows nothing"
			continue
		}
		for _, r := range rules {
			if r.allows(ask) {
				return true, "by the access policy " + name
			}
		}
	}
	return false, reason
}

// rule allows verbs on resources of groups; "*" stands for all.
type rule struct{ groups, resources, verbs string }

func (r rule) allows(ask Ask) bool {
	if ask.Path != "" {
		return r == rule{"*", "*", "*"}
	}
	return has(r.groups, ask.Group) && has(r.resources, ask.Resource) && has(r.verbs, ask.Verb)
}

func has(list, item string) bool {
	return list == "*" || slices.Contains(strings.Split(list, " "), item)
}

// What access policies grant.
// https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
const (
	reads  = "get list watch"
	writes = "create delete deletecollection patch update"
)

// granted are the rules of an access policy; false if they aren't known here.
func granted(policy string) ([]rule, bool) {
	view := []rule{
		{"apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status", reads},
		{"autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", reads},
		{"batch", "cronjobs cronjobs/status jobs jobs/status", reads},
		{"discovery.k8s.io", "endpointslices", reads},
		{"extensions", "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale", reads},
		{"networking.k8s.io", "ingresses ingresses/status networkpolicies", reads},
		{"policy", "poddisruptionbudgets poddisruptionbudgets/status", reads},
		{"", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status", reads},
		{"", "bindings events limitranges namespaces namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status", reads},
	}
	edit := append(slices.Clone(view),
		rule{"apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale", writes},
		rule{"autoscaling", "horizontalpodautoscalers", writes},
		rule{"batch", "cronjobs jobs", writes},
		rule{"extensions", "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale", writes},
		rule{"networking.k8s.io", "ingresses networkpolicies", writes},
		rule{"policy", "poddisruptionbudgets", writes},
		rule{"", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", reads},
		rule{"", "serviceaccounts", "impersonate"},
		rule{"", "pods pods/attach pods/exec pods/portforward pods/proxy", writes},
		rule{"", "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy", writes},
	)
	switch policy {
	case "AmazonEKSViewPolicy":
		return view, true
	case "AmazonEKSEditPolicy":
		return edit, true
	case "AmazonEKSAdminPolicy":
		return append(edit,
			rule{"authorization.k8s.io", "localsubjectaccessreviews", "create"},
			rule{"rbac.authorization.k8s.io", "rolebindings roles", reads + " " + writes},
		), true
	case "AmazonEKSAdminViewPolicy":
		return []rule{{"*", "*", reads}}, true
	case "AmazonEKSSecretReaderPolicy":
		return []rule{{"", "secrets", reads}}, true
	case "AmazonEKSClusterAdminPolicy":
		return []rule{{"*", "*", "*"}}, true
	}
	return nil, false
}
