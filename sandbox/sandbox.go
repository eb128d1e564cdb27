// Package sandbox is an AWS account in a process: an http.Handler that any AWS
// client can talk to. It assembles the account's behaviour from the service
// packages below it; what they don't model is answered with the error code
// NotModelled and HTTP status 501.
//
// Invariants: the sandbox starts no goroutine, opens no socket and never
// sleeps, but for slow answers that a plan of faults asks for; simulated time
// passes as Options.Now says, and answers carry it as their date. Signatures may
// be of it, of the wall's, or of a time in between. It shares no code with the
// product.
//
// What callers may do is decided by the account's policies, see package iam.
//
// Limits: one account, one region; of others, see [account.World], there are
// certificates to be read.
package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudtrail"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/recording"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/state"
	"github.com/poolhouse/poolhouse/sandbox/sts"
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

// Principal is someone who can sign requests: a user, a session of a role, or
// the account itself. Users and roles that are named exist in IAM.
type Principal struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	// ARN is the principal's: arn:aws:iam::123456789012:user/alice,
	// arn:aws:sts::123456789012:assumed-role/Operator/alice or
	// arn:aws:iam::123456789012:root.
	ARN string
	// Policies are the ARNs of managed policies of AWS that are attached to it,
	// and Policy is the text of a policy of its own. With neither, it may do
	// everything.
	Policies []string
	Policy   string
	// Boundary is the ARN of its permissions boundary, if it has one.
	Boundary string
}

// Call is the record of one request.
type Call = wire.Call

// Exchange is a request with its answer.
type Exchange = wire.Exchange

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
	// World is what surrounds the account: quotas, capacity, names that others
	// hold, delegation, GuardDuty. The zero value is an account in use.
	World account.World
	// Principals are those who can sign requests from the start. None means one,
	// with AccessKeyID and SecretAccessKey, who is a session of the role
	// Administrator. Policies that IAM would refuse are left out, and then what
	// they are of may do nothing.
	Principals []Principal
	// IssuerKeys is that of [account.Options]: the public keys of OpenID Connect
	// issuers, for AssumeRoleWithWebIdentity.
	IssuerKeys func(issuer string) ([]byte, error)
	// TargetHealth is that of [account.Options]: what real load balancers find of
	// targets.
	TargetHealth func(group string) map[string]account.Health
	// Objects hold what the objects of S3 hold; nil is the account itself.
	// Clones have the same ones: an object that is deleted in one is then without
	// its body in the other.
	Objects s3.Bodies
	// Layers hold what the layers of ECR's images hold, also those of clones; nil
	// leaves them out.
	Layers ecr.Layers
	// Recording takes note of every permission that is asked for. Nil means no
	// note is taken.
	Recording *recording.Recording
	// OnCall is told of each request after it was answered, also of refused
	// ones. It must be safe for concurrent use.
	OnCall func(Call)
	// Intercept may break a call: an *account.Error is answered in its stead,
	// a *Fault cuts the connection or comes after the call was carried out.
	// It must be safe for concurrent use.
	Intercept func(r *http.Request, service, operation string) error
	// OnOperation is that of [account.Options]: it is told of what took AWS time.
	OnOperation func(account.Operation)
	// Observe is told of every exchange as it was on the wire, for tests that
	// hold it to AWS's service models. It must be safe for concurrent use.
	Observe func(Exchange)
}

// Sandbox is an account and the wire to it. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	account *account.Account
	server  *wire.Server
	faults  atomic.Pointer[fault.Injector]
}

var _ http.Handler = (*Sandbox)(nil)

// New returns a sandbox with what AWS puts into a new account.
func New(o Options) *Sandbox {
	o = o.complete()
	return assemble(o, account.New(model(o), o.account()), 0)
}

// Open returns the sandbox whose account a store found, or a new one if it
// found none, and has the store keep it. Account id, region, zones and seed of
// an account that was found are its own. Its clock goes on from
// [account.Image.Reached], before which Options.Now must not be.
func Open(o Options, store *state.Store) (*Sandbox, error) {
	m := store.Found()
	if m != nil {
		o.AccountID, o.Region, o.Zones, o.Seed, o.Fresh = m.ID, m.Region, m.Zones, m.Seed, m.Fresh
	}
	o = o.complete()
	if m == nil {
		s := New(o)
		return s, store.Start(s.account)
	}
	s := assemble(o, account.Restore(model(o), o.account(), m), uint64(m.Serial)<<20)
	return s, store.Start(s.account)
}

// complete fills in the defaults.
func (o Options) complete() Options {
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
	return o
}

// body reads objects for the account.
func (o Options) body() func(string, int64) (string, error) {
	if o.Objects == nil {
		return nil
	}
	return func(name string, size int64) (string, error) {
		in, err := o.Objects.Get(context.Background(), s3.Body{Name: name, Size: size}, 0, size)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(in)
		return string(text), errors.Join(err, in.Close())
	}
}

func (o Options) account() account.Options {
	return account.Options{ID: o.AccountID, Region: o.Region, Zones: o.Zones, Now: o.Now, Seed: o.Seed, Fresh: o.Fresh, KubernetesEndpoint: o.KubernetesEndpoint, SessionStream: o.SessionStream, IssuerKeys: o.IssuerKeys, TargetHealth: o.TargetHealth, Body: o.body(), Secret: secret(o), World: o.World, OnOperation: o.OnOperation}
}

