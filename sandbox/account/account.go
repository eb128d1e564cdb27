// Package account is one simulated AWS account in one region: its clock, its
// resources and what is going to happen to them.
//
// The account never runs by itself. Every request advances it to the present
// first ([Account.Do]), which applies, in order of time, all events that have
// become due. Events and resources are data, so [Account.Clone] forks an
// account, operations in flight included.
//
// All values in resources and events are JSON-like: map[string]any, []any,
// string, bool, float64, int, nil and time.Time.
package account

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Options describe a new account.
type Options struct {
	// ID is the twelve-digit account id; empty means 123456789012.
	ID string
	// Region is the region that is simulated; empty means us-east-1.
	Region string
	// Zones are the region's availability zone letters with their zone ids in
	// order, for example {"a": "use1-az4"}; empty means the region's usual ones.
	Zones []Zone
	// Now is the simulated present. It must never go back. Required.
	Now func() time.Time
	// Seed varies generated ids and durations. Zero means typical durations.
	Seed uint64
	// Fresh leaves out what an account that was used before already has: the
	// service-linked roles and the default VPC.
	Fresh bool
	// KubernetesEndpoint says where the Kubernetes API of a new cluster answers:
	// an URL in place of the usual one. Nil leaves the usual ones, where
	// nothing does. It is called while the account is held, and must not ask
	// it.
	KubernetesEndpoint func(cluster, usual string) string
	// SessionStream says where the data channel of a Session Manager session
	// is, in the same way.
	SessionStream func(session, usual string) string
	// IssuerKeys are the public keys, as a JSON Web Key Set, that an OpenID
	// Connect issuer ("https://...") signs its tokens with. Nil means that no
	// issuer can be reached. It is called while the account is held, and must
	// not ask it.
	IssuerKeys func(issuer string) ([]byte, error)
	// TargetHealth is what real load balancers find of the targets of a target
	// group, by id:port; those it doesn't know have the health that the account
	// says. Nil knows none. It is called while the account is held, and must not
	// ask it.
	TargetHealth func(group string) map[string]Health
	// Body reads what a data plane outside of the account holds by a name. Nil
	// means that there is none. It is called while the account is held, and must
	// not ask it.
	Body func(name string, size int64) (string, error)
	// Secret is what the account's temporary credentials are made from: who
	// knows it can make some. The same secret keeps them valid in a clone and
	// after a restart.
	Secret string
	// World is what surrounds the account.
	World World
	// OnOperation is told of each operation that has ended well. Clones tell
	// nobody. It is called while the account is held, and must not ask it.
	OnOperation func(Operation)
}

// Zone is one availability zone.
type Zone struct {
	Name string // us-east-1a
	ID   string // use1-az1
}

// Account is safe for concurrent use: [Account.Do] serialises.
type Account struct {
	mu        sync.Mutex
	opts      Options
	now       time.Time
	resources map[string]map[string]*Resource // type, then id
	sorted    map[string][]*Resource          // by type; see index.go
	indexes   map[string]map[string]*index    // by type, then name
	events    []Event                         // a heap by At, then Seq
	seq       int
	journal   []Entry // in order of time
	model     *Model
	breaker   Breaker
	keep      *keeping                // nil unless somebody keeps the account
	watch     func()                  // nil unless somebody watches it
	begun     map[*Resource]time.Time // operations in flight, for OnOperation
}

// Model is the account's behaviour: its resource types and event handlers. It
// is immutable and shared by clones.
type Model struct {
	Types  map[string]*Type
	Events map[string]func(*Tx, Event)
	// Policies find, by the service's name in ARNs, the resource-based policies
	// of what an ARN names; none if it isn't there or has none.
	Policies map[string]func(tx *Tx, arn string) []*policy.Document
	// Seed fills a new account with what AWS puts into it.
	Seed func(*Tx)
	// Permit refuses what the caller has no permission to have CloudFormation
	// do; nil permits all.
	Permit func(*Tx, Change) error
	// Asked is told of the permissions that services ask for by themselves. May
	// be nil.
	Asked func(*Tx, Asked)
}

