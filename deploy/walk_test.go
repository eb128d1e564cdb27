package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/stack"
)

// walked is an account at a moment of a deployment's life.
type walked struct {
	box *sandbox.Sandbox
	at  time.Time
}

// walker brings the stack storage of a deployment into a status.
type walker struct {
	*world
	a    *architecture.Architecture
	cfn  *cloudformation.Client
	name string
	// killed ends with the process of a deletion.
	killed context.Context
	own    string // the template before it was changed by hand
}

func (w *walker) breaks(faults ...string) {
	w.t.Helper()
	if len(faults) == 0 {
		return
	}
	plan, err := fault.Parse("f", []byte("faults: ["+strings.Join(faults, ", ")+"]"), fault.Known{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Break(fault.New(plan, fault.Options{}))
}

// begins fails a resource of the stack once.
func begins(resource, on string) string {
	return fmt.Sprintf("{id: %s-%s, times: 1, fail: {stack: poolside-storage, resource: %s, on: [%s], error: InternalFailure, late: true}}", strings.ToLower(resource), on, resource, on)
}

func (w *walker) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// makes executes the change set that the creation made before it was killed.
func (w *walker) makes(halt, except bool, faults ...string) {
	w.t.Helper()
	w.breaks(faults...)
	time.Sleep(20 * time.Second) // until it is made
	w.must(w.cfn.ExecuteChangeSet(w.t.Context(), &cloudformation.ExecuteChangeSetInput{
		StackName: &w.name, ChangeSetName: new("poolhouse-apply"), DisableRollback: &halt, RetainExceptOnCreate: &except,
	}))
}

// changes updates the stack, by hand, to have parameters too: name, value and what
// comes before.
func (w *walker) changes(halt bool, resources ...string) {
	w.t.Helper()
	d := &stack.Driver{CFN: w.cfn, Clock: w.target(w.a).AWS.Clock}
	body, err := d.Template(w.t.Context(), w.name)
	w.must(nil, err)
	st, err := d.Describe(w.t.Context(), w.name)
	w.must(nil, err)
	if w.own == "" {
		w.own = string(body)
	}
	in := &cloudformation.UpdateStackInput{
		StackName: &w.name, DisableRollback: &halt, Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityNamedIam},
		TemplateBody: new(strings.Replace(w.own, `"Resources":{`, `"Resources":{`+strings.Join(resources, ",")+",", 1)),
	}
	for k := range st.Parameters {
		in.Parameters = append(in.Parameters, cfntypes.Parameter{ParameterKey: new(k), UsePreviousValue: new(true)})
	}
	for k, v := range st.Tags {
		in.Tags = append(in.Tags, cfntypes.Tag{Key: new(k), Value: new(v)})
	}
	w.must(w.cfn.UpdateStack(w.t.Context(), in))
}

// parameter is a resource that holds next to nothing.
func parameter(id, name, value, after string) string {
	if after != "" {
		after = fmt.Sprintf(`"DependsOn":["%s"],`, after)
	}
	return fmt.Sprintf(`%q:{"Type":"AWS::SSM::Parameter",%s"Properties":{"Type":"String","Name":"/walk/%s","Value":%q}}`, id, after, name, value)
}

// rest waits until the stack is at rest.
func (w *walker) rest() {
	w.t.Helper()
	d := &stack.Driver{CFN: w.cfn, Clock: w.target(w.a).AWS.Clock}
	_, err := d.Rest(w.t.Context(), w.name)
	w.must(nil, err)
}

// steps to each status, from an account in which the creation of the stack is made
// ready, or from one in which the deployment is whole.
type reaching struct {
	from   string
	status cfntypes.StackStatus
	how    string
	do     func(w *walker)
}

func ways() []reaching {
	var all []reaching
	add := func(from, how string, do func(w *walker), statuses ...cfntypes.StackStatus) {
		for _, s := range statuses {
			all = append(all, reaching{from, s, how, do})
		}
	}
	const review, whole = "review", "whole"
	add(review, "", func(*walker) {}, cfntypes.StackStatusReviewInProgress)
	for _, except := range []bool{false, true} {
		how := ""
		if except {
			how = "RetainExceptOnCreate"
		}
		add(review, how, func(w *walker) { w.makes(false, except) }, cfntypes.StackStatusCreateInProgress, cfntypes.StackStatusCreateComplete)
		add(review, how, func(w *walker) { w.makes(true, except, begins("TelemetryBucket", "create")) }, cfntypes.StackStatusCreateFailed)
		add(review, how, func(w *walker) { w.makes(false, except, begins("TelemetryBucket", "create")) }, cfntypes.StackStatusRollbackInProgress, cfntypes.StackStatusRollbackComplete)
		add(review, how, func(w *walker) {
			w.makes(false, except, begins("TelemetryBucket", "create"), begins("ModelsBucket", "rollback"))
		}, cfntypes.StackStatusRollbackFailed)
	}
	one := func(w *walker) { w.changes(false, parameter("One", "one", "x", "")); w.rest() }
	add(whole, "", func(w *walker) {
		one(w)
		w.changes(false, parameter("One", "other", "x", ""))
	}, cfntypes.StackStatusUpdateInProgress, cfntypes.StackStatusUpdateCompleteCleanupInProgress, cfntypes.StackStatusUpdateComplete)
	failing := func(halt bool, faults ...string) func(w *walker) {
		return func(w *walker) {
			one(w)
			w.breaks(append(faults, begins("Two", "create"))...)
			w.changes(halt, parameter("One", "one", "y", ""), parameter("More", "more", "x", ""), parameter("Two", "two", "x", `One","More`))
		}
	}
	add(whole, "", failing(true), cfntypes.StackStatusUpdateFailed)
	add(whole, "", failing(false), cfntypes.StackStatusUpdateRollbackInProgress, cfntypes.StackStatusUpdateRollbackCompleteCleanupInProgress, cfntypes.StackStatusUpdateRollbackComplete)
	add(whole, "", failing(false, begins("One", "rollback")), cfntypes.StackStatusUpdateRollbackFailed)
	removes := func(faults ...string) func(w *walker) {
		return func(w *walker) {
			one(w)
			w.breaks(faults...)
			go func() {
				// It is killed once the stack has the status.
				_, _ = deploy.Delete(w.killed, deploy.DeleteOptions{Target: w.target(w.a), Data: deploy.DestroyData})
			}()
		}
	}
	add(whole, "", removes(), cfntypes.StackStatusDeleteInProgress, cfntypes.StackStatusDeleteComplete)
	add(whole, "", removes(strings.Replace(begins("One", "delete"), "late: true", "late: false", 1)), cfntypes.StackStatusDeleteFailed)
	return all
}

// until lets time pass until the stack has a status, and returns the account then.
func (w *walker) until(id string, status cfntypes.StackStatus) walked {
	w.t.Helper()
	var last cfntypes.StackStatus
	d := &stack.Driver{CFN: w.cfn, Clock: w.target(w.a).AWS.Clock}
	for range 100_000 {
		st, err := d.Describe(w.t.Context(), id)
		w.must(nil, err)
		if last = st.Status; last == status {
			return walked{w.box.Clone(time.Now), time.Now()}
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.t.Fatalf("the stack is %s, want %s", last, status)
	return walked{}
}

// shareOfWalk is the part of the walk that an ordinary run takes.
const shareOfWalk = 0.1

// TestL11EveryStatusWalked brings a stack of a deployment into every status that
// the sandbox's CloudFormation has, those that pass among them, and runs each
// command from there. It gets where it leads, or is refused, and who follows what
// the status says to do next gets there. (Imports, which the sandbox does not have,
// are walked in package stack.) An ordinary run takes a part; -full takes all.
func TestL11EveryStatusWalked(t *testing.T) {
	t.Parallel()
	a := example(t, "evaluation")
	from := map[string]walked{}
	var t0 []byte
	on := func(t *testing.T, box *sandbox.Sandbox) *walker {
		w := &walker{world: &world{t: t, box: box, t0: t0}, a: a, name: a.StackName(architecture.Storage)}
		w.cfn = w.target(a).AWS.CloudFormation
		return w
	}
	life.Bubble(t, time.Time{}, func(t *testing.T) {
		first := newWorld(t, a, sandbox.Options{Fresh: true})
		t0 = first.t0
		w := on(t, first.box)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.create(a)
		}()
		for from["review"].box == nil {
			for _, r := range w.find("cloudformation:stack") {
				if r.Status == "REVIEW_IN_PROGRESS" && strings.Contains(r.ID, "/"+w.name+"/") {
					from["review"] = walked{w.box.Clone(time.Now), time.Now()}
				}
			}
			time.Sleep(time.Second)
		}
		<-done
		from["whole"] = walked{w.box.Clone(time.Now), time.Now()}
	})
	seen := map[cfntypes.StackStatus]bool{}
	t.Run("from", func(t *testing.T) {
		for _, way := range ways() {
			seen[way.status] = true
			name := string(way.status) + way.how
			verbs := []string{"plan", "status", "create", "update", "recover", "delete"}
			wanted := verbs[:0:0]
			for _, v := range verbs {
				if life.Wanted(name+"/"+v, shareOfWalk) {
					wanted = append(wanted, v)
				}
			}
			if len(wanted) == 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var there walked
				life.Bubble(t, from[way.from].at, func(t *testing.T) {
					w := on(t, testkit.Clone(t, from[way.from].box, time.Now))
					var kill context.CancelFunc
					w.killed, kill = context.WithCancel(t.Context())
					defer kill()
					st, err := (&stack.Driver{CFN: w.cfn, Clock: w.target(a).AWS.Clock}).Describe(t.Context(), w.name)
					w.must(nil, err)
					way.do(w)
					there = w.until(st.ID, way.status)
				})
				for _, v := range wanted {
					life.Bubble(t, there.at, func(t *testing.T) {
						on(t, testkit.Clone(t, there.box, time.Now)).walks(v)
					})
				}
			})
		}
	})
	for _, s := range cfntypes.StackStatus("").Values() {
		if !seen[s] && !strings.HasPrefix(string(s), "IMPORT_") {
			t.Errorf("there is no way to %s", s)
		}
	}
}

