package elbv2_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Rules come in the order of their priorities, the default last, and their
// actions in the order of their numbers; what isn't given is AWS's default.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html
func TestView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sg := w.must(t, ec2.TypeSecurityGroup, obj{"GroupDescription": "d", "VpcId": w.vpc, "SecurityGroupIngress": []any{
		obj{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "203.0.113.0/24"}, obj{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0"},
	}})
	lb := w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.public, "SecurityGroups": []any{sg}, "LoadBalancerAttributes": []any{obj{"Key": "idle_timeout.timeout_seconds", "Value": "600"}}})
	group := w.must(t, elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTPS", "Port": 8443, "VpcId": w.vpc, "TargetType": "ip", "Targets": []any{obj{"Id": "10.0.0.9"}}})
	l := w.must(t, elbv2.TypeListener, obj{"LoadBalancerArn": lb, "Port": 443, "Protocol": "HTTPS", "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", "Certificates": []any{obj{"CertificateArn": w.issued}}, "DefaultActions": []any{
		obj{"Type": "fixed-response", "FixedResponseConfig": obj{"StatusCode": "404"}},
	}})
	rule := func(priority int, host string, actions ...any) {
		w.must(t, elbv2.TypeListenerRule, obj{"ListenerArn": l, "Priority": priority, "Actions": actions, "Conditions": []any{obj{"Field": "host-header", "HostHeaderConfig": obj{"Values": []any{host}}}}})
	}
	rule(20, "chat.example.com", obj{"Type": "forward", "Order": 2, "TargetGroupArn": group}, obj{"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": obj{
		"Issuer": "https://id.example.com", "AuthorizationEndpoint": "https://id.example.com/a", "TokenEndpoint": "https://id.example.com/t", "UserInfoEndpoint": "https://id.example.com/u",
		"ClientId": "web", "ClientSecret": "s", "SessionTimeout": 43200,
	}})
	rule(10, "*.example.com", obj{"Type": "redirect", "RedirectConfig": obj{"Protocol": "HTTPS", "Host": "x.example.com", "StatusCode": "HTTP_301"}})
	w.now = w.now.Add(10 * time.Minute)
	var got elbv2.View
	w.do(t, func(tx *account.Tx) error {
		got = elbv2.Look(tx)
		return nil
	})
	host := func(name string) []elbv2.Condition {
		return []elbv2.Condition{{Field: "host-header", Values: []string{name}}}
	}
	want := elbv2.View{AccountID: "123456789012", Region: "us-east-1", Balancers: []elbv2.Balancer{{
		ARN: lb, IdleTimeout: 600 * time.Second, HTTP2: true, Forwarded: "append",
		Listeners: []elbv2.Listener{{
			ARN: l, Port: 443, HTTPS: true, Server: true, Versions: []string{"TLSv1.2", "TLSv1.3"}, Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
			Certificates: []elbv2.Certificate{{ARN: w.issued, Names: []string{""}}},
			Rules: []elbv2.Rule{
				{Priority: 10, Conditions: host("*.example.com"), Actions: []elbv2.Action{{Type: "redirect", Redirect: &elbv2.Redirect{Protocol: "HTTPS", Port: "#{port}", Host: "x.example.com", Path: "/#{path}", Query: "#{query}", Status: 301}}}},
				{Priority: 20, Conditions: host("chat.example.com"), Actions: []elbv2.Action{
					{Type: "authenticate-oidc", OIDC: &elbv2.OIDC{
						Issuer: "https://id.example.com", AuthorizationEndpoint: "https://id.example.com/a", TokenEndpoint: "https://id.example.com/t", UserInfoEndpoint: "https://id.example.com/u",
						ClientID: "web", ClientSecret: "s", Scope: "openid", Cookie: "AWSELBAuthSessionCookie", OnUnauthenticated: "authenticate", Timeout: 12 * time.Hour, Extra: map[string]string{},
					}},
					{Type: "forward", Forward: []elbv2.Weight{{Group: group, Weight: 1}}},
				}},
				{Actions: []elbv2.Action{{Type: "fixed-response", FixedResponse: &elbv2.FixedResponse{Status: 404}}}},
			},
		}},
	}}, Groups: map[string]elbv2.Group{group: {
		ARN: group, HTTPS: true, Used: true, Deregistration: 5 * time.Minute, RequestProtocol: "HTTP1", HealthCheckedPort: "traffic-port",
		Health:  elbv2.HealthCheck{Path: "/", Interval: 30 * time.Second, Timeout: 5 * time.Second, Healthy: 5, Unhealthy: 2, Codes: "200"},
		Targets: []elbv2.Target{{ID: "10.0.0.9", Port: 8443, Address: "10.0.0.9"}},
	}}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(elbv2.Balancer{}, "ID", "Names", "Address")); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
	if b := got.Balancers[0]; b.Names[0] != "chat.example.com" || len(b.Names) != 2 || b.Address == "" {
		t.Errorf("it is %s at %s, want chat.example.com and its own name", b.Names, b.Address)
	}
}

// A target's health is what checks find, with their reason, where something real
// stands behind it; those that are deregistered drain as long as they have
// requests.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html
func TestHealthThatIsFound(t *testing.T) {
	t.Parallel()
	w, _, group := built(t)
	if _, err := call(t, w, "RegisterTargets", obj{"TargetGroupArn": group, "Targets": []any{obj{"Id": "10.0.0.98", "Port": "8443"}, obj{"Id": "10.0.0.99", "Port": "8443"}}}); err != nil {
		t.Fatal(err)
	}
	w.found = map[string]account.Health{
		"10.0.0.98:8443": {State: "healthy"},
		"10.0.0.97:8443": {State: "draining", Reason: "Target.DeregistrationInProgress", Description: "Target deregistration is in progress"},
		"10.0.0.96:8443": {State: "healthy"}, // deregistered a moment ago
	}
	out, err := call(t, w, "DescribeTargetHealth", obj{"TargetGroupArn": group})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range props.Maps(out, "TargetHealthDescriptions") {
		got[props.Str(d, "Target", "Id")+":"+props.Str(d, "Target", "Port")] = props.Str(d, "TargetHealth", "State") + " " + props.Str(d, "TargetHealth", "Reason")
	}
	if diff := cmp.Diff(map[string]string{
		"10.0.0.98:8443": "healthy ", "10.0.0.99:8443": "unused Target.NotInUse", "10.0.0.97:8443": "draining Target.DeregistrationInProgress",
	}, got); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
}
