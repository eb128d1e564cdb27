package controlplane_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// bound is a TargetGroupBinding, as far as it is looked at.
type bound struct {
	Metadata struct {
		Generation int64
		Finalizers []string
	}
	Status struct{ ObservedGeneration int64 }
}

// bindings: the API's own definitions, tokens and slices of endpoints are what the
// controller of target group bindings goes by.
func (w *world) bindings(admin string) {
	t := w.t
	group := obj{
		"ClusterName": "c", "NodegroupName": "n", "NodeRole": w.roles[1], "Subnets": []any{w.subnets[0]}, "InstanceTypes": []any{"m6i.xlarge"}, "Version": "1.34",
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 2},
	}
	ok(t, testkit.Update(w.box, eks.TypeNodegroup, "c/n", group))
	w.later(10 * time.Minute)
	out, err := sdk.NewFromConfig(testkit.Config(w.box)).DescribeCluster(t.Context(), &sdk.DescribeClusterInput{Name: aws.String("c")})
	ok(t, err)
	issuer := strings.TrimPrefix(*out.Cluster.Identity.Oidc.Issuer, "https://")
	role := testkit.MustCreate(t, w.box, "AWS::IAM::Role", obj{
		"RoleName": "balancers", "Policies": []any{obj{"PolicyName": "p", "PolicyDocument": `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "elasticloadbalancing:*", "Resource": "*"}]}`}},
		"AssumeRolePolicyDocument": fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/%s"}, "Action": "sts:AssumeRoleWithWebIdentity",
			"Condition": {"StringEquals": {"%[1]s:sub": "system:serviceaccount:kube-system:balancers"}}}]}`, issuer),
	})
	w.later(time.Minute) // the role is known
	var vpc string
	ok(t, w.box.Account().Do(func(tx *account.Tx) error {
		vpc = tx.Get("AWS::EC2::Subnet", w.subnets[0]).Props["VpcId"].(string)
		return nil
	}))
	targets := testkit.MustCreate(t, w.box, elbv2.TypeTargetGroup, obj{"Name": "web", "VpcId": vpc, "Port": 8443, "Protocol": "HTTPS", "TargetType": "ip"}).ID

	text, err := os.ReadFile("../../../internal/samplebundle/files/charts/aws-load-balancer-controller/crds/targetgroupbindings.yaml")
	ok(t, err)
	var definition any
	ok(t, yaml.Unmarshal(text, &definition))
	text, err = json.Marshal(definition)
	ok(t, err)
	w.want(201, admin, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", string(text))
	type established struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	watched(w, admin, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", func(there map[string]established) bool {
		for _, c := range there["targetgroupbindings.elbv2.k8s.aws"].Status.Conditions {
			if c.Type == "Established" && c.Status == "True" {
				return true
			}
		}
		return false
	})
	w.want(201, admin, "POST", "/api/v1/namespaces/kube-system/serviceaccounts", `{"metadata": {"name": "balancers", "annotations": {"eks.amazonaws.com/role-arn": "`+role.Attrs["Arn"].(string)+`"}}}`)
	w.want(201, admin, "POST", "/apis/apps/v1/namespaces/kube-system/deployments", `{"metadata": {"name": "balancers", "labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}},
		"spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}}, "template": {"metadata": {"labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}}, "spec": {"serviceAccountName": "balancers", "containers": [{"name": "c", "image": "x"}]}}}}`)
	w.want(201, admin, "POST", "/api/v1/namespaces/default/services", `{"metadata": {"name": "web"}, "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 8443}]}}`)
	w.want(201, admin, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", `{"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
		"ports": [{"name": "https", "port": 8443, "protocol": "TCP"}], "endpoints": [{"addresses": ["172.31.1.9"], "conditions": {"ready": true}}, {"addresses": ["172.31.1.10"], "conditions": {"ready": false}}]}`)
	const base = "/apis/elbv2.k8s.aws/v1beta1/namespaces/default/targetgroupbindings"
	if got, said := w.call(admin, "POST", base, `{"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding", "metadata": {"name": "web"}, "spec": {"targetType": "lambda", "serviceRef": {"name": "web", "port": 443}}}`); got != 422 {
		t.Errorf("a binding that can't be: %d %s", got, said)
	}
	w.want(201, admin, "POST", base, `{"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding", "metadata": {"name": "web"}, "spec": {"targetGroupARN": "`+targets+`", "targetType": "ip", "serviceRef": {"name": "web", "port": 443}}}`)
	registered := func() (list []string) {
		ok(t, w.box.Account().Do(func(tx *account.Tx) error {
			tx.Reads()
			for _, g := range elbv2.Look(tx).Groups[targets].Targets {
				list = append(list, g.Key())
			}
			return nil
		}))
		return list
	}
	watched(w, admin, base, func(there map[string]bound) bool {
		b := there["web"]
		return len(b.Metadata.Finalizers) == 1 && b.Status.ObservedGeneration == b.Metadata.Generation && b.Metadata.Generation > 0
	})
	if got := registered(); len(got) != 1 || got[0] != "172.31.1.9:8443" {
		t.Errorf("registered %v", got)
	}
	w.want(200, admin, "DELETE", base+"/web", "")
	for until := time.Now().Add(time.Minute); !w.gone(admin, base+"/web"); <-time.After(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the binding doesn't go")
		}
	}
	if got := registered(); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

// gone tells that an object isn't there.
func (w *world) gone(admin, path string) bool {
	code, _ := w.call(admin, "GET", path, "")
	return code == 404
}
