// Package wafv2 is AWS WAF: regional web ACLs for load balancers, and their
// logging.
//
// Invariants: names are unique in their scope, rules have unique names and
// priorities and fit the capacity, associations join what exists, and one
// resource has one web ACL.
//
// An association goes with its load balancer, a logging configuration with its
// web ACL.
//
// Limits: no request is ever inspected; rule groups of the account's own, regex
// sets and the scope CLOUDFRONT are not modelled.
package wafv2

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The resource types of this package. A web ACL's and an IP set's id is
// NAME|ID|SCOPE, an association's LOAD BALANCER|WEB ACL, a logging configuration's the ACL's ARN.
const (
	TypeWebACL      = "AWS::WAFv2::WebACL"
	TypeIPSet       = "AWS::WAFv2::IPSet"
	TypeAssociation = "AWS::WAFv2::WebACLAssociation"
	TypeLogging     = "AWS::WAFv2::LoggingConfiguration"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{webACLType(), ipSetType(), associationType(), loggingType()}
}

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
		"AWSManagedRulesBotControlRuleSet": 50, "AWSManagedRulesATPRuleSet": 50, "AWSManagedRulesACFPRuleSet": 50, "AWSManagedRulesAntiDDoSRuleSet": 50,
	}
}

var itemName = regexp.MustCompile(`^[\w-]{1,128}$`)

// name gives a new web ACL or IP set its id, name and ARN.
func name(tx *account.Tx, r *account.Resource, kind string) error {
	n := props.Str(r.Props, "Name")
	if n == "" {
		n = tx.Name(r, 128)
	}
	scope := props.Str(r.Props, "Scope")
	if scope != "REGIONAL" {
		return account.NotModelled("the scope %s is not modelled by the sandbox", scope)
	}
	if !itemName.MatchString(n) {
		return invalid("The parameter contains formatting that is not valid.", "NAME", n)
	}
	if tx.Find(r.Type, func(o *account.Resource) bool { return strings.HasPrefix(o.ID, n+"|") }) != nil {
		return account.Errorf("WAFDuplicateItemException", "AWS WAF couldn’t perform the operation because some resource in your request is a duplicate of an existing one.")
	}
	id := strings.Join([]string{tx.HexID(8), tx.HexID(4), tx.HexID(4), tx.HexID(4), tx.HexID(12)}, "-")
	r.ID = n + "|" + id + "|" + scope
	r.Attrs = map[string]any{"Arn": tx.ARN("wafv2", "regional/"+kind+"/"+n+"/"+id), "Id": id}
	r.Tags = props.Tags(r.Props, "Tags")
	return nil
}

func invalid(reason, field, value string) error {
	return account.Errorf("WAFInvalidParameterException", "Error reason: %s, field: %s, parameter: %s", reason, field, value)
}

func associated() error {
	return account.Errorf("WAFAssociatedItemException", "AWS WAF couldn’t perform the operation because your resource is being used by another resource or it’s associated with another resource.")
}

func webACLType() *account.Type {
	return &account.Type{
		Name: TypeWebACL,
		Create: func(tx *account.Tx, r *account.Resource) error {
			capacity, err := check(tx, r.Props)
			if err != nil {
				return err
			}
			if err := quota.WebACLs.Check(tx, tx.Count(TypeWebACL)); err != nil {
				return err
			}
			if err := name(tx, r, "webacl"); err != nil {
				return err
			}
			r.Attrs["Capacity"], r.Attrs["LabelNamespace"] = capacity, "awswaf:"+tx.AccountID()+":webacl:"+strings.Split(r.ID, "|")[0]+":"
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			capacity, err := check(tx, next)
			if err != nil {
				return err
			}
			r.Attrs["Capacity"] = capacity
			r.Retag(next, "Tags")
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			arn := props.Str(r.Attrs, "Arn")
			if tx.Find(TypeAssociation, func(a *account.Resource) bool { return props.Str(a.Props, "WebACLArn") == arn }) != nil {
				return associated()
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { tx.Drop(TypeLogging, props.Str(r.Attrs, "Arn")) },
	}
}

// maxAddresses is how many ranges an IP set holds.
const maxAddresses = 10000

func ipSetType() *account.Type {
	check := func(p map[string]any) error {
		version, list := props.Str(p, "IPAddressVersion"), props.Strs(p, "Addresses")
		if version != "IPV4" && version != "IPV6" {
			return invalid("Your value must be one of IPV4, IPV6.", "IP_ADDRESS_VERSION", version)
		}
		if len(list) > maxAddresses {
			return account.Errorf("WAFLimitsExceededException", "AWS WAF couldn’t perform the operation because you exceeded your resource limit.")
		}
		for _, a := range list {
			c, err := netip.ParsePrefix(a)
			if err != nil || c.Bits() == 0 || c.Addr().Is4() != (version == "IPV4") {
				return invalid("The parameter contains formatting that is not valid.", "IP_ADDRESS", a)
			}
		}
		return nil
	}
	return &account.Type{
		Name: TypeIPSet,
		Create: func(tx *account.Tx, r *account.Resource) error {
			if err := check(r.Props); err != nil {
				return err
			}
			return name(tx, r, "ipset")
		},
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			r.Retag(next, "Tags")
			return check(next)
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			arn := props.Str(r.Attrs, "Arn")
			if tx.Find(TypeWebACL, func(acl *account.Resource) bool { return refers(acl.Props, arn) }) != nil {
				return associated()
			}
			return nil
		},
	}
}

// refers tells whether an IP set is named anywhere in a value.
func refers(v any, arn string) bool {
	switch v := v.(type) {
	case map[string]any:
		if props.Str(v, "IPSetReferenceStatement", "Arn") == arn {
			return true
		}
		for _, x := range v {
			if refers(x, arn) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return refers(x, arn) })
	}
	return false
}

