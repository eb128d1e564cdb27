package iam

import (
	"slices"
	"strconv"
	"strings"
	"time"

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
			if err := checkManaged(tx, "", r.Props); err != nil {
				return err
			}
			r.ID = tx.GlobalARN("iam", "policy"+path+name)
			r.Attrs["PolicyArn"] = r.ID
			r.Attrs["PolicyId"] = UniqueID(tx, "ANPA")
			r.Attrs["DefaultVersionId"] = "v1"
			r.Data[versions] = []any{version("v1", r.Props["PolicyDocument"], tx.Now())}
			r.Attrs["IsAttachable"] = true
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkManaged(tx, r.ID, next); err != nil {
				return err
			}
			if !props.Same(r.Props["PolicyDocument"], next["PolicyDocument"]) {
				// CloudFormation makes room for a version by dropping the oldest.
				if len(props.Maps(r.Data, versions)) >= maxVersions {
					dropOldest(r)
				}
				r.Attrs["DefaultVersionId"] = addVersion(tx, r, next["PolicyDocument"])
			}
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			// The roles that the policy itself names are detached with it.
			for _, role := range slices.Concat(tx.List(TypeRole), tx.List(TypeUser)) {
				if contains(props.Strs(role.Props, "ManagedPolicyArns"), r.ID) || props.Str(role.Props, "PermissionsBoundary") == r.ID {
					return errorf("DeleteConflict", "Cannot delete a policy attached to entities.")
				}
			}
			return nil
		},
	}
}

// checkManaged checks everything of a policy that can change; arn is "" for a
// new one.
func checkManaged(tx *account.Tx, arn string, p map[string]any) error {
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
		// Those that it has already count, this one among them or not.
		if arns := AttachedPolicies(tx, role); len(arns) >= maxAttachedPolicies && !contains(arns, arn) {
			return errorf("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: %d", maxAttachedPolicies)
		}
	}
	for _, name := range props.Strs(p, "Users") {
		if tx.Get(TypeUser, name) == nil {
			return errorf("NoSuchEntity", "The user with name %s cannot be found.", name)
		}
	}
	for _, name := range props.Strs(p, "Groups") {
		return errorf("NoSuchEntity", "The group with name %s cannot be found.", name)
	}
	return nil
}

// versions is where a policy keeps its versions, the oldest first.
const versions = "versions"

func version(id string, doc any, at time.Time) map[string]any {
	return map[string]any{"id": id, "document": doc, "created": at}
}

// addVersion adds a version to a policy and returns its id.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
func addVersion(tx *account.Tx, p *account.Resource, doc any) string {
	n := props.Int(p.Data, 1, "latest") + 1
	id := "v" + strconv.Itoa(n)
	p.Data["latest"] = n
	p.Data[versions] = append(props.List(p.Data, versions), version(id, account.Copy(doc), tx.Now()))
	return id
}

// dropOldest drops the oldest version that isn't the default.
func dropOldest(p *account.Resource) {
	for _, v := range props.Maps(p.Data, versions) {
		if id := props.Str(v, "id"); id != props.Str(p.Attrs, "DefaultVersionId") {
			dropVersion(p, id)
			return
		}
	}
}

func dropVersion(p *account.Resource, id string) {
	var rest []any
	for _, v := range props.Maps(p.Data, versions) {
		if props.Str(v, "id") != id {
			rest = append(rest, v)
		}
	}
	p.Data[versions] = rest
}

// findVersion is a version of a policy, or nil.
func findVersion(p *account.Resource, id string) map[string]any {
	for _, v := range props.Maps(p.Data, versions) {
		if props.Str(v, "id") == id {
			return v
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
