package calibrate_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/calibrate"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// reach is the way to a handler that stands for the account.
func reach(handler http.Handler, region string) func(context.Context, func(*http.Request) error) (*awsapi.Clients, error) {
	return func(ctx context.Context, guard func(*http.Request) error) (*awsapi.Clients, error) {
		return awsapi.New(ctx, awsapi.Options{
			Region: region, Endpoint: testkit.Endpoint, HTTPClient: &http.Client{Transport: testkit.Transport{Handler: handler}}, Guard: guard, Clock: fast(),
			Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
		})
	}
}

// fast is the clock of accounts and of their clients.
var fast = sync.OnceValue(func() *clock.Scaled { return clock.NewScaled(1000) })

// quick is a sandbox whose time passes while somebody waits for it.
func quick(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Now = fast().Now
	return testkit.Sandbox(t, o)
}

// stand makes a stack, as a deployment has.
func stand(ctx context.Context, _ *sandbox.Sandbox, c *awsapi.Clients) error {
	_, err := c.CloudFormation.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: aws.String("standing"), TemplateBody: aws.String(`{"Parameters":{"P":{"Type":"String"}},"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"DisplayName":{"Ref":"P"}}}}}`),
		Parameters: []types.Parameter{{ParameterKey: aws.String("P"), ParameterValue: aws.String("x")}},
	})
	if err == nil {
		err = c.Clock.Sleep(ctx, 10*time.Minute)
	}
	return err
}

