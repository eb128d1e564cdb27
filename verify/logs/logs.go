// Package logs has the checks of log groups and of the topics that alarms go to.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: what the logs say is not read.
package logs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// logFacts are what the log groups and topics are.
type logFacts struct {
	logGroupsFact account.Fact[map[string]types.LogGroup]
	topicsFact    account.Fact[[]topic]
}

// logGroups are the groups below the deployment's names, planned or not.
func logGroups(l *account.Look) (map[string]types.LogGroup, error) {
	return account.Facts[logFacts](l).logGroupsFact.Get(func() (map[string]types.LogGroup, error) {
		found := map[string]types.LogGroup{}
		for _, prefix := range []string{
			strings.TrimSuffix(l.Arch.ClusterLogGroup(), "cluster"), l.Arch.LogGroup(""), l.Arch.DatabaseLogGroup(""), l.Arch.WAFLogGroup(),
		} {
			pages := logs.NewDescribeLogGroupsPaginator(l.AWS.Logs, &logs.DescribeLogGroupsInput{LogGroupNamePrefix: &prefix})
			for pages.HasMorePages() {
				page, err := pages.NextPage(l.Ctx)
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
func plannedLogGroups(l *account.Look) map[string]int {
	c := l.Arch.Config
	out := map[string]int{}
	if len(c.Cluster.Logs) > 0 {
		out[l.Arch.ClusterLogGroup()] = c.Cluster.LogRetentionDays
	}
	for _, log := range []string{"postgresql", "upgrade"} {
		out[l.Arch.DatabaseLogGroup(log)] = c.Cluster.LogRetentionDays
	}
	if c.WAF.Enabled {
		out[l.Arch.WAFLogGroup()] = c.Cluster.LogRetentionDays
	}
	if c.Network.FlowLogs.Enabled {
		out[l.Arch.LogGroup("flow-logs")] = c.Network.FlowLogs.RetentionDays
	}
	return out
}

// topic is an SNS topic of the deployment.
type topic struct {
	arn    string
	key    string // as SNS has it; "" for none
	policy policy.Document
}

// topics are the SNS topics that carry the deployment's tag. Only those whose
// names begin like those of its stacks are asked for tags: an account may have
// a hundred thousand.
func topics(l *account.Look) ([]topic, error) {
	return account.Facts[logFacts](l).topicsFact.Get(func() ([]topic, error) {
		var found []topic
		pages := sns.NewListTopicsPaginator(l.AWS.SNS, &sns.ListTopicsInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list topics: %w", err)
			}
			for _, t := range page.Topics {
				arn := aws.ToString(t.TopicArn)
				if !strings.HasPrefix(account.ResourceOf(arn), l.Arch.ResourceName("")) {
					continue
				}
				one, err := readTopic(l, arn)
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

// readTopic is a topic if it is the deployment's, else nil.
func readTopic(l *account.Look, arn string) (*topic, error) {
	tags, err := l.AWS.SNS.ListTagsForResource(l.Ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("list the tags of %s: %w", arn, err)
	}
	ours := false
	for _, t := range tags.Tags {
		ours = ours || aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == l.Arch.Name()
	}
	if !ours {
		return nil, nil
	}
	out, err := l.AWS.SNS.GetTopicAttributes(l.Ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", arn, err)
	}
	p, err := policy.Read(out.Attributes["Policy"])
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
func eachTopic(f func(l *account.Look, r *check.Recorder, t topic) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		all, err := topics(l)
		if err != nil {
			return err
		}
		for _, t := range all {
			if err := f(l, r, t); err != nil {
				return err
			}
		}
		if len(all) == 0 {
			r.NA("there is no topic, as topic-there says")
		}
		return nil
	}
}

// Checks are the checks of log groups and topics, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "log-group-there", Level: check.Required, Rows: []string{"B44", "B45"},
			Proves: "There is a log group for each log that is kept.",
			Run: func(l *account.Look, r *check.Recorder) error {
				found, err := logGroups(l)
				if err != nil {
					return err
				}
				for _, name := range account.SortedKeys(plannedLogGroups(l)) {
					if _, ok := found[name]; ok {
						r.Saw(true, name, "there", seeLogGroups, "", "")
						continue
					}
					r.Missing(name, seeLogGroups, fmt.Sprintf("aws logs create-log-group --log-group-name %s --kms-key-id with the ARN of %s, and put-retention-policy", name, l.Arch.KeyAlias(architecture.KeyLogs)))
				}
				return nil
			},
		},
		{
			ID: "log-group-encrypted", Level: check.Required, Rows: []string{"S4", "B11"},
			Proves: "The deployment's log groups are encrypted with the logs key.",
			Run: func(l *account.Look, r *check.Recorder) error {
				found, err := logGroups(l)
				if err != nil {
					return err
				}
				for _, name := range account.SortedKeys(found) {
					if err := check.SawKey(l, r, name, aws.ToString(found[name].KmsKeyId), seeLogGroups, architecture.KeyLogs,
						fmt.Sprintf("aws logs associate-kms-key --log-group-name %s --kms-key-id with the ARN of %s", name, l.Arch.KeyAlias(architecture.KeyLogs))); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			ID: "log-group-retention", Level: check.Required, Rows: []string{"B44", "B45"},
			Proves: "Log groups keep what is logged for as long as configured, and not for ever.",
			Run: func(l *account.Look, r *check.Recorder) error {
				found, err := logGroups(l)
				if err != nil {
					return err
				}
				planned := plannedLogGroups(l)
				for _, name := range account.SortedKeys(found) {
					want, have := max(planned[name], 1), int(aws.ToInt32(found[name].RetentionInDays))
					saw := fmt.Sprintf("%d days", have)
					if have == 0 {
						saw = "for ever"
					}
					r.Saw(have >= want, name, saw, seeLogGroups, fmt.Sprintf("%d days or more, with an end", want), fmt.Sprintf("aws logs put-retention-policy --log-group-name %s --retention-in-days %d", name, max(want, 30)))
				}
				return nil
			},
		},
		{
			ID: "topic-there", Level: check.Required, Rows: []string{"S10"},
			Proves: "There is a topic for the alarms of the database.",
			Run: func(l *account.Look, r *check.Recorder) error {
				all, err := topics(l)
				if err != nil {
					return err
				}
				for _, t := range all {
					r.Saw(true, t.arn, "there", "sns:ListTopics", "", "")
				}
				if len(all) == 0 {
					r.Missing("a topic with the tag "+architecture.DeploymentTag+"="+l.Arch.Name(), "sns:ListTopics",
						"make one of the name that the alarms of the database send to (aws cloudwatch describe-alarms), with the logs key, or let CloudFormation make it again: take it out of the stack and update")
				}
				return nil
			},
		},
		{
			ID: "topic-encrypted", Level: check.Required, Rows: []string{"S4", "B12"},
			Proves: "Alarm notifications are encrypted with the logs key.",
			Run: eachTopic(func(l *account.Look, r *check.Recorder, t topic) error {
				return check.SawKey(l, r, t.arn, t.key, seeTopic, architecture.KeyLogs,
					"aws sns set-topic-attributes --topic-arn "+t.arn+" --attribute-name KmsMasterKeyId --attribute-value "+l.Arch.KeyAlias(architecture.KeyLogs))
			}),
		},
		{
			ID: "topic-tls", Level: check.Required, Rows: []string{"S5", "B21"},
			Proves: "Topics refuse what is no TLS.",
			Run: eachTopic(func(_ *account.Look, r *check.Recorder, t topic) error {
				ok := slices.ContainsFunc(t.policy, func(s policy.Statement) bool {
					return s.RefusesAll("sns:Publish", t.arn) && len(s.Conditions) == 1 && slices.Equal(s.Wants("aws:SecureTransport", "Bool", "BoolIfExists"), []string{"false"})
				})
				saw := "publishing without TLS is not refused"
				if ok {
					saw = "publishing without TLS is refused"
				}
				r.Saw(ok, t.arn, saw, seeTopic, "sns:Publish denied where aws:SecureTransport is false",
					"add the statement to the topic's policy: aws sns set-topic-attributes --attribute-name Policy --topic-arn "+t.arn)
				return nil
			}),
		},
		{
			ID: "topic-publishers", Level: check.Required, Rows: []string{"S6"},
			Proves: "Only this account, and CloudWatch for it, can publish alarms.",
			Run: eachTopic(func(l *account.Look, r *check.Recorder, t topic) error {
				strangers := t.policy.Strangers(l.ID.Account, "cloudwatch.amazonaws.com")
				for _, who := range strangers {
					r.Saw(false, t.arn, "lets in "+who, seeTopic, "this account, and CloudWatch for it",
						"take it out of the topic's policy: aws sns set-topic-attributes --attribute-name Policy --topic-arn "+t.arn)
				}
				if len(strangers) == 0 {
					r.Saw(true, t.arn, "lets in this account and CloudWatch for it", seeTopic, "", "")
				}
				return nil
			}),
		},
	}
}
