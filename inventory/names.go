package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	acmtypes "github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// pendingDeletion is the state of a key whose deletion is scheduled.
const pendingDeletion = string(kmstypes.KeyStatePendingDeletion)

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// keys are those of the stacks and all that carry the deployment's tag, such as
// those of a creation that was rolled back. Other people's keys may have
// policies that don't let their tags be read; the deployment's own never do.
func (r *reading) keys(ctx context.Context) error {
	pages := kms.NewListKeysPaginator(r.aws.KMS, &kms.ListKeysInput{})
	var read, denied int
	var refused error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, k := range page.Keys {
			id := aws.ToString(k.KeyId)
			if !r.has("AWS::KMS::Key", id) {
				ours, err := r.keyTagged(ctx, id)
				switch {
				case awsapi.IsDenied(err):
					denied++
					refused = err
					continue
				case err != nil:
					return err
				}
				if read++; !ours {
					continue
				}
			}
			out, err := r.aws.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
			if awsapi.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			m := out.KeyMetadata
			r.hold("AWS::KMS::Key", id)
			r.add(Item{
				Type: "AWS::KMS::Key", ID: id, ARN: aws.ToString(m.Arn), Origin: ByTag, Why: aws.ToString(m.Description),
				State: string(m.KeyState), Until: aws.ToTime(m.DeletionDate), Data: true,
			})
		}
	}
	if read == 0 && denied > 0 {
		return refused
	}
	return nil
}

func (r *reading) keyTagged(ctx context.Context, id string) (bool, error) {
	for page, err := range awsapi.Pages(ctx, kms.NewListResourceTagsPaginator(r.aws.KMS, &kms.ListResourceTagsInput{KeyId: &id})) {
		if awsapi.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(page.Tags, func(t kmstypes.Tag) bool {
			return aws.ToString(t.TagKey) == Tag && aws.ToString(t.TagValue) == r.arch.Name()
		}) {
			return true, nil
		}
	}
	return false, nil
}

func (r *reading) aliases(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, kms.NewListAliasesPaginator(r.aws.KMS, &kms.ListAliasesInput{})) {
		if err != nil {
			return err
		}
		for _, a := range page.Aliases {
			name := aws.ToString(a.AliasName)
			if !strings.HasPrefix(name, r.arch.KeyAlias("")) {
				continue
			}
			origin := ByName
			if r.hasKey(aws.ToString(a.TargetKeyId)) {
				origin = ByKey
			}
			r.add(Item{Type: "AWS::KMS::Alias", ID: name, ARN: aws.ToString(a.AliasArn), Origin: origin, Why: "of key " + aws.ToString(a.TargetKeyId)})
		}
	}
	return nil
}

// logGroups are those of the deployment's names: services write them again
// after they were deleted, if something is still to be said.
func (r *reading) logGroups(ctx context.Context) error {
	for _, pattern := range r.arch.LogGroups() {
		prefix, open := strings.CutSuffix(pattern, "*")
		for page, err := range awsapi.Pages(ctx, cloudwatchlogs.NewDescribeLogGroupsPaginator(r.aws.Logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &prefix})) {
			if err != nil {
				return err
			}
			for _, g := range page.LogGroups {
				name := aws.ToString(g.LogGroupName)
				if !open && name != prefix {
					continue
				}
				i := Item{
					Type: "AWS::Logs::LogGroup", ID: name, ARN: aws.ToString(g.LogGroupArn), Origin: ByName,
					Why: "logs under a name of the deployment's", Created: time.UnixMilli(aws.ToInt64(g.CreationTime)), Key: aws.ToString(g.KmsKeyId),
				}
				if !r.has(i.Type, name) {
					tags, err := r.aws.Logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: &i.ARN})
					if awsapi.IsNotFound(err) {
						continue
					}
					if err != nil {
						return err
					}
					if tags.Tags[Tag] == r.arch.Name() {
						i.Origin = ByTag
					}
				}
				r.add(i)
			}
		}
	}
	return nil
}

