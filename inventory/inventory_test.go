package inventory_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox"
)

// denied refuses the calls of these X-Amz-Target headers.
type denied struct {
	next  http.RoundTripper
	calls []string
}

func (d denied) RoundTrip(r *http.Request) (*http.Response, error) {
	if slices.Contains(d.calls, r.Header.Get("X-Amz-Target")) {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Request: r,
			Body: http.NoBody, Status: "400 Bad Request",
		}, nil
	}
	return d.next.RoundTrip(r)
}

func setup(t *testing.T) (*sandbox.Sandbox, *architecture.Architecture, func(...string) *awsapi.Clients) {
	t.Helper()
	c, err := config.LoadFile(filepath.Join("..", "examples", "evaluation.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	box := testkit.Sandbox(t, sandbox.Options{Region: c.Region, Now: time.Now, Fresh: true})
	if _, err := rehearse.Given(box, a); err != nil {
		t.Fatal(err)
	}
	return box, a, func(calls ...string) *awsapi.Clients {
		t.Helper()
		p := box.Principals()[0]
		client := testkit.Client(box)
		client.Transport = denied{client.Transport, calls}
		clients, err := awsapi.New(t.Context(), awsapi.Options{
			Region: c.Region, Endpoint: testkit.Endpoint, HTTPClient: client,
			Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(p.AccessKeyID, p.SecretAccessKey, p.SessionToken)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return clients
	}
}

// found are the items outside of stacks, as "type id: origin".
func found(v *inventory.Inventory) []string {
	var out []string
	for _, i := range v.Outside() {
		out = append(out, i.Type+" "+i.ID+": "+string(i.Origin))
	}
	return out
}

// TestL04InventoryFindsWhatNoStackHolds: what stacks hold is known as theirs;
// what controllers and services made beside them is found by tag, VPC and name,
// and other people's things are not.
func TestL04InventoryFindsWhatNoStackHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, a, clients := setup(t)
		empty, err := inventory.Read(t.Context(), clients(), a)
		if err != nil || !empty.Empty() {
			t.Fatalf("before anything is there: %+v, %v", empty, err)
		}
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: deploy.Target{Architecture: a, AWS: clients()}}); err != nil {
			t.Fatal(err)
		}
		v, err := inventory.Read(t.Context(), clients(), a)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string(nil), found(v)); diff != "" || v.Unknown != nil {
			t.Errorf("outside of stacks (-want +got):\n%s\nunknown: %+v", diff, v.Unknown)
		}
		held := map[string]bool{}
		for _, i := range v.Items {
			held[i.Type+" "+i.ID] = i.Stack != ""
		}
		for _, r := range box.Account().Resources() {
			// Rules of a group are part of it.
			if strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") && r.Type != "AWS::EC2::SecurityGroup" {
				continue
			}
			if strings.Contains(r.Owner, ":stack/"+a.Name()+"-") && strings.HasPrefix(r.Type, "AWS::") && !held[r.Type+" "+r.ID] {
				t.Errorf("%s %s is a stack's and not found as such", r.Type, r.ID)
			}
		}

		vpc := ""
		for _, i := range v.Items {
			if i.Type == "AWS::EC2::VPC" {
				vpc = i.ID
			}
		}
		tags := func(k, v string) []any { return []any{map[string]any{"Key": k, "Value": v}} }
		put := func(typ string, p map[string]any) string { return testkit.MustCreate(t, box, typ, p).ID }
		group := put("AWS::EC2::SecurityGroup", map[string]any{"VpcId": vpc, "GroupDescription": "backend", "Tags": tags("elbv2.k8s.aws/cluster", a.ClusterName())})
		target := put("AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{
			"VpcId": vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip", "Tags": tags("elbv2.k8s.aws/cluster", a.ClusterName()),
		})
		put("AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"VpcId": vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip", "Tags": tags("elbv2.k8s.aws/cluster", "another")})
		logs := put("AWS::Logs::LogGroup", map[string]any{"LogGroupName": a.DatabaseLogGroup("error")})
		put("AWS::Logs::LogGroup", map[string]any{"LogGroupName": "/aws/rds/instance/another/error"})
		key := put("AWS::KMS::Key", map[string]any{"Tags": tags(inventory.Tag, a.Name()), "KeyPolicy": map[string]any{"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*",
		}}}})
		parameter := put("AWS::SSM::Parameter", map[string]any{"Type": "String", "Value": "x", "Name": a.ParameterPath() + "/lease"})
		if v, err = inventory.Read(t.Context(), clients(), a); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"AWS::EC2::SecurityGroup " + group + ": cluster",
			"AWS::ElasticLoadBalancingV2::TargetGroup " + target + ": cluster",
			"AWS::KMS::Key " + key + ": tag",
			"AWS::Logs::LogGroup " + logs + ": name",
			"AWS::SSM::Parameter " + parameter + ": name",
		}
		if diff := cmp.Diff(want, found(v)); diff != "" {
			t.Errorf("outside of stacks (-want +got):\n%s", diff)
		}
		if i := v.Find("AWS::KMS::Key", key); i == nil || i.Monthly == nil || i.Monthly.Amount != 1 {
			t.Errorf("the key: %+v", i)
		}

		// A read that fails is known to have failed; the others count.
		v, err = inventory.Read(t.Context(), clients("Logs_20140328.DescribeLogGroups"), a)
		if err != nil || len(v.Unknown) != 1 || v.Unknown[0].What != "log groups" || v.Unknown[0].Reason == "" {
			t.Errorf("with log groups denied: %+v, %v", v.Unknown, err)
		}
		if diff := cmp.Diff(slices.Delete(want, 3, 4), found(v)); diff != "" {
			t.Errorf("with log groups denied (-want +got):\n%s", diff)
		}
	})
}
