package access

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// assumed are the permissions of types whose handlers AWS publishes none of:
// those of the service's operations.
var assumed = map[string]map[string][]string{
	"AWS::EC2::EIPAssociation": {
		"create": {"ec2:AssociateAddress", "ec2:DescribeAddresses"},
		"read":   {"ec2:DescribeAddresses"},
		"delete": {"ec2:DisassociateAddress", "ec2:DescribeAddresses"},
	},
	"AWS::EC2::VPCCidrBlock": {
		"create": {"ec2:AssociateVpcCidrBlock", "ec2:DescribeVpcs"},
		"read":   {"ec2:DescribeVpcs"},
		"delete": {"ec2:DisassociateVpcCidrBlock", "ec2:DescribeVpcs"},
	},
	"AWS::Route53::RecordSet": {
		"create": {"route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"},
		"update": {"route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"},
		"delete": {"route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"},
	},
	"AWS::SNS::TopicPolicy": {
		"create": {"sns:SetTopicAttributes"},
		"update": {"sns:SetTopicAttributes"},
		"delete": {"sns:SetTopicAttributes"},
	},
}

// Assumed tells that AWS publishes no permissions of the type's handlers, so
// that those of the service's operations stand for them.
func Assumed(typ string) bool { return assumed[typ] != nil && facts().Handlers[typ] == nil }

// Fallbacks are the actions that stand in where AWS publishes none.
func Fallbacks() []string {
	var out []string
	for _, handlers := range assumed {
		for _, actions := range handlers {
			out = append(out, actions...)
		}
	}
	return out
}

// published are the permissions of a handler that AWS has as actions. A
// pattern stands for those of the facts that it matches.
func (f *Facts) published(typ, handler string) []string {
	from := f.Handlers[typ]
	if from == nil {
		from = assumed[typ]
	}
	var out []string
	for _, name := range from[handler] {
		if !strings.HasSuffix(name, "*") {
			if a := f.Name(name); a != "" {
				out = append(out, a)
			}
			continue
		}
		for a := range f.Actions {
			if ok, err := path.Match(name, a); err == nil && ok {
				out = append(out, a)
			}
		}
	}
	return out
}

// permissions are the actions that running a handler needs. CloudFormation
// reads a resource after it has made or changed it.
func (f *Facts) permissions(typ, handler string) []string {
	return f.perHandler[[2]string{typ, handler}]
}

func (f *Facts) prepare() {
	f.perHandler = map[[2]string][]string{}
	for _, types := range []map[string]map[string][]string{f.Handlers, assumed} {
		for typ := range types {
			for _, handler := range []string{"create", "read", "update", "delete"} {
				list := f.published(typ, handler)
				if handler == "create" || handler == "update" {
					list = append(list, f.published(typ, "read")...)
				}
				slices.Sort(list)
				f.perHandler[[2]string{typ, handler}] = slices.Compact(list)
			}
		}
	}
}

// Handler are the permissions that CloudFormation needs to run a handler: those
// that AWS publishes in the type's schema, all of them, whether the handler
// comes to use them or not.
//
// Each is asked on the resource itself and on what its properties name, as far
// as AWS lists these types for the action; an action that AWS lists resource
// types for, none of which the resource is or names, has nothing to work on and
// is not asked for. So the sandbox asks for more than a handler that skips a
// call, and for nothing that a policy can't be written for.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html#schema-properties-handlers
func Handler(tx *account.Tx, c account.Change) []Demand {
	return HandlerOf(tx, c, func(string) bool { return true })
}

// HandlerOf is [Handler] for the actions that only accepts.
func HandlerOf(tx *account.Tx, c account.Change, only func(action string) bool) []Demand {
	f := facts()
	h := &handling{tx: tx, change: c, facts: f}
	actions := f.permissions(c.Type, c.Handler)
	out := make([]Demand, 0, len(actions))
	for _, a := range actions {
		if only(a) {
			out = append(out, h.demands(a)...)
		}
	}
	return out
}

