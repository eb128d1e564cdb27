package guard

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// administrators refuses an update after which nobody who administers the
// cluster today still does, or not the one who runs it: access entries are the
// only way in, and new ones are not yet tried. See
// https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
func administrators(c Case, _ []difference) []Refusal {
	before, was := c.Before[architecture.Cluster]
	after, is := c.After[architecture.Cluster]
	if !is {
		return nil
	}
	if !was {
		return mayCreate(c, after.Name)
	}
	old, next := principals(before), principals(after)
	if len(old) == 0 {
		return nil
	}
	refuse := func(reason, fix string) []Refusal {
		return []Refusal{{Fault: c.Config.Fault("cluster.administrators", reason, fix), Stack: after.Name}}
	}
	switch {
	case !slices.ContainsFunc(slices.Collect(maps.Keys(old)), func(p string) bool { return next[p] }):
		return refuse("takes away everybody who administers the cluster now: "+strings.Join(slices.Sorted(maps.Keys(old)), ", "),
			"list one of them beside the new ones, and remove it by a second update, when a new one has been tried")
	case old[c.Caller] && !next[c.Caller]:
		return refuse("takes away the access of "+c.Caller+", who runs this update",
			"list it, or let another administrator run the update")
	}
	return nil
}

// mayCreate refuses to begin for a caller who can't be an administrator by entry:
// who creates the cluster gets no other way in. See
// https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
func mayCreate(c Case, stack string) []Refusal {
	if c.Caller == "" || strings.Contains(c.Caller, ":role/") || strings.Contains(c.Caller, ":user/") {
		return nil
	}
	return []Refusal{{
		Fault: c.Config.Fault("cluster.administrators", "begins with who creates the cluster, and "+c.Caller+" is neither an IAM role nor a user, which alone can have an access entry",
			"sign in as an IAM role or user, and repeat the command"),
		Stack: stack,
	}}
}

// principals are those whom a stack's access entries make administrators.
func principals(s Stack) map[string]bool {
	t := parse(s.Body)
	found := map[string]bool{}
	for _, r := range t.Resources {
		if r.Type != "AWS::EKS::AccessEntry" || !strings.Contains(text(r.at("AccessPolicies")), "AmazonEKSClusterAdminPolicy") {
			continue
		}
		if r.Condition != "" && holds(t.Conditions[r.Condition], s.Parameters) != true {
			continue
		}
		if p, ok := holds(r.at("PrincipalArn"), s.Parameters).(string); ok {
			found[p] = true
		}
	}
	return found
}

// holds works out a value of references, comparisons and negations.
func holds(v any, parameters map[string]string) any {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return v
	}
	for f, arg := range m {
		list, _ := arg.([]any)
		switch {
		case f == "Ref":
			name, _ := arg.(string)
			return parameters[name]
		case f == "Fn::Equals" && len(list) == 2:
			return holds(list[0], parameters) == holds(list[1], parameters)
		case f == "Fn::Not" && len(list) == 1:
			return holds(list[0], parameters) == false
		}
	}
	return v
}
