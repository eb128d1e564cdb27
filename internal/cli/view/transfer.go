package view

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

// renewal is how often a terminal's line of a transfer renews itself.
const renewal = time.Second / 2

// Transfer shows the moving of bytes: a line for each item that ends and, while
// items move, how far all of them are. That is one line that renews itself on a
// terminal, a line every [heartbeat] elsewhere, and for machines JSON lines: a
// TransferProgress when an item begins and ends, a TransferState every heartbeat.
type Transfer struct {
	ctx      context.Context
	w        io.Writer
	terminal bool
	json     *JSONLines
	quiet    bool // about items
	meter    *transfer.Meter
	stop     context.CancelFunc
	done     chan struct{}

	mu     sync.Mutex
	began  map[string]time.Time
	living bool // there is a line to renew
}

// NewTransfer starts a view of a transfer, which measures it by the clock. Once the
// context has ended nothing fails: whoever ended it is the reason. People are told by the
// command, machines by the item's status.
func NewTransfer(ctx context.Context, w io.Writer, json, terminal bool, c clock.Clock) *Transfer {
	return newTransfer(ctx, w, json, terminal, false, c)
}

// NewReading is [NewTransfer] for what is done soon as a rule: it says how far that
// is, and nothing of its beginning and end.
func NewReading(ctx context.Context, w io.Writer, json, terminal bool, c clock.Clock) *Transfer {
	return newTransfer(ctx, w, json, terminal, true, c)
}

func newTransfer(ctx context.Context, w io.Writer, json, terminal, quiet bool, c clock.Clock) *Transfer {
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	v := &Transfer{ctx: ctx, w: w, terminal: terminal && !json, quiet: quiet, stop: stop, done: make(chan struct{}), began: map[string]time.Time{}}
	if json {
		v.json = NewJSONLines(w)
	}
	v.meter = transfer.NewMeter(c, v.event)
	every := heartbeat
	if v.terminal {
		every = renewal
	}
	go func() {
		defer close(v.done)
		v.meter.Watch(watch, every, v.state)
	}()
	return v
}

// Meter is what whoever moves bytes counts them with.
func (v *Transfer) Meter() *transfer.Meter { return v.meter }

// Say prints a line of text between those of the transfer; machines get it as a
// Step.
func (v *Transfer) Say(at time.Time, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if v.json != nil {
		v.json.Line("Step", struct {
			Time time.Time `json:"time"`
			Text string    `json:"text"`
		}{at, text})
		return
	}
	v.clear()
	v.line(at, text)
}

// Close ends the view; nothing is shown after it.
func (v *Transfer) Close() {
	v.stop()
	<-v.done
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clear()
}

// clear takes the line that renews itself away.
func (v *Transfer) clear() {
	if v.living {
		fmt.Fprint(v.w, "\r\x1b[K")
		v.living = false
	}
}

func (v *Transfer) line(at time.Time, text string) {
	fmt.Fprintln(v.w, Wrap(at.Local().Format("15:04:05")+"  ", "          ", text))
}

func (v *Transfer) event(p transfer.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.quiet {
		return
	}
	if p.Status == transfer.Failed && v.ctx.Err() != nil {
		p.Status, p.Error = transfer.Interrupted, ""
	}
	if v.json != nil {
		v.json.Line("TransferProgress", p)
		return
	}
	v.clear()
	switch p.Status {
	case transfer.Moving:
		v.began[p.Item] = p.Time
		if v.terminal {
			// The line that renews itself names it.
			return
		}
		text := "begins"
		if p.Known {
			text += ", " + bytesOf(p.Total)
		}
		v.line(p.Time, p.Item+" "+text)
	case transfer.Skipped:
		v.line(p.Time, p.Item+" is there already")
	case transfer.Done:
		v.line(p.Time, fmt.Sprintf("%s is done: %s in %s%s", p.Item, bytesOf(p.Moved), Span(p.Time.Sub(v.began[p.Item])), there(p.Skipped)))
	case transfer.Failed:
		v.line(p.Time, fmt.Sprintf("%s failed after %s%s", p.Item, bytesOf(p.Moved), there(p.Skipped)))
	}
}

// there says how much needn't be moved.
func there(skipped int64) string {
	if skipped == 0 {
		return ""
	}
	return fmt.Sprintf("; %s were there already", bytesOf(skipped))
}

func (v *Transfer) state(s transfer.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.json != nil:
		v.json.Line("TransferState", s)
	case s.Idle():
	case v.terminal:
		text := []rune(safe(TransferState(s)))
		if width := columns(v.w); len(text) >= width {
			text = append(text[:width-2], '…')
		}
		fmt.Fprintf(v.w, "\r\x1b[K%s", string(text))
		v.living = true
	default:
		v.line(s.Time, TransferState(s))
	}
}

// columns is how wide a terminal is.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 10 {
			return width
		}
	}
	return 80
}

// TransferState says in a line how far a transfer is: 12 GB of 40 GB, 30%,
// 250 MB/s, 2m left: laguna.tar, 2 more.
func TransferState(s transfer.State) string {
	var b strings.Builder
	there := s.Moved + s.Skipped
	b.WriteString(bytesOf(there))
	if s.Known && s.Total > 0 {
		fmt.Fprintf(&b, " of %s, %d%%", bytesOf(s.Total), int(100*float64(there)/float64(s.Total)))
	}
	fmt.Fprintf(&b, ", %s/s", bytesOf(int64(s.Rate)))
	if s.Remaining > 0 {
		fmt.Fprintf(&b, ", %s left", Span(s.Remaining))
	}
	for i, p := range s.Items {
		switch i {
		case 0:
			b.WriteString(": " + p.Item)
		case 1:
			b.WriteString(", " + p.Item)
		case 2:
			fmt.Fprintf(&b, ", %d more", len(s.Items)-2)
		}
	}
	return b.String()
}
