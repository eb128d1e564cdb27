package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// letOut opens a way out of a group, by its name in the template without the
// ending.
func letOut(group string, port int32, peer string) func(*wrecker) error {
	return func(w *wrecker) error {
		id := w.group(group)
		_, err := w.aws.EC2.AuthorizeSecurityGroupEgress(w.ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &id, IpPermissions: permission(port, peer)})
		return err
	}
}

// sessionHost changes the store around the session host.
func sessionHost(f func(tx *account.Tx, i *account.Resource) error) func(*wrecker) error {
	return func(w *wrecker) error {
		return w.box.Account().Do(func(tx *account.Tx) error {
			i := tx.Find(instance.TypeInstance, func(r *account.Resource) bool { return r.Tags["Name"] == w.arch.SessionHostName() })
			if i == nil {
				return account.Errorf("NotThere", "no session host")
			}
			return f(tx, i)
		})
	}
}

// data changes the user data of a launch template.
func data(id, old, with string) func(*wrecker) error {
	return template(id, func(d map[string]any) {
		text, _ := d["UserData"].(string)
		script, _ := base64.StdEncoding.DecodeString(text) // what is no base64 is no script, and nothing breaks
		d["UserData"] = base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(string(script), old, with)))
	})
}

// authority adds a certificate that ends after so long to the configuration's.
func authority(left time.Duration) func(*wrecker) error {
	return func(w *wrecker) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Short"}, NotBefore: w.now.Add(-365 * 24 * time.Hour), NotAfter: w.now.Add(left),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, &x509.Certificate{Subject: pkix.Name{CommonName: "Short"}}, &key.PublicKey, key)
		if err != nil {
			return err
		}
		a, c := *w.arch, *w.arch.Config
		a.Config = &c
		c.Trust.CABundle += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		w.arch = &a
		return nil
	}
}

func privateWrecks() []wreck {
	const example = "private-cluster"
	// A bundle that has changed in the file only is not on the nodes.
	const nodes = "nodes-trust-and-proxy"
	unpublish := func(name string) func(*wrecker) error {
		return func(w *wrecker) error {
			_, err := w.aws.SSM.DeleteParameter(w.ctx, &ssm.DeleteParameterInput{Name: aws.String(w.arch.ParameterPath() + "/" + name)})
			return err
		}
	}
	hostGroup := func(w *wrecker) string { return w.ref(typeGroup, "SecurityGroup") }
	return []wreck{
		{check: "cluster-api-sources", also: []string{"groups-name-groups"}, example: example, by: func(w *wrecker) error {
			return w.letIn(w.group("ControlPlane"), 443, "10.99.0.0/16")
		}},
		{check: "cluster-api-sources", name: "of the cluster's group", example: example, by: func(w *wrecker) error {
			c, err := w.cluster()
			if err != nil {
				return err
			}
			return w.letIn(*c.ResourcesVpcConfig.ClusterSecurityGroupId, 443, "10.20.0.0/24")
		}},
		{check: "cluster-api-sources", name: "another group", example: example, by: func(w *wrecker) error {
			return w.letIn(w.group("ControlPlane"), 443, w.group("AlbWeb"))
		}},
		{check: "cluster-api-sources", name: "operators shut out", example: example, by: func(w *wrecker) error {
			return w.shutOut(w.group("ControlPlane"), 443, "10.20.0.0/16")
		}},
		{check: "cluster-api-sources", name: "session host shut out", example: example, by: func(w *wrecker) error {
			return w.shutOut(w.group("ControlPlane"), 443, hostGroup(w))
		}},
		{check: "session-host-safe", name: "ingress", example: example, by: func(w *wrecker) error {
			return w.letIn(hostGroup(w), 22, w.group("AlbWeb"))
		}},
		{check: "session-host-safe", name: "egress", example: example, by: func(w *wrecker) error {
			id := hostGroup(w)
			_, err := w.aws.EC2.AuthorizeSecurityGroupEgress(w.ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &id, IpPermissions: permission(443, "0.0.0.0/0")})
			return err
		}},
		{check: "session-host-safe", name: "metadata", example: example, by: func(w *wrecker) error {
			var id string
			if err := sessionHost(func(_ *account.Tx, i *account.Resource) error { id = i.ID; return nil })(w); err != nil {
				return err
			}
			_, err := w.aws.EC2.ModifyInstanceMetadataOptions(w.ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: &id, HttpTokens: ec2types.HttpTokensStateOptional})
			return err
		}},
		{check: "session-host-safe", name: "gone", example: example, by: sessionHost(func(tx *account.Tx, i *account.Resource) error {
			instance.Remove(tx, i.ID)
			return nil
		})},
		{check: "session-host-safe", name: "volume", example: example, by: sessionHost(func(tx *account.Tx, i *account.Resource) error {
			v := instance.VolumesOf(tx, i.ID)[0]
			v.Props["Encrypted"] = false
			delete(v.Props, "KmsKeyId")
			return nil
		})},
		{check: "roles-attached", name: "session host", example: example, by: func(w *wrecker) error {
			_, err := w.aws.IAM.DetachRolePolicy(w.ctx, &iam.DetachRolePolicyInput{
				RoleName: aws.String(w.arch.RoleName("session-host")), PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"),
			})
			return err
		}},
		{check: "session-host-safe", name: "public address", also: []string{"public-addresses"}, example: example, by: func(w *wrecker) error {
			var id string
			if err := sessionHost(func(_ *account.Tx, i *account.Resource) error { id = i.ID; return nil })(w); err != nil {
				return err
			}
			return w.publish(func(r *account.Resource) bool { return props.Str(r.Data, "attachment", "instance") == id })
		}},
		{check: "proxy-ports-private", example: example, by: letOut("Nodes", 3128, "203.0.113.0/24")},
		{check: "proxy-ports-private", name: "closed", example: example, by: func(w *wrecker) error {
			id := w.group("Nodes")
			_, err := w.aws.EC2.RevokeSecurityGroupEgress(w.ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: aws.String(id), IpPermissions: permission(3128, "10.0.0.0/8")})
			return err
		}},
		{check: nodes, example: example, by: data("CoreLaunchTemplate", "proxy.corp.example.com", "proxy.example.net")},
		{check: nodes, name: "no exceptions", example: example, by: data("CoreLaunchTemplate", "no='", "none='")},
		{check: nodes, name: "an exception more", example: example, by: data("CoreLaunchTemplate", "no='", "no='.example.net,")},
		{check: nodes, name: "no authority", example: example, by: data("CoreLaunchTemplate", "-----BEGIN CERTIFICATE-----", "")},
		{check: "parameters-there", name: "proxy", example: example, by: unpublish("proxy/url")},
		{check: "parameters-there", name: "exceptions from the proxy", example: example, by: unpublish("proxy/no-proxy")},
		{check: "parameters-there", name: "authorities", example: example, by: unpublish("trust/ca-bundle")},
		{check: "parameters-true", name: "proxy", example: example, by: put("proxy/url", "http://proxy.example.net:3128", ssmtypes.ParameterTypeString)},
		{check: "parameters-true", name: "exceptions from the proxy", example: example, by: put("proxy/no-proxy", "localhost", ssmtypes.ParameterTypeString)},
		{check: "parameters-true", name: "authorities", example: example, by: put("trust/ca-bundle", "none", ssmtypes.ParameterTypeString)},
		{check: "trust-not-expired", also: []string{nodes, "parameters-true"}, example: example, by: authority(-time.Hour)},
		{check: "trust-expires-later", also: []string{nodes, "parameters-true"}, example: example, by: authority(29 * 24 * time.Hour)},
	}
}
