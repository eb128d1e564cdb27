package template_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/stack/template"
)

// TestShortForms: each function that has a short form, with what each may stand
// before, means its long form.
func TestShortForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"!Ref Name":                           `{"Ref":"Name"}`,
		"!Ref AWS::Region":                    `{"Ref":"AWS::Region"}`,
		"!Ref 123":                            `{"Ref":"123"}`,
		"!GetAtt Vpc.CidrBlock":               `{"Fn::GetAtt":["Vpc","CidrBlock"]}`,
		"!GetAtt Inner.Outputs.Name":          `{"Fn::GetAtt":["Inner","Outputs.Name"]}`,
		"!GetAtt [Vpc, CidrBlock]":            `{"Fn::GetAtt":["Vpc","CidrBlock"]}`,
		"!GetAtt [Vpc, !Ref Name]":            `{"Fn::GetAtt":["Vpc",{"Ref":"Name"}]}`,
		"!GetAtt\n    - Vpc\n    - CidrBlock": `{"Fn::GetAtt":["Vpc","CidrBlock"]}`,
		"!Sub '${A}-x'":                       `{"Fn::Sub":"${A}-x"}`,
		"!Sub [\"${A}\", {A: !Ref B}]":        `{"Fn::Sub":["${A}",{"A":{"Ref":"B"}}]}`,
		"!Sub |\n    one ${A}\n    two\n":     `{"Fn::Sub":"one ${A}\ntwo\n"}`,
		"!Sub >-\n    one\n    two\n":         `{"Fn::Sub":"one two"}`,
		"!Join ['', [a, !Ref B]]":             `{"Fn::Join":["",["a",{"Ref":"B"}]]}`,
		"!Join\n  - ''\n  - - a\n    - 1":     `{"Fn::Join":["",["a",1]]}`,
		"!Select [0, !GetAZs '']":             `{"Fn::Select":[0,{"Fn::GetAZs":""}]}`,
		"!GetAZs":                             `{"Fn::GetAZs":""}`,
		"!GetAZs {Ref: AWS::Region}":          `{"Fn::GetAZs":{"Ref":"AWS::Region"}}`,
		"!Split [',', 'a,b']":                 `{"Fn::Split":[",","a,b"]}`,
		"!If [C, !Ref A, !Ref AWS::NoValue]":  `{"Fn::If":["C",{"Ref":"A"},{"Ref":"AWS::NoValue"}]}`,
		"!Equals [!Ref A, yes]":               `{"Fn::Equals":[{"Ref":"A"},true]}`,
		"!And [!Condition A, !Or [!Condition B, !Not [!Condition C]]]": `{"Fn::And":[{"Condition":"A"},{"Fn::Or":[{"Condition":"B"},{"Fn::Not":[{"Condition":"C"}]}]}]}`,
		"!FindInMap [Map, !Ref AWS::Region, Ami]":                      `{"Fn::FindInMap":["Map",{"Ref":"AWS::Region"},"Ami"]}`,
		"!ImportValue other-vpc":                                       `{"Fn::ImportValue":"other-vpc"}`,
		"!Base64 true":                                                 `{"Fn::Base64":"true"}`,
		"\n    Fn::Base64: !Sub x":                                     `{"Fn::Base64":{"Fn::Sub":"x"}}`,
		"!Cidr [!GetAtt Vpc.CidrBlock, 6, 8]":                          `{"Fn::Cidr":[{"Fn::GetAtt":["Vpc","CidrBlock"]},6,8]}`,
		"!Transform {Name: AWS::Include, Parameters: {Location: x}}":   `{"Fn::Transform":{"Name":"AWS::Include","Parameters":{"Location":"x"}}}`,
		"!Transform\n    Name: AWS::Include\n":                         `{"Fn::Transform":{"Name":"AWS::Include"}}`,
		"!ToJsonString {A: [1]}":                                       `{"Fn::ToJsonString":{"A":[1]}}`,
		"{Fn::GetAtt: [Vpc, CidrBlock]}":                               `{"Fn::GetAtt":["Vpc","CidrBlock"]}`,
	} {
		got, err := template.JSON([]byte("A:\n  B: " + text + "\n  C: after\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if want := `{"A":{"B":` + want + `,"C":"after"}}`; string(got) != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// TestScalars: a value is the number, truth value or text that YAML 1.1 makes of it.
func TestScalars(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2012-10-17": `"2012-10-17"`, "2001-12-14t21:59:43.10-05:00": `"2001-12-14t21:59:43.10-05:00"`, "'2010-09-09'": `"2010-09-09"`,
		"yes": "true", "On": "true", "TRUE": "true", "no": "false", "OFF": "false", "False": "false",
		"y": `"y"`, "N": `"N"`, "yEs": `"yEs"`, "'yes'": `"yes"`, `"no"`: `"no"`,
		"": "null", "~": "null", "null": "null", "'null'": `"null"`, "none": `"none"`,
		"0": "0", "7": "7", "-7": "-7", "+7": "7", "1_000": "1000", "'7'": `"7"`, "123456789012": "123456789012",
		"0300": "192", "012345670123": "1402433619", "012345678901": "1.2345678901e+10", "08": "8.0", "0x1F": "31", "-0x1f": "-31", "0b101": "5", "0x_": `"0x_"`, "0o17": `"0o17"`,
		"1.50": "1.50", "1.": "1.0", ".5": "0.5", "012.5": "12.5", "+1.5": "1.5", "1e3": "1e3", "1E+3": "1E+3", "-.5e-1": "-0.05", "17.6": "17.6", "1.2.3": `"1.2.3"`,
		"12e34567": `"12e34567"`, ".inf": `".inf"`, ".nan": `".nan"`, strings.Repeat("9", 400): `"` + strings.Repeat("9", 400) + `"`,
		"1:30": "90", "190:20:30": "685230", "-1:30": "-90", "1:30.5": "90.5", "03:00": `"03:00"`, "1:75": `"1:75"`, "10.0.0.0/16": `"10.0.0.0/16"`, "::1": `"::1"`,
		"!!str 012": `"012"`, "!!int '012'": "10", "!!bool yes": "true", "!!null x": `"x"`, "|\n  7": `"7\n"`, "\"\\u00e9 <&>\"": `"é \u003c\u0026\u003e"`, "<<": `"\u003c\u003c"`,
		"!!seq [1]": "[1]", "!!map {a: 1}": `{"a":1}`, "a\n  b": `"a b"`,
	} {
		got, err := template.JSON([]byte("A: " + text + "\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if want := `{"A":` + want + `}`; string(got) != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// TestKeys: a key is the text that it is written as.
func TestKeys(t *testing.T) {
	t.Parallel()
	got, err := template.JSON([]byte("---\n012: a\nyes: b\n'<<': c\n!!str d: e\nFn::Join: f\n# the end\n"))
	if want := `{"012":"a","\u003c\u003c":"c","Fn::Join":"f","d":"e","yes":"b"}`; err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// TestSameBytes: a template in JSON stays as it is, to the byte.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, " \n{\"B\": 1.50,\t\"A\":\"\\u003c\"}\r\n", `{"A":1,"A":2}`, `{"A":"` + strings.Repeat("x", 1<<20) + `"}`} {
		if got, err := template.JSON([]byte(text)); err != nil || string(got) != text {
			t.Errorf("%.40q became %.40q, %v", text, got, err)
		}
	}
}

// TestRefused: what is no template is refused with the place and the reason.
func TestRefused(t *testing.T) {
	t.Parallel()
	deep := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	for text, want := range map[string]string{
		"":                                   "it is empty",
		"# nothing\n":                        "it is empty",
		"~":                                  "line 1, column 1: it is neither JSON nor keys and values in YAML",
		"[1]":                                "line 1, column 1: it is neither JSON nor keys and values in YAML",
		`{"A":`:                              "it is neither JSON nor YAML: ",
		"A: [\n":                             "it is neither JSON nor YAML: line 1: ",
		"A: !Base64 !Sub x\n":                "it is neither JSON nor YAML: ",
		"A: 1\n---\nB: 2\n":                  "line 2, column 1: a second YAML document begins",
		"A: 1\nB: 2\nA: 3\n":                 `line 3, column 1: the key "A" is there twice`,
		"A: {B: 1, 'B': 2}\n":                `line 1, column 11: the key "B" is there twice`,
		"A: &x 1\nB: 2\n":                    "line 1, column 4: aliases (*) and anchors (&) are not allowed in templates",
		"A: {&x B: 1}\n":                     "line 1, column 5: aliases (*) and anchors (&) are not allowed in templates",
		"A: &x [1]\nB: [*x, *x]\n":           "line 1, column 4: aliases (*) and anchors (&) are not allowed in templates",
		"<<: {A: 1}\n":                       "line 1, column 1: merge keys (<<) are not allowed in templates",
		"? [A]\n: 1\n":                       "line 1, column 3: a key is no text",
		"!Ref A: 1\n":                        `line 1, column 1: a key has the tag "!Ref"`,
		"A: !!binary aGk=\n":                 `line 1, column 4: the tag "!!binary" is none of CloudFormation's`,
		"A: !!timestamp 2012-10-17\n":        `line 1, column 4: the tag "!!timestamp" is none of CloudFormation's`,
		"A: !!set {a: ~}\n":                  `line 1, column 4: the tag "!!set" is none of CloudFormation's`,
		"A: !!str [a]\n":                     `line 1, column 4: the tag "!!str" is none of CloudFormation's`,
		"A: !Fn::Sub x\n":                    `line 1, column 4: the tag "!Fn::Sub" is none of CloudFormation's`,
		"A: \xff\n":                          "it is neither JSON nor YAML: ",
		deep(101):                            "line 101, column 101: values are nested in more than 100 levels",
		"A: " + strings.Repeat("[", 1000):    "it is neither JSON nor YAML: ",
		"A: " + strings.Repeat("[", 1e5):     "it is neither JSON nor YAML: exceeded max depth",
		"A:\n  " + strings.Repeat("- ", 5e5): "it is neither JSON nor YAML: line 2: exceeded max depth",
		strings.Repeat("? ", 5e5):            "it is neither JSON nor YAML: exceeded max depth",
		"A: [" + strings.Repeat("a,", 5e5):   "it is neither JSON nor YAML: ",
		"A: " + strings.Repeat("x", 1<<20):   "it is no JSON, and with 1048579 bytes larger than a template may be",
	} {
		got, err := template.JSON([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q became %.40q, %v; want %s", text, got, err, want)
		}
	}
}

// TestExamples: the templates of every example, written as somebody would write them
// in YAML, mean what they mean in JSON.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "templates", "testdata", "*", "*.json"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		text := testkit.YAML(t, body)
		out, err := template.JSON(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var got any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-JSON +YAML):\n%s", file, diff)
		}
		if !bytes.Contains(text, []byte("!Ref ")) {
			t.Errorf("%s has no short form in YAML", file)
		}
	}
}

// FuzzJSON: a text becomes an object of JSON or an error, and stays it.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{
		`{"A":1}`, "A: !Sub [x, {a: !Ref B}]\n", "A: !GetAtt a.b\nB: |\n  x\nC: [1, 0x1F, 1:30, .5, 08, 1_0, 1e999]\n", "A: &x 1\nB: *x\n", "? [a]\n: b\n", "%TAG ! !x\n---\nA: !y z\n", "\ufeffA: 1\n", "A: \"\\ud800\"\n", "A: 1\n...\n---\n", "<<: 1\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := template.JSON(text)
		if err != nil {
			return
		}
		var v map[string]any
		if err := json.Unmarshal(out, &v); !json.Valid(out) || !bytes.Equal(out, text) && (err != nil || v == nil) {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		if again, err := template.JSON(out); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, %v", out, again, err)
		}
	})
}
