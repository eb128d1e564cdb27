package account

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

// Tx is the account while a request or an event works on it. It is valid only
// inside the function it was handed to.
type Tx struct {
	a *Account
	// Caller is the principal's ARN of the request, or the service that acts.
	Caller string
}

// Now is the simulated present.
func (tx *Tx) Now() time.Time { return tx.a.now }

// AccountID, Region and Partition name where the account is.
func (tx *Tx) AccountID() string { return tx.a.opts.ID }

// Region is the account's region.
func (tx *Tx) Region() string { return tx.a.opts.Region }

// Partition is the partition of the region: aws, aws-us-gov or aws-cn.
func (tx *Tx) Partition() string { return partition(tx.a.opts.Region) }

func partition(region string) string {
	switch {
	case len(region) > 7 && region[:7] == "us-gov-":
		return "aws-us-gov"
	case len(region) > 3 && region[:3] == "cn-":
		return "aws-cn"
	}
	return "aws"
}

// Zones are the region's zones in order.
func (tx *Tx) Zones() []Zone { return tx.a.opts.Zones }

// Fresh tells that the account was never used before.
func (tx *Tx) Fresh() bool { return tx.a.opts.Fresh }

// KubernetesEndpoint is where a new cluster's API answers.
func (tx *Tx) KubernetesEndpoint(cluster, usual string) string {
	if f := tx.a.opts.KubernetesEndpoint; f != nil {
		return f(cluster, usual)
	}
	return usual
}

// SessionStream is where a session's data channel is.
func (tx *Tx) SessionStream(session, usual string) string {
	if f := tx.a.opts.SessionStream; f != nil {
		return f(session, usual)
	}
	return usual
}

// ARN builds an ARN in this account: service, whether the region and the
// account are part of it, and the resource part.
func (tx *Tx) ARN(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", tx.Partition(), service, tx.Region(), tx.AccountID(), resource)
}

// GlobalARN is an ARN without region, as IAM's are.
func (tx *Tx) GlobalARN(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s::%s:%s", tx.Partition(), service, tx.AccountID(), resource)
}

// Type returns the behaviour of a resource type, or nil.
func (tx *Tx) Type(name string) *Type { return tx.a.model.Types[name] }

// Get returns a resource, or nil. It may be changed in place.
func (tx *Tx) Get(typ, id string) *Resource { return tx.a.resources[typ][id] }

// List returns the resources of a type by id.
func (tx *Tx) List(typ string) []*Resource {
	return slices.SortedFunc(maps.Values(tx.a.resources[typ]), func(a, b *Resource) int { return cmp.Compare(a.ID, b.ID) })
}

// Read returns the properties that a resource has now, as CloudFormation's
// read handler does; nil if the handler finds it no more.
func (tx *Tx) Read(r *Resource) map[string]any {
	if t := tx.Type(r.Type); t != nil && t.Read != nil {
		return t.Read(tx, r)
	}
	return r.Props
}

// Find returns the first resource of the type, by id, that match accepts, or
// nil.
func (tx *Tx) Find(typ string, match func(*Resource) bool) *Resource {
	for _, r := range tx.List(typ) {
		if match(r) {
			return r
		}
	}
	return nil
}

// Put stores a resource that AWS or a service makes by itself, at once.
func (tx *Tx) Put(r *Resource) {
	if r.Created.IsZero() {
		r.Created = tx.Now()
	}
	m := tx.a.resources[r.Type]
	if m == nil {
		m = map[string]*Resource{}
		tx.a.resources[r.Type] = m
	}
	m[r.ID] = r
}

// Drop removes a resource at once, without asking its type.
func (tx *Tx) Drop(typ, id string) {
	delete(tx.a.resources[typ], id)
	if len(tx.a.resources[typ]) == 0 {
		delete(tx.a.resources, typ)
	}
}

// Create makes a resource of a known type and starts its creation. The time it
// takes is returned; when it is over, the resource is settled by an event
// unless the caller does that itself (settle false), as CloudFormation's
// engine does with [Tx.Settle].
func (tx *Tx) Create(typ string, props map[string]any, owner string, settle bool) (*Resource, time.Duration, error) {
	r, d, err := tx.CreateInStack(typ, props, owner, "")
	if err == nil && settle {
		tx.After(d, Event{Type: typ, ID: r.ID, Data: map[string]any{"op": "create"}})
	}
	return r, d, err
}

// CreateInStack is [Tx.Create] for a stack's resource: it knows its logical id
// and is settled by the caller.
func (tx *Tx) CreateInStack(typ string, props map[string]any, stack, logicalID string) (*Resource, time.Duration, error) {
	t := tx.Type(typ)
	if t == nil {
		return nil, 0, NotModelled("resource type %s is not modelled by the sandbox", typ)
	}
	r := &Resource{Type: typ, Props: props, Attrs: map[string]any{}, Data: map[string]any{}, Tags: map[string]string{}, Created: tx.Now(), Owner: stack, LogicalID: logicalID}
	if err := t.Create(tx, r); err != nil {
		return nil, 0, err
	}
	if r.ID == "" {
		return nil, 0, fmt.Errorf("type %s gave no physical id", typ)
	}
	if tx.Get(typ, r.ID) != nil {
		return nil, 0, Errorf("AlreadyExists", "%s already exists", r.ID)
	}
	tx.Put(r)
	return r, tx.Duration(r, "create"), nil
}

