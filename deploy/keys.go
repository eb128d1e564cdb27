package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
)

// keyWindow is the shortest time, in days, that KMS keeps a key whose deletion
// was scheduled. See
// https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
const keyWindow = 7

// needs is what can't be read without a key, by the key's id.
type needs map[string][]string

// needed finds out which keys are still needed. All that is encrypted under a
// key of the deployment's counts, but what is deleted for good and only can be
// restored. What can't be looked at might need any key.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
func needed(v *inventory.Inventory) (needs, error) {
	n := needs{}
	for _, i := range v.Items {
		if i.Key == "" || i.State == "PendingDeletion" {
			continue
		}
		key := i.Key[strings.LastIndex(i.Key, "/")+1:]
		n[key] = append(n[key], i.Type+" "+i.ID)
	}
	for _, u := range v.Unknown {
		if slices.Contains(inventory.Encrypted, u.What) {
			return nil, fmt.Errorf("no key is scheduled for deletion, because it can't be told what needs it: read %s: %s", u.What, u.Reason)
		}
	}
	return n, nil
}

// releaseKey schedules a key's deletion, unless something that stays needs it.
func (d *deleting) releaseKey(ctx context.Context, id, what string) error {
	if d.needs == nil {
		v, err := inventory.Read(ctx, d.AWS, d.Architecture)
		if err != nil {
			return err
		}
		if d.needs, err = needed(v); err != nil {
			return err
		}
	}
	if by := d.needs[id]; len(by) > 0 {
		return d.keepKey(ctx, id, what, by)
	}
	_, err := d.AWS.KMS.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(keyWindow)})
	if err != nil && awsapi.Code(err) != "KMSInvalidStateException" { // it is scheduled already
		return absent(err)
	}
	return d.noteKey(ctx, id, what)
}

// keepKey notes a key that stays, because something is encrypted under it.
func (d *deleting) keepKey(ctx context.Context, id, what string, by []string) error {
	got, err := d.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return absent(err)
	}
	more := ""
	if len(by) > 3 {
		more = fmt.Sprintf(" and %d more", len(by)-3)
		by = by[:3]
	}
	d.keep(Kept{
		Type: "AWS::KMS::Key", ID: id, ARN: aws.ToString(got.KeyMetadata.Arn),
		Why:     fmt.Sprintf("the key (%s) is needed to read %s%s; another delete takes it away when these are gone", what, strings.Join(by, ", "), more),
		Monthly: inventory.Monthly("AWS::KMS::Key", string(got.KeyMetadata.KeyState)),
		Remove:  []string{fmt.Sprintf("aws kms schedule-key-deletion --key-id %s --pending-window-in-days %d", id, keyWindow)},
	})
	return nil
}

// noteKey lists a key whose deletion is scheduled among what stays.
func (d *deleting) noteKey(ctx context.Context, id, what string) error {
	got, err := d.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return absent(err)
	}
	m := got.KeyMetadata
	d.keep(pendingKey(id, aws.ToString(m.Arn), what, inventory.Item{Type: "AWS::KMS::Key", State: string(m.KeyState), Until: aws.ToTime(m.DeletionDate)}))
	return nil
}

// pendingKey is a key whose deletion is scheduled.
func pendingKey(id, arn, what string, i inventory.Item) Kept {
	return Kept{
		Type: "AWS::KMS::Key", ID: id, ARN: arn, Until: i.Until, Passing: true, Monthly: inventory.Monthly(i.Type, i.State),
		Why:     fmt.Sprintf("KMS keeps a key (%s) for some days after its deletion was asked for; it costs nothing meanwhile", what),
		Restore: []string{"aws kms cancel-key-deletion --key-id " + id, "aws kms enable-key --key-id " + id},
	}
}
