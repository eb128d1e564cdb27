// Package quota is the table of AWS's service quotas that the sandbox enforces,
// with what each service answers when one is exceeded. The services check
// against it and Service Quotas shows it, so both always agree.
//
// Invariants: codes and published values are AWS's. The account has the
// published values, except for the vCPUs of running instances, which AWS raises
// by itself for accounts in use: there the table has what such an account may
// have. [account.World].Quotas has the last word.
//
// Limits: quotas on rates, and those of services that the sandbox doesn't
// model, are not in it.
package quota

import (
	"math"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Quota is one limit.
type Quota struct {
	// Service is Service Quotas' code of the service, "vpc".
	Service string
	// Code is Service Quotas' code of the quota, "L-F678F1CE"; empty for one
	// that Service Quotas doesn't list.
	Code string
	// Key names a quota without a code, "ssm/standard-parameters".
	Key  string
	Name string
	// Default is the value that AWS publishes.
	Default int
	// Usual is the value in an account in use, where AWS raises it by itself;
	// zero means the default.
	Usual      int
	Adjustable bool
	// Global tells that the quota counts over all regions.
	Global bool
	// Refusal and Message are what the service answers to one too many; "{}" in
	// the message is the value. Status 0 means 400.
	Refusal, Message string
	Status           int
}

// Value is the account's applied value.
func (q *Quota) Value(tx *account.Tx) int {
	key := q.Code
	if key == "" {
		key = q.Key
	}
	if v, ok := tx.World().Quotas[key]; ok {
		return v
	}
	if q.Usual != 0 {
		return q.Usual
	}
	return q.Default
}

// Check refuses one more than the account may have.
func (q *Quota) Check(tx *account.Tx, have int) error { return q.CheckMore(tx, have, 1) }

// CheckMore refuses as many more than the account may have.
func (q *Quota) CheckMore(tx *account.Tx, have, more int) error {
	v := q.Value(tx)
	if have+more <= v {
		return nil
	}
	return &account.Error{Code: q.Refusal, Message: strings.ReplaceAll(q.Message, "{}", strconv.Itoa(v)), Status: max(q.Status, 400)}
}

// Published are the values that AWS publishes, for [account.World].Quotas: those
// of an account that nobody has used yet.
func Published() map[string]int {
	out := map[string]int{}
	for _, q := range All() {
		if q.Code != "" {
			out[q.Code] = q.Default
		} else {
			out[q.Key] = q.Default
		}
	}
	return out
}

// Ample are values for [account.World].Quotas that nobody reaches, for accounts
// that hold more than any real one may.
func Ample() map[string]int {
	out := Published()
	for k := range out {
		out[k] = math.MaxInt32
	}
	return out
}
