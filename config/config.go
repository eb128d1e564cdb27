// Package config is what the user decided: deployment.yaml as a value.
//
// [Load] reads it strictly and reports every fault at once, each with its
// place, reason and fix: [Faults] is the only kind of error here. What the file
// leaves out comes from the profile ([Default]), so a loaded [Config] is
// complete, and valid as far as one can tell without an account; the packages
// behind it rely on that. [Rules] are the same for the product, the schema and
// the reference page, which internal/schemagen writes.
//
// Files are small: 1 MiB and 20,000 YAML tokens at most, without anchors,
// aliases, merge keys, tags or a second document. The package touches no
// network, and no file but the one that [LoadFile] is given.
package config

import "slices"

// APIVersion is the version of the file format that this package reads.
const APIVersion = "poolhouse/v1"

// Profile is a starting point: a set of defaults. Going from evaluation to
// production is an update in place.
type Profile string

// The profiles.
const (
	Evaluation Profile = "evaluation"
	Production Profile = "production"
)

// Config is a complete deployment.yaml.
type Config struct {
	// Format of this file; always poolhouse/v1.
	APIVersion string `yaml:"apiVersion"`
	// Name of the deployment: lower-case letters, digits and hyphens, 3 to 24
	// characters. It is part of every name in the account and can't change.
	Name string `yaml:"name"`
	// AWS region, for example us-east-1.
	Region string `yaml:"region"`
	// Set of defaults to start from.
	Profile Profile `yaml:"profile"`
	// Tags for every resource, for example a cost centre.
	Tags map[string]string `yaml:"tags"`
	// ARN of the IAM policy that bounds every role that is made.
	PermissionBoundary string `yaml:"permissionBoundary"`
	// ARN of the role that CloudFormation assumes; without one it uses the
	// caller's own permissions.
	ServiceRole string `yaml:"serviceRole"`

	Network Network `yaml:"network"`
	Cluster Cluster `yaml:"cluster"`
	// Node groups by role. An entry changes what it names in the group that the
	// profile has for its role; roles that aren't listed are as in the profile.
	// There is a gpu group only if it is listed.
	Compute     []NodeGroup `yaml:"compute"`
	Database    Database    `yaml:"database"`
	Storage     Storage     `yaml:"storage"`
	Registry    Registry    `yaml:"registry"`
	Access      Access      `yaml:"access"`
	DNS         DNS         `yaml:"dns"`
	Certificate Certificate `yaml:"certificate"`
	Backups     Backups     `yaml:"backups"`
	WAF         WAF         `yaml:"waf"`
	Proxy       Proxy       `yaml:"proxy"`
	Trust       Trust       `yaml:"trust"`
	// Reasons for what differs from the reference architecture, by the id that
	// validate names. Required in production.
	Deviations map[string]string `yaml:"deviations"`

	source source
}

// Network is the VPC.
type Network struct {
	// IPv4 range of the VPC, /16 to /20. It can't change. With existing, the
	// VPC's primary range, of any size.
	CIDR string `yaml:"cidr"`
	// Number of availability zones for public and private subnets: 2 or 3.
	// Control-plane subnets always cover all recorded zones. With existing, it
	// follows from the subnets.
	Zones int `yaml:"zones"`
	NAT   NAT `yaml:"nat"`
	// Interface endpoints, by service name such as ecr.api. The S3 gateway
	// endpoint is always there. Required services are added when nat is none
	// and no transit gateway leads to the internet. With existing, the default
	// is none, and no gateway endpoint is made.
	Endpoints []string `yaml:"endpoints"`
	FlowLogs  FlowLogs `yaml:"flowLogs"`
	// Prefix lengths of the subnets by tier.
	Subnets Subnets `yaml:"subnets"`
	// A VPC and subnets that are there: they are used as they are, and nothing
	// in them is changed. Which VPC it is can't change.
	Existing Existing `yaml:"existing"`
	// IPv4 range of pods, /16 to /20: a secondary range of the VPC, with a
	// subnet per zone. Without one, pods take addresses of the private subnets.
	// It can't change.
	PodCIDR string `yaml:"podCidr"`
	// Transit gateway that the VPC is attached to.
	TransitGateway TransitGateway `yaml:"transitGateway"`
	// Further routes of the private subnets.
	Routes []Route `yaml:"routes"`
}

