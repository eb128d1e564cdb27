// Package wafv2 is AWS WAF: regional web ACLs for load balancers, and their
// logging.
//
// Invariants: names are unique in their scope, rules have unique names and
// priorities and fit the capacity, associations join what exists, and one
// resource has one web ACL.
//
// Limits: no request is ever inspected; rule groups, IP sets, regex sets and
// the scope CLOUDFRONT are not modelled.
package wafv2

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The resource types of this package. A web ACL's id is NAME|ID|SCOPE, an
// association's LOAD BALANCER|WEB ACL, a logging configuration's the ACL's ARN.
const (
	TypeWebACL      = "AWS::WAFv2::WebACL"
	TypeAssociation = "AWS::WAFv2::WebACLAssociation"
	TypeLogging     = "AWS::WAFv2::LoggingConfiguration"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{webACLType(), associationType(), loggingType()}
}

func errorf(code, format string, args ...any) error { return account.Errorf(code, format, args...) }

// maxCapacity is the capacity that a web ACL may use.
// https://docs.aws.amazon.com/waf/latest/developerguide/aws-waf-capacity-units.html
const maxCapacity = 5000

// managed are AWS's rule groups with their capacities.
// https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
func managed() map[string]int {
	return map[string]int{
		"AWSManagedRulesCommonRuleSet": 700, "AWSManagedRulesAdminProtectionRuleSet": 100, "AWSManagedRulesKnownBadInputsRuleSet": 200,
		"AWSManagedRulesSQLiRuleSet": 200, "AWSManagedRulesLinuxRuleSet": 200, "AWSManagedRulesUnixRuleSet": 100, "AWSManagedRulesWindowsRuleSet": 200,
		"AWSManagedRulesPHPRuleSet": 100, "AWSManagedRulesWordPressRuleSet": 100, "AWSManagedRulesAmazonIpReputationList": 25, "AWSManagedRulesAnonymousIpList": 50,
	}
}

func webACLType() *account.Type {
	return &account.Type{
		Name: TypeWebACL,
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "Name")
			if name == "" {
				name = tx.Name(r, 128)
			}
			scope := props.Str(r.Props, "Scope")
			if scope != "REGIONAL" {
				return errorf("UnsupportedOperation", "the scope %s is not modelled by the sandbox", scope)
			}
			if tx.Find(TypeWebACL, func(o *account.Resource) bool { return strings.HasPrefix(o.ID, name+"|") }) != nil {
				return errorf("WAFDuplicateItemException", "AWS WAF couldn’t perform the operation because some resource in your request is a duplicate of an existing one.")
			}
			capacity, err := check(r.Props)
			if err != nil {
				return err
			}
			id := strings.Join([]string{tx.HexID(8), tx.HexID(4), tx.HexID(4), tx.HexID(4), tx.HexID(12)}, "-")
			r.ID = name + "|" + id + "|" + scope
			r.Attrs = map[string]any{"Arn": tx.ARN("wafv2", "regional/webacl/"+name+"/"+id), "Id": id, "Capacity": capacity, "LabelNamespace": "awswaf:" + tx.AccountID() + ":webacl:" + name + ":"}
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			capacity, err := check(next)
			if err != nil {
				return err
			}
			r.Attrs["Capacity"] = capacity
			for k := range props.Tags(r.Props, "Tags") {
				delete(r.Tags, k)
			}
			for k, v := range props.Tags(next, "Tags") {
				r.Tags[k] = v
			}
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if used(tx, props.Str(r.Attrs, "Arn")) {
				return errorf("WAFAssociatedItemException", "AWS WAF couldn’t perform the operation because your resource is being used by another resource or it’s associated with another resource.")
			}
			return nil
		},
	}
}

func used(tx *account.Tx, arn string) bool {
	return tx.Find(TypeAssociation, func(a *account.Resource) bool { return props.Str(a.Props, "WebACLArn") == arn }) != nil ||
		tx.Find(TypeLogging, func(l *account.Resource) bool { return l.ID == arn }) != nil
}

