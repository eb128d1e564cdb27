// Package cluster is the Kubernetes half of a deployment. Its first part is the
// way there: [FindRoute] decides, by dialling, how the Kubernetes API is
// reached, before anything depends on it. [NewToken] proves who calls, and
// [Kubeconfig] has other clients do the same.
//
// A route is proved: a TLS handshake that the cluster's own authority vouches
// for, and an answer over HTTP, whichever it is; who may do what is for later.
// Every attempt has a deadline, and its failure is evidence that is kept. Times
// of certificates are judged by the clock that is given; a dial takes the
// machine's time, which inside testing/synctest is virtual.
//
// Limits: IPv4, and one endpoint for each cluster, as EKS has it.
package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"golang.org/x/net/http/httpproxy"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// DefaultTimeout bounds one attempt: a direct dial to an address that does not
// answer would take two minutes.
const DefaultTimeout = 10 * time.Second

// DefaultSessionTimeout bounds an attempt by session: questions to AWS, the
// start of the plugin, its handshake with the agent on a small instance, and
// only then the dial.
const DefaultSessionTimeout = time.Minute

// DescribeCluster is what FindRoute asks of EKS.
type DescribeCluster interface {
	DescribeCluster(context.Context, *eks.DescribeClusterInput, ...func(*eks.Options)) (*eks.DescribeClusterOutput, error)
}

// DescribeInstances is what FindRoute asks of EC2.
type DescribeInstances interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
}

// Sessions is what FindRoute asks of Systems Manager.
type Sessions interface {
	DescribeInstanceInformation(context.Context, *ssm.DescribeInstanceInformationInput, ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error)
	StartSession(context.Context, *ssm.StartSessionInput, ...func(*ssm.Options)) (*ssm.StartSessionOutput, error)
	TerminateSession(context.Context, *ssm.TerminateSessionInput, ...func(*ssm.Options)) (*ssm.TerminateSessionOutput, error)
}

// Asserted: AWS's clients are what FindRoute asks.
var (
	_ DescribeCluster   = (*eks.Client)(nil)
	_ DescribeInstances = (*ec2.Client)(nil)
	_ Sessions          = (*ssm.Client)(nil)
)

// Machine is where poolhouse runs, as far as ways depend on it. The zero value
// is this machine.
type Machine struct {
	// Dial opens connections; nil means the machine's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Getenv reads HTTPS_PROXY and NO_PROXY; nil means os.Getenv.
	Getenv func(name string) string
	// Plugin is the program session-manager-plugin; empty means that PATH has
	// it.
	Plugin string
	// Timeout bounds an attempt, and SessionTimeout one by session; 0 means
	// [DefaultTimeout] and [DefaultSessionTimeout].
	Timeout, SessionTimeout time.Duration
	// Roots vouch for proxies that are spoken to by TLS; nil means the
	// machine's own.
	Roots *x509.CertPool
}

// Options say whose API is looked for.
type Options struct {
	// Architecture of the deployment that the cluster belongs to.
	Architecture *architecture.Architecture
	EKS          DescribeCluster
	EC2          DescribeInstances
	SSM          Sessions
	// Clock judges certificates; nil means the machine's.
	Clock   clock.Clock
	Machine Machine
}

// Attempt is one way that was tried.
type Attempt struct {
	Way architecture.Way `json:"way"`
	// Via is the proxy or instance between.
	Via string `json:"via,omitempty"`
	Err error  `json:"-"`
	// Error is Err in words, Advice what would help; empty for the way that
	// works.
	Error  string `json:"error,omitempty"`
	Advice string `json:"advice,omitempty"`
}

// String is the way in words: "proxy http://proxy.example.com:3128".
func (a Attempt) String() string {
	return strings.TrimSpace(string(a.Way) + " " + a.Via)
}

// Route is a way to the Kubernetes API that works. Close it when it is of no
// more use: a session holds a program and a local port.
type Route struct {
	Way architecture.Way `json:"way"`
	// Via is the proxy or instance between.
	Via string `json:"via,omitempty"`
	// Login tells that the proxy's URL has a user, which Via leaves out.
	Login bool `json:"-"`
	// Endpoint is the API's address.
	Endpoint string `json:"endpoint"`
	// Status is what the API answered to a caller without a name, and Version
	// its own, if it told.
	Status  int    `json:"status"`
	Version string `json:"version,omitempty"`
	// Attempts are all that were made, in order; the last one is this route.
	Attempts []Attempt `json:"attempts"`
	// Authority, as PEM, vouches for the API's certificate.
	Authority []byte `json:"-"`

	dial  func(context.Context) (net.Conn, error)
	trust *tls.Config
	close func() error
}

