package awsapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
)

// explainHeads finds out whether credentials are why a HEAD was refused, whose
// answer has no body to say it: S3 answers 400 to an expired token and 403 to an
// unknown key as to much else. STS, which anybody may ask, says it in words.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func explainHeads(c *sts.Client) func(*middleware.Stack) error {
	return func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("ExplainHeads", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			var resp *awshttp.ResponseError
			if err == nil || !strings.HasPrefix(awsmiddleware.GetOperationName(ctx), "Head") || !errors.As(err, &resp) {
				return out, meta, err
			}
			if code := resp.HTTPStatusCode(); code != http.StatusBadRequest && code != http.StatusForbidden {
				return out, meta, err
			}
			if _, why := c.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); IsCredentials(why) {
				err = errors.Join(why, err)
			}
			return out, meta, err
		}), middleware.Before)
	}
}
