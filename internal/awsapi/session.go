package awsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/logincreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/middleware"
)

// Session is how long the caller's credentials go on.
type Session struct {
	// Source is what the SDK calls where they come from.
	Source string
	// Until is when calls will fail unless somebody signs in again. It is zero
	// if there is no such time, as with providers that renew them, or if
	// nobody knows it.
	Until time.Time
	// Temporary tells that they end, at a time that nobody knows.
	Temporary bool
}

// Session asks the credential provider; it calls AWS only if that has to.
func (c *Clients) Session(ctx context.Context) (Session, error) {
	if c.cfg.Credentials == nil {
		return Session{}, nil
	}
	creds, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return Session{}, fmt.Errorf("get credentials: %w", err)
	}
	s := Session{Source: creds.Source}
	if token, ok := c.signIn(); ok {
		// Within a session of single sign-on, credentials are renewed; with a
		// token that can be renewed itself, for as long as its administrators
		// let it. https://docs.aws.amazon.com/sdkref/latest/guide/feature-sso-credentials.html
		if token.RefreshToken == "" {
			s.Until = later(token.ExpiresAt, creds.Expires)
		}
		return s, nil
	}
	switch {
	case creds.CanExpire && slices.Contains(renewing(), creds.Source):
	case creds.CanExpire:
		s.Until = creds.Expires
	case creds.SessionToken != "":
		// aws configure export-credentials writes it beside them.
		// https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html
		at, err := time.Parse(time.RFC3339, os.Getenv("AWS_CREDENTIAL_EXPIRATION"))
		if s.Temporary = err != nil || creds.Source != config.CredentialsSourceName; !s.Temporary {
			s.Until = at
		}
	}
	return s, nil
}

// renewing are the providers that get new credentials by themselves.
func renewing() []string {
	return []string{
		ec2rolecreds.ProviderName, endpointcreds.ProviderName, logincreds.ProviderName, processcreds.ProviderName,
		stscreds.ProviderName, stscreds.WebIdentityProviderName,
	}
}

// token is what single sign-on leaves in the SDKs' cache.
type token struct {
	ExpiresAt    time.Time `json:"expiresAt"`
	RefreshToken string    `json:"refreshToken"`
}

// signIn is the session of single sign-on that the profile's credentials come
// from, if they do.
func (c *Clients) signIn() (token, bool) {
	for _, source := range c.cfg.ConfigSources {
		profile, ok := source.(config.SharedConfig)
		if !ok {
			continue
		}
		for p := &profile; p != nil; p = p.Source {
			key := p.SSOStartURL
			if p.SSOSessionName != "" {
				key = p.SSOSessionName
			}
			if key == "" {
				continue
			}
			var t token
			path, err := ssocreds.StandardCachedTokenFilepath(key)
			if err != nil {
				return t, false
			}
			body, err := os.ReadFile(path)
			if err != nil || json.Unmarshal(body, &t) != nil || t.ExpiresAt.IsZero() {
				return t, false
			}
			return t, true
		}
	}
	return token{}, false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renewal gets new credentials when a session has ended, once for all calls that
// find out.
type renewal struct {
	load func(context.Context) (aws.CredentialsProvider, error)
	// expired is Options.Expired.
	expired func(context.Context, error) error
	turn    chan struct{} // guards what follows
	current aws.CredentialsProvider
	times   int
}

var _ aws.CredentialsProvider = (*renewal)(nil)

// Retrieve implements [aws.CredentialsProvider].
func (r *renewal) Retrieve(ctx context.Context) (aws.Credentials, error) {
	p, _ := r.now()
	return p.Retrieve(ctx)
}

func (r *renewal) now() (aws.CredentialsProvider, int) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	return r.current, r.times
}

// renew returns when a call may be tried again that failed with the credentials
// of a time, or the reason why it may not.
func (r *renewal) renew(ctx context.Context, failed error, times int) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.times != times {
		return nil // another call was first
	}
	if had, err := r.current.Retrieve(ctx); err == nil && had.Source == config.CredentialsSourceName {
		return failed // a process's environment stays as it is
	}
	if err := r.expired(ctx, failed); err != nil {
		return err
	}
	p, err := r.load(ctx)
	if err != nil {
		return err
	}
	r.current, r.times = p, times+1
	return nil
}

// again repeats calls that failed because the session had ended. A body that can't
// be read from where it began again is sent once.
func (r *renewal) again(s *middleware.Stack) error {
	return s.Initialize.Add(middleware.InitializeMiddlewareFunc("Renewal", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		rewind := rewinder(in.Parameters)
		for {
			_, times := r.now()
			out, meta, err := next.HandleInitialize(ctx, in)
			if err == nil || !IsExpired(err) || rewind == nil || r.renew(ctx, err, times) != nil {
				return out, meta, err
			}
			if lost := rewind(); lost != nil {
				return out, meta, errors.Join(err, fmt.Errorf("send the body again: %w", lost))
			}
		}
	}), middleware.Before)
}

// rewinder takes the body of a call's input, if it has one, back to where it is now.
// It is nil for a body that can't go back. The SDK's own repeats take a body for as
// it is when they begin, which is at its end once a call has failed.
func rewinder(input any) func() error {
	nothing := func() error { return nil }
	v := reflect.ValueOf(input)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nothing
	}
	field := v.Elem().FieldByName("Body")
	if !field.IsValid() || field.Kind() != reflect.Interface || field.IsNil() {
		return nothing
	}
	body, ok := field.Interface().(io.Seeker)
	if !ok {
		return nil
	}
	at, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	return func() error {
		_, err := body.Seek(at, io.SeekStart)
		return err
	}
}
