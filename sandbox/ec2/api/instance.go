package api

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// instanceListings are instances and what they are made from.
func instanceListings() []listing {
	return []listing{
		{
			name: "DescribeNetworkInterfaces", set: "networkInterfaceSet", ids: map[string]string{"NetworkInterfaceId": "networkInterfaceId"},
			missing: [2]string{"InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist"},
			items:   each(ec2.TypeNetworkInterface, interfaceItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "subnet-id": "subnetId", "group-id": "groupSet.groupId", "group-name": "groupSet.groupName",
				"network-interface-id": "networkInterfaceId", "status": "status", "description": "description", "availability-zone": "availabilityZone",
				"requester-id": "requesterId", "requester-managed": "requesterManaged", "interface-type": "interfaceType", "private-ip-address": "privateIpAddress",
				"addresses.private-ip-address": "privateIpAddressesSet.privateIpAddress", "association.public-ip": "association.publicIp",
				"attachment.instance-id": "attachment.instanceId", "attachment.status": "attachment.status", "attachment.instance-owner-id": "attachment.instanceOwnerId",
				"mac-address": "macAddress", "owner-id": "ownerId", "source-dest-check": "sourceDestCheck",
			},
		},
		{
			name: "DescribeInstances", ids: map[string]string{"InstanceId": "instanceId"},
			missing: [2]string{"InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"},
			items:   each(instance.TypeInstance, instanceItem),
			filters: map[string]string{
				"tag": "", "vpc-id": "vpcId", "subnet-id": "subnetId", "instance-id": "instanceId", "instance-state-name": "instanceState.name", "instance-state-code": "instanceState.code",
				"instance-type": "instanceType", "image-id": "imageId", "availability-zone": "placement.availabilityZone", "private-dns-name": "privateDnsName",
				"private-ip-address": "privateIpAddress", "instance.group-id": "groupSet.groupId", "group-id": "groupSet.groupId", "capacity-reservation-id": "capacityReservationId",
				"network-interface.network-interface-id": "networkInterfaceSet.networkInterfaceId", "architecture": "architecture", "iam-instance-profile.arn": "iamInstanceProfile.arn",
			},
			finish: func(tx *account.Tx, items []object) object {
				var out []any
				for _, i := range items {
					out = append(out, object{
						"reservationId": "r-" + strings.TrimPrefix(props.Str(i, "instanceId"), "i-"), "ownerId": tx.AccountID(), "groupSet": []any{}, "instancesSet": []any{i},
					})
				}
				return object{"reservationSet": out}
			},
		},
		{
			name: "DescribeVolumes", set: "volumeSet", ids: map[string]string{"VolumeId": "volumeId"},
			missing: [2]string{"InvalidVolume.NotFound", "The volume '%s' does not exist."},
			items:   each(instance.TypeVolume, volumeItem),
			filters: map[string]string{
				"tag": "", "volume-id": "volumeId", "status": "status", "availability-zone": "availabilityZone", "encrypted": "encrypted", "size": "size",
				"attachment.instance-id": "attachmentSet.instanceId", "attachment.status": "attachmentSet.status", "volume-type": "volumeType",
			},
		},
		{
			name: "DescribeSnapshots", set: "snapshotSet", ids: map[string]string{"SnapshotId": "snapshotId"},
			missing: [2]string{"InvalidSnapshot.NotFound", "The snapshot '%s' does not exist."},
			items:   each(typeSnapshot, snapshotItem),
			filters: map[string]string{"tag": "", "snapshot-id": "snapshotId", "volume-id": "volumeId", "status": "status", "encrypted": "encrypted"},
		},
		{
			name: "DescribeLaunchTemplates", set: "launchTemplates", ids: map[string]string{"LaunchTemplateId": "launchTemplateId", "LaunchTemplateName": "launchTemplateName"},
			missing: [2]string{"InvalidLaunchTemplateId.NotFound", "At least one of the launch templates specified in the request does not exist."},
			items:   each(instance.TypeLaunchTemplate, templateItem),
			filters: map[string]string{"tag": "", "launch-template-name": "launchTemplateName", "create-time": "createTime"},
		},
		{
			name: "DescribeLaunchTemplateVersions", set: "launchTemplateVersionSet",
			items: templateVersions, filters: map[string]string{"image-id": "launchTemplateData.imageId", "instance-type": "launchTemplateData.instanceType", "is-default-version": "defaultVersion"},
		},
		{
			name: "DescribeInstanceTypes", set: "instanceTypeSet", ids: map[string]string{"InstanceType": "instanceType"},
			missing: [2]string{"InvalidInstanceType", "The following supplied instance types do not exist: [%s]"},
			items: func(tx *account.Tx, _ *wire.Request) ([]object, error) {
				var out []object
				for _, t := range instance.AllTypes(tx) {
					out = append(out, typeItem(t))
				}
				return out, nil
			},
			filters: map[string]string{
				"instance-type": "instanceType", "current-generation": "currentGeneration", "bare-metal": "bareMetal", "burstable-performance-supported": "burstablePerformanceSupported",
				"processor-info.supported-architecture": "processorInfo.supportedArchitectures", "vcpu-info.default-vcpus": "vCpuInfo.defaultVCpus",
				"memory-info.size-in-mib": "memoryInfo.sizeInMiB", "instance-storage-supported": "instanceStorageSupported",
				"supported-usage-class": "supportedUsageClasses", "supported-root-device-type": "supportedRootDeviceTypes",
			},
		},
		{
			name: "DescribeInstanceTypeOfferings", set: "instanceTypeOfferingSet", items: offerings,
			filters: map[string]string{"instance-type": "instanceType", "location": "location"},
		},
		{
			name: "DescribeImages", set: "imagesSet", ids: map[string]string{"ImageId": "imageId"},
			missing: [2]string{"InvalidAMIID.NotFound", "The image id '[%s]' does not exist"},
			items:   images,
			filters: map[string]string{
				"tag": "", "image-id": "imageId", "name": "name", "architecture": "architecture", "owner-alias": "imageOwnerAlias", "owner-id": "imageOwnerId",
				"state": "imageState", "root-device-type": "rootDeviceType", "virtualization-type": "virtualizationType", "is-public": "isPublic",
			},
		},
		{
			name: "DescribeCapacityReservations", set: "capacityReservationSet", ids: map[string]string{"CapacityReservationId": "capacityReservationId"},
			missing: [2]string{"InvalidCapacityReservationId.NotFound", "The capacity reservation ID '%s' does not exist"},
			items:   each(instance.TypeCapacityReservation, reservationItem),
			filters: map[string]string{
				"tag": "", "instance-type": "instanceType", "state": "state", "availability-zone": "availabilityZone", "instance-match-criteria": "instanceMatchCriteria",
				"instance-platform": "instancePlatform", "owner-id": "ownerId", "end-date-type": "endDateType", "tenancy": "tenancy",
			},
		},
	}
}

