package ecr

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

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

// putImage keeps a manifest. Where layers are held, they and the images that it
// names have to be there.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
func (l *uploads) putImage(tx *account.Tx, r *wire.Request, repo *account.Resource) (any, error) {
	manifest, tag := r.String("imageManifest"), r.String("imageTag")
	parsed, err := parseManifest(manifest)
	// What is no text would come back as another one.
	if err != nil || !utf8.ValidString(manifest) {
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
	if err := l.whole(tx, repo, media, parsed); err != nil {
		return nil, err
	}
	if image == nil {
		image = &account.Resource{
			Type: TypeImage, ID: id, Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Tags: map[string]string{},
			Data: map[string]any{"manifest": manifest, "media": media, "digest": digest},
		}
		tx.Put(image)
		refers(tx, repo, parsed, 1)
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
		"ImageTagDoesNotMatchDigest": "Requested image tag does not match the digest", "ImageReferencedByManifestList": "Requested image referenced by manifest list",
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
			"imageSizeInBytes": size(tx, repo, i), "imageManifestMediaType": i.Data["media"],
		}
		if m := manifestOf(i); m.Config.MediaType != "" {
			d["artifactMediaType"] = m.Config.MediaType
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
		if referenced(i) && (props.Str(id, "imageDigest") != "" || len(tagsOf(i)) == 1) {
			failed = append(failed, failure(id, "ImageReferencedByManifestList"))
			continue
		}
		if props.Str(id, "imageDigest") != "" {
			for _, t := range tagsOf(i) {
				gone = append(gone, identifier(digest, t))
			}
			if len(tagsOf(i)) == 0 {
				gone = append(gone, identifier(digest, ""))
			}
			remove(tx, repo, i)
			continue
		}
		gone = append(gone, identifier(digest, tag))
		if untag(i, tag); len(tagsOf(i)) == 0 {
			remove(tx, repo, i)
		}
	}
	return map[string]any{"imageIds": gone, "failures": failed}, nil
}
