package templates

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/acm"
)

// certificate is the TLS certificate of the load balancers, for all hosts,
// proved by records that ACM puts into the zone.
// https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
//
// Other hosts mean another certificate. The listeners, in a later stack, still
// have the old one then, so this stack can't delete it.
func certificate(a *architecture.Architecture) *cfn.Template {
	t := newTemplate(a, architecture.Certificate)
	hosts := a.Config.Access.Hosts()
	zone := hostedZoneID(a, t)
	c := acm.Certificate{
		DomainName:       cfn.V(hosts[0]),
		ValidationMethod: cfn.V("DNS"),
		Tags:             named(a, "certificate"),
	}
	if len(hosts) > 1 {
		c.SubjectAlternativeNames = cfn.L(hosts[1:]...)
	}
	for _, h := range hosts {
		c.DomainValidationOptions = append(c.DomainValidationOptions, acm.DomainValidationOption{DomainName: cfn.V(h), HostedZoneId: zone})
	}
	cert := t.Add("Certificate", c, cfn.DeletionPolicy(cfn.Delete), cfn.UpdateReplacePolicy(cfn.Retain))
	t.Output("CertificateArn", cert.Ref())
	return t
}

// certificateARN is the load balancers' certificate, issued here or existing.
func certificateARN(a *architecture.Architecture, t *cfn.Template) cfn.Value[string] {
	if arn := a.Config.Certificate.ARN; arn != "" {
		return cfn.V(arn)
	}
	return t.Input(string(architecture.Certificate), "CertificateArn")
}
