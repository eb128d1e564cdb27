package edge

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// tagsAtOnce is how many classic load balancers' tags a call reads.
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeTags.html
const tagsAtOnce = 20

// lbNoClassic looks for what Kubernetes makes of a Service of type LoadBalancer
// where no load balancer controller takes it: a load balancer that faces the
// internet unless an annotation says otherwise.
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
func lbNoClassic(l *account.Look, r *check.Recorder) error {
	const api = "elasticloadbalancing:DescribeLoadBalancers, DescribeTags"
	vpc := ""
	if !l.Given() {
		id, err := l.VPCID()
		if err != nil {
			return err
		}
		vpc = id
	}
	var all []types.LoadBalancerDescription
	pages := classic.NewDescribeLoadBalancersPaginator(l.AWS.ClassicELB, &classic.DescribeLoadBalancersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(l.Ctx)
		if err != nil {
			return fmt.Errorf("list classic load balancers: %w", err)
		}
		all = append(all, page.LoadBalancerDescriptions...)
	}
	seen := false
	for batch := range slices.Chunk(all, tagsAtOnce) {
		tags, err := classicTags(l, batch)
		if err != nil {
			return err
		}
		for _, b := range batch {
			name := aws.ToString(b.LoadBalancerName)
			own := tags[name]["kubernetes.io/cluster/"+l.Arch.ClusterName()] == "owned" || tags[name][architecture.DeploymentTag] == l.Arch.Name()
			if !own && (vpc == "" || aws.ToString(b.VPCId) != vpc) {
				continue
			}
			of := ""
			if service := tags[name]["kubernetes.io/service-name"]; service != "" {
				of = " of the Service " + service
			}
			seen = true
			r.Saw(false, name, fmt.Sprintf("%s, classic%s, in %s", aws.ToString(b.Scheme), of, aws.ToString(b.VPCId)), api, "no classic load balancer",
				"make the Service a ClusterIP, and let people in by the load balancers of the deployment")
		}
	}
	if !seen {
		r.Saw(true, "classic load balancers", fmt.Sprintf("none of %d in the account and region is the cluster's or in its VPC", len(all)), api, "", "")
	}
	return nil
}

// classicTags are the tags of load balancers by name. One that has gone since it
// was listed has none.
func classicTags(l *account.Look, list []types.LoadBalancerDescription) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	var names []string
	for _, b := range list {
		names = append(names, aws.ToString(b.LoadBalancerName))
	}
	batches := [][]string{names}
	for len(batches) > 0 {
		batch := batches[0]
		batches = batches[1:]
		got, err := l.AWS.ClassicELB.DescribeTags(l.Ctx, &classic.DescribeTagsInput{LoadBalancerNames: batch})
		if awsapi.IsNotFound(err) {
			if len(batch) > 1 {
				batches = append(batches, slices.Collect(slices.Chunk(batch, 1))...)
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the tags of classic load balancers: %w", err)
		}
		for _, d := range got.TagDescriptions {
			tags := map[string]string{}
			for _, t := range d.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			out[aws.ToString(d.LoadBalancerName)] = tags
		}
	}
	return out, nil
}
