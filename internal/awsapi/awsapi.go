// Package awsapi is the way to AWS: SDK clients with one configuration, one
// retry policy on a clock that can be virtual, and kinds of errors instead of
// texts. It follows the SDK's standard credential chain and endpoint settings.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/poolhouse/poolhouse/internal/clock"
)

// Options say how to reach AWS. The zero value is what the environment says.
type Options struct {
	// Region overrides the environment's.
	Region string
	// Clock paces retries; nil means the machine's.
	Clock clock.Clock
	// Endpoint replaces AWS's endpoints for all services. Together with
	// Region and Credentials it says all there is: then neither the
	// environment nor the SDK's files are read.
	Endpoint string
	// Credentials replace the standard chain.
	Credentials aws.CredentialsProvider
	// HTTPClient replaces the SDK's; what follows is then of no effect.
	HTTPClient aws.HTTPClient
	// Proxy is the URL of an HTTP proxy for calls over HTTPS, and NoProxy what
	// is called without it. HTTPS_PROXY and NO_PROXY win.
	Proxy   string
	NoProxy []string
	// CABundle are authorities to believe besides the machine's, in PEM.
	// AWS_CA_BUNDLE wins.
	CABundle string
	// Expired is called when a call finds that the session of the credentials has
	// ended; while it runs, such calls wait. If it returns nil, they are tried
	// again, with credentials that are looked for anew. Nil lets them fail.
	Expired func(ctx context.Context, failed error) error
	// Guard is asked about each signed request, before it goes out; an error
	// stops it. May be nil. It must be safe for concurrent use.
	Guard func(*http.Request) error
}

// Clients are the services of one account and region. Safe for concurrent use.
type Clients struct {
	Clock clock.Clock
	// Region is the region that all clients but the global ones talk to.
	Region string

	ACM            *acm.Client
	AutoScaling    *autoscaling.Client
	Backup         *backup.Client
	CloudFormation *cloudformation.Client
	CloudTrail     *cloudtrail.Client
	Logs           *cloudwatchlogs.Client
	EC2            *ec2.Client
	ECR            *ecr.Client
	EKS            *eks.Client
	ELB            *elasticloadbalancingv2.Client
	// ClassicELB is Elastic Load Balancing before version 2.
	ClassicELB     *elasticloadbalancing.Client
	IAM            *iam.Client
	KMS            *kms.Client
	RDS            *rds.Client
	Route53        *route53.Client
	S3             *s3.Client
	SecretsManager *secretsmanager.Client
	SNS            *sns.Client
	SSM            *ssm.Client
	STS            *sts.Client
	WAF            *wafv2.Client

	cfg aws.Config
	// gate is what the clients ask before they write; nil without one.
	gate func(context.Context) error
}

// New makes the clients. It reads the SDK's configuration files and
// environment but makes no call.
func New(ctx context.Context, o Options) (*Clients, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	cfg, err := o.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, ErrNoRegion
	}
	cfg.Credentials = provider{cfg.Credentials}
	cfg.APIOptions = append(cfg.APIOptions, countFailures)
	var r *renewal
	if o.Expired != nil {
		r = &renewal{expired: o.Expired, current: cfg.Credentials, turn: make(chan struct{}, 1), load: func(ctx context.Context) (aws.CredentialsProvider, error) {
			again, err := o.load(ctx)
			if cache, ok := again.Credentials.(interface{ Invalidate() }); ok {
				cache.Invalidate()
			}
			return provider{again.Credentials}, err
		}}
		cfg.Credentials = r
	}
	cfg.HTTPClient = sender{cfg.HTTPClient, o.Guard}
	cfg.APIOptions = append(cfg.APIOptions, explainHeads(sts.NewFromConfig(cfg.Copy())))
	if r != nil {
		cfg.APIOptions = append(cfg.APIOptions, r.again)
	}
	return connect(cfg, o.Clock), nil
}

// connect makes the clients of a configuration.
func connect(cfg aws.Config, c clock.Clock) *Clients {
	return &Clients{
		Clock: c, Region: cfg.Region, cfg: cfg,
		ACM:            acm.NewFromConfig(cfg),
		AutoScaling:    autoscaling.NewFromConfig(cfg),
		Backup:         backup.NewFromConfig(cfg),
		CloudFormation: cloudformation.NewFromConfig(cfg),
		CloudTrail:     cloudtrail.NewFromConfig(cfg),
		Logs:           cloudwatchlogs.NewFromConfig(cfg),
		EC2:            ec2.NewFromConfig(cfg),
		ECR:            ecr.NewFromConfig(cfg),
		EKS:            eks.NewFromConfig(cfg),
		ELB:            elasticloadbalancingv2.NewFromConfig(cfg),
		ClassicELB:     elasticloadbalancing.NewFromConfig(cfg),
		IAM:            iam.NewFromConfig(cfg),
		KMS:            kms.NewFromConfig(cfg),
		RDS:            rds.NewFromConfig(cfg),
		Route53:        route53.NewFromConfig(cfg),
		S3: s3.NewFromConfig(cfg, func(so *s3.Options) {
			// A custom endpoint seldom has a host name for every bucket.
			so.UsePathStyle = so.BaseEndpoint != nil
		}),
		SecretsManager: secretsmanager.NewFromConfig(cfg),
		SNS:            sns.NewFromConfig(cfg),
		SSM:            ssm.NewFromConfig(cfg),
		STS:            sts.NewFromConfig(cfg),
		WAF:            wafv2.NewFromConfig(cfg),
	}
}

