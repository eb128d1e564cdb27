package elbv2_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type obj = map[string]any

// world is an account with a VPC of public and private subnets in two zones, a
// log bucket, and an issued and a pending certificate.
type world struct {
	*account.Account
	now             time.Time
	vpc             string
	public, private []any
	issued, pending string
	// another VPC with a subnet and a security group
	other, elsewhere, foreign string
	// what real load balancers find of targets
	found map[string]account.Health
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)}
	model := &account.Model{Types: map[string]*account.Type{}, Events: ec2.Events(), Seed: iam.Seed}
	for _, list := range [][]*account.Type{elbv2.Types(), ec2.Types(), iam.Types()} {
		for _, x := range list {
			model.Types[x.Name] = x
		}
	}
	w.Account = account.New(model, account.Options{Now: func() time.Time { return w.now }, TargetHealth: func(string) map[string]account.Health { return maps.Clone(w.found) }})
	w.do(t, func(tx *account.Tx) error {
		make := func(typ string, p obj) *account.Resource {
			t.Helper()
			r, _, err := tx.Create(typ, p, "", true)
			if err != nil {
				t.Fatalf("%s: %v", typ, err)
			}
			return r
		}
		w.vpc = make(ec2.TypeVPC, obj{"CidrBlock": "10.0.0.0/16"}).ID
		igw := make(ec2.TypeInternetGateway, obj{}).ID
		make(ec2.TypeVPCGatewayAttachment, obj{"VpcId": w.vpc, "InternetGatewayId": igw})
		out := make(ec2.TypeRouteTable, obj{"VpcId": w.vpc}).ID
		make(ec2.TypeRoute, obj{"RouteTableId": out, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": igw})
		for i, z := range tx.Zones()[:2] {
			s := make(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z.Name}).ID
			make(ec2.TypeSubnetRouteTableAssociation, obj{"RouteTableId": out, "SubnetId": s})
			w.public = append(w.public, s)
			w.private = append(w.private, make(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": fmt.Sprintf("10.0.1%d.0/24", i), "AvailabilityZone": z.Name}).ID)
		}
		v := make(ec2.TypeVPC, obj{"CidrBlock": "10.1.0.0/16"})
		w.other, w.foreign = v.ID, props.Str(v.Attrs, "DefaultSecurityGroup")
		w.elsewhere = make(ec2.TypeSubnet, obj{"VpcId": w.other, "CidrBlock": "10.1.0.0/24", "AvailabilityZone": "us-east-1c"}).ID
		w.issued, w.pending = tx.ARN("acm", "certificate/1"), tx.ARN("acm", "certificate/2")
		tx.Put(&account.Resource{Type: "AWS::CertificateManager::Certificate", ID: w.issued, Status: "ISSUED"})
		tx.Put(&account.Resource{Type: "AWS::CertificateManager::Certificate", ID: w.pending, Status: "PENDING_VALIDATION"})
		for _, b := range []string{"logs", "closed", "kms", "account"} {
			p := obj{"BucketName": b}
			if b == "kms" {
				p["BucketEncryption"] = obj{"ServerSideEncryptionConfiguration": []any{obj{"ServerSideEncryptionByDefault": obj{"SSEAlgorithm": "aws:kms"}}}}
			}
			tx.Put(&account.Resource{Type: "AWS::S3::Bucket", ID: b, Props: p})
			principal := obj{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
			if b == "account" {
				principal = obj{"AWS": "arn:aws:iam::127311923021:root"}
			}
			if b != "closed" {
				tx.Put(&account.Resource{Type: "AWS::S3::BucketPolicy", ID: b, Props: obj{"Bucket": b, "PolicyDocument": obj{"Version": "2012-10-17", "Statement": []any{
					obj{"Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::" + b + "/alb/AWSLogs/123456789012/*"},
					obj{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": []any{"arn:aws:s3:::" + b + "/*"}, "Condition": obj{"Bool": obj{"aws:SecureTransport": "false"}}},
				}}}})
			}
		}
		return nil
	})
	return w
}

func (w *world) do(t *testing.T, f func(*account.Tx) error) {
	t.Helper()
	if err := w.Do(f); err != nil {
		t.Fatal(err)
	}
}

func (w *world) fork() *world {
	f := *w
	f.Account = w.Clone(func() time.Time { return f.now })
	return &f
}

func (w *world) create(typ string, p obj) (string, error) {
	var id string
	err := w.Do(func(tx *account.Tx) error {
		r, _, err := tx.Create(typ, p, "", true)
		if r != nil {
			id = r.ID
		}
		return err
	})
	w.now = w.now.Add(200 * time.Second)
	return id, err
}

// must creates what can't be refused.
func (w *world) must(t *testing.T, typ string, p obj) string {
	t.Helper()
	id, err := w.create(typ, p)
	if err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return id
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	var e *account.Error
	got := ""
	if errors.As(err, &e) {
		got = e.Code + ": " + e.Message
	} else if err != nil {
		got = err.Error()
	}
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func with(p obj, change obj) obj {
	out, _ := account.Copy(p).(map[string]any)
	for k, v := range change {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

func attributes(pairs ...string) obj {
	list := []any{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, obj{"Key": pairs[i], "Value": pairs[i+1]})
	}
	return obj{"LoadBalancerAttributes": list}
}

func logs(bucket, prefix string) obj {
	return attributes("access_logs.s3.enabled", "true", "access_logs.s3.bucket", bucket, "access_logs.s3.prefix", prefix)
}

func TestLoadBalancerIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var small string
	w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "taken", "Subnets": w.public})
	w.do(t, func(tx *account.Tx) error {
		s, _, err := tx.Create(ec2.TypeSubnet, obj{"VpcId": w.vpc, "CidrBlock": "10.0.200.0/28", "AvailabilityZone": "us-east-1c"}, "", true)
		if err != nil {
			return err
		}
		small = s.ID
		for range 4 {
			if _, err := ec2.AddInterface(tx, ec2.Interface{Subnet: small}); err != nil {
				return err
			}
		}
		return nil
	})
	for name, c := range map[string]struct {
		change obj
		want   string
	}{
		"one zone":         {obj{"Subnets": w.public[:1]}, "ValidationError: At least two subnets in two different Availability Zones must be specified"},
		"zone twice":       {obj{"Subnets": append([]any{w.private[0]}, w.public...), "Scheme": "internal"}, "InvalidConfigurationRequest: A load balancer cannot be attached to multiple subnets"},
		"no subnet":        {obj{"Subnets": []any{"subnet-0"}}, "SubnetNotFound: The subnet ID 'subnet-0' does not exist"},
		"no way in":        {obj{"Subnets": w.private}, "InvalidSubnet: "},
		"internal":         {obj{"Subnets": w.private, "Scheme": "internal"}, ""},
		"full subnet":      {obj{"Subnets": append([]any{small}, w.private...), "Scheme": "internal"}, "InvalidSubnet: Not enough IP space available in " + small + ". ELB requires at least 8 free IP addresses in each subnet."},
		"long name":        {obj{"Name": strings.Repeat("n", 33)}, "ValidationError: The load balancer name"},
		"reserved name":    {obj{"Name": "internal-a"}, "ValidationError: The load balancer name 'internal-a' cannot begin with 'internal-'"},
		"bad name":         {obj{"Name": "a_b"}, "ValidationError: The load balancer name 'a_b' can only contain"},
		"group":            {obj{"SecurityGroups": []any{"sg-0"}}, "InvalidSecurityGroup: "},
		"attribute":        {attributes("idle_timeout", "60"), "ValidationError: Load balancer attribute key 'idle_timeout' is not recognized"},
		"value":            {attributes("idle_timeout.timeout_seconds", "4001"), "ValidationError: 'idle_timeout.timeout_seconds' must be between 1 and 4000"},
		"word":             {attributes("deletion_protection.enabled", "yes"), "ValidationError: 'yes' is not a valid value"},
		"no bucket":        {logs("none", "alb"), "InvalidConfigurationRequest: S3Bucket: none does not exist"},
		"closed bucket":    {logs("closed", "alb"), "InvalidConfigurationRequest: Access Denied for bucket: closed. Please check S3bucket permission"},
		"other prefix":     {logs("logs", "web"), "InvalidConfigurationRequest: Access Denied for bucket: logs."},
		"encrypted by KMS": {logs("kms", "alb"), "InvalidConfigurationRequest: Access Denied for bucket: kms."},
		"bucket":           {logs("logs", "alb"), ""},
		"bucket of old":    {logs("account", "alb"), ""},
		"hyphen at end":    {obj{"Name": "a-"}, "ValidationError: The load balancer name 'a-' cannot begin or end with '-'"},
		"taken":            {obj{"Name": "taken"}, "DuplicateLoadBalancerName: "},
		"dual stack":       {obj{"IpAddressType": "dualstack"}, "NotModelled: IP address type 'dualstack' is not modelled"},
		"other VPC":        {obj{"Subnets": append(slices.Clone(w.public), w.elsewhere)}, "InvalidConfigurationRequest: All subnets of a load balancer must belong to the same VPC"},
		"no gateway":       {obj{"Subnets": []any{w.elsewhere}}, "InvalidSubnet: VPC " + w.other + " has no internet gateway"},
		"foreign group":    {obj{"SecurityGroups": []any{w.foreign}}, "InvalidConfigurationRequest: Security group '" + w.foreign + "' does not belong to VPC"},
		"attribute twice":  {attributes("routing.http2.enabled", "true", "routing.http2.enabled", "false"), "ValidationError: Load balancer attribute key 'routing.http2.enabled' is specified more than once"},
		"bucket unnamed":   {attributes("access_logs.s3.enabled", "true"), "ValidationError: The value of 'access_logs.s3.bucket' cannot be empty"},
		"prefix":           {logs("logs", "AWSLogs"), "InvalidConfigurationRequest: The S3 prefix 'AWSLogs' is not valid"},
		"network":          {obj{"Type": "network"}, "NotModelled: Load balancer type 'network' is not modelled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.fork().create(elbv2.TypeLoadBalancer, with(obj{"Name": "lb", "Subnets": w.public}, c.change))
			check(t, err, c.want)
		})
	}
}

// built has a load balancer and a target group.
func built(t *testing.T) (w *world, lb, group string) {
	w = newWorld(t)
	lb = w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "lb", "Subnets": w.public})
	return w, lb, w.must(t, elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTPS", "Port": 443, "VpcId": w.vpc, "TargetType": "ip"})
}

func forward(group string) obj { return obj{"Type": "forward", "TargetGroupArn": group} }

func oidc(change obj) obj {
	return obj{"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": with(obj{
		"Issuer": "https://idp.example.com", "AuthorizationEndpoint": "https://idp.example.com/a", "TokenEndpoint": "https://idp.example.com/t",
		"UserInfoEndpoint": "https://idp.example.com/u", "ClientId": "id", "ClientSecret": "secret",
	}, change)}
}

func TestListenersAreChecked(t *testing.T) {
	t.Parallel()
	w, lb, group := built(t)
	second := obj{"Type": "forward", "TargetGroupArn": group, "Order": 2}
	other := w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "other", "Subnets": w.private, "Scheme": "internal"})
	tls := func(change obj) obj {
		return with(obj{"LoadBalancerArn": lb, "Port": 443, "Protocol": "HTTPS", "Certificates": []any{obj{"CertificateArn": w.issued}}, "DefaultActions": []any{forward(group)}}, change)
	}
	taken := w.must(t, elbv2.TypeListener, tls(obj{"Port": 8443}))
	w.must(t, elbv2.TypeListenerRule, obj{"ListenerArn": taken, "Priority": 1, "Conditions": []any{obj{"Field": "path-pattern", "Values": []any{"/*"}}}, "Actions": []any{forward(group)}})
	rule := func(change obj) obj {
		return with(obj{"ListenerArn": taken, "Priority": 2, "Conditions": []any{obj{"Field": "host-header", "HostHeaderConfig": obj{"Values": []any{"a.example.com"}}}}, "Actions": []any{forward(group)}}, change)
	}
	elsewhere := w.must(t, elbv2.TypeTargetGroup, obj{"Name": "elsewhere", "Protocol": "HTTPS", "Port": 443, "VpcId": w.other})
	fixed := func(c obj) obj {
		return obj{"DefaultActions": []any{obj{"Type": "fixed-response", "FixedResponseConfig": c}}}
	}
	redirect := func(c obj) obj { return obj{"DefaultActions": []any{obj{"Type": "redirect", "RedirectConfig": c}}} }
	for name, c := range map[string]struct {
		typ  string
		p    obj
		want string
	}{
		"load balancer":     {elbv2.TypeListener, tls(obj{"LoadBalancerArn": "none"}), "LoadBalancerNotFound: "},
		"port taken":        {elbv2.TypeListener, tls(obj{"Port": 8443}), "DuplicateListener: A listener already exists on this port for this load balancer"},
		"no certificate":    {elbv2.TypeListener, tls(obj{"Certificates": nil}), "ValidationError: A certificate must be specified for HTTPS listeners"},
		"pending":           {elbv2.TypeListener, tls(obj{"Certificates": []any{obj{"CertificateArn": w.pending}}}), "UnsupportedCertificate: The certificate '" + w.pending + "' must have a fully-qualified domain name"},
		"other region":      {elbv2.TypeListener, tls(obj{"Certificates": []any{obj{"CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"}}}), "ValidationError: Certificate ARN"},
		"unknown":           {elbv2.TypeListener, tls(obj{"Certificates": []any{obj{"CertificateArn": w.issued + "0"}}}), "CertificateNotFound: "},
		"policy":            {elbv2.TypeListener, tls(obj{"SslPolicy": "ELBSecurityPolicy-TLS13"}), "SSLPolicyNotFound: SSL policy 'ELBSecurityPolicy-TLS13' not found"},
		"target group":      {elbv2.TypeListener, tls(obj{"DefaultActions": []any{forward("none")}}), "TargetGroupNotFound: "},
		"two balancers":     {elbv2.TypeListener, tls(obj{"LoadBalancerArn": other}), "TargetGroupAssociationLimit: "},
		"plain SSO":         {elbv2.TypeListener, tls(obj{"Protocol": "HTTP", "Certificates": nil, "DefaultActions": []any{oidc(nil), second}}), "InvalidLoadBalancerAction: Actions of type 'authenticate-oidc' are supported only on HTTPS listeners"},
		"SSO by HTTP":       {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(obj{"TokenEndpoint": "http://idp"}), second}}), "InvalidLoadBalancerAction: The TokenEndpoint"},
		"SSO, no secret":    {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(obj{"ClientSecret": nil}), second}}), "InvalidLoadBalancerAction: A client secret"},
		"SSO alone":         {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(nil)}}), "InvalidLoadBalancerAction: The last action"},
		"no order":          {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(nil), forward(group)}}), "ValidationError: You must specify an action order"},
		"SSO":               {elbv2.TypeListener, tls(obj{"DefaultActions": []any{second, oidc(nil)}}), ""},
		"loop":              {elbv2.TypeListener, tls(redirect(obj{"StatusCode": "HTTP_301"})), "InvalidLoadBalancerAction: The RedirectConfig is not valid because it creates a loop"},
		"redirect":          {elbv2.TypeListener, tls(redirect(obj{"StatusCode": "HTTP_301", "Port": "8443"})), ""},
		"no port":           {elbv2.TypeListener, tls(obj{"Port": 0}), "ValidationError: A port must be specified"},
		"protocol":          {elbv2.TypeListener, tls(obj{"Protocol": "TCP"}), "ValidationError: Listener protocol 'TCP' must be one of"},
		"plain certificate": {elbv2.TypeListener, tls(obj{"Protocol": "HTTP"}), "ValidationError: A certificate or SSL policy cannot be specified for HTTP listeners"},
		"two certificates":  {elbv2.TypeListener, tls(obj{"Certificates": []any{obj{"CertificateArn": w.issued}, obj{"CertificateArn": w.pending}}}), "ValidationError: Up to '1' certificate ARNs"},
		"client's":          {elbv2.TypeListener, tls(obj{"MutualAuthentication": obj{"Mode": "verify"}}), "NotModelled: Mutual authentication mode 'verify' is not modelled"},
		"attribute":         {elbv2.TypeListener, tls(obj{"ListenerAttributes": []any{obj{"Key": "x", "Value": "y"}}}), "ValidationError: Listener attribute key 'x' is not recognized"},
		"no action":         {elbv2.TypeListener, tls(obj{"DefaultActions": []any{}}), "ValidationError: At least one action must be specified"},
		"order twice":       {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(nil), obj{"Type": "forward", "TargetGroupArn": group, "Order": 1}}}), "ValidationError: Action orders must be unique: '1'"},
		"SSO twice":         {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(nil), with(oidc(nil), obj{"Order": 2}), obj{"Type": "forward", "TargetGroupArn": group, "Order": 3}}}), "InvalidLoadBalancerAction: There can be only one authentication action"},
		"action":            {elbv2.TypeListener, tls(obj{"DefaultActions": []any{obj{"Type": "authenticate-cognito"}}}), "NotModelled: Action type 'authenticate-cognito' is not modelled"},
		"no group":          {elbv2.TypeListener, tls(obj{"DefaultActions": []any{obj{"Type": "forward"}}}), "ValidationError: A target group ARN must be specified"},
		"group elsewhere":   {elbv2.TypeListener, tls(obj{"DefaultActions": []any{forward(elsewhere)}}), "InvalidConfigurationRequest: The target group"},
		"status":            {elbv2.TypeListener, tls(redirect(obj{"StatusCode": "301", "Port": "1"})), "ValidationError: Redirect status code '301'"},
		"answer":            {elbv2.TypeListener, tls(fixed(obj{"StatusCode": "404", "ContentType": "text/plain"})), ""},
		"answer's status":   {elbv2.TypeListener, tls(fixed(obj{"StatusCode": "301"})), "ValidationError: Fixed response status code '301'"},
		"answer's type":     {elbv2.TypeListener, tls(fixed(obj{"StatusCode": "404", "ContentType": "image/png"})), "ValidationError: Fixed response content type"},
		"long answer":       {elbv2.TypeListener, tls(fixed(obj{"StatusCode": "404", "MessageBody": strings.Repeat("x", 1025)})), "ValidationError: Fixed response message body"},
		"SSO, no client":    {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(obj{"ClientId": nil}), second}}), "InvalidLoadBalancerAction: A client ID"},
		"SSO, otherwise":    {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(obj{"OnUnauthenticatedRequest": "x"}), second}}), "InvalidLoadBalancerAction: OnUnauthenticatedRequest 'x'"},
		"SSO for ever":      {elbv2.TypeListener, tls(obj{"DefaultActions": []any{oidc(obj{"SessionTimeout": 604801}), second}}), "InvalidLoadBalancerAction: The session timeout"},
		"listener":          {elbv2.TypeListenerRule, rule(obj{"ListenerArn": "none"}), "ListenerNotFound: "},
		"priority taken":    {elbv2.TypeListenerRule, rule(obj{"Priority": 1}), "PriorityInUse: Priority '1' is currently in use"},
		"priority":          {elbv2.TypeListenerRule, rule(obj{"Priority": 50001}), "ValidationError: The rule priority '50001'"},
		"no value":          {elbv2.TypeListenerRule, rule(obj{"Conditions": []any{obj{"Field": "path-pattern"}}}), "ValidationError: A condition value must be specified"},
		"long value":        {elbv2.TypeListenerRule, rule(obj{"Conditions": []any{obj{"Field": "path-pattern", "Values": []any{strings.Repeat("x", 129)}}}}), "ValidationError: Condition value"},
		"no condition":      {elbv2.TypeListenerRule, rule(obj{"Conditions": []any{}}), "ValidationError: At least one condition"},
		"field":             {elbv2.TypeListenerRule, rule(obj{"Conditions": []any{obj{"Field": "host", "Values": []any{"a"}}}}), "ValidationError: Condition field 'host' must be one of"},
		"many values":       {elbv2.TypeListenerRule, rule(obj{"Conditions": []any{obj{"Field": "path-pattern", "Values": []any{"1", "2", "3", "4", "5", "6"}}}}), "ValidationError: Up to '5' condition values"},
		"rule":              {elbv2.TypeListenerRule, rule(nil), ""},
		"group: protocol":   {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "TCP", "Port": 1, "VpcId": w.vpc}, "NotModelled: Protocol 'TCP' is not modelled"},
		"group: VPC":        {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": "vpc-0"}, "ValidationError: The VPC ID 'vpc-0' is not found"},
		"group: timeout":    {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthCheckIntervalSeconds": 10, "HealthCheckTimeoutSeconds": 10}, "ValidationError: Health check timeout '10' must be smaller than the interval '10'"},
		"group: path":       {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthCheckPath": "health"}, "ValidationError: Health check path 'health'"},
		"group: matcher":    {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "Matcher": obj{"HttpCode": "500"}}, "ValidationError: Health check matcher HTTP code '500'"},
		"group: type":       {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "TargetType": "lambda"}, "NotModelled: Target type 'lambda' is not modelled"},
		"group: bare":       {elbv2.TypeTargetGroup, obj{"Name": "x", "Port": 1, "VpcId": w.vpc}, "ValidationError: A protocol must be specified"},
		"group: port":       {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "VpcId": w.vpc}, "ValidationError: A port must be specified"},
		"group: no VPC":     {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1}, "ValidationError: A VPC ID must be specified"},
		"group: interval":   {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthCheckIntervalSeconds": 301}, "ValidationError: Health check interval '301'"},
		"group: wait":       {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthCheckTimeoutSeconds": 1}, "ValidationError: Health check timeout '1'"},
		"group: healthy":    {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthyThresholdCount": 11}, "ValidationError: Healthy threshold count '11'"},
		"group: unhealthy":  {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "UnhealthyThresholdCount": 1}, "ValidationError: Unhealthy threshold count '1'"},
		"group: check":      {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "HealthCheckProtocol": "TCP"}, "ValidationError: Health check protocol 'TCP'"},
		"group: attribute":  {elbv2.TypeTargetGroup, obj{"Name": "x", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc, "TargetGroupAttributes": []any{obj{"Key": "x", "Value": "y"}}}, "ValidationError: Target group attribute key 'x' is not recognized"},
		"group: name taken": {elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTP", "Port": 1, "VpcId": w.vpc}, "DuplicateTargetGroupName: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.fork().create(c.typ, c.p)
			check(t, err, c.want)
		})
	}
}

func call(t *testing.T, w *world, op string, in obj) (obj, error) {
	t.Helper()
	for _, o := range elbv2.Service().Operations {
		if o.Name == op {
			var out any
			err := w.Do(func(tx *account.Tx) error {
				var err error
				out, err = o.Do(tx, &wire.Request{In: in})
				return err
			})
			m, _ := out.(map[string]any)
			return m, err
		}
	}
	t.Fatalf("no operation %s", op)
	return nil, nil
}

// TestLife shows what blocks which deletion, and that nothing stays.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := len(w.Resources())
	lb := w.must(t, elbv2.TypeLoadBalancer, with(obj{"Name": "lb", "Subnets": w.public}, attributes("deletion_protection.enabled", "true")))
	group := w.must(t, elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTPS", "Port": 443, "VpcId": w.vpc, "TargetType": "ip"})
	var face string
	w.do(t, func(tx *account.Tx) error {
		r := tx.Get(elbv2.TypeLoadBalancer, lb)
		faces := ec2.InterfacesOf(tx, lb)
		if r.Status != "active" || len(faces) != 2 || ec2.PublicIP(tx, faces[0]) == "" {
			t.Errorf("load balancer is %s with %d interfaces", r.Status, len(faces))
		}
		if dns := props.Str(r.Attrs, "DNSName"); !strings.HasPrefix(dns, "lb-") || !strings.HasSuffix(dns, ".us-east-1.elb.amazonaws.com") || r.Attrs["CanonicalHostedZoneID"] != "Z35SXDOTRQ7X7K" {
			t.Error(r.Attrs)
		}
		face = props.Str(faces[0].Attrs, "PrimaryPrivateIpAddress")
		return nil
	})
	health := func() string {
		out, err := call(t, w, "DescribeTargetHealth", obj{"TargetGroupArn": group})
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, d := range props.Maps(out, "TargetHealthDescriptions") {
			s += props.Str(d, "TargetHealth", "State") + " "
		}
		return s
	}
	if _, err := call(t, w, "RegisterTargets", obj{"TargetGroupArn": group, "Targets": []any{obj{"Id": face, "Port": "8443"}, obj{"Id": "10.0.0.99"}}}); err != nil {
		t.Fatal(err)
	}
	got := []string{health()}
	listener := w.must(t, elbv2.TypeListener, obj{"LoadBalancerArn": lb, "Port": 443, "Protocol": "HTTPS", "Certificates": []any{obj{"CertificateArn": w.issued}}, "DefaultActions": []any{oidc(nil), obj{"Type": "forward", "TargetGroupArn": group, "Order": 2}}})
	got = append(got, health())
	if _, err := call(t, w, "DeregisterTargets", obj{"TargetGroupArn": group, "Targets": []any{obj{"Id": "10.0.0.99"}}}); err != nil {
		t.Fatal(err)
	}
	got = append(got, health())
	if d := cmp.Diff([]string{"unused unused ", "healthy unhealthy ", "healthy "}, got); d != "" {
		t.Error(d)
	}
	for _, op := range []string{"DescribeListeners", "DescribeRules"} {
		out, err := call(t, w, op, obj{"ListenerArn": listener, "ListenerArns": []any{listener}})
		if err != nil || strings.Contains(fmt.Sprint(out), "secret") || !strings.Contains(fmt.Sprint(out), "idp.example.com") {
			t.Errorf("%s shows %v, %v", op, out, err)
		}
	}
	remove := func(typ, id string) error {
		err := w.Do(func(tx *account.Tx) error {
			_, err := tx.Delete(tx.Get(typ, id), true)
			return err
		})
		w.now = w.now.Add(2 * time.Minute)
		return err
	}
	check(t, remove(elbv2.TypeTargetGroup, group), "ResourceInUse: Target group '"+group+"' is currently in use by a listener or a rule")
	check(t, remove(elbv2.TypeLoadBalancer, lb), "OperationNotPermitted: Load balancer '"+lb+"' cannot be deleted because deletion protection is enabled")
	if _, err := call(t, w, "ModifyLoadBalancerAttributes", obj{"LoadBalancerArn": lb, "Attributes": []any{obj{"Key": "deletion_protection.enabled", "Value": "false"}}}); err != nil {
		t.Fatal(err)
	}
	check(t, remove(elbv2.TypeLoadBalancer, lb), "")
	check(t, remove(elbv2.TypeTargetGroup, group), "")
	if after := len(w.Resources()); after != before {
		t.Errorf("%d resources became %d", before, after)
	}
	_, err := call(t, w, "DescribeLoadBalancers", obj{"LoadBalancerArns": []any{lb}})
	check(t, err, "LoadBalancerNotFound: ")
}

// TestChanges goes through what the API can change.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lb := w.must(t, elbv2.TypeLoadBalancer, obj{"Name": "lb", "Scheme": "internal", "Subnets": w.private})
	group := w.must(t, elbv2.TypeTargetGroup, obj{"Name": "g", "Protocol": "HTTPS", "Port": 443, "VpcId": w.vpc, "TargetType": "ip"})
	must := func(op string, in obj) obj {
		t.Helper()
		out, err := call(t, w, op, in)
		check(t, err, props.Str(in, "want"))
		return out
	}
	answer := obj{"Type": "fixed-response", "FixedResponseConfig": obj{"StatusCode": "404"}}
	forward := obj{"Type": "forward", "TargetGroupArn": group, "Order": "2"}

	out := must("CreateListener", obj{"LoadBalancerArn": lb, "Port": "443", "Protocol": "HTTPS", "Certificates": []any{obj{"CertificateArn": w.issued}}, "DefaultActions": []any{answer}})
	listener := props.Str(props.Maps(out, "Listeners")[0], "ListenerArn")
	must("CreateListener", obj{"LoadBalancerArn": lb, "Port": "443", "Protocol": "HTTP", "DefaultActions": []any{answer}, "want": "DuplicateListener: "})
	out = must("CreateRule", obj{"ListenerArn": listener, "Priority": "1", "Conditions": []any{obj{"Field": "host-header", "Values": []any{"a.example.com"}}}, "Actions": []any{oidc(nil), forward}})
	rule := props.Maps(out, "Rules")[0]
	// Hosts are answered in both places.
	if diff := cmp.Diff(props.Strs(props.Maps(rule, "Conditions")[0], "Values"), props.Strs(props.Maps(rule, "Conditions")[0], "HostHeaderConfig", "Values")); diff != "" {
		t.Error(diff)
	}
	arn := props.Str(rule, "RuleArn")
	secret := func() string {
		var s string
		w.do(t, func(tx *account.Tx) error {
			s = props.Str(props.Maps(tx.Get(elbv2.TypeListenerRule, arn).Props, "Actions")[0], "AuthenticateOidcConfig", "ClientSecret")
			return nil
		})
		return s
	}
	before := secret()
	next := oidc(obj{"ClientSecret": nil, "UseExistingClientSecret": "true", "ClientId": "another", "AuthenticationRequestExtraParams": []any{obj{"key": "prompt", "value": "login"}}})
	out = must("ModifyRule", obj{"RuleArn": arn, "Actions": []any{next, forward}})
	c := props.Map(props.Maps(props.Maps(out, "Rules")[0], "Actions")[0], "AuthenticateOidcConfig")
	if props.Str(c, "ClientId") != "another" || props.Has(c, "ClientSecret") || before == "" || secret() != before {
		t.Errorf("the rule became %v, the secret %q", c, secret())
	}
	must("ModifyRule", obj{"RuleArn": arn, "Transforms": []any{obj{}}, "want": "NotModelled: "})
	must("ModifyRule", obj{"RuleArn": "none", "want": "RuleNotFound: "})
	must("ModifyRule", obj{"RuleArn": listener + "/default", "want": "OperationNotPermitted: "})
	must("ModifyListener", obj{"ListenerArn": listener, "SslPolicy": "none", "want": "SSLPolicyNotFound: "})
	must("ModifyListener", obj{"ListenerArn": "none", "want": "ListenerNotFound: "})
	out = must("ModifyListener", obj{"ListenerArn": listener, "SslPolicy": "ELBSecurityPolicy-TLS13-1-3-2021-06", "DefaultActions": []any{oidc(nil), forward}})
	if l := props.Maps(out, "Listeners")[0]; props.Str(l, "SslPolicy") != "ELBSecurityPolicy-TLS13-1-3-2021-06" || len(props.List(l, "DefaultActions")) != 2 {
		t.Errorf("the listener became %v", l)
	}
	out = must("ModifyTargetGroup", obj{"TargetGroupArn": group, "HealthCheckProtocol": "HTTP", "HealthCheckPath": "/x"})
	if g := props.Maps(out, "TargetGroups")[0]; props.Str(g, "HealthCheckProtocol") != "HTTP" || props.Str(g, "HealthCheckPath") != "/x" || props.Str(g, "Protocol") != "HTTPS" {
		t.Errorf("the target group became %v", g)
	}

	sg := w.must(t, ec2.TypeSecurityGroup, obj{"VpcId": w.vpc, "GroupDescription": "x"})
	out = must("SetSecurityGroups", obj{"LoadBalancerArn": lb, "SecurityGroups": []any{sg}})
	if diff := cmp.Diff([]string{sg}, props.Strs(out, "SecurityGroupIds")); diff != "" {
		t.Error(diff)
	}
	must("SetSecurityGroups", obj{"LoadBalancerArn": lb, "SecurityGroups": []any{w.foreign}, "want": "InvalidConfigurationRequest: "})
	must("SetSecurityGroups", obj{"LoadBalancerArn": lb, "want": "ValidationError: At least one security group"})
	must("SetSubnets", obj{"LoadBalancerArn": lb, "Subnets": w.private[:1], "want": "ValidationError: At least two subnets"})
	must("SetSubnets", obj{"LoadBalancerArn": lb, "want": "ValidationError: You must specify either subnets"})
	out = must("SetSubnets", obj{"LoadBalancerArn": lb, "Subnets": w.public})
	if n := len(props.List(out, "AvailabilityZones")); n != 2 {
		t.Errorf("the load balancer is in %d zones", n)
	}

	for _, x := range []string{lb, group, listener, arn} {
		must("AddTags", obj{"ResourceArns": []any{x}, "Tags": []any{obj{"Key": "a", "Value": "1"}, obj{"Key": "b", "Value": "2"}}})
		must("RemoveTags", obj{"ResourceArns": []any{x}, "TagKeys": []any{"a"}})
		out = must("DescribeTags", obj{"ResourceArns": []any{x}})
		if tags := props.Tags(props.Maps(out, "TagDescriptions")[0], "Tags"); len(tags) != 1 || tags["b"] != "2" {
			t.Errorf("%s has the tags %v", x, tags)
		}
	}
	must("DescribeTags", obj{"ResourceArns": slices.Repeat([]any{lb}, 21), "want": "ValidationError: You can specify up to 20 resources"})
	must("DescribeTags", obj{"ResourceArns": []any{arn + "0"}, "want": "RuleNotFound: "})
	must("AddTags", obj{"ResourceArns": []any{"x"}, "want": "ValidationError: 'x' is not a valid load balancer ARN"})

	must("DeleteRule", obj{"RuleArn": arn})
	must("DeleteRule", obj{"RuleArn": arn, "want": "RuleNotFound: "})
	must("DeleteListener", obj{"ListenerArn": listener})
	must("DeleteTargetGroup", obj{"TargetGroupArn": group})
}

// TestPolicies holds the versions of TLS to what AWS's page on policies says.
func TestPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, want := range map[string]string{
		"ELBSecurityPolicy-2016-08":                   "TLSv1 TLSv1.1 TLSv1.2",
		"ELBSecurityPolicy-TLS-1-1-2017-01":           "TLSv1.1 TLSv1.2",
		"ELBSecurityPolicy-TLS-1-2-Ext-2018-06":       "TLSv1.2",
		"ELBSecurityPolicy-FS-2018-06":                "TLSv1 TLSv1.1 TLSv1.2",
		"ELBSecurityPolicy-FS-1-1-2019-08":            "TLSv1.1 TLSv1.2",
		"ELBSecurityPolicy-FS-1-2-Res-2020-10":        "TLSv1.2",
		"ELBSecurityPolicy-TLS13-1-0-2021-06":         "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
		"ELBSecurityPolicy-TLS13-1-1-2021-06":         "TLSv1.1 TLSv1.2 TLSv1.3",
		"ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09":  "TLSv1.2 TLSv1.3",
		"ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09": "TLSv1.3",
	} {
		out, err := call(t, w, "DescribeSSLPolicies", obj{"Names": []any{name}})
		check(t, err, "")
		if got := strings.Join(props.Strs(props.Maps(out, "SslPolicies")[0], "SslProtocols"), " "); got != want {
			t.Errorf("%s lets in %s, want %s", name, got, want)
		}
	}
}
