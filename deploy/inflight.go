package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/stack"
)

// underWay is how long an operation that is under way is waited for.
const underWay = 3 * time.Hour

// restful are the states of a database in which RDS takes a change. See
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
var restful = []string{"available", "storage-optimization", "stopped", "failed", "storage-full", "incompatible-parameters", "incompatible-restore", "incompatible-network", "incompatible-option-group", "inaccessible-encryption-credentials"}

// inFlight is an operation that is under way on something.
type inFlight struct {
	on, text string
	ends     bool // it is the deletion of what it is on
}

// settle waits, before a stack is changed, until no operation is under way on
// what it holds, whoever began it: AWS takes one at a time, and would refuse
// ours half-way. Node groups are looked at for the stack that has them, since
// others are changed side by side with it. What somebody deletes meanwhile the
// stack could not be changed without: that ends the run, and the next one finds
// what is gone before it touches anything.
func (a *applying) settle(ctx context.Context, stackName string) error {
	name, cluster := a.names[stackName], a.Architecture.ClusterName()
	gone, err := a.await(ctx, name, func() ([]inFlight, error) {
		switch name {
		case architecture.Cluster, architecture.Addons:
			return a.busyCluster(ctx, cluster)
		case architecture.Nodes, architecture.GPU:
			held, err := a.driver.Resources(ctx, stackName)
			if err != nil {
				return nil, err
			}
			var groups []string
			for _, res := range held {
				// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-eks-nodegroup.html
				if _, group, ok := strings.Cut(res.PhysicalID, "/"); ok && res.Type == "AWS::EKS::Nodegroup" {
					groups = append(groups, group)
				}
			}
			busy, err := a.busyCluster(ctx, cluster)
			if err != nil {
				return nil, err
			}
			also, err := a.busyNodegroups(ctx, cluster, groups)
			return append(busy, also...), err
		case architecture.Database:
			return a.busyDatabase(ctx, a.Architecture.DatabaseName())
		}
		return nil, nil
	})
	if err == nil && len(gone) > 0 {
		err = fmt.Errorf("stack %s is not changed: %s was deleted meanwhile, by somebody else; repeat the command, whose plan says what is gone and what becomes of it", stackName, strings.Join(gone, ", "))
	}
	return err
}

// operations waits until no operation is under way on the cluster, its node
// groups and the database, whoever began it. What is under way on a stack is for
// who works on the stack.
func (d *deleting) operations(ctx context.Context) error {
	atRest := func(name architecture.StackName) bool {
		st := d.owned[name]
		return st.Exists() && stack.ConditionOf(st.Status) != stack.Moving
	}
	_, err := d.await(ctx, "", func() ([]inFlight, error) {
		var all []inFlight
		if cluster := d.Architecture.ClusterName(); atRest(architecture.Cluster) {
			groups, err := d.nodegroups(ctx, cluster)
			if err != nil {
				return nil, err
			}
			busy, err := d.busyCluster(ctx, cluster)
			if err != nil {
				return nil, err
			}
			also, err := d.busyNodegroups(ctx, cluster, groups)
			if err != nil {
				return nil, err
			}
			all = append(busy, also...)
		}
		if atRest(architecture.Database) {
			busy, err := d.busyDatabase(ctx, d.Architecture.DatabaseName())
			if err != nil {
				return nil, err
			}
			// One that is being deleted is for who deletes it.
			all = append(all, slices.DeleteFunc(busy, func(o inFlight) bool { return o.ends })...)
		}
		return all, nil
	})
	return err
}

// await waits until nothing is busy any more, and names what it waits for. It
// returns what was being deleted.
func (r *run) await(ctx context.Context, name architecture.StackName, busy func() ([]inFlight, error)) (gone []string, err error) {
	named := map[string]bool{}
	w := poll.Wait{For: "an operation under way", AtMost: underWay, Next: "repeat the command when it is over"}
	err = r.until(ctx, name, w, func(context.Context, time.Duration) (bool, string, error) {
		all, err := busy()
		if err != nil {
			return false, "", err
		}
		var texts []string
		for _, o := range all {
			if texts = append(texts, o.text); !named[o.text] {
				named[o.text] = true
				r.step(name, "waiting for an operation under way: %s", o.text)
			}
			if o.ends && !slices.Contains(gone, o.on) {
				gone = append(gone, o.on)
			}
		}
		return len(all) == 0, strings.Join(texts, ", "), nil
	})
	return gone, err
}

