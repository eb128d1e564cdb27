package stack

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/drift"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Drift statuses of resources and stacks.
const (
	InSync     = "IN_SYNC"
	Modified   = "MODIFIED"
	Gone       = "DELETED"
	NotChecked = "NOT_CHECKED"
	Drifted    = "DRIFTED"
)

// Drift is what a detection found of a resource. It never changes.
type Drift struct {
	Status      string
	At          time.Time
	Differences []drift.Difference
	// Expected and Actual are the properties that were compared; nil for a
	// resource that is gone.
	Expected, Actual map[string]any
}

// Detection is one drift detection on the whole of a stack.
type Detection struct {
	ID string
	At time.Time
	// Only are the logical ids to check; empty means all.
	Only []string
	// Done tells that it is over; Drifted is how many resources it found.
	Done    bool
	Drifted int
	// Failed is why it can't tell of some resource; empty if it can of all.
	Failed string

	caller  string
	session *account.Session
}

// DriftKind is the account event that ends drift detections.
const DriftKind = "cloudformation:drift"

// How long a detection takes: AWS says only that it depends on the number of
// resources. Ours, for want of a published figure.
const (
	detectionBase = 5 * time.Second
	detectionEach = 500 * time.Millisecond
)

// DetectionTime is how long it takes to look at so many resources.
func DetectionTime(resources int) time.Duration {
	return detectionBase + time.Duration(resources)*detectionEach
}

// keptDetections is how many detections a stack remembers.
const keptDetections = 10

// Detecting tells that a detection is under way.
func (s *Stack) Detecting() bool {
	return slices.ContainsFunc(s.Detections, func(d Detection) bool { return !d.Done })
}

// Checked is the latest detection that is over, or nil.
func (s *Stack) Checked() *Detection {
	for i := len(s.Detections) - 1; i >= 0; i-- {
		if s.Detections[i].Done {
			return &s.Detections[i]
		}
	}
	return nil
}

// DriftStatus is the stack's own, by its resources' last ones.
func (s *Stack) DriftStatus() string {
	checked := false
	for _, r := range s.Resources {
		switch {
		case r.Drift == nil:
		case r.Drift.Status == Modified || r.Drift.Status == Gone:
			return Drifted
		default:
			checked = true
		}
	}
	if checked {
		return InSync
	}
	return NotChecked
}

// FindDetection finds the stack of a detection.
func FindDetection(tx *account.Tx, id string) (*Stack, *Detection) {
	for _, st := range All(tx) {
		for i := range st.Detections {
			if st.Detections[i].ID == id {
				return st, &st.Detections[i]
			}
		}
	}
	return nil, nil
}

// Detect starts a drift detection and returns its id.
func (e *Engine) Detect(only []string) string {
	d := Detection{ID: e.tx.UUID(), At: e.tx.Now(), Only: only, caller: e.tx.Caller, session: e.tx.Session}
	n := len(only)
	if n == 0 {
		n = len(e.Stack.Resources)
	}
	e.Stack.Detections = append(e.Stack.Detections, d)
	if over := len(e.Stack.Detections) - keptDetections; over > 0 {
		e.Stack.Detections = slices.Clone(e.Stack.Detections[over:])
	}
	e.tx.After(DetectionTime(n), account.Event{Kind: DriftKind, Type: Type, ID: e.Stack.ID, Data: map[string]any{"id": d.ID}})
	return d.ID
}

// HandleDrift is the handler of [DriftKind].
func HandleDrift(tx *account.Tx, ev account.Event) {
	r := tx.Get(ev.Type, ev.ID)
	if r == nil {
		return
	}
	e := open(tx, r)
	for i := range e.Stack.Detections {
		d := &e.Stack.Detections[i]
		if d.ID != ev.Data["id"] || d.Done {
			continue
		}
		d.Done = true
		defer func(caller string, session *account.Session) { tx.Caller, tx.Session = caller, session }(tx.Caller, tx.Session)
		tx.Caller, tx.Session = d.caller, d.session
		for _, id := range slices.Sorted(maps.Keys(e.Stack.Resources)) {
			if len(d.Only) > 0 && !slices.Contains(d.Only, id) {
				continue
			}
			x, err := e.Check(id)
			if err != nil {
				// The results of the others are available all the same.
				d.Failed = "Failed to detect drift on resource [" + id + "]. " + Message(err)
			} else if x != nil && x.Status != InSync {
				d.Drifted++
			}
		}
	}
}

