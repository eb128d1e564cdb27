package verify

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// clusterFacts are what the cluster is.
type clusterFacts struct {
	clusterFact fact[*types.Cluster]
}

// cluster is the EKS cluster, or nil.
func (l *look) cluster() (*types.Cluster, error) {
	return l.clusterFact.get(func() (*types.Cluster, error) {
		name := l.arch.ClusterName()
		out, err := l.aws.EKS.DescribeCluster(l.ctx, &eks.DescribeClusterInput{Name: &name})
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look up cluster %s: %w", name, err)
		}
		return out.Cluster, nil
	})
}

func clusterChecks() []Check { return nil }
