// Package instance is the physics of EC2 instances and what they are made
// from: launch templates, instance types, images, volumes and capacity
// reservations.
//
// Nobody launches single instances here: auto-scaling groups and EKS node
// groups do, through [Run] and [Terminate]. An instance is a resource
// "ec2:instance" with its volumes ("ec2:volume") and interfaces; all leave
// together, but for an interface that was there before.
//
// Limits: capacity is short only where [account.World] or a plan of faults says
// so; nothing runs inside an instance, and a terminated instance is gone at once
// instead of lingering for an hour.
package instance

import (
	"cmp"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The resource types of this package.
const (
	TypeLaunchTemplate      = "AWS::EC2::LaunchTemplate"
	TypeInstance            = ec2.TypeInstance
	TypeVolume              = "ec2:volume"
	TypeCapacityReservation = "ec2:capacity-reservation"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{templateType(), instanceType()}
}

// Booted is the kind of event that tells that an instance has run for a minute:
// its programs are up.
const Booted = "ec2:booted"

// instanceType only ends what Run and Terminate began.
func instanceType() *account.Type {
	return &account.Type{
		Name: TypeInstance, Latency: "ec2:instance",
		Create: func(*account.Tx, *account.Resource) error {
			return account.NotModelled("launching instances other than by an Auto Scaling group or node group is not modelled by the sandbox")
		},
		Settle: func(tx *account.Tx, r *account.Resource, _ string) error {
			if r.Status == "pending" {
				r.Status = "running"
				r.Data["running"] = tx.Now()
				tx.After(time.Minute, account.Event{Calendar: true, Kind: Booted, Type: TypeInstance, ID: r.ID})
			}
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			r.Status = "shutting-down"
			return nil
		},
		Gone: leave,
	}
}

// Launch describes an instance to be launched.
type Launch struct {
	// Data is LaunchTemplateData.
	Data map[string]any
	// Template and Version are where Data comes from, if anywhere.
	Template string
	Version  int
	// Subnet is where it goes, unless Data names an interface or a subnet.
	Subnet string
	// Type and Image stand in for those of Data when Data has none.
	Type, Image string
	// Groups are security groups for when Data names none.
	Groups []string
	// Owner is the group that the instance belongs to, see [Of].
	Owner string
	// Role is the ARN of the principal that launches, empty for the caller. It
	// must be able to use the keys of the volumes.
	Role string
	// Secondary is how many addresses the first interface takes besides its
	// own.
	Secondary int
	Tags      map[string]string
}

// Run launches an instance. It is pending and will be running when its time
// has come. Errors are EC2's, among them InsufficientFreeAddressesInSubnet,
// ReservationCapacityExceeded, Client.InternalError for a role that may not use
// a volume's key, and Client.InvalidKMSKey.InvalidState; nothing
// is left behind then.
func Run(tx *account.Tx, l Launch) (*account.Resource, error) {
	if err := CheckData(tx, l.Data); err != nil {
		return nil, err
	}
	t, ok := FindType(tx, cmp.Or(props.Str(l.Data, "InstanceType"), l.Type))
	if !ok {
		return nil, invalid("Invalid value '%s' for InstanceType.", cmp.Or(props.Str(l.Data, "InstanceType"), l.Type))
	}
	image, err := FindImage(tx, cmp.Or(props.Str(l.Data, "ImageId"), l.Image))
	if err != nil {
		return nil, err
	}
	if err := fit(t, image); err != nil {
		return nil, err
	}
	if err := checkProfile(tx, props.Map(l.Data, "IamInstanceProfile")); err != nil {
		return nil, err
	}
	if err := checkKeys(tx, l.Data, l.Role); err != nil {
		return nil, err
	}
	id := "i-" + tx.HexID(17)
	zone, err := zoneOf(tx, l)
	if err != nil {
		return nil, err
	}
	if err := checkOffered(tx, t.Name, zone); err != nil {
		return nil, err
	}
	if err := tx.Refused(t.Name, t.VCPUs, zone); err != nil {
		return nil, err
	}
	reservation, err := reserve(tx, l.Data, t, zone.Name)
	if err != nil {
		return nil, err
	}
	if reservation == "" || tx.Lost(zone.Name) {
		if err := checkRoom(tx, t.Name, zone, 1); err != nil {
			return nil, err
		}
	}
	if reservation == "" {
		if err := checkVCPUs(tx, t, market(l.Data), 1); err != nil {
			return nil, err
		}
	}
	eni, err := attach(tx, l, id)
	if err != nil {
		return nil, err
	}
	r := &account.Resource{
		Type: TypeInstance, ID: id, Status: "pending", Owner: l.Owner, Tags: tagsFor(l, "instance"),
		Props: map[string]any{"InstanceType": t.Name, "ImageId": image.ID, "SubnetId": props.Str(eni.Props, "SubnetId"), "Template": account.Copy(l.Data)},
		Attrs: map[string]any{
			"InstanceId": id, "VpcId": ec2.VPCOf(eni), "AvailabilityZone": zone.Name, "AvailabilityZoneId": zone.ID, "Architecture": image.Architecture,
			"PrivateIp": props.Str(eni.Attrs, "PrimaryPrivateIpAddress"), "PrivateDnsName": ec2.PrivateDNSName(tx, props.Str(eni.Attrs, "PrimaryPrivateIpAddress")),
		},
		Data: map[string]any{"reservation": reservation, "launchTemplate": l.Template, "version": l.Version, "interface": eni.ID, "rootDevice": image.RootDevice, "vcpus": t.VCPUs},
	}
	tx.Put(r)
	addVolumes(tx, l, r, image)
	tx.After(tx.Duration(r, "create"), account.Event{Type: TypeInstance, ID: id, Data: map[string]any{"op": "create"}})
	return r, nil
}

// zoneOf is the zone that a launch will be in.
func zoneOf(tx *account.Tx, l Launch) (account.Zone, error) {
	id := cmp.Or(props.Str(device0(l.Data), "SubnetId"), l.Subnet)
	if existing := Interface0(l.Data); existing != "" {
		eni, err := ec2.Lookup(tx, ec2.TypeNetworkInterface, existing)
		if err != nil {
			return account.Zone{}, err
		}
		id = props.Str(eni.Props, "SubnetId")
	}
	subnet, err := ec2.FindSubnet(tx, id)
	if err != nil {
		return account.Zone{}, err
	}
	return ec2.ZoneOf(subnet), nil
}

// attach gives the instance its first interface: the existing one that the
// template names, or a new one. Further ones are not modelled.
func attach(tx *account.Tx, l Launch, id string) (*account.Resource, error) {
	if existing := Interface0(l.Data); existing != "" {
		if l.Subnet != "" {
			return nil, account.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request")
		}
		return ec2.AttachInterface(tx, existing, id, 0)
	}
	face := device0(l.Data)
	groups := Groups(l.Data)
	if len(groups) == 0 {
		groups = l.Groups
	}
	subnet, err := ec2.FindSubnet(tx, cmp.Or(props.Str(face, "SubnetId"), l.Subnet))
	if err != nil {
		return nil, err
	}
	return ec2.AddInterface(tx, ec2.Interface{
		Subnet: subnet.ID, Groups: groups, Owner: id, Instance: id,
		Description: props.Str(face, "Description"), PrivateIP: props.Str(face, "PrivateIpAddress"),
		Secondary: l.Secondary + props.Int(face, 0, "SecondaryPrivateIpAddressCount"),
		Public:    props.Bool(face, props.Bool(subnet.Props, false, "MapPublicIpOnLaunch"), "AssociatePublicIpAddress"),
		Tags:      tagsFor(l, "network-interface"),
	})
}

// tagsFor are the tags of what is launched: the template's for the kind of
// resource, and the caller's for the instance itself.
func tagsFor(l Launch, kind string) map[string]string {
	tags := map[string]string{}
	for _, s := range props.Maps(l.Data, "TagSpecifications") {
		if props.Str(s, "ResourceType") == kind {
			for k, v := range props.Tags(s, "Tags") {
				tags[k] = v
			}
		}
	}
	if kind == "instance" {
		for k, v := range l.Tags {
			tags[k] = v
		}
	}
	return tags
}

// addVolumes makes the volumes of the template, and the image's own for its
// root device.
func addVolumes(tx *account.Tx, l Launch, r *account.Resource, image Image) {
	mappings := props.Maps(l.Data, "BlockDeviceMappings")
	root := func(m map[string]any) bool { return props.Str(m, "DeviceName") == image.RootDevice }
	if !slices.ContainsFunc(mappings, root) {
		mappings = append([]map[string]any{{"DeviceName": image.RootDevice, "Ebs": map[string]any{}}}, mappings...)
	}
	for _, m := range mappings {
		ebs := props.Map(m, "Ebs")
		if ebs == nil {
			continue
		}
		size := props.Int(ebs, 8, "VolumeSize")
		if root(m) {
			size = props.Int(ebs, image.RootGB, "VolumeSize")
		}
		AddVolume(tx, Volume{
			Zone: props.Str(r.Attrs, "AvailabilityZone"), GB: size, Kind: volumeKind(ebs), Key: props.Str(ebs, "KmsKeyId"),
			Encrypted: props.Bool(ebs, false, "Encrypted"), Instance: r.ID, Device: props.Str(m, "DeviceName"),
			DeleteOnTermination: props.Bool(ebs, true, "DeleteOnTermination"), Tags: tagsFor(l, "volume"),
		})
	}
}

func volumeKind(ebs map[string]any) string { return cmp.Or(props.Str(ebs, "VolumeType"), "gp3") }

// Volume is an EBS volume to be made.
type Volume struct {
	Zone, Kind, Key string
	GB              int
	Encrypted       bool
	// Instance and Device are what it is attached to; empty for a volume by
	// itself, as the EBS CSI driver makes.
	Instance, Device    string
	DeleteOnTermination bool
	Owner               string
	Tags                map[string]string
}

// AddVolume makes a volume.
func AddVolume(tx *account.Tx, v Volume) *account.Resource {
	r := &account.Resource{
		Type: TypeVolume, ID: "vol-" + tx.HexID(17), Status: "available", Owner: cmp.Or(v.Owner, v.Instance), Tags: v.Tags,
		Props: map[string]any{"AvailabilityZone": v.Zone, "Size": v.GB, "VolumeType": v.Kind, "Encrypted": v.Encrypted, "KmsKeyId": v.Key},
		Attrs: map[string]any{}, Data: map[string]any{"deleteOnTermination": v.DeleteOnTermination},
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	if v.Instance != "" {
		r.Status, r.Data["instance"], r.Data["device"] = "in-use", v.Instance, v.Device
	}
	tx.Put(r)
	return r
}

// NewVolume makes a volume by itself in a zone, given by name or id, from the
// properties that a block device mapping has for EBS. Errors are EC2's.
func NewVolume(tx *account.Tx, zone string, ebs map[string]any, owner string, tags map[string]string) (*account.Resource, error) {
	name := ""
	for _, z := range tx.Zones() {
		if z.Name == zone || z.ID == zone {
			name = z.Name
		}
	}
	if name == "" {
		return nil, account.Errorf("InvalidZone.NotFound", "The zone '%s' does not exist.", zone)
	}
	if err := checkVolume("", ebs); err != nil {
		return nil, err
	}
	key, encrypted := props.Str(ebs, "KmsKeyId"), props.Bool(ebs, false, "Encrypted")
	switch {
	case key != "" && !encrypted:
		return nil, account.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	case key != "":
		if _, err := kms.Lookup(tx, key); err != nil {
			return nil, invalid("The KMS key '%s' does not exist", key)
		}
	}
	return AddVolume(tx, Volume{Zone: name, Kind: volumeKind(ebs), Key: key, GB: props.Int(ebs, 0, "VolumeSize"), Encrypted: encrypted, Owner: owner, Tags: tags}), nil
}

// VolumesOf are the volumes attached to an instance.
func VolumesOf(tx *account.Tx, instance string) []*account.Resource {
	var out []*account.Resource
	for _, v := range tx.List(TypeVolume) {
		if props.Str(v.Data, "instance") == instance {
			out = append(out, v)
		}
	}
	return out
}

// Of are the instances of an owner that are not being terminated.
func Of(tx *account.Tx, owner string) []*account.Resource {
	var out []*account.Resource
	for _, r := range tx.List(TypeInstance) {
		if r.Owner == owner && r.Status != "shutting-down" {
			out = append(out, r)
		}
	}
	return out
}

// Terminate begins to terminate an instance. It is idempotent.
func Terminate(tx *account.Tx, id string) {
	r := tx.Get(TypeInstance, id)
	if r == nil || r.Status == "shutting-down" {
		return
	}
	r.Status = "shutting-down"
	tx.After(tx.Duration(r, "delete"), account.Event{Type: TypeInstance, ID: id, Data: map[string]any{"op": "delete"}})
}

// Remove takes an instance away at once, for a group that has taken its time
// already. It is idempotent.
func Remove(tx *account.Tx, id string) {
	if r := tx.Get(TypeInstance, id); r != nil {
		tx.Drop(TypeInstance, id)
		leave(tx, r)
	}
}

// leave takes away what an instance had for itself.
func leave(tx *account.Tx, r *account.Resource) {
	for _, eni := range leaked(tx, r.ID) {
		ec2.Abandon(eni)
		eni.Owner = "" // nobody's any more
	}
	ec2.DetachInterfaces(tx, r.ID)
	ec2.RemoveInterfaces(tx, r.ID)
	for _, v := range VolumesOf(tx, r.ID) {
		if v.Data["deleteOnTermination"] == true {
			tx.Drop(TypeVolume, v.ID)
		} else {
			v.Status = "available"
			delete(v.Data, "instance")
		}
	}
}

// checkProfile looks for the instance profile that a template names.
func checkProfile(tx *account.Tx, profile map[string]any) error {
	if profile == nil {
		return nil
	}
	name, arn := props.Str(profile, "Name"), props.Str(profile, "Arn")
	if (name == "") == (arn == "") {
		return account.Errorf("InvalidParameterCombination", "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	}
	found := tx.Find("AWS::IAM::InstanceProfile", func(r *account.Resource) bool {
		return r.ID == name || arn != "" && props.Str(r.Attrs, "Arn") == arn
	})
	if !iam.Known(tx, found) {
		key, value := "name", name
		if arn != "" {
			key, value = "arn", arn
		}
		return invalid("Value (%s) for parameter iamInstanceProfile.%s is invalid. Invalid IAM Instance Profile %s", value, key, key)
	}
	return nil
}

// ZoneLost takes away the instances of a zone that is lost.
func ZoneLost(tx *account.Tx, zone string) {
	for _, r := range tx.List(TypeInstance) {
		if props.Str(r.Attrs, "AvailabilityZone") == zone {
			Remove(tx, r.ID)
		}
	}
}
