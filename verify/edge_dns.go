package verify

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// edgeZone is the id of the hosted zone of the deployment's records: the
// existing one, or ours, which is the public zone of the configured domain that
// has the deployment's tag; "" if it isn't there. An account can have several
// zones of one name.
func (l *look) edgeZone() (string, error) {
	return l.edgeZoneFact.get(func() (string, error) {
		dns := l.arch.Config.DNS
		if dns.Mode == config.DNSExistingZone {
			_, err := l.aws.Route53.GetHostedZone(l.ctx, &route53.GetHostedZoneInput{Id: &dns.ZoneID})
			if awsapi.IsNotFound(err) {
				return "", nil
			}
			if err != nil {
				return "", fmt.Errorf("look up hosted zone %s: %w", dns.ZoneID, err)
			}
			return dns.ZoneID, nil
		}
		in := &route53.ListHostedZonesByNameInput{DNSName: &dns.Zone}
		for {
			page, err := l.aws.Route53.ListHostedZonesByName(l.ctx, in)
			if err != nil {
				return "", fmt.Errorf("look up the hosted zone of %s: %w", dns.Zone, err)
			}
			for _, z := range page.HostedZones {
				if !sameName(aws.ToString(z.Name), dns.Zone) {
					return "", nil // names are sorted
				}
				id := strings.TrimPrefix(aws.ToString(z.Id), "/hostedzone/")
				ours, err := l.zoneIsOurs(id)
				if err != nil || ours {
					return id, err
				}
			}
			if !page.IsTruncated {
				return "", nil
			}
			in = &route53.ListHostedZonesByNameInput{DNSName: page.NextDNSName, HostedZoneId: page.NextHostedZoneId}
		}
	})
}

func (l *look) zoneIsOurs(id string) (bool, error) {
	tags, err := l.aws.Route53.ListTagsForResource(l.ctx, &route53.ListTagsForResourceInput{ResourceType: types.TagResourceTypeHostedzone, ResourceId: &id})
	if err != nil {
		return false, fmt.Errorf("read the tags of hosted zone %s: %w", id, err)
	}
	for _, t := range tags.ResourceTagSet.Tags {
		if aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == l.arch.Name() {
			return true, nil
		}
	}
	return false, nil
}

// sameName compares domain names, of which Route 53 writes the last dot.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// edgeRecords are the records of a host in a zone.
func (l *look) edgeRecords(zone, host string) ([]types.ResourceRecordSet, error) {
	return l.edgeRecordFacts.get(zone+" "+host, func() ([]types.ResourceRecordSet, error) {
		var out []types.ResourceRecordSet
		pages := route53.NewListResourceRecordSetsPaginator(l.aws.Route53, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone, StartRecordName: &host})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("read the records of %s: %w", host, err)
			}
			for _, rr := range page.ResourceRecordSets {
				if !sameName(aws.ToString(rr.Name), host) {
					return out, nil // names are sorted, this one first
				}
				out = append(out, rr)
			}
		}
		return out, nil
	})
}

func dnsChecks() []Check {
	return []Check{
		{
			ID: "dns-zone", Proves: "The hosted zone of the deployment's hosts is there.",
			Level: Required, Rows: []string{"N3"}, run: dnsZone,
		},
		{
			ID: "dns-records", Proves: "Each host is an alias of the load balancer that serves it.",
			Level: Required, Rows: []string{"N3", "C5"}, run: dnsRecords,
		},
	}
}

// elsewhere says which records the enterprise's own DNS must have.
func (l *look) elsewhere(r *result) error {
	var records []string
	err := l.eachBalancer(func(b edgeBalancer) error {
		for _, h := range sortedKeys(l.partHosts(b.Part)) {
			records = append(records, h+" CNAME "+aws.ToString(b.DNSName))
		}
		return nil
	})
	r.na("dns.mode is none: the records are the enterprise's to make: %s", strings.Join(records, "; "))
	return err
}

func dnsZone(l *look, r *result) error {
	dns := l.arch.Config.DNS
	if dns.Mode == config.DNSNone {
		return l.elsewhere(r)
	}
	id, err := l.edgeZone()
	if err != nil {
		return err
	}
	name, api, fix := "hosted zone of "+dns.Zone, "route53:ListHostedZonesByName", "if the zone is there, give it back its tag "+architecture.DeploymentTag+"; if not, "+fixUpdate+"; a new zone has other name servers: delegate it again"
	if dns.Mode == config.DNSExistingZone {
		name, api, fix = "hosted zone "+dns.ZoneID, "route53:GetHostedZone", "Correct dns.zoneId to the zone of your hosts."
	}
	if id == "" {
		r.missing(name, api, fix)
		return nil
	}
	r.saw(true, id, name, api, "", "")
	return nil
}

func dnsRecords(l *look, r *result) error {
	if l.arch.Config.DNS.Mode == config.DNSNone {
		return l.elsewhere(r)
	}
	zone, err := l.edgeZone()
	if err != nil {
		return err
	}
	if zone == "" {
		r.na("there is no hosted zone: dns-zone says more")
		return nil
	}
	return l.eachBalancer(func(b edgeBalancer) error {
		want := aws.ToString(b.DNSName)
		for _, host := range sortedKeys(l.partHosts(b.Part)) {
			list, err := l.edgeRecords(zone, host)
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
				here := sameName(strings.TrimPrefix(strings.ToLower(to), "dualstack."), want)
				if saw = fmt.Sprintf("%s record to %s", rr.Type, to); !here {
					ok = false
					break
				}
				ok = true
			}
			r.saw(ok, zone+" "+host, saw, "route53:ListResourceRecordSets", "an alias of "+want,
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