// Resource is one thing in the account. Types that CloudFormation knows carry
// its names; others (an S3 object, a snapshot) a lower-case name of their own
// such as "s3:object".
type Resource struct {
	Type string
	// ID is the physical id: what CloudFormation's Ref returns.
	ID string
	// Props are the properties as CloudFormation's schema of the type names
	// them, resolved, whichever API they came through.
	Props map[string]any
	// Attrs are the values of Fn::GetAtt, with nested names dotted
	// ("Endpoint.Address"). Values may be strings or lists.
	Attrs map[string]any
	// Data is what the type keeps for itself.
	Data map[string]any
	// Status is the service's own word: "CREATING", "available".
	Status  string
	Tags    map[string]string
	Created time.Time
	// Owner says who made it: a stack's ARN, a principal's ARN, or a service
	// ("eks.amazonaws.com") for what AWS makes by itself.
	Owner string
	// LogicalID is its name in the template of the stack that owns it.
	LogicalID string
	// State is state that JSON-like Data would be too clumsy for, or nil.
	State State

	// Draws is how many durations were drawn for it.
	Draws int
}

// Retag moves the tags that the named property sets to those of the next
// properties and leaves alone those that were set by API.
func (r *Resource) Retag(next map[string]any, property string) {
	for k := range props.Tags(r.Props, property) {
		delete(r.Tags, k)
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	maps.Copy(r.Tags, props.Tags(next, property))
}

// State is typed state of a resource. Its fields are kept as they are, so they
// hold data only, and its type is registered where the sandbox is assembled.
type State interface {
	// CloneState copies deeply what can still change; what never changes may
	// be shared.
	CloneState() State
}

// ErrReplace is what [Type.Update] answers when the change, to properties that
// need a replacement only under conditions, can't be made in place.
var ErrReplace = errors.New("update requires a replacement")

// Later is what [Type.Settle] answers while an operation waits for something
// else to happen: to be asked again after that time.
type Later time.Duration

// Outside is [Later] where what the operation waits for is not the account's to
// do, such as a record that proves a domain: see [Tx.Stir].
type Outside time.Duration

func (o Outside) Error() string { return Later(o).Error() }

// As makes it a [Later] for [errors.As].
func (o Outside) As(target any) bool {
	l, ok := target.(*Later)
	if ok {
		*l = Later(o)
	}
	return ok
}

// IsOutside tells whether an error is [Outside].
func IsOutside(err error) bool {
	_, ok := errors.AsType[Outside](err)
	return ok
}

func (l Later) Error() string {
	return fmt.Sprintf("operation goes on for at least %s", time.Duration(l))
}

// Event is something that will happen to the account.
type Event struct {
	At   time.Time
	Kind string // key of Model.Events; "" settles the resource, see Type.Settle
	Type string
	ID   string
	Data map[string]any
	Seq  int // order among events of one time, set by Tx.After
	// Calendar tells that it belongs to no operation that somebody waits for: a
	// deletion date, a nightly backup, an expiry. See [Account.Pending].
	Calendar bool
	// Idle tells that it looks again for what comes from outside, and is no
	// operation until something came: see [Tx.Stir].
	Idle bool
}

// Type is one resource type: its physics, in one place. CloudFormation and the
// service's own API both go through it.
type Type struct {
	Name string
	// Latency is the prefix in the latency table, "ec2:natgw". Empty means
	// that operations settle at once.
	Latency string
	// Row names the whole latency row where it is not Latency and op joined,
	// for example "rds:instance-multiaz/create". May be nil.
	Row func(r *Resource, op string) string
	// Create checks r.Props against the account and fills ID, Attrs, Tags,
	// Data and Status. The caller puts r into the store after a nil error.
	Create func(tx *Tx, r *Resource) error
	// Update moves r to the properties next; r.Props are still the old ones
	// and are replaced by the caller after a nil error. Nil means that every
	// change is taken as it is. [ErrReplace] asks for a replacement.
	// r.Data["UpdatePolicy"] is the update policy, if a stack has one for r.
	Update func(tx *Tx, r *Resource, next map[string]any) error
	// Settle ends the operation op ("create", "update") when its time is
	// over: the status becomes ready, side effects appear. An error fails the
	// operation, but for [Later]. Nil means nothing to do.
	// r.Data["CreationPolicy"] is the creation policy, if a stack has one for r.
	Settle func(tx *Tx, r *Resource, op string) error
	// Delete refuses, with the service's own error, while something depends
	// on r; otherwise marks it as being deleted. Nil means always possible.
	// r.Data["DeletionPolicy"] is "Snapshot" if a stack wants a final snapshot.
	Delete func(tx *Tx, r *Resource) error
	// Restored tells that r is as before once its deletion has failed, though its
	// service writes states in capitals; see [Tx.undeleted].
	Restored bool
	// Gone runs after r has left the store, to remove its side effects.
	Gone func(tx *Tx, r *Resource)
	// Read returns the properties that r has now, as CloudFormation's read
	// handler does, where they are not r.Props; nil for a resource that the
	// handler finds no more. A nil Read means r.Props.
	Read func(tx *Tx, r *Resource) map[string]any
}

// Error is a service's answer to a request it refuses.
type Error struct {
	Code    string // "InvalidVpcID.NotFound"
	Message string
	Status  int // HTTP status; 0 means 400
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes a service error with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 400}
}

