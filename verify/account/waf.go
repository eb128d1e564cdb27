package account

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"
)

// WebACL is the web ACL of a load balancer, or nil.
func (l *Look) WebACL(balancer string) (*types.WebACL, error) {
	return l.edgeWebACLFacts.Get(balancer, func() (*types.WebACL, error) {
		got, err := l.AWS.WAF.GetWebACLForResource(l.Ctx, &wafv2.GetWebACLForResourceInput{ResourceArn: &balancer})
		if err != nil {
			return nil, fmt.Errorf("read the web ACL of %s: %w", balancer, err)
		}
		return got.WebACL, nil
	})
}
