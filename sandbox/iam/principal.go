package iam

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// kind is what sort of caller a principal is.
type kind int

const (
	service kind = iota // AWS itself, in its own name
	root                // the account
	user
	session // of a role
	foreign // of another account
)

// Session of the service role that CloudFormation takes on.
const stackSession = "AWSCloudFormation"

// principal is a caller as policies know it.
type principal struct {
	kind kind
	// arn is the session's or user's, as messages show it, and role that of the
	// role that it is a session of.
	arn, role string
	// entity is the role or user; nil if it is no more, or isn't one.
	entity *account.Resource
	// session is what the credentials carry, or nil.
	session *account.Session
}

// identify finds out who a caller is, by its ARN: a session of a role, a user,
// the account, or a role, which stands for the session that CloudFormation has
// of it. What isn't an ARN is AWS itself.
func identify(tx *account.Tx, caller string) principal {
	p := principal{arn: caller}
	if !strings.HasPrefix(caller, "arn:") {
		return p
	}
	if policy.AccountOf(caller) != tx.AccountID() {
		p.kind = foreign
		return p
	}
	if caller == tx.Caller {
		p.session = tx.Session
	}
	rest := caller[strings.LastIndexByte(caller, ':')+1:]
	what, name, _ := strings.Cut(rest, "/")
	last := name[strings.LastIndexByte(name, '/')+1:]
	switch what {
	case "root":
		p.kind = root
	case "user":
		p.kind, p.entity = user, tx.Get(TypeUser, last)
	case "assumed-role":
		p.kind = session
		role, _, _ := strings.Cut(name, "/")
		p.entity = tx.Get(TypeRole, role)
	case "role":
		p.kind, p.role, p.entity = session, caller, tx.Get(TypeRole, last)
		p.arn = tx.GlobalARN("sts", "assumed-role/"+last+"/"+stackSession)
	default:
		p.kind = foreign
	}
	if p.entity != nil {
		arn := props.Str(p.entity.Attrs, "Arn")
		switch {
		case p.session != nil && p.session.Entity != "" && p.session.Entity != entityID(p.entity), p.kind == user && arn != caller, p.role != "" && arn != p.role:
			// Another one of the same name.
			p.entity = nil
		case p.kind == session:
			p.role = arn
		}
	}
	return p
}

// entityID is the unique id of a role or user.
func entityID(r *account.Resource) string {
	if r.Type == TypeUser {
		return props.Str(r.Attrs, "UserId")
	}
	return props.Str(r.Attrs, "RoleId")
}

// UserID is the unique id of a caller: that of the role with the session's name,
// or that of the user. The account's own is its number.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-infotouse
func UserID(tx *account.Tx, caller string) string {
	p := identify(tx, caller)
	return p.id(tx)
}

func (p *principal) id(tx *account.Tx) string {
	if p.entity == nil {
		return tx.AccountID()
	}
	if p.kind == session {
		return entityID(p.entity) + ":" + p.arn[strings.LastIndexByte(p.arn, '/')+1:]
	}
	return entityID(p.entity)
}

// attached is a policy that applies to a principal.
type attached struct {
	// id and source are what the simulator calls the policy.
	id, source string
	// doc is nil for those of AWS's policies whose text isn't known here.
	doc *policy.Document
}

// identityPolicies are the policies of a role or user, as they are seen.
func identityPolicies(tx *account.Tx, e *account.Resource) []attached {
	if e == nil {
		return nil
	}
	p := seen(tx, e)
	kind := kindName(e.Type)
	var out []attached
	for _, arn := range attachedTo(tx, e, p) {
		out = append(out, managed(tx, arn))
	}
	for _, x := range InlinePolicies(tx, e, p) {
		a := attached{id: kind + "_" + e.ID + "_" + props.Str(x, "PolicyName"), source: kind}
		// What is attached was checked.
		a.doc, _ = policy.Parse(x["PolicyDocument"], policy.Identity)
		out = append(out, a)
	}
	return out
}

// managed is a managed policy, of this account or of AWS.
func managed(tx *account.Tx, arn string) attached {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	if rest, ok := strings.CutPrefix(arn, "arn:"+tx.Partition()+":iam::aws:policy/"); ok {
		return attached{id: name, source: "aws-managed", doc: awsDocument(rest)}
	}
	a := attached{id: name, source: "user-managed"}
	if p := tx.Get(TypeManagedPolicy, arn); p != nil {
		a.doc, _ = policy.Parse(seen(tx, p)["PolicyDocument"], policy.Identity)
	}
	if a.doc == nil {
		// Detached or deleted: it says nothing.
		a.doc = &policy.Document{}
	}
	return a
}

