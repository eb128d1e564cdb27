package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/templates"
)

// named are the types whose resources have names of ours, with the property that holds
// it.
var named = map[string]string{
	"AWS::S3::Bucket":      "BucketName",
	"AWS::Logs::LogGroup":  "LogGroupName",
	"AWS::KMS::Alias":      "AliasName",
	"AWS::ECR::Repository": "RepositoryName",
	"AWS::RDS::DBInstance": "DBInstanceIdentifier",
	"AWS::EKS::Cluster":    "Name",
	"AWS::IAM::Role":       "RoleName",
}

// claim is a name that a stack will need.
type claim struct{ stack, id, typ, name string }

// takenNames refuse stacks that are yet to be made and need names that
// something else has already: CloudFormation would find out half-way. Who may
// not look is told so, and that is all. A bucket's name that another account has can't
// be told from one that is free.
func (a *applying) takenNames(ctx context.Context) ([]guard.Refusal, error) {
	var claims []claim
	for n, s := range a.stacks {
		if !a.states[n].Exists() {
			claims = append(claims, a.claims(s)...)
		}
	}
	slices.SortFunc(claims, func(x, y claim) int { return cmp.Or(strings.Compare(x.stack, y.stack), strings.Compare(x.id, y.id)) })
	var aliases map[string]bool
	if slices.ContainsFunc(claims, func(c claim) bool { return c.typ == "AWS::KMS::Alias" }) {
		var err error
		if aliases, err = a.aliases(ctx); awsapi.IsDenied(err) {
			a.blindTo("AWS::KMS::Alias", err)
		} else if err != nil {
			return nil, fmt.Errorf("look whether names are free: %w", err)
		}
	}
	taken := make([]bool, len(claims))
	errs := make([]error, len(claims))
	var wg sync.WaitGroup
	for i, c := range claims {
		wg.Go(func() {
			taken[i], errs[i] = a.taken(ctx, c, aliases)
		})
	}
	wg.Wait()
	denied := map[string]bool{}
	for i, c := range claims {
		if !awsapi.IsDenied(errs[i]) {
			continue
		}
		if !denied[c.typ] {
			denied[c.typ] = true
			a.blindTo(c.typ, errs[i])
		}
		errs[i] = nil
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("look whether names are free: %w", err)
	}
	var all []guard.Refusal
	var own *inventory.Inventory
	for i, c := range claims {
		if !taken[i] {
			continue
		}
		if own == nil {
			var err error
			if own, err = inventory.Read(ctx, a.AWS, a.Architecture); err != nil {
				return nil, err
			}
		}
		fix := "find out whose it is; choose another name, or if nobody needs it: " + removal(inventory.Item{Type: c.typ, ID: c.name})
		if it := own.Find(c.typ, c.name); it != nil && takenAway(*it) {
			fix = ownAdvice(*it)
		}
		path := "name"
		if c.typ == "AWS::S3::Bucket" {
			path = "storage." + strings.ToLower(c.id[:1]) + strings.TrimSuffix(c.id[1:], "Bucket") + ".name"
		}
		all = append(all, guard.Refusal{
			Fault: a.Architecture.Config.Fault(path, fmt.Sprintf("leads to the name %s, which something of type %s has already that no stack of this deployment holds", c.name, c.typ),
				fix),
			Stack: c.stack, Resource: c.id,
		})
	}
	return all, nil
}

// blindTo says that names of a type can't be looked at.
func (a *applying) blindTo(typ string, err error) {
	a.step("", "whether the names of type %s are free is not known: %s", typ, awsapi.Message(err))
}

// claims are the names that a stack's template gives, as far as they are known
// before it is made.
func (a *applying) claims(s templates.Stack) []claim {
	var doc struct {
		Resources map[string]struct {
			Type       string
			Condition  string
			Properties map[string]any
		}
	}
	// Our own templates are JSON.
	_ = json.Unmarshal(s.Body, &doc)
	known := strings.NewReplacer("${AWS::AccountId}", a.account, "${AWS::Region}", a.AWS.Region)
	var list []claim
	for id, r := range doc.Resources {
		property, ok := named[r.Type]
		if !ok || r.Condition != "" {
			continue
		}
		name, isText := r.Properties[property].(string)
		if m, isMap := r.Properties[property].(map[string]any); isMap {
			name, isText = m["Fn::Sub"].(string)
			name = known.Replace(name)
		}
		if isText && !strings.Contains(name, "${") {
			list = append(list, claim{s.StackName, id, r.Type, name})
		}
	}
	return list
}

func (r *run) taken(ctx context.Context, c claim, aliases map[string]bool) (bool, error) {
	var err error
	switch c.typ {
	case "AWS::KMS::Alias":
		return aliases[c.name], nil
	case "AWS::Logs::LogGroup":
		pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(r.AWS.Logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &c.name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return false, err
			}
			for _, g := range page.LogGroups {
				if g.LogGroupName != nil && *g.LogGroupName == c.name {
					return true, nil
				}
			}
		}
		return false, nil
	case "AWS::S3::Bucket":
		_, err = r.AWS.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &c.name})
	case "AWS::ECR::Repository":
		_, err = r.AWS.ECR.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{c.name}})
	case "AWS::RDS::DBInstance":
		_, err = r.AWS.RDS.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &c.name})
	case "AWS::EKS::Cluster":
		_, err = r.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &c.name})
	case "AWS::IAM::Role":
		_, err = r.AWS.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &c.name})
	}
	if awsapi.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// aliases are the names of all key aliases of the region.
func (r *run) aliases(ctx context.Context) (map[string]bool, error) {
	all := map[string]bool{}
	pages := kms.NewListAliasesPaginator(r.AWS.KMS, &kms.ListAliasesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Aliases {
			if x.AliasName != nil {
				all[*x.AliasName] = true
			}
		}
	}
	return all, nil
}

// S3 gives the name of a deleted bucket back when all regions know of it, within
// minutes or hours.
// https://repost.aws/knowledge-center/s3-conflicting-conditional-operation
const (
	freeing      = 3 * time.Hour
	freeingPause = 5 * time.Minute
)

// bringNamed brings a stack to its spec, and again while S3 has not yet given
// the name of a bucket back.
func (a *applying) bringNamed(ctx context.Context, name architecture.StackName, spec stack.Spec) (*stack.Outcome, error) {
	var out *stack.Outcome
	var failed error
	w := poll.Wait{For: "the names of stack " + spec.Name, Pace: poll.Every(freeingPause)}
	err := a.until(ctx, name, w, func(ctx context.Context, waited time.Duration) (bool, string, error) {
		if failed != nil { // the last time
			st, err := a.driver.Rest(ctx, spec.Name)
			if err != nil {
				return false, "", err
			}
			a.setState(name, st)
		}
		out, failed = a.bringUnguarded(ctx, name, spec)
		bucket := beingFreed(failed)
		if bucket == "" || waited > freeing {
			return true, "", nil
		}
		a.step(name, "S3 has not yet given back the name of %s, which was deleted not long ago: trying again in %s, until %s have passed", bucket, freeingPause, freeing)
		return false, "", nil
	})
	if err != nil {
		return nil, err
	}
	return out, failed
}

// beingFreed is the logical id of the bucket whose name is not free yet, if that
// is why a stack failed.
func beingFreed(err error) string {
	var failed *stack.Error
	if errors.As(err, &failed) && failed.Cause.Type == "AWS::S3::Bucket" && strings.Contains(failed.Cause.Reason, "conflicting conditional operation") {
		return failed.Cause.LogicalID
	}
	return ""
}
