// Package view is what people and machines get to see: the events of a run
// while it goes on, and results as text.
//
// A [Live] view of a run is a tree on a terminal, plain lines elsewhere, or
// JSON lines for machines. Colour never carries meaning. Text is wrapped at
// [Width] columns where its words allow it.
package view

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
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

// Lines prints what happens, a line each, and while nothing does, that it is
// still at work.
type Lines struct {
	w      io.Writer
	detail Detail
	clock  clock.Clock
	stop   context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	running []deploy.StackStarted
	spoke   time.Time
	moved   time.Time // when it was last said how far a transfer is
}

// NewLines returns a view for logs and pipes. The clock is the run's; it paces
// the heartbeat.
func NewLines(w io.Writer, d Detail, c clock.Clock) *Lines {
	ctx, stop := context.WithCancel(context.Background())
	v := &Lines{w: w, detail: d, clock: c, stop: stop, done: make(chan struct{}), spoke: c.Now()}
	go func() {
		defer close(v.done)
		for v.detail > Results && c.Sleep(ctx, heartbeat/3) == nil {
			v.beat()
		}
	}()
	return v
}

// beat says what goes on if nothing was said for long.
func (v *Lines) beat() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	if len(v.running) == 0 || now.Sub(v.spoke) < heartbeat {
		return
	}
	var working []string
	for _, s := range v.running {
		working = append(working, fmt.Sprintf("%s for %s", s.Stack, Span(now.Sub(s.Time))))
	}
	v.say(now, "", "working on %s", strings.Join(working, ", "))
}

func (v *Lines) say(at time.Time, name architecture.StackName, format string, args ...any) {
	v.spoke = v.clock.Now()
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(v.w, Wrap(fmt.Sprintf("%s  %-11s  ", at.Local().Format("15:04:05"), name), "                       ", text))
}

// Event implements [Live].
func (v *Lines) Event(e deploy.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := e.(type) {
	case deploy.StackStarted:
		v.running = append(v.running, e)
		about := ""
		if e.Expected > 0 {
			about = ", about " + Span(e.Expected)
		}
		if v.detail >= Progress {
			v.say(e.Time, e.Stack, "%s%s", e.Action, about)
		}
	case deploy.StackFinished:
		v.running = slices.DeleteFunc(v.running, func(s deploy.StackStarted) bool { return s.Stack == e.Stack })
		v.say(e.Time, e.Stack, "%s", finished(e))
	case deploy.ResourceEvent:
		if v.detail == Everything || e.Failed() && !strings.Contains(e.Reason, " cancelled") {
			reason := ""
			if e.Reason != "" {
				reason = ": " + e.Reason
			}
			v.say(e.Time, e.Stack, "%s (%s) %s%s", e.LogicalID, e.Type, e.Status, reason)
		}
	case deploy.Step:
		v.say(e.Time, e.Stack, "%s", e.Text)
	case deploy.SessionShort:
		v.say(e.Time, "", "%s", e.Session)
	case deploy.TransferStarted:
		if v.detail >= Progress {
			v.say(e.Time, "", "moving %s", e.Transfer)
		}
	case deploy.TransferItem:
		if e.Status == transfer.Done || e.Status == transfer.Failed {
			v.say(e.Time, "", "%s: %s is %s, %s", e.Transfer, e.Item, e.Status, bytesOf(e.Moved))
		}
	case deploy.TransferProgress:
		if v.detail >= Progress && !e.Idle() && e.Time.Sub(v.moved) >= heartbeat {
			v.moved = e.Time
			v.say(e.Time, "", "%s: %s", e.Transfer, TransferState(e.State))
		}
	case deploy.TransferFinished:
		v.say(e.Time, "", "%s", moved(e))
	}
}

// Close implements [Live].
func (v *Lines) Close() {
	v.stop()
	<-v.done
}

// moved is a transfer's end in words.
func moved(e deploy.TransferFinished) string {
	if e.Err != nil {
		return fmt.Sprintf("moving %s failed after %s: %s", e.Transfer, Span(e.Took), e.Error)
	}
	return fmt.Sprintf("%s are there after %s: %s moved, %s were there", e.Transfer, Span(e.Took), bytesOf(e.Moved), bytesOf(e.Skipped))
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
	case deploy.RecoverStack:
		return "recovered"
	case deploy.ProtectStack:
		return "protection set"
	}
	return "done"
}
