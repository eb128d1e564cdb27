package verify_test

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/verify"
)

const (
	typeCluster     = "AWS::EKS::Cluster"
	typeAddon       = "AWS::EKS::Addon"
	typeAccessEntry = "AWS::EKS::AccessEntry"

	adminPolicy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
	viewPolicy  = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	platform    = "arn:aws:iam::123456789012:role/platform"
	emergency   = "arn:aws:iam::123456789012:role/emergency"
	stranger    = "arn:aws:iam::123456789012:role/Colleague"
)

// cluster is what EKS says of the cluster.
func (w *wrecker) cluster() (*types.Cluster, error) {
	out, err := w.aws.EKS.DescribeCluster(w.ctx, &eks.DescribeClusterInput{Name: aws.String(w.arch.ClusterName())})
	if err != nil {
		return nil, err
	}
	return out.Cluster, nil
}

// configure changes the cluster by API.
func configure(in eks.UpdateClusterConfigInput) func(*wrecker) error {
	return func(w *wrecker) error {
		in.Name = aws.String(w.arch.ClusterName())
		_, err := w.aws.EKS.UpdateClusterConfig(w.ctx, &in)
		return err
	}
}

// clusterStore changes the cluster in the store.
func clusterStore(f func(r *account.Resource)) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.change(typeCluster, anyOne, func(_ *account.Tx, r *account.Resource) { f(r) })
	}
}

func anyOne(*account.Resource) bool { return true }

// addonNamed chooses an add-on.
func addonNamed(name string) func(*account.Resource) bool {
	return func(r *account.Resource) bool { return r.Props["AddonName"] == name }
}

func allow(group string, port int32, cidr string) *ec2.AuthorizeSecurityGroupIngressInput {
	return &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2types.IpRange{{CidrIp: &cidr}},
	}}}
}

// admit gives a principal an access entry with a policy.
func (w *wrecker) admit(principal, policy string, scope types.AccessScope) error {
	cluster := aws.String(w.arch.ClusterName())
	if _, err := w.aws.EKS.CreateAccessEntry(w.ctx, &eks.CreateAccessEntryInput{ClusterName: cluster, PrincipalArn: &principal}); err != nil {
		return err
	}
	_, err := w.aws.EKS.AssociateAccessPolicy(w.ctx, &eks.AssociateAccessPolicyInput{ClusterName: cluster, PrincipalArn: &principal, PolicyArn: &policy, AccessScope: &scope})
	return err
}

func (w *wrecker) expel(principals ...string) error {
	for _, p := range principals {
		if _, err := w.aws.EKS.DeleteAccessEntry(w.ctx, &eks.DeleteAccessEntryInput{ClusterName: aws.String(w.arch.ClusterName()), PrincipalArn: &p}); err != nil {
			return err
		}
	}
	return nil
}

func (w *wrecker) issuer() (arn *string, err error) {
	out, err := w.aws.IAM.ListOpenIDConnectProviders(w.ctx, &iam.ListOpenIDConnectProvidersInput{})
	if err != nil || len(out.OpenIDConnectProviderList) != 1 {
		return nil, account.Errorf("NotThere", "there is not one provider: %v", err)
	}
	return out.OpenIDConnectProviderList[0].Arn, nil
}

