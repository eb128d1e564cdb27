package view_test

import (
	"bytes"
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
		v := view.NewTransfer(&out, asJSON, terminal, clock.Real{})
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
	for line := range strings.Lines(shown(t, true, true)) {
		var e struct {
			Event string
			Data  map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || len(e.Data) == 0 {
			t.Fatalf("%q: %v", line, err)
		}
		kinds = append(kinds, e.Event)
	}
	p, s := "TransferProgress", "TransferState"
	if d := cmp.Diff([]string{p, s, s, p, p, p, p, "Step", p}, kinds); d != "" {
		t.Error(d)
	}
}
