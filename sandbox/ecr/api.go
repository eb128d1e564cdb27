package ecr

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns ECR's API.
func Service() wire.Service {
	return wire.Service{
		Name: "ecr", Target: "AmazonEC2ContainerRegistry_V20150921", Protocol: wire.JSON11,
		Operations: []wire.Operation{
			{Name: "CreateRepository", Do: createRepository},
			{Name: "DescribeRepositories", Do: describeRepositories},
			{Name: "DeleteRepository", Do: onRepository(deleteRepository)},
			{Name: "PutImageTagMutability", Do: onRepository(func(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
				p := map[string]any{"ImageTagMutability": r.String("imageTagMutability"), "ImageTagMutabilityExclusionFilters": exclusions(r.In)}
				if err := change(tx, repo, p); err != nil {
					return nil, err
				}
				return answer(tx, repo, "imageTagMutability", r.In["imageTagMutability"]), nil
			})},
			{Name: "PutImageScanningConfiguration", Do: onRepository(func(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
				scan := props.Bool(r.In, false, "imageScanningConfiguration", "scanOnPush")
				if err := change(tx, repo, map[string]any{"ImageScanningConfiguration": map[string]any{"ScanOnPush": scan}}); err != nil {
					return nil, err
				}
				return answer(tx, repo, "imageScanningConfiguration", r.In["imageScanningConfiguration"]), nil
			})},
			{Name: "BatchGetRepositoryScanningConfiguration", Do: scanningConfiguration},
			{Name: "PutLifecyclePolicy", Do: onRepository(func(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
				text := r.String("lifecyclePolicyText")
				if err := change(tx, repo, map[string]any{"LifecyclePolicy": map[string]any{"LifecyclePolicyText": text}}); err != nil {
					return nil, err
				}
				return answer(tx, repo, "lifecyclePolicyText", text), nil
			})},
			{Name: "GetLifecyclePolicy", Do: onRepository(func(tx *account.Tx, _ *wire.Request, repo *account.Resource) (any, error) {
				text := props.Str(repo.Props, "LifecyclePolicy", "LifecyclePolicyText")
				if text == "" {
					return nil, account.Errorf("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", repo.ID, tx.AccountID())
				}
				return answer(tx, repo, "lifecyclePolicyText", text), nil
			})},
			{Name: "SetRepositoryPolicy", Do: onRepository(func(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
				text := r.String("policyText")
				if err := change(tx, repo, map[string]any{"RepositoryPolicyText": text}); err != nil {
					return nil, err
				}
				return answer(tx, repo, "policyText", text), nil
			})},
			{Name: "GetRepositoryPolicy", Do: onRepository(getRepositoryPolicy)},
			{Name: "ListTagsForResource", Do: onARN(func(_ *wire.Request, repo *account.Resource) (any, error) {
				return map[string]any{"tags": props.Pairs(repo.Tags)}, nil
			})},
			{Name: "TagResource", Do: onARN(func(r *wire.Request, repo *account.Resource) (any, error) {
				for k, v := range props.Tags(r.In, "tags") {
					repo.Tags[k] = v
				}
				return nil, nil
			})},
			{Name: "UntagResource", Do: onARN(func(r *wire.Request, repo *account.Resource) (any, error) {
				for _, k := range r.Strings("tagKeys") {
					delete(repo.Tags, k)
				}
				return nil, nil
			})},
			{Name: "GetAuthorizationToken", Do: getAuthorizationToken},
			{Name: "PutImage", Do: onRepository(putImage)},
			{Name: "ListImages", Do: onRepository(listImages)},
			{Name: "DescribeImages", Do: onRepository(describeImages)},
			{Name: "BatchGetImage", Do: onRepository(batchGetImage)},
			{Name: "BatchDeleteImage", Do: onRepository(batchDeleteImage)},
		},
	}
}

type handler func(*account.Tx, *wire.Request, *account.Resource) (any, error)

func lookup(tx *account.Tx, name string) (*account.Resource, error) {
	r := tx.Get(TypeRepository, name)
	if r == nil {
		return nil, account.Errorf("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'", name, tx.AccountID())
	}
	return r, nil
}

