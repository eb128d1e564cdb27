package testkit

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/oracle"
)

// Sandbox is the one way for tests to make a sandbox. Where AWS's service models
// are at hand it holds every request and answer to them, and fails the test for
// what doesn't fit; see package oracle.
func Sandbox(t oracle.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	if o.Observe == nil {
		o.Observe = oracle.Observe(t)
	}
	return sandbox.New(o)
}

// Clone is [sandbox.Sandbox.Clone] of a sandbox that another test made, whose
// faults are this test's from now on.
func Clone(t oracle.T, s *sandbox.Sandbox, now func() time.Time) *sandbox.Sandbox {
	t.Helper()
	return s.Clone(now).Observed(oracle.Observe(t))
}
