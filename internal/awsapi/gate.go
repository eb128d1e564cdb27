package awsapi

import (
	"context"
	"slices"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/middleware"
)

// Gated are the same clients behind a gate: each attempt of a call that may
// change something asks it when it is signed and about to be sent, and fails with
// its error. So no signature is younger than the gate's last word. Calls that only
// read pass, and so does the signing of requests that others send. The gate must be
// safe for concurrent use, and must not call through the clients it guards.
func (c *Clients) Gated(gate func(context.Context) error) *Clients {
	cfg := c.cfg.Copy()
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(s *middleware.Stack) error {
		if _, presigned := s.Finalize.Get((*v4.PresignHTTPRequestMiddleware)(nil).ID()); presigned {
			return nil // it is signed, and not sent from here
		}
		return s.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Gate", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if !Reads(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)) {
				if err := gate(ctx); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, shut{err}
				}
			}
			return next.HandleFinalize(ctx, in)
		}), "Signing", middleware.After)
	})
	gated := connect(cfg, c.Clock)
	gated.gate = gate
	if outer := c.gate; outer != nil {
		gated.gate = func(ctx context.Context) error {
			if err := outer(ctx); err != nil {
				return err
			}
			return gate(ctx)
		}
	}
	return gated
}

// Gate is what the clients ask before each call that may change something, for
// what is written to AWS by other ways than theirs; nil if they are behind none.
func (c *Clients) Gate() func(context.Context) error { return c.gate }

// shut is a gate's error. Nothing repeats the call.
type shut struct{ error }

// CanceledError makes it final: the SDK repeats no call that was cancelled.
func (shut) CanceledError() bool { return true }
func (s shut) Unwrap() error     { return s.error }

// readers are the beginnings of the names of operations that change nothing.
var readers = []string{"BatchGet", "Describe", "Get", "Head", "List", "Lookup", "Search", "Simulate"}

// alsoRead are further operations that change nothing of what a deployment is,
// by the service's id.
var alsoRead = map[string][]string{
	// Drift is looked for in what there is.
	"CloudFormation": {"DetectStackDrift", "DetectStackResourceDrift", "ValidateTemplate"},
	// A session leads to the Kubernetes API.
	"SSM": {"StartSession", "TerminateSession"},
	"STS": {"AssumeRole", "AssumeRoleWithWebIdentity"},
}

// Deletes tells that the call of a context, as a gate is asked about it, takes
// something away that others may have made or adopted meanwhile. A change set is no
// such thing: without it nothing of a stack changes.
func Deletes(ctx context.Context) bool {
	operation := awsmiddleware.GetOperationName(ctx)
	return operation != "DeleteChangeSet" && strings.HasPrefix(operation, "Delete") || operation == "ScheduleKeyDeletion"
}

// Reads tells that an operation only reads. What isn't known to, writes.
func Reads(service, operation string) bool {
	return slices.Contains(alsoRead[service], operation) || slices.ContainsFunc(readers, func(r string) bool {
		rest, ok := strings.CutPrefix(operation, r)
		return ok && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z'
	})
}
