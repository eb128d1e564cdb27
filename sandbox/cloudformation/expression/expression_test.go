package expression

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

func scope() *Scope {
	return &Scope{
		Pseudo:     Pseudo{AccountID: "123456789012", Region: "us-east-1", Partition: "aws", URLSuffix: "amazonaws.com", StackID: "arn:stack", StackName: "s"},
		Zones:      []string{"us-east-1a", "us-east-1b"},
		Parameters: map[string]any{"P": "p", "L": []any{"a", "b"}, "N": "3"},
		Mappings:   map[string]map[string]map[string]any{"M": {"a": {"b": "c", "l": []any{"x"}}}},
		Conditions: map[string]Condition{"C": equals{literal{"a"}, literal{"a"}}},
		Resource: func(id string) any {
			if id == "New" {
				return facts.Unknown{}
			}
			return "id-of-" + id
		},
		Attribute: func(id, name string) (any, error) { return id + "." + name, nil },
		Import:    func(name string) (string, bool) { return name, name != "none" },
		Spent:     new(int),
	}
}

// size is about how many bytes a value takes.
func size(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case []any:
		for _, x := range v {
			n += 1 + size(x)
		}
	case map[string]any:
		for k, x := range v {
			n += len(k) + size(x)
		}
	}
	return n
}

// No value of a template breaks the functions: what they make is bounded, the
// same each time, and every error is an answer to the client.
func FuzzFunctions(f *testing.F) {
	for _, s := range []string{
		`{"Ref":"P"}`, `{"Fn::Sub":"${P}-${R}-${R.A}-${!x}"}`, `{"Fn::Sub":["${a}${a}",{"a":{"Fn::Sub":"${P}${P}"}}]}`, `{"Fn::Join":[",",{"Ref":"L"}]}`,
		`{"Fn::Select":[{"Ref":"N"},{"Fn::Split":["-","a-b-c-d"]}]}`, `{"Fn::FindInMap":["M","a","b"]}`, `{"Fn::GetAZs":""}`, `{"Fn::Cidr":["10.0.0.0/16",6,"8"]}`,
		`{"Fn::If":["C",{"Ref":"New"},{"Ref":"AWS::NoValue"}]}`, `{"Fn::ImportValue":{"Fn::Sub":"${P}"}}`, `{"Fn::GetAtt":["R",{"Ref":"P"}]}`, `{"Fn::Base64":{"Ref":"P"}}`,
		`{"a":[1,2.5,true,{"Fn::Base64":"x"}]}`, `{"Fn::Not":[{"Fn::Contains":[["1"],{"Ref":"P"}]}]}`, `{"Fn::And":[{"Condition":"C"},{"Fn::Equals":[1,"1"]}]}`, `{"Fn::EachMemberIn":[{"Ref":"L"},["a"]]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		fault := func(err error) {
			if _, ok := err.(*account.Error); !ok {
				t.Fatalf("error %v is not the service's", err)
			}
		}
		for _, compile := range []func(any, string) (Condition, error){CompileCondition, CompileRule} {
			c, err := compile(v, "/x")
			if err != nil {
				fault(err)
				continue
			}
			s := scope()
			if err := s.Evaluate(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Holds(s); err != nil {
				fault(err)
			}
			c.Walk(func(Ref) {})
		}
		e, err := Compile(v, "/x")
		if err != nil {
			fault(err)
			return
		}
		s := scope()
		if err := s.Evaluate(); err != nil {
			t.Fatal(err)
		}
		got, err := e.Eval(s)
		if err != nil {
			fault(err)
			return
		}
		if n := size(got); n > maxTotal+len(text) {
			t.Fatalf("%d bytes of %d", n, len(text))
		}
		again, err := e.Eval(s)
		if err != nil && !account.IsNotModelled(err) || err == nil && !reflect.DeepEqual(got, again) {
			t.Fatalf("%v, then %v, %v", got, again, err)
		}
		JSON(got)
		e.Walk(s, func(Ref) {})
		e.Walk(nil, func(Ref) {})
		Branches(e, func(string) {})
	})
}
