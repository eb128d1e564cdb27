package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/manifests"
	"github.com/poolhouse/poolhouse/config"
)

// prerequisite is a chart that others stand on, under the name that it is published by.
type prerequisite struct {
	chart, namespace string
	// role is that of its service account.
	role string
	// groups are the API groups of the kinds that it brings.
	groups []string
	// values are what a deployment says of itself; account is that of the role, as
	// charts take it.
	values func(a *architecture.Architecture, o manifests.Outputs, account map[string]any) map[string]any
}

// prerequisites are in the order in which they are installed. Metrics are an add-on of
// EKS.
func prerequisites() []prerequisite {
	return []prerequisite{
		{
			// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/installation/
			chart: "aws-load-balancer-controller", namespace: system, role: architecture.RoleLoadBalancerController,
			groups: []string{"elbv2.k8s.aws"},
			values: func(a *architecture.Architecture, o manifests.Outputs, account map[string]any) map[string]any {
				return map[string]any{
					"clusterName": a.ClusterName(), "region": a.Config.Region, "vpcId": o[architecture.Network]["VpcId"],
					"serviceAccount": account, "replicaCount": replicas,
					// The load balancers are the deployment's own: what is left are bindings.
					"enableServiceMutatorWebhook": false, "createIngressClassResource": false,
					// Its role may do nothing with these.
					"enableShield": false, "enableWaf": false, "enableWafv2": false,
				}
			},
		},
		{
			// https://github.com/kubernetes/autoscaler/tree/master/charts/cluster-autoscaler
			chart: autoscaler, namespace: system, role: architecture.RoleClusterAutoscaler,
			values: func(a *architecture.Architecture, _ manifests.Outputs, account map[string]any) map[string]any {
				return map[string]any{
					"cloudProvider": "aws", "awsRegion": a.Config.Region,
					"autoDiscovery": map[string]any{"clusterName": a.ClusterName()},
					"rbac":          map[string]any{"serviceAccount": account}, "replicaCount": replicas,
					// The nodes of a kind are a group in each zone, and differ in this label.
					// The chart drops what follows an underscore.
					// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
					"extraArgs": map[string]any{"balance-similar-node-groups": true, "balancing-ignore-label_1": architecture.PodNetworkLabel},
				}
			},
		},
		{
			// https://external-secrets.io/latest/introduction/getting-started/
			chart: "external-secrets", namespace: manifests.External, role: architecture.RoleExternalSecrets,
			groups: []string{"external-secrets.io", "generators.external-secrets.io"},
			values: func(_ *architecture.Architecture, _ manifests.Outputs, account map[string]any) map[string]any {
				return map[string]any{"installCRDs": true, "serviceAccount": account}
			},
		},
		{
			// The images of GPU nodes have the driver and no plugin.
			// https://docs.aws.amazon.com/eks/latest/userguide/ml-eks-k8s-device-plugin.html
			chart: "nvidia-device-plugin", namespace: system,
			values: func(a *architecture.Architecture, _ manifests.Outputs, _ map[string]any) map[string]any {
				taint := architecture.GPUTaint()
				selector := map[string]any{}
				for k, v := range architecture.LabelsFor(config.GPU) {
					selector[k] = v
				}
				return map[string]any{
					"nodeSelector": selector,
					"tolerations":  []any{map[string]any{"key": taint.Key, "operator": "Exists", "effect": taint.Effect}},
					// The chart's own asks for labels that nobody puts on these nodes.
					"affinity": nil,
				}
			},
		},
	}
}

// replicas of a controller that one leads and another one takes over.
const replicas = 2

// system is the namespace of the cluster's own parts.
const system = foundationNamespace

// Rank orders charts: prerequisites by their own order, and then all others, which have
// the same rank.
func Rank(chart string) int {
	list := prerequisites()
	if i := slices.IndexFunc(list, func(p prerequisite) bool { return p.chart == chart }); i >= 0 {
		return i
	}
	return len(list)
}

// ValuesOf are the values of a chart: what a deployment says of itself to a prerequisite,
// and those that are given, which have their way. The error is a
// [manifests.MissingError] where the deployment lacks an output.
func ValuesOf(a *architecture.Architecture, o manifests.Outputs, chart string, given map[string]any) (map[string]any, error) {
	i := Rank(chart)
	list := prerequisites()
	if i == len(list) {
		return given, nil
	}
	p := list[i]
	var missing manifests.MissingError
	account := map[string]any{}
	if s, ok := a.Account(p.role); ok {
		output := manifests.RoleOutput(p.role)
		arn := o[architecture.Identity][output]
		if arn == "" {
			missing = append(missing, string(architecture.Identity)+"."+output)
		}
		account = map[string]any{"create": true, "name": s.Name, "annotations": map[string]any{"eks.amazonaws.com/role-arn": arn}}
	}
	if o[architecture.Network]["VpcId"] == "" {
		missing = append(missing, string(architecture.Network)+".VpcId")
	}
	if len(missing) > 0 {
		return nil, missing
	}
	return Over(p.values(a, o, account), given), nil
}

// Refused are the problems of releases that can't be in a deployment: what EKS runs
// already, what has nothing to do there and so no role, and objects of kinds that nothing
// in the cluster and no chart before them defines.
func Refused(a *architecture.Architecture, list []Rendered) (problems []ReleaseProblem) {
	for _, r := range list {
		if _, ok := a.Account(architecture.RoleClusterAutoscaler); r.Name == autoscaler && !ok {
			problems = append(problems, ReleaseProblem{"release " + r.Name, "has no node group to scale: min is max in all of them", "leave the chart out of the bundle, or raise max in the file and run poolhouse update"})
		}
		if r.Name == metricsAddon {
			problems = append(problems, ReleaseProblem{"release " + r.Name, "is in the cluster already, as an add-on of EKS that the deployment has", "leave the chart out of the bundle"})
		}
		said := map[string]bool{}
		for _, k := range r.Lacks {
			kind := fmt.Sprintf("%s (%s)", k.Kind, k.APIVersion)
			if said[kind] {
				continue
			}
			said[kind] = true
			next := "install what defines the kind before, or ask who made the chart"
			group, _, _ := strings.Cut(k.APIVersion, "/")
			for _, p := range prerequisites() {
				if slices.Contains(p.groups, group) {
					next = fmt.Sprintf("add the chart %s, which defines it, to the bundle: poolhouse bundle build --chart %[1]s-VERSION.tgz", p.chart)
					// In a namespace that poolhouse-foundation makes it would be in its way.
					if p.namespace != manifests.External {
						next += "; or install it in the cluster before"
					}
				}
			}
			problems = append(problems, ReleaseProblem{k.Place, "is of the kind " + kind + ", which neither the cluster has nor a chart of the bundle defines", next})
		}
	}
	return problems
}

// autoscaler is the chart of the cluster autoscaler.
const autoscaler = "cluster-autoscaler"

// metricsAddon is the add-on that serves the metrics of pods and nodes.
const metricsAddon = "metrics-server"
