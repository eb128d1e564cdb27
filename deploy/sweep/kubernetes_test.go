package sweep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/lease"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/eks/controllers"
	"github.com/poolhouse/poolhouse/sandbox/kubernetesapi"
)

// shareOfWrites is which part of the crash points in Kubernetes is swept when it is not
// all of them.
const shareOfWrites = 0.25

// leastWrites is how many there are in all at the least.
const leastWrites = 100

// town is an account whose cluster has a Kubernetes API in memory.
type town struct {
	box *sandbox.Sandbox
	api *kubernetes.API
	at  time.Time
}

// deed is a command that writes to Kubernetes.
type deed struct {
	name string
	// do does it, for a target with the way to the API.
	do func(ctx context.Context, t deploy.Target) ([]deploy.Kept, error)
	// ends tells that it leaves the account as it was found, and deletes that it is a
	// deletion.
	ends, deletes bool
	// keeps tells that it leaves the volume of the claim.
	keeps bool
	// releases are those that stand then, by name, in which revision.
	releases map[string]int
}

// inside sweeps what writes to the Kubernetes of one deployment.
type inside struct {
	// a is the deployment, and next the same with the next version of Kubernetes.
	a, next *architecture.Architecture
	program string
	start   []byte // the account as it was found
	volume  string // that of the claim, once it is there

	points, survived, failed atomic.Int64
}

// TestL11KubernetesSweep kills what writes to Kubernetes before and after each such
// write: the installation of charts by create, their upgrade by cluster apply, and
// deletions with and without the data. The next run of the same command ends as the
// undisturbed one: one release of each chart is deployed, none is pending, and nothing
// is there twice, in Kubernetes or in AWS; a deletion leaves the account as it was
// found, also after a creation or an upgrade that was killed. An upgrade of Kubernetes
// itself writes nothing there. Helm is stood in for: the module releases sweeps its
// own writes.
func TestL11KubernetesSweep(t *testing.T) {
	if life.Only() != "" && !life.Holds("kubernetes") {
		t.Skip("the case is of another sweep")
	}
	began, spent := time.Now(), cpu(t)
	l := life.Of(t, "evaluation")
	s := &inside{a: l.First, next: life.Of(t, "evaluation").First, program: standInProgram(t)}
	s.a.Config.Cluster.Version, s.next.Config.Cluster.Version = "1.34", "1.35"
	var from town
	from.at = life.Bubble(t, time.Time{}, func(t *testing.T) {
		from.box, s.start = l.Given(t, sandbox.Options{})
		if _, err := (command{verb: life.Create, a: s.a}).run(t.Context(), life.Alone(9, "create"), &line{box: from.box, seed: life.Seed(), spread: spread}); err != nil {
			t.Fatal(err)
		}
		from.api = kubernetes.New(map[string]map[string]string{"elbv2.k8s.aws/v1beta1": {"targetgroupbindings": "TargetGroupBinding"}})
		from.api.Put("/api/v1/nodes/one", `{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}`)
	})
	first, second := []cluster.Release{release("one", 1), release("two", 1)}, []cluster.Release{release("one", 2), release("two", 1), release("three", 1)}
	from = s.sweep(t, from, deed{name: "create", do: s.create(first), releases: map[string]int{"one": 1, "two": 1}})
	from = s.sweep(t, from, deed{name: "apply", do: s.apply(second), releases: map[string]int{"one": 2, "two": 1, "three": 1}})
	from = s.inhabit(t, from)
	s.sweep(t, from, deed{name: "upgrade", do: s.upgrade, releases: map[string]int{"one": 2, "two": 1, "three": 1}})
	s.sweep(t, from, deed{name: "delete", do: s.delete(deploy.DestroyData), ends: true, deletes: true})
	s.sweep(t, from, deed{name: "delete-keep", do: s.delete(deploy.KeepData), deletes: true, keeps: true})
	t.Logf("seed %d: %d crash points in Kubernetes survived in %s (%.0f CPU-seconds), %d not, of %d that there are", life.Seed(), s.survived.Load(), time.Since(began).Round(time.Second), (cpu(t) - spent).Seconds(), s.failed.Load(), s.points.Load())
	if s.survived.Load() == 0 || s.points.Load() < leastWrites && life.Only() == "" {
		t.Errorf("%d of %d crash points were survived", s.survived.Load(), s.points.Load())
	}
}

