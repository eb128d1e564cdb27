package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
)

// forgetValidation removes the validation records of our certificate from a zone,
// which may be the customer's, exactly those, unless another certificate of the account may
// need them too: ACM gives the same record to every certificate for a domain, in
// all regions, and renews none whose record is gone. Left is told of those that
// stay.
//
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
// https://docs.aws.amazon.com/acm/latest/userguide/dns-renewal-validation.html
func (r *run) forgetValidation(ctx context.Context, zone, certificate string, left func(Kept)) error {
	if zone == "" {
		return nil
	}
	ours, err := r.validationRecords(ctx, r.AWS.Region, certificate)
	if err != nil {
		return absent(err)
	}
	all, err := r.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	going := slices.DeleteFunc(all, func(s r53types.ResourceRecordSet) bool {
		value, ok := ours[strings.TrimSuffix(aws.ToString(s.Name), ".")]
		return !ok || s.Type != r53types.RRTypeCname || len(s.ResourceRecords) != 1 || strings.TrimSuffix(aws.ToString(s.ResourceRecords[0].Value), ".") != value
	})
	if len(going) == 0 {
		return nil
	}
	needed, unknown, err := r.neededRecords(ctx, ours, func(_ context.Context, arn string) (bool, error) { return arn == certificate, nil })
	if err != nil {
		return err
	}
	why := ""
	if unknown != nil {
		why = unknown.Error()
	}
	return r.deleteRecords(ctx, zone, slices.DeleteFunc(going, func(s r53types.ResourceRecordSet) bool {
		name := strings.TrimSuffix(aws.ToString(s.Name), ".")
		why := cmp.Or(needed[name], why)
		if why != "" {
			left(keptRecord(zone, s, fmt.Sprintf("it is in zone %s, which is yours, and validates other certificates too: %s; delete it if none needs it, for without it ACM does not renew them", zone, why)))
		}
		return why != ""
	}))
}

// keptRecord is a validation record that stays in a zone.
func keptRecord(zone string, s r53types.ResourceRecordSet, why string) Kept {
	return Kept{
		Type: "AWS::Route53::RecordSet", ID: strings.TrimSuffix(aws.ToString(s.Name), "."), Passing: true, Why: why,
		Remove: []string{fmt.Sprintf(`aws route53 change-resource-record-sets --hosted-zone-id %s --change-batch '{"Changes":[{"Action":"DELETE","ResourceRecordSet":%s}]}'`, zone, recordJSON(s))},
	}
}

// noteValidation names validation records of the deployment's hosts in a zone that is
// somebody's, which no certificate is known to need: the creation of a certificate that
// failed leaves them, and so does anybody else's.
func (d *deleting) noteValidation(ctx context.Context) error {
	zone := d.Architecture.Config.DNS.ZoneID
	if zone == "" || !d.Architecture.Has(architecture.Certificate) {
		return nil
	}
	sets, err := d.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	hosts := d.Architecture.Config.Access.Hosts()
	records := map[string]string{}
	sets = slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool {
		name := strings.TrimSuffix(aws.ToString(s.Name), ".")
		_, host, _ := strings.Cut(name, ".")
		if !validates(s) || !slices.Contains(hosts, host) || d.isKept("AWS::Route53::RecordSet", name) {
			return true
		}
		records[name] = aws.ToString(s.ResourceRecords[0].Value)
		return false
	})
	if len(sets) == 0 {
		return nil
	}
	needed, unknown, err := d.neededRecords(ctx, records, nobodys)
	if err != nil {
		return err
	}
	for _, s := range sets {
		name := strings.TrimSuffix(aws.ToString(s.Name), ".")
		if needed[name] != "" {
			continue
		}
		why := "no certificate of this account needs it: one of this deployment's that was not made to its end has left it, or somebody else's"
		if unknown != nil {
			why += "; " + unknown.Error()
		}
		d.keep(keptRecord(zone, s, fmt.Sprintf("it is in zone %s, which is yours, and %s", zone, why)))
	}
	return nil
}

// validates tells that a record is one by which ACM validates a domain.
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
func validates(s r53types.ResourceRecordSet) bool {
	return s.Type == r53types.RRTypeCname && len(s.ResourceRecords) == 1 && strings.HasSuffix(strings.TrimSuffix(aws.ToString(s.ResourceRecords[0].Value), "."), ".acm-validations.aws")
}

