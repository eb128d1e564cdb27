package cri

import "testing"

// What a pod wrote is looked for below its volume and nowhere above, wherever the
// folder of the cluster is.
func TestVolume(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][2]string{
		"/var/lib/docker/volumes/x/_data/nodes/n/pods/1-2/volumes/kubernetes.io~empty-dir/a/b/c": {"/var/lib/docker/volumes/x/_data/nodes/n/pods/1-2/volumes/kubernetes.io~empty-dir/a", "b/c"},
		"/state/pods/1-2/volumes/kubernetes.io~secret/a":                                         {"/state/pods/1-2/volumes/kubernetes.io~secret/a", ""},
		"/state/pods/1-2/volumes/kubernetes.io~empty-dir/a/pods/1-2/volumes/x/y/z":               {"/state/pods/1-2/volumes/kubernetes.io~empty-dir/a", "pods/1-2/volumes/x/y/z"},
		"/state/volumes/x/y/pods/1-2/etc-hosts":                                                  {"/state/volumes/x/y/pods/1-2/etc-hosts", ""},
	} {
		if source, sub := volume(path, "1-2"); source != want[0] || sub != want[1] {
			t.Errorf("%s: got %q and %q, want %q", path, source, sub, want)
		}
	}
}