func interfaceItem(tx *account.Tx, r *account.Resource) object {
	primary := props.Str(r.Attrs, "PrimaryPrivateIpAddress")
	kind := props.Str(r.Props, "InterfaceType")
	if kind == "" {
		kind = "interface"
	}
	requester := props.Str(r.Data, "requester")
	addresses := []any{object{"privateIpAddress": primary, "privateDnsName": ec2.PrivateDNSName(tx, primary), "primary": true}}
	for _, a := range props.Strs(r.Attrs, "SecondaryPrivateIpAddresses") {
		addresses = append(addresses, object{"privateIpAddress": a, "privateDnsName": ec2.PrivateDNSName(tx, a), "primary": false})
	}
	out := optional(object{
		"networkInterfaceId": r.ID, "subnetId": props.Str(r.Props, "SubnetId"), "vpcId": ec2.VPCOf(r), "status": r.Status, "interfaceType": kind,
		"description": props.Str(r.Props, "Description"), "privateIpAddress": primary, "privateDnsName": ec2.PrivateDNSName(tx, primary), "privateIpAddressesSet": addresses,
		"groupSet": groupSet(tx, ec2.InterfaceGroups(r)), "macAddress": props.Str(r.Data, "mac"), "ownerId": tx.AccountID(), "requesterManaged": requester != "",
		"sourceDestCheck": props.Bool(r.Props, true, "SourceDestCheck") && kind != "nat_gateway", "tagSet": tagSet(r.Tags),
	}, "requesterId", requester)
	if s := tx.Get(ec2.TypeSubnet, props.Str(r.Props, "SubnetId")); s != nil {
		out["availabilityZone"], out["availabilityZoneId"] = ec2.ZoneOf(s).Name, ec2.ZoneOf(s).ID
	}
	if a := props.Map(r.Data, "attachment"); a != nil {
		owner := tx.AccountID()
		if requester != "" {
			owner = requester
		}
		out["attachment"] = optional(object{
			"attachmentId": a["id"], "attachTime": a["time"], "deviceIndex": props.Int(a, 0, "device"), "instanceOwnerId": owner, "status": "attached",
			"deleteOnTermination": r.Owner == props.Str(a, "instance"),
		}, "instanceId", props.Str(a, "instance"))
	}
	if ip := ec2.PublicIP(tx, r); ip != "" {
		association := object{"publicIp": ip, "ipOwnerId": "amazon"}
		if eip := tx.Get(ec2.TypeEIP, ip); eip != nil {
			association["ipOwnerId"] = tx.AccountID()
			optional(association, "allocationId", props.Str(eip.Attrs, "AllocationId"), "associationId", props.Str(eip.Data, "association", "id"))
		}
		out["association"] = association
	}
	return out
}

