package awsapi

import (
	"context"
	"errors"
	"net"
	"strings"

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
	case "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchEntity", "NoSuchHostedZone", "ParameterNotFound", "ChangeSetNotFound", "DBInstanceNotFound", "DBSnapshotNotFound", "WAFNonexistentItemException", "NotFound", "404":
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

// IsUnreachable tells that the endpoint did not answer at all.
func IsUnreachable(err error) bool {
	var n net.Error
	return errors.As(err, &n) && !errors.Is(err, context.Canceled)
}
