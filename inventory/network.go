package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// own filters by the deployment's tag.
func (r *reading) own() types.Filter { return filter("tag:"+Tag, r.arch.Name()) }

// ClusterTags are the tags, key and value, that controllers put on what they
// make for a cluster: load balancers and their groups, volumes, and EKS its own
// security group.
//
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/#resource-tags
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/tagging.md
func ClusterTags(cluster string) map[string]string {
	return map[string]string{
		"elbv2.k8s.aws/cluster":            cluster,
		"kubernetes.io/cluster/" + cluster: "owned",
		"aws:eks:cluster-name":             cluster,
		"cluster.k8s.amazonaws.com/name":   cluster,
	}
}

// origin says by which of its tags a thing belongs to the deployment, or "".
func (r *reading) origin(tags map[string]string) Origin {
	if tags[Tag] == r.arch.Name() {
		return ByTag
	}
	if r.foreign {
		return ""
	}
	for k, v := range ClusterTags(r.arch.ClusterName()) {
		if tags[k] == v {
			return ByCluster
		}
	}
	return ""
}

func tagsOf(list []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range list {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// vpcs finds the deployment's own VPC, which its stack may have lost.
func (r *reading) vpcs(ctx context.Context) error {
	for page, err := range awsapi.Pages(ctx, ec2.NewDescribeVpcsPaginator(r.aws.EC2, &ec2.DescribeVpcsInput{Filters: []types.Filter{r.own()}})) {
		if err != nil {
			return err
		}
		for _, v := range page.Vpcs {
			id := aws.ToString(v.VpcId)
			r.hold("AWS::EC2::VPC", id)
			r.add(Item{Type: "AWS::EC2::VPC", ID: id, Origin: ByTag})
		}
	}
	return nil
}

// places are the filters under which things of a network are looked for: by the
// deployment's VPC, its tag and the cluster's tags.
func (r *reading) places() [][]types.Filter {
	out := [][]types.Filter{{r.own()}}
	if vpcs := r.held["AWS::EC2::VPC"]; len(vpcs) > 0 {
		out = append(out, []types.Filter{filter("vpc-id", vpcs...)})
	}
	if r.foreign {
		return out
	}
	for k, v := range ClusterTags(r.arch.ClusterName()) {
		out = append(out, []types.Filter{filter("tag:"+k, v)})
	}
	return out
}

// Attached says what an interface in use is of, in the words of
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html,
// and whether an AWS service manages it.
func Attached(eni types.NetworkInterface) (by string, managed bool) {
	d := aws.ToString(eni.Description)
	if a := eni.Attachment; a != nil && aws.ToString(a.InstanceId) != "" {
		return "instance " + aws.ToString(a.InstanceId), false
	}
	if aws.ToBool(eni.RequesterManaged) || eni.InterfaceType != "" && eni.InterfaceType != types.NetworkInterfaceTypeInterface {
		return d, true
	}
	for _, p := range []string{"ELB ", "Amazon EKS ", "RDSNetworkInterface", "VPC Endpoint Interface ", "AWS Lambda VPC ENI"} {
		if strings.HasPrefix(d, p) {
			return d, true
		}
	}
	return d, false
}

func (r *reading) interfaces(ctx context.Context) error {
	for _, filters := range r.places() {
		for page, err := range awsapi.Pages(ctx, ec2.NewDescribeNetworkInterfacesPaginator(r.aws.EC2, &ec2.DescribeNetworkInterfacesInput{Filters: filters})) {
			if err != nil {
				return err
			}
			for _, eni := range page.NetworkInterfaces {
				by, _ := Attached(eni)
				i := Item{Type: "AWS::EC2::NetworkInterface", ID: aws.ToString(eni.NetworkInterfaceId), State: string(eni.Status), Origin: r.origin(tagsOf(eni.TagSet))}
				if i.Origin == "" {
					i.Origin = ByVPC
				}
				if i.Part = eni.Status != types.NetworkInterfaceStatusAvailable; i.Part {
					i.Why = "of " + by
				} else {
					i.Why = "left behind, detached: " + aws.ToString(eni.Description)
				}
				r.add(i)
			}
		}
	}
	return nil
}

func (r *reading) endpoints(ctx context.Context) error {
	for _, filters := range r.places() {
		for page, err := range awsapi.Pages(ctx, ec2.NewDescribeVpcEndpointsPaginator(r.aws.EC2, &ec2.DescribeVpcEndpointsInput{Filters: filters})) {
			if err != nil {
				return err
			}
			for _, e := range page.VpcEndpoints {
				// One that is gone is described for some time.
				if e.State == types.StateDeleted {
					continue
				}
				origin := r.origin(tagsOf(e.Tags))
				if origin == "" {
					origin = ByVPC
				}
				r.add(Item{Type: "AWS::EC2::VPCEndpoint", ID: aws.ToString(e.VpcEndpointId), State: string(e.State), Origin: origin, Why: "for " + aws.ToString(e.ServiceName)})
			}
		}
	}
	return nil
}

func (r *reading) groups(ctx context.Context) error {
	for _, filters := range r.places() {
		for page, err := range awsapi.Pages(ctx, ec2.NewDescribeSecurityGroupsPaginator(r.aws.EC2, &ec2.DescribeSecurityGroupsInput{Filters: filters})) {
			if err != nil {
				return err
			}
			for _, g := range page.SecurityGroups {
				tags := tagsOf(g.Tags)
				i := Item{Type: "AWS::EC2::SecurityGroup", ID: aws.ToString(g.GroupId), Origin: r.origin(tags), Why: aws.ToString(g.GroupName) + ": " + aws.ToString(g.Description)}
				if i.Origin == "" {
					i.Origin = ByVPC
				}
				// The VPC's own goes with it, and EKS's with its cluster.
				i.Part = aws.ToString(g.GroupName) == "default" ||
					tags["aws:eks:cluster-name"] == r.arch.ClusterName() && r.has("AWS::EKS::Cluster", r.arch.ClusterName())
				r.add(i)
			}
		}
	}
	return nil
}

// volumes are those of pods, and all under a key of the deployment's, with their
// snapshots: a node's own goes with it.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
func (r *reading) volumes(ctx context.Context) error {
	for _, filters := range [][]types.Filter{{filter("encrypted", "true")}, {r.own()}, {filter("tag:kubernetes.io/cluster/"+r.arch.ClusterName(), "owned")}} {
		for page, err := range awsapi.Pages(ctx, ec2.NewDescribeVolumesPaginator(r.aws.EC2, &ec2.DescribeVolumesInput{Filters: filters})) {
			if err != nil {
				return err
			}
			for _, v := range page.Volumes {
				tags := tagsOf(v.Tags)
				claim := tags["CSIVolumeName"]
				i := Item{
					Type: "AWS::EC2::Volume", ID: aws.ToString(v.VolumeId), State: string(v.State), Origin: r.origin(tagsOf(v.Tags)),
					Key: aws.ToString(v.KmsKeyId), Part: claim == "" && len(v.Attachments) > 0, Data: true,
				}
				if i.Origin == "" {
					if i.Origin = ByKey; !r.hasKey(i.Key) {
						continue
					}
				}
				if i.Why = "a volume that nothing has"; claim != "" {
					i.Why = "the volume " + claim + " of a pod"
				}
				if of := tags["kubernetes.io/created-for/pvc/name"]; claim != "" && of != "" {
					i.Why = fmt.Sprintf("the volume %s of the claim %s/%s", claim, tags["kubernetes.io/created-for/pvc/namespace"], of)
				}
				r.add(i)
			}
		}
	}
	for page, err := range awsapi.Pages(ctx, ec2.NewDescribeSnapshotsPaginator(r.aws.EC2, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})) {
		if err != nil {
			return err
		}
		for _, s := range page.Snapshots {
			i := Item{
				Type: "AWS::EC2::Snapshot", ID: aws.ToString(s.SnapshotId), Origin: r.origin(tagsOf(s.Tags)),
				Why: snapshotOf(s), State: string(s.State), Key: aws.ToString(s.KmsKeyId), Data: true,
			}
			if i.Origin == "" {
				if i.Origin = ByKey; !r.hasKey(i.Key) {
					continue
				}
			}
			r.add(i)
		}
	}
	return nil
}

// snapshotOf says what a snapshot is of, and what EBS charges for it.
// https://aws.amazon.com/ebs/pricing/
func snapshotOf(s types.Snapshot) string {
	why := "a snapshot of volume " + aws.ToString(s.VolumeId)
	if name := tagsOf(s.Tags)["CSIVolumeSnapshotName"]; name != "" {
		why = fmt.Sprintf("the snapshot %s of a pod's volume %s", name, aws.ToString(s.VolumeId))
	}
	return fmt.Sprintf("%s, of %d GiB, of which EBS charges for the blocks that no earlier snapshot has", why, aws.ToInt32(s.VolumeSize))
}

func (r *reading) addresses(ctx context.Context) error {
	out, err := r.aws.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []types.Filter{r.own()}})
	if err != nil {
		return err
	}
	for _, a := range out.Addresses {
		// CloudFormation's physical id is the address.
		i := Item{Type: "AWS::EC2::EIP", ID: aws.ToString(a.PublicIp), Origin: ByTag, Why: aws.ToString(a.AllocationId)}
		r.add(i)
	}
	return nil
}

