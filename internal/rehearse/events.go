package rehearse

import (
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// Step is a part of a rehearsal.
type Step string

// The steps, in order.
const (
	StepGiven    Step = "given"
	StepValidate Step = "validate"
	StepPlan     Step = "plan"
	StepCreate   Step = "create"
	StepResume   Step = "resume"
	// StepInside is there if no way leads to the Kubernetes API from outside.
	StepInside     Step = "inside"
	StepCheck      Step = "plan again"
	StepVerify     Step = "verify"
	StepPlanUpdate Step = "plan the update"
	StepUpdate     Step = "update"
	StepCheckAgain Step = "plan once more"
	StepBreach     Step = "breach"
	StepNotice     Step = "notice"
	StepRepair     Step = "repair"
	StepProve      Step = "verify again"
	StepOutage     Step = "lose a zone"
	// StepData is there if somebody says which servers there are.
	StepData Step = "data"
	// The following four are there if somebody brings Kubernetes.
	StepCharts  Step = "charts"
	StepReach   Step = "hosts"
	StepPods    Step = "pods"
	StepVacate  Step = "delete the copy"
	StepDelete  Step = "delete"
	StepCompare Step = "compare"
)

// Event is something that happens in a rehearsal; one of the types below.
type Event interface{ event() }

// StepStarted says that a step begins.
type StepStarted struct {
	Step Step `json:"step"`
	// Title says what the step does.
	Title string `json:"title"`
	// Plan is what a step that changes the account is about to do, or nil.
	Plan *deploy.Plan `json:"-"`
	// Clock is the rehearsal's, for views that show the time.
	Clock clock.Clock `json:"-"`
}

// StepFinished says how a step ended.
type StepFinished struct {
	StepReport
	Err error `json:"-"`
}

// Planned is the plan of a planning step.
type Planned struct {
	Step Step         `json:"step"`
	Plan *deploy.Plan `json:"plan"`
}

// Changed is what the update changes in the file.
type Changed struct {
	Edits []Edit `json:"edits"`
}

// Deployed is an event of a deployment's run.
type Deployed struct {
	Step  Step         `json:"step"`
	Event deploy.Event `json:"event"`
}

// Killed says where the first run was cut off.
type Killed struct {
	Time time.Time `json:"time"`
	// Calls is how many API calls had been made.
	Calls  int                      `json:"calls"`
	Done   []architecture.StackName `json:"done"`
	Moving []architecture.StackName `json:"moving"`
}

// Serving says that the sandbox stays, with the deployment in it.
type Serving struct {
	Endpoint
}

// FaultFired says that a fault has happened.
type FaultFired struct{ fault.Firing }

// Ran says how a run of a command under faults ended, and what came next.
type Ran struct{ RunReport }

// ZoneLost says what the loss of a zone left.
type ZoneLost struct{ Outage }

func (FaultFired) event()   {}
func (Ran) event()          {}
func (ZoneLost) event()     {}
func (StepStarted) event()  {}
func (StepFinished) event() {}
func (Planned) event()      {}
func (Changed) event()      {}
func (Deployed) event()     {}
func (Killed) event()       {}
func (Serving) event()      {}
