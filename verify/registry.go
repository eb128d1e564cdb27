package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// registryFacts are what the ECR repositories are.
type registryFacts struct {
	repositoriesFact fact[map[string]types.Repository]
	scanningFact     fact[map[string]types.RepositoryScanningConfiguration]
	expiryFact       keyed[[]expiryRule]
}

// repositories are the planned repositories that are there, by name.
func (l *look) repositories() (map[string]types.Repository, error) {
	return l.repositoriesFact.get(func() (map[string]types.Repository, error) {
		planned := map[string]bool{}
		for _, name := range l.arch.Config.Registry.Repositories {
			planned[l.arch.RepositoryName(name)] = true
		}
		found := map[string]types.Repository{}
		// Asked for by name, one that is missing would hide the others.
		pages := ecr.NewDescribeRepositoriesPaginator(l.aws.ECR, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list repositories: %w", err)
			}
			for _, repo := range page.Repositories {
				if name := aws.ToString(repo.RepositoryName); planned[name] {
					found[name] = repo
				}
			}
		}
		return found, nil
	})
}

// scanning is how the repositories are scanned in effect, whether their own
// settings or the registry's rules say so.
func (l *look) scanning() (map[string]types.RepositoryScanningConfiguration, error) {
	return l.scanningFact.get(func() (map[string]types.RepositoryScanningConfiguration, error) {
		repos, err := l.repositories()
		if err != nil {
			return nil, err
		}
		found := map[string]types.RepositoryScanningConfiguration{}
		for names := range slices.Chunk(sortedKeys(repos), 25) { // as many as ECR takes
			out, err := l.aws.ECR.BatchGetRepositoryScanningConfiguration(l.ctx, &ecr.BatchGetRepositoryScanningConfigurationInput{RepositoryNames: names})
			if err != nil {
				return nil, fmt.Errorf("look how repositories are scanned: %w", err)
			}
			for _, c := range out.ScanningConfigurations {
				found[aws.ToString(c.RepositoryName)] = c
			}
		}
		return found, nil
	})
}

// expiryRule is a rule of a lifecycle policy.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
type expiryRule struct {
	RulePriority int
	Selection    struct {
		TagStatus, CountType, CountUnit string
		CountNumber                     int
	}
}

// expiry are the rules of a repository's lifecycle policy.
func (l *look) expiry(name string) ([]expiryRule, error) {
	return l.expiryFact.get(name, func() ([]expiryRule, error) {
		out, err := orNone(l.aws.ECR.GetLifecyclePolicy(l.ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &name}))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the lifecycle policy of %s: %w", name, err)
		case out == nil:
			return nil, nil
		}
		var p struct{ Rules []expiryRule }
		if err := json.Unmarshal([]byte(aws.ToString(out.LifecyclePolicyText)), &p); err != nil {
			return nil, fmt.Errorf("read the lifecycle policy of %s: %w", name, err)
		}
		return p.Rules, nil
	})
}

const seeRepository = "ecr:DescribeRepositories"

// eachRepository looks at the repositories that are there.
func eachRepository(f func(l *look, r *result, repo types.Repository) error) func(*look, *result) error {
	return func(l *look, r *result) error {
		repos, err := l.repositories()
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(repos) {
			if err := f(l, r, repos[name]); err != nil {
				return err
			}
		}
		if len(repos) == 0 {
			r.na("there are no repositories, as repository-there says")
		}
		return nil
	}
}