func onRepository(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if err := ownRegistry(tx, r); err != nil {
			return nil, err
		}
		repo, err := lookup(tx, r.String("repositoryName"))
		if err != nil {
			return nil, err
		}
		r.Resource = arn(tx, repo.ID)
		return do(tx, r, repo)
	}
}

func onARN(do func(*wire.Request, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		repo, err := lookup(tx, strings.TrimPrefix(r.String("resourceArn"), arn(tx, "")))
		if err != nil {
			return nil, err
		}
		r.Resource = arn(tx, repo.ID)
		return do(r, repo)
	}
}

// ownRegistry refuses the registries of other accounts.
func ownRegistry(tx *account.Tx, r *wire.Request) error {
	if id := r.String("registryId"); id != "" && id != tx.AccountID() {
		code := "RepositoryNotFoundException"
		if r.Operation == "CreateRepository" {
			code = "InvalidParameterException"
		}
		return account.Errorf(code, "The registry with id '%s' can't be found", id)
	}
	return nil
}

func change(tx *account.Tx, repo *account.Resource, to map[string]any) error {
	next, _ := account.Copy(repo.Props).(map[string]any)
	for k, v := range to {
		next[k] = v
	}
	_, err := tx.Update(repo, next, false)
	return err
}

func answer(tx *account.Tx, repo *account.Resource, member string, value any) map[string]any {
	return map[string]any{"registryId": tx.AccountID(), "repositoryName": repo.ID, member: value}
}

// exclusions are a request's filters in CloudFormation's names.
func exclusions(in map[string]any) []any {
	out := []any{}
	for _, f := range props.Maps(in, "imageTagMutabilityExclusionFilters") {
		out = append(out, map[string]any{"ImageTagMutabilityExclusionFilterType": props.Str(f, "filterType"), "ImageTagMutabilityExclusionFilterValue": props.Str(f, "filter")})
	}
	return out
}

