package releases

import (
	"encoding/json"
	"time"
)

// Request is what the program is asked for: one line of JSON on its standard input.
// When that ends, so does the work.
type Request struct {
	// Operation is one of the operations below.
	Operation Operation `json:"operation"`
	// Socket is where the Kubernetes API answers, a Unix socket without TLS on which
	// whoever connects is known already. Render asks nobody if it is empty.
	Socket string `json:"socket,omitempty"`
	// Run marks what is written to releases, so that another run of the same caller
	// knows them. Who calls sees to it that there is one at a time.
	Run string `json:"run,omitempty"`
	// Releases are what Apply and Render are about, in their order, and what History
	// and Uninstall are, by name and namespace.
	Releases []Release `json:"releases,omitempty"`
	// KeepFailed leaves what failed as it is, to be looked at.
	KeepFailed bool `json:"keepFailed,omitempty"`
	// Timeout bounds the wait for each release, in seconds.
	Timeout int `json:"timeout,omitempty"`
}

// Operation is what can be asked for.
type Operation string

// The operations.
const (
	// Render renders releases and changes nothing.
	Render Operation = "render"
	// Apply installs or upgrades releases, one after the other, and waits for each.
	Apply Operation = "apply"
	// Status tells of all releases that Apply has made.
	Status Operation = "status"
	// History tells of the revisions of releases.
	History Operation = "history"
	// Uninstall removes releases, in the opposite order.
	Uninstall Operation = "uninstall"
)

// Release is a chart with its values.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Chart is the packed chart.
	Chart  []byte         `json:"chart,omitempty"`
	Values map[string]any `json:"values,omitempty"`
	// Images are by what name the charts' images are pulled: each image of a rendered
	// pod has to be a key, and is replaced by its value. Nil leaves images alone.
	Images map[string]string `json:"images,omitzero"`
	// Places are where pods go: the first that fits, if the chart names none itself.
	Places []Place `json:"places,omitempty"`
}

// Place is the nodes that pods go to.
type Place struct {
	// Marker is the prefix of labels by which nodes are told apart. A pod that selects
	// by one is left alone.
	Marker string `json:"marker"`
	// Resource, if there is one, fits pods that ask for it, and Workloads those of
	// workloads with a name that one of the patterns matches; see [path.Match].
	// Without both the place fits all.
	Resource  string   `json:"resource,omitempty"`
	Workloads []string `json:"workloads,omitempty"`

	Selector    map[string]string `json:"selector"`
	Tolerations []Toleration      `json:"tolerations,omitempty"`
}

// Toleration is as Kubernetes has it.
type Toleration struct {
	Key      string `json:"key"`
	Operator string `json:"operator"`
	Value    string `json:"value,omitempty"`
	Effect   string `json:"effect,omitempty"`
}

// Message is a line of the answer: an event, or the end, which is a result or
// problems.
type Message struct {
	Event    *Event          `json:"event,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Problems []Problem       `json:"problems,omitempty"`
	// Refused tells that the problems are those of charts and values, and that nothing
	// was begun.
	Refused bool `json:"refused,omitempty"`
}

// Event is something that happens to a release.
type Event struct {
	Release string `json:"release"`
	Text    string `json:"text"`
}

// Problem is why something did not work.
type Problem struct {
	Place  string `json:"place"`
	Reason string `json:"reason"`
	Next   string `json:"next"`
}

// Applied is what Apply did to a release.
type Applied struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Revision  int    `json:"revision"`
	// Action is "installed", "upgraded" or "unchanged".
	Action string `json:"action"`
}

// Rendered is what a release consists of.
type Rendered struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Manifest  string `json:"manifest"`
	// Images are those that its pods name, before they are replaced.
	Images []ImageUse `json:"images"`
	// Lacks are objects of kinds that neither the cluster has, if it was asked, nor
	// this release or one before it defines.
	Lacks []KindUse `json:"lacks,omitempty"`
}

// KindUse is an object, and where it is.
type KindUse struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Place      string `json:"place"`
}

// ImageUse is an image that a pod names, and where.
type ImageUse struct {
	Image string `json:"image"`
	Place string `json:"place"`
}

// Revision is a release at one time.
type Revision struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Revision  int    `json:"revision"`
	Chart     string `json:"chart"`
	// Status is Helm's word: "deployed", "superseded", "failed", "pending-upgrade".
	Status      string    `json:"status"`
	Updated     time.Time `json:"updated"`
	Description string    `json:"description"`
	// Ready and Pods are counts of its pods, and Waits why the others are not ready;
	// only Status tells them.
	Ready int      `json:"ready"`
	Pods  int      `json:"pods"`
	Waits []string `json:"waits,omitempty"`
}