func clusterWrecks() []wreck {
	return []wreck{
		{check: "cluster-active", by: clusterStore(func(r *account.Resource) { r.Status = "FAILED" })},
		{check: "cluster-active", name: "issue", by: clusterStore(func(r *account.Resource) {
			r.Data["issues"] = []any{map[string]any{"code": "KmsKeyDisabled", "message": "the key is disabled"}}
		})},
		{
			check: "cluster-version", also: []string{"cluster-addon-versions", "nodes-version"}, // all hold to the control plane's version
			by: clusterStore(func(r *account.Resource) { r.Data["version"] = "1.34" }),
		},
		{
			check: "cluster-version-supported", also: []string{"cluster-version", "cluster-addon-versions", "nodes-version"},
			by: clusterStore(func(r *account.Resource) { r.Data["version"] = "1.29" }),
		},
		{check: "cluster-upgrade-policy", by: configure(eks.UpdateClusterConfigInput{UpgradePolicy: &types.UpgradePolicyRequest{SupportType: types.SupportTypeStandard}})},
		{check: "cluster-service-range", by: clusterStore(func(r *account.Resource) { r.Attrs["KubernetesNetworkConfig.ServiceIpv4Cidr"] = "10.100.0.0/16" })},
		{check: "cluster-private-endpoint", by: configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{EndpointPrivateAccess: aws.Bool(false)}})},
		{check: "cluster-public-endpoint", by: configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{PublicAccessCidrs: []string{"0.0.0.0/0"}}})},
		{check: "cluster-public-endpoint", name: "one more", by: configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{PublicAccessCidrs: []string{"203.0.113.0/24", "198.51.100.0/24"}}})},
		{check: "cluster-public-endpoint", name: "off", by: configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{EndpointPublicAccess: aws.Bool(false)}})},
		{check: "cluster-public-endpoint", name: "on", example: "enterprise-dns", by: configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{EndpointPublicAccess: aws.Bool(true)}})},
		{check: "cluster-subnets", also: []string{"cluster-interfaces"}, by: func(w *wrecker) error { // they should be in the same subnets
			var ids []string
			err := w.change("AWS::EC2::Subnet", anyOne, func(tx *account.Tx, _ *account.Resource) {
				for _, s := range tx.List("AWS::EC2::Subnet") {
					if slices.Contains([]string{"PrivateSubnet1", "PrivateSubnet2", "PrivateSubnet3"}, s.LogicalID) {
						ids = append(ids, s.ID)
					}
				}
			})
			if err != nil {
				return err
			}
			return configure(eks.UpdateClusterConfigInput{ResourcesVpcConfig: &types.VpcConfigRequest{SubnetIds: ids}})(w)
		}},
		{check: "cluster-subnets", name: "one fewer", also: []string{"cluster-interfaces"}, by: clusterStore(func(r *account.Resource) { // EKS has an interface there
			config, _ := r.Props["ResourcesVpcConfig"].(map[string]any)
			config["SubnetIds"] = props.List(config, "SubnetIds")[:2]
		})},
		{check: "cluster-interfaces", by: func(w *wrecker) error {
			return w.change("AWS::EC2::NetworkInterface", anyOne, func(tx *account.Tx, _ *account.Resource) {
				kept := false
				for _, r := range tx.List("AWS::EC2::NetworkInterface") {
					if r.Props["Description"] == "Amazon EKS poolside" {
						if kept {
							tx.Drop(r.Type, r.ID)
						}
						kept = true
					}
				}
			})
		}},
		{check: "cluster-security-group", also: []string{"cluster-api-sources"}, by: func(w *wrecker) error {
			c, err := w.cluster()
			if err != nil {
				return err
			}
			_, err = w.aws.EC2.AuthorizeSecurityGroupIngress(w.ctx, allow(*c.ResourcesVpcConfig.ClusterSecurityGroupId, 443, "0.0.0.0/0"))
			return err
		}},
		{check: "cluster-security-group", name: "lost", by: clusterStore(func(r *account.Resource) {
			config, _ := r.Props["ResourcesVpcConfig"].(map[string]any)
			config["SecurityGroupIds"] = []any{}
		})},
		{check: "cluster-logs", by: configure(eks.UpdateClusterConfigInput{Logging: &types.Logging{ClusterLogging: []types.LogSetup{{Enabled: aws.Bool(false), Types: []types.LogType{types.LogTypeAudit}}}}})},
		{check: "cluster-secrets-encrypted", by: clusterStore(func(r *account.Resource) { delete(r.Props, "EncryptionConfig") })},
		{check: "cluster-secrets-encrypted", name: "other key", by: func(w *wrecker) error {
			return w.change("AWS::KMS::Key", logical("LogsKey"), func(tx *account.Tx, key *account.Resource) {
				c := tx.List(typeCluster)[0]
				c.Props["EncryptionConfig"] = []any{map[string]any{"Resources": []any{"secrets"}, "Provider": map[string]any{"KeyArn": key.Attrs["Arn"]}}}
			})
		}},
		{check: "cluster-deletion-protection", by: configure(eks.UpdateClusterConfigInput{DeletionProtection: aws.Bool(false)})},
		{check: "cluster-zonal-shift", by: configure(eks.UpdateClusterConfigInput{ZonalShiftConfig: &types.ZonalShiftConfigRequest{Enabled: aws.Bool(false)}})},
		{check: "cluster-role", by: clusterStore(func(r *account.Resource) { r.Props["RoleArn"] = platform })},
		{check: "cluster-addons-there", by: func(w *wrecker) error { return w.drop(typeAddon, addonNamed("metrics-server")) }},
		{check: "cluster-addons-healthy", by: func(w *wrecker) error {
			return w.change(typeAddon, addonNamed("coredns"), func(_ *account.Tx, r *account.Resource) {
				r.Status = "DEGRADED"
				r.Data["issues"] = []any{map[string]any{"code": "InsufficientNumberOfReplicas", "message": "too few"}}
			})
		}},
		{check: "cluster-addon-versions", by: func(w *wrecker) error {
			return w.change(typeAddon, addonNamed("coredns"), func(_ *account.Tx, r *account.Resource) { r.Data["version"] = "v1.9.3-eksbuild.1" })
		}},
		{check: "cluster-addon-roles", by: func(w *wrecker) error {
			_, err := w.aws.EKS.UpdateAddon(w.ctx, &eks.UpdateAddonInput{
				ClusterName: aws.String(w.arch.ClusterName()), AddonName: aws.String("aws-ebs-csi-driver"),
				ServiceAccountRoleArn: aws.String("arn:aws:iam::123456789012:role/" + w.arch.RoleName(architecture.RoleCoreAPI)),
			})
			return err
		}},
		{check: "cluster-access-mode", by: clusterStore(func(r *account.Resource) {
			r.Props["AccessConfig"] = map[string]any{"AuthenticationMode": "API_AND_CONFIG_MAP"}
		})},
		{check: "cluster-administrators", by: func(w *wrecker) error { return w.expel(platform) }},
		{check: "cluster-administrators", name: "viewer", by: func(w *wrecker) error {
			cluster, principal := aws.String(w.arch.ClusterName()), aws.String(platform)
			_, err := w.aws.EKS.DisassociateAccessPolicy(w.ctx, &eks.DisassociateAccessPolicyInput{ClusterName: cluster, PrincipalArn: principal, PolicyArn: aws.String(adminPolicy)})
			if err != nil {
				return err
			}
			_, err = w.aws.EKS.AssociateAccessPolicy(w.ctx, &eks.AssociateAccessPolicyInput{
				ClusterName: cluster, PrincipalArn: principal, PolicyArn: aws.String(viewPolicy), AccessScope: &types.AccessScope{Type: types.AccessScopeTypeCluster},
			})
			return err
		}},
		{check: "cluster-administrators", name: "role is gone", by: func(w *wrecker) error {
			name := aws.String("platform")
			attached, err := w.aws.IAM.ListAttachedRolePolicies(w.ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
			if err != nil {
				return err
			}
			for _, p := range attached.AttachedPolicies {
				if _, err := w.aws.IAM.DetachRolePolicy(w.ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: p.PolicyArn}); err != nil {
					return err
				}
			}
			_, err = w.aws.IAM.DeleteRole(w.ctx, &iam.DeleteRoleInput{RoleName: name})
			return err
		}},
		{check: "cluster-two-administrators", also: []string{"cluster-administrators"}, by: func(w *wrecker) error { return w.expel(platform, emergency) }},
		{check: "cluster-no-strangers", by: func(w *wrecker) error {
			return w.admit(stranger, adminPolicy, types.AccessScope{Type: types.AccessScopeTypeCluster})
		}},
		{check: "cluster-no-strangers", name: "in a namespace", by: func(w *wrecker) error {
			return w.admit(stranger, "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolicy", types.AccessScope{Type: types.AccessScopeTypeNamespace, Namespaces: []string{"poolside"}})
		}},
		{check: "cluster-no-strangers", name: "tagged", by: func(w *wrecker) error {
			if err := w.admit(stranger, adminPolicy, types.AccessScope{Type: types.AccessScopeTypeCluster}); err != nil {
				return err
			}
			return w.change(typeAccessEntry, func(r *account.Resource) bool { return r.Props["PrincipalArn"] == stranger }, func(_ *account.Tx, r *account.Resource) {
				r.Tags = map[string]string{architecture.DeploymentTag: w.arch.Name()}
			})
		}},
		{check: "cluster-no-identity-provider", by: func(w *wrecker) error {
			_, err := w.aws.EKS.AssociateIdentityProviderConfig(w.ctx, &eks.AssociateIdentityProviderConfigInput{
				ClusterName: aws.String(w.arch.ClusterName()),
				Oidc:        &types.OidcIdentityProviderConfigRequest{IdentityProviderConfigName: aws.String("corp"), IssuerUrl: aws.String("https://sso.example.com"), ClientId: aws.String("kubernetes")},
			})
			return err
		}},
		{check: "cluster-oidc-provider", by: func(w *wrecker) error {
			arn, err := w.issuer()
			if err != nil {
				return err
			}
			_, err = w.aws.IAM.RemoveClientIDFromOpenIDConnectProvider(w.ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("sts.amazonaws.com")})
			return err
		}},
		{check: "cluster-oidc-provider", name: "gone", by: func(w *wrecker) error {
			arn, err := w.issuer()
			if err != nil {
				return err
			}
			_, err = w.aws.IAM.DeleteOpenIDConnectProvider(w.ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
			return err
		}},
	}
}

