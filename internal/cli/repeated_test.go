package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// A command line that is to be repeated is the one that was given: a shell gets the
// same words from it.
func TestRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		given []string
		want  string
	}{
		{[]string{"-f", "a.yaml", "m.tar"}, "poolhouse push -f a.yaml m.tar"},
		{
			[]string{"m 1.tar", "-f=my file.yaml", "--name", "m-1", "--limit", "50MB/s", "--dry-run", "-o", "json", "--digest", "sha256:00"},
			"poolhouse push --digest sha256:00 --dry-run -f 'my file.yaml' --limit 50MB/s --name m-1 -o json 'm 1.tar'",
		},
		{[]string{"--file", "it's $HOME", "--yes=false", "--", "-m.tar"}, `poolhouse push -f 'it'\''s $HOME' --yes=false -- -m.tar`},
		{[]string{"--only", "a,b c", "--name", "", "~/m"}, "poolhouse push --name '' --only a --only 'b c' '~/m'"},
	} {
		root := &cobra.Command{Use: "poolhouse"}
		root.PersistentFlags().StringP("output", "o", "text", "")
		got := ""
		push := &cobra.Command{Use: "push", RunE: func(cmd *cobra.Command, args []string) error {
			got = repeated(cmd, args)
			return nil
		}}
		push.Flags().StringP("file", "f", "", "")
		for _, name := range []string{"name", "limit", "digest"} {
			push.Flags().String(name, "", "")
		}
		push.Flags().StringSlice("only", nil, "")
		push.Flags().Bool("dry-run", false, "")
		push.Flags().BoolP("yes", "", true, "")
		root.AddCommand(push)
		run := func(words []string) {
			root.SetArgs(words)
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
		}
		run(append([]string{"push"}, tt.given...))
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%q: %s", tt.given, d)
		}
		words, err := exec.CommandContext(t.Context(), "sh", "-c", "for w in "+got+`; do printf '%s\0' "$w"; done`).Output()
		if err != nil {
			t.Fatal(err)
		}
		split := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
		for _, word := range split[1:] {
			if !strings.Contains(strings.Join(append(tt.given, "-f", "--name", "-o", "--only", "--dry-run", "b c", "push"), "\x00"), word) {
				t.Errorf("a shell takes %q of %s", word, got)
			}
		}
	}
}
