package nodes

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// nodeRoleOf is the name of a node group's IAM role.
func nodeRoleOf(g account.NodeGroup) string {
	arn := aws.ToString(g.NodeRole)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// nodesSessionManager looks at the roles' policies: agent and network are the
// image's and the network's.
func nodesSessionManager(l *account.Look, r *check.Recorder) error {
	seen := map[string]bool{}
	return eachGroup(func(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
		name := nodeRoleOf(g)
		if seen[name] {
			return nil
		}
		seen[name] = true
		role, err := l.IAMRole(name)
		if err != nil {
			return err
		}
		const api, want = "iam:ListAttachedRolePolicies", "AmazonSSMManagedInstanceCore"
		if role == nil {
			r.Missing(aws.ToString(g.NodeRole), "iam:GetRole", "remove node group "+g.Name()+" and run poolhouse update")
			return nil
		}
		policies := role.AttachedNames()
		r.Saw(slices.Contains(policies, want), role.ARN, check.OrNothing(policies), api, want, check.FixUpdate)
		return nil
	})(l, r)
}

func nodesRolePerKind(l *account.Look, r *check.Recorder, g account.NodeGroup) error {
	want := l.RoleARN(string(g.Plan.Role) + "-nodes")
	r.Saw(aws.ToString(g.NodeRole) == want, g.ARN(), aws.ToString(g.NodeRole), "eks:DescribeNodegroup", want, "remove the node group and run poolhouse update: a node group can't change its role")
	return nil
}

func nodesAccessEntry(l *account.Look, r *check.Recorder) error {
	entries, err := l.AccessEntries()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	return eachGroup(func(_ *account.Look, r *check.Recorder, g account.NodeGroup) error {
		principal := aws.ToString(g.NodeRole)
		if seen[principal] {
			return nil
		}
		seen[principal] = true
		i := slices.IndexFunc(entries, func(e account.AccessEntry) bool { return e.Principal() == principal })
		if i < 0 {
			r.Missing(principal, "eks:ListAccessEntries", "aws eks create-access-entry --type EC2_LINUX --cluster-name "+l.Arch.ClusterName()+" --principal-arn "+principal)
			return nil
		}
		kind := aws.ToString(entries[i].Type)
		r.Saw(kind == "EC2_LINUX", principal, "access entry of type "+kind+", policies "+account.AccessPolicies(entries[i]), "eks:DescribeAccessEntry", "type EC2_LINUX",
			"delete the entry and make one of type EC2_LINUX: aws eks delete-access-entry, aws eks create-access-entry")
		return nil
	})(l, r)
}
