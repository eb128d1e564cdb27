package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// going is what of the deployment is being deleted at the moment, in words: stacks,
// by their status, and the cluster and the database, which a deletion or somebody
// removes while their stacks still count them as there. What can't be looked at is
// an error beside what was seen.
func (r *run) going(ctx context.Context, owned map[architecture.StackName]*stack.State) ([]string, error) {
	var all []string
	for _, entry := range architecture.Catalogue() {
		if st := owned[entry.Name]; st != nil && st.Status == cfntypes.StackStatusDeleteInProgress {
			all = append(all, "stack "+st.Name)
		}
	}
	if len(owned) == 0 {
		return nil, nil
	}
	cluster, id := r.Architecture.ClusterName(), r.Architecture.DatabaseName()
	var errs []error
	made, err := r.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	switch {
	case err == nil && made.Cluster.Status == ekstypes.ClusterStatusDeleting:
		all = append(all, "cluster "+cluster)
	case err != nil && !awsapi.IsNotFound(err):
		errs = append(errs, fmt.Errorf("look at cluster %s: %w", cluster, err))
	}
	found, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil && !awsapi.IsNotFound(err) {
		return all, errors.Join(append(errs, fmt.Errorf("look at database %s: %w", id, err))...)
	}
	if err == nil {
		for _, db := range found.DBInstances {
			// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
			if aws.ToString(db.DBInstanceStatus) == "deleting" {
				all = append(all, "database "+id)
			}
		}
	}
	return all, errors.Join(errs...)
}
