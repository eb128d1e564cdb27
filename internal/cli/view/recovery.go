package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/stack"
)

// Recovery prints what is stuck, and what a recovery does about it.
func Recovery(w io.Writer, r *deploy.Recovery, file string) {
	defer atWork(w, r.Lease, r.LeaseFree, file)
	if r.Empty() {
		fmt.Fprintf(w, "Nothing of %s in %s is stuck.\n", r.Deployment, r.Region)
		return
	}
	for _, s := range r.Stacks {
		fmt.Fprintln(w, safe(fmt.Sprintf("%s is %s", s.Name, s.Status)))
		if s.Root != nil {
			for _, line := range Root(*s.Root, file) {
				paragraph(w, "  ", "    ", "%s", line)
			}
		}
		for _, h := range s.Held {
			heldResource(w, s, h, file)
		}
		for _, h := range s.Takes {
			paragraph(w, "  goes: ", "    ", "%s; the creation that failed made it, and the deletion of the stack would leave it behind", held(h))
		}
		for _, name := range s.ChangeSets {
			paragraph(w, "  change set: ", "    ", "%s, left by a run that is over", name)
		}
		if s.Refused != "" {
			paragraph(w, "  refused: ", "    ", "%s; %s", s.Refused, WithFile(s.Next, file))
			continue
		}
		paragraph(w, "  recovery: ", "    ", "%s", s.Does)
	}
}

// heldResource prints a resource that failed, and what leaving it would mean.
func heldResource(w io.Writer, s deploy.StackRecovery, h deploy.HeldResource, file string) {
	data := ""
	if h.Data {
		data = ", which holds data"
	}
	switch stack.ConditionOf(types.StackStatus(s.Status)) {
	case stack.Undeleted:
		fate := fmt.Sprintf("to leave it behind, in no stack: poolhouse recover %s --retain %s/%s", file, s.Stack, h.LogicalID)
		if h.Left {
			fate = "is left behind, in no stack: nobody deletes it any more but you"
		}
		paragraph(w, "  not deleted: ", "    ", "%s%s; %s", held(h), data, fate)
		return
	case stack.Stillborn:
		fate := "goes with what is left of the stack"
		if h.Left {
			fate = "stays: the creation that failed did not make it"
		}
		paragraph(w, "  not taken back: ", "    ", "%s%s; %s", held(h), data, fate)
		return
	case stack.Halted:
		paragraph(w, "  not restored: ", "    ", "%s%s; the rollback restores it", held(h), data)
		return
	}
	fate := fmt.Sprintf("once its cause is mended, the rollback restores it; to go on without: poolhouse recover %s --skip %s/%s", file, s.Stack, h.LogicalID)
	if h.Left {
		fate = "is skipped: it stays as it is now, and CloudFormation takes it for restored; poolhouse drift shows the difference, and an update removes it"
	}
	paragraph(w, "  not restored: ", "    ", "%s%s; %s", held(h), data, fate)
}

// held is a resource, in words.
func held(h deploy.HeldResource) string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s) %s", h.LogicalID, h.Type, h.PhysicalID))
}

// Recovered prints what a recovery did, and what it left behind in no stack.
func Recovered(w io.Writer, r *deploy.Recovery, file string) {
	for _, s := range r.Stacks {
		condition := stack.ConditionOf(types.StackStatus(s.Status))
		for _, h := range s.Held {
			if h.Left && (condition == stack.Undeleted || condition == stack.Stillborn) {
				heldResource(w, s, h, file)
			}
		}
		for _, h := range s.Takes {
			paragraph(w, "  taken away: ", "    ", "%s, which the creation that failed had made", held(h))
		}
	}
	for _, s := range r.Settled {
		became := "is " + s.Status
		if s.Status == "" {
			became = "is gone"
		}
		paragraph(w, "", "  ", "%s was in motion (%s), and %s by itself.", s.Name, s.Was, became)
	}
	done := "is recovered: " + Count(len(r.Stacks), "stack")
	if len(r.Stacks) == 0 {
		done = "needs no recovery any more: nothing was done"
	}
	fmt.Fprintf(w, "%s %s. Next: poolhouse status %s\n", r.Deployment, done, file)
}
