package iam

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
)

// The kinds of policies, as refusals name them.
const (
	byIdentity = "identity-based policy"
	byBoundary = "permissions boundary"
	bySession  = "session policy"
	byResource = "resource-based policy"
	byTrust    = "role trust policy"
)

// verdict is the outcome of all policies that apply to a request.
type verdict struct {
	allowed bool
	// explicit tells that a statement denies, by the kind of policy that does;
	// otherwise the kind is what would have had to allow.
	explicit bool
	kind     string
	// unknown is a policy of AWS's whose text would decide.
	unknown string
	// bounded tells what the boundary says; meaningful if there is one.
	bounded bool
}

// applying are the policies that decide about a request.
type applying struct {
	identity []attached
	boundary *attached
	// session are the session policies. They limit if there are any.
	session []*policy.Document
	// resource are the policies of the resource. If they are required, nothing
	// is allowed without them, as with KMS keys and the trust of roles.
	resource []*policy.Document
	required bool
}

// decide joins what the policies say, for a principal of this account.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
func decide(r *policy.Request, k kind, a *applying) verdict {
	identity, unknown := policy.Decision{}, ""
	for i := range a.identity {
		doc := a.identity[i].doc
		if doc == nil {
			unknown = a.identity[i].id
			continue
		}
		d := doc.Evaluate(r)
		if d.Denies != nil {
			return verdict{explicit: true, kind: byIdentity}
		}
		if d.Allows != nil {
			identity.Allows = d.Allows
		}
	}
	bounded := true
	if a.boundary != nil {
		if a.boundary.doc == nil {
			return verdict{unknown: a.boundary.id}
		}
		d := a.boundary.doc.Evaluate(r)
		if d.Denies != nil {
			return verdict{explicit: true, kind: byBoundary}
		}
		bounded = d.Allows != nil
	}
	within := len(a.session) == 0
	for _, doc := range a.session {
		d := doc.Evaluate(r)
		if d.Denies != nil {
			return verdict{explicit: true, kind: bySession, bounded: bounded}
		}
		within = within || d.Allows != nil
	}
	kind := byResource
	if a.required && strings.HasPrefix(r.Action, "sts:") {
		kind = byTrust
	}
	naming := policy.Unnamed
	for _, doc := range a.resource {
		d := doc.Evaluate(r)
		if d.Denies != nil {
			return verdict{explicit: true, kind: kind, bounded: bounded}
		}
		naming = max(naming, d.Naming)
	}
	// Everybody includes the user, whom nothing but a denial limits then.
	if naming == policy.ByRole && k != session {
		naming = policy.BySelf
	}
	allowed := verdict{allowed: true, bounded: bounded}
	switch {
	case a.required && naming == policy.Unnamed:
		return verdict{kind: kind, bounded: bounded}
	case k == root, naming == policy.BySelf:
		return allowed
	case naming == policy.ByRole && bounded && within:
		return allowed
	case identity.Allows == nil && naming != policy.ByRole:
		return verdict{kind: byIdentity, unknown: unknown, bounded: bounded}
	case !bounded:
		return verdict{kind: byBoundary}
	case !within:
		return verdict{kind: bySession, bounded: bounded}
	}
	return allowed
}

// policiesOf are those that apply to a principal's request, but for the
// resource's.
func policiesOf(tx *account.Tx, p *principal) applying {
	a := applying{identity: identityPolicies(tx, p.entity), boundary: boundary(tx, p.entity)}
	if p.session != nil {
		for _, text := range p.session.Policies {
			// They were checked when the session began.
			if doc, err := policy.Parse(text, policy.Identity); err == nil {
				a.session = append(a.session, doc)
			}
		}
	}
	return a
}

// judge decides about one action on one resource. The resource's policies are
// given or, if they are nil, looked up.
func judge(tx *account.Tx, p *principal, apply *applying, d *access.Demand, resource string, own []*policy.Document) verdict {
	if p.kind == service {
		return verdict{allowed: true}
	}
	r := policy.Request{Type: "AWS", Principal: p.arn, Role: p.role, Action: d.Action, Resource: resource}
	r.Context = &conditions{tx: tx, p: p, action: d.Action, resource: resource, own: d.Context}
	a := *apply
	a.resource, a.required = own, own != nil
	if own == nil && resource != "*" {
		a.resource, a.required = resourcePolicies(tx, d.Action, resource)
	}
	if p.kind != foreign {
		return decide(&r, p.kind, &a)
	}
	// What the other account's policies say can't be known; they are taken to
	// allow it. The resource has to as well.
	for _, doc := range a.resource {
		if dec := doc.Evaluate(&r); dec.Denies != nil {
			return verdict{explicit: true, kind: byResource}
		} else if dec.Allows != nil {
			return verdict{allowed: true}
		}
	}
	return verdict{kind: byResource}
}

// resourcePolicies are the policies of what an ARN names that know the action,
// and whether they have to allow it.
func resourcePolicies(tx *account.Tx, action, resource string) ([]*policy.Document, bool) {
	if !Guarded(action) {
		return nil, false
	}
	docs := tx.Policies(resource)
	switch service, _, _ := strings.Cut(action, ":"); service {
	case "kms":
		// A key that isn't there has none, and is not found later.
		return docs, len(docs) > 0 && strings.Contains(resource, ":key/")
	case "sts":
		return docs, strings.Contains(resource, ":role/")
	}
	return docs, false
}

// Guarded tells that a policy of the resource may decide about an action.
func Guarded(action string) bool {
	switch service, _, _ := strings.Cut(action, ":"); service {
	case "kms", "sts", "s3", "secretsmanager", "sns", "ecr", "backup":
		return true
	}
	return false
}

