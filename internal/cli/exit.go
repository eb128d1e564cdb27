package cli

import (
	"errors"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Exit codes.
const (
	Done    = 0
	Failed  = 1
	Usage   = 2 // usage, configuration or credentials: nothing was touched
	Pending = 3 // there are changes or drift, checks failed, or the run is paused
)

// ExitCode is what a command ends with that has run and returned an error. A
// command line that could not be read is [Usage] whatever its error.
func ExitCode(err error) int {
	var (
		said          silent
		interrupted   *interruptedError
		refused       *deploy.RefusedError
		faults        config.Faults
		mistakes      fault.Mistakes
		usage         *usageError
		access        *accessError
		pending       *deploy.PendingError
		paused        *deploy.PausedError
		unrecoverable *deploy.UnrecoverableError
		broken        *bundleError
		source        *sourceError
		stopped       *transferStoppedError
		moved         *deploy.TransferError
		releases      *cluster.ReleasesError
	)
	switch {
	case err == nil:
		return Done
	case errors.As(err, &said):
		return said.code
	case errors.As(err, &interrupted), errors.Is(err, errUntouched):
		return Failed
	case errors.As(err, &source): // some of it may have been sent
		return Failed
	case errors.As(err, &stopped):
		if errors.Is(err, ErrInterrupted) {
			return Failed
		}
		return Pending
	case errors.As(err, &refused): // which are faults of the file too
		if refused.Untouched {
			return Usage
		}
		return Failed
	case errors.As(err, &faults), errors.As(err, &mistakes), errors.As(err, &usage), errors.As(err, &access), errors.As(err, &broken):
		return Usage
	case errors.As(err, &releases) && releases.Refused:
		return Usage
	case errors.As(err, &paused):
		return Pending
	case errors.As(err, &moved): // whatever waits beside it
		return Failed
	case errors.As(err, &pending):
		return Pending
	case errors.As(err, &unrecoverable) && !unrecoverable.Begun:
		return Usage
	case awsapi.Code(err) == wire.NotModelled && otherRegion().MatchString(awsapi.Message(err)):
		return Usage
	}
	return Failed
}
