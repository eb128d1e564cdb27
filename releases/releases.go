// Package releases installs, upgrades and removes Helm releases, and tells of them.
// It is a program of its own, asked by one line of JSON and answering in such lines:
// Helm and the libraries of Kubernetes stay out of the program that asks.
//
// Invariants: charts come in the request and from nowhere else, and neither plugins,
// repositories, the environment nor files of this machine are read. What a run leaves
// half done, killed at any moment, the next one of the same caller repairs. An upgrade
// that does not become ready is rolled back to what was there, a first installation
// that doesn't is removed, unless it makes namespaces.
//
// Limits: custom resources that name images of their own are not rewritten, nor are
// the definitions in a chart's folder crds.
package releases

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/common"

	rel "helm.sh/helm/v4/pkg/release/v1"
)

// The labels of what is kept of a release: who wrote it, from what, and its place in
// the order.
const (
	runLabel     = "poolhouse/run"
	contentLabel = "poolhouse/content"
	orderLabel   = "poolhouse/order"
)

const (
	// defaultTimeout is how long a release may take to become ready.
	defaultTimeout = 10 * time.Minute
	// renderTime bounds the rendering of a chart.
	renderTime = time.Minute
	// mostRendered is how many bytes a release may render to.
	mostRendered = 16 << 20
	// keptRevisions is how many revisions of a release are kept.
	keptRevisions = 10
)

// session is one request in work.
type session struct {
	Request
	say func(Message) error
	// refused is said when charts or values don't do, and nothing was begun.
	refused bool
	// served are the kinds that the cluster has; nil if it wasn't asked.
	served common.VersionSet
}

func init() { kube.ManagedFieldsManager = "poolhouse" } // Helm would take the name of the program's file

// Serve reads a request, carries it out and writes messages, the last of which is a
// result or problems. It returns an error if nothing could be written. Its work ends
// with the context.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := encoder(out)
	var r Request
	request := json.NewDecoder(in)
	request.DisallowUnknownFields()
	if err := request.Decode(&r); err != nil {
		return lines.Encode(Message{Problems: []Problem{{"the request", "can't be read: " + err.Error(), "use the program of the same version as poolhouse"}}})
	}
	s := &session{Request: r, say: func(m Message) error { return lines.Encode(m) }}
	result, err := s.do(ctx)
	if err == nil {
		var text bytes.Buffer
		if err = encoder(&text).Encode(result); err == nil {
			return s.say(Message{Result: text.Bytes()})
		}
	}
	var several *problems
	if !errors.As(err, &several) {
		several = &problems{[]Problem{{string(r.Operation), err.Error(), "repeat the command; what is done is not done again"}}}
	}
	return s.say(Message{Problems: several.list, Refused: s.refused})
}

// encoder writes JSON that no browser reads: escapes would only make it longer.
func encoder(out io.Writer) *json.Encoder {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e
}

func (s *session) do(ctx context.Context) (any, error) {
	switch s.Operation {
	case Render:
		return s.render(ctx)
	case Apply:
		return s.apply(ctx)
	case Status:
		return s.status(ctx)
	case History:
		return s.history()
	case Uninstall:
		return s.uninstall(ctx)
	}
	return nil, &problems{[]Problem{{"the request", fmt.Sprintf("asks for %q, which this program doesn't know", s.Operation), "use the program of the same version as poolhouse"}}}
}

func (s *session) event(release, format string, args ...any) error {
	return s.say(Message{Event: &Event{release, fmt.Sprintf(format, args...)}})
}

func (s *session) timeout() time.Duration {
	if s.Timeout > 0 {
		return time.Duration(s.Timeout) * time.Second
	}
	return defaultTimeout
}

// load reads a chart, with what it depends on.
func load(r Release) (*chart.Chart, error) {
	c, err := loader.LoadArchive(bytes.NewReader(r.Chart))
	if err != nil {
		return nil, &problems{[]Problem{{"release " + r.Name, "has a chart that Helm can't read: " + err.Error(), "look at it with: helm lint"}}}
	}
	var missing []string
	for _, d := range c.Metadata.Dependencies {
		found := false
		for _, have := range c.Dependencies() {
			found = found || have.Name() == d.Name
		}
		if !found {
			missing = append(missing, d.Name)
		}
	}
	if len(missing) > 0 {
		return nil, &problems{[]Problem{{"release " + r.Name, "has a chart that lacks what it depends on: " + strings.Join(missing, ", "), "pack the chart with its dependencies: helm dependency update"}}}
	}
	if wrong := schemas(r.Name, c); len(wrong) > 0 {
		return nil, &problems{wrong}
	}
	return c, nil
}

