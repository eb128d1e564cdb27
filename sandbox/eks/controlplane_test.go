package eks_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
)

// planes are the control planes of a world.
func (w *world) planes(t *testing.T) []eks.ControlPlane {
	t.Helper()
	var out []eks.ControlPlane
	w.do(t, func(tx *account.Tx) (err error) {
		out, err = eks.ControlPlanes(tx)
		return err
	})
	return out
}

func TestControlPlane(t *testing.T) {
	t.Parallel()
	w := ready(t)
	list := w.planes(t)
	if len(list) != 1 {
		t.Fatalf("%d control planes", len(list))
	}
	p := list[0]
	cert, err := tls.X509KeyPair([]byte(p.Certificate), []byte(p.Key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.Authority))
	for _, name := range []string{"kubernetes", "kubernetes.default.svc", "10.100.0.1", strings.ToLower(p.ID) + ".gr7.us-east-1.eks.amazonaws.com"} {
		if p.Services != "10.100.0.0/16" {
			name = strings.Replace(name, "10.100", "172.20", 1)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: w.now}); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	keys := func(issuer string) (text string, there bool) {
		w.do(t, func(tx *account.Tx) error {
			var b []byte
			b, there = eks.IssuerKeys(tx, issuer)
			text = string(b)
			return nil
		})
		return text, there
	}
	if text, there := keys(p.Issuer); there {
		t.Errorf("without a Kubernetes its issuer has keys: %s", text)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	first := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	w.do(t, func(tx *account.Tx) error {
		eks.SetSigningKey(tx, "c", first)
		eks.SetSigningKey(tx, "c", "another")
		return nil
	})
	if got := w.planes(t)[0].SigningKey; got != first {
		t.Errorf("the signing key changed to %.20q", got)
	}
	if text, there := keys(p.Issuer); !there || !strings.Contains(text, `"kty":"RSA"`) || strings.Contains(text, `"d"`) {
		t.Errorf("its issuer's keys: %s", text)
	}
	if _, there := keys(p.Issuer + "0"); there {
		t.Error("another issuer has keys")
	}
}

// The nodes of a node group carry its labels and taints, their zone, and what
// their instance type leaves for pods; they drain before they are replaced.
//
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
// https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
func TestControlPlaneNodes(t *testing.T) {
	t.Parallel()
	w := ready(t)
	g := with(w.nodes(), obj{
		"InstanceTypes": []any{"g5.xlarge"}, "AmiType": "BOTTLEROCKET_x86_64_NVIDIA", "Labels": obj{"a": "b"}, "Version": "1.33",
		"Taints": []any{obj{"Key": "k", "Value": "v", "Effect": "PREFER_NO_SCHEDULE"}}, "ScalingConfig": obj{"MinSize": 2, "DesiredSize": 2, "MaxSize": 3},
	})
	if _, _, err := w.create(eks.TypeNodegroup, g); err != nil {
		t.Fatal(err)
	}
	if n := w.planes(t)[0].Nodes; len(n) != 0 {
		t.Errorf("before its instances run it has %d nodes", len(n))
	}
	w.later(time.Hour)
	nodes := w.planes(t)[0].Nodes
	if len(nodes) != 2 {
		t.Fatalf("%d nodes", len(nodes))
	}
	n := nodes[0]
	if n.Labels["a"] != "b" || n.Labels["topology.kubernetes.io/zone"] != "us-east-1a" || n.Labels["topology.k8s.aws/zone-id"] != "use1-az1" || len(n.Taints) != 1 || n.Taints[0] != (eks.Taint{Key: "k", Value: "v", Effect: "PreferNoSchedule"}) || n.Draining || n.Version != "1.33" {
		t.Errorf("the node is %+v", n)
	}
	// 4 cores less 60 + 10 + 5 + 5 thousandths; 16 GiB less 255, 100 and 11 for
	// each pod MiB.
	if a := n.Allocatable; a["cpu"] != "3920m" || a["memory"] != "15391Mi" || a["pods"] != "58" || a["nvidia.com/gpu"] != "1" {
		t.Errorf("allocatable %v", a)
	}
	err := w.Do(func(tx *account.Tx) error {
		r := tx.Get(eks.TypeNodegroup, "c/n")
		next := with(r.Props, obj{"Version": "1.34"})
		_, err := tx.Update(r, next, true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]bool{n.ProviderID: true, nodes[1].ProviderID: true}
	drained, both := false, 0
	for range 200 {
		w.later(time.Minute)
		var left, fresh int
		for _, n := range w.planes(t)[0].Nodes {
			switch {
			case old[n.ProviderID]:
				left++
				drained = drained || n.Draining
			case n.Draining || n.Version != "1.34":
				t.Errorf("a new node is %+v", n)
			default:
				fresh++
			}
		}
		if left == 0 && fresh == 2 {
			both++
		}
	}
	if !drained || both == 0 {
		t.Errorf("old nodes drained: %v; looks that found new ones alone: %d", drained, both)
	}
}

// An access policy allows what it lists, in its scope: the cluster, or namespaces
// by name or pattern.
//
// https://docs.aws.amazon.com/eks/latest/userguide/access-policies.html
// https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
func TestAllowed(t *testing.T) {
	t.Parallel()
	w := ready(t)
	pods := func(verb, namespace string) eks.Ask {
		return eks.Ask{Verb: verb, Resource: "pods", Namespace: namespace}
	}
	tests := []struct {
		policy, scope string
		ask           eks.Ask
		want          bool
	}{
		{"AmazonEKSViewPolicy", "", pods("list", "a"), true},
		{"AmazonEKSViewPolicy", "", pods("list", ""), true},
		{"AmazonEKSViewPolicy", "", pods("delete", "a"), false},
		{"AmazonEKSViewPolicy", "", eks.Ask{Verb: "get", Resource: "secrets", Namespace: "a"}, false},
		{"AmazonEKSViewPolicy", "", eks.Ask{Verb: "get", Resource: "nodes"}, false},
		{"AmazonEKSViewPolicy", "a", pods("list", "a"), true},
		{"AmazonEKSViewPolicy", "a", pods("list", "ab"), false},
		{"AmazonEKSViewPolicy", "a", pods("list", ""), false},
		{"AmazonEKSViewPolicy", "a*", pods("list", "ab"), true},
		{"AmazonEKSEditPolicy", "", pods("delete", "a"), true},
		{"AmazonEKSEditPolicy", "", eks.Ask{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "a"}, true},
		{"AmazonEKSEditPolicy", "", eks.Ask{Verb: "create", Resource: "deployments", Namespace: "a"}, false},
		{"AmazonEKSEditPolicy", "", eks.Ask{Verb: "create", Resource: "pods/exec", Namespace: "a"}, true},
		{"AmazonEKSEditPolicy", "", eks.Ask{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "roles", Namespace: "a"}, false},
		{"AmazonEKSAdminPolicy", "", eks.Ask{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "roles", Namespace: "a"}, true},
		{"AmazonEKSAdminPolicy", "", eks.Ask{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, false},
		{"AmazonEKSAdminViewPolicy", "", eks.Ask{Verb: "get", Resource: "secrets", Namespace: "a"}, true},
		{"AmazonEKSAdminViewPolicy", "", eks.Ask{Verb: "get", Path: "/metrics"}, false},
		{"AmazonEKSSecretReaderPolicy", "", eks.Ask{Verb: "get", Resource: "secrets", Namespace: "a"}, true},
		{"AmazonEKSSecretReaderPolicy", "", pods("get", "a"), false},
		{"AmazonEKSClusterAdminPolicy", "", eks.Ask{Verb: "delete", Resource: "nodes"}, true},
		{"AmazonEKSClusterAdminPolicy", "", eks.Ask{Verb: "get", Path: "/metrics"}, true},
		{"AmazonEKSClusterAdminPolicy", "a", eks.Ask{Verb: "get", Path: "/metrics"}, false},
		{"AmazonEKSHybridPolicy", "", pods("get", "a"), false},
	}
	for _, tt := range tests {
		f := w.fork()
		scope := obj{"Type": "cluster"}
		if tt.scope != "" {
			scope = obj{"Type": "namespace", "Namespaces": []any{tt.scope}}
		}
		_, _, err := f.create(eks.TypeAccessEntry, obj{"ClusterName": "c", "PrincipalArn": f.nodeRole, "AccessPolicies": []any{obj{"PolicyArn": "arn:aws:eks::aws:cluster-access-policy/" + tt.policy, "AccessScope": scope}}})
		if err != nil {
			t.Fatal(err)
		}
		f.do(t, func(tx *account.Tx) error {
			got, reason := eks.Allowed(tx, "c", f.nodeRole, tt.ask)
			if got != tt.want {
				t.Errorf("%s for %q: %+v is %v (%s)", tt.policy, tt.scope, tt.ask, got, reason)
			}
			if tt.policy == "AmazonEKSHybridPolicy" && !strings.Contains(reason, "not modelled") {
				t.Errorf("of an unknown policy it is said %q", reason)
			}
			if got, _ := eks.Allowed(tx, "c", f.clusterRole, tt.ask); got {
				t.Errorf("%s allows another principal: %+v", tt.policy, tt.ask)
			}
			return nil
		})
	}
}

// A cluster knows a principal of IAM by its access entry, as the user and in the
// groups that the entry says, and nodes as their instances.
//
// https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	w := ready(t)
	role := w.nodeRole[strings.LastIndex(w.nodeRole, "/")+1:]
	session := "arn:aws:sts::123456789012:assumed-role/" + role + "/me@example.com"
	who := func(w *world, arn string) (u eks.User, known bool) {
		w.do(t, func(tx *account.Tx) error {
			u, known = eks.Authenticate(tx, "c", arn, "AROAX:me@example.com")
			return nil
		})
		return u, known
	}
	if u, known := who(w, session); known {
		t.Errorf("without an entry it is %+v", u)
	}
	for name, tt := range map[string]struct {
		entry obj
		want  string
	}{
		"by its ARN":  {obj{"KubernetesGroups": []any{"devs"}}, "arn:aws:sts::123456789012:assumed-role/" + role + "/me-example.com"},
		"by its name": {obj{"Username": "dev:{{AccountID}}:{{SessionName}}", "KubernetesGroups": []any{"devs"}}, "dev:123456789012:me-example.com"},
		"raw":         {obj{"Username": "dev:{{SessionNameRaw}}", "KubernetesGroups": []any{"devs"}}, "dev:me@example.com"},
	} {
		f := w.fork()
		if _, _, err := f.create(eks.TypeAccessEntry, with(obj{"ClusterName": "c", "PrincipalArn": f.nodeRole}, tt.entry)); err != nil {
			t.Fatal(err)
		}
		u, known := who(f, session)
		if !known || u.Name != tt.want || len(u.Groups) != 1 || u.Groups[0] != "devs" || u.Entry != f.nodeRole || u.UID != "aws-iam-authenticator:123456789012:AROAX" {
			t.Errorf("%s: %v %+v", name, known, u)
		}
		if u, known := who(f, "arn:aws:sts::123456789012:assumed-role/other/me@example.com"); known {
			t.Errorf("%s: another role is %+v", name, u)
		}
	}
	// Nodes are what their instance is.
	f := w.fork()
	if _, _, err := f.create(eks.TypeNodegroup, f.nodes()); err != nil {
		t.Fatal(err)
	}
	f.later(time.Hour)
	n := f.planes(t)[0].Nodes[0]
	id := n.ProviderID[strings.LastIndex(n.ProviderID, "/")+1:]
	if u, known := who(f, "arn:aws:sts::123456789012:assumed-role/"+role+"/"+id); !known || u.Name != "system:node:"+n.Name || len(u.Groups) != 2 || u.Groups[0] != "system:nodes" {
		t.Errorf("node %s: %v %+v", n.Name, known, u)
	}
	if u, known := who(f, session); known {
		t.Errorf("a node's role that is no instance's is %+v", u)
	}
	// Before entries, the creator alone is known.
	old := newWorld(t)
	if _, _, err := old.create(eks.TypeCluster, with(old.cluster(), obj{"AccessConfig": obj{"AuthenticationMode": "CONFIG_MAP", "BootstrapClusterCreatorAdminPermissions": true}})); err != nil {
		t.Fatal(err)
	}
	if u, known := who(old, "arn:aws:sts::123456789012:assumed-role/admin/me"); !known || len(u.Groups) != 1 || u.Groups[0] != "system:masters" {
		t.Errorf("the creator: %v %+v", known, u)
	}
	if u, known := who(old, session); known {
		t.Errorf("another: %+v", u)
	}
}
