// Package ssm is AWS Systems Manager: Parameter Store, and of Session Manager
// the sessions that forward a port to another host, whose data channel is
// package datachannel's.
//
// Invariants: a name is a path that AWS allows and is there once; every value
// fits its tier and allowed pattern; versions only grow. Of a secure parameter
// only ciphertexts are kept, under its key and bound to its ARN.
//
// Limits: a secure parameter of the advanced tier is encrypted under its key
// directly, without a data key in between; parameter policies, labels, sharing and AWS's public parameters are
// not modelled; reads see writes at once, which AWS does not promise. Agents are
// connected as soon as their instance can; sessions that have ended are not kept.
package ssm

import (
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// TypeParameter is the resource type of this package; its id is the
// parameter's name.
const TypeParameter = "AWS::SSM::Parameter"

// Limits of Parameter Store.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
const (
	maxLevels        = 15
	maxName          = 1011
	maxStandardValue = 4096
	maxAdvancedValue = 8192
	maxHistory       = 100
)

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{parameterType()} }

// arn is a parameter's ARN: a path brings its own slash.
func arn(tx *account.Tx, name string) string {
	return tx.ARN("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
}

func parameterType() *account.Type {
	return &account.Type{
		Name: TypeParameter, Latency: "ssm:parameter",
		Row: func(*account.Resource, string) string { return "ssm:parameter/put" },
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "Name")
			if name == "" {
				name = tx.Name(r, maxName)
			}
			if err := checkName(name); err != nil {
				return err
			}
			if tx.Get(TypeParameter, name) != nil {
				return account.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
			}
			if err := check(r.Props); err != nil {
				return err
			}
			if err := checkCount(tx, tier(r.Props)); err != nil {
				return err
			}
			if err := conceal(tx, name, r.Props); err != nil {
				return err
			}
			r.ID = name
			r.Tags = props.Tags(r.Props, "Tags")
			written(tx, r, r.Props)
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := check(next); err != nil {
				return err
			}
			if kind(r.Props) != kind(next) {
				return account.Errorf("HierarchyTypeMismatchException", "Parameter %s has type %s, which can't be changed to %s", r.ID, kind(r.Props), kind(next))
			}
			if tier(r.Props) == "Advanced" && tier(next) == "Standard" {
				return account.Errorf("ValidationException", "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.")
			}
			if err := conceal(tx, r.ID, next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			written(tx, r, next)
			return nil
		},
	}
}

// checkCount refuses one parameter too many of a tier.
func checkCount(tx *account.Tx, of string) error {
	most := quota.StandardParameters
	if of == "Advanced" {
		most = quota.AdvancedParameters
	}
	// Few accounts come near, so the tiers are looked at only then.
	if tx.Count(TypeParameter) < most.Value(tx) {
		return nil
	}
	have := 0
	for _, p := range tx.List(TypeParameter) {
		if tier(p.Props) == of {
			have++
		}
	}
	return most.Check(tx, have)
}

// written counts a new version and keeps the values of former ones.
func written(tx *account.Tx, r *account.Resource, p map[string]any) {
	r.Attrs["Arn"] = arn(tx, r.ID)
	r.Attrs["Type"] = kind(p)
	r.Attrs["Value"] = props.Str(p, "Value")
	version := props.Int(r.Data, 0, "Version") + 1
	r.Data["Version"] = version
	r.Data["Modified"] = tx.Now()
	r.Data["ModifiedBy"] = tx.Caller
	history := append(props.List(r.Data, "History"), map[string]any{"Version": version, "Value": props.Str(p, "Value")})
	r.Data["History"] = history[max(0, len(history)-maxHistory):]
}

func kind(p map[string]any) string {
	if t := props.Str(p, "Type"); t != "" {
		return t
	}
	return "String"
}

// tier is the tier in effect: an intelligent one takes what the value needs.
func tier(p map[string]any) string {
	switch t := props.Str(p, "Tier"); t {
	case "":
		return "Standard"
	case "Intelligent-Tiering":
		if len(props.Str(p, "Value")) > maxStandardValue {
			return "Advanced"
		}
		return "Standard"
	default:
		return t
	}
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_.\-/]+$`)

// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-parameter-name-constraints.html
func checkName(name string) error {
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(name), "/"), "/")
	switch {
	case strings.HasPrefix(name, "/aws/"):
		return account.Errorf("AccessDeniedException", "No access to reserved parameter name: %s.", name)
	case strings.HasPrefix(first, "aws") || strings.HasPrefix(first, "ssm"):
		return account.Errorf("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).")
	case !namePattern.MatchString(name) || strings.Contains(name, "//") || strings.HasSuffix(name, "/"):
		return account.Errorf("ValidationException", "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_")
	case strings.Contains(name, "/") && !strings.HasPrefix(name, "/"):
		return account.Errorf("ValidationException", "Parameter name must be a fully qualified name.")
	case strings.Count(name, "/") > maxLevels:
		return account.Errorf("HierarchyLevelLimitExceededException", "Parameter name %s has more than %d levels", name, maxLevels)
	case len(name) > maxName:
		return account.Errorf("ValidationException", "Parameter name is longer than %d characters", maxName)
	}
	return nil
}

var imageID = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)

func check(p map[string]any) error {
	value := props.Str(p, "Value")
	switch {
	case value == "":
		return account.Errorf("ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case !slices.Contains([]string{"String", "StringList", secureString}, kind(p)):
		return account.Errorf("UnsupportedParameterType", "%s is not a supported parameter type", kind(p))
	case !slices.Contains([]string{"", "Standard", "Advanced", "Intelligent-Tiering"}, props.Str(p, "Tier")):
		return account.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'tier' failed to satisfy constraint: Member must satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]", props.Str(p, "Tier"))
	case tier(p) == "Standard" && len(value) > maxStandardValue:
		return account.Errorf("ValidationException", "Standard tier parameters support a maximum parameter value of %d characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html", maxStandardValue)
	case len(value) > maxAdvancedValue:
		return account.Errorf("ValidationException", "Advanced tier parameters support a maximum parameter value of %d characters.", maxAdvancedValue)
	case strings.Contains(value, "{{"):
		return account.Errorf("ValidationException", "Parameter value can't nest another parameter. Don't use \"{{}}\" in the value.")
	case len(props.Str(p, "Description")) > 1024:
		return account.Errorf("ValidationException", "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024")
	case props.Str(p, "Policies") != "":
		return account.NotModelled("Policies of %s is not modelled by the sandbox", TypeParameter)
	case props.Str(p, "DataType") == "aws:ec2:image" && !imageID.MatchString(value):
		return account.Errorf("ValidationException", "The value %s is not an image id, which data type aws:ec2:image asks for", value)
	}
	if pattern := props.Str(p, "AllowedPattern"); pattern != "" {
		re, err := regexp.Compile(`^(?:` + pattern + `)$`)
		if err != nil {
			return account.Errorf("InvalidAllowedPatternException", "Parameter value, the regular expression %s is not valid", pattern)
		}
		if !re.MatchString(value) {
			return account.Errorf("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: %s", pattern)
		}
	}
	return nil
}