// check checks a web ACL and returns the capacity it uses.
func check(p map[string]any) (int, error) {
	invalid := func(field, value string) error {
		return errorf("WAFInvalidParameterException", "Error reason: You have used none or multiple values for a field that requires exactly one value., field: %s, parameter: %s", field, value)
	}
	if action := props.Map(p, "DefaultAction"); len(action) != 1 {
		return 0, invalid("DEFAULT_ACTION", "DefaultAction")
	}
	names, priorities := map[string]bool{}, map[int]bool{}
	capacity := 0
	for _, rule := range props.Maps(p, "Rules") {
		name, priority := props.Str(rule, "Name"), props.Int(rule, -1, "Priority")
		if names[name] || priorities[priority] {
			return 0, errorf("WAFDuplicateItemException", "AWS WAF couldn’t perform the operation because some resource in your request is a duplicate of an existing one.")
		}
		names[name], priorities[priority] = true, true
		statement := props.Map(rule, "Statement")
		n, group, err := cost(statement)
		if err != nil {
			return 0, err
		}
		capacity += n
		// A rule group overrides the actions of its rules; every other rule
		// has an action of its own.
		if group && (!props.Has(rule, "OverrideAction") || props.Has(rule, "Action")) {
			return 0, invalid("RULE", "OverrideAction")
		}
		if !group && (!props.Has(rule, "Action") || props.Has(rule, "OverrideAction")) {
			return 0, invalid("RULE", "Action")
		}
	}
	if capacity > maxCapacity {
		return 0, errorf("WAFLimitsExceededException", "AWS WAF couldn’t perform the operation because you exceeded your resource limit.")
	}
	return capacity, nil
}

// cost is the capacity that a statement uses, and whether it is a rule group.
// Statements that can be nested count with what is in them.
func cost(statement map[string]any) (capacity int, group bool, err error) {
	if len(statement) != 1 {
		return 0, false, errorf("WAFInvalidParameterException", "Error reason: A statement must hold exactly one of its kinds., field: STATEMENT")
	}
	for kind, v := range statement {
		switch kind {
		case "ManagedRuleGroupStatement":
			name := props.Str(v, "Name")
			n, ok := managed()[name]
			if !ok || props.Str(v, "VendorName") != "AWS" {
				return 0, true, errorf("WAFNonexistentItemException", "AWS WAF couldn’t perform the operation because your resource doesn’t exist.")
			}
			return n, true, nil
		case "RateBasedStatement":
			if limit := props.Int(v, 0, "Limit"); limit < 10 || limit > 2_000_000_000 {
				return 0, false, errorf("WAFInvalidParameterException", "Error reason: RateLimit is out of range., field: RATE_BASED_STATEMENT, parameter: %d", limit)
			}
			capacity = 2
			if inner := props.Map(v, "ScopeDownStatement"); inner != nil {
				n, _, err := cost(inner)
				return capacity + n, false, err
			}
			return capacity, false, nil
		case "AndStatement", "OrStatement":
			inner := props.Maps(v, "Statements")
			if len(inner) < 2 {
				return 0, false, errorf("WAFInvalidParameterException", "Error reason: %s needs at least two statements., field: STATEMENT", kind)
			}
			for _, s := range inner {
				n, _, err := cost(s)
				if err != nil {
					return 0, false, err
				}
				capacity += n
			}
			return capacity, false, nil
		case "NotStatement":
			n, _, err := cost(props.Map(v, "Statement"))
			return n, false, err
		case "ByteMatchStatement", "SizeConstraintStatement", "LabelMatchStatement", "GeoMatchStatement":
			return 1, false, nil
		default:
			return 0, false, errorf("UnsupportedOperation", "%s is not modelled by the sandbox", kind)
		}
	}
	return 0, false, nil
}

// aclByARN finds a web ACL by its ARN.
func aclByARN(tx *account.Tx, arn string) *account.Resource {
	return tx.Find(TypeWebACL, func(r *account.Resource) bool { return props.Str(r.Attrs, "Arn") == arn })
}

func missing() error {
	return errorf("WAFNonexistentItemException", "AWS WAF couldn’t perform the operation because your resource doesn’t exist.")
}

func associationType() *account.Type {
	return &account.Type{
		Name: TypeAssociation,
		Create: func(tx *account.Tx, r *account.Resource) error {
			resource, acl := props.Str(r.Props, "ResourceArn"), props.Str(r.Props, "WebACLArn")
			if aclByARN(tx, acl) == nil {
				return missing()
			}
			if !strings.Contains(resource, ":loadbalancer/app/") {
				return errorf("UnsupportedOperation", "web ACLs of anything but application load balancers are not modelled by the sandbox")
			}
			if tx.Get(elbv2.TypeLoadBalancer, resource) == nil {
				return errorf("WAFUnavailableEntityException", "AWS WAF couldn’t retrieve the resource that you requested. Retry your request.")
			}
			if tx.Find(TypeAssociation, func(o *account.Resource) bool { return props.Str(o.Props, "ResourceArn") == resource }) != nil {
				return errorf("AlreadyExists", "%s is associated with a web ACL already", resource)
			}
			r.ID = resource + "|" + acl
			return nil
		},
	}
}

