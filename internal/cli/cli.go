// Package cli is the command line: arguments, one file for each command, and
// errors in words. Results go to standard output, everything else to standard
// error. Nothing below this package and package view prints.
//
// Every error is reported once, with what to do next where that is known. A
// command line that can't be carried out has the exit code [Usage] and touches
// nothing.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/internal/clock"
)

// ErrInterrupted is why the context ends at the first Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Clock paces waiting; nil is the machine's.
	Clock clock.Clock
	// Terminal tells whether there is a person at a stream; nil is
	// [view.Terminal].
	Terminal func(stream any) bool
}

// app is what all commands share.
type app struct {
	Streams
	output  string // text or json
	verbose bool
	// file is the configuration that the command is about, once it was read, as a word
	// for a shell.
	file string
	// started: the command line was understood and a command runs: this one. Again is
	// the line that repeats it, for a shell.
	started bool
	again   string
	command string
	// patience is what a run has with credentials that have ended.
	patience patience
}

// Run executes a command line and returns the exit code. It prints errors.
func Run(ctx context.Context, args []string, s Streams) int {
	if s.Clock == nil {
		s.Clock = clock.Real{}
	}
	if s.Terminal == nil {
		s.Terminal = view.Terminal
	}
	a := &app{Streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := known(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return Done
	}
	return a.report(ctx, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "poolhouse",
		Short:         "Poolside on AWS, from one file",
		Long:          "poolhouse puts the Poolside reference architecture into an AWS account from one\nfile, keeps it there and takes it away again. Every command can be repeated.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "what to print: text or json")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "print every event of every resource")
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if a.output != "text" && a.output != "json" {
			given := a.output
			a.output = "text"
			return fmt.Errorf("--output is text or json, not %q", given)
		}
		a.started, a.command, a.again = true, cmd.CommandPath(), repeated(cmd, args)
		return nil
	}
	root.AddGroup(
		&cobra.Group{ID: "file", Title: "The file:"},
		&cobra.Group{ID: "bundle", Title: "The bundle:"},
		&cobra.Group{ID: "life", Title: "The deployment:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "cluster", Title: "Kubernetes:"},
		&cobra.Group{ID: "try", Title: "Trying out, without an account:"},
		&cobra.Group{ID: "self", Title: "The program:"},
	)
	root.AddCommand(
		a.initCommand(), a.validateCommand(), a.exportCommand(),
		a.bundleCommand(), a.imagesCommand(), a.modelsCommand(),
		a.planCommand(), a.createCommand(), a.updateCommand(), a.upgradeCommand(), a.deleteCommand(), a.recoverCommand(),
		a.clusterCommand(),
		a.statusCommand(), a.verifyCommand(), a.driftCommand(), a.outputsCommand(), a.listCommand(),
		a.rehearseCommand(), a.sandboxCommand(),
		a.versionCommand(),
	)
	root.SetHelpCommand(helpCommand())
	root.SetCompletionCommandGroupID("self")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			// Without something to run, cobra would not look at its arguments.
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

// known refuses a command that doesn't exist, before its flags are looked at.
func known(root *cobra.Command, args []string) error {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		return nil
	}
	if _, _, err := root.Find(args); err != nil {
		for _, arg := range args {
			if !strings.HasPrefix(arg, "-") {
				return unknown(root, arg)
			}
		}
	}
	return nil
}

func unknown(root *cobra.Command, name string) error {
	hint := "poolhouse help lists the commands"
	if s := root.SuggestionsFor(name); len(s) > 0 {
		hint = "did you mean " + strings.Join(s, " or ") + "? " + hint
	}
	return hinted{fmt.Errorf("there is no command %q", name), hint}
}

// helpCommand is cobra's, but for a name it doesn't know.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command", GroupID: "self",
		Args: func(cmd *cobra.Command, args []string) error {
			if _, _, err := cmd.Root().Find(args); err != nil {
				return unknown(cmd.Root(), args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// file takes the one argument of most commands.
func file(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one file, for example: poolhouse %s deployment.yaml", cmd.Name(), cmd.Name())
	}
	return nil
}

// yamlFiles completes the argument of most commands.
func yamlFiles(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, and %q is one", cmd.Name(), args[0])
	}
	return nil
}

// load reads a configuration and works out what it means.
func load(path string) (*architecture.Architecture, error) {
	c, err := config.LoadFile(path)
	if err != nil {
		return nil, err
	}
	return architecture.New(c)
}

// print writes a result as JSON, or by text.
func (a *app) print(v any, text func()) error {
	if a.output == "json" {
		return view.JSON(a.Out, v)
	}
	text()
	return nil
}
