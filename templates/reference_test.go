package templates_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/templates"
)

const architecturePage = "../docs/architecture.md"

// TestReferenceIsAnswered holds the reference's rows, the page about them and
// the templates together: every pattern of a row finds a resource in one of
// the examples, and the page says what the code says.
func TestReferenceIsAnswered(t *testing.T) {
	type resource struct {
		stack architecture.StackName
		id    string
	}
	types := map[resource]string{}
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples (%v), want at least 6", len(files), err)
	}
	for _, f := range files {
		c, err := config.LoadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := architecture.New(c)
		if err != nil {
			t.Fatal(err)
		}
		all, err := templates.All(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			for _, r := range s.Template.Resources() {
				types[resource{s.Name, string(r.ID)}] = r.Type
			}
		}
	}
	var table strings.Builder
	table.WriteString("| Row | The reference asks for | Answered by |\n|---|---|---|\n")
	for _, row := range architecture.Reference() {
		if len(row.By) == 0 && row.Note == "" {
			t.Errorf("row %s is answered by nothing", row.ID)
		}
		var cells []string
		for _, m := range row.By {
			var found []string
			for r, typ := range types {
				if m.Fits(r.stack, r.id) && !slices.Contains(found, typ) {
					found = append(found, typ)
				}
			}
			if len(found) == 0 {
				t.Errorf("row %s: no example has %s in stack %s", row.ID, m.Pattern, m.Stack)
			}
			slices.Sort(found)
			cells = append(cells, fmt.Sprintf("%s: `%s` (%s)", m.Stack, m.Pattern, strings.ReplaceAll(strings.Join(found, ", "), "AWS::", "")))
		}
		if row.Note != "" {
			cells = append(cells, row.Note)
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", row.ID, row.Asks, strings.Join(cells, "<br>"))
	}
	page, err := os.ReadFile(architecturePage)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)(<!-- reference -->\n).*(<!-- end of reference -->)`)
	testkit.Golden(t, architecturePage, []byte(part.ReplaceAllString(string(page), "${1}"+table.String()+"${2}")))
}
