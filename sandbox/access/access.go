// Package access says which permissions a call needs: the actions, the
// resources they are asked on and the condition keys that policies may test.
// Who has them is decided elsewhere, by package iam.
//
// Actions, their resource types and their condition keys are AWS's: generated
// from the Service Authorization Reference. What a call works on is read from
// its parameters and looked up in the account; what is not there has the ARN
// that it would have, with asterisks for ids that only AWS gives.
//
// What CloudFormation asks for on somebody's behalf is in [Handler].
//
// Limits: the keys that are handed on are those on tags, and those named in
// this package; a policy that tests another one tests a key that is absent.
package access

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Demand is one permission that a call needs. A call may need several, such as
// iam:PassRole beside its own action.
type Demand struct {
	// Action is the IAM action, "ec2:CreateVpc".
	Action string
	// Resources are the ARNs on all of which the action must be allowed; "*"
	// where AWS lists no resource type for the action.
	Resources []string
	// Context are the values of condition keys that belong to this demand,
	// such as aws:RequestTag/Name or iam:PassedToService; keys that every
	// request has, such as aws:SourceIp, are not among them.
	Context map[string][]string
}

// call is a request while its demands are made out.
type call struct {
	tx   *account.Tx
	r    *wire.Request
	tags map[string]string // that the request sets
	keys []string          // of tags that it sets or removes
}

// rule says what an operation needs.
type rule struct {
	// action is the IAM action's name; empty for the operation's.
	action string
	// on are the resources that it works on; nil where AWS lists none.
	on func(*call) []target
	// also are further demands.
	also func(*call) []Demand
	// context adds condition keys to the operation's own demand.
	context func(*call, map[string][]string)
	// make are all demands, where they don't follow from the others.
	make func(*call) []Demand
}

// prefixes are those of IAM where the service signs by another name.
var prefixes = map[string]string{"monitoring": "cloudwatch"}

// free are the operations that need no permission.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
var free = map[string]bool{"sts:GetCallerIdentity": true}

// Of are the demands of a request, its own action first; none if everybody may
// make it.
func Of(tx *account.Tx, r *wire.Request) []Demand {
	name := r.Service + ":" + r.Operation
	if free[name] {
		return nil
	}
	c := &call{tx: tx, r: r}
	c.readTags()
	rule := rules()[name]
	if rule.make != nil {
		return rule.make(c)
	}
	action := ActionOf(r.Service, r.Operation)
	var on []target
	if rule.on != nil {
		on = rule.on(c)
	}
	out := c.demands(action, on)
	if rule.context != nil {
		for i := range out {
			rule.context(c, out[i].Context)
		}
	}
	if rule.also != nil {
		out = append(out, rule.also(c)...)
	}
	return out
}

// ActionOf is the IAM action of an operation of the service with that signing
// name; "" if it needs none.
func ActionOf(service, operation string) string {
	name := service + ":" + operation
	if free[name] {
		return ""
	}
	if a := rules()[name].action; a != "" {
		return a
	}
	if p, ok := prefixes[service]; ok {
		service = p
	}
	return service + ":" + operation
}

// further are the actions that calls may need beside those of operations.
var further = []string{
	"acm:AddTagsToCertificate", "backup:TagResource", "ec2:CreateTags", "ecr:TagResource", "eks:TagResource", "elasticloadbalancing:AddTags",
	"iam:PassRole", "iam:TagInstanceProfile", "iam:TagOpenIDConnectProvider", "iam:TagPolicy", "iam:TagRole", "iam:TagUser",
	"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptTo", "kms:TagResource", "logs:TagResource", "rds:AddTagsToResource", "rds:CreateDBSnapshot",
	"s3:BypassGovernanceRetention", "s3:DeleteObjectVersion", "s3:DeleteObjectVersionTagging", "s3:GetObjectVersion", "s3:GetObjectVersionAcl", "s3:GetObjectVersionAttributes", "s3:GetObjectVersionTagging", "s3:PutObjectAcl", "s3:PutObjectLegalHold", "s3:PutObjectRetention",
	"s3:PutObjectTagging", "s3:PutObjectVersionTagging",
	"secretsmanager:CreateSecret", "secretsmanager:TagResource", "ssm:AddTagsToResource",
}

// Further are the actions that calls may need beside those of their operations.
func Further() []string { return slices.Clone(further) }

