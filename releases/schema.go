package releases

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// schemas finds what the schemas for values of a chart, and of those in it, would have
// Helm read from elsewhere: it fetches from the net and opens files that they refer to.
func schemas(release string, c *chart.Chart) (list []Problem) {
	if c.Schema != nil {
		place := fmt.Sprintf("release %s, values.schema.json of chart %s", release, c.Name())
		var schema any
		if err := json.Unmarshal(c.Schema, &schema); err != nil {
			list = append(list, Problem{place, "can't be read: " + err.Error(), "ask who made the chart"})
		}
		for _, r := range references(schema) {
			list = append(list, Problem{place, fmt.Sprintf("refers to %q, which is not in it", r), "ask who made the chart to have the schema hold all that it refers to"})
		}
	}
	for _, d := range c.Dependencies() {
		list = append(list, schemas(release, d)...)
	}
	return list
}

// references are those of a schema that lead out of it.
// https://json-schema.org/draft/2020-12/json-schema-core#section-8.2.3
func references(v any) (list []string) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			list = append(list, references(one)...)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			to, ok := v[k].(string)
			switch {
			case !ok:
				list = append(list, references(v[k])...)
			case k == "$ref" || k == "$dynamicRef" || k == "$recursiveRef":
				if !strings.HasPrefix(to, "#") {
					list = append(list, to)
				}
			case k == "$schema" && !dialect().MatchString(to):
				list = append(list, to)
			}
		}
	}
	return list
}

// dialect matches those that Helm has in itself.
// https://json-schema.org/specification-links
var dialect = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^https?://json-schema\.org/(draft-0[467]/|draft/2019-09/|draft/2020-12/)?schema#?$`)
})
