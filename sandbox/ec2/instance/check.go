package instance

import (
	"encoding/base64"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// CheckData checks LaunchTemplateData against the account. EC2 itself takes
// some of these faults when the template is made and refuses the launch; here
// the template is refused, because nothing good can come of it.
func CheckData(tx *account.Tx, data map[string]any) error {
	for _, check := range []func(*account.Tx, map[string]any) error{
		checkMachine, checkMetadata, checkVolumes, checkInterfaces, checkCapacity, checkTagged,
	} {
		if err := check(tx, data); err != nil {
			return err
		}
	}
	if text := props.Str(data, "UserData"); text != "" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return account.Errorf("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
		}
		if len(raw) > 16<<10 {
			return account.Errorf("InvalidParameterValue", "User data is limited to 16384 bytes")
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return account.Errorf("InvalidParameterValue", format, args...)
}

// checkMachine checks type and image, and that they fit each other.
func checkMachine(tx *account.Tx, data map[string]any) error {
	for _, k := range []string{"InstanceRequirements", "ElasticGpuSpecifications", "KernelId", "RamDiskId"} {
		if props.Has(data, k) {
			return account.NotModelled("%s of a launch template is not modelled by the sandbox", k)
		}
	}
	var t Type
	if name := props.Str(data, "InstanceType"); name != "" {
		var ok bool
		if t, ok = FindType(tx, name); !ok {
			return invalid("Invalid value '%s' for InstanceType.", name)
		}
	}
	if props.Str(data, "ImageId") == "" {
		return nil
	}
	image, err := FindImage(tx, props.Str(data, "ImageId"))
	if err != nil {
		return err
	}
	return fit(t, image)
}

// fit tells whether the image runs on the type; without a type any fits.
func fit(t Type, image Image) error {
	if t.Name == "" || t.Arch == image.Architecture {
		return nil
	}
	return invalid("The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.", t.Arch, image.Architecture)
}

// checkMetadata checks the options of the instance metadata service.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateInstanceMetadataOptionsRequest.html
func checkMetadata(_ *account.Tx, data map[string]any) error {
	options := props.Map(data, "MetadataOptions")
	for key, valid := range map[string][]string{
		"HttpTokens":           {"optional", "required"},
		"HttpEndpoint":         {"enabled", "disabled"},
		"HttpProtocolIpv6":     {"enabled", "disabled"},
		"InstanceMetadataTags": {"enabled", "disabled"},
	} {
		if v := props.Str(options, key); v != "" && !slices.Contains(valid, v) {
			return invalid("Value (%s) for parameter %s is invalid.", v, key)
		}
	}
	if hops := props.Int(options, 1, "HttpPutResponseHopLimit"); hops < 1 || hops > 64 {
		return invalid("Value (%d) for parameter HttpPutResponseHopLimit is invalid. The value must be between 1 and 64.", hops)
	}
	return nil
}

// volumeLimits are sizes in GiB, IOPS and MiB/s, least and most; no most IOPS
// means that the type has none to choose.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
var volumeLimits = map[string]struct{ minGB, maxGB, minIOPS, maxIOPS, maxThroughput int }{
	"gp3":      {1, 65536, 3000, 80000, 2000},
	"gp2":      {1, 16384, 0, 0, 0},
	"io1":      {4, 16384, 100, 64000, 0},
	"io2":      {4, 65536, 100, 256000, 0},
	"st1":      {125, 16384, 0, 0, 0},
	"sc1":      {125, 16384, 0, 0, 0},
	"standard": {1, 1024, 0, 0, 0},
}

func checkVolumes(tx *account.Tx, data map[string]any) error {
	devices := map[string]bool{}
	for _, m := range props.Maps(data, "BlockDeviceMappings") {
		device := props.Str(m, "DeviceName")
		if device == "" || devices[device] {
			return account.Errorf("InvalidBlockDeviceMapping", "Missing or duplicate device name '%s'", device)
		}
		devices[device] = true
		ebs := props.Map(m, "Ebs")
		if ebs == nil {
			continue
		}
		if err := checkVolume(device, ebs); err != nil {
			return err
		}
		if props.Has(ebs, "KmsKeyId") && !props.Bool(ebs, false, "Encrypted") {
			return account.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
		}
	}
	for _, key := range volumeKeys(data) {
		if _, err := kms.Lookup(tx, key); err != nil {
			return invalid("The KMS key '%s' does not exist", key)
		}
	}
	return nil
}

func checkVolume(device string, ebs map[string]any) error {
	kind := volumeKind(ebs)
	limits, ok := volumeLimits[kind]
	if !ok {
		return invalid("Unknown volume type '%s'", kind)
	}
	if size := props.Int(ebs, limits.minGB, "VolumeSize"); size < limits.minGB || size > limits.maxGB {
		return invalid("Volume of %dGiB is invalid for volume type '%s' of device %s. Expected a size between %d and %d.", size, kind, device, limits.minGB, limits.maxGB)
	}
	iops, has := props.Int(ebs, 0, "Iops"), props.Has(ebs, "Iops")
	switch {
	case has && limits.maxIOPS == 0:
		return account.Errorf("InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", kind)
	case has && (iops < limits.minIOPS || iops > limits.maxIOPS):
		return invalid("Volume iops of %d is out of range for volume type '%s': %d to %d.", iops, kind, limits.minIOPS, limits.maxIOPS)
	case !has && (kind == "io1" || kind == "io2"):
		return account.Errorf("MissingParameter", "The parameter iops must be specified for %s volumes.", kind)
	}
	if t := props.Int(ebs, 125, "Throughput"); props.Has(ebs, "Throughput") && (limits.maxThroughput == 0 || t < 125 || t > limits.maxThroughput) {
		return invalid("Throughput (MiBps) %d is invalid for volume type '%s'.", t, kind)
	}
	return nil
}

func checkInterfaces(tx *account.Tx, data map[string]any) error {
	faces := props.Maps(data, "NetworkInterfaces")
	if len(faces) > 0 && len(props.Strs(data, "SecurityGroupIds"))+len(props.Strs(data, "SecurityGroups")) > 0 {
		return account.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level security groups may not be specified on the same request")
	}
	if len(props.Strs(data, "SecurityGroups")) > 0 {
		return account.NotModelled("SecurityGroups of a launch template is not modelled by the sandbox")
	}
	for _, id := range props.Strs(data, "SecurityGroupIds") {
		if _, err := ec2.FindSecurityGroup(tx, id); err != nil {
			return err
		}
	}
	indexes := map[int]bool{}
	for _, f := range faces {
		index := props.Int(f, 0, "DeviceIndex")
		if indexes[index] {
			return invalid("Each network interface requires a unique device index.")
		}
		indexes[index] = true
		for _, id := range props.Strs(f, "Groups") {
			if _, err := ec2.FindSecurityGroup(tx, id); err != nil {
				return err
			}
		}
		if id := props.Str(f, "SubnetId"); id != "" {
			if _, err := ec2.FindSubnet(tx, id); err != nil {
				return err
			}
		}
		id := props.Str(f, "NetworkInterfaceId")
		if id == "" {
			continue
		}
		if _, err := ec2.Lookup(tx, ec2.TypeNetworkInterface, id); err != nil {
			return err
		}
		for _, k := range []string{"Groups", "SubnetId", "AssociatePublicIpAddress", "PrivateIpAddress", "Description", "DeleteOnTermination"} {
			if k == "DeleteOnTermination" && !props.Bool(f, false, k) {
				continue
			}
			if props.Has(f, k) {
				return account.Errorf("InvalidParameterCombination", "A network interface may not specify both a network interface ID and %s", k)
			}
		}
	}
	return nil
}

func checkCapacity(tx *account.Tx, data map[string]any) error {
	id := props.Str(data, "CapacityReservationSpecification", "CapacityReservationTarget", "CapacityReservationId")
	if id != "" {
		if _, err := FindReservation(tx, id); err != nil {
			return err
		}
	}
	switch market := props.Str(data, "InstanceMarketOptions", "MarketType"); market {
	case "", "spot":
	case "capacity-block":
		if id == "" {
			return invalid("You must specify a Capacity Block reservation to launch instances with the market type 'capacity-block'.")
		}
	default:
		return invalid("Value (%s) for parameter marketType is invalid.", market)
	}
	return nil
}

func checkTagged(_ *account.Tx, data map[string]any) error {
	taggable := []string{"instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu"}
	for _, s := range props.Maps(data, "TagSpecifications") {
		if typ := props.Str(s, "ResourceType"); !slices.Contains(taggable, typ) {
			return invalid("'%s' is not a valid taggable resource type for this operation.", typ)
		}
	}
	return nil
}
