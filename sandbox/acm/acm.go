// Package acm simulates AWS Certificate Manager.
//
// A certificate that is requested is issued once the CNAME records that prove
// its domains are in the public DNS, which here are the hosted zones of this
// account that are delegated. CloudFormation writes those records itself into the zones that it is
// given, and leaves them behind; otherwise the request waits for somebody else
// to write them, for 72 hours. The record of a domain is the same for all
// certificates of the account.
//
// Invariants: a certificate in use can't be deleted; only an issued one can be
// used.
//
// Limits: certificates of other regions, see [account.World], can be read and no
// more, and are of the type EC_prime256v1; validation by e-mail or HTTP, private authorities, renewal and export
// aren't modelled. A certificate has no key: nothing serves TLS with it.
package acm

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/route53"
)

// TypeCertificate is the resource type of this package.
const TypeCertificate = "AWS::CertificateManager::Certificate"

// Types returns the resource types of this package.
func Types() []*account.Type {
	return []*account.Type{{
		Name: TypeCertificate, Latency: "acm:cert",
		Row: func(_ *account.Resource, op string) string {
			if op == "create" {
				op = "dns-validate"
			}
			return "acm:cert/" + op
		},
		Create: request,
		Update: func(_ *account.Tx, r *account.Resource, next map[string]any) error {
			r.Retag(next, "Tags")
			return nil
		},
		Settle: validate,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if len(users(tx, r.ID)) > 0 {
				return account.Errorf("ResourceInUseException", "Certificate %s in account %s is in use.", r.ID, tx.AccountID())
			}
			return nil
		},
	}}
}

// https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
const (
	patience = 72 * time.Hour
	interval = time.Minute // between looks at the DNS
)

func invalid(format string, args ...any) error {
	return account.Errorf("ValidationException", format, args...)
}

var domainName = regexp.MustCompile(`^(\*\.)?(([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])$`)

// keys are the algorithms that can be requested.
var keys = []string{"RSA_2048", "EC_prime256v1", "EC_secp384r1"}

// request checks a request and begins the validation.
func request(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	names := domains(p)
	for _, d := range names {
		if !domainName.MatchString(d) || len(d) > 253 {
			return invalid("Value '%s' at 'domainName' failed to satisfy constraint: Member must satisfy regular expression pattern of a domain name", d)
		}
	}
	if len(names[0]) > 64 {
		return account.Errorf("InvalidDomainValidationOptionsException", "The first domain name can be no longer than 64 characters.")
	}
	if err := quota.Domains.CheckMore(tx, 0, len(names)); err != nil {
		return err
	}
	if err := quota.Certificates.Check(tx, tx.Count(TypeCertificate)); err != nil {
		return err
	}
	if m := props.Str(p, "ValidationMethod"); m != "DNS" {
		return account.NotModelled("Validation method %s is not modelled by the sandbox", cmp.Or(m, "EMAIL"))
	}
	if k := cmp.Or(props.Str(p, "KeyAlgorithm"), keys[0]); !slices.Contains(keys, k) {
		return invalid("Key algorithm %s is not supported for requested certificates", k)
	}
	if props.Has(p, "CertificateAuthorityArn") {
		return account.NotModelled("CertificateAuthorityArn is not modelled by the sandbox")
	}
	options := props.Maps(p, "DomainValidationOptions")
	for _, o := range options {
		if d := props.Str(o, "DomainName"); !slices.Contains(names, d) {
			return account.Errorf("InvalidDomainValidationOptionsException", "DomainValidationOptions has a domain %s that is not in the request.", d)
		}
		if props.Has(o, "ValidationDomain") {
			return account.Errorf("InvalidDomainValidationOptionsException", "A validation domain is only for validation by e-mail.")
		}
	}
	for _, o := range options {
		if zone := props.Str(o, "HostedZoneId"); zone != "" {
			name, text := Validation(tx, props.Str(o, "DomainName"))
			if err := route53.Upsert(tx, zone, name, "CNAME", 300, []string{text}, "cloudformation.amazonaws.com"); err != nil {
				return err
			}
		}
	}
	identify(tx, r)
	r.Status = "PENDING_VALIDATION"
	r.Data["kind"] = "AMAZON_ISSUED"
	return nil
}

