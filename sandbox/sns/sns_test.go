package sns_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/sns"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

func TestTopicsAndPolicies(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, x := range sns.Types() {
		model.Types[x.Name] = x
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
	topic, err := create(sns.TypeTopic, obj{"TopicName": "alarms", "DisplayName": "Alarms"})
	if err != nil || topic.ID != "arn:aws:sns:us-east-1:123456789012:alarms" {
		t.Fatal(topic, err)
	}
	statement := obj{"Effect": "Allow", "Action": "sns:Publish", "Principal": obj{"Service": "cloudwatch.amazonaws.com"}, "Resource": topic.ID}
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"name":         {sns.TypeTopic, obj{"TopicName": "a.b"}, "InvalidParameter: Invalid parameter: Topic Name"},
		"taken":        {sns.TypeTopic, obj{"TopicName": "alarms"}, "InvalidParameter: "},
		"key":          {sns.TypeTopic, obj{"KmsMasterKeyId": "alias/none"}, "InvalidParameter: Invalid parameter: KmsMasterKeyId"},
		"generated":    {sns.TypeTopic, obj{"KmsMasterKeyId": "alias/aws/sns"}, ""},
		"no topic":     {sns.TypeTopicPolicy, obj{"Topics": []any{"none"}, "PolicyDocument": obj{"Statement": []any{statement}}}, "NotFound: Topic does not exist"},
		"no principal": {sns.TypeTopicPolicy, obj{"Topics": []any{topic.ID}, "PolicyDocument": obj{"Statement": []any{obj{"Effect": "Allow", "Action": "sns:Publish"}}}}, "InvalidParameter: Invalid parameter: Policy Error: null"},
		"policy":       {sns.TypeTopicPolicy, obj{"Topics": []any{topic.ID}, "PolicyDocument": obj{"Statement": []any{statement}}}, ""},
	} {
		_, err := create(c.typ, c.p)
		var e *account.Error
		got := ""
		if errors.As(err, &e) {
			got = e.Code + ": " + e.Message
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" && err != nil {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	for _, o := range sns.Service().Operations {
		if err := a.Do(func(tx *account.Tx) error {
			_, err := o.Do(tx, &wire.Request{In: obj{"TopicArn": topic.ID}})
			return err
		}); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
}
