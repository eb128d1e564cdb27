package oracle

import "regexp"

// known is a place where AWS itself does otherwise than its model says.
type known struct {
	fault string // a pattern for what [Models.Check] says
	// source is AWS's document that shows it.
	source string
}

// deviations is empty of the sandbox's own: a new line needs a document of AWS.
func deviations() []known {
	return []known{
		{
			`^cloudformation\.(DescribeStackEvents|DescribeEvents): answer: \w+\[\d+\]\.ResourceStatus: "(REVIEW_IN_PROGRESS|UPDATE_COMPLETE_CLEANUP_IN_PROGRESS|UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS)" is not among`,
			// The stack's own events carry its status.
			"https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html",
		},
		{
			`^ec2\.\w+: answer: vpcEndpoint(Set\[\d+\])?\.state: "(available|pending|pendingAcceptance|deleting|deleted|rejected|failed|expired)" is not among`,
			"https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcEndpoints.html",
		},
		{
			// The models are older than the newest instance types.
			`^ec2\.DescribeInstanceType\w*: answer: \S+\.instanceType: "[a-z0-9-]+\.[a-z0-9-]+" is not among`,
			"https://docs.aws.amazon.com/ec2/latest/instancetypes/so.html",
		},
		{
			`^ec2\.(Delete|Detach|Release)\w+: answer: return: is no member of $`,
			"https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSubnet.html",
		},
		{
			`^ec2\.DescribeInternetGateways: answer: \S+\.state: "available" is not among`,
			"https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InternetGatewayAttachment.html",
		},
		{
			// The filter of the same name has the value.
			`^ec2\.DescribeNetworkInterfaces: answer: \S+\.interfaceType: "nat_gateway" is not among`,
			"https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html",
		},
		{
			// JSON answers have empty lists and maps that requests may not have.
			`^(acm|ecr|eks|logs|ssm)\.\w+: answer: \S+: has 0 items, fewer than 1$`,
			"https://docs.aws.amazon.com/cli/latest/reference/ssm/get-parameters.html",
		},
		{
			// A load balancer has more attributes than may be set at once.
			`^elasticloadbalancing\.(Describe|Modify)LoadBalancerAttributes: answer: Attributes: has \d+ items, more than 20$`,
			"https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html",
		},
		{
			`^iam\.\w+: answer: \S+\.PermissionsBoundaryType: "Policy" is not among PermissionsBoundaryPolicy$`,
			"https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachedPermissionsBoundary.html",
		},
		{
			// The length is that of the id, to which answers add a path.
			`^route53\.\w+: answer: \S*Id: "/(hostedzone|change|delegationset)/\w+"\.\.\. is longer than 32$`,
			"https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html",
		},
		{
			`^s3\.PutBucketPolicy: answer: \(whole\): the status is 204, not 200$`,
			"https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html",
		},
		{
			`^s3\.PutBucketTagging: answer: \(whole\): the status is 204, not 200$`,
			"https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html",
		},
		{
			`^ssm\.\w+: error: ParameterNotFound: has no message$`,
			"https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html",
		},
	}
}

func isKnown(fault string) bool {
	for _, k := range knownPatterns {
		if k.MatchString(fault) {
			return true
		}
	}
	return false
}

var knownPatterns = func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, k := range deviations() {
		out = append(out, regexp.MustCompile(k.fault))
	}
	return out
}()

// documented are the error codes that a service's documentation has and its
// model lacks.
func documented(service string) []string {
	switch service {
	case "s3":
		// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
		return []string{
			"AccessControlListNotSupported", "AccessDenied", "AuthorizationHeaderMalformed", "BadDigest", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty",
			"EntityTooLarge", "EntityTooSmall", "InvalidPartNumber", "IllegalLocationConstraintException", "IllegalVersioningConfigurationException", "IncompleteBody",
			"InvalidAccessKeyId", "InvalidArgument", "InvalidBucketAclWithObjectOwnership", "InvalidBucketName", "InvalidBucketState", "InvalidDigest", "InvalidEncryptionAlgorithmError", "InvalidLocationConstraint",
			"InvalidPart", "InvalidPartOrder", "InvalidPolicyDocument", "InvalidRange", "InvalidRequest", "InvalidTag", "InvalidTargetBucketForLogging",
			"KeyTooLongError", "KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException", "MalformedACLError", "MalformedPolicy",
			"MalformedXML", "MetadataTooLarge", "MethodNotAllowed", "MissingContentLength", "NoSuchBucket", "NoSuchBucketPolicy",
			"NoSuchCORSConfiguration", "NoSuchKey", "NoSuchLifecycleConfiguration", "NoSuchObjectLockConfiguration", "NoSuchPublicAccessBlockConfiguration",
			"NoSuchTagSet", "NoSuchUpload", "NoSuchVersion", "NoSuchWebsiteConfiguration", "NotImplemented", "ObjectLockConfigurationNotFoundError", "OperationAborted",
			"OwnershipControlsNotFoundError", "PermanentRedirect", "PreconditionFailed", "ReplicationConfigurationNotFoundError",
			"RequestTimeTooSkewed", "ServerSideEncryptionConfigurationNotFoundError", "SlowDown", "TooManyBuckets", "XAmzContentSHA256Mismatch",
		}
	case "iam":
		// https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateRole.html
		return []string{"UnmodifiableEntity"}
	case "kms":
		// For names that begin with alias/aws/.
		// https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
		return []string{"NotAuthorizedException"}
	case "ec2":
		// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
		return ec2Codes()
	}
	return nil
}