// check checks a web ACL and returns the capacity it uses.
func check(tx *account.Tx, p map[string]any) (int, error) {
	const one = "You have used none or multiple values for a field that requires exactly one value."
	if action := props.Map(p, "DefaultAction"); len(action) != 1 {
		return 0, invalid(one, "DEFAULT_ACTION", "DefaultAction")
	}
	if !props.Has(p, "VisibilityConfig", "MetricName") {
		return 0, invalid(one, "VISIBILITY_CONFIG", "VisibilityConfig")
	}
	names, priorities := map[string]bool{}, map[int]bool{}
	capacity := 0
	for _, rule := range props.Maps(p, "Rules") {
		name, priority := props.Str(rule, "Name"), props.Int(rule, -1, "Priority")
		if names[name] || priorities[priority] {
			return 0, account.Errorf("WAFDuplicateItemException", "AWS WAF couldn’t perform the operation because some resource in your request is a duplicate of an existing one.")
		}
		names[name], priorities[priority] = true, true
		statement := props.Map(rule, "Statement")
		n, group, err := cost(tx, statement)
		if err != nil {
			return 0, err
		}
		capacity += n
		// A rule group overrides the actions of its rules; every other rule
		// has an action of its own.
		if group && (!props.Has(rule, "OverrideAction") || props.Has(rule, "Action")) {
			return 0, invalid(one, "RULE", "OverrideAction")
		}
		if !group && (!props.Has(rule, "Action") || props.Has(rule, "OverrideAction")) {
			return 0, invalid(one, "RULE", "Action")
		}
	}
	if capacity > maxCapacity {
		return 0, account.Errorf("WAFLimitsExceededException", "AWS WAF couldn’t perform the operation because you exceeded your resource limit.")
	}
	return capacity, nil
}

// cost is the capacity that a statement uses, and whether it is a rule group.
// Statements that can be nested count with what is in them.
func cost(tx *account.Tx, statement map[string]any) (capacity int, group bool, err error) {
	if len(statement) != 1 {
		return 0, false, account.Errorf("WAFInvalidParameterException", "Error reason: A statement must hold exactly one of its kinds., field: STATEMENT")
	}
	for kind, v := range statement {
		switch kind {
		case "ManagedRuleGroupStatement":
			name := props.Str(v, "Name")
			n, ok := managed()[name]
			if !ok || props.Str(v, "VendorName") != "AWS" {
				return 0, true, missing()
			}
			return n, true, nil
		case "RateBasedStatement":
			if limit := props.Int(v, 0, "Limit"); limit < 10 || limit > 2_000_000_000 {
				return 0, false, account.Errorf("WAFInvalidParameterException", "Error reason: RateLimit is out of range., field: RATE_BASED_STATEMENT, parameter: %d", limit)
			}
			capacity = 2
			if inner := props.Map(v, "ScopeDownStatement"); inner != nil {
				n, _, err := cost(tx, inner)
				return capacity + n, false, err
			}
			return capacity, false, nil
		case "AndStatement", "OrStatement":
			inner := props.Maps(v, "Statements")
			if len(inner) < 2 {
				return 0, false, account.Errorf("WAFInvalidParameterException", "Error reason: %s needs at least two statements., field: STATEMENT", kind)
			}
			for _, s := range inner {
				n, _, err := cost(tx, s)
				if err != nil {
					return 0, false, err
				}
				capacity += n
			}
			return capacity, false, nil
		case "NotStatement":
			n, _, err := cost(tx, props.Map(v, "Statement"))
			return n, false, err
		case "IPSetReferenceStatement":
			arn := props.Str(v, "Arn")
			if tx.Find(TypeIPSet, func(r *account.Resource) bool { return props.Str(r.Attrs, "Arn") == arn }) == nil {
				return 0, false, missing()
			}
			return 1, false, nil
		case "ByteMatchStatement", "SizeConstraintStatement", "LabelMatchStatement", "GeoMatchStatement":
			return 1, false, nil
		default:
			return 0, false, account.NotModelled("%s is not modelled by the sandbox", kind)
		}
	}
	return 0, false, nil
}

