package rehearse

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// An account's clock runs fast until the operations in flight are over, and not
// a second longer: what is due on a date comes at the wall's pace.
func TestPacer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		events []account.Event // At is after how much time
		stir   bool
		passes time.Duration // in ten seconds of the wall
		done   int
	}{
		{"nothing", nil, false, 10 * time.Second, 0},
		{"an operation", []account.Event{{At: time.Unix(900, 0)}}, false, 900*time.Second + 9100*time.Millisecond, 1},
		{"steps", []account.Event{{At: time.Unix(100, 0)}, {At: time.Unix(900, 0)}}, false, 900*time.Second + 9100*time.Millisecond, 2},
		{"one that goes on", []account.Event{{At: time.Unix(100, 0), Data: map[string]any{"again": 800}}}, false, 900*time.Second + 9100*time.Millisecond, 2},
		{"a date", []account.Event{{At: time.Unix(900, 0), Calendar: true}}, false, 10 * time.Second, 0},
		{"a date that comes meanwhile", []account.Event{{At: time.Unix(100, 0), Calendar: true}, {At: time.Unix(900, 0)}}, false, 900*time.Second + 9100*time.Millisecond, 2},
		{"a date that comes", []account.Event{{At: time.Unix(5, 0), Calendar: true}}, true, 10 * time.Second, 1},
		{"idle", []account.Event{{At: time.Unix(900, 0), Idle: true}}, false, 10 * time.Second, 0},
		{"idle, then stirred", []account.Event{{At: time.Unix(900, 0), Idle: true}, {At: time.Unix(900, 0), Calendar: true}}, true, 900*time.Second + 9100*time.Millisecond, 2},
		{"a panic", []account.Event{{At: time.Unix(100, 0), Data: map[string]any{"panic": true}}, {At: time.Unix(900, 0)}}, false, 900*time.Second + 9100*time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := clock.NewScaled(1000)
				done, panics := 0, 0
				a := account.New(&account.Model{Events: map[string]func(*account.Tx, account.Event){"x": func(tx *account.Tx, e account.Event) {
					if e.Data["panic"] != nil {
						panic("by intent")
					}
					done++
					if again, ok := e.Data["again"].(int); ok {
						tx.After(time.Duration(again)*time.Second, account.Event{Kind: "x"})
					}
				}}}, account.Options{Now: c.Now})
				ctx, cancel := context.WithCancelCause(t.Context())
				p, ended := NewPacer(a, c), make(chan error)
				go func() { ended <- p.Run(ctx, func(error) { panics++ }) }()
				synctest.Wait()
				start, wall := c.Now(), time.Now()
				err := a.Do(func(tx *account.Tx) error {
					for _, e := range tt.events {
						after := e.At.Sub(time.Unix(0, 0))
						e.Kind = "x"
						tx.After(after, e)
					}
					if tt.stir {
						tx.Stir()
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10*time.Second - time.Since(wall))
				if got := c.Now().Sub(start).Round(time.Millisecond); got != tt.passes {
					t.Errorf("%v passed in 10s, want %v", got, tt.passes)
				}
				wants := 0
				for _, e := range tt.events {
					if e.Data["panic"] != nil {
						wants++
					}
				}
				if err := a.Do(func(*account.Tx) error { return nil }); err != nil {
					t.Fatal(err)
				}
				if done != tt.done || panics != wants {
					t.Errorf("%d events happened and %d panics were told, want %d and %d", done, panics, tt.done, wants)
				}
				reason := errors.New("interrupted")
				cancel(reason)
				if err := <-ended; !errors.Is(err, reason) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

// A pacer ends when the account can't be kept any more.
func TestPacerEndsWithItsKeeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewScaled(1000)
		a := account.New(&account.Model{}, account.Options{Now: c.Now})
		if err := a.Do(func(tx *account.Tx) error {
			tx.After(time.Minute, account.Event{Kind: "x"})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := a.Keep(full{}, func(*account.Image) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := NewPacer(a, c).Run(t.Context(), func(err error) { t.Error(err) }); err == nil {
			t.Error("it ended without an error")
		}
	})
}

// full is a keeper whose disk is full.
type full struct{}

func (full) Keep(account.Changes) (func() error, error) { return nil, fmt.Errorf("disk full") }
func (full) Pass(time.Time) error                       { return fmt.Errorf("disk full") }
