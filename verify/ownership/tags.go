package ownership

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// belonging is something that certainly belongs to the deployment, by what it
// is called or where it stands, with its tags.
type belonging struct {
	id, api string
	tags    map[string]string
	// short says that only the deployment's own tag is promised: where many
	// tags would not fit into a template.
	short bool
}

func tagChecks() []check.Check {
	return []check.Check{
		{
			ID: "tags-deployment", Proves: "Every resource carries the deployment's tag, which roles are bound to and bills are split by.",
			Level: check.Required, Rows: []string{"S6"}, Run: tagsDeployment,
		},
		{
			ID: "tags-own", Proves: "Every resource carries the tags of the configuration.",
			Level: check.Advised, Rows: []string{"S6"}, Run: tagsOwn,
		},
	}
}

func tagsDeployment(l *account.Look, r *check.Recorder) error {
	list, err := belongings(l)
	if err != nil {
		return err
	}
	for _, b := range list {
		saw := b.tags[architecture.DeploymentTag]
		r.Saw(saw == l.Arch.Name(), b.id, architecture.DeploymentTag+" is "+check.OrUnset(saw), b.api, l.Arch.Name(),
			"Tag it again: "+architecture.DeploymentTag+"="+l.Arch.Name()+".")
	}
	return nil
}

func tagsOwn(l *account.Look, r *check.Recorder) error {
	keys := slices.DeleteFunc(account.SortedKeys(l.Arch.Config.Tags), func(k string) bool { return k == "Name" })
	if len(keys) == 0 {
		r.NA("the configuration has no tags")
		return nil
	}
	list, err := belongings(l)
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.short {
			continue
		}
		var missing []string
		for _, k := range keys {
			if b.tags[k] != l.Arch.Config.Tags[k] {
				missing = append(missing, k)
			}
		}
		saw := "all of " + strings.Join(keys, ", ")
		if len(missing) > 0 {
			saw = "missing or different: " + strings.Join(missing, ", ")
		}
		r.Saw(len(missing) == 0, b.id, saw, b.api, "all of "+strings.Join(keys, ", "), "Tag it again as the configuration says under tags.")
	}
	return nil
}

// belongings are found by other ways than their tags, or a tag that is gone
// would not be missed. What isn't there is for other checks to say.
func belongings(l *account.Look) ([]belonging, error) {
	return account.Facts[ownershipFacts](l).belongingsFact.Get(func() ([]belonging, error) {
		var out []belonging
		var errs []error
		for _, find := range []func(*account.Look) ([]belonging, error){
			taggedNetwork, taggedEdge, taggedCluster, taggedStorage, taggedKeys, taggedRoles, taggedLogs, taggedParameters,
		} {
			list, err := find(l)
			out, errs = append(out, list...), append(errs, err)
		}
		return out, errors.Join(errs...)
	})
}

