package architecture

import "path"

// Row is a row of the reference architecture: what it asks for, and the
// resources that answer it.
type Row struct {
	// ID is stable: C rows are its components, N its notes on deployment, S
	// its security considerations.
	ID string
	// Asks is the row in our words.
	Asks string
	// Answered by the resources that any of these match; each must match one
	// in a configuration that has everything.
	By []Match
	// Note says what no resource can show.
	Note string
}

// Match finds resources: in a stack, those whose logical id fits a pattern of
// package path.
type Match struct {
	Stack   StackName
	Pattern string
}

// Fits tells whether the match means the resource.
func (m Match) Fits(stack StackName, logicalID string) bool {
	ok, err := path.Match(m.Pattern, logicalID)
	return err == nil && ok && m.Stack == stack
}

// Reference lists the rows of the reference architecture in its order: the
// sections on components, deployment notes and security considerations.
func Reference() []Row {
	const existing = "An existing network brings its own."
	return []Row{
		{"C1", "Public subnets hold load balancers and NAT gateways", []Match{
			{Network, "PublicSubnet[1-3]"}, {Network, "PublicRouteTable"}, {Network, "InternetGateway"}, {Network, "NatGateway[1-3]"}, {Edge, "*LoadBalancer"},
		}, existing},
		{"C2", "Control-plane subnets hold the endpoints of the EKS control plane", []Match{
			{Network, "ControlPlaneSubnet[1-3]"}, {Network, "ControlPlaneRouteTable"}, {Network, "ControlPlaneSecurityGroup"}, {Cluster, "Cluster"},
		}, existing},
		{"C3", "Private subnets hold the nodes, core apart from interfaces", []Match{
			{Network, "PrivateSubnet[1-3]"}, {Network, "PrivateRouteTable[1-3]"}, {Network, "Nodes*SecurityGroup"}, {Nodes, "CoreZone[1-3]"}, {Nodes, "InterfaceZone[1-3]"}, {Nodes, "WebAssistantZone[1-3]"},
		}, existing},
		{"C4", "IAM, with roles for service accounts (IRSA)", []Match{
			{Cluster, "OidcProvider"}, {Cluster, "VpcCniRole"}, {Identity, "*Role"},
		}, ""},
		{"C5", "Administrators and web users come in by separate ways", []Match{
			{Edge, "WebLoadBalancer"}, {Edge, "AdminLoadBalancer"}, {Network, "AlbWebSecurityGroup"}, {Network, "AlbAdminSecurityGroup"}, {Edge, "WebRule"}, {Edge, "AdminRule"}, {Cluster, "Administrator*"},
		}, ""},
		{"C6", "Single sign-on with the enterprise's identity provider", []Match{
			{Edge, "WebRule"}, {Edge, "AdminRule"},
		}, "A client each for web users and administrators; the provider assigns the second to the admin group."},
		{"C7", "Two or three availability zones", []Match{
			{Network, "PublicSubnet[1-3]"}, {Network, "PrivateSubnet[1-3]"}, {Network, "ControlPlaneSubnet[1-3]"},
		}, existing},
		{"C8", "The network is cut into public, control-plane and private subnets", []Match{
			{Network, "*Subnet[1-3]Acl"}, {Network, "*Subnet[1-3]RouteTable"}, {Network, "PublicAcl"}, {Network, "ControlPlaneAcl"}, {Network, "PrivateAcl"},
		}, existing},
		{"C9", "NAT gateways for outbound connections", []Match{
			{Network, "NatGateway[1-3]"}, {Network, "NatGatewayAddress[1-3]"}, {Network, "PrivateDefaultRoute[1-3]"},
		}, existing},
		{"C10", "EKS orchestrates the containers", []Match{
			{Cluster, "Cluster"}, {Cluster, "VpcCni"}, {Cluster, "KubeProxy"}, {Addons, "*"},
		}, ""},
		{"C11", "Nodes of their own for web assistant and interface", []Match{
			{Nodes, "WebAssistantZone[1-3]"}, {Nodes, "InterfaceZone[1-3]"}, {Nodes, "*LaunchTemplate"},
		}, ""},
		{"C12", "PostgreSQL for persistent data, with backups", []Match{
			{Database, "Database"}, {Backup, "Vault"}, {Backup, "Plan"}, {Backup, "DatabaseSelection"},
		}, ""},
		{"C13", "S3 for models, code and docs, audit and telemetry", []Match{
			{Storage, "ModelsBucket"}, {Storage, "CodeDocsBucket"}, {Storage, "AuditBucket"}, {Storage, "TelemetryBucket"},
		}, ""},
		{"C14", "ECR as the container registry", []Match{{Storage, "*Repository"}}, ""},
		{"C15", "Systems Manager Parameter Store", []Match{{Parameters, "*Entry"}}, ""},
		{"N1", "Deployments are created, updated and deleted by program", nil, "The commands create, update and delete, and this rehearsal of them."},
		{"N2", "NAT gateways or self-managed NAT", []Match{
			{Network, "NatGateway[1-3]"}, {Network, "NatGroup[1-3]"}, {Network, "NatInterface[1-3]"}, {Network, "NatInstanceAddress[1-3]"}, {Database, "NatAlarm[1-3]"},
		}, ""},
		{"N3", "DNS in Route 53, or the enterprise's own", []Match{
			{DNS, "HostedZone"}, {Edge, "*Record"},
		}, "With the enterprise's DNS, the records to make are printed."},
		{"S1", "Compute runs in private subnets only", []Match{
			{Network, "PrivateSubnet[1-3]"}, {Network, "PrivateAcl"}, {Nodes, "*Zone[1-3]"},
		}, ""},
		{"S2", "Single sign-on everywhere", []Match{{Edge, "WebRule"}, {Edge, "AdminRule"}}, ""},
		{"S3", "Traffic is controlled by gateways and security groups", []Match{
			{Network, "*SecurityGroup"}, {Network, "*In"}, {Network, "*Out"}, {Network, "InternetGateway"}, {Network, "NatGateway[1-3]"}, {Endpoints, "*Endpoint"}, {Network, "FlowLog"},
		}, ""},
		{"S4", "Data at rest is encrypted with KMS", []Match{
			{Keys, "*Key"}, {Keys, "*Alias"}, {Storage, "*Bucket"}, {Storage, "*Repository"}, {Database, "Database"}, {Cluster, "Cluster"}, {Nodes, "*LaunchTemplate"},
		}, ""},
		{"S5", "Data in transit is protected by TLS", []Match{
			{Certificate, "Certificate"}, {Edge, "*HttpsListener"}, {Edge, "*HttpListener"}, {Edge, "*TargetGroup"}, {Storage, "*BucketPolicy"}, {Database, "ParameterGroup"},
		}, ""},
		{"S6", "IAM roles, security groups and keys with least privilege", []Match{
			{Identity, "*Role"}, {Cluster, "*Role"}, {Nodes, "*Role"}, {Network, "*SecurityGroup"}, {Keys, "*Key"},
		}, ""},
		{"S7", "Kubernetes is configured securely", []Match{
			{Cluster, "Cluster"}, {Cluster, "Administrator*"}, {Cluster, "ClusterLogGroup"}, {Keys, "KubernetesKey"},
		}, "What lies inside the cluster is not part of the AWS side."},
		{"S8", "Several zones give resilience", []Match{
			{Network, "PrivateSubnet[1-3]"}, {Network, "NatGateway[1-3]"}, {Nodes, "*Zone[1-3]"}, {Database, "Database"},
		}, ""},
		{"S9", "Nodes are separated by the kind of work", []Match{
			{Nodes, "CoreZone[1-3]"}, {Nodes, "WebAssistantZone[1-3]"}, {Nodes, "InterfaceZone[1-3]"}, {GPU, "Gpu*"},
		}, ""},
		{"S10", "PostgreSQL is sized for its load and close to the nodes", []Match{
			{Database, "Database"}, {Database, "SubnetGroup"}, {Database, "*Alarm"},
		}, ""},
	}
}
