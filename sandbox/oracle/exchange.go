package oracle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Check compares an exchange with the model of its service and returns what
// doesn't fit, each as "service.Operation: request: Member: what is wrong". An
// exchange of no known operation, or that the sandbox doesn't model, fits.
func (ms *Models) Check(x wire.Exchange) []string {
	if x.Intercepted || x.Service == "" || x.Operation == "" || x.Code == wire.NotModelled {
		return nil
	}
	service := cmp.Or(x.API, x.Service)
	m, err := ms.model(service)
	if err != nil {
		return []string{err.Error()}
	}
	if m == nil {
		if slices.Contains(Unchecked(), service) {
			return nil
		}
		return []string{service + ": there is no model of it"}
	}
	op := m.Operations[x.Operation]
	if op == nil {
		if x.Code != "" {
			return nil
		}
		return []string{fmt.Sprintf("%s.%s: there is no such operation", x.Service, x.Operation)}
	}
	answer := &checker{m: m}
	if x.Code == "" && x.Answer.Status >= http.StatusBadRequest {
		// An operation may write its refusal itself.
		x.Code, _ = answer.read(x)
	}
	if x.Code != "" {
		answer.refusal(op, x)
		return answer.named(x, "error")
	}
	request := &checker{m: m}
	request.request(op, x)
	key := fingerprint(x)
	if _, ok := ms.fit.Load(key); !ok {
		answer.answer(op, x)
		if len(answer.faults) == 0 {
			ms.fit.Store(key, nil)
		}
	}
	return append(request.named(x, "request"), answer.named(x, "answer")...)
}

// seed is that of the process's fingerprints.
var seed = maphash.MakeSeed()

// fingerprint is a hash of all that an answer is checked by.
func fingerprint(x wire.Exchange) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, s := range []string{x.Service, x.API, x.Operation, x.Request.Method, strconv.Itoa(x.Answer.Status)} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	for _, k := range slices.Sorted(maps.Keys(x.Answer.Header)) {
		h.WriteString(k)
		for _, v := range x.Answer.Header[k] {
			h.WriteString(v)
			h.WriteByte(0)
		}
	}
	// Answers of most protocols carry the request's id.
	before, after, _ := bytes.Cut(x.Answer.Body, []byte(x.RequestID))
	h.Write(before)
	h.Write(after)
	return h.Sum64()
}

func (c *checker) named(x wire.Exchange, part string) []string {
	var out []string
	for _, f := range c.faults {
		if text := fmt.Sprintf("%s.%s: %s: %s", x.Service, x.Operation, part, f); !isKnown(text) {
			out = append(out, text)
		}
	}
	return out
}

func decodeJSON(body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the JSON value")
	}
	return v, nil
}

func (c *checker) request(op *operation, x wire.Exchange) {
	switch c.m.Metadata.Protocol {
	case "json":
		if x.Request.Method != http.MethodPost || x.Request.URL.Path != "/" {
			c.fault("", "%s %s, not POST /", x.Request.Method, x.Request.URL.Path)
		}
		if want := c.m.Metadata.TargetPrefix + "." + op.Name; x.Request.Header.Get("X-Amz-Target") != want {
			c.fault("X-Amz-Target", "is %s, not %s", x.Request.Header.Get("X-Amz-Target"), want)
		}
		v, err := decodeJSON(x.Body)
		if err != nil {
			c.fault("", "is no JSON: %v", err)
			return
		}
		if op.Input != nil {
			c.json("", op.Input, v)
		}
	case "query", "ec2":
		form, err := url.ParseQuery(string(x.Body))
		if err != nil {
			c.fault("", "is no form: %v", err)
			return
		}
		for k, v := range x.Request.URL.Query() {
			form[k] = v
		}
		for k := range form {
			if k == "Action" || k == "Version" || strings.HasPrefix(k, "X-Amz-") {
				delete(form, k)
			}
		}
		if op.Input != nil {
			c.form("", op.Input, parseForm(form), c.m.Metadata.Protocol == "ec2")
		} else if len(form) > 0 {
			c.fault("", "has parameters, and the operation none")
		}
	default:
		c.rest(op, x)
	}
}

