package sns_test

import (
	"errors"
	"fmt"
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
	topic, err := create(sns.TypeTopic, obj{"TopicName": "alarms", "DisplayName": "Alarms", "Tags": []any{obj{"Key": "cost", "Value": "1"}}})
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
	call := func(op string, in obj) (any, error) {
		for _, o := range sns.Service().Operations {
			if o.Name != op {
				continue
			}
			var out any
			err := a.Do(func(tx *account.Tx) error {
				var err error
				out, err = o.Do(tx, &wire.Request{In: in})
				return err
			})
			return out, err
		}
		t.Fatalf("no operation %s", op)
		return nil, nil
	}
	// A policy by API replaces the stack's, and when that goes, the first is
	// there again.
	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"sns:Publish","Resource":"*"}]}`
	set := func(name, value string) obj {
		return obj{"TopicArn": topic.ID, "AttributeName": name, "AttributeValue": value}
	}
	for _, c := range []struct {
		op         string
		in         obj
		want, says string
	}{
		{"ListTopics", obj{}, "", topic.ID},
		{"GetTopicAttributes", obj{"TopicArn": topic.ID}, "", "cloudwatch.amazonaws.com"},
		{"SetTopicAttributes", set("Policy", policy), "", ""},
		{"GetTopicAttributes", obj{"TopicArn": topic.ID}, "", policy},
		{"SetTopicAttributes", set("Policy", "{"), "InvalidParameter: Invalid parameter: Policy Error", ""},
		{"SetTopicAttributes", set("KmsMasterKeyId", "alias/aws/sns"), "", ""},
		{"GetTopicAttributes", obj{"TopicArn": topic.ID}, "", "alias/aws/sns"},
		{"SetTopicAttributes", set("KmsMasterKeyId", "alias/none"), "InvalidParameter: Invalid parameter: KmsMasterKeyId", ""},
		{"SetTopicAttributes", set("", ""), "InvalidParameter: Invalid parameter: AttributeName", ""},
		{"SetTopicAttributes", set("DeliveryPolicy", "{}"), "NotModelled: ", ""},
		{"SetTopicAttributes", obj{"TopicArn": "none"}, "NotFound: Topic does not exist", ""},
		{"ListTagsForResource", obj{"ResourceArn": topic.ID}, "", "cost 1"},
		{"ListTagsForResource", obj{"ResourceArn": "none"}, "ResourceNotFound: ", ""},
	} {
		out, err := call(c.op, c.in)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" && err != nil || !strings.Contains(fmt.Sprint(out), c.says) {
			t.Errorf("%s %v: got %v, %v; want %q and %q", c.op, c.in, out, err, c.want, c.says)
		}
	}
	if err := a.Do(func(tx *account.Tx) error {
		p := tx.List(sns.TypeTopicPolicy)[0]
		if _, err := tx.Delete(p, false); err != nil {
			return err
		}
		return tx.Settle(p, "delete")
	}); err != nil {
		t.Fatal(err)
	}
	if out, err := call("GetTopicAttributes", obj{"TopicArn": topic.ID}); err != nil || !strings.Contains(fmt.Sprint(out), "__default_policy_ID") {
		t.Errorf("without a policy: %v, %v", out, err)
	}
}
