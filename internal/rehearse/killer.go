package rehearse

import (
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
)

// killer ends a process in the middle of things: some stacks are done, and
// CloudFormation works on others.
type killer struct {
	r      *run
	p      *process
	after  int
	killed bool
	done   []architecture.StackName
	moving []architecture.StackName
}

func (k *killer) event(e deploy.Event) {
	if k.killed {
		return
	}
	switch e := e.(type) {
	case deploy.StackFinished:
		if e.Err == nil {
			k.moving = slices.DeleteFunc(k.moving, func(n architecture.StackName) bool { return n == e.Stack })
			k.done = append(k.done, e.Stack)
		}
	case deploy.ResourceEvent:
		if !e.IsStack() && !slices.Contains(k.moving, e.Stack) && !slices.Contains(k.done, e.Stack) {
			k.moving = append(k.moving, e.Stack)
		}
	}
	// Later there may be only one stack in motion at a time.
	if enough := 2; len(k.done) >= k.after && (len(k.moving) >= enough || len(k.moving) > 0 && len(k.done) >= k.after+enough) {
		k.killed = true
		k.p.kill()
		k.r.emit(Killed{k.r.clock.Now(), int(k.r.calls.Load()), slices.Clone(k.done), slices.Clone(k.moving)})
	}
}