// release is one of a version that its values tell.
func release(name string, version int) cluster.Release {
	return cluster.Release{Name: name, Namespace: "poolside", Values: map[string]any{"version": version}}
}

// apply does what cluster apply does, and create what create --bundle does.
func (s *inside) apply(list []cluster.Release) func(context.Context, deploy.Target) ([]deploy.Kept, error) {
	return func(ctx context.Context, t deploy.Target) ([]deploy.Kept, error) {
		return nil, deploy.Hold(ctx, t, func(ctx context.Context, t deploy.Target) error {
			_, err := s.install(list)(ctx, t)
			return err
		})
	}
}

func (s *inside) create(list []cluster.Release) func(context.Context, deploy.Target) ([]deploy.Kept, error) {
	return func(ctx context.Context, t deploy.Target) ([]deploy.Kept, error) {
		res, err := deploy.Create(ctx, deploy.CreateOptions{Target: t, Install: s.install(list)})
		if err == nil && len(res.Releases) != len(list) {
			err = fmt.Errorf("%d releases were applied, not %d", len(res.Releases), len(list))
		}
		return nil, err
	}
}

func (s *inside) install(list []cluster.Release) func(context.Context, deploy.Target) ([]cluster.Applied, error) {
	return func(ctx context.Context, t deploy.Target) (applied []cluster.Applied, err error) {
		route, err := deploy.FindRoute(ctx, t)
		if err != nil {
			return nil, err
		}
		g, err := cluster.OpenGateway(route, t.AWS.Clock, deploy.Tokens(t))
		if err == nil {
			applied, err = cluster.Releases{Program: s.program, Socket: g.Socket, Run: t.Holder.Run}.Apply(ctx, list)
			err = errors.Join(err, g.Close())
		}
		return applied, errors.Join(err, route.Close())
	}
}

func (s *inside) delete(data deploy.Data) func(context.Context, deploy.Target) ([]deploy.Kept, error) {
	return func(ctx context.Context, t deploy.Target) ([]deploy.Kept, error) {
		d, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: t, Data: data, Releases: s.program})
		return life.Result{Deleted: d}.Kept(), life.Gone(err)
	}
}

func (s *inside) upgrade(ctx context.Context, t deploy.Target) ([]deploy.Kept, error) {
	t.Architecture = s.next
	_, err := deploy.Upgrade(ctx, deploy.UpgradeOptions{Target: t, Bake: time.Minute})
	return nil, err
}

// inhabit gives a cluster what owns things in AWS, and lets controllers make these.
func (s *inside) inhabit(t *testing.T, from town) town {
	t.Helper()
	to := town{api: from.api.Clone()}
	to.at = life.Bubble(t, from.at, func(t *testing.T) {
		to.box = testkit.Clone(t, from.box, time.Now)
		if err := to.box.Account().Do(func(tx *account.Tx) error {
			v, err := controllers.NewVolume(tx, s.a.ClusterName(), tx.Zones()[0].Name, "pvc-1", "shop", "data-db-0")
			if err == nil {
				s.volume = v.ID
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		to.api.Put("/apis/apps/v1/namespaces/kube-system/deployments/aws-load-balancer-controller", `{"metadata": {"labels": {"app.kubernetes.io/name": "aws-load-balancer-controller"}}, "status": {"readyReplicas": 1}}`)
		to.api.Put("/api/v1/namespaces/shop/services/web", `{"spec": {"type": "LoadBalancer"}}`)
		to.api.Put("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/site", `{}`)
		to.api.Put("/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings/web", `{}`)
		set := to.api.Put("/apis/apps/v1/namespaces/shop/statefulsets/db", `{}`)
		to.api.Put("/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0", `{"spec": {"volumeName": "pvc-1"}}`)
		to.api.Put("/api/v1/namespaces/shop/pods/db-0", fmt.Sprintf(`{"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": %q, "controller": true}]},
			"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]}}`, set))
		to.api.Put("/api/v1/persistentvolumes/pvc-1", fmt.Sprintf(`{"metadata": {"finalizers": ["external-provisioner.volume.kubernetes.io/finalizer"]},
			"spec": {"persistentVolumeReclaimPolicy": "Delete", "capacity": {"storage": "8Gi"}, "claimRef": {"namespace": "shop", "name": "data-db-0"}, "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": %q}},
			"status": {"phase": "Bound"}}`, s.volume))
		defer s.control(t, to)()
		time.Sleep(10 * time.Minute)
	})
	return to
}

// control plays the controllers until what it returns is called.
func (s *inside) control(t *testing.T, in town) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		controllers.Run(ctx, controllers.Options{
			Account: in.box.Account(), Cluster: s.a.ClusterName(), Endpoint: "https://kubernetes", Token: "theirs", Transport: testkit.Transport{Handler: in.api},
		}, 5*time.Second, func(err error) { t.Error(err) })
	})
	return func() { cancel(); running.Wait() }
}

