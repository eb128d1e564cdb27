package fault

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// World is the account that a plan is at work on.
type World interface {
	// Do runs f on the account, alone.
	Do(f func(tx *account.Tx) error) error
	// Call makes an API call as somebody else.
	Call(tx *account.Tx, service, operation, caller string, in map[string]any) error
	// LoseZone takes an availability zone away, by name or id.
	LoseZone(tx *account.Tx, zone string) error
	// Now is the simulated present.
	Now() time.Time
}

// Options say how a plan is carried out.
type Options struct {
	// Seed decides which of several calls a share falls on, and how long IAM
	// takes.
	Seed uint64
	// Sleep passes simulated time, for slow answers. Nil answers at once.
	Sleep func(context.Context, time.Duration) error
	// Kill ends the process of a server, "s3" or "provider", that is started again
	// once it isn't [Injector.Down] any more. It must be safe for concurrent use.
	// Nil where there are none.
	Kill func(server string)
	// Fired is told of what happens, while the account may be held: it must
	// not ask the account. It must be safe for concurrent use. May be nil.
	Fired func(Firing)
}

// Firing is a fault that has happened.
type Firing struct {
	ID   string    `json:"id"`
	Kind string    `json:"kind"`
	Time time.Time `json:"time"` // simulated
	// What happened, and to what; Times counts how often so far.
	What  string `json:"what"`
	Times int    `json:"times"`
}

// Tally is how often a fault has happened.
type Tally struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Times int    `json:"times"`
	// First and Last say when, and What the first did.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	What  string    `json:"what,omitempty"`
}

// Injector is a plan at work. It is safe for concurrent use.
type Injector struct {
	plan Plan
	opts Options

	mu     sync.Mutex
	world  World
	start  time.Time
	states []state
}

// state is how far a fault is.
type state struct {
	begun time.Time // zero until its moment has come
	over  bool
	calls int // of its moment
	seen  int // occasions
	tally Tally
	// stacks are how many events of each stack were looked at.
	stacks map[string]int
	// met are the names that a lasting fault was met under.
	met map[string]bool
}

var _ account.Breaker = (*Injector)(nil)

// EventKind is the account event of faults that act by themselves.
const EventKind = "fault"

// New puts a plan to work; [Injector.Attach] starts it.
func New(p Plan, o Options) *Injector {
	i := &Injector{plan: p, opts: o, states: make([]state, len(p.Faults))}
	for n, f := range p.Faults {
		i.states[n] = state{tally: Tally{ID: f.ID, Kind: f.Kind()}, stacks: map[string]int{}, met: map[string]bool{}}
	}
	return i
}

// Attach binds the injector to its account. The first time is the start of the
// plan; a fork goes on.
func (i *Injector) Attach(w World) {
	i.mu.Lock()
	first := i.start.IsZero()
	i.world = w
	if first {
		i.start = w.Now()
	}
	i.mu.Unlock()
	if !first {
		return
	}
	// The account says that it is all right.
	_ = w.Do(func(tx *account.Tx) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.start = tx.Now()
		for _, r := range tx.List(stack.Type) {
			for n := range i.states {
				i.states[n].stacks[r.ID] = len(r.State.(*stack.Stack).Events)
			}
		}
		for n := range i.plan.Faults {
			if f := &i.plan.Faults[n]; f.When.Call == nil && f.When.Resource == nil {
				i.begin(tx, n)
			}
		}
		return nil
	})
}

// begin starts a fault: what acts by itself acts when its time has come. The
// caller holds mu.
func (i *Injector) begin(tx *account.Tx, n int) {
	f, s := &i.plan.Faults[n], &i.states[n]
	if !s.begun.IsZero() {
		return
	}
	s.begun = tx.Now().Add(f.When.After)
	if f.acts() {
		tx.After(f.When.After, account.Event{Calendar: true, Kind: EventKind, Data: map[string]any{"fault": f.ID}})
	}
	if f.Capacity != nil && f.For > 0 {
		// Who waits for capacity looks again when there is some.
		tx.After(f.When.After+f.For, account.Event{Calendar: true, Kind: EventKind, Data: map[string]any{"fault": f.ID, "end": true}})
	}
}

// active tells whether a fault can happen now. The caller holds mu.
func (i *Injector) active(n int, now time.Time) bool {
	f, s := &i.plan.Faults[n], &i.states[n]
	return !s.begun.IsZero() && !s.over && !now.Before(s.begun) &&
		(f.For == 0 || now.Before(s.begun.Add(f.For))) && (f.Times == Always || s.tally.Times < int(f.Times))
}

