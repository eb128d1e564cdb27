// Package dynamic resolves dynamic references to parameters and secrets.
//
// The current value of a secret and every version of a parameter that the
// account still knows can be referred to; other versions and stages of secrets
// are refused as not modelled.
package dynamic

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
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
			v, err = resolveParameter(tx, m[2])
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

func resolveParameter(tx *account.Tx, rest string) (string, error) {
	name, version, pinned := strings.Cut(rest, ":")
	r := tx.Get("AWS::SSM::Parameter", name)
	if r == nil {
		if err := Public(name); err != nil {
			return "", err
		}
		return "", account.Errorf("ValidationError", "Parameters: [%s] could not be found", rest)
	}
	if pinned {
		history, _ := r.Data["History"].([]any)
		for _, h := range history {
			if m, ok := h.(map[string]any); ok && facts.Text(m["Version"]) == version {
				return facts.Text(m["Value"]), nil
			}
		}
		return "", account.Errorf("ValidationError", "Parameters: [%s] could not be found", rest)
	}
	return facts.Text(r.Props["Value"]), nil
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
		r = tx.Find("AWS::SecretsManager::Secret", func(r *account.Resource) bool { return r.Props["Name"] == id || r.Data["Name"] == id })
	}
	if r == nil || r.Data["DeletedDate"] != nil {
		return "", account.Errorf("ValidationError", "Could not find a value associated with JSONKey in SecretString: Secrets Manager can't find the specified secret.")
	}
	// A value put by the service's API takes the place of the template's.
	text, ok := r.Data["SecretString"].(string)
	if !ok {
		if text, ok = r.Props["SecretString"].(string); !ok {
			return "", account.Errorf("ValidationError", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
		}
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
