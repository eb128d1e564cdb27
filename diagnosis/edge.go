package diagnosis

func names() []Entry {
	acm, dns := []string{"AWS::CertificateManager::Certificate"}, []string{"AWS::Route53::*"}
	return []Entry{
		{
			ID: "certificate-not-validated", Types: acm, Codes: []string{"NotStabilized"},
			Words:    []string{"was not validated in time: the record for {_} isn't there", "timed out", "Exceeded attempts to wait", "Validation timed out"},
			Cause:    "ACM did not find the record that proves who owns the domain: the zone is not delegated, or the record was never added",
			Next:     "compare the name servers that the domain's registrar has with those of the zone (poolhouse outputs FILE), or add the record that was printed; then repeat the command",
			Document: acmDocs + "userguide/troubleshooting-timed-out.html",
			Examples: []Failure{says("AWS::CertificateManager::Certificate", "Certificate 0a1b was not validated in time: the record for poolside.example.com isn't there", "NotStabilized")},
		},
		{
			ID: "certificate-caa", Types: acm, Words: []string{"CAA_ERROR", "Certification Authority Authentication (CAA)", "CAA record"},
			Cause:    "a CAA record of the domain does not let Amazon issue certificates for it",
			Next:     "add a CAA record for amazon.com to the domain, or bring a certificate of your own (certificate.arn)",
			Document: acmDocs + "userguide/dns-validation.html",
			Examples: []Failure{says("AWS::CertificateManager::Certificate", "One or more domain names have failed validation due to a Certification Authority Authentication (CAA) error.", "GeneralServiceException")},
		},
		{
			ID: "certificate-in-use", Types: acm, Words: []string{"Certificate {certificate} in account {_} is in use"},
			Cause:    "a listener that no stack of the deployment made uses the certificate {certificate}",
			Next:     "aws acm describe-certificate shows what uses it; take it off there, then repeat the command",
			Document: acmDocs + "APIReference/API_DeleteCertificate.html",
			Examples: []Failure{says("AWS::CertificateManager::Certificate", "Certificate arn:aws:acm:us-east-1:123456789012:certificate/0a1b in account 123456789012 is in use.", "ResourceConflict")},
		},
		{
			ID: "zone-not-empty", Types: dns, Words: []string{"The specified hosted zone contains non-required resource record sets"},
			Cause:    "the zone has records that no stack of the deployment made",
			Next:     "aws route53 list-resource-record-sets --hosted-zone-id {id} lists them; remove those that nobody needs, then repeat the command",
			Document: dnsDocs + "APIReference/API_DeleteHostedZone.html",
			Examples: []Failure{says("AWS::Route53::HostedZone", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.", "GeneralServiceException")},
		},
		{
			ID: "record-exists", Types: dns, Words: []string{"Tried to create resource record set [name='{name}', type='{_}'] but it already exists"},
			Cause:    "the zone has a record {name} that no stack of the deployment made",
			Next:     "remove that record, or choose another host: access.web.host, access.api.host, access.admin.host",
			Document: dnsDocs + "DeveloperGuide/DomainNameFormat.html",
			Examples: []Failure{says("AWS::Route53::RecordSet", "[Tried to create resource record set [name='poolside.example.com.', type='A'] but it already exists]", "InvalidRequest")},
		},
		{
			ID: "record-not-in-zone", Types: dns, Words: []string{"RRSet with DNS name {_} is not permitted in zone {zone}", "is not permitted at apex in zone {zone}"},
			Cause:    "a host name is not in the zone {zone}",
			Next:     "correct the hosts under access, or dns.zone and dns.zoneId",
			Document: dnsDocs + "DeveloperGuide/DomainNameFormat.html",
			Examples: []Failure{says("AWS::Route53::RecordSet", "[RRSet with DNS name poolside.example.org. is not permitted in zone example.com.]", "InvalidRequest")},
		},
		{
			ID: "zone-missing", Types: dns, Words: []string{"No hosted zone found with ID: {zone}", "No hosted zones named {zone} found"},
			Cause:    "there is no hosted zone {zone} in this account",
			Next:     "correct dns.zoneId, and check that the credentials are for the account that has the zone",
			Document: dnsDocs + "APIReference/API_GetHostedZone.html",
			Examples: []Failure{says("AWS::Route53::RecordSet", "No hosted zone found with ID: Z0123", "NotFound")},
		},
	}
}

func loadBalancers() []Entry {
	elb := []string{"AWS::ElasticLoadBalancingV2::*"}
	return []Entry{
		{
			ID: "load-balancer-addresses", Types: elb, Words: []string{"Not enough IP space available in {subnet}. ELB requires at least {n} free"},
			Cause:    "the subnet {subnet} has too few free addresses for a load balancer",
			Next:     "free addresses in it, or name other ones in network.existing.publicSubnetIds",
			Document: elbDocs + "application/application-load-balancers.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::LoadBalancer", "Not enough IP space available in subnet-0a1b. ELB requires at least 8 free IP addresses in each subnet.", "InvalidRequest")},
		},
		{
			ID: "load-balancer-route", Types: elb, Words: []string{"Subnet {subnet} of an internet-facing load balancer has no route to an internet gateway"},
			Cause:    "the subnet {subnet} is not public: it has no route to an internet gateway",
			Next:     "name public subnets in network.existing.publicSubnetIds, or make the entrance internal (access.web.scheme, access.admin.scheme)",
			Document: elbDocs + "application/application-load-balancers.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::LoadBalancer", "Subnet subnet-0a1b of an internet-facing load balancer has no route to an internet gateway", "InvalidRequest")},
		},
		{
			ID: "load-balancer-name", Types: elb, Words: []string{"A load balancer with the same name '{name}' exists", "A target group with the same name '{name}' exists"},
			Cause:    "the region has one named {name} that no stack of the deployment made",
			Next:     "give the deployment another name, or delete that one if nobody uses it",
			Document: elbDocs + "APIReference/API_CreateLoadBalancer.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::LoadBalancer", "A load balancer with the same name 'poolside-web' exists, but with different settings", "AlreadyExists")},
		},
		{
			ID: "load-balancer-logs", Types: elb, Words: []string{"Access Denied for bucket: {bucket}"},
			Cause:    "Elastic Load Balancing may not write to the log bucket {bucket}: its policy was changed, or a policy of the organisation forbids it",
			Next:     "poolhouse drift FILE shows whether the bucket's policy was changed; poolhouse update FILE puts it back",
			Document: elbDocs + "application/enable-access-logging.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::LoadBalancer", "Access Denied for bucket: poolside-logs. Please check S3bucket permission", "AccessDenied")},
		},
		{
			ID: "listener-certificate", Types: elb, Words: []string{"Certificate '{certificate}' not found", "The certificate '{certificate}' must have a fully-qualified domain name"},
			Cause:    "the listener can't use the certificate {certificate}: it is not in this region, not issued, or of a kind that load balancers don't take",
			Next:     "correct certificate.arn; aws acm describe-certificate --certificate-arn {certificate} shows its state",
			Document: elbDocs + "application/https-listener-certificates.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::Listener", "Certificate 'arn:aws:acm:us-east-1:123456789012:certificate/0a1b' not found", "NotFound")},
		},
		{
			ID: "target-group-in-use", Types: elb, Words: []string{"Target group '{group}' is currently in use by a listener or a rule"},
			Cause:    "a listener or rule that no stack of the deployment made forwards to {group}",
			Next:     "remove that rule, then repeat the command",
			Document: elbDocs + "APIReference/API_DeleteTargetGroup.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::TargetGroup", "Target group 'web' is currently in use by a listener or a rule", "ResourceConflict")},
		},
		{
			ID: "rule-priority", Types: elb, Words: []string{"Priority '{priority}' is currently in use"},
			Cause:    "the listener has a rule of priority {priority} that no stack of the deployment made",
			Next:     "remove that rule, then repeat the command",
			Document: elbDocs + "APIReference/API_Operations.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::ListenerRule", "Priority '10' is currently in use", "ResourceConflict")},
		},
	}
}

