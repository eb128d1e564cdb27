// Package inventory is what belongs to a deployment in an account, as a value:
// what its stacks hold, and what no stack holds but its tags, its VPC or its
// names say is its own.
//
// It only reads, page by page, and asks the services themselves, whose answers
// are current: the index behind the Resource Groups Tagging API also lists what
// is gone. A read that is denied or fails is part of the value, see
// [Inventory.Unknown]: it is never taken for "nothing there".
//
// Limits: IAM is looked at through stacks only; what others made with neither
// tag nor place of the deployment's is not known to be its own.
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
package inventory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// Tag is the tag that says which deployment something belongs to.
const Tag = "poolhouse:deployment"

// Origin is how an item is known to belong to the deployment.
type Origin string

// The origins.
const (
	// InStack: a stack of the deployment holds it.
	InStack Origin = "stack"
	// ByTag: it carries the deployment's tag.
	ByTag Origin = "tag"
	// ByCluster: it carries a tag with the cluster's name, as what controllers
	// make for Kubernetes objects does.
	ByCluster Origin = "cluster"
	// ByVPC: it lies in the deployment's VPC.
	ByVPC Origin = "vpc"
	// ByKey: it is of a key of the deployment's, or encrypted under one.
	ByKey Origin = "key"
	// ByName: it bears a name of the deployment's, as somebody else's may.
	ByName Origin = "name"
)

// Item is something of the deployment in the account.
type Item struct {
	// Type is CloudFormation's name of the type, and ID its physical id there.
	Type string `json:"type"`
	ID   string `json:"id"`
	ARN  string `json:"arn,omitempty"`
	// Stack holds it; empty outside of stacks.
	Stack  architecture.StackName `json:"stack,omitempty"`
	Origin Origin                 `json:"origin"`
	// Why it is there, for people.
	Why string `json:"why,omitempty"`
	// State is the service's own word, such as PendingDeletion.
	State string `json:"state,omitempty"`
	// Data tells that it holds data which its deletion loses.
	Data bool `json:"data,omitempty"`
	// Part tells that it goes with something else that is there, such as the
	// interface of a load balancer.
	Part bool `json:"part,omitempty"`
	// Created is when it was made; zero is not told.
	Created time.Time `json:"created,omitzero"`
	// Until is when AWS removes it by itself; zero is never.
	Until time.Time `json:"until,omitzero"`
	// Key is the ARN of the KMS key without which it can't be read.
	Key string `json:"key,omitempty"`
	// LeftBy is the stack that made it and no longer has it: the creation and the
	// rollback of that failed, or its deletion left it. Holder is a stack of
	// somebody else's that has it. Both are known by CloudFormation's own tags.
	LeftBy string `json:"leftBy,omitempty"`
	Holder string `json:"holder,omitempty"`
	// Monthly is what it costs; nil is unknown.
	Monthly *Price `json:"monthly,omitempty"`
}

// Unknown is a read that gave no answer.
type Unknown struct {
	// What was asked for, such as "log groups".
	What   string `json:"what"`
	Reason string `json:"reason"`
	// Denied tells that the caller may not ask.
	Denied bool `json:"denied,omitempty"`
}

// Inventory is all that was found at a time, by type and id.
type Inventory struct {
	Deployment string    `json:"deployment"`
	Region     string    `json:"region"`
	Time       time.Time `json:"time"`
	Items      []Item    `json:"items"`
	Unknown    []Unknown `json:"unknown,omitempty"`
}

// Outside are the items that no stack holds and that are not part of another.
func (v *Inventory) Outside() []Item {
	var out []Item
	for _, i := range v.Items {
		if i.Stack == "" && !i.Part {
			out = append(out, i)
		}
	}
	return out
}

// Own tells that an item is the deployment's for certain. A name doesn't tell:
// it may be that of somebody else's. A key tells of its aliases and of backups
// that bear the database's name besides; others may have put the rest under it.
func (i Item) Own() bool {
	if i.Holder != "" {
		return false
	}
	switch i.Origin {
	case ByName:
		return false
	case ByKey:
		return i.Type == "AWS::KMS::Alias" || i.Type == "AWS::RDS::DBInstanceAutomatedBackup"
	}
	return true
}

// Find returns the item, or nil.
func (v *Inventory) Find(typ, id string) *Item {
	for n := range v.Items {
		if i := &v.Items[n]; i.Type == typ && i.ID == id {
			return i
		}
	}
	return nil
}

// Empty tells that nothing was found and nothing is unknown.
func (v *Inventory) Empty() bool { return len(v.Items) == 0 && len(v.Unknown) == 0 }

// reading is a Read in progress.
type reading struct {
	arch   *architecture.Architecture
	aws    *awsapi.Clients
	driver *stack.Driver

	// standing are the names of all stacks of the region, by their ids; nil if
	// they are not known.
	standing map[string]string

	// foreign: the cluster of the deployment's name is somebody else's, or may be, and so
	// is what its controllers make.
	foreign bool

	mu    sync.Mutex
	held  map[string][]string // physical ids by type
	found map[[2]string]Item
	lost  []Unknown
}

