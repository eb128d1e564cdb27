package calibrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	sandboxiam "github.com/poolhouse/poolhouse/sandbox/iam"
)

// Probes are all that there are, in order.
func Probes() []Probe {
	return slices.Concat([]Probe{
		{ID: "zones", Asks: "which availability zones the region has, by their ids", Calls: []string{"ec2:DescribeAvailabilityZones"}, look: zones},
		{ID: "default-vpc", Asks: "what the default VPC is like", Calls: []string{"ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", "ec2:DescribeSubnets", "ec2:DescribeRouteTables", "ec2:DescribeInternetGateways", "ec2:DescribeNetworkAcls"}, look: defaultVPC},
		{ID: "instance-types", Asks: "what the instance types are like that the sandbox knows", Calls: []string{"ec2:DescribeInstanceTypes"}, Partial: true, look: instanceTypes},
		{ID: "instance-zones", Asks: "in which zones those instance types are offered", Calls: []string{"ec2:DescribeInstanceTypeOfferings"}, Partial: true, look: instanceZones},
		{ID: "endpoint-services", Asks: "which endpoint services there are of those that the sandbox knows, and in which zones", Calls: []string{"ec2:DescribeVpcEndpointServices", "ec2:DescribeAvailabilityZones"}, Partial: true, look: endpointServices},
		{ID: "prefix-lists", Asks: "which prefix lists of AWS there are of those that the sandbox knows", Calls: []string{"ec2:DescribeManagedPrefixLists"}, Partial: true, look: prefixLists},
		{ID: "eks-versions", Asks: "which versions of Kubernetes EKS has", Calls: []string{"eks:DescribeClusterVersions"}, look: eksVersions},
		{ID: "eks-addons", Asks: "which add-ons and versions of them there are of those that the sandbox knows", Calls: []string{"eks:DescribeAddonVersions"}, Partial: true, look: eksAddons},
		{ID: "eks-access-policies", Asks: "which access policies EKS has", Calls: []string{"eks:ListAccessPolicies"}, Partial: true, look: eksAccessPolicies},
		{ID: "rds-versions", Asks: "which versions of PostgreSQL RDS has of those that the sandbox knows", Calls: []string{"rds:DescribeDBEngineVersions"}, Partial: true, look: rdsVersions},
		{ID: "rds-classes", Asks: "which instance classes take the default version of PostgreSQL, of those that the sandbox knows", Calls: []string{"rds:DescribeDBEngineVersions", "rds:DescribeOrderableDBInstanceOptions"}, Partial: true, look: rdsClasses},
		{ID: "managed-policies", Asks: "which policies of AWS there are of those that the sandbox knows, and in which version", Calls: []string{"iam:GetPolicy"}, look: managedPolicies},
		{ID: "ssl-policies", Asks: "which TLS policies load balancers have", Calls: []string{"elasticloadbalancing:DescribeSSLPolicies"}, look: sslPolicies},
		{ID: "quotas", Asks: "what the account's limits are, as the services themselves tell", Calls: []string{"ec2:DescribeAccountAttributes", "elasticloadbalancing:DescribeAccountLimits", "autoscaling:DescribeAccountLimits", "cloudformation:DescribeAccountLimits", "rds:DescribeAccountAttributes"}, look: quotas},
		{ID: "images", Asks: "which parameters name the images of EKS's nodes", Calls: []string{"ssm:GetParameters"}, look: images},
	}, refusals(), changeSetProbes())
}

func zones(ctx context.Context, s *side) error {
	out, err := s.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{filter("zone-type", "availability-zone")}})
	if err != nil {
		return err
	}
	for _, z := range out.AvailabilityZones {
		s.found(aws.ToString(z.ZoneId), "%s, %s, %s, group %s", z.State, aws.ToString(z.ZoneType), z.OptInStatus, aws.ToString(z.GroupName))
	}
	return nil
}

func filter(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: &name, Values: values}
}

