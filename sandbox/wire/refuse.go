package wire

import (
	"net/http"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// refuse gives an authentication failure the code and status that the
// service's protocol has for it.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func refuse(s *Service, f *fault) *account.Error {
	if f.kind == wrongRegion {
		return account.NotModelled("%s", f.detail)
	}
	kind := f.kind
	if s.Name != "s3" && (kind == formerSignature || kind == incompleteQuery) {
		kind = incompleteSignature
	}
	var codes map[faultKind]string
	status, message := http.StatusForbidden, f.detail
	switch {
	case s.Name == "s3":
		codes = map[faultKind]string{
			missingToken:        "AccessDenied",
			formerSignature:     "InvalidRequest",
			incompleteSignature: "AuthorizationHeaderMalformed",
			incompleteQuery:     "AuthorizationQueryParametersError",
			unknownKey:          "InvalidAccessKeyId",
			expiredToken:        "ExpiredToken",
			wrongSignature:      "SignatureDoesNotMatch",
			expired:             "RequestTimeTooSkewed",
			presignExpired:      "AccessDenied",
			unsignedHeaders:     "AccessDenied",
		}
		switch kind {
		case missingToken:
			message = "Access Denied"
		case formerSignature:
			message, status = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.", http.StatusBadRequest
		case unknownKey:
			message = "The AWS Access Key Id you provided does not exist in our records."
		case expiredToken:
			message, status = "The provided token has expired.", http.StatusBadRequest
		case expired:
			message = "The difference between the request time and the current time is too large."
		case incompleteSignature, incompleteQuery:
			status = http.StatusBadRequest
		}
	case s.Protocol == EC2Query:
		codes = map[faultKind]string{
			missingToken:        "MissingAuthenticationToken",
			incompleteSignature: "IncompleteSignature",
			unknownKey:          "AuthFailure",
			expiredToken:        "RequestExpired",
			wrongSignature:      "SignatureDoesNotMatch",
			expired:             "RequestExpired",
			presignExpired:      "RequestExpired",
		}
		switch kind {
		case unknownKey:
			message, status = "AWS was not able to validate the provided access credentials", http.StatusUnauthorized
		case expiredToken:
			message, status = "Request has expired.", http.StatusBadRequest
		case incompleteSignature, expired, presignExpired:
			status = http.StatusBadRequest
		}
	case s.Protocol == Query || s.Protocol == RestXML:
		codes = map[faultKind]string{
			missingToken:        "MissingAuthenticationToken",
			incompleteSignature: "IncompleteSignature",
			unknownKey:          "InvalidClientTokenId",
			expiredToken:        "ExpiredToken",
			wrongSignature:      "SignatureDoesNotMatch",
			expired:             "SignatureDoesNotMatch",
			presignExpired:      "SignatureDoesNotMatch",
		}
		if kind == incompleteSignature {
			status = http.StatusBadRequest
		}
	default:
		codes = map[faultKind]string{
			missingToken:        "MissingAuthenticationTokenException",
			incompleteSignature: "IncompleteSignatureException",
			unknownKey:          "UnrecognizedClientException",
			expiredToken:        "ExpiredTokenException",
			wrongSignature:      "InvalidSignatureException",
			expired:             "InvalidSignatureException",
			presignExpired:      "InvalidSignatureException",
		}
		if s.Protocol != RestJSON {
			status = http.StatusBadRequest
		}
		if kind == missingToken {
			message = "Missing Authentication Token"
		}
	}
	return &account.Error{Code: codes[kind], Message: message, Status: status}
}
