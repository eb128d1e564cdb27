package cli

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/guard"
)

// allowFlags adds the flags for what is refused without them, and returns
// those that are given when the command runs.
func allowFlags(c *cobra.Command) func() guard.Allowed {
	given := map[guard.Flag]*bool{}
	about := guard.Flags()
	for _, f := range slices.Sorted(maps.Keys(about)) {
		given[f] = c.Flags().Bool(string(f), false, about[f])
	}
	return func() guard.Allowed {
		allowed := guard.Allowed{}
		for f, on := range given {
			allowed[f] = *on
		}
		return allowed
	}
}
