package cloudformation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/dynamic"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/policy"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/template"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Limits of requests.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxBody      = 51200 // in a request
	maxObject    = 1 << 20
	maxURL       = 5120
	maxStacks    = 2000
	maxTopics    = 5
	maxPolicy    = 16384
	maxComment   = 1024
	maxTags      = 50
	maxStackName = 128
	pageSize     = 100
)

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationError", format, args...)
}

func constraint(value, member, rule string) error {
	return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", value, member, rule)
}

var (
	stackNamePattern = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)
	tokenPattern     = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9]*$`)
)

func checkName(name, member string) error {
	switch {
	case name == "":
		return invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", member)
	case !stackNamePattern.MatchString(name):
		return constraint(name, member, "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*")
	case len(name) > maxStackName:
		return constraint(name, member, fmt.Sprintf("Member must have length less than or equal to %d", maxStackName))
	}
	return nil
}

// named finds the stack that a request names.
func named(tx *account.Tx, r *wire.Request, missing string) (*stack.Engine, error) {
	name := r.String("StackName")
	if name == "" {
		return nil, checkName("", "stackName")
	}
	e := stack.Find(tx, name)
	if e == nil {
		return nil, invalid(missing, name)
	}
	r.Resource = e.Stack.ID
	return e, nil
}

// The words for a stack that isn't there differ between operations.
const (
	missingInBrackets = "Stack [%s] does not exist"
	missingWithID     = "Stack with id %s does not exist"
)

// unmodelled refuses parameters whose effect isn't modelled.
func unmodelled(r *wire.Request) error {
	for _, k := range []string{"StackPolicyURL", "StackPolicyDuringUpdateURL", "ResourcesToImport", "ResourceTypes"} {
		if r.String(k) != "" || len(r.Strings(k)) > 0 {
			return account.NotModelled("parameter %s of %s is not modelled by the sandbox", k, r.Operation)
		}
	}
	if mode := wire.List(r.Map("DeploymentConfig")["Mode"]); len(mode) > 0 && mode[0] != "STANDARD" {
		return account.NotModelled("deployment mode %s is not modelled by the sandbox", mode[0])
	}
	if len(wire.List(r.Map("RollbackConfiguration")["RollbackTriggers"])) > 0 {
		return account.NotModelled("rollback triggers are not modelled by the sandbox")
	}
	return nil
}

// repeats checks a request's token: repeated tells that the same request was
// carried out before with it. Another request with it is refused.
func repeats(st *stack.Stack, r *wire.Request) (token string, repeated bool, err error) {
	token = r.String("ClientRequestToken")
	if token == "" {
		return "", false, nil
	}
	switch {
	case len(token) > 128:
		return "", false, constraint(token, "clientRequestToken", "Member must have length less than or equal to 128")
	case !tokenPattern.MatchString(token):
		return "", false, constraint(token, "clientRequestToken", "Member must satisfy regular expression pattern: [a-zA-Z0-9][-a-zA-Z0-9]*")
	}
	switch used := st.Tokens[token]; used {
	case "":
		return token, false, nil
	case content(r):
		return token, true, nil
	}
	return "", false, account.Errorf("TokenAlreadyExistsException", "Token %s is already in use by another operation", token)
}

// use notes that a token stands for the request.
func use(st *stack.Stack, token string, r *wire.Request) {
	if token != "" {
		st.Tokens[token] = content(r)
	}
}

// content tells requests apart: the operation and a sum of what it asks for.
func content(r *wire.Request) string {
	h := sha256.New()
	// Requests are plain JSON by construction, and keys come in order.
	_ = json.NewEncoder(h).Encode(r.In)
	return r.Operation + " " + hex.EncodeToString(h.Sum(nil)[:16])
}

// parse reads a template.
func parse(tx *account.Tx, body string) (*template.Template, error) {
	t, err := templates.parse(body)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range t.Types() {
		if tx.Type(name) == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, account.NotModelled("Resource types are not modelled by the sandbox: [%s]", strings.Join(missing, ", "))
	}
	return t, nil
}

// deployment makes of a request what it asks for, checked as far as
// CloudFormation checks before it accepts a request. Before is the deployment
// that the stack is described by, or nil.
func newDeployment(tx *account.Tx, r *wire.Request, before *stack.Deployment, stackID, stackName string) (*stack.Deployment, error) {
	if err := unmodelled(r); err != nil {
		return nil, err
	}
	d := &stack.Deployment{}
	body, err := templateBody(tx, r)
	if err != nil {
		return nil, err
	}
	switch previous := r.Bool("UsePreviousTemplate", false); {
	case previous && body != "":
		return nil, invalid("You cannot specify both usePreviousTemplate and Template Body.")
	case previous && before == nil:
		return nil, invalid("Stack [%s] does not exist", stackName)
	case previous:
		d.Template = before.Template
	case body == "":
		return nil, invalid("Either Template URL or Template Body must be specified.")
	default:
		if d.Template, err = parse(tx, body); err != nil {
			return nil, err
		}
	}
	if err := readRest(d, tx, r, before); err != nil {
		return nil, err
	}
	var inputs []template.Input
	for _, p := range r.Maps("Parameters") {
		use := facts.Text(p["UsePreviousValue"]) == "true"
		value := ""
		if v, ok := p["ParameterValue"]; ok {
			value = facts.Text(v)
		}
		inputs = append(inputs, template.Input{Key: facts.Text(p["ParameterKey"]), Value: value, UsePrevious: use})
	}
	var previous []template.Value
	if before != nil {
		previous = before.Values
	}
	if d.Values, err = d.Template.Values(inputs, previous, lookups(tx)); err != nil {
		return nil, err
	}
	if need, _ := d.Template.Capability(); need != "" && !slices.Contains(d.Capabilities, need) && !slices.Contains(d.Capabilities, "CAPABILITY_NAMED_IAM") {
		return nil, account.Errorf("InsufficientCapabilitiesException", "Requires capabilities : [%s]", need)
	}
	return d, d.Bind(tx, stackID, stackName)
}

// readPolicy reads the stack policy that a parameter of a request holds; nil if
// it holds none.
func readPolicy(r *wire.Request, parameter string) (*policy.Policy, error) {
	body := r.String(parameter)
	switch {
	case body == "":
		return nil, nil
	case len(body) > maxPolicy:
		return nil, constraint(body[:60]+"...", strings.ToLower(parameter[:1])+parameter[1:], fmt.Sprintf("Member must have length less than or equal to %d", maxPolicy))
	}
	return policy.Parse(body)
}

// checkRole refuses a service role that isn't there or doesn't trust CloudFormation.
func checkRole(tx *account.Tx, role string) error {
	if role == "" || tx.Type("AWS::IAM::Role") == nil || iam.Trusts(tx, iam.RoleByARN(tx, role), "cloudformation.amazonaws.com", "") {
		return nil
	}
	return invalid("Role %s is invalid or cannot be assumed", role)
}

// acting lets the role of a request act for its operation.
func acting(tx *account.Tx, r *wire.Request, e *stack.Engine) error {
	e.Role = r.String("RoleARN")
	return checkRole(tx, e.Role)
}

func readRest(d *stack.Deployment, tx *account.Tx, r *wire.Request, before *stack.Deployment) error {
	d.Capabilities = r.Strings("Capabilities")
	for _, c := range d.Capabilities {
		if !slices.Contains([]string{"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"}, c) {
			return constraint("["+c+"]", "capabilities", "Member must satisfy constraint: [Member must satisfy enum value set: [CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND, CAPABILITY_IAM]]")
		}
	}
	d.Role = r.String("RoleARN")
	d.Notifications = r.Strings("NotificationARNs")
	if n := len(d.Notifications); n > maxTopics {
		return constraint(fmt.Sprintf("[%d topics]", n), "notificationARNs", fmt.Sprintf("Member must have length less than or equal to %d", maxTopics))
	}
	d.Tags = r.Tags("Tags")
	if before != nil {
		// What an update doesn't mention stays.
		if d.Role == "" {
			d.Role = before.Role
		}
		if !r.Has("NotificationARNs") {
			d.Notifications = before.Notifications
		}
		if !r.Has("Tags") {
			d.Tags = maps.Clone(before.Tags)
		}
	}
	if err := checkRole(tx, d.Role); err != nil {
		return err
	}
	if n := len(r.Maps("Tags")); n > maxTags {
		return constraint(fmt.Sprintf("[%d tags]", n), "tags", fmt.Sprintf("Member must have length less than or equal to %d", maxTags))
	}
	if len(r.Maps("Tags")) > len(r.Tags("Tags")) {
		return invalid("Duplicate tag keys found")
	}
	for k, v := range r.Tags("Tags") {
		switch {
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return invalid("Invalid parameter value: aws: prefixed tag key names are not allowed for external use.")
		case k == "" || len(k) > 128:
			return constraint(k, "tags", "Member must have length between 1 and 128")
		case len(v) > 256:
			return constraint(v, "tags", "Member must have length less than or equal to 256")
		}
	}
	return nil
}

// lookups is what parameters are checked against.
func lookups(tx *account.Tx) template.Account {
	return template.Account{
		Parameter: func(name string) (string, bool, error) {
			r := tx.Get("AWS::SSM::Parameter", name)
			if r == nil {
				return "", false, dynamic.Public(name)
			}
			if r.Props["Type"] == "SecureString" {
				return "", false, nil
			}
			return facts.Text(r.Props["Value"]), true, nil
		},
		Exists: func(kind, value string) bool {
			switch kind {
			case "AWS::EC2::AvailabilityZone::Name":
				return slices.ContainsFunc(tx.Zones(), func(z account.Zone) bool { return z.Name == value })
			case "AWS::EC2::SecurityGroup::GroupName", "AWS::EC2::KeyPair::KeyName", "AWS::EC2::Image::Id":
				// Not kept as resources of their own.
				return true
			}
			typ := strings.TrimSuffix(kind, "::Id")
			return tx.Type(typ) == nil || tx.Get(typ, value) != nil
		},
	}
}

// optional leaves an empty text out of an answer.
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// list makes an answer's list; an empty one is left out.
func list[T any](items []T, f func(T) map[string]any) any {
	if len(items) == 0 {
		return nil
	}
	out := make([]any, len(items))
	for i, x := range items {
		out[i] = f(x)
	}
	return out
}

func texts2any(l []string) any {
	if len(l) == 0 {
		return nil
	}
	return l
}

func tagList(tags map[string]string) any {
	if len(tags) == 0 {
		return nil
	}
	return props.Pairs(tags)
}

// mask hides secrets in what is shown, short ones only where they are all of a
// text.
func mask(secrets []string, v any) any {
	if len(secrets) == 0 {
		return v
	}
	switch v := v.(type) {
	case string:
		for _, s := range secrets {
			if v == s {
				return "****"
			}
			if len(s) > 3 {
				v = strings.ReplaceAll(v, s, "****")
			}
		}
		return v
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = mask(secrets, x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = mask(secrets, x)
		}
		return l
	}
	return v
}
