package sweep_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// shareOfOrders is which part of the points is also followed by another command
// than the one that was killed, for each such command, when it is not all of them.
const shareOfOrders = 0.006

// otherwise are the commands that people run after one that was killed, other than
// the same. That a creation is deleted every point of the sweep tries.
var otherwise = map[life.Verb][]life.Verb{
	life.Create: {life.Update, life.Recover},
	life.Update: {life.Create, life.Delete, life.Recover},
	life.Delete: {life.Create},
}

// others are those of them that are tried at a point. They are cases of their own:
// evaluation/update/3/after/recover.
func (s *sweep) others(point string) []life.Verb {
	return slices.DeleteFunc(slices.Clone(otherwise[s.verb]), func(v life.Verb) bool {
		return !life.Wanted(point+"/"+string(v), shareOfOrders)
	})
}

// goesOtherwise has another command follow a killed one. It does its work, or is
// refused with what to do instead, and who does that gets where both commands were
// to lead. What holds data outlives all of it, unless it was to go.
func (s *sweep) goesOtherwise(t *testing.T, c crash, v life.Verb, as lease.Holder) {
	defer func() {
		if t.Failed() {
			t.Logf("%s\n%s", c, life.Repeat(t, "deploy/sweep", c.name+"/"+string(v)))
			return
		}
		s.total.orders.Add(1)
	}()
	life.Bubble(t, c.at, func(t *testing.T) {
		box := testkit.Clone(t, c.box, time.Now)
		next := command{name: string(v), verb: v, a: s.a}
		if s.verb == life.Delete {
			s.comesBack(t, c, next, as, box)
			return
		}
		err := s.again(t, next, as, box)
		var unrecoverable *deploy.UnrecoverableError
		if errors.As(err, &unrecoverable) && unrecoverable.Next != "" {
			s.total.refused.Add(1)
			err = nil
		}
		if err != nil {
			t.Errorf("%s was killed, then %s: %v", s.name, v, err)
			return
		}
		if v == life.Delete {
			return
		}
		if err := s.again(t, s.command, as, box); err != nil {
			t.Errorf("%s was killed, then %s, then %s: %v", s.name, v, s.name, err)
			return
		}
		if err := settle(s.until); err != nil {
			t.Error(err)
			return
		}
		if diff := differing(s.want, canonical(box)); diff != "" {
			t.Errorf("after %s was killed, then %s and %s, the account is not what the undisturbed run makes it:\n%s", s.name, v, s.name, indent(diff))
		}
		if lost := s.lost(box, func(string) bool { return true }); lost != nil {
			t.Errorf("after %s was killed, then %s and %s, lost: %v", s.name, v, s.name, lost)
		}
	})
}

// comesBack has a creation follow a killed deletion. What the deletion was to keep
// is there afterwards, and a deletion of all leaves the account as it was found.
func (s *sweep) comesBack(t *testing.T, c crash, create command, as lease.Holder, box *sandbox.Sandbox) {
	err := s.again(t, create, as, box)
	var refused *deploy.RefusedError
	if errors.As(err, &refused) {
		s.total.refused.Add(1)
		err = s.follows(t, c, refused, create, as, box)
	}
	if err != nil {
		t.Errorf("%s was killed, then create: %v", s.name, err)
		return
	}
	if s.data != "" {
		if lost := s.lost(box, s.keeps); lost != nil {
			t.Errorf("after %s was killed, and then create, lost: %v", s.name, lost)
		}
	}
	if err := s.again(t, s.end(), as, box); err != nil {
		t.Errorf("%s was killed, then create, then delete: %v", s.name, err)
	}
}

// follows does what the refusal of a creation says: it repeats it with the flags
// that allow it, or has the deletion go on first. Who wants to keep data does the
// second.
func (s *sweep) follows(t *testing.T, c crash, refused *deploy.RefusedError, create command, as lease.Holder, box *sandbox.Sandbox) error {
	allow, goesOn, restores := guard.Allowed{}, true, true
	for _, r := range refused.Refusals {
		if r.Next() == "" {
			return fmt.Errorf("refused without a way on: %w", refused)
		}
		if r.Flag == "" {
			allow = nil
		} else if allow != nil {
			allow[r.Flag] = true
		}
		goesOn = goesOn && strings.Contains(r.Fix, "poolhouse delete FILE")
		restores = restores && strings.HasPrefix(r.Fix, "write ")
	}
	switch {
	case restores:
		create.a = adopting(t, s.a, box)
	case goesOn && (allow == nil || s.data != "" || life.Draw(life.Seed(), c.name, "advice") < 0.5):
		if err := s.again(t, s.command, as, box); err != nil {
			return fmt.Errorf("%w; then %s: %w", refused, s.name, err)
		}
		create.a = adopting(t, s.a, box)
	case allow != nil:
		create.allow = allow
	default:
		return fmt.Errorf("refused, and what it says leads nowhere: %w", refused)
	}
	if err := s.again(t, create, as, box); err != nil {
		return fmt.Errorf("%w; then create, as it says: %w", refused, err)
	}
	return nil
}

// keeps tells which resources with data the killed deletion was to keep.
func (s *sweep) keeps(typ string) bool {
	switch typ {
	case "AWS::EKS::Cluster", "AWS::Route53::HostedZone", "AWS::Backup::BackupVault":
		return false
	case "AWS::EC2::VPC":
		return s.data == deploy.KeepData
	}
	return true
}

// stateful are the resources of the deployment that hold data.
func (s *sweep) stateful(box *sandbox.Sandbox) []*account.Resource {
	return slices.DeleteFunc(box.Account().Resources(), func(r *account.Resource) bool {
		return !slices.Contains(guard.Stateful(), r.Type) || !strings.Contains(r.Owner, ":stack/"+s.a.Name()+"-") || r.Status == "PendingDeletion"
	})
}

// lost are the resources with data, of types that should stay, that were there
// when the killed command began and are gone or others. A database that was
// restored from a snapshot of the one that was there is not lost.
func (s *sweep) lost(box *sandbox.Sandbox, stays func(typ string) bool) []string {
	identity := func(r *account.Resource) string { return fmt.Sprint(r.Type, " ", r.ID, " ", r.Created) }
	there, restored := map[string]bool{}, map[string]bool{}
	source := map[any]string{} // the database that a snapshot is of
	for _, r := range box.Account().Resources() {
		if r.Type == "rds:snapshot" {
			source[r.ID] = fmt.Sprint(r.Data["resource"])
		}
	}
	for _, r := range s.stateful(box) {
		there[identity(r)] = true
		if from := source[r.Props["DBSnapshotIdentifier"]]; from != "" {
			restored[from] = true
		}
	}
	var lost []string
	for _, r := range s.holds {
		if stays(r.Type) && !there[identity(r)] && !restored[fmt.Sprint(r.Attrs["DbiResourceId"])] {
			lost = append(lost, r.Type+" "+r.ID)
		}
	}
	return lost
}