// strikes decides on one occasion of an active fault. The caller holds mu.
func (i *Injector) strikes(n int) bool {
	f, s := &i.plan.Faults[n], &i.states[n]
	s.seen++
	return f.Share >= 1 || i.draw(f.ID, fmt.Sprint(s.seen)) < f.Share
}

// draw is a number in [0, 1) that depends on the seed and the names only.
func (i *Injector) draw(names ...string) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d", i.opts.Seed)
	for _, n := range names {
		fmt.Fprintf(h, "|%s", n)
	}
	x := h.Sum64()
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}

// fired takes note of what has happened. The caller holds mu.
func (i *Injector) fired(n int, now time.Time, what string) {
	t := &i.states[n].tally
	t.Times++
	t.Last = now
	if t.Times == 1 {
		t.First, t.What = now, what
	}
	if i.opts.Fired != nil {
		i.opts.Fired(Firing{ID: t.ID, Kind: t.Kind, Time: now, What: what, Times: t.Times})
	}
}

// Tallies are how often each fault has happened, in the order of the plan.
func (i *Injector) Tallies() []Tally {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make([]Tally, len(i.states))
	for n := range i.states {
		out[n] = i.states[n].tally
	}
	return out
}

// SignIn gives the caller new credentials: what has expired is over. It tells
// whether there was something expired.
func (i *Injector) SignIn() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	any := false
	for n, f := range i.plan.Faults {
		if s := &i.states[n]; f.Expire != nil && !s.over && s.tally.Times > 0 {
			s.over, any = true, true
		}
	}
	return any
}

// Intercept breaks calls; see [wire.Options].
func (i *Injector) Intercept(r *http.Request, service, operation string) error {
	i.mu.Lock()
	w := i.world
	i.mu.Unlock()
	if w == nil {
		return nil
	}
	i.count(w, service, operation)
	delay, err := i.strike(w.Now(), service, operation)
	if delay > 0 && i.opts.Sleep != nil {
		// A client that has gone away isn't waited for.
		_ = i.opts.Sleep(r.Context(), delay)
	}
	return err
}

// count counts a call for the moments that wait for it.
func (i *Injector) count(w World, service, operation string) {
	var due []int
	i.mu.Lock()
	for n := range i.plan.Faults {
		c := i.plan.Faults[n].When.Call
		if c == nil || !matches(c.Service, service) || !matches(c.Operation, operation) {
			continue
		}
		if s := &i.states[n]; s.begun.IsZero() {
			if s.calls++; s.calls == c.Number {
				due = append(due, n)
			}
		}
	}
	i.mu.Unlock()
	if due == nil {
		return
	}
	_ = w.Do(func(tx *account.Tx) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, n := range due {
			i.begin(tx, n)
		}
		return nil
	})
}

// strike finds the fault that a call meets, if any, and how long it waits
// before it is carried out.
func (i *Injector) strike(now time.Time, service, operation string) (time.Duration, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	call := service + ":" + operation
	for n := range i.plan.Faults {
		f := &i.plan.Faults[n]
		hits := func(s, o string) bool {
			return matches(s, service) && matches(o, operation) && i.active(n, now) && i.strikes(n)
		}
		switch {
		case f.Throttle != nil && hits(f.Throttle.Service, f.Throttle.Operation):
			e := throttled(service)
			i.fired(n, now, call+" is refused: "+e.Code)
			return 0, e
		case f.Error != nil && hits(f.Error.Service, f.Error.Operation):
			e := &account.Error{Code: f.Error.Code, Message: f.Error.Message, Status: f.Error.Status}
			if e.Code == "" {
				e = broken(service, f.Error.Status)
			}
			i.fired(n, now, fmt.Sprintf("%s is answered with %d %s", call, e.Status, e.Code))
			return 0, e
		case f.Expire != nil && hits(f.Expire.Service, f.Expire.Operation):
			e := expired(service)
			i.fired(n, now, call+" is refused: "+e.Code)
			return 0, e
		case f.Cut != nil && hits(f.Cut.Service, f.Cut.Operation):
			if f.Cut.CarriedOut {
				i.fired(n, now, call+" is carried out, and its answer lost")
			} else {
				i.fired(n, now, call+" is cut off")
			}
			return 0, &wire.Fault{After: f.Cut.CarriedOut}
		case f.Crash != nil && f.Crash.Server == ServerS3 && hits("s3", ""):
			e := throttled(service)
			i.fired(n, now, fmt.Sprintf("%s is answered with %d %s", call, e.Status, e.Code))
			return 0, e
		case f.Lag != nil && f.Lag.Server == ServerS3 && f.Lag.Delay > 0 && hits("s3", ""):
			i.fired(n, now, fmt.Sprintf("%s is answered %s late", call, f.Lag.Delay))
			return f.Lag.Delay, nil
		case f.Slow != nil && hits(f.Slow.Service, f.Slow.Operation):
			i.fired(n, now, fmt.Sprintf("%s is answered %s late", call, f.Slow.By))
			if !f.Slow.CarriedOut {
				return f.Slow.By, nil
			}
			by, sleep := f.Slow.By, i.opts.Sleep
			return 0, &wire.Fault{After: true, Wait: func(ctx context.Context) {
				if sleep != nil {
					_ = sleep(ctx, by)
				}
			}}
		}
	}
	return 0, nil
}

