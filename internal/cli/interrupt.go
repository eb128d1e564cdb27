package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// lastLook is the longest that an interrupted command looks what goes on.
const lastLook = 10 * time.Second

// interruptedError is a run that stopped watching.
type interruptedError struct {
	moving []architecture.StackName
	going  []string // what else is being deleted
	// unseen is why it isn't known what goes on, so that moving has what the run
	// had its hands on too.
	unseen       error
	resume, look string
}

func (e *interruptedError) Error() string {
	on := slices.Clone(e.going)
	if len(e.moving) > 0 {
		on = slices.Insert(on, 0, view.Join(e.moving))
	}
	switch {
	case len(on) == 0 && e.unseen != nil:
		return "interrupted; it is not known what AWS goes on with"
	case len(on) == 0:
		return "interrupted; no stack is in motion"
	case e.unseen != nil:
		return "interrupted; AWS may go on with what it has begun: " + strings.Join(on, ", ")
	}
	return "interrupted; AWS goes on with what it has begun: " + strings.Join(on, ", ")
}

func (e *interruptedError) Is(target error) bool { return target == ErrInterrupted }

// stopped is the error of a run that was interrupted: it says what AWS goes on
// with, after a last look, and how to go on watching.
func (a *app) stopped(ctx context.Context, t deploy.Target, path string, hands map[architecture.StackName]bool) error {
	e := &interruptedError{resume: a.again, look: "poolhouse status " + quoted(path)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if e.moving, e.going, e.unseen = deploy.Moving(ctx, t); e.unseen == nil {
		return e
	}
	for _, s := range architecture.Catalogue() {
		if hands[s.Name] && !slices.Contains(e.moving, s.Name) {
			e.moving = append(e.moving, s.Name)
		}
	}
	return e
}

// wasInterrupted tells that a command ended because somebody pressed Ctrl-C.
func wasInterrupted(ctx context.Context, err error) bool {
	return err != nil && errors.Is(context.Cause(ctx), ErrInterrupted)
}
