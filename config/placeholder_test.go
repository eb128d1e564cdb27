package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlaceholders(t *testing.T) {
	c, err := LoadFile("../examples/enterprise-dns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	last := 0
	for _, f := range c.Placeholders() {
		got[f.Path] = true
		if f.Line < last {
			t.Errorf("line %d comes after line %d", f.Line, last)
		}
		last = f.Line
	}
	for _, path := range []string{"access.web.host", "access.api.host", "access.admin.host", "certificate.arn", "access.sso.web.secretArn"} {
		if !got[path] {
			t.Errorf("%s is not listed", path)
		}
	}

	private, err := LoadFile("../examples/private-cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range private.Placeholders() {
		got[f.Path] = true
	}
	for _, path := range []string{"proxy.url", "proxy.noProxy[0]", "trust.caBundle"} {
		if !got[path] {
			t.Errorf("%s is not listed", path)
		}
	}

	own := *c
	own.Access.Web.Host, own.Access.API.Host, own.Access.Admin.Host = "a.corp.net", "b.corp.net", "c.corp.net"
	own.Cluster.PublicAccessCIDRs = []string{"8.8.8.0/24", "203.0.113.7/32"}
	own.Cluster.Administrators = []string{"arn:aws:iam::210987654321:role/x"}
	own.Access.Web.AllowCIDRs, own.Access.Admin.AllowCIDRs = []string{"10.0.0.0/8"}, nil
	own.Access.SSO.Web.SecretARN, own.Access.SSO.Admin.SecretARN, own.Certificate.ARN, own.PermissionBoundary, own.ServiceRole = "", "", "", "", ""
	var paths []string
	for _, f := range own.Placeholders() {
		paths = append(paths, f.Path)
	}
	if diff := cmp.Diff([]string{"cluster.publicAccessCidrs[1]"}, paths); diff != "" {
		t.Errorf("placeholders (-want +got):\n%s", diff)
	}
}

func TestPlaceholdersOfNetworks(t *testing.T) {
	c, err := LoadFile("../examples/existing-network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range c.Placeholders() {
		got[f.Path] = true
	}
	for _, path := range []string{"network.existing.vpcId", "network.existing.controlPlaneSubnetIds[0]", "network.existing.privateSubnetIds[2]"} {
		if !got[path] {
			t.Errorf("%s is not listed", path)
		}
	}
	c.Network.Existing = Existing{VPCID: "vpc-0fedcba9876543210"}
	for _, f := range c.Placeholders() {
		if f.Path == "network.existing.vpcId" {
			t.Errorf("listed: %v", f)
		}
	}
}
