// Package entrance opens a sandbox to clients that go by names: the load
// balancers of its account carry traffic, AWS's own names lead to its APIs, and
// users sign in at providers that stand behind their real names.
//
// Invariants: whoever comes in by a name gets TLS from the sandbox's authority;
// nothing goes out to the network, also not from load balancers: targets and
// providers are those that the options name, and pods of the sandbox's clusters.
//
// Limits: names of AWS are those of the account's region, and global ones. S3's
// are for paths, not for buckets in front.
package entrance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/signon"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/traffic"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/front"
)

// Options say what is opened.
type Options struct {
	// Authority issues all certificates. Required.
	Authority *front.Authority
	// Targets are what stands behind addresses of a VPC, host:port, as loopback
	// addresses.
	Targets map[string]string
	// Sites are the loopback addresses of plain HTTP servers behind names, such
	// as an identity provider's.
	Sites map[string]string
	// From is where clients come from, for security groups; the zero value has
	// them come from where those let them in.
	From netip.Addr
	// Hold is called when a request comes, and what it returns when it is over.
	// May be nil.
	Hold func() (release func())
	// Report is told of what nobody else is told. May be nil.
	Report func(error)
}

// Entrance is open until Close. It is safe for concurrent use.
type Entrance struct {
	opts  Options
	front *front.Front

	mu      sync.Mutex
	traffic *traffic.Server
	region  string
	faults  func() *fault.Injector
	api     *front.Site
	keys    *front.Site
	// sites are providers, and registry is ECR's, by names.
	sites, registry map[string]*front.Site
	network         Network
	running         sync.WaitGroup
}

// Network leads to addresses of a VPC, host:port, that something real stands behind. It
// is safe for concurrent use.
type Network interface {
	// Carries tells whether an address leads somewhere, now.
	Carries(address string) bool
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// Behind says what stands behind addresses that no target of the options is; once, and
// also after Attach.
func (e *Entrance) Behind(n Network) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.network = n
}

// New returns an entrance that leads nowhere before Attach. Its TargetHealth goes
// into the sandbox's options.
func New(o Options) *Entrance {
	e := &Entrance{opts: o, sites: map[string]*front.Site{}, registry: map[string]*front.Site{}}
	e.front = front.New(e.find, http.HandlerFunc(e.certificate))
	return e
}

// TargetHealth is the sandbox's.
func (e *Entrance) TargetHealth(group string) map[string]account.Health {
	e.mu.Lock()
	t := e.traffic
	e.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.Targets(group)
}

// Account is a sandbox's account as the entrance sees it.
type Account struct {
	*account.Account
	Region string
	// API answers AWS's clients.
	API http.Handler
	// Registry answers behind the names of ECR's registry. Nil is none.
	Registry map[string]http.Handler
	// Now is the account's clock.
	Now func() time.Time
	// Faults are what goes wrong at a moment. Nil is nothing, ever.
	Faults func() *fault.Injector
}