// render renders all releases without changing anything. All problems of all of them
// are found.
func (s *session) render(ctx context.Context) ([]Rendered, error) {
	out := []Rendered{}
	var all problems
	for _, r := range s.Releases {
		one, err := s.renderOne(ctx, r)
		var several *problems
		switch {
		case err == nil:
			out = append(out, *one)
		case errors.As(err, &several):
			all.list = append(all.list, several.list...)
		default:
			return nil, err
		}
	}
	if len(all.list) > 0 {
		s.refused = true
		return nil, &all
	}
	return out, s.lacking(out)
}

// lacking notes which objects are of kinds that nothing has defined before them.
func (s *session) lacking(list []Rendered) error {
	if s.served == nil {
		return nil
	}
	defined := map[string]bool{}
	for i := range list {
		objects, err := decode(strings.NewReader(list[i].Manifest))
		if err != nil {
			return err
		}
		for _, o := range objects {
			if text(o, "kind") != "CustomResourceDefinition" {
				continue
			}
			versions, _ := at(o, "spec", "versions").([]any)
			for _, v := range versions {
				v, _ := v.(object)
				defined[text(o, "spec", "group")+"/"+text(v, "name")+"/"+text(o, "spec", "names", "kind")] = true
			}
		}
		for _, o := range objects {
			version, kind := text(o, "apiVersion"), text(o, "kind")
			if name := version + "/" + kind; !s.served.Has(name) && !defined[name] {
				list[i].Lacks = append(list[i].Lacks, KindUse{version, kind, "release " + list[i].Name + ", " + named(o)})
			}
		}
	}
	return nil
}

// renderOne renders a release for the cluster's version, if there is a cluster, and as
// an upgrade if the release is there. A template that doesn't end is given up; what it has begun goes on until the program
// ends.
func (s *session) renderOne(ctx context.Context, r Release) (*Rendered, error) {
	c, err := load(r)
	if err != nil {
		return nil, err
	}
	install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
	install.DryRunStrategy, install.ReleaseName, install.Namespace, install.IncludeCRDs = action.DryRunClient, r.Name, r.Namespace, true
	if s.Socket != "" {
		if err := s.capabilities(install); err != nil {
			return nil, err
		}
		cfg, err := s.helm(r.Namespace)
		if err != nil {
			return nil, err
		}
		before, err := last(cfg, r.Name)
		if err != nil {
			return nil, err
		}
		install.IsUpgrade = before != nil
	}
	given, err := values(r)
	if err != nil {
		return nil, err
	}
	w := &rewriter{release: r}
	install.PostRenderer = w
	type result struct {
		text string
		used []ImageUse
		err  error
	}
	done := make(chan result, 1)
	go func() {
		made, err := install.RunWithContext(ctx, c, given)
		one, ok := made.(*rel.Release)
		switch {
		case len(w.problems) > 0:
			err = &problems{w.problems}
		case err == nil && !ok:
			err = fmt.Errorf("helm rendered a %T", made)
		case err != nil:
			err = &problems{[]Problem{{"release " + r.Name, "can't be rendered: " + err.Error(), "correct its values; the chart's values.yaml says which there are"}}}
		}
		if err != nil {
			done <- result{err: err}
			return
		}
		text := one.Manifest
		for _, h := range one.Hooks {
			text += "---\n" + h.Manifest
		}
		done <- result{text: text, used: w.used}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(renderTime):
		return nil, &problems{[]Problem{{"release " + r.Name, fmt.Sprintf("has templates that take more than %v to render", renderTime), "ask who made the chart"}}}
	case d := <-done:
		if d.err != nil {
			return nil, d.err
		}
		if len(d.text) > mostRendered {
			return nil, &problems{[]Problem{{"release " + r.Name, fmt.Sprintf("renders to %d bytes, more than %d", len(d.text), mostRendered), "ask who made the chart"}}}
		}
		return &Rendered{Name: r.Name, Namespace: r.Namespace, Manifest: d.text, Images: d.used}, nil
	}
}

// capabilities has a chart rendered for the version and the kinds of the cluster.
func (s *session) capabilities(install *action.Install) error {
	a, err := newAPI(s.Socket, "")
	if err != nil {
		return err
	}
	version, err := a.discovery.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask Kubernetes for its version: %w", err)
	}
	kinds, err := action.GetVersionSet(a.discovery)
	if err != nil {
		return fmt.Errorf("ask Kubernetes for its kinds: %w", err)
	}
	install.KubeVersion = &common.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor}
	install.APIVersions, s.served = kinds, kinds
	return nil
}

