package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/poolhouse/poolhouse/architecture"
)

// logFacts are what the log groups and topics are.
type logFacts struct {
	logGroupsFact fact[map[string]types.LogGroup]
	topicsFact    fact[[]topic]
}

// logGroups are the groups below the deployment's names, planned or not.
func (l *look) logGroups() (map[string]types.LogGroup, error) {
	return l.logGroupsFact.get(func() (map[string]types.LogGroup, error) {
		found := map[string]types.LogGroup{}
		for _, prefix := range []string{
			strings.TrimSuffix(l.arch.ClusterLogGroup(), "cluster"), l.arch.LogGroup(""), l.arch.DatabaseLogGroup(""), l.arch.WAFLogGroup(),
		} {
			pages := logs.NewDescribeLogGroupsPaginator(l.aws.Logs, &logs.DescribeLogGroupsInput{LogGroupNamePrefix: &prefix})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.ctx)
				if err != nil {
					return nil, fmt.Errorf("list log groups %s*: %w", prefix, err)
				}
				for _, g := range page.LogGroups {
					// Another deployment's name can begin with this one's.
					if name := aws.ToString(g.LogGroupName); strings.HasSuffix(prefix, "/") || name == prefix {
						found[name] = g
					}
				}
			}
		}
		return found, nil
	})
}

// plannedLogGroups are the days that the planned groups keep what is logged, by
// name.
func (l *look) plannedLogGroups() map[string]int {
	c := l.arch.Config
	out := map[string]int{}
	if len(c.Cluster.Logs) > 0 {
		out[l.arch.ClusterLogGroup()] = c.Cluster.LogRetentionDays
	}
	for _, log := range []string{"postgresql", "upgrade"} {
		out[l.arch.DatabaseLogGroup(log)] = c.Cluster.LogRetentionDays
	}
	if c.WAF.Enabled {
		out[l.arch.WAFLogGroup()] = c.Cluster.LogRetentionDays
	}
	if c.Network.FlowLogs.Enabled {
		out[l.arch.LogGroup("flow-logs")] = c.Network.FlowLogs.RetentionDays
	}
	return out
}

// topic is an SNS topic of the deployment.
type topic struct {
	arn    string
	key    string // as SNS has it; "" for none
	policy policy
}

// topics are the SNS topics that carry the deployment's tag. Only those whose
// names begin like those of its stacks are asked for tags: an account may have
// a hundred thousand.
func (l *look) topics() ([]topic, error) {
	return l.topicsFact.get(func() ([]topic, error) {
		var found []topic
		pages := sns.NewListTopicsPaginator(l.aws.SNS, &sns.ListTopicsInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list topics: %w", err)
			}
			for _, t := range page.Topics {
				arn := aws.ToString(t.TopicArn)
				if !strings.HasPrefix(resourceOf(arn), l.arch.ResourceName("")) {
					continue
				}
				one, err := l.topic(arn)
				if err != nil {
					return nil, err
				}
				if one != nil {
					found = append(found, *one)
				}
			}
		}
		return found, nil
	})
}

// topic is a topic if it is the deployment's, else nil.
func (l *look) topic(arn string) (*topic, error) {
	tags, err := l.aws.SNS.ListTagsForResource(l.ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", arn, err)
	}
	ours := false
	for _, t := range tags.Tags {
		ours = ours || aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == l.arch.Name()
	}
	if !ours {
		return nil, nil
	}
	out, err := l.aws.SNS.GetTopicAttributes(l.ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", arn, err)
	}
	p, err := readPolicy(out.Attributes["Policy"])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arn, err)
	}
	return &topic{arn, out.Attributes["KmsMasterKeyId"], p}, nil
}

const (
	seeLogGroups = "logs:DescribeLogGroups"
	seeTopic     = "sns:GetTopicAttributes"
)

// eachTopic looks at the topics, if there are any.
func eachTopic(f func(l *look, r *result, t topic) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		all, err := l.topics()
		if err != nil {
			return err
		}
		for _, t := range all {
			if err := f(l, r, t); err != nil {
				return err
			}
		}
		if len(all) == 0 {
			r.na("there is no topic, as topic-there says")
		}
		return nil
	}
}

