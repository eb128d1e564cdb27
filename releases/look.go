package releases

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	"helm.sh/helm/v4/pkg/storage/driver"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	rel "helm.sh/helm/v4/pkg/release/v1"
)

const (
	statusDeployed     = common.StatusDeployed
	statusFailed       = common.StatusFailed
	statusSuperseded   = common.StatusSuperseded
	statusUninstalling = common.StatusUninstalling
)

// mostReasons is how many pods are told of.
const mostReasons = 10

// barrier waits until the webhooks of a release have endpoints: until then, what they
// guard can't be made. The release stays, and the next run waits again.
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
func (s *session) barrier(ctx context.Context, r Release, manifest string) error {
	services := webhookServices(manifest)
	if len(services) == 0 {
		return nil
	}
	a, err := newAPI(s.Socket, "")
	if err != nil {
		return err
	}
	client, err := a.clients()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	for _, service := range services {
		namespace, name, _ := strings.Cut(service, "/")
		for told := false; ; told = true {
			ready, err := endpoints(ctx, client, namespace, name)
			if err == nil && ready > 0 {
				break
			}
			if !told {
				if err := s.event(r.Name, "waits for the service %s of its webhooks to have an endpoint", service); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				reason := fmt.Sprintf("the service %s of its webhooks has no endpoint that is ready, and until then nothing is begun that they may guard", service)
				if err != nil {
					reason += ": " + err.Error()
				}
				return &problems{[]Problem{{"release " + r.Name, reason, "see why its pods are not ready: poolhouse cluster status; then repeat the command"}}}
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// webhookServices are the services, as NAMESPACE/NAME, of the admission webhooks in a
// manifest.
func webhookServices(manifest string) []string {
	objects, err := decode(strings.NewReader(manifest))
	if err != nil {
		return nil // Helm has read it
	}
	var list []string
	for _, o := range objects {
		if kind := text(o, "kind"); kind != "ValidatingWebhookConfiguration" && kind != "MutatingWebhookConfiguration" {
			continue
		}
		hooks, _ := o["webhooks"].([]any)
		for _, h := range hooks {
			h, _ := h.(object)
			if name := text(h, "clientConfig", "service", "name"); name != "" {
				list = append(list, text(h, "clientConfig", "service", "namespace")+"/"+name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// endpoints counts the endpoints of a service that are ready.
func endpoints(ctx context.Context, client *kubernetes.Clientset, namespace, service string) (int, error) {
	slicesOf, err := client.DiscoveryV1().EndpointSlices(namespace).List(ctx, meta.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + service})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, slice := range slicesOf.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n += len(e.Addresses)
			}
		}
	}
	return n, nil
}

// pods counts the pods of a manifest's workloads, and tells why some are not ready. Those
// of jobs, which come and go, are among them if asked for.
func (s *session) pods(ctx context.Context, namespace, manifest string, jobs bool) (ready, all int, why []string, err error) {
	objects, err := decode(strings.NewReader(manifest))
	if err != nil {
		return 0, 0, nil, err
	}
	a, err := newAPI(s.Socket, namespace)
	if err != nil {
		return 0, 0, nil, err
	}
	client, err := a.clients()
	if err != nil {
		return 0, 0, nil, err
	}
	for _, o := range objects {
		labels, _ := at(o, "spec", "selector", "matchLabels").(object)
		if jobs && text(o, "kind") == "Job" {
			// Its selector is made in the cluster.
			labels = object{batch.JobNameLabel: text(o, "metadata", "name")}
		}
		if podOf(o) == nil || len(labels) == 0 {
			continue
		}
		in := cmp.Or(text(o, "metadata", "namespace"), namespace)
		set := map[string]string{}
		for k, v := range labels {
			set[k] = fmt.Sprint(v)
		}
		list, err := client.CoreV1().Pods(in).List(ctx, meta.ListOptions{LabelSelector: meta.FormatLabelSelector(&meta.LabelSelector{MatchLabels: set})})
		if err != nil {
			return 0, 0, nil, fmt.Errorf("look for the pods of %s: %w", named(o), err)
		}
		for _, p := range list.Items {
			all++
			if reason := notReady(&p); reason != "" {
				why = append(why, fmt.Sprintf("pod %s/%s: %s", p.Namespace, p.Name, reason))
			} else {
				ready++
			}
		}
		if len(list.Items) == 0 && fmt.Sprint(at(o, "spec", "replicas")) != "0" {
			reason, err := refused(ctx, client, in, text(o, "metadata", "name"))
			if err != nil {
				return 0, 0, nil, err
			}
			if reason != "" {
				why = append(why, fmt.Sprintf("%s in %s has no pods: %s", named(o), in, reason))
			}
		}
	}
	return ready, all, why, nil
}

// diagnose tells why the pods of a manifest are not ready. Who can't say says
// nothing: there is another error already.
func (s *session) diagnose(ctx context.Context, namespace, manifest string) []string {
	_, _, why, err := s.pods(ctx, namespace, manifest, true)
	if err != nil {
		return nil
	}
	if len(why) > mostReasons {
		why = append(why[:mostReasons], fmt.Sprintf("and %d more", len(why)-mostReasons))
	}
	return why
}

// notReady tells why a pod isn't; "" if it is, or has done its work.
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
func notReady(p *core.Pod) string {
	if p.Status.Phase == core.PodSucceeded {
		return ""
	}
	conditions := map[core.PodConditionType]core.PodCondition{}
	for _, c := range p.Status.Conditions {
		conditions[c.Type] = c
	}
	if conditions[core.PodReady].Status == core.ConditionTrue {
		return ""
	}
	if c := conditions[core.PodScheduled]; c.Status == core.ConditionFalse {
		return "is on no node: " + c.Message
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating" && c.State.Waiting.Reason != "PodInitializing":
			why := strings.TrimSuffix(fmt.Sprintf("container %s waits, %s: %s", c.Name, c.State.Waiting.Reason, c.State.Waiting.Message), ": ")
			if before := c.LastTerminationState.Terminated; before != nil && before.Message != "" {
				why += fmt.Sprintf("; it ended with code %d before: %s", before.ExitCode, before.Message)
			}
			return why
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
			return strings.TrimSuffix(fmt.Sprintf("container %s ended with code %d, %s: %s", c.Name, c.State.Terminated.ExitCode, c.State.Terminated.Reason, c.State.Terminated.Message), ": ")
		}
	}
	if c := conditions[core.PodReady]; c.Message != "" {
		return c.Message
	}
	return "is " + string(p.Status.Phase)
}

// refused tells why a workload's pods can't be made, by the events of those that
// should make them.
func refused(ctx context.Context, client *kubernetes.Clientset, namespace, workload string) (string, error) {
	events, err := client.CoreV1().Events(namespace).List(ctx, meta.ListOptions{FieldSelector: fields.AndSelectors(
		fields.OneTermEqualSelector("type", core.EventTypeWarning), fields.OneTermEqualSelector("reason", "FailedCreate")).String()})
	if err != nil && !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("look for the events of %s: %w", workload, err)
	}
	var newest *core.Event
	if events == nil {
		return "", nil
	}
	for i, e := range events.Items {
		name := e.InvolvedObject.Name
		if name != workload && !strings.HasPrefix(name, workload+"-") {
			continue
		}
		if newest == nil || newest.LastTimestamp.Before(&e.LastTimestamp) {
			newest = &events.Items[i]
		}
	}
	if newest == nil {
		return "", nil
	}
	return newest.Message, nil
}

// ours are the last revisions of all releases that Apply has made, in its order.
func (s *session) ours() ([]*rel.Release, error) {
	c, err := s.helm("")
	if err != nil {
		return nil, err
	}
	all, err := c.Releases.ListReleases()
	if err != nil {
		return nil, fmt.Errorf("list the releases: %w", err)
	}
	newest := map[string]*rel.Release{}
	for _, r := range all {
		one, ok := r.(*rel.Release)
		if !ok {
			return nil, fmt.Errorf("a release is of the unknown kind %T", r)
		}
		key := one.Namespace + "/" + one.Name
		if have := newest[key]; have == nil || one.Version > have.Version {
			newest[key] = one
		}
	}
	var out []*rel.Release
	for _, r := range newest {
		if r.Labels[orderLabel] != "" {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *rel.Release) int {
		return cmp.Or(cmp.Compare(a.Labels[orderLabel], b.Labels[orderLabel]), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func revision(r *rel.Release) Revision {
	out := Revision{Name: r.Name, Namespace: r.Namespace, Revision: r.Version, Status: r.Info.Status.String(), Updated: r.Info.LastDeployed.UTC(), Description: r.Info.Description}
	if r.Chart != nil && r.Chart.Metadata != nil {
		out.Chart = r.Chart.Metadata.Name + "-" + r.Chart.Metadata.Version
	}
	return out
}

func (s *session) status(ctx context.Context) ([]Revision, error) {
	list, err := s.ours()
	if err != nil {
		return nil, err
	}
	out := []Revision{}
	for _, r := range list {
		one := revision(r)
		if one.Ready, one.Pods, one.Waits, err = s.pods(ctx, r.Namespace, r.Manifest, false); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// history tells of the revisions of the releases of a name, oldest first.
func (s *session) history() ([]Revision, error) {
	c, err := s.helm("")
	if err != nil {
		return nil, err
	}
	out := []Revision{}
	var unknown []Problem
	for _, want := range s.Releases {
		all, err := c.Releases.Query(map[string]string{"name": want.Name, "owner": "helm"})
		n := len(out)
		for _, r := range all {
			if one, ok := r.(*rel.Release); ok && (want.Namespace == "" || one.Namespace == want.Namespace) {
				out = append(out, revision(one))
			}
		}
		if len(out) == n {
			if err != nil && !isNotFound(err) {
				return nil, fmt.Errorf("look for release %s: %w", want.Name, err)
			}
			unknown = append(unknown, Problem{"release " + want.Name, "is not there", "poolhouse cluster status lists the releases"})
		}
	}
	if len(unknown) > 0 {
		return nil, &problems{unknown}
	}
	slices.SortStableFunc(out, func(a, b Revision) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Revision, b.Revision))
	})
	return out, nil
}

// uninstall removes releases, or all that Apply has made if none is named, the last
// one first, and waits until what they consisted of is gone.
func (s *session) uninstall(ctx context.Context) ([]Applied, error) {
	list, err := s.ours()
	if err != nil {
		return nil, err
	}
	if len(s.Releases) > 0 {
		var unknown []Problem
		for _, want := range s.Releases {
			if !slices.ContainsFunc(list, func(r *rel.Release) bool { return r.Name == want.Name }) {
				unknown = append(unknown, Problem{"release " + want.Name, "is not there", "poolhouse cluster status lists the releases"})
			}
		}
		if len(unknown) > 0 {
			return nil, &problems{unknown}
		}
		list = slices.DeleteFunc(list, func(r *rel.Release) bool {
			return !slices.ContainsFunc(s.Releases, func(want Release) bool { return want.Name == r.Name })
		})
	}
	slices.Reverse(list)
	out := []Applied{}
	for _, r := range list {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := s.event(r.Name, "is removed"); err != nil {
			return nil, err
		}
		c, err := s.helm(r.Namespace)
		if err == nil {
			err = waiting(ctx, c)
		}
		if err != nil {
			return nil, err
		}
		u := action.NewUninstall(c)
		u.Timeout, u.WaitStrategy, u.WaitOptions, u.DeletionPropagation = s.timeout(), kube.StatusWatcherStrategy, []kube.WaitOption{kube.WithWaitContext(ctx)}, "foreground"
		if _, err := u.Run(r.Name); err != nil {
			// Helm forgets a release whose objects didn't go in time.
			if left, look := last(c, r.Name); look == nil && left == nil {
				return nil, &problems{[]Problem{{"release " + r.Name, "was removed, but not all of it is gone: " + err.Error(), "see what holds it; Helm knows nothing of it any more"}}}
			}
			return nil, &problems{[]Problem{{"release " + r.Name, "could not be removed: " + err.Error(), "see what holds it, and repeat the command"}}}
		}
		out = append(out, Applied{r.Name, r.Namespace, r.Version, "removed"})
	}
	return out, nil
}

func isNotFound(err error) bool { return errors.Is(err, driver.ErrReleaseNotFound) }
