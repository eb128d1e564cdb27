// Package templates makes one CloudFormation template per stack from an
// architecture.
//
// [All] is the entry point; each stack has a file and a function of its own.
// Invariants: the package is pure, and the same architecture gives the same
// bytes; a template takes from other stacks only what stacks before it put
// out; a template, as sent, fits inline. Stack tags reach every resource by
// CloudFormation, so templates hold tags only where they don't (launch
// templates, auto-scaling groups) and for names.
//
// Limits: templates are for stacks made by package deploy, or by hand from an
// export; none of them makes custom resources, exports or nested stacks.
package templates

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/iam"
)

// Parameters that are no inputs and are filled by whoever deploys.
const (
	// ZoneIDParameter and a number from 1 is the id of a recorded zone, such
	// as ZoneId1, in the stack network. All of Architecture.Zones are there.
	ZoneIDParameter = "ZoneId"
	// ZoneNameParameter and the same number is its name in this account, only
	// with a network that is there.
	ZoneNameParameter = "ZoneName"
	// VPCParameter is the id of the VPC that is there. Its default is the
	// configuration's; a network of the deployment's own has no such parameter.
	VPCParameter = "ExistingVpcId"
	// ProtectionParameter, "true" or "false", in every stack with resources
	// that can be protected from deletion. It is false until the stack is
	// complete: a failed create could not roll back otherwise.
	ProtectionParameter = "Protection"
)

// Stack is the template of one stack, ready to be sent.
type Stack struct {
	// Name is the one in the catalogue, StackName CloudFormation's.
	Name      architecture.StackName
	StackName string
	// After are the stacks that must be complete before.
	After []architecture.StackName
	// Body is the template, minified.
	Body []byte
	// Inputs are the parameters that take outputs of stacks before.
	Inputs []cfn.Input
	// Parameters are the others, sorted by name.
	Parameters []Parameter
	// Outputs are the names of the outputs, sorted.
	Outputs []string
	// Template is what Body was made from.
	Template *cfn.Template
}

// Parameter is a parameter that is no input. One without a default must be
// filled.
type Parameter struct {
	Name       string
	Default    string
	HasDefault bool
	// List says that it takes values joined by commas.
	List bool
}

// SubnetParameter, in the stack network, is the id of a subnet that is there.
func SubnetParameter(s architecture.Subnet) string {
	return "Existing" + camel(string(s.Tier)) + "Subnet" + number(s.Zone) + "Id"
}

// PodRangeOutput, in the stack network, is the range of pods.
const PodRangeOutput = "PodRange"

// AddressesOutput, in the stack network, are the public addresses that private
// subnets leave by, joined by commas. AnnouncedOutput are those that they will
// leave by, while a change of NAT mode is announced or under way.
const (
	AddressesOutput = "NatAddresses"
	AnnouncedOutput = "NatAddressesAnnounced"
)

// builder is the function that makes the template of a stack; nil for none.
func builder(name architecture.StackName) func(*architecture.Architecture) *cfn.Template {
	switch name {
	case architecture.Keys:
		return keys
	case architecture.DNS:
		return dns
	case architecture.Storage:
		return storage
	case architecture.Network:
		return network
	case architecture.Endpoints:
		return endpoints
	case architecture.Certificate:
		return certificate
	case architecture.Database:
		return database
	case architecture.Backup:
		return backups
	case architecture.Cluster:
		return cluster
	case architecture.SessionHost:
		return sessionHost
	case architecture.Nodes:
		return nodes
	case architecture.GPU:
		return gpu
	case architecture.Identity:
		return identity
	case architecture.Addons:
		return addons
	case architecture.Edge:
		return edge
	case architecture.Parameters:
		return parameters
	}
	return nil
}

