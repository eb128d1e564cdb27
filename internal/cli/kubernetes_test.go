package cli_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestAWSCLIKubernetes has the AWS CLI make a cluster and a token for it, which
// its Kubernetes takes from who made it and from nobody else.
func TestAWSCLIKubernetes(t *testing.T) {
	t.Parallel()
	if os.Getenv("POOLHOUSE_PLANE_KUBERNETES") == "" {
		t.Skip("POOLHOUSE_PLANE_KUBERNETES names no program: go -C planes/kubernetes build -o DIR ./poolhouse-plane-kubernetes, which takes 10 minutes or more once, then POOLHOUSE_PLANE_KUBERNETES=DIR/poolhouse-plane-kubernetes")
	}
	c := newAWSCLI(t, "--without", "s3,postgres,ecr")
	c.ok("iam", "create-role", "--role-name", "cluster", "--assume-role-policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	c.ok("iam", "attach-role-policy", "--role-name", "cluster", "--policy-arn", "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
	subnets := strings.Fields(c.ok("ec2", "describe-subnets", "--filters", "Name=availability-zone,Values=us-east-1a,us-east-1b", "--query", "Subnets[].SubnetId", "--output", "text"))
	c.ok("eks", "create-cluster", "--name", "c", "--role-arn", "arn:aws:iam::123456789012:role/cluster", "--resources-vpc-config", "subnetIds="+strings.Join(subnets, ","))
	c.ok("eks", "wait", "cluster-active", "--name", "c")
	authority, err := base64.StdEncoding.DecodeString(c.ok("eks", "describe-cluster", "--name", "c", "--query", "cluster.certificateAuthority.data", "--output", "text"))
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(authority) {
		t.Fatalf("the cluster has no authority: %v", err)
	}
	endpoint := c.ok("eks", "describe-cluster", "--name", "c", "--query", "cluster.endpoint", "--output", "text")
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(way.CloseIdleConnections)
	nodes := func(token string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/api/v1/nodes", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := way.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // it was read
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	token := func() string {
		t.Helper()
		var credential struct{ Status struct{ Token string } }
		if err := json.Unmarshal([]byte(c.ok("eks", "get-token", "--cluster-name", "c")), &credential); err != nil || credential.Status.Token == "" {
			t.Fatalf("no token: %v", err)
		}
		return credential.Status.Token
	}
	if status, text := nodes(token()); status != http.StatusOK || !strings.Contains(text, `"kind":"NodeList"`) {
		t.Errorf("its maker is answered %d %s", status, text)
	}
	c.ok("iam", "create-user", "--user-name", "stranger")
	keys := strings.Fields(c.ok("iam", "create-access-key", "--user-name", "stranger", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text"))
	c.env = append(c.env, "AWS_ACCESS_KEY_ID="+keys[0], "AWS_SECRET_ACCESS_KEY="+keys[1], "AWS_SESSION_TOKEN=")
	if status, text := nodes(token()); status != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d %s", status, text)
	}
}
