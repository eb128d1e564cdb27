package servicequotas_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/logs"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/s3"
	"github.com/poolhouse/poolhouse/sandbox/servicequotas"
	"github.com/poolhouse/poolhouse/sandbox/sns"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
	"github.com/poolhouse/poolhouse/sandbox/wafv2"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

func call(s *sandbox.Sandbox, op string, in obj) (out obj, err error) {
	for _, o := range servicequotas.Service().Operations {
		if o.Name == op {
			err = s.Account().Do(func(tx *account.Tx) error {
				a, err := o.Do(tx, &wire.Request{In: in})
				out, _ = a.(obj)
				return err
			})
			return out, err
		}
	}
	return nil, errors.New("no operation " + op)
}

// Service Quotas tells apart the value that AWS publishes and the one that the
// account has.
//
// https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
// https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetAWSDefaultServiceQuota.html
func TestAppliedAndPublishedQuotas(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{World: account.World{Quotas: map[string]int{"L-F678F1CE": 20}}})
	in := obj{"ServiceCode": "vpc", "QuotaCode": "L-F678F1CE"}
	for op, want := range map[string]float64{"GetServiceQuota": 20, "GetAWSDefaultServiceQuota": 5} {
		out, err := call(s, op, in)
		if err != nil {
			t.Fatal(err)
		}
		q := props.Map(out, "Quota")
		if q["Value"] != want || q["Adjustable"] != true || q["QuotaName"] != "VPCs per Region" {
			t.Errorf("%s: got %v, want the value %v", op, q, want)
		}
	}
	for want, in := range map[string]obj{
		"NoSuchResourceException: The request failed because the specified service quota does not exist.": {"ServiceCode": "vpc", "QuotaCode": "L-0"},
		"NoSuchResourceException: The request failed because the specified service does not exist.":       {"ServiceCode": "nothing", "QuotaCode": "L-0"},
	} {
		_, err := call(s, "GetServiceQuota", in)
		testkit.Refused(t, err, want)
	}
}

