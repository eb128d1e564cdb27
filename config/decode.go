package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder writes a file over the defaults of its profile. It goes on after a
// fault, so that all of them are reported; what is faulty keeps its default.
type decoder struct {
	file   string
	places map[string]place
	faults Faults
	// unread are the paths whose values aren't the file's, for a fault that is
	// reported: of a wrong type, or below a misspelt key.
	unread []string
}

// config decodes a file. What it needs from the profile it takes from
// evaluation if the file names none, so that the rest is checked all the same.
func (d *decoder) config(root *ast.MappingNode) *Config {
	profile := Evaluation
	if v, ok := lookup(root, "profile").(*ast.StringNode); ok && Profile(v.Value) == Production {
		profile = Production
	}
	c := Default(profile)
	c.APIVersion, c.Profile = "", "" // the file has to name them
	d.structure("", root, reflect.ValueOf(c).Elem())
	if list, ok := lookup(root, "compute").(*ast.SequenceNode); ok {
		c.Compute = d.groups(list, profile)
	}
	c.source = source{file: d.file, places: d.places}
	if audit := &c.Storage.Audit.ObjectLock; audit.Mode == LockOff {
		if _, given := d.places["storage.audit.objectLock.days"]; !given {
			audit.Days = 0
		}
	}
	if _, given := d.places["network.existing"]; given {
		d.existing(&c.Network)
	}
	return c
}

// existing takes back what the profile decides for a network of our own and the
// file leaves to it.
func (d *decoder) existing(n *Network) {
	own := Network{}
	for _, f := range []struct {
		path  string
		reset func()
	}{
		{"network.nat", func() { n.NAT = own.NAT }},
		{"network.endpoints", func() { n.Endpoints = nil }},
		{"network.flowLogs.enabled", func() { n.FlowLogs.Enabled = false }},
	} {
		if _, given := d.places[f.path]; !given {
			f.reset()
		}
	}
	if _, given := d.places["network.zones"]; !given && len(n.Existing.PrivateSubnetIDs) >= 2 {
		n.Zones = min(len(n.Existing.PrivateSubnetIDs), 3)
	}
}

// complete fills in what follows from the rest of a valid configuration.
func (c *Config) complete() {
	for _, e := range []*Endpoint{&c.Access.Web, &c.Access.Admin} {
		if len(e.AllowCIDRs) == 0 {
			e.AllowCIDRs = []string{c.Network.CIDR} // an internal load balancer
		}
	}
	c.Access.SSO.complete()
}

func lookup(m *ast.MappingNode, key string) ast.Node {
	for _, pair := range m.Values {
		if name(pair.Key) == key {
			return pair.Value
		}
	}
	return nil
}

// name is a key as it is written, without quotes.
func name(key ast.MapKeyNode) string {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	return key.GetToken().Value
}

func (d *decoder) fault(tk *token.Token, path, reason, fix string) {
	f := Fault{File: d.file, Path: path, Reason: reason, Fix: fix}
	if tk != nil && tk.Position != nil {
		f.Line, f.Column = tk.Position.Line, tk.Position.Column
	}
	d.faults = append(d.faults, f)
}

