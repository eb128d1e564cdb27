package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// TestL26PausesAreSpread: pauses differ by a tenth at most, between those who
// wait and from one to the next, and are the same again for the same seed.
func TestL26PausesAreSpread(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	var sum time.Duration
	const n = 400
	for seed := range uint64(2) {
		d := Poller{Seed: seed}
		for i := range uint64(n / 4) {
			for _, id := range []string{"a", "b"} {
				p := d.jittered(10*time.Second, id, i)
				if p < 9*time.Second || p > 11*time.Second {
					t.Errorf("seed %d: %v", seed, p)
				}
				if p != d.jittered(10*time.Second, id, i) {
					t.Errorf("seed %d: not the same again", seed)
				}
				seen[p] = true
				sum += p
			}
		}
	}
	if mean := sum / n; len(seen) < n*9/10 || mean < 9800*time.Millisecond || mean > 10200*time.Millisecond {
		t.Errorf("%d different pauses of %d, %v in the mean", len(seen), n, mean)
	}
}

// TestL26ALookThatFailsDecidesNothing: errors that pass are looked past; an
// answer that there is nothing, that the caller may not look, and what is no
// failed read at all, ends the wait.
func TestL26ALookThatFailsDecidesNothing(t *testing.T) {
	t.Parallel()
	denied := &smithy.OperationError{ServiceID: "CloudFormation", OperationName: "DescribeStacks", Err: &smithy.GenericAPIError{Code: "AccessDenied"}}
	for name, tc := range map[string]struct {
		err  error
		ends string // what the error says; "" is that there is none
	}{
		"internal":      {&smithy.GenericAPIError{Code: "InternalFailure"}, ""},
		"throttled":     {&smithy.GenericAPIError{Code: "Throttling"}, ""},
		"unavailable":   {&smithy.GenericAPIError{Code: "ServiceUnavailable"}, ""},
		"cut":           {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, ""},
		"cut in answer": {&smithy.DeserializationError{Err: io.ErrUnexpectedEOF}, ""},
		"expired":       {&smithy.GenericAPIError{Code: "ExpiredToken"}, "ExpiredToken"},
		"gone":          {&smithy.GenericAPIError{Code: "ChangeSetNotFound"}, "ChangeSetNotFound"},
		"denied":        {denied, "to wait for x takes the permission cloudformation:DescribeStacks: look: "},
		"wrong":         {&smithy.GenericAPIError{Code: "ValidationError"}, "ValidationError"},
		"cancelled":     {&aws.RequestCanceledError{Err: errors.New("lost the lease")}, "lost the lease"},
		"no read":       {errors.New("what it held is lost"), "what it held is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var told []string
				looks := 0
				w := Wait{For: "x", Pace: Every(time.Minute), Tell: func(s string) { told = append(told, s) }}
				err := Poller{Clock: clock.Real{}}.Until(t.Context(), w, func(context.Context, time.Duration) (bool, string, error) {
					if looks++; looks < 10 {
						return false, "", fmt.Errorf("look: %w", tc.err)
					}
					return true, "", nil
				})
				switch {
				case tc.ends == "" && (err != nil || looks != 10 || len(told) != 1 || !strings.Contains(told[0], "x can't be looked at for now")):
					t.Errorf("after %d looks: %v, told %q", looks, err, told)
				case tc.ends != "" && (looks != 1 || err == nil || !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.ends)):
					t.Errorf("after %d looks: %v, want one that says %q", looks, err, tc.ends)
				}
			})
		})
	}
}