func defaultVPC(ctx context.Context, s *side) error {
	vpcs, err := s.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("is-default", "true")}})
	if err != nil {
		return err
	}
	if len(vpcs.Vpcs) == 0 {
		return nothing("the account has no default VPC")
	}
	v := vpcs.Vpcs[0]
	s.found("VPC", "%s, tenancy %s", aws.ToString(v.CidrBlock), v.InstanceTenancy)
	for _, name := range []ec2types.VpcAttributeName{ec2types.VpcAttributeNameEnableDnsHostnames, ec2types.VpcAttributeNameEnableDnsSupport} {
		a, err := s.EC2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: v.VpcId, Attribute: name})
		if err != nil {
			s.unseen[string(name)] = why(err)
			continue
		}
		on := a.EnableDnsHostnames
		if on == nil {
			on = a.EnableDnsSupport
		}
		s.found(string(name), "%v", on != nil && aws.ToBool(on.Value))
	}
	in := []ec2types.Filter{filter("vpc-id", aws.ToString(v.VpcId))}
	if subnets, err := s.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: append(slices.Clip(in), filter("default-for-az", "true"))}); err != nil {
		s.unseen["subnet"] = why(err)
	} else {
		for _, n := range subnets.Subnets {
			// Which zone has which range differs between accounts.
			_, size, _ := strings.Cut(aws.ToString(n.CidrBlock), "/")
			s.found("subnet in "+aws.ToString(n.AvailabilityZoneId), "/%s, public addresses %v, IPv6 %v", size, aws.ToBool(n.MapPublicIpOnLaunch), aws.ToBool(n.AssignIpv6AddressOnCreation))
		}
	}
	if tables, err := s.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: append(slices.Clip(in), filter("association.main", "true"))}); err != nil {
		s.unseen["route"] = why(err)
	} else {
		for _, t := range tables.RouteTables {
			for _, r := range t.Routes {
				s.found("route to "+aws.ToString(r.DestinationCidrBlock), "%s, %s, %s", aws.ToString(r.GatewayId), r.State, r.Origin)
			}
		}
	}
	if gateways, err := s.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{filter("attachment.vpc-id", aws.ToString(v.VpcId))}}); err != nil {
		s.unseen["internet gateways"] = why(err)
	} else {
		s.found("internet gateways", "%d", len(gateways.InternetGateways))
	}
	acls, err := s.EC2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: append(slices.Clip(in), filter("default", "true"))})
	if err != nil {
		s.unseen["network ACL"] = why(err)
		return nil
	}
	for _, a := range acls.NetworkAcls {
		for _, e := range a.Entries {
			s.found(fmt.Sprintf("network ACL rule %d, egress %v", aws.ToInt32(e.RuleNumber), aws.ToBool(e.Egress)), "%s %s, protocol %s", e.RuleAction, aws.ToString(e.CidrBlock), aws.ToString(e.Protocol))
		}
	}
	return nil
}

func instanceTypes(ctx context.Context, s *side) error {
	pages := ec2.NewDescribeInstanceTypesPaginator(s.EC2, &ec2.DescribeInstanceTypesInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, t := range out.InstanceTypes {
			var arch []ec2types.ArchitectureType
			if t.ProcessorInfo != nil {
				arch = t.ProcessorInfo.SupportedArchitectures
			}
			text := fmt.Sprintf("%v", list(arch))
			if t.VCpuInfo != nil {
				text += fmt.Sprintf(", %d vCPU", aws.ToInt32(t.VCpuInfo.DefaultVCpus))
			}
			if t.MemoryInfo != nil {
				text += fmt.Sprintf(", %d MiB", aws.ToInt64(t.MemoryInfo.SizeInMiB))
			}
			if t.GpuInfo != nil {
				for _, g := range t.GpuInfo.Gpus {
					text += fmt.Sprintf(", %d GPU %s %s", aws.ToInt32(g.Count), aws.ToString(g.Manufacturer), aws.ToString(g.Name))
				}
			}
			s.found(string(t.InstanceType), "%s", text)
		}
	}
	return nil
}

