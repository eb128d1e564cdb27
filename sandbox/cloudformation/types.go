package cloudformation

import (
	"maps"
	"net/url"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// The resource types that are CloudFormation's own.
const (
	TypeMetadata            = "AWS::CDK::Metadata"
	TypeWaitConditionHandle = "AWS::CloudFormation::WaitConditionHandle"
)

// Types are the resource types of this package: things that exist in stacks
// only.
func Types() []*account.Type {
	return []*account.Type{
		{Name: TypeMetadata, Create: func(tx *account.Tx, r *account.Resource) error {
			r.ID = tx.UUID()
			return nil
		}},
		{Name: TypeWaitConditionHandle, Create: func(tx *account.Tx, r *account.Resource) error {
			// Its id is the address that signals would be sent to.
			r.ID = "https://cloudformation-waitcondition-" + tx.Region() + ".s3.amazonaws.com/" + url.QueryEscape(r.Owner+"/"+r.LogicalID+"/"+tx.HexID(12))
			return nil
		}},
	}
}

var known = sync.OnceValues(func() (facts.Set, error) {
	set, err := facts.Load()
	if err != nil {
		return nil, err
	}
	set = maps.Clone(set)
	set[TypeMetadata] = &facts.Type{Name: TypeMetadata, Properties: map[string]*facts.Prop{"Analytics": {Type: "string"}}}
	set[TypeWaitConditionHandle] = &facts.Type{Name: TypeWaitConditionHandle, Properties: map[string]*facts.Prop{}}
	return set, nil
})

// Known are the facts on all resource types: those that AWS publishes, and this
// package's own, of which it publishes none.
func Known() (facts.Set, error) { return known() }