// CodeNotModelled is the error code for what AWS has and the sandbox has not.
const CodeNotModelled = "NotModelled"

// NotModelled refuses what AWS has and the sandbox has not, with status 501,
// which SDKs don't retry.
func NotModelled(format string, args ...any) *Error {
	return &Error{Code: CodeNotModelled, Message: fmt.Sprintf(format, args...), Status: http.StatusNotImplemented}
}

// IsNotModelled tells whether an error is one of [NotModelled].
func IsNotModelled(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == CodeNotModelled
}

// Unmodelled refuses, as [NotModelled], those of the properties of a type that
// the sandbox has no behaviour for. One that is false, or an empty
// text or list, asks for nothing.
func Unmodelled(typ string, p map[string]any, properties ...string) error {
	for _, k := range properties {
		if asks(p[k]) {
			return NotModelled("%s of %s is not modelled by the sandbox", k, typ)
		}
	}
	return nil
}

func asks(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != "" && v != "false"
	case []any:
		return len(v) > 0
	}
	return true
}

// New returns an account with what AWS puts into a new one.
func New(model *Model, opts Options) *Account {
	if opts.ID == "" {
		opts.ID = "123456789012"
	}
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	if len(opts.Zones) == 0 {
		opts.Zones = Zones(opts.Region)
	}
	a := &Account{opts: opts, now: opts.Now(), resources: map[string]map[string]*Resource{}, model: model}
	if model.Seed != nil {
		model.Seed(&Tx{a: a})
	}
	return a
}

// Zones are the zones that a region's accounts usually have.
func Zones(region string) []Zone {
	var zones []Zone
	for i, n := range zoneNumbers(region) {
		zones = append(zones, Zone{Name: fmt.Sprintf("%s%c", region, 'a'+i), ID: fmt.Sprintf("%s-az%d", zoneIDPrefix(region), n)})
	}
	return zones
}

// zoneNumbers are the numbers in a region's zone ids, in the order of the zone
// names of one account: they differ between accounts.
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
func zoneNumbers(region string) []int {
	switch region {
	case "us-east-1":
		return []int{1, 2, 3, 4, 5, 6}
	case "us-west-2", "ap-northeast-2":
		return []int{1, 2, 3, 4}
	case "us-west-1":
		return []int{1, 3}
	case "ca-central-1", "ap-northeast-1":
		return []int{1, 2, 4}
	}
	return []int{1, 2, 3}
}

