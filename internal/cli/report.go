package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// usageError is a command line that can't be carried out.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// silent ends a command with an exit code when everything is said already.
type silent struct{ code int }

func (silent) Error() string { return "" }

// hinted carries the next step along with an error.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// problem is an error as people and machines see it.
type problem struct {
	Error  string         `json:"error"`
	Detail []string       `json:"detail,omitempty"`
	Hint   string         `json:"hint,omitempty"`
	Faults []config.Fault `json:"faults,omitempty"`
	code   int
}

// report prints an error once and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	var s silent
	if errors.As(err, &s) {
		return s.code
	}
	p := explain(ctx, err)
	if a.output == "json" {
		enc := json.NewEncoder(a.Err)
		enc.SetIndent("", "  ")
		// A write error here has nowhere to go.
		_ = enc.Encode(p)
		return p.code
	}
	fmt.Fprintf(a.Err, "error: %s\n", p.Error)
	for _, f := range p.Faults {
		fmt.Fprintf(a.Err, "  %s\n", f)
		if f.Fix != "" {
			fmt.Fprintf(a.Err, "    fix: %s\n", f.Fix)
		}
	}
	for _, d := range p.Detail {
		fmt.Fprintf(a.Err, "  %s\n", d)
	}
	if p.Hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", p.Hint)
	}
	return p.code
}

// explain finds the words, the next step and the exit code for an error.
func explain(ctx context.Context, err error) problem {
	p := problem{Error: err.Error(), code: Failed}
	var h hinted
	if errors.As(err, &h) {
		p.Hint = h.hint
	}
	var faults config.Faults
	var fault config.Fault
	var usage *usageError
	var failed *stack.Error
	var refused *deploy.RefusedError
	switch {
	case errors.As(err, &faults):
		p.Error = fmt.Sprintf("the configuration has %s", count(len(faults), "fault"))
		p.Faults, p.code = faults, Usage
	case errors.As(err, &fault):
		p.Error, p.Faults, p.code = "the configuration has 1 fault", config.Faults{fault}, Usage
	case errors.As(err, &usage):
		p.code = Usage
		if p.Hint == "" {
			p.Hint = "poolhouse help lists the commands, and poolhouse COMMAND --help their flags"
		}
	case strings.HasPrefix(p.Error, "unknown command"):
		p.code = Usage
		p.Hint = "poolhouse help lists the commands"
	case errors.Is(err, ErrInterrupted) || errors.Is(context.Cause(ctx), ErrInterrupted):
		p.Error = "interrupted; AWS goes on with what it has begun"
		p.Hint = "poolhouse status shows what goes on; the same command picks up from there"
	case errors.Is(err, awsapi.ErrNoRegion):
		p.code, p.Hint = Usage, "set AWS_REGION or give --region"
	case awsapi.IsNoCredentials(err):
		p.Error, p.code = "there are no AWS credentials", Usage
		p.Hint = "sign in (for example: aws sso login) or set AWS_PROFILE; poolhouse rehearse needs no account"
	case awsapi.IsExpired(err):
		p.Error = "the AWS credentials have expired"
		p.Hint = "sign in again and repeat the command: it goes on where it stopped"
	case awsapi.IsCredentials(err):
		p.Error, p.code = "AWS does not accept the credentials: "+awsapi.Message(err), Usage
		p.Hint = "check which account and profile they belong to: aws sts get-caller-identity"
	case errors.Is(err, deploy.ErrAbsent):
		p.code = Failed
		if p.Hint == "" {
			p.Hint = "poolhouse list shows the deployments of a region; check the name and region in the file and the account of your credentials"
		}
	case errors.As(err, &refused):
		p.Detail = append(p.Detail, "nothing was changed in this stack")
		p.Hint = "undo what causes it in the file; to accept the loss, repeat with --allow-replace"
	case errors.As(err, &failed):
		p.Error, p.Detail = rootCause(err, failed)
		if p.Hint == "" {
			p.Hint = "mend the cause and repeat the command: it goes on where it stopped"
		}
	case awsapi.IsUnreachable(err):
		p.Hint = "AWS could not be reached; check network, proxy and AWS_ENDPOINT_URL, then repeat the command"
	}
	if id := awsapi.RequestID(err); id != "" && p.code == Failed {
		p.Detail = append(p.Detail, "AWS request id "+id)
	}
	return p
}

// rootCause puts the first real failure first.
func rootCause(err error, failed *stack.Error) (string, []string) {
	var detail []string
	if c := failed.Cause; c.LogicalID != "" {
		detail = append(detail, fmt.Sprintf("resource: %s (%s) %s", c.LogicalID, c.Type, c.PhysicalID), "reason: "+c.Reason)
	} else if failed.Reason != "" {
		detail = append(detail, "reason: "+failed.Reason)
	}
	if others := strings.Count(err.Error(), "\n"); others > 0 {
		detail = append(detail, fmt.Sprintf("and %s after it", count(others, "failure")))
	}
	return fmt.Sprintf("stack %s is %s", failed.Stack, failed.Status), detail
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "y") {
		return fmt.Sprintf("%d %sies", n, what[:len(what)-1])
	}
	return fmt.Sprintf("%d %ss", n, what)
}
