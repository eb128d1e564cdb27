package rehearse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/manifests"
)

// Pods is what a rehearsal has shown of Kubernetes, in a copy of the account.
type Pods struct {
	// Bundle is whose charts were installed, and Took the time of the wall until they
	// were ready, with the push of the images.
	Bundle string        `json:"bundle"`
	Took   time.Duration `json:"tookNanoseconds"`
	// Charts are the releases that were to be made, Releases those that were there, and
	// Ran their pods.
	Charts   []string           `json:"charts"`
	Releases []cluster.Revision `json:"releases"`
	Ran      []Pod              `json:"pods"`
	// Entries are the hosts that were asked, and Told what components said there of what
	// they reach.
	Entries []Entry `json:"entries"`
	Told    []Told  `json:"told"`
	// Apart is where the scheduler doesn't let pods go, Refused what the API server
	// doesn't take.
	Apart   []Apart   `json:"apart"`
	Refused []Refused `json:"refused"`
	// Uninstalled is how many releases the deletion has uninstalled by the API.
	Uninstalled int `json:"uninstalled"`
}

// Pod is a pod, and where the scheduler put it.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Workload is what it is one of: a Deployment's name.
	Workload string `json:"workload"`
	Node     string `json:"node,omitempty"`
	// Kind is that of its node: "core"; Zone is the node's.
	Kind string `json:"kind,omitempty"`
	Zone string `json:"zone,omitempty"`
	// GPUs are how many it asks for.
	GPUs  int64 `json:"gpus,omitempty"`
	Ready bool  `json:"ready"`
	// Address is its own, in the VPC.
	Address string `json:"address,omitempty"`
	// Image is by what name and digest the image was pulled.
	Image string `json:"image,omitempty"`
	// NotRun is why no process of it can run on this machine, and Waits why it isn't
	// ready otherwise.
	NotRun string `json:"notRun,omitempty"`
	Waits  string `json:"waits,omitempty"`
}

// Apart is a pod of one kind that was sent to a node of another.
type Apart struct {
	// Pods are of a kind of nodes, or "other" for such as tolerate nothing.
	Pods  string `json:"pods"`
	Nodes string `json:"nodes"`
	// Says is the scheduler's message.
	Says string `json:"says"`
}

// Refused is a pod that breaks the restricted standard.
type Refused struct {
	Namespace string `json:"namespace"`
	What      string `json:"what"`
	// Says is the API server's message.
	Says string `json:"says"`
}

// NotRun are the pods that no process can be made of on this machine.
func (p *Pods) NotRun() []Pod {
	return slices.DeleteFunc(slices.Clone(p.Ran), func(one Pod) bool { return one.NotRun == "" })
}

func (p *Pods) waiting() []Pod {
	return slices.DeleteFunc(slices.Clone(p.Ran), func(one Pod) bool { return one.Ready })
}

