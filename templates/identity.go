package templates

import (
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/iam"
)

// identity is the IAM roles of service accounts, but for vpc-cni's, which the
// stack cluster holds since nodes need it.
func identity(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Identity)
	provider := t.Input(string(architecture.Cluster), "OidcProviderArn")
	issuer := t.Input(string(architecture.Cluster), "OidcIssuer")
	for _, s := range a.ServiceAccounts {
		var policies []iam.Policy
		switch s.Role {
		case architecture.RoleCoreAPI:
			policies = coreAPIPolicies(t, a)
		case architecture.RoleDatabaseSetup:
			policies = databaseSetupPolicies(t, a)
		case architecture.RoleTelemetryCollector:
			policies = telemetryCollectorPolicies(t, a)
		case architecture.RoleInference:
			policies = inferencePolicies(t)
		case architecture.RoleExternalSecrets:
			policies = externalSecretsPolicies(t, a)
		case architecture.RoleLoadBalancerController:
			policies = loadBalancerControllerPolicies(t, a)
		case architecture.RoleClusterAutoscaler:
			policies = clusterAutoscalerPolicies(a)
		case architecture.RoleEBSCSI:
			policies = ebsCSIPolicies(t, a)
		default:
			continue
		}
		h := t.Add(cfn.LogicalID(camel(s.Role)+"Role"), serviceAccountRole(a, s, provider, issuer, policies...))
		t.Output(camel(s.Role)+"RoleArn", h.Att("Arn"))
	}
	return t
}

// serviceAccountRole is the role of one service account.
func serviceAccountRole(a *architecture.Architecture, s architecture.ServiceAccount, provider, issuer cfn.Value[string], policies ...iam.Policy) iam.Role {
	return role(a, s.Role, "Service account "+s.Namespace+"/"+s.Name, serviceAccountTrust(s, provider, issuer), policies...)
}

// serviceAccountTrust lets pods of one service account assume a role, and
// nothing else. The issuer is part of the conditions' keys, which only
// CloudFormation knows, so the policy is text.
// https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
func serviceAccountTrust(s architecture.ServiceAccount, provider, issuer cfn.Value[string]) cfn.Value[string] {
	return cfn.SubJSON(cfn.Policy{Statement: []cfn.Statement{{
		Principal: cfn.Principal{Federated: cfn.ListOf(provider)},
		Action:    cfn.L("sts:AssumeRoleWithWebIdentity"),
		Condition: cfn.Conditions{"StringEquals": {
			"${Issuer}:aud": "sts.amazonaws.com",
			"${Issuer}:sub": "system:serviceaccount:" + s.Namespace + ":" + s.Name,
		}},
	}}}, cfn.Vars{"Issuer": issuer})
}

// managedPolicies are policies that AWS keeps.
func managedPolicies(names ...string) cfn.List[string] {
	arns := make([]cfn.Value[string], len(names))
	for i, n := range names {
		arns[i] = cfn.Sub("arn:${AWS::Partition}:iam::aws:policy/" + n)
	}
	return cfn.ListOf(arns...)
}

// below is an ARN with a path appended.
func below(arn cfn.Value[string], path string) cfn.Value[string] {
	return cfn.Join("", arn, cfn.V(path))
}

// ours is the condition that a resource carries the deployment's tag, or with
// "aws:RequestTag" that a request gives it. It keeps deployments in one account
// apart.
func ours(a *architecture.Architecture, key string) cfn.Conditions {
	return cfn.Conditions{"StringEquals": {key + "/" + architecture.DeploymentTag: a.Name()}}
}

const (
	resourceTag = "aws:ResourceTag"
	requestTag  = "aws:RequestTag"
)

// via is the condition that a KMS key is used through a service.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
func via(a *architecture.Architecture, service string) cfn.Conditions {
	return cfn.Conditions{"StringEquals": {"kms:ViaService": service + "." + a.Config.Region + ".amazonaws.com"}}
}

