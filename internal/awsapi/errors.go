package awsapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
)

// ErrNoRegion says that neither the options nor the environment name a region.
var ErrNoRegion = errors.New("no AWS region is set")

// Code is the service's error code, or "".
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Message is the service's own words, or the error's text.
func Message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return err.Error()
}

// RequestID is the id to quote to AWS, or "".
func RequestID(err error) string {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.ServiceRequestID()
	}
	return ""
}

// IsNotFound tells that what was asked for doesn't exist.
func IsNotFound(err error) bool {
	c := Code(err)
	switch c {
	case "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchEntity", "NoSuchHostedZone", "ParameterNotFound", "ChangeSetNotFound", "LoadBalancerNotFound", "TargetGroupNotFound", "DBInstanceNotFound", "DBSnapshotNotFound", "WAFNonexistentItemException", "NotFound", "404":
		return true
	case "ValidationError":
		// CloudFormation has no code of its own for it.
		return strings.Contains(Message(err), "does not exist")
	}
	return strings.HasSuffix(c, "NotFoundException") || strings.HasSuffix(c, "NotFoundFault") || strings.HasSuffix(c, ".NotFound")
}

// IsExists tells that what was to be made is there already.
func IsExists(err error) bool {
	c := Code(err)
	if c == "InvalidInput" {
		// IAM's answer for a service-linked role that exists.
		return strings.Contains(Message(err), "has been taken")
	}
	return strings.Contains(c, "AlreadyExist") || c == "BucketAlreadyOwnedByYou" || strings.HasSuffix(c, ".Duplicate")
}

// IsDenied tells that the caller may not do it.
func IsDenied(err error) bool {
	switch Code(err) {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "AuthorizationErrorException":
		return true
	}
	return false
}

// credentialsError says that no credentials could be had.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// IsCredentials tells that the credentials are missing, wrong or expired.
func IsCredentials(err error) bool {
	switch Code(err) {
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure", "MissingAuthenticationToken", "InvalidToken":
		return true
	}
	var missing *credentialsError
	return errors.As(err, &missing) || IsExpired(err)
}

// IsNoCredentials tells that the standard chain found no credentials at all.
func IsNoCredentials(err error) bool {
	var missing *credentialsError
	return errors.As(err, &missing) && Code(err) == "" && !IsExpired(err)
}

// IsExpired tells that a session has ended: that of the credentials, or the
// single sign-on that they come from.
func IsExpired(err error) bool {
	switch Code(err) {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	case "InvalidGrantException", "UnauthorizedException":
		// IAM Identity Center's, of a token that can't be renewed.
		var missing *credentialsError
		return errors.As(err, &missing)
	}
	var sso *ssocreds.InvalidTokenError
	return errors.As(err, &sso)
}

// IsUnreachable tells that the endpoint did not answer at all. An error of the
// operating system alone, such as a file's, is not about an endpoint.
func IsUnreachable(err error) bool {
	var n net.Error
	if !errors.As(err, &n) || errors.Is(err, context.Canceled) {
		return false
	}
	_, system := n.(syscall.Errno)
	return !system
}

// Passes tells that a call failed for a reason that passes by itself: too many
// calls, an error of the service's own, a connection that broke. It is what the
// SDK would repeat.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
func Passes(err error) bool {
	if err == nil || IsExpired(err) || IsProxy(err) {
		return false
	}
	switch repeat := retryables().IsErrorRetryable(err); repeat {
	case aws.TrueTernary, aws.FalseTernary:
		return repeat == aws.TrueTernary
	}
	var resp *awshttp.ResponseError
	var api smithy.APIError
	switch {
	case errors.As(err, &resp) && resp.HTTPStatusCode() >= http.StatusInternalServerError:
		return true
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "InternalError", "InternalFailure", "InternalServerError", "ServerException", "ServiceUnavailable", "ServiceUnavailableException":
			return true
		}
		return false
	}
	// An answer that was cut off in its middle.
	return IsUnreachable(err) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryables are the SDK's, and HTTP's own way of saying that there are too many.
func retryables() retry.IsErrorRetryables {
	return append(retry.IsErrorRetryables{
		refusal{}, retry.NoRetryCanceledError{}, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}},
	}, retry.DefaultRetryables...)
}

// prefixes are what IAM calls services, by the SDK's id, where that is not the id
// in small letters.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var prefixes = map[string]string{
	"Auto Scaling": "autoscaling", "CloudWatch Logs": "logs", "Elastic Load Balancing": "elasticloadbalancing", "Elastic Load Balancing v2": "elasticloadbalancing", "Route 53": "route53", "Secrets Manager": "secretsmanager",
}

// actions are the permissions of operations that IAM calls otherwise. See
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
var actions = map[string]string{
	"s3:CompleteMultipartUpload": "s3:PutObject", "s3:CreateMultipartUpload": "s3:PutObject", "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
	"s3:ListParts": "s3:ListMultipartUploadParts", "s3:UploadPart": "s3:PutObject", "s3:CopyObject": "s3:PutObject", "s3:UploadPartCopy": "s3:PutObject",
	"s3:DeleteObjects": "s3:DeleteObjectVersion", "s3:HeadBucket": "s3:ListBucket", "s3:HeadObject": "s3:GetObject",
	"s3:ListMultipartUploads": "s3:ListBucketMultipartUploads", "s3:ListObjectVersions": "s3:ListBucketVersions", "s3:ListObjectsV2": "s3:ListBucket",
}

// Permission is what a call that was denied takes, as IAM names it, or "to look"
// if the error is of no call.
func Permission(err error) string {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return "to look"
	}
	prefix, ok := prefixes[op.Service()]
	if !ok {
		prefix = strings.ToLower(op.Service())
	}
	action := prefix + ":" + op.Operation()
	if is, ok := actions[action]; ok {
		return is
	}
	return action
}
