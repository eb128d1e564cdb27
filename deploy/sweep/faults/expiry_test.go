package faults_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/stack"
)

// Of all calls of a command every stride-th finds the credentials expired, from
// one on that the seed says. An ordinary run takes a share of these.
const (
	stride       = 5
	shareOfNth   = 0.03
	firstOfCalls = 3
)

// TestL23CredentialsExpireAtTheNthCall has the credentials expire at literally
// any call of create, update and delete, counted from the command's first, the
// looks and the lease among them. The run is paused; who signs in again gets
// done. The first calls of each command always have their turn, since nothing has
// begun then.
func TestL23CredentialsExpireAtTheNthCall(t *testing.T) {
	cases, late := 0, 0
	for _, example := range livedToo() {
		s := told(t, example)
		for _, v := range life.Verbs() {
			total := len(s.calls[key(v, "")])
			for n := 1; n <= total; n++ {
				nth := n%stride == int(life.Seed()%stride)
				if !nth && n > firstOfCalls {
					continue
				}
				name := fmt.Sprintf("%s/%s/call/%d", example, v, n)
				if !life.Wanted(name, shareOfNth) && (life.Only() != "" || n > firstOfCalls) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					cases++
					if !s.nth(t, v, n, name) {
						late++
					}
				})
			}
			t.Logf("%s %s makes %d calls", example, v, total)
		}
	}
	t.Logf("seed %d: credentials expired at %d calls, at %d of them when all was done", life.Seed(), cases, late)
	if cases == 0 {
		t.Error("no credentials expired")
	}
}

// nth has the credentials expire at the n-th call of a whole command, and runs it
// again with others. It tells whether the first run was not done before.
func (s *story) nth(t *testing.T, v life.Verb, n int, name string) (hit bool) {
	at := s.stages[key(v, "")]
	life.Bubble(t, at.at, func(t *testing.T) {
		box := testkit.Clone(t, at.box, time.Now)
		faults := breakIt(t, box, life.Seed(), s.First.Config.Region, fmt.Sprintf("faults:\n- {id: it, when: {call: {service: '*', number: %d}}, expire: {}}\n", n))
		first := &run{Life: s.Life, verb: v, box: box, pid: 10}
		err := first.to(t.Context(), "")
		hit = err != nil
		var failed *stack.Error
		switch {
		case err == nil:
		case !awsapi.IsExpired(err):
			// S3 answers a HEAD without words.
			if !strings.Contains(err.Error(), "S3: HeadBucket") {
				t.Errorf("the run does not say that the credentials have expired: %v", err)
			}
		case cli.ExitCode(err) != cli.Pending && !errors.As(err, &failed):
			t.Errorf("exit code %d, want %d: %v", cli.ExitCode(err), cli.Pending, err)
		}
		if !faults.SignIn() && err != nil {
			t.Errorf("nothing had expired: %v", err)
		}
		again := &run{Life: s.Life, verb: v, box: box, pid: 11}
		if err := again.to(t.Context(), ""); err != nil {
			t.Errorf("signed in again: %v", err)
		}
		if v != life.Delete {
			s.planned(t, v, box)
		}
		if t.Failed() {
			t.Log(life.Repeat(t, "deploy/sweep/faults", name))
		}
	})
	return hit
}
