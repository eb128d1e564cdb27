package account

import (
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

// Tx is the account while a request or an event works on it. It is valid only
// inside the function it was handed to.
type Tx struct {
	a *Account
	// Caller is the principal's ARN of the request, or the service that acts.
	Caller string
	// Session is what the caller's credentials carry beyond its ARN; nil for
	// those that last, and where AWS acts.
	Session *Session
	// Origin is where the request comes from; nil where nobody asks, as when an
	// operation goes on later.
	Origin *Origin
	// Patient tells that who acts asks again until IAM's latest changes are seen
	// everywhere, as CloudFormation's handlers do.
	Patient bool

	reads bool // see Reads
}

// Session is what temporary credentials carry. It never changes.
type Session struct {
	// Operation is the operation of STS that made the credentials.
	Operation string
	// Entity is the unique id of the role or user whose session it is.
	Entity string
	// Policies are the session policies, as JSON text: they allow nothing by
	// themselves and limit what the session may do.
	Policies []string
	// Tags are the session's, and SourceIdentity who was behind its beginning.
	Tags           map[string]string
	SourceIdentity string
	// Provider is the ARN of the identity provider of a federated session.
	Provider string
	// Issued is when the credentials were made.
	Issued time.Time
}

// Origin is where a request comes from, for the condition keys that tell.
type Origin struct {
	SourceIP, UserAgent, Region string
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

// IssuerKeys are an OpenID Connect issuer's public keys.
func (tx *Tx) IssuerKeys(issuer string) ([]byte, error) {
	if f := tx.a.opts.IssuerKeys; f != nil {
		return f(issuer)
	}
	return nil, fmt.Errorf("the sandbox reaches no issuer")
}

// Body is what a data plane outside of the account holds by a name.
func (tx *Tx) Body(name string, size int64) (string, error) {
	if f := tx.a.opts.Body; f != nil {
		return f(name, size)
	}
	return "", errors.New("the sandbox was started without it")
}

// Secret is what temporary credentials are made from.
func (tx *Tx) Secret() string { return tx.a.opts.Secret }

// Policies are the resource-based policies of what an ARN names.
func (tx *Tx) Policies(arn string) []*policy.Document {
	_, rest, _ := strings.Cut(strings.TrimPrefix(arn, "arn:"), ":")
	service, _, _ := strings.Cut(rest, ":")
	if f := tx.a.model.Policies[service]; f != nil {
		return f(tx, arn)
	}
	return nil
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
func (tx *Tx) Get(typ, id string) *Resource {
	r := tx.a.resources[typ][id]
	if r != nil {
		tx.a.keep.look(typ, id)
	}
	return r
}

// List returns the resources of a type by id.
func (tx *Tx) List(typ string) []*Resource {
	list := slices.Clone(tx.a.ordered(typ))
	tx.a.keep.lookAll(typ, list)
	return list
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
// nil. Match must not put or drop any of that type.
func (tx *Tx) Find(typ string, match func(*Resource) bool) *Resource {
	for _, r := range tx.a.ordered(typ) {
		if match(r) {
			tx.a.keep.look(typ, r.ID)
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
	tx.put(r)
}

func (tx *Tx) put(r *Resource) {
	tx.a.keep.touch(r.Type, r.ID)
	m := tx.a.resources[r.Type]
	if m == nil {
		m = map[string]*Resource{}
		tx.a.resources[r.Type] = m
	}
	_, had := m[r.ID]
	m[r.ID] = r
	tx.a.enter(r, !had)
}

// Drop removes a resource at once, without asking its type.
func (tx *Tx) Drop(typ, id string) {
	tx.a.leave(typ, id)
	tx.a.keep.touch(typ, id)
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
	if err := tx.failure(r, "create", false); err != nil {
		return nil, 0, err
	}
	defer func(before bool) { tx.Patient = before }(tx.Patient)
	tx.Patient = tx.Patient || logicalID != ""
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
	tx.began(r)
	return r, tx.Duration(r, "create"), nil
}

// Name is the name that CloudFormation gives a resource whose template names
// none: stack, logical id and random characters, cut to fit.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-name.html
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
	if err := tx.failure(r, "update", false); err != nil {
		return 0, err
	}
	t := tx.Type(r.Type)
	if t.Update != nil {
		if err := t.Update(tx, r, next); err != nil {
			return 0, err
		}
	}
	r.Props = next
	tx.a.again(r)
	tx.began(r)
	d := tx.Duration(r, "update")
	if settle {
		tx.After(d, Event{Type: r.Type, ID: r.ID, Data: map[string]any{"op": "update"}})
	}
	return d, nil
}

// Delete starts the deletion of a resource.
func (tx *Tx) Delete(r *Resource, settle bool) (time.Duration, error) {
	if err := tx.failure(r, "delete", false); err != nil {
		return 0, err
	}
	was := r.Status
	if t := tx.Type(r.Type); t != nil && t.Delete != nil {
		if err := t.Delete(tx, r); err != nil {
			return 0, err
		}
	}
	if strings.EqualFold(r.Status, "deleting") && !strings.EqualFold(was, "deleting") {
		r.Data[statusBefore] = was
	}
	tx.began(r)
	d := tx.Duration(r, "delete")
	if settle {
		tx.After(d, Event{Type: r.Type, ID: r.ID, Data: map[string]any{"op": "delete"}})
	}
	return d, nil
}

// Settle ends an operation that was started with settle false.
func (tx *Tx) Settle(r *Resource, op string) error {
	err := tx.settle(r, op)
	if err == nil {
		tx.ended(r, op)
	}
	return err
}

func (tx *Tx) settle(r *Resource, op string) error {
	// An update that is made to fail leaves a resource that is ready again.
	if op != "update" {
		if err := tx.failure(r, op, true); err != nil {
			if _, later := errors.AsType[Later](err); !later && op == "delete" {
				tx.undeleted(r)
			}
			return err
		}
	}
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
		err := t.Settle(tx, r, op)
		tx.a.again(r)
		if err != nil {
			return err
		}
	}
	if op == "update" {
		return tx.failure(r, op, true)
	}
	return nil
}

// statusBefore is where a resource that is being deleted keeps the status that it
// had before.
const statusBefore = "statusBeforeDeletion"

// undeleted is what becomes of a resource whose deletion failed half-way: EKS says so of
// node groups and add-ons by a status; elsewhere it is there as before, and can be deleted
// again.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Nodegroup.html
func (tx *Tx) undeleted(r *Resource) {
	if !strings.EqualFold(r.Status, "deleting") {
		return
	}
	was, _ := r.Data[statusBefore].(string)
	delete(r.Data, statusBefore)
	t := tx.Type(r.Type)
	if r.Status == "DELETING" && (t == nil || !t.Restored) {
		was = "DELETE_FAILED"
	}
	r.Status = was
}

// After schedules an event.
func (tx *Tx) After(d time.Duration, e Event) {
	e.At = tx.Now().Add(d)
	tx.a.seq++
	e.Seq = tx.a.seq
	heap.Push((*eventHeap)(&tx.a.events), e)
	if k := tx.a.keep; k != nil {
		k.added = append(k.added, e)
	}
}

// Stir says that something came from outside: what idles is an operation again
// until it has looked, at the time it would have looked anyway.
func (tx *Tx) Stir() {
	for i := range tx.a.events {
		e := &tx.a.events[i]
		if !e.Idle {
			continue
		}
		e.Idle = false
		if k := tx.a.keep; k != nil {
			k.added = append(k.added, *e) // takes the place of the one kept
		}
	}
}

// advance applies all events due until now.
func (tx *Tx) advance(now time.Time) {
	for len(tx.a.events) > 0 && !tx.a.events[0].At.After(now) {
		e := heap.Pop((*eventHeap)(&tx.a.events)).(Event)
		if k := tx.a.keep; k != nil {
			k.over = append(k.over, e.Seq)
		}
		if e.At.After(tx.a.now) {
			tx.a.now = e.At
		}
		if e.Kind == "" {
			if r := tx.Get(e.Type, e.ID); r != nil {
				var later Later
				if err := tx.Settle(r, fmt.Sprint(e.Data["op"])); errors.As(err, &later) {
					e.Idle = IsOutside(err)
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