// Zones are those of pods that are ready.
func (p *Pods) Zones() []string {
	var zones []string
	for _, one := range p.Ran {
		if one.Ready && one.Zone != "" {
			zones = append(zones, one.Zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// deployed is the status of a release that is what it should be.
const deployed = "deployed"

// NotDeployed are the releases that aren't what they should be, each with what it is
// instead: "platform is failed".
func (p *Pods) NotDeployed() (list []string) {
	for _, name := range p.Charts {
		i := slices.IndexFunc(p.Releases, func(r cluster.Revision) bool { return r.Name == name })
		switch {
		case i < 0:
			list = append(list, name+" was not begun")
		case p.Releases[i].Status != deployed:
			list = append(list, name+" is "+p.Releases[i].Status)
		}
	}
	return list
}

// excused tells that an installation failed because of nothing but pods that no process
// can be made of here, which is no fault of the charts: each release that was begun and
// isn't deployed waits for such pods, and for no others nor for pods that nobody makes.
func (p *Pods) excused() bool {
	unfit := false
	for _, r := range p.Releases {
		if r.Status == deployed {
			continue
		}
		// Each pod that isn't ready is one of what a release waits for.
		if r.Ready == r.Pods || len(r.Waits) > r.Pods-r.Ready || slices.ContainsFunc(p.waiting(), func(one Pod) bool { return one.Namespace == r.Namespace && one.NotRun == "" }) {
			return false
		}
		unfit = true
	}
	return unfit
}

func (p *Pods) summary() string {
	releases := count(len(p.Charts), "release") + " deployed"
	if not := p.NotDeployed(); len(not) > 0 {
		releases = fmt.Sprintf("%d of %s (%s)", len(p.Charts)-len(not), releases, strings.Join(not, ", "))
	}
	text := fmt.Sprintf("%s, %d of %s ready in %s", releases, len(p.Ran)-len(p.waiting()), count(len(p.Ran), "pod"), count(len(p.Zones()), "zone"))
	if n := len(p.NotRun()); n > 0 {
		text += fmt.Sprintf("; process not run: %d", n)
	}
	return text
}

// kube speaks to a Kubernetes API.
type kube struct {
	at  string
	way http.RoundTripper
}

// statusError is a refusal of the API.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %s", e.code, e.message) }

// do makes a request and reads its answer into out, unless that is nil. A refusal is a
// [*statusError].
func (k *kube) do(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, k.at+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := k.way.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	const most = 16 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var status struct{ Message string }
		if json.Unmarshal(answer, &status) != nil || status.Message == "" {
			status.Message = http.StatusText(resp.StatusCode)
		}
		return fmt.Errorf("%s %s: %w", method, path, &statusError{resp.StatusCode, status.Message})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// node and pod are what is read of these.
type node struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct{ Taints []taint }
}

type taint struct{ Key, Value, Effect string }

type pod struct {
	Metadata struct {
		Namespace, Name   string
		Labels            map[string]string
		DeletionTimestamp string
		OwnerReferences   []struct{ Kind, Name string }
	}
	Spec struct {
		NodeName   string
		Containers []struct {
			Resources struct{ Limits map[string]string }
		}
	}
	Status struct {
		Phase, Message, Reason string
		PodIP                  string
		Conditions             []struct{ Type, Status, Reason, Message string }
		InitContainerStatuses  []container
		ContainerStatuses      []container
	}
}

type container struct {
	Name    string
	ImageID string
	State   struct {
		Waiting    *struct{ Reason, Message string }
		Terminated *struct {
			Reason, Message string
			ExitCode        int
		}
	}
}

// condition is a pod's condition of a kind, with its message.
func (p *pod) condition(kind string) (status, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.Message
		}
	}
	return "", ""
}

// gpus are how many of them a pod asks for. Kubernetes takes whole numbers alone, as
// limits.
func (p *pod) gpus() (n int64, err error) {
	for _, c := range p.Spec.Containers {
		if text := c.Resources.Limits[architecture.GPUTaint().Key]; text != "" {
			one, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the GPUs of pod %s: %w", p.Metadata.Name, err)
			}
			n += one
		}
	}
	return n, nil
}

// workload is what a pod is one of.
func (p *pod) workload() string {
	if len(p.Metadata.OwnerReferences) == 0 {
		return p.Metadata.Name
	}
	owner := p.Metadata.OwnerReferences[0]
	if hash := p.Metadata.Labels["pod-template-hash"]; owner.Kind == "ReplicaSet" && hash != "" {
		return strings.TrimSuffix(owner.Name, "-"+hash)
	}
	return owner.Name
}

// because begins the word of planes/kubernetes of what can't run where it is.
const because = "process not run: "

// why tells why a pod isn't ready: that its processes can't run here, or another reason.
func (p *pod) why() (notRun, waits string) {
	var said []string
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil {
			said = append(said, strings.TrimSuffix("container "+c.Name+" waits, "+w.Reason+": "+w.Message, ": "))
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			said = append(said, strings.TrimSuffix(fmt.Sprintf("container %s ended with code %d, %s: %s", c.Name, t.ExitCode, t.Reason, t.Message), ": "))
		}
	}
	for _, kind := range []string{"PodScheduled", "Ready"} {
		if status, message := p.condition(kind); status == "False" && message != "" {
			said = append(said, message)
		}
	}
	said = append(said, strings.TrimSpace(p.Status.Reason+" "+p.Status.Message))
	for _, s := range said {
		if _, reason, is := strings.Cut(s, because); is {
			return reason, ""
		}
	}
	for _, s := range said {
		if s != "" {
			return "", s
		}
	}
	return "", "is " + p.Status.Phase
}

