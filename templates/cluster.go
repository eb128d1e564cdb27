package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/eks"
	"github.com/poolhouse/poolhouse/cfn/iam"
	"github.com/poolhouse/poolhouse/cfn/logs"
)

// CallerParameter, in the stack cluster, is the ARN of the IAM role or user
// that creates the deployment; of a role's session, the role. Whoever deploys
// fills it at creation and hands on the previous value ever after, so that an
// update by someone else takes nobody's access away. Without administrators in
// the configuration it must be filled; with them, [NoCaller] means none but
// those.
const CallerParameter = "CallerPrincipalArn"

// NoCaller is the value of [CallerParameter] for nobody. It is no empty string,
// since linters hold a parameter's default to what the property takes.
const NoCaller = "none"

// cluster is the EKS control plane, who may administer it, and what nodes need
// before they come.
func cluster(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Cluster)
	c := a.Config.Cluster

	controlPlane := role(a, "cluster", "Lets EKS run the control plane of "+a.ClusterName(),
		trust("eks.amazonaws.com", nil),
		policy("secrets", cfn.Statement{
			Action:   cfn.L("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"),
			Resource: cfn.ListOf(keyARN(t, architecture.KeyKubernetes)),
		}))
	controlPlane.ManagedPolicyArns = managedPolicies("AmazonEKSClusterPolicy")
	controlPlaneRole := t.Add("ClusterRole", controlPlane)

	res := eks.Cluster{
		Name:    cfn.V(a.ClusterName()),
		Version: cfn.V(c.Version),
		RoleArn: controlPlaneRole.Att("Arn"),
		// Add-ons are managed, the ones below and those of the stack addons.
		BootstrapSelfManagedAddons: cfn.V(false),
		AccessConfig: &eks.AccessConfig{
			AuthenticationMode:                      cfn.V("API"),
			BootstrapClusterCreatorAdminPermissions: cfn.V(false),
		},
		EncryptionConfig: []eks.EncryptionConfig{{
			Provider:  &eks.Provider{KeyArn: keyARN(t, architecture.KeyKubernetes)},
			Resources: cfn.L("secrets"),
		}},
		KubernetesNetworkConfig: &eks.KubernetesNetworkConfig{
			IpFamily:        cfn.V("ipv4"),
			ServiceIpv4Cidr: cfn.V(c.ServiceCIDR),
		},
		ResourcesVpcConfig: &eks.ResourcesVpcConfig{
			SubnetIds:             subnetIDs(t, architecture.ControlPlane),
			SecurityGroupIds:      cfn.ListOf(securityGroupID(t, groupControlPlane)),
			EndpointPrivateAccess: cfn.V(true),
			EndpointPublicAccess:  cfn.V(len(c.PublicAccessCIDRs) > 0),
		},
		// AWS never upgrades on its own while support lasts; the standard policy
		// would, at the end of standard support.
		UpgradePolicy:      &eks.UpgradePolicy{SupportType: cfn.V("EXTENDED")},
		ZonalShiftConfig:   &eks.ZonalShiftConfig{Enabled: cfn.V(true)},
		DeletionProtection: protection(t),
		Tags:               named(a, "cluster"),
	}
	if len(c.PublicAccessCIDRs) > 0 {
		res.ResourcesVpcConfig.PublicAccessCidrs = cfn.L(c.PublicAccessCIDRs...)
	}
	var before []cfn.Handle
	if len(c.Logs) > 0 {
		// EKS would make the group without key and retention.
		before = append(before, t.Add("ClusterLogGroup", logs.LogGroup{
			LogGroupName:    cfn.V(a.ClusterLogGroup()),
			KmsKeyId:        keyARN(t, architecture.KeyLogs),
			RetentionInDays: cfn.V(c.LogRetentionDays),
		}))
		res.Logging = &eks.Logging{ClusterLogging: &eks.ClusterLogging{}}
		for _, log := range c.Logs {
			res.Logging.ClusterLogging.EnabledTypes = append(res.Logging.ClusterLogging.EnabledTypes, eks.LoggingTypeConfig{Type: cfn.V(log)})
		}
	}
	h := t.Add("Cluster", res, cfn.DependsOn(before...))

	administrators(t, a, h)

	// EKS's issuer has a certificate that IAM trusts by itself: no thumbprint.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html
	provider := t.Add("OidcProvider", iam.OIDCProvider{
		Url:          h.Att("OpenIdConnectIssuerUrl"),
		ClientIdList: cfn.L("sts.amazonaws.com"),
		Tags:         named(a, "cluster"),
	})
	issuer := cfn.Select(1, cfn.Split("//", h.Att("OpenIdConnectIssuerUrl")))

	if s, ok := a.Account(architecture.RoleVPCCNI); ok {
		r := t.Add("VpcCniRole", serviceAccountRole(a, s, provider.Ref(), issuer, vpcCNIPolicies(t, a)...))
		cni := addon(a, h.Ref(), "vpc-cni")
		cni.ServiceAccountRoleArn = r.Att("Arn")
		// https://github.com/aws/amazon-vpc-cni-k8s#additional_eni_tags-v160
		env := map[string]any{"ADDITIONAL_ENI_TAGS": jsonObject(a.Tags)}
		values := map[string]any{"enableNetworkPolicy": "true", "env": env}
		if _, ok := a.PodRange(); ok {
			podNetwork(t, a, h, env, values)
		}
		cni.ConfigurationValues = cfn.SubJSON(values)
		t.Add("VpcCni", cni)
		t.Output("VpcCniRoleArn", r.Att("Arn"))
	}
	t.Add("KubeProxy", addon(a, h.Ref(), "kube-proxy"))
	// Roles here are bound by the OIDC provider. The agent is for charts that
	// want associations instead, and comes when the configuration names it.
	if c.AddonVersions["eks-pod-identity-agent"] != "" {
		t.Add("PodIdentityAgent", addon(a, h.Ref(), "eks-pod-identity-agent"))
	}

	t.Output("Name", h.Ref())
	t.Output("Arn", h.Att("Arn"))
	t.Output("Endpoint", h.Att("Endpoint"))
	t.Output("CertificateAuthority", h.Att("CertificateAuthorityData"))
	t.Output("ClusterSecurityGroupId", h.Att("ClusterSecurityGroupId"), cfn.Description("Made by EKS, for control plane and nodes"))
	t.Output("OidcProviderArn", provider.Ref())
	t.Output("OidcIssuer", issuer, cfn.Description("Without https://"))
	return t
}

