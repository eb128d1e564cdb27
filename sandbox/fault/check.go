package fault

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Known is what a plan is held to; what is nil is not known, and not checked.
type Known struct {
	// Operations are the API operations by the services' signing names.
	Operations map[string][]string
	// Types are the resource types, and Zones the names and ids of the zones.
	Types, Zones []string
	// Resources are all that there will be in stacks.
	Resources []Resource
}

// Resource is a stack's resource.
type Resource struct{ Stack, LogicalID, Type string }

// stackType is the type of stacks in their own events.
const stackType = "AWS::CloudFormation::Stack"

// once are the kinds that happen once.
var once = []string{"call", "inFlight", "zone", "crash", "failover", "full"}

// shared are the kinds that share can thin out.
var shared = []string{"throttle", "error", "slow", "cut", "fail"}

// Kind is the name of what goes wrong, as in the file; "" if it is none or
// several.
func (f *Fault) Kind() string {
	if k := f.kinds(); len(k) == 1 {
		return k[0]
	}
	return ""
}

// kinds are the kinds that are set.
func (f *Fault) kinds() []string {
	var out []string
	v := reflect.ValueOf(f).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.Pointer && !field.IsNil() {
			out = append(out, v.Type().Field(i).Tag.Get("yaml"))
		}
	}
	return out
}

// kindNames are all kinds, in order.
func kindNames() []string {
	var out []string
	t := reflect.TypeFor[Fault]()
	for i := range t.NumField() {
		if t.Field(i).Type.Kind() == reflect.Pointer {
			out = append(out, t.Field(i).Tag.Get("yaml"))
		}
	}
	return out
}

// complete fills in defaults.
func (p *Plan) complete() {
	for i := range p.Faults {
		f := &p.Faults[i]
		if f.Times == 0 {
			f.Times = Always
			switch f.Kind() {
			case "cut", "fail":
				if f.Share == 0 && f.For == 0 {
					f.Times = 1
				}
			case "call", "inFlight", "zone", "failover", "full":
				f.Times = 1
			}
		}
		if f.Share == 0 {
			f.Share = 1
		}
		if f.When.Call != nil && f.When.Call.Number == 0 {
			f.When.Call.Number = 1
		}
		if f.Fail != nil {
			f.Fail.complete()
		}
		if f.Error != nil && f.Error.Status == 0 {
			f.Error.Status = 500
		}
		if f.InFlight != nil && f.For == 0 {
			f.For = 5 * time.Minute
		}
		if f.Crash != nil {
			// Whoever asks meanwhile meets it, too.
			f.For, f.Times = cmp.Or(f.For, time.Minute), Always
		}
	}
}

func (f *Fail) complete() {
	e, ok := entry(f.Error)
	if len(f.On) == 0 {
		f.On = []string{"create"}
		if ok && len(e.On) > 0 {
			f.On = e.On
		}
	}
	if ok {
		f.Code, f.Message, f.Status, f.Late = e.Code, e.Message, e.Status, f.Late || e.Late
		if f.Type == "" {
			f.Type = e.Types
		}
	}
}

// checker checks one fault.
type checker struct {
	*decoder
	known Known
	at    string // the fault's path
}

// check holds a plan to the rules.
func (d *decoder) check(p *Plan, k Known) {
	ids := map[string]bool{}
	form := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
	for i := range p.Faults {
		f := &p.Faults[i]
		c := &checker{d, k, fmt.Sprintf("faults[%d]", i)}
		switch {
		case c.skip("id"):
		case f.ID == "":
			c.wrong("id", "is missing", "name the fault, for example throttled-nights")
		case !form.MatchString(f.ID):
			c.wrong("id", fmt.Sprintf("%q is no name for a fault", f.ID), "use up to 64 letters, digits and hyphens")
		case ids[f.ID]:
			c.wrong("id", f.ID+" is the name of another fault too", "give each its own")
		}
		ids[f.ID] = true
		c.fault(f)
	}
}

// wrong reports a mistake at a key of the fault.
func (c *checker) wrong(key, reason, fix string) {
	at := c.at
	if key != "" {
		at += "." + key
	}
	tk := c.places[at]
	for parent := at; tk == nil && parent != ""; tk = c.places[parent] {
		i := strings.LastIndexByte(parent, '.')
		if i < 0 {
			break
		}
		parent = parent[:i]
	}
	c.mistake(tk, at, reason, fix)
}

// skip tells that a value could not be read, which is reported already.
func (c *checker) skip(key string) bool {
	at := c.at + "." + key
	if slices.Contains(c.strange, at[:strings.LastIndexByte(at, '.')]) && strings.Contains(key, ".") {
		return true
	}
	return slices.ContainsFunc(c.unread, func(u string) bool { return u == at || u == c.at || strings.HasPrefix(at, u+".") })
}