// ClassicLoadBalancer is CloudFormation's name of load balancers before version 2.
const ClassicLoadBalancer = "AWS::ElasticLoadBalancing::LoadBalancer"

// tagBatch is how many resources ELB tells the tags of at a time.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
const tagBatch = 20

// elbOrigins tells by which tags the ARNs belong to the deployment.
func (r *reading) elbOrigins(ctx context.Context, arns []string) (map[string]Origin, error) {
	out := map[string]Origin{}
	for batch := range slices.Chunk(arns, tagBatch) {
		got, err := r.aws.ELB.DescribeTags(ctx, &elb.DescribeTagsInput{ResourceArns: batch})
		if awsapi.IsNotFound(err) {
			// One of them has just gone; the others are asked for one by one.
			for _, arn := range batch {
				one, err := r.aws.ELB.DescribeTags(ctx, &elb.DescribeTagsInput{ResourceArns: []string{arn}})
				if awsapi.IsNotFound(err) {
					continue
				}
				if err != nil {
					return nil, err
				}
				r.elbTags(out, one.TagDescriptions)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		r.elbTags(out, got.TagDescriptions)
	}
	return out, nil
}

func (r *reading) elbTags(out map[string]Origin, list []elbtypes.TagDescription) {
	for _, d := range list {
		tags := map[string]string{}
		for _, t := range d.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		if o := r.origin(tags); o != "" {
			out[aws.ToString(d.ResourceArn)] = o
		}
	}
}

func (r *reading) balancers(ctx context.Context) error {
	vpc, names := map[string]string{}, map[string]string{}
	var arns []string
	for page, err := range awsapi.Pages(ctx, elb.NewDescribeLoadBalancersPaginator(r.aws.ELB, &elb.DescribeLoadBalancersInput{})) {
		if err != nil {
			return err
		}
		for _, b := range page.LoadBalancers {
			arn := aws.ToString(b.LoadBalancerArn)
			arns = append(arns, arn)
			vpc[arn], names[arn] = aws.ToString(b.VpcId), aws.ToString(b.LoadBalancerName)
		}
	}
	origins, err := r.elbOrigins(ctx, arns)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		o := origins[arn]
		if o == "" && r.has("AWS::EC2::VPC", vpc[arn]) {
			o = ByVPC
		}
		if o != "" {
			r.add(Item{Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", ID: arn, ARN: arn, Origin: o, Why: "load balancer " + names[arn]})
		}
	}
	return nil
}

func (r *reading) targetGroups(ctx context.Context) error {
	names := map[string]string{}
	var arns []string
	for page, err := range awsapi.Pages(ctx, elb.NewDescribeTargetGroupsPaginator(r.aws.ELB, &elb.DescribeTargetGroupsInput{})) {
		if err != nil {
			return err
		}
		for _, g := range page.TargetGroups {
			arn := aws.ToString(g.TargetGroupArn)
			arns = append(arns, arn)
			names[arn] = aws.ToString(g.TargetGroupName)
		}
	}
	origins, err := r.elbOrigins(ctx, arns)
	if err != nil {
		return err
	}
	for arn, o := range origins {
		r.add(Item{Type: "AWS::ElasticLoadBalancingV2::TargetGroup", ID: arn, ARN: arn, Origin: o, Why: "target group " + names[arn]})
	}
	return nil
}

// classicBalancers are those that Kubernetes makes for a Service where no load
// balancer controller is installed: what bears a hash for a name and the tag
// kubernetes.io/cluster/NAME. No stack of the deployment has one.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
func (r *reading) classicBalancers(ctx context.Context) error {
	vpc := map[string]string{}
	var names []string
	for page, err := range awsapi.Pages(ctx, classic.NewDescribeLoadBalancersPaginator(r.aws.ClassicELB, &classic.DescribeLoadBalancersInput{})) {
		if err != nil {
			return err
		}
		for _, b := range page.LoadBalancerDescriptions {
			name := aws.ToString(b.LoadBalancerName)
			names = append(names, name)
			vpc[name] = aws.ToString(b.VPCId)
		}
	}
	tags, err := r.classicTags(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		o := r.origin(tags[name])
		if o == "" && r.has("AWS::EC2::VPC", vpc[name]) {
			o = ByVPC
		}
		if o == "" {
			continue
		}
		why := "classic load balancer " + name
		if service := tags[name]["kubernetes.io/service-name"]; service != "" {
			why += " of the Service " + service
		}
		r.add(Item{Type: ClassicLoadBalancer, ID: name, Origin: o, Why: why})
	}
	return nil
}

// classicTags are the tags of classic load balancers by name. One that has just
// gone has none.
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeTags.html
func (r *reading) classicTags(ctx context.Context, names []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	read := func(names ...string) error {
		got, err := r.aws.ClassicELB.DescribeTags(ctx, &classic.DescribeTagsInput{LoadBalancerNames: names})
		if err != nil {
			return err
		}
		for _, d := range got.TagDescriptions {
			tags := map[string]string{}
			for _, t := range d.Tags {
				tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			out[aws.ToString(d.LoadBalancerName)] = tags
		}
		return nil
	}
	for batch := range slices.Chunk(names, tagBatch) {
		err := read(batch...)
		if awsapi.IsNotFound(err) {
			for _, name := range batch {
				if err := read(name); err != nil && !awsapi.IsNotFound(err) {
					return nil, err
				}
			}
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// OfCluster are the load balancers, target groups and security groups that
// controllers or EKS made for the cluster, by their tags; none where the cluster that
// bears the name now is somebody else's. Unlike [Read] it fails
// if one of these can't be listed, unless the caller may not list it.
func OfCluster(ctx context.Context, c *awsapi.Clients, a *architecture.Architecture) (*Inventory, error) {
	return ofCluster(ctx, &reading{arch: a, aws: c, held: map[string][]string{}, found: map[[2]string]Item{}})
}

// Foreign tells that the cluster which bears the deployment's name is somebody else's:
// no stack of the deployment's name made it. A cluster that is gone is nobody's.
func Foreign(ctx context.Context, c *awsapi.Clients, a *architecture.Architecture) (bool, error) {
	r := &reading{arch: a, aws: c, held: map[string][]string{}, found: map[[2]string]Item{}}
	if err := r.clusters(ctx); err != nil {
		return true, fmt.Errorf("look whose cluster %s is: %w", a.ClusterName(), err)
	}
	return r.foreign, nil
}

// OfControllers is [OfCluster] of a cluster that is there, without the group of its
// own, which goes with it.
func OfControllers(ctx context.Context, c *awsapi.Clients, a *architecture.Architecture) (*Inventory, error) {
	r := &reading{arch: a, aws: c, held: map[string][]string{}, found: map[[2]string]Item{}}
	r.hold("AWS::EKS::Cluster", a.ClusterName())
	v, err := ofCluster(ctx, r)
	if err != nil {
		return nil, err
	}
	v.Items = v.Outside()
	return v, nil
}

func ofCluster(ctx context.Context, r *reading) (*Inventory, error) {
	// Whose the cluster is has to be known.
	if err := r.clusters(ctx); err != nil {
		return nil, fmt.Errorf("look whose cluster %s is: %w", r.arch.ClusterName(), err)
	}
	for _, s := range []source{{"load balancers", r.balancers}, {"classic load balancers", r.classicBalancers}, {"target groups", r.targetGroups}, {"security groups", r.groups}} {
		if err := s.read(ctx); err != nil && !awsapi.IsDenied(err) {
			return nil, fmt.Errorf("list %s: %w", s.what, err)
		}
	}
	v := &Inventory{Deployment: r.arch.Name(), Region: r.aws.Region, Time: r.aws.Clock.Now()}
	for _, i := range r.found {
		if i.Origin == ByCluster {
			v.Items = append(v.Items, i)
		}
	}
	slices.SortFunc(v.Items, compare)
	return v, nil
}
