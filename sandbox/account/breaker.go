package account

import "time"

// Breaker makes what the account does go wrong. It is asked while the account
// is held, from requests and events alike.
type Breaker interface {
	// Fail is asked when an operation on a resource starts ("create", "update",
	// "delete"), and again when its time is over, then with late. An error is
	// how it fails, in the service's own words; [Later] lets it go on. A
	// resource that is about to be created has no id yet.
	Fail(tx *Tx, r *Resource, op string, late bool) error
	// Launch is asked before an instance of a type with so many vCPUs starts in
	// a zone. An error is EC2's refusal.
	Launch(tx *Tx, instanceType string, vcpus int, zone Zone) error
	// Lingers is how long a service's network interface stays after what it
	// served; 0 is not at all, and a negative time for ever, detached.
	Lingers(tx *Tx, r *Resource) time.Duration
	// Fork is the breaker of a clone: what has happened so far has happened to
	// both.
	Fork() Breaker
}

// Break lets a breaker into the account, in place of the one that was there;
// nil is none.
func (a *Account) Break(b Breaker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.breaker = b
}

// Breaker is what breaks the account, or nil.
func (tx *Tx) Breaker() Breaker { return tx.a.breaker }

// failure is how an operation is made to fail, or nil.
func (tx *Tx) failure(r *Resource, op string, late bool) error {
	if tx.a.breaker == nil {
		return nil
	}
	return tx.a.breaker.Fail(tx, r, op, late)
}

// Refused is why an instance can't start in a zone although there is room for
// it, or nil.
func (tx *Tx) Refused(instanceType string, vcpus int, zone Zone) error {
	if tx.a.breaker == nil {
		return nil
	}
	return tx.a.breaker.Launch(tx, instanceType, vcpus, zone)
}

// Lingers is how long a service's network interface stays after what it served;
// see [Breaker].
func (tx *Tx) Lingers(r *Resource) time.Duration {
	if tx.a.breaker == nil {
		return 0
	}
	return tx.a.breaker.Lingers(tx, r)
}
