// Package images is the registry that docker and others push to and pull from:
// Docker's protocol in front of ECR.
//
// Whoever comes has a token of GetAuthorizationToken as password, and may do here
// what its owner may do by ECR's API: each request is an operation of ECR, which
// is permitted, broken, recorded and answered as one. What layers hold is in a
// registry of its own, a data plane, see package plane; it knows nothing of
// repositories, tags or rights.
//
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md
//
// Limits: no referrers, of which clients keep track by tags then.
package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Options describe a registry.
type Options struct {
	Account *account.Account
	// Call carries out an operation of an account's service.
	Call func(r *http.Request, by wire.Credential, service, operation string, in map[string]any, body io.Reader) (*wire.Raw, error)
	// Get answers with a layer, or with the part of it that the header asks for.
	Get func(r *http.Request, digest string) (*http.Response, error)
}

// Registry answers docker and others. It is safe for concurrent use.
type Registry struct {
	opts           Options
	host, download string
}

// New returns the registry of an account.
func New(o Options) (*Registry, error) {
	r := &Registry{opts: o}
	err := o.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		r.host, r.download = ecr.Registry(tx), ecr.DownloadHost(tx)
		return nil
	})
	return r, err
}

// Host is the registry's name, and DownloadHost that of where layers are fetched
// from: both lead to the registry.
func (g *Registry) Host() string { return g.host }

// DownloadHost is described at Host.
func (g *Registry) DownloadHost() string { return g.download }

// request is one on its way.
type request struct {
	*Registry
	w  http.ResponseWriter
	r  *http.Request
	by wire.Credential
	// name is the repository's, and rest what of the path comes after.
	name, rest string
}

// path parts a path into repository and what it is about.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
var path = regexp.MustCompile(`^/v2/(.+?)/(manifests/[^/]+|blobs/uploads/?|blobs/uploads/[^/]+|blobs/[^/]+|tags/list|referrers/[^/]+)$`)

