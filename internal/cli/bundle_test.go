package cli_test

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/poolhouse/poolhouse/internal/samplebundle"
)

// writeSample FOLDER writes the sources of the sample bundle, with stubs for
// programs.
func writeSample(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sample FOLDER")
	}
	_, err := samplebundle.Write(ts.MkAbs(args[0]), samplebundle.Stub)
	ts.Check(err)
}