// Read takes the inventory. It blocks for some seconds, changes nothing and may
// be repeated. The error is the context's, or says that the credentials are of
// no use; all other failures are in the value.
func Read(ctx context.Context, c *awsapi.Clients, a *architecture.Architecture) (*Inventory, error) {
	r := &reading{
		arch: a, aws: c, driver: &stack.Driver{CFN: c.CloudFormation, Clock: c.Clock},
		held: map[string][]string{}, found: map[[2]string]Item{},
	}
	// What the stacks hold says which VPC and keys are the deployment's, and
	// what has these: the readers of a step need what the step before found.
	steps := [][]source{
		{{"stacks", r.stacks}},
		{{"keys", r.keys}, {"VPCs", r.vpcs}, {"clusters", r.clusters}},
		{
			{"key aliases", r.aliases},
			{"network interfaces", r.interfaces},
			{"VPC endpoints", r.endpoints},
			{"security groups", r.groups},
			{"volumes and snapshots of volumes", r.volumes},
			{"addresses", r.addresses},
			{"load balancers", r.balancers},
			{"classic load balancers", r.classicBalancers},
			{"target groups", r.targetGroups},
			{"databases", r.databases},
			{"database snapshots", r.snapshots},
			{"retained backups of databases", r.automatedBackups},
			{"backup vaults", r.vaults},
			{"buckets", r.buckets},
			{"repositories", r.repositories},
			{"log groups", r.logGroups},
			{"secrets", r.secrets},
			{"parameters", r.parameters},
			{"certificates", r.certificates},
		},
	}
	for _, step := range steps {
		if err := r.run(ctx, step); err != nil {
			return nil, err
		}
	}
	v := &Inventory{Deployment: a.Name(), Region: c.Region, Time: c.Clock.Now(), Items: []Item{}, Unknown: r.lost}
	for _, i := range r.found {
		i.Monthly = Monthly(i.Type, i.State)
		v.Items = append(v.Items, i)
	}
	slices.SortFunc(v.Items, compare)
	slices.SortFunc(v.Unknown, func(a, b Unknown) int { return cmp.Compare(a.What, b.What) })
	return v, nil
}

func compare(a, b Item) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID)) }

// Encrypted are the sources of what may be encrypted under a key of the
// deployment's, by their names in [Unknown].
var Encrypted = []string{
	"stacks", "volumes and snapshots of volumes", "databases", "database snapshots", "retained backups of databases",
	"backup vaults", "buckets", "repositories",
}

// source reads items of one kind.
type source struct {
	what string
	read func(context.Context) error
}

func (r *reading) run(ctx context.Context, sources []source) error {
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() { errs[i] = s.read(ctx) })
	}
	wg.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case awsapi.IsCredentials(err) && !awsapi.IsDenied(err):
			return err
		default:
			r.lost = append(r.lost, Unknown{What: sources[i].what, Reason: err.Error(), Denied: awsapi.IsDenied(err)})
		}
	}
	return nil
}

// add notes an item. What a stack holds stays known as that, with what the
// service says of it besides.
func (r *reading) add(i Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := [2]string{i.Type, i.ID}
	if was, ok := r.found[k]; ok {
		if was.Stack != "" {
			i.Stack, i.Origin, i.Why = was.Stack, InStack, was.Why
		}
		i.Data = i.Data || was.Data
	}
	r.found[k] = i
}

// hold notes that something is the deployment's own, for [reading.has].
func (r *reading) hold(typ, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.held[typ], id) {
		r.held[typ] = append(r.held[typ], id)
	}
}

// has tells that a stack holds it, or that it is a key or VPC with the
// deployment's tag.
func (r *reading) has(typ, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.held[typ], id)
}

// hasKey tells that a key is the deployment's own, by its id or ARN.
func (r *reading) hasKey(key string) bool {
	return key != "" && r.has("AWS::KMS::Key", key[strings.LastIndex(key, "/")+1:])
}

// dataTypes are the types whose deletion loses data.
var dataTypes = []string{
	"AWS::Backup::BackupVault", "AWS::ECR::Repository", "AWS::KMS::Key", "AWS::RDS::DBInstance", "AWS::S3::Bucket",
}

func catalogued(name architecture.StackName) bool {
	return slices.ContainsFunc(architecture.Catalogue(), func(s architecture.Stack) bool { return s.Name == name })
}

// stacks lists the deployment's stacks and what they hold.
func (r *reading) stacks(ctx context.Context) error {
	all, err := r.driver.List(ctx)
	if err != nil {
		return err
	}
	// What is left by which stack is judged only once all of them were read.
	standing := map[string]string{}
	for _, st := range all {
		if st.Exists() {
			standing[st.ID] = st.Name
		}
		rest, ours := strings.CutPrefix(st.Name, r.arch.StackName(""))
		name := architecture.StackName(rest)
		if ours && st.Tags[Tag] != r.arch.Name() && catalogued(name) {
			// It may be one that a create was about to make.
			if ours, err = r.driver.Reviewed(ctx, st, Tag, r.arch.Name()); err != nil {
				return err
			}
		} else {
			ours = ours && st.Tags[Tag] == r.arch.Name()
		}
		if !ours {
			continue
		}
		r.hold("AWS::CloudFormation::Stack", st.Name)
		r.add(Item{Type: "AWS::CloudFormation::Stack", ID: st.Name, ARN: st.ID, Stack: name, Origin: InStack, State: string(st.Status)})
		if !st.Exists() {
			continue
		}
		held, err := r.driver.Resources(ctx, st.ID)
		if err != nil {
			return err
		}
		for _, res := range held {
			if res.PhysicalID == "" || res.Status == "DELETE_COMPLETE" || res.Status == "DELETE_SKIPPED" {
				continue
			}
			r.hold(res.Type, res.PhysicalID)
			r.add(Item{
				Type: res.Type, ID: res.PhysicalID, Stack: name, Origin: InStack, Why: res.LogicalID + " of stack " + st.Name,
				Data: slices.Contains(dataTypes, res.Type),
			})
		}
	}
	r.standing = standing
	return nil
}