// zoneIDPrefix shortens a region as zone ids do: us-east-1 is use1.
func zoneIDPrefix(region string) string {
	parts := strings.Split(region, "-")
	short := parts[0]
	for _, p := range parts[1 : len(parts)-1] {
		switch p {
		case "northeast":
			short += "ne"
		case "southeast":
			short += "se"
		case "northwest":
			short += "nw"
		case "southwest":
			short += "sw"
		case "gov":
			short += "g"
		default:
			short += p[:1]
		}
	}
	return short + parts[len(parts)-1]
}

// Do advances the account to the present and runs f on it, alone.
//
// A kept account, see [Account.Keep], returns when what f did is kept, whether
// f succeeded or not. When f panics, the account is free again, and what f did
// until then stays.
func (a *Account) Do(f func(tx *Tx) error) error {
	wait, err := a.do(f)
	if wait != nil {
		if lost := wait(); lost != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.keep.broken = lost
			return a.keep.refusal()
		}
	}
	return err
}

func (a *Account) do(f func(tx *Tx) error) (func() error, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watch != nil {
		defer a.watch()
	}
	if err := a.keep.refusal(); err != nil {
		return nil, err
	}
	if a.keep != nil {
		a.keep.looks = false
	}
	tx := &Tx{a: a}
	tx.advance(a.opts.Now())
	err := f(tx)
	wait, lost := a.kept(tx)
	if lost != nil {
		return nil, lost
	}
	return wait, err
}

// Watch has f called at the end of each [Account.Do], with the account held: it
// must not ask it. Clones are not watched.
func (a *Account) Watch(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watch = f
}

// Pending tells whether an operation is in flight: something that ends, or goes
// on, by itself and that somebody may wait for. It goes on after the time
// returned, which is zero or less if that is due. The calendar's events are no
// operations, nor is what idles.
func (a *Account) Pending() (after time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var next time.Time
	for _, e := range a.events {
		if !e.Calendar && !e.Idle && (!ok || e.At.Before(next)) {
			next, ok = e.At, true
		}
	}
	if ok {
		after = next.Sub(a.opts.Now())
	}
	return after, ok
}

// Clone forks the account as it is at this moment, with a clock of its own.
func (a *Account) Clone(now func() time.Time) *Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &Account{opts: a.opts, now: a.now, seq: a.seq, model: a.model, journal: slices.Clip(a.journal), resources: map[string]map[string]*Resource{}}
	c.opts.Now, c.opts.OnOperation = now, nil
	if a.breaker != nil {
		c.breaker = a.breaker.Fork()
	}
	c.events = make([]Event, len(a.events))
	for i, e := range a.events {
		e.Data, _ = Copy(e.Data).(map[string]any)
		c.events[i] = e
	}
	for t, byID := range a.resources {
		m := make(map[string]*Resource, len(byID))
		for id, r := range byID {
			m[id] = r.copy()
		}
		c.resources[t] = m
	}
	return c
}

// CloneWith is [Account.Clone], with the same clock, and with options that are set anew,
// such as who looks after targets. It must not set what the account was made with: id,
// region, zones.
func (a *Account) CloneWith(set func(*Options)) *Account {
	c := a.Clone(a.opts.Now)
	set(&c.opts)
	return c
}

func (r *Resource) copy() *Resource {
	c := *r
	c.Props, _ = Copy(r.Props).(map[string]any)
	c.Attrs, _ = Copy(r.Attrs).(map[string]any)
	c.Data, _ = Copy(r.Data).(map[string]any)
	c.Tags = maps.Clone(r.Tags)
	if r.State != nil {
		c.State = r.State.CloneState()
	}
	return &c
}

// Copy copies a JSON-like value deeply.
func Copy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = Copy(x)
		}
		return m
	case []any:
		if v == nil {
			return v
		}
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = Copy(x)
		}
		return l
	}
	return v
}

// Resources returns copies of all resources, by type and id: the account's
// dump, which two moments can be compared by.
func (a *Account) Resources() []*Resource {
	var all []*Resource
	_ = a.Do(func(tx *Tx) error {
		tx.Reads()
		for _, t := range slices.Sorted(maps.Keys(a.resources)) {
			for _, r := range a.ordered(t) {
				all = append(all, r.copy())
			}
		}
		return nil
	})
	return all
}