// rest checks a request whose members are spread over path, query, headers and
// body.
func (c *checker) rest(op *operation, x wire.Exchange) {
	if x.Request.Method != op.HTTP.Method {
		c.fault("", "%s, not %s", x.Request.Method, op.HTTP.Method)
	}
	template, fixed, _ := strings.Cut(op.HTTP.RequestURI, "?")
	path := x.Request.URL.EscapedPath()
	if c.m.service == "s3" {
		path = bucketPath(x.Request, path)
	}
	labels, ok := match(template, path)
	if !ok {
		c.fault("", "the path %s is not %s", path, template)
	}
	query := x.Request.URL.Query()
	for k, v := range parseFixed(fixed) {
		if !query.Has(k) || v != "" && query.Get(k) != v {
			c.fault("", "the query lacks %s", k)
		}
		delete(query, k)
	}
	s := &shape{}
	if op.Input != nil {
		s = c.m.shape(op.Input.Shape)
	}
	have := map[string]bool{}
	for name, r := range s.Members {
		wire := name
		if r.LocationName != "" {
			wire = r.LocationName
		}
		switch r.Location {
		case "uri":
			if v, ok := labels[wire]; ok {
				have[name] = true
				c.text(wire, r, v, "iso8601")
			}
		case "querystring":
			values, ok := query[wire]
			if !ok {
				continue
			}
			have[name] = true
			delete(query, wire)
			if target := c.m.shape(r.Shape); target.Type == "list" {
				for i, v := range values {
					c.text(fmt.Sprintf("%s[%d]", wire, i), target.Member, v, "iso8601")
				}
				continue
			}
			c.text(wire, r, values[0], "iso8601")
		case "header":
			if v := x.Request.Header.Get(wire); v != "" {
				have[name] = true
				c.header(wire, r, v)
			}
		}
	}
	for k := range query {
		if !strings.HasPrefix(k, "X-Amz-") && k != "x-id" {
			c.fault("?"+k, "is no member of %s", s.name)
		}
	}
	c.required("", s, func(name string) bool {
		return have[name] || s.Members[name].Location == "" || s.Members[name].Location == "headers"
	})
	c.body(op.Input, s, x.Body)
}

func (c *checker) header(name string, r *ref, v string) {
	if target := c.m.shape(r.Shape); target.Type == "list" {
		for i, part := range strings.Split(v, ",") {
			c.text(fmt.Sprintf("%s[%d]", name, i), target.Member, strings.TrimSpace(part), "rfc822")
		}
		return
	}
	c.text(name, r, v, "rfc822")
}

// body checks what a rest request or answer has in its body.
func (c *checker) body(top *ref, s *shape, body []byte) {
	r, members := top, true
	if s.Payload != "" {
		r, members = s.Members[s.Payload], false
		target := c.m.shape(r.Shape)
		if target.Type != "structure" {
			return
		}
		if len(body) == 0 {
			if slices.Contains(s.Required, s.Payload) {
				c.fault(s.Payload, "is required, and missing")
			}
			return
		}
		s = target
	}
	inBody := !members
	for _, m := range s.Members {
		inBody = inBody || m.Location == ""
	}
	if !inBody {
		return
	}
	if strings.HasSuffix(c.m.Metadata.Protocol, "json") {
		v, err := decodeJSON(body)
		o, ok := v.(map[string]any)
		if err != nil || !ok {
			c.fault("", "the body is no JSON object: %v", err)
			return
		}
		c.jsonMembers("", s, o, "")
		return
	}
	n := &node{}
	if len(body) > 0 {
		var err error
		if n, err = parseXML(body); err != nil {
			c.fault("", "the body is no XML: %v", err)
			return
		}
		if r != nil && r.LocationName != "" && n.name != r.LocationName {
			c.fault("", "the root is %s, not %s", n.name, r.LocationName)
		}
	}
	// One answer has its only member as its root.
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
	if _, ok := s.Members[n.name]; ok && s.name == "GetBucketLocationOutput" {
		n = &node{children: []*node{n}}
		if n.children[0].text == "" {
			return
		}
	}
	c.xmlMembers("", s, n, "")
}

func parseFixed(fixed string) map[string]string {
	out := map[string]string{}
	for _, pair := range strings.Split(fixed, "&") {
		if k, v, _ := strings.Cut(pair, "="); k != "" {
			out[k] = v
		}
	}
	return out
}

