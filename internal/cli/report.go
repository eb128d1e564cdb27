package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/models"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/wire"
	"github.com/poolhouse/poolhouse/stack"
)

// usageError is a command line that can't be carried out.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// usage is all that is wrong with a command line, in one sentence; nil if nothing
// is.
func usage(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	var texts []string
	for _, f := range faults {
		texts = append(texts, f.Error())
	}
	return &usageError{errors.New(strings.Join(texts, "; "))}
}

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
	// Refusals are why a plan is not carried out.
	Refusals []guard.Refusal `json:"refusals,omitempty"`
	Code     int             `json:"exitCode"`
	// Root is why a stack failed.
	Root *diagnosis.Root `json:"rootCause,omitempty"`
}

// report prints an error once and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	var s silent
	if errors.As(err, &s) {
		return s.code
	}
	p := a.explain(ctx, err)
	if a.output == "json" {
		// A write error here has nowhere to go.
		_ = view.JSON(a.Err, p)
		return p.Code
	}
	faults := p.Faults
	if len(faults) == 1 {
		// One fault is the error itself.
		p.Error, p.Hint, faults = faults[0].String(), faults[0].Fix, nil
	}
	refusals := p.Refusals
	if len(refusals) == 1 {
		p.Error, p.Hint, refusals = refusals[0].String(), refusals[0].Next(), nil
	}
	fmt.Fprintln(a.Err, view.Wrap("error: ", "  ", p.Error))
	for _, f := range faults {
		fmt.Fprintln(a.Err, view.Wrap("  ", "    ", f.String()))
		if f.Fix != "" {
			fmt.Fprintln(a.Err, view.Wrap("    fix: ", "      ", f.Fix))
		}
	}
	view.Refusals(a.Err, refusals)
	for _, d := range p.Detail {
		fmt.Fprintln(a.Err, view.Wrap("  ", "    ", d))
	}
	if p.Hint != "" {
		fmt.Fprintln(a.Err, view.Wrap("hint: ", "  ", p.Hint))
	}
	return p.Code
}