func registryChecks() []Check {
	return []Check{
		{
			ID: "repository-there", Level: Required, Rows: []string{"C14"},
			Proves: "All configured repositories are there.",
			run: func(l *look, r *result) error {
				repos, err := l.repositories()
				if err != nil {
					return err
				}
				if len(l.arch.Config.Registry.Repositories) == 0 {
					r.na("registry.repositories is empty")
				}
				for _, name := range l.arch.Config.Registry.Repositories {
					name = l.arch.RepositoryName(name)
					if repo, ok := repos[name]; ok {
						r.saw(true, aws.ToString(repo.RepositoryArn), "there", seeRepository, "", "")
						continue
					}
					r.missing(name, seeRepository, "aws ecr create-repository --repository-name "+name+" --image-tag-mutability IMMUTABLE, with the key "+l.arch.KeyAlias(architecture.KeyRegistry)+", then push its images again")
				}
				return nil
			},
		},
		{
			ID: "repository-immutable", Level: Required, Rows: []string{"C14", "B47"},
			Proves: "A tag means the same image for ever.",
			run: eachRepository(func(_ *look, r *result, repo types.Repository) error {
				saw := string(repo.ImageTagMutability)
				for _, f := range repo.ImageTagMutabilityExclusionFilters {
					saw += ", except " + aws.ToString(f.Filter)
				}
				r.saw(repo.ImageTagMutability == types.ImageTagMutabilityImmutable, aws.ToString(repo.RepositoryArn), saw, seeRepository, "IMMUTABLE",
					"aws ecr put-image-tag-mutability --image-tag-mutability IMMUTABLE --repository-name "+aws.ToString(repo.RepositoryName))
				return nil
			}),
		},
		{
			ID: "repository-scanned", Level: Required, Rows: []string{"C14", "B47"},
			Proves: "Images are scanned when they are pushed, or all the time.",
			run: eachRepository(func(l *look, r *result, repo types.Repository) error {
				all, err := l.scanning()
				if err != nil {
					return err
				}
				name := aws.ToString(repo.RepositoryName)
				how := all[name].ScanFrequency
				saw := string(how)
				if saw == "" {
					saw = "no scanning configuration"
				}
				r.saw(how == types.ScanFrequencyScanOnPush || how == types.ScanFrequencyContinuousScan, aws.ToString(repo.RepositoryArn), saw, "ecr:BatchGetRepositoryScanningConfiguration",
					"SCAN_ON_PUSH or CONTINUOUS_SCAN", "aws ecr put-image-scanning-configuration --image-scanning-configuration scanOnPush=true --repository-name "+name)
				return nil
			}),
		},
		{
			ID: "repository-encrypted", Level: Required, Rows: []string{"S4", "B9"},
			Proves: "Images are encrypted with the registry key.",
			run: eachRepository(func(l *look, r *result, repo types.Repository) error {
				key := ""
				if c := repo.EncryptionConfiguration; c != nil && strings.HasPrefix(string(c.EncryptionType), "KMS") {
					key = aws.ToString(c.KmsKey)
				}
				return l.sawKey(r, aws.ToString(repo.RepositoryArn), key, seeRepository, architecture.KeyRegistry,
					"a repository's key can't change: make it again with the key, and push its images again")
			}),
		},
		{
			ID: "repository-private", Level: Required, Rows: []string{"S6"},
			Proves: "No repository's policy lets another account in.",
			run: eachRepository(func(l *look, r *result, repo types.Repository) error {
				const api = "ecr:GetRepositoryPolicy"
				name := aws.ToString(repo.RepositoryName)
				out, err := orNone(l.aws.ECR.GetRepositoryPolicy(l.ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &name}))
				if err != nil {
					return fmt.Errorf("read the policy of repository %s: %w", name, err)
				}
				if out == nil || aws.ToString(out.PolicyText) == "" {
					r.saw(true, aws.ToString(repo.RepositoryArn), "no policy", api, "", "")
					return nil
				}
				p, err := readPolicy(*out.PolicyText)
				if err != nil {
					return fmt.Errorf("repository %s: %w", name, err)
				}
				strangers := l.strangers(p)
				for _, who := range strangers {
					r.saw(false, aws.ToString(repo.RepositoryArn), "lets in "+who, api, "this account only", "aws ecr delete-repository-policy --repository-name "+name+"; if it is shared on purpose, skip this check with the reason")
				}
				if len(strangers) == 0 {
					r.saw(true, aws.ToString(repo.RepositoryArn), "a policy for this account only", api, "", "")
				}
				return nil
			}),
		},
		{
			ID: "repository-expiry", Level: Advised, Rows: []string{"C14"},
			Proves: "Images that lost their tag end when configured.",
			run: eachRepository(func(l *look, r *result, repo types.Repository) error {
				name, want := aws.ToString(repo.RepositoryName), l.arch.Config.Registry.UntaggedDays
				rules, err := l.expiry(name)
				if err != nil {
					return err
				}
				saw, ok := "images without a tag stay for ever", false
				for _, rule := range rules {
					if s := rule.Selection; s.TagStatus == "untagged" && s.CountType == "sinceImagePushed" {
						saw = fmt.Sprintf("images without a tag end after %d days", s.CountNumber)
						ok = ok || s.CountNumber <= want
					}
				}
				r.saw(ok, aws.ToString(repo.RepositoryArn), saw, "ecr:GetLifecyclePolicy", fmt.Sprintf("after %d days", want), "aws ecr put-lifecycle-policy --repository-name "+name+", with a rule for untagged images")
				return nil
			}),
		},
		{
			ID: "repository-keeps-images", Level: Required, Rows: []string{"C14"},
			Proves: "No rule removes an image that has a tag, which a new node may have to pull.",
			run: eachRepository(func(l *look, r *result, repo types.Repository) error {
				name := aws.ToString(repo.RepositoryName)
				rules, err := l.expiry(name)
				if err != nil {
					return err
				}
				bad := slices.DeleteFunc(slices.Clone(rules), func(rule expiryRule) bool { return rule.Selection.TagStatus == "untagged" })
				saw := fmt.Sprintf("%d rules, for images without a tag only", len(rules))
				if len(bad) > 0 {
					saw = fmt.Sprintf("rule %d is for images of tag status %s", bad[0].RulePriority, bad[0].Selection.TagStatus)
				}
				r.saw(len(bad) == 0, aws.ToString(repo.RepositoryArn), saw, "ecr:GetLifecyclePolicy", "rules for images without a tag only", "take the rule out: aws ecr put-lifecycle-policy --repository-name "+name)
				return nil
			}),
		},
	}
}
