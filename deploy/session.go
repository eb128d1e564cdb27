package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// Session is how long the caller's credentials go on, compared with a run.
type Session struct {
	// Source is what the AWS SDK calls where they come from.
	Source string `json:"source"`
	// Until is when they end; zero if they are renewed, or nobody knows.
	Until time.Time `json:"until,omitzero"`
	// Temporary tells that they end, at a time that nobody knows.
	Temporary bool `json:"temporary,omitempty"`
	// Done is when the run will be over if it begins now.
	Done time.Time `json:"done"`
	// Short tells that they end before.
	Short bool `json:"short"`
}

// SessionShort says, before a run begins anything, that the caller's credentials
// will end before it is over.
type SessionShort struct {
	Time time.Time `json:"time"`
	Session
}

func (SessionShort) event() {}

// String is the warning in words.
func (s Session) String() string {
	return fmt.Sprintf("the credentials end %s, before all is done, about %s; AWS goes on then, and the same command goes on watching once you have signed in again", s.Until.UTC().Format(time.RFC3339), s.Done.UTC().Format(time.RFC3339))
}

// PausedError says that the session of the credentials ended before a run was
// over. It is no failure: what AWS has begun goes on, and the same command goes
// on with new credentials.
type PausedError struct {
	Deployment string
	// Err are the calls that were refused; there may be many.
	Err error
}

func (e *PausedError) Error() string {
	return fmt.Sprintf("%s is paused: the AWS credentials have expired; AWS goes on with what it has begun", e.Deployment)
}

func (e *PausedError) Unwrap() error { return e.Err }

// paused gives the error of a run that ran out of credentials, and of nothing
// else, its kind.
func paused(deployment string, err error) error {
	var failed *stack.Error
	if !awsapi.IsExpired(err) || errors.As(err, &failed) {
		return err
	}
	return &PausedError{Deployment: deployment, Err: err}
}

// sessionOf compares the credentials with a run that takes a time.
func sessionOf(ctx context.Context, c *awsapi.Clients, takes time.Duration) (*Session, error) {
	s, err := c.Session(ctx)
	if err != nil {
		return nil, err
	}
	out := &Session{Source: s.Source, Until: s.Until, Temporary: s.Temporary, Done: c.Clock.Now().Add(takes)}
	out.Short = !s.Until.IsZero() && s.Until.Before(out.Done)
	return out, nil
}

// DeleteTime is how long a deployment like this takes to delete, about.
func DeleteTime(a *architecture.Architecture) (time.Duration, error) {
	all, err := templates.All(a)
	if err != nil {
		return 0, err
	}
	takes := map[architecture.StackName]time.Duration{}
	var names []architecture.StackName
	for _, s := range all {
		takes[s.Name] = deleteTime(s.Body)
		names = append(names, s.Name)
	}
	var total time.Duration
	before := reversed(a.Stacks)
	for _, n := range longest(names, before, func(n architecture.StackName) time.Duration { return takes[n] }) {
		total += takes[n]
	}
	return total, nil
}
