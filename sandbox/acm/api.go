package acm

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of ACM as far as it is modelled.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_Operations.html
func Service() wire.Service {
	return wire.Service{Name: "acm", Target: "CertificateManager", Version: "2015-12-08", Protocol: wire.JSON11, Operations: []wire.Operation{
		{Name: "RequestCertificate", Do: here(requestCertificate)},
		{Name: "ImportCertificate", Do: here(importCertificate)},
		{Name: "DescribeCertificate", Do: describeCertificate},
		{Name: "ListCertificates", Do: listCertificates},
		{Name: "DeleteCertificate", Do: here(deleteCertificate)},
		{Name: "ListTagsForCertificate", Do: listTags},
	}}
}

type object = map[string]any

func find(tx *account.Tx, r *wire.Request) (*account.Resource, error) {
	arn := r.String("CertificateArn")
	for _, c := range certificates(tx, r) {
		if c.ID == arn {
			return c, nil
		}
	}
	return nil, account.Errorf("ResourceNotFoundException", "Could not find certificate %s.", arn)
}

func requestCertificate(tx *account.Tx, r *wire.Request) (any, error) {
	p := object{"DomainName": r.String("DomainName"), "ValidationMethod": r.String("ValidationMethod"), "Tags": r.In["Tags"]}
	if s := r.Strings("SubjectAlternativeNames"); len(s) > 0 {
		p["SubjectAlternativeNames"] = r.In["SubjectAlternativeNames"]
	}
	if k := r.String("KeyAlgorithm"); k != "" {
		p["KeyAlgorithm"] = k
	}
	// A token makes a request idempotent for an hour.
	// https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html
	token := r.String("IdempotencyToken")
	for _, c := range tx.List(TypeCertificate) {
		if token != "" && props.Str(c.Data, "token") == token && tx.Now().Sub(c.Created) < time.Hour && slices.Equal(domains(c.Props), domains(p)) {
			return object{"CertificateArn": c.ID}, nil
		}
	}
	c, _, err := tx.Create(TypeCertificate, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	c.Data["token"] = token
	return object{"CertificateArn": c.ID}, nil
}

// importCertificate takes a certificate that was issued elsewhere.
func importCertificate(tx *account.Tx, r *wire.Request) (any, error) {
	leaf, err := parse(r.String("Certificate"))
	if err != nil {
		return nil, err
	}
	if key := decode(r.String("PrivateKey")); key == nil {
		return nil, invalid("The private key is not supported.")
	}
	if leaf.NotAfter.Before(tx.Now()) || leaf.NotBefore.After(tx.Now()) {
		return nil, invalid("The certificate is not valid yet or has expired.")
	}
	names := []any{}
	for _, n := range leaf.DNSNames {
		names = append(names, n)
	}
	domain := leaf.Subject.CommonName
	if domain == "" && len(leaf.DNSNames) > 0 {
		domain = leaf.DNSNames[0]
	}
	p := object{"DomainName": domain, "SubjectAlternativeNames": names, "Tags": r.In["Tags"]}
	c := tx.Get(TypeCertificate, r.String("CertificateArn"))
	if r.String("CertificateArn") == "" {
		c = &account.Resource{Type: TypeCertificate, Props: p, Owner: r.Caller}
		identify(tx, c)
		tx.Put(c)
	} else if c == nil {
		return find(tx, r)
	}
	c.Props = p
	issue(tx, c, leaf.NotAfter)
	c.Data["kind"] = "IMPORTED"
	return object{"CertificateArn": c.ID}, nil
}

// decode reads a PEM block that may be in base64 as JSON has bytes.
func decode(s string) *pem.Block {
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
		s = string(raw)
	}
	block, _ := pem.Decode([]byte(s))
	return block
}

func parse(s string) (*x509.Certificate, error) {
	block := decode(s)
	if block == nil {
		return nil, invalid("The certificate field contains no certificate in PEM format.")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, invalid("The certificate can't be read: %s.", err)
	}
	return c, nil
}