func logChecks() []Check {
	return []Check{
		{
			ID: "log-group-there", Level: Required, Rows: []string{"B44", "B45"},
			Proves: "There is a log group for each log that is kept.",
			run: func(l *look, r *result) error {
				found, err := l.logGroups()
				if err != nil {
					return err
				}
				for _, name := range sortedKeys(l.plannedLogGroups()) {
					if _, ok := found[name]; ok {
						r.saw(true, name, "there", seeLogGroups, "", "")
						continue
					}
					r.missing(name, seeLogGroups, fmt.Sprintf("aws logs create-log-group --log-group-name %s --kms-key-id with the ARN of %s, and put-retention-policy", name, l.arch.KeyAlias(architecture.KeyLogs)))
				}
				return nil
			},
		},
		{
			ID: "log-group-encrypted", Level: Required, Rows: []string{"S4", "B11"},
			Proves: "The deployment's log groups are encrypted with the logs key.",
			run: func(l *look, r *result) error {
				found, err := l.logGroups()
				if err != nil {
					return err
				}
				for _, name := range sortedKeys(found) {
					if err := l.sawKey(r, name, aws.ToString(found[name].KmsKeyId), seeLogGroups, architecture.KeyLogs,
						fmt.Sprintf("aws logs associate-kms-key --log-group-name %s --kms-key-id with the ARN of %s", name, l.arch.KeyAlias(architecture.KeyLogs))); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "log-group-retention", Level: Required, Rows: []string{"B44", "B45"},
			Proves: "Log groups keep what is logged for as long as configured, and not for ever.",
			run: func(l *look, r *result) error {
				found, err := l.logGroups()
				if err != nil {
					return err
				}
				planned := l.plannedLogGroups()
				for _, name := range sortedKeys(found) {
					want, have := max(planned[name], 1), int(aws.ToInt32(found[name].RetentionInDays))
					saw := fmt.Sprintf("%d days", have)
					if have == 0 {
						saw = "for ever"
					}
					r.saw(have >= want, name, saw, seeLogGroups, fmt.Sprintf("%d days or more, with an end", want), fmt.Sprintf("aws logs put-retention-policy --log-group-name %s --retention-in-days %d", name, max(want, 30)))
				}
				return nil
			},
		},
		{
			ID: "topic-there", Level: Required, Rows: []string{"S10"},
			Proves: "There is a topic for the alarms of the database.",
			run: func(l *look, r *result) error {
				all, err := l.topics()
				if err != nil {
					return err
				}
				for _, t := range all {
					r.saw(true, t.arn, "there", "sns:ListTopics", "", "")
				}
				if len(all) == 0 {
					r.missing("a topic with the tag "+architecture.DeploymentTag+"="+l.arch.Name(), "sns:ListTopics",
						"make one of the name that the alarms of the database send to (aws cloudwatch describe-alarms), with the logs key, or let CloudFormation make it again: take it out of the stack and update")
				}
				return nil
			},
		},
		{
			ID: "topic-encrypted", Level: Required, Rows: []string{"S4", "B12"},
			Proves: "Alarm notifications are encrypted with the logs key.",
			run: eachTopic(func(l *look, r *result, t topic) error {
				return l.sawKey(r, t.arn, t.key, seeTopic, architecture.KeyLogs,
					"aws sns set-topic-attributes --topic-arn "+t.arn+" --attribute-name KmsMasterKeyId --attribute-value "+l.arch.KeyAlias(architecture.KeyLogs))
			}),
		},
		{
			ID: "topic-tls", Level: Required, Rows: []string{"S5", "B21"},
			Proves: "Topics refuse what is no TLS.",
			run: eachTopic(func(_ *look, r *result, t topic) error {
				ok := slices.ContainsFunc(t.policy, func(s statement) bool {
					return s.refusesAll("sns:Publish", t.arn) && len(s.conditions) == 1 && slices.Equal(s.wants("aws:SecureTransport", "Bool", "BoolIfExists"), []string{"false"})
				})
				saw := "publishing without TLS is not refused"
				if ok {
					saw = "publishing without TLS is refused"
				}
				r.saw(ok, t.arn, saw, seeTopic, "sns:Publish denied where aws:SecureTransport is false",
					"add the statement to the topic's policy: aws sns set-topic-attributes --attribute-name Policy --topic-arn "+t.arn)
				return nil
			}),
		},
		{
			ID: "topic-publishers", Level: Required, Rows: []string{"S6"},
			Proves: "Only this account, and CloudWatch for it, can publish alarms.",
			run: eachTopic(func(l *look, r *result, t topic) error {
				strangers := l.strangers(t.policy, "cloudwatch.amazonaws.com")
				for _, who := range strangers {
					r.saw(false, t.arn, "lets in "+who, seeTopic, "this account, and CloudWatch for it",
						"take it out of the topic's policy: aws sns set-topic-attributes --attribute-name Policy --topic-arn "+t.arn)
				}
				if len(strangers) == 0 {
					r.saw(true, t.arn, "lets in this account and CloudWatch for it", seeTopic, "", "")
				}
				return nil
			}),
		},
	}
}