// Name is the name that CloudFormation gives a resource whose template names
// none: stack, logical id and random characters, cut to fit.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-arn-name.html
func (tx *Tx) Name(r *Resource, limit int) string {
	const suffix = 12
	parts := []string{r.LogicalID}
	if _, rest, ok := strings.Cut(r.Owner, ":stack/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		parts = []string{name, r.LogicalID}
	}
	if r.LogicalID == "" {
		parts = []string{r.Type[strings.LastIndex(r.Type, ":")+1:]}
	}
	// Both parts give way alike, so that each stays recognisable.
	room := (limit - suffix - len(parts)) / len(parts)
	for i, p := range parts {
		if over := len(strings.Join(parts, "-")) + 1 + suffix - limit; over > 0 {
			parts[i] = strings.TrimRight(p[:max(len(p)-over, min(room, len(p)), 0)], "-")
		}
	}
	return strings.Join(append(parts, strings.ToUpper(tx.HexID(suffix))), "-")
}

// Update moves a resource to other properties.
func (tx *Tx) Update(r *Resource, next map[string]any, settle bool) (time.Duration, error) {
	t := tx.Type(r.Type)
	if t.Update != nil {
		if err := t.Update(tx, r, next); err != nil {
			return 0, err
		}
	}
	r.Props = next
	d := tx.Duration(r, "update")
	if settle {
		tx.After(d, Event{Type: r.Type, ID: r.ID, Data: map[string]any{"op": "update"}})
	}
	return d, nil
}

// Delete starts the deletion of a resource.
func (tx *Tx) Delete(r *Resource, settle bool) (time.Duration, error) {
	if t := tx.Type(r.Type); t != nil && t.Delete != nil {
		if err := t.Delete(tx, r); err != nil {
			return 0, err
		}
	}
	d := tx.Duration(r, "delete")
	if settle {
		tx.After(d, Event{Type: r.Type, ID: r.ID, Data: map[string]any{"op": "delete"}})
	}
	return d, nil
}

// Settle ends an operation that was started with settle false.
func (tx *Tx) Settle(r *Resource, op string) error {
	t := tx.Type(r.Type)
	if op == "delete" {
		// A type may keep its resource, as KMS keeps keys until their window
		// is over: it then says so by the status it set in Delete.
		if r.Data["stays"] != true {
			tx.Drop(r.Type, r.ID)
		}
		if t != nil && t.Gone != nil {
			t.Gone(tx, r)
		}
		return nil
	}
	if t != nil && t.Settle != nil {
		return t.Settle(tx, r, op)
	}
	return nil
}

// After schedules an event.
func (tx *Tx) After(d time.Duration, e Event) {
	e.At = tx.Now().Add(d)
	tx.a.seq++
	e.Seq = tx.a.seq
	heap.Push((*eventHeap)(&tx.a.events), e)
}

// advance applies all events due until now.
func (tx *Tx) advance(now time.Time) {
	for len(tx.a.events) > 0 && !tx.a.events[0].At.After(now) {
		e := heap.Pop((*eventHeap)(&tx.a.events)).(Event)
		if e.At.After(tx.a.now) {
			tx.a.now = e.At
		}
		if e.Kind == "" {
			if r := tx.Get(e.Type, e.ID); r != nil {
				var later Later
				if err := tx.Settle(r, fmt.Sprint(e.Data["op"])); errors.As(err, &later) {
					tx.After(time.Duration(later), e)
				} else if err != nil {
					r.Data["failure"] = err.Error()
				}
			}
			continue
		}
		if f := tx.a.model.Events[e.Kind]; f != nil {
			f(tx, e)
		}
	}
	if now.After(tx.a.now) {
		tx.a.now = now
	}
}

// HexID returns a new id of n hexadecimal digits, the same for the same seed
// and order of requests.
func (tx *Tx) HexID(n int) string {
	tx.a.seq++
	h := fnv.New64a()
	var id string
	for i := 0; len(id) < n; i++ {
		h.Reset()
		fmt.Fprintf(h, "%d/%d/%d", tx.a.opts.Seed, tx.a.seq, i)
		id += fmt.Sprintf("%016x", mix(h.Sum64()))
	}
	return id[:n]
}

// UUID is a new id in the form of a UUID.
func (tx *Tx) UUID() string {
	h := tx.HexID(32)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// mix spreads nearby values over all bits (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

type eventHeap []Event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].At.Equal(h[j].At) {
		return h[i].Seq < h[j].Seq
	}
	return h[i].At.Before(h[j].At)
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(Event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
