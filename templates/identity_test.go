package templates

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

// everyRole calls f for each IAM role of an architecture.
func everyRole(t *testing.T, a *architecture.Architecture, f func(stack architecture.StackName, id string, role object)) {
	t.Helper()
	all, err := All(a)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range all {
		d := parsed(t, s.Body)
		for _, id := range d.ofType("AWS::IAM::Role") {
			f(s.Name, id, d.Resources[id].Properties)
			n++
		}
	}
	if n < 10 {
		t.Fatalf("%d roles in all stacks: the test looks at nothing", n)
	}
}

func TestServiceAccountTrust(t *testing.T) {
	t.Parallel()
	a := planned(t, withGPU(config.NodeGroup{Max: 1}))
	want := map[string]string{
		"CoreApiRole":                "poolside:core-api-sa",
		"DatabaseSetupRole":          "poolside:database-setup",
		"TelemetryCollectorRole":     "poolside:telemetry-collector",
		"InferenceRole":              "poolside-models:inference",
		"ExternalSecretsRole":        "external-secrets:external-secrets",
		"LoadBalancerControllerRole": "kube-system:aws-load-balancer-controller",
		"ClusterAutoscalerRole":      "kube-system:cluster-autoscaler",
		"EbsCsiRole":                 "kube-system:ebs-csi-controller-sa",
		"VpcCniRole":                 "kube-system:aws-node",
	}
	got := map[string]string{}
	everyRole(t, a, func(stack architecture.StackName, id string, role object) {
		document := role["AssumeRolePolicyDocument"]
		if at(document, "Statement") != nil {
			return // a service's
		}
		issuer, provider := "${ClusterOidcIssuer}", "${ClusterOidcProviderArn}"
		if stack == architecture.Cluster {
			issuer, provider = "select(1,split(//,${Cluster.OpenIdConnectIssuerUrl}))", "${OidcProvider}"
		}
		var policy object
		if err := json.Unmarshal([]byte(text(document)), &policy); err != nil {
			t.Errorf("%s: trust policy is no JSON: %v", id, err)
			return
		}
		subject := text(at(policy, "Statement", 0, "Condition", "StringEquals", issuer+":sub"))
		account, ok := strings.CutPrefix(subject, "system:serviceaccount:")
		if !ok {
			t.Errorf("%s: subject is %q", id, subject)
		}
		got[id] = account
		if diff := cmp.Diff(object{
			"Version": "2012-10-17",
			"Statement": []any{object{
				"Effect":    "Allow",
				"Action":    "sts:AssumeRoleWithWebIdentity",
				"Principal": object{"Federated": provider},
				"Condition": object{"StringEquals": object{issuer + ":aud": "sts.amazonaws.com", issuer + ":sub": subject}},
			}},
		}, policy); diff != "" {
			t.Errorf("%s: trust policy (-want +got):\n%s", id, diff)
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("service accounts (-want +got):\n%s", diff)
	}
}

// Without models on GPU nodes there is no one to read checkpoints.
func TestNoInferenceRoleWithoutGPU(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Identity)
	if _, ok := d.Resources["InferenceRole"]; ok {
		t.Error("there is an inference role")
	}
}

func TestServiceTrust(t *testing.T) {
	t.Parallel()
	a := planned(t, withGPU(config.NodeGroup{Max: 1}))
	want := map[string]string{
		"MonitoringRole":       "monitoring.rds.amazonaws.com",
		"BackupRole":           "backup.amazonaws.com",
		"ClusterRole":          "eks.amazonaws.com",
		"CoreNodeRole":         "ec2.amazonaws.com",
		"WebAssistantNodeRole": "ec2.amazonaws.com",
		"InterfaceNodeRole":    "ec2.amazonaws.com",
		"GpuNodeRole":          "ec2.amazonaws.com",
	}
	everyRole(t, a, func(_ architecture.StackName, id string, role object) {
		service, ok := want[id]
		if !ok {
			return
		}
		delete(want, id)
		statements, _ := at(role, "AssumeRolePolicyDocument", "Statement").([]any)
		if len(statements) != 1 || text(at(statements[0], "Principal")) != `{"Service":"`+service+`"}` || at(statements[0], "Action") != "sts:AssumeRole" {
			t.Errorf("%s is trusted by %s", id, text(statements))
		}
	})
	if len(want) > 0 {
		t.Errorf("roles that were not found: %v", want)
	}
	d := built(t, a, architecture.Database)
	got := at(d.properties(t, "MonitoringRole", "AWS::IAM::Role"), "AssumeRolePolicyDocument", "Statement", 0, "Condition")
	if want := `{"StringEquals":{"aws:SourceAccount":{"Ref":"AWS::AccountId"}}}`; text(got) != want {
		t.Errorf("monitoring role is trusted under %s, want %s", text(got), want)
	}
}

// unscoped are the actions that AWS binds to no resource, with the reason.
func unscoped(action string) bool {
	service, name, _ := strings.Cut(action, ":")
	switch {
	case service == "ec2" && strings.HasPrefix(name, "Describe"): // read only; no resource types
	case service == "autoscaling" && strings.HasPrefix(name, "Describe"): // read only; no resource types
	case service == "elasticloadbalancing" && strings.HasPrefix(name, "Describe"): // read only; no resource types
	case action == "acm:ListCertificates": // a list
	case action == "aws-marketplace:MeterUsage": // no resource types
	default:
		return false
	}
	return true
}

// bound says why a resource pattern is narrow enough without a condition.
func bound(sid, resource string) bool {
	switch {
	case !strings.Contains(resource, "*"): // one resource
	case strings.HasSuffix(resource, "BucketArn}/*"): // objects of one bucket
	case strings.HasSuffix(resource, ":parameter/poolhouse/poolside/*"): // parameters of one deployment
	case strings.HasSuffix(resource, ":nodegroup/poolside/*"): // read only, node groups of one cluster
	case sid == "Certificates": // read only, and names nothing that the clients don't see
	case sid == "Reorder": // SetRulePriorities has no condition on tags
	default:
		return false
	}
	return true
}

// The statements of our own policies name what AWS lets them name. Flow logs
// and self-managed NAT are the network's affair.
func TestPoliciesAreScoped(t *testing.T) {
	t.Parallel()
	a := planned(t, withGPU(config.NodeGroup{Max: 1}))
	everyRole(t, a, func(stack architecture.StackName, role string, props object) {
		if stack == architecture.Network {
			return
		}
		policies, _ := props["Policies"].([]any)
		for _, p := range policies {
			statements, _ := at(p, "PolicyDocument", "Statement").([]any)
			if len(statements) == 0 {
				t.Errorf("%s: policy %s has no statement", role, text(at(p, "PolicyName")))
			}
			for _, s := range statements {
				sid := text(at(s, "Sid"))
				name := role + "/" + sid
				actions, resources := texts(at(s, "Action")), texts(at(s, "Resource"))
				if at(s, "Effect") != "Allow" || len(actions) == 0 || len(resources) == 0 {
					t.Errorf("%s: %s", name, text(s))
				}
				for _, action := range actions {
					if strings.Contains(action, "*") {
						t.Errorf("%s: action %s is a pattern", name, action)
					}
				}
				for _, r := range resources {
					switch {
					case r == "*" && !slices.ContainsFunc(actions, func(a string) bool { return !unscoped(a) }):
					case r == "*":
						t.Errorf("%s: %v on every resource", name, actions)
					case !bound(sid, r) && at(s, "Condition") == nil:
						t.Errorf("%s: %s without a condition", name, r)
					}
				}
			}
		}
	})
}

// A deployment may change what carries its own tag or its cluster's, and not
// what belongs to another one in the same account.
func TestPoliciesAreOurs(t *testing.T) {
	t.Parallel()
	a := planned(t)
	const mine = `"aws:ResourceTag/poolhouse:deployment":"poolside"`
	identity, control := built(t, a, architecture.Identity), built(t, a, architecture.Cluster)
	for _, test := range []struct {
		d         document
		role, sid string
		want      []string
	}{
		{identity, "LoadBalancerControllerRole", "OurTargets", []string{mine}},
		{identity, "LoadBalancerControllerRole", "Change", []string{`"aws:ResourceTag/elbv2.k8s.aws/cluster":"poolside"`}},
		{identity, "LoadBalancerControllerRole", "Create", []string{`"aws:RequestTag/elbv2.k8s.aws/cluster":"poolside"`}},
		{identity, "LoadBalancerControllerRole", "AdmitToNodes", []string{`"aws:ResourceTag/kubernetes.io/cluster/poolside":"owned"`}},
		{identity, "ClusterAutoscalerRole", "Scale", []string{`"aws:ResourceTag/k8s.io/cluster-autoscaler/poolside":"owned"`}},
		{identity, "EbsCsiRole", "Use", []string{mine}},
		{identity, "EbsCsiRole", "Attach", []string{mine}},
		{identity, "EbsCsiRole", "Delete", []string{mine, `"Null":{"aws:ResourceTag/CSIVolumeName":"false"}`}},
		{identity, "EbsCsiRole", "KeyGrant", []string{`"kms:GrantIsForAWSResource":"true"`, `"kms:ViaService":"ec2.eu-central-1.amazonaws.com"`}},
		{identity, "ExternalSecretsRole", "SignOnKeys", []string{
			`"kms:EncryptionContext:SecretARN":["arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin-AbCdEf","arn:aws:secretsmanager:eu-central-1:123456789012:secret:web-AbCdEf"]`,
			`"kms:ViaService":"secretsmanager.eu-central-1.amazonaws.com"`,
		}},
		{control, "VpcCniRole", "Change", []string{mine}},
		{control, "VpcCniRole", "ChangeOnInstances", []string{mine}},
		{control, "VpcCniRole", "Create", []string{`"aws:RequestTag/poolhouse:deployment":"poolside"`}},
	} {
		s := statement(t, test.d, test.role, test.sid)
		for _, want := range test.want {
			if got := text(at(s, "Condition")); !strings.Contains(got, want) {
				t.Errorf("%s/%s: condition is %s, want %s in it", test.role, test.sid, got, want)
			}
		}
	}
}

// What the tags above rest on: add-ons and launch templates set them.
func TestTagsThatPoliciesRestOn(t *testing.T) {
	t.Parallel()
	a := planned(t, func(c *config.Config) { c.Tags = map[string]string{"owner": "platform", "a=b": "no pair"} })
	csi := built(t, a, architecture.Addons).properties(t, "EbsCsiDriver", "AWS::EKS::Addon")
	if got, want := text(csi["ConfigurationValues"]), `{"controller":{"extraVolumeTags":{"owner":"platform","poolhouse:deployment":"poolside"}}}`; got != want {
		t.Errorf("EBS driver is configured with %s, want %s", got, want)
	}
	var cni struct {
		Env map[string]string `json:"env"`
	}
	props := built(t, a, architecture.Cluster).properties(t, "VpcCni", "AWS::EKS::Addon")
	if err := json.Unmarshal([]byte(text(props["ConfigurationValues"])), &cni); err != nil {
		t.Fatal(err)
	}
	if got, want := cni.Env["ADDITIONAL_ENI_TAGS"], `{"a=b":"no pair","owner":"platform","poolhouse:deployment":"poolside"}`; got != want {
		t.Errorf("network plugin tags with %s, want %s", got, want)
	}
	data := at(built(t, a, architecture.Nodes).properties(t, "CoreLaunchTemplate", "AWS::EC2::LaunchTemplate"), "LaunchTemplateData", "TagSpecifications")
	var kinds []string
	for i := range 3 {
		kinds = append(kinds, text(at(data, i, "ResourceType")))
		if got := text(at(data, i, "Tags")); !strings.Contains(got, `{"Key":"poolhouse:deployment","Value":"poolside"}`) || !strings.Contains(got, `{"Key":"owner","Value":"platform"}`) {
			t.Errorf("%s carries %s", kinds[i], got)
		}
	}
	if diff := cmp.Diff([]string{"instance", "volume", "network-interface"}, kinds); diff != "" {
		t.Errorf("tagged kinds (-want +got):\n%s", diff)
	}
}

func TestCoreAPIPolicies(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Identity)
	for _, test := range []struct {
		sid       string
		resources []string
		without   []string
	}{
		{"Models", []string{"${StorageModelsBucketArn}/*"}, []string{"s3:PutObject", "s3:DeleteObject"}},
		{"Data", []string{"${StorageCodeDocsBucketArn}/*", "${StorageTelemetryBucketArn}/*"}, nil},
		{"Audit", []string{"${StorageAuditBucketArn}/*"}, []string{"s3:DeleteObject", "s3:BypassGovernanceRetention"}},
		{"StorageKey", []string{"${KeysStorageKeyArn}"}, []string{"kms:Encrypt"}},
		{"FieldEncryption", []string{"${KeysApplicationKeyArn}"}, nil},
		{"Metering", []string{"*"}, nil},
	} {
		s := statement(t, d, "CoreApiRole", test.sid)
		if diff := cmp.Diff(test.resources, texts(at(s, "Resource"))); diff != "" {
			t.Errorf("%s: resources (-want +got):\n%s", test.sid, diff)
		}
		for _, action := range test.without {
			if slices.Contains(texts(at(s, "Action")), action) {
				t.Errorf("%s allows %s", test.sid, action)
			}
		}
	}
}