// Existing is a network that is there and stays as it is.
type Existing struct {
	// Id of the VPC.
	VPCID string `yaml:"vpcId"`
	// Subnets of internet-facing load balancers, one in each zone of the
	// private ones. Not needed when both load balancers are internal.
	PublicSubnetIDs []string `yaml:"publicSubnetIds"`
	// Subnets of the EKS control plane, 2 or 3 in distinct zones, the private
	// subnets' among them. They can't change.
	ControlPlaneSubnetIDs []string `yaml:"controlPlaneSubnetIds"`
	// Subnets of nodes, pods, database, endpoints and internal load balancers,
	// 2 or 3 in distinct zones. One can be added at the end.
	PrivateSubnetIDs []string `yaml:"privateSubnetIds"`
}

// TransitGateway attaches the VPC, in the private subnets, to a transit gateway
// that is there.
type TransitGateway struct {
	// Id of the transit gateway.
	ID string `yaml:"id"`
	// Ranges that private and public subnets reach through it. 0.0.0.0/0 is for
	// the private ones, with NAT mode none: central egress.
	CIDRs []string `yaml:"cidrs"`
}

// Route is a route of the private subnets.
type Route struct {
	// Range that it leads to.
	CIDR string `yaml:"cidr"`
	// Id of what it goes through, connected with the VPC: a peering connection,
	// a virtual private gateway, a transit gateway, an interface, or the
	// endpoint of a firewall.
	Target string `yaml:"target"`
}

// NATMode is the way out of the private subnets.
type NATMode string

// The NAT modes.
const (
	NATGatewayPerZone  NATMode = "gateway-per-zone"
	NATSingleGateway   NATMode = "single-gateway"
	NATInstancePerZone NATMode = "instance-per-zone"
	NATSingleInstance  NATMode = "single-instance"
	NATNone            NATMode = "none"
)

// NAT is the way out of the private subnets.
type NAT struct {
	// NAT gateways, self-managed instances, or none: then nodes reach AWS
	// through endpoints, and nothing else, unless a transit gateway leads to
	// the internet.
	Mode NATMode `yaml:"mode"`
	// Instance type of self-managed NAT: arm64.
	InstanceType string `yaml:"instanceType"`
	// The mode that is to come: its public addresses are allocated and shown,
	// for the allow-lists of others, and nothing else changes. Leave it out
	// when mode is set to it.
	Announce NATMode `yaml:"announce"`
}

// FlowLogs are the VPC's flow logs, in CloudWatch Logs.
type FlowLogs struct {
	// Whether there are flow logs. With network.existing, the default is false.
	Enabled bool `yaml:"enabled"`
	// Days to keep, one of the values that CloudWatch Logs takes.
	RetentionDays int `yaml:"retentionDays"`
}

// Subnets are prefix lengths by tier; 0 means computed from the range.
type Subnets struct {
	// Load balancers and NAT: /20 to /27.
	Public int `yaml:"public"`
	// Control plane: /24 to /27.
	ControlPlane int `yaml:"controlPlane"`
	// Nodes, pods and the database: /18 to /24.
	Private int `yaml:"private"`
}

