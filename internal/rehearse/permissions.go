package rehearse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/recording"
)

// Permissions are what a deployment's whole life takes, by principal.
type Permissions struct {
	// Operator is who runs poolhouse.
	Operator Needed `json:"operator"`
	// ServiceRole is the role that CloudFormation assumes; nil if it uses the
	// operator's permissions.
	ServiceRole *Needed `json:"serviceRole,omitempty"`
	// Passed are the roles that services were handed. What these do in them is
	// allowed by the roles' own policies.
	Passed []string `json:"passed"`
}

// Needed is what one principal needs, and the policies that allow just that.
type Needed struct {
	Principal string               `json:"principal"`
	Grants    []recording.Grant    `json:"grants"`
	Policies  []recording.Document `json:"policies"`
}

// Count is how many grants have a source.
func (n *Needed) Count(s recording.Source) int {
	count := 0
	for _, g := range n.Grants {
		if g.Source == s {
			count++
		}
	}
	return count
}

// Policies are the JSON texts of managed policies for the principals of a
// deployment.
type Policies struct{ Operator, ServiceRole []string }

// NewPermissions makes permissions of a recording.
func NewPermissions(r *recording.Recording, a *architecture.Architecture, box *sandbox.Sandbox) *Permissions {
	all := r.Permissions()
	o := recording.Options{Name: a.Config.Name, Tags: map[string]string{architecture.DeploymentTag: a.Config.Name}}
	needed := func(principal string, more ...recording.Grant) Needed {
		n := Needed{Principal: principal, Grants: recording.Grants(all, principal, o)}
		for _, g := range more {
			if !slices.ContainsFunc(n.Grants, func(h recording.Grant) bool { return h.Action == g.Action && h.Resource == g.Resource }) {
				n.Grants = append(n.Grants, g)
			}
		}
		n.Policies = recording.Policies(n.Grants)
		return n
	}
	p := &Permissions{Operator: needed(recording.Role(box.Principals()[0].ARN), withData(a, box)...), Passed: []string{}}
	if role := a.Config.ServiceRole; role != "" {
		n := needed(role)
		p.ServiceRole = &n
	}
	for _, n := range []*Needed{&p.Operator, p.ServiceRole} {
		if n == nil {
			continue
		}
		for _, g := range n.Grants {
			if g.Action == "iam:PassRole" {
				p.Passed = append(p.Passed, g.Resource+" to "+strings.Join(g.Conditions["iam:PassedToService"], ", "))
			}
		}
	}
	return p
}

// withData is what the operator's delete takes of a deployment that was in use:
// one that is only rehearsed has no objects and no backups.
func withData(a *architecture.Architecture, box *sandbox.Sandbox) []recording.Grant {
	partition, region, id := a.Config.Partition(), a.Config.Region, accountOf(box.Principals()[0].ARN)
	var out []recording.Grant
	add := func(action, resource string) {
		out = append(out, recording.Grant{Source: recording.Assumed, Action: action, Resource: "arn:" + partition + ":" + resource, Causes: []string{"delete, once there is data"}})
	}
	// Recovery points have ARNs of the service whose data they hold.
	// https://docs.aws.amazon.com/aws-backup/latest/devguide/access-control.html
	add("backup:DeleteRecoveryPoint", "backup:"+region+":"+id+":recovery-point:*")
	add("backup:DeleteRecoveryPoint", "rds:"+region+":"+id+":snapshot:awsbackup:*")
	for _, action := range []string{"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"} {
		add(action, "s3:::"+a.Config.Name+"-*/*")
	}
	return out
}

// Limit gives the principals of a deployment these policies in place of those
// that they have. They are managed policies, as many as it takes.
func Limit(box *sandbox.Sandbox, a *architecture.Architecture, p Policies) error {
	operator := recording.Role(box.Principals()[0].ARN)
	return box.Account().Do(func(tx *account.Tx) error {
		// Nobody waits for IAM before the beginning.
		tx.Patient = true
		if err := attach(tx, "operator", operator, p.Operator); err != nil {
			return err
		}
		if a.Config.ServiceRole == "" {
			return nil
		}
		return attach(tx, "service-role", a.Config.ServiceRole, p.ServiceRole)
	})
}

func attach(tx *account.Tx, name, role string, policies []string) error {
	r := iam.RoleByARN(tx, role)
	if r == nil {
		return fmt.Errorf("give %s its policies: the role is not in the sandbox's account", role)
	}
	var arns []any
	for i, text := range policies {
		p, _, err := tx.Create(iam.TypeManagedPolicy, map[string]any{"ManagedPolicyName": fmt.Sprintf("%s-%d", name, i+1), "PolicyDocument": text}, "customer", false)
		if err == nil {
			err = tx.Settle(p, "create")
		}
		if err != nil {
			return fmt.Errorf("make policy %d of %s: %w", i+1, role, err)
		}
		arns = append(arns, p.ID)
	}
	delete(r.Props, "Policies")
	r.Props["ManagedPolicyArns"] = arns
	return nil
}
