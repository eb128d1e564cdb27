package diagnosis

import (
	"bytes"
	"fmt"
	"strings"
)

// Page is the reference page of the catalogue, as Markdown.
func Page() []byte {
	var b bytes.Buffer
	all := Catalogue()
	fmt.Fprintf(&b, `# Known failures

This page is generated from the code. When a stack fails, create, update, delete and
status name the first failure that is one, not what was cancelled because of it, and
what most likely lies behind it. These are the %d failures that are known; of any other
the command says that it is not. Values of the reason stand in braces.
`, len(all))
	area := ""
	for _, e := range all {
		if e.Area != area {
			area = e.Area
			fmt.Fprintf(&b, "\n## %s\n", area)
		}
		fmt.Fprintf(&b, "\n### %s\n\n", e.ID)
		if len(e.Types) > 0 {
			fmt.Fprintf(&b, "- Happens to: `%s`\n", strings.Join(e.Types, "`, `"))
		}
		if len(e.Codes) > 0 {
			fmt.Fprintf(&b, "- Code: `%s`\n", strings.Join(e.Codes, "`, `"))
		}
		if len(e.Words) > 0 {
			fmt.Fprintf(&b, "- Says: \"%s\"\n", strings.Join(e.Words, "\", \""))
		}
		fmt.Fprintf(&b, "- Likely cause: %s.\n- Next: %s.\n- [AWS's document](%s)\n", e.Cause, e.Next, e.Document)
	}
	return b.Bytes()
}
