package deploy

import (
	"context"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/stack"
)

// onward says which command leads on from what the stacks are.
func (r *run) onward(ctx context.Context, s *Status, owned map[architecture.StackName]*stack.State, wanted map[architecture.StackName]bool) (err error) {
	switch s.Phase {
	case Complete:
		if len(s.Unprotected) > 0 {
			s.Next = "create"
		}
	case Missing, GPUPending:
		s.Next = "create"
	case Incomplete, Failed:
		s.Next = "create"
		if s.Phase == Failed {
			if s.Next, err = r.afterFailure(ctx, owned, wanted); err != nil {
				return err
			}
		}
		s.Deleted, err = r.deleted(ctx, owned, wanted)
		if s.DeletedUnknown, err = beside(ctx, err); err != nil {
			return err
		}
		// What is recovered first may be gone on from either way, and what create refuses
		// to finish leaves one way.
		if len(s.Deleted) > 0 && (s.Next == "create" || s.Next == "update") {
			s.Next = ""
		}
	}
	return err
}

// afterFailure is the command that leads on from stacks that failed, by what
// [stack.Rules] say each does about them: update where only stacks that the file doesn't
// have any more are broken, and delete only where create refuses to finish a deletion.
func (r *run) afterFailure(ctx context.Context, owned map[architecture.StackName]*stack.State, wanted map[architecture.StackName]bool) (string, error) {
	next := "update"
	for name, st := range owned {
		switch c := stack.ConditionOf(st.Status); {
		case c == stack.Stuck:
			return "recover", nil
		case !wanted[name] || !broken(st) || next == "delete":
		case c == stack.Undeleted:
			final, err := r.losing(ctx, st)
			if err != nil {
				return "", err
			}
			if next = "create"; final {
				next = "delete"
			}
		default:
			next = "create"
		}
	}
	return next, nil
}

// broken tells that the last operation on a stack failed in a way that has to be mended.
func broken(st *stack.State) bool {
	c := stack.ConditionOf(st.Status)
	return st.Exists() && c != stack.Whole && c != stack.Moving
}

// losing tells that a deletion that failed was one of a stack that was whole once and
// still has what holds data.
func (r *run) losing(ctx context.Context, st *stack.State) (bool, error) {
	birth, err := r.birth(ctx, st)
	if err != nil || birth.Stillborn {
		return false, err
	}
	held, err := r.driver.Resources(ctx, st.ID)
	return len(standing(held)) > 0, err
}

// deleted are the stacks that the file wants and that were deleted while others stood
// which no finished deletion leaves, as far as CloudFormation remembers: 90 days. Stacks
// that never were whole don't count, as create takes them away itself; nor does one while
// another stands that a deletion takes away before it, as an update took it away when the
// file did not want it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html
func (r *run) deleted(ctx context.Context, owned map[architecture.StackName]*stack.State, wanted map[architecture.StackName]bool) ([]architecture.StackName, error) {
	var since time.Time
	for name, st := range owned {
		if st.Exists() && !slices.Contains(kept[KeepData], name) && (since.IsZero() || st.Created.Before(since)) {
			since = st.Created
		}
	}
	if since.IsZero() {
		return nil, nil
	}
	absent := map[string]architecture.StackName{}
	for name := range wanted {
		if !owned[name].Exists() && !r.outlived(name, owned) {
			absent[r.Architecture.StackName(name)] = name
		}
	}
	gone, err := r.driver.Deleted(ctx, func(name string, at time.Time) bool { return absent[name] != "" && at.After(since) })
	if err != nil {
		return nil, err
	}
	var all []architecture.StackName
	for _, st := range gone {
		name := absent[st.Name]
		if st.Tags[Tag] != r.Architecture.Name() || slices.Contains(all, name) {
			continue
		}
		birth, err := r.driver.Birth(ctx, st.ID)
		if err != nil {
			return nil, err
		}
		if !birth.Stillborn {
			all = append(all, name)
		}
	}
	if slices.Equal(all, []architecture.StackName{architecture.SessionHost}) {
		return nil, nil // nothing comes after it, and the file may have gone without
	}
	slices.Sort(all)
	return all, nil
}

// outlived tells that a stack stands which depends on another one, and which a deletion
// removes before it therefore.
func (r *run) outlived(name architecture.StackName, owned map[architecture.StackName]*stack.State) bool {
	for _, s := range architecture.Catalogue() {
		if owned[s.Name].Exists() && slices.Contains(s.After, name) {
			return true
		}
	}
	return false
}
