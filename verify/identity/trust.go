package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/policy"
)

// trustText says whom a trust policy lets in.
func trustText(p policy.Document) string {
	var out []string
	for _, w := range p.Allowed() {
		out = append(out, w.String())
	}
	return "assumed by " + check.OrNobody(out)
}

func rolesTrust(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
	if e.account != nil {
		return nil // see irsa-trust-pinned
	}
	saw := trustText(role.Trust)
	ok := slices.Equal(role.Trust.Allowed(), []policy.Principal{{Kind: "Service", ID: e.service}})
	want := "assumed by " + e.service
	if e.bound {
		want += " for account " + l.ID.Account
		for _, s := range role.Trust {
			bound := slices.Equal(s.Wants("aws:SourceAccount", "StringEquals"), []string{l.ID.Account})
			if s.Allow && !bound {
				ok = false
				saw += " for any account"
			}
		}
	}
	r.Saw(ok, role.ARN, saw, "iam:GetRole", want, check.FixUpdate)
	return nil
}

// podTrust is a statement by which a role trusts service accounts of the
// cluster.
type podTrust struct {
	role, arn string
	statement policy.Statement
	// subjects are the service accounts that it names, exactly or by patterns.
	subjects []string
	// pinned tells that it names one exactly, and the audience.
	pinned bool
}

// podTrusts are those of all roles of the account.
func podTrusts(l *account.Look, c *types.Cluster) ([]podTrust, error) {
	return account.Facts[identityFacts](l).podTrustsFact.Get(func() ([]podTrust, error) {
		all, err := allRoles(l)
		if err != nil {
			return nil, err
		}
		provider, issuer := l.ProviderARN(c), account.ClusterIssuer(c)
		var found []podTrust
		for _, role := range all {
			document, err := policy.Read(aws.ToString(role.AssumeRolePolicyDocument))
			if err != nil {
				return nil, fmt.Errorf("trust of role %s: %w", aws.ToString(role.RoleName), err)
			}
			for _, s := range document {
				if !s.Allow || !slices.Contains(s.Principals, policy.Principal{Kind: "Federated", ID: provider}) {
					continue
				}
				t := podTrust{role: aws.ToString(role.RoleName), arn: aws.ToString(role.Arn), statement: s}
				exact := s.Wants(issuer+":sub", "StringEquals")
				t.subjects = append(slices.Clone(exact), s.Wants(issuer+":sub", "StringLike", "StringEqualsIgnoreCase", "ForAnyValue:StringEquals", "ForAnyValue:StringLike", "StringEqualsIfExists", "StringLikeIfExists")...)
				t.pinned = len(exact) == 1 && len(t.subjects) == 1 && slices.Equal(s.Wants(issuer+":aud", "StringEquals"), []string{"sts.amazonaws.com"})
				found = append(found, t)
			}
		}
		return found, nil
	})
}

// text is the trust for people.
func (t podTrust) text(issuer string) string {
	return fmt.Sprintf("subject %s, audience %s", orAny(t.subjects), orAny(t.statement.Wants(issuer+":aud", "StringEquals")))
}

func orAny(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, ", ")
}

// subjectOf is how tokens name a service account.
func subjectOf(s architecture.ServiceAccount) string {
	return "system:serviceaccount:" + s.Namespace + ":" + s.Name
}

func irsaTrustPinned(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	issuer := account.ClusterIssuer(c)
	return eachRole(func(l *account.Look, r *check.Recorder, e expectedRole, role *account.IAMRole) error {
		if e.account == nil {
			return nil
		}
		want := "subject " + subjectOf(*e.account) + ", audience sts.amazonaws.com"
		const api = "iam:GetRole"
		n := 0
		for _, t := range trusts {
			if t.role != role.Name {
				continue
			}
			n++
			s := t.statement
			ok := t.pinned && t.subjects[0] == subjectOf(*e.account) && len(s.Conditions) == 2 && len(s.Principals) == 1 &&
				slices.Equal(s.Actions, []string{"sts:assumerolewithwebidentity"})
			r.Saw(ok, role.ARN, t.text(issuer), api, want, check.FixUpdate)
		}
		if n == 0 || n != len(role.Trust) {
			r.Saw(false, role.ARN, fmt.Sprintf("%s, %d of %d statements for this cluster's service accounts", trustText(role.Trust), n, len(role.Trust)), api, "one statement: "+want, check.FixUpdate)
		}
		return nil
	})(l, r)
}

func irsaNoStrangers(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, e := range expectedRoles(l) {
		ours[l.Arch.RoleName(e.part)] = true
	}
	n := 0
	for _, t := range trusts {
		if ours[t.role] {
			continue // see irsa-trust-pinned
		}
		n++
		r.Saw(t.pinned, t.arn, t.text(account.ClusterIssuer(c)), "iam:ListRoles", "one subject and the audience sts.amazonaws.com, by StringEquals",
			"pin the trust to one service account: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html")
	}
	if n == 0 {
		r.Saw(true, l.ProviderARN(c), "no other role trusts it", "iam:ListRoles", "", "")
	}
	return nil
}

func rolesPerServiceAccount(l *account.Look, r *check.Recorder, c *types.Cluster) error {
	trusts, err := podTrusts(l, c)
	if err != nil {
		return err
	}
	roles, accounts := map[string][]string{}, map[string][]string{}
	for _, t := range trusts {
		for _, s := range t.subjects {
			if !slices.Contains(roles[s], t.role) {
				roles[s] = append(roles[s], t.role)
			}
			if !slices.Contains(accounts[t.role], s) {
				accounts[t.role] = append(accounts[t.role], s)
			}
		}
	}
	const api = "iam:ListRoles"
	for _, s := range l.Arch.ServiceAccounts {
		subject := subjectOf(s)
		if has := roles[subject]; len(has) > 0 {
			r.Saw(len(has) == 1, subject, "roles "+strings.Join(has, ", "), api, l.Arch.RoleName(s.Role), "delete the other role, or let it trust another service account")
		}
	}
	for _, role := range account.SortedKeys(accounts) {
		if has := accounts[role]; len(has) > 1 {
			r.Saw(false, role, "for "+strings.Join(has, ", "), api, "one service account", "make a role for each service account")
		}
	}
	return nil
}

// bindsTo are the keys that bind what a controller changes to the deployment.
func bindsTo(s policy.Statement) bool {
	return slices.ContainsFunc(s.Conditions, func(c policy.Condition) bool {
		return strings.HasPrefix(c.Key, "aws:resourcetag/") || strings.HasPrefix(c.Key, "aws:requesttag/") || c.Key == "ec2:vpc" || c.Key == "kms:viaservice"
	})
}
