package cluster

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

const apiHost = "ABC.gr7.us-east-1.eks.amazonaws.com"

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c.Raw = der
	return authority{key, c}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// api answers each connection as an API server with a certificate for host.
func (a authority) api(t *testing.T, host string, handler http.HandlerFunc) func(net.Conn) {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{host}, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.key}}}
	return func(raw net.Conn) {
		conn := tls.Server(raw, cfg)
		defer raw.Close() // a pipe takes no goodbye from both sides at once
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		w := &answer{header: http.Header{}, status: http.StatusOK}
		handler(w, req)
		fmt.Fprintf(conn, "HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", w.status, w.body.Len(), w.body.String())
	}
}

type answer struct {
	header http.Header
	status int
	body   strings.Builder
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// network is what answers at addresses. What is not in it refuses; nil never
// answers.
type network map[string]func(net.Conn)

func (n network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	serve, ok := n[address]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if serve == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	mine, theirs := net.Pipe()
	go serve(theirs)
	return mine, nil
}

// proxy connects to what is at another address of a network.
func proxy(inner network, seen *http.Request) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		r := bufio.NewReader(conn)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if seen != nil {
			*seen = *req
		}
		serve, ok := inner[req.Host]
		if !ok {
			_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		serve(&buffered{conn, r})
	}
}

// account is an AWS account with one cluster.
type account struct {
	authority []byte
	endpoint  string
	instances []string
	online    bool
	empty     int  // pages without instances before the one with them
	session   bool // StartSession works
	takes     time.Duration
	ended     []string
	foreign   bool // somebody else made the cluster
}

func (a *account) DescribeCluster(context.Context, *eks.DescribeClusterInput, ...func(*eks.Options)) (*eks.DescribeClusterOutput, error) {
	data := base64.StdEncoding.EncodeToString(a.authority)
	c := &ekstypes.Cluster{CertificateAuthority: &ekstypes.Certificate{Data: &data}, Status: ekstypes.ClusterStatusActive}
	if !a.foreign {
		c.Tags = map[string]string{architecture.StackIDTag: "arn:aws:cloudformation:us-east-1:123456789012:stack/poolside-cluster/1"}
	}
	if a.endpoint != "" {
		c.Endpoint = &a.endpoint
	}
	return &eks.DescribeClusterOutput{Cluster: c}, nil
}

func (a *account) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	var r ec2types.Reservation
	for _, id := range a.instances {
		r.Instances = append(r.Instances, ec2types.Instance{InstanceId: &id})
	}
	return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{r}}, nil
}

func (a *account) DescribeInstanceInformation(_ context.Context, in *ssm.DescribeInstanceInformationInput, _ ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error) {
	out := &ssm.DescribeInstanceInformationOutput{}
	token := ""
	if in.NextToken != nil {
		token = *in.NextToken
	}
	if len(token) < a.empty {
		token += "."
		out.NextToken = &token
		return out, nil
	}
	for _, id := range a.instances {
		status := ssmtypes.PingStatusConnectionLost
		if a.online {
			status = ssmtypes.PingStatusOnline
		}
		out.InstanceInformationList = append(out.InstanceInformationList, ssmtypes.InstanceInformation{InstanceId: &id, PingStatus: status})
	}
	return out, nil
}

func (a *account) StartSession(ctx context.Context, _ *ssm.StartSessionInput, _ ...func(*ssm.Options)) (*ssm.StartSessionOutput, error) {
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !a.session {
		return nil, errors.New("AccessDeniedException: no")
	}
	id, empty := "session-1", ""
	return &ssm.StartSessionOutput{SessionId: &id, StreamUrl: &empty, TokenValue: &empty}, nil
}

func (a *account) TerminateSession(_ context.Context, in *ssm.TerminateSessionInput, _ ...func(*ssm.Options)) (*ssm.TerminateSessionOutput, error) {
	a.ended = append(a.ended, *in.SessionId)
	return &ssm.TerminateSessionOutput{}, nil
}

