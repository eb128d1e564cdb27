package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/diagnosis"
)

// When a stack of node groups is looked at from inside: CloudFormation says for
// half an hour and more that they are being created, whatever keeps them. The
// first look comes when they should be there.
const (
	firstLook = 4 * time.Minute
	nextLook  = time.Minute
	// joining is how long an instance takes to become a node, at most.
	joining    = 5 * time.Minute
	joiningGPU = 12 * time.Minute
)

// holdsNodes tells that a stack makes node groups.
func holdsNodes(name architecture.StackName) bool {
	return name == architecture.Nodes || name == architecture.GPU
}

// witnessed runs f, and meanwhile tells, each once, what AWS says about what does
// not come: of a stack of node groups what EC2 Auto Scaling, EC2 and EKS say, of a
// certificate the records that ACM waits for.
func (a *applying) witnessed(ctx context.Context, name architecture.StackName, f func() (int, error)) func() (int, error) {
	first, look := firstLook, func(ctx context.Context) ([]string, error) { return a.evidence(ctx, name) }
	switch {
	case name == architecture.Certificate:
		first, look = unproved, a.validation
	case !holdsNodes(name):
		return f
	}
	return func() (int, error) {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.witness(ctx, name, first, look)
		}()
		n, err := f()
		stop()
		<-done
		return n, err
	}
}

func (a *applying) witness(ctx context.Context, name architecture.StackName, first time.Duration, look func(context.Context) ([]string, error)) {
	told := map[string]bool{}
	n, id := uint64(0), "evidence of "+a.Architecture.StackName(name)
	for wait := first; a.poller().Pause(ctx, wait, id, n) == nil; wait, n = nextLook, n+1 {
		lines, err := look(ctx)
		if err != nil {
			// Evidence is extra: who may not look, or can't for now, goes without.
			continue
		}
		for _, line := range lines {
			if !told[line] {
				told[line] = true
				a.step(name, "%s", line)
			}
		}
	}
}

// evidence is what keeps the node groups of a stack, as far as it shows.
//
// https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html
func (a *applying) evidence(ctx context.Context, name architecture.StackName) ([]string, error) {
	held, err := a.driver.Resources(ctx, a.Architecture.StackName(name))
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, res := range held {
		cluster, group, ok := strings.Cut(res.PhysicalID, "/")
		if res.Type != "AWS::EKS::Nodegroup" || !ok || !strings.HasSuffix(string(res.Status), "_IN_PROGRESS") {
			continue
		}
		out, err := a.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &group})
		if err != nil {
			return nil, err
		}
		found, err := a.ofGroup(ctx, name, res.LogicalID, out.Nodegroup)
		if err != nil {
			return nil, err
		}
		lines = append(lines, found...)
	}
	return lines, nil
}

func (a *applying) ofGroup(ctx context.Context, name architecture.StackName, id string, g *ekstypes.Nodegroup) ([]string, error) {
	var lines []string
	say := func(code, reason string) {
		root := diagnosis.Diagnose(diagnosis.Failure{Resource: id, Type: "AWS::EKS::Nodegroup", Code: code, Reason: reason})
		line := fmt.Sprintf("%s: %s", id, strings.TrimSuffix(reason, "."))
		if root.Known != "" {
			line += "; likely " + root.Cause + "; next: " + strings.ReplaceAll(root.Next, "FILE", cmp.Or(a.Architecture.Config.Fault("", "", "").File, "FILE"))
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if g.Health != nil {
		for _, i := range g.Health.Issues {
			say(string(i.Code), fmt.Sprintf("EKS says %s: %s", i.Code, aws.ToString(i.Message)))
		}
	}
	if g.Resources == nil {
		return lines, nil
	}
	for _, asg := range g.Resources.AutoScalingGroups {
		out, err := a.AWS.AutoScaling.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: asg.Name, MaxRecords: aws.Int32(20)})
		if err != nil {
			return nil, err
		}
		for _, act := range out.Activities {
			if act.StatusCode == astypes.ScalingActivityStatusCodeFailed || act.StatusCode == astypes.ScalingActivityStatusCodeCancelled {
				say("", "Auto Scaling could not launch: "+strings.ReplaceAll(aws.ToString(act.StatusMessage), "..", "."))
			}
		}
		waiting, err := a.notJoined(ctx, name, aws.ToString(asg.Name))
		if err != nil {
			return nil, err
		}
		if waiting > 0 && g.Status == ekstypes.NodegroupStatusCreating {
			say("", fmt.Sprintf("Instances failed to join the kubernetes cluster so far: %d, each running for more than %s", waiting, a.joins(name)))
		}
	}
	return lines, nil
}

func (a *applying) joins(name architecture.StackName) time.Duration {
	if name == architecture.GPU {
		return joiningGPU
	}
	return joining
}

// notJoined counts the running instances of an Auto Scaling group that should be
// nodes by now. A clock that goes wrong makes it say so too soon or not at all, and
// nothing else depends on it.
func (a *applying) notJoined(ctx context.Context, name architecture.StackName, group string) (int, error) {
	n := 0
	pages := ec2.NewDescribeInstancesPaginator(a.AWS.EC2, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		filter("tag:aws:autoscaling:groupName", group), filter("instance-state-name", "running"),
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.LaunchTime != nil && a.AWS.Clock.Now().Sub(*i.LaunchTime) > a.joins(name) {
					n++
				}
			}
		}
	}
	return n, nil
}
