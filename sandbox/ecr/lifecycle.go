package ecr

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// eventLifecycle lets a repository's lifecycle policy run.
const eventLifecycle = "ecr:lifecycle"

// runsEvery is within what time an image that a rule has come to fit is gone.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
const runsEvery = 24 * time.Hour

// Events are the handlers of this package's events.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){eventUpload: abandon, eventLifecycle: func(tx *account.Tx, e account.Event) {
		repo := tx.Get(TypeRepository, e.ID)
		if repo == nil {
			return
		}
		if at, ok := repo.Data["lifecycleAt"].(time.Time); !ok || at.After(tx.Now()) {
			return // of a former repository of the name
		}
		expire(tx, repo)
		watch(tx, repo)
	}}
}

// watch schedules the next run of a repository's lifecycle policy, as long as
// it has a policy and images.
func watch(tx *account.Tx, repo *account.Resource) {
	if at, ok := repo.Data["lifecycleAt"].(time.Time); ok && at.After(tx.Now()) {
		return
	}
	if repo.Data == nil {
		repo.Data = map[string]any{}
	}
	delete(repo.Data, "lifecycleAt")
	if len(lifecycleRules(repo)) == 0 || len(images(tx, repo.ID)) == 0 {
		return
	}
	repo.Data["lifecycleAt"] = tx.Now().Add(runsEvery)
	tx.After(runsEvery, account.Event{Calendar: true, Kind: eventLifecycle, Type: TypeRepository, ID: repo.ID})
}

// lifecycleRules are a repository's rules by priority.
func lifecycleRules(repo *account.Resource) []lifecycleRule {
	var doc struct {
		Rules []lifecycleRule `json:"rules"`
	}
	if json.Unmarshal([]byte(props.Str(repo.Props, "LifecyclePolicy", "LifecyclePolicyText")), &doc) != nil {
		return nil
	}
	slices.SortFunc(doc.Rules, func(a, b lifecycleRule) int { return cmp.Compare(a.RulePriority, b.RulePriority) })
	return doc.Rules
}

// expire deletes the images that the rules expire. An image that a rule selects
// by its tags is out of reach of the rules of lower priority, whether it
// expires or not. Rules that move images, or that go by when they were pulled,
// do nothing here. An image that a manifest list has stays as long as that.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
func expire(tx *account.Tx, repo *account.Resource) {
	left := images(tx, repo.ID)
	// The newest first.
	slices.SortStableFunc(left, func(a, b *account.Resource) int { return b.Created.Compare(a.Created) })
	for _, r := range lifecycleRules(repo) {
		var rest []*account.Resource
		kept := 0
		for _, i := range left {
			if !r.selects(i) {
				rest = append(rest, i)
				continue
			}
			if r.Action.Type == "expire" && r.over(tx, i, kept) && !referenced(i) {
				remove(tx, repo, i)
				continue
			}
			kept++
		}
		left = rest
	}
}

// selects tells whether a rule is about an image.
func (r lifecycleRule) selects(i *account.Resource) bool {
	tags := tagsOf(i)
	switch r.Selection.TagStatus {
	case "any":
		return true
	case "untagged":
		return len(tags) == 0
	}
	for _, prefix := range r.Selection.TagPrefixList {
		if !slices.ContainsFunc(tags, func(t string) bool { return strings.HasPrefix(t, prefix) }) {
			return false
		}
	}
	for _, pattern := range r.Selection.TagPatternList {
		if !slices.ContainsFunc(tags, func(t string) bool { return policy.Like(pattern, t) }) {
			return false
		}
	}
	return len(tags) > 0
}

// over tells whether the time of an image is over, as of which newer ones are
// kept.
func (r lifecycleRule) over(tx *account.Tx, i *account.Resource, newer int) bool {
	switch r.Selection.CountType {
	case "imageCountMoreThan":
		return newer >= r.Selection.CountNumber
	case "sinceImagePushed":
		return !i.Created.After(tx.Now().AddDate(0, 0, -r.Selection.CountNumber))
	}
	return false
}