// boundary is the permissions boundary of a role or user, or nil.
func boundary(tx *account.Tx, e *account.Resource) *attached {
	if e == nil {
		return nil
	}
	arn := props.Str(seen(tx, e), "PermissionsBoundary")
	if arn == "" {
		return nil
	}
	a := managed(tx, arn)
	return &a
}

// conditions are the values of condition keys for one demand of a principal.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
type conditions struct {
	tx       *account.Tx
	p        *principal
	action   string
	resource string
	// own are those that belong to the demand; they win.
	own map[string][]string
}

// Values is the [policy.Context]. Requests count as sent over TLS: the sandbox
// stands for endpoints that take nothing else.
func (c *conditions) Values(key string) []string {
	if v, ok := c.own[key]; ok {
		return v
	}
	for k, v := range c.own {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	prefix, name, _ := strings.Cut(key, ":")
	switch prefix {
	case "aws":
		return c.global(name)
	case "s3":
		if !strings.HasPrefix(c.action, "s3:") {
			return nil
		}
		switch name {
		case "tlsversion":
			return []string{"1.3"}
		case "signatureversion":
			return []string{"AWS4-HMAC-SHA256"}
		case "authtype":
			return []string{"REST-HEADER"}
		case "resourceaccount":
			return []string{c.tx.AccountID()}
		}
	case "kms":
		if name == "calleraccount" && c.p.kind != foreign {
			return []string{c.tx.AccountID()}
		}
	}
	return nil
}

func (c *conditions) global(name string) []string {
	if tag, ok := strings.CutPrefix(name, "principaltag/"); ok {
		return c.principalTag(tag)
	}
	direct := c.own["aws:CalledVia"] == nil
	s := c.p.session
	value := ""
	switch name {
	case "principalarn":
		value = c.p.arn
		if c.p.role != "" {
			value = c.p.role
		}
	case "principalaccount":
		if c.p.kind != service {
			value = policy.AccountOf(c.p.arn)
		}
	case "principaltype":
		value = map[kind]string{root: "Account", user: "User", session: "AssumedRole"}[c.p.kind]
	case "principalisawsservice":
		value = strconv.FormatBool(c.p.kind == service)
	case "userid":
		if c.p.kind != service && c.p.kind != foreign {
			value = c.p.id(c.tx)
		}
	case "username":
		if c.p.kind == user && c.p.entity != nil {
			value = c.p.entity.ID
		}
	case "viaawsservice":
		value = strconv.FormatBool(!direct)
	case "calledviafirst", "calledvialast":
		if via := c.own["aws:CalledVia"]; len(via) > 0 && name == "calledviafirst" {
			value = via[0]
		} else if len(via) > 0 {
			value = via[len(via)-1]
		}
	case "sourceip":
		if o := c.tx.Origin; o != nil && direct {
			if _, err := netip.ParseAddr(o.SourceIP); err == nil {
				value = o.SourceIP
			}
		}
	case "useragent":
		if o := c.tx.Origin; o != nil {
			value = o.UserAgent
		}
	case "requestedregion":
		value = c.tx.Region()
		if strings.HasPrefix(c.action, "iam:") || strings.HasPrefix(c.action, "route53:") {
			value = wire.HomeRegion(value)
		}
	case "currenttime":
		value = c.tx.Now().UTC().Format(time.RFC3339)
	case "epochtime":
		value = strconv.FormatInt(c.tx.Now().Unix(), 10)
	case "securetransport":
		value = "true"
	case "tokenissuetime":
		if s != nil {
			value = s.Issued.UTC().Format(time.RFC3339)
		}
	case "multifactorauthpresent":
		if s != nil {
			value = "false"
		}
	case "federatedprovider":
		if s != nil {
			value = s.Provider
		}
	case "sourceidentity":
		if s != nil {
			value = s.SourceIdentity
		}
	case "sourceowner":
		if strings.HasPrefix(strings.ToLower(c.action), "sns:") && c.p.kind != foreign {
			value = c.tx.AccountID()
		}
	case "resourceaccount":
		if c.resource != "*" {
			if value = policy.AccountOf(c.resource); value == "" {
				value = c.tx.AccountID()
			}
		}
	}
	if value == "" {
		return nil
	}
	return []string{value}
}

// principalTag: a session's tag hides that of its role.
func (c *conditions) principalTag(name string) []string {
	find := func(tags map[string]string) []string {
		for k, v := range tags {
			if strings.EqualFold(k, name) {
				return []string{v}
			}
		}
		return nil
	}
	if s := c.p.session; s != nil {
		if v := find(s.Tags); v != nil {
			return v
		}
	}
	if c.p.entity != nil {
		return find(c.p.entity.Tags)
	}
	return nil
}
