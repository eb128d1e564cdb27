package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// anything has every parameter that some operation is told a resource by.
func anything(a *account.Account) map[string]any {
	const id = "123456789012"
	arn := func(rest string) string { return "arn:aws:" + rest }
	tags := []any{map[string]any{"Key": "team", "Value": "a"}}
	return map[string]any{
		"CertificateArn":           arn("acm:us-east-1:" + id + ":certificate/12345678-1234-1234-1234-123456789012"),
		"ManageMasterUserPassword": true, "DeletionTaskId": "task/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS/1", "nodeRole": arn("iam::" + id + ":role/x"), "IamRoleArn": arn("iam::" + id + ":role/x"), "BackupVaultName": "vault",
		"BackupSelection":      map[string]any{"IamRoleArn": arn("iam::" + id + ":role/x")},
		"AutoScalingGroupName": "group", "backupVaultName": "vault", "backupPlanId": "plan",
		"recoveryPointArn": arn("backup:us-east-1:" + id + ":recovery-point:12345678-1234-1234-1234-123456789012"),
		"StackName":        "stack", "ChangeSetName": "change", "RoleARN": arn("iam::" + id + ":role/service"), "TemplateURL": "https://x.s3.amazonaws.com/t",
		"GroupId": "sg-0123456789abcdef0", "VpcId": "vpc-0123456789abcdef0", "SubnetId": "subnet-0123456789abcdef0", "SecurityGroupId": []any{"sg-0123456789abcdef0"},
		"CapacityReservationId": "cr-0123456789abcdef0", "ResourceId": "vpc-0123456789abcdef0", "NetworkInterfaceId": "eni-0123456789abcdef0",
		"VolumeId": "vol-0123456789abcdef0", "VpcEndpointId": []any{"vpce-0123456789abcdef0"}, "PrefixListId": "pl-0123456789abcdef0", "InstanceId": "i-0123456789abcdef0", "AllocationId": "eipalloc-0123456789abcdef0",
		"repositoryName": "repo", "repositoryNames": []any{"repo"}, "name": "cluster", "nodegroupName": "group", "addonName": "addon", "principalArn": arn("iam::" + id + ":role/x"),
		"roleArn": arn("iam::" + id + ":role/x"), "serviceAccountRoleArn": arn("iam::" + id + ":role/x"), "version": "1.35", "identityProviderConfig": map[string]any{"name": "oidc"},
		"ResourceArns":    []any{arn("elasticloadbalancing:us-east-1:" + id + ":loadbalancer/app/x/0123456789abcdef")},
		"LoadBalancerArn": arn("elasticloadbalancing:us-east-1:" + id + ":loadbalancer/app/x/0123456789abcdef"),
		"ListenerArn":     arn("elasticloadbalancing:us-east-1:" + id + ":listener/app/x/0123456789abcdef/0123456789abcdef"),
		"RuleArn":         arn("elasticloadbalancing:us-east-1:" + id + ":listener-rule/app/x/0123456789abcdef/0123456789abcdef/0123456789abcdef"),
		"TargetGroupArn":  arn("elasticloadbalancing:us-east-1:" + id + ":targetgroup/x/0123456789abcdef"),
		"RoleName":        AdministratorRole, "InstanceProfileName": "profile", "PolicyArn": arn("iam::" + id + ":policy/p"), "PolicyName": "p",
		"OpenIDConnectProviderArn": arn("iam::" + id + ":oidc-provider/oidc.example"), "Url": "https://oidc.example", "AWSServiceName": "eks.amazonaws.com", "PermissionsBoundary": arn("iam::" + id + ":policy/b"),
		"KeyId": "12345678-1234-1234-1234-123456789012", "TargetKeyId": "12345678-1234-1234-1234-123456789012", "AliasName": "alias/x",
		"UserName": "alice", "PolicySourceArn": arn("iam::" + id + ":user/alice"), "RoleArn": arn("iam::" + id + ":role/x"), "RoleSessionName": "s", "ExternalId": "x", "SourceIdentity": "y",
		"logGroupName": "/x", "AlarmNames": []any{"alarm"},
		"DBInstanceIdentifier": "db", "DBSnapshotIdentifier": "snap", "DBSubnetGroupName": "subnets", "DBParameterGroupName": "parameters", "FinalDBSnapshotIdentifier": "final",
		"MonitoringRoleArn": arn("iam::" + id + ":role/monitoring"), "DBInstanceAutomatedBackupsArn": arn("rds:us-east-1:" + id + ":auto-backup:ab-x"),
		"Id": "Z0123456789", "Bucket": "bucket", "Key": "a/b", "versionId": "v", "prefix": "a/",
		"SecretId": "secret", "Name": "name", "KmsKeyId": "12345678-1234-1234-1234-123456789012", "TopicArn": arn("sns:us-east-1:" + id + ":topic"),
		"Names": []any{"a", "/b/c"}, "Path": "/b", "Type": "SecureString", "WithDecryption": true, "Target": "i-0123456789abcdef0", "SessionId": "s-0123",
		"WebACLArn": arn("wafv2:us-east-1:" + id + ":regional/webacl/x/12345678-1234-1234-1234-123456789012"), "Scope": "REGIONAL",
		"Tags": tags, "Tag": tags, "tags": map[string]any{"team": "a"}, "TagSpecification": []any{map[string]any{"ResourceType": "vpc", "Tag": tags}}, "HostedZoneTags": tags,
		"ChangeBatch": map[string]any{"Changes": map[string]any{"Change": map[string]any{"Action": "CREATE", "ResourceRecordSet": map[string]any{"Name": "a.example.", "Type": "A"}}}},
	}
}