// Fail implements [account.Breaker].
func (i *Injector) Fail(tx *account.Tx, r *account.Resource, op string, late bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.world == nil {
		return nil
	}
	now := tx.Now()
	for n := range i.plan.Faults {
		f := &i.plan.Faults[n]
		switch {
		case f.Fail != nil && f.Fail.Late == late && f.Fail.hits(tx, r, op) && i.active(n, now) && i.strikes(n):
			i.fired(n, now, fmt.Sprintf("%s of %s fails: %s", op, name(r), f.Fail.Code))
			return &account.Error{Code: f.Fail.Code, Message: f.Fail.Message, Status: f.Fail.Status}
		case f.Quota != nil && !late && op == "create" && i.active(n, now):
			q, _ := quotaNamed(f.Quota.Name)
			if q.typ == "" || q.typ != r.Type || q.count(tx, r) < f.Quota.Value {
				continue
			}
			i.fired(n, now, fmt.Sprintf("%s is refused: quota of %d %s", name(r), f.Quota.Value, q.says))
			return q.refuse(f.Quota.Value)
		case f.Propagation != nil && op == "create" && i.active(n, now):
			if err := i.propagate(tx, n, r, late); err != nil {
				return err
			}
		}
	}
	return nil
}

// hits tells whether a failure is meant for an operation.
func (f *Fail) hits(tx *account.Tx, r *account.Resource, op string) bool {
	if !matches(f.Type, r.Type) || !matches(f.Resource, r.LogicalID) {
		return false
	}
	name, rolls := stackOf(tx, r)
	if !matches(f.Stack, name) || (f.Stack != "" || f.Resource != "") && name == "" {
		return false
	}
	if rolls {
		op = "rollback"
	}
	return slices.Contains(f.On, op)
}

// stackOf is the name of a resource's stack, and whether it is being rolled
// back; "" for what is in none.
func stackOf(tx *account.Tx, r *account.Resource) (name string, rolls bool) {
	_, rest, ok := strings.Cut(r.Owner, ":stack/")
	if !ok {
		return "", false
	}
	name, _, _ = strings.Cut(rest, "/")
	if st := tx.Get(stack.Type, r.Owner); st != nil {
		rolls = strings.Contains(st.Status, "ROLLBACK")
	}
	return name, rolls
}

// name is how a resource is called in reports.
func name(r *account.Resource) string {
	_, rest, ok := strings.Cut(r.Owner, ":stack/")
	if !ok || r.LogicalID == "" {
		return strings.TrimSpace(r.Type + " " + r.ID)
	}
	stack, _, _ := strings.Cut(rest, "/")
	return stack + "/" + r.LogicalID
}

// count is how many there are of what a quota counts.
func (q quota) count(tx *account.Tx, r *account.Resource) int {
	count := 0
	for _, x := range tx.List(q.typ) {
		if q.per == "" || x.Props[q.per] == r.Props[q.per] {
			count++
		}
	}
	return count
}

func (q quota) refuse(value int) *account.Error {
	message := q.detail
	if strings.Contains(message, "%d") {
		message = fmt.Sprintf(message, value)
	}
	return &account.Error{Code: q.refusal, Message: message, Status: q.status}
}

// typeInstance is the account's type of EC2 instances.
const typeInstance = "ec2:instance"

// Launch implements [account.Breaker].
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func (i *Injector) Launch(tx *account.Tx, instanceType string, vcpus int, zone account.Zone) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.world == nil {
		return nil
	}
	now := tx.Now()
	for n := range i.plan.Faults {
		f := &i.plan.Faults[n]
		switch {
		case f.Capacity != nil && matches(f.Capacity.InstanceType, instanceType) && (matches(f.Capacity.Zone, zone.Name) || matches(f.Capacity.Zone, zone.ID)) && i.active(n, now):
			i.fired(n, now, fmt.Sprintf("no %s to be had in %s", instanceType, zone.Name))
			return account.Errorf("InsufficientInstanceCapacity", "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s).", instanceType, zone.Name)
		case f.Quota != nil && i.active(n, now):
			q, _ := quotaNamed(f.Quota.Name)
			if q.family == "" || !q.covers(instanceType) || i.running(tx, q, instanceType, vcpus) <= f.Quota.Value {
				continue
			}
			i.fired(n, now, fmt.Sprintf("%s is refused: quota of %d %s", instanceType, f.Quota.Value, q.says))
			return q.refuse(f.Quota.Value)
		}
	}
	return nil
}

