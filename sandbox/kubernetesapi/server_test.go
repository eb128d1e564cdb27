package kubernetesapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

// served is an account with one cluster whose API is served, public for one
// range and not private.
func served(t *testing.T, from string, listen bool) (s *kubernetesapi.Server, endpoint *url.URL, roots *x509.CertPool) {
	t.Helper()
	s, _, endpoint, roots = servedBy(t, from, listen)
	return s, endpoint, roots
}

// servedBy is served with the account.
func servedBy(t *testing.T, from string, listen bool) (s *kubernetesapi.Server, box *sandbox.Sandbox, endpoint *url.URL, roots *x509.CertPool) {
	t.Helper()
	s = kubernetesapi.New(kubernetesapi.Options{From: netip.MustParseAddr(from), Listen: listen})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	box = testkit.Sandbox(t, sandbox.Options{KubernetesEndpoint: s.Endpoint})
	s.Attach(box.Account())
	var c *account.Resource
	err := box.Account().Do(func(tx *account.Tx) error {
		create := func(typ string, props map[string]any) (*account.Resource, error) {
			r, _, err := tx.Create(typ, props, "", false)
			if err == nil {
				err = tx.Settle(r, "create")
			}
			return r, err
		}
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		role, err := create("AWS::IAM::Role", map[string]any{"RoleName": "cluster", "AssumeRolePolicyDocument": trust, "ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"}})
		if err != nil {
			return err
		}
		vpc, err := create("AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"})
		if err != nil {
			return err
		}
		var subnets []any
		for zone, cidr := range map[string]string{"us-east-1b": "10.0.0.0/24", "us-east-1d": "10.0.1.0/24"} {
			n, err := create("AWS::EC2::Subnet", map[string]any{"VpcId": vpc.ID, "CidrBlock": cidr, "AvailabilityZone": zone})
			if err != nil {
				return err
			}
			subnets = append(subnets, n.ID)
		}
		c, err = create(eks.TypeCluster, map[string]any{"Name": "c", "RoleArn": role.Attrs["Arn"], "ResourcesVpcConfig": map[string]any{
			"SubnetIds": subnets, "PublicAccessCidrs": []any{"203.0.113.0/24"},
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := c.Attrs["Endpoint"].(string)
	if endpoint, err = url.Parse(text); err != nil {
		t.Fatal(err)
	}
	authority, _ := c.Attrs["CertificateAuthorityData"].(string)
	pem, err := base64.StdEncoding.DecodeString(authority)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the cluster has no authority")
	}
	return s, box, endpoint, roots
}

// TestReopen serves the clusters of an account that another server served
// before: at the same addresses, unless they are taken.
func TestReopen(t *testing.T) {
	t.Parallel()
	before, box, endpoint, roots := servedBy(t, "203.0.113.7", true)
	next := kubernetesapi.New(kubernetesapi.Options{From: netip.MustParseAddr("203.0.113.7"), Listen: true})
	t.Cleanup(func() {
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	})
	next.Attach(box.Account())
	if errs := next.Reopen(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "the Kubernetes API of cluster c doesn't answer: ") {
		t.Errorf("while the port is taken: %v", errs)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if errs := next.Reopen(); len(errs) > 0 {
		t.Errorf("when the port is free: %v", errs)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(endpoint.String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d (%v), want 200", resp.StatusCode, err)
	}
}

func TestOutside(t *testing.T) {
	t.Parallel()
	for from, admitted := range map[string]bool{"203.0.113.9": true, "198.51.100.9": false} {
		s, endpoint, roots := served(t, from, true)
		var holds, held atomic.Int32
		s.Hold(func() func() {
			holds.Add(1)
			held.Add(1)
			return func() { held.Add(-1) }
		})
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		for path, want := range map[string]struct {
			status int
			body   string
		}{
			"/version": {200, `"gitVersion":"v1.`}, "/livez": {200, "ok"}, "/readyz": {200, "ok"},
			"/api/v1/pods": {401, `"kind":"Status"`},
		} {
			resp, err := client.Get(endpoint.String() + path)
			if !admitted {
				if err == nil {
					_ = resp.Body.Close()
					t.Errorf("from %s %s answers %d", from, path, resp.StatusCode)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != want.status || !strings.Contains(string(body), want.body) {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
			if want.status == 401 && !json.Valid(body) {
				t.Errorf("%s: not JSON: %s", path, body)
			}
		}
		client.CloseIdleConnections()
		if want := map[bool]int32{true: 4}[admitted]; holds.Load() != want || held.Load() != 0 {
			t.Errorf("from %s: %d requests held the clock, want %d; %d still do", from, holds.Load(), want, held.Load())
		}
	}
}

// TestUsualEndpoint: without ports of its own, a cluster keeps AWS's name, and
// Dial leads there.
func TestUsualEndpoint(t *testing.T) {
	t.Parallel()
	s, endpoint, roots := served(t, "203.0.113.9", false)
	if !strings.HasSuffix(endpoint.Host, ".gr7.us-east-1.eks.amazonaws.com") {
		t.Fatalf("the endpoint is %s", endpoint)
	}
	at := endpoint.Host + ":443"
	conn, err := s.Dial(context.Background(), eks.Caller{Internet: netip.MustParseAddr("203.0.113.9")}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: endpoint.Host}).Handshake(); err != nil {
		t.Error(err)
	}
	// There is no private endpoint.
	if _, err := s.Dial(context.Background(), eks.Caller{Connected: netip.MustParseAddr("10.20.0.1")}, at); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("from a connected network: %v", err)
	}
	var unknown *net.DNSError
	if _, err := s.Dial(context.Background(), eks.Caller{Internet: netip.MustParseAddr("203.0.113.9")}, "example.com:443"); !errors.As(err, &unknown) {
		t.Errorf("elsewhere: %v", err)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s, endpoint, _ := served(t, "203.0.113.9", false)
	server := httptest.NewServer(s.Proxy(eks.Caller{Internet: netip.MustParseAddr("203.0.113.9")}))
	defer server.Close()
	for request, want := range map[string]int{
		"CONNECT " + endpoint.Host + ":443": http.StatusOK,
		"CONNECT example.com:443":           http.StatusBadGateway,
		"GET /":                             http.StatusMethodNotAllowed,
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, host, _ := strings.Cut(request, " ")
		if _, err := io.WriteString(conn, request+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(host, "/")+"x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", request, resp.Status, want)
		}
		_ = conn.Close()
	}
}

// TestBehind: a Kubernetes that runs behind a cluster has whole connections, of
// those who are admitted.
func TestBehind(t *testing.T) {
	t.Parallel()
	beyond, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = beyond.Close() })
	go func() {
		for {
			c, err := beyond.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	for from, admitted := range map[string]bool{"203.0.113.9": true, "198.51.100.9": false} {
		s, endpoint, roots := served(t, from, true)
		asked := make(chan string, 10)
		s.Behind(func(_ context.Context, cluster string) string {
			asked <- cluster
			return beyond.Addr().String()
		})
		caller := eks.Caller{Internet: netip.MustParseAddr(from)}
		for name, dial := range map[string]func() (net.Conn, error){
			"outside": func() (net.Conn, error) { return net.Dial("tcp", endpoint.Host) },
			"inside":  func() (net.Conn, error) { return s.Dial(t.Context(), caller, endpoint.Host) },
		} {
			c, err := dial()
			if err != nil {
				// It may be reset already.
				if admitted {
					t.Error(err)
				}
				continue
			}
			_, _ = io.WriteString(c, "no TLS") // what comes back tells
			got := make([]byte, len("no TLS"))
			_, err = io.ReadFull(c, got)
			if admitted != (err == nil && string(got) == "no TLS") {
				t.Errorf("from %s %s: %q, %v", from, name, got, err)
			}
			_ = c.Close()
			if admitted {
				if cluster := <-asked; cluster != "c" {
					t.Errorf("asked for cluster %s", cluster)
				}
			}
		}
		if len(asked) > 0 {
			t.Errorf("asked once more for cluster %s", <-asked)
		}
		if !admitted {
			continue
		}
		s.Behind(func(context.Context, string) string { return "" })
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
		resp, err := client.Get(endpoint.String() + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("without one: %d, %v", resp.StatusCode, err)
		}
		client.CloseIdleConnections()
	}
}
