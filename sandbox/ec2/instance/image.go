package instance

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Image is an Amazon Machine Image.
type Image struct {
	ID, Name, Architecture, Owner string
	RootDevice                    string
	RootGB                        int
	// Parameter is the public SSM parameter that holds the id.
	Parameter string
}

// kubernetesVersions have images made for EKS.
var kubernetesVersions = []string{"1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35"}

// Images are the public images of the region that are modelled: Amazon Linux
// 2023, and the nodes of EKS on it and on Bottlerocket. Their ids are the
// sandbox's own.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html
func Images(tx *account.Tx) []Image {
	var out []Image
	add := func(parameter, name, arch string, gb int) {
		out = append(out, Image{
			ID: imageID(tx.Region(), parameter), Name: name, Architecture: arch, Owner: "amazon",
			RootDevice: "/dev/xvda", RootGB: gb, Parameter: parameter,
		})
	}
	for _, arch := range []string{"x86_64", "arm64"} {
		for _, kernel := range []string{"default", "6.1", "6.12"} {
			add("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-"+kernel+"-"+arch, "al2023-ami-2023-kernel-"+kernel+"-"+arch, arch, 8)
			add("/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-"+kernel+"-"+arch, "al2023-ami-minimal-2023-kernel-"+kernel+"-"+arch, arch, 2)
		}
	}
	for _, v := range kubernetesVersions {
		for _, variant := range []string{"x86_64/standard", "arm64/standard", "x86_64/nvidia", "arm64/nvidia", "x86_64/neuron"} {
			arch, kind, _ := strings.Cut(variant, "/")
			add(fmt.Sprintf("/aws/service/eks/optimized-ami/%s/amazon-linux-2023/%s/recommended/image_id", v, variant),
				fmt.Sprintf("amazon-eks-node-al2023-%s-%s-%s", arch, kind, v), arch, 20)
		}
		for _, variant := range []string{"", "-nvidia"} {
			for _, arch := range []string{"x86_64", "arm64"} {
				add(fmt.Sprintf("/aws/service/bottlerocket/aws-k8s-%s%s/%s/latest/image_id", v, variant, arch),
					fmt.Sprintf("bottlerocket-aws-k8s-%s%s-%s", v, variant, arch), arch, 2)
			}
		}
	}
	return out
}

func imageID(region, parameter string) string {
	h := fnv.New64a()
	h.Write([]byte(region + parameter))
	return fmt.Sprintf("ami-0%016x", h.Sum64())
}

var imageIDs = regexp.MustCompile(`^ami-[0-9a-f]{8}([0-9a-f]{9})?$`)

// FindImage returns the image that a launch names: by id, or by a parameter as
// "resolve:ssm:/name". Errors: InvalidAMIID.Malformed, InvalidAMIID.NotFound.
func FindImage(tx *account.Tx, ref string) (Image, error) {
	id := ref
	if parameter, ok := strings.CutPrefix(ref, "resolve:ssm:"); ok {
		parameter, _, _ = strings.Cut(parameter, ":") // a version or label
		own := tx.Find("AWS::SSM::Parameter", func(r *account.Resource) bool { return props.Str(r.Props, "Name") == parameter })
		if own != nil {
			id = props.Str(own.Props, "Value")
		} else if id = imageID(tx.Region(), parameter); !known(tx, id) {
			return Image{}, account.Errorf("InvalidParameterValue", "Systems Manager parameter %s in template cannot be resolved to an AMI.", parameter)
		}
	}
	if !imageIDs.MatchString(id) {
		return Image{}, account.Errorf("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
	}
	for _, i := range Images(tx) {
		if i.ID == id {
			return i, nil
		}
	}
	return Image{}, account.Errorf("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
}

func known(tx *account.Tx, id string) bool {
	for _, i := range Images(tx) {
		if i.ID == id {
			return true
		}
	}
	return false
}
