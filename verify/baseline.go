package verify

// Promise is a sentence of the security baseline in docs/security.md.
type Promise struct {
	// ID is stable: "B1".
	ID string
	// Topic groups promises.
	Topic string
	Says  string
	// Note says why nobody can check it from outside; empty where a check does.
	Note string
}

// Baseline lists the promises of the security baseline.
func Baseline() []Promise {
	return []Promise{
		{"B1", "Keys", "There is a KMS key of the customer's for each purpose: storage, database, volumes, registry, secrets, logs, Kubernetes secrets, application, backup.", ""},
		{"B2", "Keys", "All keys rotate every year.", ""},
		{"B3", "Keys", "A key policy names the account root, without which a key can be locked out of its own account, and only the services that the purpose needs.", ""},
		{"B4", "Keys", "Grants on the keys of volumes and database are for AWS services only.", ""},
		{"B5", "Keys", "Keys outlive their stack while something may still need them.", "What a deletion would do can't be seen before it."},

		{"B6", "Data at rest", "Buckets are encrypted with the storage key.", ""},
		{"B7", "Data at rest", "PostgreSQL, its snapshots and Performance Insights are encrypted with the database key.", ""},
		{"B8", "Data at rest", "Volumes of nodes are encrypted with the volumes key.", ""},
		{"B9", "Data at rest", "Images are encrypted with the registry key.", ""},
		{"B10", "Data at rest", "Secrets are encrypted with the secrets key.", ""},
		{"B11", "Data at rest", "Log groups are encrypted with the logs key.", ""},
		{"B12", "Data at rest", "Alarm notifications are encrypted.", ""},
		{"B13", "Data at rest", "Recovery points are encrypted with the backup key.", ""},
		{"B14", "Data at rest", "Kubernetes secrets are encrypted with the Kubernetes key.", ""},
		{"B15", "Data at rest", "The log bucket is the exception that AWS forces: it has S3's own encryption.", ""},

		{"B16", "Data in transit", "Listeners speak TLS 1.2 and 1.3 only.", ""},
		{"B17", "Data in transit", "Port 80 only redirects.", ""},
		{"B18", "Data in transit", "TLS goes on from the load balancer to the pod.", ""},
		{"B19", "Data in transit", "Buckets refuse what is no TLS, and TLS older than 1.2.", ""},
		{"B20", "Data in transit", "PostgreSQL refuses what is no TLS.", ""},
		{"B21", "Data in transit", "Topics refuse what is no TLS.", ""},

		{"B22", "Ways in", "Web users and API clients come through one load balancer, administrators through another.", ""},
		{"B23", "Ways in", "Each has an allow-list that can't be everywhere.", ""},
		{"B24", "Ways in", "Unless the configuration leaves it out, each asks for single sign-on at the listener.", ""},
		{"B25", "Ways in", "Both drop invalid headers.", ""},
		{"B26", "Ways in", "Both are logged.", ""},
		{"B27", "Ways in", "Production has a web application firewall.", ""},
		{"B28", "Ways in", "The Kubernetes API is always private, and public only to an allow-list.", ""},

		{"B29", "Network", "Nodes and database are in private subnets.", ""},
		{"B30", "Network", "No subnet gives out public addresses.", ""},
		{"B31", "Network", "Inside the VPC security groups name groups, not addresses.", ""},
		{"B32", "Network", "Groups that need no way out are closed, and the default group is empty.", ""},
		{"B33", "Network", "There are network ACLs for each tier.", ""},
		{"B34", "Network", "The VPC has flow logs.", ""},
		{"B35", "Network", "Endpoints have policies.", ""},

		{"B36", "Nodes", "Nodes take IMDSv2 only, with a hop limit of 1.", ""},
		{"B37", "Nodes", "There is no SSH to nodes; Session Manager takes its place.", ""},

		{"B38", "Identity", "There is one role per service account, its trust pinned to subject and audience.", ""},
		{"B39", "Identity", "There is one role per kind of node.", ""},
		{"B40", "Identity", "The cluster knows principals by access entries only; whoever created it is an administrator by entry, not by accident.", ""},
		{"B41", "Identity", "A permission boundary, if there is one, reaches every role.", ""},

		{"B42", "Secrets", "Secrets are in Secrets Manager only, never in parameters.", ""},
		{"B43", "Secrets", "RDS keeps and rotates the server's master secret; the application has an account of its own.", ""},

		{"B44", "Logs and history", "All logs of the control plane and PostgreSQL's logs are kept, each with a retention.", ""},
		{"B45", "Logs and history", "Firewall logs and access logs of buckets and load balancers are kept, each with a retention.", ""},
		{"B46", "Logs and history", "Buckets are versioned, and the audit bucket has object lock.", ""},
		{"B47", "Logs and history", "Images have immutable tags and are scanned.", ""},

		{"B48", "Protection", "What holds data is protected from deletion once the deployment is complete, if the configuration says so.", ""},

		{"B49", "Ways in", "The private endpoint of the Kubernetes API lets in nodes, and the session host and ranges of connected networks only if the configuration says so.", ""},
		{"B50", "Network", "Nodes reach a proxy's port in private ranges only.", ""},
		{"B51", "Nodes", "The session host is reached by Session Manager only.", ""},
	}
}