// secrets are those with the deployment's tag, also those that can still be
// restored. RDS's own secret of a database goes with it.
func (r *reading) secrets(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, secretsmanager.NewListSecretsPaginator(r.aws.SecretsManager, &secretsmanager.ListSecretsInput{
		Filters: []smtypes.Filter{{Key: smtypes.FilterNameStringTypeTagKey, Values: []string{Tag}}}, IncludePlannedDeletion: aws.Bool(true),
	})) {
		if err != nil {
			return err
		}
		for _, s := range page.SecretList {
			if !slices.ContainsFunc(s.Tags, func(t smtypes.Tag) bool { return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == r.arch.Name() }) {
				continue
			}
			i := Item{
				Type: "AWS::SecretsManager::Secret", ID: aws.ToString(s.ARN), ARN: aws.ToString(s.ARN), Origin: ByTag, Why: aws.ToString(s.Description),
				Key: aws.ToString(s.KmsKeyId), Part: aws.ToString(s.OwningService) != "",
			}
			if s.DeletedDate != nil {
				i.State = pendingDeletion
			}
			r.add(i)
		}
	}
	return nil
}

func (r *reading) parameters(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, ssm.NewDescribeParametersPaginator(r.aws.SSM, &ssm.DescribeParametersInput{ParameterFilters: []ssmtypes.ParameterStringFilter{
		{Key: aws.String("Path"), Option: aws.String("Recursive"), Values: []string{r.arch.ParameterPath()}},
	}})) {
		if err != nil {
			return err
		}
		for _, p := range page.Parameters {
			if strings.HasPrefix(aws.ToString(p.Name), r.arch.LeasePath()+"/") || aws.ToString(p.Name) == r.arch.UpgradePath() {
				continue // who works on it goes when the work is done
			}
			i := Item{Type: "AWS::SSM::Parameter", ID: aws.ToString(p.Name), ARN: aws.ToString(p.ARN), Origin: ByName, Why: aws.ToString(p.Description)}
			if !r.has(i.Type, i.ID) {
				out, err := r.aws.SSM.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{ResourceType: ssmtypes.ResourceTypeForTaggingParameter, ResourceId: &i.ID})
				// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ListTagsForResource.html
				if awsapi.Code(err) == "InvalidResourceId" {
					continue // it is gone
				}
				if err != nil {
					return err
				}
				if tags := texts(out.TagList, func(t ssmtypes.Tag) (k, v *string) { return t.Key, t.Value }); tags[Tag] == r.arch.Name() {
					i.Origin = ByTag
					r.made(&i, tags)
				}
			}
			r.add(i)
		}
	}
	return nil
}

// Certificates asks for certificates of all key types: ACM lists but some of them
// otherwise.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html
func Certificates() *acm.ListCertificatesInput {
	return &acm.ListCertificatesInput{Includes: &acmtypes.Filters{KeyTypes: acmtypes.KeyAlgorithm("").Values()}}
}

// certificates are those with the deployment's tag: also those that another one
// took the place of.
func (r *reading) certificates(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, acm.NewListCertificatesPaginator(r.aws.ACM, Certificates())) {
		if err != nil {
			return err
		}
		for _, c := range page.CertificateSummaryList {
			arn := aws.ToString(c.CertificateArn)
			if c.Type != acmtypes.CertificateTypeAmazonIssued || r.has("AWS::CertificateManager::Certificate", arn) {
				continue
			}
			tags, err := r.aws.ACM.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
			if awsapi.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if slices.ContainsFunc(tags.Tags, func(t acmtypes.Tag) bool { return aws.ToString(t.Key) == Tag && aws.ToString(t.Value) == r.arch.Name() }) {
				r.add(Item{Type: "AWS::CertificateManager::Certificate", ID: arn, ARN: arn, Origin: ByTag, State: string(c.Status), Why: "certificate for " + aws.ToString(c.DomainName)})
			}
		}
	}
	return nil
}
