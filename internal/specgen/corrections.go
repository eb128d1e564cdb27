package main

import (
	"fmt"
	"slices"
	"strings"
)

// correction is one place where the specification differs from what
// CloudFormation does, or says too little for references to be checked.
type correction struct {
	// At is the property: Type.Property, or Type/Definition.Property.
	At string
	// Replace is what the property's change should do: "no", "maybe" or "yes".
	Replace string
	// Refs are references to allow besides those listed.
	Refs []string
	// NoRefs drops the references that are listed.
	NoRefs bool
	// Add is the definition of a property that is missing.
	Add *propDef
	// Reason is why.
	Reason string
}

const (
	inPlace = "CloudFormation's schema doesn't list it as create-only; the specification keeps an older rule of the documentation"
	mayBe   = "CloudFormation's schema lists it as conditionally create-only; the specification leaves that out"
	newer   = "CloudFormation's schema has it; the specification doesn't"
	unsaid  = "the property takes this and nothing else, which the specification doesn't say"
)

func corrections() []correction {
	return []correction{
		{At: "AWS::EKS::Cluster/ResourcesVpcConfig.SecurityGroupIds", Replace: "no", Reason: inPlace},
		{At: "AWS::EKS::Cluster/ResourcesVpcConfig.SubnetIds", Replace: "no", Reason: inPlace},
		{At: "AWS::EKS::Cluster.KubernetesNetworkConfig", Replace: "no", Reason: "only IpFamily and ServiceIpv4Cidr in it are create-only, load balancing can change"},
		{At: "AWS::EC2::EIP.Domain", Replace: "no", Reason: inPlace},
		{At: "AWS::RDS::DBInstance.Port", Replace: "no", Reason: inPlace},
		{At: "AWS::S3::Bucket.ObjectLockEnabled", Replace: "no", Reason: inPlace},
		{At: "AWS::EC2::NetworkInterface/PrivateIpAddressSpecification.Primary", Replace: "no", Reason: "the condition is on PrivateIpAddresses as a whole"},
		{At: "AWS::EC2::NetworkInterface/PrivateIpAddressSpecification.PrivateIpAddress", Replace: "no", Reason: "the condition is on PrivateIpAddresses as a whole"},
		{At: "AWS::EC2::NetworkInterface.ConnectionTrackingSpecification", Replace: "maybe", Reason: mayBe},
		{At: "AWS::EC2::NetworkInterface.EnablePrimaryIpv6", Replace: "maybe", Reason: mayBe},
		{At: "AWS::AutoScaling::AutoScalingGroup.LaunchConfigurationName", Replace: "maybe", Reason: mayBe},
		{At: "AWS::AutoScaling::AutoScalingGroup.LaunchTemplate", Replace: "maybe", Reason: mayBe},
		{At: "AWS::AutoScaling::AutoScalingGroup.MixedInstancesPolicy", Replace: "maybe", Reason: mayBe},
		{At: "AWS::AutoScaling::AutoScalingGroup.VPCZoneIdentifier", Replace: "maybe", Reason: mayBe},

		{At: "AWS::Route53::RecordSet.GeoProximityLocation", Add: &propDef{Type: "object", Ref: "GeoProximityLocation"}, Reason: newer},
		{At: "AWS::Route53::RecordSet/GeoProximityLocation.AWSRegion", Add: &propDef{Type: "string"}, Reason: newer},
		{At: "AWS::Route53::RecordSet/GeoProximityLocation.Bias", Add: &propDef{Type: "integer"}, Reason: newer},
		{At: "AWS::Route53::RecordSet/GeoProximityLocation.Coordinates", Add: &propDef{Type: "object", Ref: "Coordinates"}, Reason: newer},
		{At: "AWS::Route53::RecordSet/GeoProximityLocation.LocalZoneGroup", Add: &propDef{Type: "string"}, Reason: newer},
		{At: "AWS::Route53::RecordSet/Coordinates.Latitude", Add: &propDef{Type: "string", Required: true}, Reason: newer},
		{At: "AWS::Route53::RecordSet/Coordinates.Longitude", Add: &propDef{Type: "string", Required: true}, Reason: newer},

		{At: "AWS::EKS::Cluster.Name", NoRefs: true, Reason: "a cluster is not named after a repository"},
		{At: "AWS::Logs::LogGroup.LogGroupName", NoRefs: true, Reason: "functions are one of many things with log groups"},
		{At: "AWS::Backup::BackupSelection/BackupSelectionResourceType.Resources", Refs: []string{"AWS::RDS::DBInstance.DBInstanceArn"}, Reason: "AWS Backup covers databases too"},
		{At: "AWS::RDS::DBInstance/MasterUserSecret.KmsKeyId", Refs: []string{"AWS::KMS::Key.Arn"}, Reason: "RDS takes a key's id and its ARN alike"},
		{At: "AWS::EC2::SecurityGroupIngress.CidrIp", NoRefs: true, Reason: "addresses come from many resources"},
		{At: "AWS::ElasticLoadBalancingV2::TargetGroup/TargetDescription.Id", NoRefs: true, Reason: "addresses come from many resources"},

		{At: "AWS::CertificateManager::Certificate/DomainValidationOption.HostedZoneId", Refs: []string{"AWS::Route53::HostedZone.Id"}, Reason: unsaid},
		{At: "AWS::EC2::EIPAssociation.AllocationId", Refs: []string{"AWS::EC2::EIP.AllocationId"}, Reason: unsaid},
		{At: "AWS::EC2::LaunchTemplate/IamInstanceProfile.Arn", Refs: []string{"AWS::IAM::InstanceProfile.Arn"}, Reason: unsaid},
		{At: "AWS::EC2::NetworkAclEntry.NetworkAclId", Refs: []string{"AWS::EC2::NetworkAcl.Id"}, Reason: unsaid},
		{At: "AWS::EC2::Route.NetworkInterfaceId", Refs: []string{"AWS::EC2::NetworkInterface.Id"}, Reason: unsaid},
		{At: "AWS::EC2::Route.VpcEndpointId", Refs: []string{"AWS::EC2::VPCEndpoint.Id"}, Reason: unsaid},
		{At: "AWS::EKS::AccessEntry.ClusterName", Refs: []string{"AWS::EKS::Cluster.Name"}, Reason: unsaid},
		{At: "AWS::EKS::AccessEntry.PrincipalArn", Refs: []string{"AWS::IAM::Role.Arn", "AWS::IAM::User.Arn"}, Reason: unsaid},
		{At: "AWS::EKS::Addon.ClusterName", Refs: []string{"AWS::EKS::Cluster.Name"}, Reason: unsaid},
		{At: "AWS::EKS::Cluster/Provider.KeyArn", Refs: []string{"AWS::KMS::Key.Arn"}, Reason: unsaid},
		{At: "AWS::Route53::RecordSet.HostedZoneId", Refs: []string{"AWS::Route53::HostedZone.Id"}, Reason: unsaid},
		{At: "AWS::Route53::RecordSet/AliasTarget.HostedZoneId", Refs: []string{"AWS::ElasticLoadBalancingV2::LoadBalancer.CanonicalHostedZoneID", "AWS::Route53::HostedZone.Id"}, Reason: unsaid},
		{At: "AWS::SNS::TopicPolicy.Topics", Refs: []string{"AWS::SNS::Topic.TopicArn"}, Reason: unsaid},
		{At: "AWS::WAFv2::WebACL/IPSetReferenceStatement.Arn", Refs: []string{"AWS::WAFv2::IPSet.Arn"}, Reason: unsaid},
		{At: "AWS::WAFv2::WebACLAssociation.WebACLArn", Refs: []string{"AWS::WAFv2::WebACL.Arn"}, Reason: unsaid},
	}
}

