package wire

import (
	"errors"
	"io"
	"net/http"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// ErrCut is what a call comes to whose connection is to be cut.
var ErrCut = errors.New("connection cut")

// Call carries out an operation for someone who has come another way than by a
// signed request, as docker does with a token of ECR: like a request, it is
// refused to those who may not, broken by plans of faults, and recorded. The
// request says where it comes from; the body is for operations that take one as
// it comes. Errors are *account.Error, or ErrCut.
func (s *Server) Call(r *http.Request, by Credential, service, name string, in map[string]any, body io.Reader) (*Raw, error) {
	c := &call{Call: Call{RequestID: s.requestID(), Service: service, Operation: name, Caller: by.ARN}}
	answer, err := s.called(c, r, by, in, body)
	switch f := c.fault; {
	case c.cut:
		err = ErrCut
	case f == nil:
	case f.Wait != nil:
		f.Wait(r.Context())
	case f.After && f.Err == nil:
		err = ErrCut
	case f.After:
		err = f.Err
	}
	if err == nil {
		c.Status = answer.Status
	} else if !errors.Is(err, ErrCut) {
		var refusal *account.Error
		if !errors.As(err, &refusal) {
			refusal = &account.Error{Code: "InternalFailure", Message: "sandbox: " + err.Error(), Status: http.StatusInternalServerError}
		}
		c.Code, c.Status, err = refusal.Code, refusal.Status, refusal
	}
	if s.onCall != nil {
		s.onCall(c.Call)
	}
	return answer, err
}

func (s *Server) called(c *call, r *http.Request, by Credential, in map[string]any, body io.Reader) (*Raw, error) {
	var op *Operation
	for i := range s.services {
		if s.services[i].Name == c.Service && op == nil {
			c.service = &s.services[i]
			op = operation(c.service, c.Operation)
		}
	}
	if op == nil {
		return nil, notModelled(c.Service + ":" + c.Operation)
	}
	if err := s.intercepted(c, r); err != nil {
		return nil, err
	}
	if err := complete(c.service, c.Operation, in); err != nil {
		return nil, err
	}
	req := c.request(r, in, by, s.region)
	req.Stream = body
	answer, err := s.settled(r.Context(), c, op, req, by, nil)
	c.Resource = req.Resource
	return answer, err
}