// explain finds the words, the next step and the exit code for an error.
func (a *app) explain(ctx context.Context, err error) problem {
	p := problem{Error: err.Error(), Code: ExitCode(err)}
	var (
		h           hinted
		faults      config.Faults
		mistakes    fault.Mistakes
		usage       *usageError
		access      *accessError
		interrupted *interruptedError
		failed      *stack.Error

		unrecoverable *deploy.UnrecoverableError
		refused       *deploy.RefusedError
		pending       *deploy.PendingError
		held          *lease.HeldError
		lost          *lease.LostError
		changed       *stack.ChangedError
		stale         *deploy.StaleError
		blocked       *deploy.BlockedError
		paused        *deploy.PausedError
		broken        *bundleError
		unreachable   *cluster.UnreachableError
		releases      *cluster.ReleasesError

		stoppedTransfer *transferStoppedError
		others          *models.OthersError
	)
	if errors.As(err, &h) {
		p.Hint = h.hint
	}
	hint := func(s string) {
		if p.Hint == "" {
			p.Hint = s
		}
	}
	switch {
	case errors.As(err, &interrupted):
		if interrupted.unseen != nil {
			p.Detail = append(p.Detail, "what goes on could not be looked up: "+interrupted.unseen.Error())
		}
		hint(fmt.Sprintf("%s shows what goes on; to go on watching: %s", interrupted.look, interrupted.resume))
	case errors.As(err, &stoppedTransfer):
		p.Error = stoppedTransfer.Error()
		hint("it goes on where it stopped: " + stoppedTransfer.resume)
	case errors.Is(err, errUntouched):
	case errors.Is(context.Cause(ctx), ErrInterrupted):
		p.Error, p.Code = "interrupted; nothing was changed", Failed
	case errors.As(err, &refused): // which are faults of the file too
		p.refused(refused, a.file)
	case errors.As(err, &faults):
		p.Error = fmt.Sprintf("the configuration has %s", view.Count(len(faults), "fault"))
		p.Faults = faults
	case errors.As(err, &mistakes):
		p.Error = fmt.Sprintf("what shall go wrong has %s", view.Count(len(mistakes), "mistake"))
		p.Faults = listed(mistakes)
	case errors.As(err, &broken):
		p.Faults = broken.listed()
	case errors.As(err, &usage) || !a.started:
		p.Code = Usage
		hint("poolhouse help lists the commands, and poolhouse COMMAND --help their flags")
	case errors.As(err, &access):
		p.access(access)
	case errors.As(err, &pending):
		p.pending(pending, a.file)
	case errors.As(err, &releases):
		p.Error = fmt.Sprintf("the releases have %s", view.Count(len(releases.Problems), "problem"))
		p.Faults = releaseFaults(releases)
	case errors.As(err, &unreachable):
		p.Error = fmt.Sprintf("there is no route from here to the Kubernetes API of %s at %s", unreachable.Cluster, unreachable.Endpoint)
		p.attempts(unreachable)
		hint("open one of these ways, or repeat the command from inside: docs/guides/private-cluster.md says what each needs")
	case errors.As(err, &paused):
		p.paused(paused, a.again)
	case errors.As(err, &held):
		p.held(held, a.file)
	case errors.As(err, &lost):
		p.lost(lost, a.file)
	case errors.As(err, &stale):
		hint("somebody else works on the deployment; poolhouse status " + a.file + " shows what goes on; repeat the command: it shows what is to be done then")
	case errors.As(err, &changed):
		hint("poolhouse status " + a.file + " shows who works on it and what goes on; repeat the command: it starts from what there is then")
	case awsapi.IsExpired(err):
		p.Error = "the AWS credentials have expired; AWS goes on with what it has begun"
		hint("sign in again and repeat the command: it goes on where it stopped")
	case errors.Is(err, deploy.ErrAbsent) && (a.command == "poolhouse update" || a.command == "poolhouse recover"):
		hint("poolhouse create " + a.file + " makes it; poolhouse list shows the deployments of a region")
	case errors.Is(err, deploy.ErrAbsent):
		hint("poolhouse list shows the deployments of a region; check name and region in the file, and the account of the credentials")
	case errors.As(err, &unrecoverable):
		hint(view.WithFile(unrecoverable.Next, a.file))
	case errors.As(err, &blocked) && blocked.Err == nil:
		p.Error = fmt.Sprintf("%s is not wholly deleted: %s", blocked.Deployment, view.Count(len(blocked.Blockers), "thing")+" left")
		hint("do what is written after each, and repeat the command")
	case errors.As(err, &failed):
		p.cause(err, failed, a.file)
		if len(failed.Skip) > 0 {
			p.Detail = append(p.Detail, "the rollback could not restore "+strings.Join(failed.Skip, ", "))
			hint(fmt.Sprintf("mend the cause and repeat the command, which continues the rollback; poolhouse recover %s shows how to go on without what it can't restore", a.file))
		}
		hint("mend the cause and repeat the command: it goes on where it stopped")
	case awsapi.IsUnreachable(err):
		hint("the connection to AWS is lost; repeat the command: it goes on where it stopped")
	case awsapi.Code(err) == wire.NotModelled:
		p.Error = "the sandbox can't do this: " + awsapi.Message(err)
		if m := otherRegion().FindStringSubmatch(p.Error); m != nil {
			p.access(&accessError{m[1], err})
		}
	case errors.As(err, &others):
		hint("move them elsewhere, or have them removed too" + removals(every[*models.OthersError](err), a.file))
	}
	for _, moved := range every[*deploy.TransferError](err) {
		if moved.Resume == "" {
			continue
		}
		said := strings.Contains(p.Error, moved.Error()) || slices.ContainsFunc(p.Detail, func(d string) bool { return strings.Contains(d, moved.Error()) })
		switch {
		case p.Hint == "" && !said:
			p.Detail = append(p.Detail, moved.Error())
			fallthrough
		case p.Hint == "":
			p.Hint = "the stacks have nothing to do with it; to go on with it alone: " + moved.Resume
		case said:
			p.Detail = append(p.Detail, "to go on with "+moved.Name+" alone: "+moved.Resume)
		default:
			p.Detail = append(p.Detail, moved.Error()+"; to go on with it alone: "+moved.Resume)
		}
	}
	if id := awsapi.RequestID(err); id != "" && p.Code == Failed {
		p.Detail = append(p.Detail, "AWS request id "+id)
	}
	return p
}

