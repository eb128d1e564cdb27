package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errUntouched says that a command ended before it changed anything.
var errUntouched = errors.New("nothing was changed")

// confirm asks a yes-or-no question. Without a terminal the answer must have
// been given by --yes.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	answer, err := a.ask(ctx, question+" [y/N] ", question)
	if err != nil {
		return err
	}
	if s := strings.ToLower(answer); s != "y" && s != "yes" {
		return errUntouched
	}
	return nil
}

// confirmName asks for the deployment's name.
func (a *app) confirmName(ctx context.Context, yes bool, name, what string) error {
	if yes {
		return nil
	}
	answer, err := a.ask(ctx, what+" Type its name to go on: ", "type the name "+name)
	if err != nil {
		return err
	}
	if answer != name {
		return fmt.Errorf("%q is not %s: %w", answer, name, errUntouched)
	}
	return nil
}

// ask reads a line from a person.
func (a *app) ask(ctx context.Context, prompt, what string) (string, error) {
	if !a.Terminal(a.In) {
		return "", hinted{&usageError{fmt.Errorf("there is no terminal to answer on: %s", what)}, "add --yes to go on without being asked"}
	}
	fmt.Fprint(a.Err, prompt)
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	// The read can't be taken back; after an interrupt the process ends.
	go func() {
		text, err := bufio.NewReader(a.In).ReadString('\n')
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.Err)
		return "", fmt.Errorf("interrupted: %w", errUntouched)
	case l := <-read:
		if l.err != nil && !errors.Is(l.err, io.EOF) {
			return "", fmt.Errorf("read the answer: %w", l.err)
		}
		return strings.TrimSpace(l.text), nil
	}
}
