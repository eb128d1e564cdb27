package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// replaced refuses to go on where somebody has deleted the cluster or the database of
// a stack and made another of the same name: CloudFormation goes by the name alone, and
// would change that one, or delete it. Each carries the id of the stack that made it,
// which nobody but CloudFormation can give. A database under the deployment's own key is
// one that was restored, as the deployment's words advise.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-resource-tags.html
func (r *run) replaced(ctx context.Context, states map[architecture.StackName]*stack.State) error {
	return r.replacedBut(ctx, states, nil)
}

// replacedBut is replaced, but for what is left behind, by the logical ids of each stack.
func (r *run) replacedBut(ctx context.Context, states map[architecture.StackName]*stack.State, left map[architecture.StackName][]string) error {
	all, err := r.replacements(ctx, states)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(x guard.Refusal) bool { return slices.Contains(left[r.names[x.Stack]], x.Resource) })
	return r.refusal(all, true)
}

// replacements are what somebody made in place of the stacks' own, as refusals.
func (r *run) replacements(ctx context.Context, states map[architecture.StackName]*stack.State) ([]guard.Refusal, error) {
	var all []guard.Refusal
	for _, one := range []struct {
		stack     architecture.StackName
		typ, what string
		own       func(ctx context.Context, name string, st *stack.State) (bool, error)
		fix       string
	}{
		{architecture.Cluster, "AWS::EKS::Cluster", "cluster", r.ownCluster, "if nobody needs it: aws eks delete-cluster --name %[1]s; EKS can't rename one: who needs it has to move to one of another name. If CloudFormation has failed already to delete it with its stack: poolhouse recover FILE --retain cluster/Cluster"},
		{architecture.Database, "AWS::RDS::DBInstance", "database", r.ownDatabase, "give it another name: aws rds modify-db-instance --db-instance-identifier %[1]s --new-db-instance-identifier %[1]s-other --apply-immediately"},
	} {
		st := states[one.stack]
		if !st.Exists() {
			continue
		}
		held, err := r.ofIts(ctx, st)
		if err != nil {
			return nil, err
		}
		for _, res := range held {
			if res.Type != one.typ || res.PhysicalID == "" || slices.Contains(unmade, res.Status) {
				continue
			}
			own, err := one.own(ctx, res.PhysicalID, st)
			if own || awsapi.IsNotFound(err) { // drift tells of what is gone
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look whether %s %s is of stack %s: %w", one.what, res.PhysicalID, st.Name, err)
			}
			all = append(all, guard.Refusal{
				Fault: r.Architecture.Config.Fault("name", fmt.Sprintf("leads to the %s %s, which is not the one that the stack made: somebody has deleted that, and CloudFormation, which goes by the name, would change or delete this one", one.what, res.PhysicalID),
					"find out whose it is; "+fmt.Sprintf(one.fix, res.PhysicalID)),
				Stack: st.Name, Resource: res.LogicalID,
			})
		}
	}
	return all, nil
}

// unmade are the statuses of resources that a stack doesn't have: what bears the name
// was there before, or is not its any more.
var unmade = []types.ResourceStatus{types.ResourceStatusCreateFailed, types.ResourceStatusDeleteComplete, types.ResourceStatusDeleteSkipped}

// ownCluster tells that a cluster is the one that a stack made.
func (r *run) ownCluster(ctx context.Context, name string, st *stack.State) (bool, error) {
	_, own, err := r.clusterOf(ctx, name, st)
	return own, err
}

// clusterOf is the cluster of a name, and whether a stack made it.
func (r *run) clusterOf(ctx context.Context, name string, st *stack.State) (c *ekstypes.Cluster, own bool, err error) {
	out, err := r.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		return nil, false, err
	}
	return out.Cluster, out.Cluster.Tags[architecture.StackIDTag] == st.ID, nil
}

// ownDatabase tells that a database is the one that a stack made, or one under a key of
// the deployment's.
func (r *run) ownDatabase(ctx context.Context, name string, st *stack.State) (bool, error) {
	out, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &name})
	if err != nil {
		return false, err
	}
	keys := slices.Collect(maps.Values(st.Parameters))
	return slices.ContainsFunc(out.DBInstances, func(one rdstypes.DBInstance) bool {
		made := slices.ContainsFunc(one.TagList, func(t rdstypes.Tag) bool {
			return aws.ToString(t.Key) == architecture.StackIDTag && aws.ToString(t.Value) == st.ID
		})
		return made || one.KmsKeyId != nil && slices.Contains(keys, *one.KmsKeyId)
	}), nil
}
