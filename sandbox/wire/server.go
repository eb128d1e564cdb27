package wire

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Body limits. No operation but S3's uploads takes more than a few hundred
// kilobytes; the largest CloudFormation request is a 1 MB one.
const (
	maxBody   = 2 << 20
	maxObject = 64 << 20
)

// NotModelled is the error code of [account.NotModelled], for clients to
// recognise.
const NotModelled = account.CodeNotModelled

// Options describe a [Server].
type Options struct {
	Account *account.Account
	// Region is the only region that requests may be signed for; global
	// services take their partition's home region too.
	Region string
	// Services are looked up in order.
	Services []Service
	// Credentials are the key pairs that sign.
	Credentials []Credential
	// OnCall is told of every request once it is answered. It must be safe
	// for concurrent use. May be nil.
	OnCall func(Call)
	// Record is told of every call that the account saw, while it is still
	// held, with the error that it was refused with. May be nil.
	Record func(tx *account.Tx, r *Request, err error)
	// Intercept may fail a call that is authentic and known, before the
	// account sees it: an *account.Error is the answer, a *Fault says more.
	// May be nil.
	Intercept func(r *http.Request, service, operation string) error
}

// Call is the record of one request.
type Call struct {
	RequestID          string
	Service, Operation string
	Caller             string // the principal's ARN; empty if not authenticated
	Code               string // error code; empty for success
	Resource           string // what it worked on, if the operation said so
	Status             int
	Time               time.Time // simulated
}

// Fault is what Options.Intercept returns to break a call.
type Fault struct {
	// After lets the call be carried out first: its answer is lost, or
	// replaced by Err.
	After bool
	// Err is the answer; nil cuts the connection.
	Err *account.Error
}

func (f *Fault) Error() string {
	if f.Err == nil {
		return "connection cut"
	}
	return f.Err.Error()
}

// Server answers AWS's clients for one account. It is an http.Handler and safe
// for concurrent use.
type Server struct {
	account     *account.Account
	region      string
	services    []Service
	credentials map[string]Credential
	onCall      func(Call)
	record      func(*account.Tx, *Request, error)
	intercept   func(*http.Request, string, string) error
	requests    atomic.Uint64
}

// NewServer returns a server; its options must not be changed afterwards.
func NewServer(o Options) *Server {
	s := &Server{account: o.Account, region: o.Region, services: o.Services, credentials: map[string]Credential{}, onCall: o.OnCall, record: o.Record, intercept: o.Intercept}
	for _, c := range o.Credentials {
		s.credentials[c.AccessKeyID] = c
	}
	return s
}

// requestID looks like AWS's and differs from request to request.
func (s *Server) requestID() string {
	n := s.requests.Add(1)
	h := fnv.New128a()
	fmt.Fprintf(h, "request %d", n)
	x := fmt.Sprintf("%x", h.Sum(nil))
	return x[:8] + "-" + x[8:12] + "-4" + x[13:16] + "-a" + x[17:20] + "-" + x[20:32]
}

// call is one request on its way.
type call struct {
	Call
	service *Service
	cut     bool
	fault   *Fault
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Call: Call{RequestID: s.requestID()}}
	answer, err := s.answer(c, r)
	if c.fault != nil && c.fault.After {
		if c.cut = c.fault.Err == nil; !c.cut {
			answer, err = nil, c.fault.Err
		}
	}
	if err != nil {
		var refusal *account.Error
		if !errors.As(err, &refusal) {
			refusal = &account.Error{Code: "InternalFailure", Message: "sandbox: " + err.Error(), Status: http.StatusInternalServerError}
		}
		c.Code = refusal.Code
		svc := c.service
		if svc == nil {
			svc = guess(r)
		}
		answer = encodeError(svc, r, c.RequestID, refusal)
	}
	if s.onCall != nil {
		if answer != nil {
			c.Status = answer.Status
		}
		s.onCall(c.Call)
	}
	if c.cut && cut(w) {
		return
	}
	header := w.Header()
	maps.Copy(header, answer.Header)
	if c.service != nil && c.service.Name == "s3" {
		header.Set("X-Amz-Request-Id", c.RequestID)
		header.Set("X-Amz-Id-2", c.RequestID)
	} else {
		header.Set("X-Amzn-Requestid", c.RequestID)
	}
	if header.Get("Content-Length") == "" && r.Method != http.MethodHead && answer.Status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	}
	w.WriteHeader(answer.Status)
	if r.Method != http.MethodHead {
		// A client that has gone away isn't the account's concern.
		_, _ = w.Write(answer.Body)
	}
}

