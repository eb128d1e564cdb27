package deploy

import (
	"cmp"
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

// disposeKey schedules the deletion of a key that no stack has, if the data is to
// be destroyed and nothing needs it, or notes why it stays and what needs it.
func (d *deleting) disposeKey(ctx context.Context, v *inventory.Inventory, i inventory.Item, destroy bool) error {
	needs, unknown := needed(v)
	by := needs[i.ID]
	switch {
	case !i.Until.IsZero():
		k := pendingKey(i.ID, i.ARN, i.Why, i)
		if len(by) > 0 {
			k.Passing, k.NeededBy = false, by
			k.Why = fmt.Sprintf("the deletion of the key (%s) was asked for, and nobody reads %s any more once it is gone: cancel that", i.Why, few(by))
		}
		d.keep(k)
	case destroy && unknown != nil:
		return unknown
	case destroy:
		d.needs = needs
		return d.releaseKey(ctx, i.ID, i.Why)
	case d.opts.Data == DestroyData: // another delete looks again
	case len(by) > 0:
		return d.keepKey(ctx, i.ID, i.Why, by)
	case unknown != nil:
		d.keep(Kept{Type: i.Type, ID: i.ID, ARN: i.ARN, Monthly: i.Monthly, Remove: []string{destroyAll}, Why: fmt.Sprintf("the data is to be kept; of the key (%s), %v", i.Why, unknown)})
	default:
		d.keepItem(i)
	}
	return nil
}

// destroyAll is the command that takes away what may go, and schedules keys only
// that nothing needs.
const destroyAll = "poolhouse delete FILE --data " + string(DestroyData)

// few names three of a list, and how many more there are.
func few(all []string) string {
	if len(all) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}

// keepKey notes a key that stays, because something is encrypted under it. No
// command is told that would schedule its deletion all the same.
func (d *deleting) keepKey(ctx context.Context, id, what string, by []string) error {
	got, err := d.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return absent(err)
	}
	d.keep(Kept{
		Type: "AWS::KMS::Key", ID: id, ARN: aws.ToString(got.KeyMetadata.Arn), NeededBy: by,
		Why:     fmt.Sprintf("the key (%s) is needed to read %s, and may go only after them; a delete takes it away once they are gone", what, few(by)),
		Monthly: inventory.Monthly("AWS::KMS::Key", string(got.KeyMetadata.KeyState)),
		Remove:  []string{destroyAll},
	})
	return nil
}

// freed tells that a key was kept because of something that has gone since, in
// the same run.
func (d *deleting) freed(v *inventory.Inventory, i inventory.Item) bool {
	if !isKey(i) || !i.Until.IsZero() {
		return false
	}
	d.mu.Lock()
	was := slices.ContainsFunc(d.kept, func(k Kept) bool { return k.Type == i.Type && k.ID == i.ID && len(k.NeededBy) > 0 })
	d.mu.Unlock()
	needs, err := needed(v)
	return was && err == nil && len(needs[i.ID]) == 0
}

// noteKey lists a key whose deletion is scheduled among what stays, by its
// description, which outlives its stack, or else as what it was in that.
func (d *deleting) noteKey(ctx context.Context, id, what string) error {
	got, err := d.AWS.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return absent(err)
	}
	m := got.KeyMetadata
	d.keep(pendingKey(id, aws.ToString(m.Arn), cmp.Or(aws.ToString(m.Description), what), inventory.Item{Type: "AWS::KMS::Key", State: string(m.KeyState), Until: aws.ToTime(m.DeletionDate)}))
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
