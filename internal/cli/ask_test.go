package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/cli"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/stack"
)

// typed gives one line at a read, as a terminal does.
type typed struct{ lines []string }

func (r *typed) Read(p []byte) (int, error) {
	if len(r.lines) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.lines[0]+"\n")
	r.lines = r.lines[1:]
	return n, nil
}

// TestL06DeleteAsks deletes a production deployment, of which one protected stack
// is there, at a terminal and without one: what becomes of the data is asked, then
// the name, then whether the protection may go, and any other answer leaves all as
// it is. Programs say it by --data and --yes.
func TestL06DeleteAsks(t *testing.T) {
	const speed = 3000
	began := time.Now()
	box := testkit.Sandbox(t, sandbox.Options{Region: "us-east-1", Fresh: true, Now: func() time.Time { return began.Add(time.Since(began) * speed) }})
	server := httptest.NewServer(box)
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, v := range rehearse.NewEndpoint(box, server.URL).Environment {
		t.Setenv(v.Name, v.Value)
	}
	src, err := os.ReadFile("../../examples/evaluation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "deployment.yaml")
	if err := os.WriteFile(file, bytes.Replace(src, []byte("profile: evaluation"), []byte("profile: production"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	driver := &stack.Driver{CFN: cloudformation.NewFromConfig(testkit.Config(box)), Clock: clock.NewScaled(speed)}
	const name = "poolside-identity"
	made := func() {
		t.Helper()
		body := `{"Resources":{"Group":{"Type":"AWS::Logs::LogGroup","Properties":{"LogGroupName":"group"}}}}`
		if _, err := driver.Apply(t.Context(), stack.Spec{Name: name, Template: []byte(body), Tags: map[string]string{deploy.Tag: "poolside"}}, nil); err != nil {
			t.Fatal(err)
		}
		if err := driver.Protect(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
	}
	made()
	const (
		asksData = "What becomes of the data of poolside? Type keep, snapshot or destroy: "
		asksName = "Type its name to go on: "
		asksLift = "Lift this protection? [y/N] "
	)
	for _, tt := range []struct {
		name    string
		flags   []string
		person  bool
		answers []string
		code    int
		gone    bool
		says    []string
		silent  []string
	}{
		{"nobody to ask", nil, false, nil, cli.Usage, false, []string{"--data is missing", "add --data keep, snapshot or destroy"}, []string{asksData}},
		{"nobody to ask, with --yes", []string{"--yes"}, false, nil, cli.Usage, false, []string{"--data is missing"}, nil},
		{"nobody to give the name", []string{"--data", "destroy"}, false, nil, cli.Usage, false, []string{"there is no terminal to answer on", "add --yes"}, nil},
		{"no answer about the data", nil, true, []string{""}, cli.Usage, false, []string{asksData}, []string{asksName}},
		{"another answer about the data", nil, true, []string{"perhaps"}, cli.Usage, false, []string{asksData, `not "perhaps"`}, []string{asksName}},
		{"another name", nil, true, []string{"destroy", "poolroom"}, cli.Failed, false, []string{asksData, asksName, "nothing was changed"}, []string{asksLift}},
		{"the protection stays", nil, true, []string{"destroy", "poolside", "no"}, cli.Failed, false, []string{asksLift, "stack identity, by termination protection", "nothing was changed"}, nil},
		{"all of it", nil, true, []string{"Destroy", "poolside", "y"}, cli.Done, true, []string{asksData, "destroy   Its data is destroyed.", asksName, asksLift}, nil},
		{"said beforehand", []string{"--data", "destroy", "--yes"}, true, nil, cli.Done, true, nil, []string{asksData, asksName, asksLift}},
	} {
		if st, err := driver.Describe(t.Context(), name); err != nil {
			t.Fatal(err)
		} else if st == nil {
			made()
		}
		var stdout, stderr bytes.Buffer
		in := &typed{tt.answers}
		code := cli.Run(context.Background(), append([]string{"delete", file}, tt.flags...), cli.Streams{
			In: in, Out: &stdout, Err: &stderr, Clock: clock.NewScaled(speed), Terminal: func(s any) bool { return tt.person && s == any(in) },
		})
		if code != tt.code || len(in.lines) != 0 {
			t.Errorf("%s: exit code %d, want %d; answers left: %q\n%s", tt.name, code, tt.code, in.lines, &stderr)
		}
		for _, s := range tt.says {
			if !strings.Contains(stderr.String(), s) {
				t.Errorf("%s: it does not say %q\n%s", tt.name, s, &stderr)
			}
		}
		for _, s := range tt.silent {
			if strings.Contains(stderr.String(), s) {
				t.Errorf("%s: it says %q\n%s", tt.name, s, &stderr)
			}
		}
		st, err := driver.Describe(t.Context(), name)
		if err != nil || tt.gone != (st == nil) || st != nil && !st.Protected {
			t.Errorf("%s: the stack is now %+v, %v", tt.name, st, err)
		}
	}
}
