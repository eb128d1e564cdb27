// Package view is what people and machines get to see: the events of a run
// while it goes on, and results as text.
//
// A [Live] view of a run is a tree on a terminal, plain lines elsewhere, or
// JSON lines for machines. Colour never carries meaning. Text is wrapped at
// [Width] columns where its words allow it.
package view

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
)

// Live shows the events of a run. Events come one at a time.
type Live interface {
	Event(deploy.Event)
	// Close ends the view; nothing is shown after it.
	Close()
}

var (
	_ Live = (*Lines)(nil)
	_ Live = (*Tree)(nil)
	_ Live = (*JSONLines)(nil)
)

// Terminal tells whether a stream is one that a person looks at and that can
// move its cursor.
func Terminal(s any) bool {
	f, ok := s.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
}

// JSON writes a value as indented JSON.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// JSONLines writes an event a line: {"event": kind, "data": {...}}.
type JSONLines struct{ w io.Writer }

// NewJSONLines returns a view for machines.
func NewJSONLines(w io.Writer) *JSONLines { return &JSONLines{w} }

// Event implements [Live].
func (v *JSONLines) Event(e deploy.Event) { v.Line(reflect.TypeOf(e).Name(), e) }

// Line writes one line for an event of any kind.
func (v *JSONLines) Line(kind string, data any) {
	line, err := json.Marshal(struct {
		Event string `json:"event"`
		Data  any    `json:"data"`
	}{kind, data})
	if err != nil {
		line = fmt.Appendf(nil, `{"event":"Unprintable","data":%q}`, err)
	}
	fmt.Fprintf(v.w, "%s\n", line)
}

// Close implements [Live].
func (*JSONLines) Close() {}

// heartbeat is how long plain lines stay silent while stacks are in motion.
const heartbeat = 30 * time.Second

// Lines prints what happens, a line each. CloudFormation's events come often
// enough to carry the heartbeat.
type Lines struct {
	w       io.Writer
	detail  Detail
	running []architecture.StackName
	spoke   time.Time
}

// Detail is how much plain lines tell.
type Detail int

// The details.
const (
	// Results is a line for each stack that is done.
	Results Detail = iota
	// Progress is also one for each that begins, and a heartbeat.
	Progress
	// Everything is also one for each event of each resource.
	Everything
)

// NewLines returns a view for logs and pipes.
func NewLines(w io.Writer, d Detail) *Lines { return &Lines{w: w, detail: d} }

func (v *Lines) say(at time.Time, name architecture.StackName, format string, args ...any) {
	v.spoke = at
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(v.w, Wrap(fmt.Sprintf("%s  %-11s  ", at.Local().Format("15:04:05"), name), "                       ", text))
}

// Event implements [Live].
func (v *Lines) Event(e deploy.Event) {
	switch e := e.(type) {
	case deploy.StackStarted:
		v.running = append(v.running, e.Stack)
		about := ""
		if e.Expected > 0 {
			about = ", about " + Span(e.Expected)
		}
		if v.detail >= Progress {
			v.say(e.Time, e.Stack, "%s%s", e.Action, about)
		}
	case deploy.StackFinished:
		v.running = without(v.running, e.Stack)
		v.say(e.Time, e.Stack, "%s", finished(e))
	case deploy.ResourceEvent:
		switch {
		case v.detail == Everything || e.Failed() && !strings.Contains(e.Reason, " cancelled"):
			reason := ""
			if e.Reason != "" {
				reason = ": " + e.Reason
			}
			v.say(e.Time, e.Stack, "%s (%s) %s%s", e.LogicalID, e.Type, e.Status, reason)
		case v.detail == Progress && len(v.running) > 0 && e.Time.Sub(v.spoke) > heartbeat:
			v.say(e.Time, "", "working on %s", Join(v.running))
		}
	case deploy.Step:
		v.say(e.Time, e.Stack, "%s", e.Text)
	}
}

// finished is a stack's end in words.
func finished(e deploy.StackFinished) string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s failed after %s", e.Action, Span(e.Took))
	case e.Changes == 0 && e.Action != deploy.DeleteStack && e.Took > heartbeat:
		// It was in motion, by an earlier run.
		return "up to date after " + Span(e.Took)
	case e.Changes == 0 && e.Action != deploy.DeleteStack:
		return "up to date"
	}
	return fmt.Sprintf("%s after %s, %s", done(e.Action), Span(e.Took), Count(e.Changes, "resource"))
}

func done(a deploy.Action) string {
	switch a {
	case deploy.CreateStack:
		return "created"
	case deploy.UpdateStack:
		return "updated"
	case deploy.DeleteStack:
		return "deleted"
	case deploy.ProtectStack:
		return "protection set"
	}
	return "done"
}

func without[T comparable](list []T, x T) []T {
	for i, y := range list {
		if x == y {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// Close implements [Live].
func (*Lines) Close() {}