// cut closes the connection without an answer; false if it can't be done.
func cut(w http.ResponseWriter) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// guess is a service that only serves to answer in a form the client may read.
func guess(r *http.Request) *Service {
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		return &Service{Protocol: JSON11}
	case strings.Contains(r.Header.Get("Content-Type"), "json"):
		return &Service{Protocol: RestJSON}
	}
	return &Service{Protocol: Query}
}

// answer finds, checks and carries out a request.
func (s *Server) answer(c *call, r *http.Request) (*Raw, error) {
	sig, flaw := parseSignature(r)
	limit := int64(maxBody)
	if sig != nil && sig.service == "s3" {
		limit = maxObject
	}
	body, err := read(r, limit)
	if err != nil {
		if sig != nil {
			c.service = s.service(r, sig, nil)
		}
		return nil, err
	}
	if r.Header.Get("Smithy-Protocol") != "" {
		return nil, notModelled("protocol " + strings.ToValidUTF8(r.Header.Get("Smithy-Protocol"), "?"))
	}
	params := form(r, body)
	c.service = s.service(r, sig, params)
	if c.service == nil {
		return nil, s.unknownService(c, r, sig, params)
	}
	c.Service = c.service.Name
	principal, err := s.authenticate(c, r, body, sig, flaw)
	if err != nil {
		return nil, err
	}
	c.Caller = principal.ARN
	header := r.Header
	if mode := r.Header.Get("X-Amz-Content-Sha256"); c.service.Name == "s3" {
		if strings.HasPrefix(mode, "STREAMING-") {
			if mode != streamSigned && mode != streamSignedTrailer && mode != streamUnsignedTrailer {
				return nil, notModelled("payloads of the form " + mode)
			}
			var trailer http.Header
			var refusal *account.Error
			if body, trailer, refusal = sig.unchunk(mode, body, principal.SecretAccessKey); refusal != nil {
				return nil, refusal
			}
			header = header.Clone()
			maps.Copy(header, trailer)
		}
		if refusal := checksums(header, body); refusal != nil {
			return nil, refusal
		}
	}
	op, in, err := s.decode(c, r, body, params)
	if err != nil {
		return nil, err
	}
	if s.intercept != nil {
		if err := s.intercept(r, c.Service, c.Operation); err != nil {
			if !errors.As(err, &c.fault) {
				return nil, err
			}
			if !c.fault.After {
				c.cut = c.fault.Err == nil
				return nil, c.fault.answer()
			}
		}
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	req := &Request{
		Service: c.Service, Operation: c.Operation, ID: c.RequestID, Caller: c.Caller, In: in, Body: body, Header: header,
		AccessKeyID: principal.AccessKeyID, Region: sig.region, SourceIP: from, UserAgent: strings.ToValidUTF8(r.UserAgent(), "?"),
	}
	var answer *Raw
	err = s.account.Do(func(tx *account.Tx) error {
		tx.Caller = req.Caller
		req.Time, c.Time = tx.Now(), tx.Now()
		out, err := op.Do(tx, req)
		if s.record != nil {
			s.record(tx, req, err)
		}
		if err != nil {
			return err
		}
		// Outputs may share memory with the account: encode while it is ours.
		answer, err = encode(c.service, op, c.RequestID, out)
		return err
	})
	c.Resource = req.Resource
	return answer, err
}

// answer is the error to encode; a cut connection needs one that is never sent.
func (f *Fault) answer() error {
	if f.Err == nil {
		return &account.Error{Code: "ConnectionCut", Message: "connection cut", Status: http.StatusInternalServerError}
	}
	return f.Err
}

func read(r *http.Request, limit int64) ([]byte, error) {
	tooLarge := &account.Error{Code: "RequestEntityTooLarge", Message: fmt.Sprintf("Request must be smaller than %d bytes", limit), Status: http.StatusRequestEntityTooLarge}
	if limit == maxObject {
		tooLarge = account.Errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size: the sandbox takes objects up to %d bytes", limit)
	}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, account.Errorf("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header: %v", err)
	}
	if int64(len(body)) > limit {
		return nil, tooLarge
	}
	return body, nil
}

func notModelled(what string) *account.Error {
	return account.NotModelled("%s is not modelled by the sandbox", what)
}

func (s *Server) unknownService(c *call, r *http.Request, sig *signature, params url.Values) error {
	what := "this request"
	switch {
	case sig != nil:
		what = "service " + sig.service
		c.Service = sig.service
	case r.Header.Get("X-Amz-Target") != "":
		what = "target " + r.Header.Get("X-Amz-Target")
	case params != nil:
		what = "action " + params.Get("Action") + " of version " + strconv.Quote(params.Get("Version"))
	}
	return notModelled(strings.ToValidUTF8(what, "?"))
}

