package account

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is put and dropped: order and indexes say what the store says, in
// clones as well.
func TestIndexFollowsTheStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := func() time.Time { return time.Unix(0, 0) }
		a := New(&Model{}, Options{Now: now})
		key := func(r *Resource) string { return r.Status }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := fmt.Sprint(rapid.IntRange(0, 12).Draw(t, "id"))
			step := rapid.SampledFrom([]string{"put", "put", "put", "drop", "ask", "clone"}).Draw(t, "step")
			_ = a.Do(func(tx *Tx) error {
				switch step {
				case "put":
					tx.Put(&Resource{Type: "t", ID: id, Status: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "key"))})
				case "drop":
					tx.Drop("t", id)
				}
				var want, wanted []string
				for id, r := range a.resources["t"] {
					want = append(want, id)
					if r.Status == "1" {
						wanted = append(wanted, id)
					}
				}
				slices.Sort(want)
				slices.Sort(wanted)
				if step == "ask" {
					check(t, tx.List("t"), want, a)
					check(t, tx.Where("t", "status", key, "1"), wanted, a)
				}
				return nil
			})
			if step == "clone" {
				a = a.Clone(now)
			}
		}
	})
}

func check(t *rapid.T, got []*Resource, want []string, a *Account) {
	t.Helper()
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
		if a.resources["t"][r.ID] != r {
			t.Fatalf("%s is not the resource in the store", r.ID)
		}
	}
	if !slices.Equal(ids, want) {
		t.Fatalf("got %v, want %v", ids, want)
	}
}
