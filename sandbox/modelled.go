package sandbox

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/cloudformation"
)

// Operations are the names of the API operations that are modelled, sorted, by
// the services' signing names.
func Operations() map[string][]string {
	out := map[string][]string{}
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			for _, o := range s.Operations {
				out[s.Name] = append(out[s.Name], o.Name)
			}
		}
	}
	for name, list := range out {
		slices.Sort(list)
		out[name] = slices.Compact(list)
	}
	return out
}

// ResourceTypes are the names of the resource types that templates may use,
// sorted.
func ResourceTypes() ([]string, error) {
	known, err := cloudformation.Known()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range modules(nil, nil) {
		for _, t := range m.types {
			if _, ok := known[t.Name]; ok {
				out = append(out, t.Name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