// stateCodes are the codes of an instance's states.
var stateCodes = map[string]int{"pending": 0, "running": 16, "shutting-down": 32}

func instanceItem(tx *account.Tx, r *account.Resource) object {
	data := props.Map(r.Props, "Template")
	out := optional(object{
		"instanceId": r.ID, "imageId": props.Str(r.Props, "ImageId"), "instanceType": props.Str(r.Props, "InstanceType"), "instanceState": object{"name": r.Status, "code": stateCodes[r.Status]},
		"subnetId": props.Str(r.Props, "SubnetId"), "vpcId": ec2.VPCOf(r), "architecture": r.Attrs["Architecture"], "launchTime": r.Created, "amiLaunchIndex": 0,
		"placement":  object{"availabilityZone": r.Attrs["AvailabilityZone"], "availabilityZoneId": r.Attrs["AvailabilityZoneId"], "tenancy": "default", "groupName": ""},
		"monitoring": object{"state": "disabled"}, "hypervisor": "xen", "virtualizationType": "hvm", "rootDeviceType": "ebs", "enaSupport": true,
		"rootDeviceName": props.Str(r.Data, "rootDevice"), "privateIpAddress": r.Attrs["PrivateIp"], "privateDnsName": r.Attrs["PrivateDnsName"], "tagSet": tagSet(r.Tags),
		"metadataOptions": metadataOptions(r, "applied"),
	}, "capacityReservationId", props.Str(r.Data, "reservation"), "keyName", props.Str(data, "KeyName"))
	if p := props.Map(data, "IamInstanceProfile"); p != nil {
		out["iamInstanceProfile"] = object{"arn": or(props.Str(p, "Arn"), tx.GlobalARN("iam", "instance-profile/"+props.Str(p, "Name")))}
	}
	var faces, volumes []any
	for _, eni := range tx.List(ec2.TypeNetworkInterface) {
		if props.Str(eni.Data, "attachment", "instance") != r.ID {
			continue
		}
		item := interfaceItem(tx, eni)
		for _, k := range []string{"availabilityZone", "availabilityZoneId", "requesterId", "requesterManaged", "tagSet"} {
			delete(item, k)
		}
		if a := props.Map(item, "attachment"); a != nil {
			delete(a, "instanceId")
			delete(a, "instanceOwnerId")
		}
		if a := props.Map(item, "association"); a != nil {
			delete(a, "allocationId")
			delete(a, "associationId")
			out["ipAddress"] = a["publicIp"]
		}
		faces = append(faces, item)
		out["groupSet"], out["sourceDestCheck"] = item["groupSet"], item["sourceDestCheck"]
	}
	for _, v := range instance.VolumesOf(tx, r.ID) {
		volumes = append(volumes, object{"deviceName": v.Data["device"], "ebs": object{
			"volumeId": v.ID, "status": "attached", "attachTime": v.Created, "deleteOnTermination": v.Data["deleteOnTermination"],
		}})
	}
	out["networkInterfaceSet"], out["blockDeviceMapping"] = faces, volumes
	return out
}

