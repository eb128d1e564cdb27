package eks

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// eventSupportEnds upgrades a cluster whose version's support is over.
const eventSupportEnds = "eks:support-ends"

// Events are the handlers of this package's events.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){eventSupportEnds: supportEnds}
}

// supportOf is whether a cluster enters extended support: STANDARD or EXTENDED.
func supportOf(p map[string]any) string {
	if s := props.Str(p, "UpgradePolicy", "SupportType"); s != "" {
		return s
	}
	return "EXTENDED"
}

// supportUntil is when EKS upgrades a cluster by itself.
// https://docs.aws.amazon.com/eks/latest/userguide/view-upgrade-policy.html
func supportUntil(r *account.Resource) (time.Time, bool) {
	k, ok := known(props.Str(r.Data, "version"))
	if !ok {
		return time.Time{}, false
	}
	if supportOf(r.Props) == "STANDARD" {
		return day(k.standard), true
	}
	return day(k.extended), true
}

// watchSupport schedules the upgrade at the end of a cluster's support.
func watchSupport(tx *account.Tx, r *account.Resource) {
	if at, ok := supportUntil(r); ok {
		tx.After(max(at.Sub(tx.Now()), 0), account.Event{Calendar: true, Kind: eventSupportEnds, Type: TypeCluster, ID: r.ID})
	}
}

// supportEnds upgrades the control plane by one version; node groups stay.
func supportEnds(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeCluster, e.ID)
	if r == nil || r.Status == "DELETING" {
		return
	}
	at, ok := supportUntil(r)
	if !ok || at.After(tx.Now()) {
		return // upgraded, or with another policy, meanwhile
	}
	next := following(props.Str(r.Data, "version"))
	if next == "" {
		return
	}
	if r.Status != "ACTIVE" {
		tx.After(time.Hour, e)
		return
	}
	r.Status, r.Data["change"], r.Data["becomes"] = "UPDATING", "update-version", next
	begin(tx, r, versionUpdate)
	tx.After(tx.Duration(r, "update"), account.Event{Type: TypeCluster, ID: r.ID, Data: map[string]any{"op": "update"}})
}

// following is the version after another one, or "".
func following(version string) string {
	for i, k := range versions[:len(versions)-1] {
		if k.version == version {
			return versions[i+1].version
		}
	}
	return ""
}

// checkSupport: a cluster that is in extended support can't leave it but by an
// upgrade.
// https://docs.aws.amazon.com/eks/latest/userguide/disable-extended-support.html
func checkSupport(tx *account.Tx, version string, next map[string]any) error {
	k, ok := known(version)
	if ok && supportOf(next) == "STANDARD" && k.support(tx.Now()) == "EXTENDED_SUPPORT" {
		return invalid("Extended support can't be disabled for Kubernetes version %s, which is in extended support", version)
	}
	return nil
}

// rollbackWindow is how long after an upgrade the former version can be taken
// back.
// https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html
const rollbackWindow = 7 * 24 * time.Hour

// reversible is the version that a cluster was upgraded from and can go back
// to, or "".
func reversible(tx *account.Tx, c *account.Resource) string {
	at, ok := props.Get(c.Data, "upgraded", "at").(time.Time)
	if !ok || !tx.Now().Before(at.Add(rollbackWindow)) {
		return ""
	}
	return props.Str(c.Data, "upgraded", "from")
}

// checkRollback lets a control plane go back to the version that it was
// upgraded from, if that is supported and no node is newer.
func checkRollback(tx *account.Tx, c *account.Resource, to string, next map[string]any) error {
	from := props.Str(c.Data, "version")
	k, ok := known(to)
	if !ok || reversible(tx, c) != to || k.support(tx.Now()) == "UNSUPPORTED" {
		return invalid("Unsupported Kubernetes minor version update from %s to %s", from, to)
	}
	if err := checkSupport(tx, to, next); err != nil {
		return err
	}
	for _, n := range nodegroups(tx, c.ID) {
		if minor(props.Str(n.Data, "version")) > minor(to) {
			return invalidRequest("Nodegroups [%s] must be rolled back to version %s before the cluster", nodegroupName(n), to)
		}
	}
	return nil
}
