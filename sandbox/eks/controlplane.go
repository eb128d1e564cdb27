package eks

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// ControlPlane is what a Kubernetes behind a cluster's endpoint has to be.
type ControlPlane struct {
	Cluster string
	// ID is the endpoint's, which a cluster that is made again under the name
	// doesn't have.
	ID string
	// Certificate and Key, as PEM, are what the API shows; Authority signed
	// them.
	Certificate, Key, Authority string
	// Issuer is whom the tokens of service accounts are from, and SigningKey
	// signs them; "" if [SetSigningKey] has set none yet.
	Issuer, SigningKey string
	// Services is the range of addresses of services.
	Services string
	Nodes    []Node
}

// Node is what the kubelet of an instance registers.
type Node struct {
	Name, ProviderID      string
	Labels                map[string]string
	Taints                []Taint
	Capacity, Allocatable map[string]string // quantities by resource
	// GPUs are those that NVIDIA's device plugin finds, once it runs there: where the
	// image has the driver and no plugin of its own.
	GPUs       int
	InternalIP string
	// Subnet is the range of the addresses of the subnet that it is in.
	Subnet string
	// Version is the kubelet's, "1.33"; Image is the operating system.
	Version, Image, Architecture string
	// Draining tells that the instance is about to be replaced.
	Draining bool
}

// Taint keeps pods from a node.
type Taint struct{ Key, Value, Effect string }

// ControlPlanes are those of all clusters that are there.
func ControlPlanes(tx *account.Tx) ([]ControlPlane, error) {
	var out []ControlPlane
	for _, c := range tx.List(TypeCluster) {
		if c.Status == "DELETING" || c.Status == "FAILED" {
			continue
		}
		cert, err := Certificate(tx, c)
		if err != nil {
			return nil, err
		}
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("write the key of cluster %s: %w", c.ID, err)
		}
		authority, err := base64.StdEncoding.DecodeString(props.Str(c.Attrs, "CertificateAuthorityData"))
		if err != nil {
			return nil, fmt.Errorf("read the authority of cluster %s: %w", c.ID, err)
		}
		issuer := props.Str(c.Attrs, "OpenIdConnectIssuerUrl")
		p := ControlPlane{
			Cluster: c.ID, ID: issuer[strings.LastIndex(issuer, "/")+1:],
			Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
			Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
			Authority:   string(authority), Issuer: issuer, SigningKey: props.Str(c.Data, "signingKey"),
			Services: props.Str(c.Attrs, "KubernetesNetworkConfig.ServiceIpv4Cidr"),
		}
		for _, g := range nodegroups(tx, c.ID) {
			p.Nodes = append(p.Nodes, nodesOf(tx, g)...)
		}
		out = append(out, p)
	}
	return out, nil
}

// SetSigningKey gives a cluster that has none the key, an RSA one as PEM, that
// signs its service accounts' tokens.
func SetSigningKey(tx *account.Tx, name, key string) {
	if c := tx.Get(TypeCluster, name); c != nil && props.Str(c.Data, "signingKey") == "" {
		c.Data["signingKey"] = key
	}
}

// IssuerKeys are the public keys, as a JSON Web Key Set, of the cluster whose
// tokens are from an issuer; false if there is no such cluster, or if no
// Kubernetes runs behind it.
//
// https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
func IssuerKeys(tx *account.Tx, issuer string) ([]byte, bool) {
	c := tx.Find(TypeCluster, func(c *account.Resource) bool { return props.Str(c.Attrs, "OpenIdConnectIssuerUrl") == issuer })
	if c == nil {
		return nil, false
	}
	block, _ := pem.Decode([]byte(props.Str(c.Data, "signingKey")))
	if block == nil {
		return nil, false
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, false
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, false
	}
	sum := sha256.Sum256(der)
	e := base64.RawURLEncoding
	text, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"use": "sig", "kty": "RSA", "alg": "RS256", "kid": e.EncodeToString(sum[:]),
		"n": e.EncodeToString(key.N.Bytes()), "e": e.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
	return text, err == nil
}