// metadataOptions are how an instance's metadata service answers: as it was
// launched, or changed since.
func metadataOptions(r *account.Resource, state string) object {
	launched := props.Map(r.Props, "Template", "MetadataOptions")
	changed := props.Map(r.Data, "metadataOptions")
	one := func(key, otherwise string) string {
		return or(props.Str(changed, key), or(props.Str(launched, key), otherwise))
	}
	return object{
		"state": state, "httpTokens": one("HttpTokens", "optional"), "httpEndpoint": one("HttpEndpoint", "enabled"),
		"httpPutResponseHopLimit": props.Int(changed, props.Int(launched, 1, "HttpPutResponseHopLimit"), "HttpPutResponseHopLimit"),
		"instanceMetadataTags":    one("InstanceMetadataTags", "disabled"), "httpProtocolIpv6": "disabled",
	}
}

// modifyMetadataOptions changes a running instance. EC2 calls the new state
// pending for a moment.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html
func modifyMetadataOptions(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := ec2.Lookup(tx, instance.TypeInstance, r.String("InstanceId"))
	if err != nil {
		return nil, err
	}
	if r.String("HttpProtocolIpv6") == "enabled" {
		return nil, account.NotModelled("IPv6 is not modelled by the sandbox")
	}
	if n := r.Int("HttpPutResponseHopLimit", 1); n < 1 || n > 64 {
		return nil, account.Errorf("InvalidParameterValue", "Value (%d) for parameter HttpPutResponseHopLimit is invalid. The value must be between 1 and 64.", n)
	}
	changed := map[string]any{}
	for k, v := range props.Map(i.Data, "metadataOptions") {
		changed[k] = v
	}
	for k, values := range map[string][]string{"HttpTokens": {"optional", "required"}, "HttpEndpoint": {"disabled", "enabled"}, "InstanceMetadataTags": {"disabled", "enabled"}} {
		v := r.String(k)
		if v == "" {
			continue
		}
		if !slices.Contains(values, v) {
			return nil, account.Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v, k)
		}
		changed[k] = v
	}
	if r.Has("HttpPutResponseHopLimit") {
		changed["HttpPutResponseHopLimit"] = r.Int("HttpPutResponseHopLimit", 1)
	}
	i.Data["metadataOptions"] = changed
	return object{"instanceId": i.ID, "instanceMetadataOptions": metadataOptions(i, "pending")}, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func volumeItem(_ *account.Tx, r *account.Resource) object {
	attachments := []any{}
	if i := props.Str(r.Data, "instance"); i != "" {
		attachments = append(attachments, object{
			"volumeId": r.ID, "instanceId": i, "device": r.Data["device"], "status": "attached", "attachTime": r.Created, "deleteOnTermination": r.Data["deleteOnTermination"],
		})
	}
	return optional(object{
		"volumeId": r.ID, "status": r.Status, "availabilityZone": props.Str(r.Props, "AvailabilityZone"), "size": props.Int(r.Props, 0, "Size"), "volumeType": props.Str(r.Props, "VolumeType"),
		"encrypted": props.Bool(r.Props, false, "Encrypted"), "createTime": r.Created, "attachmentSet": attachments, "multiAttachEnabled": false, "tagSet": tagSet(r.Tags),
	}, "kmsKeyId", props.Str(r.Props, "KmsKeyId"))
}

