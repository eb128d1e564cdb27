package faults_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/stack"
)

// expires has the credentials expire at the n-th call of a run that goes on at a
// stack's turn. It tells whether the stack was not done before. The run is paused,
// whether it had begun something or not.
func (s *story) expires(t *testing.T, v life.Verb, stage string, n int, name string) (hit bool) {
	at := s.stages[key(v, architecture.StackName(stage))]
	life.Bubble(t, at.at, func(t *testing.T) {
		box := testkit.Clone(t, at.box, time.Now)
		faults := breakIt(t, box, life.Seed(), s.First.Config.Region, fmt.Sprintf("faults:\n- {id: it, when: {call: {service: '*', number: %d}}, expire: {}}\n", n))
		first := &run{Life: s.Life, verb: v, box: box, pid: 10, short: true}
		err := first.to(t.Context(), architecture.StackName(stage))
		hit = err != nil
		// S3 answers a HEAD without words.
		if err != nil && !awsapi.IsExpired(err) && !strings.Contains(err.Error(), "S3: HeadBucket") {
			t.Errorf("the run does not say that the credentials have expired: %v", err)
		}
		var failed *stack.Error
		if got := cli.ExitCode(first.whole); awsapi.IsExpired(err) && !errors.As(first.whole, &failed) && got != cli.Pending {
			t.Errorf("exit code %d, want %d: %v", got, cli.Pending, first.whole)
		}
		if err != nil && !faults.SignIn() {
			t.Errorf("nothing had expired: %v", err)
		}
		faults.SignIn()
		again := &run{Life: s.Life, verb: v, box: box, pid: 11, short: true}
		if err := again.to(t.Context(), architecture.StackName(stage)); err != nil {
			t.Errorf("signed in again: %v", err)
		}
		if t.Failed() {
			t.Log(life.Repeat(t, "deploy/sweep/faults", name))
		}
	})
	return hit
}

// TestL20RolesAreKnownLate has IAM take up to a minute until others know a new
// role, each role its own time, over many seeds: no command fails of it.
func TestL20RolesAreKnownLate(t *testing.T) {
	examples, seeds := []string{"evaluation"}, uint64(3)
	if life.Full() {
		examples, seeds = life.Examples(), 100
	}
	for _, example := range examples {
		if !life.Holds(example) {
			continue
		}
		s := told(t, example)
		for n := range seeds {
			name := fmt.Sprintf("%s/roles/%d", example, n)
			if life.Only() != "" && life.Only() != name {
				continue
			}
			t.Run(name, func(t *testing.T) {
				if failures := s.day(t, life.Seed()+n, life.Create, name, "faults:\n- {id: it, propagation: {takes: 1m}}\n"); len(failures) > 0 {
					t.Errorf("create failed: %v", failures)
				}
			})
		}
	}
}

// TestL02InterfacesStay has network interfaces of each kind stay when
// what they served is gone, for minutes or until somebody deletes them: one
// delete gets over all of them.
func TestL02InterfacesStay(t *testing.T) {
	s := told(t, "evaluation")
	for _, of := range []string{"eks", "rds", "load-balancers", "nat-gateways", "endpoints", "instances"} {
		for _, stay := range []string{"5m", "25m", "forever"} {
			name := fmt.Sprintf("evaluation/%s/%s", of, stay)
			if !life.Wanted(name, 0.25) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				if failures := s.day(t, life.Seed(), life.Delete, name, fmt.Sprintf("faults:\n- {id: it, interfaces: {of: %s, stay: %s}}\n", of, stay)); len(failures) > 0 {
					t.Errorf("delete failed: %v", failures)
				}
			})
		}
	}
}

// TestL09OperationsInFlight has somebody else work on a stack, the cluster or the
// database when an update or a delete begins: it is awaited, or the command is
// refused once, by the name of what is worked on.
func TestL09OperationsInFlight(t *testing.T) {
	s := told(t, "evaluation")
	type operation struct{ on, name, length string }
	var all []operation
	for _, st := range s.Next.Stacks {
		name := s.Next.StackName(st.Name)
		all = append(all, operation{on: "stack: " + name, name: name})
	}
	all = append(all,
		operation{"cluster: " + s.Next.ClusterName(), "cluster " + s.Next.ClusterName(), "for: 12m, "},
		operation{"database: '${" + s.Next.StackName(architecture.Database) + "/Database}'", s.Next.DatabaseName(), "for: 12m, "})
	for _, v := range []life.Verb{life.Update, life.Delete} {
		for _, o := range all {
			name := fmt.Sprintf("evaluation/%s/%s", v, o.on)
			if !life.Wanted(name, 0.15) && (life.Only() != "" || o.length == "") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				failures := s.day(t, life.Seed(), v, name, fmt.Sprintf("faults:\n- {id: it, when: {after: 1ms}, %sinFlight: {%s}}\n", o.length, o.on))
				t.Logf("seed %d: %s was repeated %d times", life.Seed(), v, len(failures))
				if len(failures) > 1 {
					t.Errorf("refused more than once: %v", failures)
				}
				for _, err := range failures {
					if !strings.Contains(err.Error(), o.name) {
						t.Errorf("the refusal does not name %s: %v", o.name, err)
					}
				}
			})
		}
	}
}
