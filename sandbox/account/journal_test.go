package account

import (
	"testing"
	"time"
)

func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	a, now := newAccount(0)
	const n = journalLimit + 1
	_ = a.Do(func(tx *Tx) error {
		for i := range n {
			tx.Note("a", map[string]any{"i": i})
		}
		return nil
	})
	fork := a.Clone(func() time.Time { return *now })
	_ = a.Do(func(tx *Tx) error {
		tx.Note("b", nil)
		return nil
	})
	for _, tc := range []struct {
		name  string
		a     *Account
		kind  string
		count int
	}{{"the account's", a, "a", journalLimit * 3 / 4}, {"its other kind's", a, "b", 1}, {"the fork's", fork, "a", journalLimit * 3 / 4}, {"the fork's other kind's", fork, "b", 0}} {
		_ = tc.a.Do(func(tx *Tx) error {
			got := tx.Noted(tc.kind)
			if len(got) != tc.count {
				t.Errorf("%s: %d entries, want %d", tc.name, len(got), tc.count)
			} else if tc.kind == "a" && got[len(got)-1].Data["i"] != n-1 {
				t.Errorf("%s: the last is %v, want the newest", tc.name, got[len(got)-1].Data)
			}
			return nil
		})
	}
}
