package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/inventory"
)

const (
	// stillness is how long controllers may do nothing before they are given up. A
	// load balancer and its groups take them minutes, and pods half a minute to end.
	stillness = 10 * time.Minute
	// vacateTime bounds one wait for controllers, which may make again what goes.
	vacateTime = 30 * time.Minute
	// uninstallTime bounds the end of one Helm release.
	uninstallTime = 5 * time.Minute
)

// vacate removes the Kubernetes objects that own things in AWS, while the controllers
// run that made these, and waits until they are gone. It comes before anything of the
// stacks is touched, and begins nothing that the sweep by tags doesn't finish: where
// the API can't be reached or refuses, or controllers do nothing, it says so and is
// over. The error is one that ends the deletion.
func (d *deleting) vacate(ctx context.Context) error {
	if d.Machine == nil || !slices.Contains(d.going, architecture.Cluster) || !d.owned[architecture.Cluster].Exists() {
		return nil
	}
	err := d.within(ctx, d.vacateNow)
	var overdue *OverdueError
	switch {
	case err == nil, awsapi.IsNotFound(err): // there is no cluster any more
		return nil
	case silent(ctx, err) || errors.As(err, &overdue):
		return err
	}
	d.step(architecture.Cluster, "what controllers made is removed by its tags, without them: %v", err)
	return nil
}

func (d *deleting) vacateNow(ctx context.Context) (err error) {
	route, err := d.routeToOwn(ctx, d.owned[architecture.Cluster])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, route.Close()) }()
	api, done := objectsOf(d.Target, route)
	defer done()
	v := &vacating{deleting: d, api: api}
	ready, err := api.ReadyNodes(ctx)
	switch {
	case err != nil:
		return err
	case ready == 0:
		return errors.New("no node of the cluster is ready, so that no controller runs")
	}
	d.touched = true
	if err := v.retain(ctx); err != nil {
		return err
	}
	// Load balancers first: what makes them may be of a release.
	if err := v.clear(ctx, "load balancers", api.Fronts, nothing); err != nil {
		return err
	}
	if err := v.clear(ctx, "bindings to target groups", api.Bindings, nothing); err != nil {
		return err
	}
	if err := v.uninstall(ctx, route); err != nil {
		return err
	}
	// Pods that were about to start may have been given volumes meanwhile.
	if err := v.retain(ctx); err != nil {
		return err
	}
	if err := v.unclaim(ctx); err != nil {
		return err
	}
	return v.awaitGone(ctx)
}

// vacating is a vacate in progress.
type vacating struct {
	*deleting
	api *objects.Client
	// removed counts the objects whose deletion this run has begun, and volumes are
	// the handles of those volumes that go with their claims.
	removed int
	volumes []string
}

// retain has the volumes of claims and their snapshots outlive the objects, unless the
// data is destroyed.
func (v *vacating) retain(ctx context.Context) error {
	if v.opts.Data == DestroyData {
		return nil
	}
	kept, err := v.api.Retain(ctx)
	for _, k := range kept {
		v.step(architecture.Cluster, "volume %s of the claim %s will stay when the claim goes", k.Handle, k.Claim)
	}
	return err
}

// lister lists objects.
type lister func(context.Context) ([]objects.Object, error)

func nothing(context.Context) ([]objects.Object, error) { return nil, nil }

// clear deletes what is listed, once what holds it is on its way, and waits until
// nothing is left, also of what is made again meanwhile. What doesn't go is named, and
// left to the sweep by tags.
func (v *vacating) clear(ctx context.Context, what string, list, holders lister) error {
	var stuck []objects.Object
	begun := map[string]bool{}
	since, was := v.AWS.Clock.Now(), ""
	look := func(ctx context.Context, waited time.Duration) (over bool, seen string, err error) {
		held, err := holders(ctx)
		if err != nil {
			return false, "", err
		}
		left, err := list(ctx)
		if err != nil {
			return false, "", err
		}
		// Whoever holds nothing of it stays.
		if stuck = left; len(left) == 0 {
			held = nil
		}
		for _, o := range append(held, left...) {
			if o.Going {
				continue
			}
			if err := v.api.Delete(ctx, o); err != nil {
				return false, "", err
			}
			if !begun[o.UID] {
				begun[o.UID] = true
				v.removed++
				v.step(architecture.Cluster, "deleting %s", o)
			}
		}
		now := words(left)
		if now != was {
			since, was = v.AWS.Clock.Now(), now
		}
		still := v.AWS.Clock.Now().Sub(since)
		return len(left) == 0 || still >= v.patience() || waited >= vacateTime, now, nil
	}
	err := v.until(ctx, architecture.Cluster, poll.Wait{For: "the end of what owns " + what + " in Kubernetes", Pace: brisk}, look)
	if err != nil {
		return err
	}
	for _, o := range stuck {
		why := "it is made again and again"
		if o.Going {
			why = "nothing takes it out of its finalizers " + strings.Join(o.Finalizers, ", ")
		}
		v.step(architecture.Cluster, "%s does not go: %s; what it owns in AWS is removed by its tags", o, why)
	}
	return nil
}

