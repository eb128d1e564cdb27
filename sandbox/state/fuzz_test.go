package state_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/graph"
	"github.com/poolhouse/poolhouse/sandbox/state"
)

// FuzzRead reads whatever file: an error or an account.
func FuzzRead(f *testing.F) {
	f.Add([]byte("poolhouse sandbox state 1\n"))
	f.Add([]byte("poolhouse sandbox state 1\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("poolhouse sandbox state 1\n\x02\x00\x00\x00\x2b\x3e\x7a\xa0\x00\x00\x00\x00I\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ks, err := graph.New()
		if err != nil {
			t.Fatal(err)
		}
		if m, _, err := state.Read(b, ks); (m == nil) == (err == nil) {
			t.Errorf("got account %v and error %v", m, err)
		}
	})
}
