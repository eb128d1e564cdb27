package images_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/images"
)

type obj = map[string]any

// memory holds layers for tests.
type memory struct {
	mu      sync.Mutex
	uploads map[string][]byte
	layers  map[string][]byte
}

func (m *memory) Begin(context.Context) (ecr.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := fmt.Sprint(len(m.uploads))
	m.uploads[id] = nil
	return ecr.Upload{At: id}, nil
}

func (m *memory) Append(_ context.Context, u ecr.Upload, part io.Reader) (ecr.Upload, error) {
	b, err := io.ReadAll(part)
	m.mu.Lock()
	defer m.mu.Unlock()
	text, there := m.uploads[u.At]
	switch {
	case !there:
		return u, ecr.ErrNoUpload
	case err != nil:
		return u, err
	}
	m.uploads[u.At] = append(text, b...)
	return ecr.Upload{At: u.At, Size: u.Size + int64(len(b))}, nil
}

func (m *memory) Complete(_ context.Context, u ecr.Upload, digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, there := m.uploads[u.At]
	switch {
	case !there:
		return ecr.ErrNoUpload
	case digestOf(string(text)) != digest:
		return ecr.ErrOtherDigest
	}
	m.layers[digest] = text
	return nil
}

// lose forgets all uploads.
func (m *memory) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.uploads)
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// world is a sandbox with a registry.
type world struct {
	t        *testing.T
	box      *sandbox.Sandbox
	ecr      *sdk.Client
	registry *images.Registry
	layers   *memory
	host     string // that requests come by
	password string
}