// handling is a handler while its demands are made out.
type handling struct {
	tx     *account.Tx
	change account.Change
	facts  *Facts

	read  bool
	arns  []string
	named map[string][]target // by the facts' resource types
	own   *target
	tags  map[string]string
	keys  []string
}

func (h *handling) demands(action string) []Demand {
	a := h.facts.Actions[action]
	service, _, _ := strings.Cut(action, ":")
	if len(a.On)+len(a.Maybe) == 0 {
		return []Demand{{Action: action, Resources: []string{"*"}, Context: h.context(action, nil)}}
	}
	var on []target
	if special, ok := h.special(action); ok {
		on = special
	} else {
		// Types that differ in what follows the slash are alternatives.
		heads := map[string]bool{}
		for _, t := range a.On {
			head, _, _ := strings.Cut(t, "/")
			l := h.targets(action, service+":"+t)
			heads[head] = heads[head] || len(l) > 0
			on = append(on, l...)
		}
		for _, found := range heads {
			if !found {
				return nil
			}
		}
		for _, t := range a.Maybe {
			l := h.targets(action, service+":"+t)
			if len(a.On) == 0 && len(l) > 0 && service+":"+t == kinds[h.change.Type].iam {
				// Of many that it may work on, as tagging does, it is this.
				on = l
				break
			}
			on = append(on, l...)
		}
	}
	var out []Demand
	for i, t := range on {
		if !slices.ContainsFunc(on[:i], func(x target) bool { return x.arn == t.arn }) {
			out = append(out, Demand{Action: action, Resources: []string{t.arn}, Context: h.context(action, t.res)})
		}
	}
	return out
}

// context are the condition keys of a demand.
func (h *handling) context(action string, res *account.Resource) map[string][]string {
	ctx := map[string][]string{}
	if !h.change.Role {
		// Of a call that a service makes on behalf of its caller.
		// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-calledvia
		ctx["aws:CalledVia"], ctx["aws:CalledViaFirst"], ctx["aws:CalledViaLast"] = calledVia, calledVia, calledVia
		ctx["aws:ViaAWSService"] = isTrue
	}
	h.look()
	tests := h.facts.tested(action)
	if h.change.Handler != "delete" && len(h.keys) > 0 && tests.tagKeys {
		ctx["aws:TagKeys"] = h.keys
		if tests.requestTags {
			for k, v := range h.tags {
				ctx["aws:RequestTag/"+k] = []string{v}
			}
		}
	}
	if res != nil {
		resourceTags(ctx, tests, res.Tags)
	}
	if strings.HasPrefix(action, "kms:") {
		// A service uses the key in the caller's name, and makes grants for
		// itself.
		// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
		if tests.callerAccount {
			ctx["kms:CallerAccount"] = []string{h.tx.AccountID()}
		}
		if s := users[h.change.Type]; s != "" {
			ctx["kms:ViaService"] = []string{s + "." + h.tx.Region() + ".amazonaws.com"}
			if h.facts.Tests(action, "kms:GrantIsForAWSResource") {
				ctx["kms:GrantIsForAWSResource"] = isTrue
			}
		}
	}
	switch action {
	case "iam:PassRole":
		if s := passedTo[h.change.Type]; s != "" {
			ctx["iam:PassedToService"] = []string{s}
		}
	case "iam:CreateServiceLinkedRole":
		if s := linked[h.change.Type]; s != "" {
			ctx["iam:AWSServiceName"] = []string{s}
		}
	case "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRolePermissionsBoundary":
		b := props.Str(h.change.Props["PermissionsBoundary"])
		if b == "" && res != nil {
			b = props.Str(res.Props["PermissionsBoundary"])
		}
		if b != "" {
			ctx["iam:PermissionsBoundary"] = []string{b}
		}
	}
	return ctx
}

var (
	calledVia = []string{"cloudformation.amazonaws.com"}
	isTrue    = []string{"true"}
)

