package calibrate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// changeSetPatience is how long a change set may take to be made, and
// changeSetPause how often it is looked at.
const (
	changeSetPatience = 5 * time.Minute
	changeSetPause    = 3 * time.Second
)

func changeSetProbes() []Probe {
	return []Probe{{
		ID: "change-sets", Asks: "what change sets say of new stacks of the templates: their changes and what their checks find",
		Calls: []string{
			"cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet", "cloudformation:DescribeEvents",
			"cloudformation:DeleteChangeSet", "cloudformation:DeleteStack", "cloudformation:DescribeStacks",
		},
		Writes: true, look: changeSets,
	}, {
		ID: "update-change-sets", Asks: "what change sets say of the deployment's stacks that are there, for an update that adds a tag",
		Calls: []string{
			"cloudformation:DescribeStacks", "cloudformation:CreateChangeSet", "cloudformation:DescribeChangeSet", "cloudformation:DescribeEvents", "cloudformation:DeleteChangeSet",
		},
		Writes: true, updates: true, look: updateChangeSets,
	}}
}

// there are those of some stacks that an account has.
func there(ctx context.Context, c *awsapi.Clients, names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		_, err := c.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
		switch {
		case err == nil:
			out = append(out, name)
		case !awsapi.IsNotFound(err):
			return nil, fmt.Errorf("look for stack %s: %w", name, err)
		}
	}
	return out, nil
}

// updateChangeSets makes a change set for each stack that is there, reads it,
// and deletes it. Nothing is executed.
func updateChangeSets(ctx context.Context, s *side) error {
	if len(s.stacks) == 0 {
		return nothing("the account has none of the deployment's stacks")
	}
	for _, name := range s.stacks {
		if err := s.updateChangeSet(ctx, name); err != nil {
			return fmt.Errorf("stack %s: %w", name, err)
		}
	}
	return nil
}

func (s *side) updateChangeSet(ctx context.Context, stack string) (err error) {
	found, err := s.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil {
		s.refusal(stack, err)
		return nil
	}
	name := aws.String(StackPrefix + "update")
	in := &cloudformation.CreateChangeSetInput{
		StackName: &stack, ChangeSetName: name, ChangeSetType: types.ChangeSetTypeUpdate, UsePreviousTemplate: aws.Bool(true),
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
		Description:  aws.String("made to compare AWS with a sandbox; never executed"),
		Tags:         append(slices.Clone(found.Stacks[0].Tags), types.Tag{Key: aws.String("poolhouse-calibrate"), Value: aws.String("x")}),
	}
	for _, p := range found.Stacks[0].Parameters {
		in.Parameters = append(in.Parameters, types.Parameter{ParameterKey: p.ParameterKey, UsePreviousValue: aws.Bool(true)})
	}
	if _, err := s.CloudFormation.CreateChangeSet(ctx, in); err != nil {
		s.refusal(stack, err)
		return nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, e := s.CloudFormation.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: &stack, ChangeSetName: name}); e != nil && err == nil {
			err = fmt.Errorf("delete the change set: %w", e)
		}
	}()
	return s.read(ctx, stack, &stack, name)
}

// changeSets makes a change set for each template, reads it, and takes it and
// the stack in review away again. Nothing is executed.
func changeSets(ctx context.Context, s *side) error {
	for _, t := range s.templates {
		if err := changeSet(ctx, s, t); err != nil {
			return fmt.Errorf("stack %s%s: %w", StackPrefix, t.Name, err)
		}
	}
	return nil
}

func changeSet(ctx context.Context, s *side, t Template) (err error) {
	name := aws.String(StackPrefix + t.Name)
	in := &cloudformation.CreateChangeSetInput{
		StackName: name, ChangeSetName: name, ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: aws.String(t.Body),
		Capabilities: []types.Capability{types.CapabilityCapabilityNamedIam},
		Description:  aws.String("made to compare AWS with a sandbox; never executed"),
	}
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range t.Parameters {
			if !yield(k) {
				return
			}
		}
	}) {
		in.Parameters = append(in.Parameters, types.Parameter{ParameterKey: aws.String(k), ParameterValue: aws.String(t.Parameters[k])})
	}
	_, err = s.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})
	if err == nil {
		return fmt.Errorf("it is there already; delete it if it is left of an earlier run")
	}
	if !awsapi.IsNotFound(err) {
		return err
	}
	if _, err := s.CloudFormation.CreateChangeSet(ctx, in); err != nil {
		s.refusal(t.Name, err)
		return nil
	}
	defer func() {
		// Also after an interrupt: what is left would be in the way.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, e := s.CloudFormation.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: name, ChangeSetName: name}); e != nil && err == nil {
			err = fmt.Errorf("delete the change set: %w", e)
		}
		if _, e := s.CloudFormation.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name}); e != nil && err == nil {
			err = fmt.Errorf("delete the stack in review: %w", e)
		}
	}()
	return s.read(ctx, t.Name, name, name)
}

// read notes what a change set says, under a name.
func (s *side) read(ctx context.Context, title string, stack, changeSet *string) error {
	out, err := s.made(ctx, stack, changeSet)
	if err != nil {
		return err
	}
	s.found(title, "%s, %s: %s", out.Status, out.ExecutionStatus, aws.ToString(out.StatusReason))
	for _, c := range out.Changes {
		if r := c.ResourceChange; r != nil {
			s.found(title+" "+aws.ToString(r.LogicalResourceId), "%s %s, replacement %q, scope %s, %d details", r.Action, aws.ToString(r.ResourceType), r.Replacement, list(r.Scope), len(r.Details))
		}
	}
	events, err := s.CloudFormation.DescribeEvents(ctx, &cloudformation.DescribeEventsInput{ChangeSetName: out.ChangeSetId})
	if err != nil {
		s.unseen[title+" finding"] = why(err)
		return nil
	}
	for _, e := range events.OperationEvents {
		if e.ValidationName != nil {
			s.found(title+" finding "+aws.ToString(e.LogicalResourceId)+" "+aws.ToString(e.ValidationPath), "%s %s: %s", aws.ToString(e.ValidationName), e.ValidationStatus, aws.ToString(e.ValidationStatusReason))
		}
	}
	return nil
}

// made waits until a change set is made, and returns all of it.
func (s *side) made(ctx context.Context, stack, changeSet *string) (*cloudformation.DescribeChangeSetOutput, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, changeSetPatience, fmt.Errorf("it was not made within %s", changeSetPatience))
	defer cancel()
	for {
		out, err := s.CloudFormation.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: stack, ChangeSetName: changeSet})
		if err != nil {
			return nil, err
		}
		if out.Status == types.ChangeSetStatusCreatePending || out.Status == types.ChangeSetStatusCreateInProgress {
			if err := s.Clock.Sleep(ctx, changeSetPause); err != nil {
				return nil, context.Cause(ctx)
			}
			continue
		}
		for next := out.NextToken; next != nil; {
			more, err := s.CloudFormation.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: stack, ChangeSetName: changeSet, NextToken: next})
			if err != nil {
				return nil, err
			}
			out.Changes, next = append(out.Changes, more.Changes...), more.NextToken
		}
		return out, nil
	}
}
