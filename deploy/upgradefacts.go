package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/upgrade"
)

// declared is a resource of a template.
type declared struct {
	Type       string
	Properties map[string]any
}

// text is a property that is one.
func (d declared) text(property string) string {
	s, _ := d.Properties[property].(string)
	return s
}

// resourcesOf are a template's; none of what is no template.
func resourcesOf(body []byte) map[string]declared {
	var doc struct{ Resources map[string]declared }
	if json.Unmarshal(body, &doc) != nil {
		return nil
	}
	return doc.Resources
}

// facts are what an upgrade is planned from. They are only read.
func (u *upgrading) facts(ctx context.Context) (upgrade.Facts, error) {
	c := u.Architecture.Config
	f := upgrade.Facts{Config: c, Asked: u.options.Asked, Bake: u.options.Bake}
	if u.record != nil {
		f.Unfinished, f.Baked = u.record.To, u.record.Baked
	}
	name := u.Architecture.ClusterName()
	running, err := u.running(ctx)
	if err != nil {
		return f, err
	}
	if running == "" {
		return f, fmt.Errorf("upgrade %s: there is no cluster %s: %w", c.Name, name, ErrAbsent)
	}
	f.Running = running
	judged, err := u.judged(ctx)
	if err != nil {
		return f, err
	}
	f.Pending, u.deployed = guard.Pending(judged), judged.Before
	version := c.Cluster.Version
	if u.options.Addons {
		version = running
	}
	for _, place := range upgrade.Order {
		now := resourcesOf(judged.Before[place].Body)
		for _, id := range slices.Sorted(maps.Keys(resourcesOf(u.stacks[place].Body))) {
			was, at := now[id], upgrade.Place{Stack: place, LogicalID: id}
			switch was.Type {
			case "AWS::EKS::Cluster":
				f.Cluster, f.Deployed = at, was.text("Version")
			case "AWS::EKS::Addon":
				a, err := u.addon(ctx, at, was, version)
				if err != nil {
					return f, err
				}
				f.Addons = append(f.Addons, a)
			case "AWS::EKS::Nodegroup":
				g, err := u.group(ctx, at, was)
				if err != nil {
					return f, err
				}
				f.Groups = append(f.Groups, g)
			}
		}
	}
	if u.options.Addons || f.Running == version && f.Deployed == version {
		return f, nil
	}
	if f.Offered, err = u.offered(ctx); err != nil {
		return f, err
	}
	if f.Insights, err = u.insights(ctx, name, version); err != nil {
		return f, err
	}
	// What runs an update is ill by its nature.
	if st := u.states[architecture.Cluster]; stack.ConditionOf(st.Status) == stack.Whole {
		f.Ill, err = u.ill(ctx)
	}
	return f, err
}

// addon looks at an add-on of a stack.
func (u *upgrading) addon(ctx context.Context, at upgrade.Place, was declared, version string) (upgrade.Addon, error) {
	name, cluster := was.text("AddonName"), u.Architecture.ClusterName()
	a := upgrade.Addon{Place: at, Name: name, Deployed: was.text("AddonVersion"), Pinned: u.Architecture.Config.Cluster.AddonVersions[name]}
	if st := u.states[at.Stack]; stack.ConditionOf(st.Status) != stack.Whole {
		a.Deployed = "" // it is yet to be
	}
	out, err := u.AWS.EKS.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: &cluster, AddonName: &name})
	if err != nil {
		return a, fmt.Errorf("look at the add-on %s: %w", name, err)
	}
	a.Running = aws.ToString(out.Addon.AddonVersion)
	for page, err := range awsapi.Pages(ctx, eks.NewDescribeAddonVersionsPaginator(u.AWS.EKS, &eks.DescribeAddonVersionsInput{AddonName: &name, KubernetesVersion: &version})) {
		if err != nil {
			return a, fmt.Errorf("list the versions of the add-on %s for Kubernetes %s: %w", name, version, err)
		}
		for _, info := range page.Addons {
			for _, v := range info.AddonVersions {
				a.Offered = append(a.Offered, aws.ToString(v.AddonVersion))
			}
		}
	}
	return a, nil
}

// group looks at a node group of a stack.
func (u *upgrading) group(ctx context.Context, at upgrade.Place, was declared) (upgrade.Group, error) {
	g := upgrade.Group{Place: at, Deployed: was.text("Version")}
	id, err := u.groupID(ctx, at)
	if err != nil {
		return g, err
	}
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-eks-nodegroup.html
	cluster, name, _ := strings.Cut(id, "/")
	g.Name = at.LogicalID
	out, err := u.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
	if err != nil {
		return g, fmt.Errorf("look at node group %s: %w", id, err)
	}
	g.Running = aws.ToString(out.Nodegroup.Version)
	if s := out.Nodegroup.ScalingConfig; s != nil {
		g.Nodes = int(aws.ToInt32(s.DesiredSize))
	}
	return g, nil
}

