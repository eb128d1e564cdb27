package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDriftJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, body := range map[string]string{
		"aws-a-read.json": `{
			"handlers": {"read": {}}, "writeOnlyProperties": ["/properties/Secret"],
			"properties": {
				"Ordered": {"type": "array", "items": {"type": "string"}},
				"Set": {"type": "array", "insertionOrder": false, "items": {"$ref": "#/definitions/Node"}}
			},
			"definitions": {"Node": {"properties": {"Children": {"type": "array", "insertionOrder": false, "items": {"$ref": "#/definitions/Node"}}}}}
		}`,
		"aws-a-blind.json": `{"handlers": {"create": {}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	types := map[string]*resourceType{"AWS::A::Read": nil, "AWS::A::Blind": nil, "AWS::A::Unpublished": nil}
	got, err := driftJSON(dir, types)
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n\"AWS::A::Read\": {\"writeOnly\":[\"/Secret\"],\"unordered\":[\"/Set\",\"/Set/*/Children\"]}\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := driftJSON(t.TempDir(), types); err == nil {
		t.Error("a folder without schemas is taken")
	}
}
