package eks_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// world is an account with a VPC of three zones, whose subnets have a NAT
// gateway, and the roles of a cluster and its nodes.
type world struct {
	*account.Account
	now                   time.Time
	vpc, table            string
	subnets               []any
	clusterRole, nodeRole string
	key                   string
	closed                string // a subnet without a way out
}

type obj = map[string]any

func trust(service string) obj {
	return obj{"Version": "2012-10-17", "Statement": []any{obj{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": obj{"Service": service}}}}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}, Seed: iam.Seed, Events: eks.Events()}
	for _, list := range [][]*account.Type{eks.Types(), ec2.Types(), endpoint.Types(), instance.Types(), autoscaling.Types(), iam.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	model.Types["AWS::Logs::LogGroup"] = &account.Type{Name: "AWS::Logs::LogGroup", Create: func(_ *account.Tx, r *account.Resource) error {
		r.ID = props.Str(r.Props, "LogGroupName")
		return nil
	}}
	zones := []account.Zone{{Name: "us-east-1a", ID: "use1-az1"}, {Name: "us-east-1b", ID: "use1-az2"}, {Name: "us-east-1c", ID: "use1-az4"}, {Name: "us-east-1e", ID: "use1-az3"}}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }, Zones: zones})
	w.do(t, func(tx *account.Tx) error {
		if err := iam.SeedPrincipal(tx, "arn:aws:sts::123456789012:assumed-role/admin/me", iam.Rights{}); err != nil {
			return err
		}
		make := func(typ string, p obj) *account.Resource {
			t.Helper()
			r, _, err := tx.Create(typ, p, "", true)
			if err != nil {
				t.Fatalf("%s: %v", typ, err)
			}
			return r
		}
		w.vpc = make(ec2.TypeVPC, obj{"CidrBlock": "10.0.0.0/16", "EnableDnsSupport": true, "EnableDnsHostnames": true}).ID
		igw := make(ec2.TypeInternetGateway, obj{}).ID
		make(ec2.TypeVPCGatewayAttachment, obj{"VpcId": w.vpc, "InternetGatewayId": igw})
		public := make(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.100.0/24", "AvailabilityZone": "us-east-1a"}).ID
		out := make(ec2.TypeRouteTable, obj{"VpcId": w.vpc}).ID
		make(ec2.TypeRoute, obj{"RouteTableId": out, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": igw})
		make(ec2.TypeSubnetRouteTableAssociation, obj{"RouteTableId": out, "SubnetId": public})
		eip := make(ec2.TypeEIP, obj{"Domain": "vpc"})
		nat := make(ec2.TypeNatGateway, obj{"SubnetId": public, "AllocationId": eip.Attrs["AllocationId"]}).ID
		w.table = make(ec2.TypeRouteTable, obj{"VpcId": w.vpc}).ID
		make(ec2.TypeRoute, obj{"RouteTableId": w.table, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat})
		for i, z := range zones[:3] {
			s := make(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z.Name}).ID
			make(ec2.TypeSubnetRouteTableAssociation, obj{"RouteTableId": w.table, "SubnetId": s})
			w.subnets = append(w.subnets, s)
		}
		w.closed = make(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.50.0/24", "AvailabilityZone": "us-east-1b"}).ID
		w.clusterRole = props.Str(make(iam.TypeRole, obj{"AssumeRolePolicyDocument": trust("eks.amazonaws.com"), "ManagedPolicyArns": []any{"arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"}}).Attrs, "Arn")
		w.nodeRole = props.Str(make(iam.TypeRole, obj{"AssumeRolePolicyDocument": trust("ec2.amazonaws.com"), "ManagedPolicyArns": []any{
			"arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly", "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
		}}).Attrs, "Arn")
		w.key = tx.ARN("kms", "key/1")
		tx.Put(&account.Resource{Type: "AWS::KMS::Key", ID: "1", Status: "Enabled", Attrs: obj{"Arn": w.key}, Props: obj{}, Data: obj{}})
		return nil
	})
	return w
}

func (w *world) do(t *testing.T, f func(*account.Tx) error) {
	t.Helper()
	if err := w.Do(f); err != nil {
		t.Fatal(err)
	}
}

// later lets time go by.
func (w *world) later(d time.Duration) { w.now = w.now.Add(d) }

// fork is a copy of the world whose time goes by on its own.
func (w *world) fork() *world {
	f := *w
	f.Account = w.Clone(func() time.Time { return f.now })
	return &f
}

func (w *world) create(typ string, p obj) (*account.Resource, time.Duration, error) {
	var r *account.Resource
	var d time.Duration
	err := w.Do(func(tx *account.Tx) error {
		tx.Caller = "arn:aws:sts::123456789012:assumed-role/admin/me"
		var err error
		r, d, err = tx.Create(typ, p, "", true)
		return err
	})
	return r, d, err
}

// with is p with changes; nil removes.
func with(p obj, changes ...obj) obj {
	out, _ := account.Copy(p).(map[string]any)
	for _, change := range changes {
		for k, v := range change {
			switch v := v.(type) {
			case nil:
				delete(out, k)
			case map[string]any:
				if old, ok := out[k].(map[string]any); ok {
					out[k] = with(old, v)
					continue
				}
				out[k] = v
			default:
				out[k] = v
			}
		}
	}
	return out
}

func (w *world) cluster() obj {
	return obj{
		"Name": "c", "RoleArn": w.clusterRole, "Version": "1.34", "BootstrapSelfManagedAddons": false,
		"ResourcesVpcConfig": obj{"SubnetIds": w.subnets, "EndpointPrivateAccess": true, "EndpointPublicAccess": false},
		"AccessConfig":       obj{"AuthenticationMode": "API", "BootstrapClusterCreatorAdminPermissions": false},
		"EncryptionConfig":   []any{obj{"Resources": []any{"secrets"}, "Provider": obj{"KeyArn": w.key}}},
		"Logging":            obj{"ClusterLogging": obj{"EnabledTypes": []any{obj{"Type": "api"}, obj{"Type": "audit"}}}},
	}
}

func (w *world) nodes() obj {
	return obj{
		"ClusterName": "c", "NodegroupName": "n", "NodeRole": w.nodeRole, "Subnets": w.subnets[:1], "InstanceTypes": []any{"m6i.large"},
		"ScalingConfig": obj{"MinSize": 1, "DesiredSize": 2, "MaxSize": 3}, "Tags": obj{"a": "b"},
	}
}

// ready has a cluster with its network plugin.
func ready(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if _, _, err := w.create(eks.TypeCluster, w.cluster()); err != nil {
		t.Fatal(err)
	}
	w.later(601 * time.Second)
	if _, _, err := w.create(eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "vpc-cni"}); err != nil {
		t.Fatal(err)
	}
	return w
}

func code(err error) string {
	var e *account.Error
	if errors.As(err, &e) {
		return e.Code + ": " + e.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(err); !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A cluster is refused whose role, version, network, endpoints, logs, key or service
// range EKS does not take.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
// https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
func TestClusterIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var foreign, small, bad, other string
	w.do(t, func(tx *account.Tx) error {
		v, _, err := tx.Create(ec2.TypeVPC, obj{"CidrBlock": "10.9.0.0/16"}, "", true)
		if err != nil {
			return err
		}
		g, _, err := tx.Create(ec2.TypeSecurityGroup, obj{"VpcId": v.ID, "GroupDescription": "d"}, "", true)
		if err != nil {
			return err
		}
		s, _, err := tx.Create(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.200.0/28", "AvailabilityZone": "us-east-1b"}, "", true)
		if err != nil {
			return err
		}
		for range 6 {
			if _, err := ec2.AddInterface(tx, ec2.Interface{Subnet: s.ID}); err != nil {
				return err
			}
		}
		o, _, err := tx.Create(ec2.TypeSubnet, obj{"VpcId": v.ID, "CidrBlock": "10.9.0.0/24", "AvailabilityZone": "us-east-1b"}, "", true)
		if err != nil {
			return err
		}
		e, _, err := tx.Create(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.201.0/24", "AvailabilityZone": "us-east-1e"}, "", true)
		foreign, small, bad, other = g.ID, s.ID, e.ID, o.ID
		return err
	})
	network := func(c obj) obj { return obj{"ResourcesVpcConfig": c} }
	for name, c := range map[string]struct {
		change obj
		want   string
	}{
		"role":             {obj{"RoleArn": w.nodeRole}, "InvalidParameterException: Role with arn: " + w.nodeRole + ", could not be assumed"},
		"version":          {obj{"Version": "1.20"}, "InvalidParameterException: unsupported Kubernetes version"},
		"one zone":         {network(obj{"SubnetIds": w.subnets[:1]}), "InvalidParameterException: Subnets specified must be in at least two different AZs"},
		"no subnet":        {network(obj{"SubnetIds": []any{"subnet-0"}}), "InvalidParameterException: The subnet ID 'subnet-0' does not exist"},
		"full subnet":      {network(obj{"SubnetIds": append([]any{small}, w.subnets...)}), "InvalidParameterException: Subnet " + small + " does not have enough free IP addresses"},
		"zone id":          {network(obj{"SubnetIds": append([]any{bad}, w.subnets...)}), "UnsupportedAvailabilityZoneException: Cannot create cluster 'c' because us-east-1e, the targeted availability zone, does not currently have sufficient capacity to support the cluster. Retry and choose from these availability zones: us-east-1a, us-east-1b, us-east-1c"},
		"foreign group":    {network(obj{"SecurityGroupIds": []any{foreign}}), "InvalidParameterException: Security group(s) [" + foreign + "] are not in the same VPC"},
		"no endpoint":      {network(obj{"EndpointPrivateAccess": false}), "InvalidParameterException: Private and public endpoint access cannot be false"},
		"malformed":        {network(obj{"PublicAccessCidrs": []any{"8.8.8.8/8"}}), "InvalidParameterException: The following CIDRs are invalid in publicAccessCidrs: [8.8.8.8/8]"},
		"private range":    {network(obj{"PublicAccessCidrs": []any{"8.8.8.0/24", "10.1.0.0/16"}}), "InvalidParameterException: The following CIDRs are not allowed in publicAccessCidrs: [10.1.0.0/16]"},
		"key":              {obj{"EncryptionConfig": []any{obj{"Resources": []any{"secrets"}, "Provider": obj{"KeyArn": "arn:aws:kms:us-east-1:123456789012:key/2"}}}}, "InvalidParameterException: The keyArn in encryptionConfig"},
		"key's region":     {obj{"EncryptionConfig": []any{obj{"Resources": []any{"secrets"}, "Provider": obj{"KeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1"}}}}, "InvalidParameterException: The keyArn for encryptionConfig is scoped to invalid aws region."},
		"log type":         {obj{"Logging": obj{"ClusterLogging": obj{"EnabledTypes": []any{obj{"Type": "kubelet"}}}}}, "InvalidParameterException: Invalid logging type kubelet"},
		"service range":    {obj{"KubernetesNetworkConfig": obj{"ServiceIpv4Cidr": "8.0.0.0/16"}}, "InvalidParameterException: serviceIpv4Cidr must be within RFC1918 range"},
		"service overlaps": {obj{"KubernetesNetworkConfig": obj{"ServiceIpv4Cidr": "10.0.0.0/20"}}, "InvalidParameterException: serviceIpv4Cidr 10.0.0.0/20 overlaps"},
		"outposts":         {obj{"OutpostConfig": obj{"OutpostArns": []any{"x"}}}, "NotModelled: OutpostConfig is not modelled"},
		"hybrid nodes":     {obj{"RemoteNetworkConfig": obj{"RemoteNodeNetworks": []any{}}}, "NotModelled: RemoteNetworkConfig is not modelled"},
		"other VPC":        {network(obj{"SubnetIds": append([]any{other}, w.subnets...)}), "InvalidParameterException: Subnets specified must belong to the same VPC"},
		"no group":         {network(obj{"SecurityGroupIds": []any{"sg-0"}}), "InvalidParameterException: The security group 'sg-0' does not exist"},
		"many groups":      {network(obj{"SecurityGroupIds": []any{"1", "2", "3", "4", "5", "6"}}), "InvalidParameterException: Cannot specify more than 5 security groups"},
		"many ranges":      {network(obj{"PublicAccessCidrs": slices.Repeat([]any{"8.8.8.0/24"}, 41)}), "InvalidParameterException: The number of publicAccessCidrs exceeds the limit of 40"},
		"what to encrypt":  {obj{"EncryptionConfig": []any{obj{"Resources": []any{"configmaps"}, "Provider": obj{"KeyArn": w.key}}}}, "InvalidParameterException: Invalid k8s resource for encryption"},
		"IPv6":             {obj{"KubernetesNetworkConfig": obj{"IpFamily": "ipv6"}}, "NotModelled: ipFamily ipv6 is not modelled"},
		"service typo":     {obj{"KubernetesNetworkConfig": obj{"ServiceIpv4Cidr": "172.20.0.1/16"}}, "InvalidParameterException: serviceIpv4Cidr 172.20.0.1/16 is not a valid CIDR block"},
		"small service":    {obj{"KubernetesNetworkConfig": obj{"ServiceIpv4Cidr": "172.20.0.0/25"}}, "InvalidParameterException: serviceIpv4Cidr netmask must be between /24 and /12"},
		"auto mode":        {obj{"ComputeConfig": obj{"Enabled": true}}, "NotModelled: EKS Auto Mode is not modelled"},
		"fine":             {obj{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := w.fork().create(eks.TypeCluster, with(w.cluster(), c.change))
			check(t, err, c.want)
		})
	}
}

// TestClusterLives takes a cluster from its creation to its deletion.
func TestClusterLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := len(w.Resources())
	r, d, err := w.create(eks.TypeCluster, with(w.cluster(), obj{"AccessConfig": obj{"BootstrapClusterCreatorAdminPermissions": true}, "DeletionProtection": true}))
	if err != nil || d != 600*time.Second {
		t.Fatalf("create: %v, %v", d, err)
	}
	_, _, err = w.create(eks.TypeCluster, w.cluster())
	check(t, err, "ResourceInUseException: Cluster already exists with name: c")
	_, _, err = w.create(eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "vpc-cni"})
	check(t, err, "InvalidRequestException: Cluster 'c' is not in ACTIVE status")
	w.later(d)
	w.do(t, func(tx *account.Tx) error {
		c := tx.Get(eks.TypeCluster, "c")
		arn := props.Str(c.Attrs, "Arn")
		if n := len(ec2.InterfacesOf(tx, arn)); c.Status != "ACTIVE" || n != 3 {
			t.Errorf("cluster is %s with %d interfaces", c.Status, n)
		}
		g := tx.Get(ec2.TypeSecurityGroup, props.Str(c.Attrs, "ClusterSecurityGroupId"))
		if g == nil || !strings.HasPrefix(ec2.GroupName(g), "eks-cluster-sg-c-") || g.Tags["kubernetes.io/cluster/c"] != "owned" {
			t.Errorf("cluster group %v", g)
		}
		if !strings.HasPrefix(props.Str(c.Attrs, "OpenIdConnectIssuerUrl"), "https://oidc.eks.us-east-1.amazonaws.com/id/") {
			t.Error(c.Attrs)
		}
		if ca, err := base64.StdEncoding.DecodeString(props.Str(c.Attrs, "CertificateAuthorityData")); err != nil || !strings.HasPrefix(string(ca), "-----BEGIN CERTIFICATE") {
			t.Error("certificate authority isn't PEM")
		}
		if tx.Get("AWS::Logs::LogGroup", "/aws/eks/c/cluster") == nil {
			t.Error("no log group")
		}
		if tx.Get(eks.TypeAccessEntry, "arn:aws:iam::123456789012:role/admin|c") == nil {
			t.Error("the creator has no access entry")
		}
		return nil
	})
	update := func(changes ...obj) error {
		return w.Do(func(tx *account.Tx) error {
			c := tx.Get(eks.TypeCluster, "c")
			_, err := tx.Update(c, with(c.Props, changes...), true)
			return err
		})
	}
	network := func(c obj) obj { return obj{"ResourcesVpcConfig": c} }
	open := network(obj{"EndpointPublicAccess": true, "PublicAccessCidrs": []any{"8.8.8.0/24"}})
	for _, c := range []struct {
		change []obj
		want   string
		after  time.Duration
	}{
		{[]obj{open, {"Version": "1.35"}}, "InvalidParameterException: Only one type of update can be allowed.", 0},
		{[]obj{{"Version": "1.36"}}, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.34 to 1.36", 0},
		{[]obj{{"Version": "1.33"}}, "InvalidParameterException: Unsupported Kubernetes minor version update from 1.34 to 1.33", 0},
		{[]obj{{"AccessConfig": obj{"AuthenticationMode": "CONFIG_MAP"}}}, "InvalidParameterException: Unsupported authentication mode update from API to CONFIG_MAP", 0},
		{[]obj{network(obj{"SubnetIds": w.subnets[:2]})}, "InvalidParameterException: Provided subnets belong to the AZs", 0},
		{[]obj{network(obj{"EndpointPrivateAccess": false})}, "InvalidParameterException: Private and public endpoint access cannot be false", 0},
		{[]obj{{"Logging": obj{"ClusterLogging": obj{"EnabledTypes": []any{obj{"Type": "x"}}}}}}, "InvalidParameterException: Invalid logging type x", 0},
		{[]obj{{"ComputeConfig": obj{"Enabled": true}}}, "NotModelled: AutoModeUpdate is not modelled", 0},
		{[]obj{open}, "", 0},
		{[]obj{{"Version": "1.35"}}, "ResourceInUseException: Cannot VersionUpdate because cluster c currently has update", 286 * time.Second},
		{[]obj{{"Version": "1.35"}}, "", time.Hour},
		{[]obj{{"Tags": []any{obj{"Key": "a", "Value": "b"}}}}, "", 0},
	} {
		check(t, update(c.change...), c.want)
		w.later(c.after)
	}
	remove := func() error {
		return w.Do(func(tx *account.Tx) error {
			_, err := tx.Delete(tx.Get(eks.TypeCluster, "c"), true)
			return err
		})
	}
	check(t, remove(), "InvalidRequestException: Cannot delete cluster c because deletion protection is enabled")
	check(t, update(obj{"DeletionProtection": false}), "")
	w.later(time.Minute)
	check(t, remove(), "")
	w.later(time.Hour)
	// The log group stays.
	if got := len(w.Resources()); got != before+1 {
		t.Errorf("%d resources became %d", before, got)
	}
	w.do(t, func(tx *account.Tx) error {
		if len(tx.List(eks.TypeCluster))+len(tx.List(eks.TypeAccessEntry)) > 0 || len(ec2.InterfacesOf(tx, props.Str(r.Attrs, "Arn"))) > 0 {
			t.Error("the cluster left something behind")
		}
		if tx.Get(ec2.TypeSecurityGroup, props.Str(r.Attrs, "ClusterSecurityGroupId")) != nil {
			t.Error("the cluster's group is still there")
		}
		return nil
	})
}

// A node group is refused whose role, subnets, sizes, labels, taints or image do
// not fit, or whose launch template sets what EKS sets itself.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html
// https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
func TestNodegroupIsChecked(t *testing.T) {
	t.Parallel()
	w := ready(t)
	template := func(data obj) string {
		r, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": data})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	// seeded is a template with data that EC2 would want more of.
	seeded := func(key string) string {
		id := "lt-" + key
		w.do(t, func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: instance.TypeLaunchTemplate, ID: id, Attrs: obj{"LatestVersionNumber": "1"}, Data: obj{"versions": []any{obj{"number": 1, "data": obj{key: obj{"x": "y"}}}}}})
			return nil
		})
		return id
	}
	var other string
	w.do(t, func(tx *account.Tx) error {
		v, _, err := tx.Create(ec2.TypeVPC, obj{"CidrBlock": "10.9.0.0/16"}, "", true)
		if err != nil {
			return err
		}
		o, _, err := tx.Create(ec2.TypeSubnet, obj{"VpcId": v.ID, "CidrBlock": "10.9.0.0/24", "AvailabilityZone": "us-east-1b"}, "", true)
		other = o.ID
		return err
	})
	text := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh"))
	for name, c := range map[string]struct {
		change obj
		want   string
	}{
		"cluster":            {obj{"ClusterName": "none"}, "ResourceNotFoundException: No cluster found for name: none."},
		"role":               {obj{"NodeRole": w.clusterRole}, "InvalidParameterException: Following required service principals [ec2.amazonaws.com] were not found in the trust relationships of nodeRole " + w.clusterRole},
		"subnet":             {obj{"Subnets": []any{"subnet-0"}}, "InvalidParameterException: The subnet ID 'subnet-0' does not exist"},
		"minimum":            {obj{"ScalingConfig": obj{"MinSize": 3}}, "InvalidParameterException: Minimum capacity 3 can't be greater than desired size 2"},
		"maximum":            {obj{"ScalingConfig": obj{"DesiredSize": 4}}, "InvalidParameterException: desired capacity 4 can't be greater than max size 3"},
		"type twice":         {obj{"LaunchTemplate": obj{"Id": template(obj{"InstanceType": "m6i.large"})}}, "InvalidRequestException: Cannot specify instance types in launch template and API request"},
		"disk":               {obj{"DiskSize": 50, "LaunchTemplate": obj{"Id": template(obj{})}}, "InvalidParameterException: Disk size must be specified within the launch template."},
		"image and type":     {obj{"AmiType": "AL2023_x86_64_STANDARD", "LaunchTemplate": obj{"Id": template(obj{"ImageId": "resolve:ssm:/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended/image_id"})}}, "InvalidParameterException: You cannot specify an AMI Type other than CUSTOM"},
		"user data":          {obj{"LaunchTemplate": obj{"Id": template(obj{"UserData": text})}}, "InvalidRequestException: Ec2LaunchTemplateInvalidConfiguration: User data was not in the MIME multipart format."},
		"no template":        {obj{"LaunchTemplate": obj{"Id": "lt-0"}}, "InvalidParameterException: Launch template lt-0 cannot be found"},
		"architecture":       {obj{"InstanceTypes": []any{"m7g.large"}, "AmiType": "AL2023_x86_64_STANDARD"}, "InvalidParameterException: [m7g.large] is not a valid instance type for requested amiType AL2023_x86_64_STANDARD"},
		"no gpu":             {obj{"AmiType": "AL2023_x86_64_NVIDIA"}, "InvalidParameterException: [m6i.large] is not a valid instance type for requested amiType AL2023_x86_64_NVIDIA"},
		"old image":          {obj{"AmiType": "AL2_x86_64"}, "InvalidParameterException: Requested amiType AL2_x86_64 is not supported"},
		"unknown type":       {obj{"InstanceTypes": []any{"m99.large"}}, "InvalidParameterException: [m99.large] is not a valid instance type"},
		"newer than cluster": {obj{"Version": "1.35"}, "InvalidParameterException: Requested Nodegroup kubernetes version 1.35"},
		"label":              {obj{"Labels": obj{"a b": "c"}}, "InvalidParameterException: Label a b:c is invalid"},
		"reserved label":     {obj{"Labels": obj{"kubernetes.io/role": "c"}}, "InvalidParameterException: Label cannot contain reserved prefixes"},
		"taint":              {obj{"Taints": []any{obj{"Key": "a", "Effect": "NoSchedule"}}}, "InvalidParameterException: Invalid taint effect NoSchedule"},
		"no role":            {obj{"NodeRole": w.nodeRole + "x"}, "InvalidParameterException: The role with name"},
		"no subnets":         {obj{"Subnets": []any{}}, "InvalidParameterException: Subnets cannot be empty"},
		"other VPC":          {obj{"Subnets": []any{other}}, "InvalidParameterException: Subnets specified must belong to the VPC " + w.vpc},
		"id and name":        {obj{"LaunchTemplate": obj{"Id": "lt-0", "Name": "x"}}, "InvalidParameterException: Either provide launch template ID or launch template name"},
		"no version":         {obj{"LaunchTemplate": obj{"Id": template(obj{}), "Version": "7"}}, "InvalidParameterException: Could not find the specified version 7"},
		"remote access":      {obj{"RemoteAccess": obj{"Ec2SshKey": "k"}, "LaunchTemplate": obj{"Id": template(obj{})}}, "InvalidParameterException: Remote access configuration cannot be specified with a launch template."},
		"own profile":        {obj{"LaunchTemplate": obj{"Id": seeded("IamInstanceProfile")}}, "InvalidParameterException: Launch template should not specify an instance profile."},
		"hibernation":        {obj{"LaunchTemplate": obj{"Id": seeded("HibernationOptions")}}, "InvalidParameterException: Launch template should not specify hibernation configuration."},
		"requirements":       {obj{"LaunchTemplate": obj{"Id": seeded("InstanceRequirements")}}, "InvalidParameterException: Launch template should not specify instance requirements."},
		"market":             {obj{"LaunchTemplate": obj{"Id": seeded("InstanceMarketOptions")}}, "InvalidParameterException: Remove instance market options from launch template"},
		"own subnet":         {obj{"LaunchTemplate": obj{"Id": template(obj{"NetworkInterfaces": []any{obj{"DeviceIndex": 0, "SubnetId": w.subnets[0]}}})}}, "InvalidParameterException: Launch template should not specify subnets, network interfaces"},
		"custom, bare":       {obj{"AmiType": "CUSTOM"}, "InvalidParameterException: Launch template details can't be null for Custom ami type node group"},
		"custom, no image":   {obj{"AmiType": "CUSTOM", "LaunchTemplate": obj{"Id": template(obj{})}}, "InvalidParameterException: Launch template must specify an image id"},
		"custom, version":    {obj{"AmiType": "CUSTOM", "Version": "1.34", "LaunchTemplate": obj{"Id": template(obj{"ImageId": "resolve:ssm:/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended/image_id"})}}, "InvalidParameterException: You cannot specify the field kubernetesVersion or releaseVersion"},
		"unknown image":      {obj{"AmiType": "WINDOWS_FULL_2025_x86_64"}, "NotModelled: AMI type WINDOWS_FULL_2025_x86_64 is not modelled"},
		"nothing at most":    {obj{"ScalingConfig": obj{"MinSize": 0, "DesiredSize": 0, "MaxSize": 0}}, "InvalidParameterException: maxSize must be at least 1"},
		"taint twice":        {obj{"Taints": []any{obj{"Key": "a", "Effect": "NO_SCHEDULE"}, obj{"Key": "a", "Effect": "NO_SCHEDULE", "Value": "b"}}}, "InvalidParameterException: Taints with the same key and effect"},
		"taint key":          {obj{"Taints": []any{obj{"Key": "a b", "Effect": "NO_SCHEDULE"}}}, "InvalidParameterException: Taint a b is invalid"},
		"empty update":       {obj{"UpdateConfig": obj{}}, "InvalidParameterException: UpdateConfig cannot be empty if set in the request."},
		"two in update":      {obj{"UpdateConfig": obj{"MaxUnavailable": 1, "MaxUnavailablePercentage": 10}}, "InvalidParameterException: Either provide max unavailable count or percentage"},
		"spot":               {obj{"CapacityType": "SPOT"}, "NotModelled: Capacity type SPOT is not modelled"},
		"capacity type":      {obj{"CapacityType": "RESERVED"}, "InvalidParameterException: Invalid capacity type RESERVED"},
		"no block":           {obj{"CapacityType": "CAPACITY_BLOCK"}, "InvalidParameterException: Launch template must specify InstanceMarketOptions"},
		"long name":          {obj{"NodegroupName": strings.Repeat("n", 64)}, "InvalidParameterException: nodeGroupName can't be longer than 63 characters!"},
		"fine":               {obj{}, ""},
		"arm by itself":      {obj{"InstanceTypes": []any{"m7g.large"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := w.fork().create(eks.TypeNodegroup, with(w.nodes(), c.change))
			check(t, err, c.want)
		})
	}
}

// TestNodesJoin shows what nodes need to join the cluster.
func TestNodesJoin(t *testing.T) {
	t.Parallel()
	w := ready(t)
	const joined = "NodeCreationFailure: Instances failed to join the kubernetes cluster"
	group := func(t *testing.T, w *world, p obj) string {
		r, _, err := w.create(ec2.TypeSecurityGroup, with(obj{"VpcId": w.vpc, "GroupDescription": "d"}, p))
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	endpoints := func(names ...string) func(*testing.T, *world) obj {
		return func(t *testing.T, w *world) obj {
			g := group(t, w, obj{"SecurityGroupIngress": []any{obj{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/16"}}})
			var main string
			w.do(t, func(tx *account.Tx) error {
				main = ec2.RouteTableOf(tx, tx.Get(ec2.TypeSubnet, w.closed)).ID
				return nil
			})
			for _, n := range names {
				p := obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1." + n, "VpcEndpointType": "Interface", "PrivateDnsEnabled": true, "SubnetIds": []any{w.closed}, "SecurityGroupIds": []any{g}}
				if n == "s3" {
					p = obj{"VpcId": w.vpc, "ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway", "RouteTableIds": []any{main}}
				}
				if _, _, err := w.create(ec2.TypeVPCEndpoint, p); err != nil {
					t.Fatal(err)
				}
			}
			return obj{"Subnets": []any{w.closed}}
		}
	}
	for name, c := range map[string]struct {
		prepare func(*testing.T, *world) obj
		want    string
	}{
		"by NAT":     {func(*testing.T, *world) obj { return nil }, ""},
		"no way out": {func(*testing.T, *world) obj { return obj{"Subnets": []any{w.closed}} }, joined},
		"nothing is wanted": {func(*testing.T, *world) obj {
			return obj{"Subnets": []any{w.closed}, "ScalingConfig": obj{"MinSize": 0, "DesiredSize": 0}}
		}, ""},
		"by endpoints":    {endpoints("ec2", "ecr.api", "ecr.dkr", "eks", "sts", "s3"), ""},
		"endpoint lacks":  {endpoints("ec2", "ecr.api", "eks", "sts", "s3"), joined},
		"no image layers": {endpoints("ec2", "ecr.api", "ecr.dkr", "eks", "sts"), joined},
		"no network plugin": {func(t *testing.T, w *world) obj {
			w.do(t, func(tx *account.Tx) error {
				tx.Drop(eks.TypeAddon, "c|vpc-cni")
				return nil
			})
			return nil
		}, "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster"},
		"role without policies": {func(t *testing.T, w *world) obj {
			r, _, err := w.create(iam.TypeRole, obj{"AssumeRolePolicyDocument": trust("ec2.amazonaws.com")})
			if err != nil {
				t.Fatal(err)
			}
			return obj{"NodeRole": r.Attrs["Arn"]}
		}, joined},
		"own group only": {func(t *testing.T, w *world) obj {
			lt, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"SecurityGroupIds": []any{group(t, w, nil)}}})
			if err != nil {
				t.Fatal(err)
			}
			return obj{"LaunchTemplate": obj{"Id": lt.ID}}
		}, joined},
		"own and cluster's group": {func(t *testing.T, w *world) obj {
			var cluster string
			w.do(t, func(tx *account.Tx) error {
				cluster = props.Str(tx.Get(eks.TypeCluster, "c").Attrs, "ClusterSecurityGroupId")
				return nil
			})
			lt, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"SecurityGroupIds": []any{group(t, w, nil), cluster}}})
			if err != nil {
				t.Fatal(err)
			}
			return obj{"LaunchTemplate": obj{"Id": lt.ID, "Version": "1"}}
		}, ""},
		"key out of reach": {func(t *testing.T, w *world) obj {
			w.do(t, func(tx *account.Tx) error {
				tx.Get("AWS::KMS::Key", "1").Props["KeyPolicy"] = obj{"Version": "2012-10-17", "Statement": []any{}}
				return nil
			})
			lt, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"BlockDeviceMappings": []any{obj{"DeviceName": "/dev/xvda", "Ebs": obj{"Encrypted": true, "KmsKeyId": w.key}}}}})
			if err != nil {
				t.Fatal(err)
			}
			return obj{"LaunchTemplate": obj{"Id": lt.ID}}
		}, "AsgInstanceLaunchFailures: Could not launch On-Demand Instances."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.fork()
			change := c.prepare(t, w)
			w.later(time.Minute)
			_, d, err := w.create(eks.TypeNodegroup, with(w.nodes(), change))
			if err != nil {
				t.Fatal(err)
			}
			w.later(d + time.Second)
			w.do(t, func(tx *account.Tx) error {
				n := tx.Get(eks.TypeNodegroup, "c/n")
				if got := props.Str(n.Data, "failure"); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if want := map[bool]string{true: "ACTIVE", false: "CREATE_FAILED"}[c.want == ""]; n.Status != want {
					t.Errorf("node group is %s", n.Status)
				}
				return nil
			})
		})
	}
}