// Attach says which account is entered, once.
func (e *Entrance) Attach(a Account) error {
	if a.Faults == nil {
		a.Faults = func() *fault.Injector { return nil }
	}
	e.opts.Authority.Spoil(func(names []string) front.Wrong { return front.Wrong(a.Faults().Certificate(names)) })
	var secret string
	if err := a.Do(func(tx *account.Tx) error {
		tx.Reads()
		secret = tx.Secret() + tx.AccountID()
		return nil
	}); err != nil {
		return fmt.Errorf("open the entrance: %w", err)
	}
	s, err := signon.New(signon.Options{
		Client: &http.Client{
			Transport:     &http.Transport{DialContext: e.front.Dial, TLSClientConfig: &tls.Config{RootCAs: e.opts.Authority.Pool(), MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 5 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Now: a.Now, Wall: time.Now, Secret: []byte(secret),
	})
	if err != nil {
		return fmt.Errorf("open the entrance: %w", err)
	}
	t := traffic.New(traffic.Options{
		View: func() (v elbv2.View, err error) {
			err = a.Do(func(tx *account.Tx) error {
				tx.Reads()
				v = elbv2.Look(tx)
				return nil
			})
			return v, err
		},
		Certificate: e.opts.Authority.Certificate, SignOn: s, From: e.opts.From, Now: a.Now, Hold: e.opts.Hold, Report: e.opts.Report,
		Fails: func(arn string) bool { return a.Faults().Unhealthy(elbv2.GroupName(arn)) },
		Dial:  e.dial, Carries: e.carries,
		Deliver: func(bucket, key string, body []byte, balancer string) error {
			return a.Do(func(tx *account.Tx) error { return elbv2.DeliverLog(tx, balancer, bucket, key, string(body)) })
		},
	})
	if err := t.Refresh(); err != nil {
		return errors.Join(err, t.Close())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.traffic, e.region, e.faults = t, a.Region, a.Faults
	e.api, e.keys = front.NewSite(e.opts.Authority, a.API), front.NewSite(e.opts.Authority, s.Keys())
	for name, address := range e.opts.Sites {
		e.sites[name] = front.NewSite(e.opts.Authority, site(address))
	}
	for name, h := range a.Registry {
		e.registry[name] = front.NewSite(e.opts.Authority, h)
	}
	e.running.Go(t.Run)
	return nil
}

// site passes requests on to a server, as they are.
func site(address string) http.Handler {
	to := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
		p.Out.Header.Set("X-Forwarded-Proto", "https")
		p.Out.Header.Set("X-Forwarded-Host", p.In.Host)
	}}
}

// carries tells whether something stands behind a target.
func (e *Entrance) carries(address string) bool {
	if e.opts.Targets[address] != "" {
		return true
	}
	e.mu.Lock()
	n := e.network
	e.mu.Unlock()
	return n != nil && n.Carries(address)
}

// dial connects to what stands behind a target.
func (e *Entrance) dial(ctx context.Context, address string) (net.Conn, error) {
	if to := e.opts.Targets[address]; to != "" {
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}
	if !e.carries(address) {
		return nil, fmt.Errorf("nothing stands behind %s", address)
	}
	e.mu.Lock()
	n := e.network
	e.mu.Unlock()
	return n.Dial(ctx, address)
}

// certificate hands out the authority's certificate, at /ca.pem of the proxy.
func (e *Entrance) certificate(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/"+front.FileCertificate {
		http.Error(w, "this is a proxy: set HTTPS_PROXY and HTTP_PROXY to its address, and trust what is at /"+front.FileCertificate, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	// The client may be gone.
	_, _ = w.Write(e.opts.Authority.PEM())
}

// find leads a name to its door.
func (e *Entrance) find(name string, port int) (front.Door, error) {
	e.mu.Lock()
	t, region, faults := e.traffic, e.region, e.faults
	api, keys, site, registry := e.api, e.keys, e.sites[name], e.registry[name]
	e.mu.Unlock()
	if t == nil {
		return nil, errors.New("the sandbox is not ready yet")
	}
	if site != nil {
		if faults().Down(fault.ServerProvider) {
			return nil, fmt.Errorf("%s is down: it refuses connections", name)
		}
		return slow(site.Door(name, port), faults, fault.ServerProvider), nil
	}
	if registry != nil { // which is there without the server of its layers
		return slow(registry.Door(name, port), faults, fault.ServerECR), nil
	}
	if door := t.Door(name, port); door != nil {
		return slow(door, faults, fault.ServerLoadBalancer), nil
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	if name == "public-keys.auth.elb."+region+"."+domain {
		return keys.Door(name, port), nil
	}
	if service, ok := strings.CutSuffix(name, "."+domain); ok && port == 443 {
		if first, in, regional := strings.Cut(service, "."); first != "" && (!regional || in == region) {
			return api.Door(name, port), nil
		}
	}
	return nil, fmt.Errorf("the sandbox knows nobody called %s at port %d: neither a load balancer, nor a record of a hosted zone that leads to one, nor a service of AWS in %s", name, port, region)
}

// Names are the names that lead to load balancers and sites.
func (e *Entrance) Names() []string {
	e.mu.Lock()
	t := e.traffic
	names := slices.AppendSeq(slices.Collect(maps.Keys(e.sites)), maps.Keys(e.registry))
	e.mu.Unlock()
	if t != nil {
		names = append(names, t.Names()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Serve leads TLS and HTTP by name, and ServeProxy what a proxy is asked for,
// until Close.
func (e *Entrance) Serve(l net.Listener) error { return e.front.Serve(l) }

// ServeProxy is described at Serve.
func (e *Entrance) ServeProxy(l net.Listener) error { return e.front.ServeProxy(l) }

// Close ends listeners and connections, and delivers what load balancers have
// logged.
func (e *Entrance) Close() error {
	errs := []error{e.front.Close()}
	e.mu.Lock()
	t := e.traffic
	sites := slices.AppendSeq(slices.Collect(maps.Values(e.sites)), maps.Values(e.registry))
	for _, s := range []*front.Site{e.api, e.keys} {
		if s != nil {
			sites = append(sites, s)
		}
	}
	e.mu.Unlock()
	for _, s := range sites {
		errs = append(errs, s.Close())
	}
	if t != nil {
		errs = append(errs, t.Close())
	}
	e.running.Wait()
	return errors.Join(errs...)
}
