package kms

import (
	"regexp"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

// mostAliases is how many aliases a key can have.
// https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const mostAliases = 50

func aliasType() *account.Type {
	return &account.Type{
		Name: TypeAlias, Latency: "kms:alias",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "AliasName")
			if !aliasPattern.MatchString(name) || len(name) > 256 {
				return account.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(alias/)[a-zA-Z0-9/_-]+$", name)
			}
			if strings.HasPrefix(name, "alias/aws/") {
				return account.Errorf("NotAuthorizedException", "Aliases that begin with alias/aws/ are reserved for AWS managed keys")
			}
			if tx.Get(TypeAlias, name) != nil {
				return account.Errorf("AlreadyExistsException", "An alias with the name %s already exists", tx.ARN("kms", name))
			}
			if err := checkTarget(tx, r.Props); err != nil {
				return err
			}
			if len(tx.Where(TypeAlias, "target", target, target(r))) >= mostAliases {
				return account.Errorf("LimitExceededException", "You have reached the limit of %d aliases per KMS key.", mostAliases)
			}
			r.ID = name
			return nil
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error { return checkTarget(tx, next) },
	}
}

// checkTarget: an alias points to a key, by its id or ARN, not to an alias.
func checkTarget(tx *account.Tx, p map[string]any) error {
	ref := props.Str(p, "TargetKeyId")
	if strings.HasPrefix(ref, "alias/") || strings.Contains(ref, ":alias/") {
		return account.Errorf("ValidationException", "Aliases must refer to keys. Not aliases")
	}
	k, err := Lookup(tx, ref)
	if err != nil {
		return err
	}
	if k.Data["AWSManaged"] != nil {
		return account.Errorf("NotAuthorizedException", "Aliases can't be made for AWS managed keys")
	}
	if k.Status == PendingDeletion {
		return account.Errorf("KMSInvalidStateException", "%s is pending deletion.", ARN(k))
	}
	return nil
}

// target is the id of the key an alias points to.
func target(a *account.Resource) string {
	ref := props.Str(a.Props, "TargetKeyId")
	return ref[strings.LastIndex(ref, "/")+1:]
}