// Cluster is the EKS cluster.
type Cluster struct {
	// Kubernetes version, for example "1.35".
	Version string `yaml:"version"`
	// Ranges that may reach the Kubernetes API from outside the VPC. Empty
	// means that there is no public endpoint.
	PublicAccessCIDRs []string `yaml:"publicAccessCidrs"`
	// ARNs of IAM roles or users that administer the cluster. The caller of
	// create is always one. Production needs two.
	Administrators []string `yaml:"administrators"`
	// Control-plane logs to keep.
	Logs []string `yaml:"logs"`
	// Days to keep the control-plane logs.
	LogRetentionDays int `yaml:"logRetentionDays"`
	// IPv4 range of Kubernetes services. It can't change.
	ServiceCIDR string `yaml:"serviceCidr"`
	// Versions of add-ons by name; what is left out takes AWS's default for
	// the Kubernetes version.
	AddonVersions map[string]string `yaml:"addonVersions"`
	// How the Kubernetes API is reached besides its public endpoint. create
	// tries the ways in order: direct, proxy, session.
	API ClusterAPI `yaml:"api"`
}

// ClusterAPI is how the Kubernetes API's private endpoint is reached.
type ClusterAPI struct {
	// Ranges in connected networks that may reach the private endpoint.
	AllowCIDRs []string `yaml:"allowCidrs"`
	// URL of an HTTP proxy that reaches it by CONNECT, with its port.
	Proxy string `yaml:"proxy"`
	// An instance of the deployment's own in a private subnet, reached through
	// Session Manager only, that forwards to it.
	SessionHost bool `yaml:"sessionHost"`
}

// Role is what a node group's nodes are for.
type Role string

// The node roles.
const (
	Core         Role = "core"
	WebAssistant Role = "web-assistant"
	Interface    Role = "interface"
	GPU          Role = "gpu"
)

// NodeGroup is the nodes of one role; there is one EKS node group per zone.
type NodeGroup struct {
	// What the nodes are for; interface serves API clients.
	Role Role `yaml:"role"`
	// Further roles that share these nodes: web-assistant may take interface
	// in, which is a deviation. A role with an entry of its own is apart.
	Also []Role `yaml:"also"`
	// Instance types, the first preferred.
	InstanceTypes []string `yaml:"instanceTypes"`
	// Fewest nodes over all zones.
	Min int `yaml:"min"`
	// Nodes over all zones at creation; later AWS or a scaler decides.
	Desired int `yaml:"desired"`
	// Most nodes over all zones.
	Max int `yaml:"max"`
	// Root volume in GiB.
	DiskGiB int `yaml:"diskGiB"`
	// Kubernetes labels beyond those of the role.
	Labels map[string]string `yaml:"labels"`
	// Kubernetes taints beyond those of the role.
	Taints []Taint `yaml:"taints"`
	// Capacity reservation for gpu nodes.
	Reservation Reservation `yaml:"reservation"`
}

// Taint is a Kubernetes taint.
type Taint struct {
	// Key of the taint.
	Key string `yaml:"key"`
	// Value of the taint.
	Value string `yaml:"value"`
	// What happens to pods that don't tolerate it.
	Effect string `yaml:"effect"`
}

// Reservation is an EC2 capacity reservation. It binds the nodes to one zone.
type Reservation struct {
	// Id of the reservation; without one, nodes are on demand.
	ID string `yaml:"id"`
	// Zone id of the reservation, for example use1-az4.
	ZoneID string `yaml:"zoneId"`
	// A capacity block for machine learning: nodes exist only in its window.
	CapacityBlock bool `yaml:"capacityBlock"`
}