// standing is a quick sandbox with the stack in it.
func standing(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	box := quick(t, o)
	c, err := reach(box, box.Region())(t.Context(), nil)
	if err == nil {
		err = stand(t.Context(), box, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func run(t *testing.T, o calibrate.Options) *calibrate.Report {
	t.Helper()
	r, err := calibrate.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// differing are the names of the facts that differ, by probe.
func differing(r *calibrate.Report) map[string][]string {
	out := map[string][]string{}
	for _, x := range r.Results {
		for _, d := range x.Differences {
			out[x.ID] = append(out[x.ID], d.Name)
		}
	}
	return out
}

var reviewed = []calibrate.Template{
	{Name: "topic", Body: `{"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":"calibrated"}}}}`},
	{Name: "bad", Body: `{"Parameters":{"P":{"Type":"String"}},"Resources":{"Vpc":{"Type":"AWS::EC2::VPC","Properties":{"Bogus":{"Ref":"P"}}}}}`, Parameters: map[string]string{"P": "{account} {zone-id-1}"}},
}

// TestSameAccounts compares sandboxes: nothing differs, whatever the account's
// number and region and the names of its zones.
func TestSameAccounts(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sandbox.Options{
		"usual": {},
		"other": {AccountID: "210987654321", Region: "eu-central-1", Zones: []account.Zone{{Name: "eu-central-1a", ID: "euc1-az3"}, {Name: "eu-central-1b", ID: "euc1-az1"}, {Name: "eu-central-1c", ID: "euc1-az2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			region := o.Region
			if region == "" {
				region = "us-east-1"
			}
			box := standing(t, o)
			r := run(t, calibrate.Options{Account: reach(box, region), Templates: reviewed, Stacks: []string{"standing", "absent"}, Deploy: stand})
			if d := differing(r); len(d) > 0 {
				t.Errorf("differences: %v", d)
			}
			var blind []string
			for _, x := range r.Results {
				if x.Compared == 0 {
					blind = append(blind, x.ID)
				}
			}
			if diff := cmp.Diff([]string{"images"}, blind); diff != "" {
				t.Errorf("probes that compare nothing between sandboxes, -known +got:\n%s", diff)
			}
			for _, res := range box.Account().Resources() {
				if strings.HasPrefix(res.Type, "cloudformation:") && res.Status != "DELETE_COMPLETE" && !strings.Contains(res.ID, ":stack/standing/") {
					t.Errorf("it left %s %s %s", res.Type, res.ID, res.Status)
				}
			}
		})
	}
}

// planted answers as a sandbox does, but for some words in the answers to
// requests that have a mark.
type planted struct {
	next           http.Handler
	mark, old, new string
	hits           int
}

func (p *planted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	rec := httptest.NewRecorder()
	p.next.ServeHTTP(rec, r)
	answer := rec.Body.String()
	if strings.Contains(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("X-Amz-Target")+" "+string(body), p.mark) && strings.Contains(answer, p.old) {
		answer = strings.Replace(answer, p.old, p.new, 1)
		p.hits++
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(rec.Code)
	_, _ = io.WriteString(w, answer)
}

// plant is one thing that an account answers otherwise.
type plant struct {
	probe, mark, old, new string
	want                  []string
}

func plants() []plant {
	return []plant{
		{"zones", "Action=DescribeAvailabilityZones", "opt-in-not-required", "opted-in", []string{"use1-az1"}},
		{"default-vpc", "Action=DescribeVpcs", "172.31.0.0/16", "172.30.0.0/16", []string{"VPC"}},
		{"instance-types", "Action=DescribeInstanceTypes&", "<instanceType>m5.large<", "<instanceType>m5.larger<", []string{"m5.large"}},
		{"instance-zones", "Action=DescribeInstanceTypeOfferings", "<instanceType>m5.large</instanceType><location>use1-az1<", "<instanceType>m5.large</instanceType><location>use1-az9<", []string{"m5.large"}},
		{"endpoint-services", "Action=DescribeVpcEndpointServices", "com.amazonaws.us-east-1.ecr.api", "com.amazonaws.us-east-1.ecr.oci", []string{"com.amazonaws.us-east-1.ecr.api Interface"}},
		{"prefix-lists", "Action=DescribeManagedPrefixLists", "com.amazonaws.us-east-1.s3<", "com.amazonaws.us-east-1.s4<", []string{"com.amazonaws.us-east-1.s3"}},
		{"eks-versions", "GET /cluster-versions", `"clusterVersion":"1.33"`, `"clusterVersion":"9.99"`, []string{"1.33", "9.99"}},
		{"eks-addons", "GET /addons/supported-versions", `"addonVersion":"v1.20.4-eksbuild.1"`, `"addonVersion":"v9.20.4-eksbuild.1"`, []string{
			"vpc-cni v1.20.4-eksbuild.1 for 1.31", "vpc-cni v1.20.4-eksbuild.1 for 1.32", "vpc-cni v1.20.4-eksbuild.1 for 1.33",
			"vpc-cni v1.20.4-eksbuild.1 for 1.34", "vpc-cni v1.20.4-eksbuild.1 for 1.35", "vpc-cni v1.20.4-eksbuild.1 for 1.36",
		}},
		{"eks-access-policies", "GET /access-policies", `"name":"AmazonEKSAdminPolicy"`, `"name":"AmazonEKSRootPolicy"`, []string{"AmazonEKSAdminPolicy"}},
		{"rds-versions", "Action=DescribeDBEngineVersions&Engine", "<EngineVersion>13.20</EngineVersion><DBParameterGroupFamily>", "<EngineVersion>93.20</EngineVersion><DBParameterGroupFamily>", []string{"13.20"}},
		{"rds-classes", "Marker=ZnJvbSAxMDA&", "<StorageType>gp3</StorageType><SupportsPerformanceInsights>true<", "<StorageType>gp3</StorageType><SupportsPerformanceInsights>false<", []string{"db.m6gd.2xlarge gp3"}},
		{"managed-policies", "Action=GetPolicy&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAmazonEKS_CNI_Policy", "<DefaultVersionId>v1<", "<DefaultVersionId>v6<", []string{"AmazonEKS_CNI_Policy"}},
		{"ssl-policies", "Action=DescribeSSLPolicies", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS14", []string{"ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS14"}},
		{"quotas", "Action=DescribeAccountAttributes", "<attributeValue>5<", "<attributeValue>6<", []string{"EC2 vpc-max-security-groups-per-interface"}},
		{"errors-ec2", "Action=DescribeVpcs&Version=2016-11-15&VpcId.1=vpc-0123456789abcdef0", "does not exist", "is not there", []string{"absent VPC"}},
		{"errors-dry-run", "Action=DeleteVpc", "</Code>", "X</Code>", []string{"delete an absent VPC"}},
		{"errors-cloudformation", "Action=ListImports", "is not imported", "isn't imported", []string{"imports of an absent export"}},
		{"errors-templates", "SNS%3A%3ANothing", "Unrecognized", "Unknown", []string{"unknown type"}},
		{"errors-eks", "GET /clusters/poolhouse-calibrate-absent/node-groups/", "ound", "ost", []string{"node group"}},
		{"errors-services", "TrentService.DescribeKey", "alias", "alien", []string{"key by alias"}},
		{"update-change-sets", "Action=DescribeChangeSet&ChangeSetName=poolhouse-calibrate-update", "<Action>Modify<", "<Action>Dynamic<", []string{"standing Topic"}},
		{"change-sets", "Action=DescribeChangeSet&ChangeSetName=poolhouse-calibrate-topic", "<Action>Add<", "<Action>Import<", []string{"topic Topic"}},
	}
}

// TestPlantedDifferences changes one thing in what the account answers for each
// probe, and finds it.
func TestPlantedDifferences(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"images": true} // the sandbox has nothing to change
	for _, tc := range plants() {
		seen[tc.probe] = true
		t.Run(tc.probe, func(t *testing.T) {
			t.Parallel()
			p := &planted{next: standing(t, sandbox.Options{}), mark: tc.mark, old: tc.old, new: tc.new}
			o := calibrate.Options{Account: reach(p, "us-east-1"), Only: []string{tc.probe}, Templates: reviewed, Stacks: []string{"standing", "absent"}, Deploy: stand}
			got := differing(run(t, o))
			if p.hits == 0 {
				t.Fatal("nothing was planted")
			}
			if diff := cmp.Diff(map[string][]string{tc.probe: tc.want}, got); diff != "" {
				t.Errorf("differences, -want +got:\n%s", diff)
			}
		})
	}
	for _, p := range calibrate.Probes() {
		if !seen[p.ID] {
			t.Errorf("no difference is planted for probe %s", p.ID)
		}
	}
}

// TestAllPlantedDifferences changes all of these things at once: they are found,
// and nothing else.
func TestAllPlantedDifferences(t *testing.T) {
	t.Parallel()
	var account http.Handler = standing(t, sandbox.Options{})
	want := map[string][]string{}
	for _, tc := range plants() {
		account = &planted{next: account, mark: tc.mark, old: tc.old, new: tc.new}
		want[tc.probe] = tc.want
	}
	if diff := cmp.Diff(want, differing(run(t, calibrate.Options{Account: reach(account, "us-east-1"), Templates: reviewed, Stacks: []string{"standing", "absent"}, Deploy: stand}))); diff != "" {
		t.Errorf("differences, -planted +found:\n%s", diff)
	}
}

// TestDenied tells what it was not allowed to see, and compares the rest.
func TestDenied(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{Intercept: func(_ *http.Request, service, operation string) error {
		if service == "eks" && operation == "DescribeClusterVersions" || operation == "DescribeRouteTables" {
			return &account.Error{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: " + service + ":" + operation, Status: http.StatusForbidden}
		}
		return nil
	}})
	r := run(t, calibrate.Options{Account: reach(box, "us-east-1"), Only: []string{"eks-versions", "default-vpc", "errors-ec2"}})
	if d := differing(r); len(d) > 0 {
		t.Errorf("differences: %v", d)
	}
	got := map[string][]calibrate.Unseen{}
	for _, x := range r.Results {
		got[x.ID] = x.Unseen
	}
	denied := "denied: User: x is not authorized to perform: "
	want := map[string][]calibrate.Unseen{
		"eks-versions": {{Side: "account", Why: denied + "eks:DescribeClusterVersions"}},
		"default-vpc":  {{Name: "route", Side: "account", Why: denied + "ec2:DescribeRouteTables"}},
		"errors-ec2": {
			{Name: "absent route table", Side: "account", Why: denied + "ec2:DescribeRouteTables"},
			{Name: "malformed route table", Side: "account", Why: denied + "ec2:DescribeRouteTables"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not seen, -want +got:\n%s", diff)
	}
}

// TestCallsAreListed makes no call that the probe doesn't list, none that
// changes anything, and makes each that is listed.
func TestCallsAreListed(t *testing.T) {
	t.Parallel()
	for _, p := range calibrate.Probes() {
		t.Run(p.ID, func(t *testing.T) {
			t.Parallel()
			made := map[string]bool{}
			box := standing(t, sandbox.Options{OnCall: func(c sandbox.Call) { made[c.Service+":"+c.Operation] = true }})
			clear(made)
			o := calibrate.Options{Account: reach(box, "us-east-1"), Only: []string{p.ID}}
			if p.Writes {
				o.Templates, o.Stacks, o.Deploy = reviewed, []string{"standing"}, stand
			}
			run(t, o)
			want := map[string]bool{}
			for _, c := range calibrate.Permissions([]calibrate.Probe{p}) {
				want[c] = true
			}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Errorf("calls, -listed +made:\n%s", diff)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	t.Parallel()
	ids := func(o calibrate.Options) (out []string) {
		for _, p := range o.Chosen() {
			out = append(out, p.ID)
		}
		return out
	}
	if got := ids(calibrate.Options{}); slices.Contains(got, "change-sets") || len(got) != len(calibrate.Probes())-2 {
		t.Errorf("without templates: %v", got)
	}
	if got := ids(calibrate.Options{Only: []string{"eks-*", "zones"}}); !slices.Equal(got, []string{"zones", "eks-versions", "eks-addons", "eks-access-policies"}) {
		t.Errorf("some: %v", got)
	}
	if err := (calibrate.Options{Only: []string{"zone"}}).Known(); err == nil || err.Error() != `no probe has the id "zone"` {
		t.Errorf("got %v", err)
	}
}

// TestNoWay ends before anything is asked.
func TestNoWay(t *testing.T) {
	t.Parallel()
	box := testkit.Sandbox(t, sandbox.Options{Intercept: func(*http.Request, string, string) error {
		return &account.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: http.StatusForbidden}
	}})
	_, err := calibrate.Run(t.Context(), calibrate.Options{Account: reach(box, "us-east-1")})
	if err == nil || !strings.HasPrefix(err.Error(), "ask who the caller is: ") || awsapi.Code(err) != "ExpiredToken" {
		t.Errorf("got %v", err)
	}
}
