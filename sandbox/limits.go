package sandbox

// NotModelled lists, for people, what the sandbox leaves out of AWS and what a
// run against it therefore does not show. What a client asks for and is not
// modelled is refused with the error code NotModelled, except for things that
// the sandbox can't tell from what AWS doesn't have either.
func NotModelled() []string {
	return []string{
		"permissions: every authenticated principal may do everything; identity policies are checked for form, not enforced",
		"data: no packet is routed, nothing is encrypted, PostgreSQL and the load balancers have no endpoint that answers",
		"inside the cluster: no Kubernetes runs, so no pod, chart or target registration; its API answers for version and health to those whom EKS and the security groups let through, and 401 Unauthorized to the rest",
		"Session Manager: forwarding a port to another host only, without sessions' history; network ACLs and proxies on the way are not looked at",
		"capacity and throttling: instance types are always to be had, and calls are not limited",
		"service quotas, except for those that the services check themselves",
		"DNS resolution and delegation: certificates are issued as soon as their record exists",
		"the identity provider: sign-on is configured, not carried out",
		"money: nothing has a price",
		"other regions and accounts",
		"CloudFormation: transforms, rules, modules, macros, nested stacks, custom resources, templates by address, creation policies, update policies other than rolling updates without signals, rollback triggers, imports and hooks; notifications are not sent",
		"CloudTrail: what services do by themselves or on behalf of a caller, CloudFormation's calls among it, and calls that read",
		"AWS's catalogues in full: resource types, managed policies, machine images, instance types and versions that the sandbox does not know are refused as AWS refuses those that do not exist",
		"AWS's public parameters below /aws/service, except as the image of a launch template",
	}
}
