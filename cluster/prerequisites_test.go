package cluster_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/manifests"
	"github.com/poolhouse/poolhouse/config"
)

func example(t *testing.T, name string) *architecture.Architecture {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What others stand on comes first, in its own namespace, and knows the deployment; what
// is given has its way.
func TestPrerequisites(t *testing.T) {
	t.Parallel()
	a := example(t, "gpu-inference.yaml")
	charts := []string{"acme", "cert-inference", "external-secrets", "nvidia-device-plugin", "cluster-autoscaler", "aws-load-balancer-controller"}
	slices.SortStableFunc(charts, func(a, b string) int { return cluster.Rank(a) - cluster.Rank(b) })
	if d := cmp.Diff([]string{"aws-load-balancer-controller", "cluster-autoscaler", "external-secrets", "nvidia-device-plugin", "acme", "cert-inference"}, charts); d != "" {
		t.Error(d)
	}
	outputs := manifests.Outputs{
		architecture.Network:  {"VpcId": "vpc-1"},
		architecture.Identity: {"LoadBalancerControllerRoleArn": "arn:balancers", "ExternalSecretsRoleArn": "arn:secrets", "ClusterAutoscalerRoleArn": "arn:scaler"},
	}
	for chart, want := range map[string]struct {
		namespace string
		values    map[string]any
	}{
		"acme": {"poolside", map[string]any{"replicaCount": 3, "serviceAccount": map[string]any{"annotations": map[string]any{"team": "a"}}}},
		"aws-load-balancer-controller": {"kube-system", map[string]any{
			"clusterName": a.ClusterName(), "region": "us-east-1", "vpcId": "vpc-1", "replicaCount": 3,
			"enableServiceMutatorWebhook": false, "createIngressClassResource": false, "enableShield": false, "enableWaf": false, "enableWafv2": false,
			"serviceAccount": map[string]any{"create": true, "name": "aws-load-balancer-controller", "annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:balancers", "team": "a"}},
		}},
		"cluster-autoscaler": {"kube-system", map[string]any{
			"cloudProvider": "aws", "awsRegion": "us-east-1", "autoDiscovery": map[string]any{"clusterName": a.ClusterName()}, "replicaCount": 3,
			"rbac":           map[string]any{"serviceAccount": map[string]any{"create": true, "name": "cluster-autoscaler", "annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:scaler"}}},
			"extraArgs":      map[string]any{"balance-similar-node-groups": true, "balancing-ignore-label_1": "node-role.poolhouse/pod-network"},
			"serviceAccount": map[string]any{"annotations": map[string]any{"team": "a"}},
		}},
		"external-secrets": {"external-secrets", map[string]any{
			"installCRDs": true, "replicaCount": 3,
			"serviceAccount": map[string]any{"create": true, "name": "external-secrets", "annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:secrets", "team": "a"}},
		}},
		"nvidia-device-plugin": {"kube-system", map[string]any{
			"nodeSelector": map[string]any{"node-role.poolhouse/gpu": "true"}, "tolerations": []any{map[string]any{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}},
			"affinity": nil, "replicaCount": 3, "serviceAccount": map[string]any{"annotations": map[string]any{"team": "a"}},
		}},
	} {
		if got := cluster.NamespaceOf(a, chart); got != want.namespace {
			t.Errorf("%s is in %s", chart, got)
		}
		given := map[string]any{"replicaCount": 3, "serviceAccount": map[string]any{"annotations": map[string]any{"team": "a"}}}
		got, err := cluster.ValuesOf(a, outputs, chart, given)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.values, got); d != "" {
			t.Errorf("%s: %s", chart, d)
		}
	}
	var missing manifests.MissingError
	if _, err := cluster.ValuesOf(a, nil, "external-secrets", nil); !errors.As(err, &missing) || len(missing) != 2 {
		t.Errorf("without outputs: %v", err)
	}
}

// fixed is a deployment whose node groups have one size.
func fixed(t *testing.T) *architecture.Architecture {
	t.Helper()
	c := *example(t, "production.yaml").Config
	c.Compute = slices.Clone(c.Compute)
	for i := range c.Compute {
		c.Compute[i].Max = c.Compute[i].Min
	}
	a, err := architecture.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Objects that nothing defines are refused before anything is begun, with what brings
// their kind; a chart of what the deployment has as an add-on, too.
func TestRefused(t *testing.T) {
	t.Parallel()
	got := cluster.Refused(fixed(t), []cluster.Rendered{
		{Name: "metrics-server"},
		{Name: "cluster-autoscaler"},
		{Name: "acme", Lacks: []cluster.KindUse{
			{"external-secrets.io/v1", "ExternalSecret", "release acme, ExternalSecret database"},
			{"external-secrets.io/v1", "ExternalSecret", "release acme, ExternalSecret other"},
			{"elbv2.k8s.aws/v1beta1", "TargetGroupBinding", "release acme, TargetGroupBinding web"},
			{"example.com/v1", "Thing", "release acme, Thing a"},
		}},
	})
	want := []cluster.ReleaseProblem{
		{"release metrics-server", "is in the cluster already, as an add-on of EKS that the deployment has", "leave the chart out of the bundle"},
		{"release cluster-autoscaler", "has no node group to scale: min is max in all of them", "leave the chart out of the bundle, or raise max in the file and run poolhouse update"},
		{"release acme, ExternalSecret database", "is of the kind ExternalSecret (external-secrets.io/v1), which neither the cluster has nor a chart of the bundle defines", "add the chart external-secrets, which defines it, to the bundle: poolhouse bundle build --chart external-secrets-VERSION.tgz"},
		{"release acme, TargetGroupBinding web", "is of the kind TargetGroupBinding (elbv2.k8s.aws/v1beta1), which neither the cluster has nor a chart of the bundle defines", "add the chart aws-load-balancer-controller, which defines it, to the bundle: poolhouse bundle build --chart aws-load-balancer-controller-VERSION.tgz; or install it in the cluster before"},
		{"release acme, Thing a", "is of the kind Thing (example.com/v1), which neither the cluster has nor a chart of the bundle defines", "install what defines the kind before, or ask who made the chart"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := cluster.Refused(example(t, "production.yaml"), []cluster.Rendered{{Name: "cluster-autoscaler"}}); len(got) > 0 {
		t.Errorf("with room: %v", got)
	}
}