// Database is PostgreSQL on RDS.
type Database struct {
	// Instance class, for example db.m7g.xlarge.
	InstanceClass string `yaml:"instanceClass"`
	// PostgreSQL version, major or full: "17" or "17.6".
	Version string `yaml:"version"`
	// Storage in GiB. It can't shrink.
	StorageGiB int `yaml:"storageGiB"`
	// GiB that storage may grow to by itself: a tenth more than storageGiB at
	// least, or the same, so that it doesn't grow.
	MaxStorageGiB int `yaml:"maxStorageGiB"`
	// Whether a standby runs in another zone.
	MultiAZ bool `yaml:"multiAz"`
	// Zone of a single instance, as a number from 1.
	PreferredZone int `yaml:"preferredZone"`
	// Days to keep automated backups.
	BackupDays int `yaml:"backupDays"`
	// Daily backup window in UTC, hh:mm-hh:mm, of 30 minutes at least.
	BackupWindow string `yaml:"backupWindow"`
	// Weekly maintenance window in UTC, ddd:hh:mm-ddd:hh:mm, of 30 minutes at
	// least. The backup window must not touch it.
	MaintenanceWindow string `yaml:"maintenanceWindow"`
	// Refuse deletion by API.
	DeletionProtection bool `yaml:"deletionProtection"`
	// Snapshot to start from. It stays part of the database for ever.
	Snapshot string `yaml:"snapshot"`
	// Seconds between enhanced monitoring's samples; 0 is off.
	MonitoringSeconds int `yaml:"monitoringSeconds"`
}

// Storage is the buckets by purpose.
type Storage struct {
	// Model checkpoints.
	Models Bucket `yaml:"models"`
	// Code and documents.
	CodeDocs Bucket `yaml:"codeDocs"`
	// Audit events.
	Audit Bucket `yaml:"audit"`
	// Telemetry.
	Telemetry Bucket `yaml:"telemetry"`
	// Access logs of buckets and load balancers.
	Logs Bucket `yaml:"logs"`
}

// Bucket is one bucket.
type Bucket struct {
	// Name; without one it is made of deployment, account, region and purpose.
	Name string `yaml:"name"`
	// Days until objects move to infrequent access; 0 is never, else at least
	// 30.
	InfrequentAccessDays int `yaml:"infrequentAccessDays"`
	// Days until objects expire; 0 is never.
	ExpireDays int `yaml:"expireDays"`
	// Days until superseded versions expire; 0 is never.
	NoncurrentDays int `yaml:"noncurrentDays"`
	// Object lock; only audit may have it.
	ObjectLock ObjectLock `yaml:"objectLock"`
}

// The modes of object lock.
const (
	LockOff        = "off"
	LockGovernance = "governance"
	LockCompliance = "compliance"
)

// ObjectLock keeps new objects from deletion. The audit bucket can always lock
// objects, since AWS allows that only from the start; this is the rule for
// objects that bring none.
type ObjectLock struct {
	// Whether privileged users may shorten it (governance) or nobody
	// (compliance).
	Mode string `yaml:"mode"`
	// Days that each object is kept; 0 when off.
	Days int `yaml:"days"`
}

// Registry is the ECR repositories.
type Registry struct {
	// Repositories, below the deployment's name.
	Repositories []string `yaml:"repositories"`
	// Untagged images expire after so many days.
	UntaggedDays int `yaml:"untaggedDays"`
}

// Access is how people and programs reach the deployment.
type Access struct {
	// Load balancer of web users and, by host name, of API clients.
	Web Endpoint `yaml:"web"`
	// Way in of API clients, such as IDEs.
	API Host `yaml:"api"`
	// Load balancer of administrators.
	Admin Endpoint `yaml:"admin"`
	SSO   SSO      `yaml:"sso"`
}

