package diagnosis

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// matching are the ids of all entries that are about a failure, by rank.
func matching(f Failure) map[Rank][]string {
	m := map[Rank][]string{}
	for _, e := range Catalogue() {
		if _, ok := e.match(f); ok {
			m[e.Rank] = append(m[e.Rank], e.ID)
		}
	}
	return m
}

// TestL34EveryKnownFailureIsRecognised: what AWS says is taken for the one entry
// that it belongs to, and no other of its rank says the same.
func TestL34EveryKnownFailureIsRecognised(t *testing.T) {
	t.Parallel()
	for _, e := range Catalogue() {
		if len(e.Examples) == 0 {
			t.Errorf("%s has no example", e.ID)
		}
		for _, f := range e.Examples {
			got := Diagnose(f)
			if got.Known != e.ID || got.Cause == "" || got.Next == "" || got.Document != e.Document {
				t.Errorf("%q of a %s is taken for %+v, want %s", f.Reason, f.Type, got, e.ID)
			}
			if all := matching(f); len(all[e.Rank]) != 1 {
				t.Errorf("%q of a %s is ambiguous: %v", f.Reason, f.Type, all)
			}
			if strings.ContainsAny(got.Cause+got.Next, "{}") {
				t.Errorf("%s: a value is missing: %s; %s", e.ID, got.Cause, got.Next)
			}
		}
	}
}

// TestCatalogueIsWhole holds the entries to what the page and the commands show
// of them.
func TestCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	settings, err := os.ReadFile(filepath.Join("..", "docs", "reference", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`\b(network|cluster|compute|database|storage|registry|access|dns|certificate|backups|waf)((\[\])?\.[a-z][A-Za-z]*)+\b`)
	document := regexp.MustCompile(`^https://(docs\.aws\.amazon\.com|repost\.aws)/\S+$`)
	command := regexp.MustCompile(`poolhouse ([a-z]+)`)
	commands, err := os.ReadFile(filepath.Join("..", "docs", "reference", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range Catalogue() {
		if ids[e.ID] || e.ID == "" || e.Cause == "" || e.Next == "" || e.Area == "" {
			t.Errorf("%q is there twice, or lacks something: %+v", e.ID, e)
		}
		ids[e.ID] = true
		if !document.MatchString(e.Document) {
			t.Errorf("%s rests on %q", e.ID, e.Document)
		}
		if len(e.Types)+len(e.Codes)+len(e.Words) == 0 || e.Rank == Exact && len(e.Words) == 0 {
			t.Errorf("%s says nothing exact of what it is about", e.ID)
		}
		for _, pattern := range e.Types {
			if _, err := path.Match(pattern, ""); err != nil {
				t.Errorf("%s: pattern %s: %v", e.ID, pattern, err)
			}
		}
		for _, text := range []string{e.Cause, e.Next} {
			for _, p := range pieces(text) {
				if !p.value || nameless[p.name] != "" {
					continue
				}
				for _, phrase := range e.Words {
					if !slices.ContainsFunc(pieces(phrase), func(q piece) bool { return q.value && q.name == p.name }) {
						t.Errorf("%s: {%s} is not in %q", e.ID, p.name, phrase)
					}
				}
			}
			for _, s := range setting.FindAllString(text, -1) {
				if !strings.Contains(string(settings), "`"+s+"`") {
					t.Errorf("%s: there is no setting %s", e.ID, s)
				}
			}
			for _, c := range command.FindAllStringSubmatch(text, -1) {
				if c[1] != "and" && !strings.Contains(string(commands), "### "+c[1]+"\n") {
					t.Errorf("%s: there is no command %s", e.ID, c[1])
				}
			}
		}
	}
	if len(ids) < 100 {
		t.Errorf("%d entries", len(ids))
	}
}

// TestL34SandboxFailuresAreKnown: every error that the sandbox can be told to
// answer with is in the catalogue.
func TestL34SandboxFailuresAreKnown(t *testing.T) {
	t.Parallel()
	for _, e := range fault.Catalogue() {
		typ := strings.ReplaceAll(e.Types, "*", "Bucket")
		if got := Diagnose(Failure{Type: typ, Code: e.Code, Reason: e.Message}); got.Known == "" {
			t.Errorf("%s (%s): %q is not known", e.Name, typ, e.Message)
		}
	}
}

func TestUnknownIsSaidToBe(t *testing.T) {
	t.Parallel()
	f := Failure{Stack: "s", Resource: "R", PhysicalID: "r-1", Type: "AWS::New::Thing", Reason: "a new kind of trouble"}
	want := Root{Stack: "s", Resource: "R", PhysicalID: "r-1", Type: "AWS::New::Thing", Reason: f.Reason, Cause: unknown.Cause, Next: unknown.Next}
	if diff := cmp.Diff(want, Diagnose(f)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValuesOfTheReason(t *testing.T) {
	t.Parallel()
	got := Diagnose(bare("AWS::IAM::Role", "Role with name poolside-nodes already exists."))
	if !strings.Contains(got.Next, "delete the role poolside-nodes if") {
		t.Errorf("the next step is %q", got.Next)
	}
	for _, tc := range []struct {
		phrase, reason string
		want           map[string]string
	}{
		{"a {x} b", "A c B", map[string]string{"x": "c"}},
		{"key {x} is", "key KEY is key 'é' is", map[string]string{"x": "KEY"}},
		{"limit of {n}", "the limit of 5).", map[string]string{"n": "5"}},
		{"a {x} b", "a  b", nil},
		{"a {_} b", "a c b", map[string]string{}},
		{"none", "some", nil},
		{"", "", map[string]string{}},
	} {
		v, ok := find(tc.phrase, tc.reason)
		if diff := cmp.Diff(tc.want, v); diff != "" || ok != (tc.want != nil) {
			t.Errorf("%q in %q: %v (-want +got):\n%s", tc.phrase, tc.reason, ok, diff)
		}
	}
}

// TestDiagnoseIsTotal: whatever is said, by whomever, has a cause and a next
// step, and what is known depends on no order within a rank.
func TestDiagnoseIsTotal(t *testing.T) {
	t.Parallel()
	var examples []Failure
	for _, e := range Catalogue() {
		examples = append(examples, e.Examples...)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(examples).Draw(t, "example")
		cut := rapid.IntRange(0, len(f.Reason)).Draw(t, "cut")
		f.Reason = rapid.String().Draw(t, "before") + f.Reason[cut:] + rapid.String().Draw(t, "after")
		total(t, f)
	})
}

func total(t interface{ Errorf(string, ...any) }, f Failure) {
	got := Diagnose(f)
	if got.Cause == "" || got.Next == "" || got.Reason != f.Reason {
		t.Errorf("%+v of %+v", got, f)
	}
}

func FuzzDiagnose(f *testing.F) {
	for _, e := range Catalogue() {
		for _, x := range e.Examples {
			f.Add(x.Type, x.Code, x.Reason)
		}
	}
	f.Add("", "", "HandlerErrorCode: ")
	f.Fuzz(func(t *testing.T, typ, code, reason string) {
		total(t, Failure{Type: typ, Code: code, Reason: reason})
	})
}