// watched is an API that tells of each write before and after it is done. Controllers
// don't come by it.
type watched struct {
	api           http.Handler
	before, after func(write string)
}

// ServeHTTP implements [http.Handler].
func (w watched) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || w.before == nil {
		w.api.ServeHTTP(rw, r)
		return
	}
	what := r.Method + " " + r.URL.Path
	w.before(what)
	w.api.ServeHTTP(rw, r)
	w.after(what)
}

// does has a process do a deed in a town, whose writes are watched.
func (s *inside) does(t *testing.T, d deed, as lease.Holder, in town, w watched) (kept []deploy.Kept, err error) {
	w.api = in.api
	from := netip.MustParseAddr("203.0.113.10") // whom the example lets in
	door := kubernetesapi.New(kubernetesapi.Options{From: from, API: w})
	door.Attach(in.box.Account())
	stop := s.control(t, in)
	defer func() {
		stop()
		err = errors.Join(err, door.Close())
	}()
	machine := &cluster.Machine{Getenv: func(string) string { return "" }, Plugin: "/nonexistent/plugin", Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		return door.Dial(ctx, eks.Caller{Internet: from}, address)
	}}
	on := &line{box: in.box, seed: life.Seed(), spread: spread, idle: idle}
	target, err := life.Process{Box: in.box, Holder: as, Transport: on, Clock: on, Adjust: func(t *deploy.Target) { t.Machine = machine }}.Target(t.Context(), s.a)
	if err != nil {
		return nil, err
	}
	err = insist(as, d.deletes, func() (err error) {
		kept, err = d.do(t.Context(), target)
		return err
	})
	return kept, err
}

