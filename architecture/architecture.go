// Package architecture is what a configuration means: zones, networks, names,
// keys, roles and access paths, as a pure value, and the catalogue of stacks
// they are cut into. It knows no account: what only an account can tell (zone
// ids, ARNs) reaches the stacks as parameters.
//
// Invariants: equal configurations give equal architectures; going from two
// zones to three, or from one profile to the other, renumbers no subnet and
// renames nothing.
//
// Limits: IPv4 only; one VPC, of our own or one that is there; the China regions, whose endpoint
// services have other names, are not modelled.
package architecture

import (
	"net/netip"

	"github.com/poolhouse/poolhouse/config"
)

// StackName is a stack of the catalogue: "network".
type StackName string

// The stacks.
const (
	Keys        StackName = "keys"
	DNS         StackName = "dns"
	Storage     StackName = "storage"
	Network     StackName = "network"
	Endpoints   StackName = "endpoints"
	Certificate StackName = "certificate"
	Database    StackName = "database"
	Backup      StackName = "backup"
	Cluster     StackName = "cluster"
	SessionHost StackName = "session"
	Nodes       StackName = "nodes"
	GPU         StackName = "gpu"
	Identity    StackName = "identity"
	Addons      StackName = "addons"
	Edge        StackName = "edge"
	Parameters  StackName = "parameters"
)

// Stack is an entry of the catalogue.
type Stack struct {
	Name StackName
	// After are the stacks that must be complete before this one starts; of
	// those, only what the architecture contains counts.
	After []StackName
	// Holds says what is in it, for people.
	Holds string
}

// catalogue lists the stacks in an order that satisfies After. A stack follows
// only what it takes outputs of, nodes what they reach AWS through, and add-ons
// the nodes they run on. GPU nodes are nobody's prerequisite, so that missing
// capacity holds nothing up.
var catalogue = []Stack{
	{Keys, nil, "KMS keys and aliases by purpose"},
	{DNS, nil, "hosted zone"},
	{Storage, []StackName{Keys}, "buckets and ECR repositories"},
	{Network, []StackName{Keys}, "VPC, subnets, routes, NAT, network ACLs, security groups, flow logs"},
	{Endpoints, []StackName{Network}, "VPC endpoints"},
	{Certificate, []StackName{DNS}, "TLS certificate"},
	{Database, []StackName{Keys, Network}, "PostgreSQL"},
	{Backup, []StackName{Keys, Storage, Database}, "backup vault, plan and selections"},
	{Cluster, []StackName{Keys, Network}, "EKS control plane, access entries, OIDC provider, first add-ons"},
	{SessionHost, []StackName{Keys, Network, Endpoints}, "instance that Session Manager reaches the Kubernetes API through"},
	{Nodes, []StackName{Keys, Network, Endpoints, Cluster}, "core, web-assistant and interface node groups"},
	{GPU, []StackName{Keys, Network, Endpoints, Cluster}, "GPU node group"},
	{Identity, []StackName{Keys, Storage, Database, Cluster}, "IAM roles for service accounts"},
	{Addons, []StackName{Cluster, Nodes, Identity}, "add-ons that need nodes"},
	{Edge, []StackName{Keys, DNS, Storage, Network, Certificate}, "load balancers, listeners, SSO, WAF, DNS records"},
	{Parameters, []StackName{Keys, DNS, Storage, Network, Certificate, Database, Backup, Cluster, Identity, Edge}, "Parameter Store entries"},
}

// Tier is a part of the network.
type Tier string

// The tiers of the reference architecture.
const (
	Public       Tier = "public"
	ControlPlane Tier = "control-plane"
	Private      Tier = "private"
)

// Pods is the tier of pods, if they have a range of their own.
const Pods Tier = "pods"

// Subnet is one subnet. Its zone is an index into the recorded zones, from 0.
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
type Subnet struct {
	Tier Tier
	Zone int
	// CIDR is the range of a subnet of ours, and ID the id of one that is
	// there; the other is not known.
	CIDR netip.Prefix
	ID   string
}

// KeyPurpose is what a KMS key is for.
type KeyPurpose string

// The keys. Each has an alias alias/<deployment>/<purpose>.
const (
	KeyStorage     KeyPurpose = "storage"     // data buckets
	KeyDatabase    KeyPurpose = "database"    // PostgreSQL storage, snapshots, Performance Insights
	KeyVolumes     KeyPurpose = "volumes"     // EBS
	KeyRegistry    KeyPurpose = "registry"    // ECR
	KeySecrets     KeyPurpose = "secrets"     // Secrets Manager
	KeyLogs        KeyPurpose = "logs"        // CloudWatch Logs
	KeyKubernetes  KeyPurpose = "kubernetes"  // Kubernetes secrets
	KeyApplication KeyPurpose = "application" // core-api's field-level encryption
	KeyBackup      KeyPurpose = "backup"      // backup vault
)

// BucketPurpose is what a bucket is for.
type BucketPurpose string

// The buckets.
const (
	BucketModels    BucketPurpose = "models"
	BucketCodeDocs  BucketPurpose = "code-docs"
	BucketAudit     BucketPurpose = "audit"
	BucketTelemetry BucketPurpose = "telemetry"
	BucketLogs      BucketPurpose = "logs"
)

// Bucket is one bucket. Name may hold ${AWS::AccountId} and ${AWS::Region},
// for Fn::Sub.
type Bucket struct {
	Purpose BucketPurpose
	Name    string
	Config  config.Bucket
}

// AnyZone is the zone of nodes that a capacity reservation binds to a zone id:
// only the account tells which of the recorded zones that is.
const AnyZone = -1

// NodeGroup is the nodes of one role in one zone: one EKS node group.
type NodeGroup struct {
	Role config.Role
	// Zone is an index into the recorded zones, from 0, or AnyZone.
	Zone  int
	Min   int
	Size  int // desired at creation; later the live value is passed on
	Max   int
	Group *config.NodeGroup
}

// ServiceAccount is a Kubernetes service account with an IAM role.
type ServiceAccount struct {
	Namespace, Name string
	// Role is the role's name in outputs and Parameter Store: "core-api".
	Role string
}

// Deviation is a difference from the reference architecture.
type Deviation struct {
	ID     string `json:"id"`
	Path   string `json:"path"`   // of the configuration that causes it
	What   string `json:"what"`   // what differs, and what follows from it
	Reason string `json:"reason"` // from the configuration; may be empty in evaluation
}

// Architecture is what a configuration means.
type Architecture struct {
	Config *config.Config
	// Zones is how many zones are recorded at creation, control-plane subnets
	// in all of them: 3, or 2 in regions that have two, or those of the
	// control-plane subnets that are there. Config.Network.Zones limits the
	// other tiers to the first ones.
	Zones   int
	Subnets []Subnet
	Keys    []KeyPurpose
	Buckets []Bucket
	// NodeGroups are all but GPU's, and GPUGroups those.
	NodeGroups []NodeGroup
	GPUGroups  []NodeGroup
	// ServiceAccounts that get IAM roles, in the order of the reference.
	ServiceAccounts []ServiceAccount
	// Endpoints are the interface endpoints' services ("ecr.api"), sorted.
	Endpoints  []string
	Deviations []Deviation
	// Stacks is the part of the catalogue that this configuration needs, in
	// an order that satisfies After.
	Stacks []Stack
	// Tags are the stack tags: the deployment's own and the user's.
	Tags map[string]string

	vpc, pods netip.Prefix
}
