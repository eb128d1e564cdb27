package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
)

// maxManifest is the size of the largest manifest.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const maxManifest = 4 << 20

// reference is a tag or a digest as an identifier of ECR's.
func reference(ref string) map[string]any {
	if strings.HasPrefix(ref, "sha256:") {
		return map[string]any{"imageDigest": ref}
	}
	return map[string]any{"imageTag": ref}
}

// failures are those of a batch of one.
type failures []struct{ FailureCode, FailureReason string }

// unknown answers with what a batch of one failed with; false if it didn't.
func (q *request) unknown(f failures) bool {
	if len(f) == 0 {
		return false
	}
	status, code := http.StatusNotFound, "MANIFEST_UNKNOWN"
	if f[0].FailureCode == "ImageReferencedByManifestList" {
		status, code = http.StatusBadRequest, "DENIED"
	}
	refuse(q.w, status, code, f[0].FailureReason)
	return true
}

func (q *request) manifest(ref string) {
	var out struct {
		Images []struct {
			ImageID                               struct{ ImageDigest string }
			ImageManifest, ImageManifestMediaType string
		}
		Failures failures
	}
	if !q.call("BatchGetImage", map[string]any{"imageIds": []any{reference(ref)}}, nil, &out) || q.unknown(out.Failures) {
		return
	}
	i := out.Images[0]
	if i.ImageManifestMediaType == "" {
		i.ImageManifestMediaType = ecr.MediaImage
	}
	h := q.w.Header()
	h.Set("Content-Type", i.ImageManifestMediaType)
	h.Set("Docker-Content-Digest", i.ImageID.ImageDigest)
	h.Set("Content-Length", strconv.Itoa(len(i.ImageManifest)))
	if q.r.Method == http.MethodGet {
		write(q.w, i.ImageManifest)
	}
}