// shortage is EC2 without capacity until a moment.
type shortage struct{ until time.Time }

func (s shortage) Fail(*account.Tx, *account.Resource, string, bool) error { return nil }
func (s shortage) Lingers(*account.Tx, *account.Resource) time.Duration    { return 0 }
func (s shortage) Fork() account.Breaker                                   { return s }
func (s shortage) Launch(tx *account.Tx, typ string, _ int, z account.Zone) error {
	if tx.Now().After(s.until) {
		return nil
	}
	return account.Errorf("InsufficientInstanceCapacity", "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s).", typ, z.Name)
}

// A node group whose instances EC2 has no capacity for waits while its Auto
// Scaling group tries again; without any for too long its creation fails, and
// the health issue AsgInstanceLaunchFailures says why.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
func TestNodesWithoutCapacity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		lasts  time.Duration
		status string
		issue  string
	}{
		{"for a while", 10 * time.Minute, "ACTIVE", ""},
		{"for too long", time.Hour, "CREATE_FAILED", "AsgInstanceLaunchFailures Could not launch On-Demand Instances. Launching a new EC2 instance failed. We currently do not have sufficient m6i.large capacity in the Availability Zone you requested (us-east-1a)."},
	} {
		w := ready(t)
		w.later(time.Minute)
		w.Break(shortage{w.now.Add(tt.lasts)})
		_, d, err := w.create(eks.TypeNodegroup, w.nodes())
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []struct {
			after  time.Duration
			status string
		}{{d + time.Second, "CREATING"}, {30 * time.Minute, tt.status}} {
			w.later(at.after)
			w.do(t, func(tx *account.Tx) error {
				n := tx.Get(eks.TypeNodegroup, "c/n")
				if n.Status != at.status {
					t.Errorf("%s: after %v the node group is %s, want %s", tt.name, at.after, n.Status, at.status)
				}
				issue := ""
				for _, i := range props.Maps(n.Data, "issues") {
					issue += props.Str(i, "code") + " " + props.Str(i, "message")
				}
				if at.status != "CREATING" && !strings.HasPrefix(issue, tt.issue) || tt.issue == "" && issue != "" {
					t.Errorf("%s: the issue is %q, want %q", tt.name, issue, tt.issue)
				}
				if at.status == "ACTIVE" && len(eks.Nodes(tx, n)) != 2 {
					t.Errorf("%s: %d nodes", tt.name, len(eks.Nodes(tx, n)))
				}
				return nil
			})
		}
	}
}