func deployment(t *testing.T, change func(*config.Config)) *architecture.Architecture {
	t.Helper()
	c, err := config.LoadFile("../examples/minimal-egress.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// noPlugin is a path at which there is no plugin.
const noPlugin = "/nonexistent/session-manager-plugin"

func TestFindRoute(t *testing.T) {
	t.Parallel()
	const direct, corporate = apiHost + ":443", "proxy.corp.example.com:3128"
	throughProxy := func(c *config.Config) { c.Cluster.API.Proxy = "http://" + corporate }
	version := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, `{"gitVersion": "v1.35.2-eks"}`)
	}
	forbidden := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	type found struct {
		route   string
		status  int
		version string
		failed  []string // attempts before, as "way: error"
		took    time.Duration
	}
	for _, tc := range []struct {
		name    string
		config  func(*config.Config)
		env     map[string]string
		network func(t *testing.T, own, other authority) network
		account account
		want    found
		advice  string // of the last attempt that failed
	}{
		{name: "direct", network: func(t *testing.T, own, _ authority) network {
			return network{direct: own.api(t, apiHost, version)}
		}, want: found{route: "direct", status: 200, version: "v1.35.2-eks"}},
		{name: "direct, and the API wants a name", network: func(t *testing.T, own, _ authority) network {
			return network{direct: own.api(t, apiHost, forbidden)}
		}, want: found{route: "direct", status: 403}},
		{name: "direct comes before the proxy", config: throughProxy, network: func(t *testing.T, own, _ authority) network {
			api := own.api(t, apiHost, version)
			return network{direct: api, corporate: proxy(network{direct: api}, nil)}
		}, want: found{route: "direct", status: 200, version: "v1.35.2-eks"}},
		{name: "proxy, when direct does not answer", config: throughProxy, network: func(t *testing.T, own, _ authority) network {
			return network{direct: nil, corporate: proxy(network{direct: own.api(t, apiHost, version)}, nil)}
		}, want: found{route: "proxy http://" + corporate, status: 200, version: "v1.35.2-eks", failed: []string{"direct: no answer within 10s"}, took: 10 * time.Second}},
		{name: "proxy of the environment", env: map[string]string{"HTTPS_PROXY": "http://user:secret@" + corporate}, network: func(t *testing.T, own, _ authority) network {
			return network{corporate: proxy(network{direct: own.api(t, apiHost, version)}, nil)}
		}, want: found{route: "proxy http://" + corporate, status: 200, version: "v1.35.2-eks", failed: []string{"direct: dial tcp: connection refused"}}},
		{name: "the environment says no proxy", env: map[string]string{"https_proxy": "http://" + corporate, "NO_PROXY": ".eks.amazonaws.com"}, network: func(t *testing.T, own, _ authority) network {
			return network{corporate: proxy(network{direct: own.api(t, apiHost, version)}, nil)}
		}, want: found{failed: []string{"direct: dial tcp: connection refused", "session: no core node is running"}}, advice: "set cluster.api.sessionHost"},
		{
			name: "none", network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: no core node is running"}}, advice: "set cluster.api.sessionHost",
		},
		{name: "another authority", network: func(t *testing.T, _, other authority) network {
			return network{direct: other.api(t, apiHost, version)}
		}, want: found{failed: []string{"direct: tls: failed to verify certificate: x509: certificate signed by unknown authority", "session: no core node is running"}}},
		{name: "another name", network: func(t *testing.T, own, _ authority) network {
			return network{direct: own.api(t, "other.example.com", version)}
		}, want: found{failed: []string{"direct: tls: failed to verify certificate: x509: certificate is valid for other.example.com, not " + apiHost, "session: no core node is running"}}},
		{name: "no TLS", network: func(*testing.T, authority, authority) network {
			return network{direct: func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1<<14))
				_, _ = io.WriteString(c, "SSH-2.0-server\r\n")
				_ = c.Close()
			}}
		}, want: found{failed: []string{"direct: tls: first record does not look like a TLS handshake", "session: no core node is running"}}},
		{name: "the proxy refuses", config: throughProxy, network: func(*testing.T, authority, authority) network {
			return network{corporate: proxy(nil, nil)}
		}, want: found{failed: []string{
			"direct: dial tcp: connection refused", "proxy http://" + corporate + ": the proxy " + corporate + " refuses: 403 Forbidden", "session: no core node is running",
		}}},
		{name: "the proxy intercepts", config: throughProxy, network: func(t *testing.T, _, other authority) network {
			return network{corporate: proxy(network{direct: other.api(t, apiHost, version)}, nil)}
		}, want: found{failed: []string{
			"direct: dial tcp: connection refused", "proxy http://" + corporate + ": tls: failed to verify certificate: x509: certificate signed by unknown authority", "session: no core node is running",
		}}},
		{name: "nothing answers", config: throughProxy, network: func(*testing.T, authority, authority) network {
			return network{direct: nil, corporate: nil}
		}, want: found{failed: []string{
			"direct: no answer within 10s", "proxy http://" + corporate + ": no answer within 10s", "session: no core node is running",
		}, took: 20 * time.Second}},
		{
			name: "agents are not connected", account: account{instances: []string{"i-1"}}, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: the core node i-1 is not connected to Systems Manager"}}, advice: "a way to ssm and ssmmessages",
		},
		{
			name: "no session host", config: func(c *config.Config) { c.Cluster.API.SessionHost = true }, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: no session host is running"}},
		},
		{
			name: "sessions are not allowed", account: account{instances: []string{"i-1"}, online: true}, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: start a session on i-1: AccessDeniedException: no"}}, advice: "ssm:StartSession",
		},
		{
			name: "Systems Manager answers on a later page", account: account{instances: []string{"i-1"}, online: true, empty: 2}, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: start a session on i-1: AccessDeniedException: no"}}, advice: "ssm:StartSession",
		},
		{
			name: "a session takes longer than a dial may", account: account{instances: []string{"i-1"}, online: true, takes: 59 * time.Second}, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: start a session on i-1: AccessDeniedException: no"}, took: 59 * time.Second},
		},
		{
			name: "a session takes for ever", account: account{instances: []string{"i-1"}, online: true, takes: time.Hour}, network: func(*testing.T, authority, authority) network {
				return network{direct: nil}
			},
			want: found{failed: []string{"direct: no answer within 10s", "session: no answer within 1m0s"}, took: 70 * time.Second},
		},
		{
			name: "the plugin does not start", account: account{instances: []string{"i-1"}, online: true, session: true}, network: func(*testing.T, authority, authority) network { return nil },
			want: found{failed: []string{"direct: dial tcp: connection refused", "session: run session-manager-plugin: fork/exec " + noPlugin + ": no such file or directory"}}, advice: "aws ssm start-session --target i-1",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				own, other := newAuthority(t, "kubernetes"), newAuthority(t, "interceptor")
				acct := tc.account
				acct.authority, acct.endpoint = own.pem(), "https://"+apiHost
				start := time.Now()
				r, err := FindRoute(t.Context(), Options{
					Architecture: deployment(t, tc.config), EKS: &acct, EC2: &acct, SSM: &acct,
					Machine: Machine{Dial: tc.network(t, own, other).dial, Getenv: func(name string) string { return tc.env[name] }, Plugin: noPlugin},
				})
				got := found{took: time.Since(start)}
				var attempts []Attempt
				var unreachable *UnreachableError
				switch {
				case errors.As(err, &unreachable):
					attempts = unreachable.Attempts
					if unreachable.Endpoint != "https://"+apiHost || !strings.Contains(err.Error(), "direct: ") {
						t.Errorf("error %v", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					got.route, got.status, got.version = r.String(), r.Status, r.Version
					last := len(r.Attempts) - 1
					attempts = r.Attempts[:last]
					if a := r.Attempts[last]; a.Way != r.Way || a.Error != "" {
						t.Errorf("the last attempt is %+v", a)
					}
					if err := errors.Join(r.Close(), r.Close()); err != nil {
						t.Error(err)
					}
				}
				for _, a := range attempts {
					got.failed = append(got.failed, a.String()+": "+a.Error)
				}
				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(found{})); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if n := len(attempts); n > 0 && !strings.Contains(attempts[n-1].Advice, tc.advice) {
					t.Errorf("advice %q, want one with %q", attempts[n-1].Advice, tc.advice)
				}
				if tc.account.session && !cmp.Equal(acct.ended, []string{"session-1"}) {
					t.Errorf("sessions that were terminated: %v", acct.ended)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the error repeats a password: %v", err)
				}
			})
		})
	}
}

