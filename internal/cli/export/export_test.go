package export_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/cli/export"
	"github.com/poolhouse/poolhouse/templates"
)

func example(t *testing.T, name string) *architecture.Architecture {
	t.Helper()
	c, err := config.LoadFile("../../../examples/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	a, err := architecture.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(t *testing.T, a *architecture.Architecture) string {
	t.Helper()
	set, err := export.Make(a)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := set.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCommandsFillEveryParameter holds the README's commands and the parameters
// files to the templates: what has no default is filled, in the order of the
// stacks.
func TestCommandsFillEveryParameter(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"evaluation", "production", "self-managed-nat", "enterprise-dns", "gpu-inference", "minimal-egress", "existing-network"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := example(t, name)
			dir := write(t, a)
			stacks, err := templates.All(a)
			if err != nil {
				t.Fatal(err)
			}
			page, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			rest := string(page)
			for _, s := range stacks {
				begin := "aws cloudformation deploy --stack-name " + s.StackName + " "
				i := strings.Index(rest, begin)
				if i < 0 {
					t.Fatalf("no command for stack %s after the ones before it", s.Name)
				}
				rest = rest[i:]
				command := rest[:strings.Index(rest, "```")]
				file := regexp.MustCompile(`--template-file (\S+)`).FindStringSubmatch(command)[1]
				body, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(string(body)) != string(s.Body) {
					t.Errorf("%s is not the template that would be sent", file)
				}
				var given []struct{ ParameterKey, ParameterValue string }
				read(t, filepath.Join(dir, strings.Replace(file, ".template.", ".parameters.", 1)), &given)
				listed := map[string]string{}
				for _, p := range given {
					listed[p.ParameterKey] = p.ParameterValue
				}
				for _, in := range s.Inputs {
					if want := "    " + in.Parameter + `="$(out ` + in.Stack + " " + in.Output + `)"`; !strings.Contains(command, want) {
						t.Errorf("stack %s: no %q in its command", s.Name, want)
					}
				}
				for _, p := range s.Parameters {
					v, ok := listed[p.Name]
					if !ok {
						t.Errorf("stack %s: parameter %s is not in its file", s.Name, p.Name)
					}
					if p.HasDefault && !strings.HasPrefix(v, "<") {
						continue
					}
					if !strings.Contains(command, "    "+p.Name+"=") {
						t.Errorf("stack %s: parameter %s is not in its command", s.Name, p.Name)
					}
				}
				if len(listed) != len(s.Inputs)+len(s.Parameters) {
					t.Errorf("stack %s: %d parameters in its file, want %d", s.Name, len(listed), len(s.Inputs)+len(s.Parameters))
				}
			}
		})
	}
}

func read(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCommandsAreShell lets bash read the commands.
func TestCommandsAreShell(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	a := example(t, "production")
	a.Tags["it's"] = `a "quoted" $value`
	page, err := os.ReadFile(filepath.Join(write(t, a), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```bash\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		script.WriteString(block[1])
	}
	check := exec.Command(bash, "-n")
	check.Stdin = strings.NewReader(script.String())
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	tags := exec.Command(bash, "-c", regexp.MustCompile(`(?m)^TAGS=.*$`).FindString(script.String())+`; printf '%s\n' "${TAGS[@]}"`)
	out, err := tags.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := `it's=a "quoted" $value`; !strings.Contains(string(out), want+"\n") {
		t.Errorf("bash reads the tags as %q, want %q among them", out, want)
	}
}

// TestExistingNetworkIsLeftAlone: by hand too nobody empties the default
// security group of a network that was there.
func TestExistingNetworkIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"production": true, "existing-network": false} {
		page, err := os.ReadFile(filepath.Join(write(t, example(t, name)), "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(page), "revoke-security-group"); got != want {
			t.Errorf("%s: the default group is emptied: %v, want %v", name, got, want)
		}
	}
}
