package deploy_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/stack"
)

// TestL10RecordOfAnotherRegion: the validation record in the customer's zone goes
// with the certificate, unless one of another region is for the same domain, or
// somewhere it can't be told: then it stays and is named, with the command that
// removes it.
func TestL10RecordOfAnotherRegion(t *testing.T) {
	t.Parallel()
	const domain = "poolside.example.com"
	for name, c := range map[string]struct {
		regions []account.Region
		refused string // region or operation
		stays   string // the reason names it; "" is gone
		left    bool   // its certificate is gone before, as that of a creation that failed
	}{
		"no other region":     {},
		"another domain":      {regions: []account.Region{{Name: "eu-north-1", Certificates: []string{"x." + domain, "other.example.com"}}}},
		"the same domain":     {regions: []account.Region{{Name: "ap-south-1"}, {Name: "eu-north-1", Certificates: []string{domain}}}, stays: "arn:aws:acm:eu-north-1:"},
		"a wildcard":          {regions: []account.Region{{Name: "eu-north-1", Certificates: []string{"*." + domain}}}, stays: "arn:aws:acm:eu-north-1:"},
		"a region is closed":  {regions: []account.Region{{Name: "ap-south-1"}, {Name: "eu-north-1"}}, refused: "/eu-north-1/acm/", stays: "in region eu-north-1 can't be told (not allowed there)"},
		"left by a creation":  {left: true, stays: "no certificate of this account needs it"},
		"regions are unknown": {refused: "DescribeRegions", stays: "in other regions can't be told (not allowed there)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := example(t, "self-managed-nat")
				zone := a.Config.DNS.ZoneID
				w := newWorld(t, a, sandbox.Options{Fresh: true, World: account.World{Regions: c.regions}, Intercept: func(r *http.Request, _, operation string) error {
					if c.refused != "" && (operation == c.refused || strings.Contains(r.Header.Get("Authorization"), c.refused)) {
						return &account.Error{Code: "AccessDeniedException", Message: "not allowed there", Status: http.StatusBadRequest}
					}
					return nil
				}})
				w.stack(a, architecture.Certificate, `{"Resources":{"C":{"Type":"AWS::CertificateManager::Certificate","Properties":{
					"DomainName":"`+domain+`","ValidationMethod":"DNS","DomainValidationOptions":[{"DomainName":"`+domain+`","HostedZoneId":"`+zone+`"}]}}}}`)
				if c.left {
					w.remove(a, architecture.Certificate)
					w.stack(a, architecture.Parameters, `{"Resources":{"P":{"Type":"AWS::SSM::Parameter","Properties":{"Type":"String","Value":"x"}}}}`)
				}
				d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
				if err != nil && !errors.Is(err, deploy.ErrAbsent) {
					t.Fatal(err)
				}
				out, err := w.target(a).AWS.Route53.ListResourceRecordSets(t.Context(), &route53.ListResourceRecordSetsInput{HostedZoneId: &zone})
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(out.ResourceRecordSets, func(s r53types.ResourceRecordSet) bool { return s.Type == r53types.RRTypeCname })
				if there := i >= 0; there != (c.stays != "") {
					t.Errorf("the record is there: %t; kept: %+v", there, d.Kept)
				}
				if c.stays == "" {
					if d.Outcome != deploy.Clean || len(d.Kept) > 0 {
						t.Errorf("got %+v", d)
					}
					return
				}
				k := keptAs(t, d, "AWS::Route53::RecordSet", c.stays)
				if !k.Passing || d.Outcome != deploy.Clean || len(k.Remove) != 1 || !strings.Contains(k.Remove[0], `"Name":"_`) {
					t.Errorf("the record is kept as %+v; outcome %s", k, d.Outcome)
				}
			})
		})
	}
}

// TestL10RecordsOfOthersCertificates: somebody validates a certificate of his own in the
// zone that the deployment made. Its record blocks the deletion of the zone, and is named;
// once the certificate is gone, so is the record. A region that does not answer decides
// nothing; one that may not be asked holds up nothing, and is told.
func TestL10RecordsOfOthersCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		closed := "" // the code of what the other region answers
		w := newWorld(t, a, sandbox.Options{Fresh: true, World: account.World{Regions: []account.Region{{Name: "eu-north-1"}}}, Intercept: func(r *http.Request, _, _ string) error {
			if closed != "" && strings.Contains(r.Header.Get("Authorization"), "/eu-north-1/acm/") {
				return &account.Error{Code: closed, Message: "not allowed there", Status: http.StatusBadRequest}
			}
			return nil
		}})
		zone := w.create(a).Outputs[architecture.DNS]["HostedZoneId"]
		const host = "theirs.poolside.example.com"
		api := w.target(a).AWS
		theirs := stack.Spec{Name: "theirs", Template: []byte(`{"Resources":{"C":{"Type":"AWS::CertificateManager::Certificate","Properties":{
			"DomainName":"` + host + `","ValidationMethod":"DNS","DomainValidationOptions":[{"DomainName":"` + host + `","HostedZoneId":"` + zone + `"}]}}}}`)}
		driver := &stack.Driver{CFN: api.CloudFormation, Clock: api.Clock}
		if _, err := driver.Apply(t.Context(), theirs, nil); err != nil {
			t.Fatal(err)
		}
		d, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData})
		var blocked *deploy.BlockedError
		if !errors.As(err, &blocked) || d.Outcome != deploy.Blocked {
			t.Fatalf("got %+v, %v", d, err)
		}
		left := w.validations(a, zone)
		if len(left) != 1 || !strings.HasSuffix(left[0], host+".") {
			t.Fatalf("left in the zone: %q", left)
		}
		if !slices.ContainsFunc(blocked.Blockers, func(b deploy.Blocker) bool { return strings.Contains(b.Holder, left[0]+" CNAME") }) {
			t.Errorf("the record is not named: %+v", blocked.Blockers)
		}
		if err := driver.Delete(t.Context(), "theirs", stack.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		closed = "InternalFailure"
		if _, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.DestroyData}); err == nil || !strings.Contains(err.Error(), "repeat the delete from where ACM answers there") || len(w.validations(a, zone)) != 1 {
			t.Errorf("a region does not answer: %v; %q", err, w.validations(a, zone))
		}
		closed = "AccessDeniedException"
		w.clean(w.destroy(a))
		if want := "whether there are some in region eu-north-1 can't be told (not allowed there)"; !strings.Contains(w.steps(), want) {
			t.Errorf("%q is not told:\n%s", want, w.steps())
		}
	})
}
