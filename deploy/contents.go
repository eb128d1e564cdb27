package deploy

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster/objects"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// Contents is what of a cluster a deletion removes before the stacks.
type Contents struct {
	// Kinds counts the objects that own things in AWS.
	Kinds map[string]int `json:"kinds"`
	// Volumes are those that claims have.
	Volumes []Claimed `json:"volumes,omitempty"`
	// Releases are those of Helm's that are uninstalled: poolhouse's own.
	Releases []objects.Release `json:"releases,omitempty"`
}

// Claimed is the volume of a claim, "NAMESPACE/NAME".
type Claimed struct {
	Claim  string `json:"claim"`
	Volume string `json:"volume"`
	Size   string `json:"size"`
	Driver string `json:"driver"`
	// Kept tells that it stays whatever becomes of the data: it outlives its claim, and
	// is not the cluster's by its tags.
	Kept bool `json:"kept,omitempty"`
}

// LookIntoCluster tells what of a target's cluster a deletion will remove. It only
// reads, and finds the way to the API as [FindRoute] does. A cluster that has the
// name and is another one is an error.
func LookIntoCluster(ctx context.Context, t Target) (c *Contents, err error) {
	_, names, err := built(t)
	if err != nil {
		return nil, err
	}
	r := newRun(t, names)
	owned, _, err := knownStacks(ctx, r.driver, t.Architecture.Config.Name)
	if err != nil {
		return nil, err
	}
	route, err := r.routeToOwn(ctx, owned[architecture.Cluster])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, route.Close()) }()
	api, done := objectsOf(t, route)
	defer done()
	c = &Contents{Kinds: map[string]int{}}
	for _, list := range []lister{api.Fronts, api.Bindings, api.Claims} {
		all, err := list(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			c.Kinds[o.Kind]++
		}
	}
	all, err := api.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	swept, err := r.sweptVolumes(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if v.Claim != "" {
			c.Volumes = append(c.Volumes, Claimed{v.Claim, v.Handle, v.Size, v.Driver, !v.Deleted && !swept[v.Handle]})
		}
	}
	c.Releases, err = ownReleases(ctx, api)
	return c, err
}

// sweptVolumes are those that [deleting.sweepData] deletes though they outlive their
// claims, by handle.
func (r *run) sweptVolumes(ctx context.Context, all []objects.Volume) (map[string]bool, error) {
	var ids []string
	for _, v := range all {
		if !v.Deleted && v.Driver == ebsDriver && v.Handle != "" {
			ids = append(ids, v.Handle)
		}
	}
	swept := map[string]bool{}
	there, err := r.volumesOf(ctx, ids)
	for _, v := range there {
		swept[aws.ToString(v.VolumeId)] = r.marked(v.Tags)
	}
	return swept, err
}

// volumesOf are those of EC2's volumes that are there, by their ids.
func (r *run) volumesOf(ctx context.Context, ids []string) (all []types.Volume, err error) {
	for some := range slices.Chunk(ids, mostValues) {
		for page, err := range awsapi.Pages(ctx, ec2.NewDescribeVolumesPaginator(r.AWS.EC2, &ec2.DescribeVolumesInput{Filters: []types.Filter{filter("volume-id", some...)}})) {
			if err != nil {
				return nil, err
			}
			all = append(all, page.Volumes...)
		}
	}
	return all, nil
}

// ownReleases are the releases that poolhouse made, in the order in which they are
// uninstalled: the last one first.
func ownReleases(ctx context.Context, api *objects.Client) ([]objects.Release, error) {
	all, err := api.Releases(ctx)
	all = slices.DeleteFunc(all, func(r objects.Release) bool { return r.Order == "" })
	slices.SortStableFunc(all, func(a, b objects.Release) int {
		return cmp.Or(cmp.Compare(b.Order, a.Order), cmp.Compare(b.Name, a.Name))
	})
	return all, err
}
