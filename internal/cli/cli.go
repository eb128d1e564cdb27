// Package cli is the command line: arguments, one file for each command, and
// what people and machines get to see. Results go to standard output,
// everything else to standard error. Nothing below this package prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Exit codes.
const (
	Done    = 0
	Failed  = 1
	Usage   = 2 // usage, configuration or credentials: nothing was touched
	Pending = 3 // there are changes, or checks failed
)

// ErrInterrupted is why the context ends at the first Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what all commands share.
type app struct {
	Streams
	output  string // text or json
	verbose bool
	// aws says how to reach AWS; rehearsals replace it.
	aws awsapi.Options
}

// Run executes a command line and returns the exit code. It prints errors.
func Run(ctx context.Context, args []string, s Streams) int {
	a := &app{Streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
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
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return &usageError{fmt.Errorf("--output is text or json, not %q", a.output)}
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddGroup(&cobra.Group{ID: "file", Title: "The file:"}, &cobra.Group{ID: "life", Title: "The deployment:"}, &cobra.Group{ID: "look", Title: "Looking:"}, &cobra.Group{ID: "try", Title: "Trying out:"})
	root.AddCommand(
		a.initCommand(), a.validateCommand(), a.exportCommand(),
		a.planCommand(), a.createCommand(), a.updateCommand(), a.deleteCommand(),
		a.statusCommand(), a.outputsCommand(), a.listCommand(),
		a.rehearseCommand(), a.sandboxCommand(), a.versionCommand(),
	)
	return root
}

// file takes the one argument of most commands, with a hint if it is missing.
func file(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("%s takes one file, for example: poolhouse %s deployment.yaml", cmd.Name(), cmd.Name())}
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%s takes no arguments, and %q is one", cmd.Name(), args[0])}
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

// target reads a configuration and opens the way to its account.
func (a *app) target(ctx context.Context, path string) (deploy.Target, error) {
	arch, err := load(path)
	if err != nil {
		return deploy.Target{}, err
	}
	clients, err := a.clients(ctx, arch.Config.Region)
	return deploy.Target{Architecture: arch, AWS: clients}, err
}

func (a *app) clients(ctx context.Context, region string) (*awsapi.Clients, error) {
	o := a.aws
	if region != "" {
		o.Region = region
	}
	return awsapi.New(ctx, o)
}

// terminal tells whether a stream is one that a person looks at and that can
// move its cursor.
func terminal(s any) bool {
	f, ok := s.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
}