// Permit tells whether a caller may do what a demand asks for, by the policies
// of the account as they are now: nil if it may, and otherwise the refusal in
// the words of the service that has the action. The caller is a principal's ARN;
// the ARN of a role stands for CloudFormation acting in it. AWS itself, which is
// no ARN, may do everything.
func Permit(tx *account.Tx, caller string, d access.Demand) *account.Error {
	return asked(tx, caller, d, nil)
}

// PermitOn is [Permit] for a resource whose policies the service itself knows,
// and without which nothing is allowed.
func PermitOn(tx *account.Tx, caller string, d access.Demand, policies ...*policy.Document) *account.Error {
	return asked(tx, caller, d, policies)
}

func asked(tx *account.Tx, caller string, d access.Demand, policies []*policy.Document) *account.Error {
	service, _, _ := strings.Cut(d.Action, ":")
	refusal := permit(tx, caller, service, []access.Demand{d}, policies)
	tx.Asked(account.Asked{Principal: caller, Action: d.Action, Resources: d.Resources, Context: d.Context, Denied: refusal != nil})
	return refusal
}

// Authorize tells whether the caller may do all that a request demands: nil if
// it may, and otherwise the refusal in the words of the service that was asked.
func Authorize(tx *account.Tx, service string, demands []access.Demand) *account.Error {
	return permit(tx, tx.Caller, service, demands, nil)
}

// PermitAll is [Permit] for several demands; it returns the first that is
// refused as well.
func PermitAll(tx *account.Tx, caller string, demands []access.Demand) (refused int, err *account.Error) {
	p := identify(tx, caller)
	if p.kind == 0 {
		return 0, nil
	}
	apply := policiesOf(tx, &p)
	for i := range demands {
		d := &demands[i]
		for _, resource := range d.Resources {
			if v := judge(tx, &p, &apply, d, resource, nil); !v.allowed {
				service, _, _ := strings.Cut(d.Action, ":")
				return i, refusal(tx, &p, service, d, resource, v)
			}
		}
	}
	return 0, nil
}

// Unlimited tells that nothing but resources' policies can refuse a caller
// anything: its own allow all, and nothing narrows them.
func Unlimited(tx *account.Tx, caller string) bool {
	p := identify(tx, caller)
	if p.kind == 0 {
		return true
	}
	if p.kind == foreign {
		return false
	}
	apply := policiesOf(tx, &p)
	if apply.boundary != nil || len(apply.session) > 0 {
		return false
	}
	all := p.kind == root
	for _, a := range apply.identity {
		if a.doc == nil {
			return false
		}
		for _, s := range a.doc.Statements {
			if !s.Allow {
				return false
			}
			all = all || len(s.Conditions) == 0 && slices.Contains(s.Actions, "*") && slices.Contains(s.Resources, "*")
		}
	}
	return all
}

func permit(tx *account.Tx, caller, service string, demands []access.Demand, own []*policy.Document) *account.Error {
	p := identify(tx, caller)
	if p.kind == 0 {
		return nil
	}
	apply := policiesOf(tx, &p)
	for i := range demands {
		d := &demands[i]
		resources := d.Resources
		if len(resources) == 0 {
			resources = everything
		}
		for _, resource := range resources {
			if v := judge(tx, &p, &apply, d, resource, own); !v.allowed {
				return refusal(tx, &p, service, d, resource, v)
			}
		}
	}
	return nil
}

var everything = []string{"*"}

// refusal words a verdict as the service does.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func refusal(tx *account.Tx, p *principal, service string, d *access.Demand, resource string, v verdict) *account.Error {
	if v.unknown != "" {
		return account.NotModelled("the text of the policy %s, which decides whether %s may do %s, is not modelled by the sandbox", v.unknown, p.arn, d.Action)
	}
	shown := resource
	if service == "s3" {
		shown = `"` + resource + `"`
	}
	because := fmt.Sprintf("because no %s allows the %s action", v.kind, d.Action)
	if v.explicit {
		article := "a"
		if v.kind == byIdentity {
			article = "an"
		}
		if v.kind == byTrust {
			article = "the"
		}
		because = "with an explicit deny in " + article + " " + v.kind
	}
	e := &account.Error{Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", p.arn, d.Action, shown, because)}
	e.Code, e.Status = refusalCode(service)
	if service == "ec2" {
		e.Message = "You are not authorized to perform this operation. " + e.Message
		if m := encodeMessage(tx, p, d, resource, v); m != "" {
			e.Message += ". Encoded authorization failure message: " + m
		}
	}
	return e
}

// refusalCode is a service's error code for what isn't allowed, and its status.
func refusalCode(service string) (string, int) {
	switch {
	case service == "ec2":
		return "UnauthorizedOperation", http.StatusForbidden
	case service == "sns":
		return "AuthorizationError", http.StatusForbidden
	case slices.Contains([]string{"iam", "sts", "s3", "cloudformation", "rds", "autoscaling", "elasticloadbalancing", "monitoring", "cloudwatch", "route53"}, service):
		return "AccessDenied", http.StatusForbidden
	case service == "eks", service == "backup":
		return "AccessDeniedException", http.StatusForbidden
	}
	return "AccessDeniedException", http.StatusBadRequest
}

// Ask is a request for a policy to evaluate by itself, as a caller makes it.
func Ask(tx *account.Tx, caller, action, resource string, context map[string][]string) policy.Request {
	p := identify(tx, caller)
	return policy.Request{
		Type: "AWS", Principal: p.arn, Role: p.role, Action: action, Resource: resource,
		Context: &conditions{tx: tx, p: &p, action: action, resource: resource, own: context},
	}
}
