package rds

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// What is told of instances that fail, by RDS's ids of events.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html
var messages = map[string]struct{ category, text string }{
	"RDS-EVENT-0004": {"availability", "DB instance shutdown."},
	"RDS-EVENT-0006": {"availability", "DB instance restarted."},
	"RDS-EVENT-0007": {"low storage", "Allocated storage has been exhausted. Allocate additional storage to resolve."},
	"RDS-EVENT-0013": {"failover", "Multi-AZ instance failover started."},
	"RDS-EVENT-0020": {"recovery", "Recovery of the DB instance has started. Recovery time will vary with the amount of data to be recovered."},
	"RDS-EVENT-0021": {"recovery", "Recovery of the DB instance is complete."},
	"RDS-EVENT-0049": {"failover", "Multi-AZ instance failover completed."},
}

// eventsKept is how long events can be described, and eventsMost how many of an
// instance are kept.
const (
	eventsKept = 14 * 24 * time.Hour
	eventsMost = 100
)

// tell notes an event of an instance.
func tell(tx *account.Tx, r *account.Resource, id string) {
	list, _ := r.Data["events"].([]any)
	list = append(slices.Clone(list), map[string]any{"id": id, "at": tx.Now()})
	r.Data["events"] = list[max(0, len(list)-eventsMost):]
}

type eventXML struct {
	SourceIdentifier string
	SourceType       string
	Message          string
	EventCategories  []string `xml:"EventCategories>EventCategory"`
	Date             string
	SourceArn        string
}

// describeEvents lists the events of instances, of the last hour if the request
// says no time.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html
func describeEvents(tx *account.Tx, r *wire.Request) (any, error) {
	source, id := r.String("SourceType"), strings.ToLower(r.String("SourceIdentifier"))
	if id != "" && source == "" {
		return nil, combination("SourceType must be supplied if SourceIdentifier is supplied.")
	}
	from, until, err := span(tx.Now(), r)
	if err != nil {
		return nil, err
	}
	type dated struct {
		at time.Time
		eventXML
	}
	var found []dated
	for _, i := range tx.List(TypeInstance) {
		if source != "" && source != "db-instance" || id != "" && id != i.ID {
			continue
		}
		for _, e := range props.Maps(i.Data, "events") {
			at, _ := e["at"].(time.Time)
			m := messages[props.Str(e, "id")]
			categories := r.Strings("EventCategories")
			if at.Before(from) || at.After(until) || len(categories) > 0 && !slices.Contains(categories, m.category) {
				continue
			}
			found = append(found, dated{at, eventXML{i.ID, "db-instance", m.text, []string{m.category}, iso(at), props.Str(i.Attrs, "DBInstanceArn")}})
		}
	}
	slices.SortStableFunc(found, func(a, b dated) int { return a.at.Compare(b.at) })
	list := make([]eventXML, len(found))
	for n, d := range found {
		list[n] = d.eventXML
	}
	list, next, err := page(r, list)
	return struct {
		Marker string     `xml:",omitempty"`
		Events []eventXML `xml:"Events>Event"`
	}{next, list}, err
}

// span is the time that a request asks for.
func span(now time.Time, r *wire.Request) (from, until time.Time, err error) {
	until = now
	from = now.Add(-time.Hour)
	if d := r.Int("Duration", 0); d > 0 {
		from = now.Add(-time.Duration(d) * time.Minute)
	}
	for _, k := range []struct {
		name string
		to   *time.Time
	}{{"StartTime", &from}, {"EndTime", &until}} {
		text := r.String(k.name)
		if text == "" {
			continue
		}
		if *k.to, err = time.Parse(time.RFC3339, text); err != nil {
			return from, until, value("%s %s is not a time in ISO 8601.", k.name, text)
		}
	}
	if from.Before(now.Add(-eventsKept)) {
		from = now.Add(-eventsKept)
	}
	return from, until, nil
}
