package cli_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAWSCLIImages has the AWS CLI's ecr commands upload a layer, make an image of
// it, and fetch it back through docker's protocol.
func TestAWSCLIImages(t *testing.T) {
	t.Parallel()
	if os.Getenv("POOLHOUSE_PLANE_REGISTRY") == "" {
		t.Skip("POOLHOUSE_PLANE_REGISTRY names no program: go -C planes/registry build -o DIR ./poolhouse-plane-registry, then POOLHOUSE_PLANE_REGISTRY=DIR/poolhouse-plane-registry")
	}
	c := newAWSCLI(t, "--without", "s3,postgres")
	if len(c.served.Planes) != 1 || c.served.Planes[0].Name != "ecr" || c.served.Registry.Host != "123456789012.dkr.ecr.us-east-1.amazonaws.com" {
		t.Fatalf("served %+v", c.served)
	}
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	digest := func(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
	const layer = "what a layer holds"
	app := []string{"--repository-name", "app", "--output", "text"}
	ecr := func(args ...string) []string { return append(append([]string{"ecr"}, args...), app...) }

	c.ok(ecr("create-repository", "--image-tag-mutability", "IMMUTABLE", "--query", "repository.repositoryUri")...)
	upload := c.ok(ecr("initiate-layer-upload", "--query", "uploadId")...)
	c.want("17", ecr("upload-layer-part", "--upload-id", upload, "--part-first-byte", "0", "--part-last-byte", "17", "--layer-part-blob", "fileb://"+write("layer", layer), "--query", "lastByteReceived")...)
	c.refused("(InvalidLayerException)", ecr("complete-layer-upload", "--upload-id", upload, "--layer-digests", digest("x"))...)
	c.want(digest(layer), ecr("complete-layer-upload", "--upload-id", upload, "--layer-digests", digest(layer), "--query", "layerDigest")...)
	manifest := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": %q, "size": 18}, "layers": []}`, digest(layer))
	c.want(digest(manifest), ecr("put-image", "--image-tag", "v1", "--image-manifest", manifest, "--query", "image.imageId.imageDigest")...)
	c.refused("(ImageTagAlreadyExistsException)", ecr("put-image", "--image-tag", "v1", "--image-manifest", manifest+" ")...)
	c.refused("(LayersNotFoundException)", ecr("put-image", "--image-tag", "v2", "--image-manifest", strings.ReplaceAll(manifest, digest(layer), digest("x")))...)
	c.want("18\tv1", ecr("describe-images", "--query", "imageDetails[].[imageSizeInBytes,imageTags[0]]")...)
	c.want("v1", ecr("list-images", "--query", "imageIds[].imageTag")...)

	password := c.ok("ecr", "get-login-password")
	get := func(url, password string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("AWS", password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	at := "http://" + c.served.Registry.Address
	for url, want := range map[string]string{at + "/v2/app/manifests/v1": manifest, at + "/v2/app/blobs/" + digest(layer): layer} {
		if status, text := get(url, password); status != http.StatusOK || text != want {
			t.Errorf("%s: %d %s", url, status, text)
		}
	}
	if status, text := get(at+"/v2/", "none"); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, text)
	}
	signed := c.ok(ecr("get-download-url-for-layer", "--layer-digest", digest(layer), "--query", "downloadUrl")...)
	_, path, _ := strings.Cut(strings.TrimPrefix(signed, "https://"), "/")
	if status, text := get(at+"/"+path, "none"); status != http.StatusOK || text != layer {
		t.Errorf("by the signed address: %d %s", status, text)
	}

	c.refused("(RepositoryNotEmptyException)", ecr("delete-repository")...)
	c.want(digest(manifest), ecr("batch-delete-image", "--image-ids", "imageTag=v1", "--query", "imageIds[].imageDigest")...)
	c.want("UNAVAILABLE", ecr("batch-check-layer-availability", "--layer-digests", digest(layer), "--query", "layers[].layerAvailability")...)
	c.ok(ecr("delete-repository")...)
}
