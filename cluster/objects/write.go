package objects

import (
	"context"
	"fmt"
	"net/http"
)

// Delete begins the deletion of an object; what it has made goes after it. It returns
// once that is accepted, and may be repeated. One that is gone, or that another object
// has the name of by now, is left.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/
func (c *Client) Delete(ctx context.Context, o Object) error {
	err := c.do(ctx, call{method: http.MethodDelete, path: o.path, kind: "application/json", body: map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": map[string]string{"uid": o.UID},
	}}, nil)
	if s := code(err); s == http.StatusNotFound || s == http.StatusConflict {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", o, err)
	}
	return nil
}

// Retain has volumes outlive their claims, and the snapshots of volumes the objects
// that stand for them. It returns the volumes that it changed. Nothing is changed
// that is so already.
// https://kubernetes.io/docs/tasks/administer-cluster/change-pv-reclaim-policy/
// https://kubernetes.io/docs/concepts/storage/volume-snapshots/#volume-snapshot-contents
func (c *Client) Retain(ctx context.Context) ([]Volume, error) {
	all, err := c.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	var changed []Volume
	for _, v := range all {
		if !v.Deleted {
			continue
		}
		done, err := c.set(ctx, v.Object, "persistentVolumeReclaimPolicy")
		if err != nil {
			return changed, err
		}
		if done {
			changed = append(changed, v)
		}
	}
	list, err := c.list(ctx, snapshots.path(), everywhere)
	if err != nil {
		return changed, err
	}
	for _, i := range list {
		if i.Spec.DeletionPolicy == "Delete" {
			if _, err := c.set(ctx, snapshots.object(i), "deletionPolicy"); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// set has an object's policy retain, and tells whether the object was there.
func (c *Client) set(ctx context.Context, o Object, policy string) (bool, error) {
	err := c.do(ctx, call{method: http.MethodPatch, path: o.path, kind: "application/merge-patch+json", body: map[string]any{
		"metadata": map[string]string{"uid": o.UID}, "spec": map[string]string{policy: "Retain"},
	}}, nil)
	if s := code(err); s == http.StatusNotFound || s == http.StatusConflict {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep what %s stands for: %w", o, err)
	}
	return true, nil
}
