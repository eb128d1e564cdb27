package image_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// A manifest is read once, however often it is listed: an index that lists a large
// one a thousand times costs no more than the mentions.
func TestReadsOnce(t *testing.T) {
	content := layout(t, samplebundle.Stored)
	put := func(body []byte) map[string]any {
		content["blobs/sha256/"+samplebundle.Digest(body)] = body
		return map[string]any{"digest": "sha256:" + samplebundle.Digest(body), "size": len(body)}
	}
	encode := func(v any) []byte {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	with := func(d map[string]any, media string) map[string]any {
		d = maps.Clone(d)
		d["mediaType"] = media
		return d
	}
	const manifest, index = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	padding := make([]string, 5000)
	for i := range padding {
		padding[i] = fmt.Sprint("value ", i)
	}
	annotations := map[string]string{}
	for _, p := range padding {
		annotations[p] = p
	}
	conf := put([]byte(`{"no": "image"}`))
	large := put(encode(map[string]any{"schemaVersion": 2, "mediaType": manifest, "config": with(conf, "application/x"), "layers": []any{map[string]any{"mediaType": "x", "digest": conf["digest"], "size": conf["size"], "annotations": annotations}}}))
	allocations := func(mentions int) float64 {
		list := make([]any, mentions)
		for i := range list {
			list[i] = with(large, manifest)
		}
		all := put(encode(map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": list}))
		content["index.json"] = encode(map[string]any{"schemaVersion": 2, "manifests": []any{with(all, index)}})
		body := tarball(t, content)
		return testing.AllocsPerRun(1, func() {
			images, faults := read(t, body)
			if len(faults) > 0 || len(images) != 1 || len(images[0].Platforms) != mentions || len(images[0].Manifests) != 2 {
				t.Fatalf("%d images, %v", len(images), faults)
			}
		})
	}
	if one, many := allocations(1), allocations(1000); many > 3*one {
		t.Errorf("one mention costs %v allocations, and a thousand %v", one, many)
	}
}

// What a push sends is what was read: manifests after those that they list, with
// the files that they name.
func TestManifests(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]map[string][]byte{"layout": layout(t, samplebundle.Gzipped), "saved": saved(t)} {
		images, _ := read(t, tarball(t, content))
		for _, i := range images {
			known := map[string]bool{}
			for _, m := range i.Manifests {
				if "sha256:"+samplebundle.Digest(m.Text) != m.Digest {
					t.Errorf("%s: manifest %s is another one", name, m.Digest)
				}
				var doc struct {
					Config            *struct{ Digest string }
					Layers, Manifests []struct{ Digest string }
				}
				if err := json.Unmarshal(m.Text, &doc); err != nil {
					t.Fatal(err)
				}
				for _, d := range doc.Manifests {
					if !known[d.Digest] {
						t.Errorf("%s: %s comes before %s", name, m.Digest, d.Digest)
					}
				}
				if doc.Config != nil && len(m.Blobs) != len(doc.Layers)+1 {
					t.Errorf("%s: %s has the files %v", name, m.Digest, m.Blobs)
				}
				for _, b := range m.Blobs {
					if body := content[b.File]; "sha256:"+samplebundle.Digest(body) != b.Digest || int64(len(body)) != b.Size {
						t.Errorf("%s: %s is not at %s", name, b.Digest, b.File)
					}
				}
				known[m.Digest] = true
			}
			if last := i.Manifests[len(i.Manifests)-1]; last.Digest != i.Digest {
				t.Errorf("%s: the last is %s, not %s", name, last.Digest, i.Digest)
			}
		}
	}
}
