package sandbox

// NotModelled lists, for people, what the sandbox leaves out of AWS and what a
// run against it therefore does not show. What a client asks for and is not
// modelled is refused with the error code NotModelled.
func NotModelled() []string {
	return []string{
		"permissions: every authenticated principal may do everything; identity policies are checked for form, not enforced",
		"data: no packet is routed, nothing is encrypted, PostgreSQL, EKS and the load balancers have no endpoint that answers",
		"inside the cluster: no Kubernetes runs, so no pod, chart or target registration",
		"capacity and throttling: instance types are always to be had, and calls are not limited",
		"service quotas, except for those that the services check themselves",
		"DNS resolution and delegation: certificates are issued as soon as their record exists",
		"the identity provider: sign-on is configured, not carried out",
		"money: nothing has a price",
		"other regions and accounts",
		"CloudFormation: transforms, nested stacks, custom resources, imports, drift detection and hooks",
	}
}