// Reading an encrypted bucket needs its key.
func TestInferencePolicies(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, withGPU(config.NodeGroup{Max: 1})), architecture.Identity)
	s := statement(t, d, "InferenceRole", "Decrypt")
	if got := text(s); got != `{"Action":"kms:Decrypt","Effect":"Allow","Resource":{"Ref":"KeysStorageKeyArn"},"Sid":"Decrypt"}` {
		t.Errorf("decrypt: %s", got)
	}
	if got := texts(at(statement(t, d, "InferenceRole", "Read"), "Action")); !slices.Equal(got, []string{"s3:GetObject"}) {
		t.Errorf("read: %v", got)
	}
}

// What sets the application's account reads two secrets, and what collects telemetry
// writes to one bucket, from which it can't read.
func TestRolesOfOurs(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Identity)
	for _, tt := range []struct {
		role, sid          string
		actions, resources []string
	}{
		{"DatabaseSetupRole", "Database", []string{"secretsmanager:GetSecretValue"}, []string{"${DatabaseApplicationSecretArn}", "${DatabaseMasterSecretArn}"}},
		{"DatabaseSetupRole", "DatabaseKey", []string{"kms:Decrypt"}, []string{"${KeysSecretsKeyArn}"}},
		{"TelemetryCollectorRole", "Write", []string{"s3:AbortMultipartUpload", "s3:PutObject"}, []string{"${StorageTelemetryBucketArn}/*"}},
		{"TelemetryCollectorRole", "StorageKey", []string{"kms:Decrypt", "kms:GenerateDataKey"}, []string{"${KeysStorageKeyArn}"}},
	} {
		s := statement(t, d, tt.role, tt.sid)
		if diff := cmp.Diff([][]string{tt.actions, tt.resources}, [][]string{texts(at(s, "Action")), texts(at(s, "Resource"))}); diff != "" {
			t.Errorf("%s/%s (-want +got):\n%s", tt.role, tt.sid, diff)
		}
	}
	for role, n := range map[string]int{"DatabaseSetupRole": 2, "TelemetryCollectorRole": 2} {
		if got := strings.Count(text(at(d.properties(t, role, "AWS::IAM::Role"), "Policies")), `"Sid"`); got != n {
			t.Errorf("%s has %d statements, want %d", role, got, n)
		}
	}
}

