package templates

import (
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/eks"
)

// addons are the EKS add-ons that need nodes to become healthy.
func addons(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Addons)
	cluster := t.Input(string(architecture.Cluster), "Name")
	t.Add("CoreDns", addon(a, cluster, "coredns"))

	csi := addon(a, cluster, "aws-ebs-csi-driver")
	csi.ServiceAccountRoleArn = t.Input(string(architecture.Identity), "EbsCsiRoleArn")
	csi.ConfigurationValues = cfn.SubJSON(map[string]any{
		"controller": map[string]any{"extraVolumeTags": volumeTags(a)},
	})
	t.Add("EbsCsiDriver", csi)

	t.Add("MetricsServer", addon(a, cluster, "metrics-server"))
	t.Add("SnapshotController", addon(a, cluster, "snapshot-controller"))
	return t
}

// addon is an EKS add-on, in the version of the configuration if it names one.
// What someone changed in the cluster is set back.
func addon(a *architecture.Architecture, cluster cfn.Value[string], name string) eks.Addon {
	out := eks.Addon{
		AddonName:        cfn.V(name),
		ClusterName:      cluster,
		ResolveConflicts: cfn.V("OVERWRITE"),
	}
	if v := a.Config.Cluster.AddonVersions[name]; v != "" {
		out.AddonVersion = cfn.V(v)
	}
	return out
}

// volumeTags are the deployment's tags for volumes and snapshots of claims. The
// driver takes key=value pairs, so a key with an equals sign can't be among
// them.
func volumeTags(a *architecture.Architecture) map[string]string {
	out := map[string]string{}
	for key, value := range a.Tags {
		if !strings.Contains(key, "=") {
			out[key] = value
		}
	}
	return out
}