func TestNoPluginInPath(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	own := newAuthority(t, "kubernetes")
	acct := account{authority: own.pem(), endpoint: "https://" + apiHost, instances: []string{"i-1"}, online: true}
	_, err := FindRoute(t.Context(), Options{Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct, Machine: Machine{Dial: network{}.dial}})
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatal(err)
	}
	last := unreachable.Attempts[len(unreachable.Attempts)-1]
	if last.Error != "session-manager-plugin is not installed" || !strings.HasPrefix(last.Advice, "install ") {
		t.Errorf("got %+v", last)
	}
}

func TestProxyPassword(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := newAuthority(t, "kubernetes")
		acct := account{authority: own.pem(), endpoint: "https://" + apiHost}
		var seen http.Request
		n := network{"p.example.com:3128": proxy(network{apiHost + ":443": own.api(t, apiHost, func(http.ResponseWriter, *http.Request) {})}, &seen)}
		r, err := FindRoute(t.Context(), Options{
			Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct,
			Machine: Machine{Dial: n.dial, Getenv: func(name string) string {
				return map[string]string{"HTTPS_PROXY": "http://me:secret@p.example.com:3128"}[name]
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := seen.Header.Get("Proxy-Authorization"); got != "Basic "+base64.StdEncoding.EncodeToString([]byte("me:secret")) {
			t.Errorf("the proxy was shown %q", got)
		}
		if strings.Contains(fmt.Sprintf("%+v", *r), "secret") {
			t.Errorf("the route repeats the password: %+v", *r)
		}
		if !r.Login {
			t.Error("the route doesn't tell that the proxy's URL has a user")
		}
	})
}

// TestRouteIsUsable: what was proved carries later requests.
func TestRouteIsUsable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := newAuthority(t, "kubernetes")
		acct := account{authority: own.pem(), endpoint: "https://" + apiHost}
		n := network{apiHost + ":443": own.api(t, apiHost, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })}
		r, err := FindRoute(t.Context(), Options{Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct, Machine: Machine{Dial: n.dial}})
		if err != nil {
			t.Fatal(err)
		}
		transport := r.Transport()
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(r.Endpoint + "/apis")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "/apis" {
			t.Errorf("got %q, %v", body, err)
		}
	})
}

