package deploy

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL14OnlyTheNodesArePending: what ends the phase of the GPU nodes leaves the
// deployment usable only if it is about them.
func TestL14OnlyTheNodesArePending(t *testing.T) {
	t.Parallel()
	failed := &stack.Error{Stack: "p-gpu", Status: "ROLLBACK_COMPLETE"}
	for name, tc := range map[string]struct {
		err     error
		pending bool
	}{
		"no capacity":                   {fmt.Errorf("clear away: %w", failed), true},
		"would not join":                {&TopologyError{Deployment: "p", Reasons: []string{"no way out"}}, true},
		"lost lease":                    {&lease.LostError{Err: errors.New("taken over")}, false},
		"lost lease of a failure":       {errors.Join(failed, &lease.LostError{Err: errors.New("taken over")}), false},
		"somebody else at work":         {&stack.ChangedError{Stack: "p-gpu"}, false},
		"expired credentials":           {&smithy.GenericAPIError{Code: "ExpiredToken"}, false},
		"expired after a failure":       {errors.Join(failed, &smithy.GenericAPIError{Code: "ExpiredToken"}), false},
		"refused":                       {&RefusedError{}, false},
		"denied":                        {&smithy.GenericAPIError{Code: "AccessDenied"}, false},
		"a template without its inputs": {errors.New("stack p-gpu needs outputs"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &applying{}
			a.gpu.err = tc.err
			pending, fatal := a.gpuPhase(t.Context(), false)
			if (pending != nil) != tc.pending || (fatal != nil) == tc.pending {
				t.Errorf("pending %v, fatal %v", pending, fatal)
			}
		})
	}
}