// perOperation are parameters that services give other meanings.
func perOperation(service, operation string, in map[string]any) {
	arn := func(rest string) string { return "arn:aws:" + service + ":us-east-1:123456789012:" + rest }
	switch service {
	case "ecr":
		in["resourceArn"] = arn("repository/repo")
	case "eks":
		in["resourceArn"] = arn("cluster/cluster")
	case "logs":
		in["resourceArn"] = arn("log-group:/x")
	case "rds":
		in["ResourceName"] = arn("db:db")
	case "route53":
		in["ResourceId"] = "Z0123456789"
	case "ssm":
		in["ResourceId"], in["ResourceType"] = "/b/c", "Parameter"
	case "sns":
		in["ResourceArn"] = arn("topic")
	case "wafv2":
		in["ResourceArn"] = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/0123456789abcdef"
		in["ResourceARN"] = in["WebACLArn"]
		if strings.Contains(operation, "Logging") {
			in["ResourceArn"] = in["WebACLArn"]
		}
		in["Id"] = "12345678-1234-1234-1234-123456789012"
	}
}

// Every operation of the sandbox asks for an action that AWS has, on resources
// of the types that AWS lists for it, and on "*" only where AWS lists none.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
func TestOperationsDemandWhatAWSLists(t *testing.T) {
	t.Parallel()
	known, err := access.Load()
	if err != nil {
		t.Fatal(err)
	}
	box := New(Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	n := 0
	var further []string
	for service, operations := range Operations() {
		for _, operation := range operations {
			n++
			for _, in := range []map[string]any{anything(box.Account()), {}} {
				if len(in) > 0 {
					perOperation(service, operation, in)
				}
				r := &wire.Request{Service: service, Operation: operation, In: in, Header: map[string][]string{}, Body: []byte(`<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>v</VersionId></Object></Delete>`)}
				if len(in) > 0 && service == "s3" {
					for _, h := range []string{"X-Amz-Acl", "X-Amz-Tagging", "X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Legal-Hold", "X-Amz-Object-Ownership"} {
						r.Header[h] = []string{"x"}
					}
					r.Header["X-Amz-Bypass-Governance-Retention"], r.Header["X-Amz-Bucket-Object-Lock-Enabled"] = []string{"true"}, []string{"true"}
					r.Header["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"] = []string{"12345678-1234-1234-1234-123456789012"}
				}
				var demands []access.Demand
				_ = box.Account().Do(func(tx *account.Tx) error {
					demands = access.Of(tx, r)
					return nil
				})
				if len(demands) == 0 && operation != "GetCallerIdentity" {
					t.Errorf("%s:%s asks for nothing", service, operation)
				}
				for _, d := range demands {
					if fault := checkDemand(known, d); fault != "" && len(in) > 0 {
						t.Errorf("%s:%s: %s", service, operation, fault)
					}
					if d.Action != access.ActionOf(service, operation) {
						further = append(further, d.Action)
					}
				}
			}
		}
	}
	if n < 370 {
		t.Errorf("%d operations, want all of about 380", n)
	}
	slices.Sort(further)
	if missing := slices.DeleteFunc(access.Further(), func(a string) bool { return slices.Contains(further, a) }); len(missing) > 0 {
		t.Errorf("no operation asks for %v", missing)
	}
}

func checkDemand(known *access.Facts, d access.Demand) string {
	a := known.Actions[d.Action]
	if a == nil {
		return "AWS has no action " + d.Action
	}
	types := known.Types(d.Action)
	if len(d.Resources) == 0 {
		return d.Action + " is asked on nothing"
	}
	for _, r := range d.Resources {
		if r == "*" {
			if len(types) > 0 {
				return fmt.Sprintf("%s is asked on *, but AWS lists %v", d.Action, types)
			}
			continue
		}
		if !slices.ContainsFunc(types, func(t string) bool { return known.Resources[t].Is(r) }) {
			return fmt.Sprintf("%s is asked on %s, but AWS lists %v", d.Action, r, types)
		}
	}
	for key := range d.Context {
		if !known.Tests(d.Action, key) {
			return fmt.Sprintf("%s has the condition key %s, which AWS doesn't list for it", d.Action, key)
		}
	}
	return ""
}