func templateItem(_ *account.Tx, r *account.Resource) object {
	return object{
		"launchTemplateId": r.ID, "launchTemplateName": r.Attrs["LaunchTemplateName"], "createTime": r.Created, "createdBy": r.Owner,
		"defaultVersionNumber": props.Int(r.Attrs, 1, "DefaultVersionNumber"), "latestVersionNumber": props.Int(r.Attrs, 1, "LatestVersionNumber"), "tagSet": tagSet(r.Tags),
	}
}

func templateVersions(tx *account.Tx, r *wire.Request) ([]object, error) {
	t, err := instance.FindTemplate(tx, r.String("LaunchTemplateId"), r.String("LaunchTemplateName"))
	if err != nil {
		return nil, err
	}
	var wanted []int
	for _, v := range r.Strings("LaunchTemplateVersion") {
		_, n, err := instance.TemplateData(t, v)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, n)
	}
	var out []object
	for _, v := range slices.Backward(instance.Versions(t)) {
		n := props.Int(v, 0, "number")
		if len(wanted) > 0 && !slices.Contains(wanted, n) {
			continue
		}
		out = append(out, optional(object{
			"launchTemplateId": t.ID, "launchTemplateName": t.Attrs["LaunchTemplateName"], "versionNumber": n, "defaultVersion": n == 1,
			"createTime": v["created"], "createdBy": v["by"], "launchTemplateData": templateData(props.Map(v, "data")),
		}, "versionDescription", props.Str(v, "description")))
	}
	return out, nil
}

// dataSets are the members of launch template data whose names on the wire are
// not those of CloudFormation with a small first letter.
var dataSets = map[string]string{
	"BlockDeviceMappings": "blockDeviceMappingSet", "NetworkInterfaces": "networkInterfaceSet", "SecurityGroupIds": "securityGroupIdSet",
	"SecurityGroups": "securityGroupSet", "TagSpecifications": "tagSpecificationSet", "Tags": "tagSet", "LicenseSpecifications": "licenseSet",
	"Groups": "groupSet", "PrivateIpAddresses": "privateIpAddressesSet",
}

// groupIDs is the one list whose elements are not called item.
type groupIDs struct {
	ID []string `xml:"groupId"`
}

// templateData renames launch template data for the wire.
func templateData(v map[string]any) object {
	out := object{}
	for k, x := range v {
		name, ok := dataSets[k]
		if !ok {
			name = lower(k)
		}
		if k == "Groups" {
			out[name] = groupIDs{props.Strs(x)}
			continue
		}
		switch x := x.(type) {
		case map[string]any:
			out[name] = templateData(x)
		case []any:
			list := make([]any, len(x))
			for i, e := range x {
				if list[i] = e; props.Map(e) != nil {
					list[i] = templateData(props.Map(e))
				}
			}
			out[name] = list
		default:
			out[name] = x
		}
	}
	return out
}

func typeItem(t instance.Type) object {
	threads := 2
	if t.Arch == "arm64" {
		threads = 1
	}
	out := object{
		"instanceType": t.Name, "currentGeneration": t.Current, "bareMetal": t.Metal(), "burstablePerformanceSupported": t.Burstable(),
		"supportedUsageClasses": []any{"on-demand", "spot"}, "supportedRootDeviceTypes": []any{"ebs"}, "supportedVirtualizationTypes": []any{"hvm"},
		"vCpuInfo":   object{"defaultVCpus": t.VCPUs, "defaultCores": max(1, t.VCPUs/threads), "defaultThreadsPerCore": min(threads, t.VCPUs)},
		"memoryInfo": object{"sizeInMiB": t.MemoryMiB}, "processorInfo": object{"supportedArchitectures": []any{t.Arch}},
		"networkInfo": object{
			"maximumNetworkInterfaces": t.Interfaces, "ipv4AddressesPerInterface": t.Addresses, "ipv6AddressesPerInterface": t.Addresses, "ipv6Supported": true,
			"enaSupport": "required", "maximumNetworkCards": 1, "defaultNetworkCardIndex": 0, "encryptionInTransitSupported": true,
			"networkCards": []any{object{"networkCardIndex": 0, "maximumNetworkInterfaces": t.Interfaces}},
		},
		"instanceStorageSupported": t.StorageGB > 0,
	}
	if t.StorageGB > 0 {
		out["instanceStorageInfo"] = object{"totalSizeInGB": t.StorageGB}
	}
	if t.GPUs > 0 {
		out["gpuInfo"] = object{
			"totalGpuMemoryInMiB": t.GPUs * t.GPUMemoryMiB,
			"gpus":                []any{object{"name": t.GPU, "manufacturer": "NVIDIA", "count": t.GPUs, "memoryInfo": object{"sizeInMiB": t.GPUMemoryMiB}}},
		}
	}
	return out
}

