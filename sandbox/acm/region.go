package acm

import (
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// here refuses an operation in another region than the account's, where only
// reading is modelled.
func here(do func(*account.Tx, *wire.Request) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if away(tx, r) != nil {
			return nil, account.NotModelled("%s in region %s is not modelled by the sandbox", r.Operation, r.Region)
		}
		return do(tx, r)
	}
}

func away(tx *account.Tx, r *wire.Request) *account.Region {
	if r.Region == tx.Region() {
		return nil
	}
	return tx.World().Elsewhere(r.Region)
}

// certificates are those of the region that a request is for. The record of a
// domain is the same in all regions.
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
func certificates(tx *account.Tx, r *wire.Request) []*account.Resource {
	region := away(tx, r)
	if region == nil {
		return tx.List(TypeCertificate)
	}
	var out []*account.Resource
	for _, domain := range region.Certificates {
		name, _ := Validation(tx, domain)
		id := strings.Split(tx.ARN("acm", "certificate/"+name[1:9]+"-"+name[9:13]+"-"+name[13:17]+"-"+name[17:21]+"-"+name[21:33]), ":")
		id[3] = region.Name
		out = append(out, &account.Resource{
			Type: TypeCertificate, ID: strings.Join(id, ":"), Status: "ISSUED", Created: tx.Now().AddDate(0, -1, 0),
			Props: map[string]any{"DomainName": domain, "ValidationMethod": "DNS", "KeyAlgorithm": "EC_prime256v1"},
			Data:  map[string]any{"kind": "AMAZON_ISSUED"},
		})
	}
	return out
}
