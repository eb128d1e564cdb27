package route53_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/route53"
)

// Names of hosted zones aren't unique: an account can have several with one name,
// each with name servers of its own.
//
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateHostedZone.html
func TestZoneNamesAreNotUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second, err := w.create(route53.TypeHostedZone, obj{"Name": "example.com"})
	check(t, err, "")
	check(t, w.Do(func(tx *account.Tx) error {
		first := tx.Get(route53.TypeHostedZone, w.zone)
		if cmp.Equal(first.Attrs["NameServers"], second.Attrs["NameServers"]) {
			t.Errorf("both zones have the name servers %v", first.Attrs["NameServers"])
		}
		return nil
	}), "")
}

// A zone with records of others than its own NS and SOA can't be deleted.
//
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_DeleteHostedZone.html
func TestZoneWithRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	remove := func(id string) error {
		return w.Do(func(tx *account.Tx) error {
			_, err := tx.Delete(tx.Get(route53.TypeHostedZone, id), false)
			return err
		})
	}
	check(t, remove(w.zone), "HostedZoneNotEmpty: The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
	check(t, remove(w.other), "")
}

// A zone below another one of the account is found in the public DNS only when
// its parent delegates to its own name servers.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-routing-traffic-for-subdomains.html
func TestParentDelegates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child, err := w.create(route53.TypeHostedZone, obj{"Name": "ai.example.com"})
	check(t, err, "")
	_, err = w.create(route53.TypeRecordSet, obj{"HostedZoneId": child.ID, "Name": "a.ai.example.com", "Type": "A", "TTL": 60, "ResourceRecords": []any{"192.0.2.7"}})
	check(t, err, "")
	delegate := func(servers []string) {
		check(t, w.Do(func(tx *account.Tx) error {
			return route53.Upsert(tx, w.zone, "ai.example.com", "NS", 300, servers, "me")
		}), "")
	}
	resolve := func() (out []string) {
		check(t, w.Do(func(tx *account.Tx) error {
			out = route53.Resolve(tx, "a.ai.example.com", "A")
			return nil
		}), "")
		return out
	}
	if got := resolve(); got != nil {
		t.Errorf("without delegation the name resolves to %v", got)
	}
	delegate([]string{"ns-1.example.net."})
	if got := resolve(); got != nil {
		t.Errorf("delegated elsewhere the name resolves to %v", got)
	}
	servers := props.Strs(child.Attrs, "NameServers")
	delegate([]string{servers[0] + ".", servers[1] + "."})
	if d := cmp.Diff([]string{"192.0.2.7"}, resolve()); d != "" {
		t.Error(d)
	}
}

// Of two zones with one name the public DNS knows the one that it was told of:
// the older one, until a record says otherwise.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/migrate-dns-domain-in-use.html
func TestOneOfTwoZonesAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = w.now.Add(time.Hour)
	second, err := w.create(route53.TypeHostedZone, obj{"Name": "example.com"})
	check(t, err, "")
	_, err = w.create(route53.TypeRecordSet, obj{"HostedZoneId": second.ID, "Name": "www.example.com", "Type": "A", "TTL": 60, "ResourceRecords": []any{"192.0.2.99"}})
	check(t, err, "")
	check(t, w.Do(func(tx *account.Tx) error {
		if d := cmp.Diff([]string{"192.0.2.1"}, route53.Resolve(tx, "www.example.com", "A")); d != "" {
			t.Error(d)
		}
		return nil
	}), "")
}
