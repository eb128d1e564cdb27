package rehearse

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/recording"
	"github.com/poolhouse/poolhouse/verify"
)

// lived is a deployment's life on virtual time, in an account with policies.
type lived struct {
	t    *testing.T
	box  *sandbox.Sandbox
	src  []byte
	arch *architecture.Architecture
	said strings.Builder // all that the product said
}

// newLife makes the account; nil policies leave everybody everything.
func newLife(t *testing.T, src []byte, rec *recording.Recording, p *Policies) *lived {
	t.Helper()
	a := parse(t, src)
	o := SandboxOptions(a)
	o.Now, o.Recording = time.Now, rec
	l := &lived{t: t, src: src, box: testkit.Sandbox(t, o), arch: a}
	if _, err := Given(l.box, a); err != nil {
		t.Fatal(err)
	}
	if p != nil {
		if err := Limit(l.box, a, *p); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *lived) target(a *architecture.Architecture) deploy.Target {
	l.t.Helper()
	p := l.box.Principals()[0]
	clients, err := awsapi.New(l.t.Context(), awsapi.Options{
		Region: a.Config.Region, Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(l.box),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return deploy.Target{Architecture: a, AWS: clients, Emit: func(e deploy.Event) { fmt.Fprintf(&l.said, "%+v\n", e) }}
}

// stages are the life in order: what each returns is what went wrong, and what
// could not be looked at.
func (l *lived) stages() []func() error {
	l.t.Helper()
	next, _, err := Change("deployment.yaml", l.src, l.arch.Config)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx := l.t.Context()
	return []func() error{
		func() error {
			res, err := deploy.Create(ctx, deploy.CreateOptions{Target: l.target(l.arch)})
			return l.hear(res, err)
		},
		func() error { return l.nothingToDo(l.target(l.arch)) },
		func() error { return l.conforms(l.target(l.arch)) },
		func() error {
			res, err := deploy.Update(ctx, deploy.CreateOptions{Target: l.target(next)})
			return l.hear(res, err)
		},
		func() error { return l.nothingToDo(l.target(next)) },
		func() error { return l.conforms(l.target(next)) },
		func() error {
			deleted, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: l.target(next), Data: deploy.DestroyData})
			return l.hear(deleted, err)
		},
	}
}

// hear takes note of a result, as it is printed for programs.
func (l *lived) hear(result any, err error) error {
	body, encoding := json.Marshal(result)
	if encoding != nil {
		l.t.Error(encoding)
	}
	l.said.Write(body)
	return err
}

func (l *lived) nothingToDo(target deploy.Target) error {
	plan, err := deploy.MakePlan(l.t.Context(), target)
	if err := l.hear(plan, err); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	var left []error
	for _, s := range plan.Stacks {
		if s.Action != deploy.NoChange || s.Drift != nil {
			left = append(left, fmt.Errorf("plan: stack %s is to %s: %+v %+v", s.Stack, s.Action, s.Changes, s.Drift))
		}
	}
	return errors.Join(left...)
}

func (l *lived) conforms(target deploy.Target) error {
	rep, err := verify.Run(l.t.Context(), verify.Options{Architecture: target.Architecture, AWS: target.AWS})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var faults []error
	for _, r := range rep.Results {
		if r.Status == verify.Fail || r.Status == verify.CouldNotLook {
			faults = append(faults, fmt.Errorf("verify: %s %s: %s %+v", r.ID, r.Status, r.Reason, r.Evidence))
		}
	}
	return errors.Join(faults...)
}

func policiesOf(t *testing.T, n *Needed, without string) []string {
	t.Helper()
	if n == nil {
		return nil
	}
	grants := slices.DeleteFunc(slices.Clone(n.Grants), func(g recording.Grant) bool { return g.Action == without })
	var out []string
	for _, d := range recording.Policies(grants) {
		body, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(body))
	}
	return out
}

// With just the policies that a rehearsal writes a deployment's life passes: by
// the operator's permissions alone, and with a service role. Without any one of
// the operator's recorded actions it fails, or ends saying what it could not
// see, and names the action.
func TestPolicies(t *testing.T) {
	t.Parallel()
	full := os.Getenv("POOLHOUSE_FULL") != ""
	for _, name := range []string{"enterprise-dns", "production"} {
		if name != "enterprise-dns" && !full {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { provePolicies(t, source(t, name), full) })
		})
	}
}

func provePolicies(t *testing.T, src []byte, full bool) {
	t.Helper()
	rec := &recording.Recording{}
	l := newLife(t, src, rec, nil)
	// before is the account as it was before the stage that asked for an action
	// first.
	before := map[string]*sandbox.Sandbox{}
	stage := map[string]int{}
	operator := recording.Role(l.box.Principals()[0].ARN)
	for i, f := range l.stages() {
		fork := l.box.Clone(nil)
		if err := f(); err != nil {
			t.Fatalf("stage %d with all permissions: %v", i, err)
		}
		for _, p := range rec.Permissions() {
			if p.Principal == operator && p.Source == recording.Recorded && before[p.Action] == nil {
				before[p.Action], stage[p.Action] = fork, i
			}
		}
	}
	if rec.Dropped() > 0 {
		t.Fatalf("the recording dropped %d permissions", rec.Dropped())
	}
	p := NewPermissions(rec, l.arch, l.box)
	checkGrants(t, &p.Operator)
	if p.ServiceRole != nil {
		checkGrants(t, p.ServiceRole)
		if len(p.Passed) == 0 {
			t.Error("no role is passed, want the service role among them")
		}
	}
	just := newLife(t, src, nil, &Policies{policiesOf(t, &p.Operator, ""), policiesOf(t, p.ServiceRole, "")})
	for i, f := range just.stages() {
		if err := f(); err != nil {
			t.Fatalf("stage %d with just the policies: %v", i, err)
		}
	}
	for i, action := range slices.Sorted(maps.Keys(before)) {
		// A sample of all services.
		if !full && i%25 != 0 {
			continue
		}
		without := &lived{t: t, src: src, arch: l.arch, box: before[action].Clone(nil)}
		if err := Limit(without.box, l.arch, Policies{policiesOf(t, &p.Operator, action), policiesOf(t, p.ServiceRole, "")}); err != nil {
			t.Fatal(err)
		}
		err := without.stages()[stage[action]]()
		if said := fmt.Sprint(err, without.said.String()); !strings.Contains(said, action) {
			t.Errorf("nobody speaks of %s, without which stage %d ends with: %v", action, stage[action], err)
		}
	}
}

// checkGrants holds what is written to AWS's facts and limits.
func checkGrants(t *testing.T, n *Needed) {
	t.Helper()
	known, err := access.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Grants) < 20 {
		t.Errorf("%s needs %d permissions only", n.Principal, len(n.Grants))
	}
	for _, g := range n.Grants {
		if g.Resource == "*" && len(known.Types(g.Action)) > 0 {
			t.Errorf("%s is granted on *, but AWS lists %v", g.Action, known.Types(g.Action))
		}
		if len(g.Causes) == 0 {
			t.Errorf("%s on %s has no cause", g.Action, g.Resource)
		}
	}
	if len(n.Policies) > recording.MaxPolicies {
		t.Errorf("%s needs %d policies, more than a role may have", n.Principal, len(n.Policies))
	}
	for i, d := range n.Policies {
		if size := d.Size(); size > recording.MaxPolicy {
			t.Errorf("policy %d of %s has %d characters", i+1, n.Principal, size)
		}
	}
}