// users are the services that use keys for resources.
var users = map[string]string{
	"AWS::Backup::BackupVault":    "backup",
	"AWS::ECR::Repository":        "ecr",
	"AWS::EKS::Cluster":           "eks",
	"AWS::RDS::DBInstance":        "rds",
	"AWS::S3::Bucket":             "s3",
	"AWS::SecretsManager::Secret": "secretsmanager",
}

// passedTo are the services that resources hand roles to.
var passedTo = map[string]string{
	"AWS::Backup::BackupSelection": "backup.amazonaws.com",
	"AWS::EC2::FlowLog":            "vpc-flow-logs.amazonaws.com",
	"AWS::EKS::Addon":              "eks.amazonaws.com",
	"AWS::EKS::Cluster":            "eks.amazonaws.com",
	"AWS::EKS::Nodegroup":          "eks.amazonaws.com",
	"AWS::IAM::InstanceProfile":    "ec2.amazonaws.com",
	"AWS::RDS::DBInstance":         "monitoring.rds.amazonaws.com",
}

// linked are the services whose service-linked roles resources bring about.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-services-that-work-with-iam.html
var linked = map[string]string{
	"AWS::AutoScaling::AutoScalingGroup":        "autoscaling.amazonaws.com",
	"AWS::Backup::BackupSelection":              "backup.amazonaws.com",
	"AWS::EC2::FlowLog":                         "delivery.logs.amazonaws.com",
	"AWS::EKS::Cluster":                         "eks.amazonaws.com",
	"AWS::EKS::Nodegroup":                       "eks-nodegroup.amazonaws.com",
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "elasticloadbalancing.amazonaws.com",
	"AWS::RDS::DBInstance":                      "rds.amazonaws.com",
	"AWS::RDS::DBSubnetGroup":                   "rds.amazonaws.com",
	"AWS::WAFv2::LoggingConfiguration":          "wafv2.amazonaws.com",
}

// special are the resources of actions that work on what the properties don't
// name.
func (h *handling) special(action string) ([]target, bool) {
	some := func(iam ...string) []target {
		var out []target
		for _, t := range iam {
			out = append(out, target{arn: arnOf(h.tx, t, "*")})
		}
		return out
	}
	switch action {
	case "ec2:RunInstances":
		// A service that starts instances by a launch template has the caller's
		// permission to do so checked.
		// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
		on := some("ec2:image", "ec2:instance", "ec2:network-interface", "ec2:security-group", "ec2:subnet", "ec2:volume")
		return append(on, h.targets(action, "ec2:launch-template")...), true
	case "iam:CreateServiceLinkedRole":
		if s := linked[h.change.Type]; s != "" {
			return []target{{arn: h.tx.GlobalARN("iam", "role/aws-service-role/"+s+"/*")}}, true
		}
	case "secretsmanager:CreateSecret", "secretsmanager:TagResource":
		if h.change.Type == "AWS::RDS::DBInstance" {
			if !props.Bool(h.change.Props, false, "ManageMasterUserPassword") {
				return nil, true
			}
			return []target{{arn: h.tx.ARN("secretsmanager", "secret:rds!db-*")}}, true
		}
	case "s3:DeleteObject", "s3:PutObjectAcl":
		if own := h.self(); h.change.Type == "AWS::S3::Bucket" && own != nil {
			return []target{{arn: own.arn + "/*"}}, true
		}
	case "route53:GetChange":
		return []target{{arn: "arn:" + h.tx.Partition() + ":route53:::change/*"}}, true
	case "route53:ChangeTagsForResource":
		return h.targets(action, "route53:hostedzone"), true
	}
	return nil, false
}

// targets are the resources of a type of the facts that the resource is or
// that its properties name.
func (h *handling) targets(action, iam string) []target {
	h.look()
	var out []target
	if mine := kinds[h.change.Type].iam; mine != "" {
		if own := h.self(); own != nil && h.facts.Resources[iam].Is(own.arn) && (iam == mine || strings.Contains(iam, "/") && head(iam) == head(mine)) {
			t := *own
			if iam == "logs:log-group" && strings.Contains(strings.ToLower(action), "tag") {
				t.arn = strings.TrimSuffix(t.arn, ":log-stream:")
			}
			return []target{t}
		}
	}
	out = append(out, h.named[iam]...)
	for _, a := range h.arns {
		if r := h.facts.Resources[iam]; r != nil && r.Is(a) {
			out = append(out, target{arn: a, res: h.owner(iam, a)})
		}
	}
	return out
}