// authenticate finds the principal and checks its signature.
func (s *Server) authenticate(c *call, r *http.Request, body []byte, sig *signature, flaw *fault) (Credential, error) {
	if flaw != nil {
		return Credential{}, refuse(c.service, flaw)
	}
	if sig == nil {
		return Credential{}, refuse(c.service, &fault{missingToken, "Request is missing Authentication Token"})
	}
	if !s.regionFits(sig) {
		return Credential{}, refuse(c.service, &fault{wrongRegion, fmt.Sprintf("the sandbox's account is in region %s; region %s is not modelled", s.region, strings.ToValidUTF8(sig.region, "?"))})
	}
	principal, ok := s.credentials[sig.key]
	if !ok {
		return Credential{}, refuse(c.service, &fault{unknownKey, "The security token included in the request is invalid."})
	}
	if f := sig.verify(r, body, principal, time.Now()); f != nil {
		return Credential{}, refuse(c.service, f)
	}
	return principal, nil
}

// global services sign for their partition's home region.
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html
func (s *Server) regionFits(sig *signature) bool {
	if sig.region == s.region {
		return true
	}
	// CloudTrail has the global services' events there.
	if !slices.Contains([]string{"iam", "route53", "sts", "cloudfront", "globalaccelerator", "organizations", "budgets", "cloudtrail"}, sig.service) {
		return false
	}
	return sig.region == HomeRegion(s.region)
}

// HomeRegion is the region that the global services of a region's partition are
// at home in.
func HomeRegion(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "us-gov-west-1"
	case strings.HasPrefix(region, "cn-"):
		return "cn-north-1"
	}
	return "us-east-1"
}

// decode finds the operation and its input.
func (s *Server) decode(c *call, r *http.Request, body []byte, params url.Values) (*Operation, map[string]any, error) {
	svc := c.service
	switch svc.Protocol {
	case Query, EC2Query:
		if params == nil {
			if _, err := url.ParseQuery(string(body)); err != nil {
				return nil, nil, account.Errorf("MalformedQueryString", "The query string is malformed: %v", err)
			}
			return nil, nil, account.Errorf("MissingAction", "The request must contain the parameter Action.")
		}
		c.Operation = params.Get("Action")
		if v := params.Get("Version"); v != svc.Version && svc.Version != "" && v != "" {
			return nil, nil, account.Errorf("InvalidAction", "Could not find operation %s for version %s", c.Operation, v)
		}
		op := operation(svc, c.Operation)
		if op == nil {
			return nil, nil, notModelled(svc.Name + ":" + c.Operation)
		}
		in, err := decodeForm(params, svc.Protocol == EC2Query)
		if err != nil {
			return nil, nil, account.Errorf("MalformedQueryString", "The query string is malformed: %v", err)
		}
		return op, in, nil
	case JSON10, JSON11:
		// Some clients write the prefix with its package.
		target := r.Header.Get("X-Amz-Target")
		dot := strings.LastIndexByte(target, '.')
		prefix, name := target[:max(dot, 0)], target[dot+1:]
		c.Operation = name
		if dot < 0 || name == "" || svc.Target != "" && prefix != svc.Target && !strings.HasSuffix(prefix, "."+svc.Target) {
			return nil, nil, account.Errorf("UnknownOperationException", "The requested operation is not supported")
		}
		op := operation(svc, name)
		if op == nil {
			return nil, nil, notModelled(svc.Name + ":" + name)
		}
		in, err := decodeJSON(body)
		if err != nil {
			return nil, nil, account.Errorf("SerializationException", "%v", err)
		}
		return op, in, nil
	}
	op, labels := match(svc, r)
	if op == nil {
		c.Operation = r.Method
		return nil, nil, notModelled(fmt.Sprintf("%s: %s %s", svc.Name, r.Method, strings.ToValidUTF8(r.URL.RequestURI(), "?")))
	}
	c.Operation = op.Name
	in := map[string]any{}
	var err error
	switch {
	case svc.Protocol == RestJSON:
		if in, err = decodeJSON(body); err != nil {
			return nil, nil, account.Errorf("SerializationException", "%v", err)
		}
	case svc.Name != "s3":
		// S3's bodies are objects or documents that operations read
		// themselves.
		if in, err = decodeXML(body); err != nil {
			return nil, nil, account.Errorf("MalformedInput", "Unexpected list element termination: %v", err)
		}
	}
	decodeParams(in, r.URL.Query())
	for k, v := range labels {
		in[k] = v
	}
	return op, in, nil
}
