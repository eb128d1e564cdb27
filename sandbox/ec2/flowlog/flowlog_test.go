package flowlog_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

type in = ec2test.In

func TestFlowLogs(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) {
		for typ, id := range map[string]string{"AWS::Logs::LogGroup": "flows", "AWS::S3::Bucket": "flows-bucket"} {
			tx.Put(&account.Resource{Type: typ, ID: id})
		}
	})
	role := func(name, service, source string) any {
		r := l.Make(iam.TypeRole, in{"RoleName": name, "AssumeRolePolicyDocument": in{
			"Version": "2012-10-17", "Statement": []any{in{
				"Effect": "Allow", "Principal": in{"Service": service}, "Action": "sts:AssumeRole",
				"Condition": in{"ArnLike": in{"aws:SourceArn": source}, "StringEquals": in{"aws:SourceAccount": "123456789012"}},
			}},
		}})
		return r.Attrs["Arn"]
	}
	logs := "arn:aws:ec2:us-east-1:123456789012:vpc-flow-log/*"
	good, bad := role("flows", "vpc-flow-logs.amazonaws.com", logs), role("other", "ec2.amazonaws.com", logs)
	elsewhere := role("elsewhere", "vpc-flow-logs.amazonaws.com", "arn:aws:ec2:eu-west-1:123456789012:vpc-flow-log/*")
	with := func(more in) in {
		p := in{"ResourceType": "VPC", "ResourceId": n.VPC.ID, "TrafficType": "ALL", "LogGroupName": "flows", "DeliverLogsPermissionArn": good}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	l.Make(ec2.TypeFlowLog, with(nil))
	toGroup := "arn:aws:logs:us-east-1:123456789012:log-group:flows:*"
	l.Check([]ec2test.Case{
		{"again", ec2.TypeFlowLog, with(nil), "FlowLogAlreadyExists"},
		{"again by ARN", ec2.TypeFlowLog, with(in{"LogGroupName": nil, "LogDestination": toGroup}), "FlowLogAlreadyExists"},
		{"subnet", ec2.TypeFlowLog, with(in{"ResourceType": "Subnet", "ResourceId": n.A.ID}), ""},
		{"bucket", ec2.TypeFlowLog, with(in{"LogGroupName": nil, "DeliverLogsPermissionArn": nil, "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::flows-bucket/vpc/"}), ""},
		{"no bucket", ec2.TypeFlowLog, with(in{"LogGroupName": nil, "DeliverLogsPermissionArn": nil, "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::none"}), "InvalidParameter: LogDestination: none does not exist"},
		{"no group", ec2.TypeFlowLog, with(in{"LogGroupName": "none"}), "InvalidParameter: LogDestination: none does not exist"},
		{"no destination", ec2.TypeFlowLog, with(in{"LogGroupName": nil}), "InvalidParameter: LogDestination can't be empty"},
		{"no role", ec2.TypeFlowLog, with(in{"DeliverLogsPermissionArn": nil}), "InvalidParameter: DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs."},
		{"role that isn't there", ec2.TypeFlowLog, with(in{"DeliverLogsPermissionArn": "arn:aws:iam::123456789012:role/none"}), "InvalidParameter: Unable to assume given IAM role"},
		{"role that trusts others", ec2.TypeFlowLog, with(in{"DeliverLogsPermissionArn": bad}), "InvalidParameter: Unable to assume given IAM role"},
		{"role for another region", ec2.TypeFlowLog, with(in{"DeliverLogsPermissionArn": elsewhere}), "InvalidParameter: Unable to assume given IAM role"},
		{"no such VPC", ec2.TypeFlowLog, with(in{"ResourceId": "vpc-0"}), "InvalidVpcID.NotFound"},
		{"interval", ec2.TypeFlowLog, with(in{"MaxAggregationInterval": 300}), "InvalidParameter: Invalid Flow Log Max Aggregation Interval"},
		{"traffic", ec2.TypeFlowLog, with(in{"TrafficType": "SOME"}), "InvalidParameter"},
	})
}
