package iam_test

import (
	"testing"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
)

func BenchmarkAuthorize(b *testing.B) {
	s := testkit.Sandbox(b, sandbox.Options{Principals: []sandbox.Principal{
		{AccessKeyID: "a", ARN: "arn:aws:sts::123456789012:assumed-role/Administrator/sandbox"},
		{AccessKeyID: "b", ARN: "arn:aws:sts::123456789012:assumed-role/Limited/sandbox", Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:*","s3:Get*"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}]}`},
	}})
	for _, c := range []struct {
		name string
		i    int
	}{{"administrator", 0}, {"limited", 1}} {
		b.Run(c.name, func(b *testing.B) {
			demands := []access.Demand{{Action: "ec2:CreateVpc", Resources: []string{"arn:aws:ec2:us-east-1:123456789012:vpc/*"}}}
			_ = s.Account().Do(func(tx *account.Tx) error {
				tx.Caller = s.Principals()[c.i].ARN
				b.ReportAllocs()
				for b.Loop() {
					if err := iam.Authorize(tx, "ec2", demands); err != nil {
						b.Fatal(err)
					}
				}
				return nil
			})
		})
	}
}
