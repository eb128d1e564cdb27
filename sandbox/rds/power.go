package rds

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Events of instances that stop, start and reboot.
const (
	eventPower   = "rds:power"   // ends a transition: Data "from" and "to"
	eventAutorun = "rds:autorun" // starts an instance that was stopped for too long
	eventLost    = "rds:lost"    // ends the time to recover from a lost key
)

const (
	// stopLimit is how long an instance stays stopped.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_StopInstance.html
	stopLimit = 7 * 24 * time.Hour
	// keyLimit is how long an instance without its key can be recovered.
	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.Keys.html
	keyLimit = 7 * 24 * time.Hour
	// What AWS doesn't document, near what is seen.
	stopTime, startTime, rebootTime = 5 * time.Minute, 5 * time.Minute, 2 * time.Minute
)

// The statuses of an instance whose key is not to be had.
const (
	recoverable   = "inaccessible-encryption-credentials-recoverable"
	unrecoverable = "inaccessible-encryption-credentials"
)

// become moves an instance through a status to another one.
func become(tx *account.Tx, r *account.Resource, from, to string, d time.Duration) {
	r.Status = from
	tx.After(d, account.Event{Kind: eventPower, Type: TypeInstance, ID: r.ID, Data: map[string]any{"from": from, "to": to}})
}

// became ends such a move, unless something else happened meanwhile.
func became(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status != props.Str(e.Data, "from") {
		return
	}
	if r.Status = props.Str(e.Data, "to"); r.Status == "available" {
		r.Status = serving(r)
	}
	if r.Status == "stopped" {
		until := tx.Now().Add(stopLimit)
		r.Data["stoppedUntil"] = until
		tx.After(stopLimit, account.Event{Calendar: true, Kind: eventAutorun, Type: TypeInstance, ID: r.ID})
	} else {
		delete(r.Data, "stoppedUntil")
		r.Data["parameters"] = "in-sync"
	}
	r.Attrs["DBInstanceStatus"] = r.Status
}

// autorun starts an instance again that nobody has started.
func autorun(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status != "stopped" {
		return
	}
	if until, ok := r.Data["stoppedUntil"].(time.Time); ok && !until.After(tx.Now()) {
		become(tx, r, "starting", "available", startTime)
	}
}

func stopInstance(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if i.Status != "available" {
		return nil, account.Errorf("InvalidDBInstanceState", "Instance %s is not in available state.", i.ID)
	}
	if id := r.String("DBSnapshotIdentifier"); id != "" {
		if _, err := createSnapshot(tx, r); err != nil {
			return nil, err
		}
	}
	become(tx, i, "stopping", "stopped", stopTime)
	return oneInstance{instanceOut(tx, i)}, nil
}

func startInstance(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if i.Status != "stopped" && i.Status != recoverable {
		return nil, account.Errorf("InvalidDBInstanceState", "Instance %s cannot be started as it is not in one of the following statuses: 'stopped, %s, incompatible-network (only valid for non-SqlServer instances)'.", i.ID, recoverable)
	}
	if !keyThere(tx, i) {
		return nil, account.Errorf("KMSKeyNotAccessibleFault", "The specified KMS key [%s] does not exist, is not enabled or you do not have permissions to access it.", props.Str(i.Data, "key"))
	}
	become(tx, i, "starting", "available", startTime)
	return oneInstance{instanceOut(tx, i)}, nil
}

// rebootInstance restarts an instance, which brings static parameters into
// effect; by a failover if that is asked for.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_RebootInstance.html
func rebootInstance(tx *account.Tx, r *wire.Request) (any, error) {
	i, err := findInstance(tx, r.String("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	force := r.Bool("ForceFailover", false)
	switch {
	case !modifiable(i) || i.Status == Full:
		return nil, account.Errorf("InvalidDBInstanceState", "Instance %s is not in available state.", i.ID)
	case force && props.Str(i.Data, "standby") == "":
		return nil, combination("Cannot specify ForceFailover when the instance is not configured for MultiAZ.")
	case force:
		failOver(tx, i, false)
	default:
		again(i, false)
		become(tx, i, "rebooting", "available", rebootTime)
	}
	return oneInstance{instanceOut(tx, i)}, nil
}

// keyThere tells whether the key of an instance's storage is to be had.
func keyThere(tx *account.Tx, r *account.Resource) bool {
	key := props.Str(r.Data, "key")
	if key == "" {
		return true
	}
	k, err := kms.Lookup(tx, key)
	return err == nil && k.Status == kms.Enabled
}

// keyLost takes instances out of service whose key was disabled or is about to
// be deleted. Without backups there is nothing to recover from.
func keyLost(tx *account.Tx, e account.Event) {
	for _, r := range tx.List(TypeInstance) {
		if props.Str(r.Data, "key") != e.ID || keyThere(tx, r) || r.Status == "deleting" || r.Status == recoverable || r.Status == unrecoverable {
			continue
		}
		r.Status = unrecoverable
		if props.Int(r.Props, 1, "BackupRetentionPeriod") > 0 {
			r.Status = recoverable
			r.Data["lostAt"] = tx.Now()
			tx.After(keyLimit, account.Event{Calendar: true, Kind: eventLost, Type: TypeInstance, ID: r.ID})
		}
		r.Attrs["DBInstanceStatus"] = r.Status
	}
}

// lost ends the time in which an instance without its key could be started.
func lost(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status != recoverable {
		return
	}
	if at, ok := r.Data["lostAt"].(time.Time); ok && !tx.Now().Before(at.Add(keyLimit)) {
		r.Status = unrecoverable
		r.Attrs["DBInstanceStatus"] = r.Status
	}
}
