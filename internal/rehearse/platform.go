package rehearse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

// Platform is a copy of an account whose cluster runs Kubernetes, and what a bundle
// brings there.
type Platform struct {
	// Box is the copy, and API what leads to the Kubernetes of its cluster.
	Box *sandbox.Sandbox
	API *kubernetesapi.Server
	// Proxy leads to names, such as that of its registry, with certificates of Roots.
	Proxy *url.URL
	Roots *x509.CertPool
	// Bundle is its name in words, and Charts the releases that it makes, in order.
	// Transfers move what is in it, and Install installs its charts, as
	// [deploy.CreateOptions] has them.
	Bundle    string
	Charts    []string
	Transfers func(deploy.Target) []deploy.Transfer
	Install   func(context.Context, deploy.Target) ([]cluster.Applied, error)
	// Answers waits until the Kubernetes does.
	Answers func(context.Context) error
	// Reports tells that the bundle is the sample, whose pods say at /report what they
	// reach. NoRows is why databases hold no rows, or "": " (--without postgres)".
	Reports bool
	NoRows  string
	// Users can sign in, as [Visit] has them, or NoUsers is why nobody can.
	Users   [2]User
	NoUsers string
	// Status tells of the releases that are there, and Releases is the program that
	// uninstalls them.
	Status   func(context.Context, deploy.Target) ([]cluster.Revision, error)
	Releases string
	// Problem is what servers couldn't bring about so far, or nil.
	Problem func() error
	// Close ends all that stands behind the copy.
	Close func() error
}

// opening is a platform that is opened beside other steps, or nil where Kubernetes is
// left out.
type opening struct {
	done     chan struct{} // closed once it is open, or can't be
	platform *Platform
	err      error
	taken    bool
}

// openPlatform begins to open a copy of the account as it is now: Kubernetes takes
// seconds to start, by the wall's clock, and other steps need none of it.
func (r *run) openPlatform(ctx context.Context) *opening {
	if r.opts.Platform == nil {
		return nil
	}
	o := &opening{done: make(chan struct{})}
	still := r.box.Clone(nil)
	go func() {
		defer close(o.done)
		o.platform, o.err = r.opts.Platform(ctx, still, r.next)
	}()
	return o
}

// take waits for the platform, whose end is the caller's affair from now on.
func (o *opening) take() (*Platform, error) {
	<-o.done
	o.taken = true
	return o.platform, o.err
}

// end closes a platform that nobody took.
func (o *opening) end() error {
	if o == nil || o.taken {
		return nil
	}
	p, err := o.take()
	if err != nil {
		return err
	}
	return p.Close()
}

// platform has a bundle's charts run in a copy of the account, by a Kubernetes that is
// real but for its machines, and deletes the copy while that answers. It does so as
// somebody who may do anything in AWS.
func (r *run) platform(ctx context.Context, o *opening) (err error) {
	if o == nil {
		return nil
	}
	var c *peopled
	defer func() {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := r.step(StepCharts, "create --bundle in a copy of the account: images to its registry, charts into a real Kubernetes", nil, func() (_ string, err error) {
		if c, err = r.people(ctx, o); err != nil {
			return "", err
		}
		return c.create()
	}); err != nil {
		return c.because(err)
	}
	if err := r.step(StepReach, "ask web, API and administrators' hosts through their load balancers, over TLS", nil, c.reach); err != nil {
		return c.because(err)
	}
	if err := r.step(StepPods, "the scheduler keeps kinds of pods apart, and the API refuses unsafe ones", nil, c.prove); err != nil {
		return c.because(err)
	}
	return c.because(r.step(StepVacate, "delete the copy while its Kubernetes answers, and compare it with its start", nil, c.delete))
}

// peopled is a copy of the account in whose cluster pods run.
type peopled struct {
	*run
	*Platform
	at *server
	p  *process
}

// people takes the copy, and opens the way to it.
func (r *run) people(ctx context.Context, o *opening) (_ *peopled, err error) {
	opened, err := o.take()
	if err != nil {
		return nil, err
	}
	c := &peopled{run: r, Platform: opened}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.at, err = serve(ctx, c.Box, r.clock); err != nil {
		return nil, err
	}
	if c.p, err = r.processAt(ctx, wire{box: c.Box, url: c.at.URL}); err != nil {
		return nil, err
	}
	own, err := url.Parse(c.at.URL)
	if err != nil {
		return nil, err
	}
	// All but the account's endpoint is found by name.
	c.p.next.TLSClientConfig = &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}
	c.p.next.Proxy = func(req *http.Request) (*url.URL, error) {
		if req.URL.Host == own.Host {
			return nil, nil
		}
		return c.Proxy, nil
	}
	return c, nil
}

