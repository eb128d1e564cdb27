package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// PendingError says that the platform is complete and protected, and what is
// still to come. The same call goes on; nothing is lost or repeated.
type PendingError struct {
	Deployment string
	// Err is why the Kubernetes phase can't be done from here: a
	// [cluster.UnreachableError] if there is no route, another one if EKS could
	// not be asked about it; nil if it is done.
	Err error
	// GPU is why there are no GPU nodes, or not as they shall be; nil if there are.
	GPU error
}

func (e *PendingError) Error() string {
	var waits []string
	if e.GPU != nil {
		waits = append(waits, fmt.Sprintf("its GPU nodes are pending: %v", e.GPU))
	}
	if e.Err != nil {
		waits = append(waits, fmt.Sprintf("its Kubernetes phase waits: %v", e.Err))
	}
	return fmt.Sprintf("the AWS side of %s is complete, and %s", e.Deployment, strings.Join(waits, "; "))
}

// Unwrap gives the reasons.
func (e *PendingError) Unwrap() []error {
	return slices.DeleteFunc([]error{e.GPU, e.Err}, func(err error) bool { return err == nil })
}

// FindRoute looks for the way to the Kubernetes API of a target's cluster, from the
// target's machine. See [cluster.FindRoute].
func FindRoute(ctx context.Context, t Target) (*cluster.Route, error) {
	return cluster.FindRoute(ctx, cluster.Options{
		Architecture: t.Architecture, EKS: t.AWS.EKS, EC2: t.AWS.EC2, SSM: t.AWS.SSM, Clock: t.AWS.Clock, Machine: *t.Machine,
	})
}

// Tokens makes tokens for a target's cluster, as the caller.
func Tokens(t Target) func(context.Context) (cluster.Token, error) {
	signer := sts.NewPresignClient(t.AWS.STS)
	return func(ctx context.Context) (cluster.Token, error) {
		return cluster.NewToken(ctx, signer, t.AWS.Clock, t.Architecture.ClusterName())
	}
}

// objectsOf are the Kubernetes objects of a target's cluster, by a route, behind the
// gate of the target's clients. Done is for when they are of no more use.
func objectsOf(t Target, r *cluster.Route) (c *objects.Client, done func()) {
	way, done := r.Caller(t.AWS.Clock, Tokens(t))
	return &objects.Client{Endpoint: r.Endpoint, Transport: way, Clock: t.AWS.Clock, Gate: t.AWS.Gate()}, done
}

// kubernetes is the phase after the stacks. It begins with the route, and that
// is all of it: the route is proved and let go.
func (a *applying) kubernetes(ctx context.Context) (*cluster.Route, error) {
	if a.Machine == nil {
		return nil, nil
	}
	route, err := FindRoute(ctx, a.Target)
	var unreachable *cluster.UnreachableError
	if errors.As(err, &unreachable) {
		a.attempts(unreachable.Attempts)
		return nil, &PendingError{Deployment: a.Architecture.Config.Name, Err: err}
	}
	if err != nil && (ctx.Err() != nil || awsapi.IsCredentials(err)) {
		return nil, err
	}
	if err != nil {
		return nil, &PendingError{Deployment: a.Architecture.Config.Name, Err: err}
	}
	a.attempts(route.Attempts)
	version := ""
	if route.Version != "" {
		version = ", version " + route.Version
	}
	a.step("", "the Kubernetes API answers: %s%s", route, version)
	if err := route.Close(); err != nil {
		return nil, fmt.Errorf("close the route to the Kubernetes API: %w", err)
	}
	return route, nil
}

// attempts tells which ways to the Kubernetes API failed.
func (a *applying) attempts(list []cluster.Attempt) {
	for _, t := range list {
		if t.Error != "" {
			a.step("", "no way to the Kubernetes API by %s: %s", t, t.Error)
		}
	}
}

// KubernetesStatus is how the Kubernetes API is reached from where this was
// asked, or why it isn't.
type KubernetesStatus struct {
	Endpoint string `json:"endpoint"`
	// Way is empty if none works.
	Way      architecture.Way  `json:"way,omitempty"`
	Via      string            `json:"via,omitempty"`
	Version  string            `json:"version,omitempty"`
	Attempts []cluster.Attempt `json:"attempts"`
	// Releases are Helm's, and ReleasesUnknown is why they can't be told.
	Releases        []objects.Release `json:"releases,omitempty"`
	ReleasesUnknown string            `json:"releasesUnknown,omitempty"`
}

// releasesTime is how long a look at a deployment waits for its releases.
const releasesTime = 10 * time.Second

// lookAtKubernetes decides the route for a cluster that is there; nil if there
// is none, or nobody asked.
func lookAtKubernetes(ctx context.Context, t Target, owned map[architecture.StackName]*stack.State) (*KubernetesStatus, error) {
	st := owned[architecture.Cluster]
	if t.Machine == nil || !st.Exists() || stack.ConditionOf(st.Status) != stack.Whole {
		return nil, nil
	}
	route, err := FindRoute(ctx, t)
	var unreachable *cluster.UnreachableError
	if errors.As(err, &unreachable) {
		return &KubernetesStatus{Endpoint: unreachable.Endpoint, Attempts: unreachable.Attempts}, nil
	}
	if err != nil {
		return nil, err
	}
	s := &KubernetesStatus{Endpoint: route.Endpoint, Way: route.Way, Via: route.Via, Version: route.Version, Attempts: route.Attempts}
	api, done := objectsOf(t, route)
	defer done()
	bounded, cancel := context.WithTimeoutCause(ctx, releasesTime, fmt.Errorf("no answer within %v", releasesTime))
	defer cancel()
	if s.Releases, err = api.Releases(bounded); err != nil {
		s.ReleasesUnknown = err.Error()
	}
	return s, errors.Join(context.Cause(ctx), route.Close())
}
