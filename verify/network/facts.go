package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/reach"
)

// networkFacts are what the network is.
type networkFacts struct {
	igwsFact     account.Fact[[]types.InternetGateway]
	servicesFact account.Fact[map[string]bool]
	flowLogsFact account.Fact[[]types.FlowLog]
	modelFact    account.Fact[*reach.Model]
	exposedFact  account.Fact[map[string]reach.Answer]
	betweenFacts account.Keyed[reach.Answer]
	s3ListFact   account.Fact[string]
}

// internetGateways are those attached to the VPC.
func internetGateways(l *account.Look) ([]types.InternetGateway, error) {
	return account.Facts[networkFacts](l).igwsFact.Get(func() ([]types.InternetGateway, error) {
		id, err := l.VPCID()
		if err != nil {
			return nil, err
		}
		var all []types.InternetGateway
		err = account.Pages(l, "internet gateways", ec2.NewDescribeInternetGatewaysPaginator(l.AWS.EC2,
			&ec2.DescribeInternetGatewaysInput{Filters: []types.Filter{account.Filter("attachment.vpc-id", id)}}),
			func(o *ec2.DescribeInternetGatewaysOutput) { all = append(all, o.InternetGateways...) })
		return all, err
	})
}

// policyServices tells which of AWS's own services among the VPC's endpoints take
// endpoint policies. Others', such as a firewall's, need not be visible to the
// caller, and one that isn't fails the whole call.
func policyServices(l *account.Look) (map[string]bool, error) {
	return account.Facts[networkFacts](l).servicesFact.Get(func() (map[string]bool, error) {
		endpoints, err := l.VPCEndpoints()
		if err != nil {
			return nil, err
		}
		var names []string
		for _, e := range endpoints {
			name := aws.ToString(e.ServiceName)
			if strings.HasPrefix(name, "com.amazonaws."+l.AWS.Region+".") && !strings.HasPrefix(name, "com.amazonaws.vpce.") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		takes := map[string]bool{}
		if names = slices.Compact(names); len(names) == 0 {
			return takes, nil
		}
		in := &ec2.DescribeVpcEndpointServicesInput{ServiceNames: names}
		for {
			out, err := l.AWS.EC2.DescribeVpcEndpointServices(l.Ctx, in)
			if err != nil {
				return nil, fmt.Errorf("look up services of VPC endpoints: %w", err)
			}
			for _, s := range out.ServiceDetails {
				takes[aws.ToString(s.ServiceName)] = takes[aws.ToString(s.ServiceName)] || aws.ToBool(s.VpcEndpointPolicySupported)
			}
			if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
				return takes, nil
			}
		}
	})
}

func flowLogs(l *account.Look) ([]types.FlowLog, error) {
	return account.Facts[networkFacts](l).flowLogsFact.Get(func() ([]types.FlowLog, error) {
		id, err := l.VPCID()
		if err != nil {
			return nil, err
		}
		var all []types.FlowLog
		err = account.Pages(l, "flow logs", ec2.NewDescribeFlowLogsPaginator(l.AWS.EC2, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{account.Filter("resource-id", id)}}),
			func(o *ec2.DescribeFlowLogsOutput) { all = append(all, o.FlowLogs...) })
		return all, err
	})
}

// s3List is the id of the prefix list of S3's addresses in the region.
func s3List(l *account.Look) (string, error) {
	return account.Facts[networkFacts](l).s3ListFact.Get(func() (string, error) {
		id := ""
		err := account.Pages(l, "the prefix list of S3", ec2.NewDescribePrefixListsPaginator(l.AWS.EC2,
			&ec2.DescribePrefixListsInput{Filters: []types.Filter{account.Filter("prefix-list-name", serviceName(l, "s3"))}}),
			func(o *ec2.DescribePrefixListsOutput) {
				for _, p := range o.PrefixLists {
					id = aws.ToString(p.PrefixListId)
				}
			})
		return id, err
	})
}
