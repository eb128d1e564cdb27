package wire_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TestPanicIsAnswered has an operation and an event of the account that panic:
// both are the sandbox's own failure to whoever asked, and everybody is served
// as before.
func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := account.New(
		&account.Model{Events: map[string]func(*account.Tx, account.Event){"bad": func(*account.Tx, account.Event) { panic("bad event") }}},
		account.Options{Now: func() time.Time { return now }},
	)
	var nothing []string
	broken := true
	var calls []wire.Call
	server := wire.NewServer(wire.Options{
		Account: a, Region: "us-east-1", Credentials: []wire.Credential{key}, OnCall: func(c wire.Call) { calls = append(calls, c) },
		Services: []wire.Service{{Name: "iam", Version: "2010-05-08", Protocol: wire.Query, Operations: []wire.Operation{{Name: "ListRoles", Do: func(tx *account.Tx, _ *wire.Request) (any, error) {
			if broken {
				return nothing[3], nil
			}
			return nil, nil
		}}}}},
	})
	list := func() (code, message string) {
		_, err := iam.NewFromConfig(aws.Config{
			Region: "us-east-1", BaseEndpoint: aws.String(testkit.Endpoint), Credentials: credentials(key),
			HTTPClient: &http.Client{Transport: testkit.Transport{Handler: server}}, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		}).ListRoles(context.Background(), nil)
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			return api.ErrorCode(), api.ErrorMessage()
		}
		return "", ""
	}
	if code, message := list(); code != "InternalFailure" || !strings.Contains(message, "panic: runtime error: index out of range [3] with length 0, at ") || !strings.Contains(message, "TestPanicIsAnswered") {
		t.Errorf("got %s: %s", code, message)
	}
	if n := len(a.Resources()); n > 0 {
		t.Errorf("the account has %d resources", n)
	}
	broken = false
	if code, message := list(); code != "" {
		t.Errorf("afterwards: got %s: %s", code, message)
	}
	if err := a.Do(func(tx *account.Tx) error {
		tx.After(time.Second, account.Event{Kind: "bad"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if code, message := list(); code != "InternalFailure" || !strings.Contains(message, "panic: bad event") {
		t.Errorf("the event: got %s: %s", code, message)
	}
	if code, message := list(); code != "" {
		t.Errorf("after the event: got %s: %s", code, message)
	}
	if len(calls) != 4 || calls[0].Status != http.StatusInternalServerError || calls[0].Code != "InternalFailure" {
		t.Errorf("recorded %+v", calls)
	}
}