// groupID is the physical id of a node group of a stack.
func (u *upgrading) groupID(ctx context.Context, at upgrade.Place) (string, error) {
	held, err := u.held(ctx, at.Stack)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(held, func(r stack.Resource) bool { return r.LogicalID == at.LogicalID })
	if i < 0 {
		return "", fmt.Errorf("stack %s has no node group %s by now; repeat the command", u.stacks[at.Stack].StackName, at.LogicalID)
	}
	return held[i].PhysicalID, nil
}

// held are the resources of a stack, read once.
func (u *upgrading) held(ctx context.Context, place architecture.StackName) ([]stack.Resource, error) {
	if list, ok := u.resources[place]; ok {
		return list, nil
	}
	list, err := u.driver.Resources(ctx, u.stacks[place].StackName)
	if err == nil {
		u.resources[place] = list
	}
	return list, err
}

// offered are the Kubernetes versions that EKS has.
func (u *upgrading) offered(ctx context.Context) (all []upgrade.Version, err error) {
	for page, err := range awsapi.Pages(ctx, eks.NewDescribeClusterVersionsPaginator(u.AWS.EKS, &eks.DescribeClusterVersionsInput{})) {
		if err != nil {
			return nil, fmt.Errorf("list the Kubernetes versions of EKS: %w", err)
		}
		for _, v := range page.ClusterVersions {
			all = append(all, upgrade.Version{
				Name: aws.ToString(v.ClusterVersion), Status: string(v.VersionStatus),
				Standard: aws.ToTime(v.EndOfStandardSupportDate), Extended: aws.ToTime(v.EndOfExtendedSupportDate),
			})
		}
	}
	return all, nil
}

// insights are what EKS says about an upgrade to a version.
func (u *upgrading) insights(ctx context.Context, name, version string) (all []upgrade.Insight, err error) {
	for page, err := range awsapi.Pages(ctx, eks.NewListInsightsPaginator(u.AWS.EKS, &eks.ListInsightsInput{
		ClusterName: &name, Filter: &ekstypes.InsightsFilter{Categories: []ekstypes.Category{ekstypes.CategoryUpgradeReadiness}, KubernetesVersions: []string{version}},
	})) {
		if err != nil {
			return nil, fmt.Errorf("list the insights of EKS about %s: %w", name, err)
		}
		for _, i := range page.Insights {
			s := upgrade.Insight{Name: aws.ToString(i.Name)}
			if i.InsightStatus != nil {
				s.Status, s.Reason = string(i.InsightStatus.Status), aws.ToString(i.InsightStatus.Reason)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// ill is what is not as it should be of the cluster, its nodes and its add-ons, as
// EKS sees them.
func (u *upgrading) ill(ctx context.Context) (all []string, err error) {
	name := u.Architecture.ClusterName()
	note := func(what, status, wanted string, issues int, first string) {
		switch {
		case issues > 0:
			all = append(all, fmt.Sprintf("%s is %s: %s", what, status, first))
		case status != wanted:
			all = append(all, fmt.Sprintf("%s is %s", what, status))
		}
	}
	out, err := u.AWS.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		return nil, fmt.Errorf("look at cluster %s: %w", name, err)
	}
	first, n := "", 0
	if h := out.Cluster.Health; h != nil && len(h.Issues) > 0 {
		first, n = aws.ToString(h.Issues[0].Message), len(h.Issues)
	}
	note("cluster "+name, string(out.Cluster.Status), string(ekstypes.ClusterStatusActive), n, first)
	for page, err := range awsapi.Pages(ctx, eks.NewListNodegroupsPaginator(u.AWS.EKS, &eks.ListNodegroupsInput{ClusterName: &name})) {
		if err != nil {
			return nil, fmt.Errorf("list the node groups of %s: %w", name, err)
		}
		for _, g := range page.Nodegroups {
			out, err := u.AWS.EKS.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &name, NodegroupName: &g})
			if err != nil {
				return nil, fmt.Errorf("look at node group %s: %w", g, err)
			}
			first, n := "", 0
			if h := out.Nodegroup.Health; h != nil && len(h.Issues) > 0 {
				first, n = aws.ToString(h.Issues[0].Message), len(h.Issues)
			}
			note("node group "+g, string(out.Nodegroup.Status), string(ekstypes.NodegroupStatusActive), n, first)
		}
	}
	for page, err := range awsapi.Pages(ctx, eks.NewListAddonsPaginator(u.AWS.EKS, &eks.ListAddonsInput{ClusterName: &name})) {
		if err != nil {
			return nil, fmt.Errorf("list the add-ons of %s: %w", name, err)
		}
		for _, a := range page.Addons {
			out, err := u.AWS.EKS.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: &name, AddonName: &a})
			if err != nil {
				return nil, fmt.Errorf("look at the add-on %s: %w", a, err)
			}
			first, n := "", 0
			if h := out.Addon.Health; h != nil && len(h.Issues) > 0 {
				first, n = aws.ToString(h.Issues[0].Message), len(h.Issues)
			}
			note("add-on "+a, string(out.Addon.Status), string(ekstypes.AddonStatusActive), n, first)
		}
	}
	return all, nil
}
