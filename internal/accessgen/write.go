package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// handlersJSON is handlers.json: the permissions that each handler of a type
// needs, as published. Types without a schema or without handlers have none.
func handlersJSON(folder string, types []string) ([]byte, error) {
	found := map[string]map[string][]string{}
	for _, name := range types {
		file := filepath.Join(folder, strings.ToLower(strings.ReplaceAll(name, "::", "-"))+".json")
		body, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read schema of %s: %w", name, err)
		}
		var s struct {
			Handlers map[string]struct {
				Permissions []string `json:"permissions"`
			} `json:"handlers"`
		}
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, fmt.Errorf("decode schema %s: %w", file, err)
		}
		for op, h := range s.Handlers {
			if found[name] == nil {
				found[name] = map[string][]string{}
			}
			slices.Sort(h.Permissions)
			found[name][op] = slices.Compact(h.Permissions)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read schemas: %s holds none: %w", folder, fs.ErrNotExist)
	}
	return table(found, func(v map[string][]string) ([]byte, error) {
		inner, err := table(v, func(l []string) ([]byte, error) { return json.Marshal(l) })
		return bytes.TrimSpace(inner), err
	})
}

// published is an action in the package's files.
type published struct {
	Name          string `json:"name"`
	AccessLevel   string `json:"accessLevel"`
	ResourceTypes []struct {
		Name          string   `json:"name"`
		Required      bool     `json:"required"`
		ConditionKeys []string `json:"conditionKeys"`
	} `json:"resourceTypes"`
	ConditionKeys []string `json:"conditionKeys"`
}

// resourceType is a resource type there.
type resourceType struct {
	Key           string   `json:"key"`
	ARN           string   `json:"arn"`
	ConditionKeys []string `json:"conditionKeys"`
}

// action is one in actions.json.
type action struct {
	Level string   `json:"level"`
	On    []string `json:"on,omitempty"`
	Maybe []string `json:"maybe,omitempty"`
	Keys  []string `json:"keys,omitempty"`
}

// resource is a resource type in actions.json.
type resource struct {
	ARN  string   `json:"arn"`
	Keys []string `json:"keys,omitempty"`
}

// actionsJSON is actions.json: an action or a resource type a line. Names that
// AWS publishes as handlers' permissions and that no service has are left out;
// one that ends in an asterisk stands for those in use that it matches.
func actionsJSON(folder string, names []string, fixes map[string]correction) ([]byte, error) {
	services := map[string]map[string]published{}
	types := map[string]map[string]resourceType{}
	actions, resources := map[string]action{}, map[string]resource{}
	for _, name := range names {
		service, op, ok := strings.Cut(strings.ToLower(name), ":")
		if !ok || strings.Contains(op, "*") {
			continue
		}
		if services[service] == nil {
			if err := read(filepath.Join(folder, "actions", service+".json"), service, services); err != nil {
				return nil, err
			}
			if err := read(filepath.Join(folder, "resourceTypes", service+".json"), service, types); err != nil {
				return nil, err
			}
		}
		p, ok := services[service][op]
		if !ok {
			continue
		}
		full := service + ":" + p.Name
		a := action{Level: level(p.AccessLevel), Keys: p.ConditionKeys}
		for _, t := range p.ResourceTypes {
			if t.Required {
				a.On = append(a.On, t.Name)
			} else {
				a.Maybe = append(a.Maybe, t.Name)
			}
			a.Keys = append(a.Keys, t.ConditionKeys...)
		}
		if c, ok := fixes[full]; ok {
			a.On, a.Maybe = c.on, nil
		}
		a.Keys = sorted(a.Keys)
		slices.Sort(a.On)
		slices.Sort(a.Maybe)
		for _, t := range slices.Concat(a.On, a.Maybe) {
			r, ok := types[service][strings.ToLower(t)]
			if !ok {
				return nil, fmt.Errorf("action %s is on resource type %s, which is not among the resource types", full, t)
			}
			resources[service+":"+t] = resource{ARN: r.ARN, Keys: sorted(r.ConditionKeys)}
		}
		actions[full] = a
	}
	for name := range fixes {
		if _, ok := actions[name]; !ok {
			return nil, fmt.Errorf("correction of %s: no such action is in use", name)
		}
	}
	line := func(v any) ([]byte, error) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(v)
		return bytes.TrimSpace(b.Bytes()), err
	}
	top := map[string]func() ([]byte, error){
		"actions":   func() ([]byte, error) { return table(actions, func(a action) ([]byte, error) { return line(a) }) },
		"resources": func() ([]byte, error) { return table(resources, func(r resource) ([]byte, error) { return line(r) }) },
	}
	return table(top, func(f func() ([]byte, error)) ([]byte, error) {
		b, err := f()
		return bytes.TrimSpace(b), err
	})
}

// level is the access level of an action; the facts may name two.
func level(s string) string {
	l, _, _ := strings.Cut(s, ",")
	return l
}

func sorted(l []string) []string {
	l = slices.Clone(l)
	slices.Sort(l)
	return slices.Compact(l)
}

// read reads a file of a service; a service without one has nothing.
func read[V any](file, service string, into map[string]map[string]V) error {
	into[service] = map[string]V{}
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the facts of %s: %w", service, err)
	}
	m := into[service]
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("decode %s: %w", file, err)
	}
	return nil
}

// table is a JSON object with a member a line, sorted.
func table[V any](m map[string]V, member func(V) ([]byte, error)) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{")
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte(',')
		}
		body, err := member(m[k])
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", k, err)
		}
		fmt.Fprintf(&b, "\n%q: %s", k, body)
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}