// taggedNetwork are subnets of a network that is the deployment's own, nodes
// and their volumes, and NAT.
func taggedNetwork(l *account.Look) ([]belonging, error) {
	instances, err := l.Instances()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range instances {
		ids = append(append(ids, i.ID), i.Volumes...)
	}
	if !l.Given() {
		p, err := l.Places()
		if err != nil {
			return nil, err
		}
		for _, s := range p.Subnets {
			ids = append(ids, s.SubnetID)
		}
	}
	// Without gateways in the configuration those that are there are not its own.
	if account.NATCount(l.Arch) > 0 && !account.SelfManaged(l.Arch.Config.Network.NAT.Mode) {
		gateways, err := l.NatGateways()
		if err != nil {
			return nil, err
		}
		for _, n := range gateways {
			ids = append(ids, aws.ToString(n.NatGatewayId))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	tags := map[string]map[string]string{}
	// A filter takes 200 values.
	for batch := range slices.Chunk(ids, 200) {
		pages := ec2.NewDescribeTagsPaginator(l.AWS.EC2, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: batch}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("read the tags of the network: %w", err)
			}
			for _, t := range page.Tags {
				id := aws.ToString(t.ResourceId)
				if tags[id] == nil {
					tags[id] = map[string]string{}
				}
				tags[id][aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
	}
	var out []belonging
	for _, id := range ids {
		out = append(out, belonging{id: id, api: "ec2:DescribeTags", tags: tags[id]})
	}
	return out, nil
}

// taggedEdge are what hangs on the load balancers, the web ACL and a
// certificate of the deployment's own.
func taggedEdge(l *account.Look) ([]belonging, error) {
	var arns, acls []string
	err := l.EachBalancer(func(b account.Balancer) error {
		groups, err := l.TargetGroups(b.ARN())
		if err != nil {
			return err
		}
		for _, g := range groups {
			arns = append(arns, aws.ToString(g.TargetGroupArn))
		}
		list, err := l.Listeners(b.ARN())
		if err != nil {
			return err
		}
		for _, x := range list {
			arns = append(arns, x.ARN())
		}
		arns = append(arns, b.ARN())
		if !l.Arch.Config.WAF.Enabled {
			return nil
		}
		acl, err := l.WebACL(b.ARN())
		if acl != nil {
			acls = append(acls, aws.ToString(acl.ARN))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	tags, err := l.ELBTags(arns)
	if err != nil {
		return nil, err
	}
	var out []belonging
	for _, arn := range account.SortedKeys(tags) {
		out = append(out, belonging{id: arn, api: "elasticloadbalancing:DescribeTags", tags: tags[arn]})
	}
	slices.Sort(acls)
	for _, arn := range slices.Compact(acls) {
		got, err := l.AWS.WAF.ListTagsForResource(l.Ctx, &wafv2.ListTagsForResourceInput{ResourceARN: &arn})
		if err != nil {
			return nil, fmt.Errorf("read the tags of %s: %w", arn, err)
		}
		b := belonging{id: arn, api: "wafv2:ListTagsForResource", tags: map[string]string{}}
		if got.TagInfoForResource != nil {
			for _, t := range got.TagInfoForResource.TagList {
				b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
		out = append(out, b)
	}
	if l.Arch.Config.Certificate.ARN != "" {
		return out, nil
	}
	used := map[string]bool{}
	err = l.EachListener(true, func(_ account.Balancer, x account.Listener) error {
		for _, c := range x.Certificates {
			if arn := aws.ToString(c.CertificateArn); strings.Contains(arn, ":acm:") {
				used[arn] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, arn := range account.SortedKeys(used) {
		got, err := l.AWS.ACM.ListTagsForCertificate(l.Ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
		if err != nil {
			return nil, fmt.Errorf("read the tags of %s: %w", arn, err)
		}
		b := belonging{id: arn, api: "acm:ListTagsForCertificate", tags: map[string]string{}}
		for _, t := range got.Tags {
			b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		out = append(out, b)
	}
	return out, nil
}

// taggedCluster are the cluster, its node groups and the database.
func taggedCluster(l *account.Look) ([]belonging, error) {
	var out []belonging
	c, err := l.Cluster()
	if err != nil {
		return nil, err
	}
	if c != nil {
		out = append(out, belonging{id: aws.ToString(c.Arn), api: "eks:DescribeCluster", tags: c.Tags})
	}
	groups, err := l.NodeGroups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		out = append(out, belonging{id: g.ARN(), api: "eks:DescribeNodegroup", tags: g.Tags})
	}
	db, err := l.Database()
	if err != nil || db == nil {
		return out, err
	}
	b := belonging{id: aws.ToString(db.DBInstanceArn), api: "rds:DescribeDBInstances", tags: map[string]string{}}
	for _, t := range db.TagList {
		b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return append(out, b), nil
}

// taggedStorage are buckets and repositories.
func taggedStorage(l *account.Look) ([]belonging, error) {
	var out []belonging
	for _, bucket := range l.Arch.Buckets {
		name := l.BucketName(bucket)
		got, err := l.AWS.S3.GetBucketTagging(l.Ctx, &s3.GetBucketTaggingInput{Bucket: &name})
		b := belonging{id: "arn:" + l.ID.Partition + ":s3:::" + name, api: "s3:GetBucketTagging", tags: map[string]string{}}
		switch {
		case awsapi.IsNotFound(err):
			continue
		case awsapi.Code(err) == "NoSuchTagSet": // it has none
		case err != nil:
			return nil, fmt.Errorf("read the tags of bucket %s: %w", name, err)
		default:
			for _, t := range got.TagSet {
				b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
		out = append(out, b)
	}
	for _, repository := range l.Arch.Config.Registry.Repositories {
		arn := l.OwnARN("ecr", "repository/"+l.Arch.RepositoryName(repository))
		got, err := l.AWS.ECR.ListTagsForResource(l.Ctx, &ecr.ListTagsForResourceInput{ResourceArn: &arn})
		if awsapi.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the tags of repository %s: %w", repository, err)
		}
		b := belonging{id: arn, api: "ecr:ListTagsForResource", tags: map[string]string{}}
		for _, t := range got.Tags {
			b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		out = append(out, b)
	}
	return out, nil
}

// taggedKeys are the KMS keys, by their aliases.
func taggedKeys(l *account.Look) ([]belonging, error) {
	keys, err := l.Keys()
	if err != nil {
		return nil, err
	}
	var out []belonging
	for _, p := range slices.Sorted(maps.Keys(keys)) {
		id := keys[p]
		b := belonging{id: l.OwnARN("kms", "key/"+id), api: "kms:ListResourceTags", tags: map[string]string{}}
		pages := kms.NewListResourceTagsPaginator(l.AWS.KMS, &kms.ListResourceTagsInput{KeyId: &id})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("read the tags of key %s: %w", id, err)
			}
			for _, t := range page.Tags {
				b.tags[aws.ToString(t.TagKey)] = aws.ToString(t.TagValue)
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// taggedRoles are the roles of service accounts and nodes.
func taggedRoles(l *account.Look) ([]belonging, error) {
	parts := map[string]bool{}
	for _, s := range l.Arch.ServiceAccounts {
		parts[s.Role] = true
	}
	for _, g := range slices.Concat(l.Arch.NodeGroups, l.Arch.GPUGroups) {
		parts[string(g.Role)+"-nodes"] = true
	}
	var out []belonging
	for _, part := range account.SortedKeys(parts) {
		name := l.Arch.RoleName(part)
		b := belonging{id: l.IAMARN("role/" + name), api: "iam:ListRoleTags", tags: map[string]string{}}
		pages := iam.NewListRoleTagsPaginator(l.AWS.IAM, &iam.ListRoleTagsInput{RoleName: &name})
		there := true
		for there && pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if awsapi.IsNotFound(err) {
				there = false
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read the tags of role %s: %w", name, err)
			}
			for _, t := range page.Tags {
				b.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
		}
		if there {
			out = append(out, b)
		}
	}
	return out, nil
}

// taggedLogs are the log groups whose names the services fix.
func taggedLogs(l *account.Look) ([]belonging, error) {
	names := []string{l.Arch.ClusterLogGroup()}
	if l.Arch.Config.WAF.Enabled {
		names = append(names, l.Arch.WAFLogGroup())
	}
	var out []belonging
	for _, name := range names {
		arn := l.OwnARN("logs", "log-group:"+name)
		got, err := l.AWS.Logs.ListTagsForResource(l.Ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: &arn})
		if awsapi.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the tags of log group %s: %w", name, err)
		}
		out = append(out, belonging{id: arn, api: "logs:ListTagsForResource", tags: got.Tags})
	}
	return out, nil
}

// taggedParameters are the entries in Parameter Store: one listing for each
// tag, since asking entry by entry would take fifty calls.
func taggedParameters(l *account.Look) ([]belonging, error) {
	all, err := parameters(l)
	if err != nil {
		return nil, err
	}
	byName := map[string]belonging{}
	for _, p := range all {
		name := aws.ToString(p.Name)
		byName[name] = belonging{id: l.OwnARN("ssm", "parameter"+name), api: "ssm:DescribeParameters", tags: map[string]string{}}
	}
	for _, key := range account.SortedKeys(l.Arch.Tags) {
		if key == "Name" {
			continue
		}
		pages := ssm.NewDescribeParametersPaginator(l.AWS.SSM, &ssm.DescribeParametersInput{MaxResults: aws.Int32(50), ParameterFilters: []ssmtypes.ParameterStringFilter{
			{Key: aws.String("Path"), Option: aws.String("Recursive"), Values: []string{l.Arch.ParameterPath()}},
			{Key: aws.String("tag:" + key), Values: []string{l.Arch.Tags[key]}},
		}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list the parameters with the tag %s: %w", key, err)
			}
			for _, p := range page.Parameters {
				if b, ok := byName[aws.ToString(p.Name)]; ok {
					b.tags[key] = l.Arch.Tags[key]
				}
			}
		}
	}
	var out []belonging
	for _, name := range account.SortedKeys(byName) {
		out = append(out, byName[name])
	}
	return out, nil
}