// String is the way in words.
func (r *Route) String() string { return Attempt{Way: r.Way, Via: r.Via}.String() }

// DialContext opens a connection to the API, whatever address is asked for.
// TLS is the caller's affair; see [Route.Transport].
func (r *Route) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return r.dial(ctx) }

// Transport speaks HTTP to the API by this route, and believes the cluster's
// authority only. The caller closes its idle connections.
func (r *Route) Transport() *http.Transport {
	// A connection that something between has dropped is found by pings, not waited on.
	const silence, answer = 30 * time.Second, 15 * time.Second
	return &http.Transport{
		DialContext: r.DialContext, TLSClientConfig: r.trust.Clone(), ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: answer},
	}
}

// Close ends what keeps the route open. It may be called more than once.
func (r *Route) Close() error {
	if r.close == nil {
		return nil
	}
	end := r.close
	r.close = nil
	return end()
}

// UnreachableError says that no way led to the Kubernetes API.
type UnreachableError struct {
	Cluster  string
	Endpoint string
	// Access is what the configuration says of the ways.
	Access   architecture.KubernetesAccess
	Attempts []Attempt
}

func (e *UnreachableError) Error() string {
	var tried []string
	for _, a := range e.Attempts {
		tried = append(tried, a.String()+": "+a.Error)
	}
	return fmt.Sprintf("no route to the Kubernetes API of %s at %s: %s", e.Cluster, e.Endpoint, strings.Join(tried, "; "))
}

// finder is a search in progress.
type finder struct {
	Options
	endpoint string
	host     string // host:port
	trust    *tls.Config
	// authority is who vouches, as PEM.
	authority []byte
}

// FindRoute finds a way to the Kubernetes API of a deployment's cluster: the
// first that works of direct, the configuration's proxy, the environment's, and
// a session. It reads, and starts a session if it comes to that. The error is
// an [UnreachableError] if no way works. A cluster that has the name, and that no
// stack of the deployment made, is refused.
func FindRoute(ctx context.Context, o Options) (*Route, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Machine.Dial == nil {
		o.Machine.Dial = new(net.Dialer).DialContext
	}
	if o.Machine.Getenv == nil {
		o.Machine.Getenv = os.Getenv
	}
	if o.Machine.Timeout == 0 {
		o.Machine.Timeout = DefaultTimeout
	}
	if o.Machine.SessionTimeout == 0 {
		o.Machine.SessionTimeout = DefaultSessionTimeout
	}
	f := &finder{Options: o}
	if err := f.describe(ctx); err != nil {
		return nil, err
	}
	access := o.Architecture.KubernetesAccess()
	unreachable := &UnreachableError{Cluster: o.Architecture.ClusterName(), Endpoint: f.endpoint, Access: access}
	for _, c := range f.candidates(access) {
		r, err := f.try(ctx, c)
		if err == nil {
			r.Attempts = append(unreachable.Attempts, Attempt{Way: r.Way, Via: r.Via})
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		a := Attempt{Way: c.way, Via: c.via, Err: err, Error: err.Error()}
		a.Advice = f.advise(c, access, err)
		unreachable.Attempts = append(unreachable.Attempts, a)
	}
	return nil, unreachable
}

// describe asks EKS where the API is and who vouches for it.
func (f *finder) describe(ctx context.Context) error {
	name := f.Architecture.ClusterName()
	out, err := f.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		return fmt.Errorf("describe cluster %s: %w", name, err)
	}
	c := out.Cluster
	if !f.Architecture.Made(architecture.Cluster, c.Tags) {
		return fmt.Errorf("cluster %s is not the deployment's, though it has the name: stack %s did not make it; find out whose it is: what is in it stays as it is", name, f.Architecture.StackName(architecture.Cluster))
	}
	f.endpoint = aws.ToString(c.Endpoint)
	u, err := url.Parse(f.endpoint)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("cluster %s is %s and has no endpoint yet: repeat the command when it is ACTIVE", name, c.Status)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	f.host = net.JoinHostPort(u.Hostname(), port)
	roots := x509.NewCertPool()
	var authority []byte
	if c.CertificateAuthority != nil {
		if authority, err = base64.StdEncoding.DecodeString(aws.ToString(c.CertificateAuthority.Data)); err != nil {
			return fmt.Errorf("read the authority of cluster %s: %w", name, err)
		}
	}
	if !roots.AppendCertsFromPEM(authority) {
		return fmt.Errorf("cluster %s names no certificate authority", name)
	}
	f.authority = authority
	f.trust = &tls.Config{RootCAs: roots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, Time: f.Clock.Now}
	return nil
}