// A node group on a capacity block needs a reservation of its instance type, in
// a zone of one of its subnets, with room for all of its nodes.
//
// https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html
func TestCapacityBlock(t *testing.T) {
	t.Parallel()
	w := ready(t)
	reserve := func(w *world, v instance.Reservation) string {
		var id string
		w.do(t, func(tx *account.Tx) error {
			v.Block = true
			r, err := instance.Reserve(tx, v)
			if err == nil {
				id = r.ID
			}
			return err
		})
		return id
	}
	for name, c := range map[string]struct {
		reservation instance.Reservation
		size        int
		want        string
		fails       string
	}{
		"fits":       {instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 2}, 2, "", ""},
		"other type": {instance.Reservation{InstanceType: "p5en.48xlarge", Zone: "us-east-1a", Count: 2}, 2, "InvalidParameterException: The capacity reservation", ""},
		"other zone": {instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1b", Count: 2}, 2, "InvalidParameterException: None of the subnets", ""},
		"too small":  {instance.Reservation{InstanceType: "p5.48xlarge", Zone: "us-east-1a", Count: 1}, 2, "", "AsgInstanceLaunchFailures: Could not launch On-Demand Instances."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.fork()
			id := reserve(w, c.reservation)
			lt, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{
				"InstanceType": "p5.48xlarge", "InstanceMarketOptions": obj{"MarketType": "capacity-block"},
				"CapacityReservationSpecification": obj{"CapacityReservationTarget": obj{"CapacityReservationId": id}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			_, d, err := w.create(eks.TypeNodegroup, with(w.nodes(), obj{"InstanceTypes": nil, "CapacityType": "CAPACITY_BLOCK", "LaunchTemplate": obj{"Id": lt.ID}, "ScalingConfig": obj{"DesiredSize": c.size}}))
			check(t, err, c.want)
			if err != nil {
				return
			}
			if d != 300*time.Second {
				t.Errorf("GPU nodes take %v", d)
			}
			w.later(d)
			w.do(t, func(tx *account.Tx) error {
				if got := props.Str(tx.Get(eks.TypeNodegroup, "c/n").Data, "failure"); !strings.HasPrefix(got, c.fails) || c.fails == "" && got != "" {
					t.Errorf("got %q, want %q", got, c.fails)
				}
				return nil
			})
		})
	}
}

// TestNodegroupLives goes through sizes, a new template version and deletion,
// with an add-on that needs nodes.
func TestNodegroupLives(t *testing.T) {
	t.Parallel()
	w := ready(t)
	before := w.Resources()
	lt, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"InstanceType": "m6i.large", "TagSpecifications": []any{obj{"ResourceType": "network-interface", "Tags": []any{obj{"Key": "t", "Value": "v"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.create(eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "coredns"}); err != nil {
		t.Fatal(err)
	}
	w.later(time.Minute)
	status := func(typ, id string) string {
		var s string
		w.do(t, func(tx *account.Tx) error {
			if r := tx.Get(typ, id); r != nil {
				s = r.Status
			}
			return nil
		})
		return s
	}
	if got := status(eks.TypeAddon, "c|coredns"); got != "DEGRADED" {
		t.Errorf("coredns without nodes is %s", got)
	}
	_, d, err := w.create(eks.TypeNodegroup, with(w.nodes(), obj{"InstanceTypes": nil, "LaunchTemplate": obj{"Id": lt.ID, "Version": "1"}}))
	if err != nil || d != 125*time.Second {
		t.Fatal(d, err)
	}
	w.later(d)
	if got := status(eks.TypeAddon, "c|coredns"); got != "ACTIVE" {
		t.Errorf("coredns with nodes is %s", got)
	}
	ids := func() []string {
		var ids []string
		w.do(t, func(tx *account.Tx) error {
			n := tx.Get(eks.TypeNodegroup, "c/n")
			for _, i := range autoscaling.Instances(tx, tx.Get(autoscaling.TypeGroup, props.Str(n.Data, "asg"))) {
				if f := ec2.InterfacesOf(tx, i.ID); len(f) != 2 || f[0].Tags["t"] != "v" && f[1].Tags["t"] != "v" {
					t.Errorf("instance %s has %d interfaces", i.ID, len(f))
				}
				ids = append(ids, i.ID)
			}
			return nil
		})
		return ids
	}
	first := ids()
	if len(first) != 2 {
		t.Fatalf("instances %v", first)
	}
	update := func(change obj) error {
		return w.Do(func(tx *account.Tx) error {
			n := tx.Get(eks.TypeNodegroup, "c/n")
			_, err := tx.Update(n, with(n.Props, change), true)
			return err
		})
	}
	check(t, update(obj{"ScalingConfig": obj{"DesiredSize": 3}}), "")
	check(t, update(obj{"ScalingConfig": obj{"DesiredSize": 2}}), "ResourceInUseException: Nodegroup n is in status UPDATING")
	w.later(time.Minute)
	if got := ids(); len(got) != 3 {
		t.Errorf("instances %v", got)
	}
	w.do(t, func(tx *account.Tx) error {
		l := tx.Get(instance.TypeLaunchTemplate, lt.ID)
		_, err := tx.Update(l, with(l.Props, obj{"LaunchTemplateData": obj{"InstanceType": "m6i.xlarge"}}), true)
		return err
	})
	second0, _, err := w.create(instance.TypeLaunchTemplate, obj{"LaunchTemplateData": obj{"InstanceType": "m6i.large"}})
	if err != nil {
		t.Fatal(err)
	}
	check(t, update(obj{"LaunchTemplate": obj{"Id": second0.ID, "Version": "1"}}), "InvalidParameterException: Launch template can't be changed")
	w.do(t, func(tx *account.Tx) error {
		tx.Drop(instance.TypeLaunchTemplate, second0.ID)
		return nil
	})
	check(t, update(obj{"Version": "1.35"}), "InvalidParameterException: Requested Nodegroup kubernetes version 1.35")
	check(t, update(obj{"Version": "1.33"}), "InvalidParameterException: Nodegroup Kubernetes version and release version cannot be downgraded from 1.34 to 1.33")
	check(t, update(obj{"LaunchTemplate": obj{"Version": "2"}}), "")
	check(t, w.Do(func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(eks.TypeNodegroup, "c/n"), true)
		return err
	}), "ResourceInUseException: Nodegroup n cannot be deleted as it is currently being updated")
	w.later(time.Hour)
	second := ids()
	if len(second) != 3 || slices.ContainsFunc(second, func(s string) bool { return slices.Contains(first, s) }) {
		t.Errorf("instances %v of %v", second, first)
	}
	check(t, w.Do(func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(eks.TypeCluster, "c"), true)
		return err
	}), "ResourceInUseException: Cluster has nodegroups attached")
	w.do(t, func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(eks.TypeNodegroup, "c/n"), true)
		return err
	})
	w.later(time.Hour)
	if got := status(eks.TypeAddon, "c|coredns"); got != "DEGRADED" {
		t.Errorf("coredns without nodes is %s", got)
	}
	w.do(t, func(tx *account.Tx) error {
		for _, x := range []struct{ typ, id string }{{eks.TypeAddon, "c|coredns"}, {instance.TypeLaunchTemplate, lt.ID}} {
			tx.Drop(x.typ, x.id)
		}
		for _, e := range tx.List(eks.TypeAccessEntry) {
			tx.Drop(e.Type, e.ID)
		}
		return nil
	})
	count := func(list []*account.Resource) map[string]int {
		m := map[string]int{}
		for _, r := range list {
			m[r.Type]++
		}
		return m
	}
	if d := cmp.Diff(count(before), count(w.Resources())); d != "" {
		t.Errorf("left behind: %s", d)
	}
}

