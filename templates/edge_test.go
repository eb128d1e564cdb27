package templates

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
)

func TestLoadBalancers(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Edge)
	for id, want := range map[string][3]string{
		"WebLoadBalancer": {"internet-facing", "${NetworkPublicSubnetIds}", "${NetworkAlbWebSecurityGroupId}"},
		// Internal ones have no public address: they reach the identity provider
		// from the private subnets only.
		"AdminLoadBalancer": {"internal", "${NetworkPrivateSubnetIds}", "${NetworkAlbAdminSecurityGroupId}"},
	} {
		p := d.properties(t, id, "AWS::ElasticLoadBalancingV2::LoadBalancer")
		if got := [3]string{text(p["Scheme"]), text(p["Subnets"]), text(p["SecurityGroups"])}; got != want {
			t.Errorf("%s is %v, want %v", id, got, want)
		}
		if p["Name"] != nil {
			t.Errorf("%s is named, so a change of its scheme would be refused", id)
		}
		attributes := map[string]string{}
		for i := range 7 {
			a := at(p["LoadBalancerAttributes"], i)
			attributes[text(at(a, "Key"))] = text(at(a, "Value"))
		}
		part := strings.ToLower(strings.TrimSuffix(id, "LoadBalancer"))
		if diff := cmp.Diff(map[string]string{
			"access_logs.s3.enabled":                          "true",
			"access_logs.s3.bucket":                           "${StorageLogsBucketName}",
			"access_logs.s3.prefix":                           loadBalancerLogPrefix + "/" + part,
			"deletion_protection.enabled":                     "${Protection}",
			"idle_timeout.timeout_seconds":                    "600",
			"routing.http.desync_mitigation_mode":             "defensive",
			"routing.http.drop_invalid_header_fields.enabled": "true",
		}, attributes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	const existing = "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
	for name, test := range map[string]struct {
		arn, want string
	}{
		"issued here": {"", "${CertificateCertificateArn}"},
		"existing":    {existing, existing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, func(c *config.Config) { c.Certificate.ARN = test.arn }), architecture.Edge)
			for _, part := range []string{"Web", "Admin"} {
				https := d.properties(t, part+"HttpsListener", "AWS::ElasticLoadBalancingV2::Listener")
				if text(https["Protocol"]) != "HTTPS" || https["Port"] != 443.0 || !strings.HasPrefix(text(https["SslPolicy"]), "ELBSecurityPolicy-TLS13-1-2-") {
					t.Errorf("%s: %s", part, text(https))
				}
				if got := text(at(https, "Certificates", 0, "CertificateArn")); got != test.want {
					t.Errorf("%s: certificate is %s, want %s", part, got, test.want)
				}
				if got := text(at(https, "DefaultActions", 0, "FixedResponseConfig", "StatusCode")); got != "404" {
					t.Errorf("%s: a request to no known host is answered with %q", part, got)
				}
				http := d.properties(t, part+"HttpListener", "AWS::ElasticLoadBalancingV2::Listener")
				if http["Port"] != 80.0 || text(at(http, "DefaultActions", 0, "RedirectConfig", "Protocol")) != "HTTPS" {
					t.Errorf("%s: %s", part, text(http))
				}
			}
		})
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	type rule struct{ listener, host, signOn, target string }
	const noSSO = "An application proxy signs users on."
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   map[string]rule
	}{
		// API clients bring tokens: they can't follow redirects to a provider.
		"single sign-on": {func(*config.Config) {}, map[string]rule{
			"WebRule":   {"${WebHttpsListener}", "poolside.example.com", "web-client", "${WebTargetGroup}"},
			"ApiRule":   {"${WebHttpsListener}", "api.poolside.example.com", "", "${ApiTargetGroup}"},
			"AdminRule": {"${AdminHttpsListener}", "admin.poolside.example.com", "admin-client", "${AdminInternalTargetGroup}"},
		}},
		"without": {
			func(c *config.Config) {
				c.Access.SSO, c.Deviations = config.SSO{}, map[string]string{architecture.NoSSO: noSSO}
			},
			map[string]rule{
				"WebRule":   {"${WebHttpsListener}", "poolside.example.com", "", "${WebTargetGroup}"},
				"ApiRule":   {"${WebHttpsListener}", "api.poolside.example.com", "", "${ApiTargetGroup}"},
				"AdminRule": {"${AdminHttpsListener}", "admin.poolside.example.com", "", "${AdminInternalTargetGroup}"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, test.change), architecture.Edge)
			got := map[string]rule{}
			for _, id := range d.ofType("AWS::ElasticLoadBalancingV2::ListenerRule") {
				p := d.Resources[id].Properties
				r := rule{listener: text(p["ListenerArn"]), host: text(at(p, "Conditions", 0, "HostHeaderConfig", "Values"))}
				actions, _ := p["Actions"].([]any)
				for i, action := range actions {
					if at(action, "Order") != float64(i+1) {
						t.Errorf("%s: order of action %d is %v", id, i+1, at(action, "Order"))
					}
					switch at(action, "Type") {
					case "authenticate-oidc":
						if i != 0 {
							t.Errorf("%s forwards before it authenticates", id)
						}
						r.signOn = text(at(action, "AuthenticateOidcConfig", "ClientId"))
					case "forward":
						r.target = text(at(action, "TargetGroupArn"))
					}
				}
				got[id] = r
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(rule{})); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSignOn(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Edge)
	for id, want := range map[string]object{
		"WebRule": {
			"ClientId":          "web-client",
			"ClientSecret":      "{{resolve:secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:web-AbCdEf:SecretString:client_secret}}",
			"SessionCookieName": "poolhouse-web",
		},
		"AdminRule": {
			"ClientId":          "admin-client",
			"ClientSecret":      "{{resolve:secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin-AbCdEf:SecretString:client_secret}}",
			"SessionCookieName": "poolhouse-admin",
		},
	} {
		maps.Copy(want, object{
			"Issuer":                   "https://sso.example.com",
			"AuthorizationEndpoint":    "https://sso.example.com/authorize",
			"TokenEndpoint":            "https://sso.example.com/token",
			"UserInfoEndpoint":         "https://sso.example.com/userinfo",
			"OnUnauthenticatedRequest": "authenticate",
			"Scope":                    "openid email profile",
			"SessionTimeout":           43200.0,
		})
		got := at(d.properties(t, id, "AWS::ElasticLoadBalancingV2::ListenerRule"), "Actions", 0, "AuthenticateOidcConfig")
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	if got := text(d.Outputs["AdminRedirectUri"]["Value"]); got != "https://admin.poolside.example.com/oauth2/idpresponse" {
		t.Errorf("redirect URI is %s", got)
	}
}

// TLS goes on to the pods, whose addresses are the targets.
func TestTargetGroups(t *testing.T) {
	t.Parallel()
	d := built(t, planned(t), architecture.Edge)
	// None is handed from one load balancer to its successor.
	if diff := cmp.Diff([]string{"AdminInternalTargetGroup", "ApiTargetGroup", "WebTargetGroup"}, d.ofType("AWS::ElasticLoadBalancingV2::TargetGroup")); diff != "" {
		t.Errorf("target groups (-want +got):\n%s", diff)
	}
	for _, id := range d.ofType("AWS::ElasticLoadBalancingV2::TargetGroup") {
		p := d.Resources[id].Properties
		for key, want := range map[string]string{
			"TargetType": "ip", "Protocol": "HTTPS", "Port": "8443", "VpcId": "${NetworkVpcId}",
			"HealthCheckProtocol": "HTTPS", "HealthCheckPath": "${HealthCheckPath}", "Matcher": `{"HttpCode":"200"}`,
		} {
			if got := text(p[key]); got != want {
				t.Errorf("%s: %s is %s, want %s", id, key, got, want)
			}
		}
	}
	if got := d.Parameters[HealthCheckParameter]["Default"]; got != "/healthz" {
		t.Errorf("health check path is %v", got)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		dns  config.DNS
		cert string
		zone string
	}{
		"our zone":         {config.DNS{Mode: config.DNSCreateZone, Zone: "poolside.example.com"}, "", "${DnsHostedZoneId}"},
		"existing zone":    {config.DNS{Mode: config.DNSExistingZone, ZoneID: "Z0123456789ABCDEFGHIJ"}, "", "Z0123456789ABCDEFGHIJ"},
		"enterprise's own": {config.DNS{Mode: config.DNSNone}, "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := built(t, planned(t, func(c *config.Config) { c.DNS, c.Certificate.ARN = test.dns, test.cert }), architecture.Edge)
			for part, want := range map[string][2]string{
				"Web":   {"poolside.example.com", "WebLoadBalancer"},
				"Api":   {"api.poolside.example.com", "WebLoadBalancer"},
				"Admin": {"admin.poolside.example.com", "AdminLoadBalancer"},
			} {
				if test.zone == "" {
					if got := d.ofType("AWS::Route53::RecordSet"); got != nil {
						t.Errorf("records in nobody's zone: %v", got)
					}
					if got, want := text(d.Outputs[part+"Record"]["Value"]), want[0]+" CNAME ${"+want[1]+".DNSName}"; got != want {
						t.Errorf("record to make is %q, want %q", got, want)
					}
					continue
				}
				p := d.properties(t, part+"Record", "AWS::Route53::RecordSet")
				if text(p["Name"]) != want[0] || text(p["Type"]) != "A" || text(p["HostedZoneId"]) != test.zone ||
					text(at(p, "AliasTarget", "DNSName")) != "${"+want[1]+".DNSName}" ||
					text(at(p, "AliasTarget", "HostedZoneId")) != "${"+want[1]+".CanonicalHostedZoneID}" {
					t.Errorf("%s: %s", part, text(p))
				}
			}
		})
	}
}