// identify gives a certificate its ARN.
func identify(tx *account.Tx, r *account.Resource) {
	h := tx.HexID(32)
	r.ID = tx.ARN("acm", "certificate/"+strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
	r.Attrs = map[string]any{"CertificateArn": r.ID}
	r.Data = map[string]any{}
	r.Tags = props.Tags(r.Props, "Tags")
}

// domains are all names of a certificate, the first of which is its subject.
func domains(p map[string]any) []string {
	list := []string{props.Str(p, "DomainName")}
	for _, d := range props.Strs(p, "SubjectAlternativeNames") {
		if !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// Validation is the name and value of the CNAME record that proves to ACM that
// the account holds a domain.
func Validation(tx *account.Tx, domain string) (name, value string) {
	domain = strings.ToLower(strings.TrimPrefix(domain, "*."))
	sum := sha256.Sum256([]byte(tx.AccountID() + "/" + domain))
	h := hex.EncodeToString(sum[:])
	return "_" + h[:32] + "." + domain + ".", "_" + h[32:] + ".acm-validations.aws."
}

// proved tells whether the record of a domain is there.
func proved(tx *account.Tx, domain string) bool {
	name, want := Validation(tx, domain)
	return slices.ContainsFunc(route53.Resolve(tx, name, "CNAME"), func(v string) bool {
		return strings.TrimSuffix(strings.ToLower(v), ".")+"." == want
	})
}

// validate issues a certificate whose domains are all proved, and gives up
// after 72 hours.
func validate(tx *account.Tx, r *account.Resource, op string) error {
	if op != "create" || r.Status != "PENDING_VALIDATION" {
		return nil
	}
	for _, d := range domains(r.Props) {
		if proved(tx, d) {
			continue
		}
		if tx.Now().Sub(r.Created) < patience {
			return account.Outside(interval)
		}
		r.Status = "VALIDATION_TIMED_OUT"
		return account.Errorf("NotStabilized", "Certificate %s was not validated in time: the record for %s isn't there", r.ID, d)
	}
	issue(tx, r, tx.Now().AddDate(0, 13, 0))
	return nil
}

func issue(tx *account.Tx, r *account.Resource, until time.Time) {
	r.Status = "ISSUED"
	r.Data["issued"], r.Data["until"] = tx.Now(), until
	pairs := []string{}
	for h := tx.HexID(32); h != ""; h = h[2:] {
		pairs = append(pairs, h[:2])
	}
	r.Data["serial"] = strings.Join(pairs, ":")
}

// Issued puts a certificate into the account that was issued before.
func Issued(tx *account.Tx, domain string, others ...string) *account.Resource {
	names := []any{}
	for _, o := range others {
		names = append(names, o)
	}
	r := &account.Resource{Type: TypeCertificate, Props: map[string]any{"DomainName": domain, "SubjectAlternativeNames": names, "ValidationMethod": "DNS"}}
	identify(tx, r)
	r.Data["kind"] = "AMAZON_ISSUED"
	issue(tx, r, tx.Now().AddDate(0, 13, 0))
	tx.Put(r)
	return r
}

// users are the ARNs of the load balancers that use a certificate.
func users(tx *account.Tx, arn string) []string {
	var out []string
	for _, l := range tx.List("AWS::ElasticLoadBalancingV2::Listener") {
		for _, c := range props.Maps(l.Props, "Certificates") {
			if props.Str(c, "CertificateArn") == arn {
				out = append(out, props.Str(l.Props, "LoadBalancerArn"))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
