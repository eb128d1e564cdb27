package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// faultFlags are the flags that say what goes wrong.
type faultFlags struct{ files, inline []string }

func (f *faultFlags) register(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.files, "faults", nil, "file of what goes wrong; may be given several times")
	c.Flags().StringArrayVar(&f.inline, "fault", nil, "one thing that goes wrong, as in such a file, in braces; may be given several times")
	// Its error says that there is no such flag.
	_ = c.MarkFlagFilename("faults", "yaml", "yml")
}

// sources reads the files.
func (f *faultFlags) sources() ([]rehearse.Faults, error) {
	var out []rehearse.Faults
	for _, name := range f.files {
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, &usageError{fmt.Errorf("read faults: %w", err)}
		}
		out = append(out, rehearse.Faults{Name: name, Source: src})
	}
	for _, one := range f.inline {
		out = append(out, rehearse.Faults{Name: "--fault", Source: []byte("faults: [" + one + "]")})
	}
	return out, nil
}

// listed are mistakes in files of faults as faults of a file.
func listed(ms fault.Mistakes) []config.Fault {
	out := make([]config.Fault, len(ms))
	for i, m := range ms {
		out[i] = config.Fault{File: m.File, Line: m.Line, Column: m.Column, Path: m.Path, Reason: m.Reason, Fix: m.Fix}
		if m.File == "--fault" {
			out[i].Line, out[i].Column = 0, 0
		}
	}
	return out
}
