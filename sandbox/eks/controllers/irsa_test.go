package controllers_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controllers"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

type obj = map[string]any

// signing is the key of the cluster's tokens.
var signing = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// world is a cluster with a node, and an API with what charts bring.
type world struct {
	t      *testing.T
	box    *sandbox.Sandbox
	api    *kubernetes.API
	o      controllers.Options
	issuer string
}

const (
	balancer = "/apis/apps/v1/namespaces/kube-system/deployments/aws-load-balancer-controller"
	operator = "/apis/apps/v1/namespaces/external-secrets/deployments/external-secrets"
)

// newWorld has both controllers installed. Their accounts have roles that trust them,
// with the policies that are given.
func newWorld(t *testing.T, policies map[string]string) *world {
	t.Helper()
	w := &world{t: t, box: testkit.Sandbox(t, sandbox.Options{Now: time.Now})}
	var subnets []any
	err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, s := range tx.List("AWS::EC2::Subnet") {
			if s.Attrs["AvailabilityZoneId"] != "use1-az3" && len(subnets) < 2 {
				subnets = append(subnets, s.ID)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range map[string]string{"cluster": "eks.amazonaws.com", "node": "ec2.amazonaws.com"} {
		managed := []any{"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"}
		if name == "node" {
			managed = []any{"arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"}
		}
		testkit.MustCreate(t, w.box, "AWS::IAM::Role", obj{
			"RoleName": name, "ManagedPolicyArns": managed,
			"AssumeRolePolicyDocument": `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "` + service + `"}, "Action": "sts:AssumeRole"}]}`,
		})
	}
	time.Sleep(time.Minute) // roles are known late
	c := testkit.MustCreate(t, w.box, eks.TypeCluster, obj{"Name": "c", "Version": "1.34", "RoleArn": "arn:aws:iam::123456789012:role/cluster", "ResourcesVpcConfig": obj{"SubnetIds": subnets}})
	testkit.MustCreate(t, w.box, eks.TypeNodegroup, obj{
		"ClusterName": "c", "NodegroupName": "n", "NodeRole": "arn:aws:iam::123456789012:role/node", "Subnets": []any{subnets[0]}, "InstanceTypes": []any{"m6i.xlarge"}, "Version": "1.34",
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 1},
	})
	time.Sleep(30 * time.Minute)
	key, err := signing()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.box.Account().Do(func(tx *account.Tx) error {
		eks.SetSigningKey(tx, "c", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.issuer = strings.TrimPrefix(props.Str(c.Attrs, "OpenIdConnectIssuerUrl"), "https://")
	testkit.MustCreate(t, w.box, "AWS::IAM::OIDCProvider", obj{"Url": "https://" + w.issuer, "ClientIdList": []any{"sts.amazonaws.com"}})
	w.api = kubernetes.New(map[string]map[string]string{
		"elbv2.k8s.aws/v1beta1":  {"targetgroupbindings": "TargetGroupBinding"},
		"external-secrets.io/v1": {"externalsecrets": "ExternalSecret", "secretstores": "SecretStore", "clustersecretstores": "ClusterSecretStore"},
	})
	w.api.Token = w.token
	for path, service := range map[string]string{balancer: "aws-load-balancer-controller", operator: "external-secrets"} {
		w.api.Put(path, `{"metadata": {"labels": {"app.kubernetes.io/name": "`+service+`"}}, "spec": {"template": {"spec": {"serviceAccountName": "`+service+`"}}}, "status": {"readyReplicas": 1}}`)
		w.account(strings.Split(path, "/")[5], service, policies[service])
	}
	w.o = controllers.Options{Account: w.box.Account(), Cluster: "c", Endpoint: "https://kubernetes", Token: "theirs", Transport: testkit.Transport{Handler: w.api}, Call: w.box.Call}
	time.Sleep(time.Minute)
	return w
}

// token is one as Kubernetes signs it.
func (w *world) token(namespace, name string) string {
	key, err := signing()
	if err != nil {
		w.t.Error(err)
		return ""
	}
	e := base64.RawURLEncoding
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			w.t.Error(err)
		}
		return e.EncodeToString(text)
	}
	now := time.Now()
	text := part(obj{"alg": "RS256"}) + "." + part(obj{
		"iss": "https://" + w.issuer, "sub": "system:serviceaccount:" + namespace + ":" + name, "aud": []string{"sts.amazonaws.com"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	sum := sha256.Sum256([]byte(text))
	signed, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		w.t.Error(err)
	}
	return text + "." + e.EncodeToString(signed)
}

// account makes a service account with a role of its name that trusts it.
func (w *world) account(namespace, name, policy string) {
	w.t.Helper()
	testkit.MustCreate(w.t, w.box, "AWS::IAM::Role", obj{
		"RoleName": name, "Policies": []any{obj{"PolicyName": "p", "PolicyDocument": `{"Version": "2012-10-17", "Statement": ` + policy + `}`}},
		"AssumeRolePolicyDocument": fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/%s"}, "Action": "sts:AssumeRoleWithWebIdentity",
			"Condition": {"StringEquals": {"%[1]s:sub": "system:serviceaccount:%s:%s", "%[1]s:aud": "sts.amazonaws.com"}}}]}`, w.issuer, namespace, name),
	})
	w.api.Put("/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name, `{"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/`+name+`"}}}`)
}

// look has the controllers look twice, as what begins with a finalizer goes on at the
// next, and returns the error of the last.
func (w *world) look() error {
	w.t.Helper()
	_ = controllers.Bring(w.t.Context(), w.o) // the next one says it again
	return controllers.Bring(w.t.Context(), w.o)
}

func (w *world) looks() {
	w.t.Helper()
	if err := w.look(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refused(want string) {
	w.t.Helper()
	if err := w.look(); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("got %v, want %q", err, want)
	}
}

func (w *world) delete(path string) {
	w.t.Helper()
	resp, err := testkit.Transport{Handler: w.api}.RoundTrip(del(w.t, path))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("delete %s: %s %v", path, resp.Status, err)
	}
}

// targets are those of the account's only target group.
func (w *world) targets() (list []string) {
	w.t.Helper()
	err := w.box.Account().Do(func(tx *account.Tx) error {
		tx.Reads()
		for _, g := range elbv2.Look(tx).Groups {
			for _, t := range g.Targets {
				list = append(list, t.Key())
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

const (
	bound  = "/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings/web"
	sliced = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1"
	mayAll = `[{"Effect": "Allow", "Action": "*", "Resource": "*"}]`
	mayNot = `[{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]`
)

// slice is a service's with a pod that is ready and others that may not be.
func slice(second bool) string {
	return fmt.Sprintf(`{"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4", "ports": [{"name": "https", "port": 8443}, {"name": "metrics", "port": 9090}],
		"endpoints": [{"addresses": ["172.31.0.9"], "conditions": {"ready": true}}, {"addresses": ["172.31.0.10"], "conditions": {"ready": %v}}]}`, second)
}

// shop makes a target group, and a service that is bound to it.
func (w *world) shop() (group string) {
	w.t.Helper()
	vpc := ""
	for _, r := range w.box.Account().Resources() {
		if r.Type == "AWS::EC2::VPC" {
			vpc = r.ID
		}
	}
	group = testkit.MustCreate(w.t, w.box, elbv2.TypeTargetGroup, obj{"Name": "web", "VpcId": vpc, "Port": 8443, "Protocol": "HTTPS", "TargetType": "ip"}).ID
	w.api.Put("/api/v1/namespaces/shop/services/web", `{"spec": {"ports": [{"name": "https", "port": 443}, {"name": "metrics", "port": 9090}]}}`)
	w.api.Put(sliced, slice(false))
	w.api.Put(bound, `{"spec": {"targetGroupARN": "`+group+`", "targetType": "ip", "serviceRef": {"name": "web", "port": 443}}}`)
	return group
}

// The targets of a bound group are the ready pods of its service, for as long as a pod of
// the load balancer controller is ready; they go before the binding does.
//
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/targetgroupbinding/
func TestTargetGroupBinding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"aws-load-balancer-controller": `[{"Effect": "Allow", "Action": ["elasticloadbalancing:DescribeTargetHealth"], "Resource": "*"},
			{"Effect": "Allow", "Action": ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"], "Resource": "arn:aws:elasticloadbalancing:*:*:targetgroup/web/*"}]`, "external-secrets": mayNot})
		w.shop()
		holds := func(when string, want ...string) {
			t.Helper()
			if d := cmp.Diff(want, w.targets()); d != "" {
				t.Errorf("%s: %s", when, d)
			}
		}
		w.looks()
		holds("one pod is ready", "172.31.0.9:8443")
		w.api.Put(sliced, slice(true))
		w.looks()
		holds("the other one is, too", "172.31.0.9:8443", "172.31.0.10:8443")

		// Who stops the controller stops it.
		there := w.api.Get(balancer)
		w.delete(balancer)
		w.api.Put(sliced, slice(false))
		w.looks()
		holds("nobody keeps targets", "172.31.0.9:8443", "172.31.0.10:8443")
		text, err := json.Marshal(there)
		if err != nil {
			t.Fatal(err)
		}
		// It works once a pod of it is ready, or would be if it could run here.
		const pod = "/api/v1/namespaces/kube-system/pods/balancer"
		said := func(status, reason string) {
			w.api.Put(pod, `{"metadata": {"labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}}, "status": {"conditions": [{"type": "Ready", "status": "`+status+`", "reason": "`+reason+`"}]}}`)
		}
		w.api.Put(balancer, strings.Replace(string(text), `"readyReplicas":1`, `"readyReplicas":0`, 1))
		w.looks()
		said("False", "ContainersNotReady")
		w.looks()
		holds("no pod of it is ready", "172.31.0.9:8443", "172.31.0.10:8443")
		said("False", "ProcessNotRun")
		w.looks()
		holds("its pod can't run here", "172.31.0.9:8443")
		w.delete(pod)
		w.api.Put(sliced, slice(true))
		w.looks()
		holds("it has no pod", "172.31.0.9:8443")
		w.api.Put(balancer, string(text))
		w.looks()
		holds("it is ready", "172.31.0.9:8443", "172.31.0.10:8443")

		w.delete(bound)
		if w.api.Get(bound) == nil {
			t.Fatal("it went with its targets left")
		}
		w.looks()
		holds("the binding is gone")
		if w.api.Get(bound) != nil {
			t.Error("the binding stays")
		}
	})
}

// A controller without a role, with one that doesn't trust it, or with one that may
// not, registers nothing, and says why; a binding that can't be isn't.
func TestBindingsNeedARole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]string{"aws-load-balancer-controller": mayNot, "external-secrets": mayAll})
		group := w.shop()
		w.refused("is not authorized to perform: elasticloadbalancing:DescribeTargetHealth")
		const account = "/api/v1/namespaces/kube-system/serviceaccounts/aws-load-balancer-controller"
		w.api.Put(account, `{"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/external-secrets"}}}`)
		w.refused("Not authorized to perform sts:AssumeRoleWithWebIdentity")
		w.api.Put(account, `{}`)
		w.refused("act as service account kube-system/aws-load-balancer-controller: it has no role")
		for text, want := range map[string]string{
			`{"targetGroupARN": "arn:x", "serviceRef": {"name": "web", "port": 443}}`:                                   "there is no target group arn:x",
			`{"targetGroupARN": "` + group + `", "targetType": "instance", "serviceRef": {"name": "web", "port": 443}}`: "is of targets by instance, and its group of targets by ip",
			`{"targetGroupName": "web", "serviceRef": {"name": "web", "port": "admin"}}`:                                `service shop/web has no port "admin"`,
		} {
			w.api.Put(bound, `{"spec": `+text+`}`)
			w.refused(want)
		}
		if got := w.targets(); len(got) > 0 {
			t.Errorf("registered %v", got)
		}
	})
}
