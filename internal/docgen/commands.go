package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poolhouse/poolhouse/internal/cli"
)

// commands is the reference page of the commands.
func commands() []byte {
	var b bytes.Buffer
	root := cli.Commands()
	fmt.Fprint(&b, `# Commands

This page is generated from the code. Results go to standard output, all else to
standard error.

| Exit code | Means |
|---|---|
`)
	for _, c := range []struct {
		code  int
		means string
	}{
		{cli.Done, "done"},
		{cli.Failed, "failed, or interrupted"},
		{cli.Usage, "usage, configuration or credentials are wrong: nothing was touched"},
		{cli.Pending, "`plan --exit-code`: there are changes; `verify`: a required check failed or could not look; `drift`: there is drift; `bundle verify`: there are faults; `bundle inspect`: the bundle is damaged; `recover --dry-run`: something is stuck; `create`, `update`, `delete`: paused because the credentials have expired, or something is pending; AWS goes on, and so does the same command"},
	} {
		fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.means)
	}
	fmt.Fprint(&b, "\nEvery command takes these flags:\n\n")
	flags(&b, root.PersistentFlags().FlagUsages())
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID != group.ID {
				continue
			}
			command(&b, c, "###")
			for _, sub := range c.Commands() {
				if group.ID != "self" { // cobra's own commands explain themselves
					command(&b, sub, "####")
				}
			}
		}
	}
	return b.Bytes()
}

func command(b *bytes.Buffer, c *cobra.Command, heading string) {
	name := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
	fmt.Fprintf(b, "\n%s %s\n\n%s.\n\n```\n%s\n```\n", heading, name, c.Short, c.UseLine())
	if c.HasAvailableSubCommands() {
		for _, sub := range c.Commands() {
			fmt.Fprintf(b, "\n- `%s`: %s.", sub.UseLine(), strings.ToLower(sub.Short[:1])+sub.Short[1:])
		}
		fmt.Fprintln(b)
		if !c.Runnable() {
			return
		}
	}
	if c.Long != "" {
		fmt.Fprintf(b, "\n%s\n", prose(c.Long))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", unindent(c.Example))
	}
	if c.LocalFlags().HasAvailableFlags() {
		fmt.Fprintln(b)
		flags(b, c.LocalFlags().FlagUsages())
	}
}

// prose keeps paragraphs; what is indented becomes a list.
func prose(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if name, meaning, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && strings.HasPrefix(line, "  ") {
			line = fmt.Sprintf("- `%s`: %s\n", name, strings.TrimSpace(meaning))
			if before := b.String(); !strings.Contains(lastLine(before), "- `") {
				b.WriteByte('\n')
			}
		} else if strings.HasPrefix(lastLine(b.String()), "- `") {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return strings.TrimSpace(b.String())
}

func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func unindent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimPrefix(line, "  "))
	}
	return strings.TrimSpace(b.String())
}

// flags explains flags as --help does.
func flags(b *bytes.Buffer, usages string) { fmt.Fprintf(b, "```\n%s```\n", usages) }