// synonyms are references that mean the same thing: whatever takes the first
// takes the others.
func synonyms() [][]string {
	return [][]string{
		{"AWS::EC2::SecurityGroup.Id", "AWS::EC2::SecurityGroup.GroupId", "AWS::EC2::VPC.DefaultSecurityGroup", "AWS::EKS::Cluster.ClusterSecurityGroupId"},
		{"AWS::EC2::VPC.VpcId", "AWS::EC2::SecurityGroup.VpcId", "AWS::EC2::Subnet.VpcId"},
		{"AWS::EC2::NetworkAcl.Id", "AWS::EC2::VPC.DefaultNetworkAcl"},
		{"AWS::EKS::Cluster.Name", "AWS::EKS::Nodegroup.ClusterName"},
	}
}

// correct applies corrections. One that has nothing left to correct is an
// error, so that the list shrinks when the specification gets better.
func correct(types map[string]*resourceType, list []correction) error {
	for _, c := range list {
		if err := c.apply(types); err != nil {
			return fmt.Errorf("correct %s: %w", c.At, err)
		}
	}
	return nil
}

func (c correction) apply(types map[string]*resourceType) error {
	owner, property, _ := strings.Cut(c.At, ".")
	name, definition, nested := strings.Cut(owner, "/")
	r := types[name]
	if r == nil {
		return fmt.Errorf("no such type")
	}
	props := r.Properties
	if nested {
		if props = r.Definitions[definition]; props == nil && c.Add != nil {
			props = properties{}
			r.Definitions[definition] = props
		}
	}
	d := props[property]
	if c.Add != nil {
		if d != nil {
			return fmt.Errorf("the specification has it now")
		}
		props[property] = c.Add
		return nil
	}
	if d == nil {
		return fmt.Errorf("no such property")
	}
	changed := false
	if want := strings.TrimPrefix(c.Replace, "no"); c.Replace != "" && d.Replace != want {
		d.Replace, changed = want, true
	}
	if c.NoRefs && len(d.relations) > 0 {
		d.relations, changed = nil, true
	}
	for _, ref := range c.Refs {
		typ, property, _ := strings.Cut(ref, ".")
		if rel := (relation{typ, property}); !slices.Contains(d.relations, rel) {
			d.relations, changed = append(d.relations, rel), true
		}
	}
	if !changed {
		return fmt.Errorf("nothing is left to correct")
	}
	return nil
}
