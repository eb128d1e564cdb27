package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
)

// view shows the events of a run while it goes on.
type view interface {
	event(deploy.Event)
	// close ends the view; nothing is shown after it.
	close(err error)
}

var (
	_ view = (*lines)(nil)
	_ view = (*jsonLines)(nil)
)

// view chooses how a run is shown: JSON lines, a live tree on a terminal, or
// plain lines.
func (a *app) view(t *deploy.Target, verb string, plan *deploy.Plan) view {
	switch {
	case a.output == "json":
		return &jsonLines{w: a.Err}
	case terminal(a.Err) && !a.verbose:
		return newTree(a.Err, t, verb, plan)
	}
	return &lines{w: a.Err, verbose: a.verbose}
}

// jsonLines prints an event a line, for machines.
type jsonLines struct{ w io.Writer }

func (v *jsonLines) event(e deploy.Event) {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", e), "deploy.")
	line, err := json.Marshal(struct {
		Event string       `json:"event"`
		Data  deploy.Event `json:"data"`
	}{kind, e})
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"error","data":%q}`, err)
	}
	fmt.Fprintf(v.w, "%s\n", line)
}

func (*jsonLines) close(error) {}

// heartbeat is how long plain lines stay silent while stacks are in motion.
const heartbeat = 30 * time.Second

// lines prints what happens, a line each. CloudFormation's events come often
// enough to carry the heartbeat.
type lines struct {
	w       io.Writer
	verbose bool
	running []architecture.StackName
	spoke   time.Time
}

func (v *lines) say(at time.Time, name architecture.StackName, format string, args ...any) {
	v.spoke = at
	fmt.Fprintf(v.w, "%s  %-11s  %s\n", at.Local().Format("15:04:05"), name, fmt.Sprintf(format, args...))
}

func (v *lines) event(e deploy.Event) {
	switch e := e.(type) {
	case deploy.StackStarted:
		v.running = append(v.running, e.Stack)
		about := ""
		if e.Expected > 0 {
			about = ", about " + span(e.Expected)
		}
		v.say(e.Time, e.Stack, "%s%s", e.Action, about)
	case deploy.StackFinished:
		for i, n := range v.running {
			if n == e.Stack {
				v.running = append(v.running[:i:i], v.running[i+1:]...)
				break
			}
		}
		switch {
		case e.Err != nil:
			v.say(e.Time, e.Stack, "failed after %s", span(e.Took))
		case e.Changes == 0:
			v.say(e.Time, e.Stack, "up to date")
		default:
			v.say(e.Time, e.Stack, "done after %s, %s", span(e.Took), count(e.Changes, "resource"))
		}
	case deploy.ResourceEvent:
		if v.verbose || e.Failed() {
			reason := ""
			if e.Reason != "" {
				reason = ": " + e.Reason
			}
			v.say(e.Time, e.Stack, "%s (%s) %s%s", e.LogicalID, e.Type, e.Status, reason)
		} else if len(v.running) > 0 && e.Time.Sub(v.spoke) > heartbeat {
			v.say(e.Time, "", "working on %s", join(v.running))
		}
	case deploy.Step:
		v.say(e.Time, e.Stack, "%s", e.Text)
	}
}

func (*lines) close(error) {}