func loggingType() *account.Type {
	check := func(tx *account.Tx, p map[string]any) error {
		destinations := props.Strs(p, "LogDestinationConfigs")
		if len(destinations) != 1 {
			return errorf("WAFInvalidParameterException", "Error reason: Exactly one log destination is needed., field: LOG_DESTINATION")
		}
		_, name, ok := strings.Cut(destinations[0], ":log-group:")
		name = strings.TrimSuffix(name, ":*")
		if !ok {
			return errorf("UnsupportedOperation", "log destinations other than log groups are not modelled by the sandbox")
		}
		// https://docs.aws.amazon.com/waf/latest/developerguide/logging-cw-logs.html
		if !strings.HasPrefix(name, "aws-waf-logs-") || tx.Get(logs.TypeLogGroup, name) == nil {
			return errorf("WAFInvalidParameterException", "Error reason: The ARN isn't valid. A valid ARN begins with arn: and includes other information separated by colons or slashes., field: LOG_DESTINATION, parameter: %s", destinations[0])
		}
		return nil
	}
	return &account.Type{
		Name: TypeLogging,
		Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = props.Str(r.Props, "ResourceArn")
			if aclByARN(tx, r.ID) == nil {
				return missing()
			}
			if tx.Get(TypeLogging, r.ID) != nil {
				return errorf("AlreadyExists", "%s has a logging configuration already", r.ID)
			}
			return check(tx, r.Props)
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return check(tx, next) },
	}
}

// Service returns WAF's API.
func Service() wire.Service {
	return wire.Service{
		Name: "wafv2", Target: "AWSWAF_20190729", Protocol: wire.JSON11,
		Operations: []wire.Operation{
			{Name: "ListWebACLs", Do: listWebACLs},
			{Name: "GetWebACL", Do: getWebACL},
			{Name: "GetWebACLForResource", Do: getWebACLForResource},
			{Name: "GetLoggingConfiguration", Do: getLoggingConfiguration},
		},
	}
}

func summary(r *account.Resource) map[string]any {
	return map[string]any{
		"Name": strings.Split(r.ID, "|")[0], "Id": r.Attrs["Id"], "ARN": r.Attrs["Arn"],
		"Description": props.Str(r.Props, "Description"), "LockToken": r.Attrs["Id"],
	}
}

func listWebACLs(tx *account.Tx, _ *wire.Request) (any, error) {
	acls := []any{}
	for _, r := range tx.List(TypeWebACL) {
		acls = append(acls, summary(r))
	}
	return map[string]any{"WebACLs": acls}, nil
}

// detail is a web ACL as the API has it: CloudFormation's properties but for
// search strings, which the API has in base64.
func detail(r *account.Resource) any {
	acl := summary(r)
	delete(acl, "LockToken")
	acl["Capacity"], acl["LabelNamespace"] = r.Attrs["Capacity"], r.Attrs["LabelNamespace"]
	for _, k := range []string{"DefaultAction", "Rules", "VisibilityConfig"} {
		acl[k] = r.Props[k]
	}
	return encoded(acl)
}

// encoded copies a value with its search strings in base64.
func encoded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			if s, ok := x.(string); ok && k == "SearchString" {
				x = []byte(s) // encoding/json writes bytes in base64
			}
			out[k] = encoded(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = encoded(x)
		}
		return out
	}
	return v
}

func getWebACL(tx *account.Tx, r *wire.Request) (any, error) {
	acl := tx.Find(TypeWebACL, func(o *account.Resource) bool {
		return o.Attrs["Id"] == r.String("Id") || o.Attrs["Arn"] == r.String("ARN")
	})
	if acl == nil {
		return nil, missing()
	}
	return map[string]any{"WebACL": detail(acl), "LockToken": acl.Attrs["Id"]}, nil
}

func getWebACLForResource(tx *account.Tx, r *wire.Request) (any, error) {
	a := tx.Find(TypeAssociation, func(o *account.Resource) bool { return props.Str(o.Props, "ResourceArn") == r.String("ResourceArn") })
	if a == nil {
		return map[string]any{}, nil
	}
	return map[string]any{"WebACL": detail(aclByARN(tx, props.Str(a.Props, "WebACLArn")))}, nil
}

func getLoggingConfiguration(tx *account.Tx, r *wire.Request) (any, error) {
	l := tx.Get(TypeLogging, r.String("ResourceArn"))
	if l == nil {
		return nil, missing()
	}
	return map[string]any{"LoggingConfiguration": map[string]any{
		"ResourceArn": l.ID, "LogDestinationConfigs": l.Props["LogDestinationConfigs"], "RedactedFields": l.Props["RedactedFields"],
	}}, nil
}