// values are a release's, never nil and not shared: Helm writes into them.
func values(r Release) (map[string]any, error) {
	text, err := json.Marshal(r.Values)
	out := map[string]any{}
	if err == nil && r.Values != nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("copy the values of release %s: %w", r.Name, err)
	}
	return out, nil
}

// content is a name for all that a release is made from.
func (r Release) content() (string, error) {
	text, err := json.Marshal(r)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:20]), err
}

// apply installs or upgrades releases. It goes on to the next when one is ready, and
// stops at the first that fails. Nothing is begun before all of them render.
func (s *session) apply(ctx context.Context) ([]Applied, error) {
	rendered, err := s.render(ctx)
	if err != nil {
		return nil, err
	}
	out := []Applied{}
	for i, r := range s.Releases {
		one, err := s.applyOne(ctx, i, r, rendered[i].Manifest)
		if err != nil {
			return nil, err
		}
		out = append(out, *one)
	}
	return out, nil
}

// revisions are those of a release, the newest first.
func revisions(c *action.Configuration, name string) (list []*rel.Release, err error) {
	history, err := c.Releases.History(name)
	if err != nil && !isNotFound(err) {
		return nil, fmt.Errorf("look for release %s: %w", name, err)
	}
	for _, h := range history {
		one, ok := h.(*rel.Release)
		if !ok {
			return nil, fmt.Errorf("release %s is of the unknown kind %T", name, h)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b *rel.Release) int { return cmp.Compare(b.Version, a.Version) })
	return list, nil
}

