package templates

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// statements are a policy's, by Sid.
func statements(t *testing.T, policy any) map[string]object {
	t.Helper()
	out := map[string]object{}
	list, _ := at(policy, "Statement").([]any)
	for _, s := range list {
		sid := text(at(s, "Sid"))
		if _, ok := out[sid]; ok || sid == "" {
			t.Fatalf("statement %q is not named apart", sid)
		}
		out[sid] = s.(object)
	}
	return out
}

func TestKeys(t *testing.T) {
	t.Parallel()
	a := planned(t)
	d := built(t, a, architecture.Keys)
	if got := len(d.ofType("AWS::KMS::Key")); got != 9 || got != len(d.ofType("AWS::KMS::Alias")) {
		t.Errorf("%d keys and %d aliases, want 9 of each", got, len(d.ofType("AWS::KMS::Alias")))
	}
	extra := map[architecture.KeyPurpose][]string{
		architecture.KeyVolumes:  {"GrantsForServicesOnly", "AutoScalingUse", "AutoScalingGrant"},
		architecture.KeyDatabase: {"GrantsForServicesOnly"},
		architecture.KeyLogs:     {"Logs", "Alarms"},
	}
	for _, p := range a.Keys {
		id := camel(string(p))
		key := d.properties(t, id+"Key", "AWS::KMS::Key")
		if key["EnableKeyRotation"] != true || text(key["PendingWindowInDays"]) != "30" {
			t.Errorf("%s: rotation %v, window %v", p, key["EnableKeyRotation"], key["PendingWindowInDays"])
		}
		alias := d.properties(t, id+"Alias", "AWS::KMS::Alias")
		if alias["AliasName"] != "alias/poolside/"+string(p) || text(alias["TargetKeyId"]) != "${"+id+"Key}" {
			t.Errorf("%s: alias %v", p, alias)
		}
		got := statements(t, key["KeyPolicy"])
		root := got["Account"]
		if text(at(root, "Principal", "AWS")) != "arn:${AWS::Partition}:iam::${AWS::AccountId}:root" || root["Action"] != "kms:*" {
			t.Errorf("%s: the account is locked out: %v", p, root)
		}
		for _, sid := range append([]string{"Account"}, extra[p]...) {
			if got[sid] == nil {
				t.Errorf("%s: no statement %s", p, sid)
			}
			delete(got, sid)
		}
		for sid := range got {
			t.Errorf("%s: unexpected statement %s", p, sid)
		}
		policy := d.Resources[id+"Key"].DeletionPolicy
		if want := map[bool]string{true: "Delete", false: "RetainExceptOnCreate"}[p == architecture.KeyKubernetes]; policy != want {
			t.Errorf("%s: deletion policy %s, want %s", p, policy, want)
		}
	}
	evaluation := built(t, planned(t, func(c *config.Config) { c.Profile = config.Evaluation }), architecture.Keys)
	if got := text(evaluation.properties(t, "StorageKey", "AWS::KMS::Key")["PendingWindowInDays"]); got != "7" {
		t.Errorf("in evaluation keys wait %s days", got)
	}
}

func TestKeyPolicies(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Keys)
	volumes := statements(t, d.properties(t, "VolumesKey", "AWS::KMS::Key")["KeyPolicy"])
	const scaling = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
	if got := text(at(volumes["AutoScalingUse"], "Principal", "AWS")); got != scaling {
		t.Errorf("user of volumes is %s", got)
	}
	if got := text(at(volumes["AutoScalingGrant"], "Condition", "Bool", "kms:GrantIsForAWSResource")); got != "true" {
		t.Errorf("grants on volumes are limited to services: %s", got)
	}
	logs := statements(t, d.properties(t, "LogsKey", "AWS::KMS::Key")["KeyPolicy"])
	if got := text(at(logs["Logs"], "Principal", "Service")); got != "logs.${AWS::Region}.amazonaws.com" {
		t.Errorf("user of logs is %s", got)
	}
	got := strings.Split(text(at(logs["Logs"], "Condition", "ArnLike", "kms:EncryptionContext:aws:logs:arn")), ",")
	var want []string
	for _, g := range []string{"/aws/eks/poolside/cluster", "/poolhouse/poolside/*", "/aws/rds/instance/poolside/*", "aws-waf-logs-poolside"} {
		want = append(want, "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"+g)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log groups of the key, -want +got:\n%s", diff)
	}
}

