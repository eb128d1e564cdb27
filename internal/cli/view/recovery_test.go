package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/diagnosis"
	"github.com/poolhouse/poolhouse/internal/cli/view"
	"github.com/poolhouse/poolhouse/lease"
)

func TestRecovery(t *testing.T) {
	t.Parallel()
	root := diagnosis.Root{Stack: "p-database", Resource: "Database", PhysicalID: "p", Type: "AWS::RDS::DBInstance", Reason: "no", Cause: "it is busy", Next: "poolhouse status FILE", Document: "https://docs.aws.amazon.com/x"}
	held := deploy.HeldResource{LogicalID: "Database", PhysicalID: "p", Type: "AWS::RDS::DBInstance", Data: true}
	left := held
	left.Left = true
	r := &deploy.Recovery{Deployment: "p", Region: "us-east-1", Stacks: []deploy.StackRecovery{
		{Stack: "database", Name: "p-database", Status: "UPDATE_ROLLBACK_FAILED", Root: &root, Does: "continues", Held: []deploy.HeldResource{held, left}},
		{Stack: "storage", Name: "p-storage", Status: "ROLLBACK_FAILED", Does: "deletes it", Held: []deploy.HeldResource{{LogicalID: "Policy", Type: "T"}, {LogicalID: "Theirs", PhysicalID: "t", Type: "T", Data: true, Left: true}}, Takes: []deploy.HeldResource{{LogicalID: "ModelsBucket", PhysicalID: "m", Type: "AWS::S3::Bucket", Data: true}}},
		{Stack: "nodes", Name: "p-nodes", Status: "UPDATE_FAILED", Does: "rolls back", Held: []deploy.HeldResource{{LogicalID: "Core", Type: "T"}}},
		{Stack: "keys", Name: "p-keys", Status: "CREATE_COMPLETE", Does: "deletes change sets", ChangeSets: []string{"poolhouse-plan"}},
		{Stack: "edge", Name: "p-edge", Status: "DELETE_FAILED", Held: []deploy.HeldResource{{LogicalID: "Rule", Type: "T"}, {LogicalID: "Gone", Type: "T", Left: true}}, Refused: "no", Next: "poolhouse delete FILE"},
	}}
	var b strings.Builder
	view.Recovery(&b, r, "d.yaml")
	want := `p-database is UPDATE_ROLLBACK_FAILED
  resource: Database (AWS::RDS::DBInstance) p
  reason: no
  likely cause: it is busy
  next: poolhouse status d.yaml
  see https://docs.aws.amazon.com/x
  not restored: Database (AWS::RDS::DBInstance) p, which holds data; once its cause is mended, the
    rollback restores it; to go on without: poolhouse recover d.yaml --skip database/Database
  not restored: Database (AWS::RDS::DBInstance) p, which holds data; is skipped: it stays as it is
    now, and CloudFormation takes it for restored; poolhouse drift shows the difference, and an
    update removes it
  recovery: continues
p-storage is ROLLBACK_FAILED
  not taken back: Policy (T); goes with what is left of the stack
  not taken back: Theirs (T) t, which holds data; stays: the creation that failed did not make it
  goes: ModelsBucket (AWS::S3::Bucket) m; the creation that failed made it, and the deletion of the
    stack would leave it behind
  recovery: deletes it
p-nodes is UPDATE_FAILED
  not restored: Core (T); the rollback restores it
  recovery: rolls back
p-keys is CREATE_COMPLETE
  change set: poolhouse-plan, left by a run that is over
  recovery: deletes change sets
p-edge is DELETE_FAILED
  not deleted: Rule (T); to leave it behind, in no stack: poolhouse recover d.yaml --retain
    edge/Rule
  not deleted: Gone (T); is left behind, in no stack: nobody deletes it any more but you
  refused: no; poolhouse delete d.yaml
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Reset()
	view.Recovered(&b, r, "d.yaml")
	want = `  not taken back: Theirs (T) t, which holds data; stays: the creation that failed did not make it
  taken away: ModelsBucket (AWS::S3::Bucket) m, which the creation that failed had made
  not deleted: Gone (T); is left behind, in no stack: nobody deletes it any more but you
p is recovered: 5 stacks. Next: poolhouse status d.yaml
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
	b.Reset()
	// What was in motion ended by itself.
	view.Recovered(&b, &deploy.Recovery{Deployment: "p", Settled: []deploy.SettledStack{
		{Stack: "network", Name: "p-network", Was: "UPDATE_IN_PROGRESS", Status: "UPDATE_COMPLETE"},
		{Stack: "gpu", Name: "p-gpu", Was: "DELETE_IN_PROGRESS"},
	}}, "d.yaml")
	const settled = `p-network was in motion (UPDATE_IN_PROGRESS), and is UPDATE_COMPLETE by itself.
p-gpu was in motion (DELETE_IN_PROGRESS), and is gone by itself.
p needs no recovery any more: nothing was done. Next: poolhouse status d.yaml
`
	if diff := cmp.Diff(settled, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Reset()
	view.Recovery(&b, &deploy.Recovery{Deployment: "p", Region: "us-east-1"}, "d.yaml")
	if got := b.String(); got != "Nothing of p in us-east-1 is stuck.\n" {
		t.Errorf("got %q", got)
	}
	// Somebody is at work, or died while he deleted something.
	at := time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)
	by := &lease.Held{Holder: lease.Holder{Owner: "alice", Host: "laptop", Machine: "1", PID: 7, Command: "poolhouse delete d.yaml", Deletes: true}, Expires: at}
	for _, tt := range []struct {
		ended bool
		want  string
	}{
		{false, "at work: alice on laptop (process 7): poolhouse delete d.yaml; its lease ends "},
		{true, "was at work: alice on laptop (process 7): poolhouse delete d.yaml; it is over and did not give its lease back, and what it sent to delete may arrive until "},
	} {
		by.Ended = tt.ended
		for what, print := range map[string]func(*strings.Builder){
			"status": func(b *strings.Builder) {
				view.Status(b, &deploy.Status{Deployment: "p", Phase: deploy.Failed, Lease: by, LeaseFree: at.Add(lease.Flight), Next: "recover"}, "d.yaml")
			},
			"recovery": func(b *strings.Builder) {
				view.Recovery(b, &deploy.Recovery{Deployment: "p", Lease: by, LeaseFree: at.Add(lease.Flight)}, "d.yaml")
			},
		} {
			var b strings.Builder
			print(&b)
			said := strings.Join(strings.Fields(b.String()), " ")
			if !strings.Contains(said, tt.want) || strings.Contains(said, "poolhouse delete d.yaml does not wait") != tt.ended || strings.Contains(said, "but on laptop") != tt.ended {
				t.Errorf("%s, ended %v:\n%s", what, tt.ended, b.String())
			}
			if what == "status" && strings.Contains(said, "next, after ") != tt.ended {
				t.Errorf("ended %v, the next command:\n%s", tt.ended, b.String())
			}
		}
	}
}
