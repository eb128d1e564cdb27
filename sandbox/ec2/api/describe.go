package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// object is an element of an answer, by the names of its members on the wire.
type object = map[string]any

// listing is a Describe operation: what there is, as it is answered, and how
// it can be asked for.
type listing struct {
	name string
	set  string // the answer's list
	// ids are the request's lists of wanted ids, with the member that they
	// are compared with.
	ids map[string]string
	// missing has the code and the words for a wanted id that isn't there.
	missing [2]string
	// filters are the known filters with the path of the value in an item;
	// "vpc-id": "vpcId". Those on tags are known wherever there is a tagSet.
	filters map[string]string
	items   func(tx *account.Tx, r *wire.Request) ([]object, error)
	// finish makes the answer of the chosen items where it isn't a list.
	finish func(tx *account.Tx, items []object) object
	// unpaged operations have no MaxResults.
	unpaged bool
}

func (l listing) operation() wire.Operation {
	return wire.Operation{Name: l.name, Do: func(tx *account.Tx, r *wire.Request) (any, error) {
		items, err := l.items(tx, r)
		if err != nil {
			return nil, err
		}
		if items, err = l.choose(items, r); err != nil {
			return nil, err
		}
		if items, err = l.filter(items, r); err != nil {
			return nil, err
		}
		var next string
		if !l.unpaged {
			if items, next, err = l.page(items, r); err != nil {
				return nil, err
			}
		}
		out := object{l.set: anys(items)}
		if l.finish != nil {
			out = l.finish(tx, items)
		}
		if next != "" {
			out["nextToken"] = next
		}
		return out, nil
	}}
}

// choose keeps the items with the wanted ids, all of which must exist.
func (l listing) choose(items []object, r *wire.Request) ([]object, error) {
	for parameter, member := range l.ids {
		wanted := r.Strings(parameter)
		if len(wanted) == 0 {
			continue
		}
		if r.Has("MaxResults") && !l.unpaged {
			return nil, account.Errorf("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", lower(parameter))
		}
		for _, id := range wanted {
			if !slices.ContainsFunc(items, func(i object) bool { return props.Str(i, member) == id }) {
				return nil, l.absent(id)
			}
		}
		items = slices.DeleteFunc(items, func(i object) bool { return !slices.Contains(wanted, props.Str(i, member)) })
	}
	return items, nil
}

var wellFormed = regexp.MustCompile(`^[a-z]+-[0-9a-f]{8,17}$`)

// absent is EC2's answer to an id that isn't there, which differs for one that
// couldn't be.
func (l listing) absent(id string) error {
	code, ok := strings.CutSuffix(l.missing[0], "ID.NotFound")
	if ok && !wellFormed.MatchString(id) {
		return account.Errorf(malformed(code), "Invalid id: \"%s\"", id)
	}
	return account.Errorf(l.missing[0], l.missing[1], id)
}

// filter keeps the items that fit all filters.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
func (l listing) filter(items []object, r *wire.Request) ([]object, error) {
	for _, f := range r.Maps("Filter") {
		name := props.Str(f, "Name")
		path, ok := l.filters[name]
		key, tag := strings.CutPrefix(name, "tag:")
		switch {
		case tag || name == "tag-key":
			_, ok = l.filters["tag"]
		case name == "tag":
			ok = false
		}
		if !ok {
			return nil, account.Errorf("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		want := wire.List(f["Value"])
		if len(want) == 0 {
			return nil, account.Errorf("InvalidParameterValue", "The filter '%s' must have at least one value", name)
		}
		items = slices.DeleteFunc(items, func(i object) bool {
			var have []string
			switch {
			case tag:
				for _, t := range tagsOf(i) {
					if props.Str(t, "key") == key {
						have = append(have, props.Str(t, "value"))
					}
				}
			case name == "tag-key":
				have = values(anys(tagsOf(i)), "key")
			default:
				have = values(i, strings.Split(path, ".")...)
			}
			return !slices.ContainsFunc(want, func(w any) bool {
				return slices.ContainsFunc(have, func(h string) bool { return policy.Like(props.Str(w), h) })
			})
		})
	}
	return items, nil
}

func tagsOf(i object) []object { return props.Maps(i, "tagSet") }

// values are the texts at the path in a value; lists are gone through. A name
// can be given as "a|b" for members that mean the same.
func values(v any, path ...string) []string {
	if list, ok := v.([]any); ok {
		var out []string
		for _, x := range list {
			out = append(out, values(x, path...)...)
		}
		return out
	}
	if len(path) == 0 {
		if v == nil {
			return nil
		}
		return []string{props.Str(v)}
	}
	m, _ := v.(object)
	var out []string
	for _, name := range strings.Split(path[0], "|") {
		out = append(out, values(m[name], path[1:]...)...)
	}
	return out
}

func (l listing) page(items []object, r *wire.Request) ([]object, string, error) {
	limit := r.Int("MaxResults", 0)
	if r.Has("MaxResults") && (limit < 5 || limit > 1000) {
		return nil, "", account.Errorf("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", r.String("MaxResults"))
	}
	return wire.Page(items, r.String("NextToken"), limit, "InvalidNextToken")
}

func anys(items []object) []any {
	out := make([]any, len(items))
	for i, x := range items {
		out[i] = x
	}
	return out
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// tagSet are tags as EC2 answers them.
func tagSet(tags map[string]string) []any {
	out := []any{}
	for _, t := range props.Pairs(tags) {
		out = append(out, object{"key": props.Str(t, "Key"), "value": props.Str(t, "Value")})
	}
	return out
}

// each makes an item of every resource of a type.
func each(typ string, item func(*account.Tx, *account.Resource) object) func(*account.Tx, *wire.Request) ([]object, error) {
	return func(tx *account.Tx, _ *wire.Request) ([]object, error) {
		var out []object
		for _, r := range tx.List(typ) {
			out = append(out, item(tx, r))
		}
		return out, nil
	}
}

// optional puts the members into the object that have a text.
func optional(o object, pairs ...string) object {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			o[pairs[i]] = pairs[i+1]
		}
	}
	return o
}

// whole is a number of a resource's properties for an answer.
func whole(v any, path ...string) any {
	if !props.Has(v, path...) {
		return nil
	}
	return props.Int(v, 0, path...)
}

func arn(tx *account.Tx, kind, id string) string {
	return tx.ARN("ec2", fmt.Sprintf("%s/%s", kind, id))
}

// malformed is the code for an id that can't be one, by the beginning of the
// code for one that isn't there: AWS writes some of them otherwise.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func malformed(code string) string {
	switch code {
	case "InvalidAllocation":
		return "InvalidElasticIpID.Malformed"
	case "InvalidInternetGateway", "InvalidNetworkAcl", "InvalidNetworkInterface", "InvalidRouteTable":
		return code + "Id.Malformed"
	}
	return code + "ID.Malformed"
}
