package cli

import "github.com/spf13/cobra"

// Commands is the tree of commands, for the reference page. Nothing is run.
func Commands() *cobra.Command { return (&app{}).root() }
