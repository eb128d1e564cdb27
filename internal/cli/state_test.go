package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// keptSandbox is a sandbox in a process of its own that keeps its account.
type keptSandbox struct {
	command *exec.Cmd
	stderr  bytes.Buffer
	aws     *awsapi.Clients
	client  *ssm.Client // tries once
	said    struct {
		Endpoint, Region, DNS, CA string
		State                     struct {
			Found, Dropped    bool
			Resources, Stacks int
		}
	}
}

func startKept(t *testing.T, args ...string) *keptSandbox {
	t.Helper()
	k := &keptSandbox{}
	k.command = exec.Command("poolhouse", append([]string{"sandbox", "--without", "s3,ecr", "--listen", "127.0.0.1:0", "--output", "json"}, args...)...)
	k.command.Stderr = &k.stderr
	out, err := k.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.kill)
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&k.said); err != nil {
		t.Fatalf("%v\n%s", err, &k.stderr)
	}
	k.aws, err = awsapi.New(t.Context(), awsapi.Options{
		Region: k.said.Region, Endpoint: k.said.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.client = ssm.New(k.aws.SSM.Options(), func(o *ssm.Options) { o.Retryer = aws.NopRetryer{} })
	return k
}

// kill ends the process as no process can prevent, and waits until it is gone.
func (k *keptSandbox) kill() {
	_ = k.command.Process.Kill()
	_ = k.command.Wait()
}

// TestKilledSandboxLosesNothing kills a sandbox while it answers, again and
// again: what it had answered is there the next time.
func TestKilledSandboxLosesNothing(t *testing.T) {
	dir := t.TempDir()
	written := 0
	for round := range 4 {
		k := startKept(t, "--state", dir)
		if found := k.said.State.Found; found != (round > 0) {
			t.Fatalf("round %d: found is %v", round, found)
		}
		for i := range written {
			name := fmt.Sprintf("/n/%d", i)
			if _, err := k.client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name}); err != nil {
				t.Fatalf("round %d: %s was answered and is lost: %v", round, name, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan int)
		go func() {
			n := written
			defer func() { answered <- n }()
			for ctx.Err() == nil {
				_, err := k.client.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(fmt.Sprintf("/n/%d", n)), Value: aws.String("x"), Type: types.ParameterTypeString, Overwrite: aws.Bool(true)})
				if err != nil {
					return
				}
				if n++; n%15 == 0 {
					go k.command.Process.Signal(os.Kill)
				}
			}
		}()
		written = <-answered
		cancel()
		k.kill()
	}
	if written < 60 {
		t.Errorf("only %d requests were answered", written)
	}
}

// TestStateHasOneProcess names the process that has a folder, and what doesn't
// go together with what is in it.
func TestStateHasOneProcess(t *testing.T) {
	dir := t.TempDir()
	k := startKept(t, "--state", dir, "--region", "eu-central-1", "--seed", "3")
	run := func(args ...string) string {
		out, err := exec.Command("poolhouse", append([]string{"sandbox", "--without", "s3,ecr", "--listen", "127.0.0.1:0", "--state", dir}, args...)...).CombinedOutput()
		if err == nil {
			t.Errorf("%v: it was taken", args)
		}
		// Long lines are folded.
		return strings.ReplaceAll(string(out), "\n  ", " ")
	}
	if got, want := run(), fmt.Sprintf("error: state %s is in use by the process %d; end that sandbox, or use another folder\n", dir, k.command.Process.Pid); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := k.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := k.command.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, &k.stderr)
	}
	for _, tc := range []struct{ flag, value, want string }{
		{"--region", "us-east-1", "error: --region is us-east-1: " + dir + " keeps account 123456789012 in eu-central-1\n"},
		{"--seed", "4", "error: --seed is 4 and was 3: " + dir},
		{"--fresh", "", "error: --fresh is true and was false: "},
		{"--for", "../../examples/evaluation.yaml", "error: ../../examples/evaluation.yaml is for account 123456789012 in us-east-1: "},
	} {
		args := []string{tc.flag}
		if tc.value != "" {
			args = append(args, tc.value)
		}
		if got := run(args...); !strings.HasPrefix(got, tc.want) || !strings.Contains(got, "hint: leave the flag out") {
			t.Errorf("%v: got %q, want %q", args, got, tc.want)
		}
	}
	k = startKept(t, "--state", dir, "--seed", "3")
	if k.said.Region != "eu-central-1" || !k.said.State.Found {
		t.Errorf("it said %+v", k.said)
	}
}

// TestFoundStateIsTold is what people read when an account goes on.
func TestFoundStateIsTold(t *testing.T) {
	dir := t.TempDir()
	for round, want := range []string{
		"The account is new, and " + dir + " keeps it.\n",
		"Found in " + dir + ": 0 stacks, 0 resources; its clock goes on from 20",
	} {
		out, errs := watch("Ctrl-C ends it; the account is kept.\n"), watch("")
		r := command(t, cli.Streams{Out: out, Err: errs}, "sandbox", "--without", "s3,ecr", "--listen", "127.0.0.1:0", "--state", dir)
		r.until(t, out.seen, "the sandbox", errs)
		if got := out.String(); !strings.Contains(got, want) {
			t.Errorf("round %d: got %s, want %q", round, got, want)
		}
		r.interrupt()
		if got := r.wait(); got != cli.Done {
			t.Errorf("round %d: exit code %d: %s", round, got, errs)
		}
	}
}

// TestCalibrateFindsADifference has an account with a version of Kubernetes
// that the sandbox doesn't have.
func TestCalibrateFindsADifference(t *testing.T) {
	box := testkit.Sandbox(t, sandbox.Options{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		box.ServeHTTP(rec, r)
		body := strings.Replace(rec.Body.String(), `"clusterVersion":"1.33"`, `"clusterVersion":"9.99"`, 1)
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.WriteHeader(rec.Code)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	for _, v := range rehearse.NewEndpoint(box, server.URL).Environment {
		t.Setenv(v.Name, v.Value)
	}
	var out, errs bytes.Buffer
	if got := cli.Run(t.Context(), []string{"sandbox", "calibrate", "--only", "eks-versions"}, cli.Streams{Out: &out, Err: &errs}); got != cli.Pending {
		t.Errorf("exit code %d, want %d: %s", got, cli.Pending, &errs)
	}
	for _, want := range []string{
		"eks-versions: 2 differences of 7 facts\n  1.33\n    account: nothing\n    sandbox: EXTENDED_SUPPORT",
		"  9.99\n    account: EXTENDED_SUPPORT",
		"\n2 differences in 7 facts\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}