func (c *checker) fault(f *Fault) {
	kinds := f.kinds()
	if len(kinds) != 1 {
		if len(kinds) == 0 && slices.Contains(c.strange, c.at) || slices.Contains(c.unread, c.at) || slices.ContainsFunc(c.unread, func(u string) bool { return strings.HasPrefix(u, c.at+".") }) {
			return
		}
		reason := "has no kind"
		if len(kinds) > 1 {
			reason = "has several kinds: " + strings.Join(kinds, ", ")
		}
		c.wrong("", reason, "give it exactly one of "+strings.Join(kindNames(), ", "))
		return
	}
	kind := kinds[0]
	if f.Share != 0 && (f.Share < 0 || f.Share > 1) && !c.skip("share") {
		c.wrong("share", fmt.Sprintf("%v is no share", f.Share), "write a number above 0 and up to 1")
	} else if f.Share != 0 && !slices.Contains(shared, kind) {
		c.wrong("share", "has no meaning for "+kind, "leave it out; it is for "+strings.Join(shared, ", "))
	}
	if f.Times != 0 && f.Times != 1 && slices.Contains(once, kind) {
		c.wrong("times", kind+" happens once", "leave it out, or write one fault for each time")
	}
	c.moment(&f.When)
	switch {
	case f.Throttle != nil:
		c.calls("throttle", f.Throttle.Service, f.Throttle.Operation)
	case f.Error != nil:
		c.refusal(f.Error)
	case f.Slow != nil:
		c.calls("slow", f.Slow.Service, f.Slow.Operation)
		if f.Slow.By <= 0 && !c.skip("slow.by") {
			c.wrong("slow.by", "is missing", "say how late the answer is, for example 20s")
		}
	case f.Cut != nil:
		c.calls("cut", f.Cut.Service, f.Cut.Operation)
	case f.Expire != nil:
		c.calls("expire", f.Expire.Service, f.Expire.Operation)
	case f.Fail != nil:
		c.fail(f.Fail)
	case f.Capacity != nil:
		c.glob("capacity.instanceType", f.Capacity.InstanceType)
		c.zone("capacity.zone", f.Capacity.Zone)
	case f.Quota != nil:
		c.quota(f.Quota)
	case f.Interfaces != nil:
		c.interfaces(f.Interfaces)
	case f.Propagation != nil:
		if t := f.Propagation.Takes; (t <= 0 || t > time.Minute) && !c.skip("propagation.takes") {
			c.wrong("propagation.takes", fmt.Sprintf("is %s", t), "write a duration of up to a minute, such as 45s")
		}
	case f.InFlight != nil:
		c.inFlight(f.InFlight)
	case f.Call != nil:
		c.call(f.Call)
	case f.Zone != nil:
		if f.Zone.Name == "" && !c.skip("zone.name") {
			c.wrong("zone.name", "is missing", "name a zone, such as us-east-1a")
		}
		c.zone("zone.name", f.Zone.Name)
	default:
		c.servers(f)
	}
}

// glob checks a pattern.
func (c *checker) glob(key, pattern string) bool {
	if _, err := path.Match(pattern, ""); err != nil {
		c.wrong(key, fmt.Sprintf("%q is no pattern", pattern), "* stands for any text and ? for one character; close [ by ]")
		return false
	}
	return true
}

// among checks that a pattern fits one of the known names at least.
func (c *checker) among(key, pattern, what string, names []string) {
	if pattern == "" || !c.glob(key, pattern) || names == nil || c.skip(key) {
		return
	}
	if slices.ContainsFunc(names, func(n string) bool { return matches(pattern, n) }) {
		return
	}
	fix := "the sandbox has none like it"
	if n := near(pattern, names); n != "" {
		fix = "write " + n
	}
	c.wrong(key, fmt.Sprintf("%s is no %s", pattern, what), fix)
}

// near is a name that differs in case, or contains or is contained.
func near(s string, names []string) string {
	low := strings.ToLower(s)
	for _, n := range names {
		if strings.EqualFold(n, s) {
			return n
		}
	}
	for _, n := range names {
		if l := strings.ToLower(n); len(low) > 2 && (strings.Contains(l, low) || strings.Contains(low, l)) {
			return n
		}
	}
	if len(names) <= 20 {
		return "one of " + strings.Join(names, ", ")
	}
	return ""
}

