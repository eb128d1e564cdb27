package oracle

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The same small model in each protocol.
const example = `{
	"metadata": {"protocol": "%s", "targetPrefix": "Target"},
	"operations": {
		"Make": {"name": "Make", "http": {"method": "POST", "requestUri": "%s"}, "input": {"shape": "In"}, "output": {"shape": "Out"%s}, "errors": [{"shape": "Full"}]},
		"Empty": {"name": "Empty", "http": {"method": "POST", "requestUri": "/"}}
	},
	"shapes": {
		"In": {"type": "structure", "required": ["Name"], "members": {
			"Name": {"shape": "Name"%s}, "Size": {"shape": "Size"}, "Tags": {"shape": "Tags"}, "At": {"shape": "Time"}, "On": {"shape": "Bool"}, "Labels": {"shape": "Labels"}}},
		"Out": {"type": "structure", "required": ["Name"], "members": {
			"Name": {"shape": "Name"}, "Size": {"shape": "Size"}, "Tags": {"shape": "Tags"}, "At": {"shape": "Time"}, "On": {"shape": "Bool"}, "Labels": {"shape": "Labels"}}},
		"Name": {"type": "string", "min": 2, "max": 4, "pattern": "[a-z]+"},
		"Size": {"type": "integer", "min": 1, "max": 9},
		"Tags": {"type": "list", "max": 2, "member": {"shape": "Tag"}},
		"Tag": {"type": "structure", "required": ["Key"], "members": {"Key": {"shape": "Kind"}}},
		"Kind": {"type": "string", "enum": ["a", "b"]},
		"Labels": {"type": "map", "key": {"shape": "Kind"}, "value": {"shape": "Size"}},
		"Time": {"type": "timestamp"},
		"Bool": {"type": "boolean"},
		"Full": {"type": "structure", "exception": true, "members": {"message": {"shape": "Name"}}, "error": {"code": "Full", "httpStatusCode": 409}}
	}
}`

func models(t *testing.T) *Models {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{
		"j": fmt.Sprintf(example, "json", "/", "", ""),
		"q": fmt.Sprintf(example, "query", "/", `, "resultWrapper": "MakeResult"`, ""),
		"e": fmt.Sprintf(example, "ec2", "/", "", ""),
		"r": fmt.Sprintf(example, "rest-json", "/make/{Name}", "", `, "location": "uri", "locationName": "Name"`),
		"x": fmt.Sprintf(example, "rest-xml", "/make/{Name}", "", `, "location": "uri", "locationName": "Name"`),
	} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json.gz"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Models{folder: dir, models: map[string]*model{}}
}