// sweep does a deed, has it killed before and after each of its writes, and returns the
// town after it.
func (s *inside) sweep(t *testing.T, from town, d deed) (to town) {
	t.Helper()
	type moment struct {
		name, write string
		town
	}
	var crashes []moment
	var want, account []string
	writes := 0
	until := from.at.Add(day)
	life.Bubble(t, from.at, func(t *testing.T) {
		to = town{box: testkit.Clone(t, from.box, time.Now), api: from.api.Clone(), at: until}
		take := func(write string, k kind) {
			s.points.Add(1)
			if name := fmt.Sprintf("kubernetes/%s/%d/%s", d.name, writes, k); life.Wanted(name, shareOfWrites) {
				crashes = append(crashes, moment{name, write, town{to.box.Clone(time.Now), to.api.Clone(), time.Now()}})
			}
		}
		kept, err := s.does(t, d, killed, to, watched{
			before: func(write string) { writes++; take(write, before) },
			after:  func(write string) { take(write, after) },
		})
		if err == nil {
			err = s.holds(d, to)
		}
		if err == nil && d.ends {
			err = asFound(s.start, to.box, kept)
		} else if err == nil {
			err = settle(until)
			want, account = dump(to.api), canonical(to.box)
		}
		if err != nil {
			t.Errorf("%s undisturbed: %v", d.name, err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	if d.name == "upgrade" && writes > 0 {
		t.Errorf("an upgrade writes to Kubernetes %d times", writes)
	}
	for _, c := range crashes {
		t.Run(strings.TrimPrefix(c.name, "kubernetes/"), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					s.failed.Add(1)
					t.Logf("seed %d, %s: %s\n%s", life.Seed(), c.name, c.write, life.Repeat(t, "deploy/sweep", c.name))
					return
				}
				s.survived.Add(1)
			}()
			as := here
			if life.Draw(life.Seed(), c.name, "machine") < 0.5 {
				as = there
			}
			life.Bubble(t, c.at, func(t *testing.T) {
				in := town{box: testkit.Clone(t, c.box, time.Now), api: c.api.Clone()}
				kept, err := s.does(t, d, as, in, watched{})
				if err == nil {
					err = s.holds(d, in)
				}
				switch {
				case err != nil:
				case d.ends:
					err = asFound(s.start, in.box, kept)
				default:
					if err = settle(until); err != nil {
						break
					}
					if diff := differing(want, dump(in.api)); diff != "" {
						t.Errorf("Kubernetes is not what the undisturbed run makes it:\n%s", indent(diff))
					}
					if diff := differing(account, canonical(in.box)); diff != "" {
						t.Errorf("the account is not what the undisturbed run makes it:\n%s", indent(diff))
					}
				}
				if err != nil {
					t.Errorf("killed and run again: %v", err)
				}
			})
			if d.deletes {
				return
			}
			last := deed{name: "delete", do: s.delete(deploy.DestroyData), ends: true, deletes: true}
			life.Bubble(t, c.at, func(t *testing.T) {
				in := town{box: testkit.Clone(t, c.box, time.Now), api: c.api.Clone()}
				kept, err := s.does(t, last, as, in, watched{})
				if err == nil {
					err = s.holds(last, in)
				}
				if err == nil {
					err = asFound(s.start, in.box, kept)
				}
				if err != nil {
					t.Errorf("killed and deleted: %v", err)
				}
			})
		})
	}
	return to
}

// holds is an error unless of each chart one release is deployed, in the revision that
// it should be, and none is otherwise than deployed or superseded; and unless a volume
// that is kept is there.
func (s *inside) holds(d deed, in town) error {
	var wrong []error
	deployed := map[string]int{}
	for _, path := range in.api.Paths() {
		if !strings.Contains(path, "/secrets/sh.helm.release.v1.") {
			continue
		}
		var r helmed
		text, err := json.Marshal(in.api.Get(path))
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			return err
		}
		switch name, status := r.Metadata.Labels["name"], r.Metadata.Labels["status"]; {
		case status == "deployed" && deployed[name] == 0:
			deployed[name] = r.version()
		case status != "superseded":
			wrong = append(wrong, fmt.Errorf("revision %d of release %s is %s", r.version(), name, status))
		}
	}
	if fmt.Sprint(deployed) != fmt.Sprint(d.releases) {
		wrong = append(wrong, fmt.Errorf("the releases %v are deployed, not %v", deployed, d.releases))
	}
	if d.keeps && !slices.ContainsFunc(in.box.Account().Resources(), func(r *account.Resource) bool { return r.ID == s.volume }) {
		wrong = append(wrong, fmt.Errorf("volume %s is lost", s.volume))
	}
	return errors.Join(wrong...)
}

// dump are the objects of an API as sections of text, without what is made up and which
// run wrote them.
func dump(api *kubernetes.API) []string {
	var all []string
	for _, path := range api.Paths() {
		o := api.Get(path)
		if m, ok := o["metadata"].(object); ok {
			delete(m, "uid")
			delete(m, "ownerReferences")
			if labels, ok := m["labels"].(object); ok {
				delete(labels, "run")
			}
		}
		// To look for a part of an object leaves an empty one.
		empty(o)
		text, err := json.Marshal(o)
		if err != nil {
			text = []byte(err.Error())
		}
		all = append(all, path+"\n  "+string(text)+"\n")
	}
	slices.Sort(all)
	return all
}

// empty takes empty objects out of one.
func empty(o object) {
	for k, v := range o {
		if m, ok := v.(object); ok {
			if empty(m); len(m) == 0 {
				delete(o, k)
			}
		}
	}
}
