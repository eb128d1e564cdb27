package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cluster"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/stack"
)

// t0 is the beginning of all runs in these tests.
var t0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.Local)

func started(at time.Duration, name architecture.StackName, a deploy.Action, expected time.Duration) deploy.Event {
	return deploy.StackStarted{Time: t0.Add(at), Stack: name, Action: a, Expected: expected}
}

func finish(at time.Duration, name architecture.StackName, a deploy.Action, took time.Duration, changes int, err error) deploy.Event {
	e := deploy.StackFinished{Time: t0.Add(at), Stack: name, Action: a, Took: took, Changes: changes, Err: err}
	if err != nil {
		e.Error = err.Error()
	}
	return e
}

func resource(at time.Duration, name architecture.StackName, id, typ string, status types.ResourceStatus, reason string) deploy.Event {
	return deploy.ResourceEvent{Stack: name, Event: stack.Event{Time: t0.Add(at), Stack: "poolside-" + string(name), LogicalID: id, Type: typ, Status: status, Reason: reason}}
}

// story is a run with all there is to show: progress, silence, a failure.
func story() []deploy.Event {
	return []deploy.Event{
		started(0, "keys", deploy.CreateStack, 200*time.Second),
		resource(time.Second, "keys", "LogsKey", "AWS::KMS::Key", "CREATE_IN_PROGRESS", ""),
		resource(40*time.Second, "keys", "LogsKey", "AWS::KMS::Key", "CREATE_COMPLETE", ""),
		finish(2*time.Minute, "keys", deploy.CreateStack, 2*time.Minute, 18, nil),
		started(2*time.Minute, "network", deploy.CreateStack, 3*time.Minute),
		started(2*time.Minute, "storage", deploy.UpdateStack, 0),
		finish(2*time.Minute+time.Second, "storage", deploy.UpdateStack, time.Second, 0, nil),
		resource(3*time.Minute, "network", "Vpc", "AWS::EC2::VPC", "CREATE_FAILED", "The maximum number of VPCs has been reached."),
		resource(3*time.Minute, "network", "InternetGateway", "AWS::EC2::InternetGateway", "CREATE_FAILED", "Resource creation cancelled"),
		deploy.Step{Time: t0.Add(3 * time.Minute), Stack: "network", Text: "did something by API"},
		finish(4*time.Minute, "network", deploy.CreateStack, 2*time.Minute, 0, errors.New("stack poolside-network is ROLLBACK_COMPLETE")),
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		detail Detail
		want   string
	}{
		{"results", Results, `
09:02:00  keys         created after 2m, 18 resources
09:02:01  storage      up to date
09:03:00  network      Vpc (AWS::EC2::VPC) CREATE_FAILED: The maximum number of VPCs has been
                       reached.
09:03:00  network      did something by API
09:04:00  network      create failed after 2m
`},
		{"progress", Progress, `
09:00:00  keys         create, about 3m
09:02:00  keys         created after 2m, 18 resources
09:02:00  network      create, about 3m
09:02:00  storage      update
09:02:01  storage      up to date
09:03:00  network      Vpc (AWS::EC2::VPC) CREATE_FAILED: The maximum number of VPCs has been
                       reached.
09:03:00  network      did something by API
09:04:00  network      create failed after 2m
`},
		{"everything", Everything, `
09:00:00  keys         create, about 3m
09:00:01  keys         LogsKey (AWS::KMS::Key) CREATE_IN_PROGRESS
09:00:40  keys         LogsKey (AWS::KMS::Key) CREATE_COMPLETE
09:02:00  keys         created after 2m, 18 resources
09:02:00  network      create, about 3m
09:02:00  storage      update
09:02:01  storage      up to date
09:03:00  network      Vpc (AWS::EC2::VPC) CREATE_FAILED: The maximum number of VPCs has been
                       reached.
09:03:00  network      InternetGateway (AWS::EC2::InternetGateway) CREATE_FAILED: Resource creation
                       cancelled
09:03:00  network      did something by API
09:04:00  network      create failed after 2m
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			v := NewLines(&b, tt.detail, clock.Real{})
			for _, e := range story() {
				v.Event(e)
			}
			v.Close()
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		v := NewLines(&b, Progress, clock.Real{})
		time.Sleep(5 * time.Minute)
		for _, name := range []architecture.StackName{"database", "cluster"} {
			v.Event(deploy.StackStarted{Time: time.Now(), Stack: name, Action: deploy.CreateStack})
		}
		time.Sleep(61 * time.Second)
		v.Event(deploy.StackFinished{Time: time.Now(), Stack: "cluster", Action: deploy.CreateStack, Took: 61 * time.Second, Changes: 10})
		time.Sleep(41 * time.Second)
		v.Close()
		time.Sleep(time.Hour)
		var got []string
		for line := range strings.Lines(b.String()) {
			got = append(got, strings.TrimSpace(line[len("15:04:05"):]))
		}
		want := []string{
			"database     create", "cluster      create", "working on database for 30s, cluster for 30s", "working on database for 60s, cluster for 60s",
			"cluster      created after 61s, 10 resources", "working on database for 100s",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewJSONLines(&b)
	for _, e := range story() {
		v.Event(e)
	}
	v.Close()
	var kinds []string
	for line := range strings.Lines(b.String()) {
		var e struct {
			Event string
			Data  map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Data["stack"] == nil || e.Data["time"] == nil {
			t.Errorf("no stack or time in %s", line)
		}
		kinds = append(kinds, e.Event)
	}
	want := "StackStarted ResourceEvent ResourceEvent StackFinished StackStarted StackStarted StackFinished ResourceEvent ResourceEvent Step StackFinished"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.Contains(b.String(), `"error":"stack poolside-network is ROLLBACK_COMPLETE"`) {
		t.Error("the failure is not in the lines")
	}
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func plain(m *model) string {
	return colour.ReplaceAllString(m.View().Content, "")
}

func TestTree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plan := &deploy.Plan{Expected: 10 * time.Minute, Stacks: []deploy.StackPlan{
			{Stack: "keys", Action: deploy.CreateStack},
			{Stack: "dns", Action: deploy.NoChange},
			{Stack: "network", Action: deploy.CreateStack},
			{Stack: "cluster", Action: deploy.CreateStack},
		}}
		m := newModel("create poolside", clock.Real{}, plan)
		offset := time.Since(t0)
		at := func(e deploy.Event) { m.Update(shift(e, offset)) }
		check := func(want string) {
			t.Helper()
			if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), plain(m)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		check(`
create poolside, 0s, about 10m to go
· waiting: keys, network, cluster
`)
		at(started(0, "keys", deploy.CreateStack, 200*time.Second))
		for i := range 5 {
			at(resource(time.Second, "keys", fmt.Sprintf("Key%d", i), "AWS::KMS::Key", "CREATE_IN_PROGRESS", ""))
		}
		at(resource(time.Second, "keys", "Key0", "AWS::KMS::Key", "CREATE_COMPLETE", ""))
		at(deploy.Step{Text: "a step"})
		time.Sleep(time.Minute)
		check(`
create poolside, 60s, about 9m to go
● keys        create, 60s of about 3m
  └ Key1 (AWS::KMS::Key)
  └ Key2 (AWS::KMS::Key)
  └ Key3 (AWS::KMS::Key)
  └ and 1 more
· waiting: network, cluster
a step
`)
		m.Update(tea.WindowSizeMsg{Width: 30, Height: 7})
		check(`
create poolside, 60s, about 9m
● keys        create, 60s of a
  └ Key1 (AWS::KMS::Key)
  └ and 3 more
· waiting: network, cluster
a step
`)
		m.Update(tea.WindowSizeMsg{Width: 100, Height: 40})
		at(finish(time.Minute, "keys", deploy.CreateStack, time.Minute, 18, nil))
		at(started(time.Minute, "network", deploy.CreateStack, 0))
		at(resource(time.Minute, "network", "Subnet", "AWS::EC2::Subnet", "CREATE_FAILED", "Resource creation cancelled"))
		at(resource(time.Minute, "network", "Vpc", "AWS::EC2::VPC", "CREATE_FAILED", "too many"))
		at(finish(time.Minute, "network", deploy.CreateStack, time.Second, 0, errors.New("failed")))
		m.Update(ended{})
		check(`
create poolside, 60s
✓ keys        created after 60s, 18 resources
✗ network     Vpc: too many
· waiting: cluster
a step
`)
		m.Update(tea.WindowSizeMsg{Width: 100, Height: 3})
		if n := strings.Count(plain(m), "\n"); n > 3 {
			t.Errorf("%d lines on a terminal of 3:\n%s", n, plain(m))
		}
	})
}

// shift moves an event in time.
func shift(e deploy.Event, d time.Duration) deploy.Event {
	switch e := e.(type) {
	case deploy.StackStarted:
		e.Time = e.Time.Add(d)
		return e
	case deploy.StackFinished:
		e.Time = e.Time.Add(d)
		return e
	}
	return e
}

// Protection is lifted before a deletion: the stack is not done by that.
func TestTreeOfDeletion(t *testing.T) {
	t.Parallel()
	m := newModel("delete poolside", clock.Real{}, nil)
	for _, e := range []deploy.Event{
		started(0, "database", deploy.ProtectStack, 0),
		finish(0, "database", deploy.ProtectStack, time.Second, 1, nil),
	} {
		m.Update(e)
	}
	if got := plain(m); !strings.Contains(got, "· waiting: database") {
		t.Errorf("after protection was lifted:\n%s", got)
	}
	m.Update(finish(0, "database", deploy.DeleteStack, time.Minute, 13, nil))
	if got := plain(m); !strings.Contains(got, "✓ database    deleted after 60s, 13 resources") {
		t.Errorf("after the deletion:\n%s", got)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 1499 * time.Millisecond: "1s", 119 * time.Second: "119s", 2 * time.Minute: "2m",
		59*time.Minute + 29*time.Second: "59m", 59*time.Minute + 30*time.Second: "1h00m", 125 * time.Minute: "2h05m",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n    int
		noun string
		want string
	}{{0, "stack", "0 stacks"}, {1, "policy", "1 policy"}, {2, "policy", "2 policies"}} {
		if got := Count(tt.n, tt.noun); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	long := `{"Statement":[{"Effect":"Allow","Action":["` + strings.Repeat("s3:GetObject,", 20) + `"],"Resource":"arn:aws:s3:::`
	for _, tt := range []struct{ name, before, after, wantBefore, wantAfter string }{
		{"unknown", "", "", "", ""},
		{"new", "", "5", "(none)", "5"},
		{"known after", "arn:1", "{{changeSet:KNOWN_AFTER_APPLY}}", "arn:1", "(known after)"},
		{"short", "a b", "a c", "a b", "a c"},
		{"far", long + `one"}]}`, long + `two"}]}`, `...,"Resource":"arn:aws:s3:::one"}]}`, `...,"Resource":"arn:aws:s3:::two"}]}`},
	} {
		before, after := excerpt(tt.before, tt.after)
		if before != tt.wantBefore || after != tt.wantAfter {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.name, before, after, tt.wantBefore, tt.wantAfter)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := &deploy.Plan{
		Deployment: "poolside", Region: "us-east-1", Expected: 5 * time.Minute,
		Deviations: []architecture.Deviation{{ID: "single-nat", What: "one NAT serves all zones", Reason: "cheap"}},
		Egress: &deploy.Egress{
			Before: []string{"198.18.0.1", "198.18.0.2"}, After: []string{"198.18.0.2", "198.18.0.3"}, Pending: 1,
			Listed: []deploy.AllowListed{{Path: "access.web.allowCidrs[0]", Entry: "198.18.0.1/32", Address: "198.18.0.1"}},
		},
		Advice:     []config.Fault{{Path: "network.existing.privateSubnetIds[0]", Reason: "subnet-1 has no tag", Fix: "tag it"}},
		NotOurs:    []string{"poolside-mine"},
		Path:       []deploy.PathStep{{Stack: "network", Takes: 5 * time.Minute}},
		Kubernetes: architecture.KubernetesAccess{Proxy: "http://proxy.example.com:3128", Ways: []architecture.Way{architecture.WayDirect, architecture.WayProxy, architecture.WaySession}, Outside: true},
		Stacks: []deploy.StackPlan{
			{Stack: "keys", Name: "poolside-keys", Action: deploy.NoChange},
			{Stack: "dns", Name: "poolside-dns", Action: deploy.CreateStack, Changes: []stack.Change{{LogicalID: "HostedZone", Type: "AWS::Route53::HostedZone", Action: stack.Add}}},
			{Stack: "network", Name: "poolside-network", Action: deploy.UpdateStack, Expected: 5 * time.Minute, KnownAfter: []architecture.StackName{"dns"}, Changes: []stack.Change{
				{LogicalID: "Vpc", Type: "AWS::EC2::VPC", Action: stack.Replace, Properties: []stack.Property{{Path: "CidrBlock", Before: "10.0.0.0/16", After: "10.1.0.0/16"}}},
				{LogicalID: "Acl", Type: "AWS::EC2::NetworkAcl", Action: stack.Remove},
				{LogicalID: "Route", Type: "AWS::EC2::Route", Action: stack.MayReplace, Properties: []stack.Property{{Path: "GatewayId"}}},
			}},
			{Stack: "gpu", Name: "poolside-gpu", Action: deploy.DeleteStack, Status: "DELETE_FAILED"},
		},
	}
	var b bytes.Buffer
	Plan(&b, p, false)
	want := `poolside in us-east-1

Deviations from the reference architecture:
  single-nat: one NAT serves all zones (reason: cheap)

Advice on the network:
  network.existing.privateSubnetIds[0]: subnet-1 has no tag (tag it)

Public addresses of the way out change:
  now:  198.18.0.1, 198.18.0.2
  then: 198.18.0.2, 198.18.0.3 and 1 that the update allocates first
  let in: 198.18.0.3 and 1 that the update allocates first, in the allow-lists of others that know
    this deployment by its addresses, before this update
  drop: 198.18.0.1, after it; they are released last
  in this file: access.web.allowCidrs[0] is 198.18.0.1/32, which lets in 198.18.0.1
  to know them before anything else changes: leave network.nat.mode as it was, put the new one into
    network.nat.announce and update

not ours: stack poolside-mine has this deployment's tag and is none of its stacks; it is left alone

create stack poolside-dns, 1 resource
  + 1 Route53::HostedZone

update stack poolside-network, 3 resources, about 5m
  some values are known after: dns
  ± Vpc (AWS::EC2::VPC), replaced
      CidrBlock: 10.0.0.0/16 -> 10.1.0.0/16
  - Acl (AWS::EC2::NetworkAcl)
  ± Route (AWS::EC2::Route), may be replaced
      GatewayId

delete stack poolside-gpu, 0 resources
  it is DELETE_FAILED now, which is dealt with first

unchanged: keys

Plan: 1 to create, 1 to change (1 of them perhaps by replacement), 1 to replace, 1 to delete.
Time: about 5m, decided by network 5m.
Kubernetes API: private endpoint only; will be tried: direct, proxy http://proxy.example.com:3128,
  session by a core node.
With --verbose, every resource is listed.
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	got := Records(map[architecture.StackName]map[string]string{architecture.Edge: {
		"WebRecord": "a.example.com CNAME lb-1.elb.amazonaws.com", "WebUrl": "https://a.example.com", "AdminRecord": "b.example.com CNAME lb-2.elb.amazonaws.com",
	}})
	want := []deploy.Record{
		{Name: "b.example.com", Type: "CNAME", Value: "lb-2.elb.amazonaws.com"},
		{Name: "a.example.com", Type: "CNAME", Value: "lb-1.elb.amazonaws.com"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	timeline(&b, []rehearse.StackReport{
		{Stack: "keys", End: time.Minute, Critical: true, Types: map[string]int{"AWS::KMS::Key": 9}},
		{Stack: "dns", Start: 10 * time.Second, End: 30 * time.Second, Types: map[string]int{"AWS::Route53::HostedZone": 1}},
		{Stack: "network", Start: time.Minute, End: 4 * time.Minute, Critical: true},
	})
	want := `
  keys        |##############                                          |    60s    9
  dns         |  =====                                                 |    20s    1
  network     |              ##########################################|     3m    0
              0                                                       4m  takes  has
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, k := range []architecture.KubernetesAccess{
		{},
		{Ways: []architecture.Way{architecture.WayDirect, architecture.WaySession}},
		{Ways: []architecture.Way{architecture.WayDirect, architecture.WaySession}, PublicCIDRs: []string{"203.0.113.0/24"}, Outside: true},
		{Ways: []architecture.Way{architecture.WayDirect, architecture.WaySession}, AllowCIDRs: []string{"10.20.0.0/16"}, SessionHost: true, Outside: true},
	} {
		Kubernetes(&b, k)
	}
	kubernetesStatus(&b, nil)
	kubernetesStatus(&b, &deploy.KubernetesStatus{Endpoint: "https://api", Attempts: []cluster.Attempt{{Way: architecture.WayDirect, Error: "no answer within 10s"}}})
	kubernetesStatus(&b, &deploy.KubernetesStatus{Endpoint: "https://api", Way: architecture.WaySession, Via: "i-1", Version: "v1.35.2", Attempts: []cluster.Attempt{
		{Way: architecture.WayDirect, Error: "no answer within 10s"}, {Way: architecture.WaySession, Via: "i-1"},
	}})
	want := `Kubernetes API: private endpoint only; will be tried: direct, session by a core node. Where none of
  these works, create and update end with exit code 3 when the AWS side is complete, and say how to
  go on from inside the VPC.
Kubernetes API: public endpoint for 203.0.113.0/24; will be tried: direct, session by a core node.
Kubernetes API: private endpoint only, open to 10.20.0.0/16; will be tried: direct, session by the
  session host.
Kubernetes API at https://api: no route from here
  direct: no answer within 10s
Kubernetes API at https://api: session i-1, version v1.35.2
  direct: no answer within 10s
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
