// Package ecr is Amazon Elastic Container Registry: repositories, their
// policies, and the images in them.
//
// Invariants: repository names are unique; an immutable tag never moves; a
// repository with images is deleted only by force or with EmptyOnDelete; what an
// image consists of is in its repository.
//
// Manifests and tags live in the account ("ecr:image", one resource a manifest),
// and so does which repository has which layer ("ecr:layer"): a clone has them
// too. What layers hold is in [Layers], a registry of its own; it keeps them for
// as long as it runs, since a clone may have them still. Docker's protocol is
// package images'.
//
// Limits: without [Layers], manifests are kept whatever they name, and layers are
// not modelled. Scanning, replication, pull-through caches, referrers and
// signing are not modelled; lifecycle policies expire images once a day, and move
// none. Who revokes the grants that ECR made on a key sees no difference.
package ecr

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
)

// The resource types of this package. A repository's id is its name, an
// image's and a layer's "repository@digest".
const (
	TypeRepository = "AWS::ECR::Repository"
	TypeImage      = "ecr:image"
	TypeLayer      = "ecr:layer"
	TypeUpload     = "ecr:upload"
	typeSetting    = "ecr:setting"
)

// Types are the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{repositoryType(), {Name: TypeImage}, {Name: TypeLayer}, {Name: TypeUpload}, {Name: typeSetting}}
}

// arn is a repository's ARN.
func arn(tx *account.Tx, name string) string { return tx.ARN("ecr", "repository/"+name) }

// uri is where clients push and pull.
func uri(tx *account.Tx, name string) string { return Registry(tx) + "/" + name }

// Registry is the name of the account's registry.
func Registry(tx *account.Tx) string {
	suffix := ".amazonaws.com"
	if tx.Partition() == "aws-cn" {
		suffix += ".cn"
	}
	return tx.AccountID() + ".dkr.ecr." + tx.Region() + suffix
}

func repositoryType() *account.Type {
	return &account.Type{
		Name: TypeRepository, Latency: "ecr:repo",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "RepositoryName")
			if name == "" {
				name = strings.ToLower(tx.Name(r, 256))
			}
			if !namePattern.MatchString(name) || len(name) < 2 || len(name) > 256 {
				return account.Errorf("InvalidParameterException", "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''")
			}
			if tx.Get(TypeRepository, name) != nil {
				return account.Errorf("RepositoryAlreadyExistsException", "The repository with name '%s' already exists in the registry with id '%s'", name, tx.AccountID())
			}
			if err := quota.Repositories.Check(tx, tx.Count(TypeRepository)); err != nil {
				return err
			}
			if err := check(r.Props); err != nil {
				return err
			}
			if key := props.Str(r.Props, "EncryptionConfiguration", "KmsKey"); key != "" {
				// ECR makes its grants as the caller.
				// https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
				context := map[string]string{"kms:GrantIsForAWSResource": "true", "kms:ViaService": "ecr." + tx.Region() + ".amazonaws.com"}
				if _, err := kms.Usable(tx, key, "", context, "kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"); err != nil {
					return account.Errorf("KmsException", "The operation failed due to a KMS exception: %v", err)
				}
			}
			r.ID = name
			r.Attrs["Arn"] = arn(tx, name)
			r.Attrs["RepositoryUri"] = uri(tx, name)
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := check(next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			watch(tx, &account.Resource{ID: r.ID, Props: next, Data: r.Data})
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if !props.Bool(r.Props, false, "EmptyOnDelete") && len(images(tx, r.ID)) > 0 {
				return notEmpty(tx, r)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			wipe(tx, r.ID)
		},
	}
}

func notEmpty(tx *account.Tx, r *account.Resource) error {
	return account.Errorf("RepositoryNotEmptyException", "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", r.ID, tx.AccountID())
}

// images are a repository's images by digest.
func images(tx *account.Tx, repository string) []*account.Resource {
	return of(tx, TypeImage, repository)
}

// of are the resources of a type that a repository has.
func of(tx *account.Tx, typ, repository string) []*account.Resource {
	return tx.Where(typ, "repository", func(i *account.Resource) string {
		name, _, _ := strings.Cut(i.ID, "@")
		return name
	}, repository)
}

// wipe removes all that is in a repository.
func wipe(tx *account.Tx, repository string) {
	for _, typ := range []string{TypeImage, TypeLayer, TypeUpload} {
		for _, x := range of(tx, typ, repository) {
			tx.Drop(typ, x.ID)
		}
	}
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	exclusionText = regexp.MustCompile(`^[0-9a-zA-Z._*-]{1,128}$`)
)