// does runs a command.
func (w *walker) does(verb string) error {
	ctx, to := w.t.Context(), w.target(w.a)
	var err error
	switch verb {
	case "plan":
		_, err = deploy.MakePlan(ctx, to)
	case "status":
		_, err = deploy.Look(ctx, to)
	case "create":
		_, err = deploy.Create(ctx, deploy.CreateOptions{Target: to})
	case "update":
		_, err = deploy.Update(ctx, deploy.CreateOptions{Target: to})
	case "recover":
		_, err = deploy.Recover(ctx, deploy.RecoverOptions{Target: to})
	case "delete":
		_, err = deploy.Delete(ctx, deploy.DeleteOptions{Target: to, Data: deploy.DestroyData})
	}
	var refused *deploy.RefusedError
	var stuck *deploy.UnrecoverableError
	var failed *stack.Error
	var held *lease.HeldError
	switch {
	case err == nil || errors.Is(err, deploy.ErrAbsent):
		return nil
	case errors.As(err, &refused), errors.As(err, &stuck) && stuck.Next != "", errors.As(err, &failed) && failed.Root().Next != "":
	case errors.As(err, &held):
		w.t.Errorf("%s is refused for a run that is dead: %v", verb, err)
	default:
		w.t.Errorf("%s fails, and says nothing of what to do: %v", verb, err)
	}
	return err
}

