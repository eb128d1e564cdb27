package controllers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controllers"
)

// TestControllersThatAreThere: a Service gets its load balancer by the control plane,
// and loses it with its finalizer; an Ingress and a claim wait for the controllers that
// are not installed.
func TestControllersThatAreThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := testkit.Sandbox(t, sandbox.Options{Now: time.Now})
		vpc := testkit.MustCreate(t, box, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.9.0.0/16"}).ID
		var subnets []any
		for i, zone := range []string{"us-east-1a", "us-east-1b"} {
			subnets = append(subnets, testkit.MustCreate(t, box, "AWS::EC2::Subnet", map[string]any{
				"VpcId": vpc, "AvailabilityZone": zone, "CidrBlock": "10.9." + string(rune('0'+i)) + ".0/24",
				"Tags": []any{map[string]any{"Key": "kubernetes.io/role/internal-elb", "Value": "1"}},
			}).ID)
		}
		testkit.MustCreate(t, box, "AWS::IAM::Role", map[string]any{
			"RoleName": "cluster", "ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"},
			"AssumeRolePolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}}},
		})
		testkit.MustCreate(t, box, eks.TypeCluster, map[string]any{"Name": "c", "RoleArn": "arn:aws:iam::123456789012:role/cluster", "ResourcesVpcConfig": map[string]any{"SubnetIds": subnets}})
		api := kubernetes.New(nil)
		const service, ingress, claim = "/api/v1/namespaces/n/services/s", "/apis/networking.k8s.io/v1/namespaces/n/ingresses/i", "/api/v1/namespaces/n/persistentvolumeclaims/c"
		api.Put(service, `{"spec": {"type": "LoadBalancer"}}`)
		api.Put(ingress, `{}`)
		api.Put(claim, `{"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "x", "volume.kubernetes.io/storage-provisioner": "ebs.csi.aws.com"}}}`)
		o := controllers.Options{Account: box.Account(), Cluster: "c", Endpoint: "https://kubernetes", Token: "theirs", Transport: testkit.Transport{Handler: api}}
		look := func() {
			t.Helper()
			if err := controllers.Bring(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		holds := func(typ string) (n int) {
			for _, r := range box.Account().Resources() {
				if r.Type == typ && r.Tags["kubernetes.io/service-name"] == "n/s" {
					n++
				}
			}
			return n
		}
		look() // the finalizer
		// A look that is cut off is gone on with by the next.
		api.Before = func(_, path string) int {
			if path == service+"/status" {
				return http.StatusInternalServerError
			}
			return 0
		}
		if err := controllers.Bring(t.Context(), o); err == nil {
			t.Error("its address is written")
		}
		api.Before = nil
		look()
		if lb, group := holds("AWS::ElasticLoadBalancing::LoadBalancer"), holds("AWS::EC2::SecurityGroup"); lb != 1 || group != 1 {
			t.Errorf("%d load balancers with %d groups", lb, group)
		}
		status, _ := api.Get(service)["status"].(kubernetes.Object)
		if len(status) == 0 {
			t.Error("the Service has no address")
		}
		for _, path := range []string{ingress, claim} {
			m, _ := api.Get(path)["metadata"].(kubernetes.Object)
			if f, _ := m["finalizers"].([]any); path == ingress && len(f) > 0 {
				t.Errorf("%s has finalizers of a controller that is not there: %v", path, f)
			}
		}
		for _, path := range api.Paths() {
			if strings.Contains(path, "/persistentvolumes/") {
				t.Errorf("%s was made without a driver", path)
			}
		}
		// One of another type has none, and the API takes its address away.
		m, _ := api.Get(service)["metadata"].(kubernetes.Object)
		changed, err := json.Marshal(kubernetes.Object{"metadata": m, "spec": kubernetes.Object{"type": "ClusterIP"}})
		if err != nil {
			t.Fatal(err)
		}
		api.Put(service, string(changed))
		for range 4 {
			look()
		}
		m, _ = api.Get(service)["metadata"].(kubernetes.Object)
		if f, _ := m["finalizers"].([]any); len(f) > 0 || holds("AWS::ElasticLoadBalancing::LoadBalancer")+holds("AWS::EC2::SecurityGroup") > 0 {
			t.Errorf("a Service of another type: left with finalizers %v", f)
		}
		api.Put(service, `{"spec": {"type": "LoadBalancer"}}`)
		look()
		look()
		// It goes once the load balancer has.
		client := testkit.Transport{Handler: api}
		req := del(t, service)
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if api.Get(service) == nil {
			t.Fatal("it went with its load balancer left")
		}
		for range 4 {
			look()
		}
		if api.Get(service) != nil || holds("AWS::ElasticLoadBalancing::LoadBalancer")+holds("AWS::EC2::SecurityGroup") > 0 {
			t.Errorf("left: %v", api.Paths())
		}
	})
}

// del asks for an object's deletion.
func del(t *testing.T, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "https://kubernetes"+path, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer mine")
	return req
}

// TestControllersComeLater: an API that defines a kind just now asks to come later, for a
// while, and is asked again when it says so; for longer than a minute that is an error.
func TestControllersComeLater(t *testing.T) {
	t.Parallel()
	for refusals, want := range map[int]string{3: "", 100: "429 Too Many Requests: storage is (re)initializing"} {
		synctest.Test(t, func(t *testing.T) {
			box := testkit.Sandbox(t, sandbox.Options{Now: time.Now})
			api, began := kubernetes.New(nil), time.Now()
			busy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if refusals--; refusals < 0 {
					api.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Retry-After", "2")
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = w.Write([]byte("storage is (re)initializing"))
			})
			err := controllers.Bring(t.Context(), controllers.Options{Account: box.Account(), Cluster: "c", Endpoint: "https://kubernetes", Token: "theirs", Transport: testkit.Transport{Handler: busy}})
			if took := time.Since(began); want == "" && (err != nil || took != 6*time.Second) {
				t.Errorf("after %s: %v", took, err)
			} else if want != "" && (err == nil || !strings.HasSuffix(err.Error(), want) || took != 58*time.Second) {
				t.Errorf("after %s: %v, want %s", took, err, want)
			}
		})
	}
}
