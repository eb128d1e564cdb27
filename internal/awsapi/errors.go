package awsapi

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
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
	case "NoSuchBucket", "NoSuchKey", "NoSuchEntity", "NoSuchHostedZone", "ParameterNotFound", "ChangeSetNotFound", "DBInstanceNotFound", "DBSnapshotNotFound", "NotFound", "404":
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
	return strings.Contains(c, "AlreadyExist") || c == "EntityAlreadyExists" || c == "BucketAlreadyOwnedByYou" || strings.HasSuffix(c, ".Duplicate")
}

// IsDenied tells that the caller may not do it.
func IsDenied(err error) bool {
	switch Code(err) {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "AuthorizationErrorException":
		return true
	}
	return false
}

// IsCredentials tells that the credentials are missing, wrong or expired.
func IsCredentials(err error) bool {
	switch Code(err) {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "MissingAuthenticationToken", "InvalidToken":
		return true
	}
	return IsNoCredentials(err)
}

// IsNoCredentials tells that the standard chain found no credentials at all.
func IsNoCredentials(err error) bool {
	var missing *aws.MissingRegionError
	if errors.As(err, &missing) {
		return false
	}
	s := err.Error()
	return strings.Contains(s, "get identity: get credentials") || strings.Contains(s, "static credentials are empty")
}

// IsExpired tells that the session ended while the command ran.
func IsExpired(err error) bool {
	switch Code(err) {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// IsUnreachable tells that the endpoint did not answer at all.
func IsUnreachable(err error) bool {
	var n net.Error
	var op *net.OpError
	return errors.As(err, &op) || errors.As(err, &n)
}

// IsInterrupt tells that the caller's own context ended, not AWS's work.
func IsInterrupt(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
