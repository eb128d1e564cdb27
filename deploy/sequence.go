package deploy

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/stack"
)

// part is one update of a sequence.
type part struct {
	kind string
	// why it goes on its own, for people.
	why  string
	spec stack.Spec
}

// vpcKinds splits the properties of ResourcesVpcConfig by the calls that
// change them.
var vpcKinds = map[string]string{
	"EndpointPublicAccess": "endpoint access", "EndpointPrivateAccess": "endpoint access", "PublicAccessCidrs": "endpoint access",
	"SubnetIds": "subnets and security groups", "SecurityGroupIds": "subnets and security groups",
}

// oneKindAtATime returns the updates that must come before the spec itself,
// because EKS takes one kind of cluster change per operation: all but one of
// the kinds in which the cluster's properties differ. A spec without a
// cluster, or with one kind of change, needs none. See
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
func oneKindAtATime(current []byte, spec stack.Spec, params map[string]string) []part {
	type document = map[string]any
	var old, next document
	if json.Unmarshal(current, &old) != nil || json.Unmarshal(spec.Template, &next) != nil {
		return nil
	}
	id, was, is := clusterProperties(old, next)
	if id == "" {
		return nil
	}
	kinds := map[string][]func(document){} // how to carry each kind over
	differ := func(kind, key string, was, is document, at func(document) document) {
		if !reflect.DeepEqual(was[key], is[key]) {
			kinds[kind] = append(kinds[kind], func(p document) { set(at(p), key, is[key]) })
		}
	}
	for _, key := range keysOf(was, is) {
		switch key {
		case "Tags":
		case "ResourcesVpcConfig":
			a, _ := was[key].(document)
			b, _ := is[key].(document)
			for _, k := range keysOf(a, b) {
				differ(vpcKinds[k], k, a, b, func(p document) document { v, _ := p[key].(document); return v })
			}
		default:
			differ(key, key, was, is, func(p document) document { return p })
		}
	}
	names := slices.Sorted(maps.Keys(kinds))
	if len(names) < 2 {
		return nil
	}
	held := clone(was)
	var parts []part
	for _, kind := range names[:len(names)-1] {
		for _, carry := range kinds[kind] {
			carry(held)
		}
		doc := clone(next)
		doc["Resources"].(document)[id].(document)["Properties"] = clone(held)
		// The held-back properties may refer to parameters of before.
		declared, _ := doc["Parameters"].(document)
		values := maps.Clone(spec.Parameters)
		before, _ := old["Parameters"].(document)
		for name, decl := range before {
			if _, ok := declared[name]; !ok && declared != nil {
				declared[name] = decl
				values[name] = params[name]
			}
		}
		body, err := json.Marshal(doc)
		if err != nil {
			return nil
		}
		s := spec
		s.Template, s.Parameters = body, values
		parts = append(parts, part{kind, "updating the cluster's " + kind + " on its own: EKS takes one kind of change at a time", s})
	}
	return parts
}

// parts are the updates that come before the spec's own, in order: versions
// alone, then the cluster's changes one kind at a time, or the steps of another
// NAT mode; and whether the spec gives up ways out.
func (a *applying) parts(asSent []byte, spec stack.Spec, st *stack.State) (all []part, releases bool, err error) {
	name := a.names[spec.Name]
	if name == architecture.Network {
		return natParts(asSent, spec, st)
	}
	asIs := func(body []byte) []byte {
		if spec.RevertDrift {
			return live(body, a.drift[name])
		}
		return body
	}
	if alone := versionAlone(asSent, spec, st, a.drift[name]); alone != nil {
		all, asSent = append(all, *alone), alone.spec.Template
	}
	return append(all, oneKindAtATime(asIs(asSent), spec, st.Parameters)...), false, nil
}

// versionAlone is the update that changes versions and nothing else, of a
// cluster, its nodes or a database, if there is more to change: the template as
// it is, with the new versions. It goes first, so that nodes and add-ons are
// changed on the control plane that they are meant for. It is nil if no version
// changes, or nothing else does: drift that is put back is something else, and
// what drifted to the new version already needs no change of it. See
// https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
func versionAlone(current []byte, spec stack.Spec, st *stack.State, d *stack.Drift) *part {
	type document = map[string]any
	var old, next document
	if json.Unmarshal(current, &old) != nil || json.Unmarshal(spec.Template, &next) != nil {
		return nil
	}
	resources, _ := next["Resources"].(document)
	alone := clone(old)
	before, _ := alone["Resources"].(document)
	var what []string
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		is, _ := resources[id].(document)
		was, _ := before[id].(document)
		typ, _ := is["Type"].(string)
		// Add-ons come after the nodes, by their own stacks and changes.
		if typ == "" || typ != was["Type"] || typ == "AWS::EKS::Addon" {
			continue
		}
		from, _ := was["Properties"].(document)
		to, _ := is["Properties"].(document)
		for _, p := range keysOf(from, to) {
			if guard.IsVersion(typ, p) && !reflect.DeepEqual(from[p], to[p]) && !(spec.RevertDrift && isAlready(d, id, p, to[p])) {
				set(from, p, to[p])
				what = append(what, id)
			}
		}
	}
	if len(what) == 0 || !spec.RevertDrift && reflect.DeepEqual(alone, next) && maps.Equal(spec.Parameters, st.Parameters) && maps.Equal(spec.Tags, st.Tags) {
		return nil
	}
	body, err := json.Marshal(alone)
	if err != nil {
		return nil
	}
	s := spec
	s.Template, s.Parameters, s.Tags, s.RevertDrift = body, st.Parameters, st.Tags, false
	return &part{"version", "changing the version of " + strings.Join(slices.Compact(what), ", ") + " on its own, before anything else", s}
}

// isAlready tells that a resource's property has drifted to a value.
func isAlready(d *stack.Drift, id, property string, value any) bool {
	return d != nil && slices.ContainsFunc(d.Resources, func(r stack.Drifted) bool {
		return r.LogicalID == id && reflect.DeepEqual(r.Actual[property], value)
	})
}

// clusterProperties finds the cluster that both templates have.
func clusterProperties(old, next map[string]any) (id string, was, is map[string]any) {
	resources, _ := next["Resources"].(map[string]any)
	before, _ := old["Resources"].(map[string]any)
	for id, r := range resources {
		r, _ := r.(map[string]any)
		b, _ := before[id].(map[string]any)
		if r["Type"] == "AWS::EKS::Cluster" && b["Type"] == "AWS::EKS::Cluster" {
			was, _ = b["Properties"].(map[string]any)
			is, _ = r["Properties"].(map[string]any)
			return id, was, is
		}
	}
	return "", nil, nil
}

func keysOf(a, b map[string]any) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func set(m map[string]any, key string, v any) {
	if v == nil {
		delete(m, key)
		return
	}
	m[key] = v
}

func clone(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		if sub, ok := v.(map[string]any); ok {
			v = clone(sub)
		}
		c[k] = v
	}
	return c
}
