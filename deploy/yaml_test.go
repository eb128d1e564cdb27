package deploy_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// sent is the template of a stack as it was sent.
func (w *world) sent(a *architecture.Architecture, name architecture.StackName) string {
	w.t.Helper()
	out, err := w.target(a).AWS.CloudFormation.GetTemplate(w.t.Context(), &cloudformation.GetTemplateInput{StackName: new(a.StackName(name))})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.TemplateBody
}

// inYAML has somebody give a stack its template in YAML, with resources added and other
// values of parameters. A new tag comes with it, and goes again: CloudFormation takes no
// update that changes nothing.
func (w *world) inYAML(a *architecture.Architecture, name architecture.StackName, resources string, values map[string]string) {
	w.t.Helper()
	api, id := w.target(a).AWS, a.StackName(name)
	d := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
	st, err := d.Describe(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := d.Template(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.Replace(string(testkit.YAML(w.t, body)), "\nResources:\n", "\nResources:\n"+resources, 1)
	for _, extra := range []map[string]string{{"theirs": "x"}, nil} {
		in := &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &text, Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityNamedIam}}
		for k := range st.Parameters {
			p := cfntypes.Parameter{ParameterKey: &k, UsePreviousValue: new(true)}
			if v, ok := values[k]; ok {
				p = cfntypes.Parameter{ParameterKey: &k, ParameterValue: &v}
			}
			in.Parameters = append(in.Parameters, p)
		}
		tags := maps.Clone(st.Tags)
		maps.Copy(tags, extra)
		for k, v := range tags {
			in.Tags = append(in.Tags, cfntypes.Tag{Key: &k, Value: &v})
		}
		if _, err := api.CloudFormation.UpdateStack(w.t.Context(), in); err != nil {
			w.t.Fatalf("give stack %s its template in YAML: %v", id, err)
		}
		if now, err := d.Rest(w.t.Context(), id); err != nil || now.Status != cfntypes.StackStatusUpdateComplete {
			w.t.Fatalf("stack %s is %+v, %v", id, now, err)
		}
	}
	if w.sent(a, name) != text {
		w.t.Fatalf("stack %s did not take its template in YAML", id)
	}
}

// allInYAML has somebody give every stack its template in YAML.
func (w *world) allInYAML(a *architecture.Architecture) {
	w.t.Helper()
	for _, s := range a.Stacks {
		w.inYAML(a, s.Name, "", nil)
	}
}

// TestDeleteOfTemplatesInYAML: somebody gave every stack its template in YAML, which means
// the same. A deletion needs no update before, lifts protection, and leaves nothing.
func TestDeleteOfTemplatesInYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = true })
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		w.allInYAML(a)
		w.clean(w.destroy(a))
	})
}

// TestUpdateOfTemplatesInYAML: somebody gave every stack its template in YAML. An update
// without a change leaves them, one with another way out changes the network in its
// steps, and one writes a template again that somebody added to.
func TestUpdateOfTemplatesInYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := leavingBy(t, example(t, "evaluation"), config.NATSingleGateway)
		w := newWorld(t, a, sandbox.Options{})
		w.create(a)
		w.allInYAML(a)
		w.emptyPlan(a)
		w.update(a)
		for _, s := range a.Stacks {
			if text := w.sent(a, s.Name); strings.HasPrefix(text, "{") {
				t.Errorf("the update wrote stack %s, of which nothing changed", s.Name)
			}
		}
		next := leavingBy(t, a, config.NATSingleInstance)
		old := w.addresses()
		w.update(next)
		for table, exit := range w.exits() {
			if _, ip, _ := strings.Cut(exit, " "); ip == "" || slices.Contains(old, ip) {
				t.Errorf("%s leaves by %q", table, exit)
			}
		}
		if !strings.Contains(w.steps(), "turning the routes to the new way out") {
			t.Errorf("the network changed in one step:\n%s", w.steps())
		}
		w.inYAML(next, architecture.Storage, "    Theirs: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: theirs, Value: x}}\n", nil)
		w.update(next)
		w.emptyPlan(next)
		for _, name := range []architecture.StackName{architecture.Network, architecture.Storage} {
			if text := w.sent(next, name); !strings.HasPrefix(text, "{") {
				t.Errorf("after the update the template of stack %s is %.40q", name, text)
			}
		}
		w.clean(w.destroy(next))
	})
}

