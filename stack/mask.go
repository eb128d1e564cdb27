package stack

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Hidden stands for a value that may be a secret.
const Hidden = "(value differs, not shown)"

// secretWords are in the names of properties whose value is never told, whoever
// set it.
var secretWords = []string{"accesskey", "authtoken", "clientsecret", "credential", "password", "privatekey", "secretstring"}

// secretName tells that a property of this name holds a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// openName tells that a template sets no secret as this property, and that
// others may: only what is there is hidden.
func openName(typ, name string) bool {
	return name == "UserData" || typ == "AWS::SSM::Parameter" && name == "Value"
}

// masked is a value of a property, by its path, without what may be a secret.
// Live tells that the value is what is there, not what a template sets. Switches,
// nothing and references to a secret are no secrets.
func masked(typ, path, value string, live bool) string {
	switch value {
	case "", "null", "true", "false":
		return value
	}
	hides := func(name string) bool { return secretName(name) || live && openName(typ, name) }
	if slices.ContainsFunc(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '.' }), hides) {
		if strings.HasPrefix(value, "{{resolve:") && strings.HasSuffix(value, "}}") {
			return value
		}
		return Hidden
	}
	var whole any
	if !strings.ContainsAny(value[:1], "{[") || json.Unmarshal([]byte(value), &whole) != nil || !hide(whole, hides) {
		return value
	}
	out, err := json.Marshal(whole)
	if err != nil {
		return Hidden
	}
	return string(out)
}

// hide hides what is below such names, in place; false if there is nothing.
func hide(v any, hides func(string) bool) bool {
	found := false
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			found = hide(x, hides) || found
		}
	case map[string]any:
		for k, x := range v {
			_, isBool := x.(bool)
			switch {
			case hides(k) && x != nil && !isBool:
				v[k], found = Hidden, true
			default:
				found = hide(x, hides) || found
			}
		}
	}
	return found
}

// live tells that the values before a change are what is there, not what the
// stack had set.
func live(c *types.ResourceChange) bool {
	return c.ResourceDriftStatus != "" && c.ResourceDriftStatus != types.StackResourceDriftStatusInSync ||
		slices.ContainsFunc(c.Details, func(d types.ResourceChangeDetail) bool { return d.Target != nil && d.Target.Drift != nil })
}
