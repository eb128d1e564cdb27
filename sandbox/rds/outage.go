package rds

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// eventFailover ends a failover.
const eventFailover = "rds:failover"

// failoverTime is how long a failover typically takes: 60 to 120 seconds.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZSingleStandby.html
const failoverTime = 90 * time.Second

// ZoneLost fails databases over whose zone is lost; those without a standby in
// another zone fail.
func ZoneLost(tx *account.Tx, zone string) {
	for _, r := range tx.List(TypeInstance) {
		if props.Str(r.Data, "zone") != zone {
			continue
		}
		if standby := props.Str(r.Data, "standby"); standby == "" || tx.Lost(standby) {
			r.Status = "failed"
		} else {
			failOver(tx, r, true)
		}
		r.Attrs["DBInstanceStatus"] = r.Status
	}
}

// failedOver makes the standby the primary; the old zone's is the standby, as
// soon as the zone is back.
func failedOver(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status != "rebooting" {
		return
	}
	r.Data["zone"], r.Data["standby"] = r.Data["standby"], r.Data["zone"]
	r.Status = serving(r)
	r.Attrs["DBInstanceStatus"], r.Attrs["SecondaryAvailabilityZone"] = r.Status, props.Str(r.Data, "standby")
	tell(tx, r, "RDS-EVENT-0049")
}
