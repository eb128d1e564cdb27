package entrance_test

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/acm"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/entrance"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/route53"
	"github.com/poolhouse/poolhouse/sandbox/s3"
)

type obj = map[string]any

const (
	host     = "chat.example.com"
	idp      = "id.example.com"
	instance = "10.9.8.7:8443"
)

// provider is the simplest identity provider: everybody is Ada.
func provider(t testing.TB) http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		http.Redirect(w, r, q.Get("redirect_uri")+"?code=c&state="+url.QueryEscape(q.Get("state")), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		claims := fmt.Sprintf(`{"iss":"https://%s","aud":"web","exp":%d}`, idp, time.Now().Add(time.Hour).Unix())
		say(w, obj{"access_token": "a", "token_type": "Bearer", "id_token": "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".eA"})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) { say(w, obj{"sub": "ada"}) })
	return mux
}

// registry is the name of ECR's registry.
const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

// served is a sandbox with a load balancer, an entrance, and its proxy.
func served(t testing.TB, local, idpAddress string) (box *sandbox.Sandbox, e *entrance.Entrance, client *http.Client, group string) {
	t.Helper()
	authority, err := front.NewAuthority(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	e = entrance.New(entrance.Options{
		Authority: authority, Targets: map[string]string{instance: local}, Sites: map[string]string{idp: idpAddress}, From: netip.MustParseAddr("203.0.113.7"),
		Report: func(err error) { t.Error(err) },
	})
	now := time.Now()
	box = testkit.Sandbox(t, sandbox.Options{TargetHealth: e.TargetHealth, Now: func() time.Time { return now.Add(time.Since(now)) }})
	err = box.Account().Do(func(tx *account.Tx) error {
		make := func(typ string, p obj) *account.Resource {
			t.Helper()
			r, _, err := tx.Create(typ, p, "test", false)
			if err == nil {
				err = tx.Settle(r, "create")
			}
			if err != nil {
				t.Fatalf("%s: %v", typ, err)
			}
			return r
		}
		vpc := ec2.DefaultVPC(tx).ID
		var subnets []any
		for _, s := range ec2.InVPC(tx, ec2.TypeSubnet, vpc)[:2] {
			subnets = append(subnets, s.ID)
		}
		make(s3.TypeBucket, obj{"BucketName": "visit-logs-1"})
		make(s3.TypeBucketPolicy, obj{"Bucket": "visit-logs-1", "PolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{obj{
			"Effect": "Allow", "Principal": obj{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::visit-logs-1/web/AWSLogs/" + tx.AccountID() + "/*",
		}}}})
		sg := make(ec2.TypeSecurityGroup, obj{"GroupDescription": "d", "VpcId": vpc, "SecurityGroupIngress": []any{obj{"IpProtocol": "-1", "CidrIp": "203.0.113.0/24"}}}).ID
		attribute := func(k, v string) obj { return obj{"Key": k, "Value": v} }
		lb := make(elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": subnets, "SecurityGroups": []any{sg}, "LoadBalancerAttributes": []any{
			attribute("access_logs.s3.enabled", "true"), attribute("access_logs.s3.bucket", "visit-logs-1"), attribute("access_logs.s3.prefix", "web"),
		}})
		g := make(elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTP", "Port": 8443, "VpcId": vpc, "TargetType": "ip", "Targets": []any{obj{"Id": "10.9.8.7"}}})
		group = g.ID
		c := acm.Issued(tx, host)
		l := make(elbv2.TypeListener, obj{"LoadBalancerArn": lb.ID, "Port": 443, "Protocol": "HTTPS", "Certificates": []any{obj{"CertificateArn": c.ID}}, "DefaultActions": []any{
			obj{"Type": "fixed-response", "FixedResponseConfig": obj{"StatusCode": "404"}},
		}})
		make(elbv2.TypeListenerRule, obj{"ListenerArn": l.ID, "Priority": 1, "Conditions": []any{obj{"Field": "host-header", "Values": []any{host}}}, "Actions": []any{
			obj{"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": obj{
				"Issuer": "https://" + idp, "AuthorizationEndpoint": "https://" + idp + "/authorize", "TokenEndpoint": "https://" + idp + "/token", "UserInfoEndpoint": "https://" + idp + "/userinfo", "ClientId": "web", "ClientSecret": "s",
			}},
			obj{"Type": "forward", "Order": 2, "TargetGroupArn": g.ID},
		}})
		zone := make(route53.TypeHostedZone, obj{"Name": "example.com"})
		make(route53.TypeRecordSet, obj{"HostedZoneId": zone.ID, "Name": host, "Type": "A", "AliasTarget": obj{"DNSName": props.Str(lb.Attrs, "DNSName"), "HostedZoneId": props.Str(lb.Attrs, "CanonicalHostedZoneID")}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Attach(entrance.Account{Account: box.Account(), Region: box.Region(), API: box, Now: time.Now, Faults: box.Faults, Registry: map[string]http.Handler{
		registry: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "layers") }),
	}}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.ServeProxy(l) }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()}), TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	return box, e, &http.Client{Transport: transport, Jar: jar}, group
}

// A load balancer of the account is reached by the name of an alias record: users
// sign in, the target answers, its health is what checks find, and the access log
// is in the bucket.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html
func TestVisit(t *testing.T) {
	t.Parallel()
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s is %s", r.Host, r.Header.Get("X-Amzn-Oidc-Identity"))
	}))
	defer local.Close()
	idpServer := httptest.NewServer(provider(t))
	defer idpServer.Close()
	box, e, client, group := served(t, local.Listener.Addr().String(), idpServer.Listener.Addr().String())
	get := func(url string) (int, string) {
		t.Helper()
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get("https://" + host + "/"); status != 200 || body != host+" is ada" {
		t.Errorf("%d %q, want %s is ada", status, body, host)
	}
	if status, body := get("https://sts.us-east-1.amazonaws.com/"); status/100 != 4 || !strings.Contains(body, "<") {
		t.Errorf("STS by its own name: %d %q, want its refusal of what isn't signed", status, body)
	}
	if status, _ := get("https://public-keys.auth.elb.us-east-1.amazonaws.com/none"); status != 404 {
		t.Errorf("the key endpoint answers %d for a key that isn't there", status)
	}
	for _, name := range []string{"other.example.com", "sts.eu-west-1.amazonaws.com", "www.example.org"} {
		if resp, err := client.Get("https://" + name + "/"); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s answers", name)
		}
	}
	until := time.Now().Add(10 * time.Second)
	for e.TargetHealth(group)["10.9.8.7:8443"].State != "healthy" && time.Now().Before(until) {
		get("https://" + host + "/") // which takes some time
	}
	if h := e.TargetHealth(group)["10.9.8.7:8443"]; h.State != "healthy" {
		t.Errorf("the target's health is %v", h)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	var log string
	err := box.Account().Do(func(tx *account.Tx) error {
		objects := tx.List(s3.TypeObject)
		if len(objects) != 1 {
			return fmt.Errorf("there are %d objects, want one log", len(objects))
		}
		_, key, _ := strings.Cut(objects[0].ID, "/")
		text, err := s3.Content(tx, "visit-logs-1", key, "")
		if err != nil {
			return err
		}
		z, err := gzip.NewReader(strings.NewReader(text))
		if err != nil {
			return err
		}
		lines, err := io.ReadAll(z)
		log = string(lines)
		return err
	})
	if err != nil || !strings.Contains(log, `"authenticate,forward"`) || !strings.Contains(log, "203.0.113.7:") {
		t.Errorf("the log is %q, %v", log, err)
	}
}