// recordJSON is a CNAME record as the AWS CLI takes it.
func recordJSON(s r53types.ResourceRecordSet) string {
	b, _ := json.Marshal(map[string]any{ // of strings and numbers: it can't fail
		"Name": s.Name, "Type": s.Type, "TTL": s.TTL, "ResourceRecords": []any{map[string]any{"Value": s.ResourceRecords[0].Value}},
	})
	return string(b)
}

// neededRecords are those of some validation records that certificates of the account
// need but our own of this region, each with one of these; unknown is where there may be
// others that nobody can tell. Only regions that the account has enabled renew
// certificates.
//
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRegions.html
func (r *run) neededRecords(ctx context.Context, records map[string]string, own ownership) (needed map[string]string, unknown, err error) {
	needed, err = r.neededIn(ctx, r.AWS.Region, records, own)
	if err != nil {
		return nil, nil, fmt.Errorf("look for certificates that need the same records: %w", err)
	}
	untold := func(where string, err error) error {
		// Of what may not be looked at nothing is known; other errors weigh more.
		if unknown == nil || awsapi.IsDenied(unknown) {
			unknown = &untoldError{where, err}
		}
		return context.Cause(ctx)
	}
	regions, err := r.AWS.EC2.DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		err = untold("in other regions", err)
		return needed, unknown, err
	}
	found := make([]map[string]string, len(regions.Regions))
	errs := make([]error, len(regions.Regions))
	var wg sync.WaitGroup
	for i, region := range regions.Regions {
		if name := aws.ToString(region.RegionName); name != r.AWS.Region {
			wg.Go(func() { found[i], errs[i] = r.neededIn(ctx, name, records, nobodys) })
		}
	}
	wg.Wait()
	for _, m := range found {
		maps.Copy(needed, m)
	}
	for i, err := range errs {
		if err != nil {
			if err := untold("in region "+aws.ToString(regions.Regions[i].RegionName), err); err != nil {
				return nil, nil, err
			}
		}
	}
	return needed, unknown, nil
}

// untoldError says where there may be certificates that nobody can tell of.
type untoldError struct {
	where string
	err   error
}

func (e *untoldError) Error() string {
	return fmt.Sprintf("whether there are some %s can't be told (%s)", e.where, awsapi.Message(e.err))
}

func (e *untoldError) Unwrap() error { return e.err }

// ownership tells that a certificate is one of those whose records are to go.
type ownership func(ctx context.Context, arn string) (bool, error)

func nobodys(context.Context, string) (bool, error) { return false, nil }

// neededIn are those of some records that certificates of a region need but our own.
func (r *run) neededIn(ctx context.Context, region string, records map[string]string, own ownership) (map[string]string, error) {
	needed := map[string]string{}
	pages := acm.NewListCertificatesPaginator(r.AWS.ACM, inventory.Certificates())
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, in(region))
		if err != nil {
			return nil, err
		}
		for _, c := range page.CertificateSummaryList {
			arn := aws.ToString(c.CertificateArn)
			if c.Type != acmtypes.CertificateTypeAmazonIssued || !covers(c, records) {
				continue
			}
			mine, err := own(ctx, arn)
			if err != nil {
				return nil, err
			}
			if mine {
				continue
			}
			theirs, err := r.validationRecords(ctx, region, arn)
			if err = absent(err); err != nil {
				return nil, err
			}
			for name := range theirs {
				if _, ok := records[name]; ok {
					needed[name] = arn
				}
			}
		}
	}
	return needed, nil
}

// in has ACM asked in a region.
func in(region string) func(*acm.Options) { return func(o *acm.Options) { o.Region = region } }

// covers tells that a certificate may have a domain that one of the records is
// for: what the list says of it has not room for all names of all certificates.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateSummary.html
func covers(c acmtypes.CertificateSummary, records map[string]string) bool {
	if aws.ToBool(c.HasAdditionalSubjectAlternativeNames) {
		return true
	}
	domains := append(slices.Clone(c.SubjectAlternativeNameSummaries), aws.ToString(c.DomainName))
	for name := range records {
		_, domain, _ := strings.Cut(name, ".")
		if slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(strings.TrimPrefix(d, "*."), domain) }) {
			return true
		}
	}
	return false
}

// validationRecords are a certificate's validation records, value by name.
func (r *run) validationRecords(ctx context.Context, region, certificate string) (map[string]string, error) {
	out, err := r.AWS.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &certificate}, in(region))
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	for _, v := range out.Certificate.DomainValidationOptions {
		if r := v.ResourceRecord; r != nil {
			records[strings.TrimSuffix(aws.ToString(r.Name), ".")] = strings.TrimSuffix(aws.ToString(r.Value), ".")
		}
	}
	return records, nil
}