// removals are the commands that remove what is in the way of checkpoints.
func removals(others []*models.OthersError, file string) string {
	text := ""
	for i, o := range others {
		archive, from, separator := o.Source, "", ": "
		if bundle, _, inside := strings.Cut(o.Source, " > "); inside {
			archive, from, separator = "ARCHIVE", "with its archive taken out of "+bundle+": ", ", "
		}
		if i > 0 {
			separator = "; "
		}
		text += fmt.Sprintf("%s%spoolhouse models push -f %s --name %s --delete-others %s", separator, from, file, o.Name, quoted(archive))
	}
	return text
}

// refused explains what is not carried out, and what would be.
func (p *problem) refused(e *deploy.RefusedError, file string) {
	p.Refusals = slices.Clone(e.Refusals)
	for i := range p.Refusals {
		p.Refusals[i].Fix = view.WithFile(p.Refusals[i].Fix, file)
	}
	p.Error = fmt.Sprintf("refused for %s", view.Count(len(e.Refusals), "reason"))
	if e.Untouched {
		p.Error += "; nothing was changed"
	} else {
		p.Detail = append(p.Detail, "nothing was changed in what this names; poolhouse status shows the rest")
	}
}

// pending explains what the AWS side's completion leaves undone, and from where
// it can be done.
func (p *problem) pending(e *deploy.PendingError, file string) {
	if e.GPU != nil {
		p.Error = fmt.Sprintf("%s is usable, and its GPU nodes are pending", e.Deployment)
		var failed *stack.Error
		if errors.As(e.GPU, &failed) {
			what := p.Error
			p.cause(e.GPU, failed, file)
			p.Error, p.Detail = what, append([]string{p.Error}, p.Detail...)
		} else {
			p.Detail = append(p.Detail, e.GPU.Error())
		}
		if e.Err != nil {
			p.Detail = append(p.Detail, "its Kubernetes phase waits too: "+e.Err.Error())
		}
		return
	}
	var u *cluster.UnreachableError
	if !errors.As(e.Err, &u) {
		return
	}
	p.Error = fmt.Sprintf("the AWS side of %s is complete, and there is no route from here to its Kubernetes API at %s", e.Deployment, u.Endpoint)
	p.attempts(u)
}

// attempts lists the ways to the Kubernetes API that were tried.
func (p *problem) attempts(u *cluster.UnreachableError) {
	for _, a := range u.Attempts {
		line := a.String() + ": " + a.Error
		if a.Advice != "" {
			line += " (" + a.Advice + ")"
		}
		p.Detail = append(p.Detail, line)
	}
}

// otherRegion finds the region in a sandbox's refusal to be in it. Services
// that are global answer there all the same, so it may come late.
func otherRegion() *regexp.Regexp { return regexp.MustCompile(`region (\S+) is not modelled`) }

