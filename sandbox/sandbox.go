// Package sandbox is an AWS account in a process: an http.Handler that any AWS
// client can talk to. It assembles the account's behaviour from the service
// packages below it; what they don't model is answered with the error code
// NotModelled and HTTP status 501.
//
// Invariants: the sandbox starts no goroutine, opens no socket and never
// sleeps; simulated time passes as Options.Now says. Signatures are checked
// against the wall clock. It shares no code with the product.
//
// Limits: one account, one region; every authenticated principal may do
// everything.
package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudtrail"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The key pair of the default principal. It opens nothing but sandboxes.
const (
	AccessKeyID     = "AKIASANDBOXEXAMPLE22"
	SecretAccessKey = "sandbox/sandbox/sandbox/sandbox/EXAMPLE0"
)

// The role whose session the default principal is.
const (
	AdministratorRole    = "Administrator"
	AdministratorSession = "sandbox"
)

// Principal is someone who can sign requests.
type Principal = wire.Credential

// Call is the record of one request.
type Call = wire.Call

// Fault is an error for Options.Intercept that may come after the call was
// carried out, or cut the connection.
type Fault = wire.Fault

// Options describe a new sandbox; the zero value is good for use.
type Options struct {
	// AccountID is the twelve-digit account id; empty means 123456789012.
	AccountID string
	// Region is the only region; empty means us-east-1.
	Region string
	// Zones are the region's availability zones; empty means its usual ones.
	Zones []account.Zone
	// Now is the simulated clock; it must never go back. Nil means time.Now.
	Now func() time.Time
	// Seed varies generated ids and durations; zero means typical durations.
	Seed uint64
	// Fresh is an account never used before: no service-linked roles and no
	// default VPC.
	Fresh bool
	// KubernetesEndpoint and SessionStream are those of [account.Options]: they
	// name what answers outside of this process's AWS APIs, such as a
	// [github.com/poolhouse/poolhouse/sandbox/kubernetesapi.Server].
	KubernetesEndpoint func(cluster, usual string) string
	SessionStream      func(session, usual string) string
	// Principals are those who can sign requests. None means one, with
	// AccessKeyID and SecretAccessKey, who is a session of the role
	// Administrator. Roles that principals are sessions of exist in IAM.
	Principals []Principal
	// OnCall is told of each request after it was answered, also of refused
	// ones. It must be safe for concurrent use.
	OnCall func(Call)
	// Intercept may break a call: an *account.Error is answered in its stead,
	// a *Fault cuts the connection or comes after the call was carried out.
	// It must be safe for concurrent use.
	Intercept func(r *http.Request, service, operation string) error
}

// Sandbox is an account and the wire to it. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	account *account.Account
	server  *wire.Server
}

var _ http.Handler = (*Sandbox)(nil)

// New returns a sandbox with what AWS puts into a new account.
func New(o Options) *Sandbox {
	if o.AccountID == "" {
		o.AccountID = "123456789012"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Principals) == 0 {
		o.Principals = []Principal{{
			AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey,
			ARN: fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/%s", partition(o.Region), o.AccountID, AdministratorRole, AdministratorSession),
		}}
	}
	a := account.New(model(o.Principals), account.Options{ID: o.AccountID, Region: o.Region, Zones: o.Zones, Now: o.Now, Seed: o.Seed, Fresh: o.Fresh, KubernetesEndpoint: o.KubernetesEndpoint, SessionStream: o.SessionStream})
	return assemble(o, a)
}

func assemble(o Options, a *account.Account) *Sandbox {
	var services []wire.Service
	for _, m := range modules() {
		services = append(services, m.services...)
	}
	return &Sandbox{opts: o, account: a, server: wire.NewServer(wire.Options{
		Account: a, Region: o.Region, Services: services, Credentials: o.Principals, OnCall: o.OnCall, Intercept: o.Intercept, Record: cloudtrail.Record,
	})}
}

// model joins the behaviour of all service packages.
func model(principals []Principal) *account.Model {
	m := &account.Model{Types: map[string]*account.Type{}, Events: map[string]func(*account.Tx, account.Event){}}
	var seeds []func(*account.Tx)
	for _, mod := range modules() {
		for _, t := range mod.types {
			m.Types[t.Name] = t
		}
		maps.Copy(m.Events, mod.events)
		if mod.seed != nil {
			seeds = append(seeds, mod.seed)
		}
	}
	m.Seed = func(tx *account.Tx) {
		for _, seed := range seeds {
			seed(tx)
		}
		for _, p := range principals {
			iam.SeedPrincipal(tx, p.ARN)
		}
	}
	return m
}

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	}
	return "aws"
}

// ServeHTTP answers one request of an AWS client.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.server.ServeHTTP(w, r) }

// Account is the account behind the wire, for dumps and direct inspection.
func (s *Sandbox) Account() *account.Account { return s.account }

// Region is the region that clients must sign for.
func (s *Sandbox) Region() string { return s.opts.Region }

// Principals are those who can sign requests; at least one.
func (s *Sandbox) Principals() []Principal { return s.opts.Principals }

// Clone forks the sandbox as it is at this moment, operations in flight
// included, with a clock of its own; nil means the same clock.
func (s *Sandbox) Clone(now func() time.Time) *Sandbox {
	o := s.opts
	if now != nil {
		o.Now = now
	}
	return assemble(o, s.account.Clone(o.Now))
}
