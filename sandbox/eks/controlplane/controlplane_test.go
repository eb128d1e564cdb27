package controlplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controlplane"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

type obj = map[string]any

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// principals are an administrator, who makes the cluster, and users.
func principals() []sandbox.Principal {
	out := []sandbox.Principal{{AccessKeyID: "ASIASANDBOX000000000", SecretAccessKey: "admin", SessionToken: "t", ARN: "arn:aws:sts::123456789012:assumed-role/Operator/me@example.com"}}
	for i, name := range []string{"viewer", "editor", "member", "stranger"} {
		out = append(out, sandbox.Principal{AccessKeyID: fmt.Sprintf("AKIASANDBOX%09d", i), SecretAccessKey: name, ARN: "arn:aws:iam::123456789012:user/" + name})
	}
	return out
}

// world is a sandbox whose clusters run Kubernetes.
type world struct {
	t        *testing.T
	box      *sandbox.Sandbox
	door     *kubernetesapi.Server
	clusters *controlplane.Clusters
	ahead    atomic.Int64 // of the wall's clock
	reports  chan error

	roles, subnets []string
	endpoint       string
	way            *http.Transport
}

// later lets time go by for AWS.
func (w *world) later(d time.Duration) { w.ahead.Add(int64(d)) }

// newWorld has a network and roles; find finds the program.
func newWorld(t *testing.T, o controlplane.Options) *world {
	t.Helper()
	w := &world{t: t, reports: make(chan error, 100)}
	w.door = kubernetesapi.New(kubernetesapi.Options{From: netip.MustParseAddr("203.0.113.9"), Listen: true})
	t.Cleanup(func() {
		if err := w.door.Close(); err != nil {
			t.Error(err)
		}
	})
	w.box = testkit.Sandbox(t, sandbox.Options{
		Principals: principals(), KubernetesEndpoint: w.door.Endpoint,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
	})
	w.door.Attach(w.box.Account())
	o.Account, o.AWS, o.Call, o.Report = w.box.Account(), w.box, w.box.Call, func(err error) { w.reports <- err }
	var err error
	w.clusters, err = controlplane.Run(t.Context(), o)
	ok(t, err)
	t.Cleanup(func() {
		if err := w.clusters.Close(); err != nil {
			t.Error(err)
		}
	})
	w.door.Behind(w.clusters.Address)
	for _, r := range []struct{ service, policies string }{
		{"eks.amazonaws.com", "AmazonEKSClusterPolicy"}, {"ec2.amazonaws.com", "AmazonEKSWorkerNodePolicy AmazonEC2ContainerRegistryReadOnly AmazonEKS_CNI_Policy"},
	} {
		var policies []any
		for _, p := range strings.Fields(r.policies) {
			policies = append(policies, "arn:aws:iam::aws:policy/"+p)
		}
		role := testkit.MustCreate(t, w.box, "AWS::IAM::Role", obj{"ManagedPolicyArns": policies, "AssumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + r.service + `"},"Action":"sts:AssumeRole"}]}`})
		w.roles = append(w.roles, role.Attrs["Arn"].(string))
	}
	err = w.box.Account().Do(func(tx *account.Tx) error {
		for _, s := range tx.List("AWS::EC2::Subnet") {
			w.subnets = append(w.subnets, s.ID)
		}
		return nil
	})
	ok(t, err)
	return w
}

// cluster makes a cluster, and knows its endpoint from then on.
func (w *world) cluster(config obj) {
	w.t.Helper()
	var zones []any
	err := w.box.Account().Do(func(tx *account.Tx) error {
		for _, id := range w.subnets {
			if z := tx.Get("AWS::EC2::Subnet", id).Attrs["AvailabilityZoneId"]; z != "use1-az3" && len(zones) < 2 {
				zones = append(zones, id)
			}
		}
		return nil
	})
	ok(w.t, err)
	config["SubnetIds"] = zones
	testkit.MustCreate(w.t, w.box, eks.TypeCluster, obj{"Name": "c", "Version": "1.34", "RoleArn": w.roles[0], "ResourcesVpcConfig": config, "AccessConfig": obj{"AuthenticationMode": "API"}})
	w.subnets = []string{zones[0].(string), zones[1].(string)}
	out, err := sdk.NewFromConfig(testkit.Config(w.box)).DescribeCluster(w.t.Context(), &sdk.DescribeClusterInput{Name: aws.String("c")})
	ok(w.t, err)
	authority, err := base64.StdEncoding.DecodeString(*out.Cluster.CertificateAuthority.Data)
	ok(w.t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		w.t.Fatal("the cluster has no authority")
	}
	w.endpoint, w.way = *out.Cluster.Endpoint, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	w.t.Cleanup(w.way.CloseIdleConnections)
}

func (w *world) config(name string) aws.Config {
	for _, p := range w.box.Principals() {
		if strings.HasSuffix(p.ARN, "/"+name) {
			return testkit.ConfigAs(w.box, p)
		}
	}
	return testkit.Config(w.box)
}

// token is one that the AWS CLI makes for a user and a cluster.
func (w *world) token(name, cluster string) string {
	w.t.Helper()
	r, err := sts.NewPresignClient(sts.NewFromConfig(w.config(name))).PresignGetCallerIdentity(w.t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(smithyhttp.SetHeaderValue("x-k8s-aws-id", cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "900")))
	})
	ok(w.t, err)
	return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(r.URL))
}

func (w *world) request(token, method, path, body string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.endpoint+path, strings.NewReader(body))
	ok(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := w.way.RoundTrip(req)
	ok(w.t, err)
	return res
}

// call is a request to the cluster's API.
func (w *world) call(token, method, path, body string) (int, string) {
	w.t.Helper()
	res := w.request(token, method, path, body)
	text, err := io.ReadAll(res.Body)
	ok(w.t, errors.Join(err, res.Body.Close()))
	return res.StatusCode, string(text)
}

func (w *world) want(status int, token, method, path, body string) string {
	w.t.Helper()
	got, text := w.call(token, method, path, body)
	if got != status {
		w.t.Errorf("%s %s: %d, want %d: %s", method, path, got, status, text)
	}
	return text
}

// watched waits until something is true of objects of a list, as far as they are
// known by then.
func watched[T any](w *world, token, path string, is func(map[string]T) bool) map[string]T {
	w.t.Helper()
	res := w.request(token, http.MethodGet, path+"?watch=1", "")
	defer func() { _ = res.Body.Close() }() // it goes on for ever
	there := map[string]T{}
	d := json.NewDecoder(bufio.NewReader(res.Body))
	for !is(there) {
		var e struct {
			Type   string
			Object json.RawMessage
		}
		if err := d.Decode(&e); err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
		var named struct {
			Metadata struct{ Name string }
		}
		var x T
		ok(w.t, errors.Join(json.Unmarshal(e.Object, &named), json.Unmarshal(e.Object, &x)))
		if e.Type == "DELETED" {
			delete(there, named.Metadata.Name)
		} else {
			there[named.Metadata.Name] = x
		}
	}
	return there
}

// program is that of the data plane, which a test skips without.
func program(t *testing.T) controlplane.Options {
	t.Helper()
	path := os.Getenv("POOLHOUSE_PLANE_KUBERNETES")
	if path == "" {
		t.Skip("POOLHOUSE_PLANE_KUBERNETES names no program: go -C planes/kubernetes build -o DIR ./poolhouse-plane-kubernetes, which takes 10 minutes or more once, then POOLHOUSE_PLANE_KUBERNETES=DIR/poolhouse-plane-kubernetes")
	}
	return controlplane.Options{Program: func(context.Context) (string, error) { return path, nil }}
}

// TestKubernetes takes a cluster through its life.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, program(t))
	w.cluster(obj{"PublicAccessCidrs": []any{"203.0.113.0/24"}})
	admin := w.token("me@example.com", "c")
	// Whoever made the cluster is its administrator.
	w.want(200, admin, "GET", "/api/v1/nodes", "")
	part := func(name string, f func(*world, string)) {
		t.Run(name, func(t *testing.T) {
			// Each part has the world, and fails for itself.
			before := w.t
			w.t = t
			defer func() { w.t = before }()
			f(w, admin)
		})
	}
	part("access", (*world).access)
	part("nodes", (*world).nodes)
	part("GPUs", (*world).gpus)
	part("web identity", (*world).webIdentity)
	part("bindings", (*world).bindings)
	part("endpoint", (*world).reach)
	process := w.clusters.Process("c")
	ok(t, testkit.Delete(w.box, eks.TypeNodegroup, "c/n"))
	ok(t, testkit.Delete(w.box, eks.TypeCluster, "c"))
	ok(t, w.clusters.Close())
	if err := syscall.Kill(process, 0); process == 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is left: %v", process, err)
	}
	close(w.reports)
	for err := range w.reports {
		t.Error(err)
	}
}

const team = `{"metadata": {"name": "team-a"}}`

// access is by entries: their policies in their scopes, and their groups.
func (w *world) access(admin string) {
	t, ctx := w.t, w.t.Context()
	c := sdk.NewFromConfig(w.config("me@example.com"))
	viewer, editor, member, stranger := w.token("viewer", "c"), w.token("editor", "c"), w.token("member", "c"), w.token("stranger", "c")
	arn := func(user string) *string { return aws.String("arn:aws:iam::123456789012:user/" + user) }
	entry := func(user string, groups ...string) {
		t.Helper()
		_, err := c.CreateAccessEntry(ctx, &sdk.CreateAccessEntryInput{ClusterName: aws.String("c"), PrincipalArn: arn(user), KubernetesGroups: groups})
		ok(t, err)
	}
	policy := func(user, name string, scope types.AccessScope) {
		t.Helper()
		_, err := c.AssociateAccessPolicy(ctx, &sdk.AssociateAccessPolicyInput{ClusterName: aws.String("c"), PrincipalArn: arn(user), AccessScope: &scope, PolicyArn: aws.String("arn:aws:eks::aws:cluster-access-policy/" + name)})
		ok(t, err)
	}
	const pods, elsewhere, configMaps = "/api/v1/namespaces/team-a/pods", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/team-a/configmaps"
	w.want(201, admin, "POST", "/api/v1/namespaces", team)
	entry("viewer")
	w.want(403, viewer, "GET", pods, "")
	policy("viewer", "AmazonEKSViewPolicy", types.AccessScope{Type: types.AccessScopeTypeNamespace, Namespaces: []string{"team-*"}})
	w.want(200, viewer, "GET", pods, "")
	refused := w.want(403, viewer, "GET", elsewhere, "")
	if want := `User \"arn:aws:iam::123456789012:user/viewer\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"`; !strings.Contains(refused, want) {
		t.Errorf("refused with %s, not %s", refused, want)
	}
	w.want(403, viewer, "GET", "/api/v1/namespaces/team-a/secrets", "")
	w.want(403, viewer, "POST", configMaps, `{"metadata": {"name": "x"}}`)
	w.want(403, viewer, "GET", "/api/v1/nodes", "")
	entry("editor")
	policy("editor", "AmazonEKSEditPolicy", types.AccessScope{Type: types.AccessScopeTypeCluster})
	w.want(201, editor, "POST", configMaps, `{"metadata": {"name": "x"}}`)
	w.want(200, editor, "GET", "/api/v1/secrets", "")
	binding := `{"metadata": {"name": "devs"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "devs"}]}`
	const bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings"
	w.want(403, editor, "POST", bindings, binding)
	entry("member", "devs")
	w.want(403, member, "GET", pods, "")
	w.want(201, admin, "POST", bindings, binding)
	for {
		// The authorizer follows bindings by a watch.
		if status, _ := w.call(member, "GET", pods, ""); status == 200 {
			break
		}
	}
	w.want(403, member, "GET", elsewhere, "")
	w.want(401, stranger, "GET", pods, "")
	w.want(401, w.token("viewer", "other"), "GET", pods, "")
	w.want(401, viewer[:len(viewer)-8]+"AAAAAAAA", "GET", pods, "")
	w.want(401, "", "GET", pods, "")
	w.want(200, "", "GET", "/readyz", "")
	who := w.want(201, admin, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}`)
	if want := `"username":"arn:aws:sts::123456789012:assumed-role/Operator/me-example.com"`; !strings.Contains(who, want) {
		t.Errorf("the administrator is %s", who)
	}
	_, err := c.DeleteAccessEntry(ctx, &sdk.DeleteAccessEntryInput{ClusterName: aws.String("c"), PrincipalArn: arn("viewer")})
	ok(t, err)
	w.want(401, viewer, "GET", pods, "")
}

