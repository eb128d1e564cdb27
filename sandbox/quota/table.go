package quota

import "strings"

func ec2(code, name string, value int, refusal, things string) *Quota {
	return &Quota{Service: "vpc", Code: code, Name: name, Default: value, Adjustable: true, Refusal: refusal, Message: "The maximum number of " + things + " has been reached."}
}

// Amazon VPC.
// https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
var (
	VPCs               = ec2("L-F678F1CE", "VPCs per Region", 5, "VpcLimitExceeded", "VPCs")
	Subnets            = ec2("L-407747CB", "Subnets per VPC", 200, "SubnetLimitExceeded", "subnets")
	InternetGateways   = ec2("L-A4707A72", "Internet gateways per Region", 5, "InternetGatewayLimitExceeded", "internet gateways")
	NatGateways        = ec2("L-FE5A380F", "NAT gateways per Availability Zone", 5, "NatGatewayLimitExceeded", "NAT Gateways")
	SecurityGroups     = ec2("L-E79EC296", "VPC security groups per Region", 2500, "SecurityGroupLimitExceeded", "security groups")
	Rules              = ec2("L-0EA8095F", "Inbound or outbound rules per security group", 60, "RulesPerSecurityGroupLimitExceeded", "rules per security group")
	GroupsPerInterface = ec2("L-2AFB9258", "Security groups per network interface", 5, "SecurityGroupsPerInterfaceLimitExceeded", "security groups per interface")
	Interfaces         = ec2("L-DF5E4CA3", "Network interfaces per Region", 5000, "NetworkInterfaceLimitExceeded", "network interfaces")
	RouteTables        = ec2("L-589F43AA", "Route tables per VPC", 200, "RouteTableLimitExceeded", "route tables")
	Routes             = ec2("L-93826ACB", "Routes per route table", 500, "RouteLimitExceeded", "routes")
	NetworkACLs        = ec2("L-B4A6D682", "Network ACLs per VPC", 200, "NetworkAclLimitExceeded", "network acls")
	Entries            = ec2("L-2AEEBF1A", "Rules per network ACL", 20, "NetworkAclEntryLimitExceeded", "network acl entries")
	InterfaceEndpoints = ec2("L-29B6F2EB", "Interface VPC endpoints per VPC", 50, "VpcEndpointLimitExceeded", "VPC endpoints")
	GatewayEndpoints   = ec2("L-1B52E74A", "Gateway VPC endpoints per Region", 20, "VpcEndpointLimitExceeded", "VPC endpoints")
	Ranges             = &Quota{
		Service: "vpc", Code: "L-83CA0A9D", Name: "IPv4 CIDR blocks per VPC", Default: 5, Adjustable: true,
		Refusal: "CidrLimitExceeded", Message: "This network has met its maximum number of allowed CIDRs: {}",
	}
)

// vcpus is a quota on the vCPUs of running instances of some families.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html
func vcpus(code, name string, value, usual int) *Quota {
	return &Quota{
		Service: "ec2", Code: code, Name: name, Default: value, Usual: usual, Adjustable: true, Refusal: "VcpuLimitExceeded",
		Message: "You have requested more vCPU capacity than your current vCPU limit of {} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
	}
}

