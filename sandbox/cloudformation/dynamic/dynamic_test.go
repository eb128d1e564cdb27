package dynamic

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

// Dynamic references read parameters, secure ones and secrets, by version and
// JSON key.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
func TestResolve(t *testing.T) {
	t.Parallel()
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, typ := range append(ssm.Types(), secretsmanager.Types()...) {
		model.Types[typ.Name] = typ
	}
	a := account.New(model, account.Options{Now: time.Now})
	var arn string
	err := a.Do(func(tx *account.Tx) error {
		make := func(typ string, p map[string]any) *account.Resource {
			r, _, err := tx.Create(typ, p, "", false)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		p := make(ssm.TypeParameter, map[string]any{"Name": "/p", "Type": "String", "Value": "old"})
		make(ssm.TypeParameter, map[string]any{"Name": "/secret", "Type": "SecureString", "Value": "hidden"})
		arn = make(secretsmanager.TypeSecret, map[string]any{"Name": "app", "SecretString": `{"user":"u","port":5432}`}).ID
		make(secretsmanager.TypeSecret, map[string]any{"Name": "gone", "SecretString": "x"}).Data["DeletedDate"] = tx.Now()
		_, err := tx.Update(p, map[string]any{"Name": "/p", "Type": "String", "Value": "new"}, false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ in, want string }{
		{"plain", "plain"},
		{"{{resolve:ssm:/p}}", "new"},
		{"{{resolve:ssm:/p:1}}", "old"},
		{"a {{resolve:ssm:/p:2}} b {{resolve:ssm:/p}}", "a new b new"},
		{"{{resolve:secretsmanager:app}}", `{"user":"u","port":5432}`},
		{"{{resolve:secretsmanager:app:SecretString:user}}", "u"},
		{"{{resolve:secretsmanager:" + arn + ":SecretString:port}}", "5432"},
		{"{{resolve:secretsmanager:" + arn + ":SecretString:user:AWSCURRENT}}", "u"},
		{"{{resolve:ssm:/q}}", "ValidationError: Parameters: [/q] could not be found"},
		{"{{resolve:ssm:/aws/service/x}}", "NotModelled: the public parameter /aws/service/x is not modelled by the sandbox"},
		{"{{resolve:ssm:/p:9}}", "ValidationError: Parameters: [/p:9] could not be found"},
		{"{{resolve:ssm-secure:/secret}}", "hidden"},
		{"{{resolve:ssm:/secret}}", "ValidationError: Non-secure ssm prefix was used for secure parameter: /secret"},
		{"{{resolve:ssm-secure:/p:1}}", "ValidationError: Secure ssm prefix was used for non-secure parameter: /p"},
		{"{{resolve:vault:x}}", "NotModelled: Dynamic reference service vault is not modelled by the sandbox"},
		{"{{resolve:secretsmanager:gone}}", "ValidationError: Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret."},
		{"{{resolve:secretsmanager:none}}", "ValidationError: Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret."},
		{"{{resolve:secretsmanager:app:SecretString:nothing}}", "ValidationError: Could not find a value associated with JSONKey in SecretString"},
		{"{{resolve:secretsmanager:app:SecretString:user:AWSPREVIOUS}}", "NotModelled: Dynamic reference {{resolve:secretsmanager:app:SecretString:user:AWSPREVIOUS}}: only the current version of a secret is modelled by the sandbox"},
	} {
		_ = a.Do(func(tx *account.Tx) error {
			in := map[string]any{"l": []any{map[string]any{"k": tc.in}}, "n": 1}
			out, err := Resolve(tx, in)
			if err != nil {
				if err.Error() != tc.want {
					t.Errorf("%s: got error %v, want %s", tc.in, err, tc.want)
				}
				return nil
			}
			if d := cmp.Diff(map[string]any{"l": []any{map[string]any{"k": tc.want}}, "n": 1}, out); d != "" {
				t.Errorf("%s:\n%s", tc.in, d)
			}
			if in["l"].([]any)[0].(map[string]any)["k"] != tc.in {
				t.Errorf("%s: the properties given were changed", tc.in)
			}
			return nil
		})
	}
}
