package eks

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Caller is where a connection to a Kubernetes API comes from: the internet, a
// network that is connected to the VPC, or an instance in it.
type Caller struct {
	Internet  netip.Addr
	Connected netip.Addr
	Instance  string
}

// APIServer is the cluster whose Kubernetes API has an address, host:port; nil
// if there is none.
func APIServer(tx *account.Tx, address string) *account.Resource {
	return tx.Find(TypeCluster, func(c *account.Resource) bool {
		u, err := url.Parse(props.Str(c.Attrs, "Endpoint"))
		if err != nil || c.Status == "CREATING" {
			return false
		}
		port := u.Port()
		if port == "" {
			port = "443"
		}
		return net.JoinHostPort(u.Hostname(), port) == address
	})
}

// Admits tells whether packets of a caller get to a cluster's API: over the
// internet to the public endpoint, if its list has the address; otherwise to
// the private one, if a security group lets the address or one of the
// instance's groups in.
// https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
func Admits(tx *account.Tx, c *account.Resource, from Caller) bool {
	config := props.Map(c.Props, "ResourcesVpcConfig")
	if from.Internet.IsValid() {
		if !props.Bool(config, true, "EndpointPublicAccess") {
			return false
		}
		cidrs := props.Strs(config, "PublicAccessCidrs")
		return len(cidrs) == 0 || slices.ContainsFunc(cidrs, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Contains(from.Internet)
		})
	}
	if !props.Bool(config, false, "EndpointPrivateAccess") {
		return false
	}
	groups := append([]string{props.Str(c.Attrs, "ClusterSecurityGroupId")}, props.Strs(config, "SecurityGroupIds")...)
	if from.Connected.IsValid() {
		return ec2.Any443(tx, groups, ec2.TypeSecurityGroupIngress, nil, netip.PrefixFrom(from.Connected, from.Connected.BitLen()))
	}
	var own []string
	for _, face := range ec2.InterfacesOf(tx, from.Instance) {
		own = append(own, ec2.InterfaceGroups(face)...)
	}
	i := tx.Get(ec2.TypeInstance, from.Instance)
	if i == nil {
		return false
	}
	address, err := netip.ParseAddr(props.Str(i.Attrs, "PrivateIp"))
	return err == nil && endpoint.Admits(tx, groups, own, netip.PrefixFrom(address, address.BitLen()))
}

// Version is the Kubernetes version of a cluster's control plane.
func Version(c *account.Resource) string { return props.Str(c.Data, "version") }

// signer is the key of a cluster's authority and its certificate. It hangs on
// the endpoint's id, so that whoever serves the API has the same.
func signer(tx *account.Tx, id string) (ed25519.PrivateKey, *x509.Certificate) {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:]), &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(seed[:8]),
		Subject:      pkix.Name{CommonName: "kubernetes"},
		// A year back: the clocks of clients may be behind the sandbox's.
		NotBefore: tx.Now().AddDate(-1, 0, 0), NotAfter: tx.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"kubernetes"},
	}
}

// authority is the cluster's certificate authority: PEM in base64.
func authority(tx *account.Tx, id string) (string, error) {
	key, cert := signer(tx, id)
	der, err := x509.CreateCertificate(nil, cert, cert, key.Public(), key)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// Certificate is what a cluster's API server shows for the host of its
// endpoint, signed by the authority that DescribeCluster names.
func Certificate(tx *account.Tx, c *account.Resource) (tls.Certificate, error) {
	issuer := props.Str(c.Attrs, "OpenIdConnectIssuerUrl")
	key, ca := signer(tx, issuer[strings.LastIndex(issuer, "/")+1:])
	u, err := url.Parse(props.Str(c.Attrs, "Endpoint"))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read endpoint of cluster %s: %w", c.ID, err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}
	if services, err := netip.ParsePrefix(props.Str(c.Attrs, "KubernetesNetworkConfig.ServiceIpv4Cidr")); err == nil {
		// The first address is the API's own service.
		leaf.IPAddresses = append(leaf.IPAddresses, services.Masked().Addr().Next().AsSlice())
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		leaf.IPAddresses = append(leaf.IPAddresses, ip)
	} else {
		leaf.DNSNames = append(leaf.DNSNames, u.Hostname())
	}
	der, err := x509.CreateCertificate(nil, leaf, ca, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate of cluster %s: %w", c.ID, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Endpoints are where the APIs of the clusters answer, as host and port, by the
// cluster's name.
func Endpoints(tx *account.Tx) map[string]string {
	out := map[string]string{}
	for _, c := range tx.List(TypeCluster) {
		if u, err := url.Parse(props.Str(c.Attrs, "Endpoint")); err == nil {
			out[c.ID] = u.Host
		}
	}
	return out
}
