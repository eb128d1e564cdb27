// Package cloudwatch is Amazon CloudWatch: metric alarms.
//
// Invariants: alarm names are unique, actions that are topics exist, and a
// metric alarm is one that CloudWatch can evaluate.
//
// Limits: metrics have no values, so an alarm stays INSUFFICIENT_DATA; metric
// math, composite alarms and dashboards are not modelled. Of CloudWatch's
// protocols Query and JSON are spoken, and CBOR, which newer SDKs use, is not.
package cloudwatch

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/sns"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TypeAlarm is the resource type of this package; its id is the alarm's name.
const TypeAlarm = "AWS::CloudWatch::Alarm"

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{alarmType()} }

func alarmType() *account.Type {
	return &account.Type{
		Name: TypeAlarm,
		Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = props.Str(r.Props, "AlarmName")
			if r.ID == "" {
				r.ID = tx.Name(r, 255)
			}
			if tx.Get(TypeAlarm, r.ID) != nil {
				return account.Errorf("AlreadyExists", "%s already exists", r.ID)
			}
			r.Status = "INSUFFICIENT_DATA"
			r.Attrs["Arn"] = tx.ARN("cloudwatch", "alarm:"+r.ID)
			r.Tags = props.Tags(r.Props, "Tags")
			return check(tx, r.Props)
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			r.Retag(next, "Tags")
			return check(tx, next)
		},
	}
}

// comparisons are the operators of alarms on one metric.
func comparisons() []string {
	return []string{"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}
}

// missing are the ways to treat periods without data.
func missing() []string { return []string{"breaching", "notBreaching", "ignore", "missing"} }

// check holds the rules of PutMetricAlarm.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
func check(tx *account.Tx, p map[string]any) error {
	if props.Has(p, "Metrics") || props.Has(p, "ThresholdMetricId") {
		return account.NotModelled("alarms on metric math are not modelled by the sandbox")
	}
	if props.Str(p, "MetricName") == "" || props.Str(p, "Namespace") == "" {
		return account.Errorf("ValidationError", "MetricName, Namespace and Metrics are not specified, exactly one must be specified.")
	}
	if op := props.Str(p, "ComparisonOperator"); !slices.Contains(comparisons(), op) {
		return account.Errorf("ValidationError", "Value '%s' at 'comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: %v", op, comparisons())
	}
	period := props.Int(p, 0, "Period")
	if period != 10 && period != 20 && period != 30 && (period <= 0 || period%60 != 0) {
		return account.Errorf("ValidationError", "Period must be 10, 20, 30 or a multiple of 60")
	}
	evaluations := props.Int(p, 0, "EvaluationPeriods")
	if evaluations < 1 {
		return account.Errorf("ValidationError", "Value '%d' at 'evaluationPeriods' failed to satisfy constraint: Member must have value greater than or equal to 1", evaluations)
	}
	if limit := 7 * 86400; period >= 3600 && period*evaluations > limit || period < 3600 && period*evaluations > 86400 {
		return account.Errorf("ValidationError", "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).")
	}
	if n := props.Int(p, evaluations, "DatapointsToAlarm"); n > evaluations {
		return account.Errorf("ValidationError", "The number of datapoints to alarm (%d) must be smaller than or equal to the number of evaluation periods (%d)", n, evaluations)
	}
	if props.Has(p, "Statistic") == props.Has(p, "ExtendedStatistic") {
		return account.Errorf("ValidationError", "Exactly one of Statistic and ExtendedStatistic must be specified.")
	}
	if v := props.Str(p, "TreatMissingData"); v != "" && !slices.Contains(missing(), v) {
		return account.Errorf("ValidationError", "Value '%s' at 'treatMissingData' failed to satisfy constraint: Member must satisfy enum value set: %v", v, missing())
	}
	if len(props.List(p, "Dimensions")) > 30 {
		return account.Errorf("ValidationError", "The collection Dimensions must not have a size greater than 30.")
	}
	for _, k := range []string{"AlarmActions", "OKActions", "InsufficientDataActions"} {
		for _, action := range props.Strs(p, k) {
			if strings.Contains(action, ":sns:") && tx.Get(sns.TypeTopic, action) == nil {
				return account.Errorf("ValidationError", "Invalid arn syntax or topic does not exist: %s", action)
			}
		}
	}
	return nil
}

// Services are CloudWatch's API in two of its protocols.
func Services() []wire.Service {
	operations := []wire.Operation{{Name: "DescribeAlarms", Do: describeAlarms}}
	return []wire.Service{
		{Name: "monitoring", Version: "2010-08-01", Namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/", Protocol: wire.Query, Operations: operations},
		{Name: "monitoring", Target: "GraniteServiceVersion20100801", Protocol: wire.JSON10, Operations: operations},
	}
}

func describeAlarms(tx *account.Tx, r *wire.Request) (any, error) {
	names, prefix := r.Strings("AlarmNames"), r.String("AlarmNamePrefix")
	out := []any{}
	for _, a := range tx.List(TypeAlarm) {
		if len(names) > 0 && !slices.Contains(names, a.ID) || !strings.HasPrefix(a.ID, prefix) {
			continue
		}
		threshold, _ := facts.Number(props.Str(a.Props, "Threshold"))
		x := map[string]any{
			"AlarmName": a.ID, "AlarmArn": props.Str(a.Attrs, "Arn"), "ActionsEnabled": props.Bool(a.Props, true, "ActionsEnabled"),
			"StateValue": a.Status, "StateReason": "Unchecked: Initial alarm creation", "StateUpdatedTimestamp": a.Created,
			"EvaluationPeriods": props.Int(a.Props, 0, "EvaluationPeriods"), "Period": props.Int(a.Props, 0, "Period"), "Threshold": threshold,
		}
		for _, k := range []string{"AlarmActions", "OKActions", "InsufficientDataActions"} {
			x[k] = props.List(props.Strs(a.Props, k))
		}
		for _, k := range []string{"AlarmDescription", "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "ComparisonOperator", "TreatMissingData"} {
			if v := props.Str(a.Props, k); v != "" {
				x[k] = v
			}
		}
		if n := props.Int(a.Props, 0, "DatapointsToAlarm"); n > 0 {
			x["DatapointsToAlarm"] = n
		}
		dimensions := []any{}
		for _, d := range props.Maps(a.Props, "Dimensions") {
			dimensions = append(dimensions, map[string]any{"Name": props.Str(d, "Name"), "Value": props.Str(d, "Value")})
		}
		x["Dimensions"] = dimensions
		out = append(out, x)
	}
	return map[string]any{"MetricAlarms": out}, nil
}
