package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// deleteFormerCertificates removes certificates of the deployment that others took
// the place of while the listeners still had them.
func (d *deleting) deleteFormerCertificates(ctx context.Context) error {
	pages := acm.NewListCertificatesPaginator(d.AWS.ACM, inventory.Certificates())
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list certificates: %w", err)
		}
		for _, c := range page.CertificateSummaryList {
			if c.Type != acmtypes.CertificateTypeAmazonIssued {
				continue
			}
			arn := aws.ToString(c.CertificateArn)
			ours, err := d.tagged(ctx, arn)
			if err != nil {
				return err
			}
			if !ours {
				continue
			}
			// One that ELB still has is looked for again at the end.
			if _, err := d.deleteFormer(ctx, arn, d.keep); err != nil {
				return err
			}
		}
	}
	return nil
}

// retireCertificate removes the certificate that an update replaced, which no
// listener has any more. ELB may take a while to let go of it; then the next
// delete finds it.
func (r *run) retireCertificate(ctx context.Context, arn string) error {
	user, err := r.deleteFormer(ctx, arn, func(k Kept) { r.step(architecture.Certificate, "record %s stays: %s", k.ID, k.Why) })
	if user != "" {
		r.step(architecture.Certificate, "certificate %s is still in use by %s; it goes with the deployment", arn, user)
	}
	return err
}

// tagged tells that a certificate has the deployment's tag.
func (r *run) tagged(ctx context.Context, arn string) (bool, error) {
	tags, err := r.AWS.ACM.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
	if err := absent(err); err != nil {
		return false, fmt.Errorf("read the tags of certificate %s: %w", arn, err)
	}
	return tags != nil && slices.ContainsFunc(tags.Tags, func(t acmtypes.Tag) bool {
		return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == r.Architecture.Config.Name
	}), nil
}

// deleteFormer removes a certificate and its validation records, unless something
// uses it, by what AWS says at this moment: a stack that is there, or a load
// balancer. Left is told of records that stay.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html
func (r *run) deleteFormer(ctx context.Context, arn string, left func(Kept)) (user string, err error) {
	if user, err = r.userOf(ctx, arn); err != nil || user != "" {
		return user, err
	}
	zone := r.Architecture.Config.DNS.ZoneID
	if err := r.forgetValidation(ctx, zone, arn, left); err != nil {
		return "", fmt.Errorf("remove the validation records of certificate %s: %w", arn, err)
	}
	_, err = r.AWS.ACM.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: &arn})
	if awsapi.Code(err) == "ResourceInUseException" {
		return "something that began to use it a moment ago", nil
	}
	if err == nil {
		r.step(architecture.Certificate, "deleted certificate %s, which another one took the place of", arn)
	}
	return "", absent(err)
}

// userOf is what uses a certificate now; "" is nothing. The resources of every
// stack with the deployment's tag count, also of one that is not its own.
func (r *run) userOf(ctx context.Context, arn string) (string, error) {
	out, err := r.AWS.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &arn})
	if err != nil {
		return "", absent(err)
	}
	if len(out.Certificate.InUseBy) > 0 {
		return out.Certificate.InUseBy[0], nil
	}
	all, err := r.driver.List(ctx)
	if err != nil {
		return "", err
	}
	for _, st := range all {
		if st.Tags[Tag] != r.Architecture.Config.Name {
			continue
		}
		held, err := r.driver.Resources(ctx, st.ID)
		if absent(err) != nil {
			return "", err
		}
		if slices.ContainsFunc(held, func(res stack.Resource) bool { return res.PhysicalID == arn }) {
			return "stack " + st.Name, nil
		}
	}
	return "", nil
}

// emptyZone removes from a zone of ours the records that ACM made to validate
// certificates and left behind; nothing else writes there but our stacks. Those that a
// certificate of somebody else's needs stay, and hold the zone, as his other records do.
func (r *run) emptyZone(ctx context.Context, zone string) error {
	sets, err := r.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	sets = slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool { return !validates(s) })
	if len(sets) == 0 {
		return nil
	}
	records := map[string]string{}
	for _, s := range sets {
		records[strings.TrimSuffix(aws.ToString(s.Name), ".")] = aws.ToString(s.ResourceRecords[0].Value)
	}
	needed, unknown, err := r.neededRecords(ctx, records, r.tagged)
	if err != nil {
		return err
	}
	switch {
	case unknown == nil:
	case awsapi.IsDenied(unknown):
		// Whoever may not look there would never be rid of the zone.
		r.step(architecture.DNS, "records in zone %s that validated certificates go, as no certificate is known to need them: %v", zone, unknown)
	default:
		return fmt.Errorf("look which certificates need records in zone %s: %w; repeat the delete from where ACM answers there, or remove the records by hand", zone, unknown)
	}
	return r.deleteRecords(ctx, zone, slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool {
		return needed[strings.TrimSuffix(aws.ToString(s.Name), ".")] != ""
	}))
}

func (r *run) recordSets(ctx context.Context, zone string) ([]r53types.ResourceRecordSet, error) {
	var all []r53types.ResourceRecordSet
	pages := route53.NewListResourceRecordSetsPaginator(r.AWS.Route53, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.ResourceRecordSets...)
	}
	return all, nil
}

func (r *run) deleteRecords(ctx context.Context, zone string, sets []r53types.ResourceRecordSet) error {
	if len(sets) == 0 {
		return nil
	}
	batch := &r53types.ChangeBatch{}
	for i := range sets {
		batch.Changes = append(batch.Changes, r53types.Change{Action: r53types.ChangeActionDelete, ResourceRecordSet: &sets[i]})
	}
	_, err := r.AWS.Route53.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: batch})
	return err
}
