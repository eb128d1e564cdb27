// Package wire speaks AWS's protocols: it finds the service and operation of
// an HTTP request, checks its signature, decodes its input and encodes the
// answer or error in the form that the service's clients expect.
//
// It knows nothing of what services do: they are values of [Service]. Requests
// are hostile until their signature is checked; no input makes the package
// panic, recurse without bound or keep more than the body limit in memory.
//
// Limits: Signature Version 4 only (no SigV4A), no event streams, no CBOR.
package wire

import (
	"context"
	"io"
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

// Service is one AWS service. A service that speaks two protocols is two
// values with one name.
type Service struct {
	// Name is the signing name: "ec2", "elasticloadbalancing".
	Name string
	// API names one of several APIs of a signing name, by AWS's name of its model
	// ("elb"); empty for the only one, or the one that most clients mean.
	API string
	// Target is the prefix of X-Amz-Target for the JSON protocols, and
	// Version the API version for the query protocols.
	Target, Version string
	// Namespace is the XML namespace of answers.
	Namespace string
	Protocol  Protocol
	// Subresources are query parameters that name another operation, as
	// S3's "?policy" does: an operation whose Query doesn't list one never
	// answers a request that has it.
	Subresources []string
	Operations   []Operation
}

// Operation is one API operation. For the rest protocols Method and Path
// ("/clusters/{name}", "/{Bucket}/{Key+}" for a label that spans slashes) find
// it, with Query naming parameters that must be present ("versions"), have a
// value ("list-type=2") or may be there ("partNumber?"); otherwise Name does. The
// operation with the most Query wins, then one with a Header, then the one with
// the most literal path.
type Operation struct {
	Name   string
	Method string
	Path   string
	Query  []string
	// Header is the name of a header that must be present, or "".
	Header string
	// Status is the HTTP status of success; 0 means 200.
	Status int
	// Receive takes the body of a request to S3 as it comes, which is never held
	// in memory as a whole. It runs while the account is free for others, after
	// Admit has let the request in, with the account, and before Do, to which it
	// hands on what it made of the body in Request.Work. Nil for operations
	// whose bodies are small: Do finds them in Request.Body. Operations of other
	// services may have one too, to work outside of the account; they get no
	// Payload.
	Admit   func(tx *account.Tx, r *Request) error
	Receive func(ctx context.Context, r *Request, body *Payload) error
	// MaxBody is the size of the largest body, where it is more than usual; for
	// the JSON protocols only.
	MaxBody int64
	// SumsOfObject tells that checksums in headers are not the body's.
	SumsOfObject bool
	// Do carries the operation out. The output is encoded as the protocol
	// has it: encoding/xml for XML (the value's own fields, inside the result
	// element), encoding/json for JSON, and a [Raw] as it is. A
	// map[string]any works for all of them: in XML its lists have the
	// protocol's element name (member, item), in JSON its times are epoch
	// seconds. Nil is an empty answer. Errors other than *account.Error are
	// internal failures. Do runs with the account locked and already
	// advanced; it checks everything before it changes anything, since an
	// error undoes nothing.
	Do func(tx *account.Tx, r *Request) (any, error)
	// Unsigned tells that requests need no signature, as those that ask for a
	// first credential; a signature that is there is not looked at. They have no
	// caller.
	Unsigned bool
}

// Request is a decoded request.
type Request struct {
	Service, Operation string
	ID                 string
	Caller             string // the principal's ARN
	AccessKeyID        string // the key that signed
	Region             string // that the request was signed for
	SourceIP           string
	UserAgent          string
	Time               time.Time // the simulated present
	// In is the decoded input: JSON members, or query parameters nested by
	// their dots ("Tags.member.1.Key" is In["Tags"] = []any{map{"Key":...}},
	// for EC2 "Filter.1.Value.1" likewise), or the elements below an XML
	// body's root (repeated ones as a list, so a list of one is not a list);
	// path labels and query string parameters by their names, repeated ones
	// as a list. Query values are strings. Read it with String, Int, Bool,
	// Strings, Map and Maps, which take all these forms.
	In map[string]any
	// Body and Header are for operations that take bytes. Body is what was
	// meant, without a chunked upload's framing, whose trailing headers are in
	// Header.
	Body   []byte
	Header map[string][]string
	// Work is what Admit, Receive and Do hand on to each other.
	Work any
	// Stream is the body of a [Server.Call]; else nil.
	Stream io.Reader
	// Settle are called with what came of the request, before it is answered and
	// while the account is free for others.
	Settle []func(ctx context.Context, err error)
	// Resource may be set by Do to the ARN or id it worked on, for the
	// record of calls.
	Resource string
}

// Raw is an answer that is not encoded by the protocol.
type Raw struct {
	Status int
	Header map[string][]string
	Body   []byte
	// Content opens what the body is instead, while the account is free for
	// others; Header has its length. May be nil.
	Content func(ctx context.Context) (io.ReadCloser, error)
}

// Headed is an answer with headers of its own.
type Headed struct {
	Header map[string][]string
	Out    any
}

// Document is an XML answer that names its root element.
type Document struct {
	Root   string
	Fields map[string]any
}

// Flat is a list in an XML answer whose items stand side by side under the
// list's own name.
type Flat []any
