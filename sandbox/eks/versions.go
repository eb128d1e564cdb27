package eks

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// kubernetes is one Kubernetes version on EKS.
type kubernetes struct {
	version, patch               string
	released, standard, extended string // days; standard and extended support end
}

// versions are those that can be created, in order. The day on which 1.36 came
// is near the true one; its support is reckoned from it.
// https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html
var versions = []kubernetes{
	{"1.31", "1.31.14", "2024-09-26", "2025-11-26", "2026-11-26"},
	{"1.32", "1.32.11", "2025-01-23", "2026-03-23", "2027-03-23"},
	{"1.33", "1.33.8", "2025-05-29", "2026-07-29", "2027-07-29"},
	{"1.34", "1.34.5", "2025-10-02", "2026-12-02", "2027-12-02"},
	{"1.35", "1.35.3", "2026-01-27", "2027-03-27", "2028-03-27"},
	{"1.36", "1.36.1", "2026-06-02", "2027-08-02", "2028-08-02"},
}

// defaultVersion is what a cluster gets that names none.
const defaultVersion = "1.35"

func known(version string) (kubernetes, bool) {
	for _, v := range versions {
		if v.version == version {
			return v, true
		}
	}
	return kubernetes{}, false
}

// minor is the 35 of 1.35.
func minor(version string) int {
	_, m, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(m)
	if err != nil {
		return 0
	}
	return n
}

// support is the version's support at a time, in the API's words.
func (k kubernetes) support(now time.Time) string {
	switch day := now.UTC().Format(time.DateOnly); {
	case day < k.standard:
		return "STANDARD_SUPPORT"
	case day < k.extended:
		return "EXTENDED_SUPPORT"
	}
	return "UNSUPPORTED"
}

// addon is one EKS add-on: its versions by Kubernetes version, the default
// first.
type addon struct {
	name, kind, namespace string
	nodes                 bool // needs a node to become ready
	iam                   bool // works only with permissions on AWS
	versions              map[string][]string
}

// every gives the same versions for all Kubernetes versions.
func every(list ...string) map[string][]string {
	m := map[string][]string{}
	for _, v := range versions {
		m[v.version] = list
	}
	return m
}

// addons are the add-ons of AWS's own that a deployment is likely to use.
// https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html
var addons = []addon{
	{"vpc-cni", "networking", "kube-system", false, true, every("v1.21.1-eksbuild.7", "v1.22.4-eksbuild.3", "v1.22.3-eksbuild.1", "v1.21.1-eksbuild.3", "v1.20.4-eksbuild.1")},
	{"kube-proxy", "networking", "kube-system", false, false, map[string][]string{
		"1.31": {"v1.31.14-eksbuild.9", "v1.31.10-eksbuild.2"},
		"1.32": {"v1.32.11-eksbuild.9", "v1.32.6-eksbuild.13"},
		"1.33": {"v1.33.8-eksbuild.4", "v1.33.3-eksbuild.4"},
		"1.34": {"v1.34.5-eksbuild.4", "v1.34.1-eksbuild.2", "v1.34.0-eksbuild.2"},
		"1.35": {"v1.35.3-eksbuild.2", "v1.35.0-eksbuild.2"},
		"1.36": {"v1.36.0-eksbuild.21", "v1.36.0-eksbuild.14", "v1.36.0-eksbuild.9"},
	}},
	{"coredns", "networking", "kube-system", true, false, map[string][]string{
		"1.31": {"v1.11.4-eksbuild.24", "v1.11.3-eksbuild.1"},
		"1.32": {"v1.11.4-eksbuild.24", "v1.11.4-eksbuild.2"},
		"1.33": {"v1.12.4-eksbuild.6", "v1.12.1-eksbuild.2"},
		"1.34": {"v1.13.2-eksbuild.3", "v1.12.4-eksbuild.6", "v1.12.3-eksbuild.1"},
		"1.35": {"v1.13.2-eksbuild.3", "v1.14.3-eksbuild.3", "v1.13.1-eksbuild.1"},
		"1.36": {"v1.14.3-eksbuild.16", "v1.14.3-eksbuild.3"},
	}},
	{"eks-pod-identity-agent", "security", "kube-system", false, false, every("v1.3.10-eksbuild.3", "v1.3.10-eksbuild.2", "v1.3.4-eksbuild.1")},
	{"aws-ebs-csi-driver", "storage", "kube-system", true, true, every("v1.57.1-eksbuild.1", "v1.63.1-eksbuild.1", "v1.53.0-eksbuild.1", "v1.48.0-eksbuild.2")},
	{"aws-efs-csi-driver", "storage", "kube-system", true, true, every("v2.3.0-eksbuild.1", "v2.1.13-eksbuild.1")},
	{"aws-mountpoint-s3-csi-driver", "storage", "kube-system", true, true, every("v2.4.0-eksbuild.1", "v2.1.0-eksbuild.1")},
	{"snapshot-controller", "storage", "kube-system", true, false, every("v8.4.0-eksbuild.3", "v8.3.0-eksbuild.1")},
	{"metrics-server", "observability", "kube-system", true, false, every("v0.8.1-eksbuild.1", "v0.8.0-eksbuild.2", "v0.8.0-eksbuild.6")},
	{"kube-state-metrics", "observability", "kube-state-metrics", true, false, every("v2.18.0-eksbuild.1", "v2.17.0-eksbuild.1")},
	{"prometheus-node-exporter", "observability", "prometheus-node-exporter", true, false, every("v1.10.2-eksbuild.8", "v1.10.2-eksbuild.2")},
	{"eks-node-monitoring-agent", "observability", "kube-system", false, false, every("v1.6.1-eksbuild.1", "v1.4.0-eksbuild.2")},
	{"amazon-cloudwatch-observability", "observability", "amazon-cloudwatch", true, true, every("v5.2.0-eksbuild.1", "v4.7.0-eksbuild.1")},
	{"aws-secrets-store-csi-driver-provider", "security", "aws-secrets-manager", true, true, every("v2.2.1-eksbuild.1", "v2.1.1-eksbuild.1")},
}

func knownAddon(name string) (addon, bool) {
	i := slices.IndexFunc(addons, func(a addon) bool { return a.name == name })
	if i < 0 {
		return addon{}, false
	}
	return addons[i], true
}

// day reads a day of the tables above.
func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
