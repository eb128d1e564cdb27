package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/ecr"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

// warn looks for what will fail when the changes are carried out and may be put
// right until then: deletions of buckets and repositories that hold something,
// and more resources than the account may have.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
func (p *planner) warn() {
	added := map[string]int{}
	for _, c := range p.plan.Changes {
		found := func(kind, format string, args ...any) {
			p.plan.warnings = append(p.plan.warnings, finding{c.LogicalID, c.Type, kind, "/Resources/" + c.LogicalID, fmt.Sprintf(format, args...)})
		}
		if c.Action == "Add" || c.Replacement == "True" {
			added[c.Type]++
			if q, have := quota.OfType(p.tx, c.Type); q != nil && have+added[c.Type] > q.Value(p.tx) {
				found(quotaCheck, "Creating this resource exceeds the service quota '%s' of %d.", q.Name, q.Value(p.tx))
			}
		}
		if c.Action != "Remove" && c.Replacement != "True" || c.PolicyAction != "Delete" && c.PolicyAction != "ReplaceAndDelete" {
			continue
		}
		switch {
		case c.Type == s3.TypeBucket && !s3.Empty(p.tx, c.PhysicalID):
			found(bucketCheck, "The bucket '%s' is not empty. You must empty it before it can be deleted.", c.PhysicalID)
		case c.Type == ecr.TypeRepository && !props.Bool(p.st.Resources[c.LogicalID].Props, false, "EmptyOnDelete") && !ecr.Empty(p.tx, c.PhysicalID):
			found(repositoryCheck, "The repository '%s' is not empty. It can't be deleted while it contains images.", c.PhysicalID)
		}
	}
	slices.SortStableFunc(p.plan.warnings, func(a, b finding) int { return strings.Compare(a.id, b.id) })
}
