package ecr

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// digestForm is how ECR's layers are named.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// downloadLife is how long a layer's address is good for.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetDownloadUrlForLayer.html
const downloadLife = time.Hour

// noLayers is the answer where nothing holds layers.
func noLayers() error {
	return account.NotModelled("layers of images are not modelled by a sandbox without the data plane of ECR")
}

// available tells which layers are there.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchCheckLayerAvailability.html
func (l *uploads) available(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	if l.layers == nil {
		return nil, noLayers()
	}
	digests := r.Strings("layerDigests")
	if len(digests) < 1 || len(digests) > 100 {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'layerDigests' failed to satisfy constraint: 'Member must have length between 1 and 100'")
	}
	found, failures := []any{}, []any{}
	for _, d := range digests {
		if !digestForm.MatchString(d) {
			failures = append(failures, map[string]any{"layerDigest": d, "failureCode": "InvalidLayerDigest", "failureReason": "Invalid layer digest"})
			continue
		}
		v := map[string]any{"layerDigest": d, "layerAvailability": "UNAVAILABLE"}
		if layer := tx.Get(TypeLayer, repo.ID+"@"+d); layer != nil {
			v["layerAvailability"], v["layerSize"] = "AVAILABLE", props.Int(layer.Data, 0, "size")
			if media := props.Str(layer.Data, "media"); media != "" {
				v["mediaType"] = media
			}
		}
		found = append(found, v)
	}
	return map[string]any{"layers": found, "failures": failures}, nil
}

// download is where a layer can be fetched from by whoever has the address, for
// a while.
func (l *uploads) download(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	if l.layers == nil {
		return nil, noLayers()
	}
	digest := r.String("layerDigest")
	if !digestForm.MatchString(digest) {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'layerDigest' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+''")
	}
	layer := tx.Get(TypeLayer, repo.ID+"@"+digest)
	if layer == nil {
		return nil, account.Errorf("LayersNotFoundException", "The layer with digest '%s' does not exist in the repository with name '%s' in registry with id '%s'", digest, repo.ID, tx.AccountID())
	}
	if props.Int(layer.Data, 0, "images") == 0 {
		return nil, account.Errorf("LayerInaccessibleException", "The layer with digest '%s' in the repository with name '%s' in registry with id '%s' is not associated with an image", digest, repo.ID, tx.AccountID())
	}
	expires := strconv.FormatInt(tx.Now().Add(downloadLife).Unix(), 10)
	u := url.URL{Scheme: "https", Host: DownloadHost(tx), Path: "/" + tx.AccountID() + "/" + repo.ID + "@" + digest, RawQuery: url.Values{
		"X-Amz-Expires-At": {expires}, "X-Amz-Signature": {signed(tx, repo.ID+"@"+digest, expires)},
	}.Encode()}
	return map[string]any{"layerDigest": digest, "downloadUrl": u.String()}, nil
}

// DownloadHost is where clients fetch layers from: a bucket of ECR's.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
func DownloadHost(tx *account.Tx) string {
	suffix := ".amazonaws.com"
	if tx.Partition() == "aws-cn" {
		suffix += ".cn"
	}
	return "prod-" + tx.Region() + "-starport-layer-bucket.s3." + tx.Region() + suffix
}

func signed(tx *account.Tx, layer, expires string) string {
	return hex.EncodeToString(seal(tx, []byte("layer "+layer+" "+expires)))
}

// Errors of [Download].
var (
	ErrBadDownload     = errors.New("the address is not one that ECR gave")
	ErrExpiredDownload = errors.New("the address has expired")
	ErrNoKey           = errors.New("the repository's key can't be used")
)

// Download is the digest of the layer that an address which ECR gave is for.
func Download(tx *account.Tx, u *url.URL) (string, error) {
	layer, ok := strings.CutPrefix(u.Path, "/"+tx.AccountID()+"/")
	expires := u.Query().Get("X-Amz-Expires-At")
	if !ok || !hmac.Equal([]byte(u.Query().Get("X-Amz-Signature")), []byte(signed(tx, layer, expires))) {
		return "", ErrBadDownload
	}
	at, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || tx.Now().After(time.Unix(at, 0)) {
		return "", ErrExpiredDownload
	}
	name, digest, _ := strings.Cut(layer, "@")
	repo := tx.Get(TypeRepository, name)
	if repo == nil || tx.Get(TypeLayer, layer) == nil {
		return "", ErrBadDownload
	}
	if err := keyWorks(tx, repo); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return digest, nil
}

