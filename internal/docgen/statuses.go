package main

import (
	"bytes"
	"fmt"

	"github.com/poolhouse/poolhouse/stack"
)

// statuses is the page of what every status of a stack means and what each verb
// does about it.
func statuses() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `# Stack statuses

This page is generated from the code. Whatever a stack's status is, every verb has a
next step; a test brings a stack into each and runs all of them on it. A status that
CloudFormation adds some day is waited for and never acted upon. A stack that can be
updated is never made again, and create and update never finish a deletion that loses
data.

| Condition | Means |
|---|---|
`)
	for _, c := range stack.Conditions() {
		fmt.Fprintf(&b, "| %s | %s |\n", c, c.Means())
	}
	fmt.Fprint(&b, "\n| Status | Condition | create | update | delete | recover |\n|---|---|---|---|---|---|\n")
	for _, r := range stack.Rules() {
		name := "any other"
		if r.Status != "" {
			name = "`" + string(r.Status) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, r.Condition, r.Create, r.Update, r.Delete, r.Recover)
	}
	return b.Bytes()
}
