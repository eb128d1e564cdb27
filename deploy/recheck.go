package deploy

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// unprotected is the protection that the file asks for and a complete deployment
// lacks. What may not be looked at counts as protected.
func (a *applying) unprotected(ctx context.Context) ([]Protection, error) {
	partly := func(n architecture.StackName) bool {
		st := a.states[n]
		return !st.Exists() || stack.ConditionOf(st.Status) != stack.Whole
	}
	if !a.Architecture.Config.Database.DeletionProtection || slices.ContainsFunc(a.platform(), partly) {
		return nil, nil
	}
	var all []Protection
	for _, s := range a.Architecture.Stacks {
		st := a.states[s.Name]
		if partly(s.Name) { // GPU nodes get theirs once they are there
			continue
		}
		lacks := bare(s.Name, st)
		if protectable(a.stacks[s.Name]) && st.Parameters[templates.ProtectionParameter] == "true" {
			off, err := a.unguarded(ctx, st)
			if err != nil {
				if err = a.blind(err, "the deletion protection of what stack "+st.Name+" holds"); err != nil {
					return nil, err
				}
			}
			for _, res := range off {
				lacks = append(lacks, Protection{s.Name, "resource", res.Type, res.PhysicalID})
			}
		}
		all = append(all, lacks...)
	}
	return all, nil
}

// unguarded are the resources of a stack whose deletion protection somebody
// switched off behind CloudFormation, which goes by what it set last.
func (a *applying) unguarded(ctx context.Context, st *stack.State) ([]stack.Resource, error) {
	held, err := a.driver.Resources(ctx, st.Name)
	if err != nil {
		return nil, err
	}
	var off []stack.Resource
	for _, res := range held {
		if res.PhysicalID == "" || !slices.Contains(guarded, res.Type) {
			continue
		}
		on, err := a.isProtected(ctx, res)
		if awsapi.IsNotFound(err) { // what is gone needs no protection, and drift tells of it
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look whether %s is protected from deletion: %w", res.PhysicalID, err)
		}
		if !on {
			off = append(off, res)
		}
	}
	return off, nil
}

// recheck puts deletion protection back where somebody switched it off.
func (a *applying) recheck(ctx context.Context, name architecture.StackName, st *stack.State) error {
	off, err := a.unguarded(ctx, st)
	if err != nil {
		return err
	}
	for _, res := range off {
		a.step(name, "somebody switched the deletion protection of %s off: it is put back", res.PhysicalID)
		if err := a.setResource(ctx, res, true); err != nil {
			return fmt.Errorf("protect %s from deletion again: %w", res.PhysicalID, err)
		}
	}
	return nil
}

// isProtected tells whether AWS refuses to delete a resource of a guarded type.
func (r *run) isProtected(ctx context.Context, res stack.Resource) (bool, error) {
	id := &res.PhysicalID
	switch res.Type {
	case "AWS::RDS::DBInstance":
		out, err := r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: id})
		if err != nil || len(out.DBInstances) == 0 {
			return false, err
		}
		return aws.ToBool(out.DBInstances[0].DeletionProtection), nil
	case "AWS::EKS::Cluster":
		out, err := r.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: id})
		if err != nil {
			return false, err
		}
		return aws.ToBool(out.Cluster.DeletionProtection), nil
	}
	out, err := r.AWS.ELB.DescribeLoadBalancerAttributes(ctx, &elasticloadbalancingv2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: id})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.Attributes, func(x elbtypes.LoadBalancerAttribute) bool {
		return aws.ToString(x.Key) == protectedAttribute && aws.ToString(x.Value) == "true"
	}), nil
}

// protectedAttribute is the attribute of a load balancer that protects it. See
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#load-balancer-attributes
const protectedAttribute = "deletion_protection.enabled"

// setResource switches deletion protection on or off, and nothing else. Of a
// cluster it waits until EKS has done it.
func (r *run) setResource(ctx context.Context, res stack.Resource, on bool) error {
	id := &res.PhysicalID
	switch res.Type {
	case "AWS::RDS::DBInstance":
		_, err := r.AWS.RDS.ModifyDBInstance(ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: id, DeletionProtection: &on, ApplyImmediately: aws.Bool(true)})
		return err
	case "AWS::EKS::Cluster":
		if _, err := r.AWS.EKS.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: id, DeletionProtection: &on}); err != nil {
			return err
		}
		_, err := r.await(ctx, architecture.Cluster, func() ([]inFlight, error) { return r.busyCluster(ctx, *id) })
		return err
	}
	_, err := r.AWS.ELB.ModifyLoadBalancerAttributes(ctx, &elasticloadbalancingv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: id, Attributes: []elbtypes.LoadBalancerAttribute{{Key: aws.String(protectedAttribute), Value: aws.String(strconv.FormatBool(on))}},
	})
	return err
}
