package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/rehearse/chain"
	"github.com/poolhouse/poolhouse/stack"
)

// rehearsal is the events of a small rehearsal that fails in the end.
func rehearsal() []rehearse.Event {
	step := func(s rehearse.Step, title, outcome string, err error) rehearse.StepFinished {
		r := rehearse.StepReport{Step: s, Title: title, Outcome: outcome, Simulated: 7 * time.Minute, Wall: 300 * time.Millisecond}
		if err != nil {
			r.Failure = err.Error()
		}
		return rehearse.StepFinished{StepReport: r, Err: err}
	}
	plan := &deploy.Plan{Stacks: []deploy.StackPlan{
		{Stack: "keys", Action: deploy.NoChange},
		{Stack: "network", Action: deploy.UpdateStack, Changes: []stack.Change{{Action: stack.Modify}, {Action: stack.Modify}, {Action: stack.MayReplace}}},
	}}
	return []rehearse.Event{
		rehearse.StepStarted{Step: rehearse.StepCreate, Title: "create, and kill the run half-way", Clock: clock.Real{}},
		rehearse.Deployed{Step: rehearse.StepCreate, Event: started(0, "keys", deploy.CreateStack, time.Minute)},
		rehearse.Deployed{Step: rehearse.StepCreate, Event: finish(time.Minute, "keys", deploy.CreateStack, time.Minute, 18, nil)},
		rehearse.Killed{Time: t0.Add(2 * time.Minute), Calls: 250, Moving: []architecture.StackName{"cluster"}},
		step(rehearse.StepCreate, "create, and kill the run half-way", "killed with 1 stacks done and 1 in motion", nil),
		rehearse.Changed{Edits: []rehearse.Edit{{Path: "database.storageGiB", Before: "200", After: "251"}, {Path: "network.zones", Before: "2", After: "2"}}},
		rehearse.Planned{Step: rehearse.StepPlanUpdate, Plan: plan},
		rehearse.StepStarted{Step: rehearse.StepCompare, Title: "compare the account with its start", Clock: clock.Real{}},
		step(rehearse.StepCompare, "compare the account with its start", "", errors.New("a bucket is left")),
	}
}

func TestRehearsalInLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewRehearsal(&b, false, false)
	for _, e := range rehearsal() {
		v.Event(e)
	}
	v.Close()
	want := `create, and kill the run half-way ...
09:01:00  keys         created after 60s, 18 resources
09:02:00               killed after 250 API calls, with cluster in motion
✓ create, and kill the run half-way: killed with 1 stacks done and 1 in motion; 7m simulated in 0.3s
the update changes in the file:
  database.storageGiB: 200 -> 251
  network.zones: stays 2
  update network     2 to update, 1 to update or replace
✗ compare the account with its start: failed
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRehearsalForMachines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewRehearsal(&b, true, false)
	for _, e := range rehearsal() {
		v.Event(e)
	}
	v.Close()
	var kinds []string
	for line := range strings.Lines(b.String()) {
		var e struct {
			Event string
			Data  map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds = append(kinds, e.Event)
	}
	want := "StepStarted StackStarted StackFinished Killed StepFinished Changed Planned StepStarted StepFinished"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.Contains(b.String(), `"failure":"a bucket is left"`) {
		t.Error("the failure is not in the lines")
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := &rehearse.Report{
		Deployment: "poolside", Region: "us-east-1", Account: "123456789012", Profile: "production",
		Steps: []rehearse.StepReport{
			{Step: rehearse.StepCreate, Outcome: "complete", Calls: 12, Simulated: 20 * time.Minute, Wall: 500 * time.Millisecond},
			{Step: rehearse.StepDelete, Outcome: "1 things stay for a while", Calls: 8, Simulated: 10 * time.Minute, Wall: 250 * time.Millisecond},
		},
		Stacks: []rehearse.StackReport{
			{Stack: "keys", End: 10 * time.Minute, Critical: true, Types: map[string]int{"AWS::KMS::Alias": 1, "AWS::KMS::Key": 2}},
			{Stack: "network", Start: 10 * time.Minute, End: 20 * time.Minute, Critical: true, Types: map[string]int{"AWS::EC2::VPC": 1}},
		},
		Creation: &chain.Pace{Took: 20 * time.Minute, Longest: 19 * time.Minute, Links: []chain.Link{
			{Stack: "keys", Verb: "create", Takes: 9 * time.Minute},
			{Stack: "network", Verb: "create", Takes: 4 * time.Minute},
			{Stack: "network", Resource: "Vpc", Verb: "create", Takes: 5 * time.Minute},
			{Stack: "network", Verb: "update", Takes: time.Minute},
		}},
		Calls:       map[string]int{"cloudformation.DescribeStacks": 18, "sts.GetCallerIdentity": 2},
		Given:       []rehearse.Item{{Type: "AWS::IAM::Role", ID: "platform", Path: "cluster.administrators"}},
		Kept:        []deploy.Kept{{Type: "AWS::KMS::Key", ID: "key-1", Why: "KMS keeps it", Passing: true, Until: time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)}},
		LinkedRoles: []string{"AWSServiceRoleForRDS"}, Skipped: 7 * 24 * time.Hour,
		Rows: []rehearse.RowReport{
			{ID: "C1", Asks: "Public subnets", Shown: rehearse.Fully},
			{ID: "N1", Asks: "By program", Shown: rehearse.ByProgram},
			{ID: "S9", Asks: "Nodes by kind", Shown: rehearse.Partly, Missing: []string{"gpu/Gpu*"}},
		},
		NotModelled: []string{"money"},
	}
	want := `
Rehearsal of poolside, production in us-east-1, in a simulated account 123456789012

Steps
  STEP    SIMULATED  WALL   CALLS  OUTCOME
  create  20m        0.50s  12     complete
  delete  10m        0.25s  8      1 things stay for a while
  all     30m        0.75s  20

Creation, by stack; what decides how long it takes is drawn with #:
  keys > network
  keys        |############################                            |    10m    3
  network     |                            ############################|    10m    1
              0                                                      20m  takes  has

Pace, beside the longest chain of AWS's operations
  create took 20m, the longest chain of operations takes 19m: 1.05
    keys 9m > network 9m > protection of network 60s

4 resources
  keys        2 KMS::Key, 1 KMS::Alias
  network     1 EC2::VPC

20 API calls
  18 cloudformation, 2 sts

Given before, since the file names it and does not make it
  cluster.administrators: platform

Kept after the deletion
  key-1 (AWS::KMS::Key)
    KMS keeps it; gone after 2026-12-01 08:00:00Z
  AWSServiceRoleForRDS: service-linked roles belong to the account's services and cost nothing
  7.0 days later, what has a date was gone.

Kubernetes was left out
  no chart was installed and no pod ran; rehearse --kubernetes has them run, by a real API server,
  scheduler and kubelets

Reference architecture: 2 of 3 rows shown
  shown: C1, N1
  in part: S9 Nodes by kind; not in this deployment: gpu/Gpu*

Not modelled by the sandbox, so not shown
  - money

The rehearsal succeeded: 30m of AWS's time in 0.8s.
`
	var b bytes.Buffer
	Report(&b, r)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Of one that failed, only what it came to is worth showing.
	r.Failure = "a bucket is left"
	b.Reset()
	Report(&b, r)
	if got := b.String(); strings.Contains(got, "succeeded") || strings.Contains(got, "Reference") || !strings.Contains(got, "20 API calls") {
		t.Errorf("of a failed rehearsal:\n%s", got)
	}
}
