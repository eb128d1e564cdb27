package verify

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

func tagChecks() []Check {
	return []Check{
		{
			ID: "tags-deployment", Proves: "Every resource carries the deployment's tag, which roles are bound to and bills are split by.",
			Level: Required, Rows: []string{"S6"}, run: tagsDeployment,
		},
		{
			ID: "tags-own", Proves: "Every resource carries the tags of the configuration.",
			Level: Advised, Rows: []string{"S6"}, run: tagsOwn,
		},
	}
}

func tagsDeployment(l *look, r *result) error {
	list, err := l.belongings()
	if err != nil {
		return err
	}
	for _, b := range list {
		saw := b.tags[architecture.DeploymentTag]
		r.saw(saw == l.arch.Name(), b.id, architecture.DeploymentTag+" is "+orUnset(saw), b.api, l.arch.Name(),
			"Tag it again: "+architecture.DeploymentTag+"="+l.arch.Name()+".")
	}
	return nil
}

func tagsOwn(l *look, r *result) error {
	keys := slices.DeleteFunc(sortedKeys(l.arch.Config.Tags), func(k string) bool { return k == "Name" })
	if len(keys) == 0 {
		r.na("the configuration has no tags")
		return nil
	}
	list, err := l.belongings()
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.short {
			continue
		}
		var missing []string
		for _, k := range keys {
			if b.tags[k] != l.arch.Config.Tags[k] {
				missing = append(missing, k)
			}
		}
		saw := "all of " + strings.Join(keys, ", ")
		if len(missing) > 0 {
			saw = "missing or different: " + strings.Join(missing, ", ")
		}
		r.saw(len(missing) == 0, b.id, saw, b.api, "all of "+strings.Join(keys, ", "), "Tag it again as the configuration says under tags.")
	}
	return nil
}

// belongings are found by other ways than their tags, or a tag that is gone
// would not be missed. What isn't there is for other checks to say.
func (l *look) belongings() ([]belonging, error) {
	return l.belongingsFact.get(func() ([]belonging, error) {
		var out []belonging
		var errs []error
		for _, find := range []func() ([]belonging, error){
			l.taggedNetwork, l.taggedEdge, l.taggedCluster, l.taggedStorage, l.taggedKeys, l.taggedRoles, l.taggedLogs, l.taggedParameters,
		} {
			list, err := find()
			out, errs = append(out, list...), append(errs, err)
		}
		return out, errors.Join(errs...)
	})
}

