package eks

import (
	"fmt"
	"net/netip"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// clusterGroup makes the security group that control plane and nodes share.
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
func clusterGroup(tx *account.Tx, name, vpc string) (string, error) {
	own := map[string]string{"Name": fmt.Sprintf("eks-cluster-sg-%s-%d", name, tx.Now().Unix()), "kubernetes.io/cluster/" + name: "owned", "aws:eks:cluster-name": name}
	g, _, err := tx.Create(ec2.TypeSecurityGroup, map[string]any{
		"GroupName": own["Name"], "VpcId": vpc, "Tags": props.Pairs(own),
		"GroupDescription": "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any managed workloads.",
	}, service, true)
	if err != nil {
		return "", err
	}
	_, _, err = tx.Create(ec2.TypeSecurityGroupIngress, map[string]any{"GroupId": g.ID, "IpProtocol": "-1", "SourceSecurityGroupId": g.ID}, service, true)
	return g.ID, err
}

// dropGroup removes a group that nothing uses. EKS leaves one that is in use.
func dropGroup(tx *account.Tx, id string) error {
	g := tx.Get(ec2.TypeSecurityGroup, id)
	if g == nil {
		return nil
	}
	if _, err := tx.Delete(g, false); err != nil {
		return err
	}
	return tx.Settle(g, "delete")
}

// place puts the control plane's interfaces into the network, one to a zone.
func place(tx *account.Tx, name string, n network, groups []string) error {
	ec2.RemoveInterfaces(tx, interfaces(tx, name))
	for _, z := range n.zones {
		_, err := ec2.AddInterface(tx, ec2.Interface{
			Subnet: n.subnets[z], Groups: groups, Description: "Amazon EKS " + name, Owner: interfaces(tx, name), Requester: service,
			Tags: map[string]string{"kubernetes.io/cluster/" + name: "owned"},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// interfaces is the owner of a cluster's interfaces.
func interfaces(tx *account.Tx, name string) string { return tx.ARN("eks", "cluster/"+name) }

// overlaps tells whether a range meets one of the VPC's.
func overlaps(tx *account.Tx, p netip.Prefix, vpc string) bool {
	v := tx.Get(ec2.TypeVPC, vpc)
	if v == nil {
		return false
	}
	c, err := netip.ParsePrefix(props.Str(v.Attrs, "CidrBlock"))
	return err == nil && c.Overlaps(p)
}
