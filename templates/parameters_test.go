package templates

import (
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	const reason = `We accept "${AWS::AccountId}" & <risk>.`
	a := planned(t, withGPU(config.NodeGroup{Max: 1}), func(c *config.Config) {
		c.Network.NAT.Mode = config.NATSingleGateway
		c.Cluster.AddonVersions = map[string]string{"coredns": "v1.12.4-eksbuild.1"}
		c.Deviations = map[string]string{architecture.SingleNAT: reason}
	})
	d := built(t, a, architecture.Parameters)
	got := map[string]string{}
	for _, id := range d.ofType("AWS::SSM::Parameter") {
		p := d.Resources[id].Properties
		if p["Type"] != "String" || text(p["Value"]) == "" {
			t.Errorf("%s: %s", id, text(p))
		}
		got[text(p["Name"])] = text(p["Value"])
	}
	for name, want := range map[string]string{
		"versions/kubernetes":             "1.35",
		"versions/coredns":                "v1.12.4-eksbuild.1",
		"network/vpc-id":                  "${NetworkVpcId}",
		"cluster/endpoint":                "${ClusterEndpoint}",
		"database/endpoint":               "${DatabaseEndpoint}",
		"database/application-secret-arn": "${DatabaseApplicationSecretArn}",
		"buckets/models":                  "${StorageModelsBucketName}",
		"keys/application":                "${KeysApplicationKeyArn}",
		"roles/core-api":                  "${IdentityCoreApiRoleArn}",
		"roles/inference":                 "${IdentityInferenceRoleArn}",
		"roles/vpc-cni":                   "${ClusterVpcCniRoleArn}",
		"endpoints/api":                   "${EdgeApiUrl}",
		"target-groups/admin":             "${EdgeAdminTargetGroupArn}",
		"sso/admin-group":                 "administrators",
		"dns/zone-id":                     "${DnsHostedZoneId}",
		"backup/vault":                    "${BackupVaultName}",
		"deviations/single-nat":           jsonObject(map[string]string{"path": "network.nat.mode", "what": a.Deviations[0].What, "reason": reason}),
	} {
		if got := got["/poolhouse/poolside/"+name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, value := range got {
		if !strings.HasPrefix(name, "/poolhouse/poolside/") {
			t.Errorf("%s is not below the deployment's path", name)
		}
		if strings.Contains(value, "resolve:") || strings.Contains(value, "secret:") {
			t.Errorf("%s: %s", name, value)
		}
	}
}
