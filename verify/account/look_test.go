package account_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/poolhouse/poolhouse/verify/account"
)

// TestFacts tells that a look has one of each struct of facts, however many ask
// for it at a time, and that other looks and other types have others.
func TestFacts(t *testing.T) {
	t.Parallel()
	type (
		some   struct{ n account.Fact[int] }
		others struct{ n account.Fact[int] }
	)
	l, another := &account.Look{}, &account.Look{}
	var reads atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			n, err := account.Facts[some](l).n.Get(func() (int, error) { return int(reads.Add(1)), nil })
			if n != 1 || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	read := func() (int, error) { return 2, nil }
	if n, _ := account.Facts[others](l).n.Get(read); n != 2 {
		t.Errorf("facts of another type have %d", n)
	}
	if n, _ := account.Facts[some](another).n.Get(read); n != 2 {
		t.Errorf("another look has %d", n)
	}
}

// TestKeyed tells that each key is read once, an error like a value.
func TestKeyed(t *testing.T) {
	t.Parallel()
	var k account.Keyed[string]
	bad := errors.New("no")
	reads := 0
	for range 2 {
		for _, key := range []string{"a", "b"} {
			got, err := k.Get(key, func() (string, error) { reads++; return key, bad })
			if got != key || !errors.Is(err, bad) {
				t.Errorf("%s: %q, %v", key, got, err)
			}
		}
	}
	if reads != 2 {
		t.Errorf("read %d times", reads)
	}
}