// coreAPIPolicies are what the vendor lists for core-api: its buckets, its keys
// and metering, and reading Parameter Store besides. Audit records can be
// written but not removed.
// https://docs.poolside.ai/deployment/cloud/aws-eks/deployment-security/iam
func coreAPIPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	var buckets []cfn.Value[string]
	for _, p := range dataBuckets() {
		buckets = append(buckets, bucketARN(t, p))
	}
	return []iam.Policy{
		policy("storage",
			cfn.Statement{Sid: "List", Action: cfn.L("s3:GetBucketLocation", "s3:ListBucket"), Resource: cfn.ListOf(buckets...)},
			cfn.Statement{Sid: "Models", Action: cfn.L("s3:GetObject"), Resource: cfn.ListOf(below(bucketARN(t, architecture.BucketModels), "/*"))},
			cfn.Statement{
				Sid:    "Data",
				Action: cfn.L("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"),
				Resource: cfn.ListOf(
					below(bucketARN(t, architecture.BucketCodeDocs), "/*"),
					below(bucketARN(t, architecture.BucketTelemetry), "/*"),
				),
			},
			cfn.Statement{
				Sid:      "Audit",
				Action:   cfn.L("s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"),
				Resource: cfn.ListOf(below(bucketARN(t, architecture.BucketAudit), "/*")),
			},
			cfn.Statement{
				Sid:       "StorageKey",
				Action:    cfn.L("kms:Decrypt", "kms:GenerateDataKey"),
				Resource:  cfn.ListOf(keyARN(t, architecture.KeyStorage)),
				Condition: via(a, "s3"),
			},
		),
		policy("application",
			cfn.Statement{
				Sid:      "FieldEncryption",
				Action:   cfn.L("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
				Resource: cfn.ListOf(keyARN(t, architecture.KeyApplication)),
			},
			cfn.Statement{Sid: "Metering", Action: cfn.L("aws-marketplace:MeterUsage"), Resource: cfn.L("*")},
			cfn.Statement{
				Sid:    "Parameters",
				Action: cfn.L("ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"),
				Resource: cfn.ListOf(
					arn("ssm", "parameter"+a.ParameterPath()),
					arn("ssm", "parameter"+a.ParameterPath()+"/*"),
				),
			},
		),
	}
}

// inferencePolicies let model servers read checkpoints, whose bucket is
// encrypted.
func inferencePolicies(t *cfn.Template) []iam.Policy {
	models := bucketARN(t, architecture.BucketModels)
	return []iam.Policy{policy("models",
		cfn.Statement{Sid: "List", Action: cfn.L("s3:GetBucketLocation", "s3:ListBucket"), Resource: cfn.ListOf(models)},
		cfn.Statement{Sid: "Read", Action: cfn.L("s3:GetObject"), Resource: cfn.ListOf(below(models, "/*"))},
		cfn.Statement{Sid: "Decrypt", Action: cfn.L("kms:Decrypt"), Resource: cfn.ListOf(keyARN(t, architecture.KeyStorage))},
	)}
}

// databaseSetupPolicies let the application's account in the database be made by the
// server's master, with the password that the application's secret has.
func databaseSetupPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	return []iam.Policy{policy("secrets", databaseSecrets(t, a, cfn.L("secretsmanager:GetSecretValue"), "ApplicationSecretArn", "MasterSecretArn")...)}
}

// telemetryCollectorPolicies let telemetry be written, and neither read nor removed.
func telemetryCollectorPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	return []iam.Policy{policy("telemetry",
		cfn.Statement{
			Sid:      "Write",
			Action:   cfn.L("s3:AbortMultipartUpload", "s3:PutObject"),
			Resource: cfn.ListOf(below(bucketARN(t, architecture.BucketTelemetry), "/*")),
		},
		cfn.Statement{
			Sid: "StorageKey",
			// An upload in parts is put together again, for which S3 decrypts.
			Action:    cfn.L("kms:Decrypt", "kms:GenerateDataKey"),
			Resource:  cfn.ListOf(keyARN(t, architecture.KeyStorage)),
			Condition: via(a, "s3"),
		},
	)}
}

