package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/drift"
	"github.com/poolhouse/poolhouse/stack"
)

func TestDrift(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		report *drift.Report
		want   string
	}{
		"none": {&drift.Report{Deployment: "p", Region: "r"}, "p in r: no drift\n"},
		"none known": {
			&drift.Report{Deployment: "p", Region: "r", Unknown: "may not look"},
			"p in r: no drift\nnot looked at: may not look\n",
		},
		"seen by a check alone": {
			&drift.Report{Deployment: "p", Region: "r", EventsUnknown: "not authorized", Items: []drift.Item{
				{PhysicalID: "rtb-1", Verdict: drift.SeeFix, Findings: []drift.Finding{{ID: "routes", Value: "none", Want: "one", Fix: "run poolhouse update, which puts it back"}}},
			}},
			`p in r: 1 resource not as deployed

rtb-1
  routes: none, and should be one
  fix: run poolhouse update, which puts it back

who it was can't be told: not authorized
`,
		},
		"all": {
			&drift.Report{Deployment: "p", Region: "r", EventsUnknown: "not authorized", Items: []drift.Item{
				{
					StackName: "p-storage", LogicalID: "Bucket", Type: "AWS::S3::Bucket", PhysicalID: "b", Verdict: drift.PutsBack, Left: []string{"/Tags/1"},
					Differences: []stack.Difference{{Path: "/A/B", Kind: "NOT_EQUAL", Expected: "1", Actual: "2"}, {Path: "/Tags/1", Kind: "ADD", Expected: "null", Actual: "x"}, {Path: "/C", Kind: "REMOVE", Expected: "y", Actual: "null"}},
					Events:      []drift.Event{{Time: time.Unix(0, 0), Name: "PutIt", User: "u", Principal: "arn", From: "192.0.2.1"}},
				},
				{StackName: "p-keys", LogicalID: "Key", Type: "AWS::KMS::Key", PhysicalID: "k", Deleted: true, Verdict: drift.Refuses, Why: "it is another one"},
				{PhysicalID: "sg-1", Verdict: drift.LeavesAlone, Why: "no template holds it", Findings: []drift.Finding{{ID: "open", Value: "all", Want: "none", Fix: "close it"}}},
			}},
			`p in r: 3 resources not as deployed

p-storage Bucket (AWS::S3::Bucket) b
  A.B: 1 -> 2
  Tags.1: added x
  C: removed y
  1970-01-01 00:00:00Z PutIt by u from 192.0.2.1 (arn)
  update puts it back
  but leaves alone /Tags/1

p-keys Key (AWS::KMS::Key) k
  is gone
  update refuses to make it again without --allow-replace: it is another one

sg-1
  open: all, and should be none
  update leaves it alone: no template holds it
  fix: close it

who it was can't be told: not authorized
next: poolhouse update f.yaml
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			Drift(&b, tc.report, "f.yaml")
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), strings.Split(b.String(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
