package view_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// shown is what a transfer of three items looks like.
func shown(t *testing.T, asJSON, terminal bool) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		v := view.NewTransfer(ctx, &out, asJSON, terminal, clock.Real{})
		a := v.Meter().Start("laguna.tar", 40_000_000_000)
		a.Skip(4_000_000_000)
		// Nothing happens at the same moment as the view renews itself.
		time.Sleep(time.Second / 4)
		for range 80 {
			time.Sleep(time.Second)
			a.Move(100_000_000)
			synctest.Wait()
		}
		b := v.Meter().Start("a\x1b[2Jb", 10)
		b.Skip(10)
		b.End(nil)
		a.Move(28_000_000_000)
		a.End(nil)
		c := v.Meter().Start("c", -1)
		v.Say(time.Now(), "waits for %s", "somebody")
		c.End(errors.New("the line is cut"))
		d := v.Meter().Start("d", 10)
		interrupt()
		d.End(context.Canceled)
		v.Close()
	})
	return regexp.MustCompile(`\d\d:\d\d:\d\d  `).ReplaceAllString(out.String(), "")
}

func TestTransferLines(t *testing.T) {
	t.Parallel()
	want := `laguna.tar begins, 40 GB
6.9 GB of 40 GB, 17%, 90 MB/s, 6m left: laguna.tar
9.9 GB of 40 GB, 24%, 90 MB/s, 6m left: laguna.tar
`
	got := shown(t, false, false)
	if d := cmp.Diff(want, got[:len(want)]); d != "" {
		t.Errorf("%s\n%s", d, got)
	}
	rest := got[len(want):]
	for _, line := range []string{"laguna.tar is done: 36 GB in 80s; 4.0 GB were there already\n", "c begins\nwaits for somebody\nc failed after 0 B\n"} {
		if !strings.Contains(rest, line) {
			t.Errorf("%q is missing in\n%s", line, rest)
		}
	}
	if strings.Contains(got, "d failed") {
		t.Errorf("an interrupt is shown as a failure:\n%s", got)
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("a name steers the terminal: %q", got)
	}
}

func TestTransferOnATerminal(t *testing.T) {
	t.Parallel()
	got := shown(t, false, true)
	if !strings.HasPrefix(got, "\r\x1b[K4.0 GB of 40 GB, 10%, 0 B/s: laguna.tar\r\x1b[K4.0 GB of 40 GB, 10%, 0 B/s: laguna.tar\r\x1b[K4.1 GB") || !strings.HasSuffix(got, "c failed after 0 B\n") {
		t.Errorf("%q", got)
	}
	for renewed := range strings.SplitSeq(got, "\r\x1b[K") {
		if strings.Contains(renewed, "\x1b") || len([]rune(strings.SplitN(renewed, "\n", 2)[0])) > 80 {
			t.Errorf("%q", renewed)
		}
	}
}

func TestTransferAsJSON(t *testing.T) {
	t.Parallel()
	var kinds []string
	var last map[string]any
	for line := range strings.Lines(shown(t, true, true)) {
		var e struct {
			Event string
			Data  map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || len(e.Data) == 0 {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, e.Event)
		if e.Data["item"] == "d" {
			last = e.Data
		}
	}
	p, s := "TransferProgress", "TransferState"
	if d := cmp.Diff([]string{p, s, s, p, p, p, p, "Step", p, p, p}, kinds); d != "" {
		t.Error(d)
	}
	if last["status"] != "interrupted" || last["error"] != nil {
		t.Errorf("an interrupt is shown as %v", last)
	}
}

// Of what nobody knows the size of, such as a compressed archive, people see bytes and
// rate, and neither a part of the whole nor a time that is left; machines are told that
// the total isn't one.
func TestTransferOfUnknownSize(t *testing.T) {
	t.Parallel()
	show := func(asJSON, terminal bool) string {
		var out bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			v := view.NewTransfer(t.Context(), &out, asJSON, terminal, clock.Real{})
			i := v.Meter().Start("laguna.tar.gz", -1)
			time.Sleep(time.Second / 4)
			i.Skip(1_000_000_000)
			for range 31 {
				i.Move(100_000_000)
				time.Sleep(time.Second)
				synctest.Wait()
			}
			i.End(nil)
			v.Close()
		})
		return out.String()
	}
	lines, terminal := show(false, false), show(false, true)
	for name, text := range map[string]string{"lines": lines, "terminal": terminal} {
		if strings.Contains(text, "%") || strings.Contains(text, "left") || strings.Contains(text, " of ") || !strings.Contains(text, "90 MB/s: laguna.tar.gz") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	if !strings.Contains(lines, "4.0 GB, 90 MB/s: laguna.tar.gz\n") || !strings.Contains(lines, "laguna.tar.gz is done: 3.1 GB in 31s; 1.0 GB were there already\n") {
		t.Errorf("lines:\n%s", lines)
	}
	states := 0
	for line := range strings.Lines(show(true, false)) {
		var e struct {
			Event string
			Data  struct {
				TotalKnown           bool
				MovedBytes           int64
				BytesPerSecond       float64
				RemainingNanoseconds int64
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Event != "TransferState" {
			continue
		}
		states++
		if e.Data.TotalKnown || e.Data.RemainingNanoseconds >= 0 || e.Data.MovedBytes == 0 || e.Data.BytesPerSecond < 85_000_000 {
			t.Errorf("%s", line)
		}
	}
	if states == 0 {
		t.Error("machines are told of no state")
	}
}