// TestL26FailedLooksAreSpacedOut: pauses double while looks fail, to a minute,
// and are as asked for again after one that succeeds.
func TestL26FailedLooksAreSpacedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttled := &smithy.GenericAPIError{Code: "Throttling"}
		fails := []bool{false, true, true, true, true, true, false, false}
		var at []time.Time
		err := Poller{Clock: clock.Real{}}.Until(t.Context(), Wait{For: "x", Pace: Every(5 * time.Second)}, func(context.Context, time.Duration) (bool, string, error) {
			at = append(at, time.Now())
			n := len(at)
			if n > len(fails) {
				return true, "", nil
			}
			if fails[n-1] {
				return false, "", throttled
			}
			return false, "moving", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for i := range at[1:] {
			got = append(got, at[i+1].Sub(at[i]).Round(time.Second))
		}
		want := []time.Duration{5, 10, 20, 40, 60, 60, 5, 5}
		for i, w := range want {
			if w *= time.Second; got[i] < w*9/10-time.Second || got[i] > w*11/10+time.Second {
				t.Errorf("pauses are %v, want about %v seconds", got, want)
				break
			}
		}
	})
}

// TestL26AWaitThatEndsSaysWhy: what was waited for, what was seen last, and the
// next step.
func TestL26AWaitThatEndsSaysWhy(t *testing.T) {
	t.Parallel()
	throttled := &smithy.GenericAPIError{Code: "Throttling", Message: "rate exceeded"}
	stopped := errors.New("nothing has moved")
	for name, tc := range map[string]struct {
		atMost time.Duration
		sees   func(waited time.Duration) (string, error)
		clock  clock.Clock
		want   string
		is     error
		after  time.Duration
	}{
		"deadline": {
			atMost: time.Hour, sees: func(time.Duration) (string, error) { return "deleting", nil },
			want: "the deletion of database db is not over after 1h", after: time.Hour,
		},
		"blind": {
			sees: func(waited time.Duration) (string, error) {
				if waited < 10*time.Minute {
					return "deleting", nil
				}
				return "", throttled
			},
			want: "lose sight of the deletion of database db; last seen: deleting: ", is: throttled, after: 10*time.Minute + Blindness,
		},
		"clock": {
			sees: func(time.Duration) (string, error) { return "deleting", nil }, clock: &stops{err: stopped, after: 3},
			want: "wait for the deletion of database db, last seen: deleting: nothing has moved", is: stopped, after: 3 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p := Poller{Clock: clock.Real{}}
				if tc.clock != nil {
					p.Clock = tc.clock
				}
				var told []string
				w := Wait{For: "the deletion of database db", Pace: Every(time.Minute), AtMost: tc.atMost, Next: "repeat the delete", Tell: func(s string) { told = append(told, s) }}
				err := p.Until(t.Context(), w, func(_ context.Context, waited time.Duration) (bool, string, error) {
					seen, err := tc.sees(waited)
					return false, seen, err
				})
				if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, cmpOr(tc.is, err)) {
					t.Fatalf("got %v, want %q", err, tc.want)
				}
				var ended *Error
				if errors.As(err, &ended) && (ended.Seen != "deleting" || !strings.HasSuffix(err.Error(), "; repeat the delete")) {
					t.Errorf("it does not say what was seen and what is next: %v", err)
				}
				if took := time.Since(start); took < tc.after-time.Minute || took > tc.after+3*time.Minute {
					t.Errorf("it took %v, want about %v", took, tc.after)
				}
				beats := slices.ContainsFunc(told, func(s string) bool {
					return strings.HasPrefix(s, "waiting for the deletion of database db, for 5m") && strings.HasSuffix(s, ": deleting")
				})
				if long := tc.after > heartbeat; beats != long {
					t.Errorf("told %q", told)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := Poller{Clock: clock.Real{}}.Until(ctx, Wait{For: "x", Pace: Every(time.Hour)}, func(context.Context, time.Duration) (bool, string, error) { return false, "y", nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ended: %v", err)
		}
	})
}

func cmpOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// stops is a clock that lets nobody sleep any more after some times.
type stops struct {
	clock.Real
	err   error
	after int
}

func (s *stops) Sleep(ctx context.Context, d time.Duration) error {
	if s.after--; s.after < 0 {
		return s.err
	}
	return s.Real.Sleep(ctx, d)
}