// keyWorks tells whether the key of a repository can be used. That ECR may use
// it is settled when the repository is made, by grants.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
func keyWorks(tx *account.Tx, repo *account.Resource) error {
	key := props.Str(repo.Props, "EncryptionConfiguration", "KmsKey")
	if key == "" {
		return nil
	}
	if _, err := kms.Usable(tx, key, "", nil); err != nil {
		return account.Errorf("KmsException", "The operation failed due to a KMS exception: %v", err)
	}
	return nil
}

// Digests are those of all layers that the account has.
func Digests(tx *account.Tx) []string {
	found := map[string]bool{}
	out := []string{}
	for _, l := range tx.List(TypeLayer) {
		if _, d, _ := strings.Cut(l.ID, "@"); !found[d] {
			found[d] = true
			out = append(out, d)
		}
	}
	return out
}

// blobMounting is the setting that lets a push take layers from other
// repositories.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
const blobMounting = "BLOB_MOUNTING"

// setting checks a setting's name and returns its value.
func setting(tx *account.Tx, name string) (string, error) {
	usual := map[string]string{blobMounting: "DISABLED", "BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2"}
	if usual[name] == "" {
		return "", account.Errorf("InvalidParameterException", "Invalid parameter at 'name' failed to satisfy constraint: 'Invalid account setting name'")
	}
	if s := tx.Get(typeSetting, name); s != nil {
		return props.Str(s.Props, "value"), nil
	}
	return usual[name], nil
}

func getAccountSetting(tx *account.Tx, r *wire.Request) (any, error) {
	value, err := setting(tx, r.String("name"))
	return map[string]any{"name": r.String("name"), "value": value}, err
}

func putAccountSetting(tx *account.Tx, r *wire.Request) (any, error) {
	name, value := r.String("name"), r.String("value")
	if _, err := setting(tx, name); err != nil {
		return nil, err
	}
	if name != blobMounting {
		return nil, account.NotModelled("the account setting %s of ECR is not modelled by the sandbox", name)
	}
	if value != "ENABLED" && value != "DISABLED" {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'value' failed to satisfy constraint: 'Invalid account setting value'")
	}
	tx.Put(&account.Resource{Type: typeSetting, ID: name, Props: map[string]any{"value": value}, Attrs: map[string]any{}, Data: map[string]any{}})
	return map[string]any{"name": name, "value": value}, nil
}

// Mount has a repository take a layer from another, in place of an upload that
// was begun, and tells whether it could: the account has to be set to, and both
// repositories have to be encrypted in the same way.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
func Mount(tx *account.Tx, upload, from, to, digest string) bool {
	value, err := setting(tx, blobMounting)
	source, target, layer := tx.Get(TypeRepository, from), tx.Get(TypeRepository, to), tx.Get(TypeLayer, from+"@"+digest)
	if err != nil || value != "ENABLED" || source == nil || target == nil || layer == nil {
		return false
	}
	for _, what := range []string{"EncryptionType", "KmsKey"} {
		if encryption(source, what) != encryption(target, what) {
			return false
		}
	}
	tx.Drop(TypeUpload, to+"@"+upload)
	have(tx, to, digest, int64(props.Int(layer.Data, 0, "size")))
	return true
}

func encryption(repo *account.Resource, what string) string {
	if v := props.Str(repo.Props, "EncryptionConfiguration", what); v != "" || what != "EncryptionType" {
		return v
	}
	return "AES256"
}

// have notes that a repository has a layer, if it doesn't have it yet. How many
// images have it, and what the first of them says that it is, comes with them.
func have(tx *account.Tx, repository, digest string, size int64) {
	if tx.Get(TypeLayer, repository+"@"+digest) != nil {
		return
	}
	tx.Put(&account.Resource{
		Type: TypeLayer, ID: repository + "@" + digest, Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Tags: map[string]string{},
		Data: map[string]any{"size": int(size), "images": 0},
	})
}
