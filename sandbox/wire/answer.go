package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// answer finds, checks and carries out a request.
func (s *Server) answer(c *call, r *http.Request) (*Raw, error) {
	sig, flaw := parseSignature(r)
	var body []byte
	found := s.objectOperation(r, sig)
	receives := found != nil && found.Receive != nil
	if !receives {
		var err error
		if body, err = read(r, s.limit(r, sig)); err != nil {
			if sig != nil {
				c.service = s.service(r, sig, nil)
			}
			return nil, err
		}
	}
	if r.Header.Get("Smithy-Protocol") != "" {
		return nil, notModelled("protocol " + strings.ToValidUTF8(r.Header.Get("Smithy-Protocol"), "?"))
	}
	c.body = body
	params := form(r, body)
	c.service = s.service(r, sig, params)
	if c.service == nil {
		return nil, s.unknownService(c, r, sig, params)
	}
	c.Service = c.service.Name
	var principal Credential
	var err error
	region := s.region
	if op := operation(c.service, params.Get("Action")); params == nil || op == nil || !op.Unsigned {
		if principal, err = s.authenticate(c, r, body, sig, flaw); err != nil {
			return nil, err
		}
		region = sig.region
	}
	c.Caller = principal.ARN
	header := r.Header
	var payload *Payload
	if c.service.Name == "s3" {
		in := io.Reader(bytes.NewReader(body))
		if receives && r.Body != nil {
			in = r.Body
		}
		if payload, err = sig.payload(r, in, principal.SecretAccessKey); err != nil {
			return nil, err
		}
		if found != nil && found.SumsOfObject {
			clear(payload.sums)
		}
		if !receives {
			if body, err = io.ReadAll(payload); err != nil {
				return nil, err
			}
			c.body, header = body, payload.headers()
		}
	}
	op, in, err := s.decode(c, r, body, params)
	if err != nil {
		return nil, err
	}
	if err := s.intercepted(c, r); err != nil {
		return nil, err
	}
	if err := complete(c.service, c.Operation, in); err != nil {
		return nil, err
	}
	req := c.request(r, in, principal, region)
	req.Body, req.Header = body, header
	answer, err := s.settled(r.Context(), c, op, req, principal, payload)
	c.Resource = req.Resource
	if err != nil || answer.Content == nil || r.Method == http.MethodHead {
		return answer, err
	}
	c.content, err = answer.Content(r.Context())
	return answer, err
}

// intercepted breaks a call that is to be broken.
func (s *Server) intercepted(c *call, r *http.Request) error {
	if s.intercept == nil {
		return nil
	}
	err := s.intercept(r, c.Service, c.Operation)
	if err == nil {
		return nil
	}
	c.intercepted = true
	if !errors.As(err, &c.fault) {
		return err
	}
	if !c.fault.After && c.fault.Wait == nil {
		c.cut = c.fault.Err == nil
		return c.fault.answer()
	}
	return nil
}

// request is what an operation sees of a request.
func (c *call) request(r *http.Request, in map[string]any, by Credential, region string) *Request {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	return &Request{
		Service: c.Service, Operation: c.Operation, ID: c.RequestID, Caller: by.ARN, In: in, Header: r.Header,
		AccessKeyID: by.AccessKeyID, Region: region, SourceIP: from, UserAgent: strings.ToValidUTF8(r.UserAgent(), "?"),
	}
}

// limit is the size of the largest body that a request may have.
func (s *Server) limit(r *http.Request, sig *signature) int64 {
	if sig == nil {
		return maxBody
	}
	if sig.service == "s3" {
		return maxS3Body
	}
	target := r.Header.Get("X-Amz-Target")
	if svc := s.service(r, sig, nil); svc != nil && target != "" {
		if op := operation(svc, target[strings.LastIndexByte(target, '.')+1:]); op != nil {
			return max(maxBody, op.MaxBody)
		}
	}
	return maxBody
}

// objectOperation is the operation of a request to S3, which is found before its
// body is read.
func (s *Server) objectOperation(r *http.Request, sig *signature) *Operation {
	if sig == nil || sig.service != "s3" {
		return nil
	}
	svc := s.service(r, sig, nil)
	if svc == nil {
		return nil
	}
	op, _ := match(svc, r)
	return op
}

// settled carries a request out, and has those told who asked what came of it.
func (s *Server) settled(ctx context.Context, c *call, op *Operation, req *Request, by Credential, payload *Payload) (answer *Raw, err error) {
	defer func() {
		for _, settle := range req.Settle {
			settle(ctx, err)
		}
	}()
	if op.Receive != nil {
		if err := s.received(ctx, c, op, req, by, payload); err != nil {
			return nil, err
		}
	}
	err = s.within(c, req, by, func(tx *account.Tx) error {
		if Reads(op.Name) {
			tx.Reads()
		}
		out, err := s.carryOut(tx, op, req)
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
	return answer, err
}

// received lets a request in and takes its body.
func (s *Server) received(ctx context.Context, c *call, op *Operation, req *Request, by Credential, payload *Payload) error {
	err := s.within(c, req, by, func(tx *account.Tx) error {
		if s.authorize != nil {
			if refusal := s.authorize(tx, req); refusal != nil {
				return refusal
			}
		}
		return op.Admit(tx, req)
	})
	if err == nil {
		err = op.Receive(ctx, req, payload)
		if payload != nil {
			req.Header = payload.headers()
		}
	}
	if err != nil && s.record != nil {
		// Whatever the record comes to, the refusal is the answer.
		_ = s.within(c, req, by, func(tx *account.Tx) error {
			s.record(tx, req, err)
			return nil
		})
	}
	return err
}

// within works on the account in the name of a request's caller.
func (s *Server) within(c *call, req *Request, by Credential, do func(*account.Tx) error) error {
	return recovered(s.account, func(tx *account.Tx) error {
		tx.Caller, tx.Session = req.Caller, by.Session
		tx.Origin = &account.Origin{SourceIP: req.SourceIP, UserAgent: req.UserAgent, Region: req.Region}
		req.Time, c.Time = tx.Now(), tx.Now()
		return do(tx)
	})
}

// carryOut does what a request asks for, if the caller may. One whose body was
// received was let in before.
func (s *Server) carryOut(tx *account.Tx, op *Operation, r *Request) (any, error) {
	if s.authorize != nil && !op.Unsigned && op.Receive == nil {
		if refusal := s.authorize(tx, r); refusal != nil {
			return nil, refusal
		}
	}
	return op.Do(tx, r)
}
