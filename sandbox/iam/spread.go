package iam

import (
	"strconv"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// A change that IAM's API makes is seen everywhere only after a while. Until
// then a role, user or policy keeps under spreading what it was before. What
// CloudFormation makes or changes is seen when it is complete, since that waits.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
const spreading = "spreading"

// spread notes that an entity was made or changed just now: before are the
// properties that it had, nil if it wasn't there.
func spread(tx *account.Tx, r *account.Resource, before map[string]any) {
	if tx.Patient {
		return
	}
	n := 0
	if s, ok := r.Data[spreading].(map[string]any); ok {
		if until, ok := s["until"].(time.Time); ok && until.After(tx.Now()) {
			before, _ = s["before"].(map[string]any)
		}
		n, _ = s["n"].(int)
	}
	took := tx.Latency("iam:*/propagate", r.ID+strconv.Itoa(n))
	s := map[string]any{"until": tx.Now().Add(took), "n": n + 1}
	if before != nil {
		s["before"] = before
	}
	if r.Data == nil {
		r.Data = map[string]any{}
	}
	r.Data[spreading] = s
	// Nothing happens then, but who made the change waits for it.
	tx.After(took, account.Event{Kind: spreading, ID: r.ID})
}

// Known tells whether the rest of AWS knows of a role, user, policy or instance
// profile by now.
func Known(tx *account.Tx, r *account.Resource) bool { return r != nil && seen(tx, r) != nil }

// seen are the properties of an entity as the rest of AWS sees them now; nil if
// it doesn't yet see it at all. Who is patient sees the latest.
func seen(tx *account.Tx, r *account.Resource) map[string]any {
	s, ok := r.Data[spreading].(map[string]any)
	if !ok || tx.Patient {
		return r.Props
	}
	if until, ok := s["until"].(time.Time); !ok || !until.After(tx.Now()) {
		return r.Props
	}
	before, _ := s["before"].(map[string]any)
	return before
}
