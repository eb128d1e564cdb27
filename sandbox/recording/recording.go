// Package recording keeps which permissions a sandbox was asked for, by whom
// and what for, and writes least-privilege policies from them.
//
// What clients call is recorded as it was asked. What CloudFormation calls on
// somebody's behalf is what AWS publishes as the permissions of its handlers;
// for types that AWS publishes none of, those of the service's operations are
// assumed. So every permission has a [Source], and policies say it.
//
// Limits: what services do with the roles that they are passed is not recorded:
// it is allowed by the roles' own policies. Of calls that are alike, by
// principal, action, resource and cause, the first is kept and the others are
// counted.
package recording

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/access"
)

// Source is how it is known that a permission is needed.
type Source string

// The sources, the surest first.
const (
	// Recorded is a call that a client made.
	Recorded Source = "recorded"
	// Published is what AWS says CloudFormation's handler needs.
	Published Source = "published"
	// Assumed is what neither shows.
	Assumed Source = "assumed"
)

// Permission is one action on one resource that a principal needed.
type Permission struct {
	// Principal is the ARN of the caller, or of the role that CloudFormation
	// acts as.
	Principal string
	Source    Source
	Action    string
	Resource  string
	// Cause is the operation that asked, "ec2:CreateVpc", or the resource type
	// and its handler, "AWS::EC2::VPC create".
	Cause string
	// Context are the condition keys that the demand came with, at first.
	Context map[string][]string
	// Always are those of them that every such demand came with alike.
	Always map[string]string
	// Count is how often it was asked, Denied how often in vain.
	Count, Denied int
}

// most bounds a recording; a deployment's whole life needs some thousand.
const most = 200_000

// Recording collects permissions. The zero value is ready; it is safe for
// concurrent use.
type Recording struct {
	mu      sync.Mutex
	entries map[key]*Permission
	dropped int
}

type key struct {
	principal, action, resource, cause string
	source                             Source
}

// Add takes note of a demand, and of whether it was denied.
func (r *Recording) Add(principal string, source Source, cause string, d access.Demand, denied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = map[key]*Permission{}
	}
	for _, resource := range d.Resources {
		k := key{Role(principal), d.Action, resource, cause, source}
		p := r.entries[k]
		if p == nil {
			if len(r.entries) == most {
				r.dropped++
				continue
			}
			p = &Permission{Principal: k.principal, Source: source, Action: d.Action, Resource: resource, Cause: cause, Context: d.Context, Always: single(d.Context)}
			r.entries[k] = p
		} else {
			maps.DeleteFunc(p.Always, func(name, v string) bool { l := d.Context[name]; return len(l) != 1 || l[0] != v })
		}
		p.Count++
		if denied {
			p.Denied++
		}
	}
}

// single are the condition keys with one value.
func single(ctx map[string][]string) map[string]string {
	out := map[string]string{}
	for k, v := range ctx {
		if len(v) == 1 {
			out[k] = v[0]
		}
	}
	return out
}

// Role is the role of a session's ARN, and any other principal's own.
func Role(arn string) string {
	head, rest, ok := strings.Cut(arn, ":assumed-role/")
	if !ok {
		return arn
	}
	name, _, _ := strings.Cut(rest, "/")
	return strings.Replace(head, ":sts:", ":iam:", 1) + ":role/" + name
}

// Dropped is how many demands found no room.
func (r *Recording) Dropped() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Permissions are copies of what was recorded, by principal, action, resource
// and cause.
func (r *Recording) Permissions() []Permission {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Permission, 0, len(r.entries))
	for _, p := range r.entries {
		c := *p
		c.Context, c.Always = maps.Clone(p.Context), maps.Clone(p.Always)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Permission) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Source, b.Source))
	})
	return out
}
