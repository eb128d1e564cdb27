package wire

import (
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// form returns the parameters of a query protocol request, or nil if the
// request isn't one.
func form(r *http.Request, body []byte) url.Values {
	query := r.URL.Query()
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method == http.MethodPost && media == "application/x-www-form-urlencoded" {
		// What can't be unescaped is left out, as AWS does.
		posted, _ := url.ParseQuery(string(body))
		for k, v := range posted {
			query[k] = append(v, query[k]...)
		}
	}
	if query.Get("Action") == "" {
		return nil
	}
	for k := range query {
		if strings.HasPrefix(k, "X-Amz-") {
			delete(query, k)
		}
	}
	return query
}

// service finds whom the request is for: by the signature's scope, else by
// target, action and version, host, or S3, which alone takes requests without
// a signature.
func (s *Server) service(r *http.Request, sig *signature, params url.Values) *Service {
	target, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if sig != nil {
		var found *Service
		for i := range s.services {
			svc := &s.services[i]
			if svc.Name != sig.service {
				continue
			}
			isJSON, isQuery := svc.Protocol == JSON10 || svc.Protocol == JSON11, svc.Protocol == Query || svc.Protocol == EC2Query
			if found == nil || isJSON && target != "" || isQuery && params != nil && target == "" && (svc.API == "" || svc.Version == params.Get("Version")) {
				found = svc
			}
		}
		return found
	}
	host := hostname(r)
	for i := range s.services {
		svc := &s.services[i]
		switch {
		case target != "":
			if svc.Target == target {
				return svc
			}
		case params != nil:
			if svc.Version != "" && svc.Version == params.Get("Version") && operation(svc, params.Get("Action")) != nil {
				return svc
			}
		case host == svc.Name || strings.HasPrefix(host, svc.Name+"."):
			return svc
		}
	}
	if target != "" || params != nil {
		return nil
	}
	for i := range s.services {
		if s.services[i].Name == "s3" {
			return &s.services[i]
		}
	}
	return nil
}

func operation(svc *Service, name string) *Operation {
	for i := range svc.Operations {
		if svc.Operations[i].Name == name {
			return &svc.Operations[i]
		}
	}
	return nil
}

func hostname(r *http.Request) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

// virtualBucket is the bucket of a virtual-host-style address, such as
// bucket.localhost:4566 or bucket.s3.eu-west-1.amazonaws.com.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
func virtualBucket(host string) string {
	if i := strings.LastIndex(host, ".s3."); i > 0 && strings.Contains(host[i:], ".amazonaws.com") {
		return host[:i]
	}
	for _, base := range []string{".localhost", ".127.0.0.1", ".sandbox.invalid"} {
		if bucket, ok := strings.CutSuffix(host, base); ok && bucket != "s3" {
			return strings.TrimSuffix(bucket, ".s3")
		}
	}
	return ""
}

// match finds a rest protocol's operation and its path labels.
func match(svc *Service, r *http.Request) (*Operation, map[string]string) {
	path := r.URL.EscapedPath()
	if svc.Name == "s3" {
		if bucket := virtualBucket(hostname(r)); bucket != "" {
			path = "/" + bucket + path
		}
	}
	query := r.URL.Query()
	var best *Operation
	var labels map[string]string
	for i := range svc.Operations {
		op := &svc.Operations[i]
		if op.Method != r.Method || op.Header != "" && r.Header.Get(op.Header) == "" || !hasQuery(svc, op, query) {
			continue
		}
		l, ok := matchPath(op.Path, path)
		if !ok {
			continue
		}
		if best == nil || rank(op) > rank(best) {
			best, labels = op, l
		}
	}
	return best, labels
}

// rank orders operations that match: more Query, then a Header, then fewer labels.
func rank(op *Operation) int {
	header := 0
	if op.Header != "" {
		header = 500
	}
	return header + len(op.Query)*1000 - 10*strings.Count(op.Path, "{") - strings.Count(op.Path, "+}")
}

func hasQuery(svc *Service, op *Operation, query url.Values) bool {
	wanted := map[string]bool{}
	for _, q := range op.Query {
		if k, may := strings.CutSuffix(q, "?"); may {
			wanted[k] = true
			continue
		}
		k, v, valued := strings.Cut(q, "=")
		got, ok := query[k]
		if !ok || valued && (len(got) == 0 || got[0] != v) {
			return false
		}
		wanted[k] = true
	}
	for _, sub := range svc.Subresources {
		if query.Has(sub) && !wanted[sub] {
			return false
		}
	}
	return true
}

// matchPath compares an escaped path with a pattern, segment by segment.
func matchPath(pattern, path string) (map[string]string, bool) {
	want := strings.Split(strings.Trim(pattern, "/"), "/")
	have := strings.Split(strings.TrimPrefix(path, "/"), "/")
	labels := map[string]string{}
	for i, w := range want {
		name, isLabel := strings.CutPrefix(w, "{")
		name = strings.TrimSuffix(name, "}")
		if greedy, ok := strings.CutSuffix(name, "+"); isLabel && ok {
			if i >= len(have) {
				return nil, false
			}
			rest, err := url.PathUnescape(strings.Join(have[i:], "/"))
			if err != nil || rest == "" {
				return nil, false
			}
			labels[greedy] = rest
			return labels, true
		}
		if i >= len(have) {
			return nil, false
		}
		segment, err := url.PathUnescape(have[i])
		switch {
		case err != nil:
			return nil, false
		case isLabel && segment != "":
			labels[name] = segment
		case isLabel || segment != w:
			return nil, false
		}
	}
	extra := have[len(want):]
	return labels, len(extra) == 0 || len(extra) == 1 && extra[0] == ""
}
