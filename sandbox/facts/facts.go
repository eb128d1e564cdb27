// Package facts knows the resource types of CloudFormation: their properties,
// which of them are required, what kind of value they take, whether changing
// one replaces the resource, and their attributes; patterns, lengths, ranges
// and alternatives; what is write-only. The facts are generated from AWS's
// public resource specification and resource schemas.
//
// A [Set] and everything reached from it is immutable.
package facts

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

//go:embed facts.json
var embedded []byte

//go:embed drift.json
var embeddedDrift []byte

// Set are the facts about resource types by name.
type Set map[string]*Type

// Type are the facts about one resource type.
type Type struct {
	Name string `json:"-"`
	// ID are the properties or attributes that identify a resource.
	ID []string `json:"id"`
	// Attributes are the names that Fn::GetAtt takes, nested ones dotted, with
	// the kind of their value.
	Attributes map[string]string `json:"attributes"`
	Properties map[string]*Prop  `json:"properties"`
	// Definitions are the object types that properties refer to.
	Definitions map[string]map[string]*Prop `json:"definitions"`
}

// Prop is what a property takes.
type Prop struct {
	// Type is string, integer, number, boolean, json, list, map, object or
	// union.
	Type string `json:"type"`
	// Item is what a list or map holds.
	Item *Prop `json:"item"`
	// Ref names the definition of an object.
	Ref string `json:"ref"`
	// Of are the choices of a union.
	Of       []*Prop `json:"of"`
	Required bool    `json:"required"`
	// Replace is "yes" if a change always replaces the resource, "maybe" if it
	// does under conditions, and empty if it never does.
	Replace string `json:"replace"`
	// Enum are the values allowed, as text.
	Enum enum `json:"enum"`
}

type enum []string

func (e *enum) UnmarshalJSON(b []byte) error {
	var l []any
	if err := json.Unmarshal(b, &l); err != nil {
		return err
	}
	for _, v := range l {
		*e = append(*e, Text(v))
	}
	return nil
}

// Parse reads facts.
func Parse(data []byte) (Set, error) {
	var s Set
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read resource facts: %w", err)
	}
	for name, t := range s {
		t.Name = name
	}
	return s, nil
}

var load = sync.OnceValues(func() (Set, error) { return Parse(embedded) })

// Load returns the facts that come with the program, decoded on first use.
func Load() (Set, error) { return load() }

// Replace tells what a change of a top-level property does: "yes", "maybe" or
// "".
func (t *Type) Replace(property string) string {
	if p := t.Properties[property]; p != nil {
		return p.Replace
	}
	return ""
}

// Attribute tells whether Fn::GetAtt knows the attribute.
func (t *Type) Attribute(name string) bool {
	_, ok := t.Attributes[name]
	return ok
}

// Tagging is how CloudFormation tags resources of a type.
type Tagging struct {
	// Property holds the resource's own tags; empty if there are none.
	Property string
	// Stack tells that the stack's tags are put on the resource, and System
	// that the tags aws:cloudformation:* are.
	Stack, System bool
}

// Tagging tells how resources of the type are tagged. Not every type that has
// tags takes part: CloudFormation leaves out launch templates and instance
// profiles, and IAM, KMS and Route 53 refuse system tags.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-resource-tags.html
func (t *Type) Tagging() Tagging {
	var tg Tagging
	for _, p := range []string{"Tags", "BackupPlanTags", "BackupVaultTags", "HostedZoneTags", "UserPoolTags"} {
		if t.Properties[p] != nil {
			tg = Tagging{Property: p, Stack: true, System: true}
		}
	}
	switch t.Name {
	case "AWS::EC2::CapacityReservation":
		return Tagging{Stack: true, System: true}
	case "AWS::EC2::LaunchTemplate", "AWS::IAM::InstanceProfile":
		tg.Stack, tg.System = false, false
	case "AWS::AutoScaling::AutoScalingGroup":
		// Its tags carry PropagateAtLaunch, which stack tags can't.
		tg.Stack = false
	case "AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::ManagedPolicy", "AWS::IAM::OIDCProvider",
		"AWS::KMS::Key", "AWS::KMS::ReplicaKey", "AWS::Route53::HostedZone", "AWS::Route53Resolver::ResolverEndpoint", "AWS::SQS::Queue":
		tg.System = false
	}
	return tg
}
