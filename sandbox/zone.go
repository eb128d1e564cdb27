package sandbox

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/autoscaling"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// LoseZone takes an availability zone away, by name or id, for ever: its
// instances and NAT gateways are gone and nothing starts there; node groups
// that can't replace their nodes are degraded; a Multi-AZ database whose
// primary was there fails over to its standby, any other one there fails. What
// spans zones, such as subnets, load balancers and the control plane of EKS,
// stays as its APIs have it. AWS documents what each service does:
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/zonal-services.html
func (s *Sandbox) LoseZone(zone string) error {
	return s.account.Do(func(tx *account.Tx) error { return loseZone(tx, zone) })
}

func loseZone(tx *account.Tx, zone string) error {
	for _, z := range tx.Zones() {
		if z.Name != zone && z.ID != zone {
			continue
		}
		tx.LoseZone(z.Name)
		instance.ZoneLost(tx, z.Name)
		ec2.ZoneLost(tx, z.Name)
		autoscaling.ZoneLost(tx)
		eks.ZoneLost(tx)
		rds.ZoneLost(tx, z.Name)
		return nil
	}
	return account.Errorf("InvalidParameterValue", "Invalid availability zone: [%s]", zone)
}
