package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
)

// made is a sandbox with a VPC, its gateway and a subnet.
type made struct {
	box                  *sandbox.Sandbox
	client               *sdk.Client
	vpc, gateway, subnet string
}

func newNetwork(t *testing.T, o sandbox.Options) made {
	t.Helper()
	s := testkit.Sandbox(t, o)
	vpc := testkit.MustCreate(t, s, ec2.TypeVPC, map[string]any{"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": true}).ID
	gateway := testkit.MustCreate(t, s, ec2.TypeInternetGateway, map[string]any{}).ID
	testkit.MustCreate(t, s, ec2.TypeVPCGatewayAttachment, map[string]any{"VpcId": vpc, "InternetGatewayId": gateway})
	subnet := testkit.MustCreate(t, s, ec2.TypeSubnet, map[string]any{"VpcId": vpc, "CidrBlock": "10.0.0.0/24"}).ID
	return made{s, sdk.NewFromConfig(testkit.Config(s)), vpc, gateway, subnet}
}

// DryRun tells whether a call would be permitted, for reading and for changing
// ones, and changes nothing.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
func TestDryRun(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{})
	before := len(m.box.Account().Resources())
	_, err := m.client.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16"), DryRun: aws.Bool(true)})
	testkit.Refused(t, err, "operation error EC2: CreateVpc, https response error StatusCode: 412")
	if testkit.Code(err) != "DryRunOperation" {
		t.Errorf("got %v, want DryRunOperation", err)
	}
	if _, err := m.client.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{DryRun: aws.Bool(true)}); testkit.Code(err) != "DryRunOperation" {
		t.Errorf("got %v, want DryRunOperation", err)
	}
	if _, err := m.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: &m.subnet, DryRun: aws.Bool(true)}); testkit.Code(err) != "DryRunOperation" {
		t.Errorf("got %v, want DryRunOperation", err)
	}
	if after := len(m.box.Account().Resources()); after != before {
		t.Errorf("%d resources became %d", before, after)
	}
	if _, err := m.client.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{DryRun: aws.Bool(false)}); err != nil {
		t.Error(err)
	}
}

// A customer can neither detach nor delete the interface of a service.
//
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func TestRequesterManagedInterface(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{})
	endpoint := testkit.MustCreate(t, m.box, ec2.TypeVPCEndpoint, map[string]any{
		"VpcId": m.vpc, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{m.subnet},
	})
	out, err := m.client.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("requester-managed"), Values: []string{"true"}}}})
	if err != nil || len(out.NetworkInterfaces) != 1 {
		t.Fatalf("%d interfaces, %v", len(out.NetworkInterfaces), err)
	}
	eni := out.NetworkInterfaces[0]
	if aws.ToString(eni.Description) != "VPC Endpoint Interface "+endpoint.ID {
		t.Errorf("the interface is described as %q", aws.ToString(eni.Description))
	}
	_, err = m.client.DetachNetworkInterface(ctx, &sdk.DetachNetworkInterfaceInput{AttachmentId: eni.Attachment.AttachmentId, Force: aws.Bool(true)})
	if testkit.Code(err) != "OperationNotPermitted" {
		t.Errorf("detach: got %v, want OperationNotPermitted", err)
	}
	_, err = m.client.DeleteNetworkInterface(ctx, &sdk.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni.NetworkInterfaceId})
	if testkit.Code(err) != "InvalidParameterValue" {
		t.Errorf("delete: got %v, want InvalidParameterValue", err)
	}
}

