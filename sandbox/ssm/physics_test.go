package ssm_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

// Names of parameters are unique in an account and region.
//
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
func TestParameterNamesAreUnique(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	p := map[string]any{"Name": "/app/a", "Type": "String", "Value": "x"}
	testkit.MustCreate(t, s, ssm.TypeParameter, p)
	_, err := testkit.Create(s, ssm.TypeParameter, p)
	testkit.Refused(t, err, "ParameterAlreadyExists: The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
}
