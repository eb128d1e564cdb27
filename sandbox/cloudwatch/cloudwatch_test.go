package cloudwatch_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudwatch"
	"github.com/poolhouse/poolhouse/sandbox/sns"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

func TestAlarms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, list := range [][]*account.Type{cloudwatch.Types(), sns.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	a := account.New(model, account.Options{Now: func() time.Time { return now }})
	create := func(typ string, p obj) (*account.Resource, error) {
		var r *account.Resource
		err := a.Do(func(tx *account.Tx) error {
			var err error
			r, _, err = tx.Create(typ, p, "", true)
			return err
		})
		return r, err
	}
	topic, err := create(sns.TypeTopic, obj{"TopicName": "alarms"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change obj
		want   string
	}{
		"fine":          {obj{"AlarmName": "cpu", "AlarmActions": []any{topic.ID}, "Dimensions": []any{obj{"Name": "DBInstanceIdentifier", "Value": "db"}}}, ""},
		"no metric":     {obj{"MetricName": ""}, "ValidationError: MetricName, Namespace and Metrics are not specified"},
		"operator":      {obj{"ComparisonOperator": "GreaterThan"}, "ValidationError: Value 'GreaterThan' at 'comparisonOperator'"},
		"period":        {obj{"Period": 45}, "ValidationError: Period must be 10, 20, 30 or a multiple of 60"},
		"more than day": {obj{"Period": 600, "EvaluationPeriods": 145}, "ValidationError: Metrics cannot be checked across more than a day"},
		"datapoints":    {obj{"DatapointsToAlarm": 4}, "ValidationError: The number of datapoints to alarm (4)"},
		"statistic":     {obj{"ExtendedStatistic": "p99"}, "ValidationError: Exactly one of Statistic and ExtendedStatistic"},
		"missing data":  {obj{"TreatMissingData": "no"}, "ValidationError: Value 'no' at 'treatMissingData'"},
		"no topic":      {obj{"AlarmActions": []any{topic.ID + "x"}}, "ValidationError: Invalid arn syntax or topic does not exist"},
	} {
		p := obj{"MetricName": "CPUUtilization", "Namespace": "AWS/RDS", "Statistic": "Average", "ComparisonOperator": "GreaterThanThreshold", "Threshold": "80", "Period": "300", "EvaluationPeriods": 3}
		for k, v := range c.change {
			p[k] = v
		}
		_, err := create(cloudwatch.TypeAlarm, p)
		var e *account.Error
		got := ""
		if errors.As(err, &e) {
			got = e.Code + ": " + e.Message
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" && err != nil {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	err = a.Do(func(tx *account.Tx) error {
		for _, service := range cloudwatch.Services() {
			out, err := service.Operations[0].Do(tx, &wire.Request{In: obj{"AlarmNamePrefix": "c"}})
			if err != nil {
				return err
			}
			want := obj{"MetricAlarms": []any{obj{
				"AlarmName": "cpu", "AlarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:cpu", "ActionsEnabled": true,
				"StateValue": "INSUFFICIENT_DATA", "StateReason": "Unchecked: Initial alarm creation", "StateUpdatedTimestamp": now,
				"EvaluationPeriods": 3, "Period": 300, "Threshold": 80.0,
				"AlarmActions": []any{topic.ID}, "OKActions": []any{}, "InsufficientDataActions": []any{},
				"MetricName": "CPUUtilization", "Namespace": "AWS/RDS", "Statistic": "Average", "ComparisonOperator": "GreaterThanThreshold",
				"Dimensions": []any{obj{"Name": "DBInstanceIdentifier", "Value": "db"}},
			}}}
			if d := cmp.Diff(want, out); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
