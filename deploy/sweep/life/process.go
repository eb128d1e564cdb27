package life

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
)

// Process is what a command runs in.
type Process struct {
	Box    *sandbox.Sandbox
	Holder lease.Holder
	// Transport carries its calls; nil is straight to the sandbox.
	Transport http.RoundTripper
	// Clock is what it waits by; nil is the bubble's.
	Clock clock.Clock
	// Data is what a deletion does with the data; "" destroys it.
	Data deploy.Data
	// Adjust changes what the command is told; may be nil.
	Adjust func(*deploy.Target)
}

// Alone is the holder of a number on a machine where those of all other numbers
// are dead.
func Alone(pid int, command string) lease.Holder {
	return lease.Holder{Owner: "alice", Host: "laptop", Machine: "1", PID: pid, Command: command, Run: fmt.Sprint(command, pid), Alive: func(p int) bool { return p == pid }}
}

// Result is what a command came to.
type Result struct {
	// Changes is how many changes a creation or an update made, and Complete that
	// a creation found nothing to do.
	Changes  int
	Complete bool
	// Deleted is what a deletion reports; nil if it has nothing to report.
	Deleted *deploy.Deleted
}

// Target is a deployment as the process sees it.
func (p Process) Target(ctx context.Context, a *architecture.Architecture) (deploy.Target, error) {
	o := awsapi.Options{Region: a.Config.Region, Endpoint: testkit.Endpoint, HTTPClient: testkit.Client(p.Box), Clock: p.Clock}
	if p.Transport != nil {
		o.HTTPClient = &http.Client{Transport: p.Transport}
	}
	me := p.Box.Principals()[0]
	o.Credentials = aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(me.AccessKeyID, me.SecretAccessKey, me.SessionToken))
	clients, err := awsapi.New(ctx, o)
	if err != nil {
		return deploy.Target{}, err
	}
	t := deploy.Target{Architecture: a, AWS: clients, Holder: p.Holder, Terse: true}
	if p.Adjust != nil {
		p.Adjust(&t)
	}
	return t, nil
}

// Run runs a command to its end.
func (p Process) Run(ctx context.Context, v Verb, a *architecture.Architecture) (Result, error) {
	t, err := p.Target(ctx, a)
	if err != nil {
		return Result{}, err
	}
	var made *deploy.Result
	switch v {
	case Create:
		made, err = deploy.Create(ctx, deploy.CreateOptions{Target: t})
	case Update:
		made, err = deploy.Update(ctx, deploy.CreateOptions{Target: t})
	case Recover:
		_, err = deploy.Recover(ctx, deploy.RecoverOptions{Target: t})
	default:
		data := p.Data
		if data == "" {
			data = deploy.DestroyData
		}
		d, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: t, Data: data})
		return Result{Deleted: d}, wrap(v, err)
	}
	var r Result
	if made != nil {
		r.Changes, r.Complete = made.Changes, made.Complete
	}
	return r, wrap(v, err)
}

// wrap names the command that failed. That a deletion found nothing is an error
// still, see [Gone].
func wrap(v Verb, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	return nil
}

// Gone lets pass that there was no deployment to delete: whether it left nothing
// is for who looks at the account.
func Gone(err error) error {
	if errors.Is(err, deploy.ErrAbsent) {
		return nil
	}
	return err
}

// Kept is what a deletion says that it keeps.
func (r Result) Kept() []deploy.Kept {
	if r.Deleted == nil {
		return nil
	}
	return r.Deleted.Kept
}