// aclByARN finds a web ACL by its ARN.
func aclByARN(tx *account.Tx, arn string) *account.Resource {
	return tx.Find(TypeWebACL, func(r *account.Resource) bool { return props.Str(r.Attrs, "Arn") == arn })
}

func missing() error {
	return account.Errorf("WAFNonexistentItemException", "AWS WAF couldn’t perform the operation because your resource doesn’t exist.")
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
				return account.NotModelled("web ACLs of anything but application load balancers are not modelled by the sandbox")
			}
			if tx.Get(elbv2.TypeLoadBalancer, resource) == nil {
				return account.Errorf("WAFUnavailableEntityException", "AWS WAF couldn’t retrieve the resource that you requested. Retry your request.")
			}
			if tx.Find(TypeAssociation, func(o *account.Resource) bool { return props.Str(o.Props, "ResourceArn") == resource }) != nil {
				return account.Errorf("AlreadyExists", "%s is associated with a web ACL already", resource)
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
			return account.Errorf("WAFInvalidParameterException", "Error reason: Exactly one log destination is needed., field: LOG_DESTINATION")
		}
		_, name, ok := strings.Cut(destinations[0], ":log-group:")
		name = strings.TrimSuffix(name, ":*")
		if !ok {
			return account.NotModelled("log destinations other than log groups are not modelled by the sandbox")
		}
		// https://docs.aws.amazon.com/waf/latest/developerguide/logging-cw-logs.html
		if !strings.HasPrefix(name, "aws-waf-logs-") || tx.Get(logs.TypeLogGroup, name) == nil {
			return account.Errorf("WAFInvalidParameterException", "Error reason: The ARN isn't valid. A valid ARN begins with arn: and includes other information separated by colons or slashes., field: LOG_DESTINATION, parameter: %s", destinations[0])
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
				return account.Errorf("AlreadyExists", "%s has a logging configuration already", r.ID)
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
		Version: "2019-07-29",
		Operations: regional([]wire.Operation{
			{Name: "ListWebACLs", Do: listWebACLs},
			{Name: "GetWebACL", Do: getWebACL},
			{Name: "GetWebACLForResource", Do: getWebACLForResource},
			{Name: "ListResourcesForWebACL", Do: listResourcesForWebACL},
			{Name: "ListIPSets", Do: listIPSets},
			{Name: "GetIPSet", Do: getIPSet},
			{Name: "GetLoggingConfiguration", Do: getLoggingConfiguration},
			{Name: "UpdateWebACL", Do: updateWebACL},
			{Name: "AssociateWebACL", Do: associate},
			{Name: "DisassociateWebACL", Do: disassociate},
			{Name: "PutLoggingConfiguration", Do: putLogging},
			{Name: "DeleteLoggingConfiguration", Do: deleteLogging},
			{Name: "ListTagsForResource", Do: listTags},
			{Name: "TagResource", Do: tag},
			{Name: "UntagResource", Do: untag},
		}),
	}
}

// regional refuses what is asked of distributions.
func regional(operations []wire.Operation) []wire.Operation {
	for i, op := range operations {
		operations[i].Do = func(tx *account.Tx, r *wire.Request) (any, error) {
			if scope := r.String("Scope"); scope == "CLOUDFRONT" {
				return nil, account.NotModelled("the scope %s is not modelled by the sandbox", scope)
			}
			return op.Do(tx, r)
		}
	}
	return operations
}

func summary(r *account.Resource) map[string]any {
	out := map[string]any{"Name": strings.Split(r.ID, "|")[0], "Id": r.Attrs["Id"], "ARN": r.Attrs["Arn"], "LockToken": r.Attrs["Id"]}
	if d := props.Str(r.Props, "Description"); d != "" {
		out["Description"] = d
	}
	return out
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

func listResourcesForWebACL(tx *account.Tx, r *wire.Request) (any, error) {
	arn := r.String("WebACLArn")
	if aclByARN(tx, arn) == nil {
		return nil, missing()
	}
	kind := r.String("ResourceType")
	list := []any{}
	for _, a := range tx.List(TypeAssociation) {
		if props.Str(a.Props, "WebACLArn") == arn && (kind == "" || kind == "APPLICATION_LOAD_BALANCER") {
			list = append(list, props.Str(a.Props, "ResourceArn"))
		}
	}
	return map[string]any{"ResourceArns": list}, nil
}

func listIPSets(tx *account.Tx, _ *wire.Request) (any, error) {
	list := []any{}
	for _, r := range tx.List(TypeIPSet) {
		list = append(list, summary(r))
	}
	return map[string]any{"IPSets": list}, nil
}

func getIPSet(tx *account.Tx, r *wire.Request) (any, error) {
	set := tx.Find(TypeIPSet, func(o *account.Resource) bool { return o.Attrs["Id"] == r.String("Id") })
	if set == nil {
		return nil, missing()
	}
	out := summary(set)
	delete(out, "LockToken")
	out["IPAddressVersion"], out["Addresses"] = set.Props["IPAddressVersion"], set.Props["Addresses"]
	return map[string]any{"IPSet": out, "LockToken": set.Attrs["Id"]}, nil
}