// load finds the SDK's configuration.
func (o Options) load(ctx context.Context) (aws.Config, error) {
	retryer := func() aws.Retryer { return newRetryer(o.Clock) }
	if o.HTTPClient == nil {
		o.HTTPClient = o.client()
	}
	if o.Endpoint != "" && o.Region != "" && o.Credentials != nil {
		return aws.Config{
			Region: o.Region, BaseEndpoint: &o.Endpoint, Credentials: o.Credentials, HTTPClient: o.HTTPClient, Retryer: retryer,
			// What the SDK's own loader sets.
			RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
			ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		}, nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithRetryer(retryer),
		// The SDK's warnings would stand among the command's own output.
		config.WithLogger(logging.Nop{}),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	load = append(load, config.WithHTTPClient(o.HTTPClient))
	if o.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.Endpoint))
	}
	return config.LoadDefaultConfig(ctx, load...)
}

// sender asks before it sends, if there is a guard, and hides from net/http that a
// request's body can write itself: the SDK closes the body once the answer begins,
// and writing a closed one is an error, for which net/http cuts the connection. The
// answer of a service that is quicker than the end of the sending would be lost, and
// what was carried out be asked for again.
// https://github.com/aws/aws-sdk-go-v2/issues/1825
type sender struct {
	next  aws.HTTPClient
	guard func(*http.Request) error
}

// Do implements [aws.HTTPClient].
func (s sender) Do(r *http.Request) (*http.Response, error) {
	if s.guard != nil {
		if err := s.guard(r); err != nil {
			return nil, err
		}
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return s.next.Do(r)
}

// provider marks the errors of the one that it wraps, for [IsCredentials].
type provider struct{ aws.CredentialsProvider }

func (p provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = &credentialsError{err}
	}
	return c, err
}

// Identity is who calls.
type Identity struct {
	Account   string
	Partition string
	// ARN is the caller's own; for an assumed role, the session's.
	ARN string
	// Principal is what policies and access entries name: for a session of an
	// assumed role, the role's ARN as IAM has it, path included.
	Principal string
}

// Identity asks who the credentials belong to.
func (c *Clients) Identity(ctx context.Context) (Identity, error) {
	out, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, fmt.Errorf("ask who the caller is: %w", err)
	}
	id := Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}
	id.Principal = id.ARN
	// arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION leaves the role's
	// path out, which an access entry must have.
	parts := strings.SplitN(id.ARN, ":", 6)
	if len(parts) != 6 {
		return Identity{}, fmt.Errorf("ask who the caller is: unknown form of ARN %q", id.ARN)
	}
	id.Partition = parts[1]
	if role, ok := strings.CutPrefix(parts[5], "assumed-role/"); ok {
		name, _, _ := strings.Cut(role, "/")
		got, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
		if err != nil {
			return Identity{}, fmt.Errorf("look up the caller's role %s: %w", name, err)
		}
		id.Principal = aws.ToString(got.Role.Arn)
	}
	return id, nil
}

// maxAttempts lets a throttled call go on for a few minutes.
const maxAttempts = 10

// retryer is the SDK's standard retryer with its delays on a clock, and
// without its budget: a deployment is one caller with few calls in flight, and
// giving up early strands it.
type retryer struct {
	*retry.Standard
	clock clock.Clock
}

func newRetryer(c clock.Clock) aws.Retryer {
	return retryer{clock: c, Standard: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = 30 * time.Second
		o.RateLimiter = noLimit{}
		o.Retryables = append([]retry.IsErrorRetryable{refusal{}, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{
			http.StatusTooManyRequests: {},
		}}}, o.Retryables...)
	})}
}

// RetryDelay implements [aws.Retryer]. The delay is over by then: the SDK would
// wait on the machine's clock, see GetRetryToken.
func (r retryer) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

// GetRetryToken implements [aws.RetryerV2]: it is what the SDK calls before an
// attempt is repeated, so the delay is slept here.
func (r retryer) GetRetryToken(ctx context.Context, failed error) (func(error) error, error) {
	failures := 1
	if n, ok := ctx.Value(failuresKey{}).(*int); ok {
		*n++
		failures = *n
	}
	d, err := r.Standard.RetryDelay(failures, failed)
	if err == nil {
		err = r.clock.Sleep(ctx, d)
	}
	if err != nil {
		return nil, &aws.RequestCanceledError{Err: err}
	}
	return func(error) error { return nil }, nil
}

var _ aws.RetryerV2 = retryer{}

// failuresKey finds in a call's context how many of its attempts have failed.
type failuresKey struct{}

// countFailures lets a call count its failed attempts.
func countFailures(s *middleware.Stack) error {
	return s.Initialize.Add(middleware.InitializeMiddlewareFunc("CountFailures", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(context.WithValue(ctx, failuresKey{}, new(int)), in)
	}), middleware.Before)
}

// refusal is not to be repeated: a proxy says the same again.
type refusal struct{}

// IsErrorRetryable implements [retry.IsErrorRetryable].
func (refusal) IsErrorRetryable(err error) aws.Ternary {
	var refused *ProxyError
	if errors.As(err, &refused) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

type noLimit struct{}

func (noLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noLimit) AddTokens(uint) error { return nil }
