package traffic

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// route is the first rule whose conditions a request meets.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
func route(l *elbv2.Listener, r *http.Request) *elbv2.Rule {
	for i := range l.Rules {
		if !slices.ContainsFunc(l.Rules[i].Conditions, func(c elbv2.Condition) bool { return !meets(c, r) }) {
			return &l.Rules[i]
		}
	}
	return nil
}

// meets tells whether a request has one of a condition's values.
func meets(c elbv2.Condition, r *http.Request) bool {
	return slices.ContainsFunc(c.Values, func(v string) bool {
		switch c.Field {
		case "host-header":
			return like(strings.ToLower(v), strings.ToLower(hostOf(r)))
		case "path-pattern":
			return like(v, r.URL.EscapedPath())
		case "http-request-method":
			return v == r.Method
		case "http-header":
			return slices.ContainsFunc(r.Header.Values(c.Header), func(h string) bool { return like(strings.ToLower(v), strings.ToLower(h)) })
		case "query-string":
			return query(strings.ToLower(v), r)
		case "source-ip":
			p, err := netip.ParsePrefix(v)
			from, err2 := netip.ParseAddrPort(r.RemoteAddr)
			return err == nil && err2 == nil && p.Contains(from.Addr().Unmap())
		}
		return false
	})
}

// query tells whether a request's query has a value, "value" or "key=value".
func query(pattern string, r *http.Request) bool {
	key, value, both := strings.Cut(pattern, "=")
	if !both {
		key, value = "*", pattern
	}
	for k, values := range r.URL.Query() {
		for _, v := range values {
			if like(key, strings.ToLower(k)) && like(value, strings.ToLower(v)) {
				return true
			}
		}
	}
	return false
}

// like matches * and ?.
func like(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for i := 0; i <= len(s); i++ {
				if like(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
		default:
			if s == "" || s[0] != pattern[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// hostOf is a request's host without its port.
func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}
