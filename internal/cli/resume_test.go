package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/stack"
)

// TestHintsRepeatTheWholeCommand follows what errors say of how to go on: with the
// bundle, the limit and the form of the output, as a shell takes it.
func TestHintsRepeatTheWholeCommand(t *testing.T) {
	t.Parallel()
	a := &app{}
	root := a.root()
	create, _, err := root.Find([]string{"create"})
	if err != nil {
		t.Fatal(err)
	}
	var line, alone string
	create.RunE = func(cmd *cobra.Command, args []string) error {
		line, alone = a.again, pushing(cmd, args[0], cmd.Flag("bundle").Value.String())
		return nil
	}
	root.SetArgs([]string{"create", "my file.yaml", "--bundle", "it's.tar", "--limit", "1GB/s", "-o", "json"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if want := `poolhouse create --bundle 'it'\''s.tar' --limit 1GB/s -o json 'my file.yaml'`; line != want {
		t.Errorf("to go on: %s, not %s", line, want)
	}
	if want := `poolhouse images push --limit 1GB/s --output json -f 'my file.yaml' 'it'\''s.tar'`; alone != want {
		t.Errorf("to go on alone: %s, not %s", alone, want)
	}
	for _, err := range []error{
		&deploy.PausedError{Err: errors.New("expired")},
		&interruptedError{resume: a.again},
	} {
		if p := a.explain(context.Background(), err); !strings.Contains(p.Hint, line) {
			t.Errorf("%T: the hint is %q", err, p.Hint)
		}
	}
}

// TestTransferIsSaidOnce has two transfers fail alone, beside a stack, and beside a
// Kubernetes API without a route.
func TestTransferIsSaidOnce(t *testing.T) {
	t.Parallel()
	moved := errors.Join(
		&deploy.TransferError{Name: "images", Err: errors.New("the disk is full"), Resume: "poolhouse images push"},
		&deploy.TransferError{Name: "models", Err: errors.New("the bucket is gone"), Resume: "poolhouse models push"},
	)
	for name, err := range map[string]error{
		"alone":   errors.Join(nil, moved),
		"stack":   errors.Join(&stack.Error{Stack: "poolside-keys"}, moved),
		"pending": errors.Join(&deploy.PendingError{Deployment: "poolside", Err: &cluster.UnreachableError{}}, moved),
	} {
		a := &app{started: true}
		p := a.explain(context.Background(), err)
		all := p.Error + "\n" + strings.Join(p.Detail, "\n") + "\n" + p.Hint
		for _, once := range []string{"the disk is full", "poolhouse images push", "the bucket is gone", "poolhouse models push"} {
			if strings.Count(all, once) != 1 || p.Code != Failed {
				t.Errorf("%s: exit code %d, want %q once:\n%s", name, p.Code, once, all)
			}
		}
	}
}

// TestOthersAreHintedAt has somebody's files keep a bundle's checkpoints from being
// pushed: the hint has the command that removes them, for each.
func TestOthersAreHintedAt(t *testing.T) {
	t.Parallel()
	a := &app{started: true, file: quoted("my file.yaml")}
	refused := func(name, source string) error {
		return &models.StoppedError{Name: name, Err: &models.OthersError{Name: name, URI: "s3://b/models/checkpoints/" + name + "/", Source: source, Files: []string{"theirs-of-" + name}}}
	}
	beside, inside := refused("m", "a b/m.tar"), refused("n", "b.tar > m/n.tar")
	const (
		one   = "poolhouse models push -f 'my file.yaml' --name m --delete-others 'a b/m.tar'"
		other = "with its archive taken out of b.tar: poolhouse models push -f 'my file.yaml' --name n --delete-others ARCHIVE"
	)
	for want, errs := range map[string][]error{
		"or have them removed too: " + one:                {beside},
		"or have them removed too, " + other:              {inside},
		"or have them removed too: " + one + "; " + other: {beside, errors.New("another reason"), inside},
	} {
		p := a.explain(context.Background(), &deploy.TransferError{Name: "checkpoints", Err: errors.Join(errs...), Resume: "poolhouse create --bundle b.tar 'my file.yaml'"})
		if !strings.HasSuffix(p.Hint, want) {
			t.Errorf("the hint is %s, want %s", p.Hint, want)
		}
		for _, name := range []string{"m", "n"} {
			if strings.Contains(want, "--name "+name) != strings.Contains(p.Error, "no push has recorded: theirs-of-"+name) {
				t.Errorf("the error is %s", p.Error)
			}
		}
	}
}