// databaseSecrets let secrets of the stack database be read, by actions.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func databaseSecrets(t *cfn.Template, a *architecture.Architecture, actions cfn.List[string], outputs ...string) []cfn.Statement {
	var secrets []cfn.Value[string]
	for _, o := range outputs {
		secrets = append(secrets, t.Input(string(architecture.Database), o))
	}
	return []cfn.Statement{{
		Sid:      "Database",
		Action:   actions,
		Resource: cfn.ListOf(secrets...),
	}, {
		Sid:       "DatabaseKey",
		Action:    cfn.L("kms:Decrypt"),
		Resource:  cfn.ListOf(keyARN(t, architecture.KeySecrets)),
		Condition: via(a, "secretsmanager"),
	}}
}

// externalSecretsPolicies let the operator read the secrets of the database, the
// master's too since the vendor's core-api gets it by the operator, and those of single
// sign-on, and no others. The latter belong to the customer, and so may their keys:
// those are bound by the secret instead.
// https://docs.poolside.ai/deployment/cloud/aws-eks/deployment-security/kubernetes
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func externalSecretsPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	statements := databaseSecrets(t, a, cfn.L("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"), "ApplicationSecretArn", "MasterSecretArn")
	if sso := a.Config.Access.SSO; sso.Enabled {
		clients := []string{sso.Web.SecretARN, sso.Admin.SecretARN}
		slices.Sort(clients)
		key := via(a, "secretsmanager")
		key["StringEquals"]["kms:EncryptionContext:SecretARN"] = clients
		statements = append(statements,
			cfn.Statement{Sid: "SignOn", Action: cfn.L("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"), Resource: cfn.L(clients...)},
			cfn.Statement{Sid: "SignOnKeys", Action: cfn.L("kms:Decrypt"), Resource: cfn.ListOf(arn("kms", "key/*")), Condition: key},
		)
	}
	return []iam.Policy{policy("secrets", statements...)}
}

