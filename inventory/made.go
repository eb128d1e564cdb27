package inventory

import (
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
)

// stackNameTag is a tag that CloudFormation gives to what a stack makes, beside the
// stack's id. Both stay when the stack lets go of it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-console-create-stack.html
const stackNameTag = "aws:cloudformation:stack-name"

// made says of something that no stack of the deployment has, by its tags, which
// stack made it: one that has it no longer, or one of somebody else's that has it
// now and whose it is therefore.
func (r *reading) made(i *Item, tags map[string]string) {
	id, name := tags[architecture.StackIDTag], tags[stackNameTag]
	if name == "" || r.standing == nil || r.has(i.Type, i.ID) {
		return
	}
	if part := strings.Split(id, ":"); len(part) > 3 && part[3] != r.aws.Region {
		i.Holder, i.Why = name, fmt.Sprintf("stack %s in %s has it, or has left it, and not one of this region", name, part[3])
		return
	}
	_, stands := r.standing[id]
	if id == "" {
		for _, n := range r.standing {
			stands = stands || n == name
		}
	}
	switch ours := r.has("AWS::CloudFormation::Stack", name); {
	case stands && !ours:
		i.Holder, i.Why = name, fmt.Sprintf("stack %s has it, which is not of this deployment", name)
	case stands:
		i.LeftBy, i.Why = name, fmt.Sprintf("stack %s made it and has it no longer", name)
	default:
		i.LeftBy, i.Why = name, fmt.Sprintf("left by stack %s, which is gone", name)
	}
}

// texts are tags as a map.
func texts[T any](tags []T, pair func(T) (key, value *string)) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		if k, v := pair(t); k != nil && v != nil {
			m[*k] = *v
		}
	}
	return m
}