// last is the last revision of a release; nil if there is none.
func last(c *action.Configuration, name string) (*rel.Release, error) {
	list, err := revisions(c, name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (s *session) applyOne(ctx context.Context, order int, r Release, manifest string) (*Applied, error) {
	c, err := load(r)
	if err != nil {
		return nil, err
	}
	cfg, err := s.helm(r.Namespace)
	if err == nil {
		err = waiting(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	before, err := last(cfg, r.Name)
	if err != nil {
		return nil, err
	}
	if before, err = s.repair(cfg, before); err != nil {
		return nil, err
	}
	content, err := r.content()
	if err != nil {
		return nil, err
	}
	if before != nil && before.Info.Status == statusDeployed && before.Labels[contentLabel] == content {
		if err := s.barrier(ctx, r, manifest); err != nil {
			return nil, err
		}
		return &Applied{r.Name, r.Namespace, before.Version, "unchanged"}, s.event(r.Name, "unchanged, revision %d", before.Version)
	}
	given, err := values(r)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{runLabel: s.Run, contentLabel: content, orderLabel: fmt.Sprintf("%03d", order)}
	wait := []kube.WaitOption{kube.WithWaitContext(ctx)}
	did := "installed"
	var made any
	if before == nil {
		if err := s.event(r.Name, "installs %s-%s", c.Metadata.Name, c.Metadata.Version); err != nil {
			return nil, err
		}
		i := action.NewInstall(cfg)
		i.ReleaseName, i.Namespace, i.Labels, i.Timeout, i.PostRenderer = r.Name, r.Namespace, labels, s.timeout(), &rewriter{release: r}
		i.WaitStrategy, i.WaitOptions, i.WaitForJobs = kube.StatusWatcherStrategy, wait, true
		made, err = i.RunWithContext(ctx, c, given)
	} else {
		did = "upgraded"
		if err := s.event(r.Name, "upgrades revision %d to %s-%s", before.Version, c.Metadata.Name, c.Metadata.Version); err != nil {
			return nil, err
		}
		u := action.NewUpgrade(cfg)
		u.Namespace, u.Labels, u.Timeout, u.PostRenderer, u.MaxHistory = r.Namespace, labels, s.timeout(), &rewriter{release: r}, keptRevisions
		u.WaitStrategy, u.WaitOptions, u.WaitForJobs = kube.StatusWatcherStrategy, wait, true
		u.ResetValues = true
		made, err = u.RunWithContext(ctx, r.Name, c, given)
	}
	if err != nil {
		return nil, s.failed(ctx, cfg, r, before, manifest, err)
	}
	if err := s.barrier(ctx, r, manifest); err != nil {
		return nil, err
	}
	one, ok := made.(*rel.Release)
	if !ok {
		return nil, fmt.Errorf("helm made a %T", made)
	}
	return &Applied{r.Name, r.Namespace, one.Version, did}, s.event(r.Name, "is ready, revision %d", one.Version)
}

// repair ends what a run that is over has left undone: its record says so from now on,
// and the next upgrade goes on from what it did. What another client of Helm does is
// not touched while it may still be at work.
func (s *session) repair(c *action.Configuration, r *rel.Release) (*rel.Release, error) {
	if r == nil || !r.Info.Status.IsPending() && r.Info.Status != statusUninstalling {
		return r, nil
	}
	stuck := r.Info.Status
	if age := time.Since(r.Info.LastDeployed); r.Labels[runLabel] == "" && age < s.timeout() {
		return nil, &problems{[]Problem{{
			"release " + r.Name, fmt.Sprintf("is %s for %v by another client of Helm", stuck, age.Round(time.Second)),
			"wait until that is over, then repeat the command: what is left undone is repaired after " + s.timeout().String(),
		}}}
	}
	r.SetStatus(statusFailed, fmt.Sprintf("left %s by a run that is over", stuck))
	if err := c.Releases.Update(r); err != nil {
		return nil, fmt.Errorf("repair release %s: %w", r.Name, err)
	}
	return r, s.event(r.Name, "was left %s at revision %d by a run that is over; goes on from there", stuck, r.Version)
}

// failed finds out why a release failed, and then takes it back: to the revision that
// worked, or away if there is none. Before is the revision that was there.
func (s *session) failed(ctx context.Context, c *action.Configuration, r Release, before *rel.Release, manifest string, err error) error {
	var several *problems
	if errors.As(err, &several) {
		return err // nothing was begun
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	why := s.diagnose(ctx, r.Namespace, manifest)
	p := Problem{"release " + r.Name, err.Error(), "see why, mend it, and repeat the command"}
	if len(why) > 0 {
		p.Reason = strings.Join(why, "; ")
	}
	if strings.Contains(err.Error(), "failed calling webhook") {
		p.Reason, p.Next = err.Error(), "have the service of the webhook that is named run, or remove its configuration, and repeat the command"
	}
	after, lookErr := last(c, r.Name)
	switch {
	case lookErr != nil:
		return errors.Join(&problems{[]Problem{p}}, lookErr)
	case after == nil, before != nil && after.Version == before.Version: // it did not get that far
		return &problems{[]Problem{p}}
	case after.Info.Status == statusDeployed: // only the answer that says so was lost
		return &problems{[]Problem{p}}
	case s.KeepFailed:
		p.Reason += fmt.Sprintf("; it was left as it is, revision %d", after.Version)
		return &problems{[]Problem{p}}
	}
	what, back := s.takeBack(c, after)
	if back != nil {
		p.Reason += "; it could not be taken back: " + back.Error()
	} else {
		p.Reason += "; " + what
	}
	return &problems{[]Problem{p}}
}

// takeBack undoes a failed revision. One that makes namespaces is never removed, not even
// the first: a namespace may have been there before it, marked as its own.
func (s *session) takeBack(c *action.Configuration, failed *rel.Release) (string, error) {
	all, err := revisions(c, failed.Name)
	if err != nil {
		return "", err
	}
	good := working(all, failed.Version)
	switch {
	case good == nil && holdsNamespaces(failed.Manifest):
		return "it was left as it is: no revision of it has worked, and to remove it would remove namespaces with all that they hold", nil
	case good == nil:
		if err := s.event(failed.Name, "removes what was installed"); err != nil {
			return "", err
		}
		u := action.NewUninstall(c)
		u.Timeout, u.WaitStrategy, u.IgnoreNotFound = s.timeout(), kube.StatusWatcherStrategy, true
		_, err := u.Run(failed.Name)
		return "it was removed, since no revision of it has worked", err
	}
	if err := s.event(failed.Name, "rolls back to revision %d", good.Version); err != nil {
		return "", err
	}
	b := action.NewRollback(c)
	b.Version, b.Timeout, b.WaitStrategy, b.MaxHistory = good.Version, s.timeout(), kube.StatusWatcherStrategy, keptRevisions
	return fmt.Sprintf("it was rolled back to revision %d", good.Version), b.Run(failed.Name)
}

// working is the revision below another to go back to; nil if there is none. Helm marks
// the one that worked as superseded before it marks the next as deployed, so what is
// lost between the two leaves none that is deployed.
func working(newestFirst []*rel.Release, below int) *rel.Release {
	for _, status := range []release.Status{statusDeployed, statusSuperseded} {
		for _, r := range newestFirst {
			if r.Version < below && r.Info.Status == status {
				return r
			}
		}
	}
	return nil
}

// holdsNamespaces tells whether a manifest makes namespaces: with the release, all that
// is in them goes.
func holdsNamespaces(manifest string) bool {
	objects, err := decode(strings.NewReader(manifest))
	return err != nil || slices.ContainsFunc(objects, func(o object) bool { return text(o, "kind") == "Namespace" })
}
