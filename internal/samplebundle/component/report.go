package component

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Report is what a component says of itself.
type Report struct {
	Component string `json:"component"`
	// Pod is its name, or outside of a pod the component's.
	Pod string `json:"pod"`
	// OK tells that all checks that are required hold.
	OK bool `json:"ok"`
	// Time is when it was looked.
	Time   time.Time `json:"time"`
	Checks []Result  `json:"checks"`
}

// Result is how one thing is that a component needs.
type Result struct {
	Check    string `json:"check"`
	Required bool   `json:"required"`
	OK       bool   `json:"ok"`
	// Says is what was seen, or why it isn't as it should be.
	Says string `json:"says"`
}

// check looks at one thing.
type check struct {
	name     string
	required bool
	run      func(ctx context.Context) (says string, err error)
}

const (
	// checkWithin is how long one check may take, and fresh how long a report stands:
	// who asks more often gets the same one.
	checkWithin = 10 * time.Second
	fresh       = 3 * time.Second
)

// reports are a component's, made one at a time.
type reports struct {
	component string
	pod       string
	checks    []check
	now       func() time.Time
	log       io.Writer

	mu     sync.Mutex
	last   Report
	said   string
	passed bool
}

// report looks at everything side by side, or repeats what was seen a moment ago.
func (r *reports) report(ctx context.Context) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if !r.last.Time.IsZero() && now.Sub(r.last.Time) < fresh {
		return r.last
	}
	// Others wait for this report, so it doesn't end with who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkWithin)
	defer cancel()
	list := make([]Result, len(r.checks))
	var all sync.WaitGroup
	for i, c := range r.checks {
		all.Go(func() {
			says, err := c.run(ctx)
			if err != nil {
				says = err.Error()
			}
			list[i] = Result{c.name, c.required, err == nil, says}
		})
	}
	all.Wait()
	r.last = Report{Component: r.component, Pod: r.pod, OK: true, Time: now, Checks: list}
	var failed []string
	for _, c := range list {
		if !c.OK {
			failed = append(failed, c.Check+": "+c.Says)
		}
		r.last.OK = r.last.OK && (c.OK || !c.Required)
	}
	r.passed = r.passed || r.last.OK
	said := "all is reached"
	if len(failed) > 0 {
		said = strings.Join(failed, "; ")
	}
	if said != r.said {
		fmt.Fprintln(r.log, said)
		r.said = said
	}
	return r.last
}

func (r *reports) serve(w http.ResponseWriter, q *http.Request) {
	report := r.report(q.Context())
	code := http.StatusOK
	if !report.OK {
		code = http.StatusServiceUnavailable
	}
	answer(w, code, report)
}

// ready answers 200 once all that is required was reached, and from then on.
func (r *reports) ready(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	passed := r.passed
	r.mu.Unlock()
	if passed {
		fmt.Fprintln(w, "ok")
		return
	}
	r.serve(w, q)
}
