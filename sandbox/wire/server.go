package wire

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Limits of bodies that are held in memory. No operation takes more than a few
// hundred kilobytes, but CloudFormation's, of 1 MB, and S3's lists of parts and
// objects.
const (
	maxBody   = 2 << 20
	maxS3Body = 4 << 20
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
	// Elsewhere tells that requests to a service may be signed for another region
	// too; nil is never.
	Elsewhere func(service, region string) bool
	// Services are looked up in order.
	Services []Service
	// Credentials are key pairs that sign, and Lookup finds others in the
	// account as it is: its errors are ErrUnknownKey and ErrExpiredToken. It may
	// be nil.
	Credentials []Credential
	Lookup      func(tx *account.Tx, key, token string) (Credential, error)
	// Authorize refuses what the caller may not do, before anything of it is
	// done. May be nil.
	Authorize func(tx *account.Tx, r *Request) *account.Error
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
	// Observe is told of every exchange as it was on the wire. It must be safe
	// for concurrent use and change nothing of it. May be nil.
	Observe func(Exchange)
	// Requests is how many requests there were before, so that no id comes
	// twice.
	Requests uint64
	// Now is the time that answers have; nil is the wall's. Requests are signed
	// at the wall's time, at this one, or at any in between: clients follow the
	// answers' dates, each by as much as it has seen.
	Now func() time.Time
}

// Exchange is one request with its answer.
type Exchange struct {
	Call
	// Request lacks its body, which is Body: what was meant, without a chunked
	// upload's framing. What S3's operations receive and give as it comes isn't
	// here.
	Request *http.Request
	Body    []byte
	// API is the service's, see [Service.API].
	API string
	// Intercepted tells that Options.Intercept made the answer up, or cut it.
	Intercepted bool
	Answer      Raw
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
	// Wait delays the answer of a call that was carried out, which is then
	// given as it is: Err and cutting have no part in it. It returns when the
	// context ends.
	Wait func(context.Context)
}

func (f *Fault) Error() string {
	if f.Wait != nil {
		return "answer delayed"
	}
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
	elsewhere   func(service, region string) bool
	services    []Service
	credentials map[string]Credential
	lookup      func(*account.Tx, string, string) (Credential, error)
	authorize   func(*account.Tx, *Request) *account.Error
	onCall      func(Call)
	record      func(*account.Tx, *Request, error)
	intercept   func(*http.Request, string, string) error
	observe     func(Exchange)
	requests    atomic.Uint64
	now         func() time.Time
}