// assemble puts a server before an account, which has answered a number of
// requests, or more, before.
func assemble(o Options, a *account.Account, requests uint64) *Sandbox {
	var services []wire.Service
	for _, m := range modules(o.Objects, o.Layers) {
		services = append(services, m.services...)
	}
	var credentials []wire.Credential
	for _, p := range o.Principals {
		credentials = append(credentials, wire.Credential{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken, ARN: p.ARN})
	}
	s := &Sandbox{opts: o, account: a}
	s.server = wire.NewServer(wire.Options{
		Account: a, Region: o.Region, Elsewhere: o.elsewhere, Services: services, Credentials: credentials, Lookup: sts.Lookup, Authorize: o.authorize, OnCall: o.OnCall, Intercept: s.intercept, Observe: o.Observe, Record: cloudtrail.Record, Requests: requests, Now: o.Now,
	})
	return s
}

// elsewhere tells that a service is modelled in another region of the account.
func (o Options) elsewhere(service, region string) bool {
	return service == "acm" && o.World.Elsewhere(region) != nil
}

// secret is what temporary credentials of the account are made from: nobody who
// has none of the principals' keys can make some.
func secret(o Options) string {
	h := sha256.New()
	fmt.Fprintln(h, o.AccountID, o.Seed)
	for _, p := range o.Principals {
		fmt.Fprintln(h, p.AccessKeyID, p.SecretAccessKey)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// authorize refuses what the caller of a request may not do. A dry run of EC2
// ends here.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
func (o Options) authorize(tx *account.Tx, r *wire.Request) *account.Error {
	if s := tx.Session; s != nil && s.Operation == "GetSessionToken" {
		if r.Service == "iam" || r.Service == "sts" && r.Operation != "AssumeRole" && r.Operation != "GetCallerIdentity" {
			return &account.Error{Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid", Status: http.StatusForbidden}
		}
	}
	if r.Service == "sts" && sts.Decides(r.Operation) {
		return nil
	}
	if refusal := o.permitted(tx, r); refusal != nil {
		return refusal
	}
	if r.Service == "ec2" && r.Bool("DryRun", false) {
		return &account.Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
	}
	return nil
}

// Kinds are the types of state that resources have, for [state.Open].
func Kinds() (*graph.Kinds, error) {
	var all []graph.Kind
	for _, m := range modules(nil, nil) {
		all = append(all, m.kinds...)
	}
	return graph.New(all...)
}

// model joins the behaviour of all service packages.
func model(o Options) *account.Model {
	m := &account.Model{Permit: o.permit, Asked: o.asked, Types: map[string]*account.Type{}, Events: map[string]func(*account.Tx, account.Event){}, Policies: map[string]func(*account.Tx, string) []*policy.Document{}}
	var seeds []func(*account.Tx)
	for _, mod := range modules(nil, nil) {
		for _, t := range mod.types {
			m.Types[t.Name] = quota.Guard(modelled(t))
		}
		maps.Copy(m.Events, mod.events)
		if mod.policies != nil {
			m.Policies[mod.services[0].Name] = mod.policies
		}
		if mod.seed != nil {
			seeds = append(seeds, mod.seed)
		}
	}
	m.Events[fault.EventKind] = fault.Handle
	drive := m.Events[stack.EventKind]
	m.Events[stack.EventKind] = func(tx *account.Tx, e account.Event) {
		drive(tx, e)
		if i := fault.Of(tx); i != nil {
			i.Watch(tx, e.ID)
		}
	}
	m.Seed = func(tx *account.Tx) {
		for _, seed := range seeds {
			seed(tx)
		}
		for _, p := range o.Principals {
			// What IAM refuses isn't there; the principal may then do nothing.
			_ = iam.SeedPrincipal(tx, p.ARN, iam.Rights{Managed: p.Policies, Inline: p.Policy, Boundary: p.Boundary})
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

// Call carries out an operation for someone who has shown who he is by other
// means than a signature; see [wire.Server.Call].
func (s *Sandbox) Call(r *http.Request, by wire.Credential, service, operation string, in map[string]any, body io.Reader) (*wire.Raw, error) {
	return s.server.Call(r, by, service, operation, in, body)
}

// Account is the account behind the wire, for dumps and direct inspection.
func (s *Sandbox) Account() *account.Account { return s.account }

// Region is the region that clients must sign for.
func (s *Sandbox) Region() string { return s.opts.Region }

// Principals are those who can sign requests; at least one.
func (s *Sandbox) Principals() []Principal { return s.opts.Principals }

// CloneIn is [Sandbox.Clone], with the same clock, in another world.
func (s *Sandbox) CloneIn(w account.World) *Sandbox {
	o := s.opts
	o.World = w
	return assemble(o, s.account.CloneIn(o.Now, w), 0)
}

// Clone forks the sandbox as it is at this moment, operations in flight
// included, with a clock of its own; nil means the same clock.
func (s *Sandbox) Clone(now func() time.Time) *Sandbox {
	o := s.opts
	if now != nil {
		o.Now = now
	}
	c := assemble(o, s.account.Clone(o.Now), 0)
	_ = c.account.Do(func(tx *account.Tx) error {
		if i := fault.Of(tx); i != nil {
			c.faults.Store(i)
		}
		return nil
	})
	if i := c.faults.Load(); i != nil {
		i.Attach(world{c})
	}
	return c
}

// CloneWith is [Sandbox.Clone], with the same clock, and with options that are set
// anew: where new objects and layers are held, who looks after targets.
func (s *Sandbox) CloneWith(set func(*Options)) *Sandbox {
	o := s.opts
	set(&o)
	return assemble(o, s.account.CloneWith(func(a *account.Options) { a.TargetHealth, a.Body = o.TargetHealth, o.body() }), 0)
}

// Observed is the same account, with another observer.
func (s *Sandbox) Observed(observe func(Exchange)) *Sandbox {
	o := s.opts
	o.Observe = observe
	return assemble(o, s.account, 0)
}