func newWorld(t *testing.T, o sandbox.Options) *world {
	t.Helper()
	m := &memory{uploads: map[string][]byte{}, layers: map[string][]byte{}}
	o.Layers = m
	box := testkit.Sandbox(t, o)
	g, err := images.New(images.Options{Account: box.Account(), Call: box.Call, Get: func(r *http.Request, digest string) (*http.Response, error) {
		w := httptest.NewRecorder()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.layers[digest]))
		return w.Result(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, box: box, ecr: sdk.NewFromConfig(testkit.Config(box)), registry: g, layers: m, host: g.Host()}
	for _, name := range []string{"app", "other"} {
		testkit.MustCreate(t, box, ecr.TypeRepository, obj{"RepositoryName": name})
	}
	w.login()
	return w
}

func (w *world) login() {
	w.t.Helper()
	out, err := w.ecr.GetAuthorizationToken(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.password = aws.ToString(out.AuthorizationData[0].AuthorizationToken)
}

// ask sends a request, and returns its answer.
func (w *world) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	if !strings.Contains(target, "://") {
		r.Host = w.host
	}
	r.Header.Set("Authorization", "Basic "+w.password)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out := httptest.NewRecorder()
	w.registry.ServeHTTP(out, r)
	return out
}

// wants holds an answer to a status and to texts in it.
func (w *world) wants(r *httptest.ResponseRecorder, status int, texts ...string) {
	w.t.Helper()
	for _, want := range texts {
		if !strings.Contains(r.Body.String(), want) {
			w.t.Errorf("the answer %d %s says nothing of %q", r.Code, r.Body, want)
		}
	}
	if r.Code != status {
		w.t.Errorf("status %d, want %d: %s", r.Code, status, r.Body)
	}
}

// layer uploads one as docker does.
func (w *world) layer(repository, text string) string {
	w.t.Helper()
	r := w.ask(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "")
	w.wants(r, http.StatusAccepted)
	r = w.ask(http.MethodPatch, r.Header().Get("Location"), text)
	w.wants(r, http.StatusAccepted)
	if want := fmt.Sprintf("0-%d", len(text)-1); r.Header().Get("Range") != want {
		w.t.Errorf("range %s, want %s", r.Header().Get("Range"), want)
	}
	w.wants(w.ask(http.MethodPut, r.Header().Get("Location")+"?digest="+digestOf(text), ""), http.StatusCreated)
	return digestOf(text)
}

func manifestOf(config string, layers ...string) string {
	m := obj{"schemaVersion": 2, "mediaType": ecr.MediaImage, "config": obj{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 6}}
	list := []any{}
	for _, l := range layers {
		list = append(list, obj{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": l, "size": 10})
	}
	m["layers"] = list
	b, _ := json.Marshal(m)
	return string(b)
}

// image pushes one of a layer, and returns its manifest.
func (w *world) image(repository, tag, text string) string {
	w.t.Helper()
	m := manifestOf(w.layer(repository, "config"), w.layer(repository, text))
	w.wants(w.ask(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, m, "Content-Type", ecr.MediaImage), http.StatusCreated)
	return m
}

// An image that docker pushes is one of ECR's API, and comes back as it was; its
// layers go with the last image that has them.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/docker-push-ecr-image.html
func TestPushAndPull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	m := w.image("app", "v1", "layer text")
	r := w.ask(http.MethodGet, "/v2/app/manifests/v1", "")
	w.wants(r, http.StatusOK)
	if r.Body.String() != m || r.Header().Get("Content-Type") != ecr.MediaImage || r.Header().Get("Docker-Content-Digest") != digestOf(m) {
		t.Errorf("manifest %s, %v", r.Body, r.Header())
	}
	r = w.ask(http.MethodHead, "/v2/app/blobs/"+digestOf("layer text"), "")
	if w.wants(r, http.StatusOK); r.Header().Get("Content-Length") != "10" {
		t.Errorf("layer %v", r.Header())
	}
	w.wants(w.ask(http.MethodHead, "/v2/other/blobs/"+digestOf("layer text"), ""), http.StatusNotFound)
	r = w.ask(http.MethodGet, "/v2/app/blobs/"+digestOf("layer text"), "")
	w.wants(r, http.StatusTemporaryRedirect)
	at := r.Header().Get("Location")
	if !strings.HasPrefix(at, "https://prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com/") {
		t.Errorf("the layer is at %s", at)
	}
	w.wants(w.ask(http.MethodGet, at, ""), http.StatusOK, "layer text")
	w.wants(w.ask(http.MethodGet, at, "", "Range", "bytes=6-"), http.StatusPartialContent, "text")
	w.wants(w.ask(http.MethodGet, at+"0", ""), http.StatusForbidden, "AccessDenied")
	// Who comes by another name is sent there.
	r = w.ask(http.MethodGet, "http://127.0.0.1:5000/v2/app/blobs/"+digestOf("layer text"), "")
	if at := r.Header().Get("Location"); !strings.HasPrefix(at, "http://127.0.0.1:5000/123456789012/app@sha256:") {
		t.Errorf("the layer is at %s", at)
	}
	described, err := w.ecr.DescribeImages(t.Context(), &sdk.DescribeImagesInput{RepositoryName: aws.String("app")})
	if err != nil || len(described.ImageDetails) != 1 {
		t.Fatal(described, err)
	}
	if d := described.ImageDetails[0]; aws.ToInt64(d.ImageSizeInBytes) != 16 || aws.ToString(d.ArtifactMediaType) != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("described as %+v", d)
	}
	w.image("app", "v2", "layer text")
	w.image("app", "v3", "another")
	for target, want := range map[string]string{
		"/v2/app/tags/list":                `{"name":"app","tags":["v1","v2","v3"]}`,
		"/v2/app/tags/list?n=1":            `{"name":"app","tags":["v1"]}`,
		"/v2/app/tags/list?n=9&last=v1":    `{"name":"app","tags":["v2","v3"]}`,
		"/v2/_catalog":                     `{"repositories":["app","other"]}`,
		"/v2/_catalog?n=1":                 `{"repositories":["app"]}`,
		"/v2/":                             `{}`,
		"/v2/app/manifests/" + digestOf(m): m,
	} {
		if r := w.ask(http.MethodGet, target, ""); r.Code != http.StatusOK || strings.TrimSpace(r.Body.String()) != want {
			t.Errorf("%s: %d %s, want %s", target, r.Code, r.Body, want)
		}
	}
	// A layer is there as long as an image has it.
	w.wants(w.ask(http.MethodDelete, "/v2/app/manifests/"+digestOf(m), ""), http.StatusAccepted)
	w.wants(w.ask(http.MethodHead, "/v2/app/blobs/"+digestOf("layer text"), ""), http.StatusNotFound)
	w.wants(w.ask(http.MethodHead, "/v2/app/blobs/"+digestOf("config"), ""), http.StatusOK)
}

// What docker may not, or what is not there, is refused in ECR's words: a missing
// repository, an immutable tag, layers that were never uploaded, a token that is
// none.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	testkit.MustCreate(t, w.box, ecr.TypeRepository, obj{"RepositoryName": "frozen", "ImageTagMutability": "IMMUTABLE"})
	m := w.image("frozen", "v1", "layer text")
	w.wants(w.ask(http.MethodPut, "/v2/frozen/manifests/v1", m), http.StatusCreated)
	missing := manifestOf(digestOf("config"), digestOf("nothing"))
	begun := w.ask(http.MethodPost, "/v2/app/blobs/uploads/", "").Header().Get("Location")
	for _, x := range []struct {
		method, target, body string
		status               int
		want                 []string
	}{
		{"POST", "/v2/none/blobs/uploads/", "", 404, []string{`"NAME_UNKNOWN"`, "The repository with name 'none' does not exist in the registry with id '123456789012'"}},
		{"PUT", "/v2/frozen/manifests/v1", manifestOf(digestOf("config")), 400, []string{`"TAG_INVALID"`, "The image tag 'v1' already exists in the 'frozen' repository and cannot be overwritten because the tag is immutable."}},
		{"GET", "/v2/app/manifests/v1", "", 404, []string{`"MANIFEST_UNKNOWN"`, "Requested image not found"}},
		{"DELETE", "/v2/app/manifests/v1", "", 404, []string{`"MANIFEST_UNKNOWN"`}},
		{"PUT", "/v2/frozen/manifests/v2", missing, 404, []string{`"BLOB_UNKNOWN"`, digestOf("nothing")}},
		{"PUT", "/v2/frozen/manifests/v2", `{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": "sha256:0"}]}`, 404, []string{`"MANIFEST_BLOB_UNKNOWN"`}},
		{"PUT", "/v2/frozen/manifests/v2", `{"schemaVersion": 1}`, 400, []string{`"MANIFEST_INVALID"`}},
		{"PUT", "/v2/frozen/manifests/v2", "{", 400, []string{`"MANIFEST_INVALID"`}},
		{"PUT", "/v2/frozen/manifests/" + digestOf("x"), m, 400, []string{`"DIGEST_INVALID"`}},
		{"PATCH", "/v2/app/blobs/uploads/0", "x", 404, []string{`"BLOB_UPLOAD_UNKNOWN"`}},
		{"PUT", begun + "?digest=" + digestOf("x"), "", 400, []string{`"BLOB_UPLOAD_INVALID"`}},
		{"PUT", begun + "?digest=" + digestOf("x"), "y", 400, []string{`"BLOB_UPLOAD_INVALID"`, "None of the provided layer digests match"}},
		{"GET", "/v2/app/blobs/" + digestOf("x"), "", 404, []string{`"BLOB_UNKNOWN"`}},
		{"DELETE", "/v2/app/blobs/" + digestOf("x"), "", 405, []string{`"UNSUPPORTED"`}},
		{"GET", "/v2/app/referrers/" + digestOf("x"), "", 404, []string{`"UNSUPPORTED"`}},
		{"GET", "/v2/nothing", "", 404, []string{`"UNSUPPORTED"`}},
	} {
		w.wants(w.ask(x.method, x.target, x.body), x.status, x.want...)
	}
	w.wants(w.ask(http.MethodPatch, begun, "z", "Content-Range", "5-5"), http.StatusRequestedRangeNotSatisfiable, `"BLOB_UPLOAD_INVALID"`)
	w.password = "QVdTOm5v"
	r := w.ask(http.MethodGet, "/v2/", "")
	if w.wants(r, http.StatusUnauthorized, "Not Authorized"); r.Header().Get("Www-Authenticate") != `Basic realm="https://123456789012.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"` {
		t.Error(r.Header())
	}
}