// covers tells whether a quota is that of an instance type.
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
func (q quota) covers(instanceType string) bool {
	family := strings.TrimRight(strings.SplitN(instanceType, ".", 2)[0], "abcdefghijklmnopqrstuvwxyz-")
	family = strings.TrimRight(family, "0123456789")
	return slices.Contains(strings.Split(q.family, ","), family)
}

// running are the vCPUs of a quota that would be in use.
func (i *Injector) running(tx *account.Tx, q quota, instanceType string, vcpus int) int {
	sum := vcpus
	for _, r := range tx.List(typeInstance) {
		t, _ := r.Props["InstanceType"].(string)
		if n, ok := r.Data["vcpus"].(int); ok && q.covers(t) && r.Status != "terminated" && r.Status != "shutting-down" {
			sum += n
		}
	}
	return sum
}

// Lingers implements [account.Breaker].
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func (i *Injector) Lingers(tx *account.Tx, r *account.Resource) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.world == nil {
		return 0
	}
	now := tx.Now()
	requester, _ := r.Data["requester"].(string)
	for n := range i.plan.Faults {
		f := &i.plan.Faults[n]
		if f.Interfaces == nil || !i.active(n, now) || !slices.ContainsFunc(owners, func(o struct{ name, requester string }) bool {
			return o.requester == requester && matches(f.Interfaces.Of, o.name)
		}) {
			continue
		}
		if f.Interfaces.Stay == Forever {
			i.fired(n, now, r.ID+" stays until somebody deletes it")
			return -1
		}
		i.fired(n, now, fmt.Sprintf("%s stays for %s", r.ID, time.Duration(f.Interfaces.Stay)))
		return time.Duration(f.Interfaces.Stay)
	}
	return 0
}

// typeRole is CloudFormation's type of IAM roles.
const typeRole = "AWS::IAM::Role"

// propagate makes a stack's role ready only when other services know it, and
// refuses what names one that they don't know yet.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
func (i *Injector) propagate(tx *account.Tx, n int, r *account.Resource, late bool) error {
	now := tx.Now()
	if late {
		if r.Type != typeRole || !strings.Contains(r.Owner, ":stack/") {
			return nil
		}
		if wait := i.known(n, r).Sub(now); wait > 0 {
			i.fired(n, now, fmt.Sprintf("%s is known only %s later", name(r), wait.Round(time.Second)))
			return account.Later(wait)
		}
		return nil
	}
	for _, role := range tx.List(typeRole) {
		arn, _ := role.Attrs["Arn"].(string)
		// A stack's own roles are waited for.
		if strings.Contains(role.Owner, ":stack/") || !i.known(n, role).After(now) || arn == "" || !mentions(r.Props, arn) {
			continue
		}
		i.fired(n, now, fmt.Sprintf("%s is refused: role %s is not known yet", name(r), role.ID))
		switch r.Type {
		case "AWS::KMS::Key":
			return account.Errorf("MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
		case "AWS::S3::BucketPolicy":
			return account.Errorf("MalformedPolicy", "Invalid principal in policy")
		case "AWS::IAM::Role":
			return account.Errorf("MalformedPolicyDocument", "Invalid principal in policy: \"AWS\":\"%s\"", arn)
		}
		return account.Errorf("InvalidParameterException", "The role with name %s cannot be found.", role.ID)
	}
	return nil
}

// known is when other services know a role.
func (i *Injector) known(n int, role *account.Resource) time.Time {
	takes := i.plan.Faults[n].Propagation.Takes
	return role.Created.Add(time.Duration(float64(takes) * (0.5 + i.draw("role", role.ID)/2)))
}

// mentions tells whether a text occurs in a value.
func mentions(v any, text string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, text)
	case map[string]any:
		for _, x := range v {
			if mentions(x, text) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return mentions(x, text) })
	}
	return false
}

// Fork implements [account.Breaker]. The fork tells nobody.
func (i *Injector) Fork() account.Breaker {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := &Injector{plan: i.plan, opts: i.opts, start: i.start, states: slices.Clone(i.states)}
	c.opts.Fired, c.opts.Kill = nil, nil
	for n := range c.states {
		c.states[n].stacks, c.states[n].met = maps.Clone(c.states[n].stacks), maps.Clone(c.states[n].met)
	}
	return c
}

// Of is the injector at work on an account, or nil.
func Of(tx *account.Tx) *Injector {
	i, _ := tx.Breaker().(*Injector)
	return i
}