type kubeNode struct {
	Metadata struct{ Labels map[string]string }
	Spec     struct {
		ProviderID    string
		Unschedulable bool
		Taints        []struct{ Key, Value, Effect string }
	}
	Status struct {
		Allocatable map[string]string
		NodeInfo    struct{ KubeletVersion string }
		Conditions  []struct{ Type, Status string }
	}
}

func (n kubeNode) ready() bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
}

type kubePod struct {
	Spec   struct{ NodeName string }
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

func (p kubePod) condition(kind string) (reason, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

// nodes are the instances of node groups.
func (w *world) nodes(admin string) {
	t := w.t
	group := obj{
		"ClusterName": "c", "NodegroupName": "n", "NodeRole": w.roles[1], "Subnets": []any{w.subnets[0]}, "InstanceTypes": []any{"m6i.xlarge"}, "Version": "1.34",
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 1, "MaxSize": 2}, "Labels": obj{"work": "core"},
		"Taints": []any{obj{"Key": "dedicated", "Value": "core", "Effect": "NO_SCHEDULE"}},
	}
	testkit.MustCreate(t, w.box, eks.TypeNodegroup, group)
	w.later(10 * time.Minute)
	nodes := watched(w, admin, "/api/v1/nodes", func(there map[string]kubeNode) bool {
		for _, n := range there {
			return n.ready() && len(n.Spec.Taints) == 1
		}
		return false
	})
	var first string
	for name, n := range nodes {
		first = name
		if !strings.HasPrefix(name, "ip-") || !strings.HasPrefix(n.Spec.ProviderID, "aws:///us-east-1") || n.Status.NodeInfo.KubeletVersion != "v1.34.0-eks-sandbox" {
			t.Errorf("node %s is %+v", name, n)
		}
		for k, want := range map[string]string{
			"work": "core", "eks.amazonaws.com/nodegroup": "n", "node.kubernetes.io/instance-type": "m6i.xlarge", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "eks.amazonaws.com/capacityType": "ON_DEMAND",
		} {
			if got := n.Metadata.Labels[k]; got != want {
				t.Errorf("label %s is %q, not %q", k, got, want)
			}
		}
		if !strings.Contains(n.Spec.ProviderID, n.Metadata.Labels["topology.kubernetes.io/zone"]+"/i-") {
			t.Errorf("zone %s, provider id %s", n.Metadata.Labels["topology.kubernetes.io/zone"], n.Spec.ProviderID)
		}
		if x := n.Spec.Taints[0]; x.Key != "dedicated" || x.Value != "core" || x.Effect != "NoSchedule" {
			t.Errorf("taint %+v", x)
		}
		// https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
		if a := n.Status.Allocatable; a["cpu"] != "3920m" || a["pods"] != "58" {
			t.Errorf("allocatable %v", a)
		}
	}
	pod := func(name, tolerates, limits string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q}, "spec": {"tolerations": [%s], "containers": [{"name": "c", "image": "x", "resources": {"limits": {%s}}}]}}`, name, tolerates, limits)
	}
	const pods, core = "/api/v1/namespaces/default/pods", `{"key": "dedicated", "value": "core"}`
	w.want(201, admin, "POST", pods, pod("fits", core, `"cpu": "1"`))
	w.want(201, admin, "POST", pods, pod("gpu", core, `"nvidia.com/gpu": 1`))
	w.want(201, admin, "POST", pods, pod("stray", "", `"cpu": "1"`))
	got := watched(w, admin, pods, func(there map[string]kubePod) bool {
		fits, _ := there["fits"].condition("Ready")
		gpu, _ := there["gpu"].condition("PodScheduled")
		stray, _ := there["stray"].condition("PodScheduled")
		return fits == "ProcessNotRun" && gpu == "Unschedulable" && stray == "Unschedulable"
	})
	if p := got["fits"]; p.Spec.NodeName != first || p.Status.Phase != "Pending" {
		t.Errorf("the pod that fits is %+v", p)
	}
	for name, want := range map[string]string{"gpu": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu", "stray": "0/1 nodes are available: 1 node(s) had untolerated taint"} {
		if _, message := got[name].condition("PodScheduled"); !strings.HasPrefix(message, want) {
			t.Errorf("of pod %s the scheduler says %q, not %q", name, message, want)
		}
	}
	// Other labels, then other instances.
	group["Labels"] = obj{"work": "web"}
	ok(t, testkit.Update(w.box, eks.TypeNodegroup, "c/n", group))
	watched(w, admin, "/api/v1/nodes", func(there map[string]kubeNode) bool { return there[first].Metadata.Labels["work"] == "web" })
	group["ScalingConfig"] = obj{"MinSize": 0, "DesiredSize": 0, "MaxSize": 2}
	ok(t, testkit.Update(w.box, eks.TypeNodegroup, "c/n", group))
	watched(w, admin, pods, func(there map[string]kubePod) bool { _, there2 := there["fits"]; return !there2 && len(there) == 2 })
	if text := w.want(200, admin, "GET", "/api/v1/nodes", ""); strings.Contains(text, first) {
		// The node goes after its pods.
		watched(w, admin, "/api/v1/nodes", func(there map[string]kubeNode) bool { _, is := there[first]; return !is })
	}
}

// webIdentity has STS take the token of a service account for the role that
// trusts it, and no other's.
func (w *world) webIdentity(admin string) {
	t := w.t
	out, err := sdk.NewFromConfig(testkit.Config(w.box)).DescribeCluster(t.Context(), &sdk.DescribeClusterInput{Name: aws.String("c")})
	ok(t, err)
	issuer := strings.TrimPrefix(*out.Cluster.Identity.Oidc.Issuer, "https://")
	testkit.MustCreate(t, w.box, "AWS::IAM::OIDCProvider", obj{"Url": "https://" + issuer, "ClientIdList": []any{"sts.amazonaws.com"}})
	role := testkit.MustCreate(t, w.box, "AWS::IAM::Role", obj{"RoleName": "app", "AssumeRolePolicyDocument": fmt.Sprintf(
		`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/%s"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"%s:sub": "system:serviceaccount:team-a:app", "%s:aud": "sts.amazonaws.com"}}}]}`, issuer, issuer, issuer)})
	c := sts.NewFromConfig(testkit.Config(w.box))
	assume := func(account string) error {
		t.Helper()
		const accounts = "/api/v1/namespaces/team-a/serviceaccounts"
		w.want(201, admin, "POST", accounts, `{"metadata": {"name": "`+account+`"}}`)
		text := w.want(201, admin, "POST", accounts+"/"+account+"/token", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["sts.amazonaws.com"]}}`)
		var r struct{ Status struct{ Token string } }
		ok(t, json.Unmarshal([]byte(text), &r))
		_, err := c.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(role.Attrs["Arn"].(string)), RoleSessionName: aws.String("app"), WebIdentityToken: &r.Status.Token})
		return err
	}
	ok(t, assume("app"))
	if err := assume("other"); testkit.Code(err) != "AccessDenied" {
		t.Errorf("the role of another service account: %v", err)
	}
}

// reach: the list of the public endpoint is that of new connections.
func (w *world) reach(admin string) {
	t := w.t
	ok(t, w.box.Account().Do(func(tx *account.Tx) error {
		c := tx.Get(eks.TypeCluster, "c")
		config := c.Props["ResourcesVpcConfig"].(obj)
		config["PublicAccessCidrs"] = []any{"198.51.100.0/24"}
		return nil
	}))
	w.way.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.endpoint+"/readyz", http.NoBody)
	ok(t, err)
	req.Header.Set("Authorization", "Bearer "+admin)
	if res, err := w.way.RoundTrip(req); err == nil {
		t.Errorf("from outside of the list it answers %s", res.Status)
		_ = res.Body.Close()
	}
}

// TestWithoutProgram: it is said once, and the door answers as it does without.
func TestWithoutProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplane.Options{Program: func(context.Context) (string, error) { return "", errors.New("there is none") }})
	w.cluster(obj{})
	if status, text := w.call("", "GET", "/api/v1/pods", ""); status != 401 || !strings.Contains(text, "not modelled by the sandbox") {
		t.Errorf("%d %s", status, text)
	}
	if err := <-w.reports; err.Error() != "no Kubernetes runs behind clusters, which goes for as long as this sandbox runs: there is none" {
		t.Error(err)
	}
	ok(t, w.clusters.Close())
	if len(w.reports) > 0 {
		t.Errorf("it is said again: %v", <-w.reports)
	}
}

// TestTriedAgain: a control plane that can't start is tried again after a while, which is
// said once.
func TestTriedAgain(t *testing.T) {
	t.Parallel()
	tried, none := make(chan struct{}, 100), filepath.Join(t.TempDir(), "none")
	w := newWorld(t, controlplane.Options{Program: func(context.Context) (string, error) {
		tried <- struct{}{}
		return none, nil
	}})
	w.cluster(obj{})
	for range 2 {
		select {
		case <-tried:
		case <-time.After(20 * time.Second):
			t.Fatal("it is not tried again")
		}
	}
	ok(t, w.clusters.Close())
	if len(w.reports) != 1 {
		t.Errorf("it is said %d times", len(w.reports))
	}
}

// TestFoldersOfFormerClusters: what a process that was killed left of clusters
// that went is removed.
func TestFoldersOfFormerClusters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, os.Mkdir(filepath.Join(dir, "gone"), 0o700))
	newWorld(t, controlplane.Options{Dir: dir})
	for until := time.Now().Add(time.Minute); ; {
		left, err := os.ReadDir(dir)
		ok(t, err)
		if len(left) == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("left: %v", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
