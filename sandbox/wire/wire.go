// Package wire speaks AWS's protocols: it finds the service and operation of
// an HTTP request, checks its signature, decodes its input and encodes the
// answer or error in the form that the service's clients expect.
package wire

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Protocol is how a service's requests and answers look on the wire.
type Protocol int

// The protocols of the services that are modelled.
const (
	Query    Protocol = iota // form in, XML out: CloudFormation, IAM, RDS, STS, ELB, Auto Scaling
	EC2Query                 // form in, XML out, with EC2's list and error shapes
	JSON10                   // application/x-amz-json-1.0
	JSON11                   // application/x-amz-json-1.1
	RestJSON                 // JSON bodies, operations by method and path
	RestXML                  // XML bodies, operations by method and path
)

// Service is one AWS service.
type Service struct {
	// Name is the signing name: "ec2", "elasticloadbalancing".
	Name string
	// Target is the prefix of X-Amz-Target for the JSON protocols, and
	// Version the API version for the query protocols.
	Target, Version string
	// Namespace is the XML namespace of answers.
	Namespace  string
	Protocol   Protocol
	Operations []Operation
}

// Operation is one API operation. For the rest protocols Method and Path
// ("/clusters/{name}") find it, with Query naming parameters that must be
// present ("versions"); otherwise Name does.
type Operation struct {
	Name   string
	Method string
	Path   string
	Query  []string
	// Do carries the operation out. The output is encoded as the protocol
	// has it: encoding/xml for XML (the value's own fields, inside the result
	// element), encoding/json for JSON, and a [Raw] as it is. Errors other
	// than *account.Error are internal failures.
	Do func(tx *account.Tx, r *Request) (any, error)
}

// Request is a decoded request.
type Request struct {
	Service, Operation string
	ID                 string
	Caller             string // the principal's ARN
	Time               time.Time
	// In is the decoded input: JSON members, or query parameters nested by
	// their dots ("Tags.member.1.Key" is In["Tags"] = []any{map{"Key":...}},
	// for EC2 "Filter.1.Value.1" likewise), path labels and query string
	// parameters by their names. Query values are strings.
	In map[string]any
	// Body and Header are for operations that take bytes.
	Body   []byte
	Header map[string][]string
}

// Raw is an answer that is not encoded by the protocol.
type Raw struct {
	Status int
	Header map[string][]string
	Body   []byte
}
