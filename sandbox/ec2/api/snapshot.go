package api

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// typeSnapshot is the type of snapshots of volumes. They are complete at once.
const typeSnapshot = "ec2:snapshot"

// createSnapshot makes a snapshot of a volume, as the EBS CSI driver does for
// the snapshots of claims.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html
func createSnapshot(tx *account.Tx, r *wire.Request) (any, error) {
	tags, err := tagsFor(r, "TagSpecification", "snapshot")
	if err != nil {
		return nil, err
	}
	v := tx.Get(instance.TypeVolume, r.String("VolumeId"))
	if v == nil {
		return nil, account.Errorf("InvalidVolume.NotFound", "The volume '%s' does not exist.", r.String("VolumeId"))
	}
	s := &account.Resource{
		Type: typeSnapshot, ID: "snap-" + tx.HexID(17), Status: "completed", Owner: r.Caller, Tags: tags,
		Props: map[string]any{
			"VolumeId": v.ID, "Description": r.String("Description"), "Size": props.Int(v.Props, 0, "Size"),
			"Encrypted": props.Bool(v.Props, false, "Encrypted"), "KmsKeyId": props.Str(v.Props, "KmsKeyId"),
		},
		Attrs: map[string]any{}, Data: map[string]any{},
	}
	tx.Put(s)
	return snapshotItem(tx, s), nil
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSnapshot.html
func deleteSnapshot(tx *account.Tx, r *wire.Request) (any, error) {
	s := tx.Get(typeSnapshot, r.String("SnapshotId"))
	if s == nil {
		return nil, account.Errorf("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", r.String("SnapshotId"))
	}
	tx.Drop(typeSnapshot, s.ID)
	return answer, nil
}

func snapshotItem(tx *account.Tx, s *account.Resource) object {
	return optional(object{
		"snapshotId": s.ID, "volumeId": props.Str(s.Props, "VolumeId"), "status": s.Status, "progress": "100%", "startTime": s.Created, "ownerId": tx.AccountID(),
		"volumeSize": props.Int(s.Props, 0, "Size"), "description": props.Str(s.Props, "Description"), "encrypted": props.Bool(s.Props, false, "Encrypted"),
		"storageTier": "standard", "tagSet": tagSet(s.Tags),
	}, "kmsKeyId", props.Str(s.Props, "KmsKeyId"))
}
