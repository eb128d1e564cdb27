package rehearse

import (
	"context"
	"fmt"

	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Pacer passes the time of an account whose clients wait on clocks of their
// own. While an operation is in flight it sleeps on the account's clock until
// that goes on, and so has it run fast; while none is, the clock is left at the
// wall's pace. So credentials, and dates in the calendar, come nearer by the
// time that operations take and by the time that really passes, and by no other.
type Pacer struct {
	account *account.Account
	clock   *clock.Scaled
	asked   chan struct{}
}

// NewPacer returns the pacer of an account, with the clock that the account
// goes by. An account has one.
func NewPacer(a *account.Account, c *clock.Scaled) *Pacer {
	p := &Pacer{a, c, make(chan struct{}, 1)}
	a.Watch(func() {
		select {
		case p.asked <- struct{}{}:
		default:
		}
	})
	return p
}

// Run paces until the context ends or the account can't be kept any more. An
// event that panics is reported and left behind.
func (p *Pacer) Run(ctx context.Context, report func(error)) error {
	for {
		after, ok := p.account.Pending()
		if !ok {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-p.asked:
			}
			continue
		}
		if err := p.clock.Sleep(ctx, after); err != nil {
			return err
		}
		if err := p.advance(report); err != nil {
			return err
		}
	}
}

// advance lets happen what is due.
func (p *Pacer) advance(report func(error)) error {
	defer func() {
		if v := recover(); v != nil {
			report(fmt.Errorf("sandbox: an event of the account panics: %v", v))
		}
	}()
	return p.account.Do(func(tx *account.Tx) error {
		tx.Reads()
		return nil
	})
}
