package acm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// in puts a world's account into other surroundings.
func (w *world) in(o account.World) *world {
	f := &world{now: w.now, zone: w.zone}
	f.Account = w.CloneIn(func() time.Time { return f.now }, o)
	return f
}

func request(names ...string) obj {
	others := []any{}
	for _, n := range names[1:] {
		others = append(others, n)
	}
	return obj{"DomainName": names[0], "SubjectAlternativeNames": others, "ValidationMethod": "DNS"}
}

// A certificate is pending until the CNAME of each of its domains is in the
// public DNS, and is issued then.
//
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
func TestCertificateWaitsForItsRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.create(t, acm.TypeCertificate, request("a.example.com", "b.example.com"), "")
	prove := func(domain string) {
		check(t, w.Do(func(tx *account.Tx) error {
			name, value := acm.Validation(tx, domain)
			return route53.Upsert(tx, w.zone, name, "CNAME", 60, []string{value}, "me")
		}), "")
		w.now = w.now.Add(10 * time.Minute)
	}
	for _, step := range []struct{ domain, want string }{{"a.example.com", "PENDING_VALIDATION"}, {"b.example.com", "ISSUED"}} {
		prove(step.domain)
		if s := w.status(t, arn); s != step.want {
			t.Errorf("with the record of %s the certificate is %s, want %s", step.domain, s, step.want)
		}
	}
}

// After 72 hours without its record a certificate has timed out for good.
//
// https://docs.aws.amazon.com/acm/latest/userguide/troubleshooting-timed-out.html
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
func TestCertificateTimesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.create(t, acm.TypeCertificate, request("a.example.com"), "")
	w.now = w.now.Add(72*time.Hour - time.Minute)
	if s := w.status(t, arn); s != "PENDING_VALIDATION" {
		t.Errorf("before 72 hours the certificate is %s", s)
	}
	w.now = w.now.Add(10 * time.Minute)
	if s := w.status(t, arn); s != "VALIDATION_TIMED_OUT" {
		t.Errorf("after 72 hours the certificate is %s", s)
	}
}

// A validation record proves nothing where the public DNS does not find it: in
// a private zone, or in a zone that nobody delegates to.
//
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-routing-traffic-for-subdomains.html
func TestCertificateNeedsDelegation(t *testing.T) {
	t.Parallel()
	for undelegated, want := range map[string]string{"": "ISSUED", "Example.com.": "PENDING_VALIDATION"} {
		w := newWorld(t).in(account.World{Undelegated: []string{undelegated}})
		p := request("a.example.com")
		p["DomainValidationOptions"] = []any{obj{"DomainName": "a.example.com", "HostedZoneId": w.zone}}
		arn := w.create(t, acm.TypeCertificate, p, "")
		w.now = w.now.Add(time.Hour)
		if s := w.status(t, arn); s != want {
			t.Errorf("undelegated %q: the certificate is %s, want %s", undelegated, s, want)
		}
	}
}

// CloudFormation writes the validation records of a certificate into the hosted
// zones it is given, leaves them behind, and with them the zone can't be deleted.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-certificatemanager-certificate.html
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_DeleteHostedZone.html
func TestValidationRecordsStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := request("a.example.com")
	p["DomainValidationOptions"] = []any{obj{"DomainName": "a.example.com", "HostedZoneId": w.zone}}
	arn := w.create(t, acm.TypeCertificate, p, "")
	w.now = w.now.Add(time.Hour)
	if _, err := call(t, w, "DeleteCertificate", obj{"CertificateArn": arn}); err != nil {
		t.Fatal(err)
	}
	check(t, w.Do(func(tx *account.Tx) error {
		records := route53.Records(tx, w.zone)
		if len(records) != 1 || props.Str(records[0].Props, "Type") != "CNAME" {
			t.Errorf("%d records are left, want the CNAME", len(records))
		}
		_, err := tx.Delete(tx.Get(route53.TypeHostedZone, w.zone), false)
		return err
	}), "HostedZoneNotEmpty: The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
}

// A certificate that a listener uses can't be deleted.
//
// https://docs.aws.amazon.com/acm/latest/APIReference/API_DeleteCertificate.html
func TestCertificateInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var arn string
	check(t, w.Do(func(tx *account.Tx) error {
		arn = acm.Issued(tx, "a.example.com").ID
		tx.Put(&account.Resource{Type: "AWS::ElasticLoadBalancingV2::Listener", ID: "l", Props: obj{"LoadBalancerArn": "lb", "Certificates": []any{obj{"CertificateArn": arn}}}})
		return nil
	}), "")
	_, err := call(t, w, "DeleteCertificate", obj{"CertificateArn": arn})
	check(t, err, "ResourceInUseException: Certificate "+arn+" in account 123456789012 is in use.")
}

// A certificate has ten domain names at most, unless the quota was raised.
//
// https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
func TestDomainsOfACertificate(t *testing.T) {
	t.Parallel()
	names := strings.Split("a b c d e f g h i j k", " ")
	for i := range names {
		names[i] += ".example.com"
	}
	w := newWorld(t)
	w.create(t, acm.TypeCertificate, request(names...), "LimitExceededException: Error: the number of domain names exceeds the limit of 10.")
	w.create(t, acm.TypeCertificate, request(names[:10]...), "")
	w.in(account.World{Quotas: map[string]int{"L-FB94F0B0": 11}}).create(t, acm.TypeCertificate, request(names...), "")
	w.in(account.World{Quotas: map[string]int{"L-F141DD1D": 1}}).create(t, acm.TypeCertificate, request("z.example.com"), "LimitExceededException: Error: you have reached your limit of 1 certificates.")
}

// A certificate of another region for the same domain has the same validation record; it is listed only there, and only if its key type is asked for.
//
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
// https://docs.aws.amazon.com/acm/latest/APIReference/API_Filters.html
func TestCertificateOfAnotherRegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t).in(account.World{Regions: []account.Region{{Name: "eu-north-1", Certificates: []string{"a.example.com"}}}})
	ask := func(region, op string, in obj) obj {
		t.Helper()
		var out any
		check(t, w.Do(func(tx *account.Tx) (err error) {
			for _, o := range acm.Service().Operations {
				if o.Name == op {
					out, err = o.Do(tx, &wire.Request{In: in, Region: region, Operation: op})
				}
			}
			return err
		}), "")
		return out.(obj)
	}
	all := obj{"Includes": obj{"keyTypes": []any{"EC_prime256v1"}}}
	list := func(region string, in obj) int {
		return len(props.Maps(ask(region, "ListCertificates", in), "CertificateSummaryList"))
	}
	if here, there, rsa := list("us-east-1", all), list("eu-north-1", all), list("eu-north-1", obj{}); here != 0 || there != 1 || rsa != 0 {
		t.Errorf("%d here, %d there, %d of them without asking for the key type", here, there, rsa)
	}
	arn := props.Str(props.Maps(ask("eu-north-1", "ListCertificates", all), "CertificateSummaryList")[0], "CertificateArn")
	record := props.Map(props.Maps(ask("eu-north-1", "DescribeCertificate", obj{"CertificateArn": arn}), "Certificate", "DomainValidationOptions")[0], "ResourceRecord")
	check(t, w.Do(func(tx *account.Tx) error {
		if name, value := acm.Validation(tx, "a.example.com"); record["Name"] != name || record["Value"] != value {
			t.Errorf("the record there is %v", record)
		}
		_, err := acm.Service().Operations[0].Do(tx, &wire.Request{Region: "eu-north-1", Operation: "RequestCertificate"})
		return err
	}), "NotModelled: RequestCertificate in region eu-north-1")
}
