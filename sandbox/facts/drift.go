package facts

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Readable is what CloudFormation's schema says of a type that has a read
// handler. Places are paths of property names, "/Policies/*/PolicyName", with
// an asterisk for the elements of a list.
type Readable struct {
	// WriteOnly is what the handler does not return.
	WriteOnly []string `json:"writeOnly"`
	// Unordered are lists whose order means nothing.
	Unordered []string `json:"unordered"`
}

var loadDrift = sync.OnceValues(func() (map[string]*Readable, error) {
	var m map[string]*Readable
	if err := json.Unmarshal(embeddedDrift, &m); err != nil {
		return nil, fmt.Errorf("read drift facts: %w", err)
	}
	return m, nil
})

// ReadableType returns the facts that drift detection needs of a type; nil for
// a type without a published read handler, which is never checked.
func ReadableType(name string) *Readable {
	m, err := loadDrift()
	if err != nil {
		// The file is embedded, and a test decodes it.
		return nil
	}
	return m[name]
}

// threeWayExceptions are types of this set that drift-aware change sets compare
// with the previous deployment only. See
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
var threeWayExceptions = []string{"AWS::IAM::OIDCProvider"}

// ThreeWay tells that drift-aware change sets look at what is there of a type.
func ThreeWay(name string) bool {
	return ReadableType(name) != nil && !slices.Contains(threeWayExceptions, name)
}