// All makes the templates of all stacks, in the order of the architecture. The
// error joins all faults there are, each with its stack.
func All(a *architecture.Architecture) ([]Stack, error) {
	var (
		out  []Stack
		errs []error
	)
	for _, s := range a.Stacks {
		stack, err := build(a, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("build template %s: %w", s.Name, err))
		}
		out = append(out, stack)
	}
	errs = append(errs, check(out)...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func build(a *architecture.Architecture, s architecture.Stack) (Stack, error) {
	out := Stack{Name: s.Name, StackName: a.StackName(s.Name), After: s.After}
	f := builder(s.Name)
	if f == nil {
		return out, errors.New("not modelled")
	}
	t := f(a)
	out.Template = t
	out.Inputs = t.Inputs()
	out.Outputs = t.Outputs()
	for _, p := range t.Parameters() {
		value, ok := p.Default.Literal()
		out.Parameters = append(out.Parameters, Parameter{
			Name: p.Name, Default: value, HasDefault: ok,
			List: p.Type == "CommaDelimitedList" || strings.HasPrefix(p.Type, "List<"),
		})
	}
	var err error
	out.Body, err = t.Build()
	return out, err
}

// check finds inputs that no stack before puts out.
func check(stacks []Stack) []error {
	byName := map[architecture.StackName]Stack{}
	for _, s := range stacks {
		byName[s.Name] = s
	}
	var errs []error
	for _, s := range stacks {
		before := map[architecture.StackName]bool{}
		var add func(names []architecture.StackName)
		add = func(names []architecture.StackName) {
			for _, n := range names {
				if !before[n] {
					before[n] = true
					add(byName[n].After)
				}
			}
		}
		add(s.After)
		for _, in := range s.Inputs {
			from := architecture.StackName(in.Stack)
			switch {
			case !before[from]:
				errs = append(errs, fmt.Errorf("build template %s: input %s is of %s, which does not come before", s.Name, in.Parameter, from))
			case byName[from].Template != nil && !slices.Contains(byName[from].Outputs, in.Output):
				errs = append(errs, fmt.Errorf("build template %s: input %s is no output of %s", s.Name, in.Parameter, from))
			}
		}
	}
	return errs
}

// newTemplate begins the template of a stack.
func newTemplate(a *architecture.Architecture, name architecture.StackName) *cfn.Template {
	s, _ := a.Stack(name)
	return cfn.New("poolhouse " + a.Name() + ": " + s.Holds)
}

// protection declares the parameter that switches deletion protection on.
func protection(t *cfn.Template) cfn.Value[bool] {
	return cfn.Bool(t.Parameter(ProtectionParameter, cfn.Parameter{
		Default:       cfn.V("false"),
		AllowedValues: []string{"true", "false"},
		Description:   "Refuse deletion. Switched on when the stack is complete.",
	}).Ref())
}

// The outputs that more than one stack takes, by helper: keys' KeyArn,
// storage's BucketName and BucketArn, network's ids.

// keyARN is the ARN of a KMS key, in any stack but keys.
func keyARN(t *cfn.Template, p architecture.KeyPurpose) cfn.Value[string] {
	return t.Input(string(architecture.Keys), camel(string(p))+"KeyArn")
}

// bucketName is the name of a bucket, in any stack but storage.
func bucketName(t *cfn.Template, p architecture.BucketPurpose) cfn.Value[string] {
	return t.Input(string(architecture.Storage), camel(string(p))+"BucketName")
}

// bucketARN is the ARN of a bucket, in any stack but storage.
func bucketARN(t *cfn.Template, p architecture.BucketPurpose) cfn.Value[string] {
	return t.Input(string(architecture.Storage), camel(string(p))+"BucketArn")
}

// vpcID is the VPC's id, in any stack but network.
func vpcID(t *cfn.Template) cfn.Value[string] {
	return t.Input(string(architecture.Network), "VpcId")
}

// subnetIDs are the ids of a tier's subnets, by zone, in any stack but network.
func subnetIDs(t *cfn.Template, tier architecture.Tier) cfn.List[string] {
	return t.InputList(string(architecture.Network), camel(string(tier))+"SubnetIds")
}

// subnetID is the id of the subnet in a zone, from 0, in any stack but network,
// which puts out those of the private tier and of pods one by one.
func subnetID(t *cfn.Template, tier architecture.Tier, zone int) cfn.Value[string] {
	return t.Input(string(architecture.Network), camel(string(tier))+"Subnet"+number(zone)+"Id")
}

// zoneName is the name of a recorded zone, from 0, in any stack but network.
func zoneName(t *cfn.Template, zone int) cfn.Value[string] {
	return t.Input(string(architecture.Network), "Zone"+number(zone)+"Name")
}

// zoneID is the id of a recorded zone, from 0, in any stack but network.
func zoneID(t *cfn.Template, zone int) cfn.Value[string] {
	return t.Input(string(architecture.Network), "Zone"+number(zone)+"Id")
}

// group is a security group of the stack network.
type group string

// The security groups.
const (
	groupWeb               group = "AlbWeb"
	groupAdmin             group = "AlbAdmin"
	groupNodes             group = "Nodes" // what all nodes share
	groupNodesCore         group = "NodesCore"
	groupNodesWebAssistant group = "NodesWebAssistant"
	groupNodesInterface    group = "NodesInterface"
	groupNodesGPU          group = "NodesGpu"
	groupDatabase          group = "Database"
	groupEndpoints         group = "Endpoints"
	groupControlPlane      group = "ControlPlane"
	groupNAT               group = "Nat" // only with self-managed NAT
)

// logicalID is the group's within the stack network; with Id appended it is
// its output.
func (g group) logicalID() cfn.LogicalID { return cfn.LogicalID(string(g) + "SecurityGroup") }

// securityGroupID is the id of a security group, in any stack but network.
func securityGroupID(t *cfn.Template, g group) cfn.Value[string] {
	return t.Input(string(architecture.Network), string(g.logicalID())+"Id")
}

// nodeSecurityGroups are the groups of a node group's nodes: the shared one,
// one for each role they serve, and the cluster's own, which custom groups
// would replace otherwise.
// https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
func nodeSecurityGroups(t *cfn.Template, g architecture.NodeGroup) cfn.List[string] {
	return cfn.ListOf(podSecurityGroups(t, g, t.Input(string(architecture.Cluster), "ClusterSecurityGroupId"))...)
}

// podSecurityGroups are the same groups, of which the cluster's own is given.
func podSecurityGroups(t *cfn.Template, g architecture.NodeGroup, cluster cfn.Value[string]) []cfn.Value[string] {
	ids := []cfn.Value[string]{cluster, securityGroupID(t, groupNodes)}
	for _, r := range g.Roles() {
		ids = append(ids, securityGroupID(t, group("Nodes"+camel(string(r)))))
	}
	return ids
}

// role is an IAM role with the deployment's name, region and boundary.
func role(a *architecture.Architecture, part, description string, trust any, policies ...iam.Policy) iam.Role {
	return iam.Role{
		RoleName:                 cfn.V(a.RoleName(part)),
		Description:              cfn.V(description),
		AssumeRolePolicyDocument: trust,
		PermissionsBoundary:      boundary(a),
		Policies:                 policies,
	}
}

// boundary is the permission boundary of every role; absent if there is none.
func boundary(a *architecture.Architecture) cfn.Value[string] {
	if b := a.Config.PermissionBoundary; b != "" {
		return cfn.V(b)
	}
	return cfn.Value[string]{}
}

// trust lets an AWS service assume a role. The conditions keep the service from
// being used by others' resources (confused deputy); not every service has them.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func trust(service string, conditions cfn.Conditions) cfn.Policy {
	return cfn.Policy{Statement: []cfn.Statement{{
		Principal: cfn.Principal{Service: cfn.L(service)},
		Action:    cfn.L("sts:AssumeRole"),
		Condition: conditions,
	}}}
}