// value decodes one node into a field.
func (d *decoder) value(path string, node ast.Node, v reflect.Value) {
	wrong := func(want, fix string) {
		d.unread = append(d.unread, path)
		d.fault(first(node), path, "is "+kindOf(node)+", not "+want, fix)
	}
	if null(node) {
		d.unread = append(d.unread, path)
		d.fault(first(node), path, "has no value", "give it one, or leave the key out")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		m, ok := node.(*ast.MappingNode)
		if !ok {
			wrong("keys and values", "indent its keys below it: "+strings.Join(keys(v.Type()), ", "))
			return
		}
		d.structure(path, m, v)
	case reflect.Map:
		m, ok := node.(*ast.MappingNode)
		if !ok {
			wrong("keys and values", "write each as key: value, indented below it")
			return
		}
		d.pairs(path, m, v)
	case reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			wrong("a list", "write each item in a line of its own after - and a space")
			return
		}
		if path == "compute" {
			return // groups has its own defaults
		}
		items := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for i, item := range list.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.mark(at, first(item))
			d.value(at, item, items.Index(i))
		}
		v.Set(items)
	case reflect.String:
		switch s := node.(type) {
		case *ast.StringNode:
			v.SetString(s.Value)
		case *ast.LiteralNode:
			v.SetString(s.Value.Value)
		case ast.ScalarNode:
			wrong("text", "put it in quotes: "+strconv.Quote(node.GetToken().Value))
		default:
			wrong("text", "write one value after the key")
		}
	case reflect.Int:
		n, err := strconv.Atoi(node.GetToken().Value)
		if node.Type() != ast.IntegerType || node.GetToken().Type != token.IntegerType || err != nil {
			wrong("a whole number", "write it in digits, without quotes")
			return
		}
		v.SetInt(int64(n))
	case reflect.Bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			wrong("true or false", "write true or false, without quotes")
			return
		}
		v.SetBool(b.Value)
	}
}

func (d *decoder) structure(path string, m *ast.MappingNode, v reflect.Value) {
	known := keys(v.Type())
	for key, node := range d.each(path, m) {
		at := child(path, key)
		i := slices.Index(known, key)
		if i < 0 {
			d.fault(d.tokenOf(m, key), at, "is not a known key", unknown(path, key, known))
			if n := nearest(key, known); n != "" {
				d.unread = append(d.unread, child(path, n))
			}
			continue
		}
		d.value(at, node, v.Field(i))
	}
}

// unknown says what to do about an unknown key: a near name, or the place where
// a key of this name belongs.
func unknown(path, key string, known []string) string {
	if n := nearest(key, known); n != "" {
		return "write " + n
	}
	if places := elsewhere(reflect.TypeFor[Config](), "", key); len(places) > 0 {
		return "move it to " + strings.Join(places, " or ")
	}
	where := "at the top of the file"
	if path != "" {
		where = "in " + path
	}
	return "remove it; the keys " + where + " are " + strings.Join(known, ", ")
}

func elsewhere(t reflect.Type, path, key string) []string {
	var found []string
	for i, k := range keys(t) {
		at := child(path, k)
		if k == key {
			found = append(found, at)
		}
		if f := t.Field(i).Type; f.Kind() == reflect.Struct {
			found = append(found, elsewhere(f, at, key)...)
		}
	}
	if len(found) > 3 {
		return nil // a word that fits anywhere, such as host, is no help
	}
	return found
}

func (d *decoder) pairs(path string, m *ast.MappingNode, v reflect.Value) {
	out := reflect.MakeMapWithSize(v.Type(), len(m.Values))
	for key, node := range d.each(path, m) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(child(path, key), node, item)
		out.SetMapIndex(reflect.ValueOf(key), item)
	}
	v.Set(out)
}

// each yields the pairs of a mapping, without the second of two equal keys.
func (d *decoder) each(path string, m *ast.MappingNode) func(yield func(string, ast.Node) bool) {
	return func(yield func(string, ast.Node) bool) {
		lines := map[string]int{}
		for _, pair := range m.Values {
			tk := pair.Key.GetToken()
			key := name(pair.Key)
			if line, ok := lines[key]; ok {
				d.fault(tk, child(path, key), fmt.Sprintf("is there twice, first in line %d", line), "keep one of them")
				continue
			}
			lines[key] = tk.Position.Line
			d.mark(child(path, key), tk)
			if !yield(key, pair.Value) {
				return
			}
		}
	}
}

