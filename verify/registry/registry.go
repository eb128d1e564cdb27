// Package registry has the checks of ECR repositories.
//
// Invariants: a check compares what the account says with what follows from the
// configuration, and writes nothing.
//
// Limits: images are not pulled.
package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// registryFacts are what the ECR repositories are.
type registryFacts struct {
	repositoriesFact account.Fact[map[string]types.Repository]
	scanningFact     account.Fact[map[string]types.RepositoryScanningConfiguration]
	expiryFact       account.Keyed[[]expiryRule]
}

// repositories are the planned repositories that are there, by name.
func repositories(l *account.Look) (map[string]types.Repository, error) {
	return account.Facts[registryFacts](l).repositoriesFact.Get(func() (map[string]types.Repository, error) {
		planned := map[string]bool{}
		for _, name := range l.Arch.Config.Registry.Repositories {
			planned[l.Arch.RepositoryName(name)] = true
		}
		found := map[string]types.Repository{}
		// Asked for by name, one that is missing would hide the others.
		pages := ecr.NewDescribeRepositoriesPaginator(l.AWS.ECR, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
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
func scanning(l *account.Look) (map[string]types.RepositoryScanningConfiguration, error) {
	return account.Facts[registryFacts](l).scanningFact.Get(func() (map[string]types.RepositoryScanningConfiguration, error) {
		repos, err := repositories(l)
		if err != nil {
			return nil, err
		}
		found := map[string]types.RepositoryScanningConfiguration{}
		for names := range slices.Chunk(account.SortedKeys(repos), 25) { // as many as ECR takes
			out, err := l.AWS.ECR.BatchGetRepositoryScanningConfiguration(l.Ctx, &ecr.BatchGetRepositoryScanningConfigurationInput{RepositoryNames: names})
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
func expiry(l *account.Look, name string) ([]expiryRule, error) {
	return account.Facts[registryFacts](l).expiryFact.Get(name, func() ([]expiryRule, error) {
		out, err := account.OrNone(l.AWS.ECR.GetLifecyclePolicy(l.Ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &name}))
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
func eachRepository(f func(l *account.Look, r *check.Recorder, repo types.Repository) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		repos, err := repositories(l)
		if err != nil {
			return err
		}
		for _, name := range account.SortedKeys(repos) {
			if err := f(l, r, repos[name]); err != nil {
				return err
			}
		}
		if len(repos) == 0 {
			r.NA("there are no repositories, as repository-there says")
		}
		return nil
	}
}

// Checks are the checks of repositories, in the order of reports.
func Checks() []check.Check {
	return []check.Check{
		{
			ID: "repository-there", Level: check.Required, Rows: []string{"C14"},
			Proves: "All configured repositories are there.",
			Run: func(l *account.Look, r *check.Recorder) error {
				repos, err := repositories(l)
				if err != nil {
					return err
				}
				if len(l.Arch.Config.Registry.Repositories) == 0 {
					r.NA("registry.repositories is empty")
				}
				for _, name := range l.Arch.Config.Registry.Repositories {
					name = l.Arch.RepositoryName(name)
					if repo, ok := repos[name]; ok {
						r.Saw(true, aws.ToString(repo.RepositoryArn), "there", seeRepository, "", "")
						continue
					}
					r.Missing(name, seeRepository, "aws ecr create-repository --repository-name "+name+" --image-tag-mutability IMMUTABLE, with the key "+l.Arch.KeyAlias(architecture.KeyRegistry)+", then push its images again")
				}
				return nil
			},
		},
		{
			ID: "repository-immutable", Level: check.Required, Rows: []string{"C14", "B47"},
			Proves: "A tag means the same image for ever.",
			Run: eachRepository(func(_ *account.Look, r *check.Recorder, repo types.Repository) error {
				saw := string(repo.ImageTagMutability)
				for _, f := range repo.ImageTagMutabilityExclusionFilters {
					saw += ", except " + aws.ToString(f.Filter)
				}
				r.Saw(repo.ImageTagMutability == types.ImageTagMutabilityImmutable, aws.ToString(repo.RepositoryArn), saw, seeRepository, "IMMUTABLE",
					"aws ecr put-image-tag-mutability --image-tag-mutability IMMUTABLE --repository-name "+aws.ToString(repo.RepositoryName))
				return nil
			}),
		},
		{
			ID: "repository-scanned", Level: check.Required, Rows: []string{"C14", "B47"},
			Proves: "Images are scanned when they are pushed, or all the time.",
			Run: eachRepository(func(l *account.Look, r *check.Recorder, repo types.Repository) error {
				all, err := scanning(l)
				if err != nil {
					return err
				}
				name := aws.ToString(repo.RepositoryName)
				how := all[name].ScanFrequency
				saw := string(how)
				if saw == "" {
					saw = "no scanning configuration"
				}
				r.Saw(how == types.ScanFrequencyScanOnPush || how == types.ScanFrequencyContinuousScan, aws.ToString(repo.RepositoryArn), saw, "ecr:BatchGetRepositoryScanningConfiguration",
					"SCAN_ON_PUSH or CONTINUOUS_SCAN", "aws ecr put-image-scanning-configuration --image-scanning-configuration scanOnPush=true --repository-name "+name)
				return nil
			}),
		},
		{
			ID: "repository-encrypted", Level: check.Required, Rows: []string{"S4", "B9"},
			Proves: "Images are encrypted with the registry key.",
			Run: eachRepository(func(l *account.Look, r *check.Recorder, repo types.Repository) error {
				key := ""
				if c := repo.EncryptionConfiguration; c != nil && strings.HasPrefix(string(c.EncryptionType), "KMS") {
					key = aws.ToString(c.KmsKey)
				}
				return check.SawKey(l, r, aws.ToString(repo.RepositoryArn), key, seeRepository, architecture.KeyRegistry,
					"a repository's key can't change: make it again with the key, and push its images again")
			}),
		},
		{
			ID: "repository-private", Level: check.Required, Rows: []string{"S6"},
			Proves: "No repository's policy lets another account in.",
			Run: eachRepository(func(l *account.Look, r *check.Recorder, repo types.Repository) error {
				const api = "ecr:GetRepositoryPolicy"
				name := aws.ToString(repo.RepositoryName)
				out, err := account.OrNone(l.AWS.ECR.GetRepositoryPolicy(l.Ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &name}))
				if err != nil {
					return fmt.Errorf("read the policy of repository %s: %w", name, err)
				}
				if out == nil || aws.ToString(out.PolicyText) == "" {
					r.Saw(true, aws.ToString(repo.RepositoryArn), "no policy", api, "", "")
					return nil
				}
				p, err := policy.Read(*out.PolicyText)
				if err != nil {
					return fmt.Errorf("repository %s: %w", name, err)
				}
				strangers := p.Strangers(l.ID.Account)
				for _, who := range strangers {
					r.Saw(false, aws.ToString(repo.RepositoryArn), "lets in "+who, api, "this account only", "aws ecr delete-repository-policy --repository-name "+name+"; if it is shared on purpose, skip this check with the reason")
				}
				if len(strangers) == 0 {
					r.Saw(true, aws.ToString(repo.RepositoryArn), "a policy for this account only", api, "", "")
				}
				return nil
			}),
		},
		{
			ID: "repository-expiry", Level: check.Advised, Rows: []string{"C14"},
			Proves: "Images that lost their tag end when configured.",
			Run: eachRepository(func(l *account.Look, r *check.Recorder, repo types.Repository) error {
				name, want := aws.ToString(repo.RepositoryName), l.Arch.Config.Registry.UntaggedDays
				rules, err := expiry(l, name)
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
				r.Saw(ok, aws.ToString(repo.RepositoryArn), saw, "ecr:GetLifecyclePolicy", fmt.Sprintf("after %d days", want), "aws ecr put-lifecycle-policy --repository-name "+name+", with a rule for untagged images")
				return nil
			}),
		},
		{
			ID: "repository-keeps-images", Level: check.Required, Rows: []string{"C14"},
			Proves: "No rule removes an image that has a tag, which a new node may have to pull.",
			Run: eachRepository(func(l *account.Look, r *check.Recorder, repo types.Repository) error {
				name := aws.ToString(repo.RepositoryName)
				rules, err := expiry(l, name)
				if err != nil {
					return err
				}
				bad := slices.DeleteFunc(slices.Clone(rules), func(rule expiryRule) bool { return rule.Selection.TagStatus == "untagged" })
				saw := fmt.Sprintf("%d rules, for images without a tag only", len(rules))
				if len(bad) > 0 {
					saw = fmt.Sprintf("rule %d is for images of tag status %s", bad[0].RulePriority, bad[0].Selection.TagStatus)
				}
				r.Saw(len(bad) == 0, aws.ToString(repo.RepositoryArn), saw, "ecr:GetLifecyclePolicy", "rules for images without a tag only", "take the rule out: aws ecr put-lifecycle-policy --repository-name "+name)
				return nil
			}),
		},
	}
}
