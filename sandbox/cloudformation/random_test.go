package cloudformation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/expression"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
)

// randomTemplate is a template of some resources that depend on each other, a
// few of which fail.
func randomTemplate(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	ids := []string{}
	for i := range rapid.IntRange(1, 6).Draw(t, "resources") {
		id := string(rune('A' + i))
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
			continue
		}
		needs := ""
		for _, other := range ids {
			if rapid.IntRange(0, 2).Draw(t, "needs") == 0 {
				needs += " ${" + other + "}"
			}
		}
		trouble := rapid.SampledFrom([]string{"", "", "", "", "", "", "", "fail create", "fail settle", "fail update", "ask replace"}).Draw(t, "trouble")
		value := fmt.Sprintf("v%d %s%s", rapid.IntRange(0, 2).Draw(t, "value"), trouble, needs)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&b, "  %s:\n    Type: AWS::EC2::SecurityGroup\n    Properties: {GroupDescription: !Sub %q}\n", id, value)
		case 1:
			fmt.Fprintf(&b, "  %s:\n    Type: AWS::SSM::Parameter\n    Properties: {Type: String, Value: !Sub %q}\n", id, value)
		default:
			fmt.Fprintf(&b, "  %s:\n    Type: AWS::S3::Bucket\n    Properties: {Tags: [{Key: v, Value: !Sub %q}]}\n", id, value)
		}
		ids = append(ids, id)
	}
	return b.String()
}

// Whatever is asked of a stack, and whenever: it comes to rest, its resources
// are those of the account, and deleting it leaves nothing.
func TestAnyCourse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		options := func() in {
			o := in{}
			if rapid.IntRange(0, 3).Draw(t, "no rollback") == 0 {
				o["DisableRollback"] = "true"
			}
			return o
		}
		create := in{"StackName": "s", "TemplateBody": randomTemplate(t)}
		maps.Copy(create, options())
		id := w.must("CreateStack", create)["StackId"].(string)
		for range rapid.IntRange(0, 8).Draw(t, "steps") {
			w.pass(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			// Most of these are refused most of the time.
			switch rapid.SampledFrom([]string{"update", "update", "update", "cancel", "continue", "rollback", "rest", "fork", "change set"}).Draw(t, "step") {
			case "update":
				update := in{"StackName": "s", "TemplateBody": randomTemplate(t)}
				maps.Copy(update, options())
				_, _ = w.call("UpdateStack", update)
			case "cancel":
				_, _ = w.call("CancelUpdateStack", in{"StackName": "s"})
			case "continue":
				_, _ = w.call("ContinueUpdateRollback", in{"StackName": "s"})
			case "rollback":
				_, _ = w.call("RollbackStack", in{"StackName": "s"})
			case "change set":
				_, _ = w.call("CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "TemplateBody": randomTemplate(t)})
				w.pass(5 * time.Second)
				_, _ = w.call("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
				_, _ = w.call("DeleteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
			case "fork":
				fork := *w
				fork.a = w.a.Clone(func() time.Time { return fork.now })
				fork.rest("s")
			case "rest":
				w.settledWell(t, w.rest("s"))
			}
		}
		w.settledWell(t, w.rest("s"))
		w.must("DeleteStack", in{"StackName": "s"})
		if got := w.rest(id); got != "DELETE_COMPLETE" {
			t.Fatalf("deletion ends as %s", got)
		}
		for _, r := range w.a.Resources() {
			if r.Type != stack.Type {
				t.Errorf("%s %s is left", r.Type, r.ID)
			}
		}
	})
}

// settledWell compares the stack's records with the account.
func (w *world) settledWell(t *rapid.T, status string) {
	// A stack that has failed may have parts that are still to be removed.
	if !strings.HasSuffix(status, "_COMPLETE") {
		return
	}
	var records, real []string
	_ = w.a.Do(func(tx *account.Tx) error {
		for _, r := range stack.Find(tx, "s").Stack.Resources {
			if r.Physical != "" && r.Status != "DELETE_COMPLETE" {
				records = append(records, r.Def.Type.Name+" "+r.Physical)
				if x := tx.Get(r.Def.Type.Name, r.Physical); x != nil && !expression.Equal(x.Props, r.Props) {
					t.Errorf("resource %s is recorded with %v and has %v", r.ID, r.Props, x.Props)
				}
			}
			if status != "ROLLBACK_COMPLETE" && !strings.HasSuffix(r.Status, "_COMPLETE") {
				t.Errorf("resource %s is %s in a stack that is %s", r.ID, r.Status, status)
			}
		}
		return nil
	})
	for _, r := range w.a.Resources() {
		if !strings.HasPrefix(r.Type, "cloudformation:") {
			real = append(real, r.Type+" "+r.ID)
		}
	}
	slices.Sort(records)
	slices.Sort(real)
	if !slices.Equal(records, real) {
		t.Fatalf("stack is %s with %q, the account has %q", status, records, real)
	}
}
