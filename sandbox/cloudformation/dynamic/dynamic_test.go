package dynamic

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app-AbCdEf"
	a := account.New(&account.Model{}, account.Options{Now: time.Now})
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
		{"{{resolve:vault:x}}", "NotModelled: Dynamic reference service vault is not modelled by the sandbox"},
		{"{{resolve:secretsmanager:gone}}", "ValidationError: Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret."},
		{"{{resolve:secretsmanager:none}}", "ValidationError: Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret."},
		{"{{resolve:secretsmanager:app:SecretString:nothing}}", "ValidationError: Could not find a value associated with JSONKey in SecretString"},
		{"{{resolve:secretsmanager:app:SecretString:user:AWSPREVIOUS}}", "NotModelled: Dynamic reference {{resolve:secretsmanager:app:SecretString:user:AWSPREVIOUS}}: only the current version of a secret is modelled by the sandbox"},
	} {
		_ = a.Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: "AWS::SSM::Parameter", ID: "/p", Props: map[string]any{"Value": "new"}, Data: map[string]any{"History": []any{map[string]any{"Version": 1, "Value": "old"}, map[string]any{"Version": 2, "Value": "new"}}}})
			tx.Put(&account.Resource{Type: "AWS::SecretsManager::Secret", ID: arn, Props: map[string]any{"Name": "app", "SecretString": "before"}, Data: map[string]any{"SecretString": `{"user":"u","port":5432}`}})
			tx.Put(&account.Resource{Type: "AWS::SecretsManager::Secret", ID: "arn:2", Data: map[string]any{"Name": "gone", "SecretString": "x", "DeletedDate": tx.Now()}})
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
