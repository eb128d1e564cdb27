package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// driver is the EBS CSI driver, and what its provisioner puts on what it makes.
const (
	driver      = "ebs.csi.aws.com"
	provisioned = "external-provisioner.volume.kubernetes.io/finalizer"
	claimPath   = "/api/v1/persistentvolumeclaims"
	volumePath  = "/api/v1/persistentvolumes"
)

// provision makes volumes for claims that wait for the driver: those for which the
// scheduler has chosen a node, or whose class doesn't wait for one.
// https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
func (o Options) provision(ctx context.Context) error {
	list, err := o.list(ctx, claimPath)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list {
		c := &list[i]
		node := c.Metadata.Annotations["volume.kubernetes.io/selected-node"]
		if c.Spec.VolumeName != "" || c.going() || c.Metadata.Annotations["volume.kubernetes.io/storage-provisioner"] != driver {
			continue
		}
		errs = append(errs, o.volumeFor(ctx, c, node))
	}
	return errors.Join(errs...)
}

// volumeFor makes the volume of a claim, in the zone of a node; "" is none, and then
// the volume is in that of any node, unless its class waits for one.
func (o Options) volumeFor(ctx context.Context, c *object, node string) error {
	var class object
	if err := o.ask(ctx, http.MethodGet, "/apis/storage.k8s.io/v1/storageclasses/"+c.Spec.StorageClassName, "", nil, &class); err != nil {
		return err
	}
	if node == "" && class.VolumeBindingMode == "WaitForFirstConsumer" {
		return nil
	}
	gib, ok := gibibytes(c.Spec.Resources.Requests.Storage)
	if !ok {
		return fmt.Errorf("the claim %s/%s asks for %q; sizes other than whole Gi are not modelled", c.Metadata.Namespace, c.Metadata.Name, c.Spec.Resources.Requests.Storage)
	}
	name := "pvc-" + c.Metadata.UID
	tags := volumeTags(o.Cluster, name, c.Metadata.Namespace, c.Metadata.Name)
	for k, v := range class.Parameters {
		if key, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(k, "tagSpecification_") {
			tags[key] = value
		}
	}
	id, zone := "", ""
	err := o.Account.Do(func(tx *account.Tx) error {
		list, err := eks.ControlPlanes(tx)
		if err != nil {
			return err
		}
		for _, p := range list {
			for _, n := range p.Nodes {
				if p.Cluster == o.Cluster && (n.Name == node || node == "" && zone == "") {
					zone = n.Labels["topology.kubernetes.io/zone"]
				}
			}
		}
		for _, v := range tx.List(instance.TypeVolume) {
			if v.Tags["CSIVolumeName"] == name {
				id = v.ID // of a look that was cut off
				return nil
			}
		}
		ebs := map[string]any{"VolumeSize": gib, "Encrypted": class.Parameters["encrypted"] == "true"}
		if key := class.Parameters["kmsKeyId"]; key != "" {
			ebs["KmsKeyId"] = key
		}
		if kind := class.Parameters["type"]; kind != "" {
			ebs["VolumeType"] = kind
		}
		v, err := instance.NewVolume(tx, zone, ebs, "", tags)
		if err == nil {
			id = v.ID
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make the volume of the claim %s/%s: %w", c.Metadata.Namespace, c.Metadata.Name, err)
	}
	err = o.ask(ctx, http.MethodPost, volumePath, "application/json", map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume",
		"metadata": map[string]any{
			"name": name, "finalizers": []any{provisioned},
			"annotations": map[string]any{"pv.kubernetes.io/provisioned-by": driver},
		},
		"spec": map[string]any{
			"capacity": map[string]any{"storage": c.Spec.Resources.Requests.Storage}, "accessModes": c.Spec.AccessModes,
			"storageClassName": c.Spec.StorageClassName, "persistentVolumeReclaimPolicy": class.ReclaimPolicy,
			"csi":      map[string]any{"driver": driver, "volumeHandle": id, "fsType": "ext4"},
			"claimRef": map[string]any{"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": c.Metadata.Namespace, "name": c.Metadata.Name, "uid": c.Metadata.UID},
			"nodeAffinity": map[string]any{"required": map[string]any{"nodeSelectorTerms": []any{map[string]any{"matchExpressions": []any{
				map[string]any{"key": "topology.kubernetes.io/zone", "operator": "In", "values": []any{zone}},
			}}}}},
		},
	}, nil)
	if left(err) {
		return nil
	}
	return err
}

// gibibytes are those of a quantity as the API writes it: 1024Gi as 1Ti.
func gibibytes(quantity string) (int, bool) {
	factor := 1
	number, ok := strings.CutSuffix(quantity, "Gi")
	if !ok {
		number, ok = strings.CutSuffix(quantity, "Ti")
		factor = 1 << 10
	}
	n, err := strconv.Atoi(number)
	return factor * n, ok && err == nil
}

// volumeTags are the driver's own.
func volumeTags(cluster, name, namespace, claim string) map[string]string {
	return map[string]string{
		"CSIVolumeName": name, "ebs.csi.aws.com/cluster": "true", "KubernetesCluster": cluster, "kubernetes.io/cluster/" + cluster: "owned",
		"kubernetes.io/created-for/pv/name": name, "kubernetes.io/created-for/pvc/name": claim, "kubernetes.io/created-for/pvc/namespace": namespace,
	}
}

// NewVolume makes the volume of a claim, for a cluster whose API is not asked.
func NewVolume(tx *account.Tx, cluster, zone, name, namespace, claim string) (*account.Resource, error) {
	const gib = 8
	return instance.NewVolume(tx, zone, map[string]any{"VolumeSize": gib}, "", volumeTags(cluster, name, namespace, claim))
}

// reclaim deletes volumes whose claims are gone, unless they are to stay.
func (o Options) reclaim(ctx context.Context) error {
	list, err := o.list(ctx, volumePath)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list {
		v := &list[i]
		if v.Spec.CSI.Driver != driver || v.Status.Phase != "Released" && !v.going() || v.Spec.PersistentVolumeReclaimPolicy != "Delete" {
			continue
		}
		errs = append(errs, o.dispose(ctx, v))
	}
	return errors.Join(errs...)
}

func (o Options) dispose(ctx context.Context, v *object) error {
	inUse := false
	err := o.Account.Do(func(tx *account.Tx) error {
		r := tx.Get(instance.TypeVolume, v.Spec.CSI.VolumeHandle)
		if r == nil {
			return nil
		}
		if inUse = props.Str(r.Data, "instance") != ""; !inUse {
			tx.Drop(instance.TypeVolume, r.ID)
		}
		return nil
	})
	if err != nil || inUse {
		return err
	}
	path := volumePath + "/" + v.Metadata.Name
	if !v.going() {
		err = o.ask(ctx, http.MethodDelete, path, "application/json", map[string]any{"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]any{"uid": v.Metadata.UID}}, nil)
		if err != nil && !left(err) {
			return err
		}
	}
	return o.patch(ctx, path, &v.head, map[string]any{"metadata": map[string]any{"finalizers": v.without(provisioned)}})
}
