package cluster

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/manifests"
)

// placeholder is an output of a stack in values: ${storage.ModelsBucketName}.
var placeholder = regexp.MustCompile(`\$\{([a-z-]+)\.([A-Za-z0-9]+)(?::([-+])([^}]*))?\}`)

// Values reads the values of a release, in which ${STACK.OUTPUT} stands for an output of
// the deployment's stacks. As in a shell, ${STACK.OUTPUT:-TEXT} is the text where there
// is no such output, and ${STACK.OUTPUT:+TEXT} the text where there is one, else nothing.
// All other placeholders for which there is none are in the error.
func Values(text []byte, outputs manifests.Outputs) (map[string]any, error) {
	out, err := read(text)
	if err != nil {
		return nil, err
	}
	var errs []error
	filled, _ := fill(out, func(m []string) string {
		v, ok := outputs[architecture.StackName(m[1])][m[2]]
		switch {
		case m[3] == "-" && !ok, m[3] == "+" && ok:
			return m[4]
		case m[3] == "" && !ok:
			errs = append(errs, fmt.Errorf("${%s.%s} is no output of the deployment; poolhouse outputs lists them", m[1], m[2]))
		}
		return v
	}).(map[string]any)
	return filled, errors.Join(errs...)
}

// CheckValues refuses what can't be values, whatever the outputs are.
func CheckValues(text []byte) error {
	_, err := read(text)
	return err
}

// deepest is how far values may be nested in brackets, and widest how far what nests in
// lines may be indented.
const (
	deepest = 100
	widest  = 1000
)

// read reads values that a chart of others may have: an alias in them could stand for a
// million values, and what is nested without end takes the parser with it.
func read(text []byte) (map[string]any, error) {
	var (
		s    scanner.Scanner
		flow int
	)
	s.Init(string(text))
	for {
		tokens, err := s.Scan()
		if errors.Is(err, io.EOF) {
			break
		}
		for _, tk := range tokens {
			switch tk.Type {
			case token.AnchorType:
				return nil, fmt.Errorf("line %d has an anchor (&), which values may not have; write the value where it is needed", tk.Position.Line)
			case token.AliasType:
				return nil, fmt.Errorf("line %d has an alias (*), which values may not have; write the value out, and quote it if it begins with *", tk.Position.Line)
			case token.SequenceStartType, token.MappingStartType:
				flow++
			case token.SequenceEndType, token.MappingEndType:
				flow--
			}
			nests := tk.Type == token.SequenceEntryType || tk.Type == token.MappingKeyType
			if flow > deepest || flow == 0 && nests && tk.Position.Column > widest {
				return nil, fmt.Errorf("line %d is nested too deeply; write a key or item a line", tk.Position.Line)
			}
		}
		if err != nil {
			break // the parser says why
		}
	}
	out := map[string]any{}
	if err := yaml.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	return out, nil
}

func fill(v any, output func(placeholder []string) string) any {
	switch v := v.(type) {
	case string:
		return placeholder.ReplaceAllStringFunc(v, func(s string) string {
			return output(placeholder.FindStringSubmatch(s))
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

// ValuesFile is the file in a chart's folder with values as [Values] reads them: what
// the chart takes from the deployment. They are over those of its values.yaml, and under
// those that are given.
const ValuesFile = "poolhouse-values.yaml"

// mostValues is how long that file may be.
const mostValues = 1 << 20

// ChartValues is what a packed chart has as its [ValuesFile]; nil if it has none.
func ChartValues(chart []byte) (text []byte, err error) {
	z, err := gzip.NewReader(bytes.NewReader(chart))
	if err != nil {
		return nil, fmt.Errorf("unpack the chart: %w", err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unpack the chart: %w", err)
		}
		if dir, file, _ := strings.Cut(path.Clean(h.Name), "/"); file != ValuesFile || dir == ".." {
			continue
		}
		if h.Typeflag != tar.TypeReg || h.Size > mostValues {
			return nil, fmt.Errorf("read %s in the chart: it is no file of at most %d bytes", ValuesFile, mostValues)
		}
		if text, err = io.ReadAll(t); err != nil {
			return nil, fmt.Errorf("read %s in the chart: %w", ValuesFile, err)
		}
	}
}

// Over are values with others over them, as Helm lays them over each other: maps key by
// key, all else as a whole. A null stays, by which Helm takes a chart's own value away.
func Over(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range over {
		below, nested := out[k].(map[string]any)
		if above, ok := v.(map[string]any); ok && nested {
			v = Over(below, above)
		}
		out[k] = v
	}
	return out
}