func (c *checker) calls(key, service, operation string) {
	if c.known.Operations == nil {
		c.glob(key+".service", service)
		c.glob(key+".operation", operation)
		return
	}
	var services, operations []string
	for s, list := range c.known.Operations {
		services = append(services, s)
		if matches(service, s) {
			operations = append(operations, list...)
		}
	}
	slices.Sort(services)
	slices.Sort(operations)
	c.among(key+".service", service, "service", services)
	if len(operations) > 0 {
		c.among(key+".operation", operation, "operation of "+orAll(service), slices.Compact(operations))
	} else {
		c.glob(key+".operation", operation)
	}
}

func orAll(s string) string {
	if s == "" || s == "*" {
		return "any service"
	}
	return s
}

func (c *checker) refusal(r *Refusal) {
	c.calls("error", r.Service, r.Operation)
	if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
		c.wrong("error.status", fmt.Sprintf("%d is no error", r.Status), "write one from 400 to 599")
	}
	if (r.Code == "") != (r.Message == "") {
		c.wrong("error", "has a code without a message, or a message without a code", "give both, or neither")
	}
	if r.Code == "" && r.Status != 0 && r.Status < 500 {
		c.wrong("error.status", "needs a code and a message", "give both; only for 500 and above the sandbox knows the services' own")
	}
}

func (c *checker) moment(m *Moment) {
	if m.Call != nil && m.Resource != nil {
		c.wrong("when", "has both a call and a resource", "keep one of them")
	}
	if n := m.Call; n != nil {
		if n.Service == "" && n.Operation == "" && !c.skip("when.call.service") {
			c.wrong("when.call", "names no call", "give a service and an operation")
		}
		c.calls("when.call", n.Service, n.Operation)
		if n.Number < 0 {
			c.wrong("when.call.number", fmt.Sprintf("is %d", n.Number), "the first call is 1")
		}
	}
	if r := m.Resource; r != nil {
		if r.Status == "" && !c.skip("when.resource.status") {
			c.wrong("when.resource.status", "is missing", "name a status of the stack's events, such as CREATE_COMPLETE")
		}
		c.glob("when.resource.status", r.Status)
		c.resource("when.resource", r.Stack, r.Resource, r.Type)
	}
}

// resource checks the patterns of stack, logical id and type, and that there
// will be a resource that fits.
func (c *checker) resource(key, stack, id, typ string) {
	before := len(c.mistakes)
	c.glob(key+".stack", stack)
	c.glob(key+".resource", id)
	if typ != stackType {
		c.among(key+".type", typ, "resource type", c.known.Types)
	}
	if len(c.mistakes) > before || c.known.Resources == nil || c.skip(key+".stack") || c.skip(key+".resource") || c.skip(key+".type") {
		return
	}
	fits := slices.ContainsFunc(c.known.Resources, func(r Resource) bool {
		return matches(stack, r.Stack) && (typ == stackType || matches(id, r.LogicalID) && matches(typ, r.Type))
	})
	if !fits {
		var stacks []string
		for _, r := range c.known.Resources {
			stacks = append(stacks, r.Stack)
		}
		slices.Sort(stacks)
		c.wrong(key, "there will be no such resource", "the stacks are "+strings.Join(slices.Compact(stacks), ", ")+"; logical ids are in their templates: poolhouse export")
	}
}

func (c *checker) fail(f *Fail) {
	for i, op := range f.On {
		if !slices.Contains([]string{"create", "update", "delete", "rollback"}, op) {
			c.wrong(fmt.Sprintf("fail.on[%d]", i), fmt.Sprintf("%q is no operation", op), "write create, update, delete or rollback")
		}
	}
	e, ok := entry(f.Error)
	switch {
	case c.skip("fail.error"):
	case f.Error != "" && !ok:
		fix := "write one of the catalogue, or code and message"
		var names []string
		for _, e := range Catalogue() {
			names = append(names, e.Name)
		}
		if n := near(f.Error, names); n != "" {
			fix = "write " + n
		}
		c.wrong("fail.error", fmt.Sprintf("%q is not in the catalogue", f.Error), fix)
	case f.Error != "" && (f.Code != "" || f.Message != "" || f.Status != 0):
		c.wrong("fail.error", "stands next to a code, message or status", "keep one of the two")
	case f.Error == "" && (f.Code == "" || f.Message == ""):
		c.wrong("fail", "has neither an error nor a code with a message", "name an error of the catalogue, such as ServiceUnavailable")
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		c.wrong("fail.status", fmt.Sprintf("%d is no error", f.Status), "write one from 400 to 599")
	}
	if ok && len(e.On) > 0 {
		for i, op := range f.On {
			if !slices.Contains(e.On, op) {
				c.wrong(fmt.Sprintf("fail.on[%d]", i), fmt.Sprintf("%s doesn't happen at %s", e.Name, op), "it happens at "+strings.Join(e.On, ", "))
			}
		}
	}
	typ := f.Type
	if ok && e.Types != "" {
		switch {
		case typ == "":
			typ = e.Types
		case !overlap(typ, e.Types, c.known.Types):
			c.wrong("fail.type", fmt.Sprintf("%s doesn't happen to %s", e.Name, typ), "it happens to "+e.Types)
		}
	}
	c.resource("fail", f.Stack, f.Resource, typ)
}

