package architecture

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

// DeploymentTag is the tag that every resource of a deployment carries, with
// the deployment's name. It is the same in all profiles: a tag that changed
// with the profile would update everything at a promotion.
const DeploymentTag = "poolhouse:deployment"

// New computes what a configuration means. Every error is a [config.Faults],
// with all faults there are.
func New(c *config.Config) (*Architecture, error) {
	a := &Architecture{Config: c, Zones: RegionZones(c.Region)}
	if c.Network.Exists() {
		a.Zones = len(c.Network.Existing.ControlPlaneSubnetIDs)
	}
	var faults config.Faults
	if strings.HasPrefix(c.Region, "cn-") {
		faults = append(faults, c.Fault("region", "China regions are not modelled", "choose a region of another partition"))
	}
	switch {
	case c.Network.Zones <= a.Zones:
	case c.Network.Exists():
		faults = append(faults, c.Fault("network.existing.controlPlaneSubnetIds", "has fewer zones than privateSubnetIds", "list one in each zone of the private subnets"))
	default:
		faults = append(faults, c.Fault("network.zones", c.Region+" gives an account two zones only", "write 2, or choose another region"))
	}
	if c.Database.PreferredZone > c.Network.Zones {
		faults = append(faults, c.Fault("database.preferredZone", "is a zone without private subnets", "write a zone up to network.zones"))
	}
	a.Keys = []KeyPurpose{
		KeyStorage, KeyDatabase, KeyVolumes, KeyRegistry, KeySecrets,
		KeyLogs, KeyKubernetes, KeyApplication, KeyBackup,
	}
	faults = append(faults, a.planBuckets()...)
	faults = append(faults, a.checkRegistry()...)
	faults = append(faults, a.planNodes()...)
	faults = append(faults, a.planSubnets()...)
	faults = append(faults, a.checkRoutes()...)
	a.ServiceAccounts = a.serviceAccounts()
	a.Endpoints = endpoints(c)
	a.Stacks = a.stacks()
	faults = append(faults, a.deviate()...)
	a.Tags = maps.Clone(c.Tags)
	if a.Tags == nil {
		a.Tags = map[string]string{}
	}
	if _, ok := a.Tags[DeploymentTag]; ok {
		faults = append(faults, c.Fault("tags["+`"`+DeploymentTag+`"]`, "is the deployment's own tag", "remove it"))
	}
	a.Tags[DeploymentTag] = c.Name
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return a, nil
}

// stacks is the part of the catalogue that the configuration needs, each with
// what is left of After.
func (a *Architecture) stacks() []Stack {
	c := a.Config
	absent := map[StackName]bool{
		DNS:         c.DNS.Mode != config.DNSCreateZone,
		Certificate: c.Certificate.ARN != "",
		Backup:      !c.Backups.Enabled,
		GPU:         len(a.GPUGroups) == 0,
		SessionHost: !c.Cluster.API.SessionHost,
		// A network that is there keeps its gateway endpoints.
		Endpoints: c.Network.Exists() && len(a.Endpoints) == 0,
	}
	var out []Stack
	for _, s := range Catalogue() {
		if absent[s.Name] {
			continue
		}
		s.After = slices.DeleteFunc(slices.Clone(s.After), func(n StackName) bool {
			// In a network that is there, only flow logs need a key.
			return absent[n] || s.Name == Network && n == Keys && c.Network.Exists() && !c.Network.FlowLogs.Enabled
		})
		if s.Name == Network && c.Network.Exists() {
			s.Holds = "security groups and flow logs in a network that is there"
		}
		out = append(out, s)
	}
	return out
}

