// Package manifests is what a deployment's cluster holds besides charts: namespaces
// with their rules, service accounts with their roles, the storage class; and which
// nodes the pods of charts go to. Values in, values out; the same facts give the same
// bytes.
//
// Limits: what needs kinds of others, such as external secrets and target group
// bindings, is not here.
package manifests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// Object is a Kubernetes object.
type Object map[string]any

// The namespaces of the platform, as the vendor names them, and that of DNS.
// https://docs.poolside.ai/deployment/cloud/aws-eks/deployment-security/kubernetes
const (
	Core     = "poolside"
	Models   = "poolside-models"
	External = "external-secrets"

	system = "kube-system"
)

// StorageClass is the name of the class of encrypted volumes, which is the default.
const StorageClass = "gp3"

// Outputs are those of the deployment's stacks.
type Outputs map[architecture.StackName]map[string]string

// MissingError says which outputs there are not: their stacks are not complete.
type MissingError []string

func (e MissingError) Error() string {
	return "the deployment has no " + strings.Join(e, ", ") + " yet"
}

// maker takes down the outputs that are not there.
type maker struct {
	a       *architecture.Architecture
	outputs Outputs
	missing MissingError
}

func (m *maker) output(stack architecture.StackName, name string) string {
	v := m.outputs[stack][name]
	if v == "" {
		m.missing = append(m.missing, string(stack)+"."+name)
	}
	return v
}

// Foundation are the objects that charts stand on, in the order in which they are
// made. An error is a [MissingError].
func Foundation(a *architecture.Architecture, outputs Outputs) ([]Object, error) {
	m := &maker{a: a, outputs: outputs}
	list := []Object{m.storageClass()}
	for _, n := range Namespaces(a) {
		list = append(list, namespace(n), quota(n), limits(n))
		list = append(list, m.accounts(n)...)
		list = append(list, m.policies(n)...)
	}
	if slices.Contains(Namespaces(a), Models) {
		list = append(list, modelsRole()...)
	}
	if len(m.missing) > 0 {
		return nil, m.missing
	}
	return list, nil
}

// Namespaces are those of the platform: core's, that of external secrets, and that of
// models if the deployment has a role for model servers.
func Namespaces(a *architecture.Architecture) []string {
	list := []string{Core, External}
	if _, ok := a.Account(architecture.RoleInference); ok {
		list = append(list, Models)
	}
	return list
}