// access explains why there is no way to the account.
func (p *problem) access(e *accessError) {
	var dns *net.DNSError
	var at *url.Error
	var profile awsconfig.SharedConfigProfileNotExistError
	endpoint := ""
	if errors.As(e.err, &at) {
		if u, err := url.Parse(at.URL); err == nil {
			endpoint = u.Scheme + "://" + u.Host
		}
	}
	custom := os.Getenv("AWS_ENDPOINT_URL")
	switch {
	case errors.As(e.err, &profile):
		p.Error = fmt.Sprintf("there is no AWS profile %q", profile.Profile)
		p.Hint = "aws configure list-profiles names those that there are; check AWS_PROFILE"
	case errors.Is(e.err, awsapi.ErrNoRegion):
		p.Error, p.Hint = "no AWS region is set", "set AWS_REGION or give --region"
	case awsapi.IsNoCredentials(e.err):
		p.Error = "there are no AWS credentials"
		p.Hint = "sign in, for example by aws sso login, or set AWS_PROFILE; poolhouse rehearse needs no account"
	case awsapi.IsExpired(e.err):
		p.Error, p.Hint = "the AWS credentials have expired", "sign in again, for example by aws sso login"
	case awsapi.IsCredentials(e.err):
		p.Error = "AWS does not accept the credentials: " + awsapi.Message(e.err)
		p.Hint = "aws sts get-caller-identity shows whose they are; check AWS_PROFILE and AWS_ACCESS_KEY_ID"
		if custom != "" {
			p.Hint = "AWS_ENDPOINT_URL is " + custom + ": use the credentials that go with it"
		}
	case awsapi.Code(e.err) == wire.NotModelled:
		p.Error = "the endpoint is a sandbox: " + awsapi.Message(e.err)
		p.Hint = "start one for this region: poolhouse sandbox --region " + e.region
	case errors.As(e.err, &dns) && dns.IsNotFound && custom == "":
		p.Error = fmt.Sprintf("there is no AWS endpoint %s", dns.Name)
		p.Hint = fmt.Sprintf("check that region %s exists, and that this machine can resolve public names", e.region)
	case awsapi.IsProxy(e.err):
		var refused *awsapi.ProxyError
		p.Error = "the proxy does not lead to AWS: " + rootOf(e.err)
		if errors.As(e.err, &refused) {
			p.Error = refused.Error()
		}
		p.Hint = "HTTPS_PROXY names it, or proxy.url of the file if that is not set; let it connect to AWS's endpoints, or set HTTPS_PROXY to another, or to nothing"
	case isUntrusted(e.err):
		p.Error = "there is an answer from " + endpoint + ", but nobody vouches for it: " + rootOf(e.err)
		p.Hint = "if a proxy opens TLS on the way, put its authority's certificate into trust.caBundle, or its file into AWS_CA_BUNDLE"
	case awsapi.IsUnreachable(e.err) && endpoint != "":
		p.Error = "there is no answer from " + endpoint
		p.Detail = append(p.Detail, rootOf(e.err))
		p.Hint = "check the network and the proxy settings, then repeat the command"
		if custom != "" {
			p.Hint = "AWS_ENDPOINT_URL is " + custom + ": check that it is right and that something listens there"
		}
	case awsapi.Code(e.err) == "" && custom != "":
		p.Detail = append(p.Detail, p.Error)
		p.Error = "the endpoint does not answer as AWS does"
		p.Hint = "AWS_ENDPOINT_URL is " + custom + ": check that it is right"
	}
}

// isUntrusted tells that an answer's certificate is not to be believed.
func isUntrusted(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

// rootOf is the innermost reason of an error.
func rootOf(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// cause explains a stack that failed.
func (p *problem) cause(err error, failed *stack.Error, file string) {
	root := failed.Root()
	p.Root = &root
	p.Error, p.Detail = rootCause(err, failed, file)
}

// rootCause puts the first real failure first.
func rootCause(err error, failed *stack.Error, file string) (string, []string) {
	detail := view.Root(failed.Root(), file)
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		for _, other := range all.Unwrap() {
			if !errors.Is(other, error(failed)) {
				detail = append(detail, "also: "+other.Error())
			}
		}
	}
	return failed.What(), detail
}

// capital begins a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
