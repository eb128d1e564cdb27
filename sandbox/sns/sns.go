// Package sns is Amazon SNS: topics and their policies.
//
// Invariants: topic names are unique, a topic's key exists, a policy belongs to
// topics that exist.
//
// Limits: subscriptions, messages and FIFO topics are not modelled.
package sns

import (
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
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
	return &account.Type{
		Name: TypeTopicPolicy,
		Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = tx.Name(r, 64)
			r.Attrs["Id"] = r.ID
			return check(tx, r.Props)
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return check(tx, next) },
	}
}

// Service returns SNS's API.
func Service() wire.Service {
	return wire.Service{
		Name: "sns", Version: "2010-03-31", Namespace: "http://sns.amazonaws.com/doc/2010-03-31/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "ListTopics", Do: func(tx *account.Tx, _ *wire.Request) (any, error) {
				var out listTopics
				for _, t := range tx.List(TypeTopic) {
					out.Topics = append(out.Topics, topic{t.ID})
				}
				return out, nil
			}},
			{Name: "GetTopicAttributes", Do: getTopicAttributes},
		},
	}
}

type topic struct{ TopicArn string }

type listTopics struct {
	Topics []topic `xml:"Topics>member"`
}

type entry struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type topicAttributes struct {
	Attributes []entry `xml:"Attributes>entry"`
}

func getTopicAttributes(tx *account.Tx, r *wire.Request) (any, error) {
	t := tx.Get(TypeTopic, r.String("TopicArn"))
	if t == nil {
		return nil, &account.Error{Code: "NotFound", Message: "Topic does not exist", Status: 404}
	}
	out := topicAttributes{Attributes: []entry{{"DisplayName", props.Str(t.Props, "DisplayName")}, {"Owner", tx.AccountID()}, {"TopicArn", t.ID}}}
	if key := props.Str(t.Props, "KmsMasterKeyId"); key != "" {
		out.Attributes = append(out.Attributes, entry{"KmsMasterKeyId", key})
	}
	return out, nil
}
