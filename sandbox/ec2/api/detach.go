package api

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// detachInterface detaches an interface from an instance. Those of services
// are theirs to detach.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
func detachInterface(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("AttachmentId")
	eni := tx.Find(ec2.TypeNetworkInterface, func(e *account.Resource) bool { return props.Str(e.Data, "attachment", "id") == id })
	switch {
	case eni == nil:
		return nil, account.Errorf("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", id)
	case props.Str(eni.Data, "attachment", "instance") == "":
		return nil, account.Errorf("OperationNotPermitted", "You are not allowed to manage 'ela-attach' attachments.")
	case props.Int(eni.Data, 0, "attachment", "device") == 0:
		return nil, account.Errorf("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
	}
	ec2.Abandon(eni)
	return answer, nil
}

// detachGateway takes an internet gateway off its VPC.
func detachGateway(tx *account.Tx, r *wire.Request) (any, error) {
	gateway, err := ec2.Lookup(tx, ec2.TypeInternetGateway, r.String("InternetGatewayId"))
	if err != nil {
		return nil, err
	}
	if _, err := ec2.Lookup(tx, ec2.TypeVPC, r.String("VpcId")); err != nil {
		return nil, err
	}
	for _, a := range ec2.InVPC(tx, ec2.TypeVPCGatewayAttachment, r.String("VpcId")) {
		if props.Str(a.Props, "InternetGatewayId") == gateway.ID {
			return answer, removeNow(tx, a)
		}
	}
	return nil, account.Errorf("Gateway.NotAttached", "resource %s is not attached to network %s", gateway.ID, r.String("VpcId"))
}

func disassociateAddress(tx *account.Tx, r *wire.Request) (any, error) {
	id, ip := r.String("AssociationId"), r.String("PublicIp")
	for _, eip := range tx.List(ec2.TypeEIP) {
		association := props.Map(eip.Data, "association")
		if association == nil || id != "" && props.Str(association, "id") != id || id == "" && eip.ID != ip {
			continue
		}
		if props.Str(association, "service") != "" {
			return nil, account.Errorf("AuthFailure", "You do not have permission to access the specified resource.")
		}
		delete(eip.Data, "association")
		return answer, nil
	}
	return nil, account.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
}

// deleteNatGateway begins to delete; the gateway's address stays allocated.
func deleteNatGateway(tx *account.Tx, r *wire.Request) (any, error) {
	nat, err := ec2.Lookup(tx, ec2.TypeNatGateway, r.String("NatGatewayId"))
	if err != nil {
		return nil, err
	}
	if nat.Status != "deleting" {
		if _, err := tx.Delete(nat, true); err != nil {
			return nil, err
		}
	}
	return object{"natGatewayId": nat.ID}, nil
}

// createVolume makes a volume by itself, as the EBS CSI driver does for claims
// of a cluster.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html
func createVolume(tx *account.Tx, r *wire.Request) (any, error) {
	tags, err := tagsFor(r, "TagSpecification", "volume")
	if err != nil {
		return nil, err
	}
	if r.Has("SnapshotId") {
		return nil, account.NotModelled("volumes from snapshots are not modelled by the sandbox")
	}
	ebs := map[string]any{"Encrypted": r.Bool("Encrypted", false)}
	for _, k := range []string{"VolumeType", "Iops", "Throughput", "KmsKeyId"} {
		if r.Has(k) {
			ebs[k] = r.In[k]
		}
	}
	if !r.Has("Size") {
		return nil, account.Errorf("MissingParameter", "The request must contain the parameter size/snapshot")
	}
	ebs["VolumeSize"] = r.Int("Size", 0)
	v, err := instance.NewVolume(tx, or(r.String("AvailabilityZone"), r.String("AvailabilityZoneId")), ebs, r.Caller, tags)
	if err != nil {
		return nil, err
	}
	return volumeItem(tx, v), nil
}

func attachVolume(tx *account.Tx, r *wire.Request) (any, error) {
	v := tx.Get(instance.TypeVolume, r.String("VolumeId"))
	if v == nil {
		return nil, account.Errorf("InvalidVolume.NotFound", "The volume '%s' does not exist.", r.String("VolumeId"))
	}
	i, err := ec2.Lookup(tx, ec2.TypeInstance, r.String("InstanceId"))
	if err != nil {
		return nil, err
	}
	switch {
	case v.Status != "available":
		return nil, account.Errorf("VolumeInUse", "%s is already attached to an instance", v.ID)
	case props.Str(v.Props, "AvailabilityZone") != props.Str(i.Attrs, "AvailabilityZone"):
		return nil, account.Errorf("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.ID, i.ID)
	}
	v.Status, v.Data["instance"], v.Data["device"], v.Data["deleteOnTermination"] = "in-use", i.ID, r.String("Device"), false
	return attachmentItem(v, "attaching"), nil
}

func detachVolume(tx *account.Tx, r *wire.Request) (any, error) {
	v := tx.Get(instance.TypeVolume, r.String("VolumeId"))
	if v == nil {
		return nil, account.Errorf("InvalidVolume.NotFound", "The volume '%s' does not exist.", r.String("VolumeId"))
	}
	if v.Status != "in-use" {
		return nil, account.Errorf("IncorrectState", "Volume '%s' is in the 'available' state.", v.ID)
	}
	if i := r.String("InstanceId"); i != "" && i != props.Str(v.Data, "instance") {
		return nil, account.Errorf("InvalidAttachment.NotFound", "Volume '%s' is not attached to instance '%s'.", v.ID, i)
	}
	out := attachmentItem(v, "detaching")
	v.Status = "available"
	delete(v.Data, "instance")
	return out, nil
}

func attachmentItem(v *account.Resource, status string) object {
	return object{
		"volumeId": v.ID, "instanceId": v.Data["instance"], "device": v.Data["device"], "status": status, "attachTime": v.Created, "deleteOnTermination": v.Data["deleteOnTermination"],
	}
}

// dry answers a request that is only to be tried: who got here may do it.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
func dry(do do) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if r.Bool("DryRun", false) {
			return nil, &account.Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412}
		}
		return do(tx, r)
	}
}