// status is a certificate's status now: one that was issued expires.
func status(tx *account.Tx, c *account.Resource) string {
	if until, ok := c.Data["until"].(time.Time); ok && c.Status == "ISSUED" && !until.After(tx.Now()) {
		return "EXPIRED"
	}
	return c.Status
}

func describeCertificate(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := find(tx, r)
	if err != nil {
		return nil, err
	}
	names := domains(c.Props)
	algorithm := props.Str(c.Props, "KeyAlgorithm")
	if algorithm == "" {
		algorithm = keys[0]
	}
	out := object{
		"CertificateArn": c.ID, "DomainName": names[0], "SubjectAlternativeNames": names, "Subject": "CN=" + names[0], "Status": status(tx, c), "Type": c.Data["kind"],
		"CreatedAt": c.Created, "KeyAlgorithm": algorithm, "InUseBy": []any{}, "RenewalEligibility": "INELIGIBLE",
	}
	if u := users(tx, c.ID); len(u) > 0 {
		out["InUseBy"] = u
		if c.Data["kind"] == "AMAZON_ISSUED" {
			out["RenewalEligibility"] = "ELIGIBLE"
		}
	}
	// What was issued keeps its dates when it expires or is revoked.
	if c.Data["until"] != nil {
		out["NotBefore"], out["NotAfter"], out["Serial"], out["SignatureAlgorithm"] = c.Data["issued"], c.Data["until"], c.Data["serial"], "SHA256WITHRSA"
		out[map[bool]string{true: "ImportedAt", false: "IssuedAt"}[c.Data["kind"] == "IMPORTED"]] = c.Data["issued"]
	}
	if c.Data["kind"] == "AMAZON_ISSUED" {
		out["Issuer"] = "Amazon"
		options := []any{}
		for _, d := range names {
			name, value := Validation(tx, d)
			proof := "PENDING_VALIDATION"
			switch {
			case c.Status == "ISSUED" || proved(tx, d):
				proof = "SUCCESS"
			case c.Status == "VALIDATION_TIMED_OUT":
				proof = "FAILED"
			}
			options = append(options, object{"DomainName": d, "ValidationDomain": d, "ValidationStatus": proof, "ValidationMethod": "DNS", "ResourceRecord": object{"Name": name, "Type": "CNAME", "Value": value}})
		}
		out["DomainValidationOptions"] = options
	}
	return object{"Certificate": out}, nil
}

func listCertificates(tx *account.Tx, r *wire.Request) (any, error) {
	statuses := r.Strings("CertificateStatuses")
	list := []any{}
	for _, c := range certificates(tx, r) {
		if len(statuses) > 0 && !slices.Contains(statuses, status(tx, c)) {
			continue
		}
		// Unless it is asked for, only RSA keys of up to 2048 bits are listed.
		// https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html
		types := props.Strs(r.In, "Includes", "keyTypes")
		if len(types) == 0 {
			types = []string{"RSA_1024", "RSA_2048"}
		}
		if !slices.Contains(types, cmp.Or(props.Str(c.Props, "KeyAlgorithm"), "RSA_2048")) {
			continue
		}
		list = append(list, object{
			"CertificateArn": c.ID, "DomainName": props.Str(c.Props, "DomainName"), "SubjectAlternativeNameSummaries": domains(c.Props), "Status": status(tx, c),
			"Type": c.Data["kind"], "InUse": len(users(tx, c.ID)) > 0, "CreatedAt": c.Created,
		})
	}
	list, next, err := wire.Page(list, r.String("NextToken"), r.Int("MaxItems", 1000), "InvalidArgsException")
	if err != nil {
		return nil, err
	}
	out := object{"CertificateSummaryList": list}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

func deleteCertificate(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := find(tx, r)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Delete(c, false); err != nil {
		return nil, err
	}
	return object{}, tx.Settle(c, "delete")
}

func listTags(tx *account.Tx, r *wire.Request) (any, error) {
	c, err := find(tx, r)
	if err != nil {
		return nil, err
	}
	return object{"Tags": props.Pairs(c.Tags)}, nil
}
