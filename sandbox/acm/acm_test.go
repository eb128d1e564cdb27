package acm_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

type world struct {
	*account.Account
	now  time.Time
	zone string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}}
	for _, list := range [][]*account.Type{acm.Types(), route53.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }})
	w.zone = w.create(t, route53.TypeHostedZone, obj{"Name": "example.com"}, "")
	return w
}

func (w *world) create(t *testing.T, typ string, p obj, want string) string {
	t.Helper()
	var id string
	err := w.Do(func(tx *account.Tx) error {
		r, _, err := tx.Create(typ, p, "", true)
		if err == nil {
			id = r.ID
		}
		return err
	})
	check(t, err, want)
	return id
}

func (w *world) status(t *testing.T, arn string) string {
	t.Helper()
	out, err := call(t, w, "DescribeCertificate", obj{"CertificateArn": arn})
	if err != nil {
		t.Fatal(err)
	}
	return props.Str(out, "Certificate", "Status")
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	var e *account.Error
	got := ""
	if errors.As(err, &e) {
		got = e.Code + ": " + e.Message
	} else if err != nil {
		got = err.Error()
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func call(t *testing.T, w *world, op string, in obj) (obj, error) {
	t.Helper()
	for _, o := range acm.Service().Operations {
		if o.Name == op {
			var out any
			err := w.Do(func(tx *account.Tx) error {
				var err error
				out, err = o.Do(tx, &wire.Request{In: in})
				return err
			})
			m, _ := out.(map[string]any)
			return m, err
		}
	}
	t.Fatalf("no operation %s", op)
	return nil, nil
}

func TestRequestIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := []any{}
	for _, c := range "abcdefghij" {
		many = append(many, string(c)+".example.com")
	}
	for want, p := range map[string]obj{
		"ValidationException: Value 'a_b.com' at 'domainName'":                                {"DomainName": "a_b.com", "ValidationMethod": "DNS"},
		"NotModelled: Validation method EMAIL is not modelled":                                {"DomainName": "example.com"},
		"InvalidDomainValidationOptionsException: The first":                                  {"DomainName": strings.Repeat("a", 60) + ".example.com", "ValidationMethod": "DNS"},
		"InvalidDomainValidationOptionsException: DomainValidationOptions has a domain b.com": {"DomainName": "example.com", "ValidationMethod": "DNS", "DomainValidationOptions": []any{obj{"DomainName": "b.com", "HostedZoneId": w.zone}}},
		"NotModelled: CertificateAuthorityArn is not modelled":                                {"DomainName": "example.com", "ValidationMethod": "DNS", "CertificateAuthorityArn": "x"},
		"InvalidDomainValidationOptionsException: A validation domain":                        {"DomainName": "example.com", "ValidationMethod": "DNS", "DomainValidationOptions": []any{obj{"DomainName": "example.com", "ValidationDomain": "example.com"}}},
		"LimitExceededException: ":                                                            {"DomainName": "example.com", "ValidationMethod": "DNS", "SubjectAlternativeNames": many},
		"NoSuchHostedZone: ":                                                                  {"DomainName": "example.com", "ValidationMethod": "DNS", "DomainValidationOptions": []any{obj{"DomainName": "example.com", "HostedZoneId": "Z0"}}},
		"InvalidChangeBatch: [RRSet with DNS name":                                            {"DomainName": "example.org", "ValidationMethod": "DNS", "DomainValidationOptions": []any{obj{"DomainName": "example.org", "HostedZoneId": w.zone}}},
		"ValidationException: Key algorithm RSA_1024 is not supported":                        {"DomainName": "example.com", "ValidationMethod": "DNS", "KeyAlgorithm": "RSA_1024"},
	} {
		w.create(t, acm.TypeCertificate, p, want)
	}
}

// TestCloudFormationWritesTheRecord and leaves it behind.
func TestCloudFormationWritesTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.create(t, acm.TypeCertificate, obj{
		"DomainName": "example.com", "SubjectAlternativeNames": []any{"*.example.com", "api.example.com"}, "ValidationMethod": "DNS",
		"DomainValidationOptions": []any{obj{"DomainName": "example.com", "HostedZoneId": w.zone}, obj{"DomainName": "*.example.com", "HostedZoneId": w.zone}, obj{"DomainName": "api.example.com", "HostedZoneId": w.zone}},
	}, "")
	w.now = w.now.Add(149 * time.Second)
	if s := w.status(t, arn); s != "PENDING_VALIDATION" {
		t.Errorf("certificate is %s", s)
	}
	w.now = w.now.Add(2 * time.Second)
	if s := w.status(t, arn); s != "ISSUED" {
		t.Errorf("certificate is %s", s)
	}
	remove := func() error {
		_, err := call(t, w, "DeleteCertificate", obj{"CertificateArn": arn})
		return err
	}
	use := func(on bool) {
		check(t, w.Do(func(tx *account.Tx) error {
			if on {
				tx.Put(&account.Resource{Type: "AWS::ElasticLoadBalancingV2::Listener", ID: "l", Props: obj{"LoadBalancerArn": "lb", "Certificates": []any{obj{"CertificateArn": arn}}}})
			} else {
				tx.Drop("AWS::ElasticLoadBalancingV2::Listener", "l")
			}
			return nil
		}), "")
	}
	use(true)
	check(t, remove(), "ResourceInUseException: Certificate "+arn+" in account 123456789012 is in use.")
	use(false)
	check(t, remove(), "")
	check(t, w.Do(func(tx *account.Tx) error {
		if n := len(route53.Records(tx, w.zone)); n != 2 {
			t.Errorf("%d validation records are left", n)
		}
		_, err := tx.Delete(tx.Get(route53.TypeHostedZone, w.zone), true)
		return err
	}), "HostedZoneNotEmpty: ")
}

