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
	}{
		"no other region":     {},
		"another domain":      {regions: []account.Region{{Name: "eu-north-1", Certificates: []string{"x." + domain, "other.example.com"}}}},
		"the same domain":     {regions: []account.Region{{Name: "ap-south-1"}, {Name: "eu-north-1", Certificates: []string{domain}}}, stays: "arn:aws:acm:eu-north-1:"},
		"a wildcard":          {regions: []account.Region{{Name: "eu-north-1", Certificates: []string{"*." + domain}}}, stays: "arn:aws:acm:eu-north-1:"},
		"a region is closed":  {regions: []account.Region{{Name: "ap-south-1"}, {Name: "eu-north-1"}}, refused: "/eu-north-1/acm/", stays: "in region eu-north-1 can't be told (not allowed there)"},
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
