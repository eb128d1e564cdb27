package sandbox

import (
	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/recording"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// permitted tells whether the caller has all that a request demands, and takes
// note of it.
func (o Options) permitted(tx *account.Tx, r *wire.Request) *account.Error {
	demands := access.Of(tx, r)
	refusal := iam.Authorize(tx, r.Service, demands)
	if o.Recording != nil {
		for _, d := range demands {
			o.Recording.Add(tx.Caller, recording.Recorded, r.Service+":"+r.Operation, d, refusal != nil)
		}
	}
	return refusal
}

// permit tells whether the caller has the permissions that CloudFormation needs
// to run a handler, and takes note of them.
func (o Options) permit(tx *account.Tx, c account.Change) error {
	var demands []access.Demand
	if o.Recording == nil && iam.Unlimited(tx, tx.Caller) {
		demands = access.HandlerOf(tx, c, iam.Guarded)
	} else {
		demands = access.Handler(tx, c)
	}
	i, refusal := allowed(tx, c, demands)
	if o.Recording != nil {
		source := recording.Published
		if access.Assumed(c.Type) {
			source = recording.Assumed
		}
		for k, d := range demands {
			o.Recording.Add(tx.Caller, source, c.Type+" "+c.Handler, d, refusal != nil && k == i)
		}
	}
	if refusal == nil {
		return nil
	}
	if access.Tags(demands[i].Action) && !account.IsNotModelled(refusal) {
		// Handlers tell it apart.
		return &account.Error{Code: "UnauthorizedTaggingOperation", Message: refusal.Message, Status: refusal.Status}
	}
	return refusal
}

// asked takes note of what a service asks for in a principal's name, which
// neither the client's call nor what AWS publishes shows.
func (o Options) asked(_ *account.Tx, a account.Asked) {
	if o.Recording == nil {
		return
	}
	cause := "a service's own question"
	if via := a.Context["kms:ViaService"]; len(via) > 0 {
		cause = "use of a key by " + via[0]
	}
	o.Recording.Add(a.Principal, recording.Assumed, cause, access.Demand{Action: a.Action, Resources: a.Resources, Context: a.Context}, a.Denied)
}

// allowed asks the policies in force, and says which demand is refused; of a
// key that is being made, the policy that it gets decides.
func allowed(tx *account.Tx, c account.Change, demands []access.Demand) (int, *account.Error) {
	if c.Type == kms.TypeKey && c.Resource == nil {
		if doc, err := policy.Parse(c.Props["KeyPolicy"], policy.Resource); err == nil {
			for i, d := range demands {
				if d.Resources[0] == "*" {
					continue
				}
				if refusal := iam.PermitOn(tx, tx.Caller, d, doc); refusal != nil {
					return i, refusal
				}
			}
		}
	}
	return iam.PermitAll(tx, tx.Caller, demands)
}
