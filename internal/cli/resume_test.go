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

// TestOthersAreHintedAt has somebody's files keep a bundle's checkpoint from being
// pushed: the hint is the command that removes them.
func TestOthersAreHintedAt(t *testing.T) {
	t.Parallel()
	a := &app{started: true, file: "my file.yaml"}
	for source, want := range map[string]string{
		"a b/m.tar":       "or have them removed too: poolhouse models push -f 'my file.yaml' --name m --delete-others 'a b/m.tar'",
		"b.tar > m/m.tar": "or have them removed too, with its archive taken out of b.tar: poolhouse models push -f 'my file.yaml' --name m --delete-others ARCHIVE",
	} {
		others := &models.OthersError{Name: "m", URI: "s3://b/models/checkpoints/m/", Source: source, Files: []string{"theirs"}}
		p := a.explain(context.Background(), &deploy.TransferError{Name: "checkpoints", Err: errors.Join(&models.StoppedError{Name: "m", Err: others}), Resume: "poolhouse create --bundle b.tar 'my file.yaml'"})
		if !strings.Contains(p.Hint, want) || !strings.Contains(p.Error, "no push has recorded: theirs") {
			t.Errorf("%s: %+v", source, p)
		}
	}
}
