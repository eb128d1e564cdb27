package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/config"
)

// page is the reference page, in Markdown: a table per top-level key.
func page(list []key) []byte {
	var b bytes.Buffer
	b.WriteString(`# deployment.yaml

A deployment is described by one YAML file. What the file leaves out comes from
its profile; [examples](../../examples) are complete files, and
` + "`poolhouse init`" + ` writes one. Editors check it against
[schema.json](../../config/schema.json): with the YAML language server, begin the
file with ` + "`# yaml-language-server: $schema=`" + ` and the path of the schema.

- ` + "`poolhouse validate`" + ` reports every fault at once, with its line and what to do.
- Texts that look like numbers need quotes: ` + "`version: \"1.35\"`" + `.
- Anchors, aliases, merge keys, type tags and several documents are refused.
- A list replaces the default list as a whole. Only ` + "`compute`" + ` goes by role: an
  entry changes what it names in the group that the profile has for this role.
- In paths, ` + "`[]`" + ` stands for an entry of a list.

This page is generated from the code.
`)
	const head = "\n| Key | Type | In evaluation | In production | Meaning |\n|---|---|---|---|---|\n"
	b.WriteString("\n## The deployment\n" + head)
	sections := false
	for _, k := range list {
		switch nested := strings.ContainsAny(k.path, ".["); {
		case nested:
			row(&b, k)
		case k.kind == "" || k.kind == "list":
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", k.path, k.meaning)
			if k.kind == "list" {
				groups(&b)
			}
			b.WriteString(head)
			sections = true
		default:
			if sections {
				fmt.Fprintf(&b, "\n## %s\n%s", k.path, head)
			}
			row(&b, k)
		}
	}
	return b.Bytes()
}

func row(b *bytes.Buffer, k key) {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	e, p := code(k.evaluation), code(k.production)
	if k.rule.Required {
		e, p = "required", "required"
	}
	meaning := k.meaning
	for _, allowed := range []string{words(k.rule), words(k.items)} {
		if allowed != "" {
			meaning += " Allowed: " + allowed + "."
		}
	}
	if k.rule.Keys != nil {
		if allowed := words(*k.rule.Keys); allowed != "" {
			meaning += " Keys: " + allowed + "."
		}
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", k.path, k.kind, e, p, strings.ReplaceAll(meaning, "|", `\|`))
}

// words are a rule's words, or "" if it leaves all values open.
func words(r config.Rule) string {
	if len(r.Enum) == 0 && len(r.Values) == 0 && r.Form == "" && r.Max == 0 {
		return ""
	}
	return r.Words()
}

// groups is the table of the profiles' node groups.
func groups(b *bytes.Buffer) {
	b.WriteString("\n| Profile | Role | Also | Instance types | Min | Desired | Max | Disk |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range []config.Profile{config.Evaluation, config.Production} {
		for _, g := range append(config.Default(p).Compute, config.DefaultGroup(p, config.GPU)) {
			role := string(g.Role)
			if g.Role == config.GPU {
				role += ", if listed"
			}
			var also []string
			for _, r := range g.Also {
				also = append(also, string(r))
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d | %d | %d GiB |\n", p, role, strings.Join(also, ", "), strings.Join(g.InstanceTypes, ", "), g.Min, g.Desired, g.Max, g.DiskGiB)
		}
	}
}
