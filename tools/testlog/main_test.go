package main

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const passed = `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1}
`
	const skipped = `{"Action":"output","Package":"p","Test":"TestOracle","Output":"=== RUN TestOracle\n"}
{"Action":"output","Package":"p","Test":"TestOracle","Output":"    a_test.go:1: no oracle\n"}
{"Action":"skip","Package":"p","Test":"TestOracle"}
`
	for name, c := range map[string]struct {
		in, allow string
		ok        bool
		want      string
	}{
		"passed":   {passed, "^$", true, "1 packages passed"},
		"nothing":  {"", "^$", false, "0 packages passed"},
		"left out": {skipped + passed, "^$", false, "p TestOracle: a_test.go:1: no oracle"},
		"allowed":  {skipped + passed, "^TestOracle", true, "0 tests left out"},
		"failed":   {`{"Action":"output","Package":"p","Test":"TestB","Output":"bad\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestB"}` + "\n" + passed, "^$", false, "bad"},
		"build":    {`{"ImportPath":"p","Action":"build-output","Output":"undefined: x\n"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}` + "\n" + `{"Action":"fail","Package":"p","FailedBuild":"p"}`, "^$", false, "undefined: x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			ok, err := read(strings.NewReader(c.in), &out, c.allow)
			if err != nil {
				t.Fatal(err)
			}
			if ok != c.ok || !strings.Contains(out.String(), c.want) {
				t.Errorf("ok %t, want %t with %q:\n%s", ok, c.ok, c.want, &out)
			}
		})
	}
}
