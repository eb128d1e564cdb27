package calibrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// StackPrefix begins the names of the stacks in review that are made.
const StackPrefix = "poolhouse-calibrate-"

// guard stands before the wire and lets nothing out but what the probes list
// and what is harmless by itself: a call that reads, a dry run of EC2, and a
// change set of ours, which can't be executed past it. It goes by what is on the
// wire, so that no mistake further up gets past it.
type guard struct {
	allowed    []string
	changeSets bool
	stacks     []string
}

// newGuard allows actions, "ec2:DescribeVpcs", and on request change sets of new
// stacks, and of stacks that are there.
func newGuard(actions []string, changeSets bool, stacks []string) *guard {
	return &guard{actions, changeSets, stacks}
}

// GuardError is a request that did not go out.
type GuardError struct{ Action, Reason string }

func (e *GuardError) Error() string {
	return fmt.Sprintf("%s was not sent: %s", e.Action, e.Reason)
}

// RetryableError tells the SDK that it stays so.
func (e *GuardError) RetryableError() bool { return false }

var scope = regexp.MustCompile(`Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request`)

var reads = regexp.MustCompile(`^(Describe|Get|List|Validate)`)

// check refuses a signed request that is not to go out.
func (g *guard) check(r *http.Request) error {
	service, form, err := identify(r)
	if err != nil {
		return &GuardError{r.Method + " " + r.URL.Host, err.Error()}
	}
	operation := form.Get("Action")
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		operation = target[strings.LastIndexByte(target, '.')+1:]
	} else if operation == "" {
		// The operations of the other protocols are told by method and path;
		// all of those that are listed read.
		operation = middleware.GetOperationName(r.Context())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return &GuardError{service + ":" + operation, "its method is " + r.Method}
		}
	}
	action := service + ":" + operation
	switch {
	case !slices.Contains(g.allowed, action):
		return &GuardError{action, "no probe lists it"}
	case reads.MatchString(operation):
		return nil
	case service == "ec2" && form.Get("DryRun") == "true":
		return nil
	case service == "cloudformation" && g.changeSets && ourStack(form.Get("StackName")):
		if operation == "CreateChangeSet" && form.Get("ChangeSetType") == "CREATE" || operation == "DeleteChangeSet" || operation == "DeleteStack" {
			return nil
		}
	case service == "cloudformation" && slices.Contains(g.stacks, form.Get("StackName")) && strings.HasPrefix(form.Get("ChangeSetName"), StackPrefix):
		if operation == "CreateChangeSet" && form.Get("ChangeSetType") == "UPDATE" || operation == "DeleteChangeSet" {
			return nil
		}
	}
	return &GuardError{action, "it could change something"}
}

// ourStack tells that a name or ARN is of a stack that was made here.
func ourStack(name string) bool {
	if _, rest, ok := strings.Cut(name, ":stack/"); ok {
		name = rest
	}
	return strings.HasPrefix(name, StackPrefix)
}

// identify finds out the service that a request was signed for, and reads the
// form in its body.
func identify(r *http.Request) (service string, form url.Values, err error) {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "", nil, errors.New("it isn't signed")
	}
	if r.Body == nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return m[1], nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return "", nil, fmt.Errorf("read its body: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	if form, err = url.ParseQuery(string(body)); err != nil {
		return "", nil, fmt.Errorf("read its body: %w", err)
	}
	return m[1], form, nil
}

// handlerClient hands requests to a handler in this process.
type handlerClient struct{ handler http.Handler }

// Do implements the SDK's HTTPClient.
func (c handlerClient) Do(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI, in.RemoteAddr = in.URL.RequestURI(), "127.0.0.1:1"
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	c.handler.ServeHTTP(w, in)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// recorder keeps what a handler answers.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