func offerings(tx *account.Tx, r *wire.Request) ([]object, error) {
	kind := or(r.String("LocationType"), "region")
	var places []string
	switch kind {
	case "region":
		places = []string{tx.Region()}
	case "availability-zone":
		for _, z := range tx.Zones() {
			places = append(places, z.Name)
		}
	case "availability-zone-id":
		for _, z := range tx.Zones() {
			places = append(places, z.ID)
		}
	default:
		return nil, account.Errorf("InvalidParameterValue", "Value (%s) for parameter locationType is invalid.", kind)
	}
	var out []object
	for _, t := range instance.AllTypes(tx) {
		for _, p := range places {
			if !slices.ContainsFunc(tx.Zones(), func(z account.Zone) bool {
				return (kind == "region" || z.Name == p || z.ID == p) && instance.Offered(tx, t.Name, z)
			}) {
				continue
			}
			out = append(out, object{"instanceType": t.Name, "location": p, "locationType": kind})
		}
	}
	return out, nil
}

func images(tx *account.Tx, r *wire.Request) ([]object, error) {
	var out []object
	owners := r.Strings("Owner")
	for _, i := range instance.Images(tx) {
		if len(owners) > 0 && !slices.Contains(owners, i.Owner) {
			continue
		}
		out = append(out, object{
			"imageId": i.ID, "name": i.Name, "architecture": i.Architecture, "imageOwnerAlias": i.Owner, "imageOwnerId": "137112412989", "imageState": "available",
			"imageType": "machine", "isPublic": true, "rootDeviceName": i.RootDevice, "rootDeviceType": "ebs", "virtualizationType": "hvm", "hypervisor": "xen", "enaSupport": true,
			"blockDeviceMapping": []any{object{"deviceName": i.RootDevice, "ebs": object{"volumeSize": i.RootGB, "volumeType": "gp3", "deleteOnTermination": true, "encrypted": false}}},
			"tagSet":             []any{},
		})
	}
	return out, nil
}

func reservationItem(tx *account.Tx, r *account.Resource) object {
	end, start := "unlimited", any(r.Created)
	if r.Props["EndDate"] != nil {
		end = "limited"
	}
	if r.Props["StartDate"] != nil {
		start = r.Props["StartDate"]
	}
	return object{
		"endDate": r.Props["EndDate"], "capacityReservationId": r.ID, "capacityReservationArn": r.Attrs["CapacityReservationArn"], "ownerId": tx.AccountID(), "state": r.Status, "instanceType": r.Props["InstanceType"],
		"instancePlatform": r.Props["InstancePlatform"], "availabilityZone": r.Props["AvailabilityZone"], "availabilityZoneId": r.Props["AvailabilityZoneId"], "tenancy": r.Props["Tenancy"],
		"totalInstanceCount": props.Int(r.Props, 0, "InstanceCount"), "availableInstanceCount": instance.Available(tx, r), "instanceMatchCriteria": r.Props["InstanceMatchCriteria"],
		"reservationType": r.Props["ReservationType"], "endDateType": end, "createDate": r.Created, "startDate": start, "ebsOptimized": false, "ephemeralStorage": false, "tagSet": tagSet(r.Tags),
	}
}