// owner is the resource of an ARN whose tags policies may test.
func (h *handling) owner(iam, arn string) *account.Resource {
	if typ := typeOf()[iam]; typ != "" {
		return find(h.tx, typ, arn).res
	}
	return nil
}

func head(iam string) string {
	h, _, _ := strings.Cut(iam, "/")
	return h
}

// look reads the properties once.
func (h *handling) look() {
	if h.read {
		return
	}
	h.read = true
	h.named = map[string][]target{}
	h.tags = maps.Clone(h.change.Tags)
	if h.tags == nil {
		h.tags = map[string]string{}
	}
	for _, p := range []string{"Tags", "BackupPlanTags", "BackupVaultTags", "HostedZoneTags"} {
		if h.change.Props[p] != nil {
			maps.Copy(h.tags, props.Tags(h.change.Props, p))
		}
	}
	h.keys = slices.Sorted(maps.Keys(h.tags))
	h.collect("", h.change.Props)
	if h.change.Type == "AWS::KMS::Alias" && h.change.Resource != nil {
		h.name("kms:key", props.Str(h.change.Resource.Props["TargetKeyId"]))
	}
}

// references are properties that name a resource of that type of the facts.
var references = map[string]string{
	"BackupPlanId": "backup:backupPlan", "BackupVaultName": "backup:backupVault", "TargetBackupVault": "backup:backupVault",
	"ClusterName": "eks:cluster", "HostedZoneId": "route53:hostedzone", "Bucket": "s3:bucket",
	"TargetKeyId": "kms:key", "KmsKeyId": "kms:key", "KMSKeyId": "kms:key", "KMSMasterKeyID": "kms:key", "KmsMasterKeyId": "kms:key",
	"EncryptionKeyArn": "kms:key", "KmsKey": "kms:key", "KeyArn": "kms:key", "PerformanceInsightsKMSKeyId": "kms:key",
	"DBSubnetGroupName": "rds:subgrp", "DBParameterGroupName": "rds:pg", "Roles": "iam:role", "Topics": "sns:topic",
	"LaunchTemplateName": "ec2:launch-template",
}

func (h *handling) collect(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			// Policies name whom they allow, not what the handler works on.
			if k != "ManagedPolicyArns" && strings.Contains(k, "Polic") {
				continue
			}
			h.collect(k, v[k])
		}
	case []any:
		for _, x := range v {
			h.collect(key, x)
		}
	case string:
		if iam, ok := references[key]; ok && iam != kinds[h.change.Type].iam {
			h.name(iam, v)
			return
		}
		if strings.HasPrefix(v, "arn:") {
			if !slices.Contains(h.arns, v) {
				h.arns = append(h.arns, v)
			}
			return
		}
		if t, iam := byID(h.tx, v); iam != "" {
			h.named[iam] = append(h.named[iam], t)
		}
	}
}

// name takes note of a resource that a property names.
func (h *handling) name(iam, ref string) {
	if ref == "" {
		return
	}
	if iam == "kms:key" {
		if strings.Contains(ref, "alias/aws/") {
			return
		}
		c := &call{tx: h.tx}
		h.named[iam] = append(h.named[iam], c.key(ref))
		return
	}
	if typ := typeOf()[iam]; typ != "" {
		h.named[iam] = append(h.named[iam], find(h.tx, typ, ref))
	}
}

