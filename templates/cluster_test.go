package templates

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*config.Config)
		vpc    object
		logs   []any
	}{
		"private": {
			func(c *config.Config) { c.Cluster.PublicAccessCIDRs = nil },
			object{"EndpointPublicAccess": false},
			[]any{"api", "audit", "authenticator", "controllerManager", "scheduler"},
		},
		"allow-listed": {
			func(c *config.Config) {
				c.Cluster.PublicAccessCIDRs, c.Cluster.Logs = []string{"203.0.113.0/24"}, []string{"audit"}
			},
			object{"EndpointPublicAccess": true, "PublicAccessCidrs": []any{"203.0.113.0/24"}},
			[]any{"audit"},
		},
		"no logs": {
			func(c *config.Config) { c.Cluster.Logs = nil },
			object{"EndpointPublicAccess": false},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, test.change), architecture.Cluster)
			p := d.properties(t, "Cluster", "AWS::EKS::Cluster")
			test.vpc["EndpointPrivateAccess"] = true
			test.vpc["SubnetIds"] = object{"Ref": "NetworkControlPlaneSubnetIds"}
			test.vpc["SecurityGroupIds"] = []any{object{"Ref": "NetworkControlPlaneSecurityGroupId"}}
			want := object{
				"Name":                       "poolside",
				"Version":                    "1.35",
				"RoleArn":                    object{"Fn::GetAtt": []any{"ClusterRole", "Arn"}},
				"BootstrapSelfManagedAddons": false,
				"AccessConfig":               object{"AuthenticationMode": "API", "BootstrapClusterCreatorAdminPermissions": false},
				"EncryptionConfig": []any{object{
					"Provider": object{"KeyArn": object{"Ref": "KeysKubernetesKeyArn"}}, "Resources": []any{"secrets"},
				}},
				"KubernetesNetworkConfig": object{"IpFamily": "ipv4", "ServiceIpv4Cidr": "172.20.0.0/16"},
				"ResourcesVpcConfig":      test.vpc,
				"UpgradePolicy":           object{"SupportType": "EXTENDED"},
				"ZonalShiftConfig":        object{"Enabled": true},
				"DeletionProtection":      object{"Ref": "Protection"},
				"Tags":                    []any{object{"Key": "Name", "Value": "poolside-cluster"}},
			}
			group, grouped := d.Resources["ClusterLogGroup"]
			if test.logs == nil {
				if grouped {
					t.Error("there is a log group for no logs")
				}
			} else {
				var types []any
				for _, l := range test.logs {
					types = append(types, object{"Type": l})
				}
				want["Logging"] = object{"ClusterLogging": object{"EnabledTypes": types}}
				if diff := cmp.Diff(object{
					"LogGroupName": "/aws/eks/poolside/cluster", "KmsKeyId": object{"Ref": "KeysLogsKeyArn"}, "RetentionInDays": 365.0,
				}, group.Properties); diff != "" {
					t.Errorf("log group (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"ClusterLogGroup"}, d.Resources["Cluster"].DependsOn); diff != "" {
					t.Errorf("cluster comes after (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Errorf("cluster (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAdministrators(t *testing.T) {
	t.Parallel()
	const platform, emergency = "arn:aws:iam::123456789012:role/platform", "arn:aws:iam::123456789012:user/ops/emergency"
	for name, test := range map[string]struct {
		listed    []string
		mandatory bool
	}{
		"caller alone": {nil, true},
		"listed":       {[]string{platform, emergency}, false},
		"other order":  {[]string{emergency, platform}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, func(c *config.Config) {
				c.Profile = config.Evaluation // a single administrator is enough
				c.Cluster.Administrators = test.listed
			}), architecture.Cluster)
			got := map[string]string{}
			for _, id := range d.ofType("AWS::EKS::AccessEntry") {
				p := d.Resources[id].Properties
				got[id] = text(p["PrincipalArn"])
				if diff := cmp.Diff([]any{object{
					"AccessScope": object{"Type": "cluster"},
					"PolicyArn":   object{"Fn::Sub": "arn:${AWS::Partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"},
				}}, p["AccessPolicies"]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", id, diff)
				}
			}
			want := map[string]string{"AdministratorCaller": "${CallerPrincipalArn}"}
			for _, principal := range test.listed {
				want["Administrator"+digest(principal)] = principal
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			condition := d.Resources["AdministratorCaller"].Condition
			value, ok := d.Parameters[CallerParameter]["Default"]
			if test.mandatory {
				if ok || condition != "" {
					t.Errorf("default %v, condition %q", value, condition)
				}
				return
			}
			if !ok || value != NoCaller || condition != "CallerIsGiven" {
				t.Errorf("default %v, condition %q", value, condition)
			}
			// A principal has one entry: the caller's own stays when the list
			// comes to hold it.
			unless := func(principal string) string {
				return `{"Fn::Not":[{"Fn::Equals":[{"Ref":"CallerPrincipalArn"},"` + principal + `"]}]}`
			}
			if got := text(d.Conditions[condition]); got != unless(NoCaller) {
				t.Errorf("%s is %s", condition, got)
			}
			for _, principal := range test.listed {
				condition := d.Resources["Administrator"+digest(principal)].Condition
				if got := text(d.Conditions[condition]); got != unless(principal) {
					t.Errorf("%s is %s", condition, got)
				}
			}
		})
	}
}

func TestOidcProvider(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Cluster)
	p := d.properties(t, "OidcProvider", "AWS::IAM::OIDCProvider")
	if text(p["Url"]) != "${Cluster.OpenIdConnectIssuerUrl}" || text(p["ClientIdList"]) != "sts.amazonaws.com" || p["ThumbprintList"] != nil {
		t.Errorf("provider: %s", text(p))
	}
	if got := text(d.Outputs["OidcIssuer"]["Value"]); got != "select(1,split(//,${Cluster.OpenIdConnectIssuerUrl}))" {
		t.Errorf("issuer is %s", got)
	}
}

// vpc-cni and kube-proxy come before nodes, the others after.
func TestAddons(t *testing.T) {
	t.Parallel()
	a := planned(t, func(c *config.Config) {
		c.Cluster.AddonVersions = map[string]string{
			"vpc-cni": "v1.20.4-eksbuild.2", "coredns": "v1.12.4-eksbuild.1", "eks-pod-identity-agent": "v1.3.9-eksbuild.3",
		}
	})
	for stack, want := range map[architecture.StackName]map[string][3]string{
		architecture.Cluster: {
			"VpcCni":    {"vpc-cni", "v1.20.4-eksbuild.2", "${VpcCniRole.Arn}"},
			"KubeProxy": {"kube-proxy", "", ""},
			// Only because a version is named.
			"PodIdentityAgent": {"eks-pod-identity-agent", "v1.3.9-eksbuild.3", ""},
		},
		architecture.Addons: {
			"CoreDns":            {"coredns", "v1.12.4-eksbuild.1", ""},
			"EbsCsiDriver":       {"aws-ebs-csi-driver", "", "${IdentityEbsCsiRoleArn}"},
			"MetricsServer":      {"metrics-server", "", ""},
			"SnapshotController": {"snapshot-controller", "", ""},
		},
	} {
		d := built(t, a, stack)
		got := map[string][3]string{}
		for _, id := range d.ofType("AWS::EKS::Addon") {
			p := d.Resources[id].Properties
			got[id] = [3]string{text(p["AddonName"]), text(p["AddonVersion"]), text(p["ServiceAccountRoleArn"])}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stack, diff)
		}
	}
	if _, ok := built(t, planned(t), architecture.Cluster).Resources["PodIdentityAgent"]; ok {
		t.Error("there is a pod identity agent that nobody asked for")
	}
}
