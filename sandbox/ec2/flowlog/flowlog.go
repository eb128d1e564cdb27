// Package flowlog is the physics of VPC flow logs: what is logged must exist,
// and so must the place that it is logged to, with a role that may write there.
//
// Limits: logs of VPCs, subnets and interfaces to CloudWatch Logs and S3; no
// records are written.
package flowlog

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// principal is the service that takes the role on.
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
const principal = "vpc-flow-logs.amazonaws.com"

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{{
		Name: ec2.TypeFlowLog, Latency: "ec2:flowlog",
		Create: create,
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			r.Retag(next, "Tags")
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			tx.Note(logs.FlowLogGone, map[string]any{"destination": r.Data["destination"], "role": props.Str(r.Props, "DeliverLogsPermissionArn")})
		},
	}}
}

func invalid(format string, args ...any) error {
	return account.Errorf("InvalidParameter", format, args...)
}

func create(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	typ, ok := map[string]string{"VPC": ec2.TypeVPC, "Subnet": ec2.TypeSubnet, "NetworkInterface": ec2.TypeNetworkInterface}[props.Str(p, "ResourceType")]
	if !ok {
		return account.NotModelled("flow logs of %s are not modelled by the sandbox", props.Str(p, "ResourceType"))
	}
	if _, err := ec2.Lookup(tx, typ, props.Str(p, "ResourceId")); err != nil {
		return err
	}
	if t := props.Str(p, "TrafficType"); !slices.Contains([]string{"ACCEPT", "REJECT", "ALL"}, t) {
		return invalid("Invalid value '%s' for parameter TrafficType", t)
	}
	if i := props.Int(p, 600, "MaxAggregationInterval"); i != 60 && i != 600 {
		return invalid("Invalid Flow Log Max Aggregation Interval")
	}
	id := "fl-" + tx.HexID(17)
	destination, err := checkDestination(tx, p, id)
	if err != nil {
		return err
	}
	for _, other := range tx.List(ec2.TypeFlowLog) {
		if props.Str(other.Props, "ResourceId") == props.Str(p, "ResourceId") &&
			props.Str(other.Props, "TrafficType") == props.Str(p, "TrafficType") && other.Data["destination"] == destination {
			return account.Errorf("FlowLogAlreadyExists", "Error. There is an existing Flow Log with the same configuration and log destination.")
		}
	}
	r.ID = id
	r.Attrs["Id"] = r.ID
	r.Data["destination"] = destination
	r.Status = "ACTIVE"
	r.Tags = props.Tags(p, "Tags")
	return nil
}

// checkDestination looks for the log group or bucket, and for the role that
// delivery to a log group needs. It returns the destination's ARN.
func checkDestination(tx *account.Tx, p map[string]any, id string) (string, error) {
	arn, group, role := props.Str(p, "LogDestination"), props.Str(p, "LogGroupName"), props.Str(p, "DeliverLogsPermissionArn")
	switch kind := props.Str(p, "LogDestinationType"); kind {
	case "", "cloud-watch-logs":
		switch {
		case group == "" && arn == "":
			return "", invalid("LogDestination can't be empty if LogGroupName is not provided.")
		case group != "" && arn != "":
			return "", account.Errorf("InvalidParameterCombination", "Please only provide LogGroupName or only provide LogDestination.")
		case role == "":
			return "", invalid("DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs.")
		}
		if arn != "" {
			_, group, _ = strings.Cut(arn, ":log-group:")
			group = strings.TrimSuffix(group, ":*")
		}
		if tx.Get("AWS::Logs::LogGroup", group) == nil {
			return "", invalid("LogDestination: %s does not exist", group)
		}
		return tx.ARN("logs", "log-group:"+group), checkRole(tx, role, id)
	case "s3":
		if role != "" {
			return "", invalid("DeliverLogsPermissionArn is not applicable for s3 delivery")
		}
		bucket, _, _ := strings.Cut(arn[strings.LastIndex(arn, ":")+1:], "/")
		if tx.Get(s3.TypeBucket, bucket) == nil {
			return "", invalid("LogDestination: %s does not exist", bucket)
		}
		return arn, deliver(tx, bucket, strings.TrimPrefix(arn[strings.LastIndex(arn, ":")+1:], bucket))
	default:
		return "", account.NotModelled("flow logs to %s are not modelled by the sandbox", kind)
	}
}

// deliver wants a bucket that log delivery can write to. The flow log's maker
// owns the bucket, so EC2 adds what its policy lacks.
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html
func deliver(tx *account.Tx, bucket, prefix string) error {
	const service = "delivery.logs.amazonaws.com"
	key := strings.Trim(prefix, "/")
	if key != "" {
		key += "/"
	}
	key += "AWSLogs/" + tx.AccountID() + "/vpcflowlogs/" + tx.Region() + "/test"
	context := map[string]string{"aws:SourceArn": tx.ARN("logs", "*")}
	if s3.MayDeliver(tx, bucket, key, service, context) == nil {
		return nil
	}
	folder, _, _ := strings.Cut(key, "/vpcflowlogs/")
	if err := s3.LetDeliver(tx, bucket, folder+"/*", service, tx.ARN("logs", "*")); err != nil {
		return err
	}
	if s3.MayDeliver(tx, bucket, key, service, context) != nil {
		return account.Errorf("InvalidParameter", "Access Denied for LogDestination: %s. Please check LogDestination permission", bucket)
	}
	return nil
}

// checkRole wants a role that the service can take on for this flow log.
func checkRole(tx *account.Tx, arn, id string) error {
	if !iam.Trusts(tx, iam.RoleByARN(tx, arn), principal, tx.ARN("ec2", "vpc-flow-log/"+id)) {
		return invalid("Unable to assume given IAM role %s", arn)
	}
	return nil
}