func TestExternalSecretsWithoutSignOn(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t, func(c *config.Config) {
		c.Access.SSO = config.SSO{}
		c.Deviations = map[string]string{architecture.NoSSO: "An application proxy signs users on."}
	}), architecture.Identity)
	got := text(at(d.properties(t, "ExternalSecretsRole", "AWS::IAM::Role"), "Policies"))
	if strings.Contains(got, "SignOn") {
		t.Errorf("reads secrets of single sign-on: %s", got)
	}
}

func TestPermissionBoundary(t *testing.T) {
	t.Parallel()
	const boundary = "arn:aws:iam::123456789012:policy/boundary"
	for name, want := range map[string]string{"set": boundary, "not set": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := planned(t, withGPU(config.NodeGroup{Max: 1}), func(c *config.Config) { c.PermissionBoundary = want })
			everyRole(t, a, func(stack architecture.StackName, id string, role object) {
				if got := text(role["PermissionsBoundary"]); got != want {
					t.Errorf("%s in %s is bounded by %q, want %q", id, stack, got, want)
				}
			})
		})
	}
}

// IAM counts the characters of all inline policies of a role together, without
// white space.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
func TestInlinePolicySize(t *testing.T) {
	t.Parallel()
	const limit = 10_240
	a := planned(t, withGPU(config.NodeGroup{Max: 1}), func(c *config.Config) {
		c.Name, c.Region = "a-name-of-24-characters1", "ap-southeast-1"
		for _, arn := range []*string{&c.Access.SSO.Web.SecretARN, &c.Access.SSO.Admin.SecretARN} {
			*arn = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:" + strings.Repeat("s", 400) + "-AbCdEf"
		}
	})
	everyRole(t, a, func(stack architecture.StackName, id string, role object) {
		total := 0
		policies, _ := role["Policies"].([]any)
		for _, p := range policies {
			// An ARN that replaces a reference is longer than the reference by
			// less than this.
			body := text(at(p, "PolicyDocument"))
			total += len(body) + 80*strings.Count(body, `"Ref"`)
		}
		if total > limit {
			t.Errorf("%s in %s has %d characters of inline policies, more than %d", id, stack, total, limit)
		}
	})
}

// statement is the one with that id among a role's policies.
func statement(t *testing.T, d document, role, sid string) any {
	t.Helper()
	policies, _ := d.properties(t, role, "AWS::IAM::Role")["Policies"].([]any)
	for _, p := range policies {
		statements, _ := at(p, "PolicyDocument", "Statement").([]any)
		for _, s := range statements {
			if at(s, "Sid") == sid {
				return s
			}
		}
	}
	t.Fatalf("%s has no statement %s", role, sid)
	return nil
}