// An access entry names a principal that exists, no reserved name or group, and
// policies that EKS has; entries for nodes carry no permissions.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html
// https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
func TestAddonsAndAccessEntries(t *testing.T) {
	t.Parallel()
	w := ready(t)
	admin := "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
	entry := func(change obj) obj { return with(obj{"ClusterName": "c", "PrincipalArn": w.nodeRole}, change) }
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"unknown add-on":   {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "x"}, "InvalidParameterException: Addon x specified is not supported"},
		"twice":            {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "vpc-cni"}, "ResourceInUseException: Addon already exists."},
		"version":          {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "kube-proxy", "AddonVersion": "v1.36.0-eksbuild.21"}, "InvalidParameterException: Addon version specified is not supported"},
		"role":             {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "kube-proxy", "ServiceAccountRoleArn": "arn:aws:iam::123456789012:role/x"}, "InvalidParameterException: Role with arn"},
		"foreign role":     {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "kube-proxy", "ServiceAccountRoleArn": "arn:aws:iam::210987654321:role/x"}, "AccessDeniedException: Cross-account pass role is not allowed."},
		"configuration":    {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "kube-proxy", "ConfigurationValues": "{\"a\":"}, "InvalidParameterException: The ConfigurationValues provided"},
		"pod identity":     {eks.TypeAddon, obj{"ClusterName": "c", "AddonName": "kube-proxy", "PodIdentityAssociations": []any{obj{}}}, "NotModelled: PodIdentityAssociations is not modelled"},
		"group of nodes":   {eks.TypeAccessEntry, entry(obj{"Type": "EC2_LINUX", "KubernetesGroups": []any{"a"}}), "InvalidParameterException: The specified kubernetesGroups is invalid"},
		"name of nodes":    {eks.TypeAccessEntry, entry(obj{"Type": "EC2_LINUX", "Username": "a"}), "InvalidParameterException: The specified username is invalid"},
		"type":             {eks.TypeAccessEntry, entry(obj{"Type": "EC3", "PrincipalArn": w.nodeRole}), "InvalidParameterException: The specified access entry type is invalid: EC3"},
		"foreign nodes":    {eks.TypeAccessEntry, entry(obj{"Type": "EC2_LINUX", "PrincipalArn": "arn:aws:iam::210987654321:role/x"}), "InvalidParameterException: AccessEntry principalArn must be from the same account"},
		"user for nodes":   {eks.TypeAccessEntry, entry(obj{"Type": "EC2_LINUX", "PrincipalArn": "arn:aws:iam::123456789012:user/x"}), "InvalidParameterException: AccessEntry principalArn must be IAM role"},
		"foreign":          {eks.TypeAccessEntry, entry(obj{"PrincipalArn": "arn:aws:iam::210987654321:role/x"}), ""},
		"reserved name":    {eks.TypeAccessEntry, entry(obj{"Username": "eks:a"}), "InvalidParameterException: The username must not begin with eks:"},
		"cluster's spaces": {eks.TypeAccessEntry, entry(obj{"AccessPolicies": []any{obj{"PolicyArn": admin, "AccessScope": obj{"Type": "cluster", "Namespaces": []any{"a"}}}}}), "InvalidParameterException: accessScope should not include namespaces"},
		"no principal":     {eks.TypeAccessEntry, entry(obj{"PrincipalArn": "arn:aws:iam::123456789012:role/none"}), "InvalidParameterException: The specified principalArn is invalid: invalid principal."},
		"session":          {eks.TypeAccessEntry, entry(obj{"PrincipalArn": "arn:aws:sts::123456789012:assumed-role/a/b"}), "InvalidParameterException: The specified principalArn is invalid"},
		"IAM policy":       {eks.TypeAccessEntry, entry(obj{"AccessPolicies": []any{obj{"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "AccessScope": obj{"Type": "cluster"}}}}), "InvalidParameterException: The policyArn parameter format is not valid"},
		"unknown policy":   {eks.TypeAccessEntry, entry(obj{"AccessPolicies": []any{obj{"PolicyArn": admin + "x", "AccessScope": obj{"Type": "cluster"}}}}), "ResourceNotFoundException: The specified policyArn could not be found."},
		"no namespaces":    {eks.TypeAccessEntry, entry(obj{"AccessPolicies": []any{obj{"PolicyArn": admin, "AccessScope": obj{"Type": "namespace"}}}}), "InvalidParameterException: At least 1 namespace must be provided"},
		"reserved group":   {eks.TypeAccessEntry, entry(obj{"KubernetesGroups": []any{"system:masters"}}), "InvalidParameterException: The kubernetes group name system:masters is invalid"},
		"node with policy": {eks.TypeAccessEntry, entry(obj{"Type": "EC2_LINUX", "AccessPolicies": []any{obj{"PolicyArn": admin, "AccessScope": obj{"Type": "cluster"}}}}), "InvalidRequestException: This operation can only be performed on Access Entries"},
		"fine":             {eks.TypeAccessEntry, entry(obj{"AccessPolicies": []any{obj{"PolicyArn": admin, "AccessScope": obj{"Type": "cluster"}}}}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := w.fork()
			_, _, err := f.create(c.typ, c.p)
			check(t, err, c.want)
			if name == "fine" {
				_, _, err := f.create(c.typ, c.p)
				check(t, err, "ResourceInUseException: The specified access entry resource is already in use on this cluster.")
			}
		})
	}
}

func TestAddonIsUpdated(t *testing.T) {
	t.Parallel()
	w := ready(t)
	update := func(change obj) error {
		return w.Do(func(tx *account.Tx) error {
			r := tx.Get(eks.TypeAddon, "c|vpc-cni")
			_, err := tx.Update(r, with(r.Props, change), true)
			return err
		})
	}
	newer := obj{"AddonVersion": "v1.22.4-eksbuild.3"}
	check(t, update(newer), "ResourceInUseException: Addon vpc-cni is in status CREATING")
	w.later(time.Minute)
	check(t, update(obj{"AddonVersion": "v1.0.0-eksbuild.1"}), "InvalidParameterException: Addon version specified is not supported")
	check(t, update(newer), "")
	check(t, w.Do(func(tx *account.Tx) error {
		_, err := tx.Delete(tx.Get(eks.TypeAddon, "c|vpc-cni"), true)
		return err
	}), "ResourceInUseException: Addon vpc-cni cannot be deleted as it is currently being updated")
	w.later(time.Minute)
	w.do(t, func(tx *account.Tx) error {
		if r := tx.Get(eks.TypeAddon, "c|vpc-cni"); r.Status != "ACTIVE" || r.Data["version"] != "v1.22.4-eksbuild.3" {
			t.Errorf("add-on is %s at %v", r.Status, r.Data["version"])
		}
		return nil
	})
}

// Access entries can be made only for a cluster whose authentication mode has
// the API in it.
//
// https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html
func TestAccessEntriesNeedTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, _, err := w.create(eks.TypeCluster, with(w.cluster(), obj{"AccessConfig": obj{"AuthenticationMode": nil}})); err != nil {
		t.Fatal(err)
	}
	w.later(time.Hour)
	_, _, err := w.create(eks.TypeAccessEntry, obj{"ClusterName": "c", "PrincipalArn": w.nodeRole})
	check(t, err, "InvalidRequestException: The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP]")
}

func call(t *testing.T, w *world, op string, in obj) (obj, error) {
	t.Helper()
	for _, o := range eks.Service().Operations {
		if o.Name == op {
			var out any
			err := w.Do(func(tx *account.Tx) error {
				tx.Caller = "arn:aws:iam::123456789012:role/admin"
				var err error
				out, err = o.Do(tx, &wire.Request{In: in, Caller: tx.Caller})
				return err
			})
			m, _ := out.(map[string]any)
			return m, err
		}
	}
	t.Fatalf("no operation %s", op)
	return nil, nil
}

func TestAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subnets := slices.Clone(w.subnets)
	if _, err := call(t, w, "CreateCluster", obj{"name": "c", "roleArn": w.clusterRole, "resourcesVpcConfig": obj{"subnetIds": subnets}, "accessConfig": obj{"authenticationMode": "API"}, "tags": obj{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	out, err := call(t, w, "DescribeCluster", obj{"name": "c"})
	if err != nil || props.Str(out, "cluster", "status") != "CREATING" || props.Has(out, "cluster", "endpoint") {
		t.Errorf("%v %v", out, err)
	}
	w.later(time.Hour)
	for _, c := range []struct {
		op   string
		in   obj
		want string
		path []string
		got  string
	}{
		{"DescribeCluster", obj{"name": "d"}, "ResourceNotFoundException: No cluster found for name: d.", nil, ""},
		{"DescribeCluster", obj{"name": "c"}, "", []string{"cluster", "version"}, "1.35"},
		{"UpdateClusterConfig", obj{"name": "c", "resourcesVpcConfig": obj{"endpointPrivateAccess": true}, "logging": obj{"clusterLogging": []any{obj{"types": []any{"api"}, "enabled": true}}}}, "InvalidParameterException: Only one type of update can be allowed.", nil, ""},
		{"UpdateClusterConfig", obj{"name": "c", "resourcesVpcConfig": obj{"endpointPrivateAccess": true}}, "", []string{"update", "type"}, "EndpointAccessUpdate"},
		{"DescribeCluster", obj{"name": "c"}, "", []string{"cluster", "status"}, "UPDATING"},
		{"DeleteCluster", obj{"name": "c"}, "ResourceInUseException: Cannot delete because cluster c currently has update", nil, ""},
		{"DescribeAccessEntry", obj{"name": "c", "principalArn": "arn:aws:iam::123456789012:role/admin"}, "", []string{"accessEntry", "type"}, "STANDARD"},
		{"DescribeAddon", obj{"name": "c", "addonName": "coredns"}, "ResourceNotFoundException: No addon: coredns found in cluster: c", nil, ""},
		{"DescribeNodegroup", obj{"name": "c", "nodegroupName": "n"}, "ResourceNotFoundException: No node group found for name: n.", nil, ""},
		{"DescribeClusterVersions", obj{}, "", nil, ""},
		{"DescribeAddonVersions", obj{"addonName": "vpc-cni", "kubernetesVersion": "1.35"}, "", nil, ""},
	} {
		out, err := call(t, w, c.op, c.in)
		check(t, err, c.want)
		if got := props.Str(out, c.path...); got != c.got {
			t.Errorf("%s: got %q, want %q", c.op, got, c.got)
		}
	}
	out, err = call(t, w, "ListUpdates", obj{"name": "c"})
	if ids := props.Strs(out, "updateIds"); err != nil || len(ids) != 1 {
		t.Errorf("updates %v %v", out, err)
	}
	w.later(time.Hour)
	if _, err := call(t, w, "DeleteCluster", obj{"name": "c"}); err != nil {
		t.Error(err)
	}
}

// TestAccessByAPI: entries, their policies, add-ons and identity providers
// change by EKS's own API.
func TestAccessByAPI(t *testing.T) {
	t.Parallel()
	w := ready(t)
	w.later(time.Minute)
	const admin, view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	entry := func(more obj) obj { return with(obj{"name": "c", "principalArn": w.clusterRole}, more) }
	idp := obj{"identityProviderConfigName": "corp", "issuerUrl": "https://sso.example.com", "clientId": "kubernetes"}
	config := obj{"name": "c", "identityProviderConfig": obj{"type": "oidc", "name": "corp"}}
	for i, c := range []struct {
		op   string
		in   obj
		want string
		path []string
		got  string
	}{
		{"CreateAccessEntry", obj{"name": "d", "principalArn": w.clusterRole}, "ResourceNotFoundException: No cluster found", nil, ""},
		{"AssociateAccessPolicy", entry(obj{"policyArn": admin}), "ResourceNotFoundException: The specified principalArn", nil, ""},
		{"CreateAccessEntry", entry(obj{"kubernetesGroups": []any{"staff"}, "tags": obj{"a": "b"}}), "", []string{"accessEntry", "kubernetesGroups"}, ""},
		{"CreateAccessEntry", entry(nil), "ResourceInUseException", nil, ""},
		{"DescribeAccessEntry", entry(nil), "", []string{"accessEntry", "type"}, "STANDARD"},
		{"AssociateAccessPolicy", entry(obj{"policyArn": admin + "x", "accessScope": obj{"type": "cluster"}}), "ResourceNotFoundException: The specified policyArn", nil, ""},
		{"AssociateAccessPolicy", entry(obj{"policyArn": view, "accessScope": obj{"type": "namespace"}}), "InvalidParameterException: At least 1 namespace", nil, ""},
		{"AssociateAccessPolicy", entry(obj{"policyArn": view, "accessScope": obj{"type": "namespace", "namespaces": []any{"a"}}}), "", []string{"associatedAccessPolicy", "accessScope", "type"}, "namespace"},
		{"AssociateAccessPolicy", entry(obj{"policyArn": view, "accessScope": obj{"type": "cluster"}}), "", []string{"associatedAccessPolicy", "accessScope", "type"}, "cluster"},
		{"DisassociateAccessPolicy", entry(obj{"policyArn": admin}), "ResourceNotFoundException", nil, ""},
		{"DisassociateAccessPolicy", entry(obj{"policyArn": view}), "", nil, ""},
		{"UpdateAddon", obj{"name": "c", "addonName": "vpc-cni", "addonVersion": "v0"}, "InvalidParameterException: Addon version specified is not supported", nil, ""},
		{"UpdateAddon", obj{"name": "c", "addonName": "vpc-cni", "addonVersion": "v1.22.4-eksbuild.3"}, "", []string{"update", "status"}, "InProgress"},
		{"DescribeAddon", obj{"name": "c", "addonName": "vpc-cni"}, "", []string{"addon", "addonVersion"}, "v1.22.4-eksbuild.3"},
		{"AssociateIdentityProviderConfig", obj{"name": "c", "oidc": with(idp, obj{"issuerUrl": "http://sso.example.com"})}, "InvalidParameterException: issuerUrl", nil, ""},
		{"AssociateIdentityProviderConfig", obj{"name": "c", "oidc": with(idp, obj{"clientId": ""})}, "InvalidParameterException: clientId", nil, ""},
		{"DescribeIdentityProviderConfig", config, "ResourceNotFoundException", nil, ""},
		{"AssociateIdentityProviderConfig", obj{"name": "c", "oidc": idp}, "", []string{"update", "type"}, "AssociateIdentityProviderConfig"},
		{"AssociateIdentityProviderConfig", obj{"name": "c", "oidc": idp}, "InvalidRequestException", nil, ""},
		{"DisassociateIdentityProviderConfig", config, "ResourceInUseException", nil, ""},
		{"DescribeIdentityProviderConfig", config, "", []string{"identityProviderConfig", "oidc", "status"}, "CREATING"},
	} {
		out, err := call(t, w, c.op, c.in)
		check(t, err, c.want)
		if got := props.Str(out, c.path...); got != c.got {
			t.Errorf("%d %s: got %q, want %q", i, c.op, got, c.got)
		}
	}
	providers := func() []any {
		out, err := call(t, w, "ListIdentityProviderConfigs", obj{"name": "c"})
		check(t, err, "")
		return props.List(out, "identityProviderConfigs")
	}
	w.later(time.Hour)
	if diff := cmp.Diff([]any{obj{"type": "oidc", "name": "corp"}}, providers()); diff != "" {
		t.Error(diff)
	}
	out, err := call(t, w, "DisassociateIdentityProviderConfig", config)
	if check(t, err, ""); props.Str(out, "update", "type") != "DisassociateIdentityProviderConfig" {
		t.Errorf("got %v", out)
	}
	w.later(time.Hour)
	if n := len(providers()); n != 0 {
		t.Errorf("%d identity providers are left", n)
	}
}