// TestSurplusStackInYAML: a stack that the file has given up, and whose template somebody
// wrote in YAML, goes with the next update, and the plan says what goes with it.
func TestSurplusStackInYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		zone := w.create(a).Outputs[architecture.DNS]["HostedZoneId"]
		w.inYAML(a, architecture.Certificate, "", nil)
		next := became(t, a, func(c *config.Config) { c.Certificate.ARN = w.imported(a) })
		p, err := deploy.MakePlan(t.Context(), w.target(next))
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(p.Stacks, func(s deploy.StackPlan) bool { return s.Stack == architecture.Certificate })
		if at < 0 || p.Stacks[at].Action != deploy.DeleteStack || len(p.Stacks[at].Changes) != 1 || len(p.Stacks[at].Besides) != 1 || !strings.Contains(p.Stacks[at].Besides[0], zone) {
			t.Errorf("the plan is %+v", p.Stacks)
		}
		w.update(next)
		if left := w.stacks(next); slices.Contains(left, "certificate") {
			t.Errorf("left: %q", left)
		}
		if left := w.validations(next, zone); len(left) > 0 {
			t.Errorf("validation records left: %q", left)
		}
		w.emptyPlan(next)
	})
}

// TestStillbornStackInYAML: the creation of a stack whose template is in YAML failed, and
// its rollback. A recovery takes away the bucket that it made, which the deletion of the
// stack would leave behind, and leaves the one that was there.
func TestStillbornStackInYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := failedTwice(t, a, true)
		if _, err := deploy.Recover(t.Context(), deploy.RecoverOptions{Target: w.naming(a, "TelemetryBucket", "theirs-of-old")}); err != nil {
			t.Fatal(err)
		}
		if left := w.buckets(); !slices.Equal(left, []string{"theirs-of-old"}) || len(w.stacks(a)) > 0 {
			t.Errorf("left: stacks %q, buckets %q", w.stacks(a), left)
		}
	})
}

// TestGuardsReadYAML: what an update is refused for is found in stacks, too, whose
// template somebody wrote in YAML.
func TestGuardsReadYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := became(t, example(t, "evaluation"), func(c *config.Config) {
			c.Cluster.Administrators = []string{"arn:aws:iam::123456789012:role/first", "arn:aws:iam::123456789012:role/second"}
		})
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.create(a)
		next := became(t, a, func(c *config.Config) {
			c.Database.BackupDays = 1
			c.Cluster.Administrators = []string{"arn:aws:iam::123456789012:role/third"}
			c.Registry.Repositories = c.Registry.Repositories[1:]
		})
		w.allInYAML(a)
		// The one who created the deployment has no way in any more.
		w.inYAML(a, architecture.Cluster, "", map[string]string{templates.CallerParameter: templates.NoCaller})
		_, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(next)})
		got := paths(t, err)
		slices.Sort(got)
		if diff := cmp.Diff([]string{"cluster.administrators", "database.backupDays allow-lower", "registry.repositories allow-replace"}, got); diff != "" {
			t.Errorf("refused for (-want +got):\n%s", diff)
		}
	})
}

// TestL07DeleteReadsYAML: somebody gave a stack a template in YAML. The deletion takes
// away what CloudFormation would leave behind.
func TestL07DeleteReadsYAML(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Storage, "Resources:\n  ModelsBucket:\n    Type: AWS::S3::Bucket\n    DeletionPolicy: Retain\n    Properties: {BucketName: in-yaml}\n")
		w.clean(w.destroy(a))
		if left := w.buckets(); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestTemplateThatCannotBeRead: a deletion leaves a stack of whose template it can't tell
// what would be left behind, an update does nothing, and both say where it is wrong and
// what to do.
func TestTemplateThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{Fresh: true})
		w.stack(a, architecture.Storage, "Metadata: {Icon: !!binary aGk=}\nResources:\n  ModelsBucket:\n    Type: AWS::S3::Bucket\n    DeletionPolicy: Retain\n    Properties: {BucketName: theirs-in-yaml}\n")
		before := testkit.Dump(w.box.Account())
		d, deleted := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
		if d == nil || d.Outcome != deploy.Blocked {
			t.Errorf("the deletion ended with %+v", d)
		}
		_, updated := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)})
		for verb, err := range map[string]error{"delete": deleted, "update": updated} {
			unread, ok := errors.AsType[*stack.TemplateError](err)
			if !ok || unread.Stack != "poolside-storage" || !strings.Contains(err.Error(), `line 1, column 18: the tag "!!binary"`) || !strings.Contains(err.Error(), "poolhouse export") {
				t.Errorf("%s: %v", verb, err)
			}
		}
		if diff := testkit.DiffDumps(before, testkit.Dump(w.box.Account())); diff != "" {
			t.Errorf("the account changed:\n%s", diff)
		}
	})
}
