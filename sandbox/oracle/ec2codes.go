package oracle

// ec2Codes are the codes of EC2, whose model has none, for what the sandbox
// models.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func ec2Codes() []string {
	return []string{
		"AddressLimitExceeded", "AttachmentLimitExceeded", "AuthFailure", "Blocked", "CannotDelete", "CidrLimitExceeded",
		"Client.InvalidKMSKey.InvalidState", "ConcurrentTagAccess", "DependencyViolation", "DryRunOperation", "DuplicateSubnetsInSameZone",
		"DuplicateTransitGatewayAttachment", "FilterLimitExceeded", "FlowLogAlreadyExists", "FlowLogsLimitExceeded", "Gateway.NotAttached",
		"IdempotentParameterMismatch", "IncorrectInstanceState", "IncorrectState", "InstanceLimitExceeded", "InsufficientCapacity",
		"InsufficientFreeAddressesInSubnet", "InsufficientInstanceCapacity", "InternetGatewayLimitExceeded", "InvalidAMIID.Malformed",
		"InvalidAMIID.NotFound", "InvalidAddress.NotFound", "InvalidAddressID.NotFound", "InvalidAllocationID.NotFound",
		"InvalidAssociationID.NotFound", "InvalidAttachment.NotFound", "InvalidAttachmentID.NotFound", "InvalidAvailabilityZone", "InvalidBlockDeviceMapping",
		"InvalidCapacityReservationId.NotFound", "InvalidCidr.InUse", "InvalidCidrBlock.InUse", "InvalidDhcpOptionsID.NotFound", "InvalidElasticIpID.Malformed", "InvalidFilter",
		"InvalidFlowLogId.NotFound", "InvalidGroup.Duplicate", "InvalidGroup.InUse", "InvalidGroup.NotFound", "InvalidGroup.Reserved",
		"InvalidGroupId.Malformed", "InvalidID", "InvalidIPAddress.InUse", "InvalidInstanceID", "InvalidInstanceID.Malformed",
		"InvalidInstanceID.NotFound", "InvalidInstanceType", "InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed",
		"InvalidKeyPair.NotFound", "InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound",
		"InvalidLaunchTemplateId.VersionNotFound", "InvalidLaunchTemplateName.AlreadyExistsException",
		"InvalidLaunchTemplateName.MalformedException", "InvalidLaunchTemplateName.NotFoundException", "InvalidNatGatewayID.NotFound",
		"InvalidNetworkAclEntry.NotFound", "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed", "InvalidNetworkInterface.InUse", "InvalidNetworkInterface.NotFound",
		"InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed", "InvalidNextToken", "InvalidPaginationToken", "InvalidParameter", "InvalidParameterDependency",
		"InvalidPermission.Duplicate", "InvalidPermission.Malformed", "InvalidPermission.NotFound", "InvalidPolicyDocument", "InvalidPrefixListID.Malformed", "InvalidPrefixListID.NotFound",
		"InvalidPrefixListId", "InvalidRequest", "InvalidReservationID.NotFound", "InvalidRoute.NotFound", "InvalidRouteTableID.NotFound",
		"InvalidRouteTableId.Malformed", "InvalidSecurityGroupID.NotFound", "InvalidSecurityGroupRuleId.NotFound", "InvalidServiceName",
		"InvalidSnapshot.NotFound", "InvalidState", "InvalidSubnet", "InvalidSubnet.Conflict", "InvalidSubnet.Range", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound",
		"InvalidTransitGatewayAttachmentID.Malformed", "InvalidTransitGatewayAttachmentID.NotFound", "InvalidTransitGatewayID.Malformed", "InvalidTransitGatewayID.NotFound", "InvalidUserData.Malformed", "InvalidVolume.NotFound", "InvalidVolume.ZoneMismatch",
		"InvalidVpc.Range", "InvalidVpcEndpoint.NotFound", "InvalidVpcEndpointId.NotFound", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound",
		"InvalidVpcPeeringConnectionID.Malformed", "InvalidVpcPeeringConnectionID.NotFound", "InvalidVpnGatewayID.Malformed", "InvalidVpnGatewayID.NotFound", "InvalidZone.NotFound", "MaxIOPSLimitExceeded", "MissingParameter", "NatGatewayLimitExceeded",
		"NatGatewayMalformed", "NatGatewayNotFound", "NetworkAclEntryAlreadyExists", "NetworkAclEntryLimitExceeded", "NetworkAclLimitExceeded",
		"OperationNotPermitted", "PendingVerification", "PrivateIpAddressLimitExceeded", "RequestLimitExceeded", "ReservationCapacityExceeded",
		"Resource.AlreadyAssociated", "ResourceLimitExceeded", "RouteAlreadyExists", "RouteLimitExceeded", "RouteNotSupported",
		"RouteTableLimitExceeded", "RulesPerSecurityGroupLimitExceeded", "SecurityGroupLimitExceeded", "SecurityGroupsPerInterfaceLimitExceeded",
		"SubnetLimitExceeded", "TagLimitExceeded", "TransitGatewayAttachmentLimitExceeded", "UnauthorizedOperation", "UnknownParameter",
		"Unsupported", "UnsupportedOperation", "UnsupportedTenancy", "VPCIdNotSpecified", "VcpuLimitExceeded", "VolumeInUse",
		"VpcEndpointLimitExceeded", "VpcLimitExceeded", "VpnGatewayAttachmentLimitExceeded", "InternalError", "Unavailable",
	}
}
