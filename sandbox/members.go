package sandbox

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// unmodelledMembers are members, by their names on the wire, that ask for what an
// operation doesn't do and doesn't refuse by itself. A test finds every member
// of every operation that is neither here, nor read, nor known to have no
// effect.
func unmodelledMembers(service, operation string) []string {
	switch service + "." + operation {
	case "acm.ListCertificates":
		return []string{"CertificateKeyPairOrigins", "SortBy", "SortOrder"}
	case "acm.RequestCertificate":
		return []string{"CertificateAuthorityArn", "DomainValidationOptions", "ManagedBy", "Options"}
	case "autoscaling.DescribeScalingActivities":
		return []string{"ActivityIds", "Filters", "IncludeDeletedGroups"}
	case "autoscaling.SetDesiredCapacity":
		return []string{"HonorCooldown"}
	case "autoscaling.UpdateAutoScalingGroup":
		return []string{
			"AvailabilityZoneDistribution", "AvailabilityZoneIds", "AvailabilityZoneImpairmentPolicy", "CapacityRebalance", "CapacityReservationSpecification", "Context", "DefaultCooldown",
			"DefaultInstanceWarmup", "DesiredCapacityType", "InstanceLifecyclePolicy", "InstanceMaintenancePolicy", "LaunchConfigurationName", "MaxInstanceLifetime", "PlacementGroup",
			"ServiceLinkedRoleARN", "SkipZonalShiftValidation", "TerminationPolicies",
		}
	case "backup.DescribeBackupVault", "backup.DescribeRecoveryPoint":
		return []string{"backupVaultAccountId"}
	case "backup.GetBackupPlan":
		return []string{"MaxScheduledRunsPreview"}
	case "backup.ListBackupJobs":
		return []string{"accountId", "completeAfter", "completeBefore", "createdAfter", "createdBefore", "messageCategory", "parentJobId"}
	case "backup.ListBackupPlans":
		return []string{"includeDeleted"}
	case "backup.ListBackupVaults":
		return []string{"shared", "vaultType"}
	case "backup.ListRecoveryPointsByBackupVault":
		return []string{"backupPlanId", "backupVaultAccountId", "createdAfter", "createdBefore", "parentRecoveryPointArn", "resourceType"}
	case "backup.StartBackupJob":
		return []string{"BackupOptions", "Index", "LogicallyAirGappedBackupVaultArn", "RecoveryPointTags"}
	case "cloudformation.GetTemplateSummary":
		return []string{"TemplateSummaryConfig"}
	case "ec2.AttachVolume":
		return []string{"EbsCardIndex"}
	case "ec2.AuthorizeSecurityGroupIngress", "ec2.AuthorizeSecurityGroupEgress":
		return []string{"SourceSecurityGroupName", "SourceSecurityGroupOwnerId", "TagSpecification"}
	case "ec2.CancelCapacityReservation":
		return []string{"ApplyCancellationCharges", "QuoteId"}
	case "ec2.CreateCapacityReservation":
		return []string{"CommitmentDuration", "DeliveryPreference", "EphemeralStorage", "OutpostArn", "PlacementGroupArn"}
	case "ec2.CreateNetworkInterface":
		return []string{"ConnectionTrackingSpecification", "EnablePrimaryIpv6", "Ipv4Prefix", "Ipv4PrefixCount", "Ipv6Addresses", "Ipv6Prefix", "Ipv6PrefixCount", "Operator"}
	case "ec2.CreateSnapshot":
		return []string{"Location", "OutpostArn"}
	case "ec2.CreateSubnet":
		return []string{"Ipv4NetmaskLength", "Ipv6IpamPoolId", "Ipv6NetmaskLength"}
	case "ec2.CreateVolume":
		return []string{"MultiAttachEnabled", "Operator", "OutpostArn", "VolumeInitializationRate"}
	case "ec2.CreateVpc":
		return []string{"AmazonProvidedIpv6CidrBlock", "Ipv6CidrBlock", "Ipv6CidrBlockNetworkBorderGroup", "Ipv6IpamPoolId", "Ipv6NetmaskLength", "Ipv6Pool", "VpcEncryptionControl"}
	case "ec2.DeleteSecurityGroup":
		return []string{"GroupName"}
	case "ec2.DescribeImages":
		return []string{"ExecutableBy"}
	case "ec2.DescribeLaunchTemplateVersions":
		return []string{"MaxVersion", "MinVersion", "ResolveAlias"}
	case "ec2.ReleaseAddress":
		return []string{"NetworkBorderGroup"}
	case "ec2.DescribeSnapshots":
		return []string{"RestorableBy"}
	case "ec2.RevokeSecurityGroupEgress", "ec2.RevokeSecurityGroupIngress":
		return []string{"SourceSecurityGroupName", "SourceSecurityGroupOwnerId"}
	case "eks.DescribeAddonVersions":
		return []string{"owners", "publishers", "types"}
	case "eks.DescribeUpdate", "eks.ListUpdates":
		return []string{"capabilityName"}
	case "eks.UpdateClusterVersion":
		return []string{"rollbackConfig"}
	case "elasticloadbalancing.CreateListener", "elasticloadbalancing.ModifyListener":
		return []string{"AlpnPolicy"}
	case "elasticloadbalancing.DescribeTargetHealth":
		return []string{"Include", "Targets"}
	case "elasticloadbalancing.ModifyRule":
		return []string{"ResetTransforms"}
	case "elasticloadbalancing.SetSecurityGroups":
		return []string{"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"}
	case "elasticloadbalancing.SetSubnets":
		return []string{"EnablePrefixForIpv6SourceNat"}
	case "iam.ListAttachedRolePolicies", "iam.ListAttachedUserPolicies":
		return []string{"PathPrefix"}
	case "iam.ListPolicies":
		return []string{"OnlyAttached", "PolicyUsageFilter"}
	case "iam.SimulateCustomPolicy", "iam.SimulatePrincipalPolicy":
		return []string{"OrderedOrganizationPolicyInputList", "ResourceOwner"}
	case "kms.CreateGrant":
		return []string{"GranteeServicePrincipal", "RetiringServicePrincipal"}
	case "kms.CreateKey":
		return []string{"CustomKeyStoreId", "XksKeyId"}
	case "kms.Decrypt", "kms.ReEncrypt":
		return []string{"DryRunModifiers"}
	case "kms.ListGrants":
		return []string{"GranteeServicePrincipal"}
	case "kms.ListRetirableGrants":
		return []string{"RetiringServicePrincipal"}
	case "kms.RetireGrant", "kms.RevokeGrant":
		return []string{"DryRun"}
	case "logs.DescribeLogGroups":
		return []string{"accountIdentifiers", "includeLinkedAccounts"}
	case "rds.DescribeOrderableDBInstanceOptions":
		return []string{"AvailabilityZoneGroup", "LicenseModel"}
	case "route53.CreateHostedZone":
		return []string{"DelegationSetId"}
	case "route53.ListHostedZones":
		return []string{"delegationsetid", "hostedzonetype"}
	case "s3.AbortMultipartUpload":
		return []string{"x-amz-if-match-initiated-time"}
	case "s3.CompleteMultipartUpload", "s3.GetObject", "s3.HeadObject", "s3.ListParts":
		return []string{"x-amz-server-side-encryption-customer-algorithm"}
	case "s3.CopyObject", "s3.CreateMultipartUpload", "s3.PutObject":
		return []string{
			"x-amz-object-annotation-directive", "x-amz-copy-source-server-side-encryption-customer-algorithm", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp",
			"x-amz-grant-write-acp", "x-amz-server-side-encryption-context", "x-amz-source-expected-bucket-owner", "x-amz-write-offset-bytes",
		}
	case "s3.UploadPartCopy":
		return []string{"x-amz-copy-source-server-side-encryption-customer-algorithm", "x-amz-source-expected-bucket-owner"}
	case "s3.CreateBucket":
		return []string{"x-amz-bucket-namespace", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"}
	case "s3.DeleteObject":
		return []string{"If-Match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size", "x-amz-mfa"}
	case "s3.DeleteObjects", "s3.PutBucketVersioning":
		return []string{"x-amz-mfa"}
	case "s3.ListObjects", "s3.ListObjectsV2", "s3.ListObjectVersions":
		return []string{"fetch-owner", "x-amz-optional-object-attributes"}
	case "secretsmanager.CreateSecret", "secretsmanager.UpdateSecret":
		return []string{"Type"}
	case "secretsmanager.ListSecrets":
		return []string{"SortBy", "SortOrder"}
	case "secretsmanager.PutSecretValue":
		return []string{"RotationToken"}
	case "ssm.DescribeParameters":
		return []string{"Shared"}
	case "secretsmanager.RotateSecret":
		return []string{"ExternalSecretRotationMetadata", "ExternalSecretRotationRoleArn"}
	case "wafv2.DeleteLoggingConfiguration", "wafv2.GetLoggingConfiguration":
		return []string{"LogScope", "LogType"}
	case "wafv2.UpdateWebACL":
		return []string{"ApplicationConfig", "AssociationConfig", "CaptchaConfig", "ChallengeConfig", "DataProtectionConfig", "MonetizationConfig", "OnSourceDDoSProtectionConfig", "TokenDomains"}
	}
	return nil
}

// heeding is a service that refuses a request for what its operation doesn't do,
// rather than do the rest of it.
func heeding(s wire.Service) wire.Service {
	s.Operations = slices.Clone(s.Operations)
	for i, o := range s.Operations {
		names := unmodelledMembers(cmp.Or(s.API, s.Name), o.Name)
		if len(names) == 0 {
			continue
		}
		asks := func(r *wire.Request) error {
			for _, name := range names {
				if http.Header(r.Header).Get(name) != "" {
					return account.NotModelled("%s of %s is not modelled by the sandbox", name, o.Name)
				}
			}
			return account.Unmodelled(o.Name, r.In, names...)
		}
		s.Operations[i].Do = func(tx *account.Tx, r *wire.Request) (any, error) {
			if err := asks(r); err != nil {
				return nil, err
			}
			return o.Do(tx, r)
		}
		if o.Admit != nil {
			s.Operations[i].Admit = func(tx *account.Tx, r *wire.Request) error {
				if err := asks(r); err != nil {
					return err
				}
				return o.Admit(tx, r)
			}
		}
	}
	return s
}