// An instance's first interface can't be detached; its others can, and then be
// deleted.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachNetworkInterface.html
func TestDetachInterface(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{})
	var first, second *account.Resource
	err := m.box.Account().Do(func(tx *account.Tx) (err error) {
		tx.Put(&account.Resource{Type: instance.TypeInstance, ID: "i-0", Props: map[string]any{}, Attrs: map[string]any{}, Data: map[string]any{}})
		if first, err = ec2.AddInterface(tx, ec2.Interface{Subnet: m.subnet, Owner: "i-0", Instance: "i-0"}); err != nil {
			return err
		}
		second, err = ec2.AddInterface(tx, ec2.Interface{Subnet: m.subnet, Owner: "i-0", Instance: "i-0"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	attachment := func(r *account.Resource) *string {
		a, _ := r.Data["attachment"].(map[string]any)
		id, _ := a["id"].(string)
		return &id
	}
	_, err = m.client.DetachNetworkInterface(ctx, &sdk.DetachNetworkInterfaceInput{AttachmentId: attachment(first)})
	if testkit.Code(err) != "OperationNotPermitted" {
		t.Errorf("got %v, want OperationNotPermitted", err)
	}
	if _, err = m.client.DetachNetworkInterface(ctx, &sdk.DetachNetworkInterfaceInput{AttachmentId: attachment(second)}); err != nil {
		t.Error(err)
	}
	if _, err = m.client.DeleteNetworkInterface(ctx, &sdk.DeleteNetworkInterfaceInput{NetworkInterfaceId: &second.ID}); err != nil {
		t.Error(err)
	}
}

// A network is taken apart from its dependants on, in the API as in a stack:
// what is still needed is refused.
//
// https://docs.aws.amazon.com/vpc/latest/userguide/delete-vpc.html
func TestNetworkIsTakenApart(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{})
	eip := testkit.MustCreate(t, m.box, ec2.TypeEIP, map[string]any{})
	nat := testkit.MustCreate(t, m.box, ec2.TypeNatGateway, map[string]any{"SubnetId": m.subnet, "AllocationId": eip.Attrs["AllocationId"]})
	_, err := m.client.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: &m.gateway, VpcId: &m.vpc})
	if testkit.Code(err) != "DependencyViolation" {
		t.Errorf("detach: got %v", err)
	}
	if _, err = m.client.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: &m.gateway}); testkit.Code(err) != "DependencyViolation" {
		t.Errorf("delete gateway: got %v", err)
	}
	if _, err = m.client.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: &m.vpc}); testkit.Code(err) != "DependencyViolation" {
		t.Errorf("delete VPC: got %v", err)
	}
	association := eip.Data["association"].(map[string]any)["id"].(string)
	if _, err = m.client.DisassociateAddress(ctx, &sdk.DisassociateAddressInput{AssociationId: &association}); testkit.Code(err) != "AuthFailure" {
		t.Errorf("take the NAT gateway's address: got %v", err)
	}
	if err := testkit.Delete(m.box, ec2.TypeNatGateway, nat.ID); err != nil {
		t.Fatal(err)
	}
	if _, err = m.client.ReleaseAddress(ctx, &sdk.ReleaseAddressInput{AllocationId: aws.String(eip.Attrs["AllocationId"].(string))}); err != nil {
		t.Error(err)
	}
	if _, err = m.client.DetachInternetGateway(ctx, &sdk.DetachInternetGatewayInput{InternetGatewayId: &m.gateway, VpcId: &m.vpc}); err != nil {
		t.Error(err)
	}
	if _, err = m.client.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: &m.gateway}); err != nil {
		t.Error(err)
	}
	if _, err = m.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: &m.subnet}); err != nil {
		t.Error(err)
	}
	if _, err = m.client.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: &m.vpc}); err != nil {
		t.Error(err)
	}
}