// groups decodes compute: each entry over the default of its role. Roles that
// no entry provides come from the profile; gpu exists only if it is listed.
func (d *decoder) groups(list *ast.SequenceNode, profile Profile) []NodeGroup {
	var out []NodeGroup
	lines := map[Role]int{}
	merged := map[Role]bool{} // groups whose also is the file's own
	for i, item := range list.Values {
		at := first(item)
		path := fmt.Sprintf("compute[%d]", i)
		d.mark(path, at)
		var group NodeGroup
		m, ok := item.(*ast.MappingNode)
		if !ok {
			d.value(path, item, reflect.ValueOf(&group).Elem())
			continue
		}
		role := d.role(path, m)
		if line, ok := lines[role]; ok {
			d.fault(at, path, fmt.Sprintf("is a second group for %s, after the one in line %d", role, line), "merge the two, or correct the role of one")
			continue
		}
		if role != "" {
			lines[role] = at.Position.Line
			path = "compute[" + string(role) + "]"
			d.mark(path, at)
			group = DefaultGroup(profile, role)
			merged[role] = lookup(m, "also") != nil
		}
		d.structure(path, m, reflect.ValueOf(&group).Elem())
		if role != "" {
			out = append(out, group)
		}
	}
	return complete(profile, out, merged)
}

// role is the role of an entry of compute, or "" and a fault.
func (d *decoder) role(path string, m *ast.MappingNode) Role {
	fix := "write one of " + strings.Join(roleNames(), ", ")
	node := lookup(m, "role")
	if node == nil {
		d.fault(first(m), path+".role", "is missing", fix)
		return ""
	}
	s, ok := node.(*ast.StringNode)
	if !ok {
		return "" // structure reports the type
	}
	if slices.Contains(roleNames(), s.Value) {
		return Role(s.Value)
	}
	if n := nearest(s.Value, roleNames()); n != "" {
		fix = "write " + n
	}
	d.fault(first(node), path+".role", quoted(s.Value)+" is not a role", fix)
	return ""
}

// complete adds the profile's groups for the roles that no group provides, and
// sorts by role. What a profile merges is apart as soon as the file says so.
func complete(profile Profile, listed []NodeGroup, merged map[Role]bool) []NodeGroup {
	provided := map[Role]bool{GPU: true}
	for _, g := range listed {
		provided[g.Role] = true
		if merged[g.Role] {
			for _, r := range g.Also {
				provided[r] = true
			}
		}
	}
	apart := func(r Role) bool { return provided[r] }
	out := slices.Clone(listed)
	for i, g := range out {
		if !merged[g.Role] {
			out[i].Also = slices.DeleteFunc(g.Also, apart)
		}
		for _, r := range out[i].Also {
			provided[r] = true
		}
	}
	for _, role := range []Role{Core, WebAssistant, Interface} {
		if provided[role] {
			continue
		}
		g := DefaultGroup(profile, role)
		g.Also = slices.DeleteFunc(g.Also, apart)
		for _, r := range g.Also {
			provided[r] = true
		}
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b NodeGroup) int {
		return slices.Index(roleNames(), string(a.Role)) - slices.Index(roleNames(), string(b.Role))
	})
	return out
}

func (d *decoder) mark(path string, tk *token.Token) {
	if tk != nil && tk.Position != nil {
		d.places[path] = place{tk.Position.Line, tk.Position.Column}
	}
}

func (d *decoder) tokenOf(m *ast.MappingNode, key string) *token.Token {
	for _, pair := range m.Values {
		if name(pair.Key) == key {
			return pair.Key.GetToken()
		}
	}
	return m.GetToken()
}

// first is the token where a node begins; a mapping's own token is the colon
// after its first key.
func first(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	}
	return node.GetToken()
}

func null(node ast.Node) bool {
	if node == nil {
		return true
	}
	return node.Type() == ast.NullType
}

func kindOf(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return "the text " + quoted(n.Value)
	case *ast.LiteralNode:
		return "text of several lines"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + node.GetToken().Value
	case *ast.BoolNode:
		return "the truth value " + n.GetToken().Value
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}

// keys are the names of a type's fields in the file, in order. Every exported
// field has one, and they come before the others.
func keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}
