package awsapi

import (
	"context"
	"slices"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

// Patient are the same clients, but that calls which only read are made by
// repeat: it is given the call and what it is, as in "eks:DescribeCluster", and
// says when it is made again, by making it. The error that it returns is the
// call's. It must be safe for concurrent use.
func (c *Clients) Patient(repeat func(ctx context.Context, operation string, call func(context.Context) error) error) *Clients {
	cfg := c.cfg.Copy()
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("Patience", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, meta middleware.Metadata, err error) {
			service, operation := awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)
			if !Reads(service, operation) {
				return next.HandleInitialize(ctx, in)
			}
			err = repeat(ctx, strings.ToLower(service)+":"+operation, func(ctx context.Context) (err error) {
				out, meta, err = next.HandleInitialize(ctx, in)
				return err
			})
			return out, meta, err
		}), middleware.Before)
	})
	patient := connect(cfg, c.Clock)
	patient.gate = c.gate
	return patient
}
