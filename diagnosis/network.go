package diagnosis

func instances() []Entry {
	const launch = ec2Docs + "UserGuide/troubleshooting-launch.html"
	return []Entry{
		{
			ID:       "no-capacity",
			Words:    []string{"do not have sufficient {_} capacity in the Availability Zone you requested", "InsufficientInstanceCapacity", "do not have sufficient capacity"},
			Cause:    "EC2 has no room for these instances in the zone at the moment",
			Next:     "repeat the command later, or name more types in compute[].instanceTypes; for GPU nodes, reserve capacity and name it in compute[].reservation.id",
			Document: launch,
			Examples: []Failure{
				says("AWS::EKS::Nodegroup", "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient m6i.large capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity. Launching EC2 instance failed.", "GeneralServiceException"),
				says("AWS::AutoScaling::AutoScalingGroup", "Group did not stabilize. {current/minimum/target} instances = {0/1/1}. Failed Scaling Activity: We currently do not have sufficient t4g.small capacity in the Availability Zone you requested (us-east-1a).", "NotStabilized"),
			},
		},
		{
			ID:       "type-not-in-zone",
			Words:    []string{"Your requested instance type ({instances}) is not supported in your requested Availability Zone ({zone})"},
			Cause:    "zone {zone} does not have instance type {instances}",
			Next:     "name a type that all zones have in compute[].instanceTypes; aws ec2 describe-instance-type-offerings --location-type availability-zone lists them",
			Document: launch,
			Examples: []Failure{says("AWS::EKS::Nodegroup", "Could not launch On-Demand Instances. Unsupported - Your requested instance type (p5.48xlarge) is not supported in your requested Availability Zone (us-east-1c). Please retry your request by not specifying an Availability Zone or choosing us-east-1a.", "GeneralServiceException")},
		},
		{
			ID:       "reservation-full",
			Words:    []string{"The requested reservation does not have sufficient compatible and available capacity", "ReservationCapacityExceeded"},
			Cause:    "the capacity reservation is used up, has not begun, or is for another instance type or zone",
			Next:     "aws ec2 describe-capacity-reservations shows what is free in it; correct compute[].reservation.id, compute[].instanceTypes or compute[].desired, or free it",
			Document: ec2Docs + "APIReference/errors-overview.html",
			Examples: []Failure{says("AWS::EKS::Nodegroup", "Could not launch On-Demand Instances. ReservationCapacityExceeded - The requested reservation does not have sufficient compatible and available capacity for this request.", "GeneralServiceException")},
		},
		{
			ID:       "reservation-missing",
			Words:    []string{"The capacity reservation ID '{reservation}' does not exist"},
			Cause:    "there is no capacity reservation {reservation} in this account and region",
			Next:     "correct compute[].reservation.id",
			Document: ec2Docs + "APIReference/errors-overview.html",
			Examples: []Failure{says("AWS::EKS::Nodegroup", "The capacity reservation ID 'cr-0a1b' does not exist", "InvalidRequest")},
		},
		{
			ID:       "vcpu-limit",
			Words:    []string{"You have requested more vCPU capacity than your current vCPU limit of", "VcpuLimitExceeded"},
			Cause:    "the account may run fewer vCPUs of this family than the nodes need",
			Next:     "ask for more in Service Quotas (service ec2: L-1216C47A for standard instances, L-DB2E81BA for G, L-417A185B for P), or lower compute[].desired",
			Document: "https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html",
			Examples: []Failure{says("AWS::EKS::Nodegroup", "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to.", "GeneralServiceException")},
		},
		{
			ID:       "image-missing",
			Words:    []string{"The image id '[{_}]' does not exist", "cannot be resolved to an AMI"},
			Cause:    "the machine image is not in this region, or AWS has withdrawn it",
			Next:     "repeat the command, which asks for the present image; if it fails again, the image is gone for this version of the program",
			Document: ec2Docs + "APIReference/errors-overview.html",
			Examples: []Failure{says("AWS::EC2::LaunchTemplate", "The image id '[ami-0a1b]' does not exist", "NotFound")},
		},
		{
			ID: "scaling-group", Types: []string{"AWS::AutoScaling::*"}, Words: []string{"Group did not stabilize", "Failed Scaling Activity"}, Rank: Kind,
			Cause:    "Auto Scaling could not bring the group to its size, for the reason that stands after \"Failed Scaling Activity\"",
			Next:     "mend what EC2 names, then repeat the command; aws autoscaling describe-scaling-activities shows every attempt",
			Document: asgDocs + "CHAP_Troubleshooting.html",
			Examples: []Failure{says("AWS::AutoScaling::AutoScalingGroup", "Group did not stabilize. {current/minimum/target} instances = {0/1/1}. Failed Scaling Activity: something new", "NotStabilized")},
		},
	}
}

