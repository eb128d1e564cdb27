// Package dynamic resolves dynamic references to parameters and secrets.
//
// The current value of a secret and every version of a parameter that the
// account still knows can be referred to; other versions and stages of secrets
// are refused as not modelled.
package dynamic

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

var dynamicReference = regexp.MustCompile(`\{\{resolve:([a-z-]+):([^{}]+)\}\}`)

// Resolve copies properties for a resource's type, with dynamic references
// resolved. They are resolved nowhere else, so that no answer of the service
// can show them.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
func Resolve(tx *account.Tx, props map[string]any) (map[string]any, error) {
	v, err := resolveValue(tx, props)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

func resolveValue(tx *account.Tx, v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			y, err := resolveValue(tx, x)
			if err != nil {
				return nil, err
			}
			m[k] = y
		}
		return m, nil
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			y, err := resolveValue(tx, x)
			if err != nil {
				return nil, err
			}
			l[i] = y
		}
		return l, nil
	case string:
		if strings.Contains(v, "{{resolve:") {
			return resolveText(tx, v)
		}
	}
	return v, nil
}

func resolveText(tx *account.Tx, s string) (string, error) {
	var failed error
	out := dynamicReference.ReplaceAllStringFunc(s, func(ref string) string {
		m := dynamicReference.FindStringSubmatch(ref)
		var v string
		var err error
		switch m[1] {
		case "ssm", "ssm-secure":
			v, err = resolveParameter(tx, m[2], m[1] == "ssm-secure")
		case "secretsmanager":
			v, err = resolveSecret(tx, ref, m[2])
		default:
			err = account.NotModelled("Dynamic reference service %s is not modelled by the sandbox", m[1])
		}
		if err != nil && failed == nil {
			failed = err
		}
		return v
	})
	return out, failed
}

// Public refuses the names of AWS's own public parameters, which aren't
// modelled.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters.html
func Public(name string) error {
	if strings.HasPrefix(name, "/aws/service/") {
		return account.NotModelled("the public parameter %s is not modelled by the sandbox", name)
	}
	return nil
}

func resolveParameter(tx *account.Tx, rest string, secure bool) (string, error) {
	name, version, pinned := strings.Cut(rest, ":")
	r := tx.Get("AWS::SSM::Parameter", name)
	if r == nil {
		if err := Public(name); err != nil {
			return "", err
		}
		return "", account.Errorf("ValidationError", "Parameters: [%s] could not be found", rest)
	}
	switch is := r.Props["Type"] == "SecureString"; {
	case is && !secure:
		return "", account.Errorf("ValidationError", "Non-secure ssm prefix was used for secure parameter: %s", name)
	case secure && !is:
		return "", account.Errorf("ValidationError", "Secure ssm prefix was used for non-secure parameter: %s", name)
	}
	if pinned && version == "" {
		version = "0"
	}
	value, ok, err := ssm.Value(tx, r, version)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", account.Errorf("ValidationError", "Parameters: [%s] could not be found", rest)
	}
	return value, nil
}

// resolveSecret reads secret-id:SecretString:json-key:version-stage:version-id,
// all but the first part optional.
func resolveSecret(tx *account.Tx, ref, rest string) (string, error) {
	parts := strings.Split(rest, ":")
	id := parts[0]
	parts = parts[1:]
	if id == "arn" && len(parts) >= 6 {
		id = "arn:" + strings.Join(parts[:6], ":")
		parts = parts[6:]
	}
	part := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	if p := part(0); p != "" && p != "SecretString" {
		return "", account.Errorf("ValidationError", "Dynamic reference %s: %s must be SecretString", ref, p)
	}
	if part(3) != "" || part(2) != "" && part(2) != "AWSCURRENT" {
		return "", account.NotModelled("Dynamic reference %s: only the current version of a secret is modelled by the sandbox", ref)
	}
	r := tx.Get("AWS::SecretsManager::Secret", id)
	if r == nil {
		r = secretsmanager.ByName(tx, id)
	}
	if r == nil || r.Data["DeletedDate"] != nil {
		return "", account.Errorf("ValidationError", "Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret.")
	}
	text, ok, err := secretsmanager.Reveal(tx, r)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", account.Errorf("ValidationError", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
	}
	if key := part(1); key != "" {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil || m[key] == nil {
			return "", account.Errorf("ValidationError", "Could not find a value associated with JSONKey in SecretString")
		}
		return facts.Text(m[key]), nil
	}
	return text, nil
}

// Most is how many dynamic references a template may have.
const Most = 60

// secure are the properties that take references to secure parameters, of the
// types that the sandbox knows.
var secure = map[string][]string{
	"AWS::RDS::DBInstance": {"MasterUserPassword"},
	"AWS::RDS::DBCluster":  {"MasterUserPassword"},
	"AWS::IAM::User":       {"LoginProfile"},
}

// Check counts the dynamic references in a resource's properties, and refuses
// those to secure parameters where they aren't supported.
func Check(typ string, props map[string]any) (int, error) {
	n := 0
	for name, v := range props {
		found, protected := count(v)
		n += found
		if protected && !slices.Contains(secure[typ], name) {
			return n, account.Errorf("ValidationError", "SSM Secure reference is not supported in: [%s/Properties/%s]", typ, name)
		}
	}
	return n, nil
}

func count(v any) (n int, protected bool) {
	each := func(x any) {
		found, p := count(x)
		n, protected = n+found, protected || p
	}
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			each(x)
		}
	case []any:
		for _, x := range v {
			each(x)
		}
	case string:
		n, protected = strings.Count(v, "{{resolve:"), strings.Contains(v, "{{resolve:ssm-secure:")
	}
	return n, protected
}
