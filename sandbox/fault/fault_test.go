package fault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

func known(t testing.TB) fault.Known {
	t.Helper()
	k, err := sandbox.Known("us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	k.Resources = []fault.Resource{{"net", "Vpc", "AWS::EC2::VPC"}, {"net", "Group", "AWS::EC2::SecurityGroup"}, {"data", "Database", "AWS::RDS::DBInstance"}}
	return k
}

func TestParse(t *testing.T) {
	t.Parallel()
	const src = `
faults:
  - id: busy
    when: {after: 2m}
    for: 10m
    share: 0.5
    throttle: {service: ec2, operation: "Describe*"}
  - id: lost-answer
    when:
      call: {service: cloudformation, operation: ExecuteChangeSet}
    cut: {service: cloudformation, operation: ExecuteChangeSet, carriedOut: true}
  - id: no-capacity
    times: 2
    fail: {stack: data, error: InsufficientDBInstanceCapacity}
  - id: leak
    interfaces: {of: eks, stay: forever}
  - id: colleague
    when:
      after: 30s
      resource: {stack: net, resource: Vpc, status: CREATE_COMPLETE}
    call:
      service: ec2
      operation: CreateTags
      input: {ResourceId: ["${net/Vpc}"], Tag: [{Key: a, Value: "1"}], DryRun: false, MaxResults: 5}
`
	got, err := fault.Parse("day.yaml", []byte(src), known(t))
	if err != nil {
		t.Fatal(err)
	}
	want := fault.Plan{Faults: []fault.Fault{
		{
			ID: "busy", When: fault.Moment{After: 2 * time.Minute}, For: 10 * time.Minute, Times: fault.Always, Share: 0.5,
			Throttle: &fault.Calls{Service: "ec2", Operation: "Describe*"},
		},
		{
			ID: "lost-answer", Times: 1, Share: 1, When: fault.Moment{Call: &fault.Nth{Service: "cloudformation", Operation: "ExecuteChangeSet", Number: 1}},
			Cut: &fault.Cut{Service: "cloudformation", Operation: "ExecuteChangeSet", CarriedOut: true},
		},
		{
			ID: "no-capacity", Times: 2, Share: 1,
			Fail: &fault.Fail{
				Stack: "data", Type: "AWS::RDS::DBInstance", On: []string{"create", "update"}, Error: "InsufficientDBInstanceCapacity",
				Code: "InsufficientDBInstanceCapacity", Message: "The specified DB instance class isn't available in the specified Availability Zone.",
			},
		},
		{ID: "leak", Times: fault.Always, Share: 1, Interfaces: &fault.Interfaces{Of: "eks", Stay: fault.Forever}},
		{
			ID: "colleague", Times: 1, Share: 1,
			When: fault.Moment{After: 30 * time.Second, Resource: &fault.Reached{Stack: "net", Resource: "Vpc", Status: "CREATE_COMPLETE"}},
			Call: &fault.Call{Service: "ec2", Operation: "CreateTags", Input: map[string]any{
				"ResourceId": []any{"${net/Vpc}"}, "Tag": []any{map[string]any{"Key": "a", "Value": "1"}}, "DryRun": false, "MaxResults": 5.0,
			}},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// All mistakes of a file are reported at once, each with its place and a fix.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const src = `faults:
  - id: "no name"
    throttle: {service: ec3}
  - id: twice
    throttle: {service: ec2, operation: DescribeNothing}
    share: 2
  - id: twice
    fail: {stack: "ne[t", error: Nonsense}
    often: yes
  - cut: {service: ec2}
    slow: {by: 1s}
  - id: kindless
  - id: vague
    error: {status: 404}
    when: {call: {}, resource: {stack: net, status: X}}
  - id: nowhere
    fail: {stack: other, error: ServiceUnavailable}
  - id: wrong-type
    fail: {type: AWS::S3::Bucket, error: VpcLimitExceeded, on: [delete]}
  - id: unknown-type
    fail: {type: AWS::EC2::Vpc, error: Throttling}
  - id: quota
    quota: {name: vpc, value: -1}
  - id: slow
    slow: {service: ec2}
    share: 0.5
    times: 0
  - id: zone
    zone: {name: eu-west-1a}
    times: 2
  - id: stay
    interfaces: {of: lambda, stay: soon}
  - id: slow-iam
    propagation: {takes: 2m}
    share: 0.5
  - id: flight
    inFlight: {stack: data, cluster: c}
  - id: other
    call: {service: ec2, operation: "Delete*"}
  - id: reference
    call: {service: ec2, operation: DeleteVpc, input: {VpcId: "${net/Nothing}", Other: "${x"}}
`
	_, err := fault.Parse("day.yaml", []byte(src), known(t))
	ms, ok := err.(fault.Mistakes)
	if !ok {
		t.Fatalf("got %v, want mistakes", err)
	}
	var got []string
	for _, m := range ms {
		got = append(got, m.Error())
		if m.Fix == "" {
			t.Errorf("no fix: %v", m)
		}
	}
	want := []string{
		`day.yaml:2:5: faults[0].id: "no name" is no name for a fault`,
		`day.yaml:3:16: faults[0].throttle.service: ec3 is no service`,
		`day.yaml:5:30: faults[1].throttle.operation: DescribeNothing is no operation of ec2`,
		`day.yaml:6:5: faults[1].share: 2 is no share`,
		`day.yaml:7:5: faults[2].id: twice is the name of another fault too`,
		`day.yaml:8:12: faults[2].fail.stack: "ne[t" is no pattern`,
		`day.yaml:8:27: faults[2].fail.error: "Nonsense" is not in the catalogue`,
		`day.yaml:9:5: faults[2].often: is not a known key`,
		`day.yaml:10:5: faults[3].id: is missing`,
		`day.yaml:10:5: faults[3]: has several kinds: slow, cut`,
		`day.yaml:12:5: faults[4]: has no kind`,
		`day.yaml:14:13: faults[5].error.status: needs a code and a message`,
		`day.yaml:15:5: faults[5].when: has both a call and a resource`,
		`day.yaml:15:12: faults[5].when.call: names no call`,
		`day.yaml:17:5: faults[6].fail: there will be no such resource`,
		`day.yaml:19:5: faults[7].fail: there will be no such resource`,
		`day.yaml:19:12: faults[7].fail.type: VpcLimitExceeded doesn't happen to AWS::S3::Bucket`,
		`day.yaml:19:65: faults[7].fail.on[0]: VpcLimitExceeded doesn't happen at delete`,
		`day.yaml:21:12: faults[8].fail.type: AWS::EC2::Vpc is no resource type`,
		`day.yaml:23:13: faults[9].quota.name: "vpc" is no quota`,
		`day.yaml:23:24: faults[9].quota.value: is -1`,
		`day.yaml:25:5: faults[10].slow.by: is missing`,
		`day.yaml:27:12: faults[10].times: is the number 0, not a number of times`,
		`day.yaml:29:12: faults[11].zone.name: eu-west-1a is no zone of the region`,
		`day.yaml:30:5: faults[11].times: zone happens once`,
		`day.yaml:32:18: faults[12].interfaces.of: lambda is no owner of interfaces`,
		`day.yaml:32:36: faults[12].interfaces.stay: is the text "soon", not a duration`,
		`day.yaml:34:19: faults[13].propagation.takes: is 2m0s`,
		`day.yaml:35:5: faults[13].share: has no meaning for propagation`,
		`day.yaml:37:5: faults[14].inFlight: names not exactly one thing`,
		`day.yaml:39:5: faults[15].call: has a pattern`,
		`day.yaml:41:56: faults[16].call.input.VpcId: there will be no resource Nothing in a stack net`,
		`day.yaml:41:81: faults[16].call.input.Other: "${x" has a reference that can't be read`,
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, src, want string }{
		{"empty", "", "x: is empty"},
		{"no faults", "faults: []", "x: faults: is empty"},
		{"a list", "- id: a", "x:1:1: is a list, not keys and values"},
		{"broken", "faults: [", "x:1:9: is not valid YAML"},
		{"alias", "faults: &a [*a]", `x:1:9: has "&", which is not allowed`},
		{"two documents", "faults: []\n---\nfaults: []", "x:3:7: holds more than one YAML document"},
		{"bytes", "\xff", "x: is not text in UTF-8"},
		{"deep", "faults: " + strings.Repeat("[", 100), "x:1:41: is nested too deeply or too long"},
		{"large", strings.Repeat("#\n", 200_000), "x: is larger than 256 KiB"},
		{"no list", "faults: {a: b}", "x:1:9: faults: is keys and values, not a list"},
	} {
		_, err := fault.Parse("x", []byte(tt.src), fault.Known{})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

// FuzzParse: no text crashes the reader, and every mistake says what to do.
func FuzzParse(f *testing.F) {
	f.Add("faults:\n  - id: a\n    fail: {error: Throttling, on: [rollback]}\n")
	f.Add("faults: [{id: a, call: {service: ec2, operation: DeleteVpc, input: {VpcId: [1, true, {a: b}]}}}]")
	f.Fuzz(func(t *testing.T, src string) {
		_, err := fault.Parse("x", []byte(src), fault.Known{Types: []string{"AWS::EC2::VPC"}})
		if ms, ok := err.(fault.Mistakes); err != nil && (!ok || len(ms) == 0 || ms[0].Fix == "") {
			t.Errorf("got %v", err)
		}
	})
}

// Every error of the catalogue can be named for a type that it happens to, at
// each of its operations.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	k := known(t)
	k.Resources = nil
	for _, e := range fault.Catalogue() {
		if _, err := fault.Parse("x", []byte("faults: [{id: a, fail: {error: "+e.Name+"}}]"), k); err != nil {
			t.Error(err)
		}
		if e.Code == "" || e.Message == "" {
			t.Errorf("%s says nothing", e.Name)
		}
	}
}
