package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Release is a chart with its values, as the program poolhouse-releases takes it: that
// program holds Helm, and this one only knows what to ask it.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Chart is the packed chart.
	Chart  []byte         `json:"chart,omitempty"`
	Values map[string]any `json:"values,omitempty"`
	// Images are by what name the charts' images are pulled: one that is no key is
	// refused. Nil leaves images alone.
	Images map[string]string `json:"images,omitzero"`
	// Places are where pods go: the first that fits, if the chart names none itself.
	Places []Place `json:"places,omitempty"`
}

// Place is the nodes that pods go to: those that ask for a resource, those of
// workloads with a name that one of the patterns matches, or without both all others.
type Place struct {
	// Marker is the prefix of the labels by which nodes are told apart.
	Marker    string   `json:"marker"`
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

// Applied is what was done to a release: "installed", "upgraded", "unchanged" or
// "removed".
type Applied struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Revision  int    `json:"revision"`
	Action    string `json:"action"`
}

// Rendered is what a release consists of, as YAML.
type Rendered struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Manifest  string `json:"manifest"`
	// Images are those that its pods name.
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

// Revision is a release at one time. Status is Helm's word: "deployed", "failed".
type Revision struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	Revision    int       `json:"revision"`
	Chart       string    `json:"chart"`
	Status      string    `json:"status"`
	Updated     time.Time `json:"updated"`
	Description string    `json:"description"`
	// Ready and Pods are counts of its pods, and Waits why the others are not ready;
	// only Status tells them.
	Ready int      `json:"ready"`
	Pods  int      `json:"pods"`
	Waits []string `json:"waits,omitempty"`
}

// ReleaseProblem is why something did not work: place, reason and next step.
type ReleaseProblem struct {
	Place  string `json:"place"`
	Reason string `json:"reason"`
	Next   string `json:"next"`
}

// ReleasesError is all that stands in the way of releases.
type ReleasesError struct {
	Problems []ReleaseProblem
	// Refused tells that the problems are those of charts and values, or of where they
	// shall go, and that nothing was begun.
	Refused bool
}

func (e *ReleasesError) Error() string {
	var texts []string
	for _, p := range e.Problems {
		texts = append(texts, p.Place+" "+p.Reason)
	}
	return strings.Join(texts, "; ")
}

// Releases asks the program for releases of one cluster.
type Releases struct {
	// Program is the path of poolhouse-releases, and Socket a [Gateway]'s.
	Program, Socket string
	// Run marks what is written, so that the next run may repair it. Who asks holds
	// the deployment's lease.
	Run string
	// Timeout bounds the wait for each release; 0 is the program's own.
	Timeout time.Duration
	// KeepFailed leaves what failed as it is.
	KeepFailed bool
	// Tell hears what happens to releases; may be nil.
	Tell func(release, text string)
}

// request and message are what goes to the program, and a line of what comes back.
type request struct {
	Operation  string    `json:"operation"`
	Socket     string    `json:"socket,omitempty"`
	Run        string    `json:"run,omitempty"`
	Releases   []Release `json:"releases,omitempty"`
	KeepFailed bool      `json:"keepFailed,omitempty"`
	Timeout    int       `json:"timeout,omitempty"`
}

type message struct {
	Event    *struct{ Release, Text string } `json:"event"`
	Result   json.RawMessage                 `json:"result"`
	Problems []ReleaseProblem                `json:"problems"`
	Refused  bool                            `json:"refused"`
}

// Render renders releases and changes nothing. An error is a [*ReleasesError] with all
// that is wrong with all of them, or that the program could not be asked.
func (r Releases) Render(ctx context.Context, list []Release) (out []Rendered, err error) {
	err = r.ask(ctx, "render", list, &out)
	return out, err
}

// Apply installs or upgrades releases, one after the other, and waits for each. What
// fails is taken back. It can be repeated after any error or kill.
func (r Releases) Apply(ctx context.Context, list []Release) (out []Applied, err error) {
	err = r.ask(ctx, "apply", list, &out)
	return out, err
}

// Status tells of all releases that Apply has made, in its order.
func (r Releases) Status(ctx context.Context) (out []Revision, err error) {
	err = r.ask(ctx, "status", nil, &out)
	return out, err
}

// History tells of the revisions of the releases of a name, oldest first.
func (r Releases) History(ctx context.Context, name string) (out []Revision, err error) {
	err = r.ask(ctx, "history", []Release{{Name: name}}, &out)
	return out, err
}

// Uninstall removes releases by name, or without one all that Apply has made, the last
// one first.
func (r Releases) Uninstall(ctx context.Context, names []string) (out []Applied, err error) {
	var list []Release
	for _, n := range names {
		list = append(list, Release{Name: n})
	}
	err = r.ask(ctx, "uninstall", list, &out)
	return out, err
}

// mostMessage is how long a line of the program may be.
const mostMessage = 64 << 20

// ask has the program do one thing. The program gets nothing of this one's
// environment, and works in a folder of its own; it ends when its input does, so that
// it doesn't outlive this process.
func (r Releases) ask(ctx context.Context, operation string, list []Release, result any) (err error) {
	line, err := json.Marshal(request{operation, r.Socket, r.Run, list, r.KeepFailed, int(r.Timeout / time.Second)})
	if err != nil {
		return fmt.Errorf("ask for releases: %w", err)
	}
	dir, err := os.MkdirTemp("", "poolhouse-releases-")
	if err != nil {
		return fmt.Errorf("ask for releases: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The end of the input is the interrupt; a program that doesn't mind it is killed.
	const grace = 10 * time.Second
	c := exec.CommandContext(ctx, r.Program)
	c.Dir, c.Env, c.WaitDelay = dir, []string{"HOME=" + dir, "TMPDIR=" + dir}, grace
	said := &tail{}
	c.Stderr = said
	in, err := c.StdinPipe()
	if err != nil {
		return fmt.Errorf("run %s: %w", r.Program, err)
	}
	c.Cancel = in.Close
	out, err := c.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run %s: %w", r.Program, err)
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("run %s: %w", r.Program, err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := in.Write(append(line, '\n'))
		written <- err
	}()
	last, read := r.read(out)
	_ = in.Close() // it has answered, or ended
	// It can't end before all that it says is taken.
	_, drained := io.Copy(io.Discard, out)
	read = errors.Join(read, drained)
	wrote, ended := <-written, c.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case last == nil:
		return fmt.Errorf("%s gave no answer: %w", r.Program, errors.Join(read, wrote, ended, errors.New(said.text())))
	case len(last.Problems) > 0:
		return &ReleasesError{last.Problems, last.Refused}
	}
	if err := json.Unmarshal(last.Result, result); err != nil {
		return fmt.Errorf("read the answer of %s: %w", r.Program, err)
	}
	return nil
}

// read tells of events, and returns the last message.
func (r Releases) read(out io.Reader) (last *message, err error) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, mostMessage)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("a line that is no message: %w", err)
		}
		if m.Event == nil {
			last = &m
			continue
		}
		if r.Tell != nil {
			r.Tell(m.Event.Release, m.Event.Text)
		}
	}
	return last, lines.Err()
}