// walks runs a command, and after it what the program says to do next.
func (w *walker) walks(verb string) {
	story := []string{fmt.Sprint(verb, ": ", w.does(verb))}
	for range 6 {
		s, err := deploy.Look(w.t.Context(), w.target(w.a))
		if err != nil {
			w.t.Errorf("status: %v", err)
			return
		}
		next := s.Next
		switch {
		case s.Phase == deploy.InMotion:
			time.Sleep(time.Hour)
			continue
		case verb == "delete" && s.Phase == deploy.Missing:
			next = ""
		case verb == "delete":
			next = "delete"
		case len(s.Deleted) > 0:
			next = "create" // to make them again, as they were not deleted on purpose
		case next == "" && story[len(story)-1] != "update: <nil>":
			next = "update" // what a plan would show
		}
		if next == "" {
			break
		}
		err = w.does(next)
		story = append(story, fmt.Sprint(next, ": ", err))
		if err != nil && strings.Contains(err.Error()+nextOf(err), "poolhouse delete") {
			story = append(story, fmt.Sprint("delete: ", w.does("delete")))
		}
	}
	if verb == "delete" {
		if left := w.stacks(w.a); len(left) > 0 {
			w.t.Errorf("left: %v", left)
		}
	} else {
		w.emptyPlan(w.a)
	}
	if w.t.Failed() {
		w.t.Logf("%s:\n%s", verb, strings.Join(story, "\n"))
	}
}

// nextOf is the next step that an error names.
func nextOf(err error) (all string) {
	var refused *deploy.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Refusals {
			all += r.Next() + "; "
		}
	}
	var stuck *deploy.UnrecoverableError
	if errors.As(err, &stuck) {
		all += stuck.Next
	}
	var failed *stack.Error
	if errors.As(err, &failed) {
		all += fmt.Sprint(failed.Root().Next)
	}
	return all
}
