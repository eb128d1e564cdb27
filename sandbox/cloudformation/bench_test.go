package cloudformation

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// large is a template of n resources in chains of four.
func large(n int) string {
	var b strings.Builder
	b.WriteString(`{"Parameters":{"Env":{"Type":"String","Default":"prod"}},"Resources":{`)
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		from := `"10.0.0.0/16"`
		if i%4 > 0 {
			from = fmt.Sprintf(`{"Fn::Sub":"${R%d}-${Env}"}`, i-1)
		}
		fmt.Fprintf(&b, `"R%d":{"Type":"AWS::EC2::VPC","Properties":{"CidrBlock":%s,"Tags":[{"Key":"n","Value":"%d"}]}}`, i, from, i)
	}
	b.WriteString("}}")
	return b.String()
}

func BenchmarkCreateAndDelete250(b *testing.B) {
	body := large(250)
	for b.Loop() {
		w := newWorld(b)
		w.must("CreateChangeSet", in{"StackName": "s", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": body})
		w.pass(10e9)
		w.must("ExecuteChangeSet", in{"StackName": "s", "ChangeSetName": "c"})
		if got := w.rest("s"); got != "CREATE_COMPLETE" {
			b.Fatal(got)
		}
		id := w.idOf("s")
		w.must("DeleteStack", in{"StackName": "s"})
		if got := w.rest(id); got != "DELETE_COMPLETE" {
			b.Fatal(got)
		}
	}
}

func BenchmarkFork(b *testing.B) {
	w := newWorld(b)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": large(250)})
	w.pass(30e9)
	for b.Loop() {
		w.a.Clone(func() time.Time { return w.now })
	}
}

func BenchmarkDescribeStackEvents(b *testing.B) {
	w := newWorld(b)
	w.must("CreateStack", in{"StackName": "s", "TemplateBody": large(60)})
	w.rest("s")
	for b.Loop() {
		w.must("DescribeStackEvents", in{"StackName": "s"})
	}
}
