package verify

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// networkFacts are what the network is.
type networkFacts struct {
	vpcFact fact[*types.Vpc]
}

// vpc is the deployment's VPC, or nil.
func (l *look) vpc() (*types.Vpc, error) {
	return l.vpcFact.get(func() (*types.Vpc, error) {
		out, err := l.aws.EC2.DescribeVpcs(l.ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{
			{Name: aws.String("tag:" + architecture.DeploymentTag), Values: []string{l.arch.Name()}},
		}})
		switch {
		case err != nil:
			return nil, fmt.Errorf("look up the VPC: %w", err)
		case len(out.Vpcs) == 0:
			return nil, nil
		}
		return &out.Vpcs[0], nil
	})
}

func networkChecks() []Check { return nil }