// putManifest keeps a manifest; one that is there already is no error to docker.
func (q *request) putManifest(ref string) {
	text, err := io.ReadAll(io.LimitReader(q.r.Body, maxManifest+1))
	switch {
	case err != nil:
		refuse(q.w, http.StatusBadRequest, "MANIFEST_INVALID", "the manifest ended early: "+err.Error())
		return
	case len(text) > maxManifest:
		refuse(q.w, http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", fmt.Sprintf("a manifest has at most %d bytes", maxManifest))
		return
	}
	in := reference(ref)
	in["imageManifest"] = string(text)
	if media := q.r.Header.Get("Content-Type"); media != "" {
		in["imageManifestMediaType"] = media
	}
	var out struct {
		Image struct{ ImageID struct{ ImageDigest string } }
	}
	err = q.try("PutImage", in, nil, &out)
	if e, ok := errors.AsType[*account.Error](err); ok && e.Code == "ImageAlreadyExistsException" {
		out.Image.ImageID.ImageDigest, err = digestOf(text), nil
	}
	if err != nil {
		q.fail(err)
		return
	}
	digest := out.Image.ImageID.ImageDigest
	q.w.Header().Set("Docker-Content-Digest", digest)
	q.w.Header().Set("Location", "/v2/"+q.name+"/manifests/"+digest)
	q.w.WriteHeader(http.StatusCreated)
}

func (q *request) deleteManifest(ref string) {
	var out struct{ Failures failures }
	if q.call("BatchDeleteImage", map[string]any{"imageIds": []any{reference(ref)}}, nil, &out) && !q.unknown(out.Failures) {
		q.w.WriteHeader(http.StatusAccepted)
	}
}

// tags lists a repository's tags.
func (q *request) tags() {
	tags := []string{}
	for next := ""; ; {
		in := map[string]any{"maxResults": 1000, "filter": map[string]any{"tagStatus": "TAGGED"}}
		if next != "" {
			in["nextToken"] = next
		}
		var out struct {
			ImageIDs  []struct{ ImageTag string }
			NextToken string
		}
		if !q.call("ListImages", in, nil, &out) {
			return
		}
		for _, i := range out.ImageIDs {
			tags = append(tags, i.ImageTag)
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	q.list(tags, func(page []string) any { return map[string]any{"name": q.name, "tags": page} })
}

// catalog lists the repositories.
func (q *request) catalog() {
	names := []string{}
	for next := ""; ; {
		in := map[string]any{"maxResults": 1000}
		if next != "" {
			in["nextToken"] = next
		}
		var out struct {
			Repositories []struct{ RepositoryName string }
			NextToken    string
		}
		if !q.call("DescribeRepositories", in, nil, &out) {
			return
		}
		for _, r := range out.Repositories {
			names = append(names, r.RepositoryName)
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	q.list(names, func(page []string) any { return map[string]any{"repositories": page} })
}

// list answers with a page of names in order.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-discovery
func (q *request) list(names []string, body func([]string) any) {
	slices.Sort(names)
	query := q.r.URL.Query()
	if last := query.Get("last"); last != "" {
		at, found := slices.BinarySearch(names, last)
		if found {
			at++
		}
		names = names[at:]
	}
	if n, err := strconv.Atoi(query.Get("n")); err == nil && n > 0 && n < len(names) {
		names = names[:n]
		q.w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", q.r.URL.Path, url.Values{"n": {strconv.Itoa(n)}, "last": {names[n-1]}}.Encode()))
	}
	q.w.Header().Set("Content-Type", "application/json")
	writeJSON(q.w, body(names))
}

// blob answers whether a layer is there, or sends the client to where it is.
func (q *request) blob(digest string) {
	if q.r.Method == http.MethodHead {
		var out struct {
			Layers []struct {
				LayerAvailability string
				LayerSize         int64
			}
		}
		if !q.call("BatchCheckLayerAvailability", map[string]any{"layerDigests": []any{digest}}, nil, &out) {
			return
		}
		if len(out.Layers) == 0 || out.Layers[0].LayerAvailability != "AVAILABLE" {
			refuse(q.w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
			return
		}
		q.w.Header().Set("Content-Type", "application/octet-stream")
		q.w.Header().Set("Docker-Content-Digest", digest)
		q.w.Header().Set("Content-Length", strconv.FormatInt(out.Layers[0].LayerSize, 10))
		return
	}
	var out struct{ DownloadURL string }
	if !q.call("GetDownloadUrlForLayer", map[string]any{"layerDigest": digest}, nil, &out) {
		return
	}
	to, err := q.here(out.DownloadURL)
	if err != nil {
		q.fail(err)
		return
	}
	q.w.Header().Set("Docker-Content-Digest", digest)
	http.Redirect(q.w, q.r, to, http.StatusTemporaryRedirect)
}

// begin begins an upload, or takes the layer from another repository in its
// stead.
func (q *request) begin() {
	var out struct{ UploadID string }
	if !q.call("InitiateLayerUpload", map[string]any{}, nil, &out) {
		return
	}
	query := q.r.URL.Query()
	if digest, from := query.Get("mount"), query.Get("from"); digest != "" && from != "" {
		switch mounted, err := q.mount(out.UploadID, from, digest); {
		case err != nil:
			q.fail(err)
			return
		case mounted:
			q.created(digest)
			return
		}
	}
	q.goesOn(out.UploadID, 0, http.StatusAccepted)
}

// mount tells whether a layer could be taken from another repository, of which
// the caller has to be allowed to have it: where ECR refuses that, it is uploaded.
func (q *request) mount(upload, from, digest string) (mounted bool, err error) {
	var out struct{}
	err = q.on("GetDownloadUrlForLayer", map[string]any{"repositoryName": from, "layerDigest": digest}, nil, &out)
	if refused, ok := errors.AsType[*account.Error](err); ok && refused.Status < http.StatusInternalServerError {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = q.opts.Account.Do(func(tx *account.Tx) error {
		tx.Caller = q.by.ARN
		mounted = ecr.Mount(tx, upload, from, q.name, digest)
		return nil
	})
	return mounted, err
}

// goesOn tells the client where an upload goes on that has so many bytes.
func (q *request) goesOn(upload string, size int64, status int) {
	q.w.Header().Set("Location", "/v2/"+q.name+"/blobs/uploads/"+upload)
	q.w.Header().Set("Docker-Upload-Uuid", upload)
	q.w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	q.w.WriteHeader(status)
}

func (q *request) created(digest string) {
	q.w.Header().Set("Location", "/v2/"+q.name+"/blobs/"+digest)
	q.w.Header().Set("Docker-Content-Digest", digest)
	q.w.WriteHeader(http.StatusCreated)
}

// upload takes a part of a layer, or its last one, or says how far it is: for
// whom it goes on, as if nothing came.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks
func (q *request) upload(id string) {
	digest := q.r.URL.Query().Get("digest")
	switch {
	case q.r.Method == http.MethodGet || q.r.Method == http.MethodHead:
		var out struct{ LastByteReceived int64 }
		if q.call("UploadLayerPart", map[string]any{"uploadId": id}, http.NoBody, &out) {
			q.goesOn(id, out.LastByteReceived+1, http.StatusNoContent)
		}
		return
	case q.r.Method == http.MethodPatch:
	case q.r.Method == http.MethodPut && digest != "":
	default:
		refuse(q.w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	if q.r.Method == http.MethodPatch || q.r.ContentLength != 0 {
		in := map[string]any{"uploadId": id}
		if first, last, ok := strings.Cut(strings.TrimPrefix(q.r.Header.Get("Content-Range"), "bytes "), "-"); ok {
			in["partFirstByte"], in["partLastByte"] = first, last
		}
		var out struct{ LastByteReceived int64 }
		if !q.call("UploadLayerPart", in, q.r.Body, &out) {
			return
		}
		if q.r.Method == http.MethodPatch {
			q.goesOn(id, out.LastByteReceived+1, http.StatusAccepted)
			return
		}
	}
	var out struct{}
	err := q.try("CompleteLayerUpload", map[string]any{"uploadId": id, "layerDigests": []any{digest}}, nil, &out)
	if e, ok := errors.AsType[*account.Error](err); ok && e.Code == "LayerAlreadyExistsException" {
		err = nil
	}
	if err != nil {
		q.fail(err)
		return
	}
	q.created(digest)
}

// digestOf is a manifest's digest.
func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func writeJSON(w io.Writer, v any) {
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(v)
}