func instanceZones(ctx context.Context, s *side) error {
	in := map[string][]string{}
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(s.EC2, &ec2.DescribeInstanceTypeOfferingsInput{LocationType: ec2types.LocationTypeAvailabilityZoneId})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range out.InstanceTypeOfferings {
			in[string(o.InstanceType)] = append(in[string(o.InstanceType)], aws.ToString(o.Location))
		}
	}
	for t, zones := range in {
		slices.Sort(zones)
		s.found(t, "%s", strings.Join(zones, " "))
	}
	return nil
}

// zoneIDs are the ids of zones by name.
func zoneIDs(ctx context.Context, s *side) (map[string]string, error) {
	out, err := s.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, z := range out.AvailabilityZones {
		ids[aws.ToString(z.ZoneName)] = aws.ToString(z.ZoneId)
	}
	return ids, nil
}

func endpointServices(ctx context.Context, s *side) error {
	ids, err := zoneIDs(ctx, s)
	if err != nil {
		return err
	}
	in := &ec2.DescribeVpcEndpointServicesInput{}
	for {
		out, err := s.EC2.DescribeVpcEndpointServices(ctx, in)
		if err != nil {
			return err
		}
		for _, d := range out.ServiceDetails {
			var in []string
			for _, z := range d.AvailabilityZones {
				in = append(in, ids[z])
			}
			slices.Sort(in)
			var types []string
			for _, t := range d.ServiceType {
				types = append(types, string(t.ServiceType))
			}
			s.found(aws.ToString(d.ServiceName)+" "+strings.Join(types, "+"), "private name %s, policies %v, zones %s", aws.ToString(d.PrivateDnsName), aws.ToBool(d.VpcEndpointPolicySupported), strings.Join(in, " "))
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return nil
		}
	}
}

func prefixLists(ctx context.Context, s *side) error {
	pages := ec2.NewDescribeManagedPrefixListsPaginator(s.EC2, &ec2.DescribeManagedPrefixListsInput{Filters: []ec2types.Filter{filter("owner-id", "AWS")}})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, l := range out.PrefixLists {
			s.found(aws.ToString(l.PrefixListName), "%s, %s", aws.ToString(l.AddressFamily), l.State)
		}
	}
	return nil
}

// day is a time to the day, or "none".
func day(t *time.Time) string {
	if t == nil {
		return "none"
	}
	return t.UTC().Format(time.DateOnly)
}

func eksVersions(ctx context.Context, s *side) error {
	pages := eks.NewDescribeClusterVersionsPaginator(s.EKS, &eks.DescribeClusterVersionsInput{IncludeAll: aws.Bool(true)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, v := range out.ClusterVersions {
			s.found(aws.ToString(v.ClusterVersion), "%s, default %v, standard support until %s, extended until %s", v.VersionStatus, v.DefaultVersion, day(v.EndOfStandardSupportDate), day(v.EndOfExtendedSupportDate))
		}
	}
	return nil
}

func eksAddons(ctx context.Context, s *side) error {
	pages := eks.NewDescribeAddonVersionsPaginator(s.EKS, &eks.DescribeAddonVersionsInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range out.Addons {
			for _, v := range a.AddonVersions {
				for _, c := range v.Compatibilities {
					s.found(fmt.Sprintf("%s %s for %s", aws.ToString(a.AddonName), aws.ToString(v.AddonVersion), aws.ToString(c.ClusterVersion)), "default %v", c.DefaultVersion)
				}
			}
		}
	}
	return nil
}

func eksAccessPolicies(ctx context.Context, s *side) error {
	pages := eks.NewListAccessPoliciesPaginator(s.EKS, &eks.ListAccessPoliciesInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range out.AccessPolicies {
			s.found(aws.ToString(p.Name), "%s", aws.ToString(p.Arn))
		}
	}
	return nil
}

func rdsVersions(ctx context.Context, s *side) error {
	pages := rds.NewDescribeDBEngineVersionsPaginator(s.RDS, &rds.DescribeDBEngineVersionsInput{Engine: aws.String("postgres")})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, v := range out.DBEngineVersions {
			s.found(aws.ToString(v.EngineVersion), "family %s, %s, logs %s", aws.ToString(v.DBParameterGroupFamily), aws.ToString(v.Status), list(v.ExportableLogTypes))
		}
	}
	return nil
}