// ServeHTTP answers one request.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Clients see nothing of when that is, but by the account's clock.
	if !strings.HasPrefix(r.URL.Path, "/v2") {
		g.serveLayer(w, r)
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	by, err := g.caller(r)
	switch {
	case errors.Is(err, ecr.ErrExpiredToken):
		refuse(w, http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
		return
	case err != nil:
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Basic realm="https://%s/",service="ecr.amazonaws.com"`, g.host))
		http.Error(w, "Not Authorized", http.StatusUnauthorized)
		return
	}
	q := &request{Registry: g, w: w, r: r, by: by}
	switch r.URL.Path {
	case "/v2", "/v2/":
		w.Header().Set("Content-Type", "application/json")
		write(w, "{}")
		return
	case "/v2/_catalog":
		q.catalog()
		return
	}
	m := path.FindStringSubmatch(r.URL.Path)
	if m == nil {
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "there is nothing at "+r.URL.Path)
		return
	}
	q.name, q.rest = m[1], m[2]
	q.answer()
}

// caller is whose token a request has.
func (g *Registry) caller(r *http.Request) (by wire.Credential, err error) {
	user, password, ok := r.BasicAuth()
	if !ok || user != "AWS" {
		return by, ecr.ErrUnknownToken
	}
	doErr := g.opts.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		by, err = ecr.Principal(tx, password)
		return nil
	})
	return by, errors.Join(err, doErr)
}

// answer finds what a request is about.
func (q *request) answer() {
	kind, ref, _ := strings.Cut(q.rest, "/")
	method := q.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch upload, isUpload := strings.CutPrefix(q.rest, "blobs/uploads"); {
	case kind == "manifests" && method == http.MethodGet:
		q.manifest(ref)
	case kind == "manifests" && method == http.MethodPut:
		q.putManifest(ref)
	case kind == "manifests" && method == http.MethodDelete:
		q.deleteManifest(ref)
	case kind == "tags" && method == http.MethodGet:
		q.tags()
	case isUpload && strings.Trim(upload, "/") == "" && method == http.MethodPost:
		q.begin()
	case isUpload && strings.Trim(upload, "/") != "" && method != http.MethodDelete:
		q.upload(strings.Trim(upload, "/"))
	case kind == "blobs" && !isUpload && method == http.MethodGet:
		q.blob(ref)
	case kind == "referrers":
		// Clients then look for a tag.
		// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#unavailable-referrers-api
		refuse(q.w, http.StatusNotFound, "UNSUPPORTED", "referrers are not modelled by the sandbox")
	default:
		refuse(q.w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
	}
}

// call carries out an operation of ECR on the repository, and reads its answer.
// If it is refused, so is the request, and false is returned.
func (q *request) call(operation string, in map[string]any, body io.Reader, out any) bool {
	err := q.try(operation, in, body, out)
	if err != nil {
		q.fail(err)
	}
	return err == nil
}

// try is call without an answer to the client.
func (q *request) try(operation string, in map[string]any, body io.Reader, out any) error {
	if q.name != "" {
		in["repositoryName"] = q.name
	}
	return q.on(operation, in, body, out)
}

func (q *request) on(operation string, in map[string]any, body io.Reader, out any) error {
	answer, err := q.opts.Call(q.r, q.by, "ecr", operation, in, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Body, out)
}

// refusal is how a refusal of ECR's looks to docker.
type refusal struct {
	status int
	code   string
}

// refusals are those by ECR's codes. What ECR doesn't document is what the
// protocol has for it.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
func refusals(code string) refusal {
	switch code {
	case "RepositoryNotFoundException":
		return refusal{http.StatusNotFound, "NAME_UNKNOWN"}
	case "AccessDeniedException", "KmsException":
		return refusal{http.StatusForbidden, "DENIED"}
	case "ImageTagAlreadyExistsException":
		return refusal{http.StatusBadRequest, "TAG_INVALID"}
	case "LayersNotFoundException", "LayerInaccessibleException":
		return refusal{http.StatusNotFound, "BLOB_UNKNOWN"}
	case "ReferencedImagesNotFoundException":
		return refusal{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN"}
	case "UploadNotFoundException":
		return refusal{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"}
	case "ImageDigestDoesNotMatchException":
		return refusal{http.StatusBadRequest, "DIGEST_INVALID"}
	case "InvalidLayerPartException":
		return refusal{http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"}
	case "EmptyUploadException", "LayerPartTooSmallException", "InvalidLayerException":
		// Of a layer with another digest: https://github.com/abiosoft/colima/issues/1167
		return refusal{http.StatusBadRequest, "BLOB_UPLOAD_INVALID"}
	case "InvalidParameterException":
		return refusal{http.StatusBadRequest, "MANIFEST_INVALID"}
	case account.CodeNotModelled:
		return refusal{http.StatusNotImplemented, "UNSUPPORTED"}
	}
	return refusal{}
}

// fail answers with an operation's error.
func (q *request) fail(err error) {
	if errors.Is(err, wire.ErrCut) {
		panic(http.ErrAbortHandler) // it is how a handler cuts a connection
	}
	e, ok := errors.AsType[*account.Error](err)
	if !ok {
		refuse(q.w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	f := refusals(e.Code)
	switch {
	case f.code != "":
	case strings.Contains(e.Code, "Thrott") || e.Status == http.StatusTooManyRequests:
		f = refusal{http.StatusTooManyRequests, "TOOMANYREQUESTS"}
	case e.Status >= http.StatusInternalServerError:
		f = refusal{e.Status, "UNKNOWN"}
	default:
		f = refusal{http.StatusBadRequest, "UNKNOWN"}
	}
	refuse(q.w, f.status, f.code, e.Message)
}

// refuse answers with an error in the protocol's form.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	body, err := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	if err == nil {
		write(w, string(body)+"\n")
	}
}

// write writes what a client may be too far gone to read.
func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// serveLayer hands out a layer to whoever has an address that ECR gave, in place
// of the bucket that it is in.
func (g *Registry) serveLayer(w http.ResponseWriter, r *http.Request) {
	bad := func(status int, code, message string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		write(w, fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message></Error>\n", code, message))
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		bad(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		return
	}
	var digest string
	err := g.opts.Account.Do(func(tx *account.Tx) (err error) {
		tx.Reads()
		digest, err = ecr.Download(tx, r.URL)
		return err
	})
	switch {
	case errors.Is(err, ecr.ErrNoKey):
		// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
		bad(http.StatusBadRequest, "KMS.DisabledException", "The repository&apos;s key can&apos;t be used.")
		return
	case errors.Is(err, ecr.ErrExpiredDownload):
		bad(http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	case err != nil:
		bad(http.StatusForbidden, "AccessDenied", "Access Denied")
		return
	}
	resp, err := g.opts.Get(r, digest)
	if err != nil {
		bad(http.StatusServiceUnavailable, "ServiceUnavailable", "Service is unable to handle request.")
		return
	}
	for _, k := range []string{"Content-Length", "Content-Range", "Accept-Ranges", "Etag"} {
		if v := resp.Header.Get(k); v != "" {
			w.Header().Set(k, v)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(resp.StatusCode)
	// A client that has gone away isn't the registry's concern, and one whose
	// answer ends early sees that by its length.
	_, _ = io.Copy(w, resp.Body)
	_ = resp.Body.Close()
}

// here is an address that ECR gave as the client reaches it: by its own name, if
// it came by the registry's, and otherwise where it came to.
func (q *request) here(address string) (string, error) {
	if q.r.Host == q.host || strings.HasPrefix(q.r.Host, q.host+":") {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u.Scheme, u.Host = "http", q.r.Host
	return u.String(), nil
}