// busyCluster names the operations under way on a cluster.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Cluster.html
func (r *run) busyCluster(ctx context.Context, cluster string) ([]inFlight, error) {
	out, err := r.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return nil, r.blind(err, "cluster "+cluster)
	}
	switch s := out.Cluster.Status; s {
	case ekstypes.ClusterStatusUpdating, ekstypes.ClusterStatusPending, ekstypes.ClusterStatusCreating, ekstypes.ClusterStatusDeleting:
		what, err := r.updatesOf(ctx, cluster, nil)
		on := "cluster " + cluster
		return []inFlight{{on, fmt.Sprintf("%s is %s%s", on, s, what), s == ekstypes.ClusterStatusDeleting}}, err
	}
	return nil, nil
}

// nodegroups are the names of a cluster's node groups.
func (r *run) nodegroups(ctx context.Context, cluster string) ([]string, error) {
	var all []string
	pages := eks.NewListNodegroupsPaginator(r.AWS.EKS, &eks.ListNodegroupsInput{ClusterName: &cluster})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, r.blind(err, "the node groups of cluster "+cluster)
		}
		all = append(all, page.Nodegroups...)
	}
	return all, nil
}

// busyNodegroups names the operations under way on node groups.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Nodegroup.html
func (r *run) busyNodegroups(ctx context.Context, cluster string, groups []string) ([]inFlight, error) {
	var busy []inFlight
	for _, g := range groups {
		out, err := r.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &g})
		if err != nil {
			if err = r.blind(err, "node group "+g); err != nil {
				return nil, err
			}
			continue
		}
		switch s := out.Nodegroup.Status; s {
		case ekstypes.NodegroupStatusUpdating, ekstypes.NodegroupStatusCreating, ekstypes.NodegroupStatusDeleting:
			what, err := r.updatesOf(ctx, cluster, &g)
			if err != nil {
				return nil, err
			}
			on := "node group " + g
			busy = append(busy, inFlight{on, fmt.Sprintf("%s is %s%s", on, s, what), s == ekstypes.NodegroupStatusDeleting})
		}
	}
	return busy, nil
}

// updatesOf names the updates in progress of a cluster or one of its node groups.
func (r *run) updatesOf(ctx context.Context, cluster string, group *string) (string, error) {
	var names []string
	pages := eks.NewListUpdatesPaginator(r.AWS.EKS, &eks.ListUpdatesInput{Name: &cluster, NodegroupName: group})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", r.blind(err, "the updates of cluster "+cluster)
		}
		for _, id := range page.UpdateIds {
			out, err := r.AWS.EKS.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: &cluster, NodegroupName: group, UpdateId: &id})
			if err != nil {
				return "", r.blind(err, "update "+id)
			}
			if out.Update.Status == ekstypes.UpdateStatusInProgress {
				names = append(names, fmt.Sprintf("%s (%s)", out.Update.Type, id))
			}
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return ": " + strings.Join(names, ", "), nil
}

// busyDatabase names the operation under way on an instance.
func (r *run) busyDatabase(ctx context.Context, id string) ([]inFlight, error) {
	out, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil {
		return nil, r.blind(err, "database "+id)
	}
	var busy []inFlight
	for _, db := range out.DBInstances {
		if s := aws.ToString(db.DBInstanceStatus); !slices.Contains(restful, s) {
			on := "database " + id
			busy = append(busy, inFlight{on, on + " is " + s, s == "deleting"})
		}
	}
	return busy, nil
}

// blind is what a look at something that failed means here: what isn't there has
// no operation, and who may not look is told, and goes on, since AWS refuses by
// itself what can't be done meanwhile.
func (r *run) blind(err error, what string) error {
	switch {
	case awsapi.IsNotFound(err):
		return nil
	case awsapi.IsDenied(err):
		r.hidden("", what, err)
		return nil
	}
	return fmt.Errorf("look at %s: %w", what, err)
}