// Quotas are listed by service, in pages.
//
// https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
// https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListAWSDefaultServiceQuotas.html
func TestListsOfQuotas(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{})
	for _, op := range []string{"ListServiceQuotas", "ListAWSDefaultServiceQuotas"} {
		var codes []string
		in := obj{"ServiceCode": "elasticloadbalancing", "MaxResults": 2}
		for range 10 {
			out, err := call(s, op, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range props.Maps(out, "Quotas") {
				codes = append(codes, props.Str(q, "QuotaCode"))
			}
			if in["NextToken"] = out["NextToken"]; in["NextToken"] == nil {
				break
			}
		}
		if d := cmp.Diff([]string{"L-53DA6B97", "L-7EED9B64", "L-A0D0B863", "L-B22855CB", "L-B6DF7632", "L-E9E9831D"}, codes); d != "" {
			t.Errorf("%s: %s", op, d)
		}
	}
	out, err := call(s, "ListServices", obj{})
	if err != nil || len(props.List(out, "Services")) != len(quota.Services()) {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestWire: the operations answer where and how clients of Service Quotas ask.
func TestWire(t *testing.T) {
	t.Parallel()
	const body = `{"ServiceCode":"ec2","QuotaCode":"L-0263D0A3"}`
	r := httptest.NewRequest(http.MethodPost, "https://servicequotas.us-east-1.amazonaws.com/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "ServiceQuotasV20190624.GetServiceQuota")
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	hash := sha256.Sum256([]byte(body))
	c := aws.Credentials{AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(hash[:]), "servicequotas", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	testkit.Sandbox(t, sandbox.Options{}).ServeHTTP(w, r)
	var got struct {
		Quota struct {
			QuotaName string
			Value     float64
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.Quota.QuotaName != "EC2-VPC Elastic IPs" || got.Quota.Value != 5 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// TestTable: codes and keys are unique, and every quota belongs to a service that
// is listed, or has a key.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, q := range quota.All() {
		key := q.Code + q.Key
		if seen[key] || (q.Code == "") == (q.Key == "") || q.Name == "" || q.Refusal == "" || q.Message == "" || q.Default < 0 {
			t.Errorf("bad quota %+v", q)
		}
		if q.Code != "" && (quota.Services()[q.Service] == "" || !strings.HasPrefix(q.Code, "L-") || len(q.Code) != 10) {
			t.Errorf("bad quota %+v", q)
		}
		if q.Key != "" && !strings.HasPrefix(q.Key, q.Service+"/") {
			t.Errorf("the key of %+v doesn't name its service", q)
		}
		seen[key] = true
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(quota.Published()))); d != "" {
		t.Error(d)
	}
}

// TestAmple: nothing is refused for its number in an account with ample quotas.
func TestAmple(t *testing.T) {
	t.Parallel()
	s := testkit.Sandbox(t, sandbox.Options{World: account.World{Quotas: quota.Ample()}})
	for range 10 {
		testkit.MustCreate(t, s, ec2.TypeVPC, obj{"CidrBlock": "10.0.0.0/16"})
		testkit.MustCreate(t, s, ec2.TypeEIP, obj{})
	}
}

// One resource more than the account's quota allows is refused, with the code of
// its service, and accepted where the quota was raised.
//
// https://docs.aws.amazon.com/servicequotas/latest/userguide/intro.html
// https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
func TestQuotasAreEnforced(t *testing.T) {
	t.Parallel()
	type world struct {
		*sandbox.Sandbox
		vpc, subnet, other, table, group, acl, lb, listener, targets, zone string
	}
	build := func(t *testing.T, s *sandbox.Sandbox) world {
		t.Helper()
		w := world{Sandbox: s}
		must := func(typ string, p obj) string { return testkit.MustCreate(t, s, typ, p).ID }
		w.vpc = must(ec2.TypeVPC, obj{"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": true})
		w.subnet = must(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-east-1a"})
		w.other = must(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.1.0/24", "AvailabilityZone": "us-east-1b"})
		w.table = must(ec2.TypeRouteTable, obj{"VpcId": w.vpc})
		w.group = must(ec2.TypeSecurityGroup, obj{"VpcId": w.vpc, "GroupDescription": "own"})
		w.acl = must(ec2.TypeNetworkACL, obj{"VpcId": w.vpc})
		w.lb = must(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Scheme": "internal", "Subnets": []any{w.subnet, w.other}})
		w.targets = must(elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTP", "Port": 80, "VpcId": w.vpc})
		w.listener = must(elbv2.TypeListener, obj{"LoadBalancerArn": w.lb, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{obj{"Type": "forward", "TargetGroupArn": w.targets}}})
		w.zone = must(route53.TypeHostedZone, obj{"Name": "example.com"})
		return w
	}
	base := build(t, testkit.Sandbox(t, sandbox.Options{Fresh: true}))
	for _, c := range []struct {
		quota *quota.Quota
		have  int // of it in the world
		typ   string
		props func(w world) obj
		code  string
	}{
		{quota.VPCs, 1, ec2.TypeVPC, func(world) obj { return obj{"CidrBlock": "10.1.0.0/16"} }, "VpcLimitExceeded: The maximum number of VPCs has been reached."},
		{quota.Subnets, 2, ec2.TypeSubnet, func(w world) obj { return obj{"VpcId": w.vpc, "CidrBlock": "10.0.2.0/24"} }, "SubnetLimitExceeded"},
		{quota.Ranges, 1, ec2.TypeVPCCidrBlock, func(w world) obj { return obj{"VpcId": w.vpc, "CidrBlock": "100.64.0.0/20"} }, "CidrLimitExceeded"},
		{quota.InternetGateways, 0, ec2.TypeInternetGateway, func(world) obj { return obj{} }, "InternetGatewayLimitExceeded"},
		{quota.NatGateways, 0, ec2.TypeNatGateway, func(w world) obj { return obj{"SubnetId": w.subnet, "ConnectivityType": "private"} }, "NatGatewayLimitExceeded: The maximum number of NAT Gateways has been reached."},
		{quota.SecurityGroups, 2, ec2.TypeSecurityGroup, func(w world) obj { return obj{"VpcId": w.vpc, "GroupDescription": "more"} }, "SecurityGroupLimitExceeded"},
		{quota.Rules, 1, ec2.TypeSecurityGroupEgress, func(w world) obj { return obj{"GroupId": w.group, "IpProtocol": "-1", "CidrIp": "10.0.0.0/8"} }, "RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached."},
		{quota.GroupsPerInterface, 0, ec2.TypeNetworkInterface, func(w world) obj { return obj{"SubnetId": w.subnet, "GroupSet": []any{w.group}} }, "SecurityGroupsPerInterfaceLimitExceeded"},
		{quota.Interfaces, 2, ec2.TypeNetworkInterface, func(w world) obj { return obj{"SubnetId": w.subnet} }, "NetworkInterfaceLimitExceeded"},
		{quota.RouteTables, 2, ec2.TypeRouteTable, func(w world) obj { return obj{"VpcId": w.vpc} }, "RouteTableLimitExceeded"},
		{quota.Routes, 0, ec2.TypeRoute, func(w world) obj {
			return obj{"RouteTableId": w.table, "DestinationCidrBlock": "0.0.0.0/0", "NetworkInterfaceId": anyInterface(w.Sandbox)}
		}, "RouteLimitExceeded"},
		{quota.NetworkACLs, 2, ec2.TypeNetworkACL, func(w world) obj { return obj{"VpcId": w.vpc} }, "NetworkAclLimitExceeded"},
		{quota.Entries, 1, ec2.TypeNetworkACLEntry, func(w world) obj {
			return obj{"NetworkAclId": w.acl, "RuleNumber": 1, "Protocol": -1, "RuleAction": "allow", "CidrBlock": "0.0.0.0/0"}
		}, "NetworkAclEntryLimitExceeded"},
		{quota.InterfaceEndpoints, 0, ec2.TypeVPCEndpoint, func(w world) obj {
			return obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{w.subnet}}
		}, "VpcEndpointLimitExceeded"},
		{quota.GatewayEndpoints, 0, ec2.TypeVPCEndpoint, func(w world) obj {
			return obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "RouteTableIds": []any{w.table}}
		}, "VpcEndpointLimitExceeded"},
		{quota.Addresses, 0, ec2.TypeEIP, func(world) obj { return obj{} }, "AddressLimitExceeded: The maximum number of addresses has been reached."},
		{quota.LoadBalancers, 1, elbv2.TypeLoadBalancer, func(w world) obj { return obj{"Scheme": "internal", "Subnets": []any{w.subnet, w.other}} }, "TooManyLoadBalancers"},
		{quota.TargetGroups, 1, elbv2.TypeTargetGroup, func(w world) obj { return obj{"Protocol": "HTTP", "Port": 80, "VpcId": w.vpc} }, "TooManyTargetGroups"},
		{quota.Listeners, 1, elbv2.TypeListener, func(w world) obj {
			return obj{"LoadBalancerArn": w.lb, "Port": 81, "Protocol": "HTTP", "DefaultActions": []any{obj{"Type": "forward", "TargetGroupArn": w.targets}}}
		}, "TooManyListeners"},
		{quota.ListenerRules, 0, elbv2.TypeListenerRule, func(w world) obj {
			return obj{"ListenerArn": w.listener, "Priority": 1, "Conditions": []any{obj{"Field": "path-pattern", "Values": []any{"/*"}}}, "Actions": []any{obj{"Type": "forward", "TargetGroupArn": w.targets}}}
		}, "TooManyRules"},
		{quota.Buckets, 0, s3.TypeBucket, func(world) obj { return obj{"BucketName": "acme-one"} }, "TooManyBuckets"},
		{quota.LogGroups, 0, logs.TypeLogGroup, func(world) obj { return obj{} }, "LimitExceededException"},
		{quota.Repositories, 0, ecr.TypeRepository, func(world) obj { return obj{} }, "LimitExceededException"},
		{quota.StandardParameters, 0, ssm.TypeParameter, func(world) obj { return obj{"Type": "String", "Value": "x"} }, "ParameterLimitExceeded"},
		{quota.AdvancedParameters, 0, ssm.TypeParameter, func(world) obj { return obj{"Type": "String", "Value": "x", "Tier": "Advanced"} }, "ParameterLimitExceeded"},
		{quota.HostedZones, 1, route53.TypeHostedZone, func(world) obj { return obj{"Name": "example.org"} }, "TooManyHostedZones"},
		{quota.Records, 2, route53.TypeRecordSet, func(w world) obj {
			return obj{"HostedZoneId": w.zone, "Name": "a.example.com", "Type": "A", "TTL": 60, "ResourceRecords": []any{"192.0.2.1"}}
		}, "InvalidChangeBatch: [Number of records limit of 2 exceeded.]"},
		{quota.WebACLs, 0, wafv2.TypeWebACL, func(world) obj {
			return obj{"Name": "a", "Scope": "REGIONAL", "DefaultAction": obj{"Allow": obj{}}, "VisibilityConfig": obj{"CloudWatchMetricsEnabled": true, "SampledRequestsEnabled": true, "MetricName": "a"}}
		}, "WAFLimitsExceededException"},
		{quota.Topics, 0, sns.TypeTopic, func(world) obj { return obj{} }, "TopicLimitExceeded"},
	} {
		t.Run(c.quota.Name, func(t *testing.T) {
			t.Parallel()
			key := c.quota.Code + c.quota.Key
			for more, want := range map[int]string{0: c.code, 1: ""} {
				w := base
				w.Sandbox = base.CloneIn(account.World{Quotas: map[string]int{key: c.have + more}})
				_, err := testkit.Create(w.Sandbox, c.typ, c.props(w))
				testkit.Refused(t, err, want)
			}
		})
	}
}

// Quotas on roles, policies, keys, clusters, databases and Auto Scaling groups
// are checked before anything else about the request.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
// https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html
func TestQuotasOnWholeTypes(t *testing.T) {
	t.Parallel()
	base := testkit.Sandbox(t, sandbox.Options{})
	for typ, c := range map[string]struct {
		quota *quota.Quota
		code  string
	}{
		"AWS::IAM::Role":                     {quota.Roles, "LimitExceeded: Cannot exceed quota for RolesPerAccount: 0"},
		"AWS::IAM::InstanceProfile":          {quota.InstanceProfiles, "LimitExceeded: Cannot exceed quota for InstanceProfilesPerAccount: 0"},
		"AWS::IAM::ManagedPolicy":            {quota.ManagedPolicies, "LimitExceeded: Cannot exceed quota for PoliciesPerAccount: 0"},
		"AWS::IAM::OIDCProvider":             {quota.OIDCProviders, "LimitExceeded: Cannot exceed quota for OpenIdConnectProvidersPerAccount: 0"},
		"AWS::EKS::Cluster":                  {quota.Clusters, "ResourceLimitExceededException: "},
		"AWS::EKS::Nodegroup":                {quota.NodeGroups, "ResourceLimitExceededException: "},
		"AWS::RDS::DBInstance":               {quota.Databases, "InstanceQuotaExceeded: "},
		"AWS::RDS::DBSubnetGroup":            {quota.SubnetGroups, "DBSubnetGroupQuotaExceeded: "},
		"AWS::RDS::DBParameterGroup":         {quota.ParameterGroups, "DBParameterGroupQuotaExceeded: "},
		"AWS::KMS::Key":                      {quota.Keys, "LimitExceededException: "},
		"AWS::AutoScaling::AutoScalingGroup": {quota.AutoScalingGroups, "LimitExceeded: "},
	} {
		s := base.CloneIn(account.World{Quotas: map[string]int{c.quota.Code: 0}})
		_, err := testkit.Create(s, typ, obj{})
		testkit.Refused(t, err, c.code)
		s = base.CloneIn(account.World{Quotas: map[string]int{c.quota.Code: 1000}})
		if _, err := testkit.Create(s, typ, obj{}); err != nil && strings.HasPrefix(err.Error(), c.code) {
			t.Errorf("%s: got %v under a raised quota", typ, err)
		}
	}
	// Keys that AWS manages and roles that it links don't count.
	s := base.CloneIn(account.World{Quotas: map[string]int{quota.Keys.Code: 1}})
	testkit.MustCreate(t, s, "AWS::KMS::Key", obj{})
	_, err := testkit.Create(s, "AWS::KMS::Key", obj{})
	testkit.Refused(t, err, "LimitExceededException: ")
}

func anyInterface(s *sandbox.Sandbox) (id string) {
	_ = s.Account().Do(func(tx *account.Tx) error {
		id = tx.List(ec2.TypeNetworkInterface)[0].ID
		return nil
	})
	return id
}
