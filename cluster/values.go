package cluster

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/manifests"
)

// placeholder is an output of a stack in values: ${storage.ModelsBucketName}.
var placeholder = regexp.MustCompile(`\$\{([a-z-]+)\.([A-Za-z0-9]+)\}`)

// Values reads the values of a release, in which ${STACK.OUTPUT} stands for an output of
// the deployment's stacks. All placeholders for which there is none are in the error.
func Values(text []byte, outputs manifests.Outputs) (map[string]any, error) {
	out := map[string]any{}
	if err := yaml.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	var errs []error
	filled, _ := fill(out, func(stack, name string) string {
		v, ok := outputs[architecture.StackName(stack)][name]
		if !ok {
			errs = append(errs, fmt.Errorf("${%s.%s} is no output of the deployment; poolhouse outputs lists them", stack, name))
		}
		return v
	}).(map[string]any)
	return filled, errors.Join(errs...)
}

func fill(v any, output func(stack, name string) string) any {
	switch v := v.(type) {
	case string:
		return placeholder.ReplaceAllStringFunc(v, func(s string) string {
			m := placeholder.FindStringSubmatch(s)
			return output(m[1], m[2])
		})
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = fill(v[k], output)
		}
	case []any:
		for i, one := range v {
			v[i] = fill(one, output)
		}
	}
	return v
}