// A volume is made by itself in a zone, attaches only to instances of that zone,
// and isn't deleted while attached.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachVolume.html
func TestVolumeByItself(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{})
	v, err := m.client.CreateVolume(ctx, &sdk.CreateVolumeInput{
		AvailabilityZone: aws.String("us-east-1b"), Size: aws.Int32(20), VolumeType: types.VolumeTypeGp3, Encrypted: aws.Bool(true),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("kubernetes.io/created-for/pvc/name"), Value: aws.String("data")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.State != types.VolumeStateAvailable || aws.ToInt32(v.Size) != 20 || len(v.Tags) != 1 {
		t.Errorf("made %+v", v)
	}
	put := func(id, zone string) {
		err := m.box.Account().Do(func(tx *account.Tx) error {
			tx.Put(&account.Resource{Type: instance.TypeInstance, ID: id, Status: "running", Props: map[string]any{}, Attrs: map[string]any{"AvailabilityZone": zone}, Data: map[string]any{}})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("i-a", "us-east-1a")
	put("i-b", "us-east-1b")
	attach := func(id string) error {
		_, err := m.client.AttachVolume(ctx, &sdk.AttachVolumeInput{VolumeId: v.VolumeId, InstanceId: &id, Device: aws.String("/dev/xvdaa")})
		return err
	}
	if err := attach("i-a"); testkit.Code(err) != "InvalidVolume.ZoneMismatch" {
		t.Errorf("other zone: got %v", err)
	}
	if err := attach("i-b"); err != nil {
		t.Error(err)
	}
	if err := attach("i-b"); testkit.Code(err) != "VolumeInUse" {
		t.Errorf("twice: got %v", err)
	}
	if _, err := m.client.DeleteVolume(ctx, &sdk.DeleteVolumeInput{VolumeId: v.VolumeId}); testkit.Code(err) != "VolumeInUse" {
		t.Errorf("delete: got %v", err)
	}
	if _, err := m.client.DetachVolume(ctx, &sdk.DetachVolumeInput{VolumeId: v.VolumeId, InstanceId: aws.String("i-a")}); testkit.Code(err) != "InvalidAttachment.NotFound" {
		t.Errorf("detach from another instance: got %v", err)
	}
	if _, err := m.client.DetachVolume(ctx, &sdk.DetachVolumeInput{VolumeId: v.VolumeId, InstanceId: aws.String("i-b")}); err != nil {
		t.Error(err)
	}
	if _, err := m.client.DeleteVolume(ctx, &sdk.DeleteVolumeInput{VolumeId: v.VolumeId}); err != nil {
		t.Error(err)
	}
	for name, in := range map[string]*sdk.CreateVolumeInput{
		"InvalidZone.NotFound":       {AvailabilityZone: aws.String("us-east-1z"), Size: aws.Int32(20)},
		"MissingParameter":           {AvailabilityZone: aws.String("us-east-1a")},
		"InvalidParameterDependency": {AvailabilityZone: aws.String("us-east-1a"), Size: aws.Int32(20), KmsKeyId: aws.String("alias/aws/ebs")},
	} {
		if _, err := m.client.CreateVolume(ctx, in); testkit.Code(err) != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

// DescribeInstanceTypeOfferings shows a type only where it is offered.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html
func TestOfferingsByZone(t *testing.T) {
	t.Parallel()
	m := newNetwork(t, sandbox.Options{World: account.World{Capacity: []account.Capacity{{InstanceType: "m7i.large", Zone: "us-east-1a", Instances: -1}}}})
	out, err := m.client.DescribeInstanceTypeOfferings(context.Background(), &sdk.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{{Name: aws.String("instance-type"), Values: []string{"m7i.large"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out.InstanceTypeOfferings {
		if aws.ToString(o.Location) == "us-east-1a" {
			t.Error("the type is offered where it isn't")
		}
	}
	if got := len(out.InstanceTypeOfferings); got != 5 {
		t.Errorf("offered in %d zones, want 5", got)
	}
}

// An endpoint that is being deleted holds its subnets until it is gone.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVpcEndpoints.html
func TestEndpointIsBeingDeleted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	ctx, m := context.Background(), newNetwork(t, sandbox.Options{Now: func() time.Time { return now }})
	endpoint := testkit.MustCreate(t, m.box, ec2.TypeVPCEndpoint, map[string]any{
		"VpcId": m.vpc, "ServiceName": "com.amazonaws.us-east-1.sts", "VpcEndpointType": "Interface", "SubnetIds": []any{m.subnet},
	})
	if _, err := m.client.DeleteVpcEndpoints(ctx, &sdk.DeleteVpcEndpointsInput{VpcEndpointIds: []string{endpoint.ID}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: &m.subnet}); testkit.Code(err) != "DependencyViolation" {
		t.Errorf("got %v, want DependencyViolation", err)
	}
	now = now.Add(time.Minute)
	if _, err := m.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: &m.subnet}); err != nil {
		t.Error(err)
	}
}
