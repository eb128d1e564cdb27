package sweep_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"

	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// call is one request of a run, before or after the account has seen it.
type call struct {
	// number counts the run's calls, and writing those that change something,
	// from 1; writing is 0 for a call that only reads.
	number, writing int
	operation       string // cloudformation:CreateChangeSet
	on              string // what it names, as far as that is easy to see
}

func (c call) String() string {
	return strings.TrimSpace(fmt.Sprintf("call %d, %s %s", c.number, c.operation, c.on))
}

// line carries a run's calls to a sandbox. Each takes some milliseconds that
// depend on the seed and on the call alone, so that the calls of a run come in
// an order that another run with the seed has too.
type line struct {
	box  *sandbox.Sandbox
	seed uint64
	// spread is the longest that a call takes to arrive.
	spread time.Duration
	// pause is how long the process stands still once its pauseAt-th call was
	// carried out: it learns of nothing and does nothing until then, see
	// [line.Sleep]. 0 is not at all.
	pauseAt int
	pause   time.Duration
	stands  func() // is told when it begins
	// idle is by how many times longer the process rests between two looks at
	// what AWS does: it sees less of it, and writes the same. 0 is as it wants.
	idle time.Duration
	// before and after see each call, one at a time; both may be nil.
	before, after func(call)

	mu    sync.Mutex
	calls map[string]int // by what identifies them
	until time.Time      // the process stands still
	late  []string       // the calls that it sent before and that arrive afterwards
	call  call           // the last
	turn  sync.Mutex
}

var (
	_ http.RoundTripper = (*line)(nil)
	_ clock.Clock       = (*line)(nil)
)

var named = regexp.MustCompile(`(?:StackName|ChangeSetName|"(?:Name|Bucket|KeyId|GroupId)")["=:]+([^&",]*)`)

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	c := call{operation: strings.ToLower(middleware.GetServiceID(ctx)) + ":" + middleware.GetOperationName(ctx)}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if m := named.FindSubmatch(body); m != nil {
			c.on = string(m[1])
		}
	}
	if c.on == "" && r.URL.Path != "/" {
		c.on = r.URL.Path
	}
	if err := l.rest(ctx, l.takes(c.operation+" "+r.URL.Host+" "+c.on)); err != nil {
		return nil, err
	}
	resp, err := l.arrive(r, c)
	if waited := l.stand(ctx); waited != nil {
		return nil, waited
	}
	return resp, err
}

// arrive has the account see a call.
func (l *line) arrive(r *http.Request, c call) (*http.Response, error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.call.number++
	c.number = l.call.number
	if writes(c.operation) {
		l.call.writing++
		c.writing = l.call.writing
	}
	if sent, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); err == nil && l.stood(sent) {
		l.late = append(l.late, c.operation)
	}
	if l.before != nil {
		l.before(c)
	}
	resp, err := testkit.Transport{Handler: l.box}.RoundTrip(r)
	if l.after != nil {
		l.after(c)
	}
	if l.pause > 0 && c.number == l.pauseAt {
		l.mu.Lock()
		l.until = time.Now().Add(l.pause)
		l.mu.Unlock()
		l.stands()
	}
	return resp, err
}

// stood tells that the process stood still since a moment, and does no more.
func (l *line) stood(since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.until.IsZero() && !time.Now().Before(l.until) && since.Before(l.until.Add(-l.pause/2))
}

// Now implements [clock.Clock].
func (l *line) Now() time.Time { return time.Now() }

// look is the longest pause between two looks at what AWS does.
const look = 15 * time.Second

// Sleep implements [clock.Clock] for a process that may be idle or stand still.
func (l *line) Sleep(ctx context.Context, d time.Duration) error {
	if l.idle > 0 && d <= look {
		d *= l.idle
	}
	return l.rest(ctx, d)
}

// rest sleeps and then stands still, if it does.
func (l *line) rest(ctx context.Context, d time.Duration) error {
	if err := (clock.Real{}).Sleep(ctx, d); err != nil {
		return err
	}
	return l.stand(ctx)
}

// stand returns when the process does not stand still.
func (l *line) stand(ctx context.Context) error {
	l.mu.Lock()
	wait := time.Until(l.until)
	l.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return clock.Real{}.Sleep(ctx, wait)
}

// takes is how long a call takes to arrive.
func (l *line) takes(id string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[id]++
	return time.Millisecond + time.Duration(life.Draw(l.seed, id, l.calls[id])*float64(l.spread))
}

var reading = regexp.MustCompile(`:(Describe|List|Get|Head|Lookup|Detect|Validate|Simulate|Search|BatchGet)`)

// writes tells that an operation changes something.
func writes(operation string) bool { return !reading.MatchString(operation) }
