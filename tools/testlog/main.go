// Command testlog reads what `go test -json` prints and says it shortly: a line
// for each package, the output of what failed, and the tests that were left out.
//
//	go test -json ./... | testlog [-allow REGEXP]
//
// It fails if a test failed, if a test was left out whose name the expression
// doesn't match, or if nothing was tested at all.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	allow := flag.String("allow", "^$", "names of tests that may be left out")
	flag.Parse()
	ok, err := read(os.Stdin, os.Stdout, *allow)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// event is a line of test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

func read(in io.Reader, out io.Writer, allow string) (ok bool, err error) {
	allowed, err := regexp.Compile(allow)
	if err != nil {
		return false, err
	}
	said := map[string][]string{} // by package and test
	var skipped []string
	packages, failed := 0, 0
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			said[key] = append(said[key], e.Output)
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "skip":
			if e.Test != "" && !allowed.MatchString(e.Test) {
				skipped = append(skipped, key+": "+reason(said[key]))
			}
			delete(said, key)
		case "pass":
			if e.Test == "" {
				packages++
				fmt.Fprintf(out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
			}
			delete(said, key)
		case "fail":
			failed++
			name := e.Package
			if e.Test != "" {
				name = key
			}
			fmt.Fprintf(out, "FAIL  %s  %.1fs\n%s", name, e.Elapsed, strings.Join(said[key], ""))
			delete(said, key)
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	if len(skipped) > 0 {
		slices.Sort(skipped)
		fmt.Fprintf(out, "left out:\n%s\n", strings.Join(skipped, "\n"))
	}
	fmt.Fprintf(out, "%d packages passed, %d failures, %d tests left out\n", packages, failed, len(skipped))
	return failed == 0 && packages > 0 && len(skipped) == 0, nil
}

// reason is what a test that was left out said of it.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			return line
		}
	}
	return "no reason given"
}
