package testkit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// stack owns what tests make as CloudFormation would.
const stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/test/00000000-0000-4000-a000-000000000000"

// Create makes a resource as a stack would and settles it at once, whatever
// time it takes.
func Create(s *sandbox.Sandbox, typ string, props map[string]any) (r *account.Resource, err error) {
	err = s.Account().Do(func(tx *account.Tx) error {
		tx.Caller = s.Principals()[0].ARN
		if r, _, err = tx.CreateInStack(typ, props, stack, typ[strings.LastIndex(typ, ":")+1:]); err != nil {
			return err
		}
		return tx.Settle(r, "create")
	})
	return r, err
}

// MustCreate is [Create] for a test that can't go on without the resource.
func MustCreate(t testing.TB, s *sandbox.Sandbox, typ string, props map[string]any) *account.Resource {
	t.Helper()
	r, err := Create(s, typ, props)
	if err != nil {
		t.Fatalf("create %s: %v", typ, err)
	}
	return r
}

// Update moves a resource to other properties and settles it at once.
func Update(s *sandbox.Sandbox, typ, id string, props map[string]any) error {
	return s.Account().Do(func(tx *account.Tx) error {
		tx.Caller = s.Principals()[0].ARN
		r := tx.Get(typ, id)
		if r == nil {
			return fmt.Errorf("%s %s isn't there", typ, id)
		}
		if _, err := tx.Update(r, props, false); err != nil {
			return err
		}
		return tx.Settle(r, "update")
	})
}

// Delete deletes a resource as a stack would and settles it at once.
func Delete(s *sandbox.Sandbox, typ, id string) error {
	return s.Account().Do(func(tx *account.Tx) error {
		tx.Caller = s.Principals()[0].ARN
		r := tx.Get(typ, id)
		if r == nil {
			return fmt.Errorf("%s %s isn't there", typ, id)
		}
		if _, err := tx.Delete(r, false); err != nil {
			return err
		}
		return tx.Settle(r, "delete")
	})
}

// Refused fails the test unless err begins with want, a code and words:
// "DependencyViolation: The vpc". An empty want is no error at all.
func Refused(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
		t.Errorf("got %v, want %s", err, want)
	}
}

// Code is the error code that an SDK call ended with, or "".
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
