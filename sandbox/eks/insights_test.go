package eks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// EKS tells before an upgrade, for the next version, which nodes would be too old for
// it, whether kube-proxy would be, and what is wrong with the cluster.
//
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-insights.html
// https://docs.aws.amazon.com/eks/latest/APIReference/API_ListInsights.html
func TestInsights(t *testing.T) {
	t.Parallel()
	w := ready(t)
	statuses := func(filter obj) map[string]string {
		t.Helper()
		out, err := call(t, w, "ListInsights", obj{"name": "c", "filter": filter})
		check(t, err, "")
		got := map[string]string{}
		for _, i := range props.Maps(out, "insights") {
			got[props.Str(i, "name")+" "+props.Str(i, "kubernetesVersion")] = props.Str(i, "insightStatus", "status")
		}
		return got
	}
	want := map[string]string{
		"Deprecated APIs removed in Kubernetes v1.35 1.35": "UNKNOWN",
		"Kubelet version skew 1.35":                        "PASSING",
		"kube-proxy version skew 1.35":                     "PASSING",
		"Cluster health issues 1.35":                       "PASSING",
	}
	if failure, _ := join(t, w, obj{"Version": "1.32"}); failure != "" {
		t.Fatal(failure)
	}
	if diff := cmp.Diff(want, statuses(nil)); diff != "" {
		t.Errorf("nodes three versions behind the next one (-want +got):\n%s", diff)
	}
	w.do(t, func(tx *account.Tx) error {
		tx.Get(eks.TypeNodegroup, "c/n").Data["version"] = "1.31"
		return nil
	})
	if diff := cmp.Diff(map[string]string{"Kubelet version skew 1.35": "ERROR"}, statuses(obj{"statuses": []any{"ERROR"}, "categories": []any{"UPGRADE_READINESS"}, "kubernetesVersions": []any{"1.35"}})); diff != "" {
		t.Errorf("nodes four versions behind the next one (-want +got):\n%s", diff)
	}
	for _, filter := range []obj{{"categories": []any{"MISCONFIGURATION"}}, {"kubernetesVersions": []any{"1.36"}}, {"statuses": []any{"WARNING"}}} {
		if got := statuses(filter); len(got) > 0 {
			t.Errorf("%v: got %v", filter, got)
		}
	}
	out, err := call(t, w, "ListInsights", obj{"name": "c", "filter": obj{"statuses": []any{"ERROR"}}})
	check(t, err, "")
	id := props.Str(props.Maps(out, "insights")[0], "id")
	out, err = call(t, w, "DescribeInsight", obj{"name": "c", "id": id})
	check(t, err, "")
	if got := props.Maps(out, "insight", "resources"); len(got) != 1 || props.Str(got[0], "insightStatus", "status") != "ERROR" || props.Str(out, "insight", "recommendation") == "" {
		t.Errorf("the insight says %v", out)
	}
	_, err = call(t, w, "DescribeInsight", obj{"name": "c", "id": "none"})
	check(t, err, "ResourceNotFoundException: No insight found for ID: none")
	_, err = call(t, w, "ListInsights", obj{"name": "d"})
	check(t, err, "ResourceNotFoundException: No cluster found for name: d.")
	w.do(t, func(tx *account.Tx) error {
		c := tx.Get(eks.TypeCluster, "c")
		c.Props["RoleArn"] = "arn:aws:iam::123456789012:role/gone"
		return nil
	})
	if got := statuses(nil)["Cluster health issues 1.35"]; got != "ERROR" {
		t.Errorf("without its role the cluster's health is %s", got)
	}
	w.later(time.Hour)
	w.do(t, func(tx *account.Tx) error {
		tx.Get(eks.TypeCluster, "c").Data["version"] = "1.36"
		return nil
	})
	if got := statuses(nil); len(got) > 0 {
		t.Errorf("of the last version: %v", got)
	}
}
