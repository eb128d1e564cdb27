package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// nameable are the types whose names may be those of somebody else's things: a
// bucket that the file names and that was there, a repository of a namespace
// that others share. Without a tag or a key that says otherwise they stay.
var nameable = []string{
	"AWS::Backup::BackupVault", "AWS::EC2::Snapshot", "AWS::EC2::Volume", "AWS::ECR::Repository", "AWS::KMS::Alias", "AWS::Logs::LogGroup",
	"AWS::RDS::DBInstance", "AWS::RDS::DBInstanceAutomatedBackup", "AWS::S3::Bucket",
}

// held notes what a stack of the deployment holds.
func (d *deleting) held(all []stack.Resource) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range all {
		d.had[[2]string{r.Type, r.PhysicalID}] = true
	}
}

// rewrites is how long after a stack is gone services may still write the logs of
// what it held.
const rewrites = time.Hour

// past is a stack of the deployment that an earlier run deleted.
type past struct {
	created, deleted time.Time
	held             map[[2]string]bool // types and ids
}

// rewritten tells that a log group is one that a service wrote again, without
// any tag, for what a stack held in this run: the group itself, the cluster or
// the database. If the stack went in an earlier run, the group must have been
// made while it was there, or within an hour, when nobody else could have its
// name, and there must be no other cluster or database that has it now.
func (d *deleting) rewritten(ctx context.Context, i inventory.Item) (bool, error) {
	if i.Type != "AWS::Logs::LogGroup" {
		return false, nil
	}
	d.mu.Lock()
	now := d.writes(d.had, i.ID)
	d.mu.Unlock()
	if now || d.opts.Data == KeepData {
		return now, nil
	}
	gone, err := d.formerly(ctx)
	if awsapi.IsDenied(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(gone, func(p past) bool {
		return !i.Created.Before(p.created) && i.Created.Before(p.deleted.Add(rewrites)) && d.writes(p.held, i.ID)
	}) {
		return false, nil
	}
	a := d.Architecture
	for typ, name := range map[string]string{"AWS::EKS::Cluster": a.ClusterName(), "AWS::RDS::DBInstance": a.DatabaseName()} {
		if taken, err := d.taken(ctx, claim{typ: typ, name: name}, nil); err != nil || taken {
			return false, err
		}
	}
	return true, nil
}

// writes tells that something of what was held writes a log group.
func (d *deleting) writes(held map[[2]string]bool, group string) bool {
	a := d.Architecture
	return held[[2]string{"AWS::Logs::LogGroup", group}] ||
		group == a.ClusterLogGroup() && held[[2]string{"AWS::EKS::Cluster", a.ClusterName()}] ||
		strings.HasPrefix(group, a.DatabaseLogGroup("")) && held[[2]string{"AWS::RDS::DBInstance", a.DatabaseName()}]
}

// formerly are the deployment's stacks that earlier runs deleted, as long as
// CloudFormation remembers them.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
func (d *deleting) formerly(ctx context.Context) ([]past, error) {
	if d.gone != nil {
		return d.gone, nil
	}
	all, err := d.driver.Deleted(ctx, func(name string, _ time.Time) bool { return d.names[name] != "" })
	if err != nil {
		return nil, err
	}
	list := []past{}
	for _, st := range all {
		if st.Tags[Tag] != d.Architecture.Name() {
			continue
		}
		held, err := d.ofIts(ctx, st)
		if err != nil {
			return nil, err
		}
		p := past{st.Created, st.Deleted, map[[2]string]bool{}}
		for _, r := range held {
			p.held[[2]string{r.Type, r.PhysicalID}] = true
		}
		list = append(list, p)
	}
	d.gone = list
	return list, nil
}

// keepForeign names something that is not known to be the deployment's, and
// leaves it to its owner.
func (d *deleting) keepForeign(i inventory.Item) {
	k := Kept{
		Type: i.Type, ID: i.ID, ARN: i.ARN, Passing: true, Monthly: i.Monthly,
		Why:    fmt.Sprintf("it doesn't carry the tag %s: %s, so it stays as somebody else's; delete it if nobody needs it", Tag, d.Architecture.Name()),
		Remove: []string{removal(i)},
	}
	if i.Holder != "" {
		k.Why, k.Remove = "it stays as somebody else's: "+i.Why, nil
	}
	d.keep(k)
}

// nothing tells whether an inventory has nothing of the deployment that could go: how
// many keys go by themselves, which says that the deployment was there, and what has
// only names like its own.
func (d *deleting) nothing(ctx context.Context, v *inventory.Inventory) (going int, namesakes []inventory.Item, none bool, err error) {
	for _, i := range v.Outside() {
		ours, err := d.rewritten(ctx, i)
		if err != nil {
			return 0, nil, false, err
		}
		switch {
		case isKey(i) && !i.Until.IsZero():
			going++
		case ours || i.Own() || !slices.Contains(nameable, i.Type):
			return 0, nil, false, nil
		default:
			namesakes = append(namesakes, i)
		}
	}
	return going, namesakes, len(v.Unknown) == 0, nil
}
