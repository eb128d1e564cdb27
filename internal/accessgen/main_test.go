package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func committed(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "..", "sandbox", "access", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestSchemas compares handlers.json with CloudFormation's resource schemas.
func TestSchemas(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("POOLHOUSE_SCHEMAS")
	if dir == "" {
		t.Skip("no schemas to compare with: set POOLHOUSE_SCHEMAS to a folder of CloudFormation resource schemas, " +
			"https://schema.cloudformation.us-east-1.amazonaws.com/CloudformationSchema.zip unpacked")
	}
	types, err := resourceTypes(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	want, err := handlersJSON(dir, types)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, committed(t, "handlers.json")) {
		t.Error("sandbox/access/handlers.json differs from what the schemas say: go generate ./internal/accessgen")
	}
}

func write(t *testing.T, name, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestHandlersJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "aws-x-y.json"), `{"handlers":{"create":{"permissions":["b:B","a:A","b:B"]},"read":{}}}`)
	got, err := handlersJSON(dir, []string{"AWS::X::Y", "AWS::X::None"})
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n\"AWS::X::Y\": {\n\"create\": [\"a:A\",\"b:B\"],\n\"read\": null\n}\n}\n"
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := handlersJSON(t.TempDir(), []string{"AWS::X::Y"}); err == nil {
		t.Error("a folder without schemas is taken")
	}
}

func TestActionsJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "actions", "x.json"), `{
		"make":{"name":"Make","accessLevel":"Tagging, Write","resourceTypes":[
			{"name":"thing","required":true,"conditionKeys":["aws:TagKeys"]},{"name":"other","required":false,"conditionKeys":[]}],"conditionKeys":["x:Key","aws:TagKeys"]},
		"list":{"name":"List","accessLevel":"List","resourceTypes":[],"conditionKeys":[]}}`)
	write(t, filepath.Join(dir, "resourceTypes", "x.json"), `{
		"thing":{"key":"thing","arn":"arn:${Partition}:x:::thing/${Id}","conditionKeys":["aws:ResourceTag/${TagKey}"]},
		"other":{"key":"other","arn":"arn:${Partition}:x:::other/${Id}","conditionKeys":[]}}`)
	got, err := actionsJSON(dir, []string{"x:MAKE", "x:List", "x:List*", "x:Gone", "y:None", "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{
"actions": {
"x:List": {"level":"List"},
"x:Make": {"level":"Tagging","on":["thing"],"maybe":["other"],"keys":["aws:TagKeys","x:Key"]}
},
"resources": {
"x:other": {"arn":"arn:${Partition}:x:::other/${Id}"},
"x:thing": {"arn":"arn:${Partition}:x:::thing/${Id}","keys":["aws:ResourceTag/${TagKey}"]}
}
}
`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []map[string]correction{{"x:Make": {[]string{"nothing"}}}, {"x:Gone": {[]string{"thing"}}}} {
		if _, err := actionsJSON(dir, []string{"x:Make"}, bad); err == nil {
			t.Errorf("the correction %v is taken", bad)
		}
	}
}