// nodesOf are the nodes of a node group, as long as they can join the cluster.
func nodesOf(tx *account.Tx, g *account.Resource) []Node {
	if joinFailure(tx, g) != nil {
		return nil
	}
	old := map[string]bool{}
	for _, id := range props.Strs(g.Data, "old") {
		old[id] = true
	}
	var out []Node
	for _, i := range instances(tx, g) {
		t, ok := instance.FindType(tx, props.Str(i.Props, "InstanceType"))
		if !ok || i.Status != "running" {
			continue
		}
		n := nodeOf(tx, g, i, t)
		n.Draining = old[i.ID] || g.Status == "DELETING"
		out = append(out, n)
	}
	return out
}

func nodeOf(tx *account.Tx, g, i *account.Resource, t instance.Type) Node {
	arch := "amd64"
	if t.Arch == "arm64" {
		arch = "arm64"
	}
	zone, ami := props.Str(i.Attrs, "AvailabilityZone"), props.Str(g.Data, "amiType")
	n := Node{
		Name: props.Str(i.Attrs, "PrivateDnsName"), ProviderID: "aws:///" + zone + "/" + i.ID, InternalIP: props.Str(i.Attrs, "PrivateIp"),
		Version: props.Str(g.Data, "version"), Image: "Amazon Linux 2023", Architecture: arch,
		// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
		// https://kubernetes.io/docs/reference/labels-annotations-taints/
		Labels: map[string]string{
			"eks.amazonaws.com/nodegroup": nodegroupName(g), "eks.amazonaws.com/capacityType": capacityType(g.Props), "eks.amazonaws.com/nodegroup-image": props.Str(i.Props, "ImageId"),
			"node.kubernetes.io/instance-type": t.Name, "beta.kubernetes.io/instance-type": t.Name,
			"topology.kubernetes.io/zone": zone, "failure-domain.beta.kubernetes.io/zone": zone,
			"topology.kubernetes.io/region": tx.Region(), "failure-domain.beta.kubernetes.io/region": tx.Region(),
			"beta.kubernetes.io/arch": arch, "beta.kubernetes.io/os": "linux",
		},
	}
	if subnet, err := ec2.FindSubnet(tx, props.Str(i.Props, "SubnetId")); err == nil {
		n.Subnet = props.Str(subnet.Attrs, "CidrBlock")
	}
	for _, z := range tx.Zones() {
		if z.Name == zone {
			n.Labels["topology.k8s.aws/zone-id"] = z.ID
		}
	}
	if id := props.Str(g.Data, "template", "id"); id != "" {
		n.Labels["eks.amazonaws.com/sourceLaunchTemplateId"], n.Labels["eks.amazonaws.com/sourceLaunchTemplateVersion"] = id, props.Str(g.Data, "template", "version")
	}
	labels := props.Map(g.Props, "Labels")
	for k := range labels {
		n.Labels[k] = props.Str(labels, k)
	}
	for _, x := range props.Maps(g.Props, "Taints") {
		effect := map[string]string{"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}[props.Str(x, "Effect")]
		n.Taints = append(n.Taints, Taint{props.Str(x, "Key"), props.Str(x, "Value"), effect})
	}
	if strings.HasPrefix(ami, "BOTTLEROCKET") {
		n.Image = "Bottlerocket OS"
	}
	bottlerocket, driver := strings.HasPrefix(ami, "BOTTLEROCKET"), images[ami].accelerator == "gpu"
	if n.Capacity, n.Allocatable = room(t, bottlerocket && driver); driver && !bottlerocket {
		n.GPUs = t.GPUs
	}
	return n
}

// NodeTemplates are the nodes that the node groups of a cluster would have next, by the
// names of their Auto Scaling groups, with the GPUs that a device plugin would tell of.
func NodeTemplates(tx *account.Tx, cluster string) map[string]Node {
	out := map[string]Node{}
	for _, g := range nodegroups(tx, cluster) {
		types, subnets := props.Strs(g.Data, "instanceTypes"), props.Strs(g.Props, "Subnets")
		if len(types) == 0 || len(subnets) == 0 {
			continue
		}
		subnet, err := ec2.FindSubnet(tx, subnets[0])
		t, ok := instance.FindType(tx, types[0])
		if err != nil || !ok {
			continue
		}
		next := &account.Resource{
			Attrs: map[string]any{"AvailabilityZone": ec2.ZoneOf(subnet).Name},
			Props: map[string]any{"SubnetId": subnet.ID, "ImageId": imageOf(tx, props.Str(g.Data, "amiType"), props.Str(g.Data, "version"))},
		}
		n := nodeOf(tx, g, next, t)
		if t.GPUs > 0 {
			n.Allocatable["nvidia.com/gpu"] = strconv.Itoa(t.GPUs)
		}
		out[props.Str(g.Data, "asg")] = n
	}
	return out
}

// NodePrincipal is who a node of a cluster is to AWS: a session of its node
// group's role, that its instance's profile gives it; false if there is no such
// node.
func NodePrincipal(tx *account.Tx, cluster, node string) (wire.Credential, bool) {
	for _, g := range nodegroups(tx, cluster) {
		role := iam.RoleByARN(tx, props.Str(g.Props, "NodeRole"))
		for _, i := range instances(tx, g) {
			if role != nil && i.Status == "running" && props.Str(i.Attrs, "PrivateDnsName") == node {
				return wire.Credential{
					ARN:     tx.GlobalARN("sts", "assumed-role/"+role.ID+"/"+i.ID),
					Session: &account.Session{Operation: "AssumeRole", Entity: props.Str(role.Attrs, "RoleId"), Issued: tx.Now()},
				}, true
			}
		}
	}
	return wire.Credential{}, false
}

// room is what a node of a type has, and what of that pods may use. GPUs are
// there from the start where the image brings NVIDIA's device plugin.
//
// https://docs.aws.amazon.com/eks/latest/userguide/ml-eks-k8s-device-plugin.html
// https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html
// https://awslabs.github.io/amazon-eks-ami/nodeadm/
func room(t instance.Type, plugin bool) (capacity, allocatable map[string]string) {
	most := 110
	if t.VCPUs > 30 {
		most = 250
	}
	pods := min(t.MaxPods(), most)
	// Of the first core 6 %, of the second 1 %, of two more 0.5 % and of others
	// 0.25 % are the system's, in thousandths of a core.
	const first, second, next, others = 600, 100, 50, 25 // ten-thousandths
	reserved := 0
	for core := range t.VCPUs {
		switch {
		case core == 0:
			reserved += first
		case core == 1:
			reserved += second
		case core < 4:
			reserved += next
		default:
			reserved += others
		}
	}
	// Memory is reserved by the pod, and kept from eviction.
	const base, perPod, eviction = 255, 11, 100
	memory := t.MemoryMiB - base - perPod*pods - eviction
	capacity = map[string]string{"cpu": strconv.Itoa(t.VCPUs), "memory": strconv.Itoa(t.MemoryMiB) + "Mi", "pods": strconv.Itoa(pods), "ephemeral-storage": "20Gi"}
	allocatable = map[string]string{"cpu": strconv.Itoa(t.VCPUs*1000-reserved/10) + "m", "memory": strconv.Itoa(memory) + "Mi", "pods": strconv.Itoa(pods), "ephemeral-storage": "18Gi"}
	if plugin && t.GPUs > 0 {
		capacity["nvidia.com/gpu"], allocatable["nvidia.com/gpu"] = strconv.Itoa(t.GPUs), strconv.Itoa(t.GPUs)
	}
	return capacity, allocatable
}

// instanceName is the name of an instance's node.
func instanceName(tx *account.Tx, id string) string {
	if i := tx.Get(instance.TypeInstance, id); i != nil {
		return props.Str(i.Attrs, "PrivateDnsName")
	}
	return ""
}