// patience is how long nothing may move, which is less than what ends the deletion.
func (v *vacating) patience() time.Duration { return min(stillness, v.stall/2) }

// words are objects, in words.
func words(list []objects.Object) string {
	var all []string
	for _, o := range list {
		all = append(all, o.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// unclaim deletes the claims to volumes, with what keeps pods that use them.
func (v *vacating) unclaim(ctx context.Context) error {
	all, err := v.api.Volumes(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		// Nobody takes away what has no claim.
		if one.Deleted && one.Claim != "" && one.Driver == ebsDriver {
			v.volumes = append(v.volumes, one.Handle)
		}
	}
	return v.clear(ctx, "volumes", v.api.Claims, v.api.Users)
}

// mostValues is how many values a filter of EC2 takes.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
const mostValues = 200

// ebsDriver is the one whose volumes EC2 has.
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver
const ebsDriver = "ebs.csi.aws.com"

// uninstall has the releases removed that [cluster.Releases] made, the last one first,
// within the time that the deletion has. What of them can't be removed goes with the
// cluster.
func (v *vacating) uninstall(ctx context.Context, route *cluster.Route) error {
	list, err := ownReleases(ctx, v.api)
	if err != nil || len(list) == 0 {
		return err
	}
	if v.opts.Releases == "" {
		v.step(architecture.Cluster, "releases are not uninstalled, for want of the program that does it: they go with the cluster")
		return nil
	}
	if gate := v.AWS.Gate(); gate != nil {
		if err := gate(ctx); err != nil {
			return err
		}
	}
	g, err := cluster.OpenGateway(route, v.AWS.Clock, Tokens(v.Target))
	if err != nil {
		return err
	}
	// A run is marked by what nobody else has.
	run := v.Holder.Run
	if run == "" {
		run = rand.Text()
	}
	bounded, stop := v.bound(ctx)
	defer stop()
	_, err = cluster.Releases{Program: v.opts.Releases, Socket: g.Socket, Run: run, Timeout: uninstallTime, Tell: func(release, text string) {
		v.step(architecture.Cluster, "release %s: %s", release, text)
	}}.Uninstall(bounded, nil)
	if closed := g.Close(); closed != nil {
		return errors.Join(err, closed)
	}
	if bounded.Err() != nil {
		return err
	}
	// The program that couldn't remove some names none that it did.
	left, looked := ownReleases(ctx, v.api)
	if looked != nil {
		return errors.Join(err, looked)
	}
	for _, r := range list {
		if !slices.ContainsFunc(left, func(l objects.Release) bool { return l.Namespace == r.Namespace && l.Name == r.Name }) {
			v.removed++
			v.step(architecture.Cluster, "uninstalled release %s in %s", r.Name, r.Namespace)
		}
	}
	if err != nil {
		v.step(architecture.Cluster, "not all releases could be uninstalled; what is left goes with the cluster: %v", err)
	}
	return nil
}

// awaitGone waits until controllers have removed from AWS what they made.
func (v *vacating) awaitGone(ctx context.Context) error {
	if v.removed == 0 && len(v.volumes) == 0 {
		return nil // what is left there is not of what was removed here
	}
	since, was := v.AWS.Clock.Now(), ""
	err := v.until(ctx, architecture.Cluster, poll.Wait{For: "controllers to remove what they made in AWS", Pace: easing}, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		left, err := v.made(ctx)
		if err != nil {
			return false, "", err
		}
		now := strings.Join(left, ", ")
		if now != was {
			since, was = v.AWS.Clock.Now(), now
		}
		return len(left) == 0 || v.AWS.Clock.Now().Sub(since) >= v.patience() || waited >= vacateTime, now, nil
	})
	if err != nil {
		return err
	}
	if was != "" {
		return fmt.Errorf("controllers leave %s", was)
	}
	v.step(architecture.Cluster, "controllers have removed what they made in AWS")
	return nil
}

// made is what is left in AWS of what controllers made.
func (v *vacating) made(ctx context.Context) ([]string, error) {
	found, err := inventory.OfControllers(ctx, v.AWS, v.Architecture)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, i := range found.Items {
		left = append(left, i.Type+" "+i.ID)
	}
	there, err := v.volumesOf(ctx, v.volumes)
	for _, one := range there {
		left = append(left, "volume "+aws.ToString(one.VolumeId))
	}
	return left, err
}
