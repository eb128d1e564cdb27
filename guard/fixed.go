package guard

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// fixed refuses what can't change while a deployment stands, flag or not:
// ranges that subnets, cluster and pods are in, whose change would replace what
// everything else stands in, and storage of a database that would shrink. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-subnet.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-vpc.html
// https://docs.aws.amazon.com/eks/latest/APIReference/API_KubernetesNetworkConfigRequest.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html
func fixed(c Case, all []difference) []Refusal {
	var out []Refusal
	cidr := c.Config.Network.CIDR
	moved := false // the VPC has another range, and so its subnets
	for _, d := range all {
		if d.typ == "AWS::EC2::VPC" && d.is != nil && d.was != nil && text(d.was.at("CidrBlock")) != text(d.is.at("CidrBlock")) {
			moved = true
			out = append(out, d.stays(c, "network.cidr", text(d.was.at("CidrBlock")), cidr))
		}
	}
	for _, d := range all {
		if d.is == nil || d.was == nil {
			continue
		}
		switch d.typ {
		case "AWS::EC2::Subnet":
			was, is := text(d.was.at("CidrBlock")), text(d.is.at("CidrBlock"))
			if was == is || moved {
				continue
			}
			out = append(out, d.stays(c, subnetPath(d.id), was, is))
		case "AWS::EKS::Cluster":
			const property = "KubernetesNetworkConfig.ServiceIpv4Cidr"
			if was, is := text(d.was.at(property)), text(d.is.at(property)); was != is {
				out = append(out, d.stays(c, "cluster.serviceCidr", was, is))
			}
		case "AWS::RDS::DBInstance":
			if was, is, ok := d.storage(); ok && was != is && is < max(was, c.StorageGiB) {
				has := max(was, c.StorageGiB)
				out = append(out, Refusal{
					Fault: c.Config.Fault("database.storageGiB", fmt.Sprintf("gives %s %d GiB, and it has %d: storage can't shrink", d.id, is, has),
						fmt.Sprintf("write %d or more; for less, move the data into another database", has)),
					Stack: d.stack, Resource: d.id,
				})
			}
		}
	}
	return out
}

// storage is that of a database before and after, in GiB; not ok if a template
// doesn't say.
func (d difference) storage() (was, is int, ok bool) {
	var errs [2]error
	was, errs[0] = strconv.Atoi(text(d.was.at("AllocatedStorage")))
	is, errs[1] = strconv.Atoi(text(d.is.at("AllocatedStorage")))
	return was, is, errs == [2]error{}
}

// Resizes tells that a case changes the storage of the database, so that what it
// has must be known.
func Resizes(c Case) bool {
	old, next := parse(c.Before[architecture.Database].Body), parse(c.After[architecture.Database].Body)
	for id, was := range old.Resources {
		if is := next.Resources[id]; is != nil && was.Type == "AWS::RDS::DBInstance" && text(was.at("AllocatedStorage")) != text(is.at("AllocatedStorage")) {
			return true
		}
	}
	return false
}

// subnetPath is the key that decides the range of a subnet.
func subnetPath(id string) string {
	for prefix, path := range map[string]string{
		"PublicSubnet": "network.subnets.public", "ControlPlaneSubnet": "network.subnets.controlPlane",
		"PrivateSubnet": "network.subnets.private", "PodsSubnet": "network.podCidr", "PodSubnet": "network.podCidr",
	} {
		if strings.HasPrefix(id, prefix) {
			return path
		}
	}
	return "network.subnets"
}

func (d difference) stays(c Case, path, was, is string) Refusal {
	return Refusal{
		Fault: c.Config.Fault(path, fmt.Sprintf("gives %s the range %s, and it stands in %s: ranges can't change", d.id, is, was),
			"undo the change; for another range, make another deployment"),
		Stack: d.stack, Resource: d.id,
	}
}
