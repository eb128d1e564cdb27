package ec2

import (
	"errors"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// newAccount is an account that knows this package's types, with a present
// that the test moves.
func newAccount(t *testing.T, fresh bool, more ...*account.Type) (*account.Account, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	model := &account.Model{Types: map[string]*account.Type{}, Seed: Seed}
	for _, typ := range append(Types(), more...) {
		model.Types[typ.Name] = typ
	}
	return account.New(model, account.Options{Fresh: fresh, Now: func() time.Time { return now }}), &now
}

// code is the service's error code in err, "" for none.
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *account.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a service error: %v", err)
	}
	return e.Code
}

// lab works on an account inside one request: what the test makes is settled
// at once.
type lab struct {
	t  *testing.T
	tx *account.Tx
}

// run hands a new, fresh account to f.
func run(t *testing.T, f func(l lab)) {
	t.Helper()
	a, _ := newAccount(t, true)
	err := a.Do(func(tx *account.Tx) error {
		f(lab{t, tx})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type in = map[string]any

// try creates a resource.
func (l lab) try(typ string, p in) (*account.Resource, error) {
	r, _, err := l.tx.Create(typ, p, "test", false)
	if err != nil {
		return nil, err
	}
	return r, l.tx.Settle(r, "create")
}

// make creates a resource that must be accepted.
func (l lab) make(typ string, p in) *account.Resource {
	l.t.Helper()
	r, err := l.try(typ, p)
	if err != nil {
		l.t.Fatalf("create %s %v: %v", typ, p, err)
	}
	return r
}

// refused creates a resource that must be refused with the code.
func (l lab) refused(want, typ string, p in) {
	l.t.Helper()
	_, err := l.try(typ, p)
	if got := code(l.t, err); got != want {
		l.t.Errorf("create %s %v: got %q (%v), want %q", typ, p, got, err, want)
	}
}

func (l lab) delete(r *account.Resource) error {
	if _, err := l.tx.Delete(r, false); err != nil {
		return err
	}
	return l.tx.Settle(r, "delete")
}

// gone deletes a resource that nothing may hold any more.
func (l lab) gone(rs ...*account.Resource) {
	l.t.Helper()
	for _, r := range rs {
		if err := l.delete(r); err != nil {
			l.t.Errorf("delete %s: %v", r.ID, err)
		}
	}
}

// held wants the deletion refused with the code.
func (l lab) held(want string, r *account.Resource) {
	l.t.Helper()
	if got := code(l.t, l.delete(r)); got != want {
		l.t.Errorf("delete %s: got %q, want %q", r.ID, got, want)
	}
}

func (l lab) vpc() *account.Resource {
	return l.make(TypeVPC, in{"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": true})
}

func (l lab) subnet(vpc *account.Resource, cidr string) *account.Resource {
	return l.make(TypeSubnet, in{"VpcId": vpc.ID, "CidrBlock": cidr, "AvailabilityZone": "us-east-1a"})
}

// TestNothingStays: what EC2 makes along with a VPC leaves with it.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	a, _ := newAccount(t, true)
	before := len(a.Resources())
	err := a.Do(func(tx *account.Tx) error {
		l := lab{t, tx}
		l.gone(l.vpc())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := a.Resources(); len(left) != before {
		t.Errorf("got %d resources after deletion, want %d", len(left), before)
	}
}