func TestInterruptedSearch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := newAuthority(t, "kubernetes")
		acct := account{authority: own.pem(), endpoint: "https://" + apiHost}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		_, err := FindRoute(ctx, Options{Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct, Machine: Machine{Dial: network{apiHost + ":443": nil}.dial}})
		if !errors.Is(err, stop) {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

func TestClusterWithoutEndpoint(t *testing.T) {
	t.Parallel()
	acct := account{authority: newAuthority(t, "kubernetes").pem()}
	_, err := FindRoute(t.Context(), Options{Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct})
	if err == nil || !strings.Contains(err.Error(), "has no endpoint yet") {
		t.Errorf("got %v", err)
	}
}

// Somebody's cluster that has the name is not asked anything.
func TestClusterOfAnother(t *testing.T) {
	t.Parallel()
	acct := account{authority: newAuthority(t, "kubernetes").pem(), endpoint: "https://" + apiHost, foreign: true}
	_, err := FindRoute(t.Context(), Options{Architecture: deployment(t, nil), EKS: &acct, EC2: &acct, SSM: &acct, Machine: Machine{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("it was dialled")
		return nil, errors.New("no way")
	}}})
	if err == nil || !strings.Contains(err.Error(), "stack poolside-cluster did not make it") {
		t.Errorf("got %v", err)
	}
}
