package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// command is a command of a life: what an account is changed by.
type command struct {
	name  string // create, delete-keep
	verb  life.Verb
	data  deploy.Data
	a     *architecture.Architecture
	allow guard.Allowed // what it is told to allow
	there bool          // a deletion has something to end: what a killed one left tells so
}

// doing is a command of a life by its verb. A deletion destroys the data.
func doing(l life.Life, v life.Verb) command {
	return command{name: string(v), verb: v, a: l.After(v)}
}

// killed is the process that is killed, and those are the ones that come after
// it: on its machine, where it is known to be dead, or on another.
var (
	killed = lease.Holder{Owner: "alice", Host: "laptop", Machine: "1", PID: 1, Command: "killed", Run: "killed"}
	here   = lease.Holder{Owner: "alice", Host: "laptop", Machine: "1", PID: 2, Command: "again", Run: "here", Alive: func(pid int) bool { return pid != killed.PID }}
	there  = lease.Holder{Owner: "bob", Host: "desktop", Machine: "2", PID: 1, Command: "again", Run: "there", Alive: func(int) bool { return true }}
)

// persist runs a command as one does whose predecessor was killed. Who can't
// know that it is dead is refused as long as its lease goes on, and who makes
// things after a deletion until no call of that arrives any more.
func (c command) persist(ctx context.Context, as lease.Holder, on *line) (kept []deploy.Kept, err error) {
	err = insist(as, c.verb == life.Delete, func() error {
		kept, err = c.run(ctx, as, on)
		return err
	})
	return kept, err
}

// insist runs what is refused while the lease of a run goes on that was killed, and
// again when that is over. Deletions wait for no calls of a deletion.
func insist(as lease.Holder, deletes bool, run func() error) error {
	err := run()
	var refused *lease.HeldError
	if !errors.As(err, &refused) {
		return err
	}
	// The service's dates are cut to seconds.
	wait, most := refused.Until.Sub(refused.Now)-time.Second, lease.TTL
	if refused.Deletes && !deletes {
		most += lease.Flight
	}
	if as.Run == here.Run || refused.Run != killed.Run || wait <= -time.Second || wait > most {
		return fmt.Errorf("refused for %s: %w", wait, err)
	}
	time.Sleep(wait + 2*time.Second)
	return run()
}

// run runs a command over a line, as a process does, and returns what a deletion
// says that it keeps. Whether one that finds nothing, and may, left nothing is looked
// at by the caller.
func (c command) run(ctx context.Context, as lease.Holder, on *line) ([]deploy.Kept, error) {
	allow := func(t *deploy.Target) { t.Allow = c.allow }
	res, err := life.Process{Box: on.box, Holder: as, Transport: on, Clock: on, Data: c.data, Adjust: allow}.Run(ctx, c.verb, c.a)
	if !c.there {
		err = life.Gone(err)
	}
	return res.Kept(), err
}

// settle lets time pass until a moment that the longest of runs has not
// reached, so that accounts can be compared as they are at the same time.
func settle(until time.Time) error {
	wait := time.Until(until)
	if wait <= 0 {
		return fmt.Errorf("the run ended %s too late to be compared", -wait)
	}
	time.Sleep(wait)
	return nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// openChangeSets are those that could still be executed.
func openChangeSets(t *testing.T, box *sandbox.Sandbox) []string {
	t.Helper()
	client := cloudformation.NewFromConfig(testkit.Config(box))
	var open []string
	for _, r := range box.Account().Resources() {
		if r.Type != "cloudformation:stack" || r.Status == "DELETE_COMPLETE" {
			continue
		}
		sets, err := client.ListChangeSets(t.Context(), &cloudformation.ListChangeSetsInput{StackName: &r.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range sets.Summaries {
			if set.ExecutionStatus == types.ExecutionStatusAvailable {
				open = append(open, *set.ChangeSetId)
			}
		}
	}
	return open
}