// Amazon EC2.
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
var (
	Addresses = &Quota{
		Service: "ec2", Code: "L-0263D0A3", Name: "EC2-VPC Elastic IPs", Default: 5, Adjustable: true,
		Refusal: "AddressLimitExceeded", Message: "The maximum number of addresses has been reached.",
	}
	StandardVCPUs     = vcpus("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5, 1152)
	DLVCPUs           = vcpus("L-6E869C2A", "Running On-Demand DL instances", 0, 192)
	FVCPUs            = vcpus("L-74FC7D96", "Running On-Demand F instances", 0, 192)
	GVCPUs            = vcpus("L-DB2E81BA", "Running On-Demand G and VT instances", 0, 768)
	HighMemoryVCPUs   = vcpus("L-43DA4232", "Running On-Demand High Memory instances", 0, 448)
	InfVCPUs          = vcpus("L-1945791B", "Running On-Demand Inf instances", 0, 384)
	PVCPUs            = vcpus("L-417A185B", "Running On-Demand P instances", 0, 768)
	TrnVCPUs          = vcpus("L-2C3B7624", "Running On-Demand Trn instances", 0, 384)
	XVCPUs            = vcpus("L-7295265B", "Running On-Demand X instances", 0, 384)
	StandardSpotVCPUs = vcpus("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 5, 1152)
	GSpotVCPUs        = vcpus("L-3819A6DF", "All G and VT Spot Instance Requests", 0, 768)
	PSpotVCPUs        = vcpus("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", 0, 768)
)

// VCPUs is the quota that an instance type counts against; nil for one that
// the sandbox has no quota for.
func VCPUs(instanceType string, spot bool) *Quota {
	family, _, _ := strings.Cut(instanceType, ".")
	for _, f := range []struct {
		prefix   string
		onDemand *Quota
		spot     *Quota
	}{
		{"u-", HighMemoryVCPUs, nil},
		{"u7", HighMemoryVCPUs, nil},
		{"dl", DLVCPUs, nil},
		{"inf", InfVCPUs, nil},
		{"trn", TrnVCPUs, nil},
		{"vt", GVCPUs, GSpotVCPUs},
		{"g", GVCPUs, GSpotVCPUs},
		{"p", PVCPUs, PSpotVCPUs},
		{"f", FVCPUs, nil},
		{"x", XVCPUs, nil},
		{"hpc", nil, nil},
		{"mac", nil, nil},
	} {
		if strings.HasPrefix(family, f.prefix) {
			if spot {
				return f.spot
			}
			return f.onDemand
		}
	}
	if spot {
		return StandardSpotVCPUs
	}
	return StandardVCPUs
}

func elb(code, name string, value int, refusal, message string) *Quota {
	return &Quota{Service: "elasticloadbalancing", Code: code, Name: name, Default: value, Adjustable: true, Refusal: refusal, Message: message}
}

// Elastic Load Balancing.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
var (
	LoadBalancers = elb("L-53DA6B97", "Application Load Balancers per Region", 50, "TooManyLoadBalancers", "The maximum number of load balancers has been reached")
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-limits.html
	ClassicLoadBalancers = elb("L-E9E9831D", "Classic Load Balancers per Region", 20, "TooManyLoadBalancers", "The maximum number of load balancers has been reached")
	TargetGroups         = elb("L-B22855CB", "Target Groups per Region", 3000, "TooManyTargetGroups", "The maximum number of target groups has been reached")
	Listeners            = elb("L-B6DF7632", "Listeners per Application Load Balancer", 50, "TooManyListeners", "The maximum number of listeners has been reached")
	ListenerRules        = elb("L-7EED9B64", "Rules per Application Load Balancer", 100, "TooManyRules", "The maximum number of rules has been reached")
	Targets              = elb("L-A0D0B863", "Targets per Target Group per Region", 1000, "TooManyTargets", "The maximum number of targets has been reached")
)

// Other services.
var (
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/BucketRestrictions.html
	Buckets = &Quota{
		Service: "s3", Code: "L-DC2B2D3D", Name: "General purpose buckets", Default: 10000, Adjustable: true, Global: true,
		Refusal: "TooManyBuckets", Message: "You have attempted to create more buckets than allowed",
	}
	// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
	LogGroups = &Quota{
		Service: "logs", Key: "logs/log-groups", Name: "Log groups", Default: 1_000_000, Adjustable: true,
		Refusal: "LimitExceededException", Message: "Resource limit exceeded.",
	}
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
	Repositories = &Quota{
		Service: "ecr", Code: "L-CFEB8E8D", Name: "Registered repositories", Default: 100_000, Adjustable: true,
		Refusal: "LimitExceededException", Message: "The operation did not succeed because it would have exceeded a service limit for your account.",
	}
	// https://docs.aws.amazon.com/general/latest/gr/ssm.html
	StandardParameters = &Quota{
		Service: "ssm", Key: "ssm/standard-parameters", Name: "Standard parameters", Default: 10_000,
		Refusal: "ParameterLimitExceeded", Message: "You have reached the maximum number of standard parameters for this AWS account and Region ({}). To add more parameters, either delete existing parameters or upgrade to the advanced-parameter tier (charges apply).",
	}
	AdvancedParameters = &Quota{
		Service: "ssm", Key: "ssm/advanced-parameters", Name: "Advanced parameters", Default: 100_000,
		Refusal: "ParameterLimitExceeded", Message: "You have reached the maximum number of advanced parameters for this AWS account and Region ({}).",
	}
	// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html
	HostedZones = &Quota{
		Service: "route53", Code: "L-4EA4796A", Name: "Hosted zones", Default: 500, Adjustable: true, Global: true,
		Refusal: "TooManyHostedZones", Message: "This operation can't be completed because the current account has reached the limit on the number of hosted zones.",
	}
	Records = &Quota{
		Service: "route53", Code: "L-E209CC9F", Name: "Records per hosted zone", Default: 10_000, Adjustable: true, Global: true,
		Refusal: "InvalidChangeBatch", Message: "[Number of records limit of {} exceeded.]",
	}
	// https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
	Certificates = &Quota{
		Service: "acm", Code: "L-F141DD1D", Name: "ACM certificates", Default: 2500, Adjustable: true,
		Refusal: "LimitExceededException", Message: "Error: you have reached your limit of {} certificates.",
	}
	Domains = &Quota{
		Service: "acm", Code: "L-FB94F0B0", Name: "Domain names per ACM certificate", Default: 10, Adjustable: true,
		Refusal: "LimitExceededException", Message: "Error: the number of domain names exceeds the limit of {}.",
	}
	// https://docs.aws.amazon.com/general/latest/gr/sns.html
	Topics = &Quota{
		Service: "sns", Code: "L-61103206", Name: "Topics per Account", Default: 100_000, Adjustable: true,
		Refusal: "TopicLimitExceeded", Message: "You've reached the maximum number of topics allowed: {}.", Status: 403,
	}
	// https://docs.aws.amazon.com/waf/latest/developerguide/limits.html
	WebACLs = &Quota{
		Service: "wafv2", Key: "wafv2/web-acls", Name: "Web ACLs per Region", Default: 100, Adjustable: true,
		Refusal: "WAFLimitsExceededException", Message: "AWS WAF couldn’t perform the operation because you exceeded your resource limit.",
	}
)

// Services are the services with quotas, by Service Quotas' code, with their
// names there.
func Services() map[string]string {
	return map[string]string{
		"acm": "AWS Certificate Manager (ACM)", "autoscaling": "Amazon EC2 Auto Scaling", "eks": "Amazon Elastic Kubernetes Service (Amazon EKS)",
		"iam": "AWS Identity and Access Management (IAM)", "kms": "AWS Key Management Service (AWS KMS)", "rds": "Amazon Relational Database Service (Amazon RDS)",
		"ec2": "Amazon Elastic Compute Cloud (Amazon EC2)", "ecr": "Amazon Elastic Container Registry (Amazon ECR)",
		"elasticloadbalancing": "Elastic Load Balancing (ELB)", "route53": "Amazon Route 53", "s3": "Amazon Simple Storage Service (Amazon S3)",
		"sns": "Amazon Simple Notification Service (Amazon SNS)", "vpc": "Amazon Virtual Private Cloud (Amazon VPC)",
	}
}

// All are all quotas of the table, by service.
func All() []*Quota {
	return []*Quota{
		Certificates, Domains,
		AutoScalingGroups,
		Addresses, StandardVCPUs, DLVCPUs, FVCPUs, GVCPUs, HighMemoryVCPUs, InfVCPUs, PVCPUs, TrnVCPUs, XVCPUs, StandardSpotVCPUs, GSpotVCPUs, PSpotVCPUs,
		Repositories,
		Clusters, NodeGroups,
		LoadBalancers, ClassicLoadBalancers, TargetGroups, Listeners, ListenerRules, Targets,
		Roles, InstanceProfiles, ManagedPolicies, OIDCProviders,
		Keys,
		LogGroups,
		Databases, SubnetGroups, ParameterGroups,
		HostedZones, Records,
		Buckets,
		Topics,
		StandardParameters, AdvancedParameters,
		VPCs, Subnets, Ranges, InternetGateways, NatGateways, SecurityGroups, Rules, GroupsPerInterface, Interfaces, RouteTables, Routes, NetworkACLs, Entries, InterfaceEndpoints, GatewayEndpoints,
		WebACLs,
	}
}
