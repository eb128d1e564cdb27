package verify

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
)

// Days that a certificate must still be valid for, and days at which one that
// should renew itself has not. ACM begins 60 days before the end.
// https://docs.aws.amazon.com/acm/latest/userguide/managed-renewal.html
const (
	leastDays   = 14
	renewalDays = 30
)

// edgeCertificate is a certificate of ACM, or nil if it isn't there.
func (l *look) edgeCertificate(arn string) (*types.CertificateDetail, error) {
	return l.edgeCertFacts.get(arn, func() (*types.CertificateDetail, error) {
		got, err := l.aws.ACM.DescribeCertificate(l.ctx, &acm.DescribeCertificateInput{CertificateArn: &arn})
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
func (l *look) eachCertificate(do func(arn string, parts []string, c *types.CertificateDetail)) error {
	used := map[string][]string{}
	err := l.eachListener(true, func(b edgeBalancer, x edgeListener) error {
		for _, c := range x.Certificates {
			arn := aws.ToString(c.CertificateArn)
			used[arn] = append(used[arn], b.Part)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, arn := range sortedKeys(used) {
		// IAM can keep certificates too, which ACM knows nothing of.
		if strings.Contains(arn, ":iam:") {
			continue
		}
		c, err := l.edgeCertificate(arn)
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

func certificateChecks() []Check {
	return []Check{
		{
			ID: "certificate-issued", Proves: "Listeners show a certificate that is issued: the configured one, if there is one.",
			Level: Required, Rows: []string{"S5"}, run: certificateIssued,
		},
		{
			ID: "certificate-hosts", Proves: "Certificates hold for the hosts that they are shown for.",
			Level: Required, Rows: []string{"S5"}, run: certificateHosts,
		},
		{
			ID: "certificate-days", Proves: fmt.Sprintf("Certificates are valid for %d days more at least.", leastDays),
			Level: Required, Rows: []string{"S5"}, run: certificateDays,
		},
		{
			ID: "certificate-renewal", Proves: "Certificates renew themselves, or are renewed in time.",
			Level: Advised, Rows: []string{"S5"}, run: certificateRenewal,
		},
	}
}

func certificateIssued(l *look, r *result) error {
	want := l.arch.Config.Certificate.ARN
	if err := l.eachCertificate(func(arn string, _ []string, c *types.CertificateDetail) {
		r.saw(c.Status == types.CertificateStatusIssued && (want == "" || want == arn), arn, strings.ToLower(string(c.Status)), apiCertificate,
			strings.TrimSpace("issued "+want), "Make ACM issue it: its validation records must be in DNS. A wrong one is set right with aws elbv2 modify-listener.")
	}); err != nil {
		return err
	}
	return l.eachListener(true, func(_ edgeBalancer, x edgeListener) error {
		if len(x.Certificates) == 0 {
			r.saw(false, x.arn(), "no certificate", apiListeners, "a certificate", fixUpdate)
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
func certificateHosts(l *look, r *result) error {
	return l.eachListener(true, func(b edgeBalancer, x edgeListener) error {
		var arns, names []string
		pages := elb.NewDescribeListenerCertificatesPaginator(l.aws.ELB, &elb.DescribeListenerCertificatesInput{ListenerArn: x.ListenerArn})
		for pages.HasMorePages() {
			page, err := pages.NextPage(l.ctx)
			if err != nil {
				return fmt.Errorf("list the certificates of %s: %w", x.arn(), err)
			}
			for _, c := range page.Certificates {
				arns = append(arns, aws.ToString(c.CertificateArn))
			}
		}
		for _, arn := range arns {
			if strings.Contains(arn, ":iam:") {
				r.na("certificates that IAM keeps, such as %s, don't tell their hosts", arn)
				return nil
			}
			c, err := l.edgeCertificate(arn)
			if err != nil {
				return err
			}
			if c != nil {
				names = append(append(names, aws.ToString(c.DomainName)), c.SubjectAlternativeNames...)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		for _, host := range sortedKeys(l.partHosts(b.Part)) {
			ok := slices.ContainsFunc(names, func(n string) bool { return certified(n, host) })
			r.saw(ok, x.arn(), "certificates for "+strings.Join(names, ", "), apiCertificate, "one for "+host,
				"Request a certificate for all hosts, or name one in certificate.arn, and run poolhouse update.")
		}
		return nil
	})
}

// daysLeft are the whole days until a certificate ends.
func (l *look) daysLeft(c *types.CertificateDetail) int {
	return int(aws.ToTime(c.NotAfter).Sub(l.aws.Clock.Now()) / (24 * time.Hour))
}

func certificateDays(l *look, r *result) error {
	return l.eachCertificate(func(arn string, _ []string, c *types.CertificateDetail) {
		if c.NotAfter == nil {
			r.na("%s was never issued: certificate-issued says more", arn)
			return
		}
		days := l.daysLeft(c)
		r.saw(days >= leastDays, arn, fmt.Sprintf("valid until %s, for %d days", c.NotAfter.UTC().Format(time.DateOnly), days), apiCertificate,
			fmt.Sprintf("valid for %d days", leastDays), "Renew it now: see why ACM has not (its validation records must be in DNS), or import a new one under the same ARN.")
	})
}

func certificateRenewal(l *look, r *result) error {
	return l.eachCertificate(func(arn string, _ []string, c *types.CertificateDetail) {
		if c.NotAfter == nil {
			r.na("%s was never issued: certificate-issued says more", arn)
			return
		}
		days := l.daysLeft(c)
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
		r.saw(ok, arn, saw, apiCertificate, fmt.Sprintf("%d days left or more, and no renewal that waits", renewalDays), fix)
	})
}
