package instance

import (
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Reservation is a capacity reservation to be made.
type Reservation struct {
	InstanceType string
	Zone         string // us-east-1a
	Count        int
	// Block makes it a capacity block for machine learning, which instances
	// of the market type capacity-block run in.
	Block bool
	// Match is "open" (any fitting instance) or "targeted"; empty means open.
	Match string
	// Start and End limit a reservation: it is scheduled before, and expired
	// afterwards. Zero means now, and never. A block's instances end with it.
	Start, End time.Time
	Owner      string
	Tags       map[string]string
}

// Reserve makes a capacity reservation, active at once. Errors:
// InvalidParameterValue.
func Reserve(tx *account.Tx, v Reservation) (*account.Resource, error) {
	t, ok := FindType(tx, v.InstanceType)
	if !ok {
		return nil, invalid("Invalid value '%s' for InstanceType.", v.InstanceType)
	}
	var zone account.Zone
	for _, z := range tx.Zones() {
		if z.Name == v.Zone || z.ID == v.Zone {
			zone = z
		}
	}
	if zone.Name == "" {
		return nil, invalid("Invalid availability zone: [%s]", v.Zone)
	}
	if v.Count < 1 {
		return nil, invalid("Value (%d) for parameter instanceCount is invalid. The value must be at least 1.", v.Count)
	}
	if err := checkOffered(tx, t.Name, zone); err != nil {
		return nil, err
	}
	if err := checkRoom(tx, t.Name, zone, v.Count); err != nil {
		return nil, err
	}
	if !v.Block {
		if err := checkVCPUs(tx, t, "", v.Count); err != nil {
			return nil, err
		}
	}
	kind, match := "default", v.Match
	if v.Block {
		kind, match = "capacity-block", "targeted"
	}
	if match == "" {
		match = "open"
	}
	id := "cr-" + tx.HexID(17)
	r := &account.Resource{
		Type: TypeCapacityReservation, ID: id, Status: "active", Owner: v.Owner, Tags: v.Tags,
		Props: map[string]any{
			"InstanceType": t.Name, "AvailabilityZone": zone.Name, "AvailabilityZoneId": zone.ID, "InstanceCount": v.Count,
			"InstanceMatchCriteria": match, "ReservationType": kind, "InstancePlatform": "Linux/UNIX", "Tenancy": "default",
		},
		Attrs: map[string]any{"Id": id, "CapacityReservationArn": tx.ARN("ec2", "capacity-reservation/"+id)},
		Data:  map[string]any{},
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	if v.Start.After(tx.Now()) {
		r.Status, r.Props["StartDate"] = "scheduled", v.Start
		tx.After(v.Start.Sub(tx.Now()), account.Event{Calendar: true, Kind: reservationTurn, ID: id, Data: map[string]any{"status": "active"}})
	}
	if !v.End.IsZero() {
		r.Props["EndDate"] = v.End
	}
	if !v.End.IsZero() && v.Block {
		tx.After(max(v.End.Add(-eviction).Sub(tx.Now()), 0), account.Event{Calendar: true, Kind: reservationTurn, ID: id, Data: map[string]any{"status": "evict"}})
	}
	if !v.End.IsZero() {
		tx.After(max(v.End.Sub(tx.Now()), 0), account.Event{Calendar: true, Kind: reservationTurn, ID: id, Data: map[string]any{"status": "expired"}})
	}
	tx.Put(r)
	return r, nil
}

// Unreserve lets instances run on without their reservation.
func Unreserve(tx *account.Tx, reservation *account.Resource) {
	for _, i := range tx.List(TypeInstance) {
		if props.Str(i.Data, "reservation") == reservation.ID {
			i.Data["reservation"] = ""
		}
	}
}

// eviction is how long before the end of a capacity block its instances are
// terminated.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/capacity-blocks-how.html
const eviction = 30 * time.Minute

const reservationTurn = "ec2:reservation"

// Events are what happens to reservations by themselves.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){reservationTurn: func(tx *account.Tx, e account.Event) {
		r := tx.Get(TypeCapacityReservation, e.ID)
		if r == nil {
			return
		}
		status := props.Str(e.Data, "status")
		if status != "evict" {
			r.Status = status
			if status == "expired" {
				Unreserve(tx, r)
			}
			return
		}
		r.Data["closed"] = true
		for _, i := range tx.List(TypeInstance) {
			if props.Str(i.Data, "reservation") == r.ID {
				Terminate(tx, i.ID)
			}
		}
	}}
}

// FindReservation returns a capacity reservation, or
// InvalidCapacityReservationId.NotFound. Its properties InstanceType,
// AvailabilityZone, AvailabilityZoneId, InstanceCount and ReservationType
// ("default" or "capacity-block") are always set.
func FindReservation(tx *account.Tx, id string) (*account.Resource, error) {
	if r := tx.Get(TypeCapacityReservation, id); r != nil {
		return r, nil
	}
	return nil, account.Errorf("InvalidCapacityReservationId.NotFound", "The capacity reservation ID '%s' does not exist", id)
}

// Available is how many more instances fit into a reservation.
func Available(tx *account.Tx, reservation *account.Resource) int {
	free := props.Int(reservation.Props, 0, "InstanceCount")
	for _, i := range tx.List(TypeInstance) {
		if props.Str(i.Data, "reservation") == reservation.ID {
			free--
		}
	}
	return free
}

// reserve finds the reservation that an instance runs in: the one its template
// targets, else an open one that fits, else none.
func reserve(tx *account.Tx, data map[string]any, t Type, zone string) (string, error) {
	spec := props.Map(data, "CapacityReservationSpecification")
	id := props.Str(spec, "CapacityReservationTarget", "CapacityReservationId")
	if id == "" {
		if props.Str(spec, "CapacityReservationPreference") == "none" || props.Has(data, "InstanceMarketOptions") {
			return "", nil
		}
		for _, r := range tx.List(TypeCapacityReservation) {
			if r.Status == "active" && props.Str(r.Props, "InstanceMatchCriteria") == "open" && props.Str(r.Props, "InstanceType") == t.Name &&
				props.Str(r.Props, "AvailabilityZone") == zone && Available(tx, r) > 0 {
				return r.ID, nil
			}
		}
		if props.Str(spec, "CapacityReservationPreference") == "capacity-reservations-only" {
			return "", account.Errorf("ReservationCapacityExceeded", "The requested reservation does not have sufficient compatible and available capacity for this request.")
		}
		return "", nil
	}
	r, err := FindReservation(tx, id)
	if err != nil {
		return "", err
	}
	block := props.Str(r.Props, "ReservationType") == "capacity-block"
	if block != (props.Str(data, "InstanceMarketOptions", "MarketType") == "capacity-block") {
		return "", invalid("The market type of the instance does not match the type of the capacity reservation %s.", id)
	}
	if props.Str(r.Props, "InstanceType") != t.Name || props.Str(r.Props, "AvailabilityZone") != zone || r.Status != "active" || r.Data["closed"] == true || Available(tx, r) < 1 {
		return "", account.Errorf("ReservationCapacityExceeded", "The requested reservation does not have sufficient compatible and available capacity for this request.")
	}
	return r.ID, nil
}