func network() []Entry {
	return []Entry{
		{
			ID: "in-use-by-others", Types: []string{"AWS::EC2::*"}, Words: []string{"has a dependent object", "has dependencies and cannot be deleted", "DependencyViolation"},
			Cause:    "something stands in the network or uses the security group that no stack of the deployment made: a network interface of a load balancer, endpoint, function or instance",
			Next:     "aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=VPC (or Name=group-id) shows what; remove it, then repeat the command, which clears away what AWS's services left",
			Document: vpcDocs + "userguide/delete-vpc.html",
			Examples: []Failure{
				says("AWS::EC2::SecurityGroup", "resource sg-0a1b has a dependent object", "InvalidRequest"),
				says("AWS::EC2::Subnet", "The subnet 'subnet-0a1b' has dependencies and cannot be deleted.", "InvalidRequest"),
				says("AWS::EC2::VPC", "The resource has a dependent object and cannot be deleted.", "InvalidRequest"),
			},
		},
		{
			ID: "public-addresses-mapped", Types: []string{"AWS::EC2::*"}, Words: []string{"Network {vpc} has some mapped public address(es)"},
			Cause:    "something in {vpc} still has a public address, so the internet gateway can't go",
			Next:     "aws ec2 describe-addresses shows Elastic IPs; a load balancer or instance that no stack made has the others: remove it, then repeat the command",
			Document: vpcDocs + "userguide/working-with-igw.html",
			Examples: []Failure{says("AWS::EC2::VPCGatewayAttachment", "Network vpc-0a1b has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", "InvalidRequest")},
		},
		{
			ID: "interface-in-use", Types: []string{"AWS::EC2::*"}, Words: []string{"Network interface '{eni}' is currently in use", "Interface: [{eni}] in use"},
			Cause:    "the interface {eni} is attached to something",
			Next:     "aws ec2 describe-network-interfaces --network-interface-ids {eni} shows to what; wait until it is gone, then repeat the command",
			Document: "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html",
			Examples: []Failure{says("AWS::EC2::NetworkInterface", "Network interface 'eni-0a1b' is currently in use.", "InvalidRequest")},
		},
		{
			ID:       "subnet-full",
			Words:    []string{"subnet does not have enough free addresses to satisfy the request", "There are not enough free addresses in subnet"},
			Cause:    "the subnet has no free address left",
			Next:     "free addresses in it, or use larger subnets: network.cidr and network.subnets, or other ones under network.existing",
			Document: vpcDocs + "userguide/subnet-sizing.html",
			Examples: []Failure{says("AWS::EC2::VPCEndpoint", "The specified subnet does not have enough free addresses to satisfy the request.", "GeneralServiceException")},
		},
		{
			ID: "range-conflict", Types: []string{"AWS::EC2::*"}, Words: []string{"The CIDR '{range}' conflicts with another"},
			Cause:    "the range {range} overlaps with another of the VPC",
			Next:     "correct network.cidr, network.subnets or network.podCidr",
			Document: vpcDocs + "userguide/vpc-cidr-blocks.html",
			Examples: []Failure{says("AWS::EC2::Subnet", "The CIDR '10.80.0.0/20' conflicts with another subnet", "InvalidRequest")},
		},
		{
			ID: "range-restricted", Types: []string{"AWS::EC2::*"}, Words: []string{"The CIDR '{range}' is restricted"},
			Cause:    "a VPC can't have {range} beside the range that it has",
			Next:     "set network.podCidr to one that AWS allows beside network.cidr: 100.64.0.0/10 goes with all",
			Document: vpcDocs + "userguide/vpc-cidr-blocks.html",
			Examples: []Failure{says("AWS::EC2::VPCCidrBlock", "The CIDR '192.168.0.0/16' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR.", "InvalidRequest")},
		},
		{
			ID: "route-exists", Types: []string{"AWS::EC2::*"}, Words: []string{"The route identified by {range} already exists", "already has a route with destination-prefix-list-id {range}"},
			Cause:    "the route table has a route to {range} that no stack of the deployment made",
			Next:     "remove that route, or leave it out of network.routes; then repeat the command",
			Document: vpcDocs + "userguide/VPC_Route_Tables.html",
			Examples: []Failure{
				says("AWS::EC2::Route", "The route identified by 0.0.0.0/0 already exists.", "AlreadyExists"),
				says("AWS::EC2::VPCEndpoint", "route table rtb-0a1b already has a route with destination-prefix-list-id pl-63a5400a", "AlreadyExists"),
			},
		},
		{
			ID:       "no-internet-gateway",
			Words:    []string{"is not attached to any internet gateway", "has no internet gateway"},
			Cause:    "the VPC has no internet gateway",
			Next:     "attach one to the VPC under network.existing, or make what needs it internal: access.web.scheme, access.admin.scheme",
			Document: vpcDocs + "userguide/working-with-igw.html",
			Examples: []Failure{
				says("AWS::EC2::NatGateway", "Network vpc-0a1b has no Internet gateway attached", "GeneralServiceException"),
				says("AWS::ElasticLoadBalancingV2::LoadBalancer", "VPC vpc-0a1b has no internet gateway", "InvalidRequest"),
			},
		},
		{
			ID: "endpoint-service", Types: []string{"AWS::EC2::VPCEndpoint"}, Words: []string{"The Vpc Endpoint Service '{service}' does not exist"},
			Cause:    "the region, or one of the zones, has no endpoint for {service}",
			Next:     "leave it out of network.endpoints, or choose zones that have it",
			Document: vpcDocs + "privatelink/aws-services-privatelink-support.html",
			Examples: []Failure{says("AWS::EC2::VPCEndpoint", "The Vpc Endpoint Service 'com.amazonaws.us-east-1.none' does not exist", "InvalidRequest")},
		},
		{
			ID: "endpoint-name-conflict", Types: []string{"AWS::EC2::VPCEndpoint"}, Words: []string{"private-dns-enabled cannot be set because there is already a conflicting DNS domain for {domain} in the VPC {vpc}"},
			Cause:    "{vpc} has another endpoint or a private zone that answers for {domain}",
			Next:     "leave that endpoint out of network.endpoints, since there is one, or remove the other",
			Document: vpcDocs + "privatelink/manage-dns-names.html",
			Examples: []Failure{says("AWS::EC2::VPCEndpoint", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for sts.us-east-1.amazonaws.com in the VPC vpc-0a1b", "InvalidRequest")},
		},
		{
			ID: "nat-gateway-failed", Types: []string{"AWS::EC2::NatGateway"}, Words: []string{"Elastic IP address [{_}] is already associated", "is in state failed", "could not be associated with this NAT gateway"},
			Cause:    "the NAT gateway failed: its address is in use elsewhere, or its subnet has no way out",
			Next:     "release the address, then repeat the command, which makes the gateway again",
			Document: vpcDocs + "userguide/nat-gateway-troubleshooting.html",
			Examples: []Failure{says("AWS::EC2::NatGateway", "Elastic IP address [eipalloc-0a1b] is already associated", "GeneralServiceException")},
		},
		{
			ID: "rule-exists", Types: []string{"AWS::EC2::SecurityGroup*"}, Words: []string{"the specified rule {_} already exists"},
			Cause:    "the security group has this rule already, and no stack of the deployment made it",
			Next:     "remove the rule, then repeat the command, which makes it again in its stack",
			Document: vpcDocs + "userguide/security-group-rules.html",
			Examples: []Failure{says("AWS::EC2::SecurityGroupIngress", "the specified rule \"peer: 0.0.0.0/0, TCP, from port: 443, to port: 443, ALLOW\" already exists", "AlreadyExists")},
		},
	}
}

// quotas are those that a deployment comes close to in a used account.
func quotas() []Entry {
	type quota struct{ id, typ, words, what, service, code, doc string }
	var all []Entry
	for _, q := range []quota{
		{"quota-vpcs", "AWS::EC2::VPC", "The maximum number of VPCs has been reached", "VPCs", "vpc", "L-F678F1CE", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-addresses", "AWS::EC2::EIP", "The maximum number of addresses has been reached", "Elastic IP addresses", "ec2", "L-0263D0A3", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-nat-gateways", "AWS::EC2::NatGateway", "The maximum number of NAT Gateways has been reached", "NAT gateways of a zone", "vpc", "L-FE5A380F", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-internet-gateways", "AWS::EC2::InternetGateway", "The maximum number of internet gateways has been reached", "internet gateways", "vpc", "L-A4707A72", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-security-groups", "AWS::EC2::SecurityGroup", "The maximum number of security groups has been reached", "security groups", "vpc", "L-E79EC296", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-endpoints", "AWS::EC2::VPCEndpoint", "The maximum number of VPC endpoints has been reached", "interface endpoints of a VPC", "vpc", "L-29B6F2EB", vpcDocs + "privatelink/vpc-limits-endpoints.html"},
		{"quota-vpc-ranges", "AWS::EC2::VPCCidrBlock", "has met its maximum number of allowed CIDRs: {n}", "IPv4 ranges of a VPC", "vpc", "L-83CA0A9D", vpcDocs + "userguide/amazon-vpc-limits.html"},
		{"quota-clusters", "AWS::EKS::Cluster", "Maximum number of clusters ({n}) reached", "EKS clusters", "eks", "L-1194D53C", eksDocs + "userguide/service-quotas.html"},
		{"quota-node-groups", "AWS::EKS::Nodegroup", "Maximum number of node groups ({n}) reached", "node groups of a cluster", "eks", "L-6D54EA21", eksDocs + "userguide/service-quotas.html"},
		{"quota-roles", "AWS::IAM::Role", "Cannot exceed quota for RolesPerAccount: {n}", "IAM roles", "iam", "L-FE177D64", iamDocs + "reference_iam-quotas.html"},
		{"quota-role-policies", "AWS::IAM::Role", "Cannot exceed quota for PoliciesPerRole: {n}", "managed policies of a role", "iam", "L-0DA4ABF3", iamDocs + "reference_iam-quotas.html"},
		{"quota-keys", "AWS::KMS::Key", "The request was rejected because a quota was exceeded", "KMS keys", "kms", "L-C2F1777E", kmsDocs + "developerguide/resource-limits.html"},
		{"quota-load-balancers", "AWS::ElasticLoadBalancingV2::LoadBalancer", "The maximum number of load balancers has been reached", "application load balancers", "elasticloadbalancing", "L-53DA6B97", elbDocs + "application/load-balancer-limits.html"},
		{"quota-target-groups", "AWS::ElasticLoadBalancingV2::TargetGroup", "The maximum number of target groups has been reached", "target groups", "elasticloadbalancing", "L-B22855CB", elbDocs + "application/load-balancer-limits.html"},
		{"quota-databases", "AWS::RDS::DBInstance", "Cannot create more than {n} DB instances", "DB instances", "rds", "L-7B6409FD", rdsDocs + "UserGuide/CHAP_Limits.html"},
		{"quota-database-storage", "AWS::RDS::DBInstance", "exceeding the allowed amount of storage available across all DB instances", "storage of all DB instances", "rds", "L-7ADDB58A", rdsDocs + "UserGuide/CHAP_Limits.html"},
		{"quota-buckets", "AWS::S3::Bucket", "You have attempted to create more buckets than allowed", "buckets", "s3", "L-DC2B2D3D", s3Docs + "userguide/BucketRestrictions.html"},
		{"quota-certificates", "AWS::CertificateManager::Certificate", "you have reached your limit of {n} certificates", "certificates", "acm", "L-F141DD1D", acmDocs + "userguide/acm-limits.html"},
	} {
		all = append(all, Entry{
			ID: q.id, Types: []string{q.typ}, Words: []string{q.words},
			Cause:    "the account has as many " + q.what + " as its quota allows",
			Next:     "ask for more: aws service-quotas request-service-quota-increase --service-code " + q.service + " --quota-code " + q.code + " --desired-value N; or remove what the account no longer needs",
			Document: q.doc,
			Examples: []Failure{says(q.typ, fill(q.words, map[string]string{"n": "5"})+".", "ServiceLimitExceeded")},
		})
	}
	return all
}
