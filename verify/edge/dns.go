package edge

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// edgeRecords are the records of a host in a zone.
func edgeRecords(l *account.Look, zone, host string) ([]types.ResourceRecordSet, error) {
	return account.Facts[edgeFacts](l).edgeRecordFacts.Get(zone+" "+host, func() ([]types.ResourceRecordSet, error) {
		var out []types.ResourceRecordSet
		pages := route53.NewListResourceRecordSetsPaginator(l.AWS.Route53, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone, StartRecordName: &host})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("read the records of %s: %w", host, err)
			}
			for _, rr := range page.ResourceRecordSets {
				if !account.SameName(aws.ToString(rr.Name), host) {
					return out, nil // names are sorted, this one first
				}
				out = append(out, rr)
			}
		}
		return out, nil
	})
}

func dnsChecks() []check.Check {
	return []check.Check{
		{
			ID: "dns-zone", Proves: "The hosted zone of the deployment's hosts is there.",
			Level: check.Required, Rows: []string{"N3"}, Run: dnsZone,
		},
		{
			ID: "dns-records", Proves: "Each host is an alias of the load balancer that serves it.",
			Level: check.Required, Rows: []string{"N3", "C5"}, Run: dnsRecords,
		},
	}
}

// elsewhere says which records the enterprise's own DNS must have.
func elsewhere(l *account.Look, r *check.Recorder) error {
	var records []string
	err := l.EachBalancer(func(b account.Balancer) error {
		for _, h := range account.SortedKeys(l.PartHosts(b.Part)) {
			records = append(records, h+" CNAME "+aws.ToString(b.DNSName))
		}
		return nil
	})
	r.NA("dns.mode is none: the records are the enterprise's to make: %s", strings.Join(records, "; "))
	return err
}

func dnsZone(l *account.Look, r *check.Recorder) error {
	dns := l.Arch.Config.DNS
	if dns.Mode == config.DNSNone {
		return elsewhere(l, r)
	}
	id, err := l.Zone()
	if err != nil {
		return err
	}
	name, api, fix := "hosted zone of "+dns.Zone, "route53:ListHostedZonesByName", "if the zone is there, give it back its tag "+architecture.DeploymentTag+"; if not, "+check.FixUpdate+"; a new zone has other name servers: delegate it again"
	if dns.Mode == config.DNSExistingZone {
		name, api, fix = "hosted zone "+dns.ZoneID, "route53:GetHostedZone", "Correct dns.zoneId to the zone of your hosts."
	}
	if id == "" {
		r.Missing(name, api, fix)
		return nil
	}
	r.Saw(true, id, name, api, "", "")
	return nil
}

func dnsRecords(l *account.Look, r *check.Recorder) error {
	if l.Arch.Config.DNS.Mode == config.DNSNone {
		return elsewhere(l, r)
	}
	zone, err := l.Zone()
	if err != nil {
		return err
	}
	if zone == "" {
		r.NA("there is no hosted zone: dns-zone says more")
		return nil
	}
	return l.EachBalancer(func(b account.Balancer) error {
		want := aws.ToString(b.DNSName)
		for _, host := range account.SortedKeys(l.PartHosts(b.Part)) {
			list, err := edgeRecords(l, zone, host)
			if err != nil {
				return err
			}
			saw, ok := "no record", false
			for _, rr := range list {
				to := target(rr)
				if to == "" {
					continue
				}
				// The console puts a prefix before the name of an alias.
				here := account.SameName(strings.TrimPrefix(strings.ToLower(to), "dualstack."), want)
				if saw = fmt.Sprintf("%s record to %s", rr.Type, to); !here {
					ok = false
					break
				}
				ok = true
			}
			r.Saw(ok, zone+" "+host, saw, "route53:ListResourceRecordSets", "an alias of "+want,
				"Make the record again: an A record for "+host+" that is an alias of "+want+".")
		}
		return nil
	})
}

// target is where a record leads a client that asks for an address; "" for
// records that clients don't ask for.
func target(rr types.ResourceRecordSet) string {
	switch {
	case rr.AliasTarget != nil:
		return aws.ToString(rr.AliasTarget.DNSName)
	case rr.Type == types.RRTypeA || rr.Type == types.RRTypeAaaa || rr.Type == types.RRTypeCname:
		var out []string
		for _, v := range rr.ResourceRecords {
			out = append(out, aws.ToString(v.Value))
		}
		return strings.Join(out, ", ")
	}
	return ""
}
