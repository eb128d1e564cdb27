package templates

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ssm"
)

// parameters are what programs and people look up about a deployment, in
// Parameter Store below its path: nothing secret.
func parameters(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Parameters)
	entry := func(path, description string, v cfn.Value[string]) ssm.Parameter {
		return ssm.Parameter{
			Name:        cfn.V(a.ParameterPath() + "/" + path),
			Type:        cfn.V("String"),
			Description: cfn.V(description),
			Value:       v,
		}
	}
	put := func(path, description string, v cfn.Value[string]) {
		t.Add(cfn.LogicalID(camel(path)+"Entry"), entry(path, description, v))
	}
	from := func(s architecture.StackName, output string) cfn.Value[string] { return t.Input(string(s), output) }
	c := a.Config

	put("deployment/profile", "Profile of the configuration", cfn.V(string(c.Profile)))
	put("versions/kubernetes", "Kubernetes version", cfn.V(c.Cluster.Version))
	put("versions/postgresql", "PostgreSQL version asked for", cfn.V(c.Database.Version))
	for _, name := range slices.Sorted(maps.Keys(c.Cluster.AddonVersions)) {
		put("versions/"+name, "Version of the add-on", cfn.V(c.Cluster.AddonVersions[name]))
	}

	put("network/vpc-id", "VPC", vpcID(t))
	put("network/private-subnet-ids", "Subnets of nodes, joined by commas", cfn.JoinList(",", subnetIDs(t, architecture.Private)))

	put("cluster/name", "EKS cluster", from(architecture.Cluster, "Name"))
	put("cluster/arn", "EKS cluster", from(architecture.Cluster, "Arn"))
	put("cluster/endpoint", "Kubernetes API", from(architecture.Cluster, "Endpoint"))
	put("cluster/oidc-provider-arn", "Provider that roles of service accounts trust", from(architecture.Cluster, "OidcProviderArn"))
	put("cluster/security-group-id", "Security group that EKS made", from(architecture.Cluster, "ClusterSecurityGroupId"))

	put("database/endpoint", "Host of PostgreSQL", from(architecture.Database, "Endpoint"))
	put("database/port", "Port of PostgreSQL", from(architecture.Database, "Port"))
	put("database/name", "Database of the application", from(architecture.Database, "Name"))
	put("database/arn", "RDS instance", from(architecture.Database, "Arn"))
	put("database/application-secret-arn", "Secret with the application's account", from(architecture.Database, "ApplicationSecretArn"))
	put("database/master-secret-arn", "Secret with the server's master, kept by RDS", from(architecture.Database, "MasterSecretArn"))
	put("database/alarm-topic-arn", "Topic of the alarms of database and self-managed NAT", from(architecture.Database, "AlarmTopicArn"))

	for _, b := range a.Buckets {
		put("buckets/"+string(b.Purpose), "Bucket", bucketName(t, b.Purpose))
	}
	put("registry/uri", "What the addresses of the repositories begin with", from(architecture.Storage, "RegistryUri"))
	for _, k := range a.Keys {
		put("keys/"+string(k), "KMS key", keyARN(t, k))
	}
	for _, s := range a.ServiceAccounts {
		stack := architecture.Identity
		if s.Role == architecture.RoleVPCCNI {
			stack = architecture.Cluster
		}
		put("roles/"+s.Role, "Role of service account "+s.Namespace+"/"+s.Name, from(stack, camel(s.Role)+"RoleArn"))
	}

	for _, part := range []string{"web", "api", "admin"} {
		put("endpoints/"+part, "URL", from(architecture.Edge, camel(part)+"Url"))
		put("target-groups/"+part, "Target group of the pods behind it", from(architecture.Edge, camel(part)+"TargetGroupArn"))
	}
	for _, part := range []string{"web", "admin"} {
		put("load-balancers/"+part, "DNS name of the load balancer", from(architecture.Edge, camel(part)+"LoadBalancerDnsName"))
	}
	put("certificate/arn", "TLS certificate of the load balancers", certificateARN(a, t))
	if zone := hostedZoneID(a, t); !zone.IsZero() {
		put("dns/zone-id", "Hosted zone", zone)
	}
	if sso := c.Access.SSO; sso.Enabled {
		put("sso/issuer", "Identity provider", cfn.V(sso.Issuer))
		put("sso/web-client-id", "OpenID Connect client of web users", cfn.V(sso.Web.ClientID))
		put("sso/admin-client-id", "OpenID Connect client of administrators", cfn.V(sso.Admin.ClientID))
		put("sso/admin-group", "Group of administrators at the provider", cfn.V(sso.AdminGroup))
	}
	if c.Proxy.URL != "" {
		put("proxy/url", "HTTP proxy of nodes and workloads", cfn.V(c.Proxy.URL))
		e := entry("proxy/no-proxy", "What they reach without it, joined by commas", cfn.V(strings.Join(a.NoProxy(), ",")))
		e.Tier = cfn.V("Intelligent-Tiering") // with many endpoints it needs more than 4 KB
		t.Add(cfn.LogicalID(camel("proxy/no-proxy")+"Entry"), e)
		t.Output("ProxyUrl", cfn.V(c.Proxy.URL))
		t.Output("NoProxyParameter", cfn.V(a.ParameterPath()+"/proxy/no-proxy"))
	}
	if bundle := c.Trust.Bundle(); bundle != "" {
		e := entry("trust/ca-bundle", "Certificates of private authorities, in PEM", cfn.V(bundle))
		e.Tier = cfn.V("Intelligent-Tiering") // a bundle of several needs more than 4 KB
		t.Add(cfn.LogicalID(camel("trust/ca-bundle")+"Entry"), e)
		t.Output("CaBundleParameter", cfn.V(a.ParameterPath()+"/trust/ca-bundle"))
	}
	if c.Backups.Enabled {
		put("backup/vault", "Backup vault", from(architecture.Backup, "VaultName"))
	}
	for _, d := range a.Deviations {
		path := "deviations/" + d.ID
		e := entry(path, "Difference from the reference architecture", cfn.V(jsonObject(map[string]string{
			"path": d.Path, "what": d.What, "reason": d.Reason,
		})))
		e.Tier = cfn.V("Intelligent-Tiering") // a long reason needs more than 4 KB
		t.Add(cfn.LogicalID(camel(path)+"Entry"), e)
	}
	return t
}