// Hosts are the names under which people and programs come in, each once, that of web
// users first.
func (a Access) Hosts() []string {
	hosts := []string{a.Web.Host}
	for _, h := range []string{a.API.Host, a.Admin.Host} {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// The schemes of a load balancer.
const (
	SchemeInternetFacing = "internet-facing"
	SchemeInternal       = "internal"
)

// Endpoint is one load balancer.
type Endpoint struct {
	// Host name, for example poolside.example.com.
	Host string `yaml:"host"`
	// Reached over the internet, or through the VPC.
	Scheme string `yaml:"scheme"`
	// Ranges that may connect, /8 at most. An internet-facing load balancer
	// needs them; for an internal one the default is network.cidr.
	AllowCIDRs []string `yaml:"allowCidrs"`
}

// Host is a host name on the web load balancer.
type Host struct {
	// Host name, for example api.poolside.example.com.
	Host string `yaml:"host"`
}

// SSO is single sign-on by OpenID Connect at the load balancers.
type SSO struct {
	// Whether users sign in by the provider. Going without is the deviation
	// no-sso, which needs a reason.
	Enabled bool `yaml:"enabled"`
	// Issuer URL, exactly as the provider's tokens name it. The endpoints are
	// known for Entra ID, Okta and Google, and needed for other providers.
	Issuer string `yaml:"issuer"`
	// Where users sign in.
	AuthorizationEndpoint string `yaml:"authorizationEndpoint"`
	// Where the load balancer fetches tokens.
	TokenEndpoint string `yaml:"tokenEndpoint"`
	// Where the load balancer fetches who the user is.
	UserInfoEndpoint string `yaml:"userInfoEndpoint"`
	// The internal load balancers reach the provider through the VPC, for
	// example over a transit gateway, although there is no NAT.
	ReachableInternally bool `yaml:"reachableInternally"`
	// Client of web users; redirects to https://<web host>/oauth2/idpresponse.
	Web Client `yaml:"web"`
	// Client of administrators; redirects to
	// https://<admin host>/oauth2/idpresponse.
	Admin Client `yaml:"admin"`
	// Group of administrators at the provider, passed to the application. The
	// provider must assign the admin client to this group only.
	AdminGroup string `yaml:"adminGroup"`
}

// Client is an OpenID Connect client.
type Client struct {
	// Id that the provider issued.
	ClientID string `yaml:"clientId"`
	// ARN of a Secrets Manager secret with the key client_secret.
	SecretARN string `yaml:"secretArn"`
}

// DNSMode is who keeps the DNS records.
type DNSMode string

// The DNS modes.
const (
	DNSCreateZone   DNSMode = "create-zone"
	DNSExistingZone DNSMode = "existing-zone"
	DNSNone         DNSMode = "none"
)

// DNS is Route 53, or the enterprise's own.
type DNS struct {
	// A zone of ours, one that exists, or none: then the records to make are
	// printed, and certificate.arn is needed.
	Mode DNSMode `yaml:"mode"`
	// Domain of the zone to create.
	Zone string `yaml:"zone"`
	// Id of the existing zone.
	ZoneID string `yaml:"zoneId"`
}

// Certificate is the TLS certificate of the load balancers.
type Certificate struct {
	// ARN of an existing certificate for the three hosts; without one, it is
	// issued here and validated by DNS.
	ARN string `yaml:"arn"`
}

// Backups are AWS Backup's, beyond the database's own.
type Backups struct {
	// Whether AWS Backup keeps the database and the data buckets.
	Enabled bool `yaml:"enabled"`
	// When, as an AWS cron expression in UTC.
	Schedule string `yaml:"schedule"`
	// Days to keep recovery points.
	RetentionDays int `yaml:"retentionDays"`
}

// WAF is the web application firewall at the load balancers.
type WAF struct {
	// Whether the load balancers have it.
	Enabled bool `yaml:"enabled"`
	// Requests from one address in five minutes before it is blocked; 0 is no
	// limit, else at least 100.
	RateLimit int `yaml:"rateLimit"`
}

// Proxy is the way out of nodes and workloads through an HTTP proxy. poolhouse
// takes it for its own calls too unless HTTPS_PROXY is set.
type Proxy struct {
	// URL of the proxy with its port, for example
	// http://proxy.corp.example.com:3128; without user and password.
	URL string `yaml:"url"`
	// Names and ranges that are reached without it, beyond those that are
	// computed: the VPC, Kubernetes and AWS services with endpoints.
	NoProxy []string `yaml:"noProxy"`
}

// Trust is whom nodes, workloads and poolhouse's own calls believe besides the
// public authorities.
type Trust struct {
	// Certificates of private authorities in PEM, without keys. AWS_CA_BUNDLE
	// takes its place for poolhouse's own calls.
	CABundle string `yaml:"caBundle"`
}
