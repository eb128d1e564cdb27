package autoscaling

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// eventRetry tries a launch again that was refused.
const eventRetry = "autoscaling:retry"

// Launches that fail are tried again, ever more rarely, for a day; then AWS
// suspends the group's launches. How often isn't documented.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
const (
	firstRetry = time.Minute
	lastRetry  = 15 * time.Minute
	retryFor   = 24 * time.Hour
)

// Events are the handlers of this package's events.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){eventRetry: retry}
}

// retryLater schedules the next try of a group that lacks instances, unless one
// is due already or the group has failed for too long.
func retryLater(tx *account.Tx, r *account.Resource) {
	since, failing := r.Data["failingSince"].(time.Time)
	if !failing {
		since = tx.Now()
		r.Data["failingSince"] = since
	}
	if at, ok := r.Data["retryAt"].(time.Time); ok && at.After(tx.Now()) || tx.Now().Sub(since) >= retryFor {
		return
	}
	wait := min(max(tx.Now().Sub(since), firstRetry), lastRetry)
	r.Data["retryAt"] = tx.Now().Add(wait)
	tx.After(wait, account.Event{Calendar: true, Kind: eventRetry, Type: TypeGroup, ID: r.ID})
}

// retry launches what is missing, as far as that works by now.
func retry(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeGroup, e.ID)
	if r == nil || r.Status != "" || len(Instances(tx, r)) >= Desired(r) {
		return
	}
	if at, ok := r.Data["retryAt"].(time.Time); ok && !at.After(tx.Now()) {
		scale(tx, r, r.Props)
	}
}