// TestLogGroupsCanUseTheirKey holds the names of all log groups to the key's
// policy: a group outside it could not be made.
func TestLogGroupsCanUseTheirKey(t *testing.T) {
	t.Parallel()
	a := planned(t)
	stacks, err := All(a)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range stacks {
		d := parsed(t, s.Body)
		for _, id := range d.ofType("AWS::Logs::LogGroup") {
			n++
			name := text(d.Resources[id].Properties["LogGroupName"])
			ok := false
			for _, pattern := range a.LogGroups() {
				prefix, wild := strings.CutSuffix(pattern, "*")
				ok = ok || name == pattern || wild && strings.HasPrefix(name, prefix)
			}
			if !ok {
				t.Errorf("%s of %s is named %s, and fits none of %v", id, s.Name, name, a.LogGroups())
			}
		}
	}
	if n < 4 {
		t.Errorf("%d log groups, want at least 4: the test looks at nothing", n)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	a := planned(t)
	d := built(t, a, architecture.Storage)
	for _, b := range a.Buckets {
		id := string(bucketID(b.Purpose))
		bucket := d.properties(t, id, "AWS::S3::Bucket")
		logs := b.Purpose == architecture.BucketLogs
		for _, tc := range []struct {
			what string
			got  any
			want string
		}{
			{"name", bucket["BucketName"], "poolside-" + string(b.Purpose) + "-${AWS::AccountId}-${AWS::Region}"},
			{"public ACLs", at(bucket, "PublicAccessBlockConfiguration", "BlockPublicAcls"), "true"},
			{"public policies", at(bucket, "PublicAccessBlockConfiguration", "BlockPublicPolicy"), "true"},
			{"ignored ACLs", at(bucket, "PublicAccessBlockConfiguration", "IgnorePublicAcls"), "true"},
			{"restriction", at(bucket, "PublicAccessBlockConfiguration", "RestrictPublicBuckets"), "true"},
			{"ownership", at(bucket, "OwnershipControls", "Rules", 0, "ObjectOwnership"), "BucketOwnerEnforced"},
			{"versions", at(bucket, "VersioningConfiguration", "Status"), "Enabled"},
			{"unfinished uploads", at(bucket, "LifecycleConfiguration", "Rules", 0, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"), "7"},
			{"encryption", at(bucket, "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm"), map[bool]string{true: "AES256", false: "aws:kms"}[logs]},
			{"key", at(bucket, "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "KMSMasterKeyID"), map[bool]string{true: "", false: "${KeysStorageKeyArn}"}[logs]},
			{"bucket key", at(bucket, "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "BucketKeyEnabled"), map[bool]string{true: "", false: "true"}[logs]},
			{"access log", at(bucket, "LoggingConfiguration", "DestinationBucketName"), map[bool]string{true: "", false: "${LogsBucket}"}[logs]},
			{"object lock", bucket["ObjectLockEnabled"], map[bool]string{true: "true", false: ""}[b.Purpose == architecture.BucketAudit]},
		} {
			if got := text(tc.got); got != tc.want {
				t.Errorf("%s: %s is %q, want %q", b.Purpose, tc.what, got, tc.want)
			}
		}
		for _, id := range []string{id, id + "Policy"} {
			if r := d.Resources[id]; r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Retain" {
				t.Errorf("%s does not outlive its stack", id)
			}
		}
		policy := statements(t, d.properties(t, id+"Policy", "AWS::S3::BucketPolicy")["PolicyDocument"])
		if s := policy["TlsOnly"]; s["Effect"] != "Deny" || text(at(s, "Condition", "Bool", "aws:SecureTransport")) != "false" || text(s["Resource"]) != "${"+id+".Arn},${"+id+".Arn}/*" {
			t.Errorf("%s: plain text is not refused: %v", b.Purpose, s)
		}
		if s := policy["Tls12"]; s["Effect"] != "Deny" || text(at(s, "Condition", "NumericLessThan", "s3:TlsVersion")) != "1.2" {
			t.Errorf("%s: old TLS is not refused: %v", b.Purpose, s)
		}
		if logs {
			continue
		}
		for sid, want := range map[string]string{"KmsOnly": "aws:kms", "OwnKeyOnly": "${KeysStorageKeyArn}"} {
			header := map[string]string{"KmsOnly": "s3:x-amz-server-side-encryption", "OwnKeyOnly": "s3:x-amz-server-side-encryption-aws-kms-key-id"}[sid]
			s := policy[sid]
			if s["Effect"] != "Deny" || s["Action"] != "s3:PutObject" || text(at(s, "Condition", "StringNotEquals", header)) != want || text(at(s, "Condition", "Null", header)) != "false" {
				t.Errorf("%s: another key is not refused: %v", b.Purpose, s)
			}
		}
	}
	if got := text(d.properties(t, "AuditBucket", "AWS::S3::Bucket")["ObjectLockConfiguration"]); got != `{"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Days":365,"Mode":"GOVERNANCE"}}}` {
		t.Errorf("audit is locked by %s", got)
	}
	off := built(t, planned(t, func(c *config.Config) { c.Storage.Audit.ObjectLock = config.ObjectLock{Mode: config.LockOff} }), architecture.Storage)
	if got := text(off.properties(t, "AuditBucket", "AWS::S3::Bucket")["ObjectLockConfiguration"]); got != `{"ObjectLockEnabled":"Enabled"}` {
		t.Errorf("without a rule audit is locked by %s", got)
	}
}

func TestLogBucketPolicy(t *testing.T) {
	t.Parallel()
	a := planned(t)
	d := built(t, a, architecture.Storage)
	policy := statements(t, d.properties(t, "LogsBucketPolicy", "AWS::S3::BucketPolicy")["PolicyDocument"])
	access := policy["AccessLogs"]
	if text(at(access, "Principal", "Service")) != "logging.s3.amazonaws.com" || text(access["Resource"]) != "${LogsBucket.Arn}/s3/*" || text(at(access, "Condition", "StringEquals", "aws:SourceAccount")) != "${AWS::AccountId}" {
		t.Errorf("access logs: %v", access)
	}
	if sources := strings.Split(text(at(access, "Condition", "ArnEquals", "aws:SourceArn")), ","); len(sources) != len(a.Buckets)-1 {
		t.Errorf("access logs come from %v", sources)
	}
	balancers := policy["LoadBalancerLogs"]
	if text(at(balancers, "Principal", "Service")) != "logdelivery.elasticloadbalancing.amazonaws.com" ||
		text(balancers["Resource"]) != "${LogsBucket.Arn}/alb/*/AWSLogs/${AWS::AccountId}/*" ||
		text(at(balancers, "Condition", "ArnLike", "aws:SourceArn")) != "arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}:loadbalancer/*" {
		t.Errorf("load balancer logs: %v", balancers)
	}
	// What load balancers are told to write must fit.
	edge := built(t, a, architecture.Edge)
	for _, id := range edge.ofType("AWS::ElasticLoadBalancingV2::LoadBalancer") {
		list, _ := edge.Resources[id].Properties["LoadBalancerAttributes"].([]any)
		prefix := ""
		for _, attribute := range list {
			if text(at(attribute, "Key")) == "access_logs.s3.prefix" {
				prefix = text(at(attribute, "Value"))
			}
		}
		if !strings.HasPrefix(prefix, loadBalancerLogPrefix+"/") {
			t.Errorf("%s writes below %q", id, prefix)
		}
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		bucket config.Bucket
		want   []string
	}{
		{"nothing", config.Bucket{}, []string{"unfinished-uploads"}},
		{"all", config.Bucket{InfrequentAccessDays: 30, ExpireDays: 90, NoncurrentDays: 7}, []string{"unfinished-uploads", "infrequent-access", "expire", "superseded"}},
		{"expires before it would move", config.Bucket{InfrequentAccessDays: 30, ExpireDays: 30}, []string{"unfinished-uploads", "expire"}},
	} {
		var got []string
		for _, r := range lifecycle(tc.bucket) {
			id, _ := r.Id.Literal()
			got = append(got, id)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", tc.name, diff)
		}
	}
}

func TestRepositories(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Storage)
	r := d.properties(t, "CoreApiRepository", "AWS::ECR::Repository")
	var rules struct {
		Rules []struct {
			Selection struct {
				TagStatus   string
				CountNumber int
			}
			Action struct{ Type string }
		}
	}
	if err := json.Unmarshal([]byte(text(at(r, "LifecyclePolicy", "LifecyclePolicyText"))), &rules); err != nil {
		t.Fatal(err)
	}
	if len(rules.Rules) != 1 || rules.Rules[0].Selection.TagStatus != "untagged" || rules.Rules[0].Selection.CountNumber != 14 || rules.Rules[0].Action.Type != "expire" {
		t.Errorf("lifecycle is %+v", rules)
	}
	if r["RepositoryName"] != "poolside/core-api" || r["ImageTagMutability"] != "IMMUTABLE" || at(r, "ImageScanningConfiguration", "ScanOnPush") != true ||
		text(at(r, "EncryptionConfiguration", "KmsKey")) != "${KeysRegistryKeyArn}" || d.Resources["CoreApiRepository"].DeletionPolicy != "RetainExceptOnCreate" {
		t.Errorf("repository is %v", r)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, natMode(config.NATNone), func(c *config.Config) { c.Network.Endpoints = []string{"xray"} }), architecture.Endpoints)
	s3 := d.properties(t, "S3Endpoint", "AWS::EC2::VPCEndpoint")
	if s3["VpcEndpointType"] != "Gateway" || text(s3["RouteTableIds"]) != "${NetworkPrivateRouteTableIds}" || text(s3["ServiceName"]) != "com.amazonaws.${AWS::Region}.s3" {
		t.Errorf("S3 endpoint is %v", s3)
	}
	policy := statements(t, s3["PolicyDocument"])
	if c := at(policy["OwnBuckets"], "Condition", "StringEquals"); text(at(c, "aws:ResourceAccount")) != "${AWS::AccountId}" || text(at(c, "aws:PrincipalAccount")) != "${AWS::AccountId}" {
		t.Errorf("other accounts' buckets can be reached: %v", policy["OwnBuckets"])
	}
	if got := text(policy["AwsContent"]["Resource"]); !strings.Contains(got, "arn:${AWS::Partition}:s3:::prod-${AWS::Region}-starport-layer-bucket/*") || policy["AwsContent"]["Action"] != "s3:GetObject" {
		t.Errorf("image layers can't be read: %v", policy["AwsContent"])
	}
	interfaces := 0
	for _, id := range d.ofType("AWS::EC2::VPCEndpoint") {
		if id == "S3Endpoint" {
			continue
		}
		interfaces++
		e := d.Resources[id].Properties
		if e["PrivateDnsEnabled"] != true || text(e["SubnetIds"]) != "${NetworkPrivateSubnetIds}" || text(e["SecurityGroupIds"]) != "${NetworkEndpointsSecurityGroupId}" {
			t.Errorf("%s is %v", id, e)
		}
		if id == "XrayEndpoint" {
			if e["PolicyDocument"] != nil {
				t.Errorf("%s has a policy nobody knows to be supported", id)
			}
			continue
		}
		own := statements(t, e["PolicyDocument"])["OwnAccount"]
		if text(at(own, "Condition", "StringEquals", "aws:PrincipalAccount")) != "${AWS::AccountId}" {
			t.Errorf("%s serves other accounts: %v", id, own)
		}
	}
	if interfaces != 13 {
		t.Errorf("%d interface endpoints, want 13", interfaces)
	}
	sts := statements(t, d.properties(t, "StsEndpoint", "AWS::EC2::VPCEndpoint")["PolicyDocument"])["ServiceAccounts"]
	if sts["Action"] != "sts:AssumeRoleWithWebIdentity" || text(sts["Resource"]) != "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*" {
		t.Errorf("service accounts can't get their roles: %v", sts)
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	ours := built(t, planned(t), architecture.Certificate).properties(t, "Certificate", "AWS::CertificateManager::Certificate")
	if ours["DomainName"] != "poolside.example.com" || text(ours["SubjectAlternativeNames"]) != "api.poolside.example.com,admin.poolside.example.com" || ours["ValidationMethod"] != "DNS" {
		t.Errorf("certificate is %v", ours)
	}
	for i := range 3 {
		if got := text(at(ours, "DomainValidationOptions", i, "HostedZoneId")); got != "${DnsHostedZoneId}" {
			t.Errorf("host %d is proved in zone %s", i, got)
		}
	}
	existing := built(t, planned(t, func(c *config.Config) {
		c.DNS = config.DNS{Mode: config.DNSExistingZone, ZoneID: "Z0123456789ABCDEFGHIJ"}
		c.Access.API.Host = c.Access.Web.Host
	}), architecture.Certificate).properties(t, "Certificate", "AWS::CertificateManager::Certificate")
	if got := text(at(existing, "DomainValidationOptions", 0, "HostedZoneId")); got != "Z0123456789ABCDEFGHIJ" {
		t.Errorf("proved in zone %s", got)
	}
	if got := text(existing["SubjectAlternativeNames"]); got != "admin.poolside.example.com" {
		t.Errorf("a host is named twice: %s", got)
	}
}

func TestHostedZone(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.DNS)
	if got := d.properties(t, "HostedZone", "AWS::Route53::HostedZone")["Name"]; got != "poolside.example.com" {
		t.Errorf("zone is %v", got)
	}
	if got := text(d.Outputs["NameServers"]["Value"]); got != "${HostedZone.NameServers}" {
		t.Errorf("name servers are %s", got)
	}
}
