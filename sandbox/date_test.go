package sandbox_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// TestAnswersHaveTheAccountsDate has an account whose time is not the wall's:
// its answers are dated by it, and clients that follow those dates, late or at
// once, are believed as those that go by the wall are.
func TestAnswersHaveTheAccountsDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := 5 * time.Hour
		box := testkit.Sandbox(t, sandbox.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
		late := sts.NewFromConfig(testkit.Config(box))
		for n, more := range []time.Duration{0, 0, time.Hour, 24 * time.Hour} {
			ahead += more
			for name, c := range map[string]*sts.Client{"new": sts.NewFromConfig(testkit.Config(box)), "late": late} {
				out, err := c.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
				if err != nil {
					t.Fatalf("call %d of the %s client: %v", n+1, name, err)
				}
				got, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
				if want := time.Now().Add(ahead).Truncate(time.Second); !ok || !got.Equal(want) {
					t.Errorf("call %d of the %s client: the answer's date is %v, %v; want %v", n+1, name, got, ok, want)
				}
			}
		}
		// Who is ahead of both clocks is not.
		strict := testkit.Sandbox(t, sandbox.Options{})
		_, err := late.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
			o.HTTPClient, o.RetryMaxAttempts = testkit.Client(strict), 1
		})
		if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
			t.Errorf("a signature of days ahead: %v, want a refusal", err)
		}
	})
}
