package flowlog_test

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/ec2test"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// A flow log to a bucket of the account adds to the bucket's policy what lets log
// delivery write there, unless the policy does already; a bucket that delivery
// can't write to all the same is refused.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html
func TestFlowLogsToABucket(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	encrypted := in{"ServerSideEncryptionConfiguration": []any{in{"ServerSideEncryptionByDefault": in{"SSEAlgorithm": "aws:kms"}}}}
	allow := in{"Effect": "Allow", "Principal": in{"Service": "delivery.logs.amazonaws.com"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::open/*"}
	deny := in{"Sid": "TLS", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::closed/*", "Condition": in{"Bool": in{"aws:SecureTransport": "false"}}}
	l.Do(func(tx *account.Tx) {
		for name, p := range map[string]in{"bare": {}, "kms": {"BucketEncryption": encrypted}, "open": {}, "closed": {}} {
			tx.Put(&account.Resource{Type: s3.TypeBucket, ID: name, Props: p})
		}
		for name, statement := range map[string]in{"open": allow, "closed": deny} {
			tx.Put(&account.Resource{Type: s3.TypeBucketPolicy, ID: name, Props: in{"Bucket": name, "PolicyDocument": in{"Version": "2012-10-17", "Statement": []any{statement}}}})
		}
	})
	for _, c := range []struct{ bucket, want, statements string }{
		{"bare", "", "AWSLogDeliveryWrite AWSLogDeliveryAclCheck"},
		{"closed", "", "TLS AWSLogDeliveryWrite AWSLogDeliveryAclCheck"},
		{"open", "", ""},
		{"kms", "InvalidParameter: Access Denied for LogDestination: kms. Please check LogDestination permission", "-"},
		{"none", "InvalidParameter: LogDestination: none does not exist", "-"},
	} {
		_, err := l.Create(ec2.TypeFlowLog, in{"ResourceType": "VPC", "ResourceId": n.VPC.ID, "TrafficType": "ALL", "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::" + c.bucket + "/vpc/"})
		l.Want(c.want, err)
		if c.want != "" {
			continue
		}
		l.Do(func(tx *account.Tx) {
			d, err := policy.Parse(tx.Get(s3.TypeBucketPolicy, c.bucket).Props["PolicyDocument"], policy.Resource)
			l.Want("", err)
			var got []string
			for _, s := range d.Statements {
				got = append(got, s.Sid)
			}
			if strings.Join(got, " ") != c.statements {
				t.Errorf("%s: the policy has the statements %q, want %q", c.bucket, got, c.statements)
			}
		})
	}
}

// A flow log to CloudWatch Logs needs a role that flow logs may assume for it, and
// a log group that is there.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
func TestFlowLogNeedsARole(t *testing.T) {
	t.Parallel()
	l := ec2test.New(t, ec2test.Options{})
	n := l.Network()
	l.Do(func(tx *account.Tx) { tx.Put(&account.Resource{Type: "AWS::Logs::LogGroup", ID: "flows"}) })
	p := in{"ResourceType": "VPC", "ResourceId": n.VPC.ID, "TrafficType": "ALL", "LogGroupName": "flows"}
	_, err := l.Create(ec2.TypeFlowLog, p)
	l.Want("InvalidParameter: DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs.", err)
	p["DeliverLogsPermissionArn"] = "arn:aws:iam::123456789012:role/none"
	_, err = l.Create(ec2.TypeFlowLog, p)
	l.Want("InvalidParameter: Unable to assume given IAM role arn:aws:iam::123456789012:role/none", err)
}
