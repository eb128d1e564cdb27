package releases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
	yamlout "sigs.k8s.io/yaml"
)

// rewriter has pods pull their images by digest and go to the nodes that they are
// for. It is Helm's post-renderer, and sees hooks too.
type rewriter struct {
	release  Release
	problems []Problem
	used     []ImageUse
}

// Run implements Helm's PostRenderer.
func (w *rewriter) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	w.problems, w.used = nil, []ImageUse{}
	documents, err := decode(in)
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, o := range documents {
		objects = append(objects, unlisted(o)...)
	}
	out := &bytes.Buffer{}
	for _, o := range objects {
		if pod := podOf(o); pod != nil {
			w.images(o, pod)
			w.place(o, pod)
		}
		text, err := yamlout.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", named(o), err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	if len(w.problems) > 0 {
		return nil, &problems{w.problems}
	}
	return out, nil
}

// problems are an error that holds several.
type problems struct{ list []Problem }

func (p *problems) Error() string {
	var texts []string
	for _, one := range p.list {
		texts = append(texts, one.Place+": "+one.Reason)
	}
	return strings.Join(texts, "; ")
}

type object = map[string]any

// decode reads the documents of a manifest.
func decode(in io.Reader) (list []object, err error) {
	const buffer = 4096
	d := yaml.NewYAMLOrJSONDecoder(in, buffer)
	for {
		var o object
		switch err := d.Decode(&o); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("read a rendered document: %w", err)
		case len(o) > 0:
			list = append(list, o)
		}
	}
}

// unlisted are the objects of a list, or the object itself if it is none: Kubernetes
// would take them one by one. They inherit what Helm has the list marked with, and of a
// list of one kind that kind.
// https://github.com/kubernetes/apimachinery/blob/v0.36.3/pkg/apis/meta/v1/unstructured/unstructured.go
func unlisted(o object) (list []object) {
	items, ok := o["items"].([]any)
	if !ok {
		return []object{o}
	}
	kind := strings.TrimSuffix(text(o, "kind"), "List")
	for _, i := range items {
		item, ok := i.(object)
		if !ok {
			continue
		}
		if kind != "" && text(item, "kind") == "" {
			item["kind"], item["apiVersion"] = kind, o["apiVersion"]
		}
		marks, _ := at(o, "metadata", "annotations").(object)
		for k, v := range marks {
			if !strings.HasPrefix(k, "helm.sh/") && !strings.HasPrefix(k, "postrenderer.helm.sh/") {
				continue
			}
			meta, _ := item["metadata"].(object)
			if meta == nil {
				meta = object{}
				item["metadata"] = meta
			}
			have, _ := meta["annotations"].(object)
			if have == nil {
				have = object{}
				meta["annotations"] = have
			}
			if have[k] == nil {
				have[k] = v
			}
		}
		list = append(list, unlisted(item)...)
	}
	return list
}

func text(o object, keys ...string) string {
	s, _ := at(o, keys...).(string)
	return s
}

func at(o object, keys ...string) any {
	var v any = o
	for _, k := range keys {
		m, ok := v.(object)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// named is an object in words: "Deployment core-api".
func named(o object) string {
	return strings.TrimSpace(text(o, "kind") + " " + text(o, "metadata", "name"))
}

// podOf is the specification of an object's pods; nil if it has none.
func podOf(o object) object {
	keys := map[string][]string{
		"Pod":                   {"spec"},
		"Deployment":            {"spec", "template", "spec"},
		"StatefulSet":           {"spec", "template", "spec"},
		"DaemonSet":             {"spec", "template", "spec"},
		"ReplicaSet":            {"spec", "template", "spec"},
		"ReplicationController": {"spec", "template", "spec"},
		"Job":                   {"spec", "template", "spec"},
		"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
	}[text(o, "kind")]
	if group, _, _ := strings.Cut(text(o, "apiVersion"), "/"); keys == nil || !slices.Contains([]string{"v1", "apps", "batch"}, group) {
		return nil
	}
	pod, _ := at(o, keys...).(object)
	return pod
}

func containers(pod object) (list []object) {
	for _, kind := range []string{"initContainers", "containers", "ephemeralContainers"} {
		all, _ := pod[kind].([]any)
		for _, c := range all {
			if c, ok := c.(object); ok {
				list = append(list, c)
			}
		}
	}
	return list
}

// images has containers and volumes pull what is in the registry, by digest.
func (w *rewriter) images(o, pod object) {
	for _, c := range containers(pod) {
		w.image(c, "image", fmt.Sprintf("release %s, %s, container %v", w.release.Name, named(o), c["name"]))
	}
	volumes, _ := pod["volumes"].([]any)
	for _, v := range volumes {
		v, _ := v.(object)
		if image, ok := v["image"].(object); ok {
			w.image(image, "reference", fmt.Sprintf("release %s, %s, volume %v", w.release.Name, named(o), v["name"]))
		}
	}
}

// image replaces the image that a key of an object names.
func (w *rewriter) image(o object, key, place string) {
	image, _ := o[key].(string)
	w.used = append(w.used, ImageUse{image, place})
	if w.release.Images == nil {
		return
	}
	by, ok := w.release.Images[image]
	if !ok {
		w.problems = append(w.problems, Problem{
			Place:  place,
			Reason: fmt.Sprintf("names the image %q, which is none that the deployment's registry has for the bundle", image),
			Next:   "add the image to the bundle and push it, or have the values name one that is there",
		})
		return
	}
	o[key] = by
}

// place has pods go to their nodes. Those of daemon sets are for all nodes.
func (w *rewriter) place(o, pod object) {
	if text(o, "kind") == "DaemonSet" {
		return
	}
	selector, _ := pod["nodeSelector"].(object)
	for _, p := range w.release.Places {
		if !p.fits(text(o, "metadata", "name"), pod) {
			continue
		}
		for label := range selector {
			if strings.HasPrefix(label, p.Marker) {
				return // the chart has decided
			}
		}
		if selector == nil {
			selector = object{}
			pod["nodeSelector"] = selector
		}
		for _, k := range slices.Sorted(maps.Keys(p.Selector)) {
			selector[k] = p.Selector[k]
		}
		have, _ := pod["tolerations"].([]any)
		for _, t := range p.Tolerations {
			add := object{"key": t.Key, "operator": t.Operator, "effect": t.Effect}
			if t.Value != "" {
				add["value"] = t.Value
			}
			if !slices.ContainsFunc(have, func(v any) bool {
				h, _ := v.(object)
				return h["key"] == t.Key && (h["effect"] == t.Effect || h["effect"] == nil)
			}) {
				have = append(have, add)
			}
		}
		if len(have) > 0 {
			pod["tolerations"] = have
		}
		return
	}
}

// fits tells whether pods of a workload go to a place.
func (p Place) fits(workload string, pod object) bool {
	if p.Resource == "" && len(p.Workloads) == 0 {
		return true
	}
	for _, c := range containers(pod) {
		for _, kind := range []string{"limits", "requests"} {
			if v := at(c, "resources", kind, p.Resource); p.Resource != "" && v != nil && fmt.Sprint(v) != "0" {
				return true
			}
		}
	}
	return slices.ContainsFunc(p.Workloads, func(pattern string) bool {
		ok, err := path.Match(pattern, workload)
		return ok && err == nil
	})
}
