package access

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed actions.json
var embeddedActions []byte

//go:embed handlers.json
var embeddedHandlers []byte

// Action is what AWS's Service Authorization Reference says of an action.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
type Action struct {
	// Level is the access level: List, Read, Write, Tagging or Permissions
	// management.
	Level string `json:"level"`
	// On are the resource types that the action always works on, Maybe those
	// that it may work on. An action with neither is asked on "*".
	On    []string `json:"on"`
	Maybe []string `json:"maybe"`
	// Keys are the condition keys of the action.
	Keys []string `json:"keys"`

	once sync.Once
	keys tested
}

// tested are the condition keys that are asked about often.
type tested struct {
	tagKeys, requestTags, resourceTags, callerAccount bool
	// own is the service's own key of resources' tags, "" if the action doesn't
	// know it.
	own string
}

// tested are those of an action.
func (f *Facts) tested(action string) tested {
	a := f.Actions[action]
	if a == nil {
		return tested{}
	}
	a.once.Do(func() {
		a.keys = tested{
			tagKeys: f.Tests(action, "aws:TagKeys"), requestTags: f.Tests(action, "aws:RequestTag/"), resourceTags: f.Tests(action, "aws:ResourceTag/"),
			callerAccount: f.Tests(action, "kms:CallerAccount"),
		}
		if own := ownTagKey(action); own != "" && f.Tests(action, own) {
			a.keys.own = own
		}
	})
	return a.keys
}

// ResourceType is a resource type of a service.
type ResourceType struct {
	// ARN is its form, "arn:${Partition}:ec2:${Region}:${Account}:vpc/${VpcId}".
	ARN  string   `json:"arn"`
	Keys []string `json:"keys"`
	// match are the forms, of which there may be several, cut at their variables.
	match [][]string
}

// Facts are about the actions that are in use here. They must not be changed.
type Facts struct {
	Actions   map[string]*Action       `json:"actions"`
	Resources map[string]*ResourceType `json:"resources"`
	// Handlers are the permissions that CloudFormation's schemas publish, by
	// resource type and handler: create, read, update, delete, list.
	Handlers map[string]map[string][]string `json:"-"`

	spelling map[string]string
	// perHandler are the actions that running a handler needs, by type and
	// handler.
	perHandler map[[2]string][]string
}

// Load returns the facts that come with the program, decoded on first use.
func Load() (*Facts, error) { return load() }

var load = sync.OnceValues(func() (*Facts, error) {
	f := &Facts{spelling: map[string]string{}}
	if err := json.Unmarshal(embeddedActions, f); err != nil {
		return nil, fmt.Errorf("read facts about actions: %w", err)
	}
	if err := json.Unmarshal(embeddedHandlers, &f.Handlers); err != nil {
		return nil, fmt.Errorf("read the handlers' permissions: %w", err)
	}
	for name := range f.Actions {
		f.spelling[strings.ToLower(name)] = name
	}
	for _, r := range f.Resources {
		for form := range strings.SplitSeq(r.ARN, ", ") {
			r.match = append(r.match, cut(strings.ReplaceAll(form, "*", "${Any}")))
		}
	}
	f.prepare()
	return f, nil
})

// facts are those that come with the program. They are embedded, and a test
// decodes them; what can't be read knows nothing.
func facts() *Facts {
	f, err := load()
	if err != nil {
		return &Facts{}
	}
	return f
}

// Name is the spelling of an action's name, which case doesn't matter in;
// "" if there is no such action among the facts.
func (f *Facts) Name(action string) string { return f.spelling[strings.ToLower(action)] }

// Tags tells that an action sets or removes tags and does nothing else.
func Tags(action string) bool {
	a := facts().Actions[action]
	return a != nil && a.Level == "Tagging"
}

// Types are the keys in Resources of an action's resource types.
func (f *Facts) Types(action string) []string {
	a := f.Actions[action]
	if a == nil {
		return nil
	}
	service, _, _ := strings.Cut(action, ":")
	var out []string
	for _, l := range [][]string{a.On, a.Maybe} {
		for _, t := range l {
			out = append(out, service+":"+t)
		}
	}
	return out
}

// Tests tells whether policies may test the condition key for the action: the
// action lists it, or one of its resource types does. Keys that end in a
// variable, "aws:ResourceTag/${TagKey}", hold for all its values.
func (f *Facts) Tests(action, key string) bool {
	a := f.Actions[action]
	if a == nil {
		return false
	}
	if lists(a.Keys, key) {
		return true
	}
	for _, t := range f.Types(action) {
		if r := f.Resources[t]; r != nil && lists(r.Keys, key) {
			return true
		}
	}
	return false
}

func lists(keys []string, key string) bool {
	for _, k := range keys {
		if head, _, variable := strings.Cut(k, "${"); variable && strings.HasPrefix(key, head) || strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// cut splits an ARN's form into its literal parts.
func cut(form string) []string {
	var out []string
	for {
		head, rest, ok := strings.Cut(form, "${")
		out = append(out, head)
		if !ok {
			return out
		}
		_, form, ok = strings.Cut(rest, "}")
		if !ok {
			return out
		}
	}
}

// Is tells whether an ARN, patterns included, has the form of the resource type.
func (r *ResourceType) Is(arn string) bool {
	return slices.ContainsFunc(r.match, func(parts []string) bool { return is(arn, parts) })
}

func is(arn string, parts []string) bool {
	for i, part := range parts {
		switch at := strings.Index(arn, part); {
		case i == len(parts)-1 && part == "":
			return true
		case at < 0 || i == 0 && at != 0:
			return false
		case i == len(parts)-1:
			return strings.HasSuffix(arn, part)
		default:
			arn = arn[at+len(part):]
		}
	}
	return true
}