// policy is an inline policy of a role.
func policy(name string, statements ...cfn.Statement) iam.Policy {
	return iam.Policy{PolicyName: cfn.V(name), PolicyDocument: cfn.Policy{Statement: statements}}
}

// sameAccount is the condition that a request is on behalf of this account.
func sameAccount() cfn.Conditions {
	return cfn.Conditions{"StringEquals": {"aws:SourceAccount": cfn.AccountID()}}
}

// arn is the ARN of something in this account and region; in Fn::Sub notation
// after service:region:account.
func arn(service, resource string) cfn.Value[string] {
	return cfn.Sub("arn:${AWS::Partition}:" + service + ":${AWS::Region}:${AWS::AccountId}:" + resource)
}

// named is the tag that people see as a resource's name.
func named(a *architecture.Architecture, part string) []cfn.Tag {
	return cfn.Tags("Name", a.ResourceName(part))
}

// tagText is the length from which a tag's text stands in the template once, as
// a parameter's default: the tags are repeated for each kind of resource that a
// launch template makes, and long texts would not fit.
const tagText = 32

// deploymentTags are the deployment's tags, for what CloudFormation does not
// hand stack tags to. It is called once a template, before launchTags.
func deploymentTags(t *cfn.Template, a *architecture.Architecture) []cfn.Tag {
	text := func(name, s string) cfn.Value[string] {
		if len(s) < tagText {
			return cfn.V(s)
		}
		return t.Parameter(name, cfn.Parameter{Default: cfn.V(s)}).Ref()
	}
	var out []cfn.Tag
	for i, key := range slices.Sorted(maps.Keys(a.Tags)) {
		if key == "Name" {
			continue
		}
		n := number(i)
		out = append(out, cfn.Tag{Key: text("TagKey"+n, key), Value: text("Tag"+n, a.Tags[key])})
	}
	return out
}

// launchTags are a part's name and the deployment's tags, for each kind of
// resource that a launch template makes.
func launchTags(a *architecture.Architecture, tags []cfn.Tag, part string, resourceTypes ...string) []ec2.TagSpecification {
	var out []ec2.TagSpecification
	for _, r := range resourceTypes {
		spec := ec2.TagSpecification{ResourceType: cfn.V(r), Tags: append(named(a, part), tags...)}
		if r != "instance" && r != "volume" {
			spec.Tags = ownTags(a, tags, part)
		}
		out = append(out, spec)
	}
	return out
}

// launchTemplateTags are ownTags for the launch template itself.
func launchTemplateTags(a *architecture.Architecture, tags []cfn.Tag, part string) []ec2.LaunchTemplateTagSpecification {
	return []ec2.LaunchTemplateTagSpecification{{ResourceType: cfn.V("launch-template"), Tags: ownTags(a, tags, part)}}
}

// ownTags are a part's name and the deployment's tags, for what costs nothing:
// when the user's are many or long, only the deployment's own, since they would
// not fit into a template so often.
func ownTags(a *architecture.Architecture, tags []cfn.Tag, part string) []cfn.Tag {
	if short(a) {
		return append(named(a, part), tags...)
	}
	return append(named(a, part), cfn.Tags(architecture.DeploymentTag, a.Name())...)
}

// short says that the tags may be repeated at will: about eight of them.
func short(a *architecture.Architecture) bool {
	const room, markup = 500, 22
	n := 0
	for key, value := range a.Tags {
		n += len(key) + len(value) + markup
	}
	return n <= room
}

// number is a zone's number in names, from 1.
func number(zone int) string { return strconv.Itoa(zone + 1) }

// camel joins the words of a name, each with a capital: control-plane becomes
// ControlPlane.
func camel(s string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
