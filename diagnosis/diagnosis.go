// Package diagnosis says what most likely lies behind a failure that AWS
// reports, and what to do about it: a catalogue of known failures, as data.
//
// A failure is known by the type of the resource, the code of the error and
// words of the reason. Codes alone say little, since CloudFormation's handlers
// have few of them; so words go before types, and types before codes. What the
// catalogue does not know is said to be unknown. The package is pure and
// concludes from words alone: a cause is likely, not proven.
package diagnosis

import (
	"path"
	"slices"
	"strings"
)

// Failure is what AWS said.
type Failure struct {
	// Stack is the stack's name; "" for a call outside of CloudFormation.
	Stack string
	// Resource is the logical id, PhysicalID what AWS calls it.
	Resource, PhysicalID string
	// Type is the resource type, such as AWS::EKS::Cluster.
	Type string
	// Code is the service's error code; of a failed resource it is in the reason.
	Code   string
	Reason string
}

// Root is why something failed.
type Root struct {
	Stack      string `json:"stack,omitempty"`
	Resource   string `json:"resource,omitempty"`
	PhysicalID string `json:"physicalId,omitempty"`
	Type       string `json:"type,omitempty"`
	Reason     string `json:"reason"`
	// Known is the catalogue's id of the failure, or "".
	Known string `json:"known,omitempty"`
	// Cause is what most likely lies behind it, and Next what to do then.
	Cause string `json:"cause"`
	Next  string `json:"next"`
	// Document is AWS's page about it, or "".
	Document string `json:"document,omitempty"`
}

// Rank is how much a match says. The lowest that matches counts.
type Rank int

// The ranks.
const (
	// Exact entries know the failure by its words.
	Exact Rank = iota
	// Kind entries know what kind of resource it is, or what words of many
	// failures mean.
	Kind
	// Code entries know CloudFormation's code only.
	Code
)

// Entry is one known failure.
type Entry struct {
	ID string
	// Area is the part of AWS that it belongs to.
	Area string
	// Types are patterns of resource types, as file names have them; empty is all.
	Types []string
	// Codes are error codes, of which one must be there; empty is any.
	Codes []string
	// Words are phrases, of which one must be there, whatever the case of its
	// letters. In braces stands the name of a value, which is any text; {_} has
	// no name. Empty is any.
	Words []string
	Rank  Rank
	// Cause and Next may name values of the phrase, and {resource}, {id}, {type}
	// and {stack}. In Next, FILE is the deployment's file.
	Cause, Next string
	Document    string
	// Examples are what AWS says, by its documents or its services.
	Examples []Failure
}

// unknown is what is said of a failure that is not in the catalogue.
var unknown = Entry{
	Cause: "not in the catalogue of known failures",
	Next:  "read the reason; mend what it names, or take it with the AWS request id to AWS Support",
}

// Diagnose finds the likely cause of a failure. It never fails: what is not
// known has no Known.
func Diagnose(f Failure) Root {
	best, values := unknown, map[string]string{}
	found := false
	for _, e := range Catalogue() {
		if found && e.Rank >= best.Rank {
			continue
		}
		if v, ok := e.match(f); ok {
			best, values, found = e, v, true
		}
	}
	for name, v := range map[string]string{"resource": f.Resource, "id": f.PhysicalID, "type": f.Type, "stack": f.Stack} {
		if values[name] == "" {
			values[name] = v
		}
	}
	return Root{
		Stack: f.Stack, Resource: f.Resource, PhysicalID: f.PhysicalID, Type: f.Type, Reason: f.Reason,
		Known: best.ID, Cause: fill(best.Cause, values), Next: fill(best.Next, values), Document: best.Document,
	}
}

// match tells whether an entry is about a failure, with the values in it.
func (e Entry) match(f Failure) (map[string]string, bool) {
	if len(e.Types) > 0 && !slices.ContainsFunc(e.Types, func(pattern string) bool {
		ok, err := path.Match(pattern, f.Type)
		return ok && err == nil
	}) {
		return nil, false
	}
	if len(e.Codes) > 0 && !slices.Contains(e.Codes, f.Code) && !slices.Contains(e.Codes, handlerCode(f.Reason)) {
		return nil, false
	}
	if len(e.Words) == 0 {
		return map[string]string{}, true
	}
	for _, phrase := range e.Words {
		if v, ok := find(phrase, f.Reason); ok {
			return v, true
		}
	}
	return nil, false
}

// handlerCode is the code that a resource handler of CloudFormation gives in a
// reason, or "". See
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
func handlerCode(reason string) string {
	const mark = "HandlerErrorCode: "
	i := strings.LastIndex(reason, mark)
	if i < 0 {
		return ""
	}
	code, _, _ := strings.Cut(reason[i+len(mark):], ")")
	return code
}