// NewServer returns a server; its options must not be changed afterwards.
func NewServer(o Options) *Server {
	s := &Server{account: o.Account, region: o.Region, elsewhere: o.Elsewhere, services: o.Services, credentials: map[string]Credential{}, lookup: o.Lookup, authorize: o.Authorize, onCall: o.OnCall, record: o.Record, intercept: o.Intercept, observe: o.Observe, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.requests.Store(o.Requests)
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
	service     *Service
	body        []byte
	intercepted bool
	cut         bool
	fault       *Fault
	content     io.ReadCloser // the answer's, if it is not held in memory
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Call: Call{RequestID: s.requestID()}}
	answer, err := s.answer(c, r)
	if c.content != nil {
		defer func() { _ = c.content.Close() }()
	}
	if c.fault != nil && c.fault.Wait != nil {
		c.fault.Wait(r.Context())
	} else if c.fault != nil && c.fault.After {
		if c.cut = c.fault.Err == nil; !c.cut {
			answer, err = nil, c.fault.Err
		}
	}
	content := c.content
	if err != nil {
		content = nil
		var refusal *account.Error
		if !errors.As(err, &refusal) {
			refusal = &account.Error{Code: "InternalFailure", Message: "sandbox: " + err.Error(), Status: http.StatusInternalServerError}
		}
		if refusal.Code == "NotStabilized" { // only CloudFormation's handlers say that
			refusal = &account.Error{Code: "InternalFailure", Message: refusal.Message, Status: http.StatusInternalServerError}
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
	if s.observe != nil {
		x := Exchange{Call: c.Call, Request: r, Body: c.body, Intercepted: c.intercepted, Answer: *answer}
		if c.service != nil {
			x.API = c.service.API
		}
		s.observe(x)
	}
	if c.cut && cut(w) {
		return
	}
	header := w.Header()
	maps.Copy(header, answer.Header)
	header.Set("Date", s.now().UTC().Format(http.TimeFormat))
	if c.service != nil && c.service.Name == "s3" {
		header.Set("X-Amz-Request-Id", c.RequestID)
		header.Set("X-Amz-Id-2", c.RequestID)
	} else {
		header.Set("X-Amzn-Requestid", c.RequestID)
	}
	if header.Get("Content-Length") == "" && content == nil && r.Method != http.MethodHead && answer.Status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	}
	w.WriteHeader(answer.Status)
	if r.Method == http.MethodHead {
		return
	}
	// A client that has gone away isn't the account's concern. One whose answer
	// ends early sees that by its length.
	if content != nil {
		_, _ = io.Copy(w, content)
		return
	}
	_, _ = w.Write(answer.Body)
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

// recovered works on the account, and takes a panic for an error, so that no
// input ends the server or leaves it locked. Like an error, it undoes nothing;
// operations check everything before they change anything.
func recovered(a *account.Account, f func(*account.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v, at %s", p, culprit())
		}
	}()
	return a.Do(f)
}

// culprit is the function that panicked, as seen from a deferred one.
func culprit() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") || !more {
			return fmt.Sprintf("%s line %d", f.Function, f.Line)
		}
	}
}

var reading = regexp.MustCompile(`^(Describe|Get|List|Lookup|Head|Validate|BatchGet|BatchCheck|Simulate|Search|Estimate)`)

// Reads tells by an operation's name that it changes nothing. Those that make a
// credential do.
func Reads(operation string) bool {
	return reading.MatchString(operation) && !strings.HasSuffix(operation, "Token")
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
	principal, err := s.credential(sig)
	switch {
	case errors.Is(err, ErrExpiredToken):
		return Credential{}, refuse(c.service, &fault{expiredToken, "The security token included in the request is expired"})
	case errors.Is(err, ErrUnknownKey):
		return Credential{}, refuse(c.service, &fault{unknownKey, "The security token included in the request is invalid."})
	case err != nil:
		return Credential{}, err
	}
	if f := sig.verify(r, body, principal, s.signingTime(sig)); f != nil {
		return Credential{}, refuse(c.service, f)
	}
	return principal, nil
}

// signingTime is the time that a signature's age is told by: of those that
// clients may go by, the one that is nearest to it. A presigned request goes by
// the wall's, since its maker saw no answer.
func (s *Server) signingTime(sig *signature) time.Time {
	wall, simulated := time.Now(), s.now()
	if sig.presigned || wall.Equal(simulated) {
		return wall
	}
	early, late := wall, simulated
	if late.Before(early) {
		early, late = late, early
	}
	switch {
	case sig.at.Before(early):
		return early
	case sig.at.After(late):
		return late
	}
	return sig.at
}

// credential finds the key pair that a request says it is signed with.
func (s *Server) credential(sig *signature) (c Credential, err error) {
	if c, ok := s.credentials[sig.key]; ok {
		return c, nil
	}
	if s.lookup == nil {
		return Credential{}, ErrUnknownKey
	}
	err = s.account.Do(func(tx *account.Tx) error {
		c, err = s.lookup(tx, sig.key, sig.token)
		return err
	})
	return c, err
}

// global services sign for their partition's home region.
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html
func (s *Server) regionFits(sig *signature) bool {
	if sig.region == s.region || s.elsewhere != nil && s.elsewhere(sig.service, sig.region) {
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
