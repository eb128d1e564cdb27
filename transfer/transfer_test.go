package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/transfer"
)

const mega = 1_000_000

func TestMeter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events []transfer.Progress
		m := transfer.NewMeter(clock.Real{}, func(p transfer.Progress) { events = append(events, p) })
		start := time.Now()
		m.Expect(50 * mega)
		a := m.Start("a", 100*mega)
		a.Skip(20 * mega)
		for range 4 {
			time.Sleep(time.Second)
			a.Move(5 * mega)
		}
		if s := m.State(); s.Rate != 5*mega || s.Total != 150*mega || s.Moved != 20*mega || s.Skipped != 20*mega || s.Remaining != 22*time.Second || !s.Known {
			t.Errorf("after 4 s: %+v", s)
		}
		// What was long ago does not count.
		for range 20 {
			time.Sleep(time.Second)
			a.Move(1 * mega)
		}
		if s := m.State(); s.Rate != 1*mega || s.Remaining != 90*time.Second {
			t.Errorf("after 24 s: %+v", s)
		}
		b := m.Start("b", -1)
		m.Expect(-50 * mega)
		b.Move(3 * mega)
		b.Move(-1 * mega) // and again
		if s := m.State(); s.Known || s.Remaining >= 0 || len(s.Items) != 2 || s.Items[1].Moved != 2*mega {
			t.Errorf("with an unknown total: %+v", s)
		}
		b.Expect(4 * mega)
		m.ExpectUnknown(1)
		if s := m.State(); s.Known || s.Remaining >= 0 || s.Rate == 0 {
			t.Errorf("with an item to come: %+v", s)
		}
		m.ExpectUnknown(-1)
		if s := m.State(); !s.Known || s.Total != 104*mega || s.Left() != 42*mega {
			t.Errorf("with all totals known: %+v", s)
		}
		b.End(errors.New("the line is cut"))
		b.Move(100) // comes too late
		a.Move(40 * mega)
		a.End(nil)
		c := m.Start("c", 7)
		c.Skip(7)
		c.End(nil)
		d := m.Read("d", 5)
		d.Move(4)
		if s := m.State(); s.Left() != 1 || s.Moved != 82*mega+4 {
			t.Errorf("while something is read: %+v", s)
		}
		d.End(nil)
		if s := m.State(); !s.Idle() || s.Done != 2 || s.Failed != 1 || s.Remaining != 0 || s.Moved != 82*mega || s.Total != 102*mega+7 {
			t.Errorf("in the end: %+v", s)
		}
		time.Sleep(10 * time.Second)
		if s := m.State(); s.Rate != 0 {
			t.Errorf("long after the end it goes at %f", s.Rate)
		}
		at := start.Add(24 * time.Second)
		want := []transfer.Progress{
			{Time: start, Item: "a", Bytes: transfer.Bytes{Total: 100 * mega, Known: true}, Status: transfer.Moving},
			{Time: at, Item: "b", Status: transfer.Moving},
			{Time: at, Item: "b", Bytes: transfer.Bytes{Total: 4 * mega, Known: true, Moved: 2 * mega}, Status: transfer.Failed, Error: "the line is cut"},
			{Time: at, Item: "a", Bytes: transfer.Bytes{Total: 100 * mega, Known: true, Moved: 80 * mega, Skipped: 20 * mega}, Status: transfer.Done},
			{Time: at, Item: "c", Bytes: transfer.Bytes{Total: 7, Known: true}, Status: transfer.Moving},
			{Time: at, Item: "c", Bytes: transfer.Bytes{Total: 7, Known: true, Skipped: 7}, Status: transfer.Skipped},
			{Time: at, Item: "d", Bytes: transfer.Bytes{Total: 5, Known: true}, Status: transfer.Moving},
			{Time: at, Item: "d", Bytes: transfer.Bytes{Total: 4, Known: true, Moved: 4}, Status: transfer.Done},
		}
		if d := cmp.Diff(want, events); d != "" {
			t.Error(d)
		}
	})
}

func TestMeterAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := transfer.NewMeter(clock.Real{}, nil)
		m.Start("a", 10).Move(4)
		time.Sleep(2 * time.Second)
		got, err := json.Marshal(m.State())
		want := `{"time":"2000-01-01T00:00:02Z","totalBytes":10,"totalKnown":true,"movedBytes":4,"skippedBytes":0,"bytesPerSecond":2,"remainingNanoseconds":3000000000,` +
			`"items":[{"time":"2000-01-01T00:00:02Z","item":"a","totalBytes":10,"totalKnown":true,"movedBytes":4,"skippedBytes":0,"status":"moving"}],"done":0,"failed":0}`
		if err != nil || strings.ReplaceAll(string(got), "+00:00", "Z") != want {
			t.Errorf("%s, %v, want\n%s", got, err, want)
		}
	})
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := transfer.NewMeter(clock.Real{}, nil)
		i := m.Start("a", 30)
		ctx, cancel := context.WithCancel(t.Context())
		var seen []int64
		go func() {
			for range 3 {
				i.Move(10)
				time.Sleep(time.Second)
			}
			cancel()
		}()
		m.Watch(ctx, 900*time.Millisecond, func(s transfer.State) { seen = append(seen, s.Moved) })
		if d := cmp.Diff([]int64{10, 20, 30}, seen); d != "" {
			t.Error(d)
		}
	})
}

func TestNothingToMeasure(t *testing.T) {
	t.Parallel()
	var m *transfer.Meter
	i := m.Start("a", 1)
	i.Move(1)
	i.Skip(1)
	i.Expect(2)
	i.End(nil)
	m.Expect(1)
	m.Watch(t.Context(), 1, nil)
	if s := m.State(); s.Total != 0 || !s.Idle() {
		t.Errorf("%+v", s)
	}
	if got, err := io.ReadAll(transfer.Reader(t.Context(), strings.NewReader("ab"), i, nil)); err != nil || string(got) != "ab" {
		t.Errorf("%q, %v", got, err)
	}
	if l := transfer.NewLimit(clock.Real{}, 0); l != nil {
		t.Error("there is a limit of 0")
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := transfer.NewLimit(clock.Real{}, mega)
		m := transfer.NewMeter(clock.Real{}, nil)
		var all sync.WaitGroup
		start := time.Now()
		for range 4 {
			all.Go(func() {
				i := m.Start("a", 2*mega)
				n, err := io.Copy(io.Discard, transfer.Reader(t.Context(), bytes.NewReader(make([]byte, 2*mega)), i, l))
				i.End(err)
				if err != nil || n != 2*mega {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
		}
		all.Wait()
		// 8 MB at 1 MB/s, less what was not used before and a piece that goes at
		// once.
		if took := time.Since(start).Seconds(); took < 7.8 || took > 8 {
			t.Errorf("8 MB at 1 MB/s took %v", took)
		}
		if s := m.State(); s.Moved != 8*mega {
			t.Errorf("counted %d", s.Moved)
		}
		// Idle time can't be saved up.
		time.Sleep(time.Hour)
		start = time.Now()
		if _, err := io.Copy(io.Discard, transfer.Reader(t.Context(), bytes.NewReader(make([]byte, mega)), nil, l)); err != nil || time.Since(start) < 850*time.Millisecond {
			t.Errorf("after a pause 1 MB took %v, %v", time.Since(start), err)
		}
	})
}

func TestLimitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := transfer.NewLimit(clock.Real{}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := io.Copy(io.Discard, transfer.Reader(ctx, bytes.NewReader(make([]byte, 100)), nil, l)); err != nil {
			t.Fatalf("what goes at once: %v", err)
		}
		_, err := io.Copy(io.Discard, transfer.Reader(ctx, bytes.NewReader(make([]byte, 100)), nil, l))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1000000": mega, "50MB/s": 50 * mega, "50mB": 50 * mega, "1.5 GiB": 3 << 29, "200Mbit/s": 25 * mega, "200Mbps": 25 * mega, "8k": 8000, "1KiB/s": 1024,
	} {
		if got, err := transfer.ParseRate(text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1", "0", "1XB", "1e30TB", "5 MB/min", "..", "9999999999999999999TB", "1bit", "100Mb/s", "50mb", "1kb", "5 Gb/s"} {
		if got, err := transfer.ParseRate(text); err == nil || !strings.Contains(err.Error(), "50MB/s") {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}
