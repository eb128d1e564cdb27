package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/internal/cli/view"
)

// A deletion that was begun leaves the choice to the reader: the status names both
// ways on, and none as the next.
func TestStatusOfABegunDeletion(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 19, 28, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status deploy.Status
		want   string
	}{
		"stopped": {deploy.Status{
			Stacks:  []deploy.StackStatus{{Name: "p-keys", Status: "CREATE_COMPLETE", Updated: at}, {Name: "p-dns", Status: "DELETE_FAILED", Updated: at, Surplus: true, Reason: "the zone is not empty"}},
			Deleted: []architecture.StackName{architecture.Cluster, architecture.Nodes},
		}, `p in us-east-1: incomplete
STACK   STATUS                           UPDATED               PROTECTED
p-keys  CREATE_COMPLETE                  2026-11-23 19:28:00Z  no
p-dns   DELETE_FAILED (not in the file)  2026-11-23 19:28:00Z  no
p-dns: the zone is not empty
deleted: cluster, nodes; to go on with the deletion: poolhouse delete d.yaml; to make them again:
  poolhouse create d.yaml
`},
		"failed": {deploy.Status{
			Stacks: []deploy.StackStatus{{Name: "p-storage", Status: "DELETE_FAILED", Updated: at, Protected: true, Root: &diagnosis.Root{
				Stack: "p-storage", Resource: "ModelsBucket", Type: "AWS::S3::Bucket", Reason: "not empty", Cause: "it holds objects", Next: "poolhouse delete FILE",
			}}},
			DeletedUnknown: "ListStacks: denied", Next: "delete",
		}, `p in us-east-1: incomplete
STACK      STATUS         UPDATED               PROTECTED
p-storage  DELETE_FAILED  2026-11-23 19:28:00Z  yes
p-storage failed:
  resource: ModelsBucket (AWS::S3::Bucket)
  reason: not empty
  likely cause: it holds objects
  next: poolhouse delete d.yaml
whether a deletion was begun is not known: ListStacks: denied
next: poolhouse delete d.yaml
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.status.Deployment, c.status.Region, c.status.Phase = "p", "us-east-1", deploy.Incomplete
			var b strings.Builder
			view.Status(&b, &c.status, "d.yaml")
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
