package cli

import (
	"context"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// retryEvery is how often a run looks for new credentials.
const retryEvery = 15 * time.Second

// patience is what a run has with credentials that have ended while somebody is
// there to sign in again: it says so, and tries again until they have. Before
// and after a run there is none. Safe for concurrent use.
type patience struct {
	mu   sync.Mutex
	emit func(deploy.Event) // nil while there is none
	last time.Time          // when it was tried last
}

func (p *patience) begin(emit func(deploy.Event)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.emit = emit
}

func (p *patience) end() { p.begin(nil) }

// wait returns what waits for new credentials.
func (p *patience) wait(c clock.Clock) func(context.Context, error) error {
	return func(ctx context.Context, failed error) error {
		p.mu.Lock()
		emit, now, last := p.emit, c.Now(), p.last
		p.mu.Unlock()
		if emit == nil {
			return failed
		}
		if last.IsZero() || now.Sub(last) > 4*retryEvery {
			emit(deploy.Step{Time: now, Text: "the AWS credentials have expired; AWS goes on with what it has begun. Sign in again, in another terminal, and this run goes on by itself; Ctrl-C ends it"})
		}
		if err := c.Sleep(ctx, retryEvery); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last = c.Now()
		return nil
	}
}

// paused explains why a run that isn't over watches no more.
func (p *problem) paused(e *deploy.PausedError, command string) {
	p.Error = "paused: the AWS credentials have expired; AWS goes on with what it has begun"
	if p.Hint == "" {
		p.Hint = "sign in again, for example by aws sso login, and repeat: " + command + "; it goes on where it stopped"
	}
}
