package account

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

// Zone is the id of the hosted zone of the deployment's records: the
// existing one, or ours, which is the public zone of the configured domain that
// has the deployment's tag; "" if it isn't there. An account can have several
// zones of one name.
func (l *Look) Zone() (string, error) {
	return l.edgeZoneFact.Get(func() (string, error) {
		dns := l.Arch.Config.DNS
		if dns.Mode == config.DNSExistingZone {
			_, err := l.AWS.Route53.GetHostedZone(l.Ctx, &route53.GetHostedZoneInput{Id: &dns.ZoneID})
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
			page, err := l.AWS.Route53.ListHostedZonesByName(l.Ctx, in)
			if err != nil {
				return "", fmt.Errorf("look up the hosted zone of %s: %w", dns.Zone, err)
			}
			for _, z := range page.HostedZones {
				if !SameName(aws.ToString(z.Name), dns.Zone) {
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

func (l *Look) zoneIsOurs(id string) (bool, error) {
	tags, err := l.AWS.Route53.ListTagsForResource(l.Ctx, &route53.ListTagsForResourceInput{ResourceType: types.TagResourceTypeHostedzone, ResourceId: &id})
	if err != nil {
		return false, fmt.Errorf("read the tags of hosted zone %s: %w", id, err)
	}
	for _, t := range tags.ResourceTagSet.Tags {
		if aws.ToString(t.Key) == architecture.DeploymentTag && aws.ToString(t.Value) == l.Arch.Name() {
			return true, nil
		}
	}
	return false, nil
}

// SameName compares domain names, of which Route 53 writes the last dot.
func SameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