// Check looks for drift of one resource, with the caller's permission to read
// it; nil if it can't be checked.
func (e *Engine) Check(id string) (*Drift, error) {
	r := e.Stack.Resources[id]
	if r == nil || r.Physical == "" || facts.ReadableType(r.Def.Type.Name) == nil {
		return nil, nil
	}
	if real := e.tx.Get(r.Def.Type.Name, r.Physical); real != nil {
		c := account.Change{Type: r.Def.Type.Name, Handler: "read", Resource: real, Props: r.Props, Stack: e.Stack.Name, LogicalID: id}
		if err := e.tx.Permit(c); err != nil {
			return nil, err
		}
	}
	found := &Drift{Status: InSync, At: e.tx.Now()}
	live := r.Live(e.tx)
	if live == nil {
		found.Status = Gone
	} else {
		found.Differences = drift.Compare(r.Def.Type, r.Props, live)
		found.Expected, found.Actual = map[string]any{}, map[string]any{}
		for k, v := range r.Props {
			found.Expected[k] = account.Copy(v)
			if x, ok := live[k]; ok {
				found.Actual[k] = account.Copy(x)
			}
		}
		if len(found.Differences) > 0 {
			found.Status = Modified
		}
	}
	r.Drift = found
	return found, nil
}

// Live are the properties that a resource has now, as CloudFormation reads
// them: without the tags that it put there itself. It is nil for a resource
// that is gone.
func (r *Resource) Live(tx *account.Tx) map[string]any {
	real := tx.Get(r.Def.Type.Name, r.Physical)
	if real == nil {
		return nil
	}
	live := maps.Clone(tx.Read(real))
	tg := r.Def.Type.Tagging()
	if live == nil || tg.Property == "" || r.Def.Type.Name == "AWS::AutoScaling::AutoScalingGroup" {
		// An Auto Scaling group's tags say more than keys and values.
		return live
	}
	own := map[string]string{}
	for k, v := range real.Tags {
		if put, ok := r.tags[k]; strings.HasPrefix(k, "aws:") || ok && put == v {
			continue
		}
		own[k] = v
	}
	if _, isMap := r.Props[tg.Property].(map[string]any); isMap {
		m := make(map[string]any, len(own))
		for k, v := range own {
			m[k] = v
		}
		live[tg.Property] = m
		return live
	}
	live[tg.Property] = props.Pairs(own)
	return live
}

// managed tells that AWS may change a property by itself, so that its drift is
// left alone: minor upgrades, which AWS names, and storage autoscaling, which
// its list of examples leaves open. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
func managed(typ, property string, p map[string]any) bool {
	if typ != "AWS::RDS::DBInstance" {
		return false
	}
	return property == "EngineVersion" && props.Bool(p, true, "AutoMinorVersionUpgrade") || property == "AllocatedStorage" && props.Has(p, "MaxAllocatedStorage")
}

// Reverted are the differences that a deployment which reverts drift puts
// right, and the properties whose drift it ignores because AWS manages them.
// What can't be changed in place is left alone, and so are foreign tags.
func Reverted(r *Resource, desired, live map[string]any) (put []drift.Difference, ignored []string) {
	t := r.Def.Type
	for _, d := range drift.Compare(t, desired, live) {
		name := d.Property()
		_, changed := slices.BinarySearch(Changed(r.Props, desired), name)
		switch {
		case t.Replace(name) == "yes":
		case d.Kind == drift.Added && name == t.Tagging().Property && t.Name != "AWS::AutoScaling::AutoScalingGroup":
		case !changed && managed(t.Name, name, desired):
			if !slices.Contains(ignored, name) {
				ignored = append(ignored, name)
			}
		default:
			put = append(put, d)
		}
	}
	return put, ignored
}
