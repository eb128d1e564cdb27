// Package cloudformation is AWS CloudFormation: stacks that create, update and
// delete the account's resources, change sets, and the checks that come before
// any of it.
//
// A stack is data in the account, the operation in flight included, and goes
// on by the account's events: there is no goroutine, and cloning the account
// forks stacks half-way through. Resources are made through the account's
// types, so they obey the same rules as those made by their own service. Each
// resource starts when what it depends on is done and takes the time that its
// type says.
//
// Answers and events use CloudFormation's own words. Not modelled, and refused
// as such: templates outside of the account's own S3, transforms, nested
// stacks, custom resources, modules, stack sets, imports, hooks, rollback
// triggers, creation policies but those of Auto Scaling groups, wait conditions,
// SignalResource, and the express deployment mode. Left out are the detailed statuses of resources whose
// consistency is still being checked. Of the checks before deployment AWS's own
// on its Config recorder is missing. Drift detection never fails, and finds
// none of its own making, as AWS's does now and then; a resource that a
// drift-aware change set made again stays when the update is rolled back.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/Welcome.html
package cloudformation

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns CloudFormation's API. The account's model needs [Events] as
// well.
func Service() wire.Service {
	return wire.Service{
		Name: "cloudformation", Version: "2010-05-15", Namespace: "http://cloudformation.amazonaws.com/doc/2010-05-15/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "CreateStack", Do: createStack},
			{Name: "UpdateStack", Do: updateStack},
			{Name: "DeleteStack", Do: deleteStack},
			{Name: "CancelUpdateStack", Do: cancelUpdateStack},
			{Name: "ContinueUpdateRollback", Do: continueUpdateRollback},
			{Name: "RollbackStack", Do: rollbackStack},
			{Name: "SetStackPolicy", Do: setStackPolicy},
			{Name: "GetStackPolicy", Do: getStackPolicy},
			{Name: "UpdateTerminationProtection", Do: updateTerminationProtection},
			{Name: "CreateChangeSet", Do: createChangeSet},
			{Name: "DescribeChangeSet", Do: describeChangeSet},
			{Name: "ExecuteChangeSet", Do: executeChangeSet},
			{Name: "DeleteChangeSet", Do: deleteChangeSet},
			{Name: "ListChangeSets", Do: listChangeSets},
			{Name: "DescribeStacks", Do: describeStacks},
			{Name: "ListStacks", Do: listStacks},
			{Name: "DescribeStackEvents", Do: describeStackEvents},
			{Name: "DescribeEvents", Do: describeEvents},
			{Name: "DescribeStackResource", Do: describeStackResource},
			{Name: "DescribeStackResources", Do: describeStackResources},
			{Name: "ListStackResources", Do: listStackResources},
			{Name: "DetectStackDrift", Do: detectStackDrift},
			{Name: "DetectStackResourceDrift", Do: detectStackResourceDrift},
			{Name: "DescribeStackDriftDetectionStatus", Do: describeStackDriftDetectionStatus},
			{Name: "DescribeStackResourceDrifts", Do: describeStackResourceDrifts},
			{Name: "DescribeAccountLimits", Do: describeAccountLimits},
			{Name: "ListExports", Do: listExports},
			{Name: "ListImports", Do: listImports},
			{Name: "GetTemplate", Do: getTemplate},
			{Name: "GetTemplateSummary", Do: getTemplateSummary},
			{Name: "ValidateTemplate", Do: validateTemplate},
		},
	}
}

// Events are the handlers that the account's model needs for stacks to go on.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){stack.EventKind: stack.Handle, stack.DriftKind: stack.HandleDrift, changeSetEventKind: handleChangeSet}
}
