package sandbox

import (
	"maps"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// unmodelled are properties of resource types that ask for what the sandbox has
// no behaviour for, beside those that the types' packages refuse themselves,
// and the beginning of values that ask for what there is anyway, if there are
// such. A test finds every property that is neither here, nor read by its
// type's package, nor known to be shown only.
func unmodelled(typ string) map[string]string {
	switch typ {
	case "AWS::AutoScaling::AutoScalingGroup":
		return map[string]string{
			"AvailabilityZoneImpairmentPolicy": "", "CapacityRebalance": "", "CapacityReservationSpecification": "", "DesiredCapacityType": "units",
			"InstanceLifecyclePolicy": "", "LifecycleHookSpecificationList": "", "MaxInstanceLifetime": "0", "NotificationConfiguration": "",
			"NotificationConfigurations": "", "PlacementGroup": "", "SkipZonalShiftValidation": "", "TrafficSources": "",
		}
	case "AWS::CertificateManager::Certificate":
		return map[string]string{"CertificateExport": "DISABLED"}
	case "AWS::CloudWatch::Alarm":
		return map[string]string{"EvaluationCriteria": "", "EvaluationInterval": "", "EvaluationWindow": "", "WarmUpConfiguration": ""}
	case "AWS::EC2::FlowLog":
		return map[string]string{"DeliverCrossAccountRole": "", "TagFieldSpecifications": ""}
	case "AWS::EC2::NetworkInterface":
		return map[string]string{"PublicIpDnsHostnameTypeSpecification": ""}
	case "AWS::EC2::Subnet":
		return map[string]string{"EnableLniAtDeviceIndex": ""}
	case "AWS::EC2::VPCEndpoint":
		return map[string]string{"IpAddressType": "ipv4"}
	case "AWS::EKS::Addon":
		return map[string]string{"NamespaceConfig": ""}
	case "AWS::EKS::Nodegroup":
		return map[string]string{"WarmPoolConfig": ""}
	case "AWS::EKS::Cluster":
		return map[string]string{"ActiveCertificateAuthorityId": "", "CertificateAuthority": "", "KubeApiServerConfig": "", "KubeControllerManagerConfig": "", "KubeSchedulerConfig": "", "RollbackConfig": ""}
	case "AWS::ElasticLoadBalancingV2::Listener":
		return map[string]string{"AlpnPolicy": ""}
	case "AWS::ElasticLoadBalancingV2::LoadBalancer":
		return map[string]string{
			"EnableCapacityReservationProvisionStabilize": "", "EnablePrefixForIpv6SourceNat": "off", "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "",
			"Ipv4IpamPoolId": "", "MinimumLoadBalancerCapacity": "",
		}
	case "AWS::ElasticLoadBalancingV2::TargetGroup":
		return map[string]string{"TargetControlPort": ""}
	case "AWS::Logs::LogGroup":
		return map[string]string{"BearerTokenAuthenticationEnabled": ""}
	case "AWS::RDS::DBInstance":
		return map[string]string{
			"AutomaticBackupReplicationKmsKeyId": "", "AutomaticBackupReplicationRetentionPeriod": "", "DedicatedLogVolume": "", "DomainAuthSecretArn": "",
			"DomainIAMRoleName": "", "MasterUserAuthenticationType": "password", "OptionGroupName": "default:", "TdeCredentialPassword": "", "UseLatestRestorableTime": "",
		}
	case "AWS::Route53::HostedZone":
		return map[string]string{"HostedZoneFeatures": ""}
	case "AWS::SNS::Topic":
		return map[string]string{"ContentBasedDeduplication": "", "FifoThroughputScope": ""}
	case "AWS::SecretsManager::Secret":
		return map[string]string{"Type": ""}
	}
	return nil
}

// modelled is a type that refuses what of its properties isn't modelled.
func modelled(t *account.Type) *account.Type {
	unmodelled := unmodelled(t.Name)
	if len(unmodelled) == 0 {
		return t
	}
	names := slices.Sorted(maps.Keys(unmodelled))
	asks := func(p map[string]any) error {
		asked := map[string]any{}
		for _, k := range names {
			if v := props.Str(p[k]); unmodelled[k] == "" || v == "" || !strings.HasPrefix(v, unmodelled[k]) {
				asked[k] = p[k]
			}
		}
		return account.Unmodelled(t.Name, asked, names...)
	}
	refusing := *t
	refusing.Create = func(tx *account.Tx, r *account.Resource) error {
		if err := asks(r.Props); err != nil {
			return err
		}
		return t.Create(tx, r)
	}
	refusing.Update = func(tx *account.Tx, r *account.Resource, next map[string]any) error {
		if err := asks(next); err != nil {
			return err
		}
		if t.Update == nil {
			return nil
		}
		return t.Update(tx, r, next)
	}
	return &refusing
}
