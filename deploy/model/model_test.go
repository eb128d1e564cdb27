// Package model_test holds the commands to a model of a deployment over long
// random sequences of them.
package model_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
)

func TestMain(m *testing.M) { life.Main(m) }

// stands is what the model says of a deployment.
type stands string

const (
	absent   stands = "absent"
	partial  stands = "partial" // a command did not come to its end
	complete stands = "complete"
	// kept: the data stands, and the rest was deleted.
	kept stands = "kept"
)

// outcome is how a command ends.
type outcome string

const (
	done    outcome = "done"
	nothing outcome = "nothing to do"
	gone    outcome = "there is no such deployment"
	refused outcome = "refused"
	broken  outcome = "failed or killed"
)

// model is what should be in the account.
type model struct {
	*world
	state stands
	// is is what the deployment was last made or being made to, and doing the
	// command that did not come to its end.
	is    *architecture.Architecture
	doing life.Verb
	// drifted: somebody has changed something that is not put back yet.
	drifted bool
	// holds are the resources with data, by type and id, and objects what was
	// put into buckets.
	holds   map[string]bool
	objects map[string]string
}

// TestModel takes deployments through random sequences of commands and of edits of
// their files, disturbed by faults and kills, with changes behind their back. The model foretells how each
// command ends; no data is lost, nothing that holds data is replaced, and in the
// end the account is as it was found.
func TestModel(t *testing.T) {
	sequences, length := uint64(3), 9
	if life.Full() {
		sequences, length = 60, 30
	}
	for n := range sequences {
		name := fmt.Sprintf("%d", life.Seed()+n)
		if life.Only() != "" && life.Only() != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life.Bubble(t, time.Time{}, func(t *testing.T) { walk(t, life.Seed()+n, length) })
		})
	}
}

// walk is one sequence.
func walk(t *testing.T, n uint64, length int) {
	r := rand.New(rand.NewPCG(n, n))
	name := "evaluation"
	if life.Full() {
		name = life.Examples()[int(n)%len(life.Examples())]
	}
	m := newModel(t, name, r)
	defer func() {
		t.Logf("%s; repeat it: go test ./deploy/model -run TestModel -v -seed %d -case %d%s; what was done:", name, n, n, map[bool]string{true: " -full"}[life.Full()])
		for i, s := range m.said {
			t.Logf("%3d %s", i+1, s)
		}
	}()
	for range length {
		if t.Failed() {
			return
		}
		m.step()
	}
	if !t.Failed() {
		m.end()
	}
}

// newModel is the model of an example that is not there yet.
func newModel(t *testing.T, name string, r *rand.Rand) *model {
	t.Helper()
	m := &model{world: newWorld(t, name, r), state: absent, holds: map[string]bool{}, objects: map[string]string{}}
	m.is = m.first
	return m
}

// step is one step of a sequence.
func (m *model) step() {
	disturbed := m.r.IntN(3) == 0
	switch m.state {
	case absent, kept:
		switch x := m.r.IntN(10); {
		case x == 0 && m.state == absent:
			m.command(life.Update, m.is, false, gone)
		case x == 1 && m.state == absent:
			want := gone
			if m.remembered() {
				want = done // as the deletion before ended
			}
			m.command(life.Delete, m.is, false, want)
		default:
			m.create(m.is, disturbed, done)
		}
	case partial:
		switch {
		case m.doing == life.Delete:
			m.remove(deploy.DestroyData, disturbed)
		case m.r.IntN(5) == 0:
			m.remove(deploy.DestroyData, disturbed)
		case m.doing == life.Create:
			// It may have been complete but for its last steps.
			m.create(m.is, disturbed, done, nothing)
		default:
			m.update(m.is, disturbed)
		}
	case complete:
		switch m.r.IntN(10) {
		case 0:
			a := m.another(false)
			for len(a.Stacks) != len(m.is.Stacks) { // which create would make
				a = m.another(false)
			}
			m.create(a, false, nothing)
		case 1:
			m.refusal(m.another(true))
		case 2, 3:
			m.meddle()
		case 4:
			m.put()
		case 5:
			m.remove(one(m.r, deploy.KeepData, deploy.SnapshotData), disturbed)
		case 6:
			m.remove(deploy.DestroyData, disturbed)
		default:
			m.update(m.another(false), disturbed)
		}
	}
	m.invariants()
}

// create runs create and holds it to what the model says.
func (m *model) create(a *architecture.Architecture, disturbed bool, want ...outcome) {
	got := m.command(life.Create, a, disturbed, want...)
	switch got {
	case done:
		m.becomes(complete, a)
	case nothing:
		if m.state == partial {
			m.becomes(complete, a)
		}
	case broken:
		m.state, m.doing = partial, life.Create
	}
}

// update runs update.
func (m *model) update(a *architecture.Architecture, disturbed bool) {
	was := m.is
	m.is = a
	switch m.command(life.Update, a, disturbed, done, nothing) {
	case done, nothing:
		m.drifted = false
		m.becomes(complete, a)
	case broken:
		m.state, m.doing = partial, life.Update
	case refused:
		m.is = was
	}
}

