package rehearse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// Variable is an environment variable.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Endpoint is a sandbox that answers over HTTP, and what clients need to know
// of it.
type Endpoint struct {
	URL         string     `json:"endpoint"`
	Account     string     `json:"account"`
	Region      string     `json:"region"`
	Environment []Variable `json:"environment"`
}

// NewEndpoint describes a sandbox that answers at a URL.
func NewEndpoint(box *sandbox.Sandbox, url string) Endpoint {
	p := box.Principals()[0]
	e := Endpoint{URL: url, Account: accountOf(p.ARN), Region: box.Region(), Environment: []Variable{
		{"AWS_ENDPOINT_URL", url},
		{"AWS_REGION", box.Region()},
		{"AWS_DEFAULT_REGION", box.Region()},
		{"AWS_ACCESS_KEY_ID", p.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", p.SecretAccessKey},
	}}
	if p.SessionToken != "" {
		e.Environment = append(e.Environment, Variable{"AWS_SESSION_TOKEN", p.SessionToken})
	}
	return e
}

// accountOf is the account number in an ARN, or "".
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[4] == "aws" {
		return ""
	}
	return parts[4]
}

// SandboxOptions describe an account that a deployment can be rehearsed in:
// never used before, the one that the configuration's own ARNs name, in its
// region, with two principals: who operates the deployment, and a colleague.
func SandboxOptions(a *architecture.Architecture) sandbox.Options {
	o := sandbox.Options{Region: a.Config.Region, Fresh: true, AccountID: defaultAccount}
	for _, arn := range arns(a.Config) {
		if id := accountOf(arn); id != "" {
			o.AccountID = id
			break
		}
	}
	session := func(role, name string) string {
		return fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/%s", a.Config.Partition(), o.AccountID, role, name)
	}
	o.Principals = []sandbox.Principal{
		{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: session(sandbox.AdministratorRole, sandbox.AdministratorSession)},
		{AccessKeyID: "AKIASANDBOXEXAMPLE33", SecretAccessKey: "sandbox/sandbox/sandbox/sandbox/EXAMPLE1", ARN: session(colleague, "laptop")},
	}
	return o
}

// arns are the ARNs that a configuration names, those that must be in the
// deployment's own account first.
func arns(c *config.Config) []string {
	list := []string{c.PermissionBoundary, c.ServiceRole, c.Certificate.ARN, c.Access.SSO.Web.SecretARN, c.Access.SSO.Admin.SecretARN}
	return append(list, c.Cluster.Administrators...)
}

// server is a sandbox behind a real HTTP server.
type server struct {
	Endpoint
	http   *http.Server
	failed chan error
	// answering is held for reading by each answer, for writing once closed.
	answering sync.RWMutex
}

// heldHeader marks requests whose client holds the clock.
const heldHeader = "X-Poolhouse-Held"

// Holding is a handler that holds a clock while it answers, unless the client
// does: what is in flight is real.
func Holding(h http.Handler, c *clock.Scaled) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(heldHeader) == "" {
			defer c.Hold()()
		}
		h.ServeHTTP(w, r)
	})
}

func serve(ctx context.Context, box *sandbox.Sandbox, c *clock.Scaled) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the sandbox: %w", err)
	}
	s := &server{Endpoint: NewEndpoint(box, "http://"+l.Addr().String()), failed: make(chan error, 1)}
	s.http = &http.Server{Handler: s.answers(Holding(box, c)), ReadHeaderTimeout: 10 * time.Second}
	go func() { s.failed <- s.http.Serve(l) }()
	return s, nil
}

// answers is a handler whose last answer close waits for.
func (s *server) answers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.answering.TryRLock() { // else it is closed
			defer s.answering.RUnlock()
			h.ServeHTTP(w, r)
		}
	})
}

// close stops the server for good, and waits until no answer is under way. It
// is called once.
func (s *server) close() error {
	err := s.http.Close()
	s.answering.Lock()
	if served := <-s.failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// errKilled is why a killed process's context ended.
var errKilled = errors.New("the process was killed")

// process is a run of the product: its clients, and the wire that they share.
// Killing it lets no later request out.
type process struct {
	pid     int
	clients *awsapi.Clients
	ctx     context.Context
	cancel  context.CancelCauseFunc
	dead    atomic.Bool
	clock   *clock.Scaled
	next    *http.Transport
	calls   *atomic.Int64
}

var _ http.RoundTripper = (*process)(nil)

// wire is a sandbox, where it is served, and as which of its principals.
type wire struct {
	box       *sandbox.Sandbox
	url       string
	principal int
}

// wire is the way to the rehearsal's own account.
func (r *run) wire() wire { return wire{box: r.box, url: r.server.URL} }

// process starts one. Each has connections and clients of its own.
func (r *run) process(ctx context.Context) (*process, error) { return r.processAt(ctx, r.wire()) }

func (r *run) processAt(ctx context.Context, w wire) (*process, error) {
	p := &process{pid: r.started(), clock: r.clock, calls: &r.calls, next: &http.Transport{MaxIdleConnsPerHost: 64}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	creds := w.box.Principals()[w.principal]
	var err error
	p.clients, err = awsapi.New(p.ctx, awsapi.Options{
		Region: w.box.Region(), Clock: r.clock, Endpoint: w.url,
		HTTPClient: &http.Client{Transport: p, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.SessionToken, Source: "sandbox"}, nil
		}),
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes[p.pid] = p
	return p, err
}

// started counts the processes.
func (r *run) started() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids++
	return r.pids
}

// holder is a process as others see it on the operator's machine.
func (r *run) holder(p *process, s Step) lease.Holder {
	return lease.Holder{Host: "rehearsal", Machine: "rehearsal", PID: p.pid, Command: "poolhouse rehearse: " + string(s), Alive: func(pid int) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		other := r.processes[pid]
		return other != nil && other.ctx.Err() == nil
	}}
}

// RoundTrip sends a request while the clock is held, so that neither the wire
// nor computing costs simulated time.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.dead.Load() {
		return nil, errKilled
	}
	release := p.clock.Hold()
	defer release()
	p.calls.Add(1)
	req = req.Clone(req.Context())
	req.Header.Set(heldHeader, "true")
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// kill ends the process as SIGKILL would: no later request leaves.
func (p *process) kill() {
	p.dead.Store(true)
	p.cancel(errKilled)
}

// end lets the process go.
func (p *process) end() {
	p.cancel(context.Canceled)
	p.next.CloseIdleConnections()
}