// candidate is a way that may lead there. open makes what the way needs and
// returns how to dial by it, and how to end it.
type candidate struct {
	way   architecture.Way
	via   string
	login bool // the proxy's URL has a user
	open  func(ctx context.Context) (opened, error)
}

type opened struct {
	via   string // when it is known only now
	dial  func(context.Context) (net.Conn, error)
	close func() error
}

func (f *finder) candidates(access architecture.KubernetesAccess) []candidate {
	out := []candidate{{way: architecture.WayDirect, open: func(context.Context) (opened, error) {
		return opened{dial: func(ctx context.Context) (net.Conn, error) { return f.Machine.Dial(ctx, "tcp", f.host) }}, nil
	}}}
	through := func(u *url.URL) {
		out = append(out, candidate{way: architecture.WayProxy, via: (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), login: u.User != nil, open: func(context.Context) (opened, error) {
			return opened{dial: func(ctx context.Context) (net.Conn, error) { return f.connect(ctx, u) }}, nil
		}})
	}
	own, err := url.Parse(access.Proxy)
	if err == nil && access.Proxy != "" {
		through(own)
	}
	if u := f.environmentProxy(); u != nil && (own == nil || u.Host != own.Host) {
		through(u)
	}
	return append(out, candidate{way: architecture.WaySession, open: f.session})
}

// environmentProxy is the proxy that the environment names for the endpoint.
func (f *finder) environmentProxy() *url.URL {
	get := func(names ...string) string {
		for _, n := range names {
			if v := f.Machine.Getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	env := httpproxy.Config{HTTPSProxy: get("HTTPS_PROXY", "https_proxy"), NoProxy: get("NO_PROXY", "no_proxy")}
	at, err := url.Parse(f.endpoint)
	if err != nil {
		return nil
	}
	u, err := env.ProxyFunc()(at)
	if err != nil || u == nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// try proves one way within its deadline.
func (f *finder) try(ctx context.Context, c candidate) (*Route, error) {
	limit := f.Machine.Timeout
	if c.way == architecture.WaySession {
		limit = f.Machine.SessionTimeout
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	way, err := c.open(bounded)
	if err == nil {
		var route *Route
		if route, err = f.prove(bounded, c, way); err == nil {
			return route, nil
		}
		if way.close != nil {
			err = errors.Join(err, way.close())
		}
	}
	if bounded.Err() != nil && ctx.Err() == nil {
		return nil, context.Cause(bounded)
	}
	return nil, err
}

// prove asks the API for its version. Whoever answers with a certificate of the
// cluster's authority, for its name, is the API.
func (f *finder) prove(ctx context.Context, c candidate, way opened) (*Route, error) {
	r := &Route{Way: c.way, Via: c.via, Login: c.login, Endpoint: f.endpoint, Authority: f.authority, dial: way.dial, close: way.close, trust: f.trust}
	if way.via != "" {
		r.Via = way.via
	}
	transport := r.Transport()
	transport.DisableKeepAlives = true
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.endpoint+"/version", nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, innermost(err)
	}
	defer resp.Body.Close()
	// It has answered; what it says of itself is an extra.
	const most = 64 << 10
	var version struct{ GitVersion string }
	if body, err := io.ReadAll(io.LimitReader(resp.Body, most)); err == nil && resp.StatusCode == http.StatusOK {
		if json.Unmarshal(body, &version) == nil {
			r.Version = version.GitVersion
		}
	}
	r.Status = resp.StatusCode
	return r, nil
}

// innermost drops what the layers of HTTP add.
func innermost(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return err
}

// advise says what would make a way work.
func (f *finder) advise(c candidate, access architecture.KubernetesAccess, err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.As(err, &authority), errors.As(err, &name), errors.As(err, &invalid):
		return "something between answers in the API's place; let it pass " + f.host + " through unopened"
	case c.way == architecture.WayDirect && len(access.PublicCIDRs) > 0:
		return "the public endpoint takes connections from " + strings.Join(access.PublicCIDRs, ", ") + "; add this machine's address to cluster.publicAccessCidrs"
	case c.way == architecture.WayDirect && len(access.AllowCIDRs) > 0:
		return "the private endpoint takes connections from " + strings.Join(access.AllowCIDRs, ", ") + " over a connected network"
	case c.way == architecture.WayDirect:
		return "there is only a private endpoint; list the ranges that may reach it in cluster.api.allowCidrs"
	}
	var p *proxyError
	if errors.As(err, &p) && p.status != "" {
		return "let the proxy connect to " + f.host
	}
	var s *sessionError
	if errors.As(err, &s) {
		return s.advice
	}
	return ""
}
