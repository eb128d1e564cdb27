package deploy

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/stack"
)

// changesTime predicts how long an update takes: the slowest of its changes,
// since CloudFormation works on them side by side.
func changesTime(changes []stack.Change) time.Duration {
	var most time.Duration
	for _, c := range changes {
		var t time.Duration
		switch c.Action {
		case stack.Add:
			t = resourceTime(c.Type, nil, toCreate)
		case stack.Remove:
			t = resourceTime(c.Type, nil, toDelete)
		case stack.Replace:
			t = resourceTime(c.Type, nil, toCreate) + resourceTime(c.Type, nil, toDelete)
		default:
			t = resourceTime(c.Type, nil, toUpdate)
		}
		most = max(most, t)
	}
	return overhead + most
}

type document struct {
	Resources map[string]struct {
		Type       string
		Properties map[string]any
	}
}

// localChanges compares two templates without CloudFormation's help. It can't
// tell what is replaced.
func localChanges(before, next []byte) []stack.Change {
	var a, b document
	// Of a template that is not as we write them, what can be read counts.
	_ = json.Unmarshal(before, &a)
	_ = json.Unmarshal(next, &b)
	ids := map[string]bool{}
	for id := range a.Resources {
		ids[id] = true
	}
	for id := range b.Resources {
		ids[id] = true
	}
	var changes []stack.Change
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		old, was := a.Resources[id]
		res, is := b.Resources[id]
		switch {
		case !was:
			changes = append(changes, stack.Change{LogicalID: id, Type: res.Type, Action: stack.Add})
		case !is:
			changes = append(changes, stack.Change{LogicalID: id, Type: old.Type, Action: stack.Remove})
		default:
			c := stack.Change{LogicalID: id, Type: res.Type, Action: stack.Modify}
			for _, k := range keysOf(old.Properties, res.Properties) {
				if !reflect.DeepEqual(old.Properties[k], res.Properties[k]) {
					c.Properties = append(c.Properties, stack.Property{Path: k, Before: text(old.Properties[k]), After: text(res.Properties[k])})
				}
			}
			if len(c.Properties) > 0 {
				changes = append(changes, c)
			}
		}
	}
	return changes
}

// sameJSON tells that two documents say the same, however they are written.
func sameJSON(a, b []byte) (bool, error) {
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		return false, err
	}
	return reflect.DeepEqual(x, y), nil
}

func text(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