// readTags takes note of the tags in a request, whichever form they have.
func (c *call) readTags() {
	in := c.r.In
	for _, name := range []string{"Tags", "tags", "Tag", "HostedZoneTags"} {
		if v, ok := in[name]; ok {
			c.addTags(wire.TagMap(v))
		}
	}
	for _, name := range []string{"TagSpecification", "TagSpecifications"} {
		if _, ok := in[name]; ok {
			for _, s := range c.r.Maps(name) {
				c.addTags(wire.TagMap(s["Tag"]))
			}
		}
	}
	for _, name := range []string{"TagKeys", "tagKeys"} {
		if _, ok := in[name]; ok {
			c.keys = append(c.keys, c.r.Strings(name)...)
		}
	}
	if len(c.keys) > 1 {
		slices.Sort(c.keys)
		c.keys = slices.Compact(c.keys)
	}
}

func (c *call) addTags(tags map[string]string) {
	if c.tags == nil {
		c.tags = map[string]string{}
	}
	maps.Copy(c.tags, tags)
	for k := range tags {
		c.keys = append(c.keys, k)
	}
}

// demands asks for an action on resources: one demand for each, since its tags
// are its own. None means that AWS lists no resource type.
func (c *call) demands(action string, on []target) []Demand {
	if len(on) == 0 {
		return []Demand{{Action: action, Resources: []string{"*"}, Context: c.context(action, nil)}}
	}
	out := make([]Demand, 0, len(on))
	for _, t := range on {
		out = append(out, Demand{Action: action, Resources: []string{t.arn}, Context: c.context(action, t.res)})
	}
	return out
}

// context are the condition keys on tags that the action knows.
func (c *call) context(action string, res *account.Resource) map[string][]string {
	ctx := map[string][]string{}
	tests := facts().tested(action)
	if len(c.keys) > 0 && tests.tagKeys {
		ctx["aws:TagKeys"] = c.keys
		if tests.requestTags {
			for k, v := range c.tags {
				ctx["aws:RequestTag/"+k] = []string{v}
			}
		}
	}
	if res != nil {
		resourceTags(ctx, tests, res.Tags)
	}
	if tests.callerAccount {
		ctx["kms:CallerAccount"] = []string{c.tx.AccountID()}
	}
	return ctx
}

// resourceTags adds a resource's tags by the general key and by the service's
// own.
func resourceTags(ctx map[string][]string, tests tested, tags map[string]string) {
	if !tests.resourceTags && tests.own == "" {
		return
	}
	for k, v := range tags {
		value := []string{v}
		if tests.resourceTags {
			ctx["aws:ResourceTag/"+k] = value
		}
		if tests.own != "" {
			ctx[tests.own+k] = value
		}
	}
}

// ownTagKey is the service's own condition key of resources' tags, or "".
func ownTagKey(action string) string {
	switch service, _, _ := strings.Cut(action, ":"); service {
	case "ec2", "elasticloadbalancing", "autoscaling", "iam", "secretsmanager", "ssm", "ecr", "s3":
		return service + ":ResourceTag/"
	case "rds":
		return "rds:db-tag/"
	}
	return ""
}

// one is the resource of a type that a parameter names. Without the parameter
// it is any of them.
func one(typ, parameter string) func(*call) []target {
	return func(c *call) []target {
		if ref := c.r.String(parameter); ref != "" {
			return []target{find(c.tx, typ, ref)}
		}
		return []target{{arn: arnOf(c.tx, kinds[typ].iam, "*")}}
	}
}

// each are the resources of a type that a list parameter names; any of them if
// it is absent.
func each(typ, parameter string) func(*call) []target {
	return func(c *call) []target {
		refs := c.r.Strings(parameter)
		if len(refs) == 0 {
			return []target{{arn: arnOf(c.tx, kinds[typ].iam, "*")}}
		}
		out := make([]target, 0, len(refs))
		for _, ref := range refs {
			out = append(out, find(c.tx, typ, ref))
		}
		return out
	}
}

// newly are resources that the call makes, whose ids only AWS knows.
func newly(iam ...string) func(*call) []target {
	return func(c *call) []target {
		out := make([]target, 0, len(iam))
		for _, t := range iam {
			out = append(out, target{arn: arnOf(c.tx, t, "*")})
		}
		return out
	}
}

