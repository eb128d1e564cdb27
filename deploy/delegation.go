package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// Resolver asks the DNS for the name servers of a domain.
type Resolver interface {
	LookupNS(ctx context.Context, name string) ([]*net.NS, error)
}

var _ Resolver = (*net.Resolver)(nil)

// Record is a DNS record that somebody has to make.
type Record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

func (r Record) String() string { return r.Name + " " + r.Type + " " + r.Value }

// unproved is how long a certificate may wait for its validation until the
// records that it waits for are told. Where the domain leads to the zone,
// CloudFormation's record is found within minutes.
const unproved = 3 * time.Minute

// compareDelegation tells, before a certificate is requested, whether the domain
// leads to the name servers of the zone that the deployment made. It decides
// nothing: the record may be added elsewhere too, and a delegation may come while
// the certificate waits. Of a certificate that is there, which is renewed by the
// same record, only a mismatch is told.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-routing-traffic-for-subdomains.html
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
func (a *applying) compareDelegation(ctx context.Context) {
	servers := list(a.output(architecture.DNS, "NameServers"))
	if _, ours := a.stacks[architecture.DNS]; !ours || len(servers) == 0 {
		return
	}
	st := a.state(architecture.Certificate)
	issued := st.Exists() && stack.ConditionOf(st.Status) == stack.Whole
	zone := a.Architecture.Config.DNS.Zone
	if a.DNS == nil {
		if !issued {
			a.step(architecture.Certificate, "whether %s leads to its zone is not asked: there is no public DNS here", zone)
		}
		return
	}
	// The last dot keeps search domains out.
	found, err := a.DNS.LookupNS(ctx, zone+".")
	var none *net.DNSError
	if errors.As(err, &none) && none.IsNotFound {
		found, err = nil, nil
	}
	var public []string
	for _, ns := range found {
		public = append(public, ns.Host)
	}
	public, servers = hosts(public), hosts(servers)
	switch {
	case err != nil && !issued:
		a.step(architecture.Certificate, "whether %s leads to its zone is not known: %v", zone, err)
	case err != nil:
	case slices.Equal(public, servers):
		if !issued {
			a.step(architecture.Certificate, "%s leads to its zone", zone)
		}
	case len(public) == 0:
		a.step(architecture.Certificate, "nobody delegates %s yet, and its certificate is not validated before: have the parent domain name %s", zone, strings.Join(servers, ", "))
	default:
		a.step(architecture.Certificate, "%s leads to %s, which is not its zone, and its certificate is not validated before it does: have the parent domain name %s instead", zone, strings.Join(public, ", "), strings.Join(servers, ", "))
	}
}

// hosts are names of hosts in one form and order.
func hosts(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.TrimSuffix(strings.ToLower(n), "."))
	}
	slices.Sort(out)
	return out
}

// validation is what keeps the certificate, in words: the records that it waits
// for.
func (r *run) validation(ctx context.Context) ([]string, error) {
	records, err := r.unvalidated(ctx)
	var lines []string
	for _, rec := range records {
		lines = append(lines, fmt.Sprintf("the certificate waits for this record in the public DNS; where the domain does not lead to the zone, add it at its provider: %s", rec))
	}
	return lines, err
}

// unvalidated are the records that certificates of the deployment have been
// waiting for longer than they should, in ACM's words. It only reads.
//
// https://docs.aws.amazon.com/acm/latest/APIReference/API_DescribeCertificate.html
func (r *run) unvalidated(ctx context.Context) ([]Record, error) {
	var records []Record
	pending := inventory.Certificates()
	pending.CertificateStatuses = []acmtypes.CertificateStatus{acmtypes.CertificateStatusPendingValidation}
	pages := acm.NewListCertificatesPaginator(r.AWS.ACM, pending)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list certificates: %w", err)
		}
		for _, c := range page.CertificateSummaryList {
			if ours, err := r.tagged(ctx, aws.ToString(c.CertificateArn)); err != nil {
				return nil, err
			} else if !ours {
				continue
			}
			out, err := r.AWS.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: c.CertificateArn})
			if err := absent(err); err != nil {
				return nil, fmt.Errorf("describe certificate %s: %w", aws.ToString(c.CertificateArn), err)
			}
			if out == nil || r.AWS.Clock.Now().Sub(aws.ToTime(out.Certificate.CreatedAt)) < unproved {
				continue
			}
			for _, v := range out.Certificate.DomainValidationOptions {
				// Domains may share a record, and ACM takes a moment to know it.
				if v.ResourceRecord == nil || v.ValidationStatus != acmtypes.DomainStatusPendingValidation {
					continue
				}
				rec := Record{Name: aws.ToString(v.ResourceRecord.Name), Type: string(v.ResourceRecord.Type), Value: aws.ToString(v.ResourceRecord.Value)}
				if !slices.Contains(records, rec) {
					records = append(records, rec)
				}
			}
		}
	}
	return records, nil
}
