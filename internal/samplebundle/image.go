package samplebundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a layer is stored: its media type's suffix and its bytes.
type Compression struct {
	suffix string
	of     func([]byte) ([]byte, error)
}

// The compressions of layers.
var (
	Gzipped = Compression{"+gzip", func(body []byte) ([]byte, error) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(body)
		err = errors.Join(err, z.Close())
		return b.Bytes(), err
	}}
	Zstandard = Compression{"+zstd", func(body []byte) ([]byte, error) {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.EncodeAll(body, nil), z.Close()
	}}
	Stored = Compression{"", func(body []byte) ([]byte, error) { return body, nil }}
)

// Name is the name of an image of the sample.
func Name(image string) string { return "poolhouse-sample/" + image + ":" + Version }

func names[V any](content map[string]V) []string { return slices.Sorted(maps.Keys(content)) }

// Digest is the SHA-256 of bytes, in hexadecimal.
func Digest(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}

type object = map[string]any

// configuration is that of an image which runs one program.
func configuration(architecture string, layers ...[]byte) ([]byte, error) {
	ids := []string{}
	for _, l := range layers {
		ids = append(ids, "sha256:"+Digest(l))
	}
	return json.Marshal(object{
		"architecture": architecture, "os": "linux",
		"config": object{"Entrypoint": []string{"/program"}, "User": "65532:65532", "ExposedPorts": object{"8080/tcp": object{}}},
		"rootfs": object{"type": "layers", "diff_ids": ids},
	})
}

// layers are those of an image: one that all images share, with the certificates of the
// authorities that its program trusts, and the program.
func layers(program, roots []byte) (shared, own []byte, err error) {
	content := map[string][]byte{"etc/passwd": []byte("nonroot:x:65532:65532::/:/program\n")}
	if roots != nil {
		content["etc/ssl/certs/ca-certificates.crt"] = roots
	}
	shared, err = Tar(content)
	if err != nil {
		return nil, nil, err
	}
	own, err = Tar(map[string][]byte{"program": program})
	return shared, own, err
}

// Saved are the files of an archive as docker save wrote them before version 25.
func Saved(image string, program []byte) (map[string][]byte, error) {
	shared, own, err := layers(program, nil)
	if err != nil {
		return nil, err
	}
	conf, err := configuration("amd64", shared, own)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal([]object{{
		"Config": Digest(conf) + ".json", "RepoTags": []string{Name(image)},
		"Layers": []string{Digest(shared) + "/layer.tar", Digest(own) + "/layer.tar"},
	}})
	return map[string][]byte{
		"manifest.json": list, Digest(conf) + ".json": conf,
		Digest(shared) + "/layer.tar": shared, Digest(own) + "/layer.tar": own,
	}, err
}

// Layout are the files of an OCI layout with one index of all architectures.
func Layout(image string, programs map[string][]byte, c Compression) (map[string][]byte, error) {
	return layout(Name(image), programs, c, nil)
}

func layout(name string, programs map[string][]byte, c Compression, roots []byte) (map[string][]byte, error) {
	content := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(mediaType string, body []byte) object {
		content["blobs/sha256/"+Digest(body)] = body
		return object{"mediaType": mediaType, "digest": "sha256:" + Digest(body), "size": len(body)}
	}
	manifests := []object{}
	for _, architecture := range names(programs) {
		shared, own, err := layers(programs[architecture], roots)
		if err != nil {
			return nil, err
		}
		conf, err := configuration(architecture, shared, own)
		if err != nil {
			return nil, err
		}
		stored := []object{}
		for _, l := range [][]byte{shared, own} {
			body, err := c.of(l)
			if err != nil {
				return nil, fmt.Errorf("compress a layer: %w", err)
			}
			stored = append(stored, blob("application/vnd.oci.image.layer.v1.tar"+c.suffix, body))
		}
		const manifest = "application/vnd.oci.image.manifest.v1+json"
		body, err := json.Marshal(object{"schemaVersion": 2, "mediaType": manifest, "config": blob("application/vnd.oci.image.config.v1+json", conf), "layers": stored})
		if err != nil {
			return nil, err
		}
		d := blob(manifest, body)
		d["platform"] = object{"os": "linux", "architecture": architecture}
		manifests = append(manifests, d)
	}
	const index = "application/vnd.oci.image.index.v1+json"
	body, err := json.Marshal(object{"schemaVersion": 2, "mediaType": index, "manifests": manifests})
	if err != nil {
		return nil, err
	}
	d := blob(index, body)
	d["annotations"] = object{"org.opencontainers.image.ref.name": name}
	content["index.json"], err = json.Marshal(object{"schemaVersion": 2, "mediaType": index, "manifests": []object{d}})
	return content, err
}
