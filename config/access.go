package config

import (
	"net/url"
	"slices"
	"strings"
)

func (k *checker) access() {
	for _, e := range []struct {
		path     string
		endpoint *Endpoint
	}{
		{"access.web", &k.c.Access.Web},
		{"access.admin", &k.c.Access.Admin},
	} {
		internet := e.endpoint.Scheme == SchemeInternetFacing
		list := e.path + ".allowCidrs"
		k.allowList(list, e.endpoint.AllowCIDRs, internet)
		if internet && len(e.endpoint.AllowCIDRs) == 0 {
			k.fault(list, "is missing, and the load balancer is internet-facing", "list the ranges that may connect, such as your office's")
		}
	}
}

func (k *checker) sso() {
	s := &k.c.Access.SSO
	if !s.Enabled {
		if k.c.Deviations["no-sso"] == "" {
			k.fault("access.sso.enabled", "is false: the reference architecture has single sign-on", "set it to true, or give the reason in deviations.no-sso")
		}
		return
	}
	missing := func(path, value, fix string) {
		if value == "" {
			k.fault(path, "is missing", fix)
		}
	}
	missing("access.sso.issuer", s.Issuer, "write the issuer URL of your identity provider, such as https://login.microsoftonline.com/<tenant>/v2.0")
	for _, u := range []struct{ path, value string }{
		{"access.sso.issuer", s.Issuer},
		{"access.sso.authorizationEndpoint", s.AuthorizationEndpoint},
		{"access.sso.tokenEndpoint", s.TokenEndpoint},
		{"access.sso.userInfoEndpoint", s.UserInfoEndpoint},
	} {
		if strings.HasPrefix(u.value, "http://") {
			k.fault(u.path, quoted(u.value)+" is not encrypted", "write an https URL")
			continue
		}
		if k.pattern(httpsPattern).MatchString(u.value) && !hasHost(u.value) {
			k.fault(u.path, quoted(u.value)+" has no host", "write an https URL")
		}
	}
	for _, u := range []struct{ path, value string }{
		{"access.sso.tokenEndpoint", s.TokenEndpoint},
		{"access.sso.userInfoEndpoint", s.UserInfoEndpoint},
	} {
		// The load balancers' way out is open for HTTPS only.
		if p := port(u.value); p != "" && p != "443" {
			k.fault(u.path, "names port "+p+", and load balancers reach the provider on 443 only", "let the provider serve it on 443")
		}
	}
	if _, known := endpoints(s.Issuer); !known && k.pattern(httpsPattern).MatchString(s.Issuer) && hasHost(s.Issuer) {
		fix := "copy it from " + strings.TrimSuffix(s.Issuer, "/") + "/.well-known/openid-configuration"
		missing("access.sso.authorizationEndpoint", s.AuthorizationEndpoint, fix)
		missing("access.sso.tokenEndpoint", s.TokenEndpoint, fix)
		missing("access.sso.userInfoEndpoint", s.UserInfoEndpoint, fix)
	}
	for _, c := range []struct {
		path string
		Client
	}{{"access.sso.web", s.Web}, {"access.sso.admin", s.Admin}} {
		missing(c.path+".clientId", c.ClientID, "write the id of the client that the provider issued")
		missing(c.path+".secretArn", c.SecretARN, "write the ARN of the Secrets Manager secret that holds client_secret")
		k.arn(c.path+".secretArn", c.SecretARN, k.c.Region)
	}
	// The provider lets only the admin group use the admin client; one client
	// would let every user in.
	if s.Web.ClientID != "" && s.Web.ClientID == s.Admin.ClientID {
		k.fault("access.sso.admin.clientId", "is the client of web too", "register a client of its own for administrators")
	}
	if s.Web.SecretARN != "" && s.Web.SecretARN == s.Admin.SecretARN {
		k.fault("access.sso.admin.secretArn", "is the secret of web too", "store the admin client's secret by itself")
	}
	missing("access.sso.adminGroup", s.AdminGroup, "write the group of administrators at the provider")
	// A listener asks the token endpoint itself
	// (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html).
	internal := k.c.Access.Web.Scheme == SchemeInternal || k.c.Access.Admin.Scheme == SchemeInternal
	if internal && k.c.Network.Isolated() && !s.ReachableInternally {
		k.fault("access.sso.reachableInternally", "an internal load balancer has no route to the identity provider when network.nat.mode is none",
			"set it to true if the VPC has one, or choose another NAT mode or scheme")
	}
}

func hasHost(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Hostname() != ""
}

func port(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Port()
}

// complete fills in the endpoints of known providers.
func (s *SSO) complete() {
	e, ok := endpoints(s.Issuer)
	if !s.Enabled || !ok {
		return
	}
	for _, f := range []struct {
		field *string
		value string
	}{
		{&s.AuthorizationEndpoint, e.authorization},
		{&s.TokenEndpoint, e.token},
		{&s.UserInfoEndpoint, e.userInfo},
	} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
}

type providerEndpoints struct{ authorization, token, userInfo string }

// endpoints are those of a known provider, as its discovery document has them.
func endpoints(issuer string) (providerEndpoints, bool) {
	if issuer == "https://accounts.google.com" {
		// https://developers.google.com/identity/openid-connect/openid-connect
		return providerEndpoints{
			authorization: "https://accounts.google.com/o/oauth2/v2/auth",
			token:         "https://oauth2.googleapis.com/token",
			userInfo:      "https://openidconnect.googleapis.com/v1/userinfo",
		}, true
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return providerEndpoints{}, false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
	graph, entra := map[string]string{
		"login.microsoftonline.com":        "https://graph.microsoft.com/oidc/userinfo",
		"login.microsoftonline.us":         "https://graph.microsoft.us/oidc/userinfo",
		"login.partner.microsoftonline.cn": "https://microsoftgraph.chinacloudapi.cn/oidc/userinfo",
	}[u.Host]
	if entra && len(parts) == 2 && parts[1] == "v2.0" {
		base := "https://" + u.Host + "/" + parts[0] + "/oauth2/v2.0/"
		return providerEndpoints{base + "authorize", base + "token", graph}, true
	}
	// https://developer.okta.com/docs/concepts/auth-servers/
	okta := slices.ContainsFunc([]string{".okta.com", ".oktapreview.com", ".okta-emea.com", ".okta-gov.com"}, func(d string) bool {
		return strings.HasSuffix(u.Host, d)
	})
	if okta && u.Path == "" {
		base := issuer + "/oauth2/v1/"
		return providerEndpoints{base + "authorize", base + "token", base + "userinfo"}, true
	}
	if okta && len(parts) == 2 && parts[0] == "oauth2" && !strings.HasSuffix(u.Path, "/") {
		base := issuer + "/v1/"
		return providerEndpoints{base + "authorize", base + "token", base + "userinfo"}, true
	}
	return providerEndpoints{}, false
}
