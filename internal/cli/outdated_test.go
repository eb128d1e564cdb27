package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/poolhouse/poolhouse/deploy"
)

// What failed beside an outdated plan is an error: it is not made again.
func TestL34OutdatedOnly(t *testing.T) {
	t.Parallel()
	stale, failed := &deploy.StaleError{Changed: []string{"keys"}}, errors.New("storage: UPDATE_ROLLBACK_COMPLETE")
	for name, tt := range map[string]struct {
		err  error
		only bool
	}{
		"none":              {nil, false},
		"outdated":          {fmt.Errorf("update: %w", stale), true},
		"outdated twice":    {errors.Join(stale, fmt.Errorf("cluster: %w", stale)), true},
		"failed":            {failed, false},
		"failed beside it":  {fmt.Errorf("update: %w", errors.Join(stale, failed)), false},
		"failed, and named": {fmt.Errorf("%w: %w", failed, stale), false},
	} {
		if got := outdatedOnly(tt.err); (got != nil) != tt.only {
			t.Errorf("%s: %v", name, got)
		}
	}
}
