// Package sns is Amazon SNS: topics and their policies.
//
// Invariants: topic names are unique, a topic's key exists, a policy belongs to
// topics that exist.
//
// Limits: subscriptions, messages and FIFO topics are not modelled.
package sns

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The resource types of this package; a topic's id is its ARN.
const (
	TypeTopic       = "AWS::SNS::Topic"
	TypeTopicPolicy = "AWS::SNS::TopicPolicy"
)

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{topicType(), policyType()} }

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

func topicType() *account.Type {
	return &account.Type{
		Name: TypeTopic,
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "TopicName")
			if name == "" {
				name = tx.Name(r, 256)
			}
			if !namePattern.MatchString(name) {
				return account.Errorf("InvalidParameter", "Invalid parameter: Topic Name")
			}
			r.ID = tx.ARN("sns", name)
			if tx.Get(TypeTopic, r.ID) != nil {
				return account.Errorf("InvalidParameter", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
			}
			if err := quota.Topics.Check(tx, tx.Count(TypeTopic)); err != nil {
				return err
			}
			r.Attrs["TopicName"], r.Attrs["TopicArn"] = name, r.ID
			r.Tags = props.Tags(r.Props, "Tags")
			return checkTopic(tx, r.Props)
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			r.Retag(next, "Tags")
			return checkTopic(tx, next)
		},
	}
}

func checkTopic(tx *account.Tx, p map[string]any) error {
	if err := account.Unmodelled(TypeTopic, p, "Subscription", "FifoTopic", "DataProtectionPolicy", "ArchivePolicy", "DeliveryStatusLogging"); err != nil {
		return err
	}
	if len(props.Str(p, "DisplayName")) > 100 {
		return account.Errorf("InvalidParameter", "Invalid parameter: DisplayName Reason: Display name must be 100 characters or less")
	}
	if key := props.Str(p, "KmsMasterKeyId"); key != "" && !strings.HasPrefix(key, "alias/aws/") {
		if _, err := kms.Lookup(tx, key); err != nil {
			return account.Errorf("InvalidParameter", "Invalid parameter: KmsMasterKeyId Reason: key %s does not exist", key)
		}
	}
	return nil
}

func policyType() *account.Type {
	check := func(tx *account.Tx, p map[string]any) error {
		topics := props.Strs(p, "Topics")
		if len(topics) == 0 {
			return account.Errorf("InvalidParameter", "Invalid parameter: Topics")
		}
		for _, t := range topics {
			if tx.Get(TypeTopic, t) == nil {
				return account.Errorf("NotFound", "Topic does not exist")
			}
		}
		for _, s := range props.Maps(p, "PolicyDocument", "Statement") {
			if props.Str(s, "Effect") == "" || !props.Has(s, "Action") || !props.Has(s, "Principal") {
				return account.Errorf("InvalidParameter", "Invalid parameter: Policy Error: null")
			}
		}
		return nil
	}
	put := func(tx *account.Tx, p map[string]any) error {
		if err := check(tx, p); err != nil {
			return err
		}
		text, err := policy.Text(p["PolicyDocument"])
		for _, t := range props.Strs(p, "Topics") {
			tx.Get(TypeTopic, t).Data["policy"] = text
		}
		return err
	}
	return &account.Type{
		Name: TypeTopicPolicy,
		Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = tx.Name(r, 64)
			r.Attrs["Id"] = r.ID
			return put(tx, r.Props)
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return put(tx, next) },
		// A topic always has a policy: without another one, its first.
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, t := range props.Strs(r.Props, "Topics") {
				if topic := tx.Get(TypeTopic, t); topic != nil {
					delete(topic.Data, "policy")
				}
			}
		},
	}
}

// policyOf is a topic's policy. The one that it is made with lets the account
// do everything.
// https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
func policyOf(tx *account.Tx, t *account.Resource) string {
	if p := props.Str(t.Data, "policy"); p != "" {
		return p
	}
	return `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},` +
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],` +
		`"Resource":"` + t.ID + `","Condition":{"StringEquals":{"AWS:SourceOwner":"` + tx.AccountID() + `"}}}]}`
}

// Service returns SNS's API.
func Service() wire.Service {
	return wire.Service{
		Name: "sns", Version: "2010-03-31", Namespace: "http://sns.amazonaws.com/doc/2010-03-31/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "ListTopics", Do: func(tx *account.Tx, r *wire.Request) (any, error) {
				var all []topic
				for _, t := range tx.List(TypeTopic) {
					all = append(all, topic{t.ID})
				}
				page, next, err := wire.Page(all, r.String("NextToken"), 100, "InvalidParameter")
				return listTopics{page, next}, err
			}},
			{Name: "GetTopicAttributes", Do: getTopicAttributes},
			{Name: "SetTopicAttributes", Do: setTopicAttributes},
			{Name: "ListTagsForResource", Do: listTags},
		},
	}
}

type topic struct{ TopicArn string }

type listTopics struct {
	Topics    []topic `xml:"Topics>member"`
	NextToken string  `xml:",omitempty"`
}

type entry struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type topicAttributes struct {
	Attributes []entry `xml:"Attributes>entry"`
}

func findTopic(tx *account.Tx, arn string) (*account.Resource, error) {
	if t := tx.Get(TypeTopic, arn); t != nil {
		return t, nil
	}
	return nil, &account.Error{Code: "NotFound", Message: "Topic does not exist", Status: 404}
}

// setTopicAttributes sets what of a topic this package knows.
// https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html
func setTopicAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	t, err := findTopic(tx, r.String("TopicArn"))
	if err != nil {
		return nil, err
	}
	name, value := r.String("AttributeName"), r.String("AttributeValue")
	switch name {
	case "Policy":
		if _, err := policy.Parse(value, policy.Resource); err != nil {
			return nil, account.Errorf("InvalidParameter", "Invalid parameter: Policy Error: %v", err)
		}
		t.Data["policy"] = value
		return nil, nil
	case "DisplayName", "KmsMasterKeyId":
		next, _ := account.Copy(t.Props).(map[string]any)
		next[name] = value
		_, err := tx.Update(t, next, false)
		return nil, err
	case "":
		return nil, account.Errorf("InvalidParameter", "Invalid parameter: AttributeName")
	}
	return nil, account.NotModelled("the attribute %s of a topic is not modelled by the sandbox", name)
}

func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	t := tx.Get(TypeTopic, r.String("ResourceArn"))
	if t == nil {
		return nil, &account.Error{Code: "ResourceNotFound", Message: "Resource does not exist", Status: 404}
	}
	var out struct {
		Tags []struct{ Key, Value string } `xml:"Tags>member"`
	}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags = append(out.Tags, struct{ Key, Value string }{k, t.Tags[k]})
	}
	return out, nil
}

func getTopicAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	t, err := findTopic(tx, r.String("TopicArn"))
	if err != nil {
		return nil, err
	}
	out := topicAttributes{Attributes: []entry{{"DisplayName", props.Str(t.Props, "DisplayName")}, {"Owner", tx.AccountID()}, {"Policy", policyOf(tx, t)}, {"TopicArn", t.ID}}}
	if key := props.Str(t.Props, "KmsMasterKeyId"); key != "" {
		out.Attributes = append(out.Attributes, entry{"KmsMasterKeyId", key})
	}
	return out, nil
}

// Policies are the policy of the topic that an ARN names.
func Policies(tx *account.Tx, arn string) []*policy.Document {
	t := tx.Get(TypeTopic, arn)
	if t == nil {
		return nil
	}
	doc, err := policy.Parse(policyOf(tx, t), policy.Resource)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}