// podNetwork makes the network plugin give pods addresses of their own range:
// an ENIConfig for each node group, which its nodes name by a label, so that
// pods keep the security groups of their nodes' role. Prefixes make up for a
// node's first interface, which then carries no pods: without them fewer fit
// than kubelets are told.
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
// https://docs.aws.amazon.com/eks/latest/userguide/cni-increase-ip-addresses.html
func podNetwork(t *cfn.Template, a *architecture.Architecture, h cfn.Handle, env, values map[string]any) {
	env["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"] = "true"
	env["ENI_CONFIG_LABEL_DEF"] = architecture.PodNetworkLabel
	env["ENABLE_PREFIX_DELEGATION"] = "true"
	subnets := map[string]any{}
	for _, g := range slices.Concat(a.NodeGroups, a.GPUGroups) {
		for _, s := range a.PodSubnets() {
			if g.Zone != s.Zone && g.Zone != architecture.AnyZone {
				continue
			}
			subnets[podNetworkName(g, s.Zone)] = map[string]any{
				"id":             subnetID(t, architecture.Pods, s.Zone),
				"securityGroups": podSecurityGroups(t, g, h.Att("ClusterSecurityGroupId")),
			}
		}
	}
	values["eniConfig"] = map[string]any{"create": true, "region": cfn.Region(), "subnets": subnets}
}

