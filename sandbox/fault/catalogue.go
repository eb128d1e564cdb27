package fault

import (
	"net/http"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Entry is an error that operations on resources fail with.
type Entry struct {
	// Name is how plans call it; most are the service's own code.
	Name string
	// Types is a pattern of the resource types that it can happen to, and On
	// the operations; empty is all.
	Types string
	On    []string
	// Late errors come when the operation's time is over.
	Late          bool
	Code, Message string
	Status        int
}

// Catalogue are the errors that a plan can name, in order.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
func Catalogue() []Entry {
	create, remove := []string{"create"}, []string{"delete", "rollback"}
	return []Entry{
		{Name: "AccessDenied", Code: "AccessDenied", Message: "User is not authorized to perform this operation with an explicit deny in a service control policy", Status: http.StatusForbidden},
		{Name: "AddressLimitExceeded", Types: "AWS::EC2::EIP", On: create, Code: "AddressLimitExceeded", Message: "The maximum number of addresses has been reached."},
		{Name: "AsgInstanceLaunchFailures", Types: "AWS::EKS::Nodegroup", Late: true, Code: "AsgInstanceLaunchFailures", Message: "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient capacity in the Availability Zone you requested. Launching EC2 instance failed."},
		{Name: "BucketAlreadyExists", Types: "AWS::S3::Bucket", On: create, Code: "BucketAlreadyExists", Message: "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.", Status: http.StatusConflict},
		{Name: "BucketNotEmpty", Types: "AWS::S3::Bucket", On: remove, Code: "BucketNotEmpty", Message: "The bucket you tried to delete is not empty", Status: http.StatusConflict},
		{Name: "DependencyViolation", Types: "AWS::EC2::*", On: remove, Code: "DependencyViolation", Message: "The resource has a dependent object and cannot be deleted."},
		{Name: "HostedZoneNotEmpty", Types: "AWS::Route53::HostedZone", On: remove, Code: "HostedZoneNotEmpty", Message: "The specified hosted zone contains non-required resource record sets and so cannot be deleted."},
		{Name: "InstanceQuotaExceeded", Types: "AWS::RDS::DBInstance", On: create, Code: "InstanceQuotaExceeded", Message: "Cannot create more than 40 DB instances"},
		{Name: "InsufficientDBInstanceCapacity", Types: "AWS::RDS::DBInstance", On: []string{"create", "update"}, Code: "InsufficientDBInstanceCapacity", Message: "The specified DB instance class isn't available in the specified Availability Zone."},
		{Name: "InsufficientFreeAddressesInSubnet", Types: "AWS::EC2::*", On: create, Code: "InsufficientFreeAddressesInSubnet", Message: "The specified subnet does not have enough free addresses to satisfy the request."},
		{Name: "InsufficientNumberOfReplicas", Types: "AWS::EKS::Addon", Late: true, Code: "InsufficientNumberOfReplicas", Message: "The add-on is unhealthy because it doesn't have the desired number of replicas."},
		{Name: "InternalFailure", Code: "InternalFailure", Message: "The request processing has failed because of an unknown error, exception or failure.", Status: http.StatusInternalServerError},
		{Name: "InvalidDBInstanceState", Types: "AWS::RDS::DBInstance", On: []string{"update", "delete", "rollback"}, Code: "InvalidDBInstanceState", Message: "The DB instance isn't in a valid state."},
		{Name: "NatGatewayLimitExceeded", Types: "AWS::EC2::NatGateway", On: create, Code: "NatGatewayLimitExceeded", Message: "The maximum number of NAT Gateways has been reached."},
		{Name: "NodeCreationFailure", Types: "AWS::EKS::Nodegroup", Late: true, Code: "NodeCreationFailure", Message: "Instances failed to join the kubernetes cluster"},
		{Name: "NotStabilized", Late: true, Code: "NotStabilized", Message: "Exceeded attempts to wait"},
		{Name: "OperationAborted", Types: "AWS::S3::*", Code: "OperationAborted", Message: "A conflicting conditional operation is currently in progress against this resource. Please try again.", Status: http.StatusConflict},
		{Name: "ResourceInUseException", Types: "AWS::EKS::*", Code: "ResourceInUseException", Message: "The specified resource is in use.", Status: http.StatusConflict},
		{Name: "ServiceUnavailable", Code: "ServiceUnavailable", Message: "The request has failed due to a temporary failure of the server.", Status: http.StatusServiceUnavailable},
		{Name: "StorageQuotaExceeded", Types: "AWS::RDS::DBInstance", On: []string{"create", "update"}, Code: "StorageQuotaExceeded", Message: "The request would result in the user exceeding the allowed amount of storage available across all DB instances."},
		{Name: "Throttling", Code: "Throttling", Message: "Rate exceeded"},
		{Name: "TooManyLoadBalancers", Types: "AWS::ElasticLoadBalancingV2::LoadBalancer", On: create, Code: "TooManyLoadBalancers", Message: "The maximum number of load balancers has been reached"},
		{Name: "UnsupportedAvailabilityZoneException", Types: "AWS::EKS::*", On: create, Code: "UnsupportedAvailabilityZoneException", Message: "At least one of the specified subnets is in an Availability Zone that does not support Amazon EKS."},
		{Name: "VpcLimitExceeded", Types: "AWS::EC2::VPC", On: create, Code: "VpcLimitExceeded", Message: "The maximum number of VPCs has been reached."},
	}
}

func entry(name string) (Entry, bool) {
	for _, e := range Catalogue() {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// quota is one that a plan can lower.
type quota struct {
	name, says, code string
	// typ is what it counts: per property, if there is one, else in the account.
	typ, per        string
	refusal, detail string // the error code and message
	status          int
	// family is the first letters of instance types whose vCPUs it counts.
	family string
}

// Quotas by name.
//
// https://docs.aws.amazon.com/general/latest/gr/vpc-service.html
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
func quotas() []quota {
	vcpus := "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
	return []quota{
		{name: "eks-clusters", says: "EKS clusters", code: "L-1194D53C", typ: "AWS::EKS::Cluster", refusal: "ResourceLimitExceededException", detail: "Maximum number of clusters (%d) reached"},
		{name: "eks-nodegroups", says: "managed node groups of a cluster", code: "L-6D54EA21", typ: "AWS::EKS::Nodegroup", per: "ClusterName", refusal: "ResourceLimitExceededException", detail: "Maximum number of node groups (%d) reached"},
		{name: "elastic-ips", says: "Elastic IP addresses", code: "L-0263D0A3", typ: "AWS::EC2::EIP", refusal: "AddressLimitExceeded", detail: "The maximum number of addresses has been reached."},
		{name: "iam-roles", says: "IAM roles", code: "L-FE177D64", typ: "AWS::IAM::Role", refusal: "LimitExceeded", detail: "Cannot exceed quota for RolesPerAccount: %d", status: http.StatusConflict},
		{name: "internet-gateways", says: "internet gateways", code: "L-A4707A72", typ: "AWS::EC2::InternetGateway", refusal: "InternetGatewayLimitExceeded", detail: "The maximum number of internet gateways has been reached."},
		{name: "kms-keys", says: "customer managed keys", code: "L-C2F1777E", typ: "AWS::KMS::Key", refusal: "LimitExceededException", detail: "The request was rejected because a quota was exceeded."},
		{name: "load-balancers", says: "application load balancers", code: "L-53DA6B97", typ: "AWS::ElasticLoadBalancingV2::LoadBalancer", refusal: "TooManyLoadBalancers", detail: "The maximum number of load balancers has been reached"},
		{name: "nat-gateways", says: "NAT gateways", code: "L-FE5A380F", typ: "AWS::EC2::NatGateway", refusal: "NatGatewayLimitExceeded", detail: "The maximum number of NAT Gateways has been reached."},
		{name: "rds-instances", says: "DB instances", code: "L-7B6409FD", typ: "AWS::RDS::DBInstance", refusal: "InstanceQuotaExceeded", detail: "Cannot create more than %d DB instances"},
		{name: "s3-buckets", says: "buckets", code: "L-DC2B2D3D", typ: "AWS::S3::Bucket", refusal: "TooManyBuckets", detail: "You have attempted to create more buckets than allowed"},
		{name: "security-groups", says: "security groups", code: "L-E79EC296", typ: "AWS::EC2::SecurityGroup", refusal: "SecurityGroupLimitExceeded", detail: "The maximum number of security groups has been reached."},
		{name: "target-groups", says: "target groups", code: "L-B22855CB", typ: "AWS::ElasticLoadBalancingV2::TargetGroup", refusal: "TooManyTargetGroups", detail: "The maximum number of target groups has been reached"},
		{name: "vcpus-g", says: "vCPUs of running G and VT instances", code: "L-DB2E81BA", family: "g,vt", refusal: "VcpuLimitExceeded", detail: vcpus},
		{name: "vcpus-p", says: "vCPUs of running P instances", code: "L-417A185B", family: "p", refusal: "VcpuLimitExceeded", detail: vcpus},
		{name: "vcpus-standard", says: "vCPUs of running A, C, D, H, I, M, R, T and Z instances", code: "L-1216C47A", family: "a,c,d,h,i,m,r,t,z", refusal: "VcpuLimitExceeded", detail: vcpus},
		{name: "vpc-endpoints", says: "interface endpoints of a VPC", code: "L-29B6F2EB", typ: "AWS::EC2::VPCEndpoint", per: "VpcId", refusal: "VpcEndpointLimitExceeded", detail: "The maximum number of VPC endpoints has been reached."},
		{name: "vpcs", says: "VPCs", code: "L-F678F1CE", typ: "AWS::EC2::VPC", refusal: "VpcLimitExceeded", detail: "The maximum number of VPCs has been reached."},
	}
}

func quotaNamed(name string) (quota, bool) {
	for _, q := range quotas() {
		if q.name == name {
			return q, true
		}
	}
	return quota{}, false
}

// owners of network interfaces by the names that plans have for them, with who
// EC2 says has asked for the interface.
var owners = []struct{ name, requester string }{
	{"eks", "eks.amazonaws.com"},
	{"endpoints", "amazon-vpc-endpoints"},
	{"instances", ""},
	{"load-balancers", "amazon-elb"},
	{"nat-gateways", "amazon-nat-gateway"},
	{"rds", "amazon-rds"},
	{"transit-gateways", "amazon-tgw"},
}

// throttled is how a service refuses calls that are too many.
//
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
// https://docs.aws.amazon.com/kms/latest/developerguide/throttling.html
func throttled(service string) *account.Error {
	e := func(status int, code, message string) *account.Error {
		return &account.Error{Code: code, Message: message, Status: status}
	}
	switch service {
	case "ec2":
		return e(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	case "s3":
		return e(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case "eks":
		return e(http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests")
	case "kms":
		return e(http.StatusBadRequest, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
	case "sns":
		return e(http.StatusTooManyRequests, "Throttled", "Rate exceeded")
	case "acm", "backup", "cloudtrail", "ecr", "logs", "secretsmanager", "ssm", "wafv2":
		return e(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
	}
	return e(http.StatusBadRequest, "Throttling", "Rate exceeded")
}

// broken is how a service says that something is wrong with itself.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func broken(service string, status int) *account.Error {
	e := func(code, message string) *account.Error {
		return &account.Error{Code: code, Message: message, Status: status}
	}
	if status == http.StatusServiceUnavailable {
		switch service {
		case "ec2":
			return e("Unavailable", "The server is overloaded and can't handle the request.")
		case "s3":
			return e("ServiceUnavailable", "Service is unable to handle request.")
		case "eks", "logs", "backup":
			return e("ServiceUnavailableException", "Service Unavailable")
		}
		return e("ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
	}
	switch service {
	case "ec2":
		return e("InternalError", "An internal error has occurred")
	case "s3":
		return e("InternalError", "We encountered an internal error. Please try again.")
	case "eks", "ecr":
		return e("ServerException", "Internal server error")
	case "kms":
		return e("KMSInternalException", "The request was rejected because an internal exception occurred. The request can be retried.")
	case "secretsmanager":
		return e("InternalServiceError", "An error occurred on the server side.")
	case "ssm":
		return e("InternalServerError", "An error occurred on the server side.")
	case "wafv2":
		return e("WAFInternalErrorException", "AWS WAF couldn't perform the operation because of a system problem. Retry your request.")
	}
	return e("InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
}

// expired is how a service refuses credentials that were good once.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func expired(service string) *account.Error {
	switch service {
	case "ec2":
		return &account.Error{Code: "RequestExpired", Message: "Request has expired.", Status: http.StatusBadRequest}
	case "s3":
		return &account.Error{Code: "ExpiredToken", Message: "The provided token has expired.", Status: http.StatusBadRequest}
	case "acm", "cloudtrail", "ecr", "kms", "logs", "secretsmanager", "ssm", "wafv2":
		return &account.Error{Code: "ExpiredTokenException", Message: "The security token included in the request is expired", Status: http.StatusBadRequest}
	case "eks", "backup":
		return &account.Error{Code: "ExpiredTokenException", Message: "The security token included in the request is expired", Status: http.StatusForbidden}
	}
	return &account.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: http.StatusForbidden}
}
