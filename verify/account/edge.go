package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// edgeFacts are what the ways in are.
type edgeFacts struct {
	edgeBalancersFact  Fact[[]Balancer]
	edgeListenersFacts Keyed[[]Listener]
	edgeGroupsFacts    Keyed[[]elbtypes.TargetGroup]
	edgeWebACLFacts    Keyed[*waftypes.WebACL]
	edgeZoneFact       Fact[string]
}

// The two load balancers, as their tag Name ends.
const (
	WebPart   = "web"
	AdminPart = "admin"
)

// Balancer is a load balancer of the deployment.
type Balancer struct {
	elbtypes.LoadBalancer
	// Part is web or admin, or empty for one that the deployment has no use
	// for.
	Part string
	Tags map[string]string
}

// ARN is the load balancer's ARN.
func (b Balancer) ARN() string { return aws.ToString(b.LoadBalancerArn) }

// Listener is a listener with its rules, the default one last.
type Listener struct {
	elbtypes.Listener
	Rules []elbtypes.Rule
}

// ARN is the listener's ARN.
func (l Listener) ARN() string { return aws.ToString(l.ListenerArn) }

// PortNumber is the port that it listens at, or 0.
func (l Listener) PortNumber() int { return int(aws.ToInt32(l.Port)) }

// Balancers are the load balancers that carry the deployment's tag. They
// have no fixed names: a change of the scheme makes another one.
func (l *Look) Balancers() ([]Balancer, error) {
	return l.edgeBalancersFact.Get(func() ([]Balancer, error) {
		byARN := map[string]elbtypes.LoadBalancer{}
		var arns []string
		pages := elb.NewDescribeLoadBalancersPaginator(l.AWS.ELB, &elb.DescribeLoadBalancersInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list load balancers: %w", err)
			}
			for _, b := range page.LoadBalancers {
				arns = append(arns, aws.ToString(b.LoadBalancerArn))
				byARN[aws.ToString(b.LoadBalancerArn)] = b
			}
		}
		tags, err := l.ELBTags(arns)
		if err != nil {
			return nil, err
		}
		var out []Balancer
		for _, arn := range arns {
			if tags[arn][architecture.DeploymentTag] != l.Arch.Name() {
				continue
			}
			b := Balancer{LoadBalancer: byARN[arn], Tags: tags[arn]}
			for _, part := range []string{WebPart, AdminPart} {
				if b.Tags["Name"] == l.Arch.LoadBalancerName(part) {
					b.Part = part
				}
			}
			out = append(out, b)
		}
		return out, nil
	})
}

// ELBTags are the tags of load balancers, listeners, rules or target groups. A
// call takes 20.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
func (l *Look) ELBTags(arns []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	batches := slices.Collect(slices.Chunk(arns, 20))
	for len(batches) > 0 {
		batch := batches[0]
		batches = batches[1:]
		got, err := l.AWS.ELB.DescribeTags(l.Ctx, &elb.DescribeTagsInput{ResourceArns: batch})
		if err != nil {
			// One of them, anybody's, may be gone since it was listed: then each
			// is asked by itself.
			gone := strings.HasSuffix(awsapi.Code(err), "NotFound")
			if gone && len(batch) > 1 {
				batches = append(batches, slices.Collect(slices.Chunk(batch, 1))...)
			}
			if gone {
				continue
			}
			return nil, fmt.Errorf("read the tags of load balancers: %w", err)
		}
		for _, d := range got.TagDescriptions {
			tags := map[string]string{}
			for _, t := range d.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			out[aws.ToString(d.ResourceArn)] = tags
		}
	}
	return out, nil
}

// EachBalancer looks at the web and the admin load balancer. One that isn't
// there is the failure of lb-there alone, but a check that saw nothing at all
// could not look.
func (l *Look) EachBalancer(do func(b Balancer) error) error {
	list, err := l.Balancers()
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.Part == "" {
			continue
		}
		if err := do(b); err != nil {
			return err
		}
	}
	return nil
}