// outcomes are the statuses of checks by id.
func outcomes(rep *verify.Report) map[string]verify.Status {
	out := map[string]verify.Status{}
	for _, r := range rep.Results {
		out[r.ID] = r.Status
	}
	return out
}

// TestExtendedSupport: a version that has aged is advised against, with the day
// on which support ends.
func TestExtendedSupport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		day    string
		status verify.Status
		saw    string
	}{
		{"2027-03-26", verify.Pass, "Kubernetes 1.35, standard support until 2027-03-27"},
		{"2027-03-27", verify.Fail, "Kubernetes 1.35, extended support until 2028-03-27"},
		{"2028-03-27", verify.Fail, "Kubernetes 1.35, unsupported until 2028-03-27"},
	} {
		t.Run(tt.day, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.DateOnly, tt.day)
			if err != nil {
				t.Fatal(err)
			}
			w := standing(t, "evaluation")
			w.now = now
			rep := w.verify(t, verify.Options{Only: []string{"cluster-version-supported"}})
			got := rep.Results[0]
			if got.Status != tt.status || len(got.Evidence) != 1 || got.Evidence[0].Saw != tt.saw {
				t.Errorf("got %s, %+v", got.Status, got.Evidence)
			}
		})
	}
}

// TestClusterGone: without a cluster, one check says so and those on the
// cluster could not look; nobody passes.
func TestClusterGone(t *testing.T) {
	t.Parallel()
	w := standing(t, "evaluation")
	err := w.box.Account().Do(func(tx *account.Tx) error {
		tx.Drop(typeCluster, "poolside")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rep := w.verify(t, verify.Options{Only: []string{"cluster-*", "irsa-*"}})
	for id, got := range outcomes(rep) {
		want := verify.CouldNotLook
		if id == "cluster-active" {
			want = verify.Fail
		}
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// TestServiceLinkedEntry: EKS's own access entry, which real clusters have, and
// one that may only look are no strangers.
func TestServiceLinkedEntry(t *testing.T) {
	t.Parallel()
	w := standing(t, "production")
	err := w.box.Account().Do(func(tx *account.Tx) error {
		principal := "arn:aws:iam::123456789012:role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"
		tx.Put(&account.Resource{
			Type: typeAccessEntry, ID: principal + "|poolside", Owner: "eks.amazonaws.com", Data: map[string]any{"modified": tx.Now()},
			Attrs: map[string]any{"AccessEntryArn": "arn:aws:eks:us-east-1:123456789012:access-entry/poolside/role/1/x/y"},
			Props: map[string]any{"ClusterName": "poolside", "PrincipalArn": principal, "Type": "STANDARD", "AccessPolicies": []any{
				map[string]any{"PolicyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterInsightsPolicy", "AccessScope": map[string]any{"Type": "cluster"}},
				map[string]any{"PolicyArn": adminPolicy, "AccessScope": map[string]any{"Type": "cluster"}},
			}},
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wr := &wrecker{w, t.Context(), clients(t, w.box, 1, stopped{at: w.now})}
	if err := wr.admit(stranger, viewPolicy, types.AccessScope{Type: types.AccessScopeTypeCluster}); err != nil {
		t.Fatal(err)
	}
	rep := w.verify(t, verify.Options{Only: []string{"cluster-no-strangers", "cluster-administrators"}})
	want := map[string]verify.Status{"cluster-no-strangers": verify.Pass, "cluster-administrators": verify.Pass}
	if diff := cmp.Diff(want, outcomes(rep)); diff != "" {
		t.Error(diff)
		say(t, rep)
	}
}