// names are the properties that name resources of a type.
var names = map[string]string{
	"AWS::AutoScaling::AutoScalingGroup": "AutoScalingGroupName", "AWS::Backup::BackupVault": "BackupVaultName", "AWS::CloudWatch::Alarm": "AlarmName",
	"AWS::ECR::Repository": "RepositoryName", "AWS::EKS::Cluster": "Name",
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "Name", "AWS::ElasticLoadBalancingV2::TargetGroup": "Name",
	"AWS::IAM::InstanceProfile": "InstanceProfileName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName", "AWS::IAM::Role": "RoleName",
	"AWS::KMS::Alias": "AliasName", "AWS::Logs::LogGroup": "LogGroupName",
	"AWS::RDS::DBInstance": "DBInstanceIdentifier", "AWS::RDS::DBParameterGroup": "DBParameterGroupName", "AWS::RDS::DBSubnetGroup": "DBSubnetGroupName",
	"AWS::S3::Bucket": "BucketName", "AWS::SNS::Topic": "TopicName", "AWS::SSM::Parameter": "Name", "AWS::SecretsManager::Secret": "Name",
	"AWS::WAFv2::IPSet": "Name", "AWS::WAFv2::WebACL": "Name",
}

// self is the resource itself: before it is made, by the ARN that it will have,
// with asterisks for what only AWS knows. Nil if its type has no ARN.
func (h *handling) self() *target {
	if h.own != nil {
		return h.own
	}
	c := h.change
	k, ok := kinds[c.Type]
	if !ok {
		return nil
	}
	if c.Resource != nil {
		h.own = &target{ARN(h.tx, c.Resource), c.Resource}
		return h.own
	}
	name := "*"
	if p, ok := names[c.Type]; ok {
		if name = props.Str(c.Props[p]); name == "" {
			// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-name.html
			name = c.Stack + "-" + c.LogicalID + "-*"
		}
		if strings.HasPrefix(c.Type, "AWS::RDS::") || c.Type == "AWS::S3::Bucket" {
			name = strings.ToLower(name)
		}
	}
	h.own = &target{arn: h.future(k.iam, name)}
	return h.own
}

func (h *handling) future(iam, name string) string {
	p := h.change.Props
	joined := func(parts ...string) string { return h.tx.ARN("eks", strings.Join(parts, "/")) }
	under := func(parent, kind string) string {
		if a := props.Str(p[parent]); a != "" {
			_, rest, _ := strings.Cut(a[strings.LastIndexByte(a, ':')+1:], "/")
			return h.tx.ARN("elasticloadbalancing", kind+"/"+rest+"/*")
		}
		return arnOf(h.tx, iam, name)
	}
	switch iam {
	case "eks:nodegroup":
		return joined("nodegroup", props.Str(p["ClusterName"]), or(props.Str(p["NodegroupName"]), "*"), "*")
	case "eks:addon":
		return joined("addon", props.Str(p["ClusterName"]), props.Str(p["AddonName"]), "*")
	case "eks:access-entry":
		parts := strings.SplitN(props.Str(p["PrincipalArn"]), ":", 6)
		if len(parts) < 6 {
			break
		}
		kind, principal, _ := strings.Cut(parts[5], "/")
		return joined("access-entry", props.Str(p["ClusterName"]), kind, parts[4], principal[strings.LastIndexByte(principal, '/')+1:], "*")
	case "eks:identityproviderconfig":
		return joined("identityproviderconfig", props.Str(p["ClusterName"]), "oidc", "*", "*")
	case "elasticloadbalancing:listener/app":
		return under("LoadBalancerArn", "listener")
	case "elasticloadbalancing:listener-rule/app":
		return under("ListenerArn", "listener-rule")
	case "iam:role", "iam:instance-profile", "iam:policy":
		return h.tx.GlobalARN("iam", strings.TrimPrefix(iam, "iam:")+or(props.Str(p["Path"]), "/")+name)
	case "iam:oidc-provider":
		return h.tx.GlobalARN("iam", "oidc-provider/"+strings.TrimSuffix(strings.TrimPrefix(props.Str(p["Url"]), "https://"), "/"))
	case "wafv2:webacl", "wafv2:ipset":
		return h.tx.ARN("wafv2", "regional/"+strings.TrimPrefix(iam, "wafv2:")+"/"+name+"/*")
	}
	return arnOf(h.tx, iam, name)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
