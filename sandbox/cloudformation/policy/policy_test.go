package policy

import "testing"

// A stack policy denies what it does not allow, and a denial wins.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
func TestDenied(t *testing.T) {
	t.Parallel()
	const all = `{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"}`
	for _, tc := range []struct{ statements, action, id, typ, want string }{
		{all, "Update:Replace", "Db", "AWS::RDS::DBInstance", ""},
		{all + `,{"Effect":"Deny","Action":["Update:Replace","Update:Delete"],"Principal":"*","Resource":"LogicalResourceId/Db"}`, "Update:Replace", "Db", "AWS::RDS::DBInstance", "Action denied by stack policy: Statement [#2] does not allow [Update:Replace] for resource [LogicalResourceId/Db]"},
		{all + `,{"Effect":"Deny","Action":["Update:Replace","Update:Delete"],"Principal":"*","Resource":"LogicalResourceId/Db"}`, "Update:Modify", "Db", "AWS::RDS::DBInstance", ""},
		{all + `,{"Effect":"Deny","NotAction":"Update:Modify","Principal":"*","Resource":"LogicalResourceId/D?"}`, "Update:Delete", "Db", "AWS::RDS::DBInstance", "Action denied by stack policy: Statement [#2] does not allow [Update:Delete] for resource [LogicalResourceId/Db]"},
		{all + `,{"Effect":"Deny","Action":"Update:*","Principal":"*","Resource":"*","Condition":{"StringLike":{"ResourceType":"AWS::RDS::*"}}}`, "Update:Modify", "Db", "AWS::RDS::DBInstance", "Action denied by stack policy: Statement [#2] does not allow [Update:Modify] for resource [LogicalResourceId/Db]"},
		{all + `,{"Effect":"Deny","Action":"Update:*","Principal":"*","Resource":"*","Condition":{"StringEquals":{"ResourceType":["AWS::RDS::DBCluster"]}}}`, "Update:Modify", "Db", "AWS::RDS::DBInstance", ""},
		{`{"Effect":"Allow","Action":"Update:*","Principal":"*","NotResource":["LogicalResourceId/Db"]}`, "Update:Modify", "Db", "AWS::RDS::DBInstance", "Action denied by stack policy: no statement allows [Update:Modify] for resource [LogicalResourceId/Db]"},
		{`{"Effect":"Allow","Action":"Update:*","Principal":"*","NotResource":["LogicalResourceId/Db"]}`, "Update:Modify", "Other", "AWS::EC2::VPC", ""},
	} {
		p, err := Parse(`{"Statement":[` + tc.statements + `]}`)
		if err != nil {
			t.Errorf("%s: %v", tc.statements, err)
			continue
		}
		if got := p.Denied(tc.action, tc.id, tc.typ); got != tc.want {
			t.Errorf("%s of %s under %s: got %q, want %q", tc.action, tc.id, tc.statements, got, tc.want)
		}
	}
	if got := (*Policy)(nil).Denied("Update:Delete", "Db", "AWS::RDS::DBInstance"); got != "" {
		t.Errorf("no policy denies: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"}]}`)
	f.Fuzz(func(_ *testing.T, body string) {
		if p, err := Parse(body); err == nil {
			p.Denied("Update:Modify", "A", "AWS::EC2::VPC")
		}
	})
}
