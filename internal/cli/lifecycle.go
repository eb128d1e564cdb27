package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/deploy"
)

// confirm asks a yes-or-no question. Without a terminal the answer must have
// been given by --yes.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(a.In) {
		return hinted{&usageError{fmt.Errorf("nobody is there to answer: %s", question)}, "add --yes to go on without being asked"}
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
		fmt.Fprintln(a.Err, "nothing was changed")
		return silent{Failed}
	}
	return nil
}

// watch runs an operation with its events shown.
func (a *app) watch(ctx context.Context, t *deploy.Target, verb string, expected *deploy.Plan, run func() error) error {
	v := a.view(t, verb, expected)
	t.Emit = v.event
	err := run()
	v.close(err)
	return err
}
