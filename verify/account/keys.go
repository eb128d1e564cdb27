package account

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/poolhouse/poolhouse/architecture"
)

// keyFacts are what the KMS keys are.
type keyFacts struct {
	keysFact Fact[map[architecture.KeyPurpose]string]
	keyFact  Keyed[*types.KeyMetadata]
}

// Keys are the ids of the deployment's KMS keys by purpose, as its aliases
// have them.
func (l *Look) Keys() (map[architecture.KeyPurpose]string, error) {
	return l.keysFact.Get(func() (map[architecture.KeyPurpose]string, error) {
		found := map[architecture.KeyPurpose]string{}
		pages := kms.NewListAliasesPaginator(l.AWS.KMS, &kms.ListAliasesInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the aliases of keys: %w", err)
			}
			for _, a := range page.Aliases {
				if purpose, ok := strings.CutPrefix(aws.ToString(a.AliasName), "alias/"+l.Arch.Name()+"/"); ok && a.TargetKeyId != nil {
					found[architecture.KeyPurpose(purpose)] = *a.TargetKeyId
				}
			}
		}
		return found, nil
	})
}

// Key is what KMS says of a key that is named by id, ARN or alias; nil where
// there is none.
func (l *Look) Key(ref string) (*types.KeyMetadata, error) {
	return l.keyFact.Get(ref, func() (*types.KeyMetadata, error) {
		out, err := OrNone(l.AWS.KMS.DescribeKey(l.Ctx, &kms.DescribeKeyInput{KeyId: &ref}))
		if err != nil {
			return nil, fmt.Errorf("look up key %s: %w", ref, err)
		}
		if out == nil {
			return nil, nil
		}
		return out.KeyMetadata, nil
	})
}

// KeyIDOf is the id of a KMS key from its ARN.
func KeyIDOf(arn string) string { return strings.TrimPrefix(ResourceOf(arn), "key/") }