// target is the deployment of the copy.
func (c *peopled) target(s Step, also func(deploy.Event)) deploy.Target {
	t := c.run.target(c.p, c.next, s, also)
	// A session of Systems Manager would lead to the original.
	inside := c.inside || c.report.Kubernetes.Way == architecture.WaySession
	t.Machine = c.machine(c.clock, place{box: c.Box, api: c.API, copied: true}, inside)
	return t
}

// because adds to an error what the servers behind the copy had to say.
func (c *peopled) because(err error) error {
	if err == nil || c == nil {
		return err
	}
	return errors.Join(err, c.Problem())
}

func (c *peopled) close() error {
	var errs []error
	if c.p != nil {
		c.p.end()
	}
	if c.at != nil {
		errs = append(errs, c.at.close())
	}
	return errors.Join(append(errs, c.Close())...)
}

// held does something at the wall's pace: Kubernetes goes by the wall's clock.
func held[T any](r *run, do func() (T, error)) (T, error) {
	defer r.clock.Hold()()
	return do()
}

// create does what create --bundle does where the stacks are complete already, and
// takes down what runs then.
func (c *peopled) create() (string, error) {
	began := time.Now()
	pods := &Pods{Bundle: c.Bundle, Charts: c.Charts, Releases: []cluster.Revision{}, Ran: []Pod{}, Entries: []Entry{}, Told: []Told{}, Apart: []Apart{}, Refused: []Refused{}}
	c.report.Pods = pods
	installed := func(ctx context.Context, t deploy.Target) (list []cluster.Applied, err error) {
		return held(c.run, func() ([]cluster.Applied, error) { return c.Install(ctx, t) })
	}
	if _, err := held(c.run, func() (any, error) { return nil, c.Answers(c.p.ctx) }); err != nil {
		return "", err
	}
	t := c.target(StepCharts, nil)
	_, failed := deploy.Create(c.p.ctx, deploy.CreateOptions{Target: t, Transfers: c.Transfers(t), Install: installed})
	var releases *cluster.ReleasesError
	if failed != nil && !errors.As(failed, &releases) {
		return "", failed
	}
	return held(c.run, func() (string, error) {
		var err error
		if pods.Releases, err = c.Status(c.p.ctx, t); err != nil {
			return "", errors.Join(failed, err)
		}
		if err := c.speak(t, func(k *kube) error { return pods.look(c.p.ctx, k) }); err != nil {
			return "", errors.Join(failed, err)
		}
		pods.Took = time.Since(began)
		if failed != nil && !pods.excused() {
			return "", failed
		}
		return pods.summary(), pods.misplaced(c.next)
	})
}

// speak speaks to the copy's Kubernetes as the operator.
func (c *peopled) speak(t deploy.Target, f func(*kube) error) error {
	route, err := deploy.FindRoute(c.p.ctx, t)
	if err != nil {
		return err
	}
	way, done := route.Caller(c.clock, deploy.Tokens(t))
	err = f(&kube{at: strings.TrimSuffix(route.Endpoint, "/"), way: way})
	done()
	return errors.Join(err, route.Close())
}

// prove has the scheduler and the API say what can't be.
func (c *peopled) prove() (out string, err error) {
	return held(c.run, func() (string, error) {
		err := c.speak(c.target(StepPods, nil), func(k *kube) error {
			probe := &prober{run: c.run, kube: k, pods: c.report.Pods, arch: c.next}
			return errors.Join(probe.apart(c.p.ctx), probe.refused(c.p.ctx))
		})
		p := c.report.Pods
		return fmt.Sprintf("%s refused by the scheduler, %s by the API", count(len(p.Apart), "place"), count(len(p.Refused), "pod")), err
	})
}

// delete deletes the deployment of the copy, and finds the account as it was.
func (c *peopled) delete() (string, error) {
	uninstalled := 0
	t := c.target(StepVacate, func(e deploy.Event) {
		if s, ok := e.(deploy.Step); ok && strings.HasPrefix(s.Text, "uninstalled release ") {
			uninstalled++
		}
	})
	deleted, err := deploy.Delete(c.p.ctx, deploy.DeleteOptions{Target: t, Data: deploy.DestroyData, Releases: c.Releases})
	if err != nil {
		return "", err
	}
	if want := len(c.report.Pods.Releases); uninstalled != want {
		return "", &MismatchError{"the deletion with the Kubernetes API up", []string{fmt.Sprintf("it has uninstalled %s of %d", count(uninstalled, "release"), want)}}
	}
	c.report.Pods.Uninstalled = uninstalled
	if _, err := remainder(c.start, c.Box.Account().Resources(), deleted.Kept); err != nil {
		return "", err
	}
	outcome := count(uninstalled, "release") + " uninstalled, as it was found"
	for _, k := range deleted.Kept {
		if k.Type == "AWS::S3::Bucket" {
			outcome += ", but for bucket " + k.ID + ": " + k.Why
		}
	}
	return outcome, nil
}
