package account

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOperations tells of operations that end well, with the time that they
// took, to whom the account was made with and to nobody through a clone.
func TestOperations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	var got []Operation
	a := New(testModel(), Options{Now: func() time.Time { return now }, OnOperation: func(o Operation) { got = append(got, o) }})
	const owner = "arn:aws:cloudformation:us-east-1:123456789012:stack/x/1"
	do := func(f func(tx *Tx) error) {
		t.Helper()
		if err := a.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	do(func(tx *Tx) error {
		for _, late := range []bool{false, true} {
			r, _, err := tx.CreateInStack("T::A::B", map[string]any{"late": late}, owner, "Thing")
			if err != nil {
				return err
			}
			ids = append(ids, r.ID)
		}
		return nil
	})
	clone := a.Clone(func() time.Time { return now.Add(time.Hour) })
	if err := clone.Do(func(tx *Tx) error { return tx.Settle(tx.Get("T::A::B", ids[0]), "create") }); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	do(func(tx *Tx) error {
		if err := tx.Settle(tx.Get("T::A::B", ids[1]), "create"); err == nil {
			t.Error("what is late did not fail")
		}
		return tx.Settle(tx.Get("T::A::B", ids[0]), "create")
	})
	do(func(tx *Tx) error {
		_, err := tx.Delete(tx.Get("T::A::B", ids[0]), true)
		return err
	})
	now = now.Add(time.Hour)
	do(func(*Tx) error { return nil })
	start := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	want := []Operation{
		{Type: "T::A::B", ID: ids[0], Stack: "x", LogicalID: "Thing", Verb: "create", Start: start, End: start.Add(time.Minute)},
		{Type: "T::A::B", ID: ids[0], Stack: "x", LogicalID: "Thing", Verb: "delete", Start: start.Add(time.Minute), End: start.Add(time.Minute + 2*time.Second)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}