func others() []Entry {
	return []Entry{
		{
			ID: "secret-pending-deletion", Types: []string{"AWS::SecretsManager::*"}, Words: []string{"a secret with this name is already scheduled for deletion", "it was marked for deletion"},
			Cause:    "a secret of this name waits for its deletion",
			Next:     "aws secretsmanager delete-secret --force-delete-without-recovery --secret-id NAME if nobody needs it, or restore-secret; then repeat the command",
			Document: secDocs + "userguide/manage_delete-secret.html",
			Examples: []Failure{says("AWS::SecretsManager::Secret", "You can't create this secret because a secret with this name is already scheduled for deletion.", "InvalidRequest")},
		},
		{
			ID: "secret-missing", Words: []string{"Secrets Manager can't find the specified secret"},
			Cause:    "a secret that the stack reads does not exist in this region",
			Next:     "correct access.sso.web.secretArn and access.sso.admin.secretArn; aws secretsmanager list-secrets lists those that there are",
			Document: secDocs + "userguide/whats-in-a-secret.html",
			Examples: []Failure{says("AWS::ElasticLoadBalancingV2::ListenerRule", "Secrets Manager can't find the specified secret.", "NotFound")},
		},
		{
			ID: "secret-key", Types: []string{"AWS::SecretsManager::*"}, Words: []string{"Secrets Manager can't encrypt the protected secret text using the provided KMS key"},
			Cause:    "Secrets Manager can't use the key: it is disabled, gone, or the caller may not use it",
			Next:     "aws kms describe-key shows its state; enable it, then repeat the command",
			Document: secDocs + "userguide/security-encryption.html",
			Examples: []Failure{says("AWS::SecretsManager::Secret", "Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state.", "GeneralServiceException")},
		},
		{
			ID: "parameter-exists", Types: []string{"AWS::SSM::Parameter"}, Words: []string{"The parameter already exists"},
			Cause:    "Parameter Store has a parameter of this name that no stack of the deployment made",
			Next:     "aws ssm delete-parameter for it if nobody reads it, or give the deployment another name",
			Document: "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html",
			Examples: []Failure{says("AWS::SSM::Parameter", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.", "AlreadyExists")},
		},
		{
			ID: "log-group-exists", Types: []string{"AWS::Logs::LogGroup"}, Words: []string{"already exists"},
			Cause:    "a log group of this name is there already: a service wrote again after an earlier deletion, or somebody made it",
			Next:     "aws logs delete-log-group --log-group-name NAME if nobody needs what is in it; then repeat the command",
			Document: "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html",
			Examples: []Failure{
				says("AWS::Logs::LogGroup", "The specified log group already exists", "AlreadyExists"),
				bare("AWS::Logs::LogGroup", "Resource of type 'AWS::Logs::LogGroup' with identifier '/aws/eks/poolside/cluster' already exists."),
			},
		},
		{
			ID: "web-acl-in-use", Types: []string{"AWS::WAFv2::*"}, Words: []string{"your resource is being used by another resource"},
			Cause:    "the web ACL protects something that no stack of the deployment made",
			Next:     "aws wafv2 list-resources-for-web-acl shows what; take it off there, then repeat the command",
			Document: "https://docs.aws.amazon.com/waf/latest/developerguide/limits.html",
			Examples: []Failure{says("AWS::WAFv2::WebACL", "AWS WAF couldn’t perform the operation because your resource is being used by another resource or it’s associated with another resource.", "GeneralServiceException")},
		},
		{
			ID: "web-acl-not-ready", Types: []string{"AWS::WAFv2::*"}, Words: []string{"retrieve the resource that you requested. Retry your request"},
			Cause:    "AWS WAF does not know a new load balancer or web ACL everywhere yet",
			Next:     "repeat the command",
			Document: "https://docs.aws.amazon.com/waf/latest/developerguide/limits.html",
			Examples: []Failure{says("AWS::WAFv2::WebACLAssociation", "AWS WAF couldn’t retrieve the resource that you requested. Retry your request.", "GeneralServiceException")},
		},
	}
}
