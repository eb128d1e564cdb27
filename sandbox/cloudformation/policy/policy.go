// Package policy reads stack policies and says what they refuse.
//
// A [Policy] never changes. Conditions know the key ResourceType only, which is
// all that CloudFormation offers.
package policy

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Policy is a stack policy. It never changes.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
type Policy struct {
	Body       string
	statements []statement
}

type statement struct {
	allow      bool
	actions    []string
	notActions []string
	resources  []string
	notRes     []string
	types      []string // patterns of Condition on ResourceType; nil is any
}

// texts is a JSON string or list of strings.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = texts{s}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// Parse reads a stack policy.
func Parse(body string) (*Policy, error) {
	malformed := func(why string) error {
		return account.Errorf("ValidationError", "Error validating stack policy: Invalid stack policy: %s", why)
	}
	var doc struct {
		Statement []struct {
			Effect      string
			Action      texts
			NotAction   texts
			Principal   any
			Resource    texts
			NotResource texts
			Condition   map[string]map[string]texts
		}
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, malformed(err.Error())
	}
	if len(doc.Statement) == 0 {
		return nil, malformed("no statement")
	}
	p := &Policy{Body: body}
	for i, s := range doc.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, malformed(fmt.Sprintf("statement %d: Effect must be Allow or Deny", i+1))
		}
		if s.Principal != "*" {
			return nil, malformed(fmt.Sprintf("statement %d: Principal must be *", i+1))
		}
		if (len(s.Action) == 0) == (len(s.NotAction) == 0) || (len(s.Resource) == 0) == (len(s.NotResource) == 0) {
			return nil, malformed(fmt.Sprintf("statement %d: one of Action and NotAction and one of Resource and NotResource must be given", i+1))
		}
		for _, a := range append(append(texts{}, s.Action...), s.NotAction...) {
			if !strings.HasPrefix(a, "Update:") && a != "*" {
				return nil, malformed(fmt.Sprintf("statement %d: unknown action %s", i+1, a))
			}
		}
		st := statement{allow: s.Effect == "Allow", actions: s.Action, notActions: s.NotAction, resources: s.Resource, notRes: s.NotResource}
		for op, c := range s.Condition {
			if op != "StringEquals" && op != "StringLike" {
				return nil, malformed(fmt.Sprintf("statement %d: condition %s is not supported", i+1, op))
			}
			for k, v := range c {
				if k != "ResourceType" {
					return nil, malformed(fmt.Sprintf("statement %d: condition key %s is not supported", i+1, k))
				}
				st.types = append(st.types, v...)
			}
		}
		p.statements = append(p.statements, st)
	}
	return p, nil
}

// like matches a pattern with asterisks and question marks.
func like(patterns []string, s string) bool {
	for _, p := range patterns {
		if p == "*" {
			return true
		}
		// Neither logical ids nor types hold a slash but for the prefix, which
		// is the same on both sides.
		if ok, err := path.Match(p, s); err == nil && ok {
			return true
		}
	}
	return false
}

func (s *statement) covers(action, resource, typ string) bool {
	if len(s.actions) > 0 && !like(s.actions, action) || len(s.notActions) > 0 && like(s.notActions, action) {
		return false
	}
	if len(s.resources) > 0 && !like(s.resources, resource) || len(s.notRes) > 0 && like(s.notRes, resource) {
		return false
	}
	return s.types == nil || like(s.types, typ)
}

// Denied is why the policy refuses an action, "Update:Replace", on a resource,
// or "". A nil policy refuses nothing, any other what it doesn't allow.
func (p *Policy) Denied(action, logicalID, typ string) string {
	if p == nil {
		return ""
	}
	resource := "LogicalResourceId/" + logicalID
	allowed := false
	for i := range p.statements {
		s := &p.statements[i]
		if !s.covers(action, resource, typ) {
			continue
		}
		if !s.allow {
			return fmt.Sprintf("Action denied by stack policy: Statement [#%d] does not allow [%s] for resource [%s]", i+1, action, resource)
		}
		allowed = true
	}
	if !allowed {
		return fmt.Sprintf("Action denied by stack policy: no statement allows [%s] for resource [%s]", action, resource)
	}
	return ""
}
