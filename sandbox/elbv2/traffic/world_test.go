package traffic_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/traffic"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/pipe"
)

const (
	lbARN    = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/lb/0123456789abcdef"
	groupARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/g/0123456789abcdef"
	otherARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/h/0123456789abcdef"
	certARN  = "arn:aws:acm:us-east-1:123456789012:certificate/1"
	name     = "chat.example.com"
)

// world is a load balancer with targets, in a bubble of virtual time.
type world struct {
	failing   atomic.Bool // health checks fail
	t         *testing.T
	server    *traffic.Server
	authority *front.Authority
	client    *http.Client
	from      netip.Addr

	mu      sync.Mutex
	view    elbv2.View
	targets map[string]*pipe.Listener // by address
	logs    map[string][]byte
	reports []string
}

// forward is the action for target groups of equal weight.
func forward(groups ...string) []elbv2.Action {
	a := elbv2.Action{Type: "forward"}
	for _, g := range groups {
		a.Forward = append(a.Forward, elbv2.Weight{Group: g, Weight: 1})
	}
	return []elbv2.Action{a}
}

func fixed(status int, body string) []elbv2.Action {
	return []elbv2.Action{{Type: "fixed-response", FixedResponse: &elbv2.FixedResponse{Status: status, ContentType: "text/plain", Body: body}}}
}

func everywhere() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }

// group is a target group with a short check.
func group(arn string, targets ...elbv2.Target) elbv2.Group {
	return elbv2.Group{
		ARN: arn, Used: true, RequestProtocol: "HTTP1", HealthCheckedPort: "traffic-port", Deregistration: 120 * time.Second, Targets: targets,
		Health: elbv2.HealthCheck{Path: "/healthz", Interval: 15 * time.Second, Timeout: 5 * time.Second, Healthy: 2, Unhealthy: 3, Codes: "200"},
	}
}

func target(ip string) elbv2.Target { return elbv2.Target{ID: ip, Port: 8443, Address: ip} }

// in runs a test in a bubble, with a load balancer as the reference has it:
// port 80 redirects, port 443 forwards one host's requests, and all else is 404.
func in(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, targets: map[string]*pipe.Listener{}, logs: map[string][]byte{}, from: netip.MustParseAddr("203.0.113.7")}
		w.view = elbv2.View{AccountID: "123456789012", Region: "us-east-1", Balancers: []elbv2.Balancer{{
			ARN: lbARN, ID: "app/lb/0123456789abcdef", Names: []string{name, "*.wild.example.com"}, Address: "198.51.100.9", IdleTimeout: time.Minute,
			HTTP2: true, DropInvalid: true, Forwarded: "append", LogBucket: "logs", LogPrefix: "web",
			Listeners: []elbv2.Listener{
				{ARN: "http", Port: 80, Server: true, Sources: everywhere(), Rules: []elbv2.Rule{{Actions: []elbv2.Action{{Type: "redirect", Redirect: &elbv2.Redirect{
					Protocol: "HTTPS", Port: "443", Host: "#{host}", Path: "/#{path}", Query: "#{query}", Status: 301,
				}}}}}},
				{
					ARN: "https", Port: 443, HTTPS: true, Server: true, Sources: everywhere(), Versions: []string{"TLSv1.2", "TLSv1.3"},
					Certificates: []elbv2.Certificate{{ARN: certARN, Names: []string{"example.com", "*.example.com"}}},
					Rules: []elbv2.Rule{
						{Priority: 10, Conditions: []elbv2.Condition{{Field: "host-header", Values: []string{name}}}, Actions: forward(groupARN)},
						{Actions: fixed(404, "not found")},
					},
				},
			},
		}}, Groups: map[string]elbv2.Group{groupARN: group(groupARN)}}
		var err error
		if w.authority, err = front.NewAuthority(time.Now); err != nil {
			t.Fatal(err)
		}
		w.server = traffic.New(traffic.Options{
			View: func() (elbv2.View, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.view, nil
			},
			Certificate: w.authority.Certificate, Dial: w.dial, From: w.from, Now: time.Now,
			Deliver: func(bucket, key string, body []byte, balancer string) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.logs[bucket+"/"+key] = body
				return nil
			},
			Fails: func(string) bool { return w.failing.Load() },
			Report: func(err error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.reports = append(w.reports, err.Error())
			},
		})
		running := make(chan struct{})
		go func() {
			defer close(running)
			w.server.Run()
		}()
		transport := &http.Transport{
			DialContext: w.connect, TLSClientConfig: &tls.Config{RootCAs: w.authority.Pool()}, DisableKeepAlives: true,
		}
		w.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		synctest.Wait()
		f(w)
		if err := w.server.Close(); err != nil {
			t.Error(err)
		}
		<-running
		// Both ends of a pipe wait some seconds for the other to take TLS's goodbye.
		time.Sleep(time.Minute)
		for _, l := range w.targets {
			_ = l.Close()
		}
	})
}

// connect is the way from a client to the load balancer.
func (w *world) connect(_ context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	door := w.server.Door(host, map[string]int{"80": 80, "443": 443, "8443": 8443}[port])
	if door == nil {
		return nil, syscall.ECONNREFUSED
	}
	mine, theirs := net.Pipe()
	go door(theirs)
	return mine, nil
}

// dial is the way from the load balancer to targets.
func (w *world) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	l := w.targets[address]
	w.mu.Unlock()
	if l == nil {
		<-ctx.Done() // packets are dropped
		return nil, ctx.Err()
	}
	mine, theirs := net.Pipe()
	if err := l.Put(theirs); err != nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return mine, nil
}

// change changes what the account says, and waits until it is followed.
func (w *world) change(f func(v *elbv2.View)) {
	w.t.Helper()
	w.mu.Lock()
	// What the server has looked at stays as it is.
	w.view.Balancers = slices.Clone(w.view.Balancers)
	w.view.Balancers[0].Listeners = slices.Clone(w.view.Balancers[0].Listeners)
	f(&w.view)
	w.mu.Unlock()
	if err := w.server.Refresh(); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// register puts targets into the group.
func (w *world) register(targets ...elbv2.Target) {
	w.change(func(v *elbv2.View) {
		g := v.Groups[groupARN]
		g.Targets = targets
		v.Groups = map[string]elbv2.Group{groupARN: g, otherARN: v.Groups[otherARN]}
	})
}

// up starts an HTTP server at an address of the VPC.
func (w *world) up(address string, h http.HandlerFunc) *http.Server {
	l := pipe.New()
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	w.mu.Lock()
	w.targets[address] = l
	w.mu.Unlock()
	go func() { _ = s.Serve(l) }()
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// raw starts a server at an address that does to connections what f does.
func (w *world) raw(address string, f func(net.Conn)) {
	l := pipe.New()
	w.mu.Lock()
	w.targets[address] = l
	w.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
}

// get asks the load balancer and returns status, body and headers.
func (w *world) get(url string, more ...func(*http.Request)) (int, string, http.Header) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range more {
		f(r)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatalf("get %s: %v", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("get %s: %v", url, err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func (w *world) health(key string) account.Health { return w.server.Targets(groupARN)[key] }

// hear reads a request off a connection.
func hear(c net.Conn) (*http.Request, error) { return http.ReadRequest(bufio.NewReader(c)) }

func has(s, part string) bool { return strings.Contains(s, part) }
