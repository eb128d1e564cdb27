package edge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
)

// Days that a certificate must still be valid for, and days at which one that
// should renew itself has not. ACM begins 60 days before the end.
// https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html
const (
	leastDays   = 14
	renewalDays = 30
)

// edgeCertificate is a certificate of ACM, or nil if it isn't there.
func edgeCertificate(l *account.Look, arn string) (*types.CertificateDetail, error) {
	return account.Facts[edgeFacts](l).edgeCertFacts.Get(arn, func() (*types.CertificateDetail, error) {
		got, err := l.AWS.ACM.DescribeCertificate(l.Ctx, &acm.DescribeCertificateInput{CertificateArn: &arn})
		if awsapi.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", arn, err)
		}
		return got.Certificate, nil
	})
}

// eachCertificate looks at the certificates that listeners with TLS show by
// default, once each, with the parts that they serve.
func eachCertificate(l *account.Look, do func(arn string, parts []string, c *types.CertificateDetail)) error {
	used := map[string][]string{}
	err := l.EachListener(true, func(b account.Balancer, x account.Listener) error {
		for _, c := range x.Certificates {
			arn := aws.ToString(c.CertificateArn)
			used[arn] = append(used[arn], b.Part)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, arn := range account.SortedKeys(used) {
		// IAM can keep certificates too, which ACM knows nothing of.
		if strings.Contains(arn, ":iam:") {
			continue
		}
		c, err := edgeCertificate(l, arn)
		if err != nil {
			return err
		}
		if c != nil {
			do(arn, slices.Compact(used[arn]), c)
		}
	}
	return nil
}

const apiCertificate = "acm:DescribeCertificate"

func certificateChecks() []check.Check {
	return []check.Check{
		{
			ID: "certificate-issued", Proves: "Listeners show a certificate that is issued: the configured one, if there is one.",
			Level: check.Required, Rows: []string{"S5"}, Run: certificateIssued,
		},
		{
			ID: "certificate-hosts", Proves: "Certificates hold for the hosts that they are shown for.",
			Level: check.Required, Rows: []string{"S5"}, Run: certificateHosts,
		},
		{
			ID: "certificate-days", Proves: fmt.Sprintf("Certificates are valid for %d days more at least.", leastDays),
			Level: check.Required, Rows: []string{"S5"}, Run: certificateDays,
		},
		{
			ID: "certificate-renewal", Proves: "Certificates renew themselves, or are renewed in time.",
			Level: check.Advised, Rows: []string{"S5"}, Run: certificateRenewal,
		},
	}
}

func certificateIssued(l *account.Look, r *check.Recorder) error {
	want := l.Arch.Config.Certificate.ARN
	if err := eachCertificate(l, func(arn string, _ []string, c *types.CertificateDetail) {
		r.Saw(c.Status == types.CertificateStatusIssued && (want == "" || want == arn), arn, strings.ToLower(string(c.Status)), apiCertificate,
			strings.TrimSpace("issued "+want), "Make ACM issue it: its validation records must be in DNS. A wrong one is set right with aws elbv2 modify-listener.")
	}); err != nil {
		return err
	}
	return l.EachListener(true, func(_ account.Balancer, x account.Listener) error {
		if len(x.Certificates) == 0 {
			r.Saw(false, x.ARN(), "no certificate", apiListeners, "a certificate", check.FixUpdate)
		}
		return nil
	})
}

// certified tells whether a name of a certificate holds for a host. A wildcard
// stands for one label.
func certified(name, host string) bool {
	name, host = strings.ToLower(name), strings.ToLower(host)
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		_, parent, found := strings.Cut(host, ".")
		return found && parent == rest
	}
	return name == host
}

// certificateHosts takes all certificates of a listener together: it shows the
// one that fits the host that a client asks for.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html
func certificateHosts(l *account.Look, r *check.Recorder) error {
	return l.EachListener(true, func(b account.Balancer, x account.Listener) error {
		var arns, names []string
		pages := elb.NewDescribeListenerCertificatesPaginator(l.AWS.ELB, &elb.DescribeListenerCertificatesInput{ListenerArn: x.ListenerArn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.Ctx)
			if err != nil {
				return fmt.Errorf("list the certificates of %s: %w", x.ARN(), err)
			}
			for _, c := range page.Certificates {
				arns = append(arns, aws.ToString(c.CertificateArn))
			}
		}
		for _, arn := range arns {
			if strings.Contains(arn, ":iam:") {
				r.NA("certificates that IAM keeps, such as %s, don't tell their hosts", arn)
				return nil
			}
			c, err := edgeCertificate(l, arn)
			if err != nil {
				return err
			}
			if c != nil {
				names = append(append(names, aws.ToString(c.DomainName)), c.SubjectAlternativeNames...)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		for _, host := range account.SortedKeys(l.PartHosts(b.Part)) {
			ok := slices.ContainsFunc(names, func(n string) bool { return certified(n, host) })
			r.Saw(ok, x.ARN(), "certificates for "+strings.Join(names, ", "), apiCertificate, "one for "+host,
				"Request a certificate for all hosts, or name one in certificate.arn, and run poolhouse update.")
		}
		return nil
	})
}

// daysLeft are the whole days until a certificate ends.
func daysLeft(l *account.Look, c *types.CertificateDetail) int {
	return int(aws.ToTime(c.NotAfter).Sub(l.AWS.Clock.Now()) / (24 * time.Hour))
}

func certificateDays(l *account.Look, r *check.Recorder) error {
	return eachCertificate(l, func(arn string, _ []string, c *types.CertificateDetail) {
		if c.NotAfter == nil {
			r.NA("%s was never issued: certificate-issued says more", arn)
			return
		}
		days := daysLeft(l, c)
		r.Saw(days >= leastDays, arn, fmt.Sprintf("valid until %s, for %d days", c.NotAfter.UTC().Format(time.DateOnly), days), apiCertificate,
			fmt.Sprintf("valid for %d days", leastDays), "Renew it now: see why ACM has not (its validation records must be in DNS), or import a new one under the same ARN.")
	})
}

func certificateRenewal(l *account.Look, r *check.Recorder) error {
	return eachCertificate(l, func(arn string, _ []string, c *types.CertificateDetail) {
		if c.NotAfter == nil {
			r.NA("%s was never issued: certificate-issued says more", arn)
			return
		}
		days := daysLeft(l, c)
		saw, ok := fmt.Sprintf("%s, %d days left", strings.ToLower(string(c.Type)), days), days >= renewalDays
		fix := "Import the next certificate under the same ARN."
		if c.Type != types.CertificateTypeImported {
			fix = "Put the validation records of its hosts back into DNS: ACM renews only what it can prove again."
			if s := c.RenewalSummary; s != nil {
				saw += ", renewal " + strings.ToLower(string(s.RenewalStatus))
				ok = ok && s.RenewalStatus != types.RenewalStatusFailed && s.RenewalStatus != types.RenewalStatusPendingValidation
			}
			for _, v := range c.DomainValidationOptions {
				if v.ValidationMethod == types.ValidationMethodEmail {
					ok, saw, fix = false, saw+", validated by e-mail", "Request one that is validated by DNS, which ACM renews without anybody's help."
				}
			}
		}
		r.Saw(ok, arn, saw, apiCertificate, fmt.Sprintf("%d days left or more, and no renewal that waits", renewalDays), fix)
	})
}