// taggedNetwork are subnets of a network that is the deployment's own, nodes
// and their volumes, and NAT.
func (l *look) taggedNetwork() ([]belonging, error) {
	instances, err := l.resInstances()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range instances {
		ids = append(append(ids, i.id), i.volumes...)
	}
	if !l.given() {
		p, err := l.places()
		if err != nil {
			return nil, err
		}
		for _, s := range p.subnets {
			ids = append(ids, s.id)
		}
	}
	// Without gateways in the configuration those that are there are not its own.
	if natCount(l.arch) > 0 && !selfManaged(l.arch.Config.Network.NAT.Mode) {
		gateways, err := l.natGateways()
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
		pages := ec2.NewDescribeTagsPaginator(l.aws.EC2, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: batch}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
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
func (l *look) taggedEdge() ([]belonging, error) {
	var arns, acls []string
	err := l.eachBalancer(func(b edgeBalancer) error {
		groups, err := l.edgeTargetGroups(b.arn())
		if err != nil {
			return err
		}
		for _, g := range groups {
			arns = append(arns, aws.ToString(g.TargetGroupArn))
		}
		list, err := l.edgeListeners(b.arn())
		if err != nil {
			return err
		}
		for _, x := range list {
			arns = append(arns, x.arn())
		}
		arns = append(arns, b.arn())
		if !l.arch.Config.WAF.Enabled {
			return nil
		}
		acl, err := l.edgeWebACL(b.arn())
		if acl != nil {
			acls = append(acls, aws.ToString(acl.ARN))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	tags, err := l.elbTags(arns)
	if err != nil {
		return nil, err
	}
	var out []belonging
	for _, arn := range sortedKeys(tags) {
		out = append(out, belonging{id: arn, api: "elasticloadbalancing:DescribeTags", tags: tags[arn]})
	}
	slices.Sort(acls)
	for _, arn := range slices.Compact(acls) {
		got, err := l.aws.WAF.ListTagsForResource(l.ctx, &wafv2.ListTagsForResourceInput{ResourceARN: &arn})
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
	if l.arch.Config.Certificate.ARN != "" {
		return out, nil
	}
	used := map[string]bool{}
	err = l.eachListener(true, func(_ edgeBalancer, x edgeListener) error {
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
	for _, arn := range sortedKeys(used) {
		got, err := l.aws.ACM.ListTagsForCertificate(l.ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
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
func (l *look) taggedCluster() ([]belonging, error) {
	var out []belonging
	c, err := l.cluster()
	if err != nil {
		return nil, err
	}
	if c != nil {
		out = append(out, belonging{id: aws.ToString(c.Arn), api: "eks:DescribeCluster", tags: c.Tags})
	}
	groups, err := l.nodeGroups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		out = append(out, belonging{id: g.arn(), api: "eks:DescribeNodegroup", tags: g.Tags})
	}
	db, err := l.database()
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
func (l *look) taggedStorage() ([]belonging, error) {
	var out []belonging
	for _, bucket := range l.arch.Buckets {
		name := l.bucketName(bucket)
		got, err := l.aws.S3.GetBucketTagging(l.ctx, &s3.GetBucketTaggingInput{Bucket: &name})
		b := belonging{id: "arn:" + l.id.Partition + ":s3:::" + name, api: "s3:GetBucketTagging", tags: map[string]string{}}
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
	for _, repository := range l.arch.Config.Registry.Repositories {
		arn := l.ownARN("ecr", "repository/"+l.arch.RepositoryName(repository))
		got, err := l.aws.ECR.ListTagsForResource(l.ctx, &ecr.ListTagsForResourceInput{ResourceArn: &arn})
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
func (l *look) taggedKeys() ([]belonging, error) {
	keys, err := l.keys()
	if err != nil {
		return nil, err
	}
	var out []belonging
	for _, p := range slices.Sorted(maps.Keys(keys)) {
		id := keys[p]
		b := belonging{id: l.ownARN("kms", "key/"+id), api: "kms:ListResourceTags", tags: map[string]string{}}
		pages := kms.NewListResourceTagsPaginator(l.aws.KMS, &kms.ListResourceTagsInput{KeyId: &id})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
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
func (l *look) taggedRoles() ([]belonging, error) {
	parts := map[string]bool{}
	for _, s := range l.arch.ServiceAccounts {
		parts[s.Role] = true
	}
	for _, g := range slices.Concat(l.arch.NodeGroups, l.arch.GPUGroups) {
		parts[string(g.Role)+"-nodes"] = true
	}
	var out []belonging
	for _, part := range sortedKeys(parts) {
		name := l.arch.RoleName(part)
		b := belonging{id: l.iamARN("role/" + name), api: "iam:ListRoleTags", tags: map[string]string{}}
		pages := iam.NewListRoleTagsPaginator(l.aws.IAM, &iam.ListRoleTagsInput{RoleName: &name})
		there := true
		for there && pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
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
func (l *look) taggedLogs() ([]belonging, error) {
	names := []string{l.arch.ClusterLogGroup()}
	if l.arch.Config.WAF.Enabled {
		names = append(names, l.arch.WAFLogGroup())
	}
	var out []belonging
	for _, name := range names {
		arn := l.ownARN("logs", "log-group:"+name)
		got, err := l.aws.Logs.ListTagsForResource(l.ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: &arn})
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
func (l *look) taggedParameters() ([]belonging, error) {
	all, err := l.parameters()
	if err != nil {
		return nil, err
	}
	byName := map[string]belonging{}
	for _, p := range all {
		name := aws.ToString(p.Name)
		byName[name] = belonging{id: l.ownARN("ssm", "parameter"+name), api: "ssm:DescribeParameters", tags: map[string]string{}}
	}
	for _, key := range sortedKeys(l.arch.Tags) {
		if key == "Name" {
			continue
		}
		pages := ssm.NewDescribeParametersPaginator(l.aws.SSM, &ssm.DescribeParametersInput{MaxResults: aws.Int32(50), ParameterFilters: []ssmtypes.ParameterStringFilter{
			{Key: aws.String("Path"), Option: aws.String("Recursive"), Values: []string{l.arch.ParameterPath()}},
			{Key: aws.String("tag:" + key), Values: []string{l.arch.Tags[key]}},
		}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return nil, fmt.Errorf("list the parameters with the tag %s: %w", key, err)
			}
			for _, p := range page.Parameters {
				if b, ok := byName[aws.ToString(p.Name)]; ok {
					b.tags[key] = l.arch.Tags[key]
				}
			}
		}
	}
	var out []belonging
	for _, name := range sortedKeys(byName) {
		out = append(out, byName[name])
	}
	return out, nil
}