func object(apiVersion, kind, namespace, name string, more Object) Object {
	meta := Object{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	o := Object{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	for k, v := range more {
		o[k] = v
	}
	return o
}

// namespace refuses pods that break the restricted standard.
// https://kubernetes.io/docs/concepts/security/pod-security-admission/
func namespace(name string) Object {
	o := object("v1", "Namespace", "", name, nil)
	labels := Object{}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	o["metadata"].(Object)["labels"] = labels
	return o
}

// quota refuses services that would have controllers make load balancers and open
// ports of nodes: the load balancers are the deployment's own.
func quota(namespace string) Object {
	return object("v1", "ResourceQuota", namespace, "no-load-balancers", Object{
		"spec": Object{"hard": Object{"services.loadbalancers": "0", "services.nodeports": "0"}},
	})
}

// limits have containers that ask for nothing ask for what the scheduler assumes of
// them when it weighs nodes, so that nodes are not filled without end.
// https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/scheduler/util/pod_resources.go
func limits(namespace string) Object {
	return object("v1", "LimitRange", namespace, "requests", Object{
		"spec": Object{"limits": []any{Object{"type": "Container", "defaultRequest": Object{"cpu": "100m", "memory": "200M"}}}},
	})
}

// accounts are a namespace's service accounts with their roles. That of external secrets
// is its chart's.
// https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
func (m *maker) accounts(namespace string) (list []Object) {
	for _, s := range m.a.ServiceAccounts {
		if s.Namespace != namespace || namespace == External {
			continue
		}
		o := object("v1", "ServiceAccount", namespace, s.Name, nil)
		o["metadata"].(Object)["annotations"] = Object{"eks.amazonaws.com/role-arn": m.output(architecture.Identity, RoleOutput(s.Role))}
		list = append(list, o)
	}
	return list
}

// RoleOutput is the output of the stack identity that has a role's ARN.
func RoleOutput(role string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(role, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String() + "RoleArn"
}

// storageClass makes encrypted volumes in the zone of the pod that wants one.
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/parameters.md
func (m *maker) storageClass() Object {
	o := object("storage.k8s.io/v1", "StorageClass", "", StorageClass, Object{
		"provisioner": "ebs.csi.aws.com",
		"parameters": Object{
			"type": "gp3", "encrypted": "true", "csi.storage.k8s.io/fstype": "ext4",
			"kmsKeyId": m.output(architecture.Keys, "VolumesKeyArn"),
		},
		"reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
	})
	o["metadata"].(Object)["annotations"] = Object{"storageclass.kubernetes.io/is-default-class": "true"}
	return o
}

// modelsRole lets core-api manage the workloads of models, there and nowhere else.
// https://docs.poolside.ai/deployment/cloud/aws-eks/deployment-security/kubernetes
func modelsRole() []Object {
	verbs := []any{"create", "delete", "get", "list", "patch", "update", "watch"}
	rule := func(group string, verbs []any, resources ...any) Object {
		return Object{"apiGroups": []any{group}, "resources": resources, "verbs": verbs}
	}
	const name = "core-api"
	return []Object{
		object("rbac.authorization.k8s.io/v1", "Role", Models, name, Object{"rules": []any{
			rule("", verbs, "configmaps", "pods", "secrets", "serviceaccounts", "services"),
			rule("", []any{"get", "list", "watch"}, "pods/log"),
			rule("apps", verbs, "deployments"),
			rule("batch", verbs, "jobs"),
			rule("policy", verbs, "poddisruptionbudgets"),
		}}),
		object("rbac.authorization.k8s.io/v1", "RoleBinding", Models, name, Object{
			"roleRef":  Object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
			"subjects": []any{Object{"kind": "ServiceAccount", "namespace": Core, "name": "core-api-sa"}},
		}),
	}
}

// JSON is an object as bytes, the same for the same object.
func (o Object) JSON() ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write %v: %w", o["kind"], err)
	}
	return text, nil
}

// Place is the nodes that pods go to: those that ask for a resource, those of
// workloads with a name that one of the patterns matches, or without both all others.
type Place struct {
	Role      config.Role
	Resource  string
	Workloads []string
	// Selector are the nodes' labels, and Taint what their pods tolerate, with any
	// value if it has none; nil if there is nothing to tolerate.
	Selector map[string]string
	Taint    *config.Taint
}

// Marker begins the labels by which nodes are told apart.
const Marker = "node-role.poolhouse/"

// Places are where the pods of charts go, the first that fits: what asks for a GPU to
// GPU nodes, the web assistant and interfaces to theirs, all else to core nodes. How
// the vendor names its workloads is not public, so names that hold the role's are
// taken for one of it; a chart that selects nodes itself has its way.
func Places(a *architecture.Architecture) (list []Place) {
	gpu, dedicated := architecture.GPUTaint(), &config.Taint{Key: architecture.DedicatedTaint, Effect: "NoSchedule"}
	all := []Place{{Role: config.GPU, Resource: gpu.Key, Taint: &gpu}}
	for _, r := range []config.Role{config.WebAssistant, config.Interface} {
		all = append(all, Place{Role: r, Workloads: []string{string(r), string(r) + "-*", "*-" + string(r), "*-" + string(r) + "-*"}, Taint: dedicated})
	}
	for _, p := range append(all, Place{Role: config.Core}) {
		if a.Serves(p.Role) {
			p.Selector = architecture.LabelsFor(p.Role)
			list = append(list, p)
		}
	}
	return list
}