// becomes says that the deployment is whole: nothing may be left to do, and what
// holds data now is not to be lost.
func (m *model) becomes(s stands, a *architecture.Architecture) {
	m.state, m.is, m.doing = s, a, ""
	if m.drifted {
		return
	}
	m.planned(a)
	if m.r.IntN(4) == 0 {
		m.conforms(a)
	}
	m.holds = m.stateful()
}

// remove runs delete.
func (m *model) remove(data deploy.Data, disturbed bool) {
	m.data = data
	defer func() { m.data = deploy.DestroyData }()
	began := time.Now()
	if data == deploy.DestroyData {
		m.holds, m.objects, m.drifted = map[string]bool{}, map[string]string{}, false
		m.disown()
	} else {
		// What somebody changed in what is kept stays changed until an update.
		there := m.stateful(standing[data]...)
		maps.DeleteFunc(m.holds, func(id string, _ bool) bool { return !there[id] })
	}
	got := m.command(life.Delete, m.is, disturbed, done, gone)
	if got == broken && data == deploy.DestroyData {
		m.state, m.doing = partial, life.Delete
		return
	}
	if got == broken {
		// Run again until it is over: another kind of deletion would destroy.
		m.command(life.Delete, m.is, false, done, gone)
	}
	switch data {
	case deploy.DestroyData:
		m.state = absent
	case deploy.KeepData:
		m.state = kept
	case deploy.SnapshotData:
		m.state, m.is = kept, m.restoring(m.is, began)
	}
}

// restoring is a deployment whose database is restored from the snapshot that a
// deletion took since a time; an invariant says that there is one.
func (m *model) restoring(a *architecture.Architecture, since time.Time) *architecture.Architecture {
	m.t.Helper()
	id := m.snapshot(a, since)
	if id == "" {
		m.t.Errorf("the data is in no snapshot")
		return a
	}
	return m.from(a, id)
}

// from is a deployment whose file names a snapshot, or none.
func (m *model) from(a *architecture.Architecture, snapshot any) *architecture.Architecture {
	m.t.Helper()
	f := m.files[a].with("database.snapshot", snapshot)
	named, err := f.means()
	if err != nil {
		m.t.Fatalf("database.snapshot %v: %v", snapshot, err)
	}
	m.files[named] = f
	return named
}

// disown removes the snapshots that deletions took, which only their owner does.
func (m *model) disown() {
	m.t.Helper()
	ids := m.removeSnapshots(m.is)
	if len(ids) == 0 {
		return
	}
	m.said = append(m.said, "the owner deletes "+strings.Join(ids, ", "))
	m.is = m.from(m.is, nil)
}

// refusal has an update do what is refused: nothing has changed.
func (m *model) refusal(next *architecture.Architecture) {
	if m.drifted {
		return
	}
	before := m.stateful()
	m.command(life.Update, next, false, refused)
	if after := m.stateful(); !maps.Equal(before, after) {
		m.t.Errorf("a refused update changed what holds data: %v, then %v", before, after)
	}
	m.planned(m.is)
}

// meddle has somebody change something behind the deployment's back.
func (m *model) meddle() {
	m.said = append(m.said, "a colleague changes "+m.change())
	m.drifted = true
}

// put puts an object into a bucket.
func (m *model) put() {
	key := fmt.Sprintf("models/%d", len(m.objects))
	m.said = append(m.said, "put "+key)
	if err := m.putObject(m.is, key, key); err != nil {
		m.t.Errorf("put %s: %v", key, err)
		return
	}
	m.objects[key] = key
}

// invariants hold after every step.
func (m *model) invariants() {
	there := m.stateful()
	for _, id := range slices.Sorted(maps.Keys(m.holds)) {
		if !there[id] {
			m.t.Errorf("%s is lost", id)
		}
	}
	for key, want := range m.objects {
		if got, err := m.object(m.is, key); err != nil || got != want {
			m.t.Errorf("object %s is lost: %q, %v", key, got, err)
		}
	}
}

// end deletes the deployment for good, and looks at the account.
func (m *model) end() {
	for range 2 {
		if m.state != absent {
			m.remove(deploy.DestroyData, false)
		}
	}
	m.clean()
}

// command runs a command and says how it ended. Undisturbed, it ends as one of
// those wanted. Disturbed, it may also fail or be killed.
func (m *model) command(v life.Verb, a *architecture.Architecture, disturbed bool, want ...outcome) outcome {
	m.t.Helper()
	what := string(v)
	ctx, over := context.WithCancelCause(m.t.Context())
	defer over(nil)
	if disturbed {
		what += ", " + m.disturb(over)
	}
	got, err := m.run(ctx, v, a)
	m.calm()
	m.said = append(m.said, fmt.Sprintf("%s (%s): %s %.300v", what, m.state, got, err))
	if got == broken && disturbed {
		var r *deploy.RefusedError
		if errors.As(err, &r) {
			m.t.Errorf("%s: %v", what, err)
		}
		return got
	}
	if !slices.Contains(want, got) {
		m.t.Errorf("%s of what is %s ends as %q, want %q: %v", v, m.state, got, want, err)
	}
	time.Sleep(time.Duration(m.r.IntN(300)) * time.Minute)
	return got
}
