package wafv2

import (
	"encoding/base64"
	"maps"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// decoded copies a value of the API with its search strings as text, as
// CloudFormation has them.
func decoded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			if s, ok := x.(string); ok && k == "SearchString" {
				if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
					x = string(raw)
				}
			}
			out[k] = decoded(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = decoded(x)
		}
		return out
	}
	return v
}

// updateWebACL replaces a web ACL's rules and actions as a whole. The token
// must be the one of the last read, which here is always the same.
func updateWebACL(tx *account.Tx, r *wire.Request) (any, error) {
	acl := tx.Find(TypeWebACL, func(o *account.Resource) bool { return o.Attrs["Id"] == r.String("Id") })
	if acl == nil {
		return nil, missing()
	}
	if r.String("LockToken") != props.Str(acl.Attrs, "Id") {
		return nil, account.Errorf("WAFOptimisticLockException", "AWS WAF couldn’t save your changes because someone changed the resource after you started to edit it. Reapply your changes.")
	}
	next, _ := account.Copy(acl.Props).(map[string]any)
	for _, k := range []string{"DefaultAction", "Rules", "VisibilityConfig", "Description", "CustomResponseBodies"} {
		delete(next, k)
		if r.Has(k) {
			next[k] = decoded(r.In[k])
		}
	}
	if _, err := tx.Update(acl, next, false); err != nil {
		return nil, err
	}
	return map[string]any{"NextLockToken": acl.Attrs["Id"]}, tx.Settle(acl, "update")
}

// associate gives a load balancer a web ACL, instead of the one it may have.
func associate(tx *account.Tx, r *wire.Request) (any, error) {
	resource, acl := r.String("ResourceArn"), r.String("WebACLArn")
	if aclByARN(tx, acl) == nil {
		return nil, missing()
	}
	dissolve(tx, resource)
	_, _, err := tx.Create(TypeAssociation, map[string]any{"ResourceArn": resource, "WebACLArn": acl}, r.Caller, true)
	return map[string]any{}, err
}

func disassociate(tx *account.Tx, r *wire.Request) (any, error) {
	resource := r.String("ResourceArn")
	if tx.Get(elbv2.TypeLoadBalancer, resource) == nil {
		return nil, missing()
	}
	dissolve(tx, resource)
	return map[string]any{}, nil
}

// dissolve ends the association of a resource, if there is one.
func dissolve(tx *account.Tx, resource string) {
	for _, a := range tx.List(TypeAssociation) {
		if props.Str(a.Props, "ResourceArn") == resource {
			tx.Drop(TypeAssociation, a.ID)
		}
	}
}

func putLogging(tx *account.Tx, r *wire.Request) (any, error) {
	c := r.Map("LoggingConfiguration")
	p := map[string]any{}
	for _, k := range []string{"ResourceArn", "LogDestinationConfigs", "RedactedFields", "LoggingFilter"} {
		if v, ok := c[k]; ok {
			p[k] = account.Copy(v)
		}
	}
	if l := tx.Get(TypeLogging, props.Str(p, "ResourceArn")); l != nil {
		if _, err := tx.Update(l, p, false); err != nil {
			return nil, err
		}
		return map[string]any{"LoggingConfiguration": c}, tx.Settle(l, "update")
	}
	l, _, err := tx.Create(TypeLogging, p, r.Caller, false)
	if err != nil {
		return nil, err
	}
	return map[string]any{"LoggingConfiguration": c}, tx.Settle(l, "create")
}

func deleteLogging(tx *account.Tx, r *wire.Request) (any, error) {
	arn := r.String("ResourceArn")
	if tx.Get(TypeLogging, arn) == nil {
		return nil, missing()
	}
	tx.Drop(TypeLogging, arn)
	return map[string]any{}, nil
}

// tagged is the web ACL or IP set that a request on tags names.
func tagged(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	arn := r.String("ResourceARN")
	for _, typ := range []string{TypeWebACL, TypeIPSet} {
		if x := tx.Find(typ, func(o *account.Resource) bool { return props.Str(o.Attrs, "Arn") == arn }); x != nil {
			return x, nil
		}
	}
	return nil, missing()
}

func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"TagInfoForResource": map[string]any{"ResourceARN": r.String("ResourceARN"), "TagList": props.Pairs(x.Tags)}}, nil
}

func tag(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	if x.Tags == nil {
		x.Tags = map[string]string{}
	}
	maps.Copy(x.Tags, r.Tags("Tags"))
	return map[string]any{}, nil
}

func untag(tx *account.Tx, r *wire.Request) (any, error) {
	x, err := tagged(tx, r)
	if err != nil {
		return nil, err
	}
	for _, k := range r.Strings("TagKeys") {
		delete(x.Tags, k)
	}
	return map[string]any{}, nil
}