// serviceAccounts are the ones that the vendor names, with roles, and two of ours: what
// sets the application's account in the database, and what collects telemetry.
// https://docs.poolside.ai/deployment/cloud/aws-eks/deployment-security/iam
func (a *Architecture) serviceAccounts() []ServiceAccount {
	out := []ServiceAccount{
		{"poolside", "core-api-sa", RoleCoreAPI},
		{"poolside", "database-setup", RoleDatabaseSetup},
		{"poolside", "telemetry-collector", RoleTelemetryCollector},
	}
	if len(a.GPUGroups) > 0 {
		out = append(out, ServiceAccount{"poolside-models", "inference", RoleInference})
	}
	out = append(out,
		ServiceAccount{"external-secrets", "external-secrets", RoleExternalSecrets},
		ServiceAccount{"kube-system", "aws-load-balancer-controller", RoleLoadBalancerController},
	)
	if slices.ContainsFunc(slices.Concat(a.NodeGroups, a.GPUGroups), NodeGroup.Scales) {
		out = append(out, ServiceAccount{"kube-system", "cluster-autoscaler", RoleClusterAutoscaler})
	}
	return append(out,
		ServiceAccount{"kube-system", "ebs-csi-controller-sa", RoleEBSCSI},
		ServiceAccount{"kube-system", "aws-node", RoleVPCCNI},
	)
}

// The roles of service accounts. The one of vpc-cni belongs to the stack
// cluster, since nodes need it; the others to identity.
const (
	RoleCoreAPI                = "core-api"
	RoleDatabaseSetup          = "database-setup"
	RoleTelemetryCollector     = "telemetry-collector"
	RoleInference              = "inference"
	RoleExternalSecrets        = "external-secrets"
	RoleLoadBalancerController = "load-balancer-controller"
	RoleClusterAutoscaler      = "cluster-autoscaler"
	RoleEBSCSI                 = "ebs-csi"
	RoleVPCCNI                 = "vpc-cni"
)

// RequiredServices are the services, by the names of their interface endpoints,
// that nodes and the programs on them need when nothing leads to the internet;
// S3 is one more, by its gateway endpoint. Session Manager, the only way onto a node, and through one to
// a Kubernetes API without public endpoint, keeps its channel to ssmmessages.
// https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html
// https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-create-vpc.html
func RequiredServices() []string {
	return []string{
		"autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "elasticloadbalancing",
		"kms", "logs", "secretsmanager", "ssm", "ssmmessages", "sts",
	}
}

// endpoints are the interface endpoints, sorted. S3's is a gateway and always
// there.
func endpoints(c *config.Config) []string {
	out := slices.Clone(c.Network.Endpoints)
	if c.Network.Isolated() {
		out = append(out, RequiredServices()...)
	}
	if c.Cluster.API.SessionHost && !c.Network.Exists() {
		// So its instance needs no way out of the VPC. A network that is there may
		// have them, and two can't have the same names.
		out = append(out, SessionServices()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// RegionZones is how many zones are recorded in a region: three where there
// are three for EKS, two where an account gets two.
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
func RegionZones(region string) int {
	if region == "us-west-1" {
		return 2
	}
	return 3
}

// ControlPlaneZone says whether EKS can place its interfaces in a zone, by
// zone id, since zone names differ between accounts.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func ControlPlaneZone(zoneID string) bool {
	switch zoneID {
	case "use1-az3", "usw1-az2", "cac1-az3":
		return false
	}
	return true
}

// Catalogue lists all stacks in an order that satisfies After.
func Catalogue() []Stack { return slices.Clone(catalogue) }

// Has says whether the architecture contains a stack.
func (a *Architecture) Has(name StackName) bool {
	_, ok := a.Stack(name)
	return ok
}

// Stack is the stack of that name, if the architecture contains it.
func (a *Architecture) Stack(name StackName) (Stack, bool) {
	i := slices.IndexFunc(a.Stacks, func(s Stack) bool { return s.Name == name })
	if i < 0 {
		return Stack{}, false
	}
	return a.Stacks[i], true
}

// Account is the service account with a role, if the architecture contains it.
func (a *Architecture) Account(role string) (ServiceAccount, bool) {
	i := slices.IndexFunc(a.ServiceAccounts, func(s ServiceAccount) bool { return s.Role == role })
	if i < 0 {
		return ServiceAccount{}, false
	}
	return a.ServiceAccounts[i], true
}
