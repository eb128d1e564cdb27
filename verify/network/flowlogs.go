package network

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

func flowLogsOn(l *account.Look, r *check.Recorder) error {
	if !l.Arch.Config.Network.FlowLogs.Enabled {
		r.NA("network.flowLogs.enabled is false")
		return nil
	}
	logs, err := flowLogs(l)
	if err != nil {
		return err
	}
	if l.Given() { // others may log it too
		logs = slices.DeleteFunc(slices.Clone(logs), func(f types.FlowLog) bool { return account.Tag(f.Tags, architecture.DeploymentTag) != l.Arch.Name() })
	}
	if len(logs) == 0 {
		r.Missing("flow log of the VPC", "ec2:DescribeFlowLogs", check.FixUpdate)
	}
	for _, f := range logs {
		id := aws.ToString(f.FlowLogId)
		ok := aws.ToString(f.FlowLogStatus) == "ACTIVE" && f.TrafficType == types.TrafficTypeAll
		r.Saw(ok, id, fmt.Sprintf("%s, %s traffic", aws.ToString(f.FlowLogStatus), f.TrafficType), "ec2:DescribeFlowLogs", "ACTIVE, ALL traffic", check.FixUpdate)
		group := aws.ToString(f.LogGroupName)
		if group == "" {
			continue // to S3, whose encryption the buckets' checks look at
		}
		out, err := l.AWS.Logs.DescribeLogGroups(l.Ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group})
		if err != nil {
			return fmt.Errorf("look up log group %s: %w", group, err)
		}
		saw := "not there"
		encrypted := false
		for _, g := range out.LogGroups {
			if aws.ToString(g.LogGroupName) == group {
				encrypted = g.KmsKeyId != nil
				saw = "no key"
				if encrypted {
					saw = "encrypted with " + *g.KmsKeyId
				}
			}
		}
		r.Saw(encrypted, group, saw, "logs:DescribeLogGroups", "encrypted with the logs key", check.FixUpdate)
	}
	return nil
}