// exchange is what a client and the sandbox would have sent.
func exchange(service, operation, path, request, answer string) wire.Exchange {
	r := httptest.NewRequest(http.MethodPost, "https://sandbox.invalid"+path, nil)
	r.Header.Set("X-Amz-Target", "Target."+operation)
	return wire.Exchange{
		Call:    wire.Call{Service: service, Operation: operation},
		Request: r, Body: []byte(request),
		Answer: wire.Raw{Status: 200, Body: []byte(answer)},
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ms := models(t)
	query := func(inner string) string {
		return "<MakeResponse><MakeResult>" + inner + "</MakeResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></MakeResponse>"
	}
	ec2 := func(inner string) string { return "<MakeResponse><requestId>1</requestId>" + inner + "</MakeResponse>" }
	for _, tc := range []struct {
		name string
		x    wire.Exchange
		want []string // without the operation
	}{
		{"json fits", exchange("j", "Make", "/", `{"Name": "ab", "Size": 9, "Tags": [{"Key": "a"}], "At": 1.5, "On": true, "Labels": {"a": 1}}`, `{"Name": "ab", "Size": 1, "At": 1700000000}`), nil},
		{"json required", exchange("j", "Make", "/", `{}`, `{}`), []string{"request: Name: is required, and missing", "answer: Name: is required, and missing"}},
		{"json unknown", exchange("j", "Make", "/", `{"Name": "ab", "X": 1}`, `{"Name": "ab", "Tags": [{"Key": "a", "Y": 1}]}`), []string{"request: X: is no member of In", "answer: Tags[0].Y: is no member of Tag"}},
		{"json enum", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab", "Tags": [{"Key": "c"}]}`), []string{`answer: Tags[0].Key: "c" is not among a, b`}},
		{"json pattern", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "A1"}`), []string{`answer: Name: "A1" does not match [a-z]+`}},
		{"json length", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "a"}`), []string{`answer: Name: "a" is shorter than 2`}},
		{"json range", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab", "Size": 10}`), []string{"answer: Size: 10 is more than 9"}},
		{"json items", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab", "Tags": [{"Key": "a"}, {"Key": "a"}, {"Key": "a"}]}`), []string{"answer: Tags: has 3 items, more than 2"}},
		{"json type", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab", "On": "true"}`), []string{"answer: On: a string where a boolean belongs"}},
		{"json time", exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab", "At": "2026-01-01"}`), []string{"answer: At: a string where a timestamp belongs", `answer: At: "2026-01-01" is no time of the form unixTimestamp`}},
		{"json target", func() wire.Exchange {
			x := exchange("j", "Make", "/", `{"Name": "ab"}`, `{"Name": "ab"}`)
			x.Request.Header.Set("X-Amz-Target", "Other.Make")
			return x
		}(), []string{"request: X-Amz-Target: is Other.Make, not Target.Make"}},
		{"no answer expected", exchange("j", "Empty", "/", `{}`, `{"Name": "ab"}`), []string{"answer: (whole): has members, and the operation's answer none"}},
		{"query fits", exchange("q", "Make", "/", "Action=Make&Name=ab&Tags.member.1.Key=a&Labels.entry.1.key=a&Labels.entry.1.value=2&At=2026-01-01T00:00:00Z", query("<Name>ab</Name><Tags><member><Key>a</Key></member></Tags><Labels><entry><key>a</key><value>1</value></entry></Labels>")), nil},
		{"query list", exchange("q", "Make", "/", "Action=Make&Name=ab&Tags.1.Key=a", query("<Name>ab</Name><Tags><item><Key>a</Key></item></Tags>")), []string{"request: Tags.1: is called 1, not member", "answer: Tags[0]: is called item, not member"}},
		{"query wrapper", exchange("q", "Make", "/", "Action=Make&Name=ab", "<MakeResponse><Name>ab</Name><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></MakeResponse>"), []string{"answer: MakeResult: is missing"}},
		{"query time", exchange("q", "Make", "/", "Action=Make&Name=ab", query("<Name>ab</Name><At>1700000000</At>")), []string{`answer: At: "1700000000" is no time of the form iso8601`}},
		{"query twice", exchange("q", "Make", "/", "Action=Make&Name=ab", query("<Name>ab</Name><Name>cd</Name>")), []string{"answer: Name: is there twice"}},
		{"ec2 fits", exchange("e", "Make", "/", "Action=Make&Name=ab&Tags.1.Key=a", ec2("<Name>ab</Name>")), nil},
		{"ec2 list", exchange("e", "Make", "/", "Action=Make&Name=ab&Tags.member.1.Key=a", ec2("<Name>ab</Name>")), []string{"request: Tags.member: is no place in a list"}},
		{"rest-json fits", exchange("r", "Make", "/make/ab", `{"Size": 1}`, `{"Name": "ab"}`), nil},
		{"rest-json query", exchange("r", "Make", "/make/ab?Size=1", `{}`, `{"Name": "ab"}`), []string{"request: ?Size: is no member of In"}},
		{"rest-json path", exchange("r", "Make", "/made/ab", `{}`, `{"Name": "ab"}`), []string{"request: (whole): the path /made/ab is not /make/{Name}", "request: Name: is required, and missing"}},
		{"rest-xml fits", exchange("x", "Make", "/make/ab", `<In><Size>1</Size></In>`, `<Out><Name>ab</Name></Out>`), nil},
		{"rest-xml unknown", exchange("x", "Make", "/make/ab", ``, `<Out><Name>ab</Name><Z/></Out>`), []string{"answer: Z: is no member of Out"}},
		{"unknown operation", exchange("j", "Nothing", "/", `{}`, `{}`), []string{"there is no such operation"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range ms.Check(tc.x) {
				got = append(got, strings.TrimPrefix(f, tc.x.Service+"."+tc.x.Operation+": "))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestCheckRefusals(t *testing.T) {
	t.Parallel()
	ms := models(t)
	refused := func(service, code string, status int, body string) wire.Exchange {
		x := exchange(service, "Make", "/", "", body)
		x.Code, x.Answer.Status = code, status
		return x
	}
	xml := "<ErrorResponse><Error><Code>Full</Code><Message>no</Message></Error></ErrorResponse>"
	for _, tc := range []struct {
		name string
		x    wire.Exchange
		want []string
	}{
		{"fits", refused("j", "Full", 409, `{"__type": "x#Full", "message": "no"}`), nil},
		{"common", refused("j", "ValidationException", 400, `{"__type": "ValidationException", "message": "no"}`), nil},
		{"unknown code", refused("j", "Other", 400, `{"__type": "Other", "message": "no"}`), []string{"error: Other: is no error of the operation: Full"}},
		{"status", refused("j", "Full", 400, `{"__type": "Full", "message": "no"}`), []string{"error: Full: has the status 400, not 409"}},
		{"message", refused("j", "Full", 409, `{"__type": "Full"}`), []string{"error: Full: has no message"}},
		{"xml fits", refused("q", "Full", 409, xml), nil},
		{"xml shape", refused("e", "Full", 409, xml), []string{`error: Full: is read as ""`, "error: Full: has no message"}},
		{"not modelled", refused("j", wire.NotModelled, 501, `{}`), nil},
		{"written by the operation", func() wire.Exchange {
			x := refused("q", "", 409, xml)
			return x
		}(), nil},
		{"intercepted", func() wire.Exchange {
			x := refused("j", "Anything", 500, `{}`)
			x.Intercepted = true
			return x
		}(), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range ms.Check(tc.x) {
				got = append(got, strings.TrimPrefix(f, tc.x.Service+".Make: "))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestDeviations holds the table of what AWS does otherwise than its models to
// naming a document for each.
func TestDeviations(t *testing.T) {
	t.Parallel()
	for _, k := range deviations() {
		if _, err := regexp.Compile(k.fault); err != nil || !strings.HasPrefix(k.source, "https://docs.aws.amazon.com/") {
			t.Errorf("%s: %v, source %q", k.fault, err, k.source)
		}
	}
	if len(deviations()) > 13 {
		t.Errorf("there are %d deviations; the table only shrinks", len(deviations()))
	}
}

// TestOraclePatterns shows that every pattern of the models is checked, but for
// those that are listed.
func TestOraclePatterns(t *testing.T) {
	t.Parallel()
	ms := Load()
	if ms == nil {
		t.Skip("no service models to compare with: set " + Variable + " to a folder of AWS's service models, gzipped")
	}
	files, err := filepath.Glob(filepath.Join(ms.folder, "*.json.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d models (%v)", len(files), err)
	}
	for _, f := range files {
		service := strings.TrimSuffix(filepath.Base(f), ".json.gz")
		m, err := read(f)
		if err != nil {
			t.Fatal(err)
		}
		m.service = service
		unchecked := map[string]bool{}
		for _, name := range UncheckedPatterns()[service] {
			unchecked[name] = true
		}
		for name := range m.Shapes {
			s := m.shape(name)
			if strings.HasPrefix(s.Type, "unreadable") {
				t.Errorf("%s.%s is %s", service, name, s.Type)
			}
			if s.Pattern != "" && s.pattern == nil {
				if !unchecked[name] {
					t.Errorf("%s.%s: its pattern is not checked", service, name)
				}
				delete(unchecked, name)
			}
		}
		for name := range unchecked {
			t.Errorf("%s.%s is listed as unchecked for nothing", service, name)
		}
	}
}
