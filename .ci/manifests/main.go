// Command manifests has kube-score look at what a deployment's cluster holds: the objects
// that poolhouse makes itself and, where they are kept rendered, the charts of ours, for
// each example together, since policies and budgets are judged with the pods that they
// are for. All checks run, those that are optional too.
//
// It prints its findings for run.mjs.
//
// usage: manifests <folder of foundations> <folder of rendered charts>
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/zegl/kube-score/config"
	"github.com/zegl/kube-score/domain"
	"github.com/zegl/kube-score/parser"
	"github.com/zegl/kube-score/score"
	"github.com/zegl/kube-score/score/checks"
	"github.com/zegl/kube-score/scorecard"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "manifests: give two arguments, as .ci/run does")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

// finding is a check that an object of an example doesn't pass. Stack is its namespace,
// and Resource its kind and name.
type finding struct {
	Rule     string `json:"rule"`
	Example  string `json:"example"`
	Stack    string `json:"stack"`
	Resource string `json:"resource"`
	Why      string `json:"why"`
}

func run(foundations, charts string) error {
	files, err := filepath.Glob(filepath.Join(foundations, "*.jsonl"))
	if err != nil {
		return err
	}
	out := struct {
		Examples int       `json:"examples"`
		Objects  int       `json:"objects"`
		Pods     int       `json:"pods"`
		Findings []finding `json:"findings"`
	}{Examples: len(files), Findings: []finding{}}
	for _, file := range files {
		example := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		objects, err := foundation(file)
		if err != nil {
			return err
		}
		made, err := rendered(filepath.Join(charts, example+".manifest.yaml"))
		if err != nil {
			return err
		}
		objects = append(objects, made...)
		found, pods, err := lint(example, objects)
		if err != nil {
			return fmt.Errorf("%s: %w", example, err)
		}
		out.Objects += len(objects)
		out.Pods += pods
		out.Findings = append(out.Findings, found...)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

type object = map[string]any

// foundation are objects, each a line of JSON.
func foundation(file string) (list []object, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		var o object
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, o)
	}
	return list, nil
}

var release = regexp.MustCompile(`^# release \S+ in (\S+)$`)

// rendered are the objects of a file of releases, in the namespaces of these; none if
// there is no such file.
func rendered(file string) (list []object, err error) {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	namespace := ""
	var document bytes.Buffer
	take := func() error {
		var o object
		err := yaml.Unmarshal(document.Bytes(), &o)
		document.Reset()
		if err != nil || o == nil {
			return err
		}
		meta, ok := o["metadata"].(object)
		if !ok {
			return fmt.Errorf("an object has no metadata: %v", o)
		}
		if _, has := meta["namespace"]; !has && o["kind"] != "PriorityClass" {
			meta["namespace"] = namespace
		}
		list = append(list, o)
		return nil
	}
	for line := range strings.Lines(string(text)) {
		in := release.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if in == nil && line != "---\n" {
			document.WriteString(line)
			continue
		}
		if err := take(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if in != nil {
			namespace = in[1]
		}
	}
	if err := take(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// source is what the parser reads.
type source struct {
	io.Reader
	name string
}

func (s source) Name() string { return s.name }

// kubernetes is the version whose deprecations count; the linter knows them up to its
// own.
var kubernetes = config.Semver{Major: 1, Minor: 33}

// lint is what of the objects does not pass, and how many pods were looked at.
func lint(example string, objects []object) (list []finding, pods int, err error) {
	var text bytes.Buffer
	for _, o := range objects {
		one, err := json.Marshal(o)
		if err != nil {
			return nil, 0, err
		}
		text.WriteString("---\n")
		text.Write(one)
		text.WriteByte('\n')
	}
	p, err := parser.New(nil)
	if err != nil {
		return nil, 0, err
	}
	all, err := p.ParseFiles([]domain.NamedReader{source{&text, example}})
	if err != nil {
		return nil, 0, err
	}
	want := 0
	for _, o := range objects {
		switch o["kind"] {
		case "CronJob", "DaemonSet", "Deployment", "Job", "StatefulSet":
			want++
		}
	}
	if n := len(all.PodSpeccers()); n != want {
		return nil, 0, fmt.Errorf("%d of %d objects with pods were read", n, want)
	}
	settings := &config.RunConfiguration{KubernetesVersion: kubernetes, MinReplicasDeployment: 2, MinReplicasHPA: 2, EnabledOptionalTests: map[string]struct{}{}}
	rules := score.RegisterAllChecks(all, &checks.Config{}, settings)
	for _, c := range rules.All() {
		if c.Optional {
			settings.EnabledOptionalTests[c.ID] = struct{}{}
		}
	}
	// Those that are optional are known only once they were registered.
	rules = score.RegisterAllChecks(all, &checks.Config{}, settings)
	card, err := score.Score(all, rules, settings)
	if err != nil {
		return nil, 0, err
	}
	for _, o := range *card {
		for _, c := range o.Checks {
			if c.Skipped || c.Grade > scorecard.GradeWarning {
				continue
			}
			var why []string
			for _, comment := range c.Comments {
				why = append(why, strings.TrimPrefix(comment.Path+": ", ": ")+comment.Summary)
			}
			list = append(list, finding{"kube-score:" + c.Check.ID, example, o.ObjectMeta.Namespace, o.TypeMeta.Kind + " " + o.ObjectMeta.Name, strings.Join(why, "; ")})
		}
	}
	slices.SortFunc(list, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Rule, b.Rule))
	})
	return list, len(all.PodSpeccers()), nil
}
