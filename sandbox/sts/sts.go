// Package sts is AWS Security Token Service: it tells callers who they are.
//
// Limits: no temporary credentials are issued (AssumeRole and its relatives).
package sts

import (
	"hash/fnv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
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
	return map[string]any{"Account": tx.AccountID(), "Arn": r.Caller, "UserId": userID(r.Caller)}, nil
}

// userID is the unique id of a principal: that of the role with the session's
// name, or that of the user. The account's own is its number.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
func userID(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return arn
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	switch kind {
	case "root":
		return parts[4]
	case "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		return UniqueID("AROA", role) + ":" + session
	}
	return UniqueID("AIDA", name)
}

// UniqueID is IAM's unique id of an entity: a prefix that tells its kind and
// 17 characters, which here depend on the name alone.
func UniqueID(prefix, name string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	h := fnv.New128a()
	h.Write([]byte(prefix + name))
	sum := h.Sum(nil)
	id := prefix
	for i := range 17 {
		id += string(alphabet[sum[i%len(sum)]>>(i/len(sum))&31])
	}
	return id
}
