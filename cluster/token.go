package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// A token of EKS is a request to STS, signed for a minute and for one cluster,
// which the cluster sends to learn who has signed it; it takes the request for a
// quarter of an hour after that.
// https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
const (
	tokenPrefix   = "k8s-aws-v1."
	tokenHeader   = "x-k8s-aws-id"
	tokenSeconds  = "60"
	tokenLifetime = 15 * time.Minute
	tokenMargin   = time.Minute
)

// Presign is what NewToken asks of STS. It makes no call.
type Presign interface {
	PresignGetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.PresignOptions)) (*v4.PresignedHTTPRequest, error)
}

// Asserted: AWS's client is what NewToken asks.
var _ Presign = (*sts.PresignClient)(nil)

// Token proves to one cluster who its bearer is.
type Token struct {
	Value string
	// Expires is when another one is needed, a minute before this one ends.
	Expires time.Time
}

// NewToken makes a token for a cluster by its name, of the client's credentials.
// No call is made, unless the credentials have to be fetched.
func NewToken(ctx context.Context, s Presign, c clock.Clock, cluster string) (Token, error) {
	expires := c.Now().Add(tokenLifetime - tokenMargin)
	signed, err := s.PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			o.APIOptions = append(o.APIOptions,
				smithyhttp.SetHeaderValue(tokenHeader, cluster),
				smithyhttp.SetHeaderValue("X-Amz-Expires", tokenSeconds))
		})
	})
	if err != nil {
		return Token{}, fmt.Errorf("sign a token for cluster %s: %w", cluster, err)
	}
	return Token{tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(signed.URL)), expires}, nil
}
