package rds

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Full is the status of an instance whose storage is used up: it answers, and
// takes no more rows until storage is added.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
const Full = "storage-full"

// Events of instances that fail.
const (
	eventRecovered = "rds:recovered" // ends the recovery after a crash
	eventSpace     = "rds:space"     // ends the lack of storage
)

// recoveryTime is how long an instance is away after a crash, near what is seen;
// AWS says that it depends on how much there is to recover.
const recoveryTime = time.Minute

// broken are the instances that a pattern of identifiers fits and that may fail
// now.
func broken(tx *account.Tx, fits func(id string) bool, statuses ...string) ([]*account.Resource, error) {
	var out []*account.Resource
	var other []string
	for _, r := range tx.List(TypeInstance) {
		switch {
		case !fits(r.ID):
		case slices.Contains(statuses, r.Status):
			out = append(out, r)
		default:
			other = append(other, r.ID+" is "+r.Status)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(other) > 0:
		return nil, fmt.Errorf("no DB instance can: %s", strings.Join(other, ", "))
	}
	return nil, errors.New("there is no such DB instance")
}

// again has the server behind an instance start again, abruptly if it fails: its
// connections are cut.
func again(r *account.Resource, abruptly bool) {
	r.Data["starts"], r.Data["abruptly"] = props.Int(r.Data, 0, "starts")+1, abruptly
}

// Crash ends the servers of instances, which start again and recover: they are
// away for a time, 0 for a typical one. It says which, or why none.
func Crash(tx *account.Tx, fits func(id string) bool, d time.Duration) (ids []string, err error) {
	list, err := broken(tx, fits, "available", optimizingStatus, Full)
	for _, r := range list {
		again(r, true)
		r.Status = "rebooting"
		r.Attrs["DBInstanceStatus"] = r.Status
		tell(tx, r, "RDS-EVENT-0004")
		tell(tx, r, "RDS-EVENT-0020")
		if d == 0 {
			d = recoveryTime
		}
		tx.After(d, account.Event{Kind: eventRecovered, Type: TypeInstance, ID: r.ID, Data: map[string]any{"starts": r.Data["starts"]}})
		ids = append(ids, r.ID)
	}
	return ids, err
}

// recovered ends the recovery after a crash, unless something else happened.
func recovered(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status != "rebooting" || props.Int(r.Data, 0, "starts") != props.Int(e.Data, 0, "starts") {
		return
	}
	r.Status = serving(r)
	r.Attrs["DBInstanceStatus"] = r.Status
	tell(tx, r, "RDS-EVENT-0021")
	tell(tx, r, "RDS-EVENT-0006")
}

// FailOver has the primaries of instances fail, so that their standbys take over.
// It says which, or why none.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Failover.html
func FailOver(tx *account.Tx, fits func(id string) bool) (ids []string, err error) {
	list, err := broken(tx, fits, "available", optimizingStatus)
	for _, r := range list {
		if props.Str(r.Data, "standby") == "" {
			err = fmt.Errorf("DB instance %s has no standby: it is not Multi-AZ", r.ID)
			continue
		}
		failOver(tx, r, true)
		ids = append(ids, r.ID)
	}
	if len(ids) > 0 {
		return ids, nil
	}
	return nil, err
}

// failOver begins a failover.
func failOver(tx *account.Tx, r *account.Resource, abruptly bool) {
	again(r, abruptly)
	r.Status = "rebooting"
	r.Attrs["DBInstanceStatus"] = r.Status
	tell(tx, r, "RDS-EVENT-0013")
	tx.After(failoverTime, account.Event{Kind: eventFailover, Type: TypeInstance, ID: r.ID})
}

// Fill uses up the storage of instances, for a time or, if that is 0, until they
// get more. It says which, or why none.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Troubleshooting.html#CHAP_Troubleshooting.Storage
func Fill(tx *account.Tx, fits func(id string) bool, d time.Duration) (ids []string, err error) {
	list, err := broken(tx, fits, "available", optimizingStatus)
	for _, r := range list {
		r.Data["full"] = props.Int(r.Data, 0, "size")
		r.Status = Full
		r.Attrs["DBInstanceStatus"] = r.Status
		tell(tx, r, "RDS-EVENT-0007")
		if d > 0 {
			tx.After(d, account.Event{Calendar: true, Kind: eventSpace, Type: TypeInstance, ID: r.ID})
		}
		ids = append(ids, r.ID)
	}
	return ids, err
}

// space ends the lack of storage: somebody removed rows.
func space(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil {
		return
	}
	delete(r.Data, "full")
	if r.Status == Full {
		r.Status = "available"
		r.Attrs["DBInstanceStatus"] = r.Status
	}
}

// serving is the status of an instance that answers: full as long as it has no
// more storage than it had then.
func serving(r *account.Resource) string {
	if full := props.Int(r.Data, 0, "full"); full > 0 && props.Int(r.Data, 0, "size") <= full {
		return Full
	}
	delete(r.Data, "full")
	return "available"
}
