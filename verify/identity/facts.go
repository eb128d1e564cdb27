package identity

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// identityFacts are what the IAM roles are.
type identityFacts struct {
	allRolesFact  account.Fact[[]iamtypes.Role]
	ourRolesFact  account.Fact[[]*account.IAMRole]
	podTrustsFact account.Fact[[]podTrust]
}

// allRoles are the roles of the account, without tags and boundaries, which
// IAM leaves out of listings.
func allRoles(l *account.Look) ([]iamtypes.Role, error) {
	return account.Facts[identityFacts](l).allRolesFact.Get(func() ([]iamtypes.Role, error) {
		var found []iamtypes.Role
		pages := iam.NewListRolesPaginator(l.AWS.IAM, &iam.ListRolesInput{MaxItems: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return nil, fmt.Errorf("list roles: %w", err)
			}
			found = append(found, page.Roles...)
		}
		return found, nil
	})
}

// deploymentRoles are the roles of the deployment that are there, by name: those
// that it should have, and others that are called like its own and carry its
// tag.
func deploymentRoles(l *account.Look) ([]*account.IAMRole, error) {
	return account.Facts[identityFacts](l).ourRolesFact.Get(func() ([]*account.IAMRole, error) {
		all, err := allRoles(l)
		if err != nil {
			return nil, err
		}
		expected := map[string]bool{}
		for _, e := range expectedRoles(l) {
			expected[l.Arch.RoleName(e.part)] = true
		}
		var found []*account.IAMRole
		for _, r := range all {
			name := aws.ToString(r.RoleName)
			alike := strings.HasPrefix(name, l.Arch.ResourceName("")) && strings.HasSuffix(name, "-"+l.Arch.Config.Region)
			if !expected[name] && !alike {
				continue
			}
			role, err := l.IAMRole(name)
			if err != nil {
				return nil, err
			}
			if role != nil && (expected[name] || role.Tags[architecture.DeploymentTag] == l.Arch.Name()) {
				found = append(found, role)
			}
		}
		return found, nil
	})
}

// expectedRole is a role that the deployment should have.
type expectedRole struct {
	part string
	// service is the AWS service that assumes it; account, which is set
	// instead, the service account.
	service string
	account *architecture.ServiceAccount
	// bound says that the trust is bound to this account, for services that
	// act for others' resources too.
	bound bool
	// attached are the policies of AWS's that it has, as in attachedNames.
	attached []string
	// inline says that it has policies of its own.
	inline bool
}

// nodePolicies are what nodes may do.
// https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
func nodePolicies() []string {
	return []string{"AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonSSMManagedInstanceCore"}
}

// expectedRoles are the roles that the configuration asks for.
func expectedRoles(l *account.Look) []expectedRole {
	c := l.Arch.Config
	out := []expectedRole{{part: "cluster", service: "eks.amazonaws.com", attached: []string{"AmazonEKSClusterPolicy"}, inline: true}}
	for _, role := range l.PlannedRoles() {
		out = append(out, expectedRole{part: string(role) + "-nodes", service: "ec2.amazonaws.com", attached: nodePolicies()})
	}
	if c.Network.FlowLogs.Enabled {
		out = append(out, expectedRole{part: "flow-logs", service: "vpc-flow-logs.amazonaws.com", bound: true, inline: true})
	}
	if m := c.Network.NAT.Mode; m == config.NATInstancePerZone || m == config.NATSingleInstance {
		out = append(out, expectedRole{part: "nat", service: "ec2.amazonaws.com", attached: []string{"AmazonSSMManagedInstanceCore"}})
	}
	if c.Cluster.API.SessionHost {
		out = append(out, expectedRole{part: "session-host", service: "ec2.amazonaws.com", attached: []string{"AmazonSSMManagedInstanceCore"}})
	}
	if c.Database.MonitoringSeconds > 0 {
		out = append(out, expectedRole{part: "database-monitoring", service: "monitoring.rds.amazonaws.com", bound: true, attached: []string{"service-role/AmazonRDSEnhancedMonitoringRole"}})
	}
	if c.Backups.Enabled {
		out = append(out, expectedRole{part: "backup", service: "backup.amazonaws.com", attached: []string{
			"AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore",
			"service-role/AWSBackupServiceRolePolicyForBackup", "service-role/AWSBackupServiceRolePolicyForRestores",
		}})
	}
	for i, s := range l.Arch.ServiceAccounts {
		out = append(out, expectedRole{part: s.Role, account: &l.Arch.ServiceAccounts[i], inline: true})
	}
	return out
}

// eachRole calls f for the expected roles that are there.
func eachRole(f func(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error) func(*account.Look, *check.Recorder) error {
	return func(l *account.Look, r *check.Recorder) error {
		for _, e := range expectedRoles(l) {
			role, err := l.IAMRole(l.Arch.RoleName(e.part))
			if err != nil {
				return err
			}
			if role == nil {
				continue // see roles-there
			}
			if err := f(l, r, e, role); err != nil {
				return err
			}
		}
		return nil
	}
}
