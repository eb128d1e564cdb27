package eks

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The statuses of insights.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_InsightStatus.html
const (
	insightPassing = "PASSING"
	insightError   = "ERROR"
	insightUnknown = "UNKNOWN"
)

// upgradeReadiness is the category of the insights that are modelled.
const upgradeReadiness = "UPGRADE_READINESS"

// kubeletSkew is by how many minor versions kubelets and kube-proxy may be older
// than the API server.
// https://kubernetes.io/releases/version-skew-policy/
const kubeletSkew = 3

// insight is one of EKS's findings about a cluster, as of now.
type insight struct {
	id, name, description, status, reason, recommendation string
	resources                                             []any
}

// insights are what EKS finds about an upgrade of a cluster to the version after
// its own; none, and "", if there is no later version.
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-insights.html
func insights(tx *account.Tx, c *account.Resource) (all []insight, version string) {
	if version = following(props.Str(c.Data, "version")); version == "" {
		return nil, ""
	}
	skewed := func(arn any) any {
		return map[string]any{"arn": arn, "insightStatus": map[string]any{"status": insightError}}
	}
	kubelet := insight{
		name: "Kubelet version skew", description: "Checks for kubelet versions of worker nodes in the cluster to see if upgrade would cause noncompliance with supported Kubernetes kubelet version skew policy.",
		status: insightPassing, reason: "Node kubelet versions match the cluster control plane version.",
		recommendation: "You should upgrade your worker nodes to match the Kubernetes version of your cluster control plane.",
	}
	for _, n := range nodegroups(tx, c.ID) {
		if minor(version)-minor(props.Str(n.Data, "version")) > kubeletSkew {
			kubelet.status, kubelet.reason = insightError, "Node kubelet versions would be too far behind the control plane after an upgrade."
			kubelet.resources = append(kubelet.resources, skewed(n.Attrs["Arn"]))
		}
	}
	proxy := insight{
		name: "kube-proxy version skew", description: "Checks version of kube-proxy in cluster to see if upgrade would cause noncompliance with supported Kubernetes kube-proxy version skew policy.",
		status: insightPassing, reason: "kube-proxy versions match the cluster control plane version.",
		recommendation: "Upgrade kube-proxy to a version that the control plane will support.",
	}
	if a := tx.Get(TypeAddon, addonID(c.ID, "kube-proxy")); a != nil {
		if own := strings.TrimPrefix(props.Str(a.Data, "version"), "v"); minor(version)-minor(majorMinor(own)) > kubeletSkew {
			proxy.status, proxy.reason = insightError, "kube-proxy would be too far behind the control plane after an upgrade."
			proxy.resources = []any{skewed(a.Attrs["Arn"])}
		}
	}
	health := insight{
		name: "Cluster health issues", description: "Checks for any cluster health issues that prevent successful upgrade of cluster.",
		status: insightPassing, reason: "No cluster health issues detected.",
		recommendation: "Resolve the cluster's health issues before the upgrade.",
	}
	if issues := clusterIssues(tx, c); len(issues) > 0 {
		health.status, health.reason = insightError, props.Str(issues[0], "message")
	}
	removed := insight{
		name: "Deprecated APIs removed in Kubernetes v" + version, description: "Checks for usage of deprecated APIs that are scheduled for removal in Kubernetes v" + version + ".",
		status: insightUnknown, reason: "Usage of deprecated APIs is not modelled by the sandbox.",
		recommendation: "Update manifests and API clients to newer Kubernetes APIs if applicable before upgrading to Kubernetes v" + version + ".",
	}
	all = []insight{removed, kubelet, proxy, health}
	for i := range all {
		sum := sha256.Sum256([]byte(props.Str(c.Attrs, "Arn") + version + all[i].name))
		hex := hex.EncodeToString(sum[:16])
		all[i].id = strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
	}
	return all, version
}

// majorMinor is the 1.35 of 1.35.3-eksbuild.2.
func majorMinor(version string) string {
	major, rest, _ := strings.Cut(version, ".")
	m, _, _ := strings.Cut(rest, ".")
	return major + "." + m
}

// out is the insight as the API lists it.
func (i insight) out(now time.Time, version string) map[string]any {
	return map[string]any{
		"id": i.id, "name": i.name, "category": upgradeReadiness, "kubernetesVersion": version, "description": i.description,
		"lastRefreshTime": now, "lastTransitionTime": now, "insightStatus": map[string]any{"status": i.status, "reason": i.reason},
	}
}

func listInsights(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	filter := props.Map(r.In, "filter")
	wanted := func(key, value string) bool {
		list := props.Strs(filter, key)
		return len(list) == 0 || slices.Contains(list, value)
	}
	list := []any{}
	all, version := insights(tx, c)
	for _, i := range all {
		if wanted("categories", upgradeReadiness) && wanted("kubernetesVersions", version) && wanted("statuses", i.status) {
			list = append(list, i.out(tx.Now(), version))
		}
	}
	return page(r, "insights", list)
}

func describeInsight(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := cluster(tx, r.String("name"))
	if err != nil {
		return nil, err
	}
	all, version := insights(tx, c)
	for _, i := range all {
		if i.id == r.String("id") {
			out := i.out(tx.Now(), version)
			out["recommendation"], out["resources"], out["additionalInfo"] = i.recommendation, append([]any{}, i.resources...), map[string]any{}
			out["categorySpecificSummary"] = map[string]any{"deprecationDetails": []any{}, "addonCompatibilityDetails": []any{}}
			return map[string]any{"insight": out}, nil
		}
	}
	return nil, notFound("No insight found for ID: %s", r.String("id"))
}
