package rds

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// The windows of instances that name none.
const (
	defaultBackupWindow      = "03:26-03:56"
	defaultMaintenanceWindow = "sun:08:13-sun:08:43"
)

// eventMaintenance begins a maintenance window that has something to do.
const eventMaintenance = "rds:maintenance"

// deferrable are the properties whose changes wait for the maintenance window
// unless they are to be applied immediately.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.Settings.html
var deferrable = []string{
	"AllocatedStorage", "CACertificateIdentifier", "DBInstanceClass", "EnableIAMDatabaseAuthentication", "EngineVersion", "Iops", "MultiAZ", "StorageThroughput", "StorageType",
}

// storageProperties are those whose change RDS optimizes the storage for.
var storageProperties = []string{"AllocatedStorage", "StorageType", "Iops", "StorageThroughput"}

// hold keeps back those of the changed properties that wait for the
// maintenance window. What the instance has of them meanwhile is in
// Data["held"], nil for nothing; what they bring in Data["coming"].
func hold(tx *account.Tx, r *account.Resource, next map[string]any, changed []string, version string, size int) (rest []string) {
	held, _ := account.Copy(props.Map(r.Data, "held")).(map[string]any)
	if held == nil {
		held = map[string]any{}
	}
	for _, k := range changed {
		if !slices.Contains(deferrable, k) {
			rest = append(rest, k)
			continue
		}
		if _, ok := held[k]; !ok {
			held[k] = r.Props[k]
		}
		if props.Same(held[k], next[k]) {
			delete(held, k) // the change is withdrawn
		}
	}
	if len(held) == 0 {
		release(r)
		return rest
	}
	r.Data["held"], r.Data["coming"] = held, map[string]any{"version": version, "size": size}
	if !props.Has(r.Data, "maintenance") {
		at := begins(tx.Now(), cmp.Or(props.Str(next, "PreferredMaintenanceWindow"), defaultMaintenanceWindow), true)
		r.Data["maintenance"] = at
		tx.After(at.Sub(tx.Now()), account.Event{Calendar: true, Kind: eventMaintenance, Type: TypeInstance, ID: r.ID})
	}
	return rest
}

// release forgets what was held back.
func release(r *account.Resource) {
	delete(r.Data, "held")
	delete(r.Data, "coming")
	delete(r.Data, "maintenance")
}

// effective are the properties that an instance has now, without those that
// wait for the maintenance window.
func effective(r *account.Resource) map[string]any {
	held := props.Map(r.Data, "held")
	if held == nil {
		return r.Props
	}
	now := maps.Clone(r.Props)
	for k, v := range held {
		if v == nil {
			delete(now, k)
		} else {
			now[k] = v
		}
	}
	return now
}

// maintain applies what was held back, or waits for the next window if the
// instance isn't there to be changed.
func maintain(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil {
		return
	}
	if at, ok := r.Data["maintenance"].(time.Time); !ok || !at.Equal(tx.Now()) {
		return // withdrawn, or applied meanwhile
	}
	if !modifiable(r) {
		at := begins(tx.Now(), cmp.Or(props.Str(r.Props, "PreferredMaintenanceWindow"), defaultMaintenanceWindow), true)
		r.Data["maintenance"] = at
		tx.After(at.Sub(tx.Now()), e)
		return
	}
	held, coming := props.Map(r.Data, "held"), props.Map(r.Data, "coming")
	r.Data["version"], r.Data["size"] = coming["version"], coming["size"]
	for _, k := range storageProperties {
		if _, ok := held[k]; ok {
			r.Data["storageChanged"], r.Data["optimize"] = tx.Now(), true
		}
	}
	release(r)
	r.Status, r.Data["change"] = "modifying", "modify"
	tx.After(tx.Duration(r, "update"), account.Event{Type: TypeInstance, ID: r.ID, Data: map[string]any{"op": "update"}})
}

// modifiable tells whether an instance takes changes. One that is full does, so
// that it can get more storage.
func modifiable(r *account.Resource) bool {
	return r.Status == "available" || r.Status == optimizingStatus || r.Status == Full
}

// begins is when a window, which was checked, begins next after a time.
func begins(after time.Time, text string, weekly bool) time.Time {
	w, err := readWindow(text, weekly)
	if err != nil {
		return after.Add(24 * time.Hour)
	}
	after = after.UTC()
	midnight := time.Date(after.Year(), after.Month(), after.Day(), 0, 0, 0, 0, time.UTC)
	cycle := 24 * time.Hour
	if weekly {
		// time.Sunday is 0; windows begin on Mondays.
		midnight = midnight.AddDate(0, 0, -(int(after.Weekday())+6)%7)
		cycle *= 7
	}
	at := midnight.Add(time.Duration(w.start) * time.Minute)
	for !at.After(after) {
		at = at.Add(cycle)
	}
	return at
}

// eventBackup begins the daily backup.
const eventBackup = "rds:backup"

// backUpNext schedules the next daily backup.
func backUpNext(tx *account.Tx, r *account.Resource) {
	at := begins(tx.Now(), cmp.Or(props.Str(r.Props, "PreferredBackupWindow"), defaultBackupWindow), false)
	r.Data["backupAt"] = at
	tx.After(at.Sub(tx.Now()), account.Event{Calendar: true, Kind: eventBackup, Type: TypeInstance, ID: r.ID})
}

// backUp takes the daily backup and lets go what the retention is over for. An
// instance that is not up is backed up on the next day.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html
func backUp(tx *account.Tx, e account.Event) {
	r := tx.Get(TypeInstance, e.ID)
	if r == nil || r.Status == "deleting" {
		return
	}
	if at, ok := r.Data["backupAt"].(time.Time); !ok || !at.Equal(tx.Now()) {
		return // of another window
	}
	days := props.Int(r.Props, 1, "BackupRetentionPeriod")
	if days == 0 {
		delete(r.Data, "backupAt")
		return
	}
	if !modifiable(r) || r.Status == Full {
		// A stopped instance keeps what it has, for longer than it says.
		backUpNext(tx, r)
		return
	}
	if err := automatedSnapshot(tx, r); err != nil {
		r.Data["failure"] = err.Error()
	}
	for _, s := range tx.List(TypeSnapshot) {
		if s.Data["kind"] == "automated" && s.Data["resource"] == r.Attrs["DbiResourceId"] && !s.Created.After(tx.Now().AddDate(0, 0, -days)) {
			tx.Drop(TypeSnapshot, s.ID)
		}
	}
	backUpNext(tx, r)
}
