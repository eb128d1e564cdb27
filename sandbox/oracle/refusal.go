package oracle

import (
	"net/http"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// common are the codes that any operation may be refused with, of protocols
// that write them short and of those that append Exception.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
// https://docs.aws.amazon.com/eks/latest/APIReference/CommonErrors.html
// https://docs.aws.amazon.com/awssupport/latest/APIReference/CommonErrors.html
// https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
func common() []string {
	return []string{
		"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException",
		"InternalFailure", "InvalidAction", "InvalidClientTokenId", "InvalidParameterCombination", "InvalidParameterValue", "InvalidQueryParameter",
		"InvalidSignatureException", "MalformedQueryString", "MissingAction", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"MissingParameter", "NotAuthorized", "OptInRequired", "RequestExpired", "RequestEntityTooLarge", "SerializationException",
		"ServiceUnavailable", "SignatureDoesNotMatch", "Throttling", "ThrottlingException", "UnknownOperationException",
		"UnrecognizedClientException", "ValidationError", "ValidationException",
	}
}

// refusal checks an error: that the operation may end with its code, with this
// status, and that a client can read it.
func (c *checker) refusal(op *operation, x wire.Exchange) {
	code := x.Code
	var found *shape
	for _, r := range op.Errors {
		if s := c.m.shape(r.Shape); errorCode(s) == code {
			found = s
		}
	}
	if len(op.Errors) == 0 {
		// What it may end with is left open.
		for name := range c.m.Shapes {
			if s := c.m.shape(name); s.Exception && errorCode(s) == code {
				found = s
			}
		}
	}
	if found == nil && !slices.Contains(common(), code) && !slices.Contains(documented(c.m.service), code) {
		var codes []string
		for _, r := range op.Errors {
			codes = append(codes, errorCode(c.m.shape(r.Shape)))
		}
		c.fault(code, "is no error of the operation: %s", strings.Join(codes, ", "))
	}
	status := x.Answer.Status
	want := 0
	if found != nil && found.Error != nil {
		want = found.Error.HTTPStatusCode
	} else if found != nil && c.m.Metadata.Protocol == "json" {
		want = http.StatusBadRequest
	}
	if want != 0 && status != want {
		c.fault(code, "has the status %d, not %d", status, want)
	}
	if status < 400 {
		c.fault(code, "has the status %d", status)
	}
	got, message := c.read(x)
	if x.Request.Method == http.MethodHead {
		return
	}
	if got != code {
		c.fault(code, "is read as %q", got)
	}
	if message == "" {
		c.fault(code, "has no message")
	}
}

func errorCode(s *shape) string {
	if s.Error != nil && s.Error.Code != "" {
		return s.Error.Code
	}
	return s.name
}

// read finds code and message where a client of the protocol looks for them.
func (c *checker) read(x wire.Exchange) (code, message string) {
	body := x.Answer.Body
	text := func(n *node, name string) string {
		if n = n.child(name); n != nil {
			return n.text
		}
		return ""
	}
	switch c.m.Metadata.Protocol {
	case "json", "rest-json":
		v, err := decodeJSON(body)
		o, ok := v.(map[string]any)
		if err != nil || !ok {
			c.fault("", "is no JSON object: %v", err)
			return "", ""
		}
		if code, _ = o["__type"].(string); code == "" {
			code = http.Header(x.Answer.Header).Get("X-Amzn-Errortype")
		}
		if message, _ = o["message"].(string); message == "" {
			message, _ = o["Message"].(string)
		}
		return code[strings.LastIndexByte(code, '#')+1:], message
	}
	if len(body) == 0 {
		return "", ""
	}
	root, err := parseXML(body)
	if err != nil {
		c.fault("", "is no XML: %v", err)
		return "", ""
	}
	n := root
	if c.m.Metadata.Protocol == "ec2" {
		if n = root.child("Errors"); n == nil {
			return "", ""
		}
	}
	if c.m.service != "s3" {
		if n = n.child("Error"); n == nil {
			return "", ""
		}
	}
	return text(n, "Code"), text(n, "Message")
}
