package eks

import (
	"strconv"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// nodegroupHealth is a node group's status and issues as EKS sees them now:
// those of its last operation, or what somebody has taken away since.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html
func nodegroupHealth(tx *account.Tx, r *account.Resource) (status string, issues []any) {
	issues = props.List(r.Data, "issues")
	if r.Status == "DEGRADED" && len(instances(tx, r)) == size(tx, r) && launchIssue(tx, r) == nil && joinFailure(tx, r) == nil {
		// It has the nodes by now that it lacked.
		r.Status, r.Data["issues"] = "ACTIVE", []any{}
		issues = nil
	}
	if r.Status != "ACTIVE" {
		return r.Status, issues
	}
	for _, i := range missing(tx, r) {
		issues = append(issues, i)
	}
	if len(issues) > 0 {
		return "DEGRADED", issues
	}
	return r.Status, issues
}

// missing are the issues of a node group that lacks something.
func missing(tx *account.Tx, r *account.Resource) []map[string]any {
	var out []map[string]any
	add := func(code, message string, resources ...string) {
		out = append(out, issue(code, message, resources...))
	}
	role := props.Str(r.Props, "NodeRole")
	if !iam.RoleExists(tx, role) {
		add("IamNodeRoleNotFound", "We couldn't find the IAM role for your managed node group. You may be able to recreate an IAM role with the same settings to recover.", role)
	}
	if profile := "eks-" + props.Str(r.Data, "uuid"); tx.Get(iam.TypeInstanceProfile, profile) == nil {
		add("IamInstanceProfileNotFound", "We couldn't find the IAM instance profile for your managed node group. You may be able to recreate an instance profile with the same settings to recover.", profile)
	}
	g, own := group(tx, r), tx.Get(instance.TypeLaunchTemplate, props.Str(r.Data, "ownTemplate"))
	switch {
	case g == nil:
		add("AutoScalingGroupNotFound", "We couldn't find the Auto Scaling group associated with the managed node group. You may be able to recreate an Auto Scaling group with the same settings to recover.", props.Str(r.Data, "asg"))
	case own == nil:
		add("Ec2LaunchTemplateNotFound", "We couldn't find the Amazon EC2 launch template for your managed node group. You may be able to recreate a launch template with the same settings to recover.", props.Str(r.Data, "ownTemplate"))
	default:
		spec := props.Map(g.Props, "LaunchTemplate")
		if spec == nil {
			spec = props.Map(g.Props, "MixedInstancesPolicy", "LaunchTemplate", "LaunchTemplateSpecification")
		}
		if props.Str(spec, "LaunchTemplateId") != own.ID || props.Str(spec, "Version") != props.Str(own.Attrs, "LatestVersionNumber") {
			add("Ec2LaunchTemplateVersionMismatch", "The Amazon EC2 launch template version for your managed node group does not match the version that Amazon EKS created. You may be able to revert to the version that Amazon EKS created to recover.", own.ID)
		}
	}
	for _, s := range props.Strs(r.Props, "Subnets") {
		if tx.Get(ec2.TypeSubnet, s) == nil {
			add("Ec2SubnetNotFound", "We couldn't find one or more subnets of your managed node group.", s)
		}
	}
	if c := tx.Get(TypeCluster, props.Str(r.Props, "ClusterName")); c != nil && size(tx, r) > 0 && !admitted(tx, c, role) {
		add("AccessDenied", "Amazon EKS or one or more of your managed nodes is failing to authenticate or authorize with your Kubernetes cluster API server.", role)
	}
	return out
}

// admitted tells whether the cluster lets in the nodes of a role: by its access
// entry, or by the ConfigMap that EKS keeps in the cluster.
// https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
func admitted(tx *account.Tx, c *account.Resource, role string) bool {
	if modeOf(c.Props) == "CONFIG_MAP" {
		return true
	}
	e := tx.Get(TypeAccessEntry, entryID(role, c.ID))
	if e == nil {
		return modeOf(c.Props) == "API_AND_CONFIG_MAP"
	}
	return entryType(e.Props) == "EC2_LINUX" || entryType(e.Props) == "EC2"
}

// clusterIssues are what a cluster lacks now.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_ClusterIssue.html
func clusterIssues(tx *account.Tx, c *account.Resource) []any {
	issues := append([]any{}, props.List(c.Data, "issues")...)
	if c.Status != "ACTIVE" {
		return issues
	}
	if role := props.Str(c.Props, "RoleArn"); !iam.RoleExists(tx, role) {
		issues = append(issues, issue("IamRoleNotFound", "Couldn't find the cluster IAM role.", role))
	}
	for _, g := range props.Strs(c.Props, "ResourcesVpcConfig", "SecurityGroupIds") {
		if tx.Get(ec2.TypeSecurityGroup, g) == nil {
			issues = append(issues, issue("Ec2SecurityGroupNotFound", "Couldn't find one or more security groups of the cluster.", g))
		}
	}
	if key := encryptionKey(c.Props); key != "" {
		k, err := kms.Lookup(tx, key)
		switch {
		case err != nil:
			issues = append(issues, issue("KmsKeyNotFound", "Couldn't find the AWS KMS key of the cluster.", key))
		case k.Status == kms.PendingDeletion:
			issues = append(issues, issue("KmsKeyMarkedForDeletion", "The AWS KMS key of the cluster is marked for deletion.", key))
		case k.Status == kms.Disabled:
			issues = append(issues, issue("KmsKeyDisabled", "The AWS KMS key of the cluster is disabled.", key))
		}
	}
	return issues
}

// unavailable is how many nodes of a node group may be replaced at a time.
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html
func unavailable(r *account.Resource, nodes int) int {
	n := props.Int(r.Props, 1, "UpdateConfig", "MaxUnavailable")
	if p := props.Int(r.Props, 0, "UpdateConfig", "MaxUnavailablePercentage"); p > 0 {
		n = (nodes*p + 99) / 100
	}
	return max(n, 1)
}

// perNode is how long the replacement of one more batch of nodes takes.
func perNode(tx *account.Tx, r *account.Resource, left int) account.Later {
	return account.Later(tx.Latency("eks:nodegroup/update-per-node", r.ID+"/"+strconv.Itoa(left)))
}
