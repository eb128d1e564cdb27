package database

import (
	"testing"
)

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		have, want string
		ok         bool
	}{
		{"17.6", "17", true}, {"17", "17", true}, {"18.1", "17.6", true}, {"17.10", "17.9", true}, {"17.5", "17.6", false}, {"16.9", "17", false}, {"17", "17.6", false}, {"", "17", false}, {"x", "17", false},
	} {
		if got := atLeast(tt.have, tt.want); got != tt.ok {
			t.Errorf("%s at least %s: %v", tt.have, tt.want, got)
		}
	}
}
