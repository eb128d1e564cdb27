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
)

// deleteFormerCertificates removes certificates that others took the place of
// while the listeners still had them.
func (d *deleting) deleteFormerCertificates(ctx context.Context) error {
	pages := acm.NewListCertificatesPaginator(d.AWS.ACM, inventory.Certificates())
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list certificates: %w", err)
		}
		for _, c := range page.CertificateSummaryList {
			if aws.ToBool(c.InUse) || c.Type != acmtypes.CertificateTypeAmazonIssued {
				continue
			}
			arn := aws.ToString(c.CertificateArn)
			tags, err := d.AWS.ACM.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
			if err := absent(err); err != nil {
				return fmt.Errorf("read the tags of certificate %s: %w", arn, err)
			}
			if tags != nil && slices.ContainsFunc(tags.Tags, func(t acmtypes.Tag) bool {
				return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == d.Architecture.Config.Name
			}) {
				// One that ELB still has is looked for again at the end.
				if err := d.deleteCertificate(ctx, arn, d.keep); err != nil && awsapi.Code(err) != "ResourceInUseException" {
					return err
				}
			}
		}
	}
	return nil
}

// retireCertificate removes the certificate that an update replaced, which no
// listener has any more. ELB may take a while to let go of it; then the next
// delete finds it.
func (r *run) retireCertificate(ctx context.Context, arn string) error {
	err := r.deleteCertificate(ctx, arn, func(k Kept) { r.step(architecture.Certificate, "record %s stays: %s", k.ID, k.Why) })
	if awsapi.Code(err) == "ResourceInUseException" {
		r.step(architecture.Certificate, "certificate %s is still in use; it goes with the deployment", arn)
		return nil
	}
	return err
}

// deleteCertificate removes a certificate and its validation records. Left is told
// of records that stay.
func (r *run) deleteCertificate(ctx context.Context, arn string, left func(Kept)) error {
	if err := r.forgetValidation(ctx, arn, left); err != nil {
		return fmt.Errorf("remove the validation records of certificate %s: %w", arn, err)
	}
	_, err := r.AWS.ACM.DeleteCertificate(ctx, &acm.DeleteCertificateInput{CertificateArn: &arn})
	if err == nil {
		r.step(architecture.Certificate, "deleted certificate %s, which another one took the place of", arn)
	}
	return absent(err)
}

// emptyZone removes from a zone of ours the records that ACM made to validate
// certificates and left behind; nothing else writes there but our stacks.
func (d *deleting) emptyZone(ctx context.Context, zone string) error {
	sets, err := d.recordSets(ctx, zone)
	if err != nil {
		return absent(err)
	}
	sets = slices.DeleteFunc(sets, func(s r53types.ResourceRecordSet) bool {
		return s.Type != r53types.RRTypeCname || len(s.ResourceRecords) != 1 || !strings.HasSuffix(strings.TrimSuffix(aws.ToString(s.ResourceRecords[0].Value), "."), ".acm-validations.aws")
	})
	return d.deleteRecords(ctx, zone, sets)
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