// administrators are access entries for the caller and for the configuration's
// administrators, but for the caller among them: a principal can have one entry
// only. The caller's is the one that stays, whoever is listed later, since an
// update makes new entries before it removes old ones.
// https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
func administrators(t *cfn.Template, a *architecture.Architecture, h cfn.Handle) {
	entry := func(id string, principal cfn.Value[string], opts ...cfn.Option) {
		t.Add(cfn.LogicalID(id), eks.AccessEntry{
			ClusterName:  h.Ref(),
			PrincipalArn: principal,
			Type:         cfn.V("STANDARD"),
			AccessPolicies: []eks.AccessPolicy{{
				PolicyArn:   cfn.Sub("arn:${AWS::Partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"),
				AccessScope: &eks.AccessScope{Type: cfn.V("cluster")},
			}},
		}, opts...)
	}
	const principal = "arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+"
	parameter := cfn.Parameter{
		AllowedPattern: principal,
		Description:    "IAM role or user that creates the deployment. Keep the previous value at every update.",
	}
	listed := a.Config.Cluster.Administrators
	if len(listed) == 0 {
		entry("AdministratorCaller", t.Parameter(CallerParameter, parameter).Ref())
		return
	}
	parameter.AllowedPattern = NoCaller + "|" + principal
	parameter.Default = cfn.V(NoCaller)
	caller := t.Parameter(CallerParameter, parameter).Ref()
	isNot := func(id, principal string) cfn.Option {
		return cfn.Condition(t.Condition(id, cfn.Not(cfn.Equals(caller, cfn.V(principal)))))
	}
	entry("AdministratorCaller", caller, isNot("CallerIsGiven", NoCaller))
	for _, principal := range listed {
		id := digest(principal)
		entry("Administrator"+id, cfn.V(principal), isNot("CallerIsNot"+id, principal))
	}
}

// digest makes a logical id of a text, so that the order in a list means
// nothing.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// vpcCNIPolicies let the network plugin keep the interfaces of this
// deployment's nodes. Launch templates tag the first interface of a node, and
// the plugin the others.
// https://github.com/aws/amazon-vpc-cni-k8s/blob/master/docs/iam-policy.md
func vpcCNIPolicies(t *cfn.Template, a *architecture.Architecture) []iam.Policy {
	interfaces := cfn.ListOf(arn("ec2", "network-interface/*"))
	vpc := cfn.Conditions{"ArnEquals": {"ec2:Vpc": cfn.Join("", cfn.Sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:vpc/"), vpcID(t))}}
	created := ours(a, requestTag)
	created["StringEquals"]["ec2:CreateAction"] = "CreateNetworkInterface"
	change := []string{"ec2:AttachNetworkInterface", "ec2:DetachNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"}
	return []iam.Policy{policy("interfaces",
		// Describing can't be bound to resources.
		cfn.Statement{Sid: "Describe", Resource: cfn.L("*"), Action: cfn.L(
			"ec2:DescribeInstanceTypes", "ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces",
			"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeTags",
		)},
		cfn.Statement{Sid: "Create", Action: cfn.L("ec2:CreateNetworkInterface"), Resource: interfaces, Condition: ours(a, requestTag)},
		cfn.Statement{
			Sid:       "CreateInVpc",
			Action:    cfn.L("ec2:CreateNetworkInterface"),
			Resource:  cfn.ListOf(arn("ec2", "security-group/*"), arn("ec2", "subnet/*")),
			Condition: vpc,
		},
		cfn.Statement{Sid: "TagNew", Action: cfn.L("ec2:CreateTags"), Resource: interfaces, Condition: created},
		cfn.Statement{
			Sid: "Change",
			Action: cfn.L(append(change,
				"ec2:AssignPrivateIpAddresses", "ec2:CreateTags", "ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses")...),
			Resource:  interfaces,
			Condition: ours(a, resourceTag),
		},
		cfn.Statement{Sid: "ChangeOnInstances", Action: cfn.L(change...), Resource: cfn.ListOf(arn("ec2", "instance/*")), Condition: ours(a, resourceTag)},
		cfn.Statement{
			Sid:       "ChangeGroups",
			Action:    cfn.L("ec2:ModifyNetworkInterfaceAttribute"),
			Resource:  cfn.ListOf(arn("ec2", "security-group/*")),
			Condition: vpc,
		},
	)}
}

// jsonObject is texts as a JSON object.
func jsonObject(texts map[string]string) string {
	out, err := json.Marshal(texts)
	if err != nil { // texts always have a form in JSON
		return "{}"
	}
	return string(out)
}