func rdsClasses(ctx context.Context, s *side) error {
	standard, err := s.RDS.DescribeDBEngineVersions(ctx, &rds.DescribeDBEngineVersionsInput{Engine: aws.String("postgres"), DefaultOnly: aws.Bool(true)})
	if err != nil {
		return err
	}
	if len(standard.DBEngineVersions) == 0 {
		return nothing("there is no default version of PostgreSQL")
	}
	version := standard.DBEngineVersions[0].EngineVersion
	s.found("default version", "%s", aws.ToString(version))
	pages := rds.NewDescribeOrderableDBInstanceOptionsPaginator(s.RDS, &rds.DescribeOrderableDBInstanceOptionsInput{Engine: aws.String("postgres"), EngineVersion: version, Vpc: aws.Bool(true)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, x := range out.OrderableDBInstanceOptions {
			if storage := aws.ToString(x.StorageType); storage == "gp3" || storage == "io1" || storage == "io2" {
				s.found(aws.ToString(x.DBInstanceClass)+" "+storage, "Multi-AZ %v, encryption %v, Performance Insights %v", aws.ToBool(x.MultiAZCapable), aws.ToBool(x.SupportsStorageEncryption), aws.ToBool(x.SupportsPerformanceInsights))
			}
		}
	}
	return nil
}

func managedPolicies(ctx context.Context, s *side) error {
	for _, name := range sandboxiam.AWSPolicies() {
		out, err := s.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String("arn:" + s.identity.partition + ":iam::aws:policy/" + name)})
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			s.refusal(name, err)
			continue
		}
		s.found(name, "attachable %v, version %s", out.Policy.IsAttachable, aws.ToString(out.Policy.DefaultVersionId))
	}
	return nil
}

func sslPolicies(ctx context.Context, s *side) error {
	in := &elb.DescribeSSLPoliciesInput{}
	for {
		out, err := s.ELB.DescribeSSLPolicies(ctx, in)
		if err != nil {
			return err
		}
		for _, p := range out.SslPolicies {
			s.found(aws.ToString(p.Name), "%s", list(slices.Sorted(slices.Values(p.SslProtocols))))
		}
		if in.Marker = out.NextMarker; aws.ToString(in.Marker) == "" {
			return nil
		}
	}
}

// imageParameters name what EKS's nodes start from, but for the version.
func imageParameters(version string) []string {
	return []string{
		"/aws/service/eks/optimized-ami/" + version + "/amazon-linux-2023/x86_64/standard/recommended/image_id",
		"/aws/service/eks/optimized-ami/" + version + "/amazon-linux-2023/arm64/standard/recommended/image_id",
		"/aws/service/eks/optimized-ami/" + version + "/amazon-linux-2023/x86_64/nvidia/recommended/image_id",
		"/aws/service/bottlerocket/aws-k8s-" + version + "/x86_64/latest/image_id",
		"/aws/service/bottlerocket/aws-k8s-" + version + "-nvidia/x86_64/latest/image_id",
		"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
		"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
	}
}

func images(ctx context.Context, s *side) error {
	found := map[string]bool{}
	for _, version := range []string{"1.33", "1.34"} {
		out, err := s.SSM.GetParameters(ctx, &ssm.GetParametersInput{Names: imageParameters(version)})
		if err != nil {
			return err
		}
		for _, p := range out.Parameters {
			found[aws.ToString(p.Name)] = true
		}
		for _, name := range out.InvalidParameters {
			found[name] = false
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		s.found(name, "there %v", found[name])
	}
	return nil
}
