package rds_test

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

func db(id string) bool { return id == "db" }

// fails has the instance fail.
func (w *world) fails(t *testing.T, f func(tx *account.Tx) ([]string, error)) {
	t.Helper()
	w.do(t, func(tx *account.Tx) error {
		ids, err := f(tx)
		if err == nil && !slices.Equal(ids, []string{"db"}) {
			err = fmt.Errorf("it happened to %v", ids)
		}
		return err
	})
}

// served is the instance as who keeps its rows sees it.
func (w *world) served(t *testing.T) (out rds.Server) {
	t.Helper()
	w.do(t, func(tx *account.Tx) error {
		servers, _, _ := rds.Served(tx) // this world's secrets hold nothing
		out = servers[0]
		return nil
	})
	return out
}

// is wants a status, and what stands behind the endpoint.
func (w *world) is(t *testing.T, status, zone string, running, full bool) {
	t.Helper()
	got, _, data := w.state(t)
	s := w.served(t)
	if got != status || data["zone"] != zone || s.Zone != zone || s.Running != running || s.Full != full {
		t.Errorf("%s in %v, served %+v; want %s in %s, running %v, full %v", got, data["zone"], s, status, zone, running, full)
	}
}

// An instance whose server fails is away for a while, recovers by itself and is
// back where it was.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html
func TestCrashRecovers(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	zone := w.served(t).Zone
	w.fails(t, func(tx *account.Tx) ([]string, error) { return rds.Crash(tx, db, 0) })
	w.is(t, "rebooting", zone, false, false)
	if s := w.served(t); s.Starts != 1 || !s.Abruptly {
		t.Errorf("served as %+v", s)
	}
	check(t, w.update(obj{"DBInstanceClass": "db.m7g.xlarge"}), "InvalidDBInstanceState")
	w.do(t, func(tx *account.Tx) error {
		if _, err := rds.Crash(tx, db, 0); err == nil || err.Error() != "no DB instance can: db is rebooting" {
			t.Errorf("a crash in a crash: %v", err)
		}
		if _, err := rds.Crash(tx, func(string) bool { return false }, 0); err == nil {
			t.Error("nothing crashed, and nobody says so")
		}
		return nil
	})
	w.now = w.now.Add(time.Minute)
	w.is(t, "available", zone, true, false)
	w.events(t, obj{}, "DB instance shutdown.", "Recovery of the DB instance has started. Recovery time will vary with the amount of data to be recovered.", "Recovery of the DB instance is complete.", "DB instance restarted.")
	w.events(t, obj{"SourceType": "db-instance", "SourceIdentifier": "db", "EventCategories": []any{"recovery"}, "StartTime": w.now.Format(time.RFC3339)}, "Recovery of the DB instance is complete.")
	w.events(t, obj{"SourceType": "db-snapshot"})
	w.now = w.now.Add(2 * time.Hour)
	w.events(t, obj{})
	_, err := call(t, w, "DescribeEvents", obj{"SourceIdentifier": "db"})
	check(t, err, "InvalidParameterCombination")
	_, err = call(t, w, "DescribeEvents", obj{"EndTime": "yesterday"})
	check(t, err, "InvalidParameterValue")
}

// events wants what RDS tells.
func (w *world) events(t *testing.T, in obj, want ...string) {
	t.Helper()
	out, err := call(t, w, "DescribeEvents", in)
	check(t, err, "")
	var text strings.Builder
	check(t, xml.NewEncoder(&text).EncodeElement(out, xml.StartElement{Name: xml.Name{Local: "Result"}}), "")
	var got []string
	for _, m := range regexp.MustCompile(`<Message>(.*?)</Message>`).FindAllStringSubmatch(text.String(), -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v: RDS tells %q, want %q", in, got, want)
	}
}

// The primary of a Multi-AZ instance fails: the standby takes over in the other
// zone. An instance without one can't.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Failover.html
func TestPrimaryFails(t *testing.T) {
	t.Parallel()
	w := up(t, obj{"MultiAZ": true})
	_, _, data := w.state(t)
	zone, standby := data["zone"].(string), data["standby"].(string)
	w.fails(t, func(tx *account.Tx) ([]string, error) { return rds.FailOver(tx, db) })
	w.is(t, "rebooting", zone, false, false)
	w.now = w.now.Add(2 * time.Minute)
	w.is(t, "available", standby, true, false)

	w = up(t, nil)
	w.do(t, func(tx *account.Tx) error {
		if _, err := rds.FailOver(tx, db); err == nil || !strings.Contains(err.Error(), "it is not Multi-AZ") {
			t.Errorf("a failover without a standby: %v", err)
		}
		return nil
	})
}

// An instance without storage is storage-full, which lasts through a crash and a
// change of something else, and ends when it gets more. It is not backed up
// meanwhile.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Troubleshooting.html#CHAP_Troubleshooting.Storage
func TestStorageFull(t *testing.T) {
	t.Parallel()
	w := up(t, nil)
	zone := w.served(t).Zone
	w.fails(t, func(tx *account.Tx) ([]string, error) { return rds.Fill(tx, db, 0) })
	w.is(t, rds.Full, zone, true, true)
	w.fails(t, func(tx *account.Tx) ([]string, error) { return rds.Crash(tx, db, 0) })
	w.now = w.now.Add(time.Minute)
	w.is(t, rds.Full, zone, true, true)
	check(t, w.update(obj{"DBInstanceClass": "db.m7g.xlarge"}), "")
	w.now = w.now.Add(time.Hour)
	w.is(t, rds.Full, zone, true, true)
	_, _, data := w.state(t)
	check(t, w.update(obj{"AllocatedStorage": fmt.Sprint(2 * data["size"].(int))}), "")
	w.now = w.now.Add(12 * time.Hour)
	w.is(t, "available", zone, true, false)

	// It ends by itself where that is said.
	w.fails(t, func(tx *account.Tx) ([]string, error) { return rds.Fill(tx, db, time.Hour) })
	w.now = w.now.Add(time.Hour)
	w.is(t, "available", zone, true, false)
}