// A token is good for twelve hours of the account's, and an address of a layer
// for one.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		w.image("app", "v1", "layer text")
		at := w.ask(http.MethodGet, "/v2/app/blobs/"+digestOf("layer text"), "").Header().Get("Location")
		time.Sleep(time.Hour)
		w.wants(w.ask(http.MethodGet, at, ""), http.StatusOK)
		time.Sleep(time.Second)
		w.wants(w.ask(http.MethodGet, at, ""), http.StatusForbidden, "Request has expired")
		time.Sleep(11*time.Hour - 2*time.Second)
		w.wants(w.ask(http.MethodGet, "/v2/app/manifests/v1", ""), http.StatusOK)
		time.Sleep(time.Second)
		w.wants(w.ask(http.MethodGet, "/v2/app/manifests/v1", ""), http.StatusForbidden, `"DENIED"`, "Your authorization token has expired. Reauthenticate and try again.")
		w.login()
		w.wants(w.ask(http.MethodGet, "/v2/app/manifests/v1", ""), http.StatusOK)
	})
}

// Each step of a push and a pull is an action that the principal needs.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
func TestEachStepIsPermitted(t *testing.T) {
	t.Parallel()
	for _, denied := range []string{
		"BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage", "BatchGetImage", "GetDownloadUrlForLayer", "BatchDeleteImage", "ListImages", "",
	} {
		deny := ""
		if denied != "" {
			deny = fmt.Sprintf(`, {"Effect": "Deny", "Action": "ecr:%s", "Resource": "arn:aws:ecr:us-east-1:123456789012:repository/app"}`, denied)
		}
		w := newWorld(t, sandbox.Options{Principals: []sandbox.Principal{{
			AccessKeyID: sandbox.AccessKeyID, SecretAccessKey: sandbox.SecretAccessKey, ARN: "arn:aws:iam::123456789012:user/ada",
			Policy: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}` + deny + `]}`,
		}}})
		got := ""
		step := func(action string, r *httptest.ResponseRecorder) *httptest.ResponseRecorder {
			if r.Code == http.StatusForbidden {
				w.wants(r, http.StatusForbidden, `"DENIED"`, "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: ecr:"+action+" on resource: arn:aws:ecr:us-east-1:123456789012:repository/app with an explicit deny in an identity-based policy")
				got += action
			}
			return r
		}
		step("BatchCheckLayerAvailability", w.ask(http.MethodHead, "/v2/app/blobs/"+digestOf("text"), ""))
		at := step("InitiateLayerUpload", w.ask(http.MethodPost, "/v2/app/blobs/uploads/", "")).Header().Get("Location")
		if at == "" {
			at = "/v2/app/blobs/uploads/none"
		}
		step("UploadLayerPart", w.ask(http.MethodPatch, at, "text"))
		step("CompleteLayerUpload", w.ask(http.MethodPut, at+"?digest="+digestOf("text"), ""))
		step("PutImage", w.ask(http.MethodPut, "/v2/app/manifests/v1", manifestOf(digestOf("text"))))
		step("BatchGetImage", w.ask(http.MethodGet, "/v2/app/manifests/v1", ""))
		step("GetDownloadUrlForLayer", w.ask(http.MethodGet, "/v2/app/blobs/"+digestOf("text"), ""))
		step("ListImages", w.ask(http.MethodGet, "/v2/app/tags/list", ""))
		step("BatchDeleteImage", w.ask(http.MethodDelete, "/v2/app/manifests/v1", ""))
		if got != denied {
			t.Errorf("without %q, refused is %q", denied, got)
		}
	}
}

// Layers of another repository are taken once the account is set to, by those
// who may have them, if both are encrypted in the same way.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
func TestMounting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	key := testkit.MustCreate(t, w.box, "AWS::KMS::Key", obj{})
	testkit.MustCreate(t, w.box, ecr.TypeRepository, obj{"RepositoryName": "sealed", "EncryptionConfiguration": obj{"EncryptionType": "KMS", "KmsKey": key.ID}})
	w.image("app", "v1", "layer text")
	mount := func(to, digest string) int {
		return w.ask(http.MethodPost, "/v2/"+to+"/blobs/uploads/?from=app&mount="+digest, "").Code
	}
	if got := mount("other", digestOf("layer text")); got != http.StatusAccepted {
		t.Errorf("mounted before the account is set to: %d", got)
	}
	if _, err := w.ecr.PutAccountSetting(t.Context(), &sdk.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("ENABLED")}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		to, text string
		want     int
	}{{"other", "layer text", http.StatusCreated}, {"other", "none", http.StatusAccepted}, {"sealed", "layer text", http.StatusAccepted}} {
		if got := mount(x.to, digestOf(x.text)); got != x.want {
			t.Errorf("mount %s to %s: %d, want %d", x.text, x.to, got, x.want)
		}
	}
	w.wants(w.ask(http.MethodHead, "/v2/other/blobs/"+digestOf("layer text"), ""), http.StatusOK)
}

// A repository whose key is disabled takes nothing, and gives no layers.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func TestKeyHasToWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	key := testkit.MustCreate(t, w.box, "AWS::KMS::Key", obj{})
	testkit.MustCreate(t, w.box, ecr.TypeRepository, obj{"RepositoryName": "sealed", "EncryptionConfiguration": obj{"EncryptionType": "KMS", "KmsKey": key.ID}})
	m := w.image("sealed", "v1", "layer text")
	if _, err := kms.NewFromConfig(testkit.Config(w.box)).DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key.ID}); err != nil {
		t.Fatal(err)
	}
	w.wants(w.ask(http.MethodPost, "/v2/sealed/blobs/uploads/", ""), http.StatusForbidden, `"DENIED"`, "The operation failed due to a KMS exception")
	w.wants(w.ask(http.MethodPut, "/v2/sealed/manifests/v2", m), http.StatusForbidden, "KMS exception")
	at := w.ask(http.MethodGet, "/v2/sealed/blobs/"+digestOf("layer text"), "").Header().Get("Location")
	w.wants(w.ask(http.MethodGet, at, ""), http.StatusBadRequest, "KMS.DisabledException")
}

// Faults break requests of docker as they break ECR's.
func TestFaults(t *testing.T) {
	t.Parallel()
	var broken error
	w := newWorld(t, sandbox.Options{Intercept: func(_ *http.Request, _, operation string) error {
		if operation == "BatchGetImage" || operation == "GetDownloadUrlForLayer" {
			return broken
		}
		return nil
	}})
	w.image("app", "v1", "layer text")
	broken = &sandbox.Fault{}
	for _, x := range []struct{ method, target string }{
		{http.MethodGet, "/v2/app/manifests/v1"}, {http.MethodPost, "/v2/other/blobs/uploads/?from=app&mount=" + digestOf("layer text")},
	} {
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("%s: panic %v, want the connection to be cut", x.target, err)
				}
			}()
			w.ask(x.method, x.target, "")
		}()
	}
	broken = nil
	w.wants(w.ask(http.MethodGet, "/v2/app/manifests/v1", ""), http.StatusOK)
}

// uploads are those that the account knows.
func (w *world) uploads() (n int) {
	for _, r := range w.box.Account().Resources() {
		if r.Type == ecr.TypeUpload {
			n++
		}
	}
	return n
}

// A push whose part was cut off goes on from where it was, which the registry
// tells; one that the registry has lost begins anew, and so does one that nobody
// went on with for a day.
//
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html
func TestInterruptedUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Options{})
		begin := func() string {
			t.Helper()
			r := w.ask(http.MethodPost, "/v2/app/blobs/uploads/", "")
			w.wants(r, http.StatusAccepted)
			return r.Header().Get("Location")
		}
		at := begin()
		w.wants(w.ask(http.MethodPatch, at, "layer"), http.StatusAccepted)
		cut := httptest.NewRequestWithContext(t.Context(), http.MethodPatch, at, io.MultiReader(strings.NewReader(" te"), iotest.ErrReader(io.ErrUnexpectedEOF)))
		cut.Host = w.host
		cut.Header.Set("Authorization", "Basic "+w.password)
		out := httptest.NewRecorder()
		w.registry.ServeHTTP(out, cut)
		w.wants(out, http.StatusRequestedRangeNotSatisfiable, `"BLOB_UPLOAD_INVALID"`, "ended early")
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := w.ask(method, at, "")
			if w.wants(r, http.StatusNoContent); r.Header().Get("Range") != "0-4" || r.Header().Get("Location") != at {
				t.Errorf("%s: %v", method, r.Header())
			}
		}
		w.wants(w.ask(http.MethodPatch, at, " text", "Content-Range", "5-9"), http.StatusAccepted)
		w.wants(w.ask(http.MethodPut, at+"?digest="+digestOf("layer text"), ""), http.StatusCreated)
		w.wants(w.ask(http.MethodGet, at, ""), http.StatusNotFound, `"BLOB_UPLOAD_UNKNOWN"`)
		// Whoever uploads what is there already needs the upload no more.
		at = begin()
		w.wants(w.ask(http.MethodPut, at+"?digest="+digestOf("layer text"), "layer text"), http.StatusCreated)
		if n := w.uploads(); n != 0 {
			t.Errorf("%d uploads are left", n)
		}
		for _, x := range []struct{ method, query, body string }{{http.MethodPatch, "", "x"}, {http.MethodPut, "?digest=" + digestOf("y"), ""}, {http.MethodGet, "", ""}} {
			at = begin()
			w.wants(w.ask(http.MethodPatch, at, "y"), http.StatusAccepted)
			w.layers.lose()
			w.wants(w.ask(x.method, at+x.query, x.body), http.StatusNotFound, `"BLOB_UPLOAD_UNKNOWN"`)
			if n := w.uploads(); n != 0 {
				t.Errorf("%s: %d uploads are left", x.method, n)
			}
		}
		at = begin()
		time.Sleep(23 * time.Hour)
		w.login()
		w.wants(w.ask(http.MethodPatch, at, "y"), http.StatusAccepted)
		time.Sleep(24*time.Hour - time.Second)
		w.login()
		if n := w.uploads(); n != 1 {
			t.Errorf("%d uploads are left of one that went on", n)
		}
		time.Sleep(2 * time.Second)
		w.wants(w.ask(http.MethodGet, at, ""), http.StatusNotFound, `"BLOB_UPLOAD_UNKNOWN"`)
		if n := w.uploads(); n != 0 {
			t.Errorf("%d uploads are left of an abandoned one", n)
		}
	})
}

// What an image is made of is with the account: a clone has it, and goes its own
// way; what is deleted leaves nothing.
func TestClonesHaveImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{})
	before := testkit.Dump(w.box.Account())
	w.image("app", "v1", "layer text")
	c := sdk.NewFromConfig(testkit.Config(w.box.Clone(nil)))
	w.wants(w.ask(http.MethodDelete, "/v2/app/manifests/v1", ""), http.StatusAccepted)
	url, err := c.GetDownloadUrlForLayer(t.Context(), &sdk.GetDownloadUrlForLayerInput{RepositoryName: aws.String("app"), LayerDigest: aws.String(digestOf("layer text"))})
	if err != nil || url.DownloadUrl == nil {
		t.Errorf("the clone has no layer: %v", err)
	}
	if d := cmp.Diff(before, testkit.Dump(w.box.Account())); d != "" {
		t.Errorf("left behind:\n%s", d)
	}
}