// check checks what of a repository can change.
func check(p map[string]any) error {
	tags := props.Str(p, "ImageTagMutability")
	if !slices.Contains([]string{"", "MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"}, tags) {
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]'")
	}
	exclusions := props.Maps(p, "ImageTagMutabilityExclusionFilters")
	if strings.HasSuffix(tags, "_WITH_EXCLUSION") != (len(exclusions) > 0) {
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'exclusion filters go with the mutability settings that end in WITH_EXCLUSION'")
	}
	for _, x := range exclusions {
		if f := props.Str(x, "ImageTagMutabilityExclusionFilterValue"); !exclusionText.MatchString(f) || strings.Count(f, "*") > 2 {
			return account.Errorf("InvalidParameterException", "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'the filter %q is not valid'", f)
		}
	}
	switch e, key := props.Str(p, "EncryptionConfiguration", "EncryptionType"), props.Str(p, "EncryptionConfiguration", "KmsKey"); {
	case !slices.Contains([]string{"", "AES256", "KMS", "KMS_DSSE"}, e):
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'encryptionConfiguration' failed to satisfy constraint: 'Member must satisfy enum value set: [AES256, KMS, KMS_DSSE]'")
	case e != "KMS" && e != "KMS_DSSE" && key != "":
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'encryptionConfiguration' failed to satisfy constraint: 'KMS key can only be specified with the encryption type KMS or KMS_DSSE'")
	}
	if text := props.Str(p, "LifecyclePolicy", "LifecyclePolicyText"); text != "" {
		if err := checkLifecycle(text); err != nil {
			return err
		}
	}
	if doc := p["RepositoryPolicyText"]; doc != nil {
		// A repository's policy names no resource: it is the repository.
		if err := checkPolicy(doc); err != nil {
			return err
		}
	}
	if len(props.Tags(p, "Tags")) > 50 {
		return account.Errorf("TooManyTagsException", "The list of tags on the repository is over the limit. The maximum number of tags that can be applied to a repository is 50.")
	}
	return nil
}

func checkPolicy(doc any) error {
	text, err := policy.Text(doc)
	if err != nil {
		return err
	}
	d, err := policy.Parse(text, policy.Trust)
	if err != nil {
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided: %v'", err)
	}
	for _, s := range d.Statements {
		for _, a := range slices.Concat(s.Actions, s.NotActions) {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "ecr:") {
				return account.Errorf("InvalidParameterException", "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided: action %s'", a)
			}
		}
	}
	return nil
}

// lifecycleRule is a rule of a lifecycle policy.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
type lifecycleRule struct {
	RulePriority int    `json:"rulePriority"`
	Description  string `json:"description"`
	Selection    struct {
		TagStatus      string   `json:"tagStatus"`
		TagPrefixList  []string `json:"tagPrefixList"`
		TagPatternList []string `json:"tagPatternList"`
		StorageClass   string   `json:"storageClass"`
		CountType      string   `json:"countType"`
		CountUnit      string   `json:"countUnit"`
		CountNumber    int      `json:"countNumber"`
	} `json:"selection"`
	Action struct {
		Type               string `json:"type"`
		TargetStorageClass string `json:"targetStorageClass"`
	} `json:"action"`
}

func checkLifecycle(text string) error {
	bad := func(why string) error {
		return account.Errorf("InvalidParameterException", "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: %s'", why)
	}
	if len(text) < 100 || len(text) > 30720 {
		return bad("the text must have 100 to 30720 characters")
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var doc struct {
		Rules []lifecycleRule `json:"rules"`
	}
	if err := d.Decode(&doc); err != nil {
		return bad(err.Error())
	}
	if len(doc.Rules) == 0 || len(doc.Rules) > 50 {
		return bad("a policy has 1 to 50 rules")
	}
	priorities := map[int]bool{}
	for i, r := range doc.Rules {
		s := r.Selection
		named := len(s.TagPrefixList) + len(s.TagPatternList)
		switch {
		case r.RulePriority < 1:
			return bad("rulePriority must be at least 1")
		case priorities[r.RulePriority]:
			return bad("rulePriority must be unique")
		case !slices.Contains([]string{"tagged", "untagged", "any"}, s.TagStatus):
			return bad("tagStatus must be tagged, untagged or any")
		case s.TagStatus == "tagged" && (named == 0 || len(s.TagPrefixList) > 0 && len(s.TagPatternList) > 0):
			return bad("tagStatus tagged needs either tagPrefixList or tagPatternList")
		case s.TagStatus != "tagged" && named > 0:
			return bad("tag lists need the tagStatus tagged")
		case !slices.Contains([]string{"imageCountMoreThan", "sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned"}, s.CountType):
			return bad("countType is not valid")
		case (s.CountType == "imageCountMoreThan") == (s.CountUnit != ""):
			return bad("countUnit goes with the count types of time")
		case s.CountUnit != "" && s.CountUnit != "days":
			return bad("countUnit must be days")
		case s.CountNumber < 1:
			return bad("countNumber must be at least 1")
		case r.Action.Type != "expire" && r.Action.Type != "transition":
			return bad("action must be expire or transition")
		}
		priorities[r.RulePriority] = true
		for _, other := range doc.Rules[:i] {
			if s.TagStatus == "any" && other.RulePriority > r.RulePriority || other.Selection.TagStatus == "any" && other.RulePriority < r.RulePriority {
				return bad("a rule for any image must have the highest rulePriority")
			}
		}
	}
	return nil
}

// Empty tells whether a repository holds no images.
func Empty(tx *account.Tx, repository string) bool { return len(images(tx, repository)) == 0 }

// Policies are the policy of the repository that an ARN names.
func Policies(tx *account.Tx, resource string) []*policy.Document {
	name, ok := strings.CutPrefix(resource, arn(tx, ""))
	r := tx.Get(TypeRepository, name)
	if !ok || r == nil || r.Props["RepositoryPolicyText"] == nil {
		return nil
	}
	// It names no resource, as a trust policy does not.
	doc, err := policy.Parse(r.Props["RepositoryPolicyText"], policy.Trust)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}