func createRepository(tx *account.Tx, r *wire.Request) (any, error) {
	if err := ownRegistry(tx, r); err != nil {
		return nil, err
	}
	p := map[string]any{
		"RepositoryName": r.String("repositoryName"), "ImageTagMutability": r.String("imageTagMutability"), "ImageTagMutabilityExclusionFilters": exclusions(r.In),
		"ImageScanningConfiguration": map[string]any{"ScanOnPush": props.Bool(r.In, false, "imageScanningConfiguration", "scanOnPush")},
		"Tags":                       props.Pairs(props.Tags(r.In, "tags")),
	}
	if e := r.Map("encryptionConfiguration"); e != nil {
		p["EncryptionConfiguration"] = map[string]any{"EncryptionType": props.Str(e, "encryptionType"), "KmsKey": props.Str(e, "kmsKey")}
	}
	if r.String("repositoryName") == "" {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'Member must not be null'")
	}
	repo, _, err := tx.Create(TypeRepository, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = arn(tx, repo.ID)
	return map[string]any{"repository": view(tx, repo)}, tx.Settle(repo, "create")
}

func view(tx *account.Tx, repo *account.Resource) map[string]any {
	tags := props.Str(repo.Props, "ImageTagMutability")
	if tags == "" {
		tags = "MUTABLE"
	}
	encryption := map[string]any{"encryptionType": "AES256"}
	if e := props.Str(repo.Props, "EncryptionConfiguration", "EncryptionType"); e != "" {
		encryption["encryptionType"] = e
	}
	if k := props.Str(repo.Props, "EncryptionConfiguration", "KmsKey"); k != "" {
		encryption["kmsKey"] = k
	}
	v := map[string]any{
		"repositoryName": repo.ID, "repositoryArn": arn(tx, repo.ID), "repositoryUri": uri(tx, repo.ID), "registryId": tx.AccountID(), "createdAt": repo.Created,
		"imageTagMutability": tags, "encryptionConfiguration": encryption,
		"imageScanningConfiguration": map[string]any{"scanOnPush": props.Bool(repo.Props, false, "ImageScanningConfiguration", "ScanOnPush")},
	}
	filters := []any{}
	for _, f := range props.Maps(repo.Props, "ImageTagMutabilityExclusionFilters") {
		filters = append(filters, map[string]any{"filterType": props.Str(f, "ImageTagMutabilityExclusionFilterType"), "filter": props.Str(f, "ImageTagMutabilityExclusionFilterValue")})
	}
	if len(filters) > 0 {
		v["imageTagMutabilityExclusionFilters"] = filters
	}
	return v
}

func describeRepositories(tx *account.Tx, r *wire.Request) (any, error) {
	if err := ownRegistry(tx, r); err != nil {
		return nil, err
	}
	items := []any{}
	if names := r.Strings("repositoryNames"); len(names) > 0 {
		for _, name := range names {
			repo, err := lookup(tx, name)
			if err != nil {
				return nil, err
			}
			items = append(items, view(tx, repo))
		}
		return map[string]any{"repositories": items}, nil
	}
	for _, repo := range tx.List(TypeRepository) {
		items = append(items, view(tx, repo))
	}
	return paged(r, "repositories", items)
}

func paged(r *wire.Request, name string, items []any) (any, error) {
	page, next, err := wire.Page(items, r.String("nextToken"), r.Int("maxResults", 100), "InvalidParameterException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{name: page}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

// scanningConfiguration is how repositories are scanned in effect. The registry
// has basic scanning without rules, so each repository's own setting counts.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetRepositoryScanningConfiguration.html
func scanningConfiguration(tx *account.Tx, r *wire.Request) (any, error) {
	names := r.Strings("repositoryNames")
	if len(names) < 1 || len(names) > 25 {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'repositoryNames' failed to satisfy constraint: 'Member must have length between 1 and 25'")
	}
	found, failures := []any{}, []any{}
	for _, name := range names {
		repo := tx.Get(TypeRepository, name)
		if repo == nil {
			failures = append(failures, map[string]any{"repositoryName": name, "failureCode": "REPOSITORY_NOT_FOUND", "failureReason": "Repository '" + name + "' not found"})
			continue
		}
		frequency, filters := "MANUAL", []any{}
		on := props.Bool(repo.Props, false, "ImageScanningConfiguration", "ScanOnPush")
		if on {
			frequency = "SCAN_ON_PUSH"
		}
		found = append(found, map[string]any{
			"repositoryArn": arn(tx, name), "repositoryName": name, "scanOnPush": on, "scanFrequency": frequency, "appliedScanFilters": filters,
		})
	}
	return map[string]any{"scanningConfigurations": found, "failures": failures}, nil
}

func deleteRepository(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	out := map[string]any{"repository": view(tx, repo)}
	// EmptyOnDelete is CloudFormation's; the API has force.
	if !r.Bool("force", false) && len(images(tx, repo.ID)) > 0 {
		return nil, notEmpty(tx, repo)
	}
	for _, i := range images(tx, repo.ID) {
		tx.Drop(TypeImage, i.ID)
	}
	if _, err := tx.Delete(repo, false); err != nil {
		return nil, err
	}
	return out, tx.Settle(repo, "delete")
}

func getRepositoryPolicy(tx *account.Tx, _ *wire.Request, repo *account.Resource) (any, error) {
	doc := repo.Props["RepositoryPolicyText"]
	if doc == nil {
		return nil, account.Errorf("RepositoryPolicyNotFoundException", "Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", repo.ID, tx.AccountID())
	}
	text, err := policy.Text(doc)
	if err != nil {
		return nil, err
	}
	return answer(tx, repo, "policyText", text), nil
}

// getAuthorizationToken gives the user and password for the registry, which are
// good for twelve hours.
func getAuthorizationToken(tx *account.Tx, _ *wire.Request) (any, error) {
	token := base64.StdEncoding.EncodeToString([]byte("AWS:" + tx.HexID(64)))
	return map[string]any{"authorizationData": []any{map[string]any{"authorizationToken": token, "expiresAt": tx.Now().Add(12 * time.Hour), "proxyEndpoint": "https://" + registry(tx)}}}, nil
}

func tagsOf(i *account.Resource) []string { return props.Strs(i.Data, "tags") }

// frozen tells whether a repository's tag can't move.
func frozen(repo *account.Resource, tag string) bool {
	setting := props.Str(repo.Props, "ImageTagMutability")
	excluded := slices.ContainsFunc(props.Maps(repo.Props, "ImageTagMutabilityExclusionFilters"), func(f map[string]any) bool {
		return policy.Like(props.Str(f, "ImageTagMutabilityExclusionFilterValue"), tag)
	})
	return setting == "IMMUTABLE" || setting == "IMMUTABLE_WITH_EXCLUSION" && !excluded || setting == "MUTABLE_WITH_EXCLUSION" && excluded
}

var tagPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,299}$`) })

func putImage(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	manifest, tag := r.String("imageManifest"), r.String("imageTag")
	var parsed struct{ MediaType string }
	if err := json.Unmarshal([]byte(manifest), &parsed); err != nil {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'")
	}
	sum := sha256.Sum256([]byte(manifest))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if d := r.String("imageDigest"); d != "" && d != digest {
		return nil, account.Errorf("ImageDigestDoesNotMatchException", "The provided digest '%s' does not match the calculated digest '%s'", d, digest)
	}
	if tag != "" && !tagPattern().MatchString(tag) {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression [a-zA-Z0-9-_+.]{1,300}'")
	}
	media := r.String("imageManifestMediaType")
	if media == "" {
		media = parsed.MediaType
	}
	id := repo.ID + "@" + digest
	image := tx.Get(TypeImage, id)
	holder := tagged(tx, repo, tag)
	switch {
	case image != nil && (tag == "" || holder == image):
		return nil, account.Errorf("ImageAlreadyExistsException", "Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'", digest, tag, repo.ID, tx.AccountID())
	case holder != nil && frozen(repo, tag):
		return nil, account.Errorf("ImageTagAlreadyExistsException", "The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, repo.ID)
	}
	if image == nil {
		image = &account.Resource{
			Type: TypeImage, ID: id, Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Tags: map[string]string{},
			Data: map[string]any{"manifest": manifest, "media": media, "digest": digest},
		}
		tx.Put(image)
	}
	if holder != nil {
		untag(holder, tag)
	}
	if tag != "" {
		image.Data["tags"] = append(props.List(image.Data, "tags"), tag)
	}
	watch(tx, repo)
	return map[string]any{"image": map[string]any{
		"registryId": tx.AccountID(), "repositoryName": repo.ID, "imageManifest": manifest, "imageManifestMediaType": media, "imageId": identifier(digest, tag),
	}}, nil
}

// tagged is the image that has a tag, or nil.
func tagged(tx *account.Tx, repo *account.Resource, tag string) *account.Resource {
	for _, i := range images(tx, repo.ID) {
		if tag != "" && slices.Contains(tagsOf(i), tag) {
			return i
		}
	}
	return nil
}

func untag(i *account.Resource, tag string) {
	left := []any{}
	for _, t := range tagsOf(i) {
		if t != tag {
			left = append(left, t)
		}
	}
	i.Data["tags"] = left
}

func identifier(digest, tag string) map[string]any {
	id := map[string]any{}
	if digest != "" {
		id["imageDigest"] = digest
	}
	if tag != "" {
		id["imageTag"] = tag
	}
	return id
}

// wanted tells whether an image passes the filter of a listing.
func wanted(r *wire.Request, i *account.Resource) bool {
	switch props.Str(r.In, "filter", "tagStatus") {
	case "TAGGED":
		return len(tagsOf(i)) > 0
	case "UNTAGGED":
		return len(tagsOf(i)) == 0
	}
	return true
}

func listImages(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	items := []any{}
	for _, i := range images(tx, repo.ID) {
		if !wanted(r, i) {
			continue
		}
		digest := props.Str(i.Data, "digest")
		for _, t := range tagsOf(i) {
			items = append(items, identifier(digest, t))
		}
		if len(tagsOf(i)) == 0 {
			items = append(items, identifier(digest, ""))
		}
	}
	return paged(r, "imageIds", items)
}

// pick finds the image that an identifier names.
func pick(tx *account.Tx, repo *account.Resource, id map[string]any) (*account.Resource, string) {
	digest, tag := props.Str(id, "imageDigest"), props.Str(id, "imageTag")
	var i *account.Resource
	switch {
	case digest == "" && tag == "":
		return nil, "MissingDigestAndTag"
	case digest != "":
		i = tx.Get(TypeImage, repo.ID+"@"+digest)
		if i != nil && tag != "" && !slices.Contains(tagsOf(i), tag) {
			return nil, "ImageTagDoesNotMatchDigest"
		}
	default:
		i = tagged(tx, repo, tag)
	}
	if i == nil {
		return nil, "ImageNotFound"
	}
	return i, ""
}

func failure(id map[string]any, code string) map[string]any {
	reason := map[string]string{
		"MissingDigestAndTag": "Invalid request parameters: both tag and digest cannot be null", "ImageNotFound": "Requested image not found",
		"ImageTagDoesNotMatchDigest": "Requested image tag does not match the digest",
	}[code]
	return map[string]any{"imageId": id, "failureCode": code, "failureReason": reason}
}

func describeImages(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	list := images(tx, repo.ID)
	if ids := r.Maps("imageIds"); len(ids) > 0 {
		list = nil
		for _, id := range ids {
			i, code := pick(tx, repo, id)
			if code != "" {
				return nil, account.Errorf("ImageNotFoundException", "The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'", props.Str(id, "imageDigest"), props.Str(id, "imageTag"), repo.ID, tx.AccountID())
			}
			list = append(list, i)
		}
	}
	items := []any{}
	for _, i := range list {
		if !wanted(r, i) {
			continue
		}
		d := map[string]any{
			"registryId": tx.AccountID(), "repositoryName": repo.ID, "imageDigest": i.Data["digest"], "imagePushedAt": i.Created,
			"imageSizeInBytes": len(props.Str(i.Data, "manifest")), "imageManifestMediaType": i.Data["media"],
		}
		if t := tagsOf(i); len(t) > 0 {
			d["imageTags"] = t
		}
		items = append(items, d)
	}
	return paged(r, "imageDetails", items)
}

func batchGetImage(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	found, failed := []any{}, []any{}
	for _, id := range r.Maps("imageIds") {
		i, code := pick(tx, repo, id)
		if code != "" {
			failed = append(failed, failure(id, code))
			continue
		}
		found = append(found, map[string]any{
			"registryId": tx.AccountID(), "repositoryName": repo.ID, "imageId": identifier(props.Str(i.Data, "digest"), props.Str(id, "imageTag")),
			"imageManifest": i.Data["manifest"], "imageManifestMediaType": i.Data["media"],
		})
	}
	return map[string]any{"images": found, "failures": failed}, nil
}

// batchDeleteImage removes a tag, and the image with its last one; by digest,
// the image with all of them.
func batchDeleteImage(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	gone, failed := []any{}, []any{}
	ids := r.Maps("imageIds")
	if len(ids) == 0 || len(ids) > 100 {
		return nil, account.Errorf("InvalidParameterException", "Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member must have length between 1 and 100'")
	}
	for _, id := range ids {
		i, code := pick(tx, repo, id)
		if code != "" {
			failed = append(failed, failure(id, code))
			continue
		}
		tag, digest := props.Str(id, "imageTag"), props.Str(i.Data, "digest")
		if props.Str(id, "imageDigest") != "" {
			for _, t := range tagsOf(i) {
				gone = append(gone, identifier(digest, t))
			}
			if len(tagsOf(i)) == 0 {
				gone = append(gone, identifier(digest, ""))
			}
			tx.Drop(TypeImage, i.ID)
			continue
		}
		gone = append(gone, identifier(digest, tag))
		if untag(i, tag); len(tagsOf(i)) == 0 {
			tx.Drop(TypeImage, i.ID)
		}
	}
	return map[string]any{"imageIds": gone, "failures": failed}, nil
}