// nodes are a cluster's, by name.
func (k *kube) nodes(ctx context.Context) (map[string]node, error) {
	var list struct{ Items []node }
	if err := k.do(ctx, http.MethodGet, "/api/v1/nodes", nil, &list); err != nil {
		return nil, err
	}
	out := map[string]node{}
	for _, n := range list.Items {
		out[n.Metadata.Name] = n
	}
	return out, nil
}

// kind is what a node's label says it is for: "core", or several.
func (n *node) kind() string {
	var kinds []string
	for label := range n.Metadata.Labels {
		if kind, is := strings.CutPrefix(label, manifests.Marker); is {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, ", ")
}

// look takes down which pods there are, and where.
func (p *Pods) look(ctx context.Context, k *kube) error {
	nodes, err := k.nodes(ctx)
	if err != nil {
		return err
	}
	var list struct{ Items []pod }
	if err := k.do(ctx, http.MethodGet, "/api/v1/pods", nil, &list); err != nil {
		return err
	}
	p.Ran = []Pod{}
	for _, one := range list.Items {
		if one.Metadata.DeletionTimestamp != "" || one.Status.Phase == "Succeeded" {
			continue
		}
		n := nodes[one.Spec.NodeName]
		out := Pod{Namespace: one.Metadata.Namespace, Name: one.Metadata.Name, Workload: one.workload(), Node: one.Spec.NodeName, Address: one.Status.PodIP, Kind: n.kind(), Zone: n.Metadata.Labels["topology.kubernetes.io/zone"]}
		if out.GPUs, err = one.gpus(); err != nil {
			return err
		}
		if status, _ := one.condition("Ready"); status == "True" {
			out.Ready = true
		} else {
			out.NotRun, out.Waits = one.why()
		}
		if len(one.Status.ContainerStatuses) > 0 {
			out.Image = one.Status.ContainerStatuses[0].ImageID
		}
		p.Ran = append(p.Ran, out)
	}
	slices.SortFunc(p.Ran, func(a, b Pod) int {
		return strings.Compare(a.Namespace+"/"+a.Workload+"/"+a.Zone+"/"+a.Name, b.Namespace+"/"+b.Workload+"/"+b.Zone+"/"+b.Name)
	})
	return nil
}

// misplaced is an error if there is no pod, or one isn't on a node of its kind.
func (p *Pods) misplaced(a *architecture.Architecture) error {
	var wrong []string
	for _, one := range p.Ran {
		if !slices.Contains(manifests.Namespaces(a), one.Namespace) || one.Node == "" {
			continue
		}
		if want := kindOf(a, one); want != "" && !slices.Contains(strings.Split(one.Kind, ", "), want) {
			wrong = append(wrong, fmt.Sprintf("pod %s/%s is on %s, a node for %s, not for %s", one.Namespace, one.Name, one.Node, one.Kind, want))
		}
	}
	if len(p.Ran) == 0 {
		wrong = append(wrong, "there is none")
	}
	if wrong != nil {
		return &MismatchError{"where pods are", wrong}
	}
	return nil
}

// kindOf is the kind of nodes that a pod goes to: one that asks for GPUs to GPU nodes,
// those of the web assistant and of interfaces, by their names, to theirs. "" is any that
// isn't tainted.
func kindOf(a *architecture.Architecture, one Pod) string {
	for _, place := range manifests.Places(a) {
		if place.Resource != "" && one.GPUs > 0 || slices.ContainsFunc(place.Workloads, func(pattern string) bool { is, _ := path.Match(pattern, one.Workload); return is }) {
			return string(place.Role)
		}
	}
	return ""
}

// prober has the scheduler and the API server say no, with pods of its own.
type prober struct {
	*run
	*kube
	pods *Pods
	arch *architecture.Architecture
}

// sent is a pod that is sent to one node.
type sent struct {
	Apart
	name string
	// right tells that it belongs there: the control of the experiment.
	right bool
}

// apart sends a pod of each kind, made as charts' pods are, to one node of each kind.
// The scheduler has to refuse all but those of the same kind. The pods are removed.
func (p *prober) apart(ctx context.Context) (err error) {
	nodes, err := p.nodes(ctx)
	if err != nil {
		return err
	}
	places := manifests.Places(p.arch)
	one := map[string]node{} // of each kind
	for _, place := range places {
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if n := nodes[name]; one[string(place.Role)].Metadata.Name == "" && serves(n, place) {
				one[string(place.Role)] = n
			}
		}
	}
	var all []sent
	const namespace = "/api/v1/namespaces/" + manifests.Core + "/pods"
	defer func() {
		var errs []error
		for _, s := range all {
			errs = append(errs, p.do(context.WithoutCancel(ctx), http.MethodDelete, namespace+"/"+s.name+"?gracePeriodSeconds=0", nil, nil))
		}
		err = errors.Join(append([]error{err}, errs...)...)
	}()
	send := func(s sent, to node, selector map[string]string, tolerations []any) error {
		s.name = fmt.Sprintf("rehearsal-%d", len(all)+1)
		body := p.harmless(s.name)
		spec := body["spec"].(object)
		spec["nodeSelector"], spec["tolerations"] = selector, tolerations
		spec["affinity"] = object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []any{
			object{"matchFields": []any{object{"key": "metadata.name", "operator": "In", "values": []string{to.Metadata.Name}}}},
		}}}}
		if err := p.do(ctx, http.MethodPost, namespace, body, nil); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	}
	for _, from := range places {
		var tolerations []any
		if t := from.Taint; t != nil {
			tolerations = append(tolerations, object{"key": t.Key, "operator": "Exists", "effect": t.Effect})
		}
		for _, kind := range slices.Sorted(maps.Keys(one)) {
			to := one[kind]
			s := sent{Apart: Apart{Pods: string(from.Role), Nodes: kind}, right: serves(to, from)}
			if s.right && kind != string(from.Role) {
				continue // one node for both
			}
			if err := send(s, to, from.Selector, tolerations); err != nil {
				return err
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(one)) {
		to := one[kind]
		if err := send(sent{Apart: Apart{Pods: "other", Nodes: kind}, right: len(to.Spec.Taints) == 0}, to, nil, nil); err != nil {
			return err
		}
	}
	var wrong []string
	for _, s := range all {
		var scheduled, says string
		if err := p.eventually(ctx, func() error {
			var got pod
			if err := p.do(ctx, http.MethodGet, namespace+"/"+s.name, nil, &got); err != nil {
				return err
			}
			if scheduled, says = got.condition("PodScheduled"); scheduled == "" {
				return fmt.Errorf("the scheduler says nothing of pod %s", s.name)
			}
			return nil
		}); err != nil {
			return err
		}
		switch is := scheduled == "True"; {
		case is && !s.right:
			wrong = append(wrong, fmt.Sprintf("a pod of kind %s was let onto a node for %s", s.Pods, s.Nodes))
		case !is && s.right:
			wrong = append(wrong, fmt.Sprintf("a pod of kind %s can't go onto a node for %s: %s", s.Pods, s.Nodes, says))
		case !is:
			// What follows is that nothing can be made way with.
			s.Says, _, _ = strings.Cut(says, ". ")
			p.pods.Apart = append(p.pods.Apart, s.Apart)
		}
	}
	if wrong != nil {
		return &MismatchError{"where the scheduler lets pods go", wrong}
	}
	return nil
}

// serves tells that a place's pods may go to a node.
func serves(n node, place manifests.Place) bool {
	for label, value := range place.Selector {
		if n.Metadata.Labels[label] != value {
			return false
		}
	}
	return true
}

type object = map[string]any

// harmless is a pod that keeps to the restricted standard, of an image that is there.
func (p *prober) harmless(name string) object {
	image := "registry.invalid/none"
	for _, one := range p.pods.Ran {
		if one.Image != "" {
			image = one.Image
		}
	}
	return object{"metadata": object{"name": name}, "spec": object{
		"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
		"securityContext": object{"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": object{"type": "RuntimeDefault"}},
		"containers": []any{object{
			"name": "c", "image": image, "resources": object{"requests": object{"cpu": "1m", "memory": "1M"}},
			"securityContext": object{"allowPrivilegeEscalation": false, "capabilities": object{"drop": []string{"ALL"}}},
		}},
	}}
}

// unsafe are the ways in which a pod breaks the restricted standard.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
var unsafe = []struct {
	what string
	make func(spec, container object)
}{
	{"runs as root", func(spec, _ object) {
		spec["securityContext"] = object{"runAsUser": 0, "seccompProfile": object{"type": "RuntimeDefault"}}
	}},
	{"is privileged", func(_, c object) { c["securityContext"] = object{"privileged": true} }},
	{"may gain privileges", func(_, c object) {
		c["securityContext"] = object{"allowPrivilegeEscalation": true, "capabilities": object{"drop": []string{"ALL"}}}
	}},
	{"has the node's network", func(spec, _ object) { spec["hostNetwork"] = true }},
	{"mounts a folder of the node", func(spec, _ object) {
		spec["volumes"] = []any{object{"name": "v", "hostPath": object{"path": "/"}}}
	}},
	{"keeps its capabilities", func(_, c object) { c["securityContext"] = object{"allowPrivilegeEscalation": false} }},
	{"calls what it likes of the kernel", func(spec, _ object) { delete(spec["securityContext"].(object), "seccompProfile") }},
}

// refused has the API server refuse pods that break the restricted standard, by dry
// runs, and take one that keeps to it.
func (p *prober) refused(ctx context.Context) error {
	var wrong []string
	for _, namespace := range manifests.Namespaces(p.arch) {
		path := "/api/v1/namespaces/" + namespace + "/pods?dryRun=All"
		if err := p.do(ctx, http.MethodPost, path, p.harmless("rehearsal"), nil); err != nil {
			wrong = append(wrong, fmt.Sprintf("a harmless pod is refused in %s: %v", namespace, err))
		}
		for _, u := range unsafe {
			body := p.harmless("rehearsal")
			spec := body["spec"].(object)
			u.make(spec, spec["containers"].([]any)[0].(object))
			err := p.do(ctx, http.MethodPost, path, body, nil)
			var refusal *statusError
			switch {
			case err == nil:
				wrong = append(wrong, fmt.Sprintf("a pod that %s is let into %s", u.what, namespace))
			case !errors.As(err, &refusal) || refusal.code != http.StatusForbidden || !strings.Contains(refusal.message, "violates PodSecurity"):
				return err
			default:
				p.pods.Refused = append(p.pods.Refused, Refused{namespace, u.what, refusal.message})
			}
		}
	}
	if wrong != nil {
		return &MismatchError{"which pods the API server takes", wrong}
	}
	return nil
}
