package verify

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/poolhouse/poolhouse/architecture"
)

// keyFacts are what the KMS keys are.
type keyFacts struct {
	keysFact fact[map[architecture.KeyPurpose]string]
}

// keys are the ids of the deployment's KMS keys by purpose, as its aliases
// have them.
func (l *look) keys() (map[architecture.KeyPurpose]string, error) {
	return l.keysFact.get(func() (map[architecture.KeyPurpose]string, error) {
		found := map[architecture.KeyPurpose]string{}
		pages := kms.NewListAliasesPaginator(l.aws.KMS, &kms.ListAliasesInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the aliases of keys: %w", err)
			}
			for _, a := range page.Aliases {
				if purpose, ok := strings.CutPrefix(aws.ToString(a.AliasName), "alias/"+l.arch.Name()+"/"); ok && a.TargetKeyId != nil {
					found[architecture.KeyPurpose(purpose)] = *a.TargetKeyId
				}
			}
		}
		return found, nil
	})
}

func keyChecks() []Check { return nil }