// match compares an escaped path with a template.
func match(template, path string) (map[string]string, bool) {
	want := strings.Split(strings.Trim(template, "/"), "/")
	have := strings.Split(strings.TrimPrefix(path, "/"), "/")
	labels := map[string]string{}
	for i, w := range want {
		name, label := strings.CutPrefix(w, "{")
		name = strings.TrimSuffix(name, "}")
		if i >= len(have) {
			return labels, w == ""
		}
		value := have[i]
		if greedy, ok := strings.CutSuffix(name, "+"); ok && label {
			name, value = greedy, strings.Join(have[i:], "/")
			have = have[:i+1]
		}
		value, err := url.PathUnescape(value)
		switch {
		case err != nil || label && value == "" || !label && value != w:
			return labels, false
		case label:
			labels[name] = value
		}
	}
	rest := have[len(want):]
	return labels, len(rest) == 0 || len(rest) == 1 && rest[0] == ""
}

// bucketPath is the path with the bucket that a host name carries.
func bucketPath(r *http.Request, path string) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, base := range []string{".localhost", ".127.0.0.1", ".sandbox.invalid"} {
		if bucket, ok := strings.CutSuffix(strings.ToLower(host), base); ok && bucket != "s3" {
			return "/" + strings.TrimSuffix(bucket, ".s3") + path
		}
	}
	return path
}

func (c *checker) answer(op *operation, x wire.Exchange) {
	want := op.HTTP.ResponseCode
	if want == 0 {
		want = http.StatusOK
	}
	if got := x.Answer.Status; got != want && (op.Name != "GetObject" || got != http.StatusPartialContent) {
		c.fault("", "the status is %d, not %d", got, want)
	}
	s := &shape{}
	var top *ref
	if op.Output != nil {
		top = &op.Output.ref
		s = c.m.shape(top.Shape)
	}
	body := x.Answer.Body
	switch protocol := c.m.Metadata.Protocol; protocol {
	case "json":
		v, err := decodeJSON(body)
		if err != nil {
			c.fault("", "is no JSON: %v", err)
			return
		}
		if top == nil {
			top = &ref{}
			if o, ok := v.(map[string]any); !ok || len(o) > 0 {
				c.fault("", "has members, and the operation's answer none")
			}
			return
		}
		c.json("", top, v)
	case "query", "ec2":
		root, err := parseXML(body)
		if err != nil {
			c.fault("", "is no XML: %v", err)
			return
		}
		if root.name != op.Name+"Response" {
			c.fault("", "the root is %s, not %sResponse", root.name, op.Name)
		}
		if protocol == "ec2" {
			if root.child("requestId") == nil {
				c.fault("requestId", "is missing")
			}
			root.children = slices.DeleteFunc(root.children, func(n *node) bool { return n.name == "requestId" })
			c.xmlMembers("", s, root, "")
			return
		}
		if meta := root.child("ResponseMetadata"); meta == nil || meta.child("RequestId") == nil {
			c.fault("ResponseMetadata.RequestId", "is missing")
		}
		result := &node{}
		if op.Output != nil && op.Output.ResultWrapper != "" {
			if result = root.child(op.Output.ResultWrapper); result == nil {
				c.fault(op.Output.ResultWrapper, "is missing")
				return
			}
		}
		c.xmlMembers("", s, result, "")
	default:
		c.headers(s, x)
		if x.Request.Method == http.MethodHead {
			return
		}
		c.body(top, s, body)
	}
}

// headers checks an answer's headers.
func (c *checker) headers(s *shape, x wire.Exchange) {
	header := http.Header(x.Answer.Header)
	known := map[string]bool{}
	for name, r := range s.Members {
		switch r.Location {
		case "header":
			known[http.CanonicalHeaderKey(r.LocationName)] = true
			v := header.Get(r.LocationName)
			if v != "" {
				c.header(r.LocationName, r, v)
			} else if slices.Contains(s.Required, name) {
				c.fault(r.LocationName, "is required, and missing")
			}
		case "headers":
			for k := range header {
				if strings.HasPrefix(strings.ToLower(k), strings.ToLower(r.LocationName)) {
					known[k] = true
				}
			}
		}
	}
	for k := range header {
		if strings.HasPrefix(k, "X-Amz") && !known[k] {
			c.fault(k, "is no header of the answer")
		}
	}
}
