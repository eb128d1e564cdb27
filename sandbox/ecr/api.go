package ecr

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns ECR's API, with what holds layers of images, or nil if nothing
// does.
func Service(layers Layers) wire.Service {
	l := &uploads{layers}
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
			{Name: "PutImage", Do: onRepository(l.putImage)},
			{Name: "ListImages", Do: onRepository(listImages)},
			{Name: "DescribeImages", Do: onRepository(describeImages)},
			{Name: "BatchGetImage", Do: onRepository(batchGetImage)},
			{Name: "BatchDeleteImage", Do: onRepository(batchDeleteImage)},
			{Name: "GetAccountSetting", Do: getAccountSetting},
			{Name: "PutAccountSetting", Do: putAccountSetting},
			{Name: "BatchCheckLayerAvailability", Do: onRepository(l.available)},
			{Name: "GetDownloadUrlForLayer", Do: onRepository(l.download)},
			{Name: "InitiateLayerUpload", Admit: admits(l.mayBegin), Receive: l.begin, Do: onRepository(l.began)},
			{Name: "UploadLayerPart", Admit: admits(l.mayAppend), Receive: l.append, Do: onRepository(l.appended), MaxBody: maxPart/3*4 + 64<<10},
			{Name: "CompleteLayerUpload", Admit: admits(l.mayComplete), Receive: l.complete, Do: onRepository(l.completed)},
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
	wipe(tx, repo.ID)
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
