package traffic_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/sandbox/elbv2"
)

// logged are the lines of all files in the bucket, by the files' names.
func (w *world) logged() map[string][]string {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string][]string{}
	for k, b := range w.logs {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			w.t.Fatal(err)
		}
		out[k] = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	return out
}

// fields parts an entry; quotes hold spaces together.
func fields(line string) []string {
	return regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1)
}

// A load balancer that logs publishes a compressed file every five minutes, with
// a line of 29 fields for each request, those that never made it to a target
// included.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
func TestAccessLog(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.up("10.0.0.1:8443", func(rw http.ResponseWriter, _ *http.Request) {
			time.Sleep(250 * time.Millisecond)
			rw.WriteHeader(http.StatusCreated)
			fmt.Fprint(rw, "one")
		})
		w.register(target("10.0.0.1"))
		w.change(func(v *elbv2.View) {
			g := v.Groups[groupARN]
			g.Health.Codes = "201"
			v.Groups = map[string]elbv2.Group{groupARN: g}
		})
		time.Sleep(time.Minute) // 00:01
		w.get("https://"+name+"/a?b=c", func(r *http.Request) { r.Header.Set("User-Agent", `curl "x"`) })
		w.get("http://" + name + "/")
		w.register()
		w.get("https://" + name + "/none")
		if len(w.logged()) > 0 {
			t.Error("logs are delivered before the interval is over")
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		files := w.logged()
		if len(files) != 1 {
			t.Fatalf("%d files, want one", len(files))
		}
		file := slices.Collect(maps.Keys(files))[0]
		form := regexp.MustCompile(`^logs/web/AWSLogs/123456789012/elasticloadbalancing/us-east-1/2000/01/01/123456789012_elasticloadbalancing_us-east-1_app\.lb\.0123456789abcdef_20000101T0005Z_198\.51\.100\.9_[a-z0-9]+\.log\.gz$`)
		if !form.MatchString(file) {
			t.Errorf("the file is %s", file)
		}
		trace := regexp.MustCompile(`Root=1-[0-9a-f]{8}-[0-9a-f]{24}`)
		var got [][]string
		for _, line := range files[file] {
			got = append(got, fields(trace.ReplaceAllString(line, "Root")))
		}
		want := [][]string{
			{
				"https", "2000-01-01T00:01:00.250000Z", "app/lb/0123456789abcdef", "203.0.113.7:0", "10.0.0.1:8443", "0.000", "0.250", "0.000", "201", "201", "0", "3",
				`"GET https://chat.example.com:443/a?b=c HTTP/1.1"`, `"curl \"x\""`, "TLS_AES_128_GCM_SHA256", "TLSv1.3", groupARN, `"Root"`, `"chat.example.com"`, `"` + certARN + `"`,
				"10", "2000-01-01T00:01:00.000000Z", `"forward"`, `"-"`, `"-"`, `"10.0.0.1:8443"`, `"201"`, `"-"`, `"-"`,
			},
			{
				"http", "2000-01-01T00:01:00.250000Z", "app/lb/0123456789abcdef", "203.0.113.7:0", "-", "-1", "-1", "-1", "301", "-", "0", "134",
				`"GET http://chat.example.com:80/ HTTP/1.1"`, `"Go-http-client/1.1"`, "-", "-", "-", `"Root"`, `"-"`, `"-"`,
				"0", "2000-01-01T00:01:00.250000Z", `"redirect"`, `"https://chat.example.com:443/"`, `"-"`, `"-"`, `"-"`, `"-"`, `"-"`,
			},
			{
				"https", "2000-01-01T00:01:00.250000Z", "app/lb/0123456789abcdef", "203.0.113.7:0", "-", "-1", "-1", "-1", "503", "-", "0", "138",
				`"GET https://chat.example.com:443/none HTTP/1.1"`, `"Go-http-client/1.1"`, "TLS_AES_128_GCM_SHA256", "TLSv1.3", groupARN, `"Root"`, `"chat.example.com"`, `"` + certARN + `"`,
				"10", "2000-01-01T00:01:00.250000Z", `"forward"`, `"-"`, `"-"`, `"-"`, `"-"`, `"-"`, `"-"`,
			},
		}
		// The quotes in a user agent are the only ones within quotes.
		got[0] = slices.Replace(got[0], 13, slices.Index(got[0], "TLS_AES_128_GCM_SHA256"), `"curl \"x\""`)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	})
}

// WebSockets go through a load balancer: the upgrade is the target's, and what is
// sent goes both ways until nothing does for the idle timeout.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html
func TestWebSocket(t *testing.T) {
	t.Parallel()
	in(t, func(w *world) {
		w.raw("10.0.0.1:8443", func(c net.Conn) {
			defer c.Close()
			if r, err := hear(c); err != nil || r.Header.Get("Upgrade") != "websocket" {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") // a health check
				return
			}
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(bytes.ToUpper(buf[:n])); err != nil {
					return
				}
			}
		})
		w.register(target("10.0.0.1"))
		r, err := http.NewRequest(http.MethodGet, "https://"+name+"/socket", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		resp, err := w.client.Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		socket, ok := resp.Body.(io.ReadWriteCloser)
		if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
			t.Fatalf("the upgrade is answered with %s", resp.Status)
		}
		for range 3 {
			time.Sleep(50 * time.Second)
			if _, err := socket.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 5)
			if _, err := io.ReadFull(socket, buf); err != nil || string(buf) != "HELLO" {
				t.Fatalf("the target says %q, %v", buf, err)
			}
		}
		began := time.Now()
		if _, err := socket.Read(make([]byte, 1)); err == nil {
			t.Error("an idle connection has something to say")
		}
		if idle := time.Since(began); idle != time.Minute {
			t.Errorf("an idle connection lasts %s, want the idle timeout of a minute", idle)
		}
		_ = socket.Close() // the other end is closed, or about to be
	})
}
