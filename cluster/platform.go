package cluster

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/manifests"
)

// Foundation is the name of the release that holds what charts stand on, in the
// namespace that every cluster has.
const (
	Foundation          = "poolhouse-foundation"
	foundationNamespace = "kube-system"
)

// NewFoundation is the release of the objects that charts stand on: namespaces with
// their rules, service accounts with their roles, the storage class. Being a release,
// what is no longer in it is removed. The error is a [manifests.MissingError] where the
// deployment lacks an output.
func NewFoundation(a *architecture.Architecture, outputs manifests.Outputs) (Release, error) {
	objects, err := manifests.Foundation(a, outputs)
	if err != nil {
		return Release{}, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	add := func(name string, body []byte) error {
		const mode = 0o644
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: Foundation + "/" + name, Size: int64(len(body)), Mode: mode})
		if err == nil {
			_, err = t.Write(body)
		}
		return err
	}
	err = add("Chart.yaml", []byte("apiVersion: v2\nname: "+Foundation+"\nversion: 1.0.0\n"))
	for i, o := range objects {
		var text []byte
		if err == nil {
			text, err = o.JSON()
		}
		if err == nil && bytes.Contains(text, []byte("{{")) {
			err = errors.New("an object holds what Helm takes for a template")
		}
		if err == nil {
			err = add(fmt.Sprintf("templates/%03d.yaml", i), text)
		}
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		return Release{}, fmt.Errorf("make the chart %s: %w", Foundation, err)
	}
	return Release{Name: Foundation, Namespace: foundationNamespace, Chart: b.Bytes()}, nil
}

// Places are where the pods of charts go.
func Places(a *architecture.Architecture) (list []Place) {
	for _, p := range manifests.Places(a) {
		to := Place{Marker: manifests.Marker, Resource: p.Resource, Workloads: p.Workloads, Selector: p.Selector}
		if t := p.Taint; t != nil {
			tolerated := Toleration{Key: t.Key, Operator: "Exists", Effect: t.Effect}
			if t.Value != "" {
				tolerated.Operator, tolerated.Value = "Equal", t.Value
			}
			to.Tolerations = []Toleration{tolerated}
		}
		list = append(list, to)
	}
	return list
}

// NamespaceOf is where a chart is installed: prerequisites in their own, charts of model
// servers, which the vendor names inference and inference-stack, in that of models, if
// there is one; all others in core's.
func NamespaceOf(a *architecture.Architecture, chart string) string {
	if list := prerequisites(); Rank(chart) < len(list) {
		return list[Rank(chart)].namespace
	}
	models := chart == "inference" || chart == "inference-stack" || strings.HasSuffix(chart, "-inference")
	if _, ok := a.Account(architecture.RoleInference); ok && models {
		return manifests.Models
	}
	return manifests.Core
}

// Displaced are the problems of releases that are there and that an Apply of a list
// would take the namespace from, with all that it holds, or make a second time in
// another one.
func Displaced(a *architecture.Architecture, list []Release, there []Revision) (problems []ReleaseProblem) {
	for _, r := range there {
		reason := ""
		if r.Namespace != foundationNamespace && !slices.Contains(manifests.Namespaces(a), r.Namespace) {
			reason = "is in the namespace " + r.Namespace + ", which would be removed with it and the volumes claimed there"
		}
		for _, want := range list {
			if want.Name == r.Name && want.Namespace != r.Namespace {
				reason = "is in the namespace " + r.Namespace + ", and would be installed a second time in " + want.Namespace
			}
		}
		if reason != "" {
			problems = append(problems, ReleaseProblem{"release " + r.Name, reason, "uninstall " + r.Name + " first"})
		}
	}
	return problems
}

// Left are the releases that are there and that a list doesn't have.
func Left(list []Release, there []Revision) (left []Revision) {
	for _, r := range there {
		if !slices.ContainsFunc(list, func(want Release) bool { return want.Name == r.Name }) {
			left = append(left, r)
		}
	}
	return left
}
