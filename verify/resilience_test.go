package verify_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/verify"
)

func TestDebug(t *testing.T) {
	for _, name := range examples(t) {
		rep := standing(t, name).verify(t, verify.Options{})
		for _, r := range rep.Results {
			if r.Status == verify.NotApplicable {
				t.Logf("%s %s na %s", name, r.ID, r.Reason)
			}
			if name == "production" || name == "self-managed-nat" {
				for i, e := range r.Evidence {
					if i < 3 {
						t.Logf("%s %s %s: %s", name, r.ID, e.Resource, e.Saw)
					}
				}
			}
		}
		for _, s := range rep.Survives {
			t.Logf("%s: %s %v\n  still %q\n  loss %q %s", name, s.Failure, s.Survives, s.Still, s.Loss, s.Reason)
		}
	}
}
