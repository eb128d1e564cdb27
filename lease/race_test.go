package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// write is a state of a parameter from a time on.
type write struct {
	at    time.Time
	value string // "" once it is deleted
}

// laggard is a Parameter Store at its worst: calls take their time on the way
// there and back, reads show what was there before, answers get lost.
type laggard struct {
	rnd  *rand.Rand
	lag  time.Duration // at most, of reads
	way  time.Duration // at most, of each direction of a call
	loss float64

	mu      sync.Mutex
	history map[string][]write
}

// draw is up to most. The caller holds mu.
func (s *laggard) draw(most time.Duration) time.Duration {
	return time.Duration(s.rnd.Int64N(int64(most)))
}

// as is a parameter as it was at a time.
func (s *laggard) as(name string, at time.Time) (w write) {
	for _, h := range s.history[name] {
		if !h.at.After(at) {
			w = h
		}
	}
	return w
}

// carryOut answers a call as the service does, in no time.
func (s *laggard) carryOut(operation string, in map[string]any) (status int, answer any) {
	now := time.Now()
	str := func(k string) string { v, _ := in[k].(string); return v }
	switch operation {
	case "PutParameter":
		again, _ := in["Overwrite"].(bool)
		if !again && s.as(str("Name"), now).value != "" {
			return 400, map[string]any{"__type": "ParameterAlreadyExists"}
		}
		h := append(s.history[str("Name")], write{now, str("Value")})
		s.history[str("Name")] = h
		version := 0
		for i := len(h) - 1; i >= 0 && h[i].value != ""; i-- {
			version++
		}
		return 200, map[string]any{"Version": version}
	case "DeleteParameters":
		names, _ := in["Names"].([]any)
		for _, n := range names {
			name, _ := n.(string)
			s.history[name] = append(s.history[name], write{at: now})
		}
		return 200, map[string]any{}
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.history)) {
		if w := s.as(name, now.Add(-s.draw(s.lag))); w.value != "" {
			list = append(list, map[string]any{"Name": name, "Value": w.value, "LastModifiedDate": float64(w.at.UnixMilli()) / 1000})
		}
	}
	return 200, map[string]any{"Parameters": list}
}

// wire is the way of one run to the store.
type wire struct {
	*laggard
	cut bool // guarded by mu
}

// Do implements [aws.HTTPClient].
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	w.mu.Lock()
	there, back := w.draw(w.way), w.draw(w.way)
	lost, answered := w.cut || w.rnd.Float64() < w.loss/2, w.rnd.Float64() >= w.loss/2
	w.mu.Unlock()
	if err := (clock.Real{}).Sleep(r.Context(), there); err != nil {
		return nil, err
	}
	if lost {
		return nil, errors.New("no answer")
	}
	w.mu.Lock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	status, answer := w.carryOut(operation, in)
	date := time.Now()
	w.mu.Unlock()
	if err := (clock.Real{}).Sleep(r.Context(), back); err != nil {
		return nil, err
	}
	if !answered {
		return nil, errors.New("no answer")
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Date": {date.UTC().Format(http.TimeFormat)}, "Content-Type": {"application/x-amz-json-1.1"}},
		Body: io.NopCloser(bytes.NewReader(out)), ContentLength: int64(len(out)), Request: r,
	}, nil
}

// race is what two runs that want one lease came to.
type race struct {
	held    [2]time.Duration
	both    time.Duration // the longest time that both believed to hold it
	refused int
}

// play has two runs want one lease again and again for a while: they work for
// some time, are cut off, die and come back.
func play(t *testing.T, seed uint64, lag time.Duration, cuts bool) (out race) {
	const takes = 40 * time.Minute
	rnd := rand.New(rand.NewPCG(seed, 1))
	store := &laggard{rnd: rnd, lag: lag, way: 3 * time.Second, loss: 0.1, history: map[string][]write{}}
	draw := func(most time.Duration) time.Duration {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.draw(most)
	}
	ctx, stop := context.WithTimeout(t.Context(), takes)
	defer stop()
	var mu sync.Mutex
	var present [2]*Lease
	var wg sync.WaitGroup
	for who := range 2 {
		w := &wire{laggard: store}
		client := ssm.New(ssm.Options{Region: "us-east-1", HTTPClient: w, RetryMaxAttempts: 3, Credentials: aws.AnonymousCredentials{}})
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_ = clock.Real{}.Sleep(ctx, draw(TTL/2))
				alive, die := context.WithCancel(ctx)
				l, err := Acquire(alive, Options{
					Store: client, Clock: clock.Real{}, Path: path, Holder: Holder{Owner: fmt.Sprint(who), Run: fmt.Sprint(who, n)},
				})
				var held *HeldError
				if err != nil {
					if errors.As(err, &held) {
						mu.Lock()
						out.refused++
						mu.Unlock()
					}
					die()
					continue
				}
				mu.Lock()
				present[who] = l
				mu.Unlock()
				_ = clock.Real{}.Sleep(ctx, draw(3*TTL))
				if cuts && draw(3) == 0 {
					store.mu.Lock()
					w.cut = true
					store.mu.Unlock()
					_ = clock.Real{}.Sleep(ctx, draw(2*TTL))
					store.mu.Lock()
					w.cut = false
					store.mu.Unlock()
					_ = l.Check(ctx)
					_ = clock.Real{}.Sleep(ctx, draw(TTL))
				}
				mu.Lock()
				present[who] = nil
				mu.Unlock()
				if draw(3) == 0 {
					die()
					l.cut()
				} else {
					_ = l.Release(ctx)
				}
				die()
			}
		})
	}
	const step = 2 * time.Second
	var together time.Duration
	for ctx.Err() == nil {
		time.Sleep(step)
		mu.Lock()
		believe := 0
		for who, l := range present {
			if l == nil {
				continue
			}
			if is, err := l.held(); is && err == nil {
				believe++
				out.held[who] += step
			}
		}
		mu.Unlock()
		if together += step; believe < 2 {
			together = 0
		}
		out.both = max(out.both, together)
	}
	wg.Wait()
	return out
}

// TestL25Races has two runs race for a lease under 200 seeds, in a store whose
// reads lag: they never both believe to hold it for longer than documented.
func TestL25Races(t *testing.T) {
	var mu sync.Mutex
	var longest [2]time.Duration
	var held, refused int
	for seed := range uint64(200) {
		cuts := seed%2 == 1
		lag := time.Duration(1+3*(seed%20)) * time.Second
		synctest.Test(t, func(t *testing.T) {
			r := play(t, seed, lag, cuts)
			// A call that is repeated takes three times both ways, and pauses.
			call := 30 * time.Second
			bound := lag + call + TTL/3
			if cuts {
				bound = lag + call + TTL
			}
			if r.both > bound {
				t.Errorf("seed %d: both believed to hold the lease for %v, with reads that lag %v; want at most %v", seed, r.both, lag, bound)
			}
			mu.Lock()
			defer mu.Unlock()
			longest[seed%2] = max(longest[seed%2], r.both)
			if r.held[0] > 0 && r.held[1] > 0 {
				held++
			}
			refused += r.refused
		})
	}
	t.Logf("200 races: both took the lease in %d, %d refusals; both believed to hold it for %v at most, and for %v when they were cut off", held, refused, longest[0], longest[1])
	if held < 180 || refused < 1000 {
		t.Errorf("both took the lease in %d races, with %d refusals: too few to show anything", held, refused)
	}
}