// overlap tells that two patterns have a name in common, among those known.
func overlap(a, b string, names []string) bool {
	return matches(b, a) || matches(a, b) || slices.ContainsFunc(names, func(n string) bool { return matches(a, n) && matches(b, n) })
}

func (c *checker) zone(key, zone string) { c.among(key, zone, "zone of the region", c.known.Zones) }

func (c *checker) quota(q *Quota) {
	if _, ok := quotaNamed(q.Name); !ok && !c.skip("quota.name") {
		var names []string
		for _, q := range quotas() {
			names = append(names, q.name)
		}
		c.wrong("quota.name", fmt.Sprintf("%q is no quota", q.Name), "write "+near(q.Name, names))
	}
	if q.Value < 0 {
		c.wrong("quota.value", fmt.Sprintf("is %d", q.Value), "write 0 or more")
	}
}

func (c *checker) interfaces(i *Interfaces) {
	var names []string
	for _, o := range owners {
		names = append(names, o.name)
	}
	c.among("interfaces.of", i.Of, "owner of interfaces", names)
	if i.Stay == 0 && !c.skip("interfaces.stay") {
		c.wrong("interfaces.stay", "is missing", "write a duration, such as 20m, or forever")
	}
}

func (c *checker) inFlight(o *InFlight) {
	n := 0
	for _, s := range []string{o.Stack, o.Cluster, o.Database} {
		if s != "" {
			n++
		}
	}
	if n != 1 && !c.skip("inFlight.stack") {
		c.wrong("inFlight", "names not exactly one thing", "name a stack, a cluster or a database")
	}
	if o.Stack != "" && c.known.Resources != nil && !slices.ContainsFunc(c.known.Resources, func(r Resource) bool { return r.Stack == o.Stack }) {
		c.wrong("inFlight.stack", "there will be no stack "+o.Stack, "check its name")
	}
	for key, value := range map[string]string{"cluster": o.Cluster, "database": o.Database} {
		c.references("inFlight."+key, value)
	}
}

func (c *checker) call(o *Call) {
	for _, k := range []struct{ key, value string }{{"service", o.Service}, {"operation", o.Operation}} {
		if k.value == "" && !c.skip("call."+k.key) {
			c.wrong("call."+k.key, "is missing", "name it, for example ec2 and DeleteSecurityGroup")
		}
	}
	if strings.ContainsAny(o.Service+o.Operation, "*?[") {
		c.wrong("call", "has a pattern", "name one operation of one service")
		return
	}
	if o.Service != "" {
		c.calls("call", o.Service, o.Operation)
	}
	if o.As != "" && !strings.HasPrefix(o.As, "arn:") {
		c.wrong("call.as", fmt.Sprintf("%q is no ARN", o.As), "write arn:aws:iam::123456789012:user/name, or leave it out")
	}
	c.values("call.input", o.Input)
}

// values checks the references in a call's input.
func (c *checker) values(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			c.values(key+"."+k, x)
		}
	case []any:
		for i, x := range v {
			c.values(fmt.Sprintf("%s[%d]", key, i), x)
		}
	case string:
		c.references(key, v)
	}
}

// reference is a stack's resource in a text.
var reference = regexp.MustCompile(`\$\{([^{}/]+)/([A-Za-z0-9]+)(?:\.([A-Za-z0-9.]+))?\}`)

func (c *checker) references(key, s string) {
	if strings.Count(s, "${") != len(reference.FindAllString(s, -1)) {
		c.wrong(key, fmt.Sprintf("%q has a reference that can't be read", s), "write ${STACK/LOGICALID} or ${STACK/LOGICALID.ATTRIBUTE}")
		return
	}
	if c.known.Resources == nil {
		return
	}
	for _, m := range reference.FindAllStringSubmatch(s, -1) {
		if !slices.ContainsFunc(c.known.Resources, func(r Resource) bool { return r.Stack == m[1] && r.LogicalID == m[2] }) {
			c.wrong(key, fmt.Sprintf("there will be no resource %s in a stack %s", m[2], m[1]), "logical ids are in the stacks' templates: poolhouse export")
		}
	}
}

// matches tells whether a pattern fits; an empty one fits everything. Patterns
// are checked before.
func matches(pattern, s string) bool {
	if pattern == "" || pattern == "*" || pattern == s {
		return true
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return false
	}
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}
