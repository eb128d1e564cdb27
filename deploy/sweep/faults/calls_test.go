package faults_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// attempts is how often a command is repeated before it is given up.
const attempts = 6

// persist runs a command as people do under faults: again when it failed, after
// some minutes or with new credentials. It returns what it failed of, each time.
func (s *story) persist(t *testing.T, v life.Verb, box *sandbox.Sandbox, pid int) (failures []error, err error) {
	t.Helper()
	for len(failures) < attempts {
		r := &run{Life: s.Life, verb: v, box: box, pid: pid + len(failures)}
		err = r.to(t.Context(), "")
		if err == nil {
			return failures, nil
		}
		failures = append(failures, err)
		if got := cli.ExitCode(err); got != cli.Failed && got != cli.Pending {
			t.Errorf("%s ends with exit code %d: %v", v, got, err)
		}
		if awsapi.IsExpired(err) && box.Faults().SignIn() {
			continue
		}
		time.Sleep(10 * time.Minute)
	}
	return failures, fmt.Errorf("%s did not converge in %d runs: %w", v, attempts, err)
}

// day has a command run in an account in which something goes wrong all the
// time, from a stage of a life on, and the life go on to its end. It returns what
// the runs failed of that had to be repeated.
func (s *story) day(t *testing.T, seed uint64, v life.Verb, name, faults string) (failures []error) {
	t.Helper()
	at := s.stages[key(v, "")]
	life.Bubble(t, at.at, func(t *testing.T) {
		box := testkit.Clone(t, at.box, time.Now)
		breakIt(t, box, seed, s.First.Config.Region, faults)
		var err error
		if failures, err = s.persist(t, v, box, 20); err != nil {
			t.Error(err)
		} else {
			s.goesOn(t, v, box)
		}
		if t.Failed() {
			for _, f := range box.Faults().Tallies() {
				t.Logf("fault %s: %d times, first: %s", f.ID, f.Times, f.What)
			}
			t.Log(life.Repeat(t, "deploy/sweep/faults", name))
		}
	})
	return failures
}

// TestL26ThrottlingOfEveryThirdCall refuses three calls of ten all the time,
// whatever they are: commands get through, or name a call that failed and get
// through later.
func TestL26ThrottlingOfEveryThirdCall(t *testing.T) {
	s := told(t, "evaluation")
	names := []string{"evaluation"}
	if life.Full() {
		names = life.Examples()
	}
	for _, name := range names {
		if name != s.Name {
			s = told(t, name)
		}
		for _, v := range life.Verbs() {
			name := fmt.Sprintf("%s/%s", name, v)
			if life.Only() != "" && life.Only() != name {
				continue
			}
			t.Run(name, func(t *testing.T) {
				failures := s.day(t, life.Seed(), v, name, "faults:\n- {id: it, share: 0.3, throttle: {}}\n")
				t.Logf("seed %d: %s was repeated %d times", life.Seed(), v, len(failures))
				for _, err := range failures {
					var call *smithy.OperationError
					if awsapi.Code(err) == "" || !errors.As(err, &call) || !strings.Contains(err.Error(), call.Operation()) {
						t.Errorf("the error does not say which call was throttled: %v", err)
					}
				}
			})
		}
	}
}

// shareOfCalls is which part of the calls finds the credentials expired when it
// is not all of them.
const shareOfCalls = 0.03

// alike is how many calls of one operation in one stack's turn count as different
// cases: a run that polls makes the same call over and over.
const alike = 3

// TestL23CredentialsExpireAtAnyCall has the credentials expire at calls of
// create, update and delete, counted from each stack's turn: at the first few of
// each operation in each stack's turn, in the other examples where the first
// makes no such call. The run says so; who signs in again goes on where it
// stopped.
func TestL23CredentialsExpireAtAnyCall(t *testing.T) {
	cases, late := 0, 0
	counted := map[string]int{} // cases by stage and operation
	for _, example := range lived() {
		s := told(t, example)
		for _, v := range life.Verbs() {
			for _, key := range slices.Sorted(maps.Keys(s.calls)) {
				stage, ok := strings.CutPrefix(key, string(v)+"/")
				if !ok || stage == "" {
					continue
				}
				before := maps.Clone(counted)
				for k, what := range s.calls[key] {
					id := key + " " + what
					if before[id] > 0 || counted[id] == alike {
						continue
					}
					counted[id]++
					name := fmt.Sprintf("%s/%s/%d", example, key, k+1)
					if !life.Wanted(name, shareOfCalls) {
						continue
					}
					t.Run(name, func(t *testing.T) {
						cases++
						if !s.expires(t, v, stage, k+1, name) {
							late++
						}
					})
				}
			}
		}
	}
	t.Logf("seed %d: credentials expired at %d calls, at %d of them when the stack was done", life.Seed(), cases, late)
	if cases == 0 {
		t.Error("no credentials expired")
	}
}