// loadBalancerControllerPolicies let the controller keep the targets of our
// target groups, and make load balancers for Ingress objects that charts bring.
// What it makes carries its cluster tag, and what it changes must, or ours. Web
// ACLs and Shield are not its affair: charts leave both off.
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/installation/
func loadBalancerControllerPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	const clusterTag = "/elbv2.k8s.aws/cluster"
	cluster := func(key string) cfn.Conditions {
		return cfn.Conditions{"StringEquals": {key + clusterTag: a.ClusterName()}}
	}
	created := func(key string, actions ...string) cfn.Conditions {
		c := cluster(requestTag)
		c["StringEquals"][key] = actions
		return c
	}
	elb := func(kinds ...string) cfn.List[string] {
		arns := make([]cfn.Value[string], len(kinds))
		for i, k := range kinds {
			arns[i] = arn("elasticloadbalancing", k+"/*")
		}
		return cfn.ListOf(arns...)
	}
	groups := cfn.ListOf(arn("ec2", "security-group/*"))
	vpc := cfn.Join("", cfn.Sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:vpc/"), vpcID(t))
	balancers := []string{"loadbalancer/app", "loadbalancer/net", "targetgroup"}
	listeners := []string{"listener/app", "listener/net", "listener-rule/app", "listener-rule/net"}
	return []iam.Policy{
		policy("bindings",
			// Describing can't be bound to resources.
			cfn.Statement{Sid: "Describe", Resource: cfn.L("*"), Action: cfn.L(
				"acm:ListCertificates",
				"ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones",
				"ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces",
				"ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
				"ec2:DescribeTags", "ec2:DescribeVpcs",
				"elasticloadbalancing:DescribeCapacityReservation",
				"elasticloadbalancing:DescribeListenerAttributes", "elasticloadbalancing:DescribeListenerCertificates",
				"elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancerAttributes",
				"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules",
				"elasticloadbalancing:DescribeSSLPolicies", "elasticloadbalancing:DescribeTags",
				"elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups",
				"elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTrustStores",
			)},
			cfn.Statement{
				Sid:       "OurTargets",
				Action:    cfn.L("elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"),
				Resource:  elb("targetgroup"),
				Condition: ours(a, resourceTag),
			},
		),
		policy("ingress",
			cfn.Statement{Sid: "Certificates", Action: cfn.L("acm:DescribeCertificate"), Resource: cfn.ListOf(arn("acm", "certificate/*"))},
			cfn.Statement{
				Sid:       "Create",
				Action:    cfn.L("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"),
				Resource:  elb(balancers...),
				Condition: cluster(requestTag),
			},
			cfn.Statement{
				Sid: "Change",
				Action: cfn.L(
					"elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:CreateListener",
					"elasticloadbalancing:CreateRule", "elasticloadbalancing:DeleteListener",
					"elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteRule",
					"elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:DeregisterTargets",
					"elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyListenerAttributes",
					"elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyRule",
					"elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes",
					"elasticloadbalancing:RegisterTargets", "elasticloadbalancing:RemoveListenerCertificates",
					"elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
					"elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
				),
				Resource:  elb(append(balancers, listeners...)...),
				Condition: cluster(resourceTag),
			},
			// The one change of rules that AWS binds to no tag.
			cfn.Statement{
				Sid:      "Reorder",
				Action:   cfn.L("elasticloadbalancing:SetRulePriorities"),
				Resource: elb("listener-rule/app", "listener-rule/net"),
			},
			cfn.Statement{
				Sid:      "Tag",
				Action:   cfn.L("elasticloadbalancing:AddTags"),
				Resource: elb(append(balancers, listeners...)...),
				Condition: created("elasticloadbalancing:CreateAction",
					"CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"),
			},
			cfn.Statement{
				Sid:       "Retag",
				Action:    cfn.L("elasticloadbalancing:AddTags"),
				Resource:  elb(append(balancers, listeners...)...),
				Condition: cluster(resourceTag),
			},
			cfn.Statement{Sid: "CreateGroup", Action: cfn.L("ec2:CreateSecurityGroup"), Resource: groups, Condition: cluster(requestTag)},
			cfn.Statement{Sid: "CreateGroupInVpc", Action: cfn.L("ec2:CreateSecurityGroup", "ec2:GetSecurityGroupsForVpc"), Resource: cfn.ListOf(vpc)},
			cfn.Statement{Sid: "TagGroup", Action: cfn.L("ec2:CreateTags"), Resource: groups, Condition: created("ec2:CreateAction", "CreateSecurityGroup")},
			cfn.Statement{
				Sid: "ChangeGroup",
				Action: cfn.L("ec2:AuthorizeSecurityGroupIngress", "ec2:CreateTags", "ec2:DeleteSecurityGroup",
					"ec2:DeleteTags", "ec2:RevokeSecurityGroupIngress"),
				Resource:  groups,
				Condition: cluster(resourceTag),
			},
			// EKS tags the cluster's own group, which all nodes carry.
			cfn.Statement{
				Sid:       "AdmitToNodes",
				Action:    cfn.L("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
				Resource:  groups,
				Condition: cfn.Conditions{"StringEquals": {resourceTag + "/kubernetes.io/cluster/" + a.ClusterName(): "owned"}},
			},
		),
	}
}

// clusterAutoscalerPolicies let the autoscaler find the Auto Scaling groups of the
// cluster's node groups, and give those a size. EKS tags them. What it asks of groups
// with launch configurations, or that choose types by attributes, is left out, since
// EKS makes none.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
func clusterAutoscalerPolicies(a *architecture.Architecture) []iam.Policy {
	return []iam.Policy{policy("scaling",
		// Describing can't be bound to resources.
		cfn.Statement{Sid: "Describe", Resource: cfn.L("*"), Action: cfn.L(
			"autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances",
			"autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags",
			"ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions",
		)},
		// Labels and taints of nodes that a group would have.
		cfn.Statement{Sid: "NodeGroups", Action: cfn.L("eks:DescribeNodegroup"), Resource: cfn.ListOf(arn("eks", "nodegroup/"+a.ClusterName()+"/*"))},
		cfn.Statement{
			Sid:       "Scale",
			Action:    cfn.L("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
			Resource:  cfn.ListOf(arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*")),
			Condition: cfn.Conditions{"StringEquals": {resourceTag + "/k8s.io/cluster-autoscaler/" + a.ClusterName(): "owned"}},
		},
	)}
}

// ebsCSIPolicies let the driver keep the volumes and snapshots of this
// deployment. The add-on is told to tag them, which is what binds it here;
// nodes' own volumes carry the deployment's tag too, but no volume name, and
// can't be deleted.
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/tagging.md
func ebsCSIPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	ec2 := func(kinds ...string) cfn.List[string] {
		arns := make([]cfn.Value[string], len(kinds))
		for i, k := range kinds {
			arns[i] = arn("ec2", k+"/*")
			if k == "snapshot" { // has no account in its ARN
				arns[i] = cfn.Sub("arn:${AWS::Partition}:ec2:${AWS::Region}::snapshot/*")
			}
		}
		return cfn.ListOf(arns...)
	}
	made := func(nameTag string) cfn.Conditions {
		c := ours(a, resourceTag)
		c["Null"] = map[string]any{resourceTag + "/" + nameTag: "false"}
		return c
	}
	created := ours(a, requestTag)
	created["StringEquals"]["ec2:CreateAction"] = []string{"CreateSnapshot", "CreateVolume"}
	grant := via(a, "ec2")
	grant["Bool"] = map[string]any{"kms:GrantIsForAWSResource": "true"}
	return []iam.Policy{policy("volumes",
		// Describing can't be bound to resources.
		cfn.Statement{Sid: "Describe", Resource: cfn.L("*"), Action: cfn.L(
			"ec2:DescribeAvailabilityZones", "ec2:DescribeInstanceTypes", "ec2:DescribeInstances", "ec2:DescribeSnapshots",
			"ec2:DescribeTags", "ec2:DescribeVolumeStatus", "ec2:DescribeVolumes", "ec2:DescribeVolumesModifications",
		)},
		cfn.Statement{Sid: "Create", Action: cfn.L("ec2:CreateVolume"), Resource: ec2("volume"), Condition: ours(a, requestTag)},
		cfn.Statement{Sid: "CreateFromSnapshot", Action: cfn.L("ec2:CreateVolume"), Resource: ec2("snapshot"), Condition: ours(a, resourceTag)},
		cfn.Statement{Sid: "Snapshot", Action: cfn.L("ec2:CreateSnapshot"), Resource: ec2("snapshot"), Condition: ours(a, requestTag)},
		cfn.Statement{
			Sid:       "Use",
			Action:    cfn.L("ec2:AttachVolume", "ec2:CreateSnapshot", "ec2:DetachVolume", "ec2:ModifyVolume"),
			Resource:  ec2("volume"),
			Condition: ours(a, resourceTag),
		},
		cfn.Statement{Sid: "Attach", Action: cfn.L("ec2:AttachVolume", "ec2:DetachVolume"), Resource: ec2("instance"), Condition: ours(a, resourceTag)},
		cfn.Statement{Sid: "Delete", Action: cfn.L("ec2:DeleteVolume"), Resource: ec2("volume"), Condition: made("CSIVolumeName")},
		cfn.Statement{Sid: "DeleteSnapshot", Action: cfn.L("ec2:DeleteSnapshot"), Resource: ec2("snapshot"), Condition: made("CSIVolumeSnapshotName")},
		cfn.Statement{Sid: "Tag", Action: cfn.L("ec2:CreateTags"), Resource: ec2("snapshot", "volume"), Condition: created},
		cfn.Statement{
			Sid: "Key",
			Action: cfn.L("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext",
				"kms:ReEncryptFrom", "kms:ReEncryptTo"),
			Resource:  cfn.ListOf(keyARN(t, architecture.KeyVolumes)),
			Condition: via(a, "ec2"),
		},
		cfn.Statement{Sid: "KeyGrant", Action: cfn.L("kms:CreateGrant"), Resource: cfn.ListOf(keyARN(t, architecture.KeyVolumes)), Condition: grant},
	)}
}
