package depcheck_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestObserved holds tests to making sandboxes by testkit.Sandbox, which holds
// what goes over their wire to AWS's service models where these are at hand.
func TestObserved(t *testing.T) {
	t.Parallel()
	direct := regexp.MustCompile(`\bsandbox\.New\(`)
	ways := 0
	err := filepath.WalkDir(top(), func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && file != top() && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		ways += strings.Count(string(body), "testkit.Sandbox(t, ")
		for i, line := range strings.Split(string(body), "\n") {
			if direct.MatchString(line) && !strings.Contains(line, "MustCompile") {
				t.Errorf("%s:%d: make it with testkit.Sandbox(t, options): sandbox.New leaves its exchanges unchecked", file, i+1)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if ways < 50 {
		t.Errorf("found %d uses of testkit.Sandbox only", ways)
	}
}
