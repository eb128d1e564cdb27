// Package sts is AWS Security Token Service: it tells callers who they are.
//
// Limits: no temporary credentials are issued (AssumeRole and its relatives).
package sts

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns STS's API.
func Service() wire.Service {
	return wire.Service{
		Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "GetCallerIdentity", Do: getCallerIdentity},
		},
	}
}

func getCallerIdentity(tx *account.Tx, r *wire.Request) (any, error) {
	return map[string]any{"Account": tx.AccountID(), "Arn": r.Caller, "UserId": userID(tx, r.Caller)}, nil
}

// userID is the unique id of a principal: that of the role with the session's
// name, or that of the user. The account's own is its number.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
func userID(tx *account.Tx, arn string) string {
	_, resource, _ := strings.Cut(arn, "::"+tx.AccountID()+":")
	kind, name, _ := strings.Cut(resource, "/")
	switch kind {
	case "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		if r := tx.Get(iam.TypeRole, role); r != nil {
			return props.Str(r.Attrs, "RoleId") + ":" + session
		}
	case "user":
		// Users are not modelled; their ids only have the form.
		return "AIDA" + strings.ToUpper((name + "ABCDEFGHIJKLMNOPQ")[:17])
	}
	return tx.AccountID()
}
