package fault

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// served are examples of what happens to the servers behind a sandbox, by kind.
var served = map[string][]string{
	"crash": {
		"{id: objects-gone, when: {after: 5m}, for: 30s, crash: {server: s3}}",
		"{id: recovery, when: {call: {service: rds, operation: DescribeDBInstances}}, crash: {server: database, database: \"poolside-*\"}}",
		"{id: nobody-signs-in, for: 10m, crash: {server: provider}}",
	},
	"failover":    {"{id: standby-takes-over, when: {after: 20m}, failover: {database: \"${poolside-database/Database}\"}}"},
	"full":        {"{id: no-storage, when: {after: 20m}, for: 1h, full: {}}"},
	"lag":         {"{id: slow-provider, lag: {server: provider, delay: 2s}}", "{id: thin-line, for: 5m, lag: {server: load-balancer, rate: 20000}}", "{id: slow-rows, lag: {server: database, database: \"poolside-*\", delay: 200ms}}"},
	"certificate": {"{id: forgotten, certificate: {host: \"*.rds.amazonaws.com\", wrong: expired}}", "{id: strange-provider, certificate: {host: id.example.com, wrong: authority}}"},
	"targets":     {"{id: deaf-targets, when: {after: 10m}, for: 5m, targets: {group: \"*web*\"}}"},
}

// Page is the reference page of the language of faults, as Markdown.
func Page() []byte {
	var b bytes.Buffer
	b.WriteString(`# Faults

This page is generated from the code. A file of faults says what goes wrong in a
simulated account: ` + "`poolhouse rehearse --faults FILE` and `poolhouse sandbox --faults FILE`" + `
take it, and ` + "`--fault '{id: a, throttle: {}}'`" + ` takes one fault in braces.
[examples/faults](../../examples/faults) has bad days of many kinds.

Patterns are those of file names: ` + "`*`" + ` is any text, ` + "`?`" + ` one character. Durations are
` + "`90s`, `5m` or `1h30m`" + `, of simulated time. All mistakes of a file are reported at once.

`)
	b.WriteString("## Each fault\n\n")
	t := reflect.TypeFor[Fault]()
	table(&b, t, func(f reflect.StructField) bool { return f.Type.Kind() != reflect.Pointer })
	b.WriteString("\n## When it begins\n\n")
	table(&b, reflect.TypeFor[Moment](), nil)
	b.WriteString("\n`when.call`:\n\n")
	table(&b, reflect.TypeFor[Nth](), nil)
	b.WriteString("\n`when.resource`:\n\n")
	table(&b, reflect.TypeFor[Reached](), nil)
	b.WriteString("\n## Kinds\n")
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Pointer {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", f.Tag.Get("yaml"), f.Tag.Get("doc"))
			table(&b, f.Type.Elem(), nil)
			if list := served[f.Tag.Get("yaml")]; list != nil {
				fmt.Fprintf(&b, "\n```yaml\nfaults:\n  - %s\n```\n", strings.Join(list, "\n  - "))
			}
		}
	}
	fmt.Fprintf(&b, "\n## Servers\n\nWhat can happen to the servers behind an account.\n\n| Server | Faults |\n|---|---|\n")
	for _, server := range []string{ServerS3, ServerECR, ServerDatabase, ServerProvider, ServerLoadBalancer} {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(victims)) {
			if slices.Contains(victims[kind], server) {
				kinds = append(kinds, "`"+kind+"`")
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", server, strings.Join(kinds, ", "))
	}
	b.WriteString("\n## Errors of resources\n\nWhat `fail.error` can be, with what it happens to.\n\n| Error | Happens to | At | The service says |\n|---|---|---|---|\n")
	for _, e := range Catalogue() {
		types, on := e.Types, strings.Join(e.On, ", ")
		if types == "" {
			types = "all"
		} else {
			types = "`" + types + "`"
		}
		if on == "" {
			on = "all"
		}
		if e.Late {
			on += "; when the time is over"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Name, types, on, e.Message)
	}
	b.WriteString("\n## Quotas\n\nWhat `quota.name` can be.\n\n| Quota | Counts | AWS's code | Refused with |\n|---|---|---|---|\n")
	for _, q := range quotas() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` |\n", q.name, q.says, q.code, q.refusal)
	}
	b.WriteString("\n## Throttling\n\nHow services refuse calls that are too many; all others say `Throttling`.\n\n| Service | Status | Code |\n|---|---|---|\n")
	for _, s := range []string{"acm", "backup", "cloudtrail", "ec2", "ecr", "eks", "kms", "logs", "s3", "secretsmanager", "sns", "ssm", "wafv2"} {
		e := throttled(s)
		fmt.Fprintf(&b, "| %s | %d | `%s` |\n", s, e.Status, e.Code)
	}
	return b.Bytes()
}

// table lists the keys of a type.
func table(b *bytes.Buffer, t reflect.Type, which func(reflect.StructField) bool) {
	b.WriteString("| Key | Is | Says |\n|---|---|---|\n")
	for i := range t.NumField() {
		if f := t.Field(i); which == nil || which(f) {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Tag.Get("yaml"), kind(f.Type), f.Tag.Get("doc"))
		}
	}
}

// kind is what people call a type.
func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[Stay]():
		return "duration"
	case reflect.TypeFor[Times]():
		return "number"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Map:
		return "keys"
	case reflect.Slice:
		return "list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	}
	return "number"
}
