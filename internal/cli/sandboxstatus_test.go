package cli_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// sandboxStatus runs poolhouse sandbox status with variables in its environment.
func sandboxStatus(t *testing.T, env []string, args ...string) (code int, out, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "poolhouse", append([]string{"sandbox", "status"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "HTTP_PROXY=http://127.0.0.1:1"}, env...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // the exit code tells
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// What a sandbox holds is told to another shell, with the processes and addresses
// of the servers behind it.
func TestSandboxStatus(t *testing.T) {
	t.Parallel()
	without, plane := "oidc,postgres,s3,ecr", ""
	if os.Getenv("POOLHOUSE_PLANE_S3") != "" {
		without, plane = "oidc,postgres,ecr", "s3"
	}
	served, env := serveSandbox(t, "--without", without)
	client := cloudformation.New(cloudformation.Options{Region: "us-east-1", BaseEndpoint: &served.URL, Credentials: credentials.NewStaticCredentialsProvider(served.Environment[3].Value, served.Environment[4].Value, "")})
	template := `{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}`
	if _, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String("house-topics"), TemplateBody: &template, Tags: []types.Tag{{Key: aws.String("poolhouse:deployment"), Value: aws.String("house")}},
	}); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := sandboxStatus(t, env)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"account 123456789012 in us-east-1, answers at " + served.URL + ": process ", "Nothing of it is kept.", "house-topics", "CREATE_", "There are no databases.", "export AWS_ENDPOINT_URL=" + served.URL, "curl --proxy http://127.0.0.1:", "dig @127.0.0.1 -p "} {
		if !strings.Contains(out, want) {
			t.Errorf("it says nothing of %q:\n%s", want, out)
		}
	}
	// The same by --at, whatever the environment says.
	code, out, stderr = sandboxStatus(t, []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1"}, "--at", served.URL, "--output", "json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var got struct {
		Endpoint  string
		Process   int
		Resources int
		Stacks    []struct{ Name, Status, Deployment string }
		Databases []struct{}
		Planes    []struct {
			Name      string
			Process   int
			Addresses map[string]string
		}
		DNS, Proxy string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	switch {
	case got.Endpoint != served.URL, got.Process == 0, got.Resources == 0, got.DNS == "", got.Proxy == "", got.Databases == nil:
		t.Errorf("it says %s", out)
	case len(got.Stacks) != 1 || got.Stacks[0].Name != "house-topics" || got.Stacks[0].Deployment != "house":
		t.Errorf("stacks %+v", got.Stacks)
	}
	if plane == "" {
		if len(got.Planes) > 0 {
			t.Errorf("planes %+v", got.Planes)
		}
		return
	}
	if len(got.Planes) != 1 || got.Planes[0].Name != plane || got.Planes[0].Process != served.Planes[0].Process {
		t.Fatalf("planes %+v", got.Planes)
	}
	for _, at := range got.Planes[0].Addresses {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(got.Planes[0].Addresses) == 0 {
		t.Error("it has no addresses")
	}
}

// Pages of websites can't ask a sandbox what it is, and where none runs, or
// something else, that is said with what to do.
func TestSandboxStatusOfNone(t *testing.T) {
	t.Parallel()
	served, _ := serveSandbox(t, "--without", "oidc,postgres,s3,ecr")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, served.URL+"/_poolhouse/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example.com"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode == http.StatusOK {
		t.Error(resp.Status, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	for _, x := range []struct {
		at    string
		code  int
		wants []string
	}{
		{free, 1, []string{"error: no sandbox answers at " + free + ": connection refused", "poolhouse sandbox starts one; --at URL names one at another address"}},
		{web.URL, 1, []string{"error: what answers at " + web.URL + " is no sandbox of this program: it says 404 Not Found"}},
		{"https://sts.us-east-1.amazonaws.com", 2, []string{"error: https://sts.us-east-1.amazonaws.com is no sandbox's: they answer by http on loopback addresses"}},
	} {
		code, out, stderr := sandboxStatus(t, []string{"AWS_ENDPOINT_URL=" + x.at})
		if code != x.code || out != "" {
			t.Errorf("%s: exit code %d, %s", x.at, code, out)
		}
		for _, want := range x.wants {
			if !strings.Contains(strings.Join(strings.Fields(stderr), " "), want) {
				t.Errorf("%s: the error lacks %q:\n%s", x.at, want, stderr)
			}
		}
	}
}