// named is the resource that the call makes, with the name in a parameter.
func named(iam, parameter string) func(*call) []target {
	return func(c *call) []target {
		name := c.r.String(parameter)
		if name == "" {
			name = "*"
		}
		return []target{{arn: arnOf(c.tx, iam, name)}}
	}
}

// both are the resources of several.
func both(l ...func(*call) []target) func(*call) []target {
	return func(c *call) []target {
		var out []target
		for _, f := range l {
			out = append(out, f(c)...)
		}
		return out
	}
}

// byARN are the resources that a parameter has ARNs of, of whichever type the
// service has: where there are several types, they are looked up in all.
func byARN(parameter string, types ...string) func(*call) []target {
	return func(c *call) []target {
		var out []target
		for _, ref := range c.r.Strings(parameter) {
			found := target{arn: ref}
			for _, typ := range types {
				if t := find(c.tx, typ, ref); t.res != nil {
					found.res = t.res
					break
				}
			}
			out = append(out, found)
		}
		if len(out) == 0 && len(types) > 0 {
			out = append(out, target{arn: arnOf(c.tx, kinds[types[0]].iam, "*")})
		}
		return out
	}
}

// demand is a further permission.
func (c *call) demand(action string, on []target, context ...string) []Demand {
	out := c.demands(action, on)
	for i := range out {
		for k := 0; k+1 < len(context); k += 2 {
			out[i].Context[context[k]] = []string{context[k+1]}
		}
	}
	return out
}

// tagging asks for the action that tags, if the request has tags.
func tagging(action string, on func(*call) []target) func(*call) []Demand {
	return func(c *call) []Demand {
		if len(c.tags) == 0 {
			return nil
		}
		return c.demands(action, on(c))
	}
}

// pass asks for iam:PassRole on a role that the request hands to a service.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
func (c *call) pass(role, service string) []Demand {
	if role == "" {
		return nil
	}
	return c.demand("iam:PassRole", []target{find(c.tx, "AWS::IAM::Role", role)}, "iam:PassedToService", service)
}

// passing asks for iam:PassRole on the role in a parameter.
func passing(parameter, service string) func(*call) []Demand {
	return func(c *call) []Demand { return c.pass(c.r.String(parameter), service) }
}

// all joins further demands.
func all(l ...func(*call) []Demand) func(*call) []Demand {
	return func(c *call) []Demand {
		var out []Demand
		for _, f := range l {
			out = append(out, f(c)...)
		}
		return out
	}
}

// set puts a parameter into the context as a condition key.
func set(key, parameter string) func(*call, map[string][]string) {
	return func(c *call, ctx map[string][]string) {
		if v := c.r.Strings(parameter); len(v) > 0 {
			ctx[key] = v
		}
	}
}

// sets joins.
func sets(l ...func(*call, map[string][]string)) func(*call, map[string][]string) {
	return func(c *call, ctx map[string][]string) {
		for _, f := range l {
			f(c, ctx)
		}
	}
}

// through asks for a permission on the customer's key that the service uses in
// the caller's name; AWS's own keys need none.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
func (c *call) through(service, key string, actions ...string) []Demand {
	if key == "" || strings.HasPrefix(key, "alias/aws/") {
		return nil
	}
	t := c.key(key)
	if t.res != nil && props.Str(t.res.Data["AWSManaged"]) != "" {
		return nil
	}
	var out []Demand
	for _, a := range actions {
		d := c.demand(a, []target{t}, "kms:ViaService", service+"."+c.tx.Region()+".amazonaws.com")
		out = append(out, d...)
	}
	return out
}

// within binds demands of a key's use to an encryption context.
func within(out []Demand, name, value string) []Demand {
	for i := range out {
		out[i].Context["kms:EncryptionContext:"+name] = []string{value}
	}
	return out
}

// key is the key of an id, an ARN or an alias.
func (c *call) key(ref string) target {
	if ref == "" {
		return target{arn: arnOf(c.tx, "kms:key", "*")}
	}
	if i := strings.Index(ref, "alias/"); i == 0 || i > 0 && strings.HasPrefix(ref, "arn:") {
		if a := c.tx.Get("AWS::KMS::Alias", ref[i:]); a != nil {
			ref = props.Str(a.Props["TargetKeyId"])
		} else {
			return target{arn: arnOf(c.tx, "kms:key", "*")}
		}
	}
	return find(c.tx, "AWS::KMS::Key", ref)
}
