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
	events    []Event                         // a heap by At, then Seq
	seq       int
	journal   []Entry // in order of time
	model     *Model
}

// Model is the account's behaviour: its resource types and event handlers. It
// is immutable and shared by clones.
type Model struct {
	Types  map[string]*Type
	Events map[string]func(*Tx, Event)
	// Seed fills a new account with what AWS puts into it.
	Seed func(*Tx)
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

// State is typed state of a resource.
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
	Seq  int // order among events of one time, set by Tx.At
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
	Settle func(tx *Tx, r *Resource, op string) error
	// Delete refuses, with the service's own error, while something depends
	// on r; otherwise marks it as being deleted. Nil means always possible.
	// r.Data["DeletionPolicy"] is "Snapshot" if a stack wants a final snapshot.
	Delete func(tx *Tx, r *Resource) error
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
// the sandbox has no behaviour for.
func Unmodelled(typ string, p map[string]any, properties ...string) error {
	for _, k := range properties {
		if p[k] != nil {
			return NotModelled("%s of %s is not modelled by the sandbox", k, typ)
		}
	}
	return nil
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
		for i, n := range zoneNumbers(opts.Region) {
			opts.Zones = append(opts.Zones, Zone{Name: fmt.Sprintf("%s%c", opts.Region, 'a'+i), ID: fmt.Sprintf("%s-az%d", zoneIDPrefix(opts.Region), n)})
		}
	}
	a := &Account{opts: opts, now: opts.Now(), resources: map[string]map[string]*Resource{}, model: model}
	if model.Seed != nil {
		model.Seed(&Tx{a: a})
	}
	return a
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
func (a *Account) Do(f func(tx *Tx) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	tx := &Tx{a: a}
	tx.advance(a.opts.Now())
	return f(tx)
}

// Clone forks the account as it is at this moment, with a clock of its own.
func (a *Account) Clone(now func() time.Time) *Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &Account{opts: a.opts, now: a.now, seq: a.seq, model: a.model, journal: slices.Clip(a.journal), resources: map[string]map[string]*Resource{}}
	c.opts.Now = now
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
		for _, t := range slices.Sorted(maps.Keys(a.resources)) {
			for _, r := range tx.List(t) {
				all = append(all, r.copy())
			}
		}
		return nil
	})
	return all
}
