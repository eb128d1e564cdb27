package iam

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func managedPolicyType() *account.Type {
	return &account.Type{
		Name: TypeManagedPolicy, Latency: "iam:managed-policy",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "ManagedPolicyName")
			if name == "" {
				name = tx.Name(r, 128)
			}
			path := pathOf(r)
			if err := checkName("policyName", name, path, 128); err != nil {
				return err
			}
			for _, o := range tx.List(TypeManagedPolicy) {
				if strings.EqualFold(o.ID[strings.LastIndex(o.ID, "/")+1:], name) {
					return errorf("EntityAlreadyExists", "A policy called %s already exists. Duplicate names are not allowed.", name)
				}
			}
			if err := checkManaged(tx, r.Props); err != nil {
				return err
			}
			r.ID = tx.GlobalARN("iam", "policy"+path+name)
			r.Attrs["PolicyArn"] = r.ID
			r.Attrs["PolicyId"] = UniqueID(tx, "ANPA")
			r.Attrs["DefaultVersionId"] = "v1"
			r.Attrs["IsAttachable"] = true
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return checkManaged(tx, next) },
		Delete: func(tx *account.Tx, r *account.Resource) error {
			// The roles that the policy itself names are detached with it.
			for _, role := range tx.List(TypeRole) {
				if contains(props.Strs(role.Props, "ManagedPolicyArns"), r.ID) || props.Str(role.Props, "PermissionsBoundary") == r.ID {
					return errorf("DeleteConflict", "Cannot delete a policy attached to entities.")
				}
			}
			return nil
		},
	}
}

func checkManaged(tx *account.Tx, p map[string]any) error {
	if _, err := checkDocument(p["PolicyDocument"], policy.Identity); err != nil {
		return err
	}
	if policy.Size(p["PolicyDocument"]) > maxManagedPolicy {
		return errorf("LimitExceeded", "Cannot exceed quota for PolicySize: %d", maxManagedPolicy)
	}
	for _, name := range props.Strs(p, "Roles") {
		role := tx.Get(TypeRole, name)
		if role == nil {
			return errorf("NoSuchEntity", "The role with name %s cannot be found.", name)
		}
		if err := modifiable(role); err != nil {
			return err
		}
	}
	for _, k := range []string{"Users", "Groups"} {
		for _, name := range props.Strs(p, k) {
			return errorf("NoSuchEntity", "The %s with name %s cannot be found.", strings.ToLower(k[:len(k)-1]), name)
		}
	}
	return nil
}

// PolicyExists tells whether a managed policy, of this account or AWS's own,
// can be attached.
func PolicyExists(tx *account.Tx, arn string) bool {
	if rest, ok := strings.CutPrefix(arn, "arn:"+tx.Partition()+":iam::aws:policy/"); ok {
		return slices.Contains(awsPolicies(), rest)
	}
	return tx.Get(TypeManagedPolicy, arn) != nil
}

// awsPolicies are those of AWS's managed policies that deployments of the
// modelled services use, with their paths.
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
func awsPolicies() []string {
	return []string{
		"AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess", "SecurityAudit", "job-function/ViewOnlyAccess",
		"AmazonEKSClusterPolicy", "AmazonEKSServicePolicy", "AmazonEKSVPCResourceController", "AmazonEKSWorkerNodePolicy",
		"AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKS_CNI_Policy", "AmazonEKSBlockStoragePolicy", "AmazonEKSComputePolicy",
		"AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy", "AmazonEKSFargatePodExecutionRolePolicy", "AmazonEKSLocalOutpostClusterPolicy",
		"AmazonEKSDashboardConsoleReadOnly",
		"service-role/AmazonEBSCSIDriverPolicy", "AmazonEBSCSIDriverPolicyV2", "service-role/AmazonEFSCSIDriverPolicy", "service-role/AmazonS3FilesCSIDriverPolicy",
		"AmazonEC2ContainerRegistryReadOnly", "AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryPowerUser", "AmazonEC2ContainerRegistryFullAccess",
		"AmazonElasticContainerRegistryPublicReadOnly",
		"AmazonEC2FullAccess", "AmazonEC2ReadOnlyAccess", "AmazonVPCFullAccess", "AmazonVPCReadOnlyAccess", "AutoScalingFullAccess", "ElasticLoadBalancingFullAccess",
		"AmazonSSMManagedInstanceCore", "AmazonSSMPatchAssociation", "AmazonSSMManagedEC2InstanceDefaultPolicy", "AmazonSSMReadOnlyAccess", "AmazonSSMFullAccess",
		"CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy", "CloudWatchFullAccess", "CloudWatchLogsFullAccess", "CloudWatchLogsReadOnlyAccess", "CloudWatchReadOnlyAccess",
		"AWSXRayDaemonWriteAccess", "AmazonPrometheusRemoteWriteAccess",
		"service-role/AmazonRDSEnhancedMonitoringRole", "AmazonRDSFullAccess", "AmazonRDSReadOnlyAccess", "AmazonRDSPerformanceInsightsReadOnly",
		"service-role/AWSBackupServiceRolePolicyForBackup", "service-role/AWSBackupServiceRolePolicyForRestores",
		"AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore", "AWSBackupFullAccess",
		"AmazonS3FullAccess", "AmazonS3ReadOnlyAccess", "SecretsManagerReadWrite", "AWSKeyManagementServicePowerUser", "AmazonRoute53FullAccess", "AmazonRoute53ReadOnlyAccess",
		"IAMFullAccess", "IAMReadOnlyAccess", "AWSCloudFormationFullAccess", "AWSCloudFormationReadOnlyAccess", "AWSCertificateManagerFullAccess", "AWSCertificateManagerReadOnly",
		"service-role/AWSLambdaBasicExecutionRole", "service-role/AWSLambdaVPCAccessExecutionRole", "AWSMarketplaceMeteringFullAccess", "AWSMarketplaceMeteringRegisterUsage",
		"AmazonBedrockFullAccess", "AmazonBedrockReadOnly", "AmazonBedrockLimitedAccess",
		"aws-service-role/AmazonEKSServiceRolePolicy", "aws-service-role/AWSServiceRoleForAmazonEKSNodegroup", "aws-service-role/AutoScalingServiceRolePolicy",
		"aws-service-role/AmazonRDSServiceRolePolicy", "aws-service-role/AWSElasticLoadBalancingServiceRolePolicy", "aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup",
		"aws-service-role/AWSEC2SpotServiceRolePolicy", "aws-service-role/AWSSupportServiceRolePolicy", "aws-service-role/AWSTrustedAdvisorServiceRolePolicy",
		"aws-service-role/AmazonSSMServiceRolePolicy", "aws-service-role/WAFV2LoggingServiceRolePolicy", "aws-service-role/AmazonGuardDutyServiceRolePolicy", "aws-service-role/ECRReplicationServiceRolePolicy",
		"aws-service-role/EC2CapacityReservationFleetServiceRolePolicy", "aws-service-role/AWSEC2FleetServiceRolePolicy", "aws-service-role/CloudWatchEventsServiceRolePolicy",
	}
}