// Waiting for a record is no operation in flight, until the record is there.
func TestWaitsForSomethingOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	request := func() string {
		out, err := call(t, w, "RequestCertificate", obj{"DomainName": "app.example.com", "ValidationMethod": "DNS"})
		if err != nil {
			t.Fatal(err)
		}
		return props.Str(out, "CertificateArn")
	}
	arn := request()
	w.now = w.now.Add(71 * time.Hour)
	if s := w.status(t, arn); s != "PENDING_VALIDATION" {
		t.Errorf("certificate is %s", s)
	}
	if after, ok := w.Pending(); ok {
		t.Errorf("waiting for a record is an operation that goes on in %s", after)
	}
	second := request()
	w.now = w.now.Add(2 * time.Hour)
	if s := w.status(t, arn); s != "VALIDATION_TIMED_OUT" {
		t.Errorf("certificate is %s", s)
	}
	out, err := call(t, w, "DescribeCertificate", obj{"CertificateArn": second})
	check(t, err, "")
	record := props.Map(props.Maps(out, "Certificate", "DomainValidationOptions")[0], "ResourceRecord")
	check(t, w.Do(func(tx *account.Tx) error {
		return route53.Upsert(tx, w.zone, props.Str(record, "Name"), "CNAME", 60, []string{props.Str(record, "Value")}, "me")
	}), "")
	if after, ok := w.Pending(); !ok || after > time.Minute {
		t.Errorf("a record came, and the operation that waits for it goes on in %s: %v", after, ok)
	}
	w.now = w.now.Add(2 * time.Minute)
	if s := w.status(t, second); s != "ISSUED" {
		t.Errorf("certificate is %s", s)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app.example.com"}, DNSNames: []string{"app.example.com", "api.example.com"}, NotBefore: w.now, NotAfter: w.now.AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	_, err = call(t, w, "ImportCertificate", obj{"Certificate": "bm90aGluZw==", "PrivateKey": text("PRIVATE KEY", nil)})
	check(t, err, "ValidationException: The certificate field contains no certificate")
	in := obj{"Certificate": text("CERTIFICATE", der), "PrivateKey": text("PRIVATE KEY", []byte{1}), "Tags": []any{obj{"Key": "a", "Value": "b"}}}
	out, err := call(t, w, "ImportCertificate", in)
	check(t, err, "")
	if s := w.status(t, props.Str(out, "CertificateArn")); s != "ISSUED" {
		t.Errorf("certificate is %s", s)
	}
	tags, err := call(t, w, "ListTagsForCertificate", obj{"CertificateArn": out["CertificateArn"]})
	check(t, err, "")
	if props.Tags(tags, "Tags")["a"] != "b" {
		t.Error(tags)
	}
	w.now = w.now.AddDate(0, 2, 0)
	expired, err := call(t, w, "DescribeCertificate", obj{"CertificateArn": out["CertificateArn"]})
	check(t, err, "")
	if c := props.Map(expired, "Certificate"); props.Str(c, "Status") != "EXPIRED" || c["NotAfter"] == nil {
		t.Errorf("certificate after its time: %v", c)
	}
	list, err := call(t, w, "ListCertificates", obj{"CertificateStatuses": []any{"EXPIRED"}})
	check(t, err, "")
	if n := len(props.List(list, "CertificateSummaryList")); n != 1 {
		t.Errorf("%d certificates have expired", n)
	}
	_, err = call(t, w, "ImportCertificate", in)
	check(t, err, "ValidationException: The certificate is not valid yet or has expired.")
}
