package sandbox

// WithoutKubernetes is what [NotModelled] says of clusters behind which no Kubernetes runs.
const WithoutKubernetes = "inside the cluster: Kubernetes runs only where `poolhouse sandbox` serves the account, with its server of Kubernetes, and in a copy of the account in a rehearsal with --kubernetes; elsewhere there is no pod, chart or target registration, and a cluster's API answers for version and health to those whom EKS and the security groups let through, and 401 Unauthorized to the rest"

// NotModelled lists, for people, what the sandbox leaves out of AWS and what a
// run against it therefore does not show. What a client asks for and is not
// modelled is refused with the error code NotModelled, except for things that
// the sandbox can't tell from what AWS doesn't have either.
func NotModelled() []string {
	return []string{
		"permissions: service and resource control policies of organizations, policies of VPC endpoints, groups of users, and the text of most of AWS's managed policies, whose decisions are refused as not modelled",
		"data: no packet is routed in the VPC; databases and load balancers answer only where `poolhouse sandbox` serves the account, with servers of this machine behind them, and in the steps data and hosts of a rehearsal",
		WithoutKubernetes,
		"Session Manager: forwarding a port to another host only, without sessions' history; network ACLs and proxies on the way are not looked at",
		"throttling and shortages by chance: calls are limited and capacity is short only where a plan of faults or the account's options say so",
		"service quotas beyond those that Service Quotas lists here, and requests to raise them; the vCPUs of running instances have what AWS grants accounts in use, not a new one's",
		"DNS resolution: certificates are issued when their record is in a zone that counts as delegated",
		"the identity provider: sign-on is carried out only where `poolhouse sandbox` serves the account and in the steps data and hosts of a rehearsal, at a provider of the sandbox's own",
		"money: nothing has a price",
		"other regions and accounts, and so keys of several regions",
		"CloudFormation: transforms, modules, macros, nested stacks, custom resources, templates by address other than of its own S3, rules that look at the account (Fn::RefAll, Fn::ValueOf), wait conditions, creation policies but those of Auto Scaling groups, update policies other than rolling updates, rollback triggers, imports and hooks; notifications are not sent",
		"CloudTrail: what services do by themselves or on behalf of a caller, CloudFormation's calls among it, and calls that read",
		"AWS's catalogues in full: resource types, managed policies, machine images, instance types and versions that the sandbox does not know are refused as AWS refuses those that do not exist",
		"AWS's public parameters below /aws/service, except as the image of a launch template",
	}
}
