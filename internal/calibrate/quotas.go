package calibrate

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
)

// quotas asks each service for its own limits. One that doesn't tell leaves the
// others to be compared.
func quotas(ctx context.Context, s *side) error {
	if out, err := s.EC2.DescribeAccountAttributes(ctx, &ec2.DescribeAccountAttributesInput{}); err != nil {
		s.unseen["EC2"] = why(err)
	} else {
		for _, a := range out.AccountAttributes {
			// The default VPC is a probe of its own.
			if name := aws.ToString(a.AttributeName); name != "default-vpc" {
				for _, v := range a.AttributeValues {
					s.found("EC2 "+name, "%s", aws.ToString(v.AttributeValue))
				}
			}
		}
	}
	if out, err := s.ELB.DescribeAccountLimits(ctx, &elb.DescribeAccountLimitsInput{}); err != nil {
		s.unseen["load balancing"] = why(err)
	} else {
		for _, l := range out.Limits {
			s.found("load balancing "+aws.ToString(l.Name), "%s", aws.ToString(l.Max))
		}
	}
	if out, err := s.AutoScaling.DescribeAccountLimits(ctx, &autoscaling.DescribeAccountLimitsInput{}); err != nil {
		s.unseen["auto scaling"] = why(err)
	} else {
		s.found("auto scaling groups", "%d", aws.ToInt32(out.MaxNumberOfAutoScalingGroups))
	}
	if out, err := s.CloudFormation.DescribeAccountLimits(ctx, &cloudformation.DescribeAccountLimitsInput{}); err != nil {
		s.unseen["CloudFormation"] = why(err)
	} else {
		for _, l := range out.AccountLimits {
			s.found("CloudFormation "+aws.ToString(l.Name), "%d", aws.ToInt32(l.Value))
		}
	}
	out, err := s.RDS.DescribeAccountAttributes(ctx, &rds.DescribeAccountAttributesInput{})
	if err != nil {
		s.unseen["RDS"] = why(err)
		return nil
	}
	for _, q := range out.AccountQuotas {
		s.found("RDS "+aws.ToString(q.AccountQuotaName), "%d", aws.ToInt64(q.Max))
	}
	return nil
}
