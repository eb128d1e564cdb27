package stack_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL34RootCause: the error of a failed operation and a later look at the
// stack tell the same first failure, with its cause: not what was cancelled
// because of it, nor what failed in an earlier operation.
func TestL34RootCause(t *testing.T) {
	bubble(t, sandbox.Options{}, func(t *testing.T, w *world) {
		keys := kms.NewFromConfig(testkit.Config(w.box))
		first, second := w.key(t, keys), w.key(t, keys)
		check := func(when, resource, known string) {
			t.Helper()
			st, err := w.Describe(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			root, err := w.Why(t.Context(), st)
			if err != nil || !st.Failed() || root.Resource != resource || root.Known != known || root.Type != "AWS::Logs::LogGroup" || root.Document == "" {
				t.Errorf("%s: %s because of %+v, %v", when, st.Status, root, err)
			}
		}
		fails := func(when, resource, known string, body []byte) {
			t.Helper()
			_, err := w.Apply(t.Context(), stack.Spec{Name: "s", Template: body}, nil)
			var failed *stack.Error
			if !errors.As(err, &failed) {
				t.Fatalf("%s: %v", when, err)
			}
			if got := failed.Root(); got.Resource != resource || got.Known != known {
				t.Errorf("%s: %+v", when, got)
			}
		}
		fails("creation", "Bad", "logs-key", keyed(first, true))
		check("creation", "Bad", "logs-key")
		w.apply(t, keyed(first, false))
		fails("update", "Bad", "logs-key", keyed(second, true))
		check("update", "Bad", "logs-key")
		w.apply(t, keyed(second, false))
		if st, err := w.Describe(t.Context(), "s"); err != nil || st.Failed() {
			t.Errorf("a stack that was mended counts as failed: %+v, %v", st, err)
		}
		if _, err := keys.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &second}); err != nil {
			t.Fatal(err)
		}
		fails("way back", "Bad", "logs-key", keyed(first, true))
		fails("way back, continued", "Group", "logs-key", keyed(first, false))
		check("way back, continued", "Group", "logs-key")
	})
}

func TestRootOfARefusal(t *testing.T) {
	t.Parallel()
	e := &stack.Error{Stack: "s", Reason: "Role arn:aws:iam::123456789012:role/none is invalid or cannot be assumed"}
	want := "the role arn:aws:iam::123456789012:role/none, as which CloudFormation is to act, does not exist or does not trust cloudformation.amazonaws.com"
	if diff := cmp.Diff(want, e.Root().Cause); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
